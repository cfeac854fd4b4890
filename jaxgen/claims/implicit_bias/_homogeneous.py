"""Homogeneous nets, their data, and training of them in logarithms."""

import jax
import jax.numpy as jnp
import optax

from jaxgen import implicit_bias, models

BOOK = "Arora et al., Theory of Deep Learning"
LINEAR = {
    "fully connected": implicit_bias.linear_fully_connected,
    "convolutional": implicit_bias.linear_convolutional,
    "diagonal": implicit_bias.linear_diagonal,
}


def squared_relu(params, x):
    """sum_r a_r max(w_r . x, 0)^2, of order three and twice differentiable but on the planes w_r . x = 0."""
    return jnp.maximum(x @ params["in"], 0) ** 2 @ params["out"]


def squared_relu_params(key, d=3, width=8, scale=1.0):
    """Normal weights."""
    keys = jax.random.split(key)
    return {"in": scale * jax.random.normal(keys[0], (d, width)), "out": scale * jax.random.normal(keys[1], (width,))}


def weights(key, kind, d, depth=2, scale=0.1):
    """Normal weights of a linear net; layers of the other two are near the identity but for the last, which is small."""
    if kind == "fully connected":
        keys = jax.random.split(key, depth)
        return [scale * jax.random.normal(one, (d, d)) for one in keys[:-1]] + [scale * jax.random.normal(keys[-1], (d,))]
    identity = jnp.zeros(d).at[0].set(1.0) if kind == "convolutional" else jnp.ones(d)
    return scale * (identity * (jnp.arange(depth) < depth - 1)[:, None] + 0.1 * jax.random.normal(key, (depth, d)))


def points(key, n, d, shift=1.0):
    """Normal examples moved apart along a direction by their labels, and the labels, which alternate."""
    y = jnp.where(jnp.arange(n) % 2 == 0, 1.0, -1.0)
    direction = jax.random.normal(jax.random.fold_in(key, 1), (d,))
    return jax.random.normal(key, (n, d)) + shift * y[:, None] * direction / jnp.linalg.norm(direction), y


def architectures(key, d):
    """Models of order 3, 2, 2 and 3 and parameters of them, by name."""
    keys = jax.random.split(key, 4)
    net = models.mlp((16, 1), bias=False)
    return {
        "squared ReLU": (squared_relu, squared_relu_params(keys[0], d), 3),
        "ReLU": (net.apply, net.init(keys[1], jnp.zeros((1, d))), 2),
        "convolutional": (implicit_bias.linear_net(LINEAR["convolutional"]), weights(keys[2], "convolutional", d, scale=1.0), 2),
        "diagonal": (implicit_bias.linear_net(LINEAR["diagonal"]), jax.random.normal(keys[3], (3, d)), 3),
    }


def unit(params):
    """Parameters of norm one."""
    return optax.tree.scale(1 / optax.tree.norm(params), params)
