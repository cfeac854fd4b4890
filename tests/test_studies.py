"""Studies: what they write, how they resume, what they refuse. At toy sizes; the real ones are claims INFO-33 and INFO-34."""

import contextlib
import io
import json

import jax
import numpy as np
import pytest

from jaxgen import studies
from jaxgen._core import checkpoint, lock_step
from jaxgen.studies import _output, _problem, dispersion, sgd_bound

pytestmark = pytest.mark.any_precision

SMALL = {
    "n": 40,
    "batch_size": 10,
    "num_steps": 40,
    "num_matvecs": 2,
    "num_noise": 1,
    "noise_grid": [1e-3, 1e-2],
    "widths": [8],
    "width": 8,
    "label_noises": [0.0, 0.5],
}


@pytest.fixture
def small(monkeypatch):
    _shorten(monkeypatch)


def _shorten(monkeypatch):
    monkeypatch.setattr(sgd_bound, "SETTINGS", sgd_bound.SETTINGS | SMALL)
    shorter = {"n": 40, "batch_size": 10, "num_steps": 80, "early_steps": 20, "every": 4, "bin": 8, "width": 8, "num_test": 100}
    monkeypatch.setattr(dispersion, "SETTINGS", dispersion.SETTINGS | shorter)
    monkeypatch.setattr(lock_step, "NUM_SEGMENTS", 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Results, folder and printed text of one run."""
    folder, printed = tmp_path_factory.mktemp("whole"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        _shorten(patch)
        results = studies.run("sgd-bound", seeds=3, out=folder)
    return results, folder, printed.getvalue()


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_study_writes_numbers_parameters_and_figures(whole):
    results, folder, printed = whole
    assert set(_files(folder)) == {"results.json", "parameters.npz", "figure.png", "figure.svg"}
    assert json.loads((folder / "results.json").read_text()) == results
    assert results["configuration"]["seeds"] == 3
    assert "seconds" not in (folder / "results.json").read_text()
    rows = results["results"]["by_label_noise"]
    assert [row["label_noise"] for row in rows] == [0.0, 0.5]
    for row in rows:
        certified, heuristic = row["certified"], row["heuristic"]
        assert certified["certified"]
        assert not heuristic["certified"]
        assert certified["noise_std"] == heuristic["noise_std"]
        assert certified["total"]["value"] == pytest.approx(certified["trajectory"] + certified["flatness_two_sided"], rel=1e-5)
        assert certified["with_sampling_error"] >= certified["total"]["value"]
    with np.load(folder / "parameters.npz", allow_pickle=False) as saved:
        assert saved["width-8-noise-0.0/Dense_0/kernel"].shape == (3, 64, 8)
    assert "vacuous" in printed
    assert "heuristic" in printed


class _Killed(BaseException):
    pass


def test_a_killed_study_ends_with_the_same_files(whole, small, tmp_path, monkeypatch):
    original, saves = checkpoint.Checkpoint.save, []

    def save(self, *args):
        original(self, *args)
        saves.append(args[0])
        if len(saves) == 14:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "save", save)
        with pytest.raises(_Killed):
            studies.run("sgd-bound", seeds=3, out=tmp_path, quiet=True)
    assert not (tmp_path / "results.json").exists()
    studies.run("sgd-bound", seeds=3, out=tmp_path, quiet=True)
    assert _files(tmp_path) == _files(whole[1])


@pytest.mark.slow
def test_the_dispersion_study_runs_and_names_the_control(small, tmp_path):
    results = studies.run("dispersion", seeds=3, out=tmp_path, quiet=True)["results"]
    assert results["control"]["learning_rate"] == dispersion.SETTINGS["control_learning_rate"]
    for run in [*results["runs"], results["control"]]:
        assert len(run["early"]["dispersion"]) == 20
        assert len(run["late"]["test_error"]) == 20
        assert len(run["phases"]["binned"]) == 10


@pytest.mark.slow
def test_without_matplotlib_a_study_says_how_to_get_figures(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(studies.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(dispersion, "SETTINGS", dispersion.SETTINGS | {"label_noises": [0.2]})
    studies.run("dispersion", seeds=2, out=tmp_path)
    assert "pip install" in capsys.readouterr().out
    assert set(_files(tmp_path)) == {"results.json", "parameters.npz"}


def test_phases_of_a_rise_and_a_fall_and_of_none():
    time = np.arange(600)
    peaked = dispersion.phases(jax.numpy.asarray(np.exp(-(((time - 200) / 80) ** 2)) + 0.01))
    assert peaked["interior_peak"]
    assert abs(peaked["t_peak"] - 200 * dispersion.SETTINGS["every"]) <= dispersion.SETTINGS["bin"]
    assert not dispersion.phases(jax.numpy.asarray(1.0 / (1 + time)))["interior_peak"]


def test_the_problem_draws_with_replacement_or_disjointly(key):
    from jaxgen import data

    digits = data.load("digits")
    many, few = (_problem.make(digits, key, n=200, num_seeds=count, label_noise=0.0) for count in (12, 3))
    assert "with replacement" in many.population
    assert "disjoint" in few.population
    train, population = many.sample(key, many.pool, 0)
    assert train["x"].shape == (200, 8, 8)
    assert population["x"].shape == (1797, 8, 8)
    seen = 1797 - int(population["unseen"].sum())
    assert 150 < seen <= 200
    rows = np.concatenate([few.sample(key, few.pool, k)[0]["x"].reshape(200, -1) for k in range(3)])
    assert len(np.unique(rows, axis=0)) >= 595


def test_the_population_risk_averages_the_label_noise_out(key):
    """Against 2,000 draws of the labels: 5 standard errors of a mean of numbers in [0, 1]."""
    from jaxgen import data

    digits = data.load("digits")
    problem = _problem.make(digits, key, n=2000, num_seeds=12, label_noise=0.6)
    model = _problem.network("digits", 8, 10)
    _, zero_one = _problem.losses(model.apply)
    params = model.init(key, digits.x_train[:1])
    train, population = problem.sample(key, problem.pool, 0)
    assert abs(zero_one(params, train).mean() - zero_one(params, population).mean()) < 5 * 0.5 / np.sqrt(2000)


def test_non_finite_numbers_are_strings_in_json():
    assert _output.for_json(_output.plain({"a": np.float32("inf"), "b": [float("nan")], "c": np.arange(2)})) == {
        "a": "inf",
        "b": ["nan"],
        "c": [0, 1],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"name": "sgd-bond"}, "sgd-bound"), ({"name": "sgd-bound", "seeds": 1}, "seeds"), ({"name": "sgd-bound", "data": "digit"}, "digits")],
)
def test_bad_arguments_are_named(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        studies.run(**arguments, out=tmp_path)


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="not writable"):
        studies.run("sgd-bound", out=tmp_path / "file")


@pytest.mark.slow
def test_the_checkpoint_of_another_configuration_is_refused(small, tmp_path):
    studies.run("sgd-bound", seeds=2, out=tmp_path, quiet=True)
    before = _files(tmp_path)
    with pytest.raises(ValueError, match="different configuration"):
        studies.run("sgd-bound", seeds=3, out=tmp_path, quiet=True)
    assert _files(tmp_path) == before
