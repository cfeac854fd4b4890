"""Claims about channels: data processing, maximum entropy, Gaussian channels, Fano's inequality (INFO-6 to INFO-8)."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import information
from jaxgen.claims import at_most, claim, equal
from jaxgen.claims.information._problems import NUM_TABLES, binary_symmetric, covariances, kernels, tables

ROUNDING = 1e-12


@claim(
    "INFO-6",
    title="Data-processing inequality",
    source="Cover & Thomas 2006, Theorem 2.8.1",
    statement=r"X - Y - Z \; \Rightarrow \; I(X;Z) \le I(X;Y), \qquad D(QK \| PK) \le D(Q \| P)",
    core=True,
)
def processing_loses_information(key):
    key_p, key_q, key_kernel, key_order = jax.random.split(key, 4)
    invertible = jnp.eye(5)[jax.random.permutation(key_order, 5)]

    def sides(p, q, kernel):
        processed = information.push_forward(p, kernel), information.push_forward(q, kernel)
        after = information.mutual_information(processed[0]), information.kl_divergence(processed[1], processed[0])
        before = information.mutual_information(p), information.kl_divergence(q, p)
        return after, before, information.mutual_information(information.push_forward(p, invertible))

    after, before, relabelled = jax.vmap(sides)(tables(key_p, 4, 5), tables(key_q, 4, 5), kernels(key_kernel, 5, 4))
    return {
        "mutual information": at_most(after[0], before[0]),
        "relative entropy": at_most(after[1], before[1]),
        "invertible map": equal(relabelled, before[0], rtol=ROUNDING),
    }


@processing_loses_information.control("Z depends on X directly")
def _(key):
    key_p, _, key_kernel, _ = jax.random.split(key, 4)
    kernels_given_x = kernels(key_kernel, 4 * 5, 4).reshape(NUM_TABLES, 4, 5, 4)

    def sides(pxy, kernel_given_x):
        return information.mutual_information(jnp.einsum("xy,xyz->xz", pxy, kernel_given_x)), information.mutual_information(pxy)

    after, before = jax.vmap(sides)(tables(key_p, 4, 5), kernels_given_x)
    return at_most(after, before)


@claim(
    "INFO-6.values",
    title="Two binary symmetric channels in a row are one",
    source="Cover & Thomas 2006, problem 7.7",
    statement=r"\mathrm{BSC}(a) \circ \mathrm{BSC}(a) = \mathrm{BSC}(2a(1 - a)): \quad I = \log 2 - h_b(0.18) = 0.2217537 \;\; (a = 0.1)",
)
def channel_used_twice(key):
    error = jax.random.uniform(key, maxval=0.5)
    twice = information.push_forward(0.5 * binary_symmetric(error), binary_symmetric(error))
    known = information.push_forward(0.5 * binary_symmetric(0.1), binary_symmetric(0.1))
    return {
        "law": equal(twice, 0.5 * binary_symmetric(2 * error * (1 - error)), rtol=ROUNDING),
        "information": equal(information.mutual_information(known), math.log(2) + 0.18 * math.log(0.18) + 0.82 * math.log(0.82), rtol=ROUNDING),
    }


@channel_used_twice.control("error probabilities added")
def _(key):
    error = jax.random.uniform(key, maxval=0.5)
    twice = information.push_forward(0.5 * binary_symmetric(error), binary_symmetric(error))
    return equal(twice, 0.5 * binary_symmetric(2 * error), rtol=ROUNDING)


@claim(
    "INFO-7",
    title="Gaussian channel bounds: log-determinant, logarithmic and linear form",
    source="Cover & Thomas 2006, chapter 9",
    statement=r"I(X; X+N) \le \frac{1}{2} \log \left| I + \frac{\Sigma_X}{\sigma^2} \right|"
    r" \le \frac{d}{2} \log \left( 1 + \frac{\mathrm{tr}\, \Sigma_X}{d \sigma^2} \right) \le \frac{\mathrm{tr}\, \Sigma_X}{2 \sigma^2}",
    core=True,
)
def gaussian_channel_bounds(key):
    """The first is an equality for Gaussian X, the second for an isotropic one."""
    key_cov, key_noise = jax.random.split(key)
    noise = jnp.exp(jax.random.normal(key_noise))

    def forms(cov):
        logdet = information.gaussian_channel_bound(cov, noise, 3)
        total = jnp.trace(cov)
        log, linear = (information.gaussian_channel_bound(total, noise, 3, form=form) for form in ("log", "linear"))
        joint = jnp.block([[cov, cov], [cov, cov + noise * jnp.eye(3)]])
        return information.gaussian_mutual_information(joint, 3), logdet, log, linear

    exact, logdet, log, linear = jax.vmap(forms)(covariances(key_cov, 3))
    isotropic = information.gaussian_channel_bound(jnp.full(3, 0.7), noise, 3)
    return {
        "equal for Gaussian input": equal(exact, logdet, rtol=1e-11),
        "log-determinant, log": at_most(logdet, log),
        "log, linear": at_most(log, linear),
        "equal for isotropic input": equal(isotropic, information.gaussian_channel_bound(2.1, noise, 3, form="log"), rtol=ROUNDING),
    }


@gaussian_channel_bounds.control("noise of half the variance on the right side")
def _(key):
    noise = jnp.exp(jax.random.normal(key))
    cov = covariances(key, 3)[0]
    joint = jnp.block([[cov, cov], [cov, cov + noise * jnp.eye(3)]])
    return equal(information.gaussian_mutual_information(joint, 3), information.gaussian_channel_bound(cov, noise / 2, 3), rtol=1e-11)


@gaussian_channel_bounds.control("dimension dropped from the logarithmic form")
def _(key):
    cov = covariances(key, 3)[0]
    return at_most(information.gaussian_channel_bound(cov, 1.0, 3), information.gaussian_channel_bound(jnp.trace(cov), 1.0, 1, form="log"))


def _binary_input_information(noise_variance):
    """I(X; X+N) for X uniform on +-1, by Gauss-Hermite quadrature of log 2 - E log(1 + exp(-2 (1 + N) / s^2))."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(160)
    exponents = -2 * (1 + jnp.sqrt(noise_variance) * nodes) / noise_variance
    return math.log(2) - jnp.vdot(weights / weights.sum(), jax.nn.softplus(exponents))


@claim(
    "INFO-7.binary-input",
    title="A binary input stays below the Gaussian capacity",
    source="Cover & Thomas 2006, section 9.1",
    statement=r"$I(X; X+N) \le \frac{1}{2} \log(1 + \sigma^{-2}) \le \frac{1}{2} \sigma^{-2}$ for $X$ uniform on $\{-1, 1\}$:"
    r" $0.3368 \le 0.3466 \le 0.5$ at $\sigma = 1$",
)
def binary_input_below_capacity(key):
    noise = jax.random.uniform(key, minval=1.0, maxval=4.0)
    forms = [information.gaussian_channel_bound(1.0, noise, 1, form=form) for form in ("logdet", "linear")]
    plane = [information.gaussian_channel_bound(1.0, 0.25, 2, form=form) for form in ("log", "linear")]
    return {
        "capacity": at_most(_binary_input_information(noise), forms[0]),
        "linear form": at_most(*forms),
        "quadrature at variance 1": equal(_binary_input_information(1.0), 0.3368, rtol=0.0, atol=5e-5),
        "capacity at variance 1": equal(information.gaussian_channel_bound(1.0, 1.0, 1), 0.5 * math.log(2), rtol=ROUNDING),
        "in two dimensions": equal(plane, (math.log(3), 2.0), rtol=ROUNDING),
    }


@binary_input_below_capacity.control("noise of twice the variance on the right side")
def _(key):
    noise = jax.random.uniform(key, minval=1.0, maxval=4.0)
    return at_most(_binary_input_information(noise), information.gaussian_channel_bound(1.0, 2 * noise, 1))


def _entropies_and_variances(scale):
    """Differential entropies and variances of uniform, Laplace, logistic, exponential and Gaussian laws of that scale."""
    constants = jnp.array([0.0, 1 + math.log(2), 2.0, 1.0, 0.5 * math.log(2 * math.pi * math.e)])
    return jnp.log(scale) + constants, scale**2 * jnp.array([1 / 12, 2.0, math.pi**2 / 3, 1.0, 1.0])


@claim(
    "INFO-7.maximum-entropy",
    title="A Gaussian has the largest entropy of its covariance, an isotropic one of its trace",
    source="Cover & Thomas 2006, Theorem 8.6.5",
    statement=r"h(X) \le h(N(0, \Sigma_X)) \le \frac{d}{2} \log \frac{2 \pi e \, \mathrm{tr}\, \Sigma_X}{d}",
)
def gaussian_maximizes_entropy(key):
    """The source speaks of laws of the same variance; what must agree is the covariance."""
    key_scale, key_cov = jax.random.split(key)
    entropies, variances = _entropies_and_variances(jnp.exp(jax.random.normal(key_scale)))
    gaussian = jax.vmap(information.gaussian_entropy)(variances)
    covs = covariances(key_cov, 4)
    isotropic = 2 * jnp.log(2 * math.pi * math.e * jnp.trace(covs, axis1=1, axis2=2) / 4)
    return {
        "other laws": at_most(entropies, gaussian, slack=ROUNDING),
        "equal for a Gaussian": equal(entropies[-1], gaussian[-1], rtol=0.0, atol=ROUNDING),
        "isotropic": at_most(jax.vmap(information.gaussian_entropy)(covs), isotropic),
        "equal for an isotropic one": equal(information.gaussian_entropy(jnp.full(4, 2.0)), 2 * math.log(4 * math.pi * math.e), rtol=ROUNDING),
    }


@gaussian_maximizes_entropy.control("Gaussian of half the variance")
def _(key):
    entropies, variances = _entropies_and_variances(jnp.exp(jax.random.normal(key)))
    return at_most(entropies, jax.vmap(information.gaussian_entropy)(variances / 2), slack=ROUNDING)


def _best_guess(key):
    """H(X|Y) and the error probability of the best guess of X, out of 5, from Y; random tables with X along the first axis."""

    def sides(pxy):
        return information.conditional_entropy(pxy, 1), 1 - pxy.max(axis=0).sum()

    return jax.vmap(sides)(tables(key, 5, 7))


def _symmetric_channel(error, num_classes):
    """H(X|Y) of a uniform input to the channel that replaces it, with probability `error`, by one of the other symbols."""
    off = error / (num_classes - 1)
    pxy = (off + (1 - error - off) * jnp.eye(num_classes)) / num_classes
    return information.conditional_entropy(pxy, 1)


@claim(
    "INFO-8",
    title="Fano's inequality for the best guess, and its inverse",
    source="Cover & Thomas 2006, Theorem 2.10.1",
    statement=r"H(X|Y) \le h_b(P_e) + P_e \log(M - 1), \qquad P_e \ge \frac{H(X|Y) - \log 2}{\log M}",
    core=True,
)
def fano_inequality(key):
    conditional, error = _best_guess(key)
    lower = information.fano_error_lower_bound(conditional, 5)
    return {
        "entropy": at_most(conditional, information.fano_bound(error, 5), slack=ROUNDING),
        "error": at_most(lower, error, slack=ROUNDING),
        "weaker form": at_most((conditional - math.log(2)) / math.log(5), lower),
    }


@fano_inequality.control("binary entropy dropped")
def _(key):
    conditional, error = _best_guess(key)
    return at_most(conditional, error * math.log(4), slack=ROUNDING)


@claim(
    "INFO-8.equality",
    title="The symmetric channel attains Fano's inequality",
    source="Cover & Thomas 2006, section 2.10",
    statement=r"$H(X|Y) = h_b(P_e) + P_e \log(M - 1)$ for errors that are uniform on the other symbols: $0.7201248813$ at $M = 4$, $P_e = 0.2$",
)
def symmetric_channel_attains_fano(key):
    error = jax.random.uniform(key, minval=0.01, maxval=0.74)
    conditional = _symmetric_channel(error, 4)
    return {
        "entropy": equal(conditional, information.fano_bound(error, 4), rtol=ROUNDING),
        "error": equal(information.fano_error_lower_bound(conditional, 4), error, rtol=1e-7),
        "value": equal(information.fano_bound(0.2, 4), 0.7201248813, rtol=1e-9),
    }


@symmetric_channel_attains_fano.control("log(M - 2) in place of log(M - 1)")
def _(key):
    error = jax.random.uniform(key, minval=0.01, maxval=0.74)
    return at_most(_symmetric_channel(error, 4), information.fano_bound(error, 3))
