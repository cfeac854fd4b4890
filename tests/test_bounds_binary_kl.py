"""The relative entropy of Bernoulli laws and its inverses, against extended precision and enumeration."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxgen import bounds

SIDES = ("upper", "lower")


def long_kl(shrinking, growing, exponent):
    """kl in extended precision, with e^exponent of the mass of one outcome left, which goes to the other; and that mass."""
    change = np.expm1(exponent)
    moved = -shrinking * change
    gain = moved / np.where(growing > 0, growing, 1)
    s = np.where(np.abs(change) < 0.1, change, 0) / (2 + np.where(np.abs(change) < 0.1, change, 0))
    near = 2 * s**2 * (1 / (1 - s) - s * sum(s ** (2 * k) / (2 * k + 3) for k in range(12)))
    loss = shrinking * np.where(np.abs(change) < 0.1, near, change - exponent)
    t = np.where(gain < 0.1, gain, 0) / (2 + np.where(gain < 0.1, gain, 0))
    near = 2 * t**2 * (1 / (1 - t) - t * sum(t ** (2 * k) / (2 * k + 3) for k in range(12)))
    return loss + np.where(growing > 0, growing * np.where(gain < 0.1, near, gain - np.log1p(gain)), moved), moved


def bisected(q, c, side):
    """The inverse by 58 halvings of log log(mass before / mass after), in extended precision."""
    q, c = np.asarray(q, np.longdouble), np.asarray(c, np.longdouble)
    shrinking, growing = (1 - q, q) if side == "upper" else (q, 1 - q)
    low, high = np.full(q.shape, np.longdouble(-33)), np.full(q.shape, np.longdouble(30))
    for _ in range(58):
        middle = (low + high) / 2
        above = long_kl(shrinking, growing, -np.exp(middle))[0] > c
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    exponent = -np.exp(low)
    return q + long_kl(shrinking, growing, exponent)[1] if side == "upper" else q * np.exp(exponent)


@pytest.mark.parametrize("side", SIDES)
def test_inverse_is_right_from_a_billionth_of_a_thousandth_to_one_and_beyond(side, precision):
    """To 1e-10 in float64 and 1e-5 in float32, which is what log(1/p) roundings of half a unit leave at p = 1e-38."""
    dtype = np.dtype(precision)
    below = 10.0 ** np.linspace(-12, 0, 25)
    q = np.concatenate([below, 1 - below[below < 0.5]]).astype(dtype)
    q, c = (values.ravel() for values in np.meshgrid(q[q < 1], (10.0 ** np.linspace(-12, 3, 31)).astype(dtype)))
    found, expected = np.asarray(bounds.binary_kl_inverse(q, c, side=side)), bisected(q, c, side)
    normal = expected > 2 * np.finfo(dtype).tiny
    error = np.abs(found.astype(np.longdouble) / np.where(normal, expected, 1) - 1)[normal]
    assert error.max() < {"float32": 1e-5, "float64": 1e-10}[precision]
    assert np.all(found[~normal] <= 4 * np.finfo(dtype).tiny)


@pytest.mark.float64
@pytest.mark.parametrize("side", SIDES)
def test_relative_entropy_undoes_the_inverse(side):
    q, c = jnp.meshgrid(jnp.linspace(0.0, 1.0, 50), 10.0 ** jnp.linspace(-6, 0.4, 50))
    p = bounds.binary_kl_inverse(q, c, side=side)
    inside = (p > 1e-15) & (p < 1 - 1e-6)
    np.testing.assert_allclose(jnp.where(inside, bounds.binary_kl(q, p), c), c, rtol=1e-9, atol=1e-12)  # 1 - p loses up to 6 digits
    assert jnp.all(p >= q if side == "upper" else p <= q)


@pytest.mark.parametrize(
    ("q", "c", "side", "p"),
    [
        (0.1, 0.05, "upper", 0.220078601107),
        (0.1, 0.05, "lower", 0.031278396272),
        (0.5, 0.5, "upper", 0.897530048810),
        (0.02, 0.1, "upper", 0.150811512119),
        (0.028, 0.2, "upper", 0.257779192079),
        (10 / 500, math.log(20) / 500, "upper", 0.0393170758),
        (0.0, 0.1, "upper", 0.0951625820),
    ],
)
def test_inverse_has_its_known_values(q, c, side, p, rtol):
    np.testing.assert_allclose(bounds.binary_kl_inverse(q, c, side=side), p, rtol=max(rtol, 3e-9))


def test_relative_entropy_has_its_known_values(rtol):
    found = bounds.binary_kl(jnp.array([0.1, 0.5, 0.3, 0.0, 1.0]), jnp.array([0.2, 0.25, 0.3, 0.25, 0.25]))
    expected = [0.0366900140, 0.1438410362, 0.0, math.log(4 / 3), math.log(4)]
    np.testing.assert_allclose(found, expected, rtol=max(rtol, 1e-8))
    assert bool(jnp.isposinf(bounds.binary_kl(jnp.array([0.3, 0.3, 1.0, 0.0]), jnp.array([0.0, 1.0, 0.0, 1.0]))).all())
    np.testing.assert_array_equal(bounds.binary_kl(jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0])), 0)


def test_relative_entropy_keeps_its_precision_near_the_diagonal(precision, rtol):
    """At p = q (1 + h) it is q h^2 / (2 (1 - q)) to first order in h; the ratio of the arguments is read back exactly."""
    h = {"float32": 2.0**-10, "float64": 2.0**-20}[precision]
    q = jnp.array([2.0**-40, 2.0**-10, 0.25])
    second = q * h**2 / (2 * (1 - q))
    third = h**3 * (-q / 3 + q**3 / (3 * (1 - q) ** 2))
    np.testing.assert_allclose(bounds.binary_kl(q, q * (1 + h)), second + third, rtol=max(rtol, 3 * h**2))


def test_the_ends_are_exact():
    zero, one = jnp.zeros(()), jnp.ones(())
    for c in (0.0, 0.3, 700.0, np.inf):
        np.testing.assert_allclose(bounds.binary_kl_inverse(zero, c), -np.expm1(-c), rtol=3e-7)
        np.testing.assert_allclose(bounds.binary_kl_inverse(one, c, side="lower"), np.exp(-c), rtol=3e-6, atol=1e-37)
        assert bounds.binary_kl_inverse(one, c) == 1
        assert bounds.binary_kl_inverse(zero, c, side="lower") == 0
    for side, end in (("upper", 1.0), ("lower", 0.0)):
        assert bounds.binary_kl_inverse(0.3, np.inf, side=side) == end
        assert bounds.binary_kl_inverse(0.3, 0.0, side=side) == jnp.asarray(0.3)


@pytest.mark.float64
def test_gradients_of_the_relative_entropy_are_those_of_finite_differences():
    """Central differences of step h: h^2 and rounding / h are both below 1e-7 of the slope."""
    q, p = (values.ravel() for values in jnp.meshgrid(jnp.linspace(0.02, 0.95, 7), jnp.linspace(0.03, 0.9, 6)))
    by_q, by_p = jax.jit(jax.vmap(jax.grad(bounds.binary_kl, (0, 1))))(q, p)
    kl = jax.jit(bounds.binary_kl)
    np.testing.assert_allclose(by_q, (kl(q + 1e-6, p) - kl(q - 1e-6, p)) / 2e-6, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(by_p, (kl(q, p + 1e-6) - kl(q, p - 1e-6)) / 2e-6, rtol=1e-5, atol=1e-8)


@pytest.mark.float64
@pytest.mark.parametrize("side", SIDES)
def test_gradients_are_those_of_finite_differences(side):
    """Central differences of step h: h^2 and rounding / h are both below 1e-8 of the slope."""
    q, c = (values.ravel() for values in jnp.meshgrid(jnp.linspace(0.02, 0.95, 9), jnp.array([0.003, 0.05, 0.3])))
    inverse = jax.jit(lambda q, c: bounds.binary_kl_inverse(q, c, side=side))
    by_q, by_c = jax.jit(jax.vmap(jax.grad(inverse, (0, 1))))(q, c)
    np.testing.assert_allclose(by_q, (inverse(q + 1e-6, c) - inverse(q - 1e-6, c)) / 2e-6, rtol=1e-5)
    np.testing.assert_allclose(by_c, (inverse(q, c * (1 + 1e-5)) - inverse(q, c * (1 - 1e-5))) / (2e-5 * c), rtol=1e-5)


@pytest.mark.any_precision
@pytest.mark.parametrize("side", SIDES)
def test_gradients_are_finite_everywhere(side):
    q, c = jnp.meshgrid(jnp.array([0.0, 1e-12, 0.3, 1 - 1e-7, 1.0]), jnp.array([0.0, 1e-12, 0.1, 60.0, 1e6]))
    slopes = jax.jit(jax.grad(lambda arguments: bounds.binary_kl_inverse(*arguments, side=side).sum()))((q, c))
    assert all(bool(jnp.isfinite(slope).all()) for slope in slopes)
    sign = 1 if side == "upper" else -1
    assert bool(jnp.all(sign * slopes[1] >= 0))


def test_small_complexities_have_the_slope_of_a_square_root(rtol):
    """p - q = sqrt(2 q (1 - q) c) up to a part of sqrt(c), also where p and q agree in every digit."""
    c = 1e-12
    slope = jax.grad(bounds.binary_kl_inverse, 1)(jnp.asarray(0.3), jnp.asarray(c))
    np.testing.assert_allclose(slope, math.sqrt(0.42 / c) / 2, rtol=max(rtol, 2e-6))


@pytest.mark.any_precision
def test_inverse_works_under_transformations(rtol):
    q, c = jnp.array([0.1, 0.3, 0.0]), jnp.array([0.05, 0.2, 0.4])
    eager = bounds.binary_kl_inverse(q, c)
    np.testing.assert_allclose(jax.jit(jax.vmap(bounds.binary_kl_inverse))(q, c), eager, rtol=rtol)
    assert bounds.binary_kl_inverse(q[:, None], c).shape == (3, 3)


@pytest.mark.float64
def test_moment_of_relative_entropy_is_its_sum():
    """Every size to 60, across the change of formula at 32, and 5,000; the sum of logarithms leaves 1e-10 at 5,000."""
    sizes = [*range(1, 61), 5000]

    def summed(n):
        k = np.arange(n + 1)
        log_binomial = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
        return np.exp(log_binomial + special.xlogy(k, k / n) + special.xlogy(n - k, 1 - k / n)).sum()

    found = bounds.kl_moment(jnp.array(sizes))
    np.testing.assert_allclose(found, [summed(n) for n in sizes], rtol=1e-10)
    np.testing.assert_allclose(found[jnp.array([1, 4, 9])], [2.5, 3.5104, 4.66021568], rtol=1e-9)
    assert bool(jnp.all((found >= jnp.sqrt(jnp.array(sizes))) & (found <= 2 * jnp.sqrt(jnp.array(sizes)))))


def test_moment_keeps_its_precision_for_many_examples(rtol):
    """For n = 10^7 it is sqrt(pi n / 2) (1 + 1 / (12 n)) + 2/3 up to a part of 1e-12."""
    n = 10**7
    np.testing.assert_allclose(bounds.kl_moment(n), math.sqrt(math.pi * n / 2) * (1 + 1 / (12 * n)) + 2 / 3, rtol=rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.binary_kl(-0.1, 0.5), r"q must be in \[0, 1\]; got -0\.1"),
        (lambda: bounds.binary_kl(0.1, 1.5), r"p must be in \[0, 1\]; got 1\.5"),
        (lambda: bounds.binary_kl_inverse(np.nan, 0.1), r"q must be in \[0, 1\]; got nan"),
        (lambda: bounds.binary_kl_inverse(0.1, -0.1), r"c must be at least 0; got -0\.1"),
        (lambda: bounds.binary_kl_inverse(0.1, 0.1, side="both"), "side must be one of 'upper', 'lower'; got 'both'"),
        (lambda: bounds.kl_moment(0), "n must be at least 1; got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.any_precision
def test_traced_wrong_values_give_nan():
    q, c = jnp.array([0.1, -0.1, 0.1]), jnp.array([0.1, 0.1, -0.1])
    for side in SIDES:
        found = jax.jit(jax.vmap(lambda q, c, side=side: bounds.binary_kl_inverse(q, c, side=side)))(q, c)
        np.testing.assert_array_equal(np.isnan(found), [False, True, True])
