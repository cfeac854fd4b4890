"""Inputs of kernels: checks, unit rows and correlations of rows that stay accurate where rows nearly coincide."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, require
from jaxgen.ntk.infinite.gaussians import square_root

NEAR = 2.0**-8
"""Below this 1 - |rho| is computed from differences of rows in place of inner products."""


class Rows(NamedTuple):
    """Rows as unit vectors and norms.

    Attributes:
        unit: rows over their norms, shape (N, d); zero where the norm is.
        norm: shape (N,).
    """

    unit: Array
    norm: Array


def examples(x1: ArrayLike, x2: ArrayLike | None, *, ndim: int | None = None) -> tuple[Array, Array | None]:
    """Both inputs in their common float type, with at least one example each and the same features."""
    first = _examples("x1", x1, ndim)
    if x2 is None:
        return first, None
    second = _examples("x2", x2, ndim)
    require(
        first.shape[1:] == second.shape[1:],
        f"x1 and x2 must have the same features; got shapes {first.shape} and {second.shape}",
    )
    dtype = jnp.result_type(first, second)
    return first.astype(dtype), second.astype(dtype)


def _examples(name: str, x: ArrayLike, ndim: int | None) -> Array:
    array = floating(name, x)
    shape = "(N, height, width, channels)" if ndim == 4 else "(N, ...)"
    require(array.ndim == ndim if ndim else array.ndim >= 2, f"{name} must have shape {shape}; got {array.shape}")
    require(array.size > 0, f"{name} must hold at least one example and one feature; got shape {array.shape}")
    return array


def variances(weight_variance: ArrayLike, bias_variance: ArrayLike, dtype: jnp.dtype) -> tuple[Array, Array | None]:
    """Both as scalars of `dtype`, the second None where it is the number zero."""
    weight, bias = (floating(name, v) for name, v in {"weight_variance": weight_variance, "bias_variance": bias_variance}.items())
    require(weight.ndim == 0 and bias.ndim == 0, f"variances must be scalars; got shapes {weight.shape} and {bias.shape}")
    weight = checked(weight, (weight >= 0, "weight_variance must be at least 0")).astype(dtype)
    if isinstance(bias_variance, int | float) and bias_variance == 0:
        return weight, None
    return weight, checked(bias, (bias >= 0, "bias_variance must be at least 0")).astype(dtype)


def unit_rows(x: Float[Array, "n d"]) -> Rows:
    """Unit vectors and norms, without overflow or underflow; gradients at a zero row are zero."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=1, keepdims=True))
    scaled = x / jnp.where(largest > 0, largest, 1)
    length = square_root(jnp.sum(scaled**2, axis=1, keepdims=True))
    return Rows(scaled / jnp.where(length > 0, length, 1), (length * largest)[:, 0])


def correlate(rows: Float[Array, "n d"], columns: Float[Array, "m d"], own: Array | None = None) -> tuple[Array, Array]:
    """1 - rho and 1 + rho of unit vectors, shape (n, m), with an error of a few roundings of the larger of each and its square root.

    Inner products give rho; if any |rho| of the tile comes within 2^-8 of 1, differences of the rows are used there, which
    lose nothing: |x - x'|^2 / 2 and |x + x'|^2 / 2.

    Args:
        rows: unit vectors or zero.
        columns: unit vectors or zero.
        own: column, for each row, at which the row itself stands, where 1 - rho is 0.
    """
    rho = jnp.clip(jnp.matmul(rows, columns.T, precision=lax.Precision.HIGHEST), -1, 1)
    diagonal = None if own is None else own[:, None] == jnp.arange(columns.shape[0])
    near = 1 - jnp.abs(rho) < NEAR
    hits = jnp.any(near if diagonal is None else near & ~diagonal, axis=1)
    half = lax.cond(jnp.any(hits), lambda: _half_squared_distances(rows, columns, jnp.sign(rho), hits), lambda: jnp.zeros_like(rho))
    same, opposite = near & (rho > 0), near & (rho < 0)
    gap = jnp.where(same, half, jnp.where(opposite, 2 - half, 1 - rho))
    cogap = jnp.where(opposite, half, jnp.where(same, 2 - half, 1 + rho))
    return (gap, cogap) if diagonal is None else (jnp.where(diagonal, 0, gap), jnp.where(diagonal, 2, cogap))


def _half_squared_distances(rows: Array, columns: Array, sign: Array, hits: Array) -> Array:
    """|x - sign x'|^2 / 2 in the rows that are hit, and zero in the others."""

    @jax.checkpoint
    def row(arguments: tuple[Array, Array, Array]) -> Array:
        x, sign, hit = arguments
        return lax.cond(hit, lambda: jnp.sum((x - sign[:, None] * columns) ** 2, axis=1) / 2, lambda: jnp.zeros_like(sign))

    return lax.map(row, (rows, sign, hits))
