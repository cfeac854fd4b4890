r"""The posterior of an algorithm: the law of gradient descent on a quadratic from a Gaussian initialization."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, ArrayLike, Float, Int

from jaxgen import optimization
from jaxgen._core.checks import checked, floating, require
from jaxgen._core.matrices import is_symmetric


def gd_gaussian_posterior(
    H: Float[ArrayLike, "d d"],
    b: Float[ArrayLike, " d"],
    learning_rate: Float[ArrayLike, ""],
    num_steps: Int[ArrayLike, ""],
    prior_mean: Float[ArrayLike, "*d"] = 0.0,
    prior_cov: Float[ArrayLike, "*shape"] = 1.0,
) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    r"""Mean and covariance of gradient descent on $\frac12 w^\top H w - b^\top w$ from $w_0 \sim N(m, \Sigma)$.

    With $A = (I - \eta H)^T$ the law after T steps is $N(A m + \sum_{t < T} (I - \eta H)^t \eta b, \, A \Sigma A)$. Nothing is stepped
    through: the powers are those of the eigenvalues of H.

    Args:
        H: symmetric positive semidefinite, $X^\top X / n$ for half the mean squared error.
        b: linear part, $X^\top y / n$ there.
        learning_rate: $\eta > 0$.
        num_steps: $T \ge 0$; may be traced.
        prior_mean: m, `(d,)` or one value for all coordinates.
        prior_cov: $\Sigma$, positive definite: `(d, d)`, variances `(d,)`, or one variance.

    Returns:
        `(mean, cov)` of the weights after T steps.

    Raises:
        ValueError: if shapes do not fit, `H` is not symmetric positive semidefinite, `prior_cov` is not symmetric positive
            definite, `learning_rate` is not positive, or `num_steps` is not a whole number of at least 0.

    Source: Arora et al., Theory of Deep Learning, Example 5.6.2; the Gaussian case is derived; GEN-24. Cost: O(d^3).
    """
    law = _law(H, b, learning_rate, num_steps, prior_mean, prior_cov)
    spread = law.vectors * law.residual @ (law.vectors.T @ law.factor)
    return law.mean, spread @ spread.T


def gd_gaussian_kl(
    H: Float[ArrayLike, "d d"],
    b: Float[ArrayLike, " d"],
    learning_rate: Float[ArrayLike, ""],
    num_steps: Int[ArrayLike, ""],
    prior_mean: Float[ArrayLike, "*d"] = 0.0,
    prior_cov: Float[ArrayLike, "*shape"] = 1.0,
) -> Float[Array, ""]:
    r"""Divergence of the law of gradient descent after T steps from that of its initialization, which grows linearly in T.

    $D = \frac12 \big[\operatorname{tr}(\Sigma^{-1} A \Sigma A) + \|\Sigma^{-1/2} (m_T - m)\|^2 - d\big] - T \sum_i \log |1 - \eta \lambda_i|$.

    The law is absolutely continuous with respect to that of the initialization if and only if no step annihilates a
    direction; D is infinite where $\eta \lambda_i = 1$, as it is for an initialization that is not random. So longer training is
    worse for a PAC-Bayes bound of this posterior, however well it generalizes.

    Args:
        H, b, learning_rate, num_steps, prior_mean, prior_cov: as in `gd_gaussian_posterior`.

    Returns:
        Nats; exact in the logarithm of the determinant, also where the covariance would underflow.

    Raises:
        ValueError: as `gd_gaussian_posterior`.

    Source: GEN-24. Cost: O(d^3).
    """
    law = _law(H, b, learning_rate, num_steps, prior_mean, prior_cov)
    whitened = solve_triangular(law.factor, law.vectors * law.residual @ (law.vectors.T @ law.factor), lower=True)
    shift = solve_triangular(law.factor, law.mean - law.prior_mean, lower=True)
    return (jnp.vdot(whitened, whitened) + jnp.vdot(shift, shift) - law.mean.size) / 2 - law.log_residual.sum()


class _Law(NamedTuple):
    """The law after training: its mean, the filter in the eigenbasis of H, and the factor of the initial covariance."""

    mean: Array
    residual: Array
    log_residual: Array
    vectors: Array
    prior_mean: Array
    factor: Array


def _law(H: ArrayLike, b: ArrayLike, learning_rate: ArrayLike, num_steps: ArrayLike, prior_mean: ArrayLike, prior_cov: ArrayLike) -> _Law:
    spectrum = optimization.kernel_spectrum(floating("H", H), name="H")
    require(jnp.ndim(num_steps) == 0, f"num_steps must be a scalar; got shape {jnp.shape(num_steps)}")
    found = optimization.gradient_descent_filter(spectrum.eigenvalues, learning_rate, num_steps)
    d = spectrum.eigenvalues.size
    b, mean = floating("b", b), floating("prior_mean", prior_mean)
    require(b.shape == (d,), f"b must have shape ({d},); got {b.shape}")
    require(mean.shape in ((), (d,)), f"prior_mean must have shape ({d},) or (); got {mean.shape}")
    mean = jnp.broadcast_to(mean, (d,))
    vectors, factor = spectrum.eigenvectors, _factor(prior_cov, d)
    after = vectors @ (found.residual * (vectors.T @ mean) + found.gain * (vectors.T @ b))
    rates = learning_rate * spectrum.eigenvalues
    per_step = jnp.where(rates < 1, jnp.log1p(-jnp.minimum(rates, 1)), jnp.log(jnp.abs(rates - 1)))
    log_residual = jnp.where(jnp.equal(num_steps, 0), 0.0, num_steps * per_step)
    return _Law(after, found.residual, log_residual, vectors, mean, factor)


def _factor(cov: ArrayLike, d: int) -> Array:
    """Cholesky factor of a covariance given as a matrix, as variances or as one variance."""
    cov = floating("prior_cov", cov)
    require(cov.shape in ((), (d,), (d, d)), f"prior_cov must have shape ({d}, {d}), ({d},) or (); got {cov.shape}")
    matrix = cov if cov.ndim == 2 else jnp.diag(jnp.broadcast_to(cov, (d,)))
    factor = jnp.linalg.cholesky(matrix)
    return checked(factor, (is_symmetric(matrix) & jnp.all(jnp.isfinite(factor)), "prior_cov must be symmetric positive definite"))
