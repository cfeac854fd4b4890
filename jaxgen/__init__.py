"""jaxgen: the theory of deep learning, computed and checked in JAX.

Quantities that appear in theorems are plain functions in the rooms listed below; every theorem is an executable claim in
`jaxgen.claims`; multi-seed experiments are in `jaxgen.studies`. Rooms are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxgen._core.results import Bound as Bound
from jaxgen._core.results import Estimate as Estimate

if TYPE_CHECKING:
    from jaxgen import bounds as bounds
    from jaxgen import claims as claims
    from jaxgen import curvature as curvature
    from jaxgen import data as data
    from jaxgen import gradients as gradients
    from jaxgen import implicit_bias as implicit_bias
    from jaxgen import information as information
    from jaxgen import models as models
    from jaxgen import normalization as normalization
    from jaxgen import ntk as ntk
    from jaxgen import optimization as optimization
    from jaxgen import plotting as plotting
    from jaxgen import processes as processes
    from jaxgen import seeds as seeds
    from jaxgen import structure as structure
    from jaxgen import studies as studies

ROOMS = (
    "seeds",
    "data",
    "models",
    "structure",
    "information",
    "gradients",
    "curvature",
    "processes",
    "optimization",
    "ntk",
    "implicit_bias",
    "normalization",
    "bounds",
    "plotting",
    "studies",
    "claims",
)
"""Public rooms, in the order in which imports may run."""

__version__ = "0.1.0"
__all__ = [
    "Bound",
    "Estimate",
    "bounds",
    "claims",
    "curvature",
    "data",
    "gradients",
    "implicit_bias",
    "information",
    "models",
    "normalization",
    "ntk",
    "optimization",
    "plotting",
    "processes",
    "seeds",
    "structure",
    "studies",
]


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return importlib.import_module(f"jaxgen.{name}")
    raise AttributeError(f"module 'jaxgen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *ROOMS])
