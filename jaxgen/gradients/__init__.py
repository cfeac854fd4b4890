"""Gradients of per-example losses: norms, inner products, and every variance of them that a theorem asks for.

A loss is `loss_fn(params, batch) -> (N,)`, one value per example; the library takes the mean. It must not couple examples:
where one example's gradient is needed, the loss is evaluated on a batch of that example alone.
"""

from jaxgen.gradients.across_seeds import seed_deviations as seed_deviations
from jaxgen.gradients.across_seeds import seed_dispersion as seed_dispersion
from jaxgen.gradients.examples import gram as gram
from jaxgen.gradients.examples import per_example as per_example
from jaxgen.gradients.examples import squared_norms as squared_norms
from jaxgen.gradients.perturbed import sensitivity as sensitivity
from jaxgen.gradients.risks import risk as risk
from jaxgen.gradients.risks import value_and_gradient as value_and_gradient
from jaxgen.gradients.spread import batch_gradient_variance as batch_gradient_variance
from jaxgen.gradients.spread import dispersion as dispersion
from jaxgen.gradients.spread import neu_variance as neu_variance

__all__ = [
    "batch_gradient_variance",
    "dispersion",
    "gram",
    "neu_variance",
    "per_example",
    "risk",
    "seed_deviations",
    "seed_dispersion",
    "sensitivity",
    "squared_norms",
    "value_and_gradient",
]
