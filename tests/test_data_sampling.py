"""Label corruption and subsets of a pool."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

from jaxgen import data


def _labels(n=1000, num_classes=10):
    return jnp.arange(n) % num_classes


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 1.0])
def test_exactly_the_fraction_is_drawn_anew(key, fraction):
    """With as many classes as 2^30 a new label is never the old one, so that all chosen labels are seen to change."""
    labels = jnp.zeros(1000, jnp.int32)
    assert int((data.corrupt_labels(key, labels, fraction, 2**30) != labels).sum()) == round(1000 * fraction)


@pytest.mark.any_precision
def test_a_new_label_may_be_the_old_one(key):
    """The share that changes is fraction (1 - 1/C); the standard error is of 400 draws a key, 50 keys; 4 of them."""
    labels = _labels()
    changed = jnp.mean(jax.jit(jax.vmap(lambda k: data.corrupt_labels(k, labels, 0.4, 10) != labels))(jax.random.split(key, 50)))
    assert abs(float(changed) - 0.36) < 4 * 0.4 * np.sqrt(0.9 * 0.1 / (400 * 50))


@pytest.mark.any_precision
def test_chosen_labels_and_new_classes_are_uniform(key):
    """Chi-square statistics of 1000 keys stay below their mean plus 5 standard deviations."""
    labels = jnp.zeros(20, jnp.int32)
    drawn = jax.jit(jax.vmap(lambda k: data.corrupt_labels(k, labels, 0.5, 4)))(jax.random.split(key, 1000))
    for counts, expected in (
        (np.bincount(np.ravel(drawn), minlength=4)[1:], 1000 * 10 / 4),
        ((np.asarray(drawn) > 0).sum(axis=0), 1000 * 0.5 * 0.75),
    ):
        statistic = float(((counts - expected) ** 2 / expected).sum())
        assert statistic < len(counts) + 5 * np.sqrt(2 * len(counts))


def test_a_larger_fraction_corrupts_a_superset_by_the_same_draws(key):
    labels = _labels()
    some, more = (data.corrupt_labels(key, labels, fraction, 10) for fraction in (0.2, 0.6))
    np.testing.assert_array_equal(jnp.where(some != labels, some, more), more)


@pytest.mark.heavy
def test_the_fraction_may_be_traced_and_mapped(key):
    labels, fractions = _labels(50, 3), jnp.array([0.0, 0.3, 0.9])
    mapped = jax.jit(jax.vmap(lambda f: data.corrupt_labels(key, labels, f, 3)))(fractions)
    np.testing.assert_array_equal(mapped, jnp.stack([data.corrupt_labels(key, labels, float(f), 3) for f in fractions]))
    assert mapped.dtype == jnp.int32


@pytest.mark.parametrize(
    ("labels", "fraction", "num_classes", "error", "message"),
    [
        ([0, 3], 0.5, 3, ValueError, r"labels must lie in \[0, 3\); got 3"),
        ([0, -1], 0.5, 3, ValueError, r"labels must lie in \[0, 3\); got -1"),
        ([0, 1], 1.5, 3, ValueError, r"fraction must lie in \[0, 1\]; got 1.5"),
        ([0, 1], -0.1, 3, ValueError, "fraction must lie"),
        ([0, 1], float("nan"), 3, ValueError, "fraction must lie"),
        ([0, 1], [0.1, 0.2], 3, ValueError, r"fraction must be a scalar; got shape \(2,\)"),
        ([[0, 1]], 0.1, 3, ValueError, r"labels must have shape \(N,\); got \(1, 2\)"),
        ([0.0, 1.0], 0.1, 3, TypeError, "labels must be integers"),
        ([0, 0], 0.1, 0, ValueError, "num_classes"),
    ],
)
def test_bad_labels_and_fractions_are_named(key, labels, fraction, num_classes, error, message):
    with pytest.raises(error, match=message):
        data.corrupt_labels(key, jnp.asarray(labels), fraction, num_classes)


def test_traced_labels_out_of_range_become_no_class_and_can_be_checked(key):
    corrupt = jax.jit(lambda labels, fraction: data.corrupt_labels(key, labels, fraction, 3))
    np.testing.assert_array_equal(corrupt(jnp.array([0, 3]), 0.5), [-1, -1])
    np.testing.assert_array_equal(corrupt(jnp.array([0, 2]), 1.5), [-1, -1])
    error, _ = checkify.checkify(corrupt)(jnp.array([0, 3]), 0.5)
    assert "labels must lie in [0, 3)" in (error.get() or "")


@pytest.mark.any_precision
@pytest.mark.parametrize("mode", ["auto", "disjoint"])
def test_disjoint_subsets_share_nothing(key, mode):
    drawn = data.subsets(key, 20, 5, 4, mode=mode)
    assert drawn.disjoint
    assert drawn.pool_fraction == 0.25
    assert drawn.indices.dtype == jnp.int32
    np.testing.assert_array_equal(jnp.sort(drawn.indices.ravel()), jnp.arange(20))


@pytest.mark.any_precision
@pytest.mark.parametrize(("mode", "num_subsets"), [("auto", 5), ("overlapping", 3), ("overlapping", 70)])
def test_overlapping_subsets_repeat_nothing_inside_and_say_so(key, mode, num_subsets):
    drawn = data.subsets(key, 20, 5, num_subsets, mode=mode)
    assert not drawn.disjoint
    assert drawn.indices.shape == (num_subsets, 5)
    ordered = np.sort(drawn.indices, axis=1)
    assert (np.diff(ordered, axis=1) > 0).all()
    assert ordered.min() >= 0
    assert ordered.max() < 20
    assert len(np.unique(ordered, axis=0)) > 1


@pytest.mark.any_precision
def test_overlap_biases_the_dispersion_of_subset_means_low_by_one_minus_the_pool_fraction(key):
    """tr Cov of the mean of n of N points is s^2/n (1 - n/N) for the pool's s^2; 4000 subsets, 5 standard errors of a variance."""
    pool = jax.random.normal(jax.random.key(1), (40,))
    drawn = data.subsets(key, 40, 10, 4000, mode="overlapping")
    means = pool[drawn.indices].mean(axis=1)
    expected = float(pool.var(ddof=1)) / 10 * (1 - drawn.pool_fraction)
    assert abs(float(means.var(ddof=1)) / expected - 1) < 5 * np.sqrt(2 / 4000)


@pytest.mark.any_precision
def test_subsets_pass_through_jit_and_depend_on_the_key_alone(key):
    eager = data.subsets(key, 30, 4, 9)
    jitted = jax.jit(lambda k: data.subsets(k, 30, 4, 9))(key)
    np.testing.assert_array_equal(eager.indices, jitted.indices)
    assert jitted.disjoint is False
    assert (data.subsets(jax.random.key(3), 30, 4, 9).indices != eager.indices).any()


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("arguments", "mode", "message"),
    [
        ((10, 4, 3), "disjoint", "3 subsets of 4 need 12 examples, the pool has 10"),
        ((10, 11, 1), "overlapping", "n must be at most pool_size; got n = 11, pool_size = 10"),
        ((10, 0, 1), "auto", "n must be an integer of at least 1"),
        ((10, 2, 0), "auto", "num_subsets must be an integer of at least 1"),
        ((10, 2, 1), "random", "mode must be one of 'auto', 'disjoint', 'overlapping'; got 'random'"),
    ],
)
def test_subsets_that_cannot_be_drawn_are_refused(key, arguments, mode, message):
    with pytest.raises(ValueError, match=message):
        data.subsets(key, *arguments, mode=mode)
