"""Bounds for whole classes on populations that are solved exactly: each covers the truth in at least 1 - delta of 2,000 samples (GEN-9)."""

import math

import jax
import jax.numpy as jnp

from jaxgen import bounds
from jaxgen.claims import claim, with_probability

NUM_POINTS, NOISE, NUM_EXAMPLES, NUM_RUNS, DELTA = 50, 0.2, 100, 32, 0.05
CENTRE = NUM_POINTS // 2


def _risks():
    """Risk of every threshold on 50 points, with a fifth of labels flipped."""
    return NOISE + (1 - 2 * NOISE) * jnp.abs(jnp.arange(NUM_POINTS + 1) - CENTRE) / NUM_POINTS


def _losses(key, num_examples=NUM_EXAMPLES):
    """Zero-one losses of the 51 thresholds on a sample."""
    point_key, noise_key = jax.random.split(key)
    x = jax.random.randint(point_key, (num_examples,), 0, NUM_POINTS)
    y = (x >= CENTRE) ^ jax.random.bernoulli(noise_key, NOISE, (num_examples,))
    return ((x >= jnp.arange(NUM_POINTS + 1)[:, None]) != y).astype(float)


def _complexities(key):
    """The two expected complexities, each the mean over 64 samples."""

    def on_a_pair(key):
        losses = _losses(key, 2 * NUM_EXAMPLES)
        first, second = losses[:, :NUM_EXAMPLES], losses[:, NUM_EXAMPLES:]
        return bounds.rademacher_two_sample(first, second), bounds.empirical_rademacher(key, first, num_draws=16).value

    return [values.mean() for values in jax.vmap(on_a_pair)(jax.random.split(key, 64))]


def _held_by_thresholds(key, complexities):
    """Whether each bound holds on one sample for all thresholds at once."""
    losses, risk = _losses(key), _risks()
    empirical = losses.mean(axis=1)
    size = math.log(NUM_POINTS + 1)
    # The prior 2^-|t - centre| / 3 sums to less than one.
    log_inv_prior = math.log(3) + math.log(2) * jnp.abs(jnp.arange(NUM_POINTS + 1) - CENTRE)
    on_sample = bounds.empirical_rademacher(jax.random.fold_in(key, 1), losses, num_draws=16)
    values = {
        **{variant: bounds.finite_class_bound(empirical, size, NUM_EXAMPLES, DELTA, variant=variant) for variant in ("hoeffding", "source")},
        "occam": bounds.occam_bound(empirical, log_inv_prior, NUM_EXAMPLES, DELTA),
        "two samples": bounds.rademacher_bound(empirical, complexities[0], NUM_EXAMPLES, DELTA),
        "signs": bounds.rademacher_bound(empirical, complexities[1], NUM_EXAMPLES, DELTA, definition="sign_distribution"),
        "signs on the sample": bounds.rademacher_bound(empirical, on_sample, NUM_EXAMPLES, DELTA, definition="sign_empirical", num_draws=16),
    }
    two_sided = bounds.finite_class_bound(empirical, size, NUM_EXAMPLES, DELTA, variant="two_sided").terms["penalty"]
    gap = bounds.uniform_gap(losses, risk)
    return {name: jnp.all(risk <= bound.value) for name, bound in values.items()} | {"two-sided": gap <= two_sided}


def _held_by_a_cover(key):
    """Whether the bounds by covers hold for the loss |w - z| / 2, z uniform on [-1, 1], at 201 values of w: its risk is (1 + w^2) / 4."""
    z, w = jax.random.uniform(key, (NUM_EXAMPLES,), minval=-1), jnp.linspace(-1, 1, 201)
    empirical, risk = jnp.abs(w[:, None] - z).mean(axis=1) / 2, (1 + w**2) / 4
    fixed = bounds.cover_bound(empirical, 1, 0.1, 0.05, NUM_EXAMPLES, DELTA)
    best = bounds.cover_bound_lipschitz(empirical, 1, 0.5, NUM_EXAMPLES, DELTA)
    return {"cover": jnp.all(risk <= fixed.value), "best cover": jnp.all(risk <= best.value)}


@claim(
    "GEN-9.validity",
    title="Every bound for a whole class covers the truth in at least 1 - delta of samples",
    source="Theory of Deep Learning, theorems 5.2.1, 5.2.7 and 5.3.1; Bartlett & Mendelson 2002",
    statement=r"\Pr\left( \forall h: L_D(h) \le \hat L_S(h) + \text{penalty} \right) \ge 1 - \delta",
    statistical=True,
    num_seeds=64,
    budget=8.0,
)
def bounds_cover_the_truth(key):
    """32 samples a seed, of 51 thresholds and of a loss that is Lipschitz in one parameter; delta = 0.05."""
    keys = jax.random.split(key, 3)
    complexities = _complexities(keys[0])
    held = jax.vmap(lambda key: _held_by_thresholds(key, complexities))(jax.random.split(keys[1], NUM_RUNS))
    held |= jax.vmap(_held_by_a_cover)(jax.random.split(keys[2], NUM_RUNS))
    return {name: with_probability(values, at_least=1 - DELTA) for name, values in held.items()}


def _least_of_classes(key, bound):
    """Whether a bound holds for that of 1000 hypotheses, all right half of the time, which errs on the fewest of 100 examples: random bits."""
    words = jax.random.bits(key, (NUM_RUNS, 1000, 4), jnp.uint32) & jnp.array([2**32 - 1, 2**32 - 1, 2**32 - 1, 2**4 - 1], jnp.uint32)
    wrong = jax.lax.population_count(words).sum(axis=2).min(axis=1)
    return with_probability(bound(wrong / NUM_EXAMPLES) >= 0.5, at_least=1 - DELTA)


@bounds_cover_the_truth.control("no price for choosing among a thousand hypotheses")
def _(key):
    return _least_of_classes(key, lambda risk: bounds.finite_class_bound(risk, 0.0, NUM_EXAMPLES, DELTA).value)


@bounds_cover_the_truth.control("every example counted twice")
def _(key):
    return _least_of_classes(key, lambda risk: bounds.finite_class_bound(risk, math.log(1000), 2 * NUM_EXAMPLES, DELTA).value)


@bounds_cover_the_truth.control("no price for the confidence")
def _(key):
    return _least_of_classes(key, lambda risk: bounds.finite_class_bound(risk, math.log(1000 * DELTA), NUM_EXAMPLES, DELTA).value)


@bounds_cover_the_truth.control("half of the complexity, and the confidence left out")
def _(key):
    complexity, _ = _complexities(jax.random.fold_in(key, 1))

    def held(key):
        empirical = _losses(key).mean(axis=1)
        return jnp.all(
            _risks() <= bounds.rademacher_bound(empirical, complexity / 2, NUM_EXAMPLES, DELTA).value - bounds.hoeffding_penalty(NUM_EXAMPLES, DELTA)
        )

    return with_probability(jax.vmap(held)(jax.random.split(key, NUM_RUNS)), at_least=1 - DELTA)
