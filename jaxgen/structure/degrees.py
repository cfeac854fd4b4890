"""In which parameters a function is affine, piece by piece: where the pieces are, may depend on the parameters."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.structure.graph import Constant, Graph, Node

LINEAR = set(
    "add add_any broadcast_in_dim concatenate convert_element_type copy copy_p cumsum device_put dynamic_slice "
    "dynamic_update_slice gather name neg pad real reduce_precision reduce_sum reduce_window_sum reshape rev select_n "
    "sharding_constraint slice split squeeze sub transpose unstack".split()
)
PIECEWISE_LINEAR = set("abs clamp max min reduce_max reduce_min reduce_window_max reduce_window_min sort".split())
CONSTANT = set("ceil floor round sign stop_gradient".split())
BILINEAR = set("conv_general_dilated dot_general mul".split())

Degrees = dict[int, int]
HIGHER = 2
"""Degree of whatever is not affine."""


def degrees(graph: Graph, num_leaves: int) -> Degrees:
    """Degree of the results, piece by piece, in every leaf of the parameters: 0, 1, or `HIGHER`.

    Where it is at most 1 in a leaf, the Hessian's diagonal block of that leaf is the Gauss-Newton matrix's.

    Args:
        graph: the traced program, whose first inputs are the leaves.
        num_leaves: how many those are.

    Returns:
        The degree in every leaf, by its number.
    """
    found = _degrees(graph, [{leaf: 1} if leaf < num_leaves else {} for leaf in range(len(graph.inputs))])
    return {leaf: max((degree.get(leaf, 0) for degree in found), default=0) for leaf in range(num_leaves)}


def is_affine(node: Node, moved: Sequence[bool]) -> bool:
    """Whether an operation is affine, piece by piece, in the operands that move together; `False` where that takes a trial."""
    degree = HIGHER if node.primitive == "custom_jvp_call" else _of(node, [{0: 1} if moves else {} for moves in moved]).get(0, 0)
    return degree < HIGHER


def _degrees(graph: Graph, inputs: list[Degrees]) -> list[Degrees]:
    known: dict[int, Degrees] = {constant: {} for constant in graph.constants} | dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        operands = [{} if isinstance(atom, Constant) else known[atom] for atom in node.inputs]
        degree = _of(node, operands)
        for output in node.outputs:
            known[output] = degree if jnp.issubdtype(graph.avals[output].dtype, jnp.inexact) else {}
    return [{} if isinstance(atom, Constant) else known[atom] for atom in graph.outputs]


def _of(node: Node, operands: list[Degrees]) -> Degrees:
    leaves = set().union(*operands)
    if node.primitive in CONSTANT:
        return {}
    if node.primitive in LINEAR | PIECEWISE_LINEAR:
        return {leaf: max(degree.get(leaf, 0) for degree in operands) for leaf in leaves}
    if node.primitive in BILINEAR:
        return {leaf: min(HIGHER, sum(degree.get(leaf, 0) for degree in operands)) for leaf in leaves}
    if node.primitive == "div":
        return {leaf: HIGHER if operands[1].get(leaf, 0) else operands[0][leaf] for leaf in leaves}
    if node.primitive == "custom_jvp_call" and leaves and _has_rule_of_its_body(node):
        return _degrees(node.children[0], operands)[0]
    return dict.fromkeys(leaves, HIGHER)


def _has_rule_of_its_body(node: Node) -> bool:
    """Whether a function with a derivative of its own, such as ReLU, has the one that its body has, by trial.

    Trusting the body alone would be wrong for functions that are one thing and are differentiated as another.
    """
    body = node.children[0]
    shapes = [body.avals[variable] for variable in body.inputs]
    if len(node.outputs) != 1 or not all(jnp.issubdtype(shape.dtype, jnp.floating) for shape in shapes):
        return False

    def inlined(*values: Any) -> Any:
        known = dict(body.constants) | dict(zip(body.inputs, values, strict=True))
        for inner in body.nodes:
            operands = [atom.value if isinstance(atom, Constant) else known[atom] for atom in inner.inputs]
            known.update(zip(inner.outputs, inner.evaluate(*operands), strict=True))
        (output,) = body.outputs
        return output.value if isinstance(output, Constant) else known[output]

    with jax.ensure_compile_time_eval():
        keys = jax.random.split(jax.random.key(0), 2 * len(shapes))
        points = tuple(2 * jax.random.normal(key, shape.shape, shape.dtype) for key, shape in zip(keys[::2], shapes, strict=True))
        steps = tuple(jax.random.normal(key, shape.shape, shape.dtype) for key, shape in zip(keys[1::2], shapes, strict=True))
        ruled = jax.jvp(lambda *values: node.evaluate(*values)[0], points, steps)
        plain = jax.jvp(inlined, points, steps)
        return all(bool(jnp.allclose(left, right)) for left, right in zip(ruled, plain, strict=True))
