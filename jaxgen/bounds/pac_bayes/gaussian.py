"""Gaussian laws of parameters: a pair of pytrees makes any model stochastic from outside."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen._core.checks import checked, floating, require
from jaxgen._core.monte_carlo import gaussian_like
from jaxgen.bounds._inputs import positive

GRID_POINTS = 4096


class GaussianParams(NamedTuple):
    """Independent Gaussian parameters N(mean, exp(2 log_std)); `gaussian` makes one from standard deviations.

    Attributes:
        mean: a pytree of floating leaves.
        log_std: logarithms of standard deviations: a scalar for all, or a tree of the same structure whose leaves have the shapes
            of the parameters or are scalars.
    """

    mean: PyTree
    log_std: PyTree


def gaussian(mean: PyTree, std: PyTree) -> GaussianParams:
    """The law N(mean, std^2) of independent parameters.

    Args:
        mean: a pytree of floating leaves.
        std: positive; a scalar for all parameters, or a tree of the same structure with leaves of the same shapes or scalars.

    Returns:
        The law.

    Raises:
        ValueError: if structures or shapes do not fit, or a standard deviation is not positive (NaN results when traced).

    Source: spec GEN-31.
    """
    stds = jax.tree.map(lambda leaf: positive("std", leaf), std)
    found = GaussianParams(jax.tree.map(lambda leaf: floating("mean", leaf), mean), jax.tree.map(jnp.log, stds))
    log_stds(found)
    return found


def log_stds(law: GaussianParams, name: str = "log_std") -> PyTree:
    """Logarithms of standard deviations as a tree like the mean, whose leaves are scalars where all entries share them."""
    structure = jax.tree.structure(law.mean)
    if jax.tree.structure(law.log_std) != structure:
        require(jnp.ndim(law.log_std) == 0, f"{name} must be a scalar or have the structure of the mean, {structure}; got {law.log_std}")
        return jax.tree.map(lambda _: jnp.asarray(law.log_std), law.mean)
    for mean, leaf in zip(jax.tree.leaves(law.mean), jax.tree.leaves(law.log_std), strict=True):
        require(
            jnp.shape(leaf) in ((), jnp.shape(mean)), f"leaves of {name} must be scalars or of shape {jnp.shape(mean)}; got shape {jnp.shape(leaf)}"
        )
    return jax.tree.map(jnp.asarray, law.log_std)


def same_trees(q: GaussianParams, p: GaussianParams) -> None:
    """Refuses two laws of parameters of different structures or shapes."""
    left, right = (jax.tree.map(jnp.shape, law.mean) for law in (q, p))
    require(left == right, f"posterior and prior must have the same structure and shapes; got {left} and {right}")


def gaussian_kl(q: GaussianParams, p: GaussianParams) -> Float[Array, ""]:
    r"""$KL(q \| p) = \sum_i [\ln \frac{s_{0i}}{s_i} + \frac{s_i^2 + (\mu_i - \mu_{0i})^2}{2 s_{0i}^2} - \frac12]$ in nats.

    Args:
        q: the posterior, means $\mu$ and standard deviations s.
        p: the prior, $\mu_0$ and $s_0$.

    Returns:
        The divergence, at least 0 and exactly 0 for q = p.

    Raises:
        ValueError: if the trees differ in structure or shapes.

    Source: Dziugaite and Roy 2017; spec GEN-31. Full covariances: `jaxgen.information.gaussian_kl`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> q = bounds.gaussian(jnp.array([0.3, -1.0]), jnp.array([0.5, 0.2]))
        >>> p = bounds.gaussian(jnp.array([0.0, 0.5]), jnp.array([1.0, 0.7]))
        >>> round(float(bounds.gaussian_kl(q, p)), 4)
        3.4526
    """
    same_trees(q, p)

    def of_leaf(mean: Array, log_std: Array, mean0: Array, log_std0: Array) -> Array:
        ratio = log_std - log_std0
        # (exp(2 r) - 1) / 2 - r is accurate where the laws are close.
        spread = 0.5 * jnp.expm1(2 * ratio) - ratio
        return (jnp.broadcast_to(spread, mean.shape) + 0.5 * jnp.square((mean - mean0) * jnp.exp(-log_std0))).sum()

    parts = jax.tree.map(of_leaf, q.mean, log_stds(q, "the posterior's log_std"), p.mean, log_stds(p, "the prior's log_std"))
    return jax.tree.reduce(jnp.add, parts, jnp.zeros(()))


def sample_gaussian(key: Key[Array, ""], q: GaussianParams) -> PyTree:
    """A draw of the parameters.

    Args:
        key: PRNG key.
        q: their law.

    Returns:
        Parameters like the mean.

    Raises:
        ValueError: if structures or shapes of mean and log_std do not fit.

    Source: spec GEN-31.
    """
    return jax.tree.map(lambda mean, log_std, z: mean + jnp.exp(log_std) * z, q.mean, log_stds(q), gaussian_like(key, q.mean, 1.0))


def log_density_ratio(params: PyTree, q: GaussianParams, p: GaussianParams) -> Float[Array, ""]:
    """ln dq/dp at given parameters, in nats; its mean under q is `gaussian_kl`.

    Args:
        params: parameters w.
        q: one law.
        p: another of parameters of the same structure.

    Returns:
        The logarithm of the ratio of densities.

    Raises:
        ValueError: if the trees differ in structure or shapes.

    Source: spec GEN-32.
    """
    same_trees(q, p)

    def log_density(w: Array, mean: Array, log_std: Array) -> Array:
        return -(0.5 * jnp.square((w - mean) * jnp.exp(-log_std)) + log_std).sum()

    densities = (jax.tree.map(log_density, params, law.mean, log_stds(law)) for law in (q, p))
    return jax.tree.reduce(jnp.add, optax.tree.sub(*densities), jnp.zeros(()))


def optimal_prior_variance(q: GaussianParams, prior_mean: PyTree) -> Float[Array, ""]:
    r"""The variance $v^* = \frac1d (\sum_i s_i^2 + \lVert \mu - \mu_0 \rVert^2)$ of an isotropic prior that is nearest to the posterior.

    It depends on the data through q: a bound pays for it, see `PriorGrid`.

    Args:
        q: the posterior.
        prior_mean: $\mu_0$, of the structure of its mean.

    Returns:
        The variance.

    Raises:
        ValueError: if the trees differ in structure or shapes.

    Source: Dziugaite and Roy 2017, section 3.3; spec GEN-31.
    """
    same_trees(q, GaussianParams(prior_mean, 0.0))
    spreads = jax.tree.map(lambda mean, log_std: jnp.broadcast_to(jnp.exp(2 * log_std), mean.shape).sum(), q.mean, log_stds(q))
    total = jax.tree.reduce(jnp.add, spreads, jnp.zeros(()))
    return (total + optax.tree.norm(optax.tree.sub(q.mean, prior_mean), squared=True)) / optax.tree.size(q.mean)


def prior_grid_penalty(variance: ArrayLike, c: ArrayLike = 0.1, b: ArrayLike = 100.0) -> Float[Array, "..."]:
    r"""$2 \ln j + \ln \frac{\pi^2}{6}$ at $j = b \ln \frac cv$: what a bound pays in nats for a prior variance on the grid $c e^{-j / b}$.

    Args:
        variance: v, in (0, c).
        c: largest variance.
        b: points of the grid in a factor e of the variance.

    Returns:
        The price, to be added to the divergence.

    Raises:
        ValueError: if v is not in (0, c) or `b` is not positive (NaN results when traced).

    Source: Dziugaite and Roy 2017, section 3.1; spec GEN-31.
    """
    variance, c, b = positive("variance", variance), positive("c", c), positive("b", b)
    variance = checked(variance, (variance < c, f"variance must be below c, the largest of the grid; got {variance} and {c}"))
    return 2 * jnp.log(b * jnp.log(c / variance)) + math.log(math.pi**2 / 6)


class PriorGrid(NamedTuple):
    r"""Isotropic Gaussian priors of one mean and the variances $c e^{-j / b}$, j = 1, 2, ..., of which one is chosen after the data.

    The probability of failure is shared out as $6 \delta / (\pi j)^2$. All of it is fixed before the data.

    Attributes:
        mean: of all priors.
        c: largest variance.
        b: points of the grid in a factor e of the variance.
    """

    mean: PyTree
    c: float = 0.1
    b: float = 100.0


def choose_prior(q: GaussianParams, grid: PriorGrid) -> tuple[GaussianParams, Float[Array, ""]]:
    """The prior of a grid that costs least for a posterior, and what its choice costs.

    Args:
        q: the posterior.
        grid: priors of which one is chosen, of the 4096 largest variances.

    Returns:
        The prior, and its price in nats, to be added to the divergence.

    Raises:
        ValueError: if the trees differ in structure or shapes, or `c` or `b` is not positive (NaN results when traced).

    Source: Dziugaite and Roy 2017, section 3.1; spec GEN-31.
    """
    c, b = positive("c", grid.c), positive("b", grid.b)
    best, size = optimal_prior_variance(q, grid.mean), optax.tree.size(q.mean)
    j = jnp.arange(1, GRID_POINTS + 1, dtype=best.dtype)
    log_ratio = jnp.log(best) - jnp.log(c) + j / b
    prices = 2 * jnp.log(j) + math.log(math.pi**2 / 6)
    # The divergence is this and what does not depend on the variance v: (d / 2) (v*/v - ln(v*/v)).
    chosen = jnp.argmin(0.5 * size * (jnp.expm1(log_ratio) - log_ratio) + prices)
    return GaussianParams(grid.mean, 0.5 * (jnp.log(c) - j[chosen] / b)), prices[chosen]


def divergence(q: GaussianParams, prior: GaussianParams | PriorGrid) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """KL divergence from a prior, or from the best of a grid between whose points one may lie, with the price of that choice."""
    if isinstance(prior, GaussianParams):
        return gaussian_kl(q, prior), jnp.zeros(())
    variance = jnp.minimum(optimal_prior_variance(q, prior.mean), prior.c * math.exp(-1 / prior.b))
    return gaussian_kl(q, GaussianParams(prior.mean, 0.5 * jnp.log(variance))), prior_grid_penalty(variance, prior.c, prior.b)
