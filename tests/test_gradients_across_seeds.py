"""Gradient dispersion over training seeds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import gradients, seeds

_seed_dispersion = jax.jit(gradients.seed_dispersion, static_argnames=("center", "axis_name"))


@pytest.fixture
def stacked():
    rng = np.random.default_rng(1)
    return {"a": rng.normal(size=(6, 2, 3)), "b": 3 + rng.normal(size=6)}


def _flat(tree):
    return np.concatenate([np.asarray(leaf).reshape(len(leaf), -1) for leaf in jax.tree.leaves(tree)], axis=1)


def test_seed_mean_is_the_trace_of_the_sample_covariance(stacked, rtol):
    np.testing.assert_allclose(_seed_dispersion(stacked), np.trace(np.cov(_flat(stacked).T)), rtol=10 * rtol)


def test_zero_is_the_second_moment_also_of_one_seed(stacked, rtol):
    flat = _flat(stacked)
    np.testing.assert_allclose(_seed_dispersion(stacked, center="zero"), (flat**2).sum(1).mean(), rtol=10 * rtol)
    one = jax.tree.map(lambda leaf: leaf[:1], stacked)
    np.testing.assert_allclose(_seed_dispersion(one, center="zero"), (flat[0] ** 2).sum(), rtol=10 * rtol)


@pytest.mark.parametrize("variance", [None, 0.7])
def test_the_population_centre_is_fitted_on_the_other_seeds(stacked, rtol, variance):
    population = jax.tree.map(lambda leaf: np.random.default_rng(2).normal(size=leaf.shape), stacked)
    g, u = _flat(stacked), _flat(population)
    distances = [((g[k] - np.delete(u, k, axis=0).mean(0)) ** 2).sum() for k in range(6)]
    correction = np.trace(np.cov(u.T)) if variance is None else variance
    found = _seed_dispersion(stacked, center="population", population_gradients=population, population_variance=variance)
    np.testing.assert_allclose(found, np.mean(distances) - correction / 5, rtol=20 * rtol)


@pytest.mark.any_precision
def test_the_divisor_is_unbiased_and_one_over_k_is_not(key):
    """INFO-22: five seeds of N(0, I_3), 2 10^5 repetitions: 3, within 4 standard errors; divided by K, 2.4."""
    g = jax.random.normal(key, (200_000, 5, 3))
    found = jax.jit(jax.vmap(gradients.seed_dispersion))(g)
    stderr = float(found.std()) / np.sqrt(len(found))
    assert abs(float(found.mean()) - 3) < 4 * stderr
    assert abs(0.8 * float(found.mean()) - 2.4) < 4 * stderr


@pytest.mark.any_precision
def test_the_population_centre_is_unbiased_whether_or_not_the_gradient_shares_its_mean(key):
    """Gradients N(1, 1), held-out gradients N(0.5, 0.09) correlated with them: E|g - c|^2 = d (1 + 0.25)."""
    noise = jax.random.normal(key, (2, 50_000, 4, 2))
    g = 1 + noise[0]
    u = 0.5 + 0.3 * (0.8 * noise[0] + 0.6 * noise[1])
    found = jax.jit(jax.vmap(lambda g, u: _seed_dispersion(g, center="population", population_gradients=u)))(g, u)
    assert abs(float(found.mean()) - 2.5) < 4 * float(found.std()) / np.sqrt(len(found))


@pytest.mark.any_precision
def test_dispersion_of_the_linear_gaussian_model():
    """V_t of INFO-22 (d = 2, n = 8, b = 2, lambda = 0.1, cyclic batches), K = 200 seeds: 4 jackknife standard errors."""
    known = [1, 1.01, 1.0181, 1.024661, 0.884175, 0.901602, 0.915717, 0.927151]
    z = np.random.default_rng(1).normal(size=(200, 8, 2))
    w, estimate = np.zeros((200, 2)), jax.jit(lambda g: seeds.jackknife(gradients.seed_dispersion, g))
    for t, expected in enumerate(known):
        rows = [2 * t % 8, (2 * t + 1) % 8]
        g = w - z[:, rows].mean(1)
        value, stderr = estimate(g)
        assert abs(float(value) - expected) < 4 * float(stderr)
        w = w - 0.1 * g


@pytest.mark.any_precision
def test_deviations_sum_to_the_dispersion_and_carry_its_jackknife(rtol):
    g = np.random.default_rng(1).normal(size=(40, 5))
    deviations = np.asarray(jax.jit(gradients.seed_deviations)(g))
    np.testing.assert_allclose(deviations.sum() / 39, _seed_dispersion(g), rtol=10 * rtol)
    by_deviations = jax.jit(lambda r: seeds.jackknife(lambda r: r.sum() / (len(r) - 1), r))(deviations)
    by_gradients = jax.jit(lambda g: seeds.jackknife(gradients.seed_dispersion, g))(g)
    np.testing.assert_allclose(by_deviations.value, by_gradients.value, rtol=10 * rtol)
    np.testing.assert_allclose(by_deviations.stderr * 40 / 39, by_gradients.stderr, rtol=1e-4)


@pytest.mark.parametrize("center", ["seed_mean", "population", "zero"])
def test_in_lock_step_every_seed_has_the_dispersion_of_all(stacked, rtol, center):
    options = {"center": center}
    population = jax.tree.map(lambda leaf: 0.5 * leaf, stacked) if center == "population" else None

    def one(g, u):
        return gradients.seed_dispersion(g, population_gradients=u, axis_name="seeds", **options)

    found = jax.jit(jax.vmap(one, axis_name="seeds"))(stacked, population)
    np.testing.assert_allclose(found, np.full(6, _seed_dispersion(stacked, population_gradients=population, **options)), rtol=rtol)
    everyone = jax.jit(jax.vmap(lambda g: gradients.seed_deviations(g, axis_name="seeds"), axis_name="seeds", out_axes=None))(stacked)
    np.testing.assert_allclose(everyone, jax.jit(gradients.seed_deviations)(stacked), rtol=rtol)


@pytest.mark.any_precision
def test_dispersion_is_differentiable(stacked, rtol):
    slope = jax.jit(jax.grad(lambda c: gradients.seed_dispersion(jax.tree.map(lambda leaf: c * leaf, stacked))))(2.0)
    np.testing.assert_allclose(slope, 4 * gradients.seed_dispersion(stacked), rtol=10 * rtol)


@pytest.mark.any_precision
def test_bad_input_is_named(stacked):
    one = jax.tree.map(lambda leaf: leaf[:1], stacked)
    with pytest.raises(ValueError, match="center='seed_mean' needs K >= 2 seeds; got K = 1"):
        gradients.seed_dispersion(one)
    with pytest.raises(ValueError, match="center must be one of 'seed_mean', 'population', 'zero'; got 'mean'"):
        gradients.seed_dispersion(stacked, center="mean")
    with pytest.raises(ValueError, match="population_gradients must be given for center='population' and only then"):
        gradients.seed_dispersion(stacked, center="population")
    with pytest.raises(ValueError, match="population_gradients must be given for center='population' and only then"):
        gradients.seed_dispersion(stacked, population_gradients=stacked)
    with pytest.raises(ValueError, match="population_variance has no meaning for center='zero'"):
        gradients.seed_dispersion(stacked, center="zero", population_variance=1.0)
    with pytest.raises(ValueError, match="population_gradients must have the structure of gradients"):
        gradients.seed_dispersion(stacked, center="population", population_gradients={"a": stacked["a"]})
    with pytest.raises(ValueError, match="every leaf of gradients must have the same leading axis"):
        gradients.seed_dispersion({"a": jnp.zeros((3, 2)), "b": jnp.zeros((4, 2))})
    with pytest.raises(ValueError, match="population_variance must be at least 0"):
        gradients.seed_dispersion(stacked, center="population", population_gradients=stacked, population_variance=-1.0)
    traced = jax.jit(lambda v: gradients.seed_dispersion(stacked, center="population", population_gradients=stacked, population_variance=v))(-1.0)
    assert jnp.isnan(traced)
