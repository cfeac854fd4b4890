"""What the claims on supersamples, domains and SGD as a process stand on: coverage, their exact learners, that they notice wrong bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds, data, processes
from jaxgen.claims.information import sde_bounds, supersamples

pytestmark = pytest.mark.float64


@pytest.mark.parametrize("n", [1, 3])
def test_the_enumerated_majority_is_that_of_the_data(n):
    vote = supersamples.majority(n)
    assert vote.gap == pytest.approx(data.MajorityVote(n).generalization_gap, rel=1e-12)
    np.testing.assert_allclose(vote.with_example.sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(vote.difference.sum(axis=0), [0.5, 0.5], rtol=1e-12)


def test_the_regression_is_its_own_simulation(key):
    """The second moments of the recursion, from 4000 paths with fresh labels: within 5 standard errors."""
    x = jax.random.normal(key, (sde_bounds.COUNT, sde_bounds.DIMENSION))
    H = x.T @ x / sde_bounds.COUNT
    run = jax.jit(sde_bounds._regression)(key)
    label_key, noise_key, start_key = jax.random.split(jax.random.fold_in(key, 1), 3)
    signal = jax.random.normal(label_key, (4000, 5)) @ jnp.linalg.cholesky(0.5 * H / sde_bounds.COUNT).T
    start = 0.1 * jax.random.normal(start_key, (4000, 5))
    first = start - sde_bounds.RATE * (start @ H - signal - jax.random.normal(noise_key, (4000, 5)) @ jnp.linalg.cholesky(run.noise[0]).T)
    coefficients = jnp.linalg.lstsq(first, signal)[0]
    residual = signal - first @ coefficients
    found, expected = residual.T @ residual / 4000, run.drift[1]
    spread = jnp.sqrt((jnp.outer(jnp.diag(expected), jnp.diag(expected)) + expected**2) / 4000)
    assert jnp.all(jnp.abs(found - expected) < 5 * spread)


@pytest.mark.parametrize(
    ("room", "name", "wrong", "id"),
    [
        (bounds, "domain_shift", lambda right: lambda kl, R: right(kl, 1.001 * R), "INFO-40"),
        (processes, "stationary_covariance", lambda right: lambda *args: 1.001 * right(*args), "INFO-36.stationary"),
        (bounds, "inverse_legendre", lambda right: lambda psi, y, grid: right(psi, 1.01 * y, grid), "INFO-37.cgf"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, room, name, wrong, id):
    monkeypatch.setattr(room, name, wrong(getattr(room, name)))
    claim = registered[id]
    assert not all(bool(check.held) for check in jax.jit(claim.body)(claim.keys(1)[0]).values())
