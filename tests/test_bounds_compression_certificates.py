"""Code lengths, and the certificates of trained nets by compression (GEN-16, 17, 22)."""

import functools
import math
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds, models
from jaxgen.bounds.compression import _quantized

LN_2 = math.log(2)


def _sequential(symbols, num_symbols):
    counts, nats = [0.5] * num_symbols, 0.0
    for symbol in symbols:
        nats -= math.log(counts[symbol] / sum(counts))
        counts[symbol] += 1
    return nats


@pytest.mark.float64
def test_the_adaptive_code_is_that_of_symbols_one_after_another(rtol):
    symbols = [0, 2, 2, 0, 1, 0, 0, 2, 0]
    np.testing.assert_allclose(bounds.adaptive_code_length(jnp.array(symbols), 4), _sequential(symbols, 4), rtol=10 * rtol)
    np.testing.assert_allclose(bounds.adaptive_code_length(jnp.zeros((3, 5), int), 1), 0, atol=1e-3)


@pytest.mark.float64
def test_probabilities_of_codewords_add_up_to_one_at_most(rtol):
    words = np.array(list(product(range(3), repeat=5)))
    total = np.exp(-jax.jit(jax.vmap(lambda word: bounds.adaptive_code_length(word, 3)))(words)).sum()
    np.testing.assert_allclose(total, 1, rtol=1e-12)
    assert total <= 1
    lengths = jax.jit(bounds.integer_code_length)(np.arange(1000))
    np.testing.assert_allclose(np.exp(-lengths).sum(), 1 - 1 / 1001, rtol=rtol)


@pytest.mark.float64
def test_whole_numbers_of_any_size_have_a_code():
    """All arrays of three numbers in [-15, 15]; what is left of one are larger numbers, and words below the largest that they announce."""
    words = np.array(list(product(range(-15, 16), repeat=3)), float)
    assert 0.3 < np.exp(-jax.vmap(CODE_LENGTH)(words)).sum() <= 1
    steps = 4 * np.log2(jax.jit(_quantized.step_for)(2.0 ** np.linspace(-40, 40, 999)))
    assert len(np.unique(steps)) == _quantized.NUM_STEPS
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    headers = [_quantized.header_code_length((4, 3), rank) for rank in (None, *range(5000))]
    np.testing.assert_allclose(np.exp(-np.array(headers)).sum() * _quantized.NUM_STEPS, 1, rtol=1e-3)


@pytest.mark.any_precision
def test_the_soft_code_length_falls_towards_common_numbers_and_is_exact_up_to_learning_at_whole_ones():
    numbers = np.tile(np.array([1.0, *[0.0] * 9, -2.0, *[0.0] * 9], np.float32), 150)
    soft = jax.jit(jax.value_and_grad(_quantized.soft_code_length))
    np.testing.assert_allclose(soft(numbers)[0], CODE_LENGTH(numbers), rtol=0.02)
    slope = np.asarray(soft(numbers + np.float32(0.2))[1])
    assert np.all(slope[::20] > 0)  # between 1 and 2, which does not occur
    assert np.all(slope[1:10] > 0)  # between 0 and 1


@pytest.mark.any_precision
def test_the_limit_of_errors_is_that_of_clopper_and_pearson_and_goes_beyond_small_probabilities():
    with jax.enable_x64(True):
        errors, n, delta = np.array([0, 7, 40]), np.array([50, 100, 41]), np.array([0.05, 0.01, 0.2])
        expected = bounds.binomial_tail_inverse(errors, n, delta)
    found = [_quantized.binomial_limit(*case, math.log(level)) for *case, level in zip(errors, n, delta, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(_quantized.binomial_limit(0, 1000, -2000.0), 1 - math.exp(-2), rtol=1e-12)
    assert _quantized.binomial_limit(5, 5, -1.0) == 1.0


@functools.cache
def _problem(precision, num_examples=300, noise=0.0):
    """Two classes by the sign of the first input, a net with the rule and noise in its weights, and its initialization."""
    draw = np.random.default_rng(0)
    model, like = models.mlp((4, 2), bias=False), np.dtype(precision).type
    x = draw.normal(size=(num_examples, 6)).astype(like)
    rule, top = np.zeros((6, 4)), np.zeros((4, 2))
    rule[0, :2], top[0, 1], top[1, 0] = (1, -1), 1, 1
    init, params = (
        {f"Dense_{i}": {"kernel": jnp.asarray((kernel + scale * draw.normal(size=kernel.shape)).astype(like))} for i, kernel in enumerate(kernels)}
        for kernels, scale in (((0 * rule, 0 * top), 0.5), ((rule, top), noise))
    )
    return model, init, params, jnp.asarray(x), jnp.asarray((x[:, 0] > 0).astype(np.int32))


CODE_LENGTH = jax.jit(_quantized.symbols_code_length)


@pytest.mark.any_precision
def test_a_rounded_net_has_the_bound_of_its_errors_and_code_length(precision):
    model, _, params, x, y = _problem(precision, noise=0.05)
    found = bounds.compress_network(model.apply, params, x, y, 0.05, num_steps=0, coarseness=(1.0,), code_weights=(1.0,))
    errors = int(models.zero_one(model.apply(found.params, x), y).sum())
    assert errors == int(found.num_errors)
    expected = _quantized.binomial_limit(errors, 300, math.log(0.05) - float(found.code_length))
    np.testing.assert_allclose(found.bound.value, expected, rtol=1e-6)
    np.testing.assert_allclose(sum(found.bound.terms.values()), found.bound.value, rtol=1e-6)
    assert (found.bound.sided, found.bound.certified, found.bound.confidence) == ("one", True, 0.95)
    by_hand = 2 * (math.log(128) + LN_2)
    for leaf, old in zip(jax.tree.leaves(found.params), jax.tree.leaves(params), strict=True):
        step = 2 ** (np.round(4 * np.log2(np.sqrt(np.mean(np.square(old))))) / 4)
        symbols = np.asarray(leaf) / step
        np.testing.assert_allclose(symbols, np.round(symbols), atol=1e-5)
        by_hand += float(CODE_LENGTH(np.round(symbols)))
    np.testing.assert_allclose(found.code_length, by_hand, rtol=1e-5)
    moved = np.abs(np.asarray(model.apply(found.params, x)) - np.asarray(model.apply(params, x)))
    np.testing.assert_allclose(found.change, moved.max(), rtol=1e-4)
    assert jax.tree.leaves(found.params)[0].dtype == precision


@pytest.mark.slow
@pytest.mark.any_precision
def test_a_net_that_did_not_leave_its_initialization_costs_next_to_nothing(precision):
    model, init, _, x, y = _problem(precision)
    found = bounds.compress_network(model.apply, init, x, y, 0.05, init_params=init, num_steps=0)
    assert found.num_nonzeros == 0
    assert found.code_length < 2 * (math.log(128) + LN_2 + 4)
    assert found.change == 0


@pytest.mark.slow
@pytest.mark.any_precision
def test_training_on_the_rounded_net_shortens_its_code_and_is_paid_on_random_labels(precision):
    model, init, params, x, y = _problem(precision, noise=0.3)
    options = {"init_params": init, "coarseness": (2.0,), "code_weights": (1.0,)}
    rounded = bounds.compress_network(model.apply, params, x, y, 0.05, num_steps=0, **options)
    trained = bounds.compress_network(model.apply, params, x, y, 0.05, num_steps=400, batch_size=100, **options)
    assert trained.bound.value < 0.8 * rounded.bound.value
    labels = jnp.asarray(np.random.default_rng(1).integers(0, 2, y.shape))
    random = bounds.compress_network(model.apply, params, x, labels, 0.05, num_steps=400, batch_size=100, **options)
    assert random.bound.value > 0.5


@pytest.mark.slow
@pytest.mark.any_precision
def test_factors_of_rank_one_are_shorter_where_the_change_has_rank_one():
    draw = np.random.default_rng(0)
    x, direction = draw.normal(size=(200, 12)).astype(np.float32), draw.choice([-1.0, 1.0], 12)
    y = (x @ direction > 0).astype(np.int32)
    params = {"w": np.outer(direction, [-1.0, 1.0] * 6).astype(np.float32)}

    def apply(params, x):
        return x @ params["w"] @ jnp.eye(12)[:, :2]

    def nats(ranks):
        return bounds.compress_network(apply, params, x, y, 0.05, ranks=ranks, coarseness=(1.0,), num_steps=0, code_weights=(1.0,)).code_length

    full, low, both = nats((None,)), nats((1,)), nats((None, 1))
    assert low < 0.5 * full
    assert both == low


@pytest.mark.any_precision
def test_trying_several_helper_strings_is_paid_for(precision):
    model, init, params, x, y = _problem(precision)
    one, ten = (bounds.compress_network(model.apply, params, x, y, 0.05, init_params=init, num_steps=0, num_choices=n) for n in (1, 10))
    np.testing.assert_allclose(
        ten.bound.value, _quantized.binomial_limit(int(ten.num_errors), 300, math.log(0.005) - float(ten.code_length)), rtol=1e-6
    )
    assert ten.bound.value > one.bound.value


LEVELS = {"num_levels": (3, 17), "thresholds": (0.1, 0.5)}


@pytest.mark.slow
@pytest.mark.float64
def test_the_low_rank_bound_is_made_of_what_it_measures(rtol, precision):
    _, init, params, x, y = _problem(precision, noise=0.02)
    found = bounds.lowrank_network(params, x, y, 0.05, init_weights=init, **LEVELS)
    outputs, compressed = bounds.relu_network(params, x), bounds.relu_network(found.weights, x)
    np.testing.assert_allclose(found.change, jnp.abs(outputs - compressed).max(), rtol=1e-3)
    numbers = sum(int(rank) * sum(matrix.shape) for rank, matrix in zip(found.ranks, found.weights, strict=True))
    headers = sum(math.log((int(rank) + 1) * (int(rank) + 2)) + math.log(128) for rank in found.ranks)
    nats = numbers * math.log(int(found.num_levels)) + headers + LN_2
    np.testing.assert_allclose(found.code_length, nats, rtol=10 * rtol)
    loss = bounds.margin_loss(outputs, y, 2 * found.change)
    np.testing.assert_allclose(found.bound.value, loss + math.sqrt((nats + math.log(20)) / 600), rtol=1e-4)
    for helper, matrix, rank in zip(jax.tree.leaves(init), found.weights, found.ranks, strict=True):
        assert np.linalg.matrix_rank(np.asarray(matrix - helper.T), tol=1e-3) <= int(rank)


@pytest.mark.float64
def test_what_the_compressed_net_does_is_the_tighter_form(rtol, precision):
    _, init, params, x, y = _problem(precision, noise=0.02)
    margin, occam = (bounds.lowrank_network(params, x, y, 0.05, init_weights=init, form=form, **LEVELS) for form in ("margin", "occam"))
    assert occam.bound.value <= margin.bound.value
    wrong = models.zero_one(bounds.relu_network(occam.weights, x), y).mean()
    np.testing.assert_allclose(occam.bound.terms["risk"], wrong, rtol=rtol, atol=1e-7)
    expected = bounds.binary_kl_inverse(wrong, (occam.code_length - math.log(0.05)) / 300)
    np.testing.assert_allclose(occam.bound.value, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.any_precision
def test_gamma_limits_the_change_that_is_allowed(precision):
    _, init, params, x, y = _problem(precision, noise=0.02)
    free = bounds.lowrank_network(params, x, y, 0.05, init_weights=init, **LEVELS)
    limited = bounds.lowrank_network(params, x, y, 0.05, gamma=3.0, init_weights=init, **LEVELS)
    assert limited.change <= 3.0
    np.testing.assert_allclose(limited.bound.terms["margin_loss"], bounds.margin_loss(bounds.relu_network(params, x), y, 6.0), rtol=1e-6)
    assert free.bound.value <= limited.bound.value
    with pytest.raises(ValueError, match="gamma must allow for what some candidate changes"):
        bounds.lowrank_compression_bound(params, x, y, 0.05, gamma=1e-6, init_weights=init, **LEVELS)


@pytest.mark.float64
def test_the_low_rank_bound_is_compiled_and_mapped(rtol, precision):
    _, init, params, x, y = _problem(precision, num_examples=40, noise=0.02)

    def bound(params):
        return bounds.lowrank_compression_bound(params, x, y, 0.05, init_weights=init, **LEVELS)

    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.1 * leaf]), params)
    mapped = jax.jit(jax.vmap(bound))(several)
    for row in range(2):
        np.testing.assert_allclose(mapped.value[row], bound(jax.tree.map(lambda leaf, row=row: leaf[row], several)).value, rtol=1e3 * rtol)


X, Y, NET = jnp.ones((4, 3)), jnp.array([0, 1, 0, 1]), {"w": jnp.ones((3, 2))}
BAD = {
    "helper": ({"init_params": {"v": jnp.ones((3, 2))}}, "init_params must be like params"),
    "helper shape": ({"init_params": {"w": jnp.ones((2, 2))}}, "init_params must be like params"),
    "steps": ({"num_steps": -1}, "num_steps must be an integer of at least 0"),
    "coarseness": ({"coarseness": (0.0,)}, "coarseness must be positive"),
    "weights": ({"code_weights": ()}, "code_weights must hold at least one number"),
    "rank": ({"ranks": (0,)}, "ranks must be an integer of at least 1"),
    "choices": ({"num_choices": 0}, "num_choices must be an integer of at least 1"),
    "delta": ({"delta": 0.0}, r"delta must be in \(0, 1\)"),
    "labels": ({"y": jnp.zeros(3, int)}, "leading axis"),
}


@pytest.mark.any_precision
@pytest.mark.parametrize("name", BAD)
def test_bad_input_of_a_search_is_named(name):
    changes, message = BAD[name]
    arguments = {"params": NET, "x": X, "y": Y, "delta": 0.05, "num_steps": 0} | changes
    with pytest.raises(ValueError, match=message):
        bounds.compress_network(lambda params, x: x @ params["w"], **arguments)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_levels": (4,)}, "num_levels must be odd"),
        ({"thresholds": (1.5,)}, r"thresholds must be in \[0, 1\]"),
        ({"form": "hoeffding"}, "form must be one of"),
        ({"gamma": -1.0}, "gamma must be at least 0"),
        ({"init_weights": [jnp.ones((2, 2))]}, "init_weights must have the shapes of weights"),
    ],
)
def test_bad_input_of_a_low_rank_bound_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        bounds.lowrank_compression_bound([jnp.ones((2, 3))], X, Y, 0.05, **changes)


@pytest.mark.any_precision
def test_a_search_is_not_traced():
    with pytest.raises(TypeError, match="outside jit"):
        jax.jit(lambda x: bounds.compress_network(lambda params, x: x @ params["w"], NET, x, Y, 0.05).bound.value)(X)
