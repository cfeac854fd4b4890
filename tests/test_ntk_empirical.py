"""The empirical kernel: against Jacobians, over strategies, modes, chunks and files."""

import json

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from jaxgen import models, ntk
from tests._networks import NETWORKS

N, M, C = 9, 4, 3
MODES = ("full", "trace", "diagonal", "pseudo")
STRATEGIES = ("structured", "jacobian", "vector_product")
QUICK = (
    "mlp",
    "convolutions",
    "layer norm",
    "embedding",
    "tied autoencoder",
    "recurrent",
    "custom rule",
    "noise of the batch",
    "a constant for every example",
)


def _outputs(name):
    """The losses of a network, and their squares, as two outputs."""
    loss_fn, params, batch = NETWORKS[name]()

    def apply_fn(params, batch):
        losses = loss_fn(params, batch)
        return jnp.stack([losses, jnp.sin(losses) + 0.5 * losses**2], axis=1)

    return apply_fn, params, batch


def _jacobian(apply_fn, params, x):
    blocks = jax.jit(jax.jacrev(apply_fn))(params, x)
    rows, outputs = jax.eval_shape(apply_fn, params, x).shape
    return jnp.concatenate([block.reshape(rows, outputs, -1) for block in jax.tree.leaves(blocks)], axis=2)


def _modes(full):
    count = full.shape[2]
    diagonal = jnp.einsum("nmcc->nmc", full)
    return {"full": full, "diagonal": diagonal, "trace": diagonal.mean(axis=2), "pseudo": full.sum(axis=(2, 3)) / count}


def _close(found, expected, scale, tolerance):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * float(jnp.abs(scale).max()))


@pytest.fixture(scope="module")
def net():
    with jax.enable_x64(True):
        model = models.mlp((6, 5, C), activation="tanh")
        x = jnp.asarray(np.random.default_rng(0).normal(size=(N, 4)))
        params = jax.tree.map(lambda leaf: leaf.astype(float) + 0.1, model.init(jax.random.key(0), x))
    return model.apply, params, x


@pytest.fixture(scope="module")
def kernels(net):
    """The full kernel, and that with other examples, from Jacobians."""
    apply_fn, params, x = net
    with jax.enable_x64(True):
        mine, others = _jacobian(apply_fn, params, x), _jacobian(apply_fn, params, jnp.cos(x[:M]))
        return tuple(jnp.einsum("ncp,mdp->nmcd", mine, jacobian) for jacobian in (mine, others))


@pytest.mark.float64
@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS])
def test_the_kernel_of_any_net_is_that_of_its_jacobian(name):
    apply_fn, params, batch = _outputs(name)
    jacobian = _jacobian(apply_fn, params, batch)
    full = jnp.einsum("ncp,mdp->nmcd", jacobian, jacobian)
    for mode in ("full", "trace") if name in ("embedding", "tied autoencoder", "recurrent") else ("full",):
        _close(ntk.empirical(apply_fn, params, batch, mode=mode), _modes(full)[mode], full, 1e-10)


@pytest.mark.float64
@pytest.mark.parametrize("name", ["convolutions", "layer norm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("residual", "attention"))])
def test_strategies_agree(name):
    apply_fn, params, batch = _outputs(name)
    found = {strategy: ntk.empirical(apply_fn, params, batch, mode="trace", strategy=strategy) for strategy in STRATEGIES}
    for strategy in STRATEGIES[1:]:
        _close(found[strategy], found["structured"], found["structured"], 1e-10)


@pytest.mark.float64
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_columns_of_other_examples_and_chunks_of_any_size(net, kernels, mode, strategy):
    (apply_fn, params, x), (own, full) = net, kernels
    other = jnp.cos(x[:M])
    options = {"mode": mode, "strategy": strategy}
    _close(ntk.empirical(apply_fn, params, x, **options), _modes(own)[mode], own, 1e-12)
    _close(ntk.empirical(apply_fn, params, x, other, **options), _modes(full)[mode], full, 1e-12)
    if strategy != "vector_product":
        _close(ntk.empirical(apply_fn, params, x, other, chunk_size=3, **options), _modes(full)[mode], full, 1e-12)
        for chunk_size in (1, 4) if mode == "full" else (4,):
            _close(ntk.empirical(apply_fn, params, x, chunk_size=chunk_size, **options), _modes(own)[mode], own, 1e-12)


@pytest.mark.heavy
@pytest.mark.parametrize("mode", MODES)
def test_pieces_of_a_larger_symmetric_kernel(net, mode, precision):
    """100 rows are computed in pieces, of which the lower ones are mirror images."""
    apply_fn, params, _ = net
    dtype = jnp.dtype(precision)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(100, 4)), dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    found, other = ntk.empirical(apply_fn, params, x, mode=mode), ntk.empirical(apply_fn, params, x, x, mode=mode)
    assert found.dtype == dtype
    _close(found, other, other, {"float32": 2e-6, "float64": 1e-14}[precision])
    mirrored = found.transpose(1, 0, 3, 2) if mode == "full" else found.swapaxes(0, 1)
    _close(mirrored, found, found, {"float32": 2e-6, "float64": 1e-14}[precision])


@pytest.mark.float64
def test_kernels_of_parts_of_the_parameters_add_up(net):
    apply_fn, params, x = net
    names = list(params)
    parts = sum(ntk.empirical(apply_fn, params, x, subtree=name) for name in names)
    whole = ntk.empirical(apply_fn, params, x)
    _close(parts, whole, whole, 1e-13)
    assert float(jnp.abs(ntk.empirical(apply_fn, params, x, subtree=lambda path: path.endswith("bias"))).max()) > 0


@pytest.mark.float64
def test_a_linear_model_and_a_single_output():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(N, 4)))
    w = jnp.asarray(np.random.default_rng(3).normal(size=(4, C)))
    kernel = ntk.empirical(lambda w, x: x @ w, w, x)
    _close(kernel, (x @ x.T)[:, :, None, None] * jnp.eye(C), kernel, 1e-14)
    single = ntk.empirical(lambda w, x: x @ w, w[:, 0], x)
    _close(single[:, :, 0, 0], x @ x.T, single, 1e-14)
    assert float(jnp.linalg.eigvalsh(single[:, :, 0, 0])[0]) > -1e-12 * float(jnp.trace(x @ x.T))


@pytest.mark.float64
def test_transformations(net):
    apply_fn, params, x = net

    def kernel(params):
        return ntk.empirical(apply_fn, params, x, mode="trace")

    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    mapped = jax.vmap(kernel)(several)
    np.testing.assert_allclose(mapped[1], kernel(jax.tree.map(lambda leaf: 2 * leaf, params)), rtol=1e-10)
    slope = jax.grad(lambda scale: kernel(jax.tree.map(lambda leaf: scale * leaf, params)).sum())(1.0)
    step = 1e-5
    up, down = (kernel(jax.tree.map(lambda leaf, s=s: s * leaf, params)).sum() for s in (1 + step, 1 - step))
    np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-7)


@pytest.mark.any_precision
def test_a_second_kernel_of_the_same_shapes_is_not_traced_again():
    traces = []

    def apply_fn(w, x):
        traces.append(None)
        return jnp.tanh(x @ w)

    for scale in (1.0, 2.0):
        ntk.empirical(apply_fn, scale * jnp.ones((4, C)), scale * jnp.ones((N, 4)), mode="trace")
        count = len(traces) if scale == 1.0 else count
    assert len(traces) == count


@pytest.mark.float64
@pytest.mark.parametrize("named", ["bf16_f32", "bf16x3"])
def test_rounded_factors_stay_within_the_floor_and_are_not_exact(named):
    model = models.mlp((32, 16, C))
    x = jnp.asarray(np.random.default_rng(4).normal(size=(12, 8)), jnp.float32)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), model.init(jax.random.key(1), x))
    exact = ntk.empirical(model.apply, params, x, mode="trace", precision="f64")
    rounded = ntk.empirical(model.apply, params, x, mode="trace", precision=named)
    assert rounded.dtype == jnp.float32
    error = jnp.linalg.norm(rounded.astype(float) - exact, 2)
    assert 0 < error <= ntk.error_floor(exact, precision=named) + ntk.error_floor(exact, precision="f32")


@pytest.mark.slow
@pytest.mark.float64
def test_files_hold_the_kernel_whatever_the_block_size(net, tmp_path):
    apply_fn, params, x = net
    for mode, size in (("trace", 3), ("full", 4), ("trace", 100)):
        path = tmp_path / f"{mode}-{size}.npy"
        found = ntk.to_memmap(path, apply_fn, params, x, mode=mode, block_size=size)
        expected = ntk.empirical(apply_fn, params, x, mode=mode)
        _close(found, expected, expected, 1e-12)
        _close(np.load(path), expected, expected, 1e-12)
    rectangular = ntk.to_memmap(tmp_path / "other.npy", apply_fn, params, x, x[:M], block_size=3)
    np.testing.assert_allclose(rectangular, ntk.empirical(apply_fn, params, x, x[:M], mode="trace"), rtol=1e-12)


@pytest.mark.float64
def test_a_file_is_finished_to_the_same_bytes_and_a_stale_one_refused(net, tmp_path, monkeypatch):
    apply_fn, params, x = net
    whole, broken = tmp_path / "whole.npy", tmp_path / "broken.npy"
    ntk.to_memmap(whole, apply_fn, params, x, block_size=4)
    calls = []

    def interrupted(*args, **options):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return ntk.empirical(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr("jaxgen.ntk.files.empirical", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ntk.to_memmap(broken, apply_fn, params, x, block_size=4)
    manifest = tmp_path / "broken.npy.manifest.json"
    assert len(json.loads(manifest.read_text())["done"]) == 3
    with monkeypatch.context() as patch:
        calls.clear()
        patch.setattr("jaxgen.ntk.files.empirical", lambda *args, **options: (calls.append(args), ntk.empirical(*args, **options))[1])
        ntk.to_memmap(broken, apply_fn, params, x, block_size=4)
    assert len(calls) == 3
    assert whole.read_bytes() == broken.read_bytes()

    changed = jax.tree.map(lambda leaf: leaf + 1e-6, params)
    with pytest.raises(ValueError, match="holds another kernel: the net, its parameters or the data differ"):
        ntk.to_memmap(broken, apply_fn, changed, x, block_size=4)
    with pytest.raises(ValueError, match="block_size differ"):
        ntk.to_memmap(broken, apply_fn, params, x, block_size=3)
    found = ntk.to_memmap(broken, apply_fn, changed, x, block_size=4, overwrite=True)
    np.testing.assert_allclose(found, ntk.empirical(apply_fn, changed, x, mode="trace"), rtol=1e-10)


@pytest.mark.any_precision
def test_files_that_cannot_be(net, tmp_path, monkeypatch):
    apply_fn, params, x = net
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    x = x.astype(jnp.float32)
    with pytest.raises(ValueError, match="there is no folder"):
        ntk.to_memmap(tmp_path / "missing" / "kernel.npy", apply_fn, params, x)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
        with pytest.raises(ValueError, match=r"takes 324 bytes; the disk .* has 10 free"):
            ntk.to_memmap(tmp_path / "kernel.npy", apply_fn, params, x)
    stray = tmp_path / "stray.npy"
    stray.write_bytes(b"")
    with pytest.raises(ValueError, match="has no manifest beside it"):
        ntk.to_memmap(stray, apply_fn, params, x)
    (tmp_path / "stray.npy.manifest.json").write_text("[]")
    with pytest.raises(ValueError, match="is not a manifest"):
        ntk.to_memmap(stray, apply_fn, params, x)


@pytest.mark.any_precision
def test_plans_say_what_will_be_done(net):
    apply_fn, params, x = net
    params, x = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, x))
    plan = ntk.plan(apply_fn, params, x, mode="trace")
    assert (plan.strategy, plan.chunk_size, plan.shape) == ("structured", None, (N, N))
    assert plan.output_bytes == N * N * 4
    tight = ntk.plan(apply_fn, params, x, mode="trace", memory=plan.feature_bytes // 2)
    assert tight.chunk_size is not None
    assert tight.feature_bytes <= plan.feature_bytes // 2
    assert tight.flops > plan.flops
    assert ntk.plan(apply_fn, params, x, mode="trace", memory=1).strategy == "vector_product"
    assert "structured (the net is layered)" in str(plan)
    by_rows = ntk.plan(apply_fn, params, x, mode="full", strategy="jacobian")
    num_params = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert by_rows.feature_bytes == 4 * N * C * num_params


@pytest.mark.slow
@pytest.mark.float64
def test_the_operator_multiplies_without_the_matrix(net):
    apply_fn, params, x = net
    kernel, operator = ntk.empirical(apply_fn, params, x), ntk.operator(apply_fn, params, x)
    matrix = kernel.transpose(0, 2, 1, 3).reshape(N * C, N * C)
    np.testing.assert_allclose(operator.as_matrix(), matrix, rtol=0, atol=1e-12 * float(jnp.abs(matrix).max()))
    vector = jnp.asarray(np.random.default_rng(5).normal(size=(N, C)))
    product = jax.jit(lambda operator, vector: operator.mv(vector))(operator, vector)
    np.testing.assert_allclose(product.ravel(), matrix @ vector.ravel(), rtol=1e-10)
    assert lx.is_symmetric(operator)
    assert lx.is_positive_semidefinite(operator)
    ridge = operator + lx.IdentityLinearOperator(operator.in_structure())
    ridge = lx.TaggedLinearOperator(ridge, lx.positive_semidefinite_tag)
    solution = lx.linear_solve(ridge, vector, lx.CG(rtol=1e-12, atol=1e-12)).value
    np.testing.assert_allclose(solution.ravel(), np.linalg.solve(np.asarray(matrix) + np.eye(N * C), np.asarray(vector).ravel()), rtol=1e-8)


@pytest.mark.float64
def test_outputs_move_by_the_kernel_along_gradient_flow(net):
    apply_fn, params, x = net
    y = jnp.asarray(np.random.default_rng(6).normal(size=(N, C)))

    def loss(params):
        return 0.5 * jnp.sum((apply_fn(params, x) - y) ** 2)

    errors = apply_fn(params, x) - y
    found = ntk.velocity(apply_fn, params, x, errors)
    np.testing.assert_allclose(found, -jnp.einsum("nmcd,md->nc", ntk.empirical(apply_fn, params, x), errors), rtol=1e-10)
    step = 1e-6
    moved = jax.tree.map(lambda leaf, slope: leaf - step * slope, params, jax.grad(loss)(params))
    np.testing.assert_allclose((apply_fn(moved, x) - apply_fn(params, x)) / step, found, rtol=1e-4, atol=1e-4 * float(jnp.abs(found).max()))
    elsewhere = ntk.velocity(apply_fn, params, x, errors, jnp.cos(x[:M]))
    kernel = ntk.empirical(apply_fn, params, jnp.cos(x[:M]), x)
    np.testing.assert_allclose(elsewhere, -jnp.einsum("nmcd,md->nc", kernel, errors), rtol=1e-10)


@pytest.mark.float64
def test_a_linearized_net_is_affine_and_has_the_kernel_everywhere(net):
    apply_fn, params, x = net
    affine = ntk.linearize(apply_fn, params)
    np.testing.assert_allclose(affine(params, x), apply_fn(params, x), rtol=1e-14)
    away = jax.tree.map(lambda leaf: leaf + 0.3, params)
    expected = ntk.empirical(apply_fn, params, x)
    _close(ntk.empirical(affine, away, x), expected, expected, 1e-12)
    steps = jnp.array([1e-2, 1e-3])
    errors = [
        float(jnp.abs(affine(moved, x) - apply_fn(moved, x)).max())
        for moved in (jax.tree.map(lambda leaf, s=s: leaf + s * jnp.cos(leaf), params) for s in steps)
    ]
    assert abs(np.log10(errors[0] / errors[1]) - 2) < 0.05
    with pytest.raises(ValueError, match="structure of the parameters linearized at"):
        affine({"w": jnp.ones(2)}, x)


@pytest.mark.any_precision
def test_bad_input(net):
    apply_fn, params, x = net
    params, x = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, x))

    def refused(match, *args, error=ValueError, **options):
        with pytest.raises(error, match=match):
            ntk.empirical(*args, **options)

    refused(r"outputs of shape \(9, C\) or \(9,\); got \(9, 3, 1\)", lambda p, x: apply_fn(p, x)[..., None], params, x)
    refused("must have the same features", apply_fn, params, x, jnp.ones((2, 5)))
    refused("x1 must hold at least one example", apply_fn, params, x[:0])
    refused("couples examples at", lambda p, x: apply_fn(p, x - x.mean(axis=0)), params, x)
    refused("couples examples at", lambda p, x: apply_fn(p, x - x.mean(axis=0)), params, x, strategy="jacobian")
    refused("jax_enable_x64", apply_fn, params, x, precision="f64")
    refused("precision must be one of", apply_fn, params, x, precision="tf32")
    refused("mode must be", apply_fn, params, x, mode="diag")
    refused("strategy must be", apply_fn, params, x, strategy="fast")
    refused("chunk_size", apply_fn, params, x, chunk_size=0)
    refused("is not in the parameters", apply_fn, params, x, subtree="Dense_7")
    dropped, weights, batch = NETWORKS["noise of the batch"]()
    refused("chunk_size cannot be used: in apply_fn the place of an example", dropped, weights, batch, chunk_size=2)
    refused("params", lambda p, x: x @ p, jnp.ones((4, 3), complex), x, error=TypeError)
    with pytest.raises(ValueError, match="vector must have the shape of the outputs"):
        ntk.operator(apply_fn, params, x).mv(jnp.ones(3))
    with pytest.raises(ValueError, match="output_gradients must have the shape"):
        ntk.velocity(apply_fn, params, x, jnp.ones(3))
    with pytest.raises(ValueError, match="kernel must be square"):
        ntk.error_floor(jnp.ones((2, 3)))
