"""Features and kernels of many examples, a few at a time where what is held between factors and results would leave the cache."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxgen._core.checks import leading_axis
from jaxgen.ntk.features import Features
from jaxgen.structure import Layers

CACHE = 2**22
"""Bytes of cotangents that a block of examples may have."""
TILE = 640
"""Rows and columns, one for every example and output, of a tile of a full kernel: a few of its size stay in the cache of a CPU."""


def block_size(layers: Layers, num_outputs: int, mode: str) -> int:
    """Number of examples whose cotangents stay in the cache of a CPU; all of them elsewhere, and where these are all that is kept.

    Those of dense layers are features themselves, but for sums over outputs, which take them in another order.
    """
    dense = all(math.prod(site.shape[:-1]) <= layers.count for site in layers.sites)
    if jax.default_backend() != "cpu" or (dense and mode in ("full", "diagonal")):
        return layers.count
    dtype = jnp.result_type(*(layers.analysis.graph.dtype(output) for output in layers.analysis.graph.outputs))
    cotangents = sum(num_outputs * math.prod((*site.lengths, *site.shape)) * dtype.itemsize for site in layers.sites)
    return min(max(CACHE * layers.count // max(cotangents, 1), 1), layers.count)


def in_blocks(of: Callable[[PyTree], Features], x: PyTree, size: int) -> Features:
    """The features of all examples, from those of `size` at a time.

    Args:
        of: features of so many examples.
        x: all examples.
        size: examples in a block.
    """
    count = leading_axis("x", x)
    rows = jnp.minimum(jnp.arange(-(-count // size) * size), count - 1).reshape(-1, size)
    found = jax.lax.map(lambda block: of(jax.tree.map(lambda leaf: leaf[block], x)), rows)
    return found.of_examples(lambda array: array.reshape(-1, *array.shape[2:])[:count], count)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def in_tiles(left: Features, right: Features | None, precision: str | None) -> Array:
    """The full kernel, every tile of it brought into the order of the result while it is in the cache.

    Args:
        left: of the rows.
        right: of the columns; None where they are those of the rows.
        precision: as in `empirical`.
    """
    others = left if right is None else right
    width = max(TILE // left.num_outputs, 1)

    def of_row(start: Array, count: int) -> Features:
        return left.rows(start, count).paired()

    def tile(row: Features, start: Array, count: int) -> Array:
        return row.kernel(others.rows(start, count), "full", precision)

    if max(left.count, others.count) <= width:
        return left.kernel(others, "full", precision)
    shape = (left.count, others.count, left.num_outputs, left.num_outputs)
    return filled(jax.ShapeDtypeStruct(shape, left.dtype), width, of_row, tile, symmetric=right is None)


@in_tiles.defjvp
def _in_tiles_jvp(precision: str | None, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """Derivatives of the whole at once, which can be transposed."""
    return jax.jvp(lambda left, right: left.kernel(left if right is None else right, "full", precision), primals, tangents)


def filled(
    whole: jax.ShapeDtypeStruct,
    width: int,
    of_row: Callable[[Array, int], Any],
    block: Callable[[Any, Array, int], Array],
    *,
    symmetric: bool,
) -> Array:
    """An array made of blocks, each put where it belongs, with its mirror image if it is symmetric, before the next is computed.

    Args:
        whole: shape and dtype; the first two axes are those of the blocks.
        width: greatest size of blocks. All are of the same one: the last start early.
        of_row: what the blocks of a row have in common, of the row's start and size.
        block: a block, of that and the column's start and size.
        symmetric: whether blocks below the diagonal are mirror images.
    """
    (rows, tall), (columns, wide) = (_spans(count, width) for count in whole.shape[:2])

    def panel(i: Array, found: Array) -> Array:
        row = of_row(rows[i], tall)

        def one(j: Array, found: Array) -> Array:
            own = block(row, columns[j], wide)
            found = _put(found, own, rows[i], columns[j])
            return _put(found, mirrored(own), columns[j], rows[i]) if symmetric else found

        return jax.lax.fori_loop(i if symmetric else 0, len(columns), one, found)

    return jax.lax.fori_loop(0, len(rows), panel, jnp.zeros(whole.shape, whole.dtype))


def _spans(count: int, width: int) -> tuple[Array, int]:
    """Starts of blocks, and their size."""
    size = -(-count // -(-count // width))
    return jnp.asarray(np.minimum(np.arange(0, count, size), count - size)), size


def _put(whole: Array, block: Array, row: Array, column: Array) -> Array:
    """The whole with the block in its place."""
    return jax.lax.dynamic_update_slice(whole, block, (row, column, *[0] * (whole.ndim - 2)))


def mirrored(block: Array) -> Array:
    """The block on the other side of the diagonal."""
    return block.transpose(1, 0, *reversed(range(2, block.ndim)))
