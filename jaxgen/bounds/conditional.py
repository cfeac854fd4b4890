r"""Bounds by conditional mutual information: what is told about which half of a supersample was trained on (INFO-38, INFO-39).

A supersample is n pairs of independent examples, and fair bits $U_i$ choose one of each pair to train on. Here the informations
are known; `jaxgen.bounds.f_cmi` and its like estimate them from training runs.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, floating, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least, positive, square_root
from jaxgen.bounds.individual_sample import per_item

SUPERSAMPLE = "The 2n examples of the supersample are independent draws from the data distribution, the bits fair coins independent of them."
RANGE = "The evaluation loss lies in an interval of length loss_range."


def cmi(cmi: Scalar, n: Scalar, *, loss_range: Scalar = 1.0) -> Bound:
    r"""The gap by conditional mutual information: $|gen| \le \sqrt{\frac2n I(W; U | \tilde Z)}$ for losses in [0, 1].

    Never vacuous for lack of boundedness of the information, as $I(W; U | \tilde Z) \le n \log 2$ for every learner; there its
    value is 1.18. Arguments are elementwise.

    Args:
        cmi: $I(W; U | \tilde Z)$ in nats, or an upper bound of at most $n \log 2$; what is below zero by at most 1e-8 counts as
            zero.
        n: number of training examples.
        loss_range: length of the interval that the loss lies in.

    Returns:
        A two-sided `Bound` with the one term `"information"`.

    Raises:
        ValueError: if `cmi` < -1e-8 or > n log 2, `n` < 1, or `loss_range` <= 0.

    Example:
        The majority of three bits:

        >>> from jaxgen import bounds
        >>> round(float(bounds.cmi(0.4274841732, 3).value), 4)
        0.5338

    Source: Steinke and Zakynthinou 2020, Theorem 1.2; INFO-38.
    """
    count, information = at_least("n", n, 1), at_least("cmi", cmi, -1e-8)
    largest = count * math.log(2) * (1 + 8 * jnp.finfo(information.dtype).eps)
    information = checked(information, (information <= largest, "cmi must be at most n log 2, which is all there is to know about n bits"))
    value = positive("loss_range", loss_range) * square_root(2 * jnp.maximum(information, 0) / count)
    return Bound(value, {"information": value}, assumptions=(SUPERSAMPLE, RANGE))


def pairwise_cmi(mutual_informations: Float[ArrayLike, "*rest n"], *, loss_range: Scalar = 1.0) -> Bound:
    r"""The gap by what is told about each bit: $|gen| \le \frac1n \sum_i \sqrt{2 I(X_i; U_i)}$ for losses in [0, 1].

    $X_i$ is whatever determines the difference of losses $\Delta L_i = \ell(W, \tilde Z_{i1}) - \ell(W, \tilde Z_{i0})$: itself (the
    loss-difference bound, which is the smallest), both losses (evaluated CMI), both predictions given the supersample (f-CMI), or
    the weights. Informations may be conditional on the supersample; given each supersample in turn, the mean of the values
    is a bound, and a smaller one than the value at the mean information.

    Args:
        mutual_informations: $I(X_i; U_i)$ of every pair in nats along the last axis, or upper bounds; what is below zero by at
            most 1e-8 counts as zero.
        loss_range: length of the interval that the loss lies in.

    Returns:
        A two-sided `Bound` with the one term `"information"`.

    Raises:
        ValueError: if there is no pair, an information is below -1e-8 or above log 2, or `loss_range` <= 0.

    Source: Harutyunyan et al. 2021, Theorem 3.1 with m = 1; Wang and Mao 2023, Theorem 3.1; INFO-39.
    """
    informations = per_item("mutual_informations", mutual_informations)
    largest = math.log(2) * (1 + 8 * jnp.finfo(informations.dtype).eps)
    informations = checked(informations, (informations <= largest, "mutual_informations must be at most log 2, all there is to know about a bit"))
    roots = square_root(2 * informations)
    value = positive("loss_range", loss_range) * jnp.mean(roots, axis=-1)
    return Bound(value, {"information": value}, assumptions=(SUPERSAMPLE, RANGE))


def interpolating_risk(mutual_informations: Float[ArrayLike, "*rest n"]) -> Float[Array, "*rest"]:
    r"""The risk of a learner without training errors, exactly: $L_\mu = \frac{1}{n \log 2} \sum_i I(\Delta L_i; U_i)$, 0-1 loss.

    A difference of losses that is not zero reveals the bit, and one that is zero says nothing, because the two examples of
    a pair play the same part. Given the supersample they do not: with informations conditional on it the value is at
    least the risk, still a bound. The risk is also the gap then.

    Args:
        mutual_informations: $I(\Delta L_i; U_i)$ of every pair in nats along the last axis; corrected estimates may be negative.

    Returns:
        The risk.

    Raises:
        ValueError: if there is no pair, or an information is NaN.

    Source: Wang and Mao 2023, Theorem 4.1; INFO-39.
    """
    informations = floating("mutual_informations", mutual_informations)
    require(
        informations.ndim >= 1 and informations.size > 0,
        f"mutual_informations must hold one value a pair, shape (n,), not empty; got {informations.shape}",
    )
    return checked(jnp.mean(informations, axis=-1) / math.log(2), (~jnp.isnan(informations), "mutual_informations must not be NaN"))
