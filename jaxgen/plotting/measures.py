"""Figures of complexity measures."""

from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style
from jaxgen.plotting.training import WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_SHOWN = 3
"""Measures at either end of the ranking that get a panel of their own."""


def measures(results: dict[str, Any]) -> "Figure":
    """Rank correlation of every measure with the generalization gap, and the gap against the best and the worst of them.

    Args:
        results: the `results` of the study `measures`.

    Returns:
        A matplotlib figure: bars of Kendall's tau with marks of its mean over hyperparameters, and six scatter plots in which
        nets are coloured by label noise.
    """
    from matplotlib.figure import Figure

    tau = {name: found["value"] for name, found in results["kendall"].items()}
    names = sorted(tau, key=lambda name: tau[name])
    with style():
        figure = Figure(figsize=(WIDTH, max(4.0, 0.13 * len(names) + 0.8)), layout="constrained")
        halves = figure.add_gridspec(1, 2, width_ratios=(1, 1.2))
        bars, right = figure.add_subfigure(halves[0]).subplots(), figure.add_subfigure(halves[1])
        places = range(len(names))
        bars.barh(places, [tau[name] for name in names], xerr=[results["kendall"][name]["stderr"] for name in names], color=COLOURS[0], height=0.7)
        bars.plot([results["granulated"][name]["value"] for name in names], places, "D", color=COLOURS[1], markersize=2.5, label="mean over axes")
        bars.axvline(0, color="black", linewidth=0.5)
        bars.set(xlabel="Kendall's tau", ylim=(-0.7, len(names) - 0.3), xlim=(-1, 1))
        bars.set_yticks(places, names, fontsize=5)
        bars.legend(loc="lower right", fontsize=6)
        shown = [*reversed(names[-NUM_SHOWN:]), *names[:NUM_SHOWN]]
        noises = sorted({row[-1] for row in results["grid"]})
        for axes, name in zip(right.subplots(NUM_SHOWN, 2).T.ravel(), shown, strict=False):
            for noise, colour in zip(noises, COLOURS, strict=False):
                chosen = [i for i, row in enumerate(results["grid"]) if row[-1] == noise]
                pairs = [
                    (value[i], gap[i])
                    for value, gap in zip(results["measured"]["measures"][name], results["measured"]["gap"], strict=True)
                    for i in chosen
                ]
                axes.plot(*zip(*pairs, strict=True), "o", color=colour, alpha=0.6, markersize=2, label=f"noise {noise:g}")
            axes.set_title(name, fontsize=6)
            axes.tick_params(labelsize=5)
            axes.set_ylabel("gap", fontsize=6)
        right.axes[0].legend(fontsize=5)
    return figure
