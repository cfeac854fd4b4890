"""Uniform convergence: bounds for one hypothesis, for finite classes, for covers of normed ones, and the gaps over all of a class."""

from jaxgen.bounds.uniform.covers import Cover as Cover
from jaxgen.bounds.uniform.covers import cover_bound as cover_bound
from jaxgen.bounds.uniform.covers import cover_bound_lipschitz as cover_bound_lipschitz
from jaxgen.bounds.uniform.covers import greedy_cover as greedy_cover
from jaxgen.bounds.uniform.covers import log_covering_number_bound as log_covering_number_bound
from jaxgen.bounds.uniform.finite_classes import finite_class_bound as finite_class_bound
from jaxgen.bounds.uniform.finite_classes import occam_bound as occam_bound
from jaxgen.bounds.uniform.fixed_hypothesis import binomial_tail_inverse as binomial_tail_inverse
from jaxgen.bounds.uniform.fixed_hypothesis import hoeffding_penalty as hoeffding_penalty
from jaxgen.bounds.uniform.fixed_hypothesis import holdout_bound as holdout_bound
from jaxgen.bounds.uniform.lipschitz import local_loss_lipschitz as local_loss_lipschitz
from jaxgen.bounds.uniform.lipschitz import loss_lipschitz_on_ball as loss_lipschitz_on_ball
from jaxgen.bounds.uniform.sample_gaps import cross_sample_gap as cross_sample_gap
from jaxgen.bounds.uniform.sample_gaps import uniform_gap as uniform_gap
from jaxgen.bounds.uniform.solution_manifold import solution_manifold_dim as solution_manifold_dim

__all__ = [
    "Cover",
    "binomial_tail_inverse",
    "cover_bound",
    "cover_bound_lipschitz",
    "cross_sample_gap",
    "finite_class_bound",
    "greedy_cover",
    "hoeffding_penalty",
    "holdout_bound",
    "local_loss_lipschitz",
    "log_covering_number_bound",
    "loss_lipschitz_on_ball",
    "occam_bound",
    "solution_manifold_dim",
    "uniform_gap",
]
