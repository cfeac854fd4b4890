"""Neural tangent kernels in CPU seconds, beside the products of matrices that they cannot do without, and beside a peer.

`--peer PYTHON` names an interpreter of an environment in which `neural_tangents` runs (its last commit, with JAX 0.4.38); the
same problems are then computed there in the same session. `--large` adds the kernel of 20,000 examples in a file.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
from measure import machine

REPEATS = 3
AIMS = {
    "MLP n=2048 trace": 2.5,
    "MLP n=1024 full": 4,
    "CNN n=256 trace": 2.5,
    "CNN n=256 full": 2,
    "5 hidden ReLU 2000 x 2000": 1.7,
    "CNTK 8x8x3 n=50": 8,
}
"""How many times faster than the peer each case should be."""


def seconds(run):
    """Least CPU and wall seconds of several runs, after one that compiles."""
    jax.block_until_ready(run())
    cpu, wall = [], []
    for _ in range(REPEATS):
        before, start = time.process_time(), time.perf_counter()
        jax.block_until_ready(run())
        cpu.append(time.process_time() - before)
        wall.append(time.perf_counter() - start)
    return min(cpu), min(wall)


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def own_cases():
    """Every case as a function without arguments, by name."""
    from jaxgen import models, ntk

    def empirical(model, count, *shape, mode):
        x = normal(0, count, *shape)
        params = jax.jit(model.init)(jax.random.key(1), x[:1])
        return lambda: ntk.empirical(model.apply, params, x, mode=mode)

    mlp, cnn = models.mlp((512, 512, 10)), models.cnn((16, 32), 10, convolution="native")
    dense, small, large = normal(2, 2000, 784), normal(3, 50, 8, 8, 3), normal(4, 20, 28, 28, 1)
    convolutional = {"depth": 5, "filter_size": 3, "activation": "relu", "pooling": "gap"}
    return {
        "MLP n=2048 trace": empirical(mlp, 2048, 784, mode="trace"),
        "MLP n=1024 full": empirical(mlp, 1024, 784, mode="full"),
        "CNN n=256 trace": empirical(cnn, 256, 28, 28, 1, mode="trace"),
        "CNN n=256 full": empirical(cnn, 256, 28, 28, 1, mode="full"),
        "5 hidden ReLU 2000 x 2000": lambda: ntk.infinite.fully_connected(dense, depth=5, activation="relu"),
        "CNTK 8x8x3 n=50": lambda: ntk.infinite.convolutional(small, **convolutional),
        "CNTK 28x28x1 n=20": lambda: ntk.infinite.convolutional(large, **convolutional),
    }


def peer_cases():
    """The same by neural_tangents, by its structured derivatives, which run in its last commit and not in its last release."""
    import neural_tangents as nt
    from neural_tangents import stax

    def convolutional(channels):
        block = [layer for width in channels for layer in (stax.Conv(width, (3, 3), padding="SAME"), stax.Relu(), stax.AvgPool((2, 2), (2, 2)))]
        return stax.serial(*block, stax.Flatten(), stax.Dense(10))

    def empirical(model, count, *shape, trace):
        init, apply, _ = model
        x = normal(0, count, *shape)
        params = init(jax.random.key(1), x.shape)[1]
        axes = {"trace_axes": (-1,)} if trace else {"trace_axes": ()}
        fn = jax.jit(nt.empirical_ntk_fn(apply, implementation=nt.NtkImplementation.STRUCTURED_DERIVATIVES, vmap_axes=0, **axes))
        return lambda: fn(x, None, params)

    def infinite(kernel_fn, x, get=("nngp", "ntk")):
        compiled = jax.jit(lambda x: kernel_fn(x, None, get))
        return lambda: tuple(compiled(x))

    dense, small = normal(2, 2000, 784), normal(3, 50, 8, 8, 3)
    hidden = stax.serial(*[layer for _ in range(5) for layer in (stax.Dense(1), stax.Relu())], stax.Dense(1))
    net = stax.serial(stax.Dense(512), stax.Relu(), stax.Dense(512), stax.Relu(), stax.Dense(10))
    conv = stax.serial(
        *[layer for _ in range(5) for layer in (stax.Conv(1, (3, 3), padding="SAME"), stax.Relu())], stax.GlobalAvgPool(), stax.Dense(1)
    )
    return {
        "MLP n=2048 trace": empirical(net, 2048, 784, trace=True),
        "MLP n=1024 full": empirical(net, 1024, 784, trace=False),
        "CNN n=256 trace": empirical(convolutional((16, 32)), 256, 28, 28, 1, trace=True),
        "CNN n=256 full": empirical(convolutional((16, 32)), 256, 28, 28, 1, trace=False),
        "5 hidden ReLU 2000 x 2000": infinite(hidden[2], dense),
        "CNTK 8x8x3 n=50": infinite(conv[2], small, ("ntk",)),
    }


def large_case():
    """CPU and wall seconds of a trace kernel of 20,000 examples in a file, compilation included."""
    from jaxgen import models, ntk

    model, x = models.mlp((512, 512, 10)), normal(0, 20_000, 784)
    params = jax.jit(model.init)(jax.random.key(1), x[:1])
    before, start = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        ntk.to_memmap(Path(folder) / "kernel.npy", model.apply, params, x)
    return time.process_time() - before, time.perf_counter() - start


def one(case, peer):
    """Runs one case in this process and prints its seconds and the memory it came to."""
    cpu, wall = large_case() if case == "large" else seconds((peer_cases() if peer else own_cases())[case])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"cpu": round(cpu, 4), "wall": round(wall, 4), "GiB": round(peak, 2)}))


def in_process(python, case, *, peer=False):
    """A case in a process of its own, so that its peak memory is its own."""
    command = [python, __file__, "--case", case] + (["--as-peer"] if peer else [])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": (done.stderr.strip().splitlines() or ["?"])[-1]}


def product_rate():
    """Multiplications and additions a second of a product of two matrices of 2048 rows and columns."""
    a = normal(5, 2048, 2048)
    product = jax.jit(lambda a: a @ a)
    return 2 * 2048**3 / seconds(lambda: product(a))[1]


def main():
    """Prints every case, with ratios to the peer and to products of matrices; writes them to `results/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        one(options.case, options.as_peer)
        return
    found = {}
    for case in own_cases():
        found[case] = in_process(sys.executable, case)
        line = f"{case:28} {found[case]}"
        if options.peer and case in AIMS:
            found[case]["peer"] = in_process(options.peer, case, peer=True)
            if "cpu" in found[case]["peer"] and "cpu" in found[case]:
                found[case]["times faster"] = round(found[case]["peer"]["cpu"] / found[case]["cpu"], 2)
                line = f"{case:28} {found[case]}   aim {AIMS[case]}"
        print(line, flush=True)
    if options.large:
        found["MLP n=20000 trace to a file"] = in_process(sys.executable, "large")
        print(found["MLP n=20000 trace to a file"])
    rate = product_rate()
    work = 2 * (2048**2 / 2) * (785 + 513 + 2 * 513 * 10 + 100 - 10)
    wall = found["MLP n=2048 trace"].get("wall", float("nan"))
    print(f"products of matrices: {rate / 1e9:.0f} GFLOP/s; the first case takes {wall * rate / work:.2f} times as long as its own")
    path = Path(__file__).parent / "results" / f"ntk-{jax.devices()[0].platform}.json"
    path.write_text(json.dumps({"machine": machine() | {"GFLOP/s": round(rate / 1e9)}} | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
