"""Reductions across seeds that run in lock step under a named axis."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import PyTree


def gather(tree: PyTree, axis_name: str) -> PyTree:
    """Every seed's leaves stacked along a new leading axis, whole on each device.

    A reduction over the stacked axis then associates in one order whatever the number of devices, which `lax.psum` over a
    sharded axis does not; the barrier keeps one device from fusing the stack away. Memory: K copies of `tree` on every
    device.
    """

    def one(leaf: jax.Array) -> jax.Array:
        stacked = jax.lax.all_gather(leaf, axis_name)
        if not jax.sharding.get_abstract_mesh().empty:
            stacked = jax.lax.with_sharding_constraint(stacked, PartitionSpec())
        return jax.lax.optimization_barrier(stacked)

    return jax.tree.map(one, jax.tree.map(jnp.asarray, tree))
