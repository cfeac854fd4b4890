"""Claims about the spread of gradients over training seeds, and how gradients and losses react to noise (INFO-22 to INFO-24)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds, curvature, gradients, processes
from jaxgen.claims import at_most, claim, equal, equal_in_mean, equal_within
from jaxgen.claims.information._learners import direction_loss, random_run, recorded, reference_run, trained, unstable_run


@claim(
    "INFO-22",
    title="Gradient dispersion has a fixed centre",
    source="Wang & Mao 2022, Theorem 1",
    statement=r"\mathbb{E} V_t = \operatorname{tr} \operatorname{Cov} g(W_{t-1}, B_t), \quad"
    r" I(\tilde W_T; S) \le \sum_t \tfrac{\lambda_t^2}{2 \sigma_t^2} \mathbb{E} V_t",
    core=True,
    budget=4.0,
)
def dispersion(key):
    """Any constant centre serves, the mean gradient being the best; the gradient of the population risk at the moving weights does not."""
    run = unstable_run()
    _, _, found, fresh = _unstable_gradients(key)
    estimates = [_over_steps(found), _over_steps(found, center="zero"), _over_steps(found, fresh, center="population")]
    sample = jax.random.normal(key, (5, 3))
    pairs = jnp.sum((sample[:, None] - sample) ** 2) / (2 * 5 * 4)
    known = jnp.array([1, 1.01, 1.0181, 1.024661, 0.884175, 0.901602, 0.915717, 0.927151])
    return {
        "bound information": at_most(run.exact.mutual_information, jnp.stack([_nats(run, values) for values in estimates])),
        "mean over pairs": equal(gradients.seed_dispersion(sample), pairs, rtol=1e-12),
        "known values": equal(reference_run().exact.dispersion, known, rtol=1e-6),
    }


def _unstable_gradients(key, num_runs=32):
    """Weights, samples, mini-batch gradients and gradients on fresh data along unstable runs."""
    run = unstable_run()
    samples, weights, found = recorded(key, run, num_runs)
    held_out = run.problem.sample(jax.random.fold_in(key, 1), num_runs * len(run.rows)).reshape(num_runs, -1, 1, 1)
    fresh = jax.vmap(jax.vmap(lambda w, z: gradients.value_and_gradient(run.problem.loss_fn, w, z)[1]))(weights, held_out)
    return samples, weights, found, fresh


def _over_steps(found, population=None, *, center="seed_mean"):
    return jax.vmap(lambda g, u: gradients.seed_dispersion(g, center=center, population_gradients=u), in_axes=1)(found, population)


def _nats(run, spread):
    return bounds.sgld_mutual_information(run.learning_rate, run.noise_std, spread, form="linear")


@dispersion.control("the population gradient at the moving weights for centre (unstable quadratic)")
def _(key):
    run = unstable_run()
    _, weights, found, _ = _unstable_gradients(key)
    moving = jnp.mean(jnp.sum((found - run.problem.curvature * weights) ** 2, axis=-1), axis=0)
    return at_most(run.exact.mutual_information, _nats(run, moving))


@dispersion.control("1/K in place of 1/(K-1)")
def _(key):
    sample = jax.random.normal(key, (5, 3))
    pairs = jnp.sum((sample[:, None] - sample) ** 2) / (2 * 5 * 4)
    return equal(gradients.seed_dispersion(sample) * 4 / 5, pairs, rtol=1e-12)


@claim(
    "INFO-22.unbiased",
    title="Estimators of the dispersion from K seeds are unbiased",
    source="Wang & Mao 2022; spec 05",
    statement=r"\mathbb{E}\left[\tfrac{1}{K-1} \sum_k \|g_k - \bar g\|^2\right] = \operatorname{tr} \operatorname{Cov} g_t",
    statistical=True,
    min_seeds=32,
    budget=5.0,
)
def unbiased_dispersion(key):
    """K = 5; from a common start off the origin, so that the mean gradient is not zero."""
    run, estimates = _five_seeds(key)
    start = run.problem.curvature * run.exact.init_coefficient[:-1]
    return {
        "seed mean": equal_in_mean(estimates["seed_mean"], run.exact.dispersion),
        "population": equal_in_mean(estimates["population"], run.exact.dispersion),
        "zero": equal_in_mean(estimates["zero"], run.exact.dispersion + run.problem.d * start**2),
    }


def _five_seeds(key, num_groups=20):
    """A run, and estimates of its dispersion, each the mean over groups of five seeds that start at (1, ..., 1)."""
    run = random_run(key, num_steps=6, fixed_start=True)
    _, weights, found = recorded(key, run, 5 * num_groups, start=1.0)
    fresh = run.problem.curvature * weights - run.problem.sample(jax.random.fold_in(key, 1), weights.shape[0] * 6).reshape(weights.shape)
    found, fresh = (leaf.reshape(num_groups, 5, *leaf.shape[1:]) for leaf in (found, fresh))

    def mean(center):
        return jax.vmap(lambda g, u: _over_steps(g, u if center == "population" else None, center=center))(found, fresh).mean(axis=0)

    return run, {center: mean(center) for center in ("seed_mean", "population", "zero")}


@unbiased_dispersion.control("1/K in place of 1/(K-1)")
def _(key):
    run, estimates = _five_seeds(key)
    return equal_in_mean(estimates["seed_mean"] * 4 / 5, run.exact.dispersion)


@unbiased_dispersion.control("zero for centre, as if the mean gradient vanished")
def _(key):
    run, estimates = _five_seeds(key)
    return equal_in_mean(estimates["zero"], run.exact.dispersion)


@claim(
    "INFO-22.relation",
    title="Dispersion, Neu's variance and the spread of population gradients",
    source="Wang & Mao 2022; spec 05",
    statement=r"\mathbb{E} V = \mathbb{E} \tilde V + \mathbb{E}\|\nabla L_\mu(W) - c\|^2"
    r" + 2 \mathbb{E}\langle g - \nabla L_\mu(W), \nabla L_\mu(W) - c \rangle",
)
def dispersion_and_variance(key):
    """The last term vanishes where the batch is fresh, and is negative when an epoch is over."""
    run = random_run(key)
    spread, cross = _spread_of_population_gradients(run)
    return equal(run.exact.dispersion, run.exact.neu_variance + spread + 2 * cross, rtol=1e-11)


def _spread_of_population_gradients(run):
    """E|h W_{t-1}|^2, and E<h W_{t-1}, -mean Z over B_t>, of every step."""
    h, d, data_variance = run.problem.curvature, run.problem.d, run.problem.data_std**2
    alpha, beta = run.exact.init_coefficient[:-1], run.exact.data_coefficients[:-1]
    in_batch = jnp.mean(run.rows[..., None] == jnp.arange(run.problem.n), axis=1)
    variance = (run.problem.init_std * alpha) ** 2 + data_variance * jnp.sum(beta**2, axis=1)
    return d * h**2 * variance, -d * h * data_variance * jnp.sum(beta * in_batch, axis=1)


@dispersion_and_variance.control("the cross term left out although batches come again")
def _(key):
    run = random_run(key)
    spread, _ = _spread_of_population_gradients(run)
    return equal(run.exact.dispersion, run.exact.neu_variance + spread, rtol=1e-11)


@claim(
    "INFO-22.neu",
    title="Neu's variance has the population gradient for centre",
    source="Neu, Dziugaite, Haghifam & Roy 2021",
    statement=r"\tilde V_t = \mathbb{E}\|g(W_{t-1}, B_t) - \nabla L_\mu(W_{t-1})\|^2"
    r" = \frac{n}{n - b} \mathbb{E} \operatorname{tr} \operatorname{Var}(g | S, W_{t-1})",
    statistical=True,
    min_seeds=32,
    budget=4.0,
)
def neu_variance(key):
    """Estimated from four held-out examples. The factor is that of batches without replacement; for full batches nothing is left to multiply."""
    run, estimate, given_sample = _variances(key)
    return {
        "held-out examples": equal_in_mean(estimate, run.exact.neu_variance),
        "given the sample": equal_in_mean(given_sample * 8 / 6, run.exact.neu_variance),
    }


def _variances(key, num_runs=50):
    """A run, and at each of its steps the means over sampled runs of the held-out estimate and of the variance given the sample."""
    run = random_run(key, num_steps=6)
    samples, weights, found = recorded(key, run, num_runs)
    held_out = run.problem.sample(jax.random.fold_in(key, 1), num_runs * 4).reshape(num_runs, 4, -1)
    loss_fn = run.problem.loss_fn

    def one(sample, weights, found, held_out):
        over_steps = jax.vmap(lambda w, g: gradients.neu_variance(loss_fn, w, g, held_out))
        return over_steps(weights, found), gradients.batch_gradient_variance(loss_fn, weights[0], sample, batch_size=2)

    return run, *(jnp.mean(values, axis=0) for values in jax.vmap(one)(samples, weights, found, held_out))


@neu_variance.control("the empirical gradient for centre")
def _(key):
    run, _, given_sample = _variances(key)
    return equal_in_mean(given_sample, run.exact.neu_variance)


@claim(
    "INFO-23",
    title="Local gradient sensitivity of quadratic losses",
    source="Neu, Dziugaite, Haghifam & Roy 2021",
    statement=r"\Psi(w) = \mathbb{E}\|\nabla \ell(w, Z) - \nabla \ell(w + \zeta, Z)\|^2 = v \|A\|_F^2, \quad \zeta \sim N(0, v I)",
    core=True,
    statistical=True,
    num_seeds=32,
    budget=3.0,
)
def sensitivity(key):
    """In the bound v is twice the variance of the noise so far, so that Psi = 2 d times it for A = I. The mean gradient moves less than gradients."""
    run = random_run(key, d=20)
    matrix, variance, weights, batch = _quadratic(key)
    each, mean = (
        gradients.sensitivity(_product_loss, weights, batch, key, variance=variance, num_noise=400, reduce=reduce)
        for reduce in ("per_example", "mean_gradient")
    )
    noise = 2 * jnp.sum(run.noise_std[:4] ** 2)
    at_fifth_step = gradients.sensitivity(run.problem.loss_fn, weights, batch, key, variance=noise, num_noise=400)
    linear = gradients.sensitivity(lambda w, x: x @ w, weights, batch, key, variance=variance, num_noise=4)
    return {
        "examples": equal_within(each, variance * jnp.mean(jnp.sum(batch**2, axis=1) ** 2)),
        "mean gradient": equal_within(mean, variance * jnp.sum(matrix**2)),
        "Jensen": at_most(mean.value, each.value),
        "linear-Gaussian": equal_within(at_fifth_step, run.exact.sensitivity[4]),
        "linear loss": equal(linear.value, 0.0, rtol=0.0),
    }


def _product_loss(w, x):
    return (x @ w) ** 2 / 2


def _quadratic(key):
    """The mean Hessian of (x w)^2 / 2 over a batch, a noise variance, weights and the batch."""
    keys = jax.random.split(key, 3)
    batch = jax.random.normal(keys[0], (40, 20))
    return batch.T @ batch / 40, jax.random.uniform(keys[1], minval=0.01, maxval=1.0), jax.random.normal(keys[2], (20,)), batch


@sensitivity.control("noise of half the variance")
def _(key):
    run = random_run(key, d=20)
    _, _, weights, batch = _quadratic(key)
    noise = jnp.sum(run.noise_std[:4] ** 2)
    return equal_within(gradients.sensitivity(run.problem.loss_fn, weights, batch, key, variance=noise, num_noise=400), run.exact.sensitivity[4])


@claim(
    "INFO-24",
    title="Local value sensitivity",
    source="Wang & Mao 2022, Theorem 1",
    statement=r"\gamma(w, s) = \mathbb{E}[L_s(w + \Delta) - L_s(w)] = \tfrac{v}{2} \operatorname{tr} \nabla^2 L_s(w) + O(v^2)"
    r", \quad \Delta \sim N(0, v I)",
    core=True,
    statistical=True,
    num_seeds=32,
    budget=3.0,
)
def value_sensitivity(key):
    """Exact for a quadratic; 6 w^2 v + 3 v^2 for w^4, which at w = 1.3 and v = 0.04 is 1.2 % above the second order."""
    matrix, variance, weights, batch = _quadratic(key)
    quadratic = curvature.value_sensitivity(_product_loss, weights, batch, key, variance=variance, num_noise=400, chunk_size=400)
    return {
        "quadratic": equal_within(quadratic, variance * jnp.trace(matrix) / 2),
        "quartic": equal_within(_quartic(key), 6 * 1.3**2 * 0.04 + 3 * 0.04**2),
    }


def _quartic(key):
    return curvature.value_sensitivity(lambda w, x: x * w**4, 1.3, jnp.ones(1), key, variance=0.04, num_noise=40_000, chunk_size=40_000)


@value_sensitivity.control("second order in place of the quartic's rise")
def _(key):
    return equal_within(_quartic(key), 6 * 1.3**2 * 0.04)


@claim(
    "INFO-24.flatness",
    title="The flatness term over seeds",
    source="Wang & Mao 2022, Theorem 1",
    statement=r"F = |\mathbb{E}[\gamma(W_T, S) - \gamma(W_T, S')]| = |\mathrm{gen}(\tilde W_T) - \mathrm{gen}(W_T)|"
    r" \to |\mathrm{gen}(W_T)| \text{ as } \sigma \to \infty",
    statistical=True,
    budget=5.0,
)
def flatness(key):
    """For the squared error, whose curvature is the same on all data, the two-sided term is zero draw by draw, and the one-sided one is not."""
    run, found = _flatness_terms(key)
    small, large, squared = found
    return {
        "known gap": equal_within(small.two_sided, run.gap() - run.gap(run.total_variance)),
        "one-sided": equal_within(small.one_sided, run.gap() - run.gap(run.total_variance)),
        "large noise": equal_within(large.two_sided, run.gap() - run.gap(1e6)),
        "squared error": equal_within(squared.one_sided, run.problem.d * run.problem.curvature * run.total_variance / 2),
        "squared error, two-sided": equal(squared.two_sided.value, 0.0, rtol=0.0, atol=1e-12),
    }


def _flatness_terms(key, num_runs=64):
    run = random_run(key)
    sample, _, final = trained(key, run, num_runs)
    test = jax.vmap(run.problem.sample)(jax.random.split(jax.random.fold_in(key, 1), num_runs))
    cases = (direction_loss, run.total_variance), (direction_loss, 1e6), (run.problem.loss_fn, run.total_variance)
    return run, [
        processes.flatness_term(loss_fn, final, sample, test, jax.random.fold_in(key, 2), variance=variance, num_noise=8)
        for loss_fn, variance in cases
    ]


@flatness.control("the one-sided term in place of the two-sided one")
def _(key):
    _, (_, _, squared) = _flatness_terms(key)
    return equal_within(squared.one_sided, 0.0)


@flatness.control("noise that the gap does not notice")
def _(key):
    run, (small, _, _) = _flatness_terms(key)
    return equal_within(small.two_sided, run.gap())
