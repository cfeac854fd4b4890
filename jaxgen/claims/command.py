"""`jaxgen verify`: selection, workers, progress, reports, exit status."""

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

import jax

from jaxgen._core.checks import require
from jaxgen._core.machine import cores
from jaxgen.claims import _report, _table
from jaxgen.claims._chapters import load
from jaxgen.claims._workers import run_in_workers

INTERRUPTED = 130


def show_list(modules: Iterable[str] = ()) -> int:
    """Prints every entry, and returns the exit status 0."""
    _table.console().print(_table.listing(load(modules).ordered()))
    return 0


def verify(
    *,
    only: Iterable[str] = (),
    full: bool = False,
    num_seeds: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    json: Path | None = None,
    html: Path | None = None,
    modules: Iterable[str] = (),
) -> int:
    """Runs claims in worker processes and reports on them.

    The JSON file is replaced after every claim, so that what is done survives any end of this process.

    Returns:
        The exit status: 0 if every claim held and every control was refuted, 1 if not, 130 after an interrupt.

    Raises:
        ValueError: if `only` names an unknown claim, or a file cannot be written; nothing has been run then.
    """
    with jax.enable_x64(True):
        registry = load(modules)
    claims = registry.select(only, full=full)
    require(bool(claims), "there is no claim to run")
    for path in (json, html):
        if path is not None:
            _report.check_writable(path)
    workers = min(workers or cores(), len(claims))
    configuration = {
        "only": list(only),
        "full": full,
        "num_seeds": num_seeds,
        "seed": seed,
        "workers": workers,
        "modules": list(modules),
        "precision": "float64",
    }
    run = _report.Run(claims, list(registry.not_claims.values()), configuration)
    options = {"num_seeds": num_seeds, "seed": seed, "level": run.level, "figure": html is not None}
    start = time.perf_counter()
    try:
        with _table.progress(len(claims)) as (started, ended), contextlib.closing(run_in_workers(claims, workers, options, started)) as results:
            for result in results:
                run.results.append(result)
                run.seconds = time.perf_counter() - start
                ended(result.id)
                if json is not None:
                    _report.write(json, _report.to_json(run))
    except KeyboardInterrupt:
        run.seconds = time.perf_counter() - start
    _print(run)
    if json is not None:
        _report.write(json, _report.to_json(run))
    if html is not None:
        from jaxgen.claims._html import page

        _report.write(html, page(run))
    return INTERRUPTED if not run.complete else int(not run.passed)


def _print(run: _report.Run) -> None:
    out = _table.console()
    out.print(_table.table(run.ordered))
    for text in _table.details(run.ordered):
        out.print()
        out.print(text, soft_wrap=True)
    out.print()
    for line in _report.summary(run):
        out.print(line, soft_wrap=True)
