r"""Margins of classifiers with real outputs, losses at a margin, and margins in units in which nets can be compared.

The margin of an example is $\gamma_i = f(x_i)_{y_i} - \max_{j \ne y_i} f(x_i)_j$; with a single output f for two classes it is
$(2 y_i - 1) f(x_i)$, that of the outputs (0, f). A tie is a margin of zero and counts as an error.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from jaxgen._core.checks import checked, choice, floating, is_traced, require
from jaxgen.bounds._inputs import at_least, positive
from jaxgen.bounds.norms import bartlett_complexity, layer_norms

ApplyFn = Callable[[PyTree, PyTree], Array]

UNITS = ("spectral", "bartlett", "input_gradient")


def margins(logits: Float[ArrayLike, "n *c"], labels: Int[ArrayLike, " n"]) -> Float[Array, " n"]:
    r"""Signed margins $\gamma_i = f(x_i)_{y_i} - \max_{j \ne y_i} f(x_i)_j$, negative where an example is on the wrong side.

    Args:
        logits: outputs, (N, C) with C > 1, or (N,) for two classes.
        labels: classes in [0, C), or in {0, 1} for one output.

    Returns:
        (N,) margins; NaN for a traced label out of range.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if shapes do not fit, there is only one class, or a concrete label is out of range.

    Source: Bartlett 1998; Bartlett, Foster and Telgarsky 2017; spec GEN-37.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> bounds.margins(jnp.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]]), jnp.array([0, 2])).tolist()
        [1.0, -2.0]
    """
    logits, labels = floating("logits", logits), jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must be integers; got dtype {labels.dtype}")
    require(
        logits.ndim in (1, 2) and labels.shape == logits.shape[:1] and logits.size > 0,
        f"logits must have shape (N, C) or (N,), labels shape (N,), with N >= 1; got {logits.shape} and {labels.shape}",
    )
    require(logits.ndim == 1 or logits.shape[1] > 1, "a margin needs two classes; got one (give one output for two classes as shape (N,))")
    num_classes = 2 if logits.ndim == 1 else logits.shape[1]
    inside = (labels >= 0) & (labels < num_classes)
    require(is_traced(inside) or bool(inside.all()), f"labels must lie in [0, {num_classes})")
    if logits.ndim == 1:
        found = jnp.where(labels == 1, logits, -logits)
    else:
        own = jnp.arange(num_classes) == labels[:, None]
        others = jnp.max(jnp.where(own, -jnp.inf, logits), axis=1)
        found = jnp.sum(jnp.where(own, logits, 0), axis=1) - others
    return jnp.where(inside, found, jnp.nan)


def margin_loss(logits: Float[ArrayLike, "n *c"], labels: Int[ArrayLike, " n"], gamma: ArrayLike) -> Float[Array, "..."]:
    r"""Part of the examples whose margin is at most gamma, $\hat L_\gamma = \frac1n \#\{i : \gamma_i \le \gamma\}$; at 0 a tie is an error.

    Args:
        logits: as in `margins`.
        labels: as in `margins`.
        gamma: margin of at least 0, of any shape.

    Returns:
        The mean over examples for every gamma, of the shape of `gamma`.

    Raises:
        TypeError: as `margins`.
        ValueError: as `margins`, or if `gamma` is negative (NaN results when traced).

    Source: Bartlett 1998; spec GEN-37.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> bounds.margin_loss(jnp.array([3.0, 1.0, -1.0, 0.5]), jnp.array([1, 1, 1, 1]), jnp.array([0.0, 1.0])).tolist()
        [0.25, 0.75]
    """
    return _mean_loss(logits, labels, at_least("gamma", gamma, 0), lambda found, gamma: found <= gamma)


def ramp_loss(logits: Float[ArrayLike, "n *c"], labels: Int[ArrayLike, " n"], gamma: ArrayLike) -> Float[Array, "..."]:
    r"""Mean of $\min(1, \max(0, 1 - \gamma_i / \gamma))$: between the losses at margin 0 and at margin gamma, and 1/gamma-Lipschitz.

    Args:
        logits: as in `margins`.
        labels: as in `margins`.
        gamma: positive margin, of any shape.

    Returns:
        The mean over examples for every gamma, of the shape of `gamma`.

    Raises:
        TypeError: as `margins`.
        ValueError: as `margins`, or if `gamma` is not positive (NaN results when traced).

    Source: Bartlett, Foster and Telgarsky 2017; spec GEN-37.
    """
    return _mean_loss(logits, labels, positive("gamma", gamma), lambda found, gamma: jnp.clip(1 - found / gamma, 0, 1))


def _mean_loss(logits: ArrayLike, labels: ArrayLike, gamma: Array, loss: Callable[[Array, Array], Array]) -> Array:
    found = margins(logits, labels)
    values = jnp.where(jnp.isnan(found), jnp.nan, loss(found, gamma[..., None]).astype(found.dtype))
    return jnp.where(jnp.isnan(gamma), jnp.nan, values.mean(axis=-1))


def margin_quantiles(
    margins: Float[ArrayLike, " n"], quantiles: Float[ArrayLike, "*q"] | Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9)
) -> Float[Array, "*q"]:
    """Quantiles of signed margins, linearly between order statistics; the one at 0.1 often stands for "the margin" of a net.

    Its sign is kept: where a tenth of the examples is misclassified it is negative, and measures that divide by it are undefined.

    Args:
        margins: (N,) margins.
        quantiles: levels in [0, 1].

    Returns:
        Quantiles, of the shape of `quantiles`.

    Raises:
        ValueError: if there is no margin, or a level lies outside [0, 1] (NaN results when traced).

    Source: Jiang, Krishnan, Mobahi and Bengio 2019; spec GEN-37.
    """
    values, levels = floating("margins", margins), floating("quantiles", jnp.asarray(quantiles))
    require(values.ndim == 1 and values.size > 0, f"margins must have shape (N,) with N >= 1; got {values.shape}")
    levels = checked(levels, ((levels >= 0) & (levels <= 1), "quantiles must lie in [0, 1]"))
    return jnp.quantile(values, levels.astype(values.dtype))


def normalized_margins(
    apply_fn: ApplyFn,
    params: PyTree,
    x: Float[ArrayLike, "n ..."],
    labels: Int[ArrayLike, " n"],
    *,
    by: str = "spectral",
    init_params: PyTree | None = None,
    key: Key[Array, ""] | None = None,
) -> Float[Array, " n"]:
    r"""Margins over what bounds their size, so that nets of different scales can be compared.

    `"spectral"`: $\gamma_i / (\lVert x_i \rVert \prod_k \lVert A_k \rVert_2)$, at most $\sqrt 2$ for a net without biases whose
    activations are 1-Lipschitz and vanish at zero. `"bartlett"`: $\gamma_i / R_A$ with `bartlett_complexity` about
    `init_params` (about zero without). `"input_gradient"`: $\gamma_i / \lVert \nabla_x \gamma_i \rVert$, to first order the distance
    of $x_i$ from the decision boundary.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)` with C > 1, or (N,).
        params: parameters, a pytree of floating leaves.
        x: inputs with leading axis N.
        labels: as in `margins`.
        by: `"spectral"`, `"bartlett"` or `"input_gradient"`.
        init_params: reference of `"bartlett"`, like `params`.
        key: key of the start vectors of convolutions' norms, as in `layer_norms`.

    Returns:
        (N,) signed normalized margins.

    Raises:
        TypeError: as `margins`.
        ValueError: as `margins` and `layer_norms`, if `by` is unknown, or an input is zero where its norm divides (NaN results when
            traced).

    Source: Bartlett, Foster and Telgarsky 2017; Elsayed et al. 2018; spec GEN-37.
    """
    choice("by", by, UNITS)
    x = floating("x", x)
    if by == "input_gradient":
        found, pull = jax.vjp(lambda x: margins(apply_fn(params, x), labels), x)
        return found / _lengths(pull(jnp.ones_like(found))[0])
    found = margins(apply_fn(params, x), labels)
    norms = layer_norms(apply_fn, params, x[:1], init_params, key)
    if by == "bartlett":
        return found / bartlett_complexity(norms["spectral"], norms["two_one" if init_params is None else "distance_two_one"])
    lengths = _lengths(x)
    lengths = checked(lengths, (lengths > 0, "inputs must not be zero: their norms divide the margins"))
    return found / (lengths * jnp.prod(norms["spectral"]))


def _lengths(x: Array) -> Array:
    return jnp.linalg.norm(x.reshape(len(x), -1), axis=1)
