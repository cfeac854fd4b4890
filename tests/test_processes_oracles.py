"""Noisy gradient oracles, against enumeration and exact moments."""

import itertools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import processes


def _loss(params, batch):
    x, y = batch
    return 0.5 * (jnp.tanh(x @ params["a"]) * params["b"] - y) ** 2


@pytest.fixture
def params():
    return {"a": jnp.array([0.5, -1.0]), "b": jnp.float32(2.0)}


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(4, 2)), jnp.float32), jnp.asarray(rng.normal(size=4), jnp.float32)


def _gradient(params, data, rows):
    batch = jax.tree.map(lambda leaf: leaf[jnp.array(rows)], data)
    return ravel_pytree(jax.grad(lambda p: _loss(p, batch).mean())(params))[0]


@pytest.mark.any_precision
@pytest.mark.parametrize("replacement", [True, False])
def test_draws_are_gradients_of_batches_and_their_covariance_is_sigma_squared_times_sigma(key, params, data, replacement):
    oracle = processes.minibatch_oracle(_loss, data, batch_size=2, replacement=replacement)
    batches = list(itertools.product(range(4), repeat=2) if replacement else itertools.combinations(range(4), 2))
    every = np.asarray(jax.jit(jax.vmap(lambda rows: _gradient(params, data, rows)))(jnp.array(batches)))
    draws = np.asarray(jax.jit(jax.vmap(lambda k: ravel_pytree(oracle.sample(k, params))[0]))(jax.random.split(key, 50)))
    distances = np.abs(draws[:, None] - every).max(axis=2)
    assert distances.min(axis=1).max() < 1e-5
    assert len(set(distances.argmin(axis=1).tolist())) >= len(batches) // 2
    np.testing.assert_allclose(ravel_pytree(oracle.mean(params))[0], every.mean(0), rtol=1e-4, atol=1e-5)
    covariance = np.cov(every.T, ddof=0)
    found = oracle.noise_scale**2 * oracle.covariance(params).as_matrix()
    np.testing.assert_allclose(found, covariance, rtol=1e-4, atol=1e-5 * np.abs(covariance).max())


@pytest.mark.any_precision
def test_noise_is_what_is_left_of_its_own_draw(key, params, data):
    oracle = processes.minibatch_oracle(_loss, data, batch_size=9)
    mean, noise, draw = jax.jit(lambda o: (o.mean(params), o.noise(key, params), o.sample(key, params)))(oracle)
    rebuilt = jax.tree.map(lambda mean, z: mean + z / 3, mean, noise)
    np.testing.assert_allclose(ravel_pytree(rebuilt)[0], ravel_pytree(draw)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.any_precision
def test_a_gaussian_oracle_has_the_covariance_of_its_root(key):
    """A root of 2 x 3, not square; 20000 draws, 5 standard errors of a product of normal variables."""
    root = jnp.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]])
    oracle = processes.gaussian_oracle(lambda x: 3 * x, lambda x: lx.MatrixLinearOperator(root * (1 + x[0])), 0.1)
    x, count = jnp.array([1.0, 0.0]), 20000
    draws = np.asarray(jax.jit(jax.vmap(lambda k: oracle.sample(k, x)))(jax.random.split(key, count)))
    expected = 4 * np.asarray(root @ root.T)
    np.testing.assert_allclose(oracle.covariance(x).as_matrix(), expected, rtol=1e-6)
    assert lx.is_positive_semidefinite(oracle.covariance(x))
    z = (draws - 3 * np.asarray(x)) / 0.1
    stderr = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / count)
    assert np.all(np.abs(z.T @ z / count - expected) < 5 * stderr)


@pytest.mark.any_precision
def test_an_oracle_is_an_argument_of_jit(key, params, data):
    draw = jax.jit(lambda oracle, key: oracle.sample(key, params))
    oracle = processes.minibatch_oracle(_loss, data, batch_size=2)
    np.testing.assert_allclose(draw(oracle, key)["a"], oracle.sample(key, params)["a"], rtol=1e-5)


@pytest.mark.any_precision
def test_bad_input_is_named(data):
    with pytest.raises(ValueError, match="batch_size must be below n = 4 without replacement"):
        processes.minibatch_oracle(_loss, data, batch_size=4, replacement=False)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1; got 0"):
        processes.minibatch_oracle(_loss, data, batch_size=0)
    with pytest.raises(ValueError, match="data must hold at least 2 examples; got 1"):
        processes.minibatch_oracle(_loss, jax.tree.map(lambda leaf: leaf[:1], data), batch_size=1)
    for scale in (0.0, -1.0):
        with pytest.raises(ValueError, match="noise_scale must be positive"):
            processes.gaussian_oracle(lambda x: x, lx.DiagonalLinearOperator, scale)
    with pytest.raises(ValueError, match=r"noise_scale must be a scalar; got shape \(2,\)"):
        processes.gaussian_oracle(lambda x: x, lx.DiagonalLinearOperator, jnp.ones(2))
