"""Claims about SGD with noise in the weights: what its iterates tell about the sample, and its gap (INFO-16 to INFO-18)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds, data, information, processes
from jaxgen.claims import at_most, claim, equal, equal_in_mean, ordered
from jaxgen.claims.information._learners import (
    barely_noticed_run,
    exact_run,
    linear_map,
    random_run,
    reference_run,
    trained,
)


@claim(
    "INFO-16",
    title="SGD on a quadratic loss is a linear recursion",
    source="Wang & Mao 2022, section 2",
    statement=r"W_t = W_{t-1} - \lambda_t g(W_{t-1}, B_t) = \alpha_t W_0 + \sum_i \beta_{t i} Z_i",
    core=True,
)
def sgd_is_linear(key):
    run = random_run(key)
    return _ends_equal(key, run, run.exact)


def _ends_equal(key, run, exact):
    sample, start, final = trained(key, run, 4)
    predicted = exact.init_coefficient[-1] * start + jnp.einsum("i,kid->kd", exact.data_coefficients[-1], sample)
    return equal(final, predicted, rtol=1e-12, atol=1e-13)


@sgd_is_linear.control("the batch of the step before")
def _(key):
    run = random_run(key)
    return _ends_equal(key, run, run.problem.solve(jnp.roll(run.rows, 1, axis=0), run.learning_rate, run.noise_std))


@sgd_is_linear.control("the learning rate of the step before")
def _(key):
    run = random_run(key)
    return _ends_equal(key, run, run.problem.solve(run.rows, jnp.roll(run.learning_rate, 1), run.noise_std))


@claim(
    "INFO-16.stationary",
    title="Stationary variance of SGLD on a quadratic loss",
    source="Welling & Teh 2011; spec 05",
    statement=r"\operatorname{Var}(W_\infty) = \frac{\sigma^2}{1 - (1 - \lambda)^2} \text{ for } g(w) = w",
    statistical=True,
    min_seeds=32,
)
def stationary_variance(key):
    """0.0131578947 at lambda = 0.1, sigma = 0.05; after 100 steps, up to a factor 1 - 1e-9."""
    return equal_in_mean(_coordinate_variance(processes.sgld, key), 0.05**2 / (1 - 0.9**2))


def _coordinate_variance(process, key):
    problem = data.LinearGaussian(d=2000, n=1, data_std=0.0)
    final = process(key, problem.loss_fn, jnp.zeros(2000), jnp.zeros((1, 2000)), jnp.zeros((100, 1), int), 0.1, 0.05)[-2]
    return jnp.mean(final**2)


@stationary_variance.control("gradients at the clean iterate, so that noise accumulates")
def _(key):
    return equal_in_mean(_coordinate_variance(processes.auxiliary_weight_process, key), 0.05**2 / (1 - 0.9**2))


@stationary_variance.control("the variance of the limit of small learning rates, $\\sigma^2 / (2 \\lambda)$")
def _(key):
    return equal_in_mean(_coordinate_variance(processes.sgld, key), 0.05**2 / 0.2)


def _chain(run, noise_factor=1.0):
    """Exact information of SGLD and three upper bounds on it, from the smallest."""
    rate, noise, exact, d = run.learning_rate, noise_factor * run.noise_std, run.exact, run.problem.d
    return jnp.stack(
        [
            exact.sgld_mutual_information,
            bounds.sgld_mutual_information(rate, noise, exact.sgld_conditional_dispersion, d),
            bounds.sgld_mutual_information(rate, noise, exact.sgld_dispersion, d),
            bounds.sgld_mutual_information(rate, noise, exact.sgld_dispersion, form="linear"),
        ]
    )


@claim(
    "INFO-17",
    title="Information of noisy iterates, step by step",
    source="Pensia, Jog & Loh 2018; Wang et al. 2021",
    statement=r"I(W_T; S) \le \sum_t \tfrac d2"
    r" \mathbb{E} \log\left(1 + \tfrac{\lambda_t^2 \mathbb{E}[\|g - \mathbb{E}[g | W_{t-1}]\|^2 | W_{t-1}]}{d \sigma_t^2}\right)"
    r" \le \sum_t \tfrac d2 \log\left(1 + \tfrac{\lambda_t^2 V_t}{d \sigma_t^2}\right) \le \sum_t \tfrac{\lambda_t^2 V_t}{2 \sigma_t^2}",
    core=True,
)
def information_chain(key):
    """The initial weights must be independent of the sample, which is not printed."""
    known = jnp.array([1.5758077735, 8.5665641968, 8.6356212082, 15.5581895298])
    return {"random runs": ordered(_chain(random_run(key)), strict=True), "known values": equal(_chain(reference_run()), known, rtol=1e-10)}


@information_chain.control("ten times the noise on the right-hand side only")
def _(key):
    return ordered(_chain(random_run(key), noise_factor=10.0))


@claim(
    "INFO-17.one-step",
    title="Information of one noisy step from a fixed start is its bound in log form",
    source="Pensia, Jog & Loh 2018; a Gaussian channel",
    statement=r"I(W_1; S) = \tfrac d2 \log\left(1 + \tfrac{\lambda^2 V}{d \sigma^2}\right)",
    core=True,
)
def one_step_is_exact(key):
    """For SGLD and for the auxiliary process of SGD, which have this step in common."""
    run = _one_step(key)
    exact, d = run.exact, run.problem.d
    value = bounds.sgld_mutual_information(run.learning_rate, run.noise_std, exact.dispersion, d)
    return {"auxiliary process": equal(exact.mutual_information, value, rtol=1e-12), "SGLD": equal(exact.sgld_mutual_information, value, rtol=1e-12)}


def _one_step(key, init_std=0.0):
    keys = jax.random.split(key, 2)
    data_std, rate, noise = jax.random.uniform(keys[0], (3,), minval=0.1, maxval=1.0)
    problem = data.LinearGaussian(d=3, n=8, data_std=data_std, init_std=init_std)
    return exact_run(problem, processes.batch_indices(keys[1], 8, 2, 1), rate, noise)


@one_step_is_exact.control("the linear form")
def _(key):
    run = _one_step(key)
    return equal(
        run.exact.mutual_information,
        bounds.sgld_mutual_information(run.learning_rate, run.noise_std, run.exact.dispersion, form="linear"),
        rtol=1e-12,
    )


@one_step_is_exact.control("a random start, which the dispersion does not know to be irrelevant")
def _(key):
    run = _one_step(key, init_std=0.5)
    value = bounds.sgld_mutual_information(run.learning_rate, run.noise_std, run.exact.dispersion, run.problem.d)
    return equal(run.exact.mutual_information, value, rtol=1e-12)


@claim(
    "INFO-17.steps",
    title="The chain of one-step informations, and what each of them is",
    source="Pensia, Jog & Loh 2018, Lemma 4",
    statement=r"I(W_t; S) \le I(W_{t-1}; S) + I(U_t; S | W_{t-1}), \quad U_t = -\lambda_t g(W_{t-1}, B_t) + N_t",
    budget=4.0,
)
def chain_of_steps(key):
    """Computed from covariances of the whole path; with given batches the log form of a step is its conditional information."""
    run = random_run(key)
    start, steps, path = _informations(run)
    before = jnp.append(start, path[:-1])
    value = bounds.sgld_mutual_information(run.learning_rate, run.noise_std, run.exact.sgld_conditional_dispersion, run.problem.d)
    return {
        "chain": at_most(path, before + steps, slack=1e-12),
        "log form": equal(jnp.sum(steps), value, rtol=1e-9),
        "terminal": equal(path[-1], run.exact.sgld_mutual_information, rtol=1e-9),
    }


def _informations(run, start_knows=0.0):
    """I(W_0; S), I(U_t; S | W_{t-1}) and I(W_t; S) of SGLD, the start being `start_knows` times the mean example off the origin."""
    paths = linear_map(run, feedback=True, start_knows=start_knows)
    weights, updates, sample = paths.auxiliary, jnp.diff(paths.auxiliary, axis=0), paths.sample
    n = run.problem.n

    def about(row):
        joint = jnp.concatenate([row[None], sample])
        return information.gaussian_mutual_information(joint @ joint.T, 1)

    def given(row, condition):
        joint = jnp.concatenate([row[None], sample, condition[None]])
        return information.gaussian_conditional_mutual_information(joint @ joint.T, 1, n)

    steps = jax.vmap(given)(updates, weights[:-1])
    return run.problem.d * about(weights[0]), run.problem.d * steps, run.problem.d * jax.vmap(about)(weights[1:])


@chain_of_steps.control("initial weights that know the sample, whose own information is not counted")
def _(key):
    run = random_run(key)
    _, steps, path = _informations(run, start_knows=100.0)
    return at_most(path, jnp.cumsum(steps), slack=1e-12)


@claim(
    "INFO-18",
    title="Generalization bound of SGLD",
    source="Pensia, Jog & Loh 2018, Theorem 1; Wang et al. 2021, Theorem 3",
    statement=r"|\mathrm{gen}| \le \sqrt{\tfrac{R^2 d}{n} \sum_t \log\left(1 + \tfrac{\lambda_t^2 V_t}{d \sigma_t^2}\right)}"
    r" \le \sqrt{\tfrac{R^2}{n} \sum_t \tfrac{\lambda_t^2}{\sigma_t^2} V_t}",
    core=True,
)
def sgld_bound(key):
    """Printed without R, without the absolute value and with a sign for "up to a constant"; the constants are these."""
    run, tight = random_run(key), barely_noticed_run(key)
    return {
        "gap and its bounds": ordered(_sgld_ladder(run, run.problem.data_std), strict=True),
        "nothing can be smaller": equal(_sgld_ladder(tight, tight.problem.data_std)[1:], tight.gap(tight.langevin_variance), rtol=1e-6),
        "known values": equal(_sgld_ladder(reference_run(), 0.5)[1:], jnp.array([0.31383, 0.73466, 0.98609]), rtol=1e-5),
    }


def _sgld_ladder(run, R, noise_factor=1.0):
    """Gap, and its bounds by exact information, by dispersion in log form, and in linear form."""
    rate, noise, exact, d, n = run.learning_rate, noise_factor * run.noise_std, run.exact, run.problem.d, run.problem.n
    return jnp.stack(
        [
            run.gap(run.langevin_variance),
            bounds.xu_raginsky(exact.sgld_mutual_information, n, R).value,
            bounds.sgld(rate, noise, exact.sgld_dispersion, d, n, R, form="log").value,
            bounds.sgld(rate, noise, exact.sgld_dispersion, None, n, R, form="linear").value,
        ]
    )


@sgld_bound.control("one percent more noise in the bound than in the weights")
def _(key):
    tight = barely_noticed_run(key)
    ladder = _sgld_ladder(tight, tight.problem.data_std, noise_factor=1.01)
    return at_most(ladder[0], ladder[2:])


@sgld_bound.control("$R^2 d / 2$ in place of $R^2 d$")
def _(key):
    tight = barely_noticed_run(key)
    ladder = _sgld_ladder(tight, tight.problem.data_std / jnp.sqrt(2.0))
    return at_most(ladder[0], ladder[2:])
