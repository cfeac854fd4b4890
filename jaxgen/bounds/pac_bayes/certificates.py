"""Certificates: a PAC-Bayes bound on the risk of a stochastic net, with all that it stands on."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from jaxgen import models
from jaxgen._core.checks import checked, floating, leading_axis, positive_integer, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import at_least, failure_probability
from jaxgen.bounds.pac_bayes.binary_kl import binary_kl_inverse
from jaxgen.bounds.pac_bayes.divergence_bounds import pac_bayes_bound
from jaxgen.bounds.pac_bayes.gaussian import GaussianParams, PriorGrid, choose_prior, gaussian_kl
from jaxgen.bounds.pac_bayes.stochastic import ApplyFn, GibbsRisk, Loss, gibbs_risk
from jaxgen.bounds.uniform.fixed_hypothesis import binomial_tail_inverse

INDEPENDENT_POINTS = "The points of the certificate are independent draws from the data distribution."
PRIOR_BEFORE = "The prior, and its grid if there is one, was fixed without the points of the certificate."
CONSTANT_BEFORE = "The bound's constant was fixed without the points of the certificate."


class Part(NamedTuple):
    """Some of a data set, which knows which; made by `split_prior`.

    Attributes:
        data: examples, a pytree with leading axis m.
        indices: their places in the whole, (m,).
    """

    data: PyTree
    indices: Int[Array, " m"]


class PriorSplit(NamedTuple):
    """A data set in two: what the prior may see, and what the certificate counts.

    Attributes:
        prior: the former.
        certificate: the latter.
    """

    prior: Part
    certificate: Part


def split_prior(key: Key[Array, ""], data: PyTree, fraction: float = 0.5) -> PriorSplit:
    """Splits a data set at random into what a prior is learned from and what its certificate is stated for.

    A posterior may be trained on all of it; the bound's risk and number of examples are those of the second part.

    Args:
        key: PRNG key.
        data: examples, a pytree with leading axis n.
        fraction: share of the prior, in (0, 1), concrete; rounded to whole examples.

    Returns:
        Both parts, with the places of their examples, by which `certify` notices a prior that saw its points.

    Raises:
        ValueError: if `fraction` is outside (0, 1) or a part would be empty.

    Source: Ambroladze, Parrado-Hernandez and Shawe-Taylor 2007; Perez-Ortiz et al. 2021; spec GEN-34.
    """
    count = leading_axis("data", data)
    require(0 < fraction < 1, f"fraction must be in (0, 1); got {fraction}")
    size = round(fraction * count)
    require(0 < size < count, f"both parts must hold an example; fraction = {fraction} of {count} leaves one empty")
    order = jax.random.permutation(key, count)

    def part(rows: Array) -> Part:
        return Part(jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], data), rows)

    return PriorSplit(part(order[:size]), part(order[size:]))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("bound", "risk", "kl", "price", "holdout"),
    meta_fields=("n", "delta", "delta_sampling", "kind", "data_dependent_prior"),
)
@dataclasses.dataclass(frozen=True)
class Certificate:
    """A bound on the risk of a stochastic net, and what it was made of; made by `certify` and `certify_last_layer`.

    Attributes:
        bound: the bound on the risk, with the terms `"empirical"` (the mean loss on the sample), `"sampling"` (what its upper limit
            adds) and `"complexity"` (what divergence and confidence add).
        risk: the empirical risk, and how it was obtained.
        kl: divergence of the posterior from the prior in nats.
        price: nats paid for a choice among priors or constants.
        holdout: bound of the same confidence on the risk of the net at the prior's mean, from its losses on the same points: what a
            test set of this size says, without PAC-Bayes.
        n: points that the certificate counts, none of which the prior saw.
        delta: probability of failure of all.
        delta_sampling: the part of it that was spent on draws.
        kind: form of the bound.
        data_dependent_prior: whether the prior was learned from other points: the certificate is then close to `holdout`.
    """

    bound: Bound
    risk: GibbsRisk
    kl: Array
    price: Array
    holdout: Array
    n: int
    delta: float
    delta_sampling: float
    kind: str
    data_dependent_prior: bool

    def __str__(self) -> str:
        """What is certified, what it is made of, what was spent, and what a test set of that size would say."""
        terms = " + ".join(f"{name} {float(value):.4g}" for name, value in self.bound.terms.items())
        lines = [
            f"risk at most {float(self.bound.value):.4g} with probability {1 - self.delta:.4g}, from {self.n:,} points ({self.kind}): {terms}",
            f"divergence {float(self.kl):.4g} nats and a price of {float(self.price):.4g} for choices; of delta = {self.delta:.4g},"
            f" {self.delta_sampling:.4g} went into sampling and {self.delta - self.delta_sampling:.4g} into the bound",
            f"hold-out bound of the net at the prior's mean on the same points: {float(self.holdout):.4g}",
        ]
        if self.data_dependent_prior:
            lines.append("the prior was learned from other data: such a certificate is close to a test-set bound, and says little more")
        return "\n".join(lines)


def certify(
    key: Key[Array, ""],
    apply_fn: ApplyFn,
    posterior: GaussianParams,
    prior: GaussianParams | PriorGrid,
    data: tuple[PyTree, Array] | Part,
    *,
    num_draws: int,
    delta: float = 0.05,
    delta_sampling: float = 0.01,
    loss: Loss = "zero_one",
    kind: str = "kl",
    lam: Any = None,
    C: Any = None,
    num_choices: int = 1,
    prior_data: Part | None = None,
    method: str = "auto",
    group_size: int | None = None,
    chunk_size: int = 1000,
) -> Certificate:
    """A bound on the risk of a stochastic net that holds with probability 1 - delta over sample and draws.

    Of delta, `delta_sampling` is spent on the Monte Carlo estimate of the empirical risk and the rest on the bound.

    Args:
        key: PRNG key of the draws, which nothing that chose the posterior has used.
        apply_fn: `apply_fn(params, x) -> outputs`, not coupling examples.
        posterior: law of the parameters, which may depend on the data.
        prior: fixed without `data`, or a grid of which the best variance is taken and paid for.
        data: (x, y), the points of the certificate, or a part of a split.
        num_draws: draws a point, or shared ones, as in `gibbs_risk`.
        delta: probability of failure of all, concrete.
        delta_sampling: the part of delta that is spent on draws, less than delta.
        loss: with values in [0, 1].
        kind: form of the bound, as in `pac_bayes_bound`.
        lam: its constant, where it has one, fixed without `data`.
        C: as `lam`.
        num_choices: number of priors, or constants, among which this one was chosen after the data: costs their logarithm.
        prior_data: what the prior was learned from, a part of the same split; None for a prior that saw no data.
        method: as in `stochastic_outputs`.
        group_size: as in `gibbs_risk`.
        chunk_size: as in `gibbs_risk`.

    Returns:
        The certificate.

    Raises:
        ValueError: if the prior saw points of the certificate, `delta_sampling` is not below `delta`, there are fewer than two
            points, trees differ, or a loss is outside [0, 1].
        TypeError: if a probability of failure is traced.

    Source: Langford and Caruana 2002; Perez-Ortiz et al. 2021; spec GEN-32, GEN-34. Cost: `num_draws` passes over the points.
    """
    delta, delta_sampling = failure_probability(delta), failure_probability(delta_sampling, "delta_sampling")
    require(delta_sampling < delta, f"delta_sampling must be below delta, of which it is a part; got {delta_sampling} and {delta}")
    points = unseen(data, prior_data)
    law, price = choose_prior(posterior, prior) if isinstance(prior, PriorGrid) else (prior, jnp.zeros(()))
    risk = gibbs_risk(
        key,
        apply_fn,
        posterior,
        points,
        loss=loss,
        num_draws=num_draws,
        delta=delta_sampling,
        method=method,
        group_size=group_size,
        chunk_size=chunk_size,
    )
    return certificate(
        risk,
        gaussian_kl(posterior, law),
        mean_net_bound(apply_fn, law.mean, points, loss, delta, chunk_size),
        leading_axis("data", points),
        delta=delta,
        kind=kind,
        lam=lam,
        C=C,
        num_choices=num_choices,
        price=price,
        data_dependent_prior=prior_data is not None,
    )


def certificate(
    risk: GibbsRisk,
    kl: ArrayLike,
    holdout: ArrayLike,
    n: int,
    *,
    delta: float,
    kind: str = "kl",
    lam: Any = None,
    C: Any = None,
    num_choices: int = 1,
    price: ArrayLike = 0.0,
    data_dependent_prior: bool,
) -> Certificate:
    """A certificate from its parts: empirical risk, divergence and hold-out bound.

    Args:
        risk: the empirical Gibbs risk with its upper limit.
        kl: divergence in nats, at least 0.
        holdout: bound for the net at the prior's mean.
        n: points that the prior did not see, at least 2.
        delta: probability of failure of all, of which `risk.delta` is spent already.
        kind: as in `pac_bayes_bound`.
        lam: as in `pac_bayes_bound`.
        C: as in `pac_bayes_bound`.
        num_choices: as in `certify`.
        price: nats paid for a prior of a grid.
        data_dependent_prior: whether the prior was learned from other points.

    Returns:
        The certificate.

    Raises:
        ValueError: if delta is spent already, or an argument is not as `pac_bayes_bound` wants it.

    Source: spec GEN-32.
    """
    delta, n = failure_probability(delta), positive_integer("n", n, at_least=2)
    require(risk.delta < delta, f"delta = {delta} is spent already: {risk.delta} of it on draws")
    kl, price = at_least("kl", kl, 0), at_least("price", price, 0)
    found = pac_bayes_bound(risk.upper, kl + price, n, delta - risk.delta, kind=kind, lam=lam, C=C, num_choices=num_choices)
    terms = {"empirical": risk.value, "sampling": risk.upper - risk.value, "complexity": found.value - risk.upper}
    assumptions = (INDEPENDENT_POINTS, PRIOR_BEFORE, *((CONSTANT_BEFORE,) if kind in ("catoni", "linear") else ()))
    bound = Bound(found.value, terms, "one", found.certified, assumptions, 1 - delta)
    paid = jnp.asarray(price) + np.log(num_choices)
    return Certificate(bound, risk, kl, paid, floating("holdout", holdout), n, delta, risk.delta, kind, data_dependent_prior)


def unseen(data: PyTree | Part, prior_data: Part | None) -> PyTree:
    """The points of a certificate, none of which the prior saw as far as their places tell."""
    if prior_data is not None and isinstance(data, Part):
        shared = jnp.isin(data.indices, prior_data.indices).sum()
        return checked_tree(
            data.data, shared == 0, f"the prior saw {shared} of the {len(data.indices)} points of the certificate; state it for the others"
        )
    return data.data if isinstance(data, Part) else data


def checked_tree(tree: PyTree, condition: Array, message: str) -> PyTree:
    """`tree`, whose floating leaves are NaN where a traced condition is false."""
    return jax.tree.map(lambda leaf: checked(leaf, (condition, message)) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


def mean_net_bound(apply_fn: ApplyFn, params: PyTree, data: tuple[PyTree, Array], loss: Loss, delta: float, chunk_size: int) -> Float[Array, ""]:
    """Bound on the risk of one net from its losses on points that it did not see: exact for zero-one losses, Chernoff's for others."""
    n = leading_axis("data", data)
    loss_fn = models.loss_fn(apply_fn, loss)

    def one(example: PyTree) -> Array:
        return loss_fn(params, jax.tree.map(lambda leaf: leaf[None], example))[0]

    losses = jax.lax.map(one, jax.tree.map(jnp.asarray, data), batch_size=min(chunk_size, n))
    if loss == "zero_one":
        return binomial_tail_inverse(losses.sum(), n, delta)
    return binary_kl_inverse(losses.mean(), -np.log(delta) / n)


def single_draw_bound(log_ratio: ArrayLike, emp_risk: ArrayLike, n: int, delta: float) -> Bound:
    r"""Bound on the risk of one net drawn from the posterior, by the density ratio at its parameters.

    $kl(\hat L(h) \| L(h)) \le ([\ln \frac{dQ}{dP}(h)]_+ + \ln \frac{2 \sqrt m}{\delta}) / m$.

    Args:
        log_ratio: $\ln dQ/dP$ at the drawn parameters, as from `log_density_ratio`; one below zero counts as zero.
        emp_risk: mean loss of the drawn net on the n points, in [0, 1].
        n: points that the prior did not see.
        delta: probability of failure over sample and draw, concrete.

    Returns:
        A one-sided `Bound` on the risk of that net.

    Raises:
        ValueError: if `emp_risk` is outside [0, 1] (NaN results when traced), `n` < 2 or `delta` is outside (0, 1).
        TypeError: if `delta` is traced.

    Source: Rivasplata, Kuzborskij, Szepesvari and Shawe-Taylor 2020; spec GEN-32.
    """
    return pac_bayes_bound(emp_risk, jnp.maximum(floating("log_ratio", log_ratio), 0), n, delta, kind="kl")
