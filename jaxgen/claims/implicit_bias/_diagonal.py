"""Random linear regressions, losses with one set of minimizers, and where gradient flow of a parametrization ends on them."""

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias

BOOK = "Arora et al., Theory of Deep Learning"
WOODWORTH = "Woodworth et al. 2020"
TOLERANCES = {"rtol": 1e-11, "atol": 1e-14, "max_steps": 400_000}


def regression(key, n=3, d=8):
    """Gaussian examples in rows, and targets."""
    x_key, y_key = jax.random.split(key)
    return jax.random.normal(x_key, (n, d)), jax.random.normal(y_key, (n,))


def mean_square(x, y):
    """The gradient of (1/n) |X w - y|^2."""
    return lambda w: 2 / len(y) * ((x @ w - y) @ x)


def quartic(x, y):
    """The gradient of the sum of (X w - y)^4 / 4."""
    return lambda w: (x @ w - y) ** 3 @ x


def logistic(x, y):
    """The gradient of the sum of logistic losses of the labels sign(y)."""
    return lambda w: -(jnp.sign(y) * jax.nn.sigmoid(-jnp.sign(y) * (x @ w))) @ x


LOSSES = ("squared", "logistic", "quartic")


def chosen(x, y, choice):
    """The gradient of the loss in `LOSSES` that a vector with a single one chooses."""
    gradients = [loss(x, y) for loss in (mean_square, logistic, quartic)]
    return lambda w: choice @ jnp.stack([grad_fn(w) for grad_fn in gradients])


def limit(net, theta0, x, y):
    """Parameters and weights of gradient flow of the squared loss when its slowest mode has shrunk by e^-30."""
    slowest = jnp.linalg.eigvalsh(x @ x.T)[0] * jnp.linalg.eigvalsh(implicit_bias.pushforward_metric(net, theta0))[0]
    times = 30 * len(y) / (2 * slowest)[None]
    flow = implicit_bias.reparametrized_flow(net, mean_square(x, y), theta0, times, **TOLERANCES)
    return jax.tree.map(lambda leaf: leaf[0], flow)


def nearest(potential, x, y, w0=None):
    """The interpolator nearest to w0, zero by default, in the divergence of a potential."""
    return implicit_bias.bregman_interpolator(potential, x, y, jnp.zeros(x.shape[1]) if w0 is None else w0).w


def apart(net, theta0, potential, x, y, time=1.0):
    """Farthest that G(theta_t) gets from the mirror flow of a potential from G(theta_0), for each of the losses."""
    times = jnp.linspace(0.0, time, 9)

    def distance(choice):
        grad_fn = chosen(x, y, choice)
        flow = implicit_bias.reparametrized_flow(net, grad_fn, theta0, times, **TOLERANCES)
        return jnp.abs(flow.w - implicit_bias.mirror_flow(potential, grad_fn, net(theta0), times, **TOLERANCES)).max()

    return dict(zip(LOSSES, jax.lax.map(distance, jnp.eye(3)), strict=True))
