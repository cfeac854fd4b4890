"""The studies of kernels, at toy sizes; on real data where it is given."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import data, studies
from jaxgen.studies import _two_classes, kernel_regression, ntk_alignment, ntk_complexity, ntk_width

pytestmark = pytest.mark.any_precision

PUBLISHED = {"mnist": 91.9, "fashion-mnist": 82.0}


@pytest.fixture
def small(monkeypatch):
    def shorten(module, **settings):
        monkeypatch.setattr(module, "SETTINGS", module.SETTINGS | settings)

    shorten(kernel_regression, sizes=[100, 5000], chunk_size=200)
    shorten(ntk_alignment, n=20, width=512, num_steps=40, every=10, times=[0.1, 1.0, 10.0])
    shorten(ntk_complexity, n=60, fractions=[0.0, 0.5, 1.0])
    shorten(ntk_width, n=6, widths=[16, 256], num_steps=20, num_records=4)


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _depth_three(rho):
    """The NTK of three hidden ReLU layers on unit inputs, by the recursion."""
    rho = np.clip(rho, -1, 1)
    ntk = rho
    for _ in range(3):
        angle = np.arccos(rho)
        slope, rho = (np.pi - angle) / np.pi, np.clip((np.sin(angle) + (np.pi - angle) * rho) / np.pi, -1, 1)
        ntk = ntk * slope + rho
    return ntk


def test_kernel_regression_is_a_dense_solve_for_the_first_images_and_leaves_out_sizes_that_there_are_not(small, tmp_path, capsys):
    results = studies.run("kernel-regression", seeds=2, out=tmp_path)["results"]
    (row,) = results["sizes"]
    assert row["n"] == 100
    assert len(row["random"]) == 2
    digits = data.load("digits")
    x, x_test = (np.asarray(images, np.float64).reshape(len(images), -1) for images in (digits.x_train[:100], digits.x_test))
    x, x_test = (images / np.linalg.norm(images, axis=1, keepdims=True) for images in (x, x_test))
    kernel, cross = _depth_three(x @ x.T), _depth_three(x_test @ x.T)
    coefficients = np.linalg.solve(kernel + 1e-4 * np.eye(100), np.eye(10)[digits.y_train[:100]])
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["n-100"].shape == (3, 100, 10)
        np.testing.assert_allclose(saved["n-100"][0], coefficients, atol=1e-3 * np.abs(coefficients).max())
    accuracy = np.mean((cross @ coefficients).argmax(axis=1) == np.asarray(digits.y_test))
    assert row["first"] == pytest.approx(accuracy, abs=1.01 / 450)
    assert "first n images" in capsys.readouterr().out
    before = _files(tmp_path)
    studies.run("kernel-regression", seeds=2, out=tmp_path, quiet=True)
    assert _files(tmp_path) == before


@pytest.mark.slow
def test_true_labels_are_fitted_before_random_and_these_before_the_worst(small, tmp_path, capsys):
    results = studies.run("ntk-alignment", seeds=2, out=tmp_path)["results"]
    assert [row["name"] for row in results["labels"]] == ["true", "random", "worst"]
    assert results["ordered"] == 1.0
    assert min(results["control"]["time_to_error"]) > max(results["labels"][0]["time_to_error"])
    worst = results["labels"][2]
    np.testing.assert_allclose(np.array(worst["projections"])[:, -1], 1, rtol=1e-4)
    np.testing.assert_allclose(np.array(worst["projections"])[:, :-1], 0, atol=1e-4)
    expected = np.exp(-np.array(results["eigenvalues"])[:, -1:] * np.array(results["times"]))
    np.testing.assert_allclose(worst["predicted"], expected, rtol=1e-3)
    for row in results["labels"]:
        assert np.shape(row["net"]) == np.shape(row["limit"]) == np.shape(row["lazy"]) == (2, len(results["net_times"]))
        assert row["lazy_off"]["value"] < 0.05
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["W"].shape == (2, 512, 64)
    assert "control" in capsys.readouterr().out


@pytest.mark.slow
def test_complexity_and_errors_rise_with_the_part_of_random_labels_and_the_control_does_not(small, tmp_path, capsys):
    results = studies.run("ntk-complexity", seeds=3, out=tmp_path)["results"]
    means = {name: results["means"][name]["value"] for name in results["means"]}
    for name in ("complexity", "zero_one", "absolute"):
        assert np.all(np.diff(means[name]) > 0), name
    assert np.ptp(means["control"]) < 0.25 * np.ptp(means["complexity"])
    assert means["zero_one"][-1] == pytest.approx(0.5, abs=1e-6)
    assert results["rank_correlation"]["complexity"]["zero_one"]["value"] > 0.7
    assert "rank correlation" in capsys.readouterr().out


def test_rank_correlation_is_that_of_scipy():
    from scipy.stats import spearmanr

    a, b = np.random.default_rng(1).integers(0, 5, (2, 20))
    assert float(ntk_complexity.spearman(jnp.asarray(a, float), jnp.asarray(b, float))) == pytest.approx(spearmanr(a, b)[0], abs=1e-5)


def test_expected_losses_average_over_random_test_labels():
    outputs, y = jnp.array([0.5, -2.0, 1.0]), jnp.array([1.0, 1.0, -1.0])
    assert float(ntk_complexity.expected(ntk_complexity.zero_one, outputs, y, 1.0)) == pytest.approx(0.5)
    assert float(ntk_complexity.expected(ntk_complexity.zero_one, outputs, y, 0.5)) == pytest.approx(0.75 * 2 / 3 + 0.25 / 3)
    assert float(ntk_complexity.expected(ntk_complexity.absolute, outputs, y, 0.0)) == pytest.approx((0.5 + 3 + 2) / 3)


@pytest.mark.slow
def test_kernels_approach_the_limit_and_stay_with_width_and_the_controls_do_not(small, tmp_path, capsys):
    results = studies.run("ntk-width", seeds=4, out=tmp_path)["results"]
    exponents = {name: one["value"] for name, one in results["exponents"].items()}
    assert exponents["error"] < -0.2
    assert exponents["drift"] < -0.5
    assert exponents["movement"] < -0.2
    assert exponents["standard"] > 0.5
    assert abs(exponents["mean_field_drift"]) < 0.3
    assert max(results["largest_over_bound"].values()) <= 1
    assert np.shape(results["measured"]["drift"]) == (4, 2)
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["width-256"].shape == (4, 256, 64)
    assert "exponent" in capsys.readouterr().out


def test_fitted_exponents_are_those_of_power_laws(monkeypatch):
    monkeypatch.setattr(ntk_width, "SETTINGS", ntk_width.SETTINGS | {"widths": [1, 10, 100]})
    values = jnp.array([[2.0, 0.2, 0.02], [1.0, 10.0, 100.0]])
    np.testing.assert_allclose(ntk_width.exponents(values), [-1.0, 1.0], rtol=1e-5)


def test_two_classes_are_centred_rows_of_norm_one_with_signs_for_labels():
    digits = data.load("digits")
    found = _two_classes.two_classes(digits, [3, 8])
    assert len(found.y) == int(((digits.y_train == 3) | (digits.y_train == 8)).sum())
    assert int((found.y_test == 1).sum()) == int((digits.y_test == 8).sum())
    np.testing.assert_allclose(jnp.linalg.norm(found.x_test, axis=1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="two different"):
        _two_classes.two_classes(digits, [3, 3])


@pytest.mark.slow
@pytest.mark.skipif("JAXGEN_DATA_DIR" not in os.environ, reason="needs the data: set JAXGEN_DATA_DIR")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_data_give_the_published_accuracies(name, monkeypatch, tmp_path):
    """Within 0.3 points, a bit more than what another rounding does to images at the border of two classes."""
    monkeypatch.setattr(kernel_regression, "SETTINGS", kernel_regression.SETTINGS | {"sizes": [1000]})
    (row,) = studies.run("kernel-regression", data=name, seeds=2, out=tmp_path, quiet=True)["results"]["sizes"]
    assert abs(100 * row["first"] - PUBLISHED[name]) <= 0.3
