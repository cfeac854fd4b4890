"""Wide nets with their first layer trained, and problems on the sphere, that the claims of the chapter share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class TwoLayer(NamedTuple):
    """f(x) = sum_r a_r sigma(w_r . x) with fixed signs a, scaled by a power of the width."""

    signs: jax.Array
    activation: Callable[[jax.Array], jax.Array]

    def __call__(self, weights, x):
        return self.activation(x @ weights.T) @ self.signs

    def kernel(self, weights, x, z):
        """Its tangent kernel, by hand."""
        slope = jax.vmap(jax.vmap(jax.grad(self.activation)))
        return (x @ z.T) * ((slope(x @ weights.T) * self.signs**2) @ slope(z @ weights.T).T)


def two_layer(key, width, d, activation=jax.nn.relu, power=0.5, largest=None):
    """A net, its output scaled by m^-power, and its initial weights: standard normal, and signs at random.

    With `largest`, which many widths share, the neurons after the first m have sign zero: one program for them all.
    """
    first, second = jax.random.split(key)
    count = width if largest is None else largest
    signs = jnp.where(jnp.arange(count) < width, jax.random.rademacher(second, (count,), float), 0.0)
    return TwoLayer(signs / jnp.asarray(width, float) ** power, activation), jax.random.normal(first, (count, d))


def over_nets(of_net, key, widths, num_nets):
    """`of_net(key, width)` for each width and key, the results stacked along axes of widths and nets."""
    keys, widths = jax.random.split(key, num_nets), jnp.array(widths)
    return jax.lax.map(lambda width: jax.lax.map(lambda key: of_net(key, width), keys), widths)


def sphere(key, n, d):
    """Points of norm one."""
    x = jax.random.normal(key, (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def trained(net, weights, x, y, rate, num_steps, record=None) -> tuple[jax.Array, Any]:
    """Weights after gradient descent on half the sum of squares, and records before every step."""

    def step(weights, _):
        residual, pull = jax.vjp(lambda w: net(w, x), weights)
        gradient = pull(residual - y)[0]
        return weights - rate * gradient, None if record is None else record(weights)

    return jax.lax.scan(step, weights, None, length=num_steps)


def mixture(key, n, d=20):
    """Two Gaussian classes, labels +-1, projected to the sphere."""
    keys = jax.random.split(key, 3)
    y = jax.random.rademacher(keys[0], (n,), float)
    mean = jax.random.normal(keys[1], (d,))
    x = jax.random.normal(keys[2], (n, d)) + 4 * y[:, None] * mean / jnp.linalg.norm(mean)
    return x / jnp.linalg.norm(x, axis=1, keepdims=True), y
