"""What the claims PROB, and GEN on fixed hypotheses, finite classes and covers, stand on: coverage, and that they notice wrong quantities."""

import functools

import jax
import pytest

from jaxgen import Bound, bounds

pytestmark = pytest.mark.float64


def larger(right):
    return lambda *arguments, **options: right(*arguments, **options) * 1.01


def smaller_bound(right):
    def wrong(*arguments, **options):
        bound = right(*arguments, **options)
        terms = {name: term * 0.99 for name, term in bound.terms.items()}
        return Bound(bound.value * 0.99, terms, bound.sided, bound.certified, bound.assumptions, bound.confidence)

    return wrong


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("markov_bound", larger, "PROB-2"),
        ("hoeffding_epsilon", larger, "PROB-5"),
        ("gaussian_small_ball", larger, "PROB-7"),
        ("finite_class_bound", smaller_bound, "GEN-3"),
        ("cover_bound", smaller_bound, "GEN-7.dimension"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    claim = registered[id]

    def held():
        return [bool(check.held) for check in jax.jit(functools.partial(claim.body))(claim.keys(1)[0]).values()]

    assert all(held())
    monkeypatch.setattr(bounds, name, wrong(getattr(bounds, name)))
    assert not all(held())
