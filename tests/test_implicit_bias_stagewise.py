"""Forward stagewise selection, the path of the lasso, and adaptive methods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import lars_path

from jaxgen import implicit_bias
from jaxgen.implicit_bias import adaptive_descent, forward_stagewise, lasso_path, path_is_monotone, sign_solution

X, Y = np.array([[3.0, -1, 2], [3, -3, 1]]), np.array([-1.0, -3])


def _lars(x, y, lambdas):
    """Weights at the lambdas, between the kinks of the path, for the sum of squares without 1/2n."""
    alphas, _, weights = lars_path(np.asarray(x, float), np.asarray(y, float), method="lasso")
    return np.stack([np.interp(lambdas[::-1], 2 * len(y) * alphas[::-1], w[::-1])[::-1] for w in weights], axis=1)


@pytest.mark.heavy
@pytest.mark.parametrize("shape", [(5, 12), (12, 5)])
def test_the_path_of_the_lasso_is_that_of_lars(shape, key, precision):
    x, y = jax.random.normal(key, shape), jax.random.normal(jax.random.fold_in(key, 1), shape[:1])
    lambdas = 2 * float(jnp.abs(x.T @ y).max()) * np.logspace(0.1, -3, 12)
    path = lasso_path(x, y, jnp.asarray(lambdas))
    np.testing.assert_allclose(path, _lars(x, y, lambdas), atol=1e-9 if precision == "float64" else 1e-3)
    assert (path[0] == 0).all()


@pytest.mark.heavy
def test_the_lasso_of_the_counterexample_has_its_known_values(rtol):
    path = lasso_path(X, Y, jnp.array([20.0, 10.0, 5.0, 1.0]))
    np.testing.assert_allclose(path[:, 0], [-1 / 9, -5 / 18, -5 / 36, -1 / 36], rtol=1e-4)
    np.testing.assert_allclose(lasso_path(X, Y, jnp.array([1e-3]))[0], [0, 1, 0], atol=1e-3)
    assert not path_is_monotone(path)
    assert path_is_monotone(path[:, 1:])
    assert path_is_monotone(-path[::-1, 1:])


@pytest.mark.heavy
def test_stagewise_misses_the_least_l1_norm_where_the_lasso_is_not_monotone():
    """23/15 for infinitesimal steps, 1.5352 at a step of 1e-3; the interpolator (0, 1, 0) has norm 1."""
    w, _ = forward_stagewise(X, Y, 1e-3, 20_000)
    np.testing.assert_allclose(jnp.abs(w).sum(), 1.5352, atol=1e-4)
    np.testing.assert_allclose(X @ np.asarray(w), Y, atol=1e-3)


@pytest.mark.float64
def test_stagewise_follows_the_lasso_where_that_is_monotone(key):
    """Rows of disjoint supports: at each record the lasso with lambda the largest gradient, up to a step."""
    x = jnp.kron(jnp.eye(2), jnp.array([[1.0, -2.0, 0.5]])) + jnp.array([[0.3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1.7]])
    y = jnp.array([1.0, -3.0])
    w, (path, largest) = forward_stagewise(x, y, 1e-3, 6000, record=lambda w, g, t: (w, jnp.abs(g).max()), every=400)
    expected = lasso_path(x, y, largest)
    assert path_is_monotone(expected)
    np.testing.assert_allclose(path, expected, atol=2e-2)
    np.testing.assert_allclose(jnp.abs(w).sum(), 1 / 2 + 3 / 2.2, atol=1e-3)


@pytest.mark.float64
def test_compiled_and_mapped_paths_are_the_same(key, rtol):
    x = jax.random.normal(key, (3, 4, 6))
    y, lambdas = x.sum(axis=2), jnp.array([3.0, 1.0, 0.3])
    paths = jax.jit(jax.vmap(lambda x, y: lasso_path(x, y, lambdas)))(x, y)
    np.testing.assert_allclose(paths, jnp.stack([lasso_path(*pair, lambdas) for pair in zip(x, y, strict=True)]), atol=1e3 * rtol)


@pytest.mark.float64
def test_derivatives_of_the_lasso_are_those_of_central_differences(key):
    lambdas = jnp.array([9.0, 3.0])

    def total(x, y, lambdas):
        return (lasso_path(x, y, lambdas) ** 3).sum()

    data = (jnp.asarray(X), jnp.asarray(Y), lambdas)
    along = [jax.random.normal(jax.random.fold_in(key, i), leaf.shape) for i, leaf in enumerate(data)]
    gradients = jax.grad(total, argnums=(0, 1, 2))(*data)
    up, down = (total(*[leaf + sign * 1e-6 * v for leaf, v in zip(data, along, strict=True)]) for sign in (1, -1))
    np.testing.assert_allclose(sum(jnp.vdot(g, v) for g, v in zip(gradients, along, strict=True)), (up - down) / 2e-6, rtol=1e-6)


@pytest.mark.any_precision
def test_zero_and_repeated_columns_are_warned_of():
    x = jnp.array([[0.0, 1, 2, -1], [0, 2, 3, -2]])
    for run in (lambda: forward_stagewise(x, jnp.ones(2), 0.01, 3), lambda: lasso_path(x, jnp.ones(2), jnp.array([0.1]))):
        with pytest.warns(UserWarning, match=r"columns \[0\] of x are zero"), pytest.warns(UserWarning, match=r"columns \[3\] of x repeat"):
            run()


@pytest.mark.any_precision
def test_a_lasso_with_repeated_columns_has_one_of_its_solutions():
    x, y = jnp.array([[1.0, -1, 2], [2, -2, 1]]), jnp.array([1.0, 3.0])
    with pytest.warns(UserWarning, match="repeat"):
        path = lasso_path(x, y, jnp.array([4.0, 0.5]))
    once = lasso_path(x[:, [0, 2]], y, jnp.array([4.0, 0.5]))
    np.testing.assert_allclose(path[:, 0] - path[:, 1], once[:, 0], atol=1e-4)
    np.testing.assert_allclose(path[:, 2], once[:, 1], atol=1e-4)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: forward_stagewise(X, Y, 0.06, 3), ValueError, "step must be positive and below"),
        (lambda: forward_stagewise(X, Y, 0.0, 3), ValueError, "step must be positive"),
        (lambda: forward_stagewise(X, Y, jnp.ones(3), 3), ValueError, "step must be a scalar"),
        (lambda: forward_stagewise(X, Y, 0.01, -1), ValueError, "num_steps"),
        (lambda: forward_stagewise(X, Y[:1], 0.01, 3), ValueError, "y must have one target per row"),
        (lambda: lasso_path(X, Y, jnp.array([1.0, 0.0])), ValueError, "lambdas must be positive"),
        (lambda: lasso_path(X, Y, 1.0), ValueError, "lambdas must be a vector"),
        (lambda: lasso_path(X, Y, jnp.array([0.1]), max_steps=1), ValueError, "did not reach a violation of 1e-05 in 1 steps"),
        (lambda: path_is_monotone(jnp.ones(3)), ValueError, "path must have one row per point"),
        (lambda: adaptive_descent("sgd", jnp.negative, jnp.ones(2), jnp.ones(2)), ValueError, "kind must be one of"),
        (lambda: adaptive_descent("adam", jnp.negative, jnp.ones(2), jnp.ones(2), epsilon=-1.0), ValueError, "epsilon must be at least 0"),
        (lambda: adaptive_descent("adam", jnp.sum, jnp.ones(2), jnp.ones(2)), ValueError, "grad_fn must return the shape"),
        (lambda: sign_solution(X, Y), ValueError, "with one number c; here it ranges from"),
        (lambda: sign_solution(jnp.array([[1.0, 1.0], [1.0, -1.0]]), jnp.ones(2)), ValueError, "X\\^T y has a zero entry"),
        (lambda: sign_solution(X, Y * 0), ValueError, "y must not be zero"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.any_precision
def test_traced_wrong_values_give_nan():
    assert jnp.isnan(jax.jit(lambda step: forward_stagewise(X, Y, step, 3)[0])(0.2)).all()
    assert jnp.isnan(jax.jit(lambda lambdas: lasso_path(X, Y, lambdas))(jnp.array([1.0, -1.0]))).all()
    assert jnp.isnan(jax.jit(sign_solution)(X, Y)).all()
    short = jax.jit(lambda lambdas: lasso_path(X, Y, lambdas, max_steps=1))(jnp.array([100.0, 0.1]))
    assert (short[0] == 0).all()
    assert jnp.isnan(short[1]).all()


def _six_points():
    """Feature 1 is the label, features 2 and 3 are one, and each point has features of its own: one if positive, five if negative."""
    labels = np.array([1.0, 1, 1, 1, -1, -1])
    columns = [labels, np.ones(6), np.ones(6)]
    for row, label in enumerate(labels):
        columns += [np.eye(6)[row]] * (1 if label > 0 else 5)
    return jnp.asarray(np.stack(columns, axis=1)), jnp.asarray(labels)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("kind", "rates"), [("adagrad", np.full(400, 0.1)), ("rmsprop", 0.05 * 0.94 ** np.arange(500)), ("adam", 0.02 * 0.998 ** np.arange(5000))]
)
def test_adaptive_methods_reach_the_sign_solution(kind, rates, precision):
    x, y = _six_points()
    expected = sign_solution(x, y)
    np.testing.assert_allclose(expected, 0.25 * jnp.sign(x.T @ y), rtol=1e-6)
    w, sizes = adaptive_descent(
        kind, lambda w: 2 * x.T @ (x @ w - y), jnp.zeros(x.shape[1]), jnp.asarray(rates), record=lambda w, g, t: w.max(), every=100
    )
    np.testing.assert_allclose(w, expected, atol=100 * np.finfo(precision).eps)
    assert sizes[0] == 0
    assert sizes.shape == (len(rates) // 100,)
    nearest = implicit_bias.min_norm_interpolator(x, y)
    np.testing.assert_allclose(jnp.linalg.norm(w - nearest), 0.652, atol=5e-4)


@pytest.mark.float64
def test_the_adaptive_step_is_that_of_its_formula(key, precision):
    """Three steps by hand on f = sum w^4 / 4."""
    w0, rate, eps = jax.random.normal(key, (4,)), 0.1, 1e-3
    first = second = total = average = np.zeros(4)
    points = {kind: np.asarray(w0, float) for kind in ("adagrad", "rmsprop", "adam")}
    for t in range(1, 4):
        g = points["adagrad"] ** 3
        total = total + g**2
        points["adagrad"] = points["adagrad"] - rate * g / np.sqrt(total + eps**2)
        g = points["rmsprop"] ** 3
        average = 0.9 * average + 0.1 * g**2
        points["rmsprop"] = points["rmsprop"] - rate * g / (np.sqrt(average) + eps)
        g = points["adam"] ** 3
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        points["adam"] = points["adam"] - rate * first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.999**t)) + eps)
    for kind, expected in points.items():
        w, _ = adaptive_descent(kind, lambda w: w**3, w0, jnp.full(3, rate), epsilon=eps)
        np.testing.assert_allclose(w, expected, rtol=1e-12 if precision == "float64" else 3e-4)
