"""The eigenvalue of largest modulus, by the power method."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optax
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import checked, floating, is_traced, positive_integer, require
from jaxgen.curvature.products import finite, square_domain, symmetric


class PowerIteration(NamedTuple):
    """What `power_iteration` found.

    Attributes:
        value: Rayleigh quotient v^T H v, with its sign.
        vector: unit vector v, to start again from after a small change of H.
        residual: |H v - value v|; an eigenvalue of H lies within it of `value`.
    """

    value: Float[Array, ""]
    vector: PyTree
    residual: Float[Array, ""]


def power_iteration(operator: lx.AbstractLinearOperator, start: PyTree, *, num_matvecs: int) -> PowerIteration:
    """The eigenvalue of largest modulus of a symmetric operator, signed, by v <- H v / |H v| from a given start.

    With eigenvalues |l_1| > |l_2| >= ... the error falls as (l_2 / l_1)^{2 m} over m products. Where l and -l tie for the
    largest modulus the method has no limit: `value` then lies anywhere between the two, and `residual` stays of the order
    of l. Compare it with |value| before use. For the largest eigenvalue where a negative one may dominate, use a Lanczos
    method.

    Args:
        operator: any symmetric `lineax` operator on pytrees of real arrays, `curvature.hessian` for instance.
        start: a pytree like the operator's inputs, not zero: random, or the `vector` of a nearby operator.
        num_matvecs: number of products H v, the last of them for the Rayleigh quotient.

    Returns:
        Eigenvalue, eigenvector and residual. NaN where a traced check fails.

    Raises:
        ValueError: if `operator` is not square, `start` differs from its inputs in structure, is zero or not finite, a
            product is not finite, `num_matvecs` < 1, or two consecutive iterates u, v show that the operator is not
            symmetric, u^T H v != v^T H u.
        TypeError: if a leaf of `start` is not real.

    Source: spec OPT-18. Cost: num_matvecs products of the operator linearised once.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from jaxgen import curvature
        >>> found = curvature.power_iteration(lx.DiagonalLinearOperator(jnp.array([-5.0, 3.0, 1.0])), jnp.ones(3), num_matvecs=50)
        >>> round(float(found.value), 4), float(found.residual) < 1e-3
        (-5.0, True)
    """
    num_matvecs = positive_integer("num_matvecs", num_matvecs)
    unit = _unit_start(start, square_domain(operator))
    run = _powers if is_traced(operator, unit) else _compiled_powers
    value, unit, image, asymmetry = run(operator, unit, num_matvecs)
    value = symmetric(finite(value), asymmetry)
    return PowerIteration(value, unit, optax.tree.norm(optax.tree.add_scale(image, -value, unit)))


def _powers(operator: lx.AbstractLinearOperator, unit: PyTree, num_matvecs: int) -> tuple[Array, PyTree, PyTree, Array]:
    """Rayleigh quotient, the last iterate u, H u, and the largest relative |u^T H v - v^T H u| of consecutive iterates."""
    product = lx.linearise(operator).mv

    def step(_: Any, state: tuple[PyTree, PyTree, Array]) -> tuple[PyTree, PyTree, Array]:
        unit, image, asymmetry = state
        length = optax.tree.norm(image)
        following = jax.tree.map(lambda new, old: jnp.where(length > 0, new / jnp.where(length > 0, length, 1), old).astype(old.dtype), image, unit)
        following_image = product(following)
        gap = jnp.abs(length - optax.tree.vdot(unit, following_image))
        scale = jnp.maximum(length, optax.tree.norm(following_image))
        return following, following_image, jnp.maximum(asymmetry, gap / jnp.where(scale > 0, scale, 1))

    image = product(unit)
    start = unit, image, jnp.zeros_like(optax.tree.norm(image))
    unit, image, asymmetry = jax.lax.fori_loop(0, num_matvecs - 1, step, start)
    return jnp.asarray(optax.tree.vdot(unit, image)), unit, image, asymmetry


_compiled_powers = eqx.filter_jit(_powers)


def _unit_start(start: PyTree, domain: PyTree[jax.ShapeDtypeStruct]) -> PyTree:
    """`start` as a unit vector of the operator's inputs."""
    expected, found = jax.tree.map(jnp.shape, domain), jax.tree.map(jnp.shape, start)
    require(found == expected, f"start must have the structure of the operator's inputs, {expected}; got {found}")
    start = jax.tree.map(lambda leaf, like: floating("start", leaf).astype(like.dtype), start, domain)
    length = optax.tree.norm(start)
    length = checked(length, (jnp.isfinite(length), "start must be finite"), (length > 0, "start must not be zero"))
    return jax.tree.map(lambda leaf: (leaf / length).astype(leaf.dtype), start)
