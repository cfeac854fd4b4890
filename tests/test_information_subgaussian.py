"""Sub-Gaussian constants and Fano's inequality."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import information

BERNOULLI = 0.1820478453


def _bernoulli_supremum(p):
    """sup over rho of 2 log E exp(rho (X - p)) / rho^2 on a fine grid, exactly for the law."""
    rho = np.linspace(-16, 16, 20_001)
    rho = rho[np.abs(rho) > 1e-3]
    return np.max(2 * (np.log(p * np.exp(rho) + 1 - p) - rho * p) / rho**2)


def test_known_constants(precision):
    digits = {"float32": 1e-6, "float64": 1e-9}[precision]
    constant = information.subgaussian_constant
    np.testing.assert_allclose(constant("bernoulli", p=0.1) ** 2, BERNOULLI, rtol=0, atol=digits)
    assert constant("bounded", max_value=1.0) == 0.5
    assert constant("bounded", min_value=-1.0, max_value=3.0) == 2
    assert constant("gaussian", std=3.0) == 3
    np.testing.assert_allclose(constant("bounded", max_value=1.0, n=25), 0.1, rtol=1e-6)


@pytest.mark.any_precision
def test_bernoulli_constant_is_the_supremum_lies_between_variance_and_hoeffding_and_is_symmetric():
    p = np.array([1e-3, 0.1, 0.3, 0.49])
    squared = information.subgaussian_constant("bernoulli", p=p) ** 2
    np.testing.assert_allclose(squared, [_bernoulli_supremum(each) for each in p], rtol=1e-5)
    assert (squared >= p * (1 - p)).all()
    assert (squared <= 0.25).all()
    np.testing.assert_allclose(information.subgaussian_constant("bernoulli", p=1 - p) ** 2, squared, rtol=3e-5)


def test_bernoulli_constant_is_smooth_through_one_half(precision):
    squared = jax.jit(jax.vmap(jax.value_and_grad(lambda p: information.subgaussian_constant("bernoulli", p=p) ** 2)))
    t = 2 * np.array([1e-6, 1e-3, 1e-2, 3e-2, 5e-2])
    values, slopes = squared(np.append(0.5 - t / 2, [0.5, 1e-30]))
    np.testing.assert_allclose(values[:5], t / (4 * np.arctanh(t)), rtol={"float32": 5e-6, "float64": 1e-12}[precision])
    assert values[5] == 0.25
    assert slopes[5] == 0
    np.testing.assert_allclose(slopes[1:5], t[1:] / 3, rtol=1e-2)
    np.testing.assert_allclose(values[6], 1 / (2 * math.log(1e30)), rtol=1e-5)


def test_empirical_constant_of_a_bernoulli_sample_is_the_exact_one(precision):
    x = np.array([1.0] + 9 * [0.0])
    touching = 2 * math.log(9)
    grid = np.append(np.linspace(-8, 8, 33), touching)
    value = information.subgaussian_constant_empirical(x, grid)
    np.testing.assert_allclose(value**2, BERNOULLI, rtol=0, atol={"float32": 1e-6, "float64": 1e-9}[precision])
    flipped = information.subgaussian_constant_empirical(-x, -grid)
    np.testing.assert_allclose(flipped, value, rtol=1e-6)


@pytest.mark.any_precision
def test_a_two_sided_grid_sees_the_heavy_tail_of_an_exponential_law():
    quantiles = -np.log1p(-(np.arange(200_000) + 0.5) / 200_000)
    one_sided = information.subgaussian_constant_empirical(quantiles, np.linspace(-0.6, -0.1, 6))
    two_sided = information.subgaussian_constant_empirical(quantiles, np.linspace(-0.6, 0.6, 13))
    exact = 2 * (-0.6 - math.log(1 - 0.6)) / 0.6**2
    assert one_sided < 1
    assert two_sided**2 == pytest.approx(exact, rel=0.02)
    assert two_sided**2 > 1.7, "the variance is one"


@pytest.mark.slow
@pytest.mark.last_bit
@pytest.mark.any_precision
def test_small_rho_gives_the_standard_deviation_without_cancellation(key):
    x = 1 + jax.random.normal(key, (1000,))
    for rho in (0.0, 1e-6, -1e-4):
        assert information.subgaussian_constant_empirical(x, [rho]) == pytest.approx(float(x.std()), rel=1e-3)
    assert information.subgaussian_constant_empirical(jnp.ones(5), [1.0]) == 0
    gradient = jax.grad(information.subgaussian_constant_empirical)(x, jnp.array([0.0, 200.0]))
    assert jnp.isfinite(gradient).all()


def test_fano_is_an_equality_for_the_symmetric_channel(precision):
    digits = {"float32": 1e-6, "float64": 1e-9}[precision]
    np.testing.assert_allclose(information.fano_bound(0.2, 4), 0.7201248813, rtol=0, atol=digits)
    channel = (np.full((4, 4), 0.2 / 3) + (0.8 - 0.2 / 3) * np.eye(4)) / 4
    conditional = information.conditional_entropy(channel, 1)
    np.testing.assert_allclose(conditional, information.fano_bound(0.2, 4), atol=digits)
    assert conditional > information.fano_bound(0.2, 3), "log(M - 2) in place of log(M - 1) would be violated"


@pytest.mark.any_precision
def test_fano_holds_for_the_best_guess_from_random_tables():
    tables = np.random.default_rng(0).dirichlet(np.full(30, 0.3), 1000).reshape(1000, 5, 6)
    error = 1 - tables.max(1).sum(1)
    conditional = jax.jit(jax.vmap(lambda pxy: information.conditional_entropy(pxy, 1)))(tables)
    assert (conditional <= information.fano_bound(error, 5) + 1e-6).all()
    least = information.fano_error_lower_bound(conditional, 5)
    assert (error >= least - 1e-6).all()
    assert (least >= (conditional - math.log(2)) / math.log(5) - 1e-6).all()


def test_fano_inverse_inverts_and_differentiates(precision):
    error = np.array([0.0, 1e-7, 1e-3, 0.2, 0.6])
    entropy = information.fano_bound(error, 4)
    np.testing.assert_allclose(information.fano_error_lower_bound(entropy, 4), error, rtol={"float32": 1e-5, "float64": 1e-10}[precision])
    inverse = jax.jit(jax.vmap(jax.value_and_grad(lambda h: information.fano_error_lower_bound(h, 4))))
    values, slopes = inverse(np.array([0.0, 0.7201248813, math.log(4)]))
    np.testing.assert_allclose(values, [0, 0.2, 0.75], atol={"float32": 1e-3, "float64": 1e-7}[precision])
    np.testing.assert_allclose(slopes[:2], [0, 1 / math.log(0.8 * 3 / 0.2)], rtol=1e-5)


@pytest.mark.any_precision
def test_traced_values_out_of_range_give_nan():
    assert jnp.isnan(jax.jit(lambda p: information.subgaussian_constant("bernoulli", p=p))(1.5))
    assert jnp.isnan(jax.jit(lambda s: information.subgaussian_constant("gaussian", std=s))(-1.0))
    assert jnp.isnan(jax.jit(information.subgaussian_constant_empirical)(jnp.array([0.0, jnp.nan]), jnp.ones(1)))
    assert jnp.isnan(jax.vmap(lambda e: information.fano_bound(e, 3))(jnp.array([0.1, 1.1]))[1])
    assert jnp.isnan(jax.vmap(lambda h: information.fano_error_lower_bound(h, 3))(jnp.array([0.1, 1.2]))[1])


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: information.subgaussian_constant("uniform", max_value=1.0), ValueError, "kind must be one of 'bounded'"),
        (lambda: information.subgaussian_constant("bounded", min_value=1.0, max_value=0.0), ValueError, "max_value must not be below"),
        (lambda: information.subgaussian_constant("bernoulli", p=0.0), ValueError, "p must lie strictly between 0 and 1"),
        (lambda: information.subgaussian_constant("gaussian", std=-1.0), ValueError, "std must not be negative"),
        (lambda: information.subgaussian_constant("gaussian", p=0.5), TypeError, "a gaussian law has the parameters std; got p"),
        (lambda: information.subgaussian_constant("bernoulli", p=0.5, n=0), ValueError, "n must be an integer of at least 1"),
        (lambda: information.subgaussian_constant_empirical([1.0], [1.0]), ValueError, "x must hold at least two samples"),
        (lambda: information.subgaussian_constant_empirical([1.0, 2.0], []), ValueError, "grid must hold at least one value"),
        (lambda: information.subgaussian_constant_empirical([1.0, math.inf], [1.0]), ValueError, "x must be finite"),
        (lambda: information.subgaussian_constant_empirical([1.0, 2.0], [math.nan]), ValueError, "grid must be finite"),
        (lambda: information.fano_bound(1.2, 3), ValueError, r"error must be a probability in \[0, 1\]"),
        (lambda: information.fano_bound(0.2, 1), ValueError, "num_classes must be an integer of at least 2"),
        (lambda: information.fano_error_lower_bound(1.2, 3), ValueError, r"conditional_entropy must lie in \[0, log num_classes\]"),
        (lambda: information.fano_error_lower_bound(-0.1, 3), ValueError, "conditional_entropy must lie in"),
    ],
)
def test_bad_values_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()
