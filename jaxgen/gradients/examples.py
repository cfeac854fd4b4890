"""Gradients of single examples: themselves, their norms, their inner products."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen import structure
from jaxgen._core.checks import leading_axis, positive_integer, require
from jaxgen.gradients.risks import LossFn, parameters, risk

_compiled = partial(jax.jit, static_argnums=0, static_argnames=("method", "chunk_size"))


def per_example(loss_fn: LossFn, params: PyTree, batch: PyTree, *, method: str = "auto", explain: bool = False) -> PyTree:
    """Gradient of every example's own loss, g_i = grad_w l(w, z_i).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        batch: examples, a pytree whose leaves have leading axis N.
        method: `"structured"`: one forward and one backward pass of the batch, then one product for every layer, from the
            traced program's structure; `"vmap"`: every example by itself; `"auto"`: structure, and differentiation of single
            examples for what has none. Equal to rounding.
        explain: also returns which parameters went which way, a `structure.Explanation`.

    Returns:
        The structure of `params`, every leaf with a new leading axis N; with `explain`, a pair of it and the explanation.

    Raises:
        ValueError: if the leaves of `batch` differ in leading axis, `batch` is empty, `loss_fn` does not return one value
            per example or couples examples, or `method` is unknown or `"structured"` where the structure is not understood.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-22, SDE-2. Cost: two to three passes over the batch; memory N P.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> loss_fn = lambda w, z: 0.5 * jnp.sum((w - z) ** 2, axis=-1)
        >>> gradients.per_example(loss_fn, jnp.zeros(2), jnp.array([[1.0, 0.0], [3.0, 0.0]])).tolist()
        [[-1.0, 0.0], [-3.0, 0.0]]
    """
    found = _per_example(loss_fn, params, batch, method=method)
    return (found, structure.explain(loss_fn, params, batch)) if explain else found


def squared_norms(
    loss_fn: LossFn, params: PyTree, batch: PyTree, *, method: str = "auto", chunk_size: int | None = None, explain: bool = False
) -> PyTree[Float[Array, " N"]]:
    """Squared Euclidean norm of every example's gradient, |g_i|^2.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        batch: examples, a pytree whose leaves have leading axis N.
        method: as in `per_example`.
        chunk_size: examples taken at a time, which bounds memory. Default: all.
        explain: also returns which parameters went which way, a `structure.Explanation`.

    Returns:
        The N squared norms; with `explain`, a pair of them and the explanation.

    Raises:
        ValueError: as `per_example`, or if `chunk_size` < 1, or smaller than N for a loss in which the place of an example
            in its batch matters.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-22. Cost, for dense layers: one forward pass, and a backward pass without gradients of weights, less
    than one gradient of the batch; memory of the activations. Convolutions and sequences: one to two gradients. In float32
    accurate to a few units of rounding of the largest term of each norm.
    """
    found = _squared_norms(loss_fn, params, batch, method=method, chunk_size=chunk_size)
    return (found, structure.explain(loss_fn, params, batch)) if explain else found


def gram(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    other: PyTree | None = None,
    *,
    method: str = "auto",
    chunk_size: int | None = None,
    explain: bool = False,
) -> PyTree[Float[Array, "N M"]]:
    """Inner products of per-example gradients, <g_i, g_j>.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        batch: examples of the rows, a pytree whose leaves have leading axis N.
        other: examples of the columns, with leading axis M. Default: `batch`.
        method: as in `per_example`.
        chunk_size: rows taken at a time, which bounds memory beside that of the columns. Default: all.
        explain: also returns which parameters went which way, a `structure.Explanation`.

    Returns:
        The N x M matrix of inner products; with `explain`, a pair of it and the explanation.

    Raises:
        ValueError: as `squared_norms`, for either batch.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-22. Cost, for a dense layer of I inputs and O outputs: N M (I + O) multiplications in place of N M I O;
    elsewhere N M P.
    """
    found = _gram(loss_fn, params, batch, other, method=method, chunk_size=chunk_size)
    return (found, structure.explain(loss_fn, params, batch)) if explain else found


@partial(jax.jit, static_argnums=0, static_argnames="method")
def _per_example(loss_fn, params, batch, *, method):
    return structure.factorize(loss_fn, params, batch, method=method).per_example()


@_compiled
def _squared_norms(loss_fn, params, batch, *, method, chunk_size):
    check_chunks(loss_fn, params, batch, chunk_size)
    return over_chunks(lambda part: structure.factorize(loss_fn, params, part, method=method).squared_norms(), batch, chunk_size)


@_compiled
def _gram(loss_fn, params, batch, other, *, method, chunk_size):
    check_chunks(loss_fn, params, batch, chunk_size)
    columns = structure.factorize(loss_fn, params, batch if other is None else other, method=method)
    if other is None and (chunk_size is None or chunk_size >= columns.count):
        return columns.gram(columns)
    return over_chunks(lambda part: structure.factorize(loss_fn, params, part, method=method).gram(columns), batch, chunk_size)


def check_chunks(loss_fn: LossFn, params: PyTree, batch: PyTree, chunk_size: int | None) -> None:
    """Refuses to take a batch in chunks where the place of an example in it matters."""
    if chunk_size is None or positive_integer("chunk_size", chunk_size) >= leading_axis("batch", batch):
        return
    require(
        not structure.is_positional(loss_fn, params, batch),
        "chunk_size cannot be used: in loss_fn the place of an example in its batch matters (noise of the batch's shape, for instance), "
        "or may matter",
    )


def over_chunks(fn: Callable[[PyTree], Array], batch: PyTree, chunk_size: int | None) -> Array:
    """`fn` of every chunk of a batch, an array with the examples leading; joined."""
    batch, count = jax.tree.map(jnp.asarray, batch), leading_axis("batch", batch)
    if chunk_size is None or chunk_size >= count:
        return fn(batch)
    chunks, rest = split_chunks(batch, chunk_size)
    found = jax.lax.map(fn, chunks)
    found = found.reshape(-1, *found.shape[2:])
    return found if rest is None else jnp.concatenate([found, fn(rest)])


def split_chunks(batch: PyTree, chunk_size: int) -> tuple[PyTree, PyTree | None]:
    """Whole chunks, stacked along a new leading axis, and what remains."""
    count = leading_axis("batch", batch)
    whole = count // chunk_size * chunk_size
    chunks = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, chunk_size, *leaf.shape[1:]), batch)
    return chunks, None if whole == count else jax.tree.map(lambda leaf: leaf[whole:], batch)


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
