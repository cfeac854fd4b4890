"""Parameters of trained nets, read from files."""

import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxgen._core.checks import require


def load_params(path: str | Path) -> PyTree:
    """A tree of parameters from an `.npz` file, a flax `.msgpack` file or an orbax checkpoint's folder. Nothing is unpickled.

    In an `.npz` file an array's name is its path in the tree, `Dense_0/kernel`; where the names on a level are 0, 1, 2, ... they are
    the places of a list. `parameters.npz` of a study is such a file.

    Args:
        path: of the file or folder.

    Returns:
        The tree, of dicts and lists, with arrays for leaves.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the file is of no such kind, holds objects that are no arrays of numbers, or is damaged.

    Example:
        >>> import tempfile, numpy as np
        >>> from jaxgen import models
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/params.npz", **{"Dense_0/kernel": np.ones((2, 3)), "Dense_0/bias": np.zeros(3)})
        ...     params = models.load_params(f"{folder}/params.npz")
        >>> params["Dense_0"]["kernel"].shape
        (2, 3)
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no parameters at {path}")
    if path.is_dir():
        found = _orbax(path)
    elif path.suffix == ".npz":
        found = _npz(path)
    elif path.suffix == ".msgpack":
        found = _msgpack(path)
    else:
        raise ValueError(f"{path} is neither an .npz nor a .msgpack file nor a folder of a checkpoint")
    leaves = jax.tree.leaves(found)
    require(bool(leaves) and all(np.issubdtype(np.asarray(leaf).dtype, np.number) for leaf in leaves), f"{path} holds no tree of numbers")
    return jax.tree.map(jnp.asarray, found)


def _npz(path: Path) -> PyTree:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an .npz file of plain arrays: {error}") from None
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, last = name.split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
            require(isinstance(place, dict), f"{path} has both an array {parent!r} and entries below it")
        require(last not in place, f"{path} has {name!r} as an array and as a folder of arrays")
        place[last] = array
    return _with_lists(tree)


def _with_lists(tree: Any) -> Any:
    """Dicts whose names are 0, 1, 2, ... as lists."""
    if not isinstance(tree, dict):
        return tree
    tree = {name: _with_lists(item) for name, item in tree.items()}
    if tree and set(tree) == {str(i) for i in range(len(tree))}:
        return [tree[str(i)] for i in range(len(tree))]
    return tree


def _msgpack(path: Path) -> PyTree:
    from flax import serialization

    try:
        return serialization.msgpack_restore(path.read_bytes())
    except Exception as error:
        raise ValueError(f"{path} is not a flax .msgpack file: {error}") from None


def _orbax(path: Path) -> PyTree:
    try:
        import orbax.checkpoint as orbax
    except ImportError:
        raise ValueError(f"{path} is a folder: reading a checkpoint needs orbax; pip install orbax-checkpoint") from None
    try:
        return orbax.StandardCheckpointer().restore(path.absolute())
    except Exception as error:
        raise ValueError(f"{path} is not an orbax checkpoint: {str(error).splitlines()[0]}") from None
