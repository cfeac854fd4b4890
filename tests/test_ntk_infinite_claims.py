"""What the claims about kernels of wide nets and of finite ones stand on, and that they notice wrong quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import ntk
from jaxgen.claims.ntk import infinite_kernels, infinite_limits
from jaxgen.ntk import infinite

pytestmark = pytest.mark.float64


def test_the_cnn_of_the_claim_has_the_gradient_kernel_of_its_parts(key):
    x = jax.random.normal(key, (2, *infinite_limits.IMAGE))
    weights = [jax.random.normal(key, shape) for shape in ((2, 27), (2, 18), (32,))]
    by_hand = jax.lax.conv_general_dilated(
        x, weights[0].reshape(2, 3, 3, 3), (1, 1), "SAME", dimension_numbers=("NHWC", "OHWI", "NHWC"), preferred_element_type=jnp.float64
    )
    features = jax.nn.relu(by_hand) / 3
    second = jax.lax.conv_general_dilated(features, weights[1].reshape(2, 3, 3, 2), (1, 1), "SAME", dimension_numbers=("NHWC", "OHWI", "NHWC"))
    expected = (jax.nn.relu(second) / 3).reshape(2, -1) @ weights[2]
    np.testing.assert_allclose(infinite_limits._cnn(weights, x, "flatten"), expected, rtol=1e-12)


def test_sum_of_products_of_one_layer(key):
    x = jax.random.normal(key, (3, 2))
    sigmas = [infinite.fully_connected(x, depth=depth, activation="relu").nngp for depth in (0, 1)]
    slope = jnp.full((3, 3), 0.5)
    np.testing.assert_allclose(infinite_kernels._sum_of_products(sigmas, [slope]), sigmas[1] + 0.5 * sigmas[0], rtol=1e-12)


@pytest.mark.parametrize("id", ["NTK-9", "NTK-15"])
def test_a_wrong_kernel_makes_its_claim_fall_short(monkeypatch, registered, id):
    for name in ("two_layer", "fully_connected"):
        right = getattr(infinite, name)
        monkeypatch.setattr(infinite, name, lambda *args, right=right, **options: jax.tree.map(lambda k: k - 0.15, right(*args, **options)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in checks.values())


def test_a_linearization_that_stays_where_it_is_makes_its_claim_fall_short(monkeypatch, registered):
    monkeypatch.setattr(ntk, "linearize", lambda apply_fn, params: lambda moved, x: apply_fn(params, x))
    claim = registered["NTK-21"]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not any(bool(check.held) for check in checks.values())


@pytest.mark.slow
def test_a_kernel_file_whose_manifest_goes_unread_makes_its_claim_fall_short(monkeypatch, registered):
    monkeypatch.setattr("jaxgen.ntk.files._finished", lambda path, manifest, identity: set())
    claim = registered["NTK-19"]
    checks = claim.body(claim.keys(1)[0])
    assert [name for name, check in checks.items() if not bool(check.held)] == ["stale"]
