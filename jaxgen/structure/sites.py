"""Where parameters enter: the operations at which a value made of parameters alone meets values that examples influence.

Each such value is a *cut*: the program before it does not know the examples, so that what a single example does to the
parameters passes through the cuts alone.
"""

import dataclasses
from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxgen.structure.axes import ELEMENTWISE, Axis, Unknown, Use, propagate
from jaxgen.structure.graph import Atom, Constant, Graph, Node


class Alias(NamedTuple):
    """A value that holds entries of one parameter leaf, each at most once.

    Attributes:
        leaf: number of the leaf.
        index: from an array like the leaf, with so many leading axes before, to one like the value.
    """

    leaf: int
    index: Callable[[np.ndarray, int], np.ndarray]


class Value(NamedTuple):
    """What a variable depends on.

    Attributes:
        axis: where the examples are, or None if none influences it.
        leaves: parameter leaves that it depends on differentiably, where no example influences it.
        ready: whether it can be computed before there are examples.
        levels: loops, counted from the outermost, over whose iterations it varies although no example influences it.
        alias: the leaf it is a part of, if it is one.
    """

    axis: Axis | None = None
    leaves: frozenset[int] = frozenset()
    ready: bool = True
    levels: frozenset[int] = frozenset()
    alias: Alias | None = None


@dataclasses.dataclass(eq=False)
class Site:
    """One meeting of a cut with the examples.

    Attributes:
        kind: `"dot"`, `"conv"`, `"embedding"`, or `"direct"` for what acts on corresponding elements.
        node: the operation.
        variable: its operand that is made of parameters.
        cut: the variable that the operand is a broadcast of; itself, if of none.
        dims: axis of the operand that every axis of the cut becomes; of the result, for elementwise operations.
        shape: shape of the perturbation that stands for the cut's influence, with all examples.
        axis: the examples' axis of the perturbation.
        operand: position of the operand that the cut is multiplied with, or of the indices.
        operand_axis: its axis of the examples.
        value: what the cut depends on.
        lengths: number of iterations of the loops around, from the outermost.
        number: position among all sites.
    """

    kind: str
    node: Node
    variable: int
    cut: int
    dims: tuple[int, ...]
    shape: tuple[int, ...]
    axis: Axis | None
    operand: int
    operand_axis: Axis | None
    value: Value
    lengths: tuple[int, ...]
    number: int = -1


@dataclasses.dataclass(eq=False)
class Loop:
    """A scan with sites in its body."""

    analysis: "Analysis"
    num_consts: int
    num_carry: int


@dataclasses.dataclass(eq=False)
class Analysis:
    """What is known of a graph.

    Attributes:
        graph: the graph.
        values: what every variable depends on.
        sites: the sites at an operation.
        loops: the scans with sites in their bodies.
        uncovered: leaves that enter where no rule says how, and where that is.
        positional: whether values of their own for every place in the batch enter (noise of the batch's shape), so that an
            example by itself is not what it is in the batch.
    """

    graph: Graph
    values: dict[int, Value]
    sites: dict[Node, list[Site]]
    loops: dict[Node, Loop]
    uncovered: dict[int, str]
    positional: bool = False

    def value(self, atom: Atom) -> Value:
        """What an operand depends on."""
        return Value() if isinstance(atom, Constant) else self.values[atom]

    def all_sites(self) -> list[Site]:
        """Sites here and in loops, in order of evaluation."""
        found: list[Site] = []
        for node in self.graph.nodes:
            found += self.sites.get(node, [])
            if node in self.loops:
                found += self.loops[node].analysis.all_sites()
        return found


def analyze(graph: Graph, inputs: Sequence[Value], count: int, lengths: tuple[int, ...] = ()) -> Analysis:
    """What every variable of a graph depends on, the sites, and whether an example's place in the batch matters.

    Raises:
        Coupled: if examples influence each other.
        Unknown: if that cannot be told.
    """
    analysis = Analysis(graph, dict.fromkeys(graph.constants, Value()) | dict(zip(graph.inputs, inputs, strict=True)), {}, {}, {})
    for node in graph.nodes:
        operands = [analysis.value(atom) for atom in node.inputs]
        if all(operand.axis is None for operand in operands):
            results = _without_examples(graph, node, operands)
        elif node.primitive == "scan":
            results = _scan(analysis, node, operands, count, lengths)
        else:
            leaves = frozenset().union(*(operand.leaves for operand in operands))
            results = [Value(axis) if axis else Value(None, leaves, ready=False) for axis in _axes(graph, node, operands, count)]
            _find_sites(analysis, node, operands, results, count, lengths)
        if any(operand.axis is not None for operand in operands):
            analysis.positional |= _depends_on_place(analysis, node, operands, results, count)
        analysis.values.update(zip(node.outputs, results, strict=True))
    return analysis


def _depends_on_place(analysis: Analysis, node: Node, operands: list[Value], results: list[Value], count: int) -> bool:
    """Whether an operand that no example influences has entries of its own for every example."""
    graph = analysis.graph
    others = [atom for atom, operand in zip(node.inputs, operands, strict=True) if operand.axis is None and isinstance(atom, int)]
    axis = results[0].axis
    if node.children:
        return node.primitive != "scan" and any(count in graph.shape(atom) for atom in others)
    if axis is None or not others:
        return False
    if node.primitive == "dot_general":
        return axis.axis < len(node.params["dimension_numbers"][1][0])
    if node.primitive == "gather" and operands[0].axis is None:
        return _has_column_by_place(analysis, node.inputs[1], operands[1].axis)
    if node.primitive in ELEMENTWISE or node.primitive in ("concatenate", "dynamic_update_slice"):
        if node.primitive == "concatenate" and _is_index_only(graph, node.outputs[0]):
            return False
        rank = len(graph.shape(node.outputs[0]))
        return any(_spans(graph, atom, axis.axis) for atom in others if len(graph.shape(atom)) == rank)
    return False


def _is_index_only(graph: Graph, variable: int) -> bool:
    """Whether a value is used to take entries of others and for nothing else, as in `logits[arange(N), labels]`."""
    used = [(node, i) for node in graph.nodes for i, atom in enumerate(node.inputs) if atom == variable]
    return variable not in graph.outputs and all(node.primitive == "gather" and i == 1 for node, i in used)


def _has_column_by_place(analysis: Analysis, indices: Atom, axis: Axis | None) -> bool:
    graph = analysis.graph
    producer = None if isinstance(indices, Constant) else graph.producers.get(indices)
    if axis is None or producer is None or producer.primitive != "concatenate":
        return False
    return any(analysis.value(piece).axis is None and _spans(graph, piece, axis.axis) for piece in producer.inputs)


def _spans(graph: Graph, atom: Atom, axis: int) -> bool:
    """Whether a value varies along an axis, as far as the operations that made it tell."""
    shape = graph.shape(atom)
    if axis >= len(shape) or shape[axis] == 1:
        return False
    producer = None if isinstance(atom, Constant) else graph.producers.get(atom)
    if producer is None:
        return True
    if producer.primitive == "broadcast_in_dim":
        dims = producer.params["broadcast_dimensions"]
        return axis in dims and _spans(graph, producer.inputs[0], dims.index(axis))
    if producer.primitive in ELEMENTWISE:
        return any(_spans(graph, operand, axis) for operand in producer.inputs if len(graph.shape(operand)) == len(shape))
    return True


def _without_examples(graph: Graph, node: Node, operands: list[Value]) -> list[Value]:
    ready = all(operand.ready for operand in operands)
    levels = frozenset().union(*(operand.levels for operand in operands))
    leaves = frozenset().union(*(operand.leaves for operand in operands))
    results = []
    for position, output in enumerate(node.outputs):
        differentiable = jnp.issubdtype(graph.dtype(output), jnp.inexact) and node.primitive != "stop_gradient"
        alias = _alias(graph, node, operands, position) if differentiable else None
        results.append(Value(None, leaves if differentiable else frozenset(), ready, levels, alias))
    return results


def _alias(graph: Graph, node: Node, operands: list[Value], position: int) -> Alias | None:
    alias = operands[0].alias if operands else None
    if alias is None:
        return None
    shape, params = graph.avals[node.outputs[position]].shape, node.params

    def then(change: Callable[[np.ndarray, int], np.ndarray]) -> Alias:
        return Alias(alias.leaf, lambda array, lead: change(alias.index(array, lead), lead))

    name = node.primitive
    if name in ("reshape", "squeeze") or (name == "broadcast_in_dim" and prod(shape) == prod(graph.shape(node.inputs[0]))):
        return then(lambda array, lead: array.reshape(*array.shape[:lead], *shape))
    if name in ("convert_element_type", "copy", "copy_p", "name", "reduce_precision", "sharding_constraint"):
        return alias
    if name == "transpose":
        return then(lambda array, lead: array.transpose(*range(lead), *(lead + k for k in params["permutation"])))
    if name == "rev":
        return then(lambda array, lead: np.flip(array, tuple(lead + k for k in params["dimensions"])))
    if name == "slice":
        strides = params["strides"] or (1,) * len(shape)
        window = tuple(slice(*of_axis) for of_axis in zip(params["start_indices"], params["limit_indices"], strides, strict=True))
        return then(lambda array, lead: array[(slice(None),) * lead + window])
    if name == "split":
        start = sum(params["sizes"][:position])
        return then(lambda array, lead: array.take(range(start, start + params["sizes"][position]), axis=lead + params["axis"]))
    return None


def _axes(graph: Graph, node: Node, operands: list[Value], count: int) -> list[Axis | None]:
    """The examples' axis of every result."""
    axes = tuple(operand.axis for operand in operands)
    if node.primitive.startswith("custom_"):
        return _through(node.children[0], axes, count)
    if node.primitive == "cond":
        if axes[0] is not None:
            raise Unknown("cond on an example's value")
        return _join([_through(branch, axes[1:], count) for branch in node.children])
    if node.primitive == "while":
        return _while(node, axes, count)
    return list(propagate(Use(graph, node, axes, count)))


def _through(graph: Graph, axes: Sequence[Axis | None], count: int) -> list[Axis | None]:
    analysis = analyze(graph, [Value(axis, ready=False) for axis in axes], count)
    return [analysis.value(output).axis for output in graph.outputs]


def _join(alternatives: Sequence[Sequence[Axis | None]]) -> list[Axis | None]:
    joined = []
    for axes in zip(*alternatives, strict=True):
        found = {axis for axis in axes if axis is not None}
        if len(found) > 1:
            raise Unknown("examples lie along different axes")
        joined.append(found.pop() if found else None)
    return joined


def _while(node: Node, axes: Sequence[Axis | None], count: int) -> list[Axis | None]:
    condition, body = node.children
    of_condition, of_body = node.params["cond_nconsts"], node.params["body_nconsts"]
    carry = list(axes[of_condition + of_body :])
    while True:
        advanced = _join([carry, _through(body, (*axes[of_condition : of_condition + of_body], *carry), count)])
        if advanced == carry:
            break
        carry = advanced
    if _through(condition, (*axes[:of_condition], *carry), count)[0] is not None:
        raise Unknown("while on an example's value")
    return carry


def _scan(analysis: Analysis, node: Node, operands: list[Value], count: int, lengths: tuple[int, ...]) -> list[Value]:
    graph, body = analysis.graph, node.children[0]
    num_carry = sum(len(graph.shape(a)) == len(body.shape(b)) for a, b in zip(node.outputs, body.outputs, strict=True))
    num_xs = sum(len(graph.shape(a)) != len(body.shape(b)) for a, b in zip(node.inputs, body.inputs, strict=True))
    num_consts = len(node.inputs) - num_carry - num_xs
    depth = len(lengths)
    inside = (*lengths, node.params["length"])
    consts, start, xs = operands[:num_consts], operands[num_consts : num_consts + num_carry], operands[num_consts + num_carry :]
    sliced = [_slice_of(x, depth) for x in xs]
    carry = [value._replace(ready=False, alias=None) for value in start]
    while True:
        inner = analyze(body, [*consts, *carry, *sliced], count, inside)
        results = [inner.value(output) for output in body.outputs]
        advanced = [_carried(*pair) for pair in zip(carry, results[:num_carry], strict=True)]
        if advanced == carry:
            break
        carry = advanced
    analysis.loops[node] = Loop(inner, num_consts, num_carry)
    analysis.positional |= inner.positional or any(
        own.axis is not None and value.axis is None and _spans(graph, atom, own.axis.axis)
        for own, value, atom in zip(carry, start, node.inputs[num_consts:], strict=False)
    )
    for leaf, reason in inner.uncovered.items():
        analysis.uncovered.setdefault(leaf, f"{reason} in a scan")
    entering = [Value() if own.axis is None else Value(own.axis) for own in carry]
    _find_direct(analysis, node, [Value()] * num_consts + start, [Value()] * num_consts + entering, count, lengths)
    stacked = []
    for result in results[num_carry:]:
        stacked.append(Value(result.axis.moved(result.axis.axis + 1)) if result.axis else Value(None, result.leaves, ready=False))
    return [*(value._replace(ready=False, levels=frozenset(range(depth))) for value in carry), *stacked]


def _slice_of(value: Value, depth: int) -> Value:
    if value.axis is None:
        alias = value.alias and Alias(value.alias.leaf, lambda array, lead, whole=value.alias: whole.index(array, lead - 1))
        return value._replace(levels=value.levels | {depth}, alias=alias)
    if value.axis.axis == 0:
        raise Unknown("scan over examples")
    return value._replace(axis=value.axis.moved(value.axis.axis - 1))


def _carried(before: Value, after: Value) -> Value:
    (axis,) = _join([[before.axis], [after.axis]])
    leaves = frozenset() if axis is not None else before.leaves | after.leaves
    return Value(axis, leaves, ready=False, levels=before.levels | after.levels if axis is None else frozenset())


def _find_sites(analysis: Analysis, node: Node, operands: list[Value], results: list[Value], count: int, lengths: tuple[int, ...]) -> None:
    graph = analysis.graph
    entering = {
        atom: operand
        for atom, operand in zip(node.inputs, operands, strict=True)
        if isinstance(atom, int) and operand.leaves and operand.axis is None
    }
    if not entering or not any(jnp.issubdtype(graph.dtype(output), jnp.inexact) for output in node.outputs):
        return
    product = _product(graph, node, operands)
    if product is not None and len(entering) == 1:
        kind, operand, operand_axis = product
        ((variable, value),) = entering.items()
        shape = graph.avals[node.outputs[0]].shape
        _add(analysis, Site(kind, node, variable, variable, (), shape, results[0].axis, operand, operand_axis, value, lengths))
    elif node.primitive in ELEMENTWISE or node.primitive in ("concatenate", "select_n"):
        targets = [Value(results[0].axis) for _ in operands]
        _find_direct(analysis, node, operands, targets, count, lengths)
    elif node.primitive == "custom_jvp_call" and len(node.outputs) == 1 and _is_elementwise(node.children[0], graph.shape(node.outputs[0])):
        _find_direct(analysis, node, operands, [Value(results[0].axis) for _ in operands], count, lengths)
    else:
        for value in entering.values():
            for leaf in value.leaves:
                analysis.uncovered.setdefault(leaf, f"enters {node.primitive}")


def _product(graph: Graph, node: Node, operands: list[Value]) -> tuple[str, int, Axis] | None:
    """Kind of a product of the examples with a cut; position and examples' axis of the former."""
    params, axes = node.params, [operand.axis for operand in operands]
    if node.primitive == "dot_general":
        side = 0 if axes[0] is not None else 1
        axis, batch = axes[side], params["dimension_numbers"][1][side]
        return None if axes[1 - side] is not None or axis is None or axis.axis in batch else ("dot", side, axis)
    if node.primitive == "conv_general_dilated" and axes[0] is not None and axes[1] is None:
        return "conv", 0, axes[0]
    if node.primitive == "gather" and axes[0] is None and axes[1] is not None:
        numbers = params["dimension_numbers"]
        rows = (numbers.collapsed_slice_dims, numbers.start_index_map) == ((0,), (0,)) and not numbers.operand_batching_dims
        trailing = tuple(numbers.offset_dims) == tuple(range(len(graph.shape(node.inputs[1])) - 1, len(graph.shape(node.outputs[0]))))
        whole = tuple(params["slice_sizes"][1:]) == graph.shape(node.inputs[0])[1:]
        return ("embedding", 1, axes[1]) if rows and trailing and whole and not operands[0].levels else None
    return None


def _is_elementwise(graph: Graph, shape: tuple[int, ...]) -> bool:
    return all(
        node.primitive in ELEMENTWISE and not node.children and all(graph.shape(atom) in ((), shape) for atom in (*node.inputs, *node.outputs))
        for node in graph.nodes
    )


def _find_direct(analysis: Analysis, node: Node, operands: Sequence[Value], targets: Sequence[Value], count: int, lengths: tuple[int, ...]) -> None:
    """Sites of operands that are made of parameters where `targets` have examples."""
    graph, elementwise = analysis.graph, node.primitive in ELEMENTWISE
    seen = set()
    for atom, value, target in zip(node.inputs, operands, targets, strict=False):
        if not value.leaves or value.axis is not None or target.axis is None or isinstance(atom, Constant) or atom in seen:
            continue
        seen.add(atom)
        shape = graph.avals[node.outputs[0]].shape if elementwise else graph.shape(atom)
        cut, dims = _before_broadcast(graph, atom, len(shape))
        k, axis = target.axis.axis, target.axis
        if (k in dims and graph.shape(cut)[dims.index(k)] != 1) or len(shape) <= k or shape[k] != axis.pre * count * axis.post:
            for leaf in value.leaves:
                analysis.uncovered.setdefault(leaf, f"has an entry for every example in {node.primitive}")
            continue
        _add(analysis, Site("direct", node, atom, cut, dims, shape, axis, -1, axis, analysis.values[cut], lengths))


def _before_broadcast(graph: Graph, variable: int, rank: int) -> tuple[int, tuple[int, ...]]:
    own = len(graph.shape(variable))
    dims = list(range(own)) if own == rank else []
    while True:
        producer = graph.producers.get(variable)
        if producer is None or producer.primitive != "broadcast_in_dim" or isinstance(producer.inputs[0], Constant):
            return variable, tuple(dims)
        variable = producer.inputs[0]
        dims = [dims[k] for k in producer.params["broadcast_dimensions"]]


def _add(analysis: Analysis, site: Site) -> None:
    if not site.value.ready:
        for leaf in site.value.leaves:
            analysis.uncovered.setdefault(leaf, f"is carried by a loop into {site.node.primitive}")
        return
    analysis.sites.setdefault(site.node, []).append(site)
