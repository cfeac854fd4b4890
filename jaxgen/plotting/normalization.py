"""Figures of the study of scale-invariant nets."""

import math
from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style
from jaxgen.plotting.training import WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTHING = 5
"""Records averaged in a point of the test error."""


def scale_invariant(results: dict[str, Any], *, every: int = 1) -> "Figure":
    """Squared norm and effective learning rate along SGD with weight decay, and test error beside that of the exponential schedule.

    Args:
        results: the `results` of the study `scale-invariant`.
        every: steps between two records.

    Returns:
        A matplotlib figure of three panels.
    """
    from matplotlib.figure import Figure

    pairs = list(dict.fromkeys((run["learning_rate"], run["weight_decay"]) for run in results["runs"]))
    shown = {pair: run for run in results["runs"] if (pair := (run["learning_rate"], run["weight_decay"])) in pairs}
    with style():
        figure = Figure(figsize=(WIDTH, 2.75), layout="constrained")
        norms, rates, errors = figure.subplots(1, 3)
        for run in results["runs"]:
            pair = run["learning_rate"], run["weight_decay"]
            colour = COLOURS[pairs.index(pair) % len(COLOURS)]
            label = rf"$\eta = {pair[0]:g}$, $\lambda = {pair[1]:g}$" if run is shown[pair] else None
            squared = _mean(run["squared_norm"])
            steps = [every * t for t in range(len(squared))]
            norms.plot(steps, squared, color=colour, linewidth=0.9, label=label)
            rates.plot(steps, [pair[0] / value for value in squared], color=colour, linewidth=0.9)
            if run is shown[pair]:
                norms.axhline(sum(run["equilibrium"]) / len(run["equilibrium"]), color=colour, linestyle="--", linewidth=0.8)
        last = [*zip(shown.values(), COLOURS, strict=False), (results["control"], COLOURS[4])]
        for run, colour in last:
            for name, marks in (
                ("test_error", {"color": colour}),
                ("test_error_by_schedule", {"color": "black", "linestyle": ":", "linewidth": 0.9}),
            ):
                curve = _smooth(_mean(run[name]))
                errors.plot([every * SMOOTHING * (t + 0.5) for t in range(len(curve))], curve, **marks)
        errors.plot([], [], color=COLOURS[4], label="no normalization")
        norms.set(xlabel="step", ylabel=r"$\|w\|^2$", title=r"(a) norm and equilibrium (dashed)", yscale="log")
        rates.set(xlabel="step", ylabel=r"$\eta / \|w\|^2$", title="(b) effective learning rate", yscale="log")
        errors.set(xlabel="step", ylabel="test error", title="(c) decay (solid), schedule (dotted)", ylim=(0, 0.12))
        for axes in (norms, rates, errors):
            axes.ticklabel_format(axis="x", style="sci", scilimits=(3, 3), useMathText=True)
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def _mean(rows: list[list[float]]) -> list[float]:
    """Over seeds, of those that are finite."""
    columns = [[value for value in column if math.isfinite(value)] for column in zip(*rows, strict=True)]
    return [sum(column) / len(column) if column else math.nan for column in columns]


def _smooth(values: list[float]) -> list[float]:
    starts = range(0, len(values) - SMOOTHING + 1, SMOOTHING)
    return [sum(values[start : start + SMOOTHING]) / SMOOTHING for start in starts] or values
