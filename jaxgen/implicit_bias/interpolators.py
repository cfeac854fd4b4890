"""Linear interpolators, the solutions of X w = y: all of them, and those of least norm."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxgen import optimization
from jaxgen._core import linear_programs
from jaxgen._core.checks import checked, floating, is_traced, positive_integer, require
from jaxgen._core.matrices import is_symmetric

HIGHEST = jax.lax.Precision.HIGHEST


class InterpolationSet(NamedTuple):
    """The affine set of all w with X w = y, `point` + the span of the columns of `nullspace`.

    Attributes:
        point: its element of least Euclidean norm; if there is none, the minimizer of |X w - y| of least norm.
        nullspace: orthonormal columns, shape (d, d - rank X).
        residual: max |X w - y| at `point`, zero up to rounding if the data are realizable.
    """

    point: Float[Array, " d"]
    nullspace: Float[Array, "d k"]
    residual: Float[Array, ""]


class RowSpace(NamedTuple):
    """X w = y as Q w = b with orthonormal rows: Q = P X and b = P y. Rows beyond the rank are zero.

    Attributes:
        basis: Q, shape (m, d), m = min(n, d).
        whitening: P, shape (m, n).
        present: whether a row is within the rank, shape (m,).
    """

    basis: Float[Array, "m d"]
    whitening: Float[Array, "m n"]
    present: Bool[Array, " m"]


@jax.jit
def row_space(x: Float[Array, "n d"]) -> RowSpace:
    """An orthonormal basis of the rows of x; singular values below 10 max(n, d) eps times the largest count as zero."""
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    present = s > 10 * max(x.shape) * jnp.finfo(x.dtype).eps * s[0]
    whitening = jnp.where(present, 1 / jnp.where(present, s, 1), 0)[:, None] * u.T
    return RowSpace(jnp.where(present[:, None], vt, 0), whitening, present)


def is_realizable(x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"], *, tol: float | None = None) -> Bool[Array, ""]:
    """Whether some w has X w = y, up to a residual |X w - y| of `tol` |y|.

    Args:
        x: examples X in rows.
        y: targets.
        tol: default the root of the machine epsilon.

    Returns:
        A boolean scalar; False if an entry is not finite.

    Raises:
        ValueError: if shapes do not fit or the data are empty.
        TypeError: if an array is not real.

    Source: spec BIAS-2. Cost: one singular value decomposition.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> x = jnp.array([[1.0, 1.0], [2.0, 2.0]])
        >>> bool(implicit_bias.is_realizable(x, jnp.array([1.0, 2.0]))), bool(implicit_bias.is_realizable(x, jnp.array([1.0, 3.0])))
        (True, False)
    """
    x, y = shaped(x, y)
    rows = row_space(x)
    fitted = jnp.matmul(x, jnp.matmul(rows.basis.T, jnp.matmul(rows.whitening, y, precision=HIGHEST)), precision=HIGHEST)
    return jnp.linalg.norm(fitted - y) <= realizability_tolerance(y, tol) * jnp.linalg.norm(y)


def interpolation_set(x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"], *, rank: int | None = None) -> InterpolationSet:
    """The set of all w with X w = y, of dimension d - rank X: the global minima of any loss with its only root at X w = y.

    Args:
        x: examples X in rows.
        y: targets.
        rank: of X, which decides the shape of the result; default computed, for which `x` must be concrete.

    Returns:
        A point, an orthonormal basis of the null space of X, and the residual.

    Raises:
        ValueError: if shapes do not fit, the data are empty or not finite (NaN results when traced), or `rank` is not given
            for a traced `x` or outside of [0, min(n, d)].
        TypeError: if an array is not real.

    Source: Arora et al., Theory of Deep Learning, equation (8.1); spec BIAS-2. Cost: one singular value decomposition.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> found = implicit_bias.interpolation_set(jnp.array([[1.0, 1.0]]), jnp.array([2.0]))
        >>> found.point.round(4).tolist(), found.nullspace.shape
        ([1.0, 1.0], (2, 1))
    """
    x, y = data(x, y)
    if rank is None:
        require(not is_traced(x), "rank must be given for a traced x: it decides the shape of the result")
        rank = int(jnp.sum(row_space(x).present))
    rank = positive_integer("rank", rank, at_least=0)
    require(rank <= min(x.shape), f"rank must be at most {min(x.shape)}; got {rank}")
    _, _, vt = jnp.linalg.svd(x, full_matrices=True)
    point = optimization.min_norm_solution(x, y)
    return InterpolationSet(point, vt[rank:].T, jnp.abs(jnp.matmul(x, point, precision=HIGHEST) - y).max())


def min_norm_interpolator(
    x: Float[ArrayLike, "n d"],
    y: Float[ArrayLike, " n"],
    w0: Float[ArrayLike, " d"] | None = None,
    metric: Float[ArrayLike, "d d"] | None = None,
) -> Float[Array, " d"]:
    r"""The interpolator nearest to $w_0$, $w_0 + D^{-1} X^\top (X D^{-1} X^\top)^\dagger (y - X w_0)$ in the norm $\sqrt{w^\top D w}$.

    Where gradient descent from $w_0$ ends if D = I, and mirror descent with the potential $\frac12 w^\top D w$, or steepest
    descent in its norm, otherwise.

    Args:
        x: examples X in rows.
        y: targets.
        w0: default zero.
        metric: D, symmetric and positive definite; default the identity.

    Returns:
        The interpolator; differentiable where the rank of X does not change.

    Raises:
        ValueError: if shapes do not fit, an entry is not finite, `metric` is not symmetric positive definite, or no w has
            X w = y up to the root of a machine epsilon, the residual being in the message (NaN results when traced).
        TypeError: if an array is not real.

    Source: Arora et al., Theory of Deep Learning, proposition 8.1.1 and section 8.1.1; spec BIAS-3, BIAS-10. Cost: one
    singular value decomposition, and one Cholesky factorization of a metric.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.min_norm_interpolator(jnp.ones((1, 2)), jnp.array([2.0]), jnp.array([1.0, 0.0])).round(4).tolist()
        [1.5, 0.5]
    """
    x, y = data(x, y)
    start = jnp.zeros(x.shape[1], x.dtype) if w0 is None else floating("w0", w0)
    require(start.shape == x.shape[1:], f"w0 must have one entry per column of x, {x.shape[1:]}; got shape {start.shape}")
    start = checked(start, (jnp.isfinite(start), "w0 must be finite"))
    if metric is None:
        return interpolating(optimization.gd_limit(x, y, start), x, y)
    factor = _factor(metric, x.shape[1])
    # With D = F F^T and u = F^T (w - w0) the norm is Euclidean and X (w - w0) = (X F^-T) u.
    whitened = jax.scipy.linalg.solve_triangular(factor, x.T, lower=True).T
    u = optimization.min_norm_solution(whitened, y - jnp.matmul(x, start, precision=HIGHEST))
    return interpolating(start + jax.scipy.linalg.solve_triangular(factor, u, lower=True, trans="T"), x, y)


def min_l1_interpolator(x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"], *, nonnegative: bool = False) -> Float[Array, " d"]:
    r"""A w of least $\lVert w \rVert_1$ with X w = y, and w >= 0 if asked, by an interior-point method.

    Args:
        x: examples X in rows.
        y: targets.
        nonnegative: whether w >= 0 is a constraint.

    Returns:
        The minimizer up to rounding, with at most rank X nonzero entries, if it is the only one and its multipliers are, too.
        Otherwise one in the middle of them, up to 1e-9 (1e-5 in float32) of the least-norm interpolator.

    Raises:
        ValueError: if shapes do not fit, an entry is not finite, or no such w exists (NaN results when traced).
        TypeError: if an array is not real.

    Source: spec BIAS-7; Mehrotra 1992. Cost: 10 to 30 steps of O(n^2 d).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> w = implicit_bias.min_l1_interpolator(jnp.array([[3.0, -1.0, 2.0], [3.0, -3.0, 1.0]]), jnp.array([-1.0, -3.0]))
        >>> w.round(4).tolist()
        [0.0, 1.0, 0.0]
    """
    x, y = data(x, y)
    rows = row_space(x)
    matrix = rows.basis if nonnegative else jnp.concatenate([rows.basis, -rows.basis], axis=1)
    target = jnp.matmul(rows.whitening, y, precision=HIGHEST)
    entries, found = _least_sum(matrix, target)
    w = entries if nonnegative else entries[: x.shape[1]] - entries[x.shape[1] :]
    kind = "nonnegative w" if nonnegative else "w"
    w = checked(w, (found, f"some {kind} must have X w = y: the solver of the linear program has not found one"))
    return interpolating(w, x, y)


def data(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """x and y as floating arrays of fitting shapes with finite entries."""
    x, y = shaped(x, y)
    return checked(x, (jnp.isfinite(x), "x must be finite")), checked(y, (jnp.isfinite(y), "y must be finite"))


def shaped(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """x and y as floating arrays of fitting shapes."""
    x, y = floating("x", x), floating("y", y)
    require(x.ndim == 2 and x.size > 0, f"x must be a matrix with an example in every row; got shape {x.shape}")
    require(y.shape == x.shape[:1], f"y must have one target per row of x, {x.shape[:1]}; got shape {y.shape}")
    dtype = jnp.result_type(x, y)
    return x.astype(dtype), y.astype(dtype)


def realizability_tolerance(y: Array, tol: float | None = None) -> float:
    """`tol`, by default the root of the machine epsilon."""
    return float(jnp.finfo(y.dtype).eps ** 0.5) if tol is None else tol


def interpolating(w: Array, x: Array, y: Array, tol: float | None = None) -> Array:
    """`w`, refused (NaN when traced) unless X w = y up to `tol`, by default the root of a machine epsilon, of the terms."""
    residual = jnp.linalg.norm(jnp.matmul(x, w, precision=HIGHEST) - y)
    terms = jnp.linalg.norm(y) + jnp.linalg.norm(jnp.abs(x) @ jnp.abs(w))
    reached = "" if is_traced(residual) else f"; the |X w - y| reached is {float(residual):.3g}"
    return checked(w, (residual <= realizability_tolerance(y, tol) * terms, f"some w must have X w = y{reached}"))


def _factor(metric: ArrayLike, d: int) -> Array:
    """The Cholesky factor of a metric."""
    metric = floating("metric", metric)
    require(metric.shape == (d, d), f"metric must have shape {(d, d)}; got {metric.shape}")
    factor = jnp.linalg.cholesky(metric, symmetrize_input=False)
    positive = is_symmetric(metric) & jnp.isfinite(factor).all()
    return checked(factor, (positive, "metric must be symmetric and positive definite"))


@jax.jit
def _least_sum(matrix: Array, target: Array) -> tuple[Array, Array]:
    """x of least sum with A x = b, x >= 0, and whether it was found."""
    # In units of the target, since the solver's tolerances are relative to one.
    unit = jnp.linalg.norm(target)
    target = target / jnp.where(unit == 0, 1, unit)
    found = linear_programs.solve(jnp.ones(matrix.shape[1], matrix.dtype), matrix, target)
    vertex, optimal = _nearby_vertex(matrix, target, found.x)
    return unit * jnp.where(optimal, vertex, found.x), optimal | found.converged


def _nearby_vertex(matrix: Array, target: Array, entries: Array) -> tuple[Array, Array]:
    """The vertex of A x = b, x >= 0 that has the largest entries of a point, and whether it has the least sum of all."""
    _, basis = jax.lax.top_k(entries, len(matrix))
    square, rounding = matrix[:, basis], jnp.finfo(matrix.dtype).eps ** 0.5
    values, dual = jnp.linalg.solve(square, target), jnp.linalg.solve(square.T, jnp.ones_like(target))
    optimal = jnp.all(values >= -rounding) & jnp.all(jnp.matmul(dual, matrix, precision=HIGHEST) <= 1 + rounding)
    return jnp.zeros_like(entries).at[basis].set(jnp.maximum(values, 0)), optimal
