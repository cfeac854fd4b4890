r"""Generalization of kernel predictors: what the labels cost in the kernel's norm, and labels that cost little.

Statements are for functions in a ball of radius B of the reproducing kernel Hilbert space, losses in [0, 1] that are
1-Lipschitz in the output, such as the ramp loss $\min(1, \max(0, 1 - y f))$, and n independent examples.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key

from jaxgen import optimization
from jaxgen._core.checks import checked, choice, floating, positive_integer, require
from jaxgen._core.monte_carlo import average_over_draws
from jaxgen._core.results import Bound, Estimate
from jaxgen.bounds._inputs import at_least, failure_probability, square_root

TEACHERS = ("linear", "power", "cosine")
CONSTANTS = (2, 4)

INDEPENDENT = "The n training examples are independent draws from the data distribution."
LIPSCHITZ_LOSS = "The loss lies in [0, 1] and is 1-Lipschitz in the prediction, such as the ramp loss."
IN_BALL = "The predictor lies in the ball of the kernel's function space whose radius B was fixed before the data."
IN_GRID = "The norm of the predictor is at most B, as that of the kernel's interpolant of least norm is; it is rounded up to a whole number."
UNIT_RELU = "Inputs have norm one, and the kernel is the limiting first-layer kernel of a two-layer ReLU net, x.x' (pi - arccos x.x') / (2 pi)."
ODD = "The kernel has no odd powers beyond the first: odd powers p > 1 are not learnable, and there is no bound."


def kernel_complexity(kernel: Float[ArrayLike, "n n"], y: Float[ArrayLike, " n"], *, constant: int = 4) -> Float[Array, ""]:
    r"""$\sqrt{c \; y^\top H^{-1} y \; \mathrm{tr} H} / n$, twice the Rademacher complexity of the ball that holds the interpolant, at c = 4.

    The factor 2 is that of symmetrization, so c = 4 is what bounds the gap (see `kernel_bound`); with c = 2 it is the measure
    as printed, smaller by $\sqrt 2$. For the ReLU kernel on inputs of norm one $\mathrm{tr} H = n / 2$, and c = 4 gives the
    $\sqrt{2 y^\top H^{-1} y / n}$ of Arora et al. 2019.

    Args:
        kernel: H, positive semidefinite, shape (n, n).
        y: labels, shape (n,).
        constant: c, 4 or 2.

    Returns:
        The measure; infinite where H is singular and y is not in its range.

    Raises:
        ValueError: if shapes do not fit, `kernel` is not symmetric and positive semidefinite (NaN results when traced), or `constant` is
            neither.

    Source: Theory of Deep Learning, equation (9.11); Arora, Du, Hu, Li and Wang 2019; spec NTK-10. Cost: one eigendecomposition.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> float(bounds.kernel_complexity(0.5 * jnp.eye(4), jnp.array([1.0, -1.0, 1.0, 1.0])))
        2.0
    """
    require(constant in CONSTANTS, f"constant must be one of {CONSTANTS}; got {constant}")
    kernel, y = floating("kernel", kernel), floating("y", y)
    require(y.ndim == 1, f"y must have shape (n,); got {y.shape}")
    return square_root(constant * optimization.rkhs_squared_norm(kernel, y) * jnp.trace(kernel)) / len(y)


def kernel_bound(kernel: Float[ArrayLike, "n n"], y: Float[ArrayLike, " n"], delta: float, *, radius_grid: bool = True) -> Bound:
    r"""High-probability bound on the gap: $\frac{2 B \sqrt{\mathrm{tr} H}}{n} + 3 \sqrt{\frac{\log(2 / \delta)}{2 n}}$, $B^2 = y^\top H^{-1} y$.

    B depends on the data: with `radius_grid` it is rounded up to a whole number, and $\delta$ split over them as
    $\delta / (B (B + 1))$. Without it, the value is the one for a ball that was fixed before, which this one was not.

    Args:
        kernel: H, the kernel of the training inputs, shape (n, n).
        y: labels that the predictor interpolates, shape (n,).
        delta: probability of failure in (0, 1), concrete.
        radius_grid: whether the choice of B is paid for.

    Returns:
        A one-sided `Bound` with the terms `"complexity"` and `"confidence"`, certified only with `radius_grid`.

    Raises:
        ValueError: if shapes do not fit, `kernel` is not symmetric and positive semidefinite (NaN results when traced), or `delta` is
            outside (0, 1).
        TypeError: if `delta` is traced.

    Source: Bartlett and Mendelson 2002, theorem 8 and lemma 22; spec NTK-10. Cost: one eigendecomposition.
    """
    delta = failure_probability(delta)
    complexity = kernel_complexity(kernel, y)
    n, spent = len(jnp.asarray(y)), delta
    if radius_grid:
        per_radius = 2 * square_root(jnp.trace(floating("kernel", kernel))) / n
        radius = jnp.maximum(jnp.ceil(complexity / jnp.where(per_radius == 0, 1.0, per_radius)), 1.0)
        complexity, spent = jnp.where(per_radius == 0, complexity, radius * per_radius), delta / (radius * (radius + 1))
    confidence = 3 * jnp.sqrt(jnp.log(2 / spent) / (2 * n))
    assumptions = (INDEPENDENT, LIPSCHITZ_LOSS, IN_GRID if radius_grid else IN_BALL)
    terms = {"complexity": complexity, "confidence": confidence}
    return Bound(complexity + confidence, terms, "one", radius_grid, assumptions, 1 - delta)


def kernel_rademacher(key: Key[Array, ""], kernel: Float[ArrayLike, "n n"], radius: ArrayLike = 1.0, *, num_draws: int = 1000) -> Estimate:
    r"""Empirical Rademacher complexity of the ball of radius B: $\frac{B}{n} E_\epsilon \sqrt{\epsilon^\top H \epsilon}$.

    It is at most $\frac Bn \sqrt{\mathrm{tr} H}$. Only the expectation over signs is sampled: the supremum over the ball is in closed form.

    Args:
        key: PRNG key.
        kernel: H, positive semidefinite, shape (n, n).
        radius: B of at least 0, a scalar.
        num_draws: vectors of signs, at least 2.

    Returns:
        `Estimate`.

    Raises:
        ValueError: if `kernel` is not symmetric and positive semidefinite, `radius` is negative (NaN results when traced) or
            `num_draws` < 2.

    Source: Bartlett and Mendelson 2002, lemma 22; spec NTK-10. Cost: O(n^2) a draw, and eigenvalues of n x n.
    """
    kernel, radius = optimization.positive_semidefinite(kernel), at_least("radius", radius, 0)
    num_draws = positive_integer("num_draws", num_draws, at_least=2)

    def supremum(key):
        signs = jax.random.rademacher(key, (len(kernel),), kernel.dtype)
        return jnp.sqrt(jnp.maximum(signs @ jnp.matmul(kernel, signs, precision=jax.lax.Precision.HIGHEST), 0.0))

    mean = average_over_draws(supremum, key, num_draws, chunk_size=min(num_draws, 256))
    return Estimate(radius / len(kernel) * mean.value, radius / len(kernel) * mean.stderr)


def teacher_labels(
    kind: str,
    x: Float[ArrayLike, "n d"],
    alpha: Float[ArrayLike, " J"],
    beta: Float[ArrayLike, "J d"],
    p: Int[ArrayLike, ""] = 1,
) -> Float[Array, " n"]:
    r"""Labels $\sum_j \alpha_j \phi(\beta_j^\top x)$ with $\phi(z) = z$, $z^p$ or $\cos z - 1$.

    Args:
        kind: `"linear"`, `"power"` or `"cosine"`.
        x: inputs, shape (n, d).
        alpha: coefficients, shape (J,).
        beta: directions, shape (J, d).
        p: exponent of `"power"`, a whole number of at least 1.

    Returns:
        Labels, shape (n,).

    Raises:
        ValueError: if `kind` is unknown, shapes do not fit, or p < 1.

    Source: Theory of Deep Learning, section 9.3.1, exercise 3; spec NTK-12.
    """
    choice("kind", kind, TEACHERS)
    alpha, beta, p = _teacher(alpha, beta, p)
    x = floating("x", x)
    require(x.ndim == 2 and x.shape[1] == beta.shape[1], f"x must have shape (n, {beta.shape[1]}); got {x.shape}")
    z = jnp.matmul(x, beta.T, precision=jax.lax.Precision.HIGHEST)
    values = {"linear": lambda: z, "power": lambda: z**p, "cosine": lambda: jnp.cos(z) - 1}[kind]()
    return jnp.matmul(values, alpha, precision=jax.lax.Precision.HIGHEST)


def teacher_complexity(
    kind: str,
    alpha: Float[ArrayLike, " J"],
    beta: Float[ArrayLike, "J d"],
    n: ArrayLike,
    p: Int[ArrayLike, ""] = 1,
    *,
    constant: int = 4,
) -> Bound:
    r"""Bound on `kernel_complexity` of the first-layer ReLU kernel at a teacher's labels, of order $1 / \sqrt n$ and for any inputs.

    From $H \succeq c_p (X X^\top)^{\circ p}$, $\sqrt{y^\top H^{-1} y} \le \sum_j |\alpha_j| \lVert \beta_j \rVert^p / \sqrt{c_p}$ with
    $c_1 = \frac14$, $c_p = \frac{(p - 3)!!}{2 \pi (p - 2)!! (p - 1)}$ for even p; for $\cos z - 1$ the even powers add up to at most
    $3 \sum_j |\alpha_j| \lVert \beta_j \rVert \sinh \lVert \beta_j \rVert$. With $\mathrm{tr} H = n / 2$ that is multiplied by $\sqrt{c / (2 n)}$.

    Args:
        kind: as in `teacher_labels`.
        alpha: as in `teacher_labels`.
        beta: as in `teacher_labels`.
        n: number of examples, at least 1.
        p: as in `teacher_labels`.
        constant: c, 4 or 2, as in `kernel_complexity`.

    Returns:
        A one-sided `Bound`, of the measure and not of a gap, with the term `"norm"`, which bounds the norm of the interpolant. For odd
        p > 1 it is infinite, not certified, and its last assumption says why.

    Raises:
        ValueError: if `kind` is unknown, shapes do not fit, p < 1, n < 1 or `constant` is neither.

    Source: Arora, Du, Hu, Li and Wang 2019, section 6; Theory of Deep Learning, exercise 9.3, which prints the cosine's bound
    with a factor p and a square too many; spec NTK-12.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> float(bounds.teacher_complexity("linear", jnp.ones(1), jnp.array([[3.0, 4.0]]), n=50).value)
        2.0
        >>> float(bounds.teacher_complexity("power", jnp.ones(1), jnp.array([[1.0, 0.0]]), n=50, p=3).value)
        inf
    """
    choice("kind", kind, TEACHERS)
    require(constant in CONSTANTS, f"constant must be one of {CONSTANTS}; got {constant}")
    alpha, beta, p = _teacher(alpha, beta, p)
    size, n = jnp.linalg.norm(beta, axis=1), at_least("n", n, 1)
    p = p if kind == "power" else 1
    if p > 1 and p % 2:
        value = jnp.full_like(n + alpha[0], math.inf)
        return Bound(value, {"norm": value}, "one", False, (UNIT_RELU, ODD))
    each = 3 * size * jnp.sinh(size) if kind == "cosine" else size**p / math.sqrt(_coefficient(p))
    norm = jnp.sum(jnp.abs(alpha) * each)
    return Bound(norm * jnp.sqrt(constant / (2 * n)), {"norm": norm}, "one", True, (UNIT_RELU,))


def _coefficient(p: int) -> float:
    """c_p, the coefficient of rho^p in the first-layer ReLU kernel."""
    return 0.25 if p == 1 else _double_factorial(p - 3) / (2 * math.pi * _double_factorial(p - 2) * (p - 1))


def _double_factorial(k: int) -> int:
    return math.prod(range(k, 0, -2))


def _teacher(alpha: ArrayLike, beta: ArrayLike, p: ArrayLike) -> tuple[Array, Array, int]:
    alpha, beta = floating("alpha", alpha), floating("beta", beta)
    require(alpha.ndim == 1 and alpha.size > 0, f"alpha must have shape (J,); got {alpha.shape}")
    require(beta.ndim == 2 and len(beta) == len(alpha), f"beta must have shape ({len(alpha)}, d); got {beta.shape}")
    alpha = checked(alpha, (jnp.isfinite(alpha), "alpha must be finite"), (jnp.isfinite(beta), "beta must be finite"))
    return alpha, beta, positive_integer("p", p)
