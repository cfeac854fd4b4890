"""The study of complexity measures, at toy size."""

import numpy as np
import pytest
import scipy.stats

from jaxgen import studies
from jaxgen.studies import measures

pytestmark = pytest.mark.any_precision

SMALL = {
    "n": 40,
    "widths": [8],
    "batch_sizes": [10],
    "learning_rates": [0.3, 0.6],
    "label_noises": [0.0, 0.3],
    "target_loss": 0.5,
    "max_epochs": 100,
    "measures": ["params", "l2-dist", "log-prod-of-fro"],
}


@pytest.mark.slow
def test_every_seed_ranks_the_nets_that_reached_the_target(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(measures, "SETTINGS", measures.SETTINGS | SMALL)
    results = studies.run("measures", seeds=2, out=tmp_path)["results"]
    measured = results["measured"]
    assert results["ranked"] == [4, 4]
    assert np.shape(measured["gap"]) == (2, 4)
    assert np.all(np.array(measured["epochs"]) < 100)
    np.testing.assert_allclose(np.subtract(measured["test_error"], measured["train_error"]), measured["gap"], atol=1e-6)
    assert [row[2:] for row in results["grid"]] == [[0.3, 0.0], [0.3, 0.3], [0.6, 0.0], [0.6, 0.3]]
    pairs = zip(measured["measures"]["l2-dist"], measured["gap"], strict=True)
    taus = [scipy.stats.kendalltau(measure, gap).statistic for measure, gap in pairs]
    assert results["kendall"]["l2-dist"]["value"] == pytest.approx(np.mean(taus), abs=1e-6)
    assert results["kendall"]["params"]["value"] == 0
    assert np.isnan(results["by_axis"]["l2-dist"]["value"][0])
    printed = capsys.readouterr().out
    assert printed.index(measures.best_first(results)[0]) < printed.index(measures.best_first(results)[-1])
    assert {"results.json", "parameters.npz", "figure.png", "figure.svg"} <= {path.name for path in tmp_path.iterdir()}


def test_nets_that_did_not_reach_the_target_or_lack_a_measure_are_not_ranked():
    grid = np.array([[8, 10, 0.1, 0.0], [8, 10, 0.2, 0.0], [8, 10, 0.3, 0.0], [8, 10, 0.4, 0.0]])
    values = {"l2": np.array([1.0, 2.0, 3.0, 0.0]), "inverse-margin": np.array([1.0, 2.0, np.nan, 4.0])}
    errors = {"gap": np.array([0.1, 0.2, 0.0, 0.0]), "epochs": np.array([3, 3, 3, measures.SETTINGS["max_epochs"]])}
    found = measures.ranking(values, errors, grid=grid)
    assert found["ranked"] == 2
    assert [float(one["tau"]) for one in found["measures"].values()] == [1.0, 1.0]
    assert float(found["measures"]["l2"]["by_axis"][2]) == 1
