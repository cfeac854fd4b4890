"""Random distortions of images, as handwriting varies."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxgen._core.checks import floating, positive_integer, require


def distort_images(
    key: PRNGKeyArray,
    images: Float[Array, "n h w"],
    *,
    rotation: float = 0.2,
    scale: float = 0.12,
    shear: float = 0.15,
    shift: float = 2.0,
    elastic: float = 1.5,
    grid: int = 5,
) -> Float[Array, "n h w"]:
    """Images turned, scaled, sheared, shifted and elastically deformed, each at random and by itself.

    Every pixel takes the bilinear interpolation of the image at x' = A x + s + d(x): A is a rotation by an angle in
    [-rotation, rotation] after a scaling and a shear of that size, s a shift, and d a field of displacements in [-elastic, elastic]
    on a coarse grid, interpolated between its points; all of them are uniform. Outside of an image there is zero.

    Args:
        key: PRNG key.
        images: n images of one channel.
        rotation: largest angle in radians.
        scale: largest relative change of size, along each axis by itself.
        shear: largest shear.
        shift: largest shift in pixels.
        elastic: largest displacement in pixels.
        grid: points of the displacement field along an axis, at least 2.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if `images` is not of shape (n, h, w) or `grid` < 2.

    Source: the distortions of Simard, Steinkraus and Platt 2003, with a coarse grid in place of a smoothed field.

    Example:
        >>> import jax
        >>> from jaxgen import data
        >>> images = data.load("digits").x_train[:3]
        >>> data.distort_images(jax.random.key(0), images, shift=0.5, elastic=0.3).shape
        (3, 8, 8)
    """
    images, grid = floating("images", images), positive_integer("grid", grid, at_least=2)
    require(images.ndim == 3, f"images must have shape (n, h, w); got {images.shape}")
    (count, height, width), dtype = images.shape, images.dtype
    turn_key, size_key, shear_key, shift_key, field_key = jax.random.split(key, 5)

    def uniform(key: PRNGKeyArray, shape: tuple[int, ...], largest: float) -> Array:
        return jax.random.uniform(key, (count, *shape), dtype, -largest, largest)

    angle, stretch, slant = uniform(turn_key, (), rotation), 1 + uniform(size_key, (2,), scale), uniform(shear_key, (), shear)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.stack([jnp.stack([cos, -sin], 1), jnp.stack([sin, cos], 1)], 1)
    slanted = jnp.stack([jnp.stack([stretch[:, 0], slant], 1), jnp.stack([jnp.zeros_like(slant), stretch[:, 1]], 1)], 1)
    rows, columns = jnp.arange(height, dtype=dtype) - (height - 1) / 2, jnp.arange(width, dtype=dtype) - (width - 1) / 2
    centred = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"))
    along = (_between(size, grid, dtype) for size in (height, width))
    field = jnp.einsum("hg,wk,ncgk->nchw", *along, uniform(field_key, (2, grid, grid), elastic))
    moved = jnp.einsum("nij,jhw->nihw", turn @ slanted, centred) + uniform(shift_key, (2, 1, 1), shift) + field
    return jax.vmap(_interpolated)(images, moved[:, 0] + (height - 1) / 2, moved[:, 1] + (width - 1) / 2)


def _between(size: int, grid: int, dtype) -> Float[Array, "size grid"]:
    """Weights by which values on a coarse grid are interpolated at `size` places."""
    places = jnp.linspace(0, grid - 1, size, dtype=dtype)
    return jnp.maximum(1 - jnp.abs(places[:, None] - jnp.arange(grid, dtype=dtype)), 0)


def _interpolated(image: Float[Array, "h w"], y: Float[Array, "h w"], x: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """Bilinear interpolation, with zero outside."""
    height, width = image.shape
    padded = jnp.pad(image, 1).ravel()
    y, x = jnp.clip(y, -1, height) + 1, jnp.clip(x, -1, width) + 1
    top, left = jnp.clip(jnp.floor(y), 0, height), jnp.clip(jnp.floor(x), 0, width)
    down, right = y - top, x - left
    corner = (top * (width + 2) + left).astype(jnp.int32)
    taken = [padded[corner + offset] for offset in (0, 1, width + 2, width + 3)]
    return (1 - down) * ((1 - right) * taken[0] + right * taken[1]) + down * ((1 - right) * taken[2] + right * taken[3])
