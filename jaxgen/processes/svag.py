"""SVAG: SGD in smaller steps whose noise is made larger, so that it tends to the stochastic differential equation of SGD."""

# ruff: noqa: E741

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from jaxgen import gradients, structure
from jaxgen._core.checks import checked, floating, is_traced, require
from jaxgen.processes.batches import Schedule
from jaxgen.processes.oracles import GradientOracle
from jaxgen.processes.training import LossFn, Record, checked_rows, descend, gradient_step, sgd, without_loss


class SvagMoments(NamedTuple):
    """What a SVAG gradient's moments are, in units of those of the stochastic gradient that it is made of.

    Attributes:
        mean: a + b = 1.
        covariance: a^2 + b^2 = l.
        third: a^3 + b^3 = (3 l - 1) / 2, of the third central moment.
        fourth: a^4 + b^4 = (l^2 + 2 l - 1) / 2, of the fourth cumulant.
        skewness: third / covariance^(3/2), which falls as l^(-1/2).
        excess_kurtosis: fourth / covariance^2, which tends to one half.
    """

    mean: Float[Array, ""]
    covariance: Float[Array, ""]
    third: Float[Array, ""]
    fourth: Float[Array, ""]
    skewness: Float[Array, ""]
    excess_kurtosis: Float[Array, ""]


def svag_coefficients(l: ArrayLike) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Weights of the two stochastic gradients, a = (1 + sqrt(2 l - 1)) / 2 and b = (1 - sqrt(2 l - 1)) / 2.

    They sum to one, so that the mean gradient stays, and their squares to l, so that the covariance is l times as large.

    Args:
        l: number of steps for one of SGD, an integer or any other number of at least 1.

    Returns:
        a and b, scalars; 1 and 0 for l = 1.

    Raises:
        ValueError: if `l` is not a finite scalar of at least 1 (NaN results when traced).

    Source: Li, Malladi and Arora 2021, "On the validity of modeling SGD with stochastic differential equations"; spec SDE-16.

    Example:
        >>> from jaxgen import processes
        >>> [round(float(weight), 4) for weight in processes.svag_coefficients(2)]
        [1.366, -0.366]
    """
    l = _refinement(l)
    root = jnp.sqrt(2 * l - 1)
    return (1 + root) / 2, (1 - l) / (1 + root)


def svag_gradient(gradient_a: PyTree, gradient_b: PyTree, l: ArrayLike) -> PyTree:
    """The SVAG gradient a g_a + b g_b of two independent stochastic gradients at the same parameters.

    Args:
        gradient_a: g_a, a pytree of arrays.
        gradient_b: g_b, of the same structure and shapes.
        l: as in `svag_coefficients`.

    Returns:
        A pytree like `gradient_a`, which it is for l = 1, whatever g_b holds.

    Raises:
        ValueError: if the gradients differ in structure or shapes; otherwise as `svag_coefficients`.
        TypeError: if a leaf is not real.

    Source: Li, Malladi and Arora 2021; spec SDE-16.
    """
    shapes = [jax.tree.map(jnp.shape, gradient) for gradient in (gradient_a, gradient_b)]
    require(shapes[0] == shapes[1], f"gradient_a and gradient_b must have the same structure; got {shapes[0]} and {shapes[1]}")
    a, b = svag_coefficients(l)

    def combine(first: ArrayLike, second: ArrayLike) -> Array:
        first, second = floating("gradient_a", first), floating("gradient_b", second)
        return jnp.where(b == 0, first, a.astype(first.dtype) * first + b.astype(second.dtype) * second)

    return jax.tree.map(combine, gradient_a, gradient_b)


def svag_moments(l: ArrayLike) -> SvagMoments:
    """Moments of the SVAG gradient relative to those of one stochastic gradient.

    l steps of size eta / l have the drift of one SGD step of size eta and the same covariance, l (eta / l)^2 l; the noise
    becomes less skewed, (3 l - 1) / (2 l^(3/2)) times, but its excess kurtosis only halves.

    Args:
        l: as in `svag_coefficients`.

    Returns:
        The factors, scalars.

    Raises:
        ValueError: as `svag_coefficients`.

    Source: Li, Malladi and Arora 2021; spec SDE-16, SDE-17.

    Example:
        >>> from jaxgen import processes
        >>> moments = processes.svag_moments(16)
        >>> float(moments.covariance), float(moments.third), round(float(moments.skewness), 4)
        (16.0, 23.5, 0.3672)
    """
    l = _refinement(l)
    third, fourth = (3 * l - 1) / 2, (l**2 + 2 * l - 1) / 2
    return SvagMoments(l / l, l, third, fourth, third / l**1.5, fourth / l**2)


def svag(
    key: Key[Array, ""],
    loss_fn: LossFn,
    params: PyTree,
    data: PyTree,
    batch_indices_a: Int[Array, "T b"],
    batch_indices_b: Int[Array, "T b"],
    learning_rate: ArrayLike,
    l: ArrayLike,
    *,
    record: Record | None = None,
    every: int = 1,
) -> tuple[PyTree, PyTree]:
    """SVAG, W_{t+1} = W_t - (eta / l) (a g(W_t, A_t) + b g(W_t, B_t)); l steps take the time of one SGD step of size eta.

    Drift and covariance over that time are those of SGD for every l, and for l to infinity the process tends to the
    stochastic differential equation of SGD with that eta, at first order in eta / l.

    Args:
        key: not used (see `train`).
        loss_fn: training loss, `loss_fn(params, batch) -> (N,)`.
        params: initial parameters, a pytree of floating leaves.
        data: the training set, a pytree whose leaves have leading axis n.
        batch_indices_a: rows of the first batch A_t of every SVAG step, integers in [0, n), shape (T, b). For the time of K
            steps of SGD, T = K l.
        batch_indices_b: rows of the second, of the same shape and independent of the first.
        learning_rate: eta, that of SGD, a scalar or one value per SVAG step, shape (T,); it is divided by `l` here.
        l: as in `svag_coefficients`. It may be traced, so that runs of equal T share a program. l = 1 is `sgd` on
            `batch_indices_a`, to the last bit when it is not traced.
        record: `record(params, gradient, t)` as in `train`, with the SVAG gradient.
        every: record at t = 0, every, 2 every, ...; every = l is once in the time of a step of SGD.

    Returns:
        The final parameters W_T and the stacked records, None without `record`.

    Raises:
        ValueError: if the two batches differ in shape, `l` is not a finite scalar of at least 1 (NaN results when traced), or
            `learning_rate` has another length than T; otherwise as `train`.
        TypeError: as `train`.

    Source: Li, Malladi and Arora 2021; spec SDE-16, SDE-18. Cost: where examples do not influence each other, one gradient of
    2 b weighted examples a step; two gradients of b examples otherwise. Memory as `sgd`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> loss_fn = lambda w, z: 0.5 * (w - z) ** 2
        >>> keys = jax.random.split(jax.random.key(0))
        >>> a, b = (processes.batch_indices(key, 4, 2, 4000, mode="iid") for key in keys)
        >>> _, path = processes.svag(keys[0], loss_fn, jnp.float32(1.5), jnp.arange(4.0), a, b, 0.1, 4, record=lambda w, g, t: w)
        >>> path.shape, bool(abs(path.mean() - 1.5) < 0.1)
        ((4000,), True)
    """
    rows = [jnp.asarray(indices) for indices in (batch_indices_a, batch_indices_b)]
    require(
        rows[0].shape == rows[1].shape,
        f"batch_indices_a and batch_indices_b must have the same shape (num_steps, batch_size); got {rows[0].shape} and {rows[1].shape}",
    )
    refinement = _refinement(l)
    for indices in rows:
        params, _ = checked_rows(params, data, indices)
    if not is_traced(l) and np.asarray(l) == 1:
        return sgd(key, loss_fn, params, data, rows[0], learning_rate, record=record, every=every)

    def advance(state, t):
        first = rows[0][t]
        # At l = 1 the second batch has weight zero, and may not bring in an infinite loss.
        return state, jnp.concatenate([first, jnp.where(refinement == 1, first, rows[1][t])])

    num_steps, batch_size = rows[0].shape
    optimizer = gradient_step(floating("learning_rate", learning_rate) / refinement, num_steps)
    schedule = Schedule(None, advance, num_steps)
    weighted = _weighted(loss_fn, batch_size, refinement)
    final, _, records = descend(weighted, params, data, schedule, optimizer, without_loss(record), every)
    return final, records


class SvagOracle(GradientOracle):
    """The SVAG gradient of another oracle's draws; made by `svag_oracle`.

    Attributes:
        oracle: what the two independent gradients are drawn from.
        l: number of steps for one of SGD.
        noise_scale: sqrt(l) sigma.
    """

    oracle: GradientOracle
    l: Float[Array, ""]
    noise_scale: Float[Array, ""]

    def sample(self, key: Key[Array, ""], params: PyTree) -> PyTree:
        """a g_1 + b g_2 of two draws."""
        first, second = (self.oracle.sample(draw, params) for draw in jax.random.split(key))
        return svag_gradient(first, second, self.l)

    def mean(self, params: PyTree) -> PyTree:
        """That of the oracle."""
        return self.oracle.mean(params)

    def covariance(self, params: PyTree) -> lx.AbstractLinearOperator:
        """That of the oracle."""
        return self.oracle.covariance(params)


def svag_oracle(oracle: GradientOracle, l: ArrayLike) -> SvagOracle:
    """SVAG as a noisy gradient oracle: scale sqrt(l) sigma, noise z = (a z_1 + b z_2) / sqrt(l) of covariance Sigma(x).

    The third moment of z is at most of the order of 1 / scale for any law of z_1, as the theorem on weak approximation asks.
    With z divided by l and scale l sigma, as it has been printed, the covariance would be Sigma(x) / l.

    Args:
        oracle: any oracle of scale sigma.
        l: as in `svag_coefficients`.

    Returns:
        The oracle.

    Raises:
        ValueError: as `svag_coefficients`.

    Source: Li, Malladi and Arora 2021; spec SDE-17, SDE-19.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> loss_fn = lambda w, z: 0.5 * (w - z) ** 2
        >>> oracle = processes.minibatch_oracle(loss_fn, jnp.array([-6.0, 6.0, 0.0]), batch_size=4)
        >>> refined = processes.svag_oracle(oracle, 4)
        >>> float(refined.noise_scale), float(refined.covariance(2.0).as_matrix()[0, 0])
        (1.0, 24.0)
    """
    l = _refinement(l)
    return SvagOracle(oracle=oracle, l=l, noise_scale=jnp.sqrt(l).astype(oracle.noise_scale.dtype) * oracle.noise_scale)


def _refinement(l: ArrayLike) -> Float[Array, ""]:
    value = floating("l", l)
    require(value.ndim == 0, f"l must be a scalar; got shape {value.shape}")
    return checked(value, ((value >= 1) & jnp.isfinite(value), f"l must be a finite number of at least 1; got {l}"))


def _weighted(loss_fn: LossFn, batch_size: int, l: Float[Array, ""]) -> LossFn:
    """A loss of two batches, one behind the other, whose mean is a times the mean over the first plus b times that over the second."""
    a, b = svag_coefficients(l)

    def weighted(params: PyTree, batch: PyTree) -> Float[Array, " 2*b"]:
        first, second = (jax.tree.map(lambda leaf, half=half: leaf[half], batch) for half in (slice(batch_size), slice(batch_size, None)))
        if _independent(loss_fn, params, first):
            losses = loss_fn(params, batch)
            return jnp.repeat(2 * jnp.stack([a, b]), batch_size).astype(losses.dtype) * losses
        losses = [gradients.risk(loss_fn, params, half) for half in (first, second)]
        return jnp.broadcast_to(a.astype(losses[0].dtype) * losses[0] + b.astype(losses[1].dtype) * losses[1], (2 * batch_size,))

    return weighted


def _independent(loss_fn: LossFn, params: PyTree, batch: PyTree) -> bool:
    """Whether every example's loss is known to be the same in any batch."""
    try:
        return not structure.is_positional(loss_fn, params, batch)
    except ValueError:
        return False
