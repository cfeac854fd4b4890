"""Nets of which only the last layer is random: their risk is an integral over one number an example, and needs no draws."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import log_ndtr, ndtr
from jaxtyping import Array, ArrayLike, Float, Int

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen._core.scan import iterate
from jaxgen.bounds._inputs import failure_probability, positive
from jaxgen.bounds.pac_bayes.certificates import Certificate, certificate
from jaxgen.bounds.pac_bayes.objectives import pac_bayes_objective
from jaxgen.bounds.pac_bayes.stochastic import GibbsRisk
from jaxgen.bounds.uniform.fixed_hypothesis import binomial_tail_inverse

EDGE = 8.0
"""Beyond this many standard deviations nothing is counted as right."""
SMALL = 1e-5
"""Where a union bound over classes is below this, it is good enough."""


def argmax_error(
    means: Float[ArrayLike, "n c"], stds: Float[ArrayLike, " n"], labels: Int[Array, " n"], *, num_cells: int = 4000
) -> Float[Array, " n"]:
    r"""Upper bounds on P(argmax_j z_j != y) for independent logits $z_j \sim N(\mu_j, \nu^2)$, which are attained as cells grow fine.

    $P(\text{right}) = \int \phi(t) \prod_{j \ne y} \Phi(t + (\mu_y - \mu_j) / \nu) \, dt$, and the product grows with t: its values at
    the left ends of cells in [-8, 8] give a sum below the integral. Rounding is allowed for, with `num_cells` machine epsilons.
    Examples whose union bound over classes is below 1e-5 take that.

    Args:
        means: $\mu$, one row an example.
        stds: $\nu > 0$ of every example.
        labels: y, in [0, C).
        num_cells: cells of the sum.

    Returns:
        (n,) bounds.

    Raises:
        ValueError: if shapes do not fit, a standard deviation is not positive or a label is out of range (NaN results when traced).

    Source: spec GEN-32. Cost: C `num_cells` evaluations of the normal distribution for an example near the decision boundary.
    """
    gaps, num_cells = _gaps(means, stds, labels), positive_integer("num_cells", num_cells)
    ends = jnp.linspace(-EDGE, EDGE, num_cells + 1, dtype=gaps.dtype)
    left, weights = ends[:-1], ndtr(ends[1:]) - ndtr(ends[:-1])
    allowance = (num_cells + 8 * gaps.shape[1]) * jnp.finfo(gaps.dtype).eps

    def by_cells(row: Array) -> Array:
        products = jax.lax.fori_loop(0, len(row), lambda j, product: product * ndtr(left + row[j]), jnp.ones_like(left))
        return jnp.minimum(1 - weights @ products + allowance, 1.0)

    def one(row: Array) -> Array:
        union = ndtr(-row / jnp.sqrt(2.0).astype(row.dtype)).sum()
        return jax.lax.cond(union < SMALL, lambda row: union, by_cells, row)

    return jax.lax.map(one, gaps)


def smooth_argmax_error(
    means: Float[ArrayLike, "n c"], stds: Float[ArrayLike, " n"], labels: Int[Array, " n"], *, num_nodes: int = 20
) -> Float[Array, " n"]:
    """P(argmax_j z_j != y) as in `argmax_error`, by Gauss and Hermite's rule: an approximation to differentiate, not a bound.

    Args:
        means: as in `argmax_error`.
        stds: as in `argmax_error`.
        labels: as in `argmax_error`.
        num_nodes: of the rule.

    Returns:
        (n,) probabilities.

    Raises:
        ValueError: as `argmax_error`.

    Source: spec GEN-32.
    """
    import numpy as np

    gaps = _gaps(means, stds, labels)
    nodes, weights = np.polynomial.hermite_e.hermegauss(positive_integer("num_nodes", num_nodes))
    nodes, weights = jnp.asarray(nodes, gaps.dtype), jnp.asarray(weights / weights.sum(), gaps.dtype)
    return 1 - jnp.exp(log_ndtr(nodes[:, None, None] + gaps).sum(axis=2)).T @ weights


def _gaps(means: ArrayLike, stds: ArrayLike, labels: Array) -> Float[Array, "n c-1"]:
    """(mu_y - mu_j) / nu for the other classes j."""
    means, stds, labels = floating("means", means), positive("stds", stds), jnp.asarray(labels)
    require(means.ndim == 2 and means.shape[1] > 1, f"means must have shape (N, C) with C > 1; got {means.shape}")
    require(
        stds.shape == labels.shape == means.shape[:1],
        f"stds and labels must have one entry of each of {len(means)} examples; got shapes {stds.shape} and {labels.shape}",
    )
    num_classes = means.shape[1]
    inside = (labels >= 0) & (labels < num_classes)
    means = checked(means, (inside.all(), f"labels must lie in [0, {num_classes})"))
    others = (labels[:, None] + 1 + jnp.arange(num_classes - 1)) % num_classes
    own = jnp.take_along_axis(means, labels[:, None], axis=1)
    return (own - jnp.take_along_axis(means, others, axis=1)) / stds[:, None]


def _logits(features: ArrayLike, weights: ArrayLike, std: ArrayLike) -> tuple[Array, Array]:
    """Means of the logits, and their standard deviations."""
    features, weights = floating("features", features), floating("weights", weights)
    require(
        features.ndim == weights.ndim == 2 and features.shape[1] == weights.shape[0],
        f"features and weights must have shapes (N, h) and (h, C); got {features.shape} and {weights.shape}",
    )
    return features @ weights, positive("std", std) * jnp.linalg.norm(features, axis=1)


def last_layer_risk(
    features: Float[ArrayLike, "n h"], labels: Int[Array, " n"], weights: Float[ArrayLike, "h c"], std: ArrayLike, *, num_cells: int = 4000
) -> GibbsRisk:
    """Zero-one risk of argmax(features W) with W ~ N(weights, std^2 I), an upper bound of its integral and no draws.

    Args:
        features: inputs of the last layer, (N, h), with a column of ones for a bias.
        labels: (N,), in [0, C).
        weights: mean of W, (h, C).
        std: standard deviation of its entries, a scalar.
        num_cells: as in `argmax_error`.

    Returns:
        The risk, which spends no probability of failure.

    Raises:
        ValueError: as `argmax_error`.

    Source: spec GEN-32.
    """
    value = argmax_error(*_logits(features, weights, std), labels, num_cells=num_cells).mean()
    return GibbsRisk(value, value, value[None], 0, 0.0)


def train_last_layer(
    features: Float[ArrayLike, "n h"],
    labels: Int[Array, " n"],
    prior_weights: Float[ArrayLike, "h c"],
    std: ArrayLike,
    *,
    objective: str = "quadratic",
    C: Any = None,
    delta: float = 0.05,
    num_hard: int | None = None,
    num_steps: int = 150,
    learning_rate: float = 0.03,
) -> Float[Array, "h c"]:
    r"""Minimizes a PAC-Bayes bound over the mean of the last layer's weights, $N(W_0 + s U, s^2 I)$ against $N(W_0, s^2 I)$.

    The divergence is $\lVert U \rVert^2 / 2$, and the risk that of zero-one loss, without draws.

    Args:
        features: inputs of the last layer, (N, h).
        labels: (N,).
        prior_weights: W_0, (h, C).
        std: s.
        objective: kind of `pac_bayes_objective`.
        C: constant of Catoni's.
        delta: probability of failure of the bound, concrete.
        num_hard: examples of smallest margins under the prior that are trained on, the risk of the others being kept; default: all.
        num_steps: full-batch steps of Adam, with a cosine decay of the learning rate.
        learning_rate: of U.

    Returns:
        W_0 + s U.

    Raises:
        ValueError: if shapes do not fit or a size is below 1.
        TypeError: if `delta` is traced.

    Source: spec GEN-33. Cost: `num_hard` h C a step.
    """
    delta, n = failure_probability(delta), len(labels)
    means, stds = _logits(features, prior_weights, std)
    hard = n if num_hard is None else min(positive_integer("num_hard", num_hard), n)
    errors = smooth_argmax_error(means, stds, labels)
    rows = jnp.argsort(_gaps(means, stds, labels).min(axis=1))[:hard]
    others = (errors.sum() - errors[rows].sum()) / n
    features, labels, prior_weights = jnp.asarray(features)[rows], jnp.asarray(labels)[rows], jnp.asarray(prior_weights)
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, positive_integer("num_steps", num_steps)))

    def value(shift: Array) -> Array:
        risk = others + smooth_argmax_error(*_logits(features, prior_weights + std * shift, std), labels).sum() / n
        return pac_bayes_objective(objective, jnp.clip(risk, 0, 1), 0.5 * jnp.sum(shift**2), n, delta, lam=C)

    def step(state: Any, t: Any) -> tuple[Any, None]:
        shift, moments = state
        updates, moments = optimizer.update(jax.grad(value)(shift), moments, shift)
        return (optax.apply_updates(shift, updates), moments), None

    start = jnp.zeros_like(prior_weights)
    (shift, _), _ = iterate(step, (start, optimizer.init(start)), num_steps)
    return prior_weights + std * shift


def certify_last_layer(
    features: Float[ArrayLike, "n h"],
    labels: Int[Array, " n"],
    weights: Float[ArrayLike, "h c"],
    prior_weights: Float[ArrayLike, "h c"],
    std: ArrayLike,
    *,
    delta: float = 0.05,
    kind: str = "kl",
    C: Any = None,
    num_choices: int = 1,
    num_cells: int = 4000,
) -> Certificate:
    """A certificate for a net of which only the last layer is random: exact in its empirical risk, so that all of delta goes to the bound.

    Args:
        features: inputs of the last layer on the points of the certificate, by layers that did not see these.
        labels: (N,).
        weights: mean of the posterior, (h, C), which may depend on the points.
        prior_weights: mean of the prior, fixed without them.
        std: standard deviation of both, fixed without them.
        delta: probability of failure, concrete.
        kind: form of the bound.
        C: its constant for `"catoni"`, fixed without the points.
        num_choices: number of standard deviations, or constants, among which this one was chosen with the points.
        num_cells: as in `argmax_error`.

    Returns:
        The certificate; its `holdout` is that of the net at the prior's mean.

    Raises:
        ValueError: if shapes do not fit or an argument is not as `pac_bayes_bound` wants it.
        TypeError: if `delta` is traced.

    Source: spec GEN-32, GEN-34.
    """
    risk = last_layer_risk(features, labels, weights, std, num_cells=num_cells)
    kl = 0.5 * jnp.sum(((floating("weights", weights) - floating("prior_weights", prior_weights)) / positive("std", std)) ** 2)
    errors = (jnp.argmax(_logits(features, prior_weights, std)[0], axis=1) != jnp.asarray(labels)).sum()
    holdout = binomial_tail_inverse(errors, len(labels), delta)
    return certificate(risk, kl, holdout, len(labels), delta=delta, kind=kind, C=C, num_choices=num_choices, data_dependent_prior=True)
