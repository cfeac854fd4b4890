"""Potentials and their mirror maps on vectors: squared norms, quadratic forms, entropies, powers."""

import warnings

import jax
import jax.numpy as jnp
from jax.lax import Precision, stop_gradient
from jax.nn import softmax
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.scipy.special import logsumexp
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, is_traced, require
from jaxgen._core.matrices import eigenvalue_rounding, is_symmetric
from jaxgen.implicit_bias._potential import Potential as Potential
from jaxgen.implicit_bias._potential import Separable


def _is_positive(w: Array, *_: Array) -> Array:
    return w > 0


def squared_l2() -> Potential:
    """R(w) = ||w||^2 / 2 on all of R^d, whose mirror map is the identity: mirror descent is gradient descent.

    Returns:
        A potential on arrays of any shape.

    Source: spec BIAS-4, BIAS-5.
    """
    half_square = Partial(_half_square)
    identity, second = Partial(_identity), Partial(_second)
    return Potential(half_square, identity, identity, second, Partial(_everywhere), second, half_square)


def _half_square(w: Array) -> Array:
    return 0.5 * jnp.sum(w**2)


def _identity(w: Array) -> Array:
    return w


def _second(w: Array, v: Array) -> Array:
    return v


def _everywhere(*arguments: Array) -> Array:
    return jnp.isfinite(arguments[-1]).all()


def quadratic(metric: Float[ArrayLike, "d d"]) -> Potential:
    """R(w) = w^T D w / 2 with grad R = D w: mirror descent is preconditioned gradient descent.

    Representable: all of R^d; inverse and conjugate lose cond(D) machine epsilons.

    Args:
        metric: D, symmetric positive definite, (d, d). Its Cholesky factor is a leaf of the potential too; O(d^3) once.

    Returns:
        A potential on vectors of d entries.

    Raises:
        ValueError: if `metric` is not square, symmetric or positive definite (NaN results when traced).

    Source: spec BIAS-5, BIAS-10.
    """
    metric = floating("metric", metric)
    require(metric.ndim == 2 and metric.shape[0] == metric.shape[1], f"metric must be a square matrix; got shape {metric.shape}")
    values = jnp.linalg.eigvalsh(metric)
    metric = checked(
        metric,
        (is_symmetric(metric), "metric must be symmetric"),
        (values[0] > eigenvalue_rounding(values), "metric must be positive definite"),
    )
    metric = (metric + metric.T) / 2
    factor = jnp.linalg.cholesky(metric)
    product, solve = Partial(_product, metric), Partial(_solve, factor)
    return Potential(
        Partial(_half_form, metric),
        product,
        solve,
        Partial(_product, metric),
        Partial(_everywhere, metric),
        Partial(_solve, factor),
        Partial(_half_inverse_form, factor),
    )


def _product(metric: Array, *arguments: Array) -> Array:
    return jnp.matmul(metric, arguments[-1], precision=Precision.HIGHEST)


def _solve(factor: Array, *arguments: Array) -> Array:
    return cho_solve((factor, True), arguments[-1])


def _half_form(metric: Array, w: Array) -> Array:
    return 0.5 * jnp.sum(w * _product(metric, w))


def _half_inverse_form(factor: Array, z: Array) -> Array:
    return 0.5 * jnp.sum(solve_triangular(factor, z, lower=True) ** 2)


def entropy(scale: Float[ArrayLike, ""] = 1.0) -> Potential:
    """R(w) = c sum_i (w_i log w_i - w_i) for w > 0, with grad R = c log w: mirror descent is exponentiated gradient descent.

    Representable: w of normal numbers, and z / c between the logarithms of the smallest and the largest of them; beyond that
    exp(z / c) is 0 or infinite. The inverse of the mirror map has a relative error of 1 + |log w| machine epsilons. The value
    is that of the closure at w_i = 0, where the mirror map is not defined.

    Args:
        scale: c > 0.

    Returns:
        A potential on positive arrays of any shape.

    Raises:
        ValueError: if `scale` is not positive; from its maps, if w is not positive (NaN results when traced).

    Source: spec BIAS-5.

    Example:
        >>> from jaxgen import implicit_bias
        >>> potential = implicit_bias.entropy()
        >>> bool(potential.inverse_mirror(potential.mirror(2.0)) == 2.0)
        True
    """
    scale = floating("scale", scale)
    return _ENTROPY.potential(checked(scale, (scale > 0, "scale must be positive")))


@jax.custom_jvp
def _entropy_density(w: Array) -> Array:
    """w log w - w, continued by 0 at w = 0."""
    return jnp.where(w == 0, 0.0, w * jnp.log(jnp.where(w == 0, 1.0, w)) - w)


@_entropy_density.defjvp
def _entropy_density_tangent(primals, tangents):
    (w,), (dw,) = primals, tangents
    return _entropy_density(w), jnp.log(w) * dw


_ENTROPY = Separable(
    value=lambda w, scale: scale * _entropy_density(w),
    mirror=lambda w, scale: scale * jnp.log(w),
    inverse_mirror=lambda z, scale: jnp.exp(z / scale),
    second_derivative=lambda w, scale: scale / w,
    conjugate=lambda z, scale: scale * jnp.exp(z / scale),
    primal=_is_positive,
    primal_name="positive",
    closure=lambda w, scale: w >= 0,
)


def power_positive(order: Float[ArrayLike, ""]) -> Potential:
    """R(w) = -sum_i w_i^(2 / L) / (2 (L - 2)) for w > 0 and L > 2: the mirror map of w = |u|^L with signs kept.

    grad R = -w^(2 / L - 1) / (L (L - 2)), which is negative, and grad^2 R = diag(w^(2 / L - 2)) / L^2. L = 2 is
    `entropy(0.25)`, L = 1 is `squared_l2()`.

    Representable: w and w^(2 - 2 / L) normal numbers. The inverse of the mirror map has a relative error of L / (L - 2) + |log w|
    machine epsilons.

    Args:
        order: L > 2.

    Returns:
        A potential on positive arrays of any shape, with negative duals.

    Raises:
        ValueError: if `order` <= 2; from its maps, if w is not positive or z not negative (NaN results when traced).

    Source: Woodworth et al. 2020; spec BIAS-5, BIAS-18.
    """
    order = floating("order", order)
    message = "order must be greater than 2 (the potential of order 2 is entropy(0.25), of order 1 squared_l2())"
    return _POWER.potential(checked(order, ((order > 2) & jnp.isfinite(order), message)))


_POWER = Separable(
    value=lambda w, order: -(w ** (2 / order)) / (2 * (order - 2)),
    mirror=lambda w, order: -(w ** (2 / order - 1)) / (order * (order - 2)),
    inverse_mirror=lambda z, order: (-order * (order - 2) * z) ** (-order / (order - 2)),
    second_derivative=lambda w, order: w ** (2 / order - 2) / order**2,
    conjugate=lambda z, order: (-order * (order - 2) * z) ** (-2 / (order - 2)) / (2 * order),
    primal=_is_positive,
    primal_name="positive",
    dual=lambda z, order: z < 0,
    dual_name="negative",
    closure=lambda w, order: w >= 0,
)


def lp_squared(p: Float[ArrayLike, ""]) -> Potential:
    """R(w) = ||w||_p^2 / 2, with grad R = sign(w) |w|^(p - 1) ||w||_p^(2 - p), inverted by the same map of q = p / (p - 1).

    Representable: entries that are 0 or at least the smallest normal number times the largest entry, also after raising
    that ratio to p - 1, with ||w||_p^2 a normal number where the value is wanted. The inverse of the mirror map has a relative
    error of q (1 + |log of the ratio|) machine epsilons. The Hessian is infinite at w_i = 0 if p < 2, and its inverse has a zero
    row there; at w = 0 neither is defined unless p = 2.

    Args:
        p: exponent, greater than 1; strongly convex only up to 2.

    Returns:
        A potential on arrays of any shape.

    Raises:
        ValueError: if `p` <= 1 (NaN results when traced).

    Warns:
        UserWarning: if `p` > 2, where R is strictly, not strongly, convex and its Hessian vanishes at w_i = 0.

    Source: spec BIAS-5.
    """
    p = floating("p", p)
    p = checked(p, ((p > 1) & jnp.isfinite(p), "p must be greater than 1 and finite"))
    if not is_traced(p) and jnp.any(p > 2):
        warnings.warn("p > 2: half the squared l_p norm is not strongly convex", UserWarning, stacklevel=2)
    q = p / (p - 1)
    return Potential(
        Partial(_half_squared_norm, p),
        Partial(_lp_mirror, p),
        Partial(_lp_mirror, q),
        Partial(_lp_hessian, p),
        Partial(_everywhere, p),
        Partial(_lp_inverse_hessian, p),
        Partial(_half_squared_norm, q),
    )


def _ratios(p: Array, w: Array) -> tuple[Array, Array, Array]:
    """Largest size m of an entry, the signed ratios w / m, and the sum of their p-th powers; 1, 0 and 1 at w = 0."""
    largest = stop_gradient(jnp.max(jnp.abs(w), initial=0.0))
    scale = jnp.where(largest == 0, 1.0, largest).astype(w.dtype)
    ratios = w / scale
    return scale, ratios, jnp.sum(jnp.abs(ratios) ** p) + (largest == 0)


def _log_moment(p: Array, ratios: Array, total: Array) -> Array:
    """sum_i u_i^p log u_i / sum_i u_i^p of the ratios u in size."""
    return jnp.sum(jnp.abs(ratios) ** p * _log_or_zero(ratios)) / total


def _log_or_zero(ratios: Array) -> Array:
    return jnp.log(jnp.where(ratios == 0, 1.0, jnp.abs(ratios)))


@jax.custom_jvp
def _half_squared_norm_of(p: Array, w: Array) -> Array:
    scale, _, total = _ratios(p, w)
    return 0.5 * scale**2 * jnp.where(jnp.any(w != 0), total ** (2 / p), 0.0)


@_half_squared_norm_of.defjvp
def _half_squared_norm_tangent(primals, tangents):
    (p, w), (dp, dw) = primals, tangents
    _, ratios, total = _ratios(p, w)
    value, by_p = _half_squared_norm_of(p, w), 2 / p * (_log_moment(p, ratios, total) - jnp.log(total) / p)
    return value, jnp.sum(_signed_power(p, w) * dw) + value * by_p * dp


@jax.custom_jvp
def _signed_power(p: Array, w: Array) -> Array:
    scale, ratios, total = _ratios(p, w)
    return scale * jnp.sign(ratios) * jnp.abs(ratios) ** (p - 1) * total ** ((2 - p) / p)


@_signed_power.defjvp
def _signed_power_tangent(primals, tangents):
    (p, w), (dp, dw) = primals, tangents
    _, ratios, total = _ratios(p, w)
    z = _signed_power(p, w)
    by_p = _log_or_zero(ratios) + (2 - p) / p * _log_moment(p, ratios, total) - 2 / p**2 * jnp.log(total)
    return z, _lp_hessian(p, w, dw) + z * by_p * dp


def _half_squared_norm(p: Array, w: Array) -> Array:
    return _half_squared_norm_of(p, floating("w", w))


def _lp_mirror(p: Array, w: Array) -> Array:
    return _signed_power(p, floating("w", w))


def _lp_hessian(p: Array, w: Array, v: Array) -> Array:
    _, ratios, total = _ratios(p, floating("w", w))
    direction = jnp.sign(ratios) * jnp.abs(ratios) ** (p - 1)
    curvature = (p - 1) * total ** ((2 - p) / p) * jnp.abs(ratios) ** (p - 2)
    product = curvature * v + (2 - p) * total ** ((2 - 2 * p) / p) * direction * jnp.sum(direction * v)
    return _where_twice_differentiable(p, ratios, product)


def _lp_inverse_hessian(p: Array, w: Array, v: Array) -> Array:
    _, ratios, total = _ratios(p, floating("w", w))
    diagonal = total ** ((p - 2) / p) * jnp.abs(ratios) ** (2 - p) * v
    solution = (diagonal + (p - 2) * total ** (-2 / p) * ratios * jnp.sum(ratios * v)) / (p - 1)
    return _where_twice_differentiable(p, ratios, solution)


def _where_twice_differentiable(p: Array, ratios: Array, result: Array) -> Array:
    return jnp.where((p == 2) | jnp.any(ratios != 0), result, jnp.nan)


def simplex_entropy() -> Potential:
    """R(w) = sum_i w_i log w_i on the probability simplex, with grad R = log w up to a constant and inverse softmax(z).

    Duals that differ by a multiple of the vector of ones are the same, so `inverse_mirror` inverts `mirror` exactly and
    `mirror` inverts `inverse_mirror` up to such a multiple; likewise the Hessian, which takes tangents (of sum 0) to duals,
    and its inverse diag(w) - w w^T. The row space in conditions of optimality has to contain the vector of ones.

    Representable: w of normal numbers, and z within the logarithm of the smallest of them of its largest entry.

    Returns:
        A potential on vectors of positive entries with sum 1 to half of their digits. Its maps raise `ValueError` elsewhere
        (NaN results when traced).

    Source: spec BIAS-5.
    """
    return Potential(
        Partial(_simplex_value),
        Partial(_simplex_mirror),
        Partial(softmax),
        Partial(_simplex_hessian),
        Partial(_in_simplex),
        Partial(_simplex_inverse_hessian),
        Partial(logsumexp),
    )


def _sums_to_one(w: Array) -> Array:
    return jnp.abs(jnp.sum(w) - 1) <= jnp.finfo(w.dtype).eps ** 0.5


def _in_simplex(w: Array) -> Array:
    w = floating("w", w)
    return jnp.all(w > 0) & _sums_to_one(w)


def _on_simplex(w: Array, *, closed: bool = False) -> Array:
    w = floating("w", w)
    return checked(w, (w >= 0 if closed else w > 0, "w must be positive"), (_sums_to_one(w), "w must have sum 1"))


def _simplex_value(w: Array) -> Array:
    w = _on_simplex(w, closed=True)
    # On the simplex this is sum_i w_i log w_i, and its gradient is log w.
    return jnp.sum(_entropy_density(w)) + 1


def _simplex_mirror(w: Array) -> Array:
    return jnp.log(_on_simplex(w))


def _simplex_hessian(w: Array, v: Array) -> Array:
    return v / _on_simplex(w)


def _simplex_inverse_hessian(w: Array, v: Array) -> Array:
    w = _on_simplex(w)
    return w * (v - jnp.sum(w * v))
