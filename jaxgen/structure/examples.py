"""Per-example gradients by differentiation of single examples: what stands in where there are no factors."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def rows(fn: Callable[[PyTree, PyTree], Array], params: PyTree, batch: PyTree, wanted: Sequence[int], *, alone: bool) -> list[Float[Array, "N ..."]]:
    """Every example's gradient of `fn(params, batch) -> (N,)` with respect to some leaves.

    Args:
        fn: function of parameters and a batch.
        params: parameters.
        batch: examples.
        wanted: numbers of the leaves.
        alone: whether an example alone in its batch is known to be what it is among others. Otherwise the whole batch is
            differentiated once for each result, N times the cost, which is right whatever the function does.
    """
    leaves, structure = jax.tree.flatten(params)

    def of(chosen: list[Any], batch: PyTree) -> Array:
        whole = list(leaves)
        for leaf, value in zip(wanted, chosen, strict=True):
            whole[leaf] = value
        return fn(jax.tree.unflatten(structure, whole), batch)

    chosen = [leaves[leaf] for leaf in wanted]
    if not alone:
        return jax.jacrev(of)(chosen, batch)
    return jax.vmap(lambda example: jax.grad(lambda chosen: of(chosen, jax.tree.map(lambda leaf: leaf[None], example))[0])(chosen))(batch)


def is_one_alone(fn: Callable[[PyTree, PyTree], Array], params: PyTree, batch: PyTree) -> bool:
    """Whether a batch of a single example gives a single result.

    Args:
        fn: function of parameters and a batch.
        params: parameters.
        batch: examples.
    """
    single = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *jnp.shape(leaf)[1:]), leaf.dtype), batch)
    try:
        found = jax.eval_shape(fn, params, single)
    except (TypeError, ValueError):
        return False
    return jax.tree.map(jnp.shape, found) == (1,)
