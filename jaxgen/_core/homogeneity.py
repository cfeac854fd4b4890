"""Homogeneous functions of parameters: their degree, and Euler's identity."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen._core.checks import checked, floating, require
from jaxgen._core.subtrees import Subtree, combine, differentiable

Function = Callable[[PyTree], Array]


def homogeneity_degree(f: Function, params: PyTree, *, scale: ArrayLike = 2.0, subtree: Subtree | None = None) -> Float[Array, ""]:
    """The k of f(c w) = c^k f(w), from one c: log(|f(c w)| / |f(w)|) / log c, with the largest entry for |.|.

    Only where f is homogeneous is this its degree; `euler_residual` tells.

    Args:
        f: function of the parameters to an array.
        params: parameters w, a pytree of floating leaves.
        scale: c > 0, not 1.
        subtree: the part of the parameters that is scaled, as in `curvature.hessian`; default: all.

    Returns:
        The degree.

    Raises:
        ValueError: if f(w) is zero, `scale` is not positive or is 1, parameters are not finite or `subtree` is not there
            (NaN results where a value is traced).
        TypeError: if a parameter is not of a floating dtype.

    Source: Arora et al., Theory of Deep Learning, definition 13.1.2; spec BIAS-30, NORM-2.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> float(implicit_bias.homogeneity_degree(lambda w: w[0] * w[1] * w[2], jnp.array([1.0, 2.0, 3.0])))
        3.0
    """
    scale = floating("scale", scale)
    require(scale.ndim == 0, f"scale must be a scalar; got shape {scale.shape}")
    scale = checked(scale, (scale > 0, f"scale must be positive; got {scale}"), (scale != 1, "scale must differ from 1"))
    values = at_scales(f, params, jnp.stack([jnp.ones_like(scale), scale]), subtree)
    sizes = jnp.abs(values).reshape(2, -1).max(axis=1)
    sizes = checked(sizes, (sizes[0] > 0, "f(params) must not be zero"))
    return jnp.log(sizes[1] / sizes[0]) / jnp.log(scale)


def euler_residual(f: Function, params: PyTree, degree: ArrayLike, *, subtree: Subtree | None = None) -> Float[Array, "..."]:
    """<w, grad f(w)> - k f(w), which is zero where f is homogeneous of degree k and differentiable (Euler).

    Args:
        f: function of the parameters to an array.
        params: parameters w, a pytree of floating leaves.
        degree: k.
        subtree: the part of the parameters in which f is homogeneous; default: all.

    Returns:
        The residual, of the shape of f(w).

    Raises:
        ValueError: if parameters are not finite or `subtree` is not there.
        TypeError: if a parameter is not of a floating dtype.

    Source: spec BIAS-30, NORM-2. Cost: one forward derivative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> float(implicit_bias.euler_residual(lambda w: w[0] * w[1], jnp.array([2.0, 3.0]), 2))
        0.0
    """
    selected, rest = differentiable(params, subtree)
    value, along = jax.jvp(lambda part: f(combine(part, rest)), (selected,), (selected,))
    return along - floating("degree", degree).astype(value.dtype) * value


def at_scales(f: Function, params: PyTree, scales: Float[Array, " s"], subtree: Subtree | None) -> Float[Array, "s *rest"]:
    """f(c w) for every scale c, applied to the chosen part of the parameters."""
    selected, rest = differentiable(params, subtree)

    def at(scale: Array) -> Array:
        return floating("f(params)", f(combine(jax.tree.map(lambda leaf: leaf * scale.astype(leaf.dtype), selected), rest)))

    return jax.vmap(at)(scales)
