"""Local gradient sensitivity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import gradients

_sensitivity = jax.jit(gradients.sensitivity, static_argnums=0, static_argnames=("num_noise", "reduce", "chunk_size"))

A = np.array([[2.0, 0.5], [0.5, 1.0]])


def _quadratic(w, z):
    return 0.5 * w @ A @ w + 0 * z


def _cosines(w, z):
    return jnp.cos(z @ w)


@pytest.mark.any_precision
@pytest.mark.parametrize("reduce", ["per_example", "mean_gradient"])
def test_a_quadratic_has_sensitivity_variance_times_the_squared_frobenius_norm(key, reduce):
    """INFO-23, within 4 standard errors over 4000 draws."""
    estimate = _sensitivity(_quadratic, np.ones(2), np.zeros(3), key, variance=0.3, num_noise=4000, reduce=reduce)
    assert abs(float(estimate.value) - 0.3 * (A**2).sum()) < 4 * float(estimate.stderr)
    assert 0 < float(estimate.stderr) < 0.05


@pytest.mark.any_precision
@pytest.mark.parametrize("reduce", ["per_example", "mean_gradient"])
def test_a_linear_loss_is_not_sensitive(key, reduce):
    estimate = _sensitivity(lambda w, z: z @ w, np.ones(2), np.ones((3, 2)), key, variance=1.0, num_noise=3, reduce=reduce)
    assert estimate == (0, 0)


@pytest.mark.any_precision
def test_without_noise_nothing_moves(key):
    assert _sensitivity(_cosines, np.ones(2), np.ones((3, 2)), key, variance=0.0, num_noise=2) == (0, 0)


@pytest.mark.any_precision
def test_the_mean_gradient_is_less_sensitive_draw_by_draw(key):
    z = np.random.default_rng(1).normal(size=(6, 2))
    examples, mean = (_sensitivity(_cosines, np.ones(2), z, key, variance=0.5, num_noise=20, reduce=r) for r in ("per_example", "mean_gradient"))
    assert float(mean.value) < float(examples.value)


@pytest.mark.float64
def test_it_is_the_mean_of_explicit_differences(key, rtol):
    z, w = np.random.default_rng(1).normal(size=(6, 2)), np.ones(2)
    gradient = jax.jit(jax.vmap(jax.grad(lambda w, z: jnp.cos(z @ w)), in_axes=(None, 0)))
    noises = 0.5 * jnp.stack([jax.random.normal(k, (2,)) for k in jax.random.split(key, 9)])
    values = [float(((gradient(w, z) - gradient(w + noise, z)) ** 2).sum(1).mean()) for noise in noises]
    for chunk_size in (None, 4):
        estimate = _sensitivity(_cosines, w, z, key, variance=0.25, num_noise=9, chunk_size=chunk_size)
        np.testing.assert_allclose(estimate.value, np.mean(values), rtol=10 * rtol)
        np.testing.assert_allclose(estimate.stderr, np.std(values, ddof=1) / 3, rtol=100 * rtol)


@pytest.mark.any_precision
def test_vmap_changes_nothing(key, rtol):
    z = np.random.default_rng(1).normal(size=(6, 2))

    def call(w, variance):
        return gradients.sensitivity(_cosines, w, z, key, variance=variance, num_noise=5)

    w, variance = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([0.5, 1.0])
    found = jax.jit(jax.vmap(call))(w, variance)
    np.testing.assert_allclose([leaf[1] for leaf in found], _sensitivity(_cosines, w[1], z, key, variance=variance[1], num_noise=5), rtol=100 * rtol)


@pytest.mark.any_precision
def test_one_draw_has_no_standard_error(key):
    estimate = _sensitivity(_cosines, np.ones(2), np.ones((3, 2)), key, variance=1.0, num_noise=1)
    assert jnp.isfinite(estimate.value)
    assert jnp.isnan(estimate.stderr)


@pytest.mark.any_precision
def test_bad_input_is_named(key):
    args = _cosines, np.ones(2), np.ones((3, 2)), key
    with pytest.raises(ValueError, match="variance must be at least 0"):
        gradients.sensitivity(*args, variance=-1.0, num_noise=2)
    assert jnp.isnan(jax.jit(lambda v: gradients.sensitivity(*args, variance=v, num_noise=2).value)(-1.0))
    with pytest.raises(ValueError, match=r"variance must be a scalar; got shape \(2,\)"):
        gradients.sensitivity(*args, variance=np.ones(2), num_noise=2)
    with pytest.raises(ValueError, match="num_noise must be an integer of at least 1; got 0"):
        gradients.sensitivity(*args, variance=1.0, num_noise=0)
    with pytest.raises(ValueError, match="reduce must be one of 'per_example', 'mean_gradient'; got 'sum'"):
        gradients.sensitivity(*args, variance=1.0, num_noise=2, reduce="sum")
