r"""The generalization bound by Rademacher complexity, in its three definitions."""

import math

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import choice, positive_integer, require
from jaxgen._core.results import Bound, Estimate
from jaxgen.bounds._inputs import at_least, failure_probability, unit_interval
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES

BOUNDED_LOSS = "The loss lies in [0, 1], and the class of predictors was fixed before the sample."
EXPECTED = {
    "two_sample": "The complexity is the expectation over two samples of n examples each, or at least that.",
    "sign_distribution": "The complexity of the losses, with independent signs, is the expectation over samples of n examples, or at least that.",
}
ON_SAMPLE = "The complexity is that of the losses, with independent signs, on the sample itself, or at least that."
DRAWN = "The complexity is that of the losses on the sample, averaged over {} independent vectors of signs that were drawn after the sample."
ESTIMATED = "The complexity is an estimate, whose error is not paid for."
DEFINITIONS = (*EXPECTED, "sign_empirical")


def rademacher_bound(
    emp_risk: Float[ArrayLike, "..."],
    rademacher: Float[ArrayLike, "..."] | Estimate,
    n: ArrayLike,
    delta: float,
    *,
    definition: str = "two_sample",
    num_draws: int | None = None,
) -> Bound:
    r"""Risk of every predictor of a class at once: $L_D(h) \le \hat L_S(h) + 2 R + \sqrt{\log(1 / \delta) / (2n)}$.

    R is the expected complexity $R_{n, D}$ of two samples, or that with independent signs. With the complexity on the sample itself
    the last term is $3 \sqrt{\log(2 / \delta) / (2n)}$; and if that complexity is a mean over N vectors of signs, the error of the mean is
    paid for too: $2 \sqrt{2 \log(3 / \delta) / (nN)} + 3 \sqrt{\log(3 / \delta) / (2n)}$, by McDiarmid's inequality for Nn signs.

    Args:
        emp_risk: mean loss on the sample, in [0, 1].
        rademacher: complexity R of the class of losses, at least 0 or, without absolute values, what is expected to be so.
        n: number of examples, at least 2.
        delta: probability of failure in (0, 1), concrete.
        definition: `"two_sample"`, `"sign_distribution"` or `"sign_empirical"`.
        num_draws: N, if the complexity on the sample is a mean over that many vectors of signs; only for `"sign_empirical"`.

    Returns:
        A one-sided `Bound` on the risk with the terms `"empirical_risk"`, `"complexity"` and `"confidence"`, and `"signs"` where
        `num_draws` is given. Certified unless `rademacher` is an `Estimate` without `num_draws`.

    Raises:
        ValueError: if `emp_risk` is outside [0, 1], `rademacher` is negative or `n` < 2 (NaN results when traced), `delta` is outside
            (0, 1), `definition` is unknown, or `num_draws` is given for another definition.
        TypeError: if `delta` or `num_draws` is traced.

    Source: Theory of Deep Learning, theorem 5.3.1, whose remainder $O(\log(1 / \delta) / \sqrt m)$ is larger than it need be; Bartlett and
    Mendelson 2002, theorem 8; spec GEN-9.

    Example:
        >>> from jaxgen import bounds
        >>> round(float(bounds.rademacher_bound(0.0, 0.1, 1000, 0.05).value), 6)
        0.238702
    """
    choice("definition", definition, DEFINITIONS)
    delta = failure_probability(delta)
    risk, n = unit_interval("emp_risk", emp_risk), at_least("n", n, 2)
    estimated, found = (True, rademacher.value) if isinstance(rademacher, Estimate) else (False, rademacher)
    complexity = 2 * at_least("rademacher", found, 0)
    terms = {"empirical_risk": risk, "complexity": complexity}
    if num_draws is not None:
        require(definition == "sign_empirical", f"num_draws is of signs on the sample, definition='sign_empirical'; got {definition!r}")
        num_draws, estimated = positive_integer("num_draws", num_draws), False
        terms["signs"] = 2 * jnp.sqrt(2 * math.log(3 / delta) / (n * num_draws))
        assumption = DRAWN.format(num_draws)
    else:
        assumption = EXPECTED.get(definition, ON_SAMPLE)
    terms["confidence"] = _confidence(definition, n, delta, num_draws is not None)
    assumptions = (INDEPENDENT_EXAMPLES, BOUNDED_LOSS, assumption, *((ESTIMATED,) if estimated else ()))
    value = sum(terms[name] for name in terms if name != "empirical_risk") + risk
    return Bound(value, terms, "one", not estimated, assumptions, 1 - delta)


def _confidence(definition: str, n: Array, delta: float, drawn: bool) -> Array:
    if definition != "sign_empirical":
        return jnp.sqrt(math.log(1 / delta) / (2 * n))
    return 3 * jnp.sqrt(math.log((3 if drawn else 2) / delta) / (2 * n))
