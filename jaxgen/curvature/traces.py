"""Traces of operators that are only multiplied by."""

import jax
import lineax as lx
import optax
from jaxtyping import Array, Key

from jaxgen._core.checks import choice, positive_integer, require
from jaxgen._core.monte_carlo import average_over_draws
from jaxgen._core.results import Estimate


def trace(operator: lx.AbstractLinearOperator, key: Key[Array, ""], *, num_matvecs: int, method: str = "hutchinson", chunk_size: int = 1) -> Estimate:
    """Trace of an operator from a budget of products, tr A = E v^T A v with v of independent signs.

    Args:
        operator: any square `lineax` operator on pytrees of real arrays, `curvature.hessian` for instance.
        key: key of the probes.
        num_matvecs: number of products A v, one a probe.
        method: `"hutchinson"`.
        chunk_size: probes multiplied at a time, which bounds memory to that of so many products; more than one pays on
            accelerators and for very small operators.

    Returns:
        The mean over probes, with its standard error from them (NaN for one probe). Exact for diagonal A; the variance
        of one probe is 2 |A - diag A|_F^2 for symmetric A.

    Raises:
        ValueError: if `operator` is not square, `num_matvecs` or `chunk_size` < 1, or `method` is unknown.

    Source: Hutchinson 1990; spec INFO-28. Cost: num_matvecs products of the operator linearised once.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> operator = curvature.hessian(lambda w, x: 0.5 * (x * w**2).sum(-1), jnp.zeros(3), jnp.array([[1.0, 2.0, 3.0]]))
        >>> float(curvature.trace(operator, jax.random.key(0), num_matvecs=2).value)
        6.0
    """
    choice("method", method, ("hutchinson",))
    num_matvecs = positive_integer("num_matvecs", num_matvecs)
    domain, image = operator.in_structure(), operator.out_structure()
    require(domain == image, f"operator must be square: it maps {domain} to {image}")
    product = lx.linearise(operator).mv
    like = optax.tree.zeros_like(domain)

    def probe(probe_key):
        signs = optax.tree.random_like(probe_key, like, jax.random.rademacher)
        return optax.tree.vdot(signs, product(signs))

    return average_over_draws(probe, key, num_matvecs, chunk_size=chunk_size)
