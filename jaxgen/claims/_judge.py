"""From the checks of all seeds to verdicts."""

import collections
import math

import numpy as np

from jaxgen.claims import _samples, _statistics
from jaxgen.claims._check import Check
from jaxgen.claims._registry import Claim, Control
from jaxgen.claims._results import CheckResult, ControlResult, Side

MAX_REPORTED = 1024
"""Largest number of values of one side that is reported in full."""


def named(checks: Check | dict[str, Check]) -> dict[str, Check]:
    """Checks by name, in their own order; a lone one has the empty name."""
    found = {"": checks} if isinstance(checks, Check) else checks
    if not isinstance(found, dict) or not found or not all(isinstance(check, Check) for check in found.values()):
        raise TypeError(f"a claim's body must return a relation or a dictionary of relations; got {type(checks).__name__}")
    return collections.OrderedDict(found)


def judge_claim(claim: Claim, stacked: dict[str, Check], level: float) -> list[CheckResult]:
    """Judges the checks of a claim, whose statistical ones share `level`.

    Raises:
        ValueError: if the claim is declared statistical and none of its checks is, or the other way round.
    """
    statistical = any(check.test is not None for check in stacked.values())
    if statistical and not claim.statistical:
        raise ValueError(f"{claim.id} returns a statistical relation: declare it with statistical=True")
    if claim.statistical and not statistical:
        raise ValueError(f"{claim.id} is declared statistical=True but returns no statistical relation")
    return _judge_all(stacked, level)


def judge_control(control: Control, stacked: dict[str, Check], level: float) -> ControlResult:
    """Judges a control: refuted if on every seed (on some seed) a check failed by numbers, or a statistical check was rejected."""
    checks = _judge_all(stacked, level)
    if any(check.refuted for check in checks):
        return ControlResult(control.name, control.fails, True, len(checks[0].margin), checks)
    failed = np.any([check.failed for check in checks if check.p_value is None] or [[False]], axis=0)
    refuted = bool(failed.all() if control.fails == "every" else failed.any())
    return ControlResult(control.name, control.fails, refuted, int(failed.sum()), checks)


def _judge_all(stacked: dict[str, Check], level: float) -> list[CheckResult]:
    number = sum(check.test is not None for check in stacked.values())
    return [_judge(name, check, level / max(number, 1)) for name, check in stacked.items()]


def _judge(name: str, check: Check, level: float) -> CheckResult:
    lhs, rhs, margin = (np.asarray(part, np.float64) for part in (check.lhs, check.rhs, check.margin))
    count = margin.shape[0]
    lhs, rhs, margin = (part.reshape(count, -1) for part in (lhs, rhs, margin))
    shape = list(np.shape(check.lhs)[1:])
    usable = ~np.isnan(margin).any(axis=1)
    if check.test is None:
        held = np.asarray(check.held, bool).reshape(count) & usable
        worst = np.argmin(margin, axis=1)
        p_value, failed, verdict = None, usable & ~held, bool(held.all())
    else:
        p_value = _p_value(check, lhs, rhs, margin) if usable.all() else math.nan
        worst = np.full(count, np.argmin(margin.mean(axis=0)) if usable.all() else 0)
        held, failed, verdict = usable, np.zeros(count, bool), p_value >= level
    rows = np.arange(count)
    return CheckResult(
        name,
        check.relation,
        check.tolerance,
        check.unit,
        _side(lhs, worst, shape),
        _side(rhs, worst, shape),
        margin[rows, worst].tolist(),
        verdict,
        int(held.sum()),
        int(failed.sum()),
        failed.tolist(),
        p_value,
        None if p_value is None else level,
    )


def _p_value(check: Check, lhs: np.ndarray, rhs: np.ndarray, sample: np.ndarray) -> float:
    if check.test == _samples.PROBABILITY:
        assert check.parameter is not None
        return _statistics.binomial_lower_tail(int(sample.sum()), sample.size, check.parameter)
    if sample.shape[0] < _statistics.MIN_TRIALS:
        raise ValueError("a test over seeds needs at least two of them")
    two_sided = check.test in (_samples.MEAN_IS_ZERO, _samples.SCORE_IS_ZERO)
    if np.isneginf(sample).any() or (two_sided and np.isposinf(sample).any()):
        return 0.0
    if check.test in (_samples.SCORE_IS_ZERO, _samples.SCORE_IS_NONNEGATIVE):
        return _statistics.score_test(np.where(np.isposinf(sample), 0.0, sample), two_sided=two_sided)
    finite = np.isfinite(sample).all(axis=0)
    if not finite.any():
        return 1.0
    scale = np.maximum(np.abs(lhs), np.abs(rhs)).max(axis=0)
    return _statistics.t_test(sample[:, finite], scale[finite], two_sided=two_sided)


def _side(values: np.ndarray, worst: np.ndarray, shape: list[int]) -> Side:
    per_seed = values[np.arange(len(values)), worst]
    with np.errstate(invalid="ignore"):
        constant = len(per_seed) == 1 or per_seed.min() == per_seed.max()
        sd = 0.0 if constant else float(per_seed.std(ddof=1))
        mean = float(per_seed.mean())
    full = values.reshape(len(values), *shape).tolist() if shape and values.size <= MAX_REPORTED else None
    return Side(shape, mean, sd, float(values.min()), float(values.max()), per_seed.tolist(), full)
