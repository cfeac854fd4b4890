"""Local value sensitivity: closed forms of quadratics and quartics, and its noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import curvature

_value_sensitivity = jax.jit(curvature.value_sensitivity, static_argnums=0, static_argnames=("num_noise", "antithetic", "chunk_size"))

A = np.array([[2.0, 0.5], [0.5, 1.0]])


def _quadratic(w, z):
    return 0.5 * jnp.einsum("ni,ij,nj->n", w - z, A, w - z)


def _quartic(w, z):
    return w**4 + 0 * z


@pytest.mark.any_precision
@pytest.mark.parametrize("antithetic", [True, False])
def test_a_quadratic_has_half_the_variance_times_the_trace(key, antithetic):
    """INFO-24, at 4 standard errors of 4000 draws."""
    z = np.random.default_rng(1).normal(size=(3, 2))
    estimate = _value_sensitivity(_quadratic, np.ones(2), z, key, variance=0.3, num_noise=4000, antithetic=antithetic)
    assert abs(float(estimate.value) - 0.15 * 3) < 4 * float(estimate.stderr)
    assert 0 < float(estimate.stderr) < 0.03


@pytest.mark.any_precision
def test_a_quartic_is_not_its_taylor_value(key):
    """INFO-24: 6 w^2 s^2 + 3 s^4 = 0.4104 at w = 1.3, s = 0.2; the second-order 0.4056 is 1.2 % off, 40000 draws tell."""
    estimate = _value_sensitivity(_quartic, jnp.asarray(1.3), jnp.zeros(1), key, variance=0.04, num_noise=40_000, chunk_size=1000)
    exact = 6 * 1.3**2 * 0.04 + 3 * 0.04**2
    assert round(exact, 4) == 0.4104
    assert abs(float(estimate.value) - exact) < 4 * float(estimate.stderr)


@pytest.mark.float64
def test_the_taylor_value_fails_at_a_million_draws(key):
    estimate = _value_sensitivity(_quartic, jnp.asarray(1.3), jnp.zeros(1), key, variance=0.04, num_noise=1_000_000, chunk_size=50_000)
    assert abs(float(estimate.value) - 0.4056) > 6 * float(estimate.stderr)


def test_antithetic_pairs_cancel_odd_terms(key, rtol):
    estimate = _value_sensitivity(lambda w, z: z @ w, np.ones(2), np.ones((3, 2)), key, variance=1.0, num_noise=5)
    np.testing.assert_allclose(estimate, 0.0, atol=10 * rtol)


def test_samples_share_their_noise_under_one_key(key, rtol):
    """A quadratic's sensitivity does not depend on the sample, draw by draw."""
    z = np.random.default_rng(1).normal(size=(2, 3, 2))
    one, other = (_value_sensitivity(_quadratic, np.ones(2), z[i], key, variance=0.3, num_noise=3) for i in range(2))
    np.testing.assert_allclose(one.value, other.value, rtol=100 * rtol)


@pytest.mark.any_precision
def test_without_noise_nothing_rises(key):
    estimate = _value_sensitivity(_quadratic, np.ones(2), np.ones((3, 2)), key, variance=0.0, num_noise=3)
    assert estimate == (0, 0)


@pytest.mark.any_precision
def test_chunks_and_vmap_change_nothing(key, rtol):
    z = np.random.default_rng(1).normal(size=(3, 2))

    def call(w, variance, chunk_size=1):
        return curvature.value_sensitivity(_quadratic, w, z, key, variance=variance, num_noise=5, chunk_size=chunk_size)

    w, variance = np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([0.5, 1.0])
    expected = _value_sensitivity(_quadratic, w[1], z, key, variance=variance[1], num_noise=5)
    for chunk_size in (1, 2):
        found = jax.jit(jax.vmap(lambda *args, c=chunk_size: call(*args, c)))(w, variance)
        np.testing.assert_allclose([leaf[1] for leaf in found], expected, rtol=100 * rtol)


@pytest.mark.any_precision
def test_memory_is_that_of_a_draw():
    width, draws = 10_000, 200
    compiled = (
        jax.jit(lambda w, key: curvature.value_sensitivity(lambda w, z: z * jnp.sum(w**2), w, jnp.ones(1), key, variance=1.0, num_noise=draws))
        .lower(jnp.zeros(width), jax.random.key(0))
        .compile()
    )
    assert compiled.memory_analysis().temp_size_in_bytes < 10 * 4 * width


@pytest.mark.any_precision
def test_bad_input_is_named(key):
    args = _quadratic, np.ones(2), np.ones((3, 2)), key
    with pytest.raises(ValueError, match="variance must be at least 0"):
        curvature.value_sensitivity(*args, variance=-0.1, num_noise=2)
    assert jnp.isnan(jax.jit(lambda v: curvature.value_sensitivity(*args, variance=v, num_noise=2).value)(-0.1))
    with pytest.raises(ValueError, match=r"variance must be a scalar; got shape \(2,\)"):
        curvature.value_sensitivity(*args, variance=jnp.ones(2), num_noise=2)
    with pytest.raises(ValueError, match="num_noise must be an integer of at least 1; got 0"):
        curvature.value_sensitivity(*args, variance=0.1, num_noise=0)
    with pytest.raises(ValueError, match="chunk_size must be an integer of at least 1; got 0"):
        curvature.value_sensitivity(*args, variance=0.1, num_noise=2, chunk_size=0)
    with pytest.raises(ValueError, match=r"loss_fn must return one loss per example, shape \(3,\); got shape \(\)"):
        curvature.value_sensitivity(lambda w, z: jnp.sum(w), *args[1:], variance=0.1, num_noise=2)


@pytest.mark.any_precision
@pytest.mark.parametrize("antithetic", [True, False])
def test_the_perturbed_risk_is_the_risk_plus_the_sensitivity(key, rtol, antithetic):
    """The same draws under the same key; a standard error does not see what is constant."""
    w, z = np.ones(2), np.random.default_rng(1).normal(size=(3, 2))
    options = {"variance": 0.3, "num_noise": 50, "antithetic": antithetic}
    risk = jax.jit(lambda: curvature.perturbed_risk(_quadratic, w, z, key, **options))()
    rise = _value_sensitivity(_quadratic, w, z, key, **options)
    np.testing.assert_allclose(risk.value, _quadratic(w, z).mean() + rise.value, rtol=10 * rtol)
    np.testing.assert_allclose(risk.stderr, rise.stderr, rtol=1e3 * rtol)


@pytest.mark.any_precision
def test_a_perturbed_quadratic_has_its_closed_form(key):
    """L(w) + (variance / 2) tr A with 4000 draws, at 4 standard errors; one draw has no standard error."""
    z = np.zeros((1, 2))
    estimate = jax.jit(lambda: curvature.perturbed_risk(_quadratic, np.ones(2), z, key, variance=0.3, num_noise=4000))()
    assert abs(float(estimate.value) - (2.0 + 0.15 * 3)) < 4 * float(estimate.stderr) < 0.1
    assert jnp.isnan(curvature.perturbed_risk(_quadratic, np.ones(2), z, key, variance=0.3, num_noise=1).stderr)
    with pytest.raises(ValueError, match="num_noise must be an integer of at least 1; got 0"):
        curvature.perturbed_risk(_quadratic, np.ones(2), z, key, variance=0.3, num_noise=0)
