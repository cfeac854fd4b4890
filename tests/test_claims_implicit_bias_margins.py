"""What the claims about margins stand on: coverage, and that they notice wrong quantities."""

import jax
import numpy as np
import pytest

from jaxgen import implicit_bias
from jaxgen.claims.implicit_bias import boosting, margin_descents

pytestmark = pytest.mark.float64


def test_pairs_of_examples_are_opposed_but_for_one_coordinate(key):
    opposed, _ = margin_descents._opposed(key)
    np.testing.assert_allclose(opposed[:4, 1:], -opposed[4:, 1:])
    assert (opposed[:, 0] == 0.3).all()


def _held(claim):
    found = jax.jit(lambda key: claim.body(key))(claim.keys(1)[0])  # noqa: PLW0108 (compiled anew)
    return all(bool(check.held) for check in (found.values() if isinstance(found, dict) else [found]))


def test_boosting_with_another_step_makes_its_claim_fall_short(monkeypatch, registered):
    assert _held(registered["BIAS-29"])
    right = boosting.implicit_bias.adaboost
    monkeypatch.setattr(boosting.implicit_bias, "adaboost", lambda m, rounds, **options: right(m, rounds, **options | {"step": 0.5}))
    assert not _held(registered["BIAS-29"])


def test_a_trace_of_another_loss_makes_its_claim_fall_short(monkeypatch, registered):
    assert _held(registered["BIAS-28.flow"])
    right = implicit_bias.steepest_descent_exp
    monkeypatch.setattr(implicit_bias, "steepest_descent_exp", lambda z, *args, **options: right(1.05 * z, *args, **options))
    assert not _held(registered["BIAS-28.flow"])
