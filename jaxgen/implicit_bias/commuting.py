"""Whether parametrizations commute, and their flows along dual vectors."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen._core.checks import checked
from jaxgen.implicit_bias import _dual_flows, _parametrized
from jaxgen.implicit_bias._parametrized import Parametrization

PAIRS_AT_ONCE = 256


class CommutatorResidual(NamedTuple):
    """How far the gradients of the components of G are from commuting, at one point; returned by `commutator_residual`.

    Attributes:
        bracket: largest norm of a bracket [grad G_i, grad G_j].
        pushed: largest norm of a bracket pushed forward, dG [grad G_i, grad G_j]; that these vanish is necessary for a mirror flow.
    """

    bracket: Float[Array, ""]
    pushed: Float[Array, ""]


def lie_bracket(parametrization: Parametrization, i: ArrayLike, j: ArrayLike, theta: PyTree) -> PyTree:
    r"""$[\nabla G_i, \nabla G_j](\theta) = \nabla^2 G_i \nabla G_j - \nabla^2 G_j \nabla G_i$.

    Args:
        parametrization: G, twice differentiable, from theta to a vector of shape (d,).
        i: a component of it, 0 <= i < d.
        j: another one.
        theta: parameters, a pytree of D >= d real numbers.

    Returns:
        The bracket, of the structure of `theta`. It vanishes for all i and j where gradients of the components commute. (The
        source's indices run to D; its sign is the opposite of the usual one.)

    Raises:
        ValueError: if G does not return a vector, D < d, or i or j is no component of it (NaN results when traced).
        TypeError: if a leaf of `theta` is not real.

    Source: Arora et al., Theory of Deep Learning, Definition 8.1.8; spec BIAS-19. Cost: two Hessian-vector products.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.lie_bracket(lambda t: jnp.stack([t[0] * t[1], t[0] + t[1]]), 0, 1, jnp.array([2.0, 5.0])).tolist()
        [1.0, 1.0]
    """
    theta, d = _parametrized.opened("theta", parametrization, theta)
    i, j = jnp.asarray(i), jnp.asarray(j)
    fn, flat, unravel = _parametrized.flattened(parametrization, theta)
    first, second = _products(fn, flat, i, j)
    inside = (i >= 0) & (i < d) & (j >= 0) & (j < d)
    return unravel(checked(first - second, (inside, f"i and j must be components of a vector of length {d}; got {i} and {j}")))


def _products(fn: Parametrization, flat: Array, i: Array, j: Array) -> tuple[Array, Array]:
    """grad^2 G_i grad G_j and grad^2 G_j grad G_i, the derivatives of each gradient along the other."""

    def gradient(k: Array, flat: Array) -> Array:
        w, pull = jax.vjp(fn, flat)
        return pull(jax.nn.one_hot(k, w.shape[0], dtype=w.dtype))[0]

    def along(k: Array, other: Array) -> Array:
        return jax.jvp(lambda flat: gradient(k, flat), (flat,), (gradient(other, flat),))[1]

    return along(i, j), along(j, i)


def commutator_residual(parametrization: Parametrization, theta: PyTree) -> CommutatorResidual:
    r"""Largest $\lVert [\nabla G_i, \nabla G_j] \rVert$ and $\lVert \partial G [\nabla G_i, \nabla G_j] \rVert$ over all pairs i < j at theta.

    A kink is not seen: a parametrization that is not twice differentiable, with `relu` or `abs`, counts as what it is beside it.

    Args:
        parametrization: G, twice differentiable, from theta to a vector of shape (d,).
        theta: parameters, a pytree of D >= d real numbers.

    Returns:
        Both residuals; zero for d = 1.

    Raises:
        ValueError: if G does not return a vector, or D < d.
        TypeError: if a leaf of `theta` is not real.

    Source: Arora et al., Theory of Deep Learning, Definition 8.1.8; spec BIAS-19, and BIAS-20 for what is pushed forward. Cost:
    d (d - 1) Hessian-vector products, at most 512 at a time; no Hessian is formed.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> theta = (jnp.array([1.0, 2.0]), jnp.array([3.0, 0.5]))
        >>> float(implicit_bias.commutator_residual(implicit_bias.diagonal_net(2), theta).bracket)
        0.0
    """
    theta, _ = _parametrized.opened("theta", parametrization, theta)
    residual, _ = residual_and_scale(parametrization, theta)
    return residual


def residual_and_scale(parametrization: Parametrization, theta: PyTree) -> tuple[CommutatorResidual, Array]:
    """The residual, and the largest norm of a product of which brackets are differences."""
    fn, flat, _ = _parametrized.flattened(parametrization, theta)
    d = jax.eval_shape(fn, flat).shape[0]
    if d == 1:
        zero = jnp.zeros((), flat.dtype)
        return CommutatorResidual(zero, zero), zero

    def pair(indices: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        first, second = _products(fn, flat, *indices)
        bracket = first - second
        pushed = jax.jvp(fn, (flat,), (bracket,))[1]
        return jnp.linalg.norm(bracket), jnp.linalg.norm(pushed), jnp.maximum(jnp.linalg.norm(first), jnp.linalg.norm(second))

    pairs = jnp.triu_indices(d, 1)
    found = jax.vmap(pair)(pairs) if pairs[0].size <= PAIRS_AT_ONCE else jax.lax.map(pair, pairs, batch_size=PAIRS_AT_ONCE)
    bracket, pushed, scale = (values.max() for values in found)
    return CommutatorResidual(bracket, pushed), scale


def dual_flow(parametrization: Parametrization, theta0: PyTree, mu: Float[ArrayLike, " d"], *, rtol: float | None = None) -> PyTree:
    r"""$\psi(\theta_0; \mu)$: where $\dot\theta = \sum_i \mu_i \nabla G_i(\theta)$ from theta0 is at time 1.

    If G commutes, flows along mu and mu' in turn end where that along mu + mu' does, and gradient flow of any loss is at
    $\psi(\theta_0; -\int_0^t \nabla L)$.

    Args:
        parametrization: G, from theta to a vector of shape (d,).
        theta0: start, a pytree of D >= d real numbers.
        mu: dual vector, shape (d,).
        rtol: relative tolerance of the solver; default 1e-12 in float64, 1e-5 in float32; that of what is near zero is 1e-2 of it.

    Returns:
        The parameters; differentiable in reverse mode.

    Raises:
        ValueError: if shapes do not fit, or the flow blows up before time 1 (NaN results when traced).
        TypeError: if a leaf of `theta0` is not real.

    Source: Li, Wang, Lee and Arora 2022; spec BIAS-20.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> u, v = implicit_bias.dual_flow(implicit_bias.diagonal_net(2), (jnp.ones(1), jnp.ones(1)), jnp.array([0.5]))
        >>> bool(abs(u[0] - jnp.e) < 1e-4), bool(abs(v[0] * jnp.e - 1) < 1e-4)
        (True, True)
    """
    theta0, _ = _parametrized.opened("theta0", parametrization, theta0)
    mu = _parametrized.vector("mu", mu, parametrization, theta0)
    theta, _ = _dual_flows.along_dual(_parametrized.as_pytree(parametrization), theta0, mu, rtol=rtol)
    ended = _parametrized.finite(theta)
    # What is not finite for a reason other than the flow's is the caller's own.
    ended |= ~_parametrized.finite((theta0, mu))
    return _parametrized.checked_tree(theta, (ended, "the flow of parametrization along mu blows up before time 1"))
