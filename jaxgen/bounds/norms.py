"""Norms of nets that bounds are made of: spectral norms layer by layer, path norm, Fisher-Rao norm."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import curvature, structure
from jaxgen._core.checks import choice, floating, leading_axis, require

ApplyFn = Callable[[PyTree, PyTree], Array]
LossFn = Callable[[PyTree, PyTree], Array]


def spectral_norms(
    apply_fn: ApplyFn, params: PyTree, x: PyTree, key: Key[Array, ""] | None = None, *, conv_norm: str = "operator", num_matvecs: int = 40
) -> dict[str, Float[Array, ""]]:
    """Largest singular value of every linear layer of a net, found in its traced program.

    A dense layer's is that of its matrix. A convolution's is that of the map it is, at the size, stride and padding it has in the
    net (`"operator"`), or that of its kernel as a matrix with a row for each output channel (`"reshape"`), which is no bound on
    the former.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, ...)`.
        params: parameters, a pytree of floating leaves.
        x: any inputs with leading axis N; only their shapes matter.
        key: key of the start vectors of convolutions' norms; needed for them.
        conv_norm: `"operator"` or `"reshape"`.
        num_matvecs: Lanczos steps for a convolution.

    Returns:
        The norm of every weight that one layer multiplies with, by its path in `params`, in the order of the layers.

    Raises:
        ValueError: if examples are coupled, a convolution needs `key` and there is none, or `conv_norm` is unknown.
        TypeError: if a leaf of `params` is not real.

    Source: Bartlett, Foster and Telgarsky 2017; spec GEN-38. For the norm of convolutions: Sedghi, Gupta and Long 2019.
    """
    choice("conv_norm", conv_norm, ("operator", "reshape"))
    params, layers = _layers(apply_fn, params, x)
    single = {group[0][0]: leaf.path for leaf in layers.leaves for group in leaf.groups if len(leaf.groups) == len(group) == 1}
    values, found = layers.cuts(jax.tree.leaves(params)), {}
    for site in layers.sites:
        if site.number not in single or site.kind not in ("dot", "conv") or site.lengths:
            continue
        weights = values[site.number]
        if site.kind == "conv" and conv_norm == "operator":
            require(key is not None, "key is needed for the norms of convolutions")
            own = jax.random.fold_in(key, site.number)  # type: ignore[arg-type]
            found[single[site.number]] = _convolution_norm(layers, site, weights, own, num_matvecs)
            continue
        if site.kind == "conv":
            out, rest = site.node.params["dimension_numbers"].rhs_spec[0], site.node.params["dimension_numbers"].rhs_spec[1:]
            matrices = weights.transpose(out, *rest).reshape(1, weights.shape[out], -1)
        else:
            matrices = layers.layouts[site.number].canonical(weights)
        found[single[site.number]] = jnp.linalg.norm(matrices, 2, axis=(1, 2)).max()
    return found


def _convolution_norm(layers: structure.Layers, site: structure.Site, weights: Array, key: Array, num_matvecs: int) -> Array:
    shape = list(layers.analysis.graph.shape(site.node.inputs[0]))
    batch = site.node.params["dimension_numbers"].lhs_spec[0]
    shape[batch] = 1
    like = jax.ShapeDtypeStruct(tuple(shape), weights.dtype)
    one = site.node.params | {"batch_group_count": 1}
    names = ("window_strides", "padding", "lhs_dilation", "rhs_dilation", "feature_group_count", "dimension_numbers")
    convolve = partial(_convolve, weights, {name: one[name] for name in names})
    transpose = jax.linear_transpose(convolve, like)
    gram = lx.FunctionLinearOperator(lambda v: transpose(convolve(v))[0], like, lx.positive_semidefinite_tag)
    return jnp.sqrt(curvature.eigenvalues(gram, key, k=1, num_matvecs=min(num_matvecs, prod(shape))).values[0])


def _convolve(weights: Array, params: dict[str, Any], x: Array) -> Array:
    return jax.lax.conv_general_dilated(x, weights, **params)


def path_norm(apply_fn: ApplyFn, params: PyTree, x: PyTree, *, p: float = 2.0) -> Float[Array, ""]:
    """Path norm (sum over paths of prod |w|^p)^(1/p), by one forward pass with weights |w|^p on an input of ones.

    For nets that are positively homogeneous between their layers (linear, ReLU, max pooling): those give nonnegative values back
    as they are. Biases count as weights from a unit that is one. The norm is that of all outputs together.

    Args:
        apply_fn: `apply_fn(params, x)`, a net with piecewise linear activations and no normalization.
        params: parameters, a pytree of floating leaves.
        x: inputs like the net's, with leading axis N; only the shapes of one of them matter.
        p: exponent, at least 1.

    Returns:
        The norm; it does not change when a hidden unit's weights are scaled up and those from it down.

    Raises:
        ValueError: if p < 1, or the outputs are not piecewise affine in every leaf by itself, which batch normalization and
            smooth activations are not.
        TypeError: if a leaf of `params` is not real.

    Source: Neyshabur, Tomioka and Srebro 2015; spec GEN-39. Cost: one forward pass.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> net = lambda w, x: jnp.maximum(x @ w["a"], 0) @ w["b"]
        >>> float(bounds.path_norm(net, {"a": -jnp.ones((3, 4)), "b": jnp.ones((4, 2))}, jnp.zeros((1, 3)), p=1))
        24.0
    """
    require(p >= 1, f"p must be at least 1; got {p}")
    one = jax.tree.map(lambda leaf: jnp.ones_like(jnp.asarray(leaf)[:1]), x)
    params, layers = _layers(apply_fn, params, one)
    degrees = structure.degrees(layers.analysis.graph, layers.num_leaves)
    bent = [leaf.path for number, leaf in enumerate(layers.leaves) if degrees[number] > 1]
    require(not bent, f"the path norm is one of piecewise linear nets without normalization; outputs are not affine in {', '.join(bent)} alone")
    powers = jax.tree.map(lambda leaf: jnp.abs(leaf) ** p, params)
    return jnp.sum(apply_fn(powers, one)) ** (1 / p)


def fisher_rao_norm(loss_fn: LossFn, params: PyTree, batch: PyTree) -> Float[Array, ""]:
    """Fisher-Rao norm (w^T F w)^(1/2) = (E <grad l(w, z), w>^2)^(1/2) with the empirical Fisher matrix F.

    For ReLU nets of D layers without biases, D (E <dl/df, f>^2)^(1/2).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        params: parameters w, a pytree of floating leaves.
        batch: examples, a pytree whose leaves have leading axis N.

    Returns:
        The norm, not changed by rescaling of hidden units.

    Raises:
        ValueError: if the leaves of `batch` differ in leading axis or `loss_fn` does not return one value per example.
        TypeError: if a leaf of `params` is not real.

    Source: Liang, Poggio, Rakhlin and Stokes 2019; spec GEN-40. Cost: one forward pass and its derivative.
    """
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    count = leading_axis("batch", batch)
    losses, slopes = jax.jvp(lambda w: loss_fn(w, batch), (params,), (params,))
    require(jnp.shape(losses) == (count,), f"loss_fn must return one loss per example, shape ({count},); got shape {jnp.shape(losses)}")
    return jnp.sqrt(jnp.mean(jnp.square(slopes)))


def _layers(apply_fn: ApplyFn, params: PyTree, x: PyTree) -> tuple[PyTree, structure.Layers]:
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    return params, structure.understood(apply_fn, params, x, "apply_fn")
