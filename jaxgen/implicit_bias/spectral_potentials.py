"""Potentials of matrices that depend on eigenvalues or singular values."""

import functools

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, require
from jaxgen._core.matrices import eigenvalue_rounding, is_symmetric
from jaxgen.implicit_bias._potential import Potential
from jaxgen.implicit_bias._spectral_functions import (
    ARCSINH,
    EXP,
    LOG,
    SINH,
    derivative,
    inverse_derivative,
    off_diagonal,
    singular_value_function,
    spectral_function,
)
from jaxgen.implicit_bias.hyperbolic import hyperbolic_entropy
from jaxgen.implicit_bias.potentials import entropy


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
    return off_diagonal(derivative, ARCSINH, _matrix("w", w) / beta, v) / beta


def _hyperbolic_inverse_hessian(beta: Array, w: Array, v: Array) -> Array:
    return beta * off_diagonal(inverse_derivative, ARCSINH, _matrix("w", w) / beta, v)


def _hyperbolic_conjugate(beta: Array, z: Array) -> Array:
    return beta * _hyperbolic_cosine_excess(_matrix("z", z))


def _is_finite(beta: Array, w: Array) -> Array:
    return jnp.isfinite(w).all()
