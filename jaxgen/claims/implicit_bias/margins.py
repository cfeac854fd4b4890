"""Claims about margins and where gradient descent on separable data goes (BIAS-24, BIAS-25, BIAS-27)."""

import math

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias
from jaxgen.claims import at_least, at_most, claim, equal, greater, less
from jaxgen.claims.implicit_bias._separable import BOOK, NORMS, TWO_POINTS, planted, ratio, unit

EUCLIDEAN = NORMS["l2"]
CAP = 1e6
"""A bound on step sizes, eta_+; the descent is of constant steps once the loss is below 1 / (B^2 eta_+)."""


def _with_mean(key, sign):
    """Separable rows and their mean, times a sign; with the label of the mean flipped, sum_i z_i / 8 - mean = 0 has positive weights."""
    z = planted(key)
    return jnp.concatenate([z, sign * z.mean(axis=0, keepdims=True)])


def _late(z, w0, num_steps=20_000):
    """Traces of two halves of a descent with bounded steps."""
    half = num_steps // 2
    first = implicit_bias.steepest_descent_exp(z, EUCLIDEAN, w0, half, learning_rate=CAP, every=half)
    return first, implicit_bias.steepest_descent_exp(z, EUCLIDEAN, first.w, half, learning_rate=CAP, every=half)


@claim(
    "BIAS-24",
    title="On separable data gradient descent on the exponential loss diverges logarithmically, in a direction",
    source=f"{BOOK}, section 8.3, equation (8.24)",
    statement=r"\lVert w_t \rVert / \log t \to 1 / \gamma, \quad w_t / \lVert w_t \rVert \text{ converges}, \qquad"
    r" \gamma = \max_{\lVert w \rVert \le 1} \min_i y_i w^\top x_i",
    num_seeds=16,
    budget=5.0,
)
def divergence(key):
    """Between 10,000 and 20,000 steps of constant size; what is left of the limit is a power of t."""
    z = _with_mean(key, 1)
    first, second = _late(z, jnp.zeros(4))
    gamma = implicit_bias.max_margin(z, EUCLIDEAN).margin
    return {
        "growth": equal(gamma * (second.norm[-1] - first.norm[-1]) / math.log(2), 1.0, rtol=0.08),
        "direction": at_most(jnp.linalg.norm(unit(second.w) - unit(first.w)), 0.02),
        "loss": less(second.log_loss[-1], -15.0),
    }


@divergence.control("one label flipped so that the loss has a finite minimizer, where iterates stay bounded", fails="every")
def _(key):
    z = _with_mean(key, -1)
    first, second = _late(z, jnp.zeros(4))
    return {"growth": at_least(second.norm[-1] - first.norm[-1], 1e-3), "loss": less(second.log_loss[-1], -15.0)}


LOG_LOSSES = {
    "exp": implicit_bias.log_exp_loss,
    "logistic": implicit_bias.log_logistic_loss,
    "sigmoid": implicit_bias.log_sigmoid_loss,
}


def _direction_at(z, loss, log_loss, num_steps=4000):
    """The direction of loss-normalized gradient descent where the logarithm of its loss has fallen to a value, and that logarithm."""
    rate = 1 / jnp.sum(z**2, axis=1).max()

    def step(w, _):
        m = z @ w
        moved = w + rate * implicit_bias.margin_weights(m, loss=loss) @ z
        return jnp.where(LOG_LOSSES[loss](m) > log_loss, moved, w), None

    w, _ = jax.lax.scan(step, jnp.zeros(z.shape[1]), None, length=num_steps)
    return unit(w), LOG_LOSSES[loss](z @ w)


def _directions(key, log_loss):
    z = planted(key)
    found = {loss: _direction_at(z, loss, log_loss) for loss in LOG_LOSSES}
    checks = {f"{loss}: log-loss": equal(reached, log_loss, rtol=0, atol=2.0) for loss, (_, reached) in found.items()}
    distances = {f"{loss}: direction": jnp.linalg.norm(found[loss][0] - found["exp"][0]) for loss in ("logistic", "sigmoid")}
    return checks | {name: at_most(distance, 1e-2) for name, distance in distances.items()}


@claim(
    "BIAS-24.tails",
    title="Losses with an exponential tail lead in one direction",
    source=f"{BOOK}, section 8.3",
    statement=r"\ell(m) = e^{-m}, \; \log(1 + e^{-m}), \; (1 + e^m)^{-1}: \quad"
    r" w_t / \lVert w_t \rVert \text{ agree at equal } \log L = -40",
    budget=3.0,
)
def tails(key):
    return _directions(key, -40.0)


@tails.control("at a log-loss of zero, where the losses are not yet their tails", fails="some")
def _(key):
    return _directions(key, 0.0)


def _half_open(key):
    """Five rows in the span of three axes with positive weights that cancel, and three rows whose fourth entry is positive."""
    flat = planted(key, n=4, d=3)
    flat = jnp.pad(jnp.concatenate([flat, -flat.mean(axis=0, keepdims=True)]), ((0, 0), (0, 1)))
    rows = jax.random.normal(jax.random.fold_in(key, 1), (4, 4))
    return jnp.concatenate([flat, rows.at[:, 3].set(jnp.abs(rows[:, 3]) + 0.5)])


@claim(
    "BIAS-24.minimizer",
    title="The exponential loss has a finite minimizer if and only if no direction helps one example and hurts none",
    source=f"{BOOK}, section 8.3, where data that are not separable can have one; the condition is added",
    statement=r"\arg\min L \neq \emptyset \iff \nexists w: Z w \ge 0, \, Z w \neq 0 \iff \exists \lambda > 0: Z^\top \lambda = 0",
    budget=6.0,
)
def finite_minimizer(key):
    """Certificates of separable data, of data with a finite minimizer, and of data with neither, and what gradient descent does there."""
    ones = jnp.ones(9)
    sets = jnp.stack([_with_mean(key, 1), _with_mean(key, -1), _half_open(key)])
    separable, certificate = jax.vmap(lambda z: implicit_bias.is_separable(z, ones))(sets)
    run = jax.vmap(lambda z: implicit_bias.steepest_descent_exp(z, EUCLIDEAN, jnp.zeros(4), 20_000, every=10_000))(sets)
    balance = jnp.abs(jnp.einsum("kn,knd->kd", certificate.multipliers, sets)).max(axis=1) / jnp.abs(sets).max()
    margins = jnp.einsum("knd,kd->kn", sets, certificate.w)
    return {
        "separable": equal(separable.astype(float), jnp.array([1.0, 0.0, 0.0]), rtol=0),
        "finite": equal(certificate.finite_minimizer.astype(float), jnp.array([0.0, 1.0, 0.0]), rtol=0),
        "w separates": greater(margins[0], 0.0),
        "weights cancel": at_most(balance[1:], 1e-7),
        "weights are positive": greater(certificate.multipliers[1], 0.0),
        "bounded": at_most(run.norm[1, -1] - run.norm[1, 1], 1e-3),
        "unbounded": at_least(run.norm[2, -1] - run.norm[2, 1], 1e-2),
    }


@finite_minimizer.control("data that are not separable taken to have a finite minimizer", fails="every")
def _(key):
    z = _half_open(key)
    separable, _ = implicit_bias.is_separable(z, jnp.ones(9))
    run = implicit_bias.steepest_descent_exp(z, EUCLIDEAN, jnp.zeros(4), 20_000, every=10_000)
    return {"not separable": equal(separable.astype(float), 0.0, rtol=0), "bounded": at_most(run.norm[-1] - run.norm[1], 1e-2)}


@claim(
    "BIAS-24.flow",
    title="Gradient flow of the exponential loss on one example, in closed form",
    source=f"{BOOK}, section 8.3 (added)",
    statement=r"w_t = \frac{\hat x}{\lVert x \rVert} \log(1 + \lVert x \rVert^2 t), \quad L(w_t) = \frac{1}{1 + \lVert x \rVert^2 t}",
    core=True,
)
def one_example(key):
    x, times = jax.random.normal(key, (3,)), jnp.array([0.1, 1.0, 10.0, 100.0])
    w = implicit_bias.steepest_flow(EUCLIDEAN, lambda w: -jnp.exp(-x @ w) * x, jnp.zeros(3), times)
    square = x @ x
    logs = jax.vmap(lambda w: implicit_bias.log_exp_loss(implicit_bias.margins(w, x[None], jnp.ones(1))))(w)
    return {
        "iterate": equal(w, x / square * jnp.log1p(square * times)[:, None], rtol=1e-6, atol=1e-9),
        "loss": equal(logs, -jnp.log1p(square * times), rtol=1e-6),
    }


@one_example.control("time not scaled by the squared length of the example", fails="every")
def _(key):
    x, times = jax.random.normal(key, (3,)), jnp.array([0.1, 1.0, 10.0, 100.0])
    w = implicit_bias.steepest_flow(EUCLIDEAN, lambda w: -jnp.exp(-x @ w) * x, jnp.zeros(3), times)
    return equal(w, x / (x @ x) * jnp.log1p(times)[:, None], rtol=1e-6, atol=1e-9)


@claim(
    "BIAS-25",
    title="Gradient descent converges in direction to the separator of the largest Euclidean margin",
    source=f"{BOOK}, theorem 8.3.1, equations (8.25) and (8.26); Soudry et al. 2018; Nacson et al. 2019",
    statement=r"w_t = \hat w \log t + O(1), \qquad \hat w = \arg\min \lVert w \rVert^2 \text{ s.t. } y_i w^\top x_i \ge 1",
    num_seeds=16,
    budget=6.0,
)
def largest_margin(key):
    """The source's (8.26) prints x_n for x_i, and forgets that steps must be bounded."""
    z, start = planted(key), jax.random.normal(jax.random.fold_in(key, 1), (4,))
    best = implicit_bias.max_margin(z, EUCLIDEAN)
    separator = best.w / best.margin
    first, second = _late(z, start)
    normalized = implicit_bias.steepest_descent_exp(z, EUCLIDEAN, start, 4000, mode="normalized", every=4000)
    slope = (second.w - first.w) / math.log(2)
    return {
        "margin": greater(ratio(second, best.margin), 0.95),
        "slope in log t": at_most(jnp.linalg.norm(slope - separator), 0.1 * jnp.linalg.norm(separator)),
        "margin, normalized steps": greater(ratio(normalized, best.margin), 0.99),
        "no margin is larger": at_most(jnp.array([ratio(second, best.margin), ratio(normalized, best.margin)]), 1.0, slack=1e-7),
    }


@largest_margin.control("the separator of the largest l1 margin", fails="some")
def _(key):
    z = planted(key)
    first, second = _late(z, jnp.zeros(4))
    best = implicit_bias.max_margin(z, NORMS["l1"])
    slope, separator = (second.w - first.w) / math.log(2), best.w / best.margin
    return at_most(jnp.linalg.norm(slope - separator), 0.1 * jnp.linalg.norm(separator))


def _two_ends(key, square):
    """Directions of the limits from two starts, of four examples in eight dimensions."""
    x, starts = jax.random.normal(key, (4, 8)), 2 * jax.random.normal(jax.random.fold_in(key, 1), (2, 8))
    ones = jnp.ones(4)
    if square:
        ends = jax.vmap(lambda w0: implicit_bias.min_norm_interpolator(x, ones, w0))(starts)
    else:
        ends = jax.vmap(lambda w0: implicit_bias.steepest_descent_exp(x, EUCLIDEAN, w0, 40_000, mode="normalized", every=40_000).w)(starts)
    return unit(ends[0]), unit(ends[1])


@claim(
    "BIAS-25.start",
    title="The direction does not depend on the start",
    source=f"{BOOK}, theorem 8.3.1",
    statement=r"\lim w_t / \lVert w_t \rVert \text{ is one for all } w_0",
    budget=2.0,
)
def start(key):
    """In more dimensions than examples, where the limit of the squared loss is the interpolator nearest to the start."""
    ends = _two_ends(key, square=False)
    return at_most(jnp.linalg.norm(ends[0] - ends[1]), 0.02)


@start.control("the squared loss on the same data", fails="every")
def _(key):
    ends = _two_ends(key, square=True)
    return at_most(jnp.linalg.norm(ends[0] - ends[1]), 0.02)


def _intervals(z, key, norm):
    """Intervals of weak duality at points of many scales, and the softmax weights there."""
    points = jnp.logspace(-1, math.log10(30), 12)[:, None] * jax.random.normal(key, (12, 4))
    lower, upper = jax.vmap(lambda w: implicit_bias.margin_gap(w, z, norm))(points)
    return lower, upper, jax.vmap(lambda w: implicit_bias.margin_weights(z @ w))(points)


@claim(
    "BIAS-27",
    title="Gradient domination is weak duality for the margin",
    source=f"{BOOK}, proposition 8.3.3",
    statement=r"\min_i \frac{(Z w)_i}{\lVert w \rVert} \le \gamma \le \frac{\lVert \nabla L(w) \rVert_*}{L(w)}"
    r" = \lVert Z^\top \lambda \rVert_*, \quad \lambda = \mathrm{softmax}(-Z w), \qquad"
    r" \gamma = \min_{\lambda \in \Delta} \lVert Z^\top \lambda \rVert_*",
    num_seeds=8,
    budget=8.0,
)
def gradient_domination(key):
    """At random points, with the strong duality of `max_margin` in three norms, and with equality for a single example."""
    z, checks, x = planted(key), {}, jax.random.normal(jax.random.fold_in(key, 2), (1, 4))
    for name, norm in NORMS.items():
        lower, upper, weights = _intervals(z, jax.random.fold_in(key, 1), norm)
        checks[f"{name}: weak duality"] = at_most(lower.max(), upper.min(), slack=1e-12)
        checks[f"{name}: softmax"] = equal(upper, jax.vmap(lambda q, norm=norm: norm.dual(q @ z))(weights), rtol=1e-12)
        gap = implicit_bias.margin_gap(norm.steepest(-x[0]), x, norm)
        checks[f"{name}: one example"] = equal(jnp.stack(gap), norm.dual(x[0]), rtol=1e-10)
        if name in ("l1", "l2", "linf"):
            best = implicit_bias.max_margin(z, norm)
            checks[f"{name}: lower"] = at_most(lower, best.upper, slack=1e-12)
            checks[f"{name}: upper"] = at_least(upper, best.lower, slack=1e-12)
            checks[f"{name}: strong duality"] = equal(best.lower, best.upper, rtol=1e-6)
    return checks


@gradient_domination.control("the norm of l_inf in place of its dual", fails="every")
def _(key):
    z, norm = planted(key), NORMS["linf"]
    weights = _intervals(z, jax.random.fold_in(key, 1), norm)[2]
    return at_least(jax.vmap(lambda q: norm.value(q @ z))(weights), implicit_bias.max_margin(z, norm).lower)


@claim(
    "BIAS-27.values",
    title="The largest margins of two symmetric pairs of examples",
    source=f"{BOOK}, section 8.3 (added)",
    statement=r"x = (2, \tfrac12), (\tfrac12, 2): \; \gamma_1 = \tfrac54, \; \gamma_2 = \tfrac{5}{2 \sqrt 2}, \; \gamma_\infty = \tfrac52;"
    r" \qquad x = e_1, e_2: \; \gamma_2 = \tfrac{1}{\sqrt 2}, \; \hat w = (1, 1)",
    num_seeds=1,
    max_seeds=1,
    budget=6.0,
)
def known_margins(key):
    """Values that stand in BIAS-25 and BIAS-26."""
    z, axes = jnp.array(TWO_POINTS), implicit_bias.max_margin(jnp.eye(2), EUCLIDEAN)
    found = [implicit_bias.max_margin(z, NORMS[name]).margin for name in ("l1", "l2", "linf")]
    return {
        "margins": equal(jnp.stack(found), jnp.array([1.25, 2.5 / math.sqrt(2), 2.5]), rtol=1e-7),
        "unit vectors": equal(axes.margin, 1 / math.sqrt(2), rtol=1e-7),
        "separator": equal(axes.w / axes.margin, jnp.ones(2), rtol=1e-6),
    }


@known_margins.control("the separator of margin one taken for the unit vector")
def _(key):
    return equal(implicit_bias.max_margin(jnp.eye(2), EUCLIDEAN).w, jnp.ones(2), rtol=1e-6)
