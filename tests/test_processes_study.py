"""The multi-seed study against the closed forms of the linear-Gaussian model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxgen import curvature, gradients, processes, seeds

DIMENSION, COUNT, BATCH, RATE = 2, 8, 2, 0.1

_jackknife = jax.jit(lambda deviations: seeds.jackknife(lambda r: r.sum(0) / (len(r) - 1), deviations))


def _loss(w, z):
    return 0.5 * jnp.sum((w - z) ** 2, axis=-1)


def _zeros(key):
    return jnp.zeros(DIMENSION)


def _sample(key):
    return tuple(jnp.split(jax.random.normal(key, (2 * COUNT, DIMENSION)), 2))


def _study(key, *, init=_zeros, sample=_sample, pool=None, **options):
    options = {"n": COUNT, "batch_size": BATCH, "num_steps": 4, "learning_rate": RATE, "num_seeds": 64, **options}
    return processes.multi_seed_study(key, _loss, _loss, init, sample, pool, **options)


@pytest.mark.any_precision
def test_estimates_meet_the_closed_forms(key):
    """INFO-19, INFO-22: the first epoch's batches are disjoint; V_1..4, the training and the generalization risks at 4 jackknife se, K = 64."""
    study = _study(key)
    estimate = _jackknife(study.deviations)
    np.testing.assert_allclose(estimate.value, study.dispersion, rtol=1e-5)
    assert np.all(np.abs(estimate.value - np.array([1, 1.01, 1.0181, 1.024661])) < 4 * estimate.stderr)
    weights = RATE * (1 - RATE) ** np.arange(4) / BATCH
    spread = DIMENSION * BATCH * np.sum(weights**2)
    gap = DIMENSION * BATCH * np.sum(weights) / COUNT
    population = (DIMENSION + spread) / 2
    for found, expected in ((study.gap, gap), (seeds.mean(study.gap.test_risks), population), (seeds.mean(study.gap.train_risks), population - gap)):
        assert abs(float(found.value) - expected) < 4 * float(found.stderr)


@pytest.mark.any_precision
def test_one_training_set_for_all_seeds_shows_too_little_dispersion(key):
    """Control of INFO-32: batches of 4 in 8 leave the variance over batches, d (1/b - 1/n) = 0.25 on average over sets in place of d/b = 0.5."""
    study = _study(key, sample=lambda _: _sample(key), num_steps=1, batch_size=4)
    value, stderr = (float(leaf[0]) for leaf in _jackknife(study.deviations))
    train, _ = _sample(key)
    expected = float(gradients.batch_gradient_variance(_loss, jnp.zeros(DIMENSION), train, batch_size=4))
    assert abs(value - expected) < 4 * stderr
    assert value < 0.5 - 6 * stderr


@pytest.mark.any_precision
def test_a_fresh_initialization_adds_its_variance(key):
    """W_0 ~ N(0, 4 I): V_1 = d (tau^2 + s^2/b) = 9 against 1 conditional on W_0."""

    def init(key):
        return 2 * jax.random.normal(key, (DIMENSION,))

    own = _jackknife(_study(key, init=init, shared_init=False, num_steps=1).deviations)
    assert abs(float(own.value[0]) - 9) < 4 * float(own.stderr[0])


@pytest.mark.float64
def test_it_is_k_runs_of_sgd(key, rtol):
    """Dispersion and risks from the recorded gradients, final parameters and redrawn data of every seed."""

    def evaluate(key, params, train, test):
        return curvature.trace(curvature.hessian(_loss, params, train), key, num_matvecs=2).value, train

    study = _study(key, num_seeds=6, num_steps=9, every=2, record=lambda w, g, t: (w, g, t), evaluate=evaluate)
    w, g, t = study.records
    assert study.deviations.shape == study.batch_losses.shape == (6, 5)
    assert t[0].tolist() == [0, 2, 4, 6, 8]
    expected = [float(gradients.seed_dispersion(g[:, i])) for i in range(5)]
    np.testing.assert_allclose(study.dispersion, expected, rtol=10 * rtol)
    np.testing.assert_allclose(study.deviations.sum(0) / 5, expected, rtol=10 * rtol)
    train, test = jax.vmap(_sample)(study.sample_keys)
    np.testing.assert_allclose(study.evaluations[0], np.full(6, DIMENSION), rtol=10 * rtol)
    np.testing.assert_allclose(study.evaluations[1], train, rtol=10 * rtol)
    again = processes.generalization_gap(_loss, study.params, train, test)
    np.testing.assert_allclose(study.gap.per_seed, again.per_seed, rtol=1e3 * rtol, atol=10 * rtol)
    np.testing.assert_allclose(study.gap[:2], again[:2], rtol=1e3 * rtol)
    np.testing.assert_allclose(w[:, -1] - RATE * g[:, -1], study.params, rtol=10 * rtol, atol=rtol)


@pytest.mark.any_precision
def test_a_pool_is_shared_and_seed_k_takes_the_kth_subset(key):
    rows = np.random.default_rng(0).permutation(32).reshape(4, COUNT)
    pool = {"z": jax.random.normal(key, (32, DIMENSION)), "rows": jnp.asarray(rows), "test": jnp.ones((5, DIMENSION))}

    def sample(key, pool, k):
        return pool["z"][pool["rows"][k]], pool["test"]

    with pytest.warns(UserWarning, match="training sets overlap: each is 25% of the pool"):
        study = _study(key, sample=sample, pool=pool, num_seeds=4, num_steps=1, evaluate=lambda key, w, train, test: train, pool_fraction=0.25)
    np.testing.assert_array_equal(study.evaluations, np.asarray(pool["z"])[rows])


@pytest.mark.last_bit
@pytest.mark.any_precision
def test_devices_checkpoint_and_resume_change_no_bit(key, tmp_path):
    options = {"num_seeds": 4, "num_steps": 45, "record": lambda w, g, t: gradients.seed_dispersion(g, center="zero", axis_name="seeds")}
    one = _study(key, mesh=Mesh(np.array(jax.devices()[:1]), ("d",)), **options)
    four = _study(key, mesh=Mesh(np.array(jax.devices()[:4]), ("d",)), checkpoint=tmp_path / "run", **options)
    again = _study(key, mesh=Mesh(np.array(jax.devices()[:4]), ("d",)), checkpoint=tmp_path / "run", **options)
    jax.tree.map(np.testing.assert_array_equal, one._replace(sample_keys=None), four._replace(sample_keys=None))
    jax.tree.map(np.testing.assert_array_equal, one._replace(sample_keys=None), again._replace(sample_keys=None))
    assert one.records.shape == (4, 45)
    with pytest.raises(ValueError, match="different configuration"):
        _study(key, checkpoint=tmp_path / "run", **{**options, "learning_rate": 0.2})


@pytest.mark.any_precision
def test_memory_is_k_parameters_whatever_the_number_of_steps():
    """Temporaries of 8 seeds of 4000 parameters, 50 and 1050 steps: the difference is the batches' and the records', not K T d."""
    width, count = 4000, 8

    def temporary(steps):
        options = {"n": 4, "batch_size": 2, "num_steps": steps, "learning_rate": 0.1, "num_seeds": count}

        def study(key):
            return processes.multi_seed_study(key, _loss, _loss, lambda _: jnp.zeros(width), lambda _: (jnp.ones((4, 1)),) * 2, **options)

        return jax.jit(study).lower(jax.random.key(0)).compile().memory_analysis().temp_size_in_bytes

    short, long = temporary(50), temporary(1050)
    assert short < 20 * count * width * 4
    assert long - short < 1000 * count * 100


@pytest.mark.any_precision
def test_bad_input_is_named(key):
    with pytest.raises(ValueError, match="num_seeds must be an integer of at least 2; got 1"):
        _study(key, num_seeds=1)
    with pytest.raises(ValueError, match="sample must return n = 9 training examples; got 8"):
        _study(key, n=9)
    with pytest.raises(ValueError, match="batch_size must be at most n = 8 without replacement; got 9"):
        _study(key, batch_size=9)
    with pytest.raises(ValueError, match=r"learning_rate must be a scalar or have one value per step, shape \(4,\); got shape \(3,\)"):
        _study(key, learning_rate=jnp.ones(3))
    with pytest.raises(ValueError, match=r"pool_fraction must lie in \[0, 1\); got 1.5"):
        _study(key, pool_fraction=1.5)
