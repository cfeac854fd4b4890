r"""Rademacher complexity as the ability to fit random labels, for the zero-one loss."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Num, PyTree

from jaxgen._core.checks import checked, floating, leading_axis, positive_integer, require
from jaxgen._core.results import Estimate
from jaxgen._core.statistics import mean
from jaxgen.bounds.rademacher.complexities import two_samples


class LabelFlip(NamedTuple):
    """Two sides of an identity between correlation with two samples and errors on flipped labels.

    Attributes:
        correlation: how much more a predictor of the class errs on the first sample than on the second, at most, over 2m.
        from_least_error: one half less the smallest error on both, with the labels of the first flipped.
    """

    correlation: Float[Array, ""]
    from_least_error: Float[Array, ""]


def label_flip_identity(losses1: Float[ArrayLike, "H m"], losses2: Float[ArrayLike, "H m"]) -> LabelFlip:
    r"""Telling two samples apart is fitting flipped labels: $\frac{1}{2m} \sup_h (\sum_{S_1} \ell - \sum_{S_2} \ell) = \frac12 - \min_h \hat L$.

    Here $\hat L$ is the error on $S_1$ with its labels flipped, where the loss is $1 - \ell$, together with $S_2$. For labels that are
    fair coins flipping changes no law, and the two-sample complexity says how well the class fits random labels.

    Args:
        losses1: zero-one loss of each of H predictors on each of the m examples of one sample, shape (H, m).
        losses2: the same on another sample, shape (H, m).

    Returns:
        Both sides, equal to the last bit.

    Raises:
        ValueError: if shapes differ or are not (H, m), or a loss is neither 0 nor 1 (NaN results when traced).

    Source: Theory of Deep Learning, section 5.3.2, which says of the loss on $S_2$ what holds on $S_1$; spec GEN-12. Cost: O(H m).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> found = bounds.label_flip_identity(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 0.0]]))
        >>> float(found.correlation), float(found.from_least_error)
        (0.25, 0.25)
    """
    losses1, losses2 = two_samples(losses1, losses2)
    losses1 = checked(losses1, ((losses1 == 0) | (losses1 == 1), "losses1 must be zero-one losses"))
    losses2 = checked(losses2, ((losses2 == 0) | (losses2 == 1), "losses2 must be zero-one losses"))
    m = losses1.shape[1]
    correlation = (losses1.sum(axis=1) - losses2.sum(axis=1)).max() / (2 * m)
    least = ((1 - losses1).sum(axis=1) + losses2.sum(axis=1)).min()
    return LabelFlip(correlation, (m - least) / (2 * m))


def random_label_capacity(
    key: Key[Array, ""], fit_fn: Callable[[PyTree, Array], Num[Array, " n"]], x: PyTree, *, num_draws: int = 20, num_classes: int = 2
) -> Estimate:
    r"""How well a learner fits uniformly random labels, 0 for chance and 1 for all: $1 - \frac{C}{C - 1} E[\mathrm{err}]$.

    For two classes that is $1 - 2 E[\mathrm{err}]$, at most the Rademacher complexity of the class of predictors with outputs $\pm 1$, and
    equal to it where the fit has the least error; that of their zero-one losses is half of it.

    Args:
        key: PRNG key of the labels.
        fit_fn: function of inputs and labels, int32 of shape (n,) in 0, ..., C - 1, to the labels that its predictor gives the same inputs.
        x: inputs, any pytree with leading axis n.
        num_draws: labellings, at least 2, one fit each.
        num_classes: C, at least 2.

    Returns:
        `Estimate`.

    Raises:
        ValueError: if leading axes differ, `fit_fn` does not return n labels in 0, ..., C - 1 (NaN results when traced), `num_draws` < 2 or
            `num_classes` < 2.

    Source: Theory of Deep Learning, section 5.3.2; Zhang, Bengio, Hardt, Recht and Vinyals 2017; spec GEN-12. Cost: `num_draws` fits,
    one after another.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> float(bounds.random_label_capacity(jax.random.key(0), lambda x, labels: labels, jnp.zeros((20, 3))).value)
        1.0
    """
    n, num_classes = leading_axis("x", x), positive_integer("num_classes", num_classes, at_least=2)
    num_draws = positive_integer("num_draws", num_draws, at_least=2)
    labels = jax.random.randint(key, (num_draws, n), 0, num_classes, jnp.int32)
    predicted = floating("what fit_fn returns", jax.lax.map(lambda drawn: fit_fn(x, drawn), labels))
    require(predicted.shape == labels.shape, f"fit_fn must return labels of shape ({n},); got {predicted.shape[1:]}")
    is_label = (predicted >= 0) & (predicted < num_classes) & (predicted == jnp.round(predicted))
    predicted = checked(predicted, (is_label, f"fit_fn must return labels in 0, ..., {num_classes - 1}"))
    errors = jnp.where(jnp.isnan(predicted), jnp.nan, predicted != labels).mean(axis=1)
    return mean(1 - num_classes / (num_classes - 1) * errors)
