"""Complexity measures of a trained net in one pass."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from jaxgen import models
from jaxgen._core.checks import require
from jaxgen.bounds.measures.definitions import MEASURES, scaled
from jaxgen.bounds.measures.quantities import ApplyFn, OutputLoss, Quantities


def complexity_measures(
    apply_fn: ApplyFn,
    params: PyTree,
    init_params: PyTree,
    x: Float[ArrayLike, "n ..."],
    y: Int[ArrayLike, " n"],
    *,
    key: Key[Array, ""] | None = None,
    names: Sequence[str] | None = None,
    loss: OutputLoss = models.softmax_cross_entropy,
    conv_norm: str = "operator",
    target: ArrayLike = 0.1,
    num_draws: int = 10,
    num_steps: int = 5,
    num_bisections: int = 12,
) -> dict[str, Float[Array, ""]]:
    r"""The complexity measures that comparison studies rank nets by: margins, norms, paths, gradients, sharpness, PAC-Bayes.

    `MEASURES` has every name with its formula. With n examples a measure $\mu$ is reported as $\sqrt{\mu / n}$; names that
    begin with `log-` are logarithms of that; losses, errors, entropies and gradients are reported as they are. Measures
    over a margin are NaN where its tenth percentile is not positive; those of perturbations where no scale was found.

    Every quantity is computed once, and only what `names` asks for. Under `jit` and `vmap`, over seeds or checkpoints of one
    architecture, all of it is one program.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)`, or (N,) for two classes.
        params: parameters w, a pytree of floating leaves.
        init_params: parameters $w^0$ before training, like `params`.
        x: training inputs with leading axis N.
        y: training labels, integers.
        key: key of perturbations; without it measures of perturbed nets are left out.
        names: measures that are wanted. Default: all that are defined for the net: those of layers are not where a parameter
            scales values as in normalizations, those of paths for piecewise linear nets alone.
        loss: training loss, `loss(outputs, y) -> (N,)`, differentiable.
        conv_norm: norm of convolutions, as in `layer_norms`.
        target: rise of the zero-one risk that defines the scale of perturbations.
        num_draws: draws of Gaussian perturbations.
        num_steps: gradient steps to a worst-case perturbation.
        num_bisections: bisections of every scale.

    Returns:
        A number for each name.

    Raises:
        ValueError: if a name is unknown, or a measure that is asked for is not defined for the net or needs `key`; if the trees of
            `params` and `init_params` differ, a layer is zero, or x, y and outputs do not fit.
        TypeError: if a leaf of `params` is not real or labels are not integers.

    Source: Jiang, Neyshabur, Mobahi, Krishnan and Bengio 2020; Dziugaite et al. 2020; spec GEN-37 to GEN-41. Cost: about ten
    passes over the examples, eigenvalues of every layer, and for perturbations 2 num_bisections (num_draws + 3 num_steps) passes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> net = lambda w, x: jnp.maximum(x @ w[0], 0) @ w[1]
        >>> start = [jnp.eye(2), jnp.eye(2)]
        >>> params, x, y = [2 * jnp.eye(2), jnp.eye(2)], jnp.eye(2), jnp.array([0, 1])
        >>> found = bounds.complexity_measures(net, params, start, x, y, names=("inverse-margin", "l2-dist", "fro-over-spec"))
        >>> {name: round(float(value), 4) for name, value in found.items()}
        {'inverse-margin': 0.3536, 'l2-dist': 1.0, 'fro-over-spec': 1.4142}
    """
    unknown = [name for name in names or () if name not in MEASURES]
    require(not unknown, f"names must be of measures, {', '.join(MEASURES)}; got {', '.join(map(repr, unknown))}")
    budgets = {"target": target, "num_draws": num_draws, "num_steps": num_steps, "num_bisections": num_bisections}
    quantities = Quantities(apply_fn, params, init_params, jnp.asarray(x), jnp.asarray(y), loss, key, budgets, conv_norm)
    if names is None:
        names = [name for name in MEASURES if not _undefined(quantities, name)]
    for name in names:
        reason = _undefined(quantities, name)
        require(not reason, f"{name} is not defined: {reason}")
    return {name: scaled(MEASURES[name], MEASURES[name].compute(quantities), quantities.n) for name in names}


def _undefined(quantities: Quantities, name: str) -> str:
    """Why a measure is not defined; empty where it is."""
    reasons = {
        "layers": lambda: quantities.without_layers,
        "paths": lambda: quantities.without_layers or quantities.without_paths,
        "inputs": lambda: "" if jnp.issubdtype(quantities.x.dtype, jnp.floating) else f"inputs are of dtype {quantities.x.dtype}",
        "key": lambda: "" if quantities.key is not None else "perturbations need a key",
    }
    return next((reason for need in MEASURES[name].needs if (reason := reasons[need]())), "")
