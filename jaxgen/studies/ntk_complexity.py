"""What labels cost in a kernel's norm against the test error of its predictor, as more and more labels are random (NTK-11).

Fig. 9.2 of Theory of Deep Learning (Arora et al. 2019) on two classes of images of norm one, with the kernel of the first layer
of a two-layer ReLU net. Test labels follow the law of the training labels, random part included, in expectation. The same labels
in another order, which have nothing to do with the images, are the control: their cost does not depend on that part.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.stats import rankdata
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen import bounds, data, ntk, optimization, seeds
from jaxgen.studies import _two_classes
from jaxgen.studies._problem import Setup

TITLE = "the complexity of labels and the test error, against the part of random labels"
DEFAULT_SEEDS = 10
SETTINGS: dict[str, Any] = {"classes": [3, 8], "n": 200, "fractions": [k / 10 for k in range(11)], "constant": 4}
ERRORS = ("zero_one", "absolute")
HIGHEST = jax.lax.Precision.HIGHEST


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the dual coefficients of its predictors."""
    part = setup.part("labels")
    rows_key, seeds_key = jax.random.split(setup.key)
    images = _two_classes.two_classes(setup.dataset, SETTINGS["classes"])
    n = min(SETTINGS["n"], len(images.y))
    drawn = data.subsets(rows_key, len(images.y), n, setup.num_seeds)
    found = seeds.run(one_seed, (jax.random.split(seeds_key, setup.num_seeds), drawn.indices), images, checkpoint=part.folder)
    measured = {name: found[name] for name in ("complexity", "control", *ERRORS, "clean_zero_one")}
    results = {
        "n": n,
        "num_test": len(images.y_test),
        "disjoint": drawn.disjoint,
        "fractions": SETTINGS["fractions"],
        "measured": measured,
        "means": {name: seeds.mean(values)._asdict() for name, values in measured.items()},
        "rank_correlation": {
            name: {error: seeds.mean(jax.vmap(spearman)(found[name], found[error]))._asdict() for error in ERRORS}
            for name in ("complexity", "control")
        },
    }
    return results, {"coefficients": found["coefficients"]}


def one_seed(seed: tuple[Key[Array, ""], Array], images: _two_classes.TwoClasses) -> dict[str, Array]:
    """Complexities and test errors of one training set at every part of random labels.

    Args:
        seed: key, and which images.
        images: training and test images of both classes.
    """
    (key, rows), fractions = seed, jnp.array(SETTINGS["fractions"], images.x.dtype)
    label_key, order_key = jax.random.split(key)
    x, classes = images.x[rows], (images.y[rows] > 0).astype(jnp.int32)
    labels = jax.vmap(lambda fraction: 2.0 * data.corrupt_labels(label_key, classes, fraction, 2) - 1)(fractions).astype(x.dtype)
    kernel = ntk.infinite.two_layer(x)

    def complexity(y):
        return bounds.kernel_complexity(kernel, y, constant=SETTINGS["constant"])

    coefficients = optimization.dual_coefficients(optimization.kernel_spectrum(kernel), labels.T)
    outputs = jnp.matmul(ntk.infinite.two_layer(images.x_test, x), coefficients, precision=HIGHEST).T
    clean = jnp.mean(zero_one(outputs, images.y_test), axis=1)
    return {
        "coefficients": coefficients,
        "complexity": jax.lax.map(complexity, labels),
        "control": jax.lax.map(complexity, labels[:, jax.random.permutation(order_key, len(rows))]),
        "clean_zero_one": clean,
        "zero_one": jax.vmap(expected, in_axes=(None, 0, None, 0))(zero_one, outputs, images.y_test, fractions),
        "absolute": jax.vmap(expected, in_axes=(None, 0, None, 0))(absolute, outputs, images.y_test, fractions),
    }


def zero_one(outputs: Array, y: Array) -> Array:
    """Whether the output has the wrong sign; zero has."""
    return (outputs * y <= 0).astype(outputs.dtype)


def absolute(outputs: Array, y: Array) -> Array:
    """|f - y|."""
    return jnp.abs(outputs - y)


def expected(loss: Any, outputs: Float[Array, " m"], y: Float[Array, " m"], fraction: Float[ArrayLike, ""]) -> Float[Array, ""]:
    """The mean loss where a label is, with that probability, a random one.

    Args:
        loss: zero_one or absolute.
        outputs: predictions.
        y: labels -1 or 1 without noise.
        fraction: probability of a random label.
    """
    return jnp.mean((1 - fraction / 2) * loss(outputs, y) + fraction / 2 * loss(outputs, -y))


def spearman(a: Float[Array, " n"], b: Float[Array, " n"]) -> Float[Array, ""]:
    """Spearman's rank correlation."""
    return jnp.corrcoef(rankdata(a), rankdata(b))[0, 1]


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    means = results["means"]
    rows = [["random labels", "complexity", "control", "0-1 error", "l1 error", "0-1 error, true labels"]]
    names = ("complexity", "control", *ERRORS, "clean_zero_one")
    for i, fraction in enumerate(results["fractions"]):
        rows.append([f"{fraction:.0%}", *(f"{means[name]['value'][i]:.3f} ± {means[name]['stderr'][i]:.3f}" for name in names)])
    ranks = results["rank_correlation"]["complexity"]
    return [*rows, ["rank correlation", "", "", *(f"{ranks[name]['value']:.3f} ± {ranks[name]['stderr']:.3f}" for name in ERRORS), ""]]


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.ntk_complexity(results)
