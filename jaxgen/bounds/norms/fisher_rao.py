"""Fisher-Rao norm, by one derivative along the parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import floating, leading_axis, require

LossFn = Callable[[PyTree, PyTree], Array]


def fisher_rao_norm(loss_fn: LossFn, params: PyTree, batch: PyTree) -> Float[Array, ""]:
    """Fisher-Rao norm (w^T F w)^(1/2) = (E <grad l(w, z), w>^2)^(1/2) with the empirical Fisher matrix F.

    For ReLU nets of D layers without biases, D (E <dl/df, f>^2)^(1/2).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        params: parameters w, a pytree of floating leaves.
        batch: examples, a pytree whose leaves have leading axis N.

    Returns:
        The norm, not changed by rescaling of hidden units.

    Raises:
        ValueError: if the leaves of `batch` differ in leading axis or `loss_fn` does not return one value per example.
        TypeError: if a leaf of `params` is not real.

    Source: Liang, Poggio, Rakhlin and Stokes 2019; spec GEN-40. Cost: one forward pass and its derivative.
    """
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    count = leading_axis("batch", batch)
    losses, slopes = jax.jvp(lambda w: loss_fn(w, batch), (params,), (params,))
    require(jnp.shape(losses) == (count,), f"loss_fn must return one loss per example, shape ({count},); got shape {jnp.shape(losses)}")
    return jnp.sqrt(jnp.mean(jnp.square(slopes)))
