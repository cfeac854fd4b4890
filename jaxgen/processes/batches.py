"""Which examples are in which mini-batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Int32, Key, PyTree

from jaxgen._core.checks import choice, positive_integer, require


def batch_indices(key: Key[Array, ""], n: int, batch_size: int, num_steps: int, *, mode: str = "epoch") -> Int32[Array, "T b"]:
    """Rows of the training set in each of T mini-batches.

    - `"epoch"`: a fresh permutation every floor(n/b) steps, cut into batches; an incomplete last one is dropped.
    - `"iid"`: every row uniform and independent.
    - `"without_replacement"`: every batch a uniform subset of b rows, independent of the other batches. The order within a
      batch has no meaning.

    The bounds on SGD hold for each, since the batches do not depend on the data's values. A longer schedule from the same
    key begins with the shorter one.

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
    block, steps = _blocks(key, n, batch_size, mode)
    num_steps = positive_integer("num_steps", num_steps, at_least=0)
    return jax.vmap(block)(jnp.arange(-(-num_steps // steps), dtype=jnp.int32)).reshape(-1, batch_size)[:num_steps]


class Schedule(NamedTuple):
    """The batches of a training loop: `state, rows = advance(state, t)` for t = 0, ..., num_steps - 1, from `start`."""

    start: PyTree
    advance: Callable[[PyTree, Any], tuple[PyTree, Int[Array, " b"]]]
    num_steps: int


def given_schedule(batch_indices: Int[Array, "T b"]) -> Schedule:
    """Batches that were drawn before."""
    return Schedule(None, lambda state, t: (state, batch_indices[t]), len(batch_indices))


def drawn_schedule(key: Array, n: int, batch_size: int, num_steps: int, mode: str) -> Schedule:
    """The batches of `batch_indices`, drawn an epoch at a time: memory O(n), whatever T is."""
    block, steps = _blocks(key, n, batch_size, mode)

    def advance(rows, t):
        rows = jax.lax.cond(t % steps == 0, lambda: block(t // steps), lambda: rows)
        return rows, rows[t % steps]

    return Schedule(jnp.zeros((steps, batch_size), jnp.int32), advance, num_steps)


def _blocks(key: Array, n: int, batch_size: int, mode: str) -> tuple[Callable[[Any], Int32[Array, "steps b"]], int]:
    """Draws the batches of the i-th floor(n/b) steps, but of one step at least; and how many steps that is."""
    choice("mode", mode, ("epoch", "iid", "without_replacement"))
    n = positive_integer("n", n)
    batch_size = positive_integer("batch_size", batch_size)
    require(mode == "iid" or batch_size <= n, f"batch_size must be at most n = {n} without replacement; got {batch_size}")
    steps = max(1, n // batch_size)
    draw = {"epoch": _epoch, "iid": _independent_rows, "without_replacement": _subsets}[mode]
    return lambda index: draw(jax.random.fold_in(key, index), n, steps, batch_size), steps


def _epoch(key: Array, n: int, steps: int, batch_size: int) -> Int32[Array, "steps b"]:
    order = jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32))
    return order[: steps * batch_size].reshape(steps, batch_size)


def _independent_rows(key: Array, n: int, steps: int, batch_size: int) -> Int32[Array, "steps b"]:
    return jax.random.randint(key, (steps, batch_size), 0, n, dtype=jnp.int32)


def _subsets(key: Array, n: int, steps: int, batch_size: int) -> Int32[Array, "steps b"]:
    """The i-th member is drawn from the first n - b + i + 1 rows, and is the last of them if the draw is in already."""
    if batch_size == n:
        return jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32), (steps, n))

    def place(i, chosen):
        last = n - batch_size + i
        drawn = jax.random.randint(jax.random.fold_in(key, i), (steps,), 0, last + 1, dtype=jnp.int32)
        taken = (chosen == drawn[:, None]).any(axis=1)
        return chosen.at[:, i].set(jnp.where(taken, last, drawn))

    return jax.lax.fori_loop(0, batch_size, place, jnp.full((steps, batch_size), -1, jnp.int32))
