"""The compression bound made explicit for a trained ReLU net: layers of low rank, rounded to levels that were fixed beforehand."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from jaxgen import models
from jaxgen._core.checks import checked, choice, floating, positive_integer, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import at_least, failure_probability
from jaxgen.bounds.compression import _quantized as code
from jaxgen.bounds.compression._matrices import Weights, like_matrices, matrices
from jaxgen.bounds.compression.codes import integer_code_length
from jaxgen.bounds.compression.compressibility import COMPRESSED, occam_penalty
from jaxgen.bounds.compression.truncation import relu_network
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES
from jaxgen.bounds.margins import margin_loss
from jaxgen.bounds.pac_bayes.binary_kl import binary_kl_inverse

FORMS = ("margin", "occam")
FIXED_BEFORE = "Shapes of layers, init_weights (zero if there is none) and num_levels were fixed before the sample was seen."


class LowRankNetwork(NamedTuple):
    """A net with quantized layers of low rank and the bound on its risk; made by `lowrank_network`.

    Attributes:
        bound: on the zero-one risk of the compressed net.
        weights: its matrices (outputs, inputs).
        ranks: of their differences from the helper string, shape (d,).
        num_levels: values that a number can take.
        code_length: nats of its code.
        change: the largest change of an output on the sample, the gamma of compressibility.
    """

    bound: Bound
    weights: list[Float[Array, "out in"]]
    ranks: Int[Array, " d"]
    num_levels: Int[Array, ""]
    code_length: Float[Array, ""]
    change: Float[Array, ""]


def lowrank_compression_bound(
    weights: Weights,
    x: Float[ArrayLike, "n *inputs"],
    y: Int[ArrayLike, " n"],
    delta: float,
    *,
    gamma: Float[ArrayLike, ""] | None = None,
    num_levels: Sequence[int] = (3, 5, 9, 17, 33),
    thresholds: Sequence[float] = (0.05, 0.1, 0.2, 0.3, 0.5),
    init_weights: Weights | None = None,
    form: str = "margin",
) -> Bound:
    r"""A bound on the risk of a trained ReLU net after compression, nothing left to constants: ranks, levels and errors are measured.

    The difference $D^i = A^i - A^i_0$ of every layer from the helper string is replaced by the product of two factors of rank r_i (its
    singular values above a threshold times the largest), balanced, and rounded to $r$ whole multiples of a step on a grid,
    $\{2^{j/4}\}$. The code has $K = \sum_i [(m_i + n_i) r_i \ln r + \ln((r_i + 1)(r_i + 2)) + \ln 128] + \ln(\text{number of choices
    of } r)$ nats. With the largest change $\gamma$ of an output on the sample,

    - `"margin"`: $L_0(g) \le \hat L_{2\gamma}(f) + \sqrt{(K + \ln(1/\delta)) / (2 n)}$, by the margins of the net that was trained;
    - `"occam"`: $\mathrm{kl}(\hat L_0(g) \| L_0(g)) \le (K + \ln(1/\delta)) / n$, by what the compressed net does, always the better one.

    All thresholds and levels are tried and the best is kept; gamma may depend on the sample, since the margin step is deterministic.
    `compress_network` is far tighter: it lets the net adapt to a shorter code.

    Args:
        weights: matrices (outputs, inputs), or the parameters of `models.mlp(widths, bias=False)`.
        x: the sample's inputs, shape (n, inputs); examples are flattened.
        y: labels.
        delta: probability of failure.
        gamma: change that is allowed, at least 0; the margin loss is then that at 2 gamma. None takes the smallest.
        num_levels: odd numbers r of at least 3 to choose from.
        thresholds: relative singular values to choose from, in [0, 1].
        init_weights: the helper string, like `weights`; must not depend on the sample. None means zero.
        form: `"margin"` or `"occam"`.

    Returns:
        A one-sided `Bound` with the terms `"margin_loss"` (or `"risk"` of the compressed net) and `"penalty"`.

    Raises:
        ValueError: if shapes do not fit, there are biases, no candidate is within gamma, or an option is out of range.
        TypeError: if `delta` is traced.

    Source: Arora, Ge, Neyshabur and Zhang 2018, theorem 2.1, with the margin corrected; spec GEN-17, GEN-22. Cost: a singular value
    decomposition a layer and a forward pass for each threshold and number of levels.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> x = jax.random.normal(jax.random.key(0), (20_000, 3))
        >>> x = x[jnp.abs(x[:, 0]) > 0.2][:10_000]
        >>> net = [jnp.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])]
        >>> bool(bounds.lowrank_compression_bound(net, x, (x[:, 0] > 0).astype(int), delta=0.05).value < 0.05)
        True
    """
    return lowrank_network(
        weights, x, y, delta, gamma=gamma, num_levels=num_levels, thresholds=thresholds, init_weights=init_weights, form=form
    ).bound


def lowrank_network(
    weights: Weights,
    x: Float[ArrayLike, "n *inputs"],
    y: Int[ArrayLike, " n"],
    delta: float,
    *,
    gamma: Float[ArrayLike, ""] | None = None,
    num_levels: Sequence[int] = (3, 5, 9, 17, 33),
    thresholds: Sequence[float] = (0.05, 0.1, 0.2, 0.3, 0.5),
    init_weights: Weights | None = None,
    form: str = "margin",
) -> LowRankNetwork:
    """The compressed net that `lowrank_compression_bound` is about, with its bound.

    Args:
        weights: as there, and so are all others.
        x: the sample's inputs.
        y: labels.
        delta: probability of failure.
        gamma: change that is allowed.
        num_levels: to choose from.
        thresholds: to choose from.
        init_weights: the helper string.
        form: `"margin"` or `"occam"`.

    Returns:
        `LowRankNetwork`.

    Raises:
        ValueError: as `lowrank_compression_bound`.
        TypeError: if `delta` is traced.
    """
    choice("form", form, FORMS)
    delta, layers = failure_probability(delta), matrices(weights)
    helpers = [jnp.zeros_like(matrix) for matrix in layers] if init_weights is None else like_matrices("init_weights", init_weights, layers)
    levels, cuts = _levels(num_levels), floating("thresholds", jnp.array(thresholds))
    require(cuts.size > 0, "thresholds must hold at least one number; got none")
    cuts = checked(cuts, (jnp.all((cuts >= 0) & (cuts <= 1)), "thresholds must be in [0, 1]"))
    allowed = None if gamma is None else at_least("gamma", gamma, 0)
    outputs = relu_network(layers, x)
    margin_loss(outputs, y, 0.0)  # raises where labels are wrong
    options = [axis.reshape(-1) for axis in jnp.meshgrid(cuts, jnp.array(levels, cuts.dtype))]
    found, least = _best(layers, helpers, x, jnp.asarray(y), outputs, *options, allowed, math.log(len(levels)), delta, form)
    message = f"gamma must allow for what some candidate changes, at least {least}; got {gamma}"
    value = checked(found.bound.value, (~jnp.isinf(found.bound.value), message))
    bound = Bound(value, found.bound.terms, "one", True, (INDEPENDENT_EXAMPLES, FIXED_BEFORE, COMPRESSED), 1 - delta)
    return found._replace(bound=bound, num_levels=found.num_levels.astype(int))


@partial(jax.jit, static_argnames=("price", "delta", "form"))
def _best(
    layers: list[Array],
    helpers: list[Array],
    x: Array,
    y: Array,
    outputs: Array,
    cuts: Array,
    levels: Array,
    allowed: Array | None,
    price: float,
    delta: float,
    form: str,
) -> tuple[LowRankNetwork, Array]:
    """The candidate of the least bound, and the least change of any."""
    factors = [code.balanced_factors(matrix - helper) for matrix, helper in zip(layers, helpers, strict=True)]

    def candidate(option: tuple[Array, Array]) -> LowRankNetwork:
        rounded = [_rounded(helper, *factor, *option) for helper, factor in zip(helpers, factors, strict=True)]
        nats = jnp.stack([nats for _, _, nats in rounded]).sum() + price
        weights, ranks = [matrix for matrix, _, _ in rounded], jnp.stack([rank for _, rank, _ in rounded])
        moved = relu_network(weights, x)
        change = jnp.abs(moved - outputs).max()
        return LowRankNetwork(_bound(outputs, moved, y, nats, change, allowed, delta, form), weights, ranks, option[1], nats, change)

    found = jax.lax.map(candidate, (cuts, levels))
    best = jnp.argmin(jnp.where(jnp.isnan(found.bound.value), jnp.inf, found.bound.value))
    return jax.tree.map(lambda leaf: leaf[best], found), found.change.min()


def _rounded(helper: Array, factors: code.Parts, values: Array, cut: Array, num_levels: Array) -> tuple[Array, Array, Array]:
    """A layer of a rank with entries of its factors rounded to so many levels, its rank, and the nats of its code."""
    kept = (values > 0) & (values >= cut * values[0])
    rank = jnp.sum(kept)
    largest = (num_levels - 1) / 2
    factors = tuple(factor * kept for factor in factors)
    step = code.step_for(jnp.maximum(jnp.abs(factors[0]).max(), jnp.abs(factors[1]).max()) / largest, at_least=True)
    symbols = tuple(jnp.clip(jnp.round(factor / step), -largest, largest) for factor in factors)
    nats = sum(helper.shape) * rank * jnp.log(num_levels) + integer_code_length(rank).astype(values.dtype) + math.log(code.NUM_STEPS)
    return code.leaf_of(helper, symbols, step), rank, nats


def _bound(outputs: Array, moved: Array, y: Array, nats: Array, change: Array, allowed: Array | None, delta: float, form: str) -> Bound:
    """The bound of a candidate, infinite where its outputs move by more than is allowed."""
    n = len(outputs)
    if form == "occam":
        risk = models.zero_one(moved, jnp.asarray(y)).mean()
        value = binary_kl_inverse(risk, (nats - math.log(delta)) / n)
        terms = {"risk": risk, "penalty": value - risk}
    else:
        loss, penalty = margin_loss(outputs, y, 2 * (change if allowed is None else allowed)), occam_penalty(nats, n, delta)
        value, terms = loss + penalty, {"margin_loss": loss, "penalty": penalty}
    if allowed is not None:
        value = jnp.where(change <= allowed, value, jnp.inf)
    return Bound(value, terms)


def _levels(num_levels: Sequence[int]) -> list[int]:
    levels = [positive_integer("num_levels", count, at_least=3) for count in num_levels]
    odd = len(levels) > 0 and all(count % 2 for count in levels)
    require(odd, f"num_levels must be odd numbers of at least 3, so that zero is a level; got {levels}")
    return levels
