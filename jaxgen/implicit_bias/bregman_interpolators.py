"""The interpolator nearest to a start in a Bregman divergence, by Newton's method on the dual problem, with certificates."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen._core.linear_programs import positive_solver
from jaxgen.implicit_bias.interpolators import HIGHEST, data, interpolating, realizability_tolerance, row_space
from jaxgen.implicit_bias.mirror import in_domain
from jaxgen.implicit_bias.potentials import Potential, lp_squared

OVERSHOOT = 0.5
"""A step may pass the maximum along it to where the slope is minus this part of the one that it started with."""

GROWTH = 8.0
MOST_HALVINGS = 200


class BregmanInterpolator(NamedTuple):
    """The solution of min D_R(w, w0) subject to X w = y, and what certifies it.

    Any interpolator has a divergence of at least `lower`, whatever the other fields are; so w is as good as
    `divergence` - `lower` says if `feasibility` is rounding.

    Attributes:
        w: the interpolator, of the form grad R*(grad R(w0) + X^T lambda).
        multipliers: lambda, shape (n,); those of least norm after X is whitened, if rows depend on each other.
        feasibility: max |X w - y|.
        divergence: D_R(w, w0).
        lower: the dual objective, <lambda, y> - R*(grad R(w0) + X^T lambda) + R*(grad R(w0)).
        num_steps: of Newton's method.
        converged: whether X w = y was reached to the tolerance; False if no w in the domain has X w = y.
    """

    w: Float[Array, "*d"]
    multipliers: Float[Array, " n"]
    feasibility: Float[Array, ""]
    divergence: Float[Array, ""]
    lower: Float[Array, ""]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]


class BregmanKkt(NamedTuple):
    """How far w is from the conditions for the interpolator nearest to w0.

    Attributes:
        feasibility: max |X w - y|.
        stationarity: |(I - X^+ X) m| / |m| with m = grad R(w) - grad R(w0), in [0, 1]; zero if m is.
    """

    feasibility: Float[Array, ""]
    stationarity: Float[Array, ""]


def bregman_interpolator(
    potential: Potential,
    x: Float[ArrayLike, "n *d"],
    y: Float[ArrayLike, " n"],
    w0: Float[ArrayLike, "*d"],
    *,
    tol: float | None = None,
    num_steps: int = 100,
) -> BregmanInterpolator:
    r"""$\arg\min D_R(w, w_0)$ subject to $X w = y$: where mirror descent from $w_0$ on a linear regression ends.

    Newton's method ascends the concave dual, whose gradient is $y - X w(\lambda)$ with $w(\lambda) = \nabla R^*(\nabla R(w_0) +
    X^\top \lambda)$. Steps are halved until they do not overshoot the maximum along them by much, which is judged by the
    gradient alone and so to full precision; that takes 3 to 30 steps also where the curvature of R* changes by 10^20.

    Args:
        potential: R; under `vmap` also a batch of potentials of one kind.
        x: examples X in rows, shape (n, d), or (n, d1, d2) for potentials of matrices; rows may depend on each other.
        y: targets.
        w0: start, in the domain; $\arg\min R$ gives $\arg\min R(w)$ over the interpolators.
        tol: |X w - y| that counts as reached, after X is whitened and relative to |w|; default eps^(2/3). Once reached,
            steps go on while they halve the residual.
        num_steps: most steps taken.

    Returns:
        The interpolator with its certificates. Where there is none in the domain, `converged` is False, `feasibility` the
        residual reached and `lower` large. If the solution has coordinates at the boundary, where the dual has no maximum
        (an entropy with w_i = 0), w approaches it by a factor of e a step.

        Derivatives of w and the multipliers with respect to x, y, w0 and the parameters of the potential are those of
        the solution (implicit function theorem), in forward and reverse mode.

    Raises:
        ValueError: if shapes do not fit, an entry is not finite or `w0` outside the domain (NaN results when traced), or
            `num_steps` < 0.
        TypeError: if an array is not real.

    Source: Arora et al., Theory of Deep Learning, theorem 8.1.2, whose proof prints the Lagrangian without $\langle x_i, w
    \rangle$; spec BIAS-6. Cost: O(n^2 d + n^3) a step and a singular value decomposition of X.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> found = implicit_bias.bregman_interpolator(implicit_bias.entropy(), jnp.ones((1, 2)), jnp.array([9.0]), jnp.array([1.0, 2.0]))
        >>> found.w.round(4).tolist(), bool(found.converged)
        ([3.0, 6.0], True)
    """
    w0, most = floating("w0", w0), positive_integer("num_steps", num_steps, at_least=0)
    rows = floating("x", x)
    require(rows.ndim > 1 and rows.shape[1:] == w0.shape, f"x must have examples of the shape of w0, {w0.shape}; got shape {rows.shape}")
    rows, y = data(rows.reshape(len(rows), -1), y)
    w0 = in_domain("w0", potential, w0)
    dtype = jnp.result_type(rows, w0, jax.eval_shape(potential.mirror, w0))
    tolerance = float(jnp.finfo(dtype).eps) ** (2 / 3) if tol is None else tol
    return _interpolate(potential, rows.astype(dtype), y.astype(dtype), w0.astype(dtype), tolerance, most)


def bregman_kkt_residual(
    potential: Potential, x: Float[ArrayLike, "n *d"], y: Float[ArrayLike, " n"], w: Float[ArrayLike, "*d"], w0: Float[ArrayLike, "*d"]
) -> BregmanKkt:
    r"""Residuals of X w = y and of $\nabla R(w) - \nabla R(w_0) \in$ rowspan X, both zero only at $\arg\min_{X w = y} D_R(w, w_0)$.

    Args:
        potential: R.
        x: examples X in rows. For a potential on the simplex, a row of ones with the target 1 belongs to them.
        y: targets.
        w: a point in the domain. At the boundary, where the gradient of R is infinite, compare divergences instead.
        w0: the start, in the domain.

    Returns:
        The two residuals.

    Raises:
        ValueError: if shapes do not fit, an entry is not finite, or `w` or `w0` are outside the domain (NaN results when traced).
        TypeError: if an array is not real.

    Source: Arora et al., Theory of Deep Learning, theorem 8.1.2; spec BIAS-6. Cost: one singular value decomposition.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> w, w0 = jnp.array([1.5, 0.5]), jnp.array([1.0, 0.0])
        >>> found = implicit_bias.bregman_kkt_residual(implicit_bias.squared_l2(), jnp.ones((1, 2)), jnp.array([2.0]), w, w0)
        >>> [round(float(value), 4) for value in found]
        [0.0, 0.0]
    """
    w, w0, rows = floating("w", w), floating("w0", w0), floating("x", x)
    require(w.shape == w0.shape, f"w and w0 must have the same shape; got {w.shape} and {w0.shape}")
    require(rows.ndim > 1 and rows.shape[1:] == w.shape, f"x must have examples of the shape of w, {w.shape}; got shape {rows.shape}")
    rows, y = data(rows.reshape(len(rows), -1), y)
    w, w0 = in_domain("w", potential, w), in_domain("w0", potential, w0)
    basis, moved = row_space(rows).basis, (potential.mirror(w) - potential.mirror(w0)).reshape(-1)
    outside, size = moved - jnp.matmul(basis.T, jnp.matmul(basis, moved, precision=HIGHEST), precision=HIGHEST), jnp.linalg.norm(moved)
    return BregmanKkt(
        jnp.abs(jnp.matmul(rows, w.reshape(-1), precision=HIGHEST) - y).max(),
        jnp.where(size == 0, 0, jnp.linalg.norm(outside) / jnp.where(size == 0, 1, size)),
    )


def min_norm_interpolator_lp(x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"], p: ArrayLike) -> Float[Array, " d"]:
    r"""The w of least $\lVert w \rVert_p$ with X w = y, $1 < p < \infty$.

    Args:
        x: examples X in rows.
        y: targets.
        p: up to about 10 in float32 and 50 in float64, beyond which the multipliers cancel; for p = 1 see `min_l1_interpolator`.

    Returns:
        The interpolator.

    Raises:
        ValueError: if shapes do not fit, an entry is not finite, `p` is outside (1, inf), or no w with X w = y up to the root of a
            machine epsilon was found (NaN results when traced).
        TypeError: if an array is not real.

    Source: Arora et al., Theory of Deep Learning, section 8.1.1, example 2; spec BIAS-12. Cost: as `bregman_interpolator`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> x, y = jnp.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]]), jnp.array([1.0, 10.0])
        >>> implicit_bias.min_norm_interpolator_lp(x, y, 4 / 3).round(3).tolist()
        [0.0, 5.0, -4.0]
    """
    x, y = data(x, y)
    exponent = floating("p", p)
    exponent = checked(exponent, ((exponent > 1) & (exponent < math.inf), f"p must lie in (1, inf); got {p}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        potential = lp_squared(exponent)
    found = bregman_interpolator(potential, x, y, jnp.zeros(x.shape[1], x.dtype))
    return interpolating(found.w, x, y)


@functools.partial(jax.jit, static_argnames="num_steps")
def _interpolate(potential: Potential, x: Array, y: Array, w0: Array, tolerance: ArrayLike, num_steps: int) -> BregmanInterpolator:
    rows = jax.lax.stop_gradient(row_space(x))
    matrix, target = (jnp.matmul(rows.whitening, right, precision=HIGHEST) for right in (x, y))
    dual = _Dual(potential, potential.mirror(w0), matrix, target)

    def stationarity(multipliers: Array) -> Array:
        return jnp.where(rows.present, -dual.gradient(multipliers), multipliers)

    def ascend(_: Callable[[Array], Array], start: Array) -> tuple[Array, tuple[Array, Array]]:
        found = _ascend(dual, start, tolerance, num_steps)
        # Numbers, since the tangents of what comes with a root have its dtype.
        return found.multipliers, (found.count.astype(target.dtype), found.small.astype(target.dtype))

    multipliers, (count, small) = jax.lax.custom_root(stationarity, 0 * target, ascend, _solve_linear, has_aux=True)
    w = dual.point(multipliers)
    residual = jnp.matmul(x, w.reshape(-1), precision=HIGHEST) - y
    unreachable = y - jnp.matmul(x, jnp.matmul(rows.basis.T, target, precision=HIGHEST), precision=HIGHEST)
    realizable = jnp.linalg.norm(unreachable) <= realizability_tolerance(y) * jnp.linalg.norm(y)
    return BregmanInterpolator(
        w=w,
        multipliers=jnp.matmul(rows.whitening.T, multipliers, precision=HIGHEST),
        feasibility=jnp.abs(residual).max(),
        divergence=potential.value(w) - potential.value(w0) - jnp.vdot(dual.start, w - w0),
        lower=multipliers @ target - potential.conjugate(dual.mirror_point(multipliers)) + potential.conjugate(dual.start),
        num_steps=count.astype(jnp.int32),
        converged=(small > 0) & realizable,
    )


class _Dual(NamedTuple):
    """The dual problem with orthonormal rows, and R* started at the mirror point of w0."""

    potential: Potential
    start: Array
    matrix: Array
    target: Array

    def mirror_point(self, multipliers: Array) -> Array:
        return self.start + self.spread(multipliers)

    def spread(self, multipliers: Array) -> Array:
        return jnp.matmul(multipliers, self.matrix, precision=HIGHEST).reshape(self.start.shape)

    def point(self, multipliers: Array) -> Array:
        return self.potential.inverse_mirror(self.mirror_point(multipliers))

    def residual(self, w: Array) -> Array:
        return self.target - jnp.matmul(self.matrix, w.reshape(-1), precision=HIGHEST)

    def gradient(self, multipliers: Array) -> Array:
        return self.residual(self.point(multipliers))

    def curvature(self, multipliers: Array) -> Array:
        """Minus the Hessian, Q (grad^2 R(w))^-1 Q^T."""
        z, rows = self.mirror_point(multipliers), self.matrix.reshape(-1, *self.start.shape)
        inverse_mirror, w = self.potential.inverse_mirror, self.potential.inverse_mirror(z)
        solved = jax.vmap(functools.partial(self.potential.inverse_hessian_vector, w))(rows)
        # Entries of w that underflow lie outside the domain, where only R* is still differentiable.
        solved = jax.lax.cond(
            jnp.isfinite(solved).all(), lambda: solved, lambda: jax.vmap(lambda row: jax.jvp(inverse_mirror, (z,), (row,))[1])(rows)
        )
        return jnp.matmul(self.matrix, solved.reshape(self.matrix.shape).T, precision=HIGHEST)


class _Ascent(NamedTuple):
    multipliers: Array
    residual: Array
    small: Array
    moved: Array
    count: Array
    done: Array


def _ascend(dual: _Dual, start: Array, tolerance: ArrayLike, num_steps: int) -> _Ascent:
    """Newton's method until the residual is within the tolerance and no longer halved."""

    def is_small(residual: Array, w: Array) -> Array:
        return jnp.linalg.norm(residual) <= tolerance * jnp.maximum(jnp.linalg.norm(dual.target), jnp.linalg.norm(w))

    def ascent(state: _Ascent) -> _Ascent:
        curvature = dual.curvature(state.multipliers)
        size = jnp.trace(curvature)
        direction = positive_solver(curvature / size)(state.residual) / size
        # Where R* has no curvature, up the gradient.
        direction = jnp.where(jnp.isfinite(direction).all(), direction, state.residual)
        step = _line_search(dual, state, direction)
        multipliers = state.multipliers + step * direction
        moved = dual.point(multipliers)
        residual = dual.residual(moved)
        left, before = jnp.linalg.norm(residual), jnp.linalg.norm(state.residual)
        small = is_small(residual, moved)
        stalled = jnp.all(multipliers == state.multipliers) | ~(step > 0)
        worse = stalled | (state.small & ~(left <= before))
        done = stalled | (state.small & ~(left < 0.5 * before))
        new = _Ascent(multipliers, residual, small, jnp.abs(step * direction).max(), state.count + 1, done)
        kept = state._replace(count=new.count, done=new.done)
        return jax.tree.map(lambda a, b: jnp.where(worse, a, b), kept, new)

    w = dual.point(start)
    residual = dual.residual(w)
    state = _Ascent(start, residual, is_small(residual, w), jnp.full_like(residual[0], math.inf), jnp.int32(0), jnp.all(residual == 0))
    return jax.lax.while_loop(lambda state: (state.count < num_steps) & ~state.done, ascent, state)


def _line_search(dual: _Dual, state: _Ascent, direction: Array) -> Array:
    """The first of s, s / 2, s / 4, ... at which the dual has not fallen much from its maximum along the direction; 0 if none."""
    point, change, slope = dual.mirror_point(state.multipliers), dual.spread(direction), jnp.vdot(direction, state.residual)

    def overshoots(step: Array) -> Array:
        there = jnp.vdot(direction, dual.residual(dual.potential.inverse_mirror(point + step * change)))
        return ~(jnp.isfinite(there) & (there >= -OVERSHOOT * slope))

    def halve(search: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        step, count, _ = search
        return 0.5 * step, count + 1, overshoots(0.5 * step)

    first = jnp.minimum(GROWTH * state.moved / jnp.abs(direction).max(), 1)
    start = (first, jnp.int32(0), overshoots(first))
    step, _, failed = jax.lax.while_loop(lambda search: search[2] & (search[1] < MOST_HALVINGS) & (slope > 0), halve, start)
    return jnp.where(failed, 0, step)


def _solve_linear(linear: Callable[[Array], Array], right: Array) -> Any:
    columns = jax.vmap(linear)(jnp.eye(right.size, dtype=right.dtype))
    return jnp.linalg.solve(columns.T, right)
