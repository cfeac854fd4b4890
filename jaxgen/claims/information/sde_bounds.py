"""Claims about SGD as a stochastic process: information gained along its path and left in its last state (INFO-35, INFO-36)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen import bounds, information, processes
from jaxgen.claims import at_least, at_most, claim, equal, equal_in_mean, greater, rejects
from jaxgen.claims.information._problems import covariances

EXACT = 1e-10
PAPER = "after Wang & Mao 2024, Two Facets of SDE Under an Information-Theoretic Lens"
DIMENSION, COUNT, NUM_STEPS, RATE = 5, 50, 12, 0.1


class Regression(NamedTuple):
    """Linear regression on given inputs with Gaussian labels, trained by gradients with Gaussian noise of a given covariance, exactly.

    Attributes:
        drift: covariance of the full-batch gradient given the weights before each step.
        noise: covariance of the gradient noise.
        learned: I(W_T; labels).
        steps: I(W_t; labels | W_{t-1}).
    """

    drift: jax.Array
    noise: jax.Array
    learned: jax.Array
    steps: jax.Array


def _regression(key):
    """W_t = W_{t-1} - rate (H W_{t-1} - v) + rate C^{1/2} N with v = X^T y / n ~ N(., H s^2 / n), a sufficient statistic of the labels."""
    x = jax.random.normal(key, (COUNT, DIMENSION))
    H, identity = x.T @ x / COUNT, jnp.eye(DIMENSION)
    signal, noise = 0.5 * H / COUNT, 0.3 * H / 10
    shrink = identity - RATE * H

    def step(state, _):
        weights, cross = state
        drift = signal - cross.T @ jnp.linalg.solve(weights, cross)
        new_weights = shrink @ weights @ shrink.T + RATE * (shrink @ cross + cross.T @ shrink.T) + RATE**2 * (signal + noise)
        new_cross = shrink @ cross + RATE * signal
        after_before, labels_before = shrink @ weights + RATE * cross.T, cross.T
        joint = jnp.block([[new_weights, new_cross, after_before], [new_cross.T, signal, labels_before], [after_before.T, cross, weights]])
        gained = information.gaussian_conditional_mutual_information((joint + joint.T) / 2, DIMENSION, DIMENSION)
        return (new_weights, new_cross), (drift, gained)

    (weights, cross), (drift, gained) = jax.lax.scan(step, (0.01 * identity, jnp.zeros_like(H)), None, length=NUM_STEPS)
    learned = information.gaussian_mutual_information(jnp.block([[weights, cross], [cross.T, signal]]), DIMENSION)
    return Regression((drift + drift.mT) / 2, jnp.broadcast_to(noise, (NUM_STEPS, DIMENSION, DIMENSION)), learned, gained)


@claim(
    "INFO-35",
    title="The noise of gradients bounds what SGD as a stochastic process learns",
    source=PAPER,
    statement=r"I(W_T; S) \le \frac12 \sum_t \mathbb{E}[\log |P_t| - \log |C_t|],"
    r" \quad P_t = \operatorname{Cov}(G_t | W_{t-1}) + \mathbb{E}[C_t | W_{t-1}]",
    budget=6.0,
)
def trajectory(key):
    """Linear regression in five dimensions with fifty examples; each term is the information that its step adds, exactly."""
    run = _regression(key)
    bound, isotropic = (bounds.sde_trajectory(run.drift, run.noise, COUNT, 0.5, prior=prior) for prior in ("full", "isotropic"))
    terms = jax.vmap(lambda drift, noise: bounds.sde_trajectory(drift[None], noise[None], 1, 2**-0.5).value ** 2)(run.drift, run.noise)
    return {
        "each step": equal(terms, run.steps, rtol=EXACT),
        "sum": equal(bound, bounds.xu_raginsky(run.steps.sum(), COUNT, 0.5), rtol=EXACT),
        "end": at_most(bounds.xu_raginsky(run.learned, COUNT, 0.5), bound),
        "isotropic prior": at_most(bound, isotropic),
        "rate cancels": equal(bounds.sde_trajectory(RATE**2 * run.drift, RATE**2 * run.noise, COUNT, 0.5), bound, rtol=EXACT),
    }


@trajectory.control("a prior without the covariance of the full-batch gradient", fails="every")
def _(key):
    run = _regression(key)
    return at_most(bounds.xu_raginsky(run.learned, COUNT, 0.5), bounds.sde_trajectory(0 * run.drift, run.noise, COUNT, 0.5))


@trajectory.control("ten times the noise in the bound of the noise that there was", fails="every")
def _(key):
    run = _regression(key)
    return at_most(bounds.xu_raginsky(run.learned, COUNT, 0.5), bounds.sde_trajectory(run.drift, 10 * run.noise, COUNT, 0.5))


def _family(key, scale=1.0):
    """Means and covariances of 100 Gaussians in four dimensions, their mean, and the covariance of the mixture."""
    means, covs = scale * jax.random.normal(key, (100, 4)), covariances(jax.random.fold_in(key, 1), 4)
    return means, covs, means.mean(axis=0), jnp.cov(means.T, bias=True) + covs.mean(axis=0)


@claim(
    "INFO-35.prior",
    title="The best Gaussian prior of a family of Gaussians has the moments of their mixture",
    source=PAPER + "; the golden formula",
    statement=r"\min_{m, P} \mathbb{E} D(N(m_S, C_S) \| N(m, P)) = \frac12 (\log |\mathrm{Cov}(m_S) + \mathbb{E} C_S| - \mathbb{E} \log |C_S|)",
)
def best_prior(key):
    """And among isotropic ones, (d log(tr P / d) - E log |C|) / 2; other centres and covariances give more."""
    means, covs, centre, whole = _family(key)
    full, isotropic = (bounds.gaussian_family_information(means, covs, prior=prior) for prior in ("full", "isotropic"))
    variance = jnp.trace(whole) / 4
    moved = jnp.stack([information.golden_bound(means, covs, centre + 0.1, whole), information.golden_bound(means, covs, centre, 1.1 * whole)])
    return {
        "full": equal(full, information.golden_bound(means, covs, centre, whole), rtol=1e-12),
        "isotropic": equal(isotropic, information.golden_bound(means, covs, centre, variance), rtol=1e-12),
        "others": greater(moved, full),
        "isotropic, others": greater(information.golden_bound(means, covs, centre, 1.1 * variance), isotropic),
        "order": at_most(full, isotropic),
    }


@best_prior.control("the prior without the covariance of the means")
def _(key):
    means, covs, centre, _ = _family(key)
    return equal(bounds.gaussian_family_information(means, covs), information.golden_bound(means, covs, centre, covs.mean(axis=0)), rtol=1e-12)


@best_prior.control("the logarithm of the mean determinant in place of the mean logarithm")
def _(key):
    means, covs, _, whole = _family(key)
    swapped = (jnp.linalg.slogdet(whole)[1] - jnp.log(jnp.linalg.det(covs).mean())) / 2
    return equal(bounds.gaussian_family_information(means, covs), swapped, rtol=1e-6)


def _quadratic(key):
    """A Hessian and a covariance of gradient noise in two dimensions, and a learning rate at which the iteration is not the equation."""
    both = covariances(key, 2)
    return both[0], both[1], 0.8 / jnp.linalg.eigvalsh(both[0])[-1]


def _residuals(H, C, eta, covariance):
    step = jnp.eye(len(H)) - eta * H
    return {"sde": H @ covariance + covariance @ H - eta * C, "discrete": step @ covariance @ step + eta**2 * C - covariance}


@claim(
    "INFO-36.stationary",
    title="The covariance at which SGD on a quadratic settles",
    source="Mandt, Hoffman & Blei 2017; Liu, Ziyin & Ueda 2021",
    statement=r"H \Lambda + \Lambda H = \eta C, \qquad \Lambda = (I - \eta H) \Lambda (I - \eta H) + \eta^2 C",
)
def stationary_covariance(key):
    """Both equations; C = H / b with its closed forms; .0192864031 and .0176470588 in one dimension; their difference is of order eta."""
    H, C, eta = _quadratic(key)
    checks = {}
    for kind, value in (("sde", 0.0176470588), ("discrete", 0.0192864031)):
        residual = _residuals(H, C, eta, processes.stationary_covariance(H, C, eta, kind))[kind]
        checks[kind] = equal(residual, jnp.zeros((2, 2)), rtol=0, atol=1e-12)
        checks[f"{kind}, known value"] = equal(
            processes.stationary_covariance(jnp.array([[1.7]]), jnp.array([[0.6]]), 0.1, kind)[0, 0], value, rtol=1e-8
        )
    proportional = [processes.stationary_covariance(H, H / 8, eta, kind) for kind in ("sde", "discrete")]
    closed = [eta / 16 * jnp.eye(2), eta / 8 * jnp.linalg.inv(2 * jnp.eye(2) - eta * H)]
    return checks | {"noise like the Hessian": equal(proportional, closed, rtol=EXACT, atol=1e-14)}


@stationary_covariance.control("the equation's covariance in the iteration", fails="every")
def _(key):
    H, C, eta = _quadratic(key)
    return equal(_residuals(H, C, eta, processes.stationary_covariance(H, C, eta))["discrete"], jnp.zeros((2, 2)), rtol=0, atol=1e-6)


@claim(
    "INFO-36.simulation",
    title="SGD on a quadratic does settle at that covariance",
    source="Liu, Ziyin & Ueda 2021",
    statement=r"\mathbb{E} W_t W_t^\top \to \Lambda",
    statistical=True,
    budget=4.0,
)
def simulated_covariance(key):
    """20,000 steps after 500 from the minimum."""
    H, C, eta = _quadratic(jax.random.key(1))
    return equal_in_mean(_simulated(key, H, C, eta), processes.stationary_covariance(H, C, eta, "discrete"))


def _simulated(key, H, C, eta):
    factor = eta * jnp.linalg.cholesky(C)

    def step(state, t):
        w, total = state
        w = w - eta * (H @ w) + factor @ jax.random.normal(jax.random.fold_in(key, t), (2,))
        return (w, total + jnp.where(t >= 500, 1.0, 0.0) * jnp.outer(w, w)), None

    (_, total), _ = jax.lax.scan(step, (jnp.zeros(2), jnp.zeros((2, 2))), jnp.arange(20500))
    return total / 20000


@simulated_covariance.control("the covariance of the stochastic differential equation")
def _(key):
    H, C, eta = _quadratic(jax.random.key(1))
    return equal_in_mean(_simulated(key, H, C, eta), processes.stationary_covariance(H, C, eta))


@claim(
    "INFO-36.unstable",
    title="Beyond twice the reciprocal of the largest curvature nothing settles",
    source="Liu, Ziyin & Ueda 2021",
    statement=r"\eta \lambda_{\max}(H) < 2",
    jittable=False,
    num_seeds=4,
)
def unstable_step_sizes_are_refused(key):
    H, C, _ = _quadratic(key)
    eta = 2.01 / jnp.linalg.eigvalsh(H)[-1]
    return rejects(processes.stationary_covariance, H, C, eta, "discrete", match="learning_rate must be below 2")


@unstable_step_sizes_are_refused.control("the stochastic differential equation, which is stable at every step size", fails="every")
def _(key):
    H, C, _ = _quadratic(key)
    return rejects(processes.stationary_covariance, H, C, 2.01 / jnp.linalg.eigvalsh(H)[-1], match="learning_rate")


def _settled(key):
    """Minimizers with mean zero and covariance exactly s^2 I, one stationary covariance for all, and s."""
    H, C, eta = _quadratic(key)
    spread = 1.0 + jax.random.uniform(key)
    minimizers = spread * 2**0.5 * jnp.concatenate([jnp.eye(2), -jnp.eye(2)])
    return minimizers, jnp.broadcast_to(processes.stationary_covariance(H, C, eta, "discrete"), (4, 2, 2)), spread


@claim(
    "INFO-36",
    title="What the last state of SGD tells about its sample, once it has settled about a minimum",
    source=PAPER,
    statement=r"I(W_T; S) \le \frac12 (\log |\mathrm{Cov}(w^*_S) + \mathbb{E} \Lambda_S| - \mathbb{E} \log |\Lambda_S|)",
    core=True,
)
def terminal_state(key):
    """Equality where minimizers are Gaussian and the noise is the same for every sample: a quadratic loss whose minimum is the mean."""
    minimizers, covs, spread = _settled(key)
    signal = spread**2 * jnp.eye(2)
    learned = information.gaussian_mutual_information(jnp.block([[signal + covs[0], signal], [signal, signal + 1e-12 * jnp.eye(2)]]), 2)
    bound = bounds.terminal_state(minimizers, covs, 30, 0.5)
    of_few = bounds.gaussian_family_information(minimizers, covs)
    return {
        "Gaussian minimizers": equal(bound, bounds.xu_raginsky(learned, 30, 0.5), rtol=1e-8),
        "four minimizers": at_least(of_few, _mixture_information(key, minimizers, covs[0]).mean(), slack=0.1),
    }


def _mixture_information(key, means, cov):
    """log of the density of each of 2000 draws given its mean over that of the mixture."""
    which = jnp.arange(2000) % len(means)
    factor = jnp.linalg.cholesky(cov)
    draws = means[which] + jax.random.normal(key, (2000, 2)) @ factor.T
    white = jax.scipy.linalg.solve_triangular(factor, (draws[:, None] - means).reshape(-1, 2).T, lower=True)
    exponents = -jnp.sum(white**2, axis=0).reshape(2000, -1) / 2
    own = jnp.take_along_axis(exponents, which[:, None], axis=1)[:, 0]
    return own - (jax.nn.logsumexp(exponents, axis=1) - jnp.log(len(means)))


@terminal_state.control("the minimizers' covariance left out", fails="every")
def _(key):
    minimizers, covs, _ = _settled(key)
    return at_least(bounds.gaussian_family_information(0 * minimizers, covs), _mixture_information(key, minimizers, covs[0]).mean(), slack=0.1)
