"""Training sets drawn from one pool of data."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from jaxgen._core.checks import choice, positive_integer, require

KEYS_AT_A_TIME = 32


@partial(jax.tree_util.register_dataclass, data_fields=("indices",), meta_fields=("disjoint", "pool_fraction"))
@dataclasses.dataclass(frozen=True)
class Subsets:
    """Index sets into a pool; a pytree.

    Attributes:
        indices: int32 (K, n), one row for each subset, without repetition inside a row.
        disjoint: whether no two rows share an index, static.
        pool_fraction: n/N, the share of the pool in one subset, static.
    """

    indices: Int[Array, "K n"]
    disjoint: bool
    pool_fraction: float


def subsets(key: PRNGKeyArray, pool_size: int, n: int, num_subsets: int, *, mode: str = "auto") -> Subsets:
    """K training sets of n examples from a pool of N.

    If the pool is an iid sample, *disjoint* subsets are exact independent draws from its law. *Overlapping* ones are
    drawn independently, each without replacement; they share examples, and a dispersion across them is biased low by a
    factor of about 1 - n/N. The result tells which it was (INFO-32).

    Args:
        key: PRNG key.
        pool_size: N.
        n: examples in a subset, at most N.
        num_subsets: K.
        mode: `"disjoint"`, `"overlapping"`, or `"auto"`: disjoint if K n <= N.

    Returns:
        `Subsets` with indices of shape (K, n).

    Raises:
        ValueError: if `mode` is unknown, a size is below 1, n > N, or disjoint subsets do not fit.
    """
    choice("mode", mode, ("auto", "disjoint", "overlapping"))
    pool_size, n = positive_integer("pool_size", pool_size), positive_integer("n", n)
    num_subsets = positive_integer("num_subsets", num_subsets)
    require(n <= pool_size, f"n must be at most pool_size; got n = {n}, pool_size = {pool_size}")
    needed = num_subsets * n
    fits = needed <= pool_size
    require(
        fits or mode != "disjoint",
        f"disjoint subsets do not fit: {num_subsets} subsets of {n} need {needed} examples, the pool has {pool_size}",
    )
    disjoint = fits and mode != "overlapping"
    if disjoint:
        indices = jax.random.permutation(key, pool_size)[:needed].reshape(num_subsets, n)
    else:
        keys = jax.random.split(key, num_subsets)
        indices = jax.lax.map(lambda k: jax.random.permutation(k, pool_size)[:n], keys, batch_size=KEYS_AT_A_TIME)
    return Subsets(indices.astype(jnp.int32), disjoint, n / pool_size)
