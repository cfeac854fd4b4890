"""The information bound for SGD against the gap it bounds, as width and label noise vary (INFO-33).

Fig. 1 of Wang and Mao 2022 on small images, with what that figure leaves out: both terms and the noise they were computed
at, which of the numbers are bounds, and their standard errors over seeds.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxgen import bounds, curvature, processes, seeds
from jaxgen._core.results import Bound, Estimate
from jaxgen.studies import _problem
from jaxgen.studies._problem import Loss, Problem, Setup

TITLE = "the bound of Wang and Mao against the generalization gap"
DEFAULT_SEEDS = 12
SETTINGS: dict[str, Any] = {
    "n": 200,
    "batch_size": 20,
    "num_steps": 600,
    "learning_rate": 0.1,
    "R": 0.5,
    "width": 64,
    "widths": [16, 64, 256],
    "label_noises": [0.0, 0.2, 0.4, 0.6],
    "num_matvecs": 32,
    "num_noise": 8,
    "noise_grid": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
    "confidence": 0.99,
}
CONFIDENCE_QUANTILE = 2.326
"""Standard errors above an estimate within which its expectation lies with probability 0.99."""


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the final parameters of its nets."""
    noises, widths = SETTINGS["label_noises"], SETTINGS["widths"]
    cells = [(SETTINGS["width"], noise) for noise in noises] + [(width, noises[0]) for width in widths if width != SETTINGS["width"]]
    rows, params = [], {}
    for width, noise in cells:
        name = f"width-{width}-noise-{noise}"
        row, params[name] = cell(setup.part(name), width, noise)
        rows.append(row)
    by_noise = [next(row for row in rows if row["width"] == SETTINGS["width"] and row["label_noise"] == noise) for noise in noises]
    by_width = [next(row for row in rows if row["width"] == width and row["label_noise"] == noises[0]) for width in widths]
    return {"population": rows[0].pop("population"), "by_label_noise": by_noise, "by_width": by_width}, params


def cell(setup: Setup, width: int, noise: float) -> tuple[dict, PyTree]:
    """One width and noise level: the study over K seeds, then the flatness of its nets at several sizes of noise.

    Args:
        setup: data, number of seeds, key, folder.
        width: width of the net.
        noise: probability of a random label.
    """
    problem_key, study_key, flatness_key = jax.random.split(setup.key, 3)
    problem = _problem.make(setup.dataset, problem_key, n=SETTINGS["n"], num_seeds=setup.num_seeds, label_noise=noise)
    model = _problem.network(setup.data_name, width, problem.num_classes)
    losses = _problem.losses(model.apply)
    study = _train(setup, study_key, problem, losses, lambda key: model.init(key, setup.dataset.x_train[:1]))
    heuristic = _optimized(study)
    best = heuristic.terms["noise_std"]
    noise_stds = jnp.concatenate([jnp.asarray(SETTINGS["noise_grid"], best.dtype), best[None]])
    sensitivity = seeds.run(
        partial(_sensitivities, *losses, problem),
        (jax.random.split(flatness_key, setup.num_seeds), study.sample_keys, jnp.arange(setup.num_seeds), study.params),
        problem.pool,
        noise_stds**2 * SETTINGS["num_steps"],
        checkpoint=setup.checkpoint("flatness"),
    )
    row = {
        "population": problem.population,
        "width": width,
        "label_noise": noise,
        "num_parameters": _num_parameters(study),
        "train_error": _estimate(seeds.mean(study.gap.train_risks)),
        "test_error": _estimate(seeds.mean(study.gap.train_risks + study.evaluations["unseen_gap"])),
        "gap": _estimate(seeds.mean(study.evaluations["unseen_gap"])),
        "population_gap": _estimate(Estimate(study.gap.value, study.gap.stderr)),
        "amplitude": _estimate(seeds.jackknife(_amplitude, study.deviations)),
        "hessian_trace": _estimate(seeds.mean(study.evaluations["trace"])),
        "heuristic": _heuristic_row(study, heuristic, sensitivity),
        "certified": _certified_row(study, sensitivity, noise_stds, -1, whole=True),
        "by_noise_std": [_certified_row(study, sensitivity, noise_stds, index) for index in range(len(SETTINGS["noise_grid"]))],
        "dispersion": np.asarray(study.dispersion),
    }
    return row, study.params


def _train(setup: Setup, key: Array, problem: Problem, losses: tuple[Loss, Loss], init: Callable[[Array], PyTree]) -> processes.Study:
    train_loss_fn, eval_loss_fn = losses

    def evaluate(key, params, train, population):
        trace = curvature.trace(curvature.hessian(train_loss_fn, params, train), key, num_matvecs=SETTINGS["num_matvecs"])
        return {"trace": trace.value, "unseen_gap": _problem.unseen_gap(eval_loss_fn, params, train, population)}

    return processes.multi_seed_study(
        key,
        train_loss_fn,
        eval_loss_fn,
        init,
        problem.sample,
        problem.pool,
        **{name: SETTINGS[name] for name in ("n", "batch_size", "num_steps", "learning_rate")},
        num_seeds=setup.num_seeds,
        evaluate=evaluate,
        checkpoint=setup.checkpoint("training"),
    )


def _num_parameters(study: processes.Study) -> int:
    return sum(leaf[0].size for leaf in jax.tree.leaves(study.params))


def _dispersion(deviations: Array) -> Array:
    return deviations.sum(axis=0) / (deviations.shape[0] - 1)


def _amplitude(deviations: Array) -> Array:
    return bounds.trajectory_term(SETTINGS["learning_rate"], 1.0, _dispersion(deviations), SETTINGS["n"], SETTINGS["R"])


def _optimized(study: processes.Study) -> Bound:
    trace = study.evaluations["trace"].mean()
    return bounds.wang_mao_optimized(SETTINGS["learning_rate"], study.dispersion, trace, SETTINGS["n"], SETTINGS["R"])


def _heuristic_row(study: processes.Study, heuristic: Bound, sensitivity: dict) -> dict[str, Any]:
    def value(deviations, traces):
        return bounds.wang_mao_optimized(SETTINGS["learning_rate"], _dispersion(deviations), traces.mean(), SETTINGS["n"], SETTINGS["R"]).value

    traces, best = study.evaluations["trace"], heuristic.terms["noise_std"]
    second_order = SETTINGS["num_steps"] * best**2 * traces.mean() / 2
    return {
        "value": _estimate(seeds.jackknife(value, study.deviations, traces)),
        "trajectory": heuristic.terms["trajectory"],
        "flatness": heuristic.terms["flatness"],
        "noise_std": best,
        "certified": heuristic.certified,
        "why_not": "amplitude of the zero-one loss with the Hessian of the cross-entropy, to second order: a heuristic, not a bound",
        "vacuous": bool(heuristic.value >= 1),
        "measured_over_second_order_flatness": sensitivity["training_loss"].mean() / second_order,
    }


def _certified_row(study: processes.Study, sensitivity: dict, noise_stds: Array, index: int, *, whole: bool = False) -> dict[str, Any]:
    """The bound at one size of noise; `whole` adds what it assumes and whether it says anything."""
    d, num_steps = _num_parameters(study), SETTINGS["num_steps"]

    def certified(deviations, differences):
        stds, flatness = jnp.full(num_steps, noise_stds[index]), jnp.abs(differences.mean())
        return bounds.wang_mao(SETTINGS["learning_rate"], stds, _dispersion(deviations), flatness, SETTINGS["n"], SETTINGS["R"], form="log", d=d)

    differences = (sensitivity["train"] - sensitivity["population"])[:, index]
    bound = certified(study.deviations, differences)
    total = seeds.jackknife(lambda *sample: certified(*sample).value, study.deviations, differences)
    with_sampling_error = total.value + CONFIDENCE_QUANTILE * total.stderr
    row = {
        "noise_std": noise_stds[index],
        "trajectory": bound.terms["trajectory"],
        "flatness_two_sided": bound.terms["flatness"],
        "flatness_one_sided": sensitivity["train"][:, index].mean(),
        "total": _estimate(total),
        "with_sampling_error": with_sampling_error,
    }
    if whole:
        row |= {"certified": True, "assumptions": list(bound.assumptions), "vacuous": bool(with_sampling_error >= 1)}
    return row


def _sensitivities(train_loss_fn, eval_loss_fn, problem, seed, pool, variances):
    """What noise of each variance does to one trained net's zero-one loss on S and on the population, and to its training loss."""
    noise_key, sample_key, k, params = seed
    train, population = problem.sample(sample_key, pool, k)

    def sensitivity(loss_fn, batch, variance):
        return curvature.value_sensitivity(loss_fn, params, batch, noise_key, variance=variance, num_noise=SETTINGS["num_noise"]).value

    return {
        "train": jax.lax.map(partial(sensitivity, eval_loss_fn, train), variances),
        "population": jax.lax.map(partial(sensitivity, eval_loss_fn, population), variances),
        "training_loss": sensitivity(train_loss_fn, train, variances[-1]),
    }


def _estimate(estimate: Estimate) -> dict[str, Array]:
    return {"value": estimate.value, "stderr": estimate.stderr}


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["width", "noise", "gap", "A", "tr H", "", "sigma", "trajectory", "flatness", "value", ""]]
    for row in results["by_label_noise"] + [row for row in results["by_width"] if row not in results["by_label_noise"]]:
        heuristic, certified = row["heuristic"], row["certified"]
        gap = f"{row['gap']['value']:.3f} ± {row['gap']['stderr']:.3f}"
        cell = [str(row["width"]), f"{row['label_noise']:g}", gap, f"{row['amplitude']['value']:.4f}", f"{row['hessian_trace']['value']:.1f}"]
        lines = (
            ("heuristic", heuristic, heuristic["flatness"], heuristic["value"]["value"]),
            ("bound, 99%", certified, certified["flatness_two_sided"], certified["with_sampling_error"]),
        )
        for name, of, flatness, value in lines:
            numbers = [f"{of['noise_std']:.4f}", f"{of['trajectory']:.3f}", f"{flatness:.3f}", f"{value:.2f}"]
            rows.append([*cell, name, *numbers, "vacuous" if of["vacuous"] else ""])
            cell = [""] * len(cell)
    return rows


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.sgd_bound(results)
