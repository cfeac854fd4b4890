"""flax modules as pairs (apply_fn, params): evaluation mode, batch statistics frozen, no random state."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import flax.core
import flax.errors
import jax
from flax import linen as nn
from jaxtyping import Array, PyTree

from jaxgen._core.checks import require

if TYPE_CHECKING:
    from flax import nnx

EVALUATION_ARGUMENTS = {"deterministic": True, "use_running_average": True, "train": False, "training": False, "is_training": False}
"""Arguments of a module's call that are set, where it has them, to what evaluation needs."""

ApplyFn = Callable[[PyTree, Array], Array]


def from_linen(module: nn.Module, variables: Mapping[str, Any], **call_arguments: Any) -> tuple[ApplyFn, PyTree]:
    """A linen module as `apply_fn(params, x)` and its trainable parameters.

    The collection `"params"` becomes the parameters, every other one (batch statistics say) is frozen, and nothing
    random is drawn: of the module's own call arguments `deterministic` and `use_running_average` are set to True, and
    `train`, `training` and `is_training` to False.

    Args:
        module: a linen module whose call takes `x` first.
        variables: what `module.init` returned, with the key `"params"`.
        **call_arguments: further keyword arguments of the call; they win over those above.

    Returns:
        `(apply_fn, params)`; `apply_fn` is pure and raises `ValueError` if the module still asks for randomness or wants to
        write a collection, or the parameters do not fit.

    Raises:
        TypeError: if `module` is no linen module.
        ValueError: if `variables` have no `"params"`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from flax import linen as nn
        >>> from jaxgen import models
        >>> module = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(10)])
        >>> apply_fn, params = models.from_linen(module, module.init(jax.random.key(0), jnp.zeros((1, 64))))
        >>> apply_fn(params, jnp.zeros((5, 64))).shape
        (5, 10)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a flax linen module; got {type(module).__name__}")
    variables = nn.meta.unbox(flax.core.unfreeze(dict(variables)))
    require("params" in variables, f"variables must have the collection 'params', as module.init returns it; got {', '.join(variables)}")
    params = variables["params"]
    frozen = {name: collection for name, collection in variables.items() if name != "params"}
    arguments = _evaluation_arguments(module.__call__, call_arguments)

    def apply_fn(params: PyTree, x: Array) -> Array:
        try:
            return module.apply({"params": params, **frozen}, x, **arguments)  # pyright: ignore[reportReturnType]
        except (flax.errors.InvalidRngError, flax.errors.ModifyScopeVariableError) as error:
            raise ValueError(f"{type(module).__name__} is not in evaluation mode; give from_linen the argument that switches it: {error}") from error
        except flax.errors.FlaxError as error:
            raise ValueError(f"params do not fit {type(module).__name__}: {error}") from error

    return apply_fn, params


def from_nnx(model: "nnx.Module", **call_arguments: Any) -> tuple[ApplyFn, PyTree]:
    """An nnx model as `apply_fn(params, x)` and its trainable parameters.

    Every `nnx.Param` becomes a parameter; all other state (batch statistics, random streams) is frozen at its present
    value, and a copy of the model is set to evaluation mode: running averages, no dropout. The model itself is not
    changed. Call arguments are set as in `from_linen`.

    Args:
        model: an nnx module whose call takes `x` first.
        **call_arguments: further keyword arguments of the call.

    Returns:
        `(apply_fn, params)` with `params` nested dictionaries of arrays; `apply_fn` is pure, and raises `ValueError` for
        parameters of another structure.

    Raises:
        TypeError: if `model` is no nnx module.
        ValueError: if it has no `nnx.Param`.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxgen import models
        >>> apply_fn, params = models.from_nnx(nnx.Linear(64, 10, rngs=nnx.Rngs(0)))
        >>> params["kernel"].shape, apply_fn(params, jnp.zeros((5, 64))).shape
        ((64, 10), (5, 10))
    """
    from flax import nnx

    if not isinstance(model, nnx.Module):
        raise TypeError(f"model must be a flax nnx module; got {type(model).__name__}")
    copy = nnx.clone(model)
    copy.eval()
    graph, state, frozen = nnx.split(copy, nnx.Param, ...)
    params = nnx.to_pure_dict(state)
    require(len(params) > 0, f"{type(model).__name__} has no nnx.Param to train")
    arguments = _evaluation_arguments(model.__call__, call_arguments)
    structure = jax.tree.structure(params)

    def apply_fn(params: PyTree, x: Array) -> Array:
        found = jax.tree.structure(params)
        require(found == structure, f"params do not fit {type(model).__name__}: expected {structure}, got {found}")
        return nnx.merge(graph, nnx.State(params), frozen)(x, **arguments)  # pyright: ignore[reportCallIssue]

    return apply_fn, params


def _evaluation_arguments(call: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    accepted = inspect.signature(call).parameters
    return {name: value for name, value in EVALUATION_ARGUMENTS.items() if name in accepted} | given
