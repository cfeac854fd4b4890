r"""A linear classifier that generalizes while no bound by uniform convergence can say so: signal and junk (Nagarajan and Kolter 2019).

Inputs are $x = (y u, x_2)$ with a label $y = \pm 1$, a signal u in K dimensions and junk $x_2 \sim N(0, v I_D / D)$. One step of gradient
descent learns the signal, and memorizes the junk of its sample. With $c = m \lVert u \rVert^2$ in (0, 1) and D large against m it has next
to no test error; so has what is trained on the sample with its junk negated, which errs on every example of the sample itself.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Key

from jaxgen._core.checks import checked, choice, floating, positive_integer, require
from jaxgen._core.rademacher import rademacher
from jaxgen.bounds._inputs import failure_probability, positive, square_root


class JunkSample(NamedTuple):
    """A sample of the signal-and-junk example; a pytree.

    Attributes:
        x: inputs, the signal's K coordinates first, shape (m, K + D).
        y: labels -1 and 1, shape (m,).
        u: the signal, shape (K,), the same for all samples of one m, K and c.
    """

    x: Float[Array, "m d"]
    y: Float[Array, " m"]
    u: Float[Array, " K"]


def junk_example_sample(key: Key[Array, ""], m: int, D: int, K: int, c: ArrayLike, noise_var: ArrayLike = 1.0) -> JunkSample:
    r"""Draws a sample: $y = \pm 1$ with equal odds, $x = (y u, x_2)$, $u = \sqrt{c / (m K)} \mathbf 1$, $x_2 \sim N(0, v I_D / D)$.

    Args:
        key: PRNG key.
        m: number of examples.
        D: number of junk coordinates.
        K: number of signal coordinates.
        c: $m \lVert u \rVert^2$, positive.
        noise_var: v, mean squared norm of the junk, positive.

    Returns:
        `JunkSample`.

    Raises:
        ValueError: if `m`, `D` or `K` < 1, or `c` or `noise_var` is not positive (NaN results when traced).

    Source: Theory of Deep Learning, section 5.4.1; Nagarajan and Kolter 2019; spec GEN-14.

    Example:
        Twenty times as many junk coordinates as examples:

        >>> import jax
        >>> from jaxgen import bounds
        >>> sample = bounds.junk_example_sample(jax.random.key(0), 50, 4000, 2, 0.5)
        >>> w = bounds.junk_example_train(sample.x, sample.y)
        >>> flipped = bounds.junk_example_flip(sample)
        >>> w_flip = bounds.junk_example_train(flipped.x, flipped.y)
        >>> [float(bounds.junk_example_train_error(v, sample.x, sample.y)) for v in (w, w_flip)]
        [0.0, 1.0]
        >>> bool(bounds.junk_example_test_error(w_flip, sample.u) < 1e-3)
        True
    """
    m, D, K = (positive_integer(name, size) for name, size in (("m", m), ("D", D), ("K", K)))
    c, noise_var = _scalar("c", c), _scalar("noise_var", noise_var)
    label_key, junk_key = jax.random.split(key)
    dtype = jnp.result_type(c, noise_var)
    u = jnp.full((K,), jnp.sqrt(c / (m * K)), dtype)
    y = rademacher(label_key, (m,), dtype)
    junk = jnp.sqrt(noise_var / D) * jax.random.normal(junk_key, (m, D), dtype)
    return JunkSample(jnp.concatenate([y[:, None] * u, junk], axis=1), y, u)


def junk_example_train(x: Float[ArrayLike, "m d"], y: Float[ArrayLike, " m"]) -> Float[Array, " d"]:
    r"""One step of gradient descent from zero, of size one, on $-\sum_i y_i w^\top x_i$: $w = \sum_i y_i x_i$.

    On a sample of the example that is $(m u, \sum_i y_i x_2^i)$, of norm about $\sqrt{m (c + v)}$.

    Args:
        x: inputs, shape (m, d).
        y: labels -1 and 1, shape (m,).

    Returns:
        Weights, shape (d,).

    Raises:
        ValueError: if shapes do not fit or a label is neither -1 nor 1 (NaN results when traced).

    Source: Theory of Deep Learning, section 5.4.1; spec GEN-14.
    """
    x, y = _examples(x, y)
    return jnp.matmul(y, x, precision=jax.lax.Precision.HIGHEST)


def junk_example_train_error(w: Float[ArrayLike, " d"], x: Float[ArrayLike, "m d"], y: Float[ArrayLike, " m"]) -> Float[Array, ""]:
    r"""Share of examples whose margin $y_i w^\top x_i$ is not positive.

    Args:
        w: weights, shape (d,).
        x: inputs, shape (m, d).
        y: labels -1 and 1, shape (m,).

    Returns:
        The error.

    Raises:
        ValueError: if shapes do not fit or a label is neither -1 nor 1 (NaN results when traced).

    Source: spec GEN-15.
    """
    x, y = _examples(x, y)
    w = floating("w", w)
    require(w.shape == x.shape[1:], f"w must have shape {x.shape[1:]}; got {w.shape}")
    margins = y * jnp.matmul(x, w, precision=jax.lax.Precision.HIGHEST)
    return jnp.where(jnp.isnan(margins), jnp.nan, margins <= 0).mean()


def junk_example_test_error(w: Float[ArrayLike, " d"], u: Float[ArrayLike, " K"], noise_var: ArrayLike = 1.0) -> Float[Array, ""]:
    r"""Probability of a wrong label, exactly: $\Phi(-w_1^\top u \sqrt{D / v} / \lVert w_2 \rVert)$.

    After one step of gradient descent that is $\Phi(-c \sqrt{D / v} / \lVert w_2 \rVert) \approx \Phi(-\frac cv \sqrt{D / m})$.

    Args:
        w: weights, the signal's K coordinates first, shape (K + D,).
        u: the signal, shape (K,).
        noise_var: v, mean squared norm of the junk, positive.

    Returns:
        The error; 0 or 1 where the classifier does not look at the junk, 1 if it looks at nothing.

    Raises:
        ValueError: if `w` is not longer than `u`, or `noise_var` is not positive (NaN results when traced).

    Source: Theory of Deep Learning, equations (5.5) to (5.7); spec GEN-14.
    """
    w, u, noise_var = floating("w", w), floating("u", u), _scalar("noise_var", noise_var)
    require(u.ndim == 1 and u.size > 0, f"u must have shape (K,); got {u.shape}")
    require(w.ndim == 1 and len(w) > len(u), f"w must have shape (K + D,) with K = {len(u)} and D of at least 1; got {w.shape}")
    signal, junk = jnp.sum(w[: len(u)] * u), w[len(u) :]
    spread = square_root(noise_var * jnp.sum(junk**2) / len(junk))
    blind = spread == 0
    error = jax.scipy.stats.norm.cdf(-signal / jnp.where(blind, 1.0, spread))
    alone = jnp.where(signal > 0, 0.0, 1.0)
    return jnp.where(jnp.isnan(signal), jnp.nan, jnp.where(blind, alone, error))


def junk_example_flip(sample: JunkSample) -> JunkSample:
    r"""The sample with every junk vector negated, which is as likely as the sample itself.

    What is trained on it is $(w_1, -w_2)$, of the same test error. On the sample before the flip its margins are about
    $c - v \pm v \sqrt{m / D}$: for $c < v$ and D large against m it errs on all of it, while for c = v, as printed in the source, it errs on half.

    Args:
        sample: from `junk_example_sample`.

    Returns:
        The flipped `JunkSample`.

    Raises:
        ValueError: if the inputs have no coordinates but the signal's.

    Source: Theory of Deep Learning, claim 5.4.1, whose proof needs c < 1; Nagarajan and Kolter 2019; spec GEN-15.
    """
    K = len(sample.u)
    require(sample.x.ndim == 2 and sample.x.shape[1] > K, f"x must have shape (m, K + D) with K = {K} and D of at least 1; got {sample.x.shape}")
    return sample._replace(x=sample.x.at[:, K:].multiply(-1))


def junk_example_dimension(m: int, c: ArrayLike, delta: float, *, goal: str = "test_error") -> Float[Array, ""]:
    r"""Junk coordinates that are enough, to leading order and for v = 1: $2 m \log(1 / \delta) / c^2$, or $2 m \log(m / \delta) / (1 - c)^2$.

    The first makes the test error at most $\delta$; the second makes the flipped classifier err on the whole sample with probability
    of at least $1 - \delta$. Both up to a factor that tends to one with m.

    Args:
        m: number of examples.
        c: $m \lVert u \rVert^2$, positive.
        delta: error, or probability of failure, in (0, 1), concrete.
        goal: `"test_error"` or `"flipped_error"`.

    Returns:
        The number D, not rounded; infinite for the flipped error if c is at least 1.

    Raises:
        ValueError: if `m` < 1, `c` is not positive (NaN results when traced), `delta` is outside (0, 1) or `goal` is unknown.

    Source: Theory of Deep Learning, equations (5.6) and (5.7), which print $m \sqrt{\log(1 / \delta)}$, too few; spec GEN-14, GEN-15.
    """
    choice("goal", goal, ("test_error", "flipped_error"))
    m, c, delta = positive_integer("m", m), _scalar("c", c), failure_probability(delta)
    if goal == "test_error":
        return 2 * m * math.log(1 / delta) / c**2
    return jnp.where(c >= 1, jnp.inf, 2 * m * math.log(m / delta) / (1 - c) ** 2)


def prune_coordinates(w: Float[ArrayLike, " d"], mask: Bool[ArrayLike, " d"]) -> Float[Array, " d"]:
    """The weights where `mask` is true, and zero elsewhere.

    Pruned to the signal's coordinates, every classifier that the example trains is a multiple of the ideal one, and uniform convergence
    over what is left is easy.

    Args:
        w: weights, shape (d,).
        mask: which to keep, booleans of shape (d,).

    Returns:
        Pruned weights, shape (d,).

    Raises:
        ValueError: if shapes differ.
        TypeError: if `mask` is not boolean.

    Source: Theory of Deep Learning, end of section 5.4; spec GEN-15.
    """
    w, mask = floating("w", w), jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"mask must be boolean; got dtype {mask.dtype}")
    require(w.ndim == 1 and mask.shape == w.shape, f"w and mask must have the same shape (d,); got {w.shape} and {mask.shape}")
    return jnp.where(mask, w, 0.0)


def _examples(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = floating("x", x), floating("y", y)
    require(x.ndim == 2 and x.size > 0, f"x must have shape (m, d), neither of them 0; got {x.shape}")
    require(y.shape == x.shape[:1], f"y must have shape {x.shape[:1]}; got {y.shape}")
    return x, checked(y, ((y == 1) | (y == -1), "y must hold labels -1 and 1"))


def _scalar(name: str, value: ArrayLike) -> Array:
    array = positive(name, value)
    require(array.ndim == 0, f"{name} must be a scalar; got shape {array.shape}")
    return array
