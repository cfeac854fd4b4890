"""Gradient dispersion along training: it falls, rises to a peak while noisy labels are memorized, and falls for good (INFO-34).

Fig. 2 of Wang and Mao 2022 on small images. A run with a learning rate too small to fit the labels is the control: no peak.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxgen import data, gradients, processes, seeds
from jaxgen.studies import _problem
from jaxgen.studies._problem import Setup

TITLE = "the three phases of gradient dispersion"
DEFAULT_SEEDS = 12
SETTINGS: dict[str, Any] = {
    "n": 500,
    "batch_size": 20,
    "num_steps": 12000,
    "early_steps": 200,
    "every": 20,
    "learning_rate": 0.1,
    "control_learning_rate": 1e-4,
    "width": 64,
    "label_noises": [0.2, 0.4],
    "bin": 500,
    "num_test": 2000,
}
AXIS = "seeds"


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the final parameters of its nets."""
    noises = SETTINGS["label_noises"]
    runs = [(noise, SETTINGS["learning_rate"]) for noise in noises] + [(noises[0], SETTINGS["control_learning_rate"])]
    rows, params = [], {}
    for noise, rate in runs:
        name = f"noise-{noise}-rate-{rate}"
        row, params[name] = training(setup.part(name), noise, rate)
        rows.append(row)
    return {"population": rows[0]["population"], "runs": rows[:-1], "control": rows[-1]}, params


def training(setup: Setup, label_noise: float, learning_rate: float) -> tuple[dict, PyTree]:
    """Trains K nets in lock step; their dispersion and errors along the way, and where the phases meet.

    Args:
        setup: data, number of seeds, key, folder.
        label_noise: fraction of random labels in the population.
        learning_rate: step size.
    """
    dataset = setup.dataset
    problem_key, train_key, test_key, seeds_key = jax.random.split(setup.key, 4)
    # An image drawn twice must have one label, or it cannot be memorized: the noise is part of the population here.
    y_train = data.corrupt_labels(train_key, dataset.y_train, label_noise, dataset.num_classes)
    y_test = data.corrupt_labels(test_key, dataset.y_test, label_noise, dataset.num_classes)
    noisy = dataclasses.replace(dataset, y_train=y_train, y_test=y_test)
    problem = _problem.make(noisy, problem_key, n=SETTINGS["n"], num_seeds=setup.num_seeds, label_noise=0.0)
    model = _problem.network(setup.data_name, SETTINGS["width"], problem.num_classes)
    train_loss_fn, eval_loss_fn = _problem.losses(model.apply)

    def one_seed(seed, pool, learning_rate, *, num_steps, every):
        seed_key, k = seed
        sample_key, batch_key, init_key = jax.random.split(seed_key, 3)
        train, population = problem.sample(sample_key, pool, k)
        seen = jax.tree.map(lambda a: a[: SETTINGS["num_test"]], population)

        def record(params, gradient, t):
            gap = _problem.unseen_gap(eval_loss_fn, params, train, seen)
            train_error = eval_loss_fn(params, train).mean()
            return {"dispersion": gradients.seed_dispersion(gradient, axis_name=AXIS), "train_error": train_error, "test_error": train_error + gap}

        rows = processes.batch_indices(batch_key, SETTINGS["n"], SETTINGS["batch_size"], num_steps)
        params = model.init(init_key, train["x"][:1])
        return processes.sgd(batch_key, train_loss_fn, params, train, rows, learning_rate, record=record, every=every)

    keys = (jax.random.split(seeds_key, setup.num_seeds), jnp.arange(setup.num_seeds))

    def run(name, **lengths):
        checkpoint = setup.checkpoint(name)
        params, records = seeds.run(partial(one_seed, **lengths), keys, problem.pool, learning_rate, axis_name=AXIS, checkpoint=checkpoint)
        errors = {error: records[error].mean(axis=0) for error in ("train_error", "test_error")}
        return params, {"dispersion": records["dispersion"][0], **errors}

    _, early = run("early", num_steps=SETTINGS["early_steps"], every=1)
    params, late = run("late", num_steps=SETTINGS["num_steps"], every=SETTINGS["every"])
    return {
        "population": problem.population,
        "label_noise": label_noise,
        "learning_rate": learning_rate,
        "early": early,
        "late": late,
        "phases": phases(late["dispersion"]),
    }, params


def phases(dispersion: Array) -> dict[str, Any]:
    """Where the phases meet, on averages over bins; a peak in the first or the last bin is none.

    Args:
        dispersion: dispersion at every recorded step.
    """
    window = SETTINGS["bin"] // SETTINGS["every"]
    bins = dispersion[: len(dispersion) // window * window].reshape(-1, window).mean(axis=1)
    found = processes.phase_segmentation(dispersion, window=window)
    peak_bin = int(found.t_peak) // window
    rises = bool(bins[peak_bin] > bins[int(found.t_min) // window])
    return {
        "binned": bins,
        "t_min": int(found.t_min) * SETTINGS["every"],
        "t_peak": int(found.t_peak) * SETTINGS["every"],
        "peak": bins[peak_bin],
        "interior_peak": rises and 0 < peak_bin < len(bins) - 1,
        "peak_over_last": bins[peak_bin] / bins[-1],
    }


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["label noise", "learning rate", "first 20 steps", "lowest of 200", "peak", "at step", "peak / last", "train error", "test error"]]
    for run in [*results["runs"], results["control"]]:
        phase, early, late = run["phases"], run["early"]["dispersion"], run["late"]
        smooth = [sum(early[i : i + 20]) / 20 for i in range(0, len(early), 20)]
        peak = [f"{phase['peak']:.2f}", str(phase["t_peak"]), f"{phase['peak_over_last']:.1f}"] if phase["interior_peak"] else ["none", "", ""]
        rows.append(
            [
                f"{run['label_noise']:.1f}",
                f"{run['learning_rate']:g}",
                f"{smooth[0]:.2f}",
                f"{min(smooth):.2f}",
                *peak,
                f"{late['train_error'][-1]:.3f}",
                f"{late['test_error'][-1]:.3f}",
            ]
        )
    return rows


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.dispersion(results, every=SETTINGS["every"])
