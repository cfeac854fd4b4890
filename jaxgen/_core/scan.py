"""The one scan driver: every training loop, flow and simulated path is `iterate`."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxgen._core.checks import choice, is_traced, positive_integer

Step = Callable[[PyTree, Any], tuple[PyTree, PyTree]]
Record = Callable[[PyTree, PyTree, Any], PyTree]


class Loop(NamedTuple):
    """What `iterate` was asked to do, apart from its state."""

    step: Step
    num_steps: int
    record: Record | None
    every: int

    @property
    def num_records(self) -> int:
        """ceil(num_steps / every)."""
        return -(-self.num_steps // self.every)


_interceptor: contextvars.ContextVar[Callable[[Loop, PyTree], Any] | None] = contextvars.ContextVar("interceptor", default=None)


@contextlib.contextmanager
def intercepted(interceptor: Callable[[Loop, PyTree], Any]) -> Iterator[None]:
    """Hands the first `iterate` call inside the block to `interceptor(loop, state) -> (state, records)`."""
    token = _interceptor.set(interceptor)
    try:
        yield
    finally:
        _interceptor.reset(token)


def iterate(
    step: Step,
    state: PyTree,
    num_steps: int,
    *,
    record: Record | None = None,
    every: int = 1,
    driver: str = "auto",
) -> tuple[PyTree, PyTree]:
    """Applies `state, aux = step(state, t)` for t = 0, ..., num_steps - 1, recording on the way.

    Args:
        step: one step; `aux` is whatever of it a record may want (a gradient, a loss); unused parts cost nothing.
        state: initial state, any pytree; its shapes and dtypes do not change.
        num_steps: number of steps, at least 0.
        record: `record(state, aux, t)` with the state *before* step t; a pytree of arrays.
        every: record at t = 0, every, 2 every, ...
        driver: `"scan"` (one compiled loop), `"python"` (a compiled step called from Python, not traceable), or `"auto"`:
            scan, except for a step that convolves, on concrete input, on a CPU, where XLA runs a convolution inside a
            loop an order of magnitude slower than outside of one.

    Returns:
        The final state, and the records stacked along a new leading axis of length ceil(num_steps / every), or None
        without `record`.

    Raises:
        ValueError: if `num_steps` < 0, `every` < 1 or `driver` is unknown.
    """
    choice("driver", driver, ("auto", "scan", "python"))
    loop = Loop(step, positive_integer("num_steps", num_steps, at_least=0), record, positive_integer("every", every))
    interceptor = _interceptor.get()
    if interceptor is not None:
        token = _interceptor.set(None)
        try:
            return interceptor(loop, state)
        finally:
            _interceptor.reset(token)
    state = jax.tree.map(jnp.asarray, state)
    if driver == "python" or (driver == "auto" and _steps_better_from_python(loop, state)):
        return _python_loop(loop, state)
    return run_segment(loop, state, 0, loop.num_steps)


def run_segment(loop: Loop, state: PyTree, start: Any, length: int) -> tuple[PyTree, PyTree]:
    """Steps start, ..., start + length - 1 of `loop` by `lax.scan`; `start` must be a multiple of `loop.every`."""

    def recorded(state, t):
        new_state, aux = loop.step(state, t)
        return new_state, None if loop.record is None else loop.record(state, aux, t)

    def quiet(state, times):
        return jax.lax.scan(lambda s, t: (loop.step(s, t)[0], None), state, times)[0]

    def block(state, t):
        new_state, out = recorded(state, t)
        return quiet(new_state, t + 1 + jnp.arange(loop.every - 1, dtype=jnp.int32)), out

    start = jnp.asarray(start, jnp.int32)
    if loop.record is None or loop.every == 1:
        return jax.lax.scan(recorded, state, start + jnp.arange(length, dtype=jnp.int32))
    whole, rest = divmod(length, loop.every)
    state, records = jax.lax.scan(block, state, start + loop.every * jnp.arange(whole, dtype=jnp.int32))
    if rest:
        t = start + loop.every * whole
        state, last = recorded(state, t)
        state = quiet(state, t + 1 + jnp.arange(rest - 1, dtype=jnp.int32))
        records = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), records, jax.tree.map(jnp.asarray, last))
    return state, records


def _python_loop(loop: Loop, state: PyTree) -> tuple[PyTree, PyTree]:
    """Steps in place, so that what a step only passes on is not copied; but for those whose record needs the state before."""
    step, in_place = jax.jit(loop.step), jax.jit(lambda state, t: loop.step(state, t)[0], donate_argnums=0)
    state = jax.tree.map(jnp.copy, state)
    records = []
    for t in range(loop.num_steps):
        if loop.record is None or t % loop.every:
            state = in_place(state, jnp.int32(t))
            continue
        before = state
        state, aux = step(state, jnp.int32(t))
        records.append(loop.record(before, aux, jnp.int32(t)))
    return state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *records) if records else None


def _steps_better_from_python(loop: Loop, state: PyTree) -> bool:
    if jax.default_backend() != "cpu" or loop.num_steps == 0 or is_traced(state):
        return False
    jaxpr = jax.make_jaxpr(loop.step)(state, jnp.int32(0))
    if is_traced(jaxpr.consts):
        return False
    return "conv_general_dilated" in str(jaxpr)
