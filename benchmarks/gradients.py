"""Per-example gradients and exact traces, in units of one gradient of the mean loss.

Every row is measured in one run with the compiled gradient of the same net and data, in float32; what is printed are ratios of
medians, and the memory that the compiled programs need beside their arguments. Results go to `results/` as JSON.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import optax
from measure import machine, medians

from jaxgen import curvature, gradients, models

REPEATS = 9
CROSS_ENTROPY = optax.losses.softmax_cross_entropy_with_integer_labels


def megabytes(fn, *args):
    """What the compiled program needs beside its arguments and results."""
    analysis = jax.jit(fn).lower(*args).compile().memory_analysis()
    return float("nan") if analysis is None else analysis.temp_size_in_bytes / 2**20


def problem(model, count, *shape):
    """A net at its initialization, with random inputs and labels."""
    x = jax.random.normal(jax.random.key(0), (count, *shape))
    y = jax.random.randint(jax.random.key(1), (count,), 0, 10)
    return models.loss_fn(model.apply, "cross_entropy"), model.init(jax.random.key(2), x), (x, y)


def report(title, times, rows):
    """Prints ratios to the gradient's time and returns them."""
    print(f"\n{title}; one gradient {1e3 * times['gradient']:.1f} ms")
    found = {}
    for name, seconds in times.items():
        if name != "gradient":
            found[name] = round(seconds / times["gradient"], 3)
            print(f"  {name:44} {found[name]:7.2f}   {rows.get(name, '')}")
    return found


def norms(title, model, count, *shape):
    """Norms and dispersion against one gradient and against `vmap` of the gradient."""
    loss_fn, params, batch = problem(model, count, *shape)
    gradient = jax.jit(jax.grad(lambda p, b: loss_fn(p, b).mean()))
    small = jax.tree.map(lambda leaf: leaf[:256], batch)
    some = {
        "gradient": lambda: gradient(params, small),
        "vmap(grad) on 256 examples": lambda: gradients.squared_norms(loss_fn, params, small, method="vmap"),
        "squared_norms on 256 examples": lambda: gradients.squared_norms(loss_fn, params, small),
    }
    runs = {
        "gradient": lambda: gradient(params, batch),
        "squared_norms": lambda: gradients.squared_norms(loss_fn, params, batch),
        "dispersion": lambda: gradients.dispersion(loss_fn, params, batch),
    }
    memory = {name: megabytes(lambda p, b, f=f: f(loss_fn, p, b), params, batch) for name, f in (("squared_norms", gradients.squared_norms),)}
    base = megabytes(lambda p, b: jax.grad(lambda q: loss_fn(q, b).mean())(p), params, batch)
    found = report(title, medians(runs, REPEATS), {"squared_norms": f"memory {memory['squared_norms'] / base:.2f} of the gradient's {base:.0f} MiB"})
    return found | {"memory": round(memory["squared_norms"] / base, 3)} | report(f"{title}, 256 examples", medians(some, REPEATS), {})


def traces():
    """Traces without probes of the parameters against one gradient."""
    found, key = {}, jax.random.key(3)
    model = models.mlp((512, 512, 10))
    loss_fn, params, (x, y) = problem(model, 4096, 784)
    gradient = jax.jit(jax.grad(lambda p, b, f=loss_fn: f(p, b).mean()))
    runs = {
        "gradient": lambda: gradient(params, (x, y)),
        "exact_trace, ReLU": lambda: curvature.exact_trace(model.apply, CROSS_ENTROPY, params, x, y),
    }
    found["ReLU MLP 784-512-512-10, N = 4096"] = report("ReLU MLP 784-512-512-10, N = 4096", medians(runs, REPEATS), {})
    for hidden in (2, 3):
        widths = (*[256] * hidden, 10)
        model = models.mlp(widths, activation="tanh")
        loss_fn, params, batch = problem(model, 1024, 256)
        gradient = jax.jit(jax.grad(lambda p, b, f=loss_fn: f(p, b).mean()))
        exact = curvature.exact_trace(model.apply, CROSS_ENTROPY, params, *batch, key=key, num_probes=64).value
        keys = jax.random.split(key, 32)
        draws = np.array([curvature.trace_by_activations(loss_fn, params, batch, k).value for k in keys])
        error = float(np.sqrt(np.mean((draws - float(exact)) ** 2)) / abs(float(exact)))
        runs = {
            "gradient": lambda g=gradient, p=params, b=batch: g(p, b),
            "trace_by_activations": lambda f=loss_fn, p=params, b=batch: curvature.trace_by_activations(f, p, b, key),
            "exact_trace": lambda m=model, p=params, b=batch: curvature.exact_trace(m.apply, CROSS_ENTROPY, p, *b, key=key),
        }
        title = f"tanh MLP 256-{'-'.join(map(str, widths))}, N = 1024"
        found[title] = report(title, medians(runs, REPEATS), {"trace_by_activations": f"RMS error {100 * error:.1f} %"}) | {
            "RMS error": round(error, 4)
        }
    return found


def main():
    """Runs everything and writes the ratios."""
    found = {
        "machine": machine(),
        "MLP 784-512-512-10, N = 4096": norms("MLP 784-512-512-10, N = 4096", models.mlp((512, 512, 10)), 4096, 784),
        "CNN 16-32-dense on 28x28, N = 512": norms("CNN 16-32-dense on 28x28, N = 512", models.cnn((16, 32), 10), 512, 28, 28, 1),
        **traces(),
    }
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    name = f"gradients-{found['machine']['device']}.json"
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n{found['machine']}; medians of {REPEATS}; written to {folder.name}/{name}", file=sys.stdout)


if __name__ == "__main__":
    main()
