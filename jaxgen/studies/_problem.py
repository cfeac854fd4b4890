"""The learning problem of a study: a pool of images, how seeds draw their training sets from it, and the population."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

from jaxgen import data, models
from jaxgen.data import Dataset

Loss = Callable[[PyTree, PyTree], Array]


class Setup(NamedTuple):
    """What a study is run on.

    Attributes:
        dataset: images and labels.
        data_name: name of the data set, which chooses the net.
        num_seeds: K.
        key: the only source of randomness.
        folder: where checkpoints go; none are kept without it.
        progress: told what is being computed.
    """

    dataset: Dataset
    data_name: str
    num_seeds: int
    key: Key[Array, ""]
    folder: Path | None = None
    progress: Callable[[str], None] = lambda part: None

    def part(self, name: str) -> "Setup":
        """The set-up of one part of the study, announced, with a folder of its own."""
        self.progress(name)
        return self._replace(folder=self.checkpoint(name))

    def checkpoint(self, name: str) -> Path | None:
        """Where the checkpoint of that name goes, if anywhere."""
        return None if self.folder is None else self.folder / name


@dataclasses.dataclass(frozen=True)
class Problem:
    """Training sets of K seeds, each an exact and independent draw from one population.

    An example is an image with its label, or, with probability `label_noise`, with a uniformly random label. Where K
    disjoint sets fit into the training images they are used, and the population is the data set's, seen through its test
    images. Where they do not, every set is drawn from all images *with* replacement, and the population's images are the
    uniform law on those: smaller than handwriting at large, but draws are independent and the population risk is exact.
    The label noise is averaged out of the population risk either way: its labels are probabilities.

    Attributes:
        pool: images, labels and, where sets are disjoint, their indices and the test set; shared by all seeds.
        n: size of a training set.
        label_noise: probability of a random label.
        num_classes: number of classes C.
    """

    pool: PyTree
    n: int
    label_noise: float
    num_classes: int

    @property
    def population(self) -> str:
        """What the population is, in a sentence."""
        if "test" in self.pool:
            return "the data set's law: training sets are disjoint, the population risk is the test set's"
        return f"the uniform law on {len(self.pool['y'])} images: training sets are drawn from it with replacement, its risk is exact"

    def sample(self, key: Key[Array, ""], pool: PyTree, k: Array) -> tuple[PyTree, PyTree]:
        """Training set and population of seed k; labels `p` are probabilities, `unseen` marks images it does not train on."""
        rows_key, noise_key, label_key = jax.random.split(key, 3)
        rows = pool["subsets"][k] if "subsets" in pool else jax.random.randint(rows_key, (self.n,), 0, len(pool["y"]))
        noisy = jax.random.bernoulli(noise_key, self.label_noise, (self.n,))
        labels = jnp.where(noisy, jax.random.randint(label_key, (self.n,), 0, self.num_classes), pool["y"][rows])
        train = {"x": pool["x"][rows], "p": jax.nn.one_hot(labels, self.num_classes)}
        if "test" in pool:
            x, y, unseen = pool["test"]["x"], pool["test"]["y"], jnp.ones(len(pool["test"]["y"]))
        else:
            x, y = pool["x"], pool["y"]
            unseen = jnp.ones(len(y)).at[rows].set(0)
        channel = (1 - self.label_noise) * jax.nn.one_hot(y, self.num_classes) + self.label_noise / self.num_classes
        return train, {"x": x, "p": channel, "unseen": unseen}


def make(dataset: Dataset, key: Key[Array, ""], *, n: int, num_seeds: int, label_noise: float) -> Problem:
    """The problem of K training sets of n images.

    Args:
        dataset: from `jaxgen.data.load`.
        key: draws the disjoint subsets.
        n: size of a training set.
        num_seeds: K.
        label_noise: probability that an example's label is a random one.
    """
    if num_seeds * n <= len(dataset.y_train):
        subsets = data.subsets(key, len(dataset.y_train), n, num_seeds, mode="disjoint")
        test = {"x": dataset.x_test, "y": dataset.y_test}
        pool = {"x": dataset.x_train, "y": dataset.y_train, "subsets": subsets.indices, "test": test}
    else:
        pool = {"x": jnp.concatenate([dataset.x_train, dataset.x_test]), "y": jnp.concatenate([dataset.y_train, dataset.y_test])}
    return Problem(pool, n, label_noise, dataset.num_classes)


def losses(apply: Callable[[PyTree, Array], Array]) -> tuple[Loss, Loss]:
    """Cross-entropy to train with and zero-one loss to evaluate, both in expectation over the labels of `Problem.sample`."""

    def cross_entropy(params, batch):
        return optax.losses.softmax_cross_entropy(apply(params, batch["x"]), batch["p"])

    def zero_one(params, batch):
        predicted = jnp.argmax(apply(params, batch["x"]), axis=1)
        return 1 - jnp.take_along_axis(batch["p"], predicted[:, None], axis=1)[:, 0]

    return cross_entropy, zero_one


def unseen_gap(eval_loss_fn: Loss, params: PyTree, train: PyTree, population: PyTree) -> Array:
    """Risk on the images outside the training set minus risk on the training set."""
    weights = population["unseen"]
    return jnp.sum(weights * eval_loss_fn(params, population)) / weights.sum() - eval_loss_fn(params, train).mean()


def network(data_name: str, width: int, num_classes: int) -> models.Model:
    """One hidden layer of the given width, or for coloured images a small convolutional net with up to half as many channels."""
    if data_name == "cifar10":
        return models.cnn((width // 4, width // 2), num_classes)
    return models.mlp((width, num_classes))
