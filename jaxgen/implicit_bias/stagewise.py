"""Forward stagewise selection and the path of the lasso, which it follows when that is monotone."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key, PyTree

from jaxgen._core.checks import checked, floating, is_traced, positive_integer, require
from jaxgen.implicit_bias import interpolators
from jaxgen.implicit_bias._descent import Record
from jaxgen.implicit_bias.norms import lp_norm
from jaxgen.implicit_bias.steepest import steepest_descent


def forward_stagewise(
    x: Float[ArrayLike, "n d"],
    y: Float[ArrayLike, " n"],
    step: ArrayLike,
    num_steps: int,
    *,
    ties: str = "first",
    key: Key[Array, ""] | None = None,
    record: Record | None = None,
    every: int = 1,
) -> tuple[Float[Array, " d"], PyTree]:
    r"""Steepest descent in l_1 from zero on ||X w - y||^2: the weight of largest gradient g_j moves by -step g_j.

    For small steps it selects features as the lasso does while the lasso's path is monotone (`path_is_monotone`), and then ends
    at the interpolator of least l_1 norm; otherwise it may end elsewhere.

    Args:
        x: X, rows x_i.
        y: targets.
        step: learning rate, in (0, 1 / max_j ||X e_j||^2): beyond that the loss does not fall.
        num_steps: T, at least 0.
        ties: which of equal gradients: `"first"`, `"average"` or `"random"`.
        key: for `ties="random"`.
        record: `record(w, gradient, t)` with w before step t; a pytree of arrays.
        every: record at t = 0, every, 2 every, ...

    Returns:
        w_T, and the records stacked along a leading axis, None without `record`.

    Raises:
        ValueError: if shapes do not fit, `num_steps` < 0, `step` is not in its range (NaN results when traced), or `ties` is
            unknown or needs a key.
        TypeError: if an array is not real.

    A column of x that is zero, or equal to another up to sign, is warned of when x is concrete.

    Source: Arora et al., Theory of Deep Learning, section 8.1.1, Example 1 (spec BIAS-11). Cost: O(n d) a step.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> x, y = jnp.array([[3.0, -1.0, 2.0], [3.0, -3.0, 1.0]]), jnp.array([-1.0, -3.0])
        >>> w, _ = implicit_bias.forward_stagewise(x, y, 1e-3, 20_000)
        >>> round(float(jnp.abs(w).sum()), 1)  # the interpolator (0, 1, 0) has norm 1
        1.5
    """
    x, y = _problem(x, y)
    rate = floating("step", step)
    require(rate.ndim == 0, f"step must be a scalar; got shape {rate.shape}")
    largest = jnp.sum(x**2, axis=0).max()
    stable = (rate > 0) & (rate * largest < 1)
    rate = checked(rate, (stable, "step must be positive and below 1 / max_j ||X e_j||^2, where the loss falls"))
    rates = jnp.full(positive_integer("num_steps", num_steps, at_least=0), jnp.where(stable, rate, 1.0))
    w0 = jnp.where(stable, jnp.zeros(x.shape[1], x.dtype), jnp.nan)
    return steepest_descent(lp_norm(1), lambda w: 2 * x.T @ (x @ w - y), w0, rates, ties=ties, key=key, record=record, every=every)


class _ActiveSet(NamedTuple):
    """Weights of the lasso on their way, their violation of its conditions, steps so far."""

    w: Array
    violation: Array
    count: Array


def lasso_path(
    x: Float[ArrayLike, "n d"],
    y: Float[ArrayLike, " n"],
    lambdas: Float[ArrayLike, " L"],
    *,
    tol: float | None = None,
    max_steps: int = 10_000,
) -> Float[Array, "L d"]:
    r"""w(lambda) = argmin ||X w - y||^2 + lambda ||w||_1 for each lambda, by active sets from the one before.

    A step solves the equations 2 X_A^T (y - X_A w_A) = lambda sign(w_A) of the support A, and goes there or to the first change of
    a sign on the way; once they hold, the coordinate that violates its condition most joins A.

    Args:
        x: X, rows x_i.
        y: targets.
        lambdas: positive; fastest from large to small. From 2 max_j |X^T y|_j on, w = 0.
        tol: largest violation of the conditions |2 X^T (y - X w)|_j <= lambda, with equality and the sign of w_j where w_j is
            not zero, relative to the gradient at zero; default 1e-10 in float64, 1e-5 in float32.
        max_steps: steps for one lambda; there are about as many as changes of the support.

    Returns:
        One row of weights per lambda, with the derivatives that they have while the support stays.

    Raises:
        ValueError: if shapes do not fit, `lambdas` is no vector or not positive, `max_steps` < 1, or `tol` is not reached (rows
            of NaNs result when traced).
        TypeError: if an array is not real.

    A column of x that is zero, or equal to another up to sign, is warned of when x is concrete: weights are not unique then.

    Source: Arora et al., Theory of Deep Learning, section 8.1.1, Example 1 (spec BIAS-11). Cost: one Gram matrix of the features,
    and one Cholesky decomposition of it a step.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> x, y = jnp.array([[3.0, -1.0, 2.0], [3.0, -3.0, 1.0]]), jnp.array([-1.0, -3.0])
        >>> implicit_bias.lasso_path(x, y, jnp.array([20.0, 10.0, 5.0, 1.0]))[:, 0].round(4)  # not monotone
        Array([-0.1111, -0.2778, -0.1389, -0.0278], dtype=float32)
    """
    x, y = _problem(x, y)
    lambdas = floating("lambdas", lambdas).astype(x.dtype)
    require(lambdas.ndim == 1 and lambdas.size > 0, f"lambdas must be a vector; got shape {lambdas.shape}")
    positive = (jnp.all(lambdas > 0) & jnp.all(jnp.isfinite(lambdas)), "lambdas must be positive and finite")
    most = positive_integer("max_steps", max_steps)
    tolerance = tol if tol is not None else 1e-10 if x.dtype == jnp.float64 else 1e-5
    path, reached = _path(x, y, jnp.where(positive[0], lambdas, jnp.inf), tolerance, most)
    path = checked(path, positive)
    if is_traced(reached):
        return jnp.where(reached[:, None], path, jnp.nan)
    return checked(path, (reached, f"the lasso did not reach a violation of {tolerance:g} in {max_steps} steps"))


def path_is_monotone(path: Float[ArrayLike, "L d"]) -> Bool[Array, ""]:
    """Whether every coordinate only rises or only falls along the rows of a path, up to half its digits.

    Args:
        path: one row of weights per point, as from `lasso_path` with decreasing lambdas.

    Returns:
        A boolean scalar, False if there are NaNs.

    Raises:
        ValueError: if `path` is no matrix.
        TypeError: if it is not real.

    Source: Arora et al., Theory of Deep Learning, section 8.1.1, Example 1 (spec BIAS-11).
    """
    path = floating("path", path)
    require(path.ndim == 2, f"path must have one row per point; got shape {path.shape}")
    rounding = jnp.finfo(path.dtype).eps ** 0.5 * jnp.abs(path).max(initial=0.0)
    steps = jnp.diff(path, axis=0)
    return jnp.all(jnp.all(steps >= -rounding, axis=0) | jnp.all(steps <= rounding, axis=0))


def _problem(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = interpolators.data(x, y)
    if not is_traced(x):
        _warn_of_columns(x)
    return x, y.astype(x.dtype)


def _warn_of_columns(x: Array) -> None:
    columns = np.asarray(x).T
    zero = np.flatnonzero(~columns.any(axis=1))
    if zero.size:
        warnings.warn(f"columns {zero.tolist()} of x are zero: their weights never move", stacklevel=4)
    leading = np.take_along_axis(columns, (columns != 0).argmax(axis=1)[:, None], axis=1)
    first = np.unique(columns * np.sign(leading), axis=0, return_index=True)[1]
    again = np.setdiff1d(np.arange(len(columns)), np.concatenate([first, zero]))
    if again.size:
        warnings.warn(f"columns {again.tolist()} of x repeat others, up to sign: only sums of their weights are determined", stacklevel=4)


@jax.jit
def _path(x: Array, y: Array, lambdas: Array, tolerance: ArrayLike, max_steps: ArrayLike) -> tuple[Array, Array]:
    """Weights for each lambda, and whether their violation is at most `tolerance` of the gradient at zero."""
    gram, correlations = x.T @ x, x.T @ y
    fixed = jax.lax.stop_gradient((gram, correlations))
    largest = 2 * jnp.abs(fixed[1]).max() * tolerance

    def solve(w: Array, penalty: Array) -> tuple[Array, tuple[Array, Array]]:
        start = _ActiveSet(w, _violations(2 * (fixed[1] - fixed[0] @ w), penalty, w).max(), jnp.int32(0))
        found = jax.lax.while_loop(
            lambda state: (state.violation > largest) & (state.count < max_steps),
            lambda state: _step(*fixed, penalty, largest, state),
            start,
        )
        return found.w, (found.w, found.violation <= largest)

    path, reached = jax.lax.scan(solve, jnp.zeros(x.shape[1], x.dtype), jax.lax.stop_gradient(lambdas))[1]
    # Where it stops the support does not change with the data, so that one more step has the derivatives of the solution.
    polished = jax.vmap(lambda w, penalty: w + _towards(gram, correlations, penalty, w, w != 0, jnp.sign(w)))(path, lambdas)
    return jnp.where(jnp.sign(polished) == jnp.sign(path), polished, path), reached


def _step(gram: Array, correlations: Array, penalty: Array, tolerance: Array, state: _ActiveSet) -> _ActiveSet:
    """Towards the solution on the support, enlarged by one coordinate if it is there already, until a sign would change."""
    w = state.w
    slopes = 2 * (correlations - gram @ w)
    violations = _violations(slopes, penalty, w)
    solved = jnp.max(violations, where=w != 0, initial=0.0) <= tolerance
    joins = solved & (w == 0) & (jnp.arange(w.size) == jnp.argmax(jnp.where(w == 0, violations, -jnp.inf)))
    direction = _towards(gram, correlations, penalty, w, (w != 0) | joins, jnp.where(joins, jnp.sign(slopes), jnp.sign(w)))
    crosses = (w + direction) * jnp.sign(w) < 0
    fractions = jnp.where(crosses, -w / jnp.where(crosses, direction, 1), jnp.inf)
    fraction = jnp.minimum(fractions.min(), 1)
    w = jnp.where(crosses & (fractions == fraction), 0, w + fraction * direction)
    return _ActiveSet(w, _violations(2 * (correlations - gram @ w), penalty, w).max(), state.count + 1)


def _towards(gram: Array, correlations: Array, penalty: Array, w: Array, active: Array, signs: Array) -> Array:
    """From w to the solution with that support and those signs.

    Along dependent columns the loss is flat; a ridge makes them a long step, to be cut at the first change of a sign.
    """
    ridge = w.size * jnp.finfo(w.dtype).eps * jax.lax.stop_gradient(jnp.trace(gram))
    equations = jnp.where(active[:, None] & active[None, :], gram, 0) + ridge * jnp.eye(w.size, dtype=w.dtype)
    rest = jnp.where(active, correlations - gram @ w - jnp.where(active, penalty * signs, 0) / 2, 0)
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(equations, lower=True), rest)


def _violations(slopes: Array, penalty: Array, w: Array) -> Array:
    """How far each coordinate is from |slope| <= penalty, slope = penalty sign(w) where w is not zero."""
    return jnp.where(w != 0, jnp.abs(slopes - penalty * jnp.sign(w)), jnp.maximum(jnp.abs(slopes) - penalty, 0))
