"""How near a trained ReLU net comes to the first-order conditions of its max-margin program (BIAS-32, BIAS-33, BIAS-34).

Images of two classes, of norm one; bias-free ReLU nets, each seed a start, trained on the exponential loss with steps that make its
logarithm fall by as much as they are told, far beyond where the loss is zero in floating point. Along the way: the KKT residual with
the best multipliers and with those of the loss itself, the normalized and the smoothed margin. Beside them the residual of the start,
with the labels that it predicts, and that of the same net trained on the squared loss, the control, which need not vanish.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import data, implicit_bias, models, seeds
from jaxgen.models import Model
from jaxgen.studies import _two_classes
from jaxgen.studies._problem import Setup

TITLE = "KKT residual and margin of ReLU nets trained to vanishing loss"
DEFAULT_SEEDS = 8
SETTINGS: dict[str, Any] = {
    "classes": [3, 8],
    "n": 250,
    "num_test": 1000,
    "widths": [100],
    "depths_of_loss": [2.0, 3.0, 4.6, 7.0, 10.6, 16.1, 24.4, 37.0, 56.2, 85.3, 129.5, 196.6, 298.4, 452.9],
    "steps_between": 1000,
    "squared_learning_rate": 0.3,
}
MEASURED = ("stationarity", "loss_stationarity", "complementarity", "normalized_margin", "smoothed_margin", "support")
ENDS = ("start", "squared", "squared_error", "test_error", "squared_test_error")


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the nets at the end."""
    rows_key, seeds_key = jax.random.split(setup.key)
    images = _two_classes.two_classes(setup.dataset, SETTINGS["classes"])
    rows = data.subsets(rows_key, len(images.y), min(SETTINGS["n"], len(images.y)), 1).indices[0]
    pool = images._replace(
        x=images.x[rows], y=images.y[rows], x_test=images.x_test[: SETTINGS["num_test"]], y_test=images.y_test[: SETTINGS["num_test"]]
    )
    keys = jax.random.split(seeds_key, setup.num_seeds)
    found, params = seeds.run(one_seed, keys, pool, checkpoint=setup.part("training").folder)
    measured = {name: found[name] for name in ("log_loss", *MEASURED)}
    results = {
        "n": len(rows),
        "num_parameters": sum(leaf[0].size for leaf in jax.tree.leaves(params)),
        "measured": measured,
        "means": {name: seeds.mean(values)._asdict() for name, values in measured.items()},
        "ends": {name: seeds.mean(found[name])._asdict() for name in ENDS},
    }
    return results, params


def one_seed(key: Key[Array, ""], images: _two_classes.TwoClasses) -> tuple[dict[str, Array], PyTree]:
    """What is measured along one training, and the net at its end.

    Args:
        key: of the start.
        images: training and test images.
    """
    model = models.mlp((*SETTINGS["widths"], 1), bias=False)
    order = len(SETTINGS["widths"]) + 1
    start = model.init(key, images.x)

    def stage(params: PyTree, decrease: Array) -> tuple[PyTree, dict[str, Array]]:
        steps = SETTINGS["steps_between"]
        trained = implicit_bias.train_to_direction(model.apply, params, images.x, images.y, num_steps=steps, decrease=decrease / steps)
        return trained.params, measure(model, trained.params, images, order, trained.log_loss)

    depths = jnp.array([-jnp.log(len(images.y)), *SETTINGS["depths_of_loss"]], images.x.dtype)
    params, along = jax.lax.scan(stage, start, jnp.diff(depths))
    squared = fitted(model, start, images)
    residuals = squared_residuals(model, squared, images)
    ends = {
        "start": stationarity(model, start, images, order),
        "squared": stationarity(model, squared, images, order),
        "squared_error": jnp.square(residuals).mean(),
        "test_error": test_error(model, params, images),
        "squared_test_error": test_error(model, squared, images),
    }
    return along | ends, params


def measure(model: Model, params: PyTree, images: _two_classes.TwoClasses, order: int, log_loss: Array) -> dict[str, Array]:
    """KKT residuals, margins and the part of examples with a multiplier; NaN while an example is on the wrong side."""
    best, own = (implicit_bias.max_margin_kkt(model.apply, params, images.x, images.y, order=order, solver=solver) for solver in ("nnls", "softmax"))
    return {
        "log_loss": log_loss,
        "stationarity": best.stationarity,
        "loss_stationarity": own.stationarity,
        "complementarity": own.complementarity,
        "normalized_margin": implicit_bias.normalized_margin_homogeneous(best.margins, params, order),
        "smoothed_margin": implicit_bias.smoothed_margin(log_loss, params, order).value,
        "support": jnp.mean(best.multipliers > 0),
    }


def stationarity(model: Model, params: PyTree, images: _two_classes.TwoClasses, order: int) -> Float[Array, ""]:
    """KKT residual with the labels that the net predicts, with which every net separates the images."""
    predicted = jnp.where(model.apply(params, images.x)[:, 0] >= 0, 1.0, -1.0)
    return implicit_bias.max_margin_kkt(model.apply, params, images.x, predicted, order=order).stationarity


def squared_residuals(model: Model, params: PyTree, images: _two_classes.TwoClasses) -> Float[Array, " n"]:
    """Outputs less labels."""
    return model.apply(params, images.x)[:, 0] - images.y


def fitted(model: Model, params: PyTree, images: _two_classes.TwoClasses) -> PyTree:
    """The same start trained on the mean squared loss, for as many steps."""

    def step(_: Array, params: PyTree) -> PyTree:
        gradient = jax.grad(lambda params: 0.5 * jnp.square(squared_residuals(model, params, images)).mean())(params)
        return optax.tree.add_scale(params, -SETTINGS["squared_learning_rate"], gradient)

    return jax.lax.fori_loop(0, SETTINGS["steps_between"] * len(SETTINGS["depths_of_loss"]), step, params)


def test_error(model: Model, params: PyTree, images: _two_classes.TwoClasses) -> Float[Array, ""]:
    """Part of the test images that the net is wrong on."""
    return jnp.mean(model.apply(params, images.x_test)[:, 0] * images.y_test <= 0)


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["log loss", "KKT residual", "with the loss's multipliers", "normalized margin", "smoothed margin", "support"]]
    means = results["means"]
    for i, log_loss in enumerate(means["log_loss"]["value"]):
        names = ("stationarity", "loss_stationarity", "normalized_margin", "smoothed_margin")
        values = [f"{means[name]['value'][i]:.4f} ± {means[name]['stderr'][i]:.4f}" for name in names]
        rows.append([f"{log_loss:.1f}", *values, f"{means['support']['value'][i]:.2f}"])
    ends = results["ends"]
    for name, label in (("start", "at the start"), ("squared", "squared loss")):
        rows.append([label, f"{ends[name]['value']:.4f} ± {ends[name]['stderr']:.4f}", "", "", "", ""])
    errors = [f"{100 * ends[name]['value']:.1f} ± {100 * ends[name]['stderr']:.1f}" for name in ("test_error", "squared_test_error")]
    return [*rows, ["test error (%)", errors[0], "", "", "squared loss", errors[1]]]


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.kkt(results)
