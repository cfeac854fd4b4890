"""Norms of nets that bounds are made of: layer by layer, over paths, in the Fisher metric; and the margin bounds they give."""

from jaxgen.bounds.norms.fisher_rao import fisher_rao_norm as fisher_rao_norm
from jaxgen.bounds.norms.layers import layer_norms as layer_norms
from jaxgen.bounds.norms.layers import spectral_norms as spectral_norms
from jaxgen.bounds.norms.paths import path_norm as path_norm
from jaxgen.bounds.norms.products import bartlett_bound as bartlett_bound
from jaxgen.bounds.norms.products import bartlett_complexity as bartlett_complexity
from jaxgen.bounds.norms.products import golowich_bound as golowich_bound
from jaxgen.bounds.norms.products import golowich_rademacher as golowich_rademacher
from jaxgen.bounds.norms.products import path_norm_bound as path_norm_bound
from jaxgen.bounds.norms.products import path_norm_rademacher as path_norm_rademacher

__all__ = [
    "bartlett_bound",
    "bartlett_complexity",
    "fisher_rao_norm",
    "golowich_bound",
    "golowich_rademacher",
    "layer_norms",
    "path_norm",
    "path_norm_bound",
    "path_norm_rademacher",
    "spectral_norms",
]
