"""Claims about the gap between a training sample of one domain and the risk in another (INFO-40)."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from jaxgen import bounds, information
from jaxgen.claims import at_most, claim, equal
from jaxgen.claims.information._problems import simplex_points

NUM_DOMAINS = 1000


class Shifted(NamedTuple):
    """Risks of a random learner of two examples from one random law on three points, judged on another."""

    source_risk: jax.Array
    target_risk: jax.Array
    train_risk: jax.Array
    information: jax.Array
    forward: jax.Array
    reverse: jax.Array
    differences: jax.Array


def _shifted(key):
    keys = jax.random.split(key, 4)
    source, target = simplex_points(keys[0], NUM_DOMAINS, 3), simplex_points(keys[1], NUM_DOMAINS, 3)
    kernels = jax.nn.softmax(5 * jax.random.normal(keys[2], (NUM_DOMAINS, 9, 4)))
    losses = jax.random.uniform(keys[3], (NUM_DOMAINS, 4, 3))
    samples = np.array(list(itertools.product(range(3), repeat=2)))

    def one(source, target, kernel, loss):
        joint = source[samples].prod(axis=1)[:, None] * kernel
        weights = joint.sum(axis=0)
        train = jnp.sum(joint * loss[:, samples].mean(axis=2).T)
        divergences = information.kl_divergence(source, target), information.kl_divergence(target, source)
        learned = information.mutual_information(joint)
        return Shifted(weights @ loss @ source, weights @ loss @ target, train, learned, *divergences, loss @ (target - source))

    return jax.vmap(one)(source, target, kernels, losses)


def _half_lines():
    """The difference of P(z < 1/4) between N(0, 1) and N(1/2, 1), and the divergence of the first from the second."""
    return norm.cdf(0.25) - norm.cdf(-0.25), information.gaussian_kl(0.0, 1.0, 0.5, 1.0)


@claim(
    "INFO-40",
    title="Risks of two domains differ by no more than the root of their divergence",
    source="Donsker & Varadhan 1983; Wang & Mao 2023, on unsupervised domain adaptation",
    statement=r"|L_{\mu'}(w) - L_\mu(w)| \le \sqrt{2 R^2 D(\mu \| \mu')}",
)
def domain_shift(key):
    """Bounded losses, for which either divergence will do, and half-lines under shifted Gaussians: .1974127 against 1/4."""
    shifted, (difference, kl) = _shifted(key), _half_lines()
    sizes = jnp.abs(shifted.differences).max(axis=1)
    return {
        "from the target": at_most(sizes, bounds.domain_shift(shifted.forward, 0.5)),
        "from the source": at_most(sizes, bounds.domain_shift(shifted.reverse, 0.5)),
        "difference of half-lines": equal(difference, 0.1974126514, rtol=1e-9),
        "bound of half-lines": equal(bounds.domain_shift(kl, 0.5), 0.25, rtol=1e-12),
        "half-lines": at_most(difference, bounds.domain_shift(kl, 0.5)),
    }


@domain_shift.control("R = 0.35 for the 0-1 loss", fails="every")
def _(key):
    difference, kl = _half_lines()
    return at_most(difference, bounds.domain_shift(kl, 0.35))


@claim(
    "INFO-40.adaptation",
    title="The gap to another domain is at most the shift and what the weights tell about the sample",
    source="Wang & Mao 2023, on unsupervised domain adaptation",
    statement=r"|\mathbb{E}[L_{\mu'}(W) - L_S(W)]| \le \sqrt{2 R^2 D(\mu \| \mu')} + \sqrt{\tfrac{2 R^2}{n} I(W; S)}",
)
def domain_adaptation(key):
    """Each part of the gap by its own term, and the whole by their sum."""
    shifted = _shifted(key)
    bound = bounds.domain_adaptation(shifted.forward, shifted.information, 2, 0.5)
    return {
        "whole": at_most(jnp.abs(shifted.target_risk - shifted.train_risk), bound),
        "shift": at_most(jnp.abs(shifted.target_risk - shifted.source_risk), bound.terms["shift"]),
        "sample": at_most(jnp.abs(shifted.source_risk - shifted.train_risk), bound.terms["information"]),
    }


@domain_adaptation.control("without the shift between domains")
def _(key):
    shifted = _shifted(key)
    return at_most(jnp.abs(shifted.target_risk - shifted.train_risk), bounds.domain_adaptation(0.0, shifted.information, 2, 0.5))


@domain_adaptation.control("without what the weights tell about the sample", fails="some")
def _(key):
    shifted = _shifted(key)
    return at_most(jnp.abs(shifted.target_risk - shifted.train_risk), bounds.domain_adaptation(shifted.forward, 0.0, 2, 0.5))
