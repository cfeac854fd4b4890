"""The largest margin: certified intervals, linear programs of scipy, support vector machines, data that are not separable."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.svm import SVC

from jaxgen import implicit_bias as ib

EXPONENTS = (1, 4 / 3, 2, 3, math.inf)
SHAPE = (30, 6)
"""Of most problems here, so that few are compiled."""


@pytest.fixture
def tol(precision):
    """The default relative gap."""
    return {"float32": 1e-4, "float64": 1e-8}[precision]


def _separable(seed, n, *shape):
    rng = np.random.default_rng(seed)
    x, teacher = rng.normal(size=(n, *shape)), rng.normal(size=shape)
    return jnp.asarray(x * np.sign((x * teacher).reshape(n, -1).sum(axis=1)).reshape(n, *(1,) * len(shape)), float)


def _by_linear_program(z, p):
    """gamma for p = 1 or infinity, as a program in w."""
    n, d = z.shape
    if p == 1:
        rows = np.vstack([np.hstack([-z, z, np.ones((n, 1))]), np.append(np.ones(2 * d), 0)])
        return -linprog(np.append(np.zeros(2 * d), -1), rows, np.append(np.zeros(n), 1), bounds=(0, None)).fun
    bounds = [(-1, 1)] * d + [(None, None)]
    return -linprog(np.append(np.zeros(d), -1), np.hstack([-z, np.ones((n, 1))]), np.zeros(n), bounds=bounds).fun


@pytest.mark.heavy
@pytest.mark.parametrize("norm", [ib.lp_norm(p) for p in EXPONENTS] + [ib.fourier_norm(p) for p in (1, math.inf)], ids=str)
def test_the_interval_holds_by_its_definition_and_is_narrow(norm, tol):
    z = _separable(0, *SHAPE)
    found = ib.max_margin(z, norm)
    rounding = 100 * jnp.finfo(z.dtype).eps * jnp.abs(z).max()
    assert found.converged
    assert found.upper - found.lower <= tol * found.upper
    assert found.margin == found.lower
    assert jnp.abs(norm.value(found.w) - 1) <= 100 * jnp.finfo(z.dtype).eps
    assert found.multipliers.min() >= 0
    assert jnp.abs((z @ found.w).min() - found.lower) <= rounding
    assert jnp.abs(norm.dual(found.multipliers @ z) - found.upper) <= rounding


@pytest.mark.float64
@pytest.mark.parametrize("norm", [ib.lp_norm(1.1), ib.lp_norm(4 / 3), ib.lp_norm(6), ib.fourier_norm(3)], ids=str)
def test_fewer_examples_than_dimensions_are_no_obstacle(norm):
    found = ib.max_margin(_separable(0, 10, 24), norm)
    assert found.converged
    assert found.upper - found.lower <= 1e-8 * found.upper


@pytest.mark.float64
@pytest.mark.parametrize("p", [1, math.inf])
@pytest.mark.parametrize("shape", [SHAPE, (10, 24)], ids=str)
def test_the_interval_holds_the_value_of_a_linear_program(p, shape):
    for seed in range(6):
        z = _separable(seed, *shape)
        found, expected = ib.max_margin(z, ib.lp_norm(p)), _by_linear_program(np.asarray(z), p)
        assert found.lower - 1e-9 <= expected <= found.upper + 1e-9


@pytest.mark.float64
def test_the_euclidean_margin_is_that_of_a_support_vector_machine():
    z = _separable(1, *SHAPE)
    both, labels = np.vstack([z, -z]), np.repeat([1, -1], 30)
    machine = SVC(C=1e8, kernel="linear", tol=1e-10).fit(both, labels)
    found = ib.max_margin(z, ib.lp_norm(2))
    np.testing.assert_allclose(found.w, machine.coef_[0] / np.linalg.norm(machine.coef_), atol=1e-5)
    np.testing.assert_allclose(found.margin, 1 / np.linalg.norm(machine.coef_), rtol=1e-6)


@pytest.mark.heavy
@pytest.mark.parametrize(("p", "expected"), [(1, 1.25), (2, 2.5 / math.sqrt(2)), (math.inf, 2.5)])
def test_two_points_have_known_margins(p, expected, tol):
    two = jnp.zeros(SHAPE).at[:, :2].set(jnp.tile(jnp.array([[2.0, 0.5], [0.5, 2.0]]), (SHAPE[0] // 2, 1)))
    found = ib.max_margin(two, ib.lp_norm(p))
    np.testing.assert_allclose([found.lower, found.upper], expected, rtol=tol)


@pytest.mark.slow
def test_a_single_point_has_its_dual_norm_as_margin(tol):
    z = _separable(2, 1, 5)
    for p in (1, 3, math.inf):
        norm = ib.lp_norm(p)
        np.testing.assert_allclose(ib.max_margin(z, norm).margin, norm.dual(z[0]), rtol=10 * tol)


@pytest.mark.heavy
@pytest.mark.parametrize("norm", [ib.spectral_norm(), ib.nuclear_norm()], ids=["spectral", "nuclear"])
def test_matrices_have_margins_of_their_singular_values(norm, tol):
    z = _separable(3, 12, 3, 4)
    found = ib.max_margin(z, norm)
    assert found.w.shape == (3, 4)
    assert found.converged
    assert found.upper - found.lower <= tol * found.upper
    # On one row, both are the Euclidean norm.
    row = _separable(4, SHAPE[0], 1, SHAPE[1])
    np.testing.assert_allclose(ib.max_margin(row, norm).margin, ib.max_margin(row[:, 0], ib.lp_norm(2)).margin, rtol=10 * tol)


def test_a_quadratic_norm_is_euclidean_in_the_coordinates_of_its_factor(tol):
    z = _separable(5, *SHAPE)
    factor = jnp.asarray(np.tril(np.random.default_rng(0).normal(size=(6, 6))) + 2 * np.eye(6), float)
    found = ib.max_margin(z, ib.quadratic_norm(factor @ factor.T))
    euclidean = ib.max_margin(jax.scipy.linalg.solve_triangular(factor, z.T, lower=True).T, ib.lp_norm(2))
    np.testing.assert_allclose(found.margin, euclidean.margin, rtol=10 * tol)


@pytest.mark.heavy
@pytest.mark.parametrize("norm", [*(ib.lp_norm(p) for p in (1, 4 / 3, math.inf)), ib.fourier_norm(1)], ids=str)
def test_data_that_are_not_separable_come_with_multipliers_that_prove_it(norm, precision):
    z = jnp.asarray(np.random.default_rng(6).normal(size=SHAPE), float)
    found = ib.max_margin(z, norm)
    small = {"float32": 1e-3, "float64": 1e-6}[precision]
    assert found.margin == found.lower == 0
    assert jnp.all(found.w == 0)
    assert found.converged
    assert jnp.abs(found.multipliers @ z).max() <= small
    assert jnp.abs(found.multipliers.sum() - 1) <= 1e-5


@pytest.mark.heavy
def test_duplicate_examples_and_columns_change_nothing(tol):
    few, narrow = _separable(7, 15, 6), _separable(7, 30, 3)
    for once, twice, p in ((few, jnp.vstack([few, few]), 2), (narrow, jnp.hstack([narrow, narrow]), 1)):
        assert twice.shape == SHAPE
        found, alone = ib.max_margin(twice, ib.lp_norm(p)), ib.max_margin(once, ib.lp_norm(p))
        np.testing.assert_allclose(found.margin, alone.margin, rtol=4 * tol)


@pytest.mark.float64
def test_the_derivative_is_that_of_the_envelope():
    z, norm = _separable(8, *SHAPE), ib.lp_norm(3)
    direction = jnp.asarray(np.random.default_rng(1).normal(size=z.shape))
    slope = jnp.vdot(jax.grad(lambda z: ib.max_margin(z, norm, tol=1e-11).margin)(z), direction)
    ahead, behind = (ib.max_margin(z + step * direction, norm, tol=1e-11).margin for step in (1e-4, -1e-4))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-4, rtol=1e-5)


def test_problems_are_mapped_over(tol):
    z = jnp.stack([_separable(seed, *SHAPE) for seed in range(3)])
    together = jax.vmap(lambda z: ib.max_margin(z, ib.lp_norm(1)))(z)
    assert together.converged.all()
    np.testing.assert_allclose(together.margin, [ib.max_margin(one, ib.lp_norm(1)).margin for one in z], rtol=4 * tol)


class _Boxed(ib.Norm):
    """max_i a_i |w_i| for a = 1, 2, 3, a norm without a smooth dual."""

    def value(self, w):
        return jnp.max(jnp.abs(w) * jnp.arange(1.0, 4))

    def dual(self, g):
        return jnp.sum(jnp.abs(g) / jnp.arange(1.0, 4))

    def steepest(self, g, *, ties="first", key=None):
        return -self.dual(g) * jnp.sign(g) / jnp.arange(1.0, 4)


@pytest.mark.heavy
def test_a_norm_of_ones_own_has_an_interval_that_holds():
    z = _separable(9, 10, 3)
    found, exact = ib.max_margin(z, _Boxed(), tol=0.2), ib.max_margin(z / jnp.arange(1.0, 4), ib.lp_norm(math.inf))
    assert found.lower <= 1.0001 * exact.margin
    assert exact.margin <= 1.0001 * found.upper
    assert found.converged


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ib.max_margin(jnp.ones(3), ib.lp_norm(2)), "z must hold at least one example"),
        (lambda: ib.max_margin(jnp.ones((0, 3)), ib.lp_norm(2)), "z must hold at least one example"),
        (lambda: ib.max_margin(jnp.full((2, 3), jnp.nan), ib.lp_norm(2)), "z must be finite"),
        (lambda: ib.max_margin(jnp.ones((2, 3)), ib.lp_norm(2), tol=0.0), "tol must be positive"),
        (lambda: ib.max_margin(jnp.ones((2, 3)), ib.lp_norm(2), num_steps=0), "num_steps must be an integer of at least 1"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
