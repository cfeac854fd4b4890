"""Traces of operators that are only multiplied by."""

from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Key

from jaxgen._core.checks import choice, positive_integer, require
from jaxgen._core.monte_carlo import average_over_draws, signs_like
from jaxgen._core.results import Estimate
from jaxgen.curvature.products import compiled_once, finite, quadratic_form, square_domain
from jaxgen.curvature.sketches import hutchpp, xtrace


def trace(
    operator: lx.AbstractLinearOperator,
    key: Key[Array, ""],
    *,
    num_matvecs: int,
    method: str = "hutchinson",
    per_leaf: bool = False,
    chunk_size: int = 1,
) -> Any:
    """Trace of an operator from a budget of products, tr A = E v^T A v with v of independent signs.

    Args:
        operator: any square `lineax` operator on pytrees of real arrays, `curvature.hessian` for instance.
        key: key of the probes.
        num_matvecs: number m of products A v.
        method: `"hutchinson"`, the mean over m probes. `"hutchpp"`: the trace on the range of a sketch of m/3 products, and
            Hutchinson's estimate of the rest. `"xtrace"`: every one of m/2 probes in turn is the probe of the rest of a sketch
            by the others. The latter two have far smaller errors where few eigenvalues make the trace, and may have larger ones
            where the spectrum is flat and A nearly diagonal; they hold m/3 and 2m vectors in memory.
        per_leaf: returns the trace of every leaf's diagonal block, from the same probes; with `"hutchinson"` only.
        chunk_size: probes multiplied at a time, which bounds memory to that of so many products; more than one pays on
            accelerators and for very small operators.

    Returns:
        `Estimate`, or with `per_leaf` a pytree of them like the parameters. The value has no bias; its standard error is
        estimated from the spread over probes, NaN for a single one. `"hutchinson"`: exact for diagonal A; the
        variance of one probe is 2 |A - diag A|_F^2 for symmetric A. `"xtrace"` with m of at least the number of parameters
        is exact, standard error 0.

    Raises:
        ValueError: if `operator` is not square or a product not finite, `num_matvecs` or `chunk_size` < 1 (or less than the
            method needs: 3 for `"hutchpp"`, 2 for `"xtrace"`), `method` is unknown, or has no `per_leaf`.

    Source: Hutchinson 1990; Meyer, Musco, Musco and Woodruff 2021; Epperly, Tropp and Webber 2024; spec INFO-28.
    Cost: the products share the forward and backward pass that do not depend on the probe; Hutchinson's quadratic forms of
    the library's own operators need no backward pass at all (with `per_leaf` they do).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import curvature
        >>> operator = curvature.hessian(lambda w, x: 0.5 * (x * w**2).sum(-1), jnp.zeros(3), jnp.array([[1.0, 2.0, 3.0]]))
        >>> float(curvature.trace(operator, jax.random.key(0), num_matvecs=2).value)
        6.0
    """
    choice("method", method, ("hutchinson", "hutchpp", "xtrace"))
    num_matvecs = positive_integer("num_matvecs", num_matvecs, at_least={"hutchinson": 1, "hutchpp": 3, "xtrace": 2}[method])
    chunk_size = positive_integer("chunk_size", chunk_size)
    require(method == "hutchinson" or not per_leaf, f"per_leaf needs method 'hutchinson', whose probes see every block; got {method!r}")
    domain = square_domain(operator)
    functional = {"hutchinson": _hutchinson_per_leaf if per_leaf else _hutchinson, "hutchpp": hutchpp, "xtrace": xtrace}[method]
    value, stderr = functional(operator, key, num_matvecs, chunk_size)
    value = finite(value)
    if not per_leaf:
        return Estimate(value, stderr)
    return jax.tree.unflatten(jax.tree.structure(domain), [Estimate(*pair) for pair in zip(value, stderr, strict=True)])


@compiled_once
def _hutchinson(operator: lx.AbstractLinearOperator, key: Array, num_matvecs: int, chunk_size: int) -> Estimate:
    domain, form = operator.in_structure(), quadratic_form(operator)
    return average_over_draws(lambda probe_key: form(signs_like(probe_key, domain)), key, num_matvecs, chunk_size=chunk_size)


@compiled_once
def _hutchinson_per_leaf(operator: lx.AbstractLinearOperator, key: Array, num_matvecs: int, chunk_size: int) -> Estimate:
    domain, product = operator.in_structure(), lx.linearise(operator).mv

    def probe(probe_key: Array) -> Array:
        signs = signs_like(probe_key, domain)
        return jnp.stack(jax.tree.leaves(jax.tree.map(jnp.vdot, signs, product(signs))))

    return average_over_draws(probe, key, num_matvecs, chunk_size=chunk_size)
