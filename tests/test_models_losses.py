"""Per-example losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxgen import models


def _outputs():
    """Outputs in the default float, and labels."""
    return jnp.asarray(3 * np.random.default_rng(0).standard_normal((6, 4)), float), jnp.array([0, 1, 2, 3, 0, 1])


def test_cross_entropy_is_minus_the_log_of_the_softmax(rtol):
    outputs, y = _outputs()
    expected = -log_softmax(np.asarray(outputs), axis=1)[np.arange(6), np.asarray(y)]
    np.testing.assert_allclose(models.softmax_cross_entropy(outputs, y), expected, rtol=10 * rtol, atol=rtol)


@pytest.mark.heavy
def test_one_output_is_the_logit_of_two_classes(rtol):
    outputs, y = _outputs()[0][:, 0], jnp.array([0, 1, 1, 0, 0, 1])
    both = jnp.stack([jnp.zeros(6), outputs], axis=1)
    for loss in (models.softmax_cross_entropy, models.zero_one):
        for single in (outputs, outputs[:, None]):
            np.testing.assert_allclose(loss(single, y), loss(both, y), rtol=10 * rtol, atol=rtol)


@pytest.mark.any_precision
def test_zero_one_counts_wrong_predictions_and_breaks_ties_by_the_first():
    outputs = jnp.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(models.zero_one(outputs, jnp.array([1, 1, 0, 1])), [0.0, 1.0, 0.0, 1.0])
    np.testing.assert_array_equal(models.zero_one(jnp.array([0.0, 0.0, 0.1]), jnp.array([0, 1, 1])), [0.0, 1.0, 0.0])


def test_half_squared_error_sums_over_outputs(rtol):
    outputs, targets = _outputs()[0], _outputs()[0][::-1]
    expected = (np.asarray(outputs - targets) ** 2).sum(axis=1) / 2
    np.testing.assert_allclose(models.half_squared_error(outputs, targets), expected, rtol=10 * rtol)
    column = models.half_squared_error(outputs[:, :1], targets[:, 0])
    np.testing.assert_allclose(column, expected - (np.asarray(outputs - targets)[:, 1:] ** 2).sum(axis=1) / 2, rtol=1000 * rtol, atol=10 * rtol)
    np.testing.assert_array_equal(models.half_squared_error(jnp.array([1.0, 3.0]), jnp.array([0, 1])), [0.5, 2.0])


@pytest.mark.any_precision
def test_nan_outputs_and_traced_labels_out_of_range_give_nan_for_their_example_alone():
    outputs = jnp.array([[1.0, 2.0], [jnp.nan, 0.0], [0.0, 1.0], [0.0, 1.0]])
    y = jnp.array([1, 1, 2, -1])
    for loss in (models.zero_one, models.softmax_cross_entropy):
        np.testing.assert_array_equal(jnp.isnan(jax.jit(loss)(outputs, y)), [False, True, True, True])
        np.testing.assert_array_equal(jnp.isnan(jax.jit(loss)(outputs[:, 0], y)), [False, True, True, True])


@pytest.mark.any_precision
def test_an_invalid_label_does_not_spoil_the_gradient_of_another_example():
    loss = jax.jit(jax.grad(lambda outputs, y: models.softmax_cross_entropy(outputs, y)[0]))
    assert jnp.isfinite(loss(jnp.zeros((2, 3)), jnp.array([0, 7]))).all()


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("loss", "outputs", "y", "error", "message"),
    [
        (models.softmax_cross_entropy, (3, 4), [0, 1, 4], ValueError, r"labels y must lie in \[0, 4\)"),
        (models.zero_one, (3,), [0, 1, 2], ValueError, r"labels y must lie in \[0, 2\)"),
        (models.zero_one, (3, 4), [0, 1], ValueError, r"labels y shape \(N,\); got \(3, 4\) and \(2,\)"),
        (models.zero_one, (3, 4, 5), [0, 1, 2], ValueError, "outputs must have shape"),
        (models.softmax_cross_entropy, (2, 2), [[0, 1], [1, 0]], ValueError, "outputs must have shape"),
        (models.softmax_cross_entropy, (2, 2), [0.0, 1.0], TypeError, "labels y must be integers; got dtype float32"),
        (models.half_squared_error, (3, 4), [0, 1, 2], ValueError, r"got \(3, 4\) and \(3,\) \(one-hot encode class labels\)"),
        (models.half_squared_error, (3,), [[0.0, 1.0, 2.0]], ValueError, "outputs and y must have one shape"),
    ],
)
def test_outputs_and_labels_that_do_not_fit_are_refused(loss, outputs, y, error, message):
    with pytest.raises(error, match=message):
        loss(jnp.zeros(outputs), jnp.array(y))


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "loss"), [("cross_entropy", models.softmax_cross_entropy), ("zero_one", models.zero_one), ("squared", models.half_squared_error)]
)
def test_a_loss_fn_evaluates_the_named_loss_on_the_outputs(name, loss, rtol):
    x, y = _outputs()[0][:5, :3], jnp.array([0, 1, 2, 0, 1])
    y = jnp.eye(3)[y] if name == "squared" else y
    params = jnp.array(1.5)
    expected = loss(params * x, y)
    for given in (name, loss):
        loss_fn = models.loss_fn(jnp.multiply, given)
        np.testing.assert_allclose(jax.jit(loss_fn)(params, (x, y)), expected, rtol=100 * rtol, atol=rtol)
    mapped = jax.jit(jax.vmap(loss_fn, in_axes=(None, 0)))(params, (x[:, None], y[:, None]))[:, 0]
    np.testing.assert_allclose(mapped, expected, rtol=100 * rtol, atol=rtol)


@pytest.mark.any_precision
def test_a_loss_fn_checks_that_values_are_one_an_example():
    batch = (jnp.ones((5, 2)), jnp.zeros(5, int))
    with pytest.raises(ValueError, match=r"loss must return one value an example, shape \(5,\); got shape \(\)"):
        models.loss_fn(lambda params, x: x, lambda outputs, y: outputs.mean())(None, batch)
    with pytest.raises(ValueError, match=r"outputs with leading axis 5; got shape \(2, 5\)"):
        models.loss_fn(lambda params, x: x.T, "zero_one")(None, batch)
    with pytest.raises(ValueError, match="every leaf of batch must have the same leading axis"):
        models.loss_fn(lambda params, x: x, "zero_one")(None, (batch[0], batch[1][:3]))
    with pytest.raises(ValueError, match="loss must be one of 'cross_entropy', 'zero_one', 'squared'; got 'hinge'"):
        models.loss_fn(lambda params, x: x, "hinge")
    with pytest.raises(TypeError, match=r"such as model\.apply; got Model"):
        models.loss_fn(models.mlp((2,)), "zero_one")  # pyright: ignore[reportArgumentType]


def test_a_clipped_loss_stays_in_its_range_and_keeps_nan():
    loss_fn = models.clip_loss(lambda params, batch: params * batch, 2.0, min_value=-1.0)
    batch = jnp.array([-5.0, 0.5, 9.0, jnp.inf, jnp.nan])
    np.testing.assert_array_equal(loss_fn(1.0, batch), [-1.0, 0.5, 2.0, 2.0, jnp.nan])
    np.testing.assert_array_equal(jax.jit(loss_fn)(1.0, batch), [-1.0, 0.5, 2.0, 2.0, jnp.nan])
    np.testing.assert_array_equal(models.clip_loss(lambda params, batch: batch, 1.0)(None, batch[:3]), [0.0, 0.5, 1.0])


@pytest.mark.any_precision
def test_an_empty_range_to_clip_to_is_refused():
    with pytest.raises(ValueError, match=r"max_value must be greater than min_value; got 0\.0 and 0\.0"):
        models.clip_loss(lambda params, batch: batch, 0.0)
    clipped = jax.jit(lambda high: models.clip_loss(lambda params, batch: batch, high)(None, jnp.ones(3)))(-1.0)
    assert jnp.isnan(clipped).all()
