"""Diagonals of operators that are only multiplied by."""

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Key, PyTree

from jaxgen._core.checks import positive_integer
from jaxgen._core.monte_carlo import signs_like
from jaxgen._core.results import Estimate
from jaxgen.curvature.products import compiled_once, finite, square_domain


def diagonal(operator: lx.AbstractLinearOperator, key: Key[Array, ""], *, num_matvecs: int, chunk_size: int = 1) -> Estimate:
    """Diagonal of an operator from a budget of products, diag A = E v * (A v) with v of independent signs.

    Args:
        operator: any square `lineax` operator on pytrees of real arrays, `curvature.hessian` for instance.
        key: key of the probes.
        num_matvecs: number of products A v, one a probe.
        chunk_size: probes multiplied at a time, which bounds memory to that of so many products.

    Returns:
        `Estimate` of two pytrees like the parameters: the mean over probes, and its standard error from them (NaN for one
        probe). The variance of one probe at coordinate i is sum_{j != i} A_ij^2 for symmetric A: exact for diagonal A.

    Raises:
        ValueError: if `operator` is not square or a product not finite, or `num_matvecs` or `chunk_size` < 1.

    Source: Bekas, Kokiopoulou and Saad 2007. Cost: num_matvecs products of the operator linearised once; memory 2 P besides.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> operator = curvature.hessian(lambda w, x: 0.5 * (x * w**2).sum(-1), jnp.zeros(3), jnp.array([[1.0, 2.0, 3.0]]))
        >>> curvature.diagonal(operator, jax.random.key(0), num_matvecs=2).value.tolist()
        [1.0, 2.0, 3.0]
    """
    num_matvecs = positive_integer("num_matvecs", num_matvecs)
    square_domain(operator)
    value, stderr = _diagonal(operator, key, num_matvecs, positive_integer("chunk_size", chunk_size))
    return Estimate(jax.tree.map(finite, value), stderr)


@compiled_once
def _diagonal(operator: lx.AbstractLinearOperator, key: Array, num_matvecs: int, chunk_size: int) -> Estimate:
    domain, product = operator.in_structure(), lx.linearise(operator).mv
    keys = jax.random.split(key, num_matvecs)
    whole = num_matvecs // chunk_size * chunk_size

    def probe(probe_key: Array) -> PyTree:
        signs = signs_like(probe_key, domain)
        return jax.tree.map(jnp.multiply, signs, product(signs))

    def merge(so_far: tuple, chunk_keys: Array) -> tuple[tuple, None]:
        """Count, mean and sum of squared deviations with a chunk more (Chan, Golub and LeVeque 1983)."""
        count, mean, squares = so_far
        values = jax.vmap(probe)(chunk_keys) if len(chunk_keys) > 1 else jax.tree.map(lambda leaf: leaf[None], probe(chunk_keys[0]))
        new = count + len(chunk_keys)
        shift = jax.tree.map(lambda value, centre: value.mean(axis=0) - centre, values, mean)
        within = jax.tree.map(lambda value: jnp.sum((value - value.mean(axis=0)) ** 2, axis=0), values)
        squares = jax.tree.map(lambda old, add, move: old + add + move**2 * (count * len(chunk_keys) / new), squares, within, shift)
        return (new, jax.tree.map(lambda centre, move: centre + move * (len(chunk_keys) / new), mean, shift), squares), None

    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), domain)
    state, _ = jax.lax.scan(merge, (jnp.zeros(()), zeros, zeros), keys[:whole].reshape(-1, chunk_size))
    if whole < num_matvecs:
        state, _ = merge(state, keys[whole:])
    _, mean, squares = state
    spread = num_matvecs * (num_matvecs - 1) if num_matvecs > 1 else jnp.nan
    return Estimate(mean, jax.tree.map(lambda leaf: jnp.sqrt(leaf / spread), squares))
