"""Per-example losses of outputs and labels, and how to make a `loss_fn(params, batch)` of one."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Num, PyTree

from jaxgen._core.checks import checked, choice, floating, is_traced, leading_axis, require

OutputLoss = Callable[[Array, Array], Array]
LossFn = Callable[[PyTree, PyTree], Array]


def softmax_cross_entropy(outputs: Float[Array, "n *c"], y: Int[Array, " n"]) -> Float[Array, " n"]:
    """-log softmax(outputs)[y] in nats; for one output f an example, log(1 + exp(-(2y - 1) f)).

    Args:
        outputs: logits, (N, C) with C > 1, or (N,) or (N, 1) for two classes.
        y: labels in [0, C), or in {0, 1} for one output.

    Returns:
        (N,) losses; NaN for a traced label out of range.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if shapes do not fit, or a concrete label is out of range.
    """
    outputs, y, inside = _classification(outputs, y)
    safe = jnp.where(inside, y, 0)
    if outputs.ndim == 1:
        losses = optax.losses.sigmoid_binary_cross_entropy(outputs, safe)
    else:
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, safe)
    return jnp.where(inside, losses, jnp.nan)


def zero_one(outputs: Float[Array, "n *c"], y: Int[Array, " n"]) -> Float[Array, " n"]:
    """1[argmax(outputs) != y], the first of equal outputs winning; for one output f an example, 1[1[f > 0] != y].

    Args:
        outputs: (N, C) with C > 1, or (N,) or (N, 1) for two classes.
        y: labels in [0, C), or in {0, 1} for one output.

    Returns:
        (N,) losses, 0.0 or 1.0; NaN where an output is NaN or a traced label out of range.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if shapes do not fit, or a concrete label is out of range.
    """
    outputs, y, inside = _classification(outputs, y)
    if outputs.ndim == 1:
        predicted, known = outputs > 0, ~jnp.isnan(outputs)
    else:
        predicted, known = jnp.argmax(outputs, axis=1), ~jnp.isnan(outputs).any(axis=1)
    return jnp.where(inside & known, (predicted != y).astype(outputs.dtype), jnp.nan)


def half_squared_error(outputs: Float[Array, "n *c"], y: Num[Array, "n *c"]) -> Float[Array, " n"]:
    """|outputs - y|^2 / 2 for each example.

    Args:
        outputs: (N, C) or (N,).
        y: targets of the same shape; (N,) and (N, 1) count as the same.

    Returns:
        (N,) losses.

    Raises:
        ValueError: if shapes differ. For class labels, give `jax.nn.one_hot(labels, C)`.
    """
    outputs, y = _single(floating("outputs", outputs)), _single(floating("y", y))
    require(
        outputs.shape == y.shape and outputs.ndim in (1, 2),
        f"outputs and y must have one shape, (N, C) or (N,); got {outputs.shape} and {y.shape} (one-hot encode class labels)",
    )
    squares = (outputs - y) ** 2
    return squares / 2 if squares.ndim == 1 else squares.sum(axis=1) / 2


LOSSES: dict[str, OutputLoss] = {"cross_entropy": softmax_cross_entropy, "zero_one": zero_one, "squared": half_squared_error}


def loss_fn(apply_fn: Callable[[PyTree, Array], Array], loss: str | OutputLoss) -> LossFn:
    """`loss_fn(params, (x, y)) -> (N,)`, the form in which the library takes losses.

    Args:
        apply_fn: `apply_fn(params, x) -> outputs`, for instance `model.apply`.
        loss: `"cross_entropy"`, `"zero_one"`, `"squared"`, or a function of (outputs, y) to (N,) values.

    Returns:
        A function of parameters and a batch (x, y), which raises `ValueError` if outputs or losses are not one an example.

    Raises:
        TypeError: if `apply_fn` is no function.
        ValueError: if the loss is unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import models
        >>> model = models.mlp((8, 3))
        >>> loss_fn = models.loss_fn(model.apply, "cross_entropy")
        >>> x, y = jnp.ones((5, 2)), jnp.array([0, 1, 2, 0, 1])
        >>> loss_fn(model.init(jax.random.key(0), x), (x, y)).shape
        (5,)
    """
    if not callable(apply_fn):
        raise TypeError(f"apply_fn must be a function of (params, x), such as model.apply; got {type(apply_fn).__name__}")
    if not callable(loss):
        choice("loss", loss, tuple(LOSSES))
        loss = LOSSES[loss]

    def per_example(params: PyTree, batch: tuple[Array, Array]) -> Float[Array, " n"]:
        x, y = batch
        count = leading_axis("batch", batch)
        outputs = apply_fn(params, x)
        require(jnp.shape(outputs)[:1] == (count,), f"apply_fn must return outputs with leading axis {count}; got shape {jnp.shape(outputs)}")
        losses = loss(outputs, y)
        require(jnp.shape(losses) == (count,), f"loss must return one value an example, shape ({count},); got shape {jnp.shape(losses)}")
        return losses

    return per_example


def clip_loss(loss_fn: LossFn, max_value: Float[ArrayLike, ""], min_value: Float[ArrayLike, ""] = 0.0) -> LossFn:
    """A loss clipped to [min_value, max_value], and so sub-Gaussian with R = (max_value - min_value)/2 (INFO-14).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        max_value: upper end.
        min_value: lower end.

    Returns:
        A loss of the same form; NaN stays NaN.

    Raises:
        ValueError: if `max_value` <= `min_value`.
    """
    low, high = floating("min_value", min_value), floating("max_value", max_value)
    high = checked(high, (high > low, f"max_value must be greater than min_value; got {high} and {low}"))
    return lambda params, batch: jnp.clip(loss_fn(params, batch), low, high)


def _classification(outputs: Array, y: Array) -> tuple[Array, Array, Array]:
    """Outputs (N, C) or (N,), labels, and which labels are in range."""
    outputs, y = _single(floating("outputs", outputs)), jnp.asarray(y)
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(f"labels y must be integers; got dtype {y.dtype}")
    require(
        outputs.ndim in (1, 2) and y.shape == outputs.shape[:1],
        f"outputs must have shape (N, C) or (N,), labels y shape (N,); got {outputs.shape} and {y.shape}",
    )
    num_classes = 2 if outputs.ndim == 1 else outputs.shape[1]
    inside = (y >= 0) & (y < num_classes)
    require(is_traced(inside) or bool(inside.all()), f"labels y must lie in [0, {num_classes})")
    return outputs, y, inside


def _single(array: Array) -> Array:
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
