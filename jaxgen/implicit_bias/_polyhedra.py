"""The largest margin in l_1 and l_inf as linear programs over the multipliers, with normal equations of the size of w."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen._core.linear_programs import Rows, State, first_point, step_of
from jaxgen.implicit_bias._interior import Interval, Solution, bordered, core_solver, search

Parts = Callable[[State], tuple[Array, Array]]


def l1(z: Float[Array, "n d"], interval: Interval, tol: float, num_steps: int) -> Solution:
    """min t subject to |Z^T lambda| <= t, sum lambda = 1, lambda >= 0; w is the multiplier of the first constraint.

    With p = t - Z^T lambda and q = t + Z^T lambda, the rows are p + q = 2 t, 2 Z^T lambda + p - q = 0 and sum lambda = 1.
    """
    n, d = z.shape

    def parts(x: Array) -> tuple[Array, Array, Array, Array]:
        return x[:n], x[n : n + d], x[n + d : n + 2 * d], x[-1]

    def times(x: Array) -> Array:
        multipliers, p, q, t = parts(x)
        return jnp.concatenate([p + q - 2 * t, 2 * z.T @ multipliers + p - q, multipliers.sum()[None]])

    def transposed(y: Array) -> Array:
        first, second, last = y[:d], y[d : 2 * d], y[-1]
        return jnp.concatenate([2 * z @ second + last, first + second, first - second, -2 * first.sum()[None]])

    def normal(weights: Array) -> Callable[[Array], Array]:
        own, p, q, t = parts(weights)
        both = p + q
        difference = (p - q) / both
        core = core_solver(jnp.diag(4 * p * q / both), 2 * z, own)
        border = jnp.stack([2 * z.T @ own, -difference], axis=1)
        corner = jnp.diag(jnp.stack([own.sum(), -(1 / (4 * t) + jnp.sum(1 / both))]))
        solver = bordered(core, border, corner)

        def solved(right: Array) -> Array:
            first, second, last = right[:d], right[d : 2 * d], right[-1]
            y, (below, shift) = solver(second - difference * first, jnp.stack([last, -jnp.sum(first / both)]))
            return jnp.concatenate([(first - shift) / both - difference * y, y, below[None]])

        return solved

    cost = jnp.zeros(n + 2 * d + 1, z.dtype).at[-1].set(1)
    target = jnp.zeros(2 * d + 1, z.dtype).at[-1].set(1)
    program = (Rows(times, transposed, normal), cost, target)
    return _searched(program, lambda state: (-2 * state.y[d : 2 * d], state.x[:n]), interval, tol, num_steps)


def linf(z: Float[Array, "n d"], interval: Interval, tol: float, num_steps: int) -> Solution:
    """min sum p + q subject to Z^T lambda = p - q, sum lambda = 1, all >= 0; w is the multiplier of the first constraint."""
    n, d = z.shape

    def times(x: Array) -> Array:
        return jnp.concatenate([z.T @ x[:n] - x[n : n + d] + x[n + d :], x[:n].sum()[None]])

    def transposed(y: Array) -> Array:
        return jnp.concatenate([z @ y[:d] + y[-1], -y[:d], y[:d]])

    def normal(weights: Array) -> Callable[[Array], Array]:
        own, p, q = weights[:n], weights[n : n + d], weights[n + d :]
        solver = bordered(core_solver(jnp.diag(p + q), z, own), (z.T @ own)[:, None], own.sum()[None, None])

        def solved(right: Array) -> Array:
            y, below = solver(right[:d], right[d:])
            return jnp.concatenate([y, below])

        return solved

    cost = jnp.ones(n + 2 * d, z.dtype).at[:n].set(0)
    target = jnp.zeros(d + 1, z.dtype).at[-1].set(1)
    program = (Rows(times, transposed, normal), cost, target)
    return _searched(program, lambda state: (-state.y[:d], state.x[:n]), interval, tol, num_steps)


def _searched(program: tuple[Rows, Array, Array], parts: Parts, interval: Interval, tol: float, num_steps: int) -> Solution:
    return search(lambda state: step_of(*program, state), first_point(*program), parts, interval, tol, num_steps)
