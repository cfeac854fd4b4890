"""AdaBoost, which is coordinate descent on the exponential loss."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Num

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen._core.scan import iterate


class BoostingTrace(NamedTuple):
    """Every round of `adaboost`.

    Attributes:
        learner: j_t, the coordinate moved.
        edge: r_t = sum_i d_i M_ij at j = j_t, of either sign, where d are the weights before the round.
        step: what is added to the coefficient of j_t.
        margin: min_i (M lambda)_i / ||lambda||_1 after the round.
        log_loss: log of the mean of exp(-(M lambda)_i) under the first weights, after the round.
    """

    learner: Int[Array, " T"]
    edge: Float[Array, " T"]
    step: Float[Array, " T"]
    margin: Float[Array, " T"]
    log_loss: Float[Array, " T"]


class Boosting(NamedTuple):
    """What `adaboost` ends with.

    Attributes:
        coefficients: lambda, of the weak learners.
        margins: (M lambda)_i / ||lambda||_1.
        trace: every round.
    """

    coefficients: Float[Array, " d"]
    margins: Float[Array, " n"]
    trace: BoostingTrace


def adaboost(m: Num[Array, "n d"], num_steps: int, *, step: str | float = "exact", weights: ArrayLike | None = None) -> Boosting:
    r"""Coordinate descent on sum_i d_i exp(-(M lambda)_i) from lambda = 0: steepest descent of the l1 norm.

    The coordinate of the largest |edge| r, the first of equals, is moved by 1/2 log((1 + r) / (1 - r)), an exact line search
    and AdaBoost, or by c r, which is a step of eta = c / L. Small steps tend to the largest l1 margin as c falls to 0; the
    exact ones need not. Weights and line search are formed from logarithms, and hold however far the loss falls.

    Args:
        m: M_ij = y_i h_j(x_i), weak learner j on example i; entries -1 and 1 for exact steps, any number otherwise.
        num_steps: rounds T, at least 1.
        step: `"exact"`, or c > 0.
        weights: d >= 0, (n,), not all zero, default equal; used after division by their sum.

    Returns:
        Coefficients, margins and trace. Margins are NaN while every edge is zero, which proves that M is not separable.

    Raises:
        ValueError: if shapes do not fit or a size is not right; or, with NaN results where traced, if exact steps meet an
            entry other than -1 and 1 or a perfect weak learner, one of edge -1 or 1, whose step would be infinite, or c is
            not positive, or weights are negative or all zero.

    Source: Freund and Schapire 1997; Theory of Deep Learning, section 8.3.2; a cycle with less than the largest margin:
        Rudin, Daubechies and Schapire 2004; spec BIAS-29. Cost: O(T n d).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> m = jnp.array([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])
        >>> found = implicit_bias.adaboost(m, 300, step=0.01)
        >>> round(float(found.margins.min()), 2)
        0.33
    """
    m, num_steps = floating("m", m), positive_integer("num_steps", num_steps)
    require(m.ndim == 2 and m.size > 0, f"m must be a matrix of examples by weak learners; got shape {m.shape}")
    exact = isinstance(step, str)
    require(not exact or step == "exact", f"step must be 'exact' or a positive number; got {step!r}")
    log_weights = jnp.log(_start(m, weights))
    if exact:
        m, factor = _with_finite_steps(m, log_weights), jnp.ones((), m.dtype)
    else:
        factor = floating("step", step)
        require(factor.ndim == 0, f"step must be 'exact' or a positive number; got shape {factor.shape}")
        factor = checked(factor, (factor > 0, f"step must be 'exact' or a positive number; got {step}")).astype(m.dtype)

    def advance(state, t):
        coefficients, products = state
        logs = log_weights - products
        edges = jax.nn.softmax(logs) @ m
        learner = jnp.argmax(jnp.abs(edges))
        column = m[:, learner]
        change = _line_search(logs, column) if exact else factor * edges[learner]
        coefficients, products = coefficients.at[learner].add(change), products + change * column
        margin = products.min() / jnp.abs(coefficients).sum()
        return (coefficients, products), BoostingTrace(learner, edges[learner], change, margin, jax.nn.logsumexp(log_weights - products))

    state = jnp.zeros_like(m[0]), jnp.zeros_like(m[:, 0])
    (coefficients, products), trace = iterate(advance, state, num_steps, record=lambda state, row, t: row)
    return Boosting(coefficients, products / jnp.abs(coefficients).sum(), trace)


def _line_search(logs: Array, column: Array) -> Array:
    """1/2 log of the weight of right examples over that of wrong ones."""
    right, wrong = (jax.nn.logsumexp(jnp.where(column == sign, logs, -jnp.inf)) for sign in (1, -1))
    return 0.5 * (right - wrong)


def _start(m: Array, weights: ArrayLike | None) -> Float[Array, " n"]:
    if weights is None:
        return jnp.full_like(m[:, 0], 1 / len(m))
    found = floating("weights", weights).astype(m.dtype)
    require(found.shape == m.shape[:1], f"weights must be a vector of {len(m)}; got shape {found.shape}")
    found = checked(found, (found >= 0, "weights must be at least 0"), (found.sum() > 0, "weights must not all be zero"))
    return found / found.sum()


def _with_finite_steps(m: Array, log_weights: Array) -> Array:
    """`m`, if it is of -1 and 1 and every learner is right on some and wrong on some of the examples that have a weight."""
    seen = jnp.isfinite(log_weights)[:, None]
    perfect = jnp.all((m == 1) | ~seen, axis=0) | jnp.all((m == -1) | ~seen, axis=0)
    return checked(
        m,
        (jnp.abs(m) == 1, "entries of m must be -1 or 1 for exact steps; give step a number for others"),
        (~perfect, "m has a perfect weak learner, of edge -1 or 1, whose exact step is infinite; give step a number"),
    )
