"""How far a function is from being invariant to a common factor on its parameters."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen import gradients
from jaxgen._core.checks import checked, floating, is_traced, require
from jaxgen._core.homogeneity import Function, at_scales
from jaxgen._core.subtrees import Subtree

LossFn = Callable[[PyTree, PyTree], Array]

TOLERANCE = 1e-4
"""Defect up to which a loss passes for scale invariant."""

ROUNDING = 100
"""Multiples of the machine's epsilon that a loss may change by, whatever its size."""


def scale_invariance_defect(f: Function, params: PyTree, scales: Float[ArrayLike, "*s"], *, subtree: Subtree | None = None) -> Float[Array, ""]:
    """How far f is from f(c w) = f(w): max over c of |f(c w) - f(w)| / max(|f(c w)|, |f(w)|), with the largest entry for |.|.

    Zero up to rounding for a scale-invariant function, at most 2 for any. A function that is zero at both is not told from
    an invariant one.

    Args:
        f: function of the parameters to an array, such as outputs of a net on given inputs, or a loss.
        params: parameters w, a pytree of floating leaves.
        scales: values of c > 0, a scalar or a vector.
        subtree: the part of the parameters that is scaled, as in `curvature.hessian`; the others stay. Default: all.

    Returns:
        The relative defect.

    Raises:
        ValueError: if a scale is not positive, there is none, parameters are not finite, or `subtree` is not there (NaN
            results where a value is traced).
        TypeError: if a parameter is not of a floating dtype.

    Source: Theory of Deep Learning, definition 13.2.1; spec NORM-4. Cost: one evaluation for each scale, mapped, and one
    more.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> rayleigh = lambda w: w[1] ** 2 / jnp.sum(w**2)
        >>> float(normalization.scale_invariance_defect(rayleigh, jnp.array([3.0, 4.0]), jnp.array([0.5, 8.0])))
        0.0
        >>> float(normalization.scale_invariance_defect(lambda w: jnp.sum(w**2), jnp.ones(2), 2.0))
        0.75
    """
    scales = jnp.atleast_1d(floating("scales", scales))
    require(scales.ndim == 1 and scales.size > 0, f"scales must be a scalar or a vector of at least one scale; got shape {scales.shape}")
    scales = checked(scales, (scales > 0, f"scales must be positive; got {scales}"))
    return _relative(*_gaps(at_scales(f, params, jnp.concatenate([jnp.ones_like(scales[:1]), scales]), subtree)))


def refuse_scale_dependence(value: Array, loss_fn: LossFn, params: PyTree, batch: PyTree, scales: Float[Array, "k s"], tolerance: float) -> Array:
    """`value`, where the risk does not change with the scale of parameters; else a `ValueError` that names the defect, or NaN.

    Args:
        value: what is computed for a scale-invariant loss.
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        params: k points, stacked along the leading axis of every leaf.
        batch: examples.
        scales: factors that each point is tried at, besides 1.
        tolerance: largest defect, relative to the largest loss of all points.
    """
    run = _risk_gaps if is_traced(params, batch, scales) else _compiled_risk_gaps
    gap, size = run(loss_fn, params, batch, scales)
    found = "" if is_traced(gap) else f"; its defect is {float(_relative(gap, size)):.3g}, tolerance {tolerance:g}"
    invariant = gap <= tolerance * size + ROUNDING * jnp.finfo(gap.dtype).eps
    return checked(value, (invariant, f"loss_fn must be scale invariant in params, L(c w) = L(w){found}"))


def _risk_gaps(loss_fn: LossFn, params: PyTree, batch: PyTree, scales: Float[Array, "k s"]) -> tuple[Array, Array]:
    """The largest change of the risk over points and scales, and its largest size."""
    factors = jnp.concatenate([jnp.ones_like(scales[:, :1]), scales], axis=1)
    risks = jax.vmap(lambda point, factors: at_scales(lambda w: gradients.risk(loss_fn, w, batch), point, factors, None))(params, factors)
    gaps, sizes = jax.vmap(_gaps)(risks)
    return gaps.max(), sizes.max()


_compiled_risk_gaps = eqx.filter_jit(_risk_gaps)


def _gaps(values: Float[Array, "s *rest"]) -> tuple[Array, Array]:
    """|f(c w) - f(w)| and max(|f(c w)|, |f(w)|) for each c but the first, which is 1."""
    values = values.reshape(values.shape[0], -1)
    sizes = jnp.abs(values).max(axis=1)
    return jnp.abs(values[1:] - values[0]).max(axis=1), jnp.maximum(sizes[1:], sizes[0])


def _relative(gaps: Array, sizes: Array) -> Float[Array, ""]:
    return jnp.max(jnp.where(sizes == 0, 0, gaps / jnp.where(sizes == 0, 1, sizes)))
