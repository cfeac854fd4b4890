"""Parameters as a helper string plus whole numbers times a step, entry by entry or as factors of low rank, and their code."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.bounds.compression.codes import integer_code_length, length_of_counts

LARGEST_SYMBOL = 15
"""Whole numbers of adaptive codes lie in [-15, 15]."""

STEPS_PER_OCTAVE = 4
LEAST_STEP, NUM_STEPS = -80, 128
"""Steps are 2^(j / 4) for j = -80, ..., 47, each with the same probability."""

Parts = tuple[Array, ...]
"""One array like the leaf, or two factors (m, r) and (n, r)."""


def balanced_factors(change: Float[Array, "m n"]) -> tuple[Parts, Float[Array, " k"]]:
    """Factors with change = U V^T, columns sharing the singular values and largest entries alike, and the singular values."""
    left, values, right = jnp.linalg.svd(change, full_matrices=False)
    first, second = left * jnp.sqrt(values), right.T * jnp.sqrt(values)
    largest = [jnp.maximum(jnp.abs(factor).max(), jnp.finfo(change.dtype).tiny) for factor in (first, second)]
    ratio = jnp.sqrt(largest[1] / largest[0])
    return (first * ratio, second / ratio), values


def to_parts(change: Array, rank: int | None) -> Parts:
    """The change of a leaf, or of a matrix its best factors of a rank."""
    if rank is None or change.ndim != 2:
        return (change,)
    return tuple(factor[:, :rank] for factor in balanced_factors(change)[0])


def step_for(size: Array, *, at_least: bool = False) -> Array:
    """The nearest step to a positive size, or the smallest that is no less; any step for size zero."""
    index = STEPS_PER_OCTAVE * jnp.log2(jnp.where(size > 0, size, 1.0))
    index = jnp.clip(jnp.ceil(index) if at_least else jnp.round(index), LEAST_STEP, LEAST_STEP + NUM_STEPS - 1)
    return jnp.exp2(index / STEPS_PER_OCTAVE).astype(size.dtype)


def root_mean_square(parts: Parts) -> Array:
    return jnp.sqrt(sum(jnp.sum(part**2) for part in parts) / max(1, sum(part.size for part in parts)))


def to_symbols(scaled: Array) -> Array:
    return jnp.clip(jnp.round(scaled), -LARGEST_SYMBOL, LARGEST_SYMBOL)


def leaf_of(helper: Array, scaled: Parts, step: Array) -> Array:
    """helper + step Q, or helper + step^2 Q_1 Q_2^T."""
    if len(scaled) == 1:
        return helper + step * scaled[0]
    return helper + step**2 * jnp.matmul(scaled[0], scaled[1].T, precision=jax.lax.Precision.HIGHEST)


def _frequencies(symbols: Array) -> tuple[Float[Array, "2"], Float[Array, " r"]]:
    """How many are zero and are not, and how often each other symbol occurs."""
    counts = jnp.zeros(2 * LARGEST_SYMBOL + 1, symbols.dtype)
    counts = counts.at[(symbols + LARGEST_SYMBOL).astype(int).reshape(-1)].add(1)
    others = counts.at[LARGEST_SYMBOL].set(0)
    return jnp.stack([counts[LARGEST_SYMBOL], others.sum()]), others


def symbols_code_length(symbols: Array) -> Float[Array, ""]:
    """Nats for the largest magnitude, for which numbers are zero, and for the others; frequencies are learned as they are sent."""
    largest = jnp.abs(symbols).max(initial=0)
    zeros, others = _frequencies(symbols)
    values = jnp.where(largest > 0, length_of_counts(others, jnp.maximum(2 * largest, 1)), 0.0)
    return integer_code_length(largest) + length_of_counts(zeros, jnp.asarray(2, zeros.dtype)) + values


def soft_code_length(scaled: Array) -> Float[Array, ""]:
    """About the code length of the rounded numbers, linear between whole numbers, at frequencies that are not differentiated."""
    zeros, others = jax.lax.stop_gradient(_frequencies(to_symbols(scaled)))
    is_zero = -jnp.log((zeros + 0.5) / (zeros.sum() + 1))
    costs = is_zero[1] - jnp.log((others + 0.5) / (others.sum() + LARGEST_SYMBOL))
    costs = costs.at[LARGEST_SYMBOL].set(is_zero[0])
    inside = jnp.clip(scaled, -LARGEST_SYMBOL, LARGEST_SYMBOL * (1 - 1e-6))
    below = jax.lax.stop_gradient(jnp.floor(inside))
    index = below.astype(int) + LARGEST_SYMBOL
    return jnp.sum(costs[index] + (inside - below) * (costs[index + 1] - costs[index]))


def header_code_length(shape: tuple[int, ...], rank: int | None) -> float:
    """Nats for the step of a leaf and, for a matrix, whether it has factors and their rank."""
    nats = math.log(NUM_STEPS)
    if len(shape) != 2:
        return nats
    return nats + math.log(2) + (0.0 if rank is None else math.log((rank + 1) * (rank + 2)))


def binomial_limit(num_errors: int, n: int, log_failure: float) -> float:
    """The risk at which n examples have at most `num_errors` errors with probability `exp(log_failure)`, in double precision.

    The logarithm is given since code lengths of hundreds of nats leave nothing of the probability.
    """
    if num_errors >= n:
        return 1.0
    errors = np.arange(num_errors + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((n - errors[:-1]) / (errors[:-1] + 1)))])

    def log_tail(p: float) -> float:
        return float(np.logaddexp.reduce(log_choose + errors * math.log(p) + (n - errors) * math.log1p(-p)))

    low, high = num_errors / n, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if log_tail(middle) >= log_failure else (low, middle)
    return high
