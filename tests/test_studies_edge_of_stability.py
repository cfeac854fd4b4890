"""The study of the edge of stability, at a toy size."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import plotting, studies
from jaxgen.studies import edge_of_stability

pytestmark = pytest.mark.any_precision


@pytest.fixture
def small(monkeypatch):
    shorter = {"n": 40, "num_steps": 40, "every": 10, "num_matvecs": 5, "width": 8, "last": 2, "loss_every": 10, "learning_rates": [0.4]}
    monkeypatch.setattr(edge_of_stability, "SETTINGS", edge_of_stability.SETTINGS | shorter)


@pytest.mark.slow
def test_the_study_runs_all_step_sizes_and_seeds_and_names_the_control(small, tmp_path, capsys):
    results = studies.run("edge-of-stability", seeds=2, out=tmp_path)["results"]
    (run,), control = results["runs"], results["control"]
    assert (run["learning_rate"], control["learning_rate"]) == (0.4, 0.02)
    assert run["threshold"] == pytest.approx(5.0)
    for row in (run, control):
        assert np.shape(row["sharpness"]) == (2, 4)
        assert np.shape(row["settled"]) == np.shape(row["num_increases"]) == np.shape(row["final_loss"]) == (2,)
        assert len(row["loss"]) == 4
        np.testing.assert_allclose(row["settled"], np.mean(np.array(row["sharpness"])[:, -2:], axis=1))
    assert run["sharpness"][0][0] == pytest.approx(control["sharpness"][0][0], rel=1e-5)
    assert (tmp_path / "figure.png").exists()
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["rate-0.4/Dense_0/kernel"].shape == (2, 64, 8)
    assert "last over 2 / rate" in capsys.readouterr().out


def test_examples_have_mean_zero_and_one_mean_squared_norm_for_all_data_sets():
    x = edge_of_stability.standardized(jnp.asarray(np.random.default_rng(1).random((50, 8, 8))))
    assert x.shape == (50, 64)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(jnp.sum(x**2, axis=1).mean(), 5.0, rtol=1e-5)


def test_the_figure_bears_a_run_that_diverged():
    run = {"learning_rate": 0.4, "threshold": 5.0, "sharpness": [[4.0, 5.0]], "settled": [5.0], "loss": [1.0, 0.5]}
    diverged = run | {"sharpness": [[4.0, float("nan")]], "settled": [float("nan")], "loss": [1.0, float("nan")]}
    figure = plotting.edge_of_stability({"runs": [run, diverged], "control": run | {"threshold": 100.0}}, every=10)
    assert len(figure.axes) == 3
    assert np.isfinite(figure.axes[2].get_xlim()).all()
