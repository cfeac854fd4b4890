"""Bounds for SGD with the noise chosen to balance trajectory and flatness, and what they become for two models."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, choice, floating, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import PerStep, Scalar, at_least, cube_root, positive, square_root, steps
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS
from jaxgen.bounds.sgd import CHOSEN_NOISE, INDEPENDENT_INITIALIZATION, NOISE_DOES_NOT_HELP, ONE_SIDED_FLATNESS, TRUE_DISPERSION

MONTE_CARLO_INSTEAD = ": without positive curvature there is no best noise; use wang_mao with the Monte Carlo flatness form"
ONE_LOSS = "Training loss and evaluation loss are the same, and R is the constant of that loss."
QUADRATIC = "The loss is quadratic in the weights, so that the flatness term is half the noise variance times the Hessian's trace."
TAYLOR = "Heuristic: the flatness term is its second-order Taylor value, no bound unless the loss is quadratic in the weights."
UNIT_INPUTS = "Every input has unit norm."
SQUARED_LOSS_R = "R is assumed: the squared error is sub-Gaussian uniformly only over bounded weights and labels."
KINKS = "Heuristic: the Hessian leaves out the kinks of the ReLU, which noise of size sigma meets at order sigma."
GRADIENTS_BOUND_DISPERSION = "The dispersion is bounded by the mean squared gradient, that is by the training loss along the path."


def wang_mao_optimized(
    learning_rate: PerStep,
    dispersion: PerStep,
    hessian_trace: Scalar,
    n: Scalar,
    R: Scalar,
    *,
    schedule: str = "constant",
    quadratic: bool = False,
) -> Bound:
    r"""The smallest sum of trajectory and second-order flatness over the noise: $\frac32 (Q^2 h)^{1/3}$.

    With $a_t = R^2 \lambda_t^2 E V_t / n$, minimises $\sqrt{\sum_t a_t / \sigma_t^2} + \frac h2 \sum_t \sigma_t^2$:

    - `"constant"` noise: $Q^2 = T \sum_t a_t$, at $\sigma^3 = Q / (T^{3/2} h)$, as in the source;
    - `"free"` noise: $Q = \sum_t \sqrt{a_t}$, at $\sigma_t^2 \propto \sqrt{a_t}$; never larger (Cauchy-Schwarz).

    The flatness term is the second-order Taylor value of $E \gamma(W_T, S)$. So the result is a heuristic, never certified,
    unless the caller knows that the loss is quadratic in the weights. It can be compared with
    `jaxgen.curvature.value_sensitivity` at the noise returned.

    Args:
        learning_rate: $\lambda_t$, a scalar or one value per step.
        dispersion: $E V_t$ of the training gradients, a scalar or one value per step.
        hessian_trace: $h = E \operatorname{tr} \nabla^2 L_S(W_T) > 0$, of the mean loss on the *training* examples.
        n: number of training examples.
        R: sub-Gaussian constant of the evaluation loss.
        schedule: `"constant"` or `"free"`.
        quadratic: asserts that the loss is quadratic in the weights, which makes the value a theorem.

    Returns:
        A one-sided `Bound`: terms `"trajectory"` (two thirds of the value), `"flatness"`, and `"noise_std"`, the best
        noise: a scalar for the constant schedule; one value per step for the free one, zero where a step has no dispersion.

    Raises:
        ValueError: if `hessian_trace` <= 0 (use `wang_mao` with a Monte Carlo flatness term then), `n` < 1, any other
            argument < 0, the lengths differ, or `schedule` is unknown.

    Example:
        >>> from jaxgen import bounds
        >>> bound = bounds.wang_mao_optimized([1.0] * 8, 1 / 8, hessian_trace=1.0, n=1, R=1.0)
        >>> float(bound.value), float(bound.terms["noise_std"]), bound.certified
        (3.0, 0.5, False)

    Source: Wang and Mao 2022, Theorem 1 (2); the free schedule and the corrections: INFO-28.
    """
    choice("schedule", schedule, ("constant", "free"))
    rate, dispersion = steps(learning_rate=learning_rate, dispersion=dispersion)
    rate, dispersion = at_least("learning_rate", rate, 0), at_least("dispersion", dispersion, 0)
    trace = positive("hessian_trace", hessian_trace, MONTE_CARLO_INSTEAD)
    scale = at_least("R", R, 0) / jnp.sqrt(at_least("n", n, 1))
    num_steps = rate.shape[0]
    if schedule == "constant":
        amplitude = scale * jnp.sqrt(num_steps) * square_root(jnp.sum(rate**2 * dispersion))
        total_std = cube_root(amplitude / trace)
        noise = total_std / jnp.sqrt(num_steps)
    else:
        weights = rate * square_root(dispersion)
        amplitude = scale * weights.sum()
        total_std = cube_root(amplitude / trace)
        noise = total_std[..., None] * square_root(weights / jnp.where(weights.sum() == 0, 1.0, weights.sum()))
    trajectory = cube_root(amplitude**2 * trace)
    terms = {"trajectory": trajectory, "flatness": trajectory / 2, "noise_std": noise}
    assumptions = (
        INDEPENDENT_EXAMPLES,
        SUBGAUSSIAN_LOSS,
        ONE_LOSS,
        INDEPENDENT_INITIALIZATION,
        CHOSEN_NOISE,
        TRUE_DISPERSION,
        ONE_SIDED_FLATNESS,
        NOISE_DOES_NOT_HELP,
        QUADRATIC if quadratic else TAYLOR,
    )
    return Bound(1.5 * trajectory, terms, sided="one", certified=quadratic, assumptions=assumptions)


def wang_mao_linear(learning_rate: PerStep, training_loss: PerStep, n: Scalar, R: Scalar, *, inputs: Float[Array, "N d"] | None = None) -> Bound:
    r"""Linear regression with unit inputs: $gen \le 3 (\sum_t \frac{R^2 \lambda_t^2 T}{4 n} E \ell(W_{t-1}, Z))^{1/3}$.

    `wang_mao_optimized` for $f = w^\top x$, $\|x\| = 1$, $\ell = \frac12 (y - f)^2$: $\|\nabla \ell\|^2 = 2 \ell$ bounds the
    dispersion and the Hessian's trace is 1. The second order is exact, and as the loss is convex, noise never lowers the
    population risk. What is left to assume is R.

    Args:
        learning_rate: a scalar or one value per step.
        training_loss: $E \ell(W_{t-1}, Z)$ over the *training* examples, before each step; a scalar or one value per step.
        n: number of training examples.
        R: sub-Gaussian constant of the squared error.
        inputs: the inputs, if they are to be checked for unit norm.

    Returns:
        A one-sided `Bound` with the terms of `wang_mao_optimized`.

    Raises:
        ValueError: if a row of `inputs` misses norm 1 by more than 1e-5, `n` < 1, any other argument < 0, or the lengths differ.

    Source: Wang and Mao 2022, Theorem 2; INFO-29.
    """
    rate, loss = steps(learning_rate=learning_rate, training_loss=training_loss)
    loss = _unit_norms(at_least("training_loss", loss, 0), inputs)
    bound = wang_mao_optimized(rate, 2 * loss, 1.0, n, R, quadratic=True)
    assumptions = (INDEPENDENT_EXAMPLES, SQUARED_LOSS_R, INDEPENDENT_INITIALIZATION, CHOSEN_NOISE, UNIT_INPUTS, GRADIENTS_BOUND_DISPERSION)
    return dataclasses.replace(bound, assumptions=assumptions)


def wang_mao_two_layer_relu(
    learning_rate: PerStep,
    active_loss: PerStep,
    active_fraction: Scalar,
    n: Scalar,
    R: Scalar,
    *,
    inputs: Float[Array, "N d"] | None = None,
    output_weights: Float[Array, " m"] | None = None,
) -> Bound:
    r"""Two-layer ReLU regression: $gen \lesssim 3 (\bar p_T \sum_t \frac{R^2 \lambda_t^2 T}{4 n} E[p_t \ell(W_{t-1}, Z)])^{1/3}$.

    `wang_mao_optimized` for $f = \frac1{\sqrt m} \sum_r A_r \operatorname{relu}(w_r^\top x)$ with fixed $A_r = \pm 1$,
    $\|x\| = 1$ and the halved squared error; $p$ is the fraction of units active on an example, $\|\nabla \ell\|^2 = 2 p \ell$
    and $\operatorname{tr} \nabla^2 \ell = p$ off the kinks. Few active units, a small value. A heuristic: noise crosses the kinks,
    and the second-order term may even have the wrong sign.

    Args:
        learning_rate: a scalar or one value per step.
        active_loss: $E[p_t \ell(W_{t-1}, Z)]$ over training examples, before each step: the mean of
            `active_fraction(weights, inputs) * losses`; a scalar or one value per step.
        active_fraction: mean of `active_fraction(weights, inputs)` over training examples at the *final* weights, in (0, 1].
        n: number of training examples.
        R: sub-Gaussian constant of the squared error.
        inputs: the inputs, if they are to be checked for unit norm.
        output_weights: the $A_r$, if they are to be checked to be 1 or -1.

    Returns:
        A one-sided `Bound`, never certified, with the terms of `wang_mao_optimized`.

    Raises:
        ValueError: if `active_fraction` is outside (0, 1], a row of `inputs` misses norm 1 by more than 1e-5,
            an output weight is not 1 or -1, `n` < 1, any other argument < 0, or the lengths differ.

    Source: Wang and Mao 2022, Theorem 3, with the indicators of the first factor taken at the final weights; INFO-30.
    """
    rate, loss = steps(learning_rate=learning_rate, active_loss=active_loss)
    loss = _unit_norms(at_least("active_loss", loss, 0), inputs)
    fraction = floating("active_fraction", active_fraction)
    fraction = checked(fraction, ((fraction > 0) & (fraction <= 1), "active_fraction must lie in (0, 1]; with no active unit there is no curvature"))
    if output_weights is not None:
        signs = floating("output_weights", output_weights)
        fraction = checked(fraction, (jnp.abs(signs) == 1, "output_weights must all be 1 or -1"))
    bound = wang_mao_optimized(rate, 2 * loss, fraction, n, R)
    assumptions = (
        INDEPENDENT_EXAMPLES,
        SQUARED_LOSS_R,
        INDEPENDENT_INITIALIZATION,
        CHOSEN_NOISE,
        UNIT_INPUTS,
        GRADIENTS_BOUND_DISPERSION,
        NOISE_DOES_NOT_HELP,
        KINKS,
    )
    return dataclasses.replace(bound, assumptions=assumptions)


def _unit_norms(value: Array, inputs: Array | None) -> Array:
    if inputs is None:
        return value
    inputs = floating("inputs", inputs)
    require(inputs.ndim == 2, f"inputs must have shape (N, d); got {inputs.shape}")
    defect = jnp.abs(jnp.linalg.norm(inputs, axis=1) - 1)
    return checked(value, (defect <= 1e-5, "every row of inputs must have norm 1, to 1e-5"))


def active_fraction(weights: Float[Array, "m d"], inputs: Float[Array, "N d"]) -> Float[Array, " N"]:
    r"""The fraction of ReLU units that an example activates, $p(x) = \frac1m \#\{r : w_r^\top x \ge 0\}$.

    Args:
        weights: first-layer weights, a row for each unit.
        inputs: an example in each row.

    Returns:
        One fraction per example.

    Raises:
        ValueError: if the shapes do not fit.

    Source: INFO-30.
    """
    weights, inputs = floating("weights", weights), floating("inputs", inputs)
    require(
        weights.ndim == 2 and inputs.ndim == 2 and weights.shape[1] == inputs.shape[1],
        f"weights and inputs must have shapes (m, d) and (N, d) with one d; got {weights.shape} and {inputs.shape}",
    )
    return (inputs @ weights.T >= 0).mean(axis=1, dtype=inputs.dtype)


def optimize_sigma(total_fn: Callable[[Array], Any], grid: Float[ArrayLike, "G *rest"]) -> tuple[Float[Array, "*rest"], Any]:
    """The noise on a grid for which a bound is smallest.

    Choosing the noise after a look at the bound is legitimate where its terms are expectations, which do not depend on
    the sample at hand. With terms estimated from K seeds the minimum is biased low: report the grid, or choose on some seeds
    and evaluate on others. A minimum at the largest sigma of a one-sided bound of a bounded loss is its saturation at chance.

    Args:
        total_fn: from a noise level (an entry of `grid`) to a `Bound`, or to an array of one value.
        grid: noise levels to try, all positive; further axes make each of them a schedule over steps.

    Returns:
        The best noise, and what `total_fn` returns there. NaN at any entry comes out as NaN.

    Raises:
        ValueError: if `grid` is empty or not positive, or `total_fn` does not return one value.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> def total(sigma):
        ...     return bounds.wang_mao(0.1, sigma, 100 * jnp.ones(8), lambda variance: 0.5 * variance, n=8, R=1.0)
        >>> sigma, bound = bounds.optimize_sigma(total, jnp.array([0.1, 0.5, 2.5]))
        >>> float(sigma), sorted(bound.terms)
        (0.5, ['flatness', 'trajectory'])

    Source: INFO-26 (c).
    """
    grid = floating("grid", grid)
    require(grid.ndim >= 1 and grid.shape[0] >= 1, f"grid must hold at least one noise level along its leading axis; got shape {grid.shape}")
    totals = jax.lax.map(total_fn, positive("grid", grid))
    values = totals.value if isinstance(totals, Bound) else totals
    require(jnp.shape(values) == grid.shape[:1], f"total_fn must return one value; got shape {jnp.shape(values)[1:]}")
    best = jnp.argmin(values)
    return grid[best], jax.tree.map(lambda leaf: leaf[best], totals)
