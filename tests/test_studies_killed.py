"""Studies that are killed before their last save and started again: the same files, to the last byte, and not all anew. At toy sizes."""

import pytest

from jaxgen import studies
from jaxgen._core import checkpoint
from jaxgen.studies import kkt, margin, rich_lazy, scale_invariant, scaling_rule, steepest, svag

pytestmark = [pytest.mark.any_precision, pytest.mark.slow]

NETS = {"n": 32, "num_test": 50, "width": 4, "num_records": 2}
SMALL = {
    "svag": (svag, NETS | {"batch_size": 4, "num_steps": 8, "refinements": [2]}),
    "scaling-rule": (scaling_rule, NETS | {"batch_size": 2, "num_steps": 32, "kappas": [1, 16], "root_kappas": [4]}),
    "scale-invariant": (
        scale_invariant,
        {"n": 60, "num_test": 40, "batch_size": 20, "num_steps": 20, "every": 5, "widths": [8], "pairs": [[0.1, 0.1]], "norms": [1.0, 2.0]},
    ),
    "rich-lazy": (rich_lazy, {"n": 6, "depths": [2], "trained_scales": [0.1, 1.0], "predicted_scales": [0.1, 1.0], "relative_step": 0.3}),
    "steepest": (steepest, {"learning_rates": [0.08, 0.03], "time": 10.0, "num_points": 5}),
    "margin": (margin, {"n": 12, "exponents": ["2", "inf"], "num_steps": 400, "every": 10, "num_records": 6}),
    "kkt": (kkt, {"n": 20, "widths": [16], "depths_of_loss": [3.0, 30.0], "steps_between": 400}),
}


class _Killed(BaseException):
    pass


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", list(SMALL))
def test_a_killed_study_ends_with_the_same_files(name, tmp_path, monkeypatch):
    module, settings = SMALL[name]
    monkeypatch.setattr(module, "SETTINGS", module.SETTINGS | settings)
    save, saves, limit = checkpoint.Checkpoint.save, [], float("inf")

    def counted(self, *args):
        save(self, *args)
        saves.append(args[0])
        if len(saves) == limit:
            raise _Killed

    monkeypatch.setattr(checkpoint.Checkpoint, "save", counted)
    studies.run(name, seeds=6, out=tmp_path / "whole", quiet=True)
    in_all = len(saves)
    assert in_all > 1
    limit = 2 * in_all - 1
    with pytest.raises(_Killed):
        studies.run(name, seeds=6, out=tmp_path / "killed", quiet=True)
    assert not (tmp_path / "killed" / "results.json").exists()
    studies.run(name, seeds=6, out=tmp_path / "killed", quiet=True)
    assert len(saves) < limit + in_all
    assert _files(tmp_path / "killed") == _files(tmp_path / "whole")
