"""The trace of the Hessian by probes of activations: one second derivative of the losses for every layer."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import structure
from jaxgen._core.checks import floating, leading_axis, positive_integer, require
from jaxgen._core.rademacher import rademacher
from jaxgen._core.results import Estimate
from jaxgen.curvature.operators import LossFn


def trace_by_activations(
    loss_fn: LossFn, params: PyTree, batch: PyTree, key: Key[Array, ""], *, num_probes: int = 1, per_leaf: bool = False
) -> PyTree[Estimate]:
    """Trace of the Hessian of the empirical risk, layer by layer, from random signs added to what every layer puts out.

    For weights V with z = a V, tr H_V = (1/N) sum_n |a_n|^2 tr (d^2 l_n / dz_n^2), and e^T (d^2 l_n / dz_n^2) e has that trace
    for its mean over signs e, which are drawn for every example by itself: the error averages out over examples, where a probe
    of the parameters is one number for all of them. Positions that share weights are probed together, with a in place of |a|.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, twice differentiable, not coupling examples.
        params: parameters, a pytree of floating leaves, each of which enters in one place (no tied weights) and linearly.
        batch: examples, a pytree whose leaves have leading axis N.
        key: key of the signs.
        num_probes: draws for every example and layer.
        per_leaf: also separates the trace by leaf: a pytree of estimates like `params`.

    Returns:
        The trace. With several probes the standard error is that of the draws; with one it is the spread over examples over
        the root of N, which is never less on average and also holds how examples differ.

    Raises:
        ValueError: if examples are coupled, a leaf has no such structure (`curvature.trace` needs none), `num_probes` < 1,
            or as `hessian`.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-28. Cost: a gradient's passes without those of the weights, and for every layer one forward pass
    from there on. For ReLU nets `exact_trace` is exact.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> loss_fn = lambda w, x: 0.5 * jnp.sum((x @ w) ** 2, axis=1)
        >>> x = jnp.array([[1.0, 2.0], [0.0, 2.0]])
        >>> float(curvature.trace_by_activations(loss_fn, jnp.ones((2, 1)), x, jax.random.key(0)).value)
        4.5
    """
    per_example = _per_example(loss_fn, params, batch, key, positive_integer("num_probes", num_probes))
    if per_leaf:
        return jax.tree.map(_estimate, per_example)
    return _estimate(jax.tree.reduce(jnp.add, per_example))


def _estimate(draws: Float[Array, "K N"]) -> Estimate:
    num_probes, count = draws.shape
    variance = draws.var(axis=0, ddof=1).sum() / num_probes if num_probes > 1 else draws[0].var(ddof=1) * count
    return Estimate(draws.mean(), jnp.sqrt(variance) / count)


@partial(jax.jit, static_argnums=(0, 4))
def _per_example(loss_fn, params, batch, key, num_probes):
    """A draw (K, N) of every example's part of the trace, for every leaf."""
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    batch = jax.tree.map(jnp.asarray, batch)
    require(leading_axis("batch", batch) > 0, "batch must hold at least one example; got 0")
    layers = structure.understood(loss_fn, params, batch, "loss_fn", "curvature.trace needs none")
    for leaf in layers.leaves:
        single = leaf.way == "factors" and all(len(group) == 1 for group in leaf.groups)
        require(
            single or leaf.way == "unused",
            f"{leaf.path} does not enter linearly in one place ({leaf.why}): its part of the trace is not one of activations; use curvature.trace",
        )
    for site in layers.sites:
        repeated = site.kind != "direct" and len(site.value.levels) < len(site.lengths)
        names = ", ".join(layers.leaves[leaf].path for leaf in site.value.leaves)
        require(not repeated, f"{names} is used again at every step of a loop: its part of the trace is not one of activations; use curvature.trace")
    leaves = jax.tree.leaves(params)
    evaluation = layers.forward(params, batch)
    shared = {bias: layer for bias, layer in structure.biases(layers).items() if len(layers.sites[layer].shape) == 2}
    probed = [site for site in layers.sites if site.number not in shared]
    along = structure.second_derivatives(layers, params, batch, probed)

    def draw(key):
        found = [jnp.zeros(layers.count, jnp.result_type(*leaves))] * layers.num_leaves
        for site in probed:
            direction, size = _direction(evaluation, site, jax.random.fold_in(key, site.number))
            second = along(site, direction)
            (leaf,) = site.value.leaves
            found[leaf] = found[leaf] + size * second
            for bias in (number for number, layer in shared.items() if layer == site.number):
                (leaf,) = layers.sites[bias].value.leaves
                found[leaf] = found[leaf] + second
        return found

    draws = jax.lax.map(draw, jax.random.split(key, num_probes))
    return jax.tree.unflatten(layers.structure, draws)


def _direction(evaluation: structure.Pass, site: structure.Site, key: Array) -> tuple[Array, Float[Array, " N"] | float]:
    """Random perturbation of a site whose second moment is that of the weights' part in it, and a factor left out of it."""
    like = jax.ShapeDtypeStruct((*site.lengths, *site.shape), evaluation.dtype_of(site))
    term = partial(evaluation.layers.layouts[site.number].term, evaluation.records.get(site.number))
    a_key, g_key = jax.random.split(key)
    at_zero = term(jnp.zeros(like.shape, like.dtype))
    if not isinstance(at_zero, structure.Product):
        blocks = jax.eval_shape(lambda g: term(g).blocks(), like)
        return _raw(lambda g: term(g).blocks(), like, rademacher(g_key, blocks.shape, like.dtype)), 1.0
    a = at_zero.a
    count, copies, summed, into = a.shape
    signs = rademacher(g_key, (count, copies, 1, at_zero.g.shape[3]), like.dtype)
    if summed == copies == 1:
        rows, size = jnp.ones((), a.dtype), jnp.square(a).sum(axis=(1, 2, 3))
    elif summed == 1:
        rows, size = jnp.linalg.norm(a, axis=3, keepdims=True), 1.0
    else:
        rows, size = (a * rademacher(a_key, (count, copies, 1, into), a.dtype)).sum(axis=3, keepdims=True), 1.0

    def cotangent(g):
        found = term(g)
        return found.g if isinstance(found, structure.Product) else found.blocks()

    return _raw(cotangent, like, jnp.broadcast_to(rows * signs, at_zero.g.shape)), size


def _raw(canonical, like: jax.ShapeDtypeStruct, direction: Array) -> Array:
    """A perturbation from its canonical form; positions that a leaf is repeated at get the same."""
    (raw,) = jax.linear_transpose(canonical, like)(direction.astype(like.dtype))
    return raw
