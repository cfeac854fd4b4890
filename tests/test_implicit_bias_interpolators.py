"""Interpolators of least norm, and nearest ones in Bregman divergences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxgen import implicit_bias

ONES = jnp.ones((1, 2), jnp.float32)


def _regression(key, n=3, d=8, positive=False):
    x, w = jax.random.normal(key, (n, d)), jax.random.normal(jax.random.fold_in(key, 1), (d,))
    return x, x @ (jnp.abs(w) if positive else w)


def _wide(*arrays):
    return [np.asarray(array, np.float64) for array in arrays]


def _rounding(array):
    """Of a solution that twelve digits (four in float32) should be right in."""
    return {"float32": 1e-4, "float64": 1e-12}[str(array.dtype)]


@pytest.mark.heavy
def test_min_norm_of_known_value_and_against_the_pseudo_inverse(key):
    w = implicit_bias.min_norm_interpolator(ONES, [2.0], [1.0, 0.0])
    np.testing.assert_allclose(w, [1.5, 0.5], rtol=1e-6)
    x, y = _regression(key)
    w = implicit_bias.min_norm_interpolator(x, y)
    expected = np.linalg.pinv(_wide(x)[0]) @ _wide(y)[0]
    np.testing.assert_allclose(w, expected, rtol=0, atol=_rounding(w))


@pytest.mark.heavy
def test_min_norm_in_a_metric_solves_its_normal_equations(key):
    x, y = _regression(key)
    root, w0 = jax.random.normal(jax.random.fold_in(key, 2), (8, 8)), jnp.arange(8.0)
    metric = root @ root.T + jnp.eye(8)
    w = implicit_bias.min_norm_interpolator(x, y, w0, metric)
    wide_x, wide_y, d, start = _wide(x, y, metric, w0)
    inverse = np.linalg.inv(d)
    expected = start + inverse @ wide_x.T @ np.linalg.solve(wide_x @ inverse @ wide_x.T, wide_y - wide_x @ start)
    np.testing.assert_allclose(w, expected, rtol=0, atol=100 * _rounding(w))
    scaled = implicit_bias.min_norm_interpolator(x, y, w0, 3 * jnp.eye(8))
    np.testing.assert_allclose(scaled, implicit_bias.min_norm_interpolator(x, y, w0), rtol=0, atol=10 * _rounding(w))


@pytest.mark.float64
def test_duplicate_examples_and_columns_change_nothing(key):
    x, y = _regression(key)
    doubled = jnp.concatenate([x, x]), jnp.concatenate([y, y])
    w = implicit_bias.min_norm_interpolator(x, y)
    np.testing.assert_allclose(implicit_bias.min_norm_interpolator(*doubled), w, rtol=0, atol=_rounding(w))
    np.testing.assert_allclose(implicit_bias.min_norm_interpolator(jnp.tile(x, 2), y), jnp.tile(w, 2) / 2, rtol=0, atol=_rounding(w))
    w0 = jnp.arange(8.0)
    single, double = (implicit_bias.bregman_interpolator(implicit_bias.squared_l2(), *problem, w0) for problem in ((x, y), doubled))
    assert single.converged
    assert double.converged
    np.testing.assert_allclose(double.w, single.w, rtol=0, atol=10 * _rounding(w))
    np.testing.assert_allclose(doubled[0].T @ double.multipliers, x.T @ single.multipliers, rtol=0, atol=10 * _rounding(w))


@pytest.mark.heavy
def test_the_interpolation_set_is_a_point_and_the_null_space(key, rtol):
    x, y = _regression(key)
    x, y = jnp.concatenate([x, x[:1] + x[1:2]]), jnp.concatenate([y, y[:1] + y[1:2]])
    found = implicit_bias.interpolation_set(x, y)
    assert found.nullspace.shape == (8, 5)
    np.testing.assert_allclose(x @ found.nullspace, 0, atol=20 * rtol)
    np.testing.assert_allclose(found.nullspace.T @ found.nullspace, jnp.eye(5), atol=20 * rtol)
    np.testing.assert_allclose(found.point, implicit_bias.min_norm_interpolator(x, y), atol=20 * rtol)
    assert found.residual < 20 * rtol
    traced = jax.jit(functools.partial(implicit_bias.interpolation_set, rank=3))(x, y)
    np.testing.assert_allclose(traced.point, found.point, atol=20 * rtol)
    unreal = implicit_bias.interpolation_set(jnp.ones((2, 2)), [1.0, 2.0])
    np.testing.assert_allclose(unreal.point, [0.75, 0.75], rtol=10 * rtol)
    np.testing.assert_allclose(unreal.residual, 0.5, rtol=10 * rtol)


@pytest.mark.any_precision
def test_realizable_data_are_told_from_others(key):
    x, y = _regression(key, 8, 3)
    assert implicit_bias.is_realizable(x, y)
    assert not implicit_bias.is_realizable(x, y + 0.1 * jax.random.normal(key, (8,)))
    assert implicit_bias.is_realizable(x, y + 0.1 * jax.random.normal(key, (8,)), tol=1.0)
    assert implicit_bias.is_realizable(jnp.zeros((2, 3)), jnp.zeros(2))
    assert not implicit_bias.is_realizable(x.at[0, 0].set(jnp.nan), y)


@pytest.mark.heavy
@pytest.mark.parametrize("nonnegative", [False, True])
def test_min_l1_is_the_linear_program_of_scipy(nonnegative, key):
    n, d = 20, 60
    x, y = _regression(key, n, d, positive=nonnegative)
    w = implicit_bias.min_l1_interpolator(x, y, nonnegative=nonnegative)
    wide_x, wide_y = _wide(x, y)
    matrix = wide_x if nonnegative else np.concatenate([wide_x, -wide_x], axis=1)
    expected = optimize.linprog(np.ones(matrix.shape[1]), A_eq=matrix, b_eq=wide_y).x
    expected = expected if nonnegative else expected[:d] - expected[d:]
    np.testing.assert_allclose(w, expected, rtol=0, atol=10 * _rounding(w))
    assert jnp.sum(w != 0) == n
    assert not nonnegative or w.min() >= 0


@pytest.mark.slow
@pytest.mark.any_precision
def test_min_l1_without_a_unique_solution_or_with_targets_of_zero_or_dependent_rows():
    w = implicit_bias.min_l1_interpolator(ONES, [2.0])
    np.testing.assert_allclose(jnp.abs(w).sum(), 2, rtol=1e-5)
    np.testing.assert_array_equal(implicit_bias.min_l1_interpolator(ONES, [0.0]), [0, 0])
    doubled = implicit_bias.min_l1_interpolator(jnp.array([[1.0, 2.0], [1.0, 2.0]]), [4.0, 4.0])
    np.testing.assert_allclose(doubled, [0, 2], atol=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize("p", [1.1, 3.0])
def test_min_lp_norm_is_stationary(p, key, precision):
    """The gradient of ||w||_p^p / p is in the row space, and the point of figure 8.1 comes out."""
    x, y = _regression(key)
    w = implicit_bias.min_norm_interpolator_lp(x, y, p)
    wide_x, wide_w = _wide(x, w)
    gradient = np.sign(wide_w) * np.abs(wide_w) ** (p - 1)
    outside = gradient - np.linalg.pinv(wide_x) @ (wide_x @ gradient)
    tolerance = {"float32": 1e-4, "float64": 1e-8}[precision]
    assert np.linalg.norm(outside) <= tolerance * np.linalg.norm(gradient)
    np.testing.assert_allclose(x @ w, y, rtol=0, atol=tolerance)


@pytest.mark.float64
def test_min_l4_thirds_of_figure_8_1():
    w = implicit_bias.min_norm_interpolator_lp([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]], [1.0, 10.0], 4 / 3)
    np.testing.assert_allclose(w[0], 0.000230, atol=5e-7)
    np.testing.assert_allclose(jnp.sum(jnp.abs(w) ** (4 / 3)) ** 0.75, 7.583651, atol=5e-7)


POTENTIALS = {
    "squared": (implicit_bias.squared_l2, 0.0),
    "entropy": (implicit_bias.entropy, 1.0),
    "l1.5": (functools.partial(implicit_bias.lp_squared, 1.5), 0.1),
    "power": (functools.partial(implicit_bias.power_positive, 3.0), 0.5),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", POTENTIALS)
def test_bregman_interpolators_satisfy_their_kkt_conditions_and_close_the_gap(name, key, precision):
    make, value = POTENTIALS[name]
    potential, w0 = make(), jnp.full(8, value)
    x, y = _regression(key, positive=True)
    found = implicit_bias.bregman_interpolator(potential, x, y, w0)
    kkt = implicit_bias.bregman_kkt_residual(potential, x, y, found.w, w0)
    tolerance = {"float32": 1e-4, "float64": 1e-11}[precision]
    assert found.converged
    assert max(found.feasibility, *kkt) <= tolerance
    np.testing.assert_allclose(found.lower, found.divergence, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found.divergence, implicit_bias.bregman_divergence(potential, found.w, w0), rtol=1e-5)
    np.testing.assert_allclose(potential.mirror(found.w) - potential.mirror(w0), x.T @ found.multipliers, rtol=0, atol=10 * tolerance)


@pytest.mark.heavy
def test_bregman_interpolators_in_closed_form(rtol):
    quadratic, entropy = implicit_bias.quadratic(jnp.diag(jnp.array([1.0, 4.0]))), implicit_bias.entropy()
    found = implicit_bias.bregman_interpolator(quadratic, ONES, jnp.array([2.0]), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(found.w, [1.8, 0.2], rtol=10 * rtol)
    found = implicit_bias.bregman_interpolator(entropy, ONES, jnp.array([9.0]), jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(found.w, [3.0, 6.0], rtol=10 * rtol)


@pytest.mark.any_precision
def test_examples_may_be_matrices():
    found = implicit_bias.bregman_interpolator(implicit_bias.squared_l2(), jnp.eye(2)[None], jnp.array([4.0]), jnp.zeros((2, 2)))
    np.testing.assert_allclose(found.w, 2 * jnp.eye(2), atol=1e-6)


@pytest.mark.slow
def test_strongly_curved_potentials_are_solved_in_few_steps(key, precision):
    """alpha from 1e-8 to 1e3 in one program: from least l_1 to least l_2 norm."""
    x, y = _regression(key, 10, 30)
    alphas = jnp.array([1e-8, 1e-6, 1e-3, 1.0, 1e3])
    solve = jax.jit(jax.vmap(lambda alpha: implicit_bias.bregman_interpolator(implicit_bias.hyperbolic_entropy(alpha), x, y, jnp.zeros(30))))
    found = solve(alphas)
    tolerance = {"float32": 1e-4, "float64": 1e-11}[precision]
    assert found.converged.all()
    assert found.feasibility.max() <= tolerance * jnp.abs(y).max()
    np.testing.assert_allclose(found.lower, found.divergence, rtol=tolerance)
    assert found.num_steps.max() <= 40
    norms = jnp.abs(found.w).sum(axis=1)
    assert jnp.all(jnp.diff(norms) > -1e-5)
    least = jnp.abs(implicit_bias.min_l1_interpolator(x, y)).sum()
    assert least * (1 - 1e-5) <= norms[0] < 1.005 * least
    np.testing.assert_allclose(found.w[-1], implicit_bias.min_norm_interpolator(x, y), rtol=0, atol=1e-4)


@pytest.mark.parametrize("start", [1e-30, 1e-8, 1e3])
def test_entropy_from_any_scale_of_the_start(start, key, precision):
    x, y = _regression(key, positive=True)
    found = implicit_bias.bregman_interpolator(implicit_bias.entropy(), x, y, jnp.full(8, start))
    assert found.converged
    tolerance = {"float32": 1e-4, "float64": 1e-11}[precision]
    np.testing.assert_allclose(found.lower, found.divergence, rtol=10 * tolerance)


@pytest.mark.float64
def test_a_solution_on_the_boundary_is_approached():
    x = jnp.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 2.0]])
    found = implicit_bias.bregman_interpolator(implicit_bias.entropy(), x, jnp.array([0.0, 1.0]), jnp.ones(4))
    assert found.converged
    np.testing.assert_allclose(found.w, [0, 0, 0.5, 0.25], atol=1e-10)
    assert found.w.min() >= 0


@pytest.mark.any_precision
@pytest.mark.parametrize("targets", [[-1.0, 1.0], [3.0, 1.0]])
def test_constraints_without_a_positive_solution_are_reported(targets):
    """w_1 + w_2 = 3 while w_1 + w_2 + w_3 = 1, or a negative sum."""
    x = jnp.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    found = implicit_bias.bregman_interpolator(implicit_bias.entropy(), x, jnp.array(targets), jnp.ones(3))
    assert not found.converged
    assert found.feasibility > 0.5
    assert all(not jnp.isnan(leaf).any() for leaf in found)


@pytest.mark.any_precision
def test_unrealizable_data_are_reported_with_their_residual(rtol):
    found = implicit_bias.bregman_interpolator(implicit_bias.squared_l2(), jnp.ones((2, 2)), jnp.array([1.0, 2.0]), jnp.zeros(2))
    assert not found.converged
    np.testing.assert_allclose(found.feasibility, 0.5, rtol=10 * rtol)


@pytest.mark.slow
@pytest.mark.float64
def test_derivatives_are_those_of_the_solution(key):
    x, y = _regression(key, positive=True)
    arguments = jnp.array(2.0), x, y, 0.1 + 0.1 * jnp.arange(8.0)
    shape = jnp.ones(8) + jnp.arange(8.0) / 8

    @jax.jit
    def solution(scale, x, y, w0):
        return implicit_bias.bregman_interpolator(implicit_bias.entropy(scale * shape), x, y, w0).w

    tangents = jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape), arguments)
    value, forward = jax.jvp(solution, arguments, tangents)
    cotangent = jnp.arange(8.0)
    reverse = jax.vjp(solution, *arguments)[1](cotangent)
    inner = sum(jnp.vdot(a, b) for a, b in zip(reverse, tangents, strict=True))
    np.testing.assert_allclose(inner, jnp.vdot(cotangent, forward), rtol=1e-10)
    there, back = (solution(*(leaf + sign * 1e-6 * tangent for leaf, tangent in zip(arguments, tangents, strict=True))) for sign in (1, -1))
    # A central difference of step 1e-6 rounds to 1e-10 of the value over the step.
    np.testing.assert_allclose(forward, (there - back) / 2e-6, rtol=1e-6, atol=1e-7)
    assert value.shape == (8,)


@pytest.mark.any_precision
def test_the_kkt_residual_tells_the_potential(key):
    x, y = _regression(key, positive=True)
    found = implicit_bias.bregman_interpolator(implicit_bias.entropy(), x, y, jnp.ones(8))
    assert implicit_bias.bregman_kkt_residual(implicit_bias.squared_l2(), x, y, found.w, jnp.ones(8)).stationarity > 1e-2
    still = implicit_bias.bregman_kkt_residual(implicit_bias.squared_l2(), x, y, jnp.ones(8), jnp.ones(8))
    assert still.stationarity == 0


BAD = [
    ("is_realizable", (jnp.ones(2), jnp.ones(2)), "x must be a matrix"),
    ("is_realizable", (jnp.ones((0, 2)), jnp.ones(0)), "x must be a matrix"),
    ("interpolation_set", (ONES, [1.0, 2.0]), "y must have one target per row"),
    ("interpolation_set", (ONES * jnp.nan, [1.0]), "x must be finite"),
    ("min_norm_interpolator", (ONES, [jnp.inf]), "y must be finite"),
    ("min_norm_interpolator", (ONES, [1.0], jnp.ones(3)), "w0 must have one entry per column"),
    ("min_norm_interpolator", (ONES, [1.0], None, jnp.eye(3)), "metric must have shape"),
    ("min_norm_interpolator", (ONES, [1.0], None, jnp.array([[1.0, 2.0], [2.0, 1.0]])), "metric must be symmetric and positive definite"),
    ("min_norm_interpolator", (ONES, [1.0], None, jnp.array([[1.0, 0.5], [0.0, 1.0]])), "metric must be symmetric and positive definite"),
    ("min_norm_interpolator", (jnp.ones((2, 2)), [1.0, 2.0]), r"the \|X w - y\| reached is 0.707"),
    ("min_norm_interpolator_lp", (ONES, [1.0], 1.0), r"p must lie in \(1, inf\)"),
    ("min_norm_interpolator_lp", (ONES, [1.0], jnp.inf), r"p must lie in \(1, inf\)"),
    ("min_norm_interpolator_lp", (jnp.ones((2, 2)), [1.0, 2.0], 1.5), "some w must have X w = y"),
    ("min_l1_interpolator", (jnp.ones((2, 2)), [1.0, 2.0]), "some w must have X w = y"),
    ("min_l1_interpolator", (-jnp.eye(2), [1.0, 1.0]), "some nonnegative w must have X w = y"),
]


@pytest.mark.any_precision
@pytest.mark.parametrize(("name", "arguments", "message"), BAD, ids=range(len(BAD)))
def test_bad_input_is_named(name, arguments, message):
    options = {"nonnegative": True} if "nonnegative" in message else {}
    with pytest.raises(ValueError, match=message):
        getattr(implicit_bias, name)(*arguments, **options)


@pytest.mark.any_precision
def test_bad_input_of_bregman_functions_is_named():
    entropy = implicit_bias.entropy()
    for function in (implicit_bias.bregman_interpolator, functools.partial(implicit_bias.bregman_kkt_residual, w=jnp.ones(2))):
        with pytest.raises(ValueError, match="w0 must lie in the domain"):
            function(entropy, ONES, jnp.ones(1), w0=jnp.zeros(2))
        with pytest.raises(ValueError, match="y must have one target"):
            function(entropy, ONES, jnp.ones(2), w0=jnp.ones(2))
        with pytest.raises(ValueError, match=r"must have examples of the shape of|same shape"):
            function(entropy, ONES, jnp.ones(1), w0=jnp.ones(3))
    with pytest.raises(ValueError, match="w must lie in the domain"):
        implicit_bias.bregman_kkt_residual(entropy, ONES, jnp.ones(1), jnp.zeros(2), jnp.ones(2))
    with pytest.raises(ValueError, match="num_steps"):
        implicit_bias.bregman_interpolator(entropy, ONES, jnp.ones(1), jnp.ones(2), num_steps=-1)
    with pytest.raises(ValueError, match="rank must be given"):
        jax.jit(implicit_bias.interpolation_set)(ONES, jnp.ones(1))
    with pytest.raises(ValueError, match="rank must be at most 1"):
        implicit_bias.interpolation_set(ONES, jnp.ones(1), rank=2)


@pytest.mark.any_precision
def test_bad_values_are_nan_when_traced():
    unreal = jnp.ones((2, 2)), jnp.array([1.0, 2.0])
    for function in (implicit_bias.min_norm_interpolator, implicit_bias.min_l1_interpolator):
        assert jnp.isnan(jax.jit(function)(*unreal)).all()
    solve = jax.jit(functools.partial(implicit_bias.bregman_interpolator, implicit_bias.entropy()))
    for arguments in ((ONES, jnp.ones(1), -jnp.ones(2)), (ONES * jnp.nan, jnp.ones(1), jnp.ones(2)), (ONES, jnp.array([jnp.nan]), jnp.ones(2))):
        found = solve(*arguments)
        assert jnp.isnan(found.w).all()
        assert not found.converged
