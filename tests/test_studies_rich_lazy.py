"""The study of the rich and the lazy regime, at a toy size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import data, studies
from jaxgen.studies import rich_lazy

pytestmark = pytest.mark.any_precision


@pytest.mark.slow
@pytest.mark.parametrize("depths", [[3], [2, 3]])
def test_trained_norms_are_those_of_the_potentials_and_go_from_rich_to_lazy(depths, monkeypatch, tmp_path, capsys):
    small = {"n": 6, "depths": depths, "trained_scales": [0.1, 1.0], "predicted_scales": [1e-4, 0.1, 1.0], "relative_step": 0.3}
    monkeypatch.setattr(rich_lazy, "SETTINGS", rich_lazy.SETTINGS | small)
    results = studies.run("rich-lazy", seeds=2, out=tmp_path)["results"]
    assert [row["depth"] for row in results["depths"]] == depths
    for row in results["depths"]:
        predicted, trained = (row["means"][kind] for kind in ("predicted", "trained"))
        assert row["converged"]
        assert np.all(np.diff(predicted["l1"]["value"]) > 0)
        assert np.all(np.diff(predicted["l2"]["value"]) < 0)
        np.testing.assert_allclose(trained["l1"]["value"], predicted["l1"]["value"][1:], atol=5e-3)
        assert max(row["gap"]["value"]) < 5e-3
        assert row["gap_of_another_depth"]["value"][0] > 20 * row["gap"]["value"][0]
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["depth-3"].shape == (2, 2, 64)
    assert "excess l1" in capsys.readouterr().out


def test_examples_span_what_the_images_span_and_targets_are_those_of_a_sparse_teacher(key):
    images = data.load("digits").x_train.reshape(-1, 64)
    rows = jnp.arange(5)
    x, y = rich_lazy.problem(key, images, rows)
    np.testing.assert_allclose(x @ x.T, 64 * jnp.eye(5), atol=1e-3)
    centred = images[rows] - images.mean(axis=0)
    projector = x.T @ x / 64
    np.testing.assert_allclose(centred @ projector, centred, atol=1e-4)
    pixels = jax.random.choice(jax.random.split(key)[0], 64, (3,), replace=False, p=images.var(axis=0) / images.var(axis=0).sum())
    assert float(jnp.linalg.norm(jnp.linalg.lstsq(x[:, pixels], y)[1])) < 1e-3
