"""The KKT residual of an MLP with half a million parameters on a thousand examples, beside its Gram matrix alone.

Two classes of normal vectors and a bias-free ReLU net 784-420-400-1 in float32, trained until log L is about -70. Every figure is
a ratio of medians of one run; results go to `results/` as JSON.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
from measure import machine, medians

from jaxgen import implicit_bias, models, ntk

NUM_EXAMPLES, WIDTHS, ORDER = 1000, (420, 400, 1), 3
NUM_STEPS, DECREASE, REPEATS = 200, 0.4, 9


def problem():
    """A trained net and its examples."""
    model = models.mlp(WIDTHS, bias=False)
    noise_key, mean_key, init_key = jax.random.split(jax.random.key(0), 3)
    y = jnp.where(jnp.arange(NUM_EXAMPLES) % 2 == 0, 1.0, -1.0)
    x = jax.random.normal(noise_key, (NUM_EXAMPLES, 784)) / 28 + 0.05 * y[:, None] * jax.random.normal(mean_key, (784,))
    train = jax.jit(lambda params: implicit_bias.train_to_direction(model.apply, params, x, y, num_steps=NUM_STEPS, decrease=DECREASE))
    return model.apply, train(model.init(init_key, x[:1])).params, x, y


def main():
    """Runs everything, prints and writes the figures."""
    apply_fn, params, x, y = problem()

    def kkt(solver):
        return implicit_bias.max_margin_kkt(apply_fn, params, x, y, order=ORDER, solver=solver)

    gram = ntk.empirical(apply_fn, params, x, mode="trace") * y[:, None] * y
    report = kkt("nnls")
    nearest = jax.jit(implicit_bias.nonnegative_least_squares)
    square = sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(params))
    times = medians(
        {
            "Gram": lambda: ntk.empirical(apply_fn, params, x, mode="trace"),
            "KKT": lambda: kkt("nnls"),
            "KKT, softmax": lambda: kkt("softmax"),
            "least squares": lambda: nearest(gram, ORDER * report.margins, square),
        },
        REPEATS,
    )
    found = {"machine": machine(), "parameters": sum(map(jnp.size, jax.tree.leaves(params))), "support": int((report.multipliers > 0).sum())}
    found |= {f"{name} / Gram": round(times[name] / times["Gram"], 3) for name in times if name != "Gram"} | {
        "Gram, ms": round(1e3 * times["Gram"], 1)
    }
    for name, value in found.items():
        print(f"{name:24} {value}")
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    name = f"kkt-{found['machine']['device']}.json"
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    print(f"medians of {REPEATS}; written to {folder.name}/{name}")


if __name__ == "__main__":
    main()
