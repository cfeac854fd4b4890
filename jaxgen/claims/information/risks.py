"""Claims about risks, the expected generalization gap, and classical bounds on it (INFO-11, INFO-12)."""

import math

import jax
import jax.numpy as jnp

from jaxgen import Estimate, data, processes
from jaxgen.claims import claim, converges, equal, equal_in_mean, equal_within, with_probability

NUM_THRESHOLDS = 100
MAJORITY_GAPS = {1: 0.5, 3: 0.25, 5: 0.1875, 7: 0.15625, 9: 0.13671875}


def _squared_distance(w, z):
    return jnp.sum((w - z) ** 2, axis=-1)


def _gap_of_the_sample_mean(key, *, fresh_test=True):
    """Estimated gap of W = mean(Z) on n = 10 normal points in 3 dimensions, from 400 training sets."""
    train, test = jax.random.normal(key, (2, 400, 10, 3))
    gap = processes.generalization_gap(_squared_distance, train.mean(axis=1), train, test if fresh_test else train)
    return Estimate(gap.value, gap.stderr)


@claim(
    "INFO-11",
    title="Expected generalization gap of the sample mean",
    source="Xu & Raginsky 2017, section I",
    statement=r"$\mathbb{E}[L_\mu(W) - L_S(W)] = \frac{2 d s^2}{n}$ for $W = \bar{Z}$, $\ell(w, z) = \|w - z\|^2$, $Z \sim N(0, s^2 I_d)$",
    core=True,
    statistical=True,
)
def gap_of_the_sample_mean(key):
    """The gap is signed, test minus training risk (one source lost the minus); losses may be zero (another asks for positive ones)."""
    return equal_within(_gap_of_the_sample_mean(key), 2 * 3 / 10)


@gap_of_the_sample_mean.control("test risk on the training set")
def _(key):
    return equal_within(_gap_of_the_sample_mean(key, fresh_test=False), 2 * 3 / 10)


@gap_of_the_sample_mean.control("minus sign lost")
def _(key):
    gap = _gap_of_the_sample_mean(key)
    return equal_within(Estimate(-gap.value, gap.stderr), 2 * 3 / 10)


def _majority_gap(n, *, sees_data=True):
    """Exact gap of the majority of n fair bits: the average over all 2^n training sets, on both test bits."""
    problem = data.MajorityVote(n)
    bits = (jnp.arange(2**n)[:, None] >> jnp.arange(n)) & 1
    learned = jax.vmap(problem.fit)(bits) if sees_data else jnp.ones(len(bits))
    return processes.generalization_gap(problem.loss_fn, learned, bits, jnp.array([0, 1]), shared_test=True).value


@claim(
    "INFO-11.majority",
    title="Expected generalization gap of the majority vote, by enumeration",
    source="counting",
    statement=r"$\mathrm{gen} = 2^{-n} \binom{n-1}{(n-1)/2} = .5, .25, .1875, .15625, .13671875$ for the majority of $n = 1, 3, 5, 7, 9$ fair bits",
    num_seeds=1,
)
def gap_of_the_majority_vote(key):
    enumerated = [_majority_gap(n) for n in MAJORITY_GAPS]
    return {
        "enumeration": equal(enumerated, list(MAJORITY_GAPS.values()), rtol=1e-12),
        "closed form": equal([data.MajorityVote(n).generalization_gap for n in MAJORITY_GAPS], list(MAJORITY_GAPS.values()), rtol=0.0),
    }


@gap_of_the_majority_vote.control("a vote that does not see the data")
def _(key):
    return equal([_majority_gap(n, sees_data=False) for n in MAJORITY_GAPS], list(MAJORITY_GAPS.values()), rtol=1e-12)


def _risks_of_thresholds(key, n, *, fair):
    """Training and population risk of x -> 1[x > w], for 100 random w, on n points uniform in [0, 1].

    Labels are fair coins, so that no threshold is better than another, or those of the last threshold (realizable). Also
    one draw of the Rademacher average of every threshold's losses.
    """
    key_w, key_x, key_y, key_sign = jax.random.split(key, 4)
    thresholds, x = jax.random.uniform(key_w, (NUM_THRESHOLDS,)), jax.random.uniform(key_x, (n,))
    y = jax.random.bernoulli(key_y, 0.5, (n,)) if fair else x > thresholds[-1]
    losses = (x > thresholds[:, None]) != y
    population = jnp.full(NUM_THRESHOLDS, 0.5) if fair else jnp.abs(thresholds - thresholds[-1])
    signs = jax.random.rademacher(key_sign, (n,), dtype=float)
    return losses.mean(axis=1), population, losses @ signs / n


def _largest_gap(key):
    training, population, _ = _risks_of_thresholds(key, 100, fair=True)
    return jnp.max(population - training)


def _mean_gap_of_erm(key, n, *, repeats, fair):
    """Mean over training sets of the gap of a threshold of smallest training risk, the worst one of them."""

    def gap(key):
        training, population, _ = _risks_of_thresholds(key, n, fair=fair)
        smallest = training.min()
        return jnp.max(population, where=training == smallest, initial=0.0) - smallest

    return jax.vmap(gap)(jax.random.split(key, repeats)).mean()


ROOT_OF_COMPLEXITY = math.sqrt(math.log(NUM_THRESHOLDS / 0.1) / (2 * 100))
"""The bound at n = 100 and delta = 0.1."""


@claim(
    "INFO-12",
    title="High-probability bound for finitely many hypotheses",
    source="Shalev-Shwartz & Ben-David 2014, section 4.2",
    statement=r"\Pr \left[ \sup_w \left( L_\mu(w) - L_S(w) \right) \le \sqrt{\frac{\log(|\mathcal{H}| / \delta)}{2n}} \right] \ge 1 - \delta",
    core=True,
    statistical=True,
)
def uniform_convergence(key):
    """The source has the complexity over n; with bounded losses, and no assumption on the labels, the bound is a root."""
    gaps = jax.vmap(_largest_gap)(jax.random.split(key, 20))
    return with_probability(gaps <= ROOT_OF_COMPLEXITY, at_least=0.9)


@uniform_convergence.control("complexity over n, without the root, as printed")
def _(key):
    gaps = jax.vmap(_largest_gap)(jax.random.split(key, 20))
    return with_probability(gaps <= ROOT_OF_COMPLEXITY**2, at_least=0.9)


def _gap_and_complexity(key, select):
    """`select` of the gaps of all thresholds on 100 points, and the Rademacher average of other data; means over 20 data sets."""

    def one(key):
        key_gap, key_complexity = jax.random.split(key)
        training, population, _ = _risks_of_thresholds(key_gap, 100, fair=True)
        _, _, averages = _risks_of_thresholds(key_complexity, 100, fair=True)
        return select(population - training), averages.max()

    gap, complexity = jax.vmap(one)(jax.random.split(key, 20))
    return gap.mean(), complexity.mean()


@claim(
    "INFO-12.rademacher",
    title="For labels without signal the largest gap is the Rademacher complexity",
    source="Bartlett & Mendelson 2002, Theorem 8",
    statement=r"$\mathbb{E} \sup_w (L_\mu(w) - L_S(w)) \le 2 \mathfrak{R}_n$, and $= \mathfrak{R}_n$ if labels are fair coins",
    statistical=True,
)
def rademacher_complexity(key):
    return equal_in_mean(*_gap_and_complexity(key, jnp.max))


@rademacher_complexity.control("mean of the gaps in place of the largest")
def _(key):
    return equal_in_mean(*_gap_and_complexity(key, jnp.mean))


def _curve_of_erm(key, *, fair):
    """Mean gaps of empirical risk minimization, and the numbers of points they are for."""
    sizes, repeats = ((32, 128, 512), 200) if fair else ((8, 16, 32), 1000)
    keys = jax.random.split(key, len(sizes))
    return jnp.stack([_mean_gap_of_erm(k, n, repeats=repeats, fair=fair) for k, n in zip(keys, sizes, strict=True)]), jnp.array(sizes)


@claim(
    "INFO-12.agnostic",
    title="Without signal the gap of empirical risk minimization falls as the root of n",
    source="Shalev-Shwartz & Ben-David 2014, Theorem 6.8",
    statement=r"\mathbb{E}[L_\mu(W) - L_S(W)] \sim n^{-1/2}",
    chunk_size=4,
    budget=8.0,
)
def agnostic_rate(key):
    """Labels are fair coins: with bounded noise around a best threshold the rate is faster."""
    gaps, sizes = _curve_of_erm(key, fair=True)
    return converges(gaps, order=-0.5, steps=sizes, tolerance=0.1)


@agnostic_rate.control("complexity over n, as printed")
def _(key):
    gaps, sizes = _curve_of_erm(key, fair=True)
    return converges(gaps, order=-1.0, steps=sizes, tolerance=0.1)


@agnostic_rate.control("labels of one of the thresholds")
def _(key):
    gaps, sizes = _curve_of_erm(key, fair=False)
    return converges(gaps, order=-0.5, steps=sizes, tolerance=0.1)


@claim(
    "INFO-12.realizable",
    title="With labels of one of the hypotheses the gap falls as 1/n",
    source="Shalev-Shwartz & Ben-David 2014, Theorem 6.8",
    statement=r"\mathbb{E}[L_\mu(W) - L_S(W)] = \mathbb{E} L_\mu(W) \sim n^{-1}",
    chunk_size=4,
    budget=8.0,
)
def realizable_rate(key):
    gaps, sizes = _curve_of_erm(key, fair=False)
    return converges(gaps, order=-1.0, steps=sizes, tolerance=0.15)


@realizable_rate.control("labels that are fair coins")
def _(key):
    gaps, sizes = _curve_of_erm(key, fair=True)
    return converges(gaps, order=-1.0, steps=sizes, tolerance=0.15)
