"""A run as a document: JSON, and what the table and the page have in common."""

import dataclasses
import json
import math
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxgen.claims._registry import Claim, NotAClaim
from jaxgen.claims._results import ERROR, FELL_SHORT, CheckResult, ClaimResult, Side
from jaxgen.claims._runner import FAMILY_WISE_LEVEL, level_per_claim

FORMAT = 1


@dataclasses.dataclass
class Run:
    """What was asked for and what came out so far.

    Attributes:
        claims: what is run, by chapter and number.
        not_claims: entries that cannot be claims.
        configuration: arguments of the run.
        results: results so far, in the order in which they came.
        seconds: wall time so far.
    """

    claims: Sequence[Claim]
    not_claims: Sequence[NotAClaim]
    configuration: dict[str, Any]
    results: list[ClaimResult] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def ordered(self) -> list[ClaimResult]:
        """Results by chapter and number."""
        place = {claim.id: i for i, claim in enumerate(self.claims)}
        return sorted(self.results, key=lambda result: place[result.id])

    @property
    def complete(self) -> bool:
        """Whether every claim has its result."""
        return len(self.results) == len(self.claims)

    @property
    def passed(self) -> bool:
        """Whether every claim held and every control was refuted."""
        return self.complete and all(result.passed for result in self.results)

    @property
    def level(self) -> float:
        """Level of each statistical claim."""
        return level_per_claim(self.claims)


def counts(run: Run) -> dict[str, int]:
    """Numbers of the summary."""
    controls = [control for result in run.results for control in result.controls]
    return {
        "claims": len(run.claims),
        "finished": len(run.results),
        "held": sum(result.held for result in run.results),
        "fell_short": sum(result.verdict == FELL_SHORT for result in run.results),
        "errors": sum(result.verdict == ERROR for result in run.results),
        "controls": len(controls),
        "refuted": sum(control.refuted for control in controls),
        "statistical": sum(claim.statistical for claim in run.claims),
    }


def summary(run: Run) -> list[str]:
    """The summary in sentences."""
    n = counts(run)
    lines = [f"{n['held']} of {n['finished']} claims held, {n['refuted']} of {n['controls']} controls refuted, in {run.seconds:.0f} s"]
    if n["fell_short"] or n["errors"]:
        lines[0] += f"; {n['fell_short']} fell short, {n['errors']} ended in an error"
    if not run.complete:
        lines.append(f"Interrupted: {n['claims'] - n['finished']} of {n['claims']} claims did not finish")
    least, most = (f([result.num_seeds for result in run.results], default=0) for f in (min, max))
    seeds = f"{least}" if least == most else f"{least} to {most}"
    share = f", {run.level:.2g} for each statistical claim ({n['statistical']} of them, Bonferroni)" if n["statistical"] else ""
    lines.append(f"{seeds} seeds a claim; family-wise level {FAMILY_WISE_LEVEL:g}{share}")
    lines.append(", ".join(f"{name} {number}" for name, number in versions().items()) + ", float64")
    return lines


def versions() -> dict[str, str]:
    """Versions that the numbers may depend on."""
    packages = ("jaxgen", "jax", "jaxlib", "numpy")
    return {name: version(name) for name in packages} | {"python": platform.python_version()}


def number(value: float, digits: int = 4) -> str:
    """A number for people."""
    if not math.isfinite(value):
        return str(value).replace("inf", "∞")
    return f"{value:.{digits}g}"


def spread(result: CheckResult, side: str, digits: int = 4) -> str:
    """One side for people: mean and standard deviation over seeds, or for an array its range."""
    found: Side = getattr(result, side)
    if found.shape and found.low != found.high:
        return f"{number(found.low, digits - 1)} … {number(found.high, digits - 1)}"
    if not math.isfinite(found.sd) or found.sd <= 1e-12 * abs(found.mean):
        return number(found.mean, digits)
    decimals = min(max(0, 1 - math.floor(math.log10(found.sd))), 12)
    if abs(found.mean) >= 1e5 or decimals > 6:
        return f"{number(found.mean)} ± {number(found.sd, 2)}"
    return f"{found.mean:.{decimals}f} ± {found.sd:.{decimals}f}"


def margin(result: CheckResult) -> str:
    """By how much a check holds, for people: the worst seed, or the p-value of its test."""
    if result.p_value is not None:
        return f"p = {number(result.p_value, 2)}"
    worst = min(result.margin, key=lambda value: -math.inf if math.isnan(value) else value)
    if result.tolerance == "exact":
        return "exact" if result.held else "not exact"
    if result.unit == "parts of the tolerance" and math.isfinite(worst):
        return f"{number(1 - worst, 2)} of tolerance"
    return number(worst, 3)


def to_json(run: Run) -> str:
    """The whole run; numbers that are not finite are the strings "inf", "-inf" and "nan"."""
    document = {
        "format": FORMAT,
        "versions": versions(),
        "configuration": run.configuration | {"family_wise_level": FAMILY_WISE_LEVEL, "level_per_statistical_claim": run.level},
        "complete": run.complete,
        "passed": run.passed,
        "seconds": run.seconds,
        "counts": counts(run),
        "claims": [dataclasses.asdict(result) | {"passed": result.passed} for result in run.ordered],
        "not_claims": [dataclasses.asdict(item) for item in run.not_claims],
    }
    return json.dumps(_finite(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raises `ValueError` if a file cannot be written at `path`."""
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        write(path.with_name(f".{path.name}.probe"), "")
        path.with_name(f".{path.name}.probe").unlink()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
