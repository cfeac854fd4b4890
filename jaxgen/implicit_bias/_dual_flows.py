"""Flows of a parametrization along dual vectors, and along straight lines of w, with the derivatives of commuting ones.

The state of the first is theta and the work <mu, w> done on it, whose integral is R*(mu); that of the second theta, the dual
vector mu, and the integral of <mu, dw>, which is R(w).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen._core import flows
from jaxgen.implicit_bias import _parametrized
from jaxgen.implicit_bias._parametrized import Parametrization

MAX_STEPS = 4096


def solve_metric(metric: Float[Array, "d d"], v: Float[Array, " d"]) -> Float[Array, " d"]:
    """metric^-1 v, NaN if the metric is not positive definite."""
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(metric), True), v)


def _ascending(t: Array, state: tuple[PyTree, Array], args: tuple[Parametrization, Array]) -> tuple[PyTree, Array]:
    parametrization, mu = args
    w, pull = jax.vjp(parametrization, state[0])
    return pull(mu.astype(w.dtype))[0], jnp.sum(mu * w).astype(state[1].dtype)


def _straight(t: Array, state: tuple[PyTree, Array, Array], args: tuple[Parametrization, Array]) -> tuple[PyTree, Array, Array]:
    parametrization, shift = args
    pull = jax.vjp(parametrization, state[0])[1]
    velocity = solve_metric(_parametrized.metric(parametrization, state[0]), shift)
    return pull(velocity)[0], velocity, jnp.sum(state[1] * shift)


def _ended(field: flows.Field, state: PyTree, args: tuple[Parametrization, Array], rtol: float | None) -> PyTree:
    """The state at time 1, NaN if the solver does not get there."""
    dtype = args[1].dtype
    tolerance = rtol if rtol is not None else 1e-12 if dtype == jnp.float64 else 1e-5
    path = flows.solve(field, state, args, "times", jnp.ones(1, dtype), tolerance, None, MAX_STEPS, throw=False)
    end = jax.tree.map(lambda leaf: leaf[0], path)
    arrived = _parametrized.finite(end)
    return jax.tree.map(lambda leaf: jnp.where(arrived, leaf, jnp.nan), end)


@jax.jit(static_argnames="rtol")
def along_dual(parametrization: Parametrization, theta0: PyTree, mu: Array, *, rtol: float | None = None) -> tuple[PyTree, Array]:
    """psi(theta0; mu) and R*(mu)."""
    return _ended(_ascending, (theta0, jnp.zeros((), mu.dtype)), (parametrization, mu), rtol)


@jax.jit
def along_line(parametrization: Parametrization, theta0: PyTree, w: Array) -> tuple[PyTree, Array, Array]:
    """theta = psi(theta0; mu) with G(theta) = w, mu, and R(w); a last Newton step takes what the solver has left of G(theta) - w."""
    shift = w - parametrization(theta0)
    theta, mu, value = _ended(_straight, (theta0, jnp.zeros_like(w), jnp.zeros((), w.dtype)), (parametrization, shift), None)
    left, pull = jax.vjp(lambda theta: w - parametrization(theta), theta)
    correction = solve_metric(_parametrized.metric(parametrization, theta), left)
    small = jnp.abs(left).max() <= jnp.finfo(w.dtype).eps ** 0.5 * (jnp.abs(w).max() + jnp.abs(shift).max())
    state = jax.tree.map(jnp.subtract, theta, pull(correction)[0]), mu + correction, value
    return jax.tree.map(lambda leaf: jnp.where(small, leaf, jnp.nan), state)


@jax.custom_jvp
def dual_end(parametrization: Parametrization, theta0: PyTree, mu: Array) -> tuple[PyTree, Array]:
    """`along_dual` of a parametrization that commutes: d theta = dG^T d mu, d R* = <G(theta), d mu>."""
    return along_dual(parametrization, theta0, mu)


def _dual_end_jvp(primals, tangents):
    parametrization, _, mu = primals
    theta, conjugate = dual_end(*primals)
    of_mu = _parametrized.instantiated(tangents[2])
    w, pull = jax.vjp(parametrization, theta)
    tangent = pull(of_mu)[0], jnp.sum(w * of_mu)
    of_start = _of_start(lambda held: along_dual(*held, mu), primals, tangents)
    return (theta, conjugate), jax.tree.map(jnp.add, tangent, of_start) if of_start is not None else tangent


@jax.custom_jvp
def line_end(parametrization: Parametrization, theta0: PyTree, w: Array) -> tuple[PyTree, Array, Array]:
    """`along_line` of a parametrization that commutes: d mu = (dG dG^T)^-1 dw, d theta = dG^T d mu, d R = <mu, dw>."""
    return along_line(parametrization, theta0, w)


def _line_end_jvp(primals, tangents):
    parametrization, _, w = primals
    theta, mu, value = line_end(*primals)
    of_w = _parametrized.instantiated(tangents[2])
    of_mu = solve_metric(_parametrized.metric(parametrization, theta), of_w)
    tangent = jax.vjp(parametrization, theta)[1](of_mu)[0], of_mu, jnp.sum(mu * of_w)
    of_start = _of_start(lambda held: along_line(*held, w), primals, tangents)
    return (theta, mu, value), jax.tree.map(jnp.add, tangent, of_start) if of_start is not None else tangent


def _of_start(fn, primals, tangents) -> PyTree | None:
    """Derivative with respect to theta0 and the arrays of the parametrization, if there is any."""
    if _parametrized.is_zero(tangents[:2]):
        return None
    return _parametrized.dense_derivative(fn, primals[:2], tangents[:2])


dual_end.defjvp(_dual_end_jvp, symbolic_zeros=True)
line_end.defjvp(_line_end_jvp, symbolic_zeros=True)
