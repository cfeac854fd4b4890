"""Pairs of jointly Gaussian variables, with correlations that keep their accuracy at 1 and at -1."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating

CORRELATION_SLACK = 64.0
"""Units of rounding by which a correlation may pass 1."""


class Gaussians(NamedTuple):
    """Pairs (u, v) of centred jointly Gaussian variables; arrays broadcast against one another.

    With rho the correlation, 1 - rho and 1 + rho are kept in place of rho: a kernel of degree 0 has the derivative
    1 / sqrt(1 - rho^2), so that rounding 1 - rho to 1e-7 would move it by 2e-4.

    Attributes:
        std_u: standard deviations of u.
        std_v: standard deviations of v.
        gap: 1 - rho, in [0, 2]; 1 where a standard deviation is zero.
        cogap: 1 + rho.
    """

    std_u: Array
    std_v: Array
    gap: Array
    cogap: Array

    @property
    def scale(self) -> Array:
        """Product of the standard deviations."""
        return self.std_u * self.std_v

    @property
    def correlation(self) -> Array:
        """rho, from the smaller of 1 - rho and 1 + rho."""
        return jnp.where(self.gap <= self.cogap, 1 - self.gap, self.cogap - 1)

    @property
    def covariance(self) -> Array:
        """E[u v]."""
        return self.scale * self.correlation


def square_root(x: Array) -> Array:
    """The square root, with derivative zero at zero."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def gaussians(a: Float[ArrayLike, "..."], b: Float[ArrayLike, "..."], c: Float[ArrayLike, "..."]) -> Gaussians:
    """`Gaussians` with variances a and b and covariance c, which are checked; 1 - |rho| has the rounding of c."""
    a, b, c = floating("a", a), floating("b", b), floating("c", c)
    a = checked(a, (a >= 0, "a is a variance and must be at least 0"))
    b = checked(b, (b >= 0, "b is a variance and must be at least 0"))
    std_u, std_v = square_root(a), square_root(b)
    scale = std_u * std_v
    slack = CORRELATION_SLACK * jnp.finfo(c.dtype).eps
    c = checked(c, (jnp.abs(c) <= scale * (1 + slack), "c must be a covariance, at most sqrt(a b) in size: the correlation lies outside [-1, 1]"))
    safe = jnp.where(scale > 0, scale, 1)
    rho = jnp.where(scale > 0, c / safe, 0)
    rho = jnp.where(rho > 1, 1, jnp.where(rho < -1, -1, rho))
    return Gaussians(std_u, std_v, 1 - rho, 1 + rho)


def add_variance(pairs: Gaussians, variance: Array) -> Gaussians:
    """(u + w, v + w) with w independent of both; nothing cancels, so that 1 - rho and 1 + rho keep their relative accuracy."""
    std_u, std_v = square_root(pairs.std_u**2 + variance), square_root(pairs.std_v**2 + variance)
    scale = pairs.scale
    total = std_u * std_v
    sum_of_scales = total + scale + variance
    positive = total > 0
    safe_sum, safe_total = jnp.where(positive, sum_of_scales, 1), jnp.where(positive, total, 1)
    gap = variance * (pairs.std_u - pairs.std_v) ** 2 / safe_sum + scale * pairs.gap
    grown = variance * (pairs.std_u**2 + pairs.std_v**2 + variance) / jnp.where(positive, total + scale, 1)
    cogap = grown + variance + scale * pairs.cogap
    return Gaussians(std_u, std_v, jnp.where(positive, gap / safe_total, 1), jnp.where(positive, cogap / safe_total, 1))


def from_distances(std_u: Array, std_v: Array, distance: Array) -> Gaussians:
    """`Gaussians` with E(u - v)^2 = `distance`; 1 - rho is as accurate as that where the standard deviations agree."""
    scale = std_u * std_v
    positive = scale > 0
    gap = (distance - (std_u - std_v) ** 2) / jnp.where(positive, 2 * scale, 1)
    gap = jnp.where(positive, lax.clamp(jnp.zeros((), gap.dtype), gap, jnp.full((), 2, gap.dtype)), 1)
    return Gaussians(std_u, std_v, gap, 2 - gap)
