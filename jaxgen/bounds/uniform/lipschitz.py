r"""How much a loss can change with the parameters: its gradient's norm at a point, and the largest in a ball (GEN-5)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import gradients
from jaxgen._core.checks import choice, floating, positive_integer, require
from jaxgen.bounds._inputs import Scalar, positive

LossFn = Callable[[PyTree, PyTree], Array]


def local_loss_lipschitz(loss_fn: LossFn, params: PyTree, batch: PyTree, *, reduce: str = "max") -> Float[Array, ""]:
    r"""The Lipschitz constant of the loss in the parameters, near a point: $\max_i \lVert \nabla_w \ell(w, z_i) \rVert$.

    For $(w \cdot x - y)^2$ on the unit ball it is at most $2 \lVert x \rVert (\lVert x \rVert + |y|)$, and for a two-layer ReLU net without biases
    and the squared loss $\lVert x \rVert (\lVert x \rVert + 2 |y|)$.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, any pytree.
        batch: examples, a pytree whose leaves have leading axis N.
        reduce: `"max"` over the examples, which bounds the change of every example's loss, or `"mean_loss"`, the norm of
            the mean loss's gradient, which is smaller and bounds the change of the empirical risk.

    Returns:
        The norm, Euclidean over all parameters.

    Raises:
        ValueError: if `batch` is empty, `loss_fn` does not return one loss an example or `reduce` is unknown.
        TypeError: if a leaf of `params` is not real.

    Source: Theory of Deep Learning, Problems 5.2.3 and 5.2.4; GEN-5. Cost: as `gradients.squared_norms`.
    """
    choice("reduce", reduce, ("max", "mean_loss"))
    if reduce == "mean_loss":
        return optax.tree.norm(gradients.value_and_gradient(loss_fn, params, batch)[1])
    return jnp.sqrt(gradients.squared_norms(loss_fn, params, batch).max())


def loss_lipschitz_on_ball(
    key: Key[Array, ""],
    loss_fn: LossFn,
    center: PyTree,
    radius: Scalar,
    batch: PyTree,
    *,
    num_samples: int = 16,
    num_steps: int = 100,
) -> Float[Array, ""]:
    r"""An estimate from below of the largest $\lVert \nabla_w \ell(w, z_i) \rVert$ for $\lVert w - w_0 \rVert \le \rho$, by random ascent.

    Every step goes along the unit gradient of the largest norm, by a length that falls linearly to zero, and back to the
    ball. No certificate: the supremum may be larger, and examples outside of `batch` do not count.

    Args:
        key: key of the starts, which are uniform in the ball.
        loss_fn: `loss_fn(params, batch) -> (N,)`, twice differentiable almost everywhere in the parameters.
        center: $w_0$, any pytree.
        radius: $\rho$, positive.
        batch: examples, a pytree whose leaves have leading axis N.
        num_samples: number of starts, which ascend side by side.
        num_steps: steps of each; 0 gives the largest norm among the starts.

    Returns:
        The largest norm met.

    Raises:
        ValueError: if `radius` is not positive, `batch` is empty, `num_samples` < 1 or `num_steps` < 0.

    Source: Theory of Deep Learning, Problems 5.2.3 and 5.2.4; GEN-5. Cost: `num_samples` * `num_steps` gradients of gradient
    norms.
    """
    radius = positive("radius", radius)
    require(radius.ndim == 0, f"radius must be a scalar; got shape {radius.shape}")
    count, steps = positive_integer("num_samples", num_samples), positive_integer("num_steps", num_steps, at_least=0)
    flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: floating("center", leaf), center))

    def squared(offset):
        return gradients.squared_norms(loss_fn, unravel(flat + offset), batch).max()

    def step(state, rate):
        offset, largest = state
        value, direction = jax.value_and_grad(squared)(offset)
        norm = jnp.linalg.norm(direction)
        moved = offset + rate * radius * direction / jnp.where(norm > 0, norm, 1.0)
        return (moved * jnp.minimum(1.0, radius / jnp.linalg.norm(moved)), jnp.maximum(largest, value)), None

    def ascent(offset):
        (offset, largest), _ = jax.lax.scan(step, (offset, jnp.zeros((), flat.dtype)), jnp.linspace(0.5, 0.0, steps, dtype=flat.dtype))
        return jnp.maximum(largest, squared(offset))

    direction_key, radius_key = jax.random.split(key)
    directions = jax.random.normal(direction_key, (count, flat.size), flat.dtype)
    lengths = radius * jax.random.uniform(radius_key, (count, 1), flat.dtype) ** (1 / flat.size)
    starts = directions * lengths / jnp.linalg.norm(directions, axis=1, keepdims=True)
    return jnp.sqrt(jax.vmap(ascent)(starts).max())
