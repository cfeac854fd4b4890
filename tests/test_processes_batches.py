"""Mini-batch schedules and the phases of dispersion."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import processes

pytestmark = pytest.mark.any_precision


def test_an_epoch_is_a_permutation_without_its_incomplete_batch(key):
    rows = np.asarray(processes.batch_indices(key, 10, 3, 8))
    assert rows.shape == (8, 3)
    assert rows.dtype == np.int32
    for epoch in (rows[:3], rows[3:6], rows[6:]):
        assert len(set(epoch.ravel())) == epoch.size
    assert not np.array_equal(rows[:3], rows[3:6])
    assert set(rows.ravel()) == set(range(10))


def test_a_longer_schedule_of_epochs_begins_with_the_shorter(key):
    np.testing.assert_array_equal(processes.batch_indices(key, 10, 3, 17)[:8], processes.batch_indices(key, 10, 3, 8))


def test_every_subset_is_as_likely_without_replacement(key):
    """Chi-squared over the 10 subsets of 2 in 5, 10000 draws: 9 degrees of freedom, 99.9 % point 27.9."""
    rows = np.sort(processes.batch_indices(key, 5, 2, 10_000, mode="without_replacement"), axis=1)
    counts = [np.sum((rows == subset).all(axis=1)) for subset in combinations(range(5), 2)]
    assert sum(counts) == 10_000
    assert np.sum((np.array(counts) - 1000) ** 2) / 1000 < 27.9


@pytest.mark.parametrize("batch_size", [1, 6, 7])
def test_no_row_occurs_twice_without_replacement(key, batch_size):
    rows = np.asarray(processes.batch_indices(key, 7, batch_size, 50, mode="without_replacement"))
    assert rows.shape == (50, batch_size)
    assert all(len(set(row)) == batch_size and set(row) <= set(range(7)) for row in rows.tolist())


def test_iid_rows_are_uniform_and_may_repeat(key):
    """Chi-squared over 4 rows, 40000 draws: 3 degrees of freedom, 99.9 % point 16.3."""
    rows = np.asarray(processes.batch_indices(key, 4, 8, 5000, mode="iid"))
    counts = np.bincount(rows.ravel(), minlength=4)
    assert len(counts) == 4
    assert np.sum((counts - 10_000) ** 2) / 10_000 < 16.3


@pytest.mark.parametrize("mode", ["epoch", "iid", "without_replacement"])
def test_vmap_changes_nothing(key, mode):
    keys = jax.random.split(key, 3)

    def call(key):
        return processes.batch_indices(key, 6, 2, 5, mode=mode)

    np.testing.assert_array_equal(jax.jit(jax.vmap(call))(keys)[1], jax.jit(call)(keys[1]))
    assert processes.batch_indices(key, 6, 2, 0, mode=mode).shape == (0, 2)


def test_bad_schedules_are_named(key):
    for mode in ("epoch", "without_replacement"):
        with pytest.raises(ValueError, match="batch_size must be at most n = 4 without replacement; got 5"):
            processes.batch_indices(key, 4, 5, 3, mode=mode)
    with pytest.raises(ValueError, match="mode must be one of 'epoch', 'iid', 'without_replacement'; got 'cyclic'"):
        processes.batch_indices(key, 4, 2, 3, mode="cyclic")
    with pytest.raises(ValueError, match="num_steps must be an integer of at least 0; got -1"):
        processes.batch_indices(key, 4, 2, -1)
    with pytest.raises(TypeError, match="n must be a concrete integer"):
        jax.jit(lambda n: processes.batch_indices(key, n, 2, 3))(4)


def test_phases_are_the_first_minimum_and_the_peak_after_it():
    """INFO-34's bin means: a fall over the first bins put before the reported rise to bin 5 and decay."""
    bins = jnp.array([2.0, 1.48, 1.50, 1.59, 1.66, 1.73, 1.70, 1.61, 1.48, 1.29, 1.06, 0.06])
    assert tuple(map(int, processes.phase_segmentation(bins))) == (1, 5)
    steps = jnp.repeat(bins, 5) + jnp.tile(jnp.array([0.5, -0.5, 0.25, -0.25, 0.0]), 12)
    assert tuple(map(int, processes.phase_segmentation(steps, window=5))) == (7, 27)
    assert tuple(map(int, processes.phase_segmentation(jnp.append(steps, 9.0), window=5))) == (7, 27)


@pytest.mark.parametrize(
    ("curve", "expected"), [([3.0, 2.0, 1.0], (2, 2)), ([1.0, 2.0, 3.0], (0, 2)), ([5.0, 1.0, 2.0, 1.5], (1, 2)), ([1.0], (0, 0))]
)
def test_curves_without_three_phases_have_a_degenerate_one(curve, expected):
    assert tuple(map(int, jax.jit(processes.phase_segmentation)(jnp.array(curve)))) == expected


def test_bad_dispersions_are_named():
    with pytest.raises(ValueError, match="dispersion must be at least as long as window = 4; got length 3"):
        processes.phase_segmentation(jnp.ones(3), window=4)
    with pytest.raises(ValueError, match=r"dispersion must have shape \(T,\); got shape \(2, 3\)"):
        processes.phase_segmentation(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="dispersion must be finite"):
        processes.phase_segmentation(jnp.array([1.0, jnp.nan]))
    assert tuple(map(int, jax.jit(processes.phase_segmentation)(jnp.array([1.0, jnp.nan])))) == (-1, -1)
