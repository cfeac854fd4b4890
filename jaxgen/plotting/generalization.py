"""Figures of the studies of generalization bounds."""

from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style
from jaxgen.plotting.training import WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def uniform_convergence(results: dict[str, Any]) -> "Figure":
    """Errors of the classifier of a sample and of its flipped twin against junk, and bounds against the number of examples.

    Args:
        results: the `results` of the study `uniform-convergence`.

    Returns:
        A matplotlib figure of three panels.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        junk, sizes, images = figure.subplots(1, 3)
        for name, colour, label in (("ratios", COLOURS[0], ""), ("printed", COLOURS[4], ", c = 1")):
            part = results[name]
            ratios = [d / m for d, m in zip(part["num_junk"], part["m"], strict=True)]
            _band(junk, ratios, part["measured"]["test"], color=colour, linestyle="--", label=f"test error{label}")
            _band(junk, ratios, part["measured"]["flip_train"], color=colour, marker="o", label=f"twin's error on the sample{label}")
            for error in ("test", "flip_train"):
                junk.plot(ratios, part["predicted"][error], color=COLOURS[1], linewidth=0.8, linestyle=":")
        junk.plot([], [], color=COLOURS[1], linewidth=0.8, linestyle=":", label="to leading order")
        junk.set(xlabel="junk coordinates D / m", ylabel="error", title="(a) more junk", xscale="log", ylim=(-0.03, 1.03))
        _against_size(sizes, results["sizes"], f"(b) more examples, D = {results['sizes']['num_junk'][0] // results['sizes']['m'][0]} m")
        _against_size(images, results["images"], "(c) images as the signal")
        handles, labels = junk.get_legend_handles_labels()
        more_handles, more_labels = sizes.get_legend_handles_labels()
        figure.legend(handles + more_handles, labels + more_labels, loc="outside lower center", ncols=3)
    return figure


def _against_size(axes: "Axes", part: dict[str, Any], title: str) -> None:
    """The gap on the sample, that of the twin, and the bounds of norm balls, on a logarithmic scale of m."""
    sizes, measured = part["m"], part["measured"]
    gaps = {
        name: [[abs(a - b) for a, b in zip(*rows, strict=True)] for rows in zip(measured[f"{name}test"], measured[f"{name}train"], strict=True)]
        for name in ("", "flip_")
    }
    _band(axes, sizes, gaps[""], color=COLOURS[2], label="gap")
    _band(axes, sizes, gaps["flip_"], color=COLOURS[3], marker="s", label="twin's gap, below any uniform bound")
    _band(axes, sizes, measured["bound"], color=COLOURS[5], label="risk bound of the norm ball")
    _band(axes, sizes, measured["pruned_bound"], color=COLOURS[5], linestyle="--", label="the same, pruned")
    axes.set(xlabel="examples m", ylabel="gap, bound", title=title, xscale="log", ylim=(-0.1, None))
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()


def _band(axes: "Axes", x: list[float], rows: list[list[float]], **options: Any) -> None:
    """The mean over seeds and their range."""
    columns = list(zip(*rows, strict=True))
    axes.fill_between(x, [min(column) for column in columns], [max(column) for column in columns], color=options["color"], alpha=0.2, linewidth=0)
    axes.plot(x, [sum(column) / len(column) for column in columns], **options)
