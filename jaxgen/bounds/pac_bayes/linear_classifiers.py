r"""PAC-Bayes for linear classifiers with a Gaussian posterior, whose Gibbs risk is a function of the normalized margins."""

import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least
from jaxgen.bounds.pac_bayes.divergence_bounds import pac_bayes_bound


def linear_gibbs_risk(w: Float[ArrayLike, " d"], x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"], mu: Scalar) -> Float[Array, "..."]:
    r"""Error of a linear classifier drawn from $N(\mu \hat w, I)$: $\frac1n \sum_i \bar\Phi\big(\mu \, y_i \frac{\hat w \cdot x_i}{\|x_i\|}\big)$.

    Exact: the projection of a draw on $x_i / \|x_i\|$ is Gaussian of variance 1. At $\mu = 0$ it is one half, and the error of the
    classifier $\hat w$ itself, which is the majority vote, is at most twice it for every $\mu \ge 0$.

    Args:
        w: direction of the mean, of any length but zero.
        x: inputs, none of them zero; append a constant for a bias.
        y: labels, -1 or 1.
        mu: length $\mu \ge 0$ of the mean, of any shape.

    Returns:
        The Gibbs risk on the sample, of the shape of `mu`.

    Raises:
        ValueError: if shapes do not fit, `w` or an input is zero, a label is not -1 or 1, or `mu` < 0.

    Source: Langford and Shawe-Taylor 2003; Germain et al. 2009; GEN-35. Cost: O(n d + n size of `mu`).
    """
    mu, margins = at_least("mu", mu, 0), _normalized_margins(w, x, y)
    return jnp.mean(norm.sf(mu[..., None] * margins), axis=-1)


def linear_margin_certificate(
    w: Float[ArrayLike, " d"], x: Float[ArrayLike, "n d"], y: Float[ArrayLike, " n"], delta: float, mus: Float[ArrayLike, " K"]
) -> Bound:
    r"""The risk of a Gaussian linear classifier, for the best of K lengths of its mean: $\mathrm{kl}^{-1}(\hat L(Q_\mu), \frac{\mu^2/2 + \ell}n)$.

    The prior is $N(0, I)$, so that $D = \mu^2 / 2$, and $\ell = \log(2 \sqrt n / \delta)$: the bound holds for all $\mu$ at once and
    choosing one costs nothing. Twice the value bounds the error of the classifier w itself.

    Args:
        w, x, y: as in `linear_gibbs_risk`; w may have been chosen by looking at the examples.
        delta: probability with which the bound may fail, in (0, 1).
        mus: lengths of the mean to choose from.

    Returns:
        A one-sided `Bound` of terms `"empirical_risk"` and `"penalty"`, as of `pac_bayes_bound`.

    Raises:
        ValueError: as `linear_gibbs_risk` and `pac_bayes_bound`, and if `mus` is no vector or empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> x = jnp.stack([jnp.linspace(-1, 1, 1000), jnp.ones(1000)], axis=1)
        >>> bound = bounds.linear_margin_certificate([1.0, 0.0], x, jnp.sign(x[:, 0]), 0.05, jnp.geomspace(1, 100, 20))
        >>> round(float(bound.value), 3)
        0.136

    Source: Langford and Shawe-Taylor 2003; GEN-35.
    """
    mus = floating("mus", mus)
    require(mus.ndim == 1 and mus.size > 0, f"mus must be a vector, not empty; got shape {mus.shape}")
    found = pac_bayes_bound(linear_gibbs_risk(w, x, y, mus), mus**2 / 2, jnp.shape(x)[0], delta)
    best = jnp.argmin(found.value)
    terms = {name: term[best] for name, term in found.terms.items()}
    return Bound(found.value[best], terms, found.sided, found.certified, found.assumptions, found.confidence)


def _normalized_margins(w: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
    w, x, y = floating("w", w), floating("x", x), floating("y", y)
    require(x.ndim == 2 and x.shape[0] >= 1, f"x must have shape (n, d) with n >= 1; got {x.shape}")
    require(w.shape == x.shape[1:], f"w must have shape {x.shape[1:]}; got {w.shape}")
    require(y.shape == x.shape[:1], f"y must have shape {x.shape[:1]}; got {y.shape}")
    length, lengths = jnp.linalg.norm(w), jnp.linalg.norm(x, axis=1)
    y = checked(
        y, (jnp.abs(y) == 1, "y must hold labels -1 and 1"), (length > 0, "w must not be zero"), (lengths > 0, "every row of x must differ from zero")
    )
    return y * (x @ w) / (length * lengths)
