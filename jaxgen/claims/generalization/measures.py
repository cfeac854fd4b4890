"""Claims about scales of perturbations and about how measures rank gaps (GEN-41, GEN-42)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds
from jaxgen.claims import at_least, claim, equal, equal_in_mean, greater
from jaxgen.claims.generalization._nets import net, normal_net, rescaled_units, trained

JIANG = "Jiang, Neyshabur, Mobahi, Krishnan & Bengio 2020"
TARGET = 0.1
NUM_DRAWS, NUM_RANKED = 4000, 30
DRAWING = 0.03
BISECTION = 16 / 2**12


def _quadratic(key):
    """A risk w^T H w / 2 with a diagonal H, and its trace."""
    diagonal = jax.random.uniform(key, (20,), minval=0.5, maxval=3.0)
    return (lambda w: jnp.sum(diagonal * w**2) / 2), diagonal.sum()


@claim(
    "GEN-41",
    title="The scales of perturbations that a quadratic risk bears",
    source=f"{JIANG}; Keskar et al. 2017; Neyshabur et al. 2017",
    statement=r"\hat L = \tfrac12 w^\top H w \text{ at } 0: \quad \sigma = \sqrt{2 \cdot 0.1 / \operatorname{tr} H}, \qquad"
    r" \alpha = \sqrt{0.2 / \textstyle\sum_i h_i} \text{ for a diagonal } H",
    num_seeds=8,
    budget=3.0,
)
def quadratic_scales(key):
    """With H = I in 20 dimensions sigma is 0.1. The standard error of sigma from its draws is below 0.4%, alpha has none."""
    risk, trace = _quadratic(key)
    expected = jnp.sqrt(2 * TARGET / trace)
    sigma = bounds.perturbation_sigma(key, risk, jnp.zeros(20), num_draws=NUM_DRAWS)
    identity = bounds.perturbation_sigma(key, lambda w: jnp.sum(w**2) / 2, jnp.zeros(20), num_draws=NUM_DRAWS)
    alpha = bounds.worst_case_alpha(key, risk, risk, jnp.zeros(20))
    return {
        "sigma": equal(sigma.value, expected, rtol=DRAWING),
        "alpha": equal(alpha.value, expected, rtol=BISECTION),
        "identity": equal(identity.value, 0.1, rtol=DRAWING),
    }


@quadratic_scales.control("a variance handed to what takes a standard deviation")
def _(key):
    """So one published code draws its noise: the sigma it finds is the root of the one it names."""
    risk, trace = _quadratic(key)
    sigma = bounds.perturbation_sigma(key, lambda w: risk(jnp.sqrt(jnp.abs(w)) * jnp.sign(w)), jnp.zeros(20), num_draws=NUM_DRAWS)
    return equal(sigma.value, jnp.sqrt(2 * TARGET / trace), rtol=DRAWING)


@claim(
    "GEN-41.noise",
    title="Perturbations have the standard deviation that is named",
    source=JIANG,
    statement=r"u_i \sim N(0, \sigma^2), \quad \text{or } N(0, \sigma^2 w_i^2 + \epsilon^2)",
    statistical=True,
)
def noise(key):
    weights = jnp.linspace(-2.0, 2.0, 1000)
    plain = bounds.perturbed(key, weights, 0.3) - weights
    magnitudes = bounds.perturbed(key, weights, 0.3, magnitude_aware=True, epsilon=0.1) - weights
    return {
        "plain": equal_in_mean(jnp.mean(plain**2), 0.3**2),
        "of magnitudes": equal_in_mean(jnp.mean(magnitudes**2 / (0.3**2 * weights**2 + 0.1**2)), 1.0),
    }


@noise.control("the variance taken for the standard deviation")
def _(key):
    weights = jnp.zeros(1000)
    return equal_in_mean(jnp.mean(bounds.perturbed(key, weights, 0.3**2) ** 2), 0.3**2)


def _sigmas(key, *, magnitude_aware):
    """Scales of noise on a net's squared outputs, as it is and with its hidden units rescaled, without a floor of the noise."""
    params, x = normal_net(key, (4, 8, 3)), jax.random.normal(key, (16, 4))
    start = net(params, x)

    def risk(params):
        return jnp.mean((net(params, x) - start) ** 2)

    def sigma(params):
        options = {"magnitude_aware": magnitude_aware, "epsilon": 0.0, "num_draws": 4}
        return bounds.perturbation_sigma(key, risk, params, **options).value

    return sigma(params), sigma(rescaled_units(params, jnp.geomspace(0.1, 10.0, 8)))


@claim(
    "GEN-41.rescaling",
    title="Noise in proportion to the weights does not see rescaled hidden units",
    source=f"{JIANG}; Dinh, Pascanu, Bengio & Bengio 2017",
    statement=r"u_i \sim N(0, \sigma'^2 w_i^2): \quad \sigma' \text{ is that of every rescaling of the net}",
    num_seeds=8,
    budget=3.0,
)
def rescaling(key):
    return equal(*_sigmas(key, magnitude_aware=True), rtol=1e-10)


@rescaling.control("noise of one size")
def _(key):
    return equal(*_sigmas(key, magnitude_aware=False), rtol=0.1)


@claim(
    "GEN-42",
    title="Kendall's rank correlation, and its mean and variance for an order that says nothing",
    source=f"{JIANG}, section 3; Kendall 1938",
    statement=r"\tau = \frac{1}{n (n - 1)} \sum_{i \ne j} \operatorname{sgn}(\mu_i - \mu_j) \operatorname{sgn}(g_i - g_j); \qquad"
    r" \text{shuffled: } \mathbb{E} \tau = 0, \; \mathbb{E} \tau^2 = \frac{2 (2n + 5)}{9 n (n - 1)}",
    core=True,
    statistical=True,
)
def kendall(key):
    order = jnp.arange(NUM_RANKED) * 1.0
    taus = jax.vmap(lambda key: bounds.kendall_tau(order, jax.random.permutation(key, order)))(jax.random.split(key, 20))
    variance = 2 * (2 * NUM_RANKED + 5) / (9 * NUM_RANKED * (NUM_RANKED - 1))
    known = [bounds.kendall_tau(order, sign * order) for sign in (1, -1)] + [bounds.kendall_tau(jnp.array([1.0, 2, 3]), jnp.array([1.0, 3, 2]))]
    ties = bounds.kendall_tau(jnp.array([1.0, 1, 2]), jnp.array([1.0, 2, 3]), variant="b")
    return {
        "known": equal(jnp.stack([*known, ties]), jnp.array([1.0, -1.0, 1 / 3, 2 / 6**0.5]), rtol=1e-12),
        "mean": equal_in_mean(taus.mean(), 0.0),
        "variance": equal_in_mean(jnp.mean(taus**2), variance),
    }


@kendall.control("a gap that follows the measure a little")
def _(key):
    """Half of the noise's size: |tau| is of the order of one standard deviation, and never negative on average."""
    order = jax.random.normal(key, (20, NUM_RANKED))
    gap = 0.5 * order + jax.random.normal(jax.random.fold_in(key, 1), (20, NUM_RANKED))
    return equal_in_mean(jax.vmap(bounds.kendall_tau)(order, gap).mean(), 0.0)


def _factorial(key):
    """Gaps of nets on a grid of 4 widths and 5 rates, which fall with the width and rise a little with the rate; the grid."""
    grid = jnp.stack(jnp.meshgrid(jnp.arange(4), jnp.arange(5), indexing="ij"), axis=-1).reshape(-1, 2)
    return -10.0 * grid[:, 0] + grid[:, 1] + 0.3 * jax.random.uniform(key, (20,)), grid


@claim(
    "GEN-42.granulated",
    title="Rank correlation within groups tells what a measure says of each hyperparameter",
    source=f"{JIANG}, section 3",
    statement=r"\mu = -\text{width}: \; \tau > 0.6 \text{ although } \psi_{\text{width}} = 1, \; \psi_{\text{rate}} = 0, \; \Psi = \tfrac12",
)
def granulated(key):
    gap, grid = _factorial(key)
    measure = -1.0 * grid[:, 0]
    return {
        "overall": greater(bounds.kendall_tau(measure, gap), 0.6),
        "by axis": equal(bounds.granulated_kendall(measure, gap, grid, per_axis=True), jnp.array([1.0, 0.0]), rtol=0),
        "mean": equal(bounds.granulated_kendall(measure, gap, grid), 0.5, rtol=0),
    }


@granulated.control("one group of all nets for every hyperparameter")
def _(key):
    gap, grid = _factorial(key)
    tau = bounds.kendall_tau(-1.0 * grid[:, 0], gap)
    return equal(jnp.stack([tau, tau]), jnp.array([1.0, 0.0]), rtol=0)


WIDTHS, RATES = (8, 16, 32), (0.2, 0.5, 1.0)


def _study(key, *, num_steps, names=None):
    """Measures of nets of three widths, three learning rates and three seeds on two overlapping classes, a row for each net.

    All nets have the arrays of the widest; units beyond the width of a net are zero, and stay so.
    """
    x_key, label_key, noise_key = jax.random.split(key, 3)
    y = jax.random.randint(label_key, (40,), 0, 2)
    x = jax.random.normal(x_key, (40, 6)) + (2 * y[:, None] - 1) * (jnp.arange(6) == 0)

    def measures(key, width, rate):
        first, last = normal_net(key, (6, max(WIDTHS), 2))
        there = jnp.arange(max(WIDTHS)) < width
        start = (first * there, last * there[:, None])
        params = trained(start, x, y, learning_rate=rate, num_steps=num_steps)
        found = bounds.complexity_measures(net, params, start, x, y, key=noise_key, names=names, num_draws=2, num_steps=2, num_bisections=8)
        return jnp.stack(list(found.values()))

    widths, rates, seeds = (part.ravel() for part in jnp.meshgrid(jnp.array(WIDTHS), jnp.array(RATES), jnp.arange(3)))
    return jax.vmap(measures)(jax.vmap(lambda seed: jax.random.fold_in(noise_key, seed))(seeds), widths, rates)


@claim(
    "GEN-42.study",
    title="All measures are finite on a small grid of trained nets",
    source=f"{JIANG}; Dziugaite et al. 2020",
    statement=r"\text{3 widths, 3 learning rates, 3 seeds: every } \mu \text{ is a number}",
    num_seeds=1,
    max_seeds=1,
    budget=15.0,
)
def small_study(key):
    """Of 27 nets that fit 90% of their examples, which measures over the margin need."""
    return at_least(jnp.isfinite(_study(key, num_steps=600)) * 1.0, 1.0)


@small_study.control("nets that were not trained")
def _(key):
    return at_least(jnp.isfinite(_study(key, num_steps=0, names=("inverse-margin",))) * 1.0, 1.0)
