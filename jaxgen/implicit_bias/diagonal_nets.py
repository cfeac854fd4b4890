"""Training of diagonal linear nets, and the norms of what they end in: least l1 from small starts, least l2 from large ones."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen.implicit_bias.bregman_interpolators import bregman_interpolator
from jaxgen.implicit_bias.hyperbolic import diagonal_depth
from jaxgen.implicit_bias.interpolators import HIGHEST, data, min_l1_interpolator, min_norm_interpolator
from jaxgen.implicit_bias.parametrizations import diagonal_net

STEPS_A_ROUND = 20
"""Steps between two looks at the loss."""


class DiagonalNetRun(NamedTuple):
    """A trained diagonal net; returned by `train_diagonal_net`.

    Attributes:
        theta: the pair (u, v).
        w: u^L - v^L.
        loss: (1/n) ||X w - y||^2.
        num_steps: steps taken, a multiple of 20.
        converged: whether the loss came to `tolerance`.
    """

    theta: tuple[Float[Array, " d"], Float[Array, " d"]]
    w: Float[Array, " d"]
    loss: Float[Array, ""]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]


def train_diagonal_net(
    x: Float[ArrayLike, "n d"],
    y: Float[ArrayLike, " n"],
    alpha: Float[ArrayLike, "..."],
    depth: int = 2,
    *,
    relative_step: ArrayLike = 0.5,
    learning_rate: ArrayLike | None = None,
    tolerance: ArrayLike = 1e-12,
    max_steps: int = 1_000_000,
) -> DiagonalNetRun:
    r"""Gradient descent on $\frac1n \lVert X w - y \rVert^2$, $w = u^{\odot L} - v^{\odot L}$, from u = v = alpha, until the loss is small.

    Its limit for small steps, that of gradient flow, is the interpolator of least `diagonal_depth(alpha, L)`; at a finite step it
    is O(step) away. The size of the steps changes every 20 steps: it is `relative_step` over a bound on the curvature that follows
    the metric of the net, $\frac2n \lVert X \rVert^2 \max_i \lambda_i + 80 L (L - 1) \max_i |g_i| \max(|u_i|, |v_i|)^{L - 2}$ with
    $\lambda = L^2 (u^{2 L - 2} + v^{2 L - 2})$ and $g = \frac2n X^\top (X w - y)$, where 80 = 4 x 20 keeps u and v from growing by
    more than a quarter meanwhile. So steps are stable for any alpha, and long where alpha is small.

    A run that has come to `tolerance` stays where it is, and the loop ends when all have: `vmap` over alpha shares X between
    them, a run in every column, `vmap` over data sets makes one batched product of it, and all of it is one program.

    Args:
        x: examples X in rows.
        y: targets.
        alpha: positive scale of the start, a scalar or of shape (d,).
        depth: L >= 2.
        relative_step: in (0, 1]; a small one follows the flow closely.
        learning_rate: a step size for every step instead; a run that diverges ends.
        tolerance: of the loss, at least 0. The rounding of w, an epsilon of alpha^L, leaves a loss that large starts in float32 cannot
            get below.
        max_steps: most steps, rounded up to a multiple of 20. The number grows as alpha^(2 - 2 L) for small alpha: what sparse
            weights leave of y has to be fitted by weights that have hardly moved.

    Returns:
        The net, and whether it converged.

    Raises:
        ValueError: if shapes do not fit, `depth` < 2, `alpha`, `relative_step` or `learning_rate` is out of its range, or an entry
            of `x` or `y` is not finite (NaN results when traced).
        TypeError: if an array is not real.

    Source: Arora et al., Theory of Deep Learning, Theorem 8.1.7, whose loss lacks the sum; Woodworth et al. 2020; spec BIAS-16 and
    BIAS-18. Cost: 4 n d multiplications a step, and one singular value decomposition of X.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> x, y = jnp.array([[1.0, 2.0]]), jnp.array([4.0])
        >>> train = lambda alpha: implicit_bias.train_diagonal_net(x, y, alpha, relative_step=0.1, tolerance=1e-10).w
        >>> found = jax.vmap(train)(jnp.array([0.01, 10.0]))
        >>> [[round(float(entry), 1) for entry in w] for w in found]  # least l1, and least l2
        [[0.0, 2.0], [0.8, 1.6]]
    """
    x, y = data(x, y)
    depth = positive_integer("depth", depth, at_least=2)
    u, v = diagonal_net(depth).start(alpha, x.shape[1])
    fraction = floating("relative_step", relative_step)
    fraction = checked(fraction, ((fraction > 0) & (fraction <= 1), f"relative_step must be in (0, 1]; got {relative_step}"))
    rate = None if learning_rate is None else floating("learning_rate", learning_rate)
    if rate is not None:
        rate = checked(rate, (rate > 0, f"learning_rate must be positive; got {learning_rate}")).astype(x.dtype)
    tolerance = floating("tolerance", tolerance)
    tolerance = checked(tolerance, (tolerance >= 0, f"tolerance must be at least 0; got {tolerance}")).astype(x.dtype)
    smoothness = 2 / x.shape[0] * jnp.linalg.norm(x, 2) ** 2
    steps = _Steps(smoothness, fraction.astype(x.dtype), rate, tolerance)
    rounds = -(-positive_integer("max_steps", max_steps) // STEPS_A_ROUND)
    start = jax.tree.map(lambda leaf: leaf[..., None], ((u.astype(x.dtype), v.astype(x.dtype)), steps))
    return jax.tree.map(lambda leaf: leaf[..., 0], _columns(depth, rounds)(x, y, *start))


class _Steps(NamedTuple):
    """How step sizes are chosen: a fraction of the inverse of a bound, or one rate for all; zero where the loss is small or not finite."""

    smoothness: Float[Array, "..."]
    fraction: Float[Array, "..."]
    rate: Float[Array, "..."] | None
    tolerance: Float[Array, "..."]

    def size(self, depth: int, theta: tuple[Array, Array], gradient: Array, loss: Array) -> Array:
        """The size of the steps of a round."""
        u, v = theta
        metric = (depth**2 * (u ** (2 * depth - 2) + v ** (2 * depth - 2))).max(axis=0)
        bend = (depth * (depth - 1) * jnp.abs(gradient) * jnp.maximum(jnp.abs(u), jnp.abs(v)) ** (depth - 2)).max(axis=0)
        size = self.fraction / (self.smoothness * metric + 4 * STEPS_A_ROUND * bend) if self.rate is None else self.rate
        return jnp.where((loss <= self.tolerance) | ~jnp.isfinite(loss), 0, size)


def _columns(depth: int, rounds: int) -> Callable[[Array, Array, tuple[Array, Array], _Steps], DiagonalNetRun]:
    """Training of as many runs on one data set as there are columns: `vmap` over the runs adds columns."""
    train = partial(_train, depth=depth, rounds=rounds)

    @custom_vmap
    def of_columns(x: Array, y: Array, theta: tuple[Array, Array], steps: _Steps) -> DiagonalNetRun:
        return train(x, y, theta, steps)

    @of_columns.def_vmap
    def more_columns(size: int, mapped: Any, x: Array, y: Array, *runs: Any) -> tuple[DiagonalNetRun, DiagonalNetRun]:
        if mapped[0] or mapped[1]:
            found = jax.vmap(train, jax.tree.map(lambda of_leaf: 0 if of_leaf else None, tuple(mapped)))(x, y, *runs)
        else:

            def joined(leaf: Array, of_leaf: bool) -> Array:
                leaf = jnp.moveaxis(leaf, 0, -1) if of_leaf else jnp.broadcast_to(leaf[..., None], (*leaf.shape, size))
                return leaf.reshape(*leaf.shape[:-2], -1)

            found = of_columns(x, y, *jax.tree.map(joined, runs, tuple(mapped[2:])))
            found = jax.tree.map(lambda leaf: jnp.moveaxis(leaf.reshape(*leaf.shape[:-1], -1, size), -1, 0), found)
        return found, jax.tree.map(lambda _: True, found)

    @jax.custom_jvp
    def differentiable(x: Array, y: Array, theta: tuple[Array, Array], steps: _Steps) -> DiagonalNetRun:
        return of_columns(x, y, theta, steps)

    differentiable.defjvp(lambda primals, tangents: jax.jvp(train, primals, tangents))
    return differentiable


def _train(x: Array, y: Array, theta: tuple[Array, Array], steps: _Steps, *, depth: int, rounds: int) -> DiagonalNetRun:
    """Rounds of steps of one size, in which there are two products of matrices and one pass over u, v, w; runs are in columns."""
    net, transposed = diagonal_net(depth), x.T

    def pulled(w: Array, scale: Array | float) -> tuple[Array, Array]:
        residual = scale * (jnp.matmul(x, w, precision=HIGHEST) - y[:, None])
        return residual, jnp.matmul(transposed, residual, precision=HIGHEST)

    def measured(state: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        residual, gradient = pulled(state[2], 1)
        loss = jnp.mean(residual**2, axis=0)
        return loss, steps.size(depth, state[:2], (2 / len(y)) * gradient, loss)

    def round_of_steps(carry: tuple[Any, Array, Array, Array]) -> tuple[Any, Array, Array, Array]:
        state, size, _, count = carry
        scale = (2 * depth / len(y)) * size

        def step(state: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
            u, v, w = state
            move = pulled(w, scale)[1]
            u, v = u - move * u ** (depth - 1), v + move * v ** (depth - 1)
            return (u, v, net((u, v))), None

        state = jax.lax.scan(step, state, None, length=STEPS_A_ROUND)[0]
        loss, size = measured(state)
        found = state, size, loss, count + 1
        return jax.tree.map(partial(jnp.where, unfinished(carry)), found, carry)

    def unfinished(carry: tuple[Any, Array, Array, Array]) -> Array:
        return (carry[1] > 0) & (carry[3] < rounds)

    start = (*theta, net(theta))
    loss, size = measured(start)
    carry = start, size, loss, jnp.zeros_like(loss, jnp.int32)
    (u, v, w), _, loss, count = jax.lax.while_loop(lambda carry: unfinished(carry).any(), round_of_steps, carry)
    return DiagonalNetRun((u, v), w, loss, STEPS_A_ROUND * count, loss <= steps.tolerance)


class RichLazyThresholds(NamedTuple):
    """Scales of the start beyond which a diagonal net of depth 2 has nearly the least norm; returned by `rich_lazy_thresholds`.

    Attributes:
        rich: from any alpha up to this the l1 norm is at most 1 + epsilon times the least.
        lazy: from any alpha of at least this the square of the l2 norm is at most 1 + epsilon times the least.
    """

    rich: Float[Array, ""]
    lazy: Float[Array, ""]


def rich_lazy_thresholds(x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"], epsilon: ArrayLike) -> RichLazyThresholds:
    r"""Sufficient scales for the rich and the lazy regime of $w = u \odot u - v \odot v$ trained by gradient flow from u = v = alpha.

    Rich: $\alpha \le \min\{(2 (1 + \epsilon) \lVert w_1 \rVert_1)^{-(2 + \epsilon) / (2 \epsilon)}, e^{-d / (\epsilon \lVert w_1
    \rVert_1)}\}$ gives $\lVert w_\infty \rVert_1 \le (1 + \epsilon) \lVert w_1 \rVert_1$; lazy: $\alpha \ge \sqrt{2 (1 + \epsilon) (1 +
    2 / \epsilon) \lVert w_2 \rVert_2}$ gives $\lVert w_\infty \rVert_2^2 \le (1 + \epsilon) \lVert w_2 \rVert_2^2$, where $w_1$ and
    $w_2$ are the interpolators of least norm.

    Args:
        x: examples X in rows.
        y: targets, not all zero.
        epsilon: relative excess of the norms, between 0 and d.

    Returns:
        The two scales; the first may underflow to zero.

    Raises:
        ValueError: if shapes do not fit, no w has X w = y, y is zero, or `epsilon` is not in (0, d) (NaN results when traced).
        TypeError: if an array is not real.

    Source: Woodworth et al. 2020, Theorem 2; spec BIAS-17. Cost: a linear program and a singular value decomposition.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> found = implicit_bias.rich_lazy_thresholds(jnp.array([[3.0, 4.0]]), jnp.array([5.0]), 1.0)
        >>> round(float(found.rich), 4), round(float(found.lazy), 4)
        (0.0894, 3.4641)
    """
    x, y = data(x, y)
    epsilon = floating("epsilon", epsilon).astype(x.dtype)
    epsilon = checked(epsilon, ((epsilon > 0) & (epsilon < x.shape[1]), f"epsilon must be in (0, {x.shape[1]}); got {epsilon}"))
    least_l1, least_l2 = _least_norms(x, y)
    power = jnp.exp(-(2 + epsilon) / (2 * epsilon) * jnp.log(2 * (1 + epsilon) * least_l1))
    exponential = jnp.exp(-x.shape[1] / (epsilon * least_l1))
    return RichLazyThresholds(jnp.minimum(power, exponential), jnp.sqrt(2 * (1 + epsilon) * (1 + 2 / epsilon) * least_l2))


def _least_norms(x: Array, y: Array) -> tuple[Array, Array]:
    """Least l1 and l2 norm of an interpolator."""
    y = checked(y, (y != 0, "y must not be zero: the interpolators of least norm are zero then"))
    return jnp.abs(min_l1_interpolator(x, y)).sum(), jnp.linalg.norm(min_norm_interpolator(x, y))


class ExcessNorms(NamedTuple):
    """Interpolators, and how much larger than the least their norms are; returned by `excess_norms` and `excess_norm_curve`.

    Attributes:
        w: interpolators, shape (..., d).
        l1: ||w||_1 over the least, less 1, shape (...).
        l2: ||w||_2 over the least, less 1, shape (...).
    """

    w: Float[Array, "*A d"]
    l1: Float[Array, "*A"]
    l2: Float[Array, "*A"]


def excess_norms(x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"], w: Float[ArrayLike, "*A d"]) -> ExcessNorms:
    r"""$\lVert w \rVert_1 / \lVert w_1 \rVert_1 - 1$ and $\lVert w \rVert_2 / \lVert w_2 \rVert_2 - 1$ with the interpolators of least norm.

    Args:
        x: examples X in rows.
        y: targets, not all zero.
        w: interpolators, for example ends of training; one that has X w = y only nearly may be below zero.

    Returns:
        Both excesses.

    Raises:
        ValueError: if shapes do not fit, no w has X w = y, or y is zero (NaN results when traced).
        TypeError: if an array is not real.

    Source: Woodworth et al. 2020, figure 2; spec BIAS-17.
    """
    x, y = data(x, y)
    w = floating("w", w)
    require(w.shape[-1:] == x.shape[1:], f"w must have {x.shape[1]} entries in its last axis; got shape {w.shape}")
    least_l1, least_l2 = _least_norms(x, y)
    return ExcessNorms(w, jnp.abs(w).sum(axis=-1) / least_l1 - 1, jnp.linalg.norm(w, axis=-1) / least_l2 - 1)


def excess_norm_curve(x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"], alphas: Float[ArrayLike, " A"], depth: int = 2) -> ExcessNorms:
    r"""Excess norms of what gradient flow of $w = u^{\odot L} - v^{\odot L}$ from u = v = alpha ends in, by its potential.

    Args:
        x: examples X in rows.
        y: targets, not all zero.
        alphas: positive scales of the start.
        depth: L >= 2.

    Returns:
        Interpolators and their excess norms, one for every alpha; NaN where the dual problem was not solved.

    Raises:
        ValueError: if shapes do not fit, `depth` < 2, an alpha is not positive, no w has X w = y, or y is zero (NaN results when
            traced).
        TypeError: if an array is not real.

    Source: Arora et al., Theory of Deep Learning, Theorem 8.1.7; Woodworth et al. 2020, Theorems 2 and 3; spec BIAS-17 and BIAS-18.
    Cost: a linear program and 3 to 30 Newton steps of O(n^2 d) for every alpha.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> curve = implicit_bias.excess_norm_curve(jnp.array([[1.0, 2.0]]), jnp.array([2.0]), jnp.array([1e-4, 0.5, 50.0]))
        >>> [round(abs(float(excess)), 2) for excess in curve.l1], bool(jnp.all(jnp.diff(curve.l2) < 0))
        ([0.0, 0.17, 0.2], True)
    """
    x, y = data(x, y)
    depth = positive_integer("depth", depth, at_least=2)
    alphas = floating("alphas", alphas).astype(x.dtype)
    require(alphas.ndim == 1 and alphas.size > 0, f"alphas must be a vector; got shape {alphas.shape}")
    alphas = checked(alphas, (alphas > 0, "alphas must be positive"))

    def limit(alpha: Array) -> Array:
        found = bregman_interpolator(diagonal_depth(alpha, depth), x, y, jnp.zeros_like(x[0]))
        return jnp.where(found.converged, found.w, jnp.nan)

    return excess_norms(x, y, jax.vmap(limit)(alphas))
