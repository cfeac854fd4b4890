"""Norms, their duals and directions of steepest descent."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias
from jaxgen.implicit_bias import fourier_norm, lp_norm, nuclear_norm, quadratic_norm, spectral_norm

EXPONENTS = (1, 4 / 3, 2, 3, math.inf)
CONSTRUCTORS = (
    [(f"l_{p:.3g}", lambda p=p: lp_norm(p), (6,)) for p in EXPONENTS]
    + [(f"fourier l_{p:.3g}", lambda p=p: fourier_norm(p), (7,)) for p in (1, 4 / 3, math.inf)]
    + [("quadratic", lambda: quadratic_norm(_metric()), (4,)), ("spectral", spectral_norm, (3, 4)), ("nuclear", nuclear_norm, (4, 3))]
)
every_norm = pytest.mark.parametrize(("norm", "shape"), [pytest.param(make, shape, id=name) for name, make, shape in CONSTRUCTORS])


def _metric():
    return jnp.array([[4.0, 1, 0, 1], [1, 3, 1, 0], [0, 1, 2, 0.5], [1, 0, 0.5, 5]])


def _eps(precision, count=64):
    return count * float(np.finfo(precision).eps)


@pytest.mark.heavy
@every_norm
def test_the_steepest_direction_has_the_dual_norm_and_its_square_as_product(norm, shape, key, precision):
    """Identity (8.27); random directions do no better; and it is minus the gradient of half the squared dual norm."""
    norm = norm()
    g = jax.random.normal(key, shape)
    others = jax.random.normal(jax.random.fold_in(key, 1), (1000, *shape))

    @jax.jit
    def at(norm, g):
        v, sizes = norm.steepest(g), jax.vmap(norm.value)(others)
        return v, norm.value(v), jax.value_and_grad(norm.dual)(g), jnp.einsum("n...,...->n", others, g), sizes

    v, size, (dual, gradient), products, sizes = at(norm, g)
    assert v.shape == shape
    assert v.dtype == g.dtype
    np.testing.assert_allclose([size, -jnp.vdot(g, v) / dual], float(dual), rtol=_eps(precision))
    np.testing.assert_allclose(v, -dual * gradient, rtol=_eps(precision), atol=_eps(precision))
    assert (products / sizes).max() < dual
    assert (products + sizes**2 / 2 > jnp.vdot(g, v) + size**2 / 2).all()


@pytest.mark.any_precision
@every_norm
def test_zero_has_finite_derivatives_and_numbers_at_both_ends_of_the_range_do_not_overflow_or_vanish(norm, shape, key, precision):
    """Squares and q-th powers of these are no numbers."""
    norm, g = norm(), jax.random.normal(key, shape)

    @jax.jit
    def at(g):
        step, along = jax.jvp(norm.steepest, (g,), (jnp.ones(shape),))
        (value, dual), (left, right) = zip(*(jax.value_and_grad(size)(g) for size in (norm.value, norm.dual)), strict=True)
        return (value, dual, step), (along, left, right)

    sizes, derivatives = at(jnp.zeros(shape))
    assert all((leaf == 0).all() for leaf in sizes)
    assert all(jnp.isfinite(leaf).all() for leaf in derivatives)
    for scale in (2.0**120, 2.0**-115):
        for found, expected in zip(at(g * scale)[0], at(g)[0], strict=True):
            np.testing.assert_allclose(found / scale, expected, rtol=_eps(precision), atol=_eps(precision))


def test_known_directions():
    g = jnp.array([3.0, -4.0])
    for p, expected in [(1, [0, 4]), (2, [-3, 4]), (math.inf, [-7, 7])]:
        np.testing.assert_allclose(lp_norm(p).steepest(g), expected, rtol=1e-6)
    np.testing.assert_allclose(lp_norm(3).steepest(g), -np.sqrt(np.abs(g)) * np.sign(g) * (3**1.5 + 4**1.5) ** (1 / 3), rtol=1e-6)
    np.testing.assert_allclose(quadratic_norm(_metric()).steepest(jnp.ones(4)), -np.linalg.solve(_metric(), np.ones(4)), rtol=1e-5)


@pytest.mark.heavy
def test_spectral_and_nuclear_norms_agree_with_numpy(key, precision):
    matrix = jax.random.normal(key, (4, 3)) + jnp.arange(3.0) * jnp.eye(4, 3)
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose([spectral_norm().value(matrix), nuclear_norm().value(matrix)], [s[0], s.sum()], rtol=_eps(precision))
    np.testing.assert_allclose(spectral_norm().steepest(matrix), -s.sum() * u @ vt, atol=_eps(precision))
    np.testing.assert_allclose(nuclear_norm().steepest(matrix), -s[0] * np.outer(u[:, 0], vt[0]), atol=_eps(precision))


@pytest.mark.heavy
def test_the_spectral_direction_of_a_matrix_of_low_rank_is_its_partial_isometry(precision):
    outer = jnp.outer(jnp.array([3.0, 4.0, 0.0]), jnp.array([0.0, 2.0]))
    np.testing.assert_allclose(spectral_norm().steepest(outer), -outer, atol=_eps(precision))


@pytest.mark.float64
def test_the_fourier_norm_is_that_of_the_unitary_transform(key, rtol):
    w = jax.random.normal(key, (7,))
    transform = np.abs(np.fft.fft(np.asarray(w))) / math.sqrt(7)
    for p in EXPONENTS:
        np.testing.assert_allclose(fourier_norm(p).value(w), np.linalg.norm(transform, p), rtol=rtol)
    np.testing.assert_allclose(fourier_norm(2).value(w), jnp.linalg.norm(w), rtol=rtol)


@pytest.mark.any_precision
def test_the_fourier_direction_for_exponent_one_is_a_cosine(precision):
    """Half of the wave, since the transform of a cosine is at two frequencies and the norm counts both."""
    t = jnp.arange(8)
    wave = jnp.cos(2 * jnp.pi * 3 * t / 8 + 0.4)
    g = wave + 0.1 * jnp.sin(2 * jnp.pi * t / 8)
    direction = fourier_norm(1).steepest(g)
    np.testing.assert_allclose(direction, -wave / 2, atol=_eps(precision))


@pytest.mark.any_precision
def test_ties_are_taken_first_averaged_or_at_random():
    """All of them steepest; random ones take each entry about equally often (within 4 standard errors)."""
    g = jnp.array([1.0, -2.0, 2.0, 2.0, 0.0])
    norm = lp_norm(1)
    np.testing.assert_array_equal(norm.steepest(g), [0, 2, 0, 0, 0])
    np.testing.assert_allclose(norm.steepest(g, ties="average"), [0, 2 / 3, -2 / 3, -2 / 3, 0], rtol=1e-6)
    draws = jax.jit(jax.vmap(lambda key: norm.steepest(g, ties="random", key=key)))(jax.random.split(jax.random.key(0), 900))
    assert (jnp.abs(draws).sum(axis=1) == 2).all()
    np.testing.assert_allclose((draws != 0).sum(axis=0), [0, 300, 300, 300, 0], atol=4 * math.sqrt(200))
    flat = lp_norm(math.inf).steepest(g, ties="random", key=jax.random.key(1))
    np.testing.assert_array_equal(jnp.abs(flat), jnp.full(5, 7.0))
    np.testing.assert_array_equal(lp_norm(math.inf).steepest(g), [-7, 7, -7, -7, 0])
    np.testing.assert_allclose(nuclear_norm().steepest(jnp.eye(3), ties="average"), -jnp.eye(3) / 3, atol=1e-6)
    assert all((norm.steepest(0 * g, ties=ties, key=jax.random.key(0)) == 0).all() for ties in ("average", "random"))


@pytest.mark.any_precision
def test_norms_are_arguments_of_compiled_functions_and_mapped_over(key, rtol):
    metrics = _metric() * jnp.array([1.0, 4.0])[:, None, None]
    g = jax.random.normal(key, (4,))
    sizes = jax.jit(jax.vmap(lambda metric: quadratic_norm(metric).value(g)))(metrics)
    np.testing.assert_allclose(sizes, [quadratic_norm(metric).value(g) for metric in metrics], rtol=rtol)
    assert lp_norm(3) == lp_norm(3.0)
    assert lp_norm(4 / 3).q == pytest.approx(4)
    assert isinstance(lp_norm(1), implicit_bias.LpNorm)
    assert isinstance(fourier_norm(1), implicit_bias.FourierNorm)


def test_integers_become_floats(precision):
    assert lp_norm(3).steepest(jnp.array([1, 2])).dtype == precision


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lp_norm(0.5), ValueError, r"p must be in \[1, inf\]; got 0.5"),
        (lambda: fourier_norm(math.nan), ValueError, "p must be in"),
        (lambda: lp_norm("two"), TypeError, "p must be a concrete number"),
        (lambda: jax.jit(lambda p: lp_norm(p).value(jnp.ones(2)))(1.0), TypeError, "p must be a concrete number"),
        (lambda: quadratic_norm(jnp.ones((2, 3))), ValueError, "metric must be a square matrix"),
        (lambda: quadratic_norm(jnp.array([[1.0, 1.0], [0.0, 1.0]])), ValueError, "metric must be symmetric"),
        (lambda: quadratic_norm(jnp.array([[1.0, 2.0], [2.0, 1.0]])), ValueError, "metric must be positive definite"),
        (lambda: quadratic_norm(jnp.diag(jnp.array([1.0, 0.0]))), ValueError, "metric must be positive definite"),
        (lambda: quadratic_norm(jnp.eye(2)).value(jnp.ones(3)), ValueError, "as many entries as the metric has rows, 2"),
        (lambda: spectral_norm().value(jnp.ones(3)), ValueError, "w must be a matrix"),
        (lambda: fourier_norm(1).dual(jnp.ones((2, 2))), ValueError, "g must be a vector"),
        (lambda: lp_norm(1).steepest(jnp.ones(2), ties="last"), ValueError, "ties must be one of"),
        (lambda: lp_norm(1).steepest(jnp.ones(2), ties="random"), ValueError, "needs a key"),
        (lambda: lp_norm(1).value(jnp.ones(2) * 1j), TypeError, "w must be real"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.any_precision
def test_a_traced_metric_that_is_not_positive_definite_gives_nan():
    assert jnp.isnan(jax.jit(lambda metric: quadratic_norm(metric).value(jnp.ones(2)))(jnp.array([[1.0, 2.0], [2.0, 1.0]])))
