"""Compressibility, compressed linear classifiers, truncated layers and bounds from counting numbers (GEN-16 to 22)."""

import math
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds, models


def _matrices(key, shapes):
    return [jax.random.normal(jax.random.fold_in(key, i), shape) for i, shape in enumerate(shapes)]


def _linear(weights, x):
    return x @ weights.T


@pytest.fixture
def weights(key):
    return _matrices(key, [(6, 4), (5, 6), (3, 5)])


@pytest.mark.float64
def test_the_compression_error_is_the_largest_change_of_an_output(key):
    f, g = _matrices(key, [(3, 4), (3, 4)])
    x = jax.random.normal(key, (7, 4))
    expected = np.abs(np.asarray(x) @ np.asarray(f - g).T).max()
    np.testing.assert_allclose(bounds.compression_error(_linear, f, _linear, g, x), expected, rtol=1e-5)
    assert bounds.compression_error(_linear, f, _linear, f, x) == 0
    assert bounds.is_compressible(_linear, f, _linear, g, x, 1.01 * expected)
    assert not bounds.is_compressible(_linear, f, _linear, g, x, 0.99 * expected)


@pytest.mark.float64
def test_quantized_parameters_are_the_nearest_levels(key):
    params = {"a": jax.random.uniform(key, (50,), minval=-1.0), "b": jnp.array([-9.0, 0.3])}
    found = bounds.quantize(params, 5, {"a": 1.0, "b": 2.0})
    levels = np.linspace(-1, 1, 5)
    nearest = levels[np.abs(np.asarray(params["a"])[:, None] - levels).argmin(axis=1)]
    np.testing.assert_allclose(found.params["a"], nearest, atol=1e-6)
    np.testing.assert_allclose(found.params["b"], [-2.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(found.max_error, 7.0, rtol=1e-6)
    assert bounds.quantize(params["a"], 5, 1.0).max_error <= 0.25 + 1e-6


@pytest.mark.heavy
def test_the_compression_bound_counts_values_of_parameters(rtol):
    bound = bounds.compression_bound(jnp.array([0.0, 0.1]), 100, 16, 10**4, 0.05)
    penalty = math.sqrt((100 * math.log(16) + math.log(20)) / (2 * 10**4))
    np.testing.assert_allclose(bound.value, [penalty, 0.1 + penalty], rtol=rtol)
    np.testing.assert_allclose(sum(bound.terms.values()), bound.value, rtol=rtol)
    assert (bound.sided, bound.certified, bound.confidence) == ("one", True, 0.95)
    assert bounds.compression_bound(0.5, 10**6, 2, 10, 0.05).value > 1


@pytest.mark.float64
def test_the_compression_bound_transforms(rtol):
    def value(q):
        return bounds.compression_bound(0.1, q, 3, 100, 0.1).value

    counts = jnp.array([0.0, 1.0, 50.0])
    np.testing.assert_allclose(jax.jit(jax.vmap(value))(counts), [value(q) for q in counts], rtol=rtol)
    np.testing.assert_allclose(jax.grad(value)(1.0), (value(1 + 1e-6) - value(1 - 1e-6)) / 2e-6, rtol=1e-7)
    assert jnp.isnan(jax.jit(value)(-1.0))


@pytest.mark.any_precision
def test_a_margin_above_gamma_is_not_enough_and_above_two_gamma_is():
    f, g, label = jnp.array([[1.5, 0.0]]), jnp.array([[0.5, 1.0]]), jnp.array([0])
    gamma = float(jnp.abs(f - g).max())
    assert gamma == 1.0
    assert models.zero_one(g, label)[0] == 1
    assert bounds.margin_loss(f, label, gamma) == 0
    assert bounds.margin_loss(f, label, 2 * gamma) == 1


@pytest.mark.float64
def test_sparsification_is_unbiased_with_the_stated_size_and_variance(key):
    """All draws of the eight coordinates by enumeration: p and 1 - p."""
    c = jnp.array([0.8, 0.5, 0.3, 0.1, 0.1, 0.0])
    c, u = c / jnp.linalg.norm(c), jnp.ones(6) / math.sqrt(6)
    p = np.minimum(1, 8 * (np.asarray(c) / 0.9) ** 2)
    outcomes = np.array(list(product((0, 1), repeat=6)))
    chance = np.prod(np.where(outcomes, p, 1 - p), axis=1)
    values = (outcomes * np.where(p > 0, np.asarray(c) / np.maximum(p, 1e-30), 0)) @ np.asarray(u)
    found = bounds.sparsification_moments(c, u, 0.9)
    np.testing.assert_allclose(chance @ values, c @ u, rtol=1e-5)
    np.testing.assert_allclose(found.num_nonzeros, chance @ outcomes.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.variance, chance @ values**2 - (chance @ values) ** 2, rtol=1e-4)
    draws = jax.vmap(lambda k: bounds.sparsify_linear(k, c, 0.9))(jax.random.split(key, 400))
    kept = np.asarray(draws != 0).mean(axis=0)
    assert np.all(np.abs(kept - p) <= 5 * np.sqrt(p * (1 - p) / 400))  # five standard errors
    np.testing.assert_allclose(draws.max(axis=0), np.where(p > 0, np.asarray(c) / np.maximum(p, 1e-30), 0), rtol=1e-5)


@pytest.mark.float64
def test_small_coordinates_are_kept_eight_over_gamma_squared_at_a_time(rtol):
    found = bounds.sparsification_moments(jnp.full(1000, 3.0), jnp.zeros(1000), 0.3, normalize=True)
    np.testing.assert_allclose(found.num_nonzeros, 8 / 0.09, rtol=rtol)


@pytest.mark.float64
def test_a_sketch_keeps_inner_products_with_the_stated_variance(key):
    c, u = jnp.eye(8)[0], jnp.eye(8)[0] * 0.6 + jnp.eye(8)[1] * 0.8
    sketches = jax.vmap(lambda k: bounds.gaussian_sketch(k, 20, 8))(jax.random.split(key, 2000))
    products = jnp.einsum("nkd,d,nke,e->n", sketches, c, sketches, u)
    np.testing.assert_allclose(products.mean(), 0.6, atol=5 * math.sqrt(1.36 / 20 / 2000))  # five standard errors
    np.testing.assert_allclose(products.var(), 1.36 / 20, rtol=0.25)  # kurtosis below 6: five standard errors are 5 sqrt(5 / 2000)
    stored = bounds.sketch_compress(sketches[0], c)
    np.testing.assert_allclose(stored @ u, products[0], rtol=1e-12)
    np.testing.assert_allclose(bounds.sketch_compress(sketches[0], c, 10**6), stored, atol=1e-5)


@pytest.mark.float64
def test_numbers_of_a_sketch_are_rounded_to_levels_that_do_not_depend_on_them(rtol):
    limit = math.sqrt(2 * math.log(2 * 4 / 0.01) / 4)
    found = bounds.sketch_compress(jnp.eye(4), jnp.array([0.8, -0.6, 0.0, 0.0]), 5)
    np.testing.assert_allclose(found, [limit / 2, -limit / 2, 0, 0], rtol=rtol, atol=1e-6)


@pytest.mark.any_precision
def test_the_rows_of_a_sketch_are_the_fewest_that_do():
    k = bounds.jl_rows(0.3, 0.05, 100)
    tails = [400 * math.exp(-rows * (0.3**2 / 4 - 0.3**3 / 6)) for rows in (k, k - 1)]
    assert tails[0] <= 0.05 < tails[1]


@pytest.mark.float64
def test_a_truncated_matrix_obeys_both_inequalities(key):
    matrix = jax.random.normal(key, (9, 7)) * jnp.arange(1, 8) ** -1.0
    for threshold in (0.1, 0.3, 0.6):
        found = bounds.truncate_svd(matrix, threshold)
        norm = np.linalg.norm(matrix, 2)
        assert np.linalg.norm(found.matrix - matrix, 2) < threshold * norm * (1 + 1e-5)
        assert int(found.rank) == np.linalg.matrix_rank(np.asarray(found.matrix, np.float64), tol=1e-4) <= bounds.stable_rank(matrix) / threshold**2
        np.testing.assert_allclose(np.linalg.norm(found.matrix, 2), norm, rtol=1e-5)
    assert jnp.all(bounds.truncate_svd(matrix, 1.5).matrix == 0)


@pytest.mark.heavy
def test_stable_ranks_of_known_matrices(rtol):
    np.testing.assert_allclose(bounds.stable_rank(jnp.eye(5)), 5, rtol=rtol)
    np.testing.assert_allclose(bounds.stable_rank(jnp.ones((4, 3))), 1, rtol=rtol)
    np.testing.assert_allclose(bounds.stable_rank(jnp.diag(jnp.array([2.0, 1.0, 1.0]))), 1.5, rtol=rtol)


@pytest.mark.float64
def test_a_singular_value_at_the_threshold_is_kept():
    assert int(bounds.truncate_svd(jnp.diag(jnp.array([2.0, 1.0])), 0.5).rank) == 2


@pytest.mark.float64
def test_matrices_and_parameters_of_a_model_are_the_same_net(key, rtol):
    model = models.mlp((6, 5, 3), bias=False)
    x = jax.random.normal(key, (4, 2, 2))
    params = model.init(key, x)
    as_matrices = [params[f"Dense_{i}"]["kernel"].T for i in range(3)]
    np.testing.assert_allclose(bounds.relu_network(params, x), model.apply(params, x), rtol=rtol, atol=1e-5)
    np.testing.assert_allclose(bounds.relu_network(as_matrices, x), bounds.relu_network(params, x), rtol=rtol)


@pytest.mark.float64
def test_layers_beyond_the_ninth_keep_their_order(key):
    model = models.mlp((3,) * 11 + (2,), bias=False)
    x = jax.random.normal(key, (4, 3))
    params = model.init(key, x)
    shuffled = dict(reversed(params.items()))
    np.testing.assert_allclose(bounds.relu_network(shuffled, x), model.apply(params, x), rtol=1e-4, atol=1e-5)


@pytest.mark.float64
def test_a_truncated_net_moves_by_at_most_a_third_of_gamma(key, weights):
    x = jax.random.normal(key, (20, 4))
    norm = float(jnp.linalg.norm(x, axis=1).max())
    gamma = 2.0 * float(bounds.lipschitz_upper_bound(weights)) * norm
    found = bounds.truncate_network(weights, gamma, norm)
    errors = bounds.truncation_errors(weights, found.weights, x)
    assert errors.together <= gamma / 3
    assert np.all(errors.single <= gamma / 9)
    assert np.all(found.ranks <= bounds.truncation_ranks(weights, norm, gamma))
    assert int(found.ranks.sum()) < 4 + 5 + 3
    assert bounds.truncation_errors(weights, weights, x).together == 0


@pytest.mark.float64
def test_orthogonal_layers_have_lipschitz_constant_one(key, rtol):
    layers = [jnp.linalg.qr(matrix)[0] for matrix in _matrices(key, [(4, 4)] * 3)]
    np.testing.assert_allclose(bounds.lipschitz_upper_bound(layers), 1, rtol=rtol)
    np.testing.assert_allclose(bounds.spectral_complexity(layers, 1.0, 1.0), 3**3 * 4**2, rtol=10 * rtol)


@pytest.mark.float64
def test_perturbations_move_outputs_by_less_than_their_bound(key, weights):
    changes = [
        0.3 / 3 * jnp.linalg.norm(a, 2) * u / jnp.linalg.norm(u, 2)
        for a, u in zip(weights, _matrices(jax.random.key(1), [a.shape for a in weights]), strict=True)
    ]
    x = jax.random.normal(key, (50, 4))
    moved = jnp.linalg.norm(bounds.relu_network([a + u for a, u in zip(weights, changes, strict=True)], x) - bounds.relu_network(weights, x), axis=1)
    norms = jnp.linalg.norm(x, axis=1)
    allowed = jnp.stack([bounds.perturbation_bound(weights, changes, norm) for norm in norms[:3]])
    assert np.all(moved[:3] <= allowed)
    expected = math.e * norms[0] * np.prod([np.linalg.norm(a, 2) for a in weights]) * 3 * 0.1
    np.testing.assert_allclose(allowed[0], expected, rtol=1e-5)


def test_spectral_complexity_does_not_change_with_scale(weights, rtol):
    shifted = [3.0 * weights[0], weights[1], weights[2] / 3.0]
    for kind, (input_norm, margin) in {"neyshabur18": (2.0, 0.5), "lowrank_count": (1e-2, 50.0)}.items():
        value = bounds.spectral_complexity(weights, input_norm, margin, kind)
        np.testing.assert_allclose(bounds.spectral_complexity(weights, 5 * input_norm, 5 * margin, kind), value, rtol=20 * rtol)
        np.testing.assert_allclose(bounds.spectral_complexity(shifted, input_norm, margin, kind), value, rtol=20 * rtol)
    assert bounds.spectral_complexity(weights, 1e3, 1e-3, "lowrank_count") == 4 * 10 + 5 * 11 + 3 * 8


@pytest.mark.float64
def test_functions_of_matrices_transform(key, weights, rtol):
    x = jax.random.normal(key, (6, 4))
    norm = 3.0

    def summary(weights):
        gamma = 1.5 * bounds.lipschitz_upper_bound(weights) * norm
        found = bounds.truncate_network(weights, gamma, norm)
        return found, bounds.truncation_errors(weights, found.weights, x), bounds.spectral_complexity(weights, norm, gamma)

    several = [jnp.stack([matrix, 2 * matrix[::-1, ::-1]]) for matrix in weights]
    mapped = jax.jit(jax.vmap(summary))(several)
    for row in range(2):
        eager = summary([matrix[row] for matrix in several])
        jax.tree.map(lambda rows, one, row=row: np.testing.assert_allclose(rows[row], one, rtol=1e3 * rtol, atol=1e-10), mapped, eager)


MATRIX = jnp.eye(3)
BAD = {
    "shapes of outputs": (lambda: bounds.compression_error(_linear, MATRIX, _linear, MATRIX[:2], MATRIX), "outputs of one shape"),
    "negative gamma": (lambda: bounds.is_compressible(_linear, MATRIX, _linear, MATRIX, MATRIX, -0.1), "gamma must be at least 0"),
    "one level": (lambda: bounds.quantize(MATRIX, 1, 1.0), "num_levels must be an integer of at least 2"),
    "no range": (lambda: bounds.quantize(MATRIX, 2, 0.0), "ranges must be positive"),
    "ranges of another tree": (lambda: bounds.quantize([MATRIX] * 3, 2, [1.0, 2.0]), "ranges must be a number or have one for each"),
    "few levels": (lambda: bounds.compression_bound(0.1, 10, 1, 100, 0.05), "num_levels must be at least 2"),
    "negative count": (lambda: bounds.compression_bound(0.1, -1, 2, 100, 0.05), "num_params must be at least 0"),
    "loss": (lambda: bounds.compression_bound(1.1, 1, 2, 100, 0.05), r"margin_loss must be in \[0, 1\]"),
    "delta": (lambda: bounds.compression_bound(0.1, 1, 2, 100, 1.0), r"delta must be in \(0, 1\)"),
    "margin of a linear classifier": (lambda: bounds.sparsify_linear(jax.random.key(0), MATRIX[0], 1.5), r"gamma must be in \(0, 1\]"),
    "norm": (lambda: bounds.sparsify_linear(jax.random.key(0), 2 * MATRIX[0], 0.5), "c must have norm one"),
    "shape of u": (lambda: bounds.sparsification_moments(MATRIX[0], MATRIX, 0.5), "u must have the shape of c"),
    "no rows": (lambda: bounds.gaussian_sketch(jax.random.key(0), 0, 3), "k must be an integer of at least 1"),
    "dimension": (lambda: bounds.sketch_compress(MATRIX[:, :2], MATRIX[0]), r"matrix must have shape \(k, 3\)"),
    "eta": (lambda: bounds.jl_rows(0.1, 1.0), "eta must be in"),
    "zero matrix": (lambda: bounds.stable_rank(0 * MATRIX), "matrix must not be zero"),
    "no matrix": (lambda: bounds.truncate_svd(MATRIX[0], 0.1), "must be a matrix"),
    "negative threshold": (lambda: bounds.truncate_svd(MATRIX, -0.1), "rel_threshold must be at least 0"),
    "layers": (lambda: bounds.lipschitz_upper_bound([MATRIX, jnp.ones((2, 4))]), r"weights\[1\] must have 3 inputs"),
    "bias in a list": (lambda: bounds.truncate_network([MATRIX, MATRIX[0]], 1.0, 1.0), r"weights\[1\] must be a matrix .* without biases"),
    "bias of a model": (lambda: bounds.relu_network({"Dense_0": {"kernel": MATRIX, "bias": MATRIX[0]}}, MATRIX), "no bias"),
    "gamma": (lambda: bounds.truncate_network([MATRIX], 0.0, 1.0), "gamma must be positive"),
    "large perturbation": (lambda: bounds.perturbation_bound([MATRIX] * 2, [MATRIX] * 2, 1.0), "at most 1/2"),
    "margin": (lambda: bounds.spectral_complexity([MATRIX], 1.0, 0.0), "margin must be positive"),
    "kind": (lambda: bounds.spectral_complexity([MATRIX], 1.0, 1.0, "arora"), "kind must be one of"),
    "symbols": (lambda: bounds.adaptive_code_length(jnp.array([0, 3]), 3), r"symbols must lie in \[0, 3\)"),
    "integer": (lambda: bounds.integer_code_length(-1), "k must be at least 0"),
}


@pytest.mark.any_precision
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.any_precision
def test_traced_wrong_values_are_nan():
    assert jnp.isnan(jax.jit(lambda a: bounds.stable_rank(0 * a))(MATRIX))
    assert jnp.isnan(jax.jit(lambda g: bounds.spectral_complexity([MATRIX], 1.0, g))(-1.0))
    assert jnp.all(jnp.isnan(jax.jit(lambda g: bounds.sparsify_linear(jax.random.key(0), MATRIX[0], g))(2.0)))
    assert jnp.isnan(jax.jit(lambda s: bounds.adaptive_code_length(s, 2))(jnp.array([0, 2])))
