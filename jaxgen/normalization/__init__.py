"""Normalization: homogeneous and scale-invariant functions, normalized nets, weight decay and learning rates on the sphere.

A function of parameters is scale invariant where f(c w) = f(w) for c > 0. What a loss has to be is a
`loss_fn(params, batch) -> (N,)` whose mean is scale invariant in all of `params`; one that is not is refused with its defect.
"""

from jaxgen._core.homogeneity import euler_residual as euler_residual
from jaxgen._core.homogeneity import homogeneity_degree as homogeneity_degree
from jaxgen.normalization.curvatures import SphericalCurvature as SphericalCurvature
from jaxgen.normalization.curvatures import spherical_curvature as spherical_curvature
from jaxgen.normalization.descent import Rescaled as Rescaled
from jaxgen.normalization.descent import effective_learning_rate as effective_learning_rate
from jaxgen.normalization.descent import equilibrium_norm as equilibrium_norm
from jaxgen.normalization.descent import gd_weight_decay as gd_weight_decay
from jaxgen.normalization.descent import norm_recursion as norm_recursion
from jaxgen.normalization.descent import rescaled_gd as rescaled_gd
from jaxgen.normalization.guarantees import ScaleInvariantGuarantee as ScaleInvariantGuarantee
from jaxgen.normalization.guarantees import scale_invariant_descent_bound as scale_invariant_descent_bound
from jaxgen.normalization.guarantees import scale_invariant_gd_guarantee as scale_invariant_gd_guarantee
from jaxgen.normalization.homogeneity import scale_invariance_defect as scale_invariance_defect
from jaxgen.normalization.layers import batch_norm as batch_norm
from jaxgen.normalization.layers import group_norm as group_norm
from jaxgen.normalization.layers import layer_norm as layer_norm
from jaxgen.normalization.networks import layer_norm_mlp as layer_norm_mlp
from jaxgen.normalization.networks import scale_invariant_mlp as scale_invariant_mlp
from jaxgen.normalization.products import explosive_learning_rate as explosive_learning_rate
from jaxgen.normalization.products import product_logistic_gd as product_logistic_gd
from jaxgen.normalization.schedules import exponential_learning_rate as exponential_learning_rate
from jaxgen.normalization.schedules import exponential_schedule as exponential_schedule
from jaxgen.normalization.schedules import log_exponential_learning_rate as log_exponential_learning_rate
from jaxgen.normalization.spheres import radial_gradient as radial_gradient
from jaxgen.normalization.spheres import spherical_gradient_norm as spherical_gradient_norm
from jaxgen.normalization.spheres import with_norm as with_norm

__all__ = [
    "Rescaled",
    "ScaleInvariantGuarantee",
    "SphericalCurvature",
    "batch_norm",
    "effective_learning_rate",
    "equilibrium_norm",
    "euler_residual",
    "explosive_learning_rate",
    "exponential_learning_rate",
    "exponential_schedule",
    "gd_weight_decay",
    "group_norm",
    "homogeneity_degree",
    "layer_norm",
    "layer_norm_mlp",
    "log_exponential_learning_rate",
    "norm_recursion",
    "product_logistic_gd",
    "radial_gradient",
    "rescaled_gd",
    "scale_invariance_defect",
    "scale_invariant_descent_bound",
    "scale_invariant_gd_guarantee",
    "scale_invariant_mlp",
    "spherical_curvature",
    "spherical_gradient_norm",
    "with_norm",
]
