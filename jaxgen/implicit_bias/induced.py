"""The potential that a commuting parametrization induces, made by its flows."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Bool, PyTree

from jaxgen._core.checks import is_traced
from jaxgen.implicit_bias import _dual_flows, _parametrized
from jaxgen.implicit_bias._parametrized import Parametrization
from jaxgen.implicit_bias.commuting import residual_and_scale
from jaxgen.implicit_bias.potentials import Potential

NUM_POINTS = 4
"""Ends of flows, and points near, at which `induced_potential` looks for brackets."""
EULER_STEPS = 10


def induced_potential(parametrization: Parametrization, theta0: PyTree, *, require_commuting: bool = True) -> Potential:
    r"""The potential R of which gradient flow of a commuting parametrization from theta0 is mirror flow, for every loss.

    With the flow psi of `dual_flow`, $\nabla R^*(\mu) = G(\psi(\theta_0; \mu))$ and $R^*(\mu) = \int_0^1 \langle \mu, G(\psi(\theta_0;
    s \mu)) \rangle ds$. $\nabla R$ and R are integrated along the straight line from G(theta0), where both are zero, to w: with
    $\partial G \partial G^\top = \nabla^2 R^* = (\nabla^2 R)^{-1}$, $\dot\mu = (\partial G \partial G^\top)^{-1} (w - G(\theta_0))$, and a
    Newton step at the end.

    Args:
        parametrization: G, twice differentiable, from theta to a vector of shape (d,), with an invertible dG dG^T.
        theta0: start, a pytree of D >= d real numbers.
        require_commuting: whether a parametrization is refused that does not commute at theta0, at the ends of four short
            flows from it, and at four points near it, to half of the digits.

    Returns:
        The potential, in float64 accurate to about 1e-10. Its functions are differentiable to any order in both modes with
        respect to their arguments, by the implicit function theorem, and to first order with respect to `theta0`. Where a flow
        blows up or w is out of reach they raise `ValueError`, and return NaN when traced.

    Raises:
        ValueError: if shapes do not fit, dG dG^T at theta0 is not invertible, or the parametrization does not commute (a potential
            whose values are all NaN results when traced).
        TypeError: if a leaf of `theta0` is not real.

    Source: Arora et al., Theory of Deep Learning, section 8.1.4, question 2; Li, Wang, Lee and Arora 2022; spec BIAS-20. Cost: an
    ordinary differential equation of D variables for `inverse_mirror` and `conjugate`; for the others one with a d x d system in
    every step.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> net = implicit_bias.diagonal_net(2)
        >>> potential = implicit_bias.induced_potential(net, net.start(0.5, 1))
        >>> bool(abs(potential.inverse_mirror(jnp.array([0.25]))[0] - 0.5 * jnp.sinh(1.0)) < 1e-4)
        True
    """
    theta0, d = _parametrized.opened("theta0", parametrization, theta0)
    held = _parametrized.as_pytree(parametrization)
    conditions: list[tuple[Any, str]] = [
        (_parametrized.full_rank(_parametrized.metric(held, theta0)), f"dG dG^T must be invertible at theta0; its rank is less than d = {d}"),
    ]
    if require_commuting:
        worst = _worst_bracket(held, theta0)
        found = "" if is_traced(worst) else f"; a bracket of its gradients is {float(worst):.2g} of their derivatives along one another"
        conditions.append((worst <= jnp.finfo(worst.dtype).eps ** 0.5, f"parametrization does not commute near theta0{found}"))
    theta0 = _parametrized.checked_tree(theta0, *conditions)

    def bound(function: Any) -> Partial:
        return Partial(function, held, theta0)

    return Potential(
        value=bound(_value),
        mirror=bound(_mirror),
        inverse_mirror=bound(_inverse_mirror),
        hessian_vector=bound(_hessian_vector),
        domain=bound(_domain),
        inverse_hessian_vector=bound(_inverse_hessian_vector),
        conjugate=bound(_conjugate),
    )


@jax.jit
def _worst_bracket(parametrization: Parametrization, theta0: PyTree) -> Array:
    """Largest bracket over its terms at theta0, along flows in random directions that move it by about half, and at points near."""
    fn, flat, unravel = _parametrized.flattened(parametrization, theta0)
    size = jnp.linalg.norm(flat)
    size = jnp.where(size > 0, size, 1)
    d = jax.eval_shape(fn, flat).shape[0]
    directions, shifts = (jax.random.normal(jax.random.key(i), (NUM_POINTS, n), flat.dtype) for i, n in enumerate((d, flat.size)))

    def euler(points: Array, _: None) -> tuple[Array, None]:
        velocities = jax.vmap(lambda point, mu: jax.vjp(fn, point)[1](mu)[0])(points, directions)
        norms = jnp.linalg.norm(velocities, axis=1, keepdims=True)
        return points + size / (2 * EULER_STEPS) * velocities / jnp.where(norms > 0, norms, 1), None

    along, _ = jax.lax.scan(euler, jnp.broadcast_to(flat, shifts.shape), None, length=EULER_STEPS)
    near = flat + size * shifts / (2 * jnp.linalg.norm(shifts, axis=1, keepdims=True))

    def relative(point: Array) -> Array:
        residual, scale = residual_and_scale(parametrization, unravel(point))
        return residual.bracket / jnp.where(scale > 0, scale, 1)

    found = jax.vmap(relative)(jnp.concatenate([flat[None], along, near]))
    # Beyond the domain of G there is nothing to find; at theta0 itself there must be.
    return jnp.maximum(found[0], jnp.where(jnp.isnan(found[1:]), 0, found[1:]).max())


def _reached(tree: PyTree, theta0: PyTree, value: Array, message: str) -> PyTree:
    """`tree`, unless it is not finite although what it was computed from is."""
    return _parametrized.checked_tree(tree, (_parametrized.finite(tree) | ~_parametrized.finite((theta0, value)), message))


def _at(parametrization: Parametrization, theta0: PyTree, w: ArrayLike) -> tuple[PyTree, Array, Array]:
    """theta with G(theta) = w, its dual vector, and R(w)."""
    w = _parametrized.vector("w", w, parametrization, theta0)
    found = _dual_flows.line_end(parametrization, theta0, w)
    return _reached(found, theta0, w, "w is not reached by the flows of parametrization from theta0")


def _along(parametrization: Parametrization, theta0: PyTree, z: ArrayLike) -> tuple[PyTree, Array]:
    """psi(theta0; z) and R*(z)."""
    z = _parametrized.vector("z", z, parametrization, theta0)
    found = _dual_flows.dual_end(parametrization, theta0, z)
    return _reached(found, theta0, z, "the flow of parametrization along z blows up before time 1")


def _value(parametrization: Parametrization, theta0: PyTree, w: ArrayLike) -> Array:
    return _at(parametrization, theta0, w)[2]


def _mirror(parametrization: Parametrization, theta0: PyTree, w: ArrayLike) -> Array:
    return _at(parametrization, theta0, w)[1]


def _inverse_mirror(parametrization: Parametrization, theta0: PyTree, z: ArrayLike) -> Array:
    return parametrization(_along(parametrization, theta0, z)[0])


def _conjugate(parametrization: Parametrization, theta0: PyTree, z: ArrayLike) -> Array:
    return _along(parametrization, theta0, z)[1]


def _hessian_vector(parametrization: Parametrization, theta0: PyTree, w: ArrayLike, v: ArrayLike) -> Array:
    theta, _, _ = _at(parametrization, theta0, w)
    return _dual_flows.solve_metric(_parametrized.metric(parametrization, theta), _parametrized.vector("v", v, parametrization, theta0))


def _inverse_hessian_vector(parametrization: Parametrization, theta0: PyTree, w: ArrayLike, v: ArrayLike) -> Array:
    theta, _, _ = _at(parametrization, theta0, w)
    pull = jax.vjp(parametrization, theta)[1]
    return jax.jvp(parametrization, (theta,), pull(_parametrized.vector("v", v, parametrization, theta0)))[1]


def _domain(parametrization: Parametrization, theta0: PyTree, w: ArrayLike) -> Bool[Array, ""]:
    w = _parametrized.vector("w", w, parametrization, theta0)
    return _parametrized.finite(_dual_flows.line_end(parametrization, theta0, w))
