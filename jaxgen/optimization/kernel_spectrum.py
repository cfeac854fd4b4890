"""The eigenvalues of a kernel matrix, and the coefficients that a spectral filter gives to its examples."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Num

from jaxgen._core.checks import checked, floating, require
from jaxgen.optimization.spectral_filters import training_filter

ASYMMETRY = 1e3
"""Roundings of the largest entry by which a matrix may differ from its transpose."""

NEGATIVE = 10.0
"""Roundings of the largest eigenvalue, times the size, by which an eigenvalue may lie below zero."""


class KernelSpectrum(NamedTuple):
    """Eigendecomposition of a positive semidefinite matrix.

    Attributes:
        eigenvalues: in descending order; those that cannot be told from zero are zero.
        eigenvectors: in columns, in the same order.
        floor: what eigenvalues were compared with, 4 sqrt(n) roundings of the largest or, if larger, minus the smallest.
    """

    eigenvalues: Float[Array, " n"]
    eigenvectors: Float[Array, "n n"]
    floor: Float[Array, ""]

    @property
    def rank(self) -> Int[Array, ""]:
        """Number of eigenvalues above the floor."""
        return jnp.sum(self.eigenvalues > 0)


def kernel_spectrum(kernel: Float[ArrayLike, "n n"], *, name: str = "kernel") -> KernelSpectrum:
    """Eigenvalues and eigenvectors of a kernel matrix, which is refused unless it is symmetric and positive semidefinite.

    Args:
        kernel: symmetric up to rounding; an eigenvalue below -10 n eps times the largest is no rounding.
        name: what error messages call it.

    Returns:
        `KernelSpectrum`. Its derivatives in `kernel` exist where eigenvalues are distinct.

    Raises:
        ValueError: if `kernel` is not square, not finite, not symmetric or not positive semidefinite (NaN results when traced).

    Source: spec NTK-2, NTK-8. Cost: O(n^3).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import optimization
        >>> found = optimization.kernel_spectrum(jnp.ones((3, 3)))
        >>> [round(float(x), 6) for x in found.eigenvalues], int(found.rank)
        ([3.0, 0.0, 0.0], 1)
    """
    found = _decomposed(_symmetric(name, kernel))
    smallest, largest = found.eigenvalues[-1], found.eigenvalues[0]
    values = checked(found.eigenvalues, _definite(name, smallest, largest, len(found.eigenvalues)))
    return KernelSpectrum(jnp.where(values <= found.floor, 0.0, values), found.eigenvectors, found.floor)


@jax.jit
def _decomposed(kernel: Array) -> KernelSpectrum:
    values, vectors = jnp.linalg.eigh(kernel, symmetrize_input=False)
    rounding = 4 * math.sqrt(len(values)) * jnp.finfo(values.dtype).eps * values[-1]
    floor = jax.lax.stop_gradient(jnp.maximum(rounding, -values[0]))
    return KernelSpectrum(values[::-1], vectors[:, ::-1], floor)


def positive_semidefinite(kernel: Float[ArrayLike, "n n"], *, name: str = "kernel") -> Float[Array, "n n"]:
    """The kernel matrix itself, exactly symmetric, if `kernel_spectrum` would take it.

    Args:
        kernel: symmetric up to rounding.
        name: what error messages call it.

    Returns:
        The mean of `kernel` and its transpose.

    Raises:
        ValueError: as `kernel_spectrum`.

    Source: spec NTK-22. Cost: eigenvalues of n x n.
    """
    kernel = _symmetric(name, kernel)
    values = jnp.linalg.eigvalsh(kernel, symmetrize_input=False)
    return checked(kernel, _definite(name, values[0], values[-1], len(values)))


def dual_coefficients(
    spectrum: KernelSpectrum,
    residual: Float[ArrayLike, "n *c"],
    *,
    t: Float[ArrayLike, "*t"] = math.inf,
    learning_rate: ArrayLike | None = None,
    num_steps: Num[ArrayLike, "*t"] | None = None,
    momentum: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
    loss_scale: ArrayLike = 1.0,
) -> Float[Array, "..."]:
    r"""What training adds to a function, in the basis of the examples' kernel functions: $\alpha = g(K) (y - u_0)$.

    The trained function is $f_0(x) + \sum_i \alpha_i k(x, x_i)$. Here g is the gain of `training_filter`, $K^{-1}$ at infinite time.
    A mode that cannot be told from a zero mode has a gain that grows without limit, and functions have no part in it: it is
    left out as soon as its gain reaches one over the floor of the spectrum, from where rounding would be fitted.

    Args:
        spectrum: of the kernel of the examples, by `kernel_spectrum`.
        residual: y - u_0, shape (n,) or (n, C).
        t: as in `training_filter`.
        learning_rate: as in `training_filter`.
        num_steps: as in `training_filter`.
        momentum: as in `training_filter`.
        ridge: as in `training_filter`.
        loss_scale: as in `training_filter`.

    Returns:
        The coefficients, with the axes of `t` or `num_steps` before those of `residual`.

    Raises:
        ValueError: as `training_filter`, or if `residual` has not n rows.

    Source: Theory of Deep Learning, equation (3.8); spec LS-6, NTK-2, NTK-7. Cost: O(n^2) for each number of `residual`.
    """
    residual = floating("residual", residual)
    n = len(spectrum.eigenvalues)
    require(residual.ndim in (1, 2) and residual.shape[0] == n, f"residual must have shape ({n},) or ({n}, C); got {residual.shape}")
    options = {"learning_rate": learning_rate, "num_steps": num_steps, "momentum": momentum, "ridge": ridge, "loss_scale": loss_scale}
    gain = training_filter(spectrum.eigenvalues, t=t, **options).gain
    return _combined(spectrum, gain, residual)


@jax.jit
def _combined(spectrum: KernelSpectrum, gain: Array, residual: Array) -> Array:
    unresolved = (spectrum.eigenvalues == 0) & (gain * spectrum.floor >= 1)
    gain, vectors = jnp.where(unresolved, 0.0, gain), spectrum.eigenvectors
    modes = jnp.matmul(vectors.T, residual.reshape(len(vectors), -1), precision=jax.lax.Precision.HIGHEST)
    coefficients = jnp.einsum("ij,...j,jc->...ic", vectors, gain, modes, precision=jax.lax.Precision.HIGHEST)
    return coefficients.reshape(gain.shape[:-1] + residual.shape)


def _symmetric(name: str, kernel: ArrayLike) -> Array:
    kernel = floating(name, kernel)
    require(kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1] > 0, f"{name} must be a square matrix; got shape {kernel.shape}")
    mean, finite, symmetric = _halves(kernel)
    return checked(mean, (finite, f"{name} must be finite"), (symmetric, f"{name} must be symmetric"))


@jax.jit
def _halves(kernel: Array) -> tuple[Array, Array, Array]:
    finite = jnp.all(jnp.isfinite(kernel))
    allowed = ASYMMETRY * jnp.finfo(kernel.dtype).eps * jnp.max(jnp.abs(kernel))
    return (kernel + kernel.T) / 2, finite, ~finite | (jnp.max(jnp.abs(kernel - kernel.T)) <= allowed)


def _definite(name: str, smallest: Array, largest: Array, n: int) -> tuple[Array, str]:
    tolerated = NEGATIVE * n * jnp.finfo(largest.dtype).eps * jnp.abs(largest)
    message = f"{name} must be positive semidefinite; its eigenvalues run from {smallest} to {largest}"
    return jnp.isnan(smallest) | (-smallest <= tolerated), message
