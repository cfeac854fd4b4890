"""Features of many examples, a few at a time where what is held between activations and features would leave the cache."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxgen._core.checks import leading_axis
from jaxgen.ntk.features import Features
from jaxgen.structure import Layers

CACHE = 2**22
"""Bytes of cotangents that a block of examples may have."""


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
    return dataclasses.replace(jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[:count], found), count=count)
