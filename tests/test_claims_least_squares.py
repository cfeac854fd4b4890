"""What the claims LS, and NTK on training and generalization, stand on: coverage, and that they notice wrong quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import optimization
from jaxgen.claims.ntk import _wide

pytestmark = pytest.mark.float64


def test_neurons_beyond_the_width_are_not_there(key):
    """A net of width 8 among 32 neurons is its first 8 neurons."""
    net, weights = _wide.two_layer(key, 8, 3, jnp.tanh, largest=32)
    x = _wide.sphere(key, 4, 3)
    by_hand = jnp.tanh(x @ weights[:8].T) @ jnp.sign(net.signs[:8]) / np.sqrt(8)
    np.testing.assert_allclose(net(weights, x), by_hand, rtol=1e-12)
    rows = jax.jacrev(lambda w: net(w, x))(weights).reshape(4, -1)
    np.testing.assert_allclose(net.kernel(weights, x, x), rows @ rows.T, rtol=1e-12)
    assert not rows.reshape(4, 32, 3)[:, 8:].any()


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("quadratic_features", lambda right: lambda x: right(x) * 1.001, "LS-4"),
        ("penrose_residuals", lambda right: lambda m, p: right(m, p) + 1e-3, "LS-3"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    monkeypatch.setattr(optimization, name, wrong(getattr(optimization, name)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in checks.values())
