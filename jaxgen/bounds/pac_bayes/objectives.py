r"""PAC-Bayes bounds as training objectives, and a cross-entropy with values in [0, 1]."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from jaxgen._core.checks import checked, choice, floating, require
from jaxgen.bounds._inputs import Scalar, at_least, failure_probability, positive, unit_interval
from jaxgen.bounds.pac_bayes._forms import at_lambda, best_lambda, catoni, checked_lambda, maurer, quadratic, rate_of_roots
from jaxgen.bounds.pac_bayes.binary_kl import binary_kl_inverse

KINDS = ("classic", "quadratic", "lambda", "kl", "catoni", "bbb")


def pac_bayes_objective(
    kind: str, emp_risk: Scalar, kl: Scalar, n: Scalar, delta: float, *, lam: Scalar | None = None, kl_weight: Scalar = 1.0
) -> Float[Array, "..."]:
    r"""What a stochastic net is trained by: a PAC-Bayes bound as a differentiable function of empirical risk and divergence.

    With $a = (\kappa D + \log(2 \sqrt n / \delta)) / n$, where $\kappa$ is `kl_weight`:

    - `"classic"`: $\hat L + \sqrt{a / 2}$;
    - `"quadratic"`: $(\sqrt{\hat L + a/2} + \sqrt{a/2})^2$;
    - `"lambda"`: $\frac{\hat L}{1 - \lambda/2} + \frac a{\lambda (1 - \lambda/2)}$, at the best $\lambda$ where none is given;
    - `"kl"`: $\mathrm{kl}^{-1}(\hat L, a)$;
    - `"catoni"`: $(1 - e^{-C \hat L - (\kappa D + \log(1/\delta)) / n}) / (1 - e^{-C})$ with C = `lam`;
    - `"bbb"`: $\hat L + \kappa D / n$, which is no bound.

    The others are bounds of `pac_bayes_bound` at $\kappa = 1$, if `emp_risk` is the exact mean of a loss in [0, 1]. Values of a
    surrogate loss, or of a few draws, are for training; certify the result.

    Args:
        kind: which objective.
        emp_risk: $\hat L(Q)$ in [0, 1]; see `bounded_cross_entropy`.
        kl: $D(Q \| P)$ in nats.
        n: number of examples of the bound that is aimed at, at least 2; not the batch size.
        delta: probability with which that bound may fail, in (0, 1).
        lam: $\lambda$ in (0, 2) of `"lambda"`, or C > 0 of `"catoni"`, which needs it.
        kl_weight: $\kappa \ge 0$.

    Returns:
        The objective, of the broadcast shape.

    Raises:
        ValueError: if a value is out of its range, `kind` is unknown, or `lam` is missing or not of this kind.
        TypeError: if `delta` is traced.

    Source: Thiemann et al. 2017; Rivasplata et al. 2019; Pérez-Ortiz et al. 2021; GEN-30.
    """
    choice("kind", kind, KINDS)
    require(lam is None or kind in ("lambda", "catoni"), f"lam is the constant of kinds 'lambda' and 'catoni'; kind is {kind!r}")
    delta = failure_probability(delta)
    risk, n = unit_interval("emp_risk", emp_risk), at_least("n", n, 2)
    divergence = at_least("kl_weight", kl_weight, 0) * at_least("kl", kl, 0)
    rate = rate_of_roots(divergence, n, delta)
    match kind:
        case "classic":
            return maurer(risk, rate)
        case "quadratic":
            return quadratic(risk, rate)
        case "lambda":
            fixed = jax.lax.stop_gradient(best_lambda(risk, rate)) if lam is None else checked_lambda(lam)
            return at_lambda(risk, rate, fixed)
        case "kl":
            return binary_kl_inverse(risk, rate)
        case "bbb":
            return risk + divergence / n
    if lam is None:
        raise ValueError("kind='catoni' needs lam, the constant C (see catoni_constant); got None")
    return catoni(risk, (divergence - math.log(delta)) / n, positive("lam", lam))


def bounded_cross_entropy(logits: Float[ArrayLike, "n C"], labels: Int[ArrayLike, " n"], p_min: float = 1e-4) -> Float[Array, " n"]:
    r"""Cross-entropy with values in [0, 1]: $\ell = -\log \max(p_y, p_{min}) / \log(1 / p_{min})$.

    Args:
        logits: one row an example.
        labels: its class, an integer in [0, C).
        p_min: smallest probability that is told from zero, in (0, 1). Below it the gradient vanishes.

    Returns:
        One loss an example.

    Raises:
        ValueError: if the shapes do not fit, `labels` are not integers in range, or `p_min` is outside (0, 1).

    Source: Dziugaite and Roy 2018; Pérez-Ortiz et al. 2021; GEN-30.
    """
    logits, labels = floating("logits", logits), jnp.asarray(labels)
    require(logits.ndim == 2, f"logits must have shape (n, C); got {logits.shape}")
    require(labels.shape == logits.shape[:1], f"labels must have shape {logits.shape[:1]}; got {labels.shape}")
    require(bool(jnp.issubdtype(labels.dtype, jnp.integer)), f"labels must be integers; got dtype {labels.dtype}")
    lowest = jnp.log(unit_interval("p_min", p_min, ends=False).astype(logits.dtype))
    in_range = (labels >= 0) & (labels < logits.shape[1])
    logits = checked(logits, (in_range, f"labels must be in [0, {logits.shape[1]})"))
    log_probability = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]
    return jnp.maximum(log_probability, lowest) / lowest
