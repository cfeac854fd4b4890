"""All complexity measures of a hundred checkpoints of the digits MLP, beside the forward passes and SVDs that they contain.

Checkpoints of one run of gradient descent are mapped in one program, of measures and of what they are compared with: as many
forward passes on the training set as the measures take (a gradient counts as the one pass in it), and the singular values of
every layer and of its distance from the start. Ratios are of medians of one run; results go to `results/` as JSON.
"""

import inspect
import json
from pathlib import Path

import jax
import jax.numpy as jnp
from measure import machine, medians

from jaxgen import bounds, data, models

NUM_CHECKPOINTS, WIDTHS, REPEATS = 100, (64, 10), 3
DEFAULTS = inspect.signature(bounds.complexity_measures).parameters
SINGLE_PASSES = 6
"""Outputs, slopes in the inputs, Fisher-Rao norm, gradient, per-example gradients, and the risk that perturbations start from."""


def problem():
    """The model, its start, checkpoints of its training, and the examples."""
    digits = data.load("digits")
    x, y = digits.x_train, digits.y_train
    model = models.mlp(WIDTHS)
    start = model.init(jax.random.key(0), x[:1])
    loss_fn = models.loss_fn(model.apply, "cross_entropy")

    def step(params, _):
        slopes = jax.grad(lambda params: loss_fn(params, (x, y)).mean())(params)
        params = jax.tree.map(lambda leaf, slope: leaf - 0.5 * slope, params, slopes)
        return params, params

    _, checkpoints = jax.jit(lambda start: jax.lax.scan(step, start, None, length=NUM_CHECKPOINTS))(start)
    return model.apply, start, checkpoints, x, y


def num_passes():
    """Forward passes in the measures of one checkpoint."""
    draws, steps, bisections = (DEFAULTS[name].default for name in ("num_draws", "num_steps", "num_bisections"))
    return SINGLE_PASSES + 2 * bisections * (draws + steps + 1)


def main():
    """Runs everything, prints and writes the figures."""
    apply_fn, start, checkpoints, x, y = problem()

    @jax.jit
    def measures(checkpoints, start, x, y):
        def of_one(params):
            return bounds.complexity_measures(apply_fn, params, start, x, y, key=jax.random.key(1))

        return jax.lax.map(of_one, checkpoints)

    @jax.jit
    def passes(checkpoints, x):
        def of_one(params):
            def once(total, _):
                return total + apply_fn(jax.tree.map(lambda leaf: leaf + 1e-30 * total, params), x).max(), None

            return jax.lax.scan(once, 0.0, None, length=num_passes())[0]

        return jax.lax.map(of_one, checkpoints)

    @jax.jit
    def singular_values(checkpoints, start):
        def of_one(params):
            matrices = jax.tree.leaves(params) + jax.tree.leaves(jax.tree.map(jnp.subtract, params, start))
            return [jnp.linalg.svd(matrix, compute_uv=False) for matrix in matrices if matrix.ndim == 2]

        return jax.lax.map(of_one, checkpoints)

    times = medians(
        {
            "measures": lambda: measures(checkpoints, start, x, y),
            "forward passes": lambda: passes(checkpoints, x),
            "SVDs": lambda: singular_values(checkpoints, start),
        },
        REPEATS,
    )
    found = {"machine": machine(), "checkpoints": NUM_CHECKPOINTS, "measures": len(bounds.MEASURES), "forward passes each": num_passes()}
    found |= {f"{name}, s": round(seconds, 3) for name, seconds in times.items()}
    found["measures / (forward passes + SVDs)"] = round(times["measures"] / (times["forward passes"] + times["SVDs"]), 3)
    for name, value in found.items():
        print(f"{name:36} {value}")
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    name = f"measures-{found['machine']['device']}.json"
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    print(f"medians of {REPEATS}; written to {folder.name}/{name}")


if __name__ == "__main__":
    main()
