"""Weak errors, distances of trajectories and orders, against closed forms and numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen
from jaxgen import processes

SQUARE = [lambda x: x**2]


def test_shifted_gaussians_differ_by_the_square_of_the_shift(key):
    """E (X + d)^2 - E X^2 = d^2 within 4 standard errors, which a coupling makes smaller."""
    x, y = jax.random.normal(key, (2, 20_000))
    free, coupled = jax.jit(lambda x, y: (processes.weak_error(x, y + 0.5, SQUARE), processes.weak_error(x, x + 0.5, SQUARE, coupled=True)))(x, y)
    for error in (free, coupled):
        assert error.value.shape == error.stderr.shape == (1,)
        assert abs(error.value[0] - 0.25) < 4 * error.stderr[0]
    # The difference is d (2 X + d), of standard deviation 2 d; without coupling it is the root of var X^2 + var (X + d)^2 = 4 + 4 d^2.
    np.testing.assert_allclose(coupled.stderr[0] * np.sqrt(20_000), 1.0, rtol=0.03)
    np.testing.assert_allclose(free.stderr[0] * np.sqrt(20_000), np.sqrt(5), rtol=0.05)


def test_the_error_of_every_function_is_the_difference_of_means(rtol):
    """Samples in two leaves, of different number."""
    generator = np.random.default_rng(0)
    x, y = ({"a": generator.normal(size=(count, 3)), "b": generator.normal(size=count)} for count in (50, 70))
    functions = [lambda z: z["b"], lambda z: jnp.sum(z["a"] ** 2) * z["b"], lambda z: jnp.max(z["a"])]
    error = jax.jit(lambda x, y: processes.weak_error(x, y, functions))(x, y)
    for i, g in enumerate((lambda z: z["b"], lambda z: np.sum(z["a"] ** 2, 1) * z["b"], lambda z: np.max(z["a"], 1))):
        gx, gy = g(x), g(y)
        np.testing.assert_allclose(error.value[i], abs(gx.mean() - gy.mean()), rtol=100 * rtol)
        np.testing.assert_allclose(error.stderr[i], np.sqrt(gx.var(ddof=1) / 50 + gy.var(ddof=1) / 70), rtol=100 * rtol)


@pytest.mark.any_precision
def test_distance_of_trajectories_is_the_largest_error(key):
    """Equal laws stay below the normal quantile of level 1e-4 over 2 x 10; a shift of 0.15 at one time does not."""
    x, y = np.array(jax.random.normal(key, (2, 5000, 10)))
    quantile = 4.6  # of level 1e-4 / 20, two-sided
    distance = jax.jit(lambda x, y: processes.trajectory_distance(x, y, [lambda x: x, jnp.tanh]))
    equal = distance(x, y)
    assert equal.value < quantile * equal.stderr
    y[:, 3] += 0.15
    shifted = distance(x, y)
    assert shifted.value > quantile * shifted.stderr
    np.testing.assert_allclose(shifted.value, np.abs((x - y).mean(axis=0)).max(), rtol=1e-4)


@pytest.mark.any_precision
def test_bad_samples_are_named():
    with pytest.raises(ValueError, match="x and y must have the same number of times; got 3 and 4"):
        processes.trajectory_distance(jnp.ones((5, 3)), jnp.ones((5, 4)), SQUARE)
    with pytest.raises(ValueError, match="coupled samples must be as many of both; got 5 and 6"):
        processes.weak_error(jnp.ones(5), jnp.ones(6), SQUARE, coupled=True)
    with pytest.raises(ValueError, match="test_functions must hold at least one function"):
        processes.weak_error(jnp.ones(5), jnp.ones(6), [])
    with pytest.raises(ValueError, match=r"test_functions must return a scalar; got shape \(2,\)"):
        processes.weak_error(jnp.ones((5, 2)), jnp.ones((5, 2)), SQUARE)
    with pytest.raises(ValueError, match=r"samples of x and y must have the same structure and shapes; got \[\(2,\)\] and \[\(3,\)\]"):
        processes.weak_error(jnp.ones((5, 2)), jnp.ones((5, 3)), SQUARE)
    with pytest.raises(ValueError, match="y must hold at least two samples"):
        processes.weak_error(jnp.ones(5), jnp.ones(1), SQUARE)


SIZES = np.array([0.4, 0.2, 0.1, 0.05])
ORDER = jax.jit(processes.weak_order)


def test_a_power_of_the_step_size_is_its_order(rtol):
    errors = 3 * np.stack([SIZES, SIZES**2], axis=1)
    order = ORDER(errors, SIZES)
    np.testing.assert_allclose(order.value, [1, 2], rtol=rtol)
    assert jnp.all(order.stderr < 10 * rtol)


def test_standard_error_of_exact_errors_is_that_of_the_fit(precision):
    errors = SIZES * np.array([1.0, 1.1, 0.95, 1.02])
    order = ORDER(errors, SIZES)
    (slope, _), covariance = np.polyfit(np.log(SIZES), np.log(errors), 1, cov=True)
    tolerance = {"float32": 1e-4, "float64": 1e-10}[precision]
    np.testing.assert_allclose([order.value, order.stderr], [slope, np.sqrt(covariance[0, 0])], rtol=tolerance)


@pytest.mark.any_precision
def test_standard_error_of_estimates_is_propagated():
    """Against the spread of slopes over 4000 draws of the errors, 5 standard errors of a standard deviation."""
    errors, stderr = 3 * SIZES, np.array([0.01, 0.01, 0.004, 0.003])
    order = ORDER(jaxgen.Estimate(errors, stderr), SIZES)
    draws = errors[:, None] + stderr[:, None] * np.random.default_rng(0).normal(size=(4, 4000))
    spread = np.std(np.polyfit(np.log(SIZES), np.log(draws), 1)[0])
    np.testing.assert_allclose(order.stderr, spread, rtol=5 / np.sqrt(8000) + 0.01)


@pytest.mark.any_precision
def test_errors_that_are_not_positive_are_left_out_with_an_infinite_standard_error():
    """Columns: one error negative; all but one; with two sizes there is no residual."""
    errors = np.array([[0.4, 0.4], [0.2, 0.0], [0.1, 0.0], [-0.3, -1.0]])
    for order in (ORDER(errors, SIZES), ORDER(jaxgen.Estimate(errors, np.full_like(errors, 0.01)), SIZES)):
        np.testing.assert_allclose(order.value, [1, np.nan], rtol=1e-5)
        assert jnp.all(order.stderr == jnp.inf)
    two = ORDER(errors[:2, 0], SIZES[:2])
    np.testing.assert_allclose(two.value, 1, rtol=1e-5)
    assert jnp.isnan(two.stderr)
    assert jnp.isnan(ORDER(np.array([0.4, np.nan, 0.1, 0.05]), SIZES).value)


@pytest.mark.any_precision
def test_bad_step_sizes_are_named():
    with pytest.raises(ValueError, match=r"step_sizes must hold at least two step sizes in one axis; got shape \(1,\)"):
        processes.weak_order(jnp.ones(1), jnp.ones(1))
    with pytest.raises(ValueError, match="step_sizes must hold at least two different step sizes"):
        processes.weak_order(jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="step_sizes must be positive"):
        processes.weak_order(jnp.ones(2), jnp.array([0.1, 0.0]))
    with pytest.raises(ValueError, match=r"errors must have one row per step size, 2; got shape \(3,\)"):
        processes.weak_order(jnp.ones(3), SIZES[:2])
    with pytest.raises(ValueError, match=r"errors must have one standard error each; got shapes \(2,\) and \(\)"):
        processes.weak_order(jaxgen.Estimate(jnp.ones(2), 0.1), SIZES[:2])
    assert jnp.isnan(ORDER(np.ones(2), -SIZES[:2]).value)
