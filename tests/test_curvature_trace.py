"""Hutchinson's trace, against dense matrices."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import curvature, seeds

_trace = jax.jit(curvature.trace, static_argnames=("num_matvecs", "chunk_size"))


def _loss(params, x):
    return jnp.sum(jnp.tanh(x @ params["a"]) ** 3, axis=-1) + x[:, 0] * params["b"] ** 2


@pytest.fixture
def symmetric():
    a = np.random.default_rng(1).normal(size=(6, 6))
    return jnp.asarray(a + a.T)


@pytest.mark.any_precision
def test_trace_of_a_hessian_is_the_dense_ones(key):
    """400 probes, 4 standard errors."""
    rng = np.random.default_rng(1)
    params, x = {"a": jnp.asarray(rng.normal(size=(3, 2))), "b": jnp.asarray(1.0)}, rng.normal(size=(5, 3))
    flat, unravel = ravel_pytree(params)
    expected = np.trace(jax.jit(jax.hessian(lambda w: _loss(unravel(w), x).mean()))(flat))
    estimate = _trace(curvature.hessian(_loss, params, x), key, num_matvecs=400)
    assert abs(float(estimate.value) - expected) < 4 * float(estimate.stderr)
    assert 0 < float(estimate.stderr) < 0.2


@pytest.mark.any_precision
def test_the_standard_error_is_that_of_the_off_diagonal_part(key, symmetric):
    """One probe has variance 2 |A - diag A|_F^2; a sample variance of 4000 probes is right to 10 % (4 times sqrt(kurtosis / 4000))."""
    estimate = _trace(lx.MatrixLinearOperator(symmetric, lx.symmetric_tag), key, num_matvecs=4000)
    matrix = np.asarray(symmetric)
    off_diagonal = matrix - np.diag(np.diag(matrix))
    np.testing.assert_allclose(4000 * float(estimate.stderr) ** 2, 2 * (off_diagonal**2).sum(), rtol=0.1)
    assert abs(float(estimate.value) - np.trace(matrix)) < 4 * float(estimate.stderr)


def test_a_diagonal_operator_has_an_exact_trace(key, rtol):
    operator = lx.DiagonalLinearOperator({"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.full((), 5.0)})
    estimate = _trace(operator, key, num_matvecs=2)
    np.testing.assert_allclose(estimate, (20.0, 0.0), rtol=rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize("chunk_size", [2, 7])
def test_chunks_change_nothing(key, symmetric, rtol, chunk_size):
    operator = lx.MatrixLinearOperator(symmetric)
    found = _trace(operator, key, num_matvecs=7, chunk_size=chunk_size)
    expected = _trace(operator, key, num_matvecs=7)
    np.testing.assert_allclose(found.value, expected.value, rtol=10 * rtol, atol=10 * rtol)
    np.testing.assert_allclose(found.stderr, expected.stderr, rtol=10 * rtol)


@pytest.mark.any_precision
def test_vmap_changes_nothing(key, rtol):
    rng = np.random.default_rng(1)
    several, x = {"a": rng.normal(size=(2, 3, 2)), "b": np.ones(2)}, rng.normal(size=(5, 3))

    def call(params):
        return curvature.trace(curvature.hessian(_loss, params, x), key, num_matvecs=3).value

    found = jax.jit(jax.vmap(call))(several)
    one = curvature.hessian(_loss, jax.tree.map(lambda leaf: leaf[1], several), x)
    np.testing.assert_allclose(found[1], _trace(one, key, num_matvecs=3).value, rtol=100 * rtol)


@pytest.mark.any_precision
def test_the_estimate_is_differentiable_in_the_parameters(key):
    """Diagonal Hessian 12 w^2: the probes' signs do not matter, and the trace's derivative is 24 w."""

    def estimate(w):
        return curvature.trace(curvature.hessian(lambda w, x: jnp.sum(w**4) * x, w, jnp.ones(2)), key, num_matvecs=2).value

    np.testing.assert_allclose(jax.jit(jax.grad(estimate))(jnp.array([0.5, 2.0])), [12.0, 48.0], rtol=1e-5)


@pytest.mark.any_precision
def test_one_probe_has_no_standard_error(key, symmetric):
    assert jnp.isnan(curvature.trace(lx.MatrixLinearOperator(symmetric), key, num_matvecs=1).stderr)


@pytest.mark.any_precision
def test_bad_input_is_named(key, symmetric):
    operator = lx.MatrixLinearOperator(symmetric)
    with pytest.raises(ValueError, match="method must be one of 'hutchinson'; got 'guess'"):
        curvature.trace(operator, key, num_matvecs=3, method="guess")
    with pytest.raises(ValueError, match="num_matvecs must be an integer of at least 1; got 0"):
        curvature.trace(operator, key, num_matvecs=0)
    with pytest.raises(ValueError, match=r"operator must be square: it maps .* to "):
        curvature.trace(lx.MatrixLinearOperator(symmetric[:2]), key, num_matvecs=3)


@pytest.mark.any_precision
def test_seeds_on_several_devices_change_nothing(key, rtol):
    params, x = {"a": jax.random.normal(key, (3, 2)), "b": jnp.ones(())}, jax.random.normal(key, (5, 3))
    keys = jax.random.split(key, 4)

    def estimate(key, x):
        return curvature.trace(curvature.hessian(_loss, params, x), key, num_matvecs=3).value

    np.testing.assert_allclose(seeds.run(estimate, keys, x), jnp.stack([estimate(k, x) for k in keys]), rtol=rtol)
