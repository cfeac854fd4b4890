"""Where the examples are: which axis of every intermediate value runs over them, operation by operation.

The rules are the proof that examples do not influence each other. An operation that mixes them is `Coupled`; one without a
rule is `Unknown`, which proves nothing either way.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from jaxgen.structure.graph import Atom, Constant, Graph, Node


class Axis(NamedTuple):
    """The axis of the examples. Its size is pre N post, and index (p N + n) post + q belongs to example n."""

    axis: int
    pre: int = 1
    post: int = 1

    def moved(self, axis: int) -> "Axis":
        """The same examples along another axis."""
        return self._replace(axis=axis)


class Coupled(Exception):
    """Examples influence each other, at the operation that this names."""


class Unknown(Exception):
    """There is no rule for an operation, which this names, or not for this use of it."""


class Use(NamedTuple):
    """An operation, with what is known of its operands.

    Attributes:
        graph: the graph that the operation is of.
        node: the operation.
        axes: the examples' axis of every operand; None for values that no example influences.
        count: number of examples N.
    """

    graph: Graph
    node: Node
    axes: tuple[Axis | None, ...]
    count: int

    def shape(self, operand: int = 0) -> tuple[int, ...]:
        """Shape of an operand."""
        return self.graph.shape(self.node.inputs[operand])

    def result(self) -> tuple[int, ...]:
        """Shape of the first result."""
        return self.graph.avals[self.node.outputs[0]].shape

    @property
    def params(self) -> dict[str, Any]:
        """The operation's parameters."""
        return self.node.params


Rule = Callable[[Use], Axis]

ELEMENTWISE = set(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz conj "
    "convert_element_type copy copy_p cos cosh device_put digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma "
    "igammac imag integer_pow is_finite ispow2 le lgamma log log1p logistic lt max min mul name ne neg nextafter not "
    "one_minus_square or polygamma population_count pow real reduce_precision regularized_incomplete_beta "
    "rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sharding_constraint sign sin sinh sqrt "
    "square stop_gradient sub tan tanh xor zeta".split()
)
"""Operations on corresponding elements, whose operands may have axes of size one, or none at all, where others have more."""

LEADING = {"cholesky": 2, "eig": 2, "eigh": 2, "lu": 2, "qr": 2, "geqrf": 2, "householder_product": 2, "schur": 2, "svd": 2, "triangular_solve": 2}
LEADING |= {"lu_pivots_to_permutation": 1, "tridiagonal_solve": 2, "fft": 1, "top_k": 1}
"""Operations on the trailing axes of every operand, so many of them, for every index of the leading ones."""


def propagate(use: Use) -> list[Axis]:
    """The examples' axis of every result of an operation that at least one operand with examples goes into.

    Raises:
        Coupled: if it mixes examples.
        Unknown: if that cannot be told.
    """
    name = use.node.primitive
    if name == "unstack":
        return [use.axes[0].moved(_without(use.axes[0].axis, (use.params["axis"],), use.node))] * len(use.node.outputs)  # type: ignore[union-attr]
    if name in ELEMENTWISE:
        return [elementwise(use)] * len(use.node.outputs)
    if name in LEADING:
        return [_leading(use, LEADING[name])] * len(use.node.outputs)
    if name in RULES:
        return [RULES[name](use)] * len(use.node.outputs)
    raise Unknown(str(use.node))


def elementwise(use: Use) -> Axis:
    """The axis that all operands with examples share."""
    rank = len(use.result())
    found = {axis for axis in use.axes if axis is not None}
    for operand, axis in enumerate(use.axes):
        shape = use.shape(operand)
        if axis is not None and (len(shape) != rank or (shape[axis.axis] == 1) != (use.result()[axis.axis] == 1)):
            raise Coupled(str(use.node))
    if len(found) != 1:
        raise Coupled(str(use.node))
    return found.pop()


def _without(axis: int, removed: Sequence[int], node: Node) -> int:
    if axis in removed:
        raise Coupled(str(node))
    return axis - sum(other < axis for other in removed)


def _only(use: Use, operand: int = 0) -> Axis:
    """The axis of one operand, where no other may have examples."""
    if any(axis is not None for i, axis in enumerate(use.axes) if i != operand):
        raise Unknown(str(use.node))
    axis = use.axes[operand]
    if axis is None:
        raise Unknown(str(use.node))
    return axis


def _untouched(use: Use, *touched: int) -> Axis:
    axis = elementwise_operands(use)
    if axis.axis in touched:
        raise Coupled(str(use.node))
    return axis


def elementwise_operands(use: Use) -> Axis:
    """The one axis of all operands with examples."""
    found = {axis for axis in use.axes if axis is not None}
    if len(found) != 1:
        raise Coupled(str(use.node))
    return found.pop()


def _leading(use: Use, trailing: int) -> Axis:
    axis = elementwise_operands(use)
    for operand, own in enumerate(use.axes):
        if own is not None and own.axis >= len(use.shape(operand)) - trailing:
            raise Coupled(str(use.node))
    if use.node.primitive == "fft" and axis.axis >= len(use.shape()) - len(use.params["fft_lengths"]):
        raise Coupled(str(use.node))
    return axis


def _reduce(use: Use) -> Axis:
    axis = elementwise_operands(use)
    return axis.moved(_without(axis.axis, use.params["axes"], use.node))


def _cumulative(use: Use) -> Axis:
    return _untouched(use, use.params["axis"])


def _sort(use: Use) -> Axis:
    return _untouched(use, use.params["dimension"])


def _reverse(use: Use) -> Axis:
    return _untouched(use, *use.params["dimensions"])


def _broadcast(use: Use) -> Axis:
    axis = _only(use)
    to = use.params["broadcast_dimensions"][axis.axis]
    if use.params["shape"][to] != use.shape()[axis.axis]:
        raise Unknown("broadcast of a single example")
    return axis.moved(to)


def _transpose(use: Use) -> Axis:
    axis = _only(use)
    return axis.moved(tuple(use.params["permutation"]).index(axis.axis))


def _squeeze(use: Use) -> Axis:
    axis = _only(use)
    return axis.moved(_without(axis.axis, use.params["dimensions"], use.node))


def _reshape(use: Use) -> Axis:
    axis, shape, result, count = _only(use), use.shape(), use.result(), use.count
    stride = axis.post * prod(shape[axis.axis + 1 :])
    for k, size in enumerate(result):
        inner = prod(result[k + 1 :])
        if stride % inner == 0 and (inner * size) % (count * stride) == 0 and size >= count:
            return Axis(k, inner * size // (count * stride), stride // inner)
    raise Unknown("reshape")


def _slice(use: Use) -> Axis:
    axis = _only(use)
    strides = use.params["strides"] or (1,) * len(use.shape())
    k = axis.axis
    if (use.params["start_indices"][k], use.params["limit_indices"][k], strides[k]) != (0, use.shape()[k], 1):
        raise Coupled(str(use.node))
    return axis


def _dynamic_slice(use: Use) -> Axis:
    axis = _only(use)
    if use.params["slice_sizes"][axis.axis] != use.shape()[axis.axis]:
        raise Coupled(str(use.node))
    return axis


def _dynamic_update_slice(use: Use) -> Axis:
    axis = elementwise_operands(use)
    if any(own is not None for own in use.axes[2:]) or use.shape(1)[axis.axis] != use.shape(0)[axis.axis]:
        raise Unknown("dynamic_update_slice")
    return axis


def _split(use: Use) -> Axis:
    return _untouched(use, use.params["axis"])


def _concatenate(use: Use) -> Axis:
    return _untouched(use, use.params["dimension"])


def _pad(use: Use) -> Axis:
    axis = _only(use)
    if any(use.params["padding_config"][axis.axis]):
        raise Coupled(str(use.node))
    return axis


def _window(use: Use) -> Axis:
    axis = elementwise_operands(use)
    k = axis.axis
    trivial = (use.params["window_dimensions"][k], use.params["window_strides"][k], tuple(use.params["padding"][k])) == (1, 1, (0, 0))
    dilations = [use.params.get(name) for name in ("base_dilation", "window_dilation")]
    if not trivial or any(dilation and dilation[k] != 1 for dilation in dilations):
        raise Coupled(str(use.node))
    return axis


def _dot(use: Use) -> Axis:
    contracting, batch = use.params["dimension_numbers"]
    left, right = use.axes
    for side, axis in enumerate(use.axes):
        if axis is not None and axis.axis in contracting[side]:
            raise Coupled(str(use.node))
    positions = [None if axis is None else (batch[side].index(axis.axis) if axis.axis in batch[side] else None) for side, axis in enumerate(use.axes)]
    if left is not None and right is not None:
        if positions[0] is None or positions[0] != positions[1] or left[1:] != right[1:]:
            raise Coupled(str(use.node))
        return left.moved(positions[0])
    side = 0 if left is not None else 1
    axis = left if left is not None else right
    if axis is None:
        raise Unknown("dot_general")
    if axis.axis in batch[side]:
        return axis.moved(batch[side].index(axis.axis))
    free = [k for k in range(len(use.shape(side))) if k not in (*contracting[side], *batch[side])]
    before = len(batch[0])
    if side == 1:
        before += len(use.shape(0)) - len(contracting[0]) - len(batch[0])
    return axis.moved(before + free.index(axis.axis))


def _convolution(use: Use) -> Axis:
    axis = _only(use)
    numbers = use.params["dimension_numbers"]
    if axis.axis != numbers.lhs_spec[0]:
        raise Coupled(str(use.node))
    if use.params["batch_group_count"] != 1:
        raise Unknown("conv_general_dilated with batch groups")
    return axis.moved(numbers.out_spec[0])


def _gather(use: Use) -> Axis:
    numbers, sizes = use.params["dimension_numbers"], use.params["slice_sizes"]
    operand, indices = use.axes
    rank = len(use.result())
    batch_positions = [k for k in range(rank) if k not in numbers.offset_dims]
    if operand is None:
        if indices is None or indices.axis >= len(use.shape(1)) - 1:
            raise Coupled(str(use.node))
        return indices.moved(batch_positions[indices.axis])
    kept = [k for k in range(len(use.shape(0))) if k not in (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)]
    if indices is None:
        if operand.axis not in kept or sizes[operand.axis] != use.shape(0)[operand.axis]:
            raise Coupled(str(use.node))
        return operand.moved(numbers.offset_dims[kept.index(operand.axis)])
    if indices.axis >= len(use.shape(1)) - 1:
        raise Coupled(str(use.node))
    if operand.axis in numbers.operand_batching_dims:
        paired = numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(operand.axis)]
        if paired != indices.axis or operand[1:] != indices[1:]:
            raise Coupled(str(use.node))
        return indices.moved(batch_positions[indices.axis])
    if (operand.pre, operand.post) == (1, 1) == (indices.pre, indices.post) and operand.axis in numbers.start_index_map:
        column = tuple(numbers.start_index_map).index(operand.axis)
        if operand.axis in numbers.collapsed_slice_dims and _counts_examples(use, column, indices.axis):
            return indices.moved(batch_positions[indices.axis])
    raise Coupled(str(use.node))


def _counts_examples(use: Use, column: int, axis: int) -> bool:
    """Whether that column of the indices is 0, 1, ..., N - 1 along the examples' axis, as in `logits[arange(N), labels]`."""
    graph, indices = use.graph, use.node.inputs[1]
    producer = None if isinstance(indices, Constant) else graph.producers.get(indices)
    last = len(use.shape(1)) - 1
    if producer is None or producer.primitive != "concatenate" or producer.params["dimension"] != last:
        return False
    start = 0
    for piece in producer.inputs:
        width = graph.shape(piece)[-1]
        if start <= column < start + width:
            value = fold(graph, piece)
            expected = np.arange(use.count).reshape([-1 if k == axis else 1 for k in range(last)])
            return value is not None and bool((value[..., column - start] == expected).all())
        start += width
    return False


def fold(graph: Graph, atom: Atom) -> np.ndarray | None:
    """The value of an operand that depends on no argument, or None."""
    if isinstance(atom, Constant):
        return np.asarray(atom.value)
    if atom in graph.constants:
        value = graph.constants[atom]
        return np.asarray(value) if isinstance(value, np.ndarray) else None
    producer = graph.producers.get(atom)
    if producer is None:
        return None
    values = [fold(graph, operand) for operand in producer.inputs]
    if any(value is None for value in values):
        return None
    if producer.primitive == "iota":
        shape, dimension = producer.params["shape"], producer.params["dimension"]
        return np.broadcast_to(np.arange(shape[dimension]).reshape([-1 if k == dimension else 1 for k in range(len(shape))]), shape)
    known = FOLDED.get(producer.primitive)
    return None if known is None else known(producer.params, *values)


def _fold_broadcast(params: dict[str, Any], value: np.ndarray) -> np.ndarray:
    shape = [1] * len(params["shape"])
    for k, to in enumerate(params["broadcast_dimensions"]):
        shape[to] = value.shape[k]
    return np.broadcast_to(value.reshape(shape), params["shape"])


FOLDED: dict[str, Callable[..., np.ndarray]] = {
    "add": lambda params, a, b: a + b,
    "broadcast_in_dim": _fold_broadcast,
    "convert_element_type": lambda params, a: a.astype(params["new_dtype"]),
    "lt": lambda params, a, b: a < b,
    "reshape": lambda params, a: a.reshape(params["new_sizes"]),
    "select_n": lambda params, which, *cases: np.where(which, cases[1], cases[0]),
}

RULES: dict[str, Rule] = {
    **dict.fromkeys("reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor argmax argmin".split(), _reduce),
    **dict.fromkeys("cumsum cumprod cummax cummin cumlogsumexp".split(), _cumulative),
    **dict.fromkeys("reduce_window reduce_window_sum reduce_window_max reduce_window_min".split(), _window),
    "sort": _sort,
    "rev": _reverse,
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "reshape": _reshape,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "split": _split,
    "concatenate": _concatenate,
    "pad": _pad,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "gather": _gather,
}
