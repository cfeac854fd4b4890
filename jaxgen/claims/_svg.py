"""A strip plot of the two sides of a check: one line per seed, from its left side above to its right side below."""

import math
from collections.abc import Sequence

from jaxgen.claims._report import number
from jaxgen.claims._results import CheckResult

MAX_SEEDS = 150
"""Largest number of seeds drawn; more are thinned evenly."""

WIDTH, HEIGHT = 520, 92
LEFT, RIGHT = 16, 504
UPPER, LOWER, AXIS = 14, 50, 66
LOG_SPAN = 1e3
"""Ratio of largest to smallest positive value from which the axis is logarithmic."""


def strip_plot(check: CheckResult) -> str:
    """SVG with the values of both sides on each seed, on one axis; colours are the classes `lhs` and `rhs`."""
    pairs = list(zip(check.lhs.per_seed, check.rhs.per_seed, strict=True))
    finite = [pair for pair in pairs if all(map(math.isfinite, pair))]
    step = max(1, math.ceil(len(finite) / MAX_SEEDS))
    values = [value for pair in finite for value in pair]
    if not values:
        return '<p class="note">No seed has two finite sides.</p>'
    place, low, high, kind = _axis(values)
    links, dots = [], []
    for left, right in finite[::step]:
        x, y = place(left), place(right)
        links.append(f'<line x1="{x:.1f}" y1="{UPPER}" x2="{y:.1f}" y2="{LOWER}"/>')
        dots.append(f'<circle class="lhs" cx="{x:.1f}" cy="{UPPER}" r="3.2"/><circle class="rhs" cx="{y:.1f}" cy="{LOWER}" r="3.2"/>')
    label = f"left side (above) and right side (below) on {len(finite)} of {len(pairs)} seeds, from {number(low)} to {number(high)}"
    return (
        f'<svg class="strip" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<g class="links">{"".join(links)}</g>{"".join(dots)}'
        f'<line class="axis" x1="{LEFT}" y1="{AXIS}" x2="{RIGHT}" y2="{AXIS}"/>{_ticks(place, low, high)}'
        f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{kind}</text></svg>'
    )


def _axis(values: Sequence[float]):
    low, high = min(values), max(values)
    if low > 0 and high / low > LOG_SPAN:
        return _between(math.log(low), math.log(high), math.log), low, high, "log scale"
    return _between(low, high, lambda value: value), low, high, ""


def _between(low: float, high: float, scale):
    width = high - low
    if not math.isfinite(width) or width <= 1e-9 * max(abs(low), abs(high)):
        return lambda _: (LEFT + RIGHT) / 2
    return lambda value: LEFT + (RIGHT - LEFT) * (scale(value) - low) / width


def _ticks(place, low: float, high: float) -> str:
    places = [(low, "start"), (high, "end")] if place(low) != place(high) else [(low, "middle")]
    return "".join(
        f'<line class="axis" x1="{place(value):.1f}" y1="{AXIS}" x2="{place(value):.1f}" y2="{AXIS + 4}"/>'
        f'<text x="{place(value):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{number(value)}</text>'
        for value, anchor in places
    )
