"""Tail bounds of sums, against exact tails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import bounds

MANY = 10_000


def test_markov_and_chebyshev_are_attained_by_two_and_three_points(rtol):
    p, t = 0.1, 2.0
    np.testing.assert_allclose(bounds.markov_bound(p * t, t), p, rtol=rtol)
    np.testing.assert_allclose(bounds.chebyshev_bound(2 * p * t**2, t), 2 * p, rtol=rtol)


def test_probabilities_are_clipped_only_on_request():
    assert bounds.markov_bound(3.0, 2.0) == 1.5
    assert bounds.markov_bound(3.0, 2.0, clip=True) == 1
    assert bounds.chebyshev_bound(8.0, 2.0) == 2
    assert bounds.chebyshev_bound(8.0, 2.0, clip=True) == 1


@pytest.mark.float64
def test_distances_of_binomials_from_a_gaussian_are_known():
    atoms, n = np.arange(257.0), np.array([4.0, 16.0, 64.0, 256.0])
    masses = jnp.asarray(scipy.stats.binom.pmf(atoms, n[:, None], 0.3))
    found = jax.jit(jax.vmap(lambda n, masses: bounds.clt_ks_distance(atoms, 0.3 * n, 0.21 * n, weights=masses)))(n, masses)
    np.testing.assert_allclose(found, [0.2381, 0.1186, 0.0615, 0.0308], atol=1e-4)
    third = 0.3 * 0.7**3 + 0.7 * 0.3**3
    assert found[2] <= bounds.berry_esseen_bound(np.full(64, third), np.full(64, 0.21))


@pytest.mark.float64
def test_distance_of_draws_is_that_of_the_kolmogorov_smirnov_test(key, rtol):
    draws = np.asarray(jax.random.normal(key, (300,)) + 0.1)
    found = jax.jit(bounds.clt_ks_distance)(draws, 0.0, 1.0)
    np.testing.assert_allclose(found, scipy.stats.kstest(draws, "norm").statistic, rtol=rtol)


@pytest.mark.float64
def test_the_distance_does_not_depend_on_the_order_and_the_splitting_of_atoms(rtol):
    split = jax.jit(bounds.clt_ks_distance)([1.0, 0.0, 1.0, 0.0], 0.5, 0.25, weights=jnp.array([1.0, 2.0, 3.0, 2.0]))
    np.testing.assert_allclose(split, scipy.stats.norm.cdf(1.0) - 0.5, rtol=rtol)


@pytest.mark.float64
@pytest.mark.parametrize("form", ["sharp", "simple"])
def test_chernoff_bounds_the_upper_tails_of_binomials(form):
    mu, delta = np.meshgrid([0.5, 1.0, 2.0, 10.0, 100.0], [0.1, 0.5, 1.0, 2.0, 4.0, 9.0])
    tails = scipy.stats.binom.sf(np.ceil((1 + delta) * mu * (1 - 1e-12)) - 1, MANY, mu / MANY)
    assert np.all(tails <= np.asarray(bounds.chernoff_upper(mu, delta, form=form)))


@pytest.mark.float64
def test_chernoff_bounds_the_lower_tails_of_binomials():
    mu, delta = np.meshgrid([0.5, 1.0, 2.0, 10.0, 100.0], [0.1, 0.5, 0.9, 0.99])
    assert np.all(scipy.stats.binom.cdf(np.floor((1 - delta) * mu), MANY, mu / MANY) <= np.asarray(bounds.chernoff_lower(mu, delta)))


@pytest.mark.float64
def test_the_cubic_form_fails_beyond_one_and_is_refused_there():
    tail = scipy.stats.binom.sf(9, MANY, 1 / MANY)
    assert tail > bounds.chernoff_upper(1.0, 9.0, form="cubic", unsafe=True)
    np.testing.assert_allclose(bounds.chernoff_upper(1.0, 9.0, form="cubic", unsafe=True), 1.8795288165e-12, rtol=1e-9)
    with pytest.raises(ValueError, match="delta must be at most 1 for the form 'cubic'"):
        bounds.chernoff_upper(1.0, 9.0, form="cubic")


@pytest.mark.float64
def test_the_cubic_form_follows_from_the_sharp_one_up_to_its_root(rtol):
    root = 1.8169605355
    np.testing.assert_allclose(bounds.chernoff_upper(1.0, root), bounds.chernoff_upper(1.0, root, form="cubic", unsafe=True), rtol=max(rtol, 1e-9))


@pytest.mark.parametrize(("m", "epsilon", "tail"), [(100, 0.3, 0.00351764), (400, 0.15, 0.00312903)])
def test_hoeffding_bounds_averages_of_signs(m, epsilon, tail):
    exact = 2 * scipy.stats.binom.sf(np.ceil(m * (1 + epsilon) / 2 - 1e-9) - 1, m, 0.5)
    found = bounds.hoeffding_bound(m * epsilon, np.full(m, 2.0))
    np.testing.assert_allclose(exact, tail, rtol=1e-5)
    np.testing.assert_allclose(found, 0.02221799, rtol=2e-6)
    assert np.exp(-(epsilon**2) * m) < exact <= found


@pytest.mark.float64
def test_epsilon_and_sample_size_invert_hoeffdings_bound(rtol):
    delta, n, width = 0.03, 200, 2.0
    for two_sided in (True, False):
        epsilon = bounds.hoeffding_epsilon(delta, n, width, two_sided=two_sided)
        found = bounds.hoeffding_bound(n * epsilon, np.full(n, width), two_sided=two_sided)
        np.testing.assert_allclose(found, delta, rtol=rtol)
        assert bounds.hoeffding_sample_size(epsilon * 1.0001, delta, width, two_sided=two_sided) == n
        assert bounds.hoeffding_sample_size(epsilon * 0.9999, delta, width, two_sided=two_sided) == n + 1


def test_bernstein_gains_from_a_small_variance(rtol):
    n, p, t = 200, 0.02, 6.0
    found = bounds.bernstein_bound(t, np.full(n, p * (1 - p)), 1 - p)
    np.testing.assert_allclose(found, 0.0468302, rtol=1e-5)
    np.testing.assert_allclose(bounds.hoeffding_bound(t, np.ones(n), two_sided=False), 0.6976763, rtol=1e-6)
    assert scipy.stats.binom.sf(10, n, p) <= found
    np.testing.assert_allclose(bounds.bernstein_bound(t, np.full(n, p * (1 - p)), 0.98), found, rtol=rtol)


def test_the_small_ball_lies_between_its_bounds_up_to_sigma():
    u = np.linspace(0.01, 1.0, 100)
    lower, upper = bounds.gaussian_small_ball_bounds(3.0 * u, 3.0)
    exact = bounds.gaussian_small_ball(3.0 * u, 3.0)
    assert np.all((lower < exact) & (exact < upper))
    np.testing.assert_allclose(exact[-1], 0.6826894921, rtol=1e-6)
    assert bounds.gaussian_small_ball(1.1, 1.0) < 2 * 1.1 / 3


@pytest.mark.float64
def test_the_variance_of_a_matrix_series_is_that_of_its_moments(key, rtol):
    matrices = jax.random.normal(key, (7, 3, 2))
    left, right = matrices @ jnp.swapaxes(matrices, 1, 2), jnp.swapaxes(matrices, 1, 2) @ matrices
    found = bounds.matrix_variance_rademacher(matrices)
    np.testing.assert_allclose(found, bounds.matrix_variance(left, right), rtol=10 * rtol)
    np.testing.assert_allclose(found, bounds.matrix_variance(left.sum(axis=0), right.sum(axis=0)), rtol=10 * rtol)
    np.testing.assert_allclose(found, max(np.linalg.norm(left.sum(axis=0), 2), np.linalg.norm(right.sum(axis=0), 2)), rtol=10 * rtol)


@pytest.mark.float64
def test_a_diagonal_series_of_signs_has_known_bounds():
    units = jnp.eye(4)
    matrices = units[:, :, None] * units[:, None, :]
    assert np.isclose(bounds.matrix_variance_rademacher(matrices), 1, rtol=1e-6)
    np.testing.assert_allclose(bounds.matrix_bernstein_mean(1.0, 1.0, 4, 4), np.sqrt(2 * np.log(8)) + np.log(8) / 3, rtol=1e-6)
    np.testing.assert_allclose(bounds.matrix_bernstein_tail(3.0, 1.0, 1.0, 4, 4), 8 * np.exp(-4.5 / 2), rtol=1e-6)
    assert bounds.matrix_bernstein_tail(0.0, 0.0, 0.0, 4, 4) == 8
    assert bounds.matrix_bernstein_tail(1.0, 0.0, 0.0, 4, 4) == 0


@pytest.mark.float64
def test_bounds_are_the_same_under_transformations_and_have_gradients(rtol):
    t = jnp.array([0.5, 1.0, 2.0])
    for fn in (
        lambda t: bounds.chernoff_upper(2.0, t),
        lambda t: bounds.hoeffding_bound(t, jnp.ones(3)),
        lambda t: bounds.bernstein_bound(t, 0.5 * jnp.ones(3), 1.0),
        lambda t: bounds.matrix_bernstein_tail(t, 1.0, 1.0, 2, 3),
    ):
        eager = fn(t)

        found, gradients = jax.jit(jax.vmap(jax.value_and_grad(fn)))(t)
        np.testing.assert_allclose(found, eager, rtol=rtol)
        assert np.all(np.asarray(gradients) < 0)


WRONG = {
    "t must be positive": [
        lambda: bounds.markov_bound(1.0, 0.0),
        lambda: bounds.chebyshev_bound(1.0, -1.0),
        lambda: bounds.hoeffding_bound(0.0, [1.0]),
        lambda: bounds.bernstein_bound(0.0, [1.0], 1.0),
    ],
    "mean must be at least 0": [lambda: bounds.markov_bound(-1.0, 1.0)],
    "variance must be at least 0": [lambda: bounds.chebyshev_bound(-1.0, 1.0)],
    "variance must be positive": [lambda: bounds.clt_ks_distance([1.0], 0.0, 0.0)],
    "samples must be a vector": [lambda: bounds.clt_ks_distance([], 0.0, 1.0), lambda: bounds.clt_ks_distance([[1.0]], 0.0, 1.0)],
    "weights must have the shape": [lambda: bounds.clt_ks_distance([1.0], 0.0, 1.0, weights=[0.5, 0.5])],
    "weights must not all be zero": [lambda: bounds.clt_ks_distance([1.0], 0.0, 1.0, weights=[0.0])],
    "variances must not all be zero": [lambda: bounds.berry_esseen_bound([0.0], [0.0])],
    "third_moments must be at least": [lambda: bounds.berry_esseen_bound([0.5], [1.0])],
    "mu must be at least 0": [lambda: bounds.chernoff_upper(-1.0, 1.0), lambda: bounds.chernoff_lower(-1.0, 0.5)],
    "delta must be positive": [lambda: bounds.chernoff_upper(1.0, 0.0)],
    r"delta must be in \(0, 1\)": [
        lambda: bounds.chernoff_lower(1.0, 1.0),
        lambda: bounds.hoeffding_epsilon(0.0, 10),
        lambda: bounds.hoeffding_sample_size(0.1, 1.5),
    ],
    "form must be one of": [lambda: bounds.chernoff_upper(1.0, 1.0, form="flat")],
    "widths must be at least 0": [lambda: bounds.hoeffding_bound(1.0, [-1.0])],
    "widths must not all be zero": [lambda: bounds.hoeffding_bound(1.0, [0.0, 0.0])],
    "widths must hold one value a summand": [lambda: bounds.hoeffding_bound(1.0, 1.0), lambda: bounds.hoeffding_bound(1.0, [])],
    "M must be at least 0": [lambda: bounds.bernstein_bound(1.0, [0.0], -1.0), lambda: bounds.matrix_bernstein_mean(1.0, -1.0, 2, 2)],
    r"second_moments must be at most M \*\* 2": [lambda: bounds.bernstein_bound(1.0, [2.0], 1.0)],
    "second_moments must be at least 0": [lambda: bounds.bernstein_bound(1.0, [-0.5], 1.0)],
    "sigma must be positive": [lambda: bounds.gaussian_small_ball(1.0, 0.0), lambda: bounds.gaussian_small_ball_bounds(0.0, -1.0)],
    "t must be at least 0": [lambda: bounds.gaussian_small_ball(-1.0, 1.0), lambda: bounds.matrix_bernstein_tail(-1.0, 1.0, 1.0, 2, 2)],
    "t must be at most sigma": [lambda: bounds.gaussian_small_ball_bounds(1.1, 1.0)],
    "left must hold square matrices": [lambda: bounds.matrix_variance(jnp.ones((2, 3)), jnp.eye(2))],
    "left must hold symmetric matrices": [lambda: bounds.matrix_variance(jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.eye(2))],
    "right must hold positive semidefinite": [lambda: bounds.matrix_variance(jnp.eye(2), -jnp.eye(3))],
    "left and right must be of as many summands": [lambda: bounds.matrix_variance(jnp.ones((2, 1, 1)), jnp.ones((3, 1, 1)))],
    r"matrices must have shape \(m, n1, n2\)": [lambda: bounds.matrix_variance_rademacher(jnp.eye(2))],
    "n1 must be an integer of at least 1": [lambda: bounds.matrix_bernstein_mean(1.0, 1.0, 0, 2)],
}


@pytest.mark.any_precision
@pytest.mark.parametrize("message", WRONG)
def test_wrong_input_is_named(message):
    for call in WRONG[message]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.float64
def test_wrong_values_are_nan_when_traced():
    assert np.isnan(jax.jit(bounds.chernoff_lower)(1.0, 1.0))
    assert np.isnan(jax.jit(bounds.markov_bound)(1.0, -1.0))
    assert np.isnan(jax.jit(lambda t: bounds.hoeffding_bound(t, jnp.ones(2)))(0.0))
    assert np.isnan(jax.jit(bounds.matrix_variance)(-jnp.eye(2), jnp.eye(2)))
