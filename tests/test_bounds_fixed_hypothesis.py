"""Limits for one fixed hypothesis, against scipy and exact sums; risks of one net."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxgen import bounds, models

SIZES = (1, 2, 3, 10, 50, 500, 10_000, 1_000_000)
COUNTS = [
    (k, n) for n in SIZES for k in sorted({0, 1, 2, 7, 16, 17, 100, n // 100, n // 3, n // 2, n - n // 10, n - 30, n - 2, n - 1, n}) if 0 <= k <= n
]
CONFIDENCES = (1e-12, 1e-4, 0.05, 0.5, 0.95, 1 - 1e-4)
ACCURACY = {"float32": 1e-5, "float64": 1e-9}


def clopper_pearson(k, n, delta):
    k, n = np.asarray(k, np.float64), np.asarray(n, np.float64)
    return np.where(k == n, 1.0, scipy.stats.beta.isf(delta, k + 1, np.maximum(n - k, 0.5)))


def test_the_limit_is_clopper_and_pearsons(precision):
    k, n = (np.array(column, float) for column in zip(*COUNTS, strict=True))
    delta = np.asarray(jnp.array(CONFIDENCES), np.float64)[:, None]
    found = np.asarray(bounds.binomial_tail_inverse(k, n, delta), np.float64)
    np.testing.assert_allclose(found, clopper_pearson(k, n, delta), rtol=ACCURACY[precision])


@pytest.mark.float64
def test_the_limit_is_right_far_in_the_tail():
    """Where scipy's quantiles are not, the sum of the 31 terms of the tail is."""
    n, k = 10_000_000, 30
    terms = np.arange(k + 1)
    coefficients = scipy.special.gammaln(n + 1) - scipy.special.gammaln(terms + 1) - scipy.special.gammaln(n - terms + 1)
    delta = np.array([1e-10, 1e-100, 1e-300])
    p = np.asarray(bounds.binomial_tail_inverse(k, n, delta))[:, None]
    log_tail = scipy.special.logsumexp(coefficients + terms * np.log(p) + (n - terms) * np.log1p(-p), axis=1)
    # Rounding of ln n! is 3e-8; a part in 1e9 of p moves the logarithm by more than 4e-8.
    np.testing.assert_allclose(log_tail, np.log(delta), rtol=0, atol=6e-8)


@pytest.mark.float64
def test_the_limit_under_transformations_has_the_derivatives_of_differences():
    """Central differences of relative step h = 1e-6 are off by (k h)^2 and 1e-14 / h."""
    at = np.array([[10.0, 500.0, 0.05], [10.0, 500.0, 0.7], [499.0, 500.0, 0.05], [1.0, 500.0, 1e-6], [500.0, 500.0, 0.05]])
    found, slopes = jax.jit(jax.vmap(jax.value_and_grad(lambda row: bounds.binomial_tail_inverse(*row))))(at)
    steps = 1e-6 * at[:4, None, :] * np.append(np.zeros((1, 3)), np.eye(3), axis=0)
    rows = np.stack([at[:4, None, :] + steps, at[:4, None, :] - steps])
    up, down = bounds.binomial_tail_inverse(*np.moveaxis(rows, -1, 0))
    np.testing.assert_allclose(found[:4], up[:, 0], rtol=1e-12)
    np.testing.assert_allclose(slopes[:4], (up - down)[:, 1:] / (2e-6 * at[:4]), rtol=1e-6)
    assert found[4] == 1
    assert np.all(slopes[4] == 0)


@pytest.mark.float64
def test_known_limits_of_ten_errors_in_five_hundred():
    found = bounds.holdout_bound(0.02, 500, 0.05)
    np.testing.assert_allclose(found.value, 0.0336882723, rtol=1e-5)
    np.testing.assert_allclose(found.value, found.terms["empirical_risk"] + found.terms["penalty"], rtol=1e-6)
    np.testing.assert_allclose(bounds.holdout_bound(0.02, 500, 0.05, variant="hoeffding").value, 0.0747332831, rtol=1e-6)
    assert found.certified
    assert found.sided == "one"
    assert found.confidence == 0.95


def test_the_penalty_is_hoeffdings(rtol):
    np.testing.assert_allclose(bounds.hoeffding_penalty(500, 0.05, loss_range=3.0), 3 * np.sqrt(np.log(20) / 1000), rtol=rtol)
    assert np.isfinite(jax.grad(bounds.hoeffding_penalty, 1)(500.0, 0.05))


def loss_fn(params, batch):
    return models.zero_one(batch[0] @ params, batch[1])


def data(key, n):
    return jax.random.normal(key, (n, 3)), jax.random.bernoulli(jax.random.fold_in(key, 1), 0.4, (n,)).astype(jnp.int32)


@pytest.mark.float64
def test_the_gap_of_one_net_has_the_standard_error_of_its_test_set(key, rtol):
    params, train, test = jnp.array([1.0, 0.0, 0.0]), data(key, 40), data(jax.random.key(1), 200)
    gap = bounds.generalization_gap(loss_fn, params, train, test, loss_range=1.0)
    on_train, on_test = np.asarray(loss_fn(params, train)), np.asarray(loss_fn(params, test))
    np.testing.assert_allclose(gap.value, on_test.mean() - on_train.mean(), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(gap.stderr, on_test.std(ddof=1) / np.sqrt(200), rtol=10 * rtol)
    np.testing.assert_allclose(bounds.empirical_risk(loss_fn, params, train, loss_range=1.0), on_train.mean(), rtol=rtol)


@pytest.mark.float64
def test_a_penalty_adds_its_strength_times_itself(key, rtol):
    params, train = jnp.array([1.0, 2.0, -1.0]), data(key, 40)
    penalized = bounds.regularized_risk(loss_fn, lambda w: jnp.sum(w**2), 0.3)
    np.testing.assert_allclose(bounds.empirical_risk(penalized, params, train), bounds.empirical_risk(loss_fn, params, train) + 1.8, rtol=rtol)


WRONG = {
    r"k must be in \[0, n\]": [lambda: bounds.binomial_tail_inverse(6, 5, 0.05), lambda: bounds.binomial_tail_inverse(-1, 5, 0.05)],
    r"delta must be in \(0, 1\)": [
        lambda: bounds.binomial_tail_inverse(1, 5, 0.0),
        lambda: bounds.hoeffding_penalty(5, 1.0),
        lambda: bounds.holdout_bound(0.1, 5, -0.1),
        lambda: bounds.holdout_bound(0.1, 5, float("nan")),
    ],
    "n must be at least 1": [lambda: bounds.binomial_tail_inverse(0, 0, 0.05), lambda: bounds.hoeffding_penalty(0, 0.05)],
    "n must be at least 2": [lambda: bounds.holdout_bound(0.1, 1, 0.05)],
    "loss_range must be positive": [lambda: bounds.hoeffding_penalty(5, 0.05, loss_range=0.0)],
    r"emp_risk must be in \[0, 1\]": [lambda: bounds.holdout_bound(1.1, 5, 0.05)],
    "variant must be one of": [lambda: bounds.holdout_bound(0.1, 5, 0.05, variant="chernoff")],
    "batch must hold at least one example": [lambda: bounds.empirical_risk(loss_fn, jnp.ones(3), (jnp.ones((0, 3)), jnp.ones(0, int)))],
    "must have the same leading axis": [lambda: bounds.empirical_risk(loss_fn, jnp.ones(3), (jnp.ones((4, 3)), jnp.ones(5, int)))],
    r"losses must be in \[0, 1.0\]": [lambda: bounds.empirical_risk(lambda w, z: 2 * w * z, 1.0, jnp.ones(3), loss_range=1.0)],
    "a standard error needs": [lambda: bounds.generalization_gap(lambda w, z: w * z, 1.0, jnp.ones(3), jnp.ones(1))],
    "lam must be at least 0": [lambda: bounds.regularized_risk(loss_fn, jnp.sum, -1.0)],
    "lam must be a scalar": [lambda: bounds.regularized_risk(loss_fn, jnp.sum, jnp.ones(2))],
    "penalty_fn must return a scalar": [lambda: bounds.regularized_risk(loss_fn, lambda w: w, 1.0)(jnp.ones(3), data(jax.random.key(0), 4))],
    r"labels y must lie in \[0, 2\)": [lambda: models.softmax_cross_entropy(jnp.ones(2), jnp.array([-1, 1]))],
}


@pytest.mark.any_precision
@pytest.mark.parametrize("message", WRONG)
def test_wrong_input_is_named(message):
    for call in WRONG[message]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.float64
def test_wrong_values_are_nan_when_traced():
    limit = jax.jit(bounds.binomial_tail_inverse)
    assert np.isnan(limit(6.0, 5.0, 0.05))
    assert np.isnan(limit(1.0, 5.0, 1.0))
    assert np.isnan(jax.jit(lambda risk: bounds.holdout_bound(risk, 5, 0.05).value)(1.5))
    with pytest.raises(TypeError, match="delta must be a concrete number"):
        jax.jit(lambda delta: bounds.holdout_bound(0.1, 5, delta).value)(0.05)
