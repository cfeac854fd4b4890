"""One look for every figure: a column or two of a paper, thin lines, colours that survive grey and colour blindness."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0b5fa5", "#c8501e", "#2a8f5b", "#8a4fa3", "#6b6b6b", "#b8860b")
"""Series colours, in order of use."""

SETTINGS: dict[str, Any] = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral", "DejaVu Serif"],
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "legend.frameon": False,
    "figure.dpi": 120,
    "savefig.dpi": 200,
    "svg.hashsalt": "jaxgen",
    "svg.fonttype": "path",
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """A context in which matplotlib draws in the library's style; the user's settings come back after it.

    Example:
        >>> import matplotlib
        >>> from jaxgen import plotting
        >>> with plotting.style():
        ...     inside = matplotlib.rcParams["axes.spines.top"]
        >>> bool(inside), bool(matplotlib.rcParams["axes.spines.top"])
        (False, True)
    """
    import matplotlib
    from cycler import cycler

    settings: Any = SETTINGS | {"axes.prop_cycle": cycler(color=COLOURS)}
    with matplotlib.rc_context(settings):
        yield


def save(figure: "Figure", folder: str | Path, name: str = "figure") -> list[Path]:
    """Writes a figure as `name.png` (200 dots an inch) and `name.svg`, without dates, so that equal figures are equal files.

    Args:
        figure: matplotlib figure.
        folder: existing folder.
        name: file name without suffix.

    Returns:
        The two paths.
    """
    paths = [Path(folder) / f"{name}.{suffix}" for suffix in ("png", "svg")]
    with style():
        figure.savefig(paths[0], bbox_inches="tight")
        figure.savefig(paths[1], bbox_inches="tight", metadata={"Date": None})
    return paths
