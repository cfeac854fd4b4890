"""Sixty-four seeds times sixteen scales of a diagonal net, trained to a loss of 1e-12, to as many batched matrix products alone.

Half of the seeds go to each device, four at a time; the whole is one compiled program. The products, X w and X^T r for all 1024
runs, are timed in several layouts, on one device and on all, and the fastest counts. In float64, since rounding alone leaves more
than 1e-12 of a large start in float32. Results go to `results/` as JSON.
"""

import json
import os
from functools import partial
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count()))

import jax
import jax.numpy as jnp
from measure import machine, medians

from jaxgen import implicit_bias, seeds

NUM_SEEDS, NUM_ALPHAS, NUM_EXAMPLES, DIMENSION, SUPPORT = 64, 16, 40, 100, 5
TOLERANCE, AT_ONCE, REPEATS = 1e-12, 4, 3
PART = 10
"""Products are timed for a tenth of the steps."""


def problem(key):
    """Gaussian examples and a teacher with five weights of size one."""
    x_key, sign_key = jax.random.split(key)
    w = jnp.zeros(DIMENSION).at[:SUPPORT].set(jax.random.rademacher(sign_key, (SUPPORT,), float))
    x = jax.random.normal(x_key, (NUM_EXAMPLES, DIMENSION))
    return x, x @ w


def train(data, alphas):
    """A seed's runs for all alphas: weights, steps and whether they converged."""
    found = jax.vmap(partial(implicit_bias.train_diagonal_net, *data, tolerance=TOLERANCE))(alphas)
    return found.w, found.num_steps, found.converged


def product(data, w, num_steps):
    """Two products a step, and nothing else."""
    x = data[0]
    return jax.lax.fori_loop(0, num_steps, lambda _, w: 1e-3 * ((w @ x.T) @ x), w)


def product_in_columns(data, w, num_steps):
    """The same with a run in every column."""
    x = data[0]
    return jax.lax.fori_loop(0, num_steps, lambda _, w: 1e-3 * (x.T @ (x @ w)), w.T)


def on_devices(fn, data, *args):
    """`fn` for every seed: seeds are split among the devices, each of which takes four at a time."""
    count = jax.device_count()
    blocks = jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), data)
    return seeds.run(fn, blocks, *args)


def one_block(data, alphas):
    """Seeds of one device."""
    return jax.lax.map(lambda one: train(one, alphas), data, batch_size=AT_ONCE)


def main():
    """Times everything, prints and writes the figures."""
    jax.config.update("jax_enable_x64", True)
    data = jax.vmap(problem)(jax.random.split(jax.random.key(0), NUM_SEEDS))
    alphas = jnp.logspace(-1.0, 1.0, NUM_ALPHAS)
    _, steps, converged = on_devices(one_block, data, alphas)
    steps = steps.reshape(NUM_SEEDS, NUM_ALPHAS)
    # What four seeds take is what the slowest of their runs takes.
    num_steps = int(steps.reshape(-1, AT_ONCE * NUM_ALPHAS).max(axis=1).mean())
    part = num_steps // PART
    w = jnp.ones((NUM_ALPHAS, DIMENSION))

    def together(fn):
        return jax.jit(lambda data, num_steps: jax.vmap(fn, (0, None, None))(data, w, num_steps))

    def in_fours(data, num_steps):
        return jax.lax.map(lambda one: product(one, w, num_steps), data, batch_size=AT_ONCE)

    rows, columns = together(product), together(product_in_columns)
    runs = {
        "training": lambda: on_devices(one_block, data, alphas),
        "products, rows": lambda: rows(data, part),
        "products, columns": lambda: columns(data, part),
        "products, four seeds at a time on every device": lambda: on_devices(in_fours, data, part),
    }
    per_step = {name: 1e6 * seconds / (num_steps if name == "training" else part) for name, seconds in medians(runs, REPEATS).items()}
    fastest = min(time for name, time in per_step.items() if name != "training")
    found = {
        "machine": machine(),
        "converged": float(converged.mean()),
        "steps": {"mean": num_steps, "least": int(steps.min()), "most": int(steps.max())},
        "microseconds a step": {name: round(time, 1) for name, time in per_step.items()},
        "training / products": round(per_step["training"] / fastest, 3),
    }
    for name, value in found.items():
        print(f"{name:24} {value}")
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    name = f"diagonal-nets-{found['machine']['device']}.json"
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    print(f"medians of {REPEATS}; written to {folder.name}/{name}")


if __name__ == "__main__":
    main()
