r"""Bounds on the generalization gap, test minus train, of what a learner returns.

Bounds return a `jaxgen.Bound`: its value, its terms, what it assumes, and whether it is then a theorem; norms that bounds
are made of return arrays. Values are never clipped, so a vacuous bound is seen to be one. Arguments are elementwise, and
every function works under `jit`, `vmap` and `grad`; where a bound vanishes, its gradient is given as zero. Wrong values
raise when concrete and give NaN when traced.

They follow the classical template, a gap of $O(\sqrt{\text{complexity} / n})$, on average over samples where others hold with
high probability, and with a mutual information for the complexity. A rate of $1/n$ would need realizability (INFO-12).

Standard errors are not computed here: bounds take arrays, and `jaxgen.seeds.jackknife` gives the error that K seeds leave.
"""

from jaxgen.bounds.information import xu_raginsky as xu_raginsky
from jaxgen.bounds.information import xu_raginsky_decoupling as xu_raginsky_decoupling
from jaxgen.bounds.kernel import kernel_bound as kernel_bound
from jaxgen.bounds.kernel import kernel_complexity as kernel_complexity
from jaxgen.bounds.kernel import kernel_rademacher as kernel_rademacher
from jaxgen.bounds.kernel import teacher_complexity as teacher_complexity
from jaxgen.bounds.kernel import teacher_labels as teacher_labels
from jaxgen.bounds.norms import fisher_rao_norm as fisher_rao_norm
from jaxgen.bounds.norms import path_norm as path_norm
from jaxgen.bounds.norms import spectral_norms as spectral_norms
from jaxgen.bounds.optimized import active_fraction as active_fraction
from jaxgen.bounds.optimized import optimize_sigma as optimize_sigma
from jaxgen.bounds.optimized import wang_mao_linear as wang_mao_linear
from jaxgen.bounds.optimized import wang_mao_optimized as wang_mao_optimized
from jaxgen.bounds.optimized import wang_mao_two_layer_relu as wang_mao_two_layer_relu
from jaxgen.bounds.sgd import compare_sgd_bounds as compare_sgd_bounds
from jaxgen.bounds.sgd import neu as neu
from jaxgen.bounds.sgd import sgld as sgld
from jaxgen.bounds.sgd import sgld_mutual_information as sgld_mutual_information
from jaxgen.bounds.sgd import trajectory_term as trajectory_term
from jaxgen.bounds.sgd import wang_mao as wang_mao

__all__ = [
    "active_fraction",
    "compare_sgd_bounds",
    "fisher_rao_norm",
    "kernel_bound",
    "kernel_complexity",
    "kernel_rademacher",
    "neu",
    "optimize_sigma",
    "path_norm",
    "sgld",
    "sgld_mutual_information",
    "spectral_norms",
    "teacher_complexity",
    "teacher_labels",
    "trajectory_term",
    "wang_mao",
    "wang_mao_linear",
    "wang_mao_optimized",
    "wang_mao_two_layer_relu",
    "xu_raginsky",
    "xu_raginsky_decoupling",
]
