"""The edge of stability: the sharpness of the loss along full-batch gradient descent, and the step size it can bear."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from jaxgen import curvature, gradients
from jaxgen._core.checks import checked, floating, leading_axis, positive_integer, require
from jaxgen._core.scan import iterate

LossFn = Callable[[PyTree, PyTree], Array]

SMALLEST_RISE = 1e-6
"""Relative rise of the loss that counts as one, in float64."""

WARM_UP = 10
"""Times `num_matvecs` products that turn a random vector into the first record's start."""


class SharpnessAlongGD(NamedTuple):
    """What `sharpness_along_gd` recorded; T steps, R = T / every records.

    Attributes:
        losses: mean loss before every step.
        sharpness: eigenvalue of largest modulus of the Hessian at steps 0, every, 2 every, ...
        num_increases: number of steps after which the loss was higher.
        params: final parameters.
        residuals: |H v - sharpness v| of every record; not small beside the sharpness means not converged.
    """

    losses: Float[Array, " T"]
    sharpness: Float[Array, " R"]
    num_increases: Int[Array, ""]
    params: PyTree
    residuals: Float[Array, " R"]


def sharpness_along_gd(
    key: Key[Array, ""],
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    *,
    learning_rate: ArrayLike,
    num_steps: int,
    every: int,
    num_matvecs: int = 20,
) -> SharpnessAlongGD:
    """Full-batch gradient descent, w <- w - eta grad L(w), with the sharpness of the loss along the way.

    The sharpness is the Hessian's eigenvalue of largest modulus, by the power method, which starts at every record from
    the eigenvector of the record before; at the first from a random vector, with ten times as many products. For step
    sizes that are not too small it rises to about `stability_threshold(learning_rate)` and stays there, while the loss
    goes on falling, no longer monotonically.

    Args:
        key: key of the first eigenvector's start.
        loss_fn: `loss_fn(params, batch) -> (N,)`, twice differentiable; its mean is descended.
        params: initial parameters, a pytree of floating leaves (integers become the default float).
        batch: all examples, a pytree whose leaves have leading axis N.
        learning_rate: eta > 0, a scalar.
        num_steps: T, a multiple of `every`.
        every: steps from one record to the next.
        num_matvecs: Hessian-vector products a record, at least 1.

    Returns:
        Losses, sharpness, the number of rises, final parameters, residuals. A step counts as a rise if the loss grew by
        more than 1e-6 of itself in float64, by sqrt(eps) = 3.5e-4 in float32, where rounding alone moves a small loss up
        and down: count rises in float64.

    Raises:
        ValueError: if `learning_rate` is not a positive scalar (NaN results when traced), `every` does not divide
            `num_steps`, a size is below 1, or `loss_fn` does not return shape (N,).
        TypeError: if a leaf of `params` is not real.

    Source: Cohen, Kaur, Li, Kolter and Talwalkar 2021; spec OPT-20. Cost: T gradients and T / every times `num_matvecs`
    Hessian-vector products of N examples.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import optimization
        >>> loss_fn = lambda w, x: 0.5 * (x @ w) ** 2
        >>> found = optimization.sharpness_along_gd(
        ...     jax.random.key(0), loss_fn, jnp.ones(2), jnp.array([[2.0, 0.0], [0.0, 1.0]]), learning_rate=0.5, num_steps=40, every=20
        ... )
        >>> [round(float(s), 3) for s in found.sharpness], int(found.num_increases)
        ([2.0, 2.0], 0)
    """
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    leading_axis("batch", batch)
    batch = jax.tree.map(jnp.asarray, batch)
    rate = _positive_scalar(learning_rate)
    num_steps, every = positive_integer("num_steps", num_steps), positive_integer("every", every)
    require(num_steps % every == 0, f"every must divide num_steps = {num_steps}; got {every}")

    def descend(params, t):
        loss, gradient = gradients.value_and_gradient(loss_fn, params, batch)
        return jax.tree.map(lambda w, g: w - rate.astype(w.dtype) * g, params, gradient), loss

    def block(state, t):
        params, vector = state
        found = curvature.power_iteration(curvature.hessian(loss_fn, params, batch), vector, num_matvecs=num_matvecs)
        params, losses = iterate(descend, params, every, record=lambda params, loss, t: loss, driver="scan")
        return (params, found.vector), (losses, found.value, found.residual)

    anything = optax.tree.random_like(key, params)
    start = curvature.power_iteration(curvature.hessian(loss_fn, params, batch), anything, num_matvecs=WARM_UP * num_matvecs).vector
    (params, _), (losses, sharpness, residuals) = iterate(block, (params, start), num_steps // every, record=lambda state, aux, t: aux)
    losses = losses.reshape(-1)
    smallest = max(SMALLEST_RISE, math.sqrt(jnp.finfo(losses.dtype).eps))
    num_increases = jnp.sum(losses[1:] > losses[:-1] * (1 + smallest))
    return SharpnessAlongGD(losses, sharpness, num_increases, params, residuals)


def stability_threshold(learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Float[Array, "..."]:
    """Sharpness above which gradient descent diverges on a quadratic, (2 + 2 momentum) / learning_rate.

    For heavy-ball momentum in the form v <- momentum v + grad, w <- w - learning_rate v (`optax.sgd`).

    Args:
        learning_rate: eta > 0, any shape.
        momentum: in [0, 1), of a shape that broadcasts with it.

    Returns:
        The threshold, elementwise.

    Raises:
        ValueError: if `learning_rate` is not positive or `momentum` is outside [0, 1) (NaN results when traced).

    Source: Cohen et al. 2021, section 2; spec OPT-20.

    Example:
        >>> from jaxgen import optimization
        >>> float(optimization.stability_threshold(0.5)), float(optimization.stability_threshold(0.5, momentum=0.75))
        (4.0, 7.0)
    """
    rate, momentum = floating("learning_rate", learning_rate), floating("momentum", momentum)
    return checked(
        (2 + 2 * momentum) / rate,
        (rate > 0, f"learning_rate must be positive; got {learning_rate}"),
        ((momentum >= 0) & (momentum < 1), f"momentum must be in [0, 1); got {momentum}"),
    )


def _positive_scalar(learning_rate: ArrayLike) -> Float[Array, ""]:
    rate = floating("learning_rate", learning_rate)
    require(rate.ndim == 0, f"learning_rate must be a scalar; got shape {rate.shape}")
    return checked(rate, (rate > 0, f"learning_rate must be positive; got {learning_rate}"))
