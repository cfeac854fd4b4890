"""Supersamples and training under many masks at once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import bounds, models, processes

N, SIZE, MASKS = 4, 20, 3
OPTIMIZER = optax.sgd(0.1, momentum=0.9)


def _train_loss(w, batch):
    return (batch[0] @ w - batch[1]) ** 2


def _eval_loss(w, batch):
    return jnp.abs((batch[0] @ w > 0) - batch[1])


def _predict(w, batch):
    return (batch[0] @ w > 0).astype(jnp.int32)


def _init(key):
    return jax.random.normal(key, (2,))


def _pool(key):
    x = jax.random.normal(key, (SIZE, 2))
    return x, (x[:, 0] > 0).astype(x.dtype)


def _train(key, pairs, u, pool=None, **options):
    options = {"optimizer": OPTIMIZER, "batch_size": 2, "num_steps": 5, "predict": _predict} | options
    return processes.train_on_masks(key, _train_loss, _eval_loss, _init, _pool(key) if pool is None else pool, pairs, u, **options)


@pytest.mark.any_precision
def test_a_supersample_has_different_examples_and_fair_bits(key):
    pairs, u = processes.supersample(key, 1000, 500, num_masks=40)
    assert sorted(pairs.ravel().tolist()) == list(range(1000))
    assert set(np.unique(u)) == {0, 1}
    assert abs(float(u.mean()) - 0.5) < 4 * 0.5 / np.sqrt(40 * 500)
    several = jax.vmap(lambda key: processes.supersample(key, 10, 3, num_masks=2))(jax.random.split(key, 5))
    assert several.pairs.shape == (5, 3, 2)
    assert several.u.shape == (5, 2, 3)


@pytest.mark.float64
def test_each_mask_is_one_run_on_the_examples_that_it_chooses(key, rtol):
    """Of two supersamples in one program, the last mask of the second."""
    pairs, u = jax.vmap(lambda key: processes.supersample(key, SIZE, N, num_masks=MASKS))(jax.random.split(key))
    found = _train(key, pairs, u)
    assert found.losses.shape == found.predictions.shape == (2, MASKS, N, 2)
    pool = _pool(key)
    init_key, batch_key = jax.random.split(jax.random.split(key, (2, MASKS))[1, 2])
    chosen = jax.tree.map(lambda leaf: leaf[pairs[1, jnp.arange(N), u[1, 2]]], pool)
    rows = processes.batch_indices(batch_key, N, 2, 5)
    params = jax.jit(lambda w: processes.train(key, _train_loss, w, chosen, rows, optimizer=OPTIMIZER)[0])(_init(init_key))
    np.testing.assert_allclose(found.params[1, 2], params, rtol=rtol)
    whole = jax.tree.map(lambda leaf: leaf[pairs[1].ravel()], pool)
    np.testing.assert_array_equal(found.losses[1, 2].ravel(), _eval_loss(found.params[1, 2], whole))
    np.testing.assert_array_equal(found.predictions[1, 2].ravel(), _predict(found.params[1, 2], whole))


@pytest.mark.any_precision
def test_with_shared_randomness_equal_masks_give_equal_nets_and_otherwise_not(key):
    pairs, u = processes.supersample(key, SIZE, N, num_masks=2)
    twice = jnp.stack([u[0], u[0]])
    shared, own = (_train(key, pairs, twice, shared_randomness=share).params for share in (True, False))
    np.testing.assert_array_equal(shared[0], shared[1])
    assert not np.array_equal(own[0], own[1])


@pytest.mark.any_precision
def test_masks_resume_and_spread_over_devices_with_the_same_bits(key, tmp_path):
    pairs, u = processes.supersample(key, SIZE, N, num_masks=5)
    whole = _train(key, pairs, u, checkpoint=tmp_path / "run")
    (tmp_path / "run" / "chunk-000004.npz").unlink(missing_ok=True)
    again = _train(key, pairs, u, checkpoint=tmp_path / "run")
    one = _train(key, pairs, u, mesh=jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,)))
    for other in (again, one):
        jax.tree.map(np.testing.assert_array_equal, whole, other)


@pytest.mark.any_precision
def test_traced_masks_that_are_wrong_give_nan_and_right_ones_the_same_losses(key):
    pairs, u = processes.supersample(key, SIZE, N, num_masks=2)
    traced = jax.jit(lambda pairs, u: _train(key, pairs, u, num_steps=1).losses)
    np.testing.assert_array_equal(traced(pairs, u), _train(key, pairs, u, num_steps=1).losses)
    assert jnp.isnan(traced(pairs, u.at[0, 0].set(2))).all()
    assert jnp.isnan(traced(pairs.at[1, 1].set(pairs[1, 0]), u)).all()


@pytest.mark.slow
@pytest.mark.any_precision
def test_a_learner_that_remembers_shows_it(key):
    """A lookup table of 60 labels by chance: all seen right, about half the unseen wrong, which is the interpolating risk."""
    y = jax.random.bernoulli(key, 0.5, (60,)).astype(jnp.int32)

    def apply(w, x):
        return jnp.stack([-w[x], w[x]], axis=1)

    loss_fn, eval_loss_fn = (models.loss_fn(apply, name) for name in ("cross_entropy", "zero_one"))
    pairs, u = processes.supersample(key, 60, 30, num_masks=40)
    options = {"optimizer": optax.sgd(10.0), "batch_size": 30, "num_steps": 20, "shared_randomness": True}
    losses = processes.train_on_masks(key, loss_fn, eval_loss_fn, lambda key: jnp.zeros(60), (jnp.arange(60), y), pairs, u, **options).losses
    assert not jnp.take_along_axis(losses, u[..., None], axis=-1).any()
    given = bounds.interpolating_risk(bounds.loss_difference_information(losses, u, bias_correction=False))
    wrong = float(jnp.mean(y[pairs]))
    assert wrong * 0.9 < float(given) < 1.6 * wrong


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": jnp.array([[0, 1], [2, 2]])}, "some row of pool is there twice"),
        ({"pairs": jnp.array([[0, 1], [1, 2]])}, "some row of pool is there twice"),
        ({"pairs": jnp.array([[0, 1], [2, SIZE]])}, r"pairs must lie in \[0, 20\)"),
        ({"u": jnp.array([[0, 2]])}, "u must be binary"),
        ({"u": jnp.array([[0, 1, 1]])}, "pairs must have shape"),
        ({"u": jnp.zeros((0, 2), int)}, "not empty"),
        ({"pairs": jnp.array([0, 1])}, "pairs must have shape"),
        ({"batch_size": 3}, "batch_size must be at most n = 2"),
    ],
)
def test_bad_input_is_named(key, change, message):
    arguments = {"pairs": jnp.array([[0, 1], [2, 3]]), "u": jnp.array([[0, 1]])} | change
    with pytest.raises(ValueError, match=message):
        _train(key, **arguments)


@pytest.mark.any_precision
def test_losses_that_are_not_one_an_example_and_masks_that_are_no_integers_are_refused(key):
    pairs, u = jnp.array([[0, 1], [2, 3]]), jnp.array([[0, 1]])
    with pytest.raises(ValueError, match="one value an example"):
        processes.train_on_masks(
            key, _train_loss, lambda w, batch: jnp.zeros(()), _init, _pool(key), pairs, u, optimizer=optax.sgd(0.1), batch_size=1, num_steps=1
        )
    with pytest.raises(TypeError, match="u must hold integers"):
        _train(key, pairs, u + 0.5)
    with pytest.raises(ValueError, match="2 n examples"):
        processes.supersample(key, 5, 3, num_masks=1)
