"""Regression with the kernel of an infinitely wide net on images: accuracy against the number of training images (NTK-15, NTK-22).

The NTK of a ReLU net of three hidden layers without biases, inputs of norm one, one-hot targets as they are, a small ridge and
the whole test set. Nothing is random with the first n training images; as many at random, by seed, say how much the choice matters.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int, PyTree

from jaxgen import data, ntk, seeds
from jaxgen.studies import _two_classes
from jaxgen.studies._problem import Setup

TITLE = "accuracy of regression with an infinite net's kernel"
DEFAULT_SEEDS = 4
SETTINGS: dict[str, Any] = {"sizes": [100, 300, 1000, 3000, 10000], "depth": 3, "activation": "relu", "ridge": 1e-4, "chunk_size": 1000}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the dual coefficients of its predictors."""
    dataset = setup.dataset
    pool = {
        "x": _two_classes.unit(dataset.x_train),
        "y": jax.nn.one_hot(dataset.y_train, dataset.num_classes, dtype=dataset.x_train.dtype),
        "x_test": _two_classes.unit(dataset.x_test),
        "y_test": dataset.y_test,
    }
    sizes = [n for n in SETTINGS["sizes"] if n <= len(dataset.y_train)] or [len(dataset.y_train)]
    rows, params = [], {}
    for n in sizes:
        part = setup.part(f"n-{n}")
        drawn = data.subsets(jax.random.fold_in(setup.key, n), len(dataset.y_train), n, setup.num_seeds)
        found = seeds.run(fit, jnp.concatenate([jnp.arange(n)[None], drawn.indices]), pool, checkpoint=part.folder)
        params[f"n-{n}"] = found["coefficients"]
        rows.append(
            {
                "n": n,
                "first": found["accuracy"][0],
                "random": found["accuracy"][1:],
                "mean": seeds.mean(found["accuracy"][1:])._asdict(),
                "disjoint": drawn.disjoint,
                "largest_residual": found["residual"].max(),
            }
        )
    return {"num_test": len(dataset.y_test), "sizes": rows}, params


def fit(rows: Int[Array, " n"], pool: dict[str, Array]) -> dict[str, Array]:
    """The predictor of some of the images: its coefficients (H + r I)^-1 y, how well they solve for that, its accuracy.

    Args:
        rows: which training images.
        pool: training and test images, one-hot labels of the former and labels of the latter.
    """
    x, y = pool["x"][rows], pool["y"][rows]
    kernel = gram(x, None) + SETTINGS["ridge"] * jnp.eye(len(x), dtype=x.dtype)
    coefficients = cho_solve(cho_factor(kernel, lower=True), y)
    residual = jnp.abs(jnp.matmul(kernel, coefficients, precision=jax.lax.Precision.HIGHEST) - y).max()
    predicted = jnp.argmax(outputs(pool["x_test"], x, coefficients), axis=1)
    return {"coefficients": coefficients, "residual": residual, "accuracy": jnp.mean(predicted == pool["y_test"], dtype=x.dtype)}


def outputs(x_test: Float[Array, "m d"], x: Float[Array, "n d"], coefficients: Float[Array, "n C"]) -> Float[Array, "m C"]:
    """Predictions, with the kernel of no more than `chunk_size` test images held at a time."""
    m = len(x_test)
    count = math.ceil(m / SETTINGS["chunk_size"])
    size = math.ceil(m / count)
    chunks = jnp.pad(x_test, [(0, count * size - m), (0, 0)], mode="edge").reshape(count, size, -1)
    found = jax.lax.map(lambda chunk: jnp.matmul(gram(chunk, x), coefficients, precision=jax.lax.Precision.HIGHEST), chunks)
    return found.reshape(count * size, -1)[:m]


def gram(x1: Float[Array, "n d"], x2: Float[Array, "m d"] | None) -> Float[Array, "n m"]:
    """The kernel of the study."""
    return ntk.infinite.fully_connected(x1, x2, depth=SETTINGS["depth"], activation=SETTINGS["activation"]).ntk


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["n", "accuracy, first n images", "accuracy, n at random", "residual of the solve"]]
    for row in results["sizes"]:
        mean = row["mean"]
        spread = f"{100 * mean['value']:.2f} ± {100 * mean['stderr']:.2f} %"
        rows.append([str(row["n"]), f"{100 * row['first']:.2f} %", spread, f"{row['largest_residual']:.1e}"])
    return rows


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.kernel_regression(results)
