"""Bounds for whole classes of hypotheses, covers, and constants of Lipschitz losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import bounds, gradients


def ball(n, dim, seed=0):
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(n, dim))
    return directions * generator.uniform(size=(n, 1)) ** (1 / dim) / np.linalg.norm(directions, axis=1, keepdims=True)


def test_penalties_of_a_thousand_hypotheses_are_known(rtol):
    penalty = {
        variant: bounds.finite_class_bound(0.25, np.log(1000), 500, 0.05, variant=variant).terms["penalty"] for variant in ("source", "hoeffding")
    }
    np.testing.assert_allclose(penalty["source"], 0.2814745111, rtol=max(rtol, 1e-9))
    np.testing.assert_allclose(penalty["hoeffding"], 0.0995162678, rtol=max(rtol, 1e-9))
    np.testing.assert_allclose(penalty["source"], 2 * np.sqrt(2) * penalty["hoeffding"], rtol=rtol)


def test_both_sides_cost_half_of_delta(rtol):
    both = bounds.finite_class_bound(0.1, 3.0, 100, 0.05, variant="two_sided")
    np.testing.assert_allclose(both.value, bounds.finite_class_bound(0.1, 3.0, 100, 0.025).value, rtol=rtol)
    assert both.sided == "two"
    assert both.confidence == 0.95


@pytest.mark.float64
def test_the_union_bound_is_tight_for_independent_hypotheses():
    """Failure of 1000 independent fair hypotheses on 500 examples: 0.00446 of the 0.05 allowed, and near one without the price of the union."""
    penalty = float(bounds.finite_class_bound(0.0, np.log(1000), 500, 0.05).value)
    single = scipy.stats.binom.cdf(np.ceil(500 * (0.5 - penalty)) - 1, 500, 0.5)
    np.testing.assert_allclose(1 - (1 - single) ** 1000, 0.00446, atol=1e-5)
    unpaid = scipy.stats.binom.cdf(np.ceil(500 * (0.5 - float(bounds.hoeffding_penalty(500, 0.05)))) - 1, 500, 0.5)
    np.testing.assert_allclose(1 - (1 - unpaid) ** 1000, 1.0, atol=1e-3)


@pytest.mark.float64
def test_occams_bound_of_a_uniform_prior_is_the_union_bound(rtol):
    found = bounds.occam_bound(jnp.array([0.1, 0.4]), np.log(50), 30, 0.1)
    np.testing.assert_allclose(found.value, bounds.finite_class_bound(jnp.array([0.1, 0.4]), np.log(50), 30, 0.1).value, rtol=rtol)
    np.testing.assert_allclose(bounds.occam_bound(0.2, 0.0, 30, 0.1).value, 0.2 + bounds.hoeffding_penalty(30, 0.1), rtol=rtol)


@pytest.mark.parametrize(("dim", "rho"), [(1, 0.9), (2, 0.5), (3, 0.5), (2, 0.2)])
def test_greedy_covers_are_no_larger_than_the_volume_allows(dim, rho):
    points = ball(2000, dim)
    mask, count = bounds.greedy_cover(points, rho)
    centres = points[np.asarray(mask)]
    distances = np.linalg.norm(points[:, None] - centres[None], axis=2)
    assert len(centres) == count
    assert np.all(distances.min(axis=1) <= rho * (1 + 1e-6))
    assert np.all(distances[np.asarray(mask)] + 9 * np.eye(len(centres)) > rho * (1 - 1e-6))
    assert 0.9 * rho**-dim <= count <= np.exp(bounds.log_covering_number_bound(dim, rho)) * (1 + 1e-5)
    assert count > ((2 + rho) / (2 * rho)) ** dim


@pytest.mark.float64
def test_a_greedy_cover_takes_the_first_point_that_is_left(key):
    points = jnp.array([[0.0], [0.4], [1.0], [1.1], [0.55]])
    np.testing.assert_array_equal(bounds.greedy_cover(points, 0.5).mask, [True, False, True, False, False])
    np.testing.assert_array_equal(jax.vmap(bounds.greedy_cover, (None, 0))(points, jnp.array([0.5, 0.41, 9.0])).count, [2, 3, 1])
    assert jax.jit(bounds.greedy_cover)(points, -1.0).count == -1
    assert jax.jit(bounds.greedy_cover)(points.at[2].set(jnp.nan), 0.5).count == -1


def test_the_bound_of_a_cover_is_known(rtol):
    found = bounds.cover_bound(0.1, 10, 0.1, 0.05, 10_000, 0.05)
    np.testing.assert_allclose(found.value, 0.1 + 0.1408906815, rtol=max(rtol, 1e-9))
    assert found.certified
    assert found.terms["discretization"] == 2 * jnp.asarray(0.05)


@pytest.mark.float64
@pytest.mark.parametrize("from_sample", [False, True])
def test_the_best_radius_of_a_lipschitz_loss_is_near_the_best_of_all(from_sample):
    def total(rho):
        return 2 * 3.0 * rho + np.sqrt((20 * np.log1p(2 / rho) + np.log((200 if from_sample else 1) / 0.05)) / (2 * 5000))

    found = bounds.cover_bound_lipschitz(0.2, 20, 3.0, 5000, 0.05, lip_from_sample=from_sample)
    assert found.certified is not from_sample
    # Neighbours on the grid differ by 7 percent, and the total is flat at its minimum.
    best = total(np.geomspace(1e-6, 1, 100_000)).min()
    assert best * (1 - 1e-5) <= found.value - 0.2 <= 1.002 * best
    np.testing.assert_allclose(found.value - 0.2, total(float(found.terms["radius"])), rtol=1e-5)


@pytest.mark.any_precision
def test_the_examples_needed_grow_linearly_with_the_dimension():
    n = np.geomspace(1e2, 1e7, 400)
    needed = []
    for dim in (10, 20, 40, 80):
        needed.append(n[np.argmax(np.asarray(bounds.cover_bound(0.0, dim, 0.01, 0.0, n, 0.05).value) < 0.1)])
    np.testing.assert_allclose(np.polyfit(np.log([10, 20, 40, 80]), np.log(needed), 1)[0], 1.0, atol=0.05)


@pytest.mark.float64
def test_bounds_are_the_same_under_transformations_and_have_gradients(rtol):
    risks = jnp.array([0.0, 0.1, 1.0])
    for fn in (
        lambda risk, n: bounds.finite_class_bound(risk, 5.0, n, 0.05).value,
        lambda risk, n: bounds.occam_bound(risk, 5.0, n, 0.05).value,
        lambda risk, n: bounds.cover_bound_lipschitz(risk, 7, 2.0, n, 0.05).value,
    ):
        eager = fn(risks, 100.0)
        found, slopes = jax.jit(jax.vmap(jax.value_and_grad(fn, (0, 1)), (0, None)))(risks, 100.0)
        np.testing.assert_allclose(found, eager, rtol=rtol)
        np.testing.assert_allclose(slopes[0], 1.0, rtol=rtol)
        assert np.all(slopes[1] < 0)


def squared_loss(w, batch):
    return (batch[0] @ w - batch[1]) ** 2


def two_layer_loss(params, batch):
    return (jax.nn.relu(batch[0] @ params["w"].T) @ params["a"] - batch[1]) ** 2


def one_example(x, y):
    return jnp.asarray([x], float), jnp.asarray([y], float)


@pytest.mark.float64
def test_the_gradient_of_a_linear_loss_is_in_closed_form(key, rtol):
    x, y, w = jax.random.normal(key, (5, 3)), jnp.arange(5.0), jnp.array([0.1, -0.5, 0.3])
    expected = 2 * np.abs(x @ w - y) * np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(bounds.local_loss_lipschitz(squared_loss, w, (x, y)), expected.max(), rtol=10 * rtol)
    mean = np.linalg.norm(2 * (x @ w - y) @ x / 5)
    np.testing.assert_allclose(bounds.local_loss_lipschitz(squared_loss, w, (x, y), reduce="mean_loss"), mean, rtol=10 * rtol)


@pytest.mark.float64
def test_the_gradient_of_a_two_layer_net_counts_active_neurons_only(key, rtol):
    params = {"a": jnp.array([1.0, -2.0, 0.5]), "w": jax.random.normal(key, (3, 2))}
    x, y = jnp.array([3.0, 4.0]), 1.0
    active = params["w"] @ x > 0
    assert 0 < active.sum() < 3
    hidden = jax.nn.relu(params["w"] @ x)
    expected = 2 * abs(params["a"] @ hidden - y) * np.sqrt(25 * np.sum(params["a"] ** 2 * active) + np.sum(hidden**2))
    np.testing.assert_allclose(bounds.local_loss_lipschitz(two_layer_loss, params, one_example(x, y)), expected, rtol=10 * rtol)


@pytest.mark.float64
@pytest.mark.parametrize(("loss_fn", "expected"), [(squared_loss, 60.0), (two_layer_loss, 35.0)])
def test_ascent_finds_the_suprema_over_the_unit_ball(loss_fn, expected, key):
    center = jnp.zeros(2) if loss_fn is squared_loss else {"a": jnp.zeros(2), "w": jnp.zeros((2, 2))}
    ascend = jax.jit(lambda key: bounds.loss_lipschitz_on_ball(key, loss_fn, center, 1.0, one_example([3.0, 4.0], 1.0), num_samples=8))
    found = ascend(key)
    assert 0.99 * expected <= found <= expected * (1 + 1e-5)


@pytest.mark.float64
def test_without_steps_the_ball_is_sampled(key):
    found = bounds.loss_lipschitz_on_ball(key, squared_loss, jnp.zeros(2), 1.0, one_example([3.0, 4.0], 1.0), num_samples=3, num_steps=0)
    assert 10 < found < 60


def test_the_uniform_gap_is_the_largest(rtol):
    losses = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(bounds.uniform_gap(losses, [0.4, 0.3, 0.2]), 0.7, rtol=rtol)


@pytest.mark.float64
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_gaps_across_samples_have_the_ordinary_ones_on_the_diagonal(chunk_size, key, rtol):
    samples = jax.random.normal(key, (3, 6, 2))

    def train_fn(sample):
        return sample.mean(axis=0)

    def loss_fn(w, batch):
        return jnp.sum((w - batch) ** 2, axis=1)

    def risk_fn(w):
        return 2 + jnp.sum(w**2)

    found = bounds.cross_sample_gap(train_fn, loss_fn, samples, risk_fn, chunk_size=chunk_size)
    expected = [[abs(risk_fn(train_fn(b)) - gradients.risk(loss_fn, train_fn(b), a)) for b in samples] for a in samples]
    np.testing.assert_allclose(found, expected, rtol=100 * rtol)


@pytest.mark.float64
def test_the_solutions_of_a_linear_model_have_the_dimension_of_its_kernel(key):
    x = jax.random.normal(key, (4, 2)) @ jax.random.normal(key, (2, 7))
    assert bounds.solution_manifold_dim(lambda w, x: x @ w, jnp.zeros(7), x) == 5
    assert bounds.solution_manifold_dim(lambda w, x: x @ w, jnp.zeros((7, 3)), x) == 15
    assert jax.jit(lambda w: bounds.solution_manifold_dim(lambda w, x: x @ w["w"] + w["b"], w, x))({"w": jnp.zeros(7), "b": 0.0}) == 5


@pytest.mark.float64
def test_small_singular_values_count_by_their_tolerance():
    assert bounds.solution_manifold_dim(lambda w, x: x @ w, jnp.zeros(2), jnp.diag(jnp.array([1.0, 1e-3]))) == 0
    assert bounds.solution_manifold_dim(lambda w, x: x @ w, jnp.zeros(2), jnp.diag(jnp.array([1.0, 1e-3])), rtol=1e-2) == 1


WRONG = {
    r"emp_risk must be in \[0, 1\]": [lambda: bounds.finite_class_bound(2.0, 1.0, 10, 0.1), lambda: bounds.cover_bound(-0.1, 1, 0.5, 0.1, 10, 0.1)],
    "log_cardinality must be at least 0": [lambda: bounds.finite_class_bound(0.1, -1.0, 10, 0.1)],
    "log_inv_prior must be at least 0": [lambda: bounds.occam_bound(0.1, -1.0, 10, 0.1)],
    "n must be at least 2": [
        lambda: bounds.finite_class_bound(0.1, 1.0, 1, 0.1),
        lambda: bounds.occam_bound(0.1, 1.0, 0, 0.1),
        lambda: bounds.cover_bound(0.1, 1, 0.5, 0.1, -4, 0.1),
    ],
    r"delta must be in \(0, 1\)": [
        lambda: bounds.finite_class_bound(0.1, 1.0, 10, 0.0),
        lambda: bounds.occam_bound(0.1, 1.0, 10, 1.0),
        lambda: bounds.cover_bound_lipschitz(0.1, 1, 1.0, 10, 2.0),
    ],
    "variant must be one of": [lambda: bounds.finite_class_bound(0.1, 1.0, 10, 0.1, variant="sharp")],
    "dim must be at least 1": [lambda: bounds.cover_bound(0.1, 0, 0.5, 0.1, 10, 0.1), lambda: bounds.log_covering_number_bound(0, 0.5)],
    "rho must be positive": [
        lambda: bounds.log_covering_number_bound(2, 0.0),
        lambda: bounds.greedy_cover(np.ones((2, 2)), 0.0),
        lambda: bounds.cover_bound(0.1, 1, 0.0, 0.1, 10, 0.1),
    ],
    "rho must be at most 1": [lambda: bounds.cover_bound(0.1, 1, 1.5, 0.1, 10, 0.1)],
    "gamma must be at least 0": [lambda: bounds.cover_bound(0.1, 1, 0.5, -0.1, 10, 0.1)],
    "lip must be at least 0": [lambda: bounds.cover_bound_lipschitz(0.1, 1, -1.0, 10, 0.1)],
    "num_radii must be an integer": [lambda: bounds.cover_bound_lipschitz(0.1, 1, 1.0, 10, 0.1, num_radii=0)],
    r"points must have shape \(n, k\)": [lambda: bounds.greedy_cover(np.ones(3), 0.5), lambda: bounds.greedy_cover(np.ones((0, 3)), 0.5)],
    "points must be finite": [lambda: bounds.greedy_cover(np.full((2, 2), np.nan), 0.5)],
    "reduce must be one of": [lambda: bounds.local_loss_lipschitz(squared_loss, jnp.ones(2), one_example([1.0, 2.0], 1.0), reduce="sum")],
    "radius must be positive": [
        lambda: bounds.loss_lipschitz_on_ball(jax.random.key(0), squared_loss, jnp.ones(2), 0.0, one_example([1.0, 2.0], 1.0))
    ],
    "num_samples must be an integer": [
        lambda: bounds.loss_lipschitz_on_ball(jax.random.key(0), squared_loss, jnp.ones(2), 1.0, one_example([1.0, 2.0], 1.0), num_samples=0)
    ],
    "pop_risk must hold one risk a hypothesis": [lambda: bounds.uniform_gap(np.ones((3, 2)), np.ones(2))],
    "losses_train must have shape": [lambda: bounds.uniform_gap(np.ones(3), np.ones(3))],
    "samples must hold at least one sample": [lambda: bounds.cross_sample_gap(lambda s: s, squared_loss, jnp.ones((0, 3)), jnp.sum)],
    "pop_risk_fn must return a scalar": [lambda: bounds.cross_sample_gap(lambda s: s, lambda w, s: w * s, jnp.ones((2, 3)), lambda w: w)],
    "x must hold at least one example": [lambda: bounds.solution_manifold_dim(lambda w, x: x @ w, jnp.ones(2), jnp.ones((0, 2)))],
    "apply_fn must return one array": [lambda: bounds.solution_manifold_dim(lambda w, x: (x @ w, x), jnp.ones(2), jnp.ones((3, 2)))],
}


@pytest.mark.any_precision
@pytest.mark.parametrize("message", WRONG)
def test_wrong_input_is_named(message):
    for call in WRONG[message]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.float64
def test_wrong_values_are_nan_when_traced():
    assert np.isnan(jax.jit(lambda risk: bounds.finite_class_bound(risk, 1.0, 10, 0.1).value)(-0.5))
    assert np.isnan(jax.jit(lambda rho: bounds.cover_bound(0.1, 2, rho, 0.1, 10, 0.1).value)(1.5))
    with pytest.raises(TypeError, match="delta must be a concrete number"):
        jax.jit(lambda delta: bounds.occam_bound(0.1, 1.0, 10, delta).value)(0.1)
