"""Complexity of kernel predictors, its bound, and labels that cost little (NTK-10, NTK-12)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds, optimization


def _inputs(key, n, d):
    x = jax.random.normal(key, (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def _relu_kernel(x):
    """First layer of a wide two-layer ReLU net on inputs of norm one."""
    inner = np.clip(np.float64(x) @ np.float64(x).T, -1, 1)
    np.fill_diagonal(inner, 1.0)
    return jnp.asarray(inner * (np.pi - np.arccos(inner)) / (2 * np.pi), x.dtype)


@pytest.fixture
def problem(key):
    x = _inputs(key, 20, 30)
    return x, _relu_kernel(x), jnp.sign(x[:, 0])


def test_the_measure_is_the_formula_and_the_printed_constant_a_root_of_two_smaller(problem, rtol):
    _, kernel, y = problem
    h, labels = np.float64(kernel), np.float64(y)
    expected = math.sqrt(4 * labels @ np.linalg.solve(h, labels) * np.trace(h)) / 20
    np.testing.assert_allclose(bounds.kernel_complexity(kernel, y), expected, rtol=20 * rtol)
    np.testing.assert_allclose(bounds.kernel_complexity(kernel, y, constant=2), expected / math.sqrt(2), rtol=20 * rtol)
    # On inputs of norm one, tr H = n / 2.
    np.testing.assert_allclose(expected, math.sqrt(2 * labels @ np.linalg.solve(h, labels) / 20), rtol=1e-5)


def test_a_singular_kernel_counts_only_where_labels_are_in_its_range(problem, rtol):
    twice = jnp.array([0, 1, 2, 3, 4, 0])
    kernel = problem[1][twice][:, twice]
    assert bounds.kernel_complexity(kernel, jnp.array([1.0, 1.0, 1.0, -1.0, 1.0, -1.0])) == np.inf
    inside = bounds.kernel_complexity(kernel, jnp.array([1.0, 1.0, 1.0, -1.0, 1.0, 1.0]))
    labels = np.array([1.0, 1.0, 1.0, -1.0, 1.0])
    squared = labels @ np.linalg.solve(np.float64(kernel[:5, :5]), labels)
    np.testing.assert_allclose(inside, math.sqrt(4 * squared * 3) / 6, rtol=100 * rtol)


def test_the_bound_is_made_of_its_terms_and_pays_for_the_radius(problem, rtol):
    _, kernel, y = problem
    fixed, paid = bounds.kernel_bound(kernel, y, 0.05, radius_grid=False), bounds.kernel_bound(kernel, y, 0.05)
    np.testing.assert_allclose(fixed.terms["complexity"], bounds.kernel_complexity(kernel, y), rtol=rtol)
    np.testing.assert_allclose(fixed.terms["confidence"], 3 * math.sqrt(math.log(2 / 0.05) / 40), rtol=rtol)
    radius = math.ceil(math.sqrt(optimization.rkhs_squared_norm(kernel, y)))
    np.testing.assert_allclose(paid.terms["complexity"], 2 * radius * math.sqrt(10) / 20, rtol=10 * rtol)
    np.testing.assert_allclose(paid.terms["confidence"], 3 * math.sqrt(math.log(2 * radius * (radius + 1) / 0.05) / 40), rtol=10 * rtol)
    np.testing.assert_allclose(paid.value, paid.terms["complexity"] + paid.terms["confidence"], rtol=rtol)
    assert paid.value >= fixed.value
    assert (paid.certified, fixed.certified, paid.sided, paid.confidence) == (True, False, "one", 0.95)


@pytest.mark.any_precision
def test_rademacher_complexity_is_that_of_all_signs_and_below_the_trace(key):
    kernel = _relu_kernel(_inputs(key, 8, 3))
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1).T
    exact = 2.5 / 8 * np.sqrt(np.einsum("si,ij,sj->s", signs, np.float64(kernel), signs)).mean()
    found = bounds.kernel_rademacher(key, kernel, 2.5, num_draws=2000)
    assert abs(found.value - exact) < 4.5 * found.stderr
    assert found.stderr < 0.01 * exact
    assert exact <= 2.5 * math.sqrt(4) / 8


@pytest.mark.parametrize(("p", "expected"), [(1, 2.0), (2, 2.5066282746), (4, 6.1399602477), (6, 9.1529123286)])
def test_constants_of_powers(p, expected, rtol):
    found = bounds.teacher_complexity("power", jnp.ones(1), jnp.array([[1.0, 0.0]]), 1, p)
    np.testing.assert_allclose(found.terms["norm"], expected, rtol=max(rtol, 1e-10))


@pytest.mark.parametrize(("kind", "p"), [("linear", 1), ("power", 2), ("power", 4), ("cosine", 1)])
@pytest.mark.parametrize("d", [3, 40])
@pytest.mark.float64
def test_teachers_cost_at_most_their_bound(key, kind, p, d):
    x = _inputs(key, 30, d)
    alpha, beta = jnp.array([0.7, -1.2]), jnp.array([[1.0], [1.5]]) * _inputs(jax.random.fold_in(key, 1), 2, d)
    measure = bounds.kernel_complexity(_relu_kernel(x), bounds.teacher_labels(kind, x, alpha, beta, p))
    found = bounds.teacher_complexity(kind, alpha, beta, 30, p)
    assert found.certified
    assert 0 < measure <= found.value


def test_the_cosine_is_the_sum_of_its_powers(rtol):
    """Every even power at its bound 3 p |beta|^p: the closed form. At its own constant, less."""
    size = 1.3
    found = bounds.teacher_complexity("cosine", jnp.ones(1), jnp.array([[size]]), 2).terms["norm"]
    np.testing.assert_allclose(found, sum(3 * p * size**p / math.factorial(p) for p in range(2, 40, 2)), rtol=10 * rtol)


@pytest.mark.any_precision
def test_odd_powers_are_not_learnable():
    found = bounds.teacher_complexity("power", jnp.ones(1), jnp.ones((1, 2)), 10, 3)
    assert found.value == np.inf
    assert not found.certified
    assert "odd powers" in found.assumptions[-1]


@pytest.mark.any_precision
def test_bounds_under_jit_vmap_and_grad(problem, rtol):
    _, kernel, y = problem
    eager = bounds.kernel_bound(kernel, y, 0.1)
    np.testing.assert_allclose(jax.jit(lambda k, y: bounds.kernel_bound(k, y, 0.1))(kernel, y).value, eager.value, rtol=10 * rtol)
    both = jax.vmap(lambda y: bounds.kernel_complexity(kernel, y))(jnp.stack([y, 2 * y]))
    np.testing.assert_allclose(both[1], 2 * both[0], rtol=10 * rtol)
    slope = jax.grad(lambda y: bounds.kernel_complexity(kernel, y))(y)
    np.testing.assert_allclose(slope @ y, both[0], rtol=20 * rtol)
    assert np.isnan(jax.jit(bounds.kernel_complexity)(-kernel, y))


K = np.eye(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: bounds.kernel_complexity(K, np.ones(2), constant=3), ValueError, "constant must be one of"),
        (lambda: bounds.kernel_complexity(K, np.ones(3)), ValueError, r"y must have shape \(2,\)"),
        (lambda: bounds.kernel_complexity(K, np.ones((2, 1))), ValueError, r"y must have shape \(n,\)"),
        (lambda: bounds.kernel_complexity(-K, np.ones(2)), ValueError, "kernel must be positive semidefinite"),
        (lambda: bounds.kernel_bound(K, np.ones(2), 1.0), ValueError, "delta must be in"),
        (lambda: jax.jit(lambda d: bounds.kernel_bound(K, np.ones(2), d).value)(0.1), TypeError, "delta must be a concrete number"),
        (lambda: bounds.kernel_rademacher(jax.random.key(0), K, -1.0), ValueError, "radius must be at least 0"),
        (lambda: bounds.kernel_rademacher(jax.random.key(0), K, num_draws=1), ValueError, "num_draws must be"),
        (lambda: bounds.teacher_complexity("quadratic", np.ones(1), np.ones((1, 2)), 5), ValueError, "kind must be one of"),
        (lambda: bounds.teacher_complexity("power", np.ones(1), np.ones((1, 2)), 5, 0), ValueError, "p must be an integer"),
        (lambda: bounds.teacher_complexity("linear", np.ones(1), np.ones((2, 2)), 5), ValueError, r"beta must have shape \(1, d\)"),
        (lambda: bounds.teacher_complexity("linear", np.ones(1), np.ones((1, 2)), 0), ValueError, "n must be at least 1"),
        (lambda: bounds.teacher_labels("linear", np.ones((3, 3)), np.ones(1), np.ones((1, 2))), ValueError, r"x must have shape \(n, 2\)"),
    ],
)
@pytest.mark.any_precision
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
