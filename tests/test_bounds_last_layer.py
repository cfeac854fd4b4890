"""Nets with a Gaussian last layer: their risk without draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds


def _logits(key, count=40, num_classes=4):
    keys = jax.random.split(key, 3)
    means = jax.random.normal(keys[0], (count, num_classes))
    stds = jnp.exp(jax.random.normal(keys[1], (count,)) - 1)
    return means, stds, jax.random.randint(keys[2], (count,), 0, num_classes)


@pytest.mark.slow
def test_the_sum_lies_above_the_integral_by_little(key, precision):
    """The sum loses at most one cell's weight of each factor; Gauss and Hermite's rule of 80 nodes is the integral to 1e-5."""
    means, stds, labels = _logits(key)
    found, integral = bounds.argmax_error(means, stds, labels), bounds.smooth_argmax_error(means, stds, labels, num_nodes=80)
    assert jnp.all(found >= integral - 2e-5)
    assert jnp.all(found <= integral + 3e-3)
    coarse = bounds.argmax_error(means, stds, labels, num_cells=200)
    assert jnp.all(coarse >= found - {"float32": 1e-3, "float64": 1e-12}[precision])


@pytest.mark.any_precision
def test_it_is_the_frequency_of_errors(key):
    means, stds, labels = _logits(key, 20)
    logits = means + stds[:, None] * jax.random.normal(key, (20_000, *means.shape))
    frequency = (jnp.argmax(logits, axis=2) != labels).mean(axis=0)
    found = bounds.smooth_argmax_error(means, stds, labels, num_nodes=80)
    assert jnp.all(jnp.abs(frequency - found) <= 5 * jnp.sqrt(found * (1 - found) / 20_000) + 1e-4)


@pytest.mark.float64
def test_two_classes_are_a_normal_probability():
    gaps = jnp.array([0.0, 1.0, 3.0, 30.0, -2.0])
    means = jnp.stack([gaps, jnp.zeros(5)], axis=1)
    exact = jax.scipy.stats.norm.cdf(-gaps / jnp.sqrt(2.0))
    found = bounds.argmax_error(means, jnp.ones(5), jnp.zeros(5, int))
    assert jnp.all(found >= exact * (1 - 1e-12))
    np.testing.assert_allclose(found, exact, atol=1.2e-3)


def _problem(key, count=300, width=5, num_classes=3):
    keys = jax.random.split(key, 3)
    labels = jax.random.randint(keys[0], (count,), 0, num_classes)
    centres = jax.random.normal(keys[1], (num_classes, width))
    features = centres[labels] + 0.7 * jax.random.normal(keys[2], (count, width))
    return features, labels, 0.3 * centres.T


@pytest.mark.any_precision
def test_training_lowers_the_certificate_and_pays_for_it(key):
    features, labels, weights = _problem(key)
    trained = bounds.train_last_layer(features, labels, weights, 0.1, num_steps=60)
    before, after = (bounds.certify_last_layer(features, labels, w, weights, 0.1, num_cells=500) for w in (weights, trained))
    assert before.kl == 0
    assert after.kl > 0
    assert after.bound.value < before.bound.value
    np.testing.assert_allclose(after.kl, jnp.sum(((trained - weights) / 0.1) ** 2) / 2, rtol=1e-5)
    assert after.holdout == before.holdout
    assert (after.delta, after.delta_sampling, after.bound.confidence, after.n) == (0.05, 0, 0.95, 300)
    np.testing.assert_allclose(sum(after.bound.terms.values()), after.bound.value, rtol=1e-6)


@pytest.mark.any_precision
def test_hard_examples_alone_give_nearly_the_same(key):
    features, labels, weights = _problem(key)
    few, all_of_them = (bounds.train_last_layer(features, labels, weights, 0.1, num_steps=40, num_hard=hard) for hard in (150, None))
    values = [bounds.certify_last_layer(features, labels, w, weights, 0.1, num_cells=500).bound.value for w in (few, all_of_them)]
    assert values[0] <= values[1] + 0.01


@pytest.mark.any_precision
def test_wrong_input_is_refused():
    means, labels = jnp.zeros((3, 2)), jnp.zeros(3, int)
    with pytest.raises(ValueError, match=r"means must have shape \(N, C\) with C > 1"):
        bounds.argmax_error(jnp.zeros((3, 1)), jnp.ones(3), labels)
    with pytest.raises(ValueError, match="stds must be positive"):
        bounds.argmax_error(means, jnp.array([1.0, 0.0, 1.0]), labels)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\)"):
        bounds.argmax_error(means, jnp.ones(3), jnp.array([0, 1, 2]))
    with pytest.raises(ValueError, match="one entry of each of 3 examples"):
        bounds.argmax_error(means, jnp.ones(2), labels)
    with pytest.raises(ValueError, match="features and weights must have shapes"):
        bounds.last_layer_risk(jnp.ones((3, 4)), labels, jnp.ones((5, 2)), 0.1)
