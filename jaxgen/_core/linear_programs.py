"""Linear programs in standard form, by a primal-dual interior-point method that can be compiled and mapped."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Bool, Float, Int

from jaxgen._core.checks import floating, positive_integer, require

BOUNDARY = 0.995
"""Fraction of the way to the boundary that a step may go."""


class Rows(NamedTuple):
    """The constraints A x = b of a program, without the matrix.

    Attributes:
        times: x -> A x.
        transposed: y -> A^T y.
        normal: weights d > 0 -> a function that solves (A diag(d) A^T) y = r, at least roughly.
    """

    times: Callable[[Array], Array]
    transposed: Callable[[Array], Array]
    normal: Callable[[Array], Callable[[Array], Array]]


class LinearProgram(NamedTuple):
    """Solution of min c.x subject to A x = b, x >= 0, and of its dual, max b.y subject to A^T y + s = c, s >= 0.

    Attributes:
        x: (v,) primal point, positive.
        dual: (m,) y.
        slack: (v,) s, positive.
        gap: |c.x - b.y| / (1 + |c.x|).
        infeasibility: the larger of max |A x - b| / (1 + max |b|) and max |A^T y + s - c| / (1 + max |c|).
        num_steps: steps taken.
        converged: whether gap and infeasibility are at most the tolerance; False for programs without a solution.
    """

    x: Float[Array, " v"]
    dual: Float[Array, " m"]
    slack: Float[Array, " v"]
    gap: Float[Array, ""]
    infeasibility: Float[Array, ""]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]


def dense(matrix: Float[Array, "m v"]) -> Rows:
    """Constraints of a matrix A, whose rows may depend on each other."""

    def normal(weights: Array) -> Callable[[Array], Array]:
        return positive_solver((matrix * weights) @ matrix.T)

    return Rows(lambda x: matrix @ x, lambda y: matrix.T @ y, normal)


def positive_solver(matrix: Float[Array, "m m"]) -> Callable[[Array], Array]:
    """Solves with a positive semidefinite matrix by Cholesky's factors of it, scaled to a unit diagonal and a little larger."""
    diagonal = jnp.diagonal(matrix)
    floor = jnp.finfo(matrix.dtype).tiny ** 0.5
    scale = jax.lax.rsqrt(jnp.maximum(diagonal, floor))
    ridge = 4 * len(matrix) * jnp.finfo(matrix.dtype).eps
    factor = cho_factor(scale[:, None] * matrix * scale + ridge * jnp.eye(len(matrix), dtype=matrix.dtype), lower=True)
    return lambda right: scale * cho_solve(factor, scale * right)


def solve(
    cost: Float[Array, " v"],
    matrix: Float[Array, "m v"] | Rows,
    target: Float[Array, " m"],
    *,
    tol: float | None = None,
    num_steps: int = 100,
) -> LinearProgram:
    """min c.x subject to A x = b, x >= 0, by Mehrotra's predictor and corrector.

    Args:
        cost: c.
        matrix: A, or its products.
        target: b.
        tol: largest relative gap and infeasibility; default 1e-9 in float64, 1e-5 in float32.
        num_steps: most steps taken; 10 to 40 suffice.

    Returns:
        The last point, with its gap. Without a solution, `converged` is False.

    Raises:
        ValueError: if shapes do not agree.

    Cost: O(m^2 v + m^3) a step for a matrix.

    Source: Mehrotra 1992, On the implementation of a primal-dual interior point method.
    """
    cost, target = floating("cost", cost), floating("target", target)
    if not isinstance(matrix, Rows):
        matrix = floating("matrix", matrix)
        require(matrix.shape == (target.size, cost.size), f"matrix must have shape ({target.size}, {cost.size}); got {matrix.shape}")
        matrix = dense(matrix)
    rows = matrix
    tolerance = jnp.asarray(tol if tol is not None else 1e-9 if cost.dtype == jnp.float64 else 1e-5, cost.dtype)
    most = positive_integer("num_steps", num_steps)

    def measured(state: State) -> tuple[Array, Array]:
        primal, dual = _residuals(rows, cost, target, state)
        value = cost @ state.x
        gap = jnp.abs(value - target @ state.y) / (1 + jnp.abs(value))
        infeasibility = jnp.maximum(jnp.abs(primal).max() / (1 + jnp.abs(target).max()), jnp.abs(dual).max() / (1 + jnp.abs(cost).max()))
        return gap, infeasibility

    def unfinished(carry: tuple[State, Array, Array]) -> Array:
        state, count, moved = carry
        return (count < most) & moved & (jnp.maximum(*measured(state)) > tolerance)

    def step(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        state, count, _ = carry
        new = step_of(rows, cost, target, state)
        finite = jax.tree.reduce(jnp.logical_and, jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), new))
        return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state), count + 1, finite

    state, count, _ = jax.lax.while_loop(unfinished, step, (first_point(rows, cost, target), jnp.int32(0), jnp.bool_(True)))
    gap, infeasibility = measured(state)
    return LinearProgram(state.x, state.y, state.s, gap, infeasibility, count, jnp.maximum(gap, infeasibility) <= tolerance)


class State(NamedTuple):
    """A point of the primal program and one of the dual."""

    x: Float[Array, " v"]
    y: Float[Array, " m"]
    s: Float[Array, " v"]


def _residuals(rows: Rows, cost: Array, target: Array, state: State) -> tuple[Array, Array]:
    return target - rows.times(state.x), cost - rows.transposed(state.y) - state.s


def first_point(rows: Rows, cost: Array, target: Array) -> State:
    """The solutions of least norm of both systems, moved to where all entries are positive."""
    ones = jnp.ones_like(cost)
    inverse = _refined(rows, ones, rows.normal(ones))
    x, y = rows.transposed(inverse(target)), inverse(rows.times(cost))
    s = cost - rows.transposed(y)
    tiny = jnp.finfo(cost.dtype).eps
    x, s = (point + jnp.maximum(-1.5 * point.min(), 0) + tiny for point in (x, s))
    product = x @ s
    x, s = x + 0.5 * product / jnp.sum(s), s + 0.5 * product / jnp.sum(x)
    return State(jnp.where(x > 0, x, 1), y, jnp.where(s > 0, s, 1))


def _refined(rows: Rows, weights: Array, inverse: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A solver of the normal equations with its residual fed back once."""

    def solved(right: Array) -> Array:
        found = inverse(right)
        return found + inverse(right - rows.times(weights * rows.transposed(found)))

    return solved


def step_of(rows: Rows, cost: Array, target: Array, state: State) -> State:
    """The next point."""
    x, y, s = state
    primal, dual = _residuals(rows, cost, target, state)
    weights = x / s
    inverse = _refined(rows, weights, rows.normal(weights))

    def direction(complementarity: Array) -> tuple[Array, Array, Array]:
        dy = inverse(primal - rows.times(complementarity / s - weights * dual))
        ds = dual - rows.transposed(dy)
        return complementarity / s - weights * ds, dy, ds

    mean = x @ s / x.size
    dx, _, ds = direction(-x * s)
    predicted = (x + longest(x, dx) * dx) @ (s + longest(s, ds) * ds) / x.size
    dx, dy, ds = direction((predicted / mean) ** 3 * mean - x * s - dx * ds)
    forward, backward = (jnp.minimum(BOUNDARY * longest(point, change), 1) for point, change in ((x, dx), (s, ds)))
    return State(x + forward * dx, y + backward * dy, s + backward * ds)


def longest(point: Array, change: Array) -> Array:
    """The longest step, of at most 1 / BOUNDARY, after which a positive point is not negative."""
    ratios = jnp.where(change < 0, -point / jnp.where(change < 0, change, -1), jnp.inf)
    return jnp.minimum(ratios.min(), 1 / BOUNDARY)
