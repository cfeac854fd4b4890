"""Nets to first order in their parameters, and products with their kernel that need no matrix."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import floating, leading_axis, require
from jaxgen._core.symmetric_operators import register_symmetric
from jaxgen.ntk.features import ApplyFn, output_shape


def linearize(apply_fn: ApplyFn, params: PyTree) -> ApplyFn:
    """The net to first order around `params`: f(w0, x) + J(x) (w - w0).

    Args:
        apply_fn: `apply_fn(params, x) -> outputs`.
        params: w0, a pytree of floating numbers.

    Returns:
        A function like `apply_fn`, affine in its first argument. One forward derivative a call.

    Raises:
        ValueError: when called, if the parameters differ from `params` in structure or shapes.
        TypeError: if a leaf of `params` is not real.

    Source: Lee et al. 2019; spec NTK-21.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import ntk
        >>> affine = ntk.linearize(lambda w, x: jnp.sin(w * x), jnp.array(0.0))
        >>> float(affine(jnp.array(2.0), jnp.array([3.0]))[0])
        6.0
    """
    start = _floating_params(params)

    def affine(params: PyTree, x: PyTree) -> Array:
        _same_structure("params", params, start)
        steps = jax.tree.map(lambda leaf, origin: jnp.asarray(leaf, origin.dtype) - origin, params, start)
        outputs, slope = jax.jvp(lambda w: apply_fn(w, x), (start,), (steps,))
        return outputs + slope

    return affine


def velocity(apply_fn: ApplyFn, params: PyTree, x: PyTree, output_gradients: Array, x2: PyTree | None = None) -> Array:
    """How outputs move under gradient flow, du/dt = -Theta grad_u l: one backward and one forward derivative, no kernel.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)` or `(N,)`.
        params: parameters, a pytree of floating numbers.
        x: training inputs, with leading axis N.
        output_gradients: derivative of the loss, a sum over examples, in the outputs at `x`: their shape. For 1/2 |u - y|^2: u - y.
        x2: inputs whose outputs are asked for. Default: `x`.

    Returns:
        The time derivative of the outputs at `x2`.

    Raises:
        ValueError: if `output_gradients` has not the shape of the outputs, or these are not (N, C) or (N,).
        TypeError: if a leaf of `params` is not real.

    Source: Jacot et al. 2018, Theorem 2; spec NTK-1.
    """
    params = _floating_params(params)
    outputs, pull = jax.vjp(lambda w: apply_fn(w, x), params)
    output_shape(apply_fn, params, x)
    found = jnp.shape(output_gradients)
    require(found == outputs.shape, f"output_gradients must have the shape of the outputs, {outputs.shape}; got {found}")
    (step,) = pull(floating("output_gradients", output_gradients).astype(outputs.dtype))
    descent = jax.tree.map(jnp.negative, step)
    return jax.jvp(lambda w: apply_fn(w, x if x2 is None else x2), (params,), (descent,))[1]


class KernelOperator(lx.AbstractLinearOperator):
    """The kernel of some examples as an operator on their outputs, v -> J (J^T v); made by `operator`.

    Attributes:
        apply_fn: the net, static.
        params: parameters.
        x: examples.
    """

    apply_fn: ApplyFn = eqx.field(static=True)
    params: PyTree
    x: PyTree

    def product(self) -> Callable[[Array], Array]:
        """v -> Theta v, with the forward pass done once."""

        def outputs(params: PyTree) -> Array:
            return self.apply_fn(params, self.x)

        forward = jax.linearize(outputs, self.params)[1]
        pull = jax.vjp(outputs, self.params)[1]
        return lambda vector: forward(pull(vector)[0])

    def mv(self, vector: Array) -> Array:
        """Theta times a vector of the shape of the outputs."""
        like = self.in_structure()
        require(jnp.shape(vector) == like.shape, f"vector must have the shape of the outputs, {like.shape}; got {jnp.shape(vector)}")
        return self.product()(floating("vector", vector).astype(like.dtype))

    def as_matrix(self) -> Float[Array, "NC NC"]:
        """Theta, rows and columns in the order of the outputs, example by example."""
        return lx.linearise(self).as_matrix()

    def transpose(self) -> "KernelOperator":
        """Theta itself, which is symmetric."""
        return self

    def in_structure(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the outputs."""
        return jax.eval_shape(self.apply_fn, self.params, self.x)

    def out_structure(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the outputs."""
        return self.in_structure()


def operator(apply_fn: ApplyFn, params: PyTree, x: PyTree) -> KernelOperator:
    """The empirical kernel as a `lineax` operator on outputs, for solvers, eigenvalues and traces without the matrix.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)` or `(N,)`.
        params: parameters, a pytree of floating numbers.
        x: examples, with leading axis N.

    Returns:
        A symmetric positive semidefinite operator that can be an argument of `jit`.

    Raises:
        ValueError: if outputs are not (N, C) or (N,), the batch is empty, or, when applied, if a vector has another shape.
        TypeError: if a leaf of `params` is not real.

    Source: spec NTK-21. Cost of a product: a backward and a forward derivative of the batch; memory of a gradient.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import ntk
        >>> kernel = ntk.operator(lambda w, x: x @ w, jnp.zeros(2), jnp.array([[1.0, 0.0], [1.0, 2.0]]))
        >>> kernel.mv(jnp.array([1.0, 1.0])).tolist()
        [2.0, 6.0]
    """
    require(leading_axis("x", x) > 0, "x must hold at least one example; got 0")
    params, x = _floating_params(params), jax.tree.map(jnp.asarray, x)
    output_shape(apply_fn, params, x)
    return KernelOperator(apply_fn, params, x)


@lx.linearise.register(KernelOperator)
def _linearise(kernel: KernelOperator) -> lx.AbstractLinearOperator:
    return lx.FunctionLinearOperator(kernel.product(), kernel.in_structure(), lx.positive_semidefinite_tag)


@lx.diagonal.register(KernelOperator)
def _diagonal(kernel: KernelOperator) -> Array:
    return jnp.diagonal(kernel.as_matrix())


register_symmetric(KernelOperator, lambda kernel: True)


def _floating_params(params: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: floating("params", leaf), params)


def _same_structure(name: str, tree: PyTree, like: PyTree) -> None:
    expected, found = jax.tree.map(jnp.shape, like), jax.tree.map(jnp.shape, tree)
    require(found == expected, f"{name} must have the structure of the parameters linearized at, {expected}; got {found}")
