"""Lanczos tridiagonalization with full reorthogonalization."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class Tridiagonal(NamedTuple):
    """V A V^T = T for orthonormal rows v_1, ..., v_m of V, v_1 being the start.

    Attributes:
        basis: V, one vector a row.
        diagonal: of T.
        off_diagonal: of T; zero where the vectors so far span an invariant subspace and the next was drawn at random.
    """

    basis: Float[Array, "m P"]
    diagonal: Float[Array, " m"]
    off_diagonal: Float[Array, " m-1"]

    def eigenpairs(self) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
        """Eigenvalues of T, ascending, and its eigenvectors in columns; NaN where T is not finite."""
        matrix = jnp.diag(self.diagonal) + jnp.diag(self.off_diagonal, 1) + jnp.diag(self.off_diagonal, -1)
        known = jnp.isfinite(matrix).all()
        values, vectors = jnp.linalg.eigh(jnp.where(known, matrix, 0))
        return jnp.where(known, values, jnp.nan), vectors


def tridiagonalize(product: Callable[[Array], Array], start: Float[Array, " P"], key: Key[Array, ""], num_matvecs: int) -> Tridiagonal:
    """`num_matvecs` steps of Lanczos from the direction of `start`, every vector orthogonalized against all before it.

    The recurrence takes the two large components out, and one pass over the basis what rounding leaves, so that the basis is
    orthogonal to working precision. Where an invariant subspace is complete, a random vector orthogonal to it begins the next
    one: as many steps as there are dimensions find every eigenvalue with its multiplicity. Memory: num_matvecs vectors.
    """
    dtype = start.dtype

    def outside(vector: Array, basis: Array) -> Array:
        return vector - (basis @ vector) @ basis

    def restart(basis: Array, i: Array) -> Array:
        drawn = jax.random.normal(jax.random.fold_in(key, i), start.shape, dtype)
        return unit(outside(unit(outside(drawn, basis)), basis))

    def step(i: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        basis, diagonal, off_diagonal, scale = state
        image = product(basis[i])
        scale = jnp.maximum(scale, jnp.linalg.norm(image))
        along = jnp.vdot(basis[i], image)
        before = jnp.where(i > 0, off_diagonal[i - 1], 0)
        rest = outside(image - along * basis[i] - before * basis[i - 1], basis)
        length = jnp.linalg.norm(rest)
        complete = length <= 10 * jnp.finfo(dtype).eps * scale
        following = jax.lax.cond(complete, lambda: restart(basis, i), lambda: rest / length)
        off_diagonal = off_diagonal.at[i].set(jnp.where(complete, 0, length))
        return basis.at[i + 1].set(following, mode="drop"), diagonal.at[i].set(along), off_diagonal, scale

    basis = jnp.zeros((num_matvecs, len(start)), dtype).at[0].set(unit(start))
    zeros = jnp.zeros(num_matvecs, dtype)
    basis, diagonal, off_diagonal, _ = jax.lax.fori_loop(0, num_matvecs, step, (basis, zeros, zeros, zeros[0]))
    return Tridiagonal(basis, diagonal, off_diagonal[:-1])


def unit(vector: Float[Array, " P"]) -> Float[Array, " P"]:
    """The vector over its length."""
    return vector / jnp.linalg.norm(vector)
