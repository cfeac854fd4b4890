"""Complexity measures of trained nets, and how well they rank generalization gaps."""

from jaxgen.bounds.measures.complexity import complexity_measures as complexity_measures
from jaxgen.bounds.measures.definitions import MEASURES as MEASURES
from jaxgen.bounds.measures.definitions import Measure as Measure
from jaxgen.bounds.measures.perturbations import PerturbationScale as PerturbationScale
from jaxgen.bounds.measures.perturbations import perturbation_sigma as perturbation_sigma
from jaxgen.bounds.measures.perturbations import perturbed as perturbed
from jaxgen.bounds.measures.perturbations import worst_case_alpha as worst_case_alpha
from jaxgen.bounds.measures.rankings import granulated_kendall as granulated_kendall
from jaxgen.bounds.measures.rankings import kendall_tau as kendall_tau

__all__ = [
    "MEASURES",
    "Measure",
    "PerturbationScale",
    "complexity_measures",
    "granulated_kendall",
    "kendall_tau",
    "perturbation_sigma",
    "perturbed",
    "worst_case_alpha",
]
