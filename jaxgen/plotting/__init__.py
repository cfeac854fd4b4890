"""Figures of results, by matplotlib, which is imported when the first figure is drawn."""

from jaxgen.plotting.style import COLOURS as COLOURS
from jaxgen.plotting.style import save as save
from jaxgen.plotting.style import style as style
from jaxgen.plotting.training import dispersion as dispersion
from jaxgen.plotting.training import sgd_bound as sgd_bound

__all__ = ["COLOURS", "dispersion", "save", "sgd_bound", "style"]
