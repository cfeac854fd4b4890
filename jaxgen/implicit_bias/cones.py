"""The nearest point of a cone: nonnegative least squares from a Gram matrix."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen._core.checks import checked, floating, positive_integer, require

PATIENCE = 3
"""Exchanges of whole sets that may fail to improve before entries enter one at a time."""
SMALL = 64
"""Size of a system up to which solving the whole of it costs no more than choosing a part."""
EIGHTHS = (2, 3, 4, 8)
"""Sizes of systems that are solved, as parts of n."""
EXACT = jax.lax.Precision.HIGHEST


class NonnegativeLeastSquares(NamedTuple):
    """The nearest point of a cone; made by `nonnegative_least_squares`.

    Attributes:
        multipliers: lambda >= 0.
        gap: at least ||v - J^T lambda||^2 - min_mu ||v - J^T mu||^2 over ||v||^2; infinite if a product <v, row> is not positive.
        num_steps: systems that were solved.
    """

    multipliers: Float[Array, " n"]
    gap: Float[Array, ""]
    num_steps: Int[Array, ""]


def nonnegative_least_squares(
    gram: Float[Array, "n n"], products: Float[Array, " n"], squared_norm: Float[Array, ""], *, max_steps: int | None = None
) -> NonnegativeLeastSquares:
    r"""The lambda >= 0 that minimize ||v - J^T lambda||^2 = lambda^T K lambda - 2 b^T lambda + ||v||^2, from K = J J^T and b = J v.

    By block principal pivoting: the equations are solved on a set of free multipliers, those that come out negative leave it,
    and those whose derivative is negative enter, as long as there are fewer and fewer of them; the eighth of n with the most
    negative ones at a time, so that few systems are larger than the last. Where that fails, as it may for dependent rows,
    entries enter one at a time, by the method of Lawson and Hanson. Rows are scaled to norm one first; the systems are of the
    smallest of four sizes that holds the free set.

    Args:
        gram: K, positive semidefinite.
        products: b, the products of v with the rows.
        squared_norm: ||v||^2 > 0, which the gap is relative to.
        max_steps: systems to be solved at most, default 3 n + 100; the gap tells if they were too few.

    Returns:
        Multipliers, the gap that they prove, and the number of steps. The proof: with g = K lambda - b, sum_i lambda_i g_i = 0
        and b > 0, no mu >= 0 lowers the objective by more than 2 max_i (-g_i)_+ ||v||^2 / min_i b_i.

    Raises:
        ValueError: if shapes do not fit, ||v||^2 is not positive (NaN when traced) or `max_steps` < 1.

    Source: Kim & Park 2011; Lawson & Hanson 1974; spec BIAS-33. Cost: one product with K and one Cholesky factor of the
    free rows a step, mostly fewer than ten steps. Not differentiable.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> rows, v = jnp.array([[1.0, 0.0], [1.0, -1.0]]), jnp.array([2.0, 1.0])
        >>> implicit_bias.nonnegative_least_squares(rows @ rows.T, rows @ v, v @ v).multipliers.tolist()
        [2.0, 0.0]
    """
    gram, products, squared_norm = floating("gram", gram), floating("products", products), floating("squared_norm", squared_norm)
    count = len(products)
    max_steps = 3 * count + 100 if max_steps is None else positive_integer("max_steps", max_steps)
    require(products.ndim == 1 and count > 0, f"products must be a vector; got shape {products.shape}")
    require(gram.shape == (count, count), f"gram must have shape ({count}, {count}); got {gram.shape}")
    squared_norm = checked(squared_norm, (squared_norm > 0, "squared_norm must be positive"))
    diagonal = jnp.diagonal(gram)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 0)
    cosines = scale * products / jnp.sqrt(squared_norm)
    found, num_steps = _solve(gram, scale, cosines, max_steps)
    return NonnegativeLeastSquares(found * scale * jnp.sqrt(squared_norm), _gap(gram, scale, cosines, found), num_steps)


def _apply(gram: Array, scale: Array, v: Array) -> Array:
    return scale * jnp.matmul(gram, scale * v, precision=EXACT)


class _Exchange(NamedTuple):
    """A set of free multipliers, the solution on it, which entries are wrong, and which of them may enter."""

    free: Bool[Array, " n"]
    value: Float[Array, " n"]
    wrong: Bool[Array, " n"]
    worst: Bool[Array, " n"]
    fewest: Int[Array, ""]
    patience: Int[Array, ""]
    step: Int[Array, ""]


class _Climb(NamedTuple):
    """A feasible point, the set that it is improved on, and whether no entry is left that would improve it."""

    free: Bool[Array, " n"]
    value: Float[Array, " n"]
    done: Bool[Array, ""]
    step: Int[Array, ""]


def _solve(gram: Array, scale: Array, cosines: Array, max_steps: int) -> tuple[Array, Array]:
    """Solution of the scaled problem, made nonnegative and of the best length, and the number of steps."""
    first = _exchanged(gram, scale, cosines, max_steps)
    failed = first.wrong.any() & (first.step < max_steps)
    start = _Climb(first.free & ~failed, jnp.where(failed, 0, jnp.maximum(first.value, 0)), ~failed, first.step)
    end = jax.lax.while_loop(lambda state: ~state.done & (state.step < max_steps), partial(_climbed, gram, scale, cosines), start)
    found = end.value
    length = found @ _apply(gram, scale, found)
    return found * jnp.where(length > 0, jnp.maximum(found @ cosines, 0) / jnp.where(length > 0, length, 1), 0), end.step


def _small(value: Array) -> Array:
    """Slopes that are rounding."""
    return 10 * jnp.finfo(value.dtype).eps * jnp.maximum(jnp.abs(value).sum(), 1)


def _exchanged(gram: Array, scale: Array, cosines: Array, max_steps: int) -> _Exchange:
    """Sets of entries exchanged until none is wrong, or there are no longer fewer and fewer."""
    count, usable = len(cosines), scale > 0
    most_entering = count if count <= SMALL else -(-count // 8)

    def state_of(free: Array, fewest: Array, patience: Array, step: Array) -> _Exchange:
        value = _on_free(gram, scale, cosines, free)
        slope = _apply(gram, scale, value) - cosines
        wrong = jnp.where(free, value < -_small(value), usable & (slope < -_small(value)))
        steepest = jnp.sort(jnp.where(free, jnp.inf, slope))[most_entering - 1]
        return _Exchange(free, value, wrong, free | (slope <= steepest), fewest, patience, step)

    def step(state: _Exchange) -> _Exchange:
        number = state.wrong.sum()
        patience = jnp.where(number < state.fewest, PATIENCE, state.patience - 1)
        return state_of(state.free ^ (state.wrong & state.worst), jnp.minimum(number, state.fewest), patience, state.step + 1)

    start = usable & (cosines >= jnp.sort(cosines)[-(-3 * count // 4) if count > SMALL else 0])
    state = state_of(start, jnp.array(count + 1), jnp.array(PATIENCE), jnp.array(1))
    return jax.lax.while_loop(lambda state: state.wrong.any() & (state.patience > 0) & (state.step < max_steps), step, state)


def _climbed(gram: Array, scale: Array, cosines: Array, state: _Climb) -> _Climb:
    """One step of Lawson and Hanson: to the solution on the free set, or as far as multipliers stay positive; then one entry enters."""
    target = _on_free(gram, scale, cosines, state.free)
    blocked = state.free & (target <= 0)
    fractions = jnp.where(blocked, state.value / jnp.where(blocked, jnp.maximum(state.value - target, jnp.finfo(target.dtype).tiny), 1), 1)
    fraction = fractions.min()
    value = jnp.maximum(state.value + fraction * (target - state.value), 0)
    free = state.free & ~(blocked & (fractions <= fraction))
    value = jnp.where(free, value, 0)
    slope = jnp.where(free | (scale == 0), jnp.inf, _apply(gram, scale, value) - cosines)
    entering = jnp.argmin(slope)
    complete = ~blocked.any()
    optimal = slope[entering] >= -_small(value)
    return _Climb(free | (complete & ~optimal & (jnp.arange(len(free)) == entering)), value, complete & optimal, state.step + 1)


def _on_free(gram: Array, scale: Array, cosines: Array, free: Array) -> Array:
    """Solution of the scaled equations on the free entries, zero elsewhere, by the smallest system that holds them."""
    count = len(cosines)
    sizes = [count] if count <= SMALL else [-(-part * count // 8) for part in EIGHTHS]

    def of_size(size: int, free: Array) -> Array:
        rows = jnp.nonzero(free, size=size, fill_value=count)[0]
        there = rows < count
        own = jnp.where(there, jnp.take(scale, rows, mode="clip"), 0)
        block = jnp.take(jnp.take(gram, rows, axis=0, mode="clip"), rows, axis=1, mode="clip") * own[:, None] * own[None, :]
        ridge = size * jnp.finfo(gram.dtype).eps
        factor = _inverse_factor(block + jnp.diag(jnp.where(there, ridge, 1).astype(gram.dtype)))
        target = jnp.where(there, jnp.take(cosines, rows, mode="clip"), 0)
        value = jnp.matmul(factor.T, jnp.matmul(factor, target, precision=EXACT), precision=EXACT)
        rest = target - jnp.matmul(block, value, precision=EXACT)
        value = value + jnp.matmul(factor.T, jnp.matmul(factor, rest, precision=EXACT), precision=EXACT)
        return jnp.zeros_like(cosines).at[rows].set(value, mode="drop")

    if len(sizes) == 1:
        return of_size(count, free)
    which = (free.sum() > jnp.array(sizes[:-1])).sum()
    return jax.lax.switch(which, [lambda free, size=size: of_size(size, free) for size in sizes], free)


def _inverse_factor(matrix: Float[Array, "m m"]) -> Float[Array, "m m"]:
    """Inverse of the Cholesky factor, by halves, and row by row where these are small.

    No library of linear algebra is called, whose threads would wait for those of the compiler, and the other way round.
    """
    size = len(matrix)
    if size <= SMALL:
        return _small_inverse_factor(matrix)
    half = size // 2
    first = _inverse_factor(matrix[:half, :half])
    below = jnp.matmul(matrix[half:, :half], first.T, precision=EXACT)
    second = _inverse_factor(matrix[half:, half:] - jnp.matmul(below, below.T, precision=EXACT))
    corner = -jnp.matmul(second, jnp.matmul(below, first, precision=EXACT), precision=EXACT)
    return jnp.block([[first, jnp.zeros((half, size - half), matrix.dtype)], [corner, second]])


def _small_inverse_factor(matrix: Float[Array, "m m"]) -> Float[Array, "m m"]:
    def row(i: Array, found: Array) -> Array:
        below = jnp.matmul(found, matrix[i], precision=EXACT)
        pivot = jnp.sqrt(jnp.maximum(matrix[i, i] - below @ below, jnp.finfo(matrix.dtype).tiny))
        own = (jnp.arange(len(matrix)) == i) - jnp.matmul(below, found, precision=EXACT)
        return found.at[i].set(own / pivot)

    return jax.lax.fori_loop(0, len(matrix), row, jnp.zeros_like(matrix))


def _gap(gram: Array, scale: Array, cosines: Array, found: Array) -> Array:
    """2 max (-g)_+ / min cosine, of rows that are not zero."""
    slope = _apply(gram, scale, found) - cosines
    usable = scale > 0
    smallest = jnp.where(usable, cosines, jnp.inf).min()
    steepest = jnp.where(usable, jnp.maximum(-slope, 0), 0).max()
    slack = jnp.abs(found @ slope)
    return jnp.where(smallest > 0, 2 * (steepest / jnp.where(smallest > 0, smallest, 1) + slack), jnp.inf)
