"""Features computed a few examples at a time, and convolutions that become products of patches for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen import models, ntk
from jaxgen.ntk import blocks
from jaxgen.ntk.empirical import _empirical
from jaxgen.structure import Layers


class _Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(4, (3, 3), strides=2)(x))
        x = nn.tanh(nn.Conv(4, (3, 3), feature_group_count=2)(x))
        return nn.Dense(3)(x.reshape(len(x), -1))


def _problem(count):
    x = jax.random.normal(jax.random.key(0), (count, 8, 8, 2))
    return _Net().apply, _Net().init(jax.random.key(1), x), x


@pytest.mark.float64
@pytest.mark.parametrize("mode", ["full", "trace"])
def test_the_kernel_does_not_depend_on_the_size_of_blocks(mode, monkeypatch):
    """11 examples in blocks of 4, and 7 of them against 11; the apply functions differ, so that nothing compiled is kept."""
    apply_fn, params, x = _problem(11)
    monkeypatch.setattr(blocks, "CACHE", 1 << 40)
    whole = ntk.empirical(apply_fn, params, x, mode=mode), ntk.empirical(apply_fn, params, x[:7], x, mode=mode)
    size = 2 * 3 * (64 + 64 + 3) * 4 * x.dtype.itemsize
    monkeypatch.setattr(blocks, "CACHE", size)
    assert 1 < blocks.block_size(Layers(apply_fn, params, x), 3, mode) < 7

    def again(params, x):
        return apply_fn(params, x)

    found = ntk.empirical(again, params, x, mode=mode), ntk.empirical(again, params, x[:7], x, mode=mode)
    rounding = 200 * jnp.finfo(x.dtype).eps
    for own, expected in zip(found, whole, strict=True):
        np.testing.assert_allclose(own, expected, rtol=0, atol=rounding * float(jnp.abs(expected).max()))


def test_dense_nets_are_cut_into_blocks_for_sums_over_outputs_alone():
    model = models.mlp((64, 3))
    x = jnp.ones((500, 6))
    params = model.init(jax.random.key(0), x)
    layers = Layers(model.apply, params, x)
    assert blocks.block_size(layers, 1000, "full") == 500
    assert blocks.block_size(layers, 1000, "trace") < 100


@pytest.mark.any_precision
def test_a_net_without_layers_is_differentiated_example_by_example():
    """Its parameter enters in a branch alone, so that there are no cotangents to count."""
    x = jax.random.normal(jax.random.key(0), (5, 3))

    def apply_fn(w, x):
        return jax.lax.cond(w > 0, lambda: jnp.sin(w * x), lambda: w * x)

    slopes = x * jnp.cos(0.5 * x)
    np.testing.assert_allclose(ntk.empirical(apply_fn, jnp.float32(0.5), x, mode="trace"), slopes @ slopes.T / 3, rtol=1e-5)


@pytest.mark.any_precision
def test_convolutions_become_products_of_patches_where_these_are_known():
    apply_fn, params, x = _problem(3)
    kinds = [site.kind for site in Layers(apply_fn, params, x, by_patches=True).sites]
    assert [kind for kind in kinds if kind != "direct"] == ["dot", "conv", "dot"]
    assert [site.kind for site in Layers(apply_fn, params, x).sites if site.kind != "direct"] == ["conv", "conv", "dot"]


@pytest.mark.any_precision
@pytest.mark.parametrize(("net", "mode"), [("mlp", "trace"), ("mlp", "full"), ("cnn", "trace"), ("cnn", "diagonal")])
def test_the_compiled_program_needs_no_more_than_a_fifth_above_what_the_plan_says(net, mode):
    """Temporaries and result as the compiler counts them; nothing runs, and shapes are enough for a plan."""
    model, shape = (models.mlp((128, 128, 10)), (600, 96)) if net == "mlp" else (models.cnn((16,), 10), (256, 14, 14, 1))
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), x)
    plan = ntk.plan(model.apply, params, x, mode=mode)
    needed = _empirical.lower(model.apply, params, x, None, mode, "auto", None, None, None).compile().memory_analysis()
    assert needed.temp_size_in_bytes + needed.output_size_in_bytes <= 1.2 * plan.bytes


@pytest.mark.float64
@pytest.mark.parametrize("widths", [(7, 5, 3), (6, 3), (3,)])
def test_sums_over_outputs_of_the_last_two_layers_of_a_chain_are_closed(widths):
    """Against gradients themselves, for all parameters and for each layer's."""
    model = models.mlp(widths, activation="tanh")
    x = jax.random.normal(jax.random.key(0), (6, 4))
    params = jax.tree.map(lambda leaf: leaf + 0.3, model.init(jax.random.key(1), x))
    rounding = 200 * jnp.finfo(x.dtype).eps
    for subtree in (None, *params):
        expected = ntk.empirical(model.apply, params, x, mode="trace", strategy="jacobian", subtree=subtree)
        found = ntk.empirical(model.apply, params, x, mode="trace", subtree=subtree)
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding * float(jnp.abs(expected).max()))


def _tiled(monkeypatch, apply_fn, width):
    """The same net, of which nothing compiled is kept, with tiles of so many rows of the matrix."""
    monkeypatch.setattr(blocks, "TILE", width)

    def again(params, x):
        return apply_fn(params, x)

    return again


@pytest.mark.heavy
@pytest.mark.parametrize("widths", [(5, 6, 3), (3,), (4, 20)])
def test_a_full_kernel_in_tiles_is_that_of_all_examples_at_once(widths, precision, monkeypatch):
    """Tiles of 4 and 3 examples, the last of which start early; 20 outputs are too many to go by pairs."""
    model, dtype = models.mlp(widths, activation="tanh"), jnp.dtype(precision)
    x = jax.random.normal(jax.random.key(0), (11, 4), dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype) + 0.3, model.init(jax.random.key(1), x))
    rounding = 200 * jnp.finfo(dtype).eps
    apply_fn = _tiled(monkeypatch, model.apply, 4 * widths[-1])
    for subtree in (None, *params):
        own, other = (jax.jit(jax.jacrev(model.apply))(params, points) for points in (x, jnp.cos(x[:7])))
        chosen = params if subtree is None else {subtree: 0}
        own, other = (
            jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for name in chosen for leaf in jax.tree.leaves(found[name])], axis=2)
            for found in (own, other)
        )
        for right, points in ((own, ()), (other, (jnp.cos(x[:7]),))):
            expected = jnp.einsum("ncp,mdp->nmcd", own, right, precision="highest")
            for options in ({}, {"chunk_size": 5}) if subtree is None else ({},):
                found = ntk.empirical(apply_fn, params, x, *points, subtree=subtree, **options)
                assert found.dtype == dtype
                np.testing.assert_allclose(found, expected, rtol=0, atol=rounding * float(jnp.abs(expected).max()))


@pytest.mark.float64
def test_a_full_kernel_in_tiles_has_derivatives(monkeypatch):
    model = models.mlp((5, 6, 3), activation="tanh")
    x = jax.random.normal(jax.random.key(0), (11, 4))
    params = model.init(jax.random.key(1), x)
    weights = jax.random.normal(jax.random.key(2), (11, 11, 3, 3))

    def slopes(apply_fn, *points):
        def value(params):
            kernel = ntk.empirical(apply_fn, params, x, *points)
            return jnp.sum(jnp.sin(kernel) * weights[:, : kernel.shape[1]])

        several = jax.vmap(value)(jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params))
        return jax.grad(value)(params), jax.jvp(value, (params,), (params,)), several

    expected = slopes(model.apply), slopes(model.apply, x[:7])
    apply_fn = _tiled(monkeypatch, model.apply, 12)
    for found, whole in zip((slopes(apply_fn), slopes(apply_fn, x[:7])), expected, strict=True):
        jax.tree.map(lambda own, other: np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-5), found, whole)


@pytest.mark.float64
def test_a_full_kernel_by_pairs_of_outputs_from_rounded_factors():
    model = models.mlp((5, 6, 3))
    x = jax.random.normal(jax.random.key(0), (11, 4), jnp.float32)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), model.init(jax.random.key(1), x))
    exact = ntk.empirical(model.apply, params, x, precision="f64")
    for named, rounding in (("bf16_f32", 2.0**-7), ("bf16x3", 2.0**-14)):
        error = jnp.abs(ntk.empirical(model.apply, params, x, precision=named) - exact).max()
        assert 0 < float(error) <= rounding * float(jnp.abs(exact).max())
