"""Whether matrices are symmetric and semidefinite up to rounding."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def is_symmetric(matrices: Float[Array, "*rest d d"]) -> Bool[Array, "*rest"]:
    """Whether each matrix is symmetric to half its digits, of its largest entry."""
    largest = jnp.abs(matrices).max(axis=(-2, -1))
    return jnp.abs(matrices - matrices.mT).max(axis=(-2, -1)) <= jnp.finfo(matrices.dtype).eps ** 0.5 * largest


def is_semidefinite(matrices: Float[Array, "*rest d d"]) -> Bool[Array, "*rest"]:
    """Whether no eigenvalue of each symmetric matrix is negative beyond rounding."""
    values = jnp.linalg.eigvalsh(matrices)
    return values[..., 0] >= -eigenvalue_rounding(values)


def eigenvalue_rounding(values: Float[Array, "*rest d"]) -> Float[Array, "*rest"]:
    """Size below which eigenvalues are noise, d machine epsilons of the largest."""
    return values.shape[-1] * jnp.finfo(values.dtype).eps * jnp.abs(values).max(axis=-1)
