"""Claims about estimates of mutual information from samples (INFO-9)."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma

from jaxgen import information
from jaxgen.claims import at_most_in_mean, claim, equal_in_mean, rejects
from jaxgen.claims.information._problems import covariances

CHANNEL_INFORMATION = 0.3680642072
"""Of a fair bit and its copy with each bit flipped with probability 0.1, in nats."""

GAUSSIAN_INFORMATION = -0.5 * math.log(1 - 0.8**2)
"""Of two normal variables of correlation 0.8, in nats."""


def _noisy_bits(key, num_samples=2000):
    """Fair bits and their copies of which one in ten, on average, is flipped."""
    key_x, key_flip = jax.random.split(key)
    x, flipped = jax.random.bernoulli(key_x, 0.5, (num_samples,)), jax.random.bernoulli(key_flip, 0.1, (num_samples,))
    return x.astype(int), (x ^ flipped).astype(int)


def _independent_labels(key, num_samples=500):
    """Pairs of independent labels, uniform on ten classes."""
    x, y = jax.random.randint(key, (2, num_samples), 0, 10)
    return x, y


def _uncorrected(x, y):
    return information.plugin_mutual_information(x, y, 10, 10, bias_correction=False)


def _correlated(key, num_samples=2000):
    """Normal pairs of correlation 0.8."""
    x, noise = jax.random.normal(key, (2, num_samples))
    return x, 0.8 * x + 0.6 * noise


@claim(
    "INFO-9",
    title="Plug-in estimate of mutual information and its bias",
    source="Miller 1955",
    statement=r"\mathbb{E} \hat{I} - I \approx \frac{(|\mathcal{X}| - 1)(|\mathcal{Y}| - 1)}{2N}",
    core=True,
    statistical=True,
)
def plugin_bias(key):
    """At independence the correction leaves a few percent of the bias, the terms of order N^-2."""
    key_bits, key_labels = jax.random.split(key)
    bits = information.plugin_mutual_information(*_noisy_bits(key_bits), 2, 2)
    corrected = information.plugin_mutual_information(*_independent_labels(key_labels), 10, 10)
    return {
        "noisy bits": equal_in_mean(bits, CHANNEL_INFORMATION),
        "independent labels, above": at_most_in_mean(corrected, 0.0, slack=0.1 * 81 / 1000),
        "independent labels, below": at_most_in_mean(0.0, corrected, slack=0.1 * 81 / 1000),
    }


@plugin_bias.control("bias not corrected")
def _(key):
    estimate = _uncorrected(*_independent_labels(key))
    return at_most_in_mean(estimate, 0.0, slack=0.1 * 81 / 1000)


@claim(
    "INFO-9.baseline",
    title="Random re-pairings show the bias of an estimate at independence",
    source="Good 2005",
    statement=r"$\mathbb{E} \hat{I}(x, \pi y) = \mathbb{E} \hat{I}(x, y)$ for a random permutation $\pi$ if $X$ and $Y$ are independent",
    statistical=True,
)
def permutation_baseline(key):
    key_labels, key_order = jax.random.split(key)
    x, y = _independent_labels(key_labels)
    baseline = information.permutation_baseline(key_order, _uncorrected, x, y, num_permutations=8)
    return equal_in_mean(_uncorrected(x, y), baseline.value)


@permutation_baseline.control("X and Y dependent")
def _(key):
    key_labels, key_order = jax.random.split(key)
    x, shift = _independent_labels(key_labels)
    y = (x + shift // 2) % 10
    baseline = information.permutation_baseline(key_order, _uncorrected, x, y, num_permutations=8)
    return equal_in_mean(_uncorrected(x, y), baseline.value)


def _gaussian_estimate(key, num_samples=50, dimension=4):
    """Mean of ten estimates from few samples of a random Gaussian, I(X;Y), and the exact bias, by E log |W| of Wishart matrices."""
    key_cov, key_samples = jax.random.split(key)
    cov = covariances(key_cov, 2 * dimension)[0]
    samples = jax.random.normal(key_samples, (10, num_samples, 2 * dimension)) @ jnp.linalg.cholesky(cov).T
    estimate = jax.vmap(information.gaussian_sample_mutual_information)(samples[..., :dimension], samples[..., dimension:]).mean()
    log_moments = digamma((num_samples - 1 - jnp.arange(2.0 * dimension)) / 2)
    bias = (log_moments[:dimension].sum() - log_moments[dimension:].sum()) / 2
    return estimate, information.gaussian_mutual_information(cov, dimension), bias


@claim(
    "INFO-9.gaussian",
    title="Gaussian estimate of mutual information and its exact bias",
    source="Cover & Thomas 2006, section 8.5; Anderson 2003, section 7.5",
    statement=r"\mathbb{E} \hat{I} - I = \frac{1}{2} \left[ \sum_{i=0}^{d_Y - 1} \psi \left( \frac{N-1-i}{2} \right)"
    r" - \sum_{i=d_X}^{d_X + d_Y - 1} \psi \left( \frac{N-1-i}{2} \right) \right] \approx \frac{d_X d_Y}{2N}",
    statistical=True,
    min_seeds=16,
)
def gaussian_estimate(key):
    estimate, value, bias = _gaussian_estimate(key)
    return equal_in_mean(estimate, value + bias)


@gaussian_estimate.control("bias not corrected")
def _(key):
    estimate, value, _ = _gaussian_estimate(key)
    return equal_in_mean(estimate, value)


@claim(
    "INFO-9.ksg",
    title="Nearest-neighbour estimate of mutual information",
    source="Kraskov, Stoegbauer & Grassberger 2004",
    statement=r"$\left| \mathbb{E} \hat{I} - I \right| \le 0.05$ for normal pairs of correlation $0.8$, $I = 0.5108256238$, $N = 2000$, $k = 3$",
    statistical=True,
    num_seeds=32,
    chunk_size=4,
    budget=10.0,
)
def nearest_neighbour_estimate(key):
    return _near(information.ksg_mutual_information(*_correlated(key), chunk_size=128))


@nearest_neighbour_estimate.control("seven coordinates of noise added to each")
def _(key):
    key_pairs, key_noise = jax.random.split(key)
    pairs = jnp.stack(_correlated(key_pairs))[..., None]
    x, y = jnp.concatenate([pairs, jax.random.normal(key_noise, (2, 2000, 7))], axis=2)
    return _near(information.ksg_mutual_information(x, y, chunk_size=128))


def _near(estimate):
    return {
        "above": at_most_in_mean(estimate, GAUSSIAN_INFORMATION, slack=0.05),
        "below": at_most_in_mean(GAUSSIAN_INFORMATION, estimate, slack=0.05),
    }


@claim(
    "INFO-9.ties",
    title="Nearest neighbours are refused for data that are not continuous",
    source="Kraskov, Stoegbauer & Grassberger 2004",
    statement=r"$\hat{I}$ of nearest neighbours needs samples that differ",
    num_seeds=1,
    jittable=False,
)
def refuses_ties(key):
    x, y = _correlated(key, 50)
    return {
        "duplicated pairs": rejects(information.ksg_mutual_information, jnp.tile(x, 2), jnp.tile(y, 2), match="jitter"),
        "too few samples": rejects(information.ksg_mutual_information, x[:3], y[:3], match="N > k"),
        "labels out of range": rejects(information.plugin_mutual_information, [0, 2], [0, 1], 2, 2, match="labels of x"),
    }


@refuses_ties.control("a jitter added")
def _(key):
    x, y = _correlated(key, 50)
    jitter = 1e-6 * jnp.arange(100)
    return rejects(information.ksg_mutual_information, jnp.tile(x, 2) + jitter, jnp.tile(y, 2) + jitter)
