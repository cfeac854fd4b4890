"""Claims about the auxiliary weight process, what it tells about the sample, and the gap through it (INFO-19 to INFO-21)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds, data, information, processes
from jaxgen.claims import at_most, claim, equal, equal_in_mean, ordered
from jaxgen.claims.information._learners import direction_loss, linear_map, random_run, reference_run, trained


@claim(
    "INFO-19",
    title="The auxiliary process is SGD plus independent noise",
    source="Neu et al. 2021; Wang & Mao 2022",
    statement=r"\tilde W_t = \tilde W_{t-1} - \lambda_t g(W_{t-1}, B_t) + N_t \;\Rightarrow\; \tilde W_T = W_T + \sum_t N_t",
    core=True,
)
def auxiliary_process(key):
    """The noise alone is what SGLD leaves of a start at the origin where all gradients vanish."""
    run, start, sample = random_run(key), jnp.zeros(3), _sample(key)
    final, auxiliary, path = processes.auxiliary_weight_process(
        key, run.problem.loss_fn, start, sample, run.rows, run.learning_rate, run.noise_std, record=lambda params, gradient, t: params
    )
    clean, clean_path = processes.sgd(key, run.problem.loss_fn, start, sample, run.rows, run.learning_rate, record=lambda params, gradient, t: params)
    return {
        "difference is the noise": equal(auxiliary - final, _noise_alone(key, run), rtol=1e-12, atol=1e-12),
        "clean path is that of SGD": equal((final, path), (clean, clean_path), rtol=0.0),
    }


def _sample(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (8, 3))


def _noise_alone(key, run):
    flat = data.LinearGaussian(d=3, n=8, curvature=0.0)
    return processes.sgld(key, flat.loss_fn, jnp.zeros(3), jnp.zeros((8, 3)), run.rows, run.learning_rate, run.noise_std)[0]


@auxiliary_process.control("gradients at the noisy iterate (SGLD)")
def _(key):
    run, start, sample = random_run(key), jnp.zeros(3), _sample(key)
    noisy, _ = processes.sgld(key, run.problem.loss_fn, start, sample, run.rows, run.learning_rate, run.noise_std)
    clean, _ = processes.sgd(key, run.problem.loss_fn, start, sample, run.rows, run.learning_rate)
    return equal(noisy - clean, _noise_alone(key, run), rtol=1e-12, atol=1e-12)


@claim(
    "INFO-19.law",
    title="Law of the accumulated noise",
    source="Wang & Mao 2022",
    statement=r"\Delta_T = \tilde W_T - W_T \sim N\left(0, \sum_t \sigma_t^2 I\right)",
    statistical=True,
)
def law_of_the_noise(key):
    """Second and fourth moments, of the process and of the draw of the terminal law alone."""
    variance = jnp.sum(_stds() ** 2)
    moments = jnp.array([1.0, 1.0, 0.0, 3.0])
    return {
        "process": equal_in_mean(_moments(_process_noise(key), variance), moments),
        "terminal draw": equal_in_mean(_moments(_terminal_noise(key), variance), moments),
    }


def _stds():
    return jnp.linspace(0.05, 0.5, 6)


def _process_noise(key):
    problem = data.LinearGaussian(d=2, n=8)
    sample = problem.sample(key)

    def one(key):
        final, auxiliary, _ = processes.auxiliary_weight_process(key, problem.loss_fn, jnp.zeros(2), sample, jnp.zeros((6, 1), int), 0.1, _stds())
        return auxiliary - final

    return jax.vmap(one)(jax.random.split(key, 100))


def _terminal_noise(key):
    return jax.vmap(lambda key: processes.sample_auxiliary_noise(key, jnp.zeros(2), _stds()))(jax.random.split(key, 100))


def _moments(noise, variance):
    x, y = noise.T / jnp.sqrt(variance)
    return jnp.stack([jnp.mean(moment) for moment in (x**2, y**2, x * y, x**4)])


@law_of_the_noise.control("standard deviations summed in place of variances")
def _(key):
    return equal_in_mean(_moments(_process_noise(key), jnp.sum(_stds()) ** 2), jnp.array([1.0, 1.0, 0.0, 3.0]))


@law_of_the_noise.control("noise of the last step alone")
def _(key):
    return equal_in_mean(_moments(_process_noise(key), _stds()[-1] ** 2), jnp.array([1.0, 1.0, 0.0, 3.0]))


@claim(
    "INFO-19.information",
    title="Information of the auxiliary process in the linear-Gaussian model",
    source="Wang & Mao 2022; spec 05",
    statement=r"I(\tilde W_T; S) = \frac d2 \log\left(1 + \frac{s^2 \sum_i \beta_i^2}{\alpha^2 \tau^2 + \sum_t \sigma_t^2}\right)",
    budget=3.0,
)
def information_of_the_auxiliary_process(key):
    """Against covariances of the whole path. That of SGD itself, from a fixed start, is infinite."""
    run, reference = random_run(key), reference_run()
    exact, d = reference.exact, reference.problem.d
    clean = reference.problem.solve(reference.rows, reference.learning_rate, 0.0)
    upper = [
        bounds.sgld_mutual_information(reference.learning_rate, reference.noise_std, spread, d, form=form)
        for spread, form in ((exact.conditional_dispersion, "log"), (exact.dispersion, "log"), (exact.dispersion, "linear"))
    ]
    return {
        "random runs": equal(run.exact.mutual_information, _information(run, feedback=False), rtol=1e-10),
        "clean weights": equal(clean.mutual_information, jnp.inf, rtol=0.0),
        "alpha": equal(exact.init_coefficient[-1], 0.43046721, rtol=1e-12),
        "beta": equal(jnp.sum(exact.data_coefficients[-1] ** 2), 0.041106, rtol=2e-5),
        "exact": equal(exact.mutual_information, 1.116882, rtol=1e-6),
        "upper bounds": equal(jnp.stack(upper), jnp.array([8.511354, 8.568021, 15.362815]), rtol=1e-7),
    }


def _information(run, *, feedback):
    paths = linear_map(run, feedback=feedback)
    joint = jnp.concatenate([paths.auxiliary[-1:], paths.sample])
    return run.problem.d * information.gaussian_mutual_information(joint @ joint.T, 1)


@information_of_the_auxiliary_process.control("gradients at the noisy iterate (SGLD)")
def _(key):
    run = random_run(key)
    return equal(run.exact.mutual_information, _information(run, feedback=True), rtol=1e-10)


@claim(
    "INFO-20",
    title="The gap of SGD is that of its auxiliary process and two perturbation terms",
    source="Wang & Mao 2022, section 3",
    statement=r"\mathrm{gen}(W_T) = \mathrm{gen}(\tilde W_T) + \mathbb{E}[L_\mu(W_T) - L_\mu(\tilde W_T)] + \mathbb{E}[L_S(\tilde W_T) - L_S(W_T)]",
    core=True,
    budget=3.0,
)
def gap_decomposition(key):
    """An identity for every finite sample, as long as one test set serves all terms."""
    parts = processes.gap_decomposition(direction_loss, *_weights_and_data(key))
    return equal(parts.gap.value, parts.auxiliary_gap.value + parts.population_term.value + parts.empirical_term.value, rtol=1e-12, atol=1e-14)


def _weights_and_data(key, num_runs=8):
    run = random_run(key)
    sample, _, final = trained(key, run, num_runs)
    keys = jax.random.split(jax.random.fold_in(key, 1), num_runs)
    auxiliary = final + jax.vmap(lambda key: processes.sample_auxiliary_noise(key, final[0], run.noise_std))(keys)
    return final, auxiliary, sample, jax.vmap(run.problem.sample)(keys)


@gap_decomposition.control("another test set in the perturbation terms")
def _(key):
    final, auxiliary, sample, test = _weights_and_data(key)
    parts = processes.gap_decomposition(direction_loss, final, auxiliary, sample, test)
    others = processes.gap_decomposition(direction_loss, final, auxiliary, sample, test[::-1])
    return equal(parts.gap.value, parts.auxiliary_gap.value + others.population_term.value + parts.empirical_term.value, rtol=1e-12, atol=1e-14)


@claim(
    "INFO-20.bound",
    title="The gap of SGD by the information of its auxiliary process and the flatness term",
    source="Wang & Mao 2022, section 3",
    statement=r"|\mathrm{gen}| \le \sqrt{\frac{2 R^2}{n} I(\tilde W_T; S)} + |\mathbb{E}[\gamma(W_T, S) - \gamma(W_T, S')]|",
)
def bound_through_the_auxiliary_process(key):
    """The data's own part of the flatness may not be left out, nor may that of the population, as printed in places."""
    run = random_run(key)
    return at_most(run.gap(), _information_term(run) + jnp.abs(run.gap() - run.gap(run.total_variance)))


def _information_term(run):
    return bounds.xu_raginsky(run.exact.mutual_information, run.problem.n, run.problem.data_std).value


@bound_through_the_auxiliary_process.control("flatness term dropped, under large noise")
def _(key):
    run = random_run(key)
    loud = run.problem.solve(run.rows, run.learning_rate, 100.0)
    return at_most(run.gap(), bounds.xu_raginsky(loud.mutual_information, run.problem.n, run.problem.data_std))


@bound_through_the_auxiliary_process.control("population part of the flatness dropped, where noise lowers the population risk")
def _(key):
    """The loss -|w|^2 does not depend on the data, so that gap and R are zero, and the term left is negative."""
    run = random_run(key)
    return at_most(0.0, bounds.xu_raginsky(run.exact.mutual_information, run.problem.n, R=0.0).value - run.problem.d * run.total_variance)


@claim(
    "INFO-21",
    title="What a Gaussian channel with side information lets through",
    source="Wang & Mao 2022, Lemma 3",
    statement=r"I(f(Z, X) + \sigma N; X | Y) \le \frac d2 \log\left(1 + \frac{\mathbb{E}\|f - \mathbb{E}[f|Y]\|^2}{d \sigma^2}\right)"
    r" \le \frac{1}{2 \sigma^2} \mathbb{E}\|f(Z, X) - c(Y)\|^2",
    core=True,
    budget=3.0,
)
def gaussian_channel(key):
    """Z = Y + Delta, and N is independent of (X, Y, Delta) jointly; c may be any function of Y, the print has the constant E f."""
    pmf, f, noise = _channels(key)
    exact = jax.vmap(_mixture_information)(pmf, f, noise)
    given_y = jnp.sum(pmf * f, axis=(1, 3), keepdims=True) / jnp.sum(pmf, axis=(1, 3), keepdims=True)
    mean = jnp.sum(pmf * f, axis=(1, 2, 3), keepdims=True)
    ladder = [exact, _let_through(pmf, f - given_y, noise, "log"), _let_through(pmf, f - given_y, noise), _let_through(pmf, f - mean, noise)]
    known = _mixture_information(jnp.full((2, 1, 1), 0.5), jnp.array([-1.0, 1.0])[:, None, None], jnp.ones(()))
    return {
        "ordered": ordered(ladder),
        "signs": equal(known, 0.3368, rtol=1e-4),
        "signs bounded": equal(information.gaussian_channel_bound(1.0, 1.0, 1, form="linear"), 0.5, rtol=1e-12),
        "Gaussian input": equal(*_gaussian_input(noise[0]), rtol=1e-12),
    }


def _channels(key, num_channels=30):
    """Joint laws of (X, Y, Delta) with 3 x 3 x 3 values, tables f(Y + Delta, X), noise levels; generic, so that Z tells Y and Delta."""
    keys = jax.random.split(key, 3)
    weights = jax.random.exponential(keys[0], (num_channels, 3, 3, 3)) ** 2
    f = jax.random.normal(keys[1], (num_channels, 3, 3, 3))
    return weights / weights.sum((1, 2, 3), keepdims=True), f, jax.random.uniform(keys[2], (num_channels,), minval=0.3, maxval=1.5)


def _mixture_information(pmf, f, noise):
    """I(f + noise N; X | Y) for tables over (x, y, delta), by the trapezoidal rule, which converges exponentially here."""
    grid = jnp.linspace(-16.0, 16.0, 801)
    kernels = jnp.exp(-(((grid - f[..., None]) / noise) ** 2) / 2) / (noise * jnp.sqrt(2 * jnp.pi))
    joint = jnp.sum(pmf[..., None] * kernels, axis=2)
    x_and_y = pmf.sum(axis=2)[..., None]
    y = x_and_y.sum(axis=0)
    ratio = joint * y / (joint.sum(axis=0) * x_and_y)
    return jnp.sum(jnp.where(joint > 1e-250, joint * jnp.log(jnp.where(joint > 1e-250, ratio, 1.0)), 0.0)) * (grid[1] - grid[0])


def _let_through(pmf, deviation, noise, form="linear"):
    moment = jnp.sum(pmf * deviation**2, axis=(1, 2, 3))
    return jax.vmap(lambda moment, noise: information.gaussian_channel_bound(moment, noise**2, 1, form=form))(moment, noise)


def _gaussian_input(noise):
    exact = information.gaussian_mutual_information(jnp.array([[1.0, 1.0], [1.0, 1.0]]) + jnp.diag(jnp.array([0.0, 1.0])) * noise**2, 1)
    return exact, information.gaussian_channel_bound(1.0, noise**2, 1, form="log")


@gaussian_channel.control("a centre that depends on Z", fails="every")
def _(key):
    pmf, f, noise = _channels(key)
    centre = jnp.sum(pmf * f, axis=1, keepdims=True) / jnp.sum(pmf, axis=1, keepdims=True)
    own_part = 0.1
    mostly_of_z = centre + own_part * (f - centre)
    return at_most(jax.vmap(_mixture_information)(pmf, mostly_of_z, noise), _let_through(pmf, own_part * (f - centre), noise))
