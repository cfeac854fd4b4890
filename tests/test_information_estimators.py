"""Estimates from samples, against brute force, scikit-learn and exact values."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import multivariate_normal
from sklearn.feature_selection import mutual_info_regression

from jaxgen import information

RHO = 0.8
EXACT = -math.log(1 - RHO**2) / 2
CHANNEL = 0.3680642072


def _correlated(key, count, rho=RHO):
    x, noise = jax.random.normal(key, (2, count))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def _ksg_by_brute_force(x, y, k):
    """Kraskov et al. (2004), eq. (8), sample by sample."""
    x, y = (np.asarray(a).reshape(len(a), -1) for a in (x, y))
    terms = []
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        to_x, to_y = (np.abs(a[others] - a[i]).max(1) for a in (x, y))
        radius = np.sort(np.maximum(to_x, to_y))[k - 1]
        terms.append(digamma(np.sum(to_x < radius) + 1) + digamma(np.sum(to_y < radius) + 1))
    return digamma(k) + digamma(len(x)) - np.mean(terms)


@pytest.mark.parametrize(("dx", "dy", "k"), [(1, 1, 1), (2, 3, 5), (3, 1, 119)])
def test_ksg_agrees_with_brute_force(dx, dy, k, precision):
    rng = np.random.default_rng(dx + 10 * k)
    x = rng.normal(size=(120, dx)).astype(precision)
    y = (x[:, :1] + rng.normal(size=(120, dy))).astype(precision)
    expected = _ksg_by_brute_force(x, y, k)
    np.testing.assert_allclose(information.ksg_mutual_information(x, y, k=k), expected, atol={"float32": 5e-6, "float64": 1e-12}[precision])


@pytest.mark.any_precision
def test_equal_distances_to_several_neighbours_are_counted_with_their_multiplicity():
    lattice = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), -1).reshape(-1, 2)
    x, y = lattice, np.arange(36.0)
    np.testing.assert_allclose(information.ksg_mutual_information(x, y, k=4), _ksg_by_brute_force(x, y, 4), atol=5e-6)


@pytest.mark.float64
def test_ksg_agrees_with_scikit_learn_on_scaled_pairs(key):
    x, y = map(np.asarray, _correlated(key, 1000))
    y = np.exp(y)
    reference = mutual_info_regression(x[:, None], y, n_neighbors=3, random_state=0)[0]
    np.testing.assert_allclose(information.ksg_mutual_information(x / x.std(), y / y.std()), reference, rtol=1e-9)


@pytest.mark.any_precision
def test_ksg_is_near_the_closed_form_at_two_thousand_samples(key):
    assert abs(information.ksg_mutual_information(*_correlated(key, 2000)) - EXACT) < 0.05


@pytest.mark.any_precision
def test_ksg_of_independent_samples_is_raw_and_goes_below_zero(key):
    estimates = jax.jit(jax.vmap(information.ksg_mutual_information))(*jax.random.normal(key, (2, 30, 60)))
    assert (estimates < 0).any()
    assert abs(estimates.mean()) < 4 * estimates.std() / math.sqrt(30) + 0.01


@pytest.mark.any_precision
def test_ksg_does_not_depend_on_chunks_and_holds_only_a_chunk_of_distances(key):
    x, y = _correlated(key, 400)
    whole = information.ksg_mutual_information(x, y, chunk_size=400)
    assert information.ksg_mutual_information(x, y, chunk_size=7) == whole
    x, y = _correlated(key, 20_000)
    program = jax.jit(partial(information.ksg_mutual_information, chunk_size=16)).lower(x, y).compile()
    assert program.memory_analysis().temp_size_in_bytes < 16 * 20_000 * 4 * 10


@pytest.mark.any_precision
def test_ksg_is_piecewise_constant(key):
    gradient = jax.grad(information.ksg_mutual_information)(*_correlated(key, 50))
    assert (gradient == 0).all()


@pytest.mark.any_precision
def test_traced_bad_samples_give_nan(key):
    x, y = _correlated(key, 50)
    program = jax.jit(jax.vmap(information.ksg_mutual_information))
    xs = jnp.stack([x, x.at[1].set(x[0]), x.at[3].set(jnp.nan), jnp.round(x)])
    ys = jnp.stack([y, y.at[1].set(y[0]), y, y])
    np.testing.assert_array_equal(jnp.isnan(program(xs, ys)), [False, True, True, True])
    labels = jnp.array([[0, 1, 1], [0, 1, 2], [0, 1, -1]])
    plugin = jax.jit(jax.vmap(lambda x: information.plugin_mutual_information(x, x, 2, 2)))
    np.testing.assert_array_equal(jnp.isnan(plugin(labels)), [False, True, True])


def _draw_channel(key):
    first, second = jax.random.split(key)
    x = jax.random.bernoulli(first, 0.5, (2000,)).astype(jnp.int32)
    return x, x ^ jax.random.bernoulli(second, 0.1, (2000,)).astype(jnp.int32)


@pytest.mark.float64
def test_plugin_is_the_information_of_the_frequencies(key, rtol):
    x, y = _draw_channel(key)
    frequencies = np.histogram2d(x, y, bins=2)[0] / 2000
    plain = information.plugin_mutual_information(x, y, 2, 2, bias_correction=False)
    np.testing.assert_allclose(plain, information.mutual_information(frequencies), rtol=rtol)
    np.testing.assert_allclose(information.plugin_mutual_information(x, y, 2, 2), plain - 1 / 4000, rtol=rtol)


@pytest.mark.any_precision
def test_corrected_plugin_is_unbiased_within_four_standard_errors_over_two_hundred_seeds(key):
    estimate = jax.jit(jax.vmap(lambda k: information.plugin_mutual_information(*_draw_channel(k), 2, 2)))
    values = estimate(jax.random.split(key, 200))
    assert abs(values.mean() - CHANNEL) < 4 * values.std() / math.sqrt(200)


@pytest.mark.any_precision
def test_uncorrected_plugin_finds_information_where_there_is_none(key):
    x, y = jax.random.randint(key, (2, 200, 500), 0, 10)
    plugin = lambda corrected: jax.jit(  # noqa: E731
        jax.vmap(partial(information.plugin_mutual_information, num_x=10, num_y=10, bias_correction=corrected))
    )(x, y)
    raw, corrected = plugin(False), plugin(True)
    error = raw.std() / math.sqrt(200)
    second_order = 0.006
    assert abs(raw.mean() - 0.081) < 4 * error + second_order
    assert abs(corrected.mean()) < 4 * error + second_order
    assert raw.mean() > 6 * error


def test_gaussian_sample_estimate_is_that_of_the_sample_covariance(precision):
    z = np.random.default_rng(2).normal(size=(300, 5)) @ np.random.default_rng(3).normal(size=(5, 5)) + 10
    determinants = [np.linalg.slogdet(np.atleast_2d(np.cov(part.T)))[1] for part in (z[:, :2], z[:, 2:], z)]
    expected = (determinants[0] + determinants[1] - determinants[2]) / 2
    value = information.gaussian_sample_mutual_information(z[:, :2], z[:, 2:])
    np.testing.assert_allclose(value, expected, rtol={"float32": 2e-3, "float64": 1e-11}[precision])
    scaled = information.gaussian_sample_mutual_information(1000 * z[:, :2], z[:, 2:])
    np.testing.assert_allclose(scaled, value, rtol=2e-3)


@pytest.mark.heavy
def test_donsker_varadhan_is_the_divergence_at_the_log_ratio_and_less_elsewhere(rtol):
    q, p = np.array([0.1, 0.2, 0.7]), np.array([0.5, 0.3, 0.2])
    of_q, of_p = (np.repeat(np.arange(3), np.rint(10 * law).astype(int)) for law in (q, p))
    best = np.log(q / p)
    exact = information.kl_divergence(q, p)
    np.testing.assert_allclose(information.donsker_varadhan(best[of_q] + 3, best[of_p] + 3), exact, rtol=2 * rtol)
    for critic in np.random.default_rng(0).normal(size=(20, 3)):
        assert information.donsker_varadhan(critic[of_q], critic[of_p]) < exact
    assert information.donsker_varadhan(1000 * best[of_q], 1000 * best[of_p]) < 0, "a steep critic does not overflow"


@pytest.mark.float64
def test_monte_carlo_divergence_agrees_with_the_closed_form_within_four_standard_errors(key):
    mean, cov = np.array([1.0, -0.5]), np.array([[2.0, 0.5], [0.5, 1.0]])
    samples = jax.random.normal(key, (100_000, 2))
    log_q = jax.jit(lambda u: jax.scipy.stats.multivariate_normal.logpdf(u, jnp.zeros(2), jnp.eye(2)))
    log_p = jax.jit(lambda u: jax.scipy.stats.multivariate_normal.logpdf(u, mean, cov))
    estimate = information.kl_monte_carlo(log_q, log_p, samples)
    difference = multivariate_normal(np.zeros(2)).logpdf(samples) - multivariate_normal(mean, cov).logpdf(samples)
    np.testing.assert_allclose(estimate, (difference.mean(), difference.std(ddof=1) / math.sqrt(100_000)), rtol=1e-9)
    assert abs(estimate.value - information.gaussian_kl(np.zeros(2), 1.0, mean, cov)) < 4 * estimate.stderr
    swapped = information.gaussian_kl(mean, cov, np.zeros(2), 1.0)
    assert abs(estimate.value - swapped) > 6 * estimate.stderr


@pytest.mark.any_precision
def test_monte_carlo_divergence_is_infinite_where_the_reference_has_no_density():
    estimate = information.kl_monte_carlo(jnp.zeros_like, jnp.log, jnp.array([0.0, 0.5, 1.0]))
    assert estimate.value == jnp.inf


@pytest.mark.any_precision
def test_permutation_baseline_measures_the_bias_at_independence(key):
    x = np.random.default_rng(0).integers(0, 10, 500)
    estimator = partial(information.plugin_mutual_information, num_x=10, num_y=10, bias_correction=False)
    baseline = information.permutation_baseline(key, estimator, x, x, num_permutations=100)
    second_order = 0.006
    assert abs(baseline.value - 0.081) < 4 * baseline.stderr + second_order
    assert 0.0005 < baseline.stderr < 0.003, "the spread of the estimate, a chi-square with 81 degrees over 2N, over ten"


@pytest.mark.any_precision
def test_permutation_baseline_depends_on_its_key_alone_and_works_under_vmap(key):
    x = np.random.default_rng(0).normal(size=40)
    keys = jnp.stack([key, key, jax.random.key(1)])
    covariance = lambda x, y: (x * y).mean()  # noqa: E731
    call = jax.vmap(lambda k: information.permutation_baseline(k, covariance, x, x, num_permutations=20).value)
    first, again, other = jax.jit(call)(keys)
    assert first == again != other


LINE = np.linspace(0.0, 1.0, 10)
LABELS = np.array([0, 1, 1])


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: information.ksg_mutual_information(LINE[:3], LINE[:3]), "N > k samples; got N = 3 and k = 3"),
        (lambda: information.ksg_mutual_information(LINE, LINE[:5]), "x and y must be paired samples of one length; got 10 and 5"),
        (lambda: information.ksg_mutual_information(np.append(LINE, 0), np.append(LINE, 0)), r"a pair \(x, y\) is duplicated.*jitter"),
        (lambda: information.ksg_mutual_information(np.zeros(10), LINE), "most values of x are duplicated.*jitter"),
        (lambda: information.ksg_mutual_information(LINE, np.round(LINE)), "most values of y are duplicated.*jitter"),
        (lambda: information.ksg_mutual_information(np.append(LINE, math.nan), np.append(LINE, 2)), "x and y must be finite"),
        (lambda: information.ksg_mutual_information(LINE, LINE, k=0), "k must be an integer of at least 1"),
        (lambda: information.ksg_mutual_information(LINE, LINE, chunk_size=0), "chunk_size must be an integer of at least 1"),
        (lambda: information.ksg_mutual_information(0.0, LINE), r"x must have shape \(N, d\) or \(N,\)"),
        (lambda: information.plugin_mutual_information(LABELS, LABELS, 1, 2), r"labels of x must lie in \[0, 1\)"),
        (lambda: information.plugin_mutual_information(LABELS, -LABELS, 2, 2), r"labels of y must lie in \[0, 2\)"),
        (lambda: information.plugin_mutual_information(LABELS, LABELS[:2], 2, 2), "x and y must be paired"),
        (lambda: information.plugin_mutual_information(LABELS[:0], LABELS[:0], 2, 2), "x must have shape"),
        (lambda: information.gaussian_sample_mutual_information(LINE[:2], LINE[:2]), "needs N > 2 samples; got N = 2"),
        (lambda: information.gaussian_sample_mutual_information(LINE, np.ones(10)), "every coordinate of x and y must vary"),
        (lambda: information.gaussian_sample_mutual_information(LINE, 2 * LINE), r"the sample covariance of \(x, y\) must be symmetric"),
        (lambda: information.gaussian_sample_mutual_information(np.append(LINE, math.inf), np.append(LINE, 0)), "x and y must be finite"),
        (lambda: information.donsker_varadhan(LINE, np.zeros((2, 2))), "f_reference must be a vector"),
        (lambda: information.donsker_varadhan([math.nan], LINE), "f_joint must not be NaN"),
        (lambda: information.kl_monte_carlo(jnp.sum, jnp.sum, LINE), r"log_q must return one value a sample, shape \(10,\); got shape \(\)"),
        (lambda: information.kl_monte_carlo(jnp.cos, jnp.cos, LINE[:1]), "at least two samples"),
        (lambda: information.kl_monte_carlo(jnp.log, jnp.cos, LINE), "log_q must be finite at samples of Q"),
        (lambda: information.kl_monte_carlo(jnp.cos, lambda u: jnp.log(u - 2), LINE), "log_p must not be NaN"),
        (
            lambda: information.permutation_baseline(jax.random.key(0), lambda x, y: x @ y, LINE, LINE, num_permutations=1),
            "num_permutations must be an integer of at least 2",
        ),
        (
            lambda: information.permutation_baseline(jax.random.key(0), lambda x, y: x * y, LINE, LINE, num_permutations=2),
            r"estimator must return a scalar; got shape \(10,\)",
        ),
        (
            lambda: information.permutation_baseline(jax.random.key(0), lambda x, y: jnp.log(-x @ y), LINE, LINE, num_permutations=2),
            "estimator returned NaN for a permuted sample",
        ),
    ],
)
def test_bad_samples_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.any_precision
def test_labels_that_are_not_integers_are_refused():
    with pytest.raises(TypeError, match="x must hold integer labels; got dtype float32"):
        information.plugin_mutual_information(LINE, LABELS, 2, 2)
