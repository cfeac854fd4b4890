"""Rademacher complexities against enumeration and their known values; the bound on the risk; random labels."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds

SIGNS = {n: np.array(list(product([-1.0, 1.0], repeat=n))) for n in (4, 6, 8)}


@pytest.fixture(scope="module")
def losses():
    return np.random.default_rng(0).integers(0, 2, (20, 8)).astype(float)


@pytest.mark.parametrize("absolute", [False, True])
def test_going_through_all_signs_is_the_definition(losses, absolute, rtol):
    sums = SIGNS[8] @ losses.T
    expected = (np.abs(sums) if absolute else sums).max(axis=1).mean() / 8
    found = bounds.empirical_rademacher(None, losses, num_draws=None, absolute=absolute)
    np.testing.assert_allclose(found.value, expected, rtol=rtol)
    assert found.stderr == 0


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.any_precision
def test_drawn_signs_agree_with_all_of_them(losses, balanced, key):
    exact = bounds.empirical_rademacher(None, losses, num_draws=None, absolute=True, balanced=balanced).value
    drawn = bounds.empirical_rademacher(key, losses, num_draws=2000, absolute=True, balanced=balanced)
    assert 0 < drawn.stderr < 0.01
    assert abs(drawn.value - exact) < 4 * drawn.stderr


def test_balanced_signs_average_the_two_sample_value_over_all_halves(losses, rtol):
    halves = SIGNS[8][SIGNS[8].sum(axis=1) == 0]
    values = [bounds.rademacher_two_sample(losses[:, signs > 0], losses[:, signs < 0]) for signs in halves[::7]]
    expected = [np.abs(losses @ signs).max() / 8 for signs in halves[::7]]
    np.testing.assert_allclose(values, expected, rtol=rtol)
    found = bounds.empirical_rademacher(None, losses, num_draws=None, absolute=True, balanced=True)
    np.testing.assert_allclose(found.value, np.mean([np.abs(losses @ signs).max() / 8 for signs in halves]), rtol=rtol)


def test_a_class_that_fits_every_labelling(rtol):
    every = SIGNS[6]
    zero_one = (1 + every) / 2
    np.testing.assert_allclose(bounds.rademacher_two_sample(zero_one[:, :3], zero_one[:, 3:]), 0.5, rtol=rtol)
    for values, expected in ((zero_one, 0.5), (every, 1.0)):
        np.testing.assert_allclose(bounds.empirical_rademacher(None, values, num_draws=None).value, expected, rtol=rtol)


def test_one_hypothesis_has_no_complexity_but_for_absolute_values(rtol):
    values = np.ones((1, 4))
    np.testing.assert_allclose(bounds.empirical_rademacher(None, values, num_draws=None).value, 0, atol=1e-7)
    np.testing.assert_allclose(bounds.empirical_rademacher(None, values, num_draws=None, absolute=True).value, 0.375, rtol=rtol)
    fair = [bounds.rademacher_two_sample(np.array([[a]]), np.array([[b]])) for a in (0, 1) for b in (0, 1)]
    np.testing.assert_allclose(np.mean(fair), 0.25, rtol=rtol)


@pytest.mark.any_precision
def test_what_fits_to_random_signs_achieve(key):
    perfect = bounds.rademacher_via_fit(key, lambda x, signs: jnp.mean(signs * jnp.sign(signs)), jnp.zeros((5, 2)), num_draws=4)
    assert perfect == (1, 0)
    x = jax.random.normal(key, (12, 3))
    achieved = bounds.rademacher_via_fit(key, lambda x, signs: jnp.mean(signs * (x @ jnp.array([1.0, 0.0, 0.0]))), x, num_draws=500)
    assert abs(achieved.value) < 4 * achieved.stderr
    by_fit = bounds.rademacher_via_fit(key, lambda x, signs: jnp.linalg.norm(signs @ x) / 12, x, num_draws=500)
    exact = bounds.rademacher_linear(None, x, num_draws=None).value
    assert abs(by_fit.value - exact) < 4 * by_fit.stderr


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_linear_predictors_lie_between_their_bounds(norm, key, rtol):
    x = np.asarray(jax.random.normal(key, (8, 5)))
    totals = SIGNS[8] @ x
    expected = 1.5 / 8 * (np.linalg.norm(totals, axis=1) if norm == "l2" else np.abs(totals).max(axis=1)).mean()
    found = bounds.rademacher_linear(None, x, 1.5, norm=norm, num_draws=None).value
    np.testing.assert_allclose(found, expected, rtol=rtol)
    lower, upper = (bounds.rademacher_linear_bound(x, 1.5, norm=norm, side=side) for side in ("lower", "upper"))
    assert lower < found < upper


def test_known_values_of_linear_predictors(rtol):
    np.testing.assert_allclose(bounds.rademacher_linear(None, np.ones((4, 1)), num_draws=None).value, 0.375, rtol=rtol)
    np.testing.assert_allclose(bounds.rademacher_linear_bound(np.ones((4, 1))), 0.5, rtol=rtol)
    for value in (bounds.rademacher_linear(None, np.eye(4, 6), num_draws=None).value, bounds.rademacher_linear_bound(np.eye(4, 6))):
        np.testing.assert_allclose(value, 0.5, rtol=rtol)
    # B max |x|_inf sqrt(2 log(2 d) / n) with B = 2, d = 3, n = 2.
    np.testing.assert_allclose(bounds.rademacher_linear_bound(np.ones((2, 3)), 2.0, norm="l1"), 2 * np.sqrt(np.log(6)), rtol=rtol)


def test_the_kernels_bound_is_half_of_its_measure_and_one_on_a_multiple_of_the_identity(key, rtol):
    y = np.array([1.0, -1.0, -1.0, 1.0, 1.0, 1.0])
    for scale in (1e-3, 1.0, 50.0):
        np.testing.assert_allclose(bounds.kernel_rademacher_bound(scale * np.eye(6), y), 1.0, rtol=rtol)
    root = np.asarray(jax.random.normal(key, (6, 6)))
    kernel = root @ root.T
    bound = bounds.kernel_rademacher_bound(kernel, y)
    np.testing.assert_allclose(bound, np.sqrt(y @ np.linalg.solve(kernel, y) * np.trace(kernel)) / 6, rtol=2e4 * rtol)
    exact = np.sqrt(y @ np.linalg.solve(kernel, y)) / 6 * np.linalg.norm(SIGNS[6] @ root, axis=1).mean()
    assert exact < bound


def test_known_value_of_the_bound_on_the_risk(rtol):
    found = bounds.rademacher_bound(0.05, 0.1, 1000, 0.05)
    np.testing.assert_allclose(found.value - 0.05, 0.2387022756, rtol=10 * rtol if rtol > 1e-8 else 1e-9)
    np.testing.assert_allclose(found.terms["confidence"], 0.0387022756, rtol=10 * rtol if rtol > 1e-8 else 1e-9)
    np.testing.assert_allclose(sum(found.terms.values()), found.value, rtol=rtol)
    assert (found.sided, found.certified, found.confidence) == ("one", True, 0.95)
    assert all(sentence.endswith(".") for sentence in found.assumptions)


@pytest.mark.any_precision
def test_what_each_definition_pays():
    same = bounds.rademacher_bound(0.0, 0.1, 100, 0.1, definition="sign_distribution")
    assert same.value == bounds.rademacher_bound(0.0, 0.1, 100, 0.1).value
    on_sample = bounds.rademacher_bound(0.0, 0.1, 100, 0.1, definition="sign_empirical")
    np.testing.assert_allclose(on_sample.terms["confidence"], 3 * np.sqrt(np.log(20) / 200), rtol=1e-6)
    drawn = bounds.rademacher_bound(0.0, 0.1, 100, 0.1, definition="sign_empirical", num_draws=50)
    np.testing.assert_allclose(drawn.terms["confidence"], 3 * np.sqrt(np.log(30) / 200), rtol=1e-6)
    np.testing.assert_allclose(drawn.terms["signs"], 2 * np.sqrt(2 * np.log(30) / 5000), rtol=1e-6)
    assert len({one.assumptions for one in (same, on_sample, drawn)}) == 3


@pytest.mark.any_precision
def test_an_estimate_is_certified_only_where_its_error_is_paid_for(losses, key):
    estimate = bounds.empirical_rademacher(key, losses, num_draws=50)
    free = bounds.rademacher_bound(0.0, estimate, 8, 0.1, definition="sign_empirical")
    paid = bounds.rademacher_bound(0.0, estimate, 8, 0.1, definition="sign_empirical", num_draws=50)
    assert not free.certified
    assert paid.certified
    assert paid.value > free.value


@pytest.mark.any_precision
def test_the_error_of_drawn_signs_stays_within_its_term(losses, key):
    """400 means of 4 vectors at once: none beyond the deviation that has the probability 1e-4 by McDiarmid."""
    exact = bounds.empirical_rademacher(None, losses, num_draws=None).value
    drawn = jax.vmap(lambda key: bounds.empirical_rademacher(key, losses, num_draws=4).value)(jax.random.split(key, 400))
    term = np.sqrt(2 * np.log(1e4) / (8 * 4))
    assert np.abs(drawn - exact).max() < term
    assert np.abs(drawn - exact).max() > term / 10


def test_flipped_labels(losses):
    found = bounds.label_flip_identity(losses[:, :4], losses[:, 4:])
    assert found.correlation == found.from_least_error
    assert found.correlation == (losses[:, :4].sum(axis=1) - losses[:, 4:].sum(axis=1)).max() / 8


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.any_precision
def test_capacity_is_one_for_what_memorizes_and_zero_for_what_does_not_look(num_classes, key):
    x = jnp.zeros((30, 2))
    options = {"num_draws": 60, "num_classes": num_classes}
    assert bounds.random_label_capacity(key, lambda x, labels: labels, x, **options) == (1, 0)
    found = bounds.random_label_capacity(key, lambda x, labels: jnp.zeros(30, int), x, **options)
    assert abs(found.value) < 4 * found.stderr
    assert found.stderr < 0.05


@pytest.mark.any_precision
def test_capacity_of_a_searched_class_is_its_rademacher_complexity(key):
    outputs = np.random.default_rng(1).choice([-1.0, 1.0], (10, 6))

    def least_error(x, labels):
        correct = (outputs > 0) == (labels == 1)
        return (jnp.asarray(outputs)[jnp.argmax(correct.sum(axis=1))] > 0).astype(int)

    found = bounds.random_label_capacity(key, least_error, jnp.zeros((6, 1)), num_draws=1000)
    exact = bounds.empirical_rademacher(None, outputs, num_draws=None).value
    assert abs(found.value - exact) < 4 * found.stderr
    of_losses = bounds.empirical_rademacher(None, (1 - outputs) / 2, num_draws=None).value
    np.testing.assert_allclose(2 * of_losses, exact, rtol=1e-6)


@pytest.mark.any_precision
def test_a_single_tree_of_inputs_is_enough(key):
    x = {"image": jnp.zeros((6, 2)), "mask": jnp.ones(6)}
    assert bounds.random_label_capacity(key, lambda x, labels: labels * x["mask"].astype(int), x, num_draws=2).value == 1


@pytest.mark.heavy
def test_complexities_under_jit_and_vmap(losses, key, rtol):
    keys = jax.random.split(key, 3)

    def both(key):
        return bounds.empirical_rademacher(key, losses, num_draws=20).value, bounds.rademacher_linear(key, losses, num_draws=20).value

    mapped = jax.jit(jax.vmap(both))(keys)
    for row, one in enumerate(keys):
        np.testing.assert_allclose([values[row] for values in mapped], both(one), rtol=rtol)


@pytest.mark.any_precision
def test_the_bound_under_jit_vmap_and_grad(rtol):
    risks, complexities = jnp.array([0.0, 0.2]), jnp.array([0.0, 0.3])
    eager = bounds.rademacher_bound(risks, complexities, 50, 0.1).value
    np.testing.assert_allclose(jax.jit(lambda r, c: bounds.rademacher_bound(r, c, 50, 0.1))(risks, complexities).value, eager, rtol=rtol)
    np.testing.assert_allclose(jax.vmap(lambda r, c: bounds.rademacher_bound(r, c, 50, 0.1).value)(risks, complexities), eager, rtol=rtol)
    assert jax.grad(lambda c: bounds.rademacher_bound(0.1, c, 50, 0.1).value)(0.0) == 2
    slope = jax.grad(bounds.rademacher_linear_bound)(jnp.zeros((3, 2)))
    assert jnp.isfinite(slope).all()


@pytest.mark.any_precision
def test_wrong_values_that_are_traced_give_nan(losses, key):
    assert np.isnan(jax.jit(lambda v: bounds.empirical_rademacher(key, v, num_draws=2).value)(losses * np.nan))
    assert np.isnan(jax.jit(lambda c: bounds.rademacher_bound(0.1, c, 50, 0.1).value)(-0.1))
    assert np.isnan(jax.jit(lambda r: bounds.rademacher_bound(r, 0.1, 50, 0.1).value)(1.1))
    assert np.isnan(jax.jit(lambda v: bounds.label_flip_identity(v, v))(losses / 2)).all()
    assert np.isnan(jax.jit(lambda r: bounds.rademacher_linear_bound(losses, r))(0.0))
    assert np.isnan(jax.jit(lambda x: bounds.random_label_capacity(key, lambda x, labels: labels + 2, x, num_draws=2).value)(losses))


KEY = jax.random.key
TWO = np.eye(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: bounds.rademacher_two_sample(TWO, np.ones((2, 3))), ValueError, "losses1 and losses2 must have the same shape"),
        (lambda: bounds.rademacher_two_sample(TWO, np.full((2, 2), np.inf)), ValueError, "losses2 must be finite"),
        (lambda: bounds.rademacher_two_sample(np.ones(3), np.ones(3)), ValueError, r"losses1 must have shape \(hypotheses, examples\)"),
        (lambda: bounds.empirical_rademacher(KEY(0), TWO, num_draws=0), ValueError, "num_draws must be an integer of at least 2"),
        (lambda: bounds.empirical_rademacher(None, TWO), ValueError, "key is needed"),
        (lambda: bounds.empirical_rademacher(None, np.ones((1, 17)), num_draws=None), ValueError, "at most 16 values; got 17"),
        (lambda: bounds.empirical_rademacher(None, np.ones((1, 3)), num_draws=None, balanced=True), ValueError, "even number of columns"),
        (lambda: bounds.empirical_rademacher(None, np.ones((0, 3)), num_draws=None), ValueError, "neither of them none"),
        (lambda: bounds.rademacher_via_fit(KEY(0), lambda x, s: s, TWO), ValueError, "fit_fn must return a scalar"),
        (lambda: bounds.rademacher_linear(KEY(0), np.ones(3)), ValueError, r"x must have shape \(n, d\)"),
        (lambda: bounds.rademacher_linear(KEY(0), TWO, 0.0), ValueError, "radius must be positive"),
        (lambda: bounds.rademacher_linear(KEY(0), TWO, np.ones(2)), ValueError, "radius must be a scalar"),
        (lambda: bounds.rademacher_linear_bound(TWO, norm="l3"), ValueError, "norm must be one of"),
        (lambda: bounds.rademacher_linear_bound(TWO, side="left"), ValueError, "side must be one of"),
        (lambda: bounds.kernel_rademacher_bound(np.array([[1.0, 0.5], [0.0, 1.0]]), np.ones(2)), ValueError, "kernel must be symmetric"),
        (lambda: bounds.kernel_rademacher_bound(-TWO, np.ones(2)), ValueError, "kernel must be positive semidefinite"),
        (lambda: bounds.kernel_rademacher_bound(TWO, np.ones(3)), ValueError, "y must have shape"),
        (lambda: bounds.rademacher_bound(0.1, -0.1, 10, 0.1), ValueError, "rademacher must be at least 0"),
        (lambda: bounds.rademacher_bound(1.5, 0.1, 10, 0.1), ValueError, r"emp_risk must be in \[0, 1\]"),
        (lambda: bounds.rademacher_bound(0.5, 0.1, 1, 0.1), ValueError, "n must be at least 2"),
        (lambda: bounds.rademacher_bound(0.1, 0.1, 10, 0.0), ValueError, r"delta must be in \(0, 1\)"),
        (lambda: jax.jit(lambda d: bounds.rademacher_bound(0.1, 0.1, 10, d).value)(0.1), TypeError, "delta must be a concrete number"),
        (lambda: bounds.rademacher_bound(0.1, 0.1, 10, 0.1, definition="gaussian"), ValueError, "definition must be one of"),
        (lambda: bounds.rademacher_bound(0.1, 0.1, 10, 0.1, num_draws=5), ValueError, "num_draws is of signs on the sample"),
        (lambda: bounds.label_flip_identity(TWO, TWO / 2), ValueError, "losses2 must be zero-one losses"),
        (lambda: bounds.random_label_capacity(KEY(0), lambda x, y: 2 * y - 1, TWO), ValueError, r"labels in 0, \.\.\., 1"),
        (lambda: bounds.random_label_capacity(KEY(0), lambda x, y: y[0], TWO), ValueError, r"labels of shape \(2,\)"),
        (lambda: bounds.random_label_capacity(KEY(0), lambda x, y: y, TWO, num_classes=1), ValueError, "num_classes must be an integer"),
    ],
)
@pytest.mark.any_precision
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
