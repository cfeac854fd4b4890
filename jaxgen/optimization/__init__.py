"""Optimization: step sizes and stability of gradient descent."""

from jaxgen.optimization.edge_of_stability import SharpnessAlongGD as SharpnessAlongGD
from jaxgen.optimization.edge_of_stability import sharpness_along_gd as sharpness_along_gd
from jaxgen.optimization.edge_of_stability import stability_threshold as stability_threshold

__all__ = ["SharpnessAlongGD", "sharpness_along_gd", "stability_threshold"]
