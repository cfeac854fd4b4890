"""Claims about margins and their distribution (GEN-37)."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxgen import bounds, models
from jaxgen.claims import at_least, at_most, claim, equal
from jaxgen.claims.generalization._nets import net, normal_net, rescaled_units, trained

GAMMAS = (0.1, 0.5, 2.0)
NUM_EXAMPLES, DIM, SHIFT = 60, 20, 0.3


def _problem(key):
    """A random bias-free ReLU net 4-8-3, inputs and labels."""
    params_key, x_key, label_key = jax.random.split(key, 3)
    return normal_net(params_key, (4, 8, 3)), jax.random.normal(x_key, (20, 4)), jax.random.randint(label_key, (20,), 0, 3)


@claim(
    "GEN-37",
    title="The ramp loss lies between the losses at margins zero and gamma",
    source="Bartlett 1998; Bartlett, Foster & Telgarsky 2017",
    statement=r"\hat L_0 \le \frac1m \sum_i \min(1, \max(0, 1 - \gamma_i / \gamma)) \le \hat L_\gamma = \frac1m \#\{i : \gamma_i \le \gamma\}",
)
def losses_at_a_margin(key):
    """With the known margins of the outputs (2, 1, 0): 1 for label 0, -2 for label 2; a tie is an error."""
    params, x, y = _problem(key)
    logits, gammas = net(params, x), jnp.array(GAMMAS)
    ramp = bounds.ramp_loss(logits, y, gammas)
    known = jnp.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    return {
        "below": at_most(bounds.margin_loss(logits, y, 0.0), ramp, slack=1e-12),
        "above": at_most(ramp, bounds.margin_loss(logits, y, gammas), slack=1e-12),
        "known": equal(bounds.margins(known, jnp.array([0, 2, 0])), jnp.array([1.0, -2.0, 0.0]), rtol=0),
        "zero-one": at_least(bounds.margin_loss(logits, y, 0.0), models.zero_one(logits, y).mean(), slack=1e-12),
    }


@losses_at_a_margin.control("margins without their sign")
def _(key):
    params, x, y = _problem(key)
    logits = net(params, x)
    return at_least(jnp.mean(jnp.abs(bounds.margins(logits, y)) <= 0), models.zero_one(logits, y).mean(), slack=1e-12)


@claim(
    "GEN-37.invariance",
    title="Normalized margins do not change where layers are rescaled",
    source="Bartlett, Foster & Telgarsky 2017",
    statement=r"\frac{\gamma_i}{\lVert x_i \rVert \prod_k \lVert A_k \rVert_2}, \; \frac{\gamma_i}{R_A}"
    r" \text{ are those of } c f \text{ and of } (a A_1, A_2 / a)",
)
def invariance(key):
    """And margins over their slopes are the function's own, so that they are those of rescaled hidden units too."""
    params, x, y = _problem(key)
    first, last = params
    checks = {}
    for name, changed in {"last layer": (first, 7 * last), "balanced": (5 * first, last / 5)}.items():
        for by in ("spectral", "bartlett", "input_gradient"):
            of = partial(bounds.normalized_margins, net, x=x, labels=y, by=by)
            checks[f"{name}, {by}"] = equal(of(params=changed), of(params=params), rtol=1e-10)
    of = partial(bounds.normalized_margins, net, x=x, labels=y, by="input_gradient")
    units = rescaled_units(params, jnp.geomspace(0.2, 5.0, 8))
    return checks | {"hidden units, input_gradient": equal(of(params=units), of(params=params), rtol=1e-10)}


@invariance.control("margins as they are")
def _(key):
    (first, last), x, y = _problem(key)
    return equal(bounds.margins(net((first, 7 * last), x), y), bounds.margins(net((first, last), x), y), rtol=1e-10)


@invariance.control("margins over the product of spectral norms, with hidden units rescaled one by one")
def _(key):
    params, x, y = _problem(key)
    of = partial(bounds.normalized_margins, net, x=x, labels=y)
    return equal(of(params=rescaled_units(params, jnp.geomspace(0.2, 5.0, 8))), of(params=params), rtol=1e-10)


def _trained_margins(key, *, random):
    """Spectrally normalized margins of a net that was trained on two classes, or on random labels of the same inputs."""
    x_key, label_key, random_key, start_key = jax.random.split(key, 4)
    labels = jax.random.randint(label_key, (NUM_EXAMPLES,), 0, 2)
    x = jax.random.normal(x_key, (NUM_EXAMPLES, DIM)) + 1.5 * (2 * labels[:, None] - 1) * (jnp.arange(DIM) == 0)
    labels = jax.random.randint(random_key, (NUM_EXAMPLES,), 0, 2) if random else labels
    params = trained(normal_net(start_key, (DIM, 50, 2)), x, labels, learning_rate=0.5, num_steps=400)
    return bounds.normalized_margins(net, params, x, labels)


def _lead(left, right):
    """How far the distribution function of the first sample is above that of the second at most, sup (F - G)."""
    places = jnp.concatenate([left, right])
    return jnp.max(jnp.mean(left <= places[:, None], axis=1) - jnp.mean(right <= places[:, None], axis=1))


@claim(
    "GEN-37.random-labels",
    title="Random labels shift the distribution of normalized margins to the left",
    source="Bartlett, Foster & Telgarsky 2017, figure 2",
    statement=r"\sup_t (F_{\text{random}}(t) - F_{\text{true}}(t)) > 0.3",
    num_seeds=8,
    budget=3.0,
)
def random_labels(key):
    return at_least(_lead(_trained_margins(key, random=True), _trained_margins(key, random=False)), SHIFT)


@random_labels.control("true labels on both sides")
def _(key):
    keys = jax.random.split(key)
    return at_least(_lead(_trained_margins(keys[0], random=False), _trained_margins(keys[1], random=False)), SHIFT)
