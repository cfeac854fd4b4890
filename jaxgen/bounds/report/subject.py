"""What a report is about: a trained net, its start, its data, and what several bounds need to know of it."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxgen import models
from jaxgen._core.checks import floating, leading_axis, require
from jaxgen.bounds.margins import margins
from jaxgen.bounds.norms import layer_norms

CHUNK = 2000
GAMMA_QUANTILE = 0.1


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much is spent on the rows that search or sample.

    Attributes:
        posterior_steps: steps of training a stochastic net around the given one.
        compression_steps: steps of training a compressed net.
        batch_size: of both.
        num_draws: draws an example of stochastic nets.
        num_probes: examples on which noise is tried that must not move outputs.
    """

    posterior_steps: int = 600
    compression_steps: int = 300
    batch_size: int = 500
    num_draws: int = 3
    num_probes: int = 500


@dataclasses.dataclass(frozen=True)
class Subject:
    """A net with its data; quantities are computed when first asked for.

    Attributes:
        apply_fn: the model.
        loss: that it was trained with.
        params: trained parameters.
        init_params: where training began, without sight of the data.
        train: (x, y).
        test: (x, y).
        key: PRNG key.
        budget: of rows that search or sample.
    """

    apply_fn: Callable[[PyTree, PyTree], Array]
    loss: Any
    params: PyTree
    init_params: PyTree
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    key: Key[Array, ""]
    budget: Budget

    @property
    def n(self) -> int:
        """Number of training examples."""
        return leading_axis("train", self.train)

    @property
    def num_parameters(self) -> int:
        """Number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    @property
    def bits(self) -> int:
        """Bits in which the parameters are stored."""
        return sum(8 * leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.params))

    @cached_property
    def _apply(self) -> Callable[[PyTree, Array], Array]:
        return jax.jit(self.apply_fn)

    def outputs(self, x: Array) -> Float[Array, "N C"]:
        """Outputs of the trained net, some examples at a time; one column for two classes."""
        parts = [self._apply(self.params, x[start : start + CHUNK]) for start in range(0, len(x), CHUNK)]
        return floating("outputs", jnp.concatenate(parts)).reshape(len(x), -1)

    @cached_property
    def train_outputs(self) -> Float[Array, "N C"]:
        """Outputs on the training examples."""
        return self.outputs(self.train[0])

    @cached_property
    def train_error(self) -> float:
        """Part of the training examples that the net is wrong on."""
        return float(models.zero_one(self.train_outputs, self.train[1]).mean())

    @cached_property
    def test_errors(self) -> Float[Array, " M"]:
        """Zero-one losses on the test examples."""
        return models.zero_one(self.outputs(self.test[0]), self.test[1])

    @property
    def num_outputs(self) -> int:
        """C, 1 for two classes told apart by a sign."""
        return self.train_outputs.shape[1]

    @cached_property
    def margins(self) -> Float[Array, " N"]:
        """Margins of the training examples."""
        return margins(self.train_outputs, self.train[1])

    @cached_property
    def gamma(self) -> float:
        """The margin that a tenth of the training examples do not exceed, which must be positive."""
        gamma = float(jnp.quantile(self.margins, GAMMA_QUANTILE))
        require(gamma > 0, f"a tenth of the training examples have no positive margin: the tenth percentile is {gamma:.3g}")
        return gamma

    @cached_property
    def margin_loss(self) -> float:
        """Part of the training examples whose margin is at most `gamma`."""
        return float(jnp.mean(self.margins <= self.gamma))

    @cached_property
    def layers(self) -> dict[str, Array]:
        """Norms of the layers and of their distances from the start; refused where there are parameters besides matrices."""
        return layer_norms(self.apply_fn, self.params, self.train[0][:1], self.init_params)

    def require_plain(self) -> None:
        """Refuses nets that norm bounds do not cover: with biases, or where weights are not matrices met once."""
        require(
            all(jnp.ndim(leaf) == 2 for leaf in jax.tree.leaves(self.params)),
            "the theorem is for nets of matrices alone; this one has biases, convolutions or normalization",
        )

    @cached_property
    def input_norms(self) -> Float[Array, " N"]:
        """Lengths of the training inputs."""
        return jnp.linalg.norm(self.train[0].reshape(self.n, -1), axis=1)

    @cached_property
    def distance(self) -> Float[Array, ""]:
        """Distance of the parameters from their start."""
        return optax.tree.norm(optax.tree.sub(self.params, self.init_params))


def subject(
    apply_fn: Callable[[PyTree, PyTree], Array],
    loss: Any,
    params: PyTree,
    init_params: PyTree,
    train: tuple[Array, Int[Array, " N"]],
    test: tuple[Array, Int[Array, " M"]],
    key: Key[Array, ""],
    budget: Budget,
) -> Subject:
    """The subject, with arguments that fit together.

    Raises:
        ValueError: if trees differ, a data set has fewer than two examples, or outputs and labels do not fit.
        TypeError: if labels are not integers.
    """
    left, right = jax.tree.map(jnp.shape, params), jax.tree.map(jnp.shape, init_params)
    require(left == right, f"params and init_params must have the same structure and shapes; got {left} and {right}")
    sizes = {name: leading_axis(name, part) for name, part in (("train", train), ("test", test))}
    for name, size in sizes.items():
        require(size >= 2, f"{name} must hold at least two examples; got {size}")
    params, init_params = (jax.tree.map(lambda leaf: floating("params", leaf), tree) for tree in (params, init_params))
    parts = [(jnp.asarray(x), jnp.asarray(y)) for x, y in (train, test)]
    models.loss_fn(apply_fn, "zero_one")(params, jax.tree.map(lambda leaf: leaf[:2], parts[0]))
    return Subject(apply_fn, loss, params, init_params, parts[0], parts[1], key, budget)
