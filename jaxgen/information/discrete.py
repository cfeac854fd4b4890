"""Information measures of finite distributions given as tables of probabilities (INFO-1 to INFO-6, INFO-10).

A table of rank r is the joint pmf of r variables, one an axis. Tables that are negative, hold NaN or do not sum to one
within 1e-6 are refused. Values are in nats, right to a few units of rounding times the number of entries: about 1e-15 in
float64, 1e-7 in float32. Gradients are finite also where a probability is zero, whose own entry is then zero. Each
function costs O(size of the table).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from numpy.lib.array_utils import normalize_axis_tuple

from jaxgen._core.checks import checked, floating, is_traced, require

Axis = int | tuple[int, ...]


def entropy(p: Float[ArrayLike, "*shape"], axis: Axis | None = None) -> Float[Array, "..."]:
    """Shannon entropy H(X) = E log 1/P(X) = -sum_x p(x) log p(x), with 0 log 0 = 0.

    The entropy of a joint table is the joint entropy of its variables; it lies between 0 and the logarithm of the number
    of entries, which the uniform law attains.

    Args:
        p: probabilities; any rank.
        axis: the axis or axes that hold one pmf; every slice along them must then sum to one. Default: the whole array.

    Returns:
        H in nats, a scalar, or one value per remaining index when `axis` is given.

    Raises:
        TypeError: if `p` is not an array of real numbers.
        ValueError: if `p` is empty, negative, NaN or does not sum to one, or `axis` is not an axis of it.

    Source: Cover and Thomas, section 2.1; INFO-1.

    Example:
        >>> from jaxgen import information
        >>> round(float(information.entropy([0.25, 0.25, 0.25, 0.25])), 4)
        1.3863
    """
    p = _pmf("p", p, axis=axis)
    return _entropy(p, axis)


def conditional_entropy(pxy: Float[ArrayLike, "*shape"], given_axis: Axis) -> Float[Array, ""]:
    """Conditional entropy H(X|Y) = E log 1/P(X|Y) = H(X,Y) - H(Y), the mean over y of H(X|Y=y).

    Args:
        pxy: joint probabilities, rank 2 or more.
        given_axis: axis or axes of the variables that are conditioned on; the others are X. For `pxy[x, y]`, H(X|Y) has
            `given_axis=1`.

    Returns:
        H(X|Y) in nats, between 0 and H(X).

    Raises:
        ValueError: if `pxy` is no pmf or has rank below 2, or `given_axis` is not a proper part of its axes.

    Source: Cover and Thomas, section 2.2; INFO-1.
    """
    pxy = _pmf("pxy", pxy)
    require(pxy.ndim >= 2, f"pxy must be a joint table of at least two variables; got shape {pxy.shape}")
    given = normalize_axis_tuple(given_axis, pxy.ndim, argname="given_axis")
    rest = tuple(a for a in range(pxy.ndim) if a not in given)
    require(bool(given) and bool(rest), f"given_axis must leave at least one axis out and one in; got {given_axis} for rank {pxy.ndim}")
    return _conditional_entropy(pxy, rest)


def kl_divergence(q: Float[ArrayLike, "*shape"], p: Float[ArrayLike, "*shape"]) -> Float[Array, ""]:
    """Relative entropy D(Q||P) = E_Q log Q/P = sum_x q(x) log q(x)/p(x).

    Zero if and only if Q = P, not symmetric, and infinite when Q has mass where P has none. The sum is taken over
    p(x) phi(q(x)/p(x)) with phi(r) = r log r - r + 1 >= 0, which is the same for two pmfs and keeps its relative
    precision when they are close.

    Args:
        q: probabilities of the law that is averaged over.
        p: probabilities of the reference law, same shape.

    Returns:
        D(Q||P) in nats, `inf` allowed.

    Raises:
        ValueError: if the shapes differ, or one of them is no pmf.

    Source: Cover and Thomas, section 2.3; INFO-2.

    Example:
        >>> from jaxgen import information
        >>> round(float(information.kl_divergence([0.5, 0.5], [0.9, 0.1])), 4)
        0.5108
        >>> float(information.kl_divergence([0.5, 0.5], [1.0, 0.0]))
        inf
    """
    q, p = _pmf("q", q), _pmf("p", p)
    require(q.shape == p.shape, f"q and p must have the same shape; got {q.shape} and {p.shape}")
    return _kl_divergence(q, p)


def conditional_kl(qxy: Float[ArrayLike, "nx ny"], pxy: Float[ArrayLike, "nx ny"]) -> Float[Array, ""]:
    """Conditional relative entropy D(Q_{Y|X}||P_{Y|X}) = E_{x~Q_X} D(Q_{Y|X=x}||P_{Y|X=x}).

    The average runs over Q_X (with P_X the chain rule D(Q_XY||P_XY) = D(Q_X||P_X) + D(Q_{Y|X}||P_{Y|X}) fails).

    Args:
        qxy: joint probabilities of the law that is averaged over, X along the first axis.
        pxy: joint probabilities of the reference law, same shape.

    Returns:
        The divergence in nats; `inf` when Q_{Y|X=x} has mass where P_{Y|X=x} has none or Q_X where P_X has none.

    Raises:
        ValueError: if one of them is no joint pmf of two variables, or the shapes differ.

    Source: Cover and Thomas, Theorem 2.5.3; INFO-5.
    """
    qxy, pxy = _pmf("qxy", qxy, rank=2), _pmf("pxy", pxy, rank=2)
    require(qxy.shape == pxy.shape, f"qxy and pxy must have the same shape; got {qxy.shape} and {pxy.shape}")
    return _conditional_kl(qxy, pxy)


def mutual_information(pxy: Float[ArrayLike, "nx ny"]) -> Float[Array, ""]:
    """Mutual information I(X;Y) = D(P_XY||P_X P_Y) = H(X) + H(Y) - H(X,Y) = E_{x~P_X} D(P_{Y|X=x}||P_Y).

    The last form is what is computed: it neither cancels nor underflows.

    Args:
        pxy: joint probabilities.

    Returns:
        I(X;Y) in nats; zero if and only if X and Y are independent.

    Raises:
        ValueError: if `pxy` is no pmf of rank 2.

    Source: Cover and Thomas, section 2.3; INFO-3.

    Example:
        >>> from jaxgen import information
        >>> binary_symmetric_channel = [[0.45, 0.05], [0.05, 0.45]]
        >>> round(float(information.mutual_information(binary_symmetric_channel)), 4)
        0.3681
    """
    pxy = _pmf("pxy", pxy, rank=2)
    return _mutual_information(pxy)


def conditional_mutual_information(pxyz: Float[ArrayLike, "nx ny nz"], *, disintegrated: bool = False) -> Float[Array, "..."]:
    """Conditional mutual information I(X;Y|Z) = E log P(X,Y|Z) / (P(X|Z) P(Y|Z)) = H(X|Z) - H(X|Y,Z).

    It may be larger or smaller than I(X;Y). The disintegrated form I^z(X;Y) is the mutual information under P(.|Z=z); its
    mean over P_Z is I(X;Y|Z) (Negrea et al. 2019).

    Args:
        pxyz: joint probabilities, Z along the last axis.
        disintegrated: whether to return I^z for every z.

    Returns:
        I(X;Y|Z) in nats; or I^z of shape (nz,), zero where P(Z=z) = 0, so that P_Z averages it to I(X;Y|Z).

    Raises:
        ValueError: if `pxyz` is no pmf of rank 3.

    Source: Cover and Thomas, section 2.5; INFO-4.
    """
    return _conditional_mutual_information(_pmf("pxyz", pxyz, rank=3), disintegrated)


def push_forward(pxy: Float[ArrayLike, "*rest ny"], kernel: Float[ArrayLike, "ny nz"]) -> Float[Array, "*rest nz"]:
    """The law of (X, Z) when Y is sent through a channel: P_XZ(x, z) = sum_y P_XY(x, y) K(z|y).

    X - Y - Z is then a Markov chain and I(X;Z) <= I(X;Y), the data-processing inequality; so is D(QK||PK) <= D(Q||P).

    Args:
        pxy: probabilities; the last axis is Y, the others (none, for a marginal law) are kept.
        kernel: transition probabilities K(z|y), every row a pmf.

    Returns:
        Probabilities of shape `(..., nz)`.

    Raises:
        ValueError: if `pxy` is no pmf, a row of `kernel` is none, or the sizes of Y differ.

    Source: Cover and Thomas, Theorem 2.8.1; INFO-6.
    """
    pxy, kernel = _pmf("pxy", pxy), _pmf("kernel", kernel, rank=2, axis=1)
    require(
        pxy.ndim >= 1 and pxy.shape[-1] == kernel.shape[0],
        f"kernel must have one row for each of the entries of the last axis of pxy; got shapes {kernel.shape} and {pxy.shape}",
    )
    return jnp.matmul(pxy, kernel, precision=jax.lax.Precision.HIGHEST)


def information_diagram(pxyz: Float[ArrayLike, "nx ny nz"]) -> dict[str, Float[Array, ""]]:
    """The seven atoms of the information diagram of three variables; they sum to H(X,Y,Z).

    The central atom I(X;Y;Z) = I(X;Y) - I(X;Y|Z) may be negative (-log 2 for X, Y fair bits and Z their XOR), so areas of
    the picture are not to be taken literally.

    Args:
        pxyz: joint probabilities.

    Returns:
        Nats under the names `"H(X|Y,Z)"`, `"H(Y|X,Z)"`, `"H(Z|X,Y)"`, `"I(X;Y|Z)"`, `"I(X;Z|Y)"`, `"I(Y;Z|X)"`, `"I(X;Y;Z)"`.

    Raises:
        ValueError: if `pxyz` is no pmf of rank 3.

    Source: Yeung 1991; INFO-10.
    """
    return _information_diagram(_pmf("pxyz", pxyz, rank=3))


def _pmf(name: str, p: ArrayLike, *, rank: int | None = None, axis: Axis | None = None) -> Array:
    """`p` as a floating array whose slices along `axis` are pmfs; the tolerance leaves room for rounding in the sum."""
    p = floating(name, p)
    require(rank is None or p.ndim == rank, f"{name} must be an array of rank {rank}; got shape {p.shape}")
    require(p.size > 0, f"{name} must not be empty; got shape {p.shape}")
    xp = jnp if is_traced(p) else np
    values = xp.asarray(p)
    total = values.sum(axis)
    tolerance = max(1e-6, float(jnp.finfo(p.dtype).eps) * (p.size / total.size) ** 0.5)
    along = "" if axis is None else f" along axis {axis}"
    found = "" if is_traced(p) else f"; got sums from {float(total.min()):.9g} to {float(total.max()):.9g}"
    return checked(
        p,
        (xp.all(values >= 0), f"{name} must hold probabilities, neither negative nor NaN"),
        (xp.all(xp.abs(total - 1) <= tolerance), f"{name} must sum to one{along} within {tolerance:.2g}{found}"),
    )


@partial(jax.jit, static_argnums=1)
def _entropy(p: Array, axis: Axis | None) -> Array:
    return -_x_log_x(p).sum(axis)


@partial(jax.jit, static_argnums=1)
def _conditional_entropy(pxy: Array, rest: tuple[int, ...]) -> Array:
    marginal = pxy.sum(rest, keepdims=True)
    return -(marginal * _x_log_x(_conditional(pxy, marginal))).sum()


@jax.jit
def _kl_divergence(q: Array, p: Array) -> Array:
    return _divergence(q, p).sum()


@jax.jit
def _conditional_kl(qxy: Array, pxy: Array) -> Array:
    qx, px = qxy.sum(1, keepdims=True), pxy.sum(1, keepdims=True)
    return (qx * _divergence(_conditional(qxy, qx), _conditional(pxy, px))).sum()


@jax.jit
def _mutual_information(pxy: Array) -> Array:
    px, py = pxy.sum(1, keepdims=True), pxy.sum(0, keepdims=True)
    return (px * _divergence(_conditional(pxy, px), py)).sum()


@partial(jax.jit, static_argnums=1)
def _conditional_mutual_information(pxyz: Array, disintegrated: bool = False) -> Array:
    pxz, pyz = pxyz.sum(1, keepdims=True), pxyz.sum(0, keepdims=True)
    pz = pxz.sum(0, keepdims=True)
    divergence = _divergence(_conditional(pxyz, pxz), _conditional(pyz, pz)).sum(1, keepdims=True)
    if disintegrated:
        return (_conditional(pxz, pz) * divergence).sum((0, 1))
    return (pxz * divergence).sum()


@jax.jit
def _information_diagram(pxyz: Array) -> dict[str, Array]:
    xy_given_z = _conditional_mutual_information(pxyz)
    return {
        "H(X|Y,Z)": _conditional_entropy(pxyz, (0,)),
        "H(Y|X,Z)": _conditional_entropy(pxyz, (1,)),
        "H(Z|X,Y)": _conditional_entropy(pxyz, (2,)),
        "I(X;Y|Z)": xy_given_z,
        "I(X;Z|Y)": _conditional_mutual_information(pxyz.transpose(0, 2, 1)),
        "I(Y;Z|X)": _conditional_mutual_information(pxyz.transpose(1, 2, 0)),
        "I(X;Y;Z)": _mutual_information(pxyz.sum(2)) - xy_given_z,
    }


def _x_log_x(x: Array) -> Array:
    nonzero = x != 0
    return jnp.where(nonzero, x * jnp.log(jnp.where(nonzero, x, 1)), 0)


def _conditional(joint: Array, marginal: Array) -> Array:
    """joint / marginal, zero where the marginal is."""
    nonzero = marginal != 0
    return jnp.where(nonzero, joint / jnp.where(nonzero, marginal, 1), 0)


def _divergence(q: Array, p: Array) -> Array:
    """p phi(q/p) with phi(r) = r log r - r + 1; rounding of the ratio enters with the factor phi'(r) = log r only."""
    nonzero = p != 0
    ratio = q / jnp.where(nonzero, p, 1)
    return jnp.where(nonzero, p * (_x_log_x(ratio) - (ratio - 1)), jnp.where(q == 0, 0, jnp.inf))
