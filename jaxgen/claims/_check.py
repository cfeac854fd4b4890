"""What a claim's body returns, and the sides that it is made of."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PyTree

from jaxgen._core.checks import floating, is_traced, require
from jaxgen._core.results import Bound, Estimate


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("lhs", "rhs", "margin", "held"),
    meta_fields=("relation", "tolerance", "unit", "test", "parameter"),
)
@dataclasses.dataclass(frozen=True)
class Check:
    """Two sides of a statement on one seed and how they compare.

    Attributes:
        lhs: left side, of the common shape of both sides.
        rhs: right side, of the same shape.
        margin: by how much the statement holds, elementwise, in `unit`; NaN where a side is NaN. In a statistical check
            the quantity whose law over the seeds is tested.
        held: whether the statement holds on this seed, a scalar; in a statistical check whether the seed can be used.
        relation: sign between the sides, for reports.
        tolerance: what was allowed, in words; empty if nothing was.
        unit: unit of `margin`.
        test: name of the test over the seeds in a statistical check, None in a deterministic one.
        parameter: constant of the test, for instance a probability.
    """

    lhs: Any
    rhs: Any
    margin: Any
    held: Any
    relation: str
    tolerance: str = ""
    unit: str = "units of the sides"
    test: str | None = None
    parameter: float | None = None


def sides(lhs: PyTree, rhs: PyTree) -> tuple[Array, Array]:
    """Both sides as arrays of one shape and dtype."""
    left, right = as_array("lhs", lhs), as_array("rhs", rhs)
    try:
        shape = jnp.broadcast_shapes(left.shape, right.shape)
    except ValueError as error:
        raise ValueError(f"lhs and rhs must broadcast; got shapes {left.shape} and {right.shape}") from error
    require(0 not in shape, f"lhs and rhs must not be empty; got shapes {left.shape} and {right.shape}")
    dtype = jnp.result_type(left, right)
    return jnp.broadcast_to(left, shape).astype(dtype), jnp.broadcast_to(right, shape).astype(dtype)


def as_array(name: str, side: PyTree) -> Array:
    """A side as one array: a bound by its value, a pytree as a vector."""
    if isinstance(side, Bound):
        side = side.value
    if isinstance(side, Estimate):
        raise TypeError(f"{name} is an Estimate: compare it by equal_within or at_most_within, or take its value")
    if isinstance(side, dict | list | tuple):
        leaves = jax.tree.leaves(side)
        require(len(leaves) > 0, f"{name} must hold at least one array")
        return jnp.concatenate([as_array(name, leaf).ravel() for leaf in leaves])
    if isinstance(side, bool) or (hasattr(side, "dtype") and jnp.issubdtype(side.dtype, jnp.bool_)):
        side = 1 * side
    return floating(name, side)


def difference(small: Array, large: Array) -> Array:
    """large - small, and zero for equal infinities."""
    return jnp.where(small == large, 0.0, large - small)


def slack_array(slack: ArrayLike) -> Array:
    """A slack as an array; a concrete negative one is refused."""
    array = floating("slack", slack)
    if not is_traced(array):
        require(bool(jnp.all(array >= 0)), f"slack must be at least 0; got {slack}")
    return array


def slack_in_words(slack: ArrayLike) -> str:
    """A slack for reports; empty for none."""
    if not isinstance(slack, int | float):
        return "slack by element"
    return f"slack {slack:g}" if slack else ""
