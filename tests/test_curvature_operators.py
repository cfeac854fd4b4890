"""Gauss-Newton and Fisher operators against dense matrices, entry by entry."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import curvature, models

N = 6


@pytest.fixture
def net(key):
    model = models.mlp((4, 3), activation="tanh")
    x = jax.random.normal(key, (N, 2))
    return model.apply, jax.jit(model.init)(key, x), x, jnp.arange(N) % 3


def _jacobian(fn, params):
    flat, unravel = ravel_pytree(params)
    return jax.jit(jax.jacobian(lambda w: fn(unravel(w))))(flat)


@jax.jit
def _matrix(operator):
    return operator.as_matrix()


@jax.jit
def _softmax_information(outputs):
    p = jax.nn.softmax(outputs)
    return jax.vmap(jnp.diag)(p) - jnp.einsum("nc,nd->ncd", p, p)


def _check(operator, expected, rtol):
    scale = float(jnp.abs(expected).max())
    given = jax.tree.map(jnp.cos, operator.params)
    matrix, quadratic, product = jax.jit(lambda o, v: (o.as_matrix(), o.quadratic_form()(v), o.mv(v)))(operator, given)
    vector = ravel_pytree(given)[0]
    np.testing.assert_allclose(matrix, expected, rtol=10 * rtol, atol=10 * rtol * scale)
    np.testing.assert_allclose(ravel_pytree(product)[0], expected @ vector, rtol=20 * rtol, atol=20 * rtol * scale)
    np.testing.assert_allclose(quadratic, vector @ expected @ vector, rtol=50 * rtol, atol=50 * rtol * scale)


@pytest.mark.slow
def test_gauss_newton_and_model_fisher_of_cross_entropy_are_one_matrix(net, rtol):
    apply_fn, params, x, y = net
    jacobian, information = _jacobian(lambda p: apply_fn(p, x), params), _softmax_information(jax.jit(apply_fn)(params, x))
    expected = jnp.einsum("ncp,ncd,ndq->pq", jacobian, information, jacobian) / N
    _check(curvature.gauss_newton(apply_fn, "cross_entropy", params, x, y), expected, rtol)
    _check(curvature.fisher(apply_fn, optax.losses.softmax_cross_entropy_with_integer_labels, params, x), expected, rtol)
    hessian = _matrix(curvature.hessian(models.loss_fn(apply_fn, "cross_entropy"), params, (x, y)))
    assert float(jnp.abs(hessian - expected).max()) > 0.01


@pytest.mark.float64
def test_squared_loss_has_the_jacobians_gram_for_both(net, rtol):
    apply_fn, params, x, _ = net
    jacobian = _jacobian(lambda p: apply_fn(p, x), params)
    expected = jnp.einsum("ncp,ncq->pq", jacobian, jacobian) / N
    _check(curvature.gauss_newton(apply_fn, "squared", params, x, jnp.ones((N, 3))), expected, rtol)
    _check(curvature.fisher(apply_fn, "squared", params, x), expected, rtol)
    _check(curvature.fisher(apply_fn, lambda o, y: jnp.sum((o - y) ** 2, axis=1), params, x, likelihood="gaussian"), 2 * expected, rtol)


@pytest.mark.float64
def test_two_classes_by_one_output(net, rtol):
    """Bernoulli labels: p (1 - p) times the squared slope of the logit."""
    apply_fn, params, x, y = net

    def logit(params, x):
        return apply_fn(params, x)[:, 0]

    jacobian, p = _jacobian(lambda w: logit(w, x), params), jax.nn.sigmoid(jax.jit(logit)(params, x))
    expected = jnp.einsum("np,n,nq->pq", jacobian, p * (1 - p), jacobian) / N
    _check(curvature.fisher(logit, "cross_entropy", params, x), expected, rtol)
    _check(curvature.fisher(lambda w, x: logit(w, x)[:, None], "cross_entropy", params, x), expected, rtol)
    _check(curvature.gauss_newton(logit, "cross_entropy", params, x, y % 2), expected, rtol)


@pytest.mark.float64
def test_the_model_fisher_is_the_mean_over_the_models_own_labels(net, rtol):
    """Labels enumerated, scores by differentiation of the loss in the parameters; also for a likelihood that is no softmax."""
    apply_fn, params, x, _ = net

    def probit(outputs, y):
        likelihood = jax.nn.softmax(jnp.arctan(outputs) ** 3)
        return -jnp.log(jnp.take_along_axis(likelihood, y[:, None], axis=1)[:, 0])

    def losses(params):
        return jnp.stack([probit(apply_fn(params, x), jnp.full(N, label)) for label in range(3)])

    scores = _jacobian(losses, params)
    expected = jnp.einsum("yn,ynp,ynq->pq", jnp.exp(-jax.jit(losses)(params)), scores, scores) / N
    _check(curvature.fisher(apply_fn, probit, params, x), expected, rtol)
    gauss_newton = _matrix(curvature.gauss_newton(apply_fn, probit, params, x, jnp.arange(N) % 3))
    assert float(jnp.abs(gauss_newton - expected).max()) > 0.01


@pytest.mark.float64
def test_the_empirical_fisher_is_the_second_moment_of_gradients(net, rtol):
    apply_fn, params, x, y = net
    loss_fn = models.loss_fn(apply_fn, "cross_entropy")
    gradients = _jacobian(lambda p: loss_fn(p, (x, y)), params)
    _check(curvature.fisher(apply_fn, "cross_entropy", params, x, y, kind="empirical"), gradients.T @ gradients / N, rtol)


@pytest.mark.any_precision
def test_hessian_and_gauss_newton_agree_for_a_linear_model(key):
    x, y = jax.random.normal(key, (N, 3)), jnp.arange(N) % 2
    operators = [
        curvature.hessian(models.loss_fn(lambda w, x: x @ w, "cross_entropy"), jnp.ones((3, 2)), (x, y)),
        curvature.gauss_newton(lambda w, x: x @ w, "cross_entropy", jnp.ones((3, 2)), x, y),
    ]
    np.testing.assert_allclose(*map(_matrix, operators), atol=1e-6)


@pytest.mark.any_precision
def test_fishers_say_that_they_are_positive(net):
    apply_fn, params, x, y = net
    model, empirical = (
        curvature.fisher(apply_fn, "cross_entropy", params, x),
        curvature.fisher(apply_fn, "squared", params, x, x[:, :1], kind="empirical"),
    )
    gauss_newton = curvature.gauss_newton(apply_fn, "cross_entropy", params, x, y)
    assert lx.is_positive_semidefinite(model)
    assert lx.is_positive_semidefinite(empirical)
    assert not lx.is_positive_semidefinite(gauss_newton)
    assert lx.is_symmetric(gauss_newton)
    assert lx.is_positive_semidefinite(lx.linearise(model))


@pytest.mark.any_precision
def test_conjugate_gradients_run_on_a_fisher(key):
    x = jax.random.normal(key, (20, 3))
    operator = curvature.fisher(lambda w, x: x @ w, "squared", jnp.zeros(3), x)
    solution = lx.linear_solve(operator, jnp.ones(3), lx.CG(rtol=1e-6, atol=1e-6)).value
    np.testing.assert_allclose(solution, jnp.linalg.solve(x.T @ x / 20, jnp.ones(3)), rtol=1e-4)


@pytest.mark.any_precision
def test_a_hundred_steps_compile_once(net, key):
    """Operators with new parameters at every step, their traces taken with and without a `jit` of one's own."""
    apply_fn, params, x, y = net
    traces = []

    def loss_fn(params, batch):
        traces.append(1)
        return models.loss_fn(apply_fn, "cross_entropy")(params, batch)

    @jax.jit
    def trace(operator, key):
        return curvature.trace(operator, key, num_matvecs=2).value

    counts = []
    for step in range(100):
        params = jax.tree.map(lambda leaf, step=step: leaf * (1 + 1e-3 * step), params)
        operator = curvature.hessian(loss_fn, params, (x, y))
        within = trace(operator, jax.random.fold_in(key, step))
        alone = curvature.trace(operator, jax.random.fold_in(key, step), num_matvecs=2).value
        np.testing.assert_allclose(within, alone, rtol=1e-4, atol=1e-5)
        counts.append(len(traces))
    assert trace._cache_size() == 1
    assert counts[0] == counts[-1]


@pytest.mark.any_precision
def test_bad_input_is_named(net):
    apply_fn, params, x, y = net
    poisoned = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), params)
    with pytest.raises(ValueError, match="params must be finite"):
        curvature.gauss_newton(apply_fn, "cross_entropy", poisoned, x, y)
    with pytest.raises(ValueError, match=r"every leaf of \(x, y\) must have the same leading axis"):
        curvature.gauss_newton(apply_fn, "cross_entropy", params, x, y[:2])
    with pytest.raises(ValueError, match="must hold at least one example; got 0"):
        curvature.fisher(apply_fn, "cross_entropy", params, x[:0])
    with pytest.raises(ValueError, match="loss must be one of"):
        curvature.gauss_newton(apply_fn, "hinge", params, x, y)
    with pytest.raises(ValueError, match="kind must be one of 'model', 'empirical'; got 'true'"):
        curvature.fisher(apply_fn, "cross_entropy", params, x, y, kind="true")
    with pytest.raises(ValueError, match="likelihood must be one of"):
        curvature.fisher(apply_fn, "cross_entropy", params, x, likelihood="poisson")
    with pytest.raises(ValueError, match="y must be given for the empirical Fisher"):
        curvature.fisher(apply_fn, "cross_entropy", params, x, kind="empirical")
    with pytest.raises(TypeError, match="params must be of a floating dtype"):
        curvature.fisher(lambda w, x: x @ w, "squared", jnp.arange(2), x)
    with pytest.raises(ValueError, match="loss must return one value an example"):
        curvature.gauss_newton(apply_fn, lambda o, y: jnp.sum(o), params, x, y).mv(params)
    with pytest.raises(ValueError, match="vector must have the structure of params"):
        curvature.fisher(apply_fn, "cross_entropy", params, x).mv(params["Dense_0"])


@pytest.mark.any_precision
def test_a_loss_that_is_no_likelihood_has_no_model_fisher(net):
    apply_fn, params, x, _ = net

    def smoothed(outputs, y):
        return optax.losses.softmax_cross_entropy(outputs, 0.8 * jax.nn.one_hot(y, 3) + 0.1)

    operator = curvature.fisher(apply_fn, smoothed, params, x)
    with pytest.raises(ValueError, match="loss must be the negative logarithm of a distribution over the classes"):
        operator.mv(params)
    assert jnp.isnan(ravel_pytree(jax.jit(lambda o, v: o.mv(v))(operator, params))[0]).any()
