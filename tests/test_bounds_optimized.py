"""The best noise, and what it gives for linear and two-layer ReLU regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from jaxgen import bounds

RATES = np.linspace(0.05, 0.3, 6)
DISPERSION = np.array([3.0, 0.2, 1.5, 0.4, 2.0, 0.9])


def test_known_values_of_constant_noise():
    bound = bounds.wang_mao_optimized(np.ones(8), 1 / 8, 1.0, n=1, R=1.0)
    assert float(bound.value) == pytest.approx(3.0, rel=1e-6)
    assert float(bound.terms["noise_std"]) == pytest.approx(0.5, rel=1e-6)


def test_known_values_of_free_noise(rtol):
    a = np.random.default_rng(0).uniform(0.1, 3, 6)
    constant = bounds.wang_mao_optimized(1.0, a, 0.7, n=1, R=1.0)
    free = bounds.wang_mao_optimized(1.0, a, 0.7, n=1, R=1.0, schedule="free")
    assert float(constant.value) == pytest.approx(4.920000, rel=max(rtol, 1e-6))
    assert float(free.value) == pytest.approx(4.597026, rel=max(rtol, 1e-6))


@pytest.mark.float64
def test_constant_noise_agrees_with_a_numerical_minimizer():
    amplitude = np.sqrt(0.25 / 40 * np.sum(RATES**2 * DISPERSION))
    found = minimize_scalar(lambda log: amplitude / np.exp(log) + 0.5 * 6 * np.exp(2 * log) * 1.7, bracket=(-4, 0), tol=1e-12)
    bound = bounds.wang_mao_optimized(RATES, DISPERSION, 1.7, n=40, R=0.5)
    assert float(bound.value) == pytest.approx(found.fun, rel=1e-12)
    assert float(bound.terms["noise_std"]) == pytest.approx(np.exp(found.x), rel=1e-5)  # a minimum fixes its place to the root of rounding


@pytest.mark.float64
def test_free_noise_agrees_with_a_numerical_minimizer():
    a = 0.25 / 40 * RATES**2 * DISPERSION

    def total(log):
        return np.sqrt(np.sum(a * np.exp(-2 * log))) + 0.5 * 1.7 * np.sum(np.exp(2 * log))

    found = minimize(total, np.full(6, -2.0), tol=1e-12, method="BFGS", options={"gtol": 1e-8})
    bound = bounds.wang_mao_optimized(RATES, DISPERSION, 1.7, n=40, R=0.5, schedule="free")
    assert float(bound.value) == pytest.approx(found.fun, rel=1e-10)
    np.testing.assert_allclose(bound.terms["noise_std"], np.exp(found.x), rtol=1e-4)


@pytest.mark.parametrize("schedule", ["constant", "free"])
def test_value_is_the_bound_at_the_noise_returned(schedule, rtol):
    best = bounds.wang_mao_optimized(RATES, DISPERSION, 1.7, n=40, R=0.5, schedule=schedule)

    def at(factor):
        noise = factor * best.terms["noise_std"]
        return bounds.wang_mao(RATES, noise, DISPERSION, lambda variance: 0.5 * 1.7 * variance, 40, 0.5, sided="one")

    np.testing.assert_allclose(at(1.0).value, best.value, rtol=rtol)
    for name in ("trajectory", "flatness"):
        np.testing.assert_allclose(at(1.0).terms[name], best.terms[name], rtol=rtol)
    assert at(2.0).value > 1.2 * best.value
    assert at(0.5).value > 1.2 * best.value


@pytest.mark.float64
def test_grid_minimum_is_the_cube_root_form():
    def total(sigma):
        return bounds.wang_mao(RATES, sigma, DISPERSION, lambda variance: 0.5 * 1.7 * variance, 40, 0.5, sided="one")

    best = bounds.wang_mao_optimized(RATES, DISPERSION, 1.7, n=40, R=0.5)
    sigma, bound = bounds.optimize_sigma(total, jnp.geomspace(1e-3, 10, 20001))
    assert best.value <= bound.value < best.value * (1 + 1e-6)
    assert float(sigma) == pytest.approx(float(best.terms["noise_std"]), rel=1e-3)
    np.testing.assert_allclose(bound.value, total(sigma).value, rtol=1e-12)
    assert bound.assumptions == total(sigma).assumptions


def test_optimize_sigma_takes_schedules_plain_functions_and_jit():
    grid = jnp.array([[0.1, 0.2], [0.3, 0.3], [0.9, 0.1]])
    schedule, value = jax.jit(lambda grid: bounds.optimize_sigma(lambda sigma: jnp.sum((sigma - 0.3) ** 2), grid))(grid)
    np.testing.assert_array_equal(schedule, grid[1])
    assert value == 0


def test_optimize_sigma_does_not_hide_nan():
    assert jnp.isnan(bounds.optimize_sigma(lambda sigma: jnp.log(sigma - 0.5), jnp.array([0.1, 1.0]))[1])


@pytest.mark.parametrize(
    ("total", "grid", "message"),
    [
        (lambda sigma: sigma, [], "at least one noise level"),
        (lambda sigma: sigma, 0.3, "at least one noise level"),
        (lambda sigma: sigma, [0.1, -1.0], "grid must be positive"),
        (lambda sigma: jnp.stack([sigma, sigma]), [0.1], "must return one value"),
    ],
)
def test_optimize_sigma_names_what_is_wrong(total, grid, message):
    with pytest.raises(ValueError, match=message):
        bounds.optimize_sigma(total, jnp.array(grid))


@pytest.mark.parametrize("dispersion", [DISPERSION, np.full(6, 0.3)])
def test_free_noise_is_never_worse_and_the_same_for_equal_steps(dispersion, rtol):
    constant = bounds.wang_mao_optimized(0.1, dispersion, 2.0, n=10, R=0.5)
    free = bounds.wang_mao_optimized(0.1, dispersion, 2.0, n=10, R=0.5, schedule="free")
    if np.ptp(dispersion) == 0:
        np.testing.assert_allclose(free.value, constant.value, rtol=rtol)
        np.testing.assert_allclose(free.terms["noise_std"], np.full(6, constant.terms["noise_std"]), rtol=rtol)
    else:
        assert free.value < constant.value


@pytest.mark.heavy
def test_a_step_without_dispersion_needs_no_noise():
    bound = bounds.wang_mao_optimized(0.1, [1.0, 0.0, 2.0], 2.0, n=10, R=0.5, schedule="free")
    assert bound.terms["noise_std"][1] == 0
    silent = bounds.wang_mao_optimized(0.1, [0.0, 0.0], 2.0, n=10, R=0.5, schedule="free")
    assert silent.value == 0
    np.testing.assert_array_equal(silent.terms["noise_std"], 0)


def test_free_noise_of_many_sample_sizes_has_a_row_for_each(rtol):
    sizes = jnp.array([10.0, 100.0, 1000.0])
    many = bounds.wang_mao_optimized(RATES, DISPERSION, 1.7, sizes, 0.5, schedule="free")
    assert many.terms["noise_std"].shape == (3, 6)
    for row, n in enumerate(sizes):
        one = bounds.wang_mao_optimized(RATES, DISPERSION, 1.7, n, 0.5, schedule="free")
        np.testing.assert_allclose(many.value[row], one.value, rtol=rtol)
        np.testing.assert_allclose(many.terms["noise_std"][row], one.terms["noise_std"], rtol=rtol)


@pytest.mark.parametrize("trace", [0.0, -1.0, np.nan])
def test_curvature_that_is_not_positive_points_to_the_monte_carlo_form(trace):
    with pytest.raises(ValueError, match=r"hessian_trace must be positive.*Monte Carlo"):
        bounds.wang_mao_optimized(RATES, DISPERSION, trace, 10, 0.5)
    traced = jax.jit(lambda h: bounds.wang_mao_optimized(RATES, DISPERSION, h, 10, 0.5))(trace)
    assert jnp.isnan(traced.value)
    assert jnp.isnan(traced.terms["noise_std"])


def test_second_order_value_is_certified_for_quadratic_losses_only():
    assert not bounds.wang_mao_optimized(RATES, DISPERSION, 1.0, 10, 0.5).certified
    assert bounds.wang_mao_optimized(RATES, DISPERSION, 1.0, 10, 0.5, quadratic=True).certified
    assert bounds.wang_mao_linear(RATES, DISPERSION, 10, 0.5).certified
    assert not bounds.wang_mao_two_layer_relu(RATES, DISPERSION, 0.5, 10, 0.5).certified


def test_linear_known_value(rtol):
    bound = bounds.wang_mao_linear(np.ones(2), [0.5, 0.35], n=1, R=1.0)  # T sum R^2 lambda_t^2 loss_t / n = 1.7
    assert float(bound.value) == pytest.approx(2.2555418943, rel=max(rtol, 1e-9))


def test_linear_is_the_cube_root_form_with_its_plug_ins(rtol):
    loss = DISPERSION / 3
    general = bounds.wang_mao_optimized(RATES, 2 * loss, 1.0, 40, 0.5)
    linear = bounds.wang_mao_linear(RATES, loss, 40, 0.5)
    np.testing.assert_allclose(linear.value, general.value, rtol=rtol)
    np.testing.assert_allclose(linear.value, 3 * np.cbrt(np.sum(0.25 * RATES**2 * 6 / 160 * loss)), rtol=rtol)


def _regression_seeds(num_seeds, scale=1.0, n=12, d=4, batch=3, num_steps=8):
    """Paths of mini-batch regression from zero: gradients (T, K, d), losses and squared per-example gradient norms (T, K)."""
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(num_seeds, n, d))
    inputs = scale * inputs / np.linalg.norm(inputs, axis=-1, keepdims=True)
    targets = inputs @ np.arange(1, d + 1) + 0.5 * rng.normal(size=(num_seeds, n))
    weights, path = np.zeros((num_seeds, d)), []
    for t in range(num_steps):
        rows = (t * batch + np.arange(batch)) % n
        residual = np.einsum("kid,kd->ki", inputs[:, rows], weights) - targets[:, rows]
        per_example = residual[..., None] * inputs[:, rows]
        path.append((per_example.mean(axis=1), 0.5 * np.mean(residual**2, axis=1), np.sum(per_example**2, axis=-1).mean(axis=1)))
        weights = weights - 0.3 * per_example.mean(axis=1)
    return (np.stack(values) for values in zip(*path, strict=True))


def test_dispersion_of_linear_regression_is_at_most_twice_its_training_loss():
    gradients, losses, _ = _regression_seeds(400)
    dispersion = gradients.var(axis=1, ddof=1).sum(axis=-1)
    assert (dispersion <= 2 * losses.mean(axis=1)).all()
    linear = bounds.wang_mao_linear(0.3, losses.mean(axis=1), 12, 1.0)
    assert bounds.wang_mao_optimized(0.3, dispersion, 1.0, 12, 1.0).value <= linear.value


@pytest.mark.any_precision
@pytest.mark.parametrize(("scale", "ratio"), [(1.0, 1.0), (2.0, 4.0)])
def test_squared_gradient_is_twice_the_loss_for_unit_inputs_alone(scale, ratio):
    _, losses, squares = _regression_seeds(4, scale)
    np.testing.assert_allclose(squares, ratio * 2 * losses, rtol=1e-12)


def _two_layer_quantities(activation, weights, x, y):
    """Squared gradient norm, loss and Hessian trace of one example each."""
    signs = jnp.sign(jnp.sin(jnp.arange(1.0, len(weights) + 1)))

    def loss(weights, x, y):
        return 0.5 * (y - signs @ activation(weights @ x) / jnp.sqrt(len(weights))) ** 2

    def one(x, y):
        gradient = jax.grad(loss)(weights, x, y)
        return jnp.sum(gradient**2), loss(weights, x, y), jnp.einsum("ijij->", jax.hessian(loss)(weights, x, y))

    return jax.jit(jax.vmap(one))(x, y)


@pytest.mark.heavy
def test_relu_gradient_norm_and_hessian_trace_are_active_fractions(rtol):
    rng = np.random.default_rng(8)
    weights, x, y = rng.normal(size=(10, 4)), rng.normal(size=(3, 4)), jnp.array([0.7, -1.1, 2.0])
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    fraction = bounds.active_fraction(weights, x)
    np.testing.assert_allclose(fraction, np.mean(x @ weights.T >= 0, axis=1), rtol=rtol)
    square, loss, trace = _two_layer_quantities(jax.nn.relu, jnp.asarray(weights), jnp.asarray(x), y)
    np.testing.assert_allclose(square, 2 * fraction * loss, rtol=5 * rtol)
    np.testing.assert_allclose(trace, fraction, rtol=rtol)
    smooth_trace = _two_layer_quantities(jax.nn.softplus, jnp.asarray(weights), jnp.asarray(x), y)[2]
    assert (abs(smooth_trace - fraction) > 0.02).all()


def test_relu_bound_is_the_cube_root_form_with_its_plug_ins(rtol):
    relu = bounds.wang_mao_two_layer_relu(RATES, DISPERSION / 5, 0.4, 40, 0.5)
    np.testing.assert_allclose(relu.value, bounds.wang_mao_optimized(RATES, 2 * DISPERSION / 5, 0.4, 40, 0.5).value, rtol=rtol)
    np.testing.assert_allclose(relu.value, 3 * np.cbrt(0.4 * np.sum(0.25 * RATES**2 * 6 / 160 * DISPERSION / 5)), rtol=rtol)


def test_relu_bound_with_all_units_active_is_the_linear_one(rtol):
    relu = bounds.wang_mao_two_layer_relu(RATES, DISPERSION, 1.0, 40, 0.5)
    np.testing.assert_allclose(relu.value, bounds.wang_mao_linear(RATES, DISPERSION, 40, 0.5).value, rtol=rtol)


@pytest.mark.any_precision
def test_second_order_flatness_of_a_relu_net_may_have_the_wrong_sign():
    rng = np.random.default_rng(3)
    m, std = 50, 0.05
    signs = np.repeat([1.0, -1.0], m // 2)
    weights = 0.02 * rng.normal(size=m) - 0.5 * (signs < 0)  # positive units near the kink, negative ones dead: noise raises the output

    def loss(weights):
        return 0.5 * (3.0 - np.maximum(weights, 0) @ signs / np.sqrt(m)) ** 2

    noise = std * rng.normal(size=(4000, m))
    change = (loss(weights + noise) + loss(weights - noise)) / 2 - loss(weights)
    taylor = 0.5 * std**2 * bounds.active_fraction(weights[:, None], np.ones((1, 1)))[0]
    assert taylor > 0
    assert change.mean() + 6 * change.std() / np.sqrt(4000) < 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.wang_mao_linear(RATES, -DISPERSION, 10, 0.5), "training_loss"),
        (lambda: bounds.wang_mao_linear(RATES, DISPERSION[:4], 10, 0.5), "learning_rate: 6, training_loss: 4"),
        (lambda: bounds.wang_mao_linear(RATES, DISPERSION, 10, 0.5, inputs=jnp.array([[1.0, 1e-2]])), "norm 1"),
        (lambda: bounds.wang_mao_linear(RATES, DISPERSION, 10, 0.5, inputs=jnp.ones(3)), "shape"),
        (lambda: bounds.wang_mao_two_layer_relu(RATES, -DISPERSION, 0.5, 10, 0.5), "active_loss"),
        (lambda: bounds.wang_mao_two_layer_relu(RATES, DISPERSION, 0.0, 10, 0.5), "active_fraction"),
        (lambda: bounds.wang_mao_two_layer_relu(RATES, DISPERSION, 1.5, 10, 0.5), "active_fraction"),
        (lambda: bounds.wang_mao_two_layer_relu(RATES, DISPERSION, 0.5, 10, 0.5, output_weights=jnp.array([1.0, 0.5])), "output_weights"),
        (lambda: bounds.wang_mao_two_layer_relu(RATES, DISPERSION, 0.5, 10, 0.5, inputs=2 * jnp.eye(2)), "norm 1"),
        (lambda: bounds.active_fraction(jnp.ones((2, 3)), jnp.ones((4, 2))), r"\(2, 3\) and \(4, 2\)"),
        (lambda: bounds.wang_mao_optimized(RATES, DISPERSION, 1.0, 10, 0.5, schedule="best"), "schedule must be one of 'constant', 'free'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unit_inputs_and_signs_pass_the_check():
    inputs = np.random.default_rng(1).normal(size=(30, 400))
    inputs = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    assert bounds.wang_mao_linear(RATES, DISPERSION, 10, 0.5, inputs=inputs).value > 0
    assert bounds.wang_mao_two_layer_relu(RATES, DISPERSION, 0.5, 10, 0.5, inputs=inputs, output_weights=jnp.array([1.0, -1.0])).value > 0
    traced = jax.jit(lambda inputs: bounds.wang_mao_linear(RATES, DISPERSION, 10, 0.5, inputs=inputs))(2 * inputs)
    assert jnp.isnan(traced.value)
