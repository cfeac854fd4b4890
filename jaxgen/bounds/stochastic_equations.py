r"""Bounds of the stochastic-process view of SGD: the noise of mini-batches itself hides the sample (INFO-35, INFO-36).

Given the sample, a step (or the last state) is taken to be Gaussian, and the information is its mean divergence from the best
Gaussian that does not know the sample.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, choice, floating, require
from jaxgen._core.matrices import eigenvalue_rounding, is_semidefinite, is_symmetric
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS, xu_raginsky

PRIORS = ("full", "isotropic")
OVER_SAMPLES = "Means over samples are expectations over the law of the sample; those over few samples are estimates."


def gaussian_family_information(means: Float[ArrayLike, "M d"], covs: Float[ArrayLike, "M d d"], *, prior: str = "full") -> Float[Array, ""]:
    r"""An upper bound of $I(W; S)$ where $W$ given $S = s$ is $N(m_s, C_s)$: the mean divergence from the best Gaussian prior.

    With $P = \mathrm{Cov}(m_S) + E C_S$ it is $\frac12 (\log |P| - E \log |C_S|)$, the best among all Gaussians, and
    $\frac12 (d \log(\mathrm{tr} P / d) - E \log |C_S|)$ the best among isotropic ones, which is never smaller.

    Args:
        means: m_s of M values of S, equally likely; covariances are over these, divided by M.
        covs: C_s.
        prior: `"full"` or `"isotropic"`.

    Returns:
        The bound in nats.

    Raises:
        ValueError: if shapes do not fit, a covariance is not symmetric positive definite, or `prior` is unknown.

    Source: INFO-35, INFO-36. Cost O(M d^3).

    Example:
        Two points a distance of 4 apart, under noise of variance 1; no information is more than log 2.

        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> print(f"{bounds.gaussian_family_information([[-2.0], [2.0]], jnp.ones((2, 1, 1))):.3f}")
        0.805
    """
    means, covs = floating("means", means), floating("covs", covs)
    require(means.ndim == 2 and means.size > 0, f"means must have shape (M, d), not empty; got {means.shape}")
    shape = (*means.shape, means.shape[1])
    require(covs.shape == shape, f"covs must have shape (M, d, d) = {shape}; got {covs.shape}")
    deviations = means - means.mean(axis=0)
    drift = jnp.einsum("mi,mj->ij", deviations, deviations, precision="highest") / len(means)
    reason = "covs must be symmetric positive definite to working precision"
    return _information(drift[None], covs[None], prior, reason)


def sde_trajectory(
    drift_covariances: Float[ArrayLike, "T d d"],
    noise_covariances: Float[ArrayLike, "T M d d"],
    n: Scalar,
    R: Scalar,
    *,
    prior: str = "full",
) -> Bound:
    r"""The gap of SGD seen as $W_t = W_{t-1} - \lambda_t G_t + \lambda_t C_t^{1/2} N_t$, by the information gained along the way.

    $I(W_T; S) \le \frac12 \sum_t (\log |P_t| - E \log |C_t|)$ with $P_t = E (G_t - c(W_{t-1}))(G_t - c(W_{t-1}))^\top + E C_t$ for any
    function $c$ of the weights alone: the learning rate cancels. The smaller the covariance the better; the best centre is the
    mean gradient given the weights. Then $|gen| \le \sqrt{2 R^2 I / n}$.

    Args:
        drift_covariances: covariance of the full-batch gradient over samples about its centre, of every step.
        noise_covariances: C_t of every step for M samples, that of one mini-batch gradient
            (`gradients.noise_covariance(..., batch_size=b, replacement=False)`), or (T, d, d) if it is the same for all.
        n: number of training examples.
        R: sub-Gaussian constant of the evaluation loss.
        prior: `"full"`, or `"isotropic"` for the best prior of covariance $(\mathrm{tr} P_t / d) I$.

    Returns:
        A two-sided `Bound` with the one term `"trajectory"`.

    Raises:
        ValueError: if shapes do not fit, some drift covariance is not positive semidefinite or some noise covariance not positive
            definite, `prior` is unknown, `n` < 1 or `R` < 0.
            Mini-batch noise of n examples has at most n - 1 directions: with d >= n, restrict the weights to a subspace or
            add noise of your own.

    Source: after Wang and Mao 2024, "Two Facets of SDE Under an Information-Theoretic Lens"; INFO-35. Cost O(T M d^3).
    """
    drift, noise = floating("drift_covariances", drift_covariances), floating("noise_covariances", noise_covariances)
    require(
        drift.ndim == 3 and drift.shape[1] == drift.shape[2] and drift.size > 0, f"drift_covariances must have shape (T, d, d); got {drift.shape}"
    )
    noise = noise[:, None] if noise.ndim == 3 else noise
    fits = noise.ndim == 4 and noise.size > 0 and (noise.shape[0], *noise.shape[2:]) == drift.shape
    require(fits, f"noise_covariances must have shape (T, M, d, d) or (T, d, d) with (T, d, d) = {drift.shape}; got {jnp.shape(noise_covariances)}")
    reason = (
        f"noise_covariances must be symmetric positive definite to working precision; here d = {drift.shape[1]}, n = {n}, and mini-batches of n "
        "examples make noise in at most n - 1 directions: restrict the weights to a subspace or add a ridge of noise"
    )
    drift = checked(drift, (is_symmetric(drift) & is_semidefinite(drift), "drift_covariances must be symmetric positive semidefinite"))
    bound = xu_raginsky(_information(drift, noise, prior, reason), n, R)
    process = "The weights follow W_t = W_{t-1} - lambda_t G_t + lambda_t C_t^{1/2} N_t with Gaussian N_t; the covariances are those of this process."
    return Bound(bound.value, {"trajectory": bound.value}, assumptions=(INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS, process, OVER_SAMPLES))


def terminal_state(
    minimizers: Float[ArrayLike, "M d"], covariances: Float[ArrayLike, "M d d"], n: Scalar, R: Scalar, *, prior: str = "full"
) -> Bound:
    r"""The gap of SGD that has settled around a minimum: $W_T$ given $S$ is $N(w^*_S, \Lambda_S)$.

    $I(W_T; S) \le \frac12 (\log |\mathrm{Cov}(w^*_S) + E \Lambda_S| - E \log |\Lambda_S|)$, and $|gen| \le \sqrt{2 R^2 I / n}$.

    Args:
        minimizers: w*_S of M training sets.
        covariances: their Lambda_S, for instance by `processes.stationary_covariance`.
        n: number of training examples.
        R: sub-Gaussian constant of the evaluation loss.
        prior: as in `gaussian_family_information`.

    Returns:
        A two-sided `Bound` with the one term `"terminal"`.

    Raises:
        ValueError: if shapes do not fit, a covariance is not symmetric positive definite, `prior` is unknown, `n` < 1 or `R` < 0.

    Source: after Wang and Mao 2024; stationary laws of Mandt, Hoffman and Blei 2017; INFO-36. Cost O(M d^3).
    """
    bound = xu_raginsky(gaussian_family_information(minimizers, covariances, prior=prior), n, R)
    settled = (
        "Given the sample, the last weights are Gaussian about its minimum with the covariance given: exact for quadratic losses and constant noise."
    )
    return Bound(bound.value, {"terminal": bound.value}, assumptions=(INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS, settled, OVER_SAMPLES))


def _information(drift: Array, noise: Array, prior: str, reason: str) -> Array:
    """Half the sum over steps of log |P| - E log |C|; drift (T, d, d), noise (T, M, d, d)."""
    choice("prior", prior, PRIORS)
    d = drift.shape[-1]
    whole = drift + noise.mean(axis=1)
    known, regular = _log_determinants(noise)
    if prior == "full":
        spread, spread_regular = _log_determinants(whole)
        regular = regular.all() & spread_regular.all()
    else:
        spread = d * jnp.log(jnp.trace(whole, axis1=-2, axis2=-1) / d)
    return checked(jnp.sum(spread - known.mean(axis=1)) / 2, (regular, reason))


def _log_determinants(matrices: Array) -> tuple[Array, Array]:
    """Logarithms of determinants, and whether matrices are symmetric and positive definite to working precision."""
    values = jnp.linalg.eigvalsh(matrices)
    positive = values[..., 0] > eigenvalue_rounding(values)
    return jnp.sum(jnp.log(jnp.where(values > 0, values, 1)), axis=-1), is_symmetric(matrices) & positive
