"""Growth of l_p margins under the steepest descent of their own norm, and under those of the others (BIAS-24 to BIAS-26).

Linear classifiers of images of two classes, random subsets of which every seed has one. Each descent on the exponential loss, with
steps normalized by the loss, takes the margin of its own norm to the largest there is, by a power of the number of steps, and leaves
those of other norms below theirs, which is the control. With bounded steps, of which the theorem speaks, the margin grows as well,
logarithmically.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgen import data, implicit_bias, seeds
from jaxgen.studies import _two_classes
from jaxgen.studies._problem import Setup
from jaxgen.studies._two_classes import TwoClasses

TITLE = "margins of l_p norms under steepest descents"
DEFAULT_SEEDS = 12
SETTINGS: dict[str, Any] = {
    "classes": [3, 8],
    "n": 100,
    "exponents": ["1", "4/3", "2", "3", "inf"],
    "num_steps": 20000,
    "every": 10,
    "num_records": 30,
}
EXPONENTS = {"1": 1.0, "4/3": 4 / 3, "2": 2.0, "3": 3.0, "inf": math.inf}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the classifiers that its descents end with."""
    images = _two_classes.two_classes(setup.dataset, SETTINGS["classes"])
    n = min(SETTINGS["n"], len(images.y))
    drawn = data.subsets(setup.key, len(images.y), n, setup.num_seeds)
    found, classifiers = seeds.run(one_seed, drawn.indices, images, checkpoint=setup.part("descents").folder)
    kept = recorded()
    results = {
        "n": n,
        "disjoint": drawn.disjoint,
        "exponents": SETTINGS["exponents"],
        "steps": SETTINGS["every"] * kept,
        "separable": found.pop("separable").mean(),
        "measured": found,
        "means": {name: seeds.mean(values)._asdict() for name, values in found.items()},
    }
    return results, {"classifiers": classifiers}


def recorded() -> np.ndarray:
    """Numbers of the records that are kept, about equally far apart in their logarithms."""
    last = SETTINGS["num_steps"] // SETTINGS["every"] - 1
    return np.unique(np.round(np.geomspace(1, last, SETTINGS["num_records"])).astype(int))


def one_seed(rows: Array, images: TwoClasses) -> tuple[dict[str, Array], Float[Array, "P d"]]:
    """What is measured on one subset of the images, and the classifiers that the descents end with.

    Args:
        rows: of the subset.
        images: of two classes.

    Returns:
        `separable`: whether the largest l_2 margin is positive. `largest`: largest margin of every norm, and `gap`: of its certified
        interval, relative. `ratios`: normalized margins over the largest ones, a row for each descent, recorded step and norm;
        `bounded`: with bounded steps, for each descent and recorded step, of its own norm. `test_error`: of each descent at its end.
    """
    z = implicit_bias.absorb_labels(images.x[rows], images.y[rows])
    norms = [implicit_bias.lp_norm(EXPONENTS[name]) for name in SETTINGS["exponents"]]
    best = [implicit_bias.max_margin(z, norm) for norm in norms]
    largest, upper = (jnp.stack([getattr(one, name) for one in best]) for name in ("lower", "upper"))
    margins, bounded, ends = zip(*(descents(z, norm, norms) for norm in norms), strict=True)
    ends = jnp.stack(ends)
    found = {
        "separable": (largest > 0).all().astype(z.dtype),
        "largest": largest,
        "gap": (upper - largest) / upper,
        "ratios": jnp.stack(margins) / largest,
        "bounded": jnp.stack(bounded) / largest[:, None],
        "test_error": jnp.mean(images.x_test @ ends.T * images.y_test[:, None] <= 0, axis=0),
    }
    return found, ends


def descents(
    z: Float[Array, "n d"], norm: implicit_bias.Norm, norms: list[implicit_bias.LpNorm]
) -> tuple[Float[Array, "S P"], Float[Array, " S"], Float[Array, " d"]]:
    """Steepest descents of one norm from zero: with normalized steps, margins of every norm; with bounded ones, of its own.

    Normalized steps are those of size 1 / B^2 of steepest descent on the logarithm of the loss.

    Args:
        z: rows y_i x_i.
        norm: of the descents.
        norms: of the margins.

    Returns:
        Both at the steps kept, and the last iterate of the former.
    """
    kept, start = recorded(), jnp.zeros_like(z[0])
    rates = jnp.full(SETTINGS["num_steps"], jax.vmap(norm.dual)(z).max() ** -2)

    def gradient(w: Array) -> Array:
        return -implicit_bias.margin_weights(z @ w) @ z

    def record(w: Array, gradient: Array, t: Array) -> Array:
        return (z @ w).min() / jnp.stack([measured.value(w) for measured in norms])

    end, margins = implicit_bias.steepest_descent(norm, gradient, start, rates, record=record, every=SETTINGS["every"])
    trace = implicit_bias.steepest_descent_exp(z, norm, start, SETTINGS["num_steps"], every=SETTINGS["every"])
    return margins[kept], (trace.margin / trace.norm)[kept], end


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head; margins are over the largest."""
    means, exponents = results["means"], results["exponents"]
    rows = [["descent", *(f"l{q} margin" for q in exponents), "own, bounded", "test error"]]
    for i, p in enumerate(exponents):
        shown = [_shown(means["ratios"]["value"][i][-1][j], means["ratios"]["stderr"][i][-1][j]) for j in range(len(exponents))]
        bounded = _shown(means["bounded"]["value"][i][-1], means["bounded"]["stderr"][i][-1])
        rows.append([f"l{p}", *shown, bounded, f"{100 * means['test_error']['value'][i]:.1f} %"])
    return rows


def _shown(value: float, error: float) -> str:
    return f"{value:.3f} ± {error:.3f}"


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.margin(results)
