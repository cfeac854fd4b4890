"""What the claims about margins, norms and measures stand on: coverage, and that they notice wrong quantities."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds
from jaxgen.claims.generalization import _nets

pytestmark = pytest.mark.float64


def test_rescaled_units_are_the_same_function_and_training_lowers_the_loss(key):
    params, x = _nets.normal_net(key, (3, 5, 2)), jax.random.normal(key, (10, 3))
    rescaled = _nets.rescaled_units(params, jnp.geomspace(0.1, 10.0, 5))
    np.testing.assert_allclose(_nets.net(rescaled, x), _nets.net(params, x), rtol=1e-12)
    y = (x[:, 0] > 0).astype(int)
    after = _nets.trained(params, x, y, learning_rate=0.5, num_steps=50)
    assert bounds.margins(_nets.net(after, x), y).mean() > bounds.margins(_nets.net(params, x), y).mean()


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("margins", jnp.abs, "GEN-37"),
        ("bartlett_complexity", lambda value: value * 1.001, "GEN-38"),
        ("path_norm", lambda value: value + 1e-6, "GEN-39.minimum"),
        ("fisher_rao_norm", lambda value: value * 1.001, "GEN-40"),
        ("perturbation_sigma", lambda found: found._replace(value=found.value**2), "GEN-41"),
        ("kendall_tau", lambda value: -value, "GEN-42"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    right = getattr(bounds, name)
    key = registered[id].keys(1)[0]
    # The statistical checks need many seeds: the others are judged, on one.
    judged = lambda checks: [bool(check.held) for check in checks.values() if hasattr(check, "held")]  # noqa: E731
    assert all(judged(jax.jit(registered[id].body)(key)))
    monkeypatch.setattr(bounds, name, lambda *args, **options: wrong(right(*args, **options)))
    assert not all(judged(jax.jit(partial(registered[id].body))(key)))
