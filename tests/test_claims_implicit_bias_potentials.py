"""What the claims BIAS-5, BIAS-22 and BIAS-23 stand on: coverage, and that they notice wrong quantities."""

import jax
import pytest

from jaxgen import implicit_bias

pytestmark = pytest.mark.float64


def test_a_wrong_velocity_makes_its_claim_fall_short(monkeypatch, registered):
    right = implicit_bias.balanced_velocity
    monkeypatch.setattr(implicit_bias, "balanced_velocity", lambda *arguments: 1.001 * right(*arguments))
    claim = registered["BIAS-23"]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in checks.values())
