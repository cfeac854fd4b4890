"""What the claims on steepest descent, the lasso and adaptive methods stand on: coverage, and that they notice wrong quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias
from jaxgen.claims.implicit_bias import stagewise, steepest

pytestmark = pytest.mark.float64


def test_the_identities_hold_and_notice_a_wrong_direction(monkeypatch, registered):
    """Directions in l_p longer by 1e-9; those of a quadratic norm are right."""
    claim = registered["BIAS-9"]
    right = implicit_bias.LpNorm.steepest
    monkeypatch.setattr(implicit_bias.LpNorm, "steepest", lambda *args, **kwargs: right(*args, **kwargs) * (1 + 1e-9))
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    held = {name: bool(check.held) for name, check in checks.items()}
    assert held["quadratic: product"]
    assert held["quadratic: norm"]
    assert not any(held[f"l_{p:.3g}: {part}"] for p in steepest.EXPONENTS for part in ("product", "norm"))


def test_the_designs_are_what_they_are_said_to_be(key):
    x, y = jax.jit(stagewise._disjoint)(key)
    np.testing.assert_allclose(x @ x.T, np.diag(np.sum(x**2, axis=1)), atol=1e-12)
    assert ((jnp.abs(y) >= 1) & (jnp.abs(y) <= 2)).all()
    x, y = stagewise._six_points()
    np.testing.assert_allclose(x @ jnp.sign(x.T @ y), 4 * y)
    x, y = jax.jit(lambda key: stagewise._labelled(key, features_of_negatives=3))(key)
    outputs = x @ jnp.sign(x.T @ y)
    np.testing.assert_allclose(outputs, jnp.where(y > 0, 4, -2))
