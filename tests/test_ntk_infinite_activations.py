"""Dual activations and arc-cosine kernels."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from jaxgen.ntk import infinite

SMOOTH = {
    "erf": jax.scipy.special.erf,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "sin": jnp.sin,
    "identity": lambda x: x,
}
A, B = 1.3, 0.7
C = np.array([0.4, -0.9, 0.95, 0.0])


@partial(jax.jit, static_argnums=0)
def _by_quadrature(fn, c):
    """E[fn(u) fn(v)] and E[fn'(u) fn'(v)] on a product grid, with the Cholesky factor of the covariance."""
    z, w = (jnp.asarray(part) for part in hermegauss(120))
    w = w / w.sum()
    u = jnp.sqrt(A) * z
    v = c[:, None, None] / jnp.sqrt(A) * z[:, None] + jnp.sqrt(B - c[:, None, None] ** 2 / A) * z
    slope = lambda x: jax.jvp(fn, (x,), (jnp.ones_like(x),))[1]  # noqa: E731
    return tuple(jnp.einsum("i,j,i,cij->c", w, w, f(u), f(v)) for f in (fn, slope))


def _duals():
    return [infinite.dual_activation(name) for name in ("relu", "leaky_relu", "erf", "gelu", "sin", "identity")] + [
        infinite.leaky_relu(-0.5),
        infinite.quadrature(jnp.tanh),
    ]


@pytest.mark.heavy
def test_known_values_of_the_arc_cosine_kernels(rtol):
    rho = jnp.array([1.0, 0.5, 0.0, -1.0])
    np.testing.assert_allclose(infinite.relu_kappa0(rho), [1, 2 / 3, 0.5, 0], rtol=rtol, atol=rtol)
    np.testing.assert_allclose(infinite.relu_kappa1(rho), [1, 0.6089977810442293, 1 / np.pi, 0], rtol=rtol, atol=rtol)


@pytest.mark.heavy
def test_arc_cosine_kernels_are_those_of_the_library_of_c(precision):
    rho = np.linspace(-0.999, 0.999, 1001)
    angle = np.arccos(rho)
    # float32: rho is rounded by 6e-8, and kappa_0 has slope 7 at the ends of the grid.
    tolerance = {"float32": 5e-7, "float64": 1e-14}[precision]
    np.testing.assert_allclose(infinite.relu_kappa0(rho), 1 - angle / np.pi, rtol=0, atol=tolerance)
    np.testing.assert_allclose(infinite.relu_kappa1(rho), (np.sin(angle) + (np.pi - angle) * rho) / np.pi, rtol=0, atol=tolerance)


@pytest.mark.heavy
def test_the_derivative_of_kappa1_is_kappa0_and_both_are_finite_at_the_ends(rtol):
    rho = jnp.array([-1.0, -0.3, 0.0, 0.8, 1.0])
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(infinite.relu_kappa1)))(rho), infinite.relu_kappa0(rho), rtol=rtol, atol=rtol)
    slopes = jax.jit(jax.vmap(jax.grad(infinite.relu_kappa0)))(rho)
    np.testing.assert_allclose(slopes[1:4], 1 / (np.pi * np.sqrt(1 - np.asarray(rho[1:4]) ** 2)), rtol=rtol)
    assert slopes[0] == 0
    assert slopes[-1] == 0


def test_correlations_outside_of_the_interval_are_refused_beyond_rounding(precision):
    eps = float(jnp.finfo(precision).eps)
    assert infinite.relu_kappa0(1 + 2 * eps) == 1
    for fn in (infinite.relu_kappa0, infinite.relu_kappa1):
        with pytest.raises(ValueError, match=r"outside \[-1, 1\]"):
            fn(jnp.array([0.0, 1.001]))
        assert np.isnan(jax.jit(fn)(1.001))


@pytest.mark.heavy
@pytest.mark.parametrize("name", SMOOTH)
def test_closed_forms_agree_with_both_quadratures(name, precision):
    dual, series = infinite.dual_activation(name), infinite.quadrature(SMOOTH[name])
    tolerance = {"float32": 5e-7, "float64": 1e-10}[precision]
    kernel, derivative = _by_quadrature(SMOOTH[name], jnp.asarray(C))
    np.testing.assert_allclose(dual.kernel(A, B, C), kernel, rtol=0, atol=tolerance)
    np.testing.assert_allclose(dual.derivative(A, B, C), derivative, rtol=0, atol=tolerance)
    np.testing.assert_allclose(series.kernel(A, B, C), dual.kernel(A, B, C), rtol=0, atol=tolerance)
    np.testing.assert_allclose(series.derivative(A, B, C), dual.derivative(A, B, C), rtol=0, atol=tolerance)
    np.testing.assert_allclose(series.normalization, dual.normalization, rtol=1e-10)


def test_quadrature_of_a_kink_is_good_to_three_digits():
    dual, series = infinite.dual_activation("relu"), infinite.quadrature(jax.nn.relu)
    np.testing.assert_allclose(series.kernel(A, B, C), dual.kernel(A, B, C), rtol=0, atol=3e-3)
    np.testing.assert_allclose(series.derivative(A, B, C), dual.derivative(A, B, C), rtol=0, atol=5e-2)


@pytest.mark.float64
def test_known_values_of_erf_and_the_normalizations():
    erf = infinite.dual_activation("erf")
    np.testing.assert_allclose([erf.kernel(1.3, 0.7, 0.4), erf.derivative(1.3, 0.7, 0.4)], [0.17548, 0.45016], atol=5e-6)
    normalizations = {"relu": 2, "erf": 2.1525788606, "sin": 2 / (1 - np.exp(-2)), "identity": 1, "leaky_relu": 2 / 1.0001}
    for name, value in normalizations.items():
        np.testing.assert_allclose(infinite.dual_activation(name).normalization, value, rtol=1e-9)


@pytest.mark.heavy
@pytest.mark.parametrize("dual", _duals(), ids=lambda dual: dual.name)
def test_identities_of_dual_activations(dual, rtol):
    @jax.jit
    def sides(c):
        slopes = jax.vmap(jax.grad(lambda c: dual.kernel(A, B, c)))(c)
        left = slopes, dual.kernel(A, A, A), dual.kernel(1.0, 1.0, 1.0) * dual.normalization, dual.kernel(A, B, c)
        right = dual.derivative(A, B, c), dual.variance(jnp.array(A)), 1.0, dual.kernel(B, A, c)
        return left, right, dual.kernel(0.0, B, 0.0), jax.grad(lambda a: dual.kernel(a, B, 0.0))(0.0)

    left, right, at_zero, slope_at_zero = sides(jnp.asarray(C))
    # The rule of 64 nodes differentiates tanh to 3e-7.
    tolerance = max(rtol, 1e-6) if dual.name == "tanh" else rtol
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    assert at_zero == 0
    assert np.isfinite(slope_at_zero)
    np.testing.assert_allclose(dual.kernel(A, B, jnp.asarray(C)), left[3], rtol=rtol, atol=rtol)


def test_leaky_relu_is_the_relu_the_identity_and_the_absolute_value(rtol):
    c = jnp.asarray(C)
    assert infinite.leaky_relu(0.0) is infinite.dual_activation("relu")
    np.testing.assert_allclose(infinite.leaky_relu(1.0).kernel(A, B, c), c, rtol=rtol, atol=rtol)
    relu = infinite.dual_activation("relu")
    np.testing.assert_allclose(infinite.leaky_relu(-1.0).kernel(A, B, c), 2 * (relu.kernel(A, B, c) + relu.kernel(A, B, -c)), rtol=rtol)


def test_wrong_covariances_are_refused():
    relu = infinite.dual_activation("relu")
    with pytest.raises(ValueError, match="a is a variance"):
        relu.kernel(-1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="b is a variance"):
        relu.derivative(1.0, -1.0, 0.0)
    with pytest.raises(ValueError, match=r"at most sqrt\(a b\)"):
        relu.kernel(1.0, 4.0, 2.1)
    assert np.isnan(jax.jit(relu.kernel)(1.0, 4.0, 2.1))


@pytest.mark.any_precision
def test_wrong_activations_are_refused():
    with pytest.raises(ValueError, match="activation must be one of 'relu'"):
        infinite.dual_activation("reluu")
    with pytest.raises(TypeError, match="quadrature"):
        infinite.dual_activation(jnp.tanh)
    with pytest.raises(TypeError, match="function of an array"):
        infinite.quadrature("tanh")
    with pytest.raises(ValueError, match="degree"):
        infinite.quadrature(jnp.tanh, 1)
    with pytest.raises(ValueError, match="at most 180"):
        infinite.quadrature(jnp.tanh, 500)
    with pytest.raises(ValueError, match="vanishes"):
        infinite.quadrature(jnp.zeros_like)
    with pytest.raises(ValueError, match="finite"):
        infinite.leaky_relu(float("nan"))
