"""The study of margins, at toy size."""

import json

import numpy as np
import pytest

from jaxgen import data, implicit_bias, studies
from jaxgen.studies import _two_classes, margin

pytestmark = pytest.mark.any_precision


@pytest.fixture
def small(monkeypatch):
    settings = {"n": 12, "exponents": ["2", "inf"], "num_steps": 400, "every": 10, "num_records": 6}
    monkeypatch.setattr(margin, "SETTINGS", margin.SETTINGS | settings)


@pytest.mark.slow
def test_each_descent_takes_the_margin_of_its_own_norm_to_the_largest(small, tmp_path, capsys):
    results = studies.run("margin", seeds=2, out=tmp_path)["results"]
    assert results["separable"] == 1
    ratios, steps = np.array(results["measured"]["ratios"]), results["steps"]
    assert ratios.shape == (2, 2, len(steps), 2)
    assert len(steps) == 6
    assert np.array(results["measured"]["bounded"]).shape == (2, 2, len(steps))
    last = ratios[:, :, -1]
    for seed in last:
        assert np.all(np.diagonal(seed) > 0.95)
        assert seed[0, 1] < seed[1, 1]
        assert seed[1, 0] < seed[0, 0]
    assert np.all(last < 1.001)
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        ends = saved["classifiers"]
    assert ends.shape == (2, 2, 64)
    images = _two_classes.two_classes(data.load("digits"), margin.SETTINGS["classes"])
    errors = [[np.mean(np.sign(images.x_test @ w) != images.y_test) for w in seed] for seed in ends]
    np.testing.assert_allclose(results["measured"]["test_error"], errors, atol=1e-6)
    assert json.loads((tmp_path / "results.json").read_text())["results"] == results
    assert "linf margin" in capsys.readouterr().out


def test_kept_records_are_in_order_and_end_with_the_last():
    kept = margin.recorded()
    assert np.all(np.diff(kept) > 0)
    assert margin.SETTINGS["every"] * (kept[-1] + 1) == margin.SETTINGS["num_steps"]


def test_normalized_steps_are_steps_on_the_logarithm_of_the_loss(small):
    z = np.array([[1.0, 0.2], [-0.8, 1.0]], np.float32)
    norm = implicit_bias.lp_norm(2)
    trace = implicit_bias.steepest_descent_exp(z, norm, np.zeros(2), 400, mode="normalized")
    margins, _, end = margin.descents(z, norm, [norm])
    np.testing.assert_allclose(end, trace.w, rtol=1e-4)
    np.testing.assert_allclose(margins[:, 0], (trace.margin / trace.norm)[10 * margin.recorded()], rtol=1e-4)
