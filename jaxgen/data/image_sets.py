"""Image classification sets: embedded digits, MNIST, Fashion-MNIST, CIFAR-10."""

import dataclasses
import difflib
import os
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxgen._core.checks import require
from jaxgen.data.readers import IMAGE_SET, POINT_TO_THE_DATA, check_images, read_cifar10, read_idx, read_npz

SHAPES = {"digits": (8, 8), "mnist": (28, 28), "fashion-mnist": (28, 28), "cifar10": (32, 32, 3)}
NUM_CLASSES = 10
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("x_train", "y_train", "x_test", "y_test"),
    meta_fields=("num_classes",),
)
@dataclasses.dataclass(frozen=True)
class Dataset:
    """A classification set, split in two; a pytree.

    Attributes:
        x_train: images, float32 in [0, 1], shape (N, *image).
        y_train: their labels, int32 in [0, num_classes), shape (N,).
        x_test: images of the test set.
        y_test: labels of the test set.
        num_classes: number of classes, static.
    """

    x_train: Float[Array, "n *image"]
    y_train: Int[Array, " n"]
    x_test: Float[Array, "m *image"]
    y_test: Int[Array, " m"]
    num_classes: int


def load(name: str, data_dir: str | Path | None = None, *, key: PRNGKeyArray | None = None) -> Dataset:
    """An image set by name, scaled to [0, 1].

    `"digits"` comes with the package: the 1797 images of 8 x 8 pixels that scikit-learn has (UCI, Optical Recognition of
    Handwritten Digits, Alpaydin and Kaynak 1998, CC BY 4.0), shuffled once and for all and split into 1347 for training
    and 450 for testing; not stratified, so that both are uniform samples of one pool. `"mnist"`, `"fashion-mnist"` (the
    four IDX files by their official names, gzipped or not) and `"cifar10"` (see `read_cifar10`) are read from the
    folder of that name in `data_dir`, or from `data_dir` itself.

    Args:
        name: `"digits"`, `"mnist"`, `"fashion-mnist"` or `"cifar10"`.
        data_dir: folder of the data; default the environment variable `JAXGEN_DATA_DIR`. Unused for digits.
        key: pools the training and the test set and splits them anew, uniformly at random, at the same sizes.

    Returns:
        Images float32 of shapes (N, 8, 8), (N, 28, 28) or (N, 32, 32, 3), labels int32 (N,).

    Raises:
        FileNotFoundError: if the data are not where they should be; says how to point to them.
        ValueError: if the name is unknown (the nearest known one is suggested), or a file is truncated, of another
            format, or has labels out of range.

    Example:
        >>> from jaxgen import data
        >>> digits = data.load("digits")
        >>> digits.x_train.shape, digits.x_test.shape, digits.num_classes
        ((1347, 8, 8), (450, 8, 8), 10)
    """
    if name not in SHAPES:
        nearest = difflib.get_close_matches(str(name).lower(), SHAPES, n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown data set {name!r}; did you mean {nearest!r}? Known are {', '.join(SHAPES)}")
    x_train, y_train, x_test, y_test = _read(name, data_dir)
    white = 16 if name == "digits" else 255
    x_train, x_test = (jnp.asarray(x.astype(np.float32) / np.float32(white)) for x in (x_train, x_test))
    y_train, y_test = (jnp.asarray(y.astype(np.int32)) for y in (y_train, y_test))
    if key is not None:
        order = jax.random.permutation(key, len(y_train) + len(y_test))
        x, y = jnp.concatenate([x_train, x_test])[order], jnp.concatenate([y_train, y_test])[order]
        (x_train, x_test), (y_train, y_test) = (jnp.split(a, [len(y_train)]) for a in (x, y))
    return Dataset(x_train, y_train, x_test, y_test, NUM_CLASSES)


def _read(name: str, data_dir: str | Path | None) -> tuple[np.ndarray, ...]:
    if name == "digits":
        arrays = read_npz(Path(__file__).with_name("digits.npz"), IMAGE_SET)
        return tuple(arrays[part] for part in IMAGE_SET)
    root = os.environ.get("JAXGEN_DATA_DIR") if data_dir is None else data_dir
    if not root:
        raise FileNotFoundError(f"{name} does not come with the package; {POINT_TO_THE_DATA}")
    root = Path(root)
    folder = root / name if (root / name).is_dir() else root
    others = set(SHAPES) - {name}
    require(folder.name not in others, f"{folder} is the folder of {folder.name}, not of {name}; {POINT_TO_THE_DATA}")
    if name == "cifar10":
        return read_cifar10(folder)
    paths = [_plain_or_gzipped(folder / file) for file in IDX_FILES]
    arrays = [read_idx(path, num_axes=axes) for path, axes in zip(paths, (3, 1, 3, 1), strict=True)]
    for i in (0, 2):
        check_images(f"{paths[i]} and {paths[i + 1].name}", arrays[i], arrays[i + 1], SHAPES[name], NUM_CLASSES)
    return tuple(arrays)


def _plain_or_gzipped(path: Path) -> Path:
    gzipped = path.with_name(f"{path.name}.gz")
    return path if path.is_file() and not gzipped.is_file() else gzipped
