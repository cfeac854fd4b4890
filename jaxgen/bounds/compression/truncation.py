"""Layers of low rank: stable rank, truncated singular values, and what truncation does to the outputs of a ReLU net."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from jaxgen._core.checks import checked, floating, require
from jaxgen.bounds._inputs import at_least, positive
from jaxgen.bounds.compression._matrices import Weights, like_matrices, matrices, nonzero_matrix, spectral_norm

PRECISION = jax.lax.Precision.HIGHEST


class TruncatedMatrix(NamedTuple):
    """A matrix without its small singular values; made by `truncate_svd`.

    Attributes:
        matrix: of the same shape.
        rank: how many singular values were kept.
    """

    matrix: Float[Array, "m n"]
    rank: Int[Array, ""]


class TruncatedNetwork(NamedTuple):
    """A net whose layers have low rank; made by `truncate_network`.

    Attributes:
        weights: the matrices, of the same shapes.
        ranks: their ranks, shape (d,).
    """

    weights: list[Float[Array, "out in"]]
    ranks: Int[Array, " d"]


class TruncationErrors(NamedTuple):
    """Largest change of a net's output on a sample; made by `truncation_errors`.

    Attributes:
        single: with one layer changed, shape (d,).
        together: with all of them changed.
    """

    single: Float[Array, " d"]
    together: Float[Array, ""]


def relu_network(weights: Weights, x: Float[ArrayLike, "N *inputs"]) -> Float[Array, "N C"]:
    r"""A net without biases, $f(x) = A^d \phi(A^{d-1} \cdots \phi(A^1 x))$ with $\phi(z) = \max(z, 0)$.

    Args:
        weights: matrices of shape (outputs, inputs), or the parameters of `models.mlp(widths, bias=False)`.
        x: inputs, shape (N, inputs); every example is flattened.

    Returns:
        Outputs, shape (N, C).

    Raises:
        ValueError: if shapes do not fit or there are biases.

    Source: spec GEN-21.
    """
    layers, x = matrices(weights), floating("x", x)
    require(x.ndim >= 1, "x must have a leading example axis; got a scalar")
    x = x.reshape(len(x), -1)
    require(x.shape[1] == layers[0].shape[1], f"x must have {layers[0].shape[1]} inputs an example; got {x.shape[1]}")
    first = jnp.matmul(x, layers[0].T, precision=PRECISION)
    return reduce(lambda z, matrix: jnp.matmul(jax.nn.relu(z), matrix.T, precision=PRECISION), layers[1:], first)


def stable_rank(matrix: Float[ArrayLike, "m n"]) -> Float[Array, ""]:
    r"""The stable rank $\lVert A \rVert_F^2 / \lVert A \rVert_2^2$, at most the rank.

    Args:
        matrix: A, not zero.

    Returns:
        The stable rank, at least 1.

    Raises:
        ValueError: if A is no matrix, zero or not finite (NaN results when traced).

    Source: Arora, Ge, Neyshabur and Zhang 2018; spec GEN-20.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> float(bounds.stable_rank(jnp.diag(jnp.array([2.0, 1.0, 1.0]))))
        1.5
    """
    values = jnp.linalg.svd(nonzero_matrix("matrix", matrix), compute_uv=False)
    return jnp.sum((values / values[0]) ** 2)


def truncate_svd(matrix: Float[ArrayLike, "m n"], rel_threshold: Float[ArrayLike, ""]) -> TruncatedMatrix:
    r"""A without its singular values below $\delta \lVert A \rVert_2$.

    The rest $\hat A$ has $\lVert \hat A - A \rVert_2 < \delta \lVert A \rVert_2$, rank at most the stable rank over $\delta^2$, and for
    $\delta \le 1$ the spectral norm of A. A rank r takes (m + n) r numbers.

    Args:
        matrix: A, shape (m, n).
        rel_threshold: delta, at least 0; above 1 nothing is left.

    Returns:
        `TruncatedMatrix`.

    Raises:
        ValueError: if A is no matrix, zero or not finite, or delta < 0; NaN when traced.

    Source: Arora, Ge, Neyshabur and Zhang 2018; Theory of Deep Learning, lemma 5.5.7; spec GEN-20. Cost: one singular value decomposition.
    """
    threshold = at_least("rel_threshold", rel_threshold, 0)
    left, values, right = jnp.linalg.svd(nonzero_matrix("matrix", matrix), full_matrices=False)
    kept = values >= threshold * values[0]
    return TruncatedMatrix(jnp.matmul(left * jnp.where(kept, values, 0 * threshold), right, precision=PRECISION), jnp.sum(kept))


def lipschitz_upper_bound(weights: Weights) -> Float[Array, ""]:
    r"""The product of spectral norms $P = \prod_i \lVert A^i \rVert_2$, at least the Lipschitz constant of a ReLU net.

    Args:
        weights: as in `relu_network`.

    Returns:
        P.

    Raises:
        ValueError: if shapes do not fit or there are biases.

    Source: Arora, Ge, Neyshabur and Zhang 2018; spec GEN-21.
    """
    return jnp.prod(jnp.stack([spectral_norm(matrix) for matrix in matrices(weights)]))


def truncate_network(weights: Weights, gamma: Float[ArrayLike, ""], x_norm: Float[ArrayLike, ""]) -> TruncatedNetwork:
    r"""Every layer truncated at $\delta = \gamma / (3 d P \lVert x \rVert)$, which moves outputs by at most $\gamma / 3$.

    One layer alone moves them by at most $\gamma / (3 d)$; since truncation does not raise spectral norms the sum is all there is.

    Args:
        weights: as in `relu_network`, no matrix zero.
        gamma: accuracy, positive.
        x_norm: the largest norm of an input, positive.

    Returns:
        `TruncatedNetwork`.

    Raises:
        ValueError: if shapes do not fit, there are biases, a matrix is zero, or gamma or x_norm is not positive; NaN when traced.

    Source: Theory of Deep Learning, problem 5.5.8; spec GEN-21. Cost: one singular value decomposition a layer.
    """
    layers = matrices(weights)
    threshold = positive("gamma", gamma) / (3 * len(layers) * lipschitz_upper_bound(layers) * positive("x_norm", x_norm))
    truncated = [truncate_svd(matrix, threshold) for matrix in layers]
    return TruncatedNetwork([layer.matrix for layer in truncated], jnp.stack([layer.rank for layer in truncated]))


def truncation_errors(weights: Weights, others: Weights, x: Float[ArrayLike, "N *inputs"]) -> TruncationErrors:
    r"""How far outputs really move: $\max_x \lVert f(x) - \hat f(x) \rVert_2$ with each layer changed alone, and with all of them.

    What truncated layers do to a sample is usually far below what `truncate_network` allows for.

    Args:
        weights: as in `relu_network`.
        others: the changed matrices, of the same shapes.
        x: inputs, shape (N, inputs), N >= 1.

    Returns:
        `TruncationErrors`.

    Raises:
        ValueError: if shapes do not fit or there are biases.

    Source: spec GEN-21. Cost: d + 2 forward passes.
    """
    layers = matrices(weights)
    changed = like_matrices("others", others, layers)
    outputs = relu_network(layers, x)
    require(len(outputs) > 0, "x must hold at least one example; got none")

    def distance(mixed: Sequence[Array]) -> Array:
        return jnp.linalg.norm(relu_network(mixed, x) - outputs, axis=1).max()

    alone = [distance([*layers[:i], changed[i], *layers[i + 1 :]]) for i in range(len(layers))]
    return TruncationErrors(jnp.stack(alone), distance(changed))


def perturbation_bound(weights: Weights, perturbations: Weights, x_norm: Float[ArrayLike, ""]) -> Float[Array, ""]:
    r"""How far outputs can move under small perturbations: $e \lVert x \rVert P \sum_i \lVert U^i \rVert_2 / \lVert A^i \rVert_2$.

    Args:
        weights: A^i, as in `relu_network`, no matrix zero.
        perturbations: U^i, of the same shapes, of spectral norm at most 1 / d of that of A^i.
        x_norm: norm of the input, at least 0.

    Returns:
        The bound on the norm of the change of the outputs.

    Raises:
        ValueError: if shapes do not fit, a matrix is zero, a perturbation is too large or x_norm < 0; NaN when traced.

    Source: Neyshabur, Bhojanapalli and Srebro 2018, lemma 2; spec GEN-21.
    """
    layers = [nonzero_matrix(f"weights[{i}]", matrix) for i, matrix in enumerate(matrices(weights))]
    changes = like_matrices("perturbations", perturbations, layers)
    sizes = jnp.stack([spectral_norm(matrix) for matrix in layers])
    relative = jnp.stack([spectral_norm(matrix) for matrix in changes]) / sizes
    largest = (1 + 4 * jnp.finfo(relative.dtype).eps) / len(layers)
    relative = checked(relative, (relative <= largest, f"perturbations must have spectral norm at most 1/{len(layers)} of that of their layer"))
    return math.e * at_least("x_norm", x_norm, 0) * jnp.prod(sizes) * relative.sum()
