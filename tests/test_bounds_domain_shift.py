"""The bound of a shift between domains (INFO-40)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from jaxgen import bounds, information


def test_a_shifted_gaussian_has_the_known_values(rtol):
    """mu = N(0, 1), mu' = N(.5, 1), loss 1[z < .25]: risks differ by .19741, at most .25."""
    kl = information.gaussian_kl(0.0, 1.0, 0.5, 1.0)
    difference = norm.cdf(0.25) - norm.cdf(-0.25)
    np.testing.assert_allclose(difference, 0.1974126514, rtol=1e-6)
    np.testing.assert_allclose(bounds.domain_shift(kl, 0.5).value, 0.25, rtol=rtol)
    assert float(bounds.domain_shift(kl, 0.35).value) < float(difference)


def test_adaptation_adds_the_gap_of_the_sample(rtol):
    bound = bounds.domain_adaptation(0.125, 0.5, 100, 0.5)
    np.testing.assert_allclose(bound.terms["shift"], bounds.domain_shift(0.125, 0.5).value, rtol=rtol)
    np.testing.assert_allclose(bound.terms["information"], bounds.xu_raginsky(0.5, 100, 0.5).value, rtol=rtol)
    np.testing.assert_allclose(bound.value, sum(bound.terms.values()), rtol=rtol)
    assert all(sentence.endswith(".") for sentence in bound.assumptions)
    assert bound.certified


def test_values_are_elementwise_and_traced_ones_are_checked(rtol):
    kl = jnp.array([0.0, 0.5, jnp.inf])
    np.testing.assert_allclose(jax.jit(lambda kl: bounds.domain_shift(kl, 1.0).value)(kl), [0, 1, np.inf], rtol=rtol)
    assert jnp.isnan(jax.jit(lambda kl: bounds.domain_shift(kl, 1.0).value)(-1.0))
    assert float(jax.grad(lambda kl: bounds.domain_shift(kl, 1.0).value)(0.0)) == 0


@pytest.mark.any_precision
def test_bad_input_is_named():
    with pytest.raises(ValueError, match="kl must be at least -1e-08"):
        bounds.domain_shift(-0.1, 0.5)
    with pytest.raises(ValueError, match="R must be at least 0"):
        bounds.domain_shift(0.1, -0.5)
    with pytest.raises(ValueError, match="n must be at least 1"):
        bounds.domain_adaptation(0.1, 0.1, 0, 0.5)
