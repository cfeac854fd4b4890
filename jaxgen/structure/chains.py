"""Nets that are a chain: dense layers with a function of single numbers between every two."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.structure.axes import ELEMENTWISE, Axis
from jaxgen.structure.capture import Layers
from jaxgen.structure.graph import Atom, Constant, Graph, Node
from jaxgen.structure.sites import Site


@dataclasses.dataclass(frozen=True)
class Link:
    """A dense layer z = a V and what happens to z before the next, a' = phi(z).

    Attributes:
        site: where V meets a.
        leaf: the leaf that V is, up to its shape.
        biases: leaves that are added to z.
        path: the operations of phi.
        end: the variable that holds a'.
    """

    site: Site
    leaf: int
    biases: tuple[int, ...]
    path: tuple[Node, ...]
    end: Atom


@dataclasses.dataclass(frozen=True)
class Layer:
    """A dense layer at given parameters: a (N, I), V (I, O), z = a V, and phi's first two derivatives at z.

    Attributes:
        link: what it is.
        a: activations.
        weights: V.
        slope: phi'(z).
        bend: phi''(z).
    """

    link: Link
    a: Float[Array, "N I"]
    weights: Float[Array, "I O"]
    slope: Float[Array, "N O"]
    bend: Float[Array, "N O"]


def chain(layers: Layers) -> list[Link] | None:
    """The dense layers of a net in order, or None if it is not a chain of them.

    Args:
        layers: what is known of the net.
    """
    graph, links = layers.analysis.graph, []
    dots = [site for site in layers.sites if site.kind == "dot"]
    directs = {site.number: site for site in layers.sites if site.kind == "direct"}
    if not dots or len(dots) + len(directs) != len(layers.sites):
        return None
    for site, following in zip(dots, [*dots[1:], None], strict=True):
        if site.lengths or len(site.shape) != 2 or site.axis != Axis(0) or site.operand_axis != Axis(0) or not _owned(layers, site):
            return None
        (start,) = site.node.outputs
        end = graph.outputs[0] if following is None else following.node.inputs[following.operand]
        path = _elementwise_path(graph, start, end, site.shape, None if following is None else following.node)
        if path is None:
            return None
        own = [direct for direct in directs.values() if direct.node in path]
        for direct in own:
            others = [atom for atom in direct.node.inputs if atom != direct.variable]
            is_bias = direct.node.primitive == "add" and others == [start] and 1 in direct.dims
            if not is_bias or not _owned(layers, direct):
                return None
            del directs[direct.number]
        links.append(Link(site, _leaf(site), tuple(_leaf(direct) for direct in own), tuple(path), end))
    linear = all(node.primitive in ("add", "reshape", "convert_element_type") for node in links[-1].path)
    return links if linear and not directs else None


def _owned(layers: Layers, site: Site) -> bool:
    leaf = _leaf(site) if site.value.alias is not None else None
    return leaf is not None and len(layers.sites_of(leaf)) == 1 and layers.leaves[leaf].way == "factors"


def _leaf(site: Site) -> int:
    (leaf,) = site.value.leaves
    return leaf


def _elementwise_path(graph: Graph, start: int, end: Atom, shape: tuple[int, ...], following: Node | None) -> list[Node] | None:
    """The operations from one variable to another, if they act on single numbers and nothing else uses what they make."""
    reached, path = {start}, []
    for node in graph.nodes:
        if reached.isdisjoint(node.inputs):
            continue
        if node is following:
            continue
        simple = node.primitive in ELEMENTWISE or (
            node.primitive == "custom_jvp_call" and all(n.primitive in ELEMENTWISE for n in node.children[0].nodes)
        )
        if end in reached or not simple or any(graph.avals[output].shape != shape for output in node.outputs):
            return None
        path.append(node)
        reached.update(node.outputs)
    used_elsewhere = following is not None and any(atom in reached and atom != end for atom in following.inputs)
    return path if end in reached and not used_elsewhere else None


def _slope(fn: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda z: jax.jvp(fn, (z,), (jnp.ones_like(z),))[1]


def layers_of_chain(layers: Layers, links: list[Link], inputs: list[Any]) -> list[Layer]:
    """The layers at given parameters and examples.

    Args:
        layers: what is known of the net.
        links: its layers, from `chain`.
        inputs: leaves of the parameters, then of the examples.
    """
    graph = layers.analysis.graph
    values: dict[int, Any] = dict(graph.constants) | dict(zip(graph.inputs, inputs, strict=True))

    def read(atom: Atom) -> Any:
        return atom.value if isinstance(atom, Constant) else values[atom]

    for node in graph.nodes:
        values.update(zip(node.outputs, node.evaluate(*(read(atom) for atom in node.inputs)), strict=True))

    def phi(link: Link) -> Callable[[Array], Array]:
        def apply(z):
            own = {link.site.node.outputs[0]: z}
            for node in link.path:
                operands = [own.get(atom, read(atom)) if isinstance(atom, int) else atom.value for atom in node.inputs]
                own.update(zip(node.outputs, node.evaluate(*operands), strict=True))
            return own[link.end]  # type: ignore[index]

        return apply

    found = []
    for link in links:
        z = values[link.site.node.outputs[0]]
        slope, bend = jax.jvp(_slope(phi(link)), (z,), (jnp.ones_like(z),))
        term = layers.layouts[link.site.number].term(read(link.site.node.inputs[link.site.operand]), z)
        weights = layers.layouts[link.site.number].canonical(values[link.site.cut])[0]
        found.append(Layer(link, term.a[:, 0, 0], weights, slope, bend))  # type: ignore[union-attr]
    return found
