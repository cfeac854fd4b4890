"""Gradients of single examples: themselves, their norms, their inner products."""

from collections.abc import Callable
from operator import add

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import leading_axis, positive_integer
from jaxgen.gradients.risks import LossFn, parameters, risk


def per_example(loss_fn: LossFn, params: PyTree, batch: PyTree) -> PyTree:
    """Gradient of every example's own loss, g_i = grad_w l(w, z_i).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        batch: examples, a pytree whose leaves have leading axis N.

    Returns:
        The structure of `params`, every leaf with a new leading axis N.

    Raises:
        ValueError: if the leaves of `batch` differ in leading axis, or `loss_fn` does not return one value per example.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-22, SDE-2. Cost: N forward and backward passes of one example each; memory N P.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> loss_fn = lambda w, z: 0.5 * jnp.sum((w - z) ** 2, axis=-1)
        >>> gradients.per_example(loss_fn, jnp.zeros(2), jnp.array([[1.0, 0.0], [3.0, 0.0]])).tolist()
        [[-1.0, 0.0], [-3.0, 0.0]]
    """
    return over_examples(gradient_of_one(loss_fn, params), batch, None)


def squared_norms(loss_fn: LossFn, params: PyTree, batch: PyTree, *, chunk_size: int | None = None) -> Float[Array, " N"]:
    """Squared Euclidean norm of every example's gradient, |g_i|^2.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        batch: examples, a pytree whose leaves have leading axis N.
        chunk_size: examples taken at a time, which bounds memory to chunk_size P. Default: all.

    Returns:
        The N squared norms.

    Raises:
        ValueError: as `per_example`, or if `chunk_size` < 1.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-22.
    """
    gradient = gradient_of_one(loss_fn, params)
    return over_examples(lambda example: optax.tree.norm(gradient(example), squared=True), batch, chunk_size)


def gram(loss_fn: LossFn, params: PyTree, batch: PyTree, other: PyTree | None = None) -> Float[Array, "N M"]:
    """Inner products of per-example gradients, <g_i, g_j>.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        batch: examples of the rows, a pytree whose leaves have leading axis N.
        other: examples of the columns, with leading axis M. Default: `batch`.

    Returns:
        The N x M matrix of inner products.

    Raises:
        ValueError: as `per_example`, for either batch.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-22. Cost: N M P multiplications; memory (N + M) P.
    """
    rows = per_example(loss_fn, params, batch)
    columns = rows if other is None else per_example(loss_fn, params, other)

    def inner(a, b):
        return jnp.matmul(a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1).T, precision=jax.lax.Precision.HIGHEST)

    return jax.tree.reduce(add, jax.tree.map(inner, rows, columns))


def gradient_of_one(loss_fn: LossFn, params: PyTree) -> Callable[[PyTree], PyTree]:
    """The gradient as a function of one example, a slice of a batch."""
    params = parameters(params)

    def gradient(example):
        batch = jax.tree.map(lambda leaf: leaf[None], example)
        return jax.grad(lambda w: risk(loss_fn, w, batch))(params)

    return gradient


def over_examples(fn: Callable[[PyTree], PyTree], batch: PyTree, chunk_size: int | None) -> PyTree:
    """`fn` of every example of `batch`, `chunk_size` of them at a time."""
    leading_axis("batch", batch)
    batch = jax.tree.map(jnp.asarray, batch)
    if chunk_size is None:
        return jax.vmap(fn)(batch)
    return jax.lax.map(fn, batch, batch_size=positive_integer("chunk_size", chunk_size))
