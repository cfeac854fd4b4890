"""What the claims about PAC-Bayes stand on: coverage of the entries, their populations, and that they notice wrong quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen import bounds
from jaxgen.claims.generalization import _pac_bayes

pytestmark = pytest.mark.float64


def test_exponential_moment_is_a_sum_over_binomial_counts():
    k = np.arange(51)
    expected = np.sum(stats.binom.pmf(k, 50, 0.3) * np.exp(98 * (k / 50 - 0.3) ** 2))
    np.testing.assert_allclose(_pac_bayes.exponential_moment(50, 0.3, 98), expected, rtol=1e-12)


@pytest.mark.slow
def test_least_errors_are_distributed_as_the_least_of_independent_counts(key):
    """Twenty coins by the definition; a billion within 5 standard errors of the mean over 4,000 runs."""
    risks, below = _pac_bayes.least_errors(0.3, 20, 40)
    np.testing.assert_allclose(below, 1 - (1 - stats.binom.cdf(np.arange(41), 40, 0.3)) ** 20, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(risks, np.arange(41) / 40)
    risks, below = _pac_bayes.least_errors(0.5)
    drawn = _pac_bayes.best_coins(key, 0.5, 4000)
    mean = jnp.sum(risks * jnp.diff(below, prepend=0.0))
    assert abs(drawn.mean() - mean) < 5 * drawn.std() / np.sqrt(4000)


def test_gibbs_runs_pay_for_what_they_gain(key):
    """The divergence is what makes a Gibbs posterior better on the sample than the prior, whose risk is near 0.4."""
    risk, emp_risk, kl = jax.jit(_pac_bayes.gibbs_runs)(key)
    assert bool(jnp.all(emp_risk < 0.4))
    assert bool(jnp.all(emp_risk < risk + 0.05))
    assert bool(jnp.all((kl > 0) & (kl < np.log(50))))


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("binary_kl_inverse", lambda right: lambda q, c, **side: right(q, 0.999 * c, **side), "GEN-28"),
        ("kl_moment", lambda right: lambda n: right(n) + 0.01, "GEN-28.moment"),
        ("optimal_lambda", lambda right: lambda *arguments: 1.1 * right(*arguments), "GEN-30"),
        ("gibbs_posterior", lambda right: lambda prior, values: right(prior, 1.1 * values), "GEN-27"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    monkeypatch.setattr(bounds, name, wrong(getattr(bounds, name)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in checks.values())
