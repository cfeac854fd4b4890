"""Linear classifiers with a margin, compressed: by keeping few coordinates at random, and by a random projection."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from jaxgen._core.checks import checked, floating, is_traced, positive_integer, require
from jaxgen.bounds.compression.compressibility import quantize

CLIPPED = 0.01
"""Probability with which a coordinate of a sketch is clipped when it is rounded."""


class SparsificationMoments(NamedTuple):
    """What a sparsified classifier is on average; made by `sparsification_moments`.

    Attributes:
        num_nonzeros: expected number of coordinates kept, at most 8 / gamma^2.
        variance: of its output at u, at most gamma^2 / 8 for a u of norm one.
    """

    num_nonzeros: Float[Array, ""]
    variance: Float[Array, ""]


def sparsify_linear(key: Key[Array, ""], c: Float[ArrayLike, " d"], gamma: Float[ArrayLike, ""], *, normalize: bool = False) -> Float[Array, " d"]:
    r"""A classifier with about $8 / \gamma^2$ coordinates: $\hat c_i = c_i / p_i$ with probability $p_i = \min(1, 8 c_i^2 / \gamma^2)$, else 0.

    It is unbiased, and at any fixed u of norm one $\Pr(|\hat c \cdot u - c \cdot u| \ge \gamma) \le \frac18$: where c has margin gamma the
    sign is kept with probability 7/8, for each u by itself and not for all at once.

    Args:
        key: PRNG key.
        c: classifier of norm one, shape (d,).
        gamma: margin, in (0, 1].
        normalize: divides c by its norm first.

    Returns:
        The sparse classifier, shape (d,).

    Raises:
        ValueError: if c is not a vector, not of norm one (without `normalize`), or gamma is outside (0, 1]; NaN when traced.

    Source: Arora, Ge, Neyshabur and Zhang 2018; Theory of Deep Learning, section 5.5.1; spec GEN-18.
    """
    c, probability = _kept(c, gamma, normalize)
    return jnp.where(jax.random.uniform(key, c.shape, c.dtype) < probability, c / jnp.where(probability > 0, probability, 1.0), 0 * probability)


def sparsification_moments(
    c: Float[ArrayLike, " d"], u: Float[ArrayLike, " d"], gamma: Float[ArrayLike, ""], *, normalize: bool = False
) -> SparsificationMoments:
    r"""Expected size and variance of `sparsify_linear`: $\sum_i p_i$ and $\sum_i u_i^2 c_i^2 (1 - p_i) / p_i$.

    Coordinates with p_i = 1, of which there are at most 8 / gamma^2, have no variance.

    Args:
        c: as in `sparsify_linear`.
        u: an input, shape (d,).
        gamma: as in `sparsify_linear`.
        normalize: as in `sparsify_linear`.

    Returns:
        `SparsificationMoments`.

    Raises:
        ValueError: as `sparsify_linear`, and if u has another shape.

    Source: Arora, Ge, Neyshabur and Zhang 2018; Theory of Deep Learning, section 5.5.1; spec GEN-18, where the variance is half of what is printed.
    """
    c, probability = _kept(c, gamma, normalize)
    u = floating("u", u)
    require(u.shape == c.shape, f"u must have the shape of c, {c.shape}; got {u.shape}")
    each = jnp.where(probability > 0, (u * c) ** 2 * (1 - probability) / jnp.where(probability > 0, probability, 1.0), 0.0)
    return SparsificationMoments(probability.sum(), each.sum())


def _kept(c: Float[ArrayLike, " d"], gamma: Float[ArrayLike, ""], normalize: bool) -> tuple[Array, Array]:
    """c and the probabilities with which its coordinates are kept."""
    c, gamma = _unit("c", c, normalize), floating("gamma", gamma)
    gamma = checked(gamma, ((gamma > 0) & (gamma <= 1), f"gamma must be in (0, 1]; got {gamma}"))
    return c, jnp.minimum(1.0, 8 * (c / gamma) ** 2)


def _unit(name: str, vector: Float[ArrayLike, " d"], normalize: bool = False) -> Array:
    array = floating(name, vector)
    require(array.ndim == 1 and array.size > 0, f"{name} must be a vector; got shape {array.shape}")
    norm = jnp.linalg.norm(array)
    if normalize:
        return array / checked(norm, ((norm > 0) & jnp.isfinite(norm), f"{name} must be finite and not zero"))
    tolerance = math.sqrt(jnp.finfo(array.dtype).eps)
    return checked(array, (jnp.abs(norm - 1) <= tolerance, f"{name} must have norm one; got {norm} (normalize=True divides by it)"))


def gaussian_sketch(key: Key[Array, ""], k: int, d: int) -> Float[Array, "k d"]:
    r"""A random projection M with independent entries $N(0, 1/k)$, drawn before any data: $E \langle M c, M u \rangle = \langle c, u \rangle$.

    For c and u of norm one the variance is $(1 + \langle c, u \rangle^2) / k$.

    Args:
        key: PRNG key.
        k: rows, at least 1.
        d: dimension, at least 1.

    Returns:
        M, shape (k, d), in the default precision.

    Raises:
        ValueError: if k < 1 or d < 1.

    Source: Theory of Deep Learning, section 5.5.1; spec GEN-19.
    """
    k, d = positive_integer("k", k), positive_integer("d", d)
    return jax.random.normal(key, (k, d)) / math.sqrt(k)


def sketch_compress(matrix: Float[ArrayLike, "k d"], c: Float[ArrayLike, " d"], num_levels: int | None = None) -> Float[Array, " d"]:
    r"""The classifier $\hat c = M^\top \mathrm{round}(M c)$, given by k numbers once the helper string M is known.

    With `num_levels` the numbers are rounded to as many equally spaced values in $[-R, R]$, $R = \sqrt{2 \ln(200 k) / k}$, which is
    known before c is and clips any of them with probability at most 1/100.

    Args:
        matrix: M, shape (k, d), of `gaussian_sketch`.
        c: classifier of norm one, shape (d,).
        num_levels: of the stored numbers, at least 2; None does not round.

    Returns:
        The compressed classifier, shape (d,).

    Raises:
        ValueError: if shapes do not fit, c is not of norm one (NaN results when traced) or `num_levels` < 2.

    Source: Theory of Deep Learning, section 5.5.1; spec GEN-19.
    """
    matrix, c = floating("matrix", matrix), _unit("c", c)
    require(matrix.ndim == 2 and matrix.shape[1] == len(c) and len(matrix) > 0, f"matrix must have shape (k, {len(c)}); got {matrix.shape}")
    numbers = jnp.matmul(matrix, c, precision=jax.lax.Precision.HIGHEST)
    if num_levels is not None:
        numbers = quantize(numbers, num_levels, math.sqrt(2 * math.log(2 * len(matrix) / CLIPPED) / len(matrix))).params
    return jnp.matmul(numbers, matrix, precision=jax.lax.Precision.HIGHEST)


def jl_rows(gamma: float, eta: float, num_pairs: int = 1) -> int:
    r"""Rows of a sketch that keep every one of some inner products within gamma with probability $1 - \eta$.

    The smallest k with $4 N e^{-k (\gamma^2 / 4 - \gamma^3 / 6)} \le \eta$, for N pairs of vectors of norm at most one: a union bound over
    the N inputs of a sample, since for one pair alone $\ln N$ less is enough.

    Args:
        gamma: accuracy, in (0, 1]; concrete.
        eta: probability of failure, in (0, 1); concrete.
        num_pairs: N, at least 1.

    Returns:
        k, a Python integer.

    Raises:
        ValueError: if an argument is outside its range.
        TypeError: if one is traced.

    Source: Johnson and Lindenstrauss, with polarization; spec GEN-19.

    Example:
        >>> from jaxgen import bounds
        >>> bounds.jl_rows(0.3, 0.05, num_pairs=100)
        500
    """
    if is_traced(gamma, eta):
        raise TypeError("gamma and eta must be concrete numbers, which the number of rows is")
    require(0 < gamma <= 1, f"gamma must be in (0, 1]; got {gamma}")
    require(0 < eta < 1, f"eta must be in (0, 1); got {eta}")
    pairs = positive_integer("num_pairs", num_pairs)
    return math.ceil(math.log(4 * pairs / eta) / (gamma**2 / 4 - gamma**3 / 6))
