"""Thirty masks of a supersample in one program against thirty runs of the single-mask program, and convolutions by patches.

The MLP 784-100-100-2 trains on 250 images of 28 x 28 pixels that each mask chooses, 200 steps of Adam; images are noise, which
costs the same as digits. The small convolutional net is that of the study `cmi`.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count()))
os.environ.setdefault("NPROC", "1")

import jax
import optax
from measure import machine, medians

from jaxgen import models, processes

NUM_MASKS, N, NUM_STEPS, BATCH_SIZE, REPEATS = 30, 250, 200, 50, 3


def _pool(key):
    image_key, label_key = jax.random.split(key)
    return jax.random.uniform(image_key, (2000, 28, 28)), jax.random.bernoulli(label_key, 0.5, (2000,)).astype("int32")


def _training(model, pool, num_steps=NUM_STEPS):
    """A function of (key, pairs, u) that trains under all masks of u; its program is compiled once for each shape."""
    train_loss_fn, eval_loss_fn = (models.loss_fn(model.apply, name) for name in ("cross_entropy", "zero_one"))
    optimizer = optax.adam(1e-3)

    def init(key):
        return model.init(key, pool[0][:1])

    def losses(key, pairs, u):
        options = {"optimizer": optimizer, "batch_size": BATCH_SIZE, "num_steps": num_steps}
        return processes.train_on_masks(key, train_loss_fn, eval_loss_fn, init, pool, pairs, u, **options).losses

    return losses


def masks():
    """Prints the time of 30 masks in one program, spread over devices, and that of 30 single runs."""
    pool = _pool(jax.random.key(0))
    losses = _training(models.mlp((100, 100, 2)), pool)
    pairs, u = processes.supersample(jax.random.key(1), 2000, N, num_masks=NUM_MASKS)
    key = jax.random.key(2)
    separate = "30 runs of one mask"
    runs = {
        separate: lambda: [jax.block_until_ready(losses(key, pairs, u[k : k + 1])) for k in range(NUM_MASKS)],
        "30 masks in one program": lambda: losses(key, pairs, u),
    }
    found = medians(runs, REPEATS)
    print(f"MLP 784-100-100-2, n = {N}, {NUM_STEPS} steps; {len(jax.devices())} x {jax.devices()[0].device_kind}, JAX {jax.__version__}")
    for name, seconds in found.items():
        print(f"  {name:28s} {seconds:7.3f} s   ratio {seconds / found[separate]:.2f}")
    return {"30 masks in one program / 30 runs": round(found["30 masks in one program"] / found[separate], 3)}


def convolutions():
    """Prints the time of a step of the convolutional net in a loop, its convolutions by patches or XLA's own."""
    pool = _pool(jax.random.key(0))
    pairs, u = processes.supersample(jax.random.key(1), 2000, N, num_masks=len(jax.devices()))
    nets = {name: models.cnn((16, 32, 32), 2, strides=2, pooling="none", convolution=name) for name in ("patches", "native")}
    num_steps = 40
    trainings = {name: _training(net, pool, num_steps) for name, net in nets.items()}
    found = medians({name: lambda run=run: run(jax.random.key(2), pairs, u) for name, run in trainings.items()}, 1)
    print("small CNN, one mask a device")
    for name, seconds in found.items():
        print(f"  {name:28s} {1000 * seconds / num_steps:7.2f} ms a step of {BATCH_SIZE} images")
    return {"patches / native": round(found["patches"] / found["native"], 3)}


def main():
    """Runs both and writes the ratios."""
    found = {"machine": machine(), **masks(), **convolutions()}
    path = Path(__file__).parent / "results" / f"supersamples-{found['machine']['device']}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
