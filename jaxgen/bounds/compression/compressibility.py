"""Compressible classifiers: how far a net is from one given by few numbers, and the bound from counting these."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least, failure_probability, square_root, unit_interval
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES

ApplyFn = Callable[[PyTree, PyTree], Array]

COMPRESSED = "The bound is on the zero-one risk of the compressed classifier, not of the one that was compressed."
FIXED_LEVELS = "Number of parameters, their possible values and the helper string, if any, were fixed before the sample was seen."
TWICE_THE_MARGIN = (
    "margin_loss is the fraction of the sample with margin at most 2 gamma, where no output moves by more than gamma on it "
    "(at most gamma for a sign classifier with a single output)."
)


class Quantized(NamedTuple):
    """Parameters rounded to few values; made by `quantize`.

    Attributes:
        params: the rounded parameters.
        max_error: the largest change of any of them.
    """

    params: PyTree
    max_error: Float[Array, ""]


def compression_error(apply_f: ApplyFn, params_f: PyTree, apply_g: ApplyFn, params_g: PyTree, x: PyTree) -> Float[Array, ""]:
    r"""How far two nets are apart on a sample: $\max_{x \in S, y} |f(x)[y] - g(x)[y]|$.

    Args:
        apply_f: `apply_f(params_f, x) -> (N, C)` or `(N,)`.
        params_f: parameters of f, any pytree.
        apply_g: the other net; with a helper string s, a function that knows s.
        params_g: parameters of g.
        x: inputs with leading axis N >= 1.

    Returns:
        The distance, a scalar.

    Raises:
        ValueError: if the outputs differ in shape or there are none.

    Source: Arora, Ge, Neyshabur and Zhang 2018, definitions 1 and 2; spec GEN-16.
    """
    f, g = floating("apply_f(params_f, x)", apply_f(params_f, x)), floating("apply_g(params_g, x)", apply_g(params_g, x))
    require(f.shape == g.shape, f"both nets must have outputs of one shape; got {f.shape} and {g.shape}")
    require(f.size > 0, f"there must be at least one output; got shape {f.shape}")
    return jnp.abs(f - g).max()


def is_compressible(apply_f: ApplyFn, params_f: PyTree, apply_g: ApplyFn, params_g: PyTree, x: PyTree, gamma: Scalar) -> Bool[Array, ""]:
    """Whether g shows that f is (gamma, S)-compressible: no output moves by more than gamma on the sample.

    Args:
        apply_f: as in `compression_error`.
        params_f: as in `compression_error`.
        apply_g: as in `compression_error`.
        params_g: as in `compression_error`.
        x: the inputs of the sample S.
        gamma: at least 0.

    Returns:
        Boolean; False for a traced gamma below 0.

    Raises:
        ValueError: if the outputs differ in shape or gamma < 0.

    Source: Arora, Ge, Neyshabur and Zhang 2018, definition 1; spec GEN-16.
    """
    return compression_error(apply_f, params_f, apply_g, params_g, x) <= at_least("gamma", gamma, 0)


def quantize(params: PyTree, num_levels: int, ranges: PyTree) -> Quantized:
    r"""Every parameter rounded to the nearest of r equally spaced values in $[-R, R]$, ends included.

    Args:
        params: pytree of floating leaves.
        num_levels: r, at least 2.
        ranges: R > 0, a number or a pytree like `params` with one number a leaf. For `compression_bound` it must not depend on the
            sample. Parameters outside are moved to the ends.

    Returns:
        `Quantized`; inside the range `max_error` is at most R / (r - 1).

    Raises:
        ValueError: if r < 2, a range is not positive (NaN results when traced), or `ranges` is not like `params`.
        TypeError: if a parameter is not real.

    Source: spec GEN-16.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> bounds.quantize(jnp.array([0.1, 0.6, 3.0]), num_levels=3, ranges=1.0).params.tolist()
        [0.0, 1.0, 1.0]
    """
    num_levels = positive_integer("num_levels", num_levels, at_least=2)
    leaves, structure = jax.tree.flatten(params)
    require(len(leaves) > 0, "params must hold at least one leaf; got none")
    limits = jax.tree.leaves(ranges)
    if len(limits) == 1:
        limits = limits * len(leaves)
    require(len(limits) == len(leaves), f"ranges must be a number or have one for each of the {len(leaves)} leaves of params; got {len(limits)}")
    rounded, errors = [], []
    for values, bound in zip(leaves, limits, strict=True):
        leaf, limit = floating("params", values), floating("ranges", bound)
        require(limit.ndim == 0, f"ranges must be one number a leaf; got shape {limit.shape}")
        limit = checked(limit, ((limit > 0) & (limit < jnp.inf), "ranges must be positive and finite")).astype(leaf.dtype)
        step = 2 * limit / (num_levels - 1)
        index = jnp.clip(jnp.round((leaf + limit) / step), 0, num_levels - 1)
        rounded.append(index * step - limit)
        errors.append(jnp.abs(rounded[-1] - leaf).max(initial=0))
    return Quantized(jax.tree.unflatten(structure, rounded), jnp.stack(errors).max())


def compression_bound(margin_loss: Scalar, num_params: Scalar, num_levels: Scalar, n: Scalar, delta: float) -> Bound:
    r"""The risk of a compressed classifier: $L_0(g_A) \le \hat L_{2\gamma}(f) + \sqrt{\frac{q \ln r + \ln(1/\delta)}{2 n}}$.

    g has q parameters with r possible values each, and is within gamma of f on the sample. Then two logits move by gamma each, so
    that $\hat L_0(g) \le \hat L_{2\gamma}(f)$; $\hat L_\gamma(f)$, which is often printed, is enough for a single output and its
    sign only. Arguments are elementwise.

    Args:
        margin_loss: fraction of the sample where f has margin at most 2 gamma, `bounds.margin_loss(logits, labels, 2 * gamma)`.
        num_params: q, at least 0.
        num_levels: r, at least 2.
        n: number of examples in the sample.
        delta: probability of failure.

    Returns:
        A one-sided `Bound` with the terms `"margin_loss"` and `"penalty"`.

    Raises:
        ValueError: if `margin_loss` is not in [0, 1], q < 0, r < 2, n < 1 (NaN results when traced), or `delta` is outside (0, 1).
        TypeError: if `delta` is traced.

    Source: Arora, Ge, Neyshabur and Zhang 2018, theorem 2.1, with the margin corrected; spec GEN-17.

    Example:
        >>> from jaxgen import bounds
        >>> round(float(bounds.compression_bound(0.0, num_params=100, num_levels=16, n=10**4, delta=0.05).value), 6)
        0.118375
    """
    delta = failure_probability(delta)
    loss = unit_interval("margin_loss", margin_loss)
    nats = at_least("num_params", num_params, 0) * jnp.log(at_least("num_levels", num_levels, 2))
    penalty = occam_penalty(nats, n, delta)
    loss, penalty = jnp.broadcast_arrays(loss, penalty)
    assumptions = (INDEPENDENT_EXAMPLES, FIXED_LEVELS, TWICE_THE_MARGIN, COMPRESSED)
    return Bound(loss + penalty, {"margin_loss": loss, "penalty": penalty}, "one", True, assumptions, 1 - delta)


def occam_penalty(nats: Scalar, n: Scalar, delta: float) -> Array:
    """Hoeffding's penalty for a hypothesis of code length `nats`."""
    return square_root((jnp.asarray(nats) + jnp.log(1 / delta)) / (2 * at_least("n", n, 1)))
