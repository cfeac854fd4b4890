"""Why interpolating nets cannot be counted: the dimension of the set they form (GEN-4)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Int, PyTree

from jaxgen._core.checks import floating, leading_axis, require


def solution_manifold_dim(apply_fn: Callable[[PyTree, Array], Array], params: PyTree, x: PyTree, *, rtol: ArrayLike | None = None) -> Int[Array, ""]:
    r"""The dimension of the set of parameters with the same outputs, $k - \operatorname{rank} J$ for k parameters with output Jacobian J.

    At an interpolating minimum of the squared loss it is the dimension of the Hessian's kernel, and at least k - m C for m
    examples of C outputs: with more parameters than that, the minima are a continuum, and no finite class.

    Args:
        apply_fn: model, `apply_fn(params, x) -> outputs`, an array.
        params: parameters, any pytree of k floating numbers.
        x: m examples, an array or pytree of leading axis m.
        rtol: singular values of J below `rtol` times the largest count as zero; default max(m C, k) times the rounding unit.

    Returns:
        The dimension, a scalar of integers; that of the solution set where J has constant rank near `params`.

    Raises:
        ValueError: if `x` holds no example, or the outputs are no array of numbers.
        TypeError: if a leaf of `params` is not real.

    Source: Theory of Deep Learning, Example 5.2.2; GEN-4. Cost: a Jacobian, min(m C, k) derivatives, and its singular values.
    """
    require(leading_axis("x", x) > 0, "x must hold at least one example; got 0")
    flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: floating("params", leaf), params))

    def outputs(flat):
        found = apply_fn(unravel(flat), x)
        require(hasattr(found, "shape"), f"apply_fn must return one array of outputs; got {type(found).__name__}")
        return jnp.ravel(found)

    num_outputs = jax.eval_shape(outputs, flat).size
    jacobian = (jax.jacrev if num_outputs <= flat.size else jax.jacfwd)(outputs)(flat)
    rank = jnp.linalg.matrix_rank(jacobian, rtol=rtol)
    return (flat.size - rank).astype(jnp.int32)
