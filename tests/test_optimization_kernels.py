"""Kernels: feature maps, expansions, interpolants, spectra (LS-4 to LS-6)."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics import pairwise

from jaxgen import optimization

quadratic = partial(optimization.polynomial_kernel, degree=2)


def _sphere(key, n, d):
    x = jax.random.normal(key, (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.heavy
def test_quadratic_features_have_the_quadratic_kernel(key, rtol):
    x = jax.random.normal(key, (6, 4))
    features = optimization.quadratic_features(x)
    assert features.shape == (6, 15)
    np.testing.assert_allclose(features @ features.T, optimization.gram(quadratic, x), rtol=rtol, atol=rtol)


@pytest.mark.heavy
def test_kernels_are_those_of_scikit_learn(key, rtol):
    x, z = jax.random.normal(key, (5, 3)), jax.random.normal(jax.random.fold_in(key, 1), (4, 3))
    gaussian = optimization.gram(partial(optimization.gaussian_kernel, length_scale=0.7), x, z)
    np.testing.assert_allclose(gaussian, RBF(0.7 / math.sqrt(2))(x, z), rtol=10 * rtol)
    cubic = optimization.gram(partial(optimization.polynomial_kernel, degree=3, c=0.5), x, z)
    np.testing.assert_allclose(cubic, pairwise.polynomial_kernel(x, z, degree=3, gamma=1.0, coef0=0.5), rtol=10 * rtol, atol=10 * rtol)
    laplace = optimization.gram(optimization.laplace_kernel, x, z)
    np.testing.assert_allclose(laplace, np.exp(-pairwise.euclidean_distances(np.float64(x), np.float64(z))), rtol=10 * rtol)


def test_the_kink_of_the_laplace_kernel_has_derivative_zero():
    x = jnp.array([1.0, 2.0])
    np.testing.assert_array_equal(jax.grad(optimization.laplace_kernel)(x, x), [0.0, 0.0])
    np.testing.assert_allclose(jax.grad(optimization.laplace_kernel)(x, x - jnp.array([1.0, 0.0])), [-math.exp(-1), 0.0], rtol=1e-6)


@pytest.mark.heavy
def test_taylor_coefficients_of_the_laplace_and_gaussian_kernels(rtol):
    laplace = optimization.dot_product_kernel_coefficients(lambda s: jnp.exp(-jnp.sqrt(2 - 2 * s)), 4)
    np.testing.assert_allclose(laplace, [0.2431167344, 0.1719094915, 0.1037565565, 0.0662040692, 0.0457007331], rtol=max(rtol, 1e-9))
    gaussian = optimization.dot_product_kernel_coefficients(lambda s: jnp.exp(2 * s - 2), 20)
    np.testing.assert_allclose(gaussian, [math.exp(-2) * 2**k / math.factorial(k) for k in range(21)], rtol=10 * rtol)
    power = optimization.dot_product_kernel_coefficients(lambda s: (1 + s) ** 3, 5)
    np.testing.assert_allclose(power, [1, 3, 3, 1, 0, 0], rtol=rtol)


def test_the_printed_laplace_kernel_has_negative_coefficients(rtol):
    printed = optimization.dot_product_kernel_coefficients(lambda s: jnp.exp(jnp.sqrt(1 - 2 * s)), 3)
    np.testing.assert_allclose(printed, [math.e, -math.e, 0, -math.e / 6], atol=10 * rtol)


@pytest.mark.heavy
@pytest.mark.parametrize(("order", "error"), [(4, 0.052653), (9, 4.650e-5)])
def test_truncated_expansions_miss_the_gaussian_kernel_by_their_tail(key, order, error, rtol):
    x = _sphere(key, 20, 2)
    coefficients = optimization.dot_product_kernel_coefficients(lambda s: jnp.exp(2 * s - 2), order)
    features = optimization.tensor_power_features(x, coefficients)
    missed = np.abs(features @ features.T - optimization.gram(optimization.gaussian_kernel, x)).max()
    np.testing.assert_allclose(missed, error, rtol=1e-3, atol=10 * rtol)


@pytest.mark.heavy
def test_the_interpolant_is_least_norm_regression_on_its_features(key, rtol):
    x, y, z = (
        jax.random.normal(key, (6, 4)),
        jax.random.normal(jax.random.fold_in(key, 1), (6,)),
        jax.random.normal(jax.random.fold_in(key, 2), (3, 4)),
    )
    h = optimization.kernel_interpolant(quadratic, x, y)
    w = np.linalg.pinv(np.float64(optimization.quadratic_features(x))) @ np.float64(y)
    condition = np.linalg.cond(optimization.gram(quadratic, x))
    np.testing.assert_allclose(h(z), optimization.quadratic_features(z) @ w, rtol=condition * rtol, atol=condition * rtol)
    np.testing.assert_allclose(h(x), y, atol=condition * rtol)
    np.testing.assert_allclose(optimization.rkhs_squared_norm(optimization.gram(quadratic, x), y), w @ w, rtol=condition * rtol)
    np.testing.assert_allclose(h.alpha @ y, w @ w, rtol=condition * rtol)


def test_the_interpolant_of_one_point(rtol):
    x, z = jnp.array([[1.0, 2.0]]), jnp.array([[0.5, -1.0]])
    h = optimization.kernel_interpolant(quadratic, x, jnp.array([3.0]))
    np.testing.assert_allclose(h(z), [3 * (1 + 0.5 - 2) ** 2 / 36], rtol=rtol)


@pytest.mark.any_precision
def test_kernel_descent_is_descent_on_the_features(key, rtol):
    x, y = jax.random.normal(key, (6, 4)), jax.random.normal(jax.random.fold_in(key, 1), (6,))
    options = {"learning_rate": 0.005, "num_steps": 30, "momentum": 0.5}
    w = optimization.least_squares_gd(optimization.quadratic_features(x), y, **options)
    h = optimization.kernel_gd(quadratic, x, y, **options)
    np.testing.assert_allclose(h(x), optimization.quadratic_features(x) @ w, rtol=500 * rtol, atol=500 * rtol)


def test_a_ridge_is_scikit_learns(key, rtol):
    from sklearn.kernel_ridge import KernelRidge

    x, y = np.asarray(jax.random.normal(key, (6, 4))), np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (6, 2)))
    h = optimization.kernel_interpolant(optimization.gaussian_kernel, x, y, ridge=0.1)
    expected = KernelRidge(alpha=0.1, kernel="rbf", gamma=1.0).fit(x, y).predict(x)
    np.testing.assert_allclose(h(x), expected, rtol=100 * rtol, atol=100 * rtol)


def test_the_spectrum_counts_the_rank_and_names_what_it_refuses(rtol):
    vectors = jnp.linalg.qr(jnp.arange(16.0).reshape(4, 4) + jnp.eye(4))[0]
    found = optimization.kernel_spectrum(vectors[:, :2] @ jnp.diag(jnp.array([3.0, 1.0])) @ vectors[:, :2].T)
    assert int(found.rank) == 2
    np.testing.assert_allclose(found.eigenvalues, [3.0, 1.0, 0.0, 0.0], atol=10 * rtol)
    with pytest.raises(ValueError, match="positive semidefinite; its eigenvalues run from"):
        optimization.kernel_spectrum(jnp.diag(jnp.array([1.0, -0.01])))
    with pytest.raises(ValueError, match="positive semidefinite"):
        optimization.positive_semidefinite(-jnp.eye(2))
    assert np.isnan(jax.jit(optimization.kernel_spectrum)(jnp.diag(jnp.array([1.0, -0.01]))).eigenvalues).all()
    assert np.isnan(jax.jit(optimization.positive_semidefinite)(jnp.array([[1.0, 2.0], [0.0, 1.0]]))).all()


def test_what_no_function_interpolates_has_an_infinite_norm():
    singular = jnp.ones((2, 2))
    found = optimization.rkhs_squared_norm(singular, jnp.array([[1.0, 1.0], [1.0, -1.0]]))
    np.testing.assert_allclose(found, [1.0, np.inf], rtol=1e-5)


@pytest.mark.any_precision
def test_interpolants_under_jit_and_vmap(key, rtol):
    x, y = jax.random.normal(key, (5, 2)), jax.random.normal(jax.random.fold_in(key, 1), (3, 5))

    def values(y):
        return optimization.kernel_interpolant(optimization.laplace_kernel, x, y)(x + 0.1)

    one_by_one = jnp.stack([values(row) for row in y])
    np.testing.assert_allclose(jax.vmap(values)(y), one_by_one, rtol=100 * rtol, atol=100 * rtol)
    np.testing.assert_allclose(jax.jit(values)(y[0]), one_by_one[0], rtol=100 * rtol, atol=100 * rtol)


X = np.ones((3, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimization.polynomial_kernel(X, np.ones((3, 3)), degree=2), "as many features"),
        (lambda: optimization.polynomial_kernel(X, X, degree=0), "degree must be"),
        (lambda: optimization.polynomial_kernel(X, X, degree=2, c=-1.0), "c must be at least 0"),
        (lambda: optimization.gaussian_kernel(X, X, length_scale=0.0), "length_scale must be positive"),
        (lambda: optimization.gram(optimization.gaussian_kernel, X, np.ones((3, 3))), "x and z must have shapes"),
        (lambda: optimization.gram(lambda x, z: x, X), "kernel_fn must return a scalar"),
        (lambda: optimization.quadratic_features(1.0), "x must hold features"),
        (lambda: optimization.dot_product_kernel_coefficients(jnp.arccos, 2), "Taylor rules"),
        (lambda: optimization.dot_product_kernel_coefficients(jnp.exp, 0), "order must be"),
        (lambda: optimization.tensor_power_features(X, [1.0, 1.0]), "norm one"),
        (lambda: optimization.tensor_power_features(X, [1.0, -1.0], unit_norm=False), "coefficients must be at least 0"),
        (lambda: optimization.kernel_interpolant(optimization.gaussian_kernel, X, np.ones(3)), "singular, of rank 1"),
        (lambda: optimization.kernel_interpolant(optimization.gaussian_kernel, X, np.ones(2)), r"y must have shape \(3,\)"),
        (lambda: optimization.kernel_interpolant(optimization.gaussian_kernel, X, np.ones(3), ridge=-1.0), "ridge must be at least 0"),
        (lambda: optimization.kernel_interpolant(lambda x, z: -(x @ z), X, np.ones(3)), "Gram matrix must be positive semidefinite"),
        (lambda: optimization.kernel_spectrum(X), "kernel must be a square matrix"),
        (lambda: optimization.kernel_spectrum(np.array([[1.0, 0.5], [0.0, 1.0]])), "kernel must be symmetric"),
        (lambda: optimization.kernel_spectrum(np.array([[np.nan]])), "kernel must be finite"),
        (lambda: optimization.dual_coefficients(optimization.kernel_spectrum(np.eye(3)), np.ones(2)), "residual must have shape"),
    ],
)
@pytest.mark.any_precision
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
