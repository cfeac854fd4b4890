"""Claims about entropy, relative entropy and mutual information (INFO-1 to INFO-3)."""

import math

import jax
import jax.numpy as jnp

from jaxgen import information
from jaxgen.claims import at_least, at_most, claim, equal, equal_within, greater, rejects
from jaxgen.claims.information._problems import binary_symmetric, covariances, tables

ROUNDING = 1e-12


def _entropies(key):
    """H(X), H(X|Y) and the largest H(X|Y=y) of random tables."""

    def entropies(pxy):
        worst = information.entropy(pxy / pxy.sum(axis=0), axis=0).max()
        return information.entropy(pxy.sum(axis=1)), information.conditional_entropy(pxy, 1), worst

    return jax.vmap(entropies)(tables(key, 5, 7))


@claim(
    "INFO-1",
    title="Conditioning reduces entropy on average",
    source="Cover & Thomas 2006, Theorems 2.6.4 and 2.6.5",
    statement=r"0 \le H(X \mid Y) \le H(X) \le \log |\mathcal{X}|",
    core=True,
)
def conditioning_reduces_entropy(key):
    """The middle inequality holds on average over Y, not for every value of it."""
    marginal, conditional, _ = _entropies(key)
    return {
        "conditioning": at_most(conditional, marginal, slack=ROUNDING),
        "uniform is largest": at_most(marginal, math.log(5), slack=ROUNDING),
        "nonnegative": at_least(conditional, 0.0),
    }


@conditioning_reduces_entropy.control("one value of Y in place of the average over Y", fails="every")
def _(key):
    marginal, _, worst = _entropies(key)
    return at_most(worst, marginal, slack=ROUNDING)


@claim(
    "INFO-1.chain",
    title="Chain rule of entropy for two variables",
    source="Cover & Thomas 2006, Theorem 2.2.1",
    statement=r"H(X, Y) = H(Y) + H(X \mid Y)",
)
def two_variable_chain_rule(key):
    pxy = tables(key, 5, 7)
    given_y = jax.vmap(lambda p: information.conditional_entropy(p, 1))(pxy)
    return equal(information.entropy(pxy, axis=(1, 2)), information.entropy(pxy.sum(axis=1), axis=1) + given_y, rtol=ROUNDING)


@two_variable_chain_rule.control("values of Y weighted equally")
def _(key):
    pxy = tables(key, 5, 7)
    py = pxy.sum(axis=1)
    given_each_y = information.entropy(pxy / py[:, None, :], axis=1)
    return equal(information.entropy(pxy, axis=(1, 2)), information.entropy(py, axis=1) + given_each_y.mean(axis=1), rtol=ROUNDING)


@claim(
    "INFO-1.values",
    title="Entropies of a uniform law, a coin, a constant and a Gaussian",
    source="Cover & Thomas 2006, sections 2.1 and 8.1",
    statement=r"H(\mathrm{Unif}_4) = \log 4, \quad H(\mathrm{Bern}(0.1)) = 0.3250829734, \quad h(N(0, 1)) = \frac{1}{2} \log(2 \pi e)",
)
def known_entropies(key):
    laws = jnp.full(4, 0.25), jnp.array([0.1, 0.9]), jnp.array([1.0, 0.0])
    found = [*map(information.entropy, laws), information.gaussian_entropy(1.0)]
    expected = [math.log(4), 0.3250829734, 0.0, 0.5 * math.log(2 * math.pi * math.e)]
    return {"values": equal(found, expected, rtol=1e-9), "nonnegative": at_least(found, 0.0)}


@known_entropies.control("differential entropy taken for one that is never negative")
def _(key):
    return at_least(information.gaussian_entropy(0.01), 0.0)


@claim(
    "INFO-1.rejects",
    title="What is no probability law is refused",
    source="the axioms of probability",
    statement=r"$H(p)$ needs $p \ge 0$ and $\sum_x p(x) = 1$",
    num_seeds=1,
    jittable=False,
)
def refuses_what_is_no_law(key):
    return {
        "sum": rejects(information.entropy, [0.5, 0.6], match="sum to one"),
        "sign": rejects(information.entropy, [1.5, -0.5], match="negative"),
        "NaN": rejects(information.entropy, [0.5, math.nan], match="NaN"),
        "empty": rejects(information.entropy, [], match="empty"),
    }


@refuses_what_is_no_law.control("a law off by less than rounding")
def _(key):
    return rejects(information.entropy, [0.5, 0.5 + 1e-9])


def _donsker_varadhan(critic, q, p):
    """The functional of laws on M symbols: expectations as means over M equally likely symbols, with the laws as weights."""
    return information.donsker_varadhan(q.size * q * critic, critic + jnp.log(p.size * p))


@claim(
    "INFO-2",
    title="Relative entropy is the largest value of the Donsker-Varadhan functional",
    source="Donsker & Varadhan 1983; Cover & Thomas 2006, Theorem 2.6.3",
    statement=r"0 \le D(Q \| P) = \sup_f \left\{ \mathbb{E}_Q f - \log \mathbb{E}_P e^{f} \right\}",
    core=True,
)
def donsker_varadhan_variational_formula(key):
    key_q, key_p, key_f = jax.random.split(key, 3)
    q, p = tables(key_q, 8), tables(key_p, 8)
    divergence = jax.vmap(information.kl_divergence)(q, p)
    critic = jnp.log(q / p) + jax.random.normal(key_f, q.shape)
    return {
        "other critics": at_most(jax.vmap(_donsker_varadhan)(critic, q, p), divergence, slack=ROUNDING),
        "attained": equal(jax.vmap(_donsker_varadhan)(jnp.log(q / p), q, p), divergence, rtol=ROUNDING),
        "positive": greater(divergence, 0.0),
        "zero at Q = P": equal(jax.vmap(information.kl_divergence)(q, q), 0.0, rtol=0.0),
    }


@donsker_varadhan_variational_formula.control("arguments swapped")
def _(key):
    key_q, key_p, _ = jax.random.split(key, 3)
    q, p = tables(key_q, 8), tables(key_p, 8)
    return at_most(jax.vmap(_donsker_varadhan)(jnp.log(q / p), q, p), jax.vmap(information.kl_divergence)(p, q), slack=ROUNDING)


def _gaussian_divergence(key):
    """D(N0||N1) of two random Gaussians in the plane, by sampling N0; their means and covariances."""
    key_means, key_covs, key_samples = jax.random.split(key, 3)
    means, covs = jax.random.normal(key_means, (2, 2)), covariances(key_covs, 2)[:2]
    factors = jnp.linalg.cholesky(covs)
    samples = means[0] + jax.random.normal(key_samples, (100_000, 2)) @ factors[0].T

    def log_density(mean, factor):
        return lambda x: jnp.asarray(jax.scipy.stats.multivariate_normal.logpdf(x, mean, factor @ factor.T))

    estimate = information.kl_monte_carlo(log_density(means[0], factors[0]), log_density(means[1], factors[1]), samples)
    return estimate, means, covs


@claim(
    "INFO-2.gaussian",
    title="Relative entropy of Gaussians against sampling",
    source="Cover & Thomas 2006, section 8.5",
    statement=r"\mathbb{E}_{N_0} \log \frac{dN_0}{dN_1} = \frac{1}{2} \left[ \mathrm{tr}\, \Sigma_1^{-1} \Sigma_0"
    r" + (m_1 - m_0)^\top \Sigma_1^{-1} (m_1 - m_0) - d + \log \frac{|\Sigma_1|}{|\Sigma_0|} \right]",
    statistical=True,
    chunk_size=8,
    budget=6.0,
)
def gaussian_relative_entropy(key):
    estimate, means, covs = _gaussian_divergence(key)
    return equal_within(estimate, information.gaussian_kl(means[0], covs[0], means[1], covs[1]))


@gaussian_relative_entropy.control("arguments swapped")
def _(key):
    estimate, means, covs = _gaussian_divergence(key)
    return equal_within(estimate, information.gaussian_kl(means[1], covs[1], means[0], covs[0]))


KL_VALUES = (0.5 * math.log(2), 1 - 0.5 * math.log(2))


@claim(
    "INFO-2.values",
    title="Relative entropy is asymmetric, and infinite without absolute continuity",
    source="Cover & Thomas 2006, section 2.3",
    statement=r"D(N(0, 1) \| N(1, 2)) = \frac{1}{2} \log 2, \quad D(N(1, 2) \| N(0, 1)) = 1 - \frac{1}{2} \log 2",
)
def known_relative_entropies(key):
    found = information.gaussian_kl(0.0, 1.0, 1.0, 2.0), information.gaussian_kl(1.0, 2.0, 0.0, 1.0)
    coin, constant = jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0])
    singular = information.kl_divergence(coin, constant), information.kl_divergence(constant, coin)
    return {"Gaussians": equal(found, KL_VALUES, rtol=ROUNDING), "Q << P fails": equal(singular, (math.inf, math.log(2)), rtol=ROUNDING)}


@known_relative_entropies.control("arguments swapped")
def _(key):
    return equal((information.gaussian_kl(1.0, 2.0, 0.0, 1.0), information.gaussian_kl(0.0, 1.0, 1.0, 2.0)), KL_VALUES, rtol=ROUNDING)


@claim(
    "INFO-3",
    title="The five forms of mutual information agree",
    source="Cover & Thomas 2006, Theorems 2.4.1 and 2.6.3",
    statement=r"I(X;Y) = D(P_{XY} \| P_X P_Y) = H(X) - H(X|Y) = H(Y) - H(Y|X) = H(X) + H(Y) - H(X,Y) = \mathbb{E}_Y D(P_{X|Y} \| P_X) \ge 0",
    core=True,
)
def five_forms_of_mutual_information(key):
    def forms(pxy):
        px, py = pxy.sum(axis=1), pxy.sum(axis=0)
        product = jnp.outer(px, py)
        h_x, h_y = information.entropy(px), information.entropy(py)
        given_y = jax.vmap(lambda conditional: information.kl_divergence(conditional, px))((pxy / py).T)
        others = (
            information.kl_divergence(pxy, product),
            h_x - information.conditional_entropy(pxy, 1),
            h_y - information.conditional_entropy(pxy, 0),
            h_x + h_y - information.entropy(pxy),
            jnp.sum(py * given_y),
            information.mutual_information(pxy.T),
        )
        return information.mutual_information(pxy), jnp.stack(others), information.mutual_information(product)

    value, others, independent = jax.vmap(forms)(tables(key, 5, 5))
    return {
        "five forms and symmetry": equal(others, value[:, None], rtol=0.0, atol=ROUNDING),
        "positive": greater(value, 0.0),
        "zero if independent": equal(independent, 0.0, rtol=0.0, atol=ROUNDING),
    }


@five_forms_of_mutual_information.control("conditional law transposed, H(X) - H(Y|X)", fails="every")
def _(key):
    def forms(pxy):
        return information.mutual_information(pxy), information.entropy(pxy.sum(axis=1)) - information.conditional_entropy(pxy, 0)

    value, transposed = jax.vmap(forms)(tables(key, 5, 5))
    return equal(transposed, value, rtol=0.0, atol=ROUNDING)


def _golden(key):
    """Both sides of the golden formula for jointly Gaussian X (2 coordinates) and Y (3), and a random prior; D(P_X||Q) too.

    E_Y D(P_{X|Y}||Q) is a quadratic function of Y averaged, so that the points +-sqrt(3) L e_i with L L^T = cov(Y) give it exactly.
    """
    key_cov, key_q, key_mean = jax.random.split(key, 3)

    def sides(cov, cov_q, mean_q):
        x, y = slice(0, 2), slice(2, 5)
        regression = jnp.linalg.solve(cov[y, y], cov[y, x]).T
        directions = math.sqrt(3) * jnp.linalg.cholesky(cov[y, y]).T
        means = jnp.concatenate([directions, -directions]) @ regression.T
        residual = cov[x, x] - regression @ cov[y, x]
        upper = information.golden_bound(means, jnp.broadcast_to(residual, (6, 2, 2)), mean_q, cov_q)
        return upper, information.gaussian_mutual_information(cov, 2), information.gaussian_kl(0.0, cov[x, x], mean_q, cov_q)

    covs, covs_q = covariances(key_cov, 5), covariances(key_q, 2)
    return jax.vmap(sides)(covs, covs_q, jax.random.normal(key_mean, (len(covs), 2)))


@claim(
    "INFO-3.golden",
    title="Golden formula: any prior bounds mutual information from above",
    source="Polyanskiy & Wu 2025, Theorem 4.1",
    statement=r"\mathbb{E}_Y D(P_{X|Y} \| Q) = I(X;Y) + D(P_X \| Q)",
)
def golden_formula(key):
    upper, value, from_prior = _golden(key)
    return {"equality": equal(upper, value + from_prior, rtol=1e-11), "bound": at_most(value, upper)}


@golden_formula.control("divergence of the prior dropped")
def _(key):
    upper, value, _ = _golden(key)
    return equal(upper, value, rtol=1e-11)


@claim(
    "INFO-3.values",
    title="Mutual information of a binary symmetric channel and of a bivariate normal law",
    source="Cover & Thomas 2006, sections 7.1 and 8.5",
    statement=r"I_{\mathrm{BSC}(0.1)} = \log 2 - h_b(0.1) = 0.3680642072, \quad I_{\rho = 0.8} = -\frac{1}{2} \log(1 - \rho^2) = 0.5108256238",
)
def known_mutual_informations(key):
    channel = information.mutual_information(0.5 * binary_symmetric(0.1))
    gaussian = information.gaussian_mutual_information(jnp.array([[1.0, 0.8], [0.8, 1.0]]), 1)
    return equal((channel, gaussian), (0.3680642072, -0.5 * math.log(0.36)), rtol=1e-9)


@known_mutual_informations.control("input of the channel not uniform, correlation not squared")
def _(key):
    channel = information.mutual_information(jnp.array([[0.3], [0.7]]) * binary_symmetric(0.1))
    return equal((channel, -0.5 * math.log(0.2)), (0.3680642072, -0.5 * math.log(0.36)), rtol=1e-9)
