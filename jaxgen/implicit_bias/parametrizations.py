"""Parametrizations w = G(theta) of linear models: the flows and metrics they induce, diagonal nets, and those made from potentials."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen._core import flows
from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen.implicit_bias import _parametrized
from jaxgen.implicit_bias._parametrized import Parametrization
from jaxgen.implicit_bias.potentials import Potential

MAX_STEPS = 20_000


def pushforward_metric(parametrization: Parametrization, theta: PyTree) -> Float[Array, "d d"]:
    r"""$\partial G \, \partial G^\top$ at theta: gradient flow of L(G(theta)) moves w = G(theta) by $-\partial G \, \partial G^\top \nabla L(w)$.

    Args:
        parametrization: G, from theta to a vector w of shape (d,).
        theta: parameters, a pytree of D >= d real numbers.

    Returns:
        The metric, symmetric positive semidefinite, of the dtype of w.

    Raises:
        ValueError: if G does not return a vector, or D < d.
        TypeError: if a leaf of `theta` is not real.

    Source: Arora et al., Theory of Deep Learning, equations (8.8) to (8.11); spec BIAS-13. Cost: d derivatives in reverse
    mode and O(d^2 D).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.pushforward_metric(lambda theta: theta[0] * theta[1], (jnp.array([1.0]), jnp.array([2.0]))).tolist()
        [[5.0]]
    """
    theta, _ = _parametrized.opened("theta", parametrization, theta)
    return _parametrized.metric(parametrization, theta)


def metric_mismatch(parametrization: Parametrization, potential: Potential, theta: PyTree) -> Float[Array, ""]:
    r"""$\lVert \partial G \, \partial G^\top \, \nabla^2 R(G(\theta)) - I \rVert_F$, zero where gradient flow of G and mirror flow of R agree.

    Args:
        parametrization: G, from theta to a vector w of shape (d,).
        potential: R, on vectors of that shape.
        theta: parameters, with G(theta) in the domain of R.

    Returns:
        The Frobenius norm, which bounds the spectral one.

    Raises:
        ValueError: if G does not return a vector, D < d, or G(theta) is outside the domain of R (NaN results when traced).
        TypeError: if a leaf of `theta` is not real.

    Source: Arora et al., Theory of Deep Learning, equations (8.10) and (8.11); spec BIAS-13.
    """
    theta, d = _parametrized.opened("theta", parametrization, theta)
    w = parametrization(theta)
    w = checked(w, (potential.domain(w), "parametrization(theta) must be in the domain of the potential"))
    hessian = jax.vmap(lambda v: potential.hessian_vector(w, v), out_axes=1)(jnp.eye(d, dtype=w.dtype))
    product = jnp.matmul(_parametrized.metric(parametrization, theta), hessian, precision=_parametrized.HIGHEST)
    return jnp.linalg.norm(product - jnp.eye(d, dtype=w.dtype))


class ReparametrizedFlow(NamedTuple):
    """Gradient flow of L(G(theta)) at T times; returned by `reparametrized_flow`.

    Attributes:
        theta: parameters, with a leading axis T on every leaf.
        w: G(theta), shape (T, d).
    """

    theta: PyTree
    w: Float[Array, "T d"]


def reparametrized_flow(
    parametrization: Parametrization,
    grad_fn: Callable[[Array], Array],
    theta0: PyTree,
    times: Float[ArrayLike, " T"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> ReparametrizedFlow:
    r"""The flow $\dot\theta = -\partial G(\theta)^\top \nabla L(G(\theta))$ from theta(0) = theta0, at given times.

    Args:
        parametrization: G, from theta to a vector w of shape (d,).
        grad_fn: w -> grad L(w), shape (d,).
        theta0: start, a pytree of D >= d real numbers.
        times: finite times of at least 0, increasing, shape (T,), T >= 1.
        rtol: relative tolerance of the solver; default 1e-9 in float64, 1e-5 in float32.
        atol: absolute tolerance of the solver; default `rtol` times 1e-2.
        max_steps: steps of the solver, beyond which it raises.

    Returns:
        Parameters and vectors at the times.

    Raises:
        ValueError: if shapes do not fit, or `times` are no increasing vector of numbers of at least 0 (NaN results when traced).
        TypeError: if a leaf of `theta0` is not real.
        RuntimeError: from the solver, if it needs more steps.

    Source: Arora et al., Theory of Deep Learning, section 8.1.2, equation (8.7); spec BIAS-13.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> flow = implicit_bias.reparametrized_flow(lambda theta: theta**2, lambda w: w - 1, jnp.array([0.5]), jnp.array([1.0]))
        >>> bool(abs(flow.w[0, 0] - 1 / (1 + 3 * jnp.exp(-4.0))) < 1e-4)
        True
    """
    theta0, d = _parametrized.opened("theta0", parametrization, theta0)
    shape = jax.eval_shape(lambda theta: grad_fn(parametrization(theta)), theta0).shape
    require(shape == (d,), f"grad_fn must return a vector of shape ({d},); got shape {shape}")
    args = _parametrized.as_pytree(parametrization), _parametrized.as_pytree(grad_fn)
    path = flows.solve(_descending, theta0, args, "times", times, rtol, atol, max_steps)
    return ReparametrizedFlow(path, jax.vmap(parametrization)(path))


def _descending(t: Array, theta: PyTree, args: tuple[Parametrization, Callable[[Array], Array]]) -> PyTree:
    parametrization, grad_fn = args
    w, pull = jax.vjp(parametrization, theta)
    return jax.tree.map(jnp.negative, pull(grad_fn(w).astype(w.dtype))[0])


@dataclass(frozen=True)
class DiagonalNet:
    """The parametrization of a diagonal linear net, by elementwise powers; made by `diagonal_net`, called with its parameters.

    Attributes:
        depth: L.
        sign: whether the parameters are a pair (u, v) and w = u^L - v^L, or one vector u and w = |u|^L.
    """

    depth: int
    sign: bool

    def __call__(self, theta: PyTree) -> Float[Array, " d"]:
        """w = G(theta)."""
        if not self.sign:
            return jnp.abs(theta) ** self.depth
        u, v = theta
        return u**self.depth - v**self.depth

    def conserved(self, theta: PyTree) -> Float[Array, " d"]:
        r"""What gradient flow of any L(G(theta)) keeps, for every coordinate.

        That is $u + v$ for depth 1, $u v$ for depth 2, $u^{2 - L} + v^{2 - L}$ beyond, and the sign of u without v.
        """
        if not self.sign:
            return jnp.sign(theta)
        u, v = theta
        if self.depth == 2:
            return u * v
        return u ** (2 - self.depth) + v ** (2 - self.depth)

    def start(self, alpha: ArrayLike, d: int) -> PyTree:
        """Parameters alpha everywhere: w = 0 for a pair (u, v), and alpha^L without v.

        Args:
            alpha: positive scale, a scalar or one for each coordinate.
            d: number of coordinates.

        Returns:
            The pair (u, v), or u.

        Raises:
            ValueError: if `alpha` is not positive (NaN results when traced) or of another shape.
        """
        scale = floating("alpha", alpha)
        require(scale.shape in ((), (d,)), f"alpha must be a scalar or of shape ({d},); got shape {scale.shape}")
        scale = checked(scale, (scale > 0, f"alpha must be positive; got {alpha}"))
        u = jnp.broadcast_to(scale, (positive_integer("d", d),))
        return (u, u) if self.sign else u


def diagonal_net(depth: int = 2, sign: bool = True) -> DiagonalNet:
    r"""The parametrization $w = u^{\odot L} - v^{\odot L}$ of a diagonal linear net, or $w = |u|^{\odot L}$ of one without negative weights.

    From u = v = alpha its gradient flow is mirror flow of the hyperbolic entropy (L = 2) or of `diagonal_depth(alpha, L)`.

    Args:
        depth: L >= 1.
        sign: whether there is a second vector v, so that weights of both signs are reached.

    Returns:
        G, called with (u, v) or u; `G.conserved(theta)` is what its gradient flow keeps, `G.start(alpha, d)` the usual start.

    Raises:
        ValueError: if `depth` is not an integer of at least 1.
        TypeError: if `depth` is traced.

    Source: Arora et al., Theory of Deep Learning, Theorem 8.1.6; Woodworth et al. 2020, Theorem 3; spec BIAS-15 and BIAS-18.
    The source starts at (alpha, -alpha) / 4: the flow of its potential starts at (alpha, -alpha), or at (alpha, alpha).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> net = implicit_bias.diagonal_net(2)
        >>> theta = (jnp.array([2.0, 1.0]), jnp.array([1.0, 3.0]))
        >>> net(theta).tolist(), net.conserved(theta).tolist()
        ([3.0, -8.0], [2.0, 3.0])
    """
    return DiagonalNet(positive_integer("depth", depth), bool(sign))


class SeparableParametrization(NamedTuple):
    """The parametrization of a separable potential; made by `parametrization_from_separable_potential`.

    Attributes:
        parametrization: G, from theta to w, both of shape (d,); G(0) = w_ref.
        inverse: its inverse.
    """

    parametrization: Callable[[Array], Array]
    inverse: Callable[[Array], Array]


def parametrization_from_separable_potential(potential: Potential, w_ref: Float[ArrayLike, " d"]) -> SeparableParametrization:
    r"""The parametrization whose gradient flow is mirror flow of $R(w) = \sum_i r_i(w_i)$: $G_i^{-1}(w_i) = \int_{w_{ref,i}}^{w_i} \sqrt{r_i''}$.

    Then $(G_i')^2 = 1 / r_i''$. Both maps are integrated in the dual variable $z = r_i'(w_i)$, in which steps follow the scale of
    w: $d\theta / dz = 1 / \sqrt{r_i''}$. In float64 they are accurate to about 1e-11, and their derivatives are exact.

    Args:
        potential: R, with a diagonal Hessian.
        w_ref: point of its domain that theta = 0 stands for.

    Returns:
        G and its inverse, both differentiable, also with respect to `w_ref` and the parameters of the potential (to first order
        in those); NaN where theta is outside of the range of the inverse, or w outside of the domain.

    Raises:
        ValueError: if `w_ref` is no vector in the domain of R, the Hessian at `w_ref` is not diagonal, or not positive (NaN
            results when traced).

    Source: Arora et al., Theory of Deep Learning, section 8.1.4, question 1; Li, Wang, Lee and Arora 2022; spec BIAS-21. Cost: an
    ordinary differential equation a call.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> found = implicit_bias.parametrization_from_separable_potential(implicit_bias.entropy(0.25), jnp.array([1.0]))
        >>> bool(abs(found.parametrization(jnp.array([2.0]))[0] - (1 + 2) ** 2) < 1e-3)
        True
    """
    w_ref = floating("w_ref", w_ref)
    require(w_ref.ndim == 1 and w_ref.size > 0, f"w_ref must be a vector; got shape {w_ref.shape}")
    inside = potential.domain(w_ref)
    hessian = jax.vmap(lambda v: potential.hessian_vector(jnp.where(inside, w_ref, jnp.nan), v))(jnp.eye(w_ref.size, dtype=w_ref.dtype))
    diagonal = jnp.diagonal(hessian)
    apart = jnp.abs(hessian - jnp.diag(diagonal)).max(axis=1)
    rounding = w_ref.size * jnp.finfo(w_ref.dtype).eps
    w_ref = checked(
        w_ref,
        (inside, "w_ref must be in the domain of the potential"),
        (~(apart > rounding * jnp.abs(diagonal)), "potential must be separable: its Hessian at w_ref is not diagonal"),
        (~(diagonal <= 0), "the second derivatives of potential must be positive at w_ref"),
    )
    return SeparableParametrization(Partial(_from_theta, potential, w_ref), Partial(_to_theta, potential, w_ref))


def _slope(potential: Potential, w: Array) -> Array:
    """Square root of r'', NaN where that is not positive."""
    second = potential.hessian_vector(w, jnp.ones_like(w))
    return jnp.sqrt(jnp.where(second > 0, second, jnp.nan))


def _along_theta(t: Array, z: Array, args: tuple[Potential, Array, Array]) -> Array:
    potential, _, shift = args
    return shift * _slope(potential, potential.inverse_mirror(z))


def _along_dual(t: Array, theta: Array, args: tuple[Potential, Array, Array]) -> Array:
    potential, z, shift = args
    return shift / _slope(potential, potential.inverse_mirror(z + t * shift))


def _integrated(field: flows.Field, start: Array, args: tuple[Potential, Array, Array]) -> Array:
    rtol = 1e-12 if start.dtype == jnp.float64 else 1e-5
    return flows.solve(field, start, args, "times", jnp.ones(1, start.dtype), rtol, None, MAX_STEPS, throw=False)[0]


@jax.jit
def _theta_of(potential: Potential, w_ref: Array, w: Array) -> Array:
    z = potential.mirror(w_ref)
    return _integrated(_along_dual, jnp.zeros_like(w), (potential, z, potential.mirror(w) - z))


@jax.jit
def _w_of(potential: Potential, w_ref: Array, theta: Array) -> Array:
    z = potential.mirror(w_ref)
    return potential.inverse_mirror(_integrated(_along_theta, z, (potential, z, theta)))


@jax.custom_jvp
def _to_theta(potential: Potential, w_ref: Array, w: Array) -> Array:
    w = jnp.broadcast_to(floating("w", w), w_ref.shape)
    theta = _theta_of(potential, w_ref, jnp.where(potential.domain(w), w, jnp.nan))
    return jnp.where(jnp.isfinite(theta), theta, jnp.nan)


@jax.custom_jvp
def _from_theta(potential: Potential, w_ref: Array, theta: Array) -> Array:
    theta = jnp.broadcast_to(floating("theta", theta), w_ref.shape)
    w = _w_of(potential, w_ref, theta)
    return jnp.where(jnp.isfinite(w), w, jnp.nan)


def _to_theta_jvp(primals, tangents):
    (potential, w_ref, w), (of_potential, of_ref, of_w) = primals, tangents
    tangent = _slope(potential, w) * _parametrized.instantiated(of_w) - _slope(potential, w_ref) * _parametrized.instantiated(of_ref)
    return _to_theta(potential, w_ref, w), tangent + _of_potential(potential, w_ref, w, of_potential)


def _from_theta_jvp(primals, tangents):
    (potential, w_ref, theta), (of_potential, of_ref, of_theta) = primals, tangents
    w = _from_theta(potential, w_ref, theta)
    along = _parametrized.instantiated(of_theta) + _slope(potential, w_ref) * _parametrized.instantiated(of_ref)
    return w, (along - _of_potential(potential, w_ref, w, of_potential)) / _slope(potential, w)


def _of_potential(potential: Potential, w_ref: Array, w: Array, tangent: PyTree) -> Array:
    """Derivative of theta(w) with respect to the parameters of the potential, at fixed w and w_ref."""
    if _parametrized.is_zero(tangent):
        return jnp.zeros_like(w)
    return _parametrized.dense_derivative(lambda potential: _theta_of(potential, w_ref, w), potential, tangent)


_to_theta.defjvp(_to_theta_jvp, symbolic_zeros=True)
_from_theta.defjvp(_from_theta_jvp, symbolic_zeros=True)
