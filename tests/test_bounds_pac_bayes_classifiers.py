"""PAC-Bayes where posteriors are Gaussian: linear classifiers, gradient descent on a quadratic, noise that margins bear."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxgen import bounds, information


def classified(key, n=40, d=3):
    """Points, labels of which one in ten is wrong, and a direction."""
    keys = jax.random.split(key, 3)
    w, x = jax.random.normal(keys[0], (d,)), jax.random.normal(keys[1], (n, d))
    return w, x, jnp.sign(x @ w) * jnp.where(jax.random.uniform(keys[2], (n,)) < 0.1, -1.0, 1.0)


@pytest.mark.slow
@pytest.mark.float64
def test_gibbs_risk_is_the_error_of_draws(key):
    """Within 4 standard errors of the mean error of 10,000 draws, which is that of one draw over 100."""
    w, x, y = classified(key)
    draws = 1.5 * w / jnp.linalg.norm(w) + jax.random.normal(jax.random.key(1), (10_000, 3))
    errors = jnp.mean(jnp.sign(draws @ x.T) != y, axis=1)
    found = bounds.linear_gibbs_risk(w, x, y, 1.5)
    assert abs(errors.mean() - found) < 4 * errors.std() / 100
    unnormalized = jnp.mean(jax.scipy.stats.norm.sf(1.5 * y * (x @ w) / jnp.linalg.norm(w)))
    assert abs(errors.mean() - unnormalized) > 10 * errors.std() / 100


@pytest.mark.slow
def test_gibbs_risk_has_its_known_values(key, rtol):
    w, x, y = classified(key)
    np.testing.assert_allclose(bounds.linear_gibbs_risk(w, x, y, 0.0), 0.5, rtol=rtol)
    x = jnp.array([[0.6, 0.8], [1.2, -1.6], [6.0, 8.0]])
    np.testing.assert_allclose(bounds.linear_gibbs_risk(jnp.array([2.0, 0.0]), x, jnp.ones(3), 3 / 0.6), 0.0013498980, rtol=max(rtol, 1e-8) * 10)
    assert bounds.linear_gibbs_risk(w, *classified(key)[1:], jnp.ones((2, 3))).shape == (2, 3)


@pytest.mark.any_precision
def test_majority_errs_at_most_twice_as_often_as_gibbs(key):
    w, x, y = classified(key)
    majority = jnp.mean(jnp.sign(x @ w) != y)
    assert bool(jnp.all(majority <= 2 * bounds.linear_gibbs_risk(w, x, y, jnp.geomspace(1e-3, 1e3, 40))))


@pytest.mark.float64
def test_certificate_is_the_best_of_its_lengths(key, rtol):
    w, x, y = classified(key)
    mus = jnp.geomspace(0.1, 10, 12)
    found = bounds.linear_margin_certificate(w, x, y, 0.05, mus)
    singles = [bounds.pac_bayes_bound(bounds.linear_gibbs_risk(w, x, y, mu), mu**2 / 2, 40, 0.05).value for mu in mus]
    np.testing.assert_allclose(found.value, min(map(float, singles)), rtol=rtol)
    np.testing.assert_allclose(found.terms["empirical_risk"] + found.terms["penalty"], found.value, rtol=rtol)
    assert found.confidence == pytest.approx(0.95)
    compiled = jax.jit(lambda w: bounds.linear_margin_certificate(w, x, y, 0.05, mus).value)
    np.testing.assert_allclose(compiled(7 * w), found.value, rtol=10 * rtol)


def quadratic_problem(key, d=3):
    x = jax.random.normal(key, (5, d))
    return x.T @ x / 5, jax.random.normal(jax.random.fold_in(key, 1), (d,))


def steps(H, b, learning_rate, num_steps, mean, cov):
    for _ in range(num_steps):
        matrix = np.eye(len(b)) - learning_rate * np.asarray(H)
        mean, cov = matrix @ mean + learning_rate * np.asarray(b), matrix @ cov @ matrix.T
    return mean, cov


@pytest.mark.float64
@pytest.mark.parametrize("rank", [2, 3])
def test_law_of_gradient_descent_is_that_of_its_steps(key, rank, rtol):
    """Also along directions in which there is no curvature."""
    H, b = quadratic_problem(key)
    values, vectors = jnp.linalg.eigh(H)
    H = (vectors * jnp.where(jnp.arange(3) >= 3 - rank, values, 0)) @ vectors.T
    mean, cov = np.array([1.0, -1.0, 0.5]), np.diag([1.0, 2.0, 0.5]) + 0.2
    found = bounds.gd_gaussian_posterior(H, b, 0.2, 7, jnp.asarray(mean), jnp.asarray(cov))
    for got, expected in zip(found, steps(H, b, 0.2, 7, mean, cov), strict=True):
        np.testing.assert_allclose(got, expected, rtol=100 * rtol, atol=10 * rtol)


@pytest.mark.float64
def test_divergence_of_gradient_descent_is_that_of_its_gaussian(key, rtol):
    H, b = quadratic_problem(key)
    prior = jnp.array([1.0, -1.0, 0.5]), jnp.diag(jnp.array([1.0, 2.0, 0.5])) + 0.2
    mean, cov = bounds.gd_gaussian_posterior(H, b, 0.2, 5, *prior)
    expected = information.gaussian_kl(mean, (cov + cov.T) / 2, *prior)
    np.testing.assert_allclose(bounds.gd_gaussian_kl(H, b, 0.2, 5, *prior), expected, rtol=100 * rtol)


def test_divergence_grows_by_the_logarithm_of_the_determinant_of_a_step(key, rtol):
    """Long after the covariance has underflowed."""
    H, b = quadratic_problem(key)
    slope = -jnp.sum(jnp.log(jnp.abs(1 - 0.2 * jnp.linalg.eigvalsh(H))))
    found = jax.jit(lambda count: bounds.gd_gaussian_kl(H, b, 0.2, count))
    np.testing.assert_allclose((found(200_000) - found(100_000)) / 100_000, slope, rtol=1000 * rtol)


@pytest.mark.any_precision
def test_a_step_that_forgets_a_direction_costs_infinitely_much():
    assert bounds.gd_gaussian_kl(jnp.diag(jnp.array([1.0, 0.5])), jnp.ones(2), 1.0, 1) == math.inf
    assert bounds.gd_gaussian_kl(jnp.diag(jnp.array([1.0, 0.5])), jnp.ones(2), 1.0, 0) == 0


def linear(params, x):
    return x @ params


@pytest.mark.float64
def test_stable_sigma_of_one_point_is_known(key):
    """|u x| < gamma / 4 for half of the draws: the median of 8,000, of standard error 1.6 percent, within 5."""
    x = jnp.array([[3.0, 4.0]])
    found = jax.jit(lambda key: bounds.max_stable_sigma(key, linear, jnp.ones(2), x, 2.0, num_draws=8000))(key)
    np.testing.assert_allclose(found, 2.0 / (4 * 5 * stats.norm.ppf(0.75)), rtol=0.05)


@pytest.mark.any_precision
def test_stable_sigma_is_the_quantile_of_its_draws(key):
    """Of 40 draws at least 30 must stay within gamma / 4, so that the sigma is that of the 30th in order of their movement."""
    x = jax.random.normal(jax.random.key(3), (6, 4))
    found = bounds.max_stable_sigma(key, linear, jnp.ones(4), x, 1.0, prob=0.75, num_draws=40, chunk_size=8)
    keys = jax.random.split(key, 40)
    noise = jax.vmap(lambda key: optax.tree.random_like(key, jnp.ones(4), sampler=jax.random.normal))(keys)
    movement = jnp.sort(jnp.abs(noise @ x.T).max(axis=1))
    assert 0.25 / movement[30] <= found * (1 + 1e-5)
    assert found <= 0.25 / movement[29] * (1 + 1e-5)


@pytest.mark.any_precision
def test_stable_sigma_at_its_extremes(key):
    x = jnp.ones((2, 1))
    assert bounds.max_stable_sigma(key, lambda params, x: 0 * x @ params, jnp.ones(1), x, 1.0, num_draws=4) == math.inf
    assert bounds.max_stable_sigma(key, lambda params, x: x @ params / 0.0, jnp.ones(1), x, 1.0, num_draws=4) == 0


def test_margin_bound_is_its_formula_and_not_certified_from_a_sample(rtol):
    found = bounds.margin_pac_bayes_bound(0.1, 50.0, 60_000, 0.05)
    np.testing.assert_allclose(found.value, 0.1 + 4 * math.sqrt((50 + math.log(6 * 60_000 / 0.05)) / 59_999), rtol=rtol)
    np.testing.assert_allclose(found.terms["empirical_risk"] + found.terms["penalty"], found.value, rtol=rtol)
    everywhere = bounds.margin_pac_bayes_bound(0.1, 50.0, 60_000, 0.05, stable_everywhere=True, num_choices=10)
    assert (found.certified, everywhere.certified) == (False, True)
    assert everywhere.value > found.value


X, Y = np.ones((3, 2)), np.ones(3)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.linear_gibbs_risk(jnp.ones(2), X * np.array([[1], [0], [1]]), Y, 1.0), "every row of x must differ from zero"),
        (lambda: bounds.linear_gibbs_risk(jnp.ones(2), X, jnp.array([0.0, 1.0, 1.0]), 1.0), "y must hold labels -1 and 1"),
        (lambda: bounds.linear_gibbs_risk(jnp.zeros(2), X, Y, 1.0), "w must not be zero"),
        (lambda: bounds.linear_gibbs_risk(jnp.ones(3), X, Y, 1.0), r"w must have shape \(2,\); got \(3,\)"),
        (lambda: bounds.linear_gibbs_risk(jnp.ones(2), X, Y[:2], 1.0), r"y must have shape \(3,\); got \(2,\)"),
        (lambda: bounds.linear_gibbs_risk(jnp.ones(2), X[0], Y, 1.0), r"x must have shape \(n, d\) with n >= 1; got \(2,\)"),
        (lambda: bounds.linear_gibbs_risk(jnp.ones(2), X, Y, -1.0), "mu must be at least 0; got -1"),
        (lambda: bounds.linear_margin_certificate(jnp.ones(2), X, Y, 0.05, 1.0), r"mus must be a vector, not empty; got shape \(\)"),
        (lambda: bounds.gd_gaussian_posterior(-jnp.eye(2), jnp.ones(2), 0.1, 3), "H .*positive semidefinite"),
        (lambda: bounds.gd_gaussian_posterior(jnp.eye(2), jnp.ones(3), 0.1, 3), r"b must have shape \(2,\); got \(3,\)"),
        (lambda: bounds.gd_gaussian_posterior(jnp.eye(2), jnp.ones(2), 0.1, 3, jnp.ones(3)), r"prior_mean must have shape \(2,\) or \(\)"),
        (lambda: bounds.gd_gaussian_posterior(jnp.eye(2), jnp.ones(2), 0.1, 3, 0.0, -jnp.eye(2)), "prior_cov must be symmetric positive definite"),
        (lambda: bounds.gd_gaussian_kl(jnp.eye(2), jnp.ones(2), 0.1, 3, 0.0, jnp.ones(3)), r"prior_cov must have shape \(2, 2\), \(2,\) or \(\)"),
        (lambda: bounds.gd_gaussian_kl(jnp.eye(2), jnp.ones(2), 0.0, 3), "learning_rate must be positive"),
        (lambda: bounds.gd_gaussian_kl(jnp.eye(2), jnp.ones(2), 0.1, jnp.arange(3)), r"num_steps must be a scalar; got shape \(3,\)"),
        (lambda: bounds.max_stable_sigma(jax.random.key(0), linear, jnp.ones(2), X, 0.0), "gamma must be positive and finite; got 0"),
        (lambda: bounds.max_stable_sigma(jax.random.key(0), linear, jnp.ones(2), X, 1.0, prob=1.0), r"prob must be in \(0, 1\); got 1"),
        (lambda: bounds.max_stable_sigma(jax.random.key(0), linear, jnp.ones(2), X, 1.0, num_draws=0), "num_draws must be an integer of at least 1"),
        (lambda: bounds.margin_pac_bayes_bound(1.5, 1.0, 100, 0.05), r"margin_loss must be in \[0, 1\]; got 1\.5"),
        (lambda: bounds.margin_pac_bayes_bound(0.5, 1.0, 1, 0.05), "n must be at least 2; got 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.any_precision
def test_traced_wrong_values_give_nan():
    risk = jax.jit(lambda w: bounds.linear_gibbs_risk(w, X, Y, 1.0))
    assert math.isnan(risk(jnp.zeros(2)))
    assert math.isnan(jax.jit(lambda cov: bounds.gd_gaussian_kl(jnp.eye(2), jnp.ones(2), 0.1, 3, 0.0, cov))(-jnp.ones(2)))
