"""Kernels of infinitely wide fully connected nets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import ntk
from jaxgen.ntk import infinite

KNOWN = {
    0.0: ([0.31830989, 0.68570864, 1.06038811], [0.31830989, 0.49373109, 0.60482572]),
    0.5: ([0.94233111, 1.35147956, 1.73784468], [0.60899778, 0.68390565, 0.73812819]),
    1.0: ([2, 3, 4], [1, 1, 1]),
    -1.0: ([0, 0.31830989, 0.68570864], [0, 0.31830989, 0.49373109]),
}


def _pair(rho):
    return jnp.array([[1.0, 0.0]]), jnp.array([[rho, np.sqrt(1 - rho**2)]])


def _relu_recursion(x, y, depth, weight, bias):
    """The recursion as in the textbook, in float64, through rho and the arccosine; sum of products in place of the recursion for Theta."""
    a, b, c = (x**2).sum(1) * weight + bias, (y**2).sum(1) * weight + bias, x @ y.T * weight + bias
    nngp, slopes = [c], []
    for _ in range(depth):
        scale = np.sqrt(np.outer(a, b))
        angle = np.arccos(np.clip(c / scale, -1, 1))
        c = weight * scale * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi + bias
        slopes.append(weight * (1 - angle / np.pi))
        a, b = weight * a + bias, weight * b + bias
        nngp.append(c)
    ntk = sum(sigma * np.prod([*slopes[h:], np.ones_like(c)], axis=0) for h, sigma in enumerate(nngp))
    return ntk, c


@pytest.mark.heavy
@pytest.mark.parametrize("rho", KNOWN)
def test_known_values_of_the_relu(rho, precision):
    found = [infinite.fully_connected(*_pair(rho), depth=depth, activation="relu") for depth in (1, 2, 3)]
    tolerance = {"float32": 1e-6, "float64": 1e-8}[precision]
    np.testing.assert_allclose([k.ntk[0, 0] for k in found], KNOWN[rho][0], rtol=0, atol=tolerance)
    np.testing.assert_allclose([k.nngp[0, 0] for k in found], KNOWN[rho][1], rtol=0, atol=tolerance)


def test_known_values_of_erf():
    x = jnp.concatenate(_pair(0.5))
    one, two = (infinite.fully_connected(x, depth=depth, activation="erf") for depth in (1, 2))
    found = [one.ntk[0, 1], two.ntk[0, 1], one.ntk[0, 0], two.ntk[0, 0], one.nngp[0, 1]]
    np.testing.assert_allclose(found, [0.95020422, 1.34582710, 2.2257000, 3.7280405, 0.46570375], rtol=1e-6)


@pytest.mark.heavy
@pytest.mark.parametrize(("weight", "bias"), [(1.0, 0.0), (0.8, 0.3)])
def test_kernels_follow_the_recursion(weight, bias, key, precision):
    x, y = jax.random.normal(key, (9, 5)), jax.random.normal(jax.random.fold_in(key, 1), (4, 5))
    options = {"depth": 3, "activation": "relu", "weight_variance": weight, "bias_variance": bias}
    expected = _relu_recursion(np.asarray(x, np.float64), np.asarray(y, np.float64), 3, weight, bias)
    for found, exact in zip(infinite.fully_connected(x, y, **options), expected, strict=True):
        np.testing.assert_allclose(found, exact, rtol={"float32": 5e-6, "float64": 1e-12}[precision])


@pytest.mark.float64
def test_one_input_is_two_equal_ones_and_norms_grow_with_it(key, rtol):
    x = jax.random.normal(key, (6, 3))
    one, two = (infinite.fully_connected(x, y, depth=2, activation="gelu", bias_variance=0.1) for y in (None, x))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_allclose(left, right, rtol=5 * rtol)
        np.testing.assert_allclose(left, left.T, rtol=5 * rtol)
    scaled = infinite.fully_connected(3 * x, x, depth=2, activation="relu")
    np.testing.assert_allclose(scaled.ntk, 3 * infinite.fully_connected(x, depth=2, activation="relu").ntk, rtol=5 * rtol)


@pytest.mark.any_precision
def test_kernels_are_means_over_wide_nets(key):
    """48 ReLU nets of two hidden layers of 128 neurons: within 5 standard errors, and the bias of order 1 / 128 of the finite width."""
    x = 2 * jax.random.normal(key, (3, 4))

    def hidden(weights, x):
        for weight in weights:
            x = jnp.sqrt(2 / len(weight)) * jax.nn.relu(x @ weight.T)
        return x

    def draw(key):
        keys = jax.random.split(key, 3)
        first, second, last = (jax.random.normal(k, shape) for k, shape in zip(keys, ((128, 4), (128, 128), (128,)), strict=True))
        kernel = ntk.empirical(lambda weights, x: hidden(weights[:-1], x) @ weights[-1], [first, second, last], x, mode="trace")
        features = hidden([first, second], x)
        return kernel, features @ features.T

    drawn = jax.jit(lambda keys: jax.lax.map(draw, keys))(jax.random.split(key, 48))
    for found, exact in zip(drawn, infinite.fully_connected(x, depth=2, activation="relu"), strict=True):
        tolerance = 5 * found.std(axis=0) / np.sqrt(48) + jnp.abs(exact).max() / 128
        assert np.all(jnp.abs(found.mean(axis=0) - exact) < tolerance)


@pytest.mark.any_precision
def test_no_hidden_layer_is_the_linear_kernel(key, rtol):
    x = jax.random.normal(key, (4, 2, 3))
    kernels = infinite.fully_connected(x, depth=0, activation="relu", weight_variance=0.5, bias_variance=0.2)
    flat = x.reshape(4, 6)
    for kernel in kernels:
        np.testing.assert_allclose(kernel, 0.5 * flat @ flat.T + 0.2, rtol=rtol, atol=rtol)


@pytest.mark.any_precision
def test_rows_of_many_tiles_are_those_of_one(key, rtol):
    x, y = jax.random.normal(key, (517, 3)), jax.random.normal(jax.random.fold_in(key, 1), (300, 3))
    whole = infinite.fully_connected(x, y, depth=1, activation="relu")
    part = infinite.fully_connected(x[500:], y, depth=1, activation="relu")
    np.testing.assert_allclose(whole.ntk[500:], part.ntk, rtol=rtol, atol=rtol)


@pytest.mark.any_precision
def test_float32_is_exact_for_pairs_that_nearly_coincide():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 50))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    noise = rng.normal(size=(8, 50)) / np.sqrt(50)
    near = [sign * (x + scale * noise) for sign in (1, -1) for scale in (0, 1e-7, 1e-5, 1e-3, 0.03, 0.08, 0.1, 0.3)]
    y = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in near])
    x, y = np.float32(x), np.float32(y)
    for depth in (1, 4):
        found = infinite.fully_connected(x, y, depth=depth, activation="relu")
        with jax.enable_x64(True):
            exact = infinite.fully_connected(np.float64(x), np.float64(y), depth=depth, activation="relu")
        for one, other in zip(found, exact, strict=True):
            # The bound that the docstring states; inputs of norm 1 to rounding.
            np.testing.assert_allclose(one, other, rtol=0, atol=5e-7 * (depth + 1) ** 2)


@pytest.mark.float64
def test_float64_is_exact_for_pairs_that_nearly_coincide():
    angle = np.array([1e-12, 1e-9, 1e-6, 1e-3, 0.05, 0.1])
    y = np.concatenate([np.stack([sign * np.cos(angle), sign * np.sin(angle)], axis=1) for sign in (1, -1)])
    found = infinite.two_layer(jnp.array([[1.0, 0.0]]), y)
    np.testing.assert_allclose(found[0, :6], np.cos(angle) * (0.5 - angle / (2 * np.pi)), rtol=1e-14)
    np.testing.assert_allclose(found[0, 6:], -np.cos(angle) * angle / (2 * np.pi), rtol=1e-4, atol=1e-16)


@pytest.mark.float64
def test_gradients_are_the_differences(key):
    x, y = jax.random.normal(key, (3, 4)), jax.random.normal(jax.random.fold_in(key, 1), (2, 4))
    direction = jax.random.normal(jax.random.fold_in(key, 2), (3, 4))

    @jax.jit
    def total(x):
        kernels = infinite.fully_connected(x, y, depth=3, activation="relu", bias_variance=0.1)
        return kernels.ntk.sum() + kernels.nngp.sum()

    step = 1e-5
    difference = (total(x + step * direction) - total(x - step * direction)) / (2 * step)
    # Central differences: the square of the step, and rounding over the step.
    np.testing.assert_allclose(jnp.sum(jax.jit(jax.grad(total))(x) * direction), difference, rtol=1e-8)


@pytest.mark.heavy
def test_the_slope_is_that_of_a_cone_beside_coincident_inputs_and_zero_at_them(rtol):
    x = jnp.array([1.0, 0.0])
    kernel = jax.jit(jax.grad(lambda y: infinite.two_layer(x[None], y[None])[0, 0]))
    np.testing.assert_array_equal(kernel(x), [0.5, 0.0])
    angle = 1e-3
    y = jnp.array([jnp.cos(angle), jnp.sin(angle)])
    # In direction of the angle: d/dt cos t (pi - t) / (2 pi).
    slope = kernel(y) @ jnp.array([-y[1], y[0]])
    np.testing.assert_allclose(slope, -(np.sin(angle) * (np.pi - angle) + np.cos(angle)) / (2 * np.pi), rtol=100 * rtol)


@pytest.mark.slow
def test_gradients_are_finite_for_coincident_antipodal_orthogonal_and_zero_inputs():
    x = jnp.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    kernel = jax.jit(lambda x, y: infinite.fully_connected(x, y, depth=2, activation="relu").ntk)
    values, gradients = jax.jit(lambda x, y: (kernel(x, y), jax.jacrev(kernel, argnums=(0, 1))(x, y)))(x, x)
    assert not np.any(values[4])
    assert np.all(np.isfinite(gradients))
    assert not np.any(gradients[0][4])


@pytest.mark.heavy
def test_the_gradient_at_orthogonal_inputs(rtol):
    x, y = jnp.array([[1.0, 0.0]]), jnp.array([0.0, 1.0])
    gradient = jax.jit(jax.grad(lambda y: infinite.fully_connected(x, y[None], depth=1, activation="relu").nngp[0, 0]))(y)
    # |y| kappa_1(rho): kappa_0(0) / |y| across, kappa_1(0) along y.
    np.testing.assert_allclose(gradient, [0.5, 1 / np.pi], rtol=rtol)


@pytest.mark.float64
def test_transformations(key, rtol):
    x = jax.random.normal(key, (3, 4, 5))

    @jax.jit
    def kernels(x, weight):
        return infinite.fully_connected(x, depth=2, activation="erf", weight_variance=weight, bias_variance=0.1)

    mapped = jax.jit(jax.vmap(kernels, (0, None)))(x, 0.7)
    for i in range(3):
        for one, other in zip(jax.tree.map(lambda k, i=i: k[i], mapped), kernels(x[i], 0.7), strict=True):
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)
    assert np.isnan(jax.jit(kernels)(x[0], -1.0).ntk).all()


def test_dtypes_are_those_of_the_inputs(precision):
    x = np.ones((2, 3), np.float32)
    assert infinite.fully_connected(x, depth=1, activation="relu", bias_variance=0.5).ntk.dtype == jnp.float32
    assert infinite.fully_connected(np.ones((2, 3), np.int32), depth=1, activation="erf").ntk.dtype == precision


@pytest.mark.heavy
def test_two_layers_and_the_series(key, precision):
    x = jax.random.normal(key, (5, 3))
    x /= jnp.linalg.norm(x, axis=1, keepdims=True)
    first, both = (infinite.two_layer(x, layers=layers) for layers in ("first", "both"))
    tolerance = {"float32": 1e-6, "float64": 1e-12}[precision]
    np.testing.assert_allclose(jnp.diagonal(first), 0.5, rtol=tolerance)
    np.testing.assert_allclose(both, infinite.fully_connected(x, depth=1, activation="relu").ntk / 2, rtol=tolerance)
    np.testing.assert_allclose(infinite.two_layer(*_pair(0.6))[0, 0], 0.21144982940974, rtol=tolerance)
    np.testing.assert_allclose(infinite.relu_series(0.6, 80), 0.21144982940974, rtol=tolerance)
    np.testing.assert_allclose(infinite.relu_series(-1.0, 10_000), 0, atol=0.2 / np.sqrt(10_000))
    assert infinite.relu_series(0.6, 1) == jnp.asarray(0.6) / 4 + jnp.asarray(0.6) ** 2 / (2 * jnp.pi)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((np.ones((2, 3)), np.ones((2, 4))), {}, "same features"),
        ((np.ones((0, 3)),), {}, "at least one example"),
        ((np.ones((2, 3)), np.ones((0, 3))), {}, "x2 must hold at least one"),
        ((np.ones(3),), {}, r"x1 must have shape \(N, ...\)"),
        ((np.ones((2, 3)),), {"depth": -1}, "depth"),
        ((np.ones((2, 3)),), {"activation": "tanh"}, "activation must be one of"),
        ((np.ones((2, 3)),), {"weight_variance": -1.0}, "weight_variance must be at least 0"),
        ((np.ones((2, 3)),), {"bias_variance": -1.0}, "bias_variance must be at least 0"),
        ((np.ones((2, 3)),), {"weight_variance": np.ones(2)}, "scalars"),
    ],
)
def test_wrong_input_is_named(args, options, message):
    with pytest.raises(ValueError, match=message):
        infinite.fully_connected(*args, **{"depth": 1, "activation": "relu", **options})


@pytest.mark.any_precision
def test_wrong_options_of_two_layers_and_the_series():
    with pytest.raises(ValueError, match="layers must be one of"):
        infinite.two_layer(np.ones((2, 3)), layers="second")
    with pytest.raises(ValueError, match="num_terms"):
        infinite.relu_series(0.5, 0)
    with pytest.raises(TypeError, match="x1 must be real"):
        infinite.fully_connected(np.ones((2, 3), complex), depth=1, activation="relu")
