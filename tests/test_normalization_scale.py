"""Homogeneity, scale invariance, normalization layers and the scale-invariant net."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import normalization

SCALES = jnp.array([0.01, 0.5, 3.0, 700.0])


def _relu_net(depth, *, bias=0.0, activation=jax.nn.relu):
    def f(weights, x):
        for weight in weights[:-1]:
            x = activation(x @ weight + bias)
        return x @ weights[-1]

    def weights(key):
        return [jax.random.normal(k, (3, 3)) for k in jax.random.split(key, depth)]

    return f, weights


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.float64
def test_the_degree_of_a_relu_net_without_biases_is_its_depth(key, depth, rtol):
    f, weights = _relu_net(depth)
    x = jax.random.normal(jax.random.fold_in(key, 1), (5, 3))
    degree = jax.jit(lambda w: normalization.homogeneity_degree(lambda w: f(w, x), w))(weights(key))
    np.testing.assert_allclose(degree, depth, rtol=10 * rtol)
    residual = jax.jit(lambda w: normalization.euler_residual(lambda w: f(w, x), w, depth))(weights(key))
    assert residual.shape == (5, 3)
    np.testing.assert_allclose(residual / jnp.abs(f(weights(key), x)).max(), 0, atol=10 * rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize("options", [{"bias": 1.0}, {"activation": jax.nn.gelu}])
def test_biases_and_other_activations_end_homogeneity(key, options):
    f, weights = _relu_net(3, **options)
    x = jax.random.normal(jax.random.fold_in(key, 1), (5, 3))
    residual = jax.jit(lambda w: normalization.euler_residual(lambda w: f(w, x), w, 3))(weights(key))
    assert jnp.abs(residual).max() > 1e-2


def test_the_defect_is_relative_and_zero_for_quotients_of_one_degree(rtol):
    w, defect = jnp.array([3.0, -4.0, 1.0]), jax.jit(normalization.scale_invariance_defect, static_argnames="f")
    assert defect(lambda w: jnp.linalg.norm(w, 1) / jnp.linalg.norm(w), w, SCALES) < rtol
    assert defect(lambda w: jnp.sum(w**2) / jnp.linalg.norm(w), w, 4.0) == pytest.approx(0.75)
    assert defect(lambda w: jnp.zeros(3), w, SCALES) == 0


@pytest.mark.heavy
def test_the_defect_in_a_part_of_the_parameters_leaves_the_others(rtol):
    params = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}
    f = lambda p: p["a"] / jnp.linalg.norm(p["a"]) * p["b"]  # noqa: E731
    assert normalization.scale_invariance_defect(f, params, SCALES, subtree="a") < rtol
    assert normalization.scale_invariance_defect(f, params, 2.0) == pytest.approx(0.5, rel=1e-5)
    assert normalization.homogeneity_degree(f, params, subtree="b") == pytest.approx(1.0, rel=1e-5)


@pytest.mark.any_precision
def test_bad_scales_and_zero_outputs_are_refused():
    w = jnp.ones(2)
    for scales, message in ((-1.0, "scales must be positive"), (jnp.array([1.0, 0.0]), "scales must be positive"), (jnp.ones((2, 2)), "scales must")):
        with pytest.raises(ValueError, match=message):
            normalization.scale_invariance_defect(jnp.sum, w, scales)
    with pytest.raises(ValueError, match=r"f\(params\) must not be zero"):
        normalization.homogeneity_degree(lambda w: 0 * w, w)
    with pytest.raises(ValueError, match="scale must differ from 1"):
        normalization.homogeneity_degree(jnp.sum, w, scale=1.0)
    assert jnp.isnan(jax.jit(lambda c: normalization.scale_invariance_defect(jnp.sum, w, c))(-1.0))


@pytest.mark.heavy
def test_layer_norm_has_mean_zero_variance_one_and_the_known_values(key, rtol):
    np.testing.assert_allclose(normalization.layer_norm([1, 2, 3]), [-np.sqrt(1.5), 0, np.sqrt(1.5)], rtol=rtol)
    a, gamma = jax.random.normal(key, (4, 5, 12)), jnp.arange(12.0)

    @jax.jit
    def found(a):
        groups = normalization.group_norm(a, 2.0, 1.0, groups=3).reshape(4, 5, 3, 4)
        out = normalization.layer_norm(a)
        return out, out.mean(axis=-1), out.var(axis=-1), groups.mean(axis=-1), groups.std(axis=-1), normalization.layer_norm(a, gamma, jnp.ones(12))

    out, mean, variance, group_mean, group_std, affine = found(a)
    for value, expected in ((mean, 0), (variance, 1), (group_mean, 1), (group_std, 2), (affine, out * gamma + 1)):
        np.testing.assert_allclose(value, expected, rtol=10 * rtol, atol=10 * rtol)


@pytest.mark.heavy
def test_batch_norm_standardizes_every_unit_over_the_batch(key, rtol):
    out = normalization.batch_norm(jax.random.normal(key, (20, 3)) + 5, jnp.array([1.0, 2.0, 3.0]), -1.0)
    np.testing.assert_allclose(out.mean(axis=0), -1, rtol=50 * rtol)
    np.testing.assert_allclose(out.std(axis=0), [1, 2, 3], rtol=10 * rtol)


def test_normalization_does_not_see_scale_or_shift_at_any_size(key, precision, rtol):
    tiny = {"float32": 1e-30, "float64": 1e-250}[precision]
    scales = jnp.array([tiny, 1.0, 1 / tiny, 3.0])
    a = jax.random.normal(key, (3, 8))

    @jax.jit
    def found(a):
        scaled = a * scales[:, None, None] + jnp.array([0.0, 0.0, 0.0, 1.0])[:, None, None]
        gradient = jax.grad(lambda a: normalization.layer_norm(a)[0, 0])(a)
        by_hand = jax.grad(lambda a: ((a - a.mean(axis=1, keepdims=True)) / a.std(axis=1, keepdims=True))[0, 0])(a)
        return normalization.layer_norm(scaled), jax.vmap(normalization.batch_norm)(scaled), gradient, by_hand

    layer, batch, gradient, by_hand = found(a)
    for out in (layer, batch):
        np.testing.assert_allclose(out, jnp.broadcast_to(out[1], out.shape), rtol=100 * rtol, atol=10 * rtol)
    np.testing.assert_allclose(gradient, by_hand, rtol=100 * rtol, atol=rtol)


@pytest.mark.any_precision
def test_eps_makes_a_defect_of_its_own_order(key):
    a = jax.random.normal(key, (8,))
    off = jnp.abs(normalization.layer_norm(2 * a, eps=0.1) / normalization.layer_norm(a, eps=0.1) - 1).max()
    variance = a.var()
    np.testing.assert_allclose(off, jnp.sqrt((variance + 0.1) / (variance + 0.025)) - 1, rtol=1e-4)


@pytest.mark.any_precision
def test_units_that_are_all_equal_are_nan_and_with_eps_beta():
    """0.1 three times: rounding of the mean must not pass for a deviation."""
    a = jnp.array([[0.1, 0.1, 0.1], [1.0, 2.0, 3.0]])
    out = jax.jit(normalization.layer_norm)(a)
    assert jnp.isnan(out[0]).all()
    assert jnp.isfinite(out[1]).all()
    np.testing.assert_allclose(normalization.layer_norm(a, 1.0, 2.0, eps=0.1)[0], 2.0, rtol=1e-6)
    assert jnp.isnan(normalization.batch_norm(jnp.array([[0.1, 1.0], [0.1, 2.0]]))[:, 0]).all()


@pytest.mark.any_precision
def test_bad_layers_are_refused():
    a = jnp.ones((2, 6))
    for call, message in (
        (lambda: normalization.group_norm(a, groups=4), "groups must divide the number of units H = 6; got 4"),
        (lambda: normalization.layer_norm(a, jnp.ones(5)), r"gamma must be a scalar or have shape \(6,\)"),
        (lambda: normalization.layer_norm(a, eps=-1.0), "eps must be at least 0"),
        (lambda: normalization.batch_norm(jnp.ones(3)), "batch axis"),
        (lambda: normalization.layer_norm_mlp((3,)), "widths must hold a hidden layer"),
        (lambda: normalization.scale_invariant_mlp(jax.random.key(0), (1, 2)), r"widths\[0\]"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.slow
@pytest.mark.float64
def test_the_net_is_scale_invariant_in_what_it_trains_and_of_degree_two_in_all(key):
    """Biases are random: with all zero they would not be seen."""
    x, trained = jax.random.normal(key, (5, 4)), ("Dense_0", "LayerNorm_0", "Dense_1")
    whole = normalization.layer_norm_mlp((6, 8, 3))
    model = normalization.scale_invariant_mlp(key, (6, 8, 3))

    @jax.jit
    def found(key):
        params = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(key, leaf.shape), whole.init(key, x))
        defect, f = normalization.scale_invariance_defect, lambda p: whole.apply(p, x)
        parts = (trained, (*trained, "LayerNorm_1"))
        own = defect(lambda p: model.apply(p, x), {name: params[name] for name in trained}, SCALES)
        return *(defect(f, params, SCALES, subtree=part) for part in parts), own, f(jax.tree.map(lambda leaf: 3 * leaf, params)), 9 * f(params)

    invariant, with_last_norm, own, scaled, expected = found(key)
    assert max(invariant, own) < 1e-12
    assert with_last_norm > 0.1
    np.testing.assert_allclose(scaled, expected, rtol=1e-12, atol=1e-11)
    params = model.init(key, x)
    assert set(params) == set(trained)
    assert model.apply(params, x).shape == (5, 3)


def test_directions_and_norms(rtol, precision):
    params = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    scaled = normalization.with_norm(params, 10.0)
    np.testing.assert_allclose(scaled["b"], [[8.0]], rtol=rtol)
    tiny = {"float32": 1e-30, "float64": 1e-250}[precision]
    np.testing.assert_allclose(normalization.with_norm(jnp.array([3.0, 4.0]) * tiny, 1.0), [0.6, 0.8], rtol=rtol)
    with pytest.raises(ValueError, match="params must not be zero"):
        normalization.with_norm(jnp.zeros(3), 1.0)
    with pytest.raises(ValueError, match="norm must be positive; got -1"):
        normalization.with_norm(params, -1.0)
    np.testing.assert_allclose(normalization.with_norm(jnp.array([3, 4]), 1.0), [0.6, 0.8], rtol=rtol)
    assert jnp.isnan(jax.jit(lambda w: normalization.with_norm(w, 1.0))(jnp.zeros(2))).all()
