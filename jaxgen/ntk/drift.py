r"""How far a net is from its linearization: drift of the kernel along training, bounds on it, and ways to keep it small."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen import models
from jaxgen._core.checks import checked, floating, leading_axis, require
from jaxgen.ntk.prediction import as_matrix

ApplyFn = Callable[[PyTree, Array], Array]


class KernelDrift(NamedTuple):
    """Distance of kernels along a path from the first, over the norm of the first; made by `kernel_drift`.

    Attributes:
        operator: in spectral norm.
        frobenius: in Frobenius norm.
    """

    operator: Float[Array, " T"]
    frobenius: Float[Array, " T"]


class StabilityBound(NamedTuple):
    """What training for some time can change; made by `stability_bound`.

    Attributes:
        movement: bounds |w_r(t) - w_r(0)| of every neuron.
        entry: bounds |H_ij(t) - H_ij(0)|.
        kernel: bounds |H(t) - H(0)| in Frobenius, and so in spectral norm.
    """

    movement: Float[Array, "..."]
    entry: Float[Array, "..."]
    kernel: Float[Array, "..."]


def kernel_drift(path: PyTree, kernel_fn: Callable[[PyTree], Array] | None = None, *, relative: bool = True) -> KernelDrift:
    r"""$\lVert H(t) - H(0) \rVert / \lVert H(0) \rVert$ along a path of kernels or of parameters.

    Args:
        path: kernels of shape (T, N, N) or (T, N, N, C, C); or, with `kernel_fn`, parameters with a leading axis T in every leaf,
            as a record of `processes.train` has them.
        kernel_fn: kernel at parameters, (N, N) or (N, N, C, C), evaluated at one point of the path at a time, such as
            `lambda params: ntk.empirical(apply_fn, params, x)`.
        relative: whether to divide by the norm of the first kernel.

    Returns:
        `KernelDrift` along the path, zero at its first point.

    Raises:
        ValueError: if kernels have another shape, or leaves of `path` differ in leading axis.

    Source: Theory of Deep Learning, lemma 9.2.3; spec NTK-6. Cost: T kernels, and T singular value decompositions.
    """
    leading_axis("path", path)
    kernels = floating("path", path) if kernel_fn is None else jax.lax.map(kernel_fn, path)
    shape = kernels.shape[1:]
    matrices = jax.vmap(lambda kernel: as_matrix("path" if kernel_fn is None else "kernel_fn's kernel", kernel))(kernels)
    require(len(shape) in (2, 4), f"kernels must have shape (N, N) or (N, N, C, C); got {shape}")
    change = jax.lax.map(_norms, matrices - matrices[0])
    start = _norms(matrices[0]) if relative else jnp.ones(2, matrices.dtype)
    return KernelDrift(change[:, 0] / start[0], change[:, 1] / start[1])


def neuron_movement(weights: Float[ArrayLike, "T m d"]) -> Float[Array, " T"]:
    r"""$\max_r \lVert w_r(t) - w_r(0) \rVert$ along a path of first-layer weights.

    Args:
        weights: one row for each neuron, behind an axis of times.

    Returns:
        The largest distance from the start, shape (T,).

    Raises:
        ValueError: if `weights` has not three axes.

    Source: Theory of Deep Learning, lemma 9.2.3; spec NTK-6.
    """
    weights = floating("weights", weights)
    require(weights.ndim == 3, f"weights must have shape (T, m, d), a row for each neuron; got {weights.shape}")
    return jnp.linalg.norm(weights - weights[0], axis=2).max(axis=1)


def stability_bound(n: ArrayLike, t: ArrayLike, width: ArrayLike, residual: ArrayLike) -> StabilityBound:
    r"""What gradient flow on half the sum of squares can change in a two-layer net with its first layer trained.

    For $f = m^{-1/2} \sum_r a_r \sigma(w_r^\top x)$, $a_r = \pm 1$, $|\sigma'|, |\sigma''| \le 1$, $\lVert x \rVert = 1$, as long as every
    $|u_i - y_i| \le C$: neurons move by at most $C n t / \sqrt m$, entries of the kernel by $2 C n t / \sqrt m$, the kernel by
    $2 C n^2 t / \sqrt m$. With signs at random the kernel moves by $O(1/m)$ only.

    Args:
        n: number of examples.
        t: time, at least 0.
        width: m.
        residual: C, at least 0.

    Returns:
        `StabilityBound`, elementwise.

    Raises:
        ValueError: if a value is out of its range (NaN results when traced).

    Source: Theory of Deep Learning, lemma 9.2.3, which sums entries to a factor n^3; spec NTK-6.
    """
    n, width = _at_least("n", n, 1), _at_least("width", width, 1)
    movement = _at_least("residual", residual, 0) * n * _at_least("t", t, 0) / jnp.sqrt(width)
    return StabilityBound(movement, 2 * movement, 2 * n * movement)


def stability_width(n: ArrayLike, t: ArrayLike, error: ArrayLike, residual: ArrayLike) -> Float[Array, "..."]:
    r"""The width $4 C^2 n^4 t^2 / \epsilon^2$ from which `stability_bound` keeps the kernel within $\epsilon$.

    Args:
        n: number of examples.
        t: time, at least 0.
        error: epsilon > 0.
        residual: C, at least 0.

    Returns:
        The width, not rounded, elementwise.

    Raises:
        ValueError: if a value is out of its range (NaN results when traced).

    Source: Theory of Deep Learning, lemma 9.2.3, with n^4 in place of n^6; spec NTK-6.
    """
    return (stability_bound(n, t, 1, residual).kernel / _positive("error", error)) ** 2


def concentration_bound(n: ArrayLike, width: ArrayLike, delta: ArrayLike) -> Float[Array, "..."]:
    r"""$\lVert H(0) - H^* \rVert \le n \sqrt{(2 / m) \log(2 n^2 / \delta)}$ in Frobenius norm, with probability $1 - \delta$.

    For the kernel of a two-layer net with its first layer trained, $|\sigma'| \le 1$ and inputs of norm at most one: every entry
    is a mean of m independent variables in [-1, 1] (Hoeffding), and there are at most n^2 of them.

    Args:
        n: number of examples.
        width: m.
        delta: in (0, 1).

    Returns:
        The bound, elementwise.

    Raises:
        ValueError: if a value is out of its range (NaN results when traced).

    Source: Theory of Deep Learning, lemma 9.2.2, with its constants; spec NTK-5.

    Example:
        >>> from jaxgen import ntk
        >>> round(float(ntk.concentration_bound(6, 64, 0.1)), 2)
        2.72
    """
    n, width, delta = _at_least("n", n, 1), _at_least("width", width, 1), _probability(delta)
    return n * jnp.sqrt(2 / width * jnp.log(2 * n**2 / delta))


def concentration_width(n: ArrayLike, error: ArrayLike, delta: ArrayLike) -> Float[Array, "..."]:
    r"""The width $(2 n^2 / \epsilon^2) \log(2 n^2 / \delta)$ from which `concentration_bound` is at most $\epsilon$.

    Args:
        n: number of examples.
        error: epsilon > 0.
        delta: in (0, 1).

    Returns:
        The width, not rounded, elementwise.

    Raises:
        ValueError: if a value is out of its range (NaN results when traced).

    Source: Theory of Deep Learning, lemma 9.2.2; spec NTK-5.
    """
    return (concentration_bound(n, 1, delta) / _positive("error", error)) ** 2


def lazy(apply_fn: ApplyFn, params0: PyTree, scale: ArrayLike) -> ApplyFn:
    r"""$\alpha (f_\theta - f_{\theta_0})$: a net of any width behaves as its linearization as $\alpha \to \infty$.

    Train it with a learning rate divided by $\alpha^2$, or its loss, for its kernel is $\alpha^2$ times that of the net. It starts at zero.

    Args:
        apply_fn: `apply_fn(params, x)`.
        params0: initial parameters, which stay part of the function.
        scale: alpha > 0, a scalar.

    Returns:
        `apply_fn(params, x)` of the same shapes.

    Raises:
        ValueError: if `scale` is not a positive scalar (NaN results when traced).

    Source: Chizat, Oyallon and Bach 2019; spec NTK-17.
    """
    scale = _positive("scale", scale)
    require(scale.ndim == 0, f"scale must be a scalar; got shape {scale.shape}")

    def apply(params: PyTree, x: Array) -> Array:
        outputs = apply_fn(params, x)
        return scale.astype(outputs.dtype) * (outputs - apply_fn(params0, x))

    return apply


def antisymmetrize(init: Callable[[Key[Array, ""], Array], PyTree], apply_fn: ApplyFn) -> models.Model:
    r"""$\frac{1}{\sqrt 2} (f_\theta - f_{\theta'})$ with $\theta' = \theta$ at the start: the kernel of the net, and outputs of zero.

    Args:
        init: `init(key, x) -> params`.
        apply_fn: `apply_fn(params, x)`.

    Returns:
        `Model` whose parameters are the pair of both copies.

    Source: Zhang et al. 2020 (antisymmetrical initialization); spec NTK-2.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import models, ntk
        >>> model = ntk.antisymmetrize(*models.mlp((16, 1)))
        >>> x = jnp.ones((1, 3))
        >>> float(model.apply(model.init(jax.random.key(0), x), x)[0, 0])
        0.0
    """

    def init_pair(key: Key[Array, ""], x: Array) -> PyTree:
        params = init(key, x)
        return params, params

    def apply_pair(params: PyTree, x: Array) -> Array:
        first, second = params
        return (apply_fn(first, x) - apply_fn(second, x)) / math.sqrt(2)

    return models.Model(init_pair, apply_pair)


def _norms(matrix: Array) -> Array:
    return jnp.stack([jnp.linalg.norm(matrix, 2), jnp.linalg.norm(matrix)])


def _at_least(name: str, value: ArrayLike, minimum: float) -> Array:
    value = floating(name, value)
    return checked(value, (value >= minimum, f"{name} must be at least {minimum}; got {value}"))


def _positive(name: str, value: ArrayLike) -> Array:
    value = floating(name, value)
    return checked(value, (value > 0, f"{name} must be positive; got {value}"))


def _probability(delta: ArrayLike) -> Array:
    delta = floating("delta", delta)
    return checked(delta, ((delta > 0) & (delta < 1), f"delta must be in (0, 1); got {delta}"))
