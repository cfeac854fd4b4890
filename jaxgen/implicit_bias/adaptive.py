"""Adaptive gradient methods, which leave the span of the data, and the solution they find where it is known."""

import math

import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen._core.checks import checked, choice, is_traced, require
from jaxgen._core.scan import iterate
from jaxgen.implicit_bias import interpolators
from jaxgen.implicit_bias._descent import GradientFn, Record, start, step_sizes

KINDS = ("adagrad", "rmsprop", "adam")


def adaptive_descent(
    kind: str,
    grad_fn: GradientFn,
    w0: Array,
    learning_rates: Float[ArrayLike, " T"],
    *,
    epsilon: float | None = None,
    record: Record | None = None,
    every: int = 1,
) -> tuple[Array, PyTree]:
    """AdaGrad, RMSProp or Adam: w_{t+1} = w_t - eta_t m_t / (sqrt(s_t) + epsilon), entry by entry, by optax.

    AdaGrad: m_t is the gradient and s_t the sum of its squares so far. RMSProp: s_t is their moving average (decay 0.9). Adam:
    moving averages of both (decays 0.9 and 0.999), corrected for their start at zero.

    Args:
        kind: `"adagrad"`, `"rmsprop"` or `"adam"`.
        grad_fn: w -> grad L(w), of the shape of w.
        w0: start, an array (integers become the default float).
        learning_rates: eta_0, ..., eta_{T-1}, positive. AdaGrad converges with constant ones, the others with decreasing ones.
            RMSProp's must shrink about as fast as its average forgets (0.95 a step), or rounding errors grow.
        epsilon: at least 0 (for AdaGrad inside of the root, squared); default the root of the smallest normal number, so that it
            acts only where squares of gradients underflow. Common choices like 1e-8 change the limit.
        record: `record(w, gradient, t)` with w before step t; a pytree of arrays.
        every: record at t = 0, every, 2 every, ...

    Returns:
        w_T, and the records stacked along a leading axis, None without `record`.

    Raises:
        ValueError: if `kind` is unknown, `learning_rates` is no vector or not positive (NaN results when traced), `epsilon` < 0,
            or `grad_fn` does not return the shape of w.
        TypeError: if an array is not real.

    Source: Arora et al., Theory of Deep Learning, section 8.1; Wilson et al. 2017, The marginal value of adaptive gradient
    methods in machine learning (spec BIAS-36).
    """
    choice("kind", kind, KINDS)
    w0 = start(grad_fn, w0)
    rates = step_sizes(learning_rates, w0)
    floor = math.sqrt(jnp.finfo(w0.dtype).tiny) if epsilon is None else float(epsilon)
    require(floor >= 0, f"epsilon must be at least 0; got {epsilon}")
    transform = _transform(kind, floor)

    def step(state, t):
        w, statistics = state
        gradient = jnp.asarray(grad_fn(w), w.dtype)
        direction, statistics = transform.update(gradient, statistics, w)
        return (w - rates[t] * jnp.asarray(direction), statistics), gradient

    def observe(state, gradient, t):
        return record(state[0], gradient, t)  # pyright: ignore[reportOptionalCall]

    (w, _), records = iterate(step, (w0, transform.init(w0)), rates.shape[0], record=None if record is None else observe, every=every)
    return w, records


def sign_solution(x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"]) -> Float[Array, " d"]:
    """sgn(X^T y) / c where X sgn(X^T y) = c y: the interpolator that AdaGrad, RMSProp and Adam reach from zero.

    Under that condition every step keeps w a multiple of sgn(X^T y), whatever interpolator is nearest.

    Args:
        x: X, rows x_i. Features that are zero in every row are unused, and their weights stay zero.
        y: targets, not all zero.

    Returns:
        The interpolator w, X w = y.

    Raises:
        ValueError: if shapes do not fit, the ratio of X sgn(X^T y) to y is not constant (to half the digits), or a used feature
            has no correlation with y (NaN results when traced).
        TypeError: if an array is not real.

    Source: Wilson et al. 2017, Lemma 3.1 (spec BIAS-36).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> x = jnp.array([[1.0, 1.0, 1.0, 0.0], [-1.0, 1.0, 0.0, 3.0], [1.0, 1.0, 1.0, 0.0]])
        >>> implicit_bias.sign_solution(x, jnp.array([1.0, -1.0, 1.0])).round(4)
        Array([ 0.3333,  0.3333,  0.3333, -0.3333], dtype=float32)
    """
    x, y = interpolators.data(x, y)
    rounding = jnp.finfo(x.dtype).eps ** 0.5
    correlations, sizes = x.T @ y, jnp.abs(x.T) @ jnp.abs(y)
    correlated = jnp.abs(correlations) > rounding * sizes
    signs = jnp.where(correlated, jnp.sign(correlations), 0)
    used = jnp.any(x != 0, axis=0)
    outputs = x @ signs
    ratio = jnp.vdot(outputs, y) / jnp.vdot(y, y)
    constant = jnp.abs(outputs - ratio * y).max() <= rounding * jnp.abs(outputs).max()
    rows = outputs / y
    found = "c is not the same for all rows" if is_traced(rows) else f"it ranges from {float(rows.min()):.3g} to {float(rows.max()):.3g}"
    return checked(
        signs / ratio,
        (jnp.any(y != 0), "y must not be zero"),
        (jnp.all(correlated | ~used), "every used feature must be correlated with y: X^T y has a zero entry"),
        (constant, f"X sgn(X^T y) must be c y with one number c; here {found}"),
    )


def _transform(kind: str, epsilon: float) -> optax.GradientTransformation:
    if kind == "adagrad":
        return optax.scale_by_rss(initial_accumulator_value=0.0, eps=epsilon**2)
    if kind == "rmsprop":
        return optax.scale_by_rms(decay=0.9, eps=epsilon, eps_in_sqrt=False)
    return optax.scale_by_adam(eps=epsilon)
