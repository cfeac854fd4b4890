"""Products with the Hessian, traces and eigenvalues from them, as multiples of a gradient and of peers, in one run.

A multilayer perceptron 784-512-512-10 with 4096 examples and a convolutional net conv16-conv32-dense with 512 images of
28 x 28, cross-entropy, float32. Of the latter one product only, unless `--net cnn` asks for all. `--fraction 0.25` takes
a quarter of the examples; `--products` another number than 100.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from measure import machine, medians

from jaxgen import curvature, gradients, models

NETS = {"mlp": (4096, (784,)), "cnn": (512, (28, 28, 1))}
REPEATS, SEEDS = 3, 8
FOUND: dict[str, Any] = {}


def _problem(net: str, fraction: float) -> tuple[Any, Callable, Any, Any]:
    count, shape = NETS[net]
    count = int(count * fraction)
    model = models.mlp((512, 512, 10)) if net == "mlp" else models.cnn((16, 32), 10, convolution="native")
    key = jax.random.key(0)
    x, y = jax.random.normal(key, (count, *shape)), jax.random.randint(key, (count,), 0, 10)
    loss_fn = models.loss_fn(model.apply, optax.losses.softmax_cross_entropy_with_integer_labels)
    return model, loss_fn, jax.jit(model.init)(key, x[:1]), (x, y)


def _row(net: str, what: str, ratio: float, aim: str = "") -> None:
    FOUND.setdefault(net, {})[what] = round(ratio, 3)
    print(f"{net:4s} {what:72s} {ratio:6.2f}   {aim}", flush=True)


def products(net: str, fraction: float, repeats: int) -> float:
    """One product against one gradient; returns the product's seconds."""
    _, loss_fn, params, batch = _problem(net, fraction)
    vector = optax.tree.random_like(jax.random.key(1), params)
    gradient = jax.jit(lambda params: gradients.value_and_gradient(loss_fn, params, batch)[1])
    product = jax.jit(lambda operator, vector: operator.mv(vector))
    operator = curvature.hessian(loss_fn, params, batch)
    found = medians({"gradient": lambda: gradient(params), "product": lambda: product(operator, vector)}, 2 * repeats)
    print(f"{net:4s} gradient {1e3 * found['gradient']:.1f} ms, product {1e3 * found['product']:.1f} ms")
    _row(net, "one Hessian-vector product / one gradient", found["product"] / found["gradient"], "2.1" if net == "mlp" else "2.5")
    return found["product"]


def functionals(net: str, fraction: float, repeats: int, count: int) -> None:
    """Traces, diagonal and eigenvalues against as many separate products, and for the first net against matfree."""
    _, loss_fn, params, batch = _problem(net, fraction)
    operator, key, fewer = curvature.hessian(loss_fn, params, batch), jax.random.key(1), max(count // 5, 6)
    vector = optax.tree.random_like(key, params)
    product = jax.jit(lambda operator, vector: operator.mv(vector))

    def separate() -> Any:
        for _ in range(count):
            out = jax.block_until_ready(product(operator, vector))
        return out

    def timed(functions: dict[str, Callable], repeats: int) -> dict[str, float]:
        compiled = {name: jax.jit(function) for name, function in functions.items()}
        return medians({"separate": separate} | {name: (lambda run=run: run(operator)) for name, run in compiled.items()}, repeats)

    functions = {
        "trace": lambda o: curvature.trace(o, key, num_matvecs=count),
        "5 eigenvalues": lambda o: curvature.eigenvalues(o, key, k=5, num_matvecs=count),
    }
    found = timed(functions | ({"matfree": lambda o: _matfree_trace(loss_fn, o, key, count)} if net == "mlp" else {}), repeats)
    _row(net, f"trace, {count} products / as many separate ones", found["trace"] / found["separate"], "0.85")
    _row(net, f"5 eigenvalues, {count} steps / as many separate products", found["5 eigenvalues"] / found["separate"], "1.7")
    if net == "mlp":
        _row(net, f"trace / matfree's, {count} products", found["trace"] / found["matfree"], "0.8")
        lanczos = timed({"matfree": lambda o: _matfree_lanczos(loss_fn, o, key, count)}, 1)
        _row(net, f"matfree's Lanczos, {count} steps / as many separate products", lanczos["matfree"] / lanczos["separate"])
    others = {
        "trace, every leaf's": lambda o: curvature.trace(o, key, num_matvecs=fewer, per_leaf=True),
        "trace by Hutch++": lambda o: curvature.trace(o, key, num_matvecs=fewer, method="hutchpp"),
        "trace by XTrace": lambda o: curvature.trace(o, key, num_matvecs=fewer, method="xtrace"),
        "diagonal": lambda o: curvature.diagonal(o, key, num_matvecs=fewer),
    }
    found = timed(others, repeats)
    for name in others:
        _row(net, f"{name}, {fewer} products / as many separate ones", found[name] / found["separate"] * count / fewer)


def _matfree_product(loss_fn: Callable, operator: curvature.Hessian) -> Callable:
    def product(vector: Any) -> Any:
        return jax.jvp(jax.grad(lambda params: loss_fn(params, operator.batch).mean()), (operator.params,), (vector,))[1]

    return product


def _matfree_trace(loss_fn: Callable, operator: curvature.Hessian, key: jax.Array, count: int) -> Any:
    """matfree's estimator on ten probes at once, as often as it takes; all of them at once do not fit in memory."""
    from matfree import stochtrace

    width = min(count, 10)
    sampler = stochtrace.sampler_signs(operator.params, num=width)
    estimate = stochtrace.estimator_monte_carlo_mean_and_sem(stochtrace.monte_carlo_trace(), sampler)
    return jax.lax.map(lambda k: estimate(_matfree_product(loss_fn, operator), k), jax.random.split(key, count // width))


def _matfree_lanczos(loss_fn: Callable, operator: curvature.Hessian, key: jax.Array, count: int) -> Any:
    from matfree import decomp, eig

    flat, unravel = ravel_pytree(operator.params)
    product = _matfree_product(loss_fn, operator)
    start = jax.random.normal(key, flat.shape)
    return eig.eigh_partial(decomp.tridiag_sym(count))(lambda v: ravel_pytree(product(unravel(v)))[0], start)


def seeds(net: str, fraction: float, repeats: int) -> None:
    """Eight nets in one program against one."""
    model, loss_fn, params, batch = _problem(net, fraction)
    keys = jax.random.split(jax.random.key(1), SEEDS)
    many = jax.jit(jax.vmap(lambda key: model.init(key, batch[0][:1])))(keys)
    functions = {
        "product": lambda params, key: curvature.hessian(loss_fn, params, batch).mv(jax.tree.map(jnp.cos, params)),
        "trace, 10 products": lambda params, key: curvature.trace(curvature.hessian(loss_fn, params, batch), key, num_matvecs=10),
        "2 eigenvalues, 10 products": lambda params, key: curvature.eigenvalues(curvature.hessian(loss_fn, params, batch), key, k=2, num_matvecs=10)[
            :2
        ],
    }
    for name, function in functions.items():
        one, mapped = jax.jit(function), jax.jit(jax.vmap(function))
        found = medians({"one": lambda one=one: one(params, keys[0]), "mapped": lambda mapped=mapped: mapped(many, keys)}, repeats)
        _row(net, f"{name}, vmapped over {SEEDS} seeds / one seed", found["mapped"] / found["one"], "8")


def accuracy(fraction: float, count: int) -> float:
    """The five largest eigenvalues against those of twice as many steps."""
    _, loss_fn, params, batch = _problem("mlp", fraction)
    operator = curvature.hessian(loss_fn, params, batch)
    steps = (count, 2 * count)
    few, more = (jax.jit(lambda o, m=m: curvature.eigenvalues(o, jax.random.key(m), k=5, num_matvecs=m).values)(operator) for m in steps)
    change = float(jnp.abs(few / more - 1).max())
    print(f"mlp  largest relative change of the 5 largest eigenvalues from {count} to {2 * count} steps: {change:.1e}   aim 1e-5")
    return change


def main() -> None:
    """Prints every ratio with its aim; a full run is kept as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=sorted(NETS), default=None)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--products", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    device = jax.devices()[0]
    print(f"{machine()}; medians")
    for net in sorted(NETS) if arguments.net is None else [arguments.net]:
        products(net, arguments.fraction, arguments.repeats)
        if net == "cnn" and arguments.net is None:
            continue
        functionals(net, arguments.fraction, arguments.repeats, arguments.products)
        seeds(net, arguments.fraction, arguments.repeats)
    if arguments.net != "cnn":
        FOUND["mlp"]["relative change of 5 eigenvalues with twice the steps"] = accuracy(arguments.fraction, arguments.products)
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    if (arguments.net, arguments.fraction, arguments.products) == (None, 1.0, 100):
        path = Path(__file__).parent / "results" / f"curvature-{device.platform}.json"
        path.write_text(json.dumps({"machine": machine()} | FOUND, indent=1) + "\n")


if __name__ == "__main__":
    main()
