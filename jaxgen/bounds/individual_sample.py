r"""Bounds by the information about each example alone, which is finite where that about the whole sample may not be."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least, square_root
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS


def individual_sample(mutual_informations: Float[ArrayLike, "*rest n"], R: Scalar) -> Bound:
    r"""The gap by what the weights tell about single examples: $|gen| \le \frac1n \sum_i \sqrt{2 R^2 I(W; Z_i)}$.

    At most `xu_raginsky` with $I(W; S) \ge \sum_i I(W; Z_i)$, and finite for weights that are a function of the sample.

    Args:
        mutual_informations: $I(W; Z_i)$ of every example in nats along the last axis, or upper bounds; what is below zero by
            at most 1e-8 counts as zero.
        R: sub-Gaussian constant of the evaluation loss.

    Returns:
        A two-sided `Bound` with the one term `"information"`.

    Raises:
        ValueError: if there is no example, an information is below -1e-8, or `R` < 0.

    Example:
        The mean of ten Gaussian examples in three dimensions is a function of them, and tells little about each.

        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> informations = jnp.full(10, 1.5 * jnp.log(10 / 9))
        >>> round(float(bounds.individual_sample(informations, R=0.5).value), 3)
        0.281

    Source: Bu, Zou and Veeravalli 2020, Proposition 1; INFO-37.
    """
    informations = per_item("mutual_informations", mutual_informations)
    value = at_least("R", R, 0) * jnp.mean(square_root(2 * informations), axis=-1)
    return Bound(value, {"information": value}, assumptions=(INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS))


def inverse_legendre(psi: Callable[[Array], Array], y: Float[ArrayLike, "*rest"], x_grid: Float[ArrayLike, " G"]) -> Float[Array, "*rest"]:
    r"""$\psi^{*-1}(y) = \inf_{x > 0} \frac{y + \psi(x)}{x}$ over a grid of x, which is never below the infimum.

    With $\psi(x) = \log E e^{-x (\ell - E \ell)}$ of a loss under independent weights and examples, the mean of its values at
    $y = I(W; Z_i)$ bounds the gap, for losses that need not be sub-Gaussian: $gen \le \frac1n \sum_i \psi^{*-1}(I(W; Z_i))$.

    Args:
        psi: convex function with psi(0) = psi'(0) = 0, of an array of x; infinite where the expectation is.
        y: values in nats, at least 0.
        x_grid: positive values of x. The excess over the infimum is of second order in their spacing.

    Returns:
        One value for every y; infinite where psi is so on the whole grid.

    Raises:
        ValueError: if `y` < -1e-8, `x_grid` is no vector of positive values, or psi does not return one value each.

    Source: Bu, Zou and Veeravalli 2020, Theorem 2; INFO-37. Memory: the size of y times G.
    """
    y, x = jnp.maximum(at_least("y", y, -1e-8), 0), floating("x_grid", x_grid)
    require(x.ndim == 1 and x.size > 0, f"x_grid must be a vector, not empty; got shape {x.shape}")
    x = checked(x, (x > 0, "x_grid must be positive"))
    values = floating("psi(x_grid)", psi(x))
    require(values.shape == x.shape, f"psi must return one value for every x, shape {x.shape}; got {values.shape}")
    candidates = (y[..., None] + values) / x
    nearest = jax.lax.stop_gradient(jnp.argmin(candidates, axis=-1))
    return jnp.take_along_axis(candidates, nearest[..., None], axis=-1)[..., 0]


def per_item(name: str, informations: Float[ArrayLike, "*rest n"]) -> Float[Array, "*rest n"]:
    """Informations along a last axis that is not empty, none negative."""
    informations = floating(name, informations)
    require(
        informations.ndim >= 1 and informations.size > 0, f"{name} must hold one value an example, shape (n,), not empty; got {informations.shape}"
    )
    return jnp.maximum(at_least(name, informations, -1e-8), 0)
