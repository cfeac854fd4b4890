"""A report as one self-contained page."""

import math
from html import escape

from jaxgen._core.style_sheet import STYLE
from jaxgen.bounds.report.results import BoundReport, Row, shown

WIDTH, LEFT, RIGHT, HEIGHT = 860, 250, 90, 26
LOWEST = 1e-3
BARS = """
.bars { width: 100%; height: auto; display: block; font-family: system-ui, sans-serif; }
.bars text { fill: var(--ink); font-size: 13px; } .bars .soft { fill: var(--soft); }
.bars .certified { fill: var(--lhs); } .bars .other { fill: var(--rhs); } .bars .vacuous { fill: var(--soft); fill-opacity: .35; }
.bars line { stroke: var(--rule); } .bars .test { stroke: var(--good); stroke-width: 2; } .bars .one { stroke: var(--bad); stroke-dasharray: 4 3; }
"""


def page(report: BoundReport) -> str:
    """HTML of a report.

    Args:
        report: what was found.
    """
    lead = f"Test error {report.test_error:.4f}, training error {report.train_error:.4f}, gap {report.gap:.4f}."
    about = f"{report.num_parameters:,} parameters; {report.n:,} training and {report.n_test:,} test examples. {report.confidence}"
    legend = (
        "Blue bars are theorems under their assumptions, orange ones stand on a quantity that was measured on the sample, and grey ones "
        "are vacuous: they say no more than that a risk is at most one. The green line is the test error, the red one 1."
    )
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>jaxgen report</title>\n<style>{STYLE}{BARS}</style>\n</head>\n<body>",
            f"<header><h1>Generalization bounds</h1><p class='lead'>{lead}</p><p>{about}</p><p class='note'>{legend}</p></header>",
            f"<div class='wide'>{_bars(report)}</div>",
            _rows(report),
            _measures(report),
            "</body>\n</html>\n",
        ]
    )


def _bars(report: BoundReport) -> str:
    """Bars from left to the bound, on a logarithmic scale."""
    rows = [row for row in report.rows if not row.refused]
    largest = max([2.0, *(row.value for row in rows if math.isfinite(row.value))])
    lowest = min([LOWEST, *(0.5 * value for value in (report.test_error, *(row.value for row in rows)) if value > 0)])
    low, span = math.log10(lowest), math.log10(2 * largest) - math.log10(lowest)

    def place(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1, max(0.0, (math.log10(max(value, lowest)) - low) / span))

    height = HEIGHT * len(rows) + 40
    parts = [f"<svg class='bars' viewBox='0 0 {WIDTH} {height}' role='img' aria-label='bounds on a logarithmic scale'>"]
    ticks = list(range(math.ceil(low), math.floor(low + span) + 1))
    for k in ticks[:: -(-len(ticks) // 10)]:
        parts.append(f"<line x1='{place(10**k):.1f}' x2='{place(10**k):.1f}' y1='0' y2='{height - 24}'/>")
        parts.append(f"<text class='soft' x='{place(10**k):.1f}' y='{height - 8}' text-anchor='middle'>{10**k:g}</text>")
    for i, row in enumerate(rows):
        y, end = HEIGHT * i, place(row.value if math.isfinite(row.value) else 2 * largest)
        tone = "vacuous" if row.vacuous else "certified" if row.certified else "other"
        parts.append(f"<text x='{LEFT - 8}' y='{y + 17}' text-anchor='end'>{escape(row.title)}</text>")
        parts.append(f"<rect class='{tone}' x='{LEFT}' y='{y + 4}' width='{end - LEFT:.1f}' height='{HEIGHT - 8}'/>")
        parts.append(f"<text x='{end + 6:.1f}' y='{y + 17}'>{shown(row.value)}</text>")
    for value, tone in ((report.test_error, "test"), (1.0, "one")):
        parts.append(f"<line class='{tone}' x1='{place(value):.1f}' x2='{place(value):.1f}' y1='0' y2='{height - 24}'/>")
    return "".join([*parts, "</svg>"])


def _rows(report: BoundReport) -> str:
    head = "<th>bound</th><th>on the risk of</th><th class='n'>value</th><th></th>"
    body = []
    for row in report.rows:
        value, status = ("", row.refused) if row.refused else (shown(row.value), row.status)
        tone = " class='note'" if row.refused or row.vacuous else ""
        body.append(f"<tr{tone}><td>{escape(row.title)}</td><td>{escape(row.of)}</td><td class='n'>{value}</td><td>{escape(status)}</td></tr>")
    table = f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    return table + "<h2>What each stands on</h2>" + "".join(_article(row) for row in report.rows if not row.refused)


def _article(row: Row) -> str:
    terms = "".join(f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{value:.4g}</dd>" for name, value in row.terms.items())
    assumptions = "".join(f"<li>{escape(text)}</li>" for text in row.assumptions)
    return (
        f"<article><h3>{escape(row.title)}: {shown(row.value)}</h3><p class='source'>{escape(row.source)}; on the risk of {escape(row.of)}; "
        f"{escape(row.status)}.</p><dl>{terms}</dl><ul class='note'>{assumptions}</ul></article>"
    )


def _measures(report: BoundReport) -> str:
    if not report.measures:
        return ""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{value:.5g}</dd>" for name, value in report.measures.items())
    return f"<h2>Complexity measures</h2><p class='note'>For comparing nets, not bounds.</p><dl>{items}</dl>"
