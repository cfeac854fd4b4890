"""SVAG against its recursion, enumeration and SGD; the linear scaling rule."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxgen import processes, seeds
from jaxgen._core.checkpoint import Checkpoint

STEPS, BATCH = 8, 3

_svag = jax.jit(processes.svag, static_argnums=1, static_argnames=("record", "every"))
_svag_of_one = jax.jit(processes.svag, static_argnums=(1, 7), static_argnames=("record", "every"))
_sgd = jax.jit(processes.sgd, static_argnums=1, static_argnames=("record", "every"))


def _quadratic(w, z):
    return 0.5 * jnp.sum((w - z) ** 2, axis=-1)


def _coupled(w, z):
    """Every example's loss holds the mean of its batch, as with batch statistics."""
    return 0.5 * jnp.sum((w * z.mean(axis=0) - z) ** 2, axis=-1)


def _network(params, batch):
    x, y = batch
    return jnp.sum((jnp.tanh(x @ params["a"]) @ params["b"] - y[:, None]) ** 2, axis=-1)


def _everything(w, g, t):
    return {"w": w, "g": g, "t": t}


@pytest.fixture
def data():
    return np.random.default_rng(1).normal(size=(9, 2))


@pytest.fixture
def rows():
    return np.random.default_rng(3).integers(0, 9, size=(2, STEPS, BATCH))


@pytest.fixture
def network():
    rng = np.random.default_rng(2)
    params = {"a": rng.normal(size=(4, 8)), "b": rng.normal(size=(8, 3))}
    return params, (rng.normal(size=(9, 4)), rng.normal(size=9))


def _weights(refinement):
    root = np.sqrt(2 * refinement - 1)
    return (1 + root) / 2, (1 - root) / 2


def test_powers_of_the_coefficients_sum_to_the_moments(rtol):
    refinements = np.array([1, 1.5, 2, 3, 7, 16])
    (a, b), moments = jax.jit(jax.vmap(lambda value: (processes.svag_coefficients(value), processes.svag_moments(value))))(refinements)
    for power, found in enumerate(moments[:4], start=1):
        np.testing.assert_allclose(a**power + b**power, found, rtol=10 * rtol)
    np.testing.assert_allclose(moments.skewness, moments.third / moments.covariance**1.5, rtol=rtol)
    np.testing.assert_allclose(moments.excess_kurtosis, moments.fourth / moments.covariance**2, rtol=rtol)


@pytest.mark.float64
def test_known_coefficients_and_skewness():
    assert [round(float(weight), 7) for weight in processes.svag_coefficients(2)] == [1.3660254, -0.3660254]
    assert [float(weight) for weight in processes.svag_coefficients(1)] == [1.0, 0.0]
    assert round(float(processes.svag_moments(16).skewness), 4) == 0.3672


def test_coefficients_keep_their_digits_near_one(precision, rtol):
    """b = -(l - 1)/2 + (l - 1)^2/4 - ..., which 1 - sqrt(2 l - 1) loses."""
    above = 2.0**-20
    np.testing.assert_allclose(processes.svag_coefficients(1 + above)[1], -above / 2 + above**2 / 4, rtol=rtol)


def test_a_gradient_of_two_and_of_one(rtol):
    first, second = {"w": np.arange(3.0), "v": np.float64(2)}, {"w": np.ones(3), "v": np.float64(-1)}
    a, b = _weights(5)
    found = processes.svag_gradient(first, second, 5)
    np.testing.assert_allclose(found["w"], a * np.arange(3) + b, rtol=rtol)
    np.testing.assert_allclose(found["v"], 2 * a - b, rtol=rtol)
    broken = {"w": np.full(3, np.inf), "v": np.nan}
    alone = processes.svag_gradient(first, broken, 1)
    assert alone["w"].tolist() == [0, 1, 2]
    assert float(alone["v"]) == 2


@pytest.mark.parametrize("loss_fn", [_quadratic, _coupled])
def test_svag_is_its_recursion_whether_examples_are_independent_or_not(key, data, rows, rtol, loss_fn):
    rates = np.linspace(0.5, 0.1, STEPS)
    final, records = _svag(key, loss_fn, np.ones(2), data, *rows, rates, 3, record=_everything)
    a, b = _weights(3)

    def gradient(w, batch):
        return (w - batch if loss_fn is _quadratic else (w * batch.mean(0) - batch) * batch.mean(0)).mean(0)

    w = np.ones(2)
    for t in range(STEPS):
        g = a * gradient(w, data[rows[0, t]]) + b * gradient(w, data[rows[1, t]])
        np.testing.assert_allclose(records["w"][t], w, rtol=100 * rtol, atol=10 * rtol)
        np.testing.assert_allclose(records["g"][t], g, rtol=100 * rtol, atol=10 * rtol)
        w = w - rates[t] / 3 * g
    np.testing.assert_allclose(final, w, rtol=100 * rtol, atol=10 * rtol)


@pytest.mark.heavy
def test_one_step_for_one_is_sgd_to_the_last_bit(key, network, rows):
    params, data = network
    expected = _sgd(key, _network, params, data, rows[0], 0.05, record=_everything)
    by_value = _svag_of_one(key, _network, params, data, *rows, 0.05, 1, record=_everything)
    jax.tree.map(np.testing.assert_array_equal, by_value, expected)


def test_a_traced_one_is_sgd_to_rounding_whatever_the_second_batch_holds(key, network, rows, rtol):
    params, (x, y) = network
    rows = rows % 8
    rows[1, 3] = 8
    x[8] = np.inf
    expected, _ = _sgd(key, _network, params, (x, y), rows[0], 0.05)
    found, _ = _svag(key, _network, params, (x, y), *rows, 0.05, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=100 * rtol, atol=10 * rtol), found, expected)


@pytest.mark.float64
def test_one_program_serves_several_l_and_vmap_over_them_is_a_loop(key, data, rows, rtol):
    @jax.jit
    def final(refinement):
        return processes.svag(key, _quadratic, np.ones(2), data, *rows, 0.3, refinement)[0]

    together = jax.vmap(final)(np.array([1.0, 2.0, 8.0]))
    alone = jnp.stack([final(refinement) for refinement in (1.0, 2.0, 8.0)])
    np.testing.assert_allclose(together, alone, rtol=10 * rtol)
    slope = jax.grad(lambda refinement: final(refinement).sum())(2.0)
    step = 1e-5
    np.testing.assert_allclose(slope, (final(2 + step).sum() - final(2 - step).sum()) / (2 * step), rtol=1e-7)


@pytest.mark.any_precision
def test_records_once_in_the_time_of_a_step_of_sgd(key, data, rows):
    _, path = _svag(key, _quadratic, np.ones(2), data, *rows, 0.3, 4, record=_everything, every=4)
    assert path["t"].tolist() == [0, 4]
    assert _svag(key, _quadratic, np.ones(2), data, *rows, 0.3, 4)[1] is None


@pytest.mark.float64
@pytest.mark.parametrize("refinement", [2, 9])
def test_over_all_pairs_of_examples_the_mean_is_kept_and_the_covariance_is_l_times_as_large(key, refinement, rtol):
    """Control: the average of two batches halves it."""
    data = np.random.default_rng(4).normal(size=(5, 2)) ** 3
    pairs = np.array(list(product(range(5), repeat=2)))[:, :, None, None]
    start = np.array([1.0, -2.0])
    step = jax.jit(jax.vmap(lambda pair: processes.svag(key, _quadratic, start, data, *pair, 0.5, refinement)[0]))
    moves = (start - step(pairs)) * refinement / 0.5
    deviations, centred = moves - moves.mean(axis=0), data - data.mean(axis=0)
    np.testing.assert_allclose(moves.mean(axis=0), start - data.mean(axis=0), rtol=100 * rtol)
    covariance = deviations.T @ deviations / 25
    np.testing.assert_allclose(covariance, refinement * centred.T @ centred / 5, rtol=100 * rtol)
    third = np.mean(deviations**3, axis=0)
    np.testing.assert_allclose(third, -(3 * refinement - 1) / 2 * np.mean(centred**3, axis=0), rtol=100 * rtol)
    average = (data[pairs[:, 0, 0, 0]] + data[pairs[:, 1, 0, 0]]) / 2
    assert np.abs(np.cov(average.T, bias=True) / covariance - 1).min() > 0.5


@pytest.mark.heavy
def test_the_oracle_has_the_larger_scale_and_noise_of_the_same_covariance(key, data, rtol):
    oracle = processes.minibatch_oracle(_quadratic, data, batch_size=4)
    refined = processes.svag_oracle(oracle, 3)
    w = jnp.ones(2)
    first, second = jax.random.split(key)
    noise, matrix, draw, plain = jax.jit(
        lambda refined, oracle, alone: (
            (refined.noise(key, w), oracle.noise(first, w), oracle.noise(second, w)),
            (refined.covariance(w).as_matrix(), oracle.covariance(w).as_matrix()),
            alone.sample(key, w),
            oracle.sample(first, w),
        )
    )(refined, oracle, processes.svag_oracle(oracle, 1))
    np.testing.assert_allclose(refined.noise_scale, np.sqrt(3 / 4), rtol=rtol)
    np.testing.assert_allclose(*matrix, rtol=rtol)
    a, b = _weights(3)
    np.testing.assert_allclose(noise[0], (a * noise[1] + b * noise[2]) / np.sqrt(3), rtol=100 * rtol, atol=10 * rtol)
    np.testing.assert_array_equal(draw, plain)


@pytest.mark.any_precision
def test_memory_does_not_grow_with_the_number_of_steps(key):
    width = 5000

    def temporary(num_steps):
        rows = jnp.zeros((num_steps, 2), jnp.int32)
        run = jax.jit(lambda w, z, rows: processes.svag(key, _quadratic, w, z, rows, rows, 0.1, 4)[0])
        return run.lower(jnp.zeros(width), jnp.zeros((4, width)), rows).compile().memory_analysis().temp_size_in_bytes

    assert temporary(1000) - temporary(10) < 4 * width


def _of_seed(seed, data):
    start, rows = seed
    return processes.svag(None, _quadratic, start, data, *rows, 0.1, 2, record=lambda w, g, t: g)


class _Killed(BaseException):
    pass


@pytest.mark.any_precision
def test_seeds_are_the_same_to_the_last_bit_on_one_two_and_four_devices_and_after_a_kill(key, data, tmp_path, monkeypatch):
    draws = jax.random.normal(key, (8, 2)), np.random.default_rng(5).integers(0, 9, size=(8, 2, STEPS, BATCH))
    results = [seeds.run(_of_seed, draws, data, mesh=Mesh(jax.devices()[:count], "seeds"), chunk_size=2) for count in (1, 2, 4)]
    original = Checkpoint.save

    def save(self, *args):
        original(self, *args)
        raise _Killed

    run = partial(seeds.run, _of_seed, draws, data, mesh=Mesh(jax.devices()[:2], "seeds"), chunk_size=2, checkpoint=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save)
        with pytest.raises(_Killed):
            run()
    for other in [*results[1:], run()]:
        jax.tree.map(np.testing.assert_array_equal, results[0], other)


@pytest.mark.any_precision
def test_wrong_values_are_nan_when_traced(key, data, rows):
    assert np.isnan(jax.jit(processes.svag_coefficients)(0.5)).all()
    assert np.isnan(_svag(key, _quadratic, np.ones(2), data, *rows, 0.1, 0.5)[0]).all()
    rows[1, 2, 0] = 9
    assert np.isnan(_svag(key, _quadratic, np.ones(2), data, *rows, 0.1, 2)[0]).all()
    assert np.isnan(jax.jit(processes.canonical_noise_scale)(-1.0, 1.0))


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l": 0}, "l must be a finite number of at least 1; got 0"),
        ({"l": float("inf")}, "l must be a finite number"),
        ({"l": np.array([1, 2])}, "l must be a scalar"),
        ({"b": (STEPS, 2)}, "must have the same shape .* got .8, 3. and .8, 2."),
        ({"b": (STEPS - 1, BATCH)}, "must have the same shape"),
        ({"a": (BATCH,), "b": (BATCH,)}, "num_steps, batch_size"),
        ({"rate": np.ones(3)}, "learning_rate"),
        ({"a": (0, BATCH), "b": (0, BATCH)}, "batch_indices must hold at least one step"),
        ({"loss_fn": lambda w, z: w.sum()}, "one loss per example"),
    ],
)
def test_bad_arguments_are_named(key, data, change, message):
    rows = [np.zeros(change.get(name, (STEPS, BATCH)), np.int32) for name in ("a", "b")]
    with pytest.raises(ValueError, match=message):
        processes.svag(key, change.get("loss_fn", _quadratic), np.ones(2), data, *rows, change.get("rate", 0.1), change.get("l", 2))


@pytest.mark.any_precision
def test_rows_out_of_range_and_of_another_kind_are_refused(key, data, rows):
    for wrong, error in ((rows + 9, ValueError), (rows.astype(float), TypeError)):
        for pair in ((rows[0], wrong[1]), (wrong[0], rows[1])):
            with pytest.raises(error, match="batch_indices"):
                processes.svag(key, _quadratic, np.ones(2), data, *pair, 0.1, 1)


@pytest.mark.any_precision
def test_gradients_of_another_structure_are_refused():
    with pytest.raises(ValueError, match="same structure"):
        processes.svag_gradient({"w": np.ones(2)}, {"w": np.ones(3)}, 2)
    with pytest.raises(ValueError, match="at least 1"):
        processes.svag_oracle(processes.minibatch_oracle(_quadratic, np.ones((3, 2)), batch_size=2), 0.9)


def test_linear_scaling_keeps_noise_and_time_and_the_square_root_rule_does_not(rtol):
    for kappa in (2, 0.5, 10):
        scaled = processes.linear_scaling(0.1, 40, 1000, kappa)
        assert (scaled.batch_size, scaled.num_steps) == (round(40 * kappa), round(1000 / kappa))
        noise = processes.canonical_noise_scale(0.1, 40**-0.5)
        np.testing.assert_allclose(scaled.learning_rate * scaled.num_steps, 100, rtol=rtol)
        np.testing.assert_allclose(processes.canonical_noise_scale(scaled.learning_rate, scaled.batch_size**-0.5), noise, rtol=rtol)
        root = processes.canonical_noise_scale(0.1 * np.sqrt(kappa), scaled.batch_size**-0.5)
        np.testing.assert_allclose(root / noise, kappa**-0.25, rtol=rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.1, 32, 100, 0), ValueError, "kappa must be positive"),
        ((0.1, 32, 100, -2), ValueError, "kappa must be positive"),
        ((0.1, 32, 100, float("nan")), ValueError, "kappa must be positive"),
        ((0.1, 32, 0, 2), ValueError, "num_steps must be an integer of at least 1"),
        ((0.1, 0, 100, 2), ValueError, "batch_size must be an integer of at least 1"),
        ((0.1, 32, 100, 3), ValueError, "num_steps / kappa .* must be a whole number"),
        ((0.1, 5, 100, 0.5), ValueError, "kappa batch_size .* must be a whole number"),
        (([0.1], 32, 100, 2), ValueError, "learning_rate must be a scalar"),
        ((-0.1, 32, 100, 2), ValueError, "learning_rate must be positive"),
        ((0.1, 32, 100, "two"), TypeError, "kappa must be a concrete number"),
    ],
)
def test_bad_scalings_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        processes.linear_scaling(*arguments)
    with pytest.raises(ValueError, match="must be positive"):
        processes.canonical_noise_scale(0.1, 0.0)


@pytest.mark.any_precision
def test_a_traced_kappa_is_refused():
    with pytest.raises(TypeError, match="kappa must be a concrete number"):
        jax.jit(lambda kappa: processes.linear_scaling(0.1, 32, 100, kappa).learning_rate)(2.0)
