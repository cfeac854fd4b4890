"""The house: imports run one way, public names are documented, importing is light."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import jaxgen

pytestmark = pytest.mark.any_precision

PACKAGE = Path(jaxgen.__file__).parent
ORDER = ("_core", *jaxgen.ROOMS, "cli", "__main__")
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
ROOMS = list(jaxgen.ROOMS)


def _room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(path):
    """Modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "jaxgen")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "jaxgen":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    own = ORDER.index(_room(path))
    for module in _imported(path):
        parts = module.split(".")
        if len(parts) < 2 or parts[1] not in ORDER:
            continue
        assert ORDER.index(parts[1]) <= own, f"{path.name} imports {module}, which stands later"
        if parts[1] not in (_room(path), "_core"):
            assert not any(part.startswith("_") for part in parts[1:]), f"{path.name} imports the private {module}"


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_documented(room):
    module = importlib.import_module(f"jaxgen.{room}")
    assert module.__doc__
    for name in module.__all__:
        thing = getattr(module, name)
        if not callable(thing):
            continue
        doc = inspect.getdoc(thing) or ""
        assert doc, f"{room}.{name} has no docstring"
        if inspect.isfunction(thing) and len(inspect.signature(thing).parameters) > 1:
            assert "Args:" in doc, f"{room}.{name} does not describe its arguments"


def test_importing_jaxgen_imports_jax_and_little_else():
    script = "import sys, jax; before = set(sys.modules); import jaxgen; print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    added = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"flax", "optax", "equinox", "lineax", "matfree", "diffrax", "matplotlib", "rich", "scipy", "pandas", "latex2mathml"}
    assert "jaxgen" in added
    assert not heavy & set(added), added


def test_an_unknown_room_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'kitchen'"):
        _ = jaxgen.kitchen


def test_the_version_is_the_distributions():
    from importlib.metadata import version

    assert jaxgen.__version__ == version("jaxgen")
