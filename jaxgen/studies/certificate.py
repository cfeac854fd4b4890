"""PAC-Bayes certificates of convolutional nets of which the last layer is random, beside what held-out points say (GEN-32, GEN-34).

Each seed splits the training images in two. A net is trained on one half, and its last layer made Gaussian: the prior, which has not
seen the other half. There the posterior is trained and the certificate stated, by an exact integral in place of draws. Beside it
stands the hold-out bound of the net itself, and the error on test images that nothing else has seen.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen import bounds
from jaxgen.data import Dataset
from jaxgen.studies import _certificates, _feature_nets
from jaxgen.studies._problem import Setup

TITLE = "certificates of nets with a random last layer and a prior learned from half of the data"
DEFAULT_SEEDS = 3
CHUNK = 1000
FORMS = ("kl", "catoni")
NET = {"channels": [16, 32, 128], "window": 5, "padding": "VALID", "dropout": 0.3}
TRAINING = {
    "num_epochs": 40,
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
    return _certificates.of_seeds(setup, SETTINGS, of_seed)


def of_seed(key: Array, dataset: Dataset, settings: dict[str, Any], kept: Any) -> tuple[dict[str, Array], PyTree]:
    """The certificate of one split in both forms, the hold-out bound, and the errors on the test images.

    Args:
        key: of split and training.
        dataset: images and labels.
        settings: of net, training and certificate.
        kept: keeps the trained net.
    """
    split_key, train_key = jax.random.split(key)
    own = settings["certificate"]
    split = bounds.split_prior(split_key, (dataset.x_train, dataset.y_train), own["fraction"])
    options = settings["net"] | {"channels": tuple(settings["net"]["channels"])}
    net = _feature_nets.FeatureNet(num_outputs=dataset.num_classes, **options)
    (x, y), (x_held, y_held) = split.prior.data, split.certificate.data
    like = jax.eval_shape(net.init, train_key, x[:1])
    params = kept(lambda: _feature_nets.train(train_key, net, x, y, settings["training"]), like)
    held, test = (features(net, params, images) for images in (x_held, dataset.x_test))
    few = own["num_for_scale"]
    with jax.enable_x64(True):
        weights = jnp.concatenate([params["params"]["last"]["kernel"], params["params"]["last"]["bias"][None]]).astype(float)
        std = noise_scale(features(net, params, x[:few]), weights, own["spread"])
        row = certified(held.astype(float), y_held, test.astype(float), dataset.y_test, weights, std, own)
    return row, params


@partial(jax.jit, static_argnums=0)
def _features(net: _feature_nets.FeatureNet, params: PyTree, x: Array) -> Array:
    found = net.apply(params, x, method="features")
    return jnp.concatenate([found, jnp.ones((len(x), 1), found.dtype)], axis=1)  # type: ignore[arg-type]


def features(net: _feature_nets.FeatureNet, params: PyTree, x: Float[Array, "n h w"]) -> Float[Array, "n f"]:
    """Inputs of the last layer, with a column of ones."""
    return jnp.concatenate([_features(net, params, x[start : start + CHUNK]) for start in range(0, len(x), CHUNK)])


def noise_scale(found: Float[Array, "n f"], weights: Float[Array, "f c"], spread: float) -> Array:
    """Standard deviation of the last layer's weights at which the noise of logits is a small part of the gap between the two largest."""
    ordered = jnp.sort(found @ weights, axis=1)
    return spread * jnp.median(ordered[:, -1] - ordered[:, -2]) / jnp.median(jnp.linalg.norm(found, axis=1))


def certified(held: Array, y_held: Array, test: Array, y_test: Array, weights: Array, std: Array, settings: dict[str, Any]) -> dict[str, Array]:
    """Bounds and errors of one prior net.

    Args:
        held: features of the points that the prior did not see.
        y_held: their labels.
        test: features of the test images.
        y_test: their labels.
        weights: the last layer of the prior.
        std: standard deviation of its noise.
        settings: of the certificate.
    """
    delta, n = settings["delta"], len(y_held)
    constant = bounds.catoni_constant(settings["guess"], n, delta)
    chosen = {name: settings[name] for name in ("num_steps", "learning_rate", "num_hard")}
    posterior = bounds.train_last_layer(held, y_held, weights, std, objective="catoni", C=constant, delta=delta, **chosen)
    found = {
        form: bounds.certify_last_layer(held, y_held, posterior, weights, std, delta=delta, kind=form, C=constant if form == "catoni" else None)
        for form in FORMS
    }
    first = found["kl"]
    return {
        **{form: certificate.bound.value for form, certificate in found.items()},
        "holdout": first.holdout,
        "risk": first.risk.value,
        "kl_paid": first.kl,
        "test_risk": bounds.last_layer_risk(test, y_test, posterior, std).value,
        "test_error": jnp.mean(jnp.argmax(test @ posterior, axis=1) != y_test),
        "prior_test_error": jnp.mean(jnp.argmax(test @ weights, axis=1) != y_test),
    }


table, draw = _certificates.table, _certificates.draw
