"""Executes every notebook in a fresh kernel of this Python and checks it: `python -m tests.notebooks`.

A notebook fails if a cell raises, if anything is written to standard error (so no warning passes unseen), if it takes longer
than five minutes, if the file or the new outputs hold an absolute path of a machine, or if the file lacks outputs that the
run has. `--write` stores the new outputs.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
LIMIT = 300
"""Seconds that a notebook may take."""
ANSI_STYLE = re.compile(r"\x1b\[[0-9;]*m")
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
MACHINE_PATH = re.compile(r"/(?:home|root|tmp|Users)/|[A-Z]:\\\\|" + "|".join(re.escape(f"{place}{os.sep}") for place in (ROOT, sys.prefix)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks", description="Executes the notebooks and checks them.")
    parser.add_argument("--write", action="store_true", help="store the new outputs of notebooks that ran without a fault")
    options = parser.parse_args()
    paths = sorted(FOLDER.glob("*.ipynb"))
    failed = sum(not _passes(path, write=options.write) for path in paths)
    print(f"{len(paths) - failed} passed, {failed} failed")
    return 0 if paths and not failed else 1


def _passes(path: Path, *, write: bool) -> bool:
    """Executes one notebook and says what is wrong with it."""
    import nbformat

    committed = nbformat.read(path, as_version=4)
    start = time.monotonic()
    fresh, faults = execute(committed, cwd=path.parent, limit=LIMIT)
    seconds = time.monotonic() - start
    if not faults:
        faults = [f"in the outputs: {fault}" for fault in path_faults(fresh)]
    if write and not faults:
        nbformat.write(fresh, path)
    elif not faults:
        faults = [f"in the file: {fault}" for fault in path_faults(committed)] + missing_outputs(committed, fresh)
    print(f"{'FAILED' if faults else 'passed'} {path.name}, {seconds:.0f} s", *faults, sep="\n  ", flush=True)
    return not faults


def execute(notebook: Any, *, cwd: Path, limit: float) -> tuple[Any, list[str]]:
    """The notebook as a fresh kernel of the running interpreter leaves it, and what went wrong on the way.

    Args:
        notebook: from `nbformat.read`; it is not changed.
        cwd: working folder of the kernel.
        limit: seconds for the whole notebook.
    """
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    fresh = nbformat.from_dict(json.loads(json.dumps(notebook)))
    fresh.metadata = nbformat.from_dict(METADATA)
    for cell in _code_cells(fresh):
        cell.update(outputs=[], execution_count=None)
    own_kernel_only = KernelSpecManager(kernel_dirs=[])
    deadline = time.monotonic() + limit
    client = NotebookClient(
        fresh,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=own_kernel_only),
        timeout_func=lambda cell: max(1, int(deadline - time.monotonic())),
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(cwd)}},
    )
    with tempfile.TemporaryDirectory() as profile:
        environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
        environment |= {"IPYTHONDIR": profile, "PYTHONWARNINGS": "default", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        environment.setdefault("NPROC", "1")
        try:
            client.execute(env=environment)
            faults = []
        except CellTimeoutError:
            faults = [f"it takes longer than {limit:g} s"]
        except (CellExecutionError, DeadKernelError) as error:
            faults = [ANSI_STYLE.sub("", str(error)).strip()]
    fresh.metadata = nbformat.from_dict(METADATA)
    return fresh, faults + list(_complaints(fresh))


def path_faults(notebook: Any) -> list[str]:
    """Lines of sources, text outputs and metadata that hold an absolute path of a machine."""
    faults = []
    for number, cell in enumerate(notebook.cells, start=1):
        for text in (cell.source, json.dumps(cell.metadata), *_texts(cell)):
            faults += [f"cell {number} holds a path of a machine: {line.strip()}" for line in text.splitlines() if MACHINE_PATH.search(line)]
    metadata = json.dumps(notebook.metadata)
    return faults + ([f"the metadata hold a path of a machine: {metadata}"] if MACHINE_PATH.search(metadata) else [])


def missing_outputs(committed: Any, fresh: Any) -> list[str]:
    """Cells of the file that lack the outputs which they have when executed."""
    pairs = enumerate(zip(committed.cells, fresh.cells, strict=True), start=1)
    return [
        f"cell {number} is stored without its outputs; run with --write"
        for number, (old, new) in pairs
        if new.cell_type == "code" and [output.output_type for output in old.outputs] != [output.output_type for output in new.outputs]
    ]


def _complaints(notebook: Any) -> Iterator[str]:
    """What cells wrote to standard error."""
    for number, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                yield f"cell {number} writes to standard error: {output.text.strip()}"


def _code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _texts(cell: Any) -> Iterator[str]:
    """Every output of a cell that is text; images are none."""
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield "\n".join(output.get("traceback", []))
        yield from (str(content) for kind, content in output.get("data", {}).items() if not kind.startswith("image/"))


if __name__ == "__main__":
    sys.exit(main())
