"""Scale-invariant losses whose spherical curvature is known: Rayleigh quotients, and layer-normalized nets on a circle."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen import normalization

BOOK = "Arora et al., Theory of Deep Learning"
NUM_PROBLEMS = 64
"""Problems of a family in one seed: 1,024 in the default 16."""

NUM_ANGLES, NUM_ZOOMS = 192, 2
GRID_SLACK = 1.03
"""A net's curvature is the largest on a grid of angles, then on a finer one about its best, which may miss 2 % of it (seen in 1,000 nets)."""


class Family(NamedTuple):
    """Losses `loss(w, problem)` with what is known of them; every leaf of `problems` has a leading axis.

    Attributes:
        loss: scale-invariant loss of w of shape (dim,).
        problems: parameters of the losses.
        rho: their spherical curvatures.
        dim: dimension of w.
        low: their least values.
        high: their largest.
    """

    loss: Callable[[Array, PyTree], Array]
    problems: PyTree
    rho: Float[Array, " n"]
    dim: int
    low: Float[Array, " n"]
    high: Float[Array, " n"]


def rayleigh(w: Float[Array, " d"], eigenvalues: Float[Array, " d"]) -> Float[Array, ""]:
    """<w, A w> / |w|^2 of a diagonal A, which is any A in its own axes."""
    return jnp.sum(eigenvalues * w**2) / jnp.sum(w**2)


def rayleigh_loss_fn(w: Float[Array, " d"], batch: Float[Array, "n d"]) -> Float[Array, " n"]:
    """`rayleigh` of a batch of spectra."""
    return jax.vmap(rayleigh, in_axes=(None, 0))(w, batch)


def matrix_loss_fn(w: Float[Array, " d"], batch: Float[Array, "n d d"]) -> Float[Array, " n"]:
    """<w, A w> / |w|^2 of a batch of matrices, which share no axes."""
    return jnp.einsum("i,nij,j->n", w, batch, w) / jnp.sum(w**2)


def rayleigh_quotients(key: Array, num_problems: int = NUM_PROBLEMS) -> Family:
    """Four normal eigenvalues each; the curvature is twice their spread."""
    eigenvalues = jax.random.normal(key, (num_problems, 4))
    low, high = eigenvalues.min(axis=1), eigenvalues.max(axis=1)
    return Family(rayleigh, eigenvalues, 2 * (high - low), 4, low, high)


def circle_net(w: Float[Array, "2"], problem: dict[str, Array]) -> Float[Array, ""]:
    """Half squared error of V tanh(LN(W x)) with W = w_1 M_1 + w_2 M_2 on five examples."""
    hidden = jnp.tanh(normalization.layer_norm(problem["x"] @ jnp.einsum("i,ijk->jk", w, problem["planes"])))
    return 0.5 * jnp.mean((hidden @ problem["last"] - problem["y"]) ** 2)


def circle_nets(key: Array, num_problems: int = NUM_PROBLEMS) -> Family:
    """Eight units and three inputs. At unit length the Hessian in radial and tangential axes is [[0, -L'], [-L', L'']] for the angle's L."""
    shapes = {"planes": (2, 3, 8), "x": (5, 3), "last": (8,), "y": (5,)}
    keys = jax.random.split(key, len(shapes))
    problems = {name: jax.random.normal(k, (num_problems, *shape)) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}

    def of_angle(problem: PyTree, angle: Array) -> tuple[Array, Array]:
        along = lambda t: circle_net(jnp.stack([jnp.cos(t), jnp.sin(t)]), problem)  # noqa: E731
        slope = lambda t: jax.jvp(along, (t,), (jnp.ones_like(t),))  # noqa: E731
        (value, first), (_, second) = jax.jvp(slope, (angle,), (jnp.ones_like(angle),))
        return value, jnp.abs(second) / 2 + jnp.hypot(second / 2, first)

    def of_problem(problem: PyTree) -> tuple[Array, Array, Array]:
        def zoom(center: Array, span: Array) -> tuple[Array, tuple[Array, Array, Array]]:
            angles = center + span * jnp.linspace(-1, 1, NUM_ANGLES)
            values, sizes = jax.vmap(of_angle, in_axes=(None, 0))(problem, angles)
            return angles[jnp.argmax(sizes)], (sizes.max(), values.min(), values.max())

        spans = jnp.pi * (2 / NUM_ANGLES) ** jnp.arange(NUM_ZOOMS)
        _, (sizes, low, high) = jax.lax.scan(zoom, jnp.zeros(()), spans)
        return GRID_SLACK * sizes.max(), low.min(), high.max()

    rho, low, high = jax.vmap(of_problem)(problems)
    return Family(circle_net, problems, rho, 2, low, high)


def families(key: Array) -> dict[str, Family]:
    """Both families, by name."""
    return {"Rayleigh quotients": rayleigh_quotients(key), "normalized nets": circle_nets(key)}


def sphere(key: Array, *shape: int) -> Float[Array, "..."]:
    """Uniform unit vectors along the last axis."""
    draws = jax.random.normal(key, shape)
    return draws / jnp.linalg.norm(draws, axis=-1, keepdims=True)


class Run(NamedTuple):
    """Gradient descent with weight decay on one loss, step by step.

    Attributes:
        norms: |w_t|.
        slopes: |grad L(w_t / |w_t|)|.
        losses: L(w_t).
    """

    norms: Float[Array, " T"]
    slopes: Float[Array, " T"]
    losses: Float[Array, " T"]


def descend(loss: Callable, problem: PyTree, w0: Array, learning_rate: ArrayLike, weight_decay: ArrayLike, num_steps: int) -> Run:
    """`normalization.gd_weight_decay`, recorded before every step."""

    def record(w: Array, gradient: Array, t: Array) -> Run:
        length = jnp.linalg.norm(w)
        return Run(length, length * jnp.linalg.norm(gradient), loss(w, problem))

    grad_fn = jax.grad(loss)
    return normalization.gd_weight_decay(lambda w, t: grad_fn(w, problem), w0, learning_rate, weight_decay, num_steps, record=record)[1]


def first_time(
    loss: Callable, problem: PyTree, w0: Array, learning_rate: ArrayLike, weight_decay: ArrayLike, stop: Callable, limit: int
) -> tuple[Array, Array]:
    """The first t with `stop(|w_t|^2, |grad L(w_t / |w_t|)|^2)` and |w_t|^2 there, or `limit`, along gradient descent."""
    grad_fn = jax.grad(loss)

    def going(state: tuple[Array, Array]) -> Array:
        t, w = state
        squared_norm = jnp.sum(w**2)
        return (t < limit) & ~stop(squared_norm, squared_norm * jnp.sum(grad_fn(w, problem) ** 2))

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        t, w = state
        return t + 1, (1 - learning_rate * weight_decay) * w - learning_rate * grad_fn(w, problem)

    t, w = jax.lax.while_loop(going, step, (jnp.zeros((), jnp.int32), w0))
    return t, jnp.sum(w**2)
