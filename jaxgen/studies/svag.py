"""SVAG with more and more steps for one of SGD: if its accuracy and loss stay, SGD is as good as its equation (SDE-16, SDE-20).

Li, Malladi and Arora 2021 on small images, from the same starts. SGD with the small learning rate eta / l and nothing done for
its noise, the control, has another equation.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from jaxgen import models, processes, seeds
from jaxgen.studies import _paths
from jaxgen.studies._problem import Setup

TITLE = "SGD against SVAG, which tends to its stochastic differential equation"
DEFAULT_SEEDS = 16
SETTINGS: dict[str, Any] = {
    "n": 1024,
    "num_test": 2000,
    "width": 64,
    "batch_size": 16,
    "learning_rate": 0.2,
    "num_steps": 800,
    "num_records": 20,
    "refinements": [1, 2, 4, 8],
}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the final parameters of its nets."""
    pool_key, seeds_key = jax.random.split(setup.key)
    pool = _paths.pool(setup, pool_key, SETTINGS["n"], SETTINGS["num_test"])
    keys = jax.random.split(seeds_key, setup.num_seeds)
    model = models.mlp((SETTINGS["width"], setup.dataset.num_classes))
    most = SETTINGS["refinements"][-1]
    processes_of = {f"svag-{refinement}": (refinement, True) for refinement in SETTINGS["refinements"]}
    found, params = {}, {}
    for name, (refinement, enlarged) in {"sgd": (1, False), **processes_of, f"small-{most}": (most, False)}.items():
        part = setup.part(name)
        params[name], found[name] = seeds.run(training(model, refinement, enlarged), keys, pool, checkpoint=part.folder)
    reference = found["sgd"]

    def row(name: str, refinement: int) -> dict[str, Any]:
        return {"l": refinement, **_paths.summary(found[name]), "minus_sgd": _paths.compare(found[name], reference)}

    every = SETTINGS["num_steps"] // SETTINGS["num_records"]
    results = {
        "n": len(pool["y"]),
        "times": SETTINGS["learning_rate"] * every * jnp.arange(reference["train_loss"].shape[1]),
        "sgd": _paths.summary(reference),
        "runs": [row(name, refinement) for name, (refinement, _) in processes_of.items()],
        "control": row(f"small-{most}", most),
    }
    return results, params


def training(model: models.Model, refinement: int, enlarged: bool) -> Any:
    """A function of one key and the images: final parameters, and what is measured along the way at the times of all processes.

    Args:
        model: the net.
        refinement: l, steps for one of SGD.
        enlarged: SVAG; otherwise SGD with learning rate eta / l.
    """
    loss_fn, measure = _paths.losses(model)
    num_steps, rate = refinement * SETTINGS["num_steps"], SETTINGS["learning_rate"]
    every = num_steps // SETTINGS["num_records"]

    def one_seed(key: Key[Array, ""], pool: PyTree) -> tuple[PyTree, dict[str, Array]]:
        init_key, batch_key = jax.random.split(key)
        own = jax.random.fold_in(batch_key, 2 * refinement + enlarged)
        rows = processes.batch_indices(own, len(pool["y"]), 2 * SETTINGS["batch_size"], num_steps, mode="iid")
        first, second = jnp.split(rows, 2, axis=1)
        start, train = model.init(init_key, pool["x"][:1]), (pool["x"], pool["y"])

        def record(params: PyTree, gradient: PyTree, t: Any) -> dict[str, Array]:
            return measure(params, pool)

        if enlarged:
            params, records = processes.svag(key, loss_fn, start, train, first, second, rate, refinement, record=record, every=every)
        else:
            params, records = processes.sgd(key, loss_fn, start, train, first, rate / refinement, record=record, every=every)
        return params, _paths.with_end(records, measure(params, pool))

    return one_seed


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["process", "test accuracy", "minus SGD's", "test loss", "minus SGD's", "train loss", "minus SGD's"]]
    names = ("test_accuracy", "test_loss", "train_loss")
    rows.append(["SGD", *(cell for name in names for cell in (_paths.plus_minus(results["sgd"]["last"][name]), ""))])
    for row in [*results["runs"], results["control"]]:
        process = f"SVAG, l = {row['l']}" if row is not results["control"] else f"SGD, rate / {row['l']}"
        cells = (_paths.plus_minus(part["last"][name]) for name in names for part in (row, row["minus_sgd"]))
        rows.append([process, *cells])
    return rows


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.svag(results)
