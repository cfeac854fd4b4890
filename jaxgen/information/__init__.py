"""Entropy, relative entropy and mutual information, in nats: exact for tables and Gaussians, estimated from samples."""

from jaxgen.information.discrete import conditional_entropy as conditional_entropy
from jaxgen.information.discrete import conditional_kl as conditional_kl
from jaxgen.information.discrete import conditional_mutual_information as conditional_mutual_information
from jaxgen.information.discrete import entropy as entropy
from jaxgen.information.discrete import information_diagram as information_diagram
from jaxgen.information.discrete import kl_divergence as kl_divergence
from jaxgen.information.discrete import mutual_information as mutual_information
from jaxgen.information.discrete import push_forward as push_forward
from jaxgen.information.estimators import donsker_varadhan as donsker_varadhan
from jaxgen.information.estimators import gaussian_sample_mutual_information as gaussian_sample_mutual_information
from jaxgen.information.estimators import kl_monte_carlo as kl_monte_carlo
from jaxgen.information.estimators import ksg_mutual_information as ksg_mutual_information
from jaxgen.information.estimators import permutation_baseline as permutation_baseline
from jaxgen.information.estimators import plugin_mutual_information as plugin_mutual_information
from jaxgen.information.fano import fano_bound as fano_bound
from jaxgen.information.fano import fano_error_lower_bound as fano_error_lower_bound
from jaxgen.information.gaussian import gaussian_channel_bound as gaussian_channel_bound
from jaxgen.information.gaussian import gaussian_conditional_mutual_information as gaussian_conditional_mutual_information
from jaxgen.information.gaussian import gaussian_entropy as gaussian_entropy
from jaxgen.information.gaussian import gaussian_kl as gaussian_kl
from jaxgen.information.gaussian import gaussian_mutual_information as gaussian_mutual_information
from jaxgen.information.gaussian import golden_bound as golden_bound
from jaxgen.information.subgaussian import subgaussian_constant as subgaussian_constant
from jaxgen.information.subgaussian import subgaussian_constant_empirical as subgaussian_constant_empirical

__all__ = [
    "conditional_entropy",
    "conditional_kl",
    "conditional_mutual_information",
    "donsker_varadhan",
    "entropy",
    "fano_bound",
    "fano_error_lower_bound",
    "gaussian_channel_bound",
    "gaussian_conditional_mutual_information",
    "gaussian_entropy",
    "gaussian_kl",
    "gaussian_mutual_information",
    "gaussian_sample_mutual_information",
    "golden_bound",
    "information_diagram",
    "kl_divergence",
    "kl_monte_carlo",
    "ksg_mutual_information",
    "mutual_information",
    "permutation_baseline",
    "plugin_mutual_information",
    "push_forward",
    "subgaussian_constant",
    "subgaussian_constant_empirical",
]
