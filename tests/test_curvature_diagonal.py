"""Diagonals by probes, against dense matrices."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from jaxgen import curvature
from jaxgen._core.rademacher import rademacher

_diagonal = jax.jit(curvature.diagonal, static_argnames=("num_matvecs", "chunk_size"))


@pytest.fixture
def matrix():
    a = np.random.default_rng(1).normal(size=(5, 5))
    return jnp.asarray(a + a.T)


@pytest.mark.any_precision
def test_it_is_the_diagonal_with_the_standard_errors_of_its_rows(key, matrix):
    """One probe's variance at i is sum_{j != i} A_ij^2: 4000 probes to 10 % (4 times sqrt(kurtosis / 4000)); values to 4 standard errors."""
    estimate = _diagonal(lx.MatrixLinearOperator(matrix, lx.symmetric_tag), key, num_matvecs=4000)
    dense = np.asarray(matrix)
    rows = (dense**2).sum(axis=1) - np.diag(dense) ** 2
    np.testing.assert_allclose(4000 * np.asarray(estimate.stderr) ** 2, rows, rtol=0.1)
    assert (np.abs(np.asarray(estimate.value) - np.diag(dense)) < 4 * np.asarray(estimate.stderr)).all()


def test_a_diagonal_operator_is_known_from_one_probe(key, rtol):
    tree = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.full((), 5.0)}
    estimate = _diagonal(lx.DiagonalLinearOperator(tree), key, num_matvecs=3)
    jax.tree.map(lambda found, expected: np.testing.assert_allclose(found, expected, rtol=rtol), estimate.value, tree)
    jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf, 0, atol=10 * rtol), estimate.stderr)


@pytest.mark.any_precision
def test_chunks_change_nothing(key, matrix, rtol):
    """Mean and standard error against those of the probes themselves."""
    operator = lx.MatrixLinearOperator(matrix)
    keys = jax.random.split(key, 7)
    probes = jnp.stack([rademacher(k, (5,), matrix.dtype) for k in keys])
    expected = _diagonal(operator, key, num_matvecs=7)
    values = probes * (probes @ matrix)
    for chunk_size in (2, 9):
        found = _diagonal(operator, key, num_matvecs=7, chunk_size=chunk_size)
        np.testing.assert_allclose(found, expected, rtol=10 * rtol, atol=10 * rtol)
    np.testing.assert_allclose(expected.value, values.mean(axis=0), rtol=10 * rtol, atol=10 * rtol)
    np.testing.assert_allclose(expected.stderr, values.std(axis=0, ddof=1) / np.sqrt(7), rtol=10 * rtol, atol=10 * rtol)


@pytest.mark.any_precision
def test_vmap_jit_and_grad(key):
    """Diagonal Hessian 12 w^2, its derivative 24 w."""

    def call(w):
        return curvature.diagonal(curvature.hessian(lambda w, x: jnp.sum(w**4) * x, w, jnp.ones(2)), key, num_matvecs=3).value

    w = jnp.array([[0.5, 2.0], [1.0, 3.0]])
    np.testing.assert_allclose(jax.jit(jax.vmap(call))(w), 12 * w**2, rtol=1e-5)
    np.testing.assert_allclose(call(w[0]), 12 * w[0] ** 2, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda w: call(w).sum()))(w[0]), 24 * w[0], rtol=1e-5)


@pytest.mark.any_precision
def test_bad_input_is_named(key, matrix):
    assert jnp.isnan(_diagonal(lx.MatrixLinearOperator(matrix), key, num_matvecs=1).stderr).all()
    with pytest.raises(ValueError, match="num_matvecs must be an integer of at least 1; got 0"):
        curvature.diagonal(lx.MatrixLinearOperator(matrix), key, num_matvecs=0)
    with pytest.raises(ValueError, match="chunk_size must be an integer of at least 1; got 0"):
        curvature.diagonal(lx.MatrixLinearOperator(matrix), key, num_matvecs=2, chunk_size=0)
    with pytest.raises(ValueError, match="operator must be square"):
        curvature.diagonal(lx.MatrixLinearOperator(matrix[:2]), key, num_matvecs=2)
    with pytest.raises(ValueError, match="a product of the operator is not finite"):
        curvature.diagonal(lx.MatrixLinearOperator(matrix.at[1, 1].set(jnp.inf)), key, num_matvecs=2)
