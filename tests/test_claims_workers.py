"""Worker processes: their environment and their end."""

import subprocess
import sys

import pytest

from jaxgen import claims
from jaxgen.claims import _workers

pytestmark = pytest.mark.any_precision


@pytest.fixture
def claim():
    with claims.isolated():

        @claims.claim("AB-1", title="t", source="s", statement="1 = 1", budget=1e-3)
        def body(key):
            return claims.at_most(0.0, 1.0)

        yield body


def _stand_in(monkeypatch, code):
    """Workers run `code` in place of serving claims."""
    pipe = subprocess.PIPE
    monkeypatch.setattr(
        _workers._Worker, "_start", lambda self: subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=self.log)
    )


def test_a_claim_that_hangs_is_stopped(claim, monkeypatch):
    _stand_in(monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr(_workers, "PATIENCE", 0.2)
    (result,) = _workers.run_in_workers([claim], 1, {})
    assert result.verdict == "error"
    assert result.error == "the worker process was killed by SIGKILL\nit was stopped after 0 s"


def test_a_worker_that_ends_leaves_the_end_of_its_log_and_its_status(claim, monkeypatch):
    _stand_in(monkeypatch, "import sys; print('cpu_aot_loader says much'); print('x' * 500, file=sys.stderr); sys.exit('out of memory')")
    (result,) = _workers.run_in_workers([claim], 1, {})
    assert result.error == "x" * 200 + "\nout of memory\nthe worker process ended with exit status 1"


def test_compiled_programs_are_kept_where_the_environment_says_apart_by_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE_DIR", str(tmp_path / "named"))
    named = _workers.cache_folder()
    monkeypatch.delenv("JAXGEN_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    users = _workers.cache_folder()
    assert named is not None
    assert users is not None
    assert named.parent == tmp_path / "named"
    assert users.parent == tmp_path / "user" / "jaxgen" / "jit"
    assert named.name == users.name
    assert users.is_dir()


def test_a_cache_that_cannot_be_made_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAXGEN_CACHE_DIR", str(tmp_path / "file"))
    assert _workers.cache_folder() is None
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    assert "JAX_COMPILATION_CACHE_DIR" not in _workers._environment()


def test_the_users_settings_of_xla_stay(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_one=1")
    environment = _workers._environment()
    assert environment["XLA_FLAGS"].endswith(" --xla_one=1")
    assert (environment["JAX_ENABLE_X64"], environment["JAX_NUM_CPU_DEVICES"], environment["NPROC"]) == ("1", "1", "1")
