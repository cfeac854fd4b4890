"""Claims about risks, their empirical counterparts and the logistic loss (PROB-1)."""

import jax
import jax.numpy as jnp
import optax

from jaxgen import bounds, models, optimization
from jaxgen.claims import claim, equal, equal_in_mean, ordered

BOOK = "Arora et al., Theory of Deep Learning"
NUM_EXAMPLES, DIM, NUM_SAMPLES = 10, 5, 50


def _loss_fn(params, batch):
    return (batch[0] @ params - batch[1]) ** 2


def _population(key):
    """A thousand points of a linear model with noise of variance one."""
    keys = jax.random.split(key, 3)
    x = jax.random.normal(keys[0], (1000, DIM))
    return x, x @ jax.random.normal(keys[1], (DIM,)) + jax.random.normal(keys[2], (1000,))


def _gaps(key, learner):
    """Mean over samples of the empirical risk minus the risk."""
    population = _population(jax.random.key(0))

    def gap(key):
        rows = jax.random.randint(key, (NUM_EXAMPLES,), 0, 1000)
        sample = jax.tree.map(lambda leaf: leaf[rows], population)
        return -bounds.generalization_gap(_loss_fn, learner(sample), sample, population).value

    return jax.vmap(gap)(jax.random.split(key, NUM_SAMPLES)).mean()


@claim(
    "PROB-1",
    title="The empirical risk of a fixed hypothesis is an unbiased estimate of its risk",
    source=f"{BOOK}, chapter 1",
    statement=r"\mathbb{E}_S \hat L_S(h) = L(h) \text{ for } h \text{ independent of } S",
    statistical=True,
)
def unbiased_risk(key):
    return equal_in_mean(_gaps(key, lambda sample: jnp.ones(DIM)), 0.0)


@unbiased_risk.control("the hypothesis of least empirical risk")
def _(key):
    return equal_in_mean(_gaps(key, lambda sample: optimization.min_norm_solution(*sample)), 0.0)


@claim(
    "PROB-1.loss",
    title="The logistic loss, and a penalty added to a loss",
    source=f"{BOOK}, chapter 1",
    statement=r"\ell = \ln(1 + e^{-y h(x)}), \; y = \pm 1; \qquad \hat L_\lambda = \hat L + \lambda R",
)
def logistic_loss(key):
    """The source prints 1 / (1 + e^(-y h)), which is the likelihood of the right label and grows with the margin."""
    margins = jnp.linspace(-5.0, 5.0, 21)
    losses = models.softmax_cross_entropy(margins, jnp.ones(21, int))
    params, batch = jax.random.normal(key, (DIM,)), _population(key)
    penalized = bounds.regularized_risk(_loss_fn, lambda w: optax.tree.norm(w, squared=True), 0.3)
    return {
        "of the margin": equal(losses, jnp.log1p(jnp.exp(-margins)), rtol=1e-12),
        "of the other label": equal(models.softmax_cross_entropy(-margins, jnp.zeros(21, int)), losses, rtol=1e-12),
        "decreasing": ordered(losses, strict=True, decreasing=True),
        "known values": equal(losses[jnp.array([0, 10, 20])], jnp.array([5.00672, 0.6931471806, 0.006715]), rtol=1e-4),
        "slope at zero": equal(jax.grad(lambda f: models.softmax_cross_entropy(f[None], jnp.ones(1, int))[0])(0.0), -0.5, rtol=1e-12),
        "penalty": equal(
            bounds.empirical_risk(penalized, params, batch), bounds.empirical_risk(_loss_fn, params, batch) + 0.3 * params @ params, rtol=1e-12
        ),
    }


@logistic_loss.control("the printed 1 / (1 + e^(-margin))")
def _(key):
    return ordered(jax.nn.sigmoid(jnp.linspace(-5.0, 5.0, 21)), strict=True, decreasing=True)
