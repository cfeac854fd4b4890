"""Noisy gradient oracles with a scale: gradient plus sigma times noise, whose covariance does not depend on sigma."""

import abc
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optax
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen import gradients
from jaxgen._core.checks import checked, floating, leading_axis, positive_integer, require
from jaxgen.processes.batches import batch_indices

LossFn = Callable[[PyTree, PyTree], Array]
GradientFn = Callable[[PyTree], PyTree]
RootFn = Callable[[PyTree], lx.AbstractLinearOperator]


class GradientOracle(eqx.Module):
    """Draws g(x) = grad f(x) + sigma z with E z = 0 and Cov z = Sigma(x), whatever sigma is; z's law may depend on sigma.

    Made by `minibatch_oracle` and `gaussian_oracle`; functions are static and data leaves, so that an oracle may be an
    argument of `jit`.
    """

    noise_scale: eqx.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def sample(self, key: Key[Array, ""], params: PyTree) -> PyTree:
        """A draw of g at `params`."""

    @abc.abstractmethod
    def mean(self, params: PyTree) -> PyTree:
        """grad f at `params`."""

    @abc.abstractmethod
    def covariance(self, params: PyTree) -> lx.AbstractLinearOperator:
        """Sigma at `params`, the covariance of z; that of g is sigma^2 times it."""

    def noise(self, key: Key[Array, ""], params: PyTree) -> PyTree:
        """The z of the draw that `sample` makes of that key, (g - grad f) / sigma."""
        difference = optax.tree.sub(self.sample(key, params), self.mean(params))
        return jax.tree.map(lambda leaf: leaf / self.noise_scale.astype(leaf.dtype), difference)


class MinibatchOracle(GradientOracle):
    """Gradients of mini-batches; made by `minibatch_oracle`.

    Attributes:
        loss_fn: per-example loss, static.
        data: the n examples that batches are drawn from.
        noise_scale: sigma.
        batch_size: size of a batch, static.
        replacement: whether a batch may hold an example twice, static.
    """

    loss_fn: LossFn = eqx.field(static=True)
    data: PyTree
    noise_scale: Float[Array, ""]
    batch_size: int = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)

    def sample(self, key: Key[Array, ""], params: PyTree) -> PyTree:
        """The gradient of one batch."""
        mode = "iid" if self.replacement else "without_replacement"
        (rows,) = batch_indices(key, leading_axis("data", self.data), self.batch_size, 1, mode=mode)
        return gradients.value_and_gradient(self.loss_fn, params, jax.tree.map(lambda leaf: leaf[rows], self.data))[1]

    def mean(self, params: PyTree) -> PyTree:
        """The full-batch gradient."""
        return gradients.value_and_gradient(self.loss_fn, params, self.data)[1]

    def covariance(self, params: PyTree) -> gradients.NoiseCovariance:
        """Covariance of the gradients of single examples, `gradients.noise_covariance`."""
        return gradients.noise_covariance(self.loss_fn, params, self.data)


class GaussianOracle(GradientOracle):
    """A gradient with Gaussian noise; made by `gaussian_oracle`.

    Attributes:
        gradient_fn: gradient, static.
        covariance_root: a factor of the covariance, static.
        noise_scale: sigma.
    """

    gradient_fn: GradientFn = eqx.field(static=True)
    covariance_root: RootFn = eqx.field(static=True)
    noise_scale: Float[Array, ""]

    def sample(self, key: Key[Array, ""], params: PyTree) -> PyTree:
        """The gradient plus sigma R(x) e with e standard normal."""
        root = self.covariance_root(params)
        z = root.mv(optax.tree.random_like(key, optax.tree.zeros_like(root.in_structure())))
        return jax.tree.map(lambda g, noise: g + self.noise_scale.astype(noise.dtype) * noise, self.mean(params), z)

    def mean(self, params: PyTree) -> PyTree:
        """The gradient."""
        return self.gradient_fn(params)

    def covariance(self, params: PyTree) -> lx.AbstractLinearOperator:
        """R R^T."""
        root = self.covariance_root(params)
        return lx.TaggedLinearOperator(root @ root.transpose(), (lx.symmetric_tag, lx.positive_semidefinite_tag))


def minibatch_oracle(loss_fn: LossFn, data: PyTree, *, batch_size: int, replacement: bool = True) -> MinibatchOracle:
    """The mini-batch gradient as a noisy gradient oracle: sigma = 1 / sqrt(b), z = sqrt(b) (g - grad f).

    Sigma(x) is the covariance of the gradients of single examples. Batches without replacement have the same Sigma and
    sigma^2 = (n - b) / (b (n - 1)). The third moment of z is that of single examples times 1 / sqrt(b).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples; f is its mean over `data`.
        data: the training set, a pytree whose leaves have leading axis n >= 2.
        batch_size: b.
        replacement: whether a batch may hold an example twice.

    Returns:
        The oracle.

    Raises:
        ValueError: if n < 2, `batch_size` < 1, or `batch_size` >= n without replacement, where no noise is left.

    Source: Malladi, Lyu, Panigrahi and Arora 2022; spec SDE-3.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> loss_fn = lambda w, z: 0.5 * (w - z) ** 2
        >>> oracle = processes.minibatch_oracle(loss_fn, jnp.array([-6.0, 6.0, 0.0]), batch_size=4)
        >>> float(oracle.noise_scale), float(oracle.mean(2.0)), float(oracle.covariance(2.0).as_matrix()[0, 0])
        (0.5, 2.0, 24.0)
    """
    count = leading_axis("data", data)
    require(count >= 2, f"data must hold at least 2 examples; got {count}")
    batch_size = positive_integer("batch_size", batch_size)
    require(replacement or batch_size < count, f"batch_size must be below n = {count} without replacement, or no noise is left; got {batch_size}")
    variance = 1 / batch_size if replacement else (count - batch_size) / (batch_size * (count - 1))
    return MinibatchOracle(
        loss_fn=loss_fn,
        data=jax.tree.map(jnp.asarray, data),
        noise_scale=jnp.asarray(math.sqrt(variance)),
        batch_size=batch_size,
        replacement=replacement,
    )


def gaussian_oracle(gradient_fn: GradientFn, covariance_root: RootFn, noise_scale: ArrayLike) -> GaussianOracle:
    """The oracle g(x) = grad f(x) + sigma R(x) e with standard normal e, so that Sigma(x) = R(x) R(x)^T.

    Args:
        gradient_fn: x -> grad f(x), of the structure of x.
        covariance_root: x -> R(x), a `lineax` operator into the structure of x, from any other.
        noise_scale: sigma > 0, a scalar.

    Returns:
        The oracle.

    Raises:
        ValueError: if `noise_scale` is not a positive scalar (NaN results when traced).

    Source: Malladi, Lyu, Panigrahi and Arora 2022; spec SDE-3.

    Example:
        >>> import jax, jax.numpy as jnp, lineax as lx
        >>> from jaxgen import processes
        >>> oracle = processes.gaussian_oracle(lambda x: 2 * x, lambda x: lx.DiagonalLinearOperator(jnp.array([1.0, 3.0])), 0.1)
        >>> oracle.sample(jax.random.key(0), jnp.ones(2)).shape, jnp.diagonal(oracle.covariance(jnp.ones(2)).as_matrix()).tolist()
        ((2,), [1.0, 9.0])
    """
    scale = floating("noise_scale", noise_scale)
    require(scale.ndim == 0, f"noise_scale must be a scalar; got shape {scale.shape}")
    scale = checked(scale, (scale > 0, f"noise_scale must be positive; got {noise_scale}"))
    return GaussianOracle(gradient_fn=gradient_fn, covariance_root=covariance_root, noise_scale=scale)
