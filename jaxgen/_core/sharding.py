"""Placing arrays on the devices of one process or of several."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import PyTree

from jaxgen._core.checkpoint import is_key, to_host


def place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Every leaf under `sharding`; where devices belong to other processes, each process holds the whole of `tree`."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def one(leaf):
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return leaf
        leaf = jnp.asarray(leaf)
        data = np.asarray(to_host(leaf))
        array = jax.make_array_from_callback(data.shape, sharding, lambda index: data[index])
        return jax.jit(lambda a: jax.random.wrap_key_data(a, impl=jax.random.key_impl(leaf)))(array) if is_key(leaf) else array

    return jax.tree.map(one, tree)
