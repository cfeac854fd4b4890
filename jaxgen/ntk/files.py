"""Kernels larger than memory: computed block by block into a file, from where a killed run goes on."""

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgen._core.checkpoint import fingerprint
from jaxgen._core.checks import leading_axis, positive_integer, require
from jaxgen._core.subtrees import Subtree
from jaxgen.ntk.empirical import empirical, hashable
from jaxgen.ntk.features import ApplyFn
from jaxgen.ntk.plans import checked_problem, planned

BLOCK = 2048
"""Rows and columns of a block, by default."""


def to_memmap(
    path: str | os.PathLike[str],
    apply_fn: ApplyFn,
    params: PyTree,
    x1: PyTree,
    x2: PyTree | None = None,
    *,
    mode: str = "trace",
    strategy: str = "auto",
    block_size: int = BLOCK,
    precision: str | None = None,
    subtree: Subtree | None = None,
    overwrite: bool = False,
) -> np.memmap:
    """The empirical kernel in a file, for as many examples as the disk has room for.

    The file is in numpy's `.npy` format; beside it, `PATH.manifest.json` names what the kernel is of and which blocks are
    done. Called again after an interruption with the same arguments, it computes what is missing, to the same bytes.

    Args:
        path: of the file.
        apply_fn: as in `empirical`.
        params: as in `empirical`.
        x1: as in `empirical`.
        x2: as in `empirical`.
        mode: as in `empirical`.
        strategy: as in `empirical`.
        block_size: rows and columns of the blocks that are computed at a time: memory is what `plan` says for so many examples.
        precision: as in `empirical`.
        subtree: as in `empirical`.
        overwrite: start anew whatever the files hold.

    Returns:
        The kernel, mapped from the file, read-only.

    Raises:
        ValueError: if the files are of other parameters, data, net or options (and `overwrite` is not set), the disk has not
            room enough, the folder does not exist, the place of an example in its batch matters, or as `empirical`.
        TypeError: as `empirical`.

    Source: spec NTK-19. Cost: that of `empirical`, and the passes over two blocks of examples again for every block of the kernel.
    """
    path = Path(path)
    positive_integer("block_size", block_size)
    problem = checked_problem(apply_fn, params, x1, x2, mode, strategy, precision, subtree)
    count = max(leading_axis("x1", x1), leading_axis("x2", x1 if x2 is None else x2))
    plan = planned(apply_fn, problem, mode, strategy, None if block_size >= count else block_size)
    require(path.parent.is_dir(), f"there is no folder {str(path.parent)!r} to write the kernel to")
    dtype = np.dtype(np.result_type(*(jax.tree.leaves(problem.params)[leaf].dtype for leaf in problem.leaves)))
    digest = fingerprint(apply_fn, (problem.params, _rows(problem.x1, slice(0, 1))), data=(problem.params, problem.x1, problem.x2))
    options = [mode, plan.strategy, str(precision), [int(leaf) for leaf in problem.leaves]]
    identity = {"digest": digest, "options": options, "shape": list(plan.shape), "dtype": dtype.name, "block_size": block_size}
    manifest = path.with_name(path.name + ".manifest.json")
    done = set() if overwrite else _finished(path, manifest, identity)
    if not done:
        free = shutil.disk_usage(path.parent).free + (path.stat().st_size if path.exists() else 0)
        require(plan.output_bytes < free, f"the kernel takes {plan.output_bytes} bytes; the disk at {str(path.parent)!r} has {free} free")
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=plan.shape).flush()
        _write(manifest, identity, done)
    file = np.lib.format.open_memmap(path, mode="r+")
    block = partial(empirical, apply_fn, params, mode=mode, strategy=plan.strategy, precision=precision, subtree=hashable(subtree))
    _fill(file, block, x1, x2, block_size, mode, done, lambda: _write(manifest, identity, done))
    return np.lib.format.open_memmap(path, mode="r")


def _fill(file: np.memmap, block: Any, x1: PyTree, x2: PyTree | None, size: int, mode: str, done: set[tuple[int, int]], note: Any) -> None:
    """Computes the blocks that are not done; of a symmetric kernel those on and above the diagonal, and their mirror images."""
    rows, columns = file.shape[:2]
    for i, top in enumerate(range(0, rows, size)):
        for j, left in enumerate(range(0, columns, size)):
            if (i, j) in done or (x2 is None and j < i):
                continue
            mine, others = slice(top, min(top + size, rows)), slice(left, min(left + size, columns))
            if x2 is None and i == j:
                found = np.asarray(block(_rows(x1, mine)))
            else:
                found = np.asarray(block(_rows(x1, mine), _rows(x1 if x2 is None else x2, others)))
            file[mine, others] = found
            if x2 is None and i < j:
                file[others, mine] = found.transpose(1, 0, 3, 2) if mode == "full" else found.swapaxes(0, 1)
            file.flush()
            done.add((i, j))
            note()


def _finished(path: Path, manifest: Path, identity: dict[str, Any]) -> set[tuple[int, int]]:
    """Blocks that earlier runs left, if the files are of the same kernel."""
    if not manifest.exists():
        require(not path.exists(), f"{str(path)!r} exists and has no manifest beside it; overwrite=True replaces it")
        return set()
    try:
        found = json.loads(manifest.read_text())
        done = {(int(i), int(j)) for i, j in found.pop("done")}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{str(manifest)!r} is not a manifest of a kernel; overwrite=True replaces it") from None
    different = [name for name in identity if found.get(name) != identity[name]]
    what = {"digest": "the net, its parameters or the data"}
    require(
        not different,
        f"{str(path)!r} holds another kernel: {', '.join(what.get(name, name) for name in different)} differ; overwrite=True replaces it",
    )
    return done if path.exists() else set()


def _write(manifest: Path, identity: dict[str, Any], done: set[tuple[int, int]]) -> None:
    """Replaces the manifest whole, so that a kill leaves the old one or the new one."""
    part = manifest.with_name(manifest.name + ".part")
    part.write_text(json.dumps(identity | {"done": sorted(done)}, indent=1) + "\n")
    part.replace(manifest)


def _rows(x: PyTree, rows: slice) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[rows], x)
