"""How far the linear scaling rule goes: batches and learning rate kappa times as large, up to the full batch (SDE-4, SDE-13).

The rule keeps the stochastic differential equation of SGD as long as kappa eta is small beside the inverse of the curvature. At
the same times the square-root rule, the contrast, has another equation from the start. Batches are drawn without replacement, so
that the full batch is gradient descent, without noise.
"""

import math
from itertools import takewhile
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from jaxgen import models, processes, seeds
from jaxgen.studies import _paths
from jaxgen.studies._problem import Setup

TITLE = "linear scaling of the learning rate with the batch size, against square-root scaling"
DEFAULT_SEEDS = 16
SETTINGS: dict[str, Any] = {
    "n": 1024,
    "num_test": 2000,
    "width": 64,
    "batch_size": 2,
    "learning_rate": 0.05,
    "num_steps": 4096,
    "num_records": 8,
    "kappas": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    "root_kappas": [4, 16, 64, 256],
    "num_stderrs": 3.0,
}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the final parameters of its nets."""
    pool_key, seeds_key = jax.random.split(setup.key)
    pool = _paths.pool(setup, pool_key, SETTINGS["n"], SETTINGS["num_test"])
    keys = jax.random.split(seeds_key, setup.num_seeds)
    model = models.mlp((SETTINGS["width"], setup.dataset.num_classes))
    scaled = {("linear", kappa): linear(kappa) for kappa in SETTINGS["kappas"]}
    scaled |= {("root", kappa): square_root(kappa) for kappa in SETTINGS["root_kappas"]}
    found, params = {}, {}
    for (rule, kappa), setting in scaled.items():
        name = f"{rule}-{kappa}"
        part = setup.part(name)
        params[name], found[rule, kappa] = seeds.run(training(model, setting), keys, pool, checkpoint=part.folder)
    n, reference = len(pool["y"]), found["linear", 1]

    def row(rule: str, kappa: int) -> dict[str, Any]:
        setting = scaled[rule, kappa]
        return {
            "kappa": kappa,
            "batch_size": setting.batch_size,
            "learning_rate": setting.learning_rate,
            "noise_over_base": noise_scale(setting, n) / noise_scale(scaled["linear", 1], n),
            **_paths.summary(found[rule, kappa]),
            "minus_base": _paths.compare(found[rule, kappa], reference),
        }

    every = SETTINGS["num_steps"] // SETTINGS["num_records"]
    results = {
        "n": n,
        "times": SETTINGS["learning_rate"] * every * jnp.arange(SETTINGS["num_records"] + 1),
        "linear": [row(*one) for one in scaled if one[0] == "linear"],
        "root": [row(*one) for one in scaled if one[0] == "root"],
    }
    results["holds_up_to"] = {rule: holds_up_to(results[rule]) for rule in ("linear", "root")}
    return results, params


def holds_up_to(rows: list[dict[str, Any]]) -> int:
    """The largest kappa up to which these seeds cannot tell the training loss at the end from that of kappa = 1.

    Args:
        rows: a rule's results, by kappa.
    """

    def within(row: dict[str, Any]) -> bool:
        difference = row["minus_base"]["last"]["train_loss"]
        return bool(abs(difference["value"]) <= SETTINGS["num_stderrs"] * difference["stderr"])

    return max([1, *(row["kappa"] for row in takewhile(within, rows))])


def linear(kappa: int) -> processes.Scaled:
    """The setting by the linear rule."""
    return processes.linear_scaling(SETTINGS["learning_rate"], SETTINGS["batch_size"], SETTINGS["num_steps"], kappa)


def square_root(kappa: int) -> processes.Scaled:
    """The setting by the square-root rule, for the same time."""
    root = math.isqrt(kappa)
    return processes.Scaled(jnp.asarray(root * SETTINGS["learning_rate"]), kappa * SETTINGS["batch_size"], SETTINGS["num_steps"] // root)


def noise_scale(setting: processes.Scaled, n: int) -> Array:
    """sqrt(eta) sigma for batches without replacement; nothing is left of it at the full batch."""
    variance = (n - setting.batch_size) / (setting.batch_size * (n - 1))
    return jnp.sqrt(setting.learning_rate * variance)


def training(model: models.Model, setting: processes.Scaled) -> Any:
    """A function of one key and the images: final parameters, and what is measured along the way at the times of all settings.

    Args:
        model: the net.
        setting: learning rate, batch size and number of steps.
    """
    loss_fn, measure = _paths.losses(model)
    every = setting.num_steps // SETTINGS["num_records"]

    def one_seed(key: Key[Array, ""], pool: PyTree) -> tuple[PyTree, dict[str, Array]]:
        init_key, batch_key = jax.random.split(key)
        own = jax.random.fold_in(jax.random.fold_in(batch_key, setting.batch_size), setting.num_steps)
        rows = processes.batch_indices(own, len(pool["y"]), setting.batch_size, setting.num_steps, mode="without_replacement")

        def record(params: PyTree, gradient: PyTree, t: Any) -> dict[str, Array]:
            return measure(params, pool)

        start, train = model.init(init_key, pool["x"][:1]), (pool["x"], pool["y"])
        params, records = processes.sgd(key, loss_fn, start, train, rows, setting.learning_rate, record=record, every=every)
        return params, _paths.with_end(records, measure(params, pool))

    return one_seed


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["rule", "kappa", "batch", "rate", "noise", "test accuracy", "train loss", "minus kappa 1", "farthest"]]
    for rule in ("linear", "root"):
        for row in results[rule]:
            settings = [str(row["kappa"]), str(row["batch_size"]), f"{row['learning_rate']:.2f}", f"{row['noise_over_base']:.2f}"]
            last, off = row["last"], row["minus_base"]
            cells = (last["test_accuracy"], last["train_loss"], off["last"]["train_loss"], off["largest"]["train_loss"])
            rows.append([rule, *settings, *map(_paths.plus_minus, cells)])
    reason = f"within {SETTINGS['num_stderrs']:g} stderr"
    return rows + [[rule, f"to {kappa}", "", "", "", "", "", reason, ""] for rule, kappa in results["holds_up_to"].items()]


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.scaling_rule(results)
