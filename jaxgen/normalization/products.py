"""A deep linear chain of scalars, where a fixed learning rate explodes without any saddle or noise to blame."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, per_step, positive_integer, require
from jaxgen._core.scan import iterate


def explosive_learning_rate(product: ArrayLike, slope: ArrayLike, num_factors: int) -> Float[Array, "..."]:
    """(2 / |l'(W_0)|) W_0^{2/k - 1}: above it, gradient descent on k equal factors of W_0 increases |W| monotonically.

    For l(w_1 ... w_k) with k even, convex l with a minimiser W* > 0, equal factors and W_0 > W*: the first step maps every
    factor w to w (1 - eta l'(W_0) w^{k-2}), and the bracket is below -1.

    Args:
        product: W_0 > 0.
        slope: l'(W_0), not zero.
        num_factors: k, even.

    Returns:
        The learning rate, elementwise.

    Raises:
        ValueError: if k is odd or below 2, `product` not positive or `slope` zero (NaN results when traced).

    Source: Theory of Deep Learning, problem 13.1.1, which prints the exponent 1/k - 1; spec NORM-1.

    Example:
        >>> from jaxgen import normalization
        >>> float(normalization.explosive_learning_rate(16.0, 0.5, 4))
        1.0
    """
    power = 2 / _even(num_factors) - 1
    product, slope = floating("product", product), floating("slope", slope)
    return checked(
        2 / jnp.abs(slope) * product**power,
        (product > 0, f"product must be positive; got {product}"),
        (slope != 0, "slope must not be zero"),
    )


def product_logistic_gd(
    x: Float[ArrayLike, " n"], y: Float[ArrayLike, " n"], product0: ArrayLike, learning_rate: ArrayLike, num_steps: int, *, num_factors: int
) -> Float[Array, " T+1"]:
    """The products W_t of k equal factors along gradient descent on sum_i log(1 + exp(-w_1 ... w_k x_i y_i)).

    Args:
        x: inputs, shape (n,).
        y: labels +-1, shape (n,).
        product0: W_0 > 0, shared out equally among the factors.
        learning_rate: eta > 0, a scalar or one value per step.
        num_steps: T, at least 1.
        num_factors: k, even.

    Returns:
        W_0, ..., W_T.

    Raises:
        ValueError: if k is odd or below 2, shapes do not fit, labels are not +-1, or `product0` or a learning rate is not
            positive (NaN results when traced).

    Source: Theory of Deep Learning, section 13.1; spec NORM-1.
    """
    x, y, start = floating("x", x), floating("y", y), floating("product0", product0)
    require(x.ndim == 1 and x.shape == y.shape, f"x and y must be vectors of one length; got shapes {x.shape} and {y.shape}")
    require(start.ndim == 0, f"product0 must be a scalar; got shape {start.shape}")
    num_steps, count = positive_integer("num_steps", num_steps), _even(num_factors)
    rates = per_step("learning_rate", learning_rate, num_steps)
    start = checked(
        start,
        (start > 0, f"product0 must be positive; got {start}"),
        (jnp.abs(y) == 1, "y must be +1 or -1"),
        (rates > 0, f"learning_rate must be positive; got {rates}"),
    )

    def step(factor, t):
        slope = jax.grad(lambda product: jnp.sum(jax.nn.softplus(-product * x * y)))(factor**count)
        return factor - rates[t].astype(factor.dtype) * slope * factor ** (count - 1), None

    last, before = iterate(step, start ** (1 / count), num_steps, record=lambda factor, aux, t: factor)
    return jnp.append(before, last) ** count


def _even(num_factors: int) -> int:
    count = positive_integer("num_factors", num_factors, at_least=2)
    require(count % 2 == 0, f"num_factors must be even; got {num_factors}")
    return count
