"""The figure of the study of conditional-information bounds."""

from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style
from jaxgen.plotting.training import WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {"f_cmi": "f-CMI", "loss_difference_cmi": "loss difference", "single_loss_cmi": "single loss", "interpolating_risk": "interpolating risk"}
"""Bounds that are drawn; evaluated CMI is f-CMI for two classes."""


def cmi(results: dict[str, Any]) -> "Figure":
    """The gap and its bounds against the number of training examples, and their ratios.

    Args:
        results: the `results` of the study `cmi`.

    Returns:
        A matplotlib figure of two panels: raw estimates with dots, corrected ones with open circles.
    """
    from matplotlib.figure import Figure

    rows = results["sizes"]
    sizes = [row["n"] for row in rows]
    with style():
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        values, ratios = figure.subplots(1, 2)
        gaps = [row["gap"] for row in rows]
        values.errorbar(sizes, [gap["value"] for gap in gaps], [gap["stderr"] for gap in gaps], color="black", marker="s", label="gap")
        for (name, label), colour in zip(NAMES.items(), COLOURS, strict=False):
            width = 3 if name == "f_cmi" else 1
            for kind, line, marker in (("raw", "-", {"marker": "o"}), ("corrected", "--", {"marker": "o", "markerfacecolor": "white"})):
                found = [row["bounds"][name][kind] for row in rows]
                heights = [one["value"] for one in found]
                errors = [height - one["interval"][0] for height, one in zip(heights, found, strict=True)]
                drawn = {"color": colour, "linestyle": line, "linewidth": width, **marker}
                values.errorbar(sizes, heights, errors, elinewidth=1, label=label if kind == "raw" else None, **drawn)
                ratios.plot(sizes, [one["ratio"]["value"] for one in found], **drawn)
        chance = [row["bounds"]["f_cmi"]["raw"]["by_chance"] for row in rows]
        values.plot(sizes, chance, ":", color=COLOURS[4], label="f-CMI by chance")
        values.set(xlabel="training examples n", ylabel="gap and bounds", xscale="log", yscale="log", title="(a) raw (full), corrected (dashed)")
        ratios.axhline(1, color="black", linewidth=0.8)
        ratios.set(xlabel="training examples n", ylabel="bound / gap", xscale="log", ylim=(0, None), title="(b) ratio to the gap")
        for axes in (values, ratios):
            axes.set_xticks(sizes, [str(n) for n in sizes])
            axes.set_xticks([], minor=True)
        figure.legend(loc="outside lower center", ncols=6)
    return figure
