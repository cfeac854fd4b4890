"""Tests over seeds, against scipy and against their own level."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import Estimate, claims
from jaxgen.claims import _judge, _statistics

pytestmark = pytest.mark.any_precision


@pytest.mark.parametrize("degrees", [1, 7, 63])
@pytest.mark.parametrize("t", [-3.0, 0.0, 0.7, 4.0, 12.0])
def test_the_tail_of_students_t_is_scipys(t, degrees):
    np.testing.assert_allclose(_statistics.t_upper_tail(t, degrees), scipy.stats.t.sf(t, degrees), rtol=1e-9)


@pytest.mark.parametrize(("successes", "trials", "probability"), [(0, 5, 0.3), (3, 5, 0.3), (5, 5, 0.3), (880, 1000, 0.95), (2, 3, 1.0)])
def test_the_tail_of_the_binomial_is_scipys(successes, trials, probability):
    expected = scipy.stats.binom.cdf(successes, trials, probability)
    np.testing.assert_allclose(_statistics.binomial_lower_tail(successes, trials, probability), expected, rtol=1e-9)


@pytest.mark.parametrize("z", [-2.0, 0.0, 6.0])
def test_the_tail_of_the_normal_is_scipys(z):
    np.testing.assert_allclose(_statistics.normal_upper_tail(z), scipy.stats.norm.sf(z), rtol=1e-12)


@pytest.mark.parametrize("two_sided", [True, False])
def test_the_t_test_is_scipys(two_sided):
    samples = np.random.default_rng(3).normal(-0.2, 1.0, (30, 1))
    expected = scipy.stats.ttest_1samp(samples[:, 0], 0.0, alternative="two-sided" if two_sided else "less").pvalue
    np.testing.assert_allclose(_statistics.t_test(samples, np.ones(1), two_sided=two_sided), expected, rtol=1e-9)


def test_p_values_of_several_columns_are_corrected_for_their_number():
    samples = np.random.default_rng(3).normal(size=(30, 4))
    alone = [_statistics.t_test(samples[:, [j]], np.ones(1), two_sided=True) for j in range(4)]
    assert _statistics.t_test(samples, np.ones(4), two_sided=True) == pytest.approx(min(1, 4 * min(alone)))


def test_a_constant_difference_is_rejected_unless_it_is_rounding():
    assert _statistics.t_test(np.full((8, 1), 1e-3), np.ones(1), two_sided=True) < 1e-10
    assert _statistics.t_test(np.full((8, 1), 1e-16), np.ones(1), two_sided=True) > 0.5
    assert _statistics.t_test(np.zeros((8, 1)), np.zeros(1), two_sided=True) == 1.0


@pytest.mark.parametrize("two_sided", [True, False])
def test_the_score_test_rejects_true_statements_no_more_often_than_its_level(two_sided):
    scores = np.random.default_rng(5).normal(size=(2000, 10, 2))
    rejected = np.mean([_statistics.score_test(sample, two_sided=two_sided) < 0.1 for sample in scores])
    assert 0.04 < rejected < 0.1 + 4 * np.sqrt(0.1 * 0.9 / 2000)  # Bonferroni is exact up to correlation, so not far below; 4 standard errors above


def test_the_score_test_sees_one_large_error_and_a_small_common_bias():
    outlier = np.zeros((50, 1))
    outlier[3] = 9
    assert _statistics.score_test(outlier, two_sided=True) < 1e-10
    assert _statistics.score_test(np.full((50, 1), 1.0), two_sided=True) < 1e-9
    assert _statistics.score_test(np.full((50, 1), 1.0), two_sided=False) == 1.0
    assert _statistics.score_test(np.full((50, 1), -1.0), two_sided=False) < 1e-9


def judged(check, num_seeds=20, level=1e-3):
    """`check(i)` for every seed i, judged."""
    made = [check(i) for i in range(num_seeds)]
    fields = ("lhs", "rhs", "margin", "held")
    arrays = {name: np.stack([np.asarray(getattr(one, name)) for one in made]) for name in fields}
    texts = (made[0].relation, made[0].tolerance, made[0].unit, made[0].test, made[0].parameter)
    return _judge._judge("", claims.Check(*arrays.values(), *texts), level)


def noise(i):
    return np.random.default_rng(i).normal()


@pytest.mark.parametrize(
    ("check", "held"),
    [
        (lambda i: claims.equal_in_mean(noise(i), 0.0), True),
        (lambda i: claims.equal_in_mean(noise(i), 3.0), False),
        (lambda i: claims.at_most_in_mean(noise(i), 3.0), True),
        (lambda i: claims.at_most_in_mean(noise(i), -3.0), False),
        (lambda i: claims.at_most_in_mean(noise(i), jnp.inf), True),
        (lambda i: claims.at_most_in_mean(noise(i) * jnp.ones(2), jnp.array([jnp.inf, -3.0])), False),
        (lambda i: claims.equal_in_mean(noise(i), jnp.inf), False),
        (lambda i: claims.equal_within(Estimate(noise(i), 1.0), 0.0), True),
        (lambda i: claims.equal_within(Estimate(noise(i), 1.0), 3.0), False),
        (lambda i: claims.at_most_within(Estimate(noise(i), 1.0), 3.0), True),
        (lambda i: claims.at_most_within(Estimate(noise(i), 1.0), -3.0), False),
        (lambda i: claims.at_most_within(Estimate(noise(i), 1.0), jnp.where(i == 0, jnp.inf, -3.0)), False),
        (lambda i: claims.with_probability(claims.at_most(noise(i), 0.0), at_least=0.4), True),
        (lambda i: claims.with_probability(claims.at_most(noise(i), -1.0), at_least=0.9), False),
    ],
)
def test_statistical_checks_are_judged_over_the_seeds(check, held):
    result = judged(check)
    assert result.held is held
    assert result.refuted is not held


@pytest.mark.parametrize("relation", [claims.equal_in_mean, claims.at_most_in_mean])
def test_a_nan_sample_neither_holds_nor_refutes(relation):
    result = judged(lambda i: relation(jnp.where(i == 4, jnp.nan, 5.0 + noise(i)), 0.0))
    assert not result.held
    assert not result.refuted


def test_one_seed_is_too_few_for_a_test():
    with pytest.raises(ValueError, match="at least two"):
        judged(lambda i: claims.equal_in_mean(1.0, 2.0), num_seeds=1)
