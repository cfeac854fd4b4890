"""The largest margin of 2,000 examples in 1,000 dimensions with a planted teacher, in l_1, l_2 and l_inf, beside one Gram product.

float64, to a certified relative gap of 1e-8. The Gram product is Z Z^T of the same matrix. Every figure is a ratio of medians of one
run; results go to `results/` as JSON.
"""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
from measure import machine, medians

from jaxgen import implicit_bias

NUM_EXAMPLES, DIMENSION, REPEATS = 2000, 1000, 3


def main():
    """Runs everything, prints and writes the figures."""
    jax.config.update("jax_enable_x64", True)
    example_key, teacher_key = jax.random.split(jax.random.key(0))
    x, teacher = jax.random.normal(example_key, (NUM_EXAMPLES, DIMENSION)), jax.random.normal(teacher_key, (DIMENSION,))
    z = jnp.sign(x @ teacher)[:, None] * x
    norms = {"l_1": implicit_bias.lp_norm(1), "l_2": implicit_bias.lp_norm(2), "l_inf": implicit_bias.lp_norm(math.inf)}
    gram = jax.jit(lambda z: z @ z.T)
    runs = {name: lambda norm=norm: implicit_bias.max_margin(z, norm) for name, norm in norms.items()}
    times = medians({"Gram": lambda: gram(z)} | runs, REPEATS)
    found = {"machine": machine()}
    for name, run in runs.items():
        margin = run()
        gap = float((margin.upper - margin.lower) / margin.upper)
        found[name] = {"time / Gram": round(times[name] / times["Gram"], 1), "steps": int(margin.num_steps), "gap": f"{gap:.1e}"}
        print(f"{name:6}", found[name])
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    name = f"max-margin-{found['machine']['device']}.json"
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    print(f"medians of {REPEATS}, a Gram product in {1e3 * times['Gram']:.0f} ms; written to {folder.name}/{name}")


if __name__ == "__main__":
    main()
