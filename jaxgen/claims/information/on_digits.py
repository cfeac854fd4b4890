"""Claims about the bounds for SGLD and SGD on real data with random labels (INFO-18, INFO-26).

The images are the population: samples are drawn from them with replacement, and so are independent, and population risks are known.
"""

import jax
import jax.numpy as jnp

from jaxgen import bounds, curvature, data, gradients, models, processes, seeds
from jaxgen.claims import at_most_within, claim
from jaxgen.claims.information._learners import cyclic_rows, digits, two_layers


@claim(
    "INFO-18.digits",
    title="The bound of SGLD on digits with random labels",
    source="Pensia, Jog & Loh 2018, Theorem 1",
    statement=r"\text{zero-one loss, } R = \tfrac12: \quad"
    r" |\mathrm{gen}| \le \sqrt{\tfrac{R^2 d}{n} \sum_t \log\left(1 + \tfrac{\lambda_t^2 V_t}{d \sigma_t^2}\right)}",
    statistical=True,
    num_seeds=16,
    budget=10.0,
)
def sgld_bound_on_digits(key):
    """Logistic regression trained on cross-entropy; gap and dispersion are estimated from 32 runs, the population is finite and known."""
    gap, bound = _sgld_on_digits(key)
    return at_most_within(gap, bound)


def _sgld_on_digits(key, *, noise_factor=1.0, num_runs=32, n=30, num_steps=60, learning_rate=0.5, noise_std=0.2):
    images, _ = digits(500)
    label_key, runs_key = jax.random.split(key)
    population = images, jax.random.bernoulli(label_key, 0.5, (len(images),)).astype(int)
    model = models.linear(1)
    train_loss, eval_loss = (models.loss_fn(model.apply, name) for name in ("cross_entropy", "zero_one"))
    start = {"Dense_0": {"kernel": jnp.zeros((64, 1)), "bias": jnp.zeros(1)}}

    def one(key):
        drawn = jax.random.randint(key, (n,), 0, len(images))
        sample = jax.tree.map(lambda leaf: leaf[drawn], population)
        rows = cyclic_rows(n, 10, num_steps)
        final, deviations = processes.sgld(key, train_loss, start, sample, rows, learning_rate, noise_std, record=_own_deviation)
        return deviations, gradients.risk(eval_loss, final, population) - gradients.risk(eval_loss, final, sample)

    deviations, gaps = seeds.run(one, jax.random.split(runs_key, num_runs), axis_name="seeds")

    def bound(deviations):
        dispersion = deviations.sum(0) / (len(deviations) - 1)
        return bounds.sgld(learning_rate, noise_factor * noise_std, dispersion, 65, n, 0.5).value

    return seeds.mean(gaps), seeds.jackknife(bound, deviations)


def _own_deviation(params, gradient, t):
    return gradients.seed_deviations(gradient, axis_name="seeds")[jax.lax.axis_index("seeds")]


@sgld_bound_on_digits.control("ten times the noise in the bound only")
def _(key):
    gap, bound = _sgld_on_digits(key, noise_factor=10.0)
    return at_most_within(gap, bound)


@claim(
    "INFO-26.digits",
    title="The SGD bound of a small net on digits",
    source="Wang & Mao 2022, Theorem 1 (1)",
    statement=r"\text{zero-one loss, } R = \tfrac12: \quad"
    r" |\mathrm{gen}| \le \sqrt{\tfrac{R^2}{n} \sum_t \tfrac{\lambda_t^2}{\sigma_t^2} \mathbb{E} V_t} + F",
    statistical=True,
    num_seeds=8,
    chunk_size=4,
    budget=20.0,
)
def wang_mao_on_digits(key):
    """A net of 16 units trained on cross-entropy with two labels in five random; 32 runs on a known, finite population."""
    gap, bound = _sgd_on_digits(key, trajectory_noise=0.05, flatness_noise=0.05)
    return at_most_within(gap, bound)


def _sgd_on_digits(key, *, trajectory_noise, flatness_noise, num_runs=32, n=60, num_steps=150, learning_rate=0.3):
    images, labels = digits(400)
    label_key, study_key = jax.random.split(key)
    population = images, data.corrupt_labels(label_key, labels, 0.4, 10)
    train_loss, eval_loss = (models.loss_fn(two_layers, name) for name in ("cross_entropy", "zero_one"))

    def sample(key, pool, k):
        drawn = jax.random.randint(key, (n,), 0, 400)
        return jax.tree.map(lambda leaf: leaf[drawn], pool), pool

    def evaluate(key, params, train, test):
        variance = num_steps * flatness_noise**2
        rises = [curvature.value_sensitivity(eval_loss, params, part, key, variance=variance, num_noise=4).value for part in (train, test)]
        return rises[0] - rises[1]

    study = processes.multi_seed_study(
        study_key,
        train_loss,
        eval_loss,
        lambda key: 0.2 * jax.random.normal(key, (16 * (64 + 10),)),
        sample,
        population,
        n=n,
        batch_size=10,
        num_steps=num_steps,
        learning_rate=learning_rate,
        num_seeds=num_runs,
        evaluate=evaluate,
    )

    def bound(deviations, rises):
        dispersion = deviations.sum(0) / (len(deviations) - 1)
        return bounds.wang_mao(learning_rate, trajectory_noise, dispersion, jnp.abs(rises.mean()), n, 0.5).value

    return seeds.mean(study.gap.per_seed), seeds.jackknife(bound, study.deviations, study.evaluations)


@wang_mao_on_digits.control("noise 1 in the trajectory term, 0.0001 in the flatness term")
def _(key):
    gap, bound = _sgd_on_digits(key, trajectory_noise=1.0, flatness_noise=1e-4)
    return at_most_within(gap, bound)
