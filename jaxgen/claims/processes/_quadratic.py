"""Exact moments of SGD on a parabola and of its diffusion, for the claims about equations and SVAG."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

OFFSETS = np.array([3.0, -3.0, 0.0])
"""Data of the worked problem for `parabolas`: (x - 3)^2, (x + 3)^2 and x^2 + 9."""


def parabolas(x: Array, offsets: Array) -> Array:
    """x^2 + 9 less 2 x times the offsets, of mean x^2 + 9 over `OFFSETS`, with gradient noise of variance 24."""
    return x**2 + 9 - 2 * x * offsets


class Moments(NamedTuple):
    """E x, E x^2 and E x^3."""

    first: Float[Array, "..."]
    second: Float[Array, "..."]
    third: Float[Array, "..."]


def sgd_moments(x0: ArrayLike, curvature: ArrayLike, learning_rate: ArrayLike, variance: ArrayLike, third: ArrayLike, num_steps: int) -> Moments:
    """Moments of x_k, k = 0, ..., num_steps, for x <- x - eta (c x + n) from x0, n independent with E n^2 and E n^3 given.

    The worked problem x^2 + 9 of SDE-9 is c = 2, variance 24; n = sigma z of a noisy oracle has variance sigma^2 Sigma and
    third moment sigma^3 E z^3.
    """
    factor = 1 - jnp.asarray(learning_rate) * curvature

    def step(m, _):
        second = factor**2 * m.second + learning_rate**2 * variance
        cubed = factor**3 * m.third + 3 * factor * learning_rate**2 * variance * m.first - learning_rate**3 * third
        after = Moments(factor * m.first, second, cubed)
        return after, after

    start = Moments(*(jnp.asarray(x0, float) ** power for power in (1, 2, 3)))
    rest = jax.lax.scan(step, start, length=num_steps)[1]
    return jax.tree.map(lambda first, others: jnp.concatenate([first[None], others]), start, rest)


def ornstein_uhlenbeck_moments(x0: ArrayLike, curvature: ArrayLike, variance: ArrayLike, times: ArrayLike) -> Moments:
    """Moments of X_t for dX = -c X dt + sqrt(v) dW from x0, at any times.

    The canonical equation of SGD with noise n has v = eta E n^2.
    """
    x0, curvature, times = (jnp.asarray(value, float) for value in (x0, curvature, times))
    mean = x0 * jnp.exp(-curvature * times)
    spread = variance * -jnp.expm1(-2 * curvature * times) / (2 * curvature)
    return Moments(mean, mean**2 + spread, mean**3 + 3 * mean * spread)
