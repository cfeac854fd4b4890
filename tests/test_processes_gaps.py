"""Generalization gaps, their decomposition, and the flatness term, over seeds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import processes

K, COUNT, DIMENSION = 400, 10, 3
_generalization_gap = jax.jit(processes.generalization_gap, static_argnums=0, static_argnames="shared_test")
_gap_decomposition = jax.jit(processes.gap_decomposition, static_argnums=0, static_argnames="shared_test")
_flatness_term = jax.jit(processes.flatness_term, static_argnums=0, static_argnames=("num_noise", "shared_test"))


def _squared(w, z):
    return jnp.sum((w - z) ** 2, axis=-1)


def _saturating(w, z):
    return 1 - jnp.exp(-_squared(w, z))


@pytest.fixture
def samples():
    """Training means of every seed, training sets and test sets."""
    train, test = np.random.default_rng(1).normal(size=(2, K, COUNT, DIMENSION))
    return train.mean(1), train, test


@pytest.mark.any_precision
def test_the_gap_of_the_gaussian_mean(samples):
    """INFO-11: 2 d s^2 / n = 0.6 at n = 10, d = 3, within 4 standard errors of 400 seeds."""
    gap = _generalization_gap(_squared, *samples)
    assert abs(float(gap.value) - 0.6) < 4 * float(gap.stderr)
    assert 0 < float(gap.stderr) < 0.12
    np.testing.assert_allclose(gap.per_seed, gap.test_risks - gap.train_risks, rtol=1e-6)
    np.testing.assert_allclose(gap.train_risks, ((samples[0][:, None] - samples[1]) ** 2).sum(-1).mean(1), rtol=1e-5)


@pytest.mark.any_precision
def test_testing_on_the_training_set_shows_no_gap(samples):
    means, train, _ = samples
    assert _generalization_gap(_squared, means, train, train)[:2] == (0, 0)


def test_the_test_set_may_be_shared(samples, rtol):
    means, train, test = samples
    shared = _generalization_gap(_squared, means, train, test[0], shared_test=True)
    repeated = _generalization_gap(_squared, means, train, np.broadcast_to(test[0], test.shape))
    np.testing.assert_allclose(shared.per_seed, repeated.per_seed, rtol=10 * rtol, atol=10 * rtol)


def test_the_decomposition_is_an_identity_on_one_test_set_and_not_on_two(samples, rtol):
    means, train, test = samples
    auxiliary = means + 0.5 * np.random.default_rng(2).normal(size=means.shape)
    parts = _gap_decomposition(_squared, means, auxiliary, train, test)
    total = parts.auxiliary_gap.value + parts.population_term.value + parts.empirical_term.value
    np.testing.assert_allclose(parts.gap.value, total, rtol=100 * rtol)
    np.testing.assert_allclose(parts.gap.value, _generalization_gap(_squared, means, train, test).value, rtol=100 * rtol)
    other = _gap_decomposition(_squared, means, auxiliary, train, test[::-1])
    assert abs(parts.gap.value - other.auxiliary_gap.value - parts.population_term.value - parts.empirical_term.value) > 1e-3


@pytest.mark.any_precision
def test_flatness_of_a_quadratic_is_half_the_variance_times_the_trace(samples, key):
    """|w - z|^2 has tr H = 2 d: one-sided d var, whatever the sample, hence two-sided zero to rounding."""
    term = _flatness_term(_squared, *samples, key, variance=0.04, num_noise=4)
    assert abs(float(term.one_sided.value) - 0.04 * DIMENSION) < 4 * float(term.one_sided.stderr)
    assert float(term.two_sided.value) < 1e-5


@pytest.mark.any_precision
def test_at_large_noise_the_two_sided_term_of_a_bounded_loss_is_the_gap(samples, key):
    term = _flatness_term(_saturating, *samples, key, variance=1e8, num_noise=2)
    gap = _generalization_gap(_saturating, *samples)
    np.testing.assert_allclose(term.two_sided, gap[:2], rtol=1e-4)
    assert term.one_sided.value > 0


@pytest.mark.any_precision
def test_noise_shared_by_both_samples_lowers_the_error(samples, key):
    """The two-sided term's standard error is below that of independent noise, the root of the sum of squares."""
    term = _flatness_term(_squared, *samples, key, variance=1.0, num_noise=2, shared_test=False)
    assert float(term.two_sided.stderr) < 0.1 * np.sqrt(2) * float(term.one_sided.stderr)


@pytest.mark.any_precision
def test_memory_is_that_of_one_seed_and_one_draw():
    seeds, width = 64, 5000

    def loss(w, z):
        return z * jnp.sum(jnp.cos(w))

    args = jnp.zeros((seeds, width)), jnp.zeros((seeds, 4)), jnp.zeros((seeds, 4)), jax.random.key(0)
    compiled = jax.jit(lambda *args: processes.flatness_term(loss, *args, variance=0.1, num_noise=50)).lower(*args).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 16 * 4 * width


@pytest.mark.any_precision
def test_bad_input_is_named(samples, key):
    means, train, test = (leaf[:4] for leaf in samples)
    with pytest.raises(ValueError, match="K >= 2 seeds; got K = 1"):
        processes.generalization_gap(_squared, means[:1], train[:1], test[:1])
    with pytest.raises(ValueError, match="train must have one data set per seed, leading axis K = 4; got 3"):
        processes.generalization_gap(_squared, means, train[:3], test)
    with pytest.raises(ValueError, match="test must have one data set per seed, leading axis K = 4; got 10"):
        processes.generalization_gap(_squared, means, train, test[0])
    with pytest.raises(ValueError, match="every leaf of params_over_seeds must have the same leading axis"):
        processes.gap_decomposition(_squared, means, means[:3], train, test)
    with pytest.raises(ValueError, match="every leaf of test must have the same leading axis; found shapes of no leaf"):
        processes.flatness_term(_squared, means, train, None, key, variance=0.1, num_noise=2, shared_test=True)
    with pytest.raises(ValueError, match="variance must be at least 0"):
        processes.flatness_term(_squared, means, train, test, key, variance=-0.1, num_noise=2)
    with pytest.raises(ValueError, match="loss_fn must return one loss per example"):
        processes.generalization_gap(lambda w, z: _squared(w, z).mean(), means, train, test)
