"""Ito equations: their paths by the method of Euler and Maruyama, the canonical equation of SGD, and the change of time."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen import gradients
from jaxgen._core.checks import checked, choice, floating, leading_axis, positive_integer, require
from jaxgen._core.monte_carlo import gaussian_like
from jaxgen._core.scan import iterate
from jaxgen.processes.brownian import checked_times

LossFn = Callable[[PyTree, PyTree], Array]
Drift = Callable[[PyTree, Any], PyTree]
Diffusion = Callable[..., PyTree]
Record = Callable[[PyTree, Array], PyTree]

KINDS = ("scalar", "diagonal", "matrix", "apply")
"""What a diffusion may be."""


def euler_maruyama(
    key: Key[Array, ""],
    drift: Drift,
    diffusion: Diffusion,
    x0: PyTree,
    times: Float[Array, " T+1"],
    *,
    noise: str = "scalar",
    increments: PyTree | None = None,
    record: Record | None = None,
    every: int = 1,
) -> tuple[PyTree, PyTree]:
    """A path of dX = b(X, t) dt + s(X, t) dW in T steps, X_{k+1} = X_k + b dt_k + s dW_k with dW_k ~ N(0, dt_k I).

    The weak order is 1, the strong order 1/2 (1 if s does not depend on X). Map it with `vmap` over keys for many paths
    in one program.

    Args:
        key: key of the noise; that of step k depends on it and on k alone.
        drift: b, `drift(x, t)` of the structure and shapes of x, with t the time at the start of the step.
        diffusion: s, at least 0 where it is `"scalar"` or `"diagonal"`:

            - `noise="scalar"`: `diffusion(x, t)` a scalar, times an own Brownian motion for every coordinate;
            - `"diagonal"`: a pytree like x, one value for every coordinate;
            - `"matrix"`: a square matrix (d, d) for an array x of shape (d,); the covariance is s s^T;
            - `"apply"`: `diffusion(x, t, key)`, a pytree like x that is a draw of N(0, s s^T), for noise whose covariance
              is not formed, such as `gradients.noise_covariance(...).sample` or that of `canonical_sde`.
        x0: start, a pytree of floating leaves (integers become the default float).
        times: the start's time and the T times after each step, increasing, shape (T + 1,).
        noise: what `diffusion` returns, see there.
        increments: increments of a Brownian motion over the steps, a pytree like x whose leaves have leading axis T, in
            place of drawing them: `jnp.diff(path, axis=0)` of `brownian_path`. Not for `"apply"`.
        record: `record(x, t)` with the state *before* a step and its time; whatever pytree of arrays it returns is stacked.
        every: record before steps 0, every, 2 every, ...

    Returns:
        The state at the last time, and the records stacked along a leading axis of length ceil(T / every), None without
        `record`.

    Raises:
        ValueError: if `times` hold fewer than two times or do not increase, the diffusion is negative at the start (NaN
            results when traced or negative later), not square, or drift and diffusion have not the shapes of x; if
            `increments` have not T rows or come with `"apply"`; if `every` < 1 or `noise` is unknown.
        TypeError: if a leaf of `x0` is not real.

    Source: Maruyama 1955; Kloeden and Platen 1992, chapter 14; spec SDE-7. Cost: T drifts, diffusions and draws; memory of
    one state, whatever T is, besides the records.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> path = lambda key: processes.euler_maruyama(key, lambda x, t: -x, lambda x, t: 0.5, jnp.ones(2), jnp.linspace(0.0, 1.0, 101))[0]
        >>> ends = jax.vmap(path)(jax.random.split(jax.random.key(0), 1000))
        >>> ends.shape, bool(abs(ends.mean() - 0.99**100) < 0.03)
        ((1000, 2), True)
    """
    choice("noise", noise, KINDS)
    times = checked_times("times", times, at_least=2)
    num_steps = len(times) - 1
    x0 = jax.tree.map(lambda leaf: floating("x0", leaf), x0)
    _check_coefficients(key, drift, diffusion, x0, times[0], noise)
    if increments is not None:
        require(noise != "apply", "increments have no meaning for noise='apply', which draws its own")
        increments = _checked_increments(increments, x0, num_steps)
    steps = jnp.diff(times)

    def step(x, k):
        t, dt = times[k], steps[k]
        if noise == "apply":
            draw = diffusion(x, t, jax.random.fold_in(key, k))
            displacement = jax.tree.map(lambda leaf: jnp.sqrt(dt).astype(jnp.result_type(leaf)) * leaf, draw)
        else:
            if increments is None:
                dw = gaussian_like(jax.random.fold_in(key, k), x, jnp.sqrt(dt))
            else:
                dw = jax.tree.map(lambda leaf: leaf[k], increments)
            displacement = _spread(noise, diffusion(x, t), dw)
        return jax.tree.map(lambda x, b, n: x + dt.astype(x.dtype) * _like(b, x) + _like(n, x), x, drift(x, t), displacement), None

    observe = None if record is None else lambda x, _, k: record(x, times[k])
    return iterate(step, x0, num_steps, record=observe, every=every)


def canonical_sde(loss_fn: LossFn, data: PyTree, learning_rate: ArrayLike, batch_size: int, *, replacement: bool = True) -> tuple[Drift, Diffusion]:
    """The equation that SGD approximates, dX = -grad f(X) dt + sqrt(eta) sigma Sigma(X)^{1/2} dW; a step of SGD is time eta.

    sigma^2 Sigma is the covariance of a mini-batch gradient, Sigma / b with replacement. Neither it nor its root is formed:
    a draw of the noise is one weighted gradient. SGD at eta, b and its equation differ by O(eta) in the expectation of
    smooth functions of polynomial growth over any fixed time, if eta sigma^2 is fixed.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples; f is its mean over `data`.
        data: the training set, a pytree whose leaves have leading axis N >= 2.
        learning_rate: eta > 0, a scalar.
        batch_size: b.
        replacement: whether a batch may hold an example twice.

    Returns:
        `(drift, diffusion)` for `euler_maruyama(..., noise="apply")`. Both are pytrees with the data as leaves, so that
        they may be arguments of `jit`.

    Raises:
        ValueError: if `learning_rate` is not a positive scalar (NaN results when traced), N < 2, `batch_size` < 1, or
            `batch_size` > N without replacement.

    Source: Li, Tai and E 2019; Arora et al., Theory of Deep Learning, equation (12.4); spec SDE-9. Cost of a step: a
    gradient of the full batch and a draw, which share their forward pass in a compiled program.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> loss_fn = lambda x, a: (x - a) ** 2
        >>> drift, diffusion = processes.canonical_sde(loss_fn, jnp.array([3.0, -3.0]), 0.1, 1)
        >>> x, _ = processes.euler_maruyama(jax.random.key(0), drift, diffusion, 1.0, jnp.linspace(0.0, 1.0, 11), noise="apply")
        >>> float(drift(1.0, 0.0)), x.shape
        (-2.0, ())
    """
    rate = floating("learning_rate", learning_rate)
    require(rate.ndim == 0, f"learning_rate must be a scalar; got shape {rate.shape}")
    rate = checked(rate, (rate > 0, f"learning_rate must be positive; got {learning_rate}"))
    count = leading_axis("data", data)
    require(count >= 2, f"data must hold at least 2 examples; got {count}")
    size = positive_integer("batch_size", batch_size)
    require(replacement or size <= count, f"batch_size must be at most N = {count} without replacement; got {size}")
    data = jax.tree.map(jnp.asarray, data)
    return _Descent(loss_fn, data), _GradientNoise(loss_fn, data, jnp.sqrt(rate), size, replacement)


def time_change(drift: Drift, diffusion: Diffusion, a: ArrayLike) -> tuple[Drift, Diffusion]:
    """Coefficients of Y_tau = X_{a tau}: a b(y, a tau) and sqrt(a) s(y, a tau).

    The equality is one of laws, since W_{a tau} = sqrt(a) W_tau is.

    Args:
        drift: b, `drift(x, t)`.
        diffusion: s, of any kind that `euler_maruyama` takes.
        a: a > 0, a scalar.

    Returns:
        `(drift, diffusion)` of Y, of the same kind.

    Raises:
        ValueError: if `a` is not a positive scalar (NaN results when traced).

    Source: Arora et al., Theory of Deep Learning, Example 12.2.3 (which prints the coefficients at tau in place of a tau);
    spec SDE-8.

    Example:
        >>> from jaxgen import processes
        >>> drift, diffusion = processes.time_change(lambda x, t: -x * t, lambda x, t: 1.0, 4.0)
        >>> float(drift(1.0, 0.5)), float(diffusion(1.0, 0.5))
        (-8.0, 2.0)
    """
    scale = floating("a", a)
    require(scale.ndim == 0, f"a must be a scalar; got shape {scale.shape}")
    scale = checked(scale, (scale > 0, f"a must be positive; got {a}"))

    def times(factor: Array, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: factor.astype(jnp.result_type(float, leaf)) * leaf, tree)

    def faster_drift(x, t):
        return times(scale, drift(x, scale * t))

    def faster_diffusion(x, t, *key):
        return times(jnp.sqrt(scale), diffusion(x, scale * t, *key))

    return faster_drift, faster_diffusion


class _Descent(eqx.Module):
    """-grad f."""

    loss_fn: LossFn = eqx.field(static=True)
    data: PyTree

    def __call__(self, x: PyTree, t: ArrayLike) -> PyTree:
        return jax.tree.map(jnp.negative, gradients.value_and_gradient(self.loss_fn, x, self.data)[1])


class _GradientNoise(eqx.Module):
    """Draws with sqrt(eta) times the root of a mini-batch gradient's covariance."""

    loss_fn: LossFn = eqx.field(static=True)
    data: PyTree
    scale: Float[Array, ""]
    batch_size: int = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)

    def __call__(self, x: PyTree, t: ArrayLike, key: Key[Array, ""]) -> PyTree:
        covariance = gradients.noise_covariance(self.loss_fn, x, self.data, batch_size=self.batch_size, replacement=self.replacement)
        return jax.tree.map(lambda leaf: self.scale.astype(leaf.dtype) * leaf, covariance.sample(key))


def _like(value: ArrayLike, leaf: Array) -> Array:
    return jnp.asarray(value).astype(leaf.dtype)


def _spread(noise: str, s: Any, dw: PyTree) -> PyTree:
    """s dW, NaN where a scalar or diagonal s is negative."""
    if noise == "matrix":
        return jnp.matmul(s, dw, precision=jax.lax.Precision.HIGHEST)
    if noise == "scalar":
        return jax.tree.map(lambda w: _like(_not_negative(s), w) * w, dw)
    return jax.tree.map(lambda s, w: _like(_not_negative(s), w) * w, s, dw)


def _not_negative(s: ArrayLike) -> Array:
    return jnp.where(jnp.asarray(s) >= 0, s, jnp.nan)


def _check_coefficients(key: Key[Array, ""], drift: Drift, diffusion: Diffusion, x0: PyTree, t: Array, noise: str) -> None:
    """Raises `ValueError` unless the coefficients have the shapes that x and `noise` ask for, and are not negative at the start."""
    shapes = jax.tree.map(jnp.shape, x0)
    found = jax.tree.map(jnp.shape, jax.eval_shape(drift, x0, t))
    require(found == shapes, f"drift must return the structure and shapes of x0, {shapes}; got {found}")
    expected = {"scalar": (), "diagonal": shapes, "apply": shapes}.get(noise)
    if noise == "matrix":
        require(isinstance(x0, jax.Array) and x0.ndim == 1, f"x0 must be an array of shape (d,) for noise='matrix'; got {shapes}")
        expected = (x0.size, x0.size)
    args = (x0, t, key) if noise == "apply" else (x0, t)
    found = jax.tree.map(jnp.shape, jax.eval_shape(diffusion, *args))
    require(found == expected, f"diffusion must return {expected} for noise={noise!r} and x0 of shape {shapes}; got {found}")
    if noise in ("scalar", "diagonal"):
        smallest = jnp.min(jnp.stack([jnp.min(leaf) for leaf in jax.tree.leaves(diffusion(x0, t))]))
        checked(smallest, (~(smallest < 0), f"diffusion must be at least 0; got {smallest} at the start"))


def _checked_increments(increments: PyTree, x0: PyTree, num_steps: int) -> PyTree:
    increments = jax.tree.map(lambda leaf: floating("increments", leaf), increments)
    expected = jax.tree.map(lambda leaf: (num_steps, *leaf.shape), x0)
    found = jax.tree.map(jnp.shape, increments)
    require(found == expected, f"increments must have the structure of x0 with leading axis {num_steps}, {expected}; got {found}")
    return increments
