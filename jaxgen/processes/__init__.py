"""Training as a random process: SGD, SGLD, the auxiliary weight process, and what is estimated over training seeds."""

from jaxgen.processes.batches import batch_indices as batch_indices
from jaxgen.processes.gaps import FlatnessTerm as FlatnessTerm
from jaxgen.processes.gaps import GapDecomposition as GapDecomposition
from jaxgen.processes.gaps import GeneralizationGap as GeneralizationGap
from jaxgen.processes.gaps import flatness_term as flatness_term
from jaxgen.processes.gaps import gap_decomposition as gap_decomposition
from jaxgen.processes.gaps import generalization_gap as generalization_gap
from jaxgen.processes.noisy import auxiliary_weight_process as auxiliary_weight_process
from jaxgen.processes.noisy import sample_auxiliary_noise as sample_auxiliary_noise
from jaxgen.processes.noisy import sgld as sgld
from jaxgen.processes.oracles import GaussianOracle as GaussianOracle
from jaxgen.processes.oracles import GradientOracle as GradientOracle
from jaxgen.processes.oracles import MinibatchOracle as MinibatchOracle
from jaxgen.processes.oracles import gaussian_oracle as gaussian_oracle
from jaxgen.processes.oracles import minibatch_oracle as minibatch_oracle
from jaxgen.processes.phases import Phases as Phases
from jaxgen.processes.phases import phase_segmentation as phase_segmentation
from jaxgen.processes.study import Study as Study
from jaxgen.processes.study import multi_seed_study as multi_seed_study
from jaxgen.processes.training import sgd as sgd
from jaxgen.processes.training import train as train

__all__ = [
    "FlatnessTerm",
    "GapDecomposition",
    "GaussianOracle",
    "GeneralizationGap",
    "GradientOracle",
    "MinibatchOracle",
    "Phases",
    "Study",
    "auxiliary_weight_process",
    "batch_indices",
    "flatness_term",
    "gap_decomposition",
    "gaussian_oracle",
    "generalization_gap",
    "minibatch_oracle",
    "multi_seed_study",
    "phase_segmentation",
    "sample_auxiliary_noise",
    "sgd",
    "sgld",
    "train",
]
