"""Lengths of codes, in nats: minus the logarithm of a probability that was fixed before the data were seen."""

import math

import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, ArrayLike, Float, Int

from jaxgen._core.checks import checked, floating, positive_integer


def integer_code_length(k: Int[ArrayLike, "..."]) -> Float[Array, "..."]:
    r"""A code for whole numbers of any size: $\ln((k + 1)(k + 2))$ nats, whose probabilities over k = 0, 1, ... add up to one.

    Args:
        k: at least 0; elementwise.

    Returns:
        Nats.

    Raises:
        ValueError: if k < 0; NaN when traced.

    Example:
        >>> from jaxgen import bounds
        >>> round(float(bounds.integer_code_length(0)), 4)
        0.6931
    """
    number = floating("k", k)
    number = checked(number, (number >= 0, "k must be at least 0"))
    return jnp.log(number + 1) + jnp.log(number + 2)


def adaptive_code_length(symbols: Int[ArrayLike, "..."], num_symbols: int) -> Float[Array, ""]:
    r"""An arithmetic code that learns the frequencies of its symbols as it goes; no table of them is sent.

    The next symbol s has probability $(c_s + \frac12) / (i + \frac r2)$ after i symbols, c_s of them s, so that N symbols take

    $\ln \frac{\Gamma(N + r/2)}{\Gamma(r/2)} - \sum_s \ln \frac{\Gamma(c_s + 1/2)}{\Gamma(1/2)}$ nats, within $\frac{r-1}2 \ln N + O(r)$ of N times
    the entropy of their frequencies. Rounding is counted in: the result is no less than the exact length.

    Args:
        symbols: integers in [0, r), any shape.
        num_symbols: r, at least 1.

    Returns:
        Nats, a scalar.

    Raises:
        ValueError: if r < 1 or a symbol is not in [0, r); NaN when traced.
        TypeError: if symbols are not integers.

    Source: Krichevsky and Trofimov 1981.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> round(float(bounds.adaptive_code_length(jnp.array([0, 0, 1]), num_symbols=2)), 4)  # 1/2, 3/4, 1/6
        2.7726
    """
    num_symbols, symbols = positive_integer("num_symbols", num_symbols), jnp.asarray(symbols)
    if not jnp.issubdtype(symbols.dtype, jnp.integer):
        raise TypeError(f"symbols must be integers; got dtype {symbols.dtype}")
    counts = jnp.zeros(num_symbols, jnp.result_type(float)).at[symbols.reshape(-1)].add(1)
    inside = jnp.all((symbols >= 0) & (symbols < num_symbols))
    length = length_of_counts(counts, jnp.asarray(num_symbols, counts.dtype))
    return checked(length, (inside, f"symbols must lie in [0, {num_symbols})"))


def length_of_counts(counts: Float[Array, " r"], num_symbols: Float[Array, ""]) -> Float[Array, ""]:
    """`adaptive_code_length` of symbols with these frequencies; symbols that are not among `num_symbols` have count zero."""
    total, half = counts.sum(), num_symbols / 2
    terms = jnp.stack([gammaln(total + half), -gammaln(half), -jnp.sum(gammaln(counts + 0.5)), jnp.sum(counts * 0 + math.lgamma(0.5))])
    return terms.sum() + 8 * jnp.finfo(counts.dtype).eps * jnp.sum(jnp.abs(terms))
