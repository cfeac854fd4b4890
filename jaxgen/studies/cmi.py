"""Conditional-information bounds on two classes of images against the gap they bound, as the number of examples grows (INFO-39).

The experiment of Harutyunyan et al. 2021 on 4 against 9: several supersamples of n pairs, K masks of each, one small convolutional
net for every mask, all in one program. Nets of a supersample share their initial weights and batches, so that what they learn is
a function of the mask. Every bound from raw and from corrected informations, and what it would be if masks were dealt
out anew, which is what the estimate shows where there is nothing to be known.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from jaxgen import bounds, models, processes, seeds
from jaxgen._core.checks import require
from jaxgen.data import Dataset
from jaxgen.studies._problem import Setup

TITLE = "conditional-information bounds against the generalization gap"
DEFAULT_SEEDS = 30
SETTINGS: dict[str, Any] = {
    "classes": [4, 9],
    "sizes": [75, 250, 1000],
    "small_sizes": [25, 50, 100],
    "num_supersamples": 5,
    "channels": [16, 32, 32],
    "batch_size": 50,
    "num_steps": 300,
    "learning_rate": 2e-3,
    "level": 0.95,
    "num_permutations": 10,
}
ON_THE_GAP = ("f_cmi", "evaluated_cmi", "loss_difference_cmi", "single_loss_cmi")
"""Bounds that hold for every learner."""

INTERPOLATING = "interpolating_risk"
"""A bound only where there are no training errors."""


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the final parameters of the nets of each size's first supersample."""
    require(setup.num_seeds >= 3, f"intervals over masks need at least 3 of them; got --seeds {setup.num_seeds}")
    pool = two_classes(setup.dataset)
    fitting = [n for n in SETTINGS["sizes"] if 2 * n <= len(pool[1])]
    sizes = SETTINGS["sizes"] if fitting == SETTINGS["sizes"] else [n for n in SETTINGS["small_sizes"] if 2 * n <= len(pool[1])]
    rows, params = [], {}
    for n in sizes:
        row, params[f"n-{n}"] = of_size(setup.part(f"n-{n}"), n, pool)
        rows.append(row)
    return {"num_images": len(pool[1]), "num_supersamples": SETTINGS["num_supersamples"], "num_masks": setup.num_seeds, "sizes": rows}, params


def two_classes(dataset: Dataset) -> tuple[Array, Array]:
    """All images of the two classes, with labels 0 and 1."""
    x, y = (jnp.concatenate(parts) for parts in ((dataset.x_train, dataset.x_test), (dataset.y_train, dataset.y_test)))
    kept = np.flatnonzero(np.isin(np.asarray(y), SETTINGS["classes"]))
    return x[kept], (y[kept] == SETTINGS["classes"][1]).astype(jnp.int32)


def of_size(setup: Setup, n: int, pool: tuple[Array, Array]) -> tuple[dict, PyTree]:
    """Trains under all masks of all supersamples of n pairs, the first n of those of larger sizes; risks and bounds.

    Args:
        setup: number of masks, key, folder.
        n: size of a training set.
        pool: images and labels.
    """
    sample_key, own_key = jax.random.split(setup.key)
    train_key, chance_key = jax.random.split(jax.random.fold_in(own_key, n))
    keys = jax.random.split(sample_key, SETTINGS["num_supersamples"])
    pairs, u = jax.vmap(lambda key: processes.supersample(key, len(pool[1]), n, num_masks=setup.num_seeds))(keys)
    model = models.cnn(SETTINGS["channels"], 2, strides=2, pooling="none")
    found = processes.train_on_masks(
        train_key,
        models.loss_fn(model.apply, "cross_entropy"),
        models.loss_fn(model.apply, "zero_one"),
        lambda key: model.init(key, pool[0][:1]),
        pool,
        pairs,
        u,
        optimizer=optax.adam(SETTINGS["learning_rate"]),
        batch_size=min(SETTINGS["batch_size"], n),
        num_steps=SETTINGS["num_steps"],
        predict=lambda params, batch: jnp.argmax(model.apply(params, batch[0]), axis=1).astype(jnp.int32),
        shared_randomness=True,
        checkpoint=setup.folder,
    )
    row = {"n": n, **measured(chance_key, found.losses, found.predictions, u)}
    return row, jax.tree.map(lambda leaf: leaf[0], found.params)


def measured(key: Array, losses: Array, predictions: Array, u: Array) -> dict[str, Any]:
    """Risks, the gap, and every bound with its interval, its ratio to the gap and its value by chance.

    Args:
        key: of the masks dealt out anew.
        losses: 0-1 losses, (M, K, n, 2).
        predictions: predicted classes, likewise.
        u: masks, (M, K, n).
    """
    seen, unseen = (jnp.take_along_axis(losses, which[..., None], axis=-1).mean(axis=(1, 2, 3)) for which in (u, 1 - u))
    gaps = unseen - seen
    found = _compared(jax.random.split(key, len(u)), losses, predictions, u, SETTINGS["level"], SETTINGS["num_permutations"])
    rows = {name: _row(found[name], gaps) for name in (*ON_THE_GAP, INTERPOLATING)}
    train_error = float(seen.mean())
    return {
        "gap": _estimate(gaps),
        "train_error": _estimate(seen),
        "test_error": _estimate(unseen),
        "gaps": gaps,
        "bounds": rows,
        "tightest": {kind: tightest(rows, kind, train_error) for kind in ("raw", "corrected")},
    }


@partial(jax.jit, static_argnums=(4, 5))
def _compared(keys: Array, losses: Array, predictions: Array, u: Array, level: float, num_permutations: int) -> dict[str, bounds.MaskEstimate]:
    def of_supersample(key, losses, predictions, u):
        return bounds.compare_cmi_bounds(losses, predictions, u, 2, level=level, key=key, num_permutations=num_permutations)

    return jax.vmap(of_supersample)(keys, losses, predictions, u)


def tightest(rows: dict[str, Any], kind: str, train_error: float) -> list[str]:
    """The smallest bounds, those that are equal to rounding all named; the risk of an interpolating learner only where it is one.

    Args:
        rows: by name of the bound.
        kind: `"raw"` or `"corrected"`.
        train_error: mean over all nets.
    """
    names = [*ON_THE_GAP, *([INTERPOLATING] if train_error == 0 else [])]
    values = {name: float(rows[name][kind]["value"]) for name in names}
    smallest = min(values.values())
    return [name for name in names if values[name] <= smallest + 1e-5 * abs(smallest)]


def _row(found: bounds.MaskEstimate, gaps: Array) -> dict[str, Any]:
    """Means of a bound over supersamples, with errors over masks, and its ratio to the gap with the error over supersamples."""
    row: dict[str, Any] = {"counted_as_zero": found.counted_as_zero.mean()}
    kinds = {"raw": (found.raw, found.raw_interval), "corrected": (found.corrected, found.corrected_interval)}
    for index, (kind, (of_supersample, interval)) in enumerate(kinds.items()):
        value, stderr = of_supersample.value.mean(), jnp.sqrt(jnp.sum(of_supersample.stderr**2)) / len(gaps)
        half = jnp.sqrt(jnp.sum((interval[:, 1] - interval[:, 0]) ** 2)) / (2 * len(gaps))
        row[kind] = {
            "value": value,
            "stderr": stderr,
            "interval": [value - half, value + half],
            "ratio": seeds.jackknife(lambda bound, gap: bound.mean() / gap.mean(), of_supersample.value, gaps)._asdict(),
            "by_chance": found.by_chance[:, index].mean(),
            "of_supersamples": of_supersample.value,
        }
    return row


def _estimate(values: Array) -> dict[str, Array]:
    return seeds.mean(values)._asdict()


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head; ratios are to the gap, and the smallest has a star."""
    rows = [["n", "gap", "bound", "raw", "ratio", "chance", "corrected", "ratio", "chance"]]
    for row in results["sizes"]:
        first = [str(row["n"]), f"{row['gap']['value']:.4f} ± {row['gap']['stderr']:.4f}"]
        for name in (*ON_THE_GAP, INTERPOLATING):
            cells = []
            for kind in ("raw", "corrected"):
                one = row["bounds"][name][kind]
                star = " *" if name in row["tightest"][kind] else "  "
                cells += [f"{one['value']:.4f} ± {one['stderr']:.4f}", f"{one['ratio']['value']:.2f}{star}", f"{one['by_chance']:.4f}"]
            title = name.replace("_", " ").removesuffix(" cmi")
            errors = name == INTERPOLATING and row["train_error"]["value"] > 0
            rows.append([*first, f"{title}, no bound" if errors else title, *cells])
            first = [""] * len(first)
    return rows


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.cmi(results)
