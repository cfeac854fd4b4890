"""Second derivatives of losses along perturbations of single layers, all of them from one backward pass."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen.structure.axes import Axis
from jaxgen.structure.capture import Layers
from jaxgen.structure.degrees import CONSTANT, is_affine
from jaxgen.structure.evaluation import evaluate, zero_perturbations
from jaxgen.structure.graph import Constant, Node
from jaxgen.structure.sites import Analysis, Site

Along = Callable[[Site, Array], Float[Array, " N"]]


def second_derivatives(layers: Layers, params: PyTree, batch: PyTree, sites: Sequence[Site]) -> Along:
    """d^2 l_n / dt^2 of every example's loss l_n as t times a direction is added at one site, at t = 0.

    A perturbation passes through the operations after its site; those that are affine in what it moves only hand it on. With g
    the cotangent of the result of an operation f that is not, and u' the tangent of its operands, the second derivative is the
    sum over those operations of <g, f''[u', u']>: one forward tangent for a direction, and one backward pass for all.

    Args:
        layers: what is known of the losses, the function's first result.
        params: parameters.
        batch: examples.
        sites: where perturbations will be added.

    Returns:
        A function of one of the sites and a perturbation of the shape of what it is added to.
    """
    analysis, graph = layers.analysis, layers.analysis.graph
    inputs = [*jax.tree.leaves(params), *jax.tree.leaves(batch)]
    paths = {site.number: _path(layers, site) for site in sites}
    bent = {output for path in paths.values() for node, is_bent in path.items() if is_bent for output in _floating(layers, node)}

    def forward(zeros: dict[int, Array]) -> tuple[Array, dict[int, Any]]:
        values = dict(graph.constants) | dict(zip(graph.inputs, inputs, strict=True))
        for node in graph.nodes:
            results = evaluate(analysis, node, [_read(values, atom) for atom in node.inputs])
            for output, result in zip(node.outputs, results, strict=True):
                values[output] = result + zeros[output] if output in bent else result
        return _read(values, graph.outputs[0]), values

    zeros = {output: jnp.zeros(graph.avals[output].shape, graph.avals[output].dtype) for output in bent}
    losses, pull, values = jax.vjp(forward, zeros, has_aux=True)
    (cotangents,) = pull(jnp.ones_like(losses))
    dtype = jnp.result_type(*jax.tree.leaves(params))

    def along(site: Site, direction: Array) -> Float[Array, " N"]:
        tangents: dict[int, Array] = {}
        total = jnp.zeros(layers.count, dtype)
        for node, is_bent in paths[site.number].items():
            if node is site.node and site.kind != "direct":
                tangents[node.outputs[0]] = direction
                continue
            fn, primals, own = _moving(layers, node, values, tangents, site, direction)
            slopes = zip(node.outputs, jax.jvp(fn, primals, own)[1], strict=True)
            tangents.update((output, slope) for output, slope in slopes if output in _floating(layers, node))
            if is_bent:
                bends = jax.jvp(lambda *moved, fn=fn, own=own: jax.jvp(fn, moved, own)[1], primals, own)[1]
                for output, bend in zip(node.outputs, bends, strict=True):
                    if output in cotangents:
                        total = total + _of_examples((cotangents[output] * bend).astype(dtype), analysis.value(output).axis, layers.count)  # type: ignore[arg-type]
        return total

    return along


def _path(layers: Layers, site: Site) -> dict[Node, bool]:
    """The operations that a perturbation of a site reaches, in order, and whether they are not affine in what it moves."""
    analysis, reached, found = layers.analysis, set(), {}
    for node in analysis.graph.nodes:
        inside = _is_inside(analysis, site, node)
        moved = [atom in reached or (node is site.node and atom == site.variable) for atom in node.inputs]
        if node.primitive in CONSTANT or not (inside or any(moved)):
            continue
        found[node] = inside or not is_affine(node, moved)
        reached.update(_floating(layers, node))
    return found


def _moving(layers: Layers, node: Node, values: dict[int, Any], tangents: dict[int, Array], site: Site, direction: Array):
    """An operation as a function of the operands that move, their values, and how they move."""
    analysis = layers.analysis
    operands: list[Any] = [_read(values, atom) for atom in node.inputs]
    moves = {i: tangents[atom] for i, atom in enumerate(node.inputs) if isinstance(atom, int) and atom in tangents}
    if node is site.node and site.kind == "direct":
        for i, atom in enumerate(node.inputs):
            if atom == site.variable:
                operands[i] = jax.lax.broadcast_in_dim(values[site.cut], site.shape, site.dims)
                moves[i] = direction
    inside = _is_inside(analysis, site, node)
    still = zero_perturbations(analysis)[site.number] if inside else None

    def fn(*moved: Array) -> list[Any]:
        *changed, shift = moved if inside else (*moved, None)
        own = list(operands)
        for i, value in zip(moves, changed, strict=True):
            own[i] = value
        return evaluate(analysis, node, own, {site.number: shift} if inside else {})

    primals = *(operands[i] for i in moves), *([still] if inside else [])
    return fn, primals, (*moves.values(), *([direction] if inside else []))


def _is_inside(analysis: Analysis, site: Site, node: Node) -> bool:
    return node in analysis.loops and site in analysis.loops[node].analysis.all_sites()


def _floating(layers: Layers, node: Node) -> list[int]:
    return [output for output in node.outputs if jnp.issubdtype(layers.analysis.graph.avals[output].dtype, jnp.inexact)]


def _read(values: dict[int, Any], atom: int | Constant) -> Any:
    return atom.value if isinstance(atom, Constant) else values[atom]


def _of_examples(array: Array, axis: Axis, count: int) -> Float[Array, " N"]:
    """Sums of what belongs to every example."""
    shape = (*array.shape[: axis.axis], axis.pre, count, axis.post, *array.shape[axis.axis + 1 :])
    position = axis.axis + 1
    return array.reshape(shape).sum(axis=[i for i in range(len(shape)) if i != position])
