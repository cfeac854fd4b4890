"""Every test runs in both precisions unless it is marked otherwise; four CPU devices are always there."""

import gc
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
# In JAX 0.10.1 batched LAPACK calls that occupy all of a few threads wait for ever.
os.environ.setdefault("NPROC", "1")
# Most of the suite's time is compilation, and in JAX 0.10 a third of that goes into a way of fusing that can be switched off there.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0" + (" --xla_cpu_use_fusion_emitters=false" if metadata.version("jaxlib").startswith("0.10.") else ""),
)
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

MOST_MAPPINGS = 32_000


def pytest_generate_tests(metafunc):
    if "precision" not in metafunc.fixturenames:
        return
    markers = {marker.name for marker in metafunc.definition.iter_markers()}
    if "heavy" in markers and markers & {"float64", "any_precision"}:
        raise pytest.UsageError(f"{metafunc.definition.nodeid} runs once, and cannot be heavy: the mark leaves one of two precisions to -m slow")
    if "float64" in markers:
        options = ["float64"]
    elif "any_precision" in markers:
        options = ["float32"]
    else:
        options = ["float32", "float64"]
    metafunc.parametrize("precision", options, indirect=True)


@pytest.fixture(autouse=True)
def precision(request):
    """Default float type of the test, by name."""
    name = getattr(request, "param", "float32")
    with jax.enable_x64(name == "float64"):
        yield name


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Drops compiled programs before a process has more mappings of memory than Linux allows, 65,530, of which each program takes a few."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def registered():
    """All claims, by id."""
    from jaxgen import claims

    with jax.enable_x64(True):
        return claims.load().claims


@pytest.fixture
def rtol(precision):
    """Relative tolerance for a well-conditioned sum of a few thousand terms."""
    return {"float32": 2e-5, "float64": 1e-12}[precision]


@pytest.fixture
def key():
    return jax.random.key(20211128)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The tests of a file run in one process, which then compiles or computes what they share once."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # Doctests, last, are small and leave no process idle for long.
    return LoadFileScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """A test marked `last_bit`, whose subject the compiler can spoil, runs in a process of its own that compiles as users do."""
    if "last_bit" not in pyfuncitem.keywords or not os.environ["XLA_FLAGS"]:
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | {"XLA_FLAGS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    done = subprocess.run(command, env=environment, cwd=pyfuncitem.config.rootpath, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return True


def pytest_collection_finish(session):
    """What is imported by now stays; collections of garbage need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("heavy") and item.callspec.params["precision"] == "float32":
            item.add_marker(pytest.mark.slow)
    if config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="slow; run with -m slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
