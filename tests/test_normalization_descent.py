"""Weight decay, exponential learning rates, the norm's recursion, spherical curvature and the guarantees."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import models, normalization, processes


def _rayleigh(w, matrices):
    return jnp.einsum("i,nij,j->n", w, matrices, w) / jnp.sum(w**2)


def _gradients(matrices):
    return lambda w, t: jax.grad(lambda w: _rayleigh(w, matrices[t][None])[0])(w)


def _matrices(key, num_steps, dim=4):
    a = jax.random.normal(key, (num_steps, dim, dim))
    return a + jnp.swapaxes(a, 1, 2)


@pytest.mark.heavy
def test_the_schedule_is_its_formula_and_grows_by_a_constant_factor(rtol):
    rates = normalization.exponential_learning_rate(0.1, 0.05, jnp.arange(50))
    np.testing.assert_allclose(rates, 0.1 * (1 - 0.005) ** -(2 * np.arange(50) + 1.0), rtol=50 * rtol)
    np.testing.assert_allclose(rates[1:] / rates[:-1] - 1, 0.0100755, rtol=1e-6 + 1e3 * rtol)
    np.testing.assert_allclose(normalization.exponential_learning_rate(0.3, 0.0, jnp.arange(5)), 0.3, rtol=rtol)


@pytest.mark.float64
def test_the_schedule_overflows_where_the_number_does_and_its_logarithm_never():
    """(1 - 1/2)^-(2t+1) = 2^(2t+1) times 2^-600: the factor alone overflows at t = 512, the product does at t = 812."""
    rate, decay = 2.0**-600, 2.0**599
    found = normalization.exponential_learning_rate(rate, decay, jnp.array([600, 811, 812]))
    np.testing.assert_allclose(found[:2], [2.0**601, 2.0**1023], rtol=1e-12)
    assert found[2] == jnp.inf
    log = normalization.log_exponential_learning_rate(rate, decay, 10**9)
    np.testing.assert_allclose(log, (2e9 + 1 - 600) * math.log(2), rtol=1e-14)


@pytest.mark.any_precision
def test_bad_rates_are_refused():
    call = normalization.exponential_learning_rate
    for arguments, message in (
        ((0.5, 2.0, 0), r"learning_rate \* weight_decay must be below 1"),
        ((-0.1, 0.1, 0), "learning_rate must be positive"),
        ((0.1, -0.1, 0), "weight_decay must be at least 0"),
        ((0.1, 0.1, -1), "step must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call(*arguments)
    with pytest.raises(ValueError, match="must be below 1"):
        normalization.exponential_schedule(1.0, 1.0)
    with pytest.raises(ValueError, match=r"must be below 1; got .* \* 2"):
        normalization.gd_weight_decay(lambda w, t: w, jnp.ones(2), 0.5, 2.0, 3)
    assert jnp.isnan(jax.jit(call)(0.5, 2.0, 0))


def _net_and_data(key):
    x, y = jax.random.normal(key, (40, 5)), jax.random.randint(key, (40,), 0, 3)
    model = normalization.scale_invariant_mlp(jax.random.key(1), (6, 3))
    return model, models.loss_fn(model.apply, "cross_entropy"), (x, y)


@pytest.mark.slow
@pytest.mark.float64
def test_weight_decay_and_the_schedule_train_one_function_by_mini_batches(key):
    """200 stochastic steps of the net; the printed schedule, without eta, does not."""
    model, loss_fn, data = _net_and_data(key)
    params = model.init(key, data[0])
    rows = processes.batch_indices(key, 40, 8, 200)
    rate, decay = 0.1, 0.05

    @jax.jit
    @jax.vmap
    def train(rates, decay):
        optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(lambda t: rates[t]))
        final, _ = processes.train(key, loss_fn, params, data, rows, optimizer=optimizer)
        return ravel_pytree(final)[0], model.apply(final, data[0])

    growing = jax.vmap(normalization.exponential_schedule(rate, decay))(jnp.arange(200))
    weights, outputs = train(jnp.stack([jnp.full(200, rate), growing, growing / rate]), jnp.array([decay, 0.0, 0.0]))
    expected = weights[0] * (1 - rate * decay) ** -200
    assert jnp.linalg.norm(weights[1] - expected) < 1e-12 * jnp.linalg.norm(expected)
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-12)
    assert jnp.abs(outputs[2] - outputs[0]).max() > 0.1


@pytest.mark.float64
def test_the_rescaled_iteration_is_weight_decay_long_after_the_schedule_overflows(key):
    """Losses that change from step to step: the directions contract, so that rounding does not grow."""
    gradient_of, w0 = _gradients(_matrices(key, 64)), jnp.array([1.0, -2.0, 0.5, 3.0])
    num_steps, rate, decay = 8000, 0.5, 0.1

    def grad_fn(w, t):
        return gradient_of(w, t % 64)

    @jax.jit
    def both(w0):
        log_rates = normalization.log_exponential_learning_rate(rate, decay, jnp.arange(num_steps))
        rescaled = normalization.rescaled_gd(grad_fn, w0, log_rates, num_steps, record=lambda state, g, t: state.log_norm, every=4000)
        w, _ = normalization.gd_weight_decay(grad_fn, w0, rate, decay, num_steps)
        return log_rates[-1], *rescaled, w, normalization.with_norm(w, 1.0)

    last, state, path, w, direction = both(w0)
    assert last > math.log(jnp.finfo(float).max)
    np.testing.assert_allclose(state.direction, direction, atol=1e-11)
    np.testing.assert_allclose(state.log_norm, jnp.log(jnp.linalg.norm(w)) - num_steps * math.log1p(-rate * decay), rtol=1e-12)
    assert path.shape == (2,)
    np.testing.assert_allclose(path[0], jnp.log(jnp.linalg.norm(w0)), rtol=1e-12)


@pytest.mark.heavy
def test_the_norm_follows_its_recursion(key, rtol):
    matrices, rate, decay = _matrices(key, 60), 0.05, 0.5
    w0 = jnp.array([1.0, -2.0, 0.5, 3.0])
    w, (lengths, slopes) = jax.jit(
        lambda w: normalization.gd_weight_decay(
            _gradients(matrices), w, rate, decay, 60, record=lambda w, g, t: (jnp.linalg.norm(w), jnp.linalg.norm(w) * jnp.linalg.norm(g))
        )
    )(w0)
    norms = normalization.norm_recursion(jnp.linalg.norm(w0), slopes, rate, decay)
    np.testing.assert_allclose(norms, jnp.append(lengths, jnp.linalg.norm(w)), rtol=50 * rtol)


def test_the_equilibrium_is_the_fixed_point_of_the_recursion(rtol):
    fixed = normalization.equilibrium_norm(4.0, 0.1, 0.3)
    np.testing.assert_allclose(normalization.norm_recursion(fixed, jnp.full(5, 2.0), 0.1, 0.3), fixed, rtol=10 * rtol)
    np.testing.assert_allclose(normalization.norm_recursion(100.0, jnp.full(400, 2.0), 0.1, 0.3)[-1], fixed, rtol=1e-4)
    small = normalization.equilibrium_norm(4.0, 1e-4, 0.3)
    np.testing.assert_allclose(small**4, 1e-4 * 4.0 / 0.6, rtol=3e-5)
    np.testing.assert_allclose(normalization.effective_learning_rate(1e-4, small), math.sqrt(2 * 1e-4 * 0.3 / 4.0), rtol=3e-5)


@pytest.mark.float64
def test_gradients_of_scale_invariant_losses_are_tangential(key, rtol):
    w, batch = jax.random.normal(key, (4,)), _matrices(key, 3)

    @jax.jit
    def found(w):
        slope = jax.grad(lambda w: _rayleigh(w, batch).mean())(w)
        radial = normalization.radial_gradient(_rayleigh, w, batch)
        known = normalization.spherical_gradient_norm(_rayleigh, jnp.array([3.0, 3.0]), jnp.diag(jnp.array([0.0, 1.0]))[None])
        return radial, normalization.spherical_gradient_norm(_rayleigh, 7 * w, batch), jnp.linalg.norm(w) * jnp.linalg.norm(slope), known

    radial, spherical, expected, known = found(w)
    np.testing.assert_allclose(radial, 0, atol=50 * rtol)
    np.testing.assert_allclose(spherical, expected, rtol=50 * rtol)
    np.testing.assert_allclose(known, 1.0, rtol=10 * rtol)


@pytest.mark.any_precision
def test_losses_that_see_the_scale_are_refused_with_their_defect(key):
    squares = lambda w, x: x * jnp.sum(w**2)  # noqa: E731
    w, x = 1e-3 * jnp.ones(3), jnp.ones(2)
    with pytest.raises(ValueError, match=r"must be scale invariant in params.*defect is 1,"):
        normalization.spherical_gradient_norm(squares, w, x)
    with pytest.raises(ValueError, match=r"defect is 0\.75, tolerance 0\.0001"):
        normalization.spherical_curvature(key, squares, w, x, method="sample", num_points=2, num_matvecs=1)
    with pytest.raises(ValueError, match="params must not be zero"):
        normalization.spherical_gradient_norm(_rayleigh, jnp.zeros(2), jnp.eye(2)[None])
    assert jnp.isnan(jax.jit(lambda w: normalization.spherical_gradient_norm(squares, w, x))(w))
    with pytest.raises(ValueError, match="grad_fn must be the gradient of a scale-invariant loss"):
        normalization.rescaled_gd(lambda w, t: 2 * w, w, 0.0, 3)
    assert jnp.isnan(jax.jit(lambda w: normalization.rescaled_gd(lambda w, t: 2 * w, w, 0.0, 3)[0].log_norm)(w))


def test_at_a_minimum_of_zero_rounding_is_no_defect(key):
    q = jnp.linalg.qr(jax.random.normal(key, (4, 4)))[0]
    matrix = q @ jnp.diag(jnp.arange(4.0)) @ q.T
    slope = jax.jit(lambda w: normalization.spherical_gradient_norm(_rayleigh, w, matrix[None]))(0.3 * q[:, 0])
    assert slope < 1e-5


@pytest.mark.float64
def test_spherical_curvature_of_a_rayleigh_quotient_is_twice_the_spread_from_below(key):
    batch = _matrices(key, 1, 3)
    eigenvalues = jnp.linalg.eigvalsh(batch[0])
    rho = 2 * (eigenvalues[-1] - eigenvalues[0])

    @jax.jit
    def both(batch):
        estimates = [
            normalization.spherical_curvature(key, _rayleigh, jnp.ones(3), batch, num_points=4, num_matvecs=12, method=method)
            for method in ("sample", "ascent")
        ]
        hessian = jax.hessian(lambda w: _rayleigh(w, batch)[0])
        return estimates, hessian(estimates[1].params), hessian(2 * estimates[1].params)

    (sampled, climbed), at_unit, at_two = both(batch)
    assert sampled.value < climbed.value <= rho * (1 + 1e-12)
    assert climbed.value > 0.999 * rho
    assert sampled.norms.shape == (4,)
    np.testing.assert_allclose(jnp.linalg.norm(at_unit, 2), climbed.value, rtol=1e-3)
    np.testing.assert_allclose(jnp.linalg.norm(at_two, 2), climbed.value / 4, rtol=1e-3)


def test_the_guarantee_has_the_known_values(rtol):
    found = normalization.scale_invariant_gd_guarantee(jnp.array([30.0, 1.0, 0.01]), 2.0, 0.01, 0.01)
    np.testing.assert_allclose(found.num_steps, [57125, 23113, 52939], atol=1)
    np.testing.assert_allclose(found.squared_gradient_threshold, 0.3117091, rtol=1e-6)
    assert not found.vacuous.any()
    assert normalization.scale_invariant_gd_guarantee(30.0, 2.0, 0.01, 0.04, max_gradient_norm=1.0).vacuous
    edge = 1 / (8 * math.pi**2)
    vacuous = normalization.scale_invariant_gd_guarantee(1.0, 3.0, 1.0, jnp.array([0.999, 1.001]) * edge).vacuous
    assert vacuous.tolist() == [False, True]


@pytest.mark.float64
def test_one_step_decreases_by_the_bound_and_not_by_that_of_a_smaller_curvature(key):
    batch = jnp.diag(jnp.array([0.0, 1.0]))[None]
    w, rates = normalization.with_norm(jax.random.normal(key, (2,)), 1.0), jnp.array([0.01, 0.1, 0.3])

    @jax.jit
    def step(rate):
        value, slope = jax.value_and_grad(lambda w: _rayleigh(w, batch)[0])(w)
        return value - _rayleigh((1 - 0.2 * rate) * w - rate * slope, batch)[0], jnp.linalg.norm(slope)

    decrease, slope = jax.vmap(step)(rates)
    assert (decrease >= normalization.scale_invariant_descent_bound(1.0, slope, 2.0, rates, 0.2)).all()
    assert (decrease < normalization.scale_invariant_descent_bound(1.0, slope, 2.0 / 50, rates, 0.2)).any()


@pytest.mark.any_precision
def test_bad_arguments_of_the_guarantees_are_refused():
    for call, message in (
        (lambda: normalization.scale_invariant_gd_guarantee(1.0, 1.0, 0.5, 1.0), "must be below 0.5"),
        (lambda: normalization.scale_invariant_gd_guarantee(0.0, 1.0, 0.1, 1.0), "norm0 must be positive"),
        (lambda: normalization.scale_invariant_gd_guarantee(1.0, -1.0, 0.1, 1.0), "rho must be positive"),
        (lambda: normalization.scale_invariant_gd_guarantee(1.0, 1.0, 0.1, 0.0), "weight_decay must be positive"),
        (lambda: normalization.scale_invariant_descent_bound(1.0, 1.0, 1.0, 1.0, 0.6), "must be at most 1/2"),
        (lambda: normalization.norm_recursion(-1.0, jnp.ones(2), 0.1, 0.1), "norm0 must be positive"),
        (lambda: normalization.norm_recursion(1.0, [1.0, -1.0], 0.1, 0.1), "spherical_gradient_norms must be at least 0"),
        (lambda: normalization.gd_weight_decay(lambda w, t: w, jnp.ones(2), 0.1, 0.1, 0), "num_steps must be an integer of at least 1; got 0"),
        (lambda: normalization.exponential_schedule(jnp.array([0.1, 0.2]), 0.1), r"must be scalars; got shape \(2,\)"),
        (
            lambda: normalization.product_logistic_gd([1.0], [1.0], 5.0, [0.1], 3, num_factors=4),
            r"one value per step, shape \(3,\); got shape \(1,\)",
        ),
        (lambda: normalization.equilibrium_norm(1.0, 0.1, 0.0), "weight_decay must be positive"),
        (lambda: normalization.explosive_learning_rate(5.0, 1.0, 3), "num_factors must be even; got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    traced = jax.jit(lambda rate: normalization.scale_invariant_gd_guarantee(1.0, 1.0, rate, 1.0))(0.5)
    assert jnp.isnan(traced.num_steps)
    assert traced.vacuous


@pytest.mark.float64
def test_a_product_of_factors_explodes_above_the_corrected_rate():
    """Four factors from W = 5: 5, 5.41, 8.74, 93.1 just above it; just above the printed rate 5, 0.0758."""
    x, y = jnp.array([1, -0.5, 0.7, 2]), jnp.array([1.0, 1, -1, 1])
    slope = jax.grad(lambda w: jnp.sum(jax.nn.softplus(-w * x * y)))(5.0)
    rate = normalization.explosive_learning_rate(5.0, slope, 4)
    found = normalization.product_logistic_gd(x, y, 5.0, 1.01 * rate, 3, num_factors=4)
    np.testing.assert_allclose(found, [5, 5.41, 8.74, 93.1], rtol=1e-3)
    printed = normalization.product_logistic_gd(x, y, 5.0, 1.01 * rate * 5.0 ** (-1 / 4), 1, num_factors=4)
    np.testing.assert_allclose(printed[1], 0.0758, rtol=1e-2)
    assert normalization.product_logistic_gd(x, y, 5.0, 0.9 * rate, 1, num_factors=4)[1] < 5
    with pytest.raises(ValueError, match=r"y must be \+1 or -1"):
        normalization.product_logistic_gd(x, x, 5.0, rate, 1, num_factors=4)


@pytest.mark.any_precision
def test_guarantees_and_schedules_are_mapped_and_differentiated():
    norms = jnp.array([0.1, 1.0, 30.0])

    def steps(norm):
        return normalization.scale_invariant_gd_guarantee(norm, 2.0, 0.01, 0.01).num_steps

    found, slopes = jax.jit(jax.vmap(jax.value_and_grad(steps)))(norms)
    np.testing.assert_allclose(found, steps(norms), rtol=1e-5)
    np.testing.assert_allclose(slopes * norms * 1e-4, [-1, 1, 1], rtol=1e-5)
    by_rate = jax.jit(jax.grad(lambda rate: normalization.exponential_learning_rate(rate, 0.5, 3)))(0.2)
    np.testing.assert_allclose(by_rate, 0.9**-7 + 0.2 * 7 * 0.5 * 0.9**-8, rtol=1e-5)
