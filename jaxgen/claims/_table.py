"""Tables and the progress bar of the command line."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from jaxgen.claims import _report
from jaxgen.claims._registry import Claim, NotAClaim
from jaxgen.claims._results import ERROR, HELD, CheckResult, ClaimResult

PLAIN_WIDTH = 160
"""Width where the output is no terminal."""


def console(*, stderr: bool = False) -> Console:
    """A console that does not wrap at 80 columns where the output is no terminal."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def table(results: Sequence[ClaimResult]) -> Table:
    """One row per claim: both sides with their spread over the seeds, margin, verdict, and what became of its controls.

    Of a claim with several checks the first that failed is shown, or the first.
    """
    made = _empty_table()
    made.add_column("left side", justify="right", ratio=2)
    made.add_column("")
    made.add_column("right side", ratio=2)
    made.add_column("margin", justify="right", ratio=2)
    made.add_column("verdict", no_wrap=True)
    made.add_column("control", ratio=2)
    made.add_column("s", justify="right", no_wrap=True)
    for result in results:
        made.add_row(*_row(result))
    return made


def listing(items: Sequence[Claim | NotAClaim]) -> Table:
    """Every entry: title, set, number of seeds, and controls, or why it cannot be a claim."""
    made = _empty_table()
    made.add_column("set", no_wrap=True)
    made.add_column("seeds", justify="right", no_wrap=True)
    made.add_column("controls, or why it is no claim", ratio=4)
    for item in items:
        if isinstance(item, NotAClaim):
            made.add_row(item.id, Text(item.title), "-", "-", Text(item.reason, "italic"))
        else:
            controls = "; ".join(control.name for control in item.controls)
            made.add_row(item.id, Text(item.title), "core" if item.core else "full", str(item.num_seeds), Text(controls))
    return made


def details(results: Sequence[ClaimResult]) -> Iterator[Text]:
    """What went wrong, one paragraph for each claim that did not pass."""
    for result in results:
        if result.passed:
            continue
        lines = [f"{result.id}  {result.title}"]
        if result.error:
            lines += [f"    {line}" for line in result.error.splitlines()]
        lines += [f"    {_shortfall(check, result.num_seeds)}" for check in result.checks if not check.held]
        for control in result.controls:
            if not control.refuted:
                lines.append(
                    f"    control {control.name!r} was not refuted: it failed on {control.failed_seeds} of {result.num_seeds} seeds "
                    f"and must on {control.fails}" + "".join(f"; {_sides(check)}" for check in control.checks)
                )
        yield Text("\n".join(lines))


@contextlib.contextmanager
def progress(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """A bar on standard error, if that is a terminal; yields functions to call when a claim starts and when it ends."""
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", style="dim"))
    screen = Console(stderr=True)
    running: dict[str, None] = {}
    lock = threading.Lock()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def started(id: str) -> None:
            with lock:
                running[id] = None
                bar.update(task, description=" ".join(running))

        def ended(id: str) -> None:
            with lock:
                running.pop(id, None)
                bar.update(task, advance=1, description=" ".join(running))

        yield started, ended


def _empty_table() -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    made.add_column("id", no_wrap=True)
    made.add_column("claim", ratio=4)
    return made


def _row(result: ClaimResult) -> list[Text | str]:
    style = {HELD: "green", ERROR: "bold red"}.get(result.verdict, "bold red")
    first = [result.id, Text(result.title)]
    last = [Text(result.verdict, style), _controls(result), f"{result.seconds:.1f}"]
    if not result.checks:
        return [*first, "", "", "", "", *last]
    check = next((check for check in result.checks if not check.held), result.checks[0])
    sides = [_report.spread(check, "lhs"), check.relation, _report.spread(check, "rhs"), _report.margin(check)]
    return [*first, *sides, *last]


def _controls(result: ClaimResult) -> Text:
    missed = [control.name for control in result.controls if not control.refuted]
    if missed:
        return Text(f"NOT refuted: {', '.join(missed)}", "bold red")
    if not result.controls:
        return Text("")
    return Text("refuted" if len(result.controls) == 1 else f"{len(result.controls)} refuted", "green")


def _shortfall(check: CheckResult, num_seeds: int) -> str:
    name = f"{check.name!r} " if check.name else ""
    judged = f"rejected at level {check.level:.2g}" if check.level is not None else f"held on {check.held_seeds} of {num_seeds} seeds"
    return f"{name}{judged}: {_sides(check)}"


def _sides(check: CheckResult) -> str:
    tolerance = f" ({check.tolerance})" if check.tolerance else ""
    digits = 4 if _report.spread(check, "lhs") != _report.spread(check, "rhs") else 13
    left, right = (_report.spread(check, side, digits) for side in ("lhs", "rhs"))
    return f"{left} {check.relation} {right}{tolerance}, margin {_report.margin(check)}"
