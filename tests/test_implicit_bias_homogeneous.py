"""Homogeneous models: order, margins, directions; linear nets and what they cost; balanced weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import implicit_bias, models, normalization


def squared_relu(params, x):
    return (jnp.maximum(x @ params["in"], 0) ** 2) @ params["out"]


def squared_relu_params(key, d=3, width=6):
    keys = jax.random.split(key)
    return {"in": jax.random.normal(keys[0], (d, width)), "out": jax.random.normal(keys[1], (width,))}


def biased(model_bias, key, x):
    model = models.mlp((6, 5, 1), bias=model_bias)
    return model.apply, model.init(key, x)


@pytest.fixture
def tolerance(precision):
    return {"float32": 2e-5, "float64": 1e-10}[precision]


@pytest.mark.slow
@pytest.mark.float64
def test_the_order_of_homogeneous_nets_is_found_with_a_residual_of_rounding(key, tolerance):
    x = jax.random.normal(key, (5, 3))
    cnn = models.cnn((2,), 1, bias=False, pooling="none")
    images = jax.random.normal(key, (3, 3, 3))
    cases = [
        (squared_relu, squared_relu_params(key), x, 3),
        (*biased(False, key, x), x, 3),
        (implicit_bias.linear_net(implicit_bias.linear_diagonal), jax.random.normal(key, (4, 3)), x, 4),
        (cnn.apply, cnn.init(key, images), images, 2),
    ]
    for apply_fn, params, inputs, order in cases:
        found = jax.jit(partial(implicit_bias.homogeneity_order, apply_fn))(params, inputs)
        assert found.order == pytest.approx(order, abs=tolerance)
        assert found.residual < tolerance


@pytest.mark.any_precision
def test_biases_are_reported_even_where_they_are_zero(key):
    x = jax.random.normal(key, (5, 3))
    apply_fn, params = biased(True, key, x)
    assert not any(layer["bias"].any() for layer in params.values())
    assert jax.jit(partial(implicit_bias.homogeneity_order, apply_fn))(params, x).residual > 0.01


def test_one_implementation_serves_both_rooms():
    assert implicit_bias.euler_residual is normalization.euler_residual
    assert implicit_bias.homogeneity_degree is normalization.homogeneity_degree


@pytest.mark.any_precision
def test_margins_do_not_depend_on_the_scale_of_parameters_however_large(key, rtol):
    x = jax.random.normal(key, (5, 3))
    params = squared_relu_params(key)
    y = jnp.sign(squared_relu(params, x))

    def normalized(scale):
        scaled = optax.tree.scale(scale, params)
        margins = implicit_bias.model_margins(squared_relu, scaled, x, y)
        return implicit_bias.normalized_margin_homogeneous(margins, scaled, 3)

    small, large = normalized(1.0), jax.jit(normalized)(1e4)
    np.testing.assert_allclose(large, small, rtol=100 * rtol)
    assert implicit_bias.normalized_margin_homogeneous(jnp.array([-2.0, 5.0]), jnp.array([2.0]), 1) == pytest.approx(-1.0)
    # ||w||^3 = 1e45 overflows in single precision.
    assert implicit_bias.smoothed_margin(-1e30, jnp.array([1e15]), 3).value == pytest.approx(1e-15, rel=1e-3)


@pytest.mark.any_precision
def test_the_smoothed_margin_is_sandwiched_and_says_where_nothing_is_claimed(key):
    x = jax.random.normal(key, (5, 3))
    params = squared_relu_params(key)
    margins = implicit_bias.model_margins(squared_relu, params, x, jnp.sign(squared_relu(params, x)))
    for scale in (0.5, 2.0):
        scaled = optax.tree.scale(scale, params)
        log_loss = implicit_bias.log_exp_loss(scale**3 * margins)
        value, valid = implicit_bias.smoothed_margin(log_loss, scaled, 3)
        hard = implicit_bias.normalized_margin_homogeneous(scale**3 * margins, scaled, 3)
        slack = 1e-5 * abs(hard) + 1e-6
        assert hard - np.log(5) / optax.tree.norm(scaled) ** 3 - slack <= value <= hard + slack
        assert valid == (log_loss < 0)


@pytest.mark.any_precision
def test_a_path_is_put_together_again_from_scale_and_direction(key, rtol):
    path = {"a": jax.random.normal(key, (4, 3)), "b": jax.random.normal(jax.random.fold_in(key, 1), (4, 2, 2))}
    found = implicit_bias.direction_decomposition(path)
    for name, leaf in path.items():
        scale = found.scale.reshape(-1, *(1,) * (leaf.ndim - 1))
        np.testing.assert_allclose(scale * (found.direction[name] + found.deviation[name]), leaf, rtol=10 * rtol, atol=10 * rtol)
    assert optax.tree.norm(found.direction) == pytest.approx(1.0, rel=1e-5)
    given = implicit_bias.direction_decomposition(path, jax.tree.map(lambda leaf: 3 * leaf[0], path))
    assert max(float(jnp.abs(leaf[0]).max()) for leaf in jax.tree.leaves(given.deviation)) < 10 * rtol


@pytest.mark.any_precision
def test_dependent_gradients_are_reported_with_their_rank(key):
    rows = jax.random.normal(key, (5, 4))
    rows = rows.at[1].set(-3 * rows[0])
    support = jnp.array([True, True, True, False, False])
    found = jax.jit(implicit_bias.licq_rank)({"a": rows[:, :2], "b": rows[:, 2:]}, support)
    assert (int(found.rank), int(found.count), bool(found.holds)) == (2, 3, False)
    found = implicit_bias.licq_rank(rows, support.at[1].set(False))
    assert found.holds
    assert found.smallest > 1e-3
    assert not implicit_bias.licq_rank(rows, jnp.ones(5, bool)).holds
    assert not implicit_bias.licq_rank(jnp.zeros((2, 3)), jnp.ones(2, bool)).holds


def test_gradients_along_the_direction_differ_by_the_deviation_times_a_power_of_the_scale(key):
    x = jax.random.normal(key, (4, 3))
    direction = squared_relu_params(key)
    direction = optax.tree.scale(1 / optax.tree.norm(direction), direction)
    nearby = jax.tree.map(lambda leaf: leaf + 1e-3 * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), direction)

    @jax.jit
    def expansion(scale, params):
        return implicit_bias.gradient_expansion_error(squared_relu, optax.tree.scale(scale, params), direction, x, 3)

    ratios = [expansion(scale, nearby).ratio for scale in (1.0, 100.0, 1e4)]
    np.testing.assert_allclose(ratios[1], ratios[0], rtol=2e-2)
    np.testing.assert_allclose(ratios[2], ratios[0], rtol=2e-2)
    assert expansion(1.0, direction).error.max() < 1e-5


@pytest.mark.heavy
def test_convolutional_predictors_agree_and_are_what_the_net_computes(key, rtol):
    filters, x = jax.random.normal(key, (3, 5)), jax.random.normal(jax.random.fold_in(key, 1), (4, 5))
    dense = implicit_bias.linear_convolutional(filters, method="dense")
    np.testing.assert_allclose(implicit_bias.linear_convolutional(filters), dense, rtol=rtol, atol=10 * rtol)
    hidden = x
    for u in filters[:-1]:
        hidden = jnp.stack([jnp.roll(hidden, -k, axis=1) @ u for k in range(5)], axis=1)
    np.testing.assert_allclose(implicit_bias.linear_net(implicit_bias.linear_convolutional)(filters, x), hidden @ filters[-1], rtol=100 * rtol)


@pytest.mark.any_precision
def test_fully_connected_and_diagonal_predictors_are_products(key, rtol):
    keys = jax.random.split(key, 3)
    weights = [jax.random.normal(keys[0], (4, 3)), jax.random.normal(keys[1], (3, 2)), jax.random.normal(keys[2], (2, 1))]
    expected = weights[0] @ weights[1] @ weights[2][:, 0]
    np.testing.assert_allclose(implicit_bias.linear_fully_connected(weights), expected, rtol=100 * rtol)
    np.testing.assert_allclose(implicit_bias.linear_fully_connected([*weights[:2], weights[2][:, 0]]), expected, rtol=100 * rtol)
    np.testing.assert_allclose(implicit_bias.linear_diagonal([weights[0][:, 0], weights[0][:, 1]]), weights[0][:, 0] * weights[0][:, 1], rtol=rtol)


@pytest.mark.any_precision
def test_training_goes_on_where_the_loss_underflows_and_stops_at_its_target(key):
    x, y = jnp.array([[2.0, 0.5], [0.5, 2.0]]), jnp.ones(2)
    model = implicit_bias.linear_net(implicit_bias.linear_diagonal)
    start = jnp.ones((2, 2)) + 0.1 * jax.random.normal(key, (2, 2))

    def train(start, target):
        return implicit_bias.train_to_direction(
            model, start, x, y, num_steps=4000, target_log_loss=target, record=lambda params, log_loss, t: log_loss, every=1000
        )

    found = jax.jit(train)(start, -1500.0)
    assert -1502 < found.log_loss <= -1500
    assert found.records.shape == (4,)
    falls = -jnp.diff(found.records)[:2]
    # By about half a nat a step; the second derivative of log L makes up the rest.
    assert jnp.all((falls > 400) & (falls < 600))


@pytest.mark.parametrize(
    ("kind", "predictor", "depth", "cost"),
    [
        ("diagonal", [1.0, -8.0], 3, 15.0),
        ("difference_of_powers", [1.0, -8.0, 0.0], 2, 9.0),
        ("matrix_factorization", [[3.0, 0.0], [0.0, -4.0]], 2, 14.0),
        ("fully_connected", [3.0, 4.0], 3, 3 * 5 ** (2 / 3)),
        ("fully_connected", [[8.0, 0.0], [0.0, 1.0]], 3, 15.0),
        ("convolutional", [2.0, 0.0, 0.0, 0.0], 2, 4.0),
        ("univariate_relu", [0.0, 1.0], 2, 2.0),
        ("univariate_relu", [1.0, 3.0, 2.0], 2, 6.0),
    ],
)
@pytest.mark.any_precision
def test_known_costs(kind, predictor, depth, cost):
    assert implicit_bias.representation_cost(kind, jnp.array(predictor), depth) == pytest.approx(cost, rel=1e-5)


@pytest.mark.float64
def test_costs_are_the_norms_of_weights_that_attain_them(key):
    """Spectral square roots for products of matrices and of transforms; no weights for the same predictor are smaller (AM-GM)."""
    beta = jax.random.normal(key, (5,))
    transform = jnp.fft.fft(beta)
    size, phase = jnp.abs(transform), transform / jnp.abs(transform)
    filters = jnp.stack([jnp.fft.ifft(size ** (1 / 3) * phase).real, *[jnp.fft.ifft(size ** (1 / 3)).real] * 2])
    np.testing.assert_allclose(implicit_bias.linear_convolutional(filters), beta, rtol=1e-10)
    assert jnp.square(filters).sum() == pytest.approx(float(implicit_bias.representation_cost("convolutional", beta, 3)), rel=1e-10)
    matrix = jax.random.normal(key, (4, 3))
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    factors = left * jnp.sqrt(values), jnp.sqrt(values)[:, None] * right
    np.testing.assert_allclose(factors[0] @ factors[1], matrix, rtol=1e-10)
    assert optax.tree.norm(factors, squared=True) == pytest.approx(
        float(implicit_bias.representation_cost("matrix_factorization", matrix)), rel=1e-10
    )
    assert implicit_bias.representation_cost("fully_connected", matrix, 2) == pytest.approx(2 * float(values.sum()), rel=1e-10)


@pytest.mark.heavy
@pytest.mark.parametrize("widths", [(5, 1), (5, 4, 2)])
def test_rebalancing_keeps_the_function_and_balances_every_neuron(key, widths, precision):
    x = jax.random.normal(key, (6, 3))
    model = models.mlp(widths, bias=False)
    params = model.init(key, x)
    kernels = [params[f"Dense_{layer}"]["kernel"] * 2.0**layer for layer in range(len(widths))]
    balanced = jax.jit(implicit_bias.rebalance)(kernels)

    def outputs(kernels):
        return model.apply({f"Dense_{layer}": {"kernel": kernel} for layer, kernel in enumerate(kernels)}, x)

    accuracy = {"float32": 1e-4, "float64": 1e-9}[precision]
    np.testing.assert_allclose(outputs(balanced), outputs(kernels), rtol=accuracy, atol=accuracy)
    assert max(float(jnp.abs(layer).max()) for layer in implicit_bias.balancedness_relu(balanced)) < 10 * accuracy
    assert optax.tree.norm(balanced) < optax.tree.norm(kernels)
    if len(widths) == 2:
        cost = implicit_bias.representation_cost("two_layer_relu", (kernels[0], kernels[1][:, 0]))
        assert optax.tree.norm(balanced, squared=True) == pytest.approx(float(cost), rel=accuracy)


@pytest.mark.any_precision
def test_a_neuron_that_does_nothing_becomes_zero():
    kernels = [jnp.array([[1.0, 0.0], [2.0, 0.0]]), jnp.array([[0.0], [3.0]])]
    assert not any(kernel.any() for kernel in implicit_bias.rebalance(kernels))


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: implicit_bias.representation_cost("bilinear", jnp.ones(2)), "kind must be one of"),
        (lambda: implicit_bias.representation_cost("diagonal", jnp.ones((2, 2))), "predictor must be a vector"),
        (lambda: implicit_bias.representation_cost("two_layer_relu", jnp.ones(2)), "the pair of incoming"),
        (lambda: implicit_bias.representation_cost("diagonal", jnp.ones(2), 0), "depth must be an integer of at least 1"),
        (lambda: implicit_bias.linear_convolutional([jnp.ones(3), jnp.ones(4)]), "filters must be full-width"),
        (lambda: implicit_bias.linear_net(implicit_bias.linear_convolutional)(jnp.ones((2, 3)), jnp.ones((2, 4))), "width 3 of the net's predictor"),
        (lambda: implicit_bias.linear_fully_connected([jnp.ones((3, 2)), jnp.ones((3, 1))]), "weights must be matrices to be multiplied"),
        (lambda: implicit_bias.linear_diagonal([jnp.ones(3), jnp.ones(2)]), "factors must all have the length"),
        (lambda: implicit_bias.rebalance([jnp.ones((2, 2))]), "at least two layers"),
        (lambda: implicit_bias.balancedness_relu([jnp.ones((2, 2)), jnp.ones((3, 1))]), "as many rows as the one before"),
        (lambda: implicit_bias.model_margins(lambda w, x: x @ w, jnp.ones((2, 2)), jnp.ones((3, 2)), jnp.ones(3)), "one output of each of 3"),
        (lambda: implicit_bias.model_margins(lambda w, x: x @ w, jnp.ones(2), jnp.ones((2, 2)), jnp.array([0, 1])), "labels y must be -1 or 1"),
        (lambda: implicit_bias.smoothed_margin(-1.0, jnp.zeros(2), 2), "params must not all be zero"),
        (lambda: implicit_bias.smoothed_margin(-1.0, jnp.ones(2), 0), "order must be positive"),
        (lambda: implicit_bias.normalized_margin_homogeneous(1.0, jnp.ones(2), 1), "margins must be a vector"),
        (lambda: implicit_bias.direction_decomposition(jnp.zeros((2, 2))), "path must not pass through zero"),
        (lambda: implicit_bias.licq_rank(jnp.ones((2, 2)), jnp.ones(3, bool)), "support must have one entry of each of 2"),
        (lambda: implicit_bias.homogeneity_order(lambda w, x: 0 * x @ w, jnp.ones(2), jnp.ones((2, 2))), "must not be zero"),
        (
            lambda: implicit_bias.train_to_direction(lambda w, x: x @ w, jnp.ones(2), jnp.ones((2, 2)), jnp.ones(2), num_steps=1, decrease=0.0),
            "decrease must be positive",
        ),
        (
            lambda: implicit_bias.train_to_direction(lambda w, x: x @ w, jnp.ones(2), jnp.ones((2, 2)), jnp.array([1, 2]), num_steps=1),
            "labels y must be -1 or 1",
        ),
    ],
)
def test_bad_input_is_refused_by_message(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.any_precision
def test_parameters_must_be_floating():
    with pytest.raises(TypeError, match="params must be of a floating dtype"):
        implicit_bias.train_to_direction(lambda w, x: x @ w, jnp.ones(2, int), jnp.ones((2, 2)), jnp.ones(2), num_steps=1)
