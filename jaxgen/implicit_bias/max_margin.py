"""The largest margin of separable data in any norm, between two bounds that certify each other."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen.implicit_bias import _balls, _interior, _polyhedra
from jaxgen.implicit_bias._interior import Best, Solution
from jaxgen.implicit_bias.norms import FourierNorm, LpNorm, Norm, NuclearNorm, QuadraticNorm, SpectralNorm

INTERIOR_STEPS = 60
MOST_STEPS = 200
MOST_GRADIENT_STEPS = 20_000


class MaxMargin(NamedTuple):
    """The largest margin gamma = max of min_i <w, z_i> over ||w|| <= 1, its direction, and the interval that holds it.

    Attributes:
        w: direction found, of norm one; zero where the data are not separable and no direction has a positive margin.
        margin: min_i <w, z_i>, the value of `lower`, differentiable in z (the derivative of gamma is sum_i multipliers_i <dz_i, w>).
        lower: a bound gamma >= lower, the margin that w has.
        upper: a bound gamma <= upper = ||sum_i multipliers_i z_i||_*; both up to the rounding of these sums.
        multipliers: (n,) nonnegative and of sum one; where the data are not separable, sum_i multipliers_i z_i is zero up to `upper`.
        converged: whether upper - lower is at most the tolerance times upper, or for data that are not separable times the largest
            ||z_i||_*.
        num_steps: of the interior-point method.
    """

    w: Array
    margin: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    multipliers: Float[Array, " n"]
    converged: Bool[Array, ""]
    num_steps: Int[Array, ""]


def max_margin(z: Float[Array, "n ..."], norm: Norm, *, tol: float | None = None, num_steps: int | None = None) -> MaxMargin:
    r"""Largest margin over the unit ball of a norm, gamma = max_{||w|| <= 1} min_i <w, z_i> = min_{lambda in simplex} ||sum_i lambda_i z_i||_*.

    Any w gives a lower bound and any multipliers give an upper one; both are evaluated from their definitions at what the
    solver returns, so that the interval does not rest on the solver. Linear programs for l_1 and l_inf, and primal-dual
    interior-point methods for l_p, quadratic, spectral, nuclear and Fourier norms, reach a relative gap of 1e-8 in float64 and
    1e-4 in float32. So do other norms whose squared dual norm is smooth; for the rest the conditional gradient method goes on,
    whose gap falls like one over the root of its number of steps: read the interval.

    Args:
        z: (n, ...) examples times their labels, y_i x_i, in the shape of w behind the first axis.
        norm: of w.
        tol: relative gap at which to stop; default 1e-8 in float64, 1e-4 in float32.
        num_steps: most steps; default 200, of which the norms named take 10 to 75, and 20,000 for other norms.

    Returns:
        Direction, margin, both bounds and multipliers. Data that are not separable have margin 0 up to the tolerance and
        multipliers that prove it.

    Raises:
        ValueError: if z has no example or no axis for w, or is not finite (NaN results when traced); `tol` <= 0; `num_steps` < 1.

    Source: Arora et al., Theory of Deep Learning, Proposition 8.3.3 (spec BIAS-25, BIAS-27).

    Cost: for l_p and quadratic norms O(n d min(n, d)) and the Cholesky decomposition of a matrix of size min(n, d) a step, 15 to 40
    steps; for the others also the Hessian of the ball's barrier, O(d^3).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen.implicit_bias import lp_norm, max_margin
        >>> found = max_margin(jnp.array([[2.0, 0.5], [0.5, 2.0]]), lp_norm(1))
        >>> [round(float(x), 3) for x in (found.lower, found.upper)]
        [1.25, 1.25]
    """
    z = floating("z", z)
    require(z.ndim >= 2 and z.size > 0, f"z must hold at least one example in the shape of w, (n, ...); got shape {z.shape}")
    z = checked(z, (jnp.isfinite(z).all(), "z must be finite"))
    tolerance = tol if tol is not None else 1e-8 if z.dtype == jnp.float64 else 1e-4
    require(tolerance > 0, f"tol must be positive; got {tol}")
    default = MOST_GRADIENT_STEPS if _solver(norm) is _any_norm else MOST_STEPS
    most = positive_integer("num_steps", default if num_steps is None else num_steps)
    constant = jax.lax.stop_gradient(z)
    found = _found(constant, norm, float(tolerance), most)
    along = jnp.tensordot(found.multipliers, jnp.tensordot(z - constant, found.w, found.w.ndim), 1)
    return found._replace(margin=found.lower + along)


@partial(jax.jit, static_argnames=("tol", "num_steps"))
def _found(z: Array, norm: Norm, tol: float, num_steps: int) -> MaxMargin:
    # Solvers see examples of dual norm at most one.
    scale = jax.vmap(norm.dual)(z).max()
    scale = jnp.where(scale > 0, scale, 1)
    found = _solver(norm)(z / scale, norm, tol, num_steps)
    length = norm.value(found.w)
    w = jnp.where(length > 0, found.w / jnp.where(length > 0, length, 1), 0)
    multipliers = found.multipliers / jnp.sum(found.multipliers)
    lower, upper = margin_interval(w, multipliers, z, norm)
    separable = lower > 8 * jnp.finfo(z.dtype).eps * scale
    w, lower = jnp.where(separable, w, 0), jnp.where(separable, lower, 0)
    converged = upper - lower <= tol * jnp.where(separable, upper, scale)
    return MaxMargin(w, lower, lower, upper, multipliers, converged, found.num_steps)


def margin_interval(w: Array, multipliers: Float[Array, " n"], z: Array, norm: Norm) -> tuple[Array, Array]:
    """min_i <w, z_i> and ||sum_i multipliers_i z_i||_*, around gamma for ||w|| <= 1 and multipliers in the simplex."""
    return jnp.tensordot(z, w, w.ndim).min(), norm.dual(jnp.tensordot(multipliers, z, 1))


Solver = Callable[[Array, Norm, float, int], Solution]


def _solver(norm: Norm) -> Solver:
    if isinstance(norm, LpNorm):
        if norm.p == 1 or math.isinf(norm.p):
            return partial(_polyhedral, _polyhedra.l1 if norm.p == 1 else _polyhedra.linf)
        return partial(_smooth, norm.p)
    if isinstance(norm, QuadraticNorm):
        return _quadratic
    if isinstance(norm, FourierNorm) and norm.p in (1, 2, math.inf):
        return partial(_smooth, 2.0) if norm.p == 2 else _fourier
    if isinstance(norm, SpectralNorm | NuclearNorm):
        return _of_singular_values
    return _any_norm


def _polyhedral(program: Callable[..., Solution], z: Array, norm: Norm, tol: float, num_steps: int) -> Solution:
    flat = z.reshape(len(z), -1)
    found = program(flat, _interval(norm, flat, lambda w: w.reshape(z.shape[1:])), tol, num_steps)
    return found._replace(w=found.w.reshape(z.shape[1:]))


def _smooth(p: float, z: Array, norm: Norm, tol: float, num_steps: int) -> Solution:
    flat = z.reshape(len(z), -1)
    # The gradient of half the squared dual norm.
    start = -LpNorm(p).steepest(flat.mean(axis=0))
    found = _interior.solve(_balls.power(p), flat, start, _interval(norm, flat, lambda w: w.reshape(z.shape[1:])), tol, num_steps)
    return found._replace(w=found.w.reshape(z.shape[1:]))


def _quadratic(z: Array, norm: Norm, tol: float, num_steps: int) -> Solution:
    """In the coordinates F^T w of a factor of the metric, D = F F^T, the norm is l_2."""
    assert isinstance(norm, QuadraticNorm)
    triangular = partial(jax.scipy.linalg.solve_triangular, norm.factor, lower=True)
    rotated = triangular(z.reshape(len(z), -1).T).T
    found = _smooth(2.0, rotated, LpNorm(2.0), tol, num_steps)
    return found._replace(w=triangular(found.w, trans="T").reshape(z.shape[1:]))


def _fourier(z: Array, norm: Norm, tol: float, num_steps: int) -> Solution:
    assert isinstance(norm, FourierNorm)
    d = z.shape[1]
    basis = jnp.asarray(_balls.fourier_basis(d), z.dtype)
    rotated, half = z @ basis.T, d // 2 + 1
    if norm.p == 1:
        barrier, start = _balls.fourier_sum(d), jnp.zeros(d + half, z.dtype).at[d:].set(1 / (2 * d))
    else:
        barrier, start = _balls.fourier_largest(d), jnp.zeros(d, z.dtype)
    return _barred(barrier, start, rotated, lambda c: c[:d] @ basis, z, norm, tol, num_steps)


def _of_singular_values(z: Array, norm: Norm, tol: float, num_steps: int) -> Solution:
    shape = (z.shape[1], z.shape[2])
    size = shape[0] * shape[1]
    if isinstance(norm, SpectralNorm):
        barrier, start = _balls.spectral(shape), jnp.zeros(size, z.dtype)
    else:
        barrier, start = _balls.nuclear(shape), _balls.nuclear_start(shape, z.dtype)
    return _barred(barrier, start, z.reshape(len(z), -1), lambda c: c[:size].reshape(shape), z, norm, tol, num_steps)


def _barred(
    barrier: Callable[[Array], Array],
    start: Array,
    coordinates: Array,
    direction: Callable[[Array], Array],
    z: Array,
    norm: Norm,
    tol: float,
    num_steps: int,
) -> Solution:
    """By the barrier of a ball, where w has further coordinates of which the examples know nothing."""
    padded = jnp.pad(coordinates, ((0, 0), (0, len(start) - coordinates.shape[1])))
    found = _interior.solve(_balls.barred(barrier), padded, start, _interval(norm, z, direction), tol, num_steps)
    return found._replace(w=direction(found.w))


def _interval(norm: Norm, z: Array, direction: Callable[[Array], Array]) -> _interior.Interval:
    """Bounds from coordinates and multipliers that are not normalized."""

    def interval(coordinates: Array, multipliers: Array) -> tuple[Array, Array]:
        w = direction(coordinates)
        length = norm.value(w)
        shaped = z.reshape(len(z), *w.shape)
        return margin_interval(w / jnp.where(length > 0, length, 1), multipliers / multipliers.sum(), shaped, norm)

    return interval


def _any_norm(z: Array, norm: Norm, tol: float, num_steps: int) -> Solution:
    """As if the norm were smooth; where that does not reach the tolerance, conditional gradients go on from there.

    Their steps of 2 / (t + 2) go towards the best response to the softmax of the margins, which gets sharper like sqrt t.
    """
    shape = z.shape[1:]
    flat = z.reshape(len(z), -1)
    start = -norm.steepest(z.mean(axis=0)).ravel()
    interval = _interval(norm, flat, lambda w: w.reshape(shape))
    found = _interior.solve(_balls.smooth(norm, shape), flat, start, interval, tol, min(num_steps, INTERIOR_STEPS))
    lower, upper = interval(found.w, found.multipliers)
    reached = Best(lower, found.w.reshape(shape), upper, found.multipliers / found.multipliers.sum())

    def unfinished(carry: tuple[Array, Best, Array]) -> Array:
        _, best, count = carry
        return (count < num_steps) & best.unfinished(tol)

    def step(carry: tuple[Array, Best, Array]) -> tuple[Array, Best, Array]:
        w, best, count = carry
        sharpness = 2 * jnp.sqrt(jnp.asarray(count + 1, z.dtype) * math.log(len(z) + 1))
        multipliers = jax.nn.softmax(-sharpness * jnp.tensordot(z, w, w.ndim))
        pull = jnp.tensordot(multipliers, z, 1)
        response = norm.steepest(-pull)
        w = w + 2 / (count + 2) * (response / jnp.maximum(norm.value(response), jnp.finfo(z.dtype).tiny) - w)
        length = jnp.maximum(norm.value(w), jnp.finfo(z.dtype).tiny)
        return w, best.with_upper(norm.dual(pull), multipliers).with_lower(jnp.tensordot(z, w, w.ndim).min() / length, w), count + 1

    _, best, count = jax.lax.while_loop(unfinished, step, (jnp.zeros(shape, z.dtype), reached, found.num_steps))
    return Solution(best.w, best.multipliers, count)
