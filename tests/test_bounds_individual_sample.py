"""The individual-sample bound and the inverse of a Legendre transform (INFO-37)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds

INFORMATION = 1.5 * math.log(10 / 9)
VARIANCE = 1 + 1 / 10


def _psi(x):
    """log E exp(-x (l - E l)) of l = |W - Z|^2, chi squared with 3 degrees of freedom times 1 + 1/n."""
    return 3 * VARIANCE * x - 1.5 * jnp.log1p(2 * VARIANCE * x)


@pytest.mark.heavy
def test_gaussian_mean_has_the_known_values(rtol):
    """n = 10, d = 3: information .15804, square-root form 1.51484 with R^2 = 2 d (1 + 1/n)^2, CGF form 1.29247, gap .6."""
    np.testing.assert_allclose(INFORMATION, 0.1580407735, rtol=1e-9)
    subgaussian = bounds.individual_sample(jnp.full(10, INFORMATION), VARIANCE * math.sqrt(6)).value
    np.testing.assert_allclose(subgaussian, 3 * VARIANCE * math.sqrt(2 * math.log(10 / 9)), rtol=rtol)
    np.testing.assert_allclose(subgaussian, 1.514843896, rtol=1e-6)
    value = bounds.inverse_legendre(_psi, jnp.full(10, INFORMATION), jnp.geomspace(1e-2, 10.0, 3000)).mean()
    np.testing.assert_allclose(value, 1.2924738, rtol=3e-6)
    assert 0.6 < float(value) < float(subgaussian)


def test_majority_has_the_known_values(rtol):
    informations = jnp.array([0.6931471806, 0.1308120359, 0.0378644064])
    found = jax.vmap(lambda i, n: bounds.individual_sample(jnp.full(4, i), 0.5).value)(informations, jnp.arange(3))
    np.testing.assert_allclose(found, [0.5887050113, 0.2557460028, 0.1375943429], rtol=1e-6)


@pytest.mark.heavy
def test_inverse_legendre_of_a_gaussian_is_the_root_and_no_grid_falls_below(rtol):
    """psi = R^2 x^2 / 2 has sqrt(2 R^2 y), reached at x = sqrt(2 y) / R; the excess on a grid of ratio q is at most (q - 1)^2 / 2 of it."""
    y = jnp.array([0.01, 0.3, 2.0])
    exact = np.sqrt(2 * 0.49 * np.asarray(y))
    for size in (20, 400):
        grid = jnp.geomspace(1e-2, 1e2, size)
        found = bounds.inverse_legendre(lambda x: 0.49 * x**2 / 2, y, grid)
        assert np.all(found >= exact * (1 - rtol))
        assert np.all(found <= exact * (1 + float(grid[1] / grid[0] - 1) ** 2 / 2))


@pytest.mark.heavy
def test_slope_of_the_inverse_is_the_reciprocal_of_the_minimizer(rtol):
    grid = jnp.geomspace(1e-1, 1e1, 50)
    slope = jax.grad(lambda y: bounds.inverse_legendre(lambda x: x**2 / 2, y, grid))(0.5)
    np.testing.assert_allclose(slope, 1 / grid[jnp.argmin((0.5 + grid**2 / 2) / grid)], rtol=rtol)


@pytest.mark.heavy
def test_concavity_puts_the_mean_of_roots_below_the_root_of_the_mean(key, rtol):
    informations = jax.random.exponential(key, (5, 7))
    individual = bounds.individual_sample(informations, 0.5)
    assert individual.value.shape == (5,)
    assert individual.certified
    assert individual.sided == "two"
    assert np.all(individual.value <= bounds.xu_raginsky(informations.sum(axis=-1), 7, 0.5).value * (1 + rtol))
    traced = jax.jit(lambda i: bounds.individual_sample(i, 0.5).value)
    np.testing.assert_allclose(traced(informations), individual.value, rtol=rtol)
    assert jnp.isnan(traced(informations.at[0, 0].set(-1.0))).all()
    assert jnp.all(jnp.isfinite(jax.grad(lambda i: bounds.individual_sample(i, 0.5).value)(jnp.zeros(3))))


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.individual_sample([], 0.5), "not empty"),
        (lambda: bounds.individual_sample(0.5, 0.5), "one value an example"),
        (lambda: bounds.individual_sample([0.1, -0.1], 0.5), "mutual_informations must be at least -1e-08"),
        (lambda: bounds.individual_sample([0.1], -0.5), "R must be at least 0"),
        (lambda: bounds.inverse_legendre(_psi, -1.0, jnp.ones(2)), "y must be at least"),
        (lambda: bounds.inverse_legendre(_psi, 1.0, jnp.zeros(2)), "x_grid must be positive"),
        (lambda: bounds.inverse_legendre(_psi, 1.0, 1.0), "x_grid must be a vector"),
        (lambda: bounds.inverse_legendre(lambda x: 0.0, 1.0, jnp.ones(2)), "one value for every x"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
