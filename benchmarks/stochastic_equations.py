"""Paths of an Ornstein-Uhlenbeck process against the normal variates they need, and draws of gradient noise against a gradient.

Ratios of medians, measured in turns in one run, in float32. Results go to `results/` as JSON.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
from gradients import megabytes, problem
from measure import machine, medians

from jaxgen import gradients, models, processes

PATHS, DIMENSION, STEPS = 100_000, 10, 1000
REPEATS = 1


def _rates():
    return jnp.linspace(0.5, 2.0, DIMENSION), jnp.linspace(0.1, 1.0, DIMENSION)


def equation(key):
    """One path of a 10-dimensional Ornstein-Uhlenbeck process with diagonal noise."""
    rates, spreads = _rates()
    times = jnp.linspace(0.0, 1.0, STEPS + 1)
    return processes.euler_maruyama(key, lambda x, t: -rates * x, lambda x, t: spreads, jnp.zeros(DIMENSION), times, noise="diagonal")[0]


def normals(key):
    """The sum of as many normal variates, drawn in the same loop."""

    def step(total, k):
        return total + jax.random.normal(jax.random.fold_in(key, k), (DIMENSION,)), None

    return jax.lax.scan(step, jnp.zeros(DIMENSION), jnp.arange(STEPS))[0]


def paths():
    """100,000 paths in one program, to the normals alone."""
    keys = jax.random.split(jax.random.key(0), PATHS)
    programs = {name: jax.jit(jax.vmap(fn)) for name, fn in (("euler_maruyama", equation), ("normals", normals))}
    times = medians({name: lambda program=program: program(keys) for name, program in programs.items()}, REPEATS)
    ratio = times["euler_maruyama"] / times["normals"]
    print(f"{PATHS} paths, {STEPS} steps, {DIMENSION} dimensions: {times['euler_maruyama']:.2f} s, {ratio:.2f} of the normals' (aim 1.5)")
    return {"euler_maruyama / normals": round(ratio, 3)}


def draws():
    """A draw of mini-batch gradient noise of the MLP, to a gradient of the mean loss."""
    loss_fn, params, batch = problem(models.mlp((512, 512, 10)), 4096, 784)
    key = jax.random.key(3)
    programs = {
        "gradient": lambda p, b: jax.grad(lambda q: loss_fn(q, b).mean())(p),
        "draw": lambda p, b: gradients.noise_covariance(loss_fn, p, b, batch_size=32).sample(key),
    }
    memory = {name: megabytes(program, params, batch) for name, program in programs.items()}
    compiled = {name: jax.jit(program) for name, program in programs.items()}
    times = medians({name: lambda program=program: program(params, batch) for name, program in compiled.items()}, 9)
    ratio = times["draw"] / times["gradient"]
    print(
        f"a draw of gradient noise, MLP 784-512-512-10, N = 4096: {ratio:.2f} of a gradient's {1e3 * times['gradient']:.0f} ms (aim 1.1),"
        f" memory {memory['draw']:.0f} against {memory['gradient']:.0f} MiB"
    )
    return {"draw / gradient": round(ratio, 3), "memory, draw / gradient": round(memory["draw"] / memory["gradient"], 3)}


def main():
    """Runs both and writes the ratios."""
    found = {"machine": machine(), "paths": paths(), "draws": draws()}
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"stochastic-equations-{found['machine']['device']}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
