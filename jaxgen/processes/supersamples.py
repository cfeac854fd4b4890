"""Supersamples: n pairs of examples, of each of which a mask chooses one to train on, and training under many masks at once."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxgen import seeds
from jaxgen._core.checks import checked, leading_axis, positive_integer, require
from jaxgen.processes.batches import drawn_schedule
from jaxgen.processes.training import LossFn, descend


class Supersample(NamedTuple):
    """n pairs of examples and K masks.

    Attributes:
        pairs: rows of a pool of examples, int32 (n, 2).
        u: 0 or 1 for each pair, int32 (K, n): under mask k the training set is S_i = Z_{i, u_ki}, and the others are unseen.
    """

    pairs: Int[Array, "n 2"]
    u: Int[Array, "K n"]


class MaskedTraining(NamedTuple):
    """What training under K masks gave, with a leading axis M more where there were M supersamples.

    Attributes:
        losses: evaluation loss of both examples of every pair, (K, n, 2).
        predictions: what `predict` returned for them, (K, n, 2, ...); None without it.
        params: final parameters, leading axis K.
    """

    losses: Float[Array, "*M K n 2"]
    predictions: PyTree
    params: PyTree


def supersample(key: Key[Array, ""], pool_size: int, n: int, *, num_masks: int) -> Supersample:
    """n pairs of different examples of a pool, and K masks, all bits of which are fair and independent.

    If the pool is an independent sample of a law, so is the supersample, since no example occurs twice. For M of them, map
    over M keys by `vmap`.

    Args:
        key: of pairs and masks.
        pool_size: N.
        n: number of pairs, the size of a training set; 2 n <= N.
        num_masks: K.

    Returns:
        The `Supersample`.

    Raises:
        ValueError: if a size is below 1 or 2 n > `pool_size`.

    Source: Steinke and Zakynthinou 2020, section 1.2; spec INFO-38.

    Example:
        >>> import jax
        >>> from jaxgen import processes
        >>> pairs, u = processes.supersample(jax.random.key(0), 100, 10, num_masks=4)
        >>> pairs.shape, u.shape
        ((10, 2), (4, 10))
    """
    pool_size, n, num_masks = positive_integer("pool_size", pool_size), positive_integer("n", n), positive_integer("num_masks", num_masks)
    require(2 * n <= pool_size, f"n pairs need 2 n examples: got n = {n} and a pool of {pool_size}")
    pairs_key, mask_key = jax.random.split(key)
    rows = jax.random.permutation(pairs_key, jnp.arange(pool_size, dtype=jnp.int32))[: 2 * n]
    return Supersample(rows.reshape(n, 2), jax.random.bernoulli(mask_key, 0.5, (num_masks, n)).astype(jnp.int32))


def train_on_masks(
    key: Key[Array, ""],
    train_loss_fn: LossFn,
    eval_loss_fn: LossFn,
    init: Callable[[Array], PyTree],
    pool: PyTree,
    pairs: Int[Array, "*M n 2"],
    u: Int[Array, "*M K n"],
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    num_steps: int,
    predict: Callable[[PyTree, PyTree], Array] | None = None,
    shared_randomness: bool = False,
    mode: str = "epoch",
    mesh: Mesh | None = None,
    chunk_size: int | None = None,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> MaskedTraining:
    """Trains on the half of a supersample that each of K masks chooses, and evaluates on all of it, in one program.

    The program is compiled once for the same function and optimizer objects, sizes and shapes.

    Args:
        key: of initial weights and batches.
        train_loss_fn: training loss, `loss_fn(params, batch) -> (N,)`.
        eval_loss_fn: evaluation loss, likewise; in [0, 1] for the bounds.
        init: `init(key) -> params`.
        pool: all examples, a pytree with leading axis N.
        pairs: rows of the pool, (n, 2), or (M, n, 2) for M supersamples in the same program.
        u: masks, (K, n) or (M, K, n).
        optimizer: any optax transformation.
        batch_size: b.
        num_steps: T.
        predict: `predict(params, batch) -> (N, ...)`, class labels for the f-CMI bound.
        shared_randomness: whether all masks of a supersample start from the same weights and use the same order of batches,
            so that what is learned is a function of the mask. The bounds then hold given that randomness, and so on
            average; otherwise it is drawn anew for every mask, and hides part of the mask.
        mode: law of the batches, as in `batch_indices`.
        mesh: devices to spread the masks over, as in `jaxgen.seeds.run`.
        chunk_size: masks that one device maps over at a time; as in `jaxgen.seeds.run`.
        progress: shows a progress bar.
        checkpoint: folder to save to and to resume from, as in `jaxgen.seeds.run`.

    Returns:
        A `MaskedTraining`; all losses are NaN where traced pairs or masks are wrong.

    Raises:
        ValueError: if shapes do not fit, u is not binary, the two examples of a pair are the same row (its bit then says
            nothing), rows are out of range, `batch_size` > n without replacement, a loss does not return one value an
            example, or `checkpoint` holds another run.
        TypeError: if `pairs` or `u` are not integers.

    Source: Harutyunyan et al. 2021; spec INFO-39. Cost: K runs of T gradients of b examples. One evaluation holds n examples.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from jaxgen import processes
        >>> pool = jax.random.normal(jax.random.key(0), (40,))
        >>> pairs, u = processes.supersample(jax.random.key(1), 40, 10, num_masks=8)
        >>> loss_fn = lambda w, z: (w - z) ** 2
        >>> found = processes.train_on_masks(
        ...     jax.random.key(2), loss_fn, lambda w, z: jnp.clip(loss_fn(w, z), 0, 1), lambda key: jnp.float32(0), pool, pairs, u,
        ...     optimizer=optax.sgd(0.1), batch_size=5, num_steps=20)
        >>> found.losses.shape
        (8, 10, 2)
    """
    pairs, u, valid = _checked(pool, pairs, u)
    many, num_masks, n = u.shape[:-2], *u.shape[-2:]
    count = pairs.size // (2 * n)

    own = jax.random.split(key, (count, 1 if shared_randomness else num_masks))
    keys = jnp.broadcast_to(own, (count, num_masks)).reshape(-1)
    which = jnp.repeat(jnp.arange(count, dtype=jnp.int32), num_masks)
    options = {"mesh": mesh, "chunk_size": chunk_size, "progress": progress, "checkpoint": checkpoint}
    one_mask = _OneMask(train_loss_fn, eval_loss_fn, init, optimizer, batch_size, num_steps, predict, mode)
    found = seeds.run(one_mask, (keys, u.reshape(-1, n), which), pool, pairs.reshape(count, n, 2), **options)
    losses, predictions, params = jax.tree.map(lambda leaf: leaf.reshape(*many, num_masks, *leaf.shape[1:]), found)
    return MaskedTraining(losses * valid.astype(losses.dtype), predictions, params)


@dataclasses.dataclass(frozen=True)
class _OneMask:
    """Training and evaluation under one mask; equal for equal functions, so that its program is found again."""

    train_loss_fn: LossFn
    eval_loss_fn: LossFn
    init: Callable[[Array], PyTree]
    optimizer: optax.GradientTransformation
    batch_size: int
    num_steps: int
    predict: Callable[[PyTree, PyTree], Array] | None
    mode: str

    def __call__(self, seed: tuple[Array, Array, Array], pool: PyTree, pairs: Array) -> tuple[Array, PyTree, PyTree]:
        key, mask, which = seed
        init_key, batch_key = jax.random.split(key)
        rows = pairs[which]
        chosen = _examples(pool, jnp.take_along_axis(rows, mask[:, None], axis=1)[:, 0])
        schedule = drawn_schedule(batch_key, len(rows), self.batch_size, self.num_steps, self.mode)
        params, _, _ = descend(self.train_loss_fn, self.init(init_key), chosen, schedule, self.optimizer, None, 1)

        def evaluate(column):
            batch = _examples(pool, column)
            losses = self.eval_loss_fn(params, batch)
            require(
                jnp.shape(losses) == column.shape,
                f"eval_loss_fn must return one value an example, shape {column.shape}; got shape {jnp.shape(losses)}",
            )
            return losses, None if self.predict is None else self.predict(params, batch)

        losses, predictions = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), jax.lax.map(evaluate, rows.T))
        return losses, predictions, params


def _checked(pool: PyTree, pairs: Array, u: Array) -> tuple[Array, Array, Array]:
    """Pairs, masks, and 1, or NaN where traced ones are wrong."""
    pairs, u = jnp.asarray(pairs), jnp.asarray(u)
    for name, array in (("pairs", pairs), ("u", u)):
        if not (jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool):
            raise TypeError(f"{name} must hold integers; got dtype {array.dtype}")
    fits = pairs.ndim >= 2 and u.ndim == pairs.ndim and pairs.shape[-1] == 2 and pairs.shape[:-2] == u.shape[:-2]
    require(
        fits and pairs.shape[-2] == u.shape[-1] and u.size > 0,
        f"pairs must have shape (n, 2) and u (K, n), or (M, n, 2) and (M, K, n), not empty; got {pairs.shape} and {u.shape}",
    )
    size = leading_axis("pool", pool)
    valid = checked(
        jnp.ones(()),
        (_all_differ(pairs), "the examples of all pairs must differ: some row of pool is there twice, and could be trained on and held out"),
        ((pairs >= 0) & (pairs < size), f"pairs must lie in [0, {size}), the rows of pool"),
        ((u == 0) | (u == 1), "u must be binary: 0 or 1 for every pair"),
    )
    return pairs.astype(jnp.int32), u.astype(jnp.int32), valid


def _all_differ(pairs: Array) -> Array:
    rows = jnp.sort(pairs.reshape(*pairs.shape[:-2], -1), axis=-1)
    return rows[..., 1:] != rows[..., :-1]


def _examples(pool: PyTree, rows: Array) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], pool)
