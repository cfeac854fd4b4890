"""Running a function with Gaussian parameters: noise where they enter, in place of draws of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from jaxgen.structure.capture import Layers, biases
from jaxgen.structure.evaluation import run, zero_perturbations
from jaxgen.structure.sites import Site
from jaxgen.structure.terms import Product, Rows

Perturbation = Callable[[Array], Array]


def enters_as_noise(layers: Layers) -> list[bool]:
    """Of every leaf, whether independent Gaussian entries give what they meet in one example independent Gaussian noise.

    So it is for weights of dense layers and rows of tables that an example meets once, and for biases and scales. Convolutions,
    and layers applied at several positions, meet the same weights again, and loops are not entered.
    """
    return [leaf.way == "unused" or (leaf.way == "factors" and _met_once(layers, number)) for number, leaf in enumerate(layers.leaves)]


def _met_once(layers: Layers, leaf: int) -> bool:
    groups = layers.leaves[leaf].groups
    sites = [layers.sites[group[0][0]] for group in groups]
    return all(len(group) == 1 for group in groups) and all(site.lengths == () and _positions(layers, site) == 1 for site in sites)


def _positions(layers: Layers, site: Site) -> int:
    """How often an example meets the cut of a site."""
    if site.kind == "direct":
        return 1
    graph = layers.analysis.graph
    record, output = graph.avals[site.node.inputs[site.operand]], graph.avals[site.node.outputs[0]]  # type: ignore[index]
    term = jax.eval_shape(layers.layouts[site.number].term, record, output)
    if isinstance(term, Product):
        return term.a.shape[2]
    return term.index.shape[1] if isinstance(term, Rows) else 1


def with_random_parameters(layers: Layers, means: PyTree, variances: PyTree, batch: PyTree, key: Key[Array, ""]) -> list[Array]:
    """Results of the function at parameters N(means, diag(variances)), drawn anew for every example where noise can stand for them.

    What one example gives is distributed as with a draw of all parameters. Leaves that do not enter as noise are drawn once,
    and shared by the examples.

    Args:
        layers: of the function, at parameters and a batch of these shapes.
        means: parameters.
        variances: of the same structure; a leaf has the shape of its parameters, or is a scalar, which costs no second product.
        batch: examples.
        key: PRNG key.

    Returns:
        Leaves of the result.
    """
    leaves, spreads = jax.tree.leaves(means), jax.tree.leaves(variances)
    noisy = enters_as_noise(layers)
    keys = jax.random.split(key, len(leaves) + len(layers.sites))
    drawn = [
        leaf if as_noise else leaf + jnp.sqrt(variance) * jax.random.normal(own, leaf.shape, leaf.dtype)
        for leaf, variance, as_noise, own in zip(leaves, spreads, noisy, keys, strict=False)
    ]
    sites = [site for site in layers.sites if any(noisy[leaf] for leaf in site.value.leaves)]
    of_cuts = layers.cuts([jnp.broadcast_to(variance, leaf.shape) for leaf, variance in zip(leaves, spreads, strict=True)], sites)
    scalars = {site.number: spread for site in sites for spread in [spreads[min(site.value.leaves)]] if jnp.ndim(spread) == 0}
    together = {bias: layer for bias, layer in biases(layers).items() if {bias, layer} <= {site.number for site in sites}}
    perturbations: dict[int, Any] = zero_perturbations(layers.analysis)
    for site in sites:
        if site.number in together:
            continue
        own = [layers.sites[bias] for bias, layer in together.items() if layer == site.number]
        added = sum((_broadcast(bias, of_cuts[bias.number]) for bias in own), start=jnp.zeros(()))
        perturbations[site.number] = _noise(layers, site, of_cuts[site.number], scalars.get(site.number), added, keys[len(leaves) + site.number])
    outputs, _ = run(layers.analysis, [*drawn, *jax.tree.leaves(batch)], perturbations)
    return outputs


def _broadcast(site: Site, variance: Array) -> Array:
    return jax.lax.broadcast_in_dim(variance, site.shape, site.dims)


def _noise(layers: Layers, site: Site, variance: Array, scalar: Array | None, added: Array, key: Key[Array, ""]) -> Any:
    """The perturbation of a site: an array, or a function of what the cut is multiplied with."""
    dtype = layers.analysis.graph.avals[site.node.outputs[0]].dtype
    if site.kind == "direct":
        return _shared_in_an_example(layers, site, jnp.sqrt(variance), key)

    def perturbation(record: Array) -> Array:
        if site.kind == "embedding":
            spread = site.node.evaluate(variance, record)[0]
        else:
            factors = variance if scalar is None else _one_column(layers, site, variance)
            operands = (record**2, factors) if site.operand == 0 else (factors, record**2)
            spread = site.node.evaluate(*operands)[0] * (1 if scalar is None else scalar)
        # The square root has no derivative where an example is zero.
        std = jnp.sqrt(jnp.maximum(spread + added, jnp.finfo(dtype).tiny))
        return (std * jax.random.normal(key, site.shape, dtype)).astype(dtype)

    return perturbation


def _one_column(layers: Layers, site: Site, variance: Array) -> Array:
    """Ones in place of a cut's entries, and one in place of all that lead to different results."""
    contracting, batch = site.node.params["dimension_numbers"]
    kept = (*contracting[1 - site.operand], *batch[1 - site.operand])
    return jnp.ones([size if k in kept else 1 for k, size in enumerate(variance.shape)], variance.dtype)


def _shared_in_an_example(layers: Layers, site: Site, std: Array, key: Key[Array, ""]) -> Array:
    """Noise of a cut that acts elementwise, the same wherever in an example the cut does."""
    axis = site.axis
    shape = [1] * len(site.shape)
    for k, size in zip(site.dims, std.shape, strict=True):
        shape[k] = size
    k = axis.axis  # type: ignore[union-attr]
    own = [*shape[:k], 1, layers.count, 1, *shape[k + 1 :]]
    split = [*shape[:k], axis.pre, layers.count, axis.post, *shape[k + 1 :]]  # type: ignore[union-attr]
    draws = jnp.broadcast_to(jax.random.normal(key, own, std.dtype), split)
    draws = draws.reshape([*shape[:k], site.shape[k], *shape[k + 1 :]])
    return jnp.broadcast_to(draws * jax.lax.broadcast_in_dim(std, shape, site.dims), site.shape)
