r"""Relative entropy of two Bernoulli laws, its inverses in the second argument, and its exponential moment.

All of it is written as $\mathrm{kl}(q \| p) = q \, \phi(\frac{p - q}q) + (1 - q) \, \phi(\frac{q - p}{1 - q})$ with
$\phi(x) = x - \log(1 + x) \ge 0$, a sum of terms that are never negative, so that it keeps its relative precision where q and
p are close and where either is tiny.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import choice
from jaxgen.bounds._inputs import at_least, unit_interval

NUM_NEWTON_STEPS = 7
"""From a bound within a factor of 2 or so of the root, 5 steps square the error to below rounding in float64."""

LARGEST_SMALL_CHANGE = 0.2
SMALL_PROBABILITY_EXPONENT = -5.0
LARGEST_SUM = 32


def binary_kl(q: Float[ArrayLike, "..."], p: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    r"""Relative entropy of Bernoulli laws: $\mathrm{kl}(q \| p) = q \log \frac qp + (1 - q) \log \frac{1 - q}{1 - p}$.

    Arguments are elementwise. The derivative in q at q = 0 and q = 1, which is infinite, is given as a large finite number, so
    that a risk that is exactly zero does not turn gradients into NaN.

    Args:
        q: probability under the law that is averaged over.
        p: probability under the reference law.

    Returns:
        Nats, of the broadcast shape; `inf` where p is 0 or 1 and q is not the same. Relative precision is kept for p close to
        q and for tiny probabilities.

    Raises:
        ValueError: if `q` or `p` is outside [0, 1].

    Example:
        >>> from jaxgen import bounds
        >>> round(float(bounds.binary_kl(0.1, 0.2)), 6)
        0.03669

    Source: GEN-28.
    """
    return _binary_kl(*_promoted(unit_interval("q", q), unit_interval("p", p)))


def binary_kl_inverse(q: Float[ArrayLike, "..."], c: Float[ArrayLike, "..."], *, side: str = "upper") -> Float[Array, "..."]:
    r"""The risk farthest from q within relative entropy c: $\sup\{p \ge q : \mathrm{kl}(q \| p) \le c\}$, or the infimum below q.

    Newton's method for the logarithm of the probability that shrinks, 1 - p above q and p below it. There the equation is convex
    and the start lies beyond the root, so that steps are monotone. Arguments are elementwise.

    Derivatives are those of the implicit equation, $\partial_c p = \frac{p (1 - p)}{p - q}$ and
    $\partial_q p = (\log \frac pq - \log \frac{1 - p}{1 - q}) \frac{p (1 - p)}{p - q}$. Where they are infinite, they are finite by
    convention: in c at c = 0 zero, as that of a square root is elsewhere in this room; in q where q has no mass, large.

    Args:
        q: empirical risk, in [0, 1].
        c: relative entropy in nats, at least 0; may be infinite.
        side: `"upper"` or `"lower"`.

    Returns:
        p of the broadcast shape, exact for c = 0, and at q = 0 (upper) or q = 1 (lower) up to rounding. The relative error is a
        few units of rounding, on the lower side up to log(1/p) of them.

    Raises:
        ValueError: if `q` is outside [0, 1], `c` < 0, or `side` is unknown.

    Example:
        No error on 1,000 examples, at a confidence of 95 percent:

        >>> import math
        >>> from jaxgen import bounds
        >>> round(float(bounds.binary_kl_inverse(0.0, math.log(20) / 1000)), 6)
        0.002991

    Source: Langford and Seeger 2001; GEN-28. Cost: 7 evaluations of two logarithms and one exponential.
    """
    choice("side", side, ("upper", "lower"))
    return _inverse(*_promoted(unit_interval("q", q), at_least("c", c, 0)), side)


def kl_moment(n: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    r"""$\xi(n) = \sum_k \binom nk (\frac kn)^k (1 - \frac kn)^{n - k}$, which is $E e^{n \, \mathrm{kl}(\hat p \| p)}$ of n Bernoulli(p) losses.

    The same for every p in (0, 1), at least what it is for other losses in [0, 1], and between $\sqrt n$ and $2 \sqrt n$. Equal to
    $\sum_{j \le n} \prod_{i < j} (1 - \frac in)$, by Abel's identity, which is summed for n up to 32; beyond, by Ramanujan's expansion
    of $\sum_{k < n} n^k / k!$.

    Args:
        n: number of examples, at least 1.

    Returns:
        $\xi(n)$, of the shape of `n`.

    Raises:
        ValueError: if `n` < 1.

    Source: Maurer 2004, Theorem 1; Germain et al. 2015, Lemma 19; GEN-28.
    """
    n = at_least("n", n, 1)
    factors = jnp.maximum(1 - jnp.arange(LARGEST_SUM, dtype=n.dtype) / n[..., None], 0)
    summed = 1 + jnp.sum(jnp.cumprod(factors, axis=-1), axis=-1)
    inverse = 1 / jnp.maximum(n, LARGEST_SUM)
    stirling = jnp.sqrt(jnp.pi / (2 * inverse)) * jnp.exp(inverse / 12 - inverse**3 / 360 + inverse**5 / 1260)
    theta = jnp.polyval(jnp.array([334144 / 492567075, 8992 / 12629925, -16 / 8505, -8 / 2835, 4 / 135, 1 / 3], n.dtype), inverse)
    return jnp.where(n <= LARGEST_SUM, summed, stirling + 1 - theta)


def _promoted(*arrays: Array) -> list[Array]:
    dtype = jnp.result_type(*arrays)
    return [array.astype(dtype) for array in jnp.broadcast_arrays(*arrays)]


def _excess(x: Array, log: Array) -> Array:
    """x - log(1 + x), with log(1 + x) given; where x is small, 2 (s^2 / (1 - s) - atanh s + s) of s = x / (2 + x)."""
    small = jnp.abs(x) < LARGEST_SMALL_CHANGE
    s = jnp.where(small, x, 0.0)
    s = s / (2 + s)
    series = jnp.polyval(jnp.array([1 / k for k in range(17, 1, -2)], x.dtype), s * s)
    return jnp.where(small, 2 * s * s * (1 / (1 - s) - s * series), x - log)


def _part(mass: Array, other: Array, change: Array) -> Array:
    """mass log(mass / other) + change of one outcome, where change = other - mass."""
    empty = mass < jnp.finfo(mass.dtype).tiny
    mass_or_one = jnp.where(empty, 1.0, mass)
    return jnp.where(empty, change, mass * _excess(change / mass_or_one, jnp.log(other / mass_or_one)))


@jax.custom_jvp
@jax.jit
def _binary_kl(q: Array, p: Array) -> Array:
    return _part(q, p, p - q) + _part(1 - q, 1 - p, q - p)


@_binary_kl.defjvp
@jax.jit
def _binary_kl_jvp(primals, tangents):
    (q, p), (dq, dp) = primals, tangents
    by_q = _log_ratio(1 - q, 1 - p, q - p) - _log_ratio(q, p, p - q)
    by_p = jnp.where(q == 0, 1 / (1 - p), jnp.where(q == 1, -1 / p, (p - q) / (p * (1 - p))))
    return _binary_kl(q, p), by_q * dq + by_p * dp


def _log_ratio(mass: Array, other: Array, change: Array) -> Array:
    """log(other / mass), finite where one of them is zero."""
    tiny = jnp.finfo(mass.dtype).tiny
    x, ratio = change / jnp.maximum(mass, tiny), jnp.maximum(other, tiny) / jnp.maximum(mass, tiny)
    return jnp.where(jnp.abs(x) < LARGEST_SMALL_CHANGE, jnp.log1p(x), jnp.log(ratio))


@partial(jax.custom_jvp, nondiff_argnums=(2,))
@partial(jax.jit, static_argnums=2)
def _inverse(q: Array, c: Array, side: str) -> Array:
    if side == "upper":
        return q + _moved(1 - q, q, c)[1]
    exponent, moved = _moved(q, 1 - q, c)
    mass = jnp.where(q > 0, q, 1.0)
    # Where p is far below q its logarithm has digits before the point; this form rounds them once.
    small = mass * jnp.exp(-c / mass - (1 - mass) / mass * jnp.log1p(moved / jnp.maximum(1 - q, jnp.finfo(q.dtype).tiny)))
    return jnp.where(c == 0, q, jnp.where(q == 0, 0.0, jnp.where(exponent < SMALL_PROBABILITY_EXPONENT, small, q * jnp.exp(exponent))))


@_inverse.defjvp
@partial(jax.jit, static_argnums=0)
def _inverse_jvp(side, primals, tangents):
    (q, c), (dq, dc) = primals, tangents
    shrinking, growing = (1 - q, q) if side == "upper" else (q, 1 - q)
    exponent, moved = _moved(shrinking, growing, c)
    kept, stays = shrinking * jnp.exp(exponent), moved == 0
    slope = kept * (1 + growing / jnp.where(stays, 1.0, moved))
    by_c = jnp.where(stays, jnp.where((growing == 0) & (shrinking > 0), 1.0, 0.0), slope)
    log_ratios = jnp.log1p(moved / jnp.maximum(growing, jnp.finfo(q.dtype).tiny)) - exponent
    by_q = jnp.where(stays, jnp.where(c == 0, 1.0, 0.0), log_ratios * slope)
    return _inverse(q, c, side), by_q * dq + (by_c if side == "upper" else -by_c) * dc


def _moved(shrinking: Array, growing: Array, c: Array) -> tuple[Array, Array]:
    """The mass that moves from one outcome to the other at relative entropy c, and the log of what is left over what there was.

    Newton's method for that log w, in which kl is convex. It starts below the root: from kl >= -growing log(1/growing) - w shrinking,
    and from moved <= sqrt(2 c shrinking), c + sqrt(c^2 + 2 c growing) and sqrt(c / 2), of which one is tight at small c.
    """
    dtype = c.dtype
    lowest = jnp.log(jnp.finfo(dtype).tiny)
    mass = jnp.where(shrinking > 0, shrinking, 1.0)
    log_growing = jnp.where(shrinking < 0.5, jnp.log1p(-shrinking), jnp.log(jnp.maximum(growing, jnp.finfo(dtype).tiny)))
    far = -(c - growing * log_growing) / mass
    most = jnp.minimum(jnp.minimum(jnp.sqrt(2 * c * mass), c + jnp.sqrt(c * c + 2 * c * growing)), jnp.sqrt(c / 2)) / mass
    near = jnp.where(most < 1, jnp.log1p(-jnp.where(most < 1, most, 0.0)), -jnp.inf)
    start = jnp.maximum(jnp.maximum(far, near), lowest)

    def step(_, w):
        change = jnp.expm1(w)
        moved = -mass * change
        kl = mass * _excess(change, w) + _part(growing, growing + moved, moved)
        stays = moved <= 0
        return jnp.clip(jnp.where(stays, w, w + (kl - c) * (1 + growing / jnp.where(stays, 1.0, moved))), lowest, 0.0)

    w = jax.lax.fori_loop(0, NUM_NEWTON_STEPS, step, start)
    w = jnp.where(c == 0, 0.0, w)
    return w, jnp.where(jnp.isinf(c), shrinking, -shrinking * jnp.expm1(w))
