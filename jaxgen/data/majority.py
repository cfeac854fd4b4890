"""The majority vote of fair bits: a learner whose gap and mutual information are known exactly."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from jaxgen._core.checks import positive_integer, require


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("n",))
@dataclasses.dataclass(frozen=True)
class MajorityVote:
    """n fair bits Z_i, W their majority, 0-1 loss 1[w != z] (INFO-11, INFO-15).

    Args:
        n: number of training bits, odd, so that there are no ties.

    Raises:
        ValueError: if n is even or below 1.
    """

    n: int

    def __post_init__(self):
        positive_integer("n", self.n)
        require(self.n % 2 == 1, f"n must be odd, so that a majority exists; got {self.n}")

    @property
    def generalization_gap(self) -> float:
        """E[L_mu(W) - L_S(W)] = 1/2 - E min(B, n - B)/n = C(n-1, (n-1)/2) / 2^n with B ~ Bin(n, 1/2): .5, .25, .1875, ..."""
        return math.comb(self.n - 1, (self.n - 1) // 2) / 2**self.n

    @property
    def mutual_information(self) -> float:
        """I(W;S) = H(W) = log 2 nats: W is a fair bit and a function of S."""
        return math.log(2)

    def sample(self, key: PRNGKeyArray, n: int | None = None) -> Int[Array, " n"]:
        """Fair bits, int32; `n` of them, default as many as there are in the training set."""
        return jax.random.bernoulli(key, 0.5, (self.n if n is None else positive_integer("n", n),)).astype(jnp.int32)

    def fit(self, bits: Int[Array, " n"]) -> Float[Array, ""]:
        """The majority of the training bits, 0.0 or 1.0."""
        require(jnp.shape(bits) == (self.n,), f"bits must have shape ({self.n},); got {jnp.shape(bits)}")
        return (2 * jnp.sum(bits) > self.n).astype(float)

    def loss_fn(self, params: Shaped[Array, ""], batch: Int[Array, " n"]) -> Float[Array, " n"]:
        """0-1 loss of each bit."""
        return (params != batch).astype(float)
