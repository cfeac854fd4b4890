"""AdaBoost as coordinate descent."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from jaxgen import implicit_bias
from jaxgen.claims.implicit_bias.boosting import CYCLE, ON_THE_CYCLE, ROOT


@pytest.mark.heavy
def test_every_exact_step_minimizes_the_loss_along_its_coordinate(key):
    """scipy finds the minimizer to about the root of a rounding, so losses are compared."""
    m = np.asarray(jax.random.rademacher(key, (12, 5), float))
    found = implicit_bias.adaboost(m, 6)
    products = np.zeros(12)
    for learner, edge, step, log_loss in zip(*(np.asarray(a) for a in (*found.trace[:3], found.trace.log_loss)), strict=True):
        weights = np.exp(-products) / np.exp(-products).sum()
        edges = weights @ m
        assert abs(edges[learner]) >= np.abs(edges).max() - 1e-5
        np.testing.assert_allclose([edge, step], [edges[learner], math.atanh(edges[learner])], rtol=1e-4, atol=1e-6)
        line = lambda a, products=products, learner=learner: np.log(np.mean(np.exp(-products - a * m[:, learner])))  # noqa: E731
        np.testing.assert_allclose(log_loss, minimize_scalar(line, bracket=(-1, 1)).fun, rtol=1e-5)
        products = products + step * m[:, learner]
    np.testing.assert_allclose(found.margins, products / np.abs(found.coefficients).sum(), rtol=1e-4, atol=1e-6)


def test_adaboost_cycles_to_a_margin_below_the_largest(precision):
    """1/3 in a cycle of three learners, whereas the largest l1 margin is 3/8."""
    found = jax.jit(lambda m, weights: implicit_bias.adaboost(m, 60, weights=weights))(CYCLE, ON_THE_CYCLE)
    np.testing.assert_array_equal(found.trace.learner, [0, 2, 1] * 20)
    np.testing.assert_allclose(found.trace.edge, (ROOT - 1) / 2, rtol={"float32": 1e-4, "float64": 1e-10}[precision])
    np.testing.assert_allclose(found.margins.min(), 1 / 3, rtol={"float32": 1e-4, "float64": 1e-12}[precision])


def test_small_steps_reach_the_largest_margin():
    margins = jax.jit(lambda m: implicit_bias.adaboost(m, 4000, step=0.1).trace.margin)(CYCLE)
    assert 0.3725 < margins[-1] < 0.375


@pytest.mark.heavy
def test_small_steps_are_steepest_descent_of_the_l1_norm_with_normalized_steps(rtol):
    """Where B = 1: eta = c / L."""
    trace = implicit_bias.steepest_descent_exp(CYCLE, implicit_bias.lp_norm(1), jnp.zeros(8), 50, learning_rate=0.1, mode="normalized")
    found = implicit_bias.adaboost(CYCLE, 50, step=0.1)
    np.testing.assert_allclose(found.coefficients, trace.w, rtol=50 * rtol)
    np.testing.assert_allclose(found.trace.margin, (trace.margin / trace.norm)[1:], rtol=50 * rtol, atol=50 * rtol)
    np.testing.assert_allclose(found.trace.log_loss, trace.log_loss[1:] - math.log(8), rtol=50 * rtol, atol=50 * rtol)


def test_rounds_far_below_the_range_of_losses_stay_finite():
    found = jax.jit(lambda m: implicit_bias.adaboost(m, 3000, step=5.0))(np.array([[1.0, 0.5], [0.5, 1.0]]))
    assert found.trace.log_loss[-1] < -3000
    assert jnp.isfinite(found.margins).all()


@pytest.mark.heavy
def test_steps_may_be_mapped_over():
    found = jax.vmap(lambda c: implicit_bias.adaboost(CYCLE, 30, step=c).coefficients)(jnp.array([0.05, 0.1]))
    np.testing.assert_allclose(found[1], implicit_bias.adaboost(CYCLE, 30, step=0.1).coefficients, rtol=1e-5)


PERFECT = np.array([[1.0, 1.0], [1.0, -1.0]])


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("m", "options", "message"),
    [
        (PERFECT, {}, "perfect weak learner"),
        (-PERFECT, {}, "perfect weak learner"),
        (CYCLE, {"weights": np.eye(8)[0]}, "perfect weak learner"),
        (0.5 * CYCLE, {}, "must be -1 or 1"),
        (CYCLE, {"step": 0.0}, "positive number"),
        (CYCLE, {"step": "small"}, "positive number"),
        (CYCLE, {"step": jnp.ones(2)}, "positive number"),
        (CYCLE, {"weights": np.ones(3)}, "vector of 8"),
        (CYCLE, {"weights": np.zeros(8)}, "all be zero"),
        (CYCLE, {"weights": -np.ones(8)}, "at least 0"),
        (CYCLE[0], {}, "matrix"),
    ],
)
def test_bad_input_is_named(m, options, message):
    with pytest.raises(ValueError, match=message):
        implicit_bias.adaboost(m, 3, **options)


@pytest.mark.any_precision
def test_a_traced_perfect_learner_gives_no_number():
    assert jnp.isnan(jax.jit(lambda m: implicit_bias.adaboost(m, 3).margins)(PERFECT)).all()
    assert implicit_bias.adaboost(PERFECT, 30, step=0.1).margins.min() == pytest.approx(1, rel=1e-5)
