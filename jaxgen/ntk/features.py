"""What every example brings to a kernel: the gradients of its outputs, as products of activations and cotangents."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgen import structure
from jaxgen._core.checks import floating, leading_axis, require
from jaxgen.structure import Blocks, Layers, Product, Rows, inner

ApplyFn = Callable[[PyTree, PyTree], Array]
MODES = ("full", "trace", "diagonal", "pseudo")
PRECISIONS = (None, "f32", "f64", "bf16_f32", "bf16x3")


@partial(jax.tree_util.register_dataclass, data_fields=("shared", "columns", "weights"), meta_fields=("kind", "num_rows"))
@dataclasses.dataclass(frozen=True)
class Part:
    """The gradients of all outputs of some examples with respect to a part of the parameters.

    Attributes:
        kind: class of the structure's term that the arrays are the fields of.
        shared: fields that are the same for every output, examples leading.
        columns: fields with examples leading and then an axis of the outputs; empty where outputs are merged.
        num_rows: for tables, how many rows they have.
        weights: V (K, C) where the cotangents of output c are V e_c times a shared field `slopes` (N, K), or V e_c for every
            example where there is none; otherwise None.
    """

    kind: type
    shared: dict[str, Array]
    columns: dict[str, Array]
    num_rows: int = 0
    weights: Array | None = None

    def of_examples(self, change: Callable[[Array], Array]) -> "Part":
        """With every array that has an axis of examples changed."""
        shared, columns = jax.tree.map(change, (self.shared, self.columns))
        return dataclasses.replace(self, shared=shared, columns=columns)

    def term(self, columns: dict[str, Array]) -> Any:
        """The term of one output, or of all that are merged."""
        own: dict[str, Any] = self.shared | columns | ({"num_rows": self.num_rows} if self.kind is Rows else {})
        return self.kind(**own)

    def merged(self) -> "Part":
        """All outputs as one, whose inner products are sums over outputs; itself where both factors differ from output to output."""
        if "a" in self.columns or not self.columns:
            return self
        name = "rows" if self.kind is Blocks else "g"
        array = jnp.moveaxis(self.columns[name], 1, -2)
        merged = array.reshape(*array.shape[:-2], -1)
        return dataclasses.replace(self, shared=self.shared | {name: merged}, columns={})

    def paired(self) -> "Part":
        """As a left side: with its slopes times the products of weights of every pair of outputs."""
        if self.weights is None or "slopes" not in self.shared or "pairs" in self.shared:
            return self
        return dataclasses.replace(self, shared=self.shared | {"pairs": self.shared["slopes"][:, None] * _products_of_pairs(self.weights).T})

    def spread(self) -> "Part":
        """With the cotangents of every output."""
        if self.weights is None:
            return self
        a = self.shared["a"]
        slopes = self.shared.get("slopes", jnp.ones((len(a), 1), a.dtype))
        return Part(self.kind, {"a": a}, {"g": (slopes[:, None] * self.weights.T)[:, :, None, None]})

    def settled(self, count: int) -> "Part":
        """In the form in which inner products with `count` other examples cost least."""
        if self.kind is not Product or self.weights is not None:
            return self
        if not self.columns:
            term = self.term({}).settled(count)
            return self if isinstance(term, Product) else Part(Blocks, {"rows": term.rows}, {})
        found = jax.vmap(lambda columns: self.term(columns).settled(count), in_axes=1, out_axes=1)(self.columns)
        return self if isinstance(found, Product) else Part(Blocks, {}, {"rows": found.rows})

    def rounded(self, precision: str | None, side: int) -> "Part":
        """Factors of less precision; for `"bf16x3"` twice as many bits in three products, as the left or the right side."""
        if precision in (None, "f32", "f64"):
            return self

        def low(array: Array) -> Array:
            if not jnp.issubdtype(array.dtype, jnp.floating):
                return array
            high = array.astype(jnp.bfloat16)
            if precision == "bf16_f32":
                return high
            rest = (array - high).astype(jnp.bfloat16)
            return jnp.concatenate([high, high, rest] if side == 0 else [high, rest, high], axis=-1)

        return self.spread().of_examples(low)


@partial(jax.tree_util.register_dataclass, data_fields=("parts",), meta_fields=("count", "num_outputs", "dtype"))
@dataclasses.dataclass(frozen=True)
class Features:
    """The parts of some examples' gradients, orthogonal to each other, and the number of outputs.

    Attributes:
        parts: by leaf and number.
        count: number of examples.
        num_outputs: C.
        dtype: of the kernel.
    """

    parts: dict[tuple[int, int], Part]
    count: int
    num_outputs: int
    dtype: Any

    def rows(self, start: int | Array, count: int) -> "Features":
        """Those of some of the examples."""
        return self.of_examples(lambda array: jax.lax.dynamic_slice_in_dim(array, start, count), count)

    def of_examples(self, change: Callable[[Array], Array], count: int) -> "Features":
        """With every array that has an axis of examples changed to one of so many examples."""
        return dataclasses.replace(self, parts={key: part.of_examples(change) for key, part in self.parts.items()}, count=count)

    def paired(self) -> "Features":
        """As a left side of many products."""
        return dataclasses.replace(self, parts={key: part.paired() for key, part in self.parts.items()})

    def kernel(self, other: "Features", mode: str, precision: str | None) -> Array:
        """Inner products with other examples: (N, M), with an axis of outputs for `"diagonal"` and two for `"full"`."""
        if not self.parts:
            outputs = {"full": 2, "diagonal": 1}.get(mode, 0) * (self.num_outputs,)
            return jnp.zeros((self.count, other.count, *outputs), self.dtype)
        sides = [(part.rounded(precision, 0), other.parts[key].rounded(precision, 1)) for key, part in self.parts.items()]
        every = [_products(left, right, mode).astype(self.dtype) for left, right in sides if left.weights is None]
        if mode != "full":
            total = sum(every[1:], every[0])
            return total / self.num_outputs if mode in ("trace", "pseudo") else total
        pairs = [_of_pairs(left, right).astype(self.dtype) for left, right in sides if left.weights is not None]
        found = [sum(every[1:], every[0]).swapaxes(1, 2)] if every else []
        if pairs:
            found.append(_of_all(sum(pairs[1:], pairs[0]), self.num_outputs))
        return sum(found[1:], found[0])


def _of_columns(x: Float[Array, "N C P"], y: Float[Array, "M D P"]) -> Float[Array, "N C M D"]:
    """Inner products, as a product of two matrices, for which a compiler brings nothing into another order first."""
    return inner("xp,yp->xy", x.reshape(-1, x.shape[2]), y.reshape(-1, y.shape[2])).reshape(*x.shape[:2], *y.shape[:2])


def _products_of_pairs(weights: Float[Array, "K C"]) -> Float[Array, "K P"]:
    """V_kc V_kd for every pair of outputs c <= d."""
    first, second = np.triu_indices(weights.shape[1])
    return weights[:, first] * weights[:, second]


def _of_pairs(left: Part, right: Part) -> Float[Array, "N P M"]:
    """Inner products of two parts whose cotangents are slopes times weights, for every pair of outputs c <= d.

    With cotangents D_i * V e_c they are sum_k (D_ik V_kc V_kd) D_jk, in which c and d can change places.
    """
    assert left.weights is not None
    of_a = inner("ni,mi->nm", left.shared["a"][:, 0, 0], right.shared["a"][:, 0, 0])
    if "slopes" not in left.shared:
        return of_a[:, None] * _products_of_pairs(left.weights).sum(axis=0)[:, None]
    return of_a[:, None] * inner("npk,mk->npm", left.paired().shared["pairs"], right.shared["slopes"])


def _of_all(pairs: Float[Array, "N P M"], num_outputs: int) -> Float[Array, "N M C C"]:
    """A kernel symmetric in its outputs, from that of pairs; a product with ones and zeros brings every number to its two places.

    A number that overflows makes those of all outputs of its two examples NaN.
    """
    first, second = np.triu_indices(num_outputs)
    places = np.zeros((len(first), num_outputs, num_outputs))
    places[np.arange(len(first)), first, second] = places[np.arange(len(first)), second, first] = 1
    rows = pairs.swapaxes(1, 2).reshape(-1, len(first))
    found = inner("xp,pq->xq", rows, jnp.asarray(places.reshape(len(first), -1), pairs.dtype))
    return found.reshape(len(pairs), -1, num_outputs, num_outputs).astype(pairs.dtype)


def _products(left: Part, right: Part, mode: str) -> Array:
    """Inner products of two parts: (N, M), (N, M, C), or (N, C, M, C), in which order products of matrices give them."""
    if not left.columns:
        return left.term({}).gram(right.term({}))

    def gram(mine: dict[str, Array], others: dict[str, Array]) -> Array:
        return left.term(mine).gram(right.term(others))

    if mode == "diagonal":
        return jax.vmap(gram, in_axes=1, out_axes=-1)(left.columns, right.columns)
    if mode in ("trace", "pseudo"):
        pairs = jax.tree.map(lambda array: jnp.moveaxis(array, 1, 0), (left.columns, right.columns))
        return jax.lax.map(lambda pair: gram(*pair), pairs).sum(axis=0)
    if left.kind is Blocks:
        return _of_columns(left.columns["rows"], right.columns["rows"])
    if left.kind is Product and left.columns["g"].shape[2:4] == (1, 1) and "a" not in left.columns:
        of_a = inner("ni,mi->nm", left.shared["a"][:, 0, 0], right.shared["a"][:, 0, 0])
        return of_a[:, None, :, None] * _of_columns(left.columns["g"][:, :, 0, 0], right.columns["g"][:, :, 0, 0])
    if left.kind is Product and left.columns["g"].shape[3] == 1 and "a" not in left.columns:
        of_a = inner("nsi,msi->snm", left.shared["a"][:, :, 0], right.shared["a"][:, :, 0])
        of_g = inner("ncso,mdso->sncmd", left.columns["g"][:, :, :, 0], right.columns["g"][:, :, :, 0])
        return (of_a[:, :, None, :, None] * of_g).sum(axis=0)
    with_all = jax.vmap(gram, in_axes=(None, 1), out_axes=-1)
    return jax.vmap(with_all, in_axes=(1, None), out_axes=1)(left.columns, right.columns)


def features(
    apply_fn: ApplyFn, params: PyTree, x: PyTree, *, mode: str, leaves: Sequence[int], others: int, layers: Layers | None, alone: bool
) -> Features:
    """Gradients of the outputs of every example.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)` or `(N,)`.
        params: parameters.
        x: examples.
        mode: of the kernel that they are for.
        leaves: numbers of the leaves with respect to which gradients are taken.
        others: number of examples that they will be multiplied with.
        layers: what is known of the net with so many examples, for products where it is layered; None for gradients themselves.
        alone: whether an example alone in its batch is known to be what it is among others.
    """
    count = leading_axis("x", x)
    shape = output_shape(apply_fn, params, x)
    num_outputs = shape[1] if len(shape) == 2 else 1
    directions = jnp.ones((1, num_outputs)) if mode == "pseudo" else jnp.eye(num_outputs)
    singly = [leaf for leaf in leaves if layers is None or layers.leaves[leaf].way == "per example"]
    parts = _parts(layers, params, x, directions, [leaf for leaf in leaves if leaf not in singly]) if layers is not None else {}
    if singly:
        for leaf, rows in zip(singly, _jacobian_rows(apply_fn, params, x, directions, singly, alone=alone), strict=True):
            parts[leaf, 0] = Part(Blocks, {}, {"rows": rows.reshape(count, len(directions), -1)})
    if layers is not None and mode in ("trace", "full"):
        closed = {(leaf, 0): found for leaf, found in _last_cotangents(layers, params, x).items()}
        closed = {key: found for key, found in closed.items() if key in parts and parts[key].kind is Product}
        if mode == "trace" or any(_pairs_pay(*found) for found in closed.values()):
            parts |= {key: _closed(parts[key].shared["a"], *found, mode) for key, found in closed.items()}
    if mode in ("trace", "pseudo"):
        parts = {key: part.merged() for key, part in parts.items()}
    dtype = jnp.result_type(*(jax.tree.leaves(params)[leaf] for leaf in leaves))
    return Features({key: part.settled(others) for key, part in parts.items()}, count, num_outputs, dtype)


def _parts(layers: Layers, params: PyTree, x: PyTree, directions: Array, leaves: Sequence[int]) -> dict[tuple[int, int], Part]:
    """Terms of every leaf that goes by factors or is pulled back, for cotangents along every direction of the outputs."""
    evaluation = layers.forward(params, x)
    (outputs,) = evaluation.outputs

    def cotangents(direction: Array) -> dict[int, Array]:
        return evaluation.pull([jnp.broadcast_to(direction.astype(outputs.dtype), (layers.count, len(direction))).reshape(outputs.shape)])

    def varying(direction: Array) -> dict[tuple[int, int], dict[str, Array]]:
        terms = evaluation.terms(cotangents(direction), leaves)
        return {key: {name: getattr(term, name) for name in _varying(layers, key[0], term)} for key, term in terms.items()}

    columns = jax.vmap(varying, out_axes=1)(directions)
    found: dict[tuple[int, int], Part] = {}
    for key, term in evaluation.terms(cotangents(directions[0]), leaves).items():
        shared = {name: value for name, value in term._asdict().items() if name not in columns[key] and name != "num_rows"}
        found[key] = Part(type(term), shared, columns[key], getattr(term, "num_rows", 0))
    owner = {leaf.groups[0][0][0]: number for number, leaf in enumerate(layers.leaves) if [len(group) for group in leaf.groups] == [1]}
    for site, of_layer in structure.biases(layers).items():
        bias, layer = (owner.get(site, -1), 0), (owner.get(of_layer, -1), 0)
        if bias in found and layer in found:
            a = found[layer].shared["a"]
            found[layer].shared["a"] = jnp.concatenate([a, jnp.ones((*a.shape[:3], 1), a.dtype)], axis=3)
            del found[bias]
    return found


def _last_cotangents(layers: Layers, params: PyTree, x: PyTree) -> dict[int, tuple[Float[Array, "N K"] | None, Float[Array, "K C"]]]:
    """For the last two weights of a chain of dense layers, slopes D and weights V with which the cotangents are D * V e_c.

    Those of the last layer are the outputs' directions e_c, without slopes; those of the one before are phi'(z) * V e_c. What follows
    the last layer only adds, so that its slope is one number for all examples, a part of V.
    """
    links = structure.chain(layers)
    if links is None:
        return {}
    *_, last = found = structure.layers_of_chain(layers, links, [jnp.asarray(leaf) for leaf in jax.tree.leaves((params, x))])
    cotangents: dict[int, tuple[Array | None, Array]] = {last.link.leaf: (None, jnp.diag(last.slope[0]))}
    for before in found[-2:-1]:
        cotangents[before.link.leaf] = before.slope, last.weights * last.slope[0]
    return cotangents


def _pairs_pay(slopes: Array | None, weights: Array) -> bool:
    """Whether products of slopes with slopes for every pair of outputs, and bringing them to two places, cost less than of outputs with outputs.

    In less than float32 products of two weights would lose what the weights themselves hold.
    """
    size, outputs = weights.shape
    pairs = outputs * (outputs + 1) // 2
    return slopes is not None and jnp.finfo(weights.dtype).bits >= 32 and outputs**2 * pairs < size * (outputs**2 - pairs)


def _closed(a: Array, slopes: Array | None, weights: Array, mode: str) -> Part:
    """The part of a layer with activations `a` and cotangents D * V e_c, of which sums over outputs have products of vectors.

    These are D |V|, with sum_c (D_k V_kc) (D'_k V_kc) = (D_k |V_k|) (D'_k |V_k|).
    """
    if mode == "full":
        return Part(Product, {"a": a} if slopes is None else {"a": a, "slopes": slopes}, {}, weights=weights)
    norms = jnp.linalg.norm(weights, axis=1)
    g = jnp.full((len(a), 1), jnp.linalg.norm(norms)) if slopes is None else slopes * norms
    return Part(Product, {"a": a, "g": g[:, None, None]}, {})


def _varying(layers: Layers, leaf: int, term: Any) -> tuple[str, ...]:
    """Fields that differ from output to output: activations do where a tied leaf is also used transposed."""
    if isinstance(term, Blocks):
        return ("rows",)
    swapped = any(transposed for group in layers.leaves[leaf].groups for _, transposed in group)
    return ("a", "g") if isinstance(term, Product) and swapped else ("g",)


def _jacobian_rows(apply_fn: ApplyFn, params: PyTree, x: PyTree, directions: Array, leaves: Sequence[int], *, alone: bool) -> list[Array]:
    """Gradients of the outputs along every direction, by differentiation of single examples: (N, C, ...) for every leaf."""
    count = leading_axis("x", x)

    def along(params: PyTree, batch: PyTree) -> Array:
        x, direction = batch
        outputs = apply_fn(params, x)
        return (outputs.reshape(len(outputs), -1) * direction).sum(axis=1)

    def rows(direction: Array) -> list[Array]:
        batch = x, jnp.broadcast_to(direction, (count, len(direction)))
        return structure.rows(along, params, batch, leaves, alone=alone and structure.is_one_alone(along, params, batch))

    return jax.vmap(rows, out_axes=1)(directions)


def output_shape(apply_fn: ApplyFn, params: PyTree, x: PyTree) -> tuple[int, ...]:
    """Shape of the outputs, which must be one or a vector of them for every example."""
    count = leading_axis("x", x)
    found = jax.tree.map(jnp.shape, jax.eval_shape(apply_fn, params, x))
    fits = isinstance(found, tuple) and len(found) in (1, 2) and found[0] == count
    require(fits, f"apply_fn must return outputs of shape ({count}, C) or ({count},); got {found}")
    return found


def error_floor(kernel: Float[Array, "N N"], *, precision: str | None = None) -> Float[Array, ""]:
    """Size below which eigenvalues of a kernel are noise of its rounding, 2 u tr Theta.

    Args:
        kernel: a kernel, (N, N).
        precision: with which it was computed, as in `empirical`; None for that of its dtype.

    Returns:
        2 u times the trace, u the rounding of a factor: 2^-8 for bfloat16, 2^-16 for two of them, 2^-24 and 2^-53.

    Raises:
        ValueError: if `kernel` is not square or `precision` is unknown.
        TypeError: if `kernel` is not real.

    Source: spec NTK-20: rounding of the factors moves an entry by at most 2 u |J_i| |J_j|, to first order in u, and the matrix
    by at most 2 u tr Theta. Rounding in the passes and in the sums is not counted; in float32, where it is of the same size,
    the number is a scale and no bound.
    """
    kernel = floating("kernel", kernel)
    require(kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1], f"kernel must be square, (N, N); got shape {kernel.shape}")
    require(precision in PRECISIONS, f"precision must be one of {', '.join(map(repr, PRECISIONS))}; got {precision!r}")
    own = float(jnp.finfo(kernel.dtype).eps) / 2
    rounding = {"bf16_f32": 2.0**-8, "bf16x3": 2.0**-16, "f32": 2.0**-24, "f64": 2.0**-53}.get(precision or "", own)
    return 2 * rounding * jnp.trace(kernel)
