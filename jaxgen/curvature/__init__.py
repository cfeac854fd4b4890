"""Curvature of the empirical risk: the Hessian as an operator, its trace, and risks under random perturbation.

Operators are `lineax` operators on parameters: arguments and results of `jit`, mapped by `vmap`, taken by every `lineax`
solver. Functionals take the operator first.
"""

from jaxgen.curvature.operators import Hessian as Hessian
from jaxgen.curvature.operators import hessian as hessian
from jaxgen.curvature.operators import hessian_vector_product as hessian_vector_product
from jaxgen.curvature.perturbed_risk import value_sensitivity as value_sensitivity
from jaxgen.curvature.traces import trace as trace

__all__ = ["Hessian", "hessian", "hessian_vector_product", "trace", "value_sensitivity"]
