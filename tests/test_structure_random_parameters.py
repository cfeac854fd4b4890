"""Noise in place of draws of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import models, structure

pytestmark = pytest.mark.float64
NUM_DRAWS = 4000


def _moments(apply_fn, means, variances, x, key, joint=False):
    """Means and covariance of what one example gives, with parameters drawn and with noise."""
    layers = structure.understood(apply_fn, means, x, "apply_fn")

    def noise(key):
        return structure.with_random_parameters(layers, means, variances, x, key)[0]

    def drawn(key):
        keys = jax.tree.unflatten(jax.tree.structure(means), list(jax.random.split(key, len(jax.tree.leaves(means)))))
        w = jax.tree.map(lambda m, v, k: m + jnp.sqrt(v) * jax.random.normal(k, m.shape), means, variances, keys)
        return apply_fn(w, x)

    keys = jax.random.split(key, NUM_DRAWS)
    return [np.asarray(jax.jit(jax.vmap(fn))(keys)) for fn in (noise, drawn)]


def _agree(left, right):
    """First and second moments of outputs of one example, within five standard errors."""
    for power in (1, 2):
        for a, b in ((left**power, right**power), (left[..., 0] * left[..., -1], right[..., 0] * right[..., -1])):
            spread = np.sqrt((a.var(axis=0) + b.var(axis=0)) / NUM_DRAWS)
            assert np.all(np.abs(a.mean(axis=0) - b.mean(axis=0)) <= 5 * spread + 1e-12)


def _net(params, x):
    h = jax.nn.relu((params["scale"] * x) @ params["first"] + params["bias"])
    return h @ params["last"].T


def test_one_example_is_distributed_as_with_drawn_parameters(key):
    """Weights, a transposed matrix, a bias that shares its layer's noise, and a scale; second moments see correlations of outputs."""
    keys = jax.random.split(key, 5)
    params = {"scale": jnp.ones(3), "first": jax.random.normal(keys[0], (3, 6)), "bias": jnp.ones(6), "last": jax.random.normal(keys[1], (2, 6))}
    variances = jax.tree.map(lambda leaf: 0.1 + 0.1 * jnp.abs(leaf), params)
    _agree(*_moments(_net, params, variances, jax.random.normal(keys[2], (4, 3)), keys[3]))


def test_a_shared_variance_gives_the_same_law(key):
    model, x = models.mlp((5, 2)), jax.random.normal(key, (3, 4))
    params = model.init(key, x)
    _agree(*_moments(model.apply, params, jax.tree.map(lambda _: jnp.array(0.2), params), x, key))


def test_rows_of_a_table_are_random_too(key):
    def apply_fn(params, x):
        return params["table"][x] @ params["last"]

    params = {"table": jax.random.normal(key, (5, 3)), "last": jax.random.normal(key, (3, 2))}
    _agree(*_moments(apply_fn, params, jax.tree.map(lambda leaf: 0.1 * leaf**2, params), jnp.array([0, 3, 3]), key))


def test_examples_have_draws_of_their_own(key):
    """Two equal examples are uncorrelated with noise and equal with a draw."""
    model, x = models.mlp((5, 1)), jnp.ones((2, 3))
    params = model.init(key, x)
    noise, drawn = _moments(model.apply, params, jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.1), params), x, key)
    assert abs(np.corrcoef(noise[:, 0, 0], noise[:, 1, 0])[0, 1]) <= 5 / np.sqrt(NUM_DRAWS)
    np.testing.assert_allclose(drawn[:, 0], drawn[:, 1], rtol=1e-12)


def test_what_an_example_meets_twice_is_drawn(key):
    """Kernels of convolutions, tied weights and layers over positions have no noise that stands for them; biases have."""

    def tied(params, x):
        return jnp.tanh(x @ params["w"] + params["b"]) @ params["w"].T

    def positions(params, x):
        return (x @ params["w"] + params["b"]).sum(axis=1)

    params = {"b": jnp.ones(4), "w": jnp.ones((3, 4))}
    for apply_fn, x in ((tied, jnp.ones((2, 3))), (positions, jnp.ones((2, 5, 3)))):
        layers = structure.understood(apply_fn, params, x, "apply_fn")
        assert structure.enters_as_noise(layers) == [True, False]
    model, x = models.cnn((2,), 3), jnp.ones((2, 6, 6))
    layers = structure.understood(model.apply, model.init(key, x), x, "apply_fn")
    noisy = dict(zip((leaf.path for leaf in layers.leaves), structure.enters_as_noise(layers), strict=True))
    assert [name for name, enters in noisy.items() if not enters] == ["Conv_0/kernel"]


def test_a_bias_over_positions_is_the_same_everywhere_in_an_example(key):
    def apply_fn(params, x):
        return x + params

    x = jnp.zeros((3, 4, 2))
    layers = structure.understood(apply_fn, jnp.zeros(2), x, "apply_fn")
    (found,) = structure.with_random_parameters(layers, jnp.zeros(2), jnp.ones(2), x, key)
    np.testing.assert_array_equal(found, jnp.broadcast_to(found[:, :1], found.shape))
    assert len(np.unique(found)) == 6


def test_derivatives_are_finite_where_an_example_is_zero(key):
    model, x = models.mlp((4, 2), bias=False), jnp.zeros((2, 3))
    params = model.init(key, x)

    def total(spread):
        layers = structure.understood(model.apply, params, x, "apply_fn")
        return structure.with_random_parameters(layers, params, jax.tree.map(lambda leaf: jnp.full_like(leaf, spread), params), x, key)[0].sum()

    assert jnp.isfinite(jax.grad(total)(0.1))
