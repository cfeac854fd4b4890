"""Claims about one hypothesis fixed beforehand, and about polynomials of too high a degree (GEN-1, GEN-2)."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import binom

from jaxgen import bounds, optimization
from jaxgen.claims import at_most, claim, equal, equal_in_mean, less, with_probability

BOOK = "Arora et al., Theory of Deep Learning"
DELTA = 0.05
VARIANTS = ("binomial", "hoeffding")


@claim(
    "GEN-1",
    title="The limits of Hoeffding and of Clopper and Pearson for one fixed hypothesis",
    source=f"{BOOK}, section 5.1; Clopper and Pearson 1934; Langford 2005, Theorem 3.3",
    statement=r"\Pr_S\left[ L_D(h) > \hat L_S(h) + \sqrt{\tfrac{\ln(1/\delta)}{2 m}} \right] \le \delta, \qquad"
    r" \Pr[\mathrm{Bin}(m, \bar p(k)) \le k] = \delta",
    core=True,
    budget=5.0,
)
def fixed_hypothesis(key):
    """Failure probabilities by summing over all numbers of errors, at forty risks; a limit is exact at every number of errors."""
    risks = jax.random.uniform(key, (40,))
    counts = jnp.arange(201)
    masses = binom.pmf(counts, 200, risks[:, None])
    errors, n = jnp.append(counts / 200, 10 / 500), jnp.append(jnp.full(201, 200), 500)
    limits = {variant: bounds.holdout_bound(errors, n, DELTA, variant=variant).value for variant in VARIANTS}
    failures = {variant: jnp.sum(masses * (found[:201] < risks[:, None]), axis=1) for variant, found in limits.items()}
    tails = jnp.sum(binom.pmf(counts, 200, limits["binomial"][:200, None]) * (counts <= counts[:200, None]), axis=1)
    return {variant: at_most(found, DELTA) for variant, found in failures.items()} | {
        "exact limit": equal(tails, DELTA, rtol=1e-10),
        "known binomial": equal(limits["binomial"][-1], 0.0336882723, rtol=1e-8),
        "known Hoeffding": equal(limits["hoeffding"][-1], 0.0747332831, rtol=1e-8),
    }


@fixed_hypothesis.control("the best of ten thousand hypotheses, chosen on the sample")
def _(key):
    """The least of N numbers of errors is at least k with probability Pr[Bin >= k]^N."""
    counts = jnp.arange(201)
    masses = binom.pmf(counts, 200, 0.3)
    none_below = (jnp.cumsum(masses[::-1])[::-1]) ** 10_000
    chosen = none_below - jnp.append(none_below[1:], 0.0)
    limits = bounds.holdout_bound(counts / 200, 200, DELTA, variant="hoeffding").value
    return at_most(chosen @ (limits < 0.3), 0.5)


@claim(
    "GEN-1.coverage",
    title="A holdout bound holds on at least 95 of 100 samples",
    source=f"{BOOK}, section 5.1.1; Langford 2005, Theorem 3.3",
    statement=r"\Pr_S[L_D(h) \le \bar p(\hat L_S(h), m, \delta)] \ge 1 - \delta",
    statistical=True,
    budget=4.0,
)
def holdout_coverage(key):
    """A loss of mean 0.3 on 200 examples, 4000 samples in 64 seeds."""
    errors = jax.random.bernoulli(key, 0.3, (63, 200)).mean(axis=1)
    return {
        variant: with_probability(bounds.holdout_bound(errors, 200, DELTA, variant=variant).value >= 0.3, at_least=1 - DELTA) for variant in VARIANTS
    }


@holdout_coverage.control("the same limit at six times the number of examples")
def _(key):
    errors = jax.random.bernoulli(key, 0.3, (63, 200)).mean(axis=1)
    return with_probability(bounds.holdout_bound(errors, 1200, DELTA).value >= 0.3, at_least=1 - DELTA)


@holdout_coverage.control("the best of ten thousand hypotheses, chosen on the sample")
def _(key):
    """The least of N independent numbers of errors, by inversion of its distribution."""
    tails = jnp.cumsum(binom.pmf(jnp.arange(201), 200, 0.3)[::-1])[::-1]
    at_most_count = 1 - tails[1:] ** 10_000
    errors = jnp.searchsorted(at_most_count, jax.random.uniform(key, (63,))) / 200
    return with_probability(bounds.holdout_bound(errors, 200, DELTA).value >= 0.3, at_least=1 - DELTA)


NUM_EXAMPLES, TRUE_DEGREE, NOISE = 30, 3, 0.3


def _ridge_errors(key, degree, lam, num_sets=50):
    """Squared distance in L2[0, 1] of the ridge fit from the polynomial, on average over data sets, for each strength."""
    truth = jax.random.normal(key, (TRUE_DEGREE + 1,))

    def errors(key):
        keys = jax.random.split(key)
        x = jax.random.uniform(keys[0], (NUM_EXAMPLES,))
        features = optimization.polynomial_features(x, degree)
        y = features[:, : TRUE_DEGREE + 1] @ truth + NOISE * jax.random.normal(keys[1], (NUM_EXAMPLES,))
        return jnp.sum((optimization.ridge(features, y, lam) - jnp.pad(truth, (0, degree - TRUE_DEGREE))) ** 2, axis=1)

    return jax.vmap(errors)(jax.random.split(jax.random.fold_in(key, 1), num_sets)).mean(axis=0)


def _gain(key, degree):
    """Error without a penalty over that of the best strength, which is inside of the range."""
    found = _ridge_errors(key, degree, 10.0 ** jnp.arange(-8, 4))
    return found[0], found[1:-1].min(), found[-1]


@claim(
    "GEN-2",
    title="A ridge penalty saves a polynomial of too high a degree",
    source=f"{BOOK}, section 5.1.2",
    statement=r"N \gg d: \quad \min_\lambda \lVert \hat p_\lambda - p \rVert_{L^2}^2 \text{ is far below its values at } \lambda \to 0"
    r" \text{ and } \lambda \to \infty",
    budget=4.0,
)
def ridge_penalty(key):
    """Degree 25 for a cubic, 30 examples, in the Legendre basis, where the norm of coefficients is that of the polynomial."""
    without, best, strong = _gain(key, 25)
    return {"no penalty": less(5 * best, without), "strong penalty": less(best, strong)}


@ridge_penalty.control("the right degree")
def _(key):
    without, best, _ = _gain(key, TRUE_DEGREE)
    return less(5 * best, without)


def _residual(key, n, degree):
    """Residual sum of squares of least squares on noise of variance one, on average over 20 data sets."""

    def residual(key):
        keys = jax.random.split(key)
        features = optimization.polynomial_features(jax.random.uniform(keys[0], (n,)), degree)
        y = jax.random.normal(keys[1], (n,))
        return jnp.sum((features @ optimization.ridge(features, y, 0.0) - y) ** 2)

    return jax.vmap(residual)(jax.random.split(key, 20)).mean()


@claim(
    "GEN-2.residual",
    title="Least squares fit the noise with every coefficient",
    source=f"{BOOK}, section 5.1.2",
    statement=r"\mathbb{E} \min_\theta \lVert \Phi \theta - y \rVert^2 = \sigma^2 (n - N - 1)",
    statistical=True,
)
def residual_of_least_squares(key):
    return equal_in_mean(_residual(key, 40, 20), 40.0 - 20 - 1)


@residual_of_least_squares.control("the loss of the true coefficients, n sigma^2")
def _(key):
    return equal_in_mean(_residual(key, 40, 20), 40.0)
