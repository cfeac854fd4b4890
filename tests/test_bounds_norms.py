"""Norms of nets: explicit matrices, enumerated paths, invariances, known values."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds, gradients, models

WIDTHS = (4, 6, 5, 3)


def _relu_net(params, x):
    *hidden, last = params
    for weights in hidden:
        x = jax.nn.relu(x @ weights)
    return x @ last


@pytest.fixture
def weights():
    rng = np.random.default_rng(1)
    return [jnp.asarray(rng.normal(size=shape)) for shape in pairwise(WIDTHS)]


def _rescaled(weights):
    scales = jnp.array([2.0, 0.1, 3.0, 1.0, 0.5, 8.0])
    return [weights[0] * scales, weights[1] / scales[:, None], weights[2]]


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_the_path_norm_sums_over_paths_and_is_invariant(weights, rtol, p):
    x = jnp.ones((2, WIDTHS[0]))
    paths = np.einsum("ij,jk,kl->ijkl", *(np.abs(np.asarray(w)) ** p for w in weights))
    found = bounds.path_norm(_relu_net, weights, x, p=p)
    np.testing.assert_allclose(found, paths.sum() ** (1 / p), rtol=10 * rtol)
    np.testing.assert_allclose(bounds.path_norm(_relu_net, _rescaled(weights), x, p=p), found, rtol=100 * rtol)


def test_the_path_norm_of_ones_is_a_product_of_widths(rtol):
    ones = [jnp.ones(shape) for shape in pairwise(WIDTHS)]
    np.testing.assert_allclose(bounds.path_norm(_relu_net, ones, jnp.ones((1, WIDTHS[0]))) ** 2, np.prod(WIDTHS), rtol=10 * rtol)


@pytest.mark.any_precision
def test_the_path_norm_refuses_smooth_activations_and_normalization(weights):
    x = jnp.ones((2, WIDTHS[0]))
    with pytest.raises(ValueError, match="piecewise linear nets without normalization"):
        bounds.path_norm(lambda w, x: jnp.tanh(x @ w[0]) @ w[1], weights, x)
    with pytest.raises(ValueError, match=r"p must be at least 1; got 0\.5"):
        bounds.path_norm(_relu_net, weights, x, p=0.5)


def test_spectral_norms_of_dense_layers_are_largest_singular_values(weights, rtol):
    found = bounds.spectral_norms(_relu_net, weights, jnp.ones((2, WIDTHS[0])))
    assert list(found) == ["0", "1", "2"]
    np.testing.assert_allclose(list(found.values()), [np.linalg.svd(np.asarray(w))[1][0] for w in weights], rtol=100 * rtol)
    product, other = (
        np.prod([float(v) for v in bounds.spectral_norms(_relu_net, w, jnp.ones((1, 4))).values()]) for w in (weights, _rescaled(weights))
    )
    assert abs(other / product - 1) > 0.5


@pytest.mark.float64
def test_spectral_norms_of_convolutions_are_those_of_the_maps_they_are():
    import flax.linen as nn

    module = nn.Conv(3, (3, 2), strides=(2, 1), padding="SAME", use_bias=False, param_dtype=float)
    x = jnp.ones((1, 5, 4, 2))
    apply_fn, params = models.from_linen(module, module.init(jax.random.key(0), x))
    dense = jax.jacobian(lambda v: apply_fn(params, v.reshape(x.shape)).ravel())(x.ravel())
    (found,) = bounds.spectral_norms(apply_fn, params, x, jax.random.key(1)).values()
    np.testing.assert_allclose(found, np.linalg.norm(np.asarray(dense), 2), rtol=1e-10)
    (reshaped,) = bounds.spectral_norms(apply_fn, params, x, conv_norm="reshape").values()
    kernel = np.asarray(jax.tree.leaves(params)[0])
    np.testing.assert_allclose(reshaped, np.linalg.norm(kernel.reshape(-1, 3), 2), rtol=1e-10)
    assert reshaped < found
    with pytest.raises(ValueError, match="key is needed for the norms of convolutions"):
        bounds.spectral_norms(apply_fn, params, x)


def test_the_fisher_rao_norm_of_relu_nets_counts_layers(weights, rtol):
    rng = np.random.default_rng(2)
    x, y = jnp.asarray(rng.normal(size=(9, 4))), jnp.asarray(rng.normal(size=(9, 3)))
    loss_fn = models.loss_fn(_relu_net, "squared")
    found = bounds.fisher_rao_norm(loss_fn, weights, (x, y))
    outputs = np.asarray(_relu_net(weights, x))
    slopes = jax.jacobian(lambda out: models.loss_fn(lambda w, x: out, "squared")(None, (x, y)))(jnp.asarray(outputs))
    inner = np.einsum("nnc,nc->n", np.asarray(slopes), outputs)
    np.testing.assert_allclose(found, 3 * np.sqrt(np.mean(inner**2)), rtol=100 * rtol)
    np.testing.assert_allclose(bounds.fisher_rao_norm(loss_fn, _rescaled(weights), (x, y)), found, rtol=100 * rtol)
    rows = np.concatenate([np.asarray(leaf).reshape(9, -1) for leaf in gradients.per_example(loss_fn, weights, (x, y))], axis=1)
    flat = np.concatenate([np.ravel(w) for w in weights])
    np.testing.assert_allclose(found, np.sqrt(np.mean((rows @ flat) ** 2)), rtol=100 * rtol)
