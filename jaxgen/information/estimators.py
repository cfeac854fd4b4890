"""Estimates from samples: mutual information, relative entropy, and a permutation baseline (INFO-2, INFO-9).

Estimates of mutual information are returned as they come out, in nats: they may be negative, and none is clipped. The
sampling error dominates rounding in both precisions, that of float32 being about 1e-6 nats.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree

from jaxgen._core import statistics
from jaxgen._core.checks import checked, floating, leading_axis, positive_integer, require
from jaxgen._core.results import Estimate
from jaxgen.information.discrete import mutual_information
from jaxgen.information.gaussian import block_information


def plugin_mutual_information(
    x: Int[ArrayLike, "N"], y: Int[ArrayLike, "N"], num_x: int, num_y: int, *, bias_correction: bool = True
) -> Float[Array, ""]:
    """Plug-in estimate of I(X;Y) from paired labels: the mutual information of their table of frequencies.

    Its bias is about (num_x - 1)(num_y - 1) / (2N) when every pair of labels is possible, which the correction (Miller
    1955) subtracts. When many pairs are impossible, Y a function of X for instance, the bias is smaller and may be
    negative: leave the correction out then.

    Args:
        x: labels in [0, num_x), integers.
        y: labels in [0, num_y), integers.
        num_x: number of values of X.
        num_y: number of values of Y.
        bias_correction: whether to subtract the bias term.

    Returns:
        The estimate in nats; corrected, it may be negative.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if lengths differ or are zero, or a label is out of range.

    Source: Miller 1955; INFO-9. Cost O(N + num_x num_y).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import information
        >>> x = jnp.array([0, 1] * 50)
        >>> round(float(information.plugin_mutual_information(x, x, 2, 2)), 3)
        0.688
    """
    num_x, num_y = positive_integer("num_x", num_x), positive_integer("num_y", num_y)
    x, y = _labels("x", x), _labels("y", y)
    require(x.shape == y.shape, f"x and y must be paired, one label each per sample; got shapes {x.shape} and {y.shape}")
    counts = jnp.zeros((num_x, num_y), jnp.int32).at[x, y].add(1, mode="clip")
    joint = counts.astype(jnp.result_type(float)) / x.size
    bias = (num_x - 1) * (num_y - 1) / (2 * x.size) if bias_correction else 0.0
    return checked(
        mutual_information(joint) - bias,
        ((x >= 0) & (x < num_x), f"labels of x must lie in [0, {num_x})"),
        ((y >= 0) & (y < num_y), f"labels of y must lie in [0, {num_y})"),
    )


def gaussian_sample_mutual_information(x: Float[ArrayLike, "N *dx"], y: Float[ArrayLike, "N *dy"]) -> Float[Array, ""]:
    """I(X;Y) of the Gaussian with the sample covariance of (X, Y).

    For Gaussian data biased upwards by about dx dy / (2N); for other data an estimate of the information in linear
    correlations.

    Args:
        x: samples, `(N, dx)` or `(N,)`.
        y: paired samples, `(N, dy)` or `(N,)`.

    Returns:
        The estimate in nats.

    Raises:
        ValueError: if the lengths differ, N <= dx + dy, a value is not finite, or the sample covariance is singular.

    Source: INFO-7, INFO-9. Cost O(N (dx + dy)^2).
    """
    x, y = _paired(x, y)
    num_samples, dimension = x.shape[0], x.shape[1] + y.shape[1]
    require(num_samples > dimension, f"the sample covariance of {dimension} coordinates needs N > {dimension} samples; got N = {num_samples}")
    correlation, finite, varying = _correlation(x, y)
    correlation = checked(correlation, (finite, "x and y must be finite"), (varying, "every coordinate of x and y must vary; one is constant"))
    return block_information("the sample covariance of (x, y)", correlation, x.shape[1], y.shape[1])


def ksg_mutual_information(x: Float[ArrayLike, "N *dx"], y: Float[ArrayLike, "N *dy"], *, k: int = 3, chunk_size: int = 256) -> Float[Array, ""]:
    """Nearest-neighbour estimate of I(X;Y) of Kraskov, Stoegbauer and Grassberger, their first:

    I = psi(k) + psi(N) - mean_i [psi(n_x(i) + 1) + psi(n_y(i) + 1)],

    n_x(i) counts the other samples whose x is nearer to x_i than the k-th neighbour of (x_i, y_i) is, all distances in the
    maximum norm. For continuous X and Y of low dimension. Coordinates are compared as they are: bring them to comparable
    scales first (any invertible map of X alone or of Y alone leaves the true value as it is). Only the order of distances
    counts, so float32 is as good as float64 but for the rare ties that rounding makes.

    Args:
        x: samples, `(N, dx)` or `(N,)`.
        y: paired samples, `(N, dy)` or `(N,)`.
        k: number of neighbours; more means less variance and more bias.
        chunk_size: samples whose distances to all others are held at once.

    Returns:
        The raw estimate in nats, which may be negative. It is piecewise constant: its gradient is zero.

    Raises:
        ValueError: if the lengths differ, N <= k, a value is not finite, a pair (x, y) occurs twice, or most values of x
            or of y occur twice: they are not continuous then (add a small jitter, or use `plugin_mutual_information`).

    Source: Kraskov, Stoegbauer and Grassberger 2004, eq. (8); INFO-9. Cost O(N^2 (dx + dy + k)) time and
        O(chunk_size N) memory.

    Example:
        >>> import jax
        >>> from jaxgen import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 500))
        >>> float(information.ksg_mutual_information(x, 0.8 * x + 0.6 * noise)) > 0.3
        True
    """
    x, y = _paired(x, y)
    k, chunk_size = positive_integer("k", k), positive_integer("chunk_size", chunk_size)
    num_samples = x.shape[0]
    require(num_samples > k, f"the k-th neighbour needs N > k samples; got N = {num_samples} and k = {k}")
    value, nearest, tied_x, tied_y = _ksg(*jax.lax.stop_gradient((x, y)), k, min(chunk_size, num_samples))
    advice = "the estimate is for continuous data: add a small jitter to break ties, or use plugin_mutual_information for labels"
    return checked(
        value,
        (~jnp.isnan(value), "x and y must be finite"),
        (nearest > 0, f"a pair (x, y) is duplicated; {advice}"),
        (tied_x <= 0.5, f"most values of x are duplicated; {advice}"),
        (tied_y <= 0.5, f"most values of y are duplicated; {advice}"),
    )


def donsker_varadhan(f_joint: Float[ArrayLike, "N"], f_reference: Float[ArrayLike, "M"]) -> Float[Array, ""]:
    """Donsker-Varadhan value of a critic f: E_Q f - log E_P exp f <= D(Q||P), with equality at f = log dQ/dP + const.

    With Q = P_XY and P = P_X P_Y it bounds the mutual information. Expectations are means over samples; the logarithm of a
    mean is biased low, so the estimate is biased upwards, and a critic must not be fitted on the samples that judge it.

    Args:
        f_joint: values of the critic at samples of Q.
        f_reference: values of the critic at samples of P.

    Returns:
        The estimate in nats.

    Raises:
        ValueError: if one of them is not a non-empty vector, or holds NaN.

    Source: Donsker and Varadhan 1983; INFO-2.
    """
    f_joint, f_reference = floating("f_joint", f_joint), floating("f_reference", f_reference)
    for name, f in (("f_joint", f_joint), ("f_reference", f_reference)):
        require(f.ndim == 1 and f.size > 0, f"{name} must be a vector with one value a sample; got shape {f.shape}")
    value = f_joint.mean() - (jax.nn.logsumexp(f_reference) - jnp.log(f_reference.size))
    return checked(
        value,
        (~jnp.isnan(f_joint), "f_joint must not be NaN"),
        (~jnp.isnan(f_reference), "f_reference must not be NaN"),
    )


def kl_monte_carlo(log_q: Callable[[PyTree], Array], log_p: Callable[[PyTree], Array], samples: PyTree) -> Estimate:
    """Monte Carlo estimate of D(Q||P) = E_Q [log q - log p], with its standard error.

    Args:
        log_q: log density of Q, from samples with leading axis N to (N,).
        log_p: log density of P, likewise.
        samples: independent samples of Q, any pytree with leading axis N >= 2.

    Returns:
        Mean and standard error in nats. Where some sample has no density under P the value is `inf` and the error NaN.

    Raises:
        ValueError: if N < 2, a log density does not return one value a sample or returns NaN, or a sample has no density
            under Q.

    Source: INFO-2. Cost N evaluations of each log density.
    """
    num_samples = leading_axis("samples", samples)
    require(num_samples >= 2, f"a standard error needs at least two samples; got N = {num_samples}")
    values = {name: floating(name, fn(samples)) for name, fn in (("log_q", log_q), ("log_p", log_p))}
    for name, value in values.items():
        require(
            value.shape == (num_samples,),
            f"{name} must return one value a sample, shape ({num_samples},); got shape {value.shape} (jax.vmap a density of one sample)",
        )
    log_ratio = checked(
        values["log_q"] - values["log_p"],
        (values["log_q"] > -jnp.inf, "log_q must be finite at samples of Q; got -inf or NaN"),
        (~jnp.isnan(values["log_p"]), "log_p must not be NaN"),
    )
    return statistics.mean(log_ratio)


def permutation_baseline(
    key: PRNGKeyArray, estimator: Callable[[Array, Array], Array], x: ArrayLike, y: ArrayLike, *, num_permutations: int
) -> Estimate:
    """Mean of an estimate of I(X;Y) over random re-pairings of x and y, which have no information: the estimator's bias at I = 0.

    Args:
        key: PRNG key of the permutations.
        estimator: traceable function of (x, y) to a scalar.
        x: samples with leading axis N.
        y: paired samples with leading axis N; its rows are permuted.
        num_permutations: number of re-pairings, at least 2; run one after another.

    Returns:
        Mean over permutations and its standard error, in the unit of the estimator.

    Raises:
        ValueError: if the lengths differ, `num_permutations` < 2, or the estimate is NaN for some permutation.

    Source: INFO-9. Cost `num_permutations` calls of `estimator`.

    Example:
        >>> import jax
        >>> from jaxgen import information
        >>> x, y = jax.random.normal(jax.random.key(0), (2, 100))
        >>> estimator = information.gaussian_sample_mutual_information
        >>> float(information.permutation_baseline(jax.random.key(1), estimator, x, y, num_permutations=20).value) < 0.02
        True
    """
    num_permutations = positive_integer("num_permutations", num_permutations, at_least=2)
    x, y = jnp.asarray(x), jnp.asarray(y)
    leading_axis("(x, y)", (x, y))
    values = jax.lax.map(lambda k: estimator(x, jax.random.permutation(k, y)), jax.random.split(key, num_permutations))
    require(values.ndim == 1, f"estimator must return a scalar; got shape {values.shape[1:]}")
    values = checked(values, (~jnp.isnan(values), "estimator returned NaN for a permuted sample"))
    return statistics.mean(values)


@jax.jit
def _correlation(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """The sample correlation matrix of all coordinates; whether they are finite; whether each one varies."""
    joint = jnp.concatenate([x, y], axis=1)
    centred = joint - joint.mean(axis=0)
    spread = jnp.sqrt((centred**2).mean(axis=0))
    standard = centred / jnp.where(spread > 0, spread, 1)
    correlation = jnp.matmul(standard.T, standard, precision=jax.lax.Precision.HIGHEST) / joint.shape[0]
    return correlation, jnp.isfinite(joint).all(), (spread > 0).all()


@partial(jax.jit, static_argnums=(2, 3))
def _ksg(x: Array, y: Array, k: int, chunk_size: int) -> tuple[Array, Array, Array, Array]:
    """The estimate (NaN if a sample is not finite), the smallest joint distance, and the shares of tied values of x and y."""
    num_samples = x.shape[0]
    index = jnp.arange(num_samples)

    def neighbourhood(i):
        to_x = jnp.where(index == i, jnp.inf, jnp.abs(x - x[i]).max(axis=1))
        to_y = jnp.where(index == i, jnp.inf, jnp.abs(y - y[i]).max(axis=1))
        nearest, radius = _smallest(jnp.maximum(to_x, to_y), k)
        return nearest, (to_x < radius).sum(), (to_y < radius).sum(), to_x.min() == 0, to_y.min() == 0

    nearest, count_x, count_y, tied_x, tied_y = jax.lax.map(neighbourhood, index, batch_size=chunk_size)
    psi = digamma(jnp.arange(1, num_samples + 1, dtype=x.dtype))
    value = psi[k - 1] + psi[-1] - (psi[count_x] + psi[count_y]).mean()
    finite = jnp.isfinite(x).all() & jnp.isfinite(y).all()
    return jnp.where(finite, value, jnp.nan), nearest.min(), tied_x.mean(), tied_y.mean()


def _smallest(distances: Array, k: int) -> tuple[Array, Array]:
    """The smallest and the k-th smallest entry, by passes over the next larger value; for small k faster than a sort."""

    def advance(_, state):
        value, rank = state
        following = jnp.where(distances > value, distances, jnp.inf).min()
        reached = rank >= k
        return jnp.where(reached, value, following), jnp.where(reached, rank, (distances <= following).sum(dtype=jnp.int32))

    nearest = distances.min()
    first = nearest, (distances <= nearest).sum(dtype=jnp.int32)
    return nearest, jax.lax.fori_loop(1, k, advance, first)[0]


def _labels(name: str, labels: ArrayLike) -> Array:
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"{name} must hold integer labels; got dtype {labels.dtype}")
    require(labels.ndim == 1 and labels.size > 0, f"{name} must have shape (N,), not empty; got shape {labels.shape}")
    return labels


def _paired(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = floating("x", x), floating("y", y)
    for name, samples in (("x", x), ("y", y)):
        require(samples.ndim in (1, 2) and samples.size > 0, f"{name} must have shape (N, d) or (N,), not empty; got {samples.shape}")
    require(x.shape[0] == y.shape[0], f"x and y must be paired samples of one length; got {x.shape[0]} and {y.shape[0]}")
    return x.reshape(x.shape[0], -1), y.reshape(y.shape[0], -1)
