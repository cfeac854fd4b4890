"""Figures of the studies of SGD as a stochastic process."""

from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style
from jaxgen.plotting.training import WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def svag(results: dict[str, Any]) -> "Figure":
    """Loss and accuracy of SVAG along training beside those of SGD, and how far from SGD each l ends.

    Args:
        results: the `results` of the study `svag`.

    Returns:
        A matplotlib figure of three panels.
    """
    from matplotlib.figure import Figure

    control = results["control"]
    with style():
        figure = Figure(figsize=(WIDTH, 2.75), layout="constrained")
        loss, accuracy, distance = figure.subplots(1, 3)
        series = [(f"SVAG, $l = {run['l']}$", run, "-") for run in results["runs"]]
        series = [("SGD", results["sgd"], "-"), *series, (rf"SGD, $\eta / {control['l']}$", control, ":")]
        for (label, run, line), colour in zip(series, COLOURS, strict=False):
            for axes, name in ((loss, "train_loss"), (accuracy, "test_accuracy")):
                axes.plot(results["times"], run["along"][name]["value"], line, color=colour, label=label)
            if run is not results["sgd"]:
                _point(distance, run["l"], run["minus_sgd"]["last"]["train_loss"], colour, "s" if run is control else "o")
        start, end = results["sgd"]["along"]["test_accuracy"]["value"][1], max(run["last"]["test_accuracy"]["value"] for _, run, _ in series)
        loss.set(xlabel=r"time $\eta k$", ylabel="training loss", yscale="log", title="(a) training loss")
        accuracy.set(xlabel=r"time $\eta k$", ylabel="test accuracy", title="(b) test accuracy", ylim=(start, end + 0.1 * (1 - start)))
        distance.axhline(0, color="black", linewidth=0.6)
        distance.set_xscale("log", base=2)
        distance.set_xticks([run["l"] for run in results["runs"]], [str(run["l"]) for run in results["runs"]])
        distance.minorticks_off()
        distance.set(xlabel="$l$", ylabel="training loss minus SGD's", title="(c) at the end, two standard errors")
        figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def scaling_rule(results: dict[str, Any]) -> "Figure":
    """Loss along training at matched times, and how far the scaled processes are from the one they stand for.

    Args:
        results: the `results` of the study `scaling-rule`.

    Returns:
        A matplotlib figure of three panels.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH, 2.75), layout="constrained")
        loss, distance, end = figure.subplots(1, 3)
        shown = results["linear"][:: max(1, len(results["linear"]) // 4)]
        for row, colour in zip(shown, COLOURS, strict=False):
            loss.plot(results["times"], row["along"]["train_loss"]["value"], color=colour, label=rf"$\kappa = {row['kappa']}$")
        last = [row["last"]["train_loss"]["value"] for row in results["linear"]]
        highest = results["linear"][0]["along"]["train_loss"]["value"][0]
        loss.set(xlabel=r"time $\eta k$", ylabel="training loss", yscale="log", title="(a) the linear rule", ylim=(min(last) / 6, 2 * highest))
        loss.legend(loc="lower left", ncols=2)
        for rule, label, colour, marker in (("linear", "linear rule", COLOURS[0], "o"), ("root", "square-root rule", COLOURS[1], "s")):
            rows = [row for row in results[rule] if row["kappa"] > 1]
            farthest = [row["minus_base"]["largest"]["train_loss"] for row in rows]
            distance.errorbar(
                [row["kappa"] for row in rows],
                [one["value"] for one in farthest],
                yerr=[2 * one["stderr"] for one in farthest],
                fmt=f"{marker}-",
                color=colour,
                label=label,
                capsize=2,
            )
            for row in rows:
                _point(end, row["kappa"], row["minus_base"]["last"]["train_loss"], colour, marker)
        distance.set(xlabel=r"$\kappa$", ylabel="difference of training loss", yscale="log", title="(b) where it is largest")
        distance.legend()
        end.axhline(0, color="black", linewidth=0.6)
        end.set(xlabel=r"$\kappa$", ylabel=r"training loss minus that at $\kappa = 1$", title="(c) at the end")
        end.set_yscale("symlog", linthresh=0.02)
        for axes in (distance, end):
            axes.set_xscale("log", base=2)
    return figure


def _point(axes: "Axes", x: float, estimate: dict[str, float], colour: str, marker: str) -> None:
    """A value with two standard errors."""
    axes.errorbar([x], [estimate["value"]], yerr=[2 * estimate["stderr"]], fmt=marker, color=colour, capsize=2)
