"""The studies of SVAG and of the scaling rule, at toy sizes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import studies
from jaxgen.studies import _paths, scaling_rule, svag

pytestmark = pytest.mark.any_precision


@pytest.fixture
def small(monkeypatch):
    shared = {"n": 32, "num_test": 50, "width": 4, "num_records": 2}
    monkeypatch.setattr(svag, "SETTINGS", svag.SETTINGS | shared | {"batch_size": 4, "num_steps": 8, "refinements": [2]})
    scaling = {"batch_size": 2, "num_steps": 32, "kappas": [1, 16], "root_kappas": [4]}
    monkeypatch.setattr(scaling_rule, "SETTINGS", scaling_rule.SETTINGS | shared | scaling)


@pytest.mark.slow
def test_svag_is_compared_with_sgd_at_common_times(small, tmp_path, capsys):
    results = studies.run("svag", seeds=2, out=tmp_path)["results"]
    assert [row["l"] for row in results["runs"]] == [2]
    assert results["control"]["l"] == 2
    np.testing.assert_allclose(results["times"], [0, 0.8, 1.6], rtol=1e-6)
    for row in [*results["runs"], results["control"]]:
        for name in _paths.MEASURED:
            along, last = row["along"][name]["value"], row["last"][name]["value"]
            assert len(along) == 3
            assert along[-1] == pytest.approx(last)
            assert along[0] == pytest.approx(results["sgd"]["along"][name]["value"][0])
            assert row["minus_sgd"]["last"][name]["value"] == pytest.approx(last - results["sgd"]["last"][name]["value"], abs=1e-6)
    assert "SVAG, l = 2" in capsys.readouterr().out
    assert (tmp_path / "figure.png").exists()


@pytest.mark.slow
def test_the_scaling_rule_reaches_the_full_batch_where_no_noise_is_left(small, tmp_path, capsys):
    results = studies.run("scaling-rule", seeds=2, out=tmp_path)["results"]
    assert [(row["kappa"], row["batch_size"]) for row in results["linear"]] == [(1, 2), (16, 32)]
    rate = scaling_rule.SETTINGS["learning_rate"]
    np.testing.assert_allclose([row["learning_rate"] for row in results["linear"]], [rate, 16 * rate], rtol=1e-6)
    (root,) = results["root"]
    assert root["learning_rate"] == pytest.approx(2 * rate)
    noise = [row["noise_over_base"] for row in results["linear"]]
    np.testing.assert_allclose(noise, [1, 0], atol=1e-6)
    assert root["noise_over_base"] == pytest.approx(np.sqrt(24 / 30 / 2))
    assert results["linear"][0]["minus_base"]["largest"]["train_loss"] == {"value": 0.0, "stderr": 0.0}
    assert set(results["holds_up_to"]) == {"linear", "root"}
    assert (tmp_path / "figure.svg").exists()
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["root-4/Dense_0/kernel"].shape == (2, 64, 4)
    assert "farthest" in capsys.readouterr().out


def test_the_rule_holds_up_to_the_last_kappa_before_the_first_that_is_off():
    def rows(*differences):
        off = [{"last": {"train_loss": {"value": value, "stderr": 0.01}}} for value in differences]
        return [{"kappa": 2**i, "minus_base": one} for i, one in enumerate(off)]

    assert scaling_rule.holds_up_to(rows(0.0, 0.029, -0.031, 0.0)) == 2
    assert scaling_rule.holds_up_to(rows(-0.5)) == 1
    assert scaling_rule.holds_up_to(rows(0.0, float("nan"))) == 1


def test_differences_are_paired_by_seed_and_the_largest_is_found():
    reference = {"loss": jnp.array([[0.0, 1.0, 1.0], [2.0, 5.0, 3.0]])}
    found = _paths.compare({"loss": reference["loss"] + jnp.array([[0.0, -3.0, 1.0], [0.0, -1.0, 1.0]])}, reference)
    assert found["last"]["loss"] == {"value": 1.0, "stderr": 0.0}
    assert found["largest"]["loss"] == pytest.approx({"value": 2.0, "stderr": 1.0})
