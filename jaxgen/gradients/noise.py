"""Gradient noise of mini-batches: its covariance as an operator, its scale, and how far gradients of examples agree."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from jaxgen._core.checks import floating, leading_axis, positive_integer, require
from jaxgen._core.symmetric_operators import register_symmetric
from jaxgen.gradients.examples import gram, per_example
from jaxgen.gradients.risks import LossFn, parameters, value_and_gradient
from jaxgen.gradients.spread import dispersion


class NoiseCovariance(lx.AbstractLinearOperator):
    """Covariance of a mini-batch gradient, an operator on parameters; made by `noise_covariance`.

    With J the N x P Jacobian of the losses and H = I - 11^T / N it is c (1/N) J^T H J, where c counts the batch.

    Attributes:
        loss_fn: per-example loss, static.
        params: parameters at which gradients are taken.
        batch: the N examples that mini-batches are drawn from.
        batch_size: size of a mini-batch, static.
        replacement: whether a mini-batch may hold an example twice, static.
    """

    loss_fn: LossFn = eqx.field(static=True)
    params: PyTree
    batch: PyTree
    batch_size: int = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)

    def mv(self, vector: PyTree) -> PyTree:
        """C times a pytree like the parameters: one forward and one reverse derivative of the N losses."""
        expected, found = jax.tree.map(jnp.shape, self.params), jax.tree.map(jnp.shape, vector)
        require(found == expected, f"vector must have the structure of params, {expected}; got {found}")
        tangent = jax.tree.map(lambda leaf, like: floating("vector", leaf).astype(like.dtype), vector, self.params)
        return self._product()(tangent)

    def trace(self) -> Float[Array, ""]:
        """tr C, exact."""
        return self._factor * dispersion(self.loss_fn, self.params, self.batch)

    def sample(self, key: Key[Array, ""]) -> PyTree:
        """An exact draw of N(0, C), sqrt(c / N) J^T (z - mean z) with z ~ N(0, I_N): the cost of a gradient."""
        losses, pull = jax.vjp(self._losses, self.params)
        z = jax.random.normal(key, losses.shape, losses.dtype)
        return pull(math.sqrt(self._factor / losses.size) * (z - z.mean()))[0]

    def as_matrix(self) -> Float[Array, "P P"]:
        """C, in the order of `jax.flatten_util.ravel_pytree`; memory N P + P^2."""
        rows = self._rows()
        return self._factor / len(rows) * jnp.matmul(rows.T, rows, precision=jax.lax.Precision.HIGHEST)

    def transpose(self) -> "NoiseCovariance":
        """C itself, which is symmetric."""
        return self

    def in_structure(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the parameters."""
        return jax.eval_shape(lambda params: params, self.params)

    def out_structure(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the parameters."""
        return self.in_structure()

    @property
    def _factor(self) -> float:
        if self.replacement:
            return 1 / self.batch_size
        count = leading_axis("batch", self.batch)
        return (count - self.batch_size) / (self.batch_size * (count - 1))

    def _losses(self, params: PyTree) -> Float[Array, " N"]:
        losses = self.loss_fn(params, self.batch)
        count, found = leading_axis("batch", self.batch), jax.tree.map(jnp.shape, losses)
        require(found == (count,), f"loss_fn must return one loss per example, shape ({count},); got shape {found}")
        return floating("losses", losses)

    def _product(self) -> Callable[[PyTree], PyTree]:
        """v -> C v, with the losses and their derivative's residuals computed once."""
        losses, forward = jax.linearize(self._losses, self.params)
        backward = jax.linear_transpose(forward, self.params)

        def product(vector):
            slopes = forward(vector)
            return backward(self._factor / losses.size * (slopes - slopes.mean()))[0]

        return product

    def _rows(self) -> Float[Array, "N P"]:
        """Per-example gradients about their mean."""
        rows = jax.vmap(lambda gradient: ravel_pytree(gradient)[0])(per_example(self.loss_fn, self.params, self.batch))
        return rows - rows.mean(axis=0)


def noise_covariance(loss_fn: LossFn, params: PyTree, batch: PyTree, *, batch_size: int = 1, replacement: bool = True) -> NoiseCovariance:
    """Covariance of mini-batch gradient noise, C = c (1/N) sum_i (g_i - g)(g_i - g)^T, as a `lineax` operator.

    Here g_i are the gradients of the N examples, g their mean, and c = 1/b for batches of b examples drawn with
    replacement, (N - b) / (b (N - 1)) without. The default b = 1 is the covariance Sigma of single examples. Per-example
    gradients are not formed: a product is (c/N) J^T (I - 11^T / N) J v with the Jacobian J of the N losses.

    The function is static, parameters and batch are leaves: the operator may be an argument or a result of `jit`, and be
    mapped by `vmap`.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples, differentiable forwards and backwards; the same
            function object for the same program.
        params: parameters w, a pytree of P floating numbers (integers become the default float).
        batch: the examples that mini-batches are drawn from, a pytree whose leaves have leading axis N >= 2.
        batch_size: b.
        replacement: whether a mini-batch may hold an example twice. Batches of an epoch do not.

    Returns:
        The operator: `.mv(vector)` on pytrees like `params`, `.sample(key)` an exact draw of N(0, C), `.trace()` the exact
        trace, `.as_matrix()` for small P; tagged symmetric and positive semidefinite.

    Raises:
        ValueError: if the leaves of `batch` differ in leading axis, N < 2, `batch_size` < 1, or `batch_size` > N without
            replacement; when applied, if `loss_fn` does not return shape (N,).
        TypeError: if a leaf of `params` is not real.

    Source: spec SDE-2. Cost: a product two to three gradients of the batch, a draw one, memory as a gradient's.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> loss_fn = lambda w, z: 0.5 * jnp.sum((w - z) ** 2, axis=-1)
        >>> operator = gradients.noise_covariance(loss_fn, jnp.zeros(2), jnp.array([[1.0, 0.0], [3.0, 0.0]]))
        >>> operator.mv(jnp.array([5.0, 7.0])).tolist(), float(operator.trace())
        ([5.0, 0.0], 1.0)
    """
    count = leading_axis("batch", batch)
    require(count >= 2, f"batch must hold at least 2 examples; got {count}")
    batch_size = positive_integer("batch_size", batch_size)
    require(replacement or batch_size <= count, f"batch_size must be at most N = {count} without replacement; got {batch_size}")
    return NoiseCovariance(loss_fn, parameters(params), jax.tree.map(jnp.asarray, batch), batch_size, replacement)


def noise_scale(loss_fn: LossFn, params: PyTree, batch: PyTree, *, unbiased: bool = False) -> Float[Array, ""]:
    """The simple noise scale tr C / |g|^2, the batch size at which a mini-batch gradient is as much noise as signal.

    C is the covariance of the gradients of the N examples (normalisation 1/N) and g their mean, so that this is the noise
    of batches drawn from `batch` itself. With `unbiased=True` the N examples stand for the population that they were drawn
    from: S = tr C N / (N - 1) over |g|^2 - S / N, each of which has the population's expectation; their ratio has not, and
    is negative where the N examples do not resolve the mean gradient.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of floating numbers.
        batch: examples, a pytree whose leaves have leading axis N.
        unbiased: whether numerator and denominator are unbiased for the population; needs N >= 2.

    Returns:
        The noise scale in examples; infinite at a critical point of the batch (NaN if no example has a gradient).

    Raises:
        ValueError: if N < 2 with `unbiased`; otherwise as `dispersion`.
        TypeError: if a leaf of `params` is not real.

    Source: McCandlish, Kaplan, Amodei et al. 2018, section 2.2 and appendix A.1. Cost: as `dispersion`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> loss_fn = lambda w, z: 0.5 * jnp.sum((w - z) ** 2, axis=-1)
        >>> float(gradients.noise_scale(loss_fn, jnp.zeros(2), jnp.array([[1.0, 0.0], [3.0, 0.0]])))
        0.25
    """
    count = leading_axis("batch", batch)
    require(not unbiased or count >= 2, f"batch must hold at least 2 examples for unbiased=True; got {count}")
    _, mean = value_and_gradient(loss_fn, params, batch)
    spread, signal = dispersion(loss_fn, params, batch), optax.tree.norm(mean, squared=True)
    if unbiased:
        spread = spread * (count / (count - 1))
        signal = signal - spread / count
    return spread / signal


def cosine_similarities(loss_fn: LossFn, params: PyTree, batch: PyTree) -> Float[Array, "N N"]:
    """Cosines of the angles between per-example gradients, <g_i, g_j> / (|g_i| |g_j|).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        batch: examples, a pytree whose leaves have leading axis N.

    Returns:
        The N x N matrix of cosines, in [-1, 1] whatever rounding did; NaN in the rows and columns of examples whose
        gradient is zero.

    Raises:
        ValueError: as `per_example`.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-22. Cost: as `gram`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> gradients.cosine_similarities(lambda w, x: x @ w, jnp.zeros(2), jnp.array([[1.0, 0.0], [0.0, 3.0], [-2.0, 0.0]])).tolist()
        [[1.0, 0.0, -1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]
    """
    products = gram(loss_fn, params, batch)
    norms = jnp.sqrt(jnp.diagonal(products))
    return jnp.clip(products / norms[:, None] / norms, -1, 1)


@lx.linearise.register(NoiseCovariance)
def _linearise(operator: NoiseCovariance) -> lx.AbstractLinearOperator:
    product = operator._product()
    structure = jax.eval_shape(product, operator.in_structure())
    return lx.FunctionLinearOperator(product, structure, (lx.symmetric_tag, lx.positive_semidefinite_tag))


@lx.diagonal.register(NoiseCovariance)
def _diagonal(operator: NoiseCovariance) -> Float[Array, " P"]:
    return operator._factor * jnp.mean(operator._rows() ** 2, axis=0)


register_symmetric(NoiseCovariance, lambda operator: True)
