"""Steepest descent on the exponential loss, and the inequalities by which its margin tends to the largest of its norm."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Num

from jaxgen._core.checks import checked, choice, floating, per_step, positive_integer, require
from jaxgen._core.scan import iterate
from jaxgen.implicit_bias.margins import products
from jaxgen.implicit_bias.norms import Norm

MODES = ("bounded", "normalized", "constant")


class SteepestTrace(NamedTuple):
    """A run of `steepest_descent_exp`, at the recorded steps t and at the last; sums run over the steps u < t.

    gamma_u is ||grad L(w_u)||_*, and no field grows as 1 / L does.

    Attributes:
        w: the last iterate w_T.
        bound: B = max_i ||z_i||_*.
        step: t, the last of them T.
        log_loss: log L(w_t).
        margin: min_i <w_t, z_i>.
        norm: ||w_t||.
        gradient: gamma_t / L(w_t), at least the maximal margin of the norm.
        gain: sum of eta_u gamma_u^2 / L(w_u).
        curvature: sum of eta_u^2 B^2 gamma_u^2 / 2.
        length: sum of eta_u gamma_u.
        energy: sum of eta_u gamma_u^2.
        gradient_sum: sum of gamma_u.
        log_time: log of the sum of eta_u, -inf at the start.
    """

    w: Array
    bound: Float[Array, ""]
    step: Int[Array, " R"]
    log_loss: Float[Array, " R"]
    margin: Float[Array, " R"]
    norm: Float[Array, " R"]
    gradient: Float[Array, " R"]
    gain: Float[Array, " R"]
    curvature: Float[Array, " R"]
    length: Float[Array, " R"]
    energy: Float[Array, " R"]
    gradient_sum: Float[Array, " R"]
    log_time: Float[Array, " R"]


class Inequality(NamedTuple):
    """lower <= upper, elementwise."""

    lower: Float[Array, " R"]
    upper: Float[Array, " R"]


class MarginCertificates(NamedTuple):
    """The inequalities of the proof that steepest descent maximizes the margin; made by `margin_certificates`.

    With w = w_t, A the sum of eta_u gamma_u^2 / L(w_u), C that of eta_u^2 B^2 gamma_u^2 / 2, S that of eta_u gamma_u:

    Attributes:
        loss: log L(w) <= log L(w_0) - A + C (8.29).
        margin: A - C - log L(w_0) <= min_i <w, z_i> (8.31).
        norm: ||w|| <= ||w_0|| + S (8.32).
        normalized_margin: A / (||w_0|| + S) - (C + log L(w_0)) / ||w|| <= min_i <w, z_i> / ||w|| (8.33).
        limit: the same with gamma S in place of A (8.34).
        descent: log L(w) <= log L(w') - (A - A') / 2, with w' the iterate recorded before; so the loss falls.
        energy: sum of eta_u gamma_u^2 <= 2 L(w_0).
        rate: log L(w) <= -log(1 / L(w_0) + gamma^2 sum of eta_u / 2).
    """

    loss: Inequality
    margin: Inequality
    norm: Inequality
    normalized_margin: Inequality
    limit: Inequality
    descent: Inequality
    energy: Inequality
    rate: Inequality


class _Point(NamedTuple):
    log_loss: Array
    margin: Array
    norm: Array
    gradient: Array
    direction: Array


class _Sums(NamedTuple):
    gain: Array
    curvature: Array
    length: Array
    energy: Array
    gradient_sum: Array
    log_time: Array


def steepest_descent_exp(
    z: Num[Array, "n ..."],
    norm: Norm,
    w0: Num[Array, "..."],
    num_steps: int,
    *,
    learning_rate: ArrayLike | None = None,
    mode: str = "bounded",
    every: int = 1,
) -> SteepestTrace:
    r"""Steepest descent on L(w) = sum_i exp(-<w, z_i>), with what the proof of its margin needs.

    w_{t+1} = w_t + eta_t v_t, where v_t minimizes <grad L(w_t), v> + ||v||^2 / 2. Only eta_t L(w_t) and grad L / L are
    formed, so that nothing overflows where 1 / (B^2 L(w_t)) does.

    Args:
        z: rows y_i x_i, vectors or matrices, not all zero; they may be inseparable.
        norm: the norm of the descent.
        w0: w_0, of the shape of one row.
        num_steps: T, at least 0.
        learning_rate: a positive scalar, or one a step; what it is depends on `mode`.
        mode: `"bounded"`: eta_t = min(learning_rate, 1 / (B^2 L(w_t))) with B = max_i ||z_i||_*, as the theorem asks; default
            1 / (B^2 L(w_0)), a constant step size. `"normalized"`: eta_t = learning_rate / (B^2 L(w_t)), default 1, by which
            the margin grows as a power of t rather than of log t; no larger factor keeps the inequalities, and since the
            theorem needs bounded steps, in norms with corners the margin may stay below the largest, by a part that falls with
            the factor. `"constant"`: eta_t = learning_rate, with the default of `"bounded"`; above it nothing is promised.
        every: record at t = 0, every, 2 every, ..., and at T; sums are of all steps.

    Returns:
        The trace. Directional convergence is slow under bounded steps: the margin's gap falls as 1 / log t.

    Raises:
        ValueError: if shapes do not fit, a size or `mode` is not right, or z is all zero or a learning rate is not positive
            (NaN results when traced).

    Source: Gunasekar, Lee, Soudry and Srebro 2018; Theory of Deep Learning, theorem 8.3.2, with its step size misprinted
        there; spec BIAS-26, BIAS-28. Cost: O(T n d) and the T directions of steepest descent.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> z, norm = jnp.array([[2.0, 0.5], [0.5, 2.0]]), implicit_bias.lp_norm(1)
        >>> trace = implicit_bias.steepest_descent_exp(z, norm, jnp.zeros(2), 200, mode="normalized")
        >>> round(float(trace.margin[-1] / trace.norm[-1]), 2)
        1.25
    """
    choice("mode", mode, MODES)
    num_steps = positive_integer("num_steps", num_steps, at_least=0)
    z, w0 = _rows(z), floating("w0", w0)
    dtype = jnp.result_type(z, w0)
    z, w0 = z.astype(dtype), w0.astype(dtype)
    start = _at(z, norm, w0)
    bound = jax.vmap(norm.dual)(z).max()
    bound = checked(bound, (bound > 0, "z must not be all zero"))
    largest = bound**-2
    log_rates = _log_rates(learning_rate, mode, num_steps, jnp.log(largest) - start.log_loss).astype(dtype)

    def step(state, t):
        w, sums = state
        point = _at(z, norm, w)
        if mode == "normalized":
            scaled = largest * jnp.exp(log_rates[t])
        else:
            scaled = jnp.exp(log_rates[t] + point.log_loss)
            scaled = jnp.minimum(scaled, largest) if mode == "bounded" else scaled
        return (w + scaled * norm.steepest(-point.direction), _added(sums, point, scaled, bound)), point

    zero = jnp.zeros((), dtype)
    state = w0, _Sums(zero, zero, zero, zero, zero, jnp.full((), -math.inf, dtype))
    (w, sums), rows = iterate(step, state, num_steps, record=lambda state, point, t: (t, _scalars(point), state[1]), every=every)
    last = jnp.int32(num_steps), _scalars(_at(z, norm, w)), sums
    steps, points, sums = jax.tree.map(jnp.append, rows, last)
    return SteepestTrace(w, bound, steps, *points, *sums)


def _rows(z: Num[Array, "n ..."]) -> Float[Array, "n ..."]:
    z = floating("z", z)
    require(z.ndim >= 2 and z.size > 0, f"z must hold examples as rows, and at least one; got shape {z.shape}")
    return z


def _log_rates(learning_rate: ArrayLike | None, mode: str, num_steps: int, log_default: Array) -> Float[Array, " T"]:
    if learning_rate is None:
        return jnp.broadcast_to(jnp.zeros_like(log_default) if mode == "normalized" else log_default, (num_steps,))
    rates = per_step("learning_rate", learning_rate, num_steps)
    return jnp.log(checked(rates, (rates > 0, f"learning_rate must be positive; got {learning_rate}")))


def _at(z: Array, norm: Norm, w: Array) -> _Point:
    """The loss at w; its direction is -grad L / L."""
    m = products(z, w)
    direction = jnp.tensordot(jax.nn.softmax(-m), z, 1)
    return _Point(jax.nn.logsumexp(-m), m.min(), norm.value(w), norm.dual(direction), direction)


def _scalars(point: _Point) -> tuple[Array, Array, Array, Array]:
    return point.log_loss, point.margin, point.norm, point.gradient


def _added(sums: _Sums, point: _Point, scaled: Array, bound: Array) -> _Sums:
    """The sums with a step of eta L(w) = scaled."""
    moved, loss = scaled * point.gradient, jnp.exp(point.log_loss)
    return _Sums(
        gain=sums.gain + moved * point.gradient,
        curvature=sums.curvature + 0.5 * (moved * bound) ** 2,
        length=sums.length + moved,
        energy=sums.energy + moved * point.gradient * loss,
        gradient_sum=sums.gradient_sum + point.gradient * loss,
        log_time=jnp.logaddexp(sums.log_time, jnp.log(scaled) - point.log_loss),
    )


def margin_certificates(trace: SteepestTrace, gamma: ArrayLike | None = None) -> MarginCertificates:
    """Both sides of every inequality of the proof that steepest descent maximizes the margin, at every recorded step but the first.

    They hold for steps of at most 1 / (B^2 L(w_t)), up to the rounding of sums of t terms. Dividing by norms is safe whatever
    the sign of log L(w_0): gains, which are positive, are divided by the bound on ||w_t||, the rest by ||w_t|| itself.

    Args:
        trace: by `steepest_descent_exp`.
        gamma: maximal margin of the norm, used by `limit` and `rate`. Default: the largest normalized margin of the trace,
            which is no larger, so that both hold a fortiori.

    Returns:
        The inequalities, each a pair of (R - 1,) arrays; those with a quotient are NaN where w_t = 0.

    Source: Theory of Deep Learning, (8.28) to (8.34) and proposition 8.3.4, the latter in quantities; spec BIAS-26, BIAS-28.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> trace = implicit_bias.steepest_descent_exp(jnp.array([[2.0, 0.5]]), implicit_bias.lp_norm(2), jnp.zeros(2), 100)
        >>> found = implicit_bias.margin_certificates(trace)
        >>> bool((found.normalized_margin.lower <= found.normalized_margin.upper).all())
        True
    """
    start, largest = trace.log_loss[0], trace.norm[0] + trace.length[1:]
    loss, margin, norm, gain = (values[1:] for values in (trace.log_loss, trace.margin, trace.norm, trace.gain))
    normalized, lost = margin / norm, trace.curvature[1:] + start
    if gamma is None:
        gamma = jnp.max(normalized, initial=0, where=norm > 0)
    gamma = jnp.asarray(gamma, loss.dtype)
    log_speed = 2 * jnp.log(gamma) - math.log(2) + trace.log_time[1:]
    return MarginCertificates(
        loss=Inequality(loss, start - gain + trace.curvature[1:]),
        margin=Inequality(gain - lost, margin),
        norm=Inequality(norm, largest),
        normalized_margin=Inequality(gain / largest - lost / norm, normalized),
        limit=Inequality(gamma * trace.length[1:] / largest - lost / norm, normalized),
        descent=Inequality(loss, trace.log_loss[:-1] - 0.5 * jnp.diff(trace.gain)),
        energy=Inequality(trace.energy[1:], jnp.full_like(loss, 2) * jnp.exp(start)),
        rate=Inequality(loss, -jnp.logaddexp(-start, log_speed)),
    )


def margin_gap(w: Num[Array, "..."], z: Num[Array, "n ..."], norm: Norm) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """An interval that holds the maximal margin: min_i <w, z_i> / ||w|| <= gamma <= ||grad L(w)||_* / L(w).

    Weak duality: with lambda the softmax of -<w, z_i>, the right side is ||sum_i lambda_i z_i||_*, and gamma is its minimum
    over all weights lambda >= 0 that sum to one.

    Args:
        w: any point, of the shape of one row.
        z: rows y_i x_i, vectors or matrices.
        norm: of w.

    Returns:
        Lower and upper end; at w = 0, which is in the unit ball, the lower one is 0.

    Raises:
        ValueError: if shapes do not fit.

    Source: Theory of Deep Learning, proposition 8.3.3; spec BIAS-27. Cost: two products with z.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> z = jnp.array([[2.0, 0.5], [0.5, 2.0]])
        >>> lower, upper = implicit_bias.margin_gap(jnp.array([1.0, 1.0]), z, implicit_bias.lp_norm(1))
        >>> float(lower), float(upper)
        (1.25, 1.25)
    """
    z, w = _rows(z), floating("w", w)
    point = _at(z, norm, w)
    nonzero = point.norm > 0
    return jnp.where(nonzero, point.margin / jnp.where(nonzero, point.norm, 1), 0), point.gradient
