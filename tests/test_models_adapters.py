"""flax modules as pairs (apply_fn, params)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from jaxgen import models

pytestmark = pytest.mark.any_precision


class LinenNet(nn.Module):
    """Batch normalization and dropout, switched by a call argument without default."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.Dense(8)(x))
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(3)(x)


class LinenDeterministic(nn.Module):
    @nn.compact
    def __call__(self, x, *, deterministic=False, use_running_average=False, scale=1.0):
        x = nn.BatchNorm(use_running_average=use_running_average)(nn.Dense(4)(x))
        return scale * nn.Dropout(0.5)(x, deterministic=deterministic)


class LinenStubborn(nn.Module):
    kind: str

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4)(x)
        return nn.Dropout(0.5, deterministic=False)(x) if self.kind == "dropout" else nn.BatchNorm(use_running_average=False)(x)


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 8, rngs=rngs)])
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x, train=True, scale=1.0):
        for layer in self.layers:
            x = nnx.relu(layer(x))
        x = self.head(self.dropout(self.norm(x)))
        return scale * (x + 1000.0 if train else x)


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).standard_normal((6, 4), np.float32))


def _linen(module, key, x, **arguments):
    """Variables of a module that has seen a training batch, so that its batch statistics are not the initial ones."""
    variables = module.init({"params": key, "dropout": key}, x, **arguments)
    statistics = jax.tree.map(lambda a: a + 0.5, variables["batch_stats"])
    return {"params": variables["params"], "batch_stats": statistics}


def _nnx(x):
    net = NnxNet(nnx.Rngs(0))
    net(x)
    net(x)
    return net


def _check_pure_function(apply_fn, params, x):
    """jit, vmap over examples and over parameters, grad, and independence of the rest of the batch."""
    outputs = apply_fn(params, x)
    np.testing.assert_array_equal(apply_fn(params, x), outputs)
    np.testing.assert_allclose(jax.jit(apply_fn)(params, x), outputs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(apply_fn, (None, 0)))(params, x[:, None])[:, 0], outputs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jit(apply_fn)(params, x[:2]), outputs[:2], rtol=1e-4, atol=1e-5)
    doubled = jax.tree.map(lambda a: np.stack([a, 2 * a]), params)
    np.testing.assert_allclose(jax.jit(jax.vmap(apply_fn, (0, None)))(doubled, x)[0], outputs, rtol=1e-4, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda p: apply_fn(p, x).sum()))(params)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 0


def test_a_linen_module_runs_in_evaluation_mode_with_frozen_statistics(key, x):
    module = LinenNet()
    variables = _linen(module, key, x, train=True)
    apply_fn, params = models.from_linen(module, variables)
    assert set(params) == {"Dense_0", "BatchNorm_0", "Dense_1"}
    np.testing.assert_array_equal(apply_fn(params, x), module.apply(variables, x, train=False))
    _check_pure_function(apply_fn, params, x)


def test_linen_call_arguments_are_switched_to_evaluation_and_can_be_given(key, x):
    module = LinenDeterministic()
    variables = _linen(module, key, x)
    expected = module.apply(variables, x, deterministic=True, use_running_average=True)
    apply_fn, params = models.from_linen(module, variables)
    np.testing.assert_array_equal(apply_fn(params, x), expected)
    apply_fn, params = models.from_linen(module, variables, scale=3.0)
    np.testing.assert_allclose(apply_fn(params, x), 3.0 * expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["dropout", "norm"])
def test_a_linen_module_that_stays_in_training_mode_is_refused(key, x, kind):
    module = LinenStubborn(kind)
    variables = module.init({"params": key, "dropout": key}, x)
    apply_fn, params = models.from_linen(module, variables)
    with pytest.raises(ValueError, match="LinenStubborn is not in evaluation mode; give from_linen the argument"):
        apply_fn(params, x)


def test_boxed_and_frozen_linen_variables_become_plain_arrays(key, x):
    module = nn.Dense(3, kernel_init=nn.with_partitioning(nn.initializers.normal(), (None, None)))
    variables = nn.FrozenDict(module.init(key, x))
    apply_fn, params = models.from_linen(module, variables)
    assert jax.tree.map(jnp.shape, params) == {"kernel": (4, 3), "bias": (3,)}
    np.testing.assert_allclose(apply_fn(params, x), x @ params["kernel"] + params["bias"], rtol=1e-5, atol=1e-6)


def test_linen_mistakes_are_named(key, x):
    module = nn.Dense(3)
    variables = module.init(key, x)
    with pytest.raises(ValueError, match=r"variables must have the collection 'params', as module\.init returns it; got bias, kernel"):
        models.from_linen(module, variables["params"])
    with pytest.raises(TypeError, match="module must be a flax linen module; got NnxNet"):
        models.from_linen(_nnx(x), variables)  # pyright: ignore[reportArgumentType]
    apply_fn, params = models.from_linen(module, variables)
    with pytest.raises(ValueError, match="params do not fit Dense"):
        apply_fn({"kernel": params["kernel"][:2], "bias": params["bias"]}, x)


def test_an_nnx_model_runs_in_evaluation_mode_with_frozen_statistics(x):
    net = _nnx(x)
    apply_fn, params = models.from_nnx(net)
    assert jax.tree.map(jnp.shape, params["layers"]) == {0: {"kernel": (4, 8), "bias": (8,)}, 1: {"kernel": (8, 8), "bias": (8,)}}
    assert set(params) == {"layers", "norm", "head"}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
    evaluated = nnx.clone(net)
    evaluated.eval()
    np.testing.assert_array_equal(apply_fn(params, x), evaluated(x, train=False))
    _check_pure_function(apply_fn, params, x)


def test_the_nnx_model_is_not_changed(x):
    net = _nnx(x)

    def state():
        return jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(net, (nnx.Param, nnx.BatchStat))))

    before = state()
    apply_fn, params = models.from_nnx(net)
    apply_fn(jax.tree.map(lambda a: 2 * a, params), x)
    jax.tree.map(np.testing.assert_array_equal, state(), before)
    assert (net.dropout.deterministic, net.norm.use_running_average) == (False, False)


def test_later_training_of_the_nnx_model_does_not_reach_the_function(x):
    net = _nnx(x)
    apply_fn, params = models.from_nnx(net)
    before = apply_fn(params, x)
    net(100.0 * x)
    net.head.kernel[...] = jnp.zeros((8, 3))
    np.testing.assert_array_equal(apply_fn(params, x), before)


def test_nnx_parameters_are_matched_by_name(x):
    apply_fn, params = models.from_nnx(_nnx(x), scale=2.0)
    reordered = {name: params[name] for name in sorted(params, reverse=True)}
    np.testing.assert_array_equal(apply_fn(reordered, x), apply_fn(params, x))
    np.testing.assert_allclose(apply_fn(params, x), 2 * models.from_nnx(_nnx(x))[0](params, x), rtol=1e-6)


def test_tied_nnx_parameters_appear_once(x):
    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(4, 4, rngs=rngs)
            self.second = self.first

        def __call__(self, x):
            return self.second(jnp.tanh(self.first(x)))

    apply_fn, params = models.from_nnx(Tied(nnx.Rngs(0)))
    assert len(jax.tree.leaves(params)) == 2
    _check_pure_function(apply_fn, params, x)


def test_nnx_mistakes_are_named(x):
    with pytest.raises(TypeError, match="model must be a flax nnx module; got Dense"):
        models.from_nnx(nn.Dense(3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"Dropout has no nnx\.Param to train"):
        models.from_nnx(nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    apply_fn, params = models.from_nnx(_nnx(x))
    with pytest.raises(ValueError, match="params do not fit NnxNet"):
        apply_fn({"head": params["head"]}, x)


def test_adapted_models_are_trained_by_the_librarys_losses(x):
    apply_fn, params = models.from_nnx(_nnx(x))
    loss_fn, batch = models.loss_fn(apply_fn, "cross_entropy"), (x, jnp.array([0, 1, 2, 0, 1, 2]))
    gradient = jax.grad(lambda p: loss_fn(p, batch).mean())(params)
    stepped = jax.tree.map(lambda a, g: a - 0.01 * g, params, gradient)
    assert float(loss_fn(stepped, batch).mean()) < float(loss_fn(params, batch).mean())
