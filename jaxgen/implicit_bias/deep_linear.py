"""Deep linear nets and deep matrix factorizations: balanced layers, and how gradient flow moves their product."""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core import flows
from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen.implicit_bias._parametrized import as_pytree

HIGHEST = jax.lax.Precision.HIGHEST
GradientFn = Callable[[Float[Array, "m k"]], Float[Array, "m k"]]


def end_to_end(factors: Sequence[Float[ArrayLike, "out in"]]) -> Float[Array, "m k"]:
    """W = W_N ... W_1, the matrix of a deep linear net x -> W x.

    Args:
        factors: W_1, ..., W_N in this order, first layer first, W_j of shape (outputs, inputs).

    Returns:
        Their product.

    Raises:
        ValueError: if there is no factor or shapes do not fit.

    Source: Arora, Cohen & Hazan 2018; spec BIAS-23.
    """
    return _product(_checked_factors(factors))


def balancedness(factors: Sequence[Float[ArrayLike, "out in"]]) -> list[Float[Array, "h h"]]:
    r"""$W_{j+1}^\top W_{j+1} - W_j W_j^\top$ for j = 1, ..., N - 1: conserved by gradient flow of any loss of the product, zero if balanced.

    Args:
        factors: W_1, ..., W_N, first layer first.

    Returns:
        N - 1 symmetric matrices.

    Raises:
        ValueError: if there is no factor or shapes do not fit.

    Source: Arora, Cohen & Hazan 2018, Theorem 1; spec BIAS-23.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.balancedness([jnp.array([[3.0]]), jnp.array([[5.0]])])[0].tolist()
        [[16.0]]
    """
    matrices = _checked_factors(factors)
    return [_matmul(upper.T, upper) - _matmul(lower, lower.T) for lower, upper in pairwise(matrices)]


def balanced_factors(w: Float[ArrayLike, "m k"], depth: int) -> list[Float[Array, "out in"]]:
    """Balanced W_1, ..., W_N with product W = U S V^T: S^(1/N) V^T, then S^(1/N), and last U S^(1/N), of min(m, k) hidden units.

    Args:
        w: W.
        depth: N >= 1.

    Returns:
        The factors, first layer first; W itself for N = 1.

    Raises:
        ValueError: if `w` is not a matrix or `depth` < 1.
        TypeError: if `depth` is no concrete integer.

    Source: Arora, Cohen & Hazan 2018; spec BIAS-23.
    """
    matrix, depth = _matrix("w", w), positive_integer("depth", depth)
    if depth == 1:
        return [matrix]
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    roots = values ** (1 / depth)
    return [roots[:, None] * right, *(jnp.diag(roots) for _ in range(depth - 2)), left * roots]


def end_to_end_velocity(factors: Sequence[Float[ArrayLike, "out in"]], grad_fn: GradientFn) -> Float[Array, "m k"]:
    r"""dW/dt of the product under gradient flow of all factors, $-\sum_j A_j A_j^\top \nabla L(W) B_j^\top B_j$.

    A_j = W_N ... W_(j+1) is what comes after layer j, B_j = W_(j-1) ... W_1 what comes before. For balanced factors this is
    `balanced_velocity` of the product.

    Args:
        factors: W_1, ..., W_N, first layer first.
        grad_fn: W -> grad L(W).

    Returns:
        The velocity, of the shape of W.

    Raises:
        ValueError: if there is no factor, or shapes do not fit.

    Source: Arora, Cohen & Hazan 2018; spec BIAS-23. Cost: O(N) matrix products.
    """
    matrices = _checked_factors(factors)
    velocities = _velocities(matrices, grad_fn)
    return jax.jvp(_product, (matrices,), (velocities,))[1]


def balanced_velocity(w: Float[ArrayLike, "m k"], grad_fn: GradientFn, depth: int) -> Float[Array, "m k"]:
    r"""$\dot W = -\sum_{j=1}^N (W W^\top)^{(j-1)/N} \, \nabla L(W) \, (W^\top W)^{(N-j)/N}$, the flow of a product of balanced factors.

    Args:
        w: W.
        grad_fn: W -> grad L(W).
        depth: N >= 1.

    Returns:
        The velocity, of the shape of W; for N = 1 it is -grad L(W).

    Raises:
        ValueError: if `w` is not a matrix, `grad_fn` returns another shape or `depth` < 1.
        TypeError: if `depth` is no concrete integer.

    Source: Arora, Cohen & Hazan 2018, Theorem 1; spec BIAS-23. Cost: one singular value decomposition.
    """
    matrix, depth = _matrix("w", w), positive_integer("depth", depth)
    gradient = _gradient(grad_fn, matrix)
    left, values, right = jnp.linalg.svd(matrix)
    rows, columns = (jnp.zeros(size, matrix.dtype).at[: values.size].set(values) for size in matrix.shape)
    weights = sum(rows[:, None] ** (2 * j / depth) * columns ** (2 * (depth - 1 - j) / depth) for j in range(depth))
    return -_matmul(left, weights * _matmul(left.T, gradient, right.T), right)


def singular_value_velocity(w: Float[ArrayLike, "m k"], grad_fn: GradientFn, depth: int) -> Float[Array, " r"]:
    r"""$\dot\sigma_r = -N \sigma_r^{2 - 2/N} \langle \nabla L(W), u_r v_r^\top \rangle$: the deeper, the further large singular values run ahead.

    Args:
        w: W = sum_r s_r u_r v_r^T, the product of balanced factors.
        grad_fn: W -> grad L(W).
        depth: N >= 1.

    Returns:
        One velocity for each of the min(m, k) singular values, in decreasing order of these.

    Raises:
        ValueError: if `w` is not a matrix, `grad_fn` returns another shape or `depth` < 1.
        TypeError: if `depth` is no concrete integer.

    Source: Arora, Cohen, Hu & Luo 2019, Theorem 3; spec BIAS-23. Cost: one singular value decomposition.
    """
    matrix, depth = _matrix("w", w), positive_integer("depth", depth)
    gradient = _gradient(grad_fn, matrix)
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    return -depth * values ** (2 - 2 / depth) * jnp.einsum("ir,ij,rj->r", left, gradient, right, precision=HIGHEST)


def deep_linear_flow(
    factors0: Sequence[Float[ArrayLike, "out in"]],
    grad_fn: GradientFn,
    times: Float[ArrayLike, " T"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> list[Float[Array, "T out in"]]:
    r"""The gradient flow of L(W_N ... W_1) in all factors from `factors0`, at given times.

    Args:
        factors0: W_1, ..., W_N at time 0, first layer first.
        grad_fn: W -> grad L(W), of the product.
        times: finite, at least 0 and increasing, shape (T,).
        rtol: relative tolerance of the solver; default 1e-9 in float64, 1e-5 in float32.
        atol: absolute tolerance; default `rtol` times 1e-2.
        max_steps: steps of the solver, beyond which it raises.

    Returns:
        The factors at the times, stacked along a leading axis T.

    Raises:
        ValueError: if shapes do not fit, or `times` are not as above (NaN results when traced).
        RuntimeError: from the solver, if it needs more steps.

    Source: Arora, Cohen, Hu & Luo 2019; spec BIAS-23. Cost: O(N) matrix products and a gradient each of six times a step.
    """
    matrices = _checked_factors(factors0)
    _gradient_shape(grad_fn, _product(matrices))
    return flows.solve(_descending, matrices, as_pytree(grad_fn), "times", times, rtol, atol, max_steps)


def effective_rank(w: Float[ArrayLike, "m k"]) -> Float[Array, ""]:
    """exp of the entropy of s_r / sum_r s_r: between 1 and min(m, k), and r for r equal singular values.

    Args:
        w: a matrix, not zero.

    Returns:
        The effective rank.

    Raises:
        ValueError: if `w` is no matrix, or zero (NaN when traced).

    Source: Roy & Vetterli 2007; spec BIAS-23.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> round(float(implicit_bias.effective_rank(jnp.diag(jnp.array([3.0, 3.0, 0.0])))), 4)
        2.0
    """
    values = jnp.linalg.svd(_matrix("w", w), compute_uv=False)
    values = checked(values, (values[0] > 0, "w must not be zero"))
    weights = values / jnp.sum(values)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(weights)))


def _descending(t: Array, factors: list[Array], grad_fn: GradientFn) -> list[Array]:
    return _velocities(factors, grad_fn)


def _velocities(factors: list[Array], grad_fn: GradientFn) -> list[Array]:
    w, pull = jax.vjp(_product, factors)
    return jax.tree.map(jnp.negative, pull(_gradient(grad_fn, w))[0])


def _matmul(*matrices: Array) -> Array:
    return reduce(lambda a, b: jnp.matmul(a, b, precision=HIGHEST), matrices)


def _product(factors: list[Array]) -> Array:
    return _matmul(*reversed(factors))


def _gradient_shape(grad_fn: GradientFn, w: Array) -> None:
    shape = jnp.shape(jax.eval_shape(grad_fn, w))
    require(shape == w.shape, f"grad_fn must return the shape of the product, {w.shape}; got {shape}")


def _gradient(grad_fn: GradientFn, w: Array) -> Array:
    _gradient_shape(grad_fn, w)
    return jnp.asarray(grad_fn(w)).astype(w.dtype)


def _matrix(name: str, w: ArrayLike) -> Array:
    array = floating(name, w)
    require(array.ndim == 2 and array.size > 0, f"{name} must be a matrix; got shape {array.shape}")
    return array


def _checked_factors(factors: Sequence[ArrayLike]) -> list[Array]:
    matrices = [floating(f"factors[{number}]", factor) for number, factor in enumerate(factors)]
    shapes = [matrix.shape for matrix in matrices]
    fits = all(matrix.ndim == 2 for matrix in matrices) and all(upper.shape[1] == lower.shape[0] for lower, upper in pairwise(matrices))
    require(bool(matrices) and fits, f"factors must be matrices W_1, ..., W_N with a product W_N ... W_1; got shapes {shapes}")
    return matrices
