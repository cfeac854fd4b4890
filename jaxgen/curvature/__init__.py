"""Curvature of the empirical risk: Hessian, Gauss-Newton and Fisher operators, what is estimated of them, and flatness.

Operators are `lineax` operators on parameters, or on a `subtree` of them: arguments and results of `jit`, mapped by `vmap`,
taken by every `lineax` solver. Functionals take the operator first, then a key, and a budget `num_matvecs` of products:
trace, diagonal, extreme eigenvalues, spectral density. They work on any symmetric `lineax` operator.
"""

from jaxgen.curvature.activation_traces import trace_by_activations as trace_by_activations
from jaxgen.curvature.diagonals import diagonal as diagonal
from jaxgen.curvature.eigenpairs import Eigenvalues as Eigenvalues
from jaxgen.curvature.eigenpairs import eigenvalues as eigenvalues
from jaxgen.curvature.exact_traces import exact_trace as exact_trace
from jaxgen.curvature.fishers import EmpiricalFisher as EmpiricalFisher
from jaxgen.curvature.fishers import ModelFisher as ModelFisher
from jaxgen.curvature.fishers import fisher as fisher
from jaxgen.curvature.gauss_newton import GaussNewton as GaussNewton
from jaxgen.curvature.gauss_newton import gauss_newton as gauss_newton
from jaxgen.curvature.operators import Hessian as Hessian
from jaxgen.curvature.operators import hessian as hessian
from jaxgen.curvature.operators import hessian_vector_product as hessian_vector_product
from jaxgen.curvature.perturbed_risk import perturbed_risk as perturbed_risk
from jaxgen.curvature.perturbed_risk import value_sensitivity as value_sensitivity
from jaxgen.curvature.power import PowerIteration as PowerIteration
from jaxgen.curvature.power import power_iteration as power_iteration
from jaxgen.curvature.sharpness import Sharpness as Sharpness
from jaxgen.curvature.sharpness import sharpness as sharpness
from jaxgen.curvature.spectra import SpectralDensity as SpectralDensity
from jaxgen.curvature.spectra import spectral_density as spectral_density
from jaxgen.curvature.traces import trace as trace

__all__ = [
    "Eigenvalues",
    "EmpiricalFisher",
    "GaussNewton",
    "Hessian",
    "ModelFisher",
    "PowerIteration",
    "Sharpness",
    "SpectralDensity",
    "diagonal",
    "eigenvalues",
    "exact_trace",
    "fisher",
    "gauss_newton",
    "hessian",
    "hessian_vector_product",
    "perturbed_risk",
    "power_iteration",
    "sharpness",
    "spectral_density",
    "trace",
    "trace_by_activations",
    "value_sensitivity",
]
