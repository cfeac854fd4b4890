"""Brownian paths at given times, and their refinement by bridges, so that one path serves several step sizes."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxgen._core.checks import checked, floating, positive_integer, require


def brownian_path(key: Key[Array, ""], times: Float[Array, " T"], shape: int | tuple[int, ...] = ()) -> Float[Array, "T *shape"]:
    """A Brownian motion at given times: W_0 = 0, independent increments W_t - W_s ~ N(0, (t - s) I).

    Args:
        key: key of the draw.
        times: increasing times of at least 0; the first need not be 0.
        shape: shape of W_t, or its dimension.

    Returns:
        The path, of the dtype of `times`. `jnp.diff(path, axis=0)` are `increments` for `euler_maruyama`; those of every
        k-th point, `jnp.diff(path[::k], axis=0)`, drive the same equation with steps k times as long.

    Raises:
        ValueError: if `times` are no vector, negative or not increasing (NaN results when traced), or a size is below 1.

    Source: Arora et al., Theory of Deep Learning, Definition 12.2.2; spec SDE-6.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> processes.brownian_path(jax.random.key(0), jnp.linspace(0.0, 1.0, 101), 3).shape
        (101, 3)
    """
    times = checked_times("times", times, at_least=1)
    times = checked(times, (times >= 0, "times must be at least 0"))
    noise = jax.random.normal(key, (len(times), *_shape(shape)), times.dtype)
    return jnp.cumsum(_over(jnp.sqrt(jnp.diff(times, prepend=0)), noise) * noise, axis=0)


def brownian_refine(
    key: Key[Array, ""],
    times: Float[Array, " T"],
    path: Float[Array, "T *shape"],
    finer_times: Float[Array, " S"],
) -> Float[Array, "S *shape"]:
    """The same Brownian motion at more times: drawn given the path so far, by bridges between its points.

    Between known W_l and W_r, W_u ~ N(W_l + (u - l) / (r - l) (W_r - W_l), (u - l)(r - u) / (r - l) I), one new point after
    the other; after the last known point by increments, before the first by the bridge from W_0 = 0.

    Args:
        key: key of the new points, other than those that the path so far was drawn with.
        times: times of the known points, increasing, at least 0.
        path: the known points, from `brownian_path` or from here.
        finer_times: times to return, increasing, at least 0. Where one of them equals one of `times`, to the last bit, the
            known point is returned, to the last bit: take the coarse grid from the fine one, `times = finer_times[::k]`.

    Returns:
        The path at `finer_times`, of the dtype of `path`.

    Raises:
        ValueError: if times are no vector, negative or not increasing (NaN results when traced), or `path` has not one
            point per time.

    Source: spec SDE-6.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> keys, fine = jax.random.split(jax.random.key(0)), jnp.linspace(0.0, 1.0, 9)
        >>> coarse = processes.brownian_path(keys[0], fine[::4])
        >>> bool(jnp.all(processes.brownian_refine(keys[1], fine[::4], coarse, fine)[::4] == coarse))
        True
    """
    times, finer = checked_times("times", times, at_least=1), checked_times("finer_times", finer_times, at_least=1)
    path = floating("path", path)
    require(path.ndim >= 1 and len(path) == len(times), f"path must have one point per time, {len(times)}; got shape {path.shape}")
    path = checked(path, (times >= 0, "times must be at least 0"), (finer >= 0, "finer_times must be at least 0"))
    times, finer = times.astype(path.dtype), finer.astype(path.dtype)
    known_times = jnp.concatenate([jnp.zeros(1, path.dtype), times, jnp.array([math.inf], path.dtype)])
    known = jnp.concatenate([jnp.zeros_like(path[:1]), path, jnp.zeros_like(path[:1])])

    def draw(last, new):
        time, index, noise = new
        right, after = known_times[index], known[index]
        newer = last[0] > known_times[index - 1]
        left = jnp.where(newer, last[0], known_times[index - 1])
        before = jnp.where(newer, last[1], known[index - 1])
        between = (right > left) & jnp.isfinite(right)
        fraction = jnp.where(between, (time - left) / jnp.where(between, right - left, 1), 0)
        spread = jnp.sqrt((time - left) * (1 - fraction))
        point = jnp.where(time == right, after, before + fraction * (after - before) + spread * noise)
        return (time, point), point

    noise = jax.random.normal(key, (len(finer), *path.shape[1:]), path.dtype)
    indices = 1 + jnp.searchsorted(times, finer, side="left")
    return jax.lax.scan(draw, (known_times[0], known[0]), (finer, indices, noise))[1]


def checked_times(name: str, times: Float[Array, " T"], *, at_least: int) -> Float[Array, " T"]:
    """`times` as an increasing vector of at least that many; NaN if traced and not increasing."""
    times = floating(name, times)
    require(times.ndim == 1 and times.size >= at_least, f"{name} must be a vector of at least {at_least} times; got shape {times.shape}")
    return checked(times, (jnp.all(jnp.diff(times) > 0) & jnp.all(jnp.isfinite(times)), f"{name} must be finite and increasing"))


def _shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return tuple(positive_integer("shape", size) for size in sizes)


def _over(values: Array, like: Array) -> Array:
    """One value per row of `like`, broadcast against it."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
