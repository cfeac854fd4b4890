"""Gradient flow at given times, by an adaptive solver."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen._core import flows
from jaxgen._core.checks import floating, require


def gradient_flow(
    grad_fn: Callable[[PyTree], PyTree],
    x0: PyTree,
    times: Float[Array, " T"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> PyTree:
    """x(t) of the flow dx/dt = -grad f(x) from x(0) = x0, the limit of gradient descent and of SGD with fixed noise.

    At a fixed time k eta gradient descent is O(eta) away from it; SGD with noise of a fixed variance O(eta) in the mean
    and O(sqrt eta) in standard deviation.

    Args:
        grad_fn: x -> grad f(x), of the structure of x; with parameters, `lambda p: gradients.value_and_gradient(loss_fn, p, data)[1]`.
        x0: start, a pytree of floating leaves (integers become the default float).
        times: finite times of at least 0, increasing, shape (T,), T >= 1.
        rtol: relative tolerance of the solver; default 1e-9 in float64, 1e-5 in float32.
        atol: absolute tolerance of the solver; default `rtol` times 1e-2.
        max_steps: steps of the solver, beyond which it raises.

    Returns:
        x at the times, stacked along a leading axis of length T, of the dtypes of x.

    Raises:
        ValueError: if `times` are no vector, negative, infinite or not increasing (NaN results when traced), or `grad_fn` does
            not return the structure and shapes of x.
        TypeError: if a leaf of `x0` is not real.
        RuntimeError: from the solver, if it needs more steps.

    Source: Arora et al., Theory of Deep Learning, chapter 12; spec SDE-1. Cost: six gradients a step of the solver (Dormand
    and Prince's, of order 5), of which it takes at least about the curvature times the last time.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import processes
        >>> x = processes.gradient_flow(lambda x: 2 * x, 1.0, jnp.array([0.0, 1.0]))
        >>> x.round(4).tolist() == [1.0, jnp.exp(-2.0).round(4)]
        True
    """
    x0 = jax.tree.map(lambda leaf: floating("x0", leaf), x0)
    shapes, found = jax.tree.map(jnp.shape, x0), jax.tree.map(jnp.shape, jax.eval_shape(grad_fn, x0))
    require(found == shapes, f"grad_fn must return the structure and shapes of x0, {shapes}; got {found}")
    return flows.solve(_descending, x0, grad_fn, "times", times, rtol, atol, max_steps)


def _descending(t: Array, x: PyTree, grad_fn: Callable[[PyTree], PyTree]) -> PyTree:
    return jax.tree.map(lambda g, x: -jnp.asarray(g, x.dtype), grad_fn(x), x)
