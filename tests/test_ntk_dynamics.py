"""Alignment of labels with a kernel, drift of kernels along training, lazy and antisymmetric nets (NTK-5, 6, 8, 9, 17)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import models, ntk


@pytest.fixture
def kernel(key):
    """Eigenvalues 5, 2, 0.5, 0 in a random basis."""
    basis = jnp.linalg.qr(jax.random.normal(key, (4, 4)))[0]
    return (basis * jnp.array([5.0, 2.0, 0.5, 0.0])) @ basis.T, basis


def test_labels_in_the_eigenbasis(kernel, rtol):
    matrix, basis = kernel
    y = basis @ jnp.array([1.0, 2.0, 3.0, 4.0])
    found = ntk.eigen_alignment(matrix, y)
    np.testing.assert_allclose(found.eigenvalues, [5.0, 2.0, 0.5, 0.0], atol=20 * rtol)
    np.testing.assert_allclose(jnp.abs(found.projections), [1.0, 2.0, 3.0, 4.0], atol=50 * rtol)
    np.testing.assert_allclose(found.cumulative_energy, np.array([1.0, 5.0, 14.0, 30.0]) / 30, atol=20 * rtol)


def test_the_residual_decays_mode_by_mode(kernel, rtol):
    matrix, basis = kernel
    y, times = basis @ jnp.array([1.0, 2.0, 3.0, 0.0]) + 1.0, jnp.array([[0.0, 0.5], [2.0, 100.0]])
    found = ntk.predicted_residual(matrix, y, times, 1.0, loss_scale=0.5)
    decays = np.exp(-0.5 * np.asarray(times)[..., None] * np.array([5.0, 2.0, 0.5]))
    expected = np.linalg.norm(decays * np.array([1.0, 2.0, 3.0]), axis=-1)
    np.testing.assert_allclose(found, expected, rtol=100 * rtol, atol=10 * rtol)


def test_time_to_error_inverts_the_residual(kernel, rtol):
    matrix, basis = kernel
    y = basis @ jnp.array([1.0, 2.0, 3.0, 0.5])
    errors = jnp.array([10.0, 2.0, 0.6, 0.4])
    times = ntk.time_to_error(matrix, y, errors, loss_scale=2.0)
    assert times[0] == 0
    assert times[3] == np.inf
    np.testing.assert_allclose(ntk.predicted_residual(matrix, y, times[1:3], loss_scale=2.0), errors[1:3], rtol=100 * rtol)


def test_alignment_with_the_target(kernel, rtol):
    matrix, basis = kernel
    y = jnp.array([1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(ntk.kernel_target_alignment(3 * jnp.outer(y, y), y), 1.0, rtol=10 * rtol)
    np.testing.assert_allclose(ntk.kernel_target_alignment(matrix, basis[:, 1]), 2 / math.sqrt(29.25), rtol=50 * rtol)


def test_the_smallest_eigenvalue(kernel, rtol):
    matrix, _ = kernel
    assert ntk.min_eigenvalue(matrix) == 0
    np.testing.assert_allclose(ntk.min_eigenvalue(matrix + 0.1 * jnp.eye(4)), 0.1, rtol=200 * rtol)


def test_inputs_on_one_line_are_found(key):
    x = jax.random.normal(key, (6, 5))
    assert all(len(pairs) == 0 for pairs in ntk.check_inputs(x))
    parallel = jnp.concatenate([x, 2 * x[:1], -x[2:3], x[4:5]])
    with pytest.warns(match=r"2 pairs of inputs have the same direction \(0 and 6, 4 and 8\)"), pytest.warns(match="1 pairs of inputs have opp"):
        found = ntk.check_inputs(parallel)
    np.testing.assert_array_equal(found.duplicates, [[0, 6], [4, 8]])
    np.testing.assert_array_equal(found.antipodal, [[2, 7]])


@pytest.mark.parametrize(("pairs", "nullity"), [(2, 0), (3, 0), (4, 1), (6, 3)])
@pytest.mark.float64
def test_opposite_pairs_make_the_first_layer_kernel_singular_only_in_numbers(key, pairs, nullity):
    x = jax.random.normal(key, (pairs, 3))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(ntk.infinite.two_layer(jnp.concatenate([x, -x])))
    assert np.sum(eigenvalues < 1e-12) == nullity


@pytest.mark.heavy
def test_drift_of_kernels_and_of_parameters(key, rtol):
    path = jax.random.normal(key, (3, 2, 5))
    kernels = jnp.einsum("tnp,tmp->tnm", path, path)
    of_kernels, of_parameters = ntk.kernel_drift(kernels), ntk.kernel_drift({"w": path}, lambda tree: tree["w"] @ tree["w"].T)
    change = np.float64(kernels) - np.float64(kernels[0])
    expected = [np.linalg.norm(c, 2) for c in change] / np.linalg.norm(np.float64(kernels[0]), 2)
    for found in (of_kernels, of_parameters):
        np.testing.assert_allclose(found.operator, expected, rtol=20 * rtol, atol=rtol)
    absolute = ntk.kernel_drift(kernels, relative=False)
    np.testing.assert_allclose(absolute.frobenius, np.linalg.norm(change, axis=(1, 2)), rtol=20 * rtol)
    full = kernels[..., None, None] * jnp.eye(3)
    np.testing.assert_allclose(ntk.kernel_drift(full).operator, of_kernels.operator, rtol=50 * rtol, atol=rtol)


def test_the_neuron_that_moved_most(rtol):
    weights = jnp.array([[[0.0, 0.0], [1.0, 1.0]], [[3.0, 4.0], [1.0, 2.0]]])
    np.testing.assert_allclose(ntk.neuron_movement(weights), [0.0, 5.0], rtol=rtol)


def test_widths_are_where_bounds_reach_the_error(rtol):
    assert [round(float(ntk.concentration_bound(6, m, 0.1)), 2) for m in (64, 256, 1024, 4096)] == [2.72, 1.36, 0.68, 0.34]
    np.testing.assert_allclose(ntk.concentration_bound(6, ntk.concentration_width(6, 0.2, 0.1), 0.1), 0.2, rtol=10 * rtol)
    np.testing.assert_allclose(ntk.stability_bound(6, 5.0, ntk.stability_width(6, 5.0, 0.3, 2.0), 2.0).kernel, 0.3, rtol=10 * rtol)
    found = ntk.stability_bound(3, 2.0, 4, 0.5)
    assert [float(part) for part in found] == [1.5, 3.0, 9.0]


def _jacobian(apply_fn, params, x):
    vector, restore = ravel_pytree(params)
    return jax.jacrev(lambda v: apply_fn(restore(v), x).ravel())(vector)


@pytest.mark.any_precision
def test_an_antisymmetric_net_has_the_kernel_and_starts_at_zero(key, rtol):
    net, x = models.mlp((8, 1), activation="tanh"), jax.random.normal(key, (4, 3))
    pair = ntk.antisymmetrize(net.init, net.apply)
    params = pair.init(key, x)
    np.testing.assert_array_equal(pair.apply(params, x), 0)
    single, double = _jacobian(net.apply, net.init(key, x), x), _jacobian(pair.apply, params, x)
    np.testing.assert_allclose(double @ double.T, single @ single.T, rtol=50 * rtol, atol=50 * rtol)


@pytest.mark.any_precision
def test_a_lazy_net_starts_at_zero_with_its_kernel_scaled(key, rtol):
    net, x = models.mlp((8, 1), activation="tanh"), jax.random.normal(key, (4, 3))
    params = net.init(key, x)
    lazy = ntk.lazy(net.apply, params, 10.0)
    np.testing.assert_array_equal(lazy(params, x), 0)
    np.testing.assert_allclose(_jacobian(lazy, params, x), 10 * _jacobian(net.apply, params, x), rtol=20 * rtol, atol=20 * rtol)


@pytest.mark.any_precision
def test_alignment_and_drift_under_jit_and_vmap(kernel, rtol):
    matrix, basis = kernel
    y = basis @ jnp.array([1.0, 2.0, 3.0, 0.5])
    functions = (
        lambda y: ntk.eigen_alignment(matrix, y).cumulative_energy,
        lambda y: ntk.time_to_error(matrix, y, 1.0),
        lambda y: ntk.kernel_target_alignment(matrix, y),
    )
    for function in functions:
        np.testing.assert_allclose(jax.jit(jax.vmap(function))(jnp.stack([y, y]))[1], function(y), rtol=100 * rtol)
    assert np.isnan(jax.jit(ntk.concentration_bound)(6, 64, 2.0))


K = np.eye(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ntk.eigen_alignment(np.triu(np.ones((3, 3))), np.ones(3)), "kernel must be symmetric"),
        (lambda: ntk.eigen_alignment(K, np.ones(2)), r"y must have shape \(3,\)"),
        (lambda: ntk.predicted_residual(K, np.ones(3), 1.0, np.ones(2)), r"u0 must be a scalar or have shape \(3,\)"),
        (lambda: ntk.predicted_residual(K, np.ones(3), -1.0), "t must be at least 0"),
        (lambda: ntk.time_to_error(K, np.ones(3), 0.0), "error must be positive"),
        (lambda: ntk.kernel_target_alignment(K, np.zeros(3)), "must not vanish"),
        (lambda: ntk.kernel_target_alignment(np.ones((2, 3)), np.ones(3)), "kernel must have shape"),
        (lambda: ntk.check_inputs(np.array([[0.0, 0.0], [1.0, 0.0]])), "row 0 is zero"),
        (lambda: ntk.check_inputs(np.ones((2, 2)), tolerance=-1.0), "tolerance must be at least 0"),
        (lambda: ntk.kernel_drift(np.ones((2, 3, 4))), "path must have shape"),
        (lambda: ntk.neuron_movement(np.ones((3, 2))), "weights must have shape"),
        (lambda: ntk.stability_bound(3, -1.0, 10, 1.0), "t must be at least 0"),
        (lambda: ntk.stability_width(3, 1.0, 0.0, 1.0), "error must be positive"),
        (lambda: ntk.concentration_bound(3, 0, 0.1), "width must be at least 1"),
        (lambda: ntk.concentration_width(3, 0.1, 1.0), "delta must be in"),
        (lambda: ntk.lazy(lambda w, x: x @ w, np.ones(2), 0.0), "scale must be positive"),
    ],
)
@pytest.mark.any_precision
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
