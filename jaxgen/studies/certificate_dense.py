"""Certificates of fully connected nets of which every weight is random, with a prior learned from half of the data (GEN-32 to 34).

All weights share one standard deviation, so that noise on the outputs of layers stands for draws of weights at no second product, and
every example and draw has noise of its own. The prior is trained with its noise on distorted images of one half; the posterior by a
PAC-Bayes objective on the other, where its risk is sampled and the certificate stated.
"""

from functools import partial
from typing import Any

import jax
import optax
from jaxtyping import Array, PyTree

from jaxgen import bounds, data, models, processes
from jaxgen._core.scan import iterate
from jaxgen.data import Dataset
from jaxgen.models import Model
from jaxgen.studies import _certificates
from jaxgen.studies._problem import Setup

TITLE = "certificates of fully connected nets with every weight random and a prior learned from half of the data"
DEFAULT_SEEDS = 3
LARGE = {
    "widths": [600, 600],
    "std": 0.03,
    "fraction": 0.5,
    "delta": 0.05,
    "delta_sampling": 0.01,
    "num_draws": 10,
    "prior": {
        "num_epochs": 32,
        "batch_size": 128,
        "learning_rate": 1.5e-3,
        "distortions": {"rotation": 0.2, "scale": 0.12, "shear": 0.15, "shift": 2.0, "elastic": 1.5},
    },
    "posterior": {"num_steps": 2000, "batch_size": 128, "learning_rate": 8.0, "p_min": 1e-4},
}
SMALL = LARGE | {
    "widths": [100, 100],
    "prior": LARGE["prior"] | {"batch_size": 64, "num_epochs": 60, "distortions": {"rotation": 0.15, "shear": 0.1, "shift": 0.7, "elastic": 0.3}},
    "posterior": LARGE["posterior"] | {"num_steps": 200, "learning_rate": 2.0},
}
SETTINGS: dict[str, Any] = {"large_images": LARGE, "small_images": SMALL}


def compute(setup: Setup) -> tuple[dict, PyTree]:
    """Every number of the study, and the nets."""
    return _certificates.of_seeds(setup, SETTINGS, of_seed)


def of_seed(key: Array, dataset: Dataset, settings: dict[str, Any], kept: Any) -> tuple[dict[str, Array], PyTree]:
    """The certificate of one split, the hold-out bound, and the errors on the test images.

    Args:
        key: of split, training and draws.
        dataset: images and labels.
        settings: of prior, posterior and certificate.
        kept: keeps the trained prior.
    """
    keys = jax.random.split(key, 5)
    split = bounds.split_prior(keys[0], (dataset.x_train, dataset.y_train), settings["fraction"])
    model = models.mlp((*settings["widths"], dataset.num_classes))
    start = model.init(keys[1], dataset.x_train[:1])
    mean = kept(lambda: noisy_training(keys[1], model, start, split.prior.data, settings), jax.eval_shape(lambda: start))
    prior = bounds.gaussian(mean, settings["std"])
    posterior = trained_posterior(keys[2], model, prior, split.certificate.data, settings)
    certificate = jax.jit(partial(_certificate, model, split, settings))(keys[3], posterior, prior)
    test = (dataset.x_test, dataset.y_test)
    test_risk = bounds.gibbs_risk(keys[4], model.apply, posterior, test, num_draws=settings["num_draws"], delta=settings["delta_sampling"])
    row = {
        "kl": certificate.bound.value,
        "holdout": certificate.holdout,
        "risk": certificate.risk.value,
        "risk_upper": certificate.risk.upper,
        "kl_paid": certificate.kl,
        "test_risk": test_risk.value,
        "test_error": models.zero_one(model.apply(posterior.mean, dataset.x_test), dataset.y_test).mean(),
        "prior_test_error": models.zero_one(model.apply(mean, dataset.x_test), dataset.y_test).mean(),
    }
    return row, posterior.mean


def _certificate(model: Model, split: bounds.PriorSplit, settings: dict[str, Any], key: Array, posterior, prior) -> bounds.Certificate:
    options = {name: settings[name] for name in ("num_draws", "delta", "delta_sampling")}
    return bounds.certify(key, model.apply, posterior, prior, split.certificate, prior_data=split.prior, **options)


def noisy_training(key: Array, model: Model, start: PyTree, train: tuple[Array, Array], settings: dict[str, Any]) -> PyTree:
    """Means of a prior, trained on the cross-entropy of distorted images with the prior's noise.

    Args:
        key: of batches, distortions and noise.
        model: the net.
        start: its parameters before training.
        train: images and labels.
        settings: `std`, and of the prior.
    """
    own = settings["prior"]
    batch_key, step_key = jax.random.split(key)
    batch_size = min(own["batch_size"], len(train[1]))
    num_steps = own["num_epochs"] * (len(train[1]) // batch_size)
    batches = processes.batch_indices(batch_key, len(train[1]), batch_size, num_steps)
    optimizer = optax.adam(optax.cosine_decay_schedule(own["learning_rate"], num_steps))

    def loss(params: PyTree, x: Array, y: Array, key: Array) -> Array:
        distortion_key, noise_key = jax.random.split(key)
        x = data.distort_images(distortion_key, x, **own["distortions"])
        return models.softmax_cross_entropy(bounds.stochastic_outputs(noise_key, model.apply, bounds.gaussian(params, settings["std"]), x), y).mean()

    def step(state: Any, t: Any) -> tuple[Any, None]:
        params, moments, (x, y, batches) = state
        gradient = jax.grad(loss)(params, x[batches[t]], y[batches[t]], jax.random.fold_in(step_key, t))
        updates, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments, (x, y, batches)), None

    (params, _, _), _ = iterate(step, (start, optimizer.init(start), (*train, batches)), num_steps)
    return params


def trained_posterior(
    key: Array, model: Model, prior: bounds.GaussianParams, points: tuple[Array, Array], settings: dict[str, Any]
) -> bounds.GaussianParams:
    """A posterior of the prior's standard deviation, its means moved by gradient descent in units of that.

    Args:
        key: of batches and noise.
        model: the net.
        prior: the prior.
        points: of the certificate.
        settings: `std`, `delta`, and of the posterior.
    """
    own, std = settings["posterior"], settings["std"]
    schedule = optax.cosine_decay_schedule(own["learning_rate"] * std**2, own["num_steps"])
    options = {"num_steps": own["num_steps"], "batch_size": min(own["batch_size"], len(points[1])), "p_min": own["p_min"], "delta": settings["delta"]}
    posterior, _ = bounds.pac_bayes_train(key, model.apply, prior, prior, points, optimizer=optax.sgd(schedule), train_std=False, **options)
    return posterior


table, draw = _certificates.table, _certificates.draw
