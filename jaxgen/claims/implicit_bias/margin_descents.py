"""Claims about the proof that steepest descent maximizes the margin of its norm, and what it rests on (BIAS-26, BIAS-28)."""

import math

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias
from jaxgen.claims import at_most, claim, equal, greater, less, ordered
from jaxgen.claims.implicit_bias._separable import BOOK, NORMS, planted, ratio, unit

ROUNDING = 1e-10
"""Of sums of 20,000 terms, relative to them."""

PROOF = ("loss", "margin", "norm", "normalized_margin", "limit")
STATEMENT = (
    r"L(w_{t+1}) \le L(w_0) e^{-A + C}, \; \min_i \langle w_{t+1}, z_i \rangle \ge A - C - \log L(w_0), \;"
    r" \lVert w_{t+1} \rVert \le \lVert w_0 \rVert + S, \quad A = \sum_u \frac{\eta_u \gamma_u^2}{L(w_u)}, \;"
    r" C = \sum_u \frac{\eta_u^2 B^2 \gamma_u^2}{2}, \; S = \sum_u \eta_u \gamma_u"
)


def _holds(inequality):
    """At every step, up to rounding."""
    lower, upper = inequality
    return at_most(lower, upper, slack=ROUNDING * (1 + jnp.maximum(jnp.abs(lower), jnp.abs(upper))))


def _run(z, norm, w0, num_steps, **options):
    """A run, with every inequality at every step."""
    trace = implicit_bias.steepest_descent_exp(z, norm, w0, num_steps, **options)
    found = implicit_bias.margin_certificates(trace)._asdict()
    checks = {name: _holds(found[name]) for name in PROOF}
    return trace, checks | {"monotone": less(trace.log_loss[1:], trace.log_loss[:-1])}


def _upper(z, norm):
    """An upper bound on the largest margin: by `max_margin` for l1 and linf, by weak duality along a run for others."""
    if norm.p in (1, math.inf):
        return implicit_bias.max_margin(z, norm).upper
    return implicit_bias.steepest_descent_exp(z, norm, jnp.zeros(4), 4000, mode="normalized").gradient.min()


def _reaches(trace, upper, least):
    """A normalized margin above `least` of the largest, and not above that."""
    return {"margin": greater(ratio(trace, upper), least), "no larger": at_most(ratio(trace, upper), 1.0, slack=ROUNDING)}


def _of_norms(key, least, num_steps, **options):
    """From zero, where the loss is 8."""
    z, checks = planted(key), {}
    for name, norm in NORMS.items():
        trace, found = _run(z, norm, jnp.zeros(4), num_steps, **options)
        found |= _reaches(trace, _upper(z, norm), least)
        checks |= {f"{name}: {part}": check for part, check in found.items()}
    return checks


@claim(
    "BIAS-26",
    title="Steepest descent with bounded steps maximizes the margin of its own norm, with a certificate at every step",
    source=f"{BOOK}, theorem 8.3.2, equations (8.28) to (8.34); Gunasekar et al. 2018",
    statement=r"\eta_t \le \min\{\eta_+, \tfrac{1}{B^2 L(w_t)}\}: \quad \frac{\min_i \langle w_t, z_i \rangle}{\lVert w_t \rVert} \to \gamma; \quad "
    + STATEMENT,
    num_seeds=64,
    chunk_size=16,
    budget=12.0,
)
def bounded_steps(key):
    """The source misprints the step bound and the limit, and divides by ||w|| what may be negative."""
    return _of_norms(key, 0.94, 20_000, mode="bounded", learning_rate=100.0)


@bounded_steps.control("a step size of a hundred times 1 / (B^2 L)", fails="some")
def _(key):
    return _run(planted(key), NORMS["l2"], jnp.zeros(4), 100, mode="normalized", learning_rate=100.0)[1]


@bounded_steps.control("the l2 margin of steepest descent in l1", fails="some")
def _(key):
    z = planted(key)
    w, best = (implicit_bias.steepest_descent_exp(z, NORMS[name], jnp.zeros(4), 4000, mode="normalized", every=4000).w for name in ("l1", "l2"))
    margin, largest = (implicit_bias.normalized_margin(v, z, jnp.ones(8), NORMS["l2"]) for v in (w, best))
    return greater(margin / largest, 0.94)


@claim(
    "BIAS-26.normalized",
    title="Steps normalized by the loss maximize the margin at a rate of a power of their number",
    source=f"{BOOK}, theorem 8.3.2; Nacson et al. 2019",
    statement=r"\eta_t = \frac{c}{B^2 L(w_t)}, \; c \le 1: \quad \text{the same}; \quad " + STATEMENT,
    num_seeds=64,
    chunk_size=16,
    budget=12.0,
)
def normalized_steps(key):
    """And the certificates from a start where the loss is below 1, and its logarithm negative.

    A quarter of 1 / (B^2 L), since in norms with corners full steps may circle below the largest margin, if by 1 % on one seed in 64.
    """
    z = planted(key)
    _, found = _run(z, NORMS["l2"], 3 * z.mean(axis=0), 1000, mode="normalized")
    return _of_norms(key, 0.988, 20_000, mode="normalized", learning_rate=0.25) | {f"start below 1: {part}": check for part, check in found.items()}


@normalized_steps.control("bounded steps in the same time", fails="some")
def _(key):
    z = planted(key)
    trace = implicit_bias.steepest_descent_exp(z, NORMS["l2"], jnp.zeros(4), 20_000, learning_rate=100.0, every=20_000)
    return _reaches(trace, _upper(z, NORMS["l2"]), 0.988)


@claim(
    "BIAS-26.spectral",
    title="The same with the spectral norm of matrices",
    source=f"{BOOK}, theorem 8.3.2",
    statement=r"\lVert W \rVert = \sigma_1(W), \; \lVert G \rVert_* = \sum_i \sigma_i(G): \quad " + STATEMENT,
    num_seeds=64,
    budget=10.0,
)
def spectral_norm(key):
    z, norm = planted(key).reshape(8, 2, 2), implicit_bias.spectral_norm()
    trace, found = _run(z, norm, jnp.zeros((2, 2)), 4000, mode="normalized")
    return found | _reaches(trace, implicit_bias.max_margin(z, norm).upper, 0.988)


@spectral_norm.control("the Frobenius norm of the iterate", fails="some")
def _(key):
    z, norm = planted(key).reshape(8, 2, 2), implicit_bias.spectral_norm()
    trace = implicit_bias.steepest_descent_exp(z, norm, jnp.zeros((2, 2)), 4000, mode="normalized", every=4000)
    return greater(implicit_bias.normalized_margin(trace.w, z, jnp.ones(8), NORMS["l2"]) / implicit_bias.max_margin(z, norm).upper, 0.988)


def _opposed(key):
    """Four pairs of opposed rows, moved along one direction so that they are separable, and a start away from zero."""
    rows, start = jax.random.normal(key, (4, 4)), jax.random.normal(jax.random.fold_in(key, 1), (4,))
    return jnp.concatenate([rows, -rows]).at[:, 0].set(0.3), start


def _constant(z, w0, norm, factor=1.0, num_steps=20_000, **options):
    """A run whose step size is `factor` times the largest that the proposition allows, and that step size."""
    rate = factor / (jax.vmap(norm.dual)(z).max() ** 2 * jnp.exp(implicit_bias.log_exp_loss(z @ w0)))
    return rate, implicit_bias.steepest_descent_exp(z, norm, w0, num_steps, learning_rate=rate, mode="constant", **options)


@claim(
    "BIAS-28",
    title="What a constant step size does to the exponential loss, its gradients and their sums",
    source=f"{BOOK}, proposition 8.3.4, in quantities",
    statement=r"\eta \le \frac{1}{B^2 L(w_0)}: \quad L(w_{t+1}) \le L(w_t) - \tfrac\eta2 \gamma_t^2, \quad"
    r" \sum_t \gamma_t^2 \le \frac{2 L(w_0)}{\eta}, \quad L(w_t) \le \frac{1}{1 / L(w_0) + \eta \gamma^2 t / 2}, \quad"
    r" \eta \gamma \sum_{u \le t} \gamma_u \sim \log t",
    num_seeds=32,
    budget=8.0,
)
def constant_steps(key):
    """The source's second item prints the primal norm of gradients; the dual one is meant."""
    checks = {}
    z, w0 = _opposed(key)
    for name in ("l1", "l2", "linf"):
        _, trace = _constant(z, w0, NORMS[name])
        found = implicit_bias.margin_certificates(trace)
        checks |= {f"{name}: {part}": _holds(getattr(found, part)) for part in ("descent", "energy", "rate")}
        checks[f"{name}: margin grows"] = greater(trace.margin[-1], trace.margin[10_000])
    z = planted(key)
    rate, trace = _constant(z, jnp.zeros(4), NORMS["l2"], every=10_000)
    late = rate * _upper(z, NORMS["l2"]) * (trace.gradient_sum[2] - trace.gradient_sum[1])
    return checks | {"sum of gradients": equal(late, math.log(2), rtol=0.15)}


@constant_steps.control("a step size ten times as large", fails="some")
def _(key):
    z, w0 = _opposed(key)
    return ordered(_constant(z, w0, NORMS["l2"], factor=10.0, num_steps=1)[1].log_loss, decreasing=True)


@constant_steps.control("squared gradients in the primal norm, as printed", fails="some")
def _(key):
    z, w0 = _opposed(key)
    rate, _ = _constant(z, w0, NORMS["l1"], num_steps=1)

    def gradient(w):
        return -jnp.exp(-z @ w) @ z

    def record(w, gradient, t):
        return jnp.abs(gradient).sum() ** 2

    _, squares = implicit_bias.steepest_descent(NORMS["l1"], gradient, w0, jnp.full(2000, rate), record=record)
    return at_most(rate * squares.sum(), 2 * jnp.exp(-z @ w0).sum())


def _one_example(key):
    """Log-losses of small steps on one example of norm one, their times and their step size."""
    x, w0 = jax.random.normal(key, (2, 3))
    trace = implicit_bias.steepest_descent_exp(unit(x)[None], NORMS["l2"], w0, 10_000, learning_rate=1e-3, mode="constant", every=1000)
    return trace.log_loss, 1e-3 * trace.step, 1e-3


@claim(
    "BIAS-28.flow",
    title="The loss of one example of norm one falls as 1 / t",
    source=f"{BOOK}, proposition 8.3.4 (added)",
    statement=r"L' = -L^2, \qquad L(w_t) = \frac{1}{1 / L(w_0) + t}",
    core=True,
    num_seeds=8,
)
def one_example(key):
    """By small steps of gradient descent, so up to their size times the loss at the start and logarithms."""
    logs, times, rate = _one_example(key)
    gap = jnp.abs(logs + jnp.log(jnp.exp(-logs[0]) + times))
    return at_most(gap, rate * jnp.exp(logs[0]) * (1 + jnp.log1p(times * jnp.exp(logs[0]))))


@one_example.control("the loss at the start forgotten", fails="some")
def _(key):
    logs, times, rate = _one_example(key)
    return at_most(jnp.abs(logs + jnp.log(1 + times)), rate * jnp.exp(logs[0]) * (1 + jnp.log1p(times * jnp.exp(logs[0]))))
