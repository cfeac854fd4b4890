"""Gradient noise as an operator, its scale, and cosines of gradients, against explicit Jacobians."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import gradients

N, WIDTHS = 7, (3, 4, 2)


def _loss(params, batch):
    x, y = batch
    return 0.5 * jnp.sum((jnp.tanh(x @ params["a"]) @ params["b"] + params["c"] - y) ** 2, axis=-1)


def _quadratic(w, z):
    return 0.5 * jnp.sum((w - z) ** 2, axis=-1)


@pytest.fixture
def params():
    rng = np.random.default_rng(1)
    return {"a": rng.normal(size=WIDTHS[:2]), "b": rng.normal(size=WIDTHS[1:]), "c": rng.normal(size=WIDTHS[2:])}


@pytest.fixture
def batch():
    rng = np.random.default_rng(2)
    return rng.normal(size=(N, WIDTHS[0])), rng.normal(size=(N, WIDTHS[-1]))


@pytest.fixture
def rows(params, batch):
    """Per-example gradients (N, P) as the Jacobian of the batched loss."""
    blocks = jax.jit(jax.jacrev(_loss))(params, batch)
    return np.concatenate([np.asarray(block).reshape(N, -1) for block in jax.tree.leaves(blocks)], axis=1)


def _columns(operator):
    """The operator's matrix, column by column through its products."""
    _, unravel = ravel_pytree(operator.params)
    size = sum(leaf.size for leaf in jax.tree.leaves(operator.params))
    return jax.jit(jax.vmap(lambda v: ravel_pytree(operator.mv(unravel(v)))[0]))(jnp.eye(size)).T


@pytest.mark.heavy
@pytest.mark.parametrize(("options", "factor"), [({}, 1), ({"batch_size": 3}, 1 / 3), ({"batch_size": 3, "replacement": False}, 4 / 18)])
def test_products_matrix_diagonal_and_trace_are_those_of_the_sample_covariance(params, batch, rows, rtol, options, factor):
    operator = gradients.noise_covariance(_loss, params, batch, **options)
    expected = factor * np.cov(rows.T, ddof=0)
    scale = np.abs(expected).max()
    for found in (_columns(operator), jax.jit(lambda o: o.as_matrix())(operator)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=10 * rtol * scale)
    np.testing.assert_allclose(jax.jit(lx.diagonal)(operator), np.diag(expected), rtol=10 * rtol, atol=rtol * scale)
    np.testing.assert_allclose(jax.jit(lambda o: o.trace())(operator), np.trace(expected), rtol=10 * rtol)


@pytest.mark.float64
def test_lineax_forms_of_the_operator_agree_and_know_its_structure(params, batch, rtol):
    operator = gradients.noise_covariance(_loss, params, batch)
    assert lx.is_symmetric(operator)
    assert lx.is_positive_semidefinite(operator)
    assert not lx.is_diagonal(operator)
    assert operator.T is operator
    assert lx.conj(operator) is operator
    expected = operator.as_matrix()
    for form in (jax.jit(lx.materialise)(operator), lx.linearise(operator)):
        assert lx.is_positive_semidefinite(form)
        np.testing.assert_allclose(form.as_matrix(), expected, rtol=0, atol=10 * rtol * np.abs(expected).max())
    assert operator.in_structure() == operator.out_structure() == jax.eval_shape(lambda p: p, operator.params)


@pytest.mark.float64
def test_a_regularized_inverse_through_lineax_solves(params, batch):
    operator = gradients.noise_covariance(_loss, params, batch)
    shifted = operator + lx.IdentityLinearOperator(operator.in_structure())
    solution = lx.linear_solve(lx.TaggedLinearOperator(shifted, lx.positive_semidefinite_tag), params, lx.CG(1e-12, 1e-12)).value
    dense = np.linalg.solve(operator.as_matrix() + np.eye(len(operator.as_matrix())), ravel_pytree(params)[0])
    np.testing.assert_allclose(ravel_pytree(solution)[0], dense, rtol=1e-8)


@pytest.mark.any_precision
def test_draws_have_the_covariance_and_gaussian_tails(key, params, batch):
    """20000 draws: variance of a product of two jointly normal coordinates is c_ii c_jj + c_ij^2; 5 standard errors."""
    operator = gradients.noise_covariance(_loss, params, batch, batch_size=2)
    count = 20000
    draws = jax.jit(lambda o: jax.vmap(lambda k: ravel_pytree(o.sample(k))[0])(jax.random.split(key, count)))(operator)
    draws, expected = np.asarray(draws, np.float64), np.asarray(operator.as_matrix(), np.float64)
    variances = np.outer(np.diag(expected), np.diag(expected)) + expected**2
    assert np.all(np.abs(draws.T @ draws / count - expected) <= 5 * np.sqrt(variances / count))
    kurtosis = (draws**4).mean(0) / (draws**2).mean(0) ** 2
    assert np.all(np.abs(kurtosis - 3) < 5 * np.sqrt(96 / count))


@pytest.mark.any_precision
def test_a_draw_is_the_projected_noise_pulled_back(key, params, batch, rows):
    z = np.asarray(jax.random.normal(key, (N,)))
    expected = rows.T @ (z - z.mean()) / np.sqrt(N)
    found = ravel_pytree(gradients.noise_covariance(_loss, params, batch).sample(key))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.any_precision
def test_an_operator_is_an_argument_of_jit_that_is_traced_once(params, batch):
    traces = []

    @jax.jit
    def product(operator, vector):
        traces.append(1)
        return operator.mv(vector)

    for scale in (1.0, 2.0, 3.0):
        moved = jax.tree.map(lambda leaf, s=scale: s * leaf, params)
        operator = gradients.noise_covariance(_loss, moved, batch)
        found = product(operator, params)
        np.testing.assert_allclose(ravel_pytree(found)[0], ravel_pytree(operator.mv(params))[0], rtol=1e-4, atol=1e-4)
    assert len(traces) == 1


@pytest.mark.float64
def test_vmap_over_parameters_is_a_loop_and_derivatives_pass_through(params, batch):
    several = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), params)

    def product(p):
        return gradients.noise_covariance(_loss, p, batch).mv(params)

    found, expected = jax.jit(jax.vmap(product))(several), product(jax.tree.map(lambda leaf: 2 * leaf, params))
    for mapped, one in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mapped[1], one, rtol=1e-10)

    @jax.jit
    def size(p):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(product(p)))

    flat, unravel = ravel_pytree(params)
    direction = np.random.default_rng(3).normal(size=flat.shape)
    slope = jnp.vdot(ravel_pytree(jax.grad(size)(params))[0], direction)
    difference = (size(unravel(flat + 1e-6 * direction)) - size(unravel(flat - 1e-6 * direction))) / 2e-6
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


@pytest.mark.parametrize("mean", [0.0, 1e3])
def test_a_large_mean_gradient_does_not_cancel_in_products(mean, precision):
    """Slopes are centred before they are pulled back: the error is that of the slopes themselves, eps times the mean over the spread."""
    z = jnp.linspace(-1.0, 1.0, 101)[:, None]
    operator = gradients.noise_covariance(_quadratic, jnp.full(1, mean), z)
    eps = float(jnp.finfo(z.dtype).eps)
    np.testing.assert_allclose(operator.mv(jnp.ones(1)), [np.var(np.linspace(-1, 1, 101))], rtol=(mean + 1) * 100 * eps)


@pytest.mark.any_precision
def test_integers_become_floats():
    operator = gradients.noise_covariance(_quadratic, jnp.array([1, 2]), jnp.array([[1, 2], [3, 4]]))
    assert operator.mv(jnp.array([1, 0])).tolist() == [1.0, 1.0]


def test_the_noise_scale_is_trace_over_squared_mean(params, batch, rows, rtol):
    mean, spread = rows.mean(0), np.trace(np.cov(rows.T, ddof=0))
    found = jax.jit(lambda *args: gradients.noise_scale(_loss, *args))(params, batch)
    np.testing.assert_allclose(found, spread / (mean @ mean), rtol=20 * rtol)
    unbiased = spread * N / (N - 1)
    found = jax.jit(lambda *args: gradients.noise_scale(_loss, *args, unbiased=True))(params, batch)
    np.testing.assert_allclose(found, unbiased / (mean @ mean - unbiased / N), rtol=50 * rtol)


@pytest.mark.float64
def test_the_unbiased_noise_scale_is_that_of_two_batch_sizes(params, batch, rows):
    """McCandlish et al. (A.2): from |G|^2 at batch sizes 1 and N, averaged over the single examples."""
    small, big = np.mean(np.sum(rows**2, axis=1)), np.sum(rows.mean(0) ** 2)
    signal, noise = (N * big - small) / (N - 1), (small - big) / (1 - 1 / N)
    np.testing.assert_allclose(gradients.noise_scale(_loss, params, batch, unbiased=True), noise / signal, rtol=1e-10)


@pytest.mark.any_precision
def test_without_a_mean_gradient_the_noise_scale_is_infinite():
    z = jnp.array([[1.0], [-1.0]])
    assert gradients.noise_scale(_quadratic, jnp.zeros(1), z) == jnp.inf
    assert jnp.isnan(gradients.noise_scale(_quadratic, jnp.zeros(1), jnp.zeros((2, 1))))


def test_cosines_are_normalized_inner_products(params, batch, rows, rtol):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = jax.jit(lambda *args: gradients.cosine_similarities(_loss, *args))(params, batch)
    np.testing.assert_allclose(found, unit @ unit.T, rtol=0, atol=20 * rtol)
    assert np.max(np.abs(found)) <= 1


@pytest.mark.any_precision
def test_the_cosine_with_a_zero_gradient_is_not_a_number():
    found = gradients.cosine_similarities(_quadratic, jnp.zeros(2), jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))
    assert np.isnan(found[0]).all()
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_allclose(found[1:, 1:], np.eye(2), rtol=1e-6)


@pytest.mark.any_precision
def test_bad_input_is_named(params, batch):
    w, z = jnp.zeros(2), jnp.zeros((4, 2))
    with pytest.raises(ValueError, match="batch must hold at least 2 examples; got 1"):
        gradients.noise_covariance(_quadratic, w, z[:1])
    with pytest.raises(ValueError, match="batch_size must be at most N = 4 without replacement; got 5"):
        gradients.noise_covariance(_quadratic, w, z, batch_size=5, replacement=False)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1; got 0"):
        gradients.noise_covariance(_quadratic, w, z, batch_size=0)
    with pytest.raises(ValueError, match="every leaf of batch must have the same leading axis"):
        gradients.noise_covariance(_loss, params, (batch[0], batch[1][:3]))
    with pytest.raises(TypeError, match="params must be real; got dtype complex"):
        gradients.noise_covariance(_quadratic, w + 1j, z)
    operator = gradients.noise_covariance(_quadratic, w, z)
    with pytest.raises(ValueError, match=r"vector must have the structure of params, \(2,\); got \(3,\)"):
        operator.mv(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"loss_fn must return one loss per example, shape \(4,\); got shape \(\)"):
        gradients.noise_covariance(lambda w, z: _quadratic(w, z).mean(), w, z).mv(w)
    with pytest.raises(ValueError, match="batch must hold at least 2 examples for unbiased=True; got 1"):
        gradients.noise_scale(_quadratic, w, z[:1], unbiased=True)
