"""Lanczos and sharpness against numpy on prescribed spectra, and on a small net."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import curvature, models

_eigenvalues = jax.jit(curvature.eigenvalues, static_argnames=("k", "which", "num_matvecs"))


def _with_spectrum(values):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(len(values), len(values))))[0]
    return lx.MatrixLinearOperator(jnp.asarray((basis * np.asarray(values)) @ basis.T), lx.symmetric_tag)


def _net(key):
    model = models.mlp((6, 3), activation="tanh")
    x = jax.random.normal(key, (8, 4))
    return models.loss_fn(model.apply, "cross_entropy"), jax.jit(model.init)(key, x), (x, jnp.arange(8) % 3)


def test_the_largest_of_a_net_are_the_dense_ones(key, rtol):
    loss_fn, params, batch = _net(key)
    flat, unravel = ravel_pytree(params)
    dense = jax.jit(jax.hessian(lambda w: loss_fn(unravel(w), batch).mean()))(flat)
    expected = np.linalg.eigvalsh(np.asarray(dense, np.float64))
    found = _eigenvalues(curvature.hessian(loss_fn, params, batch), key, k=5, num_matvecs=40)
    np.testing.assert_allclose(found.values, expected[:-6:-1], rtol=1e-5, atol=10 * rtol * expected[-1])
    assert (np.asarray(found.residuals) < 1e3 * rtol * expected[-1]).all()
    vectors = jax.vmap(lambda tree: ravel_pytree(tree)[0])(found.vectors)
    assert jax.tree.structure(found.vectors) == jax.tree.structure(params)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(5), atol=1e4 * rtol)
    np.testing.assert_allclose(vectors @ dense, np.asarray(found.values)[:, None] * vectors, atol=1e3 * rtol * expected[-1])


@pytest.mark.parametrize("values", [(5, 5, 5, 1, 1, -2, -2, -2), (0,) * 8, (3, 0, 0, 0, 0, 0, 0, -1)], ids=str)
def test_as_many_steps_as_dimensions_find_every_multiplicity(key, values, rtol):
    operator = _with_spectrum(values)
    found = _eigenvalues(operator, key, k=8, num_matvecs=8)
    np.testing.assert_allclose(found.values, sorted(values, reverse=True), atol=100 * rtol)
    np.testing.assert_allclose(found.residuals, 0, atol=200 * rtol)


@pytest.mark.any_precision
def test_the_smallest_come_first_at_the_other_end(key):
    values = np.r_[-3.0, -2.0, np.linspace(-1, 4, 38)]
    found = _eigenvalues(_with_spectrum(values), key, k=2, which="smallest", num_matvecs=30)
    np.testing.assert_allclose(found.values, [-3, -2], rtol=1e-5)
    assert (np.asarray(found.residuals) < 1e-3).all()


@pytest.mark.any_precision
@pytest.mark.parametrize("scale", [1e-12, 1e6])
def test_the_scale_of_the_operator_does_not_matter(key, scale, rtol):
    values = scale * np.array([-5.0, 3.0, 1.0, 0.5, 0.1])
    found = _eigenvalues(_with_spectrum(values), key, k=2, num_matvecs=5)
    np.testing.assert_allclose(found.values, [3 * scale, scale], rtol=100 * rtol)


@pytest.mark.any_precision
def test_an_eigenvalue_lies_within_the_residual(key):
    """Ritz values before convergence, 8 steps for 200 dimensions of a semicircle."""
    values = np.sin(np.linspace(-1.5, 1.5, 200))
    found = _eigenvalues(_with_spectrum(values), key, k=3, num_matvecs=8)
    distances = np.abs(np.asarray(found.values)[:, None] - values).min(axis=1)
    assert (distances <= np.asarray(found.residuals) + 1e-5).all()
    assert (np.asarray(found.residuals) > 1e-3).any()


@pytest.mark.any_precision
def test_float32_basis_stays_orthogonal_over_many_steps(key):
    """A spectrum on which Lanczos without reorthogonalization makes copies: one large eigenvalue, 150 steps."""
    values = np.r_[1000.0, np.linspace(0, 1, 299)]
    found = _eigenvalues(_with_spectrum(values), key, k=3, num_matvecs=150)
    np.testing.assert_allclose(found.values[0], 1000, rtol=1e-5)
    assert (np.asarray(found.values[1:]) < 1.001).all()


@pytest.mark.any_precision
def test_vmap_and_jit_change_nothing(key):
    def call(w):
        return curvature.eigenvalues(curvature.hessian(lambda w, x: jnp.sum(w**4) * x, w, jnp.ones(2)), key, k=2, num_matvecs=3)[:2]

    w = jnp.array([[0.5, 2.0, 1.0], [1.0, 3.0, 2.0]])
    np.testing.assert_allclose(jax.jit(jax.vmap(call))(w)[0], [[48, 12], [108, 48]], rtol=1e-5)
    np.testing.assert_allclose(call(w[1])[0], [108, 48], rtol=1e-5)


@pytest.mark.any_precision
def test_eigenvalues_are_differentiable_where_they_are_simple(key, rtol):
    """Hessian diag(12 w^2): the largest eigenvalue's derivative is 24 w at its coordinate, zero elsewhere."""

    def largest(w):
        return curvature.eigenvalues(curvature.hessian(lambda w, x: jnp.sum(w**4) * x, w, jnp.ones(2)), key, k=1, num_matvecs=3).values[0]

    w = jnp.array([0.5, 2.0, 1.0])
    np.testing.assert_allclose(jax.jit(largest)(w), 48.0, rtol=100 * rtol)
    np.testing.assert_allclose(jax.jit(jax.grad(largest))(w), [0.0, 48.0, 0.0], atol=1e4 * rtol)


@pytest.mark.any_precision
def test_sharpness_says_whether_it_has_converged(key, rtol):
    """OPT-18: -5 is larger in modulus, 3 is the largest."""
    done = curvature.sharpness(_with_spectrum([-5.0, 3.0, 1.0]), key)
    np.testing.assert_allclose(done.value, 3.0, rtol=100 * rtol)
    assert done.converged
    assert done.residual < 1e-3 * 3
    spread = _with_spectrum(np.linspace(0, 1, 200))
    early, late = (curvature.sharpness(spread, key, num_matvecs=m) for m in (4, 200))
    assert not early.converged
    assert early.value < 0.999
    assert late.converged
    np.testing.assert_allclose(late.value, 1, rtol=1e-4)
    assert not curvature.sharpness(spread, key, num_matvecs=4, rtol=1e-9).converged


@pytest.mark.any_precision
def test_the_default_number_of_steps_follows_k(key):
    operator = lx.DiagonalLinearOperator(jnp.arange(5.0))
    np.testing.assert_allclose(curvature.eigenvalues(operator, key, k=5).values, [4, 3, 2, 1, 0], atol=1e-5)


@pytest.mark.any_precision
def test_nan_is_reported(key):
    broken = lx.MatrixLinearOperator(jnp.eye(4).at[1, 1].set(jnp.nan), lx.symmetric_tag)
    with pytest.raises(ValueError, match="a product of the operator is not finite"):
        curvature.eigenvalues(broken, key, k=1)
    assert jnp.isnan(_eigenvalues(broken, key, k=2, num_matvecs=3).values).all()
    found = jax.jit(lambda o: curvature.sharpness(o, key, num_matvecs=2))(broken)
    assert jnp.isnan(found.value)
    assert not found.converged
    of_poisoned = jax.jit(lambda w: curvature.eigenvalues(curvature.hessian(lambda w, x: jnp.cos(x @ w), w, jnp.ones((1, 2))), key, k=1).values)
    assert jnp.isnan(of_poisoned(jnp.array([1.0, jnp.nan]))).all()


@pytest.mark.any_precision
def test_an_operator_that_is_not_symmetric_is_noticed(key):
    rng = np.random.default_rng(1)
    a = rng.normal(size=(6, 6))
    untagged = lx.MatrixLinearOperator(jnp.asarray(a))
    with pytest.raises(ValueError, match="operator must be symmetric"):
        curvature.eigenvalues(untagged, key, k=1)
    with pytest.raises(ValueError, match="operator must be symmetric"):
        curvature.spectral_density(untagged, key, num_matvecs=3)
    assert jnp.isnan(_eigenvalues(untagged, key, k=1, num_matvecs=2).values).all()
    curvature.eigenvalues(lx.MatrixLinearOperator(jnp.asarray(a + a.T)), key, k=1)


@pytest.mark.any_precision
def test_bad_input_is_named(key):
    operator = lx.DiagonalLinearOperator(jnp.arange(5.0))
    with pytest.raises(ValueError, match="num_matvecs must be at most the number of parameters, 5, for as many Lanczos vectors; got 6"):
        curvature.eigenvalues(operator, key, k=1, num_matvecs=6)
    with pytest.raises(ValueError, match="k must be at most the number of Lanczos vectors, 3; got 4"):
        curvature.eigenvalues(operator, key, k=4, num_matvecs=3)
    with pytest.raises(ValueError, match="k must be at most the number of Lanczos vectors, 5; got 6"):
        curvature.eigenvalues(operator, key, k=6)
    with pytest.raises(ValueError, match="k must be an integer of at least 1; got 0"):
        curvature.eigenvalues(operator, key, k=0)
    with pytest.raises(ValueError, match="which must be one of 'largest', 'smallest'; got 'both'"):
        curvature.eigenvalues(operator, key, k=1, which="both")
    with pytest.raises(ValueError, match="operator must be square"):
        curvature.eigenvalues(lx.MatrixLinearOperator(jnp.ones((2, 3))), key, k=1)
    with pytest.raises(ValueError, match="num_matvecs must be an integer of at least 1; got 0"):
        curvature.sharpness(operator, key, num_matvecs=0)
