"""Which labels a wide net fits first: true, random and worst-case ones for its limiting kernel, on two classes of images (NTK-8).

Fig. 9.1 of Theory of Deep Learning (Arora et al. 2019): first layer of a two-layer ReLU net, inputs of norm one. The kernel's
eigenvalues and the labels' parts along its eigenvectors predict the residual, which a net trained by gradient descent follows
as long as it need not go far for the labels; times a large number (lazy training) it goes less far, and follows for all of them,
within 5 % of the norm of the labels.
Of the true labels under eigenvalues in random order, the control, nothing is fitted early.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxgen import data, models, ntk, optimization, seeds
from jaxgen.studies import _two_classes
from jaxgen.studies._problem import Setup

TITLE = "labels along the eigenvectors of a kernel, and the time to fit them"
DEFAULT_SEEDS = 4
SETTINGS: dict[str, Any] = {
    "classes": [3, 8],
    "n": 100,
    "width": 4096,
    "lazy": 32.0,
    "learning_rate": 0.03,
    "num_steps": 800,
    "every": 8,
    "times": [10 ** (k / 10) for k in range(-20, 31)],
    "error": 0.5,
}
LABELS = ("true", "random", "worst")
HIGHEST = jax.lax.Precision.HIGHEST


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the nets trained on the true labels."""
    part = setup.part("labels")
    rows_key, seeds_key = jax.random.split(setup.key)
    images = _two_classes.two_classes(setup.dataset, SETTINGS["classes"])
    n = min(SETTINGS["n"], len(images.y))
    drawn = data.subsets(rows_key, len(images.y), n, setup.num_seeds)
    found = seeds.run(one_seed, (jax.random.split(seeds_key, setup.num_seeds), drawn.indices), (images.x, images.y), checkpoint=part.folder)
    predicted, times = found["predicted"], found["time_to_error"]
    ordered = (times[:, 0] < times[:, 1]) & (times[:, 1] < times[:, 2])
    results = {
        "n": n,
        "disjoint": drawn.disjoint,
        "times": SETTINGS["times"],
        "net_times": SETTINGS["learning_rate"] * steps_of_net(),
        "eigenvalues": found["eigenvalues"],
        "labels": [{"name": name} | summary(i, found) for i, name in enumerate(LABELS)],
        "control": {"predicted": predicted[:, 3], "time_to_error": times[:, 3]},
        "ordered": jnp.mean(ordered, dtype=predicted.dtype),
    }
    return results, found["params"]


def one_seed(seed: tuple[Key[Array, ""], Array], images: tuple[Array, Array]) -> dict[str, PyTree]:
    """Kernel, labels, predictions and nets of one training set.

    Args:
        seed: key, and which images.
        images: images of norm one and labels of all.
    """
    key, rows = seed
    label_key, order_key, *net_keys = jax.random.split(key, 2 + len(LABELS))
    x, y = images[0][rows], images[1][rows]
    kernel = ntk.infinite.two_layer(x)
    spectrum = optimization.kernel_spectrum(kernel)
    values, vectors = spectrum.eigenvalues, spectrum.eigenvectors
    random = jax.random.rademacher(label_key, y.shape, y.dtype)
    labels = jnp.stack([y, random, jnp.sqrt(len(y)) * vectors[:, -1]])
    projections = jnp.matmul(labels, vectors, precision=HIGHEST)
    shuffled = jnp.matmul(vectors * jax.random.permutation(order_key, values), vectors.T, precision=HIGHEST)
    scale = jnp.sqrt(len(y)).astype(y.dtype)
    kernels, targets = jnp.stack([kernel] * len(LABELS) + [shuffled]), jnp.concatenate([labels, y[None]])
    found = jax.lax.map(lambda pair: predictions(*pair), (kernels, targets))
    found |= {"eigenvalues": values, "projections": jnp.abs(projections) / scale}
    keys, targets = jnp.concatenate([jnp.stack(net_keys)] * 2), jnp.concatenate([labels] * 2)
    lazy = jnp.repeat(jnp.array([1.0, SETTINGS["lazy"]], y.dtype), len(LABELS))
    params, residuals = jax.lax.map(lambda run: descend(run[0], run[1], run[2], x), (keys, targets, lazy))
    found["net"], found["lazy"] = jnp.split(residuals / scale, 2)
    return found | {"params": jax.tree.map(lambda leaf: leaf[0], params)}


def predictions(kernel: Float[Array, "n n"], y: Float[Array, " n"]) -> dict[str, Array]:
    """What a kernel that stays constant says of labels: alignment, residual by flow and at the net's steps, time to an error.

    Args:
        kernel: H.
        y: labels.
    """
    scale = jnp.sqrt(len(y)).astype(y.dtype)
    aligned = ntk.eigen_alignment(kernel, y)
    steps = optimization.training_filter(aligned.eigenvalues, learning_rate=SETTINGS["learning_rate"], num_steps=steps_of_net())
    return {
        "energy": aligned.cumulative_energy,
        "alignment": ntk.kernel_target_alignment(kernel, y),
        "predicted": ntk.predicted_residual(kernel, y, jnp.array(SETTINGS["times"])) / scale,
        "limit": jnp.linalg.norm(steps.residual * aligned.projections, axis=-1) / scale,
        "time_to_error": ntk.time_to_error(kernel, y, SETTINGS["error"] * scale),
    }


def steps_of_net() -> Int[Array, " T"]:
    """Numbers of steps after which the net's residual is recorded."""
    return SETTINGS["every"] * jnp.arange(SETTINGS["num_steps"] // SETTINGS["every"] + 1)


def descend(key: Key[Array, ""], y: Float[Array, " n"], scale: Float[Array, ""], x: Float[Array, "n d"]) -> tuple[PyTree, Float[Array, " T"]]:
    """A net times alpha, less what it is at first, trained by gradient descent on half the sum of squares; its residual along the way.

    The step size is over alpha^2: the kernel is then the same for any alpha, and the weights move by 1/alpha as much (`ntk.lazy`).

    Args:
        key: of the net.
        y: labels.
        scale: alpha.
        x: inputs.
    """
    sign_key, init_key = jax.random.split(key)
    net = models.two_layer_relu(SETTINGS["width"], signs=jax.random.rademacher(sign_key, (SETTINGS["width"],), x.dtype))
    start = net.init(init_key, x[:1])
    target = net.apply(start, x) + y / scale

    def step(params, _):
        gradient = jax.grad(lambda params: jnp.sum((net.apply(params, x) - target) ** 2) / 2)(params)
        return jax.tree.map(lambda p, g: p - SETTINGS["learning_rate"] * g, params, gradient), None

    def record(params, _):
        params, _ = jax.lax.scan(step, params, None, length=SETTINGS["every"])
        return params, scale * jnp.linalg.norm(net.apply(params, x) - target)

    params, residuals = jax.lax.scan(record, start, None, length=SETTINGS["num_steps"] // SETTINGS["every"])
    return params, jnp.concatenate([jnp.linalg.norm(y)[None], residuals])


def summary(i: int, found: dict[str, Array]) -> dict[str, Any]:
    """What is reported of one kind of labels.

    Args:
        i: which of `LABELS`.
        found: results of `one_seed` with a leading axis of seeds.
    """
    names = ("projections", "energy", "alignment", "predicted", "time_to_error", "limit", "net", "lazy")
    kept = {name: found[name][:, i] for name in names}
    return kept | {f"{name}_off": seeds.mean(jnp.abs(kept[name] - kept["limit"]).max(axis=1))._asdict() for name in ("net", "lazy")}


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    head = ["labels", "alignment", f"time to {SETTINGS['error']:g}", "predicted at the end", "net", "farthest", "lazy net", "farthest"]
    rows = [head]
    for row in results["labels"]:
        rows.append(
            [
                row["name"],
                f"{_mean(row['alignment']):.3f}",
                f"{_mean(row['time_to_error']):.3g}",
                *(text for name in ("limit", "net", "lazy") for text in last_and_off(row, name)),
            ]
        )
    return [*rows, ["true, control", "", f"{_mean(results['control']['time_to_error']):.3g}", *[""] * 5]]


def last_and_off(row: dict[str, Any], name: str) -> list[str]:
    """Cells of one kind of residual: its last value and, of a net, how far it gets from the prediction.

    Args:
        row: results of one kind of labels.
        name: which residual.
    """
    last = f"{_mean([one[-1] for one in row[name]]):.3f}"
    off = row.get(f"{name}_off")
    return [last] if off is None else [last, f"{off['value']:.3f} ± {off['stderr']:.3f}"]


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.ntk_alignment(results)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
