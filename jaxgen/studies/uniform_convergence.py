"""Signal and junk: a classifier that generalizes, and a twin that errs on the whole training set and nowhere else (GEN-14, GEN-15).

One step of gradient descent on a signal with D junk coordinates. What it learns from a sample, and from the same with the junk
negated, have the same test error, next to none for D large against the number m of examples; the second errs on all of the first's
sample. So no bound on the gap by uniform convergence, over whatever set of classifiers the learner may return, is below one; that of
the norm ball is above it at any m. Controls: a signal of the strength that the source prints, c = 1, where the twin errs on half of the
sample, and classifiers pruned to the signal, whose bound falls with m. Last, images of two classes as the signal.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import bounds, data, seeds
from jaxgen.studies import _paths, _two_classes
from jaxgen.studies._problem import Setup
from jaxgen.studies._two_classes import TwoClasses

TITLE = "the failure of uniform convergence: signal and junk"
DEFAULT_SEEDS = 12
SETTINGS: dict[str, Any] = {
    "num_signal": 2,
    "strength": 0.5,
    "printed_strength": 1.0,
    "m": 100,
    "ratios": [2, 5, 10, 20, 40, 80, 160],
    "sizes": [12, 25, 50, 100, 200],
    "ratio": 80,
    "classes": [3, 8],
    "image_sizes": [25, 50, 100, 200],
    "quantiles": [0.0, 0.1, 0.25, 0.5],
}
MEASURED = ("train", "test", "flip_train", "flip_test", "pruned_train", "pruned_test", "bound", "pruned_bound")


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the classifiers of images that it trained."""
    keys = [jax.random.split(key, setup.num_seeds) for key in jax.random.split(setup.key, 3)]
    m, ratio, strengths = SETTINGS["m"], SETTINGS["ratio"], [SETTINGS["strength"], SETTINGS["printed_strength"]]
    ratios, printed = on_junk(setup.part("ratios"), keys[0], [(m, m * one) for one in SETTINGS["ratios"]], strengths)
    (sizes,) = on_junk(setup.part("sizes"), keys[1], [(one, ratio * one) for one in SETTINGS["sizes"]], strengths[:1])
    images, classifiers = on_images(setup.part("images"), keys[2])
    return {"ratios": ratios, "printed": printed, "sizes": sizes, "images": images}, classifiers


def on_junk(setup: Setup, keys: Key[Array, " K"], sizes: list[tuple[int, int]], strengths: list[float]) -> list[dict[str, Any]]:
    """What is measured of a constant signal, for each of its strengths.

    Args:
        setup: folder.
        keys: one a seed.
        sizes: m and D of every problem.
        strengths: values of c.
    """
    found = [seeds.run(of_size(*one), keys, jnp.array(strengths, float), checkpoint=setup.checkpoint(f"{one[0]}-{one[1]}")) for one in sizes]
    return [
        gathered([{name: values[:, i] for name, values in one.items()} for one in found], [(*one, strength) for one in sizes])
        for i, strength in enumerate(strengths)
    ]


def gathered(found: list[dict[str, Array]], problems: list[tuple[int, int, float]]) -> dict[str, Any]:
    """What was measured on several problems: a row for each seed, means, and what theory says to leading order.

    Args:
        found: on each problem, quantities of every seed.
        problems: m, D and c.
    """
    measured = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *found)
    m, num_junk, strength = (jnp.array(column, float) for column in zip(*problems, strict=True))
    normal = jax.scipy.stats.norm.cdf
    return {
        "m": [one[0] for one in problems],
        "num_junk": [one[1] for one in problems],
        "strength": [one[2] for one in problems],
        "measured": measured,
        "means": {name: seeds.mean(values)._asdict() for name, values in measured.items()},
        "predicted": {
            "test": normal(-strength * jnp.sqrt(num_junk / m)),
            "flip_train": normal((1 - strength) * jnp.sqrt(num_junk / (m + 1))),
        },
    }


def of_size(m: int, num_junk: int) -> Callable[[Key[Array, ""], Float[Array, " C"]], dict[str, Array]]:
    """A function of one key and of strengths of the signal: what is measured of m examples with D junk coordinates, for each strength.

    Args:
        m: number of examples.
        num_junk: D.
    """

    def one_seed(key: Key[Array, ""], strengths: Float[Array, " C"]) -> dict[str, Array]:
        def of_strength(strength: Array) -> dict[str, Array]:
            sample = bounds.junk_example_sample(key, m, num_junk, SETTINGS["num_signal"], strength)
            return measure(sample, sample.u[None])[0]

        return jax.lax.map(of_strength, strengths)

    return one_seed


def measure(sample: bounds.JunkSample, signals: Float[Array, "N K"]) -> tuple[dict[str, Array], Float[Array, " d"]]:
    """Errors of the classifier of a sample, of its flip and of that pruned to the signal, and bounds of norm balls; the first classifier.

    Args:
        sample: with junk of variance 1 / D.
        signals: those of the population, times their labels.
    """
    flipped = bounds.junk_example_flip(sample)
    w, w_flip = (bounds.junk_example_train(one.x, one.y) for one in (sample, flipped))
    signal = jnp.arange(len(w)) < signals.shape[1]
    found = {}
    for name, weights in (("", w), ("flip_", w_flip), ("pruned_", bounds.prune_coordinates(w_flip, signal))):
        found[f"{name}train"] = bounds.junk_example_train_error(weights, sample.x, sample.y)
        found[f"{name}test"] = jax.vmap(bounds.junk_example_test_error, (None, 0))(weights, signals).mean()
    pruned = sample._replace(x=jnp.where(signal, sample.x, 0.0))
    return found | {"bound": norm_ball(w, sample), "pruned_bound": norm_ball(bounds.prune_coordinates(w, signal), pruned)}, w


def norm_ball(w: Float[Array, " d"], sample: bounds.JunkSample) -> Float[Array, ""]:
    """Ramp loss on the sample and twice a bound on its Rademacher complexity over the ball that a classifier is in, confidence left out.

    At the best of the margins that the sample has at four of its quantiles; infinite if none is positive. To choose margin and ball by the
    sample would have its price, so a valid bound is larger.

    Args:
        w: the classifier.
        sample: what it was trained on.
    """
    margins = sample.y * (sample.x @ w)
    at = jnp.quantile(margins, jnp.array(SETTINGS["quantiles"], margins.dtype))[:, None]
    positive = jnp.where(at > 0, at, 1.0)
    ramp = jnp.clip(1 - margins / positive, 0, 1).mean(axis=1)
    complexity = bounds.rademacher_linear_bound(sample.x, jnp.linalg.norm(w)) / positive[:, 0]
    return jnp.where(at[:, 0] > 0, ramp + 2 * complexity, jnp.inf).min()


def on_images(setup: Setup, keys: Key[Array, " K"]) -> tuple[dict[str, Any], PyTree]:
    """The same with images of two classes in place of the signal, scaled to have the strength c on average.

    Args:
        setup: data, folder.
        keys: of the junk, one a seed.
    """
    images = _two_classes.two_classes(setup.dataset, SETTINGS["classes"])
    found, classifiers, problems = [], {}, []
    for m in sorted({min(one, len(images.y)) for one in SETTINGS["image_sizes"]}):
        drawn = data.subsets(jax.random.fold_in(setup.key, m), len(images.y), m, setup.num_seeds)
        problems.append((m, SETTINGS["ratio"] * m, SETTINGS["strength"]))
        numbers, classifiers[f"images-{m}"] = seeds.run(of_images(*problems[-1]), (keys, drawn.indices), images, checkpoint=setup.checkpoint(str(m)))
        found.append(numbers)
    return gathered(found, problems), classifiers


def of_images(m: int, num_junk: int, strength: float) -> Any:
    """A function of one seed and the images: what is measured, and the classifier.

    Args:
        m: number of images.
        num_junk: D.
        strength: c.
    """

    def one_seed(seed: tuple[Key[Array, ""], Array], images: TwoClasses) -> tuple[dict[str, Array], Array]:
        key, rows = seed
        direction = jnp.mean(images.y[:, None] * images.x, axis=0)
        scale = jnp.sqrt(strength / (m * jnp.sum(direction**2)))
        junk = jax.random.normal(key, (m, num_junk), images.x.dtype) / jnp.sqrt(num_junk)
        x = jnp.concatenate([scale * images.x[rows], junk], axis=1)
        sample = bounds.JunkSample(x, images.y[rows], scale * direction)
        return measure(sample, scale * images.y_test[:, None] * images.x_test)

    return one_seed


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head; the twin has the same test error."""
    rows = [["signal", "c", "m", "D", "test error", "train", "train, twin", "same, pruned", "bound", "pruned bound"]]
    for name in ("ratios", "printed", "sizes", "images"):
        part = results[name]
        for i, (m, num_junk, strength) in enumerate(zip(part["m"], part["num_junk"], part["strength"], strict=True)):
            means = {one: {kind: values[i] for kind, values in estimate.items()} for one, estimate in part["means"].items()}
            numbers = [
                _paths.plus_minus(means["test"], 4),
                f"{means['train']['value']:.3f}",
                _paths.plus_minus(means["flip_train"]),
                f"{means['pruned_train']['value']:.3f}",
                *(_paths.plus_minus(means[one], 2) for one in ("bound", "pruned_bound")),
            ]
            rows.append(["images" if name == "images" else "constant", f"{strength:g}", str(m), str(num_junk), *numbers])
    return rows


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.uniform_convergence(results)
