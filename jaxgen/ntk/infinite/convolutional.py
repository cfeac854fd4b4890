"""Kernels of infinitely wide convolutional nets."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import choice, positive_integer, require
from jaxgen.ntk.infinite.activations import DualActivation, dual_activation
from jaxgen.ntk.infinite.fully_connected import Kernels, activate
from jaxgen.ntk.infinite.gaussians import Gaussians, from_distances, square_root
from jaxgen.ntk.infinite.inputs import examples, variances

CHUNK_ENTRIES = 2**16
FEWEST_PAIRS = 8
LIVE_ARRAYS = 12


def convolutional(
    x1: Float[ArrayLike, "n height width channels"],
    x2: Float[ArrayLike, "m height width channels"] | None = None,
    *,
    depth: int,
    filter_size: int,
    activation: str | DualActivation,
    weight_variance: Float[ArrayLike, ""] = 1.0,
    bias_variance: Float[ArrayLike, ""] = 0.0,
    pooling: str = "flatten",
    padding: str = "zero",
    chunk_size: int | None = None,
    memory_limit: float = 4 * 2.0**30,
) -> Kernels:
    r"""CNTK and NNGP kernel of a convolutional net with `depth` layers of infinitely many channels, stride 1.

    With $T(K)_{ij,kl} = \sum_{|a|, |b| \le (q - 1) / 2} K_{i+a,j+b,k+a,l+b}$ over pairs of positions, w and $\beta$ the variances
    and $c_\sigma$ as in `fully_connected`: $\Sigma^{(0)} = \Theta^{(0)} = w\, T(\langle x, x' \rangle) + \beta$, for h = 1, ..., depth
    $$K^{(h)} = \frac{w c_\sigma}{q^2} E[\sigma(u) \sigma(v)], \quad \dot K^{(h)} = \frac{w c_\sigma}{q^2} E[\dot\sigma(u) \dot\sigma(v)],
      \quad (u, v) \sim N(0, \Sigma^{(h-1)}),$$
    $\Sigma^{(h)} = T(K^{(h)}) + \beta$, $\Theta^{(h)} = T(\dot K^{(h)} \Theta^{(h-1)} + K^{(h)}) + \beta$, and without T in the last layer,
    which a dense layer reads out: $\sum_{ij} \Theta_{ij,ij} + \beta$ after `"flatten"`, $\frac{1}{(PQ)^2} \sum_{ij,kl} \Theta_{ij,kl} + \beta$ after
    global average pooling. The first layer divides neither by q^2 nor by the number of channels.

    Layers carry squared distances E(u - v)^2, which add up under T and ignore $\beta$, so that patches that coincide are exact.
    Derivatives follow the convention of `fully_connected`; antipodal patches keep in float32 an error of 2e-4 in $\dot K$ of a ReLU.

    Args:
        x1: images, shape (n, P, Q, channels).
        x2: images of the same shape, (m, P, Q, channels); default `x1`, of whose pairs only one half is then computed.
        depth: L >= 1, the number of convolutions.
        filter_size: q, odd.
        activation: a name or a `DualActivation`, see `dual_activation`.
        weight_variance: w >= 0.
        bias_variance: beta >= 0.
        pooling: `"flatten"`, in PQ operations a pair and layer, or `"gap"`, in (PQ)^2.
        padding: `"zero"` or `"circular"`.
        chunk_size: pairs of images at a time; default: as many as stay in a cache, but at least 8.
        memory_limit: bytes that the chunk and the kernels may take.

    Returns:
        `Kernels` of shape (n, m).

    Raises:
        ValueError: if shapes do not fit, an input is empty, `depth` < 1, `filter_size` is even, a name is unknown, a
            variance is negative, or the memory would pass `memory_limit`.
        TypeError: if an input is not real, or `activation` neither a name nor a `DualActivation`.

    Source: Arora et al. 2019, section 4; NTK-23.

    Example:
        >>> import jax
        >>> from jaxgen import ntk
        >>> x = jax.random.normal(jax.random.key(0), (5, 8, 8, 3))
        >>> ntk.infinite.convolutional(x, depth=2, filter_size=3, activation="relu", pooling="gap").ntk.shape
        (5, 5)
    """
    first, second = examples(x1, x2, ndim=4)
    depth, filter_size = positive_integer("depth", depth), positive_integer("filter_size", filter_size)
    require(filter_size % 2 == 1, f"filter_size must be odd; got {filter_size}")
    choice("pooling", pooling, ("flatten", "gap"))
    choice("padding", padding, ("zero", "circular"))
    require(
        padding == "zero" or filter_size <= min(first.shape[1:3]),
        f"with circular padding filter_size must not exceed the image, here {first.shape[1]} x {first.shape[2]}; got {filter_size}",
    )
    weight, bias = variances(weight_variance, bias_variance, first.dtype)
    n, m = first.shape[0], first.shape[0] if second is None else second.shape[0]
    num_pairs = _num_pairs(n, None if second is None else m)
    size = math.prod(first.shape[1:3]) ** (1 if pooling == "flatten" else 2)
    chunk = max(CHUNK_ENTRIES // size, FEWEST_PAIRS) if chunk_size is None else positive_integer("chunk_size", chunk_size)
    chunk = math.ceil(num_pairs / math.ceil(num_pairs / chunk))
    needed = (LIVE_ARRAYS * size * chunk + 4 * n * m) * first.dtype.itemsize
    require(
        needed <= memory_limit,
        f"{chunk} pairs at a time of {size} positions each would take {needed / 2**30:.2f} GiB, above memory_limit of {memory_limit / 2**30:.2f} GiB;"
        " give a smaller chunk_size or smaller images",
    )
    static = {"depth": depth, "filter_size": filter_size, "dual": dual_activation(activation), "pooling": pooling, "padding": padding}
    return _kernels(first, second, weight, bias, chunk=chunk, **static)


@functools.partial(jax.jit, static_argnames=("depth", "filter_size", "dual", "pooling", "padding", "chunk"))
def _kernels(x1: Array, x2: Array | None, weight: Array, bias: Array | None, *, chunk: int, **static) -> Kernels:
    n, m = x1.shape[0], x1.shape[0] if x2 is None else x2.shape[0]
    first, second = (jnp.moveaxis(x, 0, -1) for x in (x1, x1 if x2 is None else x2))
    num_pairs = _num_pairs(n, None if x2 is None else m)

    @jax.checkpoint
    def pairs(start: Array) -> Kernels:
        quotient, i = jnp.divmod((start + jnp.arange(chunk)) % num_pairs, n)
        j = (i + quotient) % n if x2 is None else quotient
        return _pairs(first[..., i], second[..., j], weight, bias, **static)

    values = jax.tree.map(lambda k: k.ravel()[:num_pairs].reshape(-1, n), lax.map(pairs, jnp.arange(0, num_pairs, chunk)))
    if x2 is not None:
        return jax.tree.map(jnp.transpose, values)
    i, j = jnp.arange(n)[:, None], jnp.arange(n)
    ahead = (j - i) % n <= n // 2
    return jax.tree.map(lambda k: jnp.where(ahead, k[jnp.where(ahead, (j - i) % n, 0), i], k[jnp.where(ahead, 0, (i - j) % n), j]), values)


def _num_pairs(n: int, m: int | None) -> int:
    """All pairs of n and m images; of one set, image i with i + s (mod n) for s up to n / 2, which are all unordered pairs."""
    return n * (n // 2 + 1) if m is None else n * m


def _pairs(
    x: Array, y: Array, weight: Array, bias: Array | None, *, depth: int, filter_size: int, dual: DualActivation, pooling: str, padding: str
) -> Kernels:
    """Kernels of images (P, Q, channels, B) in pairs. Positions are (P, Q) or (P, P, Q, Q), pairs last so that all runs are long."""
    flat = pooling == "flatten"
    spread_x, spread_y = (lambda a: a if flat else a[:, None, :, None]), (lambda a: a if flat else a[None, :, None, :])
    windows = functools.partial(_window_sums, filter_size=filter_size, padding=padding)
    offset = 0 if bias is None else bias

    def positions(direction: int) -> tuple[int, ...]:
        return (direction,) if flat else (2 * direction, 2 * direction + 1)

    def patches(a: Array, b: Array, distance: Array) -> tuple[Array, Array, Array]:
        """T of both variances and of the squared distance, in which what lies outside of one image alone is the other's variance."""
        for direction in (0, 1):
            margin = [(filter_size // 2,) * 2 if axis == direction else (0, 0) for axis in range(a.ndim)]
            outside = None if flat or padding == "circular" else spread_x(jnp.pad(a, margin)) + spread_y(jnp.pad(b, margin))
            a, b, distance = windows(a, (direction,)), windows(b, (direction,)), windows(distance, positions(direction), outside=outside)
        return a + offset, b + offset, distance

    def correlated(a: Array, b: Array, distance: Array) -> Gaussians:
        return from_distances(spread_x(square_root(a)), spread_y(square_root(b)), distance)

    def add(total: Array, channels: tuple[Array, Array]) -> tuple[Array, None]:
        return total + (spread_x(channels[0]) - spread_y(channels[1])) ** 2, None

    per_channel = jnp.moveaxis(x, 2, 0), jnp.moveaxis(y, 2, 0)
    distance, _ = lax.scan(add, jnp.zeros(jnp.broadcast_shapes(spread_x(x[:, :, 0]).shape, spread_y(y[:, :, 0]).shape), x.dtype), per_channel)
    a, b, distance = patches(weight * jnp.sum(x**2, axis=2), weight * jnp.sum(y**2, axis=2), weight * distance)

    def layer(a: Array, b: Array, distance: Array, ntk: Array) -> tuple[Array, Array, Array, Array, Array]:
        scale = weight / filter_size**2
        pairs, slope = activate(correlated(a, b, distance), scale, dual)
        nngp = pairs.scale * (1 - pairs.gap)
        distance = (pairs.std_u - pairs.std_v) ** 2 + 2 * pairs.scale * pairs.gap
        a, b = (scale * dual.normalization * dual.variance(v) for v in (a, b))
        return a, b, distance, slope * ntk + nngp, nngp

    def body(state: tuple[Array, Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array, Array], None]:
        *squares, ntk, _nngp = layer(*state)
        ntk = windows(windows(ntk, positions(0)), positions(1)) + offset
        return (*patches(*squares), ntk), None

    state, _ = lax.scan(body, (a, b, distance, correlated(a, b, distance).covariance), None, length=depth - 1)
    *_, ntk, nngp = layer(*state)
    axes = tuple(range(ntk.ndim - 1))
    readout = jnp.sum if flat else jnp.mean
    return Kernels(readout(ntk, axis=axes) + offset, readout(nngp, axis=axes) + offset)


def _window_sums(k: Array, axes: tuple[int, ...], *, filter_size: int, padding: str, outside: Array | None = None) -> Array:
    """Sums over windows along `axes` together: T in one direction of the image; `outside` stands beyond either edge in place of zeros."""
    radius, size = filter_size // 2, k.shape[axes[0]]
    margin = [(radius, radius) if axis in axes else (0, 0) for axis in range(k.ndim)]
    wide = jnp.pad(k, margin, mode="wrap" if padding == "circular" else "constant")
    if outside is not None:
        index = [lax.broadcasted_iota(jnp.int32, wide.shape, axis) for axis in axes]
        inside = functools.reduce(jnp.logical_and, [(i >= radius) & (i < radius + size) for i in index])
        wide = jnp.where(inside, wide, outside)
    shifted = (tuple(slice(s, s + size) if axis in axes else slice(None) for axis in range(k.ndim)) for s in range(filter_size))
    return functools.reduce(jnp.add, [wide[window] for window in shifted])
