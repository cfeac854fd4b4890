"""Sharpness: the largest eigenvalue, with what is known of its convergence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, ArrayLike, Bool, Float, Key, PyTree

from jaxgen._core.checks import floating, positive_integer
from jaxgen.curvature.eigenpairs import eigenvalues
from jaxgen.curvature.products import coordinates, square_domain


class Sharpness(NamedTuple):
    """What `sharpness` found.

    Attributes:
        value: the largest eigenvalue found.
        residual: |A v - value v| for its vector; an eigenvalue of A lies within it of `value`.
        converged: whether the residual is within the tolerance asked for.
        vector: unit eigenvector, a pytree like the parameters.
    """

    value: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]
    vector: PyTree


def sharpness(operator: lx.AbstractLinearOperator, key: Key[Array, ""], *, num_matvecs: int = 50, rtol: ArrayLike = 1e-3) -> Sharpness:
    """The largest eigenvalue of a symmetric operator, and whether it has converged: |A v - value v| <= rtol |value|.

    An eigenvalue lies within the residual of the value, and within residual^2 / gap where the next one is a gap away, so that
    the relative error of a converged value is at most rtol and often near its square.

    Args:
        operator: any symmetric `lineax` operator on pytrees of real arrays; `curvature.hessian` for the sharpness of a minimum.
        key: key of the start vector.
        num_matvecs: number of Lanczos steps; of more than the number of parameters that number is taken.
        rtol: tolerance of the residual, relative to the value.

    Returns:
        `Sharpness`; NaN and not converged where a traced check fails.

    Raises:
        ValueError: if `operator` is not square, not symmetric or a product not finite, or `num_matvecs` < 1.

    Source: Lanczos 1950; Cohen et al. 2021; spec OPT-18, OPT-20. Cost: as `eigenvalues` with k = 1.

    Example:
        >>> import jax, jax.numpy as jnp, lineax as lx
        >>> from jaxgen import curvature
        >>> found = curvature.sharpness(lx.DiagonalLinearOperator(jnp.array([-5.0, 3.0, 1.0])), jax.random.key(0))
        >>> round(float(found.value), 4), bool(found.converged)
        (3.0, True)
    """
    num_matvecs = min(positive_integer("num_matvecs", num_matvecs), coordinates(square_domain(operator)).size)
    found = eigenvalues(operator, key, k=1, num_matvecs=num_matvecs)
    value, residual = found.values[0], found.residuals[0]
    return Sharpness(value, residual, residual <= floating("rtol", rtol) * jnp.abs(value), jax.tree.map(lambda leaf: leaf[0], found.vectors))
