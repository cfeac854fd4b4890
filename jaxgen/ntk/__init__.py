"""Neural tangent kernels: of finite nets, of infinitely wide ones, and what they say about training."""

from jaxgen.ntk import infinite as infinite
from jaxgen.ntk.alignment import EigenAlignment as EigenAlignment
from jaxgen.ntk.alignment import ParallelPairs as ParallelPairs
from jaxgen.ntk.alignment import check_inputs as check_inputs
from jaxgen.ntk.alignment import eigen_alignment as eigen_alignment
from jaxgen.ntk.alignment import kernel_target_alignment as kernel_target_alignment
from jaxgen.ntk.alignment import min_eigenvalue as min_eigenvalue
from jaxgen.ntk.alignment import predicted_residual as predicted_residual
from jaxgen.ntk.alignment import time_to_error as time_to_error
from jaxgen.ntk.drift import KernelDrift as KernelDrift
from jaxgen.ntk.drift import StabilityBound as StabilityBound
from jaxgen.ntk.drift import antisymmetrize as antisymmetrize
from jaxgen.ntk.drift import concentration_bound as concentration_bound
from jaxgen.ntk.drift import concentration_width as concentration_width
from jaxgen.ntk.drift import kernel_drift as kernel_drift
from jaxgen.ntk.drift import lazy as lazy
from jaxgen.ntk.drift import neuron_movement as neuron_movement
from jaxgen.ntk.drift import stability_bound as stability_bound
from jaxgen.ntk.drift import stability_width as stability_width
from jaxgen.ntk.empirical import empirical as empirical
from jaxgen.ntk.ensembles import Ensemble as Ensemble
from jaxgen.ntk.ensembles import ensemble as ensemble
from jaxgen.ntk.features import error_floor as error_floor
from jaxgen.ntk.files import to_memmap as to_memmap
from jaxgen.ntk.general_losses import GeneralPrediction as GeneralPrediction
from jaxgen.ntk.general_losses import predict_descent as predict_descent
from jaxgen.ntk.general_losses import predict_flow as predict_flow
from jaxgen.ntk.linearized import KernelOperator as KernelOperator
from jaxgen.ntk.linearized import linearize as linearize
from jaxgen.ntk.linearized import operator as operator
from jaxgen.ntk.linearized import velocity as velocity
from jaxgen.ntk.plans import Plan as Plan
from jaxgen.ntk.plans import plan as plan
from jaxgen.ntk.prediction import max_stable_learning_rate as max_stable_learning_rate
from jaxgen.ntk.prediction import predict as predict

__all__ = [
    "KernelOperator",
    "Plan",
    "empirical",
    "error_floor",
    "linearize",
    "operator",
    "plan",
    "to_memmap",
    "velocity",
    "EigenAlignment",
    "Ensemble",
    "GeneralPrediction",
    "KernelDrift",
    "ParallelPairs",
    "StabilityBound",
    "antisymmetrize",
    "check_inputs",
    "concentration_bound",
    "concentration_width",
    "eigen_alignment",
    "ensemble",
    "infinite",
    "kernel_drift",
    "kernel_target_alignment",
    "lazy",
    "max_stable_learning_rate",
    "min_eigenvalue",
    "neuron_movement",
    "predict",
    "predict_descent",
    "predict_flow",
    "predicted_residual",
    "stability_bound",
    "stability_width",
    "time_to_error",
]
