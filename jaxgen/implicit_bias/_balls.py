"""Unit balls for interior-point methods: smooth powers of norms, and barriers of Fourier, spectral and nuclear balls."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.implicit_bias._interior import Relation, Stiffness
from jaxgen.implicit_bias.norms import LpNorm, Norm

SMALLEST = 1e-12
"""Entries of v below this part of its norm are as stiff as this one, for 1 < p < 2."""


def power(p: float) -> Relation:
    """w = grad f*(v) for f = ||w||_p^2 / 2 with 1 < p < inf; linearized in v for p <= 2, in w above, where each is smooth.

    The Hessian of half a squared norm is diagonal but for a multiple of a square, and so is its inverse.
    """
    q = p / (p - 1)

    def in_v(w: Array, v: Array, mu: Array) -> tuple[Stiffness, Array]:
        size, relative = _relative(v, q)
        magnitudes = jnp.abs(relative)
        stiffness = Stiffness(jnp.maximum(magnitudes, SMALLEST) ** (2 - q) / (q - 1), jnp.sqrt((q - 2) / (q - 1)) * relative)
        missing = size * jnp.sign(v) * magnitudes ** (q - 1) - w
        return stiffness, stiffness.matrix * missing + stiffness.vector * (stiffness.vector @ missing)

    def in_w(w: Array, v: Array, mu: Array) -> tuple[Stiffness, Array]:
        size, relative = _relative(w, p)
        slope = jnp.sign(w) * jnp.abs(relative) ** (p - 1)
        matrix = jnp.diag((p - 1) * jnp.abs(relative) ** (p - 2)) - (p - 2) * jnp.outer(slope, slope)
        return Stiffness(matrix, jnp.zeros_like(w)), v - size * slope

    return Relation(in_v if p <= 2 else in_w)


def _relative(x: Array, p: float) -> tuple[Array, Array]:
    """The l_p norm, and what is divided by it."""
    size = LpNorm(p).value(x)
    size = jnp.where(size > 0, size, jnp.finfo(x.dtype).tiny)
    return size, x / size


def smooth(norm: Norm, shape: tuple[int, ...]) -> Relation:
    """w = grad (||v||_*^2 / 2), minus the steepest direction, of any norm for which that has a derivative."""

    def gradient(v: Array) -> Array:
        return -norm.steepest(v.reshape(shape)).ravel()

    def linearized(w: Array, v: Array, mu: Array) -> tuple[Stiffness, Array]:
        # Not by jacfwd: XLA on CPUs fails at Fourier transforms of tangents whose layout is transposed.
        hessian = jax.lax.map(lambda tangent: jax.jvp(gradient, (v,), (tangent,))[1], jnp.eye(len(v), dtype=v.dtype))
        ridge = jnp.finfo(v.dtype).eps * jnp.abs(hessian).max() * jnp.eye(len(v), dtype=v.dtype)
        matrix = jnp.linalg.inv(0.5 * (hessian + hessian.T) + ridge)
        return Stiffness(matrix, jnp.zeros_like(v)), matrix @ (gradient(v) - w)

    return Relation(linearized)


def barred(barrier: Callable[[Array], Float[Array, ""]]) -> Relation:
    """v = mu grad Phi(w) for a barrier Phi of the ball, NaN or infinite outside."""

    def linearized(w: Array, v: Array, mu: Array) -> tuple[Stiffness, Array]:
        return Stiffness(mu * jax.hessian(barrier)(w), jnp.zeros_like(w)), v - mu * jax.grad(barrier)(w)

    return Relation(linearized, lambda w: jnp.isfinite(barrier(w)))


def fourier_basis(d: int) -> np.ndarray:
    """The orthogonal matrix whose rows are cosines and sines of d points, frequency by frequency."""
    transform = np.fft.rfft(np.eye(d), axis=0, norm="ortho")
    rows = []
    for k, row in enumerate(transform):
        alone = k == 0 or 2 * k == d
        rows += [row.real] if alone else [math.sqrt(2) * row.real, math.sqrt(2) * row.imag]
    return np.array(rows)


def _frequencies(d: int) -> np.ndarray:
    """For every row of `fourier_basis`, the index of its frequency."""
    return (np.arange(d) + 1) // 2


def fourier_largest(d: int) -> Callable[[Array], Array]:
    """-sum_k log(1 - |F w|_k^2), the barrier of max_k |F w|_k <= 1, of coordinates in `fourier_basis`."""
    index, weight = _frequencies(d), _multiplicities(d)

    def barrier(c: Array) -> Array:
        squares = jnp.zeros(d // 2 + 1, c.dtype).at[index].add(c**2) / weight
        return -jnp.sum(jnp.log(1 - squares))

    return barrier


def fourier_sum(d: int) -> Callable[[Array], Array]:
    """The barrier of sum_k |F w|_k <= 1, of coordinates in `fourier_basis` followed by bounds u_k >= |F w|_k, one a frequency."""
    index, weight = _frequencies(d), _multiplicities(d)

    def barrier(c: Array) -> Array:
        bounds = c[d:]
        squares = jnp.zeros(d // 2 + 1, c.dtype).at[index].add(c[:d] ** 2) / weight
        sizes = jnp.where(bounds > 0, bounds, jnp.nan)
        return -jnp.sum(jnp.log(sizes - squares / sizes) + jnp.log(sizes)) - jnp.log(1 - jnp.sum(weight * bounds))

    return barrier


def _multiplicities(d: int) -> np.ndarray:
    counts = np.full(d // 2 + 1, 2.0)
    counts[0] = 1
    if d % 2 == 0:
        counts[-1] = 1
    return counts


def spectral(shape: tuple[int, int]) -> Callable[[Array], Array]:
    """-log det(I - W^T W), the barrier of the largest singular value."""

    def barrier(w: Array) -> Array:
        matrix = w.reshape(shape)
        product = matrix @ matrix.T if shape[0] <= shape[1] else matrix.T @ matrix
        return -_log_determinant(jnp.eye(len(product), dtype=w.dtype) - product)

    return barrier


def nuclear(shape: tuple[int, int]) -> Callable[[Array], Array]:
    """The barrier of the sum of singular values, of W followed by the upper triangles of P and Q with [[P, W], [W^T, Q]] positive definite."""
    m, k = shape
    above, beside = np.triu_indices(m), np.triu_indices(k)

    def barrier(w: Array) -> Array:
        matrix = w[: m * k].reshape(shape)
        first, second = (
            _symmetric(entries, indices, size)
            for entries, indices, size in ((w[m * k : -len(beside[0])], above, m), (w[-len(beside[0]) :], beside, k))
        )
        block = jnp.block([[first, matrix], [matrix.T, second]])
        return -_log_determinant(block) - jnp.log(2 - jnp.trace(first) - jnp.trace(second))

    return barrier


def nuclear_start(shape: tuple[int, int], dtype: jnp.dtype) -> Array:
    """W = 0 with P and Q of trace one half."""
    m, k = shape
    first, second = (np.eye(size)[np.triu_indices(size)] / (2 * size) for size in (m, k))
    return jnp.concatenate([jnp.zeros(m * k, dtype), jnp.asarray(first, dtype), jnp.asarray(second, dtype)])


def _symmetric(entries: Array, indices: tuple[np.ndarray, np.ndarray], size: int) -> Array:
    upper = jnp.zeros((size, size), entries.dtype).at[indices].set(entries)
    return upper + jnp.triu(upper, 1).T


def _log_determinant(matrix: Array) -> Array:
    """Logarithm of the determinant; NaN unless positive definite."""
    return 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(matrix))))
