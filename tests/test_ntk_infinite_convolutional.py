"""Kernels of infinitely wide convolutional nets."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.ntk import infinite

OPTIONS = {"depth": 2, "filter_size": 3, "activation": "relu"}


def _windows(k, q, padding):
    """T by its definition: for every pair of positions the sum over both windows moved together."""
    p1, p2 = k.shape[:2]
    out = np.zeros_like(k)
    for i, j, m, l, a, b in np.ndindex(p1, p2, p1, p2, q, q):  # noqa: E741
        rows, columns = (i + a - q // 2, m + a - q // 2), (j + b - q // 2, l + b - q // 2)
        if padding == "circular":
            out[i, j, m, l] += k[rows[0] % p1, columns[0] % p2, rows[1] % p1, columns[1] % p2]
        elif min(*rows, *columns) >= 0 and max(rows) < p1 and max(columns) < p2:
            out[i, j, m, l] += k[rows[0], columns[0], rows[1], columns[1]]
    return out


def _dense(x, y, depth, q, padding, pooling, weight, bias):
    """NTK and NNGP of two images by the recursion over all pairs of positions, in float64, through rho."""
    total = partial(_windows, q=q, padding=padding)
    sigmas = [weight * total(np.einsum("ijc,klc->ijkl", u, v)) + bias for u, v in ((x, y), (x, x), (y, y))]
    theta = sigmas[0]
    for h in range(depth):
        own = [np.einsum("ijij->ij", sigma) for sigma in sigmas[1:]]
        kernels, slopes = [], []
        for sigma, left, right in zip(sigmas, (own[0], *own), (own[1], *own), strict=True):
            scale = np.sqrt(left[:, :, None, None] * right)
            angle = np.arccos(np.clip(sigma / scale, -1, 1))
            kernels.append(weight / q**2 * scale * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi)
            slopes.append(weight / q**2 * (1 - angle / np.pi))
        theta = slopes[0] * theta + kernels[0]
        if h < depth - 1:
            theta, sigmas = total(theta) + bias, [total(k) + bias for k in kernels]
    readout = (lambda k: k.mean()) if pooling == "gap" else (lambda k: np.einsum("ijij->", k))
    return readout(theta) + bias, readout(kernels[0]) + bias


@pytest.mark.heavy
@pytest.mark.parametrize("pooling", ["flatten", "gap"])
@pytest.mark.parametrize("padding", ["zero", "circular"])
def test_kernels_follow_the_recursion_over_all_pairs_of_positions(pooling, padding, precision):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 4, 3, 2)), rng.normal(size=(1, 4, 3, 2))
    options = {"weight_variance": 0.9, "bias_variance": 0.2, "pooling": pooling, "padding": padding}
    found = infinite.convolutional(x, y, **{**OPTIONS, "depth": 3}, **options)
    for i in range(2):
        expected = _dense(x[i], y[0], 3, 3, padding, pooling, 0.9, 0.2)
        np.testing.assert_allclose([found.ntk[i, 0], found.nngp[i, 0]], expected, rtol={"float32": 1e-5, "float64": 1e-12}[precision])


@pytest.mark.float64
@pytest.mark.parametrize("pooling", ["flatten", "gap"])
def test_one_pixel_is_a_fully_connected_net(pooling, key, rtol):
    x = jax.random.normal(key, (4, 1, 1, 5))
    found = infinite.convolutional(x, depth=3, filter_size=1, activation="erf", bias_variance=0.1, pooling=pooling)
    expected = infinite.fully_connected(x, depth=3, activation="erf", bias_variance=0.1)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=10 * rtol)


@pytest.mark.float64
@pytest.mark.parametrize(("n", "chunk_size"), [(4, 3), (5, None)])
def test_half_of_the_pairs_in_chunks_of_any_size_are_all_of_them(n, chunk_size, key, rtol):
    x = jax.random.normal(key, (n, 3, 3, 1))
    expected = infinite.convolutional(x, x, **OPTIONS)
    for one, other in zip(infinite.convolutional(x, **OPTIONS, chunk_size=chunk_size), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=10 * rtol)


@pytest.mark.float64
def test_circular_padding_and_average_pooling_do_not_see_a_translation(key, rtol):
    x = jax.random.normal(key, (2, 4, 4, 2))
    moved = jnp.roll(x[1:], (1, 2), (1, 2))
    still, shifted = (infinite.convolutional(x[:1], y, **OPTIONS, pooling="gap", padding="circular").ntk for y in (x[1:], moved))
    np.testing.assert_allclose(shifted, still, rtol=10 * rtol)
    still, shifted = (infinite.convolutional(x[:1], y, **OPTIONS, padding="circular").ntk for y in (x[1:], moved))
    assert abs(shifted - still) > 0.01 * abs(still)


@pytest.mark.any_precision
def test_equal_images_are_exact():
    x = np.float32(np.random.default_rng(2).uniform(size=(3, 4, 4, 1)))
    found = infinite.convolutional(x, x.copy(), **OPTIONS)
    with jax.enable_x64(True):
        exact = infinite.convolutional(np.float64(x), **OPTIONS)
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6)


@pytest.mark.slow
@pytest.mark.any_precision
def test_a_black_image_has_kernel_zero_and_gradients_are_finite(key):
    x = jnp.concatenate([jax.random.normal(key, (1, 3, 3, 1)), jnp.zeros((1, 3, 3, 1)), jnp.ones((1, 3, 3, 1))])

    def total(x):
        kernel = infinite.convolutional(x, **OPTIONS, pooling="gap").ntk
        return kernel.sum(), kernel

    (_, kernel), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(x)
    assert not np.any(kernel[1])
    assert np.all(np.isfinite(gradient))


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((np.ones((2, 4, 4)),), {}, r"shape \(N, height, width, channels\)"),
        ((np.ones((2, 4, 4, 1)), np.ones((2, 4, 5, 1))), {}, "same features"),
        ((np.ones((0, 4, 4, 1)),), {}, "at least one example"),
        ((np.ones((2, 4, 4, 1)),), {"filter_size": 2}, "odd"),
        ((np.ones((2, 4, 4, 1)),), {"depth": 0}, "depth"),
        ((np.ones((2, 4, 4, 1)),), {"pooling": "max"}, "pooling must be one of"),
        ((np.ones((2, 4, 4, 1)),), {"padding": "valid"}, "padding must be one of"),
        ((np.ones((2, 4, 4, 1)),), {"padding": "circular", "filter_size": 5}, "must not exceed the image"),
        ((np.ones((2, 4, 4, 1)),), {"chunk_size": 0}, "chunk_size"),
        ((np.ones((2, 64, 64, 1)),), {"pooling": "gap", "memory_limit": 2.0**20}, "GiB"),
    ],
)
def test_wrong_input_is_named(args, options, message):
    with pytest.raises(ValueError, match=message):
        infinite.convolutional(*args, **{**OPTIONS, **options})
