"""Extreme eigenvalues of symmetric operators."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, Key, PyTree

from jaxgen._core.checks import choice, positive_integer, require
from jaxgen.curvature.lanczos import tridiagonalize, unit
from jaxgen.curvature.products import asymmetry, compiled_once, coordinates, finite, flat_product, square_domain, symmetric, unraveller


class Eigenvalues(NamedTuple):
    """What `eigenvalues` found.

    Attributes:
        values: k eigenvalues, the most extreme first.
        residuals: |A v - value v| of each; an eigenvalue of A lies within it of `values`.
        vectors: unit eigenvectors, a pytree like the parameters with leading axis k on every leaf.
    """

    values: Float[Array, " k"]
    residuals: Float[Array, " k"]
    vectors: PyTree


def eigenvalues(
    operator: lx.AbstractLinearOperator, key: Key[Array, ""], *, k: int, which: str = "largest", num_matvecs: int | None = None
) -> Eigenvalues:
    """The k largest or smallest eigenvalues of a symmetric operator, by Lanczos with full reorthogonalization.

    Algebraically largest or smallest: with negative curvature the largest in modulus may be at the other end (for that one
    see `power_iteration`). Convergence is fast at the ends of a spectrum with gaps; `residuals` tell.

    Args:
        operator: any symmetric `lineax` operator on pytrees of real arrays, `curvature.hessian` for instance. One that is not
            tagged symmetric is probed for it.
        key: key of the start vector.
        k: number of eigenvalues, at most `num_matvecs`.
        which: `"largest"` or `"smallest"`.
        num_matvecs: number m of Lanczos steps, a product each, at most the number P of parameters; exact at m = P. Default:
            the lesser of 50 + 10 k and P. A last k products give the Rayleigh quotients and residuals.

    Returns:
        Eigenvalues with residuals and eigenvectors; NaN where a traced check fails. Differentiable in the operator's
        parameters, as far as eigenvalues have converged and are simple: d value = v^T (dA) v.

    Raises:
        ValueError: if `operator` is not square, not symmetric (by a probe u^T A v = v^T A u) or a product not finite, k < 1, or
            not k <= `num_matvecs` <= P; or `which` is unknown.

    Source: Lanczos 1950; Paige 1976; spec OPT-18. Cost: m products of the operator linearised once, 4 m^2 P operations of
    reorthogonalization; memory m P.

    Example:
        >>> import jax, jax.numpy as jnp, lineax as lx
        >>> from jaxgen import curvature
        >>> operator = lx.DiagonalLinearOperator(jnp.array([-5.0, 3.0, 1.0]))
        >>> found = curvature.eigenvalues(operator, jax.random.key(0), k=2)
        >>> [round(float(value), 4) for value in found.values]
        [3.0, 1.0]
    """
    choice("which", which, ("largest", "smallest"))
    k = positive_integer("k", k)
    dimension = coordinates(square_domain(operator)).size
    num_matvecs = min(50 + 10 * k, dimension) if num_matvecs is None else lanczos_steps("num_matvecs", num_matvecs, dimension)
    require(k <= num_matvecs, f"k must be at most the number of Lanczos vectors, {num_matvecs}; got {k}")
    found, difference = _eigenvalues(operator, key, k, which, num_matvecs)
    return found._replace(values=symmetric(finite(found.values), difference))


def lanczos_steps(name: str, value: int, dimension: int) -> int:
    """A number of Lanczos steps, of which there cannot be more than dimensions."""
    value = positive_integer(name, value)
    require(value <= dimension, f"{name} must be at most the number of parameters, {dimension}, for as many Lanczos vectors; got {value}")
    return value


@compiled_once
def _eigenvalues(operator: lx.AbstractLinearOperator, key: Array, k: int, which: str, num_matvecs: int) -> tuple[Eigenvalues, Array]:
    domain, product = operator.in_structure(), flat_product(operator)
    flat = coordinates(domain)
    start_key, restart_key, probe_key = jax.random.split(key, 3)
    start = jax.random.normal(start_key, flat.shape, flat.dtype)
    found = tridiagonalize(lambda vector: jax.lax.stop_gradient(product(vector)), start, restart_key, num_matvecs)
    columns = found.eigenpairs()[1]
    extreme = columns[:, :k] if which == "smallest" else columns[:, : num_matvecs - k - 1 : -1] if k < num_matvecs else columns[:, ::-1]

    def pair(weights: Array) -> tuple[Array, Array, PyTree]:
        vector = unit(weights @ found.basis)
        image = product(vector)
        value = jnp.vdot(vector, image)
        return value, jnp.linalg.norm(image - value * vector), unraveller(domain)(vector)

    return Eigenvalues(*jax.lax.map(pair, extreme.T)), asymmetry(operator, probe_key)
