"""What gradient descent with weight decay is known to do on a scale-invariant loss: one step, and the main theorem."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxgen._core.checks import checked, floating
from jaxgen.normalization.descent import effective_learning_rate, positive_norm, rate_and_decay


class ScaleInvariantGuarantee(NamedTuple):
    """The main theorem on gradient descent with weight decay.

    Attributes:
        num_steps: some t of at most this many steps has a gradient as small as
        squared_gradient_threshold: |grad L(w_t / |w_t|)|^2 is at most this.
        vacuous: whether every point of the sphere is known to have a gradient that small; true where the threshold is NaN.
    """

    num_steps: Float[Array, "..."]
    squared_gradient_threshold: Float[Array, "..."]
    vacuous: Bool[Array, "..."]


def scale_invariant_descent_bound(
    norm: ArrayLike, spherical_gradient_norm: ArrayLike, rho: ArrayLike, learning_rate: ArrayLike, weight_decay: ArrayLike = 0.0
) -> Float[Array, "..."]:
    """eta (1 - 2 rho eta / |w|^2) |grad L(w)|^2, a lower bound of L(w_t) - L(w_{t+1}) for eta wd <= 1/2.

    It does not depend on the weight decay, which only has to be in that range.

    Args:
        norm: |w| > 0 before the step.
        spherical_gradient_norm: |grad L(w / |w|)| = |w| |grad L(w)|.
        rho: spherical curvature, the largest |grad^2 L| on the unit sphere.
        learning_rate: eta > 0.
        weight_decay: wd >= 0.

    Returns:
        The bound, elementwise; negative where eta > |w|^2 / (2 rho).

    Raises:
        ValueError: if an argument is out of range or eta wd > 1/2 (NaN results when traced).

    Source: Theory of Deep Learning, theorem 13.4.6; spec NORM-12.

    Example:
        >>> from jaxgen import normalization
        >>> round(float(normalization.scale_invariant_descent_bound(1.0, 1.0, 2.0, 0.1)), 4)
        0.06
    """
    length, slope = positive_norm("norm", norm), floating("spherical_gradient_norm", spherical_gradient_norm)
    rho, rate = positive_norm("rho", rho), floating("learning_rate", learning_rate)
    rate, decay = rate_and_decay(rate, weight_decay, scalar=False)
    rate = checked(rate, (rate * decay <= 0.5, f"learning_rate * weight_decay must be at most 1/2; got {learning_rate} * {weight_decay}"))
    effective = effective_learning_rate(rate, length)
    return checked(
        effective * (1 - 2 * rho * effective) * slope**2,
        (slope >= 0, f"spherical_gradient_norm must be at least 0; got {spherical_gradient_norm}"),
    )


def scale_invariant_gd_guarantee(
    norm0: ArrayLike, rho: ArrayLike, learning_rate: ArrayLike, weight_decay: ArrayLike, *, max_gradient_norm: ArrayLike | None = None
) -> ScaleInvariantGuarantee:
    """How soon gradient descent with weight decay on a scale-invariant loss meets how small a gradient, from any scale.

    For eta wd < 1/2 some t <= (|ln(|w_0|^2 / (rho pi^2 eta))| + 3) / (2 eta wd) has
    |grad L(w_t / |w_t|)|^2 <= 8 pi^4 rho^2 eta wd. No gradient on the sphere exceeds pi rho, so that this says nothing
    unless eta wd < 1 / (8 pi^2) = 0.0127: `vacuous` tells, and tells more with a known largest gradient.

    Args:
        norm0: |w_0| > 0.
        rho: spherical curvature, the largest |grad^2 L| on the unit sphere, or an upper bound of it.
        learning_rate: eta > 0.
        weight_decay: wd > 0.
        max_gradient_norm: largest |grad L| on the unit sphere, if known; default pi rho. It is rho / 2 for a Rayleigh
            quotient, where the statement is vacuous unless eta wd < 1 / (32 pi^4) = 3.2e-4.

    Returns:
        Steps, threshold and vacuity, elementwise; the arguments broadcast.

    Raises:
        ValueError: if an argument is not positive or eta wd >= 1/2 (NaN results when traced).

    Source: Theory of Deep Learning, theorem 13.4.2; spec NORM-16.

    Example:
        >>> from jaxgen import normalization
        >>> found = normalization.scale_invariant_gd_guarantee(30.0, 2.0, 0.01, 0.01, max_gradient_norm=1.0)
        >>> round(float(found.num_steps), -1), round(float(found.squared_gradient_threshold), 4), bool(found.vacuous)
        (57120.0, 0.3117, False)
        >>> bool(normalization.scale_invariant_gd_guarantee(30.0, 2.0, 0.1, 0.2).vacuous)
        True
    """
    length, rho = positive_norm("norm0", norm0), positive_norm("rho", rho)
    rate, decay = rate_and_decay(floating("learning_rate", learning_rate), weight_decay, scalar=False, below=0.5)
    decay = checked(decay, (decay > 0, f"weight_decay must be positive; got {weight_decay}"))
    largest = math.pi * rho if max_gradient_norm is None else positive_norm("max_gradient_norm", max_gradient_norm)
    product = rate * decay
    distance = 2 * jnp.log(length) - jnp.log(rho * math.pi**2 * rate)
    threshold = 8 * math.pi**4 * rho**2 * product
    return ScaleInvariantGuarantee((jnp.abs(distance) + 3) / (2 * product), threshold, ~(threshold < largest**2))
