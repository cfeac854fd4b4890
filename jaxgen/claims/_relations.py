"""Relations between the two sides of a claim: what a claim's body returns."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, PyTree

from jaxgen._core.checks import floating, is_traced, require
from jaxgen._core.results import Bound, Estimate

MEAN_IS_ZERO = "mean is zero"
MEAN_IS_NONNEGATIVE = "mean is nonnegative"
PROBABILITY = "probability"
SCORE_IS_ZERO = "score is zero"
SCORE_IS_NONNEGATIVE = "score is nonnegative"


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("lhs", "rhs", "margin", "held"),
    meta_fields=("relation", "tolerance", "unit", "test", "parameter"),
)
@dataclasses.dataclass(frozen=True)
class Check:
    """Two sides of a statement on one seed and how they compare.

    Attributes:
        lhs: left side, of the common shape of both sides.
        rhs: right side, of the same shape.
        margin: by how much the statement holds, elementwise, in `unit`; NaN where a side is NaN. In a statistical check
            the quantity whose law over the seeds is tested.
        held: whether the statement holds on this seed, a scalar; in a statistical check whether the seed can be used.
        relation: sign between the sides, for reports.
        tolerance: what was allowed, in words; empty if nothing was.
        unit: unit of `margin`.
        test: name of the test over the seeds in a statistical check, None in a deterministic one.
        parameter: constant of the test, for instance a probability.
    """

    lhs: Any
    rhs: Any
    margin: Any
    held: Any
    relation: str
    tolerance: str = ""
    unit: str = "units of the sides"
    test: str | None = None
    parameter: float | None = None


def equal(lhs: PyTree, rhs: PyTree, *, rtol: float, atol: float = 0.0) -> Check:
    """|lhs - rhs| <= atol + rtol max(|lhs|, |rhs|), elementwise; equal infinities are equal.

    Args:
        lhs: array, `Bound`, or pytree of arrays (compared as one vector).
        rhs: the same, of a shape that broadcasts with `lhs`.
        rtol: relative tolerance; 0 with `atol=0` asks for the same number to the last bit.
        atol: absolute tolerance, in units of the sides.

    Returns:
        A check whose margin is 1 - |lhs - rhs| / tolerance: 1 for identical sides, 0 at the tolerance.

    Raises:
        ValueError: if the shapes do not broadcast or a tolerance is negative.
        TypeError: if a side is not made of real numbers.
    """
    require(rtol >= 0 and atol >= 0, f"rtol and atol must be at least 0; got {rtol} and {atol}")
    lhs, rhs = _sides(lhs, rhs)
    difference = jnp.abs(lhs - rhs)
    allowed = atol + rtol * jnp.maximum(jnp.abs(lhs), jnp.abs(rhs))
    missed = jnp.where(jnp.isinf(difference) | (allowed == 0), -jnp.inf, 1 - difference / jnp.where(allowed == 0, 1.0, allowed))
    margin = jnp.where(lhs == rhs, 1.0, jnp.where(_is_nan(lhs, rhs), jnp.nan, missed))
    words = [f"rtol {rtol:g}"] * (rtol > 0) + [f"atol {atol:g}"] * (atol > 0)
    return Check(lhs, rhs, margin, jnp.all(margin >= 0), "=", ", ".join(words) or "exact", "parts of the tolerance")


def at_most(lhs: PyTree, rhs: PyTree, *, slack: ArrayLike = 0.0) -> Check:
    """lhs <= rhs + slack, elementwise; the margin is rhs + slack - lhs.

    Args:
        lhs: array, `Bound`, or pytree of arrays (compared as one vector).
        rhs: the same, of a shape that broadcasts with `lhs`.
        slack: what rounding may take, in units of the sides, at least 0.

    Returns:
        A check that holds where every element's margin is at least 0.

    Raises:
        ValueError: if the shapes do not broadcast or `slack` is negative.
        TypeError: if a side is not made of real numbers.
    """
    lhs, rhs = _sides(lhs, rhs)
    margin = _difference(lhs, rhs) + _slack(slack)
    return Check(lhs, rhs, margin, jnp.all(margin >= 0), "≤", _slack_in_words(slack))


def at_least(lhs: PyTree, rhs: PyTree, *, slack: ArrayLike = 0.0) -> Check:
    """lhs >= rhs - slack, elementwise; the margin is lhs + slack - rhs.

    Args:
        lhs: as in `at_most`.
        rhs: as in `at_most`.
        slack: as in `at_most`.

    Returns:
        A check that holds where every element's margin is at least 0.

    Raises:
        ValueError: if the shapes do not broadcast or `slack` is negative.
        TypeError: if a side is not made of real numbers.
    """
    lhs, rhs = _sides(lhs, rhs)
    margin = _difference(rhs, lhs) + _slack(slack)
    return Check(lhs, rhs, margin, jnp.all(margin >= 0), "≥", _slack_in_words(slack))


def less(lhs: PyTree, rhs: PyTree) -> Check:
    """lhs < rhs, elementwise; the margin is rhs - lhs.

    Args:
        lhs: as in `at_most`.
        rhs: as in `at_most`.

    Returns:
        A check that holds where every element's margin is positive.

    Raises:
        ValueError: if the shapes do not broadcast.
        TypeError: if a side is not made of real numbers.
    """
    lhs, rhs = _sides(lhs, rhs)
    margin = _difference(lhs, rhs)
    return Check(lhs, rhs, margin, jnp.all(margin > 0), "<")


def greater(lhs: PyTree, rhs: PyTree) -> Check:
    """lhs > rhs, elementwise; the margin is lhs - rhs.

    Args:
        lhs: as in `at_most`.
        rhs: as in `at_most`.

    Returns:
        A check that holds where every element's margin is positive.

    Raises:
        ValueError: if the shapes do not broadcast.
        TypeError: if a side is not made of real numbers.
    """
    lhs, rhs = _sides(lhs, rhs)
    margin = _difference(rhs, lhs)
    return Check(lhs, rhs, margin, jnp.all(margin > 0), ">")


def ordered(values: Array | Sequence[ArrayLike], *, strict: bool = False, decreasing: bool = False) -> Check:
    """values[0] <= values[1] <= ..., along the leading axis.

    Args:
        values: at least two values; an array with them along its leading axis, or a sequence of arrays of one shape.
        strict: asks for strict inequalities.
        decreasing: asks for values[0] >= values[1] >= ... instead.

    Returns:
        A check with sides values[:-1] and values[1:], and their difference as margin.

    Raises:
        ValueError: if there are fewer than two values.
    """
    array = _as_array("values", values if hasattr(values, "shape") else jnp.stack([_as_array("values", v) for v in values]))
    require(array.ndim >= 1 and array.shape[0] >= 2, f"values must hold at least two along the leading axis; got shape {array.shape}")
    first, second = array[:-1], array[1:]
    compare = {(False, False): at_most, (True, False): less, (False, True): at_least, (True, True): greater}
    return compare[strict, decreasing](first, second)


def converges(errors: ArrayLike, *, order: float, steps: ArrayLike, tolerance: float) -> Check:
    """The least-squares slope of log(errors) against log(steps) is `order`, within `tolerance`.

    Args:
        errors: positive errors, shape (m,).
        order: exponent p of errors ~ steps^p; negative where errors fall as `steps` grows.
        steps: positive step sizes or sample sizes, shape (m,), m >= 2, not all equal.
        tolerance: largest allowed distance of the slope from `order`.

    Returns:
        A check with sides slope and order, and margin tolerance - |slope - order|.

    Raises:
        ValueError: if shapes differ, m < 2 or `tolerance` <= 0.
    """
    errors, steps = _as_array("errors", errors), _as_array("steps", steps)
    require(
        errors.ndim == 1 and errors.shape == steps.shape and errors.shape[0] >= 2,
        f"errors and steps must be vectors of one length, at least 2; got shapes {errors.shape} and {steps.shape}",
    )
    require(tolerance > 0, f"tolerance must be positive; got {tolerance}")
    x, y = jnp.log(steps), jnp.log(errors)
    x = x - x.mean()
    slope = jnp.sum(x * (y - y.mean())) / jnp.sum(x**2)
    target = jnp.full_like(slope, order)
    margin = tolerance - jnp.abs(slope - target)
    return Check(slope, target, margin, margin >= 0, "=", f"slope within {tolerance:g}", "units of the slope")


def rejects(fn: Callable[..., Any], *args: Any, error: type[Exception] = ValueError, match: str | None = None, **kwargs: Any) -> Check:
    """`fn(*args, **kwargs)` raises `error` with a message in which the pattern `match` is found.

    For claims with `jittable=False`. An exception of another type is not caught.

    Args:
        fn: what should refuse its arguments.
        args: positional arguments of `fn`.
        error: expected type.
        match: regular expression to be found in the message; None for any message.
        kwargs: keyword arguments of `fn`.

    Returns:
        A check with sides "was it rejected" (1 or 0) and 1.
    """
    try:
        fn(*args, **kwargs)
        rejected = False
    except error as caught:
        rejected = match is None or re.search(match, str(caught)) is not None
    words = f"raises {error.__name__}" + (f" matching {match!r}" if match else "")
    lhs = np.float64(rejected)
    return Check(lhs, np.float64(1), lhs - 1, np.bool_(rejected), "=", words, "rejections")


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
    lhs, rhs = _sides(lhs, rhs)
    return _sample(lhs, rhs, _difference(lhs, rhs), "=", "in mean", MEAN_IS_ZERO)


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
    lhs, rhs = _sides(lhs, rhs)
    words = ", ".join(filter(None, ("in mean", _slack_in_words(slack))))
    return _sample(lhs, rhs, _difference(lhs, rhs) + _slack(slack), "≤", words, MEAN_IS_NONNEGATIVE)


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


def _sides(lhs: PyTree, rhs: PyTree) -> tuple[Array, Array]:
    left, right = _as_array("lhs", lhs), _as_array("rhs", rhs)
    try:
        shape = jnp.broadcast_shapes(left.shape, right.shape)
    except ValueError as error:
        raise ValueError(f"lhs and rhs must broadcast; got shapes {left.shape} and {right.shape}") from error
    require(0 not in shape, f"lhs and rhs must not be empty; got shapes {left.shape} and {right.shape}")
    dtype = jnp.result_type(left, right)
    return jnp.broadcast_to(left, shape).astype(dtype), jnp.broadcast_to(right, shape).astype(dtype)


def _as_array(name: str, side: PyTree) -> Array:
    if isinstance(side, Bound):
        side = side.value
    if isinstance(side, Estimate):
        raise TypeError(f"{name} is an Estimate: compare it by equal_within or at_most_within, or take its value")
    if isinstance(side, dict | list | tuple):
        leaves = jax.tree.leaves(side)
        require(len(leaves) > 0, f"{name} must hold at least one array")
        return jnp.concatenate([_as_array(name, leaf).ravel() for leaf in leaves])
    if isinstance(side, bool) or (hasattr(side, "dtype") and jnp.issubdtype(side.dtype, jnp.bool_)):
        side = 1 * side
    return floating(name, side)


def _score(lhs: Estimate | PyTree, rhs: Estimate | PyTree) -> tuple[Array, Array, Array]:
    if not (isinstance(lhs, Estimate) or isinstance(rhs, Estimate)):
        raise TypeError("lhs or rhs must be an Estimate; for exact sides use equal or at_most")
    values = [Estimate(*side) if isinstance(side, Estimate) else Estimate(side, 0.0) for side in (lhs, rhs)]
    left, right = _sides(values[0].value, values[1].value)
    stderr = jnp.broadcast_to(jnp.hypot(_as_array("stderr", values[0].stderr), _as_array("stderr", values[1].stderr)), left.shape)
    difference = _difference(left, right)
    size = jnp.maximum(jnp.abs(left), jnp.abs(right))
    scale = jnp.maximum(stderr, jnp.where(jnp.isinf(size), 0.0, 8 * jnp.finfo(left.dtype).eps * size))
    return left, right, difference / jnp.where(scale == 0, 1.0, scale)


def _sample(lhs: Array, rhs: Array, sample: Array, relation: str, words: str, test: str, **fields: Any) -> Check:
    return Check(lhs, rhs, sample, ~jnp.any(jnp.isnan(sample)), relation, words, test=test, **fields)


def _difference(small: Array, large: Array) -> Array:
    """large - small, and zero for equal infinities."""
    return jnp.where(small == large, 0.0, large - small)


def _is_nan(*arrays: Array) -> Array:
    return jnp.isnan(arrays[0]) | jnp.isnan(arrays[1])


def _slack(slack: ArrayLike) -> Array:
    array = floating("slack", slack)
    if not is_traced(array):
        require(bool(jnp.all(array >= 0)), f"slack must be at least 0; got {slack}")
    return array


def _slack_in_words(slack: ArrayLike) -> str:
    if not isinstance(slack, int | float):
        return "slack by element"
    return f"slack {slack:g}" if slack else ""
