r"""Bounds on the generalization gap, test minus train, of what a learner returns.

Bounds return a `jaxgen.Bound`: its value, its terms, what it assumes, and whether it is then a theorem; norms that bounds
are made of return arrays. Values are never clipped, so a vacuous bound is seen to be one. Arguments are elementwise, and
every function works under `jit`, `vmap` and `grad`; where a bound vanishes, its gradient is given as zero. Wrong values
raise when concrete and give NaN when traced.

They follow the classical template, a gap of $O(\sqrt{\text{complexity} / n})$, on average over samples where others hold with
high probability, and with a mutual information for the complexity. A rate of $1/n$ would need realizability (INFO-12).

Standard errors are not computed here: bounds take arrays, and `jaxgen.seeds.jackknife` gives the error that K seeds leave.
"""

from jaxgen.bounds.conditional import cmi as cmi
from jaxgen.bounds.conditional import interpolating_risk as interpolating_risk
from jaxgen.bounds.conditional import pairwise_cmi as pairwise_cmi
from jaxgen.bounds.domain_shift import domain_adaptation as domain_adaptation
from jaxgen.bounds.domain_shift import domain_shift as domain_shift
from jaxgen.bounds.individual_sample import individual_sample as individual_sample
from jaxgen.bounds.individual_sample import inverse_legendre as inverse_legendre
from jaxgen.bounds.information import xu_raginsky as xu_raginsky
from jaxgen.bounds.information import xu_raginsky_decoupling as xu_raginsky_decoupling
from jaxgen.bounds.kernel import kernel_bound as kernel_bound
from jaxgen.bounds.kernel import kernel_complexity as kernel_complexity
from jaxgen.bounds.kernel import kernel_rademacher as kernel_rademacher
from jaxgen.bounds.kernel import teacher_complexity as teacher_complexity
from jaxgen.bounds.kernel import teacher_labels as teacher_labels
from jaxgen.bounds.masks import MaskEstimate as MaskEstimate
from jaxgen.bounds.masks import compare_cmi_bounds as compare_cmi_bounds
from jaxgen.bounds.masks import evaluated_cmi as evaluated_cmi
from jaxgen.bounds.masks import f_cmi as f_cmi
from jaxgen.bounds.masks import loss_difference_cmi as loss_difference_cmi
from jaxgen.bounds.masks import loss_difference_information as loss_difference_information
from jaxgen.bounds.masks import mask_information as mask_information
from jaxgen.bounds.masks import single_loss_cmi as single_loss_cmi
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
from jaxgen.bounds.stochastic_equations import gaussian_family_information as gaussian_family_information
from jaxgen.bounds.stochastic_equations import sde_trajectory as sde_trajectory
from jaxgen.bounds.stochastic_equations import terminal_state as terminal_state

__all__ = [
    "MaskEstimate",
    "active_fraction",
    "cmi",
    "compare_cmi_bounds",
    "compare_sgd_bounds",
    "domain_adaptation",
    "domain_shift",
    "evaluated_cmi",
    "f_cmi",
    "fisher_rao_norm",
    "gaussian_family_information",
    "individual_sample",
    "interpolating_risk",
    "inverse_legendre",
    "kernel_bound",
    "kernel_complexity",
    "kernel_rademacher",
    "loss_difference_cmi",
    "loss_difference_information",
    "mask_information",
    "neu",
    "optimize_sigma",
    "pairwise_cmi",
    "path_norm",
    "sde_trajectory",
    "sgld",
    "sgld_mutual_information",
    "single_loss_cmi",
    "spectral_norms",
    "teacher_complexity",
    "teacher_labels",
    "terminal_state",
    "trajectory_term",
    "wang_mao",
    "wang_mao_linear",
    "wang_mao_optimized",
    "wang_mao_two_layer_relu",
    "xu_raginsky",
    "xu_raginsky_decoupling",
]
