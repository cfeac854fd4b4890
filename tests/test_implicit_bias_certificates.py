"""Steepest descent on the exponential loss and the inequalities that certify its margin."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxgen import implicit_bias
from jaxgen.implicit_bias import lp_norm, spectral_norm

SYMMETRIC = np.array([[2.0, 0.5], [0.5, 2.0]])
NUM_STEPS = 300
RUNS = {
    "l1": (lp_norm(1), (4,), "bounded"),
    "l4/3": (lp_norm(4 / 3), (4,), "normalized"),
    "l2": (lp_norm(2), (4,), "bounded"),
    "l3": (lp_norm(3), (4,), "normalized"),
    "linf": (lp_norm(math.inf), (4,), "bounded"),
    "spectral": (spectral_norm(), (2, 2), "normalized"),
}


def _separable(key, shape, num_seeds=4, n=8):
    """Rows with products of at least 1/2 with a direction of Frobenius norm one."""

    def one(key):
        direction_key, row_key = jax.random.split(key)
        direction = jax.random.normal(direction_key, (math.prod(shape),))
        direction = direction / jnp.linalg.norm(direction)
        rows = jax.random.normal(row_key, (n, len(direction)))
        along = rows @ direction
        return (rows + (jnp.abs(along) - along + 0.5)[:, None] * direction).reshape(n, *shape)

    return jax.vmap(one)(jax.random.split(key, num_seeds))


def _largest_margin(z, p):
    """By scipy's linear program, for p of 1 or inf."""
    n, d = z.shape
    if p == 1:
        rows, right = np.vstack([np.hstack([-z, z, np.ones((n, 1))]), np.append(np.ones(2 * d), 0)]), np.append(np.zeros(n), 1)
        signs = [(0, None)] * (2 * d)
    else:
        rows, right, signs = np.hstack([-z, np.ones((n, 1))]), np.zeros(n), [(-1, 1)] * d
    return -linprog(np.append(np.zeros(len(signs)), -1), A_ub=rows, b_ub=right, bounds=[*signs, (None, None)]).fun


@pytest.mark.heavy
@pytest.mark.parametrize("name", RUNS)
def test_every_inequality_of_the_proof_holds_at_every_step(name, key, precision):
    """Up to the rounding of sums of as many terms as steps; from a start whose loss is above one, and from one where it is below."""
    norm, shape, mode = RUNS[name]
    z = _separable(key, shape)
    starts = jnp.stack([jnp.zeros(shape), 3 * z[0].mean(axis=0)])

    @jax.jit
    @jax.vmap
    def certified(z, w0):
        trace = implicit_bias.steepest_descent_exp(z, norm, w0, NUM_STEPS, mode=mode)
        return trace, implicit_bias.margin_certificates(trace)

    trace, found = certified(jnp.concatenate([z, z[:1]]), starts[jnp.array([0, 0, 0, 0, 1])])
    assert trace.log_loss[-1, 0] < 0 < trace.log_loss[0, 0]
    for inequality, (lower, upper) in found._asdict().items():
        scale = 1 + np.maximum(np.abs(lower), np.abs(upper))
        assert np.all(lower - upper <= NUM_STEPS * np.finfo(precision).eps * scale), inequality


@pytest.mark.heavy
def test_constant_steps_of_the_euclidean_norm_are_gradient_descent(rtol):
    w, z = np.array([0.3, -0.2]), SYMMETRIC
    trace = implicit_bias.steepest_descent_exp(z, lp_norm(2), w, 6, learning_rate=0.1, mode="constant")
    path = [w]
    for _ in range(6):
        path.append(path[-1] + 0.1 * z.T @ np.exp(-z @ path[-1]))
    losses = np.array([np.exp(-z @ w).sum() for w in path])
    slopes = np.array([np.linalg.norm(z.T @ np.exp(-z @ w)) for w in path])
    bound = np.linalg.norm(z, axis=1).max()
    expected = {
        "w": path[-1],
        "bound": bound,
        "step": np.arange(7),
        "log_loss": np.log(losses),
        "margin": [(z @ w).min() for w in path],
        "norm": [np.linalg.norm(w) for w in path],
        "gradient": slopes / losses,
        "gain": np.append(0, np.cumsum(0.1 * slopes**2 / losses)[:-1]),
        "curvature": np.append(0, np.cumsum((0.1 * bound * slopes) ** 2 / 2)[:-1]),
        "length": np.append(0, np.cumsum(0.1 * slopes)[:-1]),
        "energy": np.append(0, np.cumsum(0.1 * slopes**2)[:-1]),
        "gradient_sum": np.append(0, np.cumsum(slopes)[:-1]),
        "log_time": np.append(-np.inf, np.log(0.1 * np.arange(1, 7))),
    }
    assert set(expected) == set(trace._fields)
    for field, values in expected.items():
        np.testing.assert_allclose(getattr(trace, field), values, rtol=10 * rtol, atol=10 * rtol, err_msg=field)


@pytest.mark.parametrize(("mode", "rate", "expected"), [("bounded", 1e-3, 1e-3), ("bounded", 9.0, None), ("normalized", 0.5, None)])
@pytest.mark.any_precision
def test_the_first_step_is_the_cap_or_one_over_the_squared_bound_times_the_loss(mode, rate, expected):
    largest = 1 / (np.sum(SYMMETRIC[0] ** 2) * 2)
    trace = implicit_bias.steepest_descent_exp(SYMMETRIC, lp_norm(2), np.zeros(2), 1, learning_rate=rate, mode=mode)
    factor = 1 if mode == "bounded" else rate
    assert math.exp(trace.log_time[-1]) == pytest.approx(factor * largest if expected is None else expected, rel=1e-5)


def test_nothing_overflows_at_a_log_loss_of_minus_3000(precision):
    """Whereas 1 / (B^2 L) does; the margin is the largest, 2.5 / sqrt 2, to the log 2 of two points."""
    trace = jax.jit(lambda z: implicit_bias.steepest_descent_exp(z, lp_norm(2), np.zeros(2), 5000, mode="normalized", every=1000))(SYMMETRIC)
    assert trace.log_loss[-1] < -3000
    assert all(jnp.isfinite(jnp.ravel(leaf)[-1]) for leaf in jax.tree.leaves(trace))
    assert trace.log_time[-1] > 2990
    ratio = trace.margin[-1] / trace.norm[-1] / (2.5 / math.sqrt(2))
    assert 1 - 1e-3 < ratio < 1 + 10 * np.finfo(precision).eps


@pytest.mark.heavy
def test_records_now_and_then_are_those_of_all_steps():
    whole, thin = (implicit_bias.steepest_descent_exp(SYMMETRIC, lp_norm(1), np.ones(2), 7, every=every) for every in (1, 3))
    kept = np.array([0, 3, 6, 7])
    np.testing.assert_array_equal(thin.step, kept)
    for a, b in zip(whole[3:], thin[3:], strict=True):
        np.testing.assert_allclose(a[kept], b, rtol=1e-6)


@pytest.mark.float64
@pytest.mark.parametrize("p", [1, math.inf])
def test_certified_intervals_hold_the_value_of_the_linear_program(p, key):
    """Intervals of a run's last iterate and of `max_margin`, up to rounding."""
    z = _separable(key, (4,))

    @jax.jit
    @jax.vmap
    def intervals(z):
        w = implicit_bias.steepest_descent_exp(z, lp_norm(p), jnp.zeros(4), 2000, mode="normalized", every=2000).w
        best = implicit_bias.max_margin(z, lp_norm(p))
        return implicit_bias.margin_gap(w, z, lp_norm(p)), (best.lower, best.upper)

    expected = np.array([_largest_margin(np.asarray(rows, float), p) for rows in z])
    rounding = 1e-12 * expected
    for (lower, upper), gap in zip(intervals(z), (0.1, 1e-8), strict=True):
        assert np.all(lower <= expected + rounding)
        assert np.all(expected - rounding <= upper)
        assert np.all(upper - lower <= gap * expected + rounding)


def test_the_gap_of_one_point_is_zero_and_at_the_origin_the_mean_bounds_the_margin(rtol):
    z = np.array([[3.0, -4.0]])
    for p, expected in ((1, 4.0), (2, 5.0), (math.inf, 7.0)):
        direction = lp_norm(p).steepest(-jnp.asarray(z[0]))
        np.testing.assert_allclose(implicit_bias.margin_gap(direction, z, lp_norm(p)), (expected, expected), rtol=rtol)
    np.testing.assert_allclose(implicit_bias.margin_gap(np.zeros(2), SYMMETRIC, lp_norm(2)), (0, 1.25 * math.sqrt(2)), rtol=rtol)


def test_steps_a_hundred_times_too_large_break_the_descent():
    trace = implicit_bias.steepest_descent_exp(np.array([[1.0, 0.2], [-0.8, 1.0]]), lp_norm(2), np.zeros(2), 5, learning_rate=100, mode="normalized")
    found = implicit_bias.margin_certificates(trace)
    assert jnp.any(found.descent.lower > found.descent.upper)
    assert jnp.any(jnp.diff(trace.log_loss) > 0)


@pytest.mark.heavy
def test_a_given_margin_sharpens_the_certificates_that_use_it():
    trace = implicit_bias.steepest_descent_exp(SYMMETRIC, lp_norm(1), np.array([1.0, 0.0]), 20)
    loose, sharp = (implicit_bias.margin_certificates(trace, gamma) for gamma in (None, 1.25))
    assert jnp.all(loose.limit.lower < sharp.limit.lower)
    assert jnp.all(loose.rate.upper > sharp.rate.upper)
    assert jnp.all(sharp.limit.lower <= sharp.limit.upper)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((SYMMETRIC, lp_norm(2), np.zeros(3), 1), {}, "shape"),
        ((SYMMETRIC[0], lp_norm(2), np.zeros(2), 1), {}, "as rows"),
        ((0 * SYMMETRIC, lp_norm(2), np.zeros(2), 1), {}, "all zero"),
        ((SYMMETRIC, lp_norm(2), np.zeros(2), -1), {}, "num_steps"),
        ((SYMMETRIC, lp_norm(2), np.zeros(2), 1), {"learning_rate": -1.0}, "must be positive"),
        ((SYMMETRIC, lp_norm(2), np.zeros(2), 1), {"learning_rate": [1.0, 1.0]}, "one value per step"),
        ((SYMMETRIC, lp_norm(2), np.zeros(2), 1), {"mode": "exact"}, "'bounded'"),
    ],
)
def test_bad_input_is_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        implicit_bias.steepest_descent_exp(*arguments, **options)


@pytest.mark.any_precision
def test_a_traced_negative_step_size_gives_no_number():
    run = jax.jit(lambda rate: implicit_bias.steepest_descent_exp(SYMMETRIC, lp_norm(2), np.zeros(2), 1, learning_rate=rate).w)
    assert jnp.isnan(run(-1.0)).all()
