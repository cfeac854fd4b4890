"""Stochastic nets, their training, and certificates."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import norm

from jaxgen import bounds, models

pytestmark = pytest.mark.any_precision


def _linear(params, x):
    return x @ params


def _problem(key, count=60):
    """A random linear classifier of which the exact Gibbs risk is known: each example's output is normal."""
    x_key, y_key, w_key = jax.random.split(key, 3)
    x, y = jax.random.normal(x_key, (count, 4)), jax.random.randint(y_key, (count,), 0, 2)
    q = bounds.gaussian(jax.random.normal(w_key, (4,)), jnp.array([0.5, 1.0, 0.2, 2.0]))
    signs = 2 * np.asarray(y) - 1
    exact = norm.cdf(-signs * np.asarray(x @ q.mean) / np.asarray(jnp.sqrt(x**2 @ jnp.exp(2 * q.log_std)))).mean()
    return q, (x, y), exact


def test_the_risk_is_the_exact_one_and_its_limit_above_it(key):
    """4 standard errors of independent draws, whose variance is at most that of one coin."""
    q, data, exact = _problem(key)
    found = bounds.gibbs_risk(key, _linear, q, data, num_draws=200, delta=1e-4)
    assert abs(found.value - exact) <= 4 * 0.5 / math.sqrt(200 * 60)
    assert found.upper >= exact
    assert found.num_independent == 200 * 60
    np.testing.assert_allclose(found.upper, bounds.binary_kl_inverse(found.value, math.log(1e4) / 12_000), rtol=1e-5)
    shared = bounds.gibbs_risk(key, _linear, q, data, num_draws=200, delta=1e-4, method="weights")
    assert shared.num_independent == 200
    assert abs(shared.value - exact) <= 4 * 0.5 / math.sqrt(200)
    assert shared.upper > found.upper


def test_it_does_not_depend_on_how_the_data_are_batched(key):
    q, data, _ = _problem(key, 50)
    values = [bounds.gibbs_risk(key, _linear, q, data, num_draws=3, delta=0.01, chunk_size=size).value for size in (1, 7, 49, 1000)]
    np.testing.assert_array_equal(values, values[0])


def test_groups_of_unequal_size_count_every_example_once(key):
    """A loss that is its label: 50 examples in groups of 7, of which the last is short."""
    q, (x, _), _ = _problem(key, 50)
    labels = jnp.arange(50) / 50
    found = bounds.gibbs_risk(key, _linear, q, (x, labels), loss=lambda outputs, y: y, num_draws=2, delta=0.01, method="weights", group_size=7)
    np.testing.assert_allclose(found.value, labels.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.num_independent, 2 * 50 / 7)


def test_a_certificate_adds_up_and_tells_what_it_spent(key):
    q, data, _ = _problem(key)
    prior = bounds.gaussian(jnp.zeros(4), 1.0)
    found = bounds.certify(key, _linear, q, prior, data, num_draws=20, delta=0.05, delta_sampling=0.02)
    assert (found.delta, found.delta_sampling, found.n, found.data_dependent_prior) == (0.05, 0.02, 60, False)
    np.testing.assert_allclose(sum(found.bound.terms.values()), found.bound.value, rtol=1e-6)
    expected = bounds.pac_bayes_bound(found.risk.upper, bounds.gaussian_kl(q, prior), 60, 0.05 - 0.02)
    np.testing.assert_allclose(found.bound.value, expected.value, rtol=1e-6)
    assert math.isclose(found.bound.confidence, 0.95)
    errors = int(models.zero_one(_linear(prior.mean, data[0]), data[1]).sum())
    np.testing.assert_allclose(found.holdout, bounds.binomial_tail_inverse(errors, 60, 0.05), rtol=1e-5)


def test_a_grid_of_priors_and_several_choices_are_paid_for(key):
    q, data, _ = _problem(key)
    grid = bounds.PriorGrid(jnp.zeros(4), 4.0, 10.0)
    found = bounds.certify(key, _linear, q, grid, data, num_draws=5, num_choices=3)
    law, price = bounds.choose_prior(q, grid)
    np.testing.assert_allclose(found.price, price + math.log(3), rtol=1e-6)
    expected = bounds.pac_bayes_bound(found.risk.upper, bounds.gaussian_kl(q, law) + price, 60, 0.04, num_choices=3)
    np.testing.assert_allclose(found.bound.value, expected.value, rtol=1e-6)


def test_a_prior_that_saw_points_of_the_certificate_is_refused(key):
    q, data, _ = _problem(key)
    split = bounds.split_prior(key, data, 0.25)
    assert len(split.prior.indices) == 15
    assert sorted(np.concatenate([split.prior.indices, split.certificate.indices])) == list(range(60))
    np.testing.assert_array_equal(split.certificate.data[0], data[0][split.certificate.indices])
    found = bounds.certify(key, _linear, q, q, split.certificate, num_draws=2, prior_data=split.prior)
    assert (found.n, found.data_dependent_prior) == (45, True)
    assert "of delta = 0.05, 0.01 went into sampling and 0.04 into the bound" in str(found)
    assert "close to a test-set bound" in str(found)
    with pytest.raises(ValueError, match="the prior saw 15 of the 15 points"):
        bounds.certify(key, _linear, q, q, split.prior, num_draws=2, prior_data=split.prior)


def test_wrong_input_is_refused(key):
    q, data, _ = _problem(key)
    with pytest.raises(ValueError, match="delta_sampling must be below delta"):
        bounds.certify(key, _linear, q, q, data, num_draws=2, delta=0.05, delta_sampling=0.05)
    with pytest.raises(ValueError, match="is spent already"):
        bounds.certificate(bounds.gibbs_risk(key, _linear, q, data, num_draws=2, delta=0.05), 1.0, 0.5, 60, delta=0.05, data_dependent_prior=False)
    with pytest.raises(ValueError, match=r"delta must be in \(0, 1\)"):
        bounds.certify(key, _linear, q, q, data, num_draws=2, delta=1.0)
    with pytest.raises(ValueError, match="same structure and shapes"):
        bounds.certify(key, _linear, q, bounds.gaussian(jnp.zeros(5), 1.0), data, num_draws=2)
    with pytest.raises(ValueError, match="n must be an integer of at least 2"):
        bounds.certify(key, _linear, q, q, jax.tree.map(lambda leaf: leaf[:1], data), num_draws=2)
    with pytest.raises(ValueError, match="fraction must be in"):
        bounds.split_prior(key, data, 1.0)
    with pytest.raises(ValueError, match="leaves one empty"):
        bounds.split_prior(key, data, 0.001)
    with pytest.raises(ValueError, match="method must be"):
        bounds.stochastic_outputs(key, _linear, q, data[0], method="other")
    with pytest.raises(ValueError, match=r"loss must have values in \[0, 1\]"):
        bounds.gibbs_risk(key, _linear, q, data, loss=lambda outputs, y: 2.0 * jnp.ones(len(y)), num_draws=2, delta=0.05)


def _blobs(key, n, noise=0.0):
    y_key, x_key, flip_key = jax.random.split(key, 3)
    y = jax.random.randint(y_key, (n,), 0, 2)
    x = (2 * y[:, None] - 1) * jnp.array([1.2, 0.4]) + 0.7 * jax.random.normal(x_key, (n, 2))
    return x, jnp.where(jax.random.bernoulli(flip_key, noise, (n,)), jax.random.randint(flip_key, (n,), 0, 2), y)


def test_training_mapped_over_keys_gives_certificates_above_the_test_error(key):
    model = models.mlp((16, 2))

    def one(key):
        keys = jax.random.split(key, 4)
        train, test = _blobs(keys[0], 1000), _blobs(keys[1], 1000)
        start = model.init(keys[2], train[0])
        prior = bounds.gaussian(start, 0.3)
        options = {"optimizer": optax.adam(0.02), "num_steps": 300, "batch_size": 100}
        q, history = bounds.pac_bayes_train(
            keys[3], model.apply, bounds.gaussian(start, jax.tree.map(lambda w: jnp.full_like(w, 0.1), start)), prior, train, **options
        )
        certificate = bounds.certify(keys[3], model.apply, q, prior, train, num_draws=5)
        return certificate, bounds.gibbs_risk(keys[2], model.apply, q, test, num_draws=5, delta=0.01).value, history

    certificate, test_risk, history = jax.jit(jax.vmap(one))(jax.random.split(key, 3))
    assert jnp.all(certificate.bound.value >= test_risk)
    assert jnp.all(certificate.bound.value < 0.25)
    assert jnp.all(history.objective[:, -1] < history.objective[:, 0])
    assert history.kl.shape == (3, 3)


@pytest.mark.slow
def test_only_the_data_move_the_means_at_the_prior(key):
    """At q = p the divergence has no gradient: the first step does not depend on its weight."""
    model, data = models.mlp((4, 2)), _blobs(key, 40)
    prior = bounds.gaussian(model.init(key, data[0]), 0.1)
    options = {"optimizer": optax.sgd(0.1), "num_steps": 1, "batch_size": 40, "objective": "bbb", "train_std": False}
    found = [bounds.pac_bayes_train(key, model.apply, prior, prior, data, kl_weight=weight, **options)[0] for weight in (0.0, 100.0)]
    for left, right in zip(*(jax.tree.leaves(q.mean) for q in found), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-8)
    assert found[0].log_std == prior.log_std


def test_training_refuses_what_does_not_fit(key):
    model, data = models.mlp((4, 2)), _blobs(key, 40)
    prior = bounds.gaussian(model.init(key, data[0]), 0.1)
    options = {"optimizer": optax.sgd(0.1), "num_steps": 1, "batch_size": 40}
    with pytest.raises(ValueError, match="same structure and shapes"):
        bounds.pac_bayes_train(key, model.apply, bounds.gaussian(jnp.zeros(3), 1.0), prior, data, **options)
    with pytest.raises(ValueError, match="n must be at most the number of examples"):
        bounds.pac_bayes_train(key, model.apply, prior, prior, data, n=41, **options)
    with pytest.raises(ValueError, match="kind must be"):
        bounds.pac_bayes_train(key, model.apply, prior, prior, data, objective="other", **options)


def test_one_draw_has_a_bound_by_its_density_ratio(key):
    q, p = bounds.gaussian(jnp.ones(3), 0.5), bounds.gaussian(jnp.zeros(3), 1.0)
    ratio = bounds.log_density_ratio(bounds.sample_gaussian(key, q), q, p)
    found = bounds.single_draw_bound(ratio, 0.1, 100, 0.05)
    np.testing.assert_allclose(found.value, bounds.pac_bayes_bound(0.1, max(float(ratio), 0), 100, 0.05).value, rtol=1e-6)
    np.testing.assert_allclose(bounds.single_draw_bound(-5.0, 0.1, 100, 0.05).value, bounds.pac_bayes_bound(0.1, 0.0, 100, 0.05).value)
