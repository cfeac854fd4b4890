"""Gaussian laws of parameters and their divergences."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds, information


def _laws(key):
    keys = jax.random.split(key, 4)
    shapes = {"a": (2, 3), "b": (4,)}

    def tree(key):
        return {name: jax.random.normal(jax.random.fold_in(key, i), shape) for i, (name, shape) in enumerate(shapes.items())}

    def stds(key):
        return jax.tree.map(lambda leaf: jnp.exp(0.3 * leaf), tree(key))

    return bounds.gaussian(tree(keys[0]), stds(keys[1])), bounds.gaussian(tree(keys[2]), stds(keys[3]))


def test_the_divergence_has_the_known_value(rtol):
    q = bounds.gaussian(jnp.array([0.3, -1.0]), jnp.array([0.5, 0.2]))
    p = bounds.gaussian(jnp.array([0.0, 0.5]), jnp.array([1.0, 0.7]))
    np.testing.assert_allclose(bounds.gaussian_kl(q, p), 3.4526448429, rtol=max(rtol, 1e-10))
    assert bounds.gaussian_kl(q, q) == 0
    assert not jnp.allclose(bounds.gaussian_kl(p, q), bounds.gaussian_kl(q, p))


@pytest.mark.heavy
def test_it_is_that_of_full_covariances_and_additive_over_leaves(key, rtol):
    q, p = _laws(key)
    vectors = [jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for law in (q, p) for tree in law]
    full = information.gaussian_kl(vectors[0], jnp.diag(jnp.exp(2 * vectors[1])), vectors[2], jnp.diag(jnp.exp(2 * vectors[3])))
    np.testing.assert_allclose(bounds.gaussian_kl(q, p), full, rtol=rtol)
    leaves = [bounds.GaussianParams(law.mean[name], law.log_std[name]) for name in "ab" for law in (q, p)]
    np.testing.assert_allclose(bounds.gaussian_kl(*leaves[:2]) + bounds.gaussian_kl(*leaves[2:]), full, rtol=rtol)


@pytest.mark.heavy
def test_it_is_the_mean_of_the_log_density_ratio(key):
    q, p = _laws(key)
    ratios = jax.vmap(lambda key: bounds.log_density_ratio(bounds.sample_gaussian(key, q), q, p))(jax.random.split(key, 4000))
    assert abs(ratios.mean() - bounds.gaussian_kl(q, p)) <= 5 * ratios.std() / math.sqrt(4000)


@pytest.mark.float64
def test_a_small_change_has_an_accurate_divergence():
    """r^2 + (mean change)^2 / 2 for a log ratio r, without cancellation."""
    p = bounds.gaussian(jnp.zeros(3), 1.0)
    q = bounds.GaussianParams(jnp.full(3, 1e-9), jnp.full((), 1e-7))
    np.testing.assert_allclose(bounds.gaussian_kl(q, p), 3 * (1e-14 + 0.5e-18), rtol=1e-6)


def test_one_standard_deviation_for_all_or_for_a_leaf_is_broadcast(key, rtol):
    q, p = _laws(key)
    whole = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.5), p.mean)
    values = [bounds.gaussian_kl(q, bounds.gaussian(p.mean, std)) for std in (whole, 0.5, {"a": 0.5, "b": jnp.full(4, 0.5)})]
    np.testing.assert_allclose(values, values[0], rtol=rtol)


@pytest.mark.heavy
def test_the_best_variance_of_a_prior_is_a_minimum(key, rtol):
    q, p = _laws(key)
    best = bounds.optimal_prior_variance(q, p.mean)
    gradient = jax.grad(lambda v: bounds.gaussian_kl(q, bounds.GaussianParams(p.mean, 0.5 * jnp.log(v))))(best)
    np.testing.assert_allclose(gradient, 0, atol=50 * rtol)
    spreads = sum(2 * leaf.sum() for leaf in jax.tree.leaves(q.log_std))
    np.testing.assert_allclose(
        bounds.gaussian_kl(q, bounds.GaussianParams(p.mean, 0.5 * jnp.log(best))), 0.5 * (10 * jnp.log(best) - spreads), rtol=10 * rtol
    )


@pytest.mark.heavy
def test_the_chosen_prior_lies_on_the_grid_and_pays(key):
    q, p = _laws(key)
    grid = bounds.PriorGrid(p.mean, 10.0, 20.0)
    law, price = bounds.choose_prior(q, grid)
    j = 20 * (math.log(10) - 2 * float(law.log_std))
    assert abs(j - round(j)) < 1e-4
    np.testing.assert_allclose(price, 2 * math.log(j) + math.log(math.pi**2 / 6), rtol=1e-5)
    np.testing.assert_allclose(price, bounds.prior_grid_penalty(jnp.exp(2 * law.log_std), 10.0, 20.0), rtol=1e-4)
    others = [bounds.GaussianParams(p.mean, 0.5 * (math.log(10) - i / 20)) for i in range(1, 200)]
    costs = jnp.stack([bounds.gaussian_kl(q, other) + 2 * math.log(i) for i, other in enumerate(others, 1)])
    assert bounds.gaussian_kl(q, law) + 2 * jnp.log(j) <= costs.min() + 1e-3 * costs.min()


@pytest.mark.any_precision
def test_bad_laws_are_refused():
    q = bounds.gaussian({"a": jnp.zeros(2)}, 1.0)
    with pytest.raises(ValueError, match="std must be positive"):
        bounds.gaussian(jnp.zeros(2), jnp.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="posterior and prior must have the same structure"):
        bounds.gaussian_kl(q, bounds.gaussian({"a": jnp.zeros(3)}, 1.0))
    with pytest.raises(ValueError, match="posterior and prior must have the same structure"):
        bounds.gaussian_kl(q, bounds.gaussian({"b": jnp.zeros(2)}, 1.0))
    with pytest.raises(ValueError, match="must be scalars or of shape"):
        bounds.gaussian({"a": jnp.zeros(2)}, {"a": jnp.ones(3)})
    with pytest.raises(ValueError, match="variance must be below c"):
        bounds.prior_grid_penalty(0.2, 0.1)
