"""What the descents of this room have in common: their starts and learning rates."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen._core.checks import checked, floating, require

GradientFn = Callable[[Array], Array]
Record = Callable[[Array, Array, Any], PyTree]


def start(grad_fn: GradientFn, w0: ArrayLike) -> Array:
    """w0 as a floating array that `grad_fn` takes and returns the shape of."""
    w0 = floating("w0", w0)
    found = jax.eval_shape(grad_fn, w0)
    require(jnp.shape(found) == w0.shape, f"grad_fn must return the shape of w0, {w0.shape}; got {jnp.shape(found)}")
    return w0


def step_sizes(learning_rates: Float[ArrayLike, " T"], w0: Array) -> Float[Array, " T"]:
    """One positive learning rate per step, in the dtype of w0."""
    rates = floating("learning_rates", learning_rates)
    require(rates.ndim == 1, f"learning_rates must have one value per step, shape (T,); got shape {rates.shape}")
    positive = jnp.all(rates > 0) & jnp.all(jnp.isfinite(rates))
    return checked(rates, (positive, "learning_rates must be positive and finite")).astype(w0.dtype)
