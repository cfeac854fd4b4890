"""The study of steepest descent by step size, at a toy size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import studies
from jaxgen.studies import steepest

pytestmark = pytest.mark.any_precision


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(steepest, "SETTINGS", steepest.SETTINGS | {"learning_rates": [0.08, 0.03], "time": 10.0, "num_points": 5})


@pytest.mark.slow
def test_limits_depend_on_the_step_size_in_l_4_3_and_not_in_l2(small, tmp_path, capsys):
    """The limits of Fig. 8.1, a flow that ends above the least norm, and the same on random problems."""
    results = studies.run("steepest", seeds=3, out=tmp_path)["results"]
    book, random = results["book"], results["random"]
    np.testing.assert_allclose([limit[0] for limit in book["limits"]], [0.440168, 0.325356, 0.282596], atol=1e-4)
    np.testing.assert_allclose([book["norms"][-1], book["least_norm"]], [7.646792, 7.583651], rtol=1e-5)
    np.testing.assert_allclose(book["euclidean_limits"], [[1 / 3, 29 / 6, -25 / 6]] * 2, atol=1e-4)
    np.testing.assert_allclose([path[0] for path in book["trajectories"]], 0)
    np.testing.assert_allclose([path[-1] for path in book["trajectories"]], book["limits"][:-1], atol=1e-3)
    assert min(np.ravel(random["excess"])) > -1e-4
    assert max(random["euclidean_spread"]) < 1e-4 < min(random["spread"])
    with np.load(tmp_path / "parameters.npz", allow_pickle=False) as saved:
        assert saved["limits"].shape == (4, 3, 3)
    assert "least norm" in capsys.readouterr().out
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_random_problem_has_the_singular_values_of_the_given_one(key):
    x, y = steepest.random_problem(key, jnp.array(steepest.SETTINGS["x"]), jnp.array([3.0, 4.0]))
    np.testing.assert_allclose(jnp.linalg.svd(x @ x.T, compute_uv=False), 4 + np.sqrt(10) * np.array([1, -1]), rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(y), 5, rtol=1e-6)
    assert not jnp.allclose(x, steepest.random_problem(jax.random.split(key)[0], x, y)[0])
