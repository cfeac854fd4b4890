"""Claims about first-order stationary points of the max-margin program (BIAS-33)."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen import implicit_bias
from jaxgen.claims import at_least, at_most, claim, equal
from jaxgen.claims.implicit_bias._homogeneous import BOOK, architectures, points


def _linear(w, x):
    return x @ w


def _support_vector_machine(key):
    """Separable data, and the classifier of the largest l_2 margin, solved again on its support."""
    x, y = points(key, 8, 4, 2.0)
    z = y[:, None] * x
    found = implicit_bias.max_margin(z, implicit_bias.lp_norm(2))
    support = found.multipliers > 1e-5
    rows = jnp.where(support[:, None], z, 0)
    return x, y, jnp.linalg.pinv(rows) @ support.astype(float)


@claim(
    "BIAS-33",
    title="A support vector machine is first-order stationary, a random classifier is not",
    source=f"{BOOK}, definition 8.4.1",
    statement=r"w = \sum_i \lambda_i y_i \nabla f_i(w), \quad \lambda \ge 0, \quad \lambda_i = 0 \text{ unless } y_i f_i(w) = \min_j y_j f_j(w)",
    num_seeds=8,
    budget=10.0,
)
def stationary_classifier(key):
    """The source's condition lacks y_i. Random classifiers in more dimensions than examples, with the labels that they predict."""
    x, y, w = _support_vector_machine(key)
    found = implicit_bias.max_margin_kkt(_linear, w, x, y, order=1)
    x = jax.random.normal(key, (8, 20))
    random = jax.random.normal(jax.random.fold_in(key, 1), (20,))
    other = implicit_bias.max_margin_kkt(_linear, random, x, jnp.sign(x @ random), order=1)
    return {
        "stationarity": at_most(found.stationarity, 1e-8),
        "feasible": equal(found.feasible.astype(int), 1, rtol=0),
        "random": at_least(other.stationarity, 0.1),
        "gaps": at_most(jnp.stack([found.gap, other.gap]), 1e-8),
    }


@stationary_classifier.control("the classifier of the largest l_1 margin")
def _(key):
    x, y = points(key, 8, 20, 2.0)
    w = implicit_bias.max_margin(y[:, None] * x, implicit_bias.lp_norm(1)).w
    return at_most(implicit_bias.max_margin_kkt(_linear, w, x, y, order=1).stationarity, 1e-8)


@stationary_classifier.control("the condition without labels, as printed", fails="some")
def _(key):
    x, _, w = _support_vector_machine(key)
    best = implicit_bias.nonnegative_least_squares(x @ x.T, x @ w, w @ w).multipliers
    return at_most(jnp.linalg.norm(w - best @ x) / jnp.linalg.norm(w), 1e-8)


@claim(
    "BIAS-33.gram",
    title="The residual from one tangent kernel is that of the gradients themselves",
    source=f"{BOOK}, definition 8.4.1; Lyu & Li 2020",
    statement=r"\arg\min_{\lambda \ge 0} \lVert w - J^\top \lambda \rVert^2 = \arg\min_{\lambda \ge 0} \lambda^\top K \lambda - 2 q m^\top \lambda,"
    r" \quad K = J J^\top, \; J w = q m",
    num_seeds=8,
    budget=8.0,
)
def residual_of_the_kernel(key):
    """Conditions of optimality with the explicit J, and the residual. The softmax multipliers are no better."""
    x, checks, found = jax.random.normal(key, (6, 4)), {}, architectures(key, 4)
    for name in ("squared ReLU", "convolutional"):
        apply_fn, params, order = found[name]
        y = jnp.sign(apply_fn(params, x).reshape(-1))
        best = implicit_bias.max_margin_kkt(apply_fn, params, x, y, order=order)
        soft = implicit_bias.max_margin_kkt(apply_fn, params, x, y, order=order, solver="softmax")
        rows = jax.vmap(lambda tree: ravel_pytree(tree)[0])(jax.jacrev(lambda w, f=apply_fn, x=x, y=y: y * f(w, x).reshape(-1))(params))
        w = ravel_pytree(params)[0]
        remainder = w - best.multipliers @ rows
        lengths = jnp.linalg.norm(rows, axis=1) * jnp.linalg.norm(w)
        slope = -rows @ remainder / lengths
        checks |= {
            f"{name}: residual": equal(best.stationarity, jnp.linalg.norm(remainder) / jnp.linalg.norm(w), rtol=0, atol=1e-8),
            f"{name}: no direction of descent": at_least(slope, 0.0, slack=1e-6),
            f"{name}: free multipliers": at_most(jnp.abs(slope * best.multipliers * lengths / (w @ w)).max(), 1e-6),
            f"{name}: Euler": at_most(best.euler_residual, 1e-10),
            f"{name}: softmax": at_most(best.stationarity, soft.stationarity, slack=1e-9),
        }
    return checks


@residual_of_the_kernel.control("an order that is one too large")
def _(key):
    x, (apply_fn, params, order) = jax.random.normal(key, (6, 4)), architectures(key, 4)["ReLU"]
    y = jnp.sign(apply_fn(params, x).reshape(-1))
    return at_most(implicit_bias.max_margin_kkt(apply_fn, params, x, y, order=order + 1).euler_residual, 1e-10)


@claim(
    "BIAS-33.known",
    title="Known residuals of w_1^2 + 2 w_2^2",
    source=f"{BOOK}, definition 8.4.1",
    statement=r"w = e_1: \; \lambda = \tfrac12, \text{ residual } 0; \qquad w = (1, 1) / \sqrt2: \text{ residual } 1 / \sqrt{10}",
    core=True,
    num_seeds=1,
)
def known_residuals(key):
    x = jnp.array([[1.0, 2.0]])
    axis, between = (
        implicit_bias.max_margin_kkt(lambda w, x: x @ w**2, w, x, jnp.ones(1), order=2)
        for w in (jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0]) / jnp.sqrt(2.0))
    )
    return {
        "axis": at_most(axis.stationarity, 1e-12),
        "multiplier": equal(axis.multipliers[0], 0.5, rtol=1e-12),
        "between": equal(between.stationarity, 10**-0.5, rtol=1e-12),
    }


@known_residuals.control("the multiplier with the factor two of the squared norm")
def _(key):
    axis = implicit_bias.max_margin_kkt(lambda w, x: x @ w**2, jnp.array([1.0, 0.0]), jnp.array([[1.0, 2.0]]), jnp.ones(1), order=2)
    return equal(axis.multipliers[0], 1.0, rtol=1e-12)
