"""Mini-batch training on given batches, by any optimizer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Int, Key, PyTree

from jaxgen import gradients
from jaxgen._core.checks import checked, floating, leading_axis, per_step, require
from jaxgen._core.scan import iterate
from jaxgen.processes.batches import Schedule, given_schedule

LossFn = Callable[[PyTree, PyTree], Array]
Record = Callable[[PyTree, PyTree, Any], PyTree]
Observe = Callable[[PyTree, PyTree, Array, Any], PyTree]


def train(
    key: Key[Array, ""],
    loss_fn: LossFn,
    params: PyTree,
    data: PyTree,
    batch_indices: Int[Array, "T b"],
    *,
    optimizer: optax.GradientTransformation,
    record: Record | None = None,
    every: int = 1,
) -> tuple[PyTree, PyTree]:
    """Trains on T given mini-batches; step t updates W_t to W_{t+1} by the optimizer's step at g(W_t, B_t), t = 0..T-1.

    Args:
        key: not used, since nothing is random once the batches are given; it is there so that all processes are called
            alike. Draw `batch_indices` from a key of its own.
        loss_fn: training loss, `loss_fn(params, batch) -> (N,)`; its mean over a batch is descended.
        params: initial parameters, a pytree of floating leaves (integers become the default float).
        data: the training set, a pytree whose leaves have leading axis n.
        batch_indices: rows of every batch, integers in [0, n), for instance from `batch_indices`.
        optimizer: any optax transformation.
        record: `record(params, gradient, t)` with the parameters *before* step t and that step's mini-batch gradient;
            whatever pytree of arrays it returns is stacked.
        every: record at t = 0, every, 2 every, ...

    Returns:
        The final parameters, and the records stacked along a leading axis of length ceil(T / every), None without `record`.

    Raises:
        ValueError: if indices are out of range (NaN results when they are traced) or not of shape (T, b), `every` < 1, the
            leaves of `data` differ in leading axis, or `loss_fn` does not return shape (b,).
        TypeError: if `batch_indices` are no integers or a leaf of `params` is not real.

    Source: spec INFO-16. Cost: T gradients of b examples; memory of a gradient, whatever T is, besides the records.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from jaxgen import processes
        >>> loss_fn = lambda w, z: 0.5 * (w - z) ** 2
        >>> rows = processes.batch_indices(jax.random.key(0), 4, 4, 300)
        >>> w, _ = processes.train(jax.random.key(1), loss_fn, jnp.float32(9.0), jnp.arange(4.0), rows, optimizer=optax.adam(0.3))
        >>> round(float(w), 2)
        1.5
    """
    params, rows = checked_rows(params, data, batch_indices)
    final, _, records = descend(loss_fn, params, data, given_schedule(rows), optimizer, without_loss(record), every)
    return final, records


def sgd(
    key: Key[Array, ""],
    loss_fn: LossFn,
    params: PyTree,
    data: PyTree,
    batch_indices: Int[Array, "T b"],
    learning_rate: ArrayLike,
    *,
    record: Record | None = None,
    every: int = 1,
) -> tuple[PyTree, PyTree]:
    """Mini-batch SGD, W_{t+1} = W_t - lambda_t g(W_t, B_t).

    Args:
        key: not used (see `train`).
        loss_fn: training loss, `loss_fn(params, batch) -> (N,)`.
        params: initial parameters, a pytree of floating leaves.
        data: the training set, a pytree whose leaves have leading axis n.
        batch_indices: rows of every batch, integers in [0, n), shape (T, b).
        learning_rate: lambda, a scalar or one value per step, shape (T,).
        record: `record(params, gradient, t)` as in `train`.
        every: record at t = 0, every, 2 every, ...

    Returns:
        The final parameters W_T and the stacked records, None without `record`.

    Raises:
        ValueError: if `learning_rate` has another length than T; otherwise as `train`.
        TypeError: as `train`.

    Source: Wang and Mao 2022; spec INFO-16.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> loss_fn = lambda w, z: 0.5 * (w - z) ** 2
        >>> w, path = processes.sgd(jax.random.key(0), loss_fn, jnp.float32(8.0), jnp.zeros(2), jnp.array([[0], [1]]), 0.5, record=lambda w, g, t: w)
        >>> float(w), path.tolist()
        (2.0, [8.0, 4.0])
    """
    optimizer = gradient_step(learning_rate, num_steps_of(batch_indices))
    return train(key, loss_fn, params, data, batch_indices, optimizer=optimizer, record=record, every=every)


def gradient_step(learning_rate: ArrayLike, num_steps: int) -> optax.GradientTransformation:
    """Gradient descent with the given learning rate of every step."""
    rates = per_step("learning_rate", learning_rate, num_steps)
    return optax.sgd(lambda count: rates[count])


def num_steps_of(batch_indices: Int[Array, "T b"]) -> int:
    """T, of indices that have the shape (T, b)."""
    shape = jnp.asarray(batch_indices).shape
    require(len(shape) == 2, f"batch_indices must have shape (num_steps, batch_size); got shape {shape}")
    require(shape[0] >= 1, f"batch_indices must hold at least one step, one row each; got shape {shape}")
    return shape[0]


def checked_rows(params: PyTree, data: PyTree, batch_indices: Int[Array, "T b"]) -> tuple[PyTree, Int[Array, "T b"]]:
    """Parameters and batches of a loop; parameters are NaN if a traced index is out of range."""
    num_steps_of(batch_indices)
    rows = jnp.asarray(batch_indices)
    if not jnp.issubdtype(rows.dtype, jnp.integer):
        raise TypeError(f"batch_indices must be integers; got dtype {rows.dtype}")
    count = leading_axis("data", data)
    in_range = jnp.all((rows >= 0) & (rows < count))
    message = f"batch_indices must lie in [0, {count}), the rows of data"
    return jax.tree.map(lambda leaf: checked(floating("params", leaf), (in_range, message)), params), rows


def without_loss(record: Record | None) -> Observe | None:
    """A user's record, which does not see the mini-batch loss, for `descend`."""
    if record is None:
        return None
    return lambda params, gradient, loss, t: record(params, gradient, t)


def descend(
    loss_fn: LossFn,
    params: PyTree,
    data: PyTree,
    schedule: Schedule,
    optimizer: optax.GradientTransformation,
    observe: Observe | None,
    every: int,
) -> tuple[PyTree, PyTree, PyTree]:
    """The loop of every training process, on batches known to exist: final parameters, final optimizer state, records.

    `observe(params, gradient, loss, t)` also sees the loss of step t's mini-batch.
    """
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    data = jax.tree.map(jnp.asarray, data)

    def step(state, t):
        params, optimizer_state, place = state
        place, rows = schedule.advance(place, t)
        batch = jax.tree.map(lambda leaf: leaf[rows], data)
        loss, gradient = gradients.value_and_gradient(loss_fn, params, batch)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state, place), (gradient, loss)

    record = None if observe is None else lambda state, aux, t: observe(state[0], aux[0], aux[1], t)
    start = params, optimizer.init(params), schedule.start
    (params, optimizer_state, _), records = iterate(step, start, schedule.num_steps, record=record, every=every)
    return params, optimizer_state, records
