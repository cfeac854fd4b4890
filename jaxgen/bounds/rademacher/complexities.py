r"""Rademacher complexities of classes given by their values on a sample, or by what a fit to random signs achieves."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen._core.checks import checked, floating, leading_axis, positive_integer, require
from jaxgen._core.monte_carlo import average_over_draws
from jaxgen._core.rademacher import rademacher
from jaxgen._core.results import Estimate
from jaxgen.bounds.rademacher._signs import average_over_signs, checked_draws

HIGHEST = jax.lax.Precision.HIGHEST


def rademacher_two_sample(losses1: Float[ArrayLike, "H m"], losses2: Float[ArrayLike, "H m"]) -> Float[Array, ""]:
    r"""How far apart a class can tell two samples: $\frac{1}{2m} \sup_h |\sum_{z \in S_1} \ell(z, h) - \sum_{z \in S_2} \ell(z, h)|$.

    Its expectation over independent samples is the two-sample Rademacher complexity $R_{m, D}$. On the union of two given samples
    the mean over all ways to halve it is `empirical_rademacher` with `absolute` and `balanced`.

    Args:
        losses1: loss of each of H hypotheses on each of the m examples of one sample, shape (H, m).
        losses2: the same on another sample, shape (H, m).

    Returns:
        The value for this pair of samples.

    Raises:
        ValueError: if shapes differ or are not (H, m), or a loss is not finite (NaN results when traced).

    Source: Theory of Deep Learning, equation (5.3); spec GEN-8. Cost: O(H m).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> float(bounds.rademacher_two_sample(jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.array([[1.0, 0.0], [0.0, 0.0]])))
        0.5
    """
    losses1, losses2 = two_samples(losses1, losses2)
    return jnp.abs(losses1.sum(axis=1) - losses2.sum(axis=1)).max() / (2 * losses1.shape[1])


def empirical_rademacher(
    key: Key[Array, ""] | None,
    values: Float[ArrayLike, "H n"],
    *,
    num_draws: int | None = 1000,
    absolute: bool = False,
    balanced: bool = False,
) -> Estimate:
    r"""Rademacher complexity of a class on a sample: $E_\sigma \sup_h \frac1n \sum_i \sigma_i f_h(z_i)$, signs $\sigma_i = \pm 1$.

    Definitions differ in whether the supremum is over absolute values and whether signs are independent or balanced. With both
    `absolute` and `balanced`, on 2m points, it is the two-sample definition $R_{m, D}$ for given points: within $1 / \sqrt{2m}$ of the
    one with independent signs on the same points, and at most the mean of those on halves of the points.

    Args:
        key: PRNG key; None where all signs are gone through.
        values: value, or loss, of each of H functions at each of n examples, shape (H, n).
        num_draws: vectors of signs, at least 2; None goes through all $2^n$ of them, for n of at most 16.
        absolute: whether the supremum is over absolute values, as if the class held every function's negative too.
        balanced: whether half of the signs are +1, which needs an even n.

    Returns:
        `Estimate`; its standard error is 0 where all signs are gone through.

    Raises:
        ValueError: if `values` is not of shape (H, n) or not finite (NaN results when traced), n is odd and signs are `balanced`,
            `num_draws` < 2, n is above 16 with `num_draws=None`, or there is no key where one is needed.

    Source: Bartlett and Mendelson 2002; Theory of Deep Learning, section 5.3.1; spec GEN-8. Cost: O(H n) a vector of signs.

    Example:
        A class that fits every labelling of three points:

        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> values = jnp.array([[a, b, c] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)])
        >>> float(bounds.empirical_rademacher(None, values, num_draws=None).value)
        1.0
    """
    values = _values("values", values)
    n = values.shape[1]
    require(not balanced or n % 2 == 0, f"values must have an even number of columns for balanced signs; got {n}")
    return _over_signs(key, values, num_draws=checked_draws(key, num_draws, n), absolute=absolute, balanced=balanced)


@partial(jax.jit, static_argnames=("num_draws", "absolute", "balanced"))
def _over_signs(key: Key[Array, ""] | None, values: Array, *, num_draws: int | None, absolute: bool, balanced: bool) -> Estimate:
    n = values.shape[1]

    def supremum(signs: Array) -> Array:
        sums = jnp.matmul(values, signs, precision=HIGHEST)
        return (jnp.abs(sums) if absolute else sums).max() / n

    return average_over_signs(supremum, key, n, num_draws, values.dtype, balanced=balanced)


def rademacher_via_fit(
    key: Key[Array, ""], fit_fn: Callable[[PyTree, Float[Array, " n"]], Float[Array, ""]], x: PyTree, *, num_draws: int = 100
) -> Estimate:
    r"""Lower estimate of the Rademacher complexity of a class that can only be searched: what a fit to random signs achieves.

    Every fit is some function of the class, so $\frac1n \sum_i \sigma_i f(x_i)$ is at most the supremum, and the mean over signs at most
    the complexity. It is the complexity where the fit attains the supremum.

    Args:
        key: PRNG key of the signs.
        fit_fn: function of inputs and signs of shape (n,), to the $\frac1n \sum_i \sigma_i f(x_i)$ of the function that it fits, a scalar.
        x: inputs, any pytree with leading axis n.
        num_draws: vectors of signs, at least 2, one fit each.

    Returns:
        `Estimate` of the mean of what is achieved.

    Raises:
        ValueError: if leading axes differ, `fit_fn` does not return a scalar or `num_draws` < 2.

    Source: Zhang, Bengio, Hardt, Recht and Vinyals 2017, section 2.2; spec GEN-8. Cost: `num_draws` fits, one after another.
    """
    n, num_draws = leading_axis("x", x), positive_integer("num_draws", num_draws, at_least=2)

    def achieved(key: Key[Array, ""]) -> Array:
        found = floating("what fit_fn returns", fit_fn(x, rademacher(key, (n,), jnp.result_type(float))))
        require(found.ndim == 0, f"fit_fn must return a scalar; got shape {found.shape}")
        return found

    return average_over_draws(achieved, key, num_draws)


def two_samples(losses1: ArrayLike, losses2: ArrayLike) -> tuple[Array, Array]:
    """Losses of one class on two samples of one size."""
    losses1, losses2 = _values("losses1", losses1), _values("losses2", losses2)
    require(losses1.shape == losses2.shape, f"losses1 and losses2 must have the same shape; got {losses1.shape} and {losses2.shape}")
    return losses1, losses2


def _values(name: str, values: ArrayLike) -> Array:
    values = floating(name, values)
    require(values.ndim == 2 and values.size > 0, f"{name} must have shape (hypotheses, examples), neither of them none; got {values.shape}")
    return checked(values, (jnp.isfinite(values), f"{name} must be finite"))
