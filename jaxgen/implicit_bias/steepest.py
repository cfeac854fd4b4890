"""Steepest descent with respect to a norm: the steps, and the flow of infinitesimal steps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen._core import flows
from jaxgen._core.scan import iterate
from jaxgen.implicit_bias._descent import GradientFn, Record, start, step_sizes
from jaxgen.implicit_bias.norms import Norm


def steepest_descent(
    norm: Norm,
    grad_fn: GradientFn,
    w0: Array,
    learning_rates: Float[ArrayLike, " T"],
    *,
    ties: str = "first",
    key: Key[Array, ""] | None = None,
    record: Record | None = None,
    every: int = 1,
) -> tuple[Array, PyTree]:
    r"""w_{t+1} = w_t + eta_t v_t with v_t = argmin_v <grad L(w_t), v> + ||v||^2 / 2.

    Gradient descent for l_2, greedy coordinate descent for l_1, scaled sign descent for l_inf, mirror descent with the
    potential w^T D w / 2 for a quadratic norm. For other norms the limit depends on the learning rates, and even for
    infinitesimal ones it is not the nearest minimizer in the norm.

    Args:
        norm: of the steps, as from `lp_norm`, `quadratic_norm`, `spectral_norm`, `nuclear_norm`, `fourier_norm`.
        grad_fn: w -> grad L(w), of the shape of w.
        w0: start, an array of a shape that the norm takes (integers become the default float).
        learning_rates: eta_0, ..., eta_{T-1}, positive.
        ties: which steepest direction where there are several: `"first"`, `"average"` or `"random"`.
        key: for `ties="random"`.
        record: `record(w, gradient, t)` with w before step t; a pytree of arrays.
        every: record at t = 0, every, 2 every, ...

    Returns:
        w_T, and the records stacked along a leading axis, None without `record`.

    Raises:
        ValueError: if `learning_rates` is no vector or not positive (NaN results when traced), `grad_fn` does not return the
            shape of w, `ties` is unknown or needs a key, or the norm does not take arrays of that shape.
        TypeError: if an array is not real.

    Source: Arora et al., Theory of Deep Learning, (8.5) and (8.27); Example 1 there has the learning rate twice (spec BIAS-9).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> norm = implicit_bias.lp_norm(1)
        >>> w, _ = implicit_bias.steepest_descent(norm, lambda w: w - jnp.array([1.0, 3.0]), jnp.zeros(2), jnp.ones(2))
        >>> w.tolist()
        [1.0, 3.0]
    """
    w0 = start(grad_fn, w0)
    rates = step_sizes(learning_rates, w0)

    def step(w, t):
        gradient = jnp.asarray(grad_fn(w), w.dtype)
        direction = norm.steepest(gradient, ties=ties, key=None if key is None else jax.random.fold_in(key, t))
        return w + rates[t] * direction, gradient

    return iterate(step, w0, rates.shape[0], record=record, every=every)


def steepest_flow(
    norm: Norm,
    grad_fn: GradientFn,
    w0: Array,
    times: Float[ArrayLike, " T"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> Float[Array, "T *shape"]:
    """w(t) of dw/dt = argmin_v <grad L(w), v> + ||v||^2 / 2 from w(0) = w0, the limit of steepest descent for small steps.

    For norms whose steepest direction is continuous: l_p and its Fourier version with 1 < p < inf, and quadratic norms. For
    l_1, l_inf, spectral and nuclear norms the direction jumps where entries tie; a flow that slides along ties needs
    more steps of the solver than there are, and `steepest_descent` with small steps is what follows it.

    Args:
        norm: of the flow.
        grad_fn: w -> grad L(w), of the shape of w.
        w0: start, an array of a shape that the norm takes (integers become the default float).
        times: finite times of at least 0, increasing, shape (T,), T >= 1.
        rtol: relative tolerance of the solver; default 1e-9 in float64, 1e-5 in float32.
        atol: absolute tolerance of the solver; default `rtol` times 1e-2.
        max_steps: steps of the solver, beyond which it raises.

    Returns:
        w at the times, stacked along a leading axis of length T.

    Raises:
        ValueError: if `times` are no vector, negative, infinite or not increasing (NaN results when traced), `grad_fn` does not
            return the shape of w, or the norm does not take arrays of that shape.
        TypeError: if an array is not real.
        RuntimeError: from the solver, if it needs more steps.

    Source: Arora et al., Theory of Deep Learning, section 8.1.1, Example 2 (spec BIAS-12). Cost: six gradients a step of the
    solver.
    """
    return flows.solve(_descending, start(grad_fn, w0), (norm, grad_fn), "times", times, rtol, atol, max_steps)


def _descending(t: Array, w: Array, args: tuple[Norm, GradientFn]) -> Array:
    norm, grad_fn = args
    return norm.steepest(jnp.asarray(grad_fn(w), w.dtype))
