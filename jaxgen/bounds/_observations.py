"""What training under K masks shows of every pair, as labels, and what labels tell about the masks."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen import information
from jaxgen._core.checks import checked, floating, positive_integer, require


class Observed(NamedTuple):
    """What was seen of every pair.

    Attributes:
        labels: in [0, num_labels), (J, K, n) for J observations that are taken one by one.
        bits: masks, (K, n).
        num_labels: number of values.
        valid: 1, or NaN where traced values are wrong.
    """

    labels: Array
    bits: Array
    num_labels: int
    valid: Array


def observed_predictions(predictions: Array, u: Array, num_classes: int) -> Observed:
    predictions, num_classes = jnp.asarray(predictions), positive_integer("num_classes", num_classes, at_least=2)
    if not jnp.issubdtype(predictions.dtype, jnp.integer):
        raise TypeError(f"predictions must hold integers, the predicted classes; got dtype {predictions.dtype}")
    bits, valid = checked_bits(u, _pairs("predictions", predictions))
    valid = checked(valid, ((predictions >= 0) & (predictions < num_classes), f"predictions must lie in [0, {num_classes})"))
    return Observed((predictions[..., 0] * num_classes + predictions[..., 1])[None], bits, num_classes**2, valid)


def observed_losses(losses: Array, u: Array, num_levels: int) -> Observed:
    levels, bits, valid = _loss_levels(losses, u, num_levels)
    return Observed((levels[..., 0] * num_levels + levels[..., 1])[None], bits, num_levels**2, valid)


def observed_difference(losses: Array, u: Array, num_levels: int) -> Observed:
    levels, bits, valid = _loss_levels(losses, u, num_levels)
    return Observed((levels[..., 1] - levels[..., 0] + num_levels - 1)[None], bits, 2 * num_levels - 1, valid)


def observed_columns(losses: Array, u: Array, num_levels: int) -> Observed:
    levels, bits, valid = _loss_levels(losses, u, num_levels)
    return Observed(jnp.moveaxis(levels, -1, 0), bits, num_levels, valid)


def plugin(observed: Observed) -> tuple[Float[Array, "J n"], Float[Array, "J n"]]:
    """Informations between columns of labels and of bits by their tables, and what the correction subtracts."""
    raw, correction = _of_tables(observed.labels, observed.bits, observed.num_labels)
    return raw * observed.valid, correction


@partial(jax.jit, static_argnames="num_labels")
def _of_tables(labels: Array, bits: Array, num_labels: int) -> tuple[Array, Array]:
    seen = (labels[..., None, None] == jnp.arange(num_labels)[:, None]) & (bits[..., None, None] == jnp.arange(2))
    counts = seen.sum(axis=1, dtype=jnp.int32)
    tables = counts.astype(jnp.result_type(float)).reshape(-1, num_labels, 2) / len(bits)
    raw = jax.vmap(information.mutual_information)(tables).reshape(counts.shape[:2])
    cells = [(table > 0).sum(axis=axes) for table, axes in ((counts, (2, 3)), (counts.sum(axis=3), 2), (counts.sum(axis=2), 2))]
    return raw, (cells[0] - cells[1] - cells[2] + 1) / (2 * len(bits))


def checked_bits(u: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Masks as integers, and 1, or NaN where traced ones are not binary."""
    u = floating("u", jnp.asarray(u, jnp.int32) if jnp.asarray(u).dtype == bool else u)
    require(u.shape == shape, f"u must have shape (K, n) = {shape}, one bit for each pair under each mask; got {u.shape}")
    valid = checked(jnp.ones(()), ((u == 0) | (u == 1), "u must be binary: 0 or 1 for each pair"))
    return u.astype(jnp.int32), valid


def _pairs(name: str, array: Array) -> tuple[int, ...]:
    """(K, n) of an array of shape (K, n, 2)."""
    require(array.ndim == 3 and array.shape[-1] == 2 and array.size > 0, f"{name} must have shape (K, n, 2), not empty; got {array.shape}")
    return array.shape[:2]


def _loss_levels(losses: Array, u: Array, num_levels: int) -> tuple[Array, Array, Array]:
    """Losses as integers in [0, num_levels), masks, and 1, or NaN where traced values are wrong."""
    losses, num_levels = floating("losses", losses), positive_integer("num_levels", num_levels, at_least=2)
    bits, valid = checked_bits(u, _pairs("losses", losses))
    valid = checked(valid.astype(losses.dtype), ((losses >= 0) & (losses <= 1), "losses must lie in [0, 1]"))
    inside = jnp.where(jnp.isnan(losses), 0, jnp.clip(losses, 0, 1))
    return jnp.round(inside * (num_levels - 1)).astype(jnp.int32), bits, valid
