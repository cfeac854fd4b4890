"""A study's folder: its numbers, parameters and figure, written so that equal runs are equal files."""

import json
import math
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


def prepare(folder: str | Path) -> Path:
    """The folder, created and tried for writing.

    Raises:
        ValueError: if it cannot be created or written to.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"--out {path} is not writable: {error.strerror}") from error
    return path


def plain(value: Any) -> Any:
    """Arrays as lists, scalars as Python numbers."""
    arrays = jax.Array | np.ndarray | np.generic
    return jax.tree.map(lambda leaf: np.asarray(leaf).tolist() if isinstance(leaf, arrays) else leaf, value)


def for_json(value: Any) -> Any:
    """Plain values with non-finite numbers as strings, which JSON has none of."""
    return jax.tree.map(lambda leaf: str(leaf) if isinstance(leaf, float) and not math.isfinite(leaf) else leaf, value)


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in ("jaxgen", "jax", "jaxlib", "numpy", "flax", "optax"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def write_results(folder: Path, contents: dict[str, Any]) -> None:
    """Writes `results.json` whole or not at all."""
    temporary = folder / ".results.json.partial"
    temporary.write_text(json.dumps(for_json(contents), indent=1, allow_nan=False) + "\n")
    temporary.replace(folder / "results.json")


def write_parameters(folder: Path, params: PyTree) -> None:
    """Writes `parameters.npz`, an array for each leaf, named by its path in the tree."""
    leaves, _ = jax.tree.flatten_with_path(params)
    np.savez(
        folder / "parameters.npz",
        allow_pickle=False,
        **{jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves},
    )


def write_figure(folder: Path, figure: Any) -> list[Path]:
    """Writes the figure as PNG and SVG."""
    from jaxgen import plotting

    return plotting.save(figure, folder)
