"""Weight decay on a scale-invariant net: the norm goes to an equilibrium of its own, and a growing learning rate does the same (NORM-7, NORM-8).

Mini-batch SGD with weight decay on the scale-invariant part of a layer-normalized net, from several norms and for several pairs of
learning rate and weight decay, and each run once more with the exponential schedule in place of weight decay: the same functions.
Where it ends depends on the product of the pair alone. A net without normalization is the control. One hidden layer: with two, the
trained scales of the first drift to where few of its units are active, gradients of single batches are then very large, and the norm
leaps from its equilibrium time and again.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen import models, normalization, processes, seeds
from jaxgen.studies._problem import Setup

TITLE = "norm equilibrium and effective learning rate of a scale-invariant net"
DEFAULT_SEEDS = 4
SETTINGS: dict[str, Any] = {
    "n": 1000,
    "num_test": 500,
    "batch_size": 50,
    "num_steps": 4000,
    "every": 20,
    "widths": [64],
    "pairs": [[0.2, 0.005], [0.05, 0.02], [0.2, 0.02]],
    "norms": [0.5, 2.0, 8.0],
    "within": 0.1,
    "scales": [0.1, 0.5, 2.0, 10.0],
}


class Records(NamedTuple):
    """What is recorded along a run, R = T / every times.

    Attributes:
        squared_norm: |w|^2.
        fourth_power: mean |w|^4 over the steps up to the next record.
        squared_slope: mean |w|^2 |g|^2 over those steps, of mini-batch gradients g: their squared norm on the sphere.
        test_error: share of test images that are misclassified; those without finite outputs are.
    """

    squared_norm: Float[Array, " R"]
    fourth_power: Float[Array, " R"]
    squared_slope: Float[Array, " R"]
    test_error: Float[Array, " R"]


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the final parameters of its nets."""
    net_key, seeds_key = jax.random.split(setup.key)
    images = standardized(setup.dataset)
    widths = (*SETTINGS["widths"], setup.dataset.num_classes)
    invariant, plain = normalization.scale_invariant_mlp(net_key, widths), models.mlp(widths, bias=False)
    combinations = [(rate, decay, norm) for rate, decay in SETTINGS["pairs"] for norm in SETTINGS["norms"]]
    rate, decay = SETTINGS["pairs"][0]
    keys = jax.random.split(seeds_key, setup.num_seeds)
    records, params, defects = _runs(invariant, keys, combinations, images, setup.part("scale-invariant"))
    control, _, control_defects = _runs(plain, keys, [(rate, decay, None)], images, setup.part("control"))
    runs = [summary(*one, jax.tree.map(lambda leaf, i=i: leaf[i], records)) for i, one in enumerate(combinations)]
    results = {
        "runs": runs,
        "control": summary(rate, decay, None, jax.tree.map(lambda leaf: leaf[0], control)),
        "defect": defects.max(),
        "control_defect": control_defects.max(),
    }
    return results, params


def standardized(dataset: Any) -> dict[str, Array]:
    """The first training and test images, flat, about the training mean and in units of its root mean square; and labels."""
    train, test = dataset.x_train[: SETTINGS["n"]], dataset.x_test[: SETTINGS["num_test"]]
    mean = train.mean(axis=0)
    size = jnp.sqrt(jnp.mean((train - mean) ** 2))
    x, x_test = (((images - mean) / size).reshape(len(images), -1) for images in (train, test))
    return {"x": x, "y": dataset.y_train[: len(x)], "x_test": x_test, "y_test": dataset.y_test[: len(x_test)]}


def _runs(model: models.Model, keys: Array, combinations: list, images: PyTree, setup: Setup) -> tuple[Records, PyTree, Array]:
    """All combinations, with weight decay and with the schedule, for all seeds in one program: records (combination, form, seed, R)."""
    count = 2 * len(keys)
    columns = [jnp.repeat(jnp.array([math.nan if value is None else value for value in one]), count) for one in zip(*combinations, strict=True)]
    forms = jnp.tile(jnp.repeat(jnp.array([False, True]), len(keys)), len(combinations))
    rows = jnp.tile(jnp.arange(len(keys)), 2 * len(combinations))
    found = seeds.run(one_run(model), (keys[rows], *columns, forms), images, checkpoint=setup.folder)
    shape = (len(combinations), 2, len(keys))
    records, params, defects = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), found)
    return records, params, defects


def one_run(model: models.Model) -> Callable[..., tuple[Records, PyTree, Array]]:
    """A function of one seed, learning rate, weight decay, initial norm (NaN: as drawn), whether by the schedule; and the images.

    Args:
        model: the net.
    """
    loss_fn = models.loss_fn(model.apply, "cross_entropy")

    def run(given: tuple[Key[Array, ""], Array, Array, Array, Array], images: PyTree) -> tuple[Records, PyTree, Array]:
        key, rate, decay, norm, by_schedule = given
        init_key, rows_key = jax.random.split(key)
        rows = processes.batch_indices(rows_key, len(images["y"]), SETTINGS["batch_size"], SETTINGS["num_steps"])
        params = model.init(init_key, images["x"][:1])
        drawn = jnp.sqrt(squared(params))
        params = normalization.with_norm(params, jnp.where(jnp.isnan(norm), drawn, norm))
        growing = normalization.exponential_learning_rate(rate, decay, jnp.arange(SETTINGS["num_steps"]))

        rates, decay = jnp.where(by_schedule, growing, rate), jnp.where(by_schedule, 0, decay)

        def grad_fn(params: PyTree, t: Array) -> PyTree:
            batch = images["x"][rows[t]], images["y"][rows[t]]
            return jax.grad(lambda params: loss_fn(params, batch).mean())(params)

        def sizes(params: PyTree, gradient: PyTree, t: Array) -> tuple[Array, Array]:
            return squared(params) ** 2, squared(params) * squared(gradient)

        def between_records(params: PyTree, start: Array) -> tuple[PyTree, Records]:
            outputs = model.apply(params, images["x_test"])
            right = (jnp.argmax(outputs, axis=1) == images["y_test"]) & jnp.isfinite(outputs).all(axis=1)
            own = jax.lax.dynamic_slice(rates, (start,), (SETTINGS["every"],))
            last, found = normalization.gd_weight_decay(lambda w, t: grad_fn(w, start + t), params, own, decay, SETTINGS["every"], record=sizes)
            return last, Records(squared(params), found[0].mean(), found[1].mean(), 1 - right.mean())

        last, records = jax.lax.scan(between_records, params, jnp.arange(0, SETTINGS["num_steps"], SETTINGS["every"]))
        scales = jnp.array(SETTINGS["scales"])
        defect = normalization.scale_invariance_defect(lambda params: loss_fn(params, (images["x"], images["y"])).mean(), params, scales)
        return records, last, defect

    return run


def squared(tree: PyTree) -> Float[Array, ""]:
    """Sum of squares of all leaves."""
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)), start=jnp.zeros(()))


def summary(learning_rate: float, weight_decay: float, norm: float | None, records: Records) -> dict[str, Any]:
    """What is reported of all seeds at one learning rate, weight decay and initial norm.

    Args:
        learning_rate: eta.
        weight_decay: lambda.
        norm: |w_0|; None for that of the initialization.
        records: with leading axes of the two forms, weight decay and schedule, and of seeds.
    """
    found = _numbers(learning_rate, weight_decay, records)
    start = jnp.sqrt(records.squared_norm[0, 0, 0]) if norm is None else norm
    return {"learning_rate": learning_rate, "weight_decay": weight_decay, "norm": start} | found


@jax.jit
def _numbers(learning_rate: Array, weight_decay: Array, records: Records) -> dict[str, Any]:
    decayed, growing = (jax.tree.map(lambda leaf, form=form: leaf[form], records) for form in (0, 1))
    half = decayed.squared_norm.shape[1] // 2
    settled = jax.tree.map(lambda leaf: leaf[:, half:], decayed)
    equilibrium = normalization.equilibrium_norm(settled.squared_slope.mean(axis=1), learning_rate, weight_decay) ** 2
    reached = jnp.sqrt(settled.fourth_power.mean(axis=1))
    difference = growing.test_error - decayed.test_error
    return {
        "squared_norm": decayed.squared_norm,
        "equilibrium": equilibrium,
        "reached_over_equilibrium": seeds.mean(reached / equilibrium)._asdict(),
        "steps_to_equilibrium": first_within(decayed.squared_norm, equilibrium),
        "predicted_steps": predicted_steps(decayed.squared_norm[:, 0] / equilibrium, learning_rate * weight_decay),
        "settled_effective_learning_rate": seeds.mean(jnp.mean(learning_rate / settled.squared_norm, axis=1))._asdict(),
        "test_error": decayed.test_error,
        "test_error_by_schedule": growing.test_error,
        "settled_test_error": seeds.mean(settled.test_error.mean(axis=1))._asdict(),
        "schedule_difference": seeds.mean(difference[:, half:].mean(axis=1))._asdict(),
        "largest_schedule_difference": jnp.abs(difference).max(),
    }


def first_within(squared_norms: Float[Array, "K R"], equilibrium: Float[Array, " K"]) -> Float[Array, " K"]:
    """First recorded step with a squared norm near its equilibrium, for each seed; NaN if there is none.

    Args:
        squared_norms: recorded |w|^2.
        equilibrium: the value it settles at.
    """
    near = jnp.abs(squared_norms / equilibrium[:, None] - 1) <= SETTINGS["within"]
    return jnp.where(near.any(axis=1), SETTINGS["every"] * jnp.argmax(near, axis=1), math.nan)


def predicted_steps(ratio: Float[Array, " K"], product: ArrayLike) -> Float[Array, " K"]:
    """Steps until |w|^2 is near its equilibrium if gradients on the sphere were of one size all along.

    With s = |w|^2: d(s^2)/dt = -4 eta lambda (s^2 - s_*^2), so that s^2 - s_*^2 falls as exp(-4 eta lambda t).

    Args:
        ratio: s / s_* at the start.
        product: eta lambda.
    """
    goal = jnp.where(ratio > 1, (1 + SETTINGS["within"]) ** 2 - 1, 1 - (1 - SETTINGS["within"]) ** 2)
    return jnp.maximum(jnp.log(jnp.abs(ratio**2 - 1) / goal), 0) / (4 * product)


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["rate", "decay", "norm", "equilibrium", "reached / it", "steps", "predicted", "eff. rate", "error", "with schedule"]]
    for run in [*results["runs"], results["control"]]:
        ratio, effective, difference = (run[name] for name in ("reached_over_equilibrium", "settled_effective_learning_rate", "schedule_difference"))
        steps = [step for step in run["steps_to_equilibrium"] if math.isfinite(step)]
        rows.append(
            [
                f"{run['learning_rate']:g}",
                f"{run['weight_decay']:g}",
                f"{run['norm']:.3g}" + (", plain" if run is results["control"] else ""),
                f"{_mean(run['equilibrium']):.3g}",
                f"{ratio['value']:.3f} ± {ratio['stderr']:.3f}",
                f"{_mean(steps):.0f}" if steps else "never",
                f"{_mean(run['predicted_steps']):.0f}",
                f"{effective['value']:.4f}",
                f"{run['settled_test_error']['value']:.3f}",
                f"{difference['value']:+.4f} ± {difference['stderr']:.0e}",
            ]
        )
    return rows


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.scale_invariant(results, every=SETTINGS["every"])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
