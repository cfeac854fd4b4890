"""Averages over independent random draws, and the Gaussian perturbations that most of them are of."""

from collections.abc import Callable
from itertools import accumulate

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen._core.rademacher import rademacher
from jaxgen._core.results import Estimate


def std_of(variance: ArrayLike) -> Float[Array, ""]:
    """Standard deviation of a noise given by its variance, a scalar of at least 0."""
    variance = floating("variance", variance)
    require(variance.ndim == 0, f"variance must be a scalar; got shape {variance.shape}")
    return jnp.sqrt(checked(variance, (variance >= 0, f"variance must be at least 0; got {variance}")))


def gaussian_like(key: Key[Array, ""], tree: PyTree, std: ArrayLike) -> PyTree:
    """A draw of N(0, std^2 I) with the structure, shapes and dtypes of `tree`.

    All of it is one draw: the generator's fixed cost is that of thousands of numbers.
    """
    return _shaped(jnp.asarray(std) * jax.random.normal(key, (_size(tree),), jnp.result_type(float, *jax.tree.leaves(tree))), tree)


def signs_like(key: Key[Array, ""], tree: PyTree) -> PyTree:
    """Independent signs +-1 with the structure, shapes and dtypes of `tree`."""
    return _shaped(rademacher(key, (_size(tree),), jnp.result_type(float, *jax.tree.leaves(tree))), tree)


def _size(tree: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _shaped(flat: Array, tree: PyTree) -> PyTree:
    leaves, structure = jax.tree.flatten(tree)
    parts = jnp.split(flat, list(accumulate(leaf.size for leaf in leaves))[:-1])
    return jax.tree.unflatten(structure, [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)])


def average_over_draws(fn: Callable[[Array], ArrayLike], key: Key[Array, ""], num_draws: int, *, chunk_size: int = 1) -> Estimate:
    """Mean of `fn` over `num_draws` keys split from `key`, with its standard error.

    Args:
        fn: function of one key, to an array.
        num_draws: number of draws; with a single one the standard error is NaN.
        chunk_size: draws evaluated at a time, which bounds memory.
    """
    keys = jax.random.split(key, num_draws)
    width = positive_integer("chunk_size", chunk_size)
    values = jax.lax.map(fn, keys, batch_size=width if width > 1 else None)
    return Estimate(values.mean(axis=0), values.std(axis=0, ddof=1) / jnp.sqrt(num_draws))
