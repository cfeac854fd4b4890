"""The law at which SGD with constant noise settles near a minimum."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, choice, floating, require
from jaxgen._core.matrices import is_semidefinite, is_symmetric

KINDS = ("sde", "discrete")


def stationary_covariance(
    H: Float[ArrayLike, "d d"], C: Float[ArrayLike, "d d"], learning_rate: Float[ArrayLike, ""], kind: str = "sde"
) -> Float[Array, "d d"]:
    r"""Covariance $\Lambda$ at which SGD on a quadratic of Hessian H, with gradient noise of covariance C, is stationary.

    $H\Lambda + \Lambda H = \eta C$ for the stochastic differential equation, and for the iteration itself
    $\Lambda = (I - \eta H)\Lambda(I - \eta H) + \eta^2 C$; in the eigenbasis of H, entries of C are multiplied by
    $\eta / (h_i + h_j)$ and $\eta / (h_i + h_j - \eta h_i h_j)$. With $C = H / b$ they are $\eta I / (2 b)$ and
    $(\eta / b)(2 I - \eta H)^{-1}$.

    Args:
        H: Hessian, symmetric positive definite.
        C: covariance of the gradient noise, symmetric positive semidefinite.
        learning_rate: eta, positive; below 2 over the largest eigenvalue of H for `"discrete"`.
        kind: `"sde"` or `"discrete"`.

    Returns:
        The covariance of the weights about the minimum.

    Raises:
        ValueError: if shapes do not fit, `H` is not symmetric positive definite, `C` not semidefinite, `learning_rate` <= 0, the
            iteration diverges, or `kind` is unknown.

    Source: Mandt, Hoffman and Blei 2017, section 3.2; Liu, Ziyin and Ueda 2021, theorem 1; spec INFO-36. Cost O(d^3).

    Example:
        >>> from jaxgen import processes
        >>> print(f"{processes.stationary_covariance([[1.7]], [[0.6]], 0.1, 'discrete')[0, 0]:.4f}")
        0.0193
    """
    choice("kind", kind, KINDS)
    H, C, rate = floating("H", H), floating("C", C), floating("learning_rate", learning_rate)
    require(H.ndim == 2 and H.shape[0] == H.shape[1] > 0, f"H must be a square matrix; got shape {H.shape}")
    require(C.shape == H.shape, f"C must have the shape of H, {H.shape}; got {C.shape}")
    require(rate.ndim == 0, f"learning_rate must be a scalar; got shape {rate.shape}")
    values, vectors = jnp.linalg.eigh(H)
    rotated = _product(_product(vectors.T, C), vectors)
    sums = values[:, None] + values
    scale = rate / (sums if kind == "sde" else sums - rate * values[:, None] * values)
    symmetric = [(is_symmetric(matrix), f"{name} must be symmetric") for name, matrix in (("H", H), ("C", C))]
    rounding = jnp.finfo(values.dtype).eps * len(values) * values[-1]
    conditions = [
        *symmetric,
        (values[0] > rounding, "H must be positive definite; its smallest eigenvalue is not positive"),
        (is_semidefinite(C), "C must be positive semidefinite; its smallest eigenvalue is negative"),
        (rate > 0, f"learning_rate must be positive; got {learning_rate}"),
    ]
    if kind == "discrete":
        conditions.append((rate * values[-1] < 2, "the iteration diverges: learning_rate must be below 2 over the largest eigenvalue of H"))
    return checked(_product(_product(vectors, scale * rotated), vectors.T), *conditions)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
