"""The layers of a traced net, as its norms see them."""

from collections.abc import Callable

import jax
from jaxtyping import Array, PyTree

from jaxgen import structure
from jaxgen._core.checks import floating

ApplyFn = Callable[[PyTree, PyTree], Array]


def layers_of(apply_fn: ApplyFn, params: PyTree, x: PyTree) -> tuple[PyTree, structure.Layers]:
    """Floating parameters and what is known of the net."""
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    return params, structure.understood(apply_fn, params, x, "apply_fn")
