"""The layers of a function: where parameters meet examples, and what every example says about them.

From the traced program of any loss or model come the sites at which parameters are multiplied with, or added to, values that
examples influence; one forward and one backward pass then give every example's gradient as a product of activations and
cotangents, whose norms and inner products need no gradient to be formed. What has no such structure is differentiated example
by example, so that no number depends on whether structure was found. `explain` says which parameters went which way.
"""

from jaxgen.structure.axes import Coupled as Coupled
from jaxgen.structure.axes import Unknown as Unknown
from jaxgen.structure.capture import Layers as Layers
from jaxgen.structure.capture import Pass as Pass
from jaxgen.structure.capture import biases as biases
from jaxgen.structure.capture import understood as understood
from jaxgen.structure.chains import Layer as Layer
from jaxgen.structure.chains import Link as Link
from jaxgen.structure.chains import chain as chain
from jaxgen.structure.chains import layers_of_chain as layers_of_chain
from jaxgen.structure.degrees import degrees as degrees
from jaxgen.structure.examples import is_one_alone as is_one_alone
from jaxgen.structure.examples import rows as rows
from jaxgen.structure.explanation import Explanation as Explanation
from jaxgen.structure.explanation import Way as Way
from jaxgen.structure.factors import Factors as Factors
from jaxgen.structure.factors import explain as explain
from jaxgen.structure.factors import factorize as factorize
from jaxgen.structure.factors import is_positional as is_positional
from jaxgen.structure.random_parameters import enters_as_noise as enters_as_noise
from jaxgen.structure.random_parameters import with_random_parameters as with_random_parameters
from jaxgen.structure.second_order import second_derivatives as second_derivatives
from jaxgen.structure.sites import Site as Site
from jaxgen.structure.terms import Blocks as Blocks
from jaxgen.structure.terms import Product as Product
from jaxgen.structure.terms import Rows as Rows
from jaxgen.structure.terms import inner as inner

__all__ = [
    "Blocks",
    "Coupled",
    "Explanation",
    "Factors",
    "Layer",
    "Layers",
    "Link",
    "Pass",
    "Product",
    "Rows",
    "Site",
    "Unknown",
    "Way",
    "biases",
    "chain",
    "degrees",
    "enters_as_noise",
    "explain",
    "factorize",
    "inner",
    "is_one_alone",
    "is_positional",
    "layers_of_chain",
    "rows",
    "second_derivatives",
    "understood",
    "with_random_parameters",
]
