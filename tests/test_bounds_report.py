"""Reports: every bound for one net, as table, values and page, and from the command line."""

import html.parser
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import bounds, cli, models, processes
from jaxgen.bounds.report.entries import ENTRIES

pytestmark = pytest.mark.any_precision
QUICK = bounds.Budget(posterior_steps=100, compression_steps=40, batch_size=100, num_draws=2, num_probes=20)


def _sample(key, count, random_labels=False):
    x_key, y_key = jax.random.split(key)
    x = jax.random.normal(x_key, (count, 3))
    y = jax.random.randint(y_key, (count,), 0, 2) if random_labels else (x[:, 0] > 0).astype(jnp.int32)
    return x, y


def _trained(key, model, train, num_steps=200):
    start = model.init(key, train[0])
    batches = processes.batch_indices(key, len(train[1]), 50, num_steps)
    loss_fn = models.loss_fn(model.apply, "cross_entropy")
    return start, processes.train(key, loss_fn, start, train, batches, optimizer=optax.adam(0.03))[0]


@pytest.fixture(scope="module")
def plain():
    """Report of a net without biases."""
    key = jax.random.key(0)
    model, train, test = models.mlp((16, 2), bias=False), _sample(key, 1000), _sample(jax.random.key(1), 500)
    start, params = _trained(key, model, train)
    return bounds.bound_report(model.apply, "cross_entropy", params, start, train, test, key=key, budget=QUICK)


@pytest.mark.slow
def test_every_row_is_there_and_every_certified_one_is_above_the_test_error(plain):
    assert [row.name for row in plain.rows] == list(ENTRIES)
    assert not any(row.refused for row in plain.rows)
    for row in plain.rows:
        if row.certified:
            assert row.value >= plain.test_error - 3 * np.sqrt(0.25 / 500), row.name
            assert row.confidence == pytest.approx(0.95)
    assert {row.name for row in plain.rows if row.certified} == set(ENTRIES) - {"cover", "pac_bayes_margin"}


@pytest.mark.slow
def test_classical_bounds_are_vacuous_and_others_are_not(plain):
    assert all(plain[name].vacuous for name in ("frobenius", "path_norm", "spectral", "pac_bayes_margin"))
    assert not any(plain[name].vacuous for name in ("holdout", "compression"))
    assert plain["holdout"].value == min(row.value for row in plain.rows)


@pytest.mark.slow
def test_it_is_written_as_text_values_and_a_page(plain):
    text = str(plain)
    assert all(row.title in text for row in plain.rows)
    assert "holds with probability 0.95 by itself" in text
    found = json.loads(plain.to_json())
    assert found["rows"][0]["value"] == plain["holdout"].value
    assert found["gap"] == pytest.approx(plain.test_error - plain.train_error)
    page = plain.to_html()
    html.parser.HTMLParser().feed(page)
    assert page.count("<rect") == len(plain.rows)
    assert "http" not in page
    assert {"l2", "fisher-rao", "inverse-margin"} <= set(plain.measures)


@pytest.mark.slow
def test_random_labels_are_certified_no_better_than_chance():
    key = jax.random.key(2)
    model, train, test = models.mlp((50, 2), bias=False), _sample(key, 200, True), _sample(jax.random.key(3), 200, True)
    start, params = _trained(key, model, train, 500)
    report = bounds.bound_report(model.apply, "cross_entropy", params, start, train, test, key=key, budget=QUICK, measures=False, joint=True)
    assert report.train_error < 0.35
    assert all(row.value >= 0.45 for row in report.rows if row.certified)
    assert report.delta == pytest.approx(0.05 / len(ENTRIES))
    assert "together with probability 0.95" in report.confidence


def test_rows_that_are_not_defined_say_why():
    key = jax.random.key(4)
    model, train = models.mlp((8, 2)), _sample(key, 60)
    start, params = _trained(key, model, train, 20)
    names = ("holdout", "frobenius", "path_norm", "spectral", "low_rank")
    report = bounds.bound_report(model.apply, "cross_entropy", params, start, train, train, key=key, names=names, measures=False)
    assert [bool(row.refused) for row in report.rows] == [False, True, True, True, True]
    assert all("bias" in row.refused for row in report.rows[1:])
    assert report["frobenius"].status == "not defined"
    assert "not defined" not in str(report).splitlines()[3]


def test_wrong_input_is_refused():
    key = jax.random.key(5)
    model, train = models.mlp((4, 2)), _sample(key, 20)
    params = model.init(key, train[0])
    call = lambda *, start=params, train=train, test=train, **more: bounds.bound_report(  # noqa: E731
        model.apply, "cross_entropy", params, start, train, test, key=key, names=("holdout",), **more
    )
    with pytest.raises(ValueError, match=r"delta must be in \(0, 1\)"):
        call(delta=0.0)
    with pytest.raises(ValueError, match="params and init_params must have the same structure"):
        call(start={"other": jnp.zeros(3)})
    with pytest.raises(ValueError, match="test must hold at least two examples; got 1"):
        call(test=jax.tree.map(lambda leaf: leaf[:1], train))
    with pytest.raises(TypeError, match="labels y must be integers"):
        call(train=(train[0], train[1].astype(float)))
    with pytest.raises(ValueError, match="names must be of rows"):
        bounds.bound_report(model.apply, "cross_entropy", params, params, train, train, key=key, names=("other",))
    with pytest.raises(TypeError, match="takes concrete arguments"):
        jax.jit(lambda params: call(start=params).test_error)(params)


def _saved(path, tree):
    np.savez(
        path, **{jax.tree_util.keystr(place, simple=True, separator="/"): np.asarray(leaf) for place, leaf in jax.tree.flatten_with_path(tree)[0]}
    )


def test_the_command_reports_on_a_saved_net(tmp_path, capsys, monkeypatch):
    from flax import serialization

    monkeypatch.setattr("jaxgen.bounds.report.reports.ENTRIES", {name: ENTRIES[name] for name in ("holdout", "bits", "frobenius")})
    key = jax.random.key(6)
    model, train, test = models.mlp((8, 2)), _sample(key, 60), _sample(key, 40)
    params = model.init(key, train[0])
    _saved(tmp_path / "params.npz", params)
    (tmp_path / "init.msgpack").write_bytes(serialization.msgpack_serialize(jax.tree.map(np.asarray, params)))
    np.savez(tmp_path / "data.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    (tmp_path / "net.py").write_text("from jaxgen import models\napply_fn = models.mlp((8, 2)).apply\n")
    files = {name: str(tmp_path / name) for name in ("params.npz", "init.msgpack", "net.py", "data.npz", "report.json", "report.html")}
    arguments = ["report", files["params.npz"], "--init", files["init.msgpack"], "--model", files["net.py"], "--data", files["data.npz"]]
    assert cli.main([*arguments, "--json", files["report.json"], "--html", files["report.html"]]) == 0
    assert "hold-out, exact" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "report.json").read_text())["rows"]) == 3
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_the_command_says_what_is_wrong_with_a_file(tmp_path, capsys):
    (tmp_path / "net.py").write_text("x = 1\n")
    np.savez(tmp_path / "params.npz", a=np.ones(2))
    arguments = ["report", str(tmp_path / "params.npz"), "--init", str(tmp_path / "none.npz"), "--model", str(tmp_path / "net.py")]
    assert cli.main(arguments) == 2
    assert "must define apply_fn(params, x)" in capsys.readouterr().err
    (tmp_path / "net.py").write_text("apply_fn = lambda params, x: x\n")
    assert cli.main(arguments) == 2
    assert "no parameters at" in capsys.readouterr().err
