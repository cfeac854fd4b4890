"""Label corruption."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from jaxgen._core.checks import checked, floating, is_traced, positive_integer, require

INVALID = -1


def corrupt_labels(key: PRNGKeyArray, labels: Int[Array, " n"], fraction: Float[ArrayLike, ""], num_classes: int) -> Int[Array, " n"]:
    """Labels of which a fraction is replaced by uniformly random classes.

    Exactly round(fraction N) labels, chosen uniformly without replacement (half rounds to even), are drawn anew from all
    `num_classes` classes. A new label may be the old one (the convention of Zhang et al. 2017), so that
    fraction (1 - 1/num_classes) of all labels change on average. With one key a larger fraction corrupts a superset, by the same draws.

    Args:
        key: PRNG key.
        labels: integers in [0, num_classes), shape (N,).
        fraction: in [0, 1]; may be traced, so noise levels can be mapped over.
        num_classes: number of classes.

    Returns:
        Labels, int32 (N,). Where traced input is out of range, every label is -1, which is no class.

    Raises:
        TypeError: if `labels` are not integers.
        ValueError: if they are not one axis or out of range, `fraction` is no scalar in [0, 1], or `num_classes` < 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import data
        >>> labels = jnp.zeros(1000, int)
        >>> int((data.corrupt_labels(jax.random.key(0), labels, 0.2, 10) != labels).sum())
        172
    """
    labels, fraction = jnp.asarray(labels), floating("fraction", fraction)
    num_classes = positive_integer("num_classes", num_classes)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must be integers; got dtype {labels.dtype}")
    require(labels.ndim == 1, f"labels must have shape (N,); got {labels.shape}")
    require(fraction.ndim == 0, f"fraction must be a scalar; got shape {fraction.shape}")
    inside = (labels >= 0) & (labels < num_classes)
    fraction = checked(
        fraction,
        ((fraction >= 0) & (fraction <= 1), f"fraction must lie in [0, 1]; got {fraction}"),
        (inside, f"labels must lie in [0, {num_classes}){_found(labels, inside)}"),
    )
    return _corrupt(key, labels.astype(jnp.int32), fraction, num_classes)


@jax.jit
def _corrupt(key: PRNGKeyArray, labels: Array, fraction: Array, num_classes: Array) -> Array:
    key_order, key_classes = jax.random.split(key)
    rank = jax.random.permutation(key_order, labels.size)
    drawn = jax.random.randint(key_classes, labels.shape, 0, num_classes, dtype=jnp.int32)
    corrupted = jnp.where(rank < jnp.round(fraction * labels.size), drawn, labels)
    return jnp.where(jnp.isnan(fraction), INVALID, corrupted)


def _found(labels: Array, inside: Array) -> str:
    return "" if is_traced(inside) or inside.all() else f"; got {labels[~inside][0]}"
