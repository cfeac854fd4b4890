"""SVAG against SGD: a step of both, sixteen seeds in one program against sixteen runs, and memory at several numbers of steps.

The digits MLP 64-64-10, in float32. Every figure is a ratio of medians of one run; results go to `results/` as JSON.
"""

import json
import os
from functools import partial
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count()))
os.environ.setdefault("NPROC", "1")

import jax
from measure import machine, medians

from jaxgen import data, models, processes, seeds

NUM_SEEDS, NUM_STEPS, SEED_STEPS, REPEATS = 16, 1000, 4000, 5
BATCH_SIZES = (16, 32, 64, 128)
REFINEMENT = 4.0


def problem():
    """Loss, initial parameters and training set."""
    digits = data.load("digits")
    model = models.mlp((64, 10))
    return models.loss_fn(model.apply, "cross_entropy"), model.init(jax.random.key(0), digits.x_train[:1]), (digits.x_train, digits.y_train)


def batches(key, train, batch_size, num_steps):
    """Two independent sequences of batches."""
    keys = jax.random.split(key)
    return [processes.batch_indices(one, len(train[1]), batch_size, num_steps, mode="iid") for one in keys]


def steps():
    """Time of a step of SVAG over that of a step of SGD, at several batch sizes."""
    loss_fn, params, train = problem()
    sgd = jax.jit(lambda *arguments: processes.sgd(None, loss_fn, *arguments, 0.1)[0])
    svag = jax.jit(lambda *arguments: processes.svag(None, loss_fn, *arguments)[0])
    found = {}
    for batch_size in BATCH_SIZES:
        first, second = batches(jax.random.key(1), train, batch_size, NUM_STEPS)
        runs = {"sgd": lambda a=first: sgd(params, train, a), "svag": lambda a=first, b=second: svag(params, train, a, b, 0.1, REFINEMENT)}
        times = medians(runs, REPEATS)
        found[f"step, b = {batch_size}"] = round(times["svag"] / times["sgd"], 3)
        print(f"b = {batch_size:3}: SGD {1e6 * times['sgd'] / NUM_STEPS:5.1f} us a step, SVAG {1e6 * times['svag'] / NUM_STEPS:5.1f} us")
    return found


def many_seeds():
    """Time of sixteen seeds in one program over that of sixteen runs of the program of one seed."""
    loss_fn, params, train = problem()

    def one_seed(key, train):
        first, second = batches(key, train, 32, SEED_STEPS)
        return processes.svag(key, loss_fn, params, train, first, second, 0.1, REFINEMENT)[0]

    single, keys = jax.jit(one_seed), jax.random.split(jax.random.key(2), NUM_SEEDS)
    runs = {
        "separate": lambda: [jax.block_until_ready(single(key, train)) for key in keys],
        "one a device": partial(seeds.run, one_seed, keys, train),
        "four a device": partial(seeds.run, one_seed, keys, train, chunk_size=4),
    }
    times = medians(runs, REPEATS)
    where = f"{NUM_SEEDS} seeds on {jax.device_count()} devices"
    return {f"{where}, {name}": round(times[name] / times["separate"], 3) for name in runs if name != "separate"}


def memory():
    """Temporary bytes of the compiled program for every further step, without records."""
    loss_fn, params, train = problem()

    def temporary(num_steps):
        rows = jax.ShapeDtypeStruct((num_steps, 32), "int32")
        run = jax.jit(lambda *arguments: processes.svag(None, loss_fn, params, train, *arguments, 0.1, REFINEMENT)[0])
        return run.lower(rows, rows).compile().memory_analysis().temp_size_in_bytes

    return {
        "bytes a further step": (temporary(101_000) - temporary(1_000)) / 100_000,
        "bytes of parameters": 4 * sum(map(jax.numpy.size, jax.tree.leaves(params))),
    }


def main():
    """Runs everything, prints and writes the figures."""
    found = {"machine": machine(), **steps(), **many_seeds(), **memory()}
    for name, value in found.items():
        print(f"{name:36} {value}")
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    name = f"svag-{found['machine']['device']}.json"
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    print(f"medians of {REPEATS}; written to {folder.name}/{name}")


if __name__ == "__main__":
    main()
