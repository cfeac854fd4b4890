"""Which examples are in which mini-batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, Key

from jaxgen._core.checks import choice, positive_integer, require


def batch_indices(key: Key[Array, ""], n: int, batch_size: int, num_steps: int, *, mode: str = "epoch") -> Int32[Array, "T b"]:
    """Rows of the training set in each of T mini-batches.

    - `"epoch"`: a fresh permutation every floor(n/b) steps, cut into batches; an incomplete last one is dropped. A longer
      schedule from the same key begins with the shorter one.
    - `"iid"`: every row uniform and independent.
    - `"without_replacement"`: every batch a uniform subset of b rows, independent of the other batches. The order within a
      batch has no meaning.

    The bounds on SGD hold for each, since the batches do not depend on the data's values.

    Args:
        key: key of the schedule.
        n: number of training examples.
        batch_size: b, at most n but for `"iid"`.
        num_steps: T, at least 0.
        mode: law of the batches.

    Returns:
        Indices in [0, n).

    Raises:
        ValueError: if a size is not positive, `batch_size` > n without replacement, or `mode` is unknown.
        TypeError: if a size is not a concrete integer.

    Source: spec INFO-16. `"without_replacement"` is Floyd's algorithm on all steps at once: O(T b^2), whatever n is.

    Example:
        >>> import jax
        >>> from jaxgen import processes
        >>> rows = processes.batch_indices(jax.random.key(0), 6, 3, 4)
        >>> rows.shape, sorted(rows[:2].ravel().tolist())
        ((4, 3), [0, 1, 2, 3, 4, 5])
    """
    choice("mode", mode, ("epoch", "iid", "without_replacement"))
    n = positive_integer("n", n)
    batch_size = positive_integer("batch_size", batch_size)
    num_steps = positive_integer("num_steps", num_steps, at_least=0)
    require(mode == "iid" or batch_size <= n, f"batch_size must be at most n = {n} without replacement; got {batch_size}")
    if mode == "iid":
        return jax.random.randint(key, (num_steps, batch_size), 0, n, dtype=jnp.int32)
    if mode == "epoch":
        return _epochs(key, n, batch_size, num_steps)
    return _subsets(key, n, batch_size, num_steps)


def _epochs(key: Array, n: int, batch_size: int, num_steps: int) -> Int32[Array, "T b"]:
    steps_per_epoch = n // batch_size

    def epoch(index):
        order = jax.random.permutation(jax.random.fold_in(key, index), jnp.arange(n, dtype=jnp.int32))
        return order[: steps_per_epoch * batch_size].reshape(steps_per_epoch, batch_size)

    epochs = jax.lax.map(epoch, jnp.arange(-(-num_steps // steps_per_epoch), dtype=jnp.int32))
    return epochs.reshape(-1, batch_size)[:num_steps]


def _subsets(key: Array, n: int, batch_size: int, num_steps: int) -> Int32[Array, "T b"]:
    """The i-th member is drawn from the first n - b + i + 1 rows, and is the last of them if the draw is in already."""
    if batch_size == n:
        return jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32), (num_steps, n))

    def place(i, chosen):
        last = n - batch_size + i
        drawn = jax.random.randint(jax.random.fold_in(key, i), (num_steps,), 0, last + 1, dtype=jnp.int32)
        taken = (chosen == drawn[:, None]).any(axis=1)
        return chosen.at[:, i].set(jnp.where(taken, last, drawn))

    return jax.lax.fori_loop(0, batch_size, place, jnp.full((num_steps, batch_size), -1, jnp.int32))
