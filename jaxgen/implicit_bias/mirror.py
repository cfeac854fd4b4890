"""Mirror descent and mirror flow, natural gradients, and gradient descent, which they generalize."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from jaxgen._core import flows
from jaxgen._core.checks import checked, choice, floating, require
from jaxgen._core.scan import iterate
from jaxgen.implicit_bias._descent import GradientFn, start, step_sizes
from jaxgen.implicit_bias.potentials import Potential

Gradient = Callable[..., PyTree]
MetricSolve = Callable[[Array, Array], Array]
Record = Callable[[Any, Any, Any], PyTree]


def bregman_divergence(potential: Potential, w: Float[ArrayLike, "*d"], w0: Float[ArrayLike, "*d"]) -> Float[Array, ""]:
    r"""$D_R(w, w_0) = R(w) - R(w_0) - \langle \nabla R(w_0), w - w_0 \rangle \ge 0$.

    Args:
        potential: R.
        w: a point where R is finite, of any shape.
        w0: a point of the domain, of the same shape.

    Returns:
        The divergence; rounding leaves an error of about a machine epsilon of R, which matters where w is close to w0.

    Raises:
        ValueError: if the shapes differ, R is not finite at `w`, or `w0` is outside the domain (NaN results when traced).

    Source: Arora et al., Theory of Deep Learning, section 8.1.1; spec BIAS-5.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> float(implicit_bias.bregman_divergence(implicit_bias.squared_l2(), jnp.array([3.0, 4.0]), jnp.zeros(2)))
        12.5
    """
    w, w0 = floating("w", w), floating("w0", w0)
    require(w.shape == w0.shape, f"w and w0 must have the same shape; got {w.shape} and {w0.shape}")
    w0, value = in_domain("w0", potential, w0), potential.value(w)
    value = checked(value, (jnp.isfinite(value), "the potential must be finite at w"))
    return value - potential.value(w0) - jnp.vdot(potential.mirror(w0), w - w0)


def mirror_descent(
    potential: Potential,
    grad_fn: Gradient,
    w0: Float[ArrayLike, "*d"],
    learning_rates: Float[ArrayLike, " T"],
    *,
    batch_indices: PyTree | None = None,
    record: Record | None = None,
    every: int = 1,
) -> tuple[Float[Array, "*d"], PyTree]:
    r"""$\nabla R(w_{t+1}) = \nabla R(w_t) - \eta_t \nabla L(w_t)$, the minimizer of $\eta_t \langle w, \nabla L(w_t) \rangle + D_R(w, w_t)$.

    The state is $\nabla R(w_t)$, which keeps all digits of coordinates near the boundary of the domain.

    Args:
        potential: R.
        grad_fn: w -> gradient of the loss, of the shape of w; with `batch_indices`, (w, batch_indices[t]) -> gradient.
        w0: start in the domain, of any shape.
        learning_rates: eta_t > 0, one a step.
        batch_indices: what the stochastic gradient of each step is of, leading axis T.
        record: `record(w, gradient, t)` with w *before* step t and its gradient; whatever pytree of arrays it returns is stacked.
        every: record at t = 0, every, 2 every, ...

    Returns:
        w_T, and the records stacked along a leading axis of length ceil(T / every), None without `record`. An iterate
        whose dual point is no gradient of R is not finite.

    Raises:
        ValueError: if `w0` is outside the domain or a learning rate is not positive (NaN results when traced), `learning_rates`
            are no vector, `batch_indices` have another leading axis, or `grad_fn` returns another shape.
        TypeError: if `w0` or `learning_rates` are not real.

    Source: Arora et al., Theory of Deep Learning, equation (8.3); spec BIAS-5. Cost: a gradient and an inverse mirror map a step.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> grad_fn = lambda w: 2 * (w.sum() - 2) * jnp.ones(2)
        >>> w, _ = implicit_bias.mirror_descent(implicit_bias.squared_l2(), grad_fn, jnp.array([1.0, 0.0]), jnp.full(50, 0.1))
        >>> [round(float(entry), 3) for entry in w]
        [1.5, 0.5]
    """
    w0 = in_domain("w0", potential, floating("w0", w0))
    rates = step_sizes(learning_rates, w0)
    gradient = _gradient(grad_fn, w0, batch_indices, len(rates))

    def step(z: Array, t: Array) -> tuple[Array, tuple[Array, Array]]:
        w = potential.inverse_mirror(z)
        g = gradient(w, t)
        return z - rates[t] * g, (w, g)

    observe = None if record is None else lambda _, aux, t: record(aux[0], aux[1], t)
    z, records = iterate(step, potential.mirror(w0), len(rates), record=observe, every=every)
    return potential.inverse_mirror(z), records


def mirror_flow(
    potential: Potential,
    grad_fn: GradientFn,
    w0: Float[ArrayLike, "*d"],
    times: Float[ArrayLike, " T"],
    *,
    form: str = "dual",
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> Float[Array, "T *d"]:
    r"""$\frac{d}{dt} \nabla R(w_t) = -\nabla L(w_t)$, which is $\dot w_t = -\nabla^2 R(w_t)^{-1} \nabla L(w_t)$, the natural-gradient flow.

    Args:
        potential: R.
        grad_fn: w -> gradient of the loss, of the shape of w.
        w0: start in the domain, of any shape.
        times: finite times of at least 0, increasing, T >= 1.
        form: `"dual"` integrates the mirror point, `"primal"` w itself, by the inverse Hessian of R.
        rtol: relative tolerance of the solver, for the variable it integrates; default 1e-9 in float64, 1e-5 in float32.
        atol: absolute tolerance; default `rtol` times 1e-2. In the primal form it bounds what is known of small coordinates.
        max_steps: steps of the solver, beyond which it raises.

    Returns:
        w at the times, stacked along a leading axis.

    Raises:
        ValueError: if `w0` or the path is outside the domain (NaN results when traced), `times` are not increasing, `form` is
            unknown, or `grad_fn` returns another shape.
        TypeError: if `w0` is not real.
        RuntimeError: from the solver, if it needs more steps.

    Source: Arora et al., Theory of Deep Learning, equations (8.6) and (8.8); spec BIAS-8. Cost: six gradients a step.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> path = implicit_bias.mirror_flow(implicit_bias.squared_l2(), lambda w: w, jnp.ones(2), jnp.array([0.0, 1.0]))
        >>> [round(float(entry), 3) for entry in path[1]]
        [0.368, 0.368]
    """
    choice("form", form, ("dual", "primal"))
    w0, arguments = in_domain("w0", potential, start(grad_fn, w0)), (potential, grad_fn)
    if form == "dual":
        path = flows.solve(_dual_field, potential.mirror(w0), arguments, "times", times, rtol, atol, max_steps)
        return jax.vmap(potential.inverse_mirror)(path)
    path = flows.solve(_primal_field, w0, arguments, "times", times, rtol, atol, max_steps)
    return checked(path, (jax.vmap(potential.domain)(path), "the flow must stay in the domain of the potential; use form='dual'"))


def natural_gradient(
    metric_solve: MetricSolve,
    grad_fn: Gradient,
    w0: Float[ArrayLike, "*d"],
    learning_rates: Float[ArrayLike, " T"],
    *,
    domain: Callable[[Array], Bool[Array, ""]] | None = None,
    batch_indices: PyTree | None = None,
    record: Record | None = None,
    every: int = 1,
) -> tuple[Float[Array, "*d"], PyTree]:
    r"""$w_{t+1} = w_t - \eta_t H(w_t)^{-1} \nabla L(w_t)$ in the metric H; with $H = \nabla^2 R$, O(eta^2) a step away from mirror descent.

    Args:
        metric_solve: (w, g) -> H(w)^-1 g, such as `potential.inverse_hessian_vector`, or a `lineax` solve with `curvature.fisher`.
        grad_fn: as in `mirror_descent`.
        w0: start, of any shape.
        learning_rates: eta_t > 0, one a step.
        domain: w -> whether H is positive definite there, such as `potential.domain`; iterates that leave it become NaN.
        batch_indices: as in `mirror_descent`.
        record: `record(w, gradient, t)` as in `mirror_descent`.
        every: record at t = 0, every, 2 every, ...

    Returns:
        w_T and the stacked records, None without `record`; not finite where a metric is singular.

    Raises:
        ValueError: if `w0` is outside `domain`, or as `mirror_descent`.
        TypeError: if `w0` or `learning_rates` are not real.

    Source: Arora et al., Theory of Deep Learning, equation (8.8); Amari 1998; spec BIAS-8. Cost: a gradient and a solve a step.
    """
    w0 = floating("w0", w0)
    rates = step_sizes(learning_rates, w0)
    if domain is not None:
        w0 = checked(w0, (domain(w0), "w0 must lie in the domain"))
    gradient = _gradient(grad_fn, w0, batch_indices, len(rates))

    def step(w: Array, t: Array) -> tuple[Array, Array]:
        g = gradient(w, t)
        moved = w - rates[t] * metric_solve(w, g)
        return moved if domain is None else jnp.where(domain(moved), moved, jnp.nan), g

    return iterate(step, w0, len(rates), record=record, every=every)


def gradient_descent(
    grad_fn: Gradient,
    w0: PyTree,
    learning_rates: Float[ArrayLike, " T"],
    *,
    momentum: ArrayLike = 0.0,
    nesterov: bool = False,
    batch_indices: PyTree | None = None,
    record: Record | None = None,
    every: int = 1,
) -> tuple[PyTree, PyTree]:
    r"""$w_{t+1} = w_t - \eta_t v_t$, $v_t = g_t + \mu v_{t-1}$, with full or stochastic gradients; Nesterov's steps use $g_t + \mu v_t$.

    On a linear model $w_t - w_0$ stays in the span of the examples, whatever the steps, batches and momentum.

    Args:
        grad_fn: w -> gradient of the loss, of the structure of w; with `batch_indices`, (w, batch_indices[t]) -> gradient.
        w0: start, a pytree of floating leaves (integers become the default float).
        learning_rates: eta_t > 0, one a step.
        momentum: mu in [0, 1).
        nesterov: whether steps look ahead.
        batch_indices: what the stochastic gradient of each step is of, leading axis T, such as `processes.batch_indices`.
        record: `record(w, gradient, t)` as in `mirror_descent`.
        every: record at t = 0, every, 2 every, ...

    Returns:
        w_T and the stacked records, None without `record`.

    Raises:
        ValueError: if a learning rate is not positive or `momentum` outside [0, 1) (NaN results when traced), `learning_rates`
            are no vector, `batch_indices` have another leading axis, or `grad_fn` returns another structure.
        TypeError: if `w0` or `learning_rates` are not real.

    Source: Arora et al., Theory of Deep Learning, proposition 8.1.1; spec BIAS-3.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> grad_fn = lambda w: 2 * (w.sum() - 2) * jnp.ones(2)
        >>> w, _ = implicit_bias.gradient_descent(grad_fn, jnp.array([1.0, 0.0]), jnp.full(99, 0.1), momentum=0.5)
        >>> [round(float(entry), 3) for entry in w]
        [1.5, 0.5]
    """
    w0 = jax.tree.map(lambda leaf: floating("w0", leaf), w0)
    rates = step_sizes(learning_rates, jnp.zeros((), jnp.result_type(*jax.tree.leaves(w0))))
    mu = floating("momentum", momentum)
    rates = checked(rates, ((mu >= 0) & (mu < 1), f"momentum must lie in [0, 1); got {momentum}"))
    gradient, trace = _gradient(grad_fn, w0, batch_indices, len(rates)), optax.trace(mu, nesterov)  # pyright: ignore[reportArgumentType]

    def step(state: tuple[PyTree, PyTree], t: Array) -> tuple[tuple[PyTree, PyTree], PyTree]:
        w, accumulated = state
        g = gradient(w, t)
        direction, accumulated = trace.update(g, accumulated)
        return (jax.tree.map(lambda w, v: (w - rates[t] * v).astype(w.dtype), w, direction), accumulated), g

    observe = None if record is None else lambda state, g, t: record(state[0], g, t)
    (w, _), records = iterate(step, (w0, trace.init(w0)), len(rates), record=observe, every=every)
    return w, records


def in_domain(name: str, potential: Potential, w: Array) -> Array:
    """`w`, refused (NaN when traced) unless it lies in the domain of the potential."""
    return checked(w, (potential.domain(w), f"{name} must lie in the domain of the potential"))


def _gradient(grad_fn: Gradient, w0: PyTree, batch_indices: PyTree | None, num_steps: int) -> Gradient:
    """(w, t) -> the gradient of step t, in the dtypes of w."""
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(batch_indices)}
    require(lengths <= {(num_steps,)}, f"batch_indices must have one entry per step, {num_steps}; got leading axes {sorted(lengths)}")
    batches = jax.tree.map(jnp.asarray, batch_indices)

    def gradient(w: PyTree, t: Any) -> PyTree:
        g = grad_fn(w) if batches is None else grad_fn(w, jax.tree.map(lambda leaf: leaf[t], batches))
        return jax.tree.map(lambda g, w: jnp.asarray(g, w.dtype), g, w)

    expected, found = jax.tree.map(jnp.shape, w0), jax.tree.map(jnp.shape, jax.eval_shape(gradient, w0, 0))
    require(found == expected, f"grad_fn must return the structure and shapes of w0, {expected}; got {found}")
    return gradient


def _dual_field(t: Array, z: Array, arguments: tuple[Potential, GradientFn]) -> Array:
    potential, grad_fn = arguments
    return -jnp.asarray(grad_fn(potential.inverse_mirror(z)), z.dtype)


def _primal_field(t: Array, w: Array, arguments: tuple[Potential, GradientFn]) -> Array:
    potential, grad_fn = arguments
    return -potential.inverse_hessian_vector(w, jnp.asarray(grad_fn(w), w.dtype))
