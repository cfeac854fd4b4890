"""Argument checks: shapes at trace time, values when they are concrete, NaN when they are traced."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.experimental import checkify
from jaxtyping import Array, ArrayLike, PyTree


def is_traced(*values: Any) -> bool:
    """Whether any leaf of `values` is being traced, so that its value cannot be looked at."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def require(condition: bool, message: str) -> None:
    """Raises `ValueError(message)` unless a condition known at trace time holds."""
    if not condition:
        raise ValueError(message)


def choice(name: str, value: Any, options: Sequence[str]) -> None:
    """Raises `ValueError` unless `value` is one of `options`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}; got {value!r}")


def floating(name: str, value: ArrayLike) -> Array:
    """`value` as a floating array (integers become the default float); complex and non-numeric input is refused."""
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of numbers; got {type(value).__name__}") from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating) or not jnp.issubdtype(array.dtype, jnp.number):
        raise TypeError(f"{name} must be real; got dtype {array.dtype}")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def positive_integer(name: str, value: Any, *, at_least: int = 1) -> int:
    """`value` as a Python integer of at least `at_least`."""
    try:
        integer = int(value)
    except (TypeError, ValueError, jax.errors.ConcretizationTypeError) as error:
        raise TypeError(f"{name} must be a concrete integer; got {value!r}") from error
    if integer != value or integer < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}; got {value!r}")
    return integer


def leading_axis(name: str, tree: PyTree) -> int:
    """The common length of the leading axis of every leaf of `tree`."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]
    if not shapes or () in shapes or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"every leaf of {name} must have the same leading axis; found shapes {shapes or 'of no leaf'}")
    return shapes[0][0]


def per_step(name: str, value: ArrayLike, num_steps: int) -> Array:
    """A scalar or a vector of `num_steps` values, as a vector of `num_steps` values."""
    array = floating(name, value)
    if array.ndim > 1 or (array.ndim == 1 and array.shape[0] != num_steps):
        raise ValueError(f"{name} must be a scalar or have one value per step, shape ({num_steps},); got shape {array.shape}")
    return jnp.broadcast_to(array, (num_steps,))


def checked(value: Array, *conditions: tuple[Any, str]) -> Array:
    """`value` where every condition holds.

    Each condition is a pair (boolean array, message). Concrete and violated: `ValueError(message)`. Traced and violated:
    NaN in place of `value`, and a `checkify.debug_check` that carries the message.
    """
    for condition, message in conditions:
        holds = jnp.all(condition)
        if is_traced(holds):
            checkify.debug_check(holds, message)
            value = jnp.where(holds, value, math.nan)
        elif not holds:
            raise ValueError(message)
    return value
