"""What a function costs in the norm of the weights that represent it, and how weights are balanced among layers."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen._core.checks import choice, floating, positive_integer, require

BALANCING_SWEEPS = 100
"""Sweeps over the layers of a net that `rebalance` makes where one does not do."""


def representation_cost(kind: str, predictor: Any, depth: int = 2) -> Float[Array, ""]:
    r"""min ||theta||^2 over all weights theta of an architecture that represent one predictor.

    ==========================  =============================================  ==========================================
    kind                        architecture                                   cost
    ==========================  =============================================  ==========================================
    `"diagonal"`                w = u_1 u_2 ... u_L entry by entry             L ||w||_{2/L}^{2/L}
    `"difference_of_powers"`    w = u^L - v^L entry by entry, u, v >= 0        ||w||_{2/L}^{2/L}
    `"matrix_factorization"`    W = U V^T                                      2 ||W||_nuclear
    `"fully_connected"`         W = W_1 ... W_L, any matrix, or a vector beta  L ||W||^{2/L} of the Schatten-2/L quasi-norm
    `"convolutional"`           beta = u_1 * ... * u_L, circular, full width   (L / d) sum_k |beta^_k|^{2/L}
    `"two_layer_relu"`          sum_r a_r relu(w_r . x), these neurons         2 sum_r |a_r| ||w_r||
    `"univariate_relu"`         a two-layer ReLU net of x in R, biases free    2 max(sum |slope jumps|, |first + last slope|)
    ==========================  =============================================  ==========================================

    Args:
        kind: as above.
        predictor: the vector w or beta, the matrix W, for `"two_layer_relu"` the pair of w (d, m) and a (m,), for
            `"univariate_relu"` the slopes of a piecewise linear function from left to right.
        depth: L, where the architecture has one; beta^ is the unnormalized discrete Fourier transform.

    Returns:
        The cost.

    Raises:
        ValueError: if `kind` is unknown, the predictor is of another shape, or `depth` < 1.

    Source: Gunasekar et al. 2018; Savarese et al. 2019; spec BIAS-35.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> round(float(implicit_bias.representation_cost("diagonal", jnp.array([1.0, -8.0]), 3)), 4)
        15.0
    """
    choice("kind", kind, tuple(_COSTS))
    return _COSTS[kind](predictor, positive_integer("depth", depth))


def _array(predictor: Any, rank: int) -> Array:
    array = floating("predictor", predictor)
    require(array.ndim == rank and array.size > 0, f"predictor must be {'a vector' if rank == 1 else 'a matrix'}; got shape {array.shape}")
    return array


def _powers(sizes: Array, depth: int) -> Array:
    """sum_i sizes_i^(2 / depth)."""
    positive = sizes > 0
    return jnp.where(positive, jnp.where(positive, sizes, 1) ** (2 / depth), 0).sum()


def _diagonal(predictor: Any, depth: int) -> Array:
    return depth * _powers(jnp.abs(_array(predictor, 1)), depth)


def _difference_of_powers(predictor: Any, depth: int) -> Array:
    return _powers(jnp.abs(_array(predictor, 1)), depth)


def _matrix_factorization(predictor: Any, depth: int) -> Array:
    return 2 * jnp.linalg.svd(_array(predictor, 2), compute_uv=False).sum()


def _fully_connected(predictor: Any, depth: int) -> Array:
    array = floating("predictor", predictor)
    matrix = _array(array[:, None] if array.ndim == 1 else array, 2)
    return depth * _powers(jnp.linalg.norm(matrix)[None] if 1 in matrix.shape else jnp.linalg.svd(matrix, compute_uv=False), depth)


def _convolutional(predictor: Any, depth: int) -> Array:
    beta = _array(predictor, 1)
    return depth / beta.size * _powers(jnp.abs(jnp.fft.fft(beta)), depth)


def _two_layer_relu(predictor: Any, depth: int) -> Array:
    require(isinstance(predictor, Sequence) and len(predictor) == 2, "predictor must be the pair of incoming weights (d, m) and outgoing (m,)")
    incoming, outgoing = _array(predictor[0], 2), _array(predictor[1], 1)
    shapes = incoming.shape, outgoing.shape
    require(incoming.shape[1] == outgoing.size, f"predictor must hold incoming weights (d, m) and outgoing (m,); got shapes {shapes}")
    return 2 * (jnp.abs(outgoing) * jnp.linalg.norm(incoming, axis=0)).sum()


def _univariate_relu(predictor: Any, depth: int) -> Array:
    slopes = _array(predictor, 1)
    return 2 * jnp.maximum(jnp.abs(jnp.diff(slopes)).sum(), jnp.abs(slopes[0] + slopes[-1]))


_COSTS: dict[str, Callable[[Any, int], Array]] = {
    "diagonal": _diagonal,
    "difference_of_powers": _difference_of_powers,
    "matrix_factorization": _matrix_factorization,
    "fully_connected": _fully_connected,
    "convolutional": _convolutional,
    "two_layer_relu": _two_layer_relu,
    "univariate_relu": _univariate_relu,
}


def balancedness_relu(kernels: Sequence[Float[Array, "in out"]]) -> list[Float[Array, " m"]]:
    """||outgoing weights||^2 - ||incoming weights||^2 of every hidden neuron, which gradient flow conserves in a bias-free ReLU net.

    Args:
        kernels: weights of two or more dense layers in turn, as flax has them: (inputs, neurons), (neurons, ...), ...

    Returns:
        One vector for each hidden layer.

    Raises:
        ValueError: if there are fewer than two kernels or shapes do not fit.

    Source: Du, Hu & Lee 2018; spec BIAS-35.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.balancedness_relu([jnp.array([[3.0, 1.0], [4.0, 0.0]]), jnp.array([[5.0], [2.0]])])[0].tolist()
        [0.0, 3.0]
    """
    kernels = _chain(kernels)
    return [jnp.square(after).sum(axis=1) - jnp.square(before).sum(axis=0) for before, after in pairwise(kernels)]


def rebalance(kernels: Sequence[Float[Array, "in out"]]) -> list[Float[Array, "in out"]]:
    """Rescales the neurons of a bias-free ReLU (or linear) net until incoming and outgoing weights of each have the same norm.

    The function is unchanged, and sum_l ||W_l||^2 is the least that rescaling of neurons can reach; with two layers that is
    2 sum_r |a_r| ||w_r||. A neuron that does nothing, for want of weights on one side, becomes zero.

    Args:
        kernels: weights of two or more dense layers in turn, as flax has them: (inputs, neurons), (neurons, ...), ...

    Returns:
        The rescaled kernels.

    Raises:
        ValueError: if there are fewer than two kernels or shapes do not fit.

    Source: spec BIAS-35. Cost: one sweep over the layers for two of them, 100 sweeps for more.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> [kernel.tolist() for kernel in implicit_bias.rebalance([jnp.array([[4.0]]), jnp.array([[9.0]])])]
        [[[6.0]], [[6.0]]]
    """
    kernels = _chain(kernels)

    def sweep(_: Array, kernels: list[Array]) -> list[Array]:
        kernels = list(kernels)
        for layer in range(len(kernels) - 1):
            incoming, outgoing = jnp.linalg.norm(kernels[layer], axis=0), jnp.linalg.norm(kernels[layer + 1], axis=1)
            works = (incoming > 0) & (outgoing > 0)
            factor = jnp.where(works, jnp.sqrt(jnp.where(works, outgoing, 1)) / jnp.sqrt(jnp.where(works, incoming, 1)), 0)
            kernels[layer] = kernels[layer] * factor
            kernels[layer + 1] = kernels[layer + 1] * jnp.where(works, 1 / jnp.where(works, factor, 1), 0)[:, None]
        return kernels

    return jax.lax.fori_loop(0, 1 if len(kernels) == 2 else BALANCING_SWEEPS, sweep, kernels)


def _chain(kernels: Sequence[Array]) -> list[Array]:
    kernels = [floating(f"kernels[{number}]", kernel) for number, kernel in enumerate(kernels)]
    require(len(kernels) > 1, f"kernels must be those of at least two layers; got {len(kernels)}")
    shapes = [kernel.shape for kernel in kernels]
    fits = all(len(shape) == 2 for shape in shapes) and all(before[1] == after[0] for before, after in pairwise(shapes))
    require(fits, f"kernels must be matrices of which each has as many rows as the one before has columns; got shapes {shapes}")
    return kernels
