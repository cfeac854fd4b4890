"""Linear programs against scipy's, and what has no solution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxgen._core.linear_programs import solve

SOLVE = jax.jit(solve, static_argnames="num_steps")


@pytest.fixture
def tol(precision):
    """Ten times the solver's relative gap."""
    return {"float32": 1e-4, "float64": 1e-8}[precision]


def _programs(seed, count=8, m=5, v=14):
    """Programs with a feasible point and a bounded value; every other one has a row twice."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        matrix = rng.normal(size=(m, v))
        if index % 2:
            matrix[-1] = matrix[0]
        point, slack = np.maximum(rng.normal(size=(2, v)), 0)
        yield matrix.T @ rng.normal(size=m) + slack, matrix, matrix @ point


def test_values_are_those_of_scipy(tol):
    for cost, matrix, target in _programs(0):
        found = SOLVE(*(jnp.asarray(array, float) for array in (cost, matrix, target)))
        expected = linprog(cost, A_eq=matrix, b_eq=target, bounds=(0, None)).fun
        assert found.converged
        assert abs(cost @ found.x - expected) <= tol * (1 + abs(expected))
        assert found.x.min() > 0
        assert found.slack.min() > 0


@pytest.mark.heavy
def test_the_dual_point_proves_the_value(tol):
    cost, matrix, target = (jnp.asarray(array, float) for array in next(_programs(1)))
    found = SOLVE(cost, matrix, target)
    assert jnp.abs(matrix.T @ found.dual + found.slack - cost).max() <= tol * (1 + jnp.abs(cost).max())
    assert jnp.abs(cost @ found.x - target @ found.dual) <= tol * (1 + jnp.abs(target @ found.dual))


@pytest.mark.heavy
def test_programs_are_mapped_over(tol):
    batch = [jnp.asarray(np.stack(arrays), float) for arrays in zip(*_programs(2, count=3), strict=True)]
    together = jax.jit(jax.vmap(solve))(*batch)
    alone = [SOLVE(*(array[i] for array in batch)) for i in range(3)]
    values = jnp.array([batch[0][i] @ alone[i].x for i in range(3)])
    np.testing.assert_allclose(jnp.sum(batch[0] * together.x, axis=1), values, rtol=tol, atol=tol)
    assert together.converged.all()


@pytest.mark.parametrize(
    ("cost", "matrix", "target"),
    [([1.0, 1.0, 1.0], [[1.0, 1.0, 1.0]], [-1.0]), ([-1.0, -1.0, -1.0], [[1.0, -1.0, 0.0]], [0.0])],
    ids=["no feasible point", "unbounded"],
)
def test_programs_without_a_solution_do_not_converge(cost, matrix, target):
    found = SOLVE(*(jnp.array(array) for array in (cost, matrix, target)))
    assert not found.converged


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"matrix must have shape \(1, 2\)"):
        solve(jnp.ones(2), jnp.ones((2, 1)), jnp.ones(1))
