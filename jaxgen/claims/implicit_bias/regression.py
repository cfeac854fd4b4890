"""Claims about the interpolators that gradient descent and its relatives find (BIAS-1 to BIAS-4, BIAS-10)."""

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias, optimization
from jaxgen.claims import at_least, at_most, claim, equal, greater
from jaxgen.claims.implicit_bias._interpolation import BOOK, LARGEST, example_gradient, gradient, iterate, regression

SHAPE = (5, 20)
LIMIT = 1e-8


def _pairs(points):
    rows, columns = jnp.triu_indices(len(points), 1)
    return jnp.abs(points[rows] - points[columns]).max(axis=1)


def _limits(key, n, d):
    """The problem, the start, and where four methods end."""
    x, y = regression(key, n, d, positive=True)
    grad_fn, w0, potential = gradient(x, y), jnp.full(d, 0.7), implicit_bias.entropy()

    def rates(rate):
        return jnp.full(4000, rate)

    limits = {
        "gradient descent": implicit_bias.gradient_descent(grad_fn, w0, rates(0.8 / LARGEST))[0],
        "entropy": implicit_bias.mirror_descent(potential, grad_fn, w0, rates(0.05))[0],
        "coordinate descent": implicit_bias.steepest_descent(implicit_bias.lp_norm(1), grad_fn, w0, rates(0.2))[0],
        "AdaGrad": implicit_bias.adaptive_descent("adagrad", grad_fn, w0, rates(0.1))[0],
    }
    return x, y, w0, limits


@claim(
    "BIAS-1",
    title="Four algorithms from one start end in four interpolators",
    source=f"{BOOK}, chapter 8",
    statement=r"X w_\infty = y: \quad \lVert w_\infty^{A} - w_\infty^{B} \rVert_\infty > 10^{-2} \text{ for algorithms } A \ne B",
    num_seeds=8,
    budget=5.0,
)
def algorithms_choose(key):
    """Gradient descent, mirror descent with the entropy, greedy coordinate descent, AdaGrad; only the first two limits solve a known problem."""
    x, y, w0, limits = _limits(key, *SHAPE)
    wide, determined = (jnp.stack(list(found.values())) for found in (limits, _limits(key, *SHAPE[::-1])[3]))
    squared, entropy = implicit_bias.squared_l2(), implicit_bias.entropy()
    return {
        "interpolate": at_most(jnp.linalg.norm(wide @ x.T - y, axis=1), 1e-10),
        "apart": greater(_pairs(wide), 1e-2),
        "gradient descent": at_most(implicit_bias.bregman_kkt_residual(squared, x, y, wide[0], w0).stationarity, 1e-6),
        "entropy": at_most(implicit_bias.bregman_kkt_residual(entropy, x, y, wide[1], w0).stationarity, 1e-6),
        "as many examples as weights": at_most(_pairs(determined), LIMIT),
    }


@algorithms_choose.control("more examples than weights, where there is one interpolator")
def _(key):
    return greater(_pairs(jnp.stack(list(_limits(key, *SHAPE[::-1])[3].values()))), 1e-2)


SLOPES = {"squared": lambda r: 2 * r, "Huber": lambda r: jnp.clip(r, -1, 1), "log cosh": jnp.tanh, "quartic": lambda r: r**3}
"""Derivatives of losses in the residual."""


def _rates(name):
    """Rates of 1500 steps; on the quartic loss they grow, since its curvature vanishes at the minimum."""
    return 0.002 * 1.03 ** jnp.arange(1500) if name == "quartic" else jnp.full(1500, 0.1)


@claim(
    "BIAS-2",
    title="Gradient descent ends in the same interpolator for every loss with its only minimum at zero residual",
    source=f"{BOOK}, section 8.1",
    statement=r"\ell'(r) = 0 \iff r = 0: \quad w_t \to w_0 + X^\dagger (y - X w_0)",
    budget=3.0,
)
def any_loss(key):
    """Squared, Huber, log cosh and quartic loss."""
    x, y = regression(key, *SHAPE)
    w0 = jax.random.normal(jax.random.fold_in(key, 1), (SHAPE[1],))
    expected, checks = implicit_bias.min_norm_interpolator(x, y, w0), {}
    for name, slope in SLOPES.items():
        w, _ = implicit_bias.gradient_descent(lambda w, slope=slope: x.T @ slope(x @ w - y), w0, _rates(name))
        checks[name] = equal(w, expected, rtol=0, atol=1e-6)
    return checks


@any_loss.control("the exponential loss, which has no minimum")
def _(key):
    x, y = regression(key, *SHAPE)
    w, _ = implicit_bias.gradient_descent(lambda w: -x.T @ jnp.exp(y - x @ w), jnp.zeros(SHAPE[1]), jnp.full(1500, 0.02))
    return equal(w, implicit_bias.min_norm_interpolator(x, y), rtol=0, atol=1e-6)


def _dependent(key):
    """Four examples of rank three in eight dimensions."""
    x, y = regression(key, 3, 8)
    return jnp.concatenate([x, x[:1] + x[1:2]]), jnp.concatenate([y, y[:1] + y[1:2]])


@claim(
    "BIAS-2.set",
    title="The global minima of an underdetermined regression are an affine set of dimension d - rank X",
    source=f"{BOOK}, equation (8.1)",
    statement=r"\{w : X w = y\} = X^\dagger y + \ker X, \quad \dim \ker X = d - \operatorname{rank} X",
)
def set_of_minima(key):
    """Four examples of rank three in eight dimensions."""
    x, y = _dependent(key)
    found = implicit_bias.interpolation_set(x, y, rank=3)
    points = found.point + jax.random.normal(key, (10, 5)) @ found.nullspace.T
    projector = optimization.row_space_projector(x) + found.nullspace @ found.nullspace.T
    return {
        "all interpolate": equal(points @ x.T, y, rtol=0, atol=1e-12),
        "no others": equal(projector, jnp.eye(8), rtol=0, atol=1e-12),
        "nearest to zero": at_least(jnp.linalg.norm(points, axis=1), jnp.linalg.norm(found.point)),
        "realizable": equal(implicit_bias.is_realizable(x, y).astype(float), 1.0, rtol=0),
    }


@set_of_minima.control("a dimension less, that of independent examples")
def _(key):
    found = implicit_bias.interpolation_set(*_dependent(key), rank=4)
    projector = optimization.row_space_projector(_dependent(key)[0]) + found.nullspace @ found.nullspace.T
    return equal(projector, jnp.eye(8), rtol=0, atol=1e-12)


@set_of_minima.control("targets off the range")
def _(key):
    x, y = _dependent(key)
    return equal(implicit_bias.is_realizable(x, y.at[3].add(0.1)).astype(float), 1.0, rtol=0)


def _start(key):
    x, y = regression(key, *SHAPE)
    return x, y, jax.random.normal(jax.random.fold_in(key, 1), (SHAPE[1],))


@claim(
    "BIAS-3",
    title="Gradient descent finds the interpolator nearest to where it starts, whatever its steps, batches and momentum",
    source=f"{BOOK}, proposition 8.1.1 and footnote 2",
    statement=r"w_t \to \arg\min_{X w = y} \lVert w - w_0 \rVert_2 = w_0 + X^\dagger (y - X w_0)",
    core=True,
    budget=4.0,
)
def nearest_interpolator(key):
    """The proof prints w_t - w_0 without the minus and the gradient; steps multiply the gradient of (8.1), with its factor 2."""
    x, y, w0 = _start(key)
    expected = implicit_bias.min_norm_interpolator(x, y, w0)
    constant, steps = jnp.full(1000, 0.5 / LARGEST), jnp.arange(1.0, 1001.0)
    rows = jax.random.randint(jax.random.fold_in(key, 2), (1000,), 0, SHAPE[0])
    limits = {
        "constant": implicit_bias.gradient_descent(gradient(x, y), w0, constant),
        "decreasing": implicit_bias.gradient_descent(gradient(x, y), w0, 0.9 / LARGEST / jnp.sqrt(steps)),
        "random": implicit_bias.gradient_descent(gradient(x, y), w0, jax.random.uniform(key, (1000,), minval=0.01, maxval=0.9) / LARGEST),
        "one example": implicit_bias.gradient_descent(example_gradient(x, y), w0, constant, batch_indices=rows),
        "momentum": implicit_bias.gradient_descent(gradient(x, y), w0, constant, momentum=0.5),
        "Nesterov": implicit_bias.gradient_descent(gradient(x, y), w0, constant, momentum=0.5, nesterov=True),
    }
    checks = {name: equal(w, expected, rtol=0, atol=LIMIT) for name, (w, _) in limits.items()}
    known = implicit_bias.min_norm_interpolator(jnp.ones((1, 2)), jnp.array([2.0]), jnp.array([1.0, 0.0]))
    return checks | {"known": equal(known, jnp.array([1.5, 0.5]), rtol=1e-12)}


@nearest_interpolator.control("AdaGrad, which leaves the span of the examples")
def _(key):
    x, y, w0 = _start(key)
    w, _ = implicit_bias.adaptive_descent("adagrad", gradient(x, y), w0, jnp.full(1500, 0.5))
    return equal(w, implicit_bias.min_norm_interpolator(x, y, w0), rtol=0, atol=1e-2)


@nearest_interpolator.control("gradient descent on the factors of w = u v")
def _(key):
    x, y, w0 = _start(key)

    def grad_fn(factors):
        return jax.grad(lambda f: jnp.sum((x @ (f[0] * f[1]) - y) ** 2))(factors)

    (u, v), _ = implicit_bias.gradient_descent(grad_fn, (jnp.sqrt(jnp.abs(w0)), jnp.sign(w0) * jnp.sqrt(jnp.abs(w0))), jnp.full(1500, 0.02))
    return equal(u * v, implicit_bias.min_norm_interpolator(x, y, w0), rtol=0, atol=1e-2)


def _left(key, factor):
    """The residual after 400 steps of the constant rate `factor` / lambda_max, relative to that of the start."""
    x, y, w0 = _start(key)
    w, _ = implicit_bias.gradient_descent(gradient(x, y), w0, jnp.full(400, factor / LARGEST))
    return jnp.linalg.norm(x @ w - y) / jnp.linalg.norm(x @ w0 - y)


@claim(
    "BIAS-3.threshold",
    title="Gradient descent with a constant step converges below the inverse of the largest eigenvalue",
    source=f"{BOOK}, section 8.1",
    statement=r"L(w) = \lVert X w - y \rVert^2: \quad w_t \text{ converges} \iff \eta < 1 / \lambda_{\max}(X X^\top)",
)
def threshold(key):
    """The Hessian of (8.1) is 2 X^T X. The slowest mode falls by 0.96 a step just below the threshold, and grows by 1.04 above."""
    return {"below": at_most(_left(key, 0.98), 1e-6), "above": at_least(_left(key, 1.02), 1e3)}


@threshold.control("the threshold of half of the loss")
def _(key):
    return at_most(_left(key, 1.5), 1e-6)


def _paths(key, norm):
    """Paths of 100 steps of gradient descent, mirror descent with half of the squared norm, and steepest descent in a norm."""
    x, y, w0 = _start(key)
    steps = gradient(x, y), w0, jnp.full(100, 0.5 / LARGEST)
    return (
        implicit_bias.gradient_descent(*steps, record=iterate)[1],
        implicit_bias.mirror_descent(implicit_bias.squared_l2(), *steps, record=iterate)[1],
        implicit_bias.steepest_descent(norm, *steps, record=iterate)[1],
    )


@claim(
    "BIAS-4",
    title="A gradient step is mirror descent with half of the squared norm, steepest descent in the Euclidean norm, and proximal",
    source=f"{BOOK}, equation (8.2)",
    statement=r"\arg\min_w \langle w, \nabla L(w_t) \rangle + \frac{1}{2 \eta} \lVert w - w_t \rVert_2^2 = w_t - \eta \nabla L(w_t)",
)
def proximal_step(key):
    """100 steps of the three; and the gradient of the proximal objective vanishes at each next point."""
    x, y, _ = _start(key)
    descent, mirror, steepest = _paths(key, implicit_bias.lp_norm(2))

    def proximal(w, before):
        return jnp.vdot(w, gradient(x, y)(before)) + jnp.sum((w - before) ** 2) * LARGEST

    slopes = jax.vmap(jax.grad(proximal))(descent[1:], descent[:-1])
    return {
        "mirror descent": equal(mirror, descent, rtol=1e-12, atol=1e-12),
        "steepest descent": equal(steepest, descent, rtol=1e-12, atol=1e-12),
        "proximal": equal(slopes, jnp.zeros_like(slopes), rtol=0, atol=1e-12),
    }


@proximal_step.control("steepest descent in the l_3 norm")
def _(key):
    descent, _, steepest = _paths(key, implicit_bias.lp_norm(3))
    return equal(steepest, descent, rtol=1e-2, atol=1e-2)


def _metric_problem(key):
    """Four examples in ten dimensions and a metric of condition 100."""
    x, y = regression(key, 4, 10)
    basis = jnp.linalg.qr(jax.random.normal(jax.random.fold_in(key, 2), (10, 10)))[0]
    metric = basis @ (jnp.logspace(-1, 1, 10)[:, None] * basis.T)
    return x, y, jax.random.normal(jax.random.fold_in(key, 1), (10,)), (metric + metric.T) / 2


def _in_metric(key):
    """The problem, and where steepest descent in the metric and mirror descent with its potential end, after paths of 4000 steps."""
    x, y, w0, metric = _metric_problem(key)
    largest = jnp.linalg.norm(x @ jnp.linalg.solve(metric, x.T), 2)
    steps = gradient(x, y), w0, jnp.full(4000, 0.9 / largest)
    steepest = implicit_bias.steepest_descent(implicit_bias.quadratic_norm(metric), *steps, record=iterate, every=100)
    return (x, y, w0, metric), steepest, implicit_bias.mirror_descent(implicit_bias.quadratic(metric), *steps, record=iterate, every=100)


@claim(
    "BIAS-10",
    title="Steepest descent in a quadratic norm is mirror descent and ends nearest to its start in that norm",
    source=f"{BOOK}, section 8.1.1",
    statement=r"w_t \to \arg\min_{X w = y} \lVert w - w_0 \rVert_D = w_0 + D^{-1} X^\top (X D^{-1} X^\top)^{-1} (y - X w_0)",
    budget=3.0,
)
def quadratic_norm(key):
    """The formulas of that paragraph are damaged in print, and reconstructed here."""
    (x, y, w0, metric), (limit, path), (mirrored, mirror_path) = _in_metric(key)
    inverse = jnp.linalg.inv(metric)
    closed = w0 + inverse @ x.T @ jnp.linalg.solve(x @ inverse @ x.T, y - x @ w0)
    nearest = implicit_bias.min_norm_interpolator(x, y, w0, metric)
    scaled = implicit_bias.min_norm_interpolator(x, y, w0, 3 * jnp.eye(10))
    return {
        "one path": equal(path, mirror_path, rtol=1e-9, atol=1e-9),
        "steepest descent": equal(limit, nearest, rtol=0, atol=LIMIT),
        "mirror descent": equal(mirrored, nearest, rtol=0, atol=LIMIT),
        "closed form": equal(nearest, closed, rtol=1e-10, atol=1e-10),
        "a multiple of the identity": equal(scaled, implicit_bias.min_norm_interpolator(x, y, w0), rtol=1e-10, atol=1e-10),
    }


@quadratic_norm.control("the Euclidean norm")
def _(key):
    (x, y, w0, _), (limit, _), _ = _in_metric(key)
    return equal(limit, implicit_bias.min_norm_interpolator(x, y, w0), rtol=0, atol=1e-2)
