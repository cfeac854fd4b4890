r"""Conditional-information bounds estimated from K training runs on the halves of one supersample that K masks choose (INFO-39).

Informations are plug-in estimates from K pairs of a label and a bit each, so they are high by up to log 2: beside the raw ones stand
those corrected by Miller's (m_xy - m_x - m_u + 1) / (2K) with the numbers m of cells that occur (and not of all cells, which
would take from an example whose prediction never changes what it does not have). A corrected estimate may be negative; in a
bound, and nowhere else, it then counts as zero, since information is never negative, and the share of such pairs is
reported. No bound made of estimates is certified.
"""

from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxgen._core import statistics
from jaxgen._core.checks import checked, positive_integer, require
from jaxgen._core.results import Bound, Estimate
from jaxgen.bounds._inputs import square_root
from jaxgen.bounds._observations import (
    Observed,
    checked_bits,
    observed_columns,
    observed_difference,
    observed_losses,
    observed_predictions,
    plugin,
)
from jaxgen.bounds.conditional import SUPERSAMPLE, interpolating_risk

ESTIMATED = "The informations are plug-in estimates from K masks, each with an error of the order of 1/K."
ROUNDED = "The evaluation loss takes num_levels equally spaced values in [0, 1]; others are rounded to these."
GIVEN = "The supersample is given: the mean of the bound over supersamples bounds the gap."


COMPARED = ("f_cmi", "evaluated_cmi", "loss_difference_cmi", "single_loss_cmi", "interpolating_risk")
"""What `compare_cmi_bounds` compares."""


class MaskEstimate(NamedTuple):
    """A bound estimated from K masks.

    Attributes:
        raw: of plug-in informations, with its jackknife standard error over masks.
        corrected: of corrected informations, likewise.
        raw_interval: both ends of a normal interval about the raw value.
        corrected_interval: the same about the corrected one.
        counted_as_zero: share of pairs whose corrected information is negative.
        by_chance: raw and corrected value with masks dealt out anew among the nets, where there is nothing to be known: what
            of the value the estimate alone makes. NaN without a key.
    """

    raw: Estimate
    corrected: Estimate
    raw_interval: Float[Array, " 2"]
    corrected_interval: Float[Array, " 2"]
    counted_as_zero: Float[Array, ""]
    by_chance: Float[Array, " 2"]


def mask_information(labels: Int[Array, "K n"], u: Int[Array, "K n"], num_labels: int, *, bias_correction: bool = True) -> Float[Array, " n"]:
    r"""Estimates of $I(X_i; U_i)$ given a supersample, from what was seen of every pair under each of K masks.

    Args:
        labels: X_i as an integer in [0, num_labels).
        u: masks.
        num_labels: number of values of X_i.
        bias_correction: whether to subtract (m_xy - m_x - m_u + 1) / (2K), of the numbers of cells that occur.

    Returns:
        Estimates in nats, one for each pair, as they come out: corrected ones may be negative.

    Raises:
        ValueError: if shapes differ or are empty, u is not binary, or labels are out of range.
        TypeError: if labels are not integers.

    Source: Miller 1955; Harutyunyan et al. 2021, section 5; INFO-9, INFO-39. Cost O(K n num_labels).
    """
    labels, num_labels = jnp.asarray(labels), positive_integer("num_labels", num_labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must hold integers; got dtype {labels.dtype}")
    require(labels.ndim == 2 and labels.size > 0, f"labels must have shape (K, n), not empty; got {labels.shape}")
    bits, valid = checked_bits(u, labels.shape)
    valid = checked(valid, ((labels >= 0) & (labels < num_labels), f"labels must lie in [0, {num_labels})"))
    return _informations(Observed(labels[None], bits, num_labels, valid), bias_correction)[0]


def loss_difference_information(
    losses: Float[Array, "K n 2"], u: Int[Array, "K n"], *, num_levels: int = 2, bias_correction: bool = True
) -> Float[Array, " n"]:
    r"""Estimates of $I(\Delta L_i; U_i)$ given a supersample, $\Delta L_i$ the second loss of a pair minus the first.

    Args:
        losses: evaluation losses in [0, 1] under each mask.
        u: masks.
        num_levels: number of equally spaced values in [0, 1] that losses are rounded to; 2 for the 0-1 loss.
        bias_correction: as in `mask_information`.

    Returns:
        Estimates in nats, one for each pair; corrected ones may be negative.

    Raises:
        ValueError: if shapes do not fit, losses lie outside [0, 1], u is not binary, or `num_levels` < 2.

    Source: Wang and Mao 2023, section 3; INFO-39.
    """
    return _informations(observed_difference(losses, u, num_levels), bias_correction)[0]


def f_cmi(predictions: Int[Array, "K n 2"], u: Int[Array, "K n"], num_classes: int, *, bias_correction: bool = True) -> Bound:
    r"""The f-CMI bound, $|gen| \le \frac1n \sum_i \sqrt{2 I(F_i; U_i)}$, $F_i$ the predictions for both examples of pair i.

    Args:
        predictions: classes in [0, num_classes) that the net trained under each mask predicts.
        u: masks; under mask k the net was trained on example u_ki of pair i.
        num_classes: C; tables have C^2 x 2 cells, and the raw estimate is high by up to (C^2 - 1) / (2K) nats.
        bias_correction: whether informations are corrected (`mask_information`).

    Returns:
        A two-sided `Bound`, never certified, with the terms `"information"` and `"counted_as_zero"`, the share of pairs
        whose corrected information is negative and counts as zero.

    Raises:
        ValueError: if shapes do not fit, u is not binary, or predictions are out of range.
        TypeError: if predictions are not integers.

    Example:
        A net that remembers what it trained on, and guesses on the rest:

        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> u, guess = jax.random.bernoulli(jax.random.key(0), 0.5, (2, 1000, 20)).astype(int)
        >>> predictions = jnp.stack([jnp.where(u == 0, 1, guess), jnp.where(u == 1, 1, guess)], axis=-1)
        >>> bound = bounds.f_cmi(predictions, u, 2)
        >>> print(f"{bound.value:.2f}", bound.certified)
        0.83 False

    Source: Harutyunyan et al. 2021, Theorem 3.1 with m = 1; INFO-39.
    """
    return _bound(_informations(observed_predictions(predictions, u, num_classes), bias_correction))


def evaluated_cmi(losses: Float[Array, "K n 2"], u: Int[Array, "K n"], *, num_levels: int = 2, bias_correction: bool = True) -> Bound:
    r"""The evaluated-CMI bound, $|gen| \le \frac1n \sum_i \sqrt{2 I(L_{i0}, L_{i1}; U_i)}$; for two classes it equals `f_cmi`.

    Args:
        losses: evaluation losses in [0, 1] of both examples of every pair under each mask.
        u: masks.
        num_levels: number of equally spaced values in [0, 1] that losses are rounded to; the bound is of the rounded loss.
        bias_correction: whether informations are corrected (`mask_information`).

    Returns:
        A `Bound` as of `f_cmi`.

    Raises:
        ValueError: if shapes do not fit, losses lie outside [0, 1], u is not binary, or `num_levels` < 2.

    Source: Steinke and Zakynthinou 2020, section 6.2; INFO-39.
    """
    return _bound(_informations(observed_losses(losses, u, num_levels), bias_correction), ROUNDED)


def loss_difference_cmi(losses: Float[Array, "K n 2"], u: Int[Array, "K n"], *, num_levels: int = 2, bias_correction: bool = True) -> Bound:
    r"""The loss-difference bound, $|gen| \le \frac1n \sum_i \sqrt{2 I(\Delta L_i; U_i)}$, with raw estimates at most `evaluated_cmi`.

    Args:
        losses: evaluation losses in [0, 1] of both examples of every pair under each mask.
        u: masks.
        num_levels: as in `evaluated_cmi`.
        bias_correction: whether informations are corrected (`mask_information`).

    Returns:
        A `Bound` as of `f_cmi`.

    Raises:
        ValueError: if shapes do not fit, losses lie outside [0, 1], u is not binary, or `num_levels` < 2.

    Source: Wang and Mao 2023, Theorem 3.1; INFO-39.
    """
    return _bound(_informations(observed_difference(losses, u, num_levels), bias_correction), ROUNDED)


def single_loss_cmi(losses: Float[Array, "K n 2"], u: Int[Array, "K n"], *, num_levels: int = 2, bias_correction: bool = True) -> Bound:
    r"""The single-loss bound, $|gen| \le \frac1n \sum_i [\sqrt{2 I(L_{i0}; U_i)} + \sqrt{2 I(L_{i1}; U_i)}]$.

    The difference of losses is one minus the other, and each alone is bounded by its own information.

    Args:
        losses: evaluation losses in [0, 1] of both examples of every pair under each mask.
        u: masks.
        num_levels: as in `evaluated_cmi`.
        bias_correction: whether informations are corrected (`mask_information`).

    Returns:
        A `Bound` as of `f_cmi`; the share counted as zero is that of examples.

    Raises:
        ValueError: if shapes do not fit, losses lie outside [0, 1], u is not binary, or `num_levels` < 2.

    Source: Wang and Mao 2023, Theorem 3.3, for both examples of a pair; INFO-39.
    """
    return _bound(_informations(observed_columns(losses, u, num_levels), bias_correction), ROUNDED)


def compare_cmi_bounds(
    losses: Float[Array, "K n 2"],
    predictions: Int[Array, "K n 2"],
    u: Int[Array, "K n"],
    num_classes: int,
    *,
    level: float = 0.95,
    key: Key[Array, ""] | None = None,
    num_permutations: int = 10,
) -> dict[str, MaskEstimate]:
    """Every estimated bound from the same K masks, of raw and of corrected informations, with intervals over masks.

    The intervals are of the estimates' expectations: they hold the sampling of masks, and not the bias that is left.

    Args:
        losses: 0-1 losses of both examples of every pair under each mask.
        predictions: predicted classes, likewise.
        u: masks, K >= 3.
        num_classes: C.
        level: nominal probability of the intervals, in (0, 1).
        key: of the masks dealt out anew; without it there is no value by chance.
        num_permutations: number of times that they are.

    Returns:
        An estimate for each of `"f_cmi"`, `"evaluated_cmi"`, `"loss_difference_cmi"`, `"single_loss_cmi"`, and
        `"interpolating_risk"` (a bound where there are no training errors; in it nothing counts as zero).

    Raises:
        ValueError: as the bounds themselves; if `level` is not inside (0, 1), K < 3 or `num_permutations` < 1.
        TypeError: if predictions are not integers.

    Source: INFO-39. Cost: K + 2 evaluations of each bound, and `num_permutations` with a key.
    """
    require(0 < level < 1, f"level must lie inside (0, 1); got {level}")
    require(jnp.ndim(u) == 2 and len(u) >= 3, f"intervals over masks need u of shape (K, n) with K >= 3; got shape {jnp.shape(u)}")

    u = jnp.asarray(u)

    def values(losses, predictions, u):
        return _every_bound(losses, predictions, u, num_classes)[0]

    shares = _every_bound(losses, predictions, u, num_classes)[1]
    value, stderr = statistics.jackknife(values, losses, predictions, u)
    chance = jnp.full_like(value, jnp.nan)
    if key is not None:
        keys = jax.random.split(key, positive_integer("num_permutations", num_permutations))
        chance = jax.lax.map(lambda key: values(losses, predictions, jax.random.permutation(key, u)), keys).mean(axis=0)
    half = NormalDist().inv_cdf((1 + level) / 2) * stderr
    ends = jnp.stack([value - half, value + half], axis=-1)
    return {
        name: MaskEstimate(Estimate(value[i, 0], stderr[i, 0]), Estimate(value[i, 1], stderr[i, 1]), ends[i, 0], ends[i, 1], shares[i], chance[i])
        for i, name in enumerate(COMPARED)
    }


def _every_bound(losses: Array, predictions: Array, u: Array, num_classes: int) -> tuple[Array, Array]:
    """Raw and corrected value of every bound, and shares of corrected informations that count as zero, in the order of `COMPARED`."""
    difference = observed_difference(losses, u, 2)
    observed = (observed_predictions(predictions, u, num_classes), observed_losses(losses, u, 2), difference, observed_columns(losses, u, 2))
    found = []
    for one in observed:
        raw, correction = plugin(one)
        found.append((raw, raw - correction))
    bounds = [[_bound(informations) for informations in both] for both in found]
    risk = jnp.stack([interpolating_risk(informations[0]) for informations in found[2]])
    values = [jnp.stack([bound.value for bound in both]) for both in bounds]
    shares = [both[1].terms["counted_as_zero"] for both in bounds]
    return jnp.stack([*values, risk]), jnp.stack([*shares, jnp.zeros_like(shares[0])])


def _informations(observed: Observed, bias_correction: bool) -> Float[Array, "J n"]:
    raw, correction = plugin(observed)
    return raw - correction if bias_correction else raw


def _bound(informations: Float[Array, "J n"], *assumptions: str) -> Bound:
    """The mean over pairs of the sum of J roots; negative informations count as zero."""
    negative = informations < 0
    value = jnp.mean(square_root(2 * jnp.where(negative, 0, informations)).sum(axis=0))
    terms = {"information": value, "counted_as_zero": jnp.mean(negative, dtype=value.dtype)}
    return Bound(value, terms, certified=False, assumptions=(SUPERSAMPLE, GIVEN, ESTIMATED, *assumptions))
