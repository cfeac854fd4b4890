"""Gaussian closed forms and channel bounds, against scipy, quadrature and known values."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxgen import information


@pytest.fixture
def atol(precision):
    """Known values are printed to ten digits; logarithms of float32 pivots are right to a few 1e-7."""
    return {"float32": 2e-6, "float64": 1e-9}[precision]


def _covariances(count, d, seed=7):
    a = np.random.default_rng(seed).normal(size=(count, d, 2 * d))
    return a @ a.swapaxes(1, 2) / (2 * d)


def _kl_by_determinants(mean0, cov0, mean1, cov1):
    d, inverse, shift = len(mean0), np.linalg.inv(cov1), mean1 - mean0
    log_ratio = np.linalg.slogdet(cov1)[1] - np.linalg.slogdet(cov0)[1]
    return (np.trace(inverse @ cov0) + shift @ inverse @ shift - d + log_ratio) / 2


def _binary_channel_information(variance):
    """I(X; X + N) of X uniform on {-1, 1}, by quadrature: h(X + N) - h(N)."""

    def integrand(u):
        density = (stats.norm.pdf(u, 1, variance**0.5) + stats.norm.pdf(u, -1, variance**0.5)) / 2
        return -density * math.log(density)

    return integrate.quad(integrand, -12, 12, limit=200)[0] - stats.norm(scale=variance**0.5).entropy()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda: information.gaussian_entropy(1.0), 1.4189385332),
        (lambda: information.gaussian_kl(0.0, 1.0, 1.0, 2.0), 0.3465735903),
        (lambda: information.gaussian_kl(1.0, 2.0, 0.0, 1.0), 0.6534264097),
        (lambda: information.gaussian_mutual_information([[1.0, 0.8], [0.8, 1.0]], 1), 0.5108256238),
        (lambda: information.gaussian_channel_bound(1.0, 0.25, 2, form="log"), 1.0986122887),
        (lambda: information.gaussian_channel_bound(1.0, 0.25, 2, form="linear"), 2.0),
        (lambda: information.gaussian_channel_bound(1.0, 1.0, 1), 0.3465735903),
    ],
)
def test_known_values(value, expected, atol):
    np.testing.assert_allclose(value(), expected, rtol=0, atol=atol)


def test_entropy_agrees_with_scipy_in_every_layout(atol):
    cov = _covariances(1, 4)[0]
    np.testing.assert_allclose(information.gaussian_entropy(cov), stats.multivariate_normal(cov=cov).entropy(), atol=atol)
    variances = np.diag(cov)
    expected = stats.multivariate_normal(cov=np.diag(variances)).entropy()
    np.testing.assert_allclose(information.gaussian_entropy(variances), expected, atol=atol)


@pytest.mark.parametrize("layout0", ["full", "diagonal", "scalar"])
@pytest.mark.parametrize("layout1", ["full", "diagonal", "scalar"])
def test_divergence_agrees_with_determinants_in_every_layout(layout0, layout1, precision):
    pick = {"full": lambda c: (c, c), "diagonal": lambda c: (np.diag(c), np.diag(np.diag(c))), "scalar": lambda c: (0.7, 0.7 * np.eye(4))}
    full0, full1 = _covariances(2, 4)
    (cov0, dense0), (cov1, dense1) = pick[layout0](full0), pick[layout1](2 * full1)
    mean0, mean1 = np.array([0.3, -1.0, 2.0, 0.1]), np.zeros(4)
    expected = _kl_by_determinants(mean0, dense0, mean1, dense1)
    np.testing.assert_allclose(information.gaussian_kl(mean0, cov0, 0.0, cov1), expected, rtol={"float32": 2e-5, "float64": 1e-12}[precision])


@pytest.mark.any_precision
def test_divergence_agrees_with_an_integral():
    p, q = stats.norm(1, 2**0.5), stats.norm(0, 1)
    integral = integrate.quad(lambda u: q.pdf(u) * (q.logpdf(u) - p.logpdf(u)), -12, 12)[0]
    np.testing.assert_allclose(information.gaussian_kl(0.0, 1.0, 1.0, 2.0), integral, rtol=1e-6)


@pytest.mark.heavy
def test_a_million_variances_stay_a_vector(precision):
    variances = np.full(1_000_000, 1.5)
    value = information.gaussian_kl(0.0, variances, 0.0, 1.0)
    np.testing.assert_allclose(value, 1e6 * (0.5 - math.log(1.5)) / 2, rtol={"float32": 1e-5, "float64": 1e-10}[precision])


def test_divergence_of_close_laws_keeps_its_relative_precision(precision):
    ratio = 1 + 2.0**-9
    expected = 3 * (ratio - 1 - math.log(ratio)) / 2
    for cov in (ratio, np.full(3, ratio), ratio * np.eye(3)):
        value = information.gaussian_kl(np.zeros(3), cov, np.zeros(3), np.eye(3))
        np.testing.assert_allclose(value, expected, rtol={"float32": 1e-3, "float64": 1e-9}[precision])


@pytest.mark.float64
def test_mutual_information_agrees_with_an_integral_of_the_density():
    rho = 0.8
    grid = np.linspace(-9, 9, 721)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1)
    joint = stats.multivariate_normal(cov=[[1, rho], [rho, 1]])
    log_ratio = joint.logpdf(points) - stats.norm.logpdf(points).sum(-1)
    integral = (joint.pdf(points) * log_ratio).sum() * (grid[1] - grid[0]) ** 2
    np.testing.assert_allclose(information.gaussian_mutual_information([[1, rho], [rho, 1]], 1), integral, rtol=1e-10)


@pytest.mark.float64
def test_mutual_information_is_a_difference_of_entropies_and_symmetric(atol):
    cov = _covariances(1, 5)[0]
    swapped = np.roll(cov, (-2, -2), (0, 1))
    h = information.gaussian_entropy
    np.testing.assert_allclose(information.gaussian_mutual_information(cov, 2), h(cov[:2, :2]) + h(cov[2:, 2:]) - h(cov), atol=4 * atol)
    np.testing.assert_allclose(information.gaussian_mutual_information(swapped, 3), information.gaussian_mutual_information(cov, 2), atol=atol)
    independent = cov * np.equal.outer(np.arange(5) < 2, np.arange(5) < 2)
    assert information.gaussian_mutual_information(independent, 2) == 0


@pytest.mark.float64
def test_conditional_information_is_that_of_the_schur_complement_and_obeys_the_chain_rule(atol):
    cov = _covariances(1, 6)[0]
    schur = cov[:3, :3] - cov[:3, 3:] @ np.linalg.inv(cov[3:, 3:]) @ cov[3:, :3]
    conditional = information.gaussian_conditional_mutual_information(cov, 1, 2)
    np.testing.assert_allclose(conditional, information.gaussian_mutual_information(schur, 1), atol=atol)
    x_with_z = information.gaussian_mutual_information(cov[np.ix_([0, 3, 4, 5], [0, 3, 4, 5])], 1)
    np.testing.assert_allclose(information.gaussian_mutual_information(cov, 1), x_with_z + conditional, atol=2 * atol)


def _mixture_setting():
    """P_{X|Y=k} with means on a line: the exact I(X;Y) of a Gaussian channel, as X = Y + N and Y Gaussian."""
    y = np.random.default_rng(3).normal(size=(400, 1))
    return y, 0.5


@pytest.mark.heavy
def test_golden_formula_holds_with_equality_up_to_the_divergence_of_the_marginal(precision):
    """E_Y D(P_{X|Y}||Q) - D(P_X||Q) is the same for two priors when P_X is Gaussian with the moments of the mixture."""
    means, noise = _mixture_setting()
    rtol = {"float32": 2e-5, "float64": 1e-12}[precision]
    mean, variance = means.mean(), means.var() + noise
    for prior in [(mean, variance), (0.7, 3.0)]:
        bound = information.golden_bound(means, noise, *prior)
        excess = information.gaussian_kl(mean, variance, *prior)
        np.testing.assert_allclose(bound - excess, math.log(variance / noise) / 2, rtol=rtol)


@pytest.mark.float64
def test_golden_bound_is_the_mean_divergence_in_every_layout(rtol):
    means = np.random.default_rng(5).normal(size=(3, 2))
    full = _covariances(3, 2)
    prior = np.array([0.1, -0.2]), 2 * np.eye(2)
    for covs in (full, full[:, 0, :1] * np.ones(2), full[:, 0, 0], np.float64(0.4)):
        each = covs if np.ndim(covs) else [covs] * 3
        expected = np.mean([information.gaussian_kl(m, c, *prior) for m, c in zip(means, each, strict=True)])
        np.testing.assert_allclose(information.golden_bound(means, covs, *prior), expected, rtol=rtol)


@pytest.mark.any_precision
def test_channel_bounds_are_ordered_and_hold_for_a_binary_input():
    covariances = _covariances(100, 3)
    bound = lambda form: jax.jit(jax.vmap(lambda s: information.gaussian_channel_bound(s, 0.3, 3, form=form)))(covariances)  # noqa: E731
    logdet, log, linear = bound("logdet"), bound("log"), bound("linear")
    assert (logdet <= log * (1 + 1e-6)).all()
    assert (log <= linear * (1 + 1e-6)).all()
    exact = _binary_channel_information(1.0)
    assert abs(exact - 0.3368) < 1e-4
    assert exact <= information.gaussian_channel_bound(1.0, 1.0, 1) < information.gaussian_channel_bound(1.0, 1.0, 1, form="linear")
    assert _binary_channel_information(0.3) > information.gaussian_channel_bound(1.0, 1.0, 1), "less noise lets more through"


@pytest.mark.float64
def test_channel_bound_takes_matrix_diagonal_and_trace_alike(rtol):
    variances = np.array([0.5, 0.0, 2.0])
    for form in ("logdet", "log", "linear"):
        by_matrix = information.gaussian_channel_bound(np.diag(variances), 0.3, 3, form=form)
        np.testing.assert_allclose(information.gaussian_channel_bound(variances, 0.3, 3, form=form), by_matrix, rtol=rtol)
        if form != "logdet":
            np.testing.assert_allclose(information.gaussian_channel_bound(2.5, 0.3, 3, form=form), by_matrix, rtol=rtol)
    exact = information.gaussian_mutual_information([[0.5, 0.5], [0.5, 0.8]], 1)
    np.testing.assert_allclose(information.gaussian_channel_bound(0.5, 0.3, 1), exact, rtol=10 * rtol)


@pytest.mark.float64
def test_gradients_are_those_of_matrix_calculus():
    mean = jnp.array([0.3, -1.0, 2.0])
    cov0, cov1 = jnp.asarray(_covariances(2, 3))

    @jax.jit
    def gradients(mean, cov0, cov1):
        kl = jax.grad(information.gaussian_kl, (0, 1, 3))(mean, cov0, jnp.zeros(3), cov1)
        channel = jax.grad(lambda s: information.gaussian_channel_bound(s, 0.5, 3))
        return *kl, jax.grad(information.gaussian_entropy)(cov0), channel(cov0), channel(jnp.eye(3)), channel(jnp.zeros((3, 3)))

    inverse0, inverse1 = jnp.linalg.inv(cov0), jnp.linalg.inv(cov1)
    identity = jnp.eye(3)
    expected = [
        inverse1 @ mean,
        (inverse1 - inverse0) / 2,
        (inverse1 - inverse1 @ (cov0 + jnp.outer(mean, mean)) @ inverse1) / 2,
        inverse0 / 2,
        jnp.linalg.inv(cov0 + 0.5 * identity) / 2,
        identity / 3,
        identity,
    ]
    for gradient, closed_form in zip(gradients(mean, cov0, cov1), expected, strict=True):
        np.testing.assert_allclose(gradient, closed_form, rtol=1e-9, atol=1e-12)


FUNCTIONS = {
    "gaussian_entropy": information.gaussian_entropy,
    "gaussian_kl": lambda cov: information.gaussian_kl(0.0, cov, 1.0, 2.0),
    "gaussian_kl_reference": lambda cov: information.gaussian_kl(0.0, 1.0, 1.0, cov),
    "gaussian_mutual_information": lambda cov: information.gaussian_mutual_information(cov, 2),
    "gaussian_conditional_mutual_information": lambda cov: information.gaussian_conditional_mutual_information(cov, 1, 1),
    "gaussian_channel_bound": lambda cov: information.gaussian_channel_bound(cov, 0.1, 3),
    "golden_bound": lambda cov: information.golden_bound(jnp.zeros((2, 3)), 1.0, 0.0, cov),
}


@pytest.mark.any_precision
@pytest.mark.parametrize("name", FUNCTIONS)
def test_eager_jit_and_vmap_agree_and_traced_bad_covariances_give_nan(name):
    fn = FUNCTIONS[name]
    covs = _covariances(2, 3)
    program = jax.jit(jax.vmap(fn))
    for cov, value in zip(covs, program(covs), strict=True):
        np.testing.assert_allclose(fn(cov), value, rtol=1e-5)
    assert jnp.isnan(program(np.stack([-np.eye(3), np.eye(3) + np.triu(np.ones((3, 3)), 1)]))).all()


def test_singular_covariances_are_recognised_in_spite_of_rounding():
    a = np.random.default_rng(0).normal(size=(50, 5, 4))
    singular = a @ a.swapaxes(1, 2)
    assert jnp.isnan(jax.jit(jax.vmap(information.gaussian_entropy))(singular)).all()


def test_strong_correlations_short_of_singular_are_kept(precision):
    rho = {"float32": 1 - 1e-5, "float64": 1 - 1e-13}[precision]
    cov = jnp.array([[1.0, rho], [rho, 1.0]])
    rho = float(cov[0, 1])
    expected = -math.log((1 - rho) * (1 + rho)) / 2
    np.testing.assert_allclose(information.gaussian_mutual_information(cov, 1), expected, rtol=1e-3)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: information.gaussian_entropy(-np.eye(2)), "cov must be symmetric positive definite"),
        (lambda: information.gaussian_entropy([[1.0, 0.5], [0.0, 1.0]]), "cov must be symmetric positive definite"),
        (lambda: information.gaussian_entropy([1.0, 0.0]), "cov must be symmetric positive definite"),
        (lambda: information.gaussian_entropy(math.inf), "cov must be symmetric positive definite"),
        (lambda: information.gaussian_entropy(np.ones((2, 3))), r"cov must have shape \(d, d\), \(d,\) or \(\), not empty; got \(2, 3\)"),
        (lambda: information.gaussian_kl(0.0, 1.0, 0.0, -1.0), "cov1 must be symmetric positive definite"),
        (lambda: information.gaussian_kl(0.0, np.ones((2, 2)), 0.0, 1.0), "cov0 must be symmetric positive definite"),
        (lambda: information.gaussian_kl(np.zeros(2), 1.0, np.zeros(3), 1.0), "mean0, cov0, mean1, cov1 must agree on the dimension d"),
        (lambda: information.gaussian_kl(math.nan, 1.0, 0.0, 1.0), "mean0 must be finite"),
        (lambda: information.gaussian_kl(0.0, 1.0, np.zeros((2, 2)), 1.0), r"mean1 must have shape \(d,\) or \(\)"),
        (lambda: information.golden_bound(np.zeros(3), 1.0, 0.0, 1.0), r"means must have shape \(K, d\)"),
        (lambda: information.golden_bound(np.zeros((3, 2)), np.ones(2), 0.0, 1.0), "covs must have one of the shapes"),
        (lambda: information.golden_bound(np.zeros((3, 2)), -1.0, 0.0, 1.0), "covs must be symmetric positive definite"),
        (lambda: information.golden_bound(np.full((3, 2), math.nan), 1.0, 0.0, 1.0), "means must be finite"),
        (lambda: information.golden_bound(np.zeros((3, 2)), 1.0, 0.0, -1.0), "cov_q must be symmetric positive definite"),
        (lambda: information.golden_bound(np.zeros((3, 2)), 1.0, np.zeros(3), 1.0), "means, mean_q, cov_q must agree"),
        (lambda: information.gaussian_mutual_information([1.0, 1.0], 1), "cov must be a matrix"),
        (lambda: information.gaussian_mutual_information(np.ones((2, 2)), 1), "cov must be symmetric positive definite"),
        (lambda: information.gaussian_mutual_information(np.diag([0.0, 1.0]), 1), "cov must be symmetric positive definite"),
        (lambda: information.gaussian_mutual_information(np.eye(2), 2), "dx must leave at least one coordinate to Y"),
        (lambda: information.gaussian_mutual_information(np.eye(2), 0), "dx must be an integer of at least 1"),
        (lambda: information.gaussian_conditional_mutual_information(np.eye(3), 1, 2), r"dx \+ dy must leave at least one coordinate to Z"),
        (lambda: information.gaussian_channel_bound(1.0, 0.0, 1), "noise_variance must be positive"),
        (lambda: information.gaussian_channel_bound(-1.0, 1.0, 2, form="log"), "second_moment must be positive semidefinite"),
        (lambda: information.gaussian_channel_bound(np.diag([1.0, -0.1]), 1.0, 2), "second_moment must be positive semidefinite"),
        (lambda: information.gaussian_channel_bound([[1.0, 0.5], [0.0, 1.0]], 1.0, 2), "second_moment must be finite and symmetric"),
        (lambda: information.gaussian_channel_bound(1.0, 1.0, 2), "form 'logdet' needs the second moment as a matrix"),
        (lambda: information.gaussian_channel_bound(np.eye(3), 1.0, 2), "second_moment must have shape"),
        (lambda: information.gaussian_channel_bound(1.0, 1.0, 2, form="trace"), "form must be one of 'logdet', 'log', 'linear'"),
        (lambda: information.gaussian_channel_bound(1.0, [1.0], 1), "noise_variance must be a scalar"),
    ],
)
def test_bad_covariances_and_dimensions_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
