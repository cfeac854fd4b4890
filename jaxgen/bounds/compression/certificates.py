"""Certificates of trained nets by compression: the fewer bits a net has beyond what was fixed before the data, the closer its risks."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from jaxgen import models
from jaxgen._core.checks import floating, is_traced, leading_axis, positive_integer, require
from jaxgen._core.results import Bound
from jaxgen._core.scan import iterate
from jaxgen.bounds._inputs import failure_probability
from jaxgen.bounds.compression import _quantized as code
from jaxgen.bounds.compression.compressibility import COMPRESSED, ApplyFn
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES

FIXED_BEFORE = "The architecture apply_fn and the helper string init_params (zero if there is none) were fixed before the sample was seen."


class CompressedNet(NamedTuple):
    """A net of few bits and the bound on its risk; made by `compress_network`.

    Attributes:
        bound: on the zero-one risk of the compressed net.
        params: of the compressed net, like those given.
        code_length: nats of its code.
        num_nonzeros: whole numbers in it that are not zero.
        num_errors: of the compressed net on the sample.
        change: the largest change of an output on the sample.
    """

    bound: Bound
    params: PyTree
    code_length: Float[Array, ""]
    num_nonzeros: Int[Array, ""]
    num_errors: Int[Array, ""]
    change: Float[Array, ""]


class _Codeword(NamedTuple):
    """Whole numbers and steps that make a net, its code length and how many examples it gets wrong."""

    symbols: list[code.Parts]
    steps: list[Array]
    nats: Array
    num_errors: Array


def compress_network(
    apply_fn: ApplyFn,
    params: PyTree,
    x: Float[ArrayLike, "n ..."],
    y: Int[ArrayLike, " n"],
    delta: float,
    *,
    init_params: PyTree | None = None,
    ranks: Sequence[int | None] = (None,),
    coarseness: Sequence[float] = (2.0, 3.0, 4.0),
    code_weights: Sequence[float] = (1.5, 2.0, 2.5),
    num_steps: int = 3000,
    learning_rate: float = 0.05,
    batch_size: int | None = None,
    num_choices: int = 1,
) -> CompressedNet:
    r"""A certificate for a trained net of any kind, by what is left of it in few bits.

    Every leaf becomes the helper string (the initialization) plus whole numbers times a step, either entry by entry or, for matrices, as
    factors of a low rank. The code of K nats is fixed beforehand: steps on a grid, ranks and largest numbers with a prefix code,
    numbers with an arithmetic code that learns their frequencies. With probability at least $1 - \delta$ the net that has k errors on
    the sample has a risk of at most

    $\sup \{ p : \Pr[\mathrm{Bin}(n, p) \le k] \ge \delta e^{-K} / \text{num\_choices} \}$

    for every codeword at once, so that the search for a good one is free: the rounded net is trained on, the gradient passing through
    the rounding, on cross-entropy plus w K / n, for every step size and weight w that is asked for, and the best bound is kept.

    Args:
        apply_fn: `apply_fn(params, x) -> (n, C)` or `(n,)`.
        params: of the trained net, a pytree of floating leaves.
        x: the sample's inputs, the n examples that the bound counts; they may be those that the net was trained on.
        y: their labels.
        delta: probability of failure.
        init_params: the helper string, like `params`; must not depend on the sample. None means zero.
        ranks: what is tried: None for entry by entry, or the rank of the factors of every matrix.
        coarseness: steps to try, in units of the root mean square of the change from the helper string.
        code_weights: w to try.
        num_steps: of Adam with a rate that falls to zero; 0 rounds the net as it is.
        learning_rate: the first rate, in steps of the grid.
        batch_size: examples a step, in their order over and over; None takes all.
        num_choices: helper strings tried before the best was kept, each with its delta.

    Returns:
        `CompressedNet`. The terms of its bound are `"risk"` on the sample and `"penalty"`.

    Raises:
        ValueError: if `init_params` is not like `params`, shapes do not fit, an option is out of range, or delta is outside (0, 1).
        TypeError: if an argument is traced: the search runs program by program.

    Source: Arora, Ge, Neyshabur and Zhang 2018, theorem 2.1 with helper strings; Occam's bound of Blumer et al. 1987
    with the binomial tail of Langford 2005; Lotfi et al. 2022 for training the code; spec GEN-16, GEN-17, GEN-22.

    Cost: a training of `num_steps` for each combination.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import bounds, models
        >>> model, x = models.linear(2, bias=False), jax.random.normal(jax.random.key(0), (1000, 3))
        >>> y = (x[:, 0] > 0).astype(int)
        >>> params = {"Dense_0": {"kernel": jnp.array([[-1.0, 1.0], [0.1, 0.0], [0.0, 0.1]])}}
        >>> found = bounds.compress_network(model.apply, params, x, y, delta=0.05, num_steps=0)
        >>> int(found.num_errors), int(found.num_nonzeros), bool(found.bound.value < 0.02)
        (0, 2, True)
    """
    delta = failure_probability(delta)
    if is_traced(params, x, y, init_params):
        raise TypeError("compress_network searches with concrete arguments; call it outside jit, vmap and grad")
    structure, leaves, helpers = _leaves(params, init_params)
    n, x, y = leading_axis("x, y", (x, y)), jnp.asarray(x), jnp.asarray(y)
    steps, choices = positive_integer("num_steps", num_steps, at_least=0), positive_integer("num_choices", num_choices)
    size = n if batch_size is None else min(n, positive_integer("batch_size", batch_size))
    rate = _positive("learning_rate", [learning_rate])[0]
    pairs = np.array(list(product(_positive("coarseness", coarseness), _positive("code_weights", code_weights))), leaves[0].dtype)
    require(len(ranks) > 0, "ranks must hold at least one entry; got none")
    ranks = [None if rank is None else positive_integer("ranks", rank) for rank in ranks]
    outputs = apply_fn(jax.tree.unflatten(structure, leaves), x)
    models.zero_one(outputs, y)  # raises where labels or outputs are wrong
    log_failure, found = math.log(delta / choices), []
    for rank in ranks:
        codewords = _search(apply_fn, structure, leaves, helpers, x, y, pairs, rate, rank=rank, num_steps=steps, size=size)
        limits = [code.binomial_limit(int(k), n, log_failure - float(nats)) for k, nats in zip(codewords.num_errors, codewords.nats, strict=True)]
        best = int(np.argmin(limits))
        found.append((limits[best], jax.tree.map(lambda leaf, best=best: np.asarray(leaf)[best], codewords)))
    best = min(found, key=lambda pair: pair[0])[1]
    compressed = _built(structure, helpers, best.symbols, best.steps)
    moved = apply_fn(compressed, x)
    errors = _num_errors(moved, y)
    limit, risk = code.binomial_limit(int(errors), n, log_failure - float(best.nats)), errors / n
    value = jnp.asarray(np.nextafter(np.asarray(limit, risk.dtype), np.asarray(np.inf, risk.dtype)))
    assumptions = (INDEPENDENT_EXAMPLES, FIXED_BEFORE, COMPRESSED)
    bound = Bound(value, {"risk": risk, "penalty": value - risk}, "one", True, assumptions, 1 - delta)
    nonzeros = sum(np.count_nonzero(array) for array in jax.tree.leaves(best.symbols))
    return CompressedNet(bound, compressed, jnp.asarray(best.nats), jnp.asarray(nonzeros), errors, jnp.abs(moved - outputs).max())


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("rank", "num_steps", "size"))
def _search(
    apply_fn: ApplyFn,
    structure: Any,
    leaves: list[Array],
    helpers: list[Array],
    x: Array,
    y: Array,
    pairs: Array,
    rate: float,
    *,
    rank: int | None,
    num_steps: int,
    size: int,
) -> _Codeword:
    """The codeword that each pair of coarseness and weight of the code leads to."""
    parts = [code.to_parts(leaf - helper, rank) for leaf, helper in zip(leaves, helpers, strict=True)]
    headers = sum(code.header_code_length(leaf.shape, _rank_of(leaf, rank)) for leaf in leaves)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, max(1, num_steps)))

    def codeword(pair: Array) -> _Codeword:
        steps = [code.step_for(pair[0].astype(part[0].dtype) * code.root_mean_square(part)) for part in parts]
        scaled = [tuple(array / step for array in part) for part, step in zip(parts, steps, strict=True)]

        def objective(scaled: list[code.Parts], start: Array) -> Array:
            rows = [jax.lax.dynamic_slice_in_dim(array, start, size) for array in (x, y)]
            rounded = jax.tree.map(lambda z: z + jax.lax.stop_gradient(code.to_symbols(z) - z), scaled)
            losses = models.softmax_cross_entropy(apply_fn(_built(structure, helpers, rounded, steps), rows[0]), rows[1])
            return losses.mean() + pair[1] * sum(code.soft_code_length(z) for z in jax.tree.leaves(scaled)) / len(x)

        def step(state: tuple[PyTree, PyTree], t: Array) -> tuple[tuple[PyTree, PyTree], None]:
            gradient = jax.grad(objective)(state[0], t % (len(x) // size) * size)
            updates, optimizer_state = optimizer.update(gradient, state[1])
            return (optax.apply_updates(state[0], updates), optimizer_state), None

        if num_steps:
            (scaled, _), _ = iterate(step, (scaled, optimizer.init(scaled)), num_steps)
        symbols = jax.tree.map(code.to_symbols, scaled)
        nats = jnp.stack([code.symbols_code_length(array) for array in jax.tree.leaves(symbols)]).sum() + headers
        return _Codeword(symbols, steps, nats, _num_errors(apply_fn(_built(structure, helpers, symbols, steps), x), y))

    return jax.lax.map(codeword, pairs)


@partial(jax.jit, static_argnums=0)
def _built(structure: Any, helpers: list[Array], scaled: list[code.Parts], steps: list[Array]) -> PyTree:
    """The parameters that whole numbers and steps make."""
    return jax.tree.unflatten(structure, [code.leaf_of(*leaf) for leaf in zip(helpers, scaled, steps, strict=True)])


def _rank_of(leaf: Array, rank: int | None) -> int | None:
    return None if rank is None or leaf.ndim != 2 else min(rank, *leaf.shape)


def _num_errors(outputs: Array, y: Array) -> Int[Array, ""]:
    """How many are wrong; what is not a number is."""
    return jnp.sum(models.zero_one(outputs, y) != 0)


def _leaves(params: PyTree, init_params: PyTree | None) -> tuple[Any, list[Array], list[Array]]:
    """The structure of the parameters, their leaves and those of the helper string."""
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: floating("params", leaf), params))
    require(len(leaves) > 0, "params must hold at least one leaf; got none")
    if init_params is None:
        return structure, leaves, [jnp.zeros_like(leaf) for leaf in leaves]
    helpers, other = jax.tree.flatten(jax.tree.map(lambda leaf: floating("init_params", leaf), init_params))
    same = other == structure and [leaf.shape for leaf in helpers] == [leaf.shape for leaf in leaves]
    require(same, f"init_params must be like params, {structure} with shapes {[leaf.shape for leaf in leaves]}; got {other}")
    return structure, leaves, helpers


def _positive(name: str, values: Sequence[float]) -> list[float]:
    found = [float(value) for value in values]
    require(len(found) > 0, f"{name} must hold at least one number; got none")
    require(all(0 < value < math.inf for value in found), f"{name} must be positive and finite; got {found}")
    return found
