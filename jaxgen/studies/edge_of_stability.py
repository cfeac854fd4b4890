"""The edge of stability on small images: full-batch gradient descent sharpens a net until its step size can bear no more (OPT-20).

Cohen et al. 2021 with squared loss, for which the sharpness stays at 2/eta; that of cross-entropy falls late in training.
A step size too small to get there in the same number of steps is the control.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen import models, optimization, seeds
from jaxgen.studies import _problem
from jaxgen.studies._problem import Setup

TITLE = "sharpness along full-batch gradient descent"
DEFAULT_SEEDS = 6
SETTINGS: dict[str, Any] = {
    "n": 1000,
    "num_steps": 10000,
    "every": 100,
    "num_matvecs": 10,
    "learning_rates": [0.4, 0.25, 0.18],
    "control_learning_rate": 0.02,
    "width": 64,
    "squared_norm": 5.0,
    "last": 20,
    "loss_every": 20,
}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the final parameters of its nets."""
    part = setup.part("descent")
    problem_key, seeds_key = jax.random.split(setup.key)
    problem = _problem.make(setup.dataset, problem_key, n=SETTINGS["n"], num_seeds=setup.num_seeds, label_noise=0.0)
    model = models.mlp((SETTINGS["width"], SETTINGS["width"], problem.num_classes), activation="tanh")
    loss_fn = models.loss_fn(model.apply, "squared")

    def one_run(run, pool):
        (seed_key, k), learning_rate = run
        sample_key, init_key, start_key = jax.random.split(seed_key, 3)
        train, _ = problem.sample(sample_key, pool, k)
        x = standardized(train["x"])
        lengths = {name: SETTINGS[name] for name in ("num_steps", "every", "num_matvecs")}
        return optimization.sharpness_along_gd(
            start_key, loss_fn, model.init(init_key, x[:1]), (x, train["p"]), learning_rate=learning_rate, **lengths
        )

    rates = [*SETTINGS["learning_rates"], SETTINGS["control_learning_rate"]]
    of_seeds = jax.random.split(seeds_key, setup.num_seeds), jnp.arange(setup.num_seeds)
    runs = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(rates)), of_seeds), jnp.repeat(jnp.array(rates), setup.num_seeds)
    found = seeds.run(one_run, runs, problem.pool, checkpoint=part.folder)
    by_rate = jax.tree.map(lambda leaf: leaf.reshape(len(rates), setup.num_seeds, *leaf.shape[1:]), found)
    rows = [summary(rate, jax.tree.map(lambda leaf, i=i: leaf[i], by_rate)) for i, rate in enumerate(rates)]
    params = {f"rate-{rate}": jax.tree.map(lambda leaf, i=i: leaf[i], by_rate.params) for i, rate in enumerate(rates)}
    return {"runs": rows[:-1], "control": rows[-1]}, params


def standardized(x: Array) -> Float[Array, "n d"]:
    """Examples about their mean, scaled to one mean squared norm for all data sets: step sizes then mean the same on each."""
    x = x.reshape(len(x), -1)
    x = x - x.mean(axis=0)
    return x * jnp.sqrt(SETTINGS["squared_norm"] / jnp.mean(jnp.sum(x**2, axis=1)))


def summary(learning_rate: float, found: optimization.SharpnessAlongGD) -> dict[str, Any]:
    """What is reported of all seeds at one step size.

    Args:
        learning_rate: step size.
        found: records with a leading axis of seeds.
    """
    threshold = optimization.stability_threshold(learning_rate)
    settled = found.sharpness[:, -SETTINGS["last"] :].mean(axis=1)
    return {
        "learning_rate": learning_rate,
        "threshold": threshold,
        "sharpness": found.sharpness,
        "settled": settled,
        "settled_over_threshold": seeds.mean(settled / threshold)._asdict(),
        "largest_residual": jnp.max((found.residuals / jnp.abs(found.sharpness))[:, 1:]),
        "num_increases": found.num_increases,
        "final_loss": found.losses[:, -1],
        "loss": found.losses[0, :: SETTINGS["loss_every"]],
    }


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["learning rate", "2 / rate", "first sharpness", "highest", "last over 2 / rate", "rises of the loss", "final loss"]]
    for run in [*results["runs"], results["control"]]:
        ratio, increases = run["settled_over_threshold"], run["num_increases"]
        rows.append(
            [
                f"{run['learning_rate']:g}",
                f"{run['threshold']:.1f}",
                f"{_mean([one[0] for one in run['sharpness']]):.1f}",
                f"{_mean([max(one) for one in run['sharpness']]):.1f}",
                f"{ratio['value']:.3f} ± {ratio['stderr']:.3f}",
                f"{min(increases)} to {max(increases)}",
                f"{_mean(run['final_loss']):.4f}",
            ]
        )
    return rows


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.edge_of_stability(results, every=SETTINGS["every"], loss_every=SETTINGS["loss_every"])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
