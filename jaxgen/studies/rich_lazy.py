"""From the least l1 to the least l2 norm: where diagonal nets end on sparse regressions, by the scale of their start (BIAS-16 to 18).

Examples are images, and targets those of a few of their pixels, with weights of size one. Nets of several depths are trained by
gradient descent from several scales, beside the minimizers of their potentials, which need no training. The control compares nets
with the potential of another depth.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import data, implicit_bias, seeds
from jaxgen.studies._problem import Setup

TITLE = "norms of the ends of diagonal nets against the scale of their start"
DEFAULT_SEEDS = 16
SETTINGS: dict[str, Any] = {
    "n": 20,
    "support": 3,
    "depths": [2, 3, 4],
    "trained_scales": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0],
    "predicted_scales": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
    "relative_step": 0.1,
    "tolerance": 1e-7,
    "max_steps": 100000,
}
MEASURED = ("l1", "l2")


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the weights of its nets."""
    rows_key, seeds_key = jax.random.split(setup.key)
    images = setup.dataset.x_train.reshape(len(setup.dataset.x_train), -1)
    drawn = data.subsets(rows_key, len(images), SETTINGS["n"], setup.num_seeds)
    runs = jax.random.split(seeds_key, setup.num_seeds), drawn.indices
    rows, weights = [], {}
    for depth in SETTINGS["depths"]:
        part = setup.part(f"depth-{depth}")
        found = seeds.run(of_depth(depth), runs, images, checkpoint=part.folder)
        weights[f"depth-{depth}"] = found["trained"].pop("w")
        rows.append(
            {
                "depth": depth,
                "alphas": alphas(depth, "trained_scales"),
                "predicted_alphas": alphas(depth, "predicted_scales"),
                "trained": found["trained"],
                "predicted": found["predicted"],
                "means": {kind: {name: seeds.mean(found[kind][name])._asdict() for name in MEASURED} for kind in ("trained", "predicted")},
                "gap": seeds.mean(found["gap"])._asdict(),
                "gap_of_another_depth": seeds.mean(found["control"])._asdict(),
                "num_steps": found["num_steps"].max(axis=0),
                "converged": found["converged"].all(),
            }
        )
    return {"n": SETTINGS["n"], "dimension": images.shape[1], "disjoint": drawn.disjoint, "depths": rows}, weights


def alphas(depth: int, name: str) -> Float[Array, " A"]:
    """Starts at which alpha^L, the size of weights that the start stands for, has the scales of that name."""
    return jnp.array(SETTINGS[name]) ** (1 / depth)


def of_depth(depth: int) -> Any:
    """A function of one seed and the images: norms of trained and predicted weights, and how far they are apart.

    Args:
        depth: L.
    """

    def one_seed(seed: tuple[Key[Array, ""], Array], images: Array) -> dict[str, Any]:
        key, rows = seed
        x, y = problem(key, images, rows)
        starts = alphas(depth, "trained_scales")
        options = {name: SETTINGS[name] for name in ("relative_step", "tolerance", "max_steps")}
        runs = jax.vmap(lambda alpha: implicit_bias.train_diagonal_net(x, y, alpha, depth, **options))(starts)
        trained = implicit_bias.excess_norms(x, y, runs.w)
        predicted = implicit_bias.excess_norm_curve(x, y, alphas(depth, "predicted_scales"), depth)
        same = implicit_bias.excess_norm_curve(x, y, starts, depth).w
        # Of another depth from weights of the same size.
        other = 3 if depth == 2 else 2
        control = implicit_bias.excess_norm_curve(x, y, alphas(other, "trained_scales"), other).w
        size = jnp.abs(same).max(axis=1)
        return {
            "trained": trained._asdict(),
            "predicted": {name: getattr(predicted, name) for name in MEASURED},
            "gap": jnp.abs(runs.w - same).max(axis=1) / size,
            "control": jnp.abs(runs.w - control).max(axis=1) / size,
            "num_steps": runs.num_steps,
            "converged": runs.converged,
        }

    return one_seed


def problem(key: Key[Array, ""], images: Float[Array, "m d"], rows: Array) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    """Images about their mean with the targets of a sparse teacher, turned into orthogonal rows of norm sqrt d.

    That changes neither the interpolators nor where nets end, only how many steps that takes.

    Args:
        key: of the teacher: pixels are drawn with chances like their variances, signs at random.
        images: all images, in rows.
        rows: which of them are examples.
    """
    pixel_key, sign_key = jax.random.split(key)
    d, support = images.shape[1], SETTINGS["support"]
    centred = images - images.mean(axis=0)
    variances = jnp.mean(centred**2, axis=0)
    pixels = jax.random.choice(pixel_key, d, (support,), replace=False, p=variances / variances.sum())
    teacher = jnp.zeros(d, images.dtype).at[pixels].set(jax.random.rademacher(sign_key, (support,), images.dtype))
    _, _, basis = jnp.linalg.svd(centred[rows], full_matrices=False)
    x = jnp.sqrt(d) * basis
    return x, x @ teacher


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["depth", "alpha", "excess l1", "predicted", "excess l2", "predicted", "off by", "another depth's", "steps"]]
    scales = [SETTINGS["predicted_scales"].index(scale) for scale in SETTINGS["trained_scales"]]
    for row in results["depths"]:
        trained, predicted = row["means"]["trained"], row["means"]["predicted"]
        for i, (alpha, j) in enumerate(zip(row["alphas"], scales, strict=True)):
            norms = []
            for name in MEASURED:
                norms += [f"{_rounded(trained[name]['value'][i])} ± {trained[name]['stderr'][i]:.4f}", _rounded(predicted[name]["value"][j])]
            gaps = [f"{row[name]['value'][i]:.1e}" for name in ("gap", "gap_of_another_depth")]
            rows.append([str(row["depth"]), f"{alpha:.3f}", *norms, *gaps, str(row["num_steps"][i])])
    return rows


def _rounded(value: float) -> str:
    """Four digits; rounding below zero is zero."""
    return f"{max(value, 0.0):.4f}"


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.rich_lazy(results)
