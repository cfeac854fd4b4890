"""Spherical curvature: the largest spectral norm of the Hessian of a scale-invariant loss on the unit sphere."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import curvature
from jaxgen._core.checks import choice, floating, is_traced, positive_integer
from jaxgen.normalization.homogeneity import TOLERANCE, refuse_scale_dependence
from jaxgen.normalization.spheres import with_norm

LossFn = Callable[[PyTree, PyTree], Array]

FIRST_ANGLE = 0.2
"""Angle of the first trial step of the ascent, in radians."""


class SphericalCurvature(NamedTuple):
    """What `spherical_curvature` found; a lower estimate, of the order of its own accuracy.

    Attributes:
        value: largest spectral norm found.
        params: unit vector at which it was found.
        norms: spectral norm of every point, after the ascent if there was one.
    """

    value: Float[Array, ""]
    params: PyTree
    norms: Float[Array, " n"]


def spherical_curvature(
    key: Key[Array, ""],
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    *,
    num_points: int = 16,
    num_matvecs: int = 20,
    method: str = "ascent",
    num_steps: int = 50,
    tolerance: float = TOLERANCE,
) -> SphericalCurvature:
    """rho = max_{|w| = 1} |grad^2 L(w)|_2 of a scale-invariant loss, from below.

    Spectral norms are |H v| for the v of the power method, at most the norm whatever the number of products. The ascent
    climbs them along the sphere from every point, by steps that are kept only if they help; more points, steps and
    products give more, and no estimate from samples is an upper bound.

    Args:
        key: draws the points, uniform on the sphere, and the power method's starts.
        loss_fn: `loss_fn(params, batch) -> (N,)`, whose mean is scale invariant in all of `params`; three times
            differentiable for the ascent.
        params: a pytree of floating leaves, of which only the shapes matter.
        batch: examples, with leading axis N.
        num_points: number of points.
        num_matvecs: Hessian-vector products at every point and step.
        method: `"sample"`, or `"ascent"` from the same points.
        num_steps: trial steps of the ascent at every point.
        tolerance: scale-invariance defect that is let pass, over all points; see `spherical_gradient_norm`.

    Returns:
        The estimate, where it was found, and all norms.

    Raises:
        ValueError: if the loss is not scale invariant, by its defect (NaN results when traced), a size is below 1 or
            `method` is unknown.

    Source: Theory of Deep Learning, definition 13.4.1; spec NORM-9. Cost: `num_points` times (1 + `num_steps`) times
    `num_matvecs` Hessian-vector products, all points at once.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> rayleigh = lambda w, scale: scale * w[1] ** 2 / jnp.sum(w**2)
        >>> found = normalization.spherical_curvature(jax.random.key(0), rayleigh, jnp.ones(2), jnp.ones(1), method="sample")
        >>> 1.9 < float(found.value) < 2.00001
        True
    """
    choice("method", method, ("sample", "ascent"))
    sizes = {"num_points": num_points, "num_matvecs": num_matvecs, "num_steps": num_steps}
    num_points, num_matvecs, num_steps = (positive_integer(name, size) for name, size in sizes.items())
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    point_key, start_key = jax.random.split(key)
    points = jax.vmap(lambda k: with_norm(optax.tree.random_like(k, params), 1.0))(jax.random.split(point_key, num_points))
    starts = jax.vmap(lambda k: optax.tree.random_like(k, params))(jax.random.split(start_key, num_points))

    run = _norms if is_traced(points, starts, batch) else _compiled_norms
    norms, points = run(loss_fn, points, starts, batch, num_matvecs, num_steps if method == "ascent" else 0)
    best = jnp.argmax(norms)
    scales = jnp.full((num_points, 1), 2, norms.dtype)
    value = refuse_scale_dependence(norms[best], loss_fn, points, batch, scales, tolerance)
    return SphericalCurvature(value, jax.tree.map(lambda leaf: leaf[best], points), norms)


def _norms(loss_fn: LossFn, points: PyTree, starts: PyTree, batch: PyTree, num_matvecs: int, num_steps: int) -> tuple[Array, PyTree]:
    """Spectral norms at all points and the points themselves, after an ascent of `num_steps`."""

    def at(unit: PyTree, start: PyTree) -> tuple[Array, PyTree]:
        found = curvature.power_iteration(curvature.hessian(loss_fn, unit, batch), start, num_matvecs=num_matvecs)
        return jnp.hypot(found.value, found.residual), found.vector

    def climb(unit: PyTree, start: PyTree) -> tuple[Array, PyTree]:
        size, vector = at(unit, start)
        return (size, unit) if num_steps == 0 else _ascend(loss_fn, batch, at, (unit, size, vector), num_steps)

    return jax.vmap(climb)(points, starts)


_compiled_norms = eqx.filter_jit(_norms)


def _ascend(loss_fn: LossFn, batch: PyTree, at: Callable, start: tuple[PyTree, Array, PyTree], num_steps: int) -> tuple[Array, PyTree]:
    """Climbs |v^T H(w) v| along great circles, the angle growing after a step that helped and shrinking after another."""

    def step(state, _):
        unit, size, vector, angle = state
        slope = jax.grad(lambda w: jnp.abs(curvature.hessian(loss_fn, w, batch).quadratic_form()(vector)))(unit)
        tangent = optax.tree.add_scale(slope, -jnp.asarray(optax.tree.vdot(slope, unit)), unit)
        length = optax.tree.norm(tangent)
        tangent = optax.tree.scale(1 / jnp.where(length > 0, length, 1), tangent)
        trial = with_norm(optax.tree.add_scale(optax.tree.scale(jnp.cos(angle), unit), jnp.sin(angle), tangent), 1.0)
        trial_size, trial_vector = at(trial, vector)
        helped = trial_size > size
        kept = jax.tree.map(lambda new, old: jnp.where(helped, new, old), (trial, trial_size, trial_vector), (unit, size, vector))
        return (*kept, jnp.where(helped, 1.5, 0.4) * angle), None

    angle = jnp.asarray(FIRST_ANGLE, start[1].dtype)
    (unit, size, _, _), _ = jax.lax.scan(step, (*start, angle), None, length=num_steps)
    return size, unit
