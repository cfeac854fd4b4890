"""Readers of the files that image sets come in: IDX, the binary batches of CIFAR-10, and `.npz` without pickles."""

import gzip
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgen._core.checks import require

POINT_TO_THE_DATA = "give the folder that holds the data as data_dir (--data-dir), or set JAXGEN_DATA_DIR to it"
CIFAR10_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
CIFAR10_TEST = "test_batch.bin"
IMAGE_SET = ("x_train", "y_train", "x_test", "y_test")


def read_idx(path: str | Path, *, num_axes: int | None = None) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, the format of MNIST, gzipped or plain.

    The file is the magic number 0x000008kk (kk axes), one big-endian 32-bit length for each axis, and the raw bytes.

    Args:
        path: the file; whether it is gzipped is seen from its content.
        num_axes: number of axes that the file must have, 3 for images and 1 for labels; any if None.

    Returns:
        uint8, in the file's shape.

    Raises:
        FileNotFoundError: if there is no such file; says how to point to the data.
        ValueError: if the file is truncated, has another magic number, another number of axes, or trailing bytes; names
            the file, what was expected, and what was found.
    """
    path = Path(path)
    content = _content(path)
    magic = content[:4]
    expected = f"0x000008{num_axes:02x}" if num_axes is not None else "0x000008kk with kk >= 1"
    fits = len(magic) == 4 and magic[:3] == b"\x00\x00\x08" and magic[3] == (num_axes or magic[3]) and magic[3] >= 1
    require(fits, f"{path} is no IDX file of unsigned bytes as asked for: expected magic number {expected}, found 0x{magic.hex()}")
    start = 4 + 4 * magic[3]
    require(len(content) >= start, f"{path} is truncated: expected a header of {start} bytes, found {len(content)} bytes")
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", count=magic[3], offset=4))
    size = start + math.prod(shape)
    what = "is truncated" if len(content) < size else "has trailing bytes"
    require(len(content) == size, f"{path} {what}: expected {size} bytes for shape {shape}, found {len(content)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_npz(path: str | Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name; nothing is ever unpickled.

    Args:
        path: the file.
        names: arrays that must be there, and the only ones that are read; all of the file if None.

    Returns:
        A dictionary from names to arrays.

    Raises:
        FileNotFoundError: if there is no such file; says how to point to the data.
        ValueError: if the file is no whole `.npz` file, holds pickled objects among what is read, or lacks one of `names`.
    """
    path = _existing(Path(path))
    require(zipfile.is_zipfile(path), f"{path} is no .npz file: expected a zip archive of arrays; pickled files are never loaded")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = file.files
            missing = [name for name in names or () if name not in found]
            arrays = {} if missing else {name: file[name] for name in names or found}
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise ValueError(f"{path} holds pickled objects, which are never loaded: expected arrays of numbers") from error
        raise ValueError(f"{path} is damaged: expected a whole .npz file, found {error}") from error
    require(not missing, f"{path}: expected arrays {', '.join(names or ())}; missing {', '.join(missing)}, found {', '.join(found)}")
    others = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    require(not others, f"{path}: expected arrays only, found other content in {', '.join(others)}")
    return arrays


def read_cifar10(folder: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """CIFAR-10 from its official binary batches, or from one `.npz` file with x_train, y_train, x_test, y_test.

    A record of a binary batch is the label's byte and 3072 bytes of red, green and blue planes. The batches
    `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` may also lie in `cifar-10-batches-bin` below `folder`.

    Args:
        folder: where the files are.

    Returns:
        `(x_train, y_train, x_test, y_test)`: images uint8 (N, 32, 32, 3) and labels (N,).

    Raises:
        FileNotFoundError: if neither form is there, or some batches are missing; says how to point to the data.
        ValueError: if a batch is no whole number of records, or a label is not in 0, ..., 9, or the `.npz` file is not as
            described or not the only one.
    """
    folder = Path(folder)
    for place in (folder, folder / "cifar-10-batches-bin"):
        if any((place / name).exists() for name in (*CIFAR10_TRAIN, CIFAR10_TEST)):
            train = [_read_cifar10_batch(place / name) for name in CIFAR10_TRAIN]
            x_train, y_train = (np.concatenate(parts) for parts in zip(*train, strict=True))
            return x_train, y_train, *_read_cifar10_batch(place / CIFAR10_TEST)
    archives = sorted(folder.glob("*.npz"))
    require(len(archives) <= 1, f"{folder}: expected one .npz file, found {', '.join(path.name for path in archives)}")
    if not archives:
        raise FileNotFoundError(f"neither {CIFAR10_TRAIN[0]} nor an .npz file in {folder}; {POINT_TO_THE_DATA}")
    arrays = read_npz(archives[0], IMAGE_SET)
    for x, y in (IMAGE_SET[:2], IMAGE_SET[2:]):
        check_images(f"{archives[0]}, {x} and {y}", arrays[x], arrays[y], (32, 32, 3), 10)
    return arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]


def check_images(source: str, images: np.ndarray, labels: np.ndarray, shape: tuple[int, ...], num_classes: int) -> None:
    """Raises `ValueError` unless images are uint8 (N, *shape), N >= 1, and labels are N integers in [0, num_classes)."""
    require(
        images.dtype == np.uint8 and images.shape[1:] == shape and len(images) > 0,
        f"{source}: expected images uint8 (N, {', '.join(map(str, shape))}), N >= 1, found {images.dtype} {images.shape}",
    )
    require(
        np.issubdtype(labels.dtype, np.integer) and labels.shape == images.shape[:1],
        f"{source}: expected integer labels of shape {images.shape[:1]}, one an image, found {labels.dtype} {labels.shape}",
    )
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    require(wrong.size == 0, f"{source}: expected labels in [0, {num_classes}), found {wrong[:1]}")


def _read_cifar10_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = np.frombuffer(_content(path), np.uint8)
    record = 1 + 3 * 32 * 32
    require(content.size % record == 0, f"{path}: expected a whole number of records of {record} bytes, found {content.size} bytes")
    records = content.reshape(-1, record)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    check_images(str(path), images, records[:, 0], (32, 32, 3), 10)
    return images, records[:, 0]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; {POINT_TO_THE_DATA}")
    return path


def _content(path: Path) -> bytes:
    content = _existing(path).read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged: expected a whole gzip file, found {error}") from error
