"""The KKT residual of the max-margin program, and the nonnegative least squares under it."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from flax import nnx
from jax.flatten_util import ravel_pytree

from jaxgen import implicit_bias, models
from jaxgen.implicit_bias import max_margin_kkt, nonnegative_least_squares


def quadratic(w, x):
    return x @ w**2


def linear(w, x):
    return x @ w


POINT = np.array([[1.0, 2.0]], np.float32)


def cone(key, n, p, tilt=0.0):
    """Rows with positive products with v, some of them repeated."""
    rows, v = np.asarray(jax.random.normal(key, (n, p))), np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (p,)))
    v = v + tilt * rows.mean(axis=0)
    rows = rows * np.sign(rows @ v)[:, None]
    rows[1], rows[2] = rows[0], 2 * rows[0]
    return rows, v


solve = jax.jit(nonnegative_least_squares, static_argnames="max_steps")


def compare_with_scipy(key, n, p, tilt, precision):
    for seed in range(3):
        rows, v = cone(jax.random.fold_in(key, seed), n, p, tilt)
        found = solve(rows @ rows.T, rows @ v, v @ v)
        _, residual = scipy.optimize.nnls(rows.T.astype(float), v.astype(float))
        mine = np.linalg.norm(v - rows.T @ np.asarray(found.multipliers))
        assert found.multipliers.min() >= 0
        excess = (mine**2 - residual**2) / (v @ v)
        # Rounding of the squared residual itself, n terms.
        rounding = n * float(jnp.finfo(v.dtype).eps)
        assert -rounding <= excess <= float(found.gap) + rounding
        assert found.gap < {"float32": 2e-2, "float64": 1e-8}[precision]
        assert excess < {"float32": 1e-5, "float64": 1e-12}[precision]


@pytest.mark.heavy
def test_nonnegative_least_squares_are_those_of_scipy_with_a_valid_gap(key, precision):
    compare_with_scipy(key, 8, 4, 0.0, precision)


@pytest.mark.float64
@pytest.mark.parametrize(("n", "p", "tilt"), [(100, 20, 5.0), (100, 150, 0.0)])
def test_so_are_larger_ones_whether_rows_are_dependent_or_not(key, n, p, tilt):
    compare_with_scipy(key, n, p, tilt, "float64")


@pytest.mark.any_precision
def test_too_few_steps_show_in_the_gap(key):
    rows, v = cone(key, 8, 12, 3.0)
    assert solve(rows @ rows.T, rows @ v, v @ v, max_steps=1).gap > 1e-3


@pytest.mark.any_precision
def test_rows_of_zeros_have_no_multiplier():
    rows, v = jnp.array([[1.0, 0.0], [0.0, 0.0]]), jnp.array([2.0, 1.0])
    assert solve(rows @ rows.T, rows @ v, v @ v).multipliers.tolist() == [2.0, 0.0]


@pytest.mark.heavy
def test_known_values_of_the_quadratic_model(precision):
    report = jax.jit(partial(max_margin_kkt, quadratic, order=2))
    at_axis = report(jnp.array([1.0, 0.0]), POINT, jnp.ones(1))
    assert at_axis.multipliers[0] == pytest.approx(0.5, rel=1e-5)
    assert at_axis.stationarity < {"float32": 1e-6, "float64": 1e-14}[precision]
    between = report(jnp.array([1.0, 1.0]) / jnp.sqrt(2.0), POINT, jnp.ones(1))
    assert between.stationarity == pytest.approx(10**-0.5, rel=1e-5)
    assert between.complementarity == 0


@pytest.mark.float64
@pytest.mark.parametrize("name", ["linen", "nnx", "cnn"])
def test_multipliers_and_residual_are_those_of_the_explicit_jacobian(key, name):
    x = jax.random.normal(key, (9, 3, 3))
    if name == "linen":
        module = nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(6, use_bias=False), nn.relu, nn.Dense(1, use_bias=False)])
        apply_fn, params = models.from_linen(module, module.init(key, x))
    elif name == "nnx":
        flat = nnx.Linear(9, 1, use_bias=False, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
        apply_fn, params = models.from_nnx(flat)
        x = x.reshape(9, -1)
    else:
        model = models.cnn((3,), 1, bias=False, pooling="none")
        apply_fn, params = model.apply, model.init(key, x)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    order = {"linen": 2, "nnx": 1, "cnn": 2}[name]
    y = jnp.sign(apply_fn(params, x)[:, 0])
    found = jax.jit(partial(max_margin_kkt, apply_fn, order=order))(params, x, y)
    rows = jax.jit(lambda params: jax.vmap(lambda row: ravel_pytree(row)[0])(jax.jacrev(lambda w: y * apply_fn(w, x)[:, 0])(params)))(params)
    w = ravel_pytree(params)[0]
    multipliers, residual = scipy.optimize.nnls(np.asarray(rows).T, np.asarray(w))
    np.testing.assert_allclose(found.multipliers, multipliers, rtol=1e-6, atol=1e-6)
    assert found.stationarity == pytest.approx(residual / float(jnp.linalg.norm(w)), abs=1e-8)
    assert found.euler_residual < 1e-10
    assert found.gap < 1e-10
    in_chunks = jax.jit(partial(max_margin_kkt, apply_fn, order=order, chunk_size=4))(params, x, y)
    assert in_chunks.stationarity == pytest.approx(float(found.stationarity), abs=1e-10)


@pytest.mark.heavy
def test_the_residual_of_a_support_vector_machine_is_rounding(precision):
    z = jnp.array([[2.0, 0.5, 0.0], [0.5, 2.0, 0.0], [3.0, 3.0, 1.0]])
    w = jnp.array([1.0, 1.0, 0.0])
    report = jax.jit(partial(max_margin_kkt, linear, order=1))
    found = report(w, z, jnp.ones(3))
    assert found.stationarity < {"float32": 1e-5, "float64": 1e-8}[precision]
    assert found.complementarity < {"float32": 1e-4, "float64": 1e-8}[precision]
    assert report(jnp.array([2.0, 0.2, 0.0]), z, jnp.ones(3)).complementarity > 0.1


@pytest.mark.any_precision
def test_softmax_multipliers_give_the_angle_to_the_negative_gradient(key):
    x = jax.random.normal(key, (6, 3))
    w = jax.random.normal(jax.random.fold_in(key, 1), (3,))
    y = jnp.sign(x @ w)
    found = max_margin_kkt(linear, w, x, y, order=1, solver="softmax")
    pull = -jax.grad(lambda w: jnp.exp(-y * (x @ w)).sum())(w)
    cosine = w @ pull / jnp.linalg.norm(w) / jnp.linalg.norm(pull)
    assert found.stationarity == pytest.approx(float(jnp.sqrt(1 - cosine**2)), rel=1e-3)
    assert jnp.isinf(found.gap)
    assert found.stationarity >= max_margin_kkt(linear, w, x, y, order=1).stationarity - 1e-6


@pytest.mark.any_precision
def test_nothing_depends_on_the_scale_of_parameters_and_transformations_agree(key):
    x, weights = jax.random.normal(key, (6, 3)), jax.random.normal(jax.random.fold_in(key, 1), (2, 2, 3))
    model = implicit_bias.linear_net(implicit_bias.linear_diagonal)

    def stationarity(w):
        return max_margin_kkt(model, w, x, jnp.sign(x @ w.prod(axis=0)), order=2).stationarity

    compiled = jax.jit(stationarity)
    alone = [compiled(w) for w in weights]
    np.testing.assert_allclose(stationarity(weights[0]), alone[0], rtol=1e-4)
    np.testing.assert_allclose(jax.jit(jax.vmap(stationarity))(weights), alone, rtol=1e-4)
    np.testing.assert_allclose(compiled(1e3 * weights[0]), alone[0], rtol=1e-4)


@pytest.mark.any_precision
def test_a_model_that_is_not_homogeneous_shows_in_the_euler_residual(key):
    x = jax.random.normal(key, (6, 3))
    model = models.mlp((8, 1), bias=True)
    params = jax.tree.map(lambda leaf: leaf + 0.5, model.init(key, x))
    found = max_margin_kkt(model.apply, params, x, jnp.sign(model.apply(params, x)[:, 0]), order=2)
    assert found.euler_residual > 0.01


@pytest.mark.any_precision
def test_traced_wrong_values_give_nan():
    found = jax.jit(lambda w, y: max_margin_kkt(linear, w, jnp.eye(2), y, order=1))
    assert jnp.isnan(found(jnp.array([1.0, -1.0]), jnp.ones(2)).stationarity)
    assert not found(jnp.array([1.0, -1.0]), jnp.ones(2)).feasible
    assert jnp.isnan(found(jnp.array([1.0, 1.0]), jnp.array([1.0, 0.5])).stationarity)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": jnp.array([1.0, -1.0])}, "not separated"),
        ({"y": jnp.array([1.0, 2.0])}, "labels y must be -1 or 1"),
        ({"order": 0}, "order must be positive"),
        ({"solver": "newton"}, "solver must be one of"),
        ({"params": jnp.array([1.0, jnp.nan])}, "params must be finite"),
        ({"apply_fn": lambda w, x: x[:, :, None] * w}, "one output of each of 2"),
        ({"max_steps": 0}, "max_steps"),
    ],
)
def test_bad_input_is_refused_by_message(change, message):
    arguments = {"apply_fn": linear, "params": jnp.ones(2), "x": jnp.eye(2), "y": jnp.ones(2), "order": 1} | change
    with pytest.raises(ValueError, match=message):
        max_margin_kkt(**arguments)


@pytest.mark.any_precision
def test_parameters_must_be_floating_and_systems_must_fit():
    with pytest.raises(TypeError, match="params must be of a floating dtype"):
        max_margin_kkt(linear, jnp.ones(2, int), jnp.eye(2), jnp.ones(2), order=1)
    with pytest.raises(ValueError, match="gram must have shape"):
        nonnegative_least_squares(jnp.eye(3), jnp.ones(2), 1.0)
    with pytest.raises(ValueError, match="squared_norm must be positive"):
        nonnegative_least_squares(jnp.eye(2), jnp.ones(2), 0.0)
