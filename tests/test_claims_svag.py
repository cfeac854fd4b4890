"""What the claims about SVAG and the scaling rule stand on: coverage, and that they notice wrong quantities."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import processes
from jaxgen.claims.processes import scaling, svag_net

pytestmark = pytest.mark.float64


def _held(claim):
    return [bool(check.held) for check in jax.jit(partial(claim.body))(claim.keys(1)[0]).values()]


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("svag_moments", lambda right: lambda value: right(value)._replace(third=jnp.asarray(value, float) ** 1.5), "SDE-18"),
        ("linear_scaling", lambda right: lambda *args: right(*args)._replace(learning_rate=jnp.sqrt(args[3]) * args[0]), "SDE-4"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    assert all(_held(registered[id]))
    monkeypatch.setattr(processes, name, wrong(getattr(processes, name)))
    assert not all(_held(registered[id]))


def test_between_whole_steps_the_second_moment_goes_on_as_at_them():
    exact = scaling._second_moments(0.01, 2.0, 20)
    np.testing.assert_allclose(scaling._base(0.01, 2.0, jnp.arange(21)), exact, rtol=1e-12)


def test_the_noise_of_the_net_has_the_covariance_and_the_skewness_that_are_said(key):
    """Powers of normal variables by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    values = np.asarray(svag_net._skewed(nodes))
    np.testing.assert_allclose([weights @ values**power for power in (1, 2)], [0, 1], atol=1e-12)
    assert weights @ values**3 == pytest.approx(1.1, abs=0.05)
    rows = jax.random.normal(key, (svag_net.NUM_EXAMPLES, 4))
    root = (jax.vmap(lambda noise: svag_net._noisy(rows, noise))(jnp.eye(len(rows))) - rows.mean(axis=0)) / svag_net.NOISE_SCALE
    np.testing.assert_allclose(root.T @ root, np.cov(rows.T, bias=True), rtol=1e-10, atol=1e-12)


def test_one_step_for_one_with_gaussian_noise_is_a_coarse_path_of_the_equation(key, monkeypatch):
    """At l = FINEST and no skewness both walk alike."""
    monkeypatch.setattr(svag_net, "SKEW", 0.0)
    monkeypatch.setattr(svag_net, "FINEST", 4)
    rows = jax.random.normal(key, (svag_net.NUM_EXAMPLES, 3))
    noise = jax.random.normal(key, (8, svag_net.NUM_EXAMPLES))
    start = jnp.ones(3)
    fine = svag_net._equation(lambda x: rows * x, start, noise)
    np.testing.assert_allclose(svag_net._svag(key, lambda x: rows * x, start, noise, 4), fine, rtol=1e-10)
