"""The example of signal and junk: its closed forms, and the classifier that errs on a sample and nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxgen import bounds


@pytest.fixture
def sample(key):
    return bounds.junk_example_sample(key, 30, 600, 3, 0.5)


def test_a_sample_has_the_signal_in_its_first_coordinates_and_junk_of_the_given_size_in_the_rest(sample, rtol):
    assert sample.x.shape == (30, 603)
    assert set(np.unique(sample.y)) == {-1, 1}
    np.testing.assert_allclose(30 * np.sum(sample.u**2), 0.5, rtol=rtol)
    np.testing.assert_array_equal(sample.x[:, :3], sample.y[:, None] * sample.u)
    # 18,000 squares of variance 2: 5 standard errors.
    np.testing.assert_allclose(np.sum(sample.x[:, 3:] ** 2) / 30, 1, atol=5 * np.sqrt(2 / 18000))


@pytest.mark.any_precision
def test_the_signal_is_the_same_for_all_samples_and_the_junk_scales_with_its_variance(key):
    other = bounds.junk_example_sample(jax.random.fold_in(key, 1), 30, 600, 3, 0.5)
    first = bounds.junk_example_sample(key, 30, 600, 3, 0.5)
    loud = bounds.junk_example_sample(key, 30, 600, 3, 0.5, 4.0)
    np.testing.assert_array_equal(first.u, other.u)
    assert not np.array_equal(first.x, other.x)
    np.testing.assert_allclose(loud.x[:, 3:], 2 * first.x[:, 3:], rtol=1e-6)


def test_training_is_one_step_of_gradient_descent(sample, rtol):
    gradient = jax.grad(lambda w: -jnp.sum(sample.y * (sample.x @ w)))(jnp.zeros(603))
    w = bounds.junk_example_train(sample.x, sample.y)
    np.testing.assert_allclose(w, -gradient, rtol=rtol, atol=10 * rtol)
    np.testing.assert_allclose(w[:3], 30 * sample.u, rtol=rtol)


def test_the_test_error_is_the_probability_of_a_wrong_label(key, rtol):
    u, w = jnp.array([0.1, 0.2]), jnp.concatenate([jnp.array([1.0, 0.5]), jax.random.normal(key, (50,))])
    spread = np.sqrt(3.0 / 50) * np.linalg.norm(w[2:])
    exact = bounds.junk_example_test_error(w, u, 3.0)
    np.testing.assert_allclose(exact, norm.cdf(-0.2 / spread), rtol=20 * rtol)
    drawn = 0.2 + np.sqrt(3.0 / 50) * np.random.default_rng(0).standard_normal((20000, 50)) @ np.asarray(w[2:])
    assert abs(np.mean(drawn <= 0) - exact) < 4 * np.sqrt(exact * (1 - exact) / 20000)


@pytest.mark.any_precision
def test_a_classifier_that_does_not_look_at_the_junk_is_right_or_wrong():
    u = jnp.ones(2)
    for signal, error in ((u, 0), (-u, 1), (0 * u, 1)):
        assert bounds.junk_example_test_error(jnp.concatenate([signal, jnp.zeros(4)]), u) == error


def test_flipping_the_junk_flips_the_weights_of_the_junk(sample, rtol):
    flipped = bounds.junk_example_flip(sample)
    w, w_flip = (bounds.junk_example_train(s.x, s.y) for s in (sample, flipped))
    np.testing.assert_allclose(w_flip, jnp.concatenate([w[:3], -w[3:]]), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(*(bounds.junk_example_test_error(v, sample.u) for v in (w, w_flip)), rtol=100 * rtol)
    np.testing.assert_array_equal(bounds.junk_example_flip(flipped).x, sample.x)


@pytest.mark.any_precision
def test_the_flipped_classifier_errs_on_the_sample_alone(key):
    def errors(key):
        sample = bounds.junk_example_sample(key, 50, 4000, 2, 0.5)
        flipped = bounds.junk_example_flip(sample)
        w, w_flip = (bounds.junk_example_train(s.x, s.y) for s in (sample, flipped))
        pruned = bounds.prune_coordinates(w_flip, jnp.arange(4002) < 2)
        train = [bounds.junk_example_train_error(v, sample.x, sample.y) for v in (w, w_flip, pruned)]
        return jnp.stack([*train, *(bounds.junk_example_test_error(v, sample.u) for v in (w_flip, pruned))])

    found = jax.jit(jax.vmap(errors))(jax.random.split(key, 3))
    np.testing.assert_array_equal(found[:, :3], [[0, 1, 0]] * 3)
    assert found[:, 3].max() < 1e-3
    assert found[:, 4].max() == 0


@pytest.mark.any_precision
def test_enough_junk_for_the_test_error():
    np.testing.assert_allclose(bounds.junk_example_dimension(100, 1.0, 0.01), 200 * np.log(100), rtol=1e-6)
    np.testing.assert_allclose(bounds.junk_example_dimension(100, 0.5, 0.01, goal="flipped_error"), 800 * np.log(1e4), rtol=1e-6)
    assert bounds.junk_example_dimension(100, 1.0, 0.01, goal="flipped_error") == np.inf


@pytest.mark.heavy
def test_the_example_under_jit_vmap_and_grad(key, rtol):
    def error(key, c):
        sample = bounds.junk_example_sample(key, 10, 40, 1, c)
        return bounds.junk_example_test_error(bounds.junk_example_train(sample.x, sample.y), sample.u)

    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(error, 1), (None, 0)))(key, jnp.array([0.3, 0.6, -1.0]))
    np.testing.assert_allclose(values[0], error(key, 0.3), rtol=100 * rtol)
    assert values[1] < values[0]
    assert np.all(slopes[:2] < 0)
    assert np.isnan(values[2])


@pytest.mark.any_precision
def test_wrong_values_that_are_traced_give_nan_and_slopes_are_finite_where_there_is_no_junk(sample):
    slope = jax.grad(lambda w: bounds.junk_example_test_error(w, jnp.ones(2)))(jnp.zeros(5))
    assert jnp.isfinite(slope).all()
    assert np.isnan(jax.jit(bounds.junk_example_train_error)(jnp.ones(603), sample.x, 2 * sample.y))
    assert np.isnan(jax.jit(bounds.junk_example_test_error)(jnp.full(5, jnp.nan), jnp.ones(2)))


KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: bounds.junk_example_sample(KEY, 5, 5, 1, 0.0), ValueError, "c must be positive"),
        (lambda: bounds.junk_example_sample(KEY, 5, 0, 1, 0.5), ValueError, "D must be an integer of at least 1"),
        (lambda: bounds.junk_example_sample(KEY, 0, 5, 1, 0.5), ValueError, "m must be an integer of at least 1"),
        (lambda: bounds.junk_example_sample(KEY, 5, 5, 1, 0.5, 0.0), ValueError, "noise_var must be positive"),
        (lambda: bounds.junk_example_sample(KEY, 5, 5, 1, np.ones(2)), ValueError, "c must be a scalar"),
        (lambda: bounds.junk_example_train(np.ones((2, 3)), np.array([0.0, 1.0])), ValueError, "y must hold labels -1 and 1"),
        (lambda: bounds.junk_example_train(np.ones((2, 3)), np.ones(3)), ValueError, r"y must have shape \(2,\)"),
        (lambda: bounds.junk_example_train(np.ones(3), np.ones(3)), ValueError, r"x must have shape \(m, d\)"),
        (lambda: bounds.junk_example_train_error(np.ones(2), np.ones((2, 3)), np.ones(2)), ValueError, r"w must have shape \(3,\)"),
        (lambda: bounds.junk_example_test_error(np.ones(2), np.ones(2)), ValueError, r"w must have shape \(K \+ D,\) with K = 2"),
        (lambda: bounds.junk_example_test_error(np.ones(2), np.ones((1, 1))), ValueError, r"u must have shape \(K,\)"),
        (lambda: bounds.junk_example_flip(bounds.JunkSample(jnp.ones((2, 1)), jnp.ones(2), jnp.ones(1))), ValueError, r"K = 1 and D of at least 1"),
        (lambda: bounds.junk_example_dimension(5, 0.5, 1.5), ValueError, r"delta must be in \(0, 1\)"),
        (lambda: bounds.junk_example_dimension(5, 0.5, 0.5, goal="both"), ValueError, "goal must be one of"),
        (lambda: bounds.prune_coordinates(np.ones(3), np.ones(3)), TypeError, "mask must be boolean"),
        (lambda: bounds.prune_coordinates(np.ones(3), np.ones(2, bool)), ValueError, "w and mask must have the same shape"),
    ],
)
@pytest.mark.any_precision
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
