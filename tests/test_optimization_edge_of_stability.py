"""Sharpness along gradient descent, against a loop by hand, dense Hessians and quadratics."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import optimization

LENGTHS = {"learning_rate": 0.3, "num_steps": 6, "every": 3}
_along = jax.jit(optimization.sharpness_along_gd, static_argnames=("loss_fn", "num_steps", "every", "num_matvecs"))


def _loss(params, batch):
    x, y = batch
    return 0.5 * (jnp.tanh(x @ params["a"]) @ params["b"] - y) ** 2


def _quadratic(w, x):
    return 0.5 * (x @ w) ** 2


@pytest.fixture
def problem():
    rng = np.random.default_rng(1)
    params = {"a": jnp.asarray(rng.normal(size=(3, 4))), "b": jnp.asarray(rng.normal(size=4))}
    return params, (jnp.asarray(rng.normal(size=(8, 3))), jnp.asarray(rng.normal(size=8)))


@pytest.mark.float64
def test_losses_and_parameters_are_those_of_optax(key, problem, rtol):
    params, batch = problem
    found = _along(key, _loss, params, batch, **LENGTHS)
    optimizer = optax.sgd(0.3)
    state, losses = optimizer.init(params), []
    step = jax.jit(jax.value_and_grad(lambda p: _loss(p, batch).mean()))
    for _ in range(6):
        loss, gradient = step(params)
        losses.append(float(loss))
        updates, state = optimizer.update(gradient, state)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(found.losses, losses, rtol=20 * rtol)
    np.testing.assert_allclose(ravel_pytree(found.params)[0], ravel_pytree(params)[0], rtol=20 * rtol, atol=20 * rtol)


@pytest.mark.float64
def test_sharpness_is_that_of_the_dense_hessian_before_the_recorded_steps(key, problem):
    params, batch = problem
    found = _along(key, _loss, params, batch, **LENGTHS, num_matvecs=400)
    assert found.sharpness.shape == found.residuals.shape == (2,)
    flat, unravel = ravel_pytree(params)
    risk = jax.jit(lambda w: _loss(unravel(w), batch).mean())
    for record in range(2):
        eigenvalues = np.linalg.eigvalsh(jax.jit(jax.hessian(risk))(flat))
        np.testing.assert_allclose(found.sharpness[record], eigenvalues[np.argmax(np.abs(eigenvalues))], rtol=1e-6)
        for _ in range(3):
            flat = flat - 0.3 * jax.grad(risk)(flat)


@pytest.mark.any_precision
@pytest.mark.parametrize(("learning_rate", "rises"), [(0.99, 0), (1.01, 59)])
def test_a_quadratic_diverges_beyond_the_threshold_and_every_step_then_is_a_rise(key, learning_rate, rises):
    """Sharpness 2: the threshold of the step size is 1. The start lies along the sharp direction."""
    found = _along(key, _quadratic, jnp.array([1.0, 0.0]), jnp.array([[2.0, 0.0], [0.0, 1.0]]), learning_rate=learning_rate, num_steps=60, every=20)
    np.testing.assert_allclose(found.sharpness, 2.0, rtol=1e-5)
    assert found.num_increases == rises
    assert (optimization.stability_threshold(learning_rate) < 2.0) == bool(rises)


@pytest.mark.any_precision
def test_rounding_is_no_rise(key):
    """At the minimum of a loss that cannot be zero, float32 losses only jitter."""
    found = _along(key, lambda w, x: 1 + _quadratic(w, x), jnp.full(2, 1e-4), jnp.eye(2), learning_rate=0.5, num_steps=40, every=40)
    assert found.num_increases == 0


@pytest.mark.any_precision
def test_heavy_ball_momentum_is_stable_up_to_its_threshold():
    """On 1/2 lambda w^2 just below and above (2 + 2 m) / eta."""
    for momentum in (0.0, 0.5, 0.9):
        threshold = float(optimization.stability_threshold(0.1, momentum))
        assert threshold == pytest.approx((2 + 2 * momentum) / 0.1)
        optimizer = optax.sgd(0.1, momentum=momentum)

        def final(curvature, optimizer=optimizer):
            def step(carry, _):
                w, state = carry
                updates, state = optimizer.update(curvature * w, state)
                return (w + updates, state), None

            w = jnp.float32(1.0)
            return jnp.abs(jax.lax.scan(step, (w, optimizer.init(w)), length=400)[0][0])

        assert final(0.99 * threshold) < 1e-2
        assert final(1.01 * threshold) > 1e2


@pytest.mark.any_precision
def test_seeds_and_step_sizes_are_mapped_in_one_program(problem):
    params, batch = problem
    keys, rates = jax.random.split(jax.random.key(0), 3), jnp.array([0.1, 0.2, 0.3])

    def run(key, rate):
        return optimization.sharpness_along_gd(key, _loss, params, batch, learning_rate=rate, num_steps=6, every=3)

    found = jax.jit(jax.vmap(run))(keys, rates)
    one = _along(keys[2], _loss, params, batch, **LENGTHS)
    np.testing.assert_allclose(found.losses[2], one.losses, rtol=1e-5)
    np.testing.assert_allclose(found.sharpness[2], one.sharpness, rtol=1e-3)


@pytest.mark.any_precision
def test_a_run_that_diverges_ends_in_nan_and_not_in_an_error(key, problem):
    found = _along(key, _loss, *problem, learning_rate=1e30, num_steps=6, every=3)
    assert np.isnan(found.sharpness[-1])
    assert not np.isfinite(found.losses[-1])


@pytest.mark.any_precision
def test_bad_input_is_named(key, problem):
    params, batch = problem

    def call(**options):
        return optimization.sharpness_along_gd(key, _loss, params, batch, **(LENGTHS | options))

    for options, message in (
        ({"every": 4}, "every must divide num_steps = 6; got 4"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": jnp.ones(2)}, r"learning_rate must be a scalar; got shape \(2,\)"),
        ({"num_steps": 0}, "num_steps must be an integer of at least 1"),
        ({"num_matvecs": 0}, "num_matvecs"),
    ):
        with pytest.raises(ValueError, match=message):
            call(**options)
    with pytest.raises(ValueError, match="learning_rate must be positive; got -1"):
        optimization.stability_threshold(-1.0)
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\); got 1"):
        optimization.stability_threshold(0.1, 1.0)
    assert jnp.isnan(jax.jit(optimization.stability_threshold)(-1.0))
