"""Potentials of matrices by their eigenvalues or singular values, also where these meet."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from jaxgen import implicit_bias as ib

SYMMETRIC = {
    "apart": [0.3, 0.7, 1.1, 5.0],
    "repeated": [1.0, 1.0, 2.0, 2.0],
    "identity": [1.0, 1.0, 1.0, 1.0],
    "close": [1.0, 1.00001, 1.00002, 1.1],
    "over decades": [1e-4, 1e-2, 1.0, 1e2],
}
RECTANGULAR = {"apart": [0.3, 1.0, 4.0], "repeated": [1.0, 1.0, 2.0], "of rank one": [0.0, 0.0, 1.0], "over decades": [1e-2, 1e2, 1e2]}


def _basis(key, dim):
    return np.linalg.qr(np.asarray(jax.random.normal(key, (dim, dim)), float))[0]


def _symmetric(key, eigenvalues):
    basis = _basis(key, len(eigenvalues))
    w = (basis * np.array(eigenvalues)) @ basis.T
    v, u = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (2, 4, 4)), float)
    return [jnp.asarray((a + a.T) / 2) for a in (w, v, u)]


def _rectangular(key, singular_values):
    left, right = _basis(key, 3), _basis(jax.random.fold_in(key, 2), 4)
    v, u = jax.random.normal(jax.random.fold_in(key, 1), (2, 3, 4))
    return jnp.asarray((left * np.array(singular_values)) @ right[:3]), v, u


class Maps(NamedTuple):
    """Maps at W and derivatives along V and U."""

    mirror: jax.Array
    inverse: jax.Array
    fenchel: jax.Array
    value_gradient: jax.Array
    conjugate_gradient: jax.Array
    mirror_derivative: jax.Array
    hessian: jax.Array
    inverse_derivative: jax.Array
    inverse_hessian: jax.Array
    recovered: jax.Array
    second: jax.Array
    second_backward: jax.Array


@jax.jit
def _maps(potential, w, v, u):
    z = potential.mirror(w)
    value, conjugate = potential.value(w), potential.conjugate(z)
    pairing = jnp.vdot(z, w)

    inverse_hessian = potential.inverse_hessian_vector(w, v)

    def along(w):
        return jnp.vdot(potential.mirror(w), v)

    return Maps(
        z,
        potential.inverse_mirror(z),
        (value + conjugate - pairing) / (abs(value) + abs(conjugate) + abs(pairing)),
        jax.grad(potential.value)(w),
        jax.grad(potential.conjugate)(z),
        jax.jvp(potential.mirror, (w,), (v,))[1],
        potential.hessian_vector(w, v),
        jax.jvp(potential.inverse_mirror, (z,), (v,))[1],
        inverse_hessian,
        potential.hessian_vector(w, inverse_hessian),
        jax.jvp(lambda w: potential.hessian_vector(w, v), (w,), (u,))[1],
        jax.grad(lambda w: jnp.vdot(jax.grad(along)(w), u))(w),
    )


def _agree(left, right, epsilons):
    scale = jnp.abs(right).max()
    np.testing.assert_allclose(left, right, rtol=0, atol=epsilons * float(jnp.finfo(right.dtype).eps * scale))


def _check(potential, matrices, condition):
    """Tolerances: machine epsilons of products of 4 x 4 matrices and an eigendecomposition, times the condition number."""
    maps, (w, v, _) = _maps(potential, *matrices), matrices
    dual = 1 + float(jnp.abs(maps.mirror).max())
    _agree(maps.inverse, w, 30 * dual)
    assert abs(maps.fenchel) <= 10 * jnp.finfo(w.dtype).eps
    _agree(maps.value_gradient, maps.mirror, 40)
    _agree(maps.conjugate_gradient, w, 30 * dual)
    _agree(maps.mirror_derivative, maps.hessian, 40)
    _agree(maps.inverse_derivative, maps.inverse_hessian, 40 * dual)
    _agree(maps.recovered, v, 40 * condition)
    # The third derivative of the value is symmetric in its three directions, forward and backward.
    _agree(maps.second_backward, maps.second, 100 * condition)


@pytest.mark.heavy
@pytest.mark.parametrize("name", SYMMETRIC)
def test_spectral_entropy_satisfies_its_identities(name, key):
    _check(ib.spectral_entropy(), _symmetric(key, SYMMETRIC[name]), max(SYMMETRIC[name]) / min(SYMMETRIC[name]))


@pytest.mark.heavy
@pytest.mark.parametrize("name", RECTANGULAR)
def test_spectral_hyperbolic_entropy_satisfies_its_identities(name, key):
    _check(ib.spectral_hyperbolic_entropy(0.7), _rectangular(key, RECTANGULAR[name]), 1 + max(RECTANGULAR[name]) / 0.7)


@jax.jit
def _products(potential, w, v):
    return potential.hessian_vector(w, v), potential.inverse_hessian_vector(w, v)


@jax.jit
def _derivatives(potential, w, v, u):
    return jax.jvp(lambda w: _products(potential, w, v), (w,), (u,))[1]


@pytest.mark.float64
@pytest.mark.parametrize("name", ["repeated", "close"])
def test_second_derivatives_are_those_of_differences(name, key):
    step = 1e-5
    rectangular = _rectangular(key, RECTANGULAR.get(name, [1.0, 1.00001, 2.0]))
    for potential, (w, v, u) in ((ib.spectral_entropy(), _symmetric(key, SYMMETRIC[name])), (ib.spectral_hyperbolic_entropy(0.7), rectangular)):
        above, below = (_products(potential, w + sign * step * u, v) for sign in (1, -1))
        for upper, lower, derivative in zip(above, below, _derivatives(potential, w, v, u), strict=True):
            difference = (upper - lower) / (2 * step)
            np.testing.assert_allclose(derivative, difference, atol=1e-7 * float(jnp.abs(difference).max()))


@pytest.mark.float64
def test_spectral_entropy_is_that_of_matrix_logarithms_and_exponentials(key):
    w, v, _ = _symmetric(key, SYMMETRIC["apart"])
    maps, logarithm = _maps(ib.spectral_entropy(), w, v, v), linalg.logm(np.asarray(w))
    np.testing.assert_allclose(maps.mirror, logarithm, atol=1e-12)
    np.testing.assert_allclose(ib.spectral_entropy().value(w), np.trace(w @ logarithm - w), rtol=1e-12)
    np.testing.assert_allclose(maps.inverse_hessian, linalg.expm_frechet(logarithm, np.asarray(v), compute_expm=False), atol=1e-11)


@pytest.mark.heavy
def test_diagonal_matrices_have_the_potentials_of_vectors(rtol):
    w = jnp.array([0.2, 1.0, 3.0])
    for spectral, vector, factor in (
        (ib.spectral_entropy(), ib.entropy(), 1.0),
        (ib.spectral_hyperbolic_entropy(0.5), ib.hyperbolic_entropy(products=0.25), 4.0),
    ):
        value, mirror = jax.jit(lambda potential: (potential.value(jnp.diag(w)), potential.mirror(jnp.diag(w))))(spectral)
        np.testing.assert_allclose(value, factor * jax.jit(vector.value)(w), rtol=rtol)
        np.testing.assert_allclose(mirror, factor * jnp.diag(jax.jit(vector.mirror)(w)), rtol=rtol, atol=rtol)


def test_spectral_hyperbolic_entropy_at_zero(key):
    zero, v = jnp.zeros((3, 4)), jax.random.normal(key, (3, 4))
    maps = _maps(ib.spectral_hyperbolic_entropy(0.5), zero, v, v)
    assert not maps.mirror.any()
    assert not maps.second.any()
    _agree(maps.hessian, 2 * v, 10)
    _agree(maps.inverse_hessian, v / 2, 10)


@pytest.mark.any_precision
def test_spectral_potentials_are_mapped_over(key):
    betas, w = jnp.array([0.1, 1.0, 10.0]), jax.random.normal(key, (3, 2))
    value = jax.jit(lambda potential, w: potential.value(w))
    loop = jnp.stack([value(ib.spectral_hyperbolic_entropy(beta), w) for beta in betas])
    np.testing.assert_allclose(jax.vmap(value, in_axes=(0, None))(jax.vmap(ib.spectral_hyperbolic_entropy)(betas), w), loop, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ib.spectral_entropy().mirror(jnp.array([[1.0, 2.0], [0.0, 1.0]])), "w must be symmetric"),
        (lambda: ib.spectral_entropy().mirror(jnp.ones((2, 3))), "w must be a square matrix"),
        (lambda: ib.spectral_entropy().mirror(jnp.diag(jnp.array([1.0, 0.0]))), "w must be positive definite"),
        (lambda: ib.spectral_entropy().hessian_vector(jnp.diag(jnp.array([1.0, -1.0])), jnp.eye(2)), "w must be positive definite"),
        (lambda: ib.spectral_entropy().value(jnp.diag(jnp.array([1.0, -1.0]))), "w must be positive semidefinite"),
        (lambda: ib.spectral_entropy().inverse_mirror(jnp.array([[0.0, 1.0], [0.0, 0.0]])), "z must be symmetric"),
        (lambda: ib.spectral_hyperbolic_entropy(0.0), "beta must be positive"),
        (lambda: ib.spectral_hyperbolic_entropy(1.0).mirror(jnp.ones(3)), "w must be a matrix"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.any_precision
def test_more_derivatives_than_there_are_is_refused():
    potential, w = ib.spectral_entropy(), jnp.diag(jnp.array([1.0, 2.0]))
    second = jax.jacfwd(jax.jacfwd(potential.mirror))
    assert jnp.isfinite(jax.jit(second)(w)).all()
    with pytest.raises(ValueError, match="up to the third"):
        jax.eval_shape(jax.jacfwd(second), w)


def test_closures_and_domains():
    singular = jnp.diag(jnp.array([1.0, 0.0]))
    assert ib.spectral_entropy().value(singular) == -1
    assert not bool(ib.spectral_entropy().domain(singular))
    assert bool(ib.spectral_entropy().domain(jnp.eye(2)))
    assert bool(ib.spectral_hyperbolic_entropy(1.0).domain(singular))
    assert jnp.isnan(jax.jit(ib.spectral_entropy().mirror)(singular)).all()
