"""Twelve seeds in one program against twelve runs of the single-seed program; and what a multi-seed study holds in memory.

The digits MLP 64-64-10 trains for 600 steps with its auxiliary process, dispersion over seeds recorded at every step.
"""

import os
import statistics
import time
from functools import partial

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count()))
os.environ.setdefault("NPROC", "1")

import jax

from jaxgen import data, gradients, models, processes, seeds

NUM_SEEDS, NUM_STEPS, REPEATS = 12, 600, 7
AXIS = "seeds"


def _one_seed(key, pool, *, num_steps=NUM_STEPS, lock_step=False):
    sample_key, batch_key, noise_key = jax.random.split(key, 3)
    rows = jax.random.randint(sample_key, (200,), 0, len(pool[1]))
    model = models.mlp((64, 10))
    loss_fn = models.loss_fn(model.apply, "cross_entropy")
    batches = processes.batch_indices(batch_key, 200, 20, num_steps)

    def record(params, gradient, t):
        return gradients.seed_dispersion(gradient, axis_name=AXIS) if lock_step else gradients.seed_dispersion(_lone(gradient), center="zero")

    params = model.init(jax.random.key(0), pool[0][:1])
    train = (pool[0][rows], pool[1][rows])
    return processes.auxiliary_weight_process(noise_key, loss_fn, params, train, batches, 0.1, 1e-3, record=record)


def _lone(tree):
    return jax.tree.map(lambda leaf: leaf[None], tree)


def _median(run):
    jax.block_until_ready(run())
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def speed():
    """Prints the medians and their ratios."""
    digits = data.load("digits")
    pool = (digits.x_train, digits.y_train)
    keys = jax.random.split(jax.random.key(1), NUM_SEEDS)
    single = jax.jit(_one_seed)
    separate = _median(lambda: [jax.block_until_ready(single(key, pool)) for key in keys])

    in_lock_step = partial(_one_seed, lock_step=True)
    together = _median(lambda: seeds.run(in_lock_step, keys, pool, axis_name=AXIS))
    chunked = _median(lambda: seeds.run(_one_seed, keys, pool))
    by_threes = _median(lambda: seeds.run(_one_seed, keys, pool, chunk_size=3))
    mapped = jax.jit(jax.vmap(_one_seed, in_axes=(0, None)))
    one_device = _median(lambda: mapped(keys, pool))
    print(f"{len(jax.devices())} x {jax.devices()[0].device_kind}, JAX {jax.__version__}; medians of {REPEATS}")
    print(f"12 separate runs                      {separate:7.3f} s")
    print(f"one program, lock step over devices   {together:7.3f} s   ratio {together / separate:.2f}")
    print(f"one program, chunks over devices      {chunked:7.3f} s   ratio {chunked / separate:.2f}")
    print(f"one program, chunks of three          {by_threes:7.3f} s   ratio {by_threes / separate:.2f}")
    print(f"one program, vmap on one device       {one_device:7.3f} s   ratio {one_device / separate:.2f}")


def memory():
    """Prints what the compiled study needs besides its arguments, as a multiple of K d floats, at several T."""
    digits = data.load("digits")
    pool = (digits.x_train, digits.y_train)
    model = models.mlp((64, 10))
    loss_fn = models.loss_fn(model.apply, "cross_entropy")
    num_seeds, n, parameters = 32, 200, 64 * 64 + 64 + 64 * 10 + 10

    def sample(key, pool, k):
        rows = jax.random.randint(key, (n,), 0, len(pool[1]))
        train = (pool[0][rows], pool[1][rows])
        return train, train

    def study(key, pool, num_steps):
        return processes.multi_seed_study(
            key,
            loss_fn,
            loss_fn,
            lambda key: model.init(key, digits.x_train[:1]),
            sample,
            pool,
            n=n,
            batch_size=20,
            num_steps=num_steps,
            learning_rate=0.1,
            num_seeds=num_seeds,
        )

    unit = 4 * num_seeds * parameters
    for num_steps in (1250, 2500, 5000):
        analysis = jax.jit(study, static_argnums=2).lower(jax.random.key(1), pool, num_steps).compile().memory_analysis()
        if analysis is None:
            return
        in_all = (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / unit
        records, images = 3 * 4 * num_seeds * num_steps / unit, 4 * num_seeds * n * 64 / unit
        print(
            f"K = {num_seeds}, d = {parameters}, T = {num_steps}: {in_all:5.1f} K d floats in all, of which three numbers "
            f"kept at every step {records:4.1f} and the training images {images:4.1f}; K T d would be {num_steps}, K n d {n}"
        )


def importing():
    """Prints the time that importing jaxgen takes as a multiple of importing jax."""
    import subprocess
    import sys

    times = {}
    for name in ("jax", "jaxgen"):
        runs = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            runs.append(time.perf_counter() - start)
        times[name] = statistics.median(runs)
    print(f"import jax {times['jax']:.2f} s, import jaxgen {times['jaxgen']:.2f} s: ratio {times['jaxgen'] / times['jax']:.2f}")


if __name__ == "__main__":
    importing()
    speed()
    memory()
