"""The bound of Xu and Raginsky against the majority learner, enumerated."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds


def majority(n):
    """Gap and information of the majority of n fair bits under the zero-one loss, by enumeration."""
    samples = np.array(list(itertools.product((0, 1), repeat=n)))
    weights = (samples.mean(axis=1) > 0.5).astype(int)
    training_error = np.mean(samples != weights[:, None])
    p = weights.mean()
    return 0.5 - training_error, -p * math.log(p) - (1 - p) * math.log(1 - p)


@pytest.mark.parametrize(
    ("n", "gap", "bound"), [(1, 0.5, 0.5887050113), (3, 0.25, 0.3398889967), (5, 0.1875, 0.2632768848), (9, 0.13671875, 0.1962350038)]
)
def test_majority_has_its_known_gap_and_bound(n, gap, bound, rtol):
    exact_gap, information = majority(n)
    assert exact_gap == gap
    assert float(bounds.xu_raginsky(information, n, 0.5).value) == pytest.approx(bound, rel=max(rtol, 1e-9))


@pytest.mark.parametrize("n", range(1, 16, 2))
def test_majority_obeys_the_bound(n):
    gap, information = majority(n)
    assert gap <= bounds.xu_raginsky(information, n, 0.5).value


def test_halving_the_constant_is_refuted_by_one_fair_bit():
    gap, information = majority(1)
    assert bounds.xu_raginsky(information, 1, 0.5 / math.sqrt(2)).value == pytest.approx(0.4163, abs=1e-4)
    assert bounds.xu_raginsky(information, 1, 0.5 / math.sqrt(2)).value < gap


@pytest.mark.parametrize("n", range(1, 16, 2))
def test_too_small_a_subgaussian_constant_is_refuted(n):
    gap, information = majority(n)
    assert bounds.xu_raginsky(information, n, 0.125).value < gap


def test_bound_is_the_decoupling_of_the_mean_loss(rtol):
    single = bounds.xu_raginsky(1.3, 16, 0.5)
    np.testing.assert_allclose(single.value, bounds.xu_raginsky_decoupling(1.3, 0.5 / 4).value, rtol=rtol)
    np.testing.assert_allclose(single.value, 0.125 * math.sqrt(2.6), rtol=rtol)


def test_decoupling_is_attained_to_first_order_by_correlated_gaussians(rtol):
    rho = 0.05
    information = -0.5 * math.log1p(-(rho**2))
    dependent_minus_independent = rho * math.sqrt(2 / math.pi)  # f(x, y) = sign(x) y is 1-sub-Gaussian in y
    value = float(bounds.xu_raginsky_decoupling(information, 1.0).value)
    assert dependent_minus_independent <= value
    assert 0.79 * value < dependent_minus_independent


def test_infinite_information_gives_a_vacuous_bound_and_rounding_below_zero_none():
    assert bounds.xu_raginsky(math.inf, 10, 0.5).value == math.inf
    assert bounds.xu_raginsky(-1e-9, 10, 0.5).value == 0
    assert bounds.xu_raginsky(1e4, 1, 0.5).value > 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 10, 0.5), "mutual_information"),
        ((math.nan, 10, 0.5), "mutual_information"),
        ((1.0, 0, 0.5), r"n must be at least 1; got 0"),
        ((1.0, 10, -0.5), r"R must be at least 0; got -0\.5"),
        ((jnp.array([1.0, -1.0]), 10, 0.5), r"smallest value is -1\.0"),
    ],
)
def test_wrong_values_raise_when_concrete_and_give_nan_when_traced(arguments, message):
    with pytest.raises(ValueError, match=message):
        bounds.xu_raginsky(*arguments)
    assert jnp.isnan(jax.jit(bounds.xu_raginsky)(*arguments).value).all()


@pytest.mark.parametrize("argument", ["text", None, 1j])
def test_what_is_no_real_number_is_a_type_error(argument):
    with pytest.raises(TypeError, match="mutual_information"):
        bounds.xu_raginsky(argument, 10, 0.5)


def test_decoupling_names_its_own_constant():
    with pytest.raises(ValueError, match="R_total"):
        bounds.xu_raginsky_decoupling(1.0, -1.0)
