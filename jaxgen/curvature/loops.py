"""Functions made ready for compiled loops: what does not change in the loop is done before it, convolutions fit into it."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

from jaxgen.structure.graph import Constant, Node, trace


def loop_body(fn: Callable[[PyTree], PyTree], like: PyTree[jax.ShapeDtypeStruct]) -> Callable[[PyTree], PyTree]:
    """`fn`, to be called many times inside a compiled loop: what does not depend on its argument is evaluated here and now.

    On a CPU, XLA hands only convolutions of one layout to its fast routine when they stand inside a loop, and runs the
    others, gradients with respect to kernels among them, up to fifty times slower: they are brought into that layout.

    Args:
        fn: function of one pytree.
        like: structure, shapes and dtypes of its argument.
    """
    graph, result = trace(fn, like)
    outside: dict[int, Any] = dict(graph.constants)
    inside: list[Node] = []
    varying = set(graph.inputs)
    for node in graph.nodes:
        if varying.isdisjoint(atom for atom in node.inputs if not isinstance(atom, Constant)):
            _evaluate([node], outside)
        else:
            inside.append(node)
            varying.update(node.outputs)

    def body(argument: PyTree) -> PyTree:
        values = {**outside, **dict(zip(graph.inputs, jax.tree.leaves(argument), strict=True))}
        _evaluate(inside, values)
        return jax.tree.unflatten(jax.tree.structure(result), [_read(values, atom) for atom in graph.outputs])

    return body


def closed(fn: Callable[[PyTree], PyTree], like: PyTree) -> tuple[list[Array], Callable[[list[Array], PyTree], PyTree]]:
    """`fn` as a function of what it closes over and of its argument, with convolutions as in `loop_body`; and the former.

    Args:
        fn: function of one pytree.
        like: an argument of it.
    """
    graph, result = trace(fn, like)

    def program(captured: list[Array], argument: PyTree) -> PyTree:
        values = dict(zip(graph.constants, captured, strict=True)) | dict(zip(graph.inputs, jax.tree.leaves(argument), strict=True))
        _evaluate(graph.nodes, values)
        return jax.tree.unflatten(jax.tree.structure(result), [_read(values, atom) for atom in graph.outputs])

    return list(graph.constants.values()), program


def _evaluate(nodes: Iterable[Node], values: dict[int, Any]) -> None:
    for node in nodes:
        operands = [_read(values, atom) for atom in node.inputs]
        if node.primitive == "conv_general_dilated" and jax.default_backend() == "cpu":
            results = [_channels_last_convolution(*operands, **node.params)]
        else:
            results = node.evaluate(*operands)
        values.update(zip(node.outputs, results, strict=True))


def _read(values: dict[int, Any], atom: int | Constant) -> Any:
    return atom.value if isinstance(atom, Constant) else values[atom]


def _channels_last_convolution(lhs: Array, rhs: Array, *, dimension_numbers: lax.ConvDimensionNumbers, **params: Any) -> Array:
    """The convolution between explicit transpositions, (N, *space, C_in) with (*window, C_in, C_out) to (N, *out, C_out)."""
    space = tuple(range(1, lhs.ndim - 1))
    last = (0, lhs.ndim - 1, *space)
    numbers = lax.ConvDimensionNumbers(last, (lhs.ndim - 1, lhs.ndim - 2, *(axis - 1 for axis in space)), last)
    (batch, features, *sides), (out, into, *window), (rows, channels, *places) = dimension_numbers
    names = ("window_strides", "padding", "lhs_dilation", "rhs_dilation", "feature_group_count", "batch_group_count", "precision")
    options = {name: params[name] for name in (*names, "preferred_element_type")}
    result = lax.conv_general_dilated(lhs.transpose(batch, *sides, features), rhs.transpose(*window, into, out), dimension_numbers=numbers, **options)
    return result.transpose(*np.argsort((rows, *places, channels)).tolist())
