"""Arc-cosine kernels of degree 0 and 1, the Gaussian expectations of a ReLU and of its derivative."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from numpy.polynomial import Chebyshev, Polynomial

from jaxgen._core.checks import floating
from jaxgen.ntk.infinite.gaussians import gaussians

DEGREE = 8

_CHEBYSHEV = Chebyshev.interpolate(lambda t: 2 * np.arcsin(np.sqrt(t / 2)) / np.sqrt(t), DEGREE, domain=[0, 1])
_ANGLE = np.asarray(_CHEBYSHEV.convert(kind=Polynomial).coef, np.float64) / math.pi
_EXCESS = _ANGLE / (np.arange(DEGREE + 1) + 1.5)


@jax.custom_jvp
def kappas(gap: Array, cogap: Array) -> tuple[Array, Array]:
    """kappa_0(rho) and 1 - kappa_1(rho) from 1 - rho and 1 + rho, without cancellation at either end.

    In float64 by the arctangent. Below, with t = 1 - |rho|, arccos(1 - t) / sqrt(t) is a polynomial to 3e-8, and its
    integral is sin - angle cos, so that one square root serves both: ten times as fast as the arccosine of the C library.
    The derivative of kappa_0, which diverges at |rho| = 1, is given as 0 there.
    """
    if jnp.finfo(gap.dtype).bits > 32:
        sine = jnp.sqrt(gap * cogap)
        angle = 2 * jnp.arctan2(jnp.sqrt(gap), jnp.sqrt(cogap))
        return 1 - angle / math.pi, jnp.maximum(gap - (sine - angle * (1 - gap)) / math.pi, 0)
    acute = gap <= cogap
    t = jnp.where(acute, gap, cogap)
    root = jnp.sqrt(t)
    angle, excess = root * _horner(_ANGLE, t), t * root * _horner(_EXCESS, t)
    return jnp.where(acute, 1 - angle, angle), jnp.where(acute, t, 1) - excess


@kappas.defjvp
def _(primals, tangents):
    gap, cogap = primals
    kappa0, loss = kappas(gap, cogap)
    tangent = jnp.where(gap <= cogap, -tangents[0], tangents[1])
    squared_sine = gap * cogap
    inside = squared_sine > 0
    slope = jnp.where(inside, 1 / (math.pi * jnp.sqrt(jnp.where(inside, squared_sine, 1))), 0)
    return (kappa0, loss), (slope * tangent, -kappa0 * tangent)


def _horner(coefficients: np.ndarray, t: Array) -> Array:
    result = jnp.full_like(t, float(coefficients[-1]))
    for coefficient in coefficients[-2::-1]:
        result = result * t + float(coefficient)
    return result


def relu_kappa0(rho: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    r"""The arc-cosine kernel of degree 0, $\kappa_0(\rho) = \frac{\pi - \arccos \rho}{\pi} = 2 E[1\{u > 0\} 1\{v > 0\}]$.

    From rho alone its error at |rho| near 1 is the square root of the rounding of rho (2e-4 in float32); kernels of this
    package do not go through rho. Its derivative diverges at |rho| = 1, where it is given as 0.

    Args:
        rho: correlation of the Gaussian variables u and v, any shape.

    Returns:
        Array of the shape of `rho`, in [0, 1].

    Raises:
        ValueError: if a correlation lies outside [-1, 1] by more than rounding (NaN when traced).

    Source: Cho & Saul 2009; NTK-4, NTK-13.
    """
    pairs = gaussians(1.0, 1.0, floating("rho", rho))
    return kappas(pairs.gap, pairs.cogap)[0]


def relu_kappa1(rho: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    r"""The arc-cosine kernel of degree 1, $\kappa_1(\rho) = \frac{\sqrt{1 - \rho^2} + \rho (\pi - \arccos \rho)}{\pi} = 2 E[u_+ v_+]$.

    Its derivative is $\kappa_0$.

    Args:
        rho: correlation of the Gaussian variables u and v of variance 1, any shape.

    Returns:
        Array of the shape of `rho`, in [0, 1].

    Raises:
        ValueError: if a correlation lies outside [-1, 1] by more than rounding (NaN when traced).

    Source: Cho & Saul 2009; NTK-13.
    """
    pairs = gaussians(1.0, 1.0, floating("rho", rho))
    return 1 - kappas(pairs.gap, pairs.cogap)[1]
