"""What the claims on interpolators and mirror descent stand on: coverage, and that they notice wrong quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias
from jaxgen.claims.implicit_bias import _interpolation

pytestmark = pytest.mark.float64


@pytest.mark.parametrize("shape", [(3, 8), (8, 3)])
def test_regressions_have_the_singular_values_that_they_say(shape, key):
    x, y = _interpolation.regression(key, *shape, positive=True)
    np.testing.assert_allclose(jnp.linalg.svd(x, compute_uv=False), jnp.linspace(2, 1, 3), rtol=1e-12)
    assert implicit_bias.is_realizable(x, y)


def test_gradients_are_those_of_the_sum_of_squares(key):
    x, y = _interpolation.regression(key, 3, 8)
    w = jax.random.normal(key, (8,))
    expected = jax.grad(lambda w: jnp.sum((x @ w - y) ** 2))(w)
    np.testing.assert_allclose(_interpolation.gradient(x, y)(w), expected, rtol=1e-12)
    of_examples = jax.vmap(_interpolation.example_gradient(x, y), (None, 0))(w, jnp.arange(3))
    np.testing.assert_allclose(of_examples.sum(axis=0), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("min_norm_interpolator", lambda right: lambda *arguments: right(*arguments) + 1e-5, "BIAS-2"),
        (
            "natural_gradient",
            lambda right: lambda solve, grad_fn, w0, rates, **options: right(solve, grad_fn, w0, 2 * rates, **options),
            "BIAS-8.steps",
        ),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    monkeypatch.setattr(implicit_bias, name, wrong(getattr(implicit_bias, name)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in checks.values())
