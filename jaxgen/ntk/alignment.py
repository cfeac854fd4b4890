r"""Which labels a constant kernel fits fast: eigenmodes, the residual over time, time to a given error."""

import math
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from jaxgen import optimization
from jaxgen._core.checks import checked, floating, require

HIGHEST = jax.lax.Precision.HIGHEST
NUM_BISECTIONS = 80
LISTED = 5
"""Pairs that a warning lists."""


class EigenAlignment(NamedTuple):
    """Labels in the eigenbasis of a kernel; made by `eigen_alignment`.

    Attributes:
        eigenvalues: in descending order.
        projections: v_i^T y, in the same order; their signs are arbitrary.
        cumulative_energy: part of |y|^2 in the first i + 1 modes, up to one.
    """

    eigenvalues: Float[Array, " N"]
    projections: Float[Array, " N"]
    cumulative_energy: Float[Array, " N"]


class ParallelPairs(NamedTuple):
    """Pairs of inputs on one line through the origin; made by `check_inputs`.

    Attributes:
        duplicates: index pairs i < j of inputs of one direction, shape (k, 2).
        antipodal: index pairs i < j of opposite directions, shape (k, 2).
    """

    duplicates: Int[np.ndarray, "k 2"]
    antipodal: Int[np.ndarray, "l 2"]


def eigen_alignment(kernel: Float[ArrayLike, "N N"], y: Float[ArrayLike, " N"]) -> EigenAlignment:
    r"""Labels in the eigenbasis of a kernel $H = \sum_i \lambda_i v_i v_i^\top$: those in its first modes are fitted first.

    Args:
        kernel: H, shape (N, N).
        y: labels, or labels less initial outputs, shape (N,).

    Returns:
        `EigenAlignment`.

    Raises:
        ValueError: if shapes do not fit, or `kernel` is not symmetric and positive semidefinite (NaN results when traced).

    Source: Theory of Deep Learning, section 9.3, figure 9.1; Arora et al. 2019; spec NTK-8. Cost: one eigendecomposition.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import ntk
        >>> found = ntk.eigen_alignment(jnp.diag(jnp.array([1.0, 4.0])), jnp.array([3.0, 4.0]))
        >>> [float(x) for x in found.eigenvalues], [round(float(x), 2) for x in found.cumulative_energy]
        ([4.0, 1.0], [0.64, 1.0])
    """
    spectrum = optimization.kernel_spectrum(kernel)
    y = _labels("y", y, len(spectrum.eigenvalues))
    projections = jnp.matmul(spectrum.eigenvectors.T, y, precision=HIGHEST)
    energy = jnp.cumsum(projections**2)
    return EigenAlignment(spectrum.eigenvalues, projections, energy / energy[-1])


def predicted_residual(
    kernel: Float[ArrayLike, "N N"],
    y: Float[ArrayLike, " N"],
    times: Float[ArrayLike, "*t"],
    u0: Float[ArrayLike, "..."] = 0.0,
    *,
    loss_scale: ArrayLike = 1.0,
) -> Float[Array, "*t"]:
    r"""$\lVert u(t) - y \rVert = (\sum_i e^{-2 s \lambda_i t} (v_i^\top (u(0) - y))^2)^{1/2}$ along gradient flow.

    Args:
        kernel: H, shape (N, N).
        y: labels, shape (N,).
        times: of at least 0, of any shape.
        u0: outputs before training, of a shape that broadcasts to (N,).
        loss_scale: s > 0: 1 for half the sum of squares, 1/N for half the mean.

    Returns:
        Euclidean norms, of the shape of `times`.

    Raises:
        ValueError: if shapes do not fit, `kernel` is not symmetric and positive semidefinite, a time is negative or `loss_scale` is not
            positive (NaN results when traced).

    Source: Theory of Deep Learning, equations (9.9) and (9.10); spec NTK-8. Cost: one eigendecomposition and O(N) a time.
    """
    eigenvalues, projections = _modes(kernel, y, u0)
    residual = optimization.training_filter(eigenvalues, t=times, loss_scale=loss_scale).residual
    return jnp.linalg.norm(residual * projections, axis=-1)


def time_to_error(
    kernel: Float[ArrayLike, "N N"],
    y: Float[ArrayLike, " N"],
    error: Float[ArrayLike, "*e"],
    u0: Float[ArrayLike, "..."] = 0.0,
    *,
    loss_scale: ArrayLike = 1.0,
) -> Float[Array, "*e"]:
    r"""The first time at which $\lVert u(t) - y \rVert$ is at most `error`, along gradient flow.

    Args:
        kernel: H, shape (N, N).
        y: labels, shape (N,).
        error: norms above 0, of any shape.
        u0: outputs before training, of a shape that broadcasts to (N,).
        loss_scale: s > 0.

    Returns:
        Times, of the shape of `error`: zero where the error is small from the start, infinite where modes without an eigenvalue keep
        more than that.

    Raises:
        ValueError: if shapes do not fit, `kernel` is not symmetric and positive semidefinite, or `error` or `loss_scale` is not
            positive (NaN results when traced).

    Source: Theory of Deep Learning, section 9.3; spec NTK-8. Cost: one eigendecomposition and 80 sums over modes an error.
    """
    eigenvalues, projections = _modes(kernel, y, u0)
    error, scale = floating("error", error), floating("loss_scale", loss_scale)
    error = checked(error, (error > 0, f"error must be positive; got {error}"), (scale > 0, f"loss_scale must be positive; got {loss_scale}"))
    zero = eigenvalues == 0
    kept, fitted = (jnp.linalg.norm(jnp.where(here, projections, 0.0)) for here in (zero, ~zero))
    slowest, never = jnp.min(jnp.where(zero, math.inf, eigenvalues)), kept > error
    allowed = jnp.sqrt(jnp.where(never, 1.0, error**2 - kept**2))

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        left = jnp.linalg.norm(jnp.where(zero, 0.0, jnp.exp(-middle[..., None] * eigenvalues) * projections), axis=-1) > allowed
        return jnp.where(left, middle, low), jnp.where(left, high, middle)

    # If all of what is fitted were in the slowest mode.
    high = jnp.maximum(jnp.log(fitted / allowed), 0.0) / slowest
    _, high = jax.lax.fori_loop(0, NUM_BISECTIONS, halve, (jnp.zeros_like(high), high))
    return jnp.where(never, math.inf, high) / scale


def kernel_target_alignment(kernel: Float[ArrayLike, "N N"], y: Float[ArrayLike, " N"]) -> Float[Array, ""]:
    r"""$y^\top H y / (\lVert H \rVert_F \lVert y \rVert^2)$: one for $H \propto y y^\top$.

    Args:
        kernel: H, shape (N, N).
        y: labels, shape (N,), not all zero.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: if shapes do not fit, or the kernel or `y` vanishes (NaN results when traced).

    Source: Cristianini et al. 2001; spec NTK-8. Cost: O(N^2).
    """
    kernel = floating("kernel", kernel)
    n = len(kernel) if kernel.ndim else 0
    require(kernel.shape == (n, n) and n > 0, f"kernel must have shape (N, N); got {kernel.shape}")
    y = _labels("y", y, n)
    size = jnp.linalg.norm(kernel) * jnp.sum(y**2)
    size = checked(size, (size > 0, "kernel and y must not vanish"))
    return jnp.matmul(y, jnp.matmul(kernel, y, precision=HIGHEST), precision=HIGHEST) / size


def min_eigenvalue(kernel: Float[ArrayLike, "N N"]) -> Float[Array, ""]:
    """The smallest eigenvalue: zero if training cannot fit all labels, and the rate of the slowest mode otherwise.

    Args:
        kernel: shape (N, N).

    Returns:
        The eigenvalue, zero where it is below the floor of `optimization.kernel_spectrum`.

    Raises:
        ValueError: if `kernel` is not symmetric and positive semidefinite (NaN results when traced).

    Source: Theory of Deep Learning, section 9.3; Du et al. 2019; spec NTK-9. Cost: one eigendecomposition.
    """
    return optimization.kernel_spectrum(kernel).eigenvalues[-1]


def check_inputs(x: Float[ArrayLike, "N ..."], *, tolerance: float | None = None) -> ParallelPairs:
    """Finds inputs on one line through the origin, and warns of them: they can make a tangent kernel singular.

    Inputs of one direction do it in nets without biases. Opposite ones do so only in numbers: of the first-layer kernel of ReLU
    only the linear part tells x from -x, so that k pairs of them in d dimensions take max(0, k - d) from the rank.

    Args:
        x: concrete inputs with leading axis N; others are flattened.
        tolerance: largest 1 - |cosine| of a pair on one line; default 8 roundings.

    Returns:
        `ParallelPairs`, with NumPy arrays.

    Raises:
        ValueError: if an input is zero or not finite, or `tolerance` is negative.

    Source: Du et al. 2019, assumption 3.1; spec NTK-9, where the count of opposite pairs is derived. Cost: O(N^2 d).
    """
    points = np.asarray(floating("x", x))
    require(points.ndim >= 1 and points.size > 0, f"x must hold inputs along its leading axis; got shape {points.shape}")
    points = points.reshape(len(points), -1)
    require(bool(np.isfinite(points).all()), "x must be finite")
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    require(bool((norms > 0).all()), f"x must have no zero rows; row {int(np.argmin(norms))} is zero")
    tolerance = 8 * float(np.finfo(points.dtype).eps) if tolerance is None else tolerance
    require(tolerance >= 0, f"tolerance must be at least 0; got {tolerance}")
    points = points / norms
    cosines = points @ points.T
    upper = np.triu(np.ones(cosines.shape, bool), 1)
    found = ParallelPairs(np.argwhere(upper & (cosines >= 1 - tolerance)), np.argwhere(upper & (cosines <= tolerance - 1)))
    for words, pairs in (("the same direction", found.duplicates), ("opposite directions", found.antipodal)):
        if len(pairs):
            listed = ", ".join(f"{i} and {j}" for i, j in pairs[:LISTED]) + (", ..." if len(pairs) > LISTED else "")
            warnings.warn(f"{len(pairs)} pairs of inputs have {words} ({listed}); the tangent kernel may be singular", stacklevel=2)
    return found


def _modes(kernel: ArrayLike, y: ArrayLike, u0: ArrayLike) -> tuple[Array, Array]:
    spectrum = optimization.kernel_spectrum(kernel)
    n = len(spectrum.eigenvalues)
    y, u0 = _labels("y", y, n), floating("u0", u0)
    require(u0.ndim == 0 or u0.shape == (n,), f"u0 must be a scalar or have shape ({n},); got {u0.shape}")
    return spectrum.eigenvalues, jnp.matmul(spectrum.eigenvectors.T, u0 - y, precision=HIGHEST)


def _labels(name: str, y: ArrayLike, n: int) -> Array:
    y = floating(name, y)
    require(y.shape == (n,), f"{name} must have shape ({n},); got {y.shape}")
    return y
