"""Seeds in lock step: one program over all of them, whose time loop can be cut for checkpoints and progress."""

import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxgen._core.checkpoint import Checkpoint, fingerprint, to_host
from jaxgen._core.chunks import KEPT_PROGRAMS, SEEDS, Advance
from jaxgen._core.scan import Loop, intercepted, run_segment
from jaxgen._core.sharding import place

NUM_SEGMENTS = 20


class _Cut(Exception):
    """Leaves a function that is traced only up to, or through, its loop; carries what the trace produced."""

    def __init__(self, produced: PyTree):
        super().__init__("a trace that ends at its loop")
        self.produced = produced


def run_in_lock_step(
    fn: Callable[..., PyTree],
    keys: PyTree,
    args: tuple[PyTree, ...],
    mesh: Mesh,
    axis_name: str,
    advance: Advance | None,
    checkpoint: str | Path | None,
) -> PyTree:
    """`fn(key, *args)` for every key at once, seeds spread over `mesh` by the compiler."""
    split = NamedSharding(mesh, PartitionSpec(SEEDS))
    keys = place(keys, split)
    shared = (None,) * len(args)
    over_seeds = partial(jax.vmap, axis_name=axis_name)
    with jax.set_mesh(mesh):
        whole = _program(fn, axis_name, split, len(args))
        if checkpoint is None and advance is None:
            return whole(keys, *args)
        store = None
        if checkpoint is not None:
            store = Checkpoint(checkpoint, fingerprint(whole, (keys, *args), keys=keys))
            result = store.load("result", jax.eval_shape(whole, keys, *args))
            if result is not None:
                return jax.tree.map(jnp.asarray, result)
        cut = _CutFunction(fn)
        start = jax.jit(over_seeds(cut.head, in_axes=(0, *shared)), out_shardings=split)(keys, *args)
        if cut.loop is None:
            result = start
        else:

            def through(keys, state, time, *args, length):
                return over_seeds(partial(cut.segment, length=length), in_axes=(0, 0, None, *shared))(keys, state, time, *args)

            segment = jax.jit(through, static_argnames="length", out_shardings=split)
            finished = _run_segments(cut.loop, start, lambda *xs, length: segment(keys, *xs, *args, length=length), split, store, advance)
            result = jax.jit(over_seeds(cut.tail, in_axes=(0, 0, *shared)), out_shardings=split)(keys, finished, *args)
        if store:
            result = to_host(result)
            store.save("result", result)
            result = jax.tree.map(jnp.asarray, result)
        return result


@functools.lru_cache(maxsize=KEPT_PROGRAMS)
def _program(fn: Callable[..., PyTree], axis_name: str, split: NamedSharding, num_args: int) -> Callable[..., PyTree]:
    return jax.jit(jax.vmap(fn, in_axes=(0,) + (None,) * num_args, axis_name=axis_name), out_shardings=split)


class _CutFunction:
    """A function with a loop, as three: up to the loop, a part of the loop, and the rest. `loop` is known after `head`."""

    def __init__(self, fn: Callable[..., PyTree]):
        self.fn = fn
        self.loop: Loop | None = None

    def head(self, key, *args):
        """The loop's initial state, or the result of a function without a loop."""

        def stop(loop, state):
            self.loop = loop
            raise _Cut(jax.tree.map(jnp.asarray, state))

        return self._until_cut(stop, key, *args)

    def segment(self, key, state, start, *args, length):
        """State and records after `length` more steps."""

        def advance(loop, _):
            raise _Cut(run_segment(loop, state, start, length))

        return self._until_cut(advance, key, *args)

    def tail(self, key, finished, *args):
        """The function's result, given what its loop ended with."""
        with intercepted(lambda loop, state: finished):
            return self.fn(key, *args)

    def _until_cut(self, interceptor, key, *args):
        try:
            with intercepted(interceptor):
                return self.fn(key, *args)
        except _Cut as cut:
            return cut.produced


def _run_segments(loop: Loop, state, segment, split, store: Checkpoint | None, advance: Advance | None):
    length = loop.every * max(1, -(-loop.num_records // NUM_SEGMENTS))
    time, records = 0, None
    if store:
        _, like = jax.eval_shape(partial(segment, length=length), state, jnp.int32(0))
        saved = store.load("state", (np.int32(0), state, like))
        if saved is not None:
            time, records = int(saved[0]), saved[2]
            state = place(saved[1], split)
    while records is None or time < loop.num_steps:
        steps = min(length, loop.num_steps - time)
        state, new = segment(state, jnp.int32(time), length=steps)
        records = new if time == 0 else jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a), b], axis=1), records, new)
        time += steps
        if store:
            records = to_host(records)
            store.save("state", (np.int32(time), to_host(state), records))
        if advance:
            jax.block_until_ready(state)
            advance(time, loop.num_steps)
        if time >= loop.num_steps:
            break
    return state, place(records, split)
