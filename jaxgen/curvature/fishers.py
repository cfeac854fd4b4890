"""Fisher information of a model's labels, and the second moment of per-example gradients that is often put in its place."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxgen import models
from jaxgen._core.checks import checked, choice
from jaxgen._core.subtrees import Subtree, combine, differentiable
from jaxgen.curvature.operators import examples
from jaxgen.curvature.outputs import ApplyFn, OutputLoss, curvature_in_outputs, linearized, output_loss
from jaxgen.curvature.symmetric import PositiveOperator


class ModelFisher(PositiveOperator):
    """Fisher information of the labels that the model itself would draw; made by `fisher`.

    Attributes:
        apply_fn: model, static.
        loss: negative log-likelihood of outputs and labels, static.
        likelihood: `"categorical"` or `"gaussian"`, static.
        params: parameters of the subtree, None elsewhere.
        x: inputs.
        rest: the other parameters.
    """

    apply_fn: ApplyFn = eqx.field(static=True)
    loss: str | OutputLoss = eqx.field(static=True)
    likelihood: str = eqx.field(static=True)
    params: PyTree
    x: Array
    rest: PyTree = None

    def outputs(self, params: PyTree) -> Array:
        """The model's outputs as a function of `params`."""
        return self.apply_fn(combine(params, self.rest), self.x)

    def product(self) -> Callable[[PyTree], PyTree]:
        """v -> J^T F J v with the Fisher information F of the outputs."""
        outputs, push, pull = linearized(self.outputs, self.params)
        inform = self._information_in_outputs(outputs)
        return lambda vector: pull(inform(push(vector)))

    def quadratic_form(self) -> Callable[[PyTree], Array]:
        """v -> (J v)^T F (J v), without a backward pass."""
        outputs, push = jax.linearize(self.outputs, self.params)
        inform = self._information_in_outputs(outputs)

        def form(vector: PyTree) -> Array:
            change = push(vector)
            return jnp.vdot(change, inform(change))

        return form

    def _information_in_outputs(self, outputs: Array) -> Callable[[Array], Array]:
        if self.likelihood == "gaussian":
            return curvature_in_outputs(self.loss, outputs, self.x, jax.lax.stop_gradient(outputs))
        return _categorical_information(self.loss, outputs, self.x)


class EmpiricalFisher(PositiveOperator):
    """Second moment of the per-example gradients at the labels that are there; made by `fisher`.

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

    def losses(self, params: PyTree) -> Array:
        """Per-example losses as a function of `params`."""
        return models.loss_fn(self.apply_fn, self.loss)(combine(params, self.rest), (self.x, self.y))

    def product(self) -> Callable[[PyTree], PyTree]:
        """v -> (1/N) J^T J v for the Jacobian J of the N losses."""
        losses, push, pull = linearized(self.losses, self.params)
        return lambda vector: pull(push(vector) / losses.size)

    def quadratic_form(self) -> Callable[[PyTree], Array]:
        """v -> |J v|^2 / N, without a backward pass."""
        _, push = jax.linearize(self.losses, self.params)
        return lambda vector: jnp.mean(push(vector) ** 2)


def fisher(
    apply_fn: ApplyFn,
    loss: str | OutputLoss,
    params: PyTree,
    x: Array,
    y: Array | None = None,
    *,
    kind: str = "model",
    likelihood: str = "auto",
    subtree: Subtree | None = None,
) -> ModelFisher | EmpiricalFisher:
    """Fisher information in the parameters, as a positive semidefinite `lineax` operator.

    `"model"`: F = (1/N) sum_i E_y g_i(y) g_i(y)^T with g_i(y) the gradient of loss(f(w, x_i), y) and y drawn from the model's own
    p(y | x_i) = exp(-loss(f(w, x_i), y)). The expectation is exact. For classes it is the sum over all labels. For Gaussian
    labels, where the loss is quadratic in outputs minus targets, it is the loss's Hessian in the outputs. For
    cross-entropy and squared loss F is also the Gauss-Newton matrix, since they are exponential families in the outputs.

    `"empirical"`: F = (1/N) sum_i g_i(y_i) g_i(y_i)^T with the labels of the data. It is not an estimate of the former, and vanishes
    where every example is fitted (Kunstner et al. 2019); with the square of the mean gradient taken off, it is the
    covariance of the gradient noise.

    Args:
        apply_fn: `apply_fn(params, x) -> outputs`, (N, C) or (N,).
        loss: `loss(outputs, targets) -> (N,)`, or a name that `models.loss_fn` knows. For `"model"` a negative
            log-likelihood; over classes 0, ..., C - 1 (two for one output) it must be normalized.
        params: parameters w, a pytree of P floating numbers.
        x: inputs with leading axis N.
        y: targets with leading axis N, for `"empirical"`; not used by `"model"`.
        kind: `"model"` or `"empirical"`.
        likelihood: of the labels in `"model"`: `"categorical"`, `"gaussian"`, or `"auto"`: Gaussian for `"squared"` and
            `models.half_squared_error`, categorical for everything else.
        subtree: restricts F to its block of a part of the parameters, as in `hessian`. Default: all.

    Returns:
        The operator, with the methods of `hessian`'s, tagged positive semidefinite.

    Raises:
        ValueError: if `kind`, `likelihood` or the loss's name is unknown, `y` is missing for `"empirical"`, `x` and `y` differ
            in leading axis or are empty, parameters are not finite, or `subtree` is not there; when applied, if
            exp(-loss) does not sum to one over the classes (NaN when traced).
        TypeError: if a parameter is not of a floating dtype.

    Source: Amari 1998; Martens 2020, sections 5, 9 and 11; Kunstner, Balles and Hennig 2019. Cost of a product: about a
    gradient and a half; for classes, N C^2 operations more in memory N C.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> x = jnp.array([[2.0, 0.0], [0.0, 4.0]])
        >>> curvature.fisher(lambda w, x: x @ w, "squared", jnp.ones(2), x).mv(jnp.ones(2)).tolist()
        [2.0, 8.0]
    """
    choice("kind", kind, ("model", "empirical"))
    choice("likelihood", likelihood, ("auto", "categorical", "gaussian"))
    output_loss(loss)
    selected, rest = differentiable(params, subtree)
    if kind == "empirical":
        if y is None:
            raise ValueError("y must be given for the empirical Fisher, which is taken at the labels of the data")
        inputs, targets = examples("(x, y)", (x, y))
        return EmpiricalFisher(apply_fn=apply_fn, loss=loss, params=selected, x=inputs, y=targets, rest=rest)
    if likelihood == "auto":
        likelihood = "gaussian" if loss in ("squared", models.half_squared_error) else "categorical"
    return ModelFisher(apply_fn=apply_fn, loss=loss, likelihood=likelihood, params=selected, x=examples("x", x), rest=rest)


def _categorical_information(loss: str | OutputLoss, outputs: Array, x: Array) -> Callable[[Array], Array]:
    """u -> (1/N) sum_y p_y g_y <g_y, u>, example by example, g_y being the gradient in the outputs."""
    count = outputs.shape[0]
    losses = output_loss(loss)
    labels = jnp.arange(outputs.shape[1] if outputs.ndim == 2 and outputs.shape[1] > 1 else 2)

    def score(label: Array) -> tuple[Array, Array]:
        values, pull = jax.vjp(lambda o: losses(o, (x, jnp.full(count, label))), outputs)
        return jnp.exp(-values), pull(jnp.ones_like(values))[0].reshape(count, -1)

    total = jax.lax.scan(lambda so_far, label: (so_far + score(label)[0], None), jnp.zeros(count, outputs.dtype), labels)[0]
    tolerance = jnp.sqrt(jnp.finfo(outputs.dtype).eps)
    message = (
        "loss must be the negative logarithm of a distribution over the classes, sum_y exp(-loss(outputs, y)) = 1; "
        "for squared losses set likelihood='gaussian', for others kind='empirical'"
    )
    weight = checked(jnp.ones((), outputs.dtype), (jnp.abs(total - 1) <= tolerance, message)) / count

    def product(change: Array) -> Array:
        def add(so_far, label):
            probability, slope = score(label)
            return so_far + (probability * jnp.sum(slope * change.reshape(count, -1), axis=1))[:, None] * slope, None

        start = jnp.zeros((count, outputs.size // count), outputs.dtype)
        return weight * jax.lax.scan(add, start, labels)[0].reshape(change.shape)

    return product
