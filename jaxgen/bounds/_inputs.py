"""Arguments that the bounds share, and roots whose gradients stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, is_traced, per_step, require

PerStep = Float[ArrayLike, " T"]
"""A scalar, or one value per step."""

Scalar = Float[ArrayLike, "..."]
"""A scalar; arrays broadcast against one another."""


def steps(**values: PerStep) -> tuple[Array, ...]:
    """Scalars and vectors as vectors of one common length T; T = 1 where all are scalars."""
    arrays = {name: floating(name, value) for name, value in values.items()}
    lengths = {name: array.shape[0] for name, array in arrays.items() if array.ndim == 1}
    require(
        len(set(lengths.values())) <= 1,
        f"{', '.join(values)} must have the same number of steps; got lengths {', '.join(f'{n}: {length}' for n, length in lengths.items())}",
    )
    num_steps = next(iter(lengths.values()), 1)
    require(num_steps >= 1, f"{', '.join(values)} must cover at least one step; got none")
    return tuple(per_step(name, array, num_steps) for name, array in arrays.items())


def at_least(name: str, value: ArrayLike, minimum: float) -> Array:
    array = floating(name, value)
    return checked(array, (array >= minimum, f"{name} must be at least {minimum:g}{_found(array)}"))


def positive(name: str, value: ArrayLike, hint: str = "") -> Array:
    array = floating(name, value)
    return checked(array, ((array > 0) & (array < jnp.inf), f"{name} must be positive and finite{_found(array)}{hint}"))


def failure_probability(delta: float, name: str = "delta") -> float:
    """A probability of failure, which is static since the confidence of a result is."""
    try:
        found = float(delta)
    except (TypeError, ValueError, jax.errors.ConcretizationTypeError) as error:
        raise TypeError(f"{name} must be a concrete number, which the result's confidence is; got {delta!r}") from error
    require(0 < found < 1, f"{name} must be in (0, 1); got {found}")
    return found


def unit_interval(name: str, value: ArrayLike, *, ends: bool = True) -> Array:
    """Values in [0, 1], such as the risk of a bounded loss; in (0, 1) without `ends`."""
    array = floating(name, value)
    if ends:
        return checked(array, ((array >= 0) & (array <= 1), f"{name} must be in [0, 1]{_found(array)}"))
    return checked(array, ((array > 0) & (array < 1), f"{name} must be in (0, 1){_found(array)}"))


def _found(array: Array) -> str:
    if is_traced(array, jnp.zeros(())):
        return ""
    values = np.asarray(array)
    return f"; got {values}" if values.size == 1 else f"; its smallest value is {values.min()}, its largest {values.max()}"


def square_root(x: Array) -> Array:
    """The square root, with derivative zero at zero (as `abs` has), so that gradients of a bound that vanishes are finite."""
    vanishes = x == 0
    return jnp.where(vanishes, 0.0, jnp.sqrt(jnp.where(vanishes, 1.0, x)))


def cube_root(x: Array) -> Array:
    """The cube root of what is not negative, with derivative zero at zero."""
    vanishes = x == 0
    return jnp.where(vanishes, 0.0, jnp.cbrt(jnp.where(vanishes, 1.0, x)))
