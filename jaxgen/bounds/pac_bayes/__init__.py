"""PAC-Bayes: bounds on the risk of randomized classifiers, training by them, and certificates."""

from jaxgen.bounds.pac_bayes.binary_kl import binary_kl as binary_kl
from jaxgen.bounds.pac_bayes.binary_kl import binary_kl_inverse as binary_kl_inverse
from jaxgen.bounds.pac_bayes.binary_kl import kl_moment as kl_moment
from jaxgen.bounds.pac_bayes.certificates import Certificate as Certificate
from jaxgen.bounds.pac_bayes.certificates import Part as Part
from jaxgen.bounds.pac_bayes.certificates import PriorSplit as PriorSplit
from jaxgen.bounds.pac_bayes.certificates import certificate as certificate
from jaxgen.bounds.pac_bayes.certificates import certify as certify
from jaxgen.bounds.pac_bayes.certificates import single_draw_bound as single_draw_bound
from jaxgen.bounds.pac_bayes.certificates import split_prior as split_prior
from jaxgen.bounds.pac_bayes.derandomized import margin_pac_bayes_bound as margin_pac_bayes_bound
from jaxgen.bounds.pac_bayes.derandomized import max_stable_sigma as max_stable_sigma
from jaxgen.bounds.pac_bayes.discrete import discrete_kl as discrete_kl
from jaxgen.bounds.pac_bayes.discrete import donsker_varadhan_gap as donsker_varadhan_gap
from jaxgen.bounds.pac_bayes.discrete import gibbs_posterior as gibbs_posterior
from jaxgen.bounds.pac_bayes.divergence_bounds import catoni_constant as catoni_constant
from jaxgen.bounds.pac_bayes.divergence_bounds import catoni_grid as catoni_grid
from jaxgen.bounds.pac_bayes.divergence_bounds import optimal_lambda as optimal_lambda
from jaxgen.bounds.pac_bayes.divergence_bounds import pac_bayes_bound as pac_bayes_bound
from jaxgen.bounds.pac_bayes.gaussian import GaussianParams as GaussianParams
from jaxgen.bounds.pac_bayes.gaussian import PriorGrid as PriorGrid
from jaxgen.bounds.pac_bayes.gaussian import choose_prior as choose_prior
from jaxgen.bounds.pac_bayes.gaussian import gaussian as gaussian
from jaxgen.bounds.pac_bayes.gaussian import gaussian_kl as gaussian_kl
from jaxgen.bounds.pac_bayes.gaussian import log_density_ratio as log_density_ratio
from jaxgen.bounds.pac_bayes.gaussian import optimal_prior_variance as optimal_prior_variance
from jaxgen.bounds.pac_bayes.gaussian import prior_grid_penalty as prior_grid_penalty
from jaxgen.bounds.pac_bayes.gaussian import sample_gaussian as sample_gaussian
from jaxgen.bounds.pac_bayes.gradient_descent_law import gd_gaussian_kl as gd_gaussian_kl
from jaxgen.bounds.pac_bayes.gradient_descent_law import gd_gaussian_posterior as gd_gaussian_posterior
from jaxgen.bounds.pac_bayes.last_layer import argmax_error as argmax_error
from jaxgen.bounds.pac_bayes.last_layer import certify_last_layer as certify_last_layer
from jaxgen.bounds.pac_bayes.last_layer import last_layer_risk as last_layer_risk
from jaxgen.bounds.pac_bayes.last_layer import smooth_argmax_error as smooth_argmax_error
from jaxgen.bounds.pac_bayes.last_layer import train_last_layer as train_last_layer
from jaxgen.bounds.pac_bayes.linear_classifiers import linear_gibbs_risk as linear_gibbs_risk
from jaxgen.bounds.pac_bayes.linear_classifiers import linear_margin_certificate as linear_margin_certificate
from jaxgen.bounds.pac_bayes.objectives import bounded_cross_entropy as bounded_cross_entropy
from jaxgen.bounds.pac_bayes.objectives import pac_bayes_objective as pac_bayes_objective
from jaxgen.bounds.pac_bayes.stochastic import GibbsRisk as GibbsRisk
from jaxgen.bounds.pac_bayes.stochastic import gibbs_risk as gibbs_risk
from jaxgen.bounds.pac_bayes.stochastic import is_local as is_local
from jaxgen.bounds.pac_bayes.stochastic import stochastic_outputs as stochastic_outputs
from jaxgen.bounds.pac_bayes.training import PacBayesHistory as PacBayesHistory
from jaxgen.bounds.pac_bayes.training import pac_bayes_train as pac_bayes_train

__all__ = [
    "Certificate",
    "GaussianParams",
    "GibbsRisk",
    "PacBayesHistory",
    "Part",
    "PriorGrid",
    "PriorSplit",
    "argmax_error",
    "binary_kl",
    "binary_kl_inverse",
    "bounded_cross_entropy",
    "catoni_constant",
    "catoni_grid",
    "certificate",
    "certify",
    "certify_last_layer",
    "choose_prior",
    "discrete_kl",
    "donsker_varadhan_gap",
    "gaussian",
    "gaussian_kl",
    "gd_gaussian_kl",
    "gd_gaussian_posterior",
    "gibbs_posterior",
    "gibbs_risk",
    "is_local",
    "kl_moment",
    "last_layer_risk",
    "linear_gibbs_risk",
    "linear_margin_certificate",
    "log_density_ratio",
    "margin_pac_bayes_bound",
    "max_stable_sigma",
    "optimal_lambda",
    "optimal_prior_variance",
    "pac_bayes_bound",
    "pac_bayes_objective",
    "pac_bayes_train",
    "prior_grid_penalty",
    "sample_gaussian",
    "single_draw_bound",
    "smooth_argmax_error",
    "split_prior",
    "stochastic_outputs",
    "train_last_layer",
]
