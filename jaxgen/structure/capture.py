"""The layers of a function: one forward pass that keeps what every cut was multiplied with, one backward pass for the rest."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import leading_axis
from jaxgen.structure.axes import Axis, Coupled, Unknown
from jaxgen.structure.evaluation import run, values_of_cuts, zero_perturbations
from jaxgen.structure.graph import trace
from jaxgen.structure.sites import Alias, Analysis, Site, Value, analyze
from jaxgen.structure.terms import Blocks, Layout, Product, Term, layout


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One leaf of the parameters, and how its per-example gradients come about.

    Attributes:
        path: its place in the tree, for people.
        way: `"factors"` (products of activations and cotangents), `"pulled back"` (per-example gradients of the cuts made
            of it, through the rest), `"per example"` (differentiated by itself), or `"unused"`.
        why: what it enters, or what stands in the way of factors.
        groups: for factors: sites whose terms are added, each with whether it takes the leaf transposed.
    """

    path: str
    way: str
    why: str
    groups: tuple[tuple[tuple[int, bool], ...], ...] = ()


class Layers:
    """What is known of `fn(params, batch)` before it runs: its cuts, and the way of every leaf.

    Args:
        fn: function of parameters and a batch, whose results have the leading axis of the examples.
        params: parameters, a pytree of arrays.
        batch: examples, a pytree whose leaves have leading axis N.
        check: sees the shapes of the results, and may raise, before the analysis does.
        by_patches: convolutions as products of patches with their kernels, which in loops are faster on a CPU.

    Raises:
        Coupled: if examples influence each other.
        Unknown: if that cannot be told from the operations.
        ValueError: if the leaves of `batch` differ in leading axis.
    """

    def __init__(
        self,
        fn: Callable[[PyTree, PyTree], Any],
        params: PyTree,
        batch: PyTree,
        check: Callable[[PyTree], None] = lambda result: None,
        *,
        by_patches: bool = False,
    ):
        self.count = leading_axis("batch", batch)
        self.structure = jax.tree.structure(params)
        paths, leaves = zip(*jax.tree.leaves_with_path(params), strict=True) if jax.tree.leaves(params) else ((), ())
        self.num_leaves = len(leaves)
        graph, result = trace(fn, params, batch, by_patches=by_patches)
        check(result)
        inputs = [Value(leaves=frozenset({i}), alias=Alias(i, lambda array, lead: array)) for i in range(self.num_leaves)]
        inputs += [Value(axis=Axis(0)) for _ in jax.tree.leaves(batch)]
        self.analysis: Analysis = analyze(graph, inputs, self.count)
        for output in graph.outputs:
            axis = self.analysis.value(output).axis
            if axis is not None and axis != Axis(0):
                raise Unknown("the results do not have the examples along their leading axis")
        self.sites: list[Site] = self.analysis.all_sites()
        for number, site in enumerate(self.sites):
            site.number = number
        shapes = jax.eval_shape(self.cuts, list(leaves))
        own = [shapes[site.number].shape[len(site.value.levels) :] for site in self.sites]
        self.layouts: list[Layout] = [layout(site, shape, self.count) for site, shape in zip(self.sites, own, strict=True)]
        named = [jax.tree_util.keystr(path, simple=True, separator="/") for path in paths]
        self.leaves = [self._way(i, name, leaf) for i, (name, leaf) in enumerate(zip(named, leaves, strict=True))]

    def cuts(self, leaves: Sequence[Array], sites: Sequence[Site] | None = None) -> dict[int, Array]:
        """The value of every cut, or of those of some sites, by the number of its site."""
        missing = len(self.analysis.graph.inputs) - self.num_leaves
        known = [True] * self.num_leaves + [False] * missing
        return values_of_cuts(self.analysis, [*leaves, *[None] * missing], known, self.sites if sites is None else sites)

    def sites_of(self, leaf: int) -> list[Site]:
        """The sites whose cuts a leaf is part of."""
        return [site for site in self.sites if leaf in site.value.leaves]

    def _way(self, number: int, path: str, leaf: Any) -> Leaf:
        if number in self.analysis.uncovered:
            return Leaf(path, "per example", self.analysis.uncovered[number])
        sites = self.sites_of(number)
        if not sites:
            return Leaf(path, "unused", "does not influence the result")
        kinds = ", ".join(site.node.primitive for site in sites)
        groups = self._groups(number, np.shape(leaf), sites)
        if groups is None:
            return Leaf(path, "pulled back", kinds)
        return Leaf(path, "factors", kinds, groups)

    def _groups(self, number: int, shape: tuple[int, ...], sites: list[Site]) -> tuple[tuple[tuple[int, bool], ...], ...] | None:
        """Sites of a leaf, together where they take the same entries; None where factors cannot say it."""
        if any(site.value.alias is None or site.value.alias.leaf != number for site in sites):
            return None
        if len(sites) == 1:
            return (((sites[0].number, False),),)
        entries = np.arange(int(np.prod(shape))).reshape(shape)
        groups: list[tuple[np.ndarray, bool, list[tuple[int, bool]]]] = []
        for site in sites:
            index = self.layouts[site.number].canonical(site.value.alias.index(entries, len(site.value.levels)))  # type: ignore[union-attr]
            product = site.kind in ("dot", "conv")
            for other, is_product, members in groups:
                if not np.intersect1d(index, other).size:
                    continue
                if product != is_product or (site.kind == "embedding"):
                    return None
                if np.array_equal(index, other):
                    members.append((site.number, False))
                elif product and np.array_equal(index.swapaxes(1, 2), other):
                    members.append((site.number, True))
                else:
                    return None
                break
            else:
                groups.append((index, product, [(site.number, False)]))
        return tuple(tuple(members) for _, _, members in groups)

    def forward(self, params: PyTree, batch: PyTree) -> "Pass":
        """Runs the function and keeps what its cuts were multiplied with."""
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(params)]
        inputs = [*leaves, *(jnp.asarray(leaf) for leaf in jax.tree.leaves(batch))]
        outputs, pull, records = jax.vjp(lambda zeros: run(self.analysis, inputs, zeros), zero_perturbations(self.analysis), has_aux=True)
        return Pass(self, inputs, outputs, records, lambda cotangents: pull(cotangents)[0])


def understood(fn: Callable[[PyTree, PyTree], Any], params: PyTree, batch: PyTree, name: str, otherwise: str = "") -> Layers:
    """The layers of a function that must have them.

    Args:
        fn: function of parameters and a batch.
        params: parameters, a pytree of arrays.
        batch: examples.
        name: what the caller calls `fn`.
        otherwise: what to do where there is no rule, for the message.

    Raises:
        ValueError: if examples influence each other, or that cannot be told.
    """
    try:
        return Layers(fn, params, jax.tree.map(jnp.asarray, batch))
    except Coupled as error:
        raise ValueError(f"{name} couples examples at {error}: what it gives for one depends on the others") from None
    except Unknown as error:
        raise ValueError(f"the structure of {name} is not understood: no rule for {error}{otherwise and '; ' + otherwise}") from None


def biases(layers: Layers) -> dict[int, int]:
    """Sites of biases that are added to what a dense or convolutional layer puts out, with the layer's: both have one cotangent."""
    products = {site.node.outputs[0]: site for site in layers.sites if site.kind in ("dot", "conv") and not site.lengths}
    found = {}
    for site in layers.sites:
        others = [atom for atom in site.node.inputs if atom != site.variable]
        if site.kind == "direct" and site.node.primitive == "add" and others and isinstance(others[0], int) and others[0] in products:
            layer = products[others[0]].number
            if layers.layouts[site.number].out == layers.layouts[layer].out:
                found[site.number] = layer
    return found


@dataclasses.dataclass(frozen=True)
class Pass:
    """One evaluation of a function's layers.

    Attributes:
        layers: what is known of the function.
        inputs: leaves of the parameters, then of the batch.
        outputs: its results.
        records: what every site multiplied its cut with.
        pull: from cotangents of the results to those of every site.
    """

    layers: Layers
    inputs: list[Array]
    outputs: list[Array]
    records: dict[int, Array]
    pull: Callable[[list[Array]], dict[int, Array]]

    @property
    def leaves(self) -> list[Array]:
        """Leaves of the parameters."""
        return self.inputs[: self.layers.num_leaves]

    def dtype_of(self, site: Site) -> Any:
        """Dtype of a site's perturbation."""
        return jax.eval_shape(lambda: zero_perturbations(self.layers.analysis))[site.number].dtype

    def terms(self, cotangents: dict[int, Array], selected: Sequence[int]) -> dict[tuple[int, int], Term]:
        """Parts of every example's gradient that are orthogonal to each other, by leaf and number.

        Leaves that are differentiated by themselves are left out.
        """
        layers, found = self.layers, {}
        back = [leaf for leaf in selected if layers.leaves[leaf].way == "pulled back"]
        sites = {number for leaf in selected for group in layers.leaves[leaf].groups for number, _ in group}
        sites |= {site.number for leaf in back for site in layers.sites_of(leaf)}
        own = {number: layers.layouts[number].term(self.records.get(number), cotangents[number]) for number in sites}
        for leaf in selected:
            for part, group in enumerate(layers.leaves[leaf].groups):
                found[leaf, part] = _together([(own[number], swapped) for number, swapped in group])
        if back:
            for leaf, rows in zip(back, self._pulled_back(own, back), strict=True):
                found[leaf, 0] = Blocks(rows.reshape(layers.count, -1))
        return found

    def per_example(self, cotangents: dict[int, Array], selected: Sequence[int]) -> dict[int, Float[Array, "N ..."]]:
        """Every example's gradient with respect to the selected leaves, but for those differentiated by themselves."""
        layers = self.layers
        wanted = [leaf for leaf in selected if layers.leaves[leaf].way in ("factors", "pulled back")]
        sites = {site.number for leaf in wanted for site in layers.sites_of(leaf)}
        own = {number: layers.layouts[number].term(self.records.get(number), cotangents[number]) for number in sites}
        return dict(zip(wanted, self._pulled_back(own, wanted), strict=True)) if wanted else {}

    def _pulled_back(self, own: dict[int, Term], wanted: Sequence[int]) -> list[Array]:
        """Per-example gradients of leaves, from those of the cuts that they are part of."""
        layers = self.layers
        sites = [site for site in layers.sites if not site.value.leaves.isdisjoint(wanted)]

        def of_leaves(chosen):
            leaves = list(self.leaves)
            for leaf, value in zip(wanted, chosen, strict=True):
                leaves[leaf] = value
            found = layers.cuts(leaves, sites)
            return {number: layers.layouts[number].canonical(value).ravel() for number, value in found.items()}

        values, pull = jax.vjp(of_leaves, [self.leaves[leaf] for leaf in wanted])
        blocks = {number: own[number].blocks().astype(value.dtype) for number, value in values.items()}
        return jax.vmap(lambda of_cuts: pull(of_cuts)[0])(blocks)


def _together(members: list[tuple[Term, bool]]) -> Term:
    """The sum of terms of one cut, some of which take it transposed."""
    if len(members) == 1 and not members[0][1]:
        return members[0][0]
    products = [(term.g, term.a) if swapped else (term.a, term.g) for term, swapped in members if isinstance(term, Product)]
    if products:
        return Product(*(jnp.concatenate(factors, axis=2) for factors in zip(*products, strict=True)))
    return Blocks(jnp.sum(jnp.stack([term.blocks() for term, _ in members]), axis=0))
