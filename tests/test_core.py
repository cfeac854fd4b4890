"""Results, argument checks and statistics over seeds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import Bound, Estimate, seeds
from jaxgen._core import checks


def test_results_pass_through_transformations():
    def make(x):
        return Estimate(x, 0 * x), Bound(2 * x, {"a": x}, sided="one", certified=False, assumptions=("none",), confidence=0.9)

    estimate, bound = jax.jit(jax.vmap(make))(jnp.arange(3.0))
    np.testing.assert_array_equal(estimate.value, [0, 1, 2])
    np.testing.assert_array_equal(bound.value, [0, 2, 4])
    np.testing.assert_array_equal(bound.terms["a"], [0, 1, 2])
    assert (bound.sided, bound.certified, bound.assumptions, bound.confidence) == ("one", False, ("none",), 0.9)


def test_a_bound_is_frozen():
    with pytest.raises(AttributeError):
        Bound(1.0, {}).value = 2.0


def test_checked_raises_on_concrete_and_poisons_traced_values():
    def root(x):
        return checks.checked(jnp.sqrt(jnp.abs(x)), (x >= 0, "x must be nonnegative"))

    assert root(jnp.array(4.0)) == 2
    with pytest.raises(ValueError, match="x must be nonnegative"):
        root(jnp.array(-4.0))
    np.testing.assert_array_equal(jax.jit(jax.vmap(root))(jnp.array([4.0, -4.0])), [2, np.nan])


def test_checked_names_the_fault_to_whoever_functionalizes():
    from jax.experimental import checkify

    def root(x):
        return checks.checked(jnp.sqrt(jnp.abs(x)), (x >= 0, "x must be nonnegative"))

    error, _ = jax.jit(checkify.checkify(root))(jnp.array(-1.0))
    with pytest.raises(Exception, match="x must be nonnegative"):
        error.throw()


def test_per_step_broadcasts_scalars_and_names_wrong_lengths():
    np.testing.assert_array_equal(checks.per_step("learning_rate", 2, 3), [2, 2, 2])
    with pytest.raises(ValueError, match=r"learning_rate must be a scalar or have one value per step, shape \(3,\); got shape \(2,\)"):
        checks.per_step("learning_rate", jnp.ones(2), 3)


@pytest.mark.parametrize("value", ["text", object(), jnp.ones(2) * 1j])
def test_floating_refuses_what_is_not_real(value):
    with pytest.raises(TypeError, match="x must be"):
        checks.floating("x", value)


def test_leading_axis_names_the_tree():
    assert checks.leading_axis("data", {"x": jnp.ones((4, 2)), "y": jnp.ones(4)}) == 4
    for tree in ({"x": jnp.ones(4), "y": jnp.ones(3)}, {"x": jnp.float32(1)}, {}):
        with pytest.raises(ValueError, match="every leaf of data"):
            checks.leading_axis("data", tree)


def test_the_jackknife_of_a_mean_is_its_standard_error(key, rtol):
    x = jax.random.normal(key, (20,))
    by_jackknife, by_formula = seeds.jackknife(jnp.mean, x), seeds.mean(x)
    np.testing.assert_allclose(by_jackknife.value, by_formula.value, rtol=rtol)
    np.testing.assert_allclose(by_jackknife.stderr, by_formula.stderr, rtol=50 * rtol)


def test_the_jackknife_follows_the_delta_method_through_a_cube_root(key):
    x = 2 + jax.random.uniform(key, (400,))
    estimate = seeds.jackknife(lambda x: jnp.cbrt(x.mean()), x)
    delta = seeds.mean(x).stderr / 3 / x.mean() ** (2 / 3)
    np.testing.assert_allclose(estimate.stderr, delta, rtol=5e-3)


def test_a_standard_error_of_one_seed_is_refused():
    for statistic in (seeds.mean, lambda x: seeds.jackknife(jnp.mean, x)):
        with pytest.raises(ValueError, match="K >= 2"):
            statistic(jnp.ones(1))
