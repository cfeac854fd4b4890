"""The exponentially growing learning rate that does what weight decay does."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int

from jaxgen._core.checks import checked, floating, require


def exponential_learning_rate(learning_rate: ArrayLike, weight_decay: ArrayLike, step: Int[ArrayLike, "..."]) -> Float[Array, "..."]:
    """eta_t = eta (1 - eta wd)^-(2t+1), with which gradient descent on a scale-invariant loss goes the way of weight decay.

    With w_{t+1} = (1 - eta wd) w_t - eta grad L_t(w_t) and v_{t+1} = v_t - eta_t grad L_t(v_t), v_0 = w_0:
    v_t = w_t / (1 - eta wd)^t, the same function at every step. Computed from its logarithm, so that it overflows only
    where the number itself does; beyond that use `log_exponential_learning_rate` with `rescaled_gd`.

    Args:
        learning_rate: eta > 0.
        weight_decay: wd >= 0 with eta wd < 1, of a shape that broadcasts with it.
        step: t >= 0, of a shape that broadcasts with both.

    Returns:
        eta_t, elementwise.

    Raises:
        ValueError: if `learning_rate` is not positive, `weight_decay` or `step` is negative, or their product is 1 or more
            (NaN results when traced).

    Source: Li and Arora 2020; Theory of Deep Learning, theorem 13.3.1, whose statement forgets the factor eta; spec NORM-8.

    Example:
        >>> from jaxgen import normalization
        >>> rates = normalization.exponential_learning_rate(0.5, 1.0, [0, 1, 2])
        >>> rates.round(4).tolist()
        [1.0, 4.0, 16.0]
    """
    return jnp.exp(log_exponential_learning_rate(learning_rate, weight_decay, step))


def log_exponential_learning_rate(learning_rate: ArrayLike, weight_decay: ArrayLike, step: Int[ArrayLike, "..."]) -> Float[Array, "..."]:
    """log eta - (2t+1) log(1 - eta wd), the logarithm of `exponential_learning_rate`, for any number of steps.

    Args:
        learning_rate: eta > 0.
        weight_decay: wd >= 0 with eta wd < 1.
        step: t >= 0.

    Returns:
        log eta_t, elementwise.

    Raises:
        ValueError: as `exponential_learning_rate`.

    Source: spec NORM-8.
    """
    rate, decay = floating("learning_rate", learning_rate), floating("weight_decay", weight_decay)
    step = floating("step", step).astype(jnp.result_type(rate, decay))
    return checked(
        jnp.log(rate) - (2 * step + 1) * jnp.log1p(-rate * decay),
        (rate > 0, f"learning_rate must be positive; got {learning_rate}"),
        (decay >= 0, f"weight_decay must be at least 0; got {weight_decay}"),
        (rate * decay < 1, f"learning_rate * weight_decay must be below 1; got {learning_rate} * {weight_decay}"),
        (step >= 0, f"step must be at least 0; got {step}"),
    )


def exponential_schedule(learning_rate: ArrayLike, weight_decay: ArrayLike) -> optax.Schedule:
    """`exponential_learning_rate` as an `optax` schedule, for plain `optax.sgd` in place of weight decay.

    Args:
        learning_rate: eta > 0, a scalar.
        weight_decay: wd >= 0 with eta wd < 1, a scalar.

    Returns:
        A function of the step count.

    Raises:
        ValueError: if an argument is no scalar; otherwise as `exponential_learning_rate`.

    Source: spec NORM-8.

    Example:
        >>> import optax
        >>> from jaxgen import normalization
        >>> optimizer = optax.sgd(normalization.exponential_schedule(0.1, 0.05))
    """
    first = log_exponential_learning_rate(learning_rate, weight_decay, 0)
    require(first.ndim == 0, f"learning_rate and weight_decay must be scalars; got shape {first.shape}")
    return lambda count: exponential_learning_rate(learning_rate, weight_decay, count)
