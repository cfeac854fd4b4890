"""Noisy gradient oracles with a scale: gradient plus sigma times noise, whose covariance does not depend on sigma."""

import abc
import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen import gradients
from jaxgen._core.checks import checked, floating, leading_axis, positive_integer, require
from jaxgen._core.results import Estimate
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


class OracleConditions(NamedTuple):
    """What `oracle_conditions` found at each of X points.

    Attributes:
        third_moment: |E z^{(x)3}|_F^2, unbiased, so possibly negative, with its standard error.
        third_constant: sigma |E z^{(x)3}|_F, the smallest K(x) of condition (3), from `third_moment` cut at 0.
        moment_constants: E[|z|^{2m}]^{1/2m} / (1 + |x|) for m = 1, 2, ..., in the columns; C_{2m} of condition (4) bounds them.
    """

    third_moment: Estimate
    third_constant: Float[Array, " X"]
    moment_constants: Float[Array, "X m"]


def oracle_conditions(key: Key[Array, ""], oracle: GradientOracle, points: PyTree, *, num_draws: int = 1000, max_order: int = 3) -> OracleConditions:
    """Conditions (3) and (4) under which an equation is an order-1 weak approximation of SGD, looked at by sampling.

    (3): |E z^{(x)3}| <= K(x) / sigma, with K of polynomial growth; (4): E[|z|^{2m}]^{1/2m} <= C_{2m} (1 + |x|). Constants at
    some points prove neither; what shows that one fails is a constant that grows with sigma, or for (4) with |x|. The
    third moment is not formed: its squared norm is the mean of <z, z'>^3 over pairs of independent draws.

    Args:
        key: key of the draws, the same for all points.
        oracle: from `minibatch_oracle` or `gaussian_oracle`, or any other `GradientOracle`.
        points: X points, a pytree like the oracle's parameters with a leading axis X on every leaf.
        num_draws: draws of the noise a point, at least 2; their memory is that of as many parameters.
        max_order: largest m of condition (4).

    Returns:
        The constants.

    Raises:
        ValueError: if `num_draws` < 2, `max_order` < 1, or the leaves of `points` differ in leading axis.

    Source: Malladi, Lyu, Panigrahi and Arora 2022; Arora et al., Theory of Deep Learning, Theorem 12.3.4; spec SDE-12.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> oracle = processes.minibatch_oracle(lambda w, z: w * z, jnp.array([2.0, 0.0, 0.0, 0.0]), batch_size=1)
        >>> found = processes.oracle_conditions(jax.random.key(0), oracle, jnp.array([0.0]), num_draws=4000)
        >>> abs(found.third_constant.item() - 0.75) < 0.1
        True
    """
    num_draws = positive_integer("num_draws", num_draws, at_least=2)
    orders = jnp.arange(1, positive_integer("max_order", max_order) + 1)
    leading_axis("points", points)
    keys = jax.random.split(key, num_draws)

    def at_point(point):
        draws = jax.vmap(lambda key: ravel_pytree(oracle.noise(key, point))[0])(keys)
        products = jnp.matmul(draws, draws.T, precision=jax.lax.Precision.HIGHEST)
        cubes = jnp.where(jnp.eye(num_draws, dtype=bool), 0, products**3)
        rows = cubes.sum(axis=1) / (num_draws - 1)
        third = Estimate(rows.mean(), 2 * rows.std(ddof=1) / math.sqrt(num_draws))
        norms = jnp.sqrt(jnp.diagonal(products))
        largest = norms.max()
        scaled = jnp.mean((norms / jnp.where(largest > 0, largest, 1)) ** (2 * orders[:, None]), axis=1) ** (1 / (2 * orders))
        constant = oracle.noise_scale.astype(rows.dtype) * jnp.sqrt(jnp.maximum(third.value, 0))
        return OracleConditions(third, constant, largest * scaled / (1 + optax.tree.norm(point)))

    return jax.lax.map(at_point, jax.tree.map(lambda leaf: floating("points", leaf), points))
