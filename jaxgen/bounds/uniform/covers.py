r"""Covers of the unit ball, and bounds for all parameters in it when the loss varies slowly with them (GEN-6, GEN-7)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least, failure_probability, positive, unit_interval
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES
from jaxgen.bounds.uniform.fixed_hypothesis import BOUNDED_LOSS

UNIT_BALL = "The parameters lie in the unit ball of a norm on R^dim."
UNIFORM_MODULUS = "Parameters at a distance of at most rho differ by at most gamma in loss on every example, not only on those of the sample."
LIPSCHITZ = "The loss is lip-Lipschitz in the parameters, throughout the unit ball and on every example, not only on those of the sample."

SMALLEST_RADIUS = 1e-6
"""Of the radii that `cover_bound_lipschitz` tries."""


class Cover(NamedTuple):
    """Points of a set within a given distance of which all others are.

    Attributes:
        mask: which points are centres.
        count: how many are.
    """

    mask: Bool[Array, " n"]
    count: Int[Array, ""]


def log_covering_number_bound(dim: Scalar, rho: Scalar) -> Float[Array, "..."]:
    r"""How many balls of radius $\rho$ cover the unit ball of a norm on $R^k$: $\ln N \le k \ln(1 + 2/\rho)$.

    Centres that are more than $\rho$ apart have disjoint balls of radius $\rho/2$ within a ball of radius $1 + \rho/2$. At
    least $\rho^{-k}$ are needed.

    Args:
        dim: dimension k, at least 1.
        rho: radius, positive.

    Returns:
        The bound on the natural logarithm of the number.

    Raises:
        ValueError: if `dim` < 1 or `rho` <= 0.

    Example:
        >>> import math
        >>> from jaxgen import bounds
        >>> round(math.exp(bounds.log_covering_number_bound(2, 0.5)))
        25

    Source: Theory of Deep Learning, Lemma 5.2.6, which prints $((2 + \rho) / (2 \rho))^k$: too few by $2^k$, for k = 2 and
    $\rho = 0.9$ fewer than there must be; GEN-6.
    """
    return at_least("dim", dim, 1) * jnp.log1p(2 / positive("rho", rho))


def greedy_cover(points: Float[ArrayLike, "n k"], rho: Scalar) -> Cover:
    r"""A $\rho$-cover of points by some of them: the first that is not covered yet becomes a centre, until all are.

    Centres are more than $\rho$ apart, so points of the unit ball need at most $(1 + 2/\rho)^k$.

    Args:
        points: n points in rows.
        rho: Euclidean radius, positive.

    Returns:
        The mask of centres, and their number.

    Raises:
        ValueError: if `points` does not have two axes or no point, or `rho` <= 0; where these are traced and a coordinate
            or `rho` is not a number or wrong, the mask is empty and the count -1.

    Source: Theory of Deep Learning, Definition 5.2.5 and Lemma 5.2.6; GEN-6. Cost: O(n k) a centre.
    """
    points, rho = floating("points", points), positive("rho", rho)
    require(points.ndim == 2 and len(points) > 0, f"points must have shape (n, k) with n at least 1; got {points.shape}")
    require(rho.ndim == 0, f"rho must be a scalar; got shape {rho.shape}")
    points = checked(points, (jnp.isfinite(points), "points must be finite"))
    valid = jnp.isfinite(points).all() & (rho > 0)

    def step(state):
        mask, covered = state
        centre = jnp.argmin(covered)
        near = jnp.linalg.norm(points - points[centre], axis=1) <= rho
        return mask.at[centre].set(True), covered | near

    start = jnp.zeros(len(points), bool)
    mask, _ = jax.lax.while_loop(lambda state: ~state[1].all(), step, (start, start | ~valid))
    return Cover(mask, jnp.where(valid, mask.sum(dtype=jnp.int32), -1))


def cover_bound(emp_risk: Scalar, dim: Scalar, rho: Scalar, gamma: Scalar, n: Scalar, delta: float) -> Bound:
    r"""The risk of every parameter in a unit ball by a cover of it: $\hat L_S(w) + 2 \gamma + \sqrt{(k \ln(1 + 2/\rho) + \ln(1/\delta)) / (2 n)}$.

    With probability at least $1 - \delta$ for all $\lVert w \rVert \le 1$ at once. The loss changes by at most $\gamma$ over a distance of
    $\rho$, which the risk and the empirical risk each pay once on the way to the nearest centre and back.

    Args:
        emp_risk: empirical risk of w, in [0, 1].
        dim: number of parameters k, at least 1.
        rho: radius of the cover, in (0, 1].
        gamma: how much the loss may change over a distance `rho`, uniformly over examples, at least 0.
        n: number of examples.
        delta: probability of failure, a number in (0, 1).

    Returns:
        A one-sided `Bound` on the risk with terms `"empirical_risk"`, `"discretization"` and `"penalty"`.

    Raises:
        ValueError: if `emp_risk` is outside [0, 1], `dim` < 1, `rho` is outside (0, 1], `gamma` < 0, `n` < 2 or `delta` is
            outside (0, 1).
        TypeError: if `delta` is traced.

    Source: Theory of Deep Learning, Theorem 5.2.7, whose print, $\gamma + 2 \sqrt{k \ln(2/\rho) / n}$, lacks a $\gamma$ and
    $\ln(1/\delta)$ and counts too small a cover; GEN-7.
    """
    emp_risk, delta, gamma = unit_interval("emp_risk", emp_risk), failure_probability(delta), at_least("gamma", gamma, 0)
    penalty = _penalty(dim, rho, n, math.log(1 / delta))
    terms = {"empirical_risk": emp_risk, "discretization": 2 * gamma, "penalty": penalty}
    assumptions = (INDEPENDENT_EXAMPLES, BOUNDED_LOSS, UNIT_BALL, UNIFORM_MODULUS)
    return Bound(emp_risk + 2 * gamma + penalty, terms, "one", assumptions=assumptions, confidence=1 - delta)


def cover_bound_lipschitz(
    emp_risk: Scalar, dim: Scalar, lip: Scalar, n: Scalar, delta: float, *, num_radii: int = 200, lip_from_sample: bool = False
) -> Bound:
    r"""The risk of every parameter in a unit ball for a C-Lipschitz loss: `cover_bound` with $\gamma = C \rho$ at the best $\rho$ of a grid.

    The grid is logarithmic in [1e-6, 1]. Its best radius does not depend on the sample unless C does; then C takes part in
    the choice, and the union bound adds $\ln(\text{num\_radii})$ to $\ln(1/\delta)$. For parameters in a ball of radius B,
    give C B.

    Args:
        emp_risk: empirical risk of w, in [0, 1].
        dim: number of parameters k, at least 1.
        lip: Lipschitz constant C of the loss in the parameters, at least 0.
        n: number of examples.
        delta: probability of failure, a number in (0, 1).
        num_radii: size of the grid.
        lip_from_sample: whether C was found on the sample; the result is then not certified, since C must hold for every
            example.

    Returns:
        A one-sided `Bound` on the risk with terms `"empirical_risk"`, `"discretization"`, `"penalty"` and `"radius"`, the
        best $\rho$, which is no summand.

    Raises:
        ValueError: if `emp_risk` is outside [0, 1], `dim` < 1, `lip` < 0, `n` < 2, `delta` is outside (0, 1) or
            `num_radii` < 1.
        TypeError: if `delta` is traced.

    Source: Theory of Deep Learning, Theorem 5.2.7 and the remark before it; GEN-7.
    """
    emp_risk, delta, lip = unit_interval("emp_risk", emp_risk), failure_probability(delta), at_least("lip", lip, 0)
    dim, n = at_least("dim", dim, 1), at_least("n", n, 2)
    count = positive_integer("num_radii", num_radii)
    surprise = math.log((count if lip_from_sample else 1) / delta)
    radii = jnp.geomspace(1.0, SMALLEST_RADIUS, count, dtype=jnp.result_type(lip, dim, n))
    lip_and_rest = [array[..., None] for array in (lip, dim, n)]
    totals = 2 * lip_and_rest[0] * radii + _penalty(lip_and_rest[1], radii, lip_and_rest[2], surprise)
    rho = radii[jnp.argmin(totals, axis=-1)]
    gamma, penalty = lip * rho, _penalty(dim, rho, n, surprise)
    return Bound(
        emp_risk + 2 * gamma + penalty,
        {"empirical_risk": emp_risk, "discretization": 2 * gamma, "penalty": penalty, "radius": rho},
        "one",
        certified=not lip_from_sample,
        assumptions=(INDEPENDENT_EXAMPLES, BOUNDED_LOSS, UNIT_BALL, LIPSCHITZ),
        confidence=1 - delta,
    )


def _penalty(dim: Scalar, rho: Scalar, n: Scalar, surprise: float) -> Array:
    rho = positive("rho", rho)
    rho = checked(rho, (rho <= 1, "rho must be at most 1, the radius of the ball"))
    return jnp.sqrt((log_covering_number_bound(dim, rho) + surprise) / (2 * at_least("n", n, 2)))
