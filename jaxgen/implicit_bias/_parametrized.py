"""What the functions of parametrizations share: checks of shapes, Jacobians as matrices, dense derivatives of flows."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import checked, floating, require

HIGHEST = jax.lax.Precision.HIGHEST
Parametrization = Callable[[PyTree], Float[Array, " d"]]


def as_pytree(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` as a pytree of its arrays: it may be an argument of a compiled function, for which it is compiled once."""
    return fn if isinstance(fn, Partial) or (isinstance(fn, eqx.Module) and callable(fn)) else Partial(fn)


def opened(name: str, parametrization: Parametrization, theta: PyTree) -> tuple[PyTree, int]:
    """`theta` with floating leaves, and the length d of the vector that the parametrization makes of it.

    Raises:
        ValueError: if the parametrization does not return a vector, or one that is longer than `theta`.
        TypeError: if a leaf of `theta` is not real, or the vector is not.
    """
    theta = jax.tree.map(lambda leaf: floating(name, leaf), theta)
    found = jax.eval_shape(parametrization, theta)
    require(
        isinstance(found, jax.ShapeDtypeStruct) and len(found.shape) == 1,
        f"parametrization must return a vector, an array of shape (d,); got {jax.tree.map(lambda leaf: leaf.shape, found)}",
    )
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise TypeError(f"parametrization must return real numbers; got dtype {found.dtype}")
    (d,), size = found.shape, sum(leaf.size for leaf in jax.tree.leaves(theta))
    require(0 < d <= size, f"a parametrization of R^d needs at least d parameters, and d at least one; got d = {d} and {size} parameters in {name}")
    return theta, d


def vector(name: str, value: Any, parametrization: Parametrization, theta: PyTree) -> Array:
    """`value` as a vector of the shape and dtype of what the parametrization returns."""
    like, array = jax.eval_shape(parametrization, theta), floating(name, value)
    require(array.shape == like.shape, f"{name} must have shape {like.shape}, that of what the parametrization returns; got {array.shape}")
    return array.astype(like.dtype)


def flattened(parametrization: Parametrization, theta: PyTree) -> tuple[Callable[[Array], Array], Array, Callable[[Array], PyTree]]:
    """The parametrization as a function of a vector, that vector, and the way back."""
    flat, unravel = ravel_pytree(theta)
    return lambda flat: parametrization(unravel(flat)), flat, unravel


def jacobian(parametrization: Parametrization, theta: PyTree) -> Float[Array, "d D"]:
    """Rows grad G_i, in reverse mode."""
    fn, flat, _ = flattened(parametrization, theta)
    w, pull = jax.vjp(fn, flat)
    return jax.vmap(pull)(jnp.eye(w.shape[0], dtype=w.dtype))[0]


def metric(parametrization: Parametrization, theta: PyTree) -> Float[Array, "d d"]:
    """dG dG^T."""
    rows = jacobian(parametrization, theta)
    return jnp.matmul(rows, rows.T, precision=HIGHEST)


def full_rank(matrix: Float[Array, "d d"]) -> Array:
    """Whether a symmetric positive semidefinite matrix is definite beyond rounding."""
    values = jnp.linalg.eigvalsh(matrix)
    return values[0] > matrix.shape[0] * jnp.finfo(matrix.dtype).eps * values[-1]


def finite(tree: PyTree) -> Array:
    """Whether every entry of every leaf is finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def checked_tree(tree: PyTree, *conditions: tuple[Any, str]) -> PyTree:
    """`checked` on every leaf."""
    return jax.tree.map(lambda leaf: checked(leaf, *conditions), tree)


def is_zero(tangents: PyTree) -> bool:
    """Whether all tangents are known to be zero."""
    return all(isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(tangents))


def instantiated(tangents: PyTree) -> PyTree:
    """Tangents as arrays."""

    def array(leaf: Array | SymbolicZero) -> Array:
        if not isinstance(leaf, SymbolicZero):
            return leaf
        aval: Any = leaf.aval
        return jnp.zeros(aval.shape, aval.dtype)

    return jax.tree.map(array, tangents)


def dense_derivative(fn: Callable[[PyTree], PyTree], primal: PyTree, tangent: PyTree) -> PyTree:
    """Derivative of fn along a tangent by its whole Jacobian in reverse mode, so that it is linear in the tangent both ways."""
    tangent = instantiated(tangent)
    rows = jax.jacrev(fn)(primal)

    def along(leaf: PyTree) -> Array:
        parts = jax.tree.map(lambda row, t: jnp.tensordot(row, t, axes=t.ndim, precision=HIGHEST), leaf, tangent)
        return jnp.asarray(sum(jax.tree.leaves(parts)))

    return jax.tree.map(along, rows, is_leaf=lambda node: jax.tree.structure(node) == jax.tree.structure(primal))
