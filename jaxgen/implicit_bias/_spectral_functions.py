"""Functions of symmetric matrices by eigenvalues, of any by singular values, with derivatives by divided differences."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from jaxgen._core.matrices import eigenvalue_rounding
from jaxgen.implicit_bias.hyperbolic import asinh_difference

HIGHEST = jax.lax.Precision.HIGHEST
NUM_NODES = 3


class SpectralFunction(NamedTuple):
    """A function f of the eigenvalues of symmetric matrices.

    Attributes:
        admit: eigenvalues of one matrix -> the same, NaN where f is not defined.
        value: f.
        difference: f[a, b] = (f(a) - f(b)) / (a - b), also where a and b are close or equal.
        second_derivative: f''.
        scale: of the least of three eigenvalues in size, distance to the next singularity of f.
    """

    admit: Callable[[Array], Array]
    value: Callable[[Array], Array]
    difference: Callable[[Array, Array], Array]
    second_derivative: Callable[[Array], Array]
    scale: Callable[[Array], Array]

    def eigh(self, w: Array) -> tuple[Array, Array]:
        """Eigenvalues, as far as f is defined, and eigenvectors of the symmetric part of a matrix."""
        values, vectors = jnp.linalg.eigh(w)
        return self.admit(values), vectors

    def second_difference(self, a: Array, b: Array, c: Array) -> Array:
        """f[a, b, c], by differences of f[., .], or by quadrature of its integral form where all three are close."""
        low, middle, high = jnp.sort(jnp.stack(jnp.broadcast_arrays(a, b, c)), axis=0)
        near = high - low <= 0.02 * self.scale(jnp.minimum(jnp.abs(low), jnp.abs(high)))
        far = (self.difference(high, middle) - self.difference(middle, low)) / jnp.where(near, 1.0, high - low)
        nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
        nodes, weights = jnp.asarray((nodes + 1) / 2, low.dtype), jnp.asarray(weights / 2, low.dtype)
        low, first, second = (array[..., None, None] for array in (low, middle - low, high - middle))
        values = self.second_derivative(low + nodes[:, None] * (first + nodes * second))
        return jnp.where(near, jnp.einsum("...ij,i,j->...", values, nodes * weights, weights), far)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def spectral_function(function: SpectralFunction, w: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """f(W) = Q f(L) Q^T of the symmetric part W = Q L Q^T."""
    values, vectors = function.eigh(w)
    return _product(vectors * function.value(values), vectors.T)


@spectral_function.defjvp
def _spectral_function_tangent(function, primals, tangents):
    return spectral_function(function, *primals), _expanded(function, *primals, *tangents)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def derivative(function: SpectralFunction, w: Float[Array, "d d"], v: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Df(W)[V] = Q (f[L, L] * Q^T V Q) Q^T (Daleckii & Krein)."""
    values, vectors = function.eigh(w)
    return _from_basis(vectors, function.difference(values[:, None], values) * _in_basis(vectors, v))


@derivative.defjvp
def _derivative_tangent(function, primals, tangents):
    return jax.jvp(functools.partial(_expanded, function), primals, tangents)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def inverse_derivative(function: SpectralFunction, w: Float[Array, "d d"], v: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The symmetric U with Df(W)[U] = V."""
    values, vectors = function.eigh(w)
    return _from_basis(vectors, _in_basis(vectors, v) / function.difference(values[:, None], values))


@inverse_derivative.defjvp
def _inverse_derivative_tangent(function, primals, tangents):
    return jax.jvp(functools.partial(_expanded, function, inverse=True), primals, tangents)


def _expanded(function: SpectralFunction, w: Array, v: Array, *, inverse: bool = False) -> Array:
    """Df(W)[V], or its inverse, as its linear expansion in W about W itself.

    Eigenvectors have no derivative where eigenvalues meet, the sum Df(W_0)[V] + D^2 f(W_0)[W - W_0, V] with W_0 held fixed at W
    has one in every mode of differentiation. O(d^3) memory.
    """
    base = stop_gradient(w)
    values, vectors = function.eigh(base)
    firsts = function.difference(values[:, None], values)
    seconds = function.second_difference(values[:, None, None], values[:, None], values)
    vectors, firsts, seconds = _differentiated_once((vectors, firsts, seconds), w)
    step, v = _in_basis(vectors, w - base), _in_basis(vectors, v)

    def second(x):
        return sum(jnp.einsum("ikj,ik,kj->ij", seconds, *pair, precision=HIGHEST) for pair in ((step, x), (x, step)))

    if inverse:
        return _from_basis(vectors, (v - second(v / firsts)) / firsts)
    return _from_basis(vectors, firsts * v + second(v))


@jax.custom_jvp
def _differentiated_once(constants: tuple[Array, ...], w: Array) -> tuple[Array, ...]:
    """`constants`, which depend on w; their first derivative is accounted for elsewhere, a second one is refused."""
    return constants


@_differentiated_once.defjvp
def _differentiated_once_tangent(primals, tangents):
    return _refused(*primals), jax.tree.map(jnp.zeros_like, primals[0])


@jax.custom_jvp
def _refused(constants: tuple[Array, ...], w: Array) -> tuple[Array, ...]:
    return constants


@_refused.defjvp
def _refused_tangent(primals, tangents):
    raise ValueError("w: a spectral potential has derivatives up to the third of its value")


def _product(*matrices: Array) -> Array:
    return functools.reduce(functools.partial(jnp.matmul, precision=HIGHEST), matrices)


def _in_basis(vectors: Array, v: Array) -> Array:
    return _product(vectors.T, (v + v.T) / 2, vectors)


def _from_basis(vectors: Array, v: Array) -> Array:
    return _product(vectors, v, vectors.T)


def _all(values: Array) -> Array:
    return values


def _positive(values: Array) -> Array:
    return jnp.where(values > eigenvalue_rounding(values), values, jnp.nan)


def _log_difference(a: Array, b: Array) -> Array:
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    growth = (high - low) / low
    return jnp.where(growth > 0, jnp.log1p(growth) / jnp.where(growth > 0, growth, 1.0), 1.0) / low


def _exp_difference(a: Array, b: Array) -> Array:
    distance = jnp.abs(a - b)
    return jnp.exp(jnp.maximum(a, b)) * jnp.where(distance > 0, -jnp.expm1(-distance) / jnp.where(distance > 0, distance, 1.0), 1.0)


def _arcsinh_difference(a: Array, b: Array) -> Array:
    apart = a != b
    slopes = asinh_difference(a, b, jnp.ones_like(a)) / jnp.where(apart, a - b, 1.0)
    return jnp.where(apart, slopes, 1 / jnp.hypot(1.0, a))


def _sinh_difference(a: Array, b: Array) -> Array:
    half = (a - b) / 2
    return jnp.cosh((a + b) / 2) * jnp.where(half == 0, 1.0, jnp.sinh(half) / jnp.where(half == 0, 1.0, half))


LOG = SpectralFunction(_positive, jnp.log, _log_difference, lambda x: -1 / x**2, lambda size: size)
EXP = SpectralFunction(_all, jnp.exp, _exp_difference, jnp.exp, jnp.ones_like)
ARCSINH = SpectralFunction(_all, jnp.arcsinh, _arcsinh_difference, lambda x: -x / (1 + x**2) ** 1.5, lambda size: 1 + size)
SINH = SpectralFunction(_all, jnp.sinh, _sinh_difference, jnp.sinh, jnp.ones_like)


def _dilation(w: Float[Array, "m k"]) -> Float[Array, "m+k m+k"]:
    """[[0, W], [W^T, 0]], whose eigenvalues are the singular values with both signs and zeros."""
    rows, columns = w.shape
    return jnp.block([[jnp.zeros((rows, rows), w.dtype), w], [w.T, jnp.zeros((columns, columns), w.dtype)]])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def singular_value_function(function: SpectralFunction, w: Float[Array, "m k"]) -> Float[Array, "m k"]:
    """U f(s) V^T for an odd function f."""
    left, values, right = jnp.linalg.svd(w, full_matrices=False)
    return _product(left * function.value(values), right)


@singular_value_function.defjvp
def _singular_value_function_tangent(function, primals, tangents):
    (w,), (dw,) = primals, tangents
    return singular_value_function(function, w), off_diagonal(_expanded, function, w, dw)


def off_diagonal(operation: Callable[..., Array], function: SpectralFunction, w: Array, v: Array) -> Array:
    """`derivative`, `inverse_derivative` or `_expanded` of an odd function of singular values."""
    return operation(function, _dilation(w), _dilation(v))[: w.shape[0], w.shape[0] :]
