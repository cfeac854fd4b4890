"""Running a graph with its sites: with perturbations, whose derivative is what the examples say about every cut."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen.structure.graph import Atom, Constant, Node
from jaxgen.structure.sites import Analysis, Site

Numbered = dict[int, Any]


def run(analysis: Analysis, inputs: Sequence[Any], perturbations: Numbered) -> tuple[list[Any], Numbered]:
    """Results of the graph with a perturbation added at every site, and what the cuts were multiplied with.

    A perturbation of a site outside of loops may be a function of what its cut is multiplied with.
    """
    values = dict(analysis.graph.constants) | dict(zip(analysis.graph.inputs, inputs, strict=True))
    records: Numbered = {}

    def read(atom: Atom) -> Any:
        return atom.value if isinstance(atom, Constant) else values[atom]

    for node in analysis.graph.nodes:
        operands = [read(atom) for atom in node.inputs]
        sites = analysis.sites.get(node, [])
        for site in sites:
            if site.kind == "direct":
                whole = jax.lax.broadcast_in_dim(values[site.cut], site.shape, site.dims)
                perturbed = whole + perturbations[site.number].astype(whole.dtype)
                operands = [perturbed if atom == site.variable else value for atom, value in zip(node.inputs, operands, strict=True)]
        if node in analysis.loops:
            results, inner = _scan(analysis, node, operands, perturbations)
            records |= inner
        else:
            results = node.evaluate(*operands)
        for site in sites:
            if site.kind != "direct":
                perturbation, record = perturbations[site.number], operands[site.operand]
                results = [results[0] + (perturbation(record) if callable(perturbation) else perturbation)]
                records[site.number] = record
        values.update(zip(node.outputs, results, strict=True))
    return [read(atom) for atom in analysis.graph.outputs], records


def evaluate(analysis: Analysis, node: Node, operands: list[Any], perturbations: Numbered | None = None) -> list[Any]:
    """Results of one operation; for loops, with perturbations of some of the sites inside."""
    if node not in analysis.loops:
        return node.evaluate(*operands)
    return _scan(analysis, node, operands, zero_perturbations(analysis.loops[node].analysis) | (perturbations or {}))[0]


def _scan(analysis: Analysis, node: Node, operands: list[Any], perturbations: Numbered) -> tuple[list[Any], Numbered]:
    loop = analysis.loops[node]
    ends = loop.num_consts, loop.num_consts + loop.num_carry
    consts, carry, xs = operands[: ends[0]], operands[ends[0] : ends[1]], operands[ends[1] :]
    own = {site.number: perturbations[site.number] for site in loop.analysis.all_sites()}

    def body(carry, slices):
        x, perturbed = slices
        results, records = run(loop.analysis, [*consts, *carry, *x], perturbed)
        return results[: loop.num_carry], (results[loop.num_carry :], records)

    carry, (ys, records) = jax.lax.scan(body, carry, (xs, own), length=node.params["length"], reverse=node.params["reverse"])
    return [*carry, *ys], records


def zero_perturbations(analysis: Analysis) -> dict[int, Array]:
    """The perturbation of every site that changes nothing."""

    def zeros(analysis: Analysis) -> dict[int, Array]:
        found = {}
        for node, sites in analysis.sites.items():
            for site in sites:
                dtype = analysis.graph.avals[node.outputs[0]].dtype if site.kind != "direct" else analysis.graph.avals[site.cut].dtype
                found[site.number] = jnp.zeros((*site.lengths, *site.shape), dtype)
        for loop in analysis.loops.values():
            found |= zeros(loop.analysis)
        return found

    return zeros(analysis)


def values_of_cuts(analysis: Analysis, inputs: Sequence[Any], known: Sequence[bool], wanted: Sequence[Site]) -> dict[int, Array]:
    """The value of every wanted cut, from the inputs that are known without examples.

    A cut that varies over the iterations of loops around it has a leading axis for each of those.
    """
    return _cuts(analysis, inputs, known, {site.number for site in wanted}, 0)


def _cuts(analysis: Analysis, inputs: Sequence[Any], known: Sequence[bool], wanted: set[int], depth: int) -> dict[int, Array]:
    values: dict[int, Any] = dict(analysis.graph.constants)
    values |= {variable: value for variable, value, is_known in zip(analysis.graph.inputs, inputs, known, strict=True) if is_known}
    found: dict[int, Array] = {}

    def is_known(atom: Atom) -> bool:
        return isinstance(atom, Constant) or atom in values

    def read(atom: Atom) -> Any:
        return atom.value if isinstance(atom, Constant) else values[atom]

    for node in analysis.graph.nodes:
        if all(is_known(atom) for atom in node.inputs):
            values.update(zip(node.outputs, node.evaluate(*(read(atom) for atom in node.inputs)), strict=True))
        if node in analysis.loops:
            found |= _cuts_of_body(analysis, node, [read(atom) if is_known(atom) else None for atom in node.inputs], wanted, depth)
    return found | {site.number: values[site.cut] for sites in analysis.sites.values() for site in sites if site.number in wanted}


def _cuts_of_body(analysis: Analysis, node, operands: list[Any], wanted: set[int], depth: int) -> dict[int, Array]:
    loop = analysis.loops[node]
    inner = {site.number: site for site in loop.analysis.all_sites() if site.number in wanted}
    if not inner:
        return {}
    first_x = loop.num_consts + loop.num_carry
    consts = operands[: loop.num_consts]
    known_x = [i for i in range(first_x, len(operands)) if operands[i] is not None]

    def body(xs):
        inputs = consts + [None] * (len(operands) - loop.num_consts)
        for i, x in zip(known_x, xs, strict=True):
            inputs[i] = x
        return _cuts(loop.analysis, inputs, [value is not None for value in inputs], set(inner), depth + 1)

    if not known_x:
        return body([])
    varies = {number: 0 if depth in site.value.levels else None for number, site in inner.items()}
    return jax.vmap(body, out_axes=varies)([operands[i] for i in known_x])
