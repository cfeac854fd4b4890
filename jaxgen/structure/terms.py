"""What a site contributes to every example's gradient, kept as factors, with the sums of squares and inner products it gives.

In canonical form a cut V of shape (S, I, O) takes activations a (N, S, T, I) to products whose cotangents are g (N, S, T, O):
S indexes independent products (batch axes, convolution groups, scanned layers), T whatever else is summed (positions, time).
Example n's gradient with respect to V is sum_t a[n, s, t, :] g[n, s, t, :]^T.
"""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.structure.axes import Axis
from jaxgen.structure.sites import Site

EXACT = jax.lax.Precision.HIGHEST


class Product(NamedTuple):
    """Gradient sum_t a g^T of every example, as its factors."""

    a: Float[Array, "N S T I"]
    g: Float[Array, "N S T O"]

    def blocks(self) -> Float[Array, "N P"]:
        """The gradients themselves, in the order of (S, I, O)."""
        blocks = jnp.einsum("nsti,nsto->nsio", self.a, self.g, precision=EXACT)
        return blocks.reshape(len(blocks), -1)

    def squared_norms(self) -> Float[Array, " N"]:
        """|gradient|^2 of every example."""
        if self.a.shape[2] == 1:
            return (jnp.square(self.a).sum(axis=(2, 3)) * jnp.square(self.g).sum(axis=(2, 3))).sum(axis=1)
        if self._prefers_pairs():
            inner = jnp.einsum("nsti,nsui->nstu", self.a, self.a, precision=EXACT) * jnp.einsum("nsto,nsuo->nstu", self.g, self.g, precision=EXACT)
            return jnp.maximum(inner.sum(axis=(1, 2, 3)), 0)
        return jnp.square(self.blocks()).sum(axis=1)

    def moments(self) -> tuple[Float[Array, " P"], Float[Array, ""]]:
        """Mean gradient, and mean squared distance from it; factors are centred first, so that a large mean cancels nothing."""
        count, _, summed, _ = self.a.shape
        mean_a, mean_g = self.a.mean(axis=0), self.g.mean(axis=0)
        a, g = self.a - mean_a, self.g - mean_g
        if summed > 1:
            both = Product(jnp.concatenate([self.a, a], axis=2), jnp.concatenate([g, jnp.broadcast_to(mean_g, g.shape)], axis=2))
            if both._prefers_pairs():
                squares = both.squared_norms().mean()
            else:
                return Blocks(self.blocks()).moments()
        else:
            (aa, a_mean, means_a), (gg, g_mean, means_g) = _spread(a, mean_a), _spread(g, mean_g)
            squares = (aa + 2 * a_mean + means_a) * gg + 2 * (aa + a_mean) * g_mean + aa * means_g
            squares = squares.sum(axis=1).mean()
        mean = self._sum() / count
        shift = mean - jnp.einsum("sti,sto->sio", mean_a, mean_g, precision=EXACT)
        return mean.ravel(), jnp.maximum(squares - jnp.square(shift).sum(), 0)

    def _sum(self) -> Float[Array, "S I O"]:
        if self.a.shape[1] == 1:
            return jnp.matmul(self.a.reshape(-1, self.a.shape[3]).T, self.g.reshape(-1, self.g.shape[3]), precision=EXACT)[None]
        return jnp.einsum("nsti,nsto->sio", self.a, self.g, precision=EXACT)

    def _prefers_pairs(self) -> bool:
        summed, into, out = self.a.shape[2], self.a.shape[3], self.g.shape[3]
        return summed * (into + out) < 2 * into * out

    def gram(self, other: "Product") -> Float[Array, "N M"]:
        """Inner products with the gradients of other examples."""
        if self.a.shape[2] == other.a.shape[2] == 1:
            pairs = [inner("nsi,msi->snm", x[:, :, 0], y[:, :, 0]) for x, y in zip(self, other, strict=True)]
            return (pairs[0] * pairs[1]).sum(axis=0)
        if isinstance(self.settled(len(other.a)), Product):
            pairs = [inner("nsti,msui->nmstu", x, y) for x, y in zip(self, other, strict=True)]
            return (pairs[0] * pairs[1]).sum(axis=(2, 3, 4))
        return Blocks(self.blocks()).gram(Blocks(other.blocks()))

    def settled(self, count: int) -> "Product | Blocks":
        """The form in which inner products with `count` others of the same kind cost least."""
        summed, into, out = self.a.shape[2], self.a.shape[3], self.g.shape[3]
        if summed == 1 or count * summed**2 * (into + out) < (2 * summed + count) * into * out:
            return self
        return Blocks(self.blocks())


def inner(subscripts: str, x: Array, y: Array) -> Array:
    """Inner products, added up in single precision at least.

    Args:
        subscripts: as of `jax.numpy.einsum`.
        x: left operand.
        y: right operand.
    """
    return jnp.einsum(subscripts, x, y, precision=EXACT, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))


def _spread(centred: Array, mean: Array) -> tuple[Array, Array, Array]:
    """|x|^2 and <x, mean> of centred vectors x, and |mean|^2."""
    return jnp.square(centred).sum(axis=(2, 3)), (centred * mean).sum(axis=(2, 3)), jnp.square(mean).sum(axis=(1, 2))


class Rows(NamedTuple):
    """Gradient of a table of which every example takes rows: g[n, t] at row index[n, t]."""

    index: Int[Array, "N T"]
    g: Float[Array, "N T O"]
    num_rows: int

    def blocks(self) -> Float[Array, "N P"]:
        """The gradients themselves."""

        def one(index, g):
            return jnp.zeros((self.num_rows, g.shape[1]), g.dtype).at[index].add(g).ravel()

        return jax.vmap(one)(self.index, self.g)

    def squared_norms(self) -> Float[Array, " N"]:
        """|gradient|^2 of every example."""
        same = self.index[:, :, None] == self.index[:, None, :]
        inner = jnp.einsum("nto,nuo->ntu", self.g, self.g, precision=EXACT)
        return jnp.maximum(jnp.where(same, inner, 0).sum(axis=(1, 2)), 0)

    def moments(self) -> tuple[Float[Array, " P"], Float[Array, ""]]:
        """Mean gradient, and mean squared distance from it."""
        table = jnp.zeros((self.num_rows, self.g.shape[2]), self.g.dtype)
        mean = table.at[self.index.ravel()].add(self.g.reshape(-1, self.g.shape[2])) / len(self.g)
        return mean.ravel(), jnp.maximum(self.squared_norms().mean() - jnp.square(mean).sum(), 0)

    def gram(self, other: "Rows") -> Float[Array, "N M"]:
        """Inner products with the gradients of other examples."""

        def one(index, g):
            same = index[None, :, None] == other.index[:, None, :]
            return jnp.where(same, inner("to,muo->mtu", g, other.g), 0).sum(axis=(1, 2))

        return jax.lax.map(lambda example: one(*example), (self.index, self.g))


class Blocks(NamedTuple):
    """Gradients of every example as they are.

    Shapes are those of a `Product` inside, so that a compiler computes once what a bias and its layer's weights have in common.
    """

    rows: Float[Array, "N P"]

    def blocks(self) -> Float[Array, "N P"]:
        """The gradients themselves."""
        return self.rows

    def squared_norms(self) -> Float[Array, " N"]:
        """|gradient|^2 of every example."""
        return jnp.square(self.rows[:, None, None]).sum(axis=(2, 3)).sum(axis=1)

    def moments(self) -> tuple[Float[Array, " P"], Float[Array, ""]]:
        """Mean gradient, and mean squared distance from it."""
        g = self.rows[:, None, None]
        mean = g.mean(axis=0)
        return mean.ravel(), jnp.square(g - mean).sum(axis=(2, 3)).sum(axis=1).mean()

    def gram(self, other: "Blocks") -> Float[Array, "N M"]:
        """Inner products with the gradients of other examples."""
        return inner("np,mp->nm", self.rows, other.rows)


Term = Product | Rows | Blocks


class Layout(NamedTuple):
    """How a site's arrays become canonical.

    Attributes:
        term: from the recorded operand and the cotangent to the site's term.
        canonical: from an array like the cut, with an axis before for every loop it varies over, to the order of
            `Term.blocks`: shape (S, I, O) for products, the cut's own for others.
        out: axes of the perturbation that O is made of, or the whole cut where it is no product; None if there are others.
    """

    term: Callable[[Any, Array], Term]
    canonical: Callable[[Any], Any]
    out: tuple[int, ...] | None = None


def layout(site: Site, cut_shape: tuple[int, ...], count: int) -> Layout:
    """The canonical form of a site whose cut has that shape, without the axes of loops."""
    return {"dot": _dot, "conv": _convolution, "embedding": _embedding, "direct": _direct}[site.kind](site, cut_shape, count)


def _arranged(array: Array, axis: Axis, count: int, shared: list[int], summed: list[int], last: list[int]) -> Array:
    """`array` with its axes gathered into (N, S, T, X)."""
    k = axis.axis
    shape = array.shape
    split = array.reshape(*shape[:k], axis.pre, count, axis.post, *shape[k + 1 :])

    def place(axes):
        return [j if j < k else j + 2 for j in axes]

    order = [k + 1, *place(shared), k, k + 2, *place(summed), *place(last)]
    sizes = [prod(shape[j] for j in group) for group in (shared, summed, last)]
    return split.transpose(order).reshape(count, sizes[0], axis.pre * axis.post * sizes[1], sizes[2])


def _loops(site: Site) -> tuple[list[int], list[int]]:
    """Leading axes of recorded arrays that a cut varies over, and the others."""
    depths = range(len(site.lengths))
    return [d for d in depths if d in site.value.levels], [d for d in depths if d not in site.value.levels]


def _under(fn: Callable[[Any], Any], lead: int) -> Callable[[Any], Any]:
    """`fn` for arrays with so many axes before those it knows."""
    return fn if lead == 0 else jax.vmap(_under(fn, lead - 1))


def _within(site: Site, axis: Axis | None) -> Axis:
    if axis is None:
        raise TypeError("a site without examples")
    return axis.moved(axis.axis + len(site.lengths))


def _dot(site: Site, cut_shape: tuple[int, ...], count: int) -> Layout:
    contracting, batch = site.node.params["dimension_numbers"]
    side, lead = site.operand, len(site.lengths)
    varying, repeated = _loops(site)
    own = _within(site, site.operand_axis).axis - lead
    free_v = [k for k in range(len(cut_shape)) if k not in (*contracting[1 - side], *batch[1 - side])]
    rank_x = len(site.shape) - len(free_v) + len(contracting[side])
    free_x = [k for k in range(rank_x) if k not in (*contracting[side], *batch[side])]
    first_x = len(batch[0]) + (0 if side == 0 else len(free_v))
    first_v = len(batch[0]) + (len(free_x) if side == 0 else 0)
    summed_x = [lead + k for k in free_x if k != own]
    summed_out = [lead + first_x + i for i, k in enumerate(free_x) if k != own]

    def term(x, cotangent):
        shared = varying + [lead + k for k in batch[side]]
        a = _arranged(x, _within(site, site.operand_axis), count, shared, repeated + summed_x, [lead + k for k in contracting[side]])
        shared = varying + [lead + k for k in range(len(batch[0]))]
        out = [lead + first_v + i for i in range(len(free_v))]
        return Product(a, _arranged(cotangent, _within(site, site.axis), count, shared, repeated + summed_out, out))

    def canonical(v):
        ahead = len(varying)
        order = [*range(ahead), *(ahead + k for k in (*batch[1 - side], *contracting[1 - side], *free_v))]
        sizes = [prod(cut_shape[k] for k in group) for group in (batch[1 - side], contracting[1 - side], free_v)]
        return v.transpose(order).reshape(prod(v.shape[:ahead]) * sizes[0], sizes[1], sizes[2])

    return Layout(term, canonical, None if batch[0] else tuple(first_v + i for i in range(len(free_v))))


def _convolution(site: Site, cut_shape: tuple[int, ...], count: int) -> Layout:
    params, lead = site.node.params, len(site.lengths)
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    varying, repeated = _loops(site)
    out_channels, in_channels = cut_shape[numbers.rhs_spec[0]], cut_shape[numbers.rhs_spec[1]]
    window = tuple(cut_shape[k] for k in numbers.rhs_spec[2:])
    feature, positions = numbers.lhs_spec[1], numbers.lhs_spec[2:]

    def patches(x):
        """Every window's entries: axes (window, group, channel) in place of the channels'."""
        edges, strides, sizes = [(0, 0, 0)] * x.ndim, [1] * x.ndim, list(x.shape)
        for i, k in enumerate(positions):
            edges[k] = (*params["padding"][i], params["lhs_dilation"][i] - 1)
            strides[k] = params["window_strides"][i]
            sizes[k] = (site.shape[numbers.out_spec[2 + i]] - 1) * strides[k] + 1
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
        taken = []
        for offset in np.ndindex(*window):
            start = [0] * x.ndim
            for i, k in enumerate(positions):
                start[k] = offset[i] * params["rhs_dilation"][i]
            taken.append(jax.lax.slice(x, start, [a + b for a, b in zip(start, sizes, strict=True)], strides))
        stacked = jnp.stack(taken, axis=feature)
        return stacked.reshape(*stacked.shape[: feature + 1], groups, in_channels, *stacked.shape[feature + 2 :])

    def place(k, split, more):
        return lead + (k if k < split else k + more)

    def term(x, cotangent):
        a, out = _under(patches, lead)(x), numbers.out_spec[1]
        shape = cotangent.shape
        g = cotangent.reshape(*shape[: lead + out], groups, out_channels // groups, *shape[lead + out + 1 :])
        axis = _within(site, site.operand_axis)
        summed = [place(k, feature, 2) for k in positions]
        a = _arranged(
            a,
            axis.moved(place(numbers.lhs_spec[0], feature, 2)),
            count,
            [*varying, lead + feature + 1],
            repeated + summed,
            [lead + feature, lead + feature + 2],
        )
        summed = [place(k, out, 1) for k in numbers.out_spec[2:]]
        return Product(
            a, _arranged(g, axis.moved(place(numbers.out_spec[0], out, 1)), count, [*varying, lead + out], repeated + summed, [lead + out + 1])
        )

    def canonical(v):
        ahead = len(varying)
        v = v.transpose(*range(ahead), *(ahead + k for k in numbers.rhs_spec))
        v = v.reshape(-1, groups, out_channels // groups, in_channels, prod(window)).transpose(0, 1, 4, 3, 2)
        return v.reshape(-1, prod(window) * in_channels, out_channels // groups)

    return Layout(term, canonical, (numbers.out_spec[1],) if groups == 1 else None)


def _embedding(site: Site, cut_shape: tuple[int, ...], count: int) -> Layout:
    lead, mode = len(site.lengths), site.node.params["mode"]
    num_rows = cut_shape[0]
    rank = len(site.shape) - len(cut_shape) + 1

    def term(index, cotangent):
        index = index.squeeze(-1)
        axis = _within(site, site.operand_axis)
        positions = [k for k in range(lead + rank) if k != axis.axis]
        rows = _arranged(index, axis, count, [], positions, [])[:, 0, :, 0]
        g = _arranged(cotangent, axis, count, [], positions, list(range(lead + rank, cotangent.ndim)))[:, 0]
        if mode == jax.lax.GatherScatterMode.CLIP:
            return Rows(jnp.clip(rows, 0, num_rows - 1), g, num_rows)
        inside = (rows >= 0) & (rows < num_rows)
        return Rows(jnp.where(inside, rows, 0), jnp.where(inside[..., None], g, 0), num_rows)

    return Layout(term, lambda v: v.reshape(num_rows, -1))


def _direct(site: Site, cut_shape: tuple[int, ...], count: int) -> Layout:
    lead = len(site.lengths)
    varying, repeated = _loops(site)
    kept = [k for k, size in zip(site.dims, cut_shape, strict=True) if size == site.shape[k] and size != 1]

    def term(_, cotangent):
        axis = _within(site, site.axis)
        summed = [lead + k for k in range(len(site.shape)) if k not in kept and lead + k != axis.axis]
        blocks = _arranged(cotangent, axis, count, varying, repeated + summed, [lead + k for k in kept])
        return Blocks((blocks if blocks.shape[2] == 1 else blocks.sum(axis=2)).reshape(count, -1))

    return Layout(term, lambda v: v, tuple(kept))
