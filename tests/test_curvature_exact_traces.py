"""Traces by structure, against the dense Hessian, leaf by leaf."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import Estimate, curvature, models
from tests._networks import NETWORKS

CROSS_ENTROPY = optax.losses.softmax_cross_entropy_with_integer_labels
N, INPUTS, CLASSES = 7, 5, 4


def _squared(outputs, targets):
    return 0.5 * jnp.sum((outputs - jax.nn.one_hot(targets, CLASSES)) ** 2, axis=-1)


def _not_convex(outputs, targets):
    return jnp.sin(outputs).sum(axis=1) * outputs[:, 0] + outputs[:, 1] * targets


def _examples():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(N, INPUTS))), jnp.asarray(rng.integers(0, CLASSES, N))


def _dense(fn, params):
    """Trace of every leaf's diagonal block."""
    leaves = jax.tree.leaves(params)
    blocks = jax.tree.leaves(jax.jit(jax.hessian(fn))(params))
    return [np.trace(np.asarray(blocks[i * len(leaves) + i]).reshape(leaf.size, leaf.size)) for i, leaf in enumerate(leaves)]


def _per_leaf(tree):
    return jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, Estimate))


@pytest.mark.float64
@pytest.mark.parametrize(
    ("activation", "widths", "loss"),
    [
        ("relu", (6, 5, 3, CLASSES), CROSS_ENTROPY),
        ("relu", (6, CLASSES), _not_convex),
        ("tanh", (6, CLASSES), _squared),
        ("tanh", (6, 5, CLASSES), _not_convex),
        ("gelu", (6, 5, CLASSES), CROSS_ENTROPY),
    ],
)
def test_it_is_the_dense_trace_leaf_by_leaf(activation, widths, loss):
    x, y = _examples()
    model = models.mlp(widths, activation=activation)
    params = model.init(jax.random.key(2), x)
    expected = _dense(lambda p: loss(model.apply(p, x), y).mean(), params)
    found = _per_leaf(curvature.exact_trace(model.apply, loss, params, x, y, per_leaf=True, chunk_size=3))
    np.testing.assert_allclose([leaf.value for leaf in found], expected, rtol=1e-10, atol=1e-12)
    assert all(leaf.stderr == 0 for leaf in found)
    total = curvature.exact_trace(model.apply, loss, params, x, y)
    np.testing.assert_allclose(total.value, sum(expected), rtol=1e-10)
    assert total.stderr == 0


@pytest.mark.float64
def test_convolutions_pooling_and_residual_connections_are_exact():
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.leaky_relu(nn.Conv(3, (3, 3), strides=2, param_dtype=float)(x))
            x = x + nn.relu6(nn.Conv(3, (2, 2), param_dtype=float)(x))
            return nn.Dense(CLASSES, param_dtype=float)(nn.max_pool(x, (2, 2)).reshape(len(x), -1))

    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.normal(size=(N, 6, 6, 2))), _examples()[1]
    net = Net()
    apply_fn, params = models.from_linen(net, net.init(jax.random.key(0), x))
    expected = _dense(lambda p: CROSS_ENTROPY(apply_fn(p, x), y).mean(), params)
    found = _per_leaf(curvature.exact_trace(apply_fn, CROSS_ENTROPY, params, x, y, per_leaf=True))
    np.testing.assert_allclose([leaf.value for leaf in found], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.float64
def test_three_smooth_hidden_layers_are_probed_where_nothing_is_exact():
    """The first layer's far curvature is probed: within 4 standard errors, and these below a tenth of the trace."""
    x, y = _examples()
    model = models.mlp((6, 5, 6, CLASSES), activation="tanh")
    params = model.init(jax.random.key(2), x)
    expected = np.array(_dense(lambda p: CROSS_ENTROPY(model.apply(p, x), y).mean(), params))
    with pytest.raises(ValueError, match="needs key, for probes"):
        curvature.exact_trace(model.apply, CROSS_ENTROPY, params, x, y)
    key = jax.random.key(0)
    found = _per_leaf(curvature.exact_trace(model.apply, CROSS_ENTROPY, params, x, y, key=key, num_probes=400, per_leaf=True))
    values, errors = (np.array([float(leaf[i]) for leaf in found]) for i in (0, 1))
    np.testing.assert_allclose(values[2:], expected[2:], rtol=1e-10)
    np.testing.assert_array_equal(errors[2:], 0)
    assert (np.abs(values[:2] - expected[:2]) < 4 * errors[:2]).all()
    assert (errors[:2] < 0.1 * expected.sum()).all()
    total = curvature.exact_trace(model.apply, CROSS_ENTROPY, params, x, y, key=key, num_probes=400)
    assert 0 < abs(float(total.value) - expected.sum()) < 4 * float(total.stderr)


@pytest.mark.any_precision
def test_a_function_that_only_looks_like_relu_is_refused():
    @jax.custom_jvp
    def relu(x):
        return jnp.maximum(x, 0)

    relu.defjvp(lambda primals, tangents: (relu(primals[0]), tangents[0] * jax.nn.sigmoid(primals[0])))
    x, y = _examples()
    params = {"a": jnp.ones((INPUTS, 3)), "b": jnp.ones((3, CLASSES)), "c": jnp.ones((CLASSES, CLASSES))}

    def apply_fn(p, x):
        return relu(relu(x @ p["a"]).sum(axis=1, keepdims=True) * p["b"][0]) @ p["c"]

    with pytest.raises(ValueError, match="not piecewise affine in a, b alone, and the net is no chain"):
        curvature.exact_trace(apply_fn, CROSS_ENTROPY, params, x, y)


@pytest.mark.any_precision
def test_tied_weights_and_normalization_are_refused_and_coupling_is_named():
    x, y = _examples()
    tied = {"w": jnp.ones((INPUTS, INPUTS))}
    with pytest.raises(ValueError, match="not piecewise affine in w alone"):
        curvature.exact_trace(lambda p, x: jax.nn.relu(x @ p["w"]) @ p["w"], lambda out, y: jnp.square(out).sum(axis=1), tied, x, y)
    with pytest.raises(ValueError, match="not piecewise affine in w alone"):
        curvature.exact_trace(
            lambda p, x: (x @ p["w"]) / jnp.linalg.norm(x @ p["w"], axis=1, keepdims=True), lambda out, y: out.sum(axis=1) ** 2, tied, x, y
        )
    branch = partial(jax.lax.cond, True, lambda w, x: w[0, 0] * x, lambda w, x: x)
    with pytest.raises(ValueError, match="the net is no chain of dense layers"):
        curvature.exact_trace(lambda p, x: jnp.tanh(branch(p["w"], x)) @ p["w"], CROSS_ENTROPY, tied, x, y)
    with pytest.raises(ValueError, match="apply_fn couples examples at reduce_sum"):
        curvature.exact_trace(lambda p, x: (x - x.mean(axis=0)) @ p["w"], lambda out, y: out.sum(axis=1), tied, x, y)
    with pytest.raises(ValueError, match="loss must return one value per example"):
        curvature.exact_trace(lambda p, x: x @ p["w"], lambda out, y: out, tied, x, y)


@pytest.mark.float64
@pytest.mark.parametrize(
    "name",
    [
        *("mlp", "layer norm", "embedding", "scanned layers", "transposed convolution"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("convolutions", "residual", "attention")),
    ],
)
def test_probes_of_activations_are_unbiased_for_any_layer(name):
    """400 draws: within 4.5 of their standard errors, for the total and every leaf."""
    loss_fn, params, batch = NETWORKS[name]()
    expected = np.array(_dense(lambda p: loss_fn(p, batch).mean(), params))
    key = jax.random.key(1)
    found = _per_leaf(curvature.trace_by_activations(loss_fn, params, batch, key, num_probes=400, per_leaf=True))
    scale = 1e-9 * np.abs(expected).max()
    for estimate, value in zip(found, expected, strict=True):
        assert abs(float(estimate.value) - value) < 4.5 * float(estimate.stderr) + scale
    total = curvature.trace_by_activations(loss_fn, params, batch, key, num_probes=400)
    assert abs(float(total.value) - expected.sum()) < 4.5 * float(total.stderr)


@pytest.mark.slow
@pytest.mark.float64
def test_the_error_averages_out_over_examples():
    """Probes of 16 times as many examples have a quarter of the error; 64 draws of it, within a factor of 1.6."""
    model = models.mlp((6, 6, CLASSES), activation="tanh")
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(np.tile(rng.normal(size=(64, INPUTS)), (16, 1))), jnp.asarray(np.tile(rng.integers(0, CLASSES, 64), 16))
    params = model.init(jax.random.key(0), x)
    loss_fn = models.loss_fn(model.apply, "cross_entropy")

    @jax.jit
    def spread(batch):
        draws = jax.lax.map(lambda key: curvature.trace_by_activations(loss_fn, params, batch, key).value, jax.random.split(jax.random.key(3), 64))
        return draws.std()

    ratio = float(spread((x[:64], y[:64])) / spread((x, y)))
    assert 4 / 1.6 < ratio < 4 * 1.6


@pytest.mark.any_precision
def test_probes_of_activations_refuse_what_they_cannot_do():
    for name, message in (
        ("tied autoencoder", "w does not enter linearly in one place"),
        ("recurrent", "is used again at every step of a loop"),
        ("custom rule", "w does not enter linearly in one place"),
    ):
        loss_fn, params, batch = NETWORKS[name]()
        with pytest.raises(ValueError, match=message):
            curvature.trace_by_activations(loss_fn, params, batch, jax.random.key(0))
