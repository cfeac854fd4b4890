"""Nets without biases as lists of matrices, and checks of single matrices."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, require

Weights = Sequence[Float[ArrayLike, "out in"]] | Mapping[str, Mapping[str, ArrayLike]]
"""Matrices A^1, ..., A^d of shape (outputs, inputs), or parameters of `models.mlp(widths, bias=False)`, whose kernels they are transposed."""


def matrices(weights: Weights, name: str = "weights") -> list[Array]:
    """The matrices A^1, ..., A^d of a net without biases, of fitting shapes."""
    found = [floating(f"{name}[{i}]", matrix) for i, matrix in enumerate(_kernels(weights, name) if isinstance(weights, Mapping) else weights)]
    require(len(found) > 0, f"{name} must hold at least one matrix; got none")
    for i, matrix in enumerate(found):
        require(
            matrix.ndim == 2 and matrix.size > 0,
            f"{name}[{i}] must be a matrix (outputs, inputs) of a net without biases; got shape {matrix.shape}",
        )
    for i, (before, after) in enumerate(pairwise(found)):
        require(after.shape[1] == len(before), f"{name}[{i + 1}] must have {len(before)} inputs, the outputs of {name}[{i}]; got shape {after.shape}")
    return found


def _kernels(weights: Mapping[str, Any], name: str) -> list[Array]:
    layers = sorted(weights, key=lambda layer: [int(digits) for digits in re.findall(r"\d+", layer)])
    for layer in layers:
        entries = sorted(weights[layer]) if isinstance(weights[layer], Mapping) else None
        require(entries == ["kernel"], f"{name}[{layer!r}] must hold a kernel and no bias, as models.mlp(widths, bias=False) has it; got {entries}")
    return [floating(f"{name}[{layer!r}]", weights[layer]["kernel"]).T for layer in layers]


def like_matrices(name: str, others: Weights, weights: list[Array]) -> list[Array]:
    """Matrices of the shapes of `weights`."""
    found = matrices(others, name)
    shapes, expected = [matrix.shape for matrix in found], [matrix.shape for matrix in weights]
    require(shapes == expected, f"{name} must have the shapes of weights, {expected}; got {shapes}")
    return found


def nonzero_matrix(name: str, matrix: Float[ArrayLike, "m n"]) -> Array:
    found = floating(name, matrix)
    require(found.ndim == 2 and found.size > 0, f"{name} must be a matrix; got shape {found.shape}")
    return checked(found, (jnp.any(found != 0), f"{name} must not be zero"), (jnp.all(jnp.isfinite(found)), f"{name} must be finite"))


def spectral_norm(matrix: Float[Array, "m n"]) -> Float[Array, ""]:
    return jnp.linalg.svd(matrix, compute_uv=False)[0]
