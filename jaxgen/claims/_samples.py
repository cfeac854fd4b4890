"""Statistical relations between the two sides of a claim: each seed gives a sample, and the run tests its law."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PyTree

from jaxgen._core.checks import require
from jaxgen._core.results import Estimate
from jaxgen.claims._check import Check, as_array, difference, sides, slack_array, slack_in_words

MEAN_IS_ZERO = "mean is zero"
MEAN_IS_NONNEGATIVE = "mean is nonnegative"
PROBABILITY = "probability"
SCORE_IS_ZERO = "score is zero"
SCORE_IS_NONNEGATIVE = "score is nonnegative"


def equal_in_mean(lhs: PyTree, rhs: PyTree) -> Check:
    """E[lhs] = E[rhs] over the seeds, by a two-sided t test of rhs - lhs at the level of the run. For `statistical=True`.

    Args:
        lhs: array, `Bound`, or pytree of arrays (compared as one vector); elements are tested one by one and share the level.
        rhs: the same, of a shape that broadcasts with `lhs`.

    Returns:
        A check whose margin is the sample rhs - lhs of one seed.

    Raises:
        ValueError: if the shapes do not broadcast.
        TypeError: if a side is not made of real numbers.
    """
    lhs, rhs = sides(lhs, rhs)
    return _sample(lhs, rhs, difference(lhs, rhs), "=", "in mean", MEAN_IS_ZERO)


def at_most_in_mean(lhs: PyTree, rhs: PyTree, *, slack: ArrayLike = 0.0) -> Check:
    """E[lhs] <= E[rhs] + slack over the seeds: not refuted by a one-sided t test at the level of the run. For `statistical=True`.

    Args:
        lhs: as in `equal_in_mean`.
        rhs: as in `equal_in_mean`.
        slack: in units of the sides, at least 0.

    Returns:
        A check whose margin is the sample rhs + slack - lhs of one seed.

    Raises:
        ValueError: if the shapes do not broadcast or `slack` is negative.
        TypeError: if a side is not made of real numbers.
    """
    lhs, rhs = sides(lhs, rhs)
    words = ", ".join(filter(None, ("in mean", slack_in_words(slack))))
    return _sample(lhs, rhs, difference(lhs, rhs) + slack_array(slack), "≤", words, MEAN_IS_NONNEGATIVE)


def equal_within(lhs: Estimate | PyTree, rhs: Estimate | PyTree) -> Check:
    """Estimates agree with a value, or with other estimates, within their standard errors. For `statistical=True`.

    On every seed z = (rhs - lhs) / stderr should be standard normal; the run tests, at its level, both the sum of z over
    the seeds, which sees a small bias that all seeds share, and the largest |z|.

    Args:
        lhs: an `Estimate` of independent errors, or an exact value.
        rhs: the same; at least one side is an `Estimate`. Independent standard errors add in squares.

    Returns:
        A check whose margin is z.

    Raises:
        ValueError: if the shapes do not broadcast.
        TypeError: if neither side is an `Estimate`.
    """
    left, right, score = _score(lhs, rhs)
    return _sample(left, right, score, "=", "within standard errors", SCORE_IS_ZERO, unit="standard errors")


def at_most_within(lhs: Estimate | PyTree, rhs: Estimate | PyTree) -> Check:
    """lhs <= rhs up to standard errors: the one-sided form of `equal_within`.

    Args:
        lhs: as in `equal_within`.
        rhs: as in `equal_within`.

    Returns:
        A check whose margin is z.

    Raises:
        ValueError: if the shapes do not broadcast.
        TypeError: if neither side is an `Estimate`.
    """
    left, right, score = _score(lhs, rhs)
    return _sample(left, right, score, "≤", "within standard errors", SCORE_IS_NONNEGATIVE, unit="standard errors")


def with_probability(event: Check | ArrayLike, *, at_least: float) -> Check:
    """P(event) >= at_least, not refuted by the exact binomial test over all trials. For `statistical=True`.

    Args:
        event: a deterministic check (one trial a seed: did it hold), or booleans of any shape, each an independent trial.
        at_least: the probability that the theorem promises, in (0, 1].

    Returns:
        A check whose margin is 1 for each trial in which the event happened, 0 where it did not, NaN where that is unknown.

    Raises:
        ValueError: if `at_least` is outside (0, 1] or `event` is itself a statistical check.
        TypeError: if `event` is neither a check nor boolean.
    """
    require(0 < at_least <= 1, f"at_least must be in (0, 1]; got {at_least}")
    if isinstance(event, Check):
        require(event.test is None, "event must be a deterministic check")
        trials = jnp.where(jnp.any(jnp.isnan(event.margin)), jnp.nan, 1.0 * event.held)
    else:
        outcomes = jnp.asarray(event)
        if outcomes.dtype != bool:
            raise TypeError(f"event must be a check or boolean; got dtype {outcomes.dtype}")
        trials = 1.0 * outcomes
    return _sample(trials, jnp.full_like(trials, at_least), trials, "≥", "in frequency", PROBABILITY, unit="frequency", parameter=float(at_least))


def _score(lhs: Estimate | PyTree, rhs: Estimate | PyTree) -> tuple[Array, Array, Array]:
    if not (isinstance(lhs, Estimate) or isinstance(rhs, Estimate)):
        raise TypeError("lhs or rhs must be an Estimate; for exact sides use equal or at_most")
    first, second = (side if isinstance(side, Estimate) else Estimate(side, 0.0) for side in (lhs, rhs))
    left, right = sides(first.value, second.value)
    stderr = jnp.broadcast_to(jnp.hypot(as_array("stderr", first.stderr), as_array("stderr", second.stderr)), left.shape)
    distance = difference(left, right)
    size = jnp.maximum(jnp.abs(left), jnp.abs(right))
    scale = jnp.maximum(stderr, jnp.where(jnp.isinf(size), 0.0, 8 * jnp.finfo(left.dtype).eps * size))
    return left, right, distance / jnp.where(scale == 0, 1.0, scale)


def _sample(lhs: Array, rhs: Array, sample: Array, relation: str, words: str, test: str, **fields: Any) -> Check:
    return Check(lhs, rhs, sample, ~jnp.any(jnp.isnan(sample)), relation, words, test=test, **fields)
