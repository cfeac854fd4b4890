"""Optimization: step sizes and stability of gradient descent, least squares and its spectral filters, kernel least squares."""

from jaxgen.optimization.edge_of_stability import SharpnessAlongGD as SharpnessAlongGD
from jaxgen.optimization.edge_of_stability import sharpness_along_gd as sharpness_along_gd
from jaxgen.optimization.edge_of_stability import stability_threshold as stability_threshold
from jaxgen.optimization.kernel_spectrum import KernelSpectrum as KernelSpectrum
from jaxgen.optimization.kernel_spectrum import dual_coefficients as dual_coefficients
from jaxgen.optimization.kernel_spectrum import kernel_spectrum as kernel_spectrum
from jaxgen.optimization.kernel_spectrum import positive_semidefinite as positive_semidefinite
from jaxgen.optimization.kernels import KernelInterpolant as KernelInterpolant
from jaxgen.optimization.kernels import dot_product_kernel_coefficients as dot_product_kernel_coefficients
from jaxgen.optimization.kernels import gaussian_kernel as gaussian_kernel
from jaxgen.optimization.kernels import gram as gram
from jaxgen.optimization.kernels import kernel_gd as kernel_gd
from jaxgen.optimization.kernels import kernel_interpolant as kernel_interpolant
from jaxgen.optimization.kernels import laplace_kernel as laplace_kernel
from jaxgen.optimization.kernels import polynomial_kernel as polynomial_kernel
from jaxgen.optimization.kernels import quadratic_features as quadratic_features
from jaxgen.optimization.kernels import rkhs_squared_norm as rkhs_squared_norm
from jaxgen.optimization.kernels import tensor_power_features as tensor_power_features
from jaxgen.optimization.least_squares import gd_limit as gd_limit
from jaxgen.optimization.least_squares import least_squares_flow as least_squares_flow
from jaxgen.optimization.least_squares import least_squares_gd as least_squares_gd
from jaxgen.optimization.least_squares import min_norm_solution as min_norm_solution
from jaxgen.optimization.least_squares import penrose_residuals as penrose_residuals
from jaxgen.optimization.least_squares import row_space_projector as row_space_projector
from jaxgen.optimization.polynomials import polynomial_features as polynomial_features
from jaxgen.optimization.polynomials import ridge as ridge
from jaxgen.optimization.spectral_filters import SpectralFilter as SpectralFilter
from jaxgen.optimization.spectral_filters import gradient_descent_filter as gradient_descent_filter
from jaxgen.optimization.spectral_filters import gradient_flow_filter as gradient_flow_filter
from jaxgen.optimization.spectral_filters import ridge_filter as ridge_filter
from jaxgen.optimization.spectral_filters import training_filter as training_filter

__all__ = [
    "KernelInterpolant",
    "KernelSpectrum",
    "SharpnessAlongGD",
    "SpectralFilter",
    "dot_product_kernel_coefficients",
    "dual_coefficients",
    "gaussian_kernel",
    "gd_limit",
    "gradient_descent_filter",
    "gradient_flow_filter",
    "gram",
    "kernel_gd",
    "kernel_interpolant",
    "kernel_spectrum",
    "laplace_kernel",
    "least_squares_flow",
    "least_squares_gd",
    "min_norm_solution",
    "penrose_residuals",
    "polynomial_features",
    "polynomial_kernel",
    "positive_semidefinite",
    "quadratic_features",
    "ridge",
    "ridge_filter",
    "rkhs_squared_norm",
    "row_space_projector",
    "sharpness_along_gd",
    "stability_threshold",
    "tensor_power_features",
    "training_filter",
]
