"""The complexity of a ReLU net by the spectral norms and stable ranks of its layers."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import choice
from jaxgen.bounds._inputs import at_least, positive
from jaxgen.bounds.compression._matrices import Weights, matrices
from jaxgen.bounds.compression.truncation import lipschitz_upper_bound, stable_rank

KINDS = ("neyshabur18", "lowrank_count")


def spectral_complexity(weights: Weights, input_norm: Float[ArrayLike, ""], margin: Float[ArrayLike, ""], kind: str = KINDS[0]) -> Float[Array, ""]:
    r"""What stands under the root of a spectrally normalized margin bound, before the division by the number of examples.

    - `"neyshabur18"`: $\frac{h d^2 B^2}{\gamma^2} \prod_i \lVert A^i \rVert_2^2 \sum_i \lVert A^i \rVert_F^2 / \lVert A^i \rVert_2^2$, with h
      the largest width, d the depth and B the largest norm of an input; constants and logarithms are left out.
    - `"lowrank_count"`: the parameters of the net with truncated layers, $q = \sum_i (m_i + n_i) \min(r_i, m_i, n_i)$ for matrices
      (m_i, n_i) with `truncation_ranks` r_i; `compression_bound` of it is explicit.

    A measure of complexity and no bound. It does not change when inputs and margin are multiplied by one number, nor when one layer is
    multiplied and another divided by one.

    Args:
        weights: as in `relu_network`, no matrix zero.
        input_norm: B, at least 0.
        margin: gamma, positive, which it is only where all of the sample is classified correctly.
        kind: `"neyshabur18"` or `"lowrank_count"`.

    Returns:
        The complexity.

    Raises:
        ValueError: if shapes do not fit, there are biases, a matrix is zero, B < 0 or gamma is not positive (NaN results when traced),
            or `kind` is unknown.

    Source: Neyshabur, Bhojanapalli and Srebro 2018, theorem 1; Arora, Ge, Neyshabur and Zhang 2018; spec GEN-22, with the norm of inputs
    squared, which is printed without.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> float(bounds.spectral_complexity([jnp.eye(4)] * 3, input_norm=1.0, margin=1.0))
        432.0
    """
    choice("kind", kind, KINDS)
    layers = matrices(weights)
    if kind == "lowrank_count":
        numbers = jnp.array([sum(matrix.shape) for matrix in layers])
        most = jnp.array([min(matrix.shape) for matrix in layers])
        return jnp.sum(numbers * jnp.minimum(truncation_ranks(layers, input_norm, margin), most))
    width = max(size for matrix in layers for size in matrix.shape)
    ranks = jnp.stack([stable_rank(matrix) for matrix in layers])
    return width * len(layers) ** 2 * (lipschitz_upper_bound(layers) * _radius(input_norm, margin)) ** 2 * ranks.sum()


def truncation_ranks(weights: Weights, input_norm: Float[ArrayLike, ""], margin: Float[ArrayLike, ""]) -> Float[Array, " d"]:
    r"""Ranks that `truncate_network` cannot exceed: $9 d^2 B^2 P^2 \lVert A^i \rVert_F^2 / (\lVert A^i \rVert_2^2 \gamma^2)$.

    Args:
        weights: as in `relu_network`, no matrix zero.
        input_norm: B, at least 0.
        margin: gamma, positive.

    Returns:
        One number a layer, not rounded, and above the size of the matrix where the bound says nothing.

    Raises:
        ValueError: as `spectral_complexity`.

    Source: spec GEN-22.
    """
    layers = matrices(weights)
    ranks = jnp.stack([stable_rank(matrix) for matrix in layers])
    return (3 * len(layers) * lipschitz_upper_bound(layers) * _radius(input_norm, margin)) ** 2 * ranks


def _radius(input_norm: Float[ArrayLike, ""], margin: Float[ArrayLike, ""]) -> Float[Array, ""]:
    hint = "; where a point is misclassified take a margin gamma and pay for the fraction of points below it"
    return at_least("input_norm", input_norm, 0) / positive("margin", margin, hint)
