"""Figures of the studies of optimization."""

import math
from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style
from jaxgen.plotting.training import WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def edge_of_stability(results: dict[str, Any], *, every: int = 1, loss_every: int = 1) -> "Figure":
    """Sharpness along full-batch gradient descent with 2/eta beside it, the loss, and where each run settles.

    Args:
        results: the `results` of the study `edge-of-stability`.
        every: steps between two records of the sharpness.
        loss_every: steps between two records of the loss.

    Returns:
        A matplotlib figure of three panels.
    """
    from matplotlib.figure import Figure

    runs = [*results["runs"], results["control"]]
    with style():
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        sharpness, loss, settled = figure.subplots(1, 3)
        for run, colour in zip(runs, COLOURS, strict=False):
            _sharpness(sharpness, run, every, colour)
            steps = [t * loss_every for t in range(len(run["loss"]))]
            loss.plot(steps, run["loss"], color=colour, linewidth=0.8)
            settled.plot([run["threshold"]] * len(run["settled"]), run["settled"], "o", color=colour, markersize=3, alpha=0.6)
        top = 1.35 * max(run["threshold"] for run in results["runs"])
        sharpness.set(xlabel="step", ylabel=r"sharpness $\lambda$", title=r"(a) sharpness and $2/\eta$ (dashed)", ylim=(0, top))
        loss.set(xlabel="step", ylabel="training loss", title="(b) loss of one seed", yscale="log")
        finite = [value for run in runs for value in run["settled"] if math.isfinite(value)]
        thresholds = [run["threshold"] for run in runs]
        ends = [min(finite + thresholds) / 1.5, 1.5 * max(thresholds)]
        settled.plot(ends, ends, "--", color="black", linewidth=0.8)
        settled.set(xlabel=r"$2/\eta$", ylabel=r"settled $\lambda$", title="(c) where it settles", xscale="log", yscale="log", xlim=ends, ylim=ends)
        for axes in (sharpness, loss):
            axes.ticklabel_format(axis="x", style="sci", scilimits=(3, 3), useMathText=True)
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def _sharpness(axes: "Axes", run: dict[str, Any], every: int, colour: str) -> None:
    """The mean over seeds, their range, and the threshold."""
    columns = list(zip(*run["sharpness"], strict=True))
    steps = [t * every for t in range(len(columns))]
    means = [sum(column) / len(column) for column in columns]
    axes.fill_between(steps, [min(column) for column in columns], [max(column) for column in columns], color=colour, alpha=0.2, linewidth=0)
    axes.plot(steps, means, color=colour, label=rf"$\eta = {run['learning_rate']:g}$")
    axes.axhline(run["threshold"], color=colour, linestyle="--", linewidth=0.8)
