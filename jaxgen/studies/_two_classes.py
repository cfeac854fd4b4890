"""Images of norm one, and problems of two classes made of them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen._core.checks import require
from jaxgen.data import Dataset


class TwoClasses(NamedTuple):
    """Images of two classes with labels -1 and 1; made by `two_classes`."""

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    x_test: Float[Array, "m d"]
    y_test: Float[Array, " m"]


def unit(x: Float[Array, "n ..."]) -> Float[Array, "n d"]:
    """Examples as rows of norm one."""
    x = x.reshape(len(x), -1)
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def two_classes(dataset: Dataset, classes: tuple[int, int] | list[int]) -> TwoClasses:
    """The images of two classes about the mean of the training images, as rows of norm one; labels are -1 and 1.

    About the mean, since all images point much the same way otherwise, and a net must be far wider to have its limiting kernel.
    """
    require(len(set(classes)) == 2, f"classes must be two different labels; got {classes}")

    train, test = (np.flatnonzero(np.isin(np.asarray(y), classes)) for y in (dataset.y_train, dataset.y_test))
    centre = dataset.x_train[train].mean(axis=0)

    def part(x: Array, y: Array, kept: np.ndarray) -> tuple[Array, Array]:
        return unit(x[kept] - centre), jnp.where(y[kept] == classes[1], 1.0, -1.0).astype(x.dtype)

    return TwoClasses(*part(dataset.x_train, dataset.y_train, train), *part(dataset.x_test, dataset.y_test, test))
