"""Interior-point methods for max_{||w|| <= 1} min_i <w, z_i> over balls that are smooth or have a barrier.

With multipliers lambda and slacks s, both positive, the solution satisfies

    Z w = gamma + s,    sum lambda = 1,    lambda s = mu -> 0,    and a relation of w and v = Z^T lambda

that the ball defines: w = grad f*(v) for a smooth norm (f = ||w||_p^p / p), v = mu grad Phi(w) for a ball with the barrier Phi.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen._core.linear_programs import longest, positive_solver

BOUNDARY = 0.99
"""Fraction of the way to the boundary that a step may go."""

LONGEST_SERIES = 60
SHRINKING = 0.8
"""Steps to the inside of a barrier's domain are tried in this ratio."""


class Solution(NamedTuple):
    """A direction, multipliers (not normalized) and the number of steps taken."""

    w: Array
    multipliers: Float[Array, " n"]
    num_steps: Int[Array, ""]


class Relation(NamedTuple):
    """What ties w to v.

    Attributes:
        linearized: (w, v, mu) -> (E, rho) with E dw = dv + rho.
        inside: w -> whether w is in the domain; None for a relation that does not depend on mu and has no boundary.
    """

    linearized: Callable[[Array, Array, Array], tuple["Stiffness", Array]]
    inside: Callable[[Array], Bool[Array, ""]] | None = None


class Stiffness(NamedTuple):
    """E = a matrix, or its diagonal, plus the square of a vector."""

    matrix: Float[Array, "d d"] | Float[Array, " d"]
    vector: Float[Array, " d"]


class _State(NamedTuple):
    w: Array
    multipliers: Array
    slack: Array
    margin: Array
    reach: Array


class Best(NamedTuple):
    """The highest lower bound so far, its direction, the lowest upper bound so far and its multipliers."""

    lower: Array
    w: Array
    upper: Array
    multipliers: Array

    def with_lower(self, lower: Array, w: Array) -> "Best":
        """With another direction, if that is better."""
        better = lower > self.lower
        return self._replace(lower=jnp.where(better, lower, self.lower), w=jnp.where(better, w, self.w))

    def with_upper(self, upper: Array, multipliers: Array) -> "Best":
        """With other multipliers, if these are better."""
        better = upper < self.upper
        return self._replace(upper=jnp.where(better, upper, self.upper), multipliers=jnp.where(better, multipliers, self.multipliers))

    def unfinished(self, tol: float) -> Array:
        """Whether the interval is wider than `tol` times its upper end, or than `tol` where nothing is separated yet."""
        return self.upper - jnp.maximum(self.lower, 0) > tol * jnp.where(self.lower > 0, self.upper, 1)


Interval = Callable[[Array, Array], tuple[Array, Array]]
"""(w, multipliers), not normalized -> a lower and an upper bound of the margin."""


def search(
    step: Callable[[Any], Any],
    start: Any,
    parts: Callable[[Any], tuple[Array, Array]],
    interval: Interval,
    tol: float,
    num_steps: int,
) -> Solution:
    """The best direction and the best multipliers on the path of a method.

    Args:
        step: state -> next state.
        start: first state.
        parts: state -> direction and multipliers, not normalized.
        interval: bounds of a direction and of multipliers.
        tol: relative width of the interval at which to stop.
        num_steps: most steps. The path ends where a state is not finite.
    """
    first = parts(start)
    lower, upper = interval(*first)
    best = Best(lower, first[0], upper, first[1])

    def unfinished(carry: tuple[Any, Best, Array, Array]) -> Array:
        _, best, count, finite = carry
        return (count < num_steps) & finite & best.unfinished(tol)

    def onward(carry: tuple[Any, Best, Array, Array]) -> tuple[Any, Best, Array, Array]:
        state, best, count, _ = carry
        new = step(state)
        finite = jax.tree.reduce(jnp.logical_and, jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), new))
        new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
        w, multipliers = parts(new)
        lower, upper = interval(w, multipliers)
        return new, best.with_lower(lower, w).with_upper(upper, multipliers), count + 1, finite

    _, best, count, _ = jax.lax.while_loop(unfinished, onward, (start, best, jnp.int32(0), jnp.bool_(True)))
    return Solution(best.w, best.multipliers, count)


def solve(relation: Relation, z: Float[Array, "n d"], start: Array, interval: Interval, tol: float, num_steps: int) -> Solution:
    """By the primal-dual method with a relation of w and v.

    Args:
        relation: of w and v.
        z: examples times labels, of dual norm at most one, with zeros for auxiliary entries of w.
        start: w inside the domain.
        interval: bounds of a direction and of multipliers.
        tol: relative width of the interval at which to stop.
        num_steps: most steps.
    """
    values = z @ start
    margin = values.min() - jnp.maximum(jnp.abs(values).max(), 0.1)
    state = _State(start, jnp.full(len(z), 1 / len(z), z.dtype), values - margin, margin, jnp.ones((), z.dtype))
    return search(lambda state: _step(relation, z, state), state, lambda state: (state.w, state.multipliers), interval, tol, num_steps)


def _step(relation: Relation, z: Array, state: _State) -> _State:
    w, multipliers, slack, margin, last = state
    mean = multipliers @ slack / len(slack)
    weights = multipliers / slack
    unbalanced = z @ w - margin - slack
    v = z.T @ multipliers

    def newton(core: Callable, rho: Array, complementarity: Array) -> tuple[Array, Array, Array, Array]:
        pull = complementarity / slack - weights * unbalanced
        dw, dmargin = core(z.T @ pull + rho, 1 - multipliers.sum() - pull.sum())
        dslack = z @ dw - dmargin + unbalanced
        return dw, complementarity / slack - weights * dslack, dslack, dmargin

    def factored(mu: Array) -> tuple[Callable, Array]:
        stiffness, rho = relation.linearized(w, v, mu)
        rows, all_weights = jnp.vstack([z, stiffness.vector]), jnp.append(weights, 1)
        border = -(z.T @ weights)
        return bordered(core_solver(stiffness.matrix, rows, all_weights), border[:, None], weights.sum()[None, None]), rho

    if relation.inside is None:
        core, rho = factored(mean)
        _, da, ds, _ = newton(_scalar(core), rho, -multipliers * slack)
        reach = jnp.minimum(jnp.minimum(longest(multipliers, da), longest(slack, ds)), 1)
        predicted = (multipliers + reach * da) @ (slack + reach * ds) / len(slack)
        target = (predicted / mean) ** 3 * mean
        second = da * ds
    else:
        # After a short step, back to the centre of the path.
        target = jnp.select([last > 0.8, last > 0.4], [0.2, 0.5], 1.0) * mean
        core, rho = factored(target)
        second = 0.0
    dw, da, ds, dmargin = newton(_scalar(core), rho, target - multipliers * slack - second)
    reach = jnp.minimum(BOUNDARY * jnp.minimum(longest(multipliers, da), longest(slack, ds)), 1)
    if relation.inside is not None:
        reach = _inside(relation.inside, w, dw, reach)
    return _State(w + reach * dw, multipliers + reach * da, slack + reach * ds, margin + reach * dmargin, reach)


def _inside(inside: Callable[[Array], Array], w: Array, dw: Array, reach: Array) -> Array:
    """The longest of a series of shrinking steps for which a step a ninth longer stays inside."""
    steps = reach * SHRINKING ** jnp.arange(LONGEST_SERIES, dtype=w.dtype)
    allowed = jax.vmap(lambda step: inside(w + step / 0.9 * dw))(steps)
    return jnp.where(allowed.any(), steps[jnp.argmax(allowed)], 0)


def _scalar(core: Callable[[Array, Array], tuple[Array, Array]]) -> Callable[[Array, Array], tuple[Array, Array]]:
    def solved(right: Array, below: Array) -> tuple[Array, Array]:
        x, y = core(right, below[None])
        return x, y[0]

    return solved


def core_solver(curvature: Array, z: Float[Array, "n d"], weights: Float[Array, " n"]) -> Callable[[Array], Array]:
    """A solver for (E + Z^T diag(weights) Z) u = r, by Cholesky's factors of it or, for a diagonal E and n < d, of a matrix of size n."""
    n, d = z.shape
    if curvature.ndim == 1 and n < d:
        inner = positive_solver(jnp.diag(1 / weights) + (z / curvature) @ z.T)

        def short(right: Array) -> Array:
            scaled = right / curvature
            return scaled - (z.T @ inner(z @ scaled)) / curvature

        return short
    own = jnp.diag(curvature) if curvature.ndim == 1 else curvature
    matrix = own + (z.T * weights) @ z
    inverse = positive_solver(matrix)
    return lambda right: _corrected(inverse, matrix, right)


def _corrected(inverse: Callable[[Array], Array], matrix: Array, right: Array) -> Array:
    found = inverse(right)
    return found + inverse(right - matrix @ found)


def bordered(
    core: Callable[[Array], Array], border: Float[Array, "d k"], corner: Float[Array, "k k"]
) -> Callable[[Array, Array], tuple[Array, Array]]:
    """A solver for [[M, B], [B^T, G]] (x, y) = (r, g), from one for M."""
    solved = jax.vmap(core, in_axes=1, out_axes=1)(border)
    schur = corner - border.T @ solved

    def both(right: Array, below: Array) -> tuple[Array, Array]:
        own = core(right)
        y = jnp.linalg.solve(schur, below - border.T @ own)
        return own - solved @ y, y

    return both
