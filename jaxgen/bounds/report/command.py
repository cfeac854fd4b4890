"""`jaxgen report`: the report of a saved net."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen import data, models
from jaxgen._core.checks import require
from jaxgen.bounds.report.reports import bound_report

SETS = ("x_train", "y_train", "x_test", "y_test")


def report(
    params: Path,
    init: Path,
    model: Path,
    *,
    data_name: str = "digits",
    data_dir: Path | None = None,
    delta: float = 0.05,
    joint: bool = False,
    seed: int = 0,
    json: Path | None = None,
    html: Path | None = None,
) -> int:
    """Prints the report of a saved net, and writes it where it is told to.

    Args:
        params: file or folder of the trained parameters.
        init: of those that training began with.
        model: Python file that defines `apply_fn(params, x)`, and `loss` if it is not the cross-entropy.
        data_name: a data set of `data.load`, or an `.npz` file with x_train, y_train, x_test, y_test.
        data_dir: folder of the data sets.
        delta: as in `bound_report`.
        joint: as in `bound_report`.
        seed: of what is sampled.
        json: file to write.
        html: file to write.

    Returns:
        Exit status, 0.

    Raises:
        ValueError: if a file is not what it should be.
        FileNotFoundError: if there is none.
    """
    apply_fn, loss = _model(model)
    train, test = _data(data_name, data_dir)
    trained, start = models.load_params(params), models.load_params(init)
    found = bound_report(apply_fn, loss, trained, start, train, test, delta=delta, joint=joint, key=jax.random.key(seed))
    print(found)
    for path, text in ((json, found.to_json), (html, found.to_html)):
        if path is not None:
            path.write_text(text() + "\n")
            print(f"written to {path}")
    return 0


def _model(path: Path) -> tuple[Callable[..., Array], Any]:
    """`apply_fn` and `loss` of a Python file."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path} to take apply_fn from")
    spec = importlib.util.spec_from_file_location("jaxgen_report_model", path)
    require(spec is not None and spec.loader is not None, f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    apply_fn = getattr(module, "apply_fn", None)
    require(callable(apply_fn), f"{path} must define apply_fn(params, x)")
    return apply_fn, getattr(module, "loss", "cross_entropy")  # type: ignore[return-value]


def _data(name: str, data_dir: Path | None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Training and test examples."""
    if not name.endswith(".npz"):
        found = data.load(name, data_dir)
        return (found.x_train, found.y_train), (found.x_test, found.y_test)
    arrays = models.load_params(name)
    missing = [part for part in SETS if not isinstance(arrays, dict) or part not in arrays]
    require(not missing, f"{name} must hold {', '.join(SETS)}; it lacks {', '.join(missing)}")
    x_train, y_train, x_test, y_test = (jnp.asarray(arrays[part]) for part in SETS)
    return (x_train, y_train), (x_test, y_test)
