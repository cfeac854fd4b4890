"""SGD, SGLD and the auxiliary weight process on problems whose recursions are known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import processes

STEPS, BATCH = 12, 3

_train = jax.jit(processes.train, static_argnums=1, static_argnames=("optimizer", "record", "every"))
_sgd = jax.jit(processes.sgd, static_argnums=1, static_argnames=("record", "every"))
_sgld = jax.jit(processes.sgld, static_argnums=1, static_argnames=("record", "every"))
_auxiliary_weight_process = jax.jit(processes.auxiliary_weight_process, static_argnums=1, static_argnames=("record", "every"))


def _quadratic(w, z):
    return 0.5 * jnp.sum((w - z) ** 2, axis=-1)


def _everything(w, g, t):
    return {"w": w, "g": g, "t": t}


def _network_loss(params, batch):
    x, y = batch
    return jnp.sum((jnp.tanh(x @ params["a"]) @ params["b"] - y[:, None]) ** 2, axis=-1)


def _flat(params, batch):
    return 0 * batch[1] + 0 * params["a"].sum()


@pytest.fixture
def data():
    return np.random.default_rng(1).normal(size=(9, 2))


@pytest.fixture
def rows():
    return np.random.default_rng(3).integers(0, 9, size=(STEPS, BATCH))


@pytest.fixture
def network():
    rng = np.random.default_rng(2)
    params = {"a": rng.normal(size=(4, 8)), "b": rng.normal(size=(8, 3))}
    return params, (rng.normal(size=(9, 4)), rng.normal(size=9))


@pytest.mark.parametrize("schedule", ["scalar", "vector"])
def test_sgd_on_a_quadratic_is_the_linear_recursion(key, data, rows, rtol, schedule):
    rates = np.full(STEPS, 0.1) if schedule == "scalar" else np.linspace(0.5, 0.01, STEPS)
    learning_rate = 0.1 if schedule == "scalar" else rates
    final, records = _sgd(key, _quadratic, np.ones(2), data, rows, learning_rate, record=_everything)
    records, w = jax.tree.map(np.asarray, records), np.ones(2)
    for t in range(STEPS):
        g = w - data[rows[t]].mean(0)
        np.testing.assert_allclose(records["w"][t], w, rtol=10 * rtol, atol=rtol)
        np.testing.assert_allclose(records["g"][t], g, rtol=10 * rtol, atol=rtol)
        w = w - rates[t] * g
    np.testing.assert_allclose(final, w, rtol=10 * rtol, atol=rtol)
    assert records["t"].tolist() == list(range(STEPS))


@pytest.mark.any_precision
def test_sgd_is_train_with_optax_sgd_to_the_last_bit(key, network, rows):
    params, data = network
    by_sgd, _ = _sgd(key, _network_loss, params, data, rows, 0.05)
    by_train, _ = _train(key, _network_loss, params, data, rows, optimizer=optax.sgd(0.05))
    jax.tree.map(np.testing.assert_array_equal, by_sgd, by_train)


@pytest.mark.float64
def test_train_takes_any_optimizer(key, network, rows, rtol):
    params, data = network
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1))
    found, _ = _train(key, _network_loss, params, data, rows, optimizer=optimizer)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, batch):
        gradient = jax.grad(lambda p: _network_loss(p, batch).mean())(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for t in range(STEPS):
        params, state = step(params, state, jax.tree.map(lambda leaf, t=t: leaf[rows[t]], data))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e3 * rtol, atol=100 * rtol), found, params)


@pytest.mark.any_precision
def test_records_are_taken_every_so_often(key, data, rows):
    _, every_step = _sgd(key, _quadratic, np.ones(2), data, rows, 0.1, record=_everything)
    _, every_fifth = _sgd(key, _quadratic, np.ones(2), data, rows, 0.1, record=_everything, every=5)
    assert every_fifth["t"].tolist() == [0, 5, 10]
    np.testing.assert_allclose(every_fifth["w"], np.asarray(every_step["w"])[::5], rtol=1e-6)
    assert _sgd(key, _quadratic, np.ones(2), data, rows, 0.1)[1] is None


@pytest.mark.any_precision
def test_sgld_has_the_stationary_variance(key):
    """INFO-16: gradient w, lambda = 0.1, sigma = 0.05: 0.0025 / 0.19, over 4000 chains of 200 steps, 4 standard errors of a variance."""
    rows = np.zeros((200, 1), np.int32)
    final, _ = _sgld(key, lambda w, z: 0.5 * jnp.sum(w**2) + 0 * z, np.zeros(4000), np.zeros(1), rows, 0.1, 0.05)
    expected = 0.0025 / 0.19
    assert round(expected, 10) == 0.0131578947
    assert abs(np.mean(np.asarray(final) ** 2) - expected) < 4 * expected * np.sqrt(2 / 4000)


@pytest.mark.any_precision
def test_the_clean_path_is_sgds_to_the_last_bit(key, network, rows):
    params, data = network
    expected, path = _sgd(key, _network_loss, params, data, rows, 0.05, record=_everything)
    final, auxiliary, auxiliary_path = _auxiliary_weight_process(key, _network_loss, params, data, rows, 0.05, 0.1, record=_everything)
    jax.tree.map(np.testing.assert_array_equal, (final, auxiliary_path), (expected, path))
    assert all(np.all(np.asarray(a) != np.asarray(b)) for a, b in zip(jax.tree.leaves(final), jax.tree.leaves(auxiliary), strict=True))


@pytest.mark.float64
def test_the_auxiliary_process_follows_clean_gradients_with_noise_of_its_key(key, network, rows, rtol):
    """The printed recursion, step by step from recorded gradients, with the noise of `sgld` from the same key on a flat loss."""
    params, data = network
    stds = np.linspace(0.1, 0.5, STEPS)
    _, auxiliary, path = _auxiliary_weight_process(key, _network_loss, params, data, rows, 0.05, stds, record=_everything)
    total, positions = _sgld(key, _flat, jax.tree.map(np.zeros_like, params), data, rows, 0.05, stds, record=_everything)
    positions = jax.tree.map(lambda p, last: np.concatenate([p, last[None]]), positions["w"], total)
    expected = jax.tree.map(np.asarray, params)
    for t in range(STEPS):
        expected = jax.tree.map(lambda w, g, p, t=t: w - 0.05 * np.asarray(g)[t] + (p[t + 1] - p[t]), expected, path["g"], positions)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=100 * rtol, atol=10 * rtol), auxiliary, expected)


@pytest.mark.heavy
def test_the_difference_is_accumulated_noise_and_for_sgld_it_is_not(key, data, rows):
    """Control of INFO-19: with gradients at the noisy iterate the noise is forgotten at rate 1 - lambda."""
    clean, auxiliary, _ = _auxiliary_weight_process(key, _quadratic, np.ones(2), data, rows, 0.3, 0.1)
    langevin, _ = _sgld(key, _quadratic, np.ones(2), data, rows, 0.3, 0.1)
    noise, _ = _sgld(key, lambda w, z: 0 * z[:, 0], np.zeros(2), data, rows, 0.3, 0.1)
    np.testing.assert_allclose(np.asarray(auxiliary) - clean, noise, rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(langevin) - clean - noise).max() > 0.1


@pytest.mark.any_precision
def test_the_accumulated_noise_has_the_summed_covariance(key, data, rows):
    """5000 noise paths beside one run, every entry of the covariance within 5 standard errors; likewise the terminal law."""
    stds = np.linspace(0.1, 0.5, STEPS)
    total = np.sum(stds**2)

    def path(key):
        clean, auxiliary, _ = _auxiliary_weight_process(key, _quadratic, np.ones(2), data, rows, 0.1, stds)
        return auxiliary - clean, processes.sample_auxiliary_noise(key, jnp.ones(2), stds)

    for noise in jax.jit(jax.vmap(path))(jax.random.split(key, 5000)):
        covariance = np.cov(np.asarray(noise).T)
        assert np.all(np.abs(covariance - total * np.eye(2)) < 5 * total * (1 + (np.sqrt(2) - 1) * np.eye(2)) / np.sqrt(5000))
        assert np.all(np.abs(np.mean(noise, axis=0)) < 5 * np.sqrt(total / 5000))


@pytest.mark.any_precision
@pytest.mark.parametrize("process", [processes.sgld, processes.auxiliary_weight_process])
def test_processes_are_reproducible_and_traceable(process, key, data, rows, rtol):
    def call(key, w, rate, std):
        return process(key, _quadratic, w, data, rows, rate, std)[:2]

    keys = jax.random.split(key, 2)
    args = np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([0.1, 0.2]), np.array([0.1, 0.3])
    found = jax.jit(jax.vmap(call))(keys, *args)
    one = jax.jit(call)
    expected = one(keys[1], *(arg[1] for arg in args))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=10 * rtol), found, expected)
    jax.tree.map(np.testing.assert_array_equal, one(keys[1], *(arg[1] for arg in args)), expected)


@pytest.mark.any_precision
def test_training_is_differentiable_in_its_learning_rate(key, data, rtol):
    """W_1 = W_0 - lambda g: derivative -g."""
    slope = jax.jit(jax.jacfwd(lambda rate: processes.sgd(key, _quadratic, np.ones(2), data, np.array([[0, 1]]), rate)[0]))(0.1)
    np.testing.assert_allclose(slope, data[:2].mean(0) - 1, rtol=10 * rtol)


@pytest.mark.any_precision
def test_memory_does_not_grow_with_time():
    width = 5000

    def temporary(steps):
        args = jnp.zeros(width), jnp.zeros((4, width)), jnp.zeros((steps, 2), jnp.int32)
        run = jax.jit(lambda w, z, rows: processes.auxiliary_weight_process(jax.random.key(0), _quadratic, w, z, rows, 0.1, 0.1)[:2])
        return run.lower(*args).compile().memory_analysis().temp_size_in_bytes

    assert temporary(2000) - temporary(10) < 4 * width


@pytest.mark.any_precision
def test_integers_become_floats(key):
    final, _ = processes.sgd(key, _quadratic, np.array([1, 1]), np.zeros((2, 2)), [[0]], 1)
    assert np.asarray(final).tolist() == [0.0, 0.0]


@pytest.mark.any_precision
def test_bad_input_is_named(key, data, rows):
    args = key, _quadratic, np.ones(2), data
    for bad in (rows + 7, rows - 1):
        with pytest.raises(ValueError, match=r"batch_indices must lie in \[0, 9\), the rows of data"):
            processes.sgd(*args, bad, 0.1)
        assert np.isnan(_sgd(*args, bad, 0.1)[0]).all()
    with pytest.raises(TypeError, match="batch_indices must be integers; got dtype float"):
        processes.sgd(*args, rows * 1.0, 0.1)
    with pytest.raises(ValueError, match=r"batch_indices must have shape \(num_steps, batch_size\); got shape \(12,\)"):
        processes.sgd(*args, rows[:, 0], 0.1)
    with pytest.raises(ValueError, match=r"learning_rate must be a scalar or have one value per step, shape \(12,\); got shape \(3,\)"):
        processes.sgd(*args, rows, jnp.ones(3))
    with pytest.raises(ValueError, match=r"loss_fn must return one loss per example, shape \(3,\); got shape \(\)"):
        processes.sgd(key, lambda w, z: _quadratic(w, z).mean(), np.ones(2), data, rows, 0.1)
    with pytest.raises(ValueError, match="every must be an integer of at least 1; got 0"):
        processes.sgd(*args, rows, 0.1, every=0)
    for process in (processes.sgld, processes.auxiliary_weight_process):
        with pytest.raises(ValueError, match="noise_std must be positive at every step"):
            process(*args, rows, 0.1, 0.0)
        with pytest.raises(ValueError, match=r"noise_std must be a scalar or have one value per step, shape \(12,\); got shape \(2,\)"):
            process(*args, rows, 0.1, jnp.ones(2))
    assert np.isnan(_sgld(*args, rows, 0.1, -1.0)[0]).all()
    with pytest.raises(ValueError, match="noise_std must be positive at every step"):
        processes.sample_auxiliary_noise(key, jnp.ones(2), jnp.array([0.1, -0.1]))
    with pytest.raises(ValueError, match=r"noise_std must have one value per step, shape \(T,\); got shape \(\)"):
        processes.sample_auxiliary_noise(key, jnp.ones(2), 0.1)
