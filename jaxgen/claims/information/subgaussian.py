"""Claims about sub-Gaussian constants (INFO-14)."""

import math

import jax
import jax.numpy as jnp

from jaxgen import information, models
from jaxgen.claims import at_most, claim, equal, ordered

NUM_QUANTILES = 10_000


def _grid(limit, num=1000):
    """Arguments of the moment generating function: zero and `num` of each sign."""
    return jnp.arange(-num, num + 1) * (limit / num)


def _coin(key):
    """Twenty equally likely values, k of them ones, and p = k/20, for a random k."""
    ones = jax.random.randint(key, (), 1, 10)
    return (jnp.arange(20) < ones).astype(float), ones / 20


@claim(
    "INFO-14",
    title="Kearns-Saul constant of a coin, between its variance and Hoeffding's",
    source="Kearns & Saul 1998; Boucheron, Lugosi & Massart 2013, section 2.3",
    statement=r"\mathrm{Var}\, X \le \sup_\rho \frac{2}{\rho^2} \log \mathbb{E} e^{\rho(X - p)} = \frac{1 - 2p}{2 \log((1 - p)/p)} \le \frac{1}{4}",
    core=True,
)
def optimal_constant_of_a_coin(key):
    x, p = _coin(key)
    optimal = information.subgaussian_constant("bernoulli", p=p) ** 2
    hoeffding = information.subgaussian_constant("bounded", max_value=1.0) ** 2
    known = information.subgaussian_constant("bernoulli", p=0.1) ** 2
    return {
        "supremum": equal(information.subgaussian_constant_empirical(x, _grid(10.0)) ** 2, optimal, rtol=1e-5),
        "order": ordered([x.var(), optimal, hoeffding], strict=True),
        "value at p = 0.1": equal(known, 0.1820478453, rtol=1e-9),
    }


@optimal_constant_of_a_coin.control("Hoeffding's constant in place of the optimal one")
def _(key):
    x, _ = _coin(key)
    return equal(information.subgaussian_constant_empirical(x, _grid(10.0)), information.subgaussian_constant("bounded", max_value=1.0), rtol=1e-5)


@optimal_constant_of_a_coin.control("variance in place of the optimal one")
def _(key):
    x, _ = _coin(key)
    return at_most(information.subgaussian_constant_empirical(x, _grid(10.0)) ** 2, x.var())


def _means_of_three(key):
    """Five equally likely values in [0, 1], and the 125 equally likely means of three of them."""
    values = jax.random.uniform(key, (5,))
    return values, jnp.stack(jnp.meshgrid(values, values, values)).mean(axis=0).ravel()


@claim(
    "INFO-14.mean",
    title="The mean of n independent copies has the constant over the root of n",
    source="Boucheron, Lugosi & Massart 2013, section 2.3",
    statement=r"R \left( \frac{1}{n} \sum_{i=1}^{n} X_i \right) = \frac{R(X)}{\sqrt{n}}",
)
def constant_of_a_mean(key):
    values, means = _means_of_three(key)
    one = information.subgaussian_constant_empirical(values, _grid(20.0))
    mean = information.subgaussian_constant_empirical(means, _grid(60.0))
    return {
        "copies": equal(mean, one / math.sqrt(3), rtol=1e-10),
        "bounded": at_most(mean, information.subgaussian_constant("bounded", max_value=1.0, n=3)),
    }


@constant_of_a_mean.control("n copies of one value in place of independent ones")
def _(key):
    constant = information.subgaussian_constant_empirical(_means_of_three(key)[0], _grid(20.0))
    return equal(constant, constant / math.sqrt(3), rtol=1e-10)


def _squared_losses(key, clip_at):
    """Losses (w - z)^2 of a random w on normal data, clipped to [0, clip_at] unless that is None."""
    key_w, key_z = jax.random.split(key)

    def squared(w, z):
        return (w - z) ** 2

    loss_fn = squared if clip_at is None else models.clip_loss(squared, clip_at)
    return loss_fn(jax.random.normal(key_w), jax.random.normal(key_z, (1000,)))


@claim(
    "INFO-14.clipped",
    title="A loss clipped at M has the constant M/2, which a fair coin attains",
    source="Hoeffding 1963; Boucheron, Lugosi & Massart 2013, Lemma 2.2",
    statement=r"\log \mathbb{E} e^{\rho(X - \mathbb{E} X)} \le \frac{\rho^2 M^2}{8} \quad (0 \le X \le M)",
)
def clipped_loss_is_subgaussian(key):
    """A squared or cross-entropy loss has no such constant for all parameters: a certificate needs a clipped or a 0-1 loss."""
    constant = information.subgaussian_constant("bounded", max_value=2.0)
    coin = information.subgaussian_constant_empirical(jnp.array([0.0, 2.0]), _grid(5.0))
    losses = _squared_losses(key, clip_at=2.0)
    return {
        "clipped": at_most(information.subgaussian_constant_empirical(losses, _grid(5.0)), constant),
        "fair coin": equal(coin, constant, rtol=1e-10),
    }


@clipped_loss_is_subgaussian.control("loss not clipped")
def _(key):
    constant = information.subgaussian_constant("bounded", max_value=2.0)
    return at_most(information.subgaussian_constant_empirical(_squared_losses(key, clip_at=None), _grid(5.0)), constant)


def _normal_and_exponential(key):
    """A random scale s, and evenly spaced quantiles of N(0, s^2) and of the exponential law of mean s."""
    scale = jnp.exp(jax.random.normal(key))
    levels = (jnp.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    return scale, scale * jax.scipy.special.ndtri(levels), -scale * jnp.log1p(-levels)


def _exponential_ratio(rho):
    """(2 / rho^2) log E exp(rho (X - 1)) of the exponential law of mean 1, for rho < 1; its variance at rho = 0 is 1."""
    return 2 * (-rho - jnp.log1p(-rho)) / rho**2


@claim(
    "INFO-14.tails",
    title="A Gaussian has R = s; an exponential law is sub-Gaussian to the left only",
    source="Boucheron, Lugosi & Massart 2013, sections 2.3 and 2.4",
    statement=r"$\frac{2}{\rho^2} \log \mathbb{E} e^{\rho(X - 1)} = \frac{2(-\rho - \log(1 - \rho))}{\rho^2}$ for an exponential law:"
    r" at most $\mathrm{Var}\, X = 1$ for $\rho < 0$, $7.38$ at $\rho = 0.99$, unbounded as $\rho \to 1$",
)
def gaussian_and_one_sided_tails(key):
    scale, normal, exponential = _normal_and_exponential(key)
    gaussian = information.subgaussian_constant("gaussian", std=scale)
    left = information.subgaussian_constant_empirical(exponential, jnp.array([-1.0]) / scale) ** 2
    on_the_left = information.subgaussian_constant_empirical(exponential, -jnp.geomspace(0.1, 100.0, 100) / scale)
    growth = _exponential_ratio(1 - jnp.array([1e-2, 1e-4, 1e-8, 1e-12]))
    return {
        "Gaussian": equal(information.subgaussian_constant_empirical(normal, _grid(2.0, 50) / scale), gaussian, rtol=1e-3),
        "exponential, left": at_most(on_the_left, gaussian),
        "exponential, exact": equal(left, scale**2 * _exponential_ratio(-1.0), rtol=1e-3),
        "exponential, right": ordered(growth, strict=True),
        "value at 0.99": equal(growth[0], 7.38, rtol=1e-3),
    }


@gaussian_and_one_sided_tails.control("an exponential law on both sides")
def _(key):
    scale, _, exponential = _normal_and_exponential(key)
    return at_most(
        information.subgaussian_constant_empirical(exponential, _grid(0.99, 50) / scale), information.subgaussian_constant("gaussian", std=scale)
    )
