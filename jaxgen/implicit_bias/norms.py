"""Norms, their duals, and directions of steepest descent."""

import abc
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from jaxgen._core.checks import checked, choice, floating, require
from jaxgen._core.matrices import eigenvalue_rounding, is_symmetric

TIES = ("first", "average", "random")
TIE_ROUNDING = 8
"""Entries are tied when they are equal to this many machine epsilons."""


class Norm(eqx.Module):
    """A norm on arrays of one shape; a pytree with its parameters as leaves. A norm of one's own is a subclass.

    Source: spec BIAS-9.
    """

    @abc.abstractmethod
    def value(self, w: Array) -> Float[Array, ""]:
        """||w||."""

    @abc.abstractmethod
    def dual(self, g: Array) -> Float[Array, ""]:
        """||g||_* = max of <v, g> over ||v|| <= 1."""

    @abc.abstractmethod
    def steepest(self, g: Array, *, ties: str = "first", key: Key[Array, ""] | None = None) -> Array:
        """A minimizer v of <g, v> + ||v||^2 / 2, for which -<g, v> = ||v||^2 = ||g||_*^2; zero at g = 0."""


class LpNorm(Norm):
    """The l_p norm of the entries of an array of any shape; made by `lp_norm`.

    Attributes:
        p: the exponent, in [1, inf], static.
    """

    p: float = eqx.field(static=True)

    @property
    def q(self) -> float:
        """The dual exponent, 1/p + 1/q = 1."""
        return math.inf if self.p == 1 else 1.0 if math.isinf(self.p) else self.p / (self.p - 1)

    def value(self, w: Array) -> Float[Array, ""]:
        """(sum_i |w_i|^p)^(1/p)."""
        return _power_norm(floating("w", w), self.p)

    def dual(self, g: Array) -> Float[Array, ""]:
        """The l_q norm."""
        return _power_norm(floating("g", g), self.q)

    def steepest(self, g: Array, *, ties: str = "first", key: Key[Array, ""] | None = None) -> Array:
        """-||g||_q^(2 - q) |g_i|^(q - 1) sign(g_i).

        For p = 1, -g_j e_j at the first largest |g_j|, at a random one, or the average of these. For p = inf, -||g||_1 sign(g),
        with zero, or with `ties="random"` a random sign, where g_i = 0.
        """
        g = floating("g", g)
        _check_ties(ties, key)
        if self.p == 2:
            return -g
        scale, entries = _scaled(g)
        if self.p == 1:
            return -scale * _largest_entries(entries, ties, key)
        if math.isinf(self.p):
            signs = jnp.sign(entries)
            if ties == "random" and key is not None:
                signs = jnp.where(signs == 0, jax.random.rademacher(key, g.shape, g.dtype), signs)
            return -scale * jnp.sum(jnp.abs(entries)) * signs
        magnitudes = jnp.where(entries == 0, 1, jnp.abs(entries))
        size = _power_norm(entries, self.q)
        size = jnp.where(size == 0, 1, size)
        return jnp.where(entries == 0, 0, -scale * size * (magnitudes / size) ** (self.q - 1) * jnp.sign(entries))


class QuadraticNorm(Norm):
    """||w||_D = sqrt(w^T D w) for arrays of d entries; made by `quadratic_norm`.

    Attributes:
        metric: D, symmetric positive definite.
        factor: its lower Cholesky factor.
    """

    metric: Float[Array, "d d"]
    factor: Float[Array, "d d"]

    def value(self, w: Array) -> Float[Array, ""]:
        """sqrt(w^T D w)."""
        scale, entries = _scaled(self._vector("w", w))
        return scale * _power_norm(self.factor.T @ entries.ravel(), 2.0)

    def dual(self, g: Array) -> Float[Array, ""]:
        """sqrt(g^T D^-1 g)."""
        scale, entries = _scaled(self._vector("g", g))
        return scale * _power_norm(jax.scipy.linalg.solve_triangular(self.factor, entries.ravel(), lower=True), 2.0)

    def steepest(self, g: Array, *, ties: str = "first", key: Key[Array, ""] | None = None) -> Array:
        """-D^-1 g; there are no ties."""
        g = self._vector("g", g)
        _check_ties(ties, key)
        return -jax.scipy.linalg.cho_solve((self.factor, True), g.ravel()).reshape(g.shape)

    def _vector(self, name: str, value: Array) -> Array:
        array, d = floating(name, value), self.metric.shape[0]
        require(array.size == d, f"{name} must have as many entries as the metric has rows, {d}; got shape {array.shape}")
        return array


class _SpectrumNorm(Norm):
    """The l_p norm of the singular values of a matrix."""

    _p: ClassVar[float]

    def value(self, w: Array) -> Float[Array, ""]:
        """The norm of the singular values."""
        scale, entries = _scaled(_matrix("w", w))
        return scale * LpNorm(self._p).value(jnp.linalg.svd(entries, compute_uv=False))

    def dual(self, g: Array) -> Float[Array, ""]:
        """The dual norm of the singular values."""
        scale, entries = _scaled(_matrix("g", g))
        return scale * LpNorm(self._p).dual(jnp.linalg.svd(entries, compute_uv=False))

    def steepest(self, g: Array, *, ties: str = "first", key: Key[Array, ""] | None = None) -> Array:
        """U diag(steepest direction of the singular values) V^T, where those lost in rounding count as zero."""
        scale, entries = _scaled(_matrix("g", g))
        # The singular vectors of the zero matrix have no derivative; those of this one do.
        zero = jnp.all(entries == 0)
        rows, columns = entries.shape
        entries = jnp.where(zero, jnp.eye(rows, columns, dtype=entries.dtype) * (1 + jnp.arange(columns)), entries)
        left, values, right = jnp.linalg.svd(entries, full_matrices=False)
        direction = LpNorm(self._p).steepest(_above_rounding(values, max(rows, columns)), ties=ties, key=key)
        return jnp.where(zero, 0, scale * (left * direction) @ right)


class SpectralNorm(_SpectrumNorm):
    """The largest singular value of a matrix, dual to the nuclear norm; steepest direction -||G||_nuclear U V^T; see `spectral_norm`."""

    _p = math.inf


class NuclearNorm(_SpectrumNorm):
    """The sum of the singular values of a matrix, dual to the spectral norm; steepest direction -s_1 u_1 v_1^T; see `nuclear_norm`."""

    _p = 1.0


class FourierNorm(Norm):
    """The l_p norm of the unitary discrete Fourier transform of a real vector; made by `fourier_norm`.

    Attributes:
        p: the exponent, in [1, inf], static.
    """

    p: float = eqx.field(static=True)

    @property
    def q(self) -> float:
        """The dual exponent, 1/p + 1/q = 1."""
        return LpNorm(self.p).q

    def value(self, w: Array) -> Float[Array, ""]:
        """||F w||_p with (F w)_k = d^(-1/2) sum_j w_j exp(-2 pi i j k / d)."""
        scale, entries = _scaled(_vector("w", w))
        return scale * _power_norm(jnp.abs(jnp.fft.fft(entries, norm="ortho")), self.p)

    def dual(self, g: Array) -> Float[Array, ""]:
        """||F g||_q."""
        scale, entries = _scaled(_vector("g", g))
        return scale * _power_norm(jnp.abs(jnp.fft.fft(entries, norm="ortho")), self.q)

    def steepest(self, g: Array, *, ties: str = "first", key: Key[Array, ""] | None = None) -> Array:
        """F^-1 of the steepest direction of the magnitudes |F g|_k with the phases of F g; real.

        For p = 1 that is the cosine at the largest frequency, of all of them their average, or of a random one.
        """
        scale, entries = _scaled(_vector("g", g))
        transform = jnp.fft.fft(entries, norm="ortho")
        magnitudes = _above_rounding(jnp.abs(transform), entries.size)
        direction = LpNorm(self.p).steepest(magnitudes, ties=ties, key=key)
        phases = transform / jnp.where(magnitudes > 0, magnitudes, 1)
        # The real part averages the directions of k and -k.
        return scale * jnp.fft.ifft(direction * phases, norm="ortho").real


def lp_norm(p: float) -> LpNorm:
    """||w||_p = (sum_i |w_i|^p)^(1/p), the largest |w_i| for p = inf; its dual is l_q with 1/p + 1/q = 1.

    Its steepest direction, -||g||_q^(2 - q) |g_i|^(q - 1) sign(g_i), is unique for 1 < p < inf. For p = 1 it is that of greedy
    coordinate descent, for p = inf that of sign descent.

    Args:
        p: exponent, a number in [1, inf].

    Returns:
        A norm on arrays of any shape, by their entries. Values and directions do not overflow where they can be represented.
        Derivatives of a direction are zero at entries where it has none.

    Raises:
        ValueError: if p < 1.
        TypeError: if p is no concrete number.

    Source: Arora et al., Theory of Deep Learning, section 8.1.1 and (8.27), whose dual norm prints a minimum in place of the
    maximum (spec BIAS-9).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen.implicit_bias import lp_norm
        >>> [lp_norm(p).steepest(jnp.array([3.0, -4.0])).tolist() for p in (1, 2, float("inf"))]
        [[-0.0, 4.0], [-3.0, 4.0], [-7.0, 7.0]]
    """
    return LpNorm(_exponent(p))


def quadratic_norm(metric: Float[ArrayLike, "d d"]) -> QuadraticNorm:
    """||w||_D = sqrt(w^T D w), with dual sqrt(g^T D^-1 g) and steepest direction -D^-1 g.

    Args:
        metric: D, symmetric and positive definite to working precision.

    Returns:
        A norm on arrays of d entries.

    Raises:
        ValueError: if `metric` is not square, not symmetric or not positive definite (a norm of NaNs results when traced).

    Source: Arora et al., Theory of Deep Learning, section 8.1.1 (spec BIAS-9, BIAS-10). Cost: one eigenvalue and one Cholesky
    decomposition.
    """
    metric = floating("metric", metric)
    require(metric.ndim == 2 and metric.shape[0] == metric.shape[1] > 0, f"metric must be a square matrix; got shape {metric.shape}")
    deviations = jnp.sqrt(jnp.diagonal(metric))
    eigenvalues = jnp.linalg.eigvalsh(metric / deviations[:, None] / deviations[None, :])
    metric = checked(
        metric,
        (is_symmetric(metric), "metric must be symmetric"),
        (eigenvalues[0] > eigenvalue_rounding(eigenvalues), "metric must be positive definite to working precision"),
    )
    return QuadraticNorm(metric, jnp.linalg.cholesky(metric))


def spectral_norm() -> SpectralNorm:
    """The largest singular value of a matrix, with dual the nuclear norm and steepest direction -||G||_nuclear U V^T.

    Returns:
        A norm on matrices. Singular values of G that are zero up to rounding contribute nothing to the direction, or with
        `ties="random"` a random sign.

    Source: spec BIAS-9 (added). Cost: one singular value decomposition.
    """
    return SpectralNorm()


def nuclear_norm() -> NuclearNorm:
    """The sum of the singular values of a matrix, with dual the spectral norm and steepest direction -s_1 u_1 v_1^T.

    Returns:
        A norm on matrices. Where several singular values are largest, `ties` chooses one of their pairs or averages them.

    Source: spec BIAS-9 (added). Cost: one singular value decomposition.
    """
    return NuclearNorm()


def fourier_norm(p: float) -> FourierNorm:
    """The l_p norm of the unitary discrete Fourier transform of a real vector; its dual is the same with q, 1/p + 1/q = 1.

    Args:
        p: exponent, a number in [1, inf].

    Returns:
        A norm on real vectors, of which the steepest direction is real too.

    Raises:
        ValueError: if p < 1.
        TypeError: if p is no concrete number.

    Source: Gunasekar et al. 2018, Implicit bias of gradient descent on linear convolutional networks (spec BIAS-9, BIAS-31).
    Cost: O(d log d).
    """
    return FourierNorm(_exponent(p))


def _exponent(p: Any) -> float:
    try:
        exponent = float(p)
    except (TypeError, ValueError, jax.errors.ConcretizationTypeError) as error:
        raise TypeError(f"p must be a concrete number; got {p!r}") from error
    require(exponent >= 1, f"p must be in [1, inf]; got {exponent}")
    return exponent


def _check_ties(ties: str, key: Key[Array, ""] | None) -> None:
    choice("ties", ties, TIES)
    require(ties != "random" or key is not None, "ties='random' needs a key")


def _matrix(name: str, value: Array) -> Array:
    array = floating(name, value)
    require(array.ndim == 2, f"{name} must be a matrix; got shape {array.shape}")
    return array


def _vector(name: str, value: Array) -> Array:
    array = floating(name, value)
    require(array.ndim == 1, f"{name} must be a vector; got shape {array.shape}")
    return array


def _scaled(array: Array) -> tuple[Array, Array]:
    """The largest magnitude, one if that is zero, and the array divided by it.

    Norms and directions are homogeneous, so the scale is a constant to differentiation.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(array)))
    scale = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return scale, array / scale


def _power_norm(array: Array, p: float) -> Array:
    """The l_p norm of all entries; its derivative at zero is zero."""
    if math.isinf(p):
        return jnp.max(jnp.abs(array))
    if p == 1:
        return jnp.sum(jnp.abs(array))
    scale, entries = _scaled(array)
    total = jnp.sum(jnp.abs(entries) ** p)
    zero = total == 0
    return jnp.where(zero, jnp.zeros_like(total), scale * jnp.where(zero, 1, total) ** (1 / p))


def _largest_entries(entries: Array, ties: str, key: Key[Array, ""] | None) -> Array:
    """The entry of largest magnitude and zero elsewhere: the first one, a random one, or the average over all of them."""
    flat = entries.ravel()
    magnitudes = jnp.abs(flat)
    tied = magnitudes >= (1 - TIE_ROUNDING * jnp.finfo(flat.dtype).eps) * jnp.max(magnitudes)
    if ties == "average":
        chosen = tied / jnp.sum(tied)
    elif ties == "random" and key is not None:
        chosen = jnp.arange(flat.size) == jax.random.categorical(key, jnp.where(tied, 0.0, -jnp.inf))
    else:
        chosen = jnp.arange(flat.size) == jnp.argmax(magnitudes)
    return (chosen * flat).reshape(entries.shape)


def _above_rounding(magnitudes: Array, size: int) -> Array:
    """Magnitudes, with zero for those lost in the rounding of a transform of that many entries."""
    return jnp.where(magnitudes > size * jnp.finfo(magnitudes.dtype).eps * jnp.max(magnitudes), magnitudes, 0)
