"""The empirical risk of a per-example loss, and its gradient."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import floating, leading_axis, require

LossFn = Callable[[PyTree, PyTree], Array]


def risk(loss_fn: LossFn, params: PyTree, batch: PyTree) -> Float[Array, ""]:
    """Mean of per-example losses, L_S(w) = (1/N) sum_i l(w, z_i).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        params: parameters w, any pytree.
        batch: examples, a pytree whose leaves have leading axis N.

    Returns:
        The empirical risk; the population risk's estimate when `batch` is independent of `params`.

    Raises:
        ValueError: if `batch` is empty, its leaves differ in leading axis, or `loss_fn` does not return shape (N,).

    Source: spec INFO-11.
    """
    count = leading_axis("batch", batch)
    require(count > 0, "batch must hold at least one example; got 0")
    losses = loss_fn(params, batch)
    found = jax.tree.map(jnp.shape, losses)
    require(found == (count,), f"loss_fn must return one loss per example, shape ({count},); got shape {found}")
    return floating("losses", losses).mean()


def value_and_gradient(loss_fn: LossFn, params: PyTree, batch: PyTree) -> tuple[Float[Array, ""], PyTree]:
    """Mean loss of a batch and its gradient, g(w, B) = (1/b) sum_{z in B} grad_w l(w, z).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        params: parameters w, a pytree of floating leaves (integers become the default float).
        batch: examples, a pytree whose leaves have leading axis N.

    Returns:
        The mean loss, and its gradient with the structure of `params`.

    Raises:
        ValueError: if `batch` is empty, its leaves differ in leading axis, or `loss_fn` does not return shape (N,).
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-16. Cost: one forward and one backward pass.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> loss_fn = lambda w, z: 0.5 * jnp.sum((w - z) ** 2, axis=-1)
        >>> value, gradient = gradients.value_and_gradient(loss_fn, jnp.zeros(2), jnp.array([[1.0, 0.0], [3.0, 0.0]]))
        >>> float(value), gradient.tolist()
        (2.5, [-2.0, 0.0])
    """
    return jax.value_and_grad(lambda w: risk(loss_fn, w, batch))(parameters(params))


def parameters(params: PyTree) -> PyTree:
    """`params` with floating leaves."""
    return jax.tree.map(lambda leaf: floating("params", leaf), params)
