"""Figures of the studies of SGD."""

from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.9
"""Inches across the text of a two-column paper."""


def sgd_bound(results: dict[str, Any]) -> "Figure":
    """The generalization gap, the bound for SGD and its terms, against label noise, width, and the size of the noise.

    Args:
        results: the `results` of the study `sgd-bound`.

    Returns:
        A matplotlib figure of three panels.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH, 2.75), layout="constrained")
        by_noise, by_width, terms = figure.subplots(1, 3)
        _gap_and_bounds(by_noise, results["by_label_noise"], "label_noise")
        by_noise.set(xlabel="label noise", ylabel="zero-one loss", title="(a) against label noise")
        by_noise.set_xticks([row["label_noise"] for row in results["by_label_noise"]])
        _gap_and_bounds(by_width, results["by_width"], "width")
        by_width.set_xscale("log", base=2)
        by_width.set_xticks([row["width"] for row in results["by_width"]], [str(row["width"]) for row in results["by_width"]])
        by_width.minorticks_off()
        by_width.set(xlabel="width", title="(b) against width")
        by_width.sharey(by_noise)
        _terms(terms, results["by_label_noise"][1])
        handles, labels = by_noise.get_legend_handles_labels()
        more_handles, more_labels = terms.get_legend_handles_labels()
        known = {label: handle for handle, label in zip(handles + more_handles, labels + more_labels, strict=True)}
        figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=4)
    return figure


def _gap_and_bounds(axes: "Axes", rows: list[dict[str, Any]], across: str) -> None:
    x = [row[across] for row in rows]
    series = [
        ("generalization gap", [row["gap"] for row in rows], "o-", COLOURS[0]),
        ("trajectory amplitude $A$, $R=1/2$", [row["amplitude"] for row in rows], "s--", COLOURS[2]),
        ("bound at its own noise, at 99%", [{"value": row["certified"]["with_sampling_error"], "stderr": 0} for row in rows], "D-", COLOURS[1]),
        ("heuristic (2), not a bound", [row["heuristic"]["value"] for row in rows], "^:", COLOURS[4]),
    ]
    for label, estimates, marks, colour in series:
        values, errors = [e["value"] for e in estimates], [2 * e["stderr"] for e in estimates]
        axes.errorbar(x, values, yerr=errors, fmt=marks, color=colour, label=label, capsize=2, markersize=3.5)
    axes.axhline(1, color="black", linewidth=0.6)
    axes.annotate("vacuous above", (0.98, 1), xycoords=("axes fraction", "data"), xytext=(0, 2), textcoords="offset points", ha="right", fontsize=7)
    axes.set_yscale("log")


def _terms(axes: "Axes", row: dict[str, Any]) -> None:
    rows = sorted([*row["by_noise_std"], row["certified"]], key=lambda at: at["noise_std"])
    noise = [at["noise_std"] for at in rows]
    axes.plot(noise, [at["total"]["value"] for at in rows], color=COLOURS[1], label="sum of both terms")
    axes.plot(noise, [at["trajectory"] for at in rows], "--", color=COLOURS[3], label="trajectory term")
    axes.plot(noise, [at["flatness_two_sided"] for at in rows], "-.", color=COLOURS[5], label="flatness term, two-sided")
    axes.axhline(row["population_gap"]["value"], color=COLOURS[0], label="gap on the population")
    axes.axhline(1, color="black", linewidth=0.6)
    axes.set(xscale="log", yscale="log", xlabel=r"noise $\sigma$ a step", title=f"(c) its terms, label noise {row['label_noise']:g}")
    lowest = min(at["flatness_two_sided"] for at in rows if at["flatness_two_sided"] > 0)
    axes.set_ylim(bottom=max(lowest / 2, 1e-4))


def dispersion(results: dict[str, Any], *, every: int = 1) -> "Figure":
    """Gradient dispersion along training with the errors beside it: the first steps, and the whole run.

    Args:
        results: the `results` of the study `dispersion`.
        every: steps between two records of the whole run.

    Returns:
        A matplotlib figure of three panels.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        early, late, errors = figure.subplots(1, 3)
        for run, colour in zip([*results["runs"], results["control"]], COLOURS, strict=False):
            label = f"label noise {run['label_noise']:g}" + ("" if run is not results["control"] else f", step size {run['learning_rate']:g}")
            binned = _binned(run["late"]["dispersion"], 10)
            early.plot(*_binned(run["early"]["dispersion"], 10), color=colour, label=label)
            late.plot([t * every for t in binned[0]], binned[1], color=colour)
            if run["phases"]["interior_peak"]:
                late.plot(run["phases"]["t_peak"], run["phases"]["peak"], "v", color=colour)
            steps = [t * every for t in range(len(run["late"]["train_error"]))]
            errors.plot(steps, run["late"]["train_error"], color=colour)
            errors.plot(steps, run["late"]["test_error"], ":", color=colour)
        early.set(xlabel="step", ylabel="gradient dispersion", title="(a) the first steps", ylim=(0, None))
        late.set(xlabel="step", title="(b) the whole run", ylim=(0, None))
        errors.set(xlabel="step", ylabel="zero-one error", title="(c) training (solid), test (dotted)", ylim=(0, 1))
        for axes in (late, errors):
            axes.ticklabel_format(axis="x", style="sci", scilimits=(3, 3), useMathText=True)
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def _binned(values: list[float], width: int) -> tuple[list[float], list[float]]:
    starts = range(0, len(values) - width + 1, width)
    return [start + width / 2 for start in starts], [sum(values[start : start + width]) / width for start in starts]
