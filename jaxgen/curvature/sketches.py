"""Traces that are taken exactly on a sketch of the operator's range, and by probes on the rest."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Key

from jaxgen._core.monte_carlo import signs_like
from jaxgen._core.results import Estimate
from jaxgen.curvature.products import compiled_once, coordinates, flat_product, quadratic_form, unraveller


@compiled_once
def hutchpp(operator: lx.AbstractLinearOperator, key: Key[Array, ""], num_matvecs: int, chunk_size: int) -> Estimate:
    """Hutch++: with Q an orthonormal basis of A S for random signs S, tr Q^T A Q plus Hutchinson's estimate of
    tr (I - Q Q^T) A (I - Q Q^T); the standard error is the latter's, since the former is exact.
    """
    domain = operator.in_structure()
    sketch_key, probe_key = jax.random.split(key)
    sketch_size = min(num_matvecs // 3, coordinates(domain).size)
    unravel = unraveller(domain)
    form = quadratic_form(operator)

    def flat_signs(draw_key: Array) -> Array:
        return ravel_pytree(signs_like(draw_key, domain))[0]

    def forms(vectors: Array) -> Array:
        return _mapped(lambda vector: form(unravel(vector)), vectors, chunk_size)

    sketch = _mapped(flat_product(operator), jax.vmap(flat_signs)(jax.random.split(sketch_key, sketch_size)), chunk_size)
    basis = jnp.linalg.qr(sketch.T)[0]
    probes = jax.vmap(flat_signs)(jax.random.split(probe_key, num_matvecs - 2 * sketch_size)).T
    outside = forms((probes - basis @ (basis.T @ probes)).T)
    return Estimate(forms(basis.T).sum() + outside.mean(), outside.std(ddof=1) / jnp.sqrt(len(outside)))


@compiled_once
def xtrace(operator: lx.AbstractLinearOperator, key: Key[Array, ""], num_matvecs: int, chunk_size: int) -> Estimate:
    """XTrace: the mean over k = m/2 probes of tr Q_i^T A Q_i + c_i u_i^T A u_i, Q_i a basis of the other probes' images, u_i
    what probe i has outside of it, c_i the dimension of that outside over |u_i|^2.

    The same estimates as matfree's, for operators of any scale (there images below the machine's epsilon count as
    zero) and in bounded memory (there all products are formed at once).
    """
    domain = operator.in_structure()
    product = flat_product(operator)
    dimension, dtype = coordinates(domain).size, coordinates(domain).dtype
    if num_matvecs >= dimension:
        columns = _mapped(product, jnp.eye(dimension, dtype=dtype), chunk_size)
        return Estimate(jnp.trace(columns), jnp.zeros((), dtype))
    probes = jax.random.normal(key, (num_matvecs // 2, dimension), dtype)
    basis, triangle = jnp.linalg.qr(_mapped(product, probes, chunk_size).T)
    images = _mapped(product, basis.T, chunk_size)
    estimates = _leave_one_out(basis.T @ images.T, triangle, basis.T @ probes.T, images @ probes.T, jnp.sum(probes**2, axis=1), dimension)
    return Estimate(estimates.mean(), estimates.std(ddof=1) / jnp.sqrt(len(estimates)))


def _leave_one_out(
    compressed: Float[Array, "k k"],
    triangle: Float[Array, "k k"],
    coordinates: Float[Array, "k k"],
    pulled: Float[Array, "k k"],
    lengths: Float[Array, " k"],
    dimension: int,
) -> Float[Array, " k"]:
    """The k estimates of XTrace from Q^T A Q, R, Q^T W, (A Q)^T W and the squared norms of the probes W.

    Q_i is Q without the direction Q s_i that only probe i reaches, s_i the normalized column of R^{-T}. Where R has rounding
    on its diagonal, the operator having low rank, something larger takes its place, so that no inverse grows.
    """
    count, diagonal = len(triangle), jnp.diagonal(triangle)
    scale = jnp.abs(diagonal).max()
    relative = triangle / jnp.where(scale > 0, scale, 1)
    floor = count * jnp.finfo(triangle.dtype).eps
    lifted = relative + jnp.diag(jnp.where(jnp.abs(jnp.diagonal(relative)) < floor, floor - jnp.diagonal(relative), 0))
    alone = solve_triangular(lifted, jnp.eye(count, dtype=triangle.dtype), trans="T")
    alone = alone / jnp.linalg.norm(alone, axis=0)
    seen = jnp.sum(alone * coordinates, axis=0)
    within = coordinates - alone * seen
    inside = jnp.trace(compressed) - jnp.sum(alone * (compressed @ alone), axis=0)
    outside = seen * jnp.sum(alone * triangle, axis=0) - jnp.sum(pulled * within, axis=0) + jnp.sum(within * (compressed @ within), axis=0)
    return inside + (dimension - count + 1) / (lengths - jnp.sum(within**2, axis=0)) * outside


def _mapped(fn: Callable[[Array], Array], vectors: Array, chunk_size: int) -> Array:
    return jax.lax.map(fn, vectors, batch_size=chunk_size if chunk_size > 1 else None)
