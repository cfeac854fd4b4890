r"""Tail bounds for sums of independent random matrices, by the variance of the sum (PROB-8).

For independent $X_i \in R^{n_1 \times n_2}$ of mean zero with $\lVert X_i \rVert \le M$ in spectral norm, $Z = \sum_i X_i$ and
$V = \max(\lVert \sum_i E X_i X_i^\top \rVert, \lVert \sum_i E X_i^\top X_i \rVert)$.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen.bounds._inputs import Scalar, at_least


def matrix_variance(left: Float[ArrayLike, "*b n1 n1"], right: Float[ArrayLike, "*b n2 n2"]) -> Float[Array, ""]:
    r"""The variance of a sum of random matrices: $V = \max(\lVert \sum_i E X_i X_i^\top \rVert, \lVert \sum_i E X_i^\top X_i \rVert)$.

    The norm of the sum, not the largest of the norms, which can be smaller by the number of summands.

    Args:
        left: $E X_i X_i^\top$ of every summand along leading axes, or their sum.
        right: $E X_i^\top X_i$, likewise.

    Returns:
        The variance V, a scalar.

    Raises:
        ValueError: if a matrix is not square, not symmetric or has a negative eigenvalue, or the numbers of summands differ.

    Source: Theory of Deep Learning, Lemma 1.1.8; PROB-8. Cost: one symmetric eigenvalue problem a summand and side, for the
    check, and one of each sum.
    """
    left, right = _moments("left", left), _moments("right", right)
    require(left.shape[:-2] == right.shape[:-2], f"left and right must be of as many summands; got shapes {left.shape} and {right.shape}")
    return jnp.maximum(_norm_of_sum(left), _norm_of_sum(right))


def matrix_variance_rademacher(matrices: Float[ArrayLike, "m n1 n2"]) -> Float[Array, ""]:
    r"""The variance of $\sum_i \epsilon_i A_i$ with independent signs: $\max(\lVert \sum_i A_i A_i^\top \rVert, \lVert \sum_i A_i^\top A_i \rVert)$.

    Args:
        matrices: $A_i$ along the leading axis.

    Returns:
        The variance V, a scalar.

    Raises:
        ValueError: if `matrices` does not have three axes, or is empty.

    Source: Theory of Deep Learning, Lemma 1.1.8; PROB-8.
    """
    matrices = floating("matrices", matrices)
    require(matrices.ndim == 3 and matrices.size > 0, f"matrices must have shape (m, n1, n2), and not be empty; got {matrices.shape}")
    left, right = jnp.einsum("mij,mkj->ik", matrices, matrices), jnp.einsum("mij,mik->jk", matrices, matrices)
    return jnp.maximum(_norm_of_sum(left), _norm_of_sum(right))


def matrix_bernstein_mean(V: Scalar, M: Scalar, n1: int, n2: int) -> Float[Array, "..."]:
    r"""A bound on the expected norm of a sum of random matrices: $E \lVert Z \rVert \le \sqrt{2 V \ln(n_1 + n_2)} + \frac M3 \ln(n_1 + n_2)$.

    Args:
        V: variance of the sum, as `matrix_variance` gives it.
        M: bound on the spectral norm of every summand.
        n1: number of rows.
        n2: number of columns.

    Returns:
        The bound.

    Raises:
        ValueError: if `V` < 0, `M` < 0 or a size is not a positive integer.

    Example:
        Four diagonal entries with independent signs, a matrix whose norm is always 1:

        >>> from jaxgen import bounds
        >>> round(float(bounds.matrix_bernstein_mean(1.0, 1.0, 4, 4)), 4)
        2.7325

    Source: Theory of Deep Learning, Lemma 1.1.8; Tropp 2015, Theorem 6.1.1; PROB-8.
    """
    log_size = math.log(positive_integer("n1", n1) + positive_integer("n2", n2))
    return jnp.sqrt(2 * at_least("V", V, 0) * log_size) + at_least("M", M, 0) * log_size / 3


def matrix_bernstein_tail(t: Scalar, V: Scalar, M: Scalar, n1: int, n2: int) -> Float[Array, "..."]:
    r"""Bernstein's inequality for matrices: $\Pr[\lVert Z \rVert \ge t] \le (n_1 + n_2) \exp(-\frac{t^2 / 2}{V + M t / 3})$.

    Args:
        t: threshold, at least 0.
        V: variance of the sum, as `matrix_variance` gives it.
        M: bound on the spectral norm of every summand.
        n1: number of rows.
        n2: number of columns.

    Returns:
        The bound on the probability, not clipped at one.

    Raises:
        ValueError: if `t` < 0, `V` < 0, `M` < 0 or a size is not a positive integer.

    Source: Theory of Deep Learning, Lemma 1.1.8; Tropp 2015, Theorem 6.1.1; PROB-8.
    """
    t, V, M = at_least("t", t, 0), at_least("V", V, 0), at_least("M", M, 0)
    scale = 2 * (V + M * t / 3)
    constant = scale == 0
    exponent = jnp.where(constant, jnp.where(t > 0, jnp.inf, 0.0), t**2 / jnp.where(constant, 1.0, scale))
    return (positive_integer("n1", n1) + positive_integer("n2", n2)) * jnp.exp(-exponent)


def _moments(name: str, value: ArrayLike) -> Array:
    """Positive semidefinite matrices, to rounding."""
    array = floating(name, value)
    require(array.ndim >= 2 and array.shape[-1] == array.shape[-2] and array.size > 0, f"{name} must hold square matrices; got shape {array.shape}")
    transposed = jnp.swapaxes(array, -1, -2)
    slack = 16 * array.shape[-1] * jnp.finfo(array.dtype).eps * jnp.abs(array).max()
    smallest = jnp.linalg.eigvalsh((array + transposed) / 2).min()
    return checked(
        array,
        (jnp.abs(array - transposed) <= slack, f"{name} must hold symmetric matrices"),
        (smallest >= -slack, f"{name} must hold positive semidefinite matrices, which second moments are"),
    )


def _norm_of_sum(matrices: Array) -> Array:
    total = matrices.reshape(-1, *matrices.shape[-2:]).sum(axis=0)
    return jnp.maximum(jnp.linalg.eigvalsh(total)[-1], 0.0)
