"""Convolution as one matrix product over patches."""

import itertools
import math
from collections.abc import Sequence

import jax
from jax import lax
from jaxtyping import Array, Float

from jaxgen._core.checks import require


def convolution_by_patches(
    lhs: Float[Array, "n *space cin"],
    rhs: Float[Array, "*window cin cout"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: lax.ConvDimensionNumbers | tuple[str, str, str] | None = None,
    feature_group_count: int = 1,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "n *out cout"]:
    """What `lax.conv_general_dilated` computes, channels last, by stacking the shifted inputs and one matrix product.

    On a CPU, XLA runs a convolution inside `lax.scan` an order of magnitude slower than outside; this one runs as
    fast inside as outside. Any number of spatial axes. Memory: the input, times the window's size over the strides' product.
    Made to be handed to flax: `nn.Conv(..., conv_general_dilated=convolution_by_patches)`.

    Args:
        lhs: input, (N, *space, C_in).
        rhs: kernel, (*window, C_in, C_out).
        window_strides: one for each spatial axis.
        padding: `"SAME"`, `"VALID"`, or (low, high) for each spatial axis.
        lhs_dilation: only ones.
        rhs_dilation: only ones.
        dimension_numbers: None, or the channels-last numbers that flax gives.
        feature_group_count: only 1.
        precision: of the matrix product.

    Raises:
        ValueError: for another layout, a dilation, groups, channels that differ, or a window larger than the padded input.
    """
    rank = lhs.ndim - 2
    last = lax.ConvDimensionNumbers(_channels_last(rank), (rank + 1, rank, *range(rank)), _channels_last(rank))
    numbers = last if dimension_numbers is None else lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    require(numbers == last, f"dimension_numbers must be channels last, {last}; got {numbers}")
    dilations = (*(lhs_dilation or ()), *(rhs_dilation or ()))
    require(all(d == 1 for d in dilations) and feature_group_count == 1, "convolution by patches has neither dilations nor groups")
    require(rhs.ndim == rank + 2 and rhs.shape[-2] == lhs.shape[-1], f"kernel of shape {rhs.shape} does not fit input of shape {lhs.shape}")
    space, window = lhs.shape[1:-1], rhs.shape[:-2]
    pads = lax.padtype_to_pads(space, window, window_strides, padding) if isinstance(padding, str) else padding
    padded = lax.pad(lhs, lhs.dtype.type(0), [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)])
    steps = [(size - length) // stride for size, length, stride in zip(padded.shape[1:-1], window, window_strides, strict=True)]
    require(min(steps, default=0) >= 0, f"a window of shape {window} is larger than the padded input of shape {padded.shape}")
    shifted = [
        lax.slice(
            padded,
            (0, *offset, 0),
            (padded.shape[0], *(o + s * k + 1 for o, s, k in zip(offset, window_strides, steps, strict=True)), padded.shape[-1]),
            (1, *window_strides, 1),
        )
        for offset in itertools.product(*map(range, window))
    ]
    patches = lax.concatenate(shifted, rank + 1)
    return jax.numpy.matmul(patches, rhs.reshape(math.prod(rhs.shape[:-1]), rhs.shape[-1]), precision=precision)


def _channels_last(rank: int) -> tuple[int, ...]:
    return (0, rank + 1, *range(1, rank + 1))
