"""The Hessian of the empirical risk, by its products with vectors."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxgen import gradients
from jaxgen._core.checks import leading_axis, require
from jaxgen._core.subtrees import Subtree, combine, differentiable
from jaxgen.curvature.symmetric import CurvatureOperator

LossFn = Callable[[PyTree, PyTree], Array]


class Hessian(CurvatureOperator):
    """Hessian of the empirical risk, an operator on parameters; made by `hessian`.

    Attributes:
        loss_fn: per-example loss, static.
        params: parameters at which the Hessian is taken; those of the subtree, None elsewhere.
        batch: examples.
        rest: the other parameters.
    """

    loss_fn: LossFn = eqx.field(static=True)
    params: PyTree
    batch: PyTree
    rest: PyTree = None

    def risk(self, params: PyTree) -> Array:
        """The empirical risk as a function of `params`."""
        return gradients.risk(self.loss_fn, combine(params, self.rest), self.batch)

    def product(self) -> Callable[[PyTree], PyTree]:
        """v -> H v, by forward over reverse differentiation."""
        return jax.linearize(jax.grad(self.risk), self.params)[1]

    def quadratic_form(self) -> Callable[[PyTree], Array]:
        """v -> v^T H v, the second derivative along v by forward over forward differentiation."""

        def form(vector: PyTree) -> Array:
            return jax.jvp(lambda params: jax.jvp(self.risk, (params,), (vector,))[1], (self.params,), (vector,))[1]

        return form


def hessian(loss_fn: LossFn, params: PyTree, batch: PyTree, *, subtree: Subtree | None = None) -> Hessian:
    """The Hessian of the empirical risk, H = grad^2 (1/N) sum_i l(w, z_i), as a symmetric `lineax` operator.

    The function is static, parameters and batch are leaves: the operator may be an argument or a result of `jit` (which
    then does not trace again for other parameters), and be mapped by `vmap`.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, twice differentiable; the same function object for the same program.
        params: parameters w, a pytree of P floating numbers.
        batch: examples, a pytree whose leaves have leading axis N.
        subtree: restricts H to its block of a part of the parameters: a path prefix such as `"layer_0"` or
            `"layer_0/kernel"`, a sequence of them, or a predicate on the path; vectors then have None at the other leaves.
            Default: all.

    Returns:
        The operator: `.mv(vector)` on pytrees like `params`, `.as_matrix()` for small P, tagged symmetric.

    Raises:
        ValueError: if the leaves of `batch` differ in leading axis or are empty, parameters are not finite, or `subtree`
            is not there; when applied, if `loss_fn` does not return shape (N,).
        TypeError: if a parameter is not of a floating dtype.

    Source: Pearlmutter 1994; spec AD-6, INFO-24, INFO-28. Cost of a product: about two gradients of the batch, memory as
    a gradient's.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> loss_fn = lambda w, x: 0.5 * (x @ w) ** 2
        >>> operator = curvature.hessian(loss_fn, jnp.zeros(2), jnp.array([[2.0, 0.0], [0.0, 4.0]]))
        >>> operator.mv(jnp.ones(2)).tolist()
        [2.0, 8.0]
    """
    selected, rest = differentiable(params, subtree)
    return Hessian(loss_fn, selected, examples("batch", batch), rest)


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
        ValueError: if `vector` and `params` differ in structure or shapes, `loss_fn` does not return shape (N,), or as
            `hessian`.
        TypeError: if a leaf of `params` is not floating, or one of `vector` not real.

    Source: Pearlmutter 1994; spec AD-6, INFO-28.
    """
    return hessian(loss_fn, params, batch).mv(vector)


def examples(name: str, batch: PyTree) -> PyTree:
    """`batch` as arrays with one leading axis of at least one example."""
    require(leading_axis(name, batch) > 0, f"{name} must hold at least one example; got 0")
    return jax.tree.map(jnp.asarray, batch)
