r"""Bounds for one hypothesis that was fixed before the sample was seen, such as a classifier on held-out examples (GEN-1)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from jaxgen._core.checks import checked, choice, floating
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least, failure_probability, positive, unit_interval
from jaxgen.bounds.concentration import hoeffding_epsilon
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES

BOUNDED_LOSS = "The loss takes values in [0, 1]."
ZERO_ONE_LOSS = "The loss is 0 or 1 on every example."
FIXED_HYPOTHESIS = "The hypothesis does not depend on the n examples."

NODES, WEIGHTS = (np.asarray(column) for column in np.polynomial.legendre.leggauss(48))
"""Of the Gauss-Legendre rule that binomial tails are integrated with."""

MOST_STEPS = 64
"""Of Newton's method; about six are taken."""


def hoeffding_penalty(n: Scalar, delta: Scalar, *, loss_range: Scalar = 1.0) -> Float[Array, "..."]:
    r"""What Hoeffding's inequality adds to the empirical risk of a fixed hypothesis: $R \sqrt{\ln(1/\delta) / (2 n)}$.

    With probability at least $1 - \delta$ over n independent examples, $L_D(h) \le \hat L_S(h)$ plus this. Arguments are
    elementwise.

    Args:
        n: number of examples, which the hypothesis must not depend on.
        delta: probability of failure, in (0, 1).
        loss_range: length R of the interval that the loss lies in.

    Returns:
        The penalty, in units of the loss.

    Raises:
        ValueError: if `n` < 1, `delta` is outside (0, 1) or `loss_range` <= 0.

    Example:
        >>> from jaxgen import bounds
        >>> round(float(bounds.hoeffding_penalty(500, 0.05)), 4)
        0.0547

    Source: Theory of Deep Learning, section 5.1, with the constant of Hoeffding 1963; GEN-1.
    """
    return hoeffding_epsilon(delta, n, positive("loss_range", loss_range), two_sided=False)


def binomial_tail_inverse(k: Scalar, n: Scalar, delta: Scalar) -> Float[Array, "..."]:
    r"""The Clopper-Pearson upper limit: the p at which n trials have at most k successes with probability exactly $\delta$.

    $\Pr[\mathrm{Bin}(n, p) \le k] = \delta$, that is $p = I^{-1}_{1 - \delta}(k + 1, n - k)$, and 1 where k = n. With
    probability at least $1 - \delta$ over n independent examples, a fixed classifier that errs on k of them has a risk of at
    most p; no limit of that kind is smaller on every sample. Arguments are elementwise; k may be any real number in [0, n].

    Args:
        k: number of errors.
        n: number of examples, which the classifier must not depend on.
        delta: probability of failure, in (0, 1).

    Returns:
        The limit; its relative error is below 1e-10 in float64 and 1e-5 in float32 up to n = 10^6. Differentiable in all
        arguments.

    Raises:
        ValueError: if `n` < 1, `k` is outside [0, n] or `delta` outside (0, 1).

    Example:
        Ten errors in five hundred examples:

        >>> from jaxgen import bounds
        >>> round(float(bounds.binomial_tail_inverse(10, 500, 0.05)), 4)
        0.0337

    Source: Clopper and Pearson 1934; Langford 2005, Theorem 3.3; GEN-1. Cost: about 300 exponentials an element.
    """
    k, n, delta = floating("k", k), at_least("n", n, 1), unit_interval("delta", delta, ends=False)
    k, n, delta = jnp.broadcast_arrays(*(array.astype(jnp.result_type(k, n, delta)) for array in (k, n, delta)))
    k = checked(k, ((k >= 0) & (k <= n), "k must be in [0, n], the number of errors in n examples"))
    sure = k >= n
    k, rest = jnp.where(sure, 0.0, k), jnp.where(sure, n, n - k)
    likely = (delta > 0.5) & (rest >= 1)
    logit = _tail_logit(jnp.where(likely, rest - 1, k), jnp.where(likely, k + 1, rest), jnp.where(likely, 1 - delta, delta))
    return jnp.where(sure, 1.0 + 0 * k, jax.nn.sigmoid(jnp.where(likely, -logit, logit)))


def holdout_bound(emp_risk: Scalar, n: Scalar, delta: float, *, variant: str = "binomial") -> Bound:
    r"""The risk of one fixed hypothesis by its mean loss on n examples that it does not depend on, with probability $1 - \delta$.

    - `"binomial"`: the Clopper-Pearson limit, `binomial_tail_inverse`, for the zero-one loss;
    - `"hoeffding"`: $\hat L + \sqrt{\ln(1/\delta) / (2 n)}$, for every loss in [0, 1].

    What every certificate that is computed on training examples competes with. Arguments are elementwise.

    Args:
        emp_risk: mean loss on the n examples, in [0, 1].
        n: number of examples.
        delta: probability of failure, a number in (0, 1).
        variant: one of the above.

    Returns:
        A one-sided `Bound` on the risk with terms `"empirical_risk"` and `"penalty"`.

    Raises:
        ValueError: if `emp_risk` is outside [0, 1], `n` < 2, `delta` is outside (0, 1) or `variant` is unknown.
        TypeError: if `delta` is traced.

    Source: Theory of Deep Learning, section 5.1.1; Langford 2005, Theorem 3.3; GEN-1.
    """
    choice("variant", variant, ("binomial", "hoeffding"))
    emp_risk, n, delta = unit_interval("emp_risk", emp_risk), at_least("n", n, 2), failure_probability(delta)
    if variant == "binomial":
        penalty = binomial_tail_inverse(jnp.minimum(emp_risk * n, n), n, delta) - emp_risk
    else:
        penalty = hoeffding_penalty(n, delta)
    terms = {"empirical_risk": emp_risk, "penalty": penalty}
    loss = ZERO_ONE_LOSS if variant == "binomial" else BOUNDED_LOSS
    return Bound(emp_risk + penalty, terms, "one", assumptions=(INDEPENDENT_EXAMPLES, FIXED_HYPOTHESIS, loss), confidence=1 - delta)


@jax.jit
def _tail_logit(k: Array, rest: Array, delta: Array) -> Array:
    """ln(p / (1 - p)) of the p at which k + rest trials have at most k successes with probability delta, by Newton's method.

    The logarithm of the tail is a concave function of the logit, so iterates from the second on decrease to the root.
    """
    spread = -jnp.log(delta) / (k + rest)
    mean, fails = k / (k + rest), rest / (k + rest)
    deviation = spread * fails + jnp.sqrt((spread * fails) ** 2 + 2 * spread * fails * mean)
    start = jnp.where(deviation < fails / 2, jnp.log(mean + deviation) - jnp.log(jnp.maximum(fails - deviation, fails / 2)), jnp.log((k + 1) / rest))
    tolerance, largest = 8 * jnp.finfo(k.dtype).eps, 0.98 * jnp.log(jnp.finfo(k.dtype).max)

    def correction(logit, k, rest, delta):
        log_tail, slope = _log_tail(logit, k, rest)
        return (jnp.log(delta) - log_tail) / jax.lax.stop_gradient(slope)

    def step(state):
        logit, _, count = state
        moved = jnp.minimum(logit + correction(logit, k, rest, delta), largest)
        return moved, jnp.any(jnp.abs(moved - logit) > tolerance * jnp.maximum(1.0, jnp.abs(logit))), count + 1

    logit = jax.lax.while_loop(lambda state: state[1] & (state[2] < MOST_STEPS), step, (start, True, 0))[0]
    logit = jax.lax.stop_gradient(logit)
    return logit + correction(logit, k, rest, delta)


def _log_tail(logit: Array, k: Array, rest: Array) -> tuple[Array, Array]:
    r"""ln Pr[Bin(k + rest, p) <= k], and its derivative with respect to the logit of p; for p of at least k / (k + rest).

    With r = (1 - p) / p and b = rest, the tail is Pr[Bin = k] times
    $\int_0^\infty e^{-y} (1 + r (1 - e^{-y/b}))^k dy$, whose integrand is log-concave and falls from 1.
    """
    p, q = jax.nn.sigmoid(logit), jax.nn.sigmoid(-logit)
    odds = jnp.exp(-logit)
    end = jax.lax.stop_gradient(_end_of_integral(odds, k, rest))
    y = end[..., None] * (1 + NODES.astype(k.dtype)) / 2
    integral = end / 2 * jnp.sum(WEIGHTS.astype(k.dtype) * jnp.exp(-_exponent(y, odds[..., None], k[..., None], rest[..., None])), axis=-1)
    n = k + rest
    excess = jnp.where(k <= rest, n * p - k, rest - n * q)
    log_mass = _log_stirling(n) - _log_stirling(k) - _log_stirling(rest) - _deviance(k, n * p, excess) - _deviance(rest, n * q, -excess)
    return log_mass + jnp.log(integral), -rest * p / integral


def _exponent(y: Array, odds: Array, k: Array, rest: Array) -> Array:
    return y - k * jnp.log1p(-odds * jnp.expm1(-y / rest))


def _end_of_integral(odds: Array, k: Array, rest: Array) -> Array:
    """Where the exponent, which is convex, is large enough for the rest of the integral not to count: two steps of Newton's method."""
    enough = -jnp.log(jnp.finfo(k.dtype).eps) + 4
    slope, curvature = jnp.maximum(1 - k * odds / rest, 0.0), k * odds * (1 + odds) / rest**2
    end = 2 * enough / (slope + jnp.sqrt(slope**2 + 2 * curvature * enough))
    for _ in range(2):
        rate = 1 - k * odds * jnp.exp(-end / rest) / (rest * (1 - odds * jnp.expm1(-end / rest)))
        end = end + (enough - _exponent(end, odds, k, rest)) / rate
    return end


def _log_stirling(x: Array) -> Array:
    """ln Gamma(x + 1) - x ln x + x, for x >= 0 (Stirling's series beyond 16)."""
    large = jnp.maximum(x, 16.0)
    series = jnp.log(2 * jnp.pi * large) / 2 + (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / large**2) / large**2) / large**2) / large
    small = jnp.clip(x, 0.0, 16.0)
    return jnp.where(x > 16, series, gammaln(small + 1) - jax.scipy.special.xlogy(small, small) + small)


def _deviance(x: Array, mean: Array, excess: Array) -> Array:
    """x ln(x / mean) + mean - x, where excess = mean - x is known better than by this difference."""
    vanishes = x == 0
    x = jnp.where(vanishes, 1.0, x)
    ratio = jnp.where(vanishes, 0.0, excess) / x
    near = jnp.abs(ratio) < 0.5
    log_ratio = jnp.where(near, jnp.log1p(jnp.where(near, ratio, 0.0)), jnp.log(jnp.where(near, 1.0, mean / x)))
    return jnp.where(vanishes, excess, x * (ratio - log_ratio))
