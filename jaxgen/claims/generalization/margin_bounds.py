"""Claims about margin bounds by norms on labels that are coins, where the risk of every classifier is known (GEN-38, GEN-39)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds
from jaxgen.claims import at_most, claim, with_probability

NUM_EXAMPLES, NUM_INPUTS, NUM_TRIALS = 400, 2_000_000, 32
DELTA, GAMMA, RISK = 0.05, 0.5, 0.5


def _memorizer(key):
    """Margin loss and norms of w = sum_i y_i e_{j_i}, which remembers coins y at uniformly random coordinates j.

    On fresh examples its risk is 1/2, as every classifier's. Where a coordinate came twice, coins are added.
    """
    place_key, coin_key = jax.random.split(key)
    places = jax.random.randint(place_key, (NUM_EXAMPLES,), 0, NUM_INPUTS)
    coins = jax.random.rademacher(coin_key, (NUM_EXAMPLES,), float)
    _, place = jnp.unique(places, return_inverse=True, size=NUM_EXAMPLES)
    weights = jax.ops.segment_sum(coins, place, NUM_EXAMPLES)
    labels = ((coins + 1) / 2).astype(int)
    norms = {"frobenius": jnp.linalg.norm(weights), "path": jnp.sum(jnp.abs(weights))}
    return bounds.margin_loss(weights[place], labels, GAMMA), norms


def _values(key):
    loss, norms = _memorizer(key)
    layer, n = norms["frobenius"][None], NUM_EXAMPLES
    return {
        "golowich": bounds.golowich_bound(loss, layer, 1.0, GAMMA, n, DELTA),
        "bartlett": bounds.bartlett_bound(loss, layer, layer, jnp.sqrt(n), GAMMA, n, DELTA, width=NUM_INPUTS),
        "paths": bounds.path_norm_bound(loss, norms["path"], 1.0, GAMMA, n, DELTA, depth=1, num_inputs=NUM_INPUTS),
    }


@claim(
    "GEN-38.coins",
    title="Margin bounds by norms are above chance for what remembers random labels",
    source="Bartlett, Foster & Telgarsky 2017; Golowich, Rakhlin & Shamir 2018",
    statement=r"\Pr[L \le \hat L_\gamma + \text{complexity} + \text{confidence}] \ge 1 - \delta \text{ at } L = \tfrac12, \; \hat L_\gamma = 0",
    statistical=True,
)
def coins(key):
    """Over 2,048 samples of 400 coins."""
    values = jax.vmap(lambda key: {name: bound.value for name, bound in _values(key).items()})(jax.random.split(key, NUM_TRIALS))
    return {name: with_probability(value >= RISK, at_least=1 - DELTA) for name, value in values.items()}


@coins.control("without the complexity")
def _(key):
    bound = _values(key)["golowich"]
    return with_probability(at_most(RISK, bound.value - bound.terms["complexity"]), at_least=1 - DELTA)


@coins.control("the empirical risk of the fitted labels")
def _(key):
    return with_probability(at_most(RISK, _memorizer(key)[0]), at_least=1 - DELTA)
