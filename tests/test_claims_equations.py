"""What the claims about equations and weak errors stand on: coverage, exact moments, and that they notice wrong quantities."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import processes
from jaxgen.claims.processes import _quadratic

pytestmark = pytest.mark.float64


def test_moments_of_sgd_are_those_over_all_runs():
    """Noise of 2, -1, -1 with equal probability: variance 2, third moment 2; three steps."""
    found = _quadratic.sgd_moments(0.7, 1.5, 0.3, 2.0, 2.0, 3)
    ends = []
    for noise in product([2.0, -1.0, -1.0], repeat=3):
        x = 0.7
        for n in noise:
            x -= 0.3 * (1.5 * x + n)
        ends.append(x)
    np.testing.assert_allclose([moment[-1] for moment in found], [np.mean(np.power(ends, power)) for power in (1, 2, 3)], rtol=1e-12)


def test_moments_of_the_diffusion_solve_their_equations():
    """d/dt E h(X_t) = E L h(X_t) for h = x, x^2, x^3."""
    moments, slopes = jax.jvp(lambda t: _quadratic.ornstein_uhlenbeck_moments(0.7, 1.5, 2.0, t), (jnp.array(0.4),), (jnp.array(1.0),))
    expected = [-1.5 * moments.first, 2.0 - 3 * moments.second, 3 * 2.0 * moments.first - 4.5 * moments.third]
    np.testing.assert_allclose(slopes, expected, rtol=1e-12)
    start = _quadratic.ornstein_uhlenbeck_moments(0.7, 1.5, 2.0, 0.0)
    np.testing.assert_allclose(start, [0.7, 0.49, 0.343], rtol=1e-12)


def _holds(claim):
    found = jax.jit(lambda key: claim.body(key))(claim.keys(1)[0])  # noqa: PLW0108, a new function, which is traced anew
    return all(bool(check.held) for check in (found.values() if isinstance(found, dict) else [found]))


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("ito_generator", lambda right: lambda *args, **options: lambda x: 1.001 * right(*args, **options)(x), "SDE-15"),
        ("time_change", lambda right: lambda drift, diffusion, a: right(drift, diffusion, 1.001 * a), "SDE-8"),
        ("weak_order", lambda right: lambda errors, sizes: right(errors, sizes**0.8), "SDE-11"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    claim = registered[id]
    assert _holds(claim)
    monkeypatch.setattr(processes, name, wrong(getattr(processes, name)))
    assert not _holds(claim)
