"""Margins: known values, losses at a margin, units in which nets are compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds

LABELS = jnp.array([0, 2, 1, 0, 3])


@pytest.fixture
def logits():
    return jnp.asarray(np.random.default_rng(3).normal(size=(5, 4)))


def _net(params, x):
    return jax.nn.relu(x @ params["a"]) @ params["b"]


@pytest.fixture
def net():
    rng = np.random.default_rng(4)
    params = {"a": jnp.asarray(rng.normal(size=(3, 6))), "b": jnp.asarray(rng.normal(size=(6, 4)))}
    return params, jnp.asarray(rng.normal(size=(5, 3)))


def test_margins_are_differences_to_the_best_other_class(logits, rtol):
    found = bounds.margins(logits, LABELS)
    expected = [row[y] - np.max(np.delete(row, y)) for row, y in zip(np.asarray(logits), np.asarray(LABELS), strict=True)]
    np.testing.assert_allclose(found, expected, rtol=rtol)


@pytest.mark.any_precision
def test_known_margins_and_ties_are_errors_at_margin_zero():
    logits = jnp.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(bounds.margins(logits, jnp.array([0, 2, 0])), [1.0, -2.0, 0.0])
    np.testing.assert_allclose(bounds.margin_loss(logits, jnp.array([0, 2, 0]), 0.0), 2 / 3, rtol=1e-6)


@pytest.mark.any_precision
def test_one_output_stands_for_two_of_which_the_first_is_zero():
    outputs, labels = jnp.array([1.5, -2.0, 0.5]), jnp.array([1, 1, 0])
    pair = jnp.stack([jnp.zeros(3), outputs], axis=1)
    np.testing.assert_array_equal(bounds.margins(outputs, labels), bounds.margins(pair, labels))


@pytest.mark.heavy
def test_the_ramp_loss_lies_between_the_losses_at_margins_zero_and_gamma(logits):
    gammas = jnp.array([0.1, 0.5, 1.0, 3.0])
    ramp = bounds.ramp_loss(logits, LABELS, gammas)
    assert ramp.shape == (4,)
    assert (bounds.margin_loss(logits, LABELS, 0.0) <= ramp).all()
    assert (ramp <= bounds.margin_loss(logits, LABELS, gammas)).all()
    np.testing.assert_allclose(jax.grad(lambda g: bounds.ramp_loss(jnp.array([0.5]), jnp.array([1]), g))(1.0), 0.5, rtol=1e-6)


@pytest.mark.any_precision
def test_quantiles_of_margins_keep_their_sign():
    """Elsewhere the absolute value of the tenth percentile is taken, which turns a misclassified tenth into a margin."""
    values = jnp.array([-3.0, -2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    np.testing.assert_allclose(bounds.margin_quantiles(values), np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9]), rtol=1e-6)
    assert bounds.margin_quantiles(values, 0.1) < 0


@pytest.mark.heavy
@pytest.mark.parametrize("by", ["spectral", "bartlett"])
def test_normalized_margins_do_not_change_where_layers_are_rescaled(net, rtol, by):
    params, x = net
    start = jax.tree.map(lambda leaf: leaf + 1, params)
    found = bounds.normalized_margins(_net, params, x, LABELS, by=by)
    for first, second in ((1.0, 7.0), (5.0, 0.2)):
        scaled = {"a": first * params["a"], "b": second * params["b"]}
        np.testing.assert_allclose(bounds.normalized_margins(_net, scaled, x, LABELS, by=by), found, rtol=100 * rtol)
    assert not jnp.allclose(bounds.normalized_margins(_net, params, x, LABELS, by="bartlett", init_params=start), found)
    raw = bounds.margins(_net({"a": params["a"], "b": 7.0 * params["b"]}, x), LABELS)
    assert not jnp.allclose(raw, bounds.margins(_net(params, x), LABELS))


def test_spectrally_normalized_margins_are_at_most_the_root_of_two(net):
    params, x = net
    assert jnp.abs(bounds.normalized_margins(_net, params, x, LABELS)).max() <= np.sqrt(2)


def test_margins_over_their_slopes_are_distances_from_a_linear_boundary(rtol):
    rng = np.random.default_rng(5)
    x, weights = jnp.asarray(rng.normal(size=(6, 3))), jnp.asarray(rng.normal(size=3))
    labels = jnp.asarray(rng.integers(0, 2, 6))
    found = bounds.normalized_margins(lambda w, x: x @ w, weights, x, labels, by="input_gradient")
    np.testing.assert_allclose(found, (2 * labels - 1) * (x @ weights) / np.linalg.norm(weights), rtol=100 * rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda z: bounds.margins(z, LABELS.at[0].set(4)), ValueError, r"labels must lie in \[0, 4\)"),
        (lambda z: bounds.margins(z[:, :1], LABELS), ValueError, "a margin needs two classes"),
        (lambda z: bounds.margins(z, LABELS[:4]), ValueError, r"labels shape \(N,\)"),
        (lambda z: bounds.margins(z, LABELS.astype(float)), TypeError, "labels must be integers"),
        (lambda z: bounds.margin_loss(z, LABELS, -0.1), ValueError, r"gamma must be at least 0; got -0\.1"),
        (lambda z: bounds.ramp_loss(z, LABELS, 0.0), ValueError, "gamma must be positive"),
        (lambda z: bounds.margin_quantiles(z[:, 0], 1.1), ValueError, r"quantiles must lie in \[0, 1\]"),
        (lambda z: bounds.normalized_margins(lambda w, x: x @ w, jnp.eye(4), z, LABELS, by="size"), ValueError, "by must be one of"),
        (lambda z: bounds.normalized_margins(lambda w, x: x @ w, jnp.eye(4), 0 * z, LABELS), ValueError, "inputs must not be zero"),
    ],
)
def test_bad_input_is_named(logits, call, error, message):
    with pytest.raises(error, match=message):
        call(logits)


@pytest.mark.any_precision
def test_wrong_values_give_nan_when_traced(logits):
    found = jax.jit(bounds.margins)(logits, LABELS.at[1].set(-1))
    np.testing.assert_array_equal(jnp.isnan(found), [False, True, False, False, False])
    assert jnp.isnan(jax.jit(bounds.margin_loss)(logits, LABELS.at[1].set(-1), 0.0))
    losses = jax.jit(jax.vmap(bounds.ramp_loss, in_axes=(None, None, 0)))(logits, LABELS, jnp.array([1.0, -1.0]))
    np.testing.assert_array_equal(jnp.isnan(losses), [False, True])
