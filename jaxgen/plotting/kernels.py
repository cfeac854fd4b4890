"""Figures of the studies of kernels."""

from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style
from jaxgen.plotting.training import WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


NETS: dict[str, Any] = {"net": ":", "lazy": (0, (4, 3))}
"""Line styles of the two nets of the study `ntk-alignment`."""


def kernel_regression(results: dict[str, Any]) -> "Figure":
    """Test error of regression with an infinite net's kernel against the number of training images.

    Args:
        results: the `results` of the study `kernel-regression`.

    Returns:
        A matplotlib figure of one panel.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH / 2, 2.6), layout="constrained")
        axes = figure.subplots()
        sizes = [row["n"] for row in results["sizes"]]
        for row in results["sizes"]:
            axes.plot([row["n"]] * len(row["random"]), [100 * (1 - value) for value in row["random"]], "o", color=COLOURS[1], alpha=0.5, markersize=3)
        axes.plot([], [], "o", color=COLOURS[1], alpha=0.5, markersize=3, label="n images at random")
        axes.plot(sizes, [100 * (1 - row["first"]) for row in results["sizes"]], "s-", color=COLOURS[0], label="first n images")
        axes.set(xlabel="training images n", ylabel="test error (%)", xscale="log", ylim=(0, None))
        axes.legend()
    return figure


def ntk_alignment(results: dict[str, Any]) -> "Figure":
    """Residuals of true, random and worst-case labels over time with a net's beside them, and the labels along the eigenvectors.

    Args:
        results: the `results` of the study `ntk-alignment`.

    Returns:
        A matplotlib figure of two panels.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
        residual, energy = figure.subplots(1, 2)
        for row, colour in zip(results["labels"], COLOURS, strict=False):
            residual.plot(results["times"], _columns(row["predicted"]), color=colour, label=f"{row['name']} labels")
            for name, line in NETS.items():
                residual.plot(results["net_times"][1:], _columns(row[name])[1:], linestyle=line, color=colour, linewidth=2)
            _band(energy, range(1, len(row["energy"][0]) + 1), row["energy"], colour)
        residual.plot(results["times"], _columns(results["control"]["predicted"]), color=COLOURS[3], label="true, eigenvalues shuffled")
        for name, line in NETS.items():
            residual.plot([], [], linestyle=line, color="black", linewidth=2, label={"net": "trained net", "lazy": "trained lazily"}[name])
        residual.set(xlabel="time t", ylabel=r"$\Vert u(t) - y \Vert / \sqrt{n}$", title="(a) predicted and trained", xscale="log", ylim=(0, None))
        values = energy.twinx()
        means = _columns(results["eigenvalues"])
        values.plot(range(1, len(means) + 1), means, color=COLOURS[4], linewidth=0.8)
        values.set(yscale="log", ylabel=r"eigenvalue $\lambda_i$ (grey)")
        values.grid(visible=False)
        energy.set(xlabel="eigenvector i", ylabel=r"part of $\Vert y \Vert^2$ in the first i", title="(b) labels along the eigenvectors")
        energy.set(xscale="log", ylim=(0, 1.02))
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def _columns(rows: list[list[float]]) -> list[float]:
    """Means over seeds."""
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]


def _band(axes: "Axes", x: Any, rows: list[list[float]], colour: str, **options: Any) -> None:
    """The mean over seeds and their range."""
    columns = list(zip(*rows, strict=True))
    axes.fill_between(x, [min(column) for column in columns], [max(column) for column in columns], color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, _columns(rows), color=colour, **options)


def ntk_complexity(results: dict[str, Any]) -> "Figure":
    """Complexity measure and test errors against the part of random labels, and against one another.

    Args:
        results: the `results` of the study `ntk-complexity`.

    Returns:
        A matplotlib figure of two panels.
    """
    from matplotlib.figure import Figure

    names = {"complexity": "complexity", "zero_one": "0-1 test error", "absolute": r"$\ell_1$ test error", "control": "complexity, shuffled labels"}
    measured = results["measured"]
    with style():
        figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
        along, against = figure.subplots(1, 2)
        for (name, label), colour in zip(names.items(), COLOURS, strict=False):
            _band(along, results["fractions"], measured[name], colour, label=label)
        for name, colour in (("zero_one", COLOURS[1]), ("absolute", COLOURS[2])):
            for complexities, errors in zip(measured["complexity"], measured[name], strict=True):
                against.plot(complexities, errors, "o", color=colour, markersize=2.5, alpha=0.5)
        along.set(xlabel="part of random labels", title="(a) as labels are corrupted", ylim=(0, None))
        against.set(xlabel="complexity", ylabel="test error", title="(b) one against the other", ylim=(0, None))
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def ntk_width(results: dict[str, Any]) -> "Figure":
    """Distance of the kernel from its limit and drift during training against width, with fitted exponents.

    Args:
        results: the `results` of the study `ntk-width`.

    Returns:
        A matplotlib figure of two panels.
    """
    from matplotlib.figure import Figure

    names = {
        "error": (0, "-", "distance from the limit"),
        "standard": (0, "--", "standard parametrization"),
        "drift": (1, "-", "drift of the kernel"),
        "mean_field_drift": (1, "--", "drift, mean field"),
        "movement": (2, "-", "movement of neurons"),
        "mean_field_movement": (2, "--", "movement, mean field"),
    }
    with style():
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        start, training = figure.subplots(1, 2)
        for i, (name, (number, line, label)) in enumerate(names.items()):
            exponent = results["exponents"][name]
            text = rf"{label}, $m^{{{exponent['value']:.2f} \pm {exponent['stderr']:.2f}}}$"
            _band(start if i < 2 else training, results["widths"], results["measured"][name], COLOURS[number], linestyle=line, label=text)
        start.set(xlabel="width m", ylabel="relative distance", title="(a) at the start", xscale="log", yscale="log")
        training.set(xlabel="width m", ylabel="relative drift, movement", title="(b) during training", xscale="log", yscale="log")
        figure.legend(loc="outside lower center", ncols=2)
    return figure
