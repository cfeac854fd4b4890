"""Populations on which PAC-Bayes bounds can be tried: hypotheses whose risks are known and whose errors are independent."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.stats import binom

from jaxgen import bounds

COINS, NUM_EXAMPLES = 1_000_000_000, 500
LOG_COINS = math.log(COINS)
NUM_HYPOTHESES, NUM_SHOWN, INVERSE_TEMPERATURE = 50, 100, 20.0
NEARLY_ONE = 1 - 1e-9
"""A delta whose logarithm is left out."""


def exponential_moment(n, p, rate):
    """E exp(rate (k/n - p)^2) for k of law Binomial(n, p), an exact sum."""
    k = jnp.arange(n + 1.0)
    return jnp.exp(jax.nn.logsumexp(binom.logpmf(k, n, p) + rate * (k / n - p) ** 2))


def least_errors(p, num_coins=COINS, n=NUM_EXAMPLES):
    """Empirical risks 0, 1/n, ... and how likely the least of `num_coins` independent ones of risk p is at most each of them."""
    k = jnp.arange(n + 1.0)
    single = jnp.minimum(jnp.cumsum(jnp.exp(binom.logpmf(k, n, p))), NEARLY_ONE)
    return k / n, -jnp.expm1(num_coins * jnp.log1p(-single))


def best_coins(key, p, num_runs=320):
    """Empirical risk of the best of a billion hypotheses of risk p on 500 examples, in each of the runs."""
    risks, below = least_errors(p)
    return risks[jnp.searchsorted(below, jax.random.uniform(key, (num_runs,)))]


def gibbs_runs(key, num_runs=40):
    """Risk, empirical risk and divergence of Gibbs posteriors over 50 hypotheses on 100 examples, from the uniform prior, in each run."""
    keys = jax.random.split(key)
    risks = jax.random.uniform(keys[0], (NUM_HYPOTHESES,), minval=0.2, maxval=0.6)
    losses = jax.random.uniform(keys[1], (num_runs, NUM_SHOWN, NUM_HYPOTHESES)) < risks
    prior = jnp.full(NUM_HYPOTHESES, 1 / NUM_HYPOTHESES)

    def run(losses):
        found = losses.mean(axis=0)
        posterior = bounds.gibbs_posterior(prior, -INVERSE_TEMPERATURE * found)
        return jnp.vdot(posterior, risks), jnp.clip(jnp.vdot(posterior, found), 0, 1), jnp.maximum(bounds.discrete_kl(posterior, prior), 0)

    return jax.vmap(run)(losses)


def of_best_coins(key, p, delta, *, n=NUM_EXAMPLES, kl=LOG_COINS, **options):
    """The bound on the risk of the best of a billion hypotheses, which are equally likely beforehand, in each of the runs."""
    return bounds.pac_bayes_bound(best_coins(key, p), kl, n, delta, **options)
