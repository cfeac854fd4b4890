"""The risk under Gaussian perturbation of the parameters: how flat a minimum is at a given scale."""

from collections.abc import Callable

import jax
import optax
from jaxtyping import Array, ArrayLike, Key, PyTree

from jaxgen import gradients
from jaxgen._core.checks import floating, positive_integer
from jaxgen._core.monte_carlo import average_over_draws, gaussian_like, std_of
from jaxgen._core.results import Estimate
from jaxgen._core.subtrees import Subtree, combine, split

LossFn = Callable[[PyTree, PyTree], Array]


def perturbed_risk(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key[Array, ""],
    *,
    variance: ArrayLike,
    num_noise: int,
    antithetic: bool = True,
    chunk_size: int = 1,
    subtree: Subtree | None = None,
) -> Estimate:
    """Risk under Gaussian noise on the parameters, E_Delta L_s(w + Delta) with Delta ~ N(0, variance I).

    The smoothed risk of flatness measures and of stochastic classifiers. What it exceeds the risk by is
    `value_sensitivity`, of the same draws under the same key.

    Args:
        loss_fn: evaluation loss, `loss_fn(params, batch) -> (N,)`; it need not be differentiable.
        params: parameters w, a pytree of P floating numbers.
        batch: the sample s, a pytree whose leaves have leading axis N.
        key: key of the noise, which depends on it and on the structure of the perturbed parameters alone: calls with one key on
            several samples or losses see the same draws.
        variance: variance of every coordinate of the noise; a scalar, at least 0.
        num_noise: number of independent draws of Delta.
        antithetic: evaluates every draw at w + Delta and at w - Delta, which removes the terms odd in Delta.
        chunk_size: draws evaluated at a time, which bounds memory to so many times P (and the loss's own).
        subtree: perturbs only a part of the parameters: a path prefix such as `"layer_0"` or `"layer_0/kernel"`, a
            sequence of them, or a predicate on the path. Default: all.

    Returns:
        Mean over draws, with its standard error over them (NaN for one draw).

    Raises:
        ValueError: if `variance` is negative or not a scalar, `num_noise` or `chunk_size` < 1, `subtree` is not there, or
            `loss_fn` does not return shape (N,).
        TypeError: if a leaf of `params` is not real.

    Source: Langford and Caruana 2001; Neyshabur et al. 2017; spec INFO-24. Cost: 2 num_noise evaluations (antithetic).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> loss_fn = lambda w, x: x * w**2
        >>> estimate = curvature.perturbed_risk(loss_fn, jnp.float32(1.0), jnp.ones(1), jax.random.key(0), variance=0.04, num_noise=1000)
        >>> abs(float(estimate.value) - 1.04) < 4 * float(estimate.stderr)
        True
    """
    perturbed = _perturbed(loss_fn, params, batch, variance, antithetic, subtree)
    return average_over_draws(perturbed, key, positive_integer("num_noise", num_noise), chunk_size=chunk_size)


def value_sensitivity(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key[Array, ""],
    *,
    variance: ArrayLike,
    num_noise: int,
    antithetic: bool = True,
    chunk_size: int = 1,
    subtree: Subtree | None = None,
) -> Estimate:
    """Local value sensitivity, gamma(w, s) = E_Delta [L_s(w + Delta) - L_s(w)] with Delta ~ N(0, variance I).

    For small noise it is (variance / 2) tr grad^2 L_s(w) + O(variance^2). The noise depends on `key` and on the structure
    of `params` alone: two calls with one key, on S and on S', see the same draws, which cancels most of the noise of
    their difference.

    Args:
        loss_fn: evaluation loss, `loss_fn(params, batch) -> (N,)`; it need not be differentiable.
        params: parameters w, a pytree of P floating numbers.
        batch: the sample s, a pytree whose leaves have leading axis N.
        key: key of the noise.
        variance: variance of every coordinate of the noise, sum_t sigma_t^2; a scalar, at least 0.
        num_noise: number of independent draws of Delta.
        antithetic: evaluates every draw at w + Delta and at w - Delta, which removes the terms odd in Delta.
        chunk_size: draws evaluated at a time, which bounds memory to so many times P (and the loss's own).
        subtree: perturbs only a part of the parameters, as in `perturbed_risk`. Default: all.

    Returns:
        Mean over draws, with its standard error over them (NaN for one draw).

    Raises:
        ValueError: if `variance` is negative or not a scalar, `num_noise` or `chunk_size` < 1, `subtree` is not there, or
            `loss_fn` does not return shape (N,).
        TypeError: if a leaf of `params` is not real.

    Source: Neu et al. 2021; Wang and Mao 2022, Theorem 1; spec INFO-24. Cost: 2 num_noise + 1 evaluations (antithetic).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> loss_fn = lambda w, x: x * w**2
        >>> estimate = curvature.value_sensitivity(loss_fn, jnp.float32(1.0), jnp.ones(1), jax.random.key(0), variance=0.04, num_noise=1000)
        >>> abs(float(estimate.value) - 0.04) < 4 * float(estimate.stderr)
        True
    """
    num_noise = positive_integer("num_noise", num_noise)
    perturbed = _perturbed(loss_fn, params, batch, variance, antithetic, subtree)
    unperturbed = gradients.risk(loss_fn, _real(params), batch)
    return average_over_draws(lambda draw_key: perturbed(draw_key) - unperturbed, key, num_noise, chunk_size=chunk_size)


def _perturbed(
    loss_fn: LossFn, params: PyTree, batch: PyTree, variance: ArrayLike, antithetic: bool, subtree: Subtree | None
) -> Callable[[Array], Array]:
    """The risk under one draw of the noise, as a function of the draw's key."""
    std = std_of(variance)
    selected, rest = split(_real(params), subtree)

    def draw(draw_key: Array) -> Array:
        noise = gaussian_like(draw_key, selected, std)
        risk = gradients.risk(loss_fn, combine(optax.tree.add(selected, noise), rest), batch)
        if antithetic:
            risk = 0.5 * (risk + gradients.risk(loss_fn, combine(optax.tree.sub(selected, noise), rest), batch))
        return risk

    return draw


def _real(params: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: floating("params", leaf), params)
