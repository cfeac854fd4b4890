"""Studies: multi-seed experiments on real data that end in a figure and a table of numbers."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from jaxgen import data as _data
from jaxgen._core.checks import choice, positive_integer
from jaxgen.studies import _output
from jaxgen.studies._problem import Setup as Setup

STUDIES = {
    "certificate": "jaxgen.studies.certificate",
    "certificate-data-free": "jaxgen.studies.certificate_data_free",
    "certificate-dense": "jaxgen.studies.certificate_dense",
    "certificate-large": "jaxgen.studies.certificate_large",
    "cmi": "jaxgen.studies.cmi",
    "dispersion": "jaxgen.studies.dispersion",
    "edge-of-stability": "jaxgen.studies.edge_of_stability",
    "kernel-regression": "jaxgen.studies.kernel_regression",
    "kkt": "jaxgen.studies.kkt",
    "margin": "jaxgen.studies.margin",
    "measures": "jaxgen.studies.measures",
    "ntk-alignment": "jaxgen.studies.ntk_alignment",
    "ntk-complexity": "jaxgen.studies.ntk_complexity",
    "ntk-width": "jaxgen.studies.ntk_width",
    "rich-lazy": "jaxgen.studies.rich_lazy",
    "scaling-rule": "jaxgen.studies.scaling_rule",
    "scale-invariant": "jaxgen.studies.scale_invariant",
    "sgd-bound": "jaxgen.studies.sgd_bound",
    "steepest": "jaxgen.studies.steepest",
    "svag": "jaxgen.studies.svag",
    "uniform-convergence": "jaxgen.studies.uniform_convergence",
}
"""Module of every study, by its name on the command line."""

ONE_AT_A_TIME = ("certificate", "certificate-data-free", "certificate-dense", "certificate-large")
"""Studies that train one large net after the other, for which one device has all cores."""

KEY_SEED = 20220425
TABLE_WIDTH = 120
"""Columns of the printed table where there is no terminal to ask."""

__all__ = ["ONE_AT_A_TIME", "STUDIES", "Setup", "run"]


def run(
    name: str,
    *,
    data: str = "digits",
    data_dir: str | Path | None = None,
    seeds: int | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Runs a study and writes `results.json`, `parameters.npz` and the figure (`.png`, `.svg`) into a folder.

    Interrupted and started again with the same arguments, it goes on from its last checkpoint and ends with the same
    numbers, to the last bit.

    Args:
        name: a key of `STUDIES`.
        data: data set, as in `jaxgen.data.load`.
        data_dir: folder of the data sets that are not embedded; default: environment variable `JAXGEN_DATA_DIR`.
        seeds: number K of training seeds, at least 2; default: the study's own.
        out: folder to write to; default: `results/NAME-DATA`.
        quiet: prints nothing.

    Returns:
        The contents of `results.json`, with non-finite numbers as such.

    Raises:
        ValueError: if the study or the data set is unknown, `seeds` < 2, `out` cannot be written to or holds the
            checkpoint of another configuration.
        FileNotFoundError: if the data set's files are not there.
    """
    choice("study", name, tuple(STUDIES))
    module = importlib.import_module(STUDIES[name])
    num_seeds = positive_integer("seeds", module.DEFAULT_SEEDS if seeds is None else seeds, at_least=2)
    dataset = _data.load(data, data_dir)
    folder = _output.prepare(out if out is not None else Path("results") / f"{name}-{data}")
    console = Console(quiet=quiet, width=None if sys.stdout.isatty() else TABLE_WIDTH)
    errors = Console(stderr=True, quiet=quiet)
    console.print(f"[bold]{name}[/bold]: {module.TITLE}; {data}, {num_seeds} seeds")
    setup = Setup(dataset, data, num_seeds, jax.random.key(KEY_SEED), folder / "checkpoint", lambda part: errors.print(f"  {part}"))
    results, params = module.compute(setup)
    contents = {
        "study": name,
        "configuration": {"data": data, "seeds": num_seeds, "key": KEY_SEED, "precision": str(dataset.x_train.dtype), **module.SETTINGS},
        "versions": _output.versions(),
        "results": results,
    }
    plain = _output.plain(contents)
    _output.write_results(folder, plain)
    _output.write_parameters(folder, params)
    console.print(_table(module.table(plain["results"])))
    if importlib.util.find_spec("matplotlib") is None:
        console.print("no figure: matplotlib is not installed; pip install 'jaxgen\\[plot]' and run again, which takes seconds")
    else:
        _output.write_figure(folder, module.draw(plain["results"]))
    console.print(f"written to {folder}")
    return plain


def _table(rows: list[list[str]]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    return table
