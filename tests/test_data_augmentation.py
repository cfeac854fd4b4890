"""Random distortions of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import data

STILL = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0, "elastic": 0.0}


def _blob(height=9, width=11):
    rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    return jnp.exp(-0.2 * ((rows - 4.0) ** 2 + (columns - 5.0) ** 2))


@pytest.mark.heavy
def test_no_distortion_changes_nothing(key, rtol):
    images = jax.random.uniform(key, (3, 9, 11))
    np.testing.assert_allclose(data.distort_images(key, images, **STILL), images, rtol=rtol, atol=rtol)


@pytest.mark.any_precision
def test_each_distortion_alone_changes_images_each_in_its_own_way(key):
    images = jnp.stack([_blob()] * 4) * jnp.linspace(0.5, 1.5, 11)
    for name, size in {"rotation": 0.5, "scale": 0.3, "shear": 0.3, "shift": 1.5, "elastic": 1.0}.items():
        found = data.distort_images(key, images, **(STILL | {name: size}))
        assert found.shape == images.shape
        assert jnp.all(jnp.abs(found - images).max(axis=(1, 2)) > 1e-3)
        assert jnp.abs(found[0] - found[1]).max() > 1e-3
        assert jnp.all((found >= 0) & (found <= images.max() + 1e-6))


@pytest.mark.slow
def test_a_shift_moves_the_centre_of_mass_by_as_much(key):
    """A blob far from the edges; bilinear interpolation keeps first moments."""
    images = jnp.stack([_blob(31, 31) * 0 + jnp.pad(_blob(), ((11, 11), (10, 10)))] * 50)
    found = data.distort_images(key, images, **(STILL | {"shift": 2.0}))
    places = jnp.arange(31)
    centres = jnp.stack([(found.sum(axis=2) @ places), (found.sum(axis=1) @ places)], axis=1) / found.sum(axis=(1, 2))[:, None]
    moved = centres - 15
    assert jnp.abs(moved).max() <= 2.01
    assert jnp.abs(moved).mean() == pytest.approx(1.0, abs=5 * (1 / 3) ** 0.5 / 10)


@pytest.mark.any_precision
def test_wrong_input_is_refused(key):
    with pytest.raises(ValueError, match=r"images must have shape \(n, h, w\)"):
        data.distort_images(key, jnp.zeros((3, 4)))
    with pytest.raises(ValueError, match="grid must be an integer of at least 2"):
        data.distort_images(key, jnp.zeros((3, 4, 4)), grid=1)
