"""Losses of every shape that the structure of a program can take: `(loss_fn, params, batch)` by name."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxgen import models

N = 5
RNG = partial(np.random.default_rng, 7)


def cross_entropy(outputs, labels):
    return -jax.nn.log_softmax(outputs)[jnp.arange(len(labels)), labels]


def _vectors():
    rng = RNG()
    return jnp.asarray(rng.normal(size=(N, 6))), jnp.asarray(rng.integers(0, 3, N))


def _images():
    rng = RNG()
    return jnp.asarray(rng.normal(size=(N, 6, 6, 2))), jnp.asarray(rng.integers(0, 3, N))


def _tokens():
    rng = RNG()
    return jnp.asarray(rng.integers(0, 7, (N, 4))), jnp.asarray(rng.integers(0, 3, N))


def _sequences():
    rng = RNG()
    return jnp.asarray(rng.normal(size=(N, 4, 3))), jnp.asarray(rng.integers(0, 3, N))


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape)) / np.sqrt(shape[0])


def _linen(module, batch):
    variables = jax.tree.map(lambda leaf: leaf.astype(float) + 0.1, module.init(jax.random.key(1), batch[0]))
    return (lambda p, b: cross_entropy(module.apply(p, b[0]), b[1])), variables, batch


def mlp():
    model, batch = models.mlp((5, 3), activation="tanh"), _vectors()
    return models.loss_fn(model.apply, "cross_entropy"), model.init(jax.random.key(0), batch[0]), batch


class _Convolutional(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2, padding=((1, 2), (0, 1)), param_dtype=float)(x))
        x = nn.gelu(nn.Conv(4, (2, 2), padding="SAME", feature_group_count=2, kernel_dilation=2, param_dtype=float)(x))
        return nn.Dense(3, param_dtype=float)(nn.max_pool(x, (2, 1)).reshape(len(x), -1))


class _Residual(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), param_dtype=float)(x)
        for _ in range(2):
            y = nn.relu(nn.GroupNorm(2, param_dtype=float)(x))
            x = x + nn.Conv(4, (3, 3), param_dtype=float)(y)
        return nn.Dense(3, param_dtype=float)(x.mean(axis=(1, 2)))


class _Normalized(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, param_dtype=float)(nn.gelu(nn.LayerNorm(param_dtype=float)(nn.Dense(8, param_dtype=float)(x))))


class _Attention(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        dense = partial(nn.Dense, param_dtype=float)
        x = nn.Embed(7, 4, param_dtype=float)(tokens) + self.param("position", nn.initializers.normal(), (tokens.shape[1], 4), float)
        first = self.param("class", nn.initializers.normal(), (1, 1, 4), float)
        x = jnp.concatenate([jnp.broadcast_to(first, (len(tokens), 1, 4)), x], axis=1)
        x = x + nn.MultiHeadDotProductAttention(2, param_dtype=float)(nn.LayerNorm(param_dtype=float)(x))
        return dense(3)(x[:, 0] + dense(4)(nn.gelu(dense(6)(x))).sum(axis=1))


def embedding():
    batch = _tokens()
    params = {"table": _normal(0, 7, 4), "dense": _normal(1, 16, 3)}
    return (lambda p, b: cross_entropy(p["table"][b[0]].reshape(len(b[1]), -1) @ p["dense"], b[1])), params, batch


def tied_autoencoder():
    def loss_fn(p, x):
        return jnp.sum((jnp.tanh(x @ p["w"] + p["b"]) @ p["w"].T + p["c"] - x) ** 2, axis=1)

    return loss_fn, {"w": _normal(0, 6, 4), "b": jnp.ones(4), "c": jnp.ones(6)}, _vectors()[0]


def scanned_layers():
    def loss_fn(p, b):
        body = jax.checkpoint(lambda h, layer: (jnp.tanh(h @ layer["w"] + layer["b"]), None))
        return cross_entropy(jax.lax.scan(body, b[0], p["layers"])[0] @ p["out"], b[1])

    return (
        loss_fn,
        {"layers": {"w": jnp.stack([_normal(k, 6, 6) for k in range(3)]), "b": jnp.ones((3, 6)) * 0.1}, "out": _normal(9, 6, 3)},
        _vectors(),
    )


def recurrent():
    def loss_fn(p, b):
        def cell(h, x):
            h = jnp.tanh(x @ p["x"] + h @ p["h"] + p["b"])
            return h, h

        start = jnp.broadcast_to(p["start"], (len(b[1]), 4))
        _, states = jax.lax.scan(cell, start, b[0].swapaxes(0, 1), reverse=True)
        return cross_entropy(states[0] @ p["out"], b[1])

    return loss_fn, {"x": _normal(0, 3, 4), "h": _normal(1, 4, 4), "b": jnp.zeros(4), "out": _normal(2, 4, 3), "start": jnp.ones(4)}, _sequences()


def nested_scans():
    def loss_fn(p, b):
        def layer(states, w):
            def cell(h, x):
                h = jnp.tanh(x @ w["x"] + h @ w["h"])
                return h, h

            return jax.lax.scan(cell, jnp.zeros((len(b[1]), 3)), states)[1], None

        states, _ = jax.lax.scan(layer, b[0].swapaxes(0, 1), p)
        return jnp.square(states[-1]).sum(axis=1)

    return loss_fn, {"x": jnp.stack([_normal(0, 3, 3), _normal(1, 3, 3)]), "h": jnp.stack([_normal(2, 3, 3), _normal(3, 3, 3)])}, _sequences()


def lstm():
    module, batch = nn.RNN(nn.OptimizedLSTMCell(4, param_dtype=float)), _sequences()
    variables = jax.tree.map(lambda leaf: leaf.astype(float), module.init(jax.random.key(0), batch[0]))
    apply_fn, params = models.from_linen(module, variables)
    return (lambda p, b: jnp.square(apply_fn(p, b[0])[:, -1]).sum(axis=1)), params, batch


def reparametrized():
    """Low rank, weight normalisation, a scalar scale, a penalty in the loss."""

    def loss_fn(p, b):
        normed = p["g"] * p["v"] / jnp.linalg.norm(p["v"], axis=0)
        return cross_entropy(b[0] @ (p["a"] @ p["b"]) * p["scale"] + b[0] @ normed, b[1]) + 0.1 * jnp.sum(p["a"] ** 2)

    params = {"a": _normal(0, 6, 2), "b": _normal(1, 2, 3), "g": jnp.ones(3), "v": _normal(2, 6, 3), "scale": jnp.asarray(1.3)}
    return loss_fn, params, _vectors()


def sliced():
    """Parts of one leaf: equal, overlapping with others, apart."""

    def loss_fn(p, b):
        query, key, value = jnp.split(b[0] @ p["qkv"], 3, axis=-1)
        return cross_entropy((jax.nn.softmax(query) * key + value) @ p["w"][0] + jnp.tanh(b[0] @ p["qkv"][:, 1:3]) @ p["w"][1], b[1])

    return loss_fn, {"qkv": _normal(0, 6, 6), "w": jnp.stack([_normal(1, 2, 3), _normal(2, 2, 3)])}, _vectors()


def single_example_style():
    def one(p, x, y):
        return -jax.nn.log_softmax(p["w"] @ jnp.tanh(p["v"] @ x + p["b"]))[y]

    return (lambda p, b: jax.vmap(partial(one, p))(*b)), {"w": _normal(0, 3, 4), "v": _normal(1, 4, 6), "b": jnp.ones(4)}, _vectors()


def einsums():
    def loss_fn(p, x):
        mixed = jnp.einsum("nij,jkl->nikl", x.reshape(len(x), 2, 3), p["w"])
        return jnp.einsum("nikl,kl,i->n", mixed, p["u"], p["s"]) ** 2

    return loss_fn, {"w": jnp.asarray(RNG().normal(size=(3, 2, 2))), "u": _normal(1, 2, 2), "s": jnp.ones(2)}, _vectors()[0]


def transposed_convolution():
    module, batch = nn.ConvTranspose(3, (3, 3), strides=(2, 2), param_dtype=float), _images()
    variables = jax.tree.map(lambda leaf: leaf.astype(float), module.init(jax.random.key(0), batch[0]))
    apply_fn, params = models.from_linen(module, variables)
    return (lambda p, b: jnp.square(apply_fn(p, b[0])).mean(axis=(1, 2, 3))), params, batch


@jax.custom_vjp
def _opaque(w, x):
    return jnp.sin(x * w)


_opaque.defvjp(lambda w, x: (_opaque(w, x), (w, x)), lambda r, g: ((g * jnp.cos(r[1] * r[0]) * r[1]).sum(0), g * jnp.cos(r[1] * r[0]) * r[0]))


def custom_rule():
    params = {"w": jnp.linspace(0.5, 1.5, 6), "out": _normal(0, 6, 3), "unused": jnp.ones(2)}
    return (lambda p, b: cross_entropy(_opaque(p["w"], b[0]) @ p["out"], b[1])), params, _vectors()


def branches():
    def loss_fn(p, b):
        h = jax.lax.cond(p["switch"] > 0, lambda: b[0] @ p["w"], lambda: b[0] @ p["w"] * 2)
        return cross_entropy(h @ p["out"], b[1])

    return loss_fn, {"w": _normal(0, 6, 4), "switch": jnp.asarray(1.0), "out": _normal(1, 4, 3)}, _vectors()


def noise_of_the_batch():
    """Dropout drawn at the batch's shape, with a leaf that has no structure."""

    def loss_fn(p, b):
        kept = jax.random.bernoulli(jax.random.key(3), 0.5, b[0].shape)
        return cross_entropy(_opaque(p["w"], jnp.where(kept, 2 * b[0], 0)) @ p["out"], b[1])

    return loss_fn, {"w": jnp.linspace(0.5, 1.5, 6), "out": _normal(0, 6, 3)}, _vectors()


def a_constant_for_every_example():
    offsets = jnp.asarray(RNG().normal(size=(N, 3)))
    return (lambda p, b: cross_entropy(b[0] @ p["w"] + offsets * p["s"], b[1])), {"w": _normal(0, 6, 3), "s": jnp.ones(3)}, _vectors()


def nnx_module():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.norm = nnx.Linear(6, 4, rngs=rngs, param_dtype=float), nnx.LayerNorm(4, rngs=rngs, param_dtype=float)
            self.last = nnx.Linear(4, 3, rngs=rngs, param_dtype=float)

        def __call__(self, x):
            return self.last(nnx.relu(self.norm(self.first(x))))

    apply_fn, params = models.from_nnx(Net(nnx.Rngs(0)))
    return models.loss_fn(apply_fn, "cross_entropy"), params, _vectors()


NETWORKS = {
    "mlp": mlp,
    "convolutions": lambda: _linen(_Convolutional(), _images()),
    "residual": lambda: _linen(_Residual(), _images()),
    "layer norm": lambda: _linen(_Normalized(), _vectors()),
    "attention": lambda: _linen(_Attention(), _tokens()),
    "embedding": embedding,
    "tied autoencoder": tied_autoencoder,
    "scanned layers": scanned_layers,
    "recurrent": recurrent,
    "nested scans": nested_scans,
    "lstm": lstm,
    "reparametrized": reparametrized,
    "sliced": sliced,
    "single-example style": single_example_style,
    "einsums": einsums,
    "transposed convolution": transposed_convolution,
    "custom rule": custom_rule,
    "branches": branches,
    "noise of the batch": noise_of_the_batch,
    "a constant for every example": a_constant_for_every_example,
    "nnx": nnx_module,
}
