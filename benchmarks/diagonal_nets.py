"""Sixty-four seeds times sixteen scales of a diagonal net, trained to a loss of 1e-12, to as many batched matrix products alone.

Half of the seeds go to each device, one or several at a time; the whole is one compiled program. The products, X w and X^T r for
all 1024 runs, are timed in rows and in columns, on one device and on all, with as many seeds at a time; the fastest of each
counts. In float64, since rounding alone leaves more than 1e-12 of a large start in float32. Results go to `results/` as JSON.
"""

import json
import os
from functools import partial
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count()))

import jax
import jax.numpy as jnp
import numpy as np
from measure import machine, medians

from jaxgen import implicit_bias, seeds

NUM_SEEDS, NUM_ALPHAS, NUM_EXAMPLES, DIMENSION, SUPPORT = 64, 16, 40, 100, 5
TOLERANCE, AT_ONCE, REPEATS = 1e-12, (1, 4), 3
PART, SCALE = 10, 4e-3
"""Products are timed for a tenth of the steps, and scaled so that they neither vanish nor overflow."""


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


def product_in_rows(data, w, num_steps):
    """Two products a step, and nothing else, with a run in every row."""
    x, transposed = data
    return jax.lax.fori_loop(0, num_steps, lambda _, w: SCALE * ((w @ transposed) @ x), w)


def product_in_columns(data, w, num_steps):
    """The same with a run in every column."""
    x, transposed = data
    return jax.lax.fori_loop(0, num_steps, lambda _, w: SCALE * (transposed @ (x @ w)), w.T)


def over_seeds(fn, at_once):
    """`fn` as a function of the seeds of one device, several of which are taken at a time."""

    def of_block(data, *args):
        return jax.lax.map(lambda one: fn(one, *args), data, batch_size=at_once if at_once > 1 else None)

    return of_block


def on_devices(fn, data, *args):
    """`fn` of the seeds of every device, among which all are split."""
    count = jax.device_count()
    blocks = jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), data)
    return seeds.run(fn, blocks, *args)


def trained(data, alphas):
    """Training of all seeds with each number of them at a time, the steps that each takes, and what is found."""
    runs, num_steps = {}, {}
    for at_once in AT_ONCE:
        name, fn = f"training, {at_once} at a time", over_seeds(train, at_once)
        runs[name] = partial(on_devices, fn, data, alphas)
        _, steps, converged = map(np.asarray, runs[name]())
        # What some seeds take together is what the slowest of their runs takes.
        num_steps[name] = int(steps.reshape(-1, at_once * NUM_ALPHAS).max(axis=1).mean())
    ends = {"mean": float(steps.mean()), "least": int(steps.min()), "most": int(steps.max()), "of the slowest, mean": num_steps}
    return runs, num_steps, {"converged": float(converged.mean()), "steps": ends}


def multiplied(x, part):
    """The products alone, for part of the steps, in every layout."""
    data, w, runs = (x, jnp.array(x.swapaxes(1, 2))), jnp.ones((NUM_ALPHAS, DIMENSION)), {}
    for layout, product in (("rows", product_in_rows), ("columns", product_in_columns)):
        together = jax.jit(lambda data, num_steps, product=product: jax.vmap(product, (0, None, None))(data, w, num_steps))
        runs[f"products in {layout}, all on one device"] = partial(together, data, part)
        for at_once in AT_ONCE:
            fn = over_seeds(product, at_once)
            runs[f"products in {layout}, {at_once} at a time"] = partial(on_devices, fn, data, w, part)
    return runs


def main():
    """Times everything, prints and writes the figures."""
    jax.config.update("jax_enable_x64", True)
    data = jax.vmap(problem)(jax.random.split(jax.random.key(0), NUM_SEEDS))
    training, num_steps, found = trained(data, jnp.logspace(-1.0, 1.0, NUM_ALPHAS))
    part = max(num_steps.values()) // PART
    times = medians(training | multiplied(data[0], part), REPEATS)
    per_step = {name: 1e6 * seconds / num_steps.get(name, part) for name, seconds in times.items()}
    fastest = [min(time for name, time in per_step.items() if (name in training) == is_training) for is_training in (True, False)]
    found = {"machine": machine()} | found
    found |= {
        "microseconds a step": {name: round(time, 1) for name, time in per_step.items()},
        "training / products": round(fastest[0] / fastest[1], 3),
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
