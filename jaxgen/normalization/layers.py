"""Layer, group and batch normalization as formulas, without running averages."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, positive_integer, require


def layer_norm(a: Float[ArrayLike, "*n H"], gamma: ArrayLike = 1.0, beta: ArrayLike = 0.0, *, eps: ArrayLike = 0.0) -> Float[Array, "*n H"]:
    """gamma (a - mu) / sqrt(sigma^2 + eps) + beta with mean mu and variance sigma^2 over the H units of each example.

    With eps = 0, as in the source, the result does not change under a -> c a + d, c > 0, however small or large a is, as long
    as its sum over the units does not overflow; with eps > 0 it changes by about eps / sigma^2.

    Args:
        a: pre-activations, units along the last axis.
        gamma: scale, a scalar or shape (H,).
        beta: shift, a scalar or shape (H,).
        eps: at least 0.

    Returns:
        Normalized values. NaN for an example whose units are all equal, where eps = 0: its direction is not defined.

    Raises:
        ValueError: if `a` is a scalar, shapes do not fit, or `eps` is negative (NaN results when traced).
        TypeError: if `a` is not real.

    Source: Ba, Kiros and Hinton 2016; Theory of Deep Learning, section 13.2; spec NORM-3.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> normalization.layer_norm(jnp.array([1.0, 1.0, 5.0, 5.0])).tolist()
        [-1.0, -1.0, 1.0, 1.0]
    """
    return group_norm(a, gamma, beta, groups=1, eps=eps)


def group_norm(
    a: Float[ArrayLike, "*n H"], gamma: ArrayLike = 1.0, beta: ArrayLike = 0.0, *, groups: int, eps: ArrayLike = 0.0
) -> Float[Array, "*n H"]:
    """`layer_norm` with mean and variance over each of `groups` equal blocks of consecutive units.

    Args:
        a: pre-activations, units along the last axis.
        gamma: scale, a scalar or shape (H,).
        beta: shift, a scalar or shape (H,).
        groups: number of blocks, a divisor of H; 1 is layer normalization.
        eps: at least 0.

    Returns:
        Normalized values. NaN in a block whose units are all equal, where eps = 0.

    Raises:
        ValueError: if `groups` does not divide H, or as `layer_norm`.
        TypeError: if `a` is not real or `groups` no integer.

    Source: Wu and He 2018; spec NORM-3.
    """
    a = floating("a", a)
    require(a.ndim >= 1, "a must have a last axis of units; got a scalar")
    units, groups = a.shape[-1], positive_integer("groups", groups)
    require(units % groups == 0, f"groups must divide the number of units H = {units}; got {groups}")
    normal = _standardized(a.reshape(*a.shape[:-1], groups, -1), -1, eps).reshape(a.shape)
    return _affine(normal, gamma, beta)


def batch_norm(a: Float[ArrayLike, "n *h"], gamma: ArrayLike = 1.0, beta: ArrayLike = 0.0, *, eps: ArrayLike = 0.0) -> Float[Array, "n *h"]:
    """gamma (a - mu) / sqrt(sigma^2 + eps) + beta with mean and variance of each unit over the batch.

    Args:
        a: pre-activations with leading axis N, the batch.
        gamma: scale, a scalar or of the shape of the last axis.
        beta: shift, likewise.
        eps: at least 0.

    Returns:
        Normalized values. NaN for a unit that is equal on all examples, where eps = 0.

    Raises:
        ValueError: if `a` has no batch axis, or as `layer_norm`.
        TypeError: if `a` is not real.

    Source: Ioffe and Szegedy 2015; spec NORM-3. The training form: no running averages.
    """
    a = floating("a", a)
    require(a.ndim >= 2, f"a must have a batch axis and units, shape (N, H); got shape {a.shape}")
    return _affine(_standardized(a, 0, eps), gamma, beta)


def _standardized(a: Array, axis: int, eps: ArrayLike) -> Array:
    """(a - mu) / sqrt(sigma^2 + eps), in units of the largest deviation, whose square neither overflows nor vanishes."""
    eps = floating("eps", eps).astype(a.dtype)
    require(eps.ndim == 0, f"eps must be a scalar; got shape {eps.shape}")
    eps = checked(eps, (eps >= 0, f"eps must be at least 0; got {eps}"))
    deviations = a - a.mean(axis=axis, keepdims=True)
    unit = jax.lax.stop_gradient(jnp.abs(deviations).max(axis=axis, keepdims=True))
    unit = jnp.where(unit > 0, unit, 1)
    deviations = deviations / unit
    constant = a.max(axis=axis, keepdims=True) == a.min(axis=axis, keepdims=True)
    variance = jnp.square(deviations).mean(axis=axis, keepdims=True) + jnp.square(jnp.sqrt(eps) / unit)
    undefined = constant & (eps == 0)
    return jnp.where(undefined, jnp.nan, deviations / jnp.sqrt(jnp.where(undefined, 1, variance)))


def _affine(normal: Array, gamma: ArrayLike, beta: ArrayLike) -> Array:
    parts = []
    for name, value in (("gamma", gamma), ("beta", beta)):
        part = floating(name, value).astype(normal.dtype)
        require(part.shape in ((), normal.shape[-1:]), f"{name} must be a scalar or have shape {normal.shape[-1:]}; got {part.shape}")
        parts.append(part if part.ndim == 0 else part.reshape((1,) * (normal.ndim - 1) + part.shape))
    return parts[0] * normal + parts[1]
