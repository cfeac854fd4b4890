"""The Hessian of the empirical risk, by its products with vectors."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, PyTree

from jaxgen import gradients
from jaxgen._core.checks import floating, leading_axis, require

LossFn = Callable[[PyTree, PyTree], Array]


class Hessian(lx.AbstractLinearOperator):
    """Hessian of the empirical risk, an operator on parameters; made by `hessian`.

    Attributes:
        loss_fn: per-example loss, static.
        params: parameters at which the Hessian is taken.
        batch: examples.
    """

    loss_fn: LossFn = eqx.field(static=True)
    params: PyTree
    batch: PyTree

    def mv(self, vector: PyTree) -> PyTree:
        """H times a pytree like the parameters."""
        return hessian_vector_product(self.loss_fn, self.params, self.batch, vector)

    def as_matrix(self) -> Float[Array, "P P"]:
        """H, in the order of `jax.flatten_util.ravel_pytree`."""
        return lx.linearise(self).as_matrix()

    def transpose(self) -> "Hessian":
        """H itself, which is symmetric."""
        return self

    def in_structure(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the parameters."""
        return jax.eval_shape(lambda params: params, self.params)

    def out_structure(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the parameters."""
        return self.in_structure()


def hessian(loss_fn: LossFn, params: PyTree, batch: PyTree) -> Hessian:
    """The Hessian of the empirical risk, H = grad^2 (1/N) sum_i l(w, z_i), as a symmetric `lineax` operator.

    The function is static, parameters and batch are leaves: the operator may be an argument or a result of `jit` (which
    then does not trace again for other parameters), and be mapped by `vmap`.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, twice differentiable; the same function object for the same program.
        params: parameters w, a pytree of P floating numbers (integers become the default float).
        batch: examples, a pytree whose leaves have leading axis N.

    Returns:
        The operator: `.mv(vector)` on pytrees like `params`, `.as_matrix()` for small P, tagged symmetric.

    Raises:
        ValueError: if the leaves of `batch` differ in leading axis; when applied, if `loss_fn` does not return shape (N,).
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-24, INFO-28. Cost of a product: two to three gradients of the batch, memory as a gradient's.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> loss_fn = lambda w, x: 0.5 * (x @ w) ** 2
        >>> operator = curvature.hessian(loss_fn, jnp.zeros(2), jnp.array([[2.0, 0.0], [0.0, 4.0]]))
        >>> operator.mv(jnp.ones(2)).tolist()
        [2.0, 8.0]
    """
    leading_axis("batch", batch)
    return Hessian(loss_fn, jax.tree.map(lambda leaf: floating("params", leaf), params), jax.tree.map(jnp.asarray, batch))


def hessian_vector_product(loss_fn: LossFn, params: PyTree, batch: PyTree, vector: PyTree) -> PyTree:
    """H v for the Hessian H of the empirical risk, by forward over reverse differentiation.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, twice differentiable.
        params: parameters w, a pytree of floating leaves.
        batch: examples, a pytree whose leaves have leading axis N.
        vector: v, with the structure and shapes of `params`.

    Returns:
        H v, with the structure of `params`.

    Raises:
        ValueError: if `vector` and `params` differ in structure or shapes, or `loss_fn` does not return shape (N,).
        TypeError: if a leaf of `params` or `vector` is not real.

    Source: Pearlmutter 1994; spec INFO-28.
    """
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    expected, found = jax.tree.map(jnp.shape, params), jax.tree.map(jnp.shape, vector)
    require(found == expected, f"vector must have the structure of params, {expected}; got {found}")
    tangent = jax.tree.map(lambda leaf, like: floating("vector", leaf).astype(like.dtype), vector, params)
    return jax.jvp(_gradient(loss_fn, batch), (params,), (tangent,))[1]


def _gradient(loss_fn: LossFn, batch: PyTree) -> Callable[[PyTree], PyTree]:
    return lambda w: gradients.value_and_gradient(loss_fn, w, batch)[1]


@lx.linearise.register(Hessian)
def _linearise(operator: Hessian) -> lx.AbstractLinearOperator:
    """The operator with its forward and backward passes done once."""
    _, product = jax.linearize(_gradient(operator.loss_fn, operator.batch), operator.params)
    structure = jax.eval_shape(product, operator.in_structure())  # under `shard_map` that of the batch, on which a product lies
    return lx.FunctionLinearOperator(product, structure, lx.symmetric_tag)


@lx.materialise.register(Hessian)
def _materialise(operator: Hessian) -> lx.AbstractLinearOperator:
    return lx.materialise(lx.linearise(operator))


@lx.diagonal.register(Hessian)
def _diagonal(operator: Hessian) -> Array:
    return jnp.diagonal(operator.as_matrix())


@lx.conj.register(Hessian)
def _conj(operator: Hessian) -> Hessian:
    return operator


@lx.is_symmetric.register(Hessian)
def _is_symmetric(operator: Hessian) -> bool:
    return True


def _false(operator: Any) -> bool:
    return False


for _query in (
    lx.is_diagonal,
    lx.is_tridiagonal,
    lx.has_unit_diagonal,
    lx.is_lower_triangular,
    lx.is_upper_triangular,
    lx.is_positive_semidefinite,
    lx.is_negative_semidefinite,
):
    _query.register(Hessian)(_false)
