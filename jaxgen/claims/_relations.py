"""Deterministic relations between the two sides of a claim, which must hold on every seed."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, PyTree

from jaxgen._core.checks import require
from jaxgen.claims._check import Check, as_array, difference, sides, slack_array, slack_in_words


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
    lhs, rhs = sides(lhs, rhs)
    distance = jnp.abs(lhs - rhs)
    allowed = atol + rtol * jnp.maximum(jnp.abs(lhs), jnp.abs(rhs))
    missed = jnp.where(jnp.isinf(distance) | (allowed == 0), -jnp.inf, 1 - distance / jnp.where(allowed == 0, 1.0, allowed))
    margin = jnp.where(lhs == rhs, 1.0, jnp.where(jnp.isnan(lhs) | jnp.isnan(rhs), jnp.nan, missed))
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
    lhs, rhs = sides(lhs, rhs)
    margin = difference(lhs, rhs) + slack_array(slack)
    return Check(lhs, rhs, margin, jnp.all(margin >= 0), "≤", slack_in_words(slack))


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
    lhs, rhs = sides(lhs, rhs)
    margin = difference(rhs, lhs) + slack_array(slack)
    return Check(lhs, rhs, margin, jnp.all(margin >= 0), "≥", slack_in_words(slack))


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
    lhs, rhs = sides(lhs, rhs)
    margin = difference(lhs, rhs)
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
    lhs, rhs = sides(lhs, rhs)
    margin = difference(rhs, lhs)
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
    array = as_array("values", values if hasattr(values, "shape") else jnp.stack([as_array("values", v) for v in values]))
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
    errors, steps = as_array("errors", errors), as_array("steps", steps)
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
