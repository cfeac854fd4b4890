"""Densities of eigenvalues, by stochastic Lanczos quadrature."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, ArrayLike, Float, Key

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen._core.rademacher import rademacher
from jaxgen.curvature.eigenpairs import lanczos_steps
from jaxgen.curvature.lanczos import tridiagonalize
from jaxgen.curvature.products import asymmetry, compiled_once, coordinates, finite, flat_product, square_domain, symmetric


class SpectralDensity(NamedTuple):
    """What `spectral_density` found.

    Attributes:
        grid: places l, ascending.
        density: density of eigenvalues at them, of integral one.
        nodes: of the quadrature, one row a probe: the integral of f over the density is the mean over probes of sum_j w_j f(l_j).
        weights: of the nodes, non-negative, with sum one in each row.
    """

    grid: Float[Array, " G"]
    density: Float[Array, " G"]
    nodes: Float[Array, "K m"]
    weights: Float[Array, "K m"]


def spectral_density(
    operator: lx.AbstractLinearOperator,
    key: Key[Array, ""],
    *,
    num_matvecs: int,
    num_probes: int = 1,
    grid: Float[ArrayLike, " G"] | None = None,
    width: ArrayLike | None = None,
    num_points: int = 1024,
) -> SpectralDensity:
    """Density of the eigenvalues of a symmetric operator, (1/P) sum_i N(l; l_i, width^2), by stochastic Lanczos quadrature.

    From a probe v, m Lanczos steps give nodes l_j and weights w_j with sum_j w_j f(l_j) = v^T f(A) v / |v|^2, exact for polynomials
    f of degree below 2m; its mean over v of random signs is tr f(A) / P. Isolated ends of the spectrum are nodes, its bulk
    is smoothed. The error of one probe falls as 1/sqrt(P): for large nets one is enough.

    Args:
        operator: any symmetric `lineax` operator on pytrees of real arrays, `curvature.hessian` for instance. One that is not
            tagged symmetric is probed for it.
        key: key of the probes.
        num_matvecs: number of products A v in all, a multiple of `num_probes`; m = num_matvecs / num_probes is at most P.
        num_probes: K, number of probes.
        grid: places to evaluate the density at, ascending. Default: `num_points` of them over the nodes and 4 widths
            beyond.
        width: standard deviation of the Gaussian in place of each node, positive. Default: 1/100 of the nodes' range (or
            of the largest modulus, or one, where that is zero).
        num_points: number of places of the default grid.

    Returns:
        `SpectralDensity`; NaN where a traced check fails.

    Raises:
        ValueError: if `operator` is not square, not symmetric (by a probe u^T A v = v^T A u) or a product not finite,
            `num_matvecs`, `num_probes` or `num_points` < 1, `num_probes` does not divide `num_matvecs`, m > P, `grid` is not a vector, or
            `width` is not positive.

    Source: Golub and Welsch 1969; Lin, Saad and Yang 2016; Ghorbani, Krishnan and Xiao 2019. Cost: num_matvecs products of the
    operator linearised once, 4 m^2 P K operations of reorthogonalization; memory m P.

    Example:
        >>> import jax, jax.numpy as jnp, lineax as lx
        >>> from jaxgen import curvature
        >>> operator = lx.DiagonalLinearOperator(jnp.array([0.0, 0.0, 0.0, 1.0]))
        >>> found = curvature.spectral_density(operator, jax.random.key(0), num_matvecs=2)
        >>> round(float((found.weights * found.nodes).sum()), 4)
        0.25
    """
    num_probes = positive_integer("num_probes", num_probes)
    num_matvecs, num_points = positive_integer("num_matvecs", num_matvecs), positive_integer("num_points", num_points)
    require(num_matvecs % num_probes == 0, f"num_matvecs must be a multiple of num_probes, {num_probes}; got {num_matvecs}")
    depth = lanczos_steps("num_matvecs / num_probes", num_matvecs // num_probes, coordinates(square_domain(operator)).size)
    if width is not None:
        width = floating("width", width)
        width = checked(width, (width > 0, f"width must be positive; got {width}"))
    if grid is not None:
        grid = floating("grid", grid)
        require(grid.ndim == 1, f"grid must be a vector; got shape {grid.shape}")
    nodes, weights, difference = _quadrature(operator, key, num_probes, depth)
    nodes = symmetric(finite(nodes), difference)
    width = _default_width(nodes) if width is None else width.astype(nodes.dtype)
    places = jnp.linspace(nodes.min() - 4 * width, nodes.max() + 4 * width, num_points) if grid is None else grid.astype(nodes.dtype)

    def density_at(place: Array) -> Array:
        return jnp.sum(weights * jax.scipy.stats.norm.pdf(place, nodes, width)) / num_probes

    return SpectralDensity(places, jax.lax.map(density_at, places, batch_size=128), nodes, weights)


def _default_width(nodes: Float[Array, "K m"]) -> Float[Array, ""]:
    spread, largest = jnp.ptp(nodes), jnp.abs(nodes).max()
    negligible = jnp.finfo(nodes.dtype).eps * nodes.size * largest
    return jnp.where(spread > negligible, spread, jnp.where(largest > 0, largest, 1)) / 100


@compiled_once
def _quadrature(operator: lx.AbstractLinearOperator, key: Array, num_probes: int, depth: int) -> tuple[Array, Array, Array]:
    product, flat = flat_product(operator), coordinates(operator.in_structure())
    draws_key, probe_key = jax.random.split(key)

    def one(draw_key: Array) -> tuple[Array, Array]:
        start_key, restart_key = jax.random.split(draw_key)
        found = tridiagonalize(product, rademacher(start_key, flat.shape, flat.dtype), restart_key, depth)
        values, vectors = found.eigenpairs()
        return values, vectors[0] ** 2

    nodes, weights = jax.lax.map(one, jax.random.split(draws_key, num_probes))
    return nodes, weights, asymmetry(operator, probe_key)
