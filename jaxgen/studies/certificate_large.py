"""The certificates of the study `certificate` with a larger net that is trained for longer (GEN-32, GEN-34)."""

from typing import Any

from jaxtyping import PyTree

from jaxgen.studies import _certificates, certificate
from jaxgen.studies._problem import Setup

TITLE = "certificates of larger nets with a random last layer and a prior learned from half of the data"
DEFAULT_SEEDS = 3
LARGE = {
    "net": certificate.NET | {"channels": [32, 64, 256]},
    "training": certificate.TRAINING | {"num_epochs": 60},
    "certificate": certificate.CERTIFICATE,
}
SETTINGS: dict[str, Any] = certificate.SETTINGS | {"large_images": LARGE}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the nets."""
    return _certificates.of_seeds(setup, SETTINGS, certificate.of_seed)


table, draw = _certificates.table, _certificates.draw
