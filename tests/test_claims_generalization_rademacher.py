"""What the claims about Rademacher complexity and about signal and junk stand on, and that they notice wrong quantities."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds
from jaxgen.claims.generalization import rademacher, random_labels

pytestmark = pytest.mark.float64


def test_the_largest_gap_of_thresholds_is_that_of_a_fine_grid(key):
    x, y = rademacher._sample(key)
    grid = np.linspace(0, 1, 20001)
    empirical = ((np.asarray(x) > grid[:, None]) != np.asarray(y)).mean(axis=1)
    gap = (0.2 + 0.6 * np.abs(grid - 0.5) - empirical).max()
    assert gap <= rademacher._largest_gap((x, y)) < gap + 1e-4  # the risk changes by 3e-5 between points of the grid


@pytest.mark.parametrize("num_intervals", [1, 2])
def test_the_least_error_of_intervals_is_that_of_all_there_are(num_intervals, key):
    labels = np.asarray(jax.random.bernoulli(key, 0.5, (9,)))
    patterns = np.array(list(product([0, 1], repeat=9)))
    starts = (np.diff(patterns, axis=1, prepend=0) == 1).sum(axis=1)
    expected = (patterns[starts <= num_intervals] != labels).mean(axis=1).min()
    np.testing.assert_allclose(rademacher._least_error_of_intervals(jnp.asarray(labels), num_intervals), expected)


def test_the_best_half_plane_is_that_of_many_directions(key):
    x, labels = jax.random.normal(key, (15, 2)), np.asarray(jax.random.bernoulli(key, 0.5, (15,)), int)
    angles = np.linspace(0, 2 * np.pi, 5000)
    directions = np.asarray(x) @ np.stack([np.cos(angles), np.sin(angles)]) > 0
    expected = (directions == labels[:, None]).mean(axis=0).max()
    found = random_labels._best_half_plane(x, jnp.asarray(labels))
    np.testing.assert_allclose(np.mean(found == labels), expected)


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("label_flip_identity", lambda right: lambda one, two: right(1 - one, two)._replace(correlation=right(one, two).correlation), "GEN-12"),
        ("kernel_rademacher_bound", lambda right: lambda kernel, y: right(jnp.linalg.inv(kernel), y), "GEN-11"),
        ("rademacher_linear_bound", lambda right: lambda x, *args, **options: 0.7 * right(x, *args, **options), "GEN-10.known"),
        ("junk_example_flip", lambda right: lambda sample: sample, "GEN-15.variance"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    monkeypatch.setattr(bounds, name, wrong(getattr(bounds, name)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in checks.values())
