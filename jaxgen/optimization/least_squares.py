r"""Overparametrized least squares: the path of gradient descent in closed form, and the solution it ends in.

The objective is $\hat L(w) = \frac12 \lVert X w - y \rVert^2$, a sum over examples.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Num

from jaxgen._core.checks import checked, floating, require
from jaxgen.optimization.spectral_filters import SpectralFilter, gradient_descent_filter, gradient_flow_filter

HIGHEST = jax.lax.Precision.HIGHEST


def least_squares_gd(
    x: Float[ArrayLike, "n d"],
    y: Float[ArrayLike, "n *c"],
    *,
    learning_rate: ArrayLike,
    num_steps: Num[ArrayLike, "*t"],
    w0: Float[ArrayLike, "d *c"] | None = None,
    momentum: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
) -> Float[Array, "..."]:
    r"""Iterates of gradient descent: $w_k = w_0 + \sum_i g(s_i^2) s_i \, u_i^\top (y - X w_0) \, v_i$.

    With $X = \sum_i s_i u_i v_i^\top$ and the gain $g(\lambda) = (1 - (1 - \eta \lambda)^k) / \lambda$; from zero,
    $w_k = \sum_{j < k} (I - \eta X^\top X)^j \eta X^\top y$.

    Args:
        x: examples X in rows.
        y: targets, shape (n,) or (n, C).
        learning_rate: eta > 0; above 2 / lambda_max(X^T X) the iterates grow.
        num_steps: k, whole numbers of at least 0, of any shape.
        w0: start, shape (d,) or (d, C); default zero.
        momentum: as in `gradient_descent_filter`.
        ridge: as in `gradient_descent_filter`; it pulls towards `w0`.

    Returns:
        The iterates, shape `num_steps.shape + w0.shape`.

    Raises:
        ValueError: if shapes do not fit, or a value is out of its range (NaN results when traced).

    Source: Theory of Deep Learning, equations (3.1) to (3.3); spec LS-1. Cost: one singular value decomposition and O(n d) a k.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import optimization
        >>> w = optimization.least_squares_gd(jnp.ones((1, 2)), jnp.array([2.0]), learning_rate=0.1, num_steps=jnp.array([0, 1, 1000]))
        >>> [[round(float(entry), 3) for entry in row] for row in w]
        [[0.0, 0.0], [0.2, 0.2], [1.0, 1.0]]
    """
    x, y, w0 = _problem(x, y, w0)
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    found = gradient_descent_filter(s**2, learning_rate, num_steps, momentum=momentum, ridge=ridge)
    return _moved(u, s, vt, found, x, y, w0)


def least_squares_flow(
    x: Float[ArrayLike, "n d"],
    y: Float[ArrayLike, "n *c"],
    t: Float[ArrayLike, "*t"],
    *,
    w0: Float[ArrayLike, "d *c"] | None = None,
    ridge: ArrayLike = 0.0,
) -> Float[Array, "..."]:
    r"""Path of gradient flow, $\dot w = -X^\top (X w - y)$: as `least_squares_gd` with the gain $(1 - e^{-\lambda t}) / \lambda$.

    Args:
        x: examples X in rows.
        y: targets, shape (n,) or (n, C).
        t: finite times of at least 0, of any shape; the limit is `gd_limit`.
        w0: start, shape (d,) or (d, C); default zero.
        ridge: as in `gradient_flow_filter`.

    Returns:
        The weights, shape `t.shape + w0.shape`.

    Raises:
        ValueError: if shapes do not fit, or a value is out of its range (NaN results when traced).

    Source: Theory of Deep Learning, section 3.1; spec LS-1. Cost: one singular value decomposition and O(n d) a time.
    """
    x, y, w0 = _problem(x, y, w0)
    t = floating("t", t)
    t = checked(t, (t < math.inf, "t must be finite; the limit is gd_limit"))
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    return _moved(u, s, vt, gradient_flow_filter(s**2, t, ridge=ridge), x, y, w0)


def min_norm_solution(x: Float[ArrayLike, "n d"], y: Float[ArrayLike, "n *c"], *, require_full_rank: bool = False) -> Float[Array, "d *c"]:
    r"""$X^\dagger y$, of all minimizers of $\lVert X w - y \rVert$ the one of least Euclidean norm, where gradient descent from zero ends.

    Args:
        x: X, shape (n, d); singular values below 10 max(n, d) eps times the largest count as zero.
        y: targets, shape (n,) or (n, C).
        require_full_rank: whether linearly dependent rows (or columns, if n > d) are refused.

    Returns:
        The solution; differentiable in X where the rank does not change.

    Raises:
        ValueError: if shapes do not fit, X is not finite, or it lacks a rank that is required (NaN results when traced).

    Source: Theory of Deep Learning, equations (3.4) and (3.5); spec LS-2. Cost: one singular value decomposition.
    """
    x, y, _ = _problem(x, y, None)
    inverse = jnp.linalg.pinv(x)
    if require_full_rank:
        rank, full = jnp.linalg.matrix_rank(x), min(x.shape)
        inverse = checked(inverse, (rank == full, f"x must have full rank, {full}; its rank is {rank}"))
    return jnp.matmul(inverse, y, precision=HIGHEST)


def gd_limit(
    x: Float[ArrayLike, "n d"], y: Float[ArrayLike, "n *c"], w0: Float[ArrayLike, "d *c"], *, learning_rate: ArrayLike | None = None
) -> Float[Array, "d *c"]:
    r"""Where gradient descent from $w_0$ ends: $X^\dagger y + (I - X^\dagger X) w_0$, the nearest minimizer to $w_0$.

    Args:
        x: X, shape (n, d).
        y: targets, shape (n,) or (n, C).
        w0: start, shape (d,) or (d, C).
        learning_rate: if given, checked to lie in (0, 2 / lambda_max(X^T X)), outside of which there is no limit.

    Returns:
        The limit, of the shape of `w0`.

    Raises:
        ValueError: if shapes do not fit, X is not finite, or `learning_rate` is outside its range (NaN results when traced).

    Source: Theory of Deep Learning, section 3.1, with the start added; spec LS-2.
    """
    x, y, w0 = _problem(x, y, w0)
    limit = w0 + jnp.matmul(jnp.linalg.pinv(x), y - jnp.matmul(x, w0, precision=HIGHEST), precision=HIGHEST)
    if learning_rate is None:
        return limit
    rate, threshold = floating("learning_rate", learning_rate), 2 / jnp.linalg.norm(x, 2) ** 2
    return checked(limit, ((rate > 0) & (rate < threshold), f"learning_rate must lie in (0, {threshold}), 2 / lambda_max; got {learning_rate}"))


def row_space_projector(x: Float[ArrayLike, "n d"]) -> Float[Array, "d d"]:
    r"""$X^\dagger X$, the orthogonal projector onto the span of the rows, which iterates of gradient descent from zero do not leave.

    Args:
        x: X, shape (n, d).

    Returns:
        A symmetric matrix, shape (d, d).

    Raises:
        ValueError: if `x` is not a finite matrix (NaN results when traced).

    Source: Theory of Deep Learning, section 3.1; spec LS-2.
    """
    x = _matrix("x", x)
    _, s, vt = jnp.linalg.svd(x, full_matrices=False)
    rows = jnp.where(s > 10 * max(x.shape) * jnp.finfo(x.dtype).eps * s[0], 1.0, 0.0)[:, None] * vt
    return jnp.matmul(rows.T, vt, precision=HIGHEST)


def penrose_residuals(m: Float[ArrayLike, "n d"], p: Float[ArrayLike, "d n"]) -> Float[Array, "4"]:
    r"""How far P is from the pseudo-inverse of M: Frobenius norms of $MPM - M$, $PMP - P$, $MP - (MP)^\top$, $PM - (PM)^\top$.

    All four vanish for $P = M^\dagger$ and for no other matrix. `jnp.linalg.pinv` computes it; it is not continuous, and has no
    useful derivative, where the rank changes.

    Args:
        m: M, shape (n, d).
        p: P, shape (d, n).

    Returns:
        The four norms, in this order.

    Raises:
        ValueError: if shapes do not fit or an entry is not finite (NaN results when traced).

    Source: Penrose 1955; Theory of Deep Learning, equations (3.6) and (3.7); spec LS-3.
    """
    m, p = _matrix("m", m), _matrix("p", p)
    require(p.shape == m.shape[::-1], f"p must have the shape of m transposed, {m.shape[::-1]}; got {p.shape}")
    mp, pm = jnp.matmul(m, p, precision=HIGHEST), jnp.matmul(p, m, precision=HIGHEST)
    found = jnp.matmul(mp, m, precision=HIGHEST) - m, jnp.matmul(pm, p, precision=HIGHEST) - p, mp - mp.T, pm - pm.T
    return jnp.stack([jnp.linalg.norm(residual) for residual in found])


def _moved(u: Array, s: Array, vt: Array, found: SpectralFilter, x: Array, y: Array, w0: Array) -> Array:
    residual = (y - jnp.matmul(x, w0, precision=HIGHEST)).reshape(len(y), -1)
    modes = jnp.matmul(u.T, residual, precision=HIGHEST)
    step = jnp.einsum("jd,...j,jc->...dc", vt, found.gain * s, modes, precision=HIGHEST)
    return w0 + step.reshape(step.shape[:-2] + w0.shape)


def _problem(x: ArrayLike, y: ArrayLike, w0: ArrayLike | None) -> tuple[Array, Array, Array]:
    x, y = _matrix("x", x), floating("y", y)
    (n, d), outputs = x.shape, y.shape[1:]
    require(y.ndim in (1, 2) and y.shape[0] == n, f"y must have shape ({n},) or ({n}, C), a row for each row of x; got {y.shape}")
    w0 = jnp.zeros((d, *outputs), x.dtype) if w0 is None else floating("w0", w0)
    require(w0.shape == (d, *outputs), f"w0 must have shape {(d, *outputs)}; got {w0.shape}")
    return x, y, w0


def _matrix(name: str, value: ArrayLike) -> Array:
    value = floating(name, value)
    require(value.ndim == 2 and value.size > 0, f"{name} must be a matrix that is not empty; got shape {value.shape}")
    return checked(value, (jnp.isfinite(value), f"{name} must be finite"))
