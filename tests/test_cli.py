"""The command line, with real worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
import types

import pytest

import jaxgen
from jaxgen import claims, cli

pytestmark = pytest.mark.any_precision

HEADER = """
import os, signal, time
from pathlib import Path
from jaxgen.claims import at_most, claim

def make(id, lhs, control=1.0, **options):
    def side(value):
        return lambda key: at_most(value() if callable(value) else value, 0.5)
    body = side(lhs)
    body.__module__ = __name__
    made = claim(id, title=f"claim {id}", source="source", statement="1 = 1", core=True, jittable=False, num_seeds=2, **options)(body)
    made.control("control")(side(control))
"""

GOOD = 'make("AB-1", 0.0)\nmake("AB-2", 0.0)'
BAD = """
make("AB-1", 0.0)
make("AB-2", 1.0)
make("AB-3", 0.0, control=0.0)
make("AB-4", lambda: 1 / 0)
make("AB-5", lambda: os.kill(os.getpid(), signal.SIGKILL), budget=9)
"""
HANGING = """
def hang():
    Path(__file__).with_name("pid").write_text(str(os.getpid()))
    time.sleep(600)

make("AB-1", 0.0, budget=9)
make("AB-2", hang)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of claims that workers can import, and gives its name."""

    def write(text):
        name = "claims_on_trial"
        (tmp_path / f"{name}.py").write_text(HEADER + text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    monkeypatch.setenv("JAXGEN_CACHE_DIR", str(tmp_path / "cache"))
    with claims.isolated():
        yield write
    sys.modules.pop("claims_on_trial", None)


def verify(name, *arguments):
    return cli.main(["verify", "--module", name, "--workers", "1", *arguments])


def test_exit_status_zero_when_everything_passes_and_reports_are_written(module, tmp_path, capsys):
    json_file, html_file = tmp_path / "run.json", tmp_path / "run.html"
    assert verify(module(GOOD), "--json", str(json_file), "--html", str(html_file), "--seeds", "3") == 0
    out = capsys.readouterr().out
    assert "2 of 2 claims held, 2 of 2 controls refuted" in out
    document = json.loads(json_file.read_text())
    assert document["passed"] is True
    assert [one["num_seeds"] for one in document["claims"]] == [3, 3]
    assert document["configuration"]["num_seeds"] == 3
    assert "<math" in html_file.read_text()
    assert {path.name for path in tmp_path.iterdir()} >= {"run.json", "run.html"}
    assert not list(tmp_path.glob(".*partial"))


def test_exit_status_one_when_anything_falls_short_and_the_rest_still_runs(module, tmp_path, capsys):
    report = tmp_path / "run.json"
    assert verify(module(BAD), "--json", str(report)) == 1
    out = capsys.readouterr().out
    assert "2 of 5 claims held, 2 of 3 controls refuted" in out
    assert "held on 0 of 2 seeds" in out
    assert "NOT refuted: control" in out
    assert "ZeroDivisionError: division by zero" in out
    assert "the worker process was killed by SIGKILL" in out
    found = json.loads(report.read_text())["claims"]
    assert [one["verdict"] for one in found] == ["held", "fell short", "held", "error", "error"]
    assert [one["passed"] for one in found] == [True, False, False, False, False]


def _gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


# Background jobs of a shell without a terminal ignore interrupts, and so does what they start.
INTERRUPTIBLE = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from jaxgen.cli import main; sys.exit(main())"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_or_a_kill_keeps_what_is_done_and_leaves_no_process(module, tmp_path, how):
    name, report, pid_file = module(HANGING), tmp_path / "run.json", tmp_path / "pid"
    command = [sys.executable, "-c", INTERRUPTIBLE, "verify", "--module", name, "--workers", "1", "--json", str(report)]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _wait_for(lambda: report.exists() and pid_file.exists() and pid_file.read_text())
        worker = int(pid_file.read_text())
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
    document = json.loads(report.read_text())
    assert [one["id"] for one in document["claims"]] == ["AB-1"]
    assert document["complete"] is False
    _wait_for(lambda: _gone(worker))
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "1 of 1 claims held" in out
        assert "Interrupted: 1 of 2 claims did not finish" in out
        assert err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "--only", "INFO-1.chaim"], "unknown claim 'INFO-1.chaim'; did you mean INFO-1.chain"),
        (["verify", "--only", "INFO-1", "--json", "/no/such/folder/run.json"], "cannot write /no/such/folder/run.json: No such file or directory"),
        (["verify", "--module", "no_such_module"], "no module named 'no_such_module'"),
    ],
)
def test_errors_of_the_user_are_one_line_and_exit_status_two(arguments, message, capsys):
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"jaxgen: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["verify", "--seeds", "0"], ["verify", "--workers", "two"], ["no-such-command"], []])
def test_arguments_that_cannot_be_parsed_are_exit_status_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: jaxgen" in capsys.readouterr().err


def test_the_list_shows_every_claim_without_running_any(capsys):
    assert cli.main(["verify", "--list"]) == 0
    out = capsys.readouterr().out
    for claim in claims.load().claims.values():
        assert claim.id in out
    assert "one value of Y in place of the average over Y" in " ".join(out.split())


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"jaxgen {jaxgen.__version__}\n"


def test_a_terminal_gets_a_progress_bar_and_a_file_none(monkeypatch, capsys):
    from jaxgen.claims import _table

    def shown():
        with _table.progress(2) as (started, ended):
            started("AB-1")
            ended("AB-1")
        return capsys.readouterr().err

    assert shown() == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "verifying" in shown()


@pytest.fixture
def studies(monkeypatch):
    claims.load()  # claims about studies need the real ones
    made = types.ModuleType("jaxgen.studies")
    made.calls = []
    made.STUDIES = {"sgd-bound": "jaxgen.studies.sgd_bound", "dispersion": "jaxgen.studies.dispersion"}
    made.ONE_AT_A_TIME = ("dispersion",)
    made.run = lambda name, **options: made.calls.append((name, options))
    monkeypatch.setitem(sys.modules, "jaxgen.studies", made)
    monkeypatch.setattr(jaxgen, "studies", made, raising=False)
    return made


def test_a_study_gets_the_options_that_were_given(studies, tmp_path):
    assert cli.main(["study", "sgd-bound", "--data", "digits", "--seeds", "3", "--out", str(tmp_path)]) == 0
    assert studies.calls == [("sgd-bound", {"data": "digits", "seeds": 3, "out": tmp_path})]


def test_an_unknown_study_suggests_the_nearest(studies, capsys):
    assert cli.main(["study", "sgd-bounds"]) == 2
    assert capsys.readouterr().err == "jaxgen: unknown study 'sgd-bounds'; did you mean sgd-bound?\n"
    assert cli.main(["study", "zzz"]) == 2
    assert "there are dispersion, sgd-bound" in capsys.readouterr().err


def test_errors_and_interrupts_of_a_study_are_one_line(studies, capsys):
    def fail(error):
        def run(name, **options):
            raise error

        studies.run = run

    fail(ValueError("checkpoint belongs to\na different configuration"))
    assert cli.main(["study", "dispersion"]) == 2
    assert capsys.readouterr().err == "jaxgen: checkpoint belongs to a different configuration\n"
    fail(KeyboardInterrupt())
    assert cli.main(["study", "dispersion"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_list_shows_claims_and_studies(studies, capsys):
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert "INFO-1" in out
    assert "studies: dispersion, sgd-bound" in out


def test_a_study_sees_one_device_a_core():
    code = "from jaxgen import cli; from jaxgen._core.machine import cores; cli._one_device_a_core(); import jax; print(jax.device_count(), cores())"
    environment = {name: value for name, value in os.environ.items() if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == out[1]


def test_a_study_leaves_the_number_of_devices_to_the_environment_if_that_is_set(monkeypatch):
    monkeypatch.setattr("jax.config.update", pytest.fail)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "3")
    cli._one_device_a_core()
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    cli._one_device_a_core()
