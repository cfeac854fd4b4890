"""Claims about the smoothed margin of homogeneous models (BIAS-34)."""

import math

import jax
import jax.numpy as jnp
import optax

from jaxgen import implicit_bias
from jaxgen.claims import at_least, at_most, claim, less
from jaxgen.claims.implicit_bias._homogeneous import architectures, points, squared_relu, squared_relu_params


def _rates(apply_fn, params, x, y, order):
    """d log smoothed margin / d log ||w|| along the negative gradient, and q tan^2 of its angle with w; log L."""

    def smoothed(w):
        return implicit_bias.smoothed_margin(implicit_bias.log_exp_loss(implicit_bias.model_margins(apply_fn, w, x, y)), w, order).value

    log_loss, gradient = jax.value_and_grad(lambda w: implicit_bias.log_exp_loss(implicit_bias.model_margins(apply_fn, w, x, y)))(params)
    velocity = optax.tree.scale(-1.0, gradient)
    value, change = jax.jvp(smoothed, (params,), (velocity,))
    size, growth = jax.jvp(optax.tree.norm, (params,), (velocity,))
    cosine = optax.tree.vdot(params, velocity) / optax.tree.norm(params) / optax.tree.norm(velocity)
    return (change / value) / (growth / size), order * (1 / cosine**2 - 1), log_loss


def _scaled(apply_fn, params, x, order, log_loss_at_most):
    """Labels that the model predicts, and parameters scaled so that no margin is below the number given."""
    y = jnp.sign(apply_fn(params, x).reshape(-1))
    smallest = implicit_bias.model_margins(apply_fn, params, x, y).min()
    return optax.tree.scale((log_loss_at_most / smallest) ** (1 / order), params), y


@claim(
    "BIAS-34",
    title="The smoothed margin grows with the norm at least as the angle to the gradient says",
    source="Lyu & Li 2020",
    statement=r"L < 1: \quad \frac{d \log \tilde\gamma}{d \log \lVert w \rVert} \ge q \tan^2 \angle(w, -\nabla L), \qquad"
    r" \bar\gamma - \frac{\log n}{\lVert w \rVert^q} \le \tilde\gamma = \frac{-\log L}{\lVert w \rVert^q} \le \bar\gamma",
    num_seeds=8,
    budget=5.0,
)
def smoothed_margin_grows(key):
    """At random points of four architectures with labels as predicted, scaled to a log-loss below zero."""
    x, checks = jax.random.normal(key, (6, 4)), {}
    for name, (apply_fn, start, order) in architectures(key, 4).items():
        params, y = _scaled(apply_fn, start, x, order, math.log(6) + 0.5)
        rate, bound, log_loss = _rates(apply_fn, params, x, y, order)
        margins = implicit_bias.model_margins(apply_fn, params, x, y)
        hard = implicit_bias.normalized_margin_homogeneous(margins, params, order)
        smooth, valid = implicit_bias.smoothed_margin(log_loss, params, order)
        checks |= {
            f"{name}: growth": at_least(rate, bound, slack=1e-8 * (1 + bound)),
            f"{name}: above": at_most(smooth, hard),
            f"{name}: below": at_most(hard - jnp.log(6) / optax.tree.norm(params) ** order, smooth),
            f"{name}: valid": at_least(valid.astype(float), 1.0),
        }
    return checks


@smoothed_margin_grows.control("before the loss is below one")
def _(key):
    x, checks = jax.random.normal(key, (6, 4)), {}
    for name, (apply_fn, start, order) in architectures(key, 4).items():
        params, y = _scaled(apply_fn, start, x, order, 1e-3)
        rate, bound, _ = _rates(apply_fn, params, x, y, order)
        checks[name] = at_least(rate, bound)
    return checks


@smoothed_margin_grows.control("a power of the norm that is one too large", fails="some")
def _(key):
    x = jax.random.normal(key, (6, 4))
    params, y = _scaled(squared_relu, squared_relu_params(key, 4), x, 3, math.log(6) + 0.5)
    rate, bound, _ = _rates(squared_relu, params, x, y, 4)
    return at_least(rate, bound)


def _path(key, decrease, momentum=0.0, bias=0.0):
    """The smoothed margin and log L along training of a squared ReLU net, whose outputs have a parameter times `bias` added."""
    x, y = points(key, 6, 3)

    def apply_fn(params, x):
        return squared_relu(params, x) + bias * params["bias"]

    params = squared_relu_params(key, scale=0.7) | {"bias": jnp.array(0.0)}

    def log_loss(params):
        return implicit_bias.log_exp_loss(implicit_bias.model_margins(apply_fn, params, x, y))

    def step(state, _):
        params, velocity = state
        value, gradient = jax.value_and_grad(log_loss)(params)
        rate = decrease / optax.tree.norm(gradient, squared=True)
        velocity = jax.tree.map(lambda v, g: momentum * v - rate * g, velocity, gradient)
        return (optax.tree.add(params, velocity), velocity), (implicit_bias.smoothed_margin(value, params, 3).value, value)

    start = params, optax.tree.zeros_like(params)
    return jax.lax.scan(step, start, None, length=int(40 / decrease) if decrease < 1 else 400)[1]


def _smallest_growth(values, log_losses):
    """The smallest relative increment of the smoothed margin among steps from a loss below one."""
    return jnp.where(log_losses[:-1] < 0, jnp.diff(values) / jnp.abs(values[:-1]), jnp.inf).min()


@claim(
    "BIAS-34.monotone",
    title="The smoothed margin never falls along gradient descent with small steps, once the loss is below one",
    source="Lyu & Li 2020",
    statement=r"L(w_t) < 1 \;\Rightarrow\; \tilde\gamma(w_{t+1}) \ge \tilde\gamma(w_t)",
    num_seeds=8,
    budget=5.0,
)
def smoothed_margin_monotone(key):
    """For a squared ReLU net, with steps by which log L falls by 0.02."""
    values, log_losses = _path(key, 0.02)
    return {"increments": at_least(_smallest_growth(values, log_losses), -1e-9), "trained": less(log_losses[-1], -10.0)}


@smoothed_margin_monotone.control("steps a thousand times as long", fails="some")
def _(key):
    return at_least(_smallest_growth(*_path(key, 20.0)), -1e-9)


@smoothed_margin_monotone.control("momentum", fails="some")
def _(key):
    return at_least(_smallest_growth(*_path(key, 0.2, momentum=0.95)), -1e-9)


@smoothed_margin_monotone.control("a bias that is trained", fails="some")
def _(key):
    return at_least(_smallest_growth(*_path(key, 0.02, bias=10.0)), -1e-9)
