"""Claims about information on single examples and about which half of a supersample was trained on (INFO-37, INFO-38, INFO-39)."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen import bounds, information, processes
from jaxgen.claims import at_most, claim, equal, equal_in_mean, ordered

NUM_LEARNERS = 100
DIMENSION, COUNT = 3, 10
GRID = (1e-2, 10.0, 4000)


class Majority(NamedTuple):
    """Laws of the majority of n fair bits, by enumeration of all supersamples and masks.

    Attributes:
        gap: test minus training risk.
        cmi: I(W; U | supersample).
        with_example: law of W and one training bit.
        difference: law of the difference of a pair's losses, -1, 0 or 1, and its mask bit.
    """

    gap: float
    cmi: float
    with_example: np.ndarray
    difference: np.ndarray


def majority(n: int) -> Majority:
    """By enumeration, 8^n cases."""
    pairs, u = _cube(2 * n).reshape(-1, n, 2), _cube(n)
    chosen = np.where(u == 1, pairs[:, None, :, 1], pairs[:, None, :, 0])
    w = (2 * chosen.sum(axis=-1) > n).astype(int)
    wrong = (w[..., None, None] != pairs[:, None]).astype(int)
    difference = wrong[..., 1] - wrong[..., 0]
    ones = w.mean(axis=1)
    entropies = [-sum(p * math.log(p) for p in (one, 1 - one) if p > 0) for one in ones]
    first = np.array([[np.mean((w == a) & (chosen[..., 0] == b)) for b in (0, 1)] for a in (0, 1)])
    table = np.array([[np.mean((difference[..., 0] == a) & (u[:, 0] == b)) for b in (0, 1)] for a in (-1, 0, 1)])
    return Majority(np.mean(np.where(u == 0, difference, -difference)), float(np.mean(entropies)), first, table)


def _cube(length):
    return np.array(list(itertools.product((0, 1), repeat=length)))


def _psi(x):
    """log E exp(-x (l - E l)) of l = |W - Z|^2 with independent W and Z: 1 + 1/n times chi squared with d degrees of freedom."""
    variance = 1 + 1 / COUNT
    return DIMENSION * variance * x - DIMENSION / 2 * jnp.log1p(2 * variance * x)


def _gaussian_mean():
    """Gap, and information about one example, of the mean of ten standard normal examples in three dimensions, squared loss."""
    mean_and_example = jnp.array([[1 / COUNT, 1 / COUNT], [1 / COUNT, 1.0]])
    return 2 * DIMENSION / COUNT, DIMENSION * information.gaussian_mutual_information(mean_and_example, 1)


@claim(
    "INFO-37",
    title="The gap is at most what the weights tell about each example alone",
    source="Bu, Zou & Veeravalli 2020, Proposition 1",
    statement=r"|\mathrm{gen}| \le \frac{1}{n} \sum_i \sqrt{2 R^2 I(W; Z_i)} \le \sqrt{\frac{2 R^2}{n} I(W; S)}",
)
def individual_sample(key):
    """Random learners of two examples in {0, 1, 2}, and the majority vote with its known values; at n = 9 it is nearly tight."""
    learners = _finite_learners(key)
    checks = {
        "random learners": at_most(jnp.abs(learners.gap), bounds.individual_sample(learners.examples, 0.5)),
        "below the whole": at_most(bounds.individual_sample(learners.examples, 0.5), bounds.xu_raginsky(learners.sample, 2, 0.5), slack=1e-12),
    }
    for n, learned, value in ((3, 0.1308120359, 0.2557460028), (5, None, None)):
        vote = majority(n)
        informations = jnp.full(n, information.mutual_information(vote.with_example))
        checks[f"majority of {n}"] = at_most(vote.gap, bounds.individual_sample(informations, 0.5))
        if learned is not None:
            checks["information"] = equal(informations, learned, rtol=1e-9)
            checks["known value"] = equal(bounds.individual_sample(informations, 0.5), value, rtol=1e-9)
    nine = bounds.individual_sample(jnp.full(9, 0.0378644064), 0.5)
    return checks | {"majority of 9": at_most(0.13671875, nine), "nearly tight": equal(nine, 0.1375943429, rtol=1e-8)}


@individual_sample.control("R = 1/4 for the 0-1 loss, at n = 1", fails="every")
def _(key):
    return at_most(majority(1).gap, bounds.individual_sample(jnp.array([math.log(2)]), 0.25))


@individual_sample.control("the informations' mean over n in place of the mean of their roots", fails="every")
def _(key):
    vote = majority(3)
    return at_most(vote.gap, bounds.xu_raginsky(information.mutual_information(vote.with_example), 3, 0.5))


@claim(
    "INFO-37.cgf",
    title="Information about single examples bounds the gap also where that about the sample is infinite",
    source="Bu, Zou & Veeravalli 2020, Theorem 2 and section IV",
    statement=r"\mathrm{gen} \le \frac{1}{n} \sum_i \psi^{*-1}(I(W; Z_i)), \quad \psi^{*-1}(y) = \inf_{x > 0} \frac{y + \psi(x)}{x}",
    num_seeds=1,
)
def individual_sample_by_generating_function(key):
    """The mean of ten Gaussians: gap 0.6, 1.2924738 by the generating function, 1.5148439 by roots with R^2 = 2 d (1 + 1/n)^2."""
    gap, learned = _gaussian_mean()
    value = bounds.inverse_legendre(_psi, learned, jnp.geomspace(*GRID))
    roots = bounds.individual_sample(jnp.full(COUNT, learned), math.sqrt(2 * DIMENSION) * (1 + 1 / COUNT)).value
    return {
        "information": equal(learned, 0.1580407735, rtol=1e-9),
        "generating function": equal(value, 1.2924738, rtol=1e-6),
        "roots": equal(roots, 1.514843896, rtol=1e-9),
        "order": ordered(jnp.stack([gap, value, roots])),
    }


@individual_sample_by_generating_function.control("the information of the whole sample shared out, which is infinite", fails="every")
def _(key):
    return equal(bounds.inverse_legendre(_psi, jnp.inf, jnp.geomspace(*GRID)), 1.2924738, rtol=1e-6)


@individual_sample_by_generating_function.control("half the information", fails="every")
def _(key):
    _, learned = _gaussian_mean()
    return equal(bounds.inverse_legendre(_psi, learned / 2, jnp.geomspace(*GRID)), 1.2924738, rtol=1e-6)


class Learners(NamedTuple):
    """Random kernels from two examples in {0, 1, 2} to four hypotheses with 0-1 losses, exactly.

    Attributes:
        gap: test minus training risk.
        sample: I(W; S).
        examples: I(W; Z_i), two columns.
        cmi: I(W; U | supersample).
        given: informations about each bit given each of 81 supersamples: of the difference of losses, both losses, the weights.
        probability: of each supersample.
    """

    gap: jax.Array
    sample: jax.Array
    examples: jax.Array
    cmi: jax.Array
    given: dict[str, jax.Array]
    probability: jax.Array


def _finite_learners(key):
    keys = jax.random.split(key, 3)
    laws = jax.nn.softmax(jax.random.normal(keys[0], (NUM_LEARNERS, 3)))
    kernels = jax.nn.softmax(4 * jax.random.normal(keys[1], (NUM_LEARNERS, 3, 3, 4)))
    return jax.vmap(_finite_learner)(laws, kernels, jax.random.bernoulli(keys[2], 0.5, (NUM_LEARNERS, 4, 3)).astype(int))


def _finite_learner(law, kernel, loss):
    """From P(z), P(w | z_1, z_2) and the losses of every hypothesis."""
    pairs, u = np.array(list(itertools.product(range(3), repeat=4))).reshape(-1, 2, 2), _cube(2)
    joint = law[:, None, None] * law[:, None] * kernel
    examples = jnp.stack([information.mutual_information(joint.sum(axis=axis)) for axis in (1, 0)])
    train = jnp.sum(joint * (loss.T[:, None] + loss.T[None, :])) / 2
    chosen = np.take_along_axis(np.broadcast_to(pairs[:, None], (81, 4, 2, 2)), np.broadcast_to(u[None, ..., None], (81, 4, 2, 1)), axis=-1)[..., 0]
    weights = kernel[chosen[..., 0], chosen[..., 1]] / 4
    losses = jnp.moveaxis(loss[:, pairs], 0, -1)
    labels = {"difference": losses[:, :, 1] - losses[:, :, 0] + 1, "losses": 2 * losses[:, :, 0] + losses[:, :, 1], "weights": jnp.arange(4)}
    given = {}
    for name, label in labels.items():
        seen = jnp.broadcast_to(label, (81, 2, 4))[..., None] == jnp.arange(4)
        tables = jnp.einsum("skw,siwx,kib->sixb", weights, seen.astype(float), u[..., None] == np.arange(2), precision="highest")
        given[name] = jax.vmap(jax.vmap(information.mutual_information))(tables)
    probability = law[pairs].prod(axis=(1, 2))
    cmi = jnp.sum(probability * jax.vmap(information.mutual_information)(weights))
    test = jnp.sum(joint.sum(axis=(0, 1)) * (loss @ law))
    return Learners(test - train, information.mutual_information(joint.reshape(9, 4)), examples, cmi, given, probability)


@claim(
    "INFO-38",
    title="The gap is at most what the weights tell about which half of a supersample they were trained on",
    source="Steinke & Zakynthinou 2020, Theorem 1.2",
    statement=r"|\mathrm{gen}| \le \sqrt{\frac{2}{n} I(W; U | \tilde Z)}, \quad I(W; U | \tilde Z) \le n \log 2",
)
def conditional_information(key):
    """Random learners, and the majority vote by enumeration: .3465736, .4274842 and .4582916 nats for n = 1, 3, 5."""
    learners = _finite_learners(key)
    checks = {"random learners": at_most(jnp.abs(learners.gap), bounds.cmi(learners.cmi, 2))}
    known = {1: (0.3465735903, 0.8325546112), 3: (0.4274841732, 0.5338440304), 5: (0.4582915722, 0.4281549122)}
    for n, (learned, value) in known.items():
        vote = majority(n)
        checks |= {
            f"information, n = {n}": equal(vote.cmi, learned, rtol=1e-9),
            f"bound, n = {n}": equal(bounds.cmi(vote.cmi, n), value, rtol=1e-9),
            f"gap, n = {n}": at_most(vote.gap, bounds.cmi(vote.cmi, n)),
        }
    return checks | {"at most n log 2": at_most(learners.cmi, 2 * math.log(2))}


@conditional_information.control("the constant 1/(8n) in place of 2/n, at n = 1", fails="every")
def _(key):
    vote = majority(1)
    return at_most(vote.gap, bounds.cmi(vote.cmi, 1, loss_range=0.25))


@claim(
    "INFO-39",
    title="Bounds by losses, predictions or weights are the larger the more these tell",
    source="Harutyunyan et al. 2021; Wang & Mao 2023, Theorem 3.1",
    statement=r"|\mathrm{gen}| \le \mathbb{E}_{\tilde Z} \frac{1}{n} \sum_i \sqrt{2 I^{\tilde Z}(\Delta L_i; U_i)}"
    r" \le \ldots (L_{i0}, L_{i1}) \ldots \le \ldots W \ldots \le \sqrt{\tfrac{2}{n} I(W; U | \tilde Z)}",
    core=True,
)
def loss_differences(key):
    """With the majority vote's known values, whose informations are not conditional on the supersample."""
    learners = _finite_learners(key)
    values = [
        jnp.sum(learners.probability * bounds.pairwise_cmi(learners.given[name]).value, axis=-1) for name in ("difference", "losses", "weights")
    ]
    chain = jnp.stack([*values, bounds.cmi(learners.cmi, 2).value])
    checks = {"gap": at_most(jnp.abs(learners.gap), chain[0], slack=1e-12), "order": at_most(chain[:-1], chain[1:], slack=1e-12)}
    for n, learned, value in ((3, 0.0654060180, 0.3616794657), (5, 0.0360304030, 0.2684414387)):
        vote = majority(n)
        informations = jnp.full(n, information.mutual_information(vote.difference))
        bound = bounds.pairwise_cmi(informations)
        checks |= {
            f"information, n = {n}": equal(informations, learned, rtol=1e-8),
            f"bound, n = {n}": equal(bound, value, rtol=1e-9),
            f"gap, n = {n}": at_most(vote.gap, bound),
        }
    return checks


@loss_differences.control("one in place of two under the root, and half the range", fails="every")
def _(key):
    vote = majority(3)
    return at_most(vote.gap, bounds.pairwise_cmi(jnp.full(3, information.mutual_information(vote.difference) / 2), loss_range=0.5))


@loss_differences.control("differences of the loss of the unseen example and that of the seen one, which say nothing of the mask")
def _(key):
    """The law of the difference is the same under both bits then."""
    vote = majority(3)
    blind = np.outer((vote.difference[:, 0] + vote.difference[::-1, 1]), [0.5, 0.5])
    return at_most(vote.gap, bounds.pairwise_cmi(jnp.full(3, information.mutual_information(blind))))


NUM_SUPERSAMPLES, PAIRS = 300, 10


def _nearest_neighbours(key, num_neighbours=1):
    """Losses of k-NN on noisy two-dimensional classes under a fresh supersample and mask each time, masks, and errors on fresh data."""

    def examples(key, count):
        x_key, y_key = jax.random.split(key)
        x = jax.random.normal(x_key, (count, 2))
        return x, jnp.where(jax.random.bernoulli(y_key, 0.15, (count,)), x[:, 0] <= 0, x[:, 0] > 0).astype(int)

    def one(key):
        sample_key, mask_key, test_key = jax.random.split(key, 3)
        x, y = examples(sample_key, 2 * PAIRS)
        u = jax.random.bernoulli(mask_key, 0.5, (PAIRS,)).astype(int)
        seen = 2 * jnp.arange(PAIRS) + u

        def wrong(points, labels):
            distances = jnp.sum((points[:, None] - x[seen]) ** 2, axis=-1)
            nearest = jax.lax.top_k(-distances, num_neighbours)[1]
            return ((y[seen][nearest].mean(axis=1) > 0.5) != labels).astype(float)

        return wrong(x, y).reshape(PAIRS, 2), u, wrong(*examples(test_key, 20)).mean()

    return jax.vmap(one)(jax.random.split(key, NUM_SUPERSAMPLES))


def _pooled_risk(losses, u):
    """Pairs of all supersamples are draws of one law."""
    difference = (losses[..., 1] - losses[..., 0]).astype(int) + 1
    return bounds.interpolating_risk(bounds.mask_information(difference.reshape(-1, 1), u.reshape(-1, 1), 3))


@claim(
    "INFO-39.interpolating",
    title="Differences of losses tell the risk of an interpolating learner exactly",
    source="Wang & Mao 2023, Theorem 4.1",
    statement=r"L_S = 0: \quad L_\mu = \frac{1}{n \log 2} \sum_i I(\Delta L_i; U_i)",
    statistical=True,
    budget=3.0,
)
def interpolating_risk(key):
    """One nearest neighbour among ten points whose labels are noisy, against its errors on fresh data."""
    losses, u, errors = _nearest_neighbours(key)
    return equal_in_mean(_pooled_risk(losses, u), errors.mean())


@interpolating_risk.control("columns of the supersample ordered by the mask, so that the unseen example always comes second")
def _(key):
    losses, u, errors = _nearest_neighbours(key)
    relabelled = jnp.where(u[..., None] == 1, losses[..., ::-1], losses)
    return equal_in_mean(_pooled_risk(relabelled, u), errors.mean())


@interpolating_risk.control("three neighbours, which do not interpolate")
def _(key):
    losses, u, errors = _nearest_neighbours(key, 3)
    return equal_in_mean(_pooled_risk(losses, u), errors.mean())


NUM_MASKS, NUM_PAIRS = 100, 100
SEEN_ERROR, UNSEEN_ERROR = 0.2, 0.5


def _estimates(key, corrected):
    """Mean estimate of the information between a loss and its bit over 100 pairs, by 100 masks, and that information."""
    mask_key, loss_key = jax.random.split(key)
    u = jax.random.bernoulli(mask_key, 0.5, (NUM_MASKS, NUM_PAIRS)).astype(int)
    loss = jax.random.bernoulli(loss_key, jnp.where(u == 0, SEEN_ERROR, UNSEEN_ERROR)).astype(int)
    errors = jnp.array([SEEN_ERROR, UNSEEN_ERROR])
    return bounds.mask_information(loss, u, 2, bias_correction=corrected).mean(), information.mutual_information(jnp.stack([1 - errors, errors]) / 2)


@claim(
    "INFO-39.estimates",
    title="Informations estimated from masks are right on average when corrected by the cells that occur",
    source="Miller 1955; Harutyunyan et al. 2021, section 5",
    statement=r"\mathbb{E} \hat I - I \approx \frac{m_{XU} - m_X - m_U + 1}{2 K}",
    statistical=True,
)
def mask_estimates(key):
    return equal_in_mean(*_estimates(key, True))


@mask_estimates.control("the raw plug-in estimate")
def _(key):
    return equal_in_mean(*_estimates(key, False))


@claim(
    "INFO-39.masks",
    title="With every mask tried, estimates are the informations given the supersample",
    source="Harutyunyan et al. 2021",
    statement=r"K = 2^n, \; W = W(\tilde Z, U): \quad \hat I(F_i; U_i) = I^{\tilde Z}(F_i; U_i)",
    num_seeds=8,
)
def all_masks(key):
    """Means of the chosen half of six pairs, whose sign predicts: by training under all 64 masks, and by hand."""
    found, u, predictions = _means_under_all_masks(key)
    return equal(found, bounds.f_cmi(predictions, u, 2, bias_correction=False), rtol=1e-12)


def _means_under_all_masks(key):
    """The f-CMI bound from trained means under all masks of six pairs; masks, and predictions by hand."""
    u = jnp.asarray(_cube(6))
    z = jax.random.normal(key, (12,))
    pairs = jnp.arange(12).reshape(6, 2)
    found = processes.train_on_masks(
        key,
        lambda w, batch: (w - batch) ** 2 / 2,
        lambda w, batch: (w * batch < 0).astype(float),
        lambda key: jnp.zeros(()),
        z,
        pairs,
        u,
        optimizer=optax.sgd(1.0),
        batch_size=6,
        num_steps=1,
        predict=lambda w, batch: (w * batch > 0).astype(int),
    )
    means = jnp.where(u == 1, z[1::2], z[::2]).mean(axis=1)
    products = means[:, None, None] * z.reshape(6, 2)
    value = bounds.f_cmi(found.predictions, u, 2, bias_correction=False).value
    return value, u, (products > 0).astype(int)


@all_masks.control("the correction, which takes from informations that are exact", fails="some")
def _(key):
    found, u, predictions = _means_under_all_masks(key)
    return equal(found, bounds.f_cmi(predictions, u, 2), rtol=1e-12)
