"""Parts of the parameters, chosen by the paths of their leaves."""

import difflib
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxgen._core.checks import checked, require

Subtree = str | Sequence[str] | Callable[[str], bool]
"""A path, meaning the leaf there or all below it; several; or a predicate on paths."""

NUM_LISTED = 30
"""Paths that an error message lists."""


def paths(tree: PyTree) -> list[str]:
    """Path of every leaf, such as `"layer_0/kernel"`, in the order of `jax.tree.leaves`."""
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def split(tree: PyTree, subtree: Subtree | None) -> tuple[PyTree, PyTree]:
    """The chosen leaves and the others, both with the structure of `tree` and None in the holes; `combine` joins them.

    Args:
        tree: any pytree.
        subtree: path prefix, sequence of them, predicate on the path, or None for everything.

    Raises:
        ValueError: if a path is not there, or nothing is chosen.
        TypeError: if `subtree` is none of the above.
    """
    names = paths(tree)
    chosen = [True] * len(names) if subtree is None else _chosen(names, subtree)
    return eqx.partition(tree, jax.tree.unflatten(jax.tree.structure(tree), chosen))


def combine(selected: PyTree, rest: PyTree) -> PyTree:
    """The tree that was split; without a rest, `selected` is the whole of it."""
    return selected if rest is None else eqx.combine(selected, rest)


def differentiable(params: PyTree, subtree: Subtree | None = None) -> tuple[PyTree, PyTree]:
    """`split` of parameters with respect to which derivatives are taken.

    Args:
        params: parameters.
        subtree: as in `split`; leaves that are not chosen may be of any dtype.

    Returns:
        The chosen leaves, and the others. A chosen leaf that is not finite is refused when concrete, and NaN throughout
        when traced.

    Raises:
        TypeError: if a chosen leaf is not of a floating dtype.
        ValueError: if a chosen leaf holds NaN or infinity, `params` is empty, or as `split`.
    """
    selected, rest = split(jax.tree.map(jnp.asarray, params), subtree)
    leaves, structure = jax.tree.flatten(selected)
    require(bool(leaves), "params must have at least one leaf")
    return jax.tree.unflatten(structure, [_real_and_finite(name, leaf) for name, leaf in zip(paths(selected), leaves, strict=True)]), rest


def _real_and_finite(name: str, leaf: Array) -> Array:
    at = f"; at {name!r}" if name else ""
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        kind = "real" if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else "of a floating dtype"
        raise TypeError(f"params must be {kind}; got dtype {leaf.dtype}{at}")
    return checked(leaf, (jnp.isfinite(leaf), f"params must be finite; found NaN or infinity{at}"))


def _chosen(names: list[str], subtree: Subtree) -> list[bool]:
    if callable(subtree):
        chosen = [bool(subtree(name)) for name in names]
        require(any(chosen), f"subtree: the predicate is true of no path; {_there(names)}")
        return chosen
    prefixes = [subtree] if isinstance(subtree, str) else list(subtree)
    if not all(isinstance(prefix, str) for prefix in prefixes):
        raise TypeError(f"subtree must be a path, a sequence of paths or a predicate on paths; got {subtree!r}")
    require(bool(prefixes), "subtree must name at least one path; got an empty sequence")
    for prefix in prefixes:
        if not any(_below(name, prefix) for name in names):
            raise ValueError(f"subtree {prefix!r} is not in the parameters{_nearest(names, prefix)}; {_there(names)}")
    return [any(_below(name, prefix) for prefix in prefixes) for name in names]


def _below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}/")


def _nearest(names: list[str], prefix: str) -> str:
    parts = [name.split("/") for name in names]
    known = {"/".join(part[start:end]): "/".join(part[:end]) for part in parts for end in range(1, len(part) + 1) for start in range(end)}
    match = difflib.get_close_matches(prefix, known, n=1)
    return f" (did you mean {known[match[0]]!r}?)" if match else ""


def _there(names: list[str]) -> str:
    listed = ", ".join(map(repr, names[:NUM_LISTED]))
    return f"the paths are {listed}" + (f" and {len(names) - NUM_LISTED} more" if len(names) > NUM_LISTED else "")
