"""Mirror descent and flow, natural gradients, gradient descent, and Bregman divergences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias, processes

STARTS = {"squared": 0.0, "entropy": 1.0, "hyperbolic": 0.2}


def _potential(name):
    potentials = {"squared": implicit_bias.squared_l2, "entropy": implicit_bias.entropy}
    return potentials[name]() if name in potentials else implicit_bias.hyperbolic_entropy(0.5)


def _regression(key, n=3, d=8):
    x, w = jax.random.normal(key, (n, d)), jnp.abs(jax.random.normal(jax.random.fold_in(key, 1), (d,)))
    return x, x @ w


def _gradient(x, y, w):
    return 2 * x.T @ (x @ w - y)


@pytest.mark.heavy
@pytest.mark.parametrize("name", STARTS)
def test_the_mirror_points_of_mirror_descent_move_by_gradients(name, key, rtol):
    potential, (x, y) = _potential(name), _regression(key)
    grad_fn, rates = functools.partial(_gradient, x, y), jnp.array([0.01, 0.02, 0.005])
    w0 = jnp.full(8, STARTS[name])
    w, (path, gradients, steps) = implicit_bias.mirror_descent(potential, grad_fn, w0, rates, record=lambda w, g, t: (w, g, t))
    mirrors = [potential.mirror(point) for point in (*path, w)]
    np.testing.assert_allclose(path[0], w0, rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(steps, [0, 1, 2])
    for t in range(3):
        np.testing.assert_allclose(gradients[t], grad_fn(path[t]), rtol=10 * rtol)
        np.testing.assert_allclose(mirrors[t + 1], mirrors[t] - rates[t] * gradients[t], rtol=10 * rtol, atol=10 * rtol)


@pytest.mark.heavy
def test_mirror_descent_with_the_squared_norm_is_gradient_descent_and_with_the_entropy_exponentiated_gradient(key, rtol):
    x, y = _regression(key)
    grad_fn, rates = functools.partial(_gradient, x, y), jnp.full(5, 0.01)
    euclidean, _ = implicit_bias.mirror_descent(implicit_bias.squared_l2(), grad_fn, jnp.zeros(8), rates)
    np.testing.assert_array_equal(euclidean, implicit_bias.gradient_descent(grad_fn, jnp.zeros(8), rates)[0])
    by_hand = jnp.ones(8)
    for rate in rates:
        by_hand = by_hand * jnp.exp(-rate * grad_fn(by_hand) / 2)
    w, _ = implicit_bias.mirror_descent(implicit_bias.entropy(2.0), grad_fn, jnp.ones(8), rates)
    np.testing.assert_allclose(w, by_hand, rtol=20 * rtol)


def test_small_coordinates_keep_their_digits_in_dual_form(rtol):
    """Ten steps that multiply by e^-3 each, from 1e-9 to 1e-22, and back: rounding of log w only."""
    rates, signs = jnp.ones(20), jnp.repeat(jnp.array([3.0, -3.0]), 10)
    potential = implicit_bias.entropy()
    w, _ = implicit_bias.mirror_descent(potential, lambda w, sign: sign * jnp.ones(1), jnp.array([1e-9]), rates, batch_indices=signs)
    np.testing.assert_allclose(w, 1e-9, rtol=50 * rtol)


@pytest.mark.heavy
def test_stochastic_gradients_are_of_the_batch_of_their_step(key, rtol):
    x, y = _regression(key)
    rows = processes.batch_indices(key, 3, 2, 4, mode="without_replacement")

    def grad_fn(w, batch):
        return _gradient(x[batch], y[batch], w)

    w, path = implicit_bias.gradient_descent(grad_fn, jnp.zeros(8), jnp.full(4, 0.01), batch_indices=rows, record=lambda w, g, t: w, every=2)
    mirrored, _ = implicit_bias.mirror_descent(implicit_bias.squared_l2(), grad_fn, jnp.zeros(8), jnp.full(4, 0.01), batch_indices=rows)
    by_hand = [jnp.zeros(8)]
    for batch in rows:
        by_hand.append(by_hand[-1] - 0.01 * grad_fn(by_hand[-1], batch))
    np.testing.assert_allclose(path, jnp.stack(by_hand[:4:2]), rtol=10 * rtol)
    np.testing.assert_allclose(w, by_hand[-1], rtol=10 * rtol)
    np.testing.assert_allclose(mirrored, w, rtol=10 * rtol)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_on_a_parabola(nesterov, rtol):
    w, accumulated, rates = 1.0, 0.0, np.array([0.1, 0.3, 0.2])
    for rate in rates:
        accumulated = w + 0.5 * accumulated
        w = w - rate * (w + 0.5 * accumulated if nesterov else accumulated)
    start = {"a": jnp.float32(1.0), "b": jnp.ones(2, int)}
    found, _ = implicit_bias.gradient_descent(lambda w: w, start, rates, momentum=0.5, nesterov=nesterov)
    np.testing.assert_allclose(found["a"], w, rtol=1e-5)
    np.testing.assert_allclose(found["b"], [w, w], rtol=rtol)
    assert found["a"].dtype == jnp.float32
    assert found["b"].dtype == jnp.result_type(float)


@pytest.mark.heavy
@pytest.mark.parametrize("form", ["dual", "primal"])
def test_entropy_flow_to_a_point_is_logistic_growth(form, precision):
    """w' = w (b - w), to the solver's tolerance times a condition of 10."""
    w0, b, times = jnp.array([0.1, 2.0]), jnp.array([1.0, 0.5]), jnp.array([0.0, 0.5, 3.0])
    path = implicit_bias.mirror_flow(implicit_bias.entropy(), lambda w: w - b, w0, times, form=form)
    expected = b / (1 + (b / w0 - 1) * jnp.exp(-b * times[:, None]))
    np.testing.assert_allclose(path, expected, rtol={"float32": 1e-4, "float64": 1e-8}[precision])


def test_a_small_step_of_natural_gradient_is_one_of_mirror_descent_to_second_order(key):
    potential, (x, y) = _potential("entropy"), _regression(key)
    grad_fn = functools.partial(_gradient, x, y)

    def gap(rate):
        steps = potential.inverse_hessian_vector, grad_fn, jnp.ones(8), jnp.array([rate])
        natural, _ = implicit_bias.natural_gradient(*steps, domain=potential.domain)
        return jnp.abs(natural - implicit_bias.mirror_descent(potential, *steps[1:])[0]).max()

    assert 3.5 < gap(1e-2) / gap(5e-3) < 4.5


@pytest.mark.heavy
def test_natural_gradient_and_mirror_descent_agree_on_quadratic_potentials(key, rtol):
    root = jax.random.normal(key, (8, 8))
    potential, (x, y) = implicit_bias.quadratic(root @ root.T + jnp.eye(8)), _regression(key)
    steps = functools.partial(_gradient, x, y), jnp.ones(8), jnp.full(5, 0.01)
    natural, _ = implicit_bias.natural_gradient(potential.inverse_hessian_vector, *steps)
    np.testing.assert_allclose(natural, implicit_bias.mirror_descent(potential, *steps)[0], rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.any_precision
def test_natural_gradient_that_leaves_the_domain_is_nan():
    potential = implicit_bias.entropy()
    w, _ = implicit_bias.natural_gradient(potential.inverse_hessian_vector, lambda w: w, jnp.ones(2), jnp.array([2.0, 0.1]), domain=potential.domain)
    assert jnp.isnan(w).all()


@pytest.mark.any_precision
def test_a_singular_metric_shows():
    w, _ = implicit_bias.natural_gradient(lambda w, g: g / jnp.array([1.0, 0.0]), lambda w: w, jnp.ones(2), jnp.array([0.5]))
    assert not jnp.isfinite(w).all()


def test_divergences_of_known_value(rtol):
    w, w0 = jnp.array([1.0, 2.0]), jnp.array([2.0, 1.0])
    np.testing.assert_allclose(implicit_bias.bregman_divergence(implicit_bias.entropy(), w, w0), np.log(2), rtol=rtol)
    np.testing.assert_allclose(implicit_bias.bregman_divergence(implicit_bias.squared_l2(), w, w0), 1.0, rtol=rtol)
    np.testing.assert_allclose(implicit_bias.bregman_divergence(implicit_bias.entropy(), jnp.array([0.0, 1.0]), w0), 2.0, rtol=rtol)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["entropy", "hyperbolic"])
def test_three_points(name, key, rtol):
    """D(a, b) + D(b, c) - D(a, c) = <grad R(c) - grad R(b), a - b>."""
    potential = _potential(name)
    a, b, c = jnp.exp(jax.random.normal(key, (3, 4)))
    divergence = jax.jit(functools.partial(implicit_bias.bregman_divergence, potential))
    expected = jnp.vdot(potential.mirror(c) - potential.mirror(b), a - b)
    np.testing.assert_allclose(divergence(a, b) + divergence(b, c) - divergence(a, c), expected, rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.float64
def test_mirror_descent_maps_over_potentials_and_differentiates(key):
    x, y = _regression(key)

    @jax.jit
    def end(scale):
        potential = implicit_bias.entropy(scale)
        return implicit_bias.mirror_descent(potential, functools.partial(_gradient, x, y), jnp.ones(8), jnp.full(4, 0.01))[0]

    scales = jnp.array([1.0, 2.0])
    ends = jax.vmap(end)(scales)
    np.testing.assert_allclose(ends, jnp.stack([end(scale) for scale in scales]), rtol=1e-5)
    slope = jax.jacfwd(end)(scales[0])
    # A central difference keeps two thirds of the digits.
    step = 1e-5
    difference = (end(scales[0] + step) - end(scales[0] - step)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=10 * step, atol=10 * step**2)


def _run(method, **options):
    steps = {"learning_rates": jnp.full(3, 0.1), "w0": jnp.ones(2), "grad_fn": lambda w, *_: w} | options
    if method == "descent":
        return implicit_bias.gradient_descent(**steps)
    if method == "natural":
        return implicit_bias.natural_gradient(lambda w, g: g, domain=implicit_bias.entropy().domain, **steps)
    return implicit_bias.mirror_descent(implicit_bias.entropy(), **steps)


@pytest.mark.any_precision
@pytest.mark.parametrize("method", ["descent", "natural", "mirror"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rates": 0.1}, "learning_rates must have one value per step"),
        ({"learning_rates": jnp.array([0.1, 0.0])}, "learning_rates must be positive"),
        ({"grad_fn": lambda w: w[:1]}, "grad_fn must return the structure and shapes of w0"),
        ({"batch_indices": jnp.zeros((2, 1), int)}, "batch_indices must have one entry per step, 3"),
    ],
)
def test_bad_steps_are_named(method, options, message):
    with pytest.raises(ValueError, match=message):
        _run(method, **options)


@pytest.mark.any_precision
@pytest.mark.parametrize("method", ["natural", "mirror"])
def test_starts_outside_the_domain_are_refused_and_nan_when_traced(method):
    with pytest.raises(ValueError, match="w0 must lie in the domain"):
        _run(method, w0=jnp.array([1.0, 0.0]))
    assert jnp.isnan(jax.jit(lambda w0: _run(method, w0=w0)[0])(jnp.array([1.0, -1.0]))).all()


@pytest.mark.any_precision
def test_other_bad_input_is_named():
    squared, entropy = implicit_bias.squared_l2(), implicit_bias.entropy()
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\)"):
        _run("descent", momentum=1.0)
    with pytest.raises(TypeError, match="w0 must be real"):
        _run("descent", w0=1j * jnp.ones(2))
    with pytest.raises(ValueError, match="same shape"):
        implicit_bias.bregman_divergence(squared, jnp.ones(2), jnp.ones(3))
    with pytest.raises(ValueError, match="w0 must lie in the domain"):
        implicit_bias.bregman_divergence(entropy, jnp.ones(2), jnp.zeros(2))
    with pytest.raises(ValueError, match="finite at w"):
        implicit_bias.bregman_divergence(squared, jnp.array([1.0, jnp.nan]), jnp.zeros(2))
    with pytest.raises(ValueError, match="form must be one of"):
        implicit_bias.mirror_flow(squared, lambda w: w, jnp.ones(2), jnp.ones(1), form="both")
    with pytest.raises(ValueError, match="times must be finite, at least 0 and increasing"):
        implicit_bias.mirror_flow(squared, lambda w: w, jnp.ones(2), jnp.array([1.0, 0.5]))


@pytest.mark.any_precision
def test_a_primal_flow_that_leaves_the_domain_is_refused():
    potential = implicit_bias.entropy()._replace(inverse_hessian_vector=lambda w, v: v)
    with pytest.raises(ValueError, match="must stay in the domain"):
        implicit_bias.mirror_flow(potential, jnp.ones_like, jnp.ones(2), jnp.array([0.5, 2.0]), form="primal")
