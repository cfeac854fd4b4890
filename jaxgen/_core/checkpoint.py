"""Checkpoints: a folder with a manifest that names the configuration, and parts written whole or not at all."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.extend.core import Literal
from jaxtyping import PyTree

FORMAT = 1


def fingerprint(fn: Callable[..., Any], example: tuple[PyTree, ...], **configuration: Any) -> str:
    """A digest of the program that `fn` traces to on `example`, of its constants, and of the values of all inputs."""
    digest = hashlib.sha256()
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), example)
    for part in _describe(jax.make_jaxpr(fn)(*shapes)):
        digest.update(part.encode())
    for leaf in jax.tree.leaves((example[1:], configuration)):
        digest.update(_content(leaf))
    return digest.hexdigest()


def _describe(program: Any) -> Iterator[str]:
    """The equations that the outputs need; unlike the printed program, the same whatever was traced before it.

    Left out are the `checkify` checks, which number themselves through the life of a process, and the devices.
    """
    jaxpr, consts = getattr(program, "jaxpr", program), getattr(program, "consts", ())
    numbers: dict[Any, int] = {}

    def name(atom):
        if isinstance(atom, Literal):
            return hashlib.sha256(_content(atom.val)).hexdigest()
        return f"{numbers.setdefault(atom, len(numbers))}:{getattr(atom.aval, 'dtype', '')}{getattr(atom.aval, 'shape', '')}"

    yield " ".join(name(var) for var in (*jaxpr.constvars, *jaxpr.invars))
    yield from (hashlib.sha256(_content(const)).hexdigest() for const in consts)
    for equation in _needed(jaxpr):
        yield f"{equation.primitive} " + " ".join(name(atom) for atom in (*equation.invars, *equation.outvars))
        for key, value in sorted(equation.params.items()):
            if "sharding" in key or "mesh" in key:
                continue
            yield key
            yield from _describe_parameter(value)
    yield " ".join(name(atom) for atom in jaxpr.outvars)


def _needed(jaxpr: Any) -> list[Any]:
    needed, kept = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}, []
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars):
            kept.append(equation)
            needed.update(atom for atom in equation.invars if not isinstance(atom, Literal))
    return kept[::-1]


def _describe_parameter(value: Any) -> Iterator[str]:
    if hasattr(value, "eqns"):
        yield from _describe(value)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _describe_parameter(item)
    elif callable(value):
        yield getattr(value, "__qualname__", type(value).__qualname__)
    else:
        yield re.sub(r"0x[0-9a-f]+", "", repr(value))


def _content(leaf: Any) -> bytes:
    array = to_host(leaf)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()


class Checkpoint:
    """Saved parts of one run, each a pytree of arrays.

    Args:
        folder: created if missing.
        configuration: digest of the run; a folder that holds another run's is refused.

    Raises:
        ValueError: if `folder` holds a run of another configuration, or files that are no checkpoint.
    """

    def __init__(self, folder: str | Path, configuration: str):
        self.folder = Path(folder)
        manifest = self.folder / "manifest.json"
        if manifest.exists():
            try:
                found = json.loads(manifest.read_text())
            except json.JSONDecodeError as error:
                raise ValueError(f"{manifest} is not a checkpoint's manifest; nothing was changed") from error
            if found != {"format": FORMAT, "configuration": configuration}:
                raise ValueError(
                    f"checkpoint {self.folder} belongs to a different configuration (function, keys, arguments or chunk size); "
                    "nothing was overwritten: choose another folder or remove this one"
                )
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ValueError(f"checkpoint {self.folder} is neither empty nor a checkpoint; nothing was changed")
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("every process has looked at the folder before one writes to it")
        if jax.process_index() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(manifest, lambda path: path.write_text(json.dumps({"format": FORMAT, "configuration": configuration})))

    def save(self, name: str, tree: PyTree) -> None:
        """Writes one part, replacing an older one in a single step."""
        if jax.process_index() == 0:
            leaves = {f"leaf-{i:06d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}
            self._write(self.folder / f"{name}.npz", partial(_savez, leaves))

    def load(self, name: str, like: PyTree) -> Any:
        """The part of that name with the structure of `like` (arrays or shapes), or None if it was not saved."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as file:
            saved = [file[f"leaf-{i:06d}"] for i in range(len(file.files))]
        expected, structure = jax.tree.flatten(like)
        leaves = [
            jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(jax.random.key(0))) if is_key(target) else leaf
            for leaf, target in zip(saved, expected, strict=True)
        ]
        return jax.tree.unflatten(structure, leaves)

    @staticmethod
    def _write(path: Path, write: Callable[[Path], Any]) -> None:
        temporary = path.with_name(f".{path.name}.partial")
        write(temporary)
        os.replace(temporary, path)


def _savez(leaves: dict[str, np.ndarray], path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **leaves)


def to_host(tree: PyTree) -> PyTree:
    """`tree` as numpy arrays (keys as their data), gathered over processes where it is spread over several."""

    def one(leaf):
        if is_key(leaf):
            leaf = jax.random.key_data(leaf)
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(one, tree)


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed random keys."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
