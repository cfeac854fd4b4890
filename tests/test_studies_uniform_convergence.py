"""The study of uniform convergence, at toy size."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds, studies
from jaxgen.studies import uniform_convergence

pytestmark = pytest.mark.any_precision


@pytest.fixture
def small(monkeypatch):
    settings = {"m": 20, "ratios": [200], "sizes": [12], "ratio": 150, "image_sizes": [20]}
    monkeypatch.setattr(uniform_convergence, "SETTINGS", uniform_convergence.SETTINGS | settings)


@pytest.mark.slow
def test_the_twin_errs_on_the_sample_and_the_norm_ball_has_no_bound(small, tmp_path, capsys):
    results = studies.run("uniform-convergence", seeds=3, out=tmp_path)["results"]
    for name in ("ratios", "sizes"):
        measured = {key: np.array(values) for key, values in results[name]["measured"].items()}
        assert np.all(measured["train"] == 0)
        assert np.all(measured["test"] < 1e-2)
        np.testing.assert_allclose(measured["flip_test"], measured["test"], rtol=1e-3, atol=1e-7)
        assert np.all(measured["flip_train"] > 0.9)
        assert np.all(measured["pruned_train"] == 0)
        assert np.all(measured["bound"] > 1)
        np.testing.assert_allclose(measured["pruned_bound"], 2 / np.sqrt([results[name]["m"]] * 3), rtol=1e-4)
    printed = np.array(results["printed"]["measured"]["flip_train"])
    assert np.all((printed > 0.1) & (printed < 0.9))
    images = {key: np.array(values) for key, values in results["images"]["measured"].items()}
    assert images["flip_train"].mean() > 0.8
    assert images["test"].mean() < 0.2
    assert np.all(images["pruned_bound"] < images["bound"])
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["images-20"].shape == (3, 64 + 3000)
    assert json.loads((tmp_path / "results.json").read_text())["results"] == results
    assert "± " in capsys.readouterr().out


def test_the_norm_balls_bound_is_the_least_over_the_samples_margins():
    sample = bounds.JunkSample(jnp.array([[1.0, 0.0], [-0.5, 0.0], [3.0, 0.0]]), jnp.array([1.0, -1.0, 1.0]), jnp.ones(1))
    w = jnp.array([2.0, 0.0])
    margins, size = np.array([2.0, 1.0, 6.0]), 2 * np.sqrt(1 + 0.25 + 9) / 3
    candidates = [np.clip(1 - margins / at, 0, 1).mean() + 2 * size / at for at in np.quantile(margins, [0, 0.1, 0.25, 0.5])]
    np.testing.assert_allclose(uniform_convergence.norm_ball(w, sample), min(candidates), rtol=1e-5)
    assert uniform_convergence.norm_ball(-w, sample) == np.inf


def test_the_strength_of_images_is_that_asked_for_on_average():
    """Two images a class, alike in norm: margins of their mean are c on average over all four."""
    y = jnp.array([1.0, -1.0, 1.0, -1.0])
    images = uniform_convergence.TwoClasses(jnp.array([[0.6, 0.8], [-1.0, 0.0], [1.0, 0.0], [-0.6, 0.8]]), y, jnp.eye(2), jnp.array([1.0, -1.0]))
    found, w = jax.jit(uniform_convergence.of_images(4, 50, 0.5))((jax.random.key(0), jnp.arange(4)), images)
    direction = jnp.mean(y[:, None] * images.x, axis=0)
    np.testing.assert_allclose(w[:2] @ w[:2], 4 * 0.5, rtol=1e-5)
    np.testing.assert_allclose(w[:2] / jnp.linalg.norm(w[:2]), direction / jnp.linalg.norm(direction), rtol=1e-5, atol=1e-6)
    assert found["pruned_train"] == 0
