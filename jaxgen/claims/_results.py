"""What a run says about a claim: plain records of Python numbers, ready for reports."""

import dataclasses
from typing import Any

HELD = "held"
FELL_SHORT = "fell short"
ERROR = "error"


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a check over all seeds.

    Attributes:
        shape: shape on one seed.
        mean: mean over seeds (of the representative element, for an array).
        sd: standard deviation over seeds of the same; 0 for one seed.
        low: smallest value over seeds and elements.
        high: largest value over seeds and elements.
        per_seed: value on each seed; for an array the element where the margin is smallest.
        values: all values, nested lists by seed, or None if there are too many to report.
    """

    shape: list[int]
    mean: float
    sd: float
    low: float
    high: float
    per_seed: list[float]
    values: list[Any] | None


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """A check over all seeds.

    Attributes:
        name: key in the body's dictionary, empty for a lone check.
        relation: sign between the sides.
        tolerance: what was allowed, in words.
        unit: unit of the margin.
        lhs: left side.
        rhs: right side.
        margin: smallest margin on each seed; in a statistical check the tested quantity.
        held: whether the statement held.
        held_seeds: number of seeds on which it held.
        failed_seeds: number of seeds on which it failed by numbers, not by NaN.
        failed: a boolean for each seed: whether it failed by numbers.
        p_value: of the statistical test, else None.
        level: level the p-value was compared with, else None.
    """

    name: str
    relation: str
    tolerance: str
    unit: str
    lhs: Side
    rhs: Side
    margin: list[float]
    held: bool
    held_seeds: int
    failed_seeds: int
    failed: list[bool]
    p_value: float | None = None
    level: float | None = None

    @property
    def refuted(self) -> bool:
        """Whether a statistical check was rejected by its test (not by NaN)."""
        return self.p_value is not None and self.level is not None and self.p_value < self.level


@dataclasses.dataclass(frozen=True)
class ControlResult:
    """A control over all seeds.

    Attributes:
        name: what was dropped or misprinted.
        fails: `"every"` or `"some"`.
        refuted: whether it failed as it must.
        failed_seeds: number of seeds on which it failed by numbers; all of them if a statistical check was rejected.
        checks: its checks.
    """

    name: str
    fails: str
    refuted: bool
    failed_seeds: int
    checks: list[CheckResult]


@dataclasses.dataclass(frozen=True)
class ClaimResult:
    """A claim over all seeds.

    Attributes:
        id: of the claim.
        title: of the claim.
        source: of the claim.
        statement: LaTeX.
        core: whether it belongs to the core set.
        statistical: whether it was judged by a test over the seeds.
        num_seeds: number of seeds it ran on.
        verdict: `"held"`, `"fell short"` or `"error"`.
        checks: its checks.
        controls: its controls.
        seconds: wall time, compilation included.
        error: the end of the traceback, if it raised.
        figure: SVG, if it has a figure and one was asked for.
    """

    id: str
    title: str
    source: str
    statement: str
    core: bool
    statistical: bool
    num_seeds: int
    verdict: str
    checks: list[CheckResult]
    controls: list[ControlResult]
    seconds: float
    error: str | None = None
    figure: str | None = None

    @property
    def held(self) -> bool:
        """Whether the claim held."""
        return self.verdict == HELD

    @property
    def passed(self) -> bool:
        """Whether the claim held and each of its controls, at least one, was refuted."""
        return self.held and bool(self.controls) and all(control.refuted for control in self.controls)
