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
from jaxgen.structure.explanation import Explanation as Explanation
from jaxgen.structure.explanation import Way as Way
from jaxgen.structure.factors import Factors as Factors
from jaxgen.structure.factors import explain as explain
from jaxgen.structure.factors import factorize as factorize
from jaxgen.structure.factors import is_positional as is_positional

__all__ = ["Coupled", "Explanation", "Factors", "Layers", "Pass", "Unknown", "Way", "explain", "factorize", "is_positional"]
