"""Random signs."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key


def rademacher(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = float) -> Array:
    """Independent signs +-1 with equal odds, 32 of them from every random word.

    `jax.random.rademacher` draws a word for every sign, which can cost more than what the signs are multiplied with.
    """
    words = jax.random.bits(key, (-(-prod(shape) // 32), 1), jnp.uint32)
    bits = (words >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return (1 - 2 * bits.astype(dtype)).reshape(-1)[: prod(shape)].reshape(shape)
