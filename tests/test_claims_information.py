"""The problems that the claims INFO-1 to INFO-14 are checked on, against independent computations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxgen import claims, information
from jaxgen.claims.information import _problems, capacity, channels, measures, risks, subgaussian


@pytest.mark.heavy
def test_random_tables_kernels_and_covariances_are_what_they_say(key, rtol):
    np.testing.assert_allclose(_problems.tables(key, 3, 4).sum(axis=(1, 2)), 1, rtol=rtol)
    np.testing.assert_allclose(_problems.kernels(key, 3, 4).sum(axis=2), 1, rtol=rtol)
    assert np.linalg.eigvalsh(_problems.covariances(key, 4)).min() > 0.09


@pytest.mark.float64
@pytest.mark.parametrize("noise_variance", [1.0, 2.5, 4.0])
def test_the_quadrature_for_a_binary_input_is_an_entropy_difference(noise_variance):
    deviation = math.sqrt(noise_variance)

    def entropy_density(y):
        p = (stats.norm.pdf(y, -1, deviation) + stats.norm.pdf(y, 1, deviation)) / 2
        return -p * math.log(p)

    entropy, _ = integrate.quad(entropy_density, -1 - 12 * deviation, 1 + 12 * deviation, epsabs=1e-11)
    expected = entropy - float(information.gaussian_entropy(noise_variance))
    np.testing.assert_allclose(channels._binary_input_information(noise_variance), expected, rtol=1e-8)


@pytest.mark.heavy
def test_the_donsker_varadhan_functional_of_two_laws_is_its_definition(key, rtol):
    q, p, critic = *_problems.tables(key, 6)[:2], jax.random.normal(key, (6,))
    np.testing.assert_allclose(measures._donsker_varadhan(critic, q, p), q @ critic - jnp.log(p @ jnp.exp(critic)), rtol=10 * rtol)


@pytest.mark.float64
@pytest.mark.parametrize("width", [5, 40])
def test_least_squares_coefficients_are_those_of_the_smallest_norm(key, width):
    features, y = jax.random.normal(key, (20, width)), jax.random.normal(key, (20,))
    np.testing.assert_allclose(capacity._coefficients(features, y, 0.0), np.linalg.lstsq(features, y)[0], rtol=1e-9)


@pytest.mark.heavy
def test_risks_of_thresholds_without_signal_average_to_one_half(key):
    training, population, rademacher = jax.vmap(lambda k: risks._risks_of_thresholds(k, 50, fair=True))(jax.random.split(key, 2000))
    stderr = 0.5 / math.sqrt(50 * 2000)
    assert population.shape == (2000, risks.NUM_THRESHOLDS)
    assert abs(training[:, 0].mean() - 0.5) < 4 * stderr
    assert abs(rademacher[:, 0].mean()) < 4 * math.sqrt(2) * stderr


@pytest.mark.heavy
def test_risks_of_thresholds_are_zero_for_the_one_that_made_the_labels(key):
    training, population, _ = risks._risks_of_thresholds(key, 50, fair=False)
    assert (training[-1], population[-1]) == (0, 0)
    assert np.corrcoef(training, population)[0, 1] > 0.9


@pytest.mark.float64
def test_the_exponential_ratio_is_its_moment_generating_function():
    rho = np.array([-3.0, 0.5, 0.9])
    moments = [integrate.quad(lambda x, r=r: math.exp(r * (x - 1) - x), 0, math.inf)[0] for r in rho]
    np.testing.assert_allclose(subgaussian._exponential_ratio(jnp.asarray(rho)), 2 * np.log(moments) / rho**2, rtol=1e-8)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("kl_divergence", lambda right: lambda q, p: right(p, q), "INFO-2.values"),
        ("mutual_information", lambda right: lambda pxy: right(pxy) / math.log(2), "INFO-3.values"),
        ("gaussian_channel_bound", lambda right: lambda *args, **options: 2 * right(*args, **options), "INFO-7.binary-input"),
        ("fano_bound", lambda right: lambda error, num_classes: right(error, num_classes + 1), "INFO-8.equality"),
        ("subgaussian_constant", lambda right: lambda *args, **options: 1.1 * right(*args, **options), "INFO-14"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, name, wrong, id):
    claim = claims.load().claims[id]
    monkeypatch.setattr(information, name, wrong(getattr(information, name)))
    assert claims.run_claim(claim, num_seeds=1).verdict == "fell short"
