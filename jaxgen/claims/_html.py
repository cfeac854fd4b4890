"""A run as one self-contained page: statements as MathML, sides as strip plots, style inline, nothing fetched."""

import datetime
import functools
import itertools
import re
from html import escape

from jaxgen._core.style_sheet import STYLE
from jaxgen.claims import _report
from jaxgen.claims._report import Run
from jaxgen.claims._results import CheckResult, ClaimResult, ControlResult
from jaxgen.claims._svg import strip_plot


def page(run: Run) -> str:
    """HTML of a run."""
    results = run.ordered
    lines = [f"<p>{escape(line)}.</p>" for line in _report.summary(run)]
    verdict = "Every claim held and every control was refuted." if run.passed else "Not everything passed."
    if not run.complete:
        verdict = "The run was interrupted."
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>jaxgen verify</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<header><h1>Theorems, run</h1><p class='lead {_tone(run.passed)}'>{verdict}</p>{''.join(lines)}",
            f"<p class='note'>{datetime.datetime.now():%d %B %Y, %H:%M}. Each strip shows one line per seed, from its "
            "<span class='lhs'>left side</span> above to its <span class='rhs'>right side</span> below; of an array, the element with the "
            "smallest margin. A control is the same check with an assumption dropped or a formula misprinted: it must fail.</p></header>",
            _overview(results),
            *itertools.chain.from_iterable(
                [f"<h2>{escape(chapter)}</h2>", *map(_article, group)]
                for chapter, group in itertools.groupby(results, key=lambda result: result.id.split("-")[0])
            ),
            _not_claims(run),
            "</body>\n</html>\n",
        ]
    )


def typeset(statement: str) -> str:
    """A statement as HTML: a formula, or prose with formulas between dollar signs; what cannot be typeset is shown as it is."""
    if "$" not in statement:
        return f'<div class="formula">{_mathml(statement, "block")}</div>'
    parts = re.split(r"\$([^$]+)\$", statement)
    typeset_parts = [_mathml(part, "inline") if i % 2 else escape(part) for i, part in enumerate(parts)]
    return f'<p class="prose">{"".join(typeset_parts)}</p>'


@functools.cache
def _mathml(latex: str, display: str) -> str:
    from latex2mathml import converter

    try:
        converted = converter.convert(latex, display=display)
    except Exception:
        return f"<code>{escape(latex)}</code>"
    return re.sub(r' xmlns="[^"]*"', "", converted)


def _overview(results: list[ClaimResult]) -> str:
    head = "<th>claim</th><th></th><th class='n'>margin</th><th>verdict</th><th>controls</th><th class='n'>s</th>"
    rows = []
    for result in results:
        shown = next((check for check in result.checks if not check.held), result.checks[0] if result.checks else None)
        refuted, number = sum(control.refuted for control in result.controls), len(result.controls)
        controls = _badge("refuted" if refuted == number == 1 else f"{refuted} of {number} refuted", refuted == number) if number else ""
        rows.append(
            f"<tr><td class='id'><a href='#{result.id}'>{result.id}</a></td><td>{escape(result.title)}</td>"
            f"<td class='n'>{escape(_report.margin(shown)) if shown else ''}</td><td>{_badge(result.verdict, result.held)}</td>"
            f"<td>{controls}</td><td class='n'>{result.seconds:.1f}</td></tr>"
        )
    return f"<div class='wide'><table class='overview'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _article(result: ClaimResult) -> str:
    parts = [
        f"<article id='{result.id}'><h3><span class='id'>{result.id}</span> {escape(result.title)} {_badge(result.verdict, result.held)}</h3>",
        typeset(result.statement),
        f"<p class='source'>{escape(result.source)}. {result.num_seeds} seeds, {result.seconds:.1f} s.</p>",
    ]
    if result.error:
        parts.append(f"<pre>{escape(result.error)}</pre>")
    parts += [_check(check, result.num_seeds, check.held) for check in result.checks]
    parts += [_control(control, result.num_seeds) for control in result.controls]
    if result.figure:
        parts.append(f"<figure>{result.figure}</figure>")
    return "\n".join([*parts, "</article>"])


def _control(control: ControlResult, num_seeds: int) -> str:
    must = "on every seed" if control.fails == "every" else "on some seed"
    verdict = "refuted" if control.refuted else "not refuted"
    checks = "".join(_check(check, num_seeds, None) for check in control.checks)
    return (
        f"<section class='control'><h4>Control: {escape(control.name)} {_badge(verdict, control.refuted)}</h4>"
        f"<p class='note'>Must fail {must}; failed on {control.failed_seeds} of {num_seeds}.</p>{checks}</section>"
    )


def _check(check: CheckResult, num_seeds: int, good: bool | None) -> str:
    rows = [
        ("<span class='lhs'>left side</span>", _report.spread(check, "lhs")),
        ("<span class='rhs'>right side</span>", _report.spread(check, "rhs")),
        ("margin", _margin(check)),
    ]
    if check.p_value is None:
        rows.append(("held on", f"{check.held_seeds} of {num_seeds} seeds"))
    if check.lhs.shape:
        rows.append(("shape", " × ".join(map(str, check.lhs.shape))))
    cells = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    tolerance = f", {escape(check.tolerance)}" if check.tolerance else ""
    name = f"{escape(check.name)}: " if check.name else ""
    tone = "" if good is None else f" {_tone(good)}"
    caption = f"<p class='relation{tone}'>{name}left {escape(check.relation)} right{tolerance}</p>"
    return f"<div class='check'>{caption}{strip_plot(check)}<dl>{cells}</dl></div>"


def _margin(check: CheckResult) -> str:
    if check.p_value is not None and check.level is not None:
        return f"{_report.margin(check)}, level {check.level:.2g}"
    unit = "" if check.unit in ("units of the sides", "parts of the tolerance") else f" ({check.unit})"
    return _report.margin(check) + unit


def _not_claims(run: Run) -> str:
    if not run.not_claims:
        return ""
    items = "".join(f"<dt><span class='id'>{item.id}</span> {escape(item.title)}</dt><dd>{escape(item.reason)}</dd>" for item in run.not_claims)
    return f"<h2>Entries that are no numerical claim</h2><dl class='reasons'>{items}</dl>"


def _badge(text: str, good: bool) -> str:
    return f"<span class='badge {_tone(good)}'>{escape(text)}</span>"


def _tone(good: bool) -> str:
    return "good" if good else "bad"
