"""Matrix sensing and deep linear nets: flows, balancedness, what a limit minimizes, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxgen import implicit_bias as ib

pytestmark = pytest.mark.float64


@functools.partial(jax.jit, static_argnames="commuting")
def _problem(key, commuting=False):
    return ib.matrix_sensing_problem(key, 4, 3, 2, commuting=commuting)


def test_a_sensing_problem_measures_its_solution(key, rtol):
    for commuting in (False, True):
        problem = _problem(key, commuting=commuting)
        np.testing.assert_allclose(problem.targets, np.einsum("kij,ij->k", problem.measurements, problem.solution), rtol=10 * rtol, atol=10 * rtol)
        np.testing.assert_allclose(problem.measurements, problem.measurements.mT, atol=rtol)
        eigenvalues = np.linalg.eigvalsh(problem.solution)
        assert np.sum(eigenvalues > 1e-3) == 3
        first, second = problem.measurements
        assert bool(jnp.abs(first @ second - second @ first).max() < 100 * rtol) == commuting


@jax.jit
def _end_of_flow(problem, factor, time):
    tolerance = 1e-13 if factor.dtype == jnp.float64 else None
    return ib.factored_flow(problem.measurements, problem.targets, factor, time[None], atol=tolerance)[0]


def test_factored_flow_descends_along_the_gradient(key):
    problem = _problem(key)
    factor = jax.random.normal(key, (4, 4))

    @jax.jit
    @jax.grad
    def gradient(factor):
        return jnp.sum((jnp.einsum("kij,ir,jr->k", problem.measurements, factor, factor) - problem.targets) ** 2)

    moved = (_end_of_flow(problem, factor, jnp.array(1e-3)) - factor) / 1e-3
    mean = gradient(factor + 5e-4 * moved)
    np.testing.assert_allclose(moved, -mean, atol=0.02 * float(jnp.abs(mean).max()))


@pytest.mark.float64
def test_a_commuting_flow_ends_at_the_nearest_solution(key):
    problem, scale = _problem(key, commuting=True), 1e-2
    factor = _end_of_flow(problem, scale**0.5 * jnp.eye(4), jnp.array(50.0))
    residual = jax.jit(ib.spectral_entropy_kkt_residual)(problem.measurements, problem.targets, factor, scale)
    assert residual.feasibility < 1e-7
    assert residual.stationarity < 1e-8


def test_least_trace_is_that_of_a_linear_program(key, precision):
    problem = _problem(key, commuting=True)
    least = jax.jit(ib.min_nuclear_norm_psd_commuting)(problem.measurements, problem.targets)
    tolerance = {"float32": 2e-4, "float64": 1e-7}[precision]
    basis = np.linalg.eigh(np.asarray(problem.measurements[0] + 0.3 * problem.measurements[1], float))[1]
    rows = np.einsum("ir,kij,jr->kr", basis, np.asarray(problem.measurements, float), basis)
    reference = linprog(np.ones(4), A_eq=rows, b_eq=np.asarray(problem.targets, float)).fun
    np.testing.assert_allclose(least.trace, reference, rtol=tolerance)
    np.testing.assert_allclose(jnp.trace(least.x), least.trace, rtol=tolerance)
    np.testing.assert_allclose(jnp.vdot(least.multipliers, problem.targets), reference, rtol=tolerance)
    assert np.linalg.eigvalsh(least.x)[0] > -tolerance
    assert np.linalg.eigvalsh(jnp.tensordot(least.multipliers, problem.measurements, axes=1))[-1] <= 1 + tolerance


@pytest.mark.float64
def test_conditions_from_a_factor_are_those_of_the_spectral_entropy(key):
    problem, scale = _problem(key, commuting=True), 0.1
    factor = jax.random.normal(key, (4, 5))

    @jax.jit
    def both(measurements, targets):
        of_x = ib.bregman_kkt_residual(ib.spectral_entropy(), measurements, targets, factor @ factor.T, scale * jnp.eye(4))
        return ib.spectral_entropy_kkt_residual(measurements, targets, factor, scale), of_x

    np.testing.assert_allclose(*both(problem.measurements, problem.targets), rtol=1e-10)


def _factors(key, widths=(5, 3, 4, 2)):
    keys = jax.random.split(key, len(widths) - 1)
    return [jax.random.normal(each, (above, below)) for each, below, above in zip(keys, widths[:-1], widths[1:], strict=True)]


def _gradient(w):
    return w - jnp.sin(jnp.arange(w.size, dtype=w.dtype)).reshape(w.shape)


def test_product_and_balancedness_are_those_of_matrices(key, rtol):
    one, two, three = _factors(key)
    np.testing.assert_allclose(ib.end_to_end([one, two, three]), three @ two @ one, rtol=10 * rtol, atol=rtol)
    lower, upper = ib.balancedness([one, two, three])
    np.testing.assert_allclose(lower, two.T @ two - one @ one.T, rtol=10 * rtol, atol=10 * rtol)
    np.testing.assert_allclose(upper, three.T @ three - two @ two.T, rtol=10 * rtol, atol=10 * rtol)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4)])
def test_balanced_factors_are_balanced_and_move_as_their_product(shape, key, rtol):
    @functools.partial(jax.jit, static_argnums=1)
    def sides(w, depth):
        factors = ib.balanced_factors(w, depth)
        velocities = ib.end_to_end_velocity(factors, _gradient), ib.balanced_velocity(w, _gradient, depth)
        return ib.end_to_end(factors), ib.balancedness(factors), velocities

    w, slack = jax.random.normal(key, shape), 100 * rtol
    for depth in (1, 3):
        product, differences, velocities = sides(w, depth)
        np.testing.assert_allclose(product, w, atol=slack)
        np.testing.assert_allclose(*velocities, atol=slack)
        assert len(differences) == depth - 1
        for difference in differences:
            np.testing.assert_allclose(difference, 0, atol=slack)


def test_one_layer_moves_along_its_gradient(key, rtol):
    w = jax.random.normal(key, (3, 4))
    velocity, of_values = jax.jit(lambda w: (ib.balanced_velocity(w, _gradient, 1), ib.singular_value_velocity(w, _gradient, 1)))(w)
    np.testing.assert_allclose(velocity, -_gradient(w), rtol=100 * rtol, atol=100 * rtol)
    left, _, right = np.linalg.svd(np.asarray(w), full_matrices=False)
    np.testing.assert_allclose(of_values, -np.einsum("ir,ij,rj->r", left, np.asarray(_gradient(w)), right), rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.float64
def test_singular_values_move_as_the_product_does(key):
    @functools.partial(jax.jit, static_argnums=1)
    def both(w, depth):
        velocity = ib.balanced_velocity(w, _gradient, depth)
        return ib.singular_value_velocity(w, _gradient, depth), jax.jvp(lambda w: jnp.linalg.svd(w, compute_uv=False), (w,), (velocity,))[1]

    for depth in (2, 4):
        np.testing.assert_allclose(*both(jax.random.normal(key, (3, 4)), depth), rtol=1e-9)


@pytest.mark.float64
def test_deep_flow_has_the_velocity_and_conserves_the_balance(key):
    factors = [factor / 2 for factor in _factors(key)]

    @jax.jit
    def moved(factors):
        flow = ib.deep_linear_flow(factors, _gradient, jnp.array([1e-3, 0.5]))
        early, late = ([factor[t] for factor in flow] for t in (0, 1))
        velocity = (ib.end_to_end(early) - ib.end_to_end(factors)) / 1e-3
        return velocity, ib.end_to_end_velocity(factors, _gradient), ib.balancedness(factors), ib.balancedness(late)

    found, expected, before, after = moved(factors)
    np.testing.assert_allclose(found, expected, atol=0.03)
    for differences in zip(before, after, strict=True):
        np.testing.assert_allclose(*differences, atol=1e-8)


def test_effective_rank_counts_equal_singular_values(key, rtol):
    rank = jax.jit(ib.effective_rank)
    basis = jnp.linalg.qr(jax.random.normal(key, (6, 6)))[0]
    np.testing.assert_allclose(rank(basis[:, :3] @ basis[:3]), 3, rtol=100 * rtol)
    assert 1 < float(rank(jnp.diag(jnp.geomspace(1.0, 1e-15, 6)))) < 1.01
    assert jnp.isnan(rank(jnp.zeros((6, 6))))


@pytest.mark.any_precision
def test_maps_are_compiled_and_vectorized(key):
    batch = jax.random.normal(key, (3, 2, 3, 3))
    velocity = jax.jit(jax.vmap(lambda factors: ib.end_to_end_velocity(list(factors), _gradient)))(batch)
    loop = jnp.stack([ib.end_to_end_velocity(list(factors), _gradient) for factors in batch])
    np.testing.assert_allclose(velocity, loop, rtol=1e-5, atol=1e-5)


A, Y = jnp.eye(3)[None], jnp.ones(1)
SKEW = jnp.array([[[1.0, 1.0], [0.0, 1.0]]])
APART = jnp.array([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [1.0, 0.0]]])


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ib.matrix_sensing_problem(jax.random.key(0), 3, 4, 2), "rank must be at most d = 3"),
        (lambda: ib.matrix_sensing_problem(jax.random.key(0), 3, 1, 0), "num_measurements must be an integer of at least 1"),
        (lambda: ib.factored_flow(SKEW, Y, jnp.eye(2), jnp.ones(1)), "measurements must be symmetric"),
        (lambda: ib.factored_flow(A, jnp.ones(2), jnp.eye(3), jnp.ones(1)), r"targets must have shape \(1,\)"),
        (lambda: ib.factored_flow(A, Y, jnp.eye(2), jnp.ones(1)), "factor0 must have d = 3 rows"),
        (lambda: ib.factored_flow(jnp.ones(3), Y, jnp.eye(3), jnp.ones(1)), "measurements must be square matrices"),
        (lambda: ib.min_nuclear_norm_psd_commuting(APART, jnp.ones(2)), "measurements must commute"),
        (lambda: ib.min_nuclear_norm_psd_commuting(A, -Y), "targets must be those of some positive semidefinite matrix"),
        (lambda: ib.spectral_entropy_kkt_residual(A, Y, jnp.ones((3, 2)), 1.0), "factor must have at least d = 3 columns"),
        (lambda: ib.spectral_entropy_kkt_residual(A, Y, jnp.ones((3, 3)), 1.0), "factor must have full rank"),
        (lambda: ib.spectral_entropy_kkt_residual(A, Y, jnp.eye(3), 0.0), "scale must be positive"),
        (lambda: ib.end_to_end([]), "factors must be matrices"),
        (lambda: ib.balancedness([jnp.ones((2, 3)), jnp.ones((2, 3))]), r"factors must be matrices .* got shapes \[\(2, 3\), \(2, 3\)\]"),
        (lambda: ib.end_to_end_velocity([jnp.ones((2, 3))], lambda w: w.T), "grad_fn must return the shape of the product"),
        (lambda: ib.balanced_velocity(jnp.ones(3), _gradient, 2), "w must be a matrix"),
        (lambda: ib.singular_value_velocity(jnp.eye(2), _gradient, 0), "depth must be an integer of at least 1"),
        (lambda: ib.deep_linear_flow([jnp.eye(2)], _gradient, jnp.array([1.0, 0.5])), "times must be finite, at least 0 and increasing"),
        (lambda: ib.effective_rank(jnp.zeros((2, 2))), "w must not be zero"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.any_precision
def test_wrong_values_give_nan_when_traced():
    assert jnp.isnan(jax.jit(ib.min_nuclear_norm_psd_commuting)(A, -Y).trace)
    assert jnp.isnan(jax.jit(ib.spectral_entropy_kkt_residual)(A, Y, jnp.eye(3), -1.0).stationarity)
