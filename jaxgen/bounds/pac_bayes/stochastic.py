"""Stochastic nets: any model with Gaussian parameters, and its risk over draws of these."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num, PyTree

from jaxgen import models, structure
from jaxgen._core.checks import checked, choice, floating, leading_axis, positive_integer, require
from jaxgen.bounds._inputs import failure_probability
from jaxgen.bounds.pac_bayes.binary_kl import binary_kl_inverse
from jaxgen.bounds.pac_bayes.gaussian import GaussianParams, log_stds, sample_gaussian

ApplyFn = Callable[[PyTree, PyTree], Array]
Loss = str | Callable[[Array, Array], Array]
METHODS = ("auto", "local", "weights")


class GibbsRisk(NamedTuple):
    """Mean loss of a stochastic net on a sample; made by `gibbs_risk` and `last_layer_risk`.

    Attributes:
        value: the mean over examples and draws.
        upper: what the mean over all draws is at most, with probability 1 - `delta`.
        per_draw: the mean over examples of every draw, (M,); of `value` alone where nothing was drawn.
        num_independent: independent losses that the confidence counts: examples times draws where each has noise of its own,
            draws where these are shared, and 0 where nothing was drawn.
        delta: probability of failure that `upper` has spent; 0 where nothing was drawn.
    """

    value: Float[Array, ""]
    upper: Float[Array, ""]
    per_draw: Float[Array, " M"]
    num_independent: float
    delta: float


def stochastic_outputs(key: Key[Array, ""], apply_fn: ApplyFn, q: GaussianParams, x: PyTree, *, method: str = "auto") -> Num[Array, "N ..."]:
    """Outputs of a model whose parameters are drawn from a Gaussian law.

    Where an example meets a weight once, as in dense layers, the product with a Gaussian matrix is drawn in place of the matrix
    (local reparametrization): every example then has a draw of its own, for one more matrix product, or for none where the
    weights of a layer share a standard deviation. What one example gives is distributed as with a draw of the parameters. Other
    leaves, such as kernels of convolutions, are drawn once for the batch.

    Args:
        key: PRNG key.
        apply_fn: `apply_fn(params, x) -> (N, C)` or `(N,)`, not coupling examples.
        q: law of the parameters.
        x: N examples, a pytree with leading axis N.
        method: `"auto"`; `"local"`, which refuses a model of which some leaf has no local form; `"weights"`, one draw of all
            parameters for the batch.

    Returns:
        The outputs.

    Raises:
        ValueError: if `method` is unknown, or cannot be; if the trees of q do not fit, or with `"local"` examples influence each other.

    Source: Kingma, Salimans and Welling 2015; spec GEN-33.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import bounds, models
        >>> model = models.mlp((100, 3))
        >>> x = jnp.ones((5, 8))
        >>> q = bounds.gaussian(model.init(jax.random.key(0), x), 0.1)
        >>> bounds.stochastic_outputs(jax.random.key(1), model.apply, q, x).shape
        (5, 3)
    """
    choice("method", method, METHODS)
    if method == "weights":
        return apply_fn(sample_gaussian(key, q), x)
    layers = _layers(apply_fn, q, x, method)
    if layers is None:
        return apply_fn(sample_gaussian(key, q), x)
    variances = jax.tree.map(lambda leaf: jnp.exp(2 * leaf), log_stds(q))
    (outputs,) = structure.with_random_parameters(layers, q.mean, variances, x, key)
    return outputs


def is_local(apply_fn: ApplyFn, q: GaussianParams, x: PyTree) -> bool:
    """Whether `stochastic_outputs` gives every example a draw of its own.

    Args:
        apply_fn: `apply_fn(params, x) -> outputs`.
        q: law of the parameters.
        x: examples.

    Returns:
        Whether no leaf of the parameters has to be drawn for the batch.

    Source: spec GEN-33.
    """
    layers = _layers(apply_fn, q, x, "auto")
    return layers is not None and all(structure.enters_as_noise(layers))


def _layers(apply_fn: ApplyFn, q: GaussianParams, x: PyTree, method: str) -> structure.Layers | None:
    try:
        layers = structure.understood(apply_fn, q.mean, x, "apply_fn", "use method='weights'")
    except ValueError:
        if method == "local":
            raise
        return None
    if method == "local":
        drawn = [leaf.path for leaf, noisy in zip(layers.leaves, structure.enters_as_noise(layers), strict=True) if not noisy]
        require(not drawn, f"method='local' has no noise to stand for {', '.join(drawn)}; use method='auto'")
    return layers


def gibbs_risk(
    key: Key[Array, ""],
    apply_fn: ApplyFn,
    q: GaussianParams,
    data: tuple[PyTree, Array],
    *,
    loss: Loss = "zero_one",
    num_draws: int,
    delta: float,
    method: str = "auto",
    group_size: int | None = None,
    chunk_size: int = 1000,
) -> GibbsRisk:
    r"""Risk of a stochastic net on a sample, $\frac1m \sum_i E_Q \, \ell(h, z_i)$, from draws, with what it is at most.

    The sum is linear in the examples, so draws need not be shared between them. With independent noise for each of m examples and
    M draws the M m losses are independent, and $kl^{-1}(\hat L, \ln(1/\delta) / (M m))$ bounds the risk; with M shared draws it
    is $kl^{-1}(\hat L, \ln(1/\delta) / M)$, of order 1 / M at the least.

    Args:
        key: PRNG key; the numbers do not depend on `chunk_size` but for rounding.
        apply_fn: `apply_fn(params, x) -> outputs`, not coupling examples.
        q: law of the parameters.
        data: (x, y), m examples and their labels.
        loss: of outputs and labels, with values in [0, 1]; a name as in `models.loss_fn`, or a function.
        num_draws: M.
        delta: probability of failure of `upper`, concrete.
        method: as in `stochastic_outputs`: `"weights"` shares a draw of all parameters among the examples of a group.
        group_size: examples of a group, which share draws of what has no local form; default: 1 where all has, else m.
        chunk_size: examples evaluated at a time, which bounds memory.

    Returns:
        The risk, its upper bound, and how many losses were independent.

    Raises:
        ValueError: if `data` is empty, `num_draws` or a size is below 1, a loss is outside [0, 1] (NaN results when traced), or
            `delta` is outside (0, 1).
        TypeError: if `delta` is traced.

    Source: Langford and Caruana 2002; spec GEN-32. Cost: M m evaluations of the model.
    """
    count, num_draws = leading_axis("data", data), positive_integer("num_draws", num_draws)
    require(count > 0, "data must hold at least one example; got 0")
    delta = failure_probability(delta)
    local = method != "weights" and is_local(apply_fn, q, jax.tree.map(lambda leaf: leaf[:1], data[0]))
    size = 1 if local else positive_integer("group_size", count if group_size is None else min(group_size, count))
    width = max(1, positive_integer("chunk_size", chunk_size) // size)
    rows = np.arange(-(-count // size) * size).reshape(-1, size)
    losses_of = partial(_group_losses, apply_fn, q, data, loss, method, count)

    def draw(own: Array) -> Array:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(own, jnp.arange(len(rows)))
        return jax.lax.map(losses_of, (keys, jnp.asarray(rows)), batch_size=width).sum() / count

    per_draw = jax.lax.map(draw, jax.random.split(key, num_draws))
    value = per_draw.mean()
    value = checked(value, (~jnp.isnan(value), "loss must have values in [0, 1] for a bound on its mean; some are outside, or NaN"))
    num_independent = num_draws * count / size
    upper = binary_kl_inverse(value, -np.log(delta) / num_independent)
    return GibbsRisk(value, upper, per_draw, num_independent, delta)


def _group_losses(
    apply_fn: ApplyFn, q: GaussianParams, data: PyTree, loss: Loss, method: str, count: int, group: tuple[Key[Array, ""], Int[Array, " g"]]
) -> Array:
    """Sum of the losses of a group of examples, of which those past the end count nothing."""
    key, rows = group
    there = jnp.minimum(rows, count - 1)
    batch = jax.tree.map(lambda leaf: leaf[there], data)
    losses = models.loss_fn(lambda q, x: stochastic_outputs(key, apply_fn, q, x, method=method), loss)(q, batch)
    losses = jnp.where((losses >= 0) & (losses <= 1), floating("losses", losses), jnp.nan)
    return jnp.where(rows < count, losses, 0).sum()
