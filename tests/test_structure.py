"""Per-example gradients by structure, against the Jacobian of the batched loss."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import gradients, models, seeds, structure
from tests._networks import NETWORKS, N, cross_entropy

WITHOUT_FACTORS = {
    "lstm": "pulled back",
    "reparametrized": "pulled back",
    "sliced": "pulled back",
    "custom rule": "per example",
    "branches": "per example",
    "einsums": "pulled back",
    "noise of the batch": "per example",
    "a constant for every example": "per example",
}


def _jacobian(loss_fn, params, batch):
    blocks = jax.jit(jax.jacrev(loss_fn))(params, batch)
    return np.concatenate([np.asarray(block).reshape(N, -1) for block in jax.tree.leaves(blocks)], axis=1)


def _all(loss_fn, method="auto"):
    fns = gradients.per_example, gradients.squared_norms, gradients.gram, gradients.dispersion
    return jax.jit(lambda params, batch: [fn(loss_fn, params, batch, method=method) for fn in fns])


def _agree(found, rows):
    scale = np.square(rows).sum(axis=1).max()
    flat = np.concatenate([np.asarray(leaf).reshape(N, -1) for leaf in jax.tree.leaves(found[0])], axis=1)
    np.testing.assert_allclose(flat, rows, rtol=1e-10, atol=1e-10 * np.abs(rows).max())
    np.testing.assert_allclose(found[1], np.square(rows).sum(axis=1), rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(found[2], rows @ rows.T, rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(found[3], np.square(rows - rows.mean(axis=0)).sum(axis=1).mean(), rtol=1e-10, atol=1e-10 * scale)


@pytest.mark.float64
@pytest.mark.parametrize("name", NETWORKS)
def test_structure_gives_the_rows_of_the_jacobian(name):
    loss_fn, params, batch = NETWORKS[name]()
    rows = _jacobian(loss_fn, params, batch)
    _agree(_all(loss_fn)(params, batch), rows)
    ways = {way.way for way in structure.explain(loss_fn, params, batch).leaves} - {"factors", "unused"}
    assert ways == ({WITHOUT_FACTORS[name]} if name in WITHOUT_FACTORS else set())


@pytest.mark.float64
@pytest.mark.parametrize("name", ["convolutions", "recurrent", "custom rule", "noise of the batch", "a constant for every example"])
def test_so_does_differentiation_of_single_examples(name):
    loss_fn, params, batch = NETWORKS[name]()
    _agree(_all(loss_fn, "vmap")(params, batch), _jacobian(loss_fn, params, batch))


@pytest.mark.float64
@pytest.mark.parametrize("name", ["mlp", pytest.param("residual", marks=pytest.mark.slow), "layer norm", "scanned layers"])
def test_it_can_be_mapped_over_parameters_and_differentiated(name):
    loss_fn, params, batch = NETWORKS[name]()
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.1 * leaf]), params)
    found = jax.jit(jax.vmap(lambda p: gradients.squared_norms(loss_fn, p, batch)))(several)
    one = jax.jit(lambda p: gradients.squared_norms(loss_fn, p, batch))(jax.tree.map(lambda leaf: 1.1 * leaf, params))
    np.testing.assert_allclose(found[1], one, rtol=1e-10)

    def mean(params, method):
        return gradients.squared_norms(loss_fn, params, batch, method=method).mean()

    by_structure, by_example = (jax.jit(jax.grad(lambda p, m=m: mean(p, m)))(params) for m in ("structured", "vmap"))
    for left, right in zip(jax.tree.leaves(by_structure), jax.tree.leaves(by_example), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9 * np.abs(right).max())


@pytest.mark.slow
@pytest.mark.float64
def test_rectangular_grams_and_chunks():
    loss_fn, params, batch = NETWORKS["convolutions"]()
    rows = _jacobian(loss_fn, params, batch)
    head = jax.tree.map(lambda leaf: leaf[:2], batch)
    found = jax.jit(lambda p, b, h: gradients.gram(loss_fn, p, b, h, chunk_size=2))(params, batch, head)
    np.testing.assert_allclose(found, rows @ rows[:2].T, rtol=1e-10, atol=1e-10 * np.square(rows).sum(axis=1).max())
    for name, size in (("convolutions", 2), ("mlp", 3), ("mlp", 5)):
        loss_fn, params, batch = NETWORKS[name]()
        rows = rows if name == "convolutions" else _jacobian(loss_fn, params, batch)
        spread = np.square(rows - rows.mean(axis=0)).sum(axis=1).mean()
        np.testing.assert_allclose(gradients.dispersion(loss_fn, params, batch, chunk_size=size), spread, rtol=1e-10)


@pytest.mark.float64
def test_computing_in_bfloat16_agrees_to_its_rounding():
    _, _, batch = NETWORKS["layer norm"]()
    low = nn.Dense(3, dtype=jnp.bfloat16)
    apply_fn, params = models.from_linen(low, low.init(jax.random.key(0), batch[0]))

    def loss(p, b):
        return cross_entropy(apply_fn(p, b[0]).astype(jnp.float32), b[1])

    exact, found = (gradients.squared_norms(loss, params, batch, method=method) for method in ("vmap", "structured"))
    np.testing.assert_allclose(found, exact, rtol=8 * float(jnp.finfo(jnp.bfloat16).eps))


class _BatchNorm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.BatchNorm(use_running_average=False)(nn.Dense(4)(x)))


def _through_batch_norm(params, batch):
    variables = {"params": params, "batch_stats": {"BatchNorm_0": {"mean": jnp.zeros(4), "var": jnp.ones(4)}}}
    return cross_entropy(_BatchNorm().apply(variables, batch[0], mutable=["batch_stats"])[0], batch[1])


@pytest.mark.any_precision
@pytest.mark.parametrize("method", ["auto", "structured", "vmap"])
def test_coupled_examples_are_refused_and_the_place_is_named(method):
    batch = jnp.ones((N, 6)), jnp.zeros(N, int)
    params = _BatchNorm().init(jax.random.key(0), batch[0])["params"]
    with pytest.raises(ValueError, match=r"couples examples at reduce_sum in _?BatchNorm/BatchNorm_0"):
        gradients.squared_norms(_through_batch_norm, params, batch, method=method)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    "loss_fn",
    [
        lambda w, x: jnp.tanh((x - x.mean(axis=0)) @ w),
        lambda w, x: ((x * w) @ (x * w).T).sum(axis=1),
        lambda w, x: jnp.roll(x, 1, axis=0) @ w,
        lambda w, x: jnp.cumsum(x @ w),
        lambda w, x: jnp.sort(x @ w),
        lambda w, x: jax.nn.softmax(x @ w),
        lambda w, x: (x @ w)[::-1],
        lambda w, x: (x @ w)[jnp.argsort(x[:, 0])],
        lambda w, x: jax.lax.scan(lambda c, z: (c + z @ w, c), 0.0, x)[1],
    ],
    ids=["mean", "product", "roll", "cumulative sum", "sort", "softmax", "reversed", "permuted", "carried"],
)
def test_every_way_to_couple_examples_is_noticed(loss_fn):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(N, 3)))
    with pytest.raises(ValueError, match=r"couples examples at|no rule for"):
        gradients.squared_norms(loss_fn, jnp.ones(3), x, method="structured")


@pytest.mark.float64
def test_what_has_no_rule_is_differentiated_loss_by_loss():
    def loss_fn(w, x):
        return jax.lax.map(lambda z: jnp.sin(z @ w), x)

    w, x = jnp.ones(3), jnp.asarray(np.random.default_rng(0).normal(size=(N, 3)))
    rows = np.cos(np.asarray(x @ w))[:, None] * np.asarray(x)
    np.testing.assert_allclose(gradients.per_example(loss_fn, w, x), rows, rtol=1e-10)
    assert "no rule for" in structure.explain(loss_fn, w, x).note
    with pytest.raises(ValueError, match="method='structured' has no rule for"):
        gradients.per_example(loss_fn, w, x, method="structured")


@pytest.mark.any_precision
def test_explanations_name_leaves_ways_and_what_is_held():
    loss_fn, params, batch = NETWORKS["custom rule"]()
    norms, explanation = gradients.squared_norms(loss_fn, params, batch, explain=True)
    assert norms.shape == (N,)
    ways = {way.leaf: (way.way, way.floats) for way in explanation.leaves}
    assert ways == {"out": ("factors", N * (6 + 3)), "unused": ("unused", 0), "w": ("per example", 6 * N)}
    assert "enters custom_vjp_call" in str(explanation)


@pytest.mark.any_precision
def test_noise_of_the_batch_cannot_be_taken_in_chunks():
    loss_fn, params, batch = NETWORKS["noise of the batch"]()
    with pytest.raises(ValueError, match="chunk_size cannot be used"):
        gradients.squared_norms(loss_fn, params, batch, chunk_size=2)


@pytest.mark.any_precision
def test_no_examples_are_refused():
    loss_fn, params, batch = NETWORKS["mlp"]()
    with pytest.raises(ValueError, match="batch must hold at least one example; got 0"):
        gradients.squared_norms(loss_fn, params, jax.tree.map(lambda leaf: leaf[:0], batch))
    with pytest.raises(TypeError, match="params must be real; got dtype complex"):
        gradients.squared_norms(loss_fn, jax.tree.map(lambda leaf: leaf + 1j, params), batch)


@pytest.mark.parametrize("axis_name", [None, "seeds"])
def test_a_loss_is_understood_inside_of_a_run_over_seeds(key, axis_name):
    model = models.mlp((4, 3))
    loss_fn, batch, ways = models.loss_fn(model.apply, "cross_entropy"), (jnp.ones((5, 2)), jnp.arange(5) % 3), set()

    def one_seed(key, batch):
        params = model.init(key, batch[0])
        ways.update(way.way for way in structure.explain(loss_fn, params, batch).leaves)
        return gradients.squared_norms(loss_fn, params, batch)

    found = seeds.run(one_seed, jax.random.split(key, 2), batch, axis_name=axis_name)
    assert ways == {"factors"}
    assert found.shape == (2, 5)
