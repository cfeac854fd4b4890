"""Margins of linear classifiers, and losses with an exponential tail in log space."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from jaxgen._core.checks import checked, choice, floating, require
from jaxgen.implicit_bias.norms import Norm


def absorb_labels(x: Num[Array, "n ..."], y: Num[Array, " n"]) -> Float[Array, "n ..."]:
    """The rows z_i = y_i x_i, which a classifier that is right on every example has positive products with.

    Args:
        x: n examples of any one shape.
        y: labels, -1 or 1.

    Returns:
        z, of the shape of x.

    Raises:
        ValueError: if shapes do not fit or there is no example, or a label is neither -1 nor 1 (NaN results when traced).

    Source: spec BIAS-24.
    """
    x, y = floating("x", x), floating("y", y)
    require(x.ndim >= 2 and x.size > 0, f"x must hold examples as rows, and at least one; got shape {x.shape}")
    require(y.shape == x.shape[:1], f"y must be a vector of {len(x)} labels; got shape {y.shape}")
    y = checked(y.astype(x.dtype), (jnp.abs(y) == 1, "labels y must be -1 or 1"))
    return y.reshape(-1, *(1,) * (x.ndim - 1)) * x


def margins(w: Num[Array, "..."], x: Num[Array, "n ..."], y: Num[Array, " n"]) -> Float[Array, " n"]:
    """The margins y_i <w, x_i>.

    Args:
        w: linear classifier, of the shape of one example.
        x: n examples of any one shape, vectors or matrices.
        y: labels, -1 or 1.

    Returns:
        (n,) margins.

    Raises:
        ValueError: if shapes do not fit, or a label is neither -1 nor 1 (NaN results when traced).

    Source: Theory of Deep Learning, section 8.3; spec BIAS-24.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.margins(jnp.array([1.0, 2.0]), jnp.array([[1.0, 1.0], [0.0, 3.0]]), jnp.array([1, -1])).tolist()
        [3.0, -6.0]
    """
    return products(absorb_labels(x, y), w)


def normalized_margin(w: Num[Array, "..."], x: Num[Array, "n ..."], y: Num[Array, " n"], norm: Norm) -> Float[Array, ""]:
    """min_i y_i <w, x_i> / ||w||, at most the maximal margin gamma of that norm.

    Args:
        w: linear classifier, not zero, of the shape of one example.
        x: n examples of any one shape, vectors or matrices.
        y: labels, -1 or 1.
        norm: of w.

    Returns:
        The margin, negative where an example is on the wrong side.

    Raises:
        ValueError: as `margins`, or if w is zero (NaN results when traced).

    Source: Theory of Deep Learning, section 8.3; spec BIAS-24.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> x, y = jnp.array([[1.0, 0.0], [0.0, -1.0]]), jnp.array([1, -1])
        >>> round(float(implicit_bias.normalized_margin(jnp.array([1.0, 1.0]), x, y, implicit_bias.lp_norm(2))), 6)
        0.707107
    """
    smallest, size = margins(w, x, y).min(), norm.value(floating("w", w))
    return checked(smallest, (size != 0, "w must not be zero, or it has no normalized margin")) / size


def products(z: Float[Array, "n ..."], w: Num[Array, "..."]) -> Float[Array, " n"]:
    """<z_i, w> for every i; shapes are checked."""
    w = floating("w", w)
    require(w.shape == z.shape[1:], f"w must have the shape {z.shape[1:]} of one example; got {w.shape}")
    return jnp.tensordot(z, w.astype(jnp.result_type(z, w)), w.ndim)


def log_exp_loss(margins: Num[Array, " n"]) -> Float[Array, ""]:
    """log sum_i exp(-m_i), the logarithm of the exponential loss, whose gradient in m is minus the softmax of -m.

    Neither over- nor underflows, whatever the margins.

    Args:
        margins: m, a vector.

    Returns:
        The logarithm of the sum over examples.

    Raises:
        ValueError: if `margins` is not a vector or is empty.

    Source: Theory of Deep Learning, (8.24); spec BIAS-24.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> float(implicit_bias.log_exp_loss(jnp.array([3000.0, 4000.0])))
        -3000.0
    """
    return _log_total(margins, "exp")


def log_logistic_loss(margins: Num[Array, " n"]) -> Float[Array, ""]:
    """log sum_i log(1 + exp(-m_i)), the logarithm of the logistic loss; accurate at both ends, as is its gradient.

    Args:
        margins: m, a vector.

    Returns:
        The logarithm of the sum over examples.

    Raises:
        ValueError: if `margins` is not a vector or is empty.

    Source: spec BIAS-24.
    """
    return _log_total(margins, "logistic")


def log_sigmoid_loss(margins: Num[Array, " n"]) -> Float[Array, ""]:
    """log sum_i 1 / (1 + exp(m_i)), the logarithm of the sigmoid loss; accurate at both ends, as is its gradient.

    Args:
        margins: m, a vector.

    Returns:
        The logarithm of the sum over examples.

    Raises:
        ValueError: if `margins` is not a vector or is empty.

    Source: spec BIAS-24.
    """
    return _log_total(margins, "sigmoid")


def margin_weights(margins: Num[Array, " n"], *, loss: str = "exp") -> Float[Array, " n"]:
    """q_i = -d log L / d m_i >= 0, by which examples pull: grad_w log L = -sum_i q_i y_i x_i.

    The softmax of -m for the exponential loss, where they sum to one; for the others the sum tends to one as m grows.

    Args:
        margins: m, a vector.
        loss: L, `"exp"`, `"logistic"` or `"sigmoid"`, summed over examples.

    Returns:
        (n,) weights.

    Raises:
        ValueError: if `margins` is not a vector or is empty, or `loss` is unknown.

    Source: spec BIAS-24, BIAS-27.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> implicit_bias.margin_weights(jnp.array([3000.0, 3000.0, 4000.0]), loss="logistic").tolist()
        [0.5, 0.5, 0.0]
    """
    choice("loss", loss, tuple(_LOG_LOSSES))
    return jnp.abs(jax.grad(lambda m: _log_total(m, loss))(floating("margins", margins)))


def _log_total(margins: Num[Array, " n"], loss: str) -> Float[Array, ""]:
    margins = floating("margins", margins)
    require(margins.ndim == 1 and margins.size > 0, f"margins must be a vector, one of each example; got shape {margins.shape}")
    return jax.nn.logsumexp(_LOG_LOSSES[loss](margins))


def _log_exp(m: Array) -> Array:
    return -m


def _log_logistic(m: Array) -> Array:
    """log log(1 + e^-m); for m > 0 as -m + log(log(1 + e) / e) with e = e^-m."""
    positive = m > 0
    tail = jnp.exp(-jnp.where(positive, m, 0))
    smallest = jnp.finfo(m.dtype).eps
    ratio = jnp.where(tail > smallest, jnp.log1p(tail) / jnp.maximum(tail, smallest), 1)
    return jnp.where(positive, -m + jnp.log(ratio), jnp.log(jax.nn.softplus(-jnp.where(positive, 0, m))))


def _log_sigmoid(m: Array) -> Array:
    return -jax.nn.softplus(m)


_LOG_LOSSES = {"exp": _log_exp, "logistic": _log_logistic, "sigmoid": _log_sigmoid}
