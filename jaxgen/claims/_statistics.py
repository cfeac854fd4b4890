"""Tail probabilities of the tests that judge statistical claims, on the host in float64."""

import math

import jax
import numpy as np
from jax.scipy.special import betainc

MIN_TRIALS = 2


def t_upper_tail(t: float, degrees: int) -> float:
    """P(T >= t) for Student's t with `degrees` degrees of freedom."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    half = 0.5 * _betainc(0.5 * degrees, 0.5, degrees / (degrees + t * t))
    return half if t > 0 else 1 - half


def binomial_lower_tail(successes: int, trials: int, probability: float) -> float:
    """P(X <= successes) for X binomial."""
    if successes >= trials:
        return 1.0
    if probability >= 1:
        return 0.0
    return _betainc(trials - successes, successes + 1, 1 - probability)


def normal_upper_tail(z: float) -> float:
    """P(Z >= z) for Z standard normal."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def t_test(samples: np.ndarray, scale: np.ndarray, *, two_sided: bool) -> float:
    """P-value of "the mean of every column is zero" (or, one-sided, "is at least zero"), corrected for the number of columns.

    Args:
        samples: shape (S, m), one row per seed.
        scale: size of the numbers whose difference a sample is, shape (m,): the standard error is taken to be at least their rounding.
        two_sided: whether a positive mean is also evidence against.
    """
    count, columns = samples.shape
    mean = samples.mean(axis=0)
    rounding = 8 * np.finfo(np.float64).eps * scale
    stderr = np.maximum(samples.std(axis=0, ddof=1) / math.sqrt(count), rounding)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, -mean / stderr)
    worst = float(np.max(np.abs(t) if two_sided else t))
    return min(1.0, columns * (1 + two_sided) * t_upper_tail(worst, count - 1))


def score_test(scores: np.ndarray, *, two_sided: bool) -> float:
    """P-value of "every score is standard normal" (or, one-sided, "at least that"), corrected for the number of columns.

    The smaller p-value of two tests is doubled: of the columns' sums over the seeds, and of the largest score of all.

    Args:
        scores: shape (S, m), one row per seed.
        two_sided: whether positive scores are also evidence against.
    """
    count, columns = scores.shape
    against = -scores
    combined, single = against.sum(axis=0) / math.sqrt(count), against
    if two_sided:
        combined, single = np.abs(combined), np.abs(single)
    sides = 1 + two_sided
    p_combined = columns * sides * normal_upper_tail(float(combined.max()))
    p_single = columns * count * sides * normal_upper_tail(float(single.max()))
    return min(1.0, 2 * min(p_combined, p_single))


def _betainc(a: float, b: float, x: float) -> float:
    with jax.enable_x64(True):
        return float(betainc(np.float64(a), np.float64(b), np.float64(x)))
