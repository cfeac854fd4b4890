"""Derivatives on computation graphs: with respect to nodes of a program, and by sweeps over a graph's edges."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, require

Tag = Callable[[str, Array], Array]


class NodeSensitivities(NamedTuple):
    """What `node_sensitivities` found.

    Attributes:
        output: the scalar f.
        values: value of every tagged node, by name.
        gradients: df / dz of every tagged node z, by name, of the node's shape.
    """

    output: Float[Array, ""]
    values: dict[str, Array]
    gradients: dict[str, Array]


def node_sensitivities(fn: Callable[..., Array], *args: Any) -> NodeSensitivities:
    """Gradient of a program's scalar output with respect to its intermediate values, df / dz for every tagged node z.

    `fn` receives a function `node(name, value)`, through which it passes the values of interest; that adds a perturbation
    delta to each, and f(z + delta) is differentiated at delta = 0. The gradient of a weight matrix W in u = W h is then
    the outer product of the gradient of u and the value of h.

    Args:
        fn: `fn(node, *args) -> scalar`, in which `node(name, value) -> value` is called once for every name, outside of
            the bodies of loops, conditionals, `jit` and `vmap`.
        args: further arguments of `fn`, not differentiated.

    Returns:
        Output, values and gradients of the nodes.

    Raises:
        ValueError: if a name is tagged twice, no node is, or the output is no scalar.
        TypeError: if a node or the output is not real.

    Source: the chain rule; spec AD-1. Cost: one gradient of `fn`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> def net(node, w, x):
        ...     return jnp.sum(node("hidden", w @ x) ** 2)
        >>> found = gradients.node_sensitivities(net, jnp.array([[1.0, 2.0]]), jnp.array([1.0, 1.0]))
        >>> found.gradients["hidden"].tolist(), float(found.output)
        ([6.0], 9.0)
    """
    shapes = jax.eval_shape(lambda: _run(fn, args, {})[1])
    require(bool(shapes), "fn must tag at least one node; it tagged none")
    zeros = {name: jnp.zeros(node.shape, node.dtype) for name, node in shapes.items()}
    (output, values), gradients = jax.value_and_grad(lambda deltas: _run(fn, args, deltas), has_aux=True)(zeros)
    return NodeSensitivities(output, values, gradients)


def _run(fn: Callable[..., Array], args: tuple[Any, ...], deltas: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """The output, and the values of the nodes, each with its perturbation if there is one."""
    values: dict[str, Array] = {}

    def node(name: str, value: ArrayLike) -> Array:
        require(name not in values, f"the node {name!r} is tagged twice")
        array = floating(f"node {name!r}", value)
        values[name] = array + deltas[name] if name in deltas else array
        return values[name]

    output = floating("the output of fn", fn(node, *args))
    require(output.ndim == 0, f"fn must return a scalar; got shape {output.shape}")
    return output, values


def dag_backprop(local_derivatives: Float[ArrayLike, "V V"], output: int) -> Float[Array, " V"]:
    """Derivatives of one node with respect to all nodes of an acyclic graph, by one sweep backwards over its edges.

    S_out = 1 and S_z = sum_u D_uz S_u over the nodes u that z feeds: backpropagation is the back substitution that solves
    (I - D)^T S = e_out.

    Args:
        local_derivatives: D, with D_uz = du / dz along the edge from z to u and zero where there is none; nodes stand in
            topological order, so that D is strictly lower triangular.
        output: index of the node that is differentiated.

    Returns:
        S, with S_z = d out / d z; zero for nodes after `output`.

    Raises:
        ValueError: if D is not square, has a nonzero entry on or above the diagonal (a cycle; NaN results when traced), or
            `output` is out of range.
        TypeError: if D is not real.

    Source: spec AD-2. Cost: one multiplication and addition an edge for a sparse graph; this one is dense, V^2 / 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> chain_with_skip = jnp.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 3.0, 0.0]])
        >>> gradients.dag_backprop(chain_with_skip, 2).tolist()
        [7.0, 3.0, 1.0]
    """
    matrix = _acyclic(local_derivatives)
    count = len(matrix)
    require(-count <= output < count, f"output must be the index of one of {count} nodes; got {output}")
    return solve_triangular(-matrix, jnp.eye(count, dtype=matrix.dtype)[output], trans=1, lower=True, unit_diagonal=True)


def dag_forward_all_pairs(local_derivatives: Float[ArrayLike, "V V"]) -> Float[Array, "V V"]:
    """Derivatives of all nodes of an acyclic graph with respect to all nodes, by a sweep forwards for every source.

    Column z is e_z pushed along the edges: A_uz = sum over the nodes y that feed u of D_uy A_yz, so that A = (I - D)^{-1},
    the sum over all paths from z to u of the products along them.

    Args:
        local_derivatives: D as in `dag_backprop`.

    Returns:
        A, with A_uz = du / dz: ones on the diagonal, zeros above it.

    Raises:
        ValueError: if D is not square or has a nonzero entry on or above the diagonal (a cycle; NaN results when traced).
        TypeError: if D is not real.

    Source: spec AD-2. Cost: V times that of `dag_backprop`.
    """
    matrix = _acyclic(local_derivatives)
    return solve_triangular(-matrix, jnp.eye(len(matrix), dtype=matrix.dtype), lower=True, unit_diagonal=True)


def _acyclic(local_derivatives: Float[ArrayLike, "V V"]) -> Float[Array, "V V"]:
    matrix = floating("local_derivatives", local_derivatives)
    require(matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1], f"local_derivatives must be a square matrix; got shape {matrix.shape}")
    message = "local_derivatives must be strictly lower triangular: a nonzero entry on or above the diagonal is a cycle"
    return checked(matrix, (jnp.triu(matrix) == 0, message))
