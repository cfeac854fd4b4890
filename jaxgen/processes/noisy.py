"""Training with Gaussian noise: in the weights (SGLD), or beside them (the auxiliary weight process)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from jaxgen._core.checks import checked, floating, per_step, require
from jaxgen._core.monte_carlo import gaussian_like
from jaxgen.processes.batches import given_schedule
from jaxgen.processes.training import LossFn, Record, checked_rows, descend, gradient_step, num_steps_of, train, without_loss


def sgld(
    key: Key[Array, ""],
    loss_fn: LossFn,
    params: PyTree,
    data: PyTree,
    batch_indices: Int[Array, "T b"],
    learning_rate: ArrayLike,
    noise_std: ArrayLike,
    *,
    record: Record | None = None,
    every: int = 1,
) -> tuple[PyTree, PyTree]:
    """Stochastic gradient Langevin dynamics, W_{t+1} = W_t - lambda_t g(W_t, B_t) + N_t with N_t ~ N(0, sigma_t^2 I).

    Args:
        key: key of the noise; N_t depends on it and on t alone, and is that of `auxiliary_weight_process`.
        loss_fn: training loss, `loss_fn(params, batch) -> (N,)`.
        params: initial parameters, a pytree of floating leaves.
        data: the training set, a pytree whose leaves have leading axis n.
        batch_indices: rows of every batch, integers in [0, n), shape (T, b).
        learning_rate: lambda, a scalar or one value per step, shape (T,).
        noise_std: sigma > 0, a scalar or one value per step, shape (T,).
        record: `record(params, gradient, t)` as in `train`.
        every: record at t = 0, every, 2 every, ...

    Returns:
        The final parameters W_T and the stacked records, None without `record`.

    Raises:
        ValueError: if `noise_std` is not positive (NaN results when traced), or it or `learning_rate` has another length
            than T; otherwise as `train`.
        TypeError: as `train`.

    Source: Welling and Teh 2011; spec INFO-16.
    """
    num_steps = num_steps_of(batch_indices)
    noise = _inject_noise(key, _positive(noise_std, num_steps))
    optimizer = optax.chain(gradient_step(learning_rate, num_steps), noise)
    return train(key, loss_fn, params, data, batch_indices, optimizer=optimizer, record=record, every=every)


def auxiliary_weight_process(
    key: Key[Array, ""],
    loss_fn: LossFn,
    params: PyTree,
    data: PyTree,
    batch_indices: Int[Array, "T b"],
    learning_rate: ArrayLike,
    noise_std: ArrayLike,
    *,
    record: Record | None = None,
    every: int = 1,
) -> tuple[PyTree, PyTree, PyTree]:
    """SGD and its noisy companion W~_{t+1} = W~_t - lambda_t g(W_t, B_t) + N_t, whose gradients are taken at the *clean* W_t.

    Hence W~_T = W_T + Delta_T with Delta_T = sum_t N_t ~ N(0, sum_t sigma_t^2 I), independent of data, batches and
    initialization: I(W~_T; S) is finite where I(W_T; S) need not be. The clean path is that of `sgd`, to the last bit.

    Args:
        key: key of the noise; N_t depends on it and on t alone. `vmap` over it gives several noise paths beside one run.
        loss_fn: training loss, `loss_fn(params, batch) -> (N,)`.
        params: initial parameters of both processes, a pytree of floating leaves.
        data: the training set, a pytree whose leaves have leading axis n.
        batch_indices: rows of every batch, integers in [0, n), shape (T, b).
        learning_rate: lambda, a scalar or one value per step, shape (T,).
        noise_std: sigma > 0, a scalar or one value per step, shape (T,).
        record: `record(params, gradient, t)` as in `train`, on the clean path.
        every: record at t = 0, every, 2 every, ...

    Returns:
        The final parameters W_T, the auxiliary W~_T, and the stacked records, None without `record`.

    Raises:
        ValueError: if `noise_std` is not positive (NaN results when traced), or it or `learning_rate` has another length
            than T; otherwise as `train`.
        TypeError: as `train`.

    Source: Neu et al. 2021; Wang and Mao 2022; spec INFO-19. For the terminal law alone: `sample_auxiliary_noise`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> loss_fn = lambda w, z: 0.5 * (w - z) ** 2
        >>> rows = jnp.zeros((3, 1), jnp.int32)
        >>> w, auxiliary, _ = processes.auxiliary_weight_process(jax.random.key(0), loss_fn, jnp.float32(8.0), jnp.zeros(1), rows, 0.5, 0.1)
        >>> float(w), float(auxiliary) != float(w)
        (1.0, True)
    """
    num_steps = num_steps_of(batch_indices)
    accumulator = _accumulate_noise(key, _positive(noise_std, num_steps))
    optimizer = optax.chain(gradient_step(learning_rate, num_steps), accumulator)
    params, rows = checked_rows(params, data, batch_indices)
    final, (_, accumulated), records = descend(loss_fn, params, data, given_schedule(rows), optimizer, without_loss(record), every)
    return final, optax.tree.add(final, accumulated.noise), records


def sample_auxiliary_noise(key: Key[Array, ""], params: PyTree, noise_std: Float[Array, " T"]) -> PyTree:
    """A draw of the auxiliary process' terminal noise, Delta_T ~ N(0, sum_t sigma_t^2 I), without its path.

    Args:
        key: key of the draw.
        params: parameters, whose structure, shapes and dtypes the noise has.
        noise_std: sigma_1..sigma_T > 0, shape (T,).

    Returns:
        The noise; `params` plus it has the law of W~_T given W_T.

    Raises:
        ValueError: if `noise_std` is not a vector of positive numbers (NaN when traced).
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-19, INFO-24.
    """
    noise_std = floating("noise_std", noise_std)
    require(noise_std.ndim == 1, f"noise_std must have one value per step, shape (T,); got shape {noise_std.shape}")
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    return gaussian_like(key, params, jnp.sqrt(jnp.sum(_positive(noise_std, noise_std.shape[0]) ** 2)))


class _Injected(NamedTuple):
    t: Array


class _Accumulated(NamedTuple):
    t: Array
    noise: PyTree


def _noise_of_step(key: Array, t: Array, like: PyTree, stds: Float[Array, " T"]) -> PyTree:
    return gaussian_like(jax.random.fold_in(key, t), like, stds[t])


def _inject_noise(key: Array, stds: Float[Array, " T"]) -> optax.GradientTransformation:
    """Adds N_t to the update."""

    def update(updates, state, params=None):
        return optax.tree.add(updates, _noise_of_step(key, state.t, updates, stds)), _Injected(state.t + 1)

    return optax.GradientTransformation(lambda params: _Injected(jnp.int32(0)), update)


def _accumulate_noise(key: Array, stds: Float[Array, " T"]) -> optax.GradientTransformation:
    """Leaves the update as it is and sums N_t beside it."""

    def update(updates, state, params=None):
        noise = optax.tree.add(state.noise, _noise_of_step(key, state.t, updates, stds))
        return updates, _Accumulated(state.t + 1, noise)

    return optax.GradientTransformation(lambda params: _Accumulated(jnp.int32(0), optax.tree.zeros_like(params)), update)


def _positive(noise_std: ArrayLike, num_steps: int) -> Float[Array, " T"]:
    stds = per_step("noise_std", noise_std, num_steps)
    return checked(stds, (stds > 0, "noise_std must be positive at every step"))
