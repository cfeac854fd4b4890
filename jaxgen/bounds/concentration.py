r"""Tail bounds for sums of independent random variables, and what they say of sample sizes (PROB-2 to PROB-7).

Probabilities are not clipped at one, so that a vacuous bound is seen to be one. Arguments are elementwise.
"""

import jax.numpy as jnp
from jax.scipy.special import erf, ndtr
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, choice, floating, require
from jaxgen.bounds._inputs import Scalar, at_least, positive, unit_interval


def markov_bound(mean: Scalar, t: Scalar, *, clip: bool = False) -> Float[Array, "..."]:
    r"""Markov's inequality: $\Pr[X \ge t] \le E X / t$ for a random variable that is never negative.

    Args:
        mean: $E X \ge 0$.
        t: threshold, positive.
        clip: whether values above one are set to one.

    Returns:
        The bound on the probability; attained where X is either 0 or t.

    Raises:
        ValueError: if `mean` < 0 or `t` <= 0.

    Source: Theory of Deep Learning, Lemma 1.1.1; PROB-2.
    """
    return _clipped(at_least("mean", mean, 0) / positive("t", t), clip)


def chebyshev_bound(variance: Scalar, t: Scalar, *, clip: bool = False) -> Float[Array, "..."]:
    r"""Chebyshev's inequality: $\Pr[|X - E X| \ge t] \le \operatorname{Var} X / t^2$, for variables of either sign.

    Args:
        variance: Var X, finite.
        t: threshold, positive.
        clip: whether values above one are set to one.

    Returns:
        The bound on the probability; attained where X - E X is 0 or at distance t.

    Raises:
        ValueError: if `variance` < 0 or `t` <= 0.

    Source: Theory of Deep Learning, Lemma 1.1.2, which asks for X >= 0 without need; PROB-2.
    """
    return _clipped(at_least("variance", variance, 0) / positive("t", t) ** 2, clip)


def clt_ks_distance(
    samples: Float[ArrayLike, " s"], mean: Scalar, variance: Scalar, *, weights: Float[ArrayLike, " s"] | None = None
) -> Float[Array, ""]:
    r"""The distance $\sup_x |F(x) - \Phi((x - \mu) / \sigma)|$ of a distribution on finitely many points from a Gaussian.

    Args:
        samples: draws of a sum, or the atoms of its distribution.
        mean: $\mu$, a scalar.
        variance: $\sigma^2 > 0$, a scalar.
        weights: probabilities of the atoms, which are divided by their sum; default equal ones, the empirical distribution.

    Returns:
        The Kolmogorov-Smirnov distance, in [0, 1]. Of s independent draws it exceeds the distribution's own by about
        $0.87 / \sqrt s$ or less.

    Raises:
        ValueError: if there is no sample, `variance` is not positive, or a weight is negative or all are zero.

    Source: Theory of Deep Learning, Theorem 1.1.3, informal there: independence alone does not do; PROB-3. Cost: one sort.
    """
    samples = floating("samples", samples)
    require(samples.ndim == 1 and samples.size > 0, f"samples must be a vector of at least one value; got shape {samples.shape}")
    masses = jnp.ones_like(samples) if weights is None else at_least("weights", weights, 0)
    require(masses.shape == samples.shape, f"weights must have the shape of samples, {samples.shape}; got {masses.shape}")
    masses = checked(masses, (masses.sum() > 0, "weights must not all be zero"))
    order = jnp.argsort(samples)
    points = samples[order]
    after = jnp.cumsum(masses[order]) / masses.sum()
    # Of equal points the last has the whole of the step behind it, the first the whole of it ahead.
    behind = after[jnp.searchsorted(points, points, side="right") - 1]
    first = jnp.searchsorted(points, points, side="left")
    ahead = jnp.where(first == 0, 0.0, after[jnp.maximum(first - 1, 0)])
    normal = ndtr((points - floating("mean", mean)) / jnp.sqrt(positive("variance", variance)))
    return jnp.maximum(jnp.abs(behind - normal), jnp.abs(ahead - normal)).max()


def berry_esseen_bound(third_moments: Float[ArrayLike, "*b n"], variances: Float[ArrayLike, "*b n"]) -> Float[Array, "*b"]:
    r"""How far a sum of independent variables can be from Gaussian: $0.56 \sum_i E|X_i - \mu_i|^3 / (\sum_i \sigma_i^2)^{3/2}$.

    Args:
        third_moments: absolute third central moments of the summands along the last axis.
        variances: their variances, of a shape that broadcasts.

    Returns:
        A bound on the Kolmogorov distance between the sum's distribution and a Gaussian of its mean and variance.

    Raises:
        ValueError: if a moment or a variance is negative, all variances are zero, or a summand's third moment is below
            $\sigma_i^3$, which is impossible.

    Source: Berry 1941, Esseen 1942, with the constant of Shevtsova 2010; PROB-3.
    """
    third, variances = jnp.broadcast_arrays(_summands("third_moments", third_moments), _summands("variances", variances))
    total = checked(variances.sum(axis=-1), (variances.sum(axis=-1) > 0, "variances must not all be zero"))
    least = variances**1.5 * (1 - 16 * jnp.finfo(variances.dtype).eps)
    total = checked(total, (third >= least, "third_moments must be at least variances ** 1.5, by Jensen's inequality"))
    return 0.56 * third.sum(axis=-1) / total**1.5


def chernoff_upper(mu: Scalar, delta: Scalar, *, form: str = "sharp", unsafe: bool = False) -> Float[Array, "..."]:
    r"""Chernoff's bound on $\Pr[X \ge (1 + \delta) \mu]$ for a sum of independent variables in {0, 1} with mean $\mu$.

    - `"sharp"`: $(e^\delta / (1 + \delta)^{1 + \delta})^\mu$
    - `"simple"`: $e^{-\delta^2 \mu / (2 + \delta)}$
    - `"cubic"`: $e^{-\delta^2 \mu / 3}$, for $\delta \le 1$ (true up to 1.8169605355, false beyond in general)

    Args:
        mu: expectation of the sum, at least 0.
        delta: relative deviation, positive.
        form: one of the above.
        unsafe: whether `"cubic"` is evaluated beyond $\delta = 1$ all the same.

    Returns:
        The bound on the probability.

    Raises:
        ValueError: if `mu` < 0, `delta` <= 0, `form` is unknown, or it is `"cubic"` with `delta` > 1.

    Example:
        >>> from jaxgen import bounds
        >>> round(float(bounds.chernoff_upper(10.0, 1.0)), 4)
        0.021

    Source: Theory of Deep Learning, Lemma 1.1.4, which prints the cubic form for every delta; PROB-4.
    """
    choice("form", form, ("sharp", "simple", "cubic"))
    mu, delta = at_least("mu", mu, 0), positive("delta", delta)
    if form == "sharp":
        return jnp.exp(-mu * ((1 + delta) * jnp.log1p(delta) - delta))
    if form == "simple":
        return jnp.exp(-(delta**2) * mu / (2 + delta))
    if not unsafe:
        delta = checked(delta, (delta <= 1, "delta must be at most 1 for the form 'cubic', which is false for larger ones; use 'sharp' or 'simple'"))
    return jnp.exp(-(delta**2) * mu / 3)


def chernoff_lower(mu: Scalar, delta: Scalar) -> Float[Array, "..."]:
    r"""Chernoff's bound $\Pr[X \le (1 - \delta) \mu] \le e^{-\delta^2 \mu / 2}$ for a sum of independent variables in {0, 1}.

    Args:
        mu: expectation of the sum, at least 0.
        delta: relative deviation, in (0, 1).

    Returns:
        The bound on the probability.

    Raises:
        ValueError: if `mu` < 0 or `delta` is outside (0, 1).

    Source: Theory of Deep Learning, Lemma 1.1.4; PROB-4.
    """
    return jnp.exp(-(unit_interval("delta", delta, ends=False) ** 2) * at_least("mu", mu, 0) / 2)


def hoeffding_bound(t: Scalar, widths: Float[ArrayLike, "*b n"], *, two_sided: bool = True) -> Float[Array, "..."]:
    r"""Hoeffding's inequality: $\Pr[|X - E X| \ge t] \le 2 \exp(-2 t^2 / \sum_i (b_i - a_i)^2)$ for a sum of independent $X_i$ in $[a_i, b_i]$.

    For the average of m signs, a deviation of $\epsilon$ has $t = m \epsilon$ and widths 2: $2 e^{-m \epsilon^2 / 2}$.

    Args:
        t: deviation of the sum, positive.
        widths: $b_i - a_i$ of the n summands along the last axis; `t` broadcasts with the other axes.
        two_sided: whether deviations of either sign count; else the factor 2 goes.

    Returns:
        The bound on the probability.

    Raises:
        ValueError: if `t` <= 0, a width is negative or all are zero.

    Source: Theory of Deep Learning, Lemma 1.1.5 (the shorthand printed behind it, $e^{-\epsilon^2 m}$, is wrong by a factor
    2 in front and in the exponent); PROB-5.
    """
    squares = jnp.sum(_summands("widths", widths) ** 2, axis=-1)
    squares = checked(squares, (squares > 0, "widths must not all be zero, for then the sum is a constant"))
    return (2 if two_sided else 1) * jnp.exp(-2 * positive("t", t) ** 2 / squares)


def hoeffding_epsilon(delta: Scalar, n: Scalar, width: Scalar = 1.0, *, two_sided: bool = True) -> Float[Array, "..."]:
    r"""The deviation of an average that Hoeffding's inequality gives probability $\delta$: $w \sqrt{\ln(2/\delta) / (2 n)}$.

    Args:
        delta: probability, in (0, 1).
        n: number of independent variables.
        width: length w of the interval that each lies in.
        two_sided: whether deviations of either sign count; else $\ln(1/\delta)$ takes the place of $\ln(2/\delta)$.

    Returns:
        The deviation.

    Raises:
        ValueError: if `delta` is outside (0, 1), `n` < 1 or `width` <= 0.

    Source: Theory of Deep Learning, Lemma 1.1.5; PROB-5.
    """
    return positive("width", width) * jnp.sqrt(_exponent(delta, two_sided) / (2 * at_least("n", n, 1)))


def hoeffding_sample_size(eps: Scalar, delta: Scalar, width: Scalar = 1.0, *, two_sided: bool = True) -> Float[Array, "..."]:
    r"""How many examples make an average precise to `eps` with probability $1 - \delta$: $\lceil w^2 \ln(2/\delta) / (2 \epsilon^2) \rceil$.

    Args:
        eps: deviation, positive.
        delta: probability, in (0, 1).
        width: length w of the interval that each variable lies in.
        two_sided: whether deviations of either sign count.

    Returns:
        The smallest whole number n with `hoeffding_epsilon(delta, n, width) <= eps`, as a float.

    Raises:
        ValueError: if `eps` <= 0, `delta` is outside (0, 1) or `width` <= 0.

    Source: Theory of Deep Learning, Lemma 1.1.5; PROB-5.
    """
    return jnp.ceil(positive("width", width) ** 2 * _exponent(delta, two_sided) / (2 * positive("eps", eps) ** 2))


def bernstein_bound(t: Scalar, second_moments: Float[ArrayLike, "*b n"], M: Scalar) -> Float[Array, "..."]:
    r"""Bernstein's inequality: $\Pr[\sum_i X_i > t] \le \exp(-\frac{t^2 / 2}{\sum_j E X_j^2 + M t / 3})$ for $E X_i = 0$, $|X_i| \le M$.

    Far below Hoeffding's bound where variances are small against ranges.

    Args:
        t: deviation of the sum, positive.
        second_moments: $E X_j^2$ of the n independent summands along the last axis; `t` and `M` broadcast with the others.
        M: bound on every $|X_j|$.

    Returns:
        The bound on the probability, one-sided.

    Raises:
        ValueError: if `t` <= 0, `M` < 0, or a second moment is negative or above $M^2$.

    Source: Theory of Deep Learning, Lemma 1.1.6; PROB-6.
    """
    moments, M, t = _summands("second_moments", second_moments), at_least("M", M, 0), positive("t", t)
    largest = (M**2 * (1 + 16 * jnp.finfo(moments.dtype).eps))[..., None]
    moments = checked(moments, (moments <= largest, "second_moments must be at most M ** 2, since |X| <= M"))
    return jnp.exp(-(t**2) / (2 * (moments.sum(axis=-1) + M * t / 3)))


def gaussian_small_ball(t: Scalar, sigma: Scalar) -> Float[Array, "..."]:
    r"""The probability $\Pr[|X| \le t] = \operatorname{erf}(t / (\sigma \sqrt 2))$ of $X \sim N(0, \sigma^2)$.

    Args:
        t: radius, at least 0.
        sigma: standard deviation, positive.

    Returns:
        The probability.

    Raises:
        ValueError: if `t` < 0 or `sigma` <= 0.

    Source: Theory of Deep Learning, Lemma 1.1.7; PROB-7.
    """
    return erf(at_least("t", t, 0) / (positive("sigma", sigma) * jnp.sqrt(2.0)))


def gaussian_small_ball_bounds(t: Scalar, sigma: Scalar) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    r"""Anti-concentration: $\frac23 \frac t\sigma < \Pr[|X| \le t] < \frac45 \frac t\sigma$ for $X \sim N(0, \sigma^2)$, $0 < t \le \sigma$.

    The upper side holds for every t, the lower one up to $t = 1.0793572473 \, \sigma$ only.

    Args:
        t: radius, in [0, sigma].
        sigma: standard deviation, positive.

    Returns:
        The lower and the upper bound on the probability.

    Raises:
        ValueError: if `sigma` <= 0 or `t` is outside [0, sigma].

    Source: Theory of Deep Learning, Lemma 1.1.7, printed without the range of t; PROB-7.
    """
    ratio = at_least("t", t, 0) / positive("sigma", sigma)
    ratio = checked(ratio, (ratio <= 1, "t must be at most sigma, beyond which the lower bound does not hold"))
    return 2 * ratio / 3, 4 * ratio / 5


def _exponent(delta: Scalar, two_sided: bool) -> Array:
    return jnp.log(2.0 if two_sided else 1.0) - jnp.log(unit_interval("delta", delta, ends=False))


def _summands(name: str, value: ArrayLike) -> Array:
    """What the summands have each, along the last axis of an array: none negative."""
    array = floating(name, value)
    require(array.ndim >= 1 and array.size > 0, f"{name} must hold one value a summand along its last axis, and not be empty; got {array.shape}")
    return at_least(name, array, 0)


def _clipped(probability: Array, clip: bool) -> Array:
    return jnp.minimum(probability, 1.0) if clip else probability
