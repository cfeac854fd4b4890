"""Means and functions of means over seeds, with standard errors."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import floating, leading_axis, require
from jaxgen._core.results import Estimate


def mean(values: Float[Array, "K *rest"]) -> Estimate:
    """The mean over the leading axis and its standard error, the sample standard deviation over sqrt(K).

    Args:
        values: one row per seed, K >= 2.

    Raises:
        ValueError: if K < 2, for which a standard error is undefined.
    """
    values = floating("values", values)
    count = leading_axis("values", values)
    require(count >= 2, f"a standard error needs K >= 2 seeds; got K = {count}")
    return Estimate(values.mean(axis=0), values.std(axis=0, ddof=1) / jnp.sqrt(count))


def jackknife(statistic: Callable[..., Array], *arrays: PyTree) -> Estimate:
    """A statistic of K seeds with its jackknife standard error.

    With theta_(-k) the statistic without seed k, stderr^2 = (K-1)/K sum_k (theta_(-k) - mean theta_(-.))^2. Right to first
    order for smooth functions of means, a root or a cube root say (Efron and Stein 1981).

    Args:
        statistic: function of arrays with a leading seed axis of any length, to an array.
        arrays: pytrees whose leaves all have leading axis K >= 2.

    Raises:
        ValueError: if K < 2 or the leading axes differ.
    """
    count = leading_axis("arrays", arrays)
    require(count >= 2, f"the jackknife needs K >= 2 seeds; got K = {count}")

    def without(k):
        kept = jnp.arange(count - 1) + (jnp.arange(count - 1) >= k)
        return statistic(*jax.tree.map(lambda a: jnp.asarray(a)[kept], arrays))

    left_out = jax.lax.map(without, jnp.arange(count))
    spread = jnp.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0)
    return Estimate(statistic(*arrays), jnp.sqrt((count - 1) / count * spread))
