"""Nets that a prior is learned with: trained by steps of a fixed number on distorted images, and averaged."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxgen import data, processes
from jaxgen._core.scan import iterate


class FeatureNet(nn.Module):
    """Two convolutions with pooling and a dense layer; `features` are what the last layer takes."""

    channels: Sequence[int]
    num_outputs: int
    window: int = 5
    padding: str = "VALID"
    dropout: float = 0.3

    def setup(self) -> None:
        """The layers."""
        window, he = (self.window, self.window), nn.initializers.he_normal()
        self.convolutions = [nn.Conv(width, window, padding=self.padding, kernel_init=he) for width in self.channels[:2]]
        self.hidden = nn.Dense(self.channels[2], kernel_init=he)
        self.last = nn.Dense(self.num_outputs, kernel_init=nn.initializers.normal(0.1 * (2 / self.channels[2]) ** 0.5))
        self.drop = nn.Dropout(self.dropout)

    def features(self, x: Float[Array, "n h w"], *, train: bool = False) -> Float[Array, "n f"]:
        """Inputs of the last layer."""
        x = x[..., None]
        for convolution in self.convolutions:
            x = nn.relu(_pooled(convolution(x)))
        x = self.drop(x.reshape(len(x), -1), deterministic=not train)
        return nn.relu(self.hidden(x))

    def __call__(self, x: Float[Array, "n h w"], *, train: bool = False) -> Float[Array, "n c"]:
        """Logits."""
        return self.last(self.features(x, train=train))


def _pooled(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """The largest of every two by two; on a CPU faster, with its gradient, than a window's reduction."""
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    rows = jnp.maximum(x[:, 0:height:2], x[:, 1:height:2])
    return jnp.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


def train(key: Key[Array, ""], net: FeatureNet, x: Float[Array, "n h w"], y: Int[Array, " n"], settings: dict[str, Any]) -> PyTree:
    """Parameters of a net trained on distorted images with smoothed labels, averaged over the last steps.

    Args:
        key: of the start, batches, distortions and dropout.
        net: the net.
        x: images.
        y: labels.
        settings: `num_epochs`, `batch_size`, `learning_rate`, `weight_decay`, `smoothing`, `averaging`, `distortions`.
    """
    init_key, batch_key, step_key = jax.random.split(key, 3)
    batch_size = min(settings["batch_size"], len(y))
    num_steps = settings["num_epochs"] * (len(y) // batch_size)
    batches = processes.batch_indices(batch_key, len(y), batch_size, num_steps)
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings["learning_rate"], max(1, num_steps // 20), num_steps, 1e-5)
    optimizer = optax.adamw(schedule, weight_decay=settings["weight_decay"])

    def loss(params: PyTree, x: Array, y: Array, key: Array) -> Array:
        distortion_key, dropout_key = jax.random.split(key)
        logits = net.apply(params, data.distort_images(distortion_key, x, **settings["distortions"]), train=True, rngs={"dropout": dropout_key})
        targets = optax.smooth_labels(jax.nn.one_hot(y, net.num_outputs), settings["smoothing"])
        return optax.losses.softmax_cross_entropy(logits, targets).mean()  # type: ignore[arg-type]

    def step(state: Any, t: Any) -> tuple[Any, None]:
        params, averaged, moments, (x, y, batches) = state
        rows = batches[t]
        gradient = jax.grad(loss)(params, x[rows], y[rows], jax.random.fold_in(step_key, t))
        updates, moments = optimizer.update(gradient, moments, params)
        params = optax.apply_updates(params, updates)
        averaged = optax.incremental_update(params, averaged, 1 - settings["averaging"])
        return (params, averaged, moments, (x, y, batches)), None

    params = net.init(init_key, x[:1])
    (_, averaged, _, _), _ = iterate(step, (params, params, optimizer.init(params), (x, y, batches)), num_steps)
    return averaged
