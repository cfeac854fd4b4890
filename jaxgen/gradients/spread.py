"""Variances of the gradient at fixed parameters: over examples, over mini-batches, about the population's gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxgen import structure
from jaxgen._core.checks import leading_axis, positive_integer, require
from jaxgen.gradients.examples import check_chunks, split_chunks
from jaxgen.gradients.risks import LossFn, value_and_gradient


def dispersion(loss_fn: LossFn, params: PyTree, batch: PyTree, *, method: str = "auto", chunk_size: int | None = None) -> Float[Array, ""]:
    """Trace of the per-example gradient covariance, (1/N) sum_i |g_i - mean g|^2.

    Not the dispersion of Wang and Mao's theorem, which is over training sets (`seed_dispersion`).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        batch: examples, a pytree whose leaves have leading axis N.
        method: as in `per_example`.
        chunk_size: examples taken at a time, which bounds memory. Default: all.

    Returns:
        tr Sigma(w), with the normalisation 1/N.

    Raises:
        ValueError: as `squared_norms`.
        TypeError: if a leaf of `params` is not real.

    Source: spec INFO-22, SDE-2. Cost: a little more than one gradient of the batch. What it is a sum of is centred before it
    is squared, so that a mean gradient far above the spread costs no digits.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> loss_fn = lambda w, z: 0.5 * jnp.sum((w - z) ** 2, axis=-1)
        >>> float(gradients.dispersion(loss_fn, jnp.zeros(2), jnp.array([[1.0, 0.0], [3.0, 0.0]])))
        1.0
    """
    return _dispersion(loss_fn, params, batch, method=method, chunk_size=chunk_size)


@partial(jax.jit, static_argnums=0, static_argnames=("method", "chunk_size"))
def _dispersion(loss_fn, params, batch, *, method, chunk_size):
    check_chunks(loss_fn, params, batch, chunk_size)
    batch, count = jax.tree.map(jnp.asarray, batch), leading_axis("batch", batch)

    def moments(part):
        return structure.factorize(loss_fn, params, part, method=method).moments()

    if chunk_size is None or chunk_size >= count:
        return moments(batch)[1]
    chunks, rest = split_chunks(batch, chunk_size)

    def merge(seen, part):
        """Mean and squares about it of what was seen with a chunk more."""
        size = jnp.asarray(leading_axis("batch", part), seen[2].dtype)
        mean, spread = moments(part)
        share = size / (seen[0] + size)
        step = jax.tree.map(lambda new, old: new - old, mean, seen[1])
        squares = seen[2] + size * spread + seen[0] * share * optax.tree.norm(step, squared=True)
        return (seen[0] + size, jax.tree.map(lambda old, change: old + share * change, seen[1], step), squares)

    shapes = jax.eval_shape(moments, jax.tree.map(lambda leaf: leaf[0], chunks))
    start = optax.tree.zeros_like((shapes[1], shapes[0], shapes[1]))
    seen, _ = jax.lax.scan(lambda seen, part: (merge(seen, part), None), start, chunks)
    return (seen if rest is None else merge(seen, rest))[2] / count


def batch_gradient_variance(
    loss_fn: LossFn, params: PyTree, data: PyTree, *, batch_size: int, replacement: bool = False, chunk_size: int | None = None
) -> Float[Array, ""]:
    """Variance of the mini-batch gradient given the training set, tr Var(g(w, B) | S, w).

    With replacement tr Sigma / b; without, tr Sigma (n - b) / (b (n - 1)). Its centre is the *empirical* gradient: in a
    bound on the generalization gap it may not stand for Neu's variance, whose centre is the population's (`neu_variance`).

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        data: the training set S, a pytree whose leaves have leading axis n >= 2.
        batch_size: b.
        replacement: whether a batch may hold an example twice. Batches of an epoch do not.
        chunk_size: examples taken at a time, which bounds memory to chunk_size P. Default: all.

    Returns:
        The variance, summed over parameters.

    Raises:
        ValueError: if n < 2, `batch_size` < 1, or `batch_size` > n without replacement; otherwise as `dispersion`.

    Source: spec INFO-22, SDE-2.
    """
    count = leading_axis("data", data)
    require(count >= 2, f"data must hold at least 2 examples; got {count}")
    batch_size = positive_integer("batch_size", batch_size)
    require(replacement or batch_size <= count, f"batch_size must be at most n = {count} without replacement; got {batch_size}")
    correction = 1.0 if replacement else (count - batch_size) / (count - 1)
    return dispersion(loss_fn, params, data, chunk_size=chunk_size) * (correction / batch_size)


def neu_variance(loss_fn: LossFn, params: PyTree, gradient: PyTree, held_out: PyTree, *, chunk_size: int | None = None) -> Float[Array, ""]:
    """One unbiased draw of the gradient variance of Neu et al., |g - grad L_mu(w)|^2.

    |g - h|^2 - tr Var(h) with h the mean gradient of m held-out examples and tr Var(h) = (1/(m (m-1))) sum_i |h_i - h|^2.
    Its mean over seeds estimates E[V~_t(W_{t-1})]; single values may be negative.

    Args:
        loss_fn: training loss, `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w = W_{t-1}, a pytree of P floating numbers.
        gradient: mini-batch gradient g(w, B_t), with the structure of `params`.
        held_out: m >= 2 examples independent of `params` and `gradient`.
        chunk_size: held-out examples taken at a time, which bounds memory to chunk_size P. Default: all.

    Returns:
        The corrected squared distance.

    Raises:
        ValueError: if m < 2 or `gradient` and `params` differ in structure; otherwise as `dispersion`.

    Source: Neu, Dziugaite, Haghifam and Roy 2021; spec INFO-22.
    """
    count = leading_axis("held_out", held_out)
    require(count >= 2, f"held_out must hold at least 2 examples; got {count}")
    expected, found = jax.tree.map(jnp.shape, params), jax.tree.map(jnp.shape, gradient)
    require(found == expected, f"gradient must have the structure of params, {expected}; got {found}")
    _, centre = value_and_gradient(loss_fn, params, held_out)
    variance_of_centre = dispersion(loss_fn, params, held_out, chunk_size=chunk_size) / (count - 1)
    return optax.tree.norm(optax.tree.sub(gradient, centre), squared=True) - variance_of_centre
