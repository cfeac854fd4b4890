"""Gradient descent with weight decay, the recursion of its norm on a scale-invariant loss, and descent with the norm kept apart."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen._core.checks import checked, floating, per_step, positive_integer, require
from jaxgen._core.scan import iterate
from jaxgen.normalization.homogeneity import ROUNDING, TOLERANCE
from jaxgen.normalization.spheres import length_of, with_norm

GradientFn = Callable[[PyTree, Any], PyTree]
Record = Callable[[PyTree, PyTree, Any], PyTree]
RescaledRecord = Callable[["Rescaled", PyTree, Any], PyTree]


class Rescaled(NamedTuple):
    """Parameters w as direction and size.

    Attributes:
        direction: w / |w|.
        log_norm: log |w|.
    """

    direction: PyTree
    log_norm: Float[Array, ""]


def gd_weight_decay(
    grad_fn: GradientFn,
    params: PyTree,
    learning_rate: ArrayLike,
    weight_decay: ArrayLike,
    num_steps: int,
    *,
    record: Record | None = None,
    every: int = 1,
) -> tuple[PyTree, PyTree]:
    """w_{t+1} = (1 - eta_t wd) w_t - eta_t grad L_t(w_t), for gradients that may differ from step to step.

    For mini-batches of data, `processes.train` with `optax.chain(optax.add_decayed_weights(wd), optax.sgd(eta))` is this.

    Args:
        grad_fn: `grad_fn(params, t)`, the gradient of L_t, of the structure of `params`.
        params: w_0, a pytree of floating leaves.
        learning_rate: eta > 0, a scalar or one value per step.
        weight_decay: wd >= 0, a scalar; every eta_t wd below 1.
        num_steps: T, at least 1.
        record: `record(params, gradient, t)` with the parameters before step t.
        every: record at t = 0, every, 2 every, ...

    Returns:
        w_T, and the records stacked along a leading axis, None without `record`.

    Raises:
        ValueError: if a learning rate is not positive, `weight_decay` is negative or not a scalar, a product is 1 or more
            (NaN results when traced), or a size is not right.

    Source: Theory of Deep Learning, (13.1), (13.3); spec NORM-7.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> grad_fn = lambda w, t: jax.grad(lambda w: w[1] ** 2 / jnp.sum(w**2))(w)
        >>> w, _ = normalization.gd_weight_decay(grad_fn, jnp.array([1.0, 1.0]), 0.1, 0.1, 100)
        >>> bool(jnp.abs(w[1] / w[0]) < 1e-3)
        True
    """
    num_steps = positive_integer("num_steps", num_steps)
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    rates, decay = rate_and_decay(per_step("learning_rate", learning_rate, num_steps), weight_decay)

    def step(params, t):
        gradient, rate = grad_fn(params, t), rates[t]
        kept = 1 - rate * decay
        return jax.tree.map(lambda w, g: kept.astype(w.dtype) * w - rate.astype(w.dtype) * g, params, gradient), gradient

    return iterate(step, params, num_steps, record=record, every=every)


def norm_recursion(
    norm0: ArrayLike, spherical_gradient_norms: Float[ArrayLike, " T"], learning_rate: ArrayLike, weight_decay: ArrayLike
) -> Float[Array, " T+1"]:
    """|w_t| along `gd_weight_decay` on scale-invariant losses, from gradient norms on the sphere alone.

    |w_{t+1}|^2 = (1 - eta wd)^2 |w_t|^2 + eta^2 |grad L_t(w_t / |w_t|)|^2 / |w_t|^2, since the gradient is orthogonal to w.

    Args:
        norm0: |w_0| > 0.
        spherical_gradient_norms: |grad L_t(w_t / |w_t|)| = |w_t| |grad L_t(w_t)| >= 0 for t = 0, ..., T - 1, T >= 1.
        learning_rate: eta > 0, a scalar or one value per step.
        weight_decay: wd >= 0, a scalar; every eta_t wd below 1.

    Returns:
        |w_0|, ..., |w_T|.

    Raises:
        ValueError: if `norm0` is not a positive scalar, gradient norms are not a vector, empty or negative, or as
            `gd_weight_decay`.

    Source: Theory of Deep Learning, (13.4); spec NORM-7.

    Example:
        >>> from jaxgen import normalization
        >>> normalization.norm_recursion(1.0, [1.5, 0.0], 0.5, 0.0).tolist()
        [1.0, 1.25, 1.25]
    """
    slopes = floating("spherical_gradient_norms", spherical_gradient_norms)
    require(slopes.ndim == 1 and slopes.size > 0, f"spherical_gradient_norms must be a vector, one value per step; got shape {slopes.shape}")
    slopes = checked(slopes, (~(slopes < 0), f"spherical_gradient_norms must be at least 0; got {spherical_gradient_norms}"))
    start = positive_norm("norm0", norm0).astype(slopes.dtype)
    require(start.ndim == 0, f"norm0 must be a scalar; got shape {start.shape}")
    rates, decay = rate_and_decay(per_step("learning_rate", learning_rate, len(slopes)), weight_decay)

    def step(length, t):
        rate = rates[t].astype(length.dtype)
        return jnp.hypot((1 - rate * decay.astype(length.dtype)) * length, rate * slopes[t] / length), None

    last, before = iterate(step, start, len(slopes), record=lambda length, aux, t: length)
    return jnp.append(before, last)


def equilibrium_norm(mean_squared_gradient: ArrayLike, learning_rate: ArrayLike, weight_decay: ArrayLike) -> Float[Array, "..."]:
    """The norm that weight decay and gradients balance at, |w|^4 = eta G / (wd (2 - eta wd)), about eta G / (2 wd).

    The fixed point of `norm_recursion` for a constant gradient norm sqrt(G); with gradients of mini-batches, G is their mean
    squared norm on the sphere, noise included. The effective learning rate there is eta / |w|^2, about sqrt(2 eta wd / G).

    Args:
        mean_squared_gradient: G = E |grad L_t(w / |w|)|^2 >= 0.
        learning_rate: eta > 0.
        weight_decay: wd > 0 with eta wd < 1.

    Returns:
        The norm, elementwise.

    Raises:
        ValueError: if an argument is out of range (NaN results when traced).

    Source: van Laarhoven 2017; Li, Lyu and Arora 2020; spec NORM-7.

    Example:
        >>> from jaxgen import normalization
        >>> round(float(normalization.equilibrium_norm(2.0, 0.1, 0.01)), 3)
        1.779
    """
    slope = floating("mean_squared_gradient", mean_squared_gradient)
    rate, decay = rate_and_decay(floating("learning_rate", learning_rate), weight_decay, scalar=False)
    fourth = checked(
        rate * slope / (decay * (2 - rate * decay)),
        (slope >= 0, f"mean_squared_gradient must be at least 0; got {mean_squared_gradient}"),
        (decay > 0, f"weight_decay must be positive; got {weight_decay}"),
    )
    return jnp.sqrt(jnp.sqrt(fourth))


def effective_learning_rate(learning_rate: ArrayLike, norm: ArrayLike) -> Float[Array, "..."]:
    """eta / |w|^2, the learning rate of the direction w / |w| on a scale-invariant loss.

    Args:
        learning_rate: eta > 0.
        norm: |w| > 0.

    Returns:
        The effective learning rate, elementwise.

    Raises:
        ValueError: if an argument is not positive (NaN results when traced).

    Source: Theory of Deep Learning, section 13.3; spec NORM-7.

    Example:
        >>> from jaxgen import normalization
        >>> float(normalization.effective_learning_rate(1.0, 2.0))
        0.25
    """
    rate = floating("learning_rate", learning_rate)
    length = positive_norm("norm", norm)
    return checked(jnp.square(jnp.sqrt(rate) / length), (rate > 0, f"learning_rate must be positive; got {learning_rate}"))


def rescaled_gd(
    grad_fn: GradientFn,
    params: PyTree,
    log_learning_rate: ArrayLike,
    num_steps: int,
    *,
    record: RescaledRecord | None = None,
    every: int = 1,
) -> tuple[Rescaled, PyTree]:
    """w_{t+1} = w_t - eta_t grad L_t(w_t) on scale-invariant losses, with log |w_t| kept apart from w_t / |w_t|.

    With u = w / |w|: |w_{t+1}| / |w_t| times u_{t+1} is u_t - (eta_t / |w_t|^2) grad L_t(u_t), since grad L(w) =
    grad L(u) / |w|. Neither learning rate nor norm is ever formed, so nothing overflows however long the exponential
    schedule grows. Rounding in log eta_t and log |w_t| is relative to their size: take float64 where that passes 100.

    Args:
        grad_fn: `grad_fn(params, t)`, the gradient of a scale-invariant L_t, asked at unit vectors alone. One that is not
            orthogonal to w_0 is refused; to that of another loss, this is another iteration.
        params: w_0, not zero.
        log_learning_rate: log eta_t, a scalar or one value per step, as by `log_exponential_learning_rate`.
        num_steps: T, at least 1.
        record: `record(state, gradient, t)` with the `Rescaled` state before step t and the gradient at its direction.
        every: record at t = 0, every, 2 every, ...

    Returns:
        The final state, and the records stacked along a leading axis, None without `record`.

    Raises:
        ValueError: if w_0 is zero or the first gradient has a radial part (NaN results when traced), or a size is not right.

    Source: spec NORM-8. Cost: T + 1 gradients.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> grad_fn = lambda w, t: jax.grad(lambda w: w[1] ** 2 / jnp.sum(w**2))(w)
        >>> log_rates = normalization.log_exponential_learning_rate(0.1, 0.5, jnp.arange(3000))
        >>> state, _ = normalization.rescaled_gd(grad_fn, jnp.array([1.0, 1.0]), log_rates, 3000)
        >>> bool(state.log_norm > 100), bool(jnp.isfinite(state.direction).all())
        (True, True)
    """
    num_steps = positive_integer("num_steps", num_steps)
    log_rates = per_step("log_learning_rate", log_learning_rate, num_steps)
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)

    def step(state, t):
        gradient = grad_fn(state.direction, t)
        rate = jnp.exp(log_rates[t] - 2 * state.log_norm)
        moved = jax.tree.map(lambda u, g: u - rate.astype(u.dtype) * g, state.direction, gradient)
        length = length_of(moved)
        direction = jax.tree.map(lambda u: (u / length).astype(u.dtype), moved)
        return Rescaled(direction, state.log_norm + jnp.log(length).astype(state.log_norm.dtype)), gradient

    dtype = jnp.result_type(log_rates, *jax.tree.leaves(params))
    direction = with_norm(params, 1.0)
    log_norm = _refuse_radial_gradient(jnp.log(length_of(params)).astype(dtype), grad_fn, direction)
    return iterate(step, Rescaled(direction, log_norm), num_steps, record=record, every=every)


def _refuse_radial_gradient(value: Array, grad_fn: GradientFn, direction: PyTree) -> Array:
    """`value`, where the first gradient is orthogonal to the direction; else a `ValueError`, or NaN when traced."""

    @jax.jit
    def parts(direction):
        gradient = grad_fn(direction, jnp.int32(0))
        return jnp.abs(optax.tree.vdot(direction, gradient)), optax.tree.norm(gradient)

    radial, size = parts(direction)
    small = ~(radial > TOLERANCE * size + ROUNDING * jnp.finfo(value.dtype).eps)
    return checked(value, (small, f"grad_fn must be the gradient of a scale-invariant loss; at params / |params| {radial} of its {size} is radial"))


def rate_and_decay(rate: Array, weight_decay: ArrayLike, *, scalar: bool = True, below: float = 1.0) -> tuple[Array, Array]:
    """A checked learning rate and weight decay with a product below `below`, both NaN where a traced check fails."""
    decay = floating("weight_decay", weight_decay)
    require(not scalar or decay.ndim == 0, f"weight_decay must be a scalar; got shape {decay.shape}")
    conditions = (
        (rate > 0, f"learning_rate must be positive; got {rate}"),
        (decay >= 0, f"weight_decay must be at least 0; got {weight_decay}"),
        (rate * decay < below, f"learning_rate * weight_decay must be below {below:g}; got {rate} * {weight_decay}"),
    )
    return checked(rate, *conditions), checked(decay, *conditions)


def positive_norm(name: str, value: ArrayLike) -> Array:
    """A length that is positive."""
    length = floating(name, value)
    return checked(length, (length > 0, f"{name} must be positive; got {value}"))
