"""Linear nets of three architectures, as predictors of their weights, and training until only the direction is left.

A linear net x -> <beta(w), x> of depth L is homogeneous of order L in its weights w. Trained on separable data with an
exponential loss, which beta it tends to depends on how beta is made of w.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Num, PyTree

from jaxgen._core.checks import checked, choice, floating, require
from jaxgen._core.scan import iterate
from jaxgen._core.subtrees import differentiable
from jaxgen.implicit_bias.homogeneous import ApplyFn, model_margins
from jaxgen.implicit_bias.margins import log_exp_loss

LARGEST_MOVE = 0.1
"""Part of the norm of the parameters that a step of training may be as long as."""

Parametrization = Callable[[Any], Float[Array, " d"]]
Record = Callable[[PyTree, Float[Array, ""], Int[Array, ""]], PyTree]


class Trained(NamedTuple):
    """A model trained to a direction; made by `train_to_direction`.

    Attributes:
        params: at the end.
        log_loss: log of the sum of exp(-y_i f_i), at the end, in nats.
        records: what was recorded, stacked, or None.
    """

    params: PyTree
    log_loss: Float[Array, ""]
    records: PyTree


def linear_fully_connected(weights: Sequence[Float[Array, "in out"]]) -> Float[Array, " d"]:
    """beta = W_1 W_2 ... W_L of a linear fully connected net, whose direction tends to that of the largest l_2 margin.

    Args:
        weights: L matrices as flax has them, (inputs, outputs); the last has one output or is a vector.

    Returns:
        beta, shape (d,).

    Raises:
        ValueError: if there is no matrix or shapes do not fit.

    Source: Gunasekar et al. 2018; spec BIAS-31.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.linear_fully_connected([jnp.eye(2), jnp.array([3.0, 4.0])]).tolist()
        [3.0, 4.0]
    """
    matrices = [floating(f"weights[{number}]", matrix) for number, matrix in enumerate(weights)]
    shapes = [matrix.shape for matrix in matrices]
    matrices = [matrix[:, None] if matrix.ndim == 1 else matrix for matrix in matrices]
    fits = all(matrix.ndim == 2 for matrix in matrices) and all(a.shape[1] == b.shape[0] for a, b in pairwise(matrices))
    require(
        bool(matrices) and fits and matrices[-1].shape[1] == 1, f"weights must be matrices to be multiplied, with one output; got shapes {shapes}"
    )
    return reduce(lambda beta, matrix: matrix @ beta, reversed(matrices[:-1]), matrices[-1][:, 0])


def linear_convolutional(filters: Float[Array, "L d"], *, method: str = "fft") -> Float[Array, " d"]:
    """beta = u_1 * u_2 * ... * u_L, circular convolutions, of a linear convolutional net with filters as wide as the input.

    The net correlates its input with u_1, ..., u_(L-1) circularly, and multiplies the outcome with u_L. The discrete Fourier
    transform of beta is the product of those of the filters; the direction tends to a stationary one of the bridge penalty
    sum_k |beta^_k|^(2/L), which for two layers is the one of the largest margin in the l_1 norm of the transform.

    Args:
        filters: u_1, ..., u_L, all of the width d of the input.
        method: `"fft"`, or `"dense"`: by circulant matrices.

    Returns:
        beta, shape (d,).

    Raises:
        ValueError: if filters are not all of one width, or `method` is unknown.

    Source: Gunasekar et al. 2018; spec BIAS-31. Cost: O(L d log d) by transforms, O(L d^2) dense.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.linear_convolutional(jnp.array([[1.0, 0.0, 2.0], [1.0, 3.0, 0.0]]), method="dense").tolist()
        [7.0, 3.0, 2.0]
    """
    choice("method", method, ("fft", "dense"))
    filters = _layers("filters", filters, "filters must be full-width, all as wide as the input")
    width = filters.shape[1]
    if method == "fft":
        return jnp.fft.irfft(jnp.fft.rfft(filters, axis=1).prod(axis=0), width).astype(filters.dtype)
    shifts = (jnp.arange(width)[:, None] - jnp.arange(width)) % width
    return reduce(lambda beta, u: u[shifts] @ beta, filters[1:], filters[0])


def linear_diagonal(factors: Float[Array, "L d"]) -> Float[Array, " d"]:
    """beta = u_1 u_2 ... u_L entry by entry, of a linear net with diagonal layers, whose direction is stationary for ||beta||_{2/L}.

    Args:
        factors: u_1, ..., u_L.

    Returns:
        beta, shape (d,).

    Raises:
        ValueError: if `factors` are not L vectors of one length.

    Source: Gunasekar et al. 2018; spec BIAS-31.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.linear_diagonal(jnp.array([[1.0, 2.0], [3.0, -1.0]])).tolist()
        [3.0, -2.0]
    """
    return _layers("factors", factors, "factors must all have the length of the input").prod(axis=0)


def _layers(name: str, layers: Any, message: str) -> Float[Array, "L d"]:
    shapes = [jnp.shape(layer) for layer in layers]
    require(len(shapes) > 0 and len(shapes[0]) == 1 and len(set(shapes)) == 1, f"{message}; got shapes {shapes}")
    return floating(name, layers if isinstance(layers, jax.Array) else jnp.stack([floating(name, layer) for layer in layers]))


def linear_net(parametrization: Parametrization) -> ApplyFn:
    """The model f(w, x) = <beta(w), x> of a parametrization beta, such as `linear_convolutional`.

    Args:
        parametrization: w -> beta of shape (d,).

    Returns:
        `apply_fn(params, x) -> (n,)` for x of shape (n, d); another width of x is a `ValueError`.

    Source: spec BIAS-31.
    """

    def apply_fn(params: Any, x: Num[Array, "n d"]) -> Float[Array, " n"]:
        beta, x = parametrization(params), jnp.asarray(x)
        require(x.shape[1:] == beta.shape, f"x must have examples of the width {beta.size} of the net's predictor; got shape {x.shape}")
        return x.astype(beta.dtype) @ beta

    return apply_fn


def train_to_direction(
    apply_fn: ApplyFn,
    params: PyTree,
    x: PyTree,
    y: Num[ArrayLike, " n"],
    *,
    num_steps: int,
    decrease: ArrayLike = 0.5,
    target_log_loss: ArrayLike = -jnp.inf,
    record: Record | None = None,
    every: int = 1,
) -> Trained:
    """Gradient descent on L = sum_i exp(-y_i f_i) with steps w - (c / ||grad log L||^2) grad log L, by which log L falls by about c.

    All in logarithms, so that it goes on where L itself is zero in floating point: log L reaches -3000 in some 3000 / c steps. No
    step is longer than a tenth of ||w||, which matters near a saddle point, such as small weights are close to.

    Args:
        apply_fn: `apply_fn(params, x) -> (n,)` or `(n, 1)`.
        params: parameters to start from.
        x: n examples, a pytree with leading axis n.
        y: labels, -1 or 1.
        num_steps: number of steps; after `target_log_loss` is reached they do nothing.
        decrease: c > 0, in nats a step.
        target_log_loss: log L at which to stop.
        record: `record(params, log_loss, t)` with the parameters before step t.
        every: record at t = 0, every, 2 every, ...

    Returns:
        Parameters and log L at the end, and the records.

    Raises:
        ValueError: if outputs are of another shape, a label is neither -1 nor 1, `decrease` is not positive (NaN results where
            traced), or `num_steps` < 0 or `every` < 1.
        TypeError: if a parameter is not of a floating dtype.

    Source: Nacson et al. 2019 (loss-normalized steps); spec BIAS-31. Cost: a gradient a step.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> model = implicit_bias.linear_net(lambda w: w)
        >>> found = implicit_bias.train_to_direction(model, jnp.array([0.0, 1.0]), jnp.array([[2.0, 0.0]]), jnp.ones(1), num_steps=3000, decrease=1.0)
        >>> round(float(found.log_loss), -2), float(found.params[1])
        (-3000.0, 1.0)
    """
    differentiable(params)
    decrease, target = floating("decrease", decrease), floating("target_log_loss", target_log_loss)
    decrease = checked(decrease, (decrease > 0, f"decrease must be positive; got {decrease}"))
    y = floating("y", y)
    y = checked(y, (jnp.abs(y) == 1, "labels y must be -1 or 1"))

    def log_loss(params: PyTree) -> Array:
        return log_exp_loss(model_margins(apply_fn, params, x, y))

    def step(params: PyTree, t: Array) -> tuple[PyTree, Array]:
        value, gradient = jax.value_and_grad(log_loss)(params)
        slope, norm = optax.tree.norm(gradient), optax.tree.norm(params)
        size = decrease.astype(value.dtype) / slope**2
        size = jnp.where(norm > 0, jnp.minimum(size, LARGEST_MOVE * norm / slope), size)
        size = jnp.where(value > target.astype(value.dtype), size, 0)
        return jax.tree.map(lambda w, g: w - (size * g).astype(w.dtype), params, gradient), value

    params, records = iterate(step, jax.tree.map(jnp.asarray, params), num_steps, record=record, every=every)
    return Trained(params, log_loss(params), records)
