"""Polynomial features and ridge regression, against numpy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from jaxgen import optimization


def test_legendre_features_are_orthonormal_on_the_unit_interval(precision):
    nodes, weights = np.polynomial.legendre.leggauss(12)
    features = np.asarray(optimization.polynomial_features((nodes + 1) / 2, 10))
    # The recurrence loses a few units of rounding a degree.
    np.testing.assert_allclose(features.T * weights / 2 @ features, np.eye(11), atol={"float32": 2e-5, "float64": 1e-13}[precision])


@pytest.mark.float64
def test_both_bases_span_the_same_polynomials():
    x = np.linspace(0, 1, 9)
    powers, legendre = (optimization.polynomial_features(x, 3, basis=basis) for basis in ("monomial", "legendre"))
    np.testing.assert_allclose(powers, np.vander(x, 4, increasing=True), rtol=1e-6)
    combined = np.linalg.lstsq(np.asarray(legendre, np.float64), np.asarray(powers, np.float64), rcond=None)[0]
    np.testing.assert_allclose(legendre @ combined, powers, atol=1e-5)
    assert optimization.polynomial_features(x, 0).tolist() == [[1.0]] * 9


def test_ridge_solves_the_normal_equations(key, precision):
    features, y, lam = jax.random.normal(key, (12, 5)), jnp.arange(12.0), np.array([[0.1], [3.0]])
    found = jax.jit(optimization.ridge)(features, y, lam)
    expected = [[Ridge(alpha=row[0], fit_intercept=False).fit(features, y).coef_] for row in lam]
    np.testing.assert_allclose(found, expected, rtol={"float32": 1e-4, "float64": 1e-9}[precision])


@pytest.mark.float64
def test_without_a_penalty_ridge_is_the_solution_of_least_norm(key, precision):
    features, y = jax.random.normal(key, (4, 2)) @ jax.random.normal(key, (2, 6)), jnp.array([1.0, -1.0, 2.0, 0.5])
    atol = {"float32": 1e-4, "float64": 1e-12}[precision]
    np.testing.assert_allclose(optimization.ridge(features, y, 0.0), optimization.min_norm_solution(features, y), atol=atol)


@pytest.mark.float64
def test_least_squares_fit_noise_by_the_number_of_coefficients():
    """E RSS = sigma^2 (n - N - 1), over 200 data sets within five standard errors; zero with as many coefficients as examples."""
    keys, n, degree = jax.random.split(jax.random.key(0), 200), 40, 20

    def residual(key, degree=degree, n=n):
        x, noise = jax.random.uniform(key, (n,)), 0.3 * jax.random.normal(jax.random.fold_in(key, 1), (n,))
        features = optimization.polynomial_features(x, degree)
        return jnp.sum((features @ optimization.ridge(features, noise, 0.0) - noise) ** 2)

    found = np.asarray(jax.jit(jax.vmap(residual))(keys))
    assert abs(found.mean() - 0.09 * 19) < 5 * found.std() / np.sqrt(200)
    assert residual(keys[0], degree=9, n=6) < 1e-6


@pytest.mark.any_precision
def test_wrong_input_is_named():
    x, y = np.ones((3, 2)), np.ones(3)
    for call, message in [
        (lambda: optimization.polynomial_features(np.ones((2, 2)), 3), "x must be a vector"),
        (lambda: optimization.polynomial_features(np.ones(2), -1), "degree must be an integer of at least 0"),
        (lambda: optimization.polynomial_features(np.ones(2), 2, basis="hermite"), "basis must be one of"),
        (lambda: optimization.ridge(x, y, -1.0), "lam must be at least 0"),
        (lambda: optimization.ridge(x, np.ones(4), 1.0), "y must hold one target an example"),
        (lambda: optimization.ridge(y, y, 1.0), "features must have shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert np.all(np.isnan(jax.jit(optimization.ridge)(x, y, -1.0)))
