"""Densities by stochastic Lanczos quadrature against numpy, and their figure."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from jaxgen import curvature, plotting

_density = jax.jit(curvature.spectral_density, static_argnames=("num_matvecs", "num_probes", "num_points"))


def _with_spectrum(values):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(len(values), len(values))))[0]
    return lx.MatrixLinearOperator(jnp.asarray((basis * np.asarray(values)) @ basis.T), lx.symmetric_tag)


@pytest.mark.float64
def test_moments_below_twice_the_steps_are_exact_for_a_diagonal_operator(key, rtol):
    """For signs v and diagonal A, v^T A^p v / P is the mean of the p-th powers whatever v is."""
    values = np.cos(np.arange(40.0))
    found = _density(lx.DiagonalLinearOperator(jnp.asarray(values)), key, num_matvecs=10, num_probes=2)
    assert found.nodes.shape == found.weights.shape == (2, 5)
    for power in range(10):
        np.testing.assert_allclose(jnp.sum(found.weights * found.nodes**power, axis=1), np.mean(values**power), atol=50 * rtol)


@pytest.mark.any_precision
def test_with_every_step_the_nodes_are_the_eigenvalues(key, rtol):
    values = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 4.0])
    found = _density(_with_spectrum(values), key, num_matvecs=6)
    np.testing.assert_allclose(found.nodes[0], values, atol=100 * rtol)
    np.testing.assert_allclose(found.weights.sum(), 1, rtol=10 * rtol)


@pytest.mark.any_precision
def test_the_density_is_numpys_smoothed_histogram(key):
    """A diagonal operator, for which a probe of signs has no sampling error, at a width that 20 nodes resolve."""
    values = np.random.default_rng(2).normal(size=300)
    grid, width = np.linspace(-5, 5, 401), 0.6
    found = _density(lx.DiagonalLinearOperator(jnp.asarray(values)), key, num_matvecs=20, grid=grid, width=width)
    expected = (np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2) / (width * np.sqrt(2 * np.pi))).mean(axis=1)
    np.testing.assert_allclose(found.density, expected, atol=1e-3 * expected.max())


@pytest.mark.any_precision
def test_the_default_grid_holds_all_of_the_density(key):
    found = _density(_with_spectrum(np.r_[np.zeros(50), np.linspace(1, 2, 14)]), key, num_matvecs=20)
    assert found.grid.shape == found.density.shape == (1024,)
    np.testing.assert_allclose(np.trapezoid(found.density, found.grid), 1, rtol=1e-3)
    at_zero = np.abs(found.grid) < 0.2
    assert 0.5 < np.trapezoid(found.density[at_zero], found.grid[at_zero]) < 1


@pytest.mark.any_precision
def test_a_single_eigenvalue_is_a_peak_of_one_hundredth(key):
    for value, width in ((2.0, 0.02), (0.0, 0.01)):
        found = _density(_with_spectrum([value] * 5), key, num_matvecs=3)
        np.testing.assert_allclose(found.grid[0], value - 4 * width, atol=1e-3 * max(value, 1))
        np.testing.assert_allclose(found.density.max(), 1 / (width * np.sqrt(2 * np.pi)), rtol=0.02)


@pytest.mark.any_precision
def test_vmap_changes_nothing(key):
    def call(w):
        found = curvature.spectral_density(curvature.hessian(lambda w, x: jnp.sum(w**4) * x, w, jnp.ones(2)), key, num_matvecs=3)
        return found.nodes[0]

    w = jnp.array([[0.5, 2.0, 1.0], [1.0, 3.0, 2.0]])
    np.testing.assert_allclose(jax.jit(jax.vmap(call))(w), jnp.sort(12 * w**2, axis=1), rtol=1e-4)


@pytest.mark.any_precision
def test_bad_input_is_named(key):
    operator = lx.DiagonalLinearOperator(jnp.arange(5.0))
    with pytest.raises(ValueError, match="num_matvecs must be a multiple of num_probes, 2; got 5"):
        curvature.spectral_density(operator, key, num_matvecs=5, num_probes=2)
    with pytest.raises(ValueError, match=r"num_matvecs / num_probes must be at most the number of parameters, 5"):
        curvature.spectral_density(operator, key, num_matvecs=12, num_probes=2)
    with pytest.raises(ValueError, match="width must be positive"):
        curvature.spectral_density(operator, key, num_matvecs=3, width=0.0)
    with pytest.raises(ValueError, match=r"grid must be a vector; got shape \(\)"):
        curvature.spectral_density(operator, key, num_matvecs=3, grid=1.0)
    with pytest.raises(ValueError, match="num_points must be an integer of at least 1; got 0"):
        curvature.spectral_density(operator, key, num_matvecs=3, num_points=0)
    broken = lx.DiagonalLinearOperator(jnp.array([1.0, jnp.nan]))
    with pytest.raises(ValueError, match="a product of the operator is not finite"):
        curvature.spectral_density(broken, key, num_matvecs=2)
    assert jnp.isnan(_density(broken, key, num_matvecs=2).density).all()


@pytest.mark.any_precision
def test_the_figure_has_a_line_for_every_density(key):
    found = _density(_with_spectrum(np.linspace(-1, 3, 30)), key, num_matvecs=10)
    figure = plotting.spectral_density({"start": found, "end": found})
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["start", "end"]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), found.grid)
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] >= 1e-8 * float(found.density.max())
    assert len(plotting.spectral_density(found).axes[0].lines) == 1
    with pytest.raises(ValueError, match="at least one density"):
        plotting.spectral_density({})
