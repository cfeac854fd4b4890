"""Implicit bias: mirror descent, reparametrization, steepest descent, margins, homogeneous models."""

from jaxgen._core.homogeneity import euler_residual as euler_residual
from jaxgen._core.homogeneity import homogeneity_degree as homogeneity_degree
from jaxgen.implicit_bias.adaptive import adaptive_descent as adaptive_descent
from jaxgen.implicit_bias.adaptive import sign_solution as sign_solution
from jaxgen.implicit_bias.boosting import Boosting as Boosting
from jaxgen.implicit_bias.boosting import BoostingTrace as BoostingTrace
from jaxgen.implicit_bias.boosting import adaboost as adaboost
from jaxgen.implicit_bias.bregman_interpolators import BregmanInterpolator as BregmanInterpolator
from jaxgen.implicit_bias.bregman_interpolators import BregmanKkt as BregmanKkt
from jaxgen.implicit_bias.bregman_interpolators import bregman_interpolator as bregman_interpolator
from jaxgen.implicit_bias.bregman_interpolators import bregman_kkt_residual as bregman_kkt_residual
from jaxgen.implicit_bias.bregman_interpolators import min_norm_interpolator_lp as min_norm_interpolator_lp
from jaxgen.implicit_bias.certificates import Inequality as Inequality
from jaxgen.implicit_bias.certificates import MarginCertificates as MarginCertificates
from jaxgen.implicit_bias.certificates import SteepestTrace as SteepestTrace
from jaxgen.implicit_bias.certificates import margin_certificates as margin_certificates
from jaxgen.implicit_bias.certificates import margin_gap as margin_gap
from jaxgen.implicit_bias.certificates import steepest_descent_exp as steepest_descent_exp
from jaxgen.implicit_bias.commuting import CommutatorResidual as CommutatorResidual
from jaxgen.implicit_bias.commuting import commutator_residual as commutator_residual
from jaxgen.implicit_bias.commuting import dual_flow as dual_flow
from jaxgen.implicit_bias.commuting import lie_bracket as lie_bracket
from jaxgen.implicit_bias.cones import NonnegativeLeastSquares as NonnegativeLeastSquares
from jaxgen.implicit_bias.cones import nonnegative_least_squares as nonnegative_least_squares
from jaxgen.implicit_bias.deep_linear import balanced_factors as balanced_factors
from jaxgen.implicit_bias.deep_linear import balanced_velocity as balanced_velocity
from jaxgen.implicit_bias.deep_linear import balancedness as balancedness
from jaxgen.implicit_bias.deep_linear import deep_linear_flow as deep_linear_flow
from jaxgen.implicit_bias.deep_linear import effective_rank as effective_rank
from jaxgen.implicit_bias.deep_linear import end_to_end as end_to_end
from jaxgen.implicit_bias.deep_linear import end_to_end_velocity as end_to_end_velocity
from jaxgen.implicit_bias.deep_linear import singular_value_velocity as singular_value_velocity
from jaxgen.implicit_bias.diagonal_nets import DiagonalNetRun as DiagonalNetRun
from jaxgen.implicit_bias.diagonal_nets import ExcessNorms as ExcessNorms
from jaxgen.implicit_bias.diagonal_nets import RichLazyThresholds as RichLazyThresholds
from jaxgen.implicit_bias.diagonal_nets import excess_norm_curve as excess_norm_curve
from jaxgen.implicit_bias.diagonal_nets import excess_norms as excess_norms
from jaxgen.implicit_bias.diagonal_nets import rich_lazy_thresholds as rich_lazy_thresholds
from jaxgen.implicit_bias.diagonal_nets import train_diagonal_net as train_diagonal_net
from jaxgen.implicit_bias.homogeneous import DirectionDecomposition as DirectionDecomposition
from jaxgen.implicit_bias.homogeneous import GradientExpansion as GradientExpansion
from jaxgen.implicit_bias.homogeneous import HomogeneityOrder as HomogeneityOrder
from jaxgen.implicit_bias.homogeneous import Licq as Licq
from jaxgen.implicit_bias.homogeneous import SmoothedMargin as SmoothedMargin
from jaxgen.implicit_bias.homogeneous import direction_decomposition as direction_decomposition
from jaxgen.implicit_bias.homogeneous import gradient_expansion_error as gradient_expansion_error
from jaxgen.implicit_bias.homogeneous import homogeneity_order as homogeneity_order
from jaxgen.implicit_bias.homogeneous import licq_rank as licq_rank
from jaxgen.implicit_bias.homogeneous import model_margins as model_margins
from jaxgen.implicit_bias.homogeneous import normalized_margin_homogeneous as normalized_margin_homogeneous
from jaxgen.implicit_bias.homogeneous import smoothed_margin as smoothed_margin
from jaxgen.implicit_bias.hyperbolic import diagonal_depth as diagonal_depth
from jaxgen.implicit_bias.hyperbolic import hyperbolic_entropy as hyperbolic_entropy
from jaxgen.implicit_bias.induced import induced_potential as induced_potential
from jaxgen.implicit_bias.interpolators import InterpolationSet as InterpolationSet
from jaxgen.implicit_bias.interpolators import interpolation_set as interpolation_set
from jaxgen.implicit_bias.interpolators import is_realizable as is_realizable
from jaxgen.implicit_bias.interpolators import min_l1_interpolator as min_l1_interpolator
from jaxgen.implicit_bias.interpolators import min_norm_interpolator as min_norm_interpolator
from jaxgen.implicit_bias.kkt import KKTReport as KKTReport
from jaxgen.implicit_bias.kkt import max_margin_kkt as max_margin_kkt
from jaxgen.implicit_bias.linear_nets import Trained as Trained
from jaxgen.implicit_bias.linear_nets import linear_convolutional as linear_convolutional
from jaxgen.implicit_bias.linear_nets import linear_diagonal as linear_diagonal
from jaxgen.implicit_bias.linear_nets import linear_fully_connected as linear_fully_connected
from jaxgen.implicit_bias.linear_nets import linear_net as linear_net
from jaxgen.implicit_bias.linear_nets import train_to_direction as train_to_direction
from jaxgen.implicit_bias.margins import absorb_labels as absorb_labels
from jaxgen.implicit_bias.margins import log_exp_loss as log_exp_loss
from jaxgen.implicit_bias.margins import log_logistic_loss as log_logistic_loss
from jaxgen.implicit_bias.margins import log_sigmoid_loss as log_sigmoid_loss
from jaxgen.implicit_bias.margins import margin_weights as margin_weights
from jaxgen.implicit_bias.margins import margins as margins
from jaxgen.implicit_bias.margins import normalized_margin as normalized_margin
from jaxgen.implicit_bias.matrix_sensing import MatrixSensing as MatrixSensing
from jaxgen.implicit_bias.matrix_sensing import NuclearNormMinimum as NuclearNormMinimum
from jaxgen.implicit_bias.matrix_sensing import factored_flow as factored_flow
from jaxgen.implicit_bias.matrix_sensing import matrix_sensing_problem as matrix_sensing_problem
from jaxgen.implicit_bias.matrix_sensing import min_nuclear_norm_psd_commuting as min_nuclear_norm_psd_commuting
from jaxgen.implicit_bias.matrix_sensing import spectral_entropy_kkt_residual as spectral_entropy_kkt_residual
from jaxgen.implicit_bias.max_margin import MaxMargin as MaxMargin
from jaxgen.implicit_bias.max_margin import max_margin as max_margin
from jaxgen.implicit_bias.mirror import bregman_divergence as bregman_divergence
from jaxgen.implicit_bias.mirror import gradient_descent as gradient_descent
from jaxgen.implicit_bias.mirror import mirror_descent as mirror_descent
from jaxgen.implicit_bias.mirror import mirror_flow as mirror_flow
from jaxgen.implicit_bias.mirror import natural_gradient as natural_gradient
from jaxgen.implicit_bias.norms import FourierNorm as FourierNorm
from jaxgen.implicit_bias.norms import LpNorm as LpNorm
from jaxgen.implicit_bias.norms import Norm as Norm
from jaxgen.implicit_bias.norms import NuclearNorm as NuclearNorm
from jaxgen.implicit_bias.norms import QuadraticNorm as QuadraticNorm
from jaxgen.implicit_bias.norms import SpectralNorm as SpectralNorm
from jaxgen.implicit_bias.norms import fourier_norm as fourier_norm
from jaxgen.implicit_bias.norms import lp_norm as lp_norm
from jaxgen.implicit_bias.norms import nuclear_norm as nuclear_norm
from jaxgen.implicit_bias.norms import quadratic_norm as quadratic_norm
from jaxgen.implicit_bias.norms import spectral_norm as spectral_norm
from jaxgen.implicit_bias.parametrizations import DiagonalNet as DiagonalNet
from jaxgen.implicit_bias.parametrizations import ReparametrizedFlow as ReparametrizedFlow
from jaxgen.implicit_bias.parametrizations import SeparableParametrization as SeparableParametrization
from jaxgen.implicit_bias.parametrizations import diagonal_net as diagonal_net
from jaxgen.implicit_bias.parametrizations import metric_mismatch as metric_mismatch
from jaxgen.implicit_bias.parametrizations import parametrization_from_separable_potential as parametrization_from_separable_potential
from jaxgen.implicit_bias.parametrizations import pushforward_metric as pushforward_metric
from jaxgen.implicit_bias.parametrizations import reparametrized_flow as reparametrized_flow
from jaxgen.implicit_bias.potentials import Potential as Potential
from jaxgen.implicit_bias.potentials import entropy as entropy
from jaxgen.implicit_bias.potentials import lp_squared as lp_squared
from jaxgen.implicit_bias.potentials import power_positive as power_positive
from jaxgen.implicit_bias.potentials import quadratic as quadratic
from jaxgen.implicit_bias.potentials import simplex_entropy as simplex_entropy
from jaxgen.implicit_bias.potentials import squared_l2 as squared_l2
from jaxgen.implicit_bias.representation_costs import balancedness_relu as balancedness_relu
from jaxgen.implicit_bias.representation_costs import rebalance as rebalance
from jaxgen.implicit_bias.representation_costs import representation_cost as representation_cost
from jaxgen.implicit_bias.separability import Separation as Separation
from jaxgen.implicit_bias.separability import SeparationCertificate as SeparationCertificate
from jaxgen.implicit_bias.separability import is_separable as is_separable
from jaxgen.implicit_bias.spectral_potentials import spectral_entropy as spectral_entropy
from jaxgen.implicit_bias.spectral_potentials import spectral_hyperbolic_entropy as spectral_hyperbolic_entropy
from jaxgen.implicit_bias.stagewise import forward_stagewise as forward_stagewise
from jaxgen.implicit_bias.stagewise import lasso_path as lasso_path
from jaxgen.implicit_bias.stagewise import path_is_monotone as path_is_monotone
from jaxgen.implicit_bias.steepest import steepest_descent as steepest_descent
from jaxgen.implicit_bias.steepest import steepest_flow as steepest_flow

__all__ = [
    "Boosting",
    "BoostingTrace",
    "BregmanInterpolator",
    "BregmanKkt",
    "CommutatorResidual",
    "DiagonalNet",
    "DiagonalNetRun",
    "DirectionDecomposition",
    "ExcessNorms",
    "FourierNorm",
    "GradientExpansion",
    "HomogeneityOrder",
    "Inequality",
    "InterpolationSet",
    "KKTReport",
    "Licq",
    "LpNorm",
    "MarginCertificates",
    "MatrixSensing",
    "MaxMargin",
    "NonnegativeLeastSquares",
    "Norm",
    "NuclearNorm",
    "NuclearNormMinimum",
    "Potential",
    "QuadraticNorm",
    "ReparametrizedFlow",
    "RichLazyThresholds",
    "SeparableParametrization",
    "Separation",
    "SeparationCertificate",
    "SmoothedMargin",
    "SpectralNorm",
    "SteepestTrace",
    "Trained",
    "absorb_labels",
    "adaboost",
    "adaptive_descent",
    "balanced_factors",
    "balanced_velocity",
    "balancedness",
    "balancedness_relu",
    "bregman_divergence",
    "bregman_interpolator",
    "bregman_kkt_residual",
    "commutator_residual",
    "deep_linear_flow",
    "diagonal_depth",
    "diagonal_net",
    "direction_decomposition",
    "dual_flow",
    "effective_rank",
    "end_to_end",
    "end_to_end_velocity",
    "entropy",
    "euler_residual",
    "excess_norm_curve",
    "excess_norms",
    "factored_flow",
    "forward_stagewise",
    "fourier_norm",
    "gradient_descent",
    "gradient_expansion_error",
    "homogeneity_degree",
    "homogeneity_order",
    "hyperbolic_entropy",
    "induced_potential",
    "interpolation_set",
    "is_realizable",
    "is_separable",
    "lasso_path",
    "licq_rank",
    "lie_bracket",
    "linear_convolutional",
    "linear_diagonal",
    "linear_fully_connected",
    "linear_net",
    "log_exp_loss",
    "log_logistic_loss",
    "log_sigmoid_loss",
    "lp_norm",
    "lp_squared",
    "margin_certificates",
    "margin_gap",
    "margin_weights",
    "margins",
    "matrix_sensing_problem",
    "max_margin",
    "max_margin_kkt",
    "metric_mismatch",
    "min_l1_interpolator",
    "min_norm_interpolator",
    "min_norm_interpolator_lp",
    "min_nuclear_norm_psd_commuting",
    "mirror_descent",
    "mirror_flow",
    "model_margins",
    "natural_gradient",
    "nonnegative_least_squares",
    "normalized_margin",
    "normalized_margin_homogeneous",
    "nuclear_norm",
    "parametrization_from_separable_potential",
    "path_is_monotone",
    "power_positive",
    "pushforward_metric",
    "quadratic",
    "quadratic_norm",
    "rebalance",
    "reparametrized_flow",
    "representation_cost",
    "rich_lazy_thresholds",
    "sign_solution",
    "simplex_entropy",
    "singular_value_velocity",
    "smoothed_margin",
    "spectral_entropy",
    "spectral_entropy_kkt_residual",
    "spectral_hyperbolic_entropy",
    "spectral_norm",
    "squared_l2",
    "steepest_descent",
    "steepest_descent_exp",
    "steepest_flow",
    "train_diagonal_net",
    "train_to_direction",
]
