"""Polynomial regression: features of a polynomial basis, and least squares with a ridge penalty (GEN-2)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, choice, floating, positive_integer, require


def polynomial_features(x: Float[ArrayLike, " n"], degree: int, *, basis: str = "legendre") -> Float[Array, "n p"]:
    r"""The values of a basis of the polynomials of degree N at given points.

    - `"legendre"`: $\phi_j(x) = \sqrt{2 j + 1} P_j(2 x - 1)$, orthonormal in $L^2[0, 1]$, so that the Euclidean norm of
      coefficients is the norm of the polynomial;
    - `"monomial"`: $\phi_j(x) = x^j$, ill-conditioned beyond a degree of ten or so.

    Args:
        x: n points, meant to be in [0, 1].
        degree: N, at least 0.
        basis: one of the above.

    Returns:
        Features of shape (n, N + 1), by increasing degree.

    Raises:
        ValueError: if `x` is no vector, `degree` is no integer of at least 0 or `basis` is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import optimization
        >>> optimization.polynomial_features(jnp.array([0.5, 1.0]), 2, basis="monomial").tolist()
        [[1.0, 0.5, 0.25], [1.0, 1.0, 1.0]]

    Source: Theory of Deep Learning, section 5.1.2; GEN-2.
    """
    choice("basis", basis, ("legendre", "monomial"))
    x, degree = floating("x", x), positive_integer("degree", degree, at_least=0)
    require(x.ndim == 1, f"x must be a vector of points; got shape {x.shape}")
    if basis == "monomial":
        return x[:, None] ** jnp.arange(degree + 1)
    z = 2 * x - 1

    def step(pair, j):
        before, current = pair
        return (current, ((2 * j + 1) * z * current - j * before) / (j + 1)), current

    orders = jnp.arange(degree + 1, dtype=x.dtype)
    values = jax.lax.scan(step, (jnp.zeros_like(z), jnp.ones_like(z)), orders)[1]
    return values.T * jnp.sqrt(2 * orders + 1)


def ridge(features: Float[ArrayLike, "n p"], y: Float[ArrayLike, " n"], lam: Float[ArrayLike, "*l"]) -> Float[Array, "*l p"]:
    r"""Least squares with a penalty, $\arg\min_\theta \lVert \Phi \theta - y \rVert^2 + \lambda \lVert \theta \rVert^2$.

    Args:
        features: $\Phi$, examples in rows.
        y: targets.
        lam: $\lambda \ge 0$, of any shape, all for one decomposition. At 0, the solution of least norm: singular values
            below max(n, p) eps times the largest count as zero.

    Returns:
        Coefficients, shape `lam.shape + (p,)`.

    Raises:
        ValueError: if shapes do not fit, there is no example or feature, or `lam` is negative.

    Source: Theory of Deep Learning, section 5.1.2; GEN-2. Cost: one singular value decomposition and O(n p) a $\lambda$.
    """
    features, y, lam = floating("features", features), floating("y", y), floating("lam", lam)
    require(features.ndim == 2 and features.size > 0, f"features must have shape (n, p), and not be empty; got {features.shape}")
    require(y.shape == features.shape[:1], f"y must hold one target an example, shape {features.shape[:1]}; got {y.shape}")
    lam = checked(lam, (lam >= 0, "lam must be at least 0"))[..., None]
    u, s, vt = jnp.linalg.svd(features, full_matrices=False)
    counts = s > max(features.shape) * jnp.finfo(s.dtype).eps * s[0]
    safe = jnp.where((lam > 0) | counts, s**2 + lam, 1.0)
    gain = jnp.where((lam > 0) | counts, s / safe, 0.0)
    return (gain * (u.T @ y)) @ vt
