"""Bias-free ReLU nets as tuples of matrices, inputs by outputs."""

from itertools import pairwise

import jax

from jaxgen import models


def net(params, x):
    """Outputs of the net, (N, C)."""
    for matrix in params[:-1]:
        x = jax.nn.relu(x @ matrix)
    return x @ params[-1]


def normal_net(key, widths):
    """Matrices with independent N(0, 2 / fan in) entries."""
    keys = jax.random.split(key, len(widths) - 1)
    return tuple(jax.random.normal(k, shape) * (2 / shape[0]) ** 0.5 for k, shape in zip(keys, pairwise(widths), strict=True))


def rescaled_units(params, scales):
    """Units of the first hidden layer scaled up, and what leaves them down."""
    first, second, *rest = params
    return (first * scales, second / scales[:, None], *rest)


def trained(params, x, y, *, learning_rate, num_steps):
    """Parameters after gradient descent of the mean cross-entropy."""

    def step(params, _):
        gradient = jax.grad(lambda params: models.softmax_cross_entropy(net(params, x), y).mean())(params)
        return jax.tree.map(lambda leaf, slope: leaf - learning_rate * slope, params, gradient), None

    return jax.lax.scan(step, params, None, length=num_steps)[0]
