"""Training as a random process: SGD, SGLD, the auxiliary weight process, and what is estimated over training seeds."""

from jaxgen.processes.batches import batch_indices as batch_indices
from jaxgen.processes.brownian import brownian_path as brownian_path
from jaxgen.processes.brownian import brownian_refine as brownian_refine
from jaxgen.processes.flows import gradient_flow as gradient_flow
from jaxgen.processes.gaps import FlatnessTerm as FlatnessTerm
from jaxgen.processes.gaps import GapDecomposition as GapDecomposition
from jaxgen.processes.gaps import GeneralizationGap as GeneralizationGap
from jaxgen.processes.gaps import flatness_term as flatness_term
from jaxgen.processes.gaps import gap_decomposition as gap_decomposition
from jaxgen.processes.gaps import generalization_gap as generalization_gap
from jaxgen.processes.generators import OneStepMoments as OneStepMoments
from jaxgen.processes.generators import ito_generator as ito_generator
from jaxgen.processes.generators import one_step_moments as one_step_moments
from jaxgen.processes.generators import oracle_step_moments as oracle_step_moments
from jaxgen.processes.noisy import auxiliary_weight_process as auxiliary_weight_process
from jaxgen.processes.noisy import sample_auxiliary_noise as sample_auxiliary_noise
from jaxgen.processes.noisy import sgld as sgld
from jaxgen.processes.oracles import GaussianOracle as GaussianOracle
from jaxgen.processes.oracles import GradientOracle as GradientOracle
from jaxgen.processes.oracles import MinibatchOracle as MinibatchOracle
from jaxgen.processes.oracles import OracleConditions as OracleConditions
from jaxgen.processes.oracles import gaussian_oracle as gaussian_oracle
from jaxgen.processes.oracles import minibatch_oracle as minibatch_oracle
from jaxgen.processes.oracles import oracle_conditions as oracle_conditions
from jaxgen.processes.phases import Phases as Phases
from jaxgen.processes.phases import phase_segmentation as phase_segmentation
from jaxgen.processes.scaling import Scaled as Scaled
from jaxgen.processes.scaling import canonical_noise_scale as canonical_noise_scale
from jaxgen.processes.scaling import linear_scaling as linear_scaling
from jaxgen.processes.stationary import stationary_covariance as stationary_covariance
from jaxgen.processes.stochastic_equations import canonical_sde as canonical_sde
from jaxgen.processes.stochastic_equations import euler_maruyama as euler_maruyama
from jaxgen.processes.stochastic_equations import time_change as time_change
from jaxgen.processes.study import Study as Study
from jaxgen.processes.study import multi_seed_study as multi_seed_study
from jaxgen.processes.supersamples import MaskedTraining as MaskedTraining
from jaxgen.processes.supersamples import Supersample as Supersample
from jaxgen.processes.supersamples import supersample as supersample
from jaxgen.processes.supersamples import train_on_masks as train_on_masks
from jaxgen.processes.svag import SvagMoments as SvagMoments
from jaxgen.processes.svag import SvagOracle as SvagOracle
from jaxgen.processes.svag import svag as svag
from jaxgen.processes.svag import svag_coefficients as svag_coefficients
from jaxgen.processes.svag import svag_gradient as svag_gradient
from jaxgen.processes.svag import svag_moments as svag_moments
from jaxgen.processes.svag import svag_oracle as svag_oracle
from jaxgen.processes.training import sgd as sgd
from jaxgen.processes.training import train as train
from jaxgen.processes.weak_errors import trajectory_distance as trajectory_distance
from jaxgen.processes.weak_errors import weak_error as weak_error
from jaxgen.processes.weak_errors import weak_order as weak_order

__all__ = [
    "FlatnessTerm",
    "GapDecomposition",
    "GaussianOracle",
    "GeneralizationGap",
    "GradientOracle",
    "MaskedTraining",
    "MinibatchOracle",
    "OneStepMoments",
    "OracleConditions",
    "Phases",
    "Scaled",
    "Study",
    "Supersample",
    "SvagMoments",
    "SvagOracle",
    "auxiliary_weight_process",
    "batch_indices",
    "brownian_path",
    "brownian_refine",
    "canonical_noise_scale",
    "canonical_sde",
    "euler_maruyama",
    "flatness_term",
    "gap_decomposition",
    "gaussian_oracle",
    "generalization_gap",
    "gradient_flow",
    "ito_generator",
    "linear_scaling",
    "minibatch_oracle",
    "multi_seed_study",
    "one_step_moments",
    "oracle_conditions",
    "oracle_step_moments",
    "phase_segmentation",
    "sample_auxiliary_noise",
    "sgd",
    "sgld",
    "stationary_covariance",
    "supersample",
    "svag",
    "svag_coefficients",
    "svag_gradient",
    "svag_moments",
    "svag_oracle",
    "time_change",
    "train",
    "train_on_masks",
    "trajectory_distance",
    "weak_error",
    "weak_order",
]
