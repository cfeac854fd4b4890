"""What the curvature operators have in common, and what `lineax` asks of them."""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import floating, is_traced, require
from jaxgen._core.symmetric_operators import register_symmetric
from jaxgen.curvature.in_turn import in_turn
from jaxgen.curvature.loops import loop_body


class CurvatureOperator(lx.AbstractLinearOperator):
    """A symmetric operator on the parameters, or on a part of them: functions static, parameters and data leaves.

    Attributes:
        params: the parameters that it acts on, None elsewhere.
    """

    params: eqx.AbstractVar[PyTree]

    @abstractmethod
    def product(self) -> Callable[[PyTree], PyTree]:
        """The function v -> A v, what does not depend on v being done at once."""

    @abstractmethod
    def quadratic_form(self) -> Callable[[PyTree], Array]:
        """The function v -> v^T A v, by forward differentiation alone."""

    def mv(self, vector: PyTree) -> PyTree:
        """A times a pytree like `params`."""
        expected, found = jax.tree.map(jnp.shape, self.params), jax.tree.map(jnp.shape, vector)
        require(found == expected, f"vector must have the structure of params, {expected}; got {found}")
        vector = jax.tree.map(lambda leaf, like: floating("vector", leaf).astype(like.dtype), vector, self.params)
        return _multiply_in_turn(self, vector) if is_traced(self, vector) else self.product()(vector)

    def as_matrix(self) -> Float[Array, "P P"]:
        """A, in the order of `jax.flatten_util.ravel_pytree`."""
        return lx.linearise(self).as_matrix()

    def transpose(self) -> "CurvatureOperator":
        """A itself, which is symmetric."""
        return self

    def in_structure(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of `params`."""
        return jax.eval_shape(lambda params: params, self.params)

    def out_structure(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of `params`."""
        return self.in_structure()


@in_turn
def _multiply_in_turn(operator: CurvatureOperator, vector: PyTree) -> PyTree:
    return operator.product()(vector)


class PositiveOperator(CurvatureOperator):
    """A curvature operator without negative eigenvalues."""


@lx.linearise.register(CurvatureOperator)
def _linearise(operator: CurvatureOperator) -> lx.AbstractLinearOperator:
    """The operator with its forward and backward passes done once."""
    product = loop_body(operator.product(), operator.in_structure())
    structure = jax.eval_shape(product, operator.in_structure())  # under `shard_map` that of the batch, on which a product lies
    tag = lx.positive_semidefinite_tag if lx.is_positive_semidefinite(operator) else lx.symmetric_tag
    return lx.FunctionLinearOperator(product, structure, tag)


@lx.diagonal.register(CurvatureOperator)
def _diagonal(operator: CurvatureOperator) -> Array:
    return jnp.diagonal(operator.as_matrix())


register_symmetric(CurvatureOperator, lambda operator: isinstance(operator, PositiveOperator))
