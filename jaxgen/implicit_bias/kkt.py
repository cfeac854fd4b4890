"""How far the parameters of a homogeneous model are from a first-order stationary point of its max-margin program."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Num, PyTree

from jaxgen import ntk
from jaxgen._core.checks import checked, choice, floating, leading_axis
from jaxgen._core.subtrees import differentiable
from jaxgen.implicit_bias.cones import nonnegative_least_squares
from jaxgen.implicit_bias.homogeneous import model_margins

ApplyFn = Callable[[PyTree, PyTree], Array]
SOLVERS = ("nnls", "softmax")


class KKTReport(NamedTuple):
    """First-order conditions of the max-margin program at one point; made by `max_margin_kkt`.

    Attributes:
        stationarity: ||w - sum_i lambda_i y_i grad f_i(w)|| / ||w||, formed from the difference itself.
        complementarity: sum_i lambda_i (m_i - 1) / sum_i lambda_i with m_i = y_i f_i / min_j y_j f_j.
        feasible: whether every margin is positive, so that w can be rescaled to satisfy the constraints.
        multipliers: lambda >= 0, for w as it stands.
        margins: y_i f_i(w).
        gap: the squared stationarity is at most this much above the least over all lambda >= 0, by a proof from the Gram
            matrix of the gradients; infinite where none was formed.
        euler_residual: |<w, sum_i lambda_i y_i grad f_i> / (q sum_i lambda_i y_i f_i) - 1|, of the size of rounding for a
            model that is homogeneous of order q.
    """

    stationarity: Float[Array, ""]
    complementarity: Float[Array, ""]
    feasible: Bool[Array, ""]
    multipliers: Float[Array, " n"]
    margins: Float[Array, " n"]
    gap: Float[Array, ""]
    euler_residual: Float[Array, ""]


def max_margin_kkt(
    apply_fn: ApplyFn,
    params: PyTree,
    x: PyTree,
    y: Num[ArrayLike, " n"],
    *,
    order: ArrayLike,
    solver: str = "nnls",
    chunk_size: int | None = None,
    max_steps: int | None = None,
) -> KKTReport:
    r"""Residual of the first-order conditions of min ||w||^2 subject to y_i f(w, x_i) >= min_j y_j f(w_0, x_j), at w = w_0.

    The point is first-order stationary if w = sum_i lambda_i y_i grad f_i(w) for some lambda >= 0 that are zero unless
    y_i f_i is the smallest margin. The lambda nearest to that minimize lambda^T K lambda - 2 q m^T lambda, with K the tangent
    kernel of the margins m, for <w, grad f_i> = q f_i (Euler); the residual is then formed by one backward pass, since the
    Gram form of it has an error of the root of the machine's epsilon. Nothing depends on the scale of w.

    Args:
        apply_fn: `apply_fn(params, x) -> (n,)` or `(n, 1)`, not coupling examples, as from `models.from_linen` or `from_nnx`.
        params: parameters w, a pytree of floating leaves.
        x: n examples, a pytree with leading axis n.
        y: labels, -1 or 1.
        order: q, the order of homogeneity of the model in its parameters (`homogeneity_order`).
        solver: `"nnls"`: the best lambda >= 0; `"softmax"`: lambda proportional to exp(-y_i f_i), of the best length, which needs
            no kernel: its stationarity is sqrt(1 - cos^2) of the angle between w and the negative gradient of the exponential loss.
        chunk_size: examples whose gradients are held at a time, which bounds memory. Default: the kernel's plan.
        max_steps: systems that the nonnegative least squares solve at most, default 3 n + 100; `gap` tells if they were too few.

    Returns:
        The report. NaN where a traced value is wrong.

    Raises:
        ValueError: if a margin is not positive ("not separated"), a label is neither -1 nor 1, outputs are of another shape,
            `order` is not positive, parameters are not finite, or `solver` is unknown.
        TypeError: if a parameter is not of a floating dtype.

    Source: Theory of Deep Learning, definition 8.4.1; Lyu & Li 2020; spec BIAS-33. Cost: one kernel (`ntk.empirical`), one
    backward pass, and O(n^2) for each of a few steps, with systems of the size of the support.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> model, x = lambda w, x: x @ w**2, jnp.array([[1.0, 2.0]])
        >>> for w in (jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0]) / jnp.sqrt(2.0)):
        ...     found = implicit_bias.max_margin_kkt(model, w, x, jnp.ones(1), order=2)
        ...     print(round(float(found.stationarity), 4), round(float(found.multipliers[0]), 4))
        0.0 0.5
        0.3162 0.3
    """
    choice("solver", solver, SOLVERS)
    differentiable(params)
    params = jax.tree.map(jnp.asarray, params)
    order = floating("order", order)
    order = checked(order, (order > 0, f"order must be positive; got {order}"))
    y = floating("y", y)
    y = checked(y, (jnp.abs(y) == 1, "labels y must be -1 or 1"))
    report = _report(apply_fn, params, x, y, order, solver, chunk_size, max_steps)
    wrong = "not separated: every margin y_i f(w, x_i) must be positive at params"
    stationarity, complementarity = (
        checked(value, (report.feasible, wrong), (jnp.isfinite(order) & jnp.isfinite(y).all(), "order and y must be finite"))
        for value in (report.stationarity, report.complementarity)
    )
    return report._replace(stationarity=stationarity, complementarity=complementarity)


@partial(jax.jit, static_argnums=(0, 5, 6, 7))
def _report(apply_fn: ApplyFn, params: PyTree, x: PyTree, y: Array, order: Array, solver: str, chunk_size: int | None, max_steps: int) -> KKTReport:
    margins = model_margins(apply_fn, params, x, y)
    y, order = y.astype(margins.dtype), order.astype(margins.dtype)
    if solver == "nnls":
        gram = ntk.empirical(apply_fn, params, x, mode="trace", chunk_size=chunk_size) * y[:, None] * y
        weights, gap, _ = nonnegative_least_squares(gram, order * margins, optax.tree.norm(params, squared=True), max_steps=max_steps)
        point = _pull(apply_fn, params, x, weights * y, chunk_size)
    else:
        weights, gap = jax.nn.softmax(-margins), jnp.array(jnp.inf, margins.dtype)
        point = _pull(apply_fn, params, x, weights * y, chunk_size)
        length = jnp.maximum(optax.tree.vdot(params, point), 0) / optax.tree.norm(point, squared=True)
        weights, point = length * weights, optax.tree.scale(length, point)
    smallest, total = margins.min(), weights.sum()
    expected = order * (weights @ margins)
    return KKTReport(
        stationarity=optax.tree.norm(optax.tree.sub(params, point)) / optax.tree.norm(params),
        complementarity=(weights @ (margins / smallest - 1)) / total,
        feasible=(margins > 0).all(),
        multipliers=weights,
        margins=margins,
        gap=gap,
        euler_residual=jnp.abs(optax.tree.vdot(params, point) / expected - 1),
    )


def _pull(apply_fn: ApplyFn, params: PyTree, x: PyTree, weights: Float[Array, " n"], chunk_size: int | None) -> PyTree:
    """sum_i weights_i grad f_i(w), of a chunk of examples at a time."""

    def pulled(x: PyTree, weights: Array) -> PyTree:
        outputs, pull = jax.vjp(lambda params: apply_fn(params, x), params)
        return pull(weights.reshape(outputs.shape).astype(outputs.dtype))[0]

    count = leading_axis("x", x)
    if chunk_size is None or chunk_size >= count:
        return pulled(x, weights)
    rows = jnp.arange(-(-count // chunk_size) * chunk_size).reshape(-1, chunk_size)

    def add(total: PyTree, rows: Array) -> tuple[PyTree, None]:
        there = jnp.minimum(rows, count - 1)
        own = jnp.where(rows < count, weights[there], 0)
        return optax.tree.add(total, pulled(jax.tree.map(lambda leaf: leaf[there], x), own)), None

    return jax.lax.scan(add, optax.tree.zeros_like(params), rows)[0]
