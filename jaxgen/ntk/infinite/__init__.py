"""Kernels of infinitely wide nets: the neural tangent kernel and the covariance of the outputs, in closed form."""

from jaxgen.ntk.infinite.activations import DualActivation as DualActivation
from jaxgen.ntk.infinite.activations import dual_activation as dual_activation
from jaxgen.ntk.infinite.activations import leaky_relu as leaky_relu
from jaxgen.ntk.infinite.activations import quadrature as quadrature
from jaxgen.ntk.infinite.arc_cosine import relu_kappa0 as relu_kappa0
from jaxgen.ntk.infinite.arc_cosine import relu_kappa1 as relu_kappa1
from jaxgen.ntk.infinite.convolutional import convolutional as convolutional
from jaxgen.ntk.infinite.fully_connected import Kernels as Kernels
from jaxgen.ntk.infinite.fully_connected import fully_connected as fully_connected
from jaxgen.ntk.infinite.fully_connected import relu_series as relu_series
from jaxgen.ntk.infinite.fully_connected import two_layer as two_layer
from jaxgen.ntk.infinite.gaussians import Gaussians as Gaussians
from jaxgen.ntk.infinite.graph import graph as graph

__all__ = [
    "DualActivation",
    "Gaussians",
    "Kernels",
    "convolutional",
    "dual_activation",
    "fully_connected",
    "graph",
    "leaky_relu",
    "quadrature",
    "relu_kappa0",
    "relu_kappa1",
    "relu_series",
    "two_layer",
]
