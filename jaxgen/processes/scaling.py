"""Batch size and learning rate changed together so that the stochastic differential equation of SGD stays."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, positive_integer, require

ROUNDING = 1e-9
"""Relative error of kappa by which a number of examples or steps may miss a whole number."""


class Scaled(NamedTuple):
    """A scaled setting of SGD.

    Attributes:
        learning_rate: kappa eta.
        batch_size: kappa B.
        num_steps: K / kappa.
    """

    learning_rate: Float[Array, ""]
    batch_size: int
    num_steps: int


def linear_scaling(learning_rate: ArrayLike, batch_size: int, num_steps: int, kappa: float) -> Scaled:
    """The linear scaling rule, (eta, B, K) -> (kappa eta, kappa B, K / kappa).

    The time eta K and the noise sqrt(eta / B) stay, and with them the stochastic differential equation of SGD. The processes
    differ by at most C (1 + kappa) eta in expectations of smooth functions: the rule breaks down where kappa eta is not small
    beside the inverse of the curvature. The square-root rule, sqrt(kappa) eta, has another equation.

    Args:
        learning_rate: eta, a scalar.
        batch_size: B, at least 1.
        num_steps: K, at least 1.
        kappa: how many times as large the batches become, positive; below 1 they shrink.

    Returns:
        The new setting.

    Raises:
        ValueError: if `learning_rate` is no positive scalar, a size is not positive, `kappa` is not positive and finite, or kappa B or
            K / kappa is not a whole number, so that noise or time would change.
        TypeError: if a size or `kappa` is not a concrete number.

    Source: Goyal et al. 2017; Malladi, Lyu, Panigrahi and Arora 2022; Li, Malladi and Arora 2021; spec SDE-4, SDE-13.

    Example:
        >>> from jaxgen import processes
        >>> scaled = processes.linear_scaling(0.1, 32, 1000, 4)
        >>> round(float(scaled.learning_rate), 6), scaled.batch_size, scaled.num_steps
        (0.4, 128, 250)
    """
    rate = floating("learning_rate", learning_rate)
    require(rate.ndim == 0, f"learning_rate must be a scalar; got shape {rate.shape}")
    rate = checked(rate, (rate > 0, f"learning_rate must be positive; got {learning_rate}"))
    batch_size, num_steps = positive_integer("batch_size", batch_size), positive_integer("num_steps", num_steps)
    value = _concrete_positive(kappa)
    return Scaled(
        rate * value,
        _whole(batch_size * value, f"kappa batch_size = {value:g} x {batch_size}"),
        _whole(num_steps / value, f"num_steps / kappa = {num_steps} / {value:g}"),
    )


def canonical_noise_scale(learning_rate: ArrayLike, noise_scale: ArrayLike) -> Float[Array, "*rest"]:
    """sqrt(eta) sigma, the scale of the noise in the canonical equation dx = -grad f dt + sqrt(eta) sigma Sigma(x)^(1/2) dW.

    Args:
        learning_rate: eta > 0.
        noise_scale: sigma > 0, that of a gradient oracle: 1 / sqrt(B) for batches of B examples drawn with replacement.

    Returns:
        The scale, of the arguments' common shape; `linear_scaling` leaves it as it is.

    Raises:
        ValueError: if an argument is not positive (NaN results when traced).

    Source: Li, Malladi and Arora 2021; spec SDE-4, SDE-9.

    Example:
        >>> from jaxgen import processes
        >>> [round(float(processes.canonical_noise_scale(eta, size**-0.5)), 6) for eta, size in ((0.1, 40), (0.4, 160))]
        [0.05, 0.05]
    """
    rate, scale = floating("learning_rate", learning_rate), floating("noise_scale", noise_scale)
    rate = checked(rate, (rate > 0, f"learning_rate must be positive; got {learning_rate}"))
    scale = checked(scale, (scale > 0, f"noise_scale must be positive; got {noise_scale}"))
    return jnp.sqrt(rate) * scale


def _concrete_positive(kappa: float) -> float:
    try:
        value = float(kappa)
    except (TypeError, ValueError, jax.errors.ConcretizationTypeError) as error:
        raise TypeError(f"kappa must be a concrete number, since sizes follow from it; got {kappa!r}") from error
    require(0 < value < math.inf, f"kappa must be positive and finite; got {kappa}")
    return value


def _whole(value: float, what: str) -> int:
    nearest = round(value)
    require(nearest >= 1 and math.isclose(value, nearest, rel_tol=ROUNDING), f"{what} must be a whole number of at least 1; got {value:g}")
    return nearest
