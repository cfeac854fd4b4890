"""The power method, against prescribed spectra and dense eigenvalues."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import curvature

_power = jax.jit(curvature.power_iteration, static_argnames="num_matvecs")


def _with_spectrum(eigenvalues, tag=lx.symmetric_tag):
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(len(eigenvalues),) * 2))[0]
    matrix = basis * np.asarray(eigenvalues) @ basis.T
    return lx.MatrixLinearOperator(jnp.asarray((matrix + matrix.T) / 2), tag), jnp.asarray(basis)


def _start(size):
    return jnp.asarray(np.random.default_rng(2).normal(size=size))


def _loss(params, x):
    return jnp.sum(jnp.tanh(x @ params["a"]) ** 3, axis=-1) + x[:, 0] * params["b"] ** 2


def test_it_finds_the_eigenvalue_of_largest_modulus_with_its_sign(rtol):
    """(3/5)^(2 * 59) = 7e-27 is far below rounding."""
    operator, basis = _with_spectrum([-5.0, 3.0, 1.0, 0.5, -0.2])
    found = _power(operator, _start(5), num_matvecs=60)
    np.testing.assert_allclose(found.value, -5.0, rtol=10 * rtol)
    np.testing.assert_allclose(np.abs(found.vector), np.abs(basis[:, 0]), rtol=0, atol=50 * rtol)
    assert found.residual < 50 * rtol


@pytest.mark.any_precision
@pytest.mark.parametrize("num_matvecs", [1, 2, 5])
def test_the_result_is_that_of_explicit_powers(num_matvecs):
    operator, _ = _with_spectrum([2.0, -1.5, 1.0, 0.3])
    matrix = np.asarray(operator.as_matrix(), np.float64)
    v = np.linalg.matrix_power(matrix, num_matvecs - 1) @ np.asarray(_start(4), np.float64)
    v /= np.linalg.norm(v)
    found = _power(operator, _start(4), num_matvecs=num_matvecs)
    np.testing.assert_allclose(found.vector, v, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.value, v @ matrix @ v, rtol=1e-4)
    np.testing.assert_allclose(found.residual, np.linalg.norm(matrix @ v - (v @ matrix @ v) * v), rtol=1e-3)


@pytest.mark.any_precision
def test_it_multiplies_as_often_as_it_was_told():
    calls = []

    def product(v):
        jax.debug.callback(lambda: calls.append(1))
        return 2 * v

    operator = lx.FunctionLinearOperator(product, jax.eval_shape(lambda: jnp.zeros(3)), lx.symmetric_tag)
    curvature.power_iteration(operator, jnp.ones(3), num_matvecs=7)
    jax.effects_barrier()
    assert len(calls) == 7


@pytest.mark.any_precision
def test_operators_of_one_function_share_a_program():
    traces = []

    def loss_fn(w, x):
        traces.append(1)
        return (x @ w) ** 4

    values = []
    for scale in (1.0, 2.0):
        operator = curvature.hessian(loss_fn, jnp.full(2, scale), jnp.eye(2))
        values.append(float(curvature.power_iteration(operator, jnp.array([1.0, 0.5]), num_matvecs=3).value))
        seen = len(traces) if scale == 1.0 else seen
    assert len(traces) == seen
    np.testing.assert_allclose(values, [6.0, 24.0], rtol=1e-5)


@pytest.mark.any_precision
def test_the_residual_bounds_the_distance_to_an_eigenvalue():
    eigenvalues = np.linspace(-2.0, 3.0, 12)
    operator, _ = _with_spectrum(eigenvalues)
    for num_matvecs in (1, 3, 10):
        found = _power(operator, _start(12), num_matvecs=num_matvecs)
        assert np.min(np.abs(eigenvalues - float(found.value))) <= float(found.residual) + 1e-5


@pytest.mark.float64
def test_a_tie_is_no_eigenvalue_and_the_residual_says_so():
    operator, basis = _with_spectrum([5.0, -5.0, 1.0])
    start = basis @ jnp.array([1.0, 2.0, 1.0])
    found = _power(operator, start, num_matvecs=60)
    np.testing.assert_allclose(found.value, 5 * (1 - 4) / (1 + 4), rtol=1e-10)
    np.testing.assert_allclose(found.residual, 4.0, rtol=1e-10)


@pytest.mark.float64
def test_the_top_eigenvalue_of_a_hessian_is_the_dense_ones():
    rng = np.random.default_rng(1)
    params, x = {"a": jnp.asarray(rng.normal(size=(3, 2))), "b": jnp.asarray(1.0)}, rng.normal(size=(5, 3))
    flat, unravel = ravel_pytree(params)
    eigenvalues = np.linalg.eigvalsh(jax.jit(jax.hessian(lambda w: _loss(unravel(w), x).mean()))(flat))
    start = jax.tree.map(jnp.ones_like, params)
    found = _power(curvature.hessian(_loss, params, x), start, num_matvecs=300)
    np.testing.assert_allclose(found.value, eigenvalues[np.argmax(np.abs(eigenvalues))], rtol=1e-8)
    assert jax.tree.structure(found.vector) == jax.tree.structure(params)


@pytest.mark.float64
def test_a_warm_start_needs_few_products():
    operator, _ = _with_spectrum([4.0, 3.9, 1.0])
    near = _power(operator, _start(3), num_matvecs=800).vector
    moved = lx.MatrixLinearOperator(operator.as_matrix() + 1e-6 * jnp.eye(3), lx.symmetric_tag)
    np.testing.assert_allclose(_power(moved, near, num_matvecs=1).value, 4.000001, rtol=1e-11)


@pytest.mark.float64
def test_the_derivative_of_a_converged_eigenvalue_is_the_squared_eigenvector():
    operator, basis = _with_spectrum([4.0, 1.0, -0.5])

    def value(shift):
        matrix = operator.as_matrix() + jnp.diag(shift)
        return curvature.power_iteration(lx.MatrixLinearOperator(matrix, lx.symmetric_tag), _start(3), num_matvecs=40).value

    np.testing.assert_allclose(jax.jit(jax.grad(value))(jnp.zeros(3)), basis[:, 0] ** 2, rtol=1e-9)


@pytest.mark.any_precision
def test_vmap_is_a_loop():
    spectra = jnp.array([[3.0, 1.0, -1.0], [-2.0, 1.0, 0.5]])
    found = jax.jit(jax.vmap(lambda s: curvature.power_iteration(lx.DiagonalLinearOperator(s), jnp.ones(3), num_matvecs=40)))(spectra)
    np.testing.assert_allclose(found.value, [3.0, -2.0], rtol=1e-5)


@pytest.mark.any_precision
def test_a_zero_operator_has_the_eigenvalue_zero():
    found = _power(lx.DiagonalLinearOperator(jnp.zeros(3)), jnp.ones(3), num_matvecs=5)
    assert (found.value, found.residual) == (0, 0)
    np.testing.assert_allclose(found.vector, np.ones(3) / np.sqrt(3), rtol=1e-6)


def test_an_operator_that_is_not_symmetric_is_noticed():
    operator = lx.MatrixLinearOperator(jnp.asarray(np.random.default_rng(4).normal(size=(6, 6))))
    with pytest.raises(ValueError, match="operator must be symmetric"):
        curvature.power_iteration(operator, _start(6), num_matvecs=5)
    assert jnp.isnan(_power(operator, _start(6), num_matvecs=5).value)


@pytest.mark.any_precision
def test_bad_input_is_named():
    operator, _ = _with_spectrum([2.0, 1.0])
    with pytest.raises(ValueError, match="start must not be zero"):
        curvature.power_iteration(operator, jnp.zeros(2), num_matvecs=3)
    assert jnp.isnan(_power(operator, jnp.zeros(2), num_matvecs=3).value)
    with pytest.raises(ValueError, match="start must be finite"):
        curvature.power_iteration(operator, jnp.array([1.0, jnp.nan]), num_matvecs=3)
    with pytest.raises(ValueError, match=r"start must have the structure of the operator's inputs, \(2,\); got \(3,\)"):
        curvature.power_iteration(operator, jnp.ones(3), num_matvecs=3)
    with pytest.raises(TypeError, match="start must be real"):
        curvature.power_iteration(operator, jnp.ones(2) * 1j, num_matvecs=3)
    with pytest.raises(ValueError, match="num_matvecs must be an integer of at least 1; got 0"):
        curvature.power_iteration(operator, jnp.ones(2), num_matvecs=0)
    with pytest.raises(ValueError, match="operator must be square"):
        curvature.power_iteration(lx.MatrixLinearOperator(jnp.ones((3, 2))), jnp.ones(2), num_matvecs=3)
    with pytest.raises(ValueError, match="a product of the operator is not finite"):
        curvature.power_iteration(lx.DiagonalLinearOperator(jnp.array([1.0, jnp.nan])), jnp.ones(2), num_matvecs=3)
