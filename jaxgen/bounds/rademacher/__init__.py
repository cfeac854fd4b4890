"""Rademacher complexity: definitions, closed forms for linear and kernel predictors, the bound on the risk, random labels.

Complexities are quantities, not bounds: they come as arrays or as `jaxgen.Estimate`, and `rademacher_bound` makes a bound of them.
"""

from jaxgen.bounds.rademacher.complexities import empirical_rademacher as empirical_rademacher
from jaxgen.bounds.rademacher.complexities import rademacher_two_sample as rademacher_two_sample
from jaxgen.bounds.rademacher.complexities import rademacher_via_fit as rademacher_via_fit
from jaxgen.bounds.rademacher.generalization import rademacher_bound as rademacher_bound
from jaxgen.bounds.rademacher.linear import kernel_rademacher_bound as kernel_rademacher_bound
from jaxgen.bounds.rademacher.linear import rademacher_linear as rademacher_linear
from jaxgen.bounds.rademacher.linear import rademacher_linear_bound as rademacher_linear_bound
from jaxgen.bounds.rademacher.random_labels import LabelFlip as LabelFlip
from jaxgen.bounds.rademacher.random_labels import label_flip_identity as label_flip_identity
from jaxgen.bounds.rademacher.random_labels import random_label_capacity as random_label_capacity

__all__ = [
    "LabelFlip",
    "empirical_rademacher",
    "kernel_rademacher_bound",
    "label_flip_identity",
    "rademacher_bound",
    "rademacher_linear",
    "rademacher_linear_bound",
    "rademacher_two_sample",
    "rademacher_via_fit",
    "random_label_capacity",
]
