"""The majority learner against enumeration of all data sets."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import data

KNOWN_GAPS = {1: 0.5, 3: 0.25, 5: 0.1875, 7: 0.15625, 9: 0.13671875}


@pytest.mark.any_precision
@pytest.mark.parametrize(("n", "gap"), KNOWN_GAPS.items())
def test_the_gap_has_the_known_values(n, gap):
    assert data.MajorityVote(n).generalization_gap == gap


@pytest.mark.heavy
@pytest.mark.parametrize("n", [1, 3, 7, 9])
def test_gap_and_mutual_information_are_those_of_enumeration(n, rtol):
    problem = data.MajorityVote(n)
    samples = jnp.array(list(itertools.product((0, 1), repeat=n)))

    @jax.jit
    @jax.vmap
    def run(bits):
        learned = problem.fit(bits)
        return learned, problem.loss_fn(learned, jnp.array([0, 1])).mean() - problem.loss_fn(learned, bits).mean()

    learned, gaps = run(samples)
    assert float(gaps.mean()) == pytest.approx(problem.generalization_gap, rel=rtol)
    p = float(learned.mean())
    assert -p * math.log(p) - (1 - p) * math.log(1 - p) == pytest.approx(problem.mutual_information, rel=rtol)


@pytest.mark.any_precision
def test_the_gap_of_large_n_is_that_of_the_half_normal():
    assert data.MajorityVote(10**5 + 1).generalization_gap == pytest.approx(1 / math.sqrt(2 * math.pi * 10**5), rel=1e-4)


def test_sampled_gaps_average_to_the_exact_one(key, precision):
    """4000 training sets, 5 standard errors."""
    problem = data.MajorityVote(5)

    def gap(key):
        bits = problem.sample(key)
        return 0.5 - problem.loss_fn(problem.fit(bits), bits).mean()

    gaps = jax.jit(jax.vmap(gap))(jax.random.split(key, 4000))
    assert gaps.dtype == precision
    assert abs(float(gaps.mean()) - problem.generalization_gap) < 5 * float(gaps.std()) / math.sqrt(4000)


@pytest.mark.any_precision
def test_samples_are_bits_of_any_number(key):
    bits = data.MajorityVote(3).sample(key, 1000)
    assert (bits.shape, bits.dtype) == ((1000,), jnp.int32)
    np.testing.assert_array_equal(jnp.unique(bits), [0, 1])


@pytest.mark.any_precision
@pytest.mark.parametrize(("n", "message"), [(4, "n must be odd, so that a majority exists; got 4"), (0, "at least 1"), (-1, "at least 1")])
def test_n_must_be_odd_and_positive(n, message):
    with pytest.raises(ValueError, match=message):
        data.MajorityVote(n)


@pytest.mark.any_precision
def test_the_training_set_has_n_bits():
    with pytest.raises(ValueError, match=r"bits must have shape \(3,\); got \(4,\)"):
        data.MajorityVote(3).fit(jnp.zeros(4, int))
