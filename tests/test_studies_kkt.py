"""The study of KKT residuals, at toy size."""

import numpy as np
import pytest

from jaxgen import studies
from jaxgen.studies import kkt

pytestmark = pytest.mark.any_precision


@pytest.mark.slow
def test_the_residual_falls_below_that_of_the_start_and_of_the_squared_loss(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(kkt, "SETTINGS", kkt.SETTINGS | {"n": 20, "widths": [16], "depths_of_loss": [3.0, 30.0, 120.0], "steps_between": 400})
    results = studies.run("kkt", seeds=2, out=tmp_path)["results"]
    measured, ends = results["measured"], results["ends"]
    log_loss, residuals = (np.asarray(measured[name]) for name in ("log_loss", "stationarity"))
    assert log_loss.shape == (2, 3)
    assert log_loss[:, -1].max() < -100
    assert np.all(np.diff(residuals[:, 1:], axis=1) < 0)
    assert residuals[:, -1].max() < 0.6 < min(ends["start"]["value"], ends["squared"]["value"])
    assert np.all(residuals <= np.asarray(measured["loss_stationarity"]) + 1e-5)
    # The smoothed margin is below the normalized one, and grows.
    assert np.all(np.asarray(measured["smoothed_margin"]) <= np.asarray(measured["normalized_margin"]) * (1 + 1e-5))
    assert np.all(np.diff(measured["smoothed_margin"], axis=1) > 0)
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["Dense_0/kernel"].shape == (2, 64, 16)
    assert "squared loss" in capsys.readouterr().out
    assert (tmp_path / "figure.png").exists()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    studies.run("kkt", seeds=2, out=tmp_path, quiet=True)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
