"""Gradients of per-example losses: norms, inner products, and every variance of them that a theorem asks for.

A loss is `loss_fn(params, batch) -> (N,)`, one value per example; the library takes the mean. It must not couple examples:
where one example's gradient is needed, the loss is evaluated on a batch of that example alone.
"""

from jaxgen.gradients.across_seeds import seed_deviations as seed_deviations
from jaxgen.gradients.across_seeds import seed_dispersion as seed_dispersion
from jaxgen.gradients.examples import gram as gram
from jaxgen.gradients.examples import per_example as per_example
from jaxgen.gradients.examples import squared_norms as squared_norms
from jaxgen.gradients.graphs import NodeSensitivities as NodeSensitivities
from jaxgen.gradients.graphs import dag_backprop as dag_backprop
from jaxgen.gradients.graphs import dag_forward_all_pairs as dag_forward_all_pairs
from jaxgen.gradients.graphs import node_sensitivities as node_sensitivities
from jaxgen.gradients.noise import NoiseCovariance as NoiseCovariance
from jaxgen.gradients.noise import cosine_similarities as cosine_similarities
from jaxgen.gradients.noise import noise_covariance as noise_covariance
from jaxgen.gradients.noise import noise_scale as noise_scale
from jaxgen.gradients.perturbed import sensitivity as sensitivity
from jaxgen.gradients.risks import risk as risk
from jaxgen.gradients.risks import value_and_gradient as value_and_gradient
from jaxgen.gradients.spread import batch_gradient_variance as batch_gradient_variance
from jaxgen.gradients.spread import dispersion as dispersion
from jaxgen.gradients.spread import neu_variance as neu_variance

__all__ = [
    "NodeSensitivities",
    "NoiseCovariance",
    "batch_gradient_variance",
    "cosine_similarities",
    "dag_forward_all_pairs",
    "dag_backprop",
    "dispersion",
    "gram",
    "neu_variance",
    "node_sensitivities",
    "noise_covariance",
    "noise_scale",
    "per_example",
    "risk",
    "seed_deviations",
    "seed_dispersion",
    "sensitivity",
    "squared_norms",
    "value_and_gradient",
]
