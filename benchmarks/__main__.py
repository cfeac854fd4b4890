"""`python benchmarks`: every script but those of seeds and kernels, one after the other; prints the table of ratios with the aims.

`python benchmarks --table` prints the table of the results that are there.
"""

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
MLP, CNN = "MLP 784-512-512-10, N = 4096", "CNN 16-32-dense on 28x28, N = 512"
TANH = ("tanh MLP 256-256-256-10, N = 1024", "tanh MLP 256-256-256-256-10, N = 1024")
PRODUCTS = "one Hessian-vector product / one gradient"

ROWS = (
    ("gradients", MLP, "squared_norms", "`squared_norms`, MLP 784-512-512-10, N = 4096", "1.0"),
    ("gradients", CNN, "squared_norms", "`squared_norms`, CNN conv16-conv32-dense, N = 512", "1.6"),
    ("gradients", MLP, "dispersion", "`dispersion`, the MLP", "1.3"),
    ("gradients", "ReLU MLP 784-512-512-10, N = 4096", "exact_trace, ReLU", "`exact_trace`, the MLP (ReLU, 10 classes)", "2.2"),
    ("gradients", TANH[0], "trace_by_activations", "`trace_by_activations`, tanh MLP 256-256-256-10, N = 1024", "2"),
    ("gradients", TANH[0], "RMS error", "... its relative RMS error", "0.05"),
    ("gradients", TANH[1], "trace_by_activations", "`trace_by_activations`, tanh MLP 256-256-256-256-10", "2"),
    ("gradients", TANH[1], "RMS error", "... its relative RMS error", "0.05"),
    ("gradients", TANH[0], "exact_trace", "`exact_trace`, tanh MLP 256-256-256-10", "3"),
    ("curvature", "mlp", PRODUCTS, "one Hessian-vector product, the MLP", "2.1"),
    ("curvature", "cnn", PRODUCTS, "one Hessian-vector product, the CNN", "2.5"),
    ("curvature", "mlp", "trace, 100 products / as many separate ones", "`trace`, 100 products, to 100 separate ones", "0.85"),
    ("curvature", "mlp", "trace / matfree's, 100 products", "`trace`, 100 products, to matfree's", "0.8"),
    ("curvature", "mlp", "5 eigenvalues, 100 steps / as many separate products", "`eigenvalues`, 100 Lanczos steps, to 100 separate products", "1.7"),
    ("curvature", "mlp", "product, vmapped over 8 seeds / one seed", "one product for 8 seeds, to one", "8"),
    ("curvature", "mlp", "trace, 10 products, vmapped over 8 seeds / one seed", "`trace`, 10 products, for 8 seeds, to one", "8"),
    ("curvature", "mlp", "2 eigenvalues, 10 products, vmapped over 8 seeds / one seed", "`eigenvalues` for 8 seeds, to one", "8"),
    ("stochastic-equations", "paths", "euler_maruyama / normals", "100,000 paths of 1,000 Euler-Maruyama steps, to their normal variates", "1.5"),
    ("stochastic-equations", "draws", "draw / gradient", "a draw of gradient noise, the MLP, N = 4096", "1.1"),
    ("svag", None, "step, b = 32", "a step of SVAG on the digits MLP, to one of SGD", "2.2"),
    ("svag", None, "16 seeds on 2 devices, four a device", "16 seeds of SVAG, four a device, to 16 runs", "0.5"),
    ("supersamples", None, "30 masks in one program / 30 runs", "30 masks of a supersample, to 30 runs", "0.6"),
    ("diagonal-nets", None, "training / products", "64 seeds of 16 diagonal nets to a loss of 1e-12, to their products alone", "1.5"),
    ("max-margin", "l_1", "time / Gram", "`max_margin` in l_1, n = 2,000, d = 1,000, gap 1e-8, float64, to one Gram product", "300"),
    ("max-margin", "l_2", "time / Gram", "... in l_2", "300"),
    ("max-margin", "l_inf", "time / Gram", "... in l_inf", "300"),
    ("measures", None, "measures / (forward passes + SVDs)", "44 complexity measures of 100 checkpoints, to their passes and SVDs", "3"),
    ("kkt", None, "KKT / Gram", "`max_margin_kkt`, MLP of 500,000 parameters, n = 1,000, to its tangent kernel", "2"),
)
"""Script, problem and name of every figure, what it is, and what it should be at most."""

SCRIPTS = tuple(dict.fromkeys(script for script, *_ in ROWS))


def main() -> None:
    """Runs the scripts, unless asked not to, and prints the table."""
    if "--table" not in sys.argv[1:]:
        for script in SCRIPTS:
            subprocess.run([sys.executable, str(FOLDER / f"{script.replace('-', '_')}.py")], check=True)
    found = {script: json.loads((FOLDER / "results" / f"{script}-cpu.json").read_text()) for script in SCRIPTS}
    machine = found["gradients"]["machine"]
    print(f"\n{machine['cores']} cores of {machine['processor']}, JAX {machine['jax']}, float32; in gradients where nothing else is said\n")
    print("| what | ratio | aim |\n| --- | --- | --- |")
    for script, problem, name, what, aim in ROWS:
        print(f"| {what} | {(found[script] if problem is None else found[script][problem])[name]:.2f} | {aim} |")


if __name__ == "__main__":
    main()
