"""Potentials of vectors: identities of mirror maps over their representable domains, known values, bad input."""

import functools
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from jaxgen import implicit_bias as ib


def _decades(low, high, num=300):
    return jnp.asarray(10.0 ** np.linspace(low, high, num))


def _both(entries):
    return jnp.concatenate([-entries, entries])


def _entropy_case(limits, scale=0.25):
    w = _decades(np.log10(limits.tiny) + 1, np.log10(limits.max) - 4)
    return ib.entropy(scale), w, 1 + np.abs(np.log(w))


def _power_case(limits, order):
    exponent = 2 - 2 / order
    w = _decades(np.log10(limits.tiny) / exponent + 2, np.log10(limits.max) / exponent - 2)
    return ib.power_positive(order), w, order / (order - 2) + np.abs(np.log(w))


def _hyperbolic_case(limits, alpha, start=None):
    width = 2 * alpha**2
    w = _both(_decades(np.log10(limits.tiny) / 2 + max(np.log10(width), np.log10(width) / 2, 0) + 2, np.log10(limits.max) / 2))
    nearby = (start or 1.0) * (1 + _decades(np.log10(limits.eps) + 1, -1, 30))
    w = jnp.concatenate([w, nearby])
    offsets = np.abs(np.arcsinh(np.asarray(w, float) / width)) + abs(np.arcsinh((start or 0.0) / width))
    # A start moves the origin of the duals, so that they carry w with an error of the start.
    amplification = 1.0 if start is None else 2 + width / np.abs(np.asarray(w, float))
    return ib.hyperbolic_entropy(alpha, start=start), w, 1 + amplification * (1 + offsets)


def _deep_case(limits, alpha, depth):
    power, unit = depth / (depth - 2), alpha**depth
    low = (np.log10(limits.tiny) + (2 * depth - 2) * np.log10(alpha)) / 2 + 2
    w = _both(_decades(low, -power * np.log10(8 * limits.eps) + np.log10(unit)))
    return ib.diagonal_depth(alpha, depth), w, 1 + power * (1 + np.abs(np.asarray(w, float)) / (2 * unit)) ** (1 / power)


CASES = {
    "entropy": _entropy_case,
    "power of order 3": lambda limits: _power_case(limits, 3.0),
    "power of order 6": lambda limits: _power_case(limits, 6.0),
    "hyperbolic, rich": lambda limits: _hyperbolic_case(limits, 1e-3),
    "hyperbolic": lambda limits: _hyperbolic_case(limits, 1.0),
    "hyperbolic, lazy": lambda limits: _hyperbolic_case(limits, 30.0),
    "hyperbolic from a start": lambda limits: _hyperbolic_case(limits, 0.3, -2.0),
    "depth 3, rich": lambda limits: _deep_case(limits, 0.05, 3),
    "depth 3, lazy": lambda limits: _deep_case(limits, 5.0, 3),
    "depth 8": lambda limits: _deep_case(limits, 0.7, 8),
}


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0))
def _identities(potential, w):
    """Pairs of sides for each entry of w."""
    z, one = potential.mirror(w), jnp.ones_like(w)
    value, dual_value = potential.value(w), potential.conjugate(z)
    hessian, inverse_hessian = potential.hessian_vector(w, one), potential.inverse_hessian_vector(w, one)
    size = jnp.abs(value) + jnp.abs(dual_value) + jnp.abs(w * z)
    return {
        "inverse": (potential.inverse_mirror(z), w),
        "Fenchel and Young": ((value + dual_value - w * z) / size + 1, one),
        "gradient of the value": (jax.grad(potential.value)(w), z),
        "gradient of the conjugate": (jax.grad(potential.conjugate)(z), w),
        "derivative of the mirror map": (jax.grad(potential.mirror)(w), hessian),
        "derivative of the inverse": (jax.grad(potential.inverse_mirror)(z), inverse_hessian),
        "inverse of the Hessian": (hessian * inverse_hessian, one),
    }


@pytest.mark.parametrize("name", [*list(CASES)[:-1], pytest.param("depth 8", marks=pytest.mark.slow)])
def test_identities_hold_to_the_condition_number_over_the_representable_domain(name):
    limits = jnp.finfo(jnp.result_type(float))
    potential, w, condition = CASES[name](limits)
    for identity, (left, right) in _identities(potential, w).items():
        error = np.abs(np.asarray(left, float) / np.asarray(right, float) - 1)
        # Each map is a chain of some ten elementary functions of one or two epsilons each.
        assert np.all(error <= 12 * limits.eps * condition), (identity, (error / condition).max() / limits.eps)


@pytest.mark.heavy
def test_hyperbolic_entropy_has_its_known_values(rtol):
    z, q = jnp.array([1.0, 2.0, 10.0]), np.array([0.24514384755981, 0.93432004929290, 14.926344385542])
    alpha = jnp.array([[0.05], [1.0], [3.0]])

    @jax.jit
    @functools.partial(jnp.vectorize, signature="(),()->(),(),(),()")
    def maps(alpha, z):
        potential, w = ib.hyperbolic_entropy(alpha), alpha**2 * z
        return potential.value(jnp.array([w, -w])), potential.mirror(w), potential.inverse_mirror(z / 4), potential.hessian_vector(w, 8.0)

    known = alpha**2 / 2 * q, np.arcsinh(z / 2) / 4, 2 * alpha**2 * np.sinh(z), 2 / (alpha**2 * np.sqrt(z**2 + 4))
    for ours, theirs in zip(maps(alpha, z), known, strict=True):
        np.testing.assert_allclose(ours, np.broadcast_to(theirs, (3, 3)), rtol=rtol)


def test_hyperbolic_entropy_is_quadratic_near_zero_and_an_entropy_far_away():
    w, eps = np.array([1.0, -2.0]), jnp.finfo(jnp.result_type(float)).eps
    value = jax.jit(lambda alpha: ib.hyperbolic_entropy(alpha).value(jnp.asarray(w)))
    np.testing.assert_allclose(value(1e3), 5 / (16 * 1e6), rtol=max(8 * eps, 1e-12))
    np.testing.assert_allclose(value(1e-4), np.sum(np.abs(w) * (np.log(np.abs(w) / 1e-8) - 1)) / 4 + 1e-8, rtol=max(8 * eps, 1e-15))


def test_hyperbolic_entropy_from_a_start_is_the_divergence_from_it():
    start, w = jnp.array([0.4, -1.3, 0.0]), jnp.array([0.5, 2.0, -0.1])
    products, eps = jnp.array([0.3, 1.0, 0.02]), float(jnp.finfo(w.dtype).eps)

    @jax.jit
    def both(start, w):
        potential = ib.hyperbolic_entropy(products=products, start=start)
        return potential.value(w), potential.mirror(w)

    (there, upper), (here, lower), (value, mirror), (zero, origin) = both(0 * w, w), both(0 * w, start), both(start, w), both(start, start)
    np.testing.assert_allclose(value, there - here - jnp.sum(lower * (w - start)), rtol=20 * eps)
    np.testing.assert_allclose(mirror, upper - lower, rtol=10 * eps, atol=10 * eps)
    assert zero == 0
    assert not origin.any()
    nearby = start * (1 + 4 * eps)
    slope = 0.25 / np.sqrt(np.asarray(start) ** 2 + 4 * np.asarray(products) ** 2)
    np.testing.assert_allclose(both(start, nearby)[1], slope * (nearby - start), rtol=1e-4)


@pytest.mark.parametrize("depth", [3, 6])
def test_deep_potential_has_the_metric_of_its_net(depth, rtol):
    """At u and v with u^(2 - L) + v^(2 - L) = 2 alpha^(2 - L): (grad^2 R)^-1 = L^2 (u^(2 L - 2) + v^(2 L - 2))."""
    s, alphas = np.array([-0.9, -0.1, 0.0, 0.3, 0.8]), np.array([[0.2], [1.0], [1.5]])
    u, v = alphas * (1 - s) ** (-1 / (depth - 2)), alphas * (1 + s) ** (-1 / (depth - 2))

    @jax.jit
    @functools.partial(jnp.vectorize, signature="(),()->(),()")
    def maps(alpha, w):
        potential = ib.diagonal_depth(alpha, depth)
        return potential.mirror(w), potential.inverse_hessian_vector(w, jnp.ones_like(w))

    mirrored, metric = maps(jnp.asarray(alphas), jnp.asarray(u**depth - v**depth))
    slack = 20 * rtol
    np.testing.assert_allclose(mirrored, s / (depth * (depth - 2) * alphas ** (depth - 2)), rtol=slack, atol=slack)
    np.testing.assert_allclose(metric, depth**2 * (u ** (2 * depth - 2) + v ** (2 * depth - 2)), rtol=slack)


@pytest.mark.float64
def test_deep_potential_is_the_integral_of_its_mirror_map():
    potential = ib.diagonal_depth(0.7, 4)
    mirror = jax.jit(potential.mirror)
    integral = integrate.quad(lambda w: float(mirror(w)), 0.0, 3.0, epsabs=1e-11, limit=20)[0]
    np.testing.assert_allclose(potential.value(3.0), integral, rtol=1e-8)


def test_small_depths_are_the_potentials_of_other_chapters():
    w = jnp.array([0.3, -2.0])
    mirror = jax.jit(lambda potential: potential.mirror(w))
    squares = mirror(ib.hyperbolic_entropy(0.4))
    np.testing.assert_array_equal(mirror(ib.diagonal_depth(0.4, 2)), squares)
    np.testing.assert_allclose(mirror(ib.hyperbolic_entropy(products=0.16)), squares, rtol=1e-6)
    np.testing.assert_array_equal(mirror(ib.diagonal_depth(0.4, 1)), w)


@pytest.mark.float64
@pytest.mark.parametrize(
    "family",
    [lambda alpha: ib.hyperbolic_entropy(alpha, start=alpha / 2), lambda alpha: ib.diagonal_depth(alpha, 4), lambda p: ib.lp_squared(1 + p)],
    ids=["hyperbolic from a start", "depth 4", "lp"],
)
def test_derivatives_by_the_scale_are_those_of_differences(family):
    @jax.jit
    def all_of(alpha):
        potential = family(alpha)
        return jnp.stack([potential.value(0.6), potential.mirror(0.6), potential.inverse_mirror(0.1), potential.conjugate(0.1)])

    step = 1e-5
    difference = (all_of(0.8 + step) - all_of(0.8 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jacfwd(all_of)(0.8), difference, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("make", [ib.hyperbolic_entropy, lambda _: ib.diagonal_depth(0.5, 3)], ids=["hyperbolic", "depth 3"])
def test_derivatives_at_zero_are_right_to_the_third(make):
    @jax.jit
    def derivatives(w):
        potential = make(2.0)
        first = jax.grad(potential.value)
        second = jax.grad(first)
        return first(w), second(w) / potential.hessian_vector(w, 1.0), jax.grad(second)(w)

    np.testing.assert_allclose(derivatives(jnp.zeros(())), (0.0, 1.0, 0.0), rtol=1e-6)


class Maps(NamedTuple):
    z: jax.Array
    back: jax.Array
    value: jax.Array
    conjugate: jax.Array
    gradient: jax.Array
    product: jax.Array
    derivative: jax.Array
    solution: jax.Array
    inverse_derivative: jax.Array


@jax.jit
def _maps(potential, w, v):
    """All maps at a point w and a direction v, in one program."""
    z, product = potential.mirror(w), potential.hessian_vector(w, v)
    return Maps(
        z,
        potential.inverse_mirror(z),
        potential.value(w),
        potential.conjugate(z),
        jax.grad(potential.value)(w),
        product,
        jax.jvp(potential.mirror, (w,), (v,))[1],
        potential.inverse_hessian_vector(w, product),
        jax.jvp(potential.inverse_mirror, (z,), (product,))[1],
    )


@pytest.mark.parametrize("p", [1.05, 4 / 3, 2.0])
def test_squared_lp_norm_is_inverted_across_its_range(p, key):
    limits = jnp.finfo(jnp.result_type(float))
    sizes = 10.0 ** np.linspace(-0.7 * np.log10(limits.max), 0, 40)
    w = jnp.asarray(sizes) * jax.random.rademacher(key, (40,), jnp.result_type(float)) * 1e3
    maps = _maps(ib.lp_squared(p), w, w)
    # The exponent q - 1 of the inverse is rounded, and it multiplies the logarithm of the ratio of entries.
    condition = (1 + 1 / (p - 1)) * (1 + np.abs(np.log(sizes)))
    assert np.all(np.abs(np.asarray(maps.back / w) - 1) <= 4 * limits.eps * condition)
    exact = np.asarray(w, float)
    norm = np.sum(np.abs(exact) ** p) ** (1 / p)
    np.testing.assert_allclose(maps.value, norm**2 / 2, rtol=20 * limits.eps)
    np.testing.assert_allclose(maps.value + maps.conjugate, jnp.vdot(w, maps.z), rtol=40 * limits.eps / (p - 1))
    np.testing.assert_allclose(maps.z, np.sign(exact) * np.abs(exact) ** (p - 1) * norm ** (2 - p), rtol=400 * limits.eps)


@pytest.mark.parametrize("p", [1.2, 2.0, 3.0])
def test_squared_lp_norm_has_the_derivatives_of_its_value(p, key, rtol):
    w, v = jax.random.normal(key, (2, 40)) + 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = _maps(ib.lp_squared(p), w, v)
    slack = rtol * float(jnp.abs(maps.product).max())
    np.testing.assert_allclose(maps.gradient, maps.z, rtol=rtol)
    np.testing.assert_allclose(maps.derivative, maps.product, rtol=10 * rtol, atol=slack)
    np.testing.assert_allclose(maps.solution, v, rtol=100 * rtol, atol=100 * rtol)
    np.testing.assert_allclose(maps.inverse_derivative, v, rtol=200 * rtol, atol=200 * rtol)


@pytest.mark.heavy
def test_squared_lp_norm_at_zeros():
    sparse, ones = jnp.zeros(40).at[1:3].set(jnp.array([2.0, -1.0])), jnp.ones(40)
    square, other, origin = (_maps(ib.lp_squared(p), w, ones) for p, w in ((2.0, sparse), (1.5, sparse), (1.5, 0 * sparse)))
    np.testing.assert_allclose(square.derivative, 1, rtol=1e-6)
    assert other.gradient[0] == 0
    assert jnp.isinf(other.product[0])
    assert ib.lp_squared(1.5).inverse_hessian_vector(sparse, ones)[0] == 0
    assert origin.value == 0
    assert not origin.gradient.any()
    assert jnp.isnan(origin.product).all()


@pytest.mark.heavy
def test_quadratic_form_loses_the_condition_number_of_its_metric(key):
    eps = float(jnp.finfo(jnp.result_type(float)).eps)
    condition = 1e-2 / eps
    basis = np.linalg.qr(np.asarray(jax.random.normal(key, (6, 6))))[0]
    metric = (basis * np.geomspace(1.0, condition, 6)) @ basis.T
    w, v = jax.random.normal(jax.random.fold_in(key, 1), (2, 6))
    maps = _maps(ib.quadratic(jnp.asarray((metric + metric.T) / 2)), w, v)
    tolerance = 30 * eps * condition
    np.testing.assert_allclose(maps.back, w, atol=tolerance)
    np.testing.assert_allclose(maps.solution, v, atol=tolerance)
    np.testing.assert_allclose(maps.value + maps.conjugate, jnp.vdot(w, maps.z), rtol=tolerance)
    np.testing.assert_allclose(maps.gradient, maps.z, atol=30 * eps * condition)
    np.testing.assert_allclose(maps.derivative, maps.product, atol=30 * eps * condition)


@pytest.mark.heavy
def test_simplex_entropy_inverts_up_to_a_constant(key, rtol):
    potential = ib.simplex_entropy()
    z, v = 10 * jax.random.normal(key, (2, 8))
    w, tangent = jax.jvp(potential.inverse_mirror, (z,), (v,))
    maps, shift, slack = _maps(potential, w, tangent), potential.mirror(w) - z, 100 * rtol
    np.testing.assert_allclose(maps.back, w, rtol=slack)
    np.testing.assert_allclose(shift - shift[0], 0, atol=slack)
    np.testing.assert_allclose(maps.value + maps.conjugate, jnp.vdot(w, maps.z), rtol=rtol, atol=slack)
    np.testing.assert_array_equal(maps.gradient, maps.z)
    np.testing.assert_allclose(potential.inverse_hessian_vector(w, v), tangent, rtol=slack, atol=slack)
    np.testing.assert_allclose(maps.solution, tangent, rtol=slack, atol=slack)
    np.testing.assert_allclose(maps.inverse_derivative, tangent, rtol=slack, atol=slack)
    assert bool(potential.domain(w))
    assert not bool(potential.domain(2 * w))


@pytest.mark.any_precision
@pytest.mark.parametrize("family", [ib.hyperbolic_entropy, lambda alpha: ib.diagonal_depth(alpha, 3)], ids=["hyperbolic", "depth 3"])
def test_potentials_are_arguments_of_one_compiled_program_and_are_mapped_over(family):
    traces = []

    @jax.jit
    def mirror(potential, w):
        traces.append(None)
        return potential.mirror(w)

    w, alphas = jnp.array([0.5, -1.0]), jnp.array([0.1, 0.5, 2.0])
    loop = jnp.stack([mirror(family(alpha), w) for alpha in alphas])
    assert len(traces) == 1
    batch = jax.jit(jax.vmap(family))(alphas)
    np.testing.assert_allclose(jax.vmap(mirror, in_axes=(0, None))(batch, w), loop, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ib.entropy(0.0), "scale must be positive"),
        (lambda: ib.power_positive(2), "order must be greater than 2"),
        (lambda: ib.lp_squared(1.0), "p must be greater than 1"),
        (lambda: ib.quadratic(jnp.ones(3)), "metric must be a square matrix"),
        (lambda: ib.quadratic(jnp.array([[1.0, 0.5], [0.0, 1.0]])), "metric must be symmetric"),
        (lambda: ib.quadratic(jnp.array([[1.0, 1.0], [1.0, 1.0]])), "metric must be positive definite"),
        (lambda: ib.hyperbolic_entropy(-1.0), "alpha must be positive"),
        (lambda: ib.hyperbolic_entropy(float(jnp.finfo(jnp.result_type(float)).tiny) ** 0.6), "alpha is too small"),
        (lambda: ib.hyperbolic_entropy(products=jnp.array([1.0, 0.0])), "products must be positive"),
        (ib.hyperbolic_entropy, "either alpha or products"),
        (lambda: ib.hyperbolic_entropy(1.0, products=1.0), "either alpha or products"),
        (lambda: ib.diagonal_depth(0.0, 3), "alpha must be positive"),
        (lambda: ib.diagonal_depth(1.0, 0), "depth must be an integer of at least 1"),
        (lambda: ib.diagonal_depth(1e-20, 20), "too small or too large"),
        (lambda: ib.entropy().mirror(jnp.array([1.0, 0.0])), "w must be positive"),
        (lambda: ib.entropy().value(jnp.array([1.0, -1.0])), "w must be positive"),
        (lambda: ib.power_positive(3).mirror(-1.0), "w must be positive"),
        (lambda: ib.power_positive(3).inverse_mirror(1.0), "z must be negative"),
        (lambda: ib.diagonal_depth(0.5, 3).inverse_mirror(1.0), "z must be less than"),
        (lambda: ib.simplex_entropy().mirror(jnp.array([0.5, 0.6])), "w must have sum 1"),
        (lambda: ib.simplex_entropy().mirror(jnp.array([1.5, -0.5])), "w must be positive"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_exponents_above_two_are_warned_of():
    with pytest.warns(UserWarning, match="not strongly convex"):
        ib.lp_squared(3.0)


def test_wrong_values_give_nan_when_traced():
    @jax.jit
    def wrong(number):
        w, metric = jnp.array([1.0, -1.0]), number * jnp.eye(2)
        families = ib.entropy(number).mirror(jnp.abs(w)), ib.hyperbolic_entropy(number).mirror(w), ib.quadratic(metric).mirror(w)
        return ib.entropy().mirror(w), *families, ib.lp_squared(number + 1.5).value(w)

    for result in wrong(-1.0):
        assert jnp.isnan(result).all()


def test_closures_and_domains():
    edge = jnp.array([0.0, 1.0])
    assert ib.entropy().value(edge) == -1
    assert ib.power_positive(4.0).value(edge) == -0.25
    for potential in (ib.entropy(), ib.power_positive(4.0), ib.simplex_entropy()):
        assert not bool(potential.domain(edge))
    for potential in (ib.hyperbolic_entropy(1.0), ib.diagonal_depth(1.0, 3), ib.lp_squared(1.5), ib.squared_l2(), ib.quadratic(jnp.eye(2))):
        assert bool(potential.domain(edge))
        assert not bool(potential.domain(edge / 0.0))
