r"""PAC-Bayes bounds: the risk of a randomized classifier by its empirical risk and its divergence from a prior.

A prior P is fixed before the sample; a posterior Q may be anything that depends on it. With probability at least
$1 - \delta$ over the sample the risk $L(Q) = E_{h \sim Q} L(h)$ is bounded for all Q at once by $\hat L(Q)$, $D(Q \| P)$ and n.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, choice, floating, positive_integer, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least, failure_probability, positive, unit_interval
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES
from jaxgen.bounds.pac_bayes._forms import at_lambda, best_lambda, catoni, checked_lambda, maurer, quadratic, rate_of_roots
from jaxgen.bounds.pac_bayes.binary_kl import binary_kl_inverse, kl_moment

BOUNDED_LOSS = "The loss takes values in [0, 1]."
FIXED_PRIOR = "The prior does not depend on the n examples, on which emp_risk is the exact mean loss under the posterior."
FIXED_CONSTANT = "The constant {} was fixed before the n examples were seen."
FIXED_GRID = "Prior and constant are one of {} choices that were fixed before the n examples were seen, and are paid for."

KINDS = ("mcallester", "sharp", "simple", "maurer", "linear", "kl", "kl_exact_xi", "langford_seeger", "catoni", "quadratic", "lambda")

Form = Callable[[Array, Array, Array, float], Array]


def pac_bayes_bound(
    emp_risk: Scalar,
    kl: Scalar,
    n: Scalar,
    delta: float,
    *,
    kind: str = "kl",
    lam: Scalar | None = None,
    C: Scalar | None = None,
    num_choices: int = 1,
) -> Bound:
    r"""The risk of a randomized classifier, with probability at least $1 - \delta$ over the sample and for all posteriors at once.

    With $\hat L$ the empirical risk, D the divergence (plus log `num_choices`), $\ell = \log(2 \sqrt n / \delta)$, $a = (D + \ell) / n$:

    - `"mcallester"`: $\hat L + \sqrt{(D + \log(2 n / \delta)) / (2 (n - 1))}$, and `"sharp"` with $\log(\sqrt n / \delta)$;
    - `"simple"`: $\hat L + \sqrt{2 (D + \log(2 / \delta)) / n}$;
    - `"maurer"`: $\hat L + \sqrt{a / 2}$;
    - `"kl"`: $\mathrm{kl}^{-1}(\hat L, a)$; `"kl_exact_xi"` and `"langford_seeger"` the same with $\xi(n)$ and $n + 1$ for $2 \sqrt n$;
    - `"quadratic"`: $(\sqrt{\hat L + a/2} + \sqrt{a/2})^2$;
    - `"lambda"`: $\frac{\hat L}{1 - \lambda/2} + \frac a{\lambda (1 - \lambda/2)}$ for all $\lambda$ in (0, 2) at once, so that it may be
      chosen after the sample; the best one, which gives `"quadratic"`, where it is not given;
    - `"linear"`: $\hat L + (D + \log(1/\delta)) / \lambda + \lambda / (8 n)$ for a $\lambda$ fixed before the sample;
    - `"catoni"`: $(1 - e^{-C \hat L - (D + \log(1/\delta)) / n}) / (1 - e^{-C})$ for a C fixed before the sample (`catoni_constant`).

    Arguments are elementwise. `"kl"` is never above `"maurer"` and `"quadratic"`.

    Args:
        emp_risk: $\hat L(Q)$, mean loss of the posterior on the n examples, in [0, 1].
        kl: $D(Q \| P)$ in nats, at least 0; may be infinite.
        n: number of examples that the prior did not see, at least 2.
        delta: probability with which the bound may fail, a number in (0, 1).
        kind: which bound.
        lam: $\lambda$ of `"linear"` (> 0, needed) and of `"lambda"` (in (0, 2)).
        C: C > 0 of `"catoni"`, needed.
        num_choices: number of priors, or of constants, or of pairs of them, from which the one used was picked by looking at
            the examples; a union bound adds its logarithm to `kl`.

    Returns:
        A one-sided `Bound` on the risk, not clipped, of terms `"empirical_risk"` and `"penalty"`, the difference.

    Raises:
        ValueError: if a value is out of its range, `kind` is unknown, its constant is missing, or a constant is given that it has
            not.
        TypeError: if `delta` is traced.

    Example:
        A posterior 500 nats from its prior, with 5 percent of error on 10,000 examples:

        >>> from jaxgen import bounds
        >>> round(float(bounds.pac_bayes_bound(0.05, 500.0, 10_000, 0.05).value), 4)
        0.1501
        >>> round(float(bounds.pac_bayes_bound(0.05, 500.0, 10_000, 0.05, kind="maurer").value), 4)
        0.2094

    Source: McAllester 1999; Maurer 2004; Langford and Seeger 2001; Catoni 2007; Thiemann et al. 2017; Alquier et al. 2016; Arora et al.,
    Theory of Deep Learning, Theorem 5.6.1 (`"simple"` with the variance proxy 1/4 in its proof); GEN-23, GEN-26 to GEN-30.
    """
    choice("kind", kind, KINDS)
    require(C is None or kind == "catoni", f"C is the constant of kind 'catoni'; kind is {kind!r}")
    require(lam is None or kind in ("linear", "lambda"), f"lam is the constant of kinds 'linear' and 'lambda'; kind is {kind!r}")
    delta, choices = failure_probability(delta), positive_integer("num_choices", num_choices)
    risk, n = unit_interval("emp_risk", emp_risk), at_least("n", n, 2)
    divergence = at_least("kl", kl, 0) + math.log(choices)
    value = _form(kind, lam, C)(risk, divergence, n, delta)
    assumptions = [INDEPENDENT_EXAMPLES, BOUNDED_LOSS, FIXED_PRIOR]
    if choices > 1:
        assumptions.append(FIXED_GRID.format(choices))
    elif kind in ("linear", "catoni"):
        assumptions.append(FIXED_CONSTANT.format("lam" if kind == "linear" else "C"))
    risk = jnp.broadcast_to(risk, value.shape)
    return Bound(value, {"empirical_risk": risk, "penalty": value - risk}, sided="one", assumptions=tuple(assumptions), confidence=1 - delta)


def catoni_grid(emp_risk: Scalar, kl: Scalar, n: Scalar, delta: float, constants: Float[ArrayLike, " K"]) -> Bound:
    r"""The smallest of K of Catoni's bounds, at the price of $\log K$: the constant may then be chosen by looking at the sample.

    Args:
        emp_risk, kl, n, delta: as in `pac_bayes_bound`.
        constants: K positive constants that were fixed before the sample.

    Returns:
        A `Bound` as of `pac_bayes_bound`.

    Raises:
        ValueError: as `pac_bayes_bound`, and if `constants` is no vector of positive values.

    Source: Catoni 2007; GEN-29.
    """
    constants = floating("constants", constants)
    require(constants.ndim == 1 and constants.size > 0, f"constants must be a vector, not empty; got shape {constants.shape}")
    risk, kl, n = (floating(name, value)[..., None] for name, value in (("emp_risk", emp_risk), ("kl", kl), ("n", n)))
    bound = pac_bayes_bound(risk, kl, n, delta, kind="catoni", C=positive("constants", constants), num_choices=constants.size)
    value = bound.value.min(axis=-1)
    terms = {"empirical_risk": bound.terms["empirical_risk"][..., 0], "penalty": bound.terms["penalty"].min(axis=-1)}
    return Bound(value, terms, bound.sided, bound.certified, bound.assumptions, bound.confidence)


def catoni_constant(guess: Scalar, n: Scalar, delta: float, *, num_choices: int = 1) -> Float[Array, "..."]:
    r"""The constant with which Catoni's bound is smallest at a guessed risk and one nat: $C = \operatorname{logit} p - \operatorname{logit} q$.

    With q the guess, $p = \mathrm{kl}^{-1}(q, (1 + \log(K / \delta)) / n)$, K = `num_choices`. Any C > 0 gives a valid bound if it was fixed
    before the sample was seen, so the guess must come from elsewhere; the bound depends little on it.

    Args:
        guess: guess q of the empirical risk, in (0, 1).
        n, delta, num_choices: as in `pac_bayes_bound`.

    Returns:
        C, of the broadcast shape.

    Raises:
        ValueError: if a value is out of its range, or `n` so small for the guess that p is 1 to rounding.

    Example:
        >>> from jaxgen import bounds
        >>> constant = bounds.catoni_constant(0.005, 30_000, 0.05)
        >>> round(float(constant), 3)
        0.223
        >>> round(float(bounds.pac_bayes_bound(0.00525, 0.12, 30_000, 0.05, kind="catoni", C=constant).value), 4)
        0.0064

    Source: the minimum over C is the inverse of the relative entropy (Germain et al. 2009); GEN-29.
    """
    q, n = unit_interval("guess", guess, ends=False), at_least("n", n, 2)
    choices = positive_integer("num_choices", num_choices)
    p = binary_kl_inverse(q, (1 + math.log(choices / failure_probability(delta))) / n)
    p = checked(p, (p < 1, "guess is so large for n that its bound is 1; guess a smaller risk"))
    return jnp.log(p / q) - jnp.log1p(-p) + jnp.log1p(-q)


def optimal_lambda(emp_risk: Scalar, kl: Scalar, n: Scalar, delta: float) -> Float[Array, "..."]:
    r"""The $\lambda$ of the smallest `"lambda"` bound: $2 / (\sqrt{2 \hat L / a + 1} + 1)$, $a = \frac1n (D + \log(2 \sqrt n / \delta))$.

    Args:
        emp_risk, kl, n, delta: as in `pac_bayes_bound`.

    Returns:
        $\lambda^*$ in (0, 1]; 1 where there is no error.

    Raises:
        ValueError: if a value is out of its range.

    Source: Thiemann et al. 2017; GEN-30.
    """
    risk, n = unit_interval("emp_risk", emp_risk), at_least("n", n, 2)
    return best_lambda(risk, rate_of_roots(at_least("kl", kl, 0), n, failure_probability(delta)))


def _form(kind: str, lam: ArrayLike | None, C: ArrayLike | None) -> Form:
    """The bound as a function of empirical risk, divergence, n and delta."""
    if kind == "linear":
        if lam is None:
            raise ValueError("kind='linear' needs lam, which is fixed before the sample; got None")
        linear = positive("lam", lam)
        return lambda risk, kl, n, delta: risk + (kl - math.log(delta)) / linear + linear / (8 * n)
    if kind == "catoni":
        if C is None:
            raise ValueError("kind='catoni' needs C, which is fixed before the sample (see catoni_constant); got None")
        constant = positive("C", C)
        return lambda risk, kl, n, delta: catoni(risk, (kl - math.log(delta)) / n, constant)
    if kind == "lambda" and lam is not None:
        fixed = checked_lambda(lam)
        return lambda risk, kl, n, delta: at_lambda(risk, rate_of_roots(kl, n, delta), fixed)
    return FORMS[kind]


FORMS: dict[str, Form] = {
    "mcallester": lambda risk, kl, n, delta: risk + jnp.sqrt((kl + jnp.log(2 * n / delta)) / (2 * (n - 1))),
    "sharp": lambda risk, kl, n, delta: risk + jnp.sqrt((kl + jnp.log(jnp.sqrt(n) / delta)) / (2 * (n - 1))),
    "simple": lambda risk, kl, n, delta: risk + jnp.sqrt(2 * (kl + math.log(2 / delta)) / n),
    "maurer": lambda risk, kl, n, delta: maurer(risk, rate_of_roots(kl, n, delta)),
    "kl": lambda risk, kl, n, delta: binary_kl_inverse(risk, rate_of_roots(kl, n, delta)),
    "kl_exact_xi": lambda risk, kl, n, delta: binary_kl_inverse(risk, (kl + jnp.log(kl_moment(n) / delta)) / n),
    "langford_seeger": lambda risk, kl, n, delta: binary_kl_inverse(risk, (kl + jnp.log((n + 1) / delta)) / n),
    "quadratic": lambda risk, kl, n, delta: quadratic(risk, rate_of_roots(kl, n, delta)),
    "lambda": lambda risk, kl, n, delta: quadratic(risk, rate_of_roots(kl, n, delta)),
}
