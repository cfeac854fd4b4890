"""Figures of the studies of implicit bias."""

from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style
from jaxgen.plotting.training import WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def steepest(results: dict[str, Any]) -> "Figure":
    """Paths of steepest descent in l_{4/3} by step size, the norms of their ends, and the distances between them on random problems.

    Args:
        results: the `results` of the study `steepest`.

    Returns:
        A matplotlib figure of three panels.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    book, rates = results["book"], results["learning_rates"]
    shades = [colormaps["plasma"](0.85 * i / (len(rates) - 1)) for i in range(len(rates))]
    with style():
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        paths, norms, random = figure.subplots(1, 3)
        line = [i / 200 for i in range(-10, 101)]
        paths.plot(line, [5 - a / 2 for a in line], color="black", linewidth=0.6)
        norms.plot(line, [_norm(a) for a in line], color="black", linewidth=0.6)
        for rate, path, limit, colour in zip(rates, book["trajectories"], book["limits"], shades, strict=False):
            paths.plot([w[0] for w in path], [w[1] for w in path], color=colour, linewidth=0.8, label=rf"$\eta = {rate:g}$")
            _mark(paths, norms, limit, "o", colour)
        _mark(paths, norms, book["limits"][-1], "D", COLOURS[4], label=r"flow, $\eta \to 0$")
        _mark(paths, norms, book["least"], "*", COLOURS[2], label=r"least $\ell_{4/3}$ norm")
        _mark(paths, norms, book["euclidean_limits"][0], "s", COLOURS[0], label=r"every $\eta$ in $\ell_2$")
        _distances(random, results)
        paths.set(xlabel="$w_1$", ylabel="$w_2$", title="(a) paths to the solutions", xlim=(-0.05, 0.5))
        norms.set(xlabel="$w_1$ on the line of solutions", ylabel=r"$\ell_{4/3}$ norm", title="(b) where they end")
        random.set(xlabel=r"step size $\eta$", ylabel="relative size", title="(c) random problems", xscale="log", yscale="log", ylim=(1e-6, 10))
        figure.legend(*paths.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _norm(a: float) -> float:
    return (abs(a) ** (4 / 3) + abs(5 - a / 2) ** (4 / 3) + abs(4 + a / 2) ** (4 / 3)) ** 0.75


def _mark(paths: "Axes", norms: "Axes", w: list[float], marker: str, colour: Any, *, label: str | None = None) -> None:
    size = 8 if marker == "*" else 4
    paths.plot(w[0], w[1], marker, color=colour, markersize=size, label=label, linestyle="none")
    norms.plot(w[0], _norm(w[0]), marker, color=colour, markersize=size)


def _distances(axes: "Axes", results: dict[str, Any]) -> None:
    """Distance from the flow's limit for every problem, its mean, and beside it what the flow's norm exceeds the least by."""
    rates, means = results["learning_rates"], results["means"]
    for row in results["random"]["distance"]:
        axes.plot(rates, row[:-1], color=COLOURS[4], linewidth=0.3, alpha=0.5)
    axes.plot(rates, means["distance"]["value"][:-1], "o-", color=COLOURS[1], label="distance from the flow's limit")
    axes.axhline(means["excess"]["value"][-1], color=COLOURS[2], linestyle="--", linewidth=0.8, label="excess norm of that limit")
    axes.axhline(means["euclidean_spread"]["value"], color=COLOURS[0], linestyle=":", linewidth=0.8, label=r"spread in $\ell_2$ (rounding)")
    axes.legend(fontsize=6)


def margin(results: dict[str, Any]) -> "Figure":
    """Normalized margins over the largest ones against steps, a panel for each norm and a line for each descent, and all at the end.

    Args:
        results: the `results` of the study `margin`.

    Returns:
        A matplotlib figure of six panels.
    """
    from matplotlib.figure import Figure

    exponents, steps, measured = results["exponents"], results["steps"], results["measured"]
    with style():
        figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        panels = list(figure.subplots(2, 3).flat)
        for j, (axes, q) in enumerate(zip(panels, exponents, strict=False)):
            for i, (p, colour) in enumerate(zip(exponents, COLOURS, strict=False)):
                runs = [[at_step[j] for at_step in seed[i]] for seed in measured["ratios"]]
                columns = list(zip(*runs, strict=True))
                axes.fill_between(steps, [min(c) for c in columns], [max(c) for c in columns], color=colour, alpha=0.15, linewidth=0)
                label = _descent(p) if j == 0 else None
                axes.plot(steps, [sum(c) / len(c) for c in columns], color=colour, linewidth=2 if i == j else 1, label=label)
            own = list(zip(*(seed[j] for seed in measured["bounded"]), strict=True))
            label = "its own, bounded steps" if j == 0 else None
            axes.plot(steps, [sum(c) / len(c) for c in own], color=COLOURS[j], linestyle=":", linewidth=2, label=label)
            axes.axhline(1, color="black", linewidth=0.6)
            axes.set(xscale="log", ylim=(0, 1.05), xlabel="steps", title=f"({'abcde'[j]}) margin in {_norm_name(q)}")
            axes.set_ylabel("margin over the largest" if j % 3 == 0 else "")
        _ends(panels[-1], exponents, results["means"]["ratios"]["value"])
        figure.legend(loc="outside lower center", ncols=6)
    return figure


def _norm_name(exponent: str) -> str:
    return rf"$\ell_{{{exponent.replace('inf', chr(92) + 'infty')}}}$"


def _descent(exponent: str) -> str:
    return f"descent in {_norm_name(exponent)}"


def _ends(axes: "Axes", exponents: list[str], ratios: list) -> None:
    """The last ratios as a matrix of numbers, a row for each descent."""
    names = [_norm_name(exponent) for exponent in exponents]
    last = [row[-1] for row in ratios]
    axes.imshow(last, cmap="Blues", vmin=0, vmax=1.3)
    for i, row in enumerate(last):
        for j, value in enumerate(row):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, weight="bold" if i == j else "normal")
    axes.set(xticks=range(len(names)), xticklabels=names, yticks=range(len(names)), yticklabels=names)
    axes.set(xlabel="margin in", ylabel="descent in", title="(f) at the end")
    axes.grid(visible=False)


def rich_lazy(results: dict[str, Any]) -> "Figure":
    """Excess of the l1 and the l2 norm against the scale of the start for each depth, trained and predicted.

    Args:
        results: the `results` of the study `rich-lazy`.

    Returns:
        A matplotlib figure of two panels.
    """
    from matplotlib.figure import Figure

    titles = {"l1": r"(a) $\Vert w \Vert_1 / \min \Vert w \Vert_1 - 1$", "l2": r"(b) $\Vert w \Vert_2 / \min \Vert w \Vert_2 - 1$"}
    with style():
        figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
        panels = dict(zip(titles, figure.subplots(1, 2), strict=True))
        for (name, axes), (row, colour) in ((panel, pair) for panel in panels.items() for pair in zip(results["depths"], COLOURS, strict=False)):
            columns = list(zip(*row["predicted"][name], strict=True))
            axes.fill_between(row["predicted_alphas"], [min(c) for c in columns], [max(c) for c in columns], color=colour, alpha=0.2, linewidth=0)
            axes.plot(row["predicted_alphas"], row["means"]["predicted"][name]["value"], color=colour, label=f"depth {row['depth']}")
            trained = row["means"]["trained"][name]
            axes.errorbar(row["alphas"], trained["value"], yerr=trained["stderr"], fmt="o", color=colour, markerfacecolor="white", capsize=2)
        panels["l1"].errorbar([], [], fmt="o", color=COLOURS[4], markerfacecolor="white", label="trained")
        panels["l1"].plot([], [], color=COLOURS[4], label="least potential")
        for name, axes in panels.items():
            axes.set(xlabel=r"start $\alpha$", ylabel="excess", title=titles[name], xscale="log")
        panels["l1"].legend()
    return figure


def kkt(results: dict[str, Any]) -> "Figure":
    """KKT residuals and margins of trained nets against the logarithm of their loss, with those of the start and of the squared loss.

    Args:
        results: the `results` of the study `kkt`.

    Returns:
        A matplotlib figure of two panels.
    """
    from matplotlib.figure import Figure

    means, ends = results["means"], results["ends"]
    depths = [-value for value in means["log_loss"]["value"]]
    with style():
        figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
        residuals, margins = figure.subplots(1, 2)
        lines = (
            (residuals, "stationarity", "best multipliers"),
            (residuals, "loss_stationarity", "multipliers of the loss"),
            (margins, "normalized_margin", r"normalized, $\min_i y_i f_i / \Vert w \Vert^q$"),
            (margins, "smoothed_margin", r"smoothed, $-\log L / \Vert w \Vert^q$"),
        )
        for number, (axes, name, label) in enumerate(lines):
            value, stderr = means[name]["value"], means[name]["stderr"]
            low, high = ([v + sign * 2 * s for v, s in zip(value, stderr, strict=True)] for sign in (-1, 1))
            axes.fill_between(depths, low, high, color=COLOURS[number], alpha=0.2, linewidth=0)
            axes.plot(depths, value, "o-", color=COLOURS[number], markersize=2.5, label=label)
        for name, line, label in (("start", ":", "random start"), ("squared", "--", "squared loss")):
            residuals.axhline(ends[name]["value"], color=COLOURS[4], linestyle=line, label=label)
        residuals.set(xlabel=r"$-\log L$", ylabel="KKT residual", title="(a) distance from stationarity", xscale="log", ylim=(0, 1.02))
        margins.set(xlabel=r"$-\log L$", ylabel="margin", title="(b) margins", xscale="log", ylim=(0, None))
        residuals.legend()
        margins.legend()
    return figure
