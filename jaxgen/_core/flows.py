"""Ordinary differential equations at given times, by one adaptive solver."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen._core.checks import checked, floating, positive_integer, require

Field = Callable[[Array, PyTree, Any], PyTree]


def solve(
    field: Field,
    y0: PyTree,
    args: Any,
    name: str,
    times: Float[ArrayLike, " T"],
    rtol: float | None,
    atol: float | None,
    max_steps: int,
    throw: bool = True,
) -> PyTree:
    """y at the times, from y(0) = y0 and dy/dt = field(t, y, args), by the method of Dormand and Prince of order 5.

    Args:
        field: of the structure of y; a static function, so that nothing is compiled again for other `args`.
        y0: start, a pytree of floating arrays.
        args: what the field depends on.
        name: what error messages call `times`.
        times: at least 0 and increasing.
        rtol: default 1e-9 in float64, 1e-5 otherwise.
        atol: default 1e-2 `rtol`.
        max_steps: of the solver.
        throw: whether it raises when it needs more; otherwise times that it did not reach have states that are not finite.

    Returns:
        States stacked along a leading axis T, in the dtypes of y0.

    Raises:
        ValueError: if `times` are no vector, not increasing or negative (NaN results when traced), or `max_steps` < 1.
        RuntimeError: from the solver, if it needs more steps.
    """
    import diffrax

    times = floating(name, times)
    require(times.ndim == 1 and times.size > 0, f"{name} must be a vector of times; got shape {times.shape}")
    increasing = jnp.all(jnp.diff(times) > 0) & jnp.all(times >= 0) & jnp.all(jnp.isfinite(times))
    times = checked(times, (increasing, f"{name} must be finite, at least 0 and increasing"))
    # A traced schedule that is wrong must not reach the solver, which would raise.
    schedule = jnp.where(increasing, times, jnp.finfo(times.dtype).eps * jnp.arange(times.size))
    double = jnp.result_type(*jax.tree.leaves(y0)) == jnp.float64
    tolerance = rtol if rtol is not None else 1e-9 if double else 1e-5
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),  # pyright: ignore[reportArgumentType]
        diffrax.Dopri5(),
        t0=jnp.zeros_like(schedule[0]),
        t1=jnp.maximum(schedule[-1], jnp.finfo(times.dtype).tiny),
        dt0=None,
        y0=y0,
        args=args,
        saveat=diffrax.SaveAt(ts=schedule),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=atol if atol is not None else 1e-2 * tolerance),
        max_steps=positive_integer("max_steps", max_steps),
        throw=throw,
    )
    return jax.tree.map(lambda leaf, y: jnp.where(increasing, leaf, jnp.nan).astype(y.dtype), solution.ys, y0)
