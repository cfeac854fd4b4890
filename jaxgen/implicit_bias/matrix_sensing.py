"""Matrix sensing by gradient flow on a factor: the bias to small nuclear norm, exact where measurements commute."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from jaxgen._core import flows, linear_programs
from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen._core.matrices import is_symmetric
from jaxgen.implicit_bias.bregman_interpolators import BregmanKkt
from jaxgen.implicit_bias.interpolators import HIGHEST, row_space


class MatrixSensing(NamedTuple):
    """Measurements y_k = <A_k, X> of a positive semidefinite matrix.

    Attributes:
        measurements: A_k, symmetric, (m, d, d).
        targets: y, (m,).
        solution: X, of low rank, (d, d).
    """

    measurements: Float[Array, "m d d"]
    targets: Float[Array, " m"]
    solution: Float[Array, "d d"]


class NuclearNormMinimum(NamedTuple):
    """Solution of min tr X subject to <A_k, X> = y_k and X positive semidefinite, for commuting A_k.

    Attributes:
        x: X, diagonal in the common eigenbasis, (d, d).
        trace: its trace, which is its nuclear norm.
        multipliers: l, (m,), with sum_k l_k A_k at most the identity, so that <l, y> is at most the trace of any solution.
        gap: (tr X - <l, y>) / (1 + |tr X|), in size.
    """

    x: Float[Array, "d d"]
    trace: Float[Array, ""]
    multipliers: Float[Array, " m"]
    gap: Float[Array, ""]


def matrix_sensing_problem(key: Key[Array, ""], d: int, rank: int, num_measurements: int, *, commuting: bool = False) -> MatrixSensing:
    """A positive semidefinite matrix of low rank and Gaussian measurements of it.

    Args:
        key: typed key.
        d: size of the matrix.
        rank: of the matrix X = V V^T / d with standard normal V, 1 <= rank <= d.
        num_measurements: m of symmetric parts of standard normal matrices, for which E <A, X>^2 = ||X||_F^2.
        commuting: whether all A_k, with standard normal eigenvalues then, and X have one random orthonormal eigenbasis; the
            eigenvalues of X are then uniform in (0.5, 1.5).

    Returns:
        Measurements, targets and X.

    Raises:
        ValueError: if sizes are not positive or `rank` > d.
        TypeError: if sizes are no concrete integers.

    Source: Gunasekar et al. 2017; Li, Ma & Zhang 2018; spec BIAS-22.
    """
    d, rank = positive_integer("d", d), positive_integer("rank", rank)
    num_measurements = positive_integer("num_measurements", num_measurements)
    require(rank <= d, f"rank must be at most d = {d}; got {rank}")
    keys = jax.random.split(key, 3)
    if commuting:
        basis = jnp.linalg.qr(jax.random.normal(keys[0], (d, d)))[0]
        values = jnp.zeros(d).at[:rank].set(jax.random.uniform(keys[1], (rank,), minval=0.5, maxval=1.5))
        eigenvalues = jax.random.normal(keys[2], (num_measurements, d))
        measurements = jnp.einsum("ir,kr,jr->kij", basis, eigenvalues, basis, precision=HIGHEST)
        solution = jnp.einsum("ir,r,jr->ij", basis, values, basis, precision=HIGHEST)
    else:
        measurements = jax.random.normal(keys[0], (num_measurements, d, d))
        factor = jax.random.normal(keys[1], (d, rank))
        solution = jnp.matmul(factor, factor.T, precision=HIGHEST) / d
    measurements, solution = ((matrix + matrix.mT) / 2 for matrix in (measurements, solution))
    return MatrixSensing(measurements, _measured(measurements, solution), solution)


def factored_flow(
    measurements: Float[ArrayLike, "m d d"],
    targets: Float[ArrayLike, " m"],
    factor0: Float[ArrayLike, "d r"],
    times: Float[ArrayLike, " T"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> Float[Array, "T d r"]:
    r"""Gradient flow of $\sum_k (\langle A_k, U U^\top \rangle - y_k)^2$ in U, which is $\dot U = -4 \sum_k r_k A_k U$ with residuals r.

    Where the A_k commute and U_0 = sqrt(a) I, X = U U^T is a exp(2 S_t) with S_t in their span, so that its limit minimizes the
    Bregman divergence of the spectral entropy from a I among all solutions, and tends to one of least trace as a -> 0.

    Args:
        measurements: A_k, symmetric.
        targets: y.
        factor0: U at time 0.
        times: finite, at least 0 and increasing, shape (T,).
        rtol: relative tolerance of the solver; default 1e-9 in float64, 1e-5 in float32.
        atol: absolute tolerance; default `rtol` times 1e-2. Logarithms of X want it well below the entries of U.
        max_steps: steps of the solver, beyond which it raises.

    Returns:
        U at the times.

    Raises:
        ValueError: if shapes do not fit, or an A_k is not symmetric or `times` not as above (NaN results when traced).
        RuntimeError: from the solver, if it needs more steps.

    Source: Gunasekar et al. 2017; spec BIAS-22. Cost: O(m d^2 + d^2 r) six times a step.
    """
    matrices, y = _problem(measurements, targets)
    factor = _factor("factor0", factor0, matrices).astype(matrices.dtype)
    return flows.solve(_descending, factor, (matrices, y), "times", times, rtol, atol, max_steps)


def spectral_entropy_kkt_residual(
    measurements: Float[ArrayLike, "m d d"], targets: Float[ArrayLike, " m"], factor: Float[ArrayLike, "d r"], scale: Float[ArrayLike, ""]
) -> BregmanKkt:
    r"""Residuals of $\langle A_k, X \rangle = y_k$ and $\log(X / a) \in \operatorname{span}(A_k)$ at X = U U^T, zero at the minimizer of D(X, a I).

    It is `bregman_kkt_residual` of the spectral entropy, from the singular values of U, which keep twice as many decades of the
    eigenvalues of X as X itself.

    Args:
        measurements: A_k, symmetric.
        targets: y.
        factor: U, with r >= d columns and of full rank.
        scale: a > 0.

    Returns:
        The two residuals, the second relative to log(X / a) in the Frobenius norm.

    Raises:
        ValueError: if shapes do not fit, r < d, or an A_k is not symmetric, U is singular up to rounding or `scale` is not
            positive (NaN results when traced).

    Source: Gunasekar et al. 2017; spec BIAS-22. Cost: one singular value decomposition of the measurements, O(m^2 d^2).
    """
    matrices, y = _problem(measurements, targets)
    factor, scale = _factor("factor", factor, matrices), floating("scale", scale)
    d = matrices.shape[1]
    require(factor.shape[1] >= d, f"factor must have at least d = {d} columns; got shape {factor.shape}")
    left, values, _ = jnp.linalg.svd(factor, full_matrices=False)
    regular = values[-1] > d * jnp.finfo(values.dtype).eps * values[0]
    values = checked(values, (regular, "factor must have full rank"), (scale > 0, "scale must be positive"))
    moved = jnp.einsum("ir,r,jr->ij", left, 2 * jnp.log(values) - jnp.log(scale), left, precision=HIGHEST).reshape(-1)
    basis = row_space(matrices.reshape(len(matrices), -1)).basis
    outside = moved - jnp.matmul(basis.T, jnp.matmul(basis, moved, precision=HIGHEST), precision=HIGHEST)
    size = jnp.linalg.norm(moved)
    residual = _measured(matrices, jnp.matmul(factor, factor.T, precision=HIGHEST)) - y
    return BregmanKkt(jnp.abs(residual).max(), jnp.where(size == 0, 0, jnp.linalg.norm(outside) / jnp.where(size == 0, 1, size)))


def min_nuclear_norm_psd_commuting(
    measurements: Float[ArrayLike, "m d d"], targets: Float[ArrayLike, " m"], *, tol: float | None = None
) -> NuclearNormMinimum:
    """min tr X subject to <A_k, X> = y_k and X positive semidefinite, for commuting A_k: a linear program in their eigenbasis.

    Args:
        measurements: A_k, symmetric and commuting.
        targets: y.
        tol: of the linear program, relative; default 1e-9 in float64, 1e-5 in float32.

    Returns:
        X, its trace, and multipliers that certify it.

    Raises:
        ValueError: if shapes do not fit, or A_k are not symmetric or do not commute to half of their digits, or no positive
            semidefinite X has these measurements (NaN results when traced).

    Source: spec BIAS-22. Cost: one eigendecomposition, and O(m^2 d + m^3) a step of the program.
    """
    matrices, y = _problem(measurements, targets)
    basis, eigenvalues = _common_eigenbasis(matrices)
    program = jax.jit(linear_programs.solve, static_argnames="tol")(jnp.ones_like(eigenvalues[0]), eigenvalues, y, tol=tol)
    values = checked(program.x, (program.converged, "targets must be those of some positive semidefinite matrix"))
    solution = jnp.einsum("ir,r,jr->ij", basis, values, basis, precision=HIGHEST)
    return NuclearNormMinimum(solution, jnp.sum(values), program.dual, program.gap)


def _common_eigenbasis(matrices: Float[Array, "m d d"]) -> tuple[Float[Array, "d d"], Float[Array, "m d"]]:
    """Orthonormal eigenvectors of all A_k, in columns, those of one combination of them, and the eigenvalues of each A_k."""
    sizes = jnp.linalg.norm(matrices, axis=(1, 2))
    scaled = matrices / jnp.where(sizes > 0, sizes, 1)[:, None, None]
    # Incommensurable weights: two common eigenspaces share no eigenvalue of the combination by accident.
    weights = jnp.cos(1 + jnp.arange(len(matrices), dtype=matrices.dtype))
    basis = jnp.linalg.eigh(jnp.tensordot(weights, scaled, axes=1, precision=HIGHEST))[1]
    rotated = jnp.einsum("ir,kij,js->krs", basis, scaled, basis, precision=HIGHEST)
    diagonals = jnp.diagonal(rotated, axis1=1, axis2=2)
    off_diagonal = jnp.abs(rotated - jax.vmap(jnp.diag)(diagonals)).max()
    commute = off_diagonal <= jnp.finfo(matrices.dtype).eps ** 0.5
    return basis, checked(sizes[:, None] * diagonals, (commute, "measurements must commute"))


def _descending(t: Array, factor: Array, problem: tuple[Array, Array]) -> Array:
    matrices, y = problem
    residuals = _measured(matrices, jnp.matmul(factor, factor.T, precision=HIGHEST)) - y
    return -4 * jnp.matmul(jnp.tensordot(residuals, matrices, axes=1, precision=HIGHEST), factor, precision=HIGHEST)


def _measured(matrices: Float[Array, "m d d"], x: Float[Array, "d d"]) -> Float[Array, " m"]:
    return jnp.tensordot(matrices, x, axes=2, precision=HIGHEST)


def _problem(measurements: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """Measurements and targets as floating arrays of one dtype."""
    matrices, y = floating("measurements", measurements), floating("targets", targets)
    fits = matrices.ndim == 3 and matrices.shape[1] == matrices.shape[2] and matrices.size > 0
    require(fits, f"measurements must be square matrices, shape (m, d, d); got shape {matrices.shape}")
    require(y.shape == matrices.shape[:1], f"targets must have shape {matrices.shape[:1]}, one of each measurement; got {y.shape}")
    dtype = jnp.result_type(matrices, y)
    matrices = checked(matrices.astype(dtype), (jnp.all(is_symmetric(matrices)), "measurements must be symmetric"))
    return matrices, y.astype(dtype)


def _factor(name: str, factor: ArrayLike, matrices: Array) -> Array:
    array, d = floating(name, factor), matrices.shape[1]
    require(array.ndim == 2 and array.shape[0] == d, f"{name} must have d = {d} rows; got shape {array.shape}")
    return array
