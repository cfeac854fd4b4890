"""Claims about limits of mirror descent, and mirror flow as natural gradient flow (BIAS-6 to BIAS-8)."""

import functools

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias
from jaxgen.claims import at_most, claim, converges, equal, greater, less, ordered
from jaxgen.claims.implicit_bias._interpolation import BOOK, gradient, iterate, regression

SHAPE = (3, 8)
LIMIT = 1e-7
NUM_STEPS = 1500

POTENTIALS = {
    "squared": (implicit_bias.squared_l2, 0.3, 0.1),
    "entropy": (implicit_bias.entropy, 1.0, 0.04),
}
"""Each with a start, a multiple of the vector of ones, and a learning rate at which mirror descent converges."""

CATALOGUE = {
    "hyperbolic entropy": (functools.partial(implicit_bias.hyperbolic_entropy, 0.5), 0.0, 0.025),
    "l_1.5": (functools.partial(implicit_bias.lp_squared, 1.5), 0.1, 0.04),
    "depth 3": (functools.partial(implicit_bias.diagonal_depth, 0.8, 3), 0.0, 0.008),
    "power": (functools.partial(implicit_bias.power_positive, 3.0), 0.5, 0.008),
}


def _limits(key, potential, x, y, w0, rate):
    """Where mirror descent ends with constant and decreasing rates, one example at a time, and on another loss, in one program."""
    steps, n = jnp.arange(float(NUM_STEPS)), len(y)
    rows = jax.random.randint(jax.random.fold_in(key, 3), (NUM_STEPS,), 0, n)
    everything = jnp.ones((NUM_STEPS, n))
    weights = jnp.stack([everything, everything, jax.nn.one_hot(rows, n), everything])
    rates = rate * jnp.stack([jnp.ones(NUM_STEPS), 1.5 / (1 + steps / 500) ** 0.5, jnp.ones(NUM_STEPS), jnp.ones(NUM_STEPS)])

    def limit(weights, rates, log_cosh):
        def grad_fn(w, weights):
            residual = jnp.tensordot(x, w, w.ndim) - y
            return 2 * jnp.tensordot(weights * jnp.where(log_cosh, jnp.tanh(residual), residual), x, 1)

        return implicit_bias.mirror_descent(potential, grad_fn, w0, rates, batch_indices=weights)[0]

    found = jax.vmap(limit)(weights, rates, jnp.array([False, False, False, True]))
    return dict(zip(("constant rate", "decreasing rates", "one example", "log cosh loss"), found, strict=True))


def _limit(potential, x, y, w0, rate):
    return implicit_bias.mirror_descent(potential, gradient(x, y), w0, jnp.full(NUM_STEPS, rate))[0]


def _checks(name, key, potential, x, y, w0, rate):
    limits, found = _limits(key, potential, x, y, w0, rate), implicit_bias.bregman_interpolator(potential, x, y, w0)
    checks = {f"{name}: {kind}": equal(w, found.w, rtol=0, atol=LIMIT) for kind, w in limits.items()}
    kkt = implicit_bias.bregman_kkt_residual(potential, x, y, limits["constant rate"], w0)
    checks[f"{name}: KKT"] = at_most(jnp.stack(kkt), LIMIT)
    checks[f"{name}: dual value"] = equal(found.lower, found.divergence, rtol=1e-10, atol=1e-10)
    return checks


def _of(table, key):
    x, y = regression(key, *SHAPE, positive=True)
    checks = {}
    for name, (make, start, rate) in table.items():
        checks |= _checks(name, key, make(), x, y, jnp.full(SHAPE[1], start), rate)
    return checks


@claim(
    "BIAS-6",
    title="Mirror descent ends in the Bregman projection of its start on the interpolators",
    source=f"{BOOK}, theorem 8.1.2 and footnote 2",
    statement=r"X w_\infty = y: \quad w_\infty = \arg\min_{X w = y} D_R(w, w_0), \qquad"
    r" \nabla R(w_\infty) - \nabla R(w_0) \in \operatorname{rowspan} X",
    core=True,
    num_seeds=4,
    budget=5.0,
)
def bregman_projection(key):
    """The Lagrangian of the proof prints lambda_i x_i for lambda_i <x_i, w>. Four ways to descend."""
    return _of(POTENTIALS, key)


@bregman_projection.control("the conditions of another potential")
def _(key):
    x, y = regression(key, *SHAPE, positive=True)
    w = _limit(implicit_bias.entropy(), x, y, jnp.ones(SHAPE[1]), 0.04)
    return at_most(implicit_bias.bregman_kkt_residual(implicit_bias.squared_l2(), x, y, w, jnp.ones(SHAPE[1])).stationarity, 1e-2)


@bregman_projection.control("the projection of another start")
def _(key):
    x, y = regression(key, *SHAPE, positive=True)
    w = _limit(implicit_bias.entropy(), x, y, jnp.ones(SHAPE[1]), 0.04)
    other = implicit_bias.bregman_interpolator(implicit_bias.entropy(), x, y, 0.5 + jnp.arange(8.0) / 8)
    return equal(w, other.w, rtol=0, atol=1e-2)


@bregman_projection.control("steepest descent in l_4/3, whose square is a potential")
def _(key):
    x, y = regression(key, *SHAPE, positive=True)
    w, _ = implicit_bias.steepest_descent(implicit_bias.lp_norm(4 / 3), gradient(x, y), jnp.zeros(8), jnp.full(1000, 0.05))
    return equal(w, implicit_bias.min_norm_interpolator_lp(x, y, 4 / 3), rtol=0, atol=1e-3)


@claim(
    "BIAS-6.catalogue",
    title="The Bregman projection for the hyperbolic entropy and potentials made of powers",
    source=f"{BOOK}, theorem 8.1.2",
    statement=r"R_\alpha \text{ of } u^2 - v^2, \quad R_\alpha \text{ of } u^3 - v^3, \quad \frac12 \lVert w \rVert_{3/2}^2,"
    r" \quad -\frac12 \sum_i w_i^{2/3}",
    num_seeds=4,
    budget=9.0,
)
def projections(key):
    return _of(CATALOGUE, key)


@projections.control("diagonal nets of depth 2 for those of depth 3")
def _(key):
    x, y = regression(key, *SHAPE, positive=True)
    make, start, rate = CATALOGUE["depth 3"]
    w = _limit(make(), x, y, jnp.full(8, start), rate)
    return equal(w, implicit_bias.bregman_interpolator(implicit_bias.hyperbolic_entropy(0.8), x, y, jnp.zeros(8)).w, rtol=0, atol=LIMIT)


def _matrices(key, *, definite):
    """Three measurements of a 3 x 3 matrix, by symmetric matrices of a positive one if `definite`."""
    w = jax.random.normal(jax.random.fold_in(key, 1), (3, 3))
    if definite:
        entries, _ = regression(key, 3, 6)
        upper = jnp.zeros((3, 3, 3)).at[:, *jnp.triu_indices(3, 1)].set(entries[:, 3:]) / jnp.sqrt(2.0)
        x, w = jax.vmap(jnp.diag)(entries[:, :3]) + upper + upper.mT, w @ w.T / 3 + jnp.eye(3)
    else:
        x = regression(key, 3, 9)[0].reshape(3, 3, 3)
    return x, jnp.tensordot(x, w, 2)


@claim(
    "BIAS-6.spectral",
    title="The Bregman projection for potentials of matrices and of the simplex",
    source=f"{BOOK}, theorem 8.1.2; Ghai, Hazan & Singer 2020",
    statement=r"R(W) = \operatorname{tr}(W \log W - W), \; W \succ 0; \quad \text{hyperbolic entropy of singular values}; \quad"
    r" \sum_i w_i \log w_i \text{ on the simplex}",
    num_seeds=4,
    budget=12.0,
)
def projection_of_matrices(key):
    """Only on definite matrices is the entropy of the spectrum convex. On the simplex the vector of ones is an example, with target 1."""
    x, _ = regression(key, *SHAPE)
    x, hidden = jnp.concatenate([x, jnp.ones((1, 8))]), jax.nn.softmax(0.5 * jax.random.normal(key, (8,)))
    return {
        **_checks("simplex", key, implicit_bias.simplex_entropy(), x, x @ hidden, jnp.full(8, 1 / 8), 0.6),
        **_checks("positive matrices", key, implicit_bias.spectral_entropy(), *_matrices(key, definite=True), jnp.eye(3), 0.03),
        **_checks("matrices", key, implicit_bias.spectral_hyperbolic_entropy(0.5), *_matrices(key, definite=False), jnp.zeros((3, 3)), 0.05),
    }


@projection_of_matrices.control("the nearest matrix in the Frobenius norm")
def _(key):
    x, y = _matrices(key, definite=True)
    w = _limit(implicit_bias.spectral_entropy(), x, y, jnp.eye(3), 0.03)
    return equal(w, implicit_bias.bregman_interpolator(implicit_bias.squared_l2(), x, y, jnp.eye(3)).w, rtol=0, atol=1e-3)


@claim(
    "BIAS-6.closed",
    title="Bregman projections in closed form, and the minimum of R for a start where its gradient vanishes",
    source=f"{BOOK}, theorem 8.1.2",
    statement=r"\mathbf 1^\top w = s: \; w = w_0 s / \mathbf 1^\top w_0 \text{ for the entropy}; \qquad"
    r" \nabla R(w_0) = 0: \; w_\infty = \arg\min_{X w = y} R(w)",
)
def closed_forms(key):
    """The entropy on one sum, the quadratic potential, and the hyperbolic entropy against 20 other interpolators."""
    x, y = regression(key, *SHAPE)
    start, root = jax.random.uniform(key, (8,), minval=0.1, maxval=2.0), jax.random.normal(jax.random.fold_in(key, 1), (8, 8))
    metric, hyperbolic = root @ root.T + jnp.eye(8), implicit_bias.hyperbolic_entropy(0.3)
    scaled = implicit_bias.bregman_interpolator(implicit_bias.entropy(), jnp.ones((1, 8)), jnp.array([5.0]), start).w
    quadratic = implicit_bias.bregman_interpolator(implicit_bias.quadratic(metric), x, y, start).w
    w = implicit_bias.bregman_interpolator(hyperbolic, x, y, jnp.zeros(8)).w
    others = w + jax.random.normal(key, (20, 5)) @ implicit_bias.interpolation_set(x, y, rank=3).nullspace.T
    return {
        "entropy on a sum": equal(scaled, 5 * start / start.sum(), rtol=1e-10),
        "quadratic": equal(quadratic, implicit_bias.min_norm_interpolator(x, y, start, metric), rtol=1e-9, atol=1e-9),
        "least": at_most(hyperbolic.value(w), jax.vmap(hyperbolic.value)(others)),
    }


@closed_forms.control("the excess over the start spread evenly")
def _(key):
    start = jax.random.uniform(key, (8,), minval=0.1, maxval=2.0)
    scaled = implicit_bias.bregman_interpolator(implicit_bias.entropy(), jnp.ones((1, 8)), jnp.array([5.0]), start).w
    return equal(scaled, start + (5 - start.sum()) / 8, rtol=1e-2)


STARTS = (1e-2, 1e-4, 1e-8, 1e-16)


def _norms(key, starts):
    """Norms of the entropy's interpolators from constant starts, the least of all positive interpolators, and one that has it."""
    x, y = regression(key, *SHAPE, positive=True)
    starts = jnp.array(starts)
    found = jax.vmap(lambda e: implicit_bias.bregman_interpolator(implicit_bias.entropy(), x, y, jnp.full(8, e)))(starts)
    least = implicit_bias.min_l1_interpolator(x, y, nonnegative=True)
    return found.w.sum(axis=1), least.sum(), least


@claim(
    "BIAS-7",
    title="From a small start the entropy's interpolator has nearly the least l_1 norm of the nonnegative ones",
    source=f"{BOOK}, theorem 8.1.2, a corollary; the bound is derived",
    statement=r"w_0 = \varepsilon \mathbf 1: \quad 0 \le \lVert w_\varepsilon \rVert_1 - \lVert w_* \rVert_1 \le"
    r" \frac{d + \sum_i w_{*i} \log w_{*i} - w_{*i}}{\log(1 / \varepsilon)}, \quad w_* = \arg\min_{X w = y, \, w \ge 0} \lVert w \rVert_1",
    num_seeds=8,
    budget=7.0,
)
def small_start(key):
    """From 1e-2 to 1e-16. The bound compares the minimized objective with that of w_*, as w log w - w is at least -1."""
    norms, least, w = _norms(key, STARTS)
    return {
        "decreasing": ordered(norms, decreasing=True),
        "ratio": less(norms[-1] / least, 1.02),
        "not below": at_most(least, norms, slack=1e-9),
        "rate": at_most(norms - least, _bound(w, STARTS), slack=1e-9),
    }


def _bound(w, starts):
    return (len(w) + implicit_bias.entropy().value(w)) / -jnp.log(jnp.array(starts))


@small_start.control("a start of 10")
def _(key):
    norms, least, _ = _norms(key, (10.0,))
    return less(norms / least, 1.02)


@small_start.control("a start of one against the bound for 1e-16")
def _(key):
    norms, least, w = _norms(key, (1.0,))
    return at_most(norms - least, _bound(w, STARTS[-1:]))


TIMES = (0.0, 0.1, 0.3, 1.0, 3.0)


def _logistic(key, potential, form="dual"):
    """The mirror flow to a point b, and the exact solution of w' = w (b - w), which the entropy's is."""
    b, w0 = jax.random.uniform(key, (2, 4), minval=0.1, maxval=2.0)
    times = jnp.array(TIMES)
    path = implicit_bias.mirror_flow(potential, lambda w: w - b, w0, times, form=form)
    return path, b / (1 + (b / w0 - 1) * jnp.exp(-b * times[:, None]))


@claim(
    "BIAS-8",
    title="Mirror flow is gradient flow in the metric of the potential's Hessian",
    source=f"{BOOK}, equations (8.6) and (8.8)",
    statement=r"\frac{d}{dt} \nabla R(w_t) = -\nabla L(w_t) \iff \dot w_t = -\nabla^2 R(w_t)^{-1} \nabla L(w_t)",
    num_seeds=4,
    budget=6.0,
)
def natural_gradient_flow(key):
    """Of the hyperbolic entropy. The source calls the mirror trajectory x_t where it introduces the two flows; it is w_t."""
    x, y = regression(key, *SHAPE)
    w0 = jax.random.normal(jax.random.fold_in(key, 1), (8,))
    dual, primal = (
        implicit_bias.mirror_flow(implicit_bias.hyperbolic_entropy(0.5), gradient(x, y), w0, jnp.array(TIMES), form=form)
        for form in ("dual", "primal")
    )
    return equal(primal, dual, rtol=0, atol=LIMIT)


@natural_gradient_flow.control("the Hessian in place of its inverse")
def _(key):
    potential = implicit_bias.entropy()
    path, exact = _logistic(key, potential._replace(inverse_hessian_vector=potential.hessian_vector), "primal")
    return equal(path, exact, rtol=0, atol=1e-3)


@claim(
    "BIAS-8.logistic",
    title="The entropy's mirror flow to a point is logistic growth",
    source="derived from the definition",
    statement=r"L = \frac12 \lVert w - b \rVert^2: \quad w_t = \frac{b}{1 + (b / w_0 - 1) e^{-b t}}",
    num_seeds=4,
    budget=5.0,
)
def logistic_growth(key):
    """In both forms of the flow."""
    checks = {form: _logistic(key, implicit_bias.entropy(), form) for form in ("dual", "primal")}
    return {form: equal(*sides, rtol=LIMIT) for form, sides in checks.items()}


@logistic_growth.control("half of the entropy, whose flow is twice as fast")
def _(key):
    return equal(*_logistic(key, implicit_bias.entropy(0.5)), rtol=1e-3)


COUNTS = (32, 64, 128, 256)


def _step_gaps(key, *, solve="inverse_hessian_vector", quadratic=False):
    """Largest distances of natural gradient steps from mirror descent at time 1/2, for each number of steps."""
    x, y = regression(key, *SHAPE, positive=True)
    root = jax.random.normal(jax.random.fold_in(key, 1), (8, 8))
    potential = implicit_bias.quadratic(root @ root.T / 8 + jnp.eye(8)) if quadratic else implicit_bias.entropy()
    counts = jnp.array(COUNTS)

    def gap(count):
        steps = gradient(x, y), jnp.ones(8), jnp.full(COUNTS[-1], 0.5) / count
        _, natural = implicit_bias.natural_gradient(getattr(potential, solve), *steps, record=iterate)
        _, mirrored = implicit_bias.mirror_descent(potential, *steps, record=iterate)
        return jnp.abs(natural[count - 1] - mirrored[count - 1]).max()

    return jax.vmap(gap)(counts)


@claim(
    "BIAS-8.steps",
    title="Steps of natural gradient and of mirror descent differ by the order of the step size at a fixed time",
    source=f"{BOOK}, equation (8.8)",
    statement=r"\lVert w^{NG}_{t / \eta} - w^{MD}_{t / \eta} \rVert = O(\eta), \qquad = 0 \text{ for } R = \frac12 w^\top D w",
    budget=3.0,
)
def discrete_steps(key):
    """The entropy from a start of ones; slope of the gap in the step size, 1 up to 0.15."""
    gaps, steps = _step_gaps(key), 1 / jnp.array(COUNTS)
    return {
        "slope": converges(gaps, order=1.0, steps=steps, tolerance=0.15),
        "apart": greater(gaps, 1e-6),
        "quadratic": at_most(_step_gaps(key, quadratic=True), 1e-12),
    }


@discrete_steps.control("the Hessian in place of its inverse")
def _(key):
    return converges(_step_gaps(key, solve="hessian_vector"), order=1.0, steps=1 / jnp.array(COUNTS), tolerance=0.15)
