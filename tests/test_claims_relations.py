"""Relations between the sides of a claim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import Bound, Estimate, claims


def sides(x):
    return jnp.asarray(x, float)


@pytest.mark.parametrize(
    ("check", "held"),
    [
        (lambda: claims.equal(1.0, 1.0 + 1e-4, rtol=1e-3), True),
        (lambda: claims.equal(1.0, 1.01, rtol=1e-3), False),
        (lambda: claims.equal(0.0, 1e-4, rtol=0, atol=1e-3), True),
        (lambda: claims.equal(3, 3, rtol=0), True),
        (lambda: claims.equal(jnp.array([True, False]), jnp.array([True, True]), rtol=0), False),
        (lambda: claims.equal(jnp.inf, jnp.inf, rtol=1e-3), True),
        (lambda: claims.equal(jnp.inf, 1.0, rtol=1e-3), False),
        (lambda: claims.equal(jnp.inf, -jnp.inf, rtol=1e-3), False),
        (lambda: claims.at_most(1.0, 1.0), True),
        (lambda: claims.at_most(jnp.array([0.0, 2.0]), 1.0), False),
        (lambda: claims.at_most(1.05, 1.0, slack=0.1), True),
        (lambda: claims.at_most(1.0, jnp.inf), True),
        (lambda: claims.at_most(jnp.inf, jnp.inf), True),
        (lambda: claims.at_least(2.0, 1.0), True),
        (lambda: claims.at_least(0.0, 1.0), False),
        (lambda: claims.less(1.0, 1.0), False),
        (lambda: claims.less(0.5, 1.0), True),
        (lambda: claims.greater(1.0, 1.0), False),
        (lambda: claims.greater(2.0, 1.0), True),
        (lambda: claims.ordered([1.0, 1.0, 2.0]), True),
        (lambda: claims.ordered(sides([1, 1, 2]), strict=True), False),
        (lambda: claims.ordered(sides([3, 2, 1]), strict=True, decreasing=True), True),
        (lambda: claims.ordered(sides([[1, 5], [2, 4]])), False),
    ],
)
def test_a_deterministic_relation_holds_where_it_should_and_not_elsewhere(check, held):
    made = check()
    assert bool(made.held) is held
    assert not jnp.isnan(made.margin).any()


@pytest.mark.parametrize("nan_first", [True, False])
@pytest.mark.parametrize(
    "relation", [lambda a, b: claims.equal(a, b, rtol=1.0, atol=1e9), claims.at_most, claims.at_least, claims.less, claims.greater]
)
def test_a_nan_on_either_side_is_a_failure_with_a_nan_margin(relation, nan_first):
    pair = (jnp.array([1.0, jnp.nan]), jnp.ones(2))
    made = relation(*(pair if nan_first else pair[::-1]))
    assert not made.held
    assert jnp.isnan(made.margin).any()


def test_the_margin_of_an_equality_is_the_unused_part_of_the_tolerance():
    made = claims.equal(sides([2.0, 4.0, 4.0]), sides([2.0, 4.001, 4.01]), rtol=0, atol=0.004)
    rounding = 4 * np.finfo(made.margin.dtype).eps * 4.01 / 0.004
    np.testing.assert_allclose(made.margin, [1.0, 0.75, -1.5], atol=rounding)


def test_margins_of_inequalities_are_in_units_of_the_sides():
    np.testing.assert_array_equal(claims.at_most(sides([1, 2]), 1.5, slack=0.25).margin, [0.75, -0.25])
    np.testing.assert_array_equal(claims.at_least(sides([1, 2]), 1.5).margin, [-0.5, 0.5])


def test_a_bound_and_pytrees_may_be_sides():
    assert claims.at_most(0.5, Bound(jnp.float32(1.0), {})).held
    made = claims.equal({"w": jnp.ones((2, 3)), "b": jnp.zeros(2)}, {"w": jnp.ones((2, 3)), "b": jnp.array([0.0, 1.0])}, rtol=0)
    assert made.lhs.shape == (8,)
    assert not made.held


def test_checks_are_pytrees_with_the_same_values_under_jit_and_vmap(key):
    def body(key):
        x = jax.random.normal(key, (3,))
        return claims.at_most(x, 0.0, slack=0.5)

    keys = jax.random.split(key, 5)
    mapped = jax.jit(jax.vmap(body))(keys)
    looped = [body(k) for k in keys]
    assert mapped.relation == "≤"
    np.testing.assert_array_equal(mapped.held, [made.held for made in looped])
    np.testing.assert_allclose(mapped.margin, np.stack([made.margin for made in looped]), rtol=1e-6)


@pytest.mark.heavy
def test_a_power_law_converges_at_its_order_and_at_no_other():
    steps = 2.0 ** -jnp.arange(1, 6)
    errors = 3 * steps**1.5
    assert claims.converges(errors, order=1.5, steps=steps, tolerance=1e-3).held
    assert not claims.converges(errors, order=2, steps=steps, tolerance=0.4).held
    assert claims.converges(1 / steps, order=-1, steps=steps, tolerance=1e-3).held
    failed = claims.converges(errors.at[0].set(jnp.nan), order=1.5, steps=steps, tolerance=1e-3)
    assert not failed.held
    assert jnp.isnan(failed.margin)


def _refuse(value):
    if value < 0:
        raise ValueError(f"value must not be negative; got {value}")


@pytest.mark.any_precision
def test_rejects_holds_for_the_right_error_with_the_right_message_only():
    assert claims.rejects(_refuse, -1, match="negative").held
    assert not claims.rejects(_refuse, 1).held
    assert not claims.rejects(_refuse, -1, match="positive").held
    with pytest.raises(ValueError, match="negative"):
        claims.rejects(_refuse, -1, error=KeyError)


def test_samples_of_statistical_relations_are_differences_scores_and_trials():
    assert float(claims.equal_in_mean(1.0, 3.0).margin) == 2
    assert float(claims.at_most_in_mean(1.0, 3.0, slack=1.0).margin) == 3
    assert float(claims.equal_within(Estimate(1.0, 3.0), Estimate(11.0, 4.0)).margin) == 2
    assert float(claims.at_most_within(Estimate(1.0, 0.5), 0.0).margin) == -2
    assert float(claims.equal_within(Estimate(1.0, 0.0), 1.0).margin) == 0
    np.testing.assert_array_equal(claims.with_probability(jnp.array([True, False]), at_least=0.3).margin, [1, 0])
    assert float(claims.with_probability(claims.at_most(2.0, 1.0), at_least=0.3).margin) == 0


def test_an_unknown_trial_is_neither_success_nor_failure():
    made = claims.with_probability(claims.at_most(jnp.nan, 1.0), at_least=0.5)
    assert jnp.isnan(made.margin)
    assert jnp.isnan(claims.equal_within(Estimate(1.0, jnp.nan), 1.0).margin)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: claims.equal(jnp.ones(2), jnp.ones(3), rtol=0.1), ValueError, r"broadcast; got shapes \(2,\) and \(3,\)"),
        (lambda: claims.equal(1.0, 1.0, rtol=-1.0), ValueError, "rtol and atol"),
        (lambda: claims.equal(jnp.ones(0), jnp.ones(0), rtol=0.1), ValueError, "must not be empty"),
        (lambda: claims.equal(1j, 1.0, rtol=0.1), TypeError, "lhs must be real"),
        (lambda: claims.at_most(Estimate(1.0, 0.1), 2.0), TypeError, "lhs is an Estimate"),
        (lambda: claims.at_most(1.0, 2.0, slack=-1.0), ValueError, "slack"),
        (lambda: claims.at_most([], 2.0), ValueError, "lhs must hold"),
        (lambda: claims.ordered([1.0]), ValueError, "at least two"),
        (lambda: claims.converges(jnp.ones(3), order=1, steps=jnp.ones(2), tolerance=0.1), ValueError, "one length"),
        (lambda: claims.converges(jnp.ones(3), order=1, steps=jnp.ones(3), tolerance=0.0), ValueError, "tolerance"),
        (lambda: claims.with_probability(jnp.ones(3), at_least=0.5), TypeError, "boolean"),
        (lambda: claims.with_probability(jnp.array([True]), at_least=1.5), ValueError, "at_least"),
        (lambda: claims.with_probability(claims.equal_in_mean(1.0, 2.0), at_least=0.5), ValueError, "deterministic"),
        (lambda: claims.equal_within(1.0, 2.0), TypeError, "must be an Estimate"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
