"""Where steepest descent in l_{4/3} ends: it depends on the step size, and even infinitesimal steps miss the least norm (BIAS-12).

Fig. 8.1 of Arora et al., Theory of Deep Learning, on its problem of two examples in three dimensions, and on a random problem for
each seed with the same singular values, so that the same step sizes are as stable. Descent in l_2 is the control: every step size
ends at the interpolator of least norm. No data set is used.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import implicit_bias, seeds
from jaxgen.studies._problem import Setup

TITLE = "limits of steepest descent by step size"
DEFAULT_SEEDS = 64
SETTINGS: dict[str, Any] = {
    "p": 4 / 3,
    "learning_rates": [0.08, 0.05, 0.03, 0.02, 0.01, 0.003, 0.001],
    "time": 15.0,
    "num_points": 120,
    "rtol": 1e-7,
    "x": [[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]],
    "y": [1.0, 10.0],
}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the limits on the book's problem and on the random ones."""
    x, y = jnp.array(SETTINGS["x"]), jnp.array(SETTINGS["y"])
    drawn = jax.jit(jax.vmap(lambda key: random_problem(key, x, y)))(jax.random.split(setup.key, setup.num_seeds))
    problems = jax.tree.map(lambda book, others: jnp.concatenate([book[None], others]), (x, y), drawn)
    found = seeds.run(on_problem, problems, checkpoint=setup.part("limits").folder)
    setup.progress("trajectories")
    measured = {name: found[name][1:] for name in ("excess", "spread", "distance", "euclidean_excess", "euclidean_spread")}
    results = {
        "learning_rates": SETTINGS["learning_rates"],
        "book": jax.tree.map(lambda leaf: leaf[0], found) | {"trajectories": jax.jit(trajectories)(x, y)},
        "random": measured,
        "means": {name: seeds.mean(values)._asdict() for name, values in measured.items()},
    }
    return results, {"limits": found["limits"], "euclidean_limits": found["euclidean_limits"]}


def random_problem(key: Key[Array, ""], x: Float[Array, "n d"], y: Float[Array, " n"]) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    """Examples with the singular values of x, in random directions, and random targets of the size of y.

    Args:
        key: of the problem.
        x: examples in rows.
        y: targets.
    """
    keys = jax.random.split(key, 3)
    singular_values = jnp.linalg.svd(x, compute_uv=False)
    left, right = (jnp.linalg.qr(jax.random.normal(k, (size, len(y)), x.dtype))[0] for k, size in zip(keys[:2], x.shape, strict=True))
    targets = jax.random.normal(keys[2], y.shape, y.dtype)
    return (left * singular_values) @ right.T, targets * jnp.linalg.norm(y) / jnp.linalg.norm(targets)


def on_problem(problem: tuple[Float[Array, "n d"], Float[Array, " n"]]) -> dict[str, Array]:
    """Limits by step size in l_p, the last of them that of the flow, with what they exceed the least norm by; the same in l_2.

    Args:
        problem: examples in rows, and targets.

    Returns:
        For the step sizes and the flow: `limits` and `norms`, their `excess` over the least norm, relative, and their `distance`
        from the limit of the flow over its length; the `least` interpolator and its `least_norm`; the `spread`, the largest distance
        between limits of different step sizes, relative; and with `euclidean_` before them, the limits, excess and spread in l_2.
    """
    x, y = problem
    norm, euclidean = implicit_bias.lp_norm(SETTINGS["p"]), implicit_bias.lp_norm(2)
    least = implicit_bias.min_norm_interpolator_lp(x, y, SETTINGS["p"])
    end = implicit_bias.steepest_flow(norm, _gradient(x, y), jnp.zeros_like(least), jnp.array([SETTINGS["time"]]), rtol=SETTINGS["rtol"])
    limits = jnp.concatenate([_limits(norm, x, y), end])
    norms = jax.vmap(norm.value)(limits)
    euclidean_limits, shortest = _limits(euclidean, x, y), implicit_bias.min_norm_interpolator(x, y)
    return {
        "limits": limits,
        "norms": norms,
        "excess": norms / norm.value(least) - 1,
        "distance": jnp.linalg.norm(limits - end, axis=1) / jnp.linalg.norm(end),
        "least": least,
        "least_norm": norm.value(least),
        "spread": _spread(limits[:-1]),
        "euclidean_limits": euclidean_limits,
        "euclidean_excess": jnp.linalg.norm(euclidean_limits, axis=1) / jnp.linalg.norm(shortest) - 1,
        "euclidean_spread": _spread(euclidean_limits),
    }


def trajectories(x: Float[Array, "n d"], y: Float[Array, " n"]) -> Float[Array, "R P d"]:
    """Points on the way for each step size, dense at first.

    Args:
        x: examples in rows.
        y: targets.
    """
    fractions = jnp.linspace(0.0, 1.0, SETTINGS["num_points"]) ** 3
    paths = jax.vmap(lambda rate: _descent(implicit_bias.lp_norm(SETTINGS["p"]), x, y, rate, path=True))(_rates(x))
    steps = jnp.round(fractions * SETTINGS["time"] / _rates(x)[:, None]).astype(jnp.int32)
    return jnp.take_along_axis(paths, jnp.minimum(steps, paths.shape[1] - 1)[:, :, None], axis=1)


def _rates(x: Array) -> Array:
    return jnp.array(SETTINGS["learning_rates"], x.dtype)


def _gradient(x: Array, y: Array) -> Any:
    return lambda w: 2 * x.T @ (x @ w - y)


def _descent(norm: implicit_bias.Norm, x: Array, y: Array, rate: Array, *, path: bool = False) -> Array:
    """The last point from zero, after the same number of steps for every rate, or every point on the way."""
    num_steps = round(SETTINGS["time"] / min(SETTINGS["learning_rates"]))
    record = (lambda w, gradient, t: w) if path else None
    last, points = implicit_bias.steepest_descent(norm, _gradient(x, y), jnp.zeros(x.shape[1], x.dtype), jnp.full(num_steps, rate), record=record)
    return points if path else last


def _limits(norm: implicit_bias.Norm, x: Array, y: Array) -> Array:
    return jax.vmap(lambda rate: _descent(norm, x, y, rate))(_rates(x))


def _spread(limits: Array) -> Array:
    return jnp.linalg.norm(limits[:, None] - limits[None, :], axis=2).max() / jnp.linalg.norm(limits[-1])


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    book, means = results["book"], results["means"]

    def mean(name: str, *i: int) -> str:
        value, stderr = (means[name][part][i[0]] if i else means[name][part] for part in ("value", "stderr"))
        return f"{value:.1e} ± {stderr:.0e}" if name.startswith("euclidean") else f"{value:.5f} ± {stderr:.5f}"

    rows = [["step size", "w_1", "norm", "excess", "w_1 in l_2", "random: excess", "from the flow", "excess in l_2"]]
    for i, rate in enumerate([*results["learning_rates"], "flow"]):
        numbers = [f"{book['limits'][i][0]:.5f}", f"{book['norms'][i]:.5f}", f"{book['excess'][i]:.5f}"]
        euclidean = [f"{book['euclidean_limits'][i][0]:.5f}", mean("euclidean_excess", i)] if rate != "flow" else ["", ""]
        rows.append([f"{rate}", *numbers, euclidean[0], mean("excess", i), mean("distance", i), euclidean[1]])
    rows.append(["least norm", f"{book['least'][0]:.5f}", f"{book['least_norm']:.5f}", "0", "", "", "", ""])
    rows.append(["spread", f"{book['spread']:.5f}", "", "", f"{book['euclidean_spread']:.5f}", mean("spread"), "", mean("euclidean_spread")])
    return rows


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.steepest(results)
