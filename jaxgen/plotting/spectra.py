"""Figures of spectra."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxgen._core.checks import require
from jaxgen.plotting.style import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxgen.curvature import SpectralDensity

DECADES = 6
"""Orders of magnitude that are shown below the largest density."""


def spectral_density(densities: "SpectralDensity | Mapping[str, SpectralDensity]", *, xlabel: str = "eigenvalue") -> "Figure":
    """Densities of eigenvalues on a logarithmic axis, so that outliers beside a bulk of millions are seen.

    Args:
        densities: what `curvature.spectral_density` returned, or several of them by the names that the legend shows.
        xlabel: label of the axis of eigenvalues.

    Returns:
        A matplotlib figure of one panel.

    Raises:
        ValueError: if there is no density.
    """
    from matplotlib.figure import Figure

    named: Mapping[str, SpectralDensity] = densities if isinstance(densities, Mapping) else {"": densities}
    require(bool(named), "densities must hold at least one density")
    with style():
        figure = Figure(figsize=(3.4, 2.4), layout="constrained")
        axes = figure.subplots()
        for name, found in named.items():
            axes.plot(np.asarray(found.grid), np.asarray(found.density), label=name)
        highest = max(float(np.max(found.density)) for found in named.values())
        axes.set(yscale="log", ylim=(highest * 10.0**-DECADES, 3 * highest), xlabel=xlabel, ylabel="density")
        if any(named):
            axes.legend()
    return figure
