"""The claim that SGD on a net approaches its equation at order one, by runs that share their batches (SDE-12)."""

import jax
import jax.numpy as jnp

from jaxgen import Estimate, processes, seeds
from jaxgen.claims import claim, equal_within

NUM_EXAMPLES, LEARNING_RATE, TIME, NUM_RUNS = 6, 0.0125, 0.8, 1500
BATCH_SIZES = (1, 2, 4, 8)
"""SGD with learning rate eta B and batches of B, so that eta sigma^2 is that of B = 1."""


def _loss_fn(params, batch):
    """Half squared error of one tanh neuron and the weight after it."""
    return 0.5 * (params[0] * jnp.tanh(params[1] * batch[0]) - batch[1]) ** 2


def _problem():
    """Six examples with noisy targets, and a start; the same for all seeds."""
    inputs, noise = jax.random.normal(jax.random.key(1), (2, NUM_EXAMPLES))
    return (inputs, jnp.tanh(1.5 * inputs) + 2 * noise), jnp.array([1.2, 0.6])


def _losses(path, key):
    """Training losses at the ends of the runs that `path` makes of as many keys."""
    data, _ = _problem()
    return jax.vmap(lambda key: jax.vmap(lambda params: _loss_fn(params, data).mean())(path(key)))(jax.random.split(key, NUM_RUNS))


def _runs(key, *, scaled=True):
    """Losses of SGD for every batch size, all of which see the same examples in the same order; of size 1 for all if not `scaled`."""
    data, start = _problem()

    def ends(key):
        num_steps = round(TIME / LEARNING_RATE)
        rows = processes.batch_indices(key, NUM_EXAMPLES, 1, num_steps, mode="iid")
        batches = [rows.reshape(num_steps // size, size) for size in BATCH_SIZES]
        batches = batches if scaled else [part[:, :1] for part in batches]
        return jnp.stack([processes.sgd(key, _loss_fn, start, data, b, LEARNING_RATE * s)[0] for b, s in zip(batches, BATCH_SIZES, strict=True)])

    return _losses(ends, key)


def _limit_of_equation(key):
    """Mean loss of the canonical equation, from steps of a half and of a quarter of the learning rate."""
    data, start = _problem()
    drift, diffusion = processes.canonical_sde(_loss_fn, data, LEARNING_RATE, 1)

    def end(num_steps):
        times = jnp.linspace(0.0, TIME, num_steps + 1)
        return lambda key: processes.euler_maruyama(key, drift, diffusion, start, times, noise="apply")[0][None]

    coarse, fine = (seeds.mean(_losses(end(round(scale * TIME / LEARNING_RATE)), jax.random.fold_in(key, scale))[:, 0]) for scale in (2, 4))
    return Estimate(2 * fine.value - coarse.value, jnp.sqrt(4 * fine.stderr**2 + coarse.stderr**2))


def _limit_of_sgd(key, *, scaled=True):
    """Mean loss of SGD as the learning rate tends to 0, from the two smallest of them."""
    losses = _runs(key, scaled=scaled)
    return seeds.mean(2 * losses[:, 0] - losses[:, 1])


@claim(
    "SDE-12.net",
    title="SGD on a net approaches its canonical equation at first order",
    source="Arora et al., Theory of Deep Learning, Theorem 12.3.4; Malladi, Lyu, Panigrahi & Arora 2022",
    statement=r"\eta / B \text{ fixed}: \quad \mathbb{E} L(x_{T / \eta}) = \mathbb{E} L(X_T) + C \eta + O(\eta^2)",
    statistical=True,
    num_seeds=4,
    min_seeds=4,
    max_seeds=16,
    budget=8.0,
)
def on_a_net(key):
    """The order from differences of neighbouring learning rates, whose runs share their examples; the limit from two of them."""
    keys = jax.random.split(key)
    losses = _runs(keys[0])
    neighbours = [processes.weak_error(losses[:, i + 1], losses[:, i], [lambda x: x], coupled=True) for i in range(3)]
    differences = jax.tree.map(lambda *found: jnp.concatenate(found), *neighbours)
    order = processes.weak_order(differences, LEARNING_RATE * jnp.array(BATCH_SIZES[1:]))
    return {"order": equal_within(order, 1.0), "limit": equal_within(_limit_of_sgd(keys[0]), _limit_of_equation(keys[1]))}


@on_a_net.control("batches of one example for all learning rates, whose limit is gradient flow")
def _(key):
    keys = jax.random.split(key)
    return equal_within(_limit_of_sgd(keys[0], scaled=False), _limit_of_equation(keys[1]))
