"""Path norm of piecewise linear nets, by one forward pass."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen import structure
from jaxgen._core.checks import require
from jaxgen.bounds.norms._traced import ApplyFn, layers_of


def path_norm(apply_fn: ApplyFn, params: PyTree, x: PyTree, *, p: float = 2.0) -> Float[Array, ""]:
    """Path norm (sum over paths of prod |w|^p)^(1/p), by one forward pass with weights |w|^p on an input of ones.

    For nets that are positively homogeneous between their layers (linear, ReLU, max pooling): those give nonnegative values back
    as they are. Biases count as weights from a unit that is one. The norm is that of all outputs together.

    Args:
        apply_fn: `apply_fn(params, x)`, a net with piecewise linear activations and no normalization.
        params: parameters, a pytree of floating leaves.
        x: inputs like the net's, with leading axis N; only the shapes of one of them matter.
        p: exponent, at least 1.

    Returns:
        The norm; it does not change when a hidden unit's weights are scaled up and those from it down.

    Raises:
        ValueError: if p < 1, the outputs are not piecewise affine in every leaf by itself, which batch normalization and
            smooth activations are not, or something that is no parameter is added, as the means of a frozen normalization are.
        TypeError: if a leaf of `params` is not real.

    Source: Neyshabur, Tomioka and Srebro 2015; spec GEN-39. Cost: one forward pass.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> net = lambda w, x: jnp.maximum(x @ w["a"], 0) @ w["b"]
        >>> float(bounds.path_norm(net, {"a": -jnp.ones((3, 4)), "b": jnp.ones((4, 2))}, jnp.zeros((1, 3)), p=1))
        24.0
    """
    require(p >= 1, f"p must be at least 1; got {p}")
    one = jax.tree.map(lambda leaf: jnp.ones_like(jnp.asarray(leaf)[:1]), x)
    params, layers = layers_of(apply_fn, params, one)
    reason = without_paths(layers)
    require(not reason, f"the path norm is one of piecewise linear nets without normalization; {reason}")
    powers = jax.tree.map(lambda leaf: jnp.abs(leaf) ** p, params)
    return jnp.sum(apply_fn(powers, one)) ** (1 / p)


def without_paths(layers: structure.Layers) -> str:
    """Why the outputs are not sums over paths from the inputs; empty where they are."""
    degrees = structure.degrees(layers.analysis.graph, layers.num_leaves)
    bent = [leaf.path for number, leaf in enumerate(layers.leaves) if degrees[number] > 1]
    if bent:
        return f"outputs are not affine in {', '.join(bent)} alone"
    offsets = [str(node) for node in layers.analysis.graph.nodes if node.primitive in ("add", "sub") and _adds_a_constant(layers, node.inputs)]
    return f"a constant is added by {offsets[0]}" if offsets else ""


def _adds_a_constant(layers: structure.Layers, operands: Iterable[Any]) -> bool:
    """Whether an example's value is added to what neither examples nor parameters influence."""
    values = [layers.analysis.value(operand) for operand in operands]
    return any(value.axis is not None for value in values) and any(value.axis is None and not value.leaves for value in values)
