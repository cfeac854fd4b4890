"""Random problems that the claims of this chapter are checked on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

NUM_TABLES = 1000
NUM_COVARIANCES = 100


def simplex_points(key: Key[Array, ""], *shape: int) -> Float[Array, "*shape"]:
    """Laws along the last axis, uniform on the simplex."""
    weights = jax.random.exponential(key, shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def tables(key: Key[Array, ""], *shape: int) -> Float[Array, "1000 *shape"]:
    """Joint laws of as many variables as `shape` has axes, uniform on the simplex."""
    size = jnp.zeros(shape).size
    return simplex_points(key, NUM_TABLES, size).reshape(NUM_TABLES, *shape)


def kernels(key: Key[Array, ""], num_inputs: int, num_outputs: int) -> Float[Array, "1000 x y"]:
    """Channels, every row a law uniform on the simplex."""
    return simplex_points(key, NUM_TABLES, num_inputs, num_outputs)


def covariances(key: Key[Array, ""], dimension: int) -> Float[Array, "100 d d"]:
    """Covariance matrices A A^T / d + I / 10 with A of independent standard normal entries."""
    factors = jax.random.normal(key, (NUM_COVARIANCES, dimension, dimension))
    return factors @ factors.mT / dimension + 0.1 * jnp.eye(dimension)


def binary_symmetric(error: Float[ArrayLike, ""]) -> Float[Array, "2 2"]:
    """The channel that flips a bit with that probability."""
    return jnp.where(jnp.eye(2) == 1, 1 - jnp.asarray(error), error)
