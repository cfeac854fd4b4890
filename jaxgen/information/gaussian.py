"""Closed forms for Gaussian laws, by Cholesky factors (INFO-2, INFO-3, INFO-4, INFO-7, INFO-21).

Covariances are full `(d, d)`, diagonal `(d,)` (variances, never a d x d matrix in memory) or one variance for every
coordinate, `()`. A full covariance counts as positive definite when its correlation matrix R is so to working precision,
4 eps sqrt(d) |R^-1|_1 < 1. All values are in nats. A value carries an error of about eps / (1 - r^2) for every coordinate
of multiple correlation r with the others: in float32 some 1e-6 for moderate correlations, and little is left beyond
r = 1 - 1e-6, where float64 is called for.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, choice, floating, positive_integer, require
from jaxgen._core.matrices import is_symmetric

FORMS = ("logdet", "log", "linear")


def gaussian_entropy(cov: Float[ArrayLike, "*shape"]) -> Float[Array, ""]:
    """Differential entropy of a Gaussian, h(N(m, cov)) = 1/2 log((2 pi e)^d |cov|).

    The largest among all laws of that covariance. It may be negative.

    Args:
        cov: covariance, `(d, d)`, diagonal `(d,)`, or a variance `()` with d = 1.

    Returns:
        h in nats.

    Raises:
        ValueError: if `cov` is no covariance: not square, not symmetric positive definite.

    Source: Cover and Thomas, Theorems 8.4.1 and 8.6.5; INFO-1, INFO-7. Cost O(d^3), O(d) if diagonal.

    Example:
        >>> from jaxgen import information
        >>> round(float(information.gaussian_entropy(1.0)), 4)
        1.4189
    """
    cov = _covariance("cov", cov)
    scale = _factor(cov)
    return checked(_entropy(scale), _positive_definite("cov", scale))


def gaussian_kl(
    mean0: Float[ArrayLike, "*d"], cov0: Float[ArrayLike, "*shape0"], mean1: Float[ArrayLike, "*d"], cov1: Float[ArrayLike, "*shape1"]
) -> Float[Array, ""]:
    """Relative entropy D(N0||N1) = 1/2 [tr(S1^-1 S0) + (m1 - m0)^T S1^-1 (m1 - m0) - d + log |S1|/|S0|].

    With M = L1^-1 L0, the L of the Cholesky factors, it is computed as a sum of terms that are never negative:
    1/2 [sum_i (M_ii^2 - 1 - log M_ii^2) + sum_{i>j} M_ij^2 + |L1^-1 (m1 - m0)|^2].

    Args:
        mean0: mean of the law that is averaged over, `(d,)`, or `()` for one value in all coordinates.
        cov0: its covariance, `(d, d)`, `(d,)` or `()`.
        mean1: mean of the reference law, as `mean0`.
        cov1: its covariance, as `cov0`. If every argument is a scalar, d = 1.

    Returns:
        D(N0||N1) in nats.

    Raises:
        ValueError: if dimensions disagree, a mean is not finite, or a covariance is not symmetric positive definite.

    Source: INFO-2, INFO-7. Cost O(d^3), O(d) if both covariances are diagonal.

    Example:
        >>> from jaxgen import information
        >>> round(float(information.gaussian_kl(0.0, 1.0, 1.0, 2.0)), 4)
        0.3466
    """
    mean0, mean1 = _mean("mean0", mean0), _mean("mean1", mean1)
    cov0, cov1 = _covariance("cov0", cov0), _covariance("cov1", cov1)
    dimension = _dimension(mean0=mean0, cov0=cov0, mean1=mean1, cov1=cov1)
    scale0, scale1 = _factor(cov0), _factor(cov1)
    return checked(
        _kl(mean0, scale0, mean1, scale1, dimension),
        (_all_finite(mean0), "mean0 must be finite"),
        (_all_finite(mean1), "mean1 must be finite"),
        _positive_definite("cov0", scale0),
        _positive_definite("cov1", scale1),
    )


def golden_bound(
    means: Float[ArrayLike, "K d"], covs: Float[ArrayLike, "*shape"], mean_q: Float[ArrayLike, "*d"], cov_q: Float[ArrayLike, "*shape_q"]
) -> Float[Array, ""]:
    """Upper bound on I(X;Y) by the golden formula: E_Y D(P_{X|Y}||Q) = I(X;Y) + D(P_X||Q) for every prior Q.

    Here Y is uniform on K values, P_{X|Y=k} = N(means_k, covs_k) and Q = N(mean_q, cov_q).

    Args:
        means: one mean per value of Y, `(K, d)`.
        covs: covariances, `(K, d, d)`, diagonal `(K, d)`, a variance each `(K,)`, or one variance for all `()`.
        mean_q: mean of the prior, `(d,)` or `()`.
        cov_q: covariance of the prior, `(d, d)`, `(d,)` or `()`.

    Returns:
        The mean divergence in nats, at least I(X;Y).

    Raises:
        ValueError: if shapes disagree, a mean is not finite, or a covariance is not symmetric positive definite.

    Source: Polyanskiy and Wu, section 4.1; INFO-3. Cost O(K d^3), O(K d) if diagonal.
    """
    means, covs = floating("means", means), floating("covs", covs)
    mean_q, cov_q = _mean("mean_q", mean_q), _covariance("cov_q", cov_q)
    require(means.ndim == 2 and means.size > 0, f"means must have shape (K, d), not empty; got {means.shape}")
    count, dimension = means.shape
    shapes = [(), (count,), (count, dimension), (count, dimension, dimension)]
    require(covs.shape in shapes, f"covs must have one of the shapes {shapes}; got {covs.shape}")
    _dimension(means=means[0], mean_q=mean_q, cov_q=cov_q)
    scales = _factor(covs) if covs.ndim == 0 else jax.vmap(_factor)(covs)
    scale_q = _factor(cov_q)
    return checked(
        _mean_kl(means, scales, mean_q, scale_q),
        (_all_finite(means), "means must be finite"),
        (_all_finite(mean_q), "mean_q must be finite"),
        _positive_definite("covs", scales),
        _positive_definite("cov_q", scale_q),
    )


def gaussian_mutual_information(cov: Float[ArrayLike, "d d"], dx: int) -> Float[Array, ""]:
    """Mutual information of jointly Gaussian X and Y, I(X;Y) = 1/2 log |S_X| |S_Y| / |S|.

    Args:
        cov: covariance S of (X, Y).
        dx: dimension of X, the first coordinates; the other d - dx >= 1 are Y.

    Returns:
        I(X;Y) in nats.

    Raises:
        ValueError: if `cov` is not a symmetric positive definite matrix (a singular marginal included: I is then infinite
            or undefined), or `dx` is not between 1 and d - 1.

    Source: INFO-3, INFO-7. Cost O(d^3).

    Example:
        >>> from jaxgen import information
        >>> round(float(information.gaussian_mutual_information([[1.0, 0.8], [0.8, 1.0]], 1)), 4)
        0.5108
    """
    cov = _matrix("cov", cov)
    dx = positive_integer("dx", dx)
    require(dx < cov.shape[0], f"dx must leave at least one coordinate to Y; got dx = {dx} for a covariance of shape {cov.shape}")
    return block_information("cov", cov, dx, cov.shape[0] - dx)


def gaussian_conditional_mutual_information(cov: Float[ArrayLike, "d d"], dx: int, dy: int) -> Float[Array, ""]:
    """Conditional mutual information I(X;Y|Z) of jointly Gaussian X, Y, Z: that of the covariance S_{XY|Z} of (X, Y) given Z.

    Args:
        cov: covariance of (X, Y, Z), in this order.
        dx: dimension of X.
        dy: dimension of Y; the other d - dx - dy >= 1 coordinates are Z.

    Returns:
        I(X;Y|Z) in nats.

    Raises:
        ValueError: if `cov` is not a symmetric positive definite matrix, or the dimensions leave nothing to Z.

    Source: INFO-4. Cost O(d^3).
    """
    cov = _matrix("cov", cov)
    dx, dy = positive_integer("dx", dx), positive_integer("dy", dy)
    require(dx + dy < cov.shape[0], f"dx + dy must leave at least one coordinate to Z; got {dx} + {dy} for a covariance of shape {cov.shape}")
    return block_information("cov", cov, dx, dy)


def gaussian_channel_bound(
    second_moment: Float[ArrayLike, "*shape"], noise_variance: Float[ArrayLike, ""], d: int, *, form: str = "logdet"
) -> Float[Array, ""]:
    """Bounds on what a Gaussian channel lets through: for N ~ N(0, s^2 I_d) independent of X with second moment S,

    I(X; X+N) <= 1/2 log |I + S/s^2| <= d/2 log(1 + tr S / (d s^2)) <= tr S / (2 s^2).

    S may be the covariance of X or its second moment about any constant. The last two also bound I(f(Z,X) + N; X|Y) with
    tr S = E|f(Z,X) - c(Y)|^2, for any function c of Y, where N is independent of (X, Y, Z) jointly.

    Args:
        second_moment: S, `(d, d)`, its diagonal `(d,)` if it has no other entries, or its trace `()`, E|X - c|^2.
        noise_variance: s^2 > 0.
        d: dimension of X.
        form: `"logdet"`, which needs S itself unless d = 1, `"log"` or `"linear"`, which need its trace.

    Returns:
        The bound in nats.

    Raises:
        ValueError: if `noise_variance` <= 0, S is not symmetric positive semidefinite or of another dimension, a trace is
            given for d > 1 with `"logdet"`, or `form` is unknown.

    Source: Cover and Thomas, chapter 9; INFO-7, INFO-21. Cost O(d^3) for a full matrix, O(d) else.

    Example:
        >>> from jaxgen import information
        >>> round(float(information.gaussian_channel_bound(1.0, 0.25, 2, form="log")), 4)
        1.0986
    """
    choice("form", form, FORMS)
    d = positive_integer("d", d)
    moment, variance = floating("second_moment", second_moment), floating("noise_variance", noise_variance)
    require(variance.ndim == 0, f"noise_variance must be a scalar; got shape {variance.shape}")
    require(moment.shape in [(), (d,), (d, d)], f"second_moment must have shape (), ({d},) or ({d}, {d}) for d = {d}; got {moment.shape}")
    require(
        moment.ndim > 0 or d == 1 or form != "logdet",
        f"form 'logdet' needs the second moment as a matrix or a diagonal; got its trace for d = {d}: use form 'log' or 'linear'",
    )
    value, symmetric, semidefinite = _channel_bound(moment, variance, d, form)
    return checked(
        value,
        (variance > 0, "noise_variance must be positive"),
        (symmetric, "second_moment must be finite and symmetric"),
        (semidefinite, "second_moment must be positive semidefinite (a trace: not negative)"),
    )


@partial(jax.jit, static_argnums=(2, 3))
def _channel_bound(moment: Array, variance: Array, d: int, form: str) -> tuple[Array, Array, Array]:
    """The bound, and whether the moment is finite and symmetric, and positive semidefinite up to rounding."""
    eigenvalues = jnp.linalg.eigvalsh(moment) if moment.ndim == 2 else moment
    rounding = 4 * jnp.finfo(moment.dtype).eps * d**0.5 * jnp.abs(eigenvalues).max() if moment.ndim == 2 else 0.0
    clipped = eigenvalues - jax.lax.stop_gradient(jnp.minimum(eigenvalues, 0))
    if form == "logdet":
        value = jnp.log1p(clipped / variance).sum() / 2
    elif form == "log":
        value = d / 2 * jnp.log1p(clipped.sum() / (d * variance))
    else:
        value = clipped.sum() / (2 * variance)
    return value, _symmetric(moment) & jnp.isfinite(moment).all(), (eigenvalues >= -rounding).all()


@jax.jit
def _factor(cov: Array) -> Array:
    """Cholesky factor of a full covariance, standard deviations of others; NaN where it is not positive definite."""
    if cov.ndim < 2:
        return jnp.sqrt(jnp.where(cov > 0, cov, math.nan))
    lower = jnp.linalg.cholesky(cov)
    whitened = jax.lax.stop_gradient(lower / jnp.sqrt(jnp.diagonal(cov))[:, None])
    inverse = solve_triangular(whitened, jnp.eye(cov.shape[0], dtype=cov.dtype), lower=True)
    largest = jnp.abs(jnp.matmul(inverse.T, inverse, precision=jax.lax.Precision.HIGHEST)).sum(0).max()
    regular = 4 * jnp.finfo(cov.dtype).eps * cov.shape[0] ** 0.5 * largest < 1
    return jnp.where(regular & _symmetric(cov), lower, math.nan)


def _symmetric(cov: Array) -> Array:
    if cov.ndim < 2:
        return jnp.array(True)
    return is_symmetric(cov)


def _positive_definite(name: str, scale: Array) -> tuple[Array, str]:
    return _all_finite(scale), f"{name} must be symmetric positive definite to working precision (variances: positive and finite)"


def block_information(name: str, cov: Array, dx: int, dy: int) -> Array:
    """I(X;Y|Z) from the covariance of (X, Y, Z), where Z may be empty; `name` is what an error calls it."""
    value, scale = _sum_of_pivot_ratios(cov, dx, dy)
    return checked(value, _positive_definite(name, scale))


@partial(jax.jit, static_argnums=(1, 2))
def _sum_of_pivot_ratios(cov: Array, dx: int, dy: int) -> tuple[Array, Array]:
    """I(X;Y|Z) = sum_i I(X;Y_i|Y_<i,Z), each term the logarithm of a ratio of pivots; and the factor of cov."""
    z = np.r_[dx + dy : cov.shape[0]]
    y = np.r_[dx : dx + dy]
    without_x = np.concatenate([z, y])
    with_x = np.concatenate([z, np.arange(dx), y])
    scale_without, scale_with = _factor(cov[np.ix_(without_x, without_x)]), _factor(cov[np.ix_(with_x, with_x)])
    pivots_without, pivots_with = jnp.diagonal(scale_without)[-dy:], jnp.diagonal(scale_with)[-dy:]
    return jnp.log(pivots_without / pivots_with).sum(), scale_with


@jax.jit
def _all_finite(array: Array) -> Array:
    return jnp.isfinite(array).all()


@jax.jit
def _entropy(scale: Array) -> Array:
    deviations = jnp.atleast_1d(_diagonal(scale))
    return deviations.size / 2 * math.log(2 * math.pi * math.e) + jnp.log(deviations).sum()


@jax.jit
def _mean_kl(means: Array, scales: Array, mean_q: Array, scale_q: Array) -> Array:
    axes = (0, 0 if scales.ndim else None)
    return jax.vmap(lambda mean, scale: _kl(mean, scale, mean_q, scale_q, means.shape[1]), in_axes=axes)(means, scales).mean()


@partial(jax.jit, static_argnums=4)
def _kl(mean0: Array, scale0: Array, mean1: Array, scale1: Array, dimension: int) -> Array:
    shift = jnp.broadcast_to(mean1 - mean0, (dimension,))
    if scale1.ndim == 2:
        full0 = scale0 if scale0.ndim == 2 else jnp.diag(jnp.broadcast_to(scale0, (dimension,)))
        ratio, shift = solve_triangular(scale1, full0, lower=True), solve_triangular(scale1, shift, lower=True)
    else:
        ratio = scale0 / (scale1 if scale0.ndim < 2 else jnp.broadcast_to(scale1, (dimension,))[:, None])
        shift = shift / scale1
    pivots = jnp.broadcast_to(_diagonal(ratio), (dimension,))
    below = jnp.tril(ratio, -1) if ratio.ndim == 2 else jnp.zeros_like(shift)
    return ((pivots - 1) * (pivots + 1) - 2 * jnp.log(pivots)).sum() / 2 + (below**2).sum() / 2 + (shift**2).sum() / 2


def _diagonal(scale: Array) -> Array:
    return jnp.diagonal(scale) if scale.ndim == 2 else scale


def _mean(name: str, mean: ArrayLike) -> Array:
    mean = floating(name, mean)
    require(mean.ndim <= 1 and mean.size > 0, f"{name} must have shape (d,) or (); got {mean.shape}")
    return mean


def _covariance(name: str, cov: ArrayLike) -> Array:
    cov = floating(name, cov)
    square = cov.ndim < 2 or (cov.ndim == 2 and cov.shape[0] == cov.shape[1])
    require(square and cov.size > 0, f"{name} must have shape (d, d), (d,) or (), not empty; got {cov.shape}")
    return cov


def _matrix(name: str, cov: ArrayLike) -> Array:
    cov = _covariance(name, cov)
    require(cov.ndim == 2, f"{name} must be a matrix of shape (d, d); got shape {cov.shape}")
    return cov


def _dimension(**arrays: Array) -> int:
    """The dimension that all arguments but scalars agree on; 1 if all are scalars."""
    found = {name: array.shape[0] for name, array in arrays.items() if array.ndim}
    require(len(set(found.values())) <= 1, f"{', '.join(arrays)} must agree on the dimension d; found {found}")
    return next(iter(found.values()), 1)
