"""What a potential is, and those that are sums of a function of one number over the entries of an array."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxgen._core.checks import checked, floating

Elementwise = Callable[..., Array]


class Potential(NamedTuple):
    r"""A potential R of Legendre type, whose gradient is a mirror map; every field is a `jax.tree_util.Partial` of one array.

    So a potential is a pytree with its parameters as leaves: it may be an argument of a compiled function, and mapped over.

    Attributes:
        value: w -> R(w).
        mirror: w -> grad R(w).
        inverse_mirror: z -> (grad R)^-1(z) = grad R*(z).
        hessian_vector: (w, v) -> grad^2 R(w) v.
        domain: w -> whether R is finite and differentiable there, a boolean scalar.
        inverse_hessian_vector: (w, v) -> (grad^2 R(w))^-1 v.
        conjugate: z -> R*(z) = sup_w <z, w> - R(w).
    """

    value: Callable[[Array], Float[Array, ""]]
    mirror: Callable[[Array], Array]
    inverse_mirror: Callable[[Array], Array]
    hessian_vector: Callable[[Array, Array], Array]
    domain: Callable[[Array], Bool[Array, ""]]
    inverse_hessian_vector: Callable[[Array, Array], Array]
    conjugate: Callable[[Array], Float[Array, ""]]


@dataclasses.dataclass(frozen=True, eq=False)
class Separable:
    """A sum of one potential r over the entries of an array, from elementwise functions of (entries, *parameters).

    One instance stands for a family: potentials of it differ in the leaves alone, so that programs compiled for one serve all.

    Attributes:
        value: r.
        mirror: r'.
        inverse_mirror: (r')^-1.
        second_derivative: r''.
        conjugate: r*.
        primal: where r is finite and differentiable.
        dual: the range of r'.
        primal_name: what `w` must be, for error messages.
        dual_name: what `z` must be.
        closure: where r is finite; by default `primal`.
    """

    value: Elementwise
    mirror: Elementwise
    inverse_mirror: Elementwise
    second_derivative: Elementwise
    conjugate: Elementwise
    primal: Elementwise = lambda w, *_: jnp.isfinite(w)
    dual: Elementwise | None = None
    primal_name: str = "finite"
    dual_name: str = "finite"
    closure: Elementwise | None = None

    def potential(self, *parameters: Array) -> Potential:
        """The potential with these parameters as leaves, on arrays that they broadcast to."""
        maps = (self._value, self._mirror, self._inverse, self._hessian, self._domain, self._inverse_hessian, self._conjugate)
        return Potential(*(Partial(function, *parameters) for function in maps))

    def _inside(self, parameters: tuple[Array, ...], w: ArrayLike) -> Array:
        w = floating("w", w)
        return checked(w, (self.primal(w, *parameters) | jnp.isnan(w), f"w must be {self.primal_name}, where the potential is differentiable"))

    def _dual(self, parameters: tuple[Array, ...], z: ArrayLike) -> Array:
        z = floating("z", z)
        if self.dual is None:
            return z
        return checked(z, (self.dual(z, *parameters) | jnp.isnan(z), f"z must be {self.dual_name}, in the range of the mirror map"))

    def _value(self, *arguments: Array) -> Array:
        *parameters, w = arguments
        w, finite = floating("w", w), self.closure or self.primal
        w = checked(w, (finite(w, *parameters) | jnp.isnan(w), f"w must be {self.primal_name}, in the domain of the potential"))
        return jnp.sum(self.value(w, *parameters))

    def _mirror(self, *arguments: Array) -> Array:
        *parameters, w = arguments
        return self.mirror(self._inside(tuple(parameters), w), *parameters)

    def _inverse(self, *arguments: Array) -> Array:
        *parameters, z = arguments
        return self.inverse_mirror(self._dual(tuple(parameters), z), *parameters)

    def _hessian(self, *arguments: Array) -> Array:
        *parameters, w, v = arguments
        return self.second_derivative(self._inside(tuple(parameters), w), *parameters) * v

    def _inverse_hessian(self, *arguments: Array) -> Array:
        *parameters, w, v = arguments
        return v / self.second_derivative(self._inside(tuple(parameters), w), *parameters)

    def _domain(self, *arguments: Array) -> Array:
        *parameters, w = arguments
        w = floating("w", w)
        return jnp.all(jnp.isfinite(w) & self.primal(w, *parameters))

    def _conjugate(self, *arguments: Array) -> Array:
        *parameters, z = arguments
        return jnp.sum(self.conjugate(self._dual(tuple(parameters), z), *parameters))
