"""The nearest point of a cone: nonnegative least squares from a Gram matrix."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen._core.checks import checked, floating, positive_integer, require

PATIENCE = 3
"""Exchanges of whole sets that may fail to improve before single entries are exchanged."""
SMALL = 64
"""Size of a system up to which solving the whole of it costs no more than choosing a part."""
EIGHTHS = (2, 4, 6, 8)
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
    gram: Float[Array, "n n"], products: Float[Array, " n"], squared_norm: Float[Array, ""], *, max_steps: int = 100
) -> NonnegativeLeastSquares:
    r"""The lambda >= 0 that minimize ||v - J^T lambda||^2 = lambda^T K lambda - 2 b^T lambda + ||v||^2, from K = J J^T and b = J v.

    By block principal pivoting: the equations are solved on a set of free multipliers, those that come out negative leave it,
    and those whose derivative is negative enter, all at a time as long as there are fewer and fewer of them. Rows are scaled
    to norm one first; the systems are of the smallest of four sizes that holds the free set.

    Args:
        gram: K, positive semidefinite.
        products: b, the products of v with the rows.
        squared_norm: ||v||^2 > 0, which the gap is relative to.
        max_steps: systems to be solved at most; the gap tells if they were too few.

    Returns:
        Multipliers, the gap that they prove, and the number of steps. The proof: with g = K lambda - b, sum_i lambda_i g_i = 0
        and b > 0, no mu >= 0 lowers the objective by more than 2 max_i (-g_i)_+ ||v||^2 / min_i b_i.

    Raises:
        ValueError: if shapes do not fit, ||v||^2 is not positive (NaN when traced) or `max_steps` < 1.

    Source: Kim & Park 2011 (block principal pivoting); spec BIAS-33. Cost: one product with K and one Cholesky factor of the
    free rows a step, mostly fewer than ten steps. Not differentiable.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> rows, v = jnp.array([[1.0, 0.0], [1.0, -1.0]]), jnp.array([2.0, 1.0])
        >>> implicit_bias.nonnegative_least_squares(rows @ rows.T, rows @ v, v @ v).multipliers.tolist()
        [2.0, 0.0]
    """
    gram, products, squared_norm = floating("gram", gram), floating("products", products), floating("squared_norm", squared_norm)
    count, max_steps = len(products), positive_integer("max_steps", max_steps)
    require(products.ndim == 1 and count > 0, f"products must be a vector; got shape {products.shape}")
    require(gram.shape == (count, count), f"gram must have shape ({count}, {count}); got {gram.shape}")
    squared_norm = checked(squared_norm, (squared_norm > 0, "squared_norm must be positive"))
    diagonal = jnp.diagonal(gram)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 0)
    cosines = scale * products / jnp.sqrt(squared_norm)
    found, num_steps = _pivot(gram, scale, cosines, max_steps)
    return NonnegativeLeastSquares(found * scale * jnp.sqrt(squared_norm), _gap(gram, scale, cosines, found), num_steps)


def _apply(gram: Array, scale: Array, v: Array) -> Array:
    return scale * jnp.matmul(gram, scale * v, precision=EXACT)


class _State(NamedTuple):
    free: Bool[Array, " n"]
    value: Float[Array, " n"]
    wrong: Bool[Array, " n"]
    fewest: Int[Array, ""]
    patience: Int[Array, ""]
    step: Int[Array, ""]


def _pivot(gram: Array, scale: Array, cosines: Array, max_steps: int) -> tuple[Array, Array]:
    """Solution of the scaled problem, made nonnegative and of the best length, and the number of steps."""
    count, epsilon = len(cosines), jnp.finfo(cosines.dtype).eps
    usable = scale > 0

    def solved(free: Array) -> tuple[Array, Array]:
        value = _on_free(gram, scale, cosines, free)
        slope = _apply(gram, scale, value) - cosines
        small = 10 * epsilon * jnp.maximum(jnp.abs(value).sum(), 1)
        return value, jnp.where(free, value < -small, usable & (slope < -small))

    def step(state: _State) -> _State:
        number = state.wrong.sum()
        fewer = number < state.fewest
        patience = jnp.where(fewer, PATIENCE, state.patience - 1)
        last = jnp.arange(count) == count - 1 - jnp.argmax(state.wrong[::-1])
        free = state.free ^ jnp.where(patience >= 0, state.wrong, state.wrong & last)
        value, wrong = solved(free)
        return _State(free, value, wrong, jnp.minimum(number, state.fewest), patience, state.step + 1)

    start = usable & (cosines >= jnp.sort(cosines)[-(-3 * count // 4) if count > SMALL else 0])
    value, wrong = solved(start)
    state = _State(start, value, wrong, jnp.array(count + 1), jnp.array(PATIENCE), jnp.array(1))
    end = jax.lax.while_loop(lambda state: state.wrong.any() & (state.step < max_steps), step, state)
    found = jnp.maximum(end.value, 0)
    image = _apply(gram, scale, found)
    length = found @ image
    return found * jnp.where(length > 0, jnp.maximum(found @ cosines, 0) / jnp.where(length > 0, length, 1), 0), end.step


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
        factor = jax.scipy.linalg.cho_factor(block + jnp.diag(jnp.where(there, ridge, 1).astype(gram.dtype)), lower=True)
        target = jnp.where(there, jnp.take(cosines, rows, mode="clip"), 0)
        value = jax.scipy.linalg.cho_solve(factor, target)
        value = value + jax.scipy.linalg.cho_solve(factor, target - jnp.matmul(block, value, precision=EXACT))
        return jnp.zeros_like(cosines).at[rows].set(value, mode="drop")

    if len(sizes) == 1:
        return of_size(count, free)
    which = (free.sum() > jnp.array(sizes[:-1])).sum()
    return jax.lax.switch(which, [lambda free, size=size: of_size(size, free) for size in sizes], free)


def _gap(gram: Array, scale: Array, cosines: Array, found: Array) -> Array:
    """2 max (-g)_+ / min cosine, of rows that are not zero."""
    slope = _apply(gram, scale, found) - cosines
    usable = scale > 0
    smallest = jnp.where(usable, cosines, jnp.inf).min()
    steepest = jnp.where(usable, jnp.maximum(-slope, 0), 0).max()
    slack = jnp.abs(found @ slope)
    return jnp.where(smallest > 0, 2 * (steepest / jnp.where(smallest > 0, smallest, 1) + slack), jnp.inf)
