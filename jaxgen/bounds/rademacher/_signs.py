"""Averages over vectors of random signs, by drawing them or over all there are."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxgen._core.checks import positive_integer, require
from jaxgen._core.monte_carlo import average_over_draws
from jaxgen._core.rademacher import rademacher
from jaxgen._core.results import Estimate

MOST_ENUMERATED = 16
"""Signs of which all vectors are gone through."""

CHUNK = 256


def checked_draws(key: Key[Array, ""] | None, num_draws: int | None, n: int) -> int | None:
    """The number of vectors of n signs to draw, or None for all, if either can be done."""
    if num_draws is None:
        require(n <= MOST_ENUMERATED, f"num_draws=None goes through all signs of at most {MOST_ENUMERATED} values; got {n}, give num_draws")
        return None
    require(key is not None, "key is needed to draw signs; only num_draws=None goes without")
    return positive_integer("num_draws", num_draws, at_least=2)


def average_over_signs(
    fn: Callable[[Array], Array], key: Key[Array, ""] | None, n: int, num_draws: int | None, dtype: jnp.dtype, *, balanced: bool = False
) -> Estimate:
    """Mean of a function of n signs, half of which are +1 where they are `balanced`.

    Args:
        fn: function of signs of shape (n,), to a scalar.
        key: of the draws; None where all are gone through.
        n: number of signs.
        num_draws: from `checked_draws`.
        dtype: of the signs.
        balanced: whether as many signs are +1 as are -1.
    """
    if num_draws is None:
        values = jax.lax.map(fn, jnp.asarray(_all_signs(n, balanced), dtype), batch_size=CHUNK)
        return Estimate(values.mean(), jnp.zeros_like(values[0]))
    halves = jnp.repeat(jnp.array([1, -1], dtype), n // 2)

    def drawn(key: Key[Array, ""]) -> Array:
        return fn(jax.random.permutation(key, halves) if balanced else rademacher(key, (n,), dtype))

    return average_over_draws(drawn, key, num_draws, chunk_size=min(num_draws, CHUNK))  # type: ignore[arg-type]


def _all_signs(n: int, balanced: bool) -> np.ndarray:
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    return signs[signs.sum(axis=1) == 0] if balanced else signs
