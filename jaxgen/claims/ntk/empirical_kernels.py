"""Claims about kernels of finite nets as they are computed: ways and modes, files, rounding (NTK-18, NTK-19, NTK-20)."""

import json
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh

from jaxgen import models, ntk
from jaxgen.claims import at_most, claim, converges, equal, ordered, rejects

STRATEGIES = ("structured", "jacobian", "vector_product")
NET = models.mlp((5, 3), activation="tanh")
RELU = models.mlp((48, 3))
DEEP_WIDTHS = (32, 128, 512)


def _problem(key, n=4):
    keys = jax.random.split(key)
    x = jax.random.normal(keys[0], (n, 4))
    params = NET.init(keys[1], x)
    return jax.tree.map(lambda leaf: leaf + 0.1, params), x


def _full(apply_fn, params, x):
    """<grad f_c(x_i), grad f_d(x_j)> from the Jacobian."""
    vector, restore = ravel_pytree(params)
    rows = jax.jacrev(lambda v: apply_fn(restore(v), x))(vector)
    return jnp.einsum("icp,jdp->ijcd", rows, rows)


def _modes(full):
    """Every mode from the full kernel."""
    diagonal = jnp.einsum("ijcc->ijc", full)
    return {"full": full, "diagonal": diagonal, "trace": diagonal.mean(axis=2), "pseudo": full.sum(axis=(2, 3)) / full.shape[2]}


@claim(
    "NTK-18",
    title="The kernel of a net by layers, by gradients and by products is the same, in every mode, and adds up over layers",
    source="Mohamadi, Bae & Sutherland 2023 (pseudo); Novak, Sohl-Dickstein & Schoenholz 2022",
    statement=r"\Theta_{ij}^{cd} = \langle \partial_\theta f_c(x_i), \partial_\theta f_d(x_j) \rangle, \quad"
    r" \text{trace} = \tfrac1C \textstyle\sum_c \Theta^{cc}, \quad \text{pseudo} = \tfrac1C \sum_{c, d} \Theta^{cd}",
    core=True,
    budget=5.0,
)
def ways_and_modes(key):
    """A tanh net with biases and a linear model, against their Jacobians, kernels of parts of the parameters and of chunks of examples."""
    params, x = _problem(key)
    expected = _modes(_full(NET.apply, params, x))
    found = {mode: ntk.empirical(NET.apply, params, x, mode=mode) for mode in expected}
    found |= {strategy: ntk.empirical(NET.apply, params, x, mode="trace", strategy=strategy) for strategy in STRATEGIES[1:]}
    found["chunks"] = ntk.empirical(NET.apply, params, x, mode="trace", chunk_size=3)
    found["layers"] = jnp.stack([ntk.empirical(NET.apply, params, x, mode="trace", subtree=name) for name in params]).sum(axis=0)
    checks = {name: equal(kernel, expected.get(name, expected["trace"]), rtol=1e-10, atol=1e-10) for name, kernel in found.items()}
    linear = ntk.empirical(lambda w, x: x @ w, jnp.ones((4, 3)), x)
    return checks | {"linear model": equal(linear, (x @ x.T)[:, :, None, None] * jnp.eye(3), rtol=1e-10, atol=1e-10)}


@ways_and_modes.control("the kernel of the sum of outputs in place of the mean of their kernels")
def _(key):
    params, x = _problem(key)
    pseudo = ntk.empirical(NET.apply, params, x, mode="pseudo")
    return equal(pseudo, _modes(_full(NET.apply, params, x))["trace"], rtol=1e-10, atol=1e-10)


@ways_and_modes.control("the kernel of the weights without the biases")
def _(key):
    params, x = _problem(key)
    weights = ntk.empirical(NET.apply, params, x, mode="trace", subtree=lambda path: path.endswith("kernel"))
    return equal(weights, _modes(_full(NET.apply, params, x))["trace"], rtol=1e-10, atol=1e-10)


def _normalized(params, x):
    """Outputs for inputs of which the batch's mean is taken and by whose spread they are divided: batch normalization in training."""
    return NET.apply(params, (x - x.mean(axis=0)) / x.std(axis=0))


def _normalized_alone(params, x):
    """The same over the features of every example."""
    return NET.apply(params, (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True))


def _dropped(params, x):
    """Dropout of a mask for the batch."""
    return NET.apply(params, jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), 2 * x, 0.0))


@claim(
    "NTK-18.examples",
    title="A kernel of two examples is only that of a net whose outputs for one do not depend on the others",
    source="derived",
    statement=r"f(x_i; x_{1:n}) \ne f(x_i) \; \Rightarrow \; \langle \partial_\theta f(x_i), \partial_\theta f(x_j) \rangle"
    r" \text{ depends on the batch: refused}",
    jittable=False,
    num_seeds=2,
)
def coupled_examples(key):
    """Batch normalization in training is refused; dropout, whose mask knows the places in the batch, where the batch is cut."""
    params, x = _problem(key)
    return {
        "batch normalization": rejects(ntk.empirical, _normalized, params, x, match="couples examples"),
        "dropout in chunks": rejects(ntk.empirical, _dropped, params, x, chunk_size=2, match="place of an example in its batch matters"),
    }


@coupled_examples.control("normalization over the features of every example, which is no coupling")
def _(key):
    params, x = _problem(key)
    return rejects(ntk.empirical, _normalized_alone, params, x, match="couples examples")


def _distances(key, *, shared=False):
    """Mean distances from outputs that do not interact and of the pseudo-kernel, over 6 ReLU nets of three hidden layers, for each width."""
    x = jax.random.normal(key, (5, 4))

    def of_net(key, width):
        net = models.mlp((width, width, width, 3), parametrization="ntk", bias=False)

        def apply(params, x):
            outputs = net.apply(params, x)
            return outputs + outputs[:, ::-1] if shared else outputs

        full = ntk.empirical(apply, net.init(key, x), x)
        modes = _modes(full)
        apart = modes["trace"][:, :, None, None] * jnp.eye(3)
        return jnp.stack(
            [
                jnp.linalg.norm(full - apart) / jnp.linalg.norm(full),
                jnp.linalg.norm(modes["pseudo"] - modes["trace"]) / jnp.linalg.norm(modes["trace"]),
            ]
        )

    keys = jax.random.split(jax.random.fold_in(key, 1), 6)
    return jnp.stack([jax.lax.map(lambda key, width=width: of_net(key, width), keys).mean(axis=0) for width in DEEP_WIDTHS])


@claim(
    "NTK-18.outputs",
    title="Outputs of a wide net do not interact: its kernel is one of examples for every output, and that of their sum",
    source="Jacot, Gabriel & Hongler 2018; Mohamadi, Bae & Sutherland 2023",
    statement=r"\lVert \Theta - \Theta_1 \otimes I_C \rVert, \; \lVert \Theta_{pseudo} - \Theta_1 \rVert = O(m^{-1/2})",
    num_seeds=8,
    chunk_size=1,
    budget=12.0,
)
def outputs_apart(key):
    apart, pseudo = _distances(key).T
    steps = jnp.array(DEEP_WIDTHS, float)
    return {
        "outputs": converges(apart, order=-0.5, steps=steps, tolerance=0.25),
        "pseudo": converges(pseudo, order=-0.5, steps=steps, tolerance=0.25),
        "widest": at_most(apart[-1], 0.15),
    }


@outputs_apart.control("outputs that share their last layer")
def _(key):
    return at_most(_distances(key, shared=True)[-1, 0], 0.15)


def _on_disk(key, size, *, after=None):
    """Kernels of 257 examples: as a whole, and in blocks in a file, finished after what `after` did to it and its manifest."""
    params, x = _problem(key, 257)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.npy"
        found = ntk.to_memmap(path, NET.apply, params, x, block_size=size)
        if after is not None:
            after(path)
            found = ntk.to_memmap(path, NET.apply, params, x, block_size=size)
        return np.array(found), np.asarray(ntk.empirical(NET.apply, params, x, mode="trace"))


def _killed(path, *, noted=False):
    """Files as a kill leaves them: blocks that are not done are empty, and the manifest does not name them, unless `noted`."""
    manifest = path.with_name(path.name + ".manifest.json")
    content = json.loads(manifest.read_text())
    kept = content["done"] if noted else content["done"][:2]
    manifest.write_text(json.dumps(content | {"done": kept}))
    file = np.lib.format.open_memmap(path, mode="r+")
    file[-57:], file[:, -57:] = 0.0, 0.0
    file.flush()


@claim(
    "NTK-19",
    title="A kernel in a file is the same for blocks of any size, and after a kill to the last byte; another net's is refused",
    source="derived",
    statement=r"\Theta_{IJ} = \Theta_{JI}^\top \text{ block by block, } n = 257, \; b \in \{100, 257\}",
    jittable=False,
    num_seeds=2,
    budget=8.0,
)
def kernels_in_files(key):
    cut, whole = _on_disk(key, 100)
    resumed, _ = _on_disk(key, 100, after=_killed)
    single, _ = _on_disk(key, 257)
    params, x = _problem(key, 257)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.npy"
        ntk.to_memmap(path, NET.apply, params, x[:100], block_size=100)
        changed = jax.tree.map(lambda leaf: leaf + 1e-9, params)
        stale = rejects(ntk.to_memmap, path, NET.apply, changed, x[:100], block_size=100, match="holds another kernel")
    return {
        "blocks of 100": equal(cut, whole, rtol=1e-12, atol=1e-12),
        "one block": equal(single, whole, rtol=1e-12, atol=1e-12),
        "killed": equal(resumed, cut, rtol=0),
        "stale": stale,
    }


@kernels_in_files.control("a manifest that names blocks which are not there")
def _(key):
    resumed, whole = _on_disk(key, 100, after=lambda path: _killed(path, noted=True))
    return equal(resumed, whole, rtol=1e-12, atol=1e-12)


def _convolutional(params, x):
    """One convolution of 3 x 3, and the mean over positions of four channels."""
    hidden = jax.lax.conv_general_dilated(x, params["filter"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.tanh(hidden).mean(axis=(1, 2)) @ params["last"]


def _rounding_problems(key):
    """Nets with parameters and inputs, by name; the linear one has 2^17 parameters, all of whose products are positive."""
    keys = jax.random.split(key, 4)
    x, images = jax.random.normal(keys[0], (6, 8)), jax.random.normal(keys[1], (5, 6, 6, 2))
    filters = {"filter": jax.random.normal(keys[2], (3, 3, 2, 4)) / 4, "last": jax.random.normal(keys[3], (4, 3))}
    return {
        "dense": (RELU.apply, RELU.init(keys[2], x), x),
        "convolutional": (_convolutional, filters, images),
        "linear": (lambda w, x: x @ w, jnp.ones(2**17), jax.random.uniform(keys[3], (2, 2**17))),
    }


def _error(problem, precision):
    """Distance of a kernel of less precision from the exact one, in spectral norm, and the floor of its eigenvalues."""
    apply_fn, params, x = problem
    exact = ntk.empirical(apply_fn, params, x, mode="trace")
    rounded = ntk.empirical(apply_fn, params, x, mode="trace", precision=precision)
    return jnp.linalg.norm(rounded - exact, 2), ntk.error_floor(exact, precision=precision)


@claim(
    "NTK-20",
    title="Rounded factors with sums in single precision move eigenvalues by at most 2 u tr",
    source="derived",
    statement=r"\lVert \hat\Theta - \Theta \rVert_2 \le 2 u \operatorname{tr} \Theta, \qquad u = 2^{-16}, \, 2^{-8}:"
    r" \text{ two bfloat16 numbers, one}",
    num_seeds=8,
    budget=8.0,
)
def rounding(key):
    """A dense and a convolutional net, and a linear one of 131,072 parameters. Single precision, which rounds the passes too, errs less."""
    checks, problems = {}, _rounding_problems(key)
    for name in ("dense", "convolutional"):
        found = [_error(problems[name], precision) for precision in ("f32", "bf16x3", "bf16_f32")]
        errors, floors = (jnp.stack(part) for part in zip(*found, strict=True))
        checks |= {name: at_most(errors[1:], floors[1:]), f"{name}, in order": ordered(errors, strict=True)}
    return checks | {"linear": at_most(*_error(problems["linear"], "bf16_f32"))}


@rounding.control("sums in bfloat16 over 131,072 parameters")
def _(key):
    _, _, x = _rounding_problems(key)["linear"]

    def add(total, column):
        return total + column[:, None] * column, None

    total, _ = jax.lax.scan(add, jnp.zeros((2, 2), jnp.bfloat16), x.T.astype(jnp.bfloat16), unroll=16)
    exact = x @ x.T
    return at_most(jnp.linalg.norm(total.astype(float) - exact, 2), ntk.error_floor(exact, precision="bf16_f32"))


@claim(
    "NTK-20.devices",
    title="Rows spread over devices give the same kernel",
    source="derived",
    statement=r"\Theta = (\Theta_{I_1 \cdot}; \dots; \Theta_{I_D \cdot}), \; I_d \text{ the rows of device } d",
    jittable=False,
    num_seeds=2,
)
def devices(key):
    """On the devices that there are (one where claims run side by side); and panel by panel, of three, as that many devices would."""
    params, x = _problem(key, 9)
    mesh = Mesh(np.array(jax.devices()), ("examples",), axis_types=(AxisType.Auto,))
    whole = ntk.empirical(NET.apply, params, x, mode="trace")
    panels = [ntk.empirical(NET.apply, params, rows, x, mode="trace") for rows in jnp.split(x, 3)]
    return {
        "devices": equal(ntk.empirical(NET.apply, params, x, mode="trace", mesh=mesh), whole, rtol=1e-12, atol=1e-12),
        "panels": equal(jnp.concatenate(panels), whole, rtol=1e-12, atol=1e-12),
    }


@devices.control("panels of rows with themselves alone")
def _(key):
    params, x = _problem(key, 9)
    own = [ntk.empirical(NET.apply, params, rows, mode="trace") for rows in jnp.split(x, 3)]
    return equal(jax.scipy.linalg.block_diag(*own), ntk.empirical(NET.apply, params, x, mode="trace"), rtol=1e-12, atol=1e-12)
