"""Figures of certificates: bounds on a logarithmic scale beside the errors that they bound."""

from typing import TYPE_CHECKING, Any

from jaxgen.plotting.style import COLOURS, style
from jaxgen.plotting.training import WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS = {
    "kl": ("certificate, kl form", COLOURS[0]),
    "catoni": ("certificate, Catoni's form", COLOURS[0]),
    "holdout": ("hold-out bound", COLOURS[2]),
    "risk": ("risk on the certificate's points", COLOURS[4]),
    "test_risk": ("test error of the random net", COLOURS[1]),
}


def certificate(results: dict[str, Any]) -> "Figure":
    """Certificates, the hold-out bound and errors, a bar for the mean over seeds and a point for each.

    Args:
        results: the `results` of a study of certificates.

    Returns:
        A matplotlib figure of one panel.
    """
    from matplotlib.figure import Figure

    shown = [name for name in BARS if name in results["means"]]
    with style():
        figure = Figure(figsize=(WIDTH, 0.35 * len(shown) + 0.7), layout="constrained")
        axes = figure.subplots()
        for place, name in enumerate(reversed(shown)):
            colour = BARS[name][1]
            values = results["seeds"][name]
            mean = results["means"][name]["value"]
            axes.barh(place, mean, color=colour, height=0.7)
            axes.plot(values, [place] * len(values), "o", color="black", markersize=2.5)
            axes.annotate(f"{mean:.4f}", (max(values), place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7)
        positive = [value for name in shown for value in results["seeds"][name] if value > 0]
        axes.set(xscale="log", xlim=(0.5 * min(positive), 2.2 * max(positive)), xlabel="probability of an error")
        axes.set_yticks(range(len(shown)), [BARS[name][0] for name in reversed(shown)])
        axes.grid(visible=False, axis="y")
    return figure
