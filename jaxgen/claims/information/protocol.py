"""Claims about estimating everything in the SGD bounds from K training seeds (INFO-32)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds, curvature, data, processes, seeds
from jaxgen.claims import claim, equal_within
from jaxgen.claims.information._learners import cyclic_rows

PROBLEM = {"d": 20, "n": 8, "data_std": 1.0, "init_std": 0.0, "curvature": 1.0}
STEPS, BATCH_SIZE, RATE, NOISE, NUM_SEEDS = 4, 2, 0.1, 0.05, 64


@claim(
    "INFO-32",
    title="Every expectation in the bound from K training seeds",
    source="Wang & Mao 2022, experiments; protocol of spec 05",
    statement=r"\widehat{\mathbb{E} V_t}, \widehat{\mathrm{gen}}, \widehat{\mathbb{E} \gamma}, \hat h \text{ and the bounds made of them, within jackknife errors over } K = 64 \text{ seeds}",
    core=True,
    statistical=True,
    num_seeds=32,
    budget=6.0,
)
def protocol(key):
    """One epoch of SGD in the linear-Gaussian problem, whose closed forms do not depend on the order of the examples."""
    problem = data.LinearGaussian(**PROBLEM)
    return _against_closed_forms(_study(key, lambda key: (problem.sample(key), problem.sample(jax.random.fold_in(key, 1)))))


def _study(key, sample, pool=None):
    problem = data.LinearGaussian(**PROBLEM)

    def evaluate(key, params, train, test):
        flatness = curvature.value_sensitivity(problem.loss_fn, params, train, key, variance=STEPS * NOISE**2, num_noise=4).value
        return flatness, curvature.trace(curvature.hessian(problem.loss_fn, params, train), key, num_matvecs=2).value

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


def _against_closed_forms(study):
    problem = data.LinearGaussian(**PROBLEM)
    exact = problem.solve(cyclic_rows(problem.n, BATCH_SIZE, STEPS), RATE, NOISE)
    flatness, traces = study.evaluations

    def dispersion(deviations):
        return deviations.sum(0) / (len(deviations) - 1)

    def optimized(deviations, traces):
        return bounds.wang_mao_optimized(RATE, dispersion(deviations), traces.mean(), problem.n, 1.0).value

    def total(deviations, flatness):
        return bounds.wang_mao(RATE, NOISE, dispersion(deviations), flatness.mean(), problem.n, 1.0, sided="one").value

    exact_flatness = problem.d * STEPS * NOISE**2 / 2
    exact_total = bounds.wang_mao(RATE, NOISE, exact.dispersion, exact_flatness, problem.n, 1.0, sided="one").value
    exact_optimized = bounds.wang_mao_optimized(RATE, exact.dispersion, problem.d, problem.n, 1.0).value
    return {
        "dispersion": equal_within(seeds.jackknife(dispersion, study.deviations), exact.dispersion),
        "gap": equal_within(seeds.mean(study.gap.per_seed), exact.generalization_gap),
        "flatness": equal_within(seeds.mean(flatness), exact_flatness),
        "trace": equal_within(seeds.mean(traces), problem.d * problem.curvature),
        "bound": equal_within(seeds.jackknife(total, study.deviations, flatness), exact_total),
        "cube-root form": equal_within(seeds.jackknife(optimized, study.deviations, traces), exact_optimized),
    }


@protocol.control("one sample for all seeds")
def _(key):
    problem = data.LinearGaussian(**PROBLEM)
    sample, test = problem.sample(key), problem.sample(jax.random.fold_in(key, 1))
    return _against_closed_forms(_study(key, lambda key: (sample, test)))


@protocol.control("overlapping samples from a pool of twice their size")
def _(key):
    problem = data.LinearGaussian(**PROBLEM)
    rows = data.subsets(key, 2 * problem.n, problem.n, NUM_SEEDS, mode="overlapping").indices
    pool = problem.sample(jax.random.fold_in(key, 1), 2 * problem.n), rows
    return _against_closed_forms(_study(key, lambda key, pool, k: (pool[0][pool[1][k]], problem.sample(key)), pool))
