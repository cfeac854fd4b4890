r"""How far parameters can be moved, at random or in the worst direction, before the risk rises by a given amount."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Bool, Float, Key, PyTree

from jaxgen._core.checks import floating, positive_integer, require
from jaxgen._core.monte_carlo import gaussian_like
from jaxgen.bounds._inputs import at_least, positive

Risk = Callable[[PyTree], Array]

BRACKET = (1e-5, 1e2)
EPSILON = 1e-3


class PerturbationScale(NamedTuple):
    """The largest perturbation that a net bears.

    Attributes:
        value: its scale; NaN where none was found.
        found: whether the risk rises by the target between the ends of the bracket.
    """

    value: Float[Array, ""]
    found: Bool[Array, ""]


def perturbed(key: Key[Array, ""], params: PyTree, sigma: ArrayLike, *, magnitude_aware: bool = False, epsilon: ArrayLike = EPSILON) -> PyTree:
    r"""Parameters with Gaussian noise, $w + u$ with $u_i \sim N(0, \sigma^2)$, or $N(0, \sigma^2 w_i^2 + \epsilon^2)$.

    $\sigma$ is a standard deviation.

    Args:
        key: PRNG key.
        params: parameters w, a pytree of floating leaves.
        sigma: $\sigma$, a scalar of at least 0.
        magnitude_aware: whether noise grows with the parameter it is on.
        epsilon: smallest standard deviation of magnitude-aware noise, at least 0.

    Returns:
        A pytree like `params`.

    Raises:
        ValueError: if `sigma` or `epsilon` is negative (NaN results when traced).
        TypeError: if a leaf of `params` is not real.

    Source: Jiang et al. 2020, appendix C.5; spec GEN-41.
    """
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    sigma, epsilon = at_least("sigma", sigma, 0), at_least("epsilon", epsilon, 0)
    weights, unravel = ravel_pytree(params)
    noise = ravel_pytree(gaussian_like(key, params, 1.0))[0]
    return unravel(weights + _deviations(weights, sigma.astype(weights.dtype), magnitude_aware, epsilon.astype(weights.dtype), jnp.hypot) * noise)


def perturbation_sigma(
    key: Key[Array, ""],
    risk_fn: Risk,
    params: PyTree,
    *,
    target: ArrayLike = 0.1,
    magnitude_aware: bool = False,
    num_draws: int = 10,
    num_bisections: int = 12,
    epsilon: ArrayLike = EPSILON,
    bracket: tuple[float, float] = BRACKET,
) -> PerturbationScale:
    r"""The largest $\sigma$ with $E_u \hat L(w + u) \le \hat L(w) + $ target, under the noise of `perturbed`.

    The mean is over the same draws at every $\sigma$. Bisection of $\ln \sigma$ takes the risk to grow with $\sigma$.

    Args:
        key: PRNG key.
        risk_fn: $\hat L$, a function of parameters to a number; it need not be differentiable.
        params: parameters w, a pytree of P floating numbers.
        target: rise of the risk, positive.
        magnitude_aware: as in `perturbed`.
        num_draws: draws of the noise.
        num_bisections: halvings of the bracket in $\ln \sigma$, which leave a relative error of 16 / 2^num_bisections.
        epsilon: as in `perturbed`.
        bracket: smallest and largest $\sigma$ that are considered.

    Returns:
        `PerturbationScale`; NaN and not found where the risk has risen by the target at the lower end, not by it at the upper one, or
        is NaN.

    Raises:
        ValueError: if `target` is not positive or `epsilon` negative (NaN results when traced), a number is below 1, the bracket is not
            0 < low < high, or `risk_fn` returns no single number.
        TypeError: if a leaf of `params` is not real.

    Source: Neyshabur et al. 2017; Jiang et al. 2020; spec GEN-41. Cost: 1 + num_draws num_bisections evaluations; memory
    num_draws P.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> found = bounds.perturbation_sigma(jax.random.key(0), lambda w: jnp.sum(w**2) / 2, jnp.zeros(20), num_draws=1000)
        >>> round(float(found.value), 2)  # the root of 2 target / 20
        0.1
    """
    weights, unravel, risk, limit, epsilon = _problem(risk_fn, params, target, epsilon)
    keys = jax.random.split(key, positive_integer("num_draws", num_draws))
    noise = jax.vmap(lambda key: gaussian_like(key, weights, 1.0))(keys)

    def rises_little(sigma: Array) -> Array:
        deviations = _deviations(weights, sigma, magnitude_aware, epsilon, jnp.hypot)
        return jax.lax.map(lambda draw: risk(unravel(weights + deviations * draw)), noise).mean() <= limit

    return _largest(rises_little, bracket, num_bisections, weights)


def worst_case_alpha(
    key: Key[Array, ""],
    loss_fn: Risk,
    risk_fn: Risk,
    params: PyTree,
    *,
    target: ArrayLike = 0.1,
    magnitude_aware: bool = False,
    num_steps: int = 5,
    num_bisections: int = 12,
    epsilon: ArrayLike = EPSILON,
    bracket: tuple[float, float] = BRACKET,
) -> PerturbationScale:
    r"""The largest $\alpha$ with $\hat L(w + u) \le \hat L(w) + $ target for the worst u found with $|u_i| \le \alpha$, or $\alpha |w_i| + \epsilon$.

    The worst u is looked for by signed gradient ascent of a differentiable loss, projected on the box, in steps of 2 / num_steps
    of its half width from a random point that is the same in every box: what is found is at least the true value.

    Args:
        key: PRNG key of the point at which the ascent starts.
        loss_fn: differentiable function of parameters to a number, which is ascended.
        risk_fn: $\hat L$, a function of parameters to a number.
        params: parameters w, a pytree of floating leaves.
        target: rise of the risk, positive.
        magnitude_aware: whether the box is wider for larger parameters.
        num_steps: gradient steps of every ascent.
        num_bisections: as in `perturbation_sigma`.
        epsilon: smallest half width of a magnitude-aware box, at least 0.
        bracket: smallest and largest $\alpha$ that are considered.

    Returns:
        `PerturbationScale`, as of `perturbation_sigma`.

    Raises:
        ValueError: as `perturbation_sigma`.
        TypeError: if a leaf of `params` is not real.

    Source: Keskar et al. 2017; Jiang et al. 2020; spec GEN-41. Cost: num_bisections (num_steps gradients and an evaluation).
    """
    weights, unravel, risk, limit, epsilon = _problem(risk_fn, params, target, epsilon)
    steps = positive_integer("num_steps", num_steps)
    start = jax.random.uniform(key, weights.shape, weights.dtype, -1, 1)
    slope = jax.grad(lambda flat: loss_fn(unravel(flat)))

    def rises_little(alpha: Array) -> Array:
        width = _deviations(weights, alpha, magnitude_aware, epsilon, jnp.add)

        def step(_: int, place: Array) -> Array:
            return jnp.clip(place + 2 / steps * jnp.sign(slope(weights + width * place)), -1, 1)

        return risk(unravel(weights + width * jax.lax.fori_loop(0, steps, step, start))) <= limit

    return _largest(rises_little, bracket, num_bisections, weights)


def _deviations(weights: Array, scale: Array, magnitude_aware: bool, epsilon: Array, added: Callable[[Array, Array], Array]) -> Array:
    return added(scale * jnp.abs(weights), epsilon) if magnitude_aware else jnp.broadcast_to(scale, weights.shape)


def _problem(risk_fn: Risk, params: PyTree, target: ArrayLike, epsilon: ArrayLike) -> tuple[Array, Callable[[Array], PyTree], Risk, Array, Array]:
    """Flat parameters and the way back, the risk, the value that it may rise to, and epsilon."""
    weights, unravel = ravel_pytree(jax.tree.map(lambda leaf: floating("params", leaf), params))

    def risk(params: PyTree) -> Array:
        value = floating("risk_fn", risk_fn(params))
        require(value.ndim == 0, f"risk_fn must return a single number; got shape {value.shape}")
        return value

    target = positive("target", target)
    start = risk(unravel(weights))
    limit = start + target.astype(start.dtype)
    return weights, unravel, risk, limit, at_least("epsilon", epsilon, 0).astype(weights.dtype)


def _largest(rises_little: Callable[[Array], Array], bracket: tuple[float, float], num_bisections: int, like: Array) -> PerturbationScale:
    """Bisection in logarithms; an end of the bracket that never moved is no solution."""
    low, high = bracket
    require(0 < low < high < math.inf, f"bracket must be 0 < low < high; got {bracket}")
    ends = jnp.log(jnp.array([low, high], like.dtype))

    def halve(_: int, ends: Array) -> Array:
        middle = ends.mean()
        fits = rises_little(jnp.exp(middle))
        return jnp.stack([jnp.where(fits, middle, ends[0]), jnp.where(fits, ends[1], middle)])

    last = jax.lax.fori_loop(0, positive_integer("num_bisections", num_bisections), halve, ends)
    found = (last[0] > ends[0]) & (last[1] < ends[1])
    return PerturbationScale(jnp.where(found, jnp.exp(last[0]), jnp.nan), found)
