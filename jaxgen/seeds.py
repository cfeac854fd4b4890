"""Runs a function written for one seed over many: chunked or in lock step, over devices, with progress and checkpoints."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxgen._core.checks import is_traced, leading_axis, positive_integer, require
from jaxgen._core.chunks import SEEDS, run_in_chunks
from jaxgen._core.lock_step import run_in_lock_step
from jaxgen._core.sharding import place
from jaxgen._core.statistics import jackknife as jackknife
from jaxgen._core.statistics import mean as mean

__all__ = ["jackknife", "mean", "run"]


def run(
    fn: Callable[..., PyTree],
    keys: PyTree,
    *args: PyTree,
    mesh: Mesh | None = None,
    chunk_size: int | None = None,
    axis_name: str | None = None,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> PyTree:
    """`fn(key, *args)` for every key, stacked along a leading axis of length K.

    Two modes. *Chunked* (no `axis_name`): seeds are independent; they run in rounds of one chunk of `chunk_size` seeds a
    device, every round by the same compiled program (the last one padded), so that results are the same to the last bit
    for any number of devices and after a resume. *Lock step* (`axis_name` given): all seeds run together and `fn` may
    reduce over them by `lax.pmean(x, axis_name)` and the like, or by library functions that take `axis_name`; the latter
    keep the order of summation, and so the last bit, for any number of devices.

    Args:
        fn: function of one key and of `args`; pure, traceable. The same function object is compiled once.
        keys: typed keys of shape (K,), or any pytree with leading axis K that `fn` takes one slice of.
        args: shared by all seeds, and so held once.
        mesh: devices to spread the seeds over, all axes of it flattened, also over several processes. Default: every
            local CPU device (a lone core gains nothing from `vmap` of small trainings, a second core halves the time),
            or the one default accelerator.
        chunk_size: seeds that one device maps over at a time, which bounds memory. Default: 1 on a CPU, K elsewhere. On a
            CPU three or four save up to a quarter of the time where a step takes microseconds, and cost more where its
            products are large. Across chunk sizes results agree to rounding, which training amplifies in float32.
        axis_name: name of the seed axis in lock step.
        progress: shows a progress bar on standard error.
        checkpoint: folder to save to after each round, or in lock step after each of about 20 segments of the function's
            first loop (`jaxgen` training functions and flows; a function without one is saved when it ends). A second
            call resumes from there, and a finished one returns what was saved.

    Returns:
        The outputs of `fn` with a leading axis K on every leaf.

    Raises:
        ValueError: if K is 0, `chunk_size` < 1 or given in lock step, K is no multiple of the devices of `mesh` in lock
            step, or `checkpoint` holds a run of another configuration (nothing is overwritten then).

    Example:
        >>> import jax
        >>> from jaxgen import seeds
        >>> seeds.run(lambda key, scale: scale * jax.random.normal(key, (2,)), jax.random.split(jax.random.key(0), 5), 3.0).shape
        (5, 2)
    """
    num_seeds = leading_axis("keys", keys)
    require(num_seeds > 0, "keys must hold at least one seed; got 0")
    require(axis_name is None or chunk_size is None, "chunk_size has no meaning in lock step: every seed runs at once; drop it or axis_name")
    if is_traced(keys, args):
        require(mesh is None and checkpoint is None and not progress, "mesh, checkpoint and progress need concrete keys and arguments")
        return jax.vmap(fn, in_axes=(0,) + (None,) * len(args), axis_name=axis_name)(keys, *args)
    seed_mesh = _seed_mesh(mesh, num_seeds, axis_name is not None)
    args = place(args, NamedSharding(seed_mesh, PartitionSpec()))
    with _progress(progress) as advance:
        if axis_name is not None:
            return run_in_lock_step(fn, keys, args, seed_mesh, axis_name, advance, checkpoint)
        on_cpu = seed_mesh.devices.flat[0].platform == "cpu"
        width = (1 if on_cpu else num_seeds) if chunk_size is None else positive_integer("chunk_size", chunk_size)
        return run_in_chunks(fn, keys, args, seed_mesh, min(width, num_seeds), advance, checkpoint)


def _seed_mesh(mesh: Mesh | None, num_seeds: int, lock_step: bool) -> Mesh:
    if mesh is None:
        devices = np.array(jax.local_devices()) if jax.default_backend() == "cpu" else np.array(jax.local_devices()[:1])
        count = next(d for d in range(min(len(devices), num_seeds), 0, -1) if num_seeds % d == 0 or not lock_step)
        devices = devices[:count]
    else:
        devices = mesh.devices.reshape(-1)
        require(
            not lock_step or num_seeds % devices.size == 0,
            f"in lock step the number of seeds must be a multiple of the devices of mesh; got {num_seeds} seeds on {devices.size} devices",
        )
    return Mesh(devices, (SEEDS,), axis_types=(AxisType.Auto,))


@contextlib.contextmanager
def _progress(show: bool) -> Iterator[Callable[[int, int], None] | None]:
    if not show:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("seeds", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
