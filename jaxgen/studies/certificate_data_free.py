"""Certificates of a fully connected net whose prior is its random start, on two classes of digits (GEN-31 to GEN-33).

The experiment of Dziugaite and Roy 2017 on digits up to four against the others, with all training images in the certificate. Means
and standard deviations of every weight are trained by a PAC-Bayes objective, with noise on the outputs of layers in place of draws of
weights; the variance of the prior, whose means are the start, is one of a grid and paid for.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from jaxgen import bounds, models, processes
from jaxgen.data import Dataset
from jaxgen.models import Model
from jaxgen.studies import _certificates
from jaxgen.studies._problem import Setup

TITLE = "certificates with a random start for a prior, on digits up to four against the others"
DEFAULT_SEEDS = 3
LARGE = {
    "widths": [600],
    "delta": 0.05,
    "delta_sampling": 0.01,
    "num_draws": 10,
    "start": {"num_epochs": 2, "batch_size": 128, "learning_rate": 1e-3},
    "posterior": {"num_epochs": 100, "batch_size": 256, "learning_rate": 4e-3, "p_min": 1e-2, "std": 0.03, "kl_weight": 0.7},
}
SMALL = LARGE | {"widths": [100], "posterior": LARGE["posterior"] | {"num_epochs": 300, "batch_size": 64}}
SETTINGS: dict[str, Any] = {"large_images": LARGE, "small_images": SMALL}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the nets."""
    return _certificates.of_seeds(setup, SETTINGS, of_seed)


def of_seed(key: Array, dataset: Dataset, settings: dict[str, Any], kept: Any) -> tuple[dict[str, Array], PyTree]:
    """The certificate of one start, and the errors on the test images.

    Args:
        key: of start, training and draws.
        dataset: images and labels.
        settings: of training and certificate.
        kept: keeps the trained posterior.
    """
    keys = jax.random.split(key, 5)
    train, test = ((x, (y > 4).astype(jnp.int32)) for x, y in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)))
    model = models.mlp((*settings["widths"], 2))
    start = model.init(keys[0], train[0][:1])
    prior = bounds.PriorGrid(start)
    law = bounds.gaussian(start, jax.tree.map(jnp.ones_like, start))
    posterior = kept(lambda: trained_posterior(keys[1], model, prior, train, settings), jax.eval_shape(lambda: law))
    certificate = jax.jit(partial(_certificate, model, settings))(keys[2], posterior, prior, train)
    test_risk = bounds.gibbs_risk(keys[3], model.apply, posterior, test, num_draws=settings["num_draws"], delta=settings["delta_sampling"])
    row = {
        "kl": certificate.bound.value,
        "risk": certificate.risk.value,
        "risk_upper": certificate.risk.upper,
        "kl_paid": certificate.kl,
        "price": certificate.price,
        "test_risk": test_risk.value,
        "test_error": models.zero_one(model.apply(posterior.mean, test[0]), test[1]).mean(),
    }
    return row, posterior


def _certificate(model: Model, settings: dict[str, Any], key: Array, posterior, prior, train) -> bounds.Certificate:
    options = {name: settings[name] for name in ("num_draws", "delta", "delta_sampling")}
    return bounds.certify(key, model.apply, posterior, prior, train, **options)


def trained_posterior(
    key: Array, model: Model, prior: bounds.PriorGrid, train: tuple[Array, Array], settings: dict[str, Any]
) -> bounds.GaussianParams:
    """First plain training from the start, then means and standard deviations by the bound.

    Args:
        key: of batches and noise.
        model: the net.
        prior: its start, and the grid of variances.
        train: all training images.
        settings: of both stages.
    """
    start_key, batch_key, noise_key = jax.random.split(key, 3)
    first, own = settings["start"], settings["posterior"]
    count = len(train[1])
    num_steps = first["num_epochs"] * (count // first["batch_size"])
    batches = processes.batch_indices(batch_key, count, min(first["batch_size"], count), num_steps)
    loss_fn = models.loss_fn(model.apply, "cross_entropy")
    means, _ = processes.train(start_key, loss_fn, prior.mean, train, batches, optimizer=optax.adam(first["learning_rate"]))
    stds = jax.tree.map(lambda leaf: jnp.full_like(leaf, own["std"]), means)
    steps = own["num_epochs"] * (count // own["batch_size"])
    posterior, _ = bounds.pac_bayes_train(
        noise_key,
        model.apply,
        bounds.gaussian(means, stds),
        prior,
        train,
        optimizer=optax.adam(optax.cosine_decay_schedule(own["learning_rate"], steps)),
        num_steps=steps,
        batch_size=own["batch_size"],
        objective="kl",
        p_min=own["p_min"],
        delta=settings["delta"],
        kl_weight=own["kl_weight"],
    )
    return posterior


table, draw = _certificates.table, _certificates.draw
