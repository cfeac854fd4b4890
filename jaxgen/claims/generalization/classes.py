"""Claims about all hypotheses of a class at once: the union bound, counting solutions, uniform convergence (GEN-3, GEN-4, GEN-13)."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.stats import binom

from jaxgen import bounds
from jaxgen.claims import at_least, at_most, claim, equal, with_probability

BOOK = "Arora et al., Theory of Deep Learning"
DELTA = 0.05
NUM_HYPOTHESES, NUM_EXAMPLES = 1000, 500


def _failure(penalty, num_hypotheses, n):
    """Probability that the gap of one of the independent fair hypotheses is above `penalty`."""
    counts = jnp.arange(n + 1)
    single = binom.pmf(counts, n, 0.5) @ (0.5 - counts / n > penalty)
    return -jnp.expm1(num_hypotheses * jnp.log1p(-single))


def _penalty(num_hypotheses, n, variant="hoeffding"):
    return bounds.finite_class_bound(0.0, jnp.log(num_hypotheses), n, DELTA, variant=variant).terms["penalty"]


@claim(
    "GEN-3",
    title="The union bound over a finite class",
    source=f"{BOOK}, Theorem 5.2.1",
    statement=r"\Pr\left[ \exists h: \Delta_S(h) > \sqrt{\frac{\ln N + \ln(1/\delta)}{2 m}} \right] \le \delta",
    core=True,
)
def union_bound(key):
    """Exactly, for independent hypotheses of risk one half. The source's 2 sqrt((ln N + ln(1/delta)) / m) is looser by 2 sqrt 2."""
    sizes = jnp.exp(10 * jax.random.uniform(key, (10,)))
    failures = jax.vmap(lambda size: _failure(_penalty(size, NUM_EXAMPLES), size, NUM_EXAMPLES))(sizes)
    known = _failure(_penalty(1000.0, NUM_EXAMPLES), 1000.0, NUM_EXAMPLES)
    penalties = jnp.stack([_penalty(1000.0, NUM_EXAMPLES, variant) for variant in ("source", "hoeffding")])
    return {
        "failure": at_most(failures, DELTA),
        "not absurdly loose": at_least(known, DELTA / 20),
        "known failure": equal(known, 0.00446, rtol=0, atol=5e-6),
        "known penalties": equal(penalties, jnp.array([0.2814745111, 0.0995162678]), rtol=1e-9),
    }


@union_bound.control("the union not paid for")
def _(key):
    return at_most(_failure(_penalty(1.0, NUM_EXAMPLES), 1000.0, NUM_EXAMPLES), DELTA)


def _by_code(key, lengths, delta=DELTA):
    """Whether a sample deceives no hypothesis of a countable class with the given code lengths in bits."""
    n = 100
    errors = jax.random.bernoulli(key, 0.5, (200, len(lengths), n)).mean(axis=2)
    found = bounds.occam_bound(errors, lengths * jnp.log(2), n, delta)
    return jnp.all(found.value >= 0.5, axis=1)


@claim(
    "GEN-3.occam",
    title="Hypotheses that can be said briefly generalize",
    source="Blumer et al. 1987; Langford 2005, Theorem 4.2",
    statement=r"\Pr\left[ \exists h: \Delta_S(h) > \sqrt{\frac{\ln(1/P(h)) + \ln(1/\delta)}{2 m}} \right] \le \delta, \qquad \sum_h P(h) \le 1",
    statistical=True,
)
def occam(key):
    """Thirty hypotheses of independent losses with the code lengths 1, 2, ..., which Kraft's inequality allows; delta = 0.5."""
    return with_probability(_by_code(key, jnp.arange(1.0, 31.0), 0.5), at_least=0.5)


@occam.control("thirty codes of no length, which no prefix code has")
def _(key):
    return with_probability(_by_code(key, jnp.zeros(30), 0.5), at_least=0.5)


INPUTS, HIDDEN, TRAINED = 3, 12, 10


def _net(params, x):
    return jnp.tanh(x @ params["first"] + params["bias"]) @ params["second"]


def _initial(key, hidden=HIDDEN):
    keys = jax.random.split(key, 3)
    return {
        "first": jax.random.normal(keys[0], (INPUTS, hidden)),
        "bias": jax.random.normal(keys[1], (hidden,)),
        "second": jax.random.normal(keys[2], (hidden,)) / jnp.sqrt(hidden),
    }


def _fitted(params, x, y):
    """Gauss-Newton steps of least norm to an interpolating minimum; parameters are flat."""
    flat, unravel = ravel_pytree(params)

    def outputs(flat):
        return _net(unravel(flat), x)

    def step(_, flat):
        jacobian = jax.jacrev(outputs)(flat)
        return flat - jacobian.T @ jnp.linalg.solve(jacobian @ jacobian.T + 1e-10 * jnp.eye(len(y)), outputs(flat) - y)

    return jax.lax.fori_loop(0, 40, step, flat), unravel


@claim(
    "GEN-4",
    title="Interpolating solutions form a continuum that cannot be counted",
    source=f"{BOOK}, Example 5.2.2",
    statement=r"\hat L(w) = 0, \; k > m: \quad \dim \ker \nabla^2 \hat L(w) = k - \operatorname{rank} J(w) \ge k - m",
    num_seeds=4,
    budget=6.0,
)
def continuum_of_solutions(key):
    """A net of 60 parameters on 10 examples: from one solution to another, a thousandth of the way along a direction of the kernel."""
    keys = jax.random.split(key, 3)
    x, y = jax.random.normal(keys[0], (TRAINED, INPUTS)), jax.random.normal(keys[1], (TRAINED,))
    flat, unravel = _fitted(_initial(keys[2]), x, y)

    def loss(flat):
        return jnp.mean((_net(unravel(flat), x) - y) ** 2) / 2

    values, vectors = jnp.linalg.eigh(jax.hessian(loss)(flat))
    moved = _fitted(unravel(flat + 1e-3 * vectors[:, 0]), x, y)[0]
    distance = jnp.linalg.norm(moved - flat)
    return {
        "interpolates": at_most(loss(flat), 1e-20),
        "dimension": equal(bounds.solution_manifold_dim(_net, unravel(flat), x), 60 - TRAINED, rtol=0),
        "kernel of the Hessian": equal(jnp.sum(values < 1e-6 * values[-1]), 60 - TRAINED, rtol=0),
        "another solution": at_most(loss(moved), 1e-20),
        "another place": equal(distance, 1e-3, rtol=0.1),
    }


@continuum_of_solutions.control("a net of five parameters")
def _(key):
    x = jax.random.normal(key, (TRAINED, INPUTS))
    return at_least(bounds.solution_manifold_dim(_net, _initial(key, 1), x), 1)


def _largest_gap(key):
    losses = jax.random.bernoulli(key, 0.5, (NUM_HYPOTHESES, NUM_EXAMPLES)).astype(float)
    return bounds.uniform_gap(losses, jnp.full(NUM_HYPOTHESES, 0.5))


@claim(
    "GEN-13",
    title="Uniform convergence of a finite class",
    source=f"{BOOK}, section 5.4, equation (5.4)",
    statement=r"\Pr\left[ \sup_{h \in \mathcal{H}} |L_D(h) - \hat L_S(h)| \le \sqrt{\frac{\ln N + \ln(2/\delta)}{2 m}} \right] \ge 1 - \delta",
    statistical=True,
    chunk_size=8,
)
def uniform_convergence(key):
    """A thousand hypotheses of independent fair losses on 500 examples."""
    return with_probability(at_most(_largest_gap(key), _penalty(1000.0, NUM_EXAMPLES, "two_sided")), at_least=1 - DELTA)


@uniform_convergence.control("the limit of a single hypothesis for the largest gap of a thousand")
def _(key):
    return with_probability(at_most(_largest_gap(key), _penalty(1.0, NUM_EXAMPLES, "two_sided")), at_least=1 - DELTA)


def _cross_gaps(key, learner, loss_fn):
    """Samples of 50 points in 20 cells with labels of odds 0.8; a hypothesis is what it says of each cell, and its risk is exact."""
    keys = jax.random.split(key, 3)
    truth = jax.random.bernoulli(keys[0], 0.5, (20,))
    cells = jax.random.randint(keys[1], (8, 50), 0, 20)
    labels = truth[cells] ^ jax.random.bernoulli(keys[2], 0.2, (8, 50))

    def risk_fn(table):
        return jnp.mean(jnp.where(table == truth, 0.2, 0.8))

    return bounds.cross_sample_gap(learner, loss_fn, (cells, labels), risk_fn)


def _majority(sample):
    cells, labels = sample
    return jnp.zeros(20).at[cells].add(2.0 * labels - 1) > 0


def _errors(table, sample):
    cells, labels = sample
    return (table[cells] != labels).astype(float)


@claim(
    "GEN-13.learner",
    title="Gaps of the outputs of a learner on other samples than their own",
    source="Nagarajan and Kolter 2019, Definition 3.2",
    statement=r"\sup_{i, j} |L_D(h_{S_j}) - \hat L_{S_i}(h_{S_j})| \le \epsilon_{\text{unif-alg}} \le \epsilon_{\text{unif}}",
)
def gaps_across_samples(key):
    """The majority in each of 20 cells, a class of 2^20 tables: no gap above the union bound's limit, at delta = 1e-6."""
    gaps = _cross_gaps(key, _majority, _errors)
    limit = bounds.finite_class_bound(0.0, 20 * jnp.log(2), 50, 1e-6, variant="two_sided").value
    return at_most(gaps, limit)


@gaps_across_samples.control("a learner that knows its own examples by heart and is wrong elsewhere")
def _(key):
    gaps = bounds.cross_sample_gap(
        lambda sample: sample,
        lambda own, sample: jnp.where(jnp.all(own == sample), 0.0, jnp.ones(50)),
        jax.random.normal(key, (8, 50)),
        lambda own: jnp.ones(()),
    )
    return at_most(gaps, bounds.finite_class_bound(0.0, 20 * jnp.log(2), 50, 1e-6, variant="two_sided").value)
