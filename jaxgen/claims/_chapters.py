"""Finds and imports the chapters, whose modules register their claims."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator

from jaxgen._core.checks import require
from jaxgen.claims._registry import Registry, current


def load(modules: Iterable[str] = ()) -> Registry:
    """Imports every chapter of the library, or `modules` in their place.

    Args:
        modules: names of importable modules.

    Returns:
        The register with their claims.

    Raises:
        ValueError: if a module cannot be found, or a claim has no control.
    """
    names = list(modules)
    for name in names or _chapter_modules():
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise
            raise ValueError(f"no module named {name!r} to take claims from") from error
    registry = current()
    if names:
        registry = Registry(
            {id: item for id, item in registry.claims.items() if _is_inside(item.body.__module__, names)},
        )
    bare = [item.id for item in registry.claims.values() if not item.controls]
    require(not bare, f"every claim needs a control, which must fail; none is registered for {', '.join(bare)}")
    return registry


def _chapter_modules() -> Iterator[str]:
    package = importlib.import_module("jaxgen.claims")
    for chapter in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if chapter.ispkg:
            path = importlib.import_module(chapter.name).__path__
            yield from (found.name for found in pkgutil.iter_modules(path, f"{chapter.name}.") if "._" not in found.name)


def _is_inside(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)
