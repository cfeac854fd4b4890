"""What the studies of SGD as a process measure along training, at matched times, and how two processes compare."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import data, models, seeds
from jaxgen.models import Model
from jaxgen.studies._problem import Setup

MEASURED = ("train_loss", "test_loss", "test_accuracy")
SQUARED_NORM = 15.0
"""Mean squared norm that images are scaled to, about that of digits: learning rates then mean the same on each data set."""

Measure = Callable[[PyTree, PyTree], dict[str, Array]]


def pool(setup: Setup, key: Key[Array, ""], n: int, num_test: int) -> dict[str, Array]:
    """One training set of at most n images for all seeds, since the law of SGD is that given its data, and test images, scaled alike."""
    dataset = setup.dataset
    count = min(n, len(dataset.y_train))
    rows = data.subsets(key, len(dataset.y_train), count, 1).indices[0]
    x = dataset.x_train[rows]
    scale = jnp.sqrt(SQUARED_NORM / jnp.mean(jnp.sum(x.reshape(count, -1) ** 2, axis=1)))
    return {"x": scale * x, "y": dataset.y_train[rows], "x_test": scale * dataset.x_test[:num_test], "y_test": dataset.y_test[:num_test]}


def losses(model: Model) -> tuple[Callable[[PyTree, PyTree], Array], Measure]:
    """Cross-entropy to train with, and what is measured of parameters given the pool."""
    cross_entropy, zero_one = (models.loss_fn(model.apply, name) for name in ("cross_entropy", "zero_one"))

    def measure(params: PyTree, images: PyTree) -> dict[str, Array]:
        test = images["x_test"], images["y_test"]
        values = cross_entropy(params, (images["x"], images["y"])), cross_entropy(params, test), 1 - zero_one(params, test)
        return {name: value.mean() for name, value in zip(MEASURED, values, strict=True)}

    return cross_entropy, measure


def with_end(records: PyTree, end: PyTree) -> PyTree:
    """Records of a loop with what is measured after its last step."""
    return jax.tree.map(lambda path, last: jnp.concatenate([path, last[None]]), records, end)


def summary(paths: dict[str, Float[Array, "K R"]]) -> dict[str, Any]:
    """Means over seeds of every measured quantity, along the path and at its end.

    Args:
        paths: at R common times, a row for each seed.
    """
    means = {name: seeds.mean(values)._asdict() for name, values in paths.items()}
    return {"along": means, "last": {name: seeds.mean(values[:, -1])._asdict() for name, values in paths.items()}}


def compare(paths: dict[str, Float[Array, "K R"]], reference: dict[str, Float[Array, "K R"]]) -> dict[str, Any]:
    """Differences from another process that starts from the same parameters: at the end, and where they are largest.

    Args:
        paths: at R common times, a row for each seed.
        reference: the same of the other process, with the same seeds' starts.
    """
    differences = {name: seeds.mean(paths[name] - reference[name]) for name in paths}
    largest = {name: jnp.argmax(jnp.abs(difference.value)) for name, difference in differences.items()}
    return {
        "last": {name: {"value": found.value[-1], "stderr": found.stderr[-1]} for name, found in differences.items()},
        "largest": {
            name: {"value": jnp.abs(found.value[largest[name]]), "stderr": found.stderr[largest[name]]} for name, found in differences.items()
        },
    }


def plus_minus(estimate: dict[str, float], digits: int = 3) -> str:
    """A value with its standard error, as printed."""
    return f"{estimate['value']:.{digits}f} ± {estimate['stderr']:.{digits}f}"
