r"""Spectral filters: what gradient flow, gradient descent, momentum and ridge do to each eigenmode of a least-squares problem.

For the objective $\frac12 \lVert u - y \rVert^2$ of a model that is linear in its parameters, with kernel $K = \sum_i \lambda_i v_i v_i^\top$
(for $u = X w$, $K = X X^\top$), every mode goes its own way: $v_i^\top (u - y) = \rho(\lambda_i) \, v_i^\top (u_0 - y)$, and the parameters
move by $X^\top \sum_i g(\lambda_i) v_i v_i^\top (y - u_0)$ with $g(\lambda) = (1 - \rho(\lambda)) / \lambda$, which is finite at $\lambda = 0$.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Num

from jaxgen._core.checks import checked, floating, is_traced, require

NUM_BITS = 31
"""Binary digits of a number of steps."""


class SpectralFilter(NamedTuple):
    """What is done to modes with the eigenvalues that a filter was asked about.

    Attributes:
        fitted: 1 - residual, the part of a mode that has been fitted.
        residual: factor of the initial residual that is left, accurate where it is small.
        gain: fitted / eigenvalue, and its limit at eigenvalue zero.
    """

    fitted: Float[Array, "*t n"]
    residual: Float[Array, "*t n"]
    gain: Float[Array, "*t n"]


def gradient_flow_filter(eigenvalues: Float[ArrayLike, " n"], t: Float[ArrayLike, "*t"], *, ridge: ArrayLike = 0.0) -> SpectralFilter:
    r"""Gradient flow for a time t: $\rho = e^{-\lambda t}$, $g = (1 - e^{-\lambda t}) / \lambda$, which is t at $\lambda = 0$.

    With a ridge $r$, the objective is $\frac12 \lVert u - y \rVert^2 + \frac r2 \lVert w - w_0 \rVert^2$ and $g$ is taken at $\lambda + r$;
    for $t = \infty$ this is ridge regression from $w_0$.

    Args:
        eigenvalues: of the kernel, at least 0.
        t: times, at least 0, of any shape; may be infinite, where a zero mode's gain is.
        ridge: r, a scalar of at least 0.

    Returns:
        `SpectralFilter` of arrays of shape `t.shape + (n,)`.

    Raises:
        ValueError: if an eigenvalue, a time or `ridge` is negative (NaN results when traced).

    Source: Theory of Deep Learning, section 9.3; spec LS-1, NTK-8.
    """
    eigenvalues, ridge = _eigenvalues(eigenvalues), _scalar("ridge", ridge)
    t = floating("t", t)
    t = checked(t, (t >= 0, f"t must be at least 0{_found(t)}"))
    ridge = checked(ridge, (ridge >= 0, f"ridge must be at least 0{_found(ridge)}"))
    return _flow(eigenvalues, t, ridge)


def gradient_descent_filter(
    eigenvalues: Float[ArrayLike, " n"],
    learning_rate: ArrayLike,
    num_steps: Num[ArrayLike, "*t"],
    *,
    momentum: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
) -> SpectralFilter:
    r"""Gradient descent: $\rho = (1 - \eta\lambda)^k$ and $g = (1 - \rho) / \lambda$, which is $\eta k$ at $\lambda = 0$.

    The steps are not counted one by one, so that any number costs the same, and the step size may be one that diverges.
    With heavy-ball momentum, $v \leftarrow \beta v + \nabla$, $w \leftarrow w - \eta v$ from $v = 0$ (`optax.sgd`), each mode is a linear
    recursion whose matrix is raised to the power $k$.

    Args:
        eigenvalues: of the kernel, at least 0.
        learning_rate: eta > 0, a scalar.
        num_steps: k, whole numbers of at least 0 and below 2^31, of any shape; may be traced.
        momentum: beta in [0, 1), a scalar; a concrete 0 takes the closed form.
        ridge: as in `gradient_flow_filter`.

    Returns:
        `SpectralFilter` of arrays of shape `num_steps.shape + (n,)`.

    Raises:
        ValueError: if an eigenvalue or `ridge` is negative, `learning_rate` is not positive, `momentum` is outside [0, 1) or
            `num_steps` are not whole numbers in the range (NaN results when traced).

    Source: Theory of Deep Learning, equations (3.1) to (3.3); spec LS-1, NTK-7. Cost: O(1) for each number without momentum,
    31 products of 3 x 3 matrices with it.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import optimization
        >>> found = optimization.gradient_descent_filter(jnp.array([1.0, 0.0]), learning_rate=0.1, num_steps=10)
        >>> [round(float(x), 6) for x in found.fitted], [round(float(x), 6) for x in found.gain]
        ([0.651322, 0.0], [0.651322, 1.0])
    """
    eigenvalues, ridge = _eigenvalues(eigenvalues), _scalar("ridge", ridge)
    plain = is_zero(momentum)
    rate, momentum = _scalar("learning_rate", learning_rate), _scalar("momentum", momentum)
    steps, odd = _steps(num_steps)
    rate = checked(
        rate,
        (rate > 0, f"learning_rate must be positive{_found(rate)}"),
        ((momentum >= 0) & (momentum < 1), f"momentum must be in [0, 1){_found(momentum)}"),
    )
    ridge = checked(ridge, (ridge >= 0, f"ridge must be at least 0{_found(ridge)}"))
    if plain:
        return _descent(eigenvalues, rate, steps, odd, ridge)
    counts = jnp.where(jnp.isnan(steps), 0, jnp.asarray(num_steps)).astype(jnp.int32)
    return _with_momentum(eigenvalues, rate, momentum, counts, ridge + 0 * steps[..., None])


def ridge_filter(eigenvalues: Float[ArrayLike, " n"], ridge: Float[ArrayLike, "*t"]) -> SpectralFilter:
    r"""Ridge regression: $\rho = r / (\lambda + r)$, $g = 1 / (\lambda + r)$.

    Args:
        eigenvalues: of the kernel, at least 0.
        ridge: r > 0, of any shape.

    Returns:
        `SpectralFilter` of arrays of shape `ridge.shape + (n,)`.

    Raises:
        ValueError: if an eigenvalue is negative or `ridge` is not positive (NaN results when traced).

    Source: Hoerl and Kennard 1970; spec NTK-22.
    """
    eigenvalues, ridge = _eigenvalues(eigenvalues), floating("ridge", ridge)
    ridge = checked(ridge, (ridge > 0, f"ridge must be positive{_found(ridge)}"))[..., None]
    return SpectralFilter(eigenvalues / (eigenvalues + ridge), ridge / (eigenvalues + ridge), 1 / (eigenvalues + ridge))


def training_filter(
    eigenvalues: Float[ArrayLike, " n"],
    *,
    t: Float[ArrayLike, "*t"] = math.inf,
    learning_rate: ArrayLike | None = None,
    num_steps: Num[ArrayLike, "*t"] | None = None,
    momentum: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
    loss_scale: ArrayLike = 1.0,
) -> SpectralFilter:
    r"""The filter of gradient flow for a time t, or of `num_steps` steps of gradient descent where those are given.

    For the objective $s \, (\frac12 \lVert u - y \rVert^2 + \frac r2 \lVert w - w_0 \rVert^2)$, whose scale s is one of time, or of step size.

    Args:
        eigenvalues: of the kernel, at least 0.
        t: as in `gradient_flow_filter`; only without `num_steps`.
        learning_rate: as in `gradient_descent_filter`; only with `num_steps`.
        num_steps: as in `gradient_descent_filter`.
        momentum: as in `gradient_descent_filter`; only with `num_steps`.
        ridge: r of at least 0, a scalar.
        loss_scale: s > 0, a scalar: 1 for a sum over examples, 1/N for a mean.

    Returns:
        `SpectralFilter` of arrays of shape `t.shape + (n,)` (or `num_steps.shape + ...`).

    Raises:
        ValueError: if only one of `learning_rate` and `num_steps` is given, or `t` beside them, or `momentum` without them;
            if a value is out of its range (NaN results when traced).

    Source: spec NTK-2, NTK-7, NTK-22.
    """
    scale = _scalar("loss_scale", loss_scale)
    scale = checked(scale, (scale > 0, f"loss_scale must be positive{_found(scale)}"))
    require((learning_rate is None) == (num_steps is None), "learning_rate and num_steps belong together; got one of them")
    if learning_rate is None or num_steps is None:
        require(is_zero(momentum), "momentum needs learning_rate and num_steps")
        return gradient_flow_filter(eigenvalues, scale * floating("t", t), ridge=ridge)
    require(not is_traced(t) and bool(np.all(np.isinf(np.asarray(t)))), "t is the time of gradient flow; give t, or learning_rate and num_steps")
    return gradient_descent_filter(eigenvalues, scale * _scalar("learning_rate", learning_rate), num_steps, momentum=momentum, ridge=ridge)


def is_zero(value: ArrayLike) -> bool:
    """Whether a value is known to be zero when a program is traced.

    Args:
        value: a scalar.
    """
    return not is_traced(value) and bool(np.all(np.asarray(value) == 0))


@jax.jit
def _flow(eigenvalues: Array, t: Array, ridge: Array) -> SpectralFilter:
    t, rates = t[..., None], eigenvalues + ridge
    zero, forever = rates == 0, jnp.isinf(t)
    t = jnp.where(forever, 0.0, t)
    exponent, inverse = rates * t, 1 / jnp.where(zero, 1.0, rates)
    small = exponent < _small(exponent)
    series = t * (1 - jnp.where(small, exponent, 0.0) / 2)
    gain = jnp.where(small, series, -jnp.expm1(-exponent) * inverse)
    decay = jnp.where(forever, jnp.where(zero, 1.0, 0.0), jnp.exp(-exponent))
    return _filter(eigenvalues, ridge, decay, jnp.where(forever, jnp.where(zero, jnp.inf, inverse), gain))


@jax.jit
def _descent(eigenvalues: Array, rate: Array, steps: Array, odd: Array, ridge: Array) -> SpectralFilter:
    rates = eigenvalues + ridge
    steps, odd = steps.astype(rates.dtype)[..., None], odd[..., None]
    x = rate * rates
    residual = _power(x, steps, odd)
    small = x * steps < _small(x)
    series = rate * steps * (1 - (steps - 1) * x / 2)
    gain = jnp.where(small, series, _one_minus_power(x, steps, residual) / jnp.where(small, 1.0, rates))
    return _filter(eigenvalues, ridge, residual, gain)


@jax.jit
def _with_momentum(eigenvalues: Array, rate: Array, momentum: Array, counts: Array, ridge: Array) -> SpectralFilter:
    rates = jnp.broadcast_to(eigenvalues + ridge, counts.shape + eigenvalues.shape)
    return _filter(eigenvalues, ridge, *_momentum(rates, rate, momentum, jnp.broadcast_to(counts[..., None], rates.shape)))


def _filter(eigenvalues: Array, ridge: Array, decay: Array, gain: Array) -> SpectralFilter:
    """From the decay of the modes at lambda + r to what is left of the residual, (r + lambda decay) / (lambda + r)."""
    rates = eigenvalues + ridge
    residual = jnp.where(rates == 0, decay, (ridge + eigenvalues * decay) / jnp.where(rates == 0, 1.0, rates))
    fitted = eigenvalues * jnp.where((eigenvalues == 0) & jnp.isinf(gain), 0.0, gain)
    return SpectralFilter(fitted, residual, gain)


def _power(x: Array, steps: Array, odd: Array) -> Array:
    """(1 - x)^k, accurate for small x."""
    below = x < 1
    log = jnp.where(below, jnp.log1p(-jnp.where(below, x, 0.0)), jnp.log(jnp.where(x > 1, x - 1, 1.0)))
    power = jnp.where(odd & ~below, -1.0, 1.0) * jnp.exp(steps * log)
    return jnp.where(x == 1, 1.0 * (steps == 0), power)


def _one_minus_power(x: Array, steps: Array, power: Array) -> Array:
    below = x < 1
    return jnp.where(below, -jnp.expm1(steps * jnp.log1p(-jnp.where(below, x, 0.0))), 1 - power)


def _momentum(rates: Array, rate: Array, momentum: Array, counts: Array) -> tuple[Array, Array]:
    """Residual and gain by powers of (c, u, a) -> (c - eta z u', u', a + eta u') with u' = beta u + c, from (1, 0, 0)."""

    rates = rates.astype(jnp.result_type(rates, rate, momentum))
    multiply = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    def of_mode(z, count):
        u = jnp.stack([jnp.ones_like(z), momentum + 0 * z, jnp.zeros_like(z)])
        unit = jnp.eye(3, dtype=z.dtype)
        step = jnp.stack([unit[0] - rate * z * u, u, unit[2] + rate * u])

        def bit(carry, place):
            power, square = carry
            taken = (count >> place) & 1 == 1
            return (jnp.where(taken, multiply(square, power), power), multiply(square, square)), None

        power = jax.lax.scan(bit, (unit, step), jnp.arange(NUM_BITS))[0][0]
        return power[0, 0], power[2, 0]

    residual, gain = jax.vmap(of_mode)(rates.ravel(), counts.ravel())
    return residual.reshape(rates.shape), gain.reshape(rates.shape)


def _steps(num_steps: Num[ArrayLike, "*t"]) -> tuple[Array, Array]:
    counts = jnp.asarray(num_steps)
    steps = floating("num_steps", counts)
    whole = (steps == jnp.floor(steps)) & (steps >= 0) & (steps < 2.0**NUM_BITS)
    odd = counts.astype(jnp.int32) % 2 == 1 if jnp.issubdtype(counts.dtype, jnp.integer) else steps % 2 == 1
    return checked(steps, (whole, f"num_steps must be whole numbers of at least 0 and below 2^{NUM_BITS}{_found(steps)}")), odd


def _small(x: Array) -> float:
    """Below this, three terms of a series leave an error of a rounding."""
    return float(jnp.finfo(x.dtype).eps) ** 0.5


def _eigenvalues(eigenvalues: Float[ArrayLike, " n"]) -> Array:
    eigenvalues = floating("eigenvalues", eigenvalues)
    require(eigenvalues.ndim == 1, f"eigenvalues must be a vector; got shape {eigenvalues.shape}")
    return checked(eigenvalues, (eigenvalues >= 0, f"eigenvalues must be at least 0{_found(eigenvalues)}"))


def _scalar(name: str, value: ArrayLike) -> Float[Array, ""]:
    value = floating(name, value)
    require(value.ndim == 0, f"{name} must be a scalar; got shape {value.shape}")
    return value


def _found(array: Array) -> str:
    return "" if is_traced(array) or array.size == 0 else f"; got {array}" if array.size == 1 else f"; its smallest value is {array.min()}"
