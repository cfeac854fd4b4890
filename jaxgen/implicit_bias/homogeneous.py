"""Homogeneous models: their order, margins that do not depend on the scale of parameters, directions.

A model with f(c w, x) = c^q f(w, x) for c > 0 is homogeneous of order q in its parameters w. Its predictions depend on the
direction w / ||w|| alone, which is what training with an exponential loss makes converge.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Num, PyTree

from jaxgen._core.checks import checked, floating, leading_axis, require
from jaxgen._core.homogeneity import euler_residual, homogeneity_degree
from jaxgen._core.subtrees import differentiable
from jaxgen.gradients import per_example
from jaxgen.implicit_bias.margins import absorb_labels

ApplyFn = Callable[[PyTree, PyTree], Array]


class HomogeneityOrder(NamedTuple):
    """Order of a homogeneous model; made by `homogeneity_order`.

    Attributes:
        order: q of f(c w, x) = c^q f(w, x).
        residual: largest |<w, grad f> - q f| over largest |f|: rounding for a homogeneous model, not small for another.
    """

    order: Float[Array, ""]
    residual: Float[Array, ""]


class SmoothedMargin(NamedTuple):
    """Smoothed margin of a homogeneous model; made by `smoothed_margin`.

    Attributes:
        value: -log L / ||w||^q.
        valid: whether L < 1; before that nothing is claimed of the value.
    """

    value: Float[Array, "..."]
    valid: Bool[Array, "..."]


class DirectionDecomposition(NamedTuple):
    """A path w_t = g_t (u + delta_t) with a direction u of norm one; made by `direction_decomposition`.

    Attributes:
        scale: g_t = ||w_t||.
        direction: u.
        deviation: delta_t.
    """

    scale: Float[Array, " T"]
    direction: PyTree
    deviation: PyTree


class Licq(NamedTuple):
    """Whether gradients on the support are linearly independent; made by `licq_rank`.

    Attributes:
        rank: of those gradients.
        count: how many there are.
        holds: whether the rank is their number.
        smallest: their smallest singular value, each scaled to norm one; zero for gradients that are dependent.
    """

    rank: Int[Array, ""]
    count: Int[Array, ""]
    holds: Bool[Array, ""]
    smallest: Float[Array, ""]


class GradientExpansion(NamedTuple):
    """How far gradients are from those along the limit direction; made by `gradient_expansion_error`.

    Attributes:
        error: ||grad f_i(w) - grad f_i(g u)|| of every example, with g = ||w||.
        ratio: the error over g^(q-1) ||delta||, which stays bounded where f_i is twice differentiable; zero for delta = 0.
    """

    error: Float[Array, " n"]
    ratio: Float[Array, " n"]


def model_margins(apply_fn: ApplyFn, params: PyTree, x: PyTree, y: Num[ArrayLike, " n"]) -> Float[Array, " n"]:
    """The margins y_i f(w, x_i) of a model with one output.

    Args:
        apply_fn: `apply_fn(params, x) -> (n,)` or `(n, 1)`.
        params: parameters w.
        x: n examples, a pytree with leading axis n.
        y: labels, -1 or 1.

    Returns:
        (n,) margins.

    Raises:
        ValueError: if outputs are of another shape, or a label is neither -1 nor 1 (NaN results when traced).

    Source: Theory of Deep Learning, section 8.4; spec BIAS-30.
    """
    outputs, count = apply_fn(params, x), leading_axis("x", x)
    require(
        jnp.shape(outputs) in ((count,), (count, 1)), f"apply_fn must return one output of each of {count} examples; got shape {jnp.shape(outputs)}"
    )
    return absorb_labels(jnp.reshape(outputs, (count, 1)), jnp.asarray(y))[:, 0]


def homogeneity_order(apply_fn: ApplyFn, params: PyTree, x: PyTree) -> HomogeneityOrder:
    """The order q of f(c w, x) = c^q f(w, x), and how far Euler's identity <w, grad f> = q f is from holding.

    The identity is tried at w and at a point with every parameter moved by about their common size, so that biases that are
    zero do not go unnoticed.

    Args:
        apply_fn: `apply_fn(params, x) -> (n, C)` or `(n,)`.
        params: parameters w, a pytree of floating leaves.
        x: n examples, a pytree with leading axis n.

    Returns:
        The order, and the residual: a model whose residual is not of the size of rounding is not homogeneous.

    Raises:
        ValueError: if all outputs are zero or parameters are not finite (NaN results where traced).
        TypeError: if a parameter is not of a floating dtype.

    Source: Theory of Deep Learning, (8.35); spec BIAS-30. Cost: two evaluations and two forward derivatives.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import implicit_bias, models
        >>> x = jnp.array([[1.0, 2.0], [-1.0, 0.5]])
        >>> for bias in (False, True):
        ...     model = models.mlp((8, 1), bias=bias)
        ...     found = implicit_bias.homogeneity_order(model.apply, model.init(jax.random.key(0), x), x)
        ...     print(round(float(found.order), 3), bool(found.residual < 1e-5))
        2.0 True
        2.0 False
    """
    order = homogeneity_degree(lambda w: apply_fn(w, x), params)

    def defect(point: PyTree) -> Array:
        return jnp.abs(euler_residual(lambda w: apply_fn(w, x), point, order)).max() / jnp.abs(apply_fn(point, x)).max()

    return HomogeneityOrder(order, jnp.maximum(defect(params), defect(_displaced(params))))


def _displaced(params: PyTree) -> PyTree:
    """Every parameter moved by its share of the root mean square of all, up or down by the sines of the integers."""
    size = optax.tree.norm(params) / optax.tree.size(params) ** 0.5

    def displaced(leaf: Array) -> Array:
        return leaf + (size * jnp.sin(1 + jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape)).astype(leaf.dtype)

    return jax.tree.map(displaced, jax.tree.map(jnp.asarray, params))


def _over_power(value: Array, params: PyTree, order: ArrayLike) -> Array:
    """value / ||w||^q, by logarithms, so that the power does not overflow."""
    norm, order = optax.tree.norm(params), floating("order", order)
    norm = checked(norm, (norm > 0, "params must not all be zero: they have no direction"))
    order = checked(order, (order > 0, f"order must be positive; got {order}")).astype(value.dtype)
    return jnp.sign(value) * jnp.exp(jnp.log(jnp.abs(value)) - order * jnp.log(norm).astype(value.dtype))


def smoothed_margin(log_loss: Float[ArrayLike, ""], params: PyTree, order: ArrayLike) -> SmoothedMargin:
    """-log L / ||w||^q, which gradient flow on L = sum_i exp(-y_i f_i) never decreases once L < 1.

    It lies between the normalized margin less log n / ||w||^q and the normalized margin.

    Args:
        log_loss: log L, in nats.
        params: parameters w, not all zero.
        order: q > 0.

    Returns:
        The value, and whether L < 1.

    Raises:
        ValueError: if `params` are all zero or `order` is not positive (NaN results when traced).

    Source: Lyu & Li 2020; spec BIAS-34.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> value, valid = implicit_bias.smoothed_margin(-3000.0, jnp.array([3.0, 4.0]), 3)
        >>> round(float(value), 3), bool(valid)
        (24.0, True)
    """
    log_loss = floating("log_loss", log_loss)
    return SmoothedMargin(_over_power(-log_loss, params, order), log_loss < 0)


def normalized_margin_homogeneous(margins: Num[ArrayLike, " n"], params: PyTree, order: ArrayLike) -> Float[Array, ""]:
    """min_i y_i f_i(w) / ||w||^q, the margin of the direction of w.

    Args:
        margins: y_i f_i(w), as from `model_margins`.
        params: parameters w, not all zero.
        order: q > 0.

    Returns:
        The margin; negative where an example is on the wrong side.

    Raises:
        ValueError: if `margins` is not a vector, `params` are all zero or `order` is not positive (NaN when traced).

    Source: Theory of Deep Learning, section 8.4; spec BIAS-30.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> float(implicit_bias.normalized_margin_homogeneous(jnp.array([8.0, 4.0]), jnp.array([0.0, 2.0]), 2))
        1.0
    """
    margins = floating("margins", margins)
    require(margins.ndim == 1 and margins.size > 0, f"margins must be a vector, one of each example; got shape {margins.shape}")
    return _over_power(margins.min(), params, order)


def direction_decomposition(path: PyTree, direction: PyTree | None = None) -> DirectionDecomposition:
    """Splits a path into scale and direction: w_t = g_t (u + delta_t).

    Args:
        path: parameters along T times, stacked along the leading axis of every leaf.
        direction: the limit u, not zero, like the parameters; scaled to norm one. Default: that of the last time.

    Returns:
        g_t, u and delta_t.

    Raises:
        ValueError: if a leaf lacks the leading axis, or parameters or `direction` are all zero (NaN results when traced).

    Source: Theory of Deep Learning, assumption 8.4.2; spec BIAS-32.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> found = implicit_bias.direction_decomposition(jnp.array([[3.0, 4.0], [0.0, 2.0]]))
        >>> found.scale.tolist(), found.deviation.round(3).tolist()
        ([5.0, 2.0], [[0.6000000238418579, -0.20000000298023224], [0.0, 0.0]])
    """
    leading_axis("path", path)
    path = jax.tree.map(lambda leaf: floating("path", leaf), path)
    scale = jax.vmap(optax.tree.norm)(path)
    scale = checked(scale, (scale > 0, "path must not pass through zero: it has no direction there"))
    direction = jax.tree.map(lambda leaf: leaf[-1], path) if direction is None else direction
    length = optax.tree.norm(direction)
    length = checked(length, (length > 0, "direction must not be zero"))
    unit = jax.tree.map(lambda leaf: leaf / length, direction)
    deviation = jax.tree.map(lambda leaf, u: leaf / scale.reshape(-1, *(1,) * u.ndim) - u, path, unit)
    return DirectionDecomposition(scale, unit, deviation)


def licq_rank(gradients: PyTree, support: Bool[Array, " n"], *, tol: float | None = None) -> Licq:
    """Rank of the gradients of examples on the support: linear independence constraint qualification holds if it is their number.

    Args:
        gradients: grad f_i(w) of n examples, a matrix (n, P) or a pytree with leading axis n.
        support: which examples have the smallest margin.
        tol: singular values up to `tol` times the largest count as zero; default sqrt(machine epsilon).

    Returns:
        Rank, number and smallest singular value; a failure is reported, not raised.

    Raises:
        ValueError: if shapes do not fit.

    Source: Theory of Deep Learning, assumption 8.4.4; spec BIAS-32. Cost: n^2 P.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> rows = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> found = implicit_bias.licq_rank(rows, jnp.array([True, True, True]))
        >>> int(found.rank), int(found.count), bool(found.holds)
        (2, 3, False)
    """
    count = leading_axis("gradients", gradients)
    support = jnp.asarray(support)
    require(support.shape == (count,), f"support must have one entry of each of {count} examples; got shape {support.shape}")
    rows = jnp.concatenate([floating("gradients", leaf).reshape(count, -1) for leaf in jax.tree.leaves(gradients)], axis=1)
    lengths = jnp.linalg.norm(rows, axis=1)
    rows = jnp.where((support & (lengths > 0))[:, None], rows / jnp.where(lengths > 0, lengths, 1)[:, None], 0)
    values = jnp.linalg.svd(jnp.pad(rows, ((0, 0), (0, max(count - rows.shape[1], 0)))), compute_uv=False)
    number = support.sum()
    rank = (values > (jnp.finfo(rows.dtype).eps ** 0.5 if tol is None else tol) * values[0]).sum()
    return Licq(rank, number, rank == number, values[jnp.maximum(number - 1, 0)])


def gradient_expansion_error(apply_fn: ApplyFn, params: PyTree, direction: PyTree, x: PyTree, order: ArrayLike) -> GradientExpansion:
    """How well grad f_i(w) is grad f_i(g u), for w = g (u + delta) with ||u|| = 1: to O(g^(q-1) ||delta||) for f_i in C^2.

    Args:
        apply_fn: `apply_fn(params, x) -> (n,)` or `(n, 1)`, homogeneous of order q, not coupling examples.
        params: parameters w, not all zero.
        direction: u, not zero; scaled to norm one.
        x: n examples, a pytree with leading axis n.
        order: q > 0.

    Returns:
        Errors and their ratios to g^(q-1) ||delta||.

    Raises:
        ValueError: as `direction_decomposition`.
        TypeError: if a parameter is not of a floating dtype.

    Source: Theory of Deep Learning, lemma 8.4.6; spec BIAS-32. Cost: two gradients of every example, held at once.
    """
    differentiable(params)
    found = direction_decomposition(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], params), direction)
    along = jax.tree.map(lambda u: found.scale[0] * u, found.direction)

    def rows(point: PyTree) -> PyTree:
        return per_example(lambda w, batch: apply_fn(w, batch).reshape(-1), point, x)

    error = jax.vmap(optax.tree.norm)(jax.tree.map(jnp.subtract, rows(params), rows(along)))
    size = optax.tree.norm(found.deviation)
    ratio = jnp.where(size > 0, _over_power(error, along, floating("order", order) - 1) / jnp.where(size > 0, size, 1), 0)
    return GradientExpansion(error, ratio)
