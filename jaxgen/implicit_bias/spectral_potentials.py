"""Potentials of matrices that depend on eigenvalues or singular values, with derivatives by divided differences."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, require
from jaxgen._core.matrices import eigenvalue_rounding, is_symmetric
from jaxgen.implicit_bias.hyperbolic import asinh_difference, hyperbolic_entropy
from jaxgen.implicit_bias.potentials import Potential, entropy

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


def spectral_entropy() -> Potential:
    """R(W) = tr(W log W - W) on positive definite matrices, with grad R = log W and inverse exp Z.

    A function of the symmetric part of its argument. On general matrices with singular values in place of eigenvalues it would
    not be convex: see `spectral_hyperbolic_entropy`. Each map costs one or two eigendecompositions, O(d^3).

    Representable: cond(W) below the reciprocal of d machine epsilons, Z with eigenvalues within the logarithms of the smallest
    and largest normal numbers. log W and the Hessian have errors of cond(W) machine epsilons, exp Z of 1 + ||Z||. Derivatives
    are by divided differences, finite at repeated eigenvalues, to the third of the value. The value is that of the closure at
    singular positive semidefinite matrices.

    Returns:
        A potential on symmetric matrices. Its maps raise `ValueError` at matrices that are not symmetric, or not positive
        definite up to rounding (NaN results when traced).

    Source: spec BIAS-5, BIAS-22.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> potential = implicit_bias.spectral_entropy()
        >>> w = jnp.array([[2.0, 1.0], [1.0, 2.0]])
        >>> bool(jnp.allclose(potential.inverse_mirror(potential.mirror(w)), w, atol=1e-5))
        True
    """
    return Potential(
        Partial(_entropy_value),
        Partial(_entropy_mirror),
        Partial(_entropy_inverse),
        Partial(_entropy_hessian),
        Partial(_is_positive_definite),
        Partial(_entropy_inverse_hessian),
        Partial(_entropy_conjugate),
    )


def _symmetric(name: str, w: ArrayLike) -> Array:
    array = floating(name, w)
    require(array.ndim == 2 and array.shape[0] == array.shape[1], f"{name} must be a square matrix; got shape {array.shape}")
    return checked(array, (is_symmetric(array) | ~jnp.all(jnp.isfinite(array)), f"{name} must be symmetric"))


def _where_definite(result: Array, *arguments: Array) -> Array:
    """`result`, which is NaN where a finite first argument is not positive definite."""
    finite = functools.reduce(jnp.logical_and, (jnp.all(jnp.isfinite(argument)) for argument in arguments))
    return checked(result, (~jnp.any(jnp.isnan(result)) | ~finite, "w must be positive definite, where the potential is differentiable"))


def _is_positive_definite(w: Array) -> Array:
    w = floating("w", w)
    values = jnp.linalg.eigvalsh(w)
    return is_symmetric(w) & (values[0] > eigenvalue_rounding(values))


@jax.custom_jvp
def _entropy_of_spectrum(w: Array) -> Array:
    values = jnp.linalg.eigvalsh(w)
    return entropy().value(jnp.where(values >= -eigenvalue_rounding(values), jnp.maximum(values, 0.0), jnp.nan))


@_entropy_of_spectrum.defjvp
def _entropy_of_spectrum_tangent(primals, tangents):
    return _entropy_of_spectrum(*primals), jnp.vdot(spectral_function(LOG, *primals), *tangents)


def _entropy_value(w: Array) -> Array:
    w = _symmetric("w", w)
    value = _entropy_of_spectrum(w)
    return checked(value, (jnp.isfinite(value) | ~jnp.all(jnp.isfinite(w)), "w must be positive semidefinite"))


def _entropy_mirror(w: Array) -> Array:
    w = _symmetric("w", w)
    return _where_definite(spectral_function(LOG, w), w)


def _entropy_inverse(z: Array) -> Array:
    return spectral_function(EXP, _symmetric("z", z))


def _entropy_hessian(w: Array, v: Array) -> Array:
    w = _symmetric("w", w)
    return _where_definite(derivative(LOG, w, v), w, v)


def _entropy_inverse_hessian(w: Array, v: Array) -> Array:
    w = _symmetric("w", w)
    return _where_definite(inverse_derivative(LOG, w, v), w, v)


@jax.custom_jvp
def _trace_of_exponential(z: Array) -> Array:
    return jnp.sum(jnp.exp(jnp.linalg.eigvalsh(z)))


@_trace_of_exponential.defjvp
def _trace_of_exponential_tangent(primals, tangents):
    return _trace_of_exponential(*primals), jnp.vdot(spectral_function(EXP, *primals), *tangents)


def _entropy_conjugate(z: Array) -> Array:
    return _trace_of_exponential(_symmetric("z", z))


def spectral_hyperbolic_entropy(beta: Float[ArrayLike, ""]) -> Potential:
    r"""R(W) = sum_r [s_r asinh(s_r / b) - sqrt(s_r^2 + b^2) + b] of the singular values of any matrix W = U diag(s) V^T.

    grad R = U asinh(s / b) V^T, its inverse b U sinh(s) V^T. Convex on all matrices, unlike the entropy of singular values.

    Representable: s / b between the smallest and the root of the largest normal number, Z with singular values up to the
    logarithm of the largest. Errors are machine epsilons of the largest singular value over b, and of 1 + ||Z|| for the inverse.
    Derivatives are by divided differences, finite at repeated and zero singular values, to the third of the value. Values cost a
    singular value decomposition, O(m k min(m, k)), derivatives an eigendecomposition, O((m + k)^3).

    Args:
        beta: b > 0.

    Returns:
        A potential on (m, k) matrices.

    Raises:
        ValueError: if `beta` is not positive (NaN results when traced); from its maps, if an argument is no matrix.

    Source: Ghai, Hazan & Singer 2020; spec BIAS-5.
    """
    beta = floating("beta", beta)
    beta = checked(beta, ((beta > 0) & jnp.isfinite(beta), "beta must be positive and finite"))
    return Potential(
        Partial(_hyperbolic_value, beta),
        Partial(_hyperbolic_mirror, beta),
        Partial(_hyperbolic_inverse, beta),
        Partial(_hyperbolic_hessian, beta),
        Partial(_is_finite, beta),
        Partial(_hyperbolic_inverse_hessian, beta),
        Partial(_hyperbolic_conjugate, beta),
    )


def _matrix(name: str, w: ArrayLike) -> Array:
    array = floating(name, w)
    require(array.ndim == 2, f"{name} must be a matrix; got shape {array.shape}")
    return array


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
    return singular_value_function(function, w), _off_diagonal(_expanded, function, w, dw)


def _off_diagonal(operation: Callable[..., Array], function: SpectralFunction, w: Array, v: Array) -> Array:
    """`derivative`, `inverse_derivative` or `_expanded` of an odd function of singular values."""
    return operation(function, _dilation(w), _dilation(v))[: w.shape[0], w.shape[0] :]


@jax.custom_jvp
def _hyperbolic_of_spectrum(w: Array) -> Array:
    return 4 * hyperbolic_entropy(products=0.5).value(jnp.linalg.svd(w, compute_uv=False))


@_hyperbolic_of_spectrum.defjvp
def _hyperbolic_of_spectrum_tangent(primals, tangents):
    return _hyperbolic_of_spectrum(*primals), jnp.vdot(singular_value_function(ARCSINH, *primals), *tangents)


@jax.custom_jvp
def _hyperbolic_cosine_excess(z: Array) -> Array:
    """sum_r cosh(s_r) - 1."""
    return 2 * jnp.sum(jnp.sinh(jnp.linalg.svd(z, compute_uv=False) / 2) ** 2)


@_hyperbolic_cosine_excess.defjvp
def _hyperbolic_cosine_excess_tangent(primals, tangents):
    return _hyperbolic_cosine_excess(*primals), jnp.vdot(singular_value_function(SINH, *primals), *tangents)


def _hyperbolic_value(beta: Array, w: Array) -> Array:
    return beta * _hyperbolic_of_spectrum(_matrix("w", w) / beta)


def _hyperbolic_mirror(beta: Array, w: Array) -> Array:
    return singular_value_function(ARCSINH, _matrix("w", w) / beta)


def _hyperbolic_inverse(beta: Array, z: Array) -> Array:
    return beta * singular_value_function(SINH, _matrix("z", z))


def _hyperbolic_hessian(beta: Array, w: Array, v: Array) -> Array:
    return _off_diagonal(derivative, ARCSINH, _matrix("w", w) / beta, v) / beta


def _hyperbolic_inverse_hessian(beta: Array, w: Array, v: Array) -> Array:
    return beta * _off_diagonal(inverse_derivative, ARCSINH, _matrix("w", w) / beta, v)


def _hyperbolic_conjugate(beta: Array, z: Array) -> Array:
    return beta * _hyperbolic_cosine_excess(_matrix("z", z))


def _is_finite(beta: Array, w: Array) -> Array:
    return jnp.isfinite(w).all()
