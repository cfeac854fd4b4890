"""Which complexity measure ranks nets by their generalization gap (GEN-42; Jiang et al. 2020).

Nets of several widths, learning rates, batch sizes and fractions of random labels, each trained until its cross-entropy is
below one target, so that a measure cannot tell them apart by how well they fit. Of every measure Kendall's tau with the gap,
over all nets of a seed and within groups in which one hyperparameter alone varies. Random labels are part of the population:
the gap is the error on fresh examples with labels as random as those of the training set, minus the training error.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import bounds, data, models, processes, seeds
from jaxgen.studies import _problem
from jaxgen.studies._problem import Setup

TITLE = "complexity measures that rank generalization gaps"
DEFAULT_SEEDS = 4
SETTINGS: dict[str, Any] = {
    "n": 300,
    "widths": [32, 64, 128, 256],
    "batch_sizes": [10, 50],
    "learning_rates": [0.1, 0.3],
    "label_noises": [0.0, 0.1, 0.2],
    "target_loss": 0.05,
    "max_epochs": 600,
    "measures": None,
    "num_draws": 5,
    "num_steps": 3,
    "num_bisections": 10,
}
AXES = ("width", "batch size", "learning rate", "label noise")


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the trained nets."""
    rows_key, seeds_key = jax.random.split(setup.key)
    dataset = setup.dataset
    drawn = data.subsets(rows_key, len(dataset.y_train), SETTINGS["n"], setup.num_seeds)
    keys = jax.random.split(seeds_key, setup.num_seeds)
    images = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    found, params = [], {}
    for width in SETTINGS["widths"]:
        part = setup.part(f"width-{width}")
        one_seed = of_width(setup.data_name, width, dataset.num_classes)
        numbers, params[f"width-{width}"] = seeds.run(one_seed, (keys, drawn.indices), images, checkpoint=part.folder)
        found.append(numbers)
    nets = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *found)
    grid = np.array(list(itertools.product(*(SETTINGS[name] for name in ("widths", "batch_sizes", "learning_rates", "label_noises")))))
    ranks = [ranking(*jax.tree.map(lambda leaf, k=k: leaf[k], nets), grid=grid) for k in range(setup.num_seeds)]
    by_measure = jax.tree.map(lambda *values: jnp.stack(values), *(rank["measures"] for rank in ranks))
    results = {
        "n": SETTINGS["n"],
        "disjoint": drawn.disjoint,
        "axes": list(AXES),
        "grid": grid,
        "measured": {"measures": nets[0], **nets[1]},
        "ranked": [rank["ranked"] for rank in ranks],
        "kendall": {name: seeds.mean(values["tau"])._asdict() for name, values in by_measure.items()},
        "by_axis": {name: seeds.mean(values["by_axis"])._asdict() for name, values in by_measure.items()},
        "granulated": {name: seeds.mean(jnp.nanmean(values["by_axis"], axis=1))._asdict() for name, values in by_measure.items()},
    }
    return results, params


def of_width(data_name: str, width: int, num_classes: int) -> Any:
    """A function of one seed and the images: measures, errors and parameters of its nets of that width, a row for each.

    Args:
        data_name: name of the data set, which chooses the net.
        width: of the net.
        num_classes: C.
    """
    model = _problem.network(data_name, width, num_classes)

    def one_seed(seed: tuple[Key[Array, ""], Array], images: tuple[Array, ...]) -> tuple[tuple[dict, dict], PyTree]:
        key, rows = seed
        init_key, label_key, batch_key, noise_key = jax.random.split(jax.random.fold_in(key, width), 4)
        x, y, x_test, y_test = images[0][rows], images[1][rows], *images[2:]
        start = model.init(init_key, x[:1])
        pairs = jnp.array(list(itertools.product(SETTINGS["learning_rates"], SETTINGS["label_noises"])), x.dtype)

        def labels_of(noise: Array) -> Array:
            return data.corrupt_labels(label_key, y, noise, num_classes)

        def train(batch_size: int) -> tuple[PyTree, Array]:
            return jax.lax.map(lambda pair: trained(batch_key, model, start, x, labels_of(pair[1]), batch_size, pair[0]), pairs)

        params, epochs = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(train(size) for size in SETTINGS["batch_sizes"]))
        noises = jnp.tile(pairs[:, 1], len(SETTINGS["batch_sizes"]))

        def measured(net: tuple[PyTree, Array]) -> tuple[dict, dict]:
            params, noise = net
            labels, budgets = labels_of(noise), {name: SETTINGS[name] for name in ("num_draws", "num_steps", "num_bisections")}
            found = bounds.complexity_measures(model.apply, params, start, x, labels, key=noise_key, names=SETTINGS["measures"], **budgets)
            error = models.zero_one(model.apply(params, x_test), y_test).mean()
            fresh = (1 - noise) * error + noise * (1 - 1 / num_classes)
            errors = {"train_error": models.zero_one(model.apply(params, x), labels).mean(), "test_error": fresh}
            return found, errors | {"gap": errors["test_error"] - errors["train_error"]}

        found, errors = jax.lax.map(measured, (params, noises))
        return (found, errors | {"epochs": epochs}), params

    return one_seed


def trained(
    key: Key[Array, ""], model: models.Model, params: PyTree, x: Array, y: Array, batch_size: int, learning_rate: Array
) -> tuple[PyTree, Array]:
    """Parameters after SGD, epoch by epoch until the cross-entropy is below the target, and the number of epochs.

    Args:
        key: of the order of the examples.
        model: the net.
        params: where it starts.
        x: inputs.
        y: labels.
        batch_size: examples in a step.
        learning_rate: step size.
    """
    loss_fn = models.loss_fn(model.apply, "cross_entropy")

    def goes_on(state: tuple[PyTree, Array]) -> Array:
        params, epoch = state
        return (epoch < SETTINGS["max_epochs"]) & (loss_fn(params, (x, y)).mean() > SETTINGS["target_loss"])

    def one_epoch(state: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        params, epoch = state
        own = jax.random.fold_in(key, epoch)
        rows = processes.batch_indices(own, len(y), batch_size, len(y) // batch_size)
        return processes.sgd(own, loss_fn, params, (x, y), rows, learning_rate)[0], epoch + 1

    return jax.lax.while_loop(goes_on, one_epoch, (params, jnp.zeros((), int)))


def ranking(measures: dict[str, Array], errors: dict[str, Array], *, grid: Float[np.ndarray, "C 4"]) -> dict[str, Any]:
    """Kendall's tau of every measure with the gap, over the nets that reached the target and have every measure.

    Args:
        measures: every measure, a number for each net.
        errors: `"gap"` and `"epochs"` among them.
        grid: hyperparameters, a row for each net.
    """
    values = np.stack([np.asarray(value) for value in measures.values()])
    kept = np.isfinite(values).all(axis=0) & (np.asarray(errors["epochs"]) < SETTINGS["max_epochs"])
    gap, chosen = jnp.asarray(errors["gap"])[kept], jnp.asarray(values[:, kept])
    columns = jnp.asarray(np.stack([np.unique(column, return_inverse=True)[1] for column in grid.T], axis=1)[kept])
    taus = jax.vmap(lambda measure: bounds.kendall_tau(measure, gap))(chosen)
    by_axis = jax.vmap(lambda measure: bounds.granulated_kendall(measure, gap, columns, per_axis=True))(chosen)
    return {"ranked": int(kept.sum()), "measures": {name: {"tau": taus[i], "by_axis": by_axis[i]} for i, name in enumerate(measures)}}


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head; the measures that rank best first."""
    rows = [["measure", "tau", *results["axes"], "mean over axes"]]
    for name in best_first(results):
        tau, overall = results["kendall"][name], results["granulated"][name]
        by_axis = [f"{value:.2f}" for value in results["by_axis"][name]["value"]]
        rows.append([name, f"{tau['value']:.2f} ± {tau['stderr']:.2f}", *by_axis, f"{overall['value']:.2f} ± {overall['stderr']:.2f}"])
    return rows


def best_first(results: dict) -> list[str]:
    """Names of the measures, those with the largest tau first."""
    return sorted(results["kendall"], key=lambda name: -results["kendall"][name]["value"])


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.measures(results)
