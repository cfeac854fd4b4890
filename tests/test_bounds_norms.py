"""Norms of nets: explicit matrices, enumerated paths, invariances, known values."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds, gradients, models

WIDTHS = (4, 6, 5, 3)


def _relu_net(params, x):
    *hidden, last = params
    for weights in hidden:
        x = jax.nn.relu(x @ weights)
    return x @ last


@pytest.fixture
def weights():
    rng = np.random.default_rng(1)
    return [jnp.asarray(rng.normal(size=shape)) for shape in pairwise(WIDTHS)]


def _rescaled(weights):
    scales = jnp.array([2.0, 0.1, 3.0, 1.0, 0.5, 8.0])
    return [weights[0] * scales, weights[1] / scales[:, None], weights[2]]


@pytest.mark.heavy
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_the_path_norm_sums_over_paths_and_is_invariant(weights, rtol, p):
    x = jnp.ones((2, WIDTHS[0]))
    paths = np.einsum("ij,jk,kl->ijkl", *(np.abs(np.asarray(w)) ** p for w in weights))
    found = bounds.path_norm(_relu_net, weights, x, p=p)
    np.testing.assert_allclose(found, paths.sum() ** (1 / p), rtol=10 * rtol)
    np.testing.assert_allclose(bounds.path_norm(_relu_net, _rescaled(weights), x, p=p), found, rtol=100 * rtol)


def test_the_path_norm_of_ones_is_a_product_of_widths(rtol):
    ones = [jnp.ones(shape) for shape in pairwise(WIDTHS)]
    np.testing.assert_allclose(bounds.path_norm(_relu_net, ones, jnp.ones((1, WIDTHS[0]))) ** 2, np.prod(WIDTHS), rtol=10 * rtol)


@pytest.mark.any_precision
def test_the_path_norm_refuses_smooth_activations_and_normalization(weights):
    x = jnp.ones((2, WIDTHS[0]))
    with pytest.raises(ValueError, match="piecewise linear nets without normalization"):
        bounds.path_norm(lambda w, x: jnp.tanh(x @ w[0]) @ w[1], weights, x)
    with pytest.raises(ValueError, match=r"p must be at least 1; got 0\.5"):
        bounds.path_norm(_relu_net, weights, x, p=0.5)


def test_spectral_norms_of_dense_layers_are_largest_singular_values(weights, rtol):
    found = bounds.spectral_norms(_relu_net, weights, jnp.ones((2, WIDTHS[0])))
    assert list(found) == ["0", "1", "2"]
    np.testing.assert_allclose(list(found.values()), [np.linalg.svd(np.asarray(w))[1][0] for w in weights], rtol=100 * rtol)
    product, other = (
        np.prod([float(v) for v in bounds.spectral_norms(_relu_net, w, jnp.ones((1, 4))).values()]) for w in (weights, _rescaled(weights))
    )
    assert abs(other / product - 1) > 0.5


@pytest.mark.float64
def test_spectral_norms_of_convolutions_are_those_of_the_maps_they_are():
    import flax.linen as nn

    module = nn.Conv(3, (3, 2), strides=(2, 1), padding="SAME", use_bias=False, param_dtype=float)
    x = jnp.ones((1, 5, 4, 2))
    apply_fn, params = models.from_linen(module, module.init(jax.random.key(0), x))
    dense = jax.jacobian(lambda v: apply_fn(params, v.reshape(x.shape)).ravel())(x.ravel())
    (found,) = bounds.spectral_norms(apply_fn, params, x, jax.random.key(1)).values()
    np.testing.assert_allclose(found, np.linalg.norm(np.asarray(dense), 2), rtol=1e-10)
    (reshaped,) = bounds.spectral_norms(apply_fn, params, x, conv_norm="reshape").values()
    kernel = np.asarray(jax.tree.leaves(params)[0])
    np.testing.assert_allclose(reshaped, np.linalg.norm(kernel.reshape(-1, 3), 2), rtol=1e-10)
    assert reshaped < found
    with pytest.raises(ValueError, match="key is needed for the norms of convolutions"):
        bounds.spectral_norms(apply_fn, params, x)


@pytest.mark.heavy
def test_the_fisher_rao_norm_of_relu_nets_counts_layers(weights, rtol):
    rng = np.random.default_rng(2)
    x, y = jnp.asarray(rng.normal(size=(9, 4))), jnp.asarray(rng.normal(size=(9, 3)))
    loss_fn = models.loss_fn(_relu_net, "squared")
    found = bounds.fisher_rao_norm(loss_fn, weights, (x, y))
    outputs = np.asarray(_relu_net(weights, x))
    slopes = jax.jacobian(lambda out: models.loss_fn(lambda w, x: out, "squared")(None, (x, y)))(jnp.asarray(outputs))
    inner = np.einsum("nnc,nc->n", np.asarray(slopes), outputs)
    np.testing.assert_allclose(found, 3 * np.sqrt(np.mean(inner**2)), rtol=100 * rtol)
    np.testing.assert_allclose(bounds.fisher_rao_norm(loss_fn, _rescaled(weights), (x, y)), found, rtol=100 * rtol)
    rows = np.concatenate([np.asarray(leaf).reshape(9, -1) for leaf in gradients.per_example(loss_fn, weights, (x, y))], axis=1)
    flat = np.concatenate([np.ravel(w) for w in weights])
    np.testing.assert_allclose(found, np.sqrt(np.mean((rows @ flat) ** 2)), rtol=100 * rtol)


def _chain(params, x):
    return _relu_net([params["a"], params["b"], params["c"]], x)


def test_norms_of_dense_layers_are_those_of_their_matrices(weights, rtol):
    params = dict(zip("abc", weights, strict=True))
    start = jax.tree.map(lambda leaf: 0.5 * leaf + 1, params)
    found = bounds.layer_norms(_chain, params, jnp.ones((2, WIDTHS[0])), start)
    for i, name in enumerate("abc"):
        matrix = np.asarray(params[name]).T
        for prefix, value in (("", matrix), ("distance_", matrix - np.asarray(start[name]).T)):
            np.testing.assert_allclose(found[f"{prefix}spectral"][i], np.linalg.norm(value, 2), rtol=10 * rtol)
            np.testing.assert_allclose(found[f"{prefix}frobenius"][i], np.linalg.norm(value), rtol=10 * rtol)
            np.testing.assert_allclose(found[f"{prefix}two_one"][i], np.linalg.norm(value, axis=1).sum(), rtol=10 * rtol)
    np.testing.assert_allclose(found["stable_rank"], (found["frobenius"] / found["spectral"]) ** 2, rtol=10 * rtol)
    assert set(bounds.layer_norms(_chain, params, jnp.ones((1, WIDTHS[0])))) == {"spectral", "frobenius", "two_one", "stable_rank"}


@pytest.mark.slow
@pytest.mark.float64
def test_norms_of_convolutions_are_those_of_the_maps_they_are():
    def net(params, x):
        x = jax.lax.conv_general_dilated(x, params["w"], (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.relu(x).reshape(len(x), -1) @ params["v"]

    rng = np.random.default_rng(6)
    params = {"w": jnp.asarray(rng.normal(size=(3, 2, 2, 3))), "v": jnp.asarray(rng.normal(size=(36, 2)))}
    x = jnp.ones((1, 5, 4, 2))
    start = jax.tree.map(jnp.ones_like, params)

    def dense(kernel):
        convolve = lambda v: jax.lax.conv_general_dilated(  # noqa: E731
            v.reshape(x.shape), kernel, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ).ravel()
        return np.asarray(jax.jacobian(convolve)(x.ravel()))

    found = bounds.layer_norms(net, params, x, start)
    for prefix, kernel in (("", params["w"]), ("distance_", params["w"] - start["w"])):
        matrix = dense(kernel)
        expected = (np.linalg.norm(matrix, 2), np.linalg.norm(matrix), np.linalg.norm(matrix, axis=1).sum())
        for name, value in zip(("spectral", "frobenius", "two_one"), expected, strict=True):
            np.testing.assert_allclose(found[f"{prefix}{name}"][0], value, rtol=1e-9)
    reshaped = bounds.layer_norms(net, params, x, conv_norm="reshape")
    np.testing.assert_allclose(reshaped["frobenius"][0], np.linalg.norm(params["w"]), rtol=1e-12)
    np.testing.assert_allclose(reshaped["two_one"][0], np.linalg.norm(np.asarray(params["w"]).reshape(-1, 3), axis=0).sum(), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.float64
def test_layer_norms_under_vmap_are_those_of_every_net_and_differentiable(weights, rtol):
    x = jnp.ones((1, WIDTHS[0]))
    nets = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), weights)
    mapped = jax.jit(jax.vmap(lambda w: bounds.layer_norms(_relu_net, w, x, weights)))(nets)
    single = bounds.layer_norms(_relu_net, weights, x, weights)
    for name in ("spectral", "frobenius", "two_one"):
        np.testing.assert_allclose(mapped[name][0], single[name], rtol=100 * rtol)
        np.testing.assert_allclose(mapped[name][1], 2 * single[name], rtol=100 * rtol)
        np.testing.assert_allclose(mapped[f"distance_{name}"][1], single[name], rtol=100 * rtol)
    gradient = jax.grad(lambda w: bounds.layer_norms(_relu_net, w, x, weights)["distance_spectral"].sum())(weights)
    assert all(jnp.isfinite(leaf).all() for leaf in gradient)


@pytest.mark.any_precision
def test_layer_norms_refuse_what_has_none(weights):
    x = jnp.ones((1, WIDTHS[0]))
    with pytest.raises(ValueError, match="every layer must differ from zero"):
        bounds.layer_norms(_relu_net, [weights[0], 0 * weights[1], weights[2]], x)
    assert jnp.isnan(jax.jit(lambda w: bounds.layer_norms(_relu_net, w, x)["spectral"])([weights[0], 0 * weights[1], weights[2]])).any()
    with pytest.raises(ValueError, match="init_params must have the tree and shapes of params"):
        bounds.layer_norms(_relu_net, weights, x, weights[:2])
    with pytest.raises(ValueError, match="no linear layer"):
        bounds.layer_norms(lambda w, x: x + w, jnp.ones(4), x)
    with pytest.raises(ValueError, match="outside of loops"):
        bounds.layer_norms(lambda w, x: jax.lax.scan(lambda h, v: (h @ v, None), x, w)[0], jnp.ones((3, 4, 4)), x)
    with pytest.raises(ValueError, match="conv_norm must be one of"):
        bounds.layer_norms(_relu_net, weights, x, conv_norm="fft")


@pytest.mark.any_precision
def test_the_path_norm_refuses_frozen_normalization(weights):
    mean = jnp.full(6, 0.5)
    with pytest.raises(ValueError, match="a constant is added by sub"):
        bounds.path_norm(lambda w, x: jax.nn.relu(x @ w[0] - mean) @ w[1], weights[:2], jnp.ones((1, WIDTHS[0])))


def test_orthogonal_layers_have_the_known_complexities(rtol):
    width, depth = 5, 3
    orthogonal = [jnp.linalg.qr(jnp.asarray(np.random.default_rng(i).normal(size=(width, width))))[0] for i in range(depth)]
    norms = bounds.layer_norms(_relu_net, orthogonal, jnp.ones((1, width)))
    np.testing.assert_allclose(jnp.prod(norms["spectral"]), 1, rtol=100 * rtol)
    np.testing.assert_allclose(jnp.prod(norms["frobenius"]), width ** (depth / 2), rtol=100 * rtol)
    np.testing.assert_allclose(norms["two_one"], width, rtol=100 * rtol)
    np.testing.assert_allclose(bounds.bartlett_complexity(norms["spectral"], norms["two_one"]), depth**1.5 * width, rtol=100 * rtol)


def test_bartletts_complexity_does_not_change_where_layers_are_rescaled(rtol):
    spectral, two_one, factors = jnp.array([2.0, 0.5, 3.0]), jnp.array([5.0, 1.0, 7.0]), jnp.array([4.0, 0.125, 2.0])
    found = bounds.bartlett_complexity(spectral, two_one)
    np.testing.assert_allclose(bounds.bartlett_complexity(factors * spectral, factors * two_one), found, rtol=10 * rtol)
    np.testing.assert_allclose(bounds.bartlett_complexity(spectral, two_one, jnp.array([2.0, 1.0, 1.0])), 2 * found, rtol=10 * rtol)
    assert bounds.bartlett_complexity(spectral, 0 * two_one) == 0


@pytest.mark.float64
def test_margin_bounds_are_their_formulas_for_norms_fixed_before_the_data():
    found = bounds.golowich_bound(0.1, jnp.array([2.0, 3.0]), 1.5, 0.25, 400, 0.05, grid=False)
    complexity = 1.5 * (np.sqrt(4 * np.log(2)) + 1) * 6 / 20
    np.testing.assert_allclose(bounds.golowich_rademacher(6.0, 1.5, 2, 400), complexity, rtol=1e-14)
    confidence = 3 * np.sqrt(np.log(2 / 0.05) / 800)
    np.testing.assert_allclose(found.value, 0.1 + 2 / 0.25 * complexity + confidence, rtol=1e-14)
    several = bounds.golowich_bound(0.1, jnp.array([2.0, 3.0]), 1.5, 0.25, 400, 0.05, num_outputs=10, grid=False)
    np.testing.assert_allclose(several.terms["complexity"], 20 * found.terms["complexity"], rtol=1e-14)
    paths = bounds.path_norm_bound(0.1, 6.0, 1.5, 0.25, 400, 0.05, depth=2, num_inputs=7, grid=False)
    np.testing.assert_allclose(paths.terms["complexity"], 8 * 2 * 1.5 * 6 * np.sqrt((3 + np.log(7)) / 400), rtol=1e-14)
    spectral, two_one = jnp.array([2.0, 3.0]), jnp.array([4.0, 1.0])
    bartlett = bounds.bartlett_bound(0.1, spectral, two_one, 30.0, 0.25, 400, 0.05, width=64, grid=False)
    size = 6 * (2 ** (2 / 3) + 3 ** (-2 / 3)) ** 1.5
    np.testing.assert_allclose(
        bartlett.terms["complexity"], 72 * np.sqrt(np.log(2 * 64**2)) * np.log(400) * 30 * size / (0.25 * 400) + 8 / 8000, rtol=1e-14
    )
    for bound in (found, several, paths, bartlett):
        assert not bound.certified
        assert (bound.sided, bound.confidence) == ("one", 0.95)
        np.testing.assert_allclose(bound.value, sum(bound.terms.values()), rtol=1e-14)


MARGIN_BOUNDS = {
    "golowich": lambda loss, norms, gamma, n, delta, **options: bounds.golowich_bound(loss, norms, 1.0, gamma, n, delta, **options),
    "paths": lambda loss, norms, gamma, n, delta, **options: bounds.path_norm_bound(
        loss, jnp.prod(norms), 1.0, gamma, n, delta, depth=2, num_inputs=3, **options
    ),
    "bartlett": lambda loss, norms, gamma, n, delta, **options: bounds.bartlett_bound(
        loss, norms, norms, n**0.5, gamma, n, delta, width=8, **options
    ),
}


@pytest.mark.any_precision
@pytest.mark.parametrize("name", MARGIN_BOUNDS)
def test_the_price_of_norms_found_in_the_data_is_a_factor_of_four_or_eight(name):
    """Twice for the norms and twice for the margin, once more for norms of two kinds, and a share of delta for each power."""
    bound, norms = MARGIN_BOUNDS[name], jnp.array([1.7, 2.3])
    fixed, paid = (bound(0.1, norms, 0.3, 10**6, 0.05, grid=grid) for grid in (False, True))
    assert paid.certified
    assert fixed.terms["complexity"] <= paid.terms["complexity"] <= (8.1 if name == "bartlett" else 4) * fixed.terms["complexity"]
    assert fixed.terms["confidence"] < paid.terms["confidence"] < 4 * fixed.terms["confidence"]


@pytest.mark.float64
@pytest.mark.parametrize("name", MARGIN_BOUNDS)
def test_margin_bounds_fall_with_n_and_with_the_margin_under_every_transformation(name, rtol):
    bound, norms = MARGIN_BOUNDS[name], jnp.array([1.7, 2.3])
    sizes = jnp.array([100.0, 1e4, 1e6])
    values = jax.jit(jax.vmap(lambda n: bound(0.1, norms, 0.3, n, 0.05).value))(sizes)
    np.testing.assert_allclose(values, [bound(0.1, norms, 0.3, n, 0.05).value for n in sizes], rtol=10 * rtol)
    assert (jnp.diff(values) < 0).all()
    assert bound(0.1, norms, 1.0, 1e4, 0.05).value < values[1] < bound(0.1, norms, 0.3, 1e4, 1e-4).value
    assert jnp.isfinite(jax.grad(lambda norms: bound(0.1, norms, 0.3, 100.0, 0.05, grid=False).value)(norms)).all()


@pytest.mark.any_precision
@pytest.mark.parametrize("name", MARGIN_BOUNDS)
def test_margin_bounds_refuse_wrong_values(name):
    bound, norms = MARGIN_BOUNDS[name], jnp.array([1.7, 2.3])
    for arguments, message in (
        ((0.1, norms, 0.0, 100.0, 0.05), "gamma must be positive"),
        ((1.1, norms, 0.3, 100.0, 0.05), r"margin_loss must be in \[0, 1\]; got 1\.1"),
        ((0.1, norms, 0.3, 0.0, 0.05), "n must be at least"),
        ((0.1, 0 * norms, 0.3, 100.0, 0.05), "must be positive and finite"),
        ((0.1, norms, 0.3, 100.0, 1.0), r"delta must be in \(0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            bound(*arguments)
    assert jnp.isnan(jax.jit(lambda gamma: bound(0.1, norms, gamma, 100.0, 0.05).value)(-1.0))
    with pytest.raises(TypeError, match="delta must be a concrete number"):
        jax.jit(lambda delta: bound(0.1, norms, 0.3, 100.0, delta).value)(0.05)
