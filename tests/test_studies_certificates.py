"""The studies of certificates, small."""

import copy
import json

import numpy as np
import pytest

from jaxgen import studies
from jaxgen.studies import certificate, certificate_data_free, certificate_dense

pytestmark = pytest.mark.any_precision


def _small(monkeypatch, module, **changes):
    """Settings of small images with other values, by name of the part."""
    settings = copy.deepcopy(module.SETTINGS)
    own = settings["small_images"]
    for name, value in changes.items():
        own[name] = own[name] | value if isinstance(value, dict) else value
    monkeypatch.setattr(module, "SETTINGS", settings)


def _bounds_lie_above(found, *names):
    seeds = {name: np.asarray(values) for name, values in found["results"]["seeds"].items()}
    for name in names:
        assert np.all(seeds[name] >= seeds["risk"])
        assert np.all(seeds[name] >= seeds["test_risk"])
        assert np.all(seeds[name] < 1)
    return seeds


@pytest.mark.slow
def test_a_random_last_layer_is_certified_near_the_holdout_bound(monkeypatch, tmp_path):
    """A second run takes the nets of the first, and ends in the same file."""
    net, training = {"channels": [4, 8, 16]}, {"num_epochs": 6}
    _small(monkeypatch, certificate, net=net, training=training, certificate={"num_steps": 40})
    found = studies.run("certificate", seeds=2, out=tmp_path, quiet=True)
    seeds = _bounds_lie_above(found, "kl", "catoni", "holdout")
    assert np.all(np.abs(seeds["kl"] - seeds["holdout"]) < 0.1)
    assert np.all(seeds["kl_paid"] > 0)
    before = (tmp_path / "results.json").read_text()
    monkeypatch.setattr("jaxgen.studies._feature_nets.train", pytest.fail)
    studies.run("certificate", seeds=2, out=tmp_path, quiet=True)
    assert (tmp_path / "results.json").read_text() == before
    assert json.loads(before)["configuration"]["small_images"]["training"]["num_epochs"] == 6


@pytest.mark.slow
def test_a_net_with_every_weight_random_is_certified(monkeypatch, tmp_path):
    prior, posterior = {"num_epochs": 8}, {"num_steps": 20}
    _small(monkeypatch, certificate_dense, widths=[32], prior=prior, posterior=posterior, num_draws=2)
    seeds = _bounds_lie_above(studies.run("certificate-dense", seeds=2, out=tmp_path, quiet=True), "kl")
    assert np.all(seeds["risk_upper"] > seeds["risk"])


@pytest.mark.slow
def test_a_random_start_is_a_prior_too(monkeypatch, tmp_path):
    _small(monkeypatch, certificate_data_free, widths=[32], posterior={"num_epochs": 40}, num_draws=2)
    seeds = _bounds_lie_above(studies.run("certificate-data-free", seeds=2, out=tmp_path, quiet=True), "kl")
    assert np.all(seeds["kl_paid"] > 1)
    assert np.all(seeds["price"] > 0)


def test_coloured_images_are_refused(monkeypatch, tmp_path):
    import jax.numpy as jnp

    from jaxgen.data import Dataset

    colours = Dataset(jnp.zeros((4, 8, 8, 3)), jnp.zeros(4, int), jnp.zeros((4, 8, 8, 3)), jnp.zeros(4, int), 10)
    monkeypatch.setattr("jaxgen.data.load", lambda *args, **options: colours)
    with pytest.raises(ValueError, match="images of one channel"):
        studies.run("certificate", data="cifar10", seeds=2, out=tmp_path, quiet=True)
