"""The information bound for SGD against the gap it bounds, as width and label noise vary (INFO-33).

Fig. 1 of Wang and Mao 2022 on small images, with what that figure leaves out: both terms and the noise they were computed
at, which of the numbers are bounds, and their standard errors over seeds.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxgen import bounds, curvature, processes, seeds
from jaxgen._core.results import Estimate
from jaxgen.data import Dataset
from jaxgen.studies import _problem

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


def compute(dataset: Dataset, *, data_name: str, num_seeds: int, key: Array, folder: Path, progress: Callable[[str], None]) -> tuple[dict, PyTree]:
    """Every number of the study, and the final parameters of its nets.

    Args:
        dataset: images and labels.
        data_name: name of the data set, which chooses the net.
        num_seeds: K.
        key: the only source of randomness.
        folder: where checkpoints go.
        progress: told what is being computed.
    """
    noises, widths = SETTINGS["label_noises"], SETTINGS["widths"]
    cells = [(SETTINGS["width"], noise) for noise in noises] + [(width, noises[0]) for width in widths if width != SETTINGS["width"]]
    rows, params = [], {}
    for width, noise in cells:
        name = f"width-{width}-noise-{noise}"
        progress(name)
        row, params[name] = cell(dataset, data_name, width, noise, num_seeds, key, folder / name)
        rows.append(row)
    by_noise = [next(row for row in rows if row["width"] == SETTINGS["width"] and row["label_noise"] == noise) for noise in noises]
    by_width = [next(row for row in rows if row["width"] == width and row["label_noise"] == noises[0]) for width in widths]
    return {"population": rows[0].pop("population"), "by_label_noise": by_noise, "by_width": by_width}, params


def cell(dataset: Dataset, data_name: str, width: int, noise: float, num_seeds: int, key: Array, folder: Path | None = None) -> tuple[dict, PyTree]:
    """One width and noise level: the study over K seeds, then the flatness of its nets at several sizes of noise.

    Args:
        dataset: images and labels.
        data_name: name of the data set, which chooses the net.
        width: width of the net.
        noise: probability of a random label.
        num_seeds: K.
        key: the only source of randomness.
        folder: where checkpoints go; none are kept without it.
    """
    problem_key, study_key, flatness_key = jax.random.split(key, 3)
    n, rate, R = SETTINGS["n"], SETTINGS["learning_rate"], SETTINGS["R"]
    num_steps = SETTINGS["num_steps"]
    problem = _problem.make(dataset, problem_key, n=n, num_seeds=num_seeds, label_noise=noise)
    model = _problem.network(data_name, width, problem.num_classes)
    train_loss_fn, eval_loss_fn = _problem.losses(model.apply)

    def evaluate(key, params, train, population):
        trace = curvature.trace(curvature.hessian(train_loss_fn, params, train), key, num_matvecs=SETTINGS["num_matvecs"])
        return {"trace": trace.value, "unseen_gap": _problem.unseen_gap(eval_loss_fn, params, train, population)}

    study = processes.multi_seed_study(
        study_key,
        train_loss_fn,
        eval_loss_fn,
        lambda key: model.init(key, dataset.x_train[:1]),
        problem.sample,
        problem.pool,
        n=n,
        batch_size=SETTINGS["batch_size"],
        num_steps=num_steps,
        learning_rate=rate,
        num_seeds=num_seeds,
        evaluate=evaluate,
        checkpoint=None if folder is None else folder / "training",
    )

    num_parameters = sum(leaf[0].size for leaf in jax.tree.leaves(study.params))

    def dispersion(deviations):
        return deviations.sum(axis=0) / (deviations.shape[0] - 1)

    def amplitude(deviations):
        return bounds.trajectory_term(rate, 1.0, dispersion(deviations), n, R)

    def optimized(deviations, traces):
        return bounds.wang_mao_optimized(rate, dispersion(deviations), traces.mean(), n, R).value

    heuristic = bounds.wang_mao_optimized(rate, study.dispersion, study.evaluations["trace"].mean(), n, R)
    best = heuristic.terms["noise_std"]
    noise_stds = jnp.concatenate([jnp.asarray(SETTINGS["noise_grid"], best.dtype), best[None]])
    sensitivity = seeds.run(
        partial(_sensitivities, train_loss_fn, eval_loss_fn, problem),
        (jax.random.split(flatness_key, num_seeds), study.sample_keys, jnp.arange(num_seeds), study.params),
        problem.pool,
        noise_stds**2 * num_steps,
        checkpoint=None if folder is None else folder / "flatness",
    )
    difference = sensitivity["train"] - sensitivity["population"]

    def certified(deviations, differences, index):
        flatness = jnp.abs(differences[:, index].mean())
        return bounds.wang_mao(rate, jnp.full(num_steps, noise_stds[index]), dispersion(deviations), flatness, n, R, form="log", d=num_parameters)

    def at(index):
        bound = certified(study.deviations, difference, index)
        total = seeds.jackknife(lambda deviations, differences: certified(deviations, differences, index).value, study.deviations, difference)
        return {
            "noise_std": noise_stds[index],
            "trajectory": bound.terms["trajectory"],
            "flatness_two_sided": bound.terms["flatness"],
            "flatness_one_sided": sensitivity["train"][:, index].mean(),
            "total": _estimate(total),
            "with_sampling_error": total.value + CONFIDENCE_QUANTILE * total.stderr,
        }

    taylor = num_steps * best**2 * study.evaluations["trace"].mean() / 2
    row = {
        "population": problem.population,
        "width": width,
        "label_noise": noise,
        "num_parameters": num_parameters,
        "train_error": _estimate(seeds.mean(study.gap.train_risks)),
        "test_error": _estimate(seeds.mean(study.gap.train_risks + study.evaluations["unseen_gap"])),
        "gap": _estimate(seeds.mean(study.evaluations["unseen_gap"])),
        "population_gap": _estimate(Estimate(study.gap.value, study.gap.stderr)),
        "amplitude": _estimate(seeds.jackknife(amplitude, study.deviations)),
        "hessian_trace": _estimate(seeds.mean(study.evaluations["trace"])),
        "heuristic": {
            "value": _estimate(seeds.jackknife(optimized, study.deviations, study.evaluations["trace"])),
            "trajectory": heuristic.terms["trajectory"],
            "flatness": heuristic.terms["flatness"],
            "noise_std": best,
            "certified": heuristic.certified,
            "why_not": "amplitude of the zero-one loss with the Hessian of the cross-entropy, to second order: a heuristic, not a bound",
            "vacuous": bool(heuristic.value >= 1),
            "measured_over_second_order_flatness": sensitivity["training_loss"].mean() / taylor,
        },
        "certified": at(len(noise_stds) - 1) | {"certified": True, "assumptions": list(certified(study.deviations, difference, -1).assumptions)},
        "by_noise_std": [at(index) for index in range(len(SETTINGS["noise_grid"]))],
        "dispersion": np.asarray(study.dispersion),
    }
    row["certified"]["vacuous"] = bool(row["certified"]["with_sampling_error"] >= 1)
    return row, study.params


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
