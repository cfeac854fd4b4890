"""Image sets and the files they are read from."""

import gzip
import pickle
import struct
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxgen import data
from jaxgen.data.image_sets import IDX_FILES

pytestmark = pytest.mark.any_precision


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _idx(array, magic=None):
    head = bytes([0, 0, 8, array.ndim]) if magic is None else magic
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _images(rng, n, shape):
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


def _write_mnist(folder, rng, *, gzipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (*_images(rng, 7, (28, 28)), *_images(rng, 3, (28, 28)))
    for name, array in zip(IDX_FILES, arrays, strict=True):
        (folder / (f"{name}.gz" if gzipped else name)).write_bytes(gzip.compress(_idx(array)) if gzipped else _idx(array))
    return arrays


def _write_cifar10(folder, rng):
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_images(rng, 2, (32, 32, 3)) for _ in range(6)]
    for name, (x, y) in zip([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"], parts, strict=True):
        planes = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
        (folder / name).write_bytes(np.concatenate([y[:, None], planes], axis=1).tobytes())
    x_train, y_train = (np.concatenate([part[i] for part in parts[:5]]) for i in (0, 1))
    return x_train, y_train, *parts[5]


def _agrees(dataset, arrays):
    for name, array in zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=True):
        found = getattr(dataset, name)
        image = name.startswith("x")
        assert found.dtype == (jnp.float32 if image else jnp.int32)
        np.testing.assert_array_equal(found, array / np.float32(255) if image else array)


def test_digits_are_those_of_scikit_learn_in_the_documented_order():
    digits, original = data.load("digits"), load_digits()
    order = np.random.default_rng(0).permutation(1797)
    np.testing.assert_array_equal(jnp.concatenate([digits.x_train, digits.x_test]) * 16, original.images[order])
    np.testing.assert_array_equal(jnp.concatenate([digits.y_train, digits.y_test]), original.target[order])
    assert (digits.x_train.shape, digits.x_test.shape, digits.num_classes) == ((1347, 8, 8), (450, 8, 8), 10)
    assert (digits.x_train.dtype, digits.y_train.dtype) == (jnp.float32, jnp.int32)
    assert (float(digits.x_train.min()), float(digits.x_train.max())) == (0.0, 1.0)


@pytest.mark.float64
def test_images_stay_float32_and_labels_int32_in_double_precision():
    digits = data.load("digits")
    assert (digits.x_train.dtype, digits.y_train.dtype) == (jnp.float32, jnp.int32)


def test_a_key_pools_the_digits_and_splits_them_anew(key):
    fixed, fresh, other = data.load("digits"), data.load("digits", key=key), data.load("digits", key=jax.random.key(1))
    assert fresh.x_train.shape == fixed.x_train.shape
    assert fresh.x_test.shape == fixed.x_test.shape

    def rows(dataset):
        pooled = np.concatenate(
            [np.column_stack([x.reshape(len(x), -1), y]) for x, y in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test))]
        )
        return pooled, pooled[np.lexsort(pooled.T)]

    np.testing.assert_array_equal(rows(fresh)[1], rows(fixed)[1])
    np.testing.assert_array_equal(rows(fresh)[0], rows(data.load("digits", key=key))[0])
    assert (rows(fresh)[0] != rows(other)[0]).any()


def test_a_dataset_passes_through_jit():
    digits = data.load("digits")
    halved = jax.jit(lambda d: jax.tree.map(lambda a: a[:10], d))(digits)
    assert halved.x_train.shape == (10, 8, 8)
    assert halved.num_classes == 10


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("gzipped", [True, False])
def test_idx_sets_load_from_a_folder_of_their_name_or_the_folder_itself(tmp_path, rng, name, gzipped):
    arrays = _write_mnist(tmp_path / name, rng, gzipped=gzipped)
    _agrees(data.load(name, tmp_path), arrays)
    _agrees(data.load(name, tmp_path / name), arrays)


def test_the_environment_variable_is_the_default_folder(tmp_path, rng, monkeypatch):
    monkeypatch.setenv("JAXGEN_DATA_DIR", str(tmp_path))
    arrays = _write_mnist(tmp_path / "mnist", rng)
    _agrees(data.load("mnist"), arrays)


@pytest.mark.parametrize("place", [".", "cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_cifar10_loads_from_binary_batches(tmp_path, rng, place):
    arrays = _write_cifar10(tmp_path / place, rng)
    _agrees(data.load("cifar10", tmp_path), arrays)


def test_cifar10_loads_from_an_npz_file(tmp_path, rng):
    x_train, y_train = _images(rng, 4, (32, 32, 3))
    x_test, y_test = _images(rng, 2, (32, 32, 3))
    np.savez(tmp_path / "small.npz", x_train=x_train, y_train=y_train.astype(np.int64), x_test=x_test, y_test=y_test, class_names=["cat"])
    _agrees(data.load("cifar10", tmp_path), (x_train, y_train, x_test, y_test))


@pytest.mark.parametrize(("name", "nearest"), [("mnits", "'mnist'"), ("fashion_mnist", "'fashion-mnist'"), ("CIFAR-10", "'cifar10'"), ("zzz", "")])
def test_an_unknown_set_is_answered_with_the_known_ones_and_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"unknown data set '{name}'; did you mean {nearest}.*Known are digits, mnist, fashion-mnist, cifar10"):
        data.load(name)


def test_missing_data_say_how_to_point_to_them(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXGEN_DATA_DIR", raising=False)
    how = "data_dir .*or set JAXGEN_DATA_DIR"
    with pytest.raises(FileNotFoundError, match=f"mnist does not come with the package; .*{how}"):
        data.load("mnist")
    with pytest.raises(FileNotFoundError, match=f"train-images-idx3-ubyte.gz; .*{how}"):
        data.load("mnist", tmp_path)
    with pytest.raises(FileNotFoundError, match=f"neither data_batch_1.bin nor an .npz file .*{how}"):
        data.load("cifar10", tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data.read_npz(tmp_path / "nowhere.npz")


def test_a_missing_cifar10_batch_is_named(tmp_path, rng):
    _write_cifar10(tmp_path, rng)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_4\.bin"):
        data.load("cifar10", tmp_path)


def test_the_folder_of_another_set_is_refused(tmp_path, rng):
    _write_mnist(tmp_path / "fashion-mnist", rng)
    with pytest.raises(ValueError, match="is the folder of fashion-mnist, not of mnist"):
        data.load("mnist", tmp_path / "fashion-mnist")


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (0, 5)])
@pytest.mark.parametrize("compress", [gzip.compress, bytes])
def test_read_idx_returns_what_was_written(tmp_path, shape, compress):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = tmp_path / "file"
    path.write_bytes(compress(_idx(array)))
    np.testing.assert_array_equal(data.read_idx(path), array)
    np.testing.assert_array_equal(data.read_idx(path, num_axes=len(shape)), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected magic number 0x00000801, found 0x$"),
        (_idx(np.zeros(4, np.uint8), magic=b"\x00\x00\x0d\x01"), "expected magic number 0x00000801, found 0x00000d01"),
        (_idx(np.zeros((2, 2), np.uint8)), "expected magic number 0x00000801, found 0x00000802"),
        (b"\x00\x00\x08\x01\x00", "is truncated: expected a header of 8 bytes, found 5"),
        (_idx(np.zeros(4, np.uint8))[:-1], r"is truncated: expected 12 bytes for shape \(4,\), found 11"),
        (_idx(np.zeros(4, np.uint8)) + b"x", r"has trailing bytes: expected 12 bytes for shape \(4,\), found 13"),
        (gzip.compress(_idx(np.zeros(4, np.uint8)))[:-9], "is truncated or damaged: expected a whole gzip file"),
        (gzip.compress(_idx(np.zeros(4, np.uint8)) + b"x"), "has trailing bytes: expected 12 bytes"),
    ],
    ids=["empty", "magic of doubles", "two axes", "cut header", "cut data", "trailing", "cut gzip", "trailing in gzip"],
)
def test_a_wrong_idx_file_is_refused_with_what_was_expected_and_found(tmp_path, content, message):
    path = tmp_path / "labels-idx1-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"labels-idx1-ubyte.gz .*{message}"):
        data.read_idx(path, num_axes=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: (a[0], np.full(7, 10, np.uint8), *a[2:]), r"train-labels.*expected labels in \[0, 10\), found \[10\]"),
        (lambda a: (a[0], a[1][:-1], *a[2:]), r"expected integer labels of shape \(7,\), one an image, found uint8 \(6,\)"),
        (lambda a: (a[0][:, :14], *a[1:]), r"expected images uint8 \(N, 28, 28\), N >= 1, found uint8 \(7, 14, 28\)"),
        (lambda a: (a[0][:0], a[1][:0], *a[2:]), r"N >= 1, found uint8 \(0, 28, 28\)"),
    ],
    ids=["label out of range", "too few labels", "wrong size", "empty"],
)
def test_images_and_labels_that_do_not_fit_are_refused(tmp_path, rng, change, message):
    for name, array in zip(IDX_FILES, change(_write_mnist(tmp_path, rng)), strict=True):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(_idx(array)))
    with pytest.raises(ValueError, match=message):
        data.load("mnist", tmp_path)


def test_a_cifar10_batch_must_be_whole_and_its_labels_in_range(tmp_path, rng):
    _write_cifar10(tmp_path, rng)
    path = tmp_path / "data_batch_2.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"data_batch_2.bin: expected a whole number of records of 3073 bytes, found 6145 bytes"):
        data.read_cifar10(tmp_path)
    path.write_bytes(b"\x0b" + whole[1:])
    with pytest.raises(ValueError, match=r"data_batch_2.bin: expected labels in \[0, 10\), found \[11\]"):
        data.read_cifar10(tmp_path)


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, x_train=np.array([{"a": 1}], dtype=object), fine=np.arange(3))
    with pytest.raises(ValueError, match=r"objects.npz holds pickled objects, which are never loaded"):
        data.read_npz(path)
    np.testing.assert_array_equal(data.read_npz(path, ["fine"])["fine"], np.arange(3))


def test_a_plain_pickle_or_a_damaged_archive_is_no_npz_file(tmp_path):
    pickled = tmp_path / "pickle.npz"
    pickled.write_bytes(pickle.dumps({"x_train": [1]}))
    with pytest.raises(ValueError, match=r"pickle\.npz is no \.npz file"):
        data.read_npz(pickled)
    damaged = tmp_path / "damaged.npz"
    np.savez_compressed(damaged, x=np.arange(1000))
    content = bytearray(damaged.read_bytes())
    content[60:200] = bytes(140)
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.npz is damaged"):
        data.read_npz(damaged)


def test_an_archive_of_something_else_is_refused_by_name(tmp_path):
    path = tmp_path / "a.npz"
    for name, content, message in (("note", b"hello", "found other content in note"), ("x.npy", b"\x93NUMPY\x01\x00\x04\x00oops", "is damaged")):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(name, content)
        with pytest.raises(ValueError, match=rf"a\.npz.* {message}"):
            data.read_npz(path)


def test_an_npz_file_must_hold_the_arrays_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros(3))
    with pytest.raises(ValueError, match=r"a.npz: expected arrays x_train, y_train, x_test, y_test; missing y_train, x_test, y_test, found x_train"):
        data.read_cifar10(tmp_path)
    np.savez(tmp_path / "b.npz", x_train=np.zeros(3))
    with pytest.raises(ValueError, match=r"expected one .npz file, found a.npz, b.npz"):
        data.read_cifar10(tmp_path)


def test_npz_images_must_be_bytes(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros((2, 32, 32, 3)), y_train=np.zeros(2, int), x_test=np.zeros(1), y_test=np.zeros(1))
    with pytest.raises(ValueError, match=r"x_train and y_train: expected images uint8 \(N, 32, 32, 3\), N >= 1, found float64"):
        data.load("cifar10", tmp_path)
