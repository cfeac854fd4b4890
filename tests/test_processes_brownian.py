"""Brownian paths and bridges, against their law and diffrax's."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import processes

COUNT = 20_000


def _assert_covariance_is_the_minimum(draws, times):
    """Within 5 standard errors of a product of two normal variables."""
    times = np.asarray(times)
    expected = np.minimum(times, times[:, None])
    stderr = np.sqrt((np.outer(times, times) + expected**2) / len(draws))
    assert np.all(np.abs(np.asarray(draws.T @ draws) / len(draws) - expected) <= 5 * stderr + 1e-12)


@pytest.mark.heavy
def test_covariance_is_the_smaller_time(key):
    times = jnp.array([0.3, 0.7, 2.0])
    draws = jax.jit(jax.vmap(lambda key: processes.brownian_path(key, times)))(jax.random.split(key, COUNT))
    _assert_covariance_is_the_minimum(draws, times)


@pytest.mark.heavy
def test_quadratic_variation_is_the_time(key, precision):
    """Standard deviation T sqrt(2 / N), here 5 of them, of one path in 3 dimensions."""
    path = processes.brownian_path(key, jnp.linspace(0.0, 2.0, 10_001), 3)
    assert path.shape == (10_001, 3)
    assert path.dtype == precision
    assert not path[0].any()
    np.testing.assert_allclose(jnp.sum(jnp.diff(path, axis=0) ** 2, axis=0), 2.0, atol=5 * 2 * np.sqrt(2 / 10_000))


def _refined(key, coarse, fine):
    keys = jax.random.split(key)
    return processes.brownian_refine(keys[1], coarse, processes.brownian_path(keys[0], coarse), fine)


@pytest.mark.heavy
def test_a_refined_path_has_the_law_of_a_path(key):
    """Points before, between and after the known ones, some of which the finer grid leaves out."""
    fine = jnp.array([0.1, 0.25, 0.3, 0.4, 0.9, 1.5])
    draws = jax.jit(jax.vmap(lambda key: _refined(key, jnp.array([0.25, 0.35, 1.0]), fine)))(jax.random.split(key, COUNT))
    _assert_covariance_is_the_minimum(draws, fine)


@pytest.mark.any_precision
def test_refinement_keeps_known_points_to_the_last_bit(key):
    fine = jnp.linspace(0.0, 1.0, 33)

    @jax.jit
    def refined(keys):
        path = processes.brownian_path(keys[0], fine[::8], (2, 3))
        finer = processes.brownian_refine(keys[1], fine[::8], path, fine[::2])
        return path, finer, processes.brownian_refine(keys[2], fine[::2], finer, fine)

    path, finer, finest = refined(jax.random.split(key, 3))
    np.testing.assert_array_equal(finest[::2], finer)
    np.testing.assert_array_equal(finest[::8], path)
    assert jnp.all(jnp.diff(finest, axis=0) != 0)


@pytest.mark.any_precision
def test_bridges_have_the_law_of_diffrax_s(key):
    """Second moments of (W_1/4, W_1/2, W_1), 5 standard errors of the difference."""
    times = jnp.array([0.25, 0.5, 1.0])

    def tree(key):
        path = diffrax.VirtualBrownianTree(0.0, 1.0, tol=0.1, shape=(), key=key)
        return jax.vmap(path.evaluate)(times)

    keys = jax.random.split(key, 5000)
    theirs = np.asarray(jax.jit(jax.vmap(tree))(keys))
    ours = np.asarray(jax.jit(jax.vmap(lambda key: _refined(key, times[2:], times)))(keys))
    minima = np.minimum(times, times[:, None])
    stderr = np.sqrt(2 * (np.outer(times, times) + minima**2) / 5000)
    assert np.all(np.abs(ours.T @ ours - theirs.T @ theirs) / 5000 < 5 * stderr)


@pytest.mark.any_precision
def test_bad_input_is_named(key):
    for wrong in ([0.0, 2.0, 1.0], [0.0, 0.0], [0.0, np.inf]):
        with pytest.raises(ValueError, match="times must be finite and increasing"):
            processes.brownian_path(key, jnp.array(wrong))
    with pytest.raises(ValueError, match="times must be at least 0"):
        processes.brownian_path(key, jnp.array([-1.0, 1.0]))
    with pytest.raises(ValueError, match=r"times must be a vector of at least 1 times; got shape \(\)"):
        processes.brownian_path(key, jnp.array(1.0))
    with pytest.raises(ValueError, match="shape must be an integer of at least 1; got 0"):
        processes.brownian_path(key, jnp.ones(1), 0)
    with pytest.raises(ValueError, match=r"path must have one point per time, 2; got shape \(3,\)"):
        processes.brownian_refine(key, jnp.arange(2.0), jnp.ones(3), jnp.arange(3.0))
    with pytest.raises(ValueError, match="finer_times must be finite and increasing"):
        processes.brownian_refine(key, jnp.arange(2.0), jnp.ones(2), -jnp.arange(3.0))
    assert jnp.all(jnp.isnan(jax.jit(lambda times: processes.brownian_path(key, times))(jnp.array([2.0, 1.0]))))
