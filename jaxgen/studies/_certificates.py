"""One certificate a seed: split, prior net, scale of its last layer's noise, posterior, bounds, and the time each took."""

import hashlib
import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgen import bounds, seeds
from jaxgen._core.checkpoint import Checkpoint
from jaxgen._core.checks import require
from jaxgen.data import Dataset
from jaxgen.studies import _feature_nets
from jaxgen.studies._problem import Setup

CHUNK = 1000
FORMS = ("kl", "catoni")
SMALLEST = 16
"""Images with fewer pixels along an axis are small."""


def of_seeds(setup: Setup, settings: dict[str, Any]) -> tuple[dict[str, Any], PyTree]:
    """Certificates of all seeds, with their means, and the nets.

    Args:
        setup: data set, seeds, key, folder.
        settings: of `large_images` and `small_images`: net, training and certificate.
    """
    dataset = setup.dataset
    require(dataset.x_train.ndim == 3, f"certificates are for images of one channel; {setup.data_name} has shape {dataset.x_train.shape[1:]}")
    own = settings["small_images" if dataset.x_train.shape[1] < SMALLEST else "large_images"]
    store = _store(setup, own)
    rows, nets = [], {}
    for k, key in enumerate(jax.random.split(setup.key, setup.num_seeds)):
        setup.progress(f"seed {k}")
        row, nets[f"seed-{k}"] = of_seed(key, dataset, own, partial(_kept, store, f"seed-{k}"))
        rows.append(row)
    with jax.enable_x64(True):
        columns = {name: jnp.stack([row[name] for row in rows]) for name in rows[0]}
        means = {name: seeds.mean(values)._asdict() for name, values in columns.items()}
    kept = {"n": round((1 - own["certificate"]["fraction"]) * len(dataset.y_train)), "delta": own["certificate"]["delta"]}
    return kept | {"seeds": columns, "means": means}, nets


def _store(setup: Setup, settings: dict[str, Any]) -> Checkpoint | None:
    folder = setup.checkpoint("nets")
    if folder is None:
        return None
    digest = hashlib.sha256(json.dumps([setup.data_name, setup.num_seeds, settings]).encode())
    digest.update(np.asarray(setup.dataset.x_train).tobytes())
    return Checkpoint(folder, digest.hexdigest())


def _kept(store: Checkpoint | None, name: str, make: Any, like: PyTree) -> PyTree:
    """What `make` returns, or what it returned before an interruption."""
    found = None if store is None else store.load(name, like)
    if found is None:
        found = make()
        if store is not None:
            store.save(name, found)
    return jax.tree.map(jnp.asarray, found)


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


LABELS = {
    "catoni": "certificate, Catoni's form",
    "kl": "certificate, kl form",
    "holdout": "hold-out bound of the prior's net",
    "risk": "risk of the random net on the certificate's points",
    "kl_paid": "divergence paid (nats)",
    "test_risk": "risk of the random net on the test images",
    "test_error": "test error at the posterior's mean",
    "prior_test_error": "test error at the prior's mean",
}


def table(results: dict[str, Any]) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["", "mean", "standard error", "largest"]]
    for name, label in LABELS.items():
        mean = results["means"][name]
        rows.append([label, f"{mean['value']:.5f}", f"{mean['stderr']:.5f}", f"{max(results['seeds'][name]):.5f}"])
    return [*rows, [f"points of the certificate: {results['n']}; each bound holds with probability {1 - results['delta']:.2f}", "", "", ""]]
