"""What the claims on homogeneous models stand on: coverage, and that they notice wrong quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias
from jaxgen.claims.implicit_bias import _homogeneous

pytestmark = pytest.mark.float64


def test_points_are_apart_along_a_direction_by_their_labels(key):
    x, y = _homogeneous.points(key, 6, 3, 4.0)
    near = _homogeneous.points(key, 6, 3, 0.0)[0]
    moved = (x - near) * y[:, None]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), rtol=1e-10)
    assert jnp.linalg.norm(moved[0]) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("representation_cost", lambda right: lambda *arguments: 1.001 * right(*arguments), "BIAS-35.known"),
        (
            "linear_convolutional",
            lambda right: lambda filters, method="fft": right(filters, method=method) * (1 + (method == "dense")),
            "BIAS-31.predictors",
        ),
        (
            "max_margin_kkt",
            lambda right: lambda *arguments, **options: right(*arguments, **options)._replace(stationarity=jnp.array(1e-6)),
            "BIAS-33.known",
        ),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    monkeypatch.setattr(implicit_bias, name, wrong(getattr(implicit_bias, name)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in checks.values())
