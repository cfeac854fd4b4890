"""What the claims on normalization stand on: coverage, curvatures of their problems, and that they notice wrong quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import normalization
from jaxgen.claims.normalization import _problems

pytestmark = pytest.mark.float64


@pytest.mark.slow
def test_the_curvature_of_a_net_is_that_of_dense_hessians_on_the_circle(key):
    family = _problems.circle_nets(key, 2)
    angles = jnp.linspace(0, 2 * jnp.pi, 2000)

    @jax.jit
    @jax.vmap
    def largest(problem):
        points = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
        hessians = jax.vmap(jax.hessian(_problems.circle_net), in_axes=(0, None))(points, problem)
        return jnp.abs(jnp.linalg.eigvalsh(hessians)).max()

    exact = largest(family.problems)
    np.testing.assert_allclose(family.rho / _problems.GRID_SLACK, exact, rtol=0.02)
    assert (family.rho >= exact).all()


def test_the_first_time_is_that_of_the_recorded_run(key):
    spectrum, w0 = jnp.array([0.0, 1.0, 3.0]), jnp.array([0.3, 1.0, 1.0])
    stop = lambda squared, slope: slope <= 0.5  # noqa: E731
    run = jax.jit(lambda w0: _problems.descend(_problems.rayleigh, spectrum, w0, 0.1, 0.1, 60))(w0)
    t, squared = jax.jit(lambda w0: _problems.first_time(_problems.rayleigh, spectrum, w0, 0.1, 0.1, stop, 60))(w0)
    expected = int(np.argmax(np.asarray(run.slopes) ** 2 <= 0.5))
    assert t == expected > 0
    np.testing.assert_allclose(squared, run.norms[expected] ** 2, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("equilibrium_norm", lambda right: lambda *args: 1.05 * right(*args), "NORM-7.equilibrium"),
        ("norm_recursion", lambda right: lambda *args: right(*args) + 1e-6, "NORM-7"),
        ("explosive_learning_rate", lambda right: lambda *args: 0.9 * right(*args), "NORM-1"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    monkeypatch.setattr(normalization, name, wrong(getattr(normalization, name)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in (checks.values() if isinstance(checks, dict) else [checks]))
