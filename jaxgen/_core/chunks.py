"""Independent seeds, in rounds of one chunk a device."""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxgen._core.checkpoint import Checkpoint, fingerprint, to_host
from jaxgen._core.checks import leading_axis
from jaxgen._core.sharding import place

SEEDS = "jaxgen_seeds"
"""Name of the mesh axis that seeds are spread over."""

KEPT_PROGRAMS = 16
"""Compiled programs that stay for the next run of the same function."""

Advance = Callable[[int, int], None]


def run_in_chunks(
    fn: Callable[..., PyTree],
    keys: PyTree,
    args: tuple[PyTree, ...],
    mesh: Mesh,
    width: int,
    advance: Advance | None,
    checkpoint: str | Path | None,
) -> PyTree:
    """`fn(key, *args)` for every key; each round runs one compiled program on `width` seeds a device."""
    num_seeds = leading_axis("keys", keys)
    num_chunks = -(-num_seeds // width)
    chunks_per_round = mesh.devices.size
    num_rounds = -(-num_chunks // chunks_per_round)
    split = NamedSharding(mesh, PartitionSpec(SEEDS))
    over_chunk, program = _programs(fn, mesh, width, len(args))

    def chunk_keys(first: int, count: int) -> PyTree:
        rows = np.minimum(np.arange(first * width, (first + count) * width), num_seeds - 1)
        return jax.tree.map(lambda a: a[rows], keys)

    store, like = None, None
    if checkpoint is not None:
        example = (chunk_keys(0, 1), *args)
        like = jax.eval_shape(over_chunk, *example)
        store = Checkpoint(checkpoint, fingerprint(over_chunk, example, keys=keys, width=width))

    rounds = []
    for index in range(num_rounds):
        first = index * chunks_per_round
        names = [f"chunk-{c:06d}" for c in range(first, min(first + chunks_per_round, num_chunks))]
        saved = [store.load(name, like) for name in names] if store else [None]
        if all(part is not None for part in saved):
            outputs = _concatenate(saved)
        else:
            outputs = program(place(chunk_keys(first, chunks_per_round), split), *args)
            if store:
                outputs = to_host(outputs)
                for i, name in enumerate(names):
                    store.save(name, _rows(outputs, slice(i * width, (i + 1) * width)))
                outputs = _rows(outputs, slice(len(names) * width))
        rounds.append(outputs)
        if advance:
            jax.block_until_ready(outputs)
            advance(index + 1, num_rounds)
    return _rows(_concatenate(rounds), slice(num_seeds))


@functools.lru_cache(maxsize=KEPT_PROGRAMS)
def _programs(fn: Callable[..., PyTree], mesh: Mesh, width: int, num_args: int) -> tuple[Callable[..., PyTree], Callable[..., PyTree]]:
    """The function of one chunk, and that of one chunk a device, compiled once for as many runs as there are."""
    over_chunk = jax.vmap(fn, in_axes=(0,) + (None,) * num_args) if width > 1 else _over_single(fn)
    specs = (PartitionSpec(SEEDS),) + (PartitionSpec(),) * num_args
    sharded = jax.shard_map(over_chunk, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(SEEDS), check_vma=False)
    return over_chunk, jax.jit(sharded)


def _over_single(fn: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """A chunk of one seed without `vmap`, which would run both branches of every `cond`."""

    def over_chunk(keys, *args):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], fn(jax.tree.map(lambda a: a[0], keys), *args))

    return over_chunk


def _rows(tree: PyTree, rows: slice) -> PyTree:
    return jax.tree.map(lambda a: a[rows], tree)


def _concatenate(parts: list[PyTree]) -> PyTree:
    def join(*leaves):
        arrays = [jnp.asarray(leaf) for leaf in leaves]
        return arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays)

    return jax.tree.map(join, *parts)
