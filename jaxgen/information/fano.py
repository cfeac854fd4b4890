"""Fano's inequality and its inverse (INFO-8)."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, positive_integer


def fano_bound(error: Float[ArrayLike, "*shape"], num_classes: int) -> Float[Array, "*shape"]:
    """Fano's inequality: H(X|Y) <= h_b(P_e) + P_e log(M - 1) for any guess of X from Y that errs with probability P_e.

    Equality holds for the M-ary symmetric channel with uniform input.

    Args:
        error: P_e in [0, 1], elementwise.
        num_classes: M >= 2.

    Returns:
        The bound on H(X|Y) in nats, of the shape of `error`.

    Raises:
        ValueError: if `error` leaves [0, 1] or `num_classes` < 2.

    Source: Cover and Thomas, Theorem 2.10.1; INFO-8.

    Example:
        >>> from jaxgen import information
        >>> round(float(information.fano_bound(0.2, 4)), 4)
        0.7201
    """
    classes = positive_integer("num_classes", num_classes, at_least=2)
    error = floating("error", error)
    return checked(_fano(error, classes), ((error >= 0) & (error <= 1), "error must be a probability in [0, 1]"))


def fano_error_lower_bound(conditional_entropy: Float[ArrayLike, "*shape"], num_classes: int) -> Float[Array, "*shape"]:
    """The least error probability that Fano's inequality allows: the P_e <= 1 - 1/M with h_b(P_e) + P_e log(M-1) = H(X|Y).

    Sharper than the common P_e >= (H(X|Y) - log 2) / log M. Found by bisection from below, so that
    rounding keeps it a lower bound; differentiated as the inverse function it is.

    Args:
        conditional_entropy: H(X|Y) in nats, in [0, log M], elementwise.
        num_classes: M >= 2.

    Returns:
        The lower bound on P_e, of the shape of `conditional_entropy`.

    Raises:
        ValueError: if `conditional_entropy` leaves [0, log M] by more than rounding, or `num_classes` < 2.

    Source: Cover and Thomas, Theorem 2.10.1; INFO-8.
    """
    classes = positive_integer("num_classes", num_classes, at_least=2)
    target = floating("conditional_entropy", conditional_entropy)
    eps = float(jnp.finfo(target.dtype).eps)
    inside = (target >= -4 * eps) & (target <= math.log(classes) * (1 + 4 * eps))

    return checked(_inverse_fano(target, classes), (inside, f"conditional_entropy must lie in [0, log num_classes] = [0, {math.log(classes):.6g}]"))


@partial(jax.jit, static_argnums=1)
def _fano(error: Array, classes: int) -> Array:
    return _binary_entropy(error) + error * math.log(classes - 1)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
@partial(jax.jit, static_argnums=1)
def _inverse_fano(target: Array, classes: int) -> Array:
    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        below = _fano(middle, classes) <= target
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    bracket = jnp.zeros_like(target), jnp.full_like(target, 1 - 1 / classes)
    return jax.lax.fori_loop(0, 2 * jnp.finfo(target.dtype).nmant, halve, bracket)[0]


@_inverse_fano.defjvp
def _inverse_fano_jvp(classes, primals, tangents):
    error = _inverse_fano(*primals, classes)
    slope = jnp.log1p(-error) - jnp.log(error) + math.log(classes - 1)
    return error, tangents[0] / slope


def _binary_entropy(p: Array) -> Array:
    inner = (p > 0) & (p < 1)
    safe = jnp.where(inner, p, 0.5)
    value = -safe * jnp.log(safe) - (1 - safe) * jnp.log1p(-safe)
    return jnp.where(inner, value, jnp.where(jnp.isnan(p), p, 0))
