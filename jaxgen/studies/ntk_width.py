"""How the tangent kernel of a finite net tends to that of an infinite one, and stays put during training, with width (NTK-6, NTK-16).

Images of two classes, of norm one. At the start, a ReLU net of two hidden layers in the NTK parametrization, against its limit; in
the standard parametrization, the control, there is none. During gradient descent, the first layer of a two-layer softplus net with
random output signs: neurons move by O(m^-1/2) and the kernel by O(1/m); with outputs divided by m in place of sqrt m (and a step
size m times as large), the control, both move as much at any width.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import data, models, ntk, seeds
from jaxgen.studies import _two_classes
from jaxgen.studies._problem import Setup

TITLE = "tangent kernels at finite width: distance from the limit and drift during training"
DEFAULT_SEEDS = 12
SETTINGS: dict[str, Any] = {
    "classes": [3, 8],
    "n": 20,
    "widths": [64, 128, 256, 512, 1024],
    "learning_rate": 0.1,
    "num_steps": 100,
    "num_records": 10,
}
MEASURED = ("error", "standard", "drift", "movement", "mean_field_drift", "mean_field_movement")


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the first layers of its trained nets."""
    rows_key, seeds_key = jax.random.split(setup.key)
    images = _two_classes.two_classes(setup.dataset, SETTINGS["classes"])
    n = min(SETTINGS["n"], len(images.y))
    drawn = data.subsets(rows_key, len(images.y), n, setup.num_seeds)
    keys = jax.random.split(seeds_key, setup.num_seeds)
    found, params = [], {}
    for width in SETTINGS["widths"]:
        part = setup.part(f"width-{width}")
        numbers, params[f"width-{width}"] = seeds.run(of_width(width), (keys, drawn.indices), (images.x, images.y), checkpoint=part.folder)
        found.append(numbers)
    by_width = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *found)
    measured = {name: by_width[name] for name in MEASURED}
    results = {
        "n": n,
        "disjoint": drawn.disjoint,
        "widths": SETTINGS["widths"],
        "measured": measured,
        "means": {name: seeds.mean(values)._asdict() for name, values in measured.items()},
        "exponents": {name: seeds.mean(exponents(values))._asdict() for name, values in measured.items()},
        "largest_over_bound": {name: by_width[f"{name}_over_bound"].max() for name in ("drift", "movement")},
    }
    return results, params


def of_width(width: int) -> Any:
    """A function of one seed and the images: what is measured at that width, and a trained first layer.

    Args:
        width: m.
    """

    def one_seed(seed: tuple[Key[Array, ""], Array], images: tuple[Array, Array]) -> tuple[dict[str, Array], Array]:
        key, rows = seed
        start_key, standard_key, training_key = jax.random.split(jax.random.fold_in(key, width), 3)
        x, y = images[0][rows], images[1][rows]
        limit = ntk.infinite.fully_connected(math.sqrt(2) * x, depth=2, activation="relu", weight_variance=0.5).ntk
        errors = {"error": distance(start_key, x, limit, width, "ntk"), "standard": distance(standard_key, x, limit, width, "standard")}
        both, weights = jax.lax.map(lambda power: training(training_key, x, y, width, power), jnp.array([0.5, 1.0], x.dtype))
        control = {f"mean_field_{name}": both[name][1] for name in ("drift", "movement")}
        return errors | control | {name: values[0] for name, values in both.items()}, weights[0]

    return one_seed


def distance(key: Key[Array, ""], x: Float[Array, "n d"], limit: Float[Array, "n n"], width: int, parametrization: str) -> Float[Array, ""]:
    """Distance of a net's kernel from its limit in Frobenius norm, over the norm of the limit.

    Args:
        key: of the net.
        x: inputs of norm one.
        limit: kernel of the infinitely wide net in the NTK parametrization.
        width: of both hidden layers.
        parametrization: `"ntk"` or `"standard"`.
    """
    model = models.mlp((width, width, 1), parametrization=parametrization, bias=False)
    inputs = math.sqrt(x.shape[1]) * x if parametrization == "ntk" else x
    kernel = ntk.empirical(model.apply, model.init(key, x[:1]), inputs, mode="trace")
    return jnp.linalg.norm(kernel - limit) / jnp.linalg.norm(limit)


def training(
    key: Key[Array, ""], x: Float[Array, "n d"], y: Float[Array, " n"], width: int, power: Float[Array, ""]
) -> tuple[dict[str, Array], Float[Array, "m d"]]:
    """Trains the first layer of m^-power sum_r a_r softplus(w_r . x); the farthest its neurons and its kernel get, and its last weights.

    Args:
        key: of weights and signs.
        x: inputs of norm one.
        y: labels.
        width: m.
        power: 1/2, or 1 for the control.
    """
    sign_key, weight_key = jax.random.split(key)
    signs = jax.random.rademacher(sign_key, (width,), x.dtype)
    start = jax.random.normal(weight_key, (width, x.shape[1]), x.dtype)
    rate = SETTINGS["learning_rate"] * width ** (2 * power - 1)

    def apply(weights: Array, x: Array) -> Array:
        return jax.nn.softplus(x @ weights.T) @ signs / width**power

    def step(weights: Array, _: None) -> tuple[Array, Array]:
        residual, pull = jax.vjp(lambda weights: apply(weights, x) - y, weights)
        return weights - rate * pull(residual)[0], jnp.abs(residual).max()

    def record(weights: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        weights, residuals = jax.lax.scan(step, weights, None, length=SETTINGS["num_steps"] // SETTINGS["num_records"])
        return weights, (weights, residuals)

    last, (path, residuals) = jax.lax.scan(record, start, None, length=SETTINGS["num_records"])
    path = jnp.concatenate([start[None], path])
    kernels = jax.lax.map(lambda weights: ntk.empirical(apply, weights, x, mode="trace"), path)
    change = ntk.kernel_drift(kernels, relative=False).frobenius
    movement = ntk.neuron_movement(path)
    times = SETTINGS["learning_rate"] * (SETTINGS["num_steps"] // SETTINGS["num_records"]) * jnp.arange(1, SETTINGS["num_records"] + 1)
    bound = ntk.stability_bound(len(y), times, width, residuals.max())
    found = {"drift": change.max() / jnp.linalg.norm(kernels[0]), "movement": movement.max()}
    over = {"drift_over_bound": (change[1:] / bound.kernel).max(), "movement_over_bound": (movement[1:] / bound.movement).max()}
    return found | over, last


def exponents(values: Float[Array, "K W"]) -> Float[Array, " K"]:
    """Slopes of the least-squares lines through logarithms of values against those of widths, one for every seed.

    Args:
        values: at every width, a row for each seed.
    """
    log_width = jnp.log(jnp.array(SETTINGS["widths"], values.dtype))
    log_width = log_width - log_width.mean()
    return jnp.log(values) @ log_width / jnp.sum(log_width**2)


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["width", "from the limit", "standard", "kernel drift", "movement", "drift, mean field", "movement, mean field"]]
    for i, width in enumerate(results["widths"]):
        rows.append([str(width), *(f"{results['means'][name]['value'][i]:.4f}" for name in MEASURED)])
    found = [results["exponents"][name] for name in MEASURED]
    return [*rows, ["exponent", *(f"{one['value']:.2f} ± {one['stderr']:.2f}" for one in found)]]


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.ntk_width(results)
