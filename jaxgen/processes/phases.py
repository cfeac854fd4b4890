"""The three phases of gradient dispersion along training."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen._core.checks import checked, floating, positive_integer, require


class Phases(NamedTuple):
    """Where the phases of training meet.

    Attributes:
        t_min: end of the first fall of dispersion (generalization), an index; -1 where it is not defined.
        t_peak: end of the rise that follows (memorization), an index at least `t_min`; equal to it if there is no rise.
    """

    t_min: Int[Array, ""]
    t_peak: Int[Array, ""]


def phase_segmentation(dispersion: Float[Array, " T"], *, window: int = 1) -> Phases:
    """First local minimum of the dispersion, and its global maximum after that.

    Dispersion falls while train and test accuracy rise together, rises while they part, and falls again to convergence.

    Args:
        dispersion: dispersion along training.
        window: length of the bins over which dispersion is averaged first, so that its noise does not make minima; an
            incomplete last bin is dropped. An index then is the middle of its bin.

    Returns:
        Indices into `dispersion`; both -1 if a traced `dispersion` is not finite.

    Raises:
        ValueError: if `dispersion` is not a vector, is shorter than `window`, or is not finite.

    Source: Wang and Mao 2022, Figure 2; spec INFO-34.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import processes
        >>> [int(t) for t in processes.phase_segmentation(jnp.array([3.0, 1.0, 2.0, 4.0, 0.5]))]
        [1, 3]
    """
    dispersion = floating("dispersion", dispersion)
    window = positive_integer("window", window)
    require(dispersion.ndim == 1, f"dispersion must have shape (T,); got shape {dispersion.shape}")
    length = dispersion.shape[0]
    require(length >= window, f"dispersion must be at least as long as window = {window}; got length {length}")
    dispersion = checked(dispersion, (jnp.isfinite(dispersion), "dispersion must be finite"))
    bins = dispersion[: length - length % window].reshape(-1, window).mean(axis=1)
    rises = jnp.append(bins[1:] > bins[:-1], True)
    first = jnp.argmax(rises)
    peak = jnp.argmax(jnp.where(jnp.arange(bins.size) >= first, bins, -jnp.inf))
    defined = jnp.isfinite(bins).all()
    return Phases(*(jnp.where(defined, index * window + (window - 1) // 2, -1) for index in (first, peak)))
