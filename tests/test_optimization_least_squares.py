"""Spectral filters and least squares: closed forms against loops, power series and scipy (LS-1 to LS-3)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import optimization


@pytest.fixture
def problem(key):
    """Five examples in twelve dimensions."""
    keys = jax.random.split(key, 3)
    return jax.random.normal(keys[0], (5, 12)), jax.random.normal(keys[1], (5,)), jax.random.normal(keys[2], (12,))


@pytest.fixture
def rate(problem):
    return 0.5 / np.linalg.norm(problem[0], 2) ** 2


def _loop(x, y, w, rate, num_steps, momentum=0.0, ridge=0.0):
    x, y, start = np.float64(x), np.float64(y), np.float64(w)
    w, velocity = start, np.zeros_like(start)
    for _ in range(num_steps):
        velocity = momentum * velocity + x.T @ (x @ w - y) + ridge * (w - start)
        w = w - rate * velocity
    return w


def test_the_known_filter_factors():
    s = jnp.array([0.3, 0.6, 1.0])
    found = optimization.gradient_descent_filter(s**2, 0.05, 20)
    np.testing.assert_allclose(found.fitted, [0.08625442, 0.30460789, 0.64151408], atol=2e-7)


@pytest.mark.heavy
@pytest.mark.parametrize(("momentum", "ridge"), [(0.0, 0.0), (0.6, 0.0), (0.0, 0.3), (0.9, 0.3)])
def test_iterates_are_those_of_a_loop(problem, rate, rtol, momentum, ridge):
    x, y, w0 = problem
    counts = [0, 1, 2, 7, 100]
    found = optimization.least_squares_gd(x, y, learning_rate=rate, num_steps=jnp.array(counts), w0=w0, momentum=momentum, ridge=ridge)
    for count, w in zip(counts, found, strict=True):
        np.testing.assert_allclose(w, _loop(x, y, w0, rate, count, momentum, ridge), rtol=100 * rtol, atol=100 * rtol)


def test_iterates_from_zero_are_the_power_series(problem, rate, rtol):
    x, y, _ = problem
    matrix = np.eye(12) - rate * np.float64(x).T @ np.float64(x)
    series = sum(np.linalg.matrix_power(matrix, j) for j in range(7)) @ (rate * np.float64(x).T @ np.float64(y))
    np.testing.assert_allclose(optimization.least_squares_gd(x, y, learning_rate=rate, num_steps=7), series, rtol=20 * rtol, atol=20 * rtol)


@pytest.mark.heavy
def test_the_flow_solves_its_equation(problem):
    x, y, w0 = problem
    with jax.enable_x64(True):
        x, y, w0 = (jnp.asarray(a, jnp.float64) for a in problem)
        w, slope = jax.jvp(lambda t: optimization.least_squares_flow(x, y, t, w0=w0, ridge=0.2), (jnp.float64(0.1),), (jnp.float64(1.0),))
        np.testing.assert_allclose(slope, -x.T @ (x @ w - y) - 0.2 * (w - w0), rtol=1e-10, atol=1e-10)
        start = optimization.least_squares_flow(x, y, 0.0, w0=w0)
    np.testing.assert_allclose(start, w0, rtol=1e-12)


def test_gradient_descent_ends_in_the_least_norm_solution(problem, rate, rtol):
    x, y, w0 = problem
    expected = np.linalg.pinv(np.float64(x)) @ np.float64(y)
    many = optimization.least_squares_gd(x, y, learning_rate=rate, num_steps=1_000_000)
    for found in (many, optimization.min_norm_solution(x, y), optimization.gd_limit(x, y, jnp.zeros(12), learning_rate=rate)):
        np.testing.assert_allclose(found, expected, rtol=100 * rtol, atol=100 * rtol)
    moved = expected + w0 - np.linalg.pinv(np.float64(x)) @ np.float64(x) @ w0
    np.testing.assert_allclose(optimization.gd_limit(x, y, w0), moved, rtol=100 * rtol, atol=100 * rtol)


def test_known_limits(rtol):
    x, y = jnp.array([[1.0, 1.0]]), jnp.array([2.0])
    np.testing.assert_allclose(optimization.min_norm_solution(x, y), [1.0, 1.0], rtol=rtol)
    np.testing.assert_allclose(optimization.gd_limit(x, y, jnp.array([1.0, -1.0])), [2.0, 0.0], rtol=rtol, atol=rtol)


def test_the_projector_keeps_rows_and_is_idempotent(problem, rtol):
    x = jnp.concatenate([problem[0], problem[0][:1]])
    projector = optimization.row_space_projector(x)
    np.testing.assert_allclose(x @ projector, x, atol=20 * rtol)
    np.testing.assert_allclose(projector @ projector, projector, atol=20 * rtol)
    np.testing.assert_allclose(jnp.trace(projector), 5.0, rtol=rtol)


@pytest.mark.heavy
def test_penrose_residuals_tell_the_pseudo_inverse_from_another_inverse(key, rtol):
    left, right, other = (jax.random.normal(k, shape) for k, shape in zip(jax.random.split(key, 3), ((5, 2), (2, 7), (7, 5)), strict=True))
    m = left @ right
    inverse = jnp.linalg.pinv(m)
    np.testing.assert_allclose(optimization.penrose_residuals(m, inverse), 0, atol=100 * rtol)
    wrong = optimization.penrose_residuals(m, inverse + (jnp.eye(7) - inverse @ m) @ other)
    assert wrong[0] < 100 * rtol
    assert wrong[2] < 100 * rtol
    assert wrong[1] > 0.1


def test_a_zero_mode_gains_the_number_of_steps_and_the_time():
    zero = jnp.zeros(1)
    assert float(optimization.gradient_descent_filter(zero, 0.1, 50).gain[0]) == pytest.approx(5.0, rel=1e-6)
    assert float(optimization.gradient_flow_filter(zero, 3.0).gain[0]) == 3.0
    found = optimization.gradient_flow_filter(jnp.array([0.0, 2.0]), jnp.inf)
    np.testing.assert_array_equal(found.gain, [np.inf, 0.5])
    np.testing.assert_array_equal(found.residual, [1.0, 0.0])
    # c_{k+1} - c_k = -x u, u -> 1 / (1 - beta): a sum of k steps of eta u_j.
    velocities = np.cumsum(0.5 ** np.arange(50))
    np.testing.assert_allclose(optimization.gradient_descent_filter(zero, 0.1, 50, momentum=0.5).gain, [0.1 * velocities.sum()], rtol=1e-5)


@pytest.mark.float64
def test_gains_of_small_modes_keep_their_digits_and_their_derivative():
    """Against 1 - (1 - x)^k expanded to the fourth order, beyond rounding at x k <= 1e-4."""
    eigenvalues = jnp.array([0.0, 1e-18, 1e-12, 1e-9, 1e-8, 3e-8])
    k, eta = 1000, 0.7
    x = eta * np.asarray(eigenvalues)
    expected = eta * k * (1 - (k - 1) / 2 * x * (1 - (k - 2) / 3 * x * (1 - (k - 3) / 4 * x)))
    np.testing.assert_allclose(optimization.gradient_descent_filter(eigenvalues, eta, k).gain, expected, rtol=1e-13)
    slope = jax.vmap(jax.grad(lambda e: optimization.gradient_descent_filter(e[None], eta, k).gain[0]))(eigenvalues)
    np.testing.assert_allclose(slope, -(eta**2) * k * (k - 1) / 2, rtol=1e-4)
    np.testing.assert_allclose(jax.grad(lambda e: optimization.gradient_flow_filter(e[None], 2.0).gain[0])(0.0), -2.0, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_residuals_of_any_step_size_and_number(momentum, rtol):
    """Beyond the threshold they grow, with a sign that alternates; at x = 1 without momentum the mode is fitted in one step."""
    x = np.array([0.2, 1.0, 1.5, 2.0, 3.5])
    counts = np.array([0, 1, 2, 9])
    found = optimization.gradient_descent_filter(jnp.asarray(x), 1.0, jnp.asarray(counts), momentum=momentum)
    for row, count in zip(found.residual, counts, strict=True):
        c, u = np.ones_like(x), np.zeros_like(x)
        for _ in range(count):
            u = momentum * u + c
            c = c - x * u
        np.testing.assert_allclose(row, c, rtol=1000 * rtol, atol=1000 * rtol)
    np.testing.assert_allclose(found.fitted, x * found.gain, rtol=10 * rtol)


def test_an_odd_number_of_steps_beyond_the_digits_of_a_float_keeps_its_sign():
    residual = optimization.gradient_descent_filter(jnp.array([2.0]), 1.0, jnp.array([2**24 + 1, 2**24])).residual
    np.testing.assert_array_equal(residual[:, 0], [-1.0, 1.0])


def test_a_ridge_is_where_training_with_it_ends(rtol):
    eigenvalues = jnp.array([0.0, 0.1, 5.0])
    ridge, end = optimization.ridge_filter(eigenvalues, 0.3), optimization.gradient_flow_filter(eigenvalues, jnp.inf, ridge=0.3)
    for a, b in zip(ridge, end, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    descended = optimization.gradient_descent_filter(eigenvalues, 0.2, 10_000, ridge=0.3)
    np.testing.assert_allclose(descended.residual, ridge.residual, rtol=10 * rtol)


@pytest.mark.any_precision
def test_filters_under_jit_and_vmap(rtol):
    eigenvalues, counts = jnp.array([0.0, 0.3, 1.7]), jnp.array([0, 3, 50])
    for momentum in (0.0, 0.4):
        eager = optimization.gradient_descent_filter(eigenvalues, 0.5, counts, momentum=momentum)
        jitted = jax.jit(lambda e, k, m=momentum: optimization.gradient_descent_filter(e, 0.5, k, momentum=m))(eigenvalues, counts)
        mapped = jax.vmap(lambda k, m=momentum: optimization.gradient_descent_filter(eigenvalues, 0.5, k, momentum=m))(counts)
        traced = jax.jit(lambda m: optimization.gradient_descent_filter(eigenvalues, 0.5, counts, momentum=m))(momentum)
        for parts in zip(eager, jitted, mapped, traced, strict=True):
            for part in parts[1:]:
                np.testing.assert_allclose(part, parts[0], rtol=10 * rtol, atol=10 * rtol)
    assert np.isnan(jax.jit(lambda t: optimization.gradient_flow_filter(eigenvalues, t).gain)(-1.0)[1])


@pytest.mark.any_precision
def test_columns_of_targets_are_solved_apart(problem, rate, rtol):
    x, y, w0 = problem
    both = optimization.least_squares_gd(x, jnp.stack([y, 2 * y], 1), learning_rate=rate, num_steps=jnp.array([3, 5]), w0=jnp.stack([w0, 0 * w0], 1))
    assert both.shape == (2, 12, 2)
    np.testing.assert_allclose(
        both[1, :, 0], optimization.least_squares_gd(x, y, learning_rate=rate, num_steps=5, w0=w0), rtol=10 * rtol, atol=10 * rtol
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimization.gradient_flow_filter(jnp.array([-1.0]), 1.0), "eigenvalues must be at least 0"),
        (lambda: optimization.gradient_flow_filter(jnp.ones((2, 2)), 1.0), "eigenvalues must be a vector"),
        (lambda: optimization.gradient_flow_filter(jnp.ones(2), -1.0), "t must be at least 0"),
        (lambda: optimization.gradient_descent_filter(jnp.ones(2), 0.0, 1), "learning_rate must be positive"),
        (lambda: optimization.gradient_descent_filter(jnp.ones(2), 0.1, -1), "num_steps must be whole numbers"),
        (lambda: optimization.gradient_descent_filter(jnp.ones(2), 0.1, 1.5), "num_steps must be whole numbers"),
        (lambda: optimization.gradient_descent_filter(jnp.ones(2), 0.1, 1, momentum=1.0), "momentum must be in"),
        (lambda: optimization.gradient_descent_filter(jnp.ones(2), jnp.ones(2), 1), "learning_rate must be a scalar"),
        (lambda: optimization.gradient_descent_filter(jnp.ones(2), 0.1, 1, ridge=-1.0), "ridge must be at least 0"),
        (lambda: optimization.ridge_filter(jnp.ones(2), 0.0), "ridge must be positive"),
        (lambda: optimization.training_filter(jnp.ones(2), learning_rate=0.1), "belong together"),
        (lambda: optimization.training_filter(jnp.ones(2), t=1.0, learning_rate=0.1, num_steps=2), "time of gradient flow"),
        (lambda: optimization.training_filter(jnp.ones(2), momentum=0.1), "momentum needs"),
        (lambda: optimization.training_filter(jnp.ones(2), loss_scale=0.0), "loss_scale must be positive"),
        (lambda: optimization.least_squares_gd(jnp.ones((3, 2)), jnp.ones(2), learning_rate=0.1, num_steps=1), r"y must have shape \(3,\)"),
        (lambda: optimization.least_squares_gd(jnp.ones((3, 2)), jnp.ones(3), learning_rate=0.1, num_steps=1, w0=jnp.ones(3)), "w0 must have shape"),
        (lambda: optimization.least_squares_flow(jnp.ones((1, 2)), jnp.ones(1), jnp.inf), "t must be finite"),
        (lambda: optimization.min_norm_solution(jnp.ones(3), jnp.ones(3)), "x must be a matrix"),
        (lambda: optimization.min_norm_solution(jnp.ones((2, 3)), jnp.ones(2), require_full_rank=True), "its rank is 1"),
        (lambda: optimization.min_norm_solution(jnp.full((1, 2), jnp.nan), jnp.ones(1)), "x must be finite"),
        (lambda: optimization.gd_limit(jnp.ones((1, 2)), jnp.ones(1), jnp.ones(2), learning_rate=1.1), "learning_rate must lie in"),
        (lambda: optimization.penrose_residuals(jnp.ones((1, 2)), jnp.ones((1, 2))), "shape of m transposed"),
    ],
)
@pytest.mark.any_precision
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
