"""What the claims BIAS-13 to 21 stand on: coverage, and that they notice wrong quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias
from jaxgen.claims.implicit_bias import _diagonal

pytestmark = pytest.mark.float64


def test_gradients_of_the_losses_are_those_of_their_values(key):
    x, y = _diagonal.regression(key)
    w = jax.random.normal(key, (8,))
    values = {
        "squared": lambda w: jnp.mean((x @ w - y) ** 2),
        "logistic": lambda w: jnp.log1p(jnp.exp(-jnp.sign(y) * (x @ w))).sum(),
        "quartic": lambda w: jnp.sum((x @ w - y) ** 4) / 4,
    }
    for choice, name in zip(jnp.eye(3), _diagonal.LOSSES, strict=True):
        np.testing.assert_allclose(_diagonal.chosen(x, y, choice)(w), jax.grad(values[name])(w), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("pushforward_metric", lambda right: lambda net, theta: 1.001 * right(net, theta), "BIAS-13.metric"),
        ("metric_mismatch", lambda right: lambda net, potential, theta: right(net, potential, theta) + 1e-3, "BIAS-14"),
        ("hyperbolic_entropy", lambda right: lambda alpha: right(alpha / 2), "BIAS-15.values"),
        ("lie_bracket", lambda right: lambda net, i, j, theta: -right(net, i, j, theta), "BIAS-19.bracket"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    monkeypatch.setattr(implicit_bias, name, wrong(getattr(implicit_bias, name)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in checks.values())
