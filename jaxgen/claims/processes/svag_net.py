"""The claim that SVAG approaches the equation of SGD on a net, by paths that share their noise (SDE-18)."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen import gradients, processes
from jaxgen.claims import claim, equal_within

NUM_EXAMPLES, LEARNING_RATE, NOISE_SCALE, NUM_STEPS = 6, 0.4, 0.5**0.5, 3
REFINEMENTS, FINEST, NUM_PATHS = (2, 4, 8), 32, 2000
SKEW = 0.2


def _net():
    """Gradients of single examples of a tanh net of 9 parameters, as a function of those, and a start."""
    keys = jax.random.split(jax.random.key(0), 4)
    params = {"first": jax.random.normal(keys[0], (2, 3)), "second": jax.random.normal(keys[1], (3,))}
    data = jax.random.normal(keys[2], (NUM_EXAMPLES, 2)), jax.random.normal(keys[3], (NUM_EXAMPLES,))
    start, unravel = ravel_pytree(params)

    def loss_fn(x, batch):
        params = unravel(x)
        return 0.5 * (jnp.tanh(batch[0] @ params["first"]) @ params["second"] - batch[1]) ** 2

    return lambda x: gradients.per_example(loss_fn, x, data), start


def _skewed(normal):
    """Variables of mean 0, variance 1 and skewness 1.1, made of standard normal ones."""
    return (normal + SKEW * (normal**2 - 1)) / (1 + 2 * SKEW**2) ** 0.5


def _noisy(rows, noise):
    """The mean gradient plus sigma times sum_i noise_i (g_i - mean) / sqrt(N), of covariance sigma^2 Sigma."""
    mean = rows.mean(axis=0)
    return mean + NOISE_SCALE * noise @ (rows - mean) / NUM_EXAMPLES**0.5


def _equation(rows_of, start, noise):
    """The end of a path of the equation in steps of eta / FINEST, driven by a step's noise in each row."""

    def step(x, normal):
        return x - LEARNING_RATE / FINEST * _noisy(rows_of(x), FINEST**0.5 * normal), None

    return jax.lax.scan(step, start, noise)[0]


def _svag(key, rows_of, start, noise, refinement, *, single=False):
    """The end of a path of SVAG whose two draws of a step, a n_1 + b n_2, have the direction of the equation's noise over the step.

    With n_1 = (a w - b m) / sqrt(l) and n_2 = (b w + a m) / sqrt(l), both are independent and standard normal if w and m are.
    """
    a, b = processes.svag_coefficients(refinement)
    width = FINEST // refinement
    shared = noise.reshape(-1, width, NUM_EXAMPLES).sum(axis=1) / width**0.5
    own = jax.random.normal(jax.random.fold_in(key, refinement), shared.shape)

    def step(x, normals):
        rows = rows_of(x)
        w, m = normals
        if single:
            gradient = _noisy(rows, _skewed(w))
        else:
            first, second = (a * w - b * m) / refinement**0.5, (b * w + a * m) / refinement**0.5
            gradient = processes.svag_gradient(_noisy(rows, _skewed(first)), _noisy(rows, _skewed(second)), refinement)
        return x - LEARNING_RATE / refinement * gradient, None

    return jax.lax.scan(step, start, (shared, own))[0]


def _order(key, *, single=False):
    """The order at which the error of E |x|^2 falls with 1 / l; the finest path's own error is allowed for at first order."""
    rows_of, start = _net()

    def ends(key):
        noise = jax.random.normal(key, (NUM_STEPS * FINEST, NUM_EXAMPLES))
        return _equation(rows_of, start, noise), *(_svag(key, rows_of, start, noise, r, single=single) for r in REFINEMENTS)

    limit, *refined = jax.vmap(ends)(jax.random.split(key, NUM_PATHS))
    errors = [processes.weak_error(x, limit, [lambda x: x @ x], coupled=True) for x in refined]
    sizes = 1 / jnp.array(REFINEMENTS, float) - 1 / FINEST
    return processes.weak_order(jax.tree.map(lambda *found: jnp.concatenate(found), *errors), sizes)


@claim(
    "SDE-18.net",
    title="On a net with skewed gradient noise, SVAG approaches the equation of SGD at first order in 1 / l",
    source="Li, Malladi & Arora 2021; Arora et al., Theory of Deep Learning, Theorem 12.4.2",
    statement=r"\mathbb{E} |x_{k l}|^2 - \mathbb{E} |X_{k \eta}|^2 = O(\eta / l)",
    statistical=True,
    num_seeds=4,
    min_seeds=4,
    max_seeds=8,
    budget=6.0,
)
def on_a_net(key):
    """Measured order of 2,000 pairs of paths a seed, for l = 2, 4, 8 against steps 32 times as fine."""
    return equal_within(_order(key), 1.0)


@on_a_net.control("SGD with learning rate eta / l, which has another equation")
def _(key):
    return equal_within(_order(key, single=True), 1.0)
