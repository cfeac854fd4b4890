"""Claims about the relative entropy of Bernoulli laws, its inverse and its exponential moment (GEN-28)."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import binom

from jaxgen import bounds
from jaxgen.claims import at_most, claim, equal, ordered
from jaxgen.claims.generalization._pac_bayes import NEARLY_ONE

SIDES = ("upper", "lower")


def _grid():
    return (values.ravel() for values in jnp.meshgrid(jnp.linspace(0.01, 0.99, 50), 10.0 ** jnp.linspace(-6, 0.3, 50)))


@claim(
    "GEN-28",
    title="The inverse of the binary relative entropy",
    source="Langford & Seeger 2001; Germain et al. 2015",
    statement=r"\mathrm{kl}\left(q \| \mathrm{kl}^{-1}(q, c)\right) = c, \qquad \mathrm{kl}^{-1}(0, c) = 1 - e^{-c},"
    r" \qquad \mathrm{kl}^{-1}(q, c) \le q + \sqrt{c / 2}",
    core=True,
    num_seeds=1,
    max_seeds=1,
)
def inverse(key):
    """A grid of 50 x 50, known values, and Pinsker's inequality. Rounding of 1 - p, where p is 1 - 1e-5, leaves 1e-10."""
    del key
    q, c = _grid()
    p = {side: bounds.binary_kl_inverse(q, c, side=side) for side in SIDES}
    known = [bounds.binary_kl_inverse(*pair) for pair in ((0.1, 0.05), (0.5, 0.5), (0.02, 0.1), (0.028, 0.2))]
    inside = p["upper"] < 1 - 1e-5
    return {
        "upper": equal(jnp.where(inside, bounds.binary_kl(q, p["upper"]), c), c, rtol=1e-10),
        "lower": equal(bounds.binary_kl(q, p["lower"]), c, rtol=1e-10),
        "ends": equal(bounds.binary_kl_inverse(0.0, c), -jnp.expm1(-c), rtol=1e-13),
        "known values": equal(jnp.stack(known), jnp.array([0.220078601107, 0.897530048810, 0.150811512119, 0.257779192079]), rtol=1e-11),
        "known lower value": equal(bounds.binary_kl_inverse(0.1, 0.05, side="lower"), 0.031278396272, rtol=1e-10),
        "Pinsker": at_most(p["upper"], q + jnp.sqrt(c / 2)),
        "order": ordered(jnp.stack([p["lower"], q, p["upper"]]), strict=True),
    }


@inverse.control("arguments of the relative entropy swapped")
def _(key):
    q, c = _grid()
    p = bounds.binary_kl_inverse(q, c)
    inside = p < 1 - 1e-5
    return equal(jnp.where(inside, bounds.binary_kl(p, q), c), c, rtol=1e-4)


@inverse.control("half of the width in Pinsker's inequality")
def _(key):
    q, c = _grid()
    return at_most(bounds.binary_kl_inverse(q, c), q + jnp.sqrt(c / 8))


def _random_pair(key):
    keys = jax.random.split(key)
    return jax.random.uniform(keys[0], minval=0.02, maxval=0.9), 10 ** jax.random.uniform(keys[1], minval=-4, maxval=-0.5)


@claim(
    "GEN-28.slopes",
    title="Derivatives of the inverse of the binary relative entropy",
    source="implicit differentiation",
    statement=r"\partial_c p = \frac{p (1 - p)}{p - q}, \qquad"
    r" \partial_q p = \left(\log \frac{p}{q} - \log \frac{1 - p}{1 - q}\right) \frac{p (1 - p)}{p - q}",
)
def slopes(key):
    """Of both sides, against central differences, whose error is below 1e-7 of the slope."""
    q, c = _random_pair(key)
    checks = {}
    for side in SIDES:

        def found(q, c, side=side):
            return bounds.binary_kl_inverse(q, c, side=side)

        by_q, by_c = jax.grad(found, (0, 1))(q, c)
        p = found(q, c)
        checks |= {
            f"{side}: by q": equal(by_q, (found(q + 1e-6, c) - found(q - 1e-6, c)) / 2e-6, rtol=1e-5),
            f"{side}: by c": equal(by_c, (found(q, c * 1.00001) - found(q, c * 0.99999)) / (2e-5 * c), rtol=1e-5),
            f"{side}: formula": equal(by_c, p * (1 - p) / (p - q), rtol=1e-10),
        }
    return checks


@slopes.control("the slope at q in place of that at p")
def _(key):
    q, c = _random_pair(key)
    p = bounds.binary_kl_inverse(q, c)
    return equal(jax.grad(bounds.binary_kl_inverse, 1)(q, c), q * (1 - q) / (p - q), rtol=1e-5)


def _exact_moment(n, p):
    k = jnp.arange(n + 1.0)
    return jnp.exp(jax.nn.logsumexp(binom.logpmf(k, n, p) + n * bounds.binary_kl(k / n, p)))


@claim(
    "GEN-28.moment",
    title="The exponential moment of the relative entropy between the errors and their probability",
    source="Maurer 2004, Theorem 1; Germain et al. 2015, Lemma 19",
    statement=r"\mathbb{E} e^{m \, \mathrm{kl}(\hat p \| p)} = \xi(m) = \sum_k \binom mk \left(\tfrac km\right)^k \left(1 - \tfrac km\right)^{m-k}"
    r" \in [\sqrt m, 2 \sqrt m] \text{ for every } p \in (0, 1)",
)
def moment(key):
    """The same for every p, by the exact sum over the errors; the interval holds for all m below 400, so that Maurer's m >= 8 is not needed."""
    p = jax.random.uniform(key, minval=0.05, maxval=0.95)
    sizes = jnp.arange(1.0, 400.0)
    found = bounds.kl_moment(sizes)
    return {f"m = {n}": equal(_exact_moment(n, p), bounds.kl_moment(n), rtol=1e-9) for n in (2, 10, 100, 1000)} | {
        "interval": ordered(jnp.stack([jnp.sqrt(sizes), found, 2 * jnp.sqrt(sizes)])),
        "known values": equal(found[jnp.array([1, 4, 9])], jnp.array([2.5, 3.5104, 4.66021568]), rtol=1e-9),
    }


@moment.control("its asymptotic form, the root of pi m / 2")
def _(key):
    p = jax.random.uniform(key, minval=0.05, maxval=0.95)
    return equal(_exact_moment(100, p), jnp.sqrt(jnp.pi * 50), rtol=0.01)


@moment.control("relative entropy with its arguments swapped")
def _(key):
    k, p = jnp.arange(101.0), jax.random.uniform(key, minval=0.05, maxval=0.95)
    swapped = jnp.where((k == 0) | (k == 100), 0.0, bounds.binary_kl(p, jnp.clip(k / 100, 0.005, 0.995)))
    return equal(jnp.sum(jnp.exp(binom.logpmf(k, 100, p) + 100 * swapped)), bounds.kl_moment(100), rtol=0.01)


def random_cases(key, count=200):
    """Empirical risks, divergences and numbers of examples over the range in which bounds are used."""
    keys = jax.random.split(key, 3)
    n = jnp.round(10 ** jax.random.uniform(keys[0], (count,), minval=1, maxval=5))
    return jax.random.uniform(keys[1], (count,)) ** 3, n * 10 ** jax.random.uniform(keys[2], (count,), minval=-4, maxval=0), n


@claim(
    "GEN-28.order",
    title="Forms of the relative-entropy bound in order, below what relaxes them",
    source="Maurer 2004; Langford & Seeger 2001; Thiemann et al. 2017",
    statement=r"\mathrm{kl}_{\xi(m)} \le \mathrm{kl}_{2 \sqrt m} \le \mathrm{kl}_{m + 1}, "
    r" \qquad \mathrm{kl}_{2 \sqrt m} \le \min(f_{quad}, f_{classic})",
)
def order(key):
    risk, kl, n = random_cases(key)
    values = {kind: bounds.pac_bayes_bound(risk, kl, n, 0.05, kind=kind).value for kind in ("kl", "kl_exact_xi", "langford_seeger")}
    relaxed = [bounds.pac_bayes_bound(risk, kl, n, 0.05, kind=kind).value for kind in ("quadratic", "maurer")]
    known = bounds.pac_bayes_bound(0.05, 500.0, 10_000, 0.05)
    return {
        "moments": ordered(jnp.stack([values[kind] for kind in ("kl_exact_xi", "kl", "langford_seeger")])),
        "relaxations": at_most(values["kl"], jnp.minimum(*relaxed), slack=1e-12),
        "known value": equal(known, 0.1501219407, rtol=1e-9),
    }


@order.control("the price of the confidence left out of what relaxes the bound")
def _(key):
    risk, kl, n = random_cases(key)
    relaxed = jnp.minimum(*(bounds.pac_bayes_bound(risk, kl, n, NEARLY_ONE, kind=kind).value for kind in ("quadratic", "maurer")))
    return at_most(bounds.pac_bayes_bound(risk, kl, n, 0.05).value, relaxed)
