"""Mirror maps of diagonal nets u^L - v^L: the hyperbolic entropy of depth 2 and its analogues of greater depth."""

import functools
import math

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, positive_integer
from jaxgen.implicit_bias._potential import Potential, Separable
from jaxgen.implicit_bias.potentials import squared_l2

NEWTON_STEPS = 8


def hyperbolic_entropy(
    alpha: Float[ArrayLike, "..."] | None = None, *, products: Float[ArrayLike, "..."] | None = None, start: Float[ArrayLike, "..."] | None = None
) -> Potential:
    r"""The hyperbolic entropy, mirror map of w = u * u - v * v trained by gradient flow from |u v| = p.

    R(w) = sum_i [w_i asinh(w_i / 2 p_i) - sqrt(w_i^2 + 4 p_i^2) + 2 p_i] / 4 with p = alpha^2, so
    grad R = asinh(w / 2 p) / 4, its inverse 2 p sinh(4 z), grad^2 R = diag(1 / (4 sqrt(w^2 + 4 p^2))), and
    R*(z) = sum_i p_i sinh(2 z_i)^2. From another start w_0 it is the Bregman divergence of that from w_0, so that the mirror
    map is 0 at w_0. From u v = p of both signs the same holds.

    Representable: 2 p a normal number, w of any size of which w / 2 p is one or infinite; 4 z up to the logarithm of the largest
    number over p. The inverse of the mirror map has a relative error of 1 + |asinh(w / 2 p)| machine epsilons. For |w| << p the
    value is ||w||^2 / (16 p), for |w| >> p it is sum_i |w_i| (log(|w_i| / p) - 1) / 4 and a constant.

    Args:
        alpha: scale of the initialization u = v = alpha, positive, a number or one for each entry.
        products: instead of `alpha`, the conserved |u v| > 0 of each entry, which the shape of w broadcasts to.
        start: w_0 = u_0^2 - v_0^2, by default 0.

    Returns:
        A potential on arrays of any shape that the parameters broadcast to.

    Raises:
        ValueError: unless exactly one of `alpha` and `products` is given, and it is positive (NaN results when traced).

    Source: Woodworth et al. 2020; Arora et al., Theory of Deep Learning, Theorem 8.1.6; spec BIAS-15.

    Example:
        >>> from jaxgen import implicit_bias
        >>> potential = implicit_bias.hyperbolic_entropy(1.0)
        >>> print(f"{4 * potential.value(2.0):.4f}")  # q(2) of the theorem
        0.9343
    """
    if alpha is not None and products is None:
        name, given = "alpha", floating("alpha", alpha)
        width = 2 * given**2
    elif products is not None and alpha is None:
        name, given = "products", floating("products", products)
        width = 2 * given
    else:
        raise ValueError("give either alpha or products")
    normal = (width >= jnp.finfo(width.dtype).tiny) & (width <= jnp.finfo(width.dtype).max / 4)
    width = checked(width, (given > 0, f"{name} must be positive"), (normal, f"{name} is too small or too large for {width.dtype}"))
    return _HYPERBOLIC.potential(width, jnp.zeros_like(width) if start is None else floating("start", start))


@jax.custom_jvp
def _length(w: Array, width: Array) -> Array:
    """sqrt(w^2 + width^2) for width > 0, without overflow or underflow."""
    largest = jnp.maximum(jnp.abs(w), width)
    return largest * jnp.sqrt((w / largest) ** 2 + (width / largest) ** 2)


@_length.defjvp
def _length_tangent(primals, tangents):
    (w, width), (dw, dwidth) = primals, tangents
    length = _length(w, width)
    return length, (w / length) * dw + (width / length) * dwidth


def _log1p(x: Array) -> Array:
    """log(1 + x); that of the compiler loses two digits in double precision from -0.42 to -0.29."""
    low = x < -0.25
    return jnp.where(low, jnp.log(1 + jnp.where(low, x, 0.0)), jnp.log1p(jnp.where(low, 0.0, x)))


def _asinh_ratio(w: Array, width: Array) -> Array:
    """asinh(w / width), also where the ratio overflows."""
    far = jnp.abs(w) > width / jnp.finfo(w.dtype).eps
    logarithm = jnp.log(jnp.where(far, jnp.abs(w), 1.0)) - jnp.log(width) + math.log(2)
    return jnp.where(far, jnp.sign(w) * logarithm, jnp.arcsinh(jnp.where(far, 0.0, w / width)))


@jax.custom_jvp
def asinh_difference(w: Array, start: Array, width: Array) -> Array:
    """asinh(w / width) - asinh(start / width) to machine precision also where both are close, for width > 0."""
    sign = jnp.where(start < 0, -1.0, 1.0).astype(w.dtype)
    there, here = sign * w, sign * start
    lengths = _length(there, width), _length(here, width)
    near = jnp.abs(there - here) < 0.5 * lengths[1]
    growth = jnp.where(near, there - here, 0.0) * (1 + (there + here) / sum(lengths)) / (here + lengths[1])
    close = sign * _log1p(growth)
    return jnp.where(near, close, _asinh_ratio(w, width) - _asinh_ratio(start, width))


@asinh_difference.defjvp
def _asinh_difference_tangent(primals, tangents):
    (w, start, width), (dw, dstart, dwidth) = primals, tangents
    lengths = _length(w, width), _length(start, width)
    slope = (start / lengths[1] - w / lengths[0]) / width
    return asinh_difference(w, start, width), dw / lengths[0] - dstart / lengths[1] + slope * dwidth


def scaled_sinh(z: Array, width: Array) -> Array:
    """width sinh(z), also where sinh(z) alone overflows."""
    far = stop_gradient(jnp.abs(z) > math.log(float(jnp.finfo(z.dtype).max)) - 1)
    tail = 0.5 * jnp.sign(z) * jnp.exp(jnp.where(far, jnp.abs(z), 0.0) + jnp.log(width))
    return jnp.where(far, tail, width * jnp.sinh(jnp.where(far, 0.0, z)))


def _sinh_excess(z: Array) -> Array:
    """sinh(z) - z for |z| <= 1, by its series."""
    square, total = z**2, jnp.ones_like(z)
    for k in range(16, 2, -2):
        total = 1 + square / ((k + 1) * k) * total
    return z * square / 6 * total


@jax.custom_jvp
def _hyperbolic_value(w: Array, width: Array, start: Array) -> Array:
    """Four times the Bregman divergence of the hyperbolic entropy from `start`."""
    change = asinh_difference(w, start, width)
    length, at_start = _length(w, width), _length(start, width)
    small = jnp.abs(change) < 1
    near = jnp.where(small, change, 0.0)
    direct = w * change - (w - start) * ((w + start) / (length + at_start))
    return jnp.where(small, 2 * length * jnp.sinh(near / 2) ** 2 - w * _sinh_excess(near), direct)


@_hyperbolic_value.defjvp
def _hyperbolic_value_tangent(primals, tangents):
    (w, width, start), (dw, dwidth, dstart) = primals, tangents
    length, at_start = _length(w, width), _length(start, width)
    by_width = (w * (start / at_start) + width * (width / at_start) - length) / width
    tangent = asinh_difference(w, start, width) * dw + by_width * dwidth - (w - start) / at_start * dstart
    return _hyperbolic_value(w, width, start), tangent


@jax.custom_jvp
def _hyperbolic_conjugate(z: Array, width: Array, offset: Array) -> Array:
    """width (cosh(4 z + offset) - cosh(offset)) / 4."""
    root = jnp.sqrt(width)
    return 0.5 * scaled_sinh(2 * z, root) * scaled_sinh(2 * z + offset, root)


@_hyperbolic_conjugate.defjvp
def _hyperbolic_conjugate_tangent(primals, tangents):
    (z, width, offset), (dz, dwidth, doffset) = primals, tangents
    value, slope = _hyperbolic_conjugate(z, width, offset), scaled_sinh(4 * z + offset, width)
    return value, slope * dz + value / width * dwidth + 0.25 * (slope - scaled_sinh(offset, width)) * doffset


_HYPERBOLIC = Separable(
    value=lambda w, width, start: 0.25 * _hyperbolic_value(w, width, start),
    mirror=lambda w, width, start: 0.25 * asinh_difference(w, start, width),
    inverse_mirror=lambda z, width, start: scaled_sinh(4 * z + _asinh_ratio(start, width), width),
    second_derivative=lambda w, width, start: 0.25 / _length(w, width),
    conjugate=lambda z, width, start: _hyperbolic_conjugate(z, width, _asinh_ratio(start, width)),
)


def diagonal_depth(alpha: Float[ArrayLike, "..."], depth: int) -> Potential:
    r"""The mirror map of the diagonal net w = u^L - v^L trained by gradient flow from u = v = alpha.

    For L >= 3, with s in (-1, 1), h(s) = (1 - s)^(-L / (L - 2)) - (1 + s)^(-L / (L - 2)) and c = L (L - 2) alpha^(L - 2):
    grad R*(z) = alpha^L h(c z), grad R(w) = h^-1(w / alpha^L) / c, (grad^2 R)^-1 = diag(L^2 (u^(2 L - 2) + v^(2 L - 2))) where
    u = alpha (1 - s)^(-1 / (L - 2)), v = alpha (1 + s)^(-1 / (L - 2)). With s = tanh(t), h = 2 cosh(t)^k sinh(k t),
    k = L / (L - 2), which is inverted by Newton's method in t; no quadrature is needed for R.

    Representable: alpha^L and alpha^(2 L - 2) normal numbers. The dual c z runs over (-1, 1) and stands for w with an error of
    k |s| / (1 - |s|) machine epsilons, so that w / alpha^L beyond eps^-k cannot be told apart in the dual.

    Args:
        alpha: scale of the initialization, positive, a number or one for each entry.
        depth: L >= 1, static. Depth 2 is `hyperbolic_entropy(alpha)`, depth 1 is `squared_l2()` (in whose mirror flow u - v moves
            at twice the speed).

    Returns:
        A potential on arrays of any shape that `alpha` broadcasts to.

    Raises:
        ValueError: if `alpha` is not positive or its powers are not representable, or `depth` < 1; from the inverse and the
            conjugate, if c z is outside (-1, 1) (NaN results when traced).
        TypeError: if `depth` is no concrete integer.

    Source: Woodworth et al. 2020, Theorem 3, normalization re-derived; spec BIAS-18.
    """
    depth = positive_integer("depth", depth)
    alpha = floating("alpha", alpha)
    alpha = checked(alpha, (alpha > 0, "alpha must be positive"))
    if depth == 1:
        return squared_l2()
    if depth == 2:
        return hyperbolic_entropy(alpha)
    limits, largest = jnp.finfo(alpha.dtype), alpha ** (2 * depth - 2)
    normal = (largest >= limits.tiny) & (2 * depth**2 * largest < limits.max)
    return _deep(depth).potential(checked(alpha, (normal, f"alpha**{2 * depth - 2} is too small or too large for {alpha.dtype}")))


def _log_cosh(t: Array) -> Array:
    """log cosh(t), to full relative precision near 0."""
    size = jnp.abs(t)
    small = size < 1
    near = 0.5 * jnp.log1p(jnp.sinh(jnp.where(small, t, 0.0)) ** 2)
    return jnp.where(small, near, size + jnp.log1p(jnp.exp(-2 * size)) - math.log(2))


def _arctanh(s: Array) -> Array:
    return 0.5 * (_log1p(s) - _log1p(-s))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _angle(power: float, z: Array) -> Array:
    """The t with 2 cosh(t)^k sinh(k t) = z, k being the power."""
    target = jnp.arcsinh(0.5 * jnp.abs(z))
    # asinh of half the left side is convex in t > 0, above both lines through which the start is taken.
    start = jnp.minimum(target / power, (target / power + math.log(2)) / 2)

    def newton(_, t):
        growth = jnp.exp(power * _log_cosh(t))
        half = growth * jnp.sinh(power * t)
        ratio = jnp.tanh(power * t)
        slope = power * (1 + jnp.tanh(t) * ratio) / jnp.sqrt(1 / (growth * jnp.cosh(power * t)) ** 2 + ratio**2)
        return t - (jnp.arcsinh(half) - target) / slope

    return jnp.sign(z) * jax.lax.fori_loop(0, NEWTON_STEPS, newton, start)


@_angle.defjvp
def _angle_tangent(power, primals, tangents):
    (z,), (dz,) = primals, tangents
    t = _angle(power, z)
    return t, jnp.cosh(t) ** 2 * _slope(power, t) * dz


def _slope(power: float, t: Array) -> Array:
    """1 / h'(s) at s = tanh(t)."""
    return 1 / (2 * power * jnp.exp((power + 1) * _log_cosh(t)) * jnp.cosh((power + 1) * t))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _dual(power: float, z: Array) -> Array:
    """h^-1(z)."""
    return jnp.tanh(_angle(power, z))


@_dual.defjvp
def _dual_tangent(power, primals, tangents):
    (z,), (dz,) = primals, tangents
    t = _angle(power, z)
    return jnp.tanh(t), _slope(power, t) * dz


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _deep_value(power: float, z: Array) -> Array:
    """Integral of h^-1 from 0 to z, which is z s minus the integral of h from 0 to s = h^-1(z)."""
    t = _angle(power, z)
    return z * jnp.tanh(t) - _dual_integral(power - 1, t, _log_cosh(t))


@_deep_value.defjvp
def _deep_value_tangent(power, primals, tangents):
    (z,), (dz,) = primals, tangents
    return _deep_value(power, z), _dual(power, z) * dz


def _dual_integral(excess: float, t: Array, log_cosh: Array) -> Array:
    """Integral of h from 0 to tanh(t), for k = 1 + excess."""
    return 2 / excess * jnp.expm1(excess * log_cosh + _log_cosh(excess * t))


def _deep_inverse(power: float, s: Array) -> Array:
    """h(s)."""
    return 2 * jnp.exp(-0.5 * power * _log1p(-(s**2))) * jnp.sinh(power * _arctanh(s))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _deep_conjugate(power: float, s: Array) -> Array:
    """Integral of h from 0 to s."""
    return _dual_integral(power - 1, _arctanh(s), -0.5 * _log1p(-(s**2)))


@_deep_conjugate.defjvp
def _deep_conjugate_tangent(power, primals, tangents):
    (s,), (ds,) = primals, tangents
    return _deep_conjugate(power, s), _deep_inverse(power, s) * ds


@functools.cache
def _deep(depth: int) -> Separable:
    """The family of one depth L >= 3: functions of the entries and of alpha."""
    power, count = depth / (depth - 2), depth * (depth - 2)

    def scaled(z, alpha):
        return count * alpha ** (depth - 2) * z

    return Separable(
        value=lambda w, alpha: alpha**2 / count * _deep_value(power, w / alpha**depth),
        mirror=lambda w, alpha: _dual(power, w / alpha**depth) / (count * alpha ** (depth - 2)),
        inverse_mirror=lambda z, alpha: alpha**depth * _deep_inverse(power, scaled(z, alpha)),
        second_derivative=lambda w, alpha: _slope(power, _angle(power, w / alpha**depth)) / (count * alpha ** (2 * depth - 2)),
        conjugate=lambda z, alpha: alpha**2 / count * _deep_conjugate(power, scaled(z, alpha)),
        dual=lambda z, alpha: jnp.abs(scaled(z, alpha)) < 1,
        dual_name=f"less than 1 / ({count} alpha^{depth - 2}) in size",
    )
