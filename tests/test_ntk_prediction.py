"""Predictions under a constant kernel: closed forms, general losses, ensembles, against linearized models that are trained (NTK-2, 7, 22)."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

from jaxgen import models, ntk
from jaxgen.claims.ntk._wide import over_nets, sphere, trained, two_layer

NET = models.mlp((16, 3), activation="tanh", parametrization="ntk")
N, M, C = 6, 4, 3


class Net(NamedTuple):
    """A net at initialization: its Jacobian, its kernels and its outputs, by autodiff."""

    jacobian: jax.Array
    full: jax.Array
    k_test: jax.Array
    f0: jax.Array
    f0_test: jax.Array
    y: jax.Array


@pytest.fixture
def net(key):
    x, x_test = jax.random.normal(key, (N, 4)), jax.random.normal(jax.random.fold_in(key, 1), (M, 4))
    params = NET.init(jax.random.fold_in(key, 2), x)
    vector, restore = ravel_pytree(params)
    outputs = jax.jit(lambda v: NET.apply(restore(v), jnp.concatenate([x, x_test])))
    jacobian, f0 = jax.jacrev(outputs)(vector), outputs(vector)
    kernel = jnp.einsum("ncp,mdp->nmcd", jacobian, jacobian[:N], precision="highest")
    return Net(jacobian, kernel[:N], kernel[N:], f0[:N], f0[N:], jax.random.normal(jax.random.fold_in(key, 3), (N, C)))


def _trained(net, loss_gradient, rate, num_steps, momentum=0.0):
    """Outputs of the linearized net after gradient descent on its parameters, in float64."""
    jacobian, f0 = np.float64(net.jacobian).reshape((N + M) * C, -1), np.float64(jnp.concatenate([net.f0, net.f0_test])).ravel()
    moved, velocity = np.zeros(jacobian.shape[1]), np.zeros(jacobian.shape[1])
    for _ in range(num_steps):
        u = (f0 + jacobian @ moved)[: N * C].reshape(N, C)
        velocity = momentum * velocity + jacobian[: N * C].T @ loss_gradient(u).ravel()
        moved = moved - rate * velocity
    return (f0 + jacobian @ moved)[N * C :].reshape(M, C)


@pytest.fixture
def rate(net):
    return 0.3 * float(ntk.max_stable_learning_rate(net.full))


@pytest.mark.heavy
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_descent_of_the_linearized_net_is_predicted(net, rate, momentum, precision):
    found = ntk.predict(net.full, net.y, net.k_test, net.f0, net.f0_test, learning_rate=rate, num_steps=jnp.array([0, 500]), momentum=momentum)
    np.testing.assert_allclose(found[0], net.f0_test)
    expected = _trained(net, lambda u: u - np.float64(net.y), rate, 500, momentum)
    np.testing.assert_allclose(found[1], expected, atol={"float32": 2e-4, "float64": 1e-10}[precision])


@pytest.mark.float64
def test_predicted_flow_solves_its_equation(net, precision):
    """The derivative of the prediction at the training points is -H (u - y)."""
    predict = partial(ntk.predict, net.full, net.y, net.full, net.f0, net.f0)
    u, slope = jax.jvp(lambda t: predict(t=t), (0.3,), (1.0,))
    expected = -jnp.einsum("nmcd,md->nc", net.full, u - net.y, precision="highest")
    np.testing.assert_allclose(slope, expected, rtol=1e-3 if precision == "float32" else 1e-9, atol=1e-4 if precision == "float32" else 1e-9)


@pytest.mark.heavy
def test_one_point_decays_exponentially(rtol):
    h, y, u0, times = jnp.array([[1.7]]), jnp.array([2.0]), -1.0, jnp.array([0.0, 0.5, 3.0])
    found = ntk.predict(h, y, h, u0, u0, t=times)
    np.testing.assert_allclose(found[:, 0], 2 - 3 * np.exp(-1.7 * np.asarray(times)), rtol=10 * rtol, atol=10 * rtol)


@pytest.mark.slow
def test_a_null_mode_is_not_fitted(rtol):
    h = jnp.diag(jnp.array([1.0, 0.0]))
    found = ntk.predict(h, jnp.ones(2), h, learning_rate=0.1, num_steps=10)
    np.testing.assert_allclose(found, [0.6513215599, 0.0], rtol=10 * rtol)
    np.testing.assert_allclose(ntk.predict(h, jnp.ones(2), h), [1.0, 0.0], rtol=10 * rtol)


@pytest.mark.heavy
def test_at_long_times_rounding_is_not_fitted(key, precision):
    """A kernel of rank 3 on 8 points: at any long time, the regression on its three features."""
    x, z, y = (jax.random.normal(jax.random.fold_in(key, i), shape) for i, shape in enumerate([(8, 3), (5, 3), (8,)]))
    expected = np.float64(z) @ np.linalg.pinv(np.float64(x)) @ np.float64(y)
    found = ntk.predict(x @ x.T, y, z @ x.T, t=jnp.array([1e20, 1e30, jnp.inf]))
    np.testing.assert_allclose(found, np.broadcast_to(expected, (3, 5)), atol=1e-3 if precision == "float32" else 1e-10)


@pytest.mark.heavy
def test_a_shared_kernel_is_a_full_one_that_keeps_outputs_apart(net, rtol):
    shared, shared_test = net.full[:, :, 0, 0], net.k_test[:, :, 0, 0]
    unit = jnp.eye(C)
    options = {"t": jnp.array([0.1, 2.0]), "loss_scale": 1 / N, "ridge": 0.1}
    full = ntk.predict(shared[..., None, None] * unit, net.y, shared_test[..., None, None] * unit, net.f0, net.f0_test, **options)
    assert full.shape == (2, M, C)
    np.testing.assert_allclose(ntk.predict(shared, net.y, shared_test, net.f0, net.f0_test, **options), full, rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.any_precision
def test_a_loss_scale_is_one_of_time_and_of_step_size(net, rtol):
    predict = partial(ntk.predict, net.full, net.y, net.k_test, net.f0, net.f0_test)
    np.testing.assert_allclose(predict(t=6.0, loss_scale=1 / 6), predict(t=1.0), rtol=100 * rtol, atol=100 * rtol)
    scaled = predict(learning_rate=0.6, num_steps=7, loss_scale=1 / 6)
    np.testing.assert_allclose(scaled, predict(learning_rate=0.1, num_steps=7), rtol=100 * rtol, atol=100 * rtol)


def test_a_ridge_is_kernel_ridge_regression(net, rtol):
    h, k = (np.float64(kernel[:, :, 0, 0]) for kernel in (net.full, net.k_test))
    expected = net.f0_test + k @ np.linalg.solve(h + 0.1 * np.eye(N), np.float64(net.y - net.f0))
    found = ntk.predict(h.astype(net.full.dtype), net.y, k.astype(net.full.dtype), net.f0, net.f0_test, ridge=0.1)
    np.testing.assert_allclose(found, expected, rtol=200 * rtol, atol=200 * rtol)


@pytest.mark.any_precision
def test_trained_wide_nets_approach_the_prediction_from_their_start_and_not_that_of_the_print(key):
    """First layers of ReLU nets, 6 nets a width; equation (9.6) of the source forgets the outputs at the start, whose size is one."""

    @jax.jit
    def errors(key):
        points, y = sphere(key, 16, 8), jax.random.normal(key, (10,))
        x, z = points[:10], points[10:]
        predict = partial(ntk.predict, ntk.infinite.two_layer(x), y, ntk.infinite.two_layer(z, x), learning_rate=0.5, num_steps=120)

        def of_net(key, width):
            net, weights = two_layer(key, width, 8, largest=1024)
            end, _ = trained(net, weights, x, y, 0.5, 120)
            return net(end, z) - predict(net(weights, x), net(weights, z)), net(end, z) - predict()

        return over_nets(of_net, key, (64, 1024), 6)

    right, printed = errors(key)
    narrow, wide = np.sqrt(np.mean(np.square(right), axis=(1, 2)))
    # Errors are of order m^-1/2: a fourth for 16 times the width, and twice that for the spread of 36 numbers.
    assert wide < 0.5 * narrow
    assert wide < 0.1
    assert np.sqrt(np.mean(np.square(printed[1]))) > 0.3


@pytest.mark.any_precision
def test_the_largest_stable_step(net, rate):
    assert float(ntk.max_stable_learning_rate(jnp.diag(jnp.array([4.0, 1.0])))) == 0.5
    assert float(ntk.max_stable_learning_rate(jnp.diag(jnp.array([4.0, 1.0])), 0.5, loss_scale=0.25)) == 3.0
    assert ntk.max_stable_learning_rate(jnp.zeros((2, 2))) == np.inf
    for momentum in (0.0, 0.5):
        stable = float(ntk.max_stable_learning_rate(net.full, momentum))
        below, above = (
            ntk.predict(net.full, net.y, net.full, net.f0, net.f0, learning_rate=s * stable, num_steps=100, momentum=momentum) for s in (0.9, 1.1)
        )
        assert np.abs(below - net.y).max() < 10
        assert np.abs(above - net.y).max() > 1e6


@pytest.mark.float64
def test_squared_loss_by_the_solver_is_the_closed_form(net, precision):
    times = jnp.array([0.0, 0.1, 1.0])
    flow = ntk.predict_flow(models.half_squared_error, net.full, net.y, net.k_test, net.f0, net.f0_test, t=times)
    closed = ntk.predict(net.full, net.y, net.k_test, net.f0, net.f0_test, t=times)
    # half_squared_error is half the sum over outputs.
    np.testing.assert_allclose(flow.test, closed, atol=2e-3 if precision == "float32" else 1e-7)
    np.testing.assert_allclose(flow.train[0], net.f0, atol=1e-6)


@pytest.mark.heavy
def test_cross_entropy_by_its_map_is_descent_on_the_linearized_net(net, rate, precision):
    labels = jnp.array([0, 1, 2, 0, 1, 2])
    found = ntk.predict_descent(
        models.softmax_cross_entropy, net.full, labels, net.k_test, net.f0, net.f0_test, learning_rate=rate, num_steps=60, every=20, momentum=0.5
    )
    assert found.train.shape == (4, N, C)

    def slope(u):
        p = np.exp(u - u.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True) - np.eye(C)[np.asarray(labels)]

    for row, count in zip(found.test, (0, 20, 40, 60), strict=True):
        np.testing.assert_allclose(row, _trained(net, slope, rate, count, 0.5), atol=1e-4 if precision == "float32" else 1e-10)


@pytest.mark.float64
def test_cross_entropy_by_the_solver_is_the_limit_of_its_map(net, rate):
    labels = jnp.array([0, 1, 2, 0, 1, 2])
    arguments = models.softmax_cross_entropy, net.full, labels, net.k_test, net.f0, net.f0_test
    flow = ntk.predict_flow(*arguments, t=jnp.array([0.5]))
    errors = [np.abs(ntk.predict_descent(*arguments, learning_rate=0.5 / k, num_steps=k).test[-1] - flow.test[0]).max() for k in (100, 400)]
    assert 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.any_precision
def test_predictions_under_jit_vmap_and_grad(net, rtol):
    predict = jax.jit(lambda y: ntk.predict(net.full, y, net.k_test, net.f0, net.f0_test, t=1.0))
    eager = ntk.predict(net.full, net.y, net.k_test, net.f0, net.f0_test, t=1.0)
    np.testing.assert_allclose(predict(net.y), eager, rtol=100 * rtol, atol=100 * rtol)
    np.testing.assert_allclose(jax.vmap(predict)(jnp.stack([net.y, net.y]))[1], eager, rtol=100 * rtol, atol=100 * rtol)
    slope = jax.grad(lambda y: predict(y).sum())(net.y)
    np.testing.assert_allclose(predict(net.y + 1.0).sum() - predict(net.y).sum(), slope.sum(), rtol=1e-3, atol=1e-3)
    assert np.isnan(jax.jit(lambda k: ntk.predict(k, net.y, net.k_test))(-net.full)).all()


@pytest.mark.float64
@pytest.mark.parametrize("options", [{"ridge": 0.1}, {"t": 0.7}, {"learning_rate": 0.05, "num_steps": 9}])
def test_derivatives_in_the_kernel_are_those_of_finite_differences(net, options):
    def prediction(power):
        return ntk.predict(net.full * power, net.y, net.k_test * power, net.f0, net.f0_test, **options).sum()

    step = 1e-6
    difference = (prediction(1.3 + step) - prediction(1.3 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(prediction)(1.3), difference, rtol=1e-6, atol=1e-6)


class Pair(NamedTuple):
    ntk: jax.Array
    nngp: jax.Array


def _linear_pair(x, z):
    return Pair(x @ z.T + 1, x @ z.T + 1)


@pytest.mark.heavy
def test_the_ensemble_of_last_layers_is_a_gaussian_process(key, precision):
    x, z = jax.random.normal(key, (5, 6)), jax.random.normal(jax.random.fold_in(key, 1), (3, 6))
    y = jax.random.normal(jax.random.fold_in(key, 2), (5,))
    found = ntk.ensemble(_linear_pair(x, x), y, _linear_pair(z, x), _linear_pair(z, z))
    process = GaussianProcessRegressor(DotProduct(1.0), alpha=1e-14, optimizer=None).fit(np.float64(x), np.float64(y))
    mean, covariance = process.predict(np.float64(z), return_cov=True)
    atol = 2e-3 if precision == "float32" else 1e-9
    np.testing.assert_allclose(found.mean, mean, atol=atol)
    np.testing.assert_allclose(found.covariance, covariance, atol=atol)


def test_before_training_the_ensemble_is_the_prior(key, rtol):
    x, z = jax.random.normal(key, (5, 6)), jax.random.normal(jax.random.fold_in(key, 1), (3, 6))
    found = ntk.ensemble(_linear_pair(x, x), jnp.ones((5, 2)), _linear_pair(z, x), _linear_pair(z, z), t=jnp.array([0.0, 1.0]))
    assert found.mean.shape == (2, 3, 2)
    np.testing.assert_array_equal(found.mean[0], 0)
    np.testing.assert_allclose(found.covariance[0], z @ z.T + 1, rtol=10 * rtol, atol=10 * rtol)


@pytest.mark.slow
@pytest.mark.any_precision
def test_the_ensemble_is_the_law_of_linearized_nets(key):
    """500 nets with features A x and independent N(0, Sigma) starts, each trained; mean and covariance within 4.5 standard errors."""
    x, z = jax.random.normal(key, (4, 5)), jax.random.normal(jax.random.fold_in(key, 1), (3, 5))
    y, mix = jnp.array([1.0, -1.0, 0.5, 0.0]), jax.random.normal(jax.random.fold_in(key, 2), (5, 5)) / 2
    both = jnp.concatenate([x, z])
    tangent, prior = both @ both.T, both @ mix @ mix.T @ both.T
    found = ntk.ensemble(Pair(tangent[:4, :4], prior[:4, :4]), y, Pair(tangent[4:, :4], prior[4:, :4]), Pair(tangent[4:, 4:], prior[4:, 4:]), t=0.2)
    starts = jax.random.normal(jax.random.fold_in(key, 3), (500, 5)) @ mix.T @ both.T
    ends = jax.vmap(lambda f: ntk.predict(tangent[:4, :4], y, tangent[4:, :4], f[:4], f[4:], t=0.2))(starts)
    centred = ends - found.mean
    assert np.all(np.abs(centred.mean(axis=0)) < 4.5 * ends.std(axis=0) / np.sqrt(500))
    products = centred[:, :, None] * centred[:, None, :]
    assert np.all(np.abs(products.mean(axis=0) - found.covariance) < 4.5 * products.std(axis=0) / np.sqrt(500))


K, Y = np.eye(3), np.ones(3)
FULL = np.eye(3)[:, :, None, None] * np.eye(2)
SQUARED = models.half_squared_error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ntk.predict(np.ones((3, 2)), Y, K), "k_train must have shape"),
        (lambda: ntk.predict(np.ones((3, 3, 2)), Y, K), "k_train must have shape"),
        (lambda: ntk.predict(K, np.ones(2), K), r"y must have shape \(3,\)"),
        (lambda: ntk.predict(K, Y, np.ones((2, 2))), "k_test must have shape"),
        (lambda: ntk.predict(FULL, np.ones((3, 3)), FULL), r"y must have shape \(3, 2\) for a full kernel"),
        (lambda: ntk.predict(FULL, np.ones((3, 2)), K), "k_test must have shape"),
        (lambda: ntk.predict(K, Y, K, np.ones(2)), "f0_train must have a shape"),
        (lambda: ntk.predict(K, Y, K, 0.0, np.ones((2, 2))), "f0_test must have a shape"),
        (lambda: ntk.predict(-K, Y, K), "k_train must be positive semidefinite"),
        (lambda: ntk.predict(np.triu(np.ones((3, 3))), Y, K), "k_train must be symmetric"),
        (lambda: ntk.predict(K, Y, K, ridge=-0.1), "ridge must be at least 0"),
        (lambda: ntk.predict(K, Y, K, t=-1.0), "t must be at least 0"),
        (lambda: ntk.predict(K, Y, K, num_steps=3), "belong together"),
        (lambda: ntk.predict(K, Y, K, learning_rate=-0.1, num_steps=3), "learning_rate must be positive"),
        (lambda: ntk.predict(K, Y, K, learning_rate=0.1, num_steps=-3), "num_steps must be whole"),
        (lambda: ntk.predict(K, Y, K, t=1.0, learning_rate=0.1, num_steps=3), "time of gradient flow"),
        (lambda: ntk.predict(K, Y, K, loss_scale=-1.0), "loss_scale must be positive"),
        (lambda: ntk.max_stable_learning_rate(np.ones((2, 3))), "kernel must have shape"),
        (lambda: ntk.max_stable_learning_rate(K, 1.0), "momentum must be in"),
        (lambda: ntk.predict_flow(SQUARED, K, Y, K, Y, Y, t=[1.0, 0.5]), "t must be finite, at least 0 and increasing"),
        (lambda: ntk.predict_flow(SQUARED, K, Y, K, Y, Y, t=1.0), "t must be a vector"),
        (lambda: ntk.predict_flow(lambda u, y: u.sum(), K, Y, K, Y, Y, t=[1.0]), "loss must return one value per example"),
        (lambda: ntk.predict_descent(SQUARED, -K, Y, K, Y, Y, learning_rate=0.1, num_steps=2), "k_train must be positive semidefinite"),
        (lambda: ntk.predict_descent(SQUARED, K, Y, K, Y, Y, learning_rate=0.1, num_steps=5, every=2), "every must divide"),
        (lambda: ntk.predict_descent(SQUARED, K, np.ones(2), K, Y, Y, learning_rate=0.1, num_steps=5), "y must have 3 rows"),
        (lambda: ntk.predict_descent(SQUARED, K, Y, K, Y, Y, learning_rate=0.0, num_steps=5), "learning_rate must be positive"),
        (lambda: ntk.ensemble(Pair(K, -K), Y, Pair(K, K), Pair(K, K)), "train.nngp must be positive semidefinite"),
        (lambda: ntk.ensemble(Pair(K, K), Y, Pair(K, K), Pair(K, K[:2])), "test.nngp must have shape"),
    ],
)
@pytest.mark.any_precision
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
