"""What the studies of certificates have in common: seeds one after the other, trained nets kept, a table and a figure."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxgen import seeds
from jaxgen._core.checkpoint import Checkpoint
from jaxgen._core.checks import require
from jaxgen.studies._problem import Setup

SMALLEST = 16
"""Images with fewer pixels along an axis are small."""


def of_seeds(setup: Setup, settings: dict[str, Any], of_seed: Callable[..., tuple[dict[str, Array], PyTree]]) -> tuple[dict[str, Any], PyTree]:
    """Certificates of all seeds, with their means, and the nets.

    Args:
        setup: data set, seeds, key, folder.
        settings: for `large_images` and `small_images`.
        of_seed: from key, data set, settings and what keeps trained nets to the numbers of one seed and its net.
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
    return {"seeds": columns, "means": means}, nets


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


LABELS = {
    "catoni": "certificate, Catoni's form",
    "kl": "certificate, kl form",
    "holdout": "hold-out bound of the prior's net, on the same points",
    "risk": "risk of the random net on the certificate's points",
    "risk_upper": "what it is at most",
    "kl_paid": "divergence paid (nats)",
    "price": "price of the prior's variance (nats)",
    "test_risk": "risk of the random net on the test images",
    "test_error": "test error at the posterior's mean",
    "prior_test_error": "test error at the prior's mean",
}


def table(results: dict[str, Any]) -> list[list[str]]:
    """Rows of the printed table, the first of them its head."""
    rows = [["", "mean", "standard error", "largest"]]
    for name, label in LABELS.items():
        if name in results["means"]:
            mean = results["means"][name]
            rows.append([label, f"{mean['value']:.5f}", f"{mean['stderr']:.5f}", f"{max(results['seeds'][name]):.5f}"])
    return rows


def draw(results: dict[str, Any]) -> Any:
    """The figure."""
    from jaxgen import plotting

    return plotting.certificate(results)
