"""Steepest descent and its flow."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias
from jaxgen.implicit_bias import lp_norm, quadratic_norm, steepest_descent, steepest_flow

X, Y = np.array([[1.0, 1, 1], [1, 2, 0]]), np.array([1.0, 10])


def _grad_fn(w):
    x, y = jnp.asarray(X, w.dtype), jnp.asarray(Y, w.dtype)
    return 2 * x.T @ (x @ w - y)


def _rates(value, num_steps):
    return jnp.full(num_steps, value)


def test_in_l2_it_is_gradient_descent_to_the_last_bit(key):
    w0, rates = jax.random.normal(key, (3,)), 0.05 / jnp.arange(1.0, 8.0)
    w = w0
    for rate in rates:
        w = w + rate * -_grad_fn(w)
    np.testing.assert_array_equal(steepest_descent(lp_norm(2), _grad_fn, w0, rates)[0], w)


def test_the_limit_in_l_4_3_depends_on_the_learning_rate(precision):
    """The table of Fig. 8.1, by the first coordinate of the limit."""
    known = {0.08: 0.440168, 0.05: 0.361810, 0.03: 0.325356}
    rates = jnp.array(list(known))
    limits = jax.jit(jax.vmap(lambda rate: steepest_descent(lp_norm(4 / 3), _grad_fn, jnp.zeros(3), _rates(rate, 600))[0]))(rates)
    np.testing.assert_allclose(limits @ X.T, jnp.broadcast_to(Y, (3, 2)), atol=1e-5)
    np.testing.assert_allclose(limits[:, 0], list(known.values()), atol=1e-6 if precision == "float64" else 1e-5)


@pytest.mark.float64
def test_the_flow_in_l_4_3_ends_where_small_steps_do():
    path = steepest_flow(lp_norm(4 / 3), _grad_fn, jnp.zeros(3), jnp.array([0.0, 0.5, 30.0]))
    assert path.shape == (3, 3)
    assert (path[0] == 0).all()
    np.testing.assert_allclose(path[-1], [0.282596, 4.858702, -4.141298], atol=1e-6)
    steps = steepest_descent(lp_norm(4 / 3), _grad_fn, jnp.zeros(3), _rates(1e-3, 500))[0]
    np.testing.assert_allclose(steps, path[1], atol=5e-3)  # O(step)


@pytest.mark.any_precision
def test_the_flow_in_a_quadratic_norm_is_that_of_its_preconditioned_gradient():
    metric = np.diag([1.0, 2.0, 4.0])
    hessian = 2 * X.T @ X
    values, vectors = np.linalg.eig(np.linalg.solve(metric, hessian))
    limit = implicit_bias.min_norm_interpolator(jnp.asarray(X), jnp.asarray(Y), metric=jnp.asarray(metric))
    expected = limit + vectors @ (np.exp(-values * 0.7) * np.linalg.solve(vectors, -np.asarray(limit)))
    path = steepest_flow(quadratic_norm(jnp.asarray(metric)), _grad_fn, jnp.zeros(3), jnp.array([0.7]))
    np.testing.assert_allclose(path[0], expected.real, atol=1e-4)


@pytest.mark.any_precision
def test_a_record_sees_the_point_and_the_gradient_before_a_step():
    w, records = steepest_descent(lp_norm(math.inf), _grad_fn, jnp.zeros(3), _rates(0.01, 5), record=lambda w, g, t: (w, g, t), every=2)
    assert w.shape == (3,)
    np.testing.assert_array_equal(records[2], [0, 2, 4])
    np.testing.assert_allclose(records[1], jax.vmap(_grad_fn)(records[0]), rtol=1e-6)


@pytest.mark.any_precision
def test_random_ties_are_drawn_anew_in_every_step(key):
    """A constant gradient with two equal entries moves both."""
    w, _ = steepest_descent(lp_norm(1), jnp.ones_like, jnp.zeros(2), _rates(1.0, 40), ties="random", key=key)
    assert w.sum() == -40
    assert (w < -4).all()


@pytest.mark.float64
def test_the_last_point_has_a_derivative_in_the_start_and_in_the_learning_rates(key, precision):
    """Against central differences, whose error is of the third derivative and of rounding."""
    rates, w0 = _rates(0.03, 5), jax.random.normal(key, (3,))

    @jax.jit
    def end(w0, rates):
        return (steepest_descent(lp_norm(4 / 3), _grad_fn, w0, rates)[0] ** 2).sum()

    gradients = jax.grad(end, argnums=(0, 1))(w0, rates)
    h = np.finfo(precision).eps ** (1 / 3)
    along = (jnp.ones(3), jnp.ones(5))
    difference = (end(w0 + h, rates + h * 0.01) - end(w0 - h, rates - h * 0.01)) / (2 * h)
    product = jnp.vdot(gradients[0], along[0]) + 0.01 * jnp.vdot(gradients[1], along[1])
    np.testing.assert_allclose(product, difference, rtol=500 * h**2)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"learning_rates": 0.1}, ValueError, "learning_rates must have one value per step"),
        ({"learning_rates": jnp.array([0.1, 0.0])}, ValueError, "learning_rates must be positive"),
        ({"grad_fn": lambda w: w[:2]}, ValueError, r"grad_fn must return the shape of w0, \(3,\); got \(2,\)"),
        ({"ties": "none"}, ValueError, "ties must be one of"),
        ({"ties": "random"}, ValueError, "needs a key"),
        ({"w0": jnp.zeros(3) * 1j}, TypeError, "w0 must be real"),
        ({"norm": implicit_bias.spectral_norm()}, ValueError, "g must be a matrix"),
    ],
)
def test_bad_input_is_named(kwargs, error, message):
    arguments = {"norm": lp_norm(1), "grad_fn": _grad_fn, "w0": jnp.zeros(3), "learning_rates": _rates(0.1, 2)} | kwargs
    with pytest.raises(error, match=message):
        steepest_descent(**arguments)


@pytest.mark.any_precision
def test_traced_learning_rates_that_are_not_positive_give_nan():
    run = jax.jit(lambda rates: steepest_descent(lp_norm(2), _grad_fn, jnp.zeros(3), rates)[0])
    assert jnp.isnan(run(jnp.array([0.1, -0.1]))).all()


@pytest.mark.any_precision
@pytest.mark.parametrize("times", [jnp.array([1.0, 0.5]), jnp.array([-1.0]), jnp.array(1.0)])
def test_times_of_the_flow_must_increase_from_zero(times):
    with pytest.raises(ValueError, match="times must be"):
        steepest_flow(lp_norm(2), _grad_fn, jnp.zeros(3), times)
