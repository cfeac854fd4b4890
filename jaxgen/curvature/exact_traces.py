"""Traces of the Hessian without probes of the parameters: from a net's layers and the Hessian of the loss in its outputs."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import structure
from jaxgen._core.checks import floating, leading_axis, positive_integer, require
from jaxgen._core.rademacher import rademacher
from jaxgen._core.results import Estimate

ApplyFn = Callable[[PyTree, PyTree], Array]
Loss = Callable[[Array, PyTree], Array]
COLUMNS, PIECES, CHUNK = 16, 128, 1024
"""Columns of the Hessian of the loss taken at a time, examples with each, and examples of a chain of dense layers: what a
processor's cache holds of them in a layer."""


def exact_trace(
    apply_fn: ApplyFn,
    loss: Loss,
    params: PyTree,
    x: PyTree,
    y: PyTree,
    *,
    key: Key[Array, ""] | None = None,
    num_probes: int = 2,
    per_leaf: bool = False,
    chunk_size: int | None = None,
) -> PyTree[Estimate]:
    """Trace of the Hessian of the empirical risk, tr grad^2 (1/N) sum_i loss(f(w, x_i), y_i), with no probes where none are needed.

    With V a dense layer's weights, z = a V, and J_z the Jacobian of the outputs in z,

        tr H_V = (1/N) sum_n |a_n|^2 [ sum_c s_c |J_z^T v_c|^2 + sum_m sum_j phi''(z_mj) g_mj |dz_mj / dz|^2 ],

    v_c and signs s_c a factor of the Hessian of the loss in the outputs, m the layers from this one on, g the gradient in
    phi(z_m). Where the outputs are affine in every leaf by itself, piece by piece (ReLU, max pooling, residual connections),
    which the traced program proves, the second sum is zero: the trace is that of the Gauss-Newton matrix, C structured
    backward passes, for any kind of layer. In a chain of dense layers with smooth functions between, the terms of the layer
    itself and of the next are products of matrices; layers further on are probed with random signs, in their own space.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)` or `(N,)`.
        loss: `loss(outputs, targets) -> (N,)`, twice differentiable in the outputs.
        params: parameters, a pytree of floating leaves.
        x: inputs, a pytree whose leaves have leading axis N.
        y: targets, likewise.
        key: key of the probes; needed where three or more smooth layers follow each other, and only there.
        num_probes: draws of the probes, at least 2.
        per_leaf: also separates the trace by leaf: a pytree of estimates like `params`.
        chunk_size: examples taken at a time; by default what a processor's cache holds of common nets.

    Returns:
        The trace; standard error 0 where it is exact (to rounding), otherwise from the probes.

    Raises:
        ValueError: if `apply_fn` couples examples, the net is neither piecewise affine in each leaf nor a chain of dense
            layers, `key` is missing where probes are needed, `loss` does not return shape (N,), or leading axes differ.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-28; for smooth chains the formula above. Cost, ReLU net with C classes: one forward and up to C backward
    passes without gradients of weights. For any loss and net: `trace`, `trace_by_activations`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> apply_fn, loss = lambda w, x: x @ w, lambda out, y: 0.5 * (out - y) ** 2
        >>> float(curvature.exact_trace(apply_fn, loss, jnp.zeros(2), jnp.array([[1.0, 2.0], [0.0, 2.0]]), jnp.zeros(2)).value)
        4.5
    """
    found = _exact_trace(
        apply_fn,
        loss,
        params,
        x,
        y,
        key,
        positive_integer("num_probes", num_probes, at_least=2),
        None if chunk_size is None else positive_integer("chunk_size", chunk_size),
    )
    return found[0] if per_leaf else found[1]


@partial(jax.jit, static_argnums=(0, 1, 6, 7))
def _exact_trace(apply_fn, loss, params, x, y, key, num_probes, chunk_size):
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    x, y = jax.tree.map(jnp.asarray, (x, y))
    count = leading_axis("x and y", (x, y))
    require(count > 0, "x must hold at least one example; got 0")
    layers = structure.understood(apply_fn, params, x, "apply_fn", "curvature.trace needs none")
    degrees = structure.degrees(layers.analysis.graph, layers.num_leaves)
    bent = [leaf.path for i, leaf in enumerate(layers.leaves) if degrees[i] > 1]
    chained = structure.chain(layers) if bent else None
    if bent and chained is None:
        raise ValueError(
            f"outputs are not piecewise affine in {', '.join(bent)} alone, and the net is no chain of dense layers: "
            "its trace has no exact form here; use curvature.trace_by_activations or curvature.trace"
        )
    far = chained is not None and len(chained) > 3
    require(not far or key is not None, "a chain of more than three dense layers with smooth functions between needs key, for probes")

    def part(examples):
        x, y, key = examples
        own = structure.Layers(apply_fn, params, x)
        links = structure.chain(own) if bent else None
        if links is None:
            return _piecewise_affine(own, loss, params, x, y)
        return _smooth_chain(own, links, loss, params, x, y, key if far else None, num_probes)

    if chunk_size is None:
        chunk_size = CHUNK if bent else PIECES
    values, variances, variance = _over_chunks(part, (x, y), key, count if layers.analysis.positional else chunk_size)
    found = [Estimate(value / count, jnp.sqrt(of_leaf) / count) for value, of_leaf in zip(values, variances, strict=True)]
    total = Estimate(jnp.sum(jnp.stack(values)) / count, jnp.sqrt(variance) / count)
    return jax.tree.unflatten(layers.structure, found), total


def _over_chunks(part, examples, key, chunk_size):
    """Sums over chunks of examples of `part((x, y, key))`."""
    count = leading_axis("x", examples)
    key = jax.random.key(0) if key is None else key
    if chunk_size >= count:
        return part((*examples, key))
    whole = count // chunk_size
    chunks = jax.tree.map(lambda leaf: leaf[: whole * chunk_size].reshape(whole, chunk_size, *leaf.shape[1:]), examples)
    found = jax.tree.map(lambda leaf: leaf.sum(axis=0), jax.lax.map(part, (*chunks, jax.random.split(key, whole))))
    if whole * chunk_size == count:
        return found
    rest = part((*jax.tree.map(lambda leaf: leaf[whole * chunk_size :], examples), jax.random.fold_in(key, count)))
    return jax.tree.map(jnp.add, found, rest)


def _piecewise_affine(layers, loss, params, x, y):
    """Sum over examples of sum_c s_c |J_leaf^T v_c|^2 for every leaf; variances of these and of their sum, which are 0."""
    evaluation = layers.forward(params, x)
    columns, signs = output_factor(loss, evaluation.outputs[0], y)
    leaves = list(range(layers.num_leaves))

    def one(column, sign):
        sums = [jnp.zeros((), column.dtype)] * len(leaves)
        for (leaf, _), term in evaluation.terms(evaluation.pull([column]), leaves).items():
            sums[leaf] = sums[leaf] + (sign * term.squared_norms()).sum()
        return sums

    sums = _over_columns(one, columns, signs)
    return sums, [jnp.zeros_like(value) for value in sums], jnp.zeros_like(columns, shape=())


def _smooth_chain(layers, links, loss, params, x, y, key, num_probes):
    """Sum over examples of every leaf's trace in a chain of dense layers; variances of these and of their sum, from probes."""
    inputs = [*jax.tree.leaves(params), *jax.tree.leaves(x)]
    found = structure.layers_of_chain(layers, links, inputs)
    outputs = layers.forward(params, x).outputs[0]
    columns, signs = output_factor(loss, outputs, y)
    gradient = jax.grad(lambda outputs: loss(outputs, y).sum())(outputs)
    traces, pulled = _pulled_back(found, columns, signs, gradient)
    seconds = [layer.bend * cotangent for layer, cotangent in zip(found[:-1], pulled, strict=True)]
    for i, second in enumerate(seconds):
        traces[i] = traces[i] + second.sum(axis=1)
        if i + 1 < len(seconds):
            spread = jnp.square(found[i].slope) @ jnp.square(found[i + 1].weights)
            traces[i] = traces[i] + (spread * seconds[i + 1]).sum(axis=1)
    zero = jnp.zeros_like(traces[0], shape=())
    probes = [jnp.zeros((num_probes, layers.count), trace.dtype) for trace in traces]
    if key is not None:
        probes = jax.vmap(partial(_far_layers, found, seconds))(jax.random.split(key, num_probes))
    values, variances, draws = [zero] * layers.num_leaves, [zero] * layers.num_leaves, jnp.zeros_like(probes[0])
    for layer, trace, probe in zip(found, traces, probes, strict=True):
        weights = {layer.link.leaf: jnp.square(layer.a).sum(axis=1)} | {bias: jnp.ones_like(trace) for bias in layer.link.biases}
        for leaf, weight in weights.items():
            values[leaf] = (weight * (trace + probe.mean(axis=0))).sum()
            variances[leaf] = (weight**2 * probe.var(axis=0, ddof=1)).sum() / num_probes
            draws = draws + weight * probe
    return values, variances, draws.var(axis=0, ddof=1).sum() / num_probes


def _pulled_back(found, columns, signs, gradient):
    """Sum over columns of s_c |J_z^T v_c|^2 for every example and layer, and the gradient in what every layer but the last puts out.

    The gradient goes back with the columns, as one more; a last column of zeros costs nothing.
    """

    def of_example(columns, signs, slopes):
        def squares(before, slope):
            return (jnp.square(slope) * (signs[:, None] * jnp.square(before)).sum(axis=0)).sum()

        before = columns.reshape(len(columns), -1)
        sums, passed = [squares(before, slopes[-1])], []
        for layer, slope, after in zip(found[:0:-1], slopes[-2::-1], slopes[:0:-1], strict=True):
            before = (before * after) @ layer.weights.T
            passed.append(before[-1])
            sums.append(squares(before, slope))
        return sums[::-1], passed[::-1]

    slopes = [layer.slope for layer in found]

    def of_columns(columns, signs):
        by_example = columns.swapaxes(0, 1), signs.T, slopes
        return jax.lax.map(lambda example: of_example(*example), by_example, batch_size=PIECES)

    def squares_of_last():
        return of_columns(columns[-1:], signs[-1:])[0]

    def nothing():
        return [jnp.zeros_like(slope[:, 0]) for slope in slopes]

    with_gradient = jnp.concatenate([columns[:-1], gradient[None]]), jnp.concatenate([signs[:-1], jnp.zeros_like(signs[:1])])
    squares, pulled = of_columns(*with_gradient)
    last = jax.lax.cond(jnp.any(signs[-1] != 0), squares_of_last, nothing)
    return jax.tree.map(jnp.add, squares, last), pulled


def _far_layers(found, seconds, key):
    """One draw, for every layer, of what the curvature of layers after the next one adds."""
    size, weighted = 0.0, 0.0
    draws = [jnp.zeros(len(found[0].a))] * len(found)
    for i in range(len(seconds) - 1, 0, -1):
        if i + 1 < len(seconds):
            through = [found[i].slope * (cotangent @ found[i + 1].weights.T) for cotangent in (size, weighted)]
            before = [found[i - 1].slope * (cotangent @ found[i].weights.T) for cotangent in through]
            draws[i - 1] = (before[0] * before[1]).sum(axis=1)
        else:
            through = [0.0, 0.0]
        signs = rademacher(jax.random.fold_in(key, i), seconds[i].shape, seconds[i].dtype)
        root = jnp.sqrt(jnp.abs(seconds[i])) * signs
        size, weighted = through[0] + root, through[1] + jnp.sign(seconds[i]) * root
    return draws


def _over_columns(fn, columns, signs):
    """Sum of `fn(column, sign)`, several at a time; the last, which is zero for every example of softmax, costs nothing then."""

    def all_but_last():
        found = jax.lax.map(lambda pair: fn(*pair), (columns[:-1], signs[:-1]), batch_size=COLUMNS)
        return jax.tree.map(lambda leaf: leaf.sum(axis=0), found)

    def zeros(*_):
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(fn, columns[-1], signs[-1]))

    last = jax.lax.cond(jnp.any(signs[-1] != 0), fn, zeros, columns[-1], signs[-1])
    return last if len(columns) == 1 else jax.tree.map(jnp.add, all_but_last(), last)


def output_factor(loss: Loss, outputs: Array, y: PyTree) -> tuple[Float[Array, "C N ..."], Float[Array, "C N"]]:
    """Columns v_c and signs s_c with sum_c s_c v_c v_c^T the Hessian of every example's loss in its outputs.

    By elimination without exchanges, stable for the semidefinite Hessians of convex losses; where the columns grow or one
    that is left out is not small, by eigenvectors.
    """
    flat = outputs.reshape(len(outputs), -1)
    size = flat.shape[1]

    def one(output, target):
        losses = loss(output.reshape(1, *outputs.shape[1:]), jax.tree.map(lambda leaf: leaf[None], target))
        require(jnp.shape(losses) == (1,), f"loss must return one value per example, shape (1,) for one; got shape {jnp.shape(losses)}")
        return losses[0]

    hessians = jax.vmap(jax.hessian(one), out_axes=-1)(flat, y)
    rounding = size**2 * jnp.finfo(flat.dtype).eps

    def eliminate(c, found):
        columns, signs, dropped = found
        column = hessians[c] - jnp.sum(columns * (signs * columns[:, c])[:, None], axis=0)
        none = jnp.abs(column[c]) <= rounding * jnp.abs(hessians[c, c])
        dropped = jnp.maximum(dropped, jnp.where(none, jnp.abs(column).max(axis=0), 0))
        column = column * jnp.where(none, 0, jax.lax.rsqrt(jnp.where(none, 1, jnp.abs(column[c]))))
        return columns.at[c].set(column), signs.at[c].set(jnp.where(none, 0, jnp.sign(column[c]))), dropped

    start = jnp.zeros_like(hessians), jnp.zeros_like(hessians[0]), jnp.zeros_like(hessians[0, 0])
    columns, signs, dropped = jax.lax.fori_loop(0, size, eliminate, start)
    largest = jnp.max(jnp.abs(hessians), axis=(0, 1))
    grown = jnp.square(columns).sum(axis=0).max(axis=0)
    stable = jnp.all((dropped <= size * rounding * largest) & (grown <= size * largest))

    def by_eigenvectors():
        values, vectors = jnp.linalg.eigh(jnp.moveaxis(hessians, -1, 0))
        return (vectors * jnp.sqrt(jnp.abs(values))[:, None, :]).transpose(2, 0, 1), jnp.sign(values).T

    found, signs = jax.lax.cond(stable, lambda: (columns.swapaxes(1, 2), signs), by_eigenvectors)
    return found.reshape(size, *outputs.shape), signs
