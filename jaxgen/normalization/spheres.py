"""Scale-invariant losses on the unit sphere: directions, radial derivative, gradient norm."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen import gradients
from jaxgen._core.checks import checked, floating, require
from jaxgen.normalization.homogeneity import TOLERANCE, refuse_scale_dependence

LossFn = Callable[[PyTree, PyTree], Array]


def length_of(params: PyTree) -> Float[Array, ""]:
    """|w| over all leaves; squares neither overflow nor vanish. Zero is refused, or NaN when traced.

    Args:
        params: w, a pytree of floating leaves.

    Returns:
        The Euclidean norm.

    Raises:
        ValueError: if w is zero or has no leaf.
    """
    leaves = [floating("params", leaf) for leaf in jax.tree.leaves(params)]
    require(bool(leaves), "params must have at least one leaf")
    largest = jax.lax.stop_gradient(jnp.stack([jnp.abs(leaf).max() for leaf in leaves]).max())
    largest = checked(
        largest,
        (jnp.isfinite(largest), "params must be finite"),
        (largest > 0, "params must not be zero: a scale-invariant function has no value there"),
    )
    return largest * optax.tree.norm([leaf / largest.astype(leaf.dtype) for leaf in leaves])


def with_norm(params: PyTree, norm: ArrayLike) -> PyTree:
    """r w / |w|, the parameters of the same direction with norm r.

    Args:
        params: w, not zero; integers become the default float.
        norm: r > 0, a scalar.

    Returns:
        The scaled parameters.

    Raises:
        ValueError: if w is zero or r is not a positive scalar (NaN results when traced).

    Source: Theory of Deep Learning, section 13.4, where w bar is this with r = 1; spec NORM-7.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> normalization.with_norm({"a": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)}, 10.0)["a"].tolist()
        [6.0, 0.0]
    """
    radius = floating("norm", norm)
    require(radius.ndim == 0, f"norm must be a scalar; got shape {radius.shape}")
    radius = checked(radius, (radius > 0, f"norm must be positive; got {norm}"))
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    length = length_of(params)
    return jax.tree.map(lambda leaf: (leaf / length.astype(leaf.dtype) * radius).astype(leaf.dtype), params)


def radial_gradient(loss_fn: LossFn, params: PyTree, batch: PyTree) -> Float[Array, ""]:
    """<w, grad L(w)>, which is zero for a scale-invariant loss; k L(w) for one that is homogeneous of degree k.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`; L is its mean.
        params: w, a pytree of floating leaves.
        batch: examples, with leading axis N.

    Returns:
        The derivative of L(c w) in c at c = 1.

    Raises:
        ValueError: if w is zero (NaN results when traced) or `loss_fn` does not return shape (N,).

    Source: Theory of Deep Learning, lemma 13.2.3; spec NORM-6.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> float(normalization.radial_gradient(lambda w, x: x * jnp.sum(w**2), jnp.array([3.0, 4.0]), jnp.ones(1)))
        50.0
    """
    length_of(params)
    gradient = gradients.value_and_gradient(loss_fn, params, batch)[1]
    return jnp.asarray(optax.tree.vdot(params, gradient))


def spherical_gradient_norm(loss_fn: LossFn, params: PyTree, batch: PyTree, *, tolerance: float = TOLERANCE) -> Float[Array, ""]:
    """|grad L(w / |w|)| = |w| |grad L(w)| of a scale-invariant loss, the gradient norm that does not depend on |w|.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, whose mean L is scale invariant in all of `params`.
        params: w, a pytree of floating leaves, not zero.
        batch: examples, with leading axis N.
        tolerance: scale-invariance defect that is let pass, between w, 2 w and w / |w|. Changes of L below 100 times the
            machine's epsilon pass as well, for rounding at a minimum of zero: scale up a loss that is as small everywhere.

    Returns:
        The gradient norm on the sphere.

    Raises:
        ValueError: if w is zero, or the loss is not scale invariant, by its defect (NaN results when traced).

    Source: Theory of Deep Learning, lemma 13.2.3; spec NORM-6. Cost: a gradient and three losses.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> rayleigh = lambda w, scale: scale * w[1] ** 2 / jnp.sum(w**2)
        >>> round(float(normalization.spherical_gradient_norm(rayleigh, jnp.array([5.0, 5.0]), jnp.ones(1))), 5)
        1.0
    """
    unit = with_norm(params, 1.0)
    slope = optax.tree.norm(gradients.value_and_gradient(loss_fn, unit, batch)[1])
    length = length_of(params)
    scales = jnp.stack([length, 2 * length])[None]
    return refuse_scale_dependence(slope, loss_fn, jax.tree.map(lambda leaf: leaf[None], unit), batch, scales, tolerance)
