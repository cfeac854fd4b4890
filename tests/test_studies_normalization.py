"""The study of scale-invariant nets, at a toy size."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import plotting, studies
from jaxgen.studies import scale_invariant

pytestmark = pytest.mark.any_precision

SMALL = {"n": 60, "num_test": 40, "batch_size": 20, "num_steps": 20, "every": 5, "widths": [8], "pairs": [[0.1, 0.1]], "norms": [1.0, 2.0]}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(scale_invariant, "SETTINGS", scale_invariant.SETTINGS | SMALL)


@pytest.mark.slow
def test_the_study_runs_all_combinations_and_names_the_control(small, tmp_path, capsys):
    results = studies.run("scale-invariant", seeds=2, out=tmp_path)["results"]
    assert [run["norm"] for run in results["runs"]] == [1.0, 2.0]
    for run in [*results["runs"], results["control"]]:
        assert np.shape(run["squared_norm"]) == np.shape(run["test_error"]) == (2, 4)
        assert np.shape(run["equilibrium"]) == np.shape(run["predicted_steps"]) == (2,)
    assert results["runs"][1]["squared_norm"][0][0] == pytest.approx(4.0, rel=1e-5)
    assert results["runs"][0]["largest_schedule_difference"] <= 0.05
    assert results["defect"] < 1e-4 < results["control_defect"]
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["Dense_0/kernel"].shape == (2, 2, 2, 64, 8)
    assert (tmp_path / "figure.png").exists()
    assert "with schedule" in capsys.readouterr().out


def test_the_prediction_solves_the_equation_of_the_norm(small):
    """d(s^2)/dt = -4 eta lambda (s^2 - 1), from twenty and from a twentieth of the equilibrium."""
    product = 1e-3
    steps = scale_invariant.predicted_steps(jnp.array([20.0, 0.05, 1.0]), product)
    reached = [1 + (start**2 - 1) * math.exp(-4 * product * t) for start, t in zip((20, 0.05), steps, strict=False)]
    np.testing.assert_allclose(reached, [1.1**2, 0.9**2], rtol=1e-4)
    assert steps[2] == 0


def test_the_first_record_near_the_equilibrium(small):
    squared = jnp.array([[9.0, 2.0, 1.05, 3.0], [9.0, 8.0, 7.0, 6.0]])
    found = scale_invariant.first_within(squared, jnp.ones(2))
    assert found[0] == 10
    assert np.isnan(found[1])


def test_the_figure_bears_a_run_that_diverged():
    run = {"learning_rate": 0.1, "weight_decay": 0.1, "norm": 1.0, "squared_norm": [[1.0] * 6], "equilibrium": [1.0], "test_error": [[0.1] * 6]}
    run["test_error_by_schedule"] = run["test_error"]
    diverged = run | {"learning_rate": 0.2, "squared_norm": [[1.0, *[float("nan")] * 5]]}
    assert len(plotting.scale_invariant({"runs": [run, diverged], "control": run}).axes) == 3
