"""Parameters read from files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

from jaxgen import models

pytestmark = pytest.mark.any_precision
TREE = {"Dense_0": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3), "bias": np.zeros(3, np.float32)}}


def test_every_kind_of_file_gives_the_tree_back(tmp_path):
    np.savez(tmp_path / "a.npz", **{"Dense_0/kernel": TREE["Dense_0"]["kernel"], "Dense_0/bias": TREE["Dense_0"]["bias"]})
    (tmp_path / "b.msgpack").write_bytes(serialization.msgpack_serialize(TREE))
    for name in ("a.npz", "b.msgpack"):
        found = models.load_params(tmp_path / name)
        assert jax.tree.structure(found) == jax.tree.structure(TREE)
        np.testing.assert_array_equal(found["Dense_0"]["kernel"], TREE["Dense_0"]["kernel"])


def test_a_checkpoint_of_orbax_gives_the_tree_back(tmp_path):
    orbax = pytest.importorskip("orbax.checkpoint")
    checkpointer = orbax.StandardCheckpointer()
    checkpointer.save(tmp_path / "c", TREE)
    checkpointer.wait_until_finished()
    np.testing.assert_array_equal(models.load_params(tmp_path / "c")["Dense_0"]["kernel"], TREE["Dense_0"]["kernel"])


def test_numbered_names_are_a_list(tmp_path):
    np.savez(tmp_path / "a.npz", **{"0": np.ones(2), "1/w": np.ones(3)})
    found = models.load_params(tmp_path / "a.npz")
    assert isinstance(found, list)
    assert jnp.shape(found[1]["w"]) == (3,)


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "pickled.npz", a=np.array([{"x": 1}], object))
    np.savez(tmp_path / "text.npz", a=np.array(["x"]))
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "broken.msgpack").write_bytes(b"\xc1")
    (tmp_path / "params.pkl").write_bytes(b"")
    for name, message in {
        "none.npz": "no parameters at",
        "pickled.npz": "not an .npz file of plain arrays",
        "text.npz": "holds no tree of numbers",
        "broken.npz": "not an .npz file",
        "broken.msgpack": "not a flax .msgpack file",
        "params.pkl": "neither an .npz nor a .msgpack file",
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            models.load_params(tmp_path / name)
