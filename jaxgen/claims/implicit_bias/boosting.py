"""Claims about AdaBoost as coordinate descent, and what exact line search costs in margin (BIAS-29)."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import implicit_bias
from jaxgen.claims import at_most, claim, equal, greater
from jaxgen.claims.implicit_bias._separable import BOOK, NORMS

CYCLE = np.array(
    [
        (-1, 1, 1, 1, 1, -1, -1, 1),
        (-1, 1, 1, -1, -1, 1, 1, 1),
        (1, -1, 1, 1, 1, -1, 1, 1),
        (1, -1, 1, 1, -1, 1, 1, 1),
        (1, -1, 1, -1, 1, 1, 1, -1),
        (1, 1, -1, 1, 1, 1, 1, -1),
        (1, 1, -1, 1, 1, 1, -1, 1),
        (1, 1, 1, 1, -1, -1, 1, -1),
    ],
    float,
)
"""Eight examples by eight weak learners, on which AdaBoost cycles (Rudin, Daubechies and Schapire 2004)."""

ROOT = math.sqrt(5)
ON_THE_CYCLE = np.array([(3 - ROOT) / 8, (3 - ROOT) / 8, 1 / 6, 1 / 6, 1 / 6, (ROOT - 1) / 8, (ROOT - 1) / 8, 0])
NUM_ROUNDS = 20


def _learners(key):
    """Twelve examples, six weak learners of which none is perfect, and weights by which no two edges are equal."""
    m = jax.random.rademacher(key, (12, 6), float)
    return m.at[0].set(1.0).at[1].set(-1.0), jnp.exp(0.1 * jax.random.normal(jax.random.fold_in(key, 1), (12,)))


def _descent(m, weights, factor=1.0):
    """Coordinate descent by the definition: the coordinate of steepest descent in l1, and the zero of the slope along it by bisection."""

    def slope(w, direction, a):
        return (weights * jnp.exp(-m @ (w + a * direction))) @ (m @ direction)

    def step(w, _):
        pull = (weights * jnp.exp(-m @ w)) @ m
        direction = jnp.sign(NORMS["l1"].steepest(-pull))

        def halve(_, ends):
            middle = 0.5 * (ends[0] + ends[1])
            right = slope(w, direction, middle) > 0
            return jnp.where(right, middle, ends[0]), jnp.where(right, ends[1], middle)

        low, high = jax.lax.fori_loop(0, 60, halve, (jnp.zeros(()), jnp.full((), 20.0)))
        moved = w + factor * 0.5 * (low + high) * direction
        return moved, moved

    return jax.lax.scan(step, jnp.zeros(m.shape[1]), None, length=NUM_ROUNDS)[1]


def _coefficients(boosted):
    """Of all rounds."""
    trace = boosted.trace
    return jnp.cumsum(jax.nn.one_hot(trace.learner, len(boosted.coefficients)) * trace.step[:, None], axis=0)


@claim(
    "BIAS-29",
    title="AdaBoost is steepest descent in l1 with exact line search on the exponential loss",
    source=f"{BOOK}, section 8.3.2; Freund and Schapire 1997",
    statement=r"j = \arg\max_j |r_j|, \; r = M^\top d, \; d = \mathrm{softmax}(-M \lambda): \quad"
    r" \arg\min_a \sum_i e^{-(M \lambda)_i - a M_{ij}} = \tfrac12 \log \frac{1 + r_j}{1 - r_j}",
    core=True,
    budget=2.0,
)
def coordinate_descent(key):
    """Twenty rounds on random weak learners and weights, against the definition."""
    m, weights = _learners(key)
    found = implicit_bias.adaboost(m, NUM_ROUNDS, weights=weights)
    trace = found.trace
    return {
        "coefficients": equal(_coefficients(found), _descent(m, weights), rtol=0, atol=1e-10),
        "closed form": equal(trace.step, 0.5 * jnp.log((1 + trace.edge) / (1 - trace.edge)), rtol=0, atol=1e-10),
        "loss": equal(jnp.exp(jnp.diff(trace.log_loss)), jnp.sqrt(1 - trace.edge[1:] ** 2), rtol=1e-10),
    }


@coordinate_descent.control("half of the step of the line search", fails="every")
def _(key):
    m, weights = _learners(key)
    return equal(_coefficients(implicit_bias.adaboost(m, NUM_ROUNDS, weights=weights)), _descent(m, weights, 0.5), rtol=0, atol=1e-10)


@claim(
    "BIAS-29.margin",
    title="Exact line search may stop short of the largest margin that small steps reach",
    source=f"{BOOK}, section 8.3.2; Rudin, Daubechies and Schapire 2004, where AdaBoost cycles",
    statement=r"\text{AdaBoost: } \tfrac13, \qquad \text{steps of } 0.1 \, r: \;"
    r" \to \tfrac38 = \max_{\lVert \lambda \rVert_1 \le 1} \min_i (M \lambda)_i",
    num_seeds=1,
    max_seeds=1,
    budget=4.0,
)
def cycle(key):
    """From equal weights, and from weights on the cycle itself; learners are used in turn, three of eight."""
    m = jnp.asarray(CYCLE)
    exact, on_cycle = implicit_bias.adaboost(m, 30_000), implicit_bias.adaboost(m, 300, weights=ON_THE_CYCLE)
    small, best = implicit_bias.adaboost(m, 30_000, step=0.1), implicit_bias.max_margin(m, NORMS["l1"])
    turn = jnp.tile(jnp.array([0.0, 2.0, 1.0]), 100)
    return {
        "exact steps": equal(exact.margins.min(), 1 / 3, rtol=1e-4),
        "on the cycle": equal(on_cycle.margins.min(), 1 / 3, rtol=1e-12),
        "learners": equal(on_cycle.trace.learner.astype(float), turn, rtol=0),
        "edges": equal(on_cycle.trace.edge, (ROOT - 1) / 2, rtol=1e-8),
        "largest": equal(best.margin, 0.375, rtol=1e-7),
        "small steps": greater(small.margins.min(), 0.3745),
        "not above the largest": at_most(small.margins.min(), best.upper),
    }


@cycle.control("exact steps taken to reach the largest margin")
def _(key):
    return greater(implicit_bias.adaboost(jnp.asarray(CYCLE), 30_000).margins.min(), 0.3745)
