"""Forms of PAC-Bayes bounds that are both bounds and training objectives, in terms of a risk and a rate (D + log(...)) / n."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from jaxgen._core.checks import checked, floating


def rate_of_roots(divergence: Array, n: Array, delta: float) -> Array:
    """(D + log(2 sqrt n / delta)) / n."""
    return (divergence + jnp.log(2 * jnp.sqrt(n) / delta)) / n


def maurer(risk: Array, rate: Array) -> Array:
    return risk + jnp.sqrt(rate / 2)


def quadratic(risk: Array, rate: Array) -> Array:
    return (jnp.sqrt(risk + rate / 2) + jnp.sqrt(rate / 2)) ** 2


def at_lambda(risk: Array, rate: Array, lam: Array) -> Array:
    return (risk + rate / lam) / (1 - lam / 2)


def best_lambda(risk: Array, rate: Array) -> Array:
    return 2 / (jnp.sqrt(2 * risk / rate + 1) + 1)


def catoni(risk: Array, rate: Array, C: Array) -> Array:
    return jnp.expm1(-C * risk - rate) / jnp.expm1(-C)


def checked_lambda(lam: ArrayLike) -> Array:
    lam = floating("lam", lam)
    return checked(lam, ((lam > 0) & (lam < 2), f"lam of kind 'lambda' must be in (0, 2); got {lam}"))
