r"""Bounds for all hypotheses of a finite or countable class at once, by the union bound (GEN-3)."""

import math

import jax.numpy as jnp

from jaxgen._core.checks import choice
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least, failure_probability, unit_interval
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES
from jaxgen.bounds.uniform.fixed_hypothesis import BOUNDED_LOSS

FIXED_CLASS = "The class of hypotheses was fixed before the n examples were seen."
FIXED_PRIOR = "The prior probabilities of the hypotheses, which sum to at most one, were fixed before the n examples were seen."


def finite_class_bound(emp_risk: Scalar, log_cardinality: Scalar, n: Scalar, delta: float, *, variant: str = "hoeffding") -> Bound:
    r"""The risk of every hypothesis of a finite class, with probability at least $1 - \delta$ for all at once.

    With N hypotheses, whichever of them the learner picks and however:

    - `"hoeffding"`: $L_D(h) \le \hat L_S(h) + \sqrt{(\ln N + \ln(1/\delta)) / (2 n)}$;
    - `"two_sided"`: $|L_D(h) - \hat L_S(h)| \le \sqrt{(\ln N + \ln(2/\delta)) / (2 n)}$, uniform convergence;
    - `"source"`: $L_D(h) \le \hat L_S(h) + 2 \sqrt{(\ln N + \ln(1/\delta)) / n}$, looser than the first by $2 \sqrt 2$.

    Args:
        emp_risk: empirical risk of one hypothesis, or of several along an axis, in [0, 1].
        log_cardinality: $\ln N$, at least 0.
        n: number of examples.
        delta: probability of failure, a number in (0, 1).
        variant: one of the above.

    Returns:
        A `Bound` on the risk with terms `"empirical_risk"` and `"penalty"`; two-sided for `"two_sided"`.

    Raises:
        ValueError: if `emp_risk` is outside [0, 1], `log_cardinality` < 0, `n` < 2, `delta` is outside (0, 1) or `variant`
            is unknown.
        TypeError: if `delta` is traced.

    Example:
        >>> import math
        >>> from jaxgen import bounds
        >>> round(float(bounds.finite_class_bound(0.1, math.log(1000), n=500, delta=0.05).value), 4)
        0.1995

    Source: Theory of Deep Learning, Theorem 5.2.1; GEN-3.
    """
    choice("variant", variant, ("hoeffding", "two_sided", "source"))
    emp_risk, n, delta = unit_interval("emp_risk", emp_risk), at_least("n", n, 2), failure_probability(delta)
    surprise = at_least("log_cardinality", log_cardinality, 0) + math.log((2 if variant == "two_sided" else 1) / delta)
    penalty = 2 * jnp.sqrt(surprise / n) if variant == "source" else jnp.sqrt(surprise / (2 * n))
    return Bound(
        emp_risk + penalty,
        {"empirical_risk": emp_risk, "penalty": penalty},
        "two" if variant == "two_sided" else "one",
        assumptions=(INDEPENDENT_EXAMPLES, BOUNDED_LOSS, FIXED_CLASS),
        confidence=1 - delta,
    )


def occam_bound(emp_risk: Scalar, log_inv_prior: Scalar, n: Scalar, delta: float) -> Bound:
    r"""The risk of every hypothesis of a countable class by its prior: $L_D(h) \le \hat L_S(h) + \sqrt{(\ln(1/P(h)) + \ln(1/\delta)) / (2 n)}$.

    With probability at least $1 - \delta$ for all h at once. A prefix code of b bits has $\ln(1/P(h)) = b \ln 2$: what can be
    said briefly generalizes.

    Args:
        emp_risk: empirical risk of h, in [0, 1].
        log_inv_prior: $\ln(1/P(h))$ in nats, at least 0.
        n: number of examples.
        delta: probability of failure, a number in (0, 1).

    Returns:
        A one-sided `Bound` on the risk with terms `"empirical_risk"` and `"penalty"`.

    Raises:
        ValueError: if `emp_risk` is outside [0, 1], `log_inv_prior` < 0, `n` < 2 or `delta` is outside (0, 1).
        TypeError: if `delta` is traced.

    Source: Blumer et al. 1987; Langford 2005, Theorem 4.2; GEN-3.
    """
    emp_risk, n, delta = unit_interval("emp_risk", emp_risk), at_least("n", n, 2), failure_probability(delta)
    penalty = jnp.sqrt((at_least("log_inv_prior", log_inv_prior, 0) + math.log(1 / delta)) / (2 * n))
    terms = {"empirical_risk": emp_risk, "penalty": penalty}
    return Bound(emp_risk + penalty, terms, "one", assumptions=(INDEPENDENT_EXAMPLES, BOUNDED_LOSS, FIXED_PRIOR), confidence=1 - delta)
