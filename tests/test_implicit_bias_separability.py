"""Whether data are separable, with a proof."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxgen import implicit_bias

pytestmark = pytest.mark.float64

PLANE = {
    "separable": ([(1, 0), (0, 1), (3, 1), (-1, -2)], [1, 1, 1, -1], (True, False)),
    "one class": ([(1, 0), (0, 1), (3, 1), (1, 2)], [1, 1, 1, 1], (True, False)),
    "opposite points": ([(1, 0), (-1, 0), (0, 1), (0, -1)], [1, 1, 1, 1], (False, True)),
    "a point with both labels": ([(1, 2), (1, 2), (1, 2), (-1, -2)], [1, -1, 1, 1], (False, True)),
    "one direction left open": ([(1, 0), (0, 1), (0, 1), (2, 0)], [1, 1, -1, 1], (False, False)),
    "a zero row among others": ([(1, 0), (0, 1), (0, 0), (1, 1)], [1, 1, 1, 1], (False, False)),
    "rows of very different size": ([(1000, 0), (-0.001, 0), (0, 10), (0, 0.1)], [1, 1, 1, -1], (False, True)),
}


def _finite_minimizer(z):
    """By scipy: the largest sum of min(z_i.w, 1) over w with z_i.w >= 0 is zero."""
    n, d = z.shape
    rows = np.hstack([-z, np.eye(n)])
    return linprog(np.append(np.zeros(d), -np.ones(n)), A_ub=rows, b_ub=np.zeros(n), bounds=[(None, None)] * d + [(0, 1)] * n).fun > -0.5


@pytest.fixture
def decide():
    return jax.jit(jax.vmap(implicit_bias.is_separable))


@pytest.mark.slow
def test_examples_in_the_plane_are_told_apart_with_proofs(decide, precision):
    x, y, expected = (np.array([example[i] for example in PLANE.values()]) for i in range(3))
    tol = {"float32": 1e-4, "float64": 1e-8}[precision]
    separable, certificate = decide(x, y)
    np.testing.assert_array_equal(np.stack([separable, certificate.finite_minimizer], axis=1), expected)
    z = x * y[..., None]
    lengths = np.linalg.norm(z, axis=2)
    lengths = np.where(lengths > 0, lengths, 1)
    margins = np.einsum("knd,kd->kn", z, certificate.w) / lengths
    assert np.all(margins[separable] > 0)
    np.testing.assert_allclose(margins[separable].min(axis=1), certificate.margin[separable], rtol=10 * tol)
    balance = np.abs(np.einsum("knd,kn->kd", z, certificate.multipliers)).max(axis=1) / (certificate.multipliers * lengths).max(axis=1)
    assert np.all(balance[~separable] <= 10 * tol)
    np.testing.assert_allclose(certificate.multipliers.sum(axis=1), 1, rtol=1e-5)
    assert np.all(certificate.multipliers[certificate.finite_minimizer] > 0)


@pytest.mark.float64
def test_random_data_agree_with_linear_programs_of_scipy(decide, key):
    """Eight matrices of three entries: of 20 sets some are separable, and some not with and without a finite minimizer."""
    keys = jax.random.split(key, 2)
    x, y = jax.random.randint(keys[0], (20, 8, 3), -2, 3).astype(float), jax.random.rademacher(keys[1], (20, 8), float)
    x = x.at[:10, 1].set(x[:10, 0] * y[:10, :1] * -y[:10, 1:2]).at[:5, 2:, 2].set(0.5 * y[:5, 2:])
    separable, certificate = decide(x.reshape(20, 8, 3, 1), y)
    assert certificate.w.shape == (20, 3, 1)
    z = np.asarray(x * y[..., None])
    by_scipy = [linprog(np.zeros(3), A_ub=-rows, b_ub=-np.ones(8), bounds=(None, None)).status == 0 for rows in z]
    np.testing.assert_array_equal(separable, by_scipy)
    np.testing.assert_array_equal(certificate.finite_minimizer, [_finite_minimizer(rows) for rows in z])
    assert len({(bool(a), bool(b)) for a, b in zip(separable, certificate.finite_minimizer, strict=True)}) == 3


@pytest.mark.any_precision
def test_bad_input_is_named():
    with pytest.raises(ValueError, match="-1 or 1"):
        implicit_bias.is_separable(jnp.ones((2, 2)), jnp.array([0, 1]))
    with pytest.raises(ValueError, match="tol must be"):
        implicit_bias.is_separable(jnp.ones((2, 2)), jnp.array([1, 1]), tol=0.0)
