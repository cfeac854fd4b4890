"""The Hessian operator against the dense Hessian."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import curvature


def _loss(params, batch):
    x, y = batch
    return jnp.logaddexp(0.0, -y * (jnp.tanh(x @ params["a"]) @ params["b"]))


def _strictly_convex(w, x):
    return jnp.cosh(x @ w) + 0.5 * w @ w


def _flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.fixture
def params():
    rng = np.random.default_rng(1)
    return {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}


@pytest.fixture
def batch():
    rng = np.random.default_rng(2)
    return rng.normal(size=(6, 3)), rng.choice([-1.0, 1.0], size=6)


@pytest.fixture
def dense(params, batch):
    flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))
    return np.asarray(jax.jit(jax.hessian(lambda w: _loss(unravel(w), batch).mean()))(flat))


@pytest.mark.heavy
def test_products_and_matrix_are_the_dense_hessians(params, batch, dense, rtol):
    operator = curvature.hessian(_loss, params, batch)
    vector = jax.tree.map(np.cos, params)
    products = jax.jit(lambda operator, vector: (operator.mv(vector), lx.linearise(operator).mv(vector)))
    product, linearised = products(operator, vector)
    assert jax.tree.structure(product) == jax.tree.structure(params)
    atol = 10 * rtol * np.abs(dense).max()
    np.testing.assert_allclose(_flat(product), dense @ _flat(vector), rtol=10 * rtol, atol=atol)
    np.testing.assert_allclose(linearised["a"], product["a"], rtol=10 * rtol, atol=atol)
    matrices = jax.jit(lambda operator: (operator.as_matrix(), lx.materialise(operator).as_matrix(), lx.diagonal(operator)))(operator)
    for found, expected in zip(matrices, (dense, dense, np.diag(dense)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=10 * rtol, atol=atol)


@pytest.mark.any_precision
def test_it_says_that_it_is_symmetric_and_nothing_more(params, batch):
    operator = curvature.hessian(_loss, params, batch)
    assert lx.is_symmetric(operator)
    assert operator.T is operator
    assert lx.conj(operator) is operator
    assert operator.in_structure() == operator.out_structure() == jax.eval_shape(lambda: params)
    assert operator.in_size() == 8
    queries = lx.is_diagonal, lx.is_tridiagonal, lx.has_unit_diagonal, lx.is_lower_triangular, lx.is_upper_triangular
    assert not any(query(operator) for query in (*queries, lx.is_positive_semidefinite, lx.is_negative_semidefinite))


@pytest.mark.any_precision
def test_other_parameters_do_not_trace_again(params, batch):
    traces = []

    def counted(params, batch):
        traces.append(1)
        return _loss(params, batch)

    @jax.jit
    def product(operator, vector):
        return operator.mv(vector)

    @jax.jit
    def make(params):
        return curvature.hessian(counted, params, batch)

    for scale in (1.0, 2.0, 3.0):
        scaled = jax.tree.map(lambda leaf, scale=scale: scale * leaf, params)
        product(curvature.hessian(counted, scaled, batch), scaled)
        product(make(scaled), scaled)
    assert product._cache_size() == 1
    assert len(traces) == 1


@pytest.mark.any_precision
def test_operators_are_mapped_by_vmap(params, batch, dense, rtol):
    several = jax.tree.map(lambda leaf: np.stack([2 * leaf, leaf]), params)
    operators = jax.vmap(lambda p: curvature.hessian(_loss, p, batch))(several)
    matrices = jax.jit(jax.vmap(lambda operator: operator.as_matrix()))(operators)
    np.testing.assert_allclose(matrices[1], dense, rtol=10 * rtol, atol=10 * rtol * np.abs(dense).max())


@pytest.mark.float64
def test_lineax_solves_with_it():
    x, w, b = np.random.default_rng(1).normal(size=(20, 3)), jnp.full(3, 1 / 3), jnp.arange(1.0, 4.0)
    operator = curvature.hessian(_strictly_convex, w, x)
    tolerance = 100 * float(jnp.finfo(w.dtype).eps)
    positive = lx.TaggedLinearOperator(operator, lx.positive_semidefinite_tag)
    solve = jax.jit(lambda operator, b: (lx.linear_solve(operator, b, lx.CG(rtol=tolerance, atol=tolerance)).value, operator.as_matrix()))
    found, matrix = solve(positive, b)
    expected = np.linalg.solve(np.asarray(matrix, np.float64), b)
    np.testing.assert_allclose(found, expected, rtol=100 * tolerance)
    np.testing.assert_allclose((2 * operator + operator).mv(b), 3 * operator.mv(b), rtol=tolerance)


@pytest.mark.any_precision
def test_the_product_is_differentiable_in_the_parameters():
    """Third derivative of w^4: H(w) v = 12 w^2 v."""
    slope = jax.grad(lambda w: curvature.hessian_vector_product(lambda w, x: w**4 * x, w, jnp.ones(2), 1.0))(0.5)
    np.testing.assert_allclose(slope, 12.0, rtol=1e-6)


@pytest.mark.any_precision
def test_vectors_of_integers_become_floats():
    operator = curvature.hessian(lambda w, x: (x @ w) ** 2, np.array([1.0, 2.0]), np.array([[1, 0]]))
    assert operator.mv(np.array([1, 1])).tolist() == [2.0, 0.0]


@pytest.mark.any_precision
def test_nan_in_parameters_is_refused_or_fills_the_product(params, batch):
    poisoned = {"a": params["a"], "b": np.array([1.0, np.nan])}
    with pytest.raises(ValueError, match="params must be finite; found NaN or infinity; at 'b'"):
        curvature.hessian(_loss, poisoned, batch)
    product = jax.jit(lambda p: curvature.hessian(_loss, p, batch).mv(params))(poisoned)
    assert np.isnan(_flat(product)).all()


@pytest.mark.any_precision
def test_bad_input_is_named(params, batch):
    operator = curvature.hessian(_loss, params, batch)
    with pytest.raises(ValueError, match="vector must have the structure of params"):
        operator.mv({"a": params["a"]})
    with pytest.raises(ValueError, match=r"vector must have the structure of params.*\(2,\).*got.*\(3,\)"):
        operator.mv({"a": params["a"], "b": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"loss_fn must return one loss per example, shape \(6,\); got shape \(\)"):
        curvature.hessian(lambda p, b: _loss(p, b).sum(), params, batch).mv(params)
    with pytest.raises(ValueError, match="every leaf of batch must have the same leading axis"):
        curvature.hessian(_loss, params, (batch[0], batch[1][:2]))
    with pytest.raises(ValueError, match="batch must hold at least one example; got 0"):
        curvature.hessian(_loss, params, (batch[0][:0], batch[1][:0]))
    with pytest.raises(TypeError, match="params must be of a floating dtype; got dtype int32; at 'b'"):
        curvature.hessian(_loss, {"a": params["a"], "b": np.arange(2)}, batch)
    with pytest.raises(TypeError, match="params must be real; got dtype complex"):
        curvature.hessian(_loss, {"a": params["a"] * 1j, "b": params["b"]}, batch)
