"""What every functional of an operator needs: its products in a loop, probes, and programs that are compiled once."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Key, PyTree

from jaxgen._core.checks import checked, is_traced, require
from jaxgen._core.monte_carlo import signs_like
from jaxgen.curvature.in_turn import in_turn
from jaxgen.curvature.loops import loop_body
from jaxgen.curvature.symmetric import CurvatureOperator

Functional = TypeVar("Functional", bound=Callable[..., Any])


def square_domain(operator: lx.AbstractLinearOperator) -> PyTree[jax.ShapeDtypeStruct]:
    """Structure of the vectors that a square operator takes and gives."""
    domain, image = operator.in_structure(), operator.out_structure()
    require(domain == image, f"operator must be square: it maps {domain} to {image}")
    return domain


def flat_product(operator: lx.AbstractLinearOperator) -> Callable[[Array], Array]:
    """v -> A v on vectors of coordinates, in the order of `jax.flatten_util.ravel_pytree`, for use in a loop."""
    unravel = unraveller(operator.in_structure())
    product = lx.linearise(operator).mv
    return lambda vector: ravel_pytree(product(unravel(vector)))[0]


def coordinates(domain: PyTree[jax.ShapeDtypeStruct]) -> jax.ShapeDtypeStruct:
    """Shape and dtype of the vector of coordinates of a pytree like `domain`."""
    return jax.eval_shape(lambda tree: ravel_pytree(tree)[0], domain)


def unraveller(domain: PyTree[jax.ShapeDtypeStruct]) -> Callable[[Array], PyTree]:
    """Vectors of coordinates to pytrees like `domain`."""
    return ravel_pytree(optax.tree.zeros_like(domain))[1]


def quadratic_form(operator: lx.AbstractLinearOperator) -> Callable[[PyTree], Array]:
    """v -> v^T A v for use in a loop, without backward passes where the operator knows how."""
    if isinstance(operator, CurvatureOperator):
        return loop_body(operator.quadratic_form(), operator.in_structure())
    product = lx.linearise(operator).mv
    return lambda vector: jnp.asarray(optax.tree.vdot(vector, product(vector)))


def asymmetry(operator: lx.AbstractLinearOperator, key: Key[Array, ""]) -> Array:
    """|u^T A v - v^T A u| / (|A u| + |A v|) for random signs u, v; zero for an operator that says it is symmetric."""
    if lx.is_symmetric(operator):
        return jnp.zeros(())
    domain, product = operator.in_structure(), lx.linearise(operator).mv
    u, v = (signs_like(probe_key, domain) for probe_key in jax.random.split(key))
    of_u, of_v = product(u), product(v)
    scale = optax.tree.norm(of_u) + optax.tree.norm(of_v)
    difference = jnp.asarray(optax.tree.vdot(u, of_v)) - jnp.asarray(optax.tree.vdot(v, of_u))
    return jnp.abs(difference) / jnp.where(scale > 0, scale, 1)


def compiled_once(functional: Functional) -> Functional:
    """A functional of an operator that, called on concrete values, is a program of its own; under `vmap`, see `in_turn`.

    The function of an operator is static and its parameters are not: other parameters, the same program.
    """
    traced = in_turn(functional)
    program = eqx.filter_jit(functional)

    @functools.wraps(functional)
    def call(operator: lx.AbstractLinearOperator, *args: Any) -> Any:
        return (traced if is_traced(operator, args) else program)(operator, *args)

    return call  # pyright: ignore[reportReturnType]


def finite(value: Array) -> Array:
    """`value`, which comes from products of an operator: refused where it is not finite, NaN when traced."""
    return checked(value, (jnp.isfinite(value), "a product of the operator is not finite: are its parameters and its data?"))


def symmetric(value: Array, asymmetry: Array) -> Array:
    """`value`, which supposes a symmetric operator: refused where a probe showed another one, NaN when traced."""
    message = "operator must be symmetric: u^T A v and v^T A u differ for random u and v"
    return checked(value, (asymmetry <= jnp.sqrt(jnp.finfo(value.dtype).eps), message))
