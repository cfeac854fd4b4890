"""Sub-Gaussian constants: R with log E exp(rho (X - EX)) <= rho^2 R^2 / 2 for every real rho (INFO-14).

A squared or cross-entropy loss is not sub-Gaussian uniformly in the parameters; a certificate needs a bounded loss (0-1,
or clipped). Values are right to a few units of rounding.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, choice, floating, positive_integer, require

PARAMETERS = {"bounded": ("min_value", "max_value"), "gaussian": ("std",), "bernoulli": ("p",)}


def subgaussian_constant(kind: str, *, n: int = 1, **parameters: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """The sub-Gaussian constant R of a law, or of the mean of `n` independent copies, R / sqrt(n).

    - `"bounded"`: values in [min_value, max_value], R = (max_value - min_value) / 2 (Hoeffding). The 0-1 loss has R = 1/2.
    - `"gaussian"`: N(m, std^2), R = std.
    - `"bernoulli"`: the smallest possible, R^2 = (1 - 2p) / (2 log((1-p)/p)) (Kearns and Saul 1998), 1/4 at p = 1/2.

    Always R^2 >= Var X.

    Args:
        kind: one of the names above.
        n: number of independent copies whose mean is meant.
        **parameters: those of the law, elementwise: `max_value` and `min_value` (default 0); `std`; or `p`.

    Returns:
        R, of the common shape of the parameters, in the unit of X.

    Raises:
        TypeError: if a parameter is missing or not one of this law.
        ValueError: if `kind` is unknown, `max_value < min_value`, `std < 0`, `p` is not inside (0, 1), or `n < 1`.

    Source: Kearns and Saul 1998; Boucheron, Lugosi and Massart 2013, section 2.3; INFO-14.

    Example:
        >>> from jaxgen import information
        >>> float(information.subgaussian_constant("bounded", max_value=1.0))
        0.5
        >>> round(float(information.subgaussian_constant("bernoulli", p=0.1) ** 2), 4)
        0.182
    """
    choice("kind", kind, tuple(PARAMETERS))
    n = positive_integer("n", n)
    if kind == "bounded":
        parameters = {"min_value": 0.0, **parameters}
    if set(parameters) != set(PARAMETERS[kind]):
        raise TypeError(f"a {kind} law has the parameters {', '.join(PARAMETERS[kind])}; got {', '.join(parameters) or 'none'}")
    values = {name: floating(name, value) for name, value in parameters.items()}
    if kind == "bounded":
        width = values["max_value"] - values["min_value"]
        constant = checked(width / 2, (width >= 0, "max_value must not be below min_value"))
    elif kind == "gaussian":
        constant = checked(values["std"], (values["std"] >= 0, "std must not be negative"))
    else:
        p = values["p"]
        constant = checked(_kearns_saul(p), ((p > 0) & (p < 1), "p must lie strictly between 0 and 1"))
    return constant / n**0.5


def subgaussian_constant_empirical(x: Float[ArrayLike, "N"], grid: Float[ArrayLike, "G"]) -> Float[Array, ""]:
    """sup over rho in the grid of sqrt(2 log mean exp(rho (x - mean x))) / |rho|: a diagnostic, biased low.

    It bounds R of the empirical law from below; no grid and no sample can prove that a law is sub-Gaussian. Use a grid
    with both signs: the tails may differ (an exponential law is sub-Gaussian to the left only).

    Args:
        x: samples, N >= 2.
        grid: values of rho, not all zero; at rho = 0 the ratio is its limit, the standard deviation of the samples.

    Returns:
        The supremum, in the unit of `x`; at least the standard deviation when the grid comes near zero.

    Raises:
        ValueError: if N < 2, `grid` is empty, the shapes are not of rank 1, or a value is not finite.

    Source: INFO-14. Cost O(N G) time, O(N) memory.
    """
    x, grid = floating("x", x), floating("grid", grid)
    require(x.ndim == 1 and x.size >= 2, f"x must hold at least two samples, shape (N,) with N >= 2; got shape {x.shape}")
    require(grid.ndim == 1 and grid.size > 0, f"grid must hold at least one value, shape (G,); got shape {grid.shape}")
    return checked(
        _largest_ratio(x, grid),
        (jnp.isfinite(x).all(), "x must be finite"),
        (jnp.isfinite(grid).all(), "grid must be finite"),
    )


@jax.jit
def _largest_ratio(x: Array, grid: Array) -> Array:
    centred = x - x.mean()
    variance = (centred**2).mean()

    def squared(rho):
        nonzero = rho != 0
        safe = jnp.where(nonzero, rho, 1)
        return jnp.where(nonzero, 2 * _log_mean_exp(safe * centred) / safe**2, variance)

    largest = jax.lax.map(squared, grid).max()
    zero = largest <= 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, largest)))


def _log_mean_exp(u: Array) -> Array:
    """log mean exp(u) for u of mean zero, without cancellation where u is small."""
    small = jnp.abs(u).max() < 1
    inner = jnp.where(small, u, 0)
    tiny = jnp.abs(inner) < jnp.finfo(u.dtype).eps ** 0.25
    series = inner**2 * (1 / 2 + inner * (1 / 6 + inner * (1 / 24 + inner / 120)))
    excess = jnp.where(tiny, series, jnp.expm1(inner) - inner)
    return jnp.where(small, jnp.log1p(excess.mean()), jax.nn.logsumexp(u) - jnp.log(u.size))


@jax.jit
def _kearns_saul(p: Array) -> Array:
    """The root of (1-2p) / (2 log((1-p)/p)), by its series in t = 1 - 2p where |t| is small."""
    t = 1 - 2 * p
    near = jnp.abs(t) < jnp.finfo(p.dtype).eps ** (1 / 6)
    away = jnp.where(near, 0.25, p)
    squared = jnp.where(near, (1 - t**2 / 3 - 4 * t**4 / 45) / 4, (1 - 2 * away) / (2 * jnp.log1p((1 - 2 * away) / away)))
    return jnp.sqrt(squared)
