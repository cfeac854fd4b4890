r"""The change of measure behind PAC-Bayes on finite sets of hypotheses: divergence, Gibbs posteriors, the variational gap."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen import information
from jaxgen._core.checks import checked, floating, require


def discrete_kl(q: Float[ArrayLike, " N"], p: Float[ArrayLike, " N"]) -> Float[Array, ""]:
    r"""Divergence of a posterior from a prior over N hypotheses: $D(Q \| P) = \sum_h q_h \log \frac{q_h}{p_h}$.

    For the uniform prior it is $\log N - H(Q)$, so that $\log N$ is the price of a single hypothesis, as in a union bound.

    Args:
        q: probabilities of the posterior; all mass on the chosen hypothesis for a deterministic one.
        p: probabilities of the prior.

    Returns:
        Nats; `inf` where Q has mass on a hypothesis that P excludes.

    Raises:
        ValueError: if shapes differ, or one of them is not a vector of probabilities of sum 1.

    Example:
        >>> from jaxgen import bounds
        >>> round(float(bounds.discrete_kl([1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25])), 4)
        1.3863

    Source: GEN-25.
    """
    return information.kl_divergence(_vector("q", q), _vector("p", p))


def gibbs_posterior(prior: Float[ArrayLike, " N"], values: Float[ArrayLike, " N"]) -> Float[Array, " N"]:
    r"""The law $Q \propto P e^v$, which maximizes $E_Q v - D(Q \| P)$; with $v = -\lambda \hat L$ it minimizes $E_Q \hat L + D / \lambda$.

    Args:
        prior: probabilities of P.
        values: v, one a hypothesis; `-inf` excludes it.

    Returns:
        Probabilities of Q.

    Raises:
        ValueError: if shapes differ, `prior` is not a vector of probabilities of sum 1, or no value is finite where P has mass.

    Source: Alquier 2024, section 1.2; GEN-26, GEN-27.
    """
    prior = _probabilities("prior", prior)
    weights = _tilted(prior, _values(values, prior))
    found = jnp.any(jnp.isfinite(weights))
    return checked(jax.nn.softmax(weights), (found, "values must be finite on a hypothesis that prior allows"))


def donsker_varadhan_gap(q: Float[ArrayLike, " N"], p: Float[ArrayLike, " N"], values: Float[ArrayLike, " N"]) -> Float[Array, ""]:
    r"""What is lost by changing the measure: $\log E_P e^v - (E_Q v - D(Q \| P)) \ge 0$.

    Equal to $D(Q \| Q_v)$ of the `gibbs_posterior` $Q_v \propto P e^v$, hence zero at Q = Q_v alone.

    Args:
        q: probabilities of Q.
        p: probabilities of P.
        values: v, finite, one a hypothesis.

    Returns:
        Nats; `inf` where Q has mass and P has none.

    Raises:
        ValueError: if shapes differ, a law is not a vector of probabilities of sum 1, or a value is not finite.

    Source: Donsker and Varadhan 1983; Arora et al., Theory of Deep Learning, equation (5.9); GEN-26.
    """
    q, p = _probabilities("q", q), _probabilities("p", p)
    values = _values(values, p)
    values = checked(values, (jnp.isfinite(values), "values must be finite"))
    return jax.nn.logsumexp(_tilted(p, values)) - jnp.vdot(q, values) + discrete_kl(q, p)


def _tilted(prior: Array, values: Array) -> Array:
    allowed = prior > 0
    return jnp.where(allowed, jnp.log(jnp.where(allowed, prior, 1.0)) + jnp.where(allowed, values, 0.0), -jnp.inf)


def _vector(name: str, p: ArrayLike) -> Array:
    p = floating(name, p)
    require(p.ndim == 1 and p.size > 0, f"{name} must be a vector, one probability a hypothesis; got shape {p.shape}")
    return p


def _probabilities(name: str, p: ArrayLike) -> Array:
    p = _vector(name, p)
    tolerance = max(1e-6, p.size**0.5 * float(jnp.finfo(p.dtype).eps))
    sums_to_one = jnp.abs(p.sum() - 1) <= tolerance
    return checked(p, (jnp.all(p >= 0), f"{name} must hold probabilities, neither negative nor NaN"), (sums_to_one, f"{name} must sum to one"))


def _values(values: ArrayLike, p: Array) -> Array:
    values = floating("values", values)
    require(values.shape == p.shape, f"values must have one entry a hypothesis, shape {p.shape}; got {values.shape}")
    return values
