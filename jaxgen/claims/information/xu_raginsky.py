"""Claims about the mutual-information bound of Xu and Raginsky, and the constants that follow from it (INFO-15, INFO-31)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import bounds, data, information
from jaxgen.claims import at_most, claim, equal
from jaxgen.claims.information._learners import barely_noticed_run, cyclic_rows, exact_run, random_run, reference_run

NUM_LEARNERS = 200


def random_learners(key):
    """Gap and information of random kernels from samples of three biased bits to three hypotheses with random losses in [0, 1]."""
    keys = jax.random.split(key, 3)
    bits = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(8, 3)

    def one(bias, kernel, loss):
        law = jnp.stack([1 - bias, bias])
        joint = law[bits].prod(axis=1)[:, None] * kernel
        test = jnp.sum(joint.sum(axis=0) * (loss @ law))
        train = jnp.sum(joint * loss[:, bits].mean(axis=2).T)
        return test - train, information.mutual_information(joint)

    bias = jax.random.uniform(keys[0], (NUM_LEARNERS,), minval=0.05, maxval=0.95)
    kernels = jax.nn.softmax(5 * jax.random.normal(keys[1], (NUM_LEARNERS, 8, 3)))
    losses = jax.random.uniform(keys[2], (NUM_LEARNERS, 3, 2))
    return jax.vmap(one)(bias, kernels, losses)


def majorities():
    """n, gap and information of the majority of n fair bits, n = 1, 3, ..., 15."""
    votes = [data.MajorityVote(n) for n in range(1, 16, 2)]
    return (jnp.asarray([getattr(vote, name) for vote in votes], float) for name in ("n", "generalization_gap", "mutual_information"))


@claim(
    "INFO-15",
    title="The gap is at most what the weights tell about the sample",
    source="Xu & Raginsky 2017, Theorem 1",
    statement=r"|\mathrm{gen}| \le \sqrt{\frac{2 R^2}{n} I(W; S)}",
    core=True,
)
def xu_raginsky(key):
    gap, learned = random_learners(key)
    n, majority_gap, majority_learned = majorities()
    bound = bounds.xu_raginsky(majority_learned, n, R=0.5).value
    return {
        "random learners": at_most(jnp.abs(gap), bounds.xu_raginsky(learned, 3, R=0.5)),
        "majority vote": at_most(majority_gap, bound),
        "known values": equal(bound[jnp.array([0, 1, 2, 4])], jnp.array([0.5887050113, 0.3398889967, 0.2632768848, 0.1962350038]), rtol=1e-9),
    }


@xu_raginsky.control("R of a loss with a quarter of the range", fails="every")
def _(key):
    n, gap, learned = majorities()
    return at_most(gap, bounds.xu_raginsky(learned, n, R=1 / 8))


@xu_raginsky.control("R^2 in place of 2 R^2, at n = 1", fails="every")
def _(key):
    n, gap, learned = majorities()
    return at_most(gap[0], bounds.xu_raginsky(learned[0] / 2, n[0], R=0.5))


@xu_raginsky.control("n in place of its root")
def _(key):
    n, gap, learned = majorities()
    return at_most(gap, bounds.xu_raginsky(learned, n**2, R=0.5))


@claim(
    "INFO-15.tight",
    title="Nothing in the bound of Xu and Raginsky can be smaller",
    source="Xu & Raginsky 2017, Theorem 1; a Gaussian channel in many dimensions",
    statement=r"\mathrm{gen} \to \sqrt{\frac{2 R^2}{n} I(W; S)} \text{ as } d \to \infty",
    core=True,
)
def xu_raginsky_is_tight(key):
    """One noisy full-batch step: both the loss, given w, and the weights, given the sample, are Gaussian."""
    run = barely_noticed_run(key)
    learned = run.exact.mutual_information
    return equal(run.gap(run.total_variance), bounds.xu_raginsky(learned, run.problem.n, R=run.problem.data_std), rtol=1e-6)


@xu_raginsky_is_tight.control("R^2 in place of 2 R^2")
def _(key):
    run = barely_noticed_run(key)
    learned = run.exact.mutual_information / 2
    return equal(run.gap(run.total_variance), bounds.xu_raginsky(learned, run.problem.n, R=run.problem.data_std), rtol=1e-6)


@xu_raginsky_is_tight.control("the information of the clean weights, which is infinite")
def _(key):
    run = barely_noticed_run(key)
    clean = run.problem.solve(run.rows, run.learning_rate, 0.0)
    return equal(run.gap(), bounds.xu_raginsky(clean.mutual_information, run.problem.n, R=run.problem.data_std), rtol=1e-6)


@claim(
    "INFO-31",
    title="The constants of all routes to the trajectory term agree",
    source="Xu & Raginsky 2017; Pensia et al. 2018; Neu et al. 2021; Wang & Mao 2022",
    statement=r"I \le \sum_t \tfrac{\lambda_t^2}{2 \sigma_t^2} V_t \;\Rightarrow\; "
    r"\sqrt{\tfrac{2 R^2}{n} I} \le \sqrt{\tfrac{R^2}{n} \sum_t \tfrac{\lambda_t^2}{\sigma_t^2} V_t}",
    core=True,
)
def one_constant(key):
    """2 R^2 stands before information, R^2 before dispersion, 4 R^2 before sensitivity and variance, and R^2 d before the logarithm."""
    return _routes(random_run(key)) | _known_values(reference_run())


def _routes(run, rate_power=1.0, scale=1.0):
    rate, noise, exact, d, n, R = run.learning_rate, run.noise_std, run.exact, run.problem.d, run.problem.n, 0.5
    ratio = (rate**rate_power / noise) ** 2
    spread = exact.sensitivity + exact.neu_variance
    nats = {
        "linear": jnp.sum(ratio * exact.dispersion) / 2,
        "log": d / 2 * jnp.sum(jnp.log1p(ratio * exact.dispersion / d)),
        "Neu et al.": 2 * jnp.sum(ratio * spread),
    }
    terms = {
        "linear": bounds.wang_mao(rate, noise, exact.dispersion, 0.0, n, R),
        "log": bounds.sgld(rate, noise, exact.dispersion, d, n, R),
        "Neu et al.": bounds.neu(rate, noise, exact.sensitivity, exact.neu_variance, 0.0, n, R),
    }
    return {name: equal(bounds.xu_raginsky(nats[name], n, scale * R), terms[name], rtol=1e-12) for name in terms}


def _known_values(run):
    rate, noise, exact, d = run.learning_rate, run.noise_std, run.exact, run.problem.d
    terms = {
        "0.264207 exact": bounds.xu_raginsky(exact.mutual_information, 8, R=0.5).value,
        "0.731780 log": bounds.wang_mao(rate, noise, exact.dispersion, 0.0, 8, 0.5, form="log", d=d).value,
        "0.979886 linear": bounds.wang_mao(rate, noise, exact.dispersion, 0.0, 8, 0.5).value,
        "2.034699 Neu et al.": bounds.neu(rate, noise, exact.sensitivity, exact.neu_variance, 0.0, 8, 0.5).value,
    }
    return {name: equal(term, float(name.split()[0]), rtol=2e-6) for name, term in terms.items()}


@one_constant.control("without the learning rates, as printed")
def _(key):
    return _routes(random_run(key), rate_power=0.0)


@one_constant.control("learning rates not squared")
def _(key):
    return _routes(random_run(key), rate_power=0.5)


@one_constant.control("without R, as printed")
def _(key):
    return _routes(random_run(key), scale=2.0)


@claim(
    "INFO-31.losses",
    title="Training on one loss bounds the gap of another",
    source="Wang & Mao 2022, Theorem 1",
    statement=r"\text{gradients of the training loss; } \mathrm{gen}, \gamma, R \text{ of the evaluation loss}",
)
def evaluation_loss_is_free(key):
    """The squared error trains, and the zero-one loss $1[w z < 0]$ is bounded, with R = 1/2, whatever the size of the data."""
    run = _scaled_run(key)
    return at_most(_sign_gap(run), _bound(run, lambda variance: jnp.abs(_sign_gap(run) - _sign_gap(run, variance))))


def _scaled_run(key):
    scale = jnp.exp(jax.random.uniform(key, minval=3.0, maxval=5.0))
    return exact_run(data.LinearGaussian(d=1, n=8, data_std=scale), cyclic_rows(8, 2, 8), 0.1, 0.3 * scale)


def _sign_gap(run, noise_variance=0.0):
    """Gap of 1[w z < 0]: P(W Z < 0) is 1/2 on fresh data and arccos(correlation) / pi on the sample."""
    beta, data_variance = run.exact.data_coefficients[-1], run.problem.data_std**2
    correlation = beta * run.problem.data_std / jnp.sqrt(data_variance * jnp.sum(beta**2) + noise_variance)
    return jnp.mean(jnp.arcsin(correlation)) / jnp.pi


def _bound(run, flatness):
    return bounds.wang_mao(run.learning_rate, run.noise_std, run.exact.dispersion, flatness, run.problem.n, R=0.5)


@evaluation_loss_is_free.control("the gap of the training loss under the constant of the evaluation loss")
def _(key):
    run = _scaled_run(key)
    return at_most(run.exact.generalization_gap, _bound(run, 0.0))
