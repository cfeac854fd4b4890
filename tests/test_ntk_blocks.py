"""Features computed a few examples at a time, and convolutions that become products of patches for it."""

from functools import partial

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


def _by_jacobians(apply_fn, params, x, others, subtree=None):
    """The full kernel of part of the parameters, from explicit Jacobians."""

    def rows(points):
        found = jax.jacrev(apply_fn)(params, points)
        leaves = jax.tree.leaves(found if subtree is None else found[subtree])
        return jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=2)

    return jnp.einsum("ncp,mdp->nmcd", rows(x), rows(others), precision="highest")


@pytest.mark.heavy
@pytest.mark.parametrize("widths", [(5, 20, 3), (3,), (4, 20)])
def test_a_full_kernel_in_tiles_is_that_of_all_examples_at_once(widths, precision, monkeypatch):
    """Tiles of two examples, the last of which start early, in chunks too; only the first net's last two layers go by pairs of outputs."""
    model, dtype = models.mlp(widths, activation="tanh"), jnp.dtype(precision)
    x = jax.random.normal(jax.random.key(0), (11, 4), dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype) + 0.3, model.init(jax.random.key(1), x))
    rounding = 200 * jnp.finfo(dtype).eps
    apply_fn = _tiled(monkeypatch, model.apply, 2 * widths[-1])
    for subtree in (None, *params):
        for points in ((), (jnp.cos(x[:7]),)):
            expected = jax.jit(partial(_by_jacobians, model.apply, subtree=subtree))(params, x, *(points or (x,)))
            for options in ({}, {"chunk_size": 5}) if subtree is None else ({},):
                found = ntk.empirical(apply_fn, params, x, *points, subtree=subtree, **options)
                assert found.dtype == dtype
                np.testing.assert_allclose(found, expected, rtol=0, atol=rounding * float(jnp.abs(expected).max()))


@pytest.mark.float64
def test_a_full_kernel_in_tiles_has_derivatives(monkeypatch):
    model = models.mlp((5, 20, 3), activation="tanh")
    x = jax.random.normal(jax.random.key(0), (5, 4))
    params = model.init(jax.random.key(1), x)
    weights = jax.random.normal(jax.random.key(2), (5, 5, 3, 3))

    def slopes(kernel, *points):
        def value(params):
            found = kernel(params, *points)
            return jnp.sum(jnp.sin(found) * weights[:, : found.shape[1]])

        several = jax.vmap(value)(jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params))
        return jax.grad(value)(params), jax.jvp(value, (params,), (params,)), several

    apply_fn = _tiled(monkeypatch, model.apply, 6)
    for points in ((), (x[:3] + 1,)):
        found = slopes(lambda params, *points: ntk.empirical(apply_fn, params, x, *points), *points)
        expected = slopes(lambda params, points=x: _by_jacobians(model.apply, params, x, points), *points)
        jax.tree.map(lambda own, other: np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-9), found, expected)


def _doubled(params, x):
    """Adds the last layer's values to themselves."""
    z = jnp.tanh(x @ params["v"]) @ params["w"]
    return z + z


def _used_twice(params, x):
    """Has a last leaf that enters the inputs too, where there is no rule."""
    w = params["w"]
    x = jax.lax.cond(w.sum() > 1e9, lambda: x * w[0, 0], lambda: x * w[1, 1])
    return jnp.tanh(x @ params["v"]) @ w


@pytest.mark.float64
@pytest.mark.parametrize("mode", ["full", "trace"])
@pytest.mark.parametrize("apply_fn", [_doubled, _used_twice])
def test_ends_that_are_not_quite_a_chain_are_right(apply_fn, mode):
    x = jax.random.normal(jax.random.key(0), (5, 4))
    params = {"v": jax.random.normal(jax.random.key(1), (4, 20)), "w": jax.random.normal(jax.random.key(2), (20, 3))}
    expected = _by_jacobians(apply_fn, params, x, x)
    if mode == "trace":
        expected = jnp.einsum("nmcc->nm", expected) / 3
    np.testing.assert_allclose(ntk.empirical(apply_fn, params, x, mode=mode), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.float64
@pytest.mark.parametrize(("mode", "shape"), [("full", (5, 5, 3, 3)), ("diagonal", (5, 5, 3)), ("trace", (5, 5))])
def test_the_kernel_of_what_the_outputs_do_not_use_is_zero(mode, shape):
    params = {"w": jnp.ones((4, 3)), "unused": jnp.ones(2)}
    found = ntk.empirical(lambda p, x: x @ p["w"], params, jnp.ones((5, 4)), mode=mode, subtree="unused")
    np.testing.assert_array_equal(found, jnp.zeros(shape))


@pytest.mark.float64
def test_small_weights_of_half_precision_are_not_lost_in_pairs():
    """Products of two of them are below the least number of float16, their kernel is not: relative error of its rounding."""
    x = jax.random.normal(jax.random.key(0), (5, 4)).astype(jnp.float16)
    params = {"v": jax.random.normal(jax.random.key(1), (4, 64)), "w": 2e-4 * jax.random.normal(jax.random.key(2), (64, 2))}
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), params)

    def apply_fn(p, x):
        return jnp.tanh(x @ p["v"]) @ p["w"]

    exact = ntk.empirical(apply_fn, *jax.tree.map(lambda leaf: leaf.astype(float), (params, x)), subtree="v")
    found = ntk.empirical(apply_fn, params, x, subtree="v")
    assert jnp.linalg.norm(found - exact) < 0.02 * jnp.linalg.norm(exact)


@pytest.mark.float64
def test_a_full_kernel_by_pairs_of_outputs_from_rounded_factors():
    model = models.mlp((5, 20, 3))
    x = jax.random.normal(jax.random.key(0), (11, 4), jnp.float32)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), model.init(jax.random.key(1), x))
    exact = ntk.empirical(model.apply, params, x, precision="f64")
    for named, rounding in (("bf16_f32", 2.0**-7), ("bf16x3", 2.0**-14)):
        error = jnp.abs(ntk.empirical(model.apply, params, x, precision=named) - exact).max()
        assert 0 < float(error) <= rounding * float(jnp.abs(exact).max())
