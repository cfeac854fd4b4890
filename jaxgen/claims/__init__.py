"""Claims: theorems as executable statements over many seeds, each with a control that must fail.

A claim draws a problem from a key, computes its two sides with public functions of the library, and returns a relation
between them. `jaxgen verify` runs claims; `verify` does so from Python.
"""

from jaxgen.claims._chapters import load as load
from jaxgen.claims._check import Check as Check
from jaxgen.claims._registry import Claim as Claim
from jaxgen.claims._registry import Control as Control
from jaxgen.claims._registry import NotAClaim as NotAClaim
from jaxgen.claims._registry import Registry as Registry
from jaxgen.claims._registry import claim as claim
from jaxgen.claims._registry import isolated as isolated
from jaxgen.claims._registry import not_a_claim as not_a_claim
from jaxgen.claims._relations import at_least as at_least
from jaxgen.claims._relations import at_most as at_most
from jaxgen.claims._relations import converges as converges
from jaxgen.claims._relations import equal as equal
from jaxgen.claims._relations import greater as greater
from jaxgen.claims._relations import less as less
from jaxgen.claims._relations import ordered as ordered
from jaxgen.claims._relations import rejects as rejects
from jaxgen.claims._results import CheckResult as CheckResult
from jaxgen.claims._results import ClaimResult as ClaimResult
from jaxgen.claims._results import ControlResult as ControlResult
from jaxgen.claims._results import Side as Side
from jaxgen.claims._runner import FAMILY_WISE_LEVEL as FAMILY_WISE_LEVEL
from jaxgen.claims._runner import run_claim as run_claim
from jaxgen.claims._runner import verify as verify
from jaxgen.claims._samples import at_most_in_mean as at_most_in_mean
from jaxgen.claims._samples import at_most_within as at_most_within
from jaxgen.claims._samples import equal_in_mean as equal_in_mean
from jaxgen.claims._samples import equal_within as equal_within
from jaxgen.claims._samples import with_probability as with_probability

__all__ = [
    "Check",
    "CheckResult",
    "Claim",
    "ClaimResult",
    "Control",
    "ControlResult",
    "NotAClaim",
    "Registry",
    "Side",
    "at_least",
    "at_most",
    "at_most_in_mean",
    "at_most_within",
    "claim",
    "converges",
    "equal",
    "equal_in_mean",
    "equal_within",
    "greater",
    "isolated",
    "less",
    "load",
    "not_a_claim",
    "ordered",
    "rejects",
    "run_claim",
    "verify",
    "with_probability",
]
