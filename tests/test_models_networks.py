"""The small nets: shapes, laws of their initial parameters, and what they compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import models


def _normal(shape, seed=0):
    """Standard normals in the default float, drawn without compiling anything."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(jnp.zeros(()).dtype))


def _params(model, x):
    """Parameters of the right structure, standard normals."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: _normal(leaf.shape, seed=leaf.size), shapes)


def _relu(a):
    return np.maximum(a, 0)


@pytest.mark.heavy
def test_an_mlp_is_its_layers_composed(rtol):
    model = models.mlp((5, 4, 3), activation="tanh")
    x = _normal((6, 2, 2))
    params = _params(model, x)
    hidden = np.asarray(x).reshape(6, 4)
    for i in range(3):
        layer = params[f"Dense_{i}"]
        hidden = (np.tanh(hidden) if i else hidden) @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
    np.testing.assert_allclose(model.apply(params, x), hidden, rtol=10 * rtol, atol=rtol)


def test_the_ntk_parametrization_scales_by_the_root_of_fan_in(rtol):
    model = models.mlp((5, 3), activation="relu", parametrization="ntk", bias=True)
    x = _normal((6, 4))
    params = _params(model, x)
    first, second = params["Dense_0"], params["Dense_1"]
    hidden = _relu(np.asarray(x) @ np.asarray(first["kernel"]) / 2 + np.asarray(first["bias"]))
    expected = hidden @ np.asarray(second["kernel"]) / np.sqrt(5) + np.asarray(second["bias"])
    np.testing.assert_allclose(model.apply(params, x), expected, rtol=10 * rtol, atol=rtol)
    assert "bias" not in _params(models.mlp((3,), parametrization="ntk"), x)["Dense_0"]


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("parametrization", "activation", "std"), [("standard", "relu", 2**0.5 / 10), ("standard", "tanh", 1 / 10), ("ntk", "relu", 1.0)]
)
def test_initial_weights_have_the_stated_variance(key, parametrization, activation, std):
    """5 standard errors of the standard deviation of 40,000 weights."""
    params = models.mlp((400, 1), activation=activation, parametrization=parametrization, bias=True).init(key, jnp.zeros((1, 100)))
    assert abs(float(params["Dense_0"]["kernel"].std()) / std - 1) < 5 / np.sqrt(2 * 40_000)
    bias = params["Dense_0"]["bias"]
    assert (bias == 0).all() if parametrization == "standard" else abs(float(bias.std()) - 1) < 5 / np.sqrt(2 * 400)


@pytest.mark.any_precision
def test_ntk_outputs_keep_their_scale_at_any_width(key):
    """Linear activation: the variance of an output is |x|^2/d in both; 1000 draws, 5 standard errors (kurtosis at most 9)."""
    x = jnp.ones((1, 10))
    for width in (3, 30):
        model = models.mlp((width, 1), activation="identity", parametrization="ntk")
        outputs = jax.jit(jax.vmap(lambda k, model=model: model.apply(model.init(k, x), x)))(jax.random.split(key, 1000))
        assert abs(float(outputs.var()) - 1) < 5 * np.sqrt(8 / 1000)


ACTIVATIONS = {
    "relu": lambda z: max(z, 0.0),
    "tanh": np.tanh,
    "gelu": lambda z: z * (1 + float(jax.scipy.special.erf(z / np.sqrt(2)))) / 2,
    "erf": lambda z: float(jax.scipy.special.erf(z)),
    "sin": np.sin,
    "identity": lambda z: z,
    "softplus": lambda z: np.log1p(np.exp(z)),
}


@pytest.mark.parametrize(("name", "function"), ACTIVATIONS.items())
def test_activations_are_what_their_names_say(name, function, rtol):
    model = models.mlp((1, 1), activation=name, bias=False)
    params = {"Dense_0": {"kernel": jnp.ones((1, 1))}, "Dense_1": {"kernel": jnp.ones((1, 1))}}
    for z in (-0.7, 0.0, 1.3):
        assert float(model.apply(params, jnp.full((1, 1), z))[0, 0]) == pytest.approx(function(z), rel=rtol, abs=rtol)


@pytest.mark.any_precision
def test_an_activation_may_be_a_function():
    params, x = {"Dense_0": {"kernel": jnp.ones((1, 1))}, "Dense_1": {"kernel": jnp.ones((1, 1))}}, jnp.ones((1, 1))
    assert float(models.mlp((1, 1), activation=lambda z: 7 * z, bias=False).apply(params, x)[0, 0]) == 7.0


@pytest.mark.parametrize("dtype", [float, int, "float32", "bfloat16"])
def test_parameters_and_outputs_take_the_dtype_of_the_input(key, precision, dtype):
    x = jax.ShapeDtypeStruct((1, 4, 4), jnp.zeros(1, dtype).dtype)
    expected = precision if dtype in (float, int) else dtype
    for model in (models.mlp((4, 2)), models.mlp((4, 2), parametrization="ntk"), models.two_layer_relu(3), models.cnn((2,), 2)):
        params = jax.eval_shape(model.init, key, x)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {expected}
        assert jax.eval_shape(model.apply, params, x).dtype.name == expected


@pytest.mark.any_precision
def test_initial_parameters_depend_on_the_key_and_the_shape_of_x_alone(key):
    model = models.mlp((4, 2))
    first, second = model.init(key, jnp.zeros((1, 3))), model.init(key, jnp.ones((7, 3)))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert (first["Dense_0"]["kernel"] != model.init(jax.random.key(1), jnp.zeros((1, 3)))["Dense_0"]["kernel"]).all()


def test_a_linear_model_is_one_layer(rtol):
    model, x = models.linear(2), _normal((5, 3))
    params = _params(model, x)
    np.testing.assert_allclose(model.apply(params, x), x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"], rtol=rtol, atol=rtol)
    assert set(_params(models.linear(2, bias=False), x)["Dense_0"]) == {"kernel"}


@pytest.mark.parametrize("signs", [None, [1.0, 1.0, -1.0, -1.0, -1.0]])
def test_two_layer_relu_is_the_sum_of_its_units(rtol, signs):
    model = models.two_layer_relu(5) if signs is None else models.two_layer_relu(5, signs=signs)
    x = _normal((6, 3))
    params = _params(model, x)
    assert jax.tree.map(jnp.shape, params) == {"W": (5, 3)}
    fixed = np.array([1, -1, 1, -1, 1] if signs is None else signs)
    expected = _relu(np.asarray(x) @ np.asarray(params["W"]).T) @ fixed / np.sqrt(5)
    np.testing.assert_allclose(model.apply(params, x), expected, rtol=10 * rtol, atol=rtol)


@pytest.mark.heavy
def test_two_layer_relu_has_the_identities_of_its_bound(rtol):
    """|grad l|^2 = 2 l mean_r 1_r and tr H = mean_r 1_r at |x| = 1, off the kinks (INFO-30)."""
    model = models.two_layer_relu(7)
    x = _normal((1, 4))
    x = x / jnp.linalg.norm(x)
    weights = _params(model, x)["W"]
    loss_fn = models.loss_fn(model.apply, "squared")

    def loss(flat):
        return loss_fn({"W": flat.reshape(7, 4)}, (x, jnp.array([2.0])))[0]

    slope, hessian = jax.jit(lambda flat: (jax.grad(loss)(flat), jax.hessian(loss)(flat)))(weights.ravel())
    value, active = float(loss(weights.ravel())), np.mean(np.asarray(x @ weights.T) >= 0)
    assert float((np.asarray(slope) ** 2).sum()) == pytest.approx(2 * value * active, rel=10 * rtol)
    assert float(np.trace(hessian)) == pytest.approx(active, rel=10 * rtol)


@pytest.mark.float64
@pytest.mark.parametrize(("strides", "pooling", "parametrization"), [(1, "average", "standard"), (1, "max", "ntk"), (2, "none", "ntk")])
def test_patches_and_native_convolution_make_the_same_cnn(parametrization, strides, pooling):
    """Tolerance: rounding of sums of 27 and 36 terms, in two layers."""
    nets = [
        models.cnn((3, 4), 2, strides=strides, pooling=pooling, parametrization=parametrization, bias=True, convolution=name)
        for name in ("patches", "native")
    ]
    x = _normal((2, 9, 7, 3))
    params = _params(nets[0], x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, _params(nets[1], x))
    np.testing.assert_allclose(*jax.jit(lambda p: tuple(net.apply(p, x) for net in nets))(params), rtol=1e-11, atol=1e-11)


@pytest.mark.any_precision
def test_on_a_cpu_the_cnn_has_no_native_convolution_by_default(key):
    x = jnp.zeros((1, 8, 8))
    for name, native in (("auto", jax.default_backend() != "cpu"), ("patches", False), ("native", True)):
        net = models.cnn((2,), 3, convolution=name)
        assert ("conv_general_dilated" in str(jax.make_jaxpr(net.apply)(jax.eval_shape(net.init, key, x), x))) is native


@pytest.mark.any_precision
def test_images_without_channels_get_one():
    net, x = models.cnn((2, 3), 4), _normal((5, 8, 8))
    params = _params(net, x)
    assert params["Conv_0"]["kernel"].shape == (3, 3, 1, 2)
    assert params["Dense_0"]["kernel"].shape == (2 * 2 * 3, 4)
    np.testing.assert_array_equal(*jax.jit(lambda x: (net.apply(params, x), net.apply(params, x[..., None])))(x))


@pytest.mark.heavy
def test_pooling_takes_means_or_maxima_of_two_by_two_cells_and_drops_a_last_odd_row(rtol):
    x = jnp.arange(20.0).reshape(1, 5, 4)
    identity = {"Conv_0": {"kernel": jnp.ones((1, 1, 1, 1))}, "Dense_0": {"kernel": jnp.eye(4)}}
    for pooling, reduce in (("average", np.mean), ("max", np.max)):
        net = models.cnn((1,), 4, kernel_size=1, pooling=pooling, bias=False)
        expected = [reduce(np.asarray(x)[0, i : i + 2, j : j + 2]) for i in (0, 2) for j in (0, 2)]
        np.testing.assert_allclose(net.apply(identity, x)[0], expected, rtol=rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize("model", [models.mlp((4, 3)), models.two_layer_relu(4), models.cnn((2,), 3)], ids=["mlp", "relu", "cnn"])
def test_models_pass_through_jit_vmap_and_grad(key, model):
    """Tolerance: two layers of float32 sums of at most 36 terms."""
    x = _normal((4, 6, 6))
    stacked = jax.jit(jax.vmap(model.init, in_axes=(0, None)))(jax.random.split(key, 3), x)
    mapped = jax.jit(jax.vmap(model.apply, in_axes=(0, None)))(stacked, x)
    params = jax.tree.map(lambda a: np.asarray(a)[2], stacked)
    outputs = model.apply(params, x)
    np.testing.assert_allclose(mapped[2], outputs, rtol=1e-4, atol=1e-5)
    one_by_one = jax.jit(jax.vmap(lambda row: model.apply(params, row[None])[0]))(x)
    np.testing.assert_allclose(one_by_one, outputs, rtol=1e-4, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda p: model.apply(p, x).sum()))(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: models.mlp(()), ValueError, "widths must hold at least the number of outputs; got none"),
        (lambda: models.mlp((4, 0)), ValueError, r"widths\[1\] must be an integer of at least 1; got 0"),
        (lambda: models.mlp(4), TypeError, "widths must be a sequence of integers; got 4"),
        (lambda: models.mlp((4,), activation="rleu"), ValueError, "activation must be one of 'relu', .*got 'rleu'"),
        (lambda: models.mlp((4,), parametrization="mup"), ValueError, "parametrization must be one of 'standard', 'ntk'; got 'mup'"),
        (lambda: models.linear(0), ValueError, "at least 1"),
        (lambda: models.two_layer_relu(0), ValueError, "width must be an integer of at least 1"),
        (lambda: models.two_layer_relu(2, signs=[1.0]), ValueError, r"signs must have shape \(2,\); got \(1,\)"),
        (lambda: models.two_layer_relu(2, signs=[1.0, 0.5]), ValueError, r"signs must be \+1 or -1"),
        (lambda: models.cnn((4,), 0), ValueError, "num_outputs must be an integer of at least 1"),
        (lambda: models.cnn((4,), 2, strides=0), ValueError, "strides"),
        (lambda: models.cnn((4,), 2, kernel_size=0), ValueError, "kernel_size"),
        (lambda: models.cnn((4,), 2, pooling="sum"), ValueError, "pooling must be one of"),
        (lambda: models.cnn((4,), 2, convolution="fft"), ValueError, "convolution must be one of"),
    ],
)
def test_bad_configurations_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.any_precision
def test_inputs_that_do_not_fit_are_named(key):
    model, net = models.mlp((4, 3)), models.cnn((2, 2, 2, 2), 3)
    params = {"Dense_0": {"kernel": jnp.ones((6, 4)), "bias": jnp.ones(4)}, "Dense_1": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}}
    with pytest.raises(ValueError, match=r"params do not fit the model or x of shape \(2, 5\)"):
        model.apply(params, jnp.zeros((2, 5)))
    with pytest.raises(ValueError, match="params do not fit the model"):
        model.apply({"Dense_0": params["Dense_0"]}, jnp.zeros((2, 6)))
    with pytest.raises(ValueError, match="leading example axis; got a scalar"):
        model.apply(params, jnp.zeros(()))
    with pytest.raises(TypeError, match="x must be real; got dtype complex64"):
        model.init(key, jnp.zeros((1, 6), jnp.complex64))
    with pytest.raises(ValueError, match=r"x must hold images, .*got shape \(1, 64\)"):
        jax.eval_shape(net.init, key, jnp.zeros((2, 64)))
    with pytest.raises(ValueError, match=r"images of 1 x 1 pixels are too small for 2 x 2 pooling"):
        jax.eval_shape(net.init, key, jnp.zeros((2, 8, 8)))
