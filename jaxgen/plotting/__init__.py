"""Figures of results, by matplotlib, which is imported when the first figure is drawn."""

from jaxgen.plotting.certificates import certificate as certificate
from jaxgen.plotting.generalization import uniform_convergence as uniform_convergence
from jaxgen.plotting.implicit_bias import kkt as kkt
from jaxgen.plotting.implicit_bias import margin as margin
from jaxgen.plotting.implicit_bias import rich_lazy as rich_lazy
from jaxgen.plotting.implicit_bias import steepest as steepest
from jaxgen.plotting.kernels import kernel_regression as kernel_regression
from jaxgen.plotting.kernels import ntk_alignment as ntk_alignment
from jaxgen.plotting.kernels import ntk_complexity as ntk_complexity
from jaxgen.plotting.kernels import ntk_width as ntk_width
from jaxgen.plotting.measures import measures as measures
from jaxgen.plotting.normalization import scale_invariant as scale_invariant
from jaxgen.plotting.optimization import edge_of_stability as edge_of_stability
from jaxgen.plotting.processes import scaling_rule as scaling_rule
from jaxgen.plotting.processes import svag as svag
from jaxgen.plotting.spectra import spectral_density as spectral_density
from jaxgen.plotting.style import COLOURS as COLOURS
from jaxgen.plotting.style import save as save
from jaxgen.plotting.style import style as style
from jaxgen.plotting.supersamples import cmi as cmi
from jaxgen.plotting.training import dispersion as dispersion
from jaxgen.plotting.training import sgd_bound as sgd_bound

__all__ = [
    "COLOURS",
    "certificate",
    "cmi",
    "dispersion",
    "edge_of_stability",
    "kernel_regression",
    "kkt",
    "margin",
    "measures",
    "ntk_alignment",
    "ntk_complexity",
    "ntk_width",
    "rich_lazy",
    "save",
    "scaling_rule",
    "scale_invariant",
    "sgd_bound",
    "spectral_density",
    "steepest",
    "style",
    "svag",
    "uniform_convergence",
]
