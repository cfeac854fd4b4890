"""Claims about estimating everything in the SGD bounds from K training seeds (INFO-32)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds, curvature, data, processes, seeds
from jaxgen.claims import claim, equal, equal_within
from jaxgen.claims.information._learners import cyclic_rows

PROBLEM = {"d": 20, "n": 8, "data_std": 1.0, "init_std": 0.0, "curvature": 1.0}
STEPS, BATCH_SIZE, RATE, NOISE, NUM_SEEDS = 4, 2, 0.1, 0.05, 64


@claim(
    "INFO-32",
    title="Every expectation in the bound from K training seeds",
    source="Wang & Mao 2022, experiments; protocol of spec 05",
    statement=r"\widehat{\mathbb{E} V_t}, \widehat{\mathrm{gen}}, \widehat{\mathbb{E} \gamma}, \hat h"
    r" \text{ and the bounds made of them, within jackknife errors over } K = 64 \text{ seeds}",
    core=True,
    statistical=True,
    num_seeds=32,
    budget=6.0,
)
def protocol(key):
    """One epoch of SGD in the linear-Gaussian problem, whose closed forms do not depend on the order of the examples."""
    problem = data.LinearGaussian(**PROBLEM)

    def evaluate(key, params, train, test):
        flatness = curvature.value_sensitivity(problem.loss_fn, params, train, key, variance=STEPS * NOISE**2, num_noise=4).value
        return flatness, curvature.trace(curvature.hessian(problem.loss_fn, params, train), key, num_matvecs=2).value

    study = _study(key, _fresh_sample, evaluate=evaluate)
    return _dispersion(study) | _gap(study) | _flatness(study) | _bounds(study)


def _fresh_sample(key):
    problem = data.LinearGaussian(**PROBLEM)
    return problem.sample(key), problem.sample(jax.random.fold_in(key, 1))


def _study(key, sample, pool=None, evaluate=None):
    problem = data.LinearGaussian(**PROBLEM)
    return processes.multi_seed_study(
        key,
        problem.loss_fn,
        problem.loss_fn,
        problem.init,
        sample,
        pool,
        n=problem.n,
        batch_size=BATCH_SIZE,
        num_steps=STEPS,
        learning_rate=RATE,
        num_seeds=NUM_SEEDS,
        evaluate=evaluate,
    )


def _exact():
    problem = data.LinearGaussian(**PROBLEM)
    return problem.solve(cyclic_rows(problem.n, BATCH_SIZE, STEPS), RATE, NOISE)


def _mean_dispersion(deviations):
    return deviations.sum(0) / (len(deviations) - 1)


def _dispersion(study):
    found = seeds.jackknife(_mean_dispersion, study.deviations)
    return {
        "dispersion": equal_within(found, _exact().dispersion),
        "dispersion of the study": equal(study.dispersion, found.value, rtol=1e-12),
    }


def _gap(study):
    return {"gap": equal_within(seeds.mean(study.gap.per_seed), _exact().generalization_gap)}


def _flatness(study):
    flatness, traces = study.evaluations
    return {
        "flatness": equal_within(seeds.mean(flatness), PROBLEM["d"] * STEPS * NOISE**2 / 2),
        "trace": equal_within(seeds.mean(traces), PROBLEM["d"]),
    }


def _bounds(study):
    """Functions of means: the jackknife carries the error of the seeds through the roots."""

    def values(dispersion, flatness, trace):
        total = bounds.wang_mao(RATE, NOISE, dispersion, flatness, PROBLEM["n"], 1.0, sided="one").value
        return jnp.stack([total, bounds.wang_mao_optimized(RATE, dispersion, trace, PROBLEM["n"], 1.0).value])

    estimate = seeds.jackknife(
        lambda deviations, flatness, traces: values(_mean_dispersion(deviations), flatness.mean(), traces.mean()),
        study.deviations,
        *study.evaluations,
    )
    return {"bounds": equal_within(estimate, values(_exact().dispersion, PROBLEM["d"] * STEPS * NOISE**2 / 2, PROBLEM["d"]))}


@protocol.control("one sample for all seeds")
def _(key):
    shared = _fresh_sample(key)
    return _dispersion(_study(key, lambda key: shared))


@claim(
    "INFO-32.pool",
    title="Disjoint subsets of a pool are independent samples",
    source="Wang & Mao 2022, experiments; protocol of spec 05",
    statement=r"S_k \cap S_j = \emptyset \;\Rightarrow\; \mathbb{E} \tfrac{1}{K-1} \sum_k \|g_k - \bar g\|^2 = \mathbb{E} V_t",
    statistical=True,
    num_seeds=32,
    min_seeds=16,
    budget=5.0,
)
def disjoint_subsets(key):
    """Overlapping subsets of n out of N make the dispersion too small by about n/N."""
    return _dispersion(_study_of_pool(key, NUM_SEEDS * PROBLEM["n"], "disjoint"))


def _study_of_pool(key, size, mode):
    problem = data.LinearGaussian(**PROBLEM)
    rows = data.subsets(key, size, problem.n, NUM_SEEDS, mode=mode).indices
    pool = problem.sample(jax.random.fold_in(key, 1), size), rows
    return _study(key, lambda key, pool, k: (pool[0][pool[1][k]], pool[0]), pool)


@disjoint_subsets.control("overlapping subsets of a quarter of the pool")
def _(key):
    return _dispersion(_study_of_pool(key, 4 * PROBLEM["n"], "overlapping"))
