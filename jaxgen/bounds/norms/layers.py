"""Norms of the linear layers of a net, which are found in its traced program."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import curvature, structure
from jaxgen._core.checks import checked, choice, require
from jaxgen.bounds._inputs import square_root
from jaxgen.bounds.norms._traced import ApplyFn, layers_of

HIGHEST = jax.lax.Precision.HIGHEST


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
    params, layers = layers_of(apply_fn, params, x)
    single = {group[0][0]: leaf.path for leaf in layers.leaves for group in leaf.groups if len(leaf.groups) == len(group) == 1}
    values, found = layers.cuts(jax.tree.leaves(params)), {}
    for site in layers.sites:
        if site.number not in single or site.kind not in ("dot", "conv") or site.lengths:
            continue
        operator = site.kind == "conv" and conv_norm == "operator"
        require(key is not None or not operator, "key is needed for the norms of convolutions")
        found[single[site.number]] = _largest(layers, site, values[site.number], key, conv_norm, num_matvecs)
    return found


def layer_norms(
    apply_fn: ApplyFn,
    params: PyTree,
    x: PyTree,
    init_params: PyTree | None = None,
    key: Key[Array, ""] | None = None,
    *,
    conv_norm: str = "operator",
    num_matvecs: int = 40,
) -> dict[str, Float[Array, " d"]]:
    r"""Norms of the d linear layers of a net in the order in which they act, and of their distances from where they began.

    A layer is a product of values that examples influence with a matrix $A$ (outputs by inputs) that is made of parameters, as it
    stands in the product: tied weights count every time, factors that scale inputs or outputs do not count. Norms of a
    convolution are those of the map that it is, whose matrix has a row for each output of each position (`"operator"`), or of
    its kernel with a row for each output channel (`"reshape"`). Biases have no part in any of them.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, ...)`.
        params: parameters, a pytree of floating leaves.
        x: any inputs with leading axis N; only their shapes matter.
        init_params: parameters before training, like `params`; needed for the distances.
        key: key of the start vectors of convolutions' norms; default: a fixed one.
        conv_norm: `"operator"` or `"reshape"`. What is written as a product with patches, as `models.cnn` does on a CPU unless
            `convolution="native"`, is a dense layer of the patches.
        num_matvecs: Lanczos steps for the largest singular value of a convolution, which they approach from below.

    Returns:
        Vectors of length d: `"spectral"` $\lVert A \rVert_2$, `"frobenius"` $\lVert A \rVert_F$, `"two_one"`
        $\lVert A^\top \rVert_{2,1}$, the sum of the lengths of the rows of A, `"stable_rank"`
        $\lVert A \rVert_F^2 / \lVert A \rVert_2^2$, and with `init_params` `"distance_spectral"`, `"distance_frobenius"`,
        `"distance_two_one"`, the norms of the differences.

    Raises:
        ValueError: if examples are coupled, there is no linear layer or one in a loop, a layer is zero (NaN results when traced),
            the trees of `params` and `init_params` differ, or `conv_norm` is unknown.
        TypeError: if a leaf is not real.

    Source: Bartlett, Foster and Telgarsky 2017; Jiang et al. 2020; spec GEN-38. For convolutions: Sedghi, Gupta and Long 2019.
    Cost: eigenvalues of a matrix of the smaller side of each layer; 2 `num_matvecs` products for a convolution.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> net = lambda w, x: jnp.maximum(x @ w["a"], 0) @ w["b"]
        >>> norms = bounds.layer_norms(net, {"a": jnp.diag(jnp.array([3.0, 4.0])), "b": jnp.eye(2)}, jnp.zeros((1, 2)))
        >>> {name: [round(float(value), 4) for value in values] for name, values in norms.items()}
        {'spectral': [4.0, 1.0], 'frobenius': [5.0, 1.4142], 'two_one': [7.0, 2.0], 'stable_rank': [1.5625, 2.0]}
    """
    choice("conv_norm", conv_norm, ("operator", "reshape"))
    require(init_params is None or _shapes(init_params) == _shapes(params), "init_params must have the tree and shapes of params; they differ")
    params, layers = layers_of(apply_fn, params, x)
    key = jax.random.key(0) if key is None else key
    sites = [site for site in layers.sites if site.kind in ("dot", "conv", "embedding")]
    require(bool(sites), "apply_fn has no linear layer with parameters")
    strange = [layers.leaves[min(site.value.leaves)].path for site in sites if site.lengths or site.kind == "embedding"]
    require(not strange, f"layer norms are those of dense layers and convolutions outside of loops; {', '.join(strange)} is in none of them")

    def norms(values: dict[int, Array]) -> tuple[Array, Array, Array]:
        rows = [_row_squares(layers, site, values[site.number], conv_norm) for site in sites]
        spectral = [_largest(layers, site, values[site.number], key, conv_norm, num_matvecs) for site in sites]
        return jnp.stack(spectral), jnp.stack([square_root(row.sum()) for row in rows]), jnp.stack([square_root(row).sum() for row in rows])

    values = layers.cuts(jax.tree.leaves(params), sites)
    spectral, frobenius, two_one = norms(values)
    spectral = checked(spectral, (spectral > 0, "every layer must differ from zero"))
    found = {"spectral": spectral, "frobenius": frobenius, "two_one": two_one, "stable_rank": (frobenius / spectral) ** 2}
    if init_params is not None:
        start = layers.cuts([jnp.asarray(leaf) for leaf in jax.tree.leaves(init_params)], sites)
        moved = norms({number: values[number] - start[number] for number in values})
        found |= dict(zip(("distance_spectral", "distance_frobenius", "distance_two_one"), moved, strict=True))
    return found


def _shapes(params: PyTree) -> PyTree:
    return jax.tree.map(jnp.shape, params)


def _matrices(layers: structure.Layers, site: structure.Site, weights: Array) -> Float[Array, "s o i"]:
    """The matrices of a dense layer, or the kernel of a convolution as one with a row for each output channel."""
    if site.kind == "dot":
        return layers.layouts[site.number].canonical(weights).mT
    out, rest = site.node.params["dimension_numbers"].rhs_spec[0], site.node.params["dimension_numbers"].rhs_spec[1:]
    return weights.transpose(out, *rest).reshape(1, weights.shape[out], -1)


def _row_squares(layers: structure.Layers, site: structure.Site, weights: Array, conv_norm: str) -> Array:
    """Squared lengths of the rows of a layer's matrix; a row of a convolution meets an entry of its kernel at most once."""
    if site.kind == "conv" and conv_norm == "operator":
        convolve, like = _convolution(layers, site, jnp.square(weights))
        return convolve(jnp.ones(like.shape, like.dtype)).ravel()
    return jnp.square(_matrices(layers, site, weights)).sum(axis=2).ravel()


def _largest(layers: structure.Layers, site: structure.Site, weights: Array, key: Key[Array, ""] | None, conv_norm: str, num_matvecs: int) -> Array:
    """The largest singular value of a layer."""
    if site.kind == "conv" and conv_norm == "operator":
        convolve, like = _convolution(layers, site, weights)
        transpose = jax.linear_transpose(convolve, like)
        gram = lx.FunctionLinearOperator(lambda v: transpose(convolve(v))[0], like, lx.positive_semidefinite_tag)
        own = jax.random.fold_in(key, site.number)  # type: ignore[arg-type]
        return square_root(jnp.maximum(curvature.eigenvalues(gram, own, k=1, num_matvecs=min(num_matvecs, prod(like.shape))).values[0], 0))
    matrices = _matrices(layers, site, weights)
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    largest = jnp.linalg.eigvalsh(jnp.matmul(wide, wide.mT, precision=HIGHEST))[:, -1]
    return square_root(jnp.maximum(largest, 0).max())


def _convolution(layers: structure.Layers, site: structure.Site, weights: Array) -> tuple[Callable[[Array], Array], jax.ShapeDtypeStruct]:
    """The map that a convolution is on one example, and what it maps."""
    shape = list(layers.analysis.graph.shape(site.node.inputs[0]))
    shape[site.node.params["dimension_numbers"].lhs_spec[0]] = 1
    names = ("window_strides", "padding", "lhs_dilation", "rhs_dilation", "feature_group_count", "dimension_numbers")
    options = {name: site.node.params[name] for name in names}
    return partial(_convolve, weights, options), jax.ShapeDtypeStruct(tuple(shape), weights.dtype)


def _convolve(weights: Array, params: dict[str, Any], x: Array) -> Array:
    return jax.lax.conv_general_dilated(x, weights, **params, precision=HIGHEST)
