r"""Bounds on the generalization gap, test minus train, of what a learner returns, or on its risk.

Bounds return a `jaxgen.Bound`: its value, its terms, what it assumes, and whether it is then a theorem; norms that bounds
are made of return arrays. Values are never clipped, so a vacuous bound is seen to be one. Arguments are elementwise, and
every function works under `jit`, `vmap` and `grad`; where a bound vanishes, its gradient is given as zero. Wrong values
raise when concrete and give NaN when traced.

Information-theoretic bounds are on the gap, on average over samples, and follow the classical template, a gap of
$O(\sqrt{\text{complexity} / n})$, with a mutual information for the complexity; a rate of $1/n$ would need realizability (INFO-12).
The others are on the risk, empirical risk and penalty together, and hold with a probability that the result tells: for finite classes,
covers and Rademacher complexity (`uniform`, `rademacher`), for what few bits describe (`compression`), for stochastic nets (`pac_bayes`),
for margins and norms (`norms`). `measures` are not bounds; `bound_report` puts all of them beside each other for one net.

Standard errors are not computed here: bounds take arrays, and `jaxgen.seeds.jackknife` gives the error that K seeds leave.
"""

from jaxgen.bounds.compression import CompressedNet as CompressedNet
from jaxgen.bounds.compression import LowRankNetwork as LowRankNetwork
from jaxgen.bounds.compression import Quantized as Quantized
from jaxgen.bounds.compression import SparsificationMoments as SparsificationMoments
from jaxgen.bounds.compression import TruncatedMatrix as TruncatedMatrix
from jaxgen.bounds.compression import TruncatedNetwork as TruncatedNetwork
from jaxgen.bounds.compression import TruncationErrors as TruncationErrors
from jaxgen.bounds.compression import adaptive_code_length as adaptive_code_length
from jaxgen.bounds.compression import compress_network as compress_network
from jaxgen.bounds.compression import compression_bound as compression_bound
from jaxgen.bounds.compression import compression_error as compression_error
from jaxgen.bounds.compression import gaussian_sketch as gaussian_sketch
from jaxgen.bounds.compression import integer_code_length as integer_code_length
from jaxgen.bounds.compression import is_compressible as is_compressible
from jaxgen.bounds.compression import jl_rows as jl_rows
from jaxgen.bounds.compression import lipschitz_upper_bound as lipschitz_upper_bound
from jaxgen.bounds.compression import lowrank_compression_bound as lowrank_compression_bound
from jaxgen.bounds.compression import lowrank_network as lowrank_network
from jaxgen.bounds.compression import perturbation_bound as perturbation_bound
from jaxgen.bounds.compression import quantize as quantize
from jaxgen.bounds.compression import relu_network as relu_network
from jaxgen.bounds.compression import sketch_compress as sketch_compress
from jaxgen.bounds.compression import sparsification_moments as sparsification_moments
from jaxgen.bounds.compression import sparsify_linear as sparsify_linear
from jaxgen.bounds.compression import spectral_complexity as spectral_complexity
from jaxgen.bounds.compression import stable_rank as stable_rank
from jaxgen.bounds.compression import truncate_network as truncate_network
from jaxgen.bounds.compression import truncate_svd as truncate_svd
from jaxgen.bounds.compression import truncation_errors as truncation_errors
from jaxgen.bounds.compression import truncation_ranks as truncation_ranks
from jaxgen.bounds.concentration import bernstein_bound as bernstein_bound
from jaxgen.bounds.concentration import berry_esseen_bound as berry_esseen_bound
from jaxgen.bounds.concentration import chebyshev_bound as chebyshev_bound
from jaxgen.bounds.concentration import chernoff_lower as chernoff_lower
from jaxgen.bounds.concentration import chernoff_upper as chernoff_upper
from jaxgen.bounds.concentration import clt_ks_distance as clt_ks_distance
from jaxgen.bounds.concentration import gaussian_small_ball as gaussian_small_ball
from jaxgen.bounds.concentration import gaussian_small_ball_bounds as gaussian_small_ball_bounds
from jaxgen.bounds.concentration import hoeffding_bound as hoeffding_bound
from jaxgen.bounds.concentration import hoeffding_epsilon as hoeffding_epsilon
from jaxgen.bounds.concentration import hoeffding_sample_size as hoeffding_sample_size
from jaxgen.bounds.concentration import markov_bound as markov_bound
from jaxgen.bounds.conditional import cmi as cmi
from jaxgen.bounds.conditional import interpolating_risk as interpolating_risk
from jaxgen.bounds.conditional import pairwise_cmi as pairwise_cmi
from jaxgen.bounds.domain_shift import domain_adaptation as domain_adaptation
from jaxgen.bounds.domain_shift import domain_shift as domain_shift
from jaxgen.bounds.individual_sample import individual_sample as individual_sample
from jaxgen.bounds.individual_sample import inverse_legendre as inverse_legendre
from jaxgen.bounds.information import xu_raginsky as xu_raginsky
from jaxgen.bounds.information import xu_raginsky_decoupling as xu_raginsky_decoupling
from jaxgen.bounds.junk import JunkSample as JunkSample
from jaxgen.bounds.junk import junk_example_dimension as junk_example_dimension
from jaxgen.bounds.junk import junk_example_flip as junk_example_flip
from jaxgen.bounds.junk import junk_example_sample as junk_example_sample
from jaxgen.bounds.junk import junk_example_test_error as junk_example_test_error
from jaxgen.bounds.junk import junk_example_train as junk_example_train
from jaxgen.bounds.junk import junk_example_train_error as junk_example_train_error
from jaxgen.bounds.junk import prune_coordinates as prune_coordinates
from jaxgen.bounds.kernel import kernel_bound as kernel_bound
from jaxgen.bounds.kernel import kernel_complexity as kernel_complexity
from jaxgen.bounds.kernel import kernel_rademacher as kernel_rademacher
from jaxgen.bounds.kernel import teacher_complexity as teacher_complexity
from jaxgen.bounds.kernel import teacher_labels as teacher_labels
from jaxgen.bounds.margins import margin_loss as margin_loss
from jaxgen.bounds.margins import margin_quantiles as margin_quantiles
from jaxgen.bounds.margins import margins as margins
from jaxgen.bounds.margins import normalized_margins as normalized_margins
from jaxgen.bounds.margins import ramp_loss as ramp_loss
from jaxgen.bounds.masks import MaskEstimate as MaskEstimate
from jaxgen.bounds.masks import compare_cmi_bounds as compare_cmi_bounds
from jaxgen.bounds.masks import evaluated_cmi as evaluated_cmi
from jaxgen.bounds.masks import f_cmi as f_cmi
from jaxgen.bounds.masks import loss_difference_cmi as loss_difference_cmi
from jaxgen.bounds.masks import loss_difference_information as loss_difference_information
from jaxgen.bounds.masks import mask_information as mask_information
from jaxgen.bounds.masks import single_loss_cmi as single_loss_cmi
from jaxgen.bounds.matrix_concentration import matrix_bernstein_mean as matrix_bernstein_mean
from jaxgen.bounds.matrix_concentration import matrix_bernstein_tail as matrix_bernstein_tail
from jaxgen.bounds.matrix_concentration import matrix_variance as matrix_variance
from jaxgen.bounds.matrix_concentration import matrix_variance_rademacher as matrix_variance_rademacher
from jaxgen.bounds.measures import MEASURES as MEASURES
from jaxgen.bounds.measures import Measure as Measure
from jaxgen.bounds.measures import PerturbationScale as PerturbationScale
from jaxgen.bounds.measures import complexity_measures as complexity_measures
from jaxgen.bounds.measures import granulated_kendall as granulated_kendall
from jaxgen.bounds.measures import kendall_tau as kendall_tau
from jaxgen.bounds.measures import perturbation_sigma as perturbation_sigma
from jaxgen.bounds.measures import perturbed as perturbed
from jaxgen.bounds.measures import worst_case_alpha as worst_case_alpha
from jaxgen.bounds.norms import bartlett_bound as bartlett_bound
from jaxgen.bounds.norms import bartlett_complexity as bartlett_complexity
from jaxgen.bounds.norms import fisher_rao_norm as fisher_rao_norm
from jaxgen.bounds.norms import golowich_bound as golowich_bound
from jaxgen.bounds.norms import golowich_rademacher as golowich_rademacher
from jaxgen.bounds.norms import layer_norms as layer_norms
from jaxgen.bounds.norms import path_norm as path_norm
from jaxgen.bounds.norms import path_norm_bound as path_norm_bound
from jaxgen.bounds.norms import path_norm_rademacher as path_norm_rademacher
from jaxgen.bounds.norms import spectral_norms as spectral_norms
from jaxgen.bounds.optimized import active_fraction as active_fraction
from jaxgen.bounds.optimized import optimize_sigma as optimize_sigma
from jaxgen.bounds.optimized import wang_mao_linear as wang_mao_linear
from jaxgen.bounds.optimized import wang_mao_optimized as wang_mao_optimized
from jaxgen.bounds.optimized import wang_mao_two_layer_relu as wang_mao_two_layer_relu
from jaxgen.bounds.pac_bayes import binary_kl as binary_kl
from jaxgen.bounds.pac_bayes import binary_kl_inverse as binary_kl_inverse
from jaxgen.bounds.pac_bayes import bounded_cross_entropy as bounded_cross_entropy
from jaxgen.bounds.pac_bayes import catoni_constant as catoni_constant
from jaxgen.bounds.pac_bayes import catoni_grid as catoni_grid
from jaxgen.bounds.pac_bayes import discrete_kl as discrete_kl
from jaxgen.bounds.pac_bayes import donsker_varadhan_gap as donsker_varadhan_gap
from jaxgen.bounds.pac_bayes import gd_gaussian_kl as gd_gaussian_kl
from jaxgen.bounds.pac_bayes import gd_gaussian_posterior as gd_gaussian_posterior
from jaxgen.bounds.pac_bayes import gibbs_posterior as gibbs_posterior
from jaxgen.bounds.pac_bayes import kl_moment as kl_moment
from jaxgen.bounds.pac_bayes import linear_gibbs_risk as linear_gibbs_risk
from jaxgen.bounds.pac_bayes import linear_margin_certificate as linear_margin_certificate
from jaxgen.bounds.pac_bayes import margin_pac_bayes_bound as margin_pac_bayes_bound
from jaxgen.bounds.pac_bayes import max_stable_sigma as max_stable_sigma
from jaxgen.bounds.pac_bayes import optimal_lambda as optimal_lambda
from jaxgen.bounds.pac_bayes import pac_bayes_bound as pac_bayes_bound
from jaxgen.bounds.pac_bayes import pac_bayes_objective as pac_bayes_objective
from jaxgen.bounds.pac_bayes.certificates import Certificate as Certificate
from jaxgen.bounds.pac_bayes.certificates import Part as Part
from jaxgen.bounds.pac_bayes.certificates import PriorSplit as PriorSplit
from jaxgen.bounds.pac_bayes.certificates import certificate as certificate
from jaxgen.bounds.pac_bayes.certificates import certify as certify
from jaxgen.bounds.pac_bayes.certificates import single_draw_bound as single_draw_bound
from jaxgen.bounds.pac_bayes.certificates import split_prior as split_prior
from jaxgen.bounds.pac_bayes.gaussian import GaussianParams as GaussianParams
from jaxgen.bounds.pac_bayes.gaussian import PriorGrid as PriorGrid
from jaxgen.bounds.pac_bayes.gaussian import choose_prior as choose_prior
from jaxgen.bounds.pac_bayes.gaussian import gaussian as gaussian
from jaxgen.bounds.pac_bayes.gaussian import gaussian_kl as gaussian_kl
from jaxgen.bounds.pac_bayes.gaussian import log_density_ratio as log_density_ratio
from jaxgen.bounds.pac_bayes.gaussian import optimal_prior_variance as optimal_prior_variance
from jaxgen.bounds.pac_bayes.gaussian import prior_grid_penalty as prior_grid_penalty
from jaxgen.bounds.pac_bayes.gaussian import sample_gaussian as sample_gaussian
from jaxgen.bounds.pac_bayes.last_layer import argmax_error as argmax_error
from jaxgen.bounds.pac_bayes.last_layer import certify_last_layer as certify_last_layer
from jaxgen.bounds.pac_bayes.last_layer import last_layer_risk as last_layer_risk
from jaxgen.bounds.pac_bayes.last_layer import smooth_argmax_error as smooth_argmax_error
from jaxgen.bounds.pac_bayes.last_layer import train_last_layer as train_last_layer
from jaxgen.bounds.pac_bayes.stochastic import GibbsRisk as GibbsRisk
from jaxgen.bounds.pac_bayes.stochastic import gibbs_risk as gibbs_risk
from jaxgen.bounds.pac_bayes.stochastic import is_local as is_local
from jaxgen.bounds.pac_bayes.stochastic import stochastic_outputs as stochastic_outputs
from jaxgen.bounds.pac_bayes.training import PacBayesHistory as PacBayesHistory
from jaxgen.bounds.pac_bayes.training import pac_bayes_train as pac_bayes_train
from jaxgen.bounds.rademacher import LabelFlip as LabelFlip
from jaxgen.bounds.rademacher import empirical_rademacher as empirical_rademacher
from jaxgen.bounds.rademacher import kernel_rademacher_bound as kernel_rademacher_bound
from jaxgen.bounds.rademacher import label_flip_identity as label_flip_identity
from jaxgen.bounds.rademacher import rademacher_bound as rademacher_bound
from jaxgen.bounds.rademacher import rademacher_linear as rademacher_linear
from jaxgen.bounds.rademacher import rademacher_linear_bound as rademacher_linear_bound
from jaxgen.bounds.rademacher import rademacher_two_sample as rademacher_two_sample
from jaxgen.bounds.rademacher import rademacher_via_fit as rademacher_via_fit
from jaxgen.bounds.rademacher import random_label_capacity as random_label_capacity
from jaxgen.bounds.report import BoundReport as BoundReport
from jaxgen.bounds.report import Budget as Budget
from jaxgen.bounds.report import bound_report as bound_report
from jaxgen.bounds.risks import empirical_risk as empirical_risk
from jaxgen.bounds.risks import generalization_gap as generalization_gap
from jaxgen.bounds.risks import regularized_risk as regularized_risk
from jaxgen.bounds.sgd import compare_sgd_bounds as compare_sgd_bounds
from jaxgen.bounds.sgd import neu as neu
from jaxgen.bounds.sgd import sgld as sgld
from jaxgen.bounds.sgd import sgld_mutual_information as sgld_mutual_information
from jaxgen.bounds.sgd import trajectory_term as trajectory_term
from jaxgen.bounds.sgd import wang_mao as wang_mao
from jaxgen.bounds.stochastic_equations import gaussian_family_information as gaussian_family_information
from jaxgen.bounds.stochastic_equations import sde_trajectory as sde_trajectory
from jaxgen.bounds.stochastic_equations import terminal_state as terminal_state
from jaxgen.bounds.uniform import Cover as Cover
from jaxgen.bounds.uniform import binomial_tail_inverse as binomial_tail_inverse
from jaxgen.bounds.uniform import cover_bound as cover_bound
from jaxgen.bounds.uniform import cover_bound_lipschitz as cover_bound_lipschitz
from jaxgen.bounds.uniform import cross_sample_gap as cross_sample_gap
from jaxgen.bounds.uniform import finite_class_bound as finite_class_bound
from jaxgen.bounds.uniform import greedy_cover as greedy_cover
from jaxgen.bounds.uniform import hoeffding_penalty as hoeffding_penalty
from jaxgen.bounds.uniform import holdout_bound as holdout_bound
from jaxgen.bounds.uniform import local_loss_lipschitz as local_loss_lipschitz
from jaxgen.bounds.uniform import log_covering_number_bound as log_covering_number_bound
from jaxgen.bounds.uniform import loss_lipschitz_on_ball as loss_lipschitz_on_ball
from jaxgen.bounds.uniform import occam_bound as occam_bound
from jaxgen.bounds.uniform import solution_manifold_dim as solution_manifold_dim
from jaxgen.bounds.uniform import uniform_gap as uniform_gap

__all__ = [
    "BoundReport",
    "Budget",
    "Certificate",
    "CompressedNet",
    "Cover",
    "GaussianParams",
    "GibbsRisk",
    "JunkSample",
    "LabelFlip",
    "LowRankNetwork",
    "MEASURES",
    "MaskEstimate",
    "Measure",
    "PacBayesHistory",
    "Part",
    "PerturbationScale",
    "PriorGrid",
    "PriorSplit",
    "Quantized",
    "SparsificationMoments",
    "TruncatedMatrix",
    "TruncatedNetwork",
    "TruncationErrors",
    "active_fraction",
    "adaptive_code_length",
    "argmax_error",
    "bartlett_bound",
    "bartlett_complexity",
    "bernstein_bound",
    "berry_esseen_bound",
    "binary_kl",
    "binary_kl_inverse",
    "binomial_tail_inverse",
    "bound_report",
    "bounded_cross_entropy",
    "catoni_constant",
    "catoni_grid",
    "certificate",
    "certify",
    "certify_last_layer",
    "chebyshev_bound",
    "chernoff_lower",
    "chernoff_upper",
    "choose_prior",
    "clt_ks_distance",
    "cmi",
    "compare_cmi_bounds",
    "compare_sgd_bounds",
    "complexity_measures",
    "compress_network",
    "compression_bound",
    "compression_error",
    "cover_bound",
    "cover_bound_lipschitz",
    "cross_sample_gap",
    "discrete_kl",
    "domain_adaptation",
    "domain_shift",
    "donsker_varadhan_gap",
    "empirical_rademacher",
    "empirical_risk",
    "evaluated_cmi",
    "f_cmi",
    "finite_class_bound",
    "fisher_rao_norm",
    "gaussian",
    "gaussian_family_information",
    "gaussian_kl",
    "gaussian_sketch",
    "gaussian_small_ball",
    "gaussian_small_ball_bounds",
    "gd_gaussian_kl",
    "gd_gaussian_posterior",
    "generalization_gap",
    "gibbs_posterior",
    "gibbs_risk",
    "golowich_bound",
    "golowich_rademacher",
    "granulated_kendall",
    "greedy_cover",
    "hoeffding_bound",
    "hoeffding_epsilon",
    "hoeffding_penalty",
    "hoeffding_sample_size",
    "holdout_bound",
    "individual_sample",
    "integer_code_length",
    "interpolating_risk",
    "inverse_legendre",
    "is_compressible",
    "is_local",
    "jl_rows",
    "junk_example_dimension",
    "junk_example_flip",
    "junk_example_sample",
    "junk_example_test_error",
    "junk_example_train",
    "junk_example_train_error",
    "kendall_tau",
    "kernel_bound",
    "kernel_complexity",
    "kernel_rademacher",
    "kernel_rademacher_bound",
    "kl_moment",
    "label_flip_identity",
    "last_layer_risk",
    "layer_norms",
    "linear_gibbs_risk",
    "linear_margin_certificate",
    "lipschitz_upper_bound",
    "local_loss_lipschitz",
    "log_covering_number_bound",
    "log_density_ratio",
    "loss_difference_cmi",
    "loss_difference_information",
    "loss_lipschitz_on_ball",
    "lowrank_compression_bound",
    "lowrank_network",
    "margin_loss",
    "margin_pac_bayes_bound",
    "margin_quantiles",
    "margins",
    "markov_bound",
    "mask_information",
    "matrix_bernstein_mean",
    "matrix_bernstein_tail",
    "matrix_variance",
    "matrix_variance_rademacher",
    "max_stable_sigma",
    "neu",
    "normalized_margins",
    "occam_bound",
    "optimal_lambda",
    "optimal_prior_variance",
    "optimize_sigma",
    "pac_bayes_bound",
    "pac_bayes_objective",
    "pac_bayes_train",
    "pairwise_cmi",
    "path_norm",
    "path_norm_bound",
    "path_norm_rademacher",
    "perturbation_bound",
    "perturbation_sigma",
    "perturbed",
    "prior_grid_penalty",
    "prune_coordinates",
    "quantize",
    "rademacher_bound",
    "rademacher_linear",
    "rademacher_linear_bound",
    "rademacher_two_sample",
    "rademacher_via_fit",
    "ramp_loss",
    "random_label_capacity",
    "regularized_risk",
    "relu_network",
    "sample_gaussian",
    "sde_trajectory",
    "sgld",
    "sgld_mutual_information",
    "single_draw_bound",
    "single_loss_cmi",
    "sketch_compress",
    "smooth_argmax_error",
    "solution_manifold_dim",
    "sparsification_moments",
    "sparsify_linear",
    "spectral_complexity",
    "spectral_norms",
    "split_prior",
    "stable_rank",
    "stochastic_outputs",
    "teacher_complexity",
    "teacher_labels",
    "terminal_state",
    "train_last_layer",
    "trajectory_term",
    "truncate_network",
    "truncate_svd",
    "truncation_errors",
    "truncation_ranks",
    "uniform_gap",
    "wang_mao",
    "wang_mao_linear",
    "wang_mao_optimized",
    "wang_mao_two_layer_relu",
    "worst_case_alpha",
    "xu_raginsky",
    "xu_raginsky_decoupling",
]
