"""The Gauss-Newton operator: the Hessian's part that comes from the curvature of the loss in the outputs."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxgen._core.subtrees import Subtree, combine, differentiable
from jaxgen.curvature.operators import examples
from jaxgen.curvature.outputs import ApplyFn, OutputLoss, curvature_in_outputs, linearized, output_loss
from jaxgen.curvature.symmetric import CurvatureOperator


class GaussNewton(CurvatureOperator):
    """Gauss-Newton matrix of the empirical risk, an operator on parameters; made by `gauss_newton`.

    Attributes:
        apply_fn: model, static.
        loss: per-example loss of outputs and targets, static.
        params: parameters of the subtree, None elsewhere.
        x: inputs.
        y: targets.
        rest: the other parameters.
    """

    apply_fn: ApplyFn = eqx.field(static=True)
    loss: str | OutputLoss = eqx.field(static=True)
    params: PyTree
    x: Array
    y: Array
    rest: PyTree = None

    def outputs(self, params: PyTree) -> Array:
        """The model's outputs as a function of `params`."""
        return self.apply_fn(combine(params, self.rest), self.x)

    def product(self) -> Callable[[PyTree], PyTree]:
        """v -> J^T H J v: forward, through the curvature in the outputs, and backward."""
        outputs, push, pull = linearized(self.outputs, self.params)
        curve = curvature_in_outputs(self.loss, outputs, self.x, self.y)
        return lambda vector: pull(curve(push(vector)))

    def quadratic_form(self) -> Callable[[PyTree], Array]:
        """v -> (J v)^T H (J v), without a backward pass."""
        outputs, push = jax.linearize(self.outputs, self.params)
        curve = curvature_in_outputs(self.loss, outputs, self.x, self.y)

        def form(vector: PyTree) -> Array:
            change = push(vector)
            return jnp.vdot(change, curve(change))

        return form


def gauss_newton(apply_fn: ApplyFn, loss: str | OutputLoss, params: PyTree, x: Array, y: Array, *, subtree: Subtree | None = None) -> GaussNewton:
    """The Gauss-Newton matrix G = (1/N) sum_i J_i^T H_i J_i as a symmetric `lineax` operator.

    J_i is the Jacobian of the outputs f(w, x_i) in the parameters, H_i the Hessian of the loss in the outputs. The Hessian
    of the risk is G plus the curvature of the model weighted by the loss's gradient; the two agree for models affine in
    the parameters and where the loss's gradient is zero. G is positive semidefinite for losses convex in the outputs.

    Args:
        apply_fn: `apply_fn(params, x) -> outputs`, (N, C) or (N,).
        loss: `loss(outputs, targets) -> (N,)`, twice differentiable in the outputs, or a name that `models.loss_fn` knows.
        params: parameters w, a pytree of P floating numbers.
        x: inputs with leading axis N.
        y: targets with leading axis N.
        subtree: restricts G to its block of a part of the parameters, as in `hessian`. Default: all.

    Returns:
        The operator, with the methods of `hessian`'s.

    Raises:
        ValueError: if `x` and `y` differ in leading axis or are empty, parameters are not finite, `subtree` is not there,
            or the loss's name is unknown; when applied, if outputs or losses are not one an example.
        TypeError: if a parameter is not of a floating dtype.

    Source: Schraudolph 2002; Martens 2020, section 8. Cost of a product: about a gradient and a half.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> x, y = jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.zeros(2)
        >>> curvature.gauss_newton(lambda w, x: x @ w, "squared", jnp.ones(2), x, y).mv(jnp.ones(2)).tolist()
        [2.0, 8.0]
    """
    selected, rest = differentiable(params, subtree)
    output_loss(loss)
    x, y = examples("(x, y)", (x, y))
    return GaussNewton(apply_fn=apply_fn, loss=loss, params=selected, x=x, y=y, rest=rest)
