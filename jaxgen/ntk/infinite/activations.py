"""Dual activations: Gaussian expectations of products of an activation, and of its derivative."""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import choice, positive_integer, require
from jaxgen.ntk.infinite.arc_cosine import kappas
from jaxgen.ntk.infinite.gaussians import Gaussians, gaussians, square_root


@dataclasses.dataclass(frozen=True)
class DualActivation:
    r"""What an activation $\sigma$ does to a pair of centred Gaussian variables (u, v): the dual activation (NTK-13).

    A closed form of one's own is a `DualActivation` of three functions; `quadrature` makes one from any activation.

    Attributes:
        name: for messages.
        variance: E[sigma(u)^2] as a function of E[u^2].
        pair: function of `Gaussians` to the pair (1 - rho', E[sigma'(u) sigma'(v)]), with rho' the correlation of
            sigma(u) and sigma(v), that is E[sigma(u) sigma(v)] over the roots of their variances.
        normalization: c_sigma = 1 / E[sigma(z)^2] for standard normal z, which keeps a variance of 1 through the layers.
    """

    name: str
    variance: Callable[[Array], Array]
    pair: Callable[[Gaussians], tuple[Array, Array]]
    normalization: float

    def kernel(self, a: Float[ArrayLike, "..."], b: Float[ArrayLike, "..."], c: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """E[sigma(u) sigma(v)] for (u, v) of variances a and b and covariance c.

        Args:
            a: variances of u, any shape.
            b: variances of v, of a shape that broadcasts.
            c: covariances, of a shape that broadcasts.

        Returns:
            Array of the common shape.

        Raises:
            ValueError: if a variance is negative, or |c| > sqrt(a b) by more than rounding (NaN when traced).
        """
        return _expectations(self, gaussians(a, b, c))[0]

    def derivative(self, a: Float[ArrayLike, "..."], b: Float[ArrayLike, "..."], c: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """E[sigma'(u) sigma'(v)], which is also the derivative of `kernel` in c.

        Args:
            a: as in `kernel`.
            b: as in `kernel`.
            c: as in `kernel`.

        Returns:
            Array of the common shape.

        Raises:
            ValueError: as `kernel`.
        """
        return _expectations(self, gaussians(a, b, c))[1]


@functools.partial(jax.jit, static_argnames="dual")
def _expectations(dual: DualActivation, pairs: Gaussians) -> tuple[Array, Array]:
    gap, derivative = dual.pair(pairs)
    scale = square_root(dual.variance(pairs.std_u**2)) * square_root(dual.variance(pairs.std_v**2))
    return scale * (1 - gap), derivative


def _smooth(
    name: str, variance: Callable[[Array], Array], moments: Callable[[Gaussians], tuple[Array, Array]], second_moment: float
) -> DualActivation:
    """A dual activation whose derivative kernel has no singularity at |rho| = 1, so that 1 - rho' may be rounded like rho'."""

    def pair(pairs: Gaussians) -> tuple[Array, Array]:
        product, derivative = moments(pairs)
        scale = square_root(variance(pairs.std_u**2)) * square_root(variance(pairs.std_v**2))
        positive = scale > 0
        return jnp.where(positive, jnp.clip(1 - product / jnp.where(positive, scale, 1), 0, 2), 1), derivative

    return DualActivation(name, variance, pair, 1 / second_moment)


@functools.cache
def leaky_relu(slope: float = 0.01) -> DualActivation:
    r"""The dual activation of max(u, 0) + slope min(u, 0); 0 is the ReLU, 1 the identity, -1 the absolute value.

    $E[\sigma\sigma] = s c + (1 - s)^2 \frac{\sqrt{ab}}{2} \kappa_1$, $E[\dot\sigma\dot\sigma] = s + (1 - s)^2 \frac12 \kappa_0$,
    $c_\sigma = \frac{2}{1 + s^2}$; no cancellation at |rho| = 1.

    Args:
        slope: s, of the negative part; a Python number.

    Returns:
        `DualActivation`; the same object for the same slope, so that nothing is compiled twice.

    Raises:
        ValueError: if `slope` is not finite.

    Source: NTK-13.
    """
    slope = float(slope)
    require(math.isfinite(slope), f"slope must be finite; got {slope}")
    variance, odd, bent = (1 + slope**2) / 2, slope, (1 - slope) ** 2 / 2

    def pair(pairs: Gaussians) -> tuple[Array, Array]:
        kappa0, loss = kappas(pairs.gap, pairs.cogap)
        return (loss if odd == 0 else (odd * pairs.gap + bent * loss) / variance), odd + bent * kappa0

    return DualActivation("relu" if slope == 0 else f"leaky_relu({slope:g})", lambda a: a * variance, pair, 1 / variance)


def _erf_moments(pairs: Gaussians) -> tuple[Array, Array]:
    a, b, c = pairs.std_u**2, pairs.std_v**2, pairs.covariance
    root = jnp.sqrt(1 + 2 * a + 2 * b + 4 * a * b * pairs.gap * pairs.cogap)
    return 2 / math.pi * jnp.arctan2(2 * c, root), 4 / math.pi / root


def _gelu_moments(pairs: Gaussians) -> tuple[Array, Array]:
    """By Stein's lemma with Phi(u) = P(z <= u); D is the determinant of the covariance plus the identity."""
    a, b, c = pairs.std_u**2, pairs.std_v**2, pairs.covariance
    determinant = 1 + a + b + a * b * pairs.gap * pairs.cogap
    root = jnp.sqrt(determinant)
    density = 1 / (2 * math.pi * root)
    orthant = 0.25 + jnp.arctan2(c, root) / (2 * math.pi)
    rest = (1 - a * b) / ((1 + a) * (1 + b))
    factor = a * b + c**2 * rest
    return c * orthant + density * factor, orthant + density * c * (1 + 2 * rest + factor / determinant)


def _sin_moments(pairs: Gaussians) -> tuple[Array, Array]:
    c = pairs.covariance
    near = (pairs.std_u - pairs.std_v) ** 2 / 2
    difference, total = near + pairs.scale * pairs.gap, near + pairs.scale * pairs.cogap
    product = 0.5 * (jnp.exp(-total) * jnp.expm1(2 * jnp.where(c > 0, 0, c)) - jnp.exp(-difference) * jnp.expm1(-2 * jnp.where(c > 0, c, 0)))
    return product, 0.5 * (jnp.exp(-difference) + jnp.exp(-total))


@functools.cache
def quadrature(activation: Callable[[Array], Array], degree: int = 64) -> DualActivation:
    r"""The dual activation of any function, by Gauss-Hermite quadrature.

    With $\sigma(s z) = \sum_k h_k(s) \mathrm{He}_k(z) / \sqrt{k!}$, Mehler's formula gives
    $E[\sigma(u) \sigma(v)] = \sum_{k < n} h_k(s_u) h_k(s_v) \rho^k$, the h_k by a rule of n nodes; at rho = 1 this is the
    one-dimensional rule itself. The error is that of polynomials of degree n - 1 for sigma under the Gaussian weight: at n = 64
    and variances near 1 it is 1e-11 for entire functions, 3e-7 for tanh, 3e-3 for a ReLU and 5e-2 for its derivative. Cost O(n) a pair.

    Args:
        activation: elementwise, traceable and differentiable function of an array.
        degree: n, the number of nodes and of terms, from 2 to 180.

    Returns:
        `DualActivation`; the same object for the same function and degree, so that nothing is compiled twice.

    Raises:
        ValueError: if `degree` is out of range, or `activation` vanishes at every node.
        TypeError: if `activation` is not callable.

    Source: NTK-13; Daniely, Frostig & Singer 2016.
    """
    if not callable(activation):
        raise TypeError(f"activation must be a function of an array; got {activation!r}")
    degree = positive_integer("degree", degree, at_least=2)
    require(degree <= 180, f"degree must be at most 180, beyond which weights underflow; got {degree}")
    nodes, weights = np.polynomial.hermite_e.hermegauss(degree)
    weights = weights / weights.sum()
    hermite = [np.ones(degree), nodes]
    for k in range(1, degree - 1):
        hermite.append((nodes * hermite[k] - math.sqrt(k) * hermite[k - 1]) / math.sqrt(k + 1))
    projection = np.stack(hermite) * weights

    def coefficients(fn: Callable[[Array], Array], std: Array) -> Array:
        """h_k, shape (n, *std.shape)."""
        values = fn(std[..., None] * jnp.asarray(nodes, std.dtype))
        return jnp.moveaxis(jnp.matmul(values, jnp.asarray(projection.T, std.dtype), precision=lax.Precision.HIGHEST), -1, 0)

    def slope(x: Array) -> Array:
        return jax.jvp(activation, (x,), (jnp.ones_like(x),))[1]

    def variance(a: Array) -> Array:
        return jnp.sum(activation(square_root(a)[..., None] * jnp.asarray(nodes, a.dtype)) ** 2 * jnp.asarray(weights, a.dtype), axis=-1)

    def moments(pairs: Gaussians) -> tuple[Array, Array]:
        rho = jnp.broadcast_to(pairs.correlation, jnp.broadcast_shapes(pairs.std_u.shape, pairs.std_v.shape, pairs.gap.shape))
        terms = [coefficients(fn, std) for fn in (activation, slope) for std in (pairs.std_u, pairs.std_v)]

        def add(carry: tuple[Array, Array, Array], term: list[Array]) -> tuple[tuple[Array, Array, Array], None]:
            power, product, derivative = carry
            u, v, slope_u, slope_v = term
            return (power * rho, product + u * v * power, derivative + slope_u * slope_v * power), None

        start = (jnp.ones_like(rho), jnp.zeros_like(rho), jnp.zeros_like(rho))
        (_, product, derivative), _ = lax.scan(add, start, terms, unroll=8)
        return product, derivative

    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        second_moment = float(variance(jnp.ones((), jnp.float64)))
    require(second_moment > 0, "activation vanishes at every node, so that its kernel cannot be normalized")
    return _smooth(getattr(activation, "__name__", "quadrature"), variance, moments, second_moment)


RELU = leaky_relu(0.0)
ERF = _smooth("erf", lambda a: 2 / math.pi * jnp.arctan2(2 * a, jnp.sqrt(1 + 4 * a)), _erf_moments, 2 / math.pi * math.asin(2 / 3))
GELU = _smooth("gelu", lambda a: _gelu_moments(_equal(a))[0], _gelu_moments, 1 / 3 + 1 / (2 * math.pi * math.sqrt(3)))
SIN = _smooth("sin", lambda a: -0.5 * jnp.expm1(-2 * a), _sin_moments, -0.5 * math.expm1(-2))
IDENTITY = DualActivation("identity", lambda a: a, lambda pairs: (pairs.gap, jnp.ones_like(pairs.gap)), 1.0)
ACTIVATIONS = {"relu": RELU, "leaky_relu": leaky_relu(), "erf": ERF, "gelu": GELU, "sin": SIN, "identity": IDENTITY}


def _equal(a: Array) -> Gaussians:
    """u = v."""
    std = square_root(a)
    return Gaussians(std, std, jnp.zeros_like(a), jnp.full_like(a, 2))


def dual_activation(activation: str | DualActivation) -> DualActivation:
    """The dual activation of a name, or the one that is given.

    Args:
        activation: `"relu"`, `"leaky_relu"` (slope 0.01), `"erf"`, `"gelu"` (exact), `"sin"`, `"identity"`, or a
            `DualActivation`, for instance `leaky_relu(0.2)` or `quadrature(jnp.tanh)`.

    Returns:
        `DualActivation`.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `activation` is neither a name nor a `DualActivation`.

    Example:
        >>> from jaxgen.ntk import infinite
        >>> round(float(infinite.dual_activation("erf").kernel(1.3, 0.7, 0.4)), 4)
        0.1755
    """
    if isinstance(activation, DualActivation):
        return activation
    if not isinstance(activation, str):
        raise TypeError(f"activation must be a name or a DualActivation (quadrature(fn) makes one from a function); got {activation!r}")
    choice("activation", activation, tuple(ACTIVATIONS))
    return ACTIVATIONS[activation]
