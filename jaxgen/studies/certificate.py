"""PAC-Bayes certificates of convolutional nets of which the last layer is random, beside what held-out points say (GEN-32, GEN-34).

Each seed splits the training images in two. A net is trained on one half, and its last layer made Gaussian: the prior, which has not
seen the other half. There the posterior is trained and the certificate stated, by an exact integral in place of draws. Beside it
stands the hold-out bound of the net itself, and the error on test images that nothing else has seen.
"""

from typing import Any

from jaxtyping import PyTree

from jaxgen.studies import _certificates
from jaxgen.studies._problem import Setup

TITLE = "certificates of nets with a random last layer and a prior learned from half of the data"
DEFAULT_SEEDS = 3
NET = {"channels": [16, 32, 128], "window": 5, "padding": "VALID", "dropout": 0.3}
TRAINING = {
    "num_epochs": 24,
    "batch_size": 128,
    "learning_rate": 2.5e-3,
    "weight_decay": 1e-3,
    "smoothing": 0.05,
    "averaging": 0.99,
    "distortions": {"rotation": 0.2, "scale": 0.12, "shear": 0.15, "shift": 2.0, "elastic": 1.5},
}
CERTIFICATE = {
    "fraction": 0.5,
    "delta": 0.05,
    "spread": 0.02,
    "num_for_scale": 5000,
    "guess": 0.005,
    "num_hard": 6000,
    "num_steps": 150,
    "learning_rate": 0.03,
}
SMALL = {
    "net": NET | {"channels": [16, 32, 64], "window": 3, "padding": "SAME"},
    "training": TRAINING | {"num_epochs": 40, "batch_size": 64, "distortions": {"rotation": 0.15, "shear": 0.1, "shift": 0.7, "elastic": 0.3}},
    "certificate": CERTIFICATE | {"guess": 0.02},
}
SETTINGS: dict[str, Any] = {"large_images": {"net": NET, "training": TRAINING, "certificate": CERTIFICATE}, "small_images": SMALL}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the nets."""
    return _certificates.of_seeds(setup, SETTINGS)


def table(results: dict) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    return _certificates.table(results)


def draw(results: dict) -> Any:
    """The study's figure."""
    from jaxgen import plotting

    return plotting.certificate(results)
