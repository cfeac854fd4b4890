"""Per-example gradients and exact traces, in units of one gradient of the mean loss.

Every row is measured in one run with the compiled gradient of the same net and data, in float32; what is printed are ratios of
medians, and the memory that the compiled programs need beside their arguments. For the rows that come close to what the processor
can do, the limit is measured too: their products of matrices alone, in the shapes that they are taken in, and the bytes that have
to move besides. Results go to `results/` as JSON.
"""

import itertools
import json
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from measure import machine, medians

from jaxgen import curvature, gradients, models
from jaxgen.curvature.exact_traces import PIECES

REPEATS = 9
CROSS_ENTROPY = optax.losses.softmax_cross_entropy_with_integer_labels
RELU, TANH = (784, 512, 512, 10), (256, 256, 256, 10)
"""Widths of the nets whose limits are measured."""


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


def passes(widths, count):
    """Products of a forward pass, of the cotangents pulled back, and of the gradients of weights: (how many, rows, inner, columns)."""
    layers = list(itertools.pairwise(widths))
    forward = [(1, count, inputs, outputs) for inputs, outputs in layers]
    back = [(1, count, outputs, inputs) for inputs, outputs in layers[1:]]
    return forward, back, [(1, inputs, count, outputs) for inputs, outputs in layers]


def in_pieces(shapes, columns=1):
    """The same products for several cotangents an example, a piece of the examples at a time."""
    return [(rows // PIECES, columns * PIECES, inner, outer) for _, rows, inner, outer in shapes]


def limits():
    """What three rows would take if they were their products alone, and what bytes they move beyond a gradient's.

    An exact trace pulls nine columns back, one less than there are outputs, and for smooth functions the gradient with them and
    one product of squares a pair of layers; a dispersion has the products of a gradient, whose factors are centred and squared.
    """
    found = {}
    for name, widths, count in (("dispersion", RELU, 4096), ("ReLU", RELU, 4096), ("tanh", TANH, 1024)):
        forward, back, weights = passes(widths, count)
        gradient = row = [*forward, *back, *weights]
        if name == "ReLU":
            row = [*in_pieces(forward), *in_pieces(back, 9)]
        elif name == "tanh":
            row = [*forward, *in_pieces(back, 10), (1, count, *widths[1:3])]
        work = {what: sum(math.prod(shape) for shape in shapes) for what, shapes in (("row", row), ("gradient", gradient))}
        times = medians({"row": products(row), "gradient": products(gradient)}, REPEATS)
        found[name] = {
            "multiplications an example, millions": round(work["row"] / count / 1e6, 3),
            "... in gradients": round(work["row"] / work["gradient"], 3),
            "products alone, ms": round(1e3 * times["row"], 2),
            "... GFLOP/s": round(2e-9 * work["row"] / times["row"]),
            "products of a gradient alone, ms": round(1e3 * times["gradient"], 2),
        }
    large, stream = jnp.ones((4096, 4096)), jnp.ones(2**26)
    product, copy = jax.jit(jnp.matmul), jax.jit(lambda x: x + 1)
    times = medians({"product": lambda: product(large, large), "copy": lambda: copy(stream)}, REPEATS)
    found["large product, GFLOP/s"] = round(2e-9 * 4096**3 / times["product"])
    found["copy, GB/s"] = round(8e-9 * stream.size / times["copy"], 1)
    factors = sum(4 * 4096 * (inputs + outputs) for inputs, outputs in itertools.pairwise(RELU))
    found["dispersion"]["factors read once more, MB"] = round(factors / 1e6, 1)
    print("\nlimits")
    for name, values in found.items():
        print(f"  {name:24} {values}")
    return found


def products(shapes):
    """All of these products one after the other, each with the sum of squares of what comes out."""
    keys = jax.random.split(jax.random.key(4), 2 * len(shapes)).reshape(-1, 2)
    pairs = [
        (jax.random.normal(key[0], (many, rows, inner)), jax.random.normal(key[1], (inner, columns)))
        for key, (many, rows, inner, columns) in zip(keys, shapes, strict=True)
    ]

    def one(left, right):
        if len(left) == 1:
            return jnp.square(left[0] @ right).sum()
        return jax.lax.map(lambda piece: jnp.square(piece @ right).sum(), left).sum()

    run = jax.jit(lambda pairs: [one(*pair) for pair in pairs])
    return lambda: run(pairs)


def main():
    """Runs everything and writes the ratios."""
    found = {
        "machine": machine(),
        "MLP 784-512-512-10, N = 4096": norms("MLP 784-512-512-10, N = 4096", models.mlp((512, 512, 10)), 4096, 784),
        "CNN 16-32-dense on 28x28, N = 512": norms("CNN 16-32-dense on 28x28, N = 512", models.cnn((16, 32), 10), 512, 28, 28, 1),
        **traces(),
        "limits": limits(),
    }
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    name = f"gradients-{found['machine']['device']}.json"
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n{found['machine']}; medians of {REPEATS}; written to {folder.name}/{name}", file=sys.stdout)


if __name__ == "__main__":
    main()
