"""Traces by Hutchinson, Hutch++ and XTrace, against dense matrices and prescribed spectra."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from matfree import stochtrace

from jaxgen import curvature, seeds

METHODS = ("hutchinson", "hutchpp", "xtrace")

_trace = jax.jit(curvature.trace, static_argnames=("num_matvecs", "method", "per_leaf", "chunk_size"))


def _loss(params, x):
    return jnp.sum(jnp.tanh(x @ params["a"]) ** 3, axis=-1) + x[:, 0] * params["b"] ** 2


def _with_spectrum(values, seed=1):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))[0]
    return lx.MatrixLinearOperator(jnp.asarray((basis * np.asarray(values)) @ basis.T), lx.symmetric_tag)


@pytest.fixture
def symmetric():
    a = np.random.default_rng(1).normal(size=(6, 6))
    return jnp.asarray(a + a.T)


@pytest.fixture
def hessian():
    rng = np.random.default_rng(1)
    params, x = {"a": jnp.asarray(rng.normal(size=(3, 2))), "b": jnp.asarray(1.0)}, rng.normal(size=(5, 3))
    flat, unravel = ravel_pytree(params)
    dense = jax.jit(jax.hessian(lambda w: _loss(unravel(w), x).mean()))(flat)
    return curvature.hessian(_loss, params, x), np.asarray(dense)


@pytest.mark.any_precision
def test_trace_of_a_hessian_is_the_dense_ones(key, hessian):
    """400 probes, 4 standard errors."""
    operator, dense = hessian
    estimate = _trace(operator, key, num_matvecs=400)
    assert abs(float(estimate.value) - np.trace(dense)) < 4 * float(estimate.stderr)
    assert 0 < float(estimate.stderr) < 0.2


@pytest.mark.any_precision
def test_the_standard_error_is_that_of_the_off_diagonal_part(key, symmetric):
    """One probe has variance 2 |A - diag A|_F^2; a sample variance of 4000 probes is right to 10 % (4 times sqrt(kurtosis / 4000))."""
    estimate = _trace(lx.MatrixLinearOperator(symmetric, lx.symmetric_tag), key, num_matvecs=4000)
    matrix = np.asarray(symmetric)
    off_diagonal = matrix - np.diag(np.diag(matrix))
    np.testing.assert_allclose(4000 * float(estimate.stderr) ** 2, 2 * (off_diagonal**2).sum(), rtol=0.1)
    assert abs(float(estimate.value) - np.trace(matrix)) < 4 * float(estimate.stderr)


def test_a_diagonal_operator_has_an_exact_trace(key, rtol):
    operator = lx.DiagonalLinearOperator({"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.full((), 5.0)})
    estimate = _trace(operator, key, num_matvecs=2)
    np.testing.assert_allclose(estimate, (20.0, 0.0), rtol=rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_unbiased_and_knows_its_error(key, method):
    """600 keys: the mean error within 4 of its standard errors. Squared standard errors have the errors' variance for mean: exactly so
    for the first two (their ratio to 4 times sqrt(2 kurtosis / 600), 40 %); for XTrace, whose estimates share a sketch, to a factor 2.
    """
    values = 3 * 0.7 ** np.arange(12) * np.where(np.arange(12) % 3 == 2, -1, 1)
    operator = _with_spectrum(values)
    estimates = jax.jit(jax.vmap(lambda k: curvature.trace(operator, k, num_matvecs=9, method=method)))(jax.random.split(key, 600))
    errors = np.asarray(estimates.value) - values.sum()
    assert abs(errors.mean()) < 4 * errors.std(ddof=1) / np.sqrt(600)
    ratio = (np.asarray(estimates.stderr) ** 2).mean() / errors.var(ddof=1)
    assert (0.5 if method == "xtrace" else 0.6) < ratio < (2 if method == "xtrace" else 1.4)


@pytest.mark.float64
def test_sketches_win_where_few_eigenvalues_make_the_trace(key):
    """Spectrum 0.7^i and 60 products: a sketch of 20 leaves 0.7^20 = 1e-3 to the probes, one of 30 leaves 2e-5."""
    operator = _with_spectrum(0.7 ** np.arange(100.0))
    found = {method: _trace(operator, key, num_matvecs=60, method=method) for method in METHODS}
    exact = (1 - 0.7**100) / 0.3
    for method in ("hutchpp", "xtrace"):
        assert abs(float(found[method].value) - exact) < 5 * float(found[method].stderr)
    assert float(found["xtrace"].stderr) < 0.2 * float(found["hutchpp"].stderr) < 0.01 * float(found["hutchinson"].stderr)


@pytest.mark.float64
def test_xtrace_gives_matfrees_estimates(key, rtol):
    operator = _with_spectrum(0.9 ** np.arange(30.0))
    matrix = operator.as_matrix()
    probes = jax.random.normal(key, (8, 30), matrix.dtype)
    expected = stochtrace.leave_one_out_xtrace()(lambda v: matrix @ v, probes)
    found = _trace(operator, key, num_matvecs=16, method="xtrace")
    np.testing.assert_allclose(found.value, expected.mean(), rtol=50 * rtol)
    np.testing.assert_allclose(found.stderr, expected.std(ddof=1) / np.sqrt(8), rtol=1e-9)


@pytest.mark.any_precision
@pytest.mark.parametrize("scale", [1e-12, 1e6])
@pytest.mark.parametrize("method", ["hutchpp", "xtrace"])
def test_low_rank_is_exact_at_any_scale(key, method, scale, rtol):
    operator = _with_spectrum(scale * np.array([3.0, 2.0, -1.0] + [0.0] * 47))
    estimate = _trace(operator, key, num_matvecs=30, method=method)
    np.testing.assert_allclose(estimate.value, 4 * scale, rtol=100 * rtol)
    assert float(estimate.stderr) < 100 * rtol * scale


@pytest.mark.any_precision
@pytest.mark.parametrize("method", METHODS)
def test_nothing_has_trace_zero(key, method):
    assert _trace(_with_spectrum([0.0] * 20), key, num_matvecs=9, method=method) == (0, 0)


def test_xtrace_with_enough_products_is_exact(key, symmetric, rtol):
    found = _trace(lx.MatrixLinearOperator(symmetric), key, num_matvecs=6, method="xtrace")
    np.testing.assert_allclose(found.value, np.trace(symmetric), rtol=rtol)
    assert found.stderr == 0


@pytest.mark.any_precision
def test_traces_of_leaves_are_those_of_blocks(key, hessian):
    """400 probes, 4 standard errors; their sum is the whole's estimate of the same probes."""
    operator, dense = hessian
    parts = _trace(operator, key, num_matvecs=400, per_leaf=True)
    for part, block in ((parts["a"], dense[:6, :6]), (parts["b"], dense[6:, 6:])):
        assert abs(float(part.value) - np.trace(block)) < 4 * float(part.stderr) + 1e-5
    whole = _trace(operator, key, num_matvecs=400)
    np.testing.assert_allclose(parts["a"].value + parts["b"].value, whole.value, rtol=1e-4)


@pytest.mark.any_precision
@pytest.mark.parametrize("method", METHODS)
def test_chunks_change_nothing(key, symmetric, rtol, method):
    operator = lx.MatrixLinearOperator(symmetric)
    expected = _trace(operator, key, num_matvecs=5, method=method)
    found = _trace(operator, key, num_matvecs=5, chunk_size=2, method=method)
    np.testing.assert_allclose(found, expected, rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_vmap_and_jit_change_nothing(key, rtol, method):
    rng = np.random.default_rng(1)
    several, x = {"a": rng.normal(size=(2, 3, 2)), "b": np.ones(2)}, rng.normal(size=(5, 3))

    def call(params):
        return curvature.trace(curvature.hessian(_loss, params, x), key, num_matvecs=3, method=method).value

    found = jax.jit(jax.vmap(call))(several)
    np.testing.assert_allclose(found[1], call(jax.tree.map(lambda leaf: leaf[1], several)), rtol=100 * rtol)


@pytest.mark.any_precision
def test_the_estimate_is_differentiable_in_the_parameters(key):
    """Diagonal Hessian 12 w^2: the probes' signs do not matter, and the trace's derivative is 24 w."""

    def estimate(w, **options):
        return curvature.trace(curvature.hessian(lambda w, x: jnp.sum(w**4) * x, w, jnp.ones(2)), key, num_matvecs=2, **options).value

    w = jnp.array([0.5, 2.0])
    np.testing.assert_allclose(jax.jit(jax.grad(estimate))(w), [12.0, 48.0], rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda w: estimate(w, method="xtrace")))(w), [12.0, 48.0], rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(estimate)))(w[None])[0], [12.0, 48.0], rtol=1e-5)


@pytest.mark.any_precision
def test_one_probe_has_no_standard_error(key, symmetric):
    assert jnp.isnan(curvature.trace(lx.MatrixLinearOperator(symmetric), key, num_matvecs=1).stderr)


@pytest.mark.any_precision
def test_nan_is_reported(key, symmetric):
    broken = lx.MatrixLinearOperator(symmetric.at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="a product of the operator is not finite"):
        curvature.trace(broken, key, num_matvecs=3)
    for method in METHODS:
        assert jnp.isnan(_trace(broken, key, num_matvecs=5, method=method).value)


@pytest.mark.any_precision
def test_bad_input_is_named(key, symmetric):
    operator = lx.MatrixLinearOperator(symmetric)
    with pytest.raises(ValueError, match="method must be one of 'hutchinson', 'hutchpp', 'xtrace'; got 'guess'"):
        curvature.trace(operator, key, num_matvecs=3, method="guess")
    with pytest.raises(ValueError, match="num_matvecs must be an integer of at least 1; got 0"):
        curvature.trace(operator, key, num_matvecs=0)
    with pytest.raises(ValueError, match="num_matvecs must be an integer of at least 3; got 2"):
        curvature.trace(operator, key, num_matvecs=2, method="hutchpp")
    with pytest.raises(ValueError, match="chunk_size must be an integer of at least 1; got 0"):
        curvature.trace(operator, key, num_matvecs=2, chunk_size=0)
    with pytest.raises(ValueError, match="per_leaf needs method 'hutchinson'"):
        curvature.trace(operator, key, num_matvecs=4, method="xtrace", per_leaf=True)
    with pytest.raises(ValueError, match=r"operator must be square: it maps .* to "):
        curvature.trace(lx.MatrixLinearOperator(symmetric[:2]), key, num_matvecs=3)


@pytest.mark.any_precision
def test_seeds_on_several_devices_change_nothing(key, rtol):
    params, x = {"a": jax.random.normal(key, (3, 2)), "b": jnp.ones(())}, jax.random.normal(key, (5, 3))
    keys = jax.random.split(key, 4)

    def estimate(key, x):
        return curvature.trace(curvature.hessian(_loss, params, x), key, num_matvecs=3).value

    np.testing.assert_allclose(seeds.run(estimate, keys, x), jnp.stack([estimate(k, x) for k in keys]), rtol=rtol)
