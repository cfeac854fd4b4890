"""The rows of a report: every bound as a function of the subject and the probability with which it may fail."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgen import models
from jaxgen._core.checks import require
from jaxgen._core.results import Bound
from jaxgen.bounds.compression import compress_network, lowrank_compression_bound
from jaxgen.bounds.norms import bartlett_bound, golowich_bound, path_norm, path_norm_bound
from jaxgen.bounds.pac_bayes.certificates import certify
from jaxgen.bounds.pac_bayes.derandomized import margin_pac_bayes_bound, max_stable_sigma
from jaxgen.bounds.pac_bayes.gaussian import GaussianParams, PriorGrid, gaussian
from jaxgen.bounds.pac_bayes.training import pac_bayes_train
from jaxgen.bounds.report.subject import Subject
from jaxgen.bounds.uniform import cover_bound_lipschitz, finite_class_bound, holdout_bound, local_loss_lipschitz

GIVEN, STOCHASTIC, COMPRESSED = "this net", "a stochastic net around it", "a compressed net"
SCALES = tuple(2.0 ** -(j / 2) for j in range(2, 26))
PROBE_DRAWS, PROBE_BISECTIONS = 20, 14
CHOOSING, CERTIFYING = 1, 2
"""Draws that certify a posterior are none of those that chose it."""


class Entry(NamedTuple):
    """One row.

    Attributes:
        title: what the bound is called.
        of: whose risk it bounds.
        source: where it is from.
        compute: from subject and delta to the bound; `ValueError` where it is not defined for the net.
    """

    title: str
    of: str
    source: str
    compute: Callable[[Subject, float], Bound]


def _holdout(subject: Subject, delta: float) -> Bound:
    return holdout_bound(subject.test_errors.mean(), len(subject.test_errors), delta)


def _hoeffding(subject: Subject, delta: float) -> Bound:
    return holdout_bound(subject.test_errors.mean(), len(subject.test_errors), delta, variant="hoeffding")


def _bits(subject: Subject, delta: float) -> Bound:
    return finite_class_bound(subject.train_error, subject.bits * math.log(2), subject.n, delta)


def _cover(subject: Subject, delta: float) -> Bound:
    loss_fn = models.loss_fn(subject.apply_fn, subject.loss)
    few = jax.tree.map(lambda leaf: leaf[: subject.budget.num_probes], subject.train)
    lipschitz = local_loss_lipschitz(loss_fn, subject.params, few) * optax.tree.norm(subject.params)
    return cover_bound_lipschitz(subject.train_error, subject.num_parameters, lipschitz, subject.n, delta, lip_from_sample=True)


def _golowich(subject: Subject, delta: float) -> Bound:
    subject.require_plain()
    return golowich_bound(
        subject.margin_loss,
        subject.layers["frobenius"],
        subject.input_norms.max(),
        subject.gamma,
        subject.n,
        delta,
        num_outputs=subject.num_outputs,
    )


def _path_norm(subject: Subject, delta: float) -> Bound:
    subject.require_plain()
    norm = path_norm(subject.apply_fn, subject.params, subject.train[0][:1], p=1.0)
    return path_norm_bound(
        subject.margin_loss,
        norm,
        jnp.abs(subject.train[0]).max(),
        subject.gamma,
        subject.n,
        delta,
        depth=len(subject.layers["frobenius"]),
        num_inputs=subject.train[0][0].size,
        num_outputs=subject.num_outputs,
    )


def _bartlett(subject: Subject, delta: float) -> Bound:
    subject.require_plain()
    widths = [size for leaf in jax.tree.leaves(subject.params) for size in leaf.shape]
    return bartlett_bound(
        subject.margin_loss,
        subject.layers["spectral"],
        subject.layers["distance_two_one"],
        jnp.linalg.norm(subject.input_norms),
        subject.gamma,
        subject.n,
        delta,
        width=max(widths),
    )


def _derandomized(subject: Subject, delta: float) -> Bound:
    few = subject.train[0][: subject.budget.num_probes]
    sigma = max_stable_sigma(
        subject.key, subject.apply_fn, subject.params, few, subject.gamma, num_draws=PROBE_DRAWS, num_bisections=PROBE_BISECTIONS, chunk_size=1
    )
    kl = optax.tree.norm(subject.params, squared=True) / (2 * sigma**2)
    return margin_pac_bayes_bound(subject.margin_loss, kl, subject.n, delta)


def _low_rank(subject: Subject, delta: float) -> Bound:
    return lowrank_compression_bound(subject.params, *subject.train, delta, init_weights=subject.init_params, form="occam")


def _compressed(subject: Subject, delta: float) -> Bound:
    budget = subject.budget
    options = {"coarseness": (3.0,), "code_weights": (2.0,), "num_steps": budget.compression_steps, "batch_size": budget.batch_size}
    return compress_network(subject.apply_fn, subject.params, *subject.train, delta, init_params=subject.init_params, **options).bound


def _certified(subject: Subject, posterior: GaussianParams, prior: GaussianParams | PriorGrid, delta: float, num_choices: int) -> Bound:
    draws = subject.budget.num_draws
    options = {"num_draws": draws, "delta": delta, "delta_sampling": delta / 5, "num_choices": num_choices}
    return certify(jax.random.fold_in(subject.key, CERTIFYING), subject.apply_fn, posterior, prior, subject.train, **options).bound


def _as_it_is(subject: Subject, delta: float) -> Bound:
    """One standard deviation for prior and posterior, the best of a grid, which pays for it, by a first look at some examples."""
    few = jax.tree.map(lambda leaf: leaf[: 4 * subject.budget.num_probes], subject.train)

    @jax.jit
    def value(scale):
        posterior, prior = (gaussian(mean, scale) for mean in (subject.params, subject.init_params))
        options = {"num_draws": 1, "num_choices": len(SCALES), "delta": delta, "delta_sampling": delta / 5}
        found = certify(jax.random.fold_in(subject.key, CHOOSING), subject.apply_fn, posterior, prior, few, **options)
        return _kl_form(found.risk.value, found.kl, subject.n)

    values = [float(value(scale)) for scale in SCALES]
    scale = SCALES[values.index(min(values))]
    return _certified(subject, gaussian(subject.params, scale), gaussian(subject.init_params, scale), delta, len(SCALES))


def _kl_form(risk, kl, n):
    """A rough bound to compare scales by."""
    rate = kl / n
    return risk + jnp.sqrt(2 * risk * rate) + 2 * rate


def _trained(subject: Subject, delta: float) -> Bound:
    """Means and standard deviations trained by the bound; the prior's variance is one of a grid."""
    require(subject.num_outputs > 1, "the posterior is trained on the cross-entropy of at least two outputs")
    budget = subject.budget
    stds = jax.tree.map(lambda leaf: 0.02 + 0.1 * jnp.abs(leaf), subject.params)
    prior = PriorGrid(subject.init_params)
    posterior, _ = pac_bayes_train(
        jax.random.fold_in(subject.key, CHOOSING),
        subject.apply_fn,
        gaussian(subject.params, stds),
        prior,
        subject.train,
        optimizer=optax.adam(optax.cosine_decay_schedule(5e-3, budget.posterior_steps)),
        num_steps=budget.posterior_steps,
        batch_size=min(budget.batch_size, subject.n),
    )
    return _certified(subject, posterior, prior, delta, 1)


ENTRIES: dict[str, Entry] = {
    "holdout": Entry("hold-out, exact", GIVEN, "Clopper and Pearson 1934; GEN-1", _holdout),
    "holdout_hoeffding": Entry("hold-out, Hoeffding", GIVEN, "Hoeffding 1963; GEN-1", _hoeffding),
    "bits": Entry("bits of the parameters", GIVEN, "union bound; GEN-3", _bits),
    "cover": Entry("cover of a ball of parameters", GIVEN, "GEN-7", _cover),
    "frobenius": Entry("product of Frobenius norms", GIVEN, "Golowich et al. 2018; GEN-38", _golowich),
    "path_norm": Entry("path norm", GIVEN, "Neyshabur et al. 2015; GEN-39", _path_norm),
    "spectral": Entry("spectral norms and distances", GIVEN, "Bartlett et al. 2017; GEN-38", _bartlett),
    "pac_bayes_margin": Entry("PAC-Bayes with margins", GIVEN, "Neyshabur et al. 2018; GEN-36", _derandomized),
    "low_rank": Entry("low rank and few levels", COMPRESSED, "Arora et al. 2018; GEN-22", _low_rank),
    "compression": Entry("short code", COMPRESSED, "Langford 2005; GEN-17", _compressed),
    "pac_bayes": Entry("PAC-Bayes, one scale of noise", STOCHASTIC, "Langford and Caruana 2002; GEN-32", _as_it_is),
    "pac_bayes_trained": Entry("PAC-Bayes, trained noise", STOCHASTIC, "Dziugaite and Roy 2017; GEN-33", _trained),
}
