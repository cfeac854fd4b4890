r"""Rademacher complexities of linear predictors of bounded norm and of kernel interpolants, on a given sample.

A loss that is c-Lipschitz in the prediction has at most c times the complexity of the predictions (Ledoux and Talagrand), where no
absolute values are taken.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from jaxgen._core.checks import choice, floating, require
from jaxgen._core.results import Estimate
from jaxgen.bounds._inputs import positive, square_root
from jaxgen.bounds.kernel import kernel_complexity
from jaxgen.bounds.rademacher._signs import average_over_signs, checked_draws

NORMS = ("l2", "l1")


def rademacher_linear(
    key: Key[Array, ""] | None, x: Float[ArrayLike, "n d"], radius: ArrayLike = 1.0, *, norm: str = "l2", num_draws: int | None = 1000
) -> Estimate:
    r"""Rademacher complexity of $x \mapsto w^\top x$ with $\lVert w \rVert \le B$: $\frac Bn E_\sigma \lVert \sum_i \sigma_i x_i \rVert_*$.

    The supremum over the ball is in closed form, by the dual norm: the Euclidean one for the Euclidean ball, the largest
    absolute coordinate for the $\ell_1$ ball. The sphere gives the same.

    Args:
        key: PRNG key; None where all signs are gone through.
        x: inputs, shape (n, d).
        radius: B, positive, a scalar.
        norm: norm of w, `"l2"` or `"l1"`.
        num_draws: vectors of signs, at least 2; None goes through all $2^n$ of them, for n of at most 16.

    Returns:
        `Estimate`; its standard error is 0 where all signs are gone through.

    Raises:
        ValueError: if `x` is not of shape (n, d), `radius` is not positive (NaN results when traced), `norm` is unknown,
            `num_draws` < 2, n is above 16 with `num_draws=None`, or there is no key where one is needed.

    Source: Theory of Deep Learning, problem 5.3.2; spec GEN-10. Cost: O(n d) a vector of signs.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> float(bounds.rademacher_linear(None, jnp.ones((4, 1)), num_draws=None).value)
        0.375
    """
    x, radius = _inputs(x, radius, norm)
    mean = _over_signs(key, x, norm=norm, num_draws=checked_draws(key, num_draws, len(x)))
    return Estimate(radius * mean.value, radius * mean.stderr)


@partial(jax.jit, static_argnames=("norm", "num_draws"))
def _over_signs(key: Key[Array, ""] | None, x: Array, *, norm: str, num_draws: int | None) -> Estimate:
    def dual_norm(signs: Array) -> Array:
        total = jnp.matmul(signs, x, precision=jax.lax.Precision.HIGHEST)
        return (square_root(jnp.sum(total**2)) if norm == "l2" else jnp.abs(total).max()) / len(x)

    return average_over_signs(dual_norm, key, len(x), num_draws, x.dtype)


def rademacher_linear_bound(x: Float[ArrayLike, "n d"], radius: ArrayLike = 1.0, *, norm: str = "l2", side: str = "upper") -> Float[Array, ""]:
    r"""Bound on `rademacher_linear`: $\frac Bn \sqrt{\sum_i \lVert x_i \rVert^2}$, or $B \max_i \lVert x_i \rVert_\infty \sqrt{2 \log(2d) / n}$.

    The first is for the Euclidean ball, and at most $B \max_i \lVert x_i \rVert / \sqrt n$; the second for the $\ell_1$ ball. From below the
    Euclidean one is at least $1 / \sqrt 2$ of its bound, and that of the $\ell_1$ ball at least $\frac{B}{n \sqrt 2} \max_j \sqrt{\sum_i x_{ij}^2}$.

    Args:
        x: inputs, shape (n, d).
        radius: B, positive, a scalar.
        norm: norm of w, `"l2"` or `"l1"`.
        side: `"upper"` or `"lower"`.

    Returns:
        The bound.

    Raises:
        ValueError: if `x` is not of shape (n, d), `radius` is not positive (NaN results when traced), or `norm` or `side` is unknown.

    Source: Theory of Deep Learning, problem 5.3.2; from below, Khintchine's inequality with the constant of Latala and Oleszkiewicz
    1994; spec GEN-10. Cost: O(n d).
    """
    choice("side", side, ("upper", "lower"))
    x, radius = _inputs(x, radius, norm)
    n, d = x.shape
    if norm == "l1" and side == "upper":
        return radius * jnp.abs(x).max() * math.sqrt(2 * math.log(2 * d) / n)
    squares = jnp.sum(x**2, axis=0)
    size = square_root(squares.sum() if norm == "l2" else squares.max())
    return radius * size / (n if side == "upper" else math.sqrt(2) * n)


def kernel_rademacher_bound(kernel: Float[ArrayLike, "n n"], y: Float[ArrayLike, " n"]) -> Float[Array, ""]:
    r"""Bound on the Rademacher complexity of the ball that holds a kernel's interpolant: $\sqrt{y^\top G^{-1} y \; \mathrm{tr} G} / n$.

    The ball's radius is the interpolant's norm $\sqrt{y^\top G^{-1} y}$, and the complexity itself is
    `kernel_rademacher(key, kernel, radius)`. For $G = \epsilon I$ and signs y both are 1, whatever $\epsilon$ is.

    Args:
        kernel: G, positive semidefinite, shape (n, n).
        y: labels, shape (n,).

    Returns:
        The bound; infinite where G is singular and y is not in its range.

    Raises:
        ValueError: if shapes do not fit or `kernel` is not symmetric and positive semidefinite (NaN results when traced).

    Source: Theory of Deep Learning, problem 5.3.3, which prints $y^\top G y$ and a factor $\sqrt 2$ that is not needed; spec GEN-11.
    Cost: one eigendecomposition.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> float(bounds.kernel_rademacher_bound(0.25 * jnp.eye(4), jnp.array([1.0, -1.0, 1.0, 1.0])))
        1.0
    """
    return kernel_complexity(kernel, y, constant=4) / 2


def _inputs(x: ArrayLike, radius: ArrayLike, norm: str) -> tuple[Array, Array]:
    choice("norm", norm, NORMS)
    x, radius = floating("x", x), positive("radius", radius)
    require(x.ndim == 2 and x.size > 0, f"x must have shape (n, d), neither of them 0; got {x.shape}")
    require(radius.ndim == 0, f"radius must be a scalar; got shape {radius.shape}")
    return x, radius
