"""Margins, losses with an exponential tail, and separability."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias
from jaxgen.implicit_bias import lp_norm, spectral_norm

LOSSES = {"exp": implicit_bias.log_exp_loss, "logistic": implicit_bias.log_logistic_loss, "sigmoid": implicit_bias.log_sigmoid_loss}


def _exact(name, m):
    """log loss and -d log loss / dm of single examples, in extended precision where that can hold them."""
    m = np.asarray(m, np.longdouble)
    if name == "exp":
        return -m, np.ones_like(m)
    loss = np.log1p(np.exp(-m)) if name == "logistic" else 1 / (1 + np.exp(m))
    return np.log(loss), 1 / (1 + np.exp(m)) / loss if name == "logistic" else 1 / (1 + np.exp(-m))


def _ulps(precision, count):
    return count * np.finfo(precision).eps


@pytest.mark.parametrize("name", LOSSES)
def test_logarithms_of_losses_and_weights_are_accurate_at_both_ends(name, precision):
    """Of one example at a time, to a few roundings."""
    m = jnp.asarray([-3000.0, -700.0, -90.0, -12.0, -1.0, -1e-3, 0.0, 1e-3, 0.7, 5.0, 30.0, 90.0, 700.0, 3000.0])
    values, weights = jax.jit(jax.vmap(lambda m: (LOSSES[name](m[None]), implicit_bias.margin_weights(m[None], loss=name)[0])))(m)
    expected, expected_weights = _exact(name, m)
    np.testing.assert_allclose(values, expected.astype(float), rtol=_ulps(precision, 8), atol=_ulps(precision, 8))
    np.testing.assert_allclose(weights, expected_weights.astype(float), rtol=_ulps(precision, 8), atol=np.finfo(precision).tiny)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_are_slopes_over_the_total_loss_and_sum_to_one_in_the_tail(name, precision):
    m = jnp.linspace(-4.0, 9.0, 12)
    logs, slopes = _exact(name, m)
    expected = np.exp(logs) * slopes / np.exp(logs).sum()
    both = jax.jit(lambda m: (LOSSES[name](m), implicit_bias.margin_weights(m, loss=name)))
    value, weights = both(m)
    np.testing.assert_allclose(weights, expected.astype(float), rtol=_ulps(precision, 40))
    np.testing.assert_allclose(value, float(np.log(np.exp(logs).sum())), rtol=_ulps(precision, 10))
    far = 3000 + np.append(np.zeros(2), np.arange(10) / 4)
    value, weights = both(jnp.asarray(far))
    tail = np.exp(3000 - far)
    np.testing.assert_allclose(weights, tail / tail.sum(), rtol=_ulps(precision, 40))
    np.testing.assert_allclose(value, math.log(tail.sum()) - 3000, rtol=_ulps(precision, 4))


def test_a_loss_beyond_the_range_of_numbers_has_a_finite_logarithm_and_gradient():
    m = jnp.array([-1e5, 1e5, 0.0])
    for name, log_loss in LOSSES.items():
        value, gradient = jax.value_and_grad(log_loss)(m)
        assert jnp.isfinite(value), name
        assert jnp.isfinite(gradient).all(), name


@pytest.mark.heavy
def test_margins_are_products_of_vectors_and_of_matrices_with_signs(key, rtol):
    keys = jax.random.split(key, 3)
    x, w, y = jax.random.normal(keys[0], (5, 3, 2)), jax.random.normal(keys[1], (3, 2)), jnp.array([1, -1, 1, 1, -1])
    expected = y * jnp.sum(x * w, axis=(1, 2))
    np.testing.assert_allclose(implicit_bias.margins(w, x, y), expected, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(implicit_bias.margins(w.reshape(6), x.reshape(5, 6), y), expected, rtol=rtol, atol=rtol)
    found = implicit_bias.normalized_margin(w, x, y, spectral_norm())
    np.testing.assert_allclose(found, expected.min() / np.linalg.svd(w, compute_uv=False)[0], rtol=rtol)
    np.testing.assert_allclose(implicit_bias.normalized_margin(3 * w, x, y, spectral_norm()), found, rtol=10 * rtol)


def test_the_maximal_margins_of_two_symmetric_points():
    z, one = jnp.array([[2.0, 0.5], [0.5, 2.0]]), jnp.ones(2)
    for p, expected in ((1, 1.25), (2, 2.5 / math.sqrt(2)), (math.inf, 2.5)):
        np.testing.assert_allclose(implicit_bias.normalized_margin(one, z, one, lp_norm(p)), expected, rtol=1e-6)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("w", "x", "y", "message"),
    [
        (jnp.ones(2), jnp.ones((2, 2)), jnp.array([0, 1]), "-1 or 1"),
        (jnp.ones(2), jnp.ones((2, 2)), jnp.array([1, 1, 1]), "vector of 2 labels"),
        (jnp.ones(3), jnp.ones((2, 2)), jnp.array([1, 1]), "shape"),
        (jnp.ones(2), jnp.ones(2), jnp.array([1, 1]), "as rows"),
        (jnp.ones(2), jnp.ones((0, 2)), jnp.ones(0), "at least one"),
    ],
)
def test_bad_examples_and_labels_are_named(w, x, y, message):
    with pytest.raises(ValueError, match=message):
        implicit_bias.margins(w, x, y)


@pytest.mark.any_precision
def test_other_bad_input_is_named_and_not_a_number_when_traced():
    x, y = jnp.ones((2, 2)), jnp.array([0, 1])
    assert jnp.isnan(jax.jit(implicit_bias.margins)(jnp.ones(2), x, y)).all()
    with pytest.raises(ValueError, match="not be zero"):
        implicit_bias.normalized_margin(jnp.zeros(2), x, jnp.ones(2), lp_norm(2))
    with pytest.raises(ValueError, match="'logistic'"):
        implicit_bias.margin_weights(jnp.ones(2), loss="hinge")
    with pytest.raises(ValueError, match="vector"):
        implicit_bias.log_exp_loss(jnp.ones((2, 2)))
