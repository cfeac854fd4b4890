"""Claims about Brownian motion, Ito equations and the canonical equation of SGD (SDE-6 to SDE-9)."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import gradients, processes
from jaxgen.claims import claim, converges, equal, equal_in_mean
from jaxgen.claims.processes._quadratic import OFFSETS, ornstein_uhlenbeck_moments, parabolas, sgd_moments

BOOK = "Arora et al., Theory of Deep Learning"
VARIATION_STEPS, END = 200, 2.0


def _variation_of(path):
    """Quadratic variation over [0, 2], and its squared distance from the time."""
    variation = jnp.sum(jnp.diff(path) ** 2)
    return variation, (variation - END) ** 2


@claim(
    "SDE-6",
    title="Brownian motion: covariance, quadratic variation, and refinement by bridges",
    source=f"{BOOK}, Definitions 12.2.1 and 12.2.2",
    statement=r"\operatorname{Cov}(W_s, W_t) = \min(s, t), \quad \sum_i (W_{t_{i + 1}} - W_{t_i})^2 = T \pm \sqrt{2 T^2 / N}",
    statistical=True,
    budget=4.0,
)
def brownian_motion(key):
    """The source counts continuity of paths among the properties of Levy processes; a Poisson process is one and jumps."""
    fine, coarse = jnp.linspace(0.0, END, VARIATION_STEPS + 1), jnp.array([0.3, 0.7, END])

    def one(key):
        keys = jax.random.split(key)
        path = processes.brownian_path(keys[0], coarse)
        refined = processes.brownian_refine(keys[1], coarse, path, fine)
        return path, refined, _variation_of(refined)

    path, refined, (variation, spread) = jax.vmap(one)(jax.random.split(key, 200))
    return {
        "covariance": equal_in_mean(path.T @ path / 200, jnp.minimum(coarse, coarse[:, None])),
        "covariance with bridges": equal_in_mean(
            jnp.mean(path[:, :, None] * refined[:, None, ::40], axis=0), jnp.minimum(coarse[:, None], fine[::40])
        ),
        "quadratic variation": equal_in_mean(variation.mean(), END),
        "its variance": equal_in_mean(spread.mean(), 2 * END**2 / VARIATION_STEPS),
    }


@brownian_motion.control("a Poisson process less its mean, whose quadratic variation is its number of jumps")
def _(key):
    rate = END / VARIATION_STEPS
    jumps = jax.random.bernoulli(key, rate, (200, VARIATION_STEPS)).astype(float) - rate
    return equal_in_mean(jax.vmap(lambda steps: _variation_of(jnp.cumsum(steps)))(jumps)[1].mean(), 2 * END**2 / VARIATION_STEPS)


@brownian_motion.control("points between the known ones by interpolation")
def _(key):
    coarse, fine = jnp.array([0.0, 0.3, 0.7, END]), jnp.linspace(0.0, END, VARIATION_STEPS + 1)
    paths = jax.vmap(lambda key: jnp.interp(fine, coarse, processes.brownian_path(key, coarse)))(jax.random.split(key, 200))
    return equal_in_mean(jax.vmap(_variation_of)(paths)[0].mean(), END)


def _linear_law(drift, diffusion, x0, times, *, power=1.0):
    """Exact mean and variance of the method's end for a linear equation with additive noise, whose end is linear in the increments."""

    def end(increments):
        return processes.euler_maruyama(jax.random.key(0), drift, diffusion, x0, times, increments=increments)[0]

    steps = jnp.diff(times)
    return end(jnp.zeros_like(steps)), jnp.sum(jax.grad(end)(jnp.zeros_like(steps)) ** 2 * steps**power)


STEPS = (0.1, 0.05, 0.025, 0.0125)


def _law_errors(key, power=1.0):
    """Errors of mean and variance at time 1 of an Ornstein-Uhlenbeck process for each step."""
    rate, spread, x0 = jax.random.uniform(key, (3,), minval=0.5, maxval=1.5)
    exact = x0 * jnp.exp(-rate), spread**2 * -jnp.expm1(-2 * rate) / (2 * rate)
    grids = [jnp.linspace(0.0, 1.0, round(1 / step) + 1) for step in STEPS]
    found = [_linear_law(lambda x, t: -rate * x, lambda x, t: spread, x0, times, power=power) for times in grids]
    return [jnp.stack([jnp.abs(law[i] - exact[i]) for law in found]) for i in range(2)]


@claim(
    "SDE-7",
    title="The weak order of the method of Euler and Maruyama is one",
    source="Kloeden & Platen 1992, Theorem 14.1.5; Theory of Deep Learning, equation (12.1)",
    statement=r"x_{k + 1} = x_k + \mu \delta + \sigma \sqrt\delta \, \xi_k: \quad \mathbb{E} g(x_{T / \delta}) - \mathbb{E} g(X_T) = O(\delta)",
    budget=4.0,
)
def weak_order_of_the_method(key):
    """Mean and variance of an Ornstein-Uhlenbeck process, exactly: the end is linear in the increments of the Brownian motion."""
    mean, variance = _law_errors(key)
    return {
        "mean": converges(mean, order=1.0, steps=jnp.array(STEPS), tolerance=0.15),
        "variance": converges(variance, order=1.0, steps=jnp.array(STEPS), tolerance=0.15),
    }


@weak_order_of_the_method.control("noise scaled by the step in place of its root")
def _(key):
    return converges(_law_errors(key, power=2.0)[1], order=1.0, steps=jnp.array(STEPS), tolerance=0.15)


ROOT = np.array([[1.0, 0.8], [-0.4, 0.3]])


def _after_two_steps(key, noise):
    """Second moments over 500 paths of dX = -X dt + s dW after steps of 0.25 and 0.5, with the matrix or its action."""
    root = jnp.asarray(ROOT)
    diffusions = {
        "matrix": lambda x, t: root,
        "apply": lambda x, t, key: root @ jax.random.normal(key, (2,)),
        "diagonal": lambda x, t: jnp.array([1.0, 0.3]),
        "scalar": lambda x, t: 0.6,
    }
    times = jnp.array([0.0, 0.25, 0.75])

    def path(key):
        return processes.euler_maruyama(key, lambda x, t: -x, diffusions[noise], jnp.zeros(2), times, noise=noise)[0]

    ends = jax.vmap(path)(jax.random.split(key, 500))
    return ends.T @ ends / 500


@claim(
    "SDE-7.covariance",
    title="A step has the covariance of the diffusion times its transpose, whatever form it is given in",
    source="Theory of Deep Learning, equation (12.1)",
    statement=r"x_{t + \delta} - x_t \approx N(\mu \delta, \sigma \sigma^\top \delta)",
    statistical=True,
    budget=4.0,
)
def covariance_of_steps(key):
    """The source prints the case of a scalar, sigma^2 delta I."""
    squares = {"matrix": ROOT @ ROOT.T, "apply": ROOT @ ROOT.T, "diagonal": np.diag([1.0, 0.09]), "scalar": 0.36 * np.eye(2)}
    factor = 0.25 * 0.5**2 + 0.5
    return {name: equal_in_mean(_after_two_steps(key, name), factor * square) for name, square in squares.items()}


@covariance_of_steps.control("the transpose times the matrix")
def _(key):
    return equal_in_mean(_after_two_steps(key, "matrix"), (0.25 * 0.5**2 + 0.5) * ROOT.T @ ROOT)


@covariance_of_steps.control("steps of equal length")
def _(key):
    return equal_in_mean(_after_two_steps(key, "scalar"), (0.375 * (1 - 0.375) ** 2 + 0.375) * 0.36 * jnp.eye(2))


def _seasonal_drift(x, t):
    return -(1 + jnp.sin(3 * t)) * x + t


def _seasonal_diffusion(x, t):
    return 0.5 + t


def _time_changed(key, changed):
    """Laws at time 1 and at 1 / a of the changed equation, and generators there, for a seasonal Ornstein-Uhlenbeck process."""
    a, x0, tau = jax.random.uniform(key, (3,), minval=0.5, maxval=3.0)
    times, h = jnp.linspace(0.0, 1.0, 65), lambda x: jnp.sin(x) + x**3
    drift, diffusion = changed(a)
    original = (
        *_linear_law(_seasonal_drift, _seasonal_diffusion, x0, times),
        a * processes.ito_generator(h, _seasonal_drift, _seasonal_diffusion)(x0, a * tau),
    )
    found = *_linear_law(drift, diffusion, x0, times / a), processes.ito_generator(h, drift, diffusion)(x0, tau)
    return {name: equal(b, c, rtol=1e-9) for name, b, c in zip(("mean", "variance", "generator"), found, original, strict=True)}


@claim(
    "SDE-8",
    title="Changing time multiplies the drift by a and the diffusion by its root",
    source=f"{BOOK}, Example 12.2.3",
    statement=r"\tau = t / a: \quad dx_\tau = a \mu(x_\tau, a \tau) \, d\tau + \sqrt a \, \sigma(x_\tau, a \tau) \, dW_\tau",
)
def change_of_time(key):
    """In law. The source keeps the coefficients at tau where it means a tau."""
    return _time_changed(key, lambda a: processes.time_change(_seasonal_drift, _seasonal_diffusion, a))


@change_of_time.control("the diffusion times a")
def _(key):
    return _time_changed(key, lambda a: (lambda x, t: a * _seasonal_drift(x, a * t), lambda x, t: a * _seasonal_diffusion(x, a * t)))


@change_of_time.control("coefficients at tau, as printed")
def _(key):
    return _time_changed(key, lambda a: (lambda x, t: a * _seasonal_drift(x, t), lambda x, t: jnp.sqrt(a) * _seasonal_diffusion(x, t)))


def _second_moment_over_all_runs(x0):
    """E x^2 of SGD on the parabolas after 10 steps of size 0.1, over all 3^10 sequences of batches."""
    rows = jnp.array(np.array(list(product(range(3), repeat=10)))[:, :, None])
    ends = jax.vmap(lambda rows: processes.sgd(jax.random.key(0), parabolas, x0, jnp.asarray(OFFSETS), rows, 0.1)[0])(rows)
    return jnp.mean(ends**2)


def _worked_problem(key, variance):
    x = jax.random.normal(key)
    drift, _ = processes.canonical_sde(parabolas, jnp.asarray(OFFSETS), 0.1, 1)
    sgd = sgd_moments(1.0, 2.0, 0.1, variance, 0.0, 1000).second
    limit = ornstein_uhlenbeck_moments(1.0, 2.0, 0.1 * variance, jnp.array([1.0, 50.0])).second
    return {
        "drift": equal(drift(x, 0.0), -2 * x, rtol=1e-12),
        "variance": equal(gradients.noise_covariance(parabolas, x, jnp.asarray(OFFSETS)).trace(), variance, rtol=1e-12),
        "SGD at time 1": equal(_second_moment_over_all_runs(1.0), sgd[10], rtol=1e-10),
        "equation at time 1": equal(limit[0], 0.6073262556, rtol=1e-9),
        "SGD at time 1, value": equal(sgd[10], 0.6705097383, rtol=1e-9),
        "SGD, stationary": equal(sgd[-1], 0.6 / 0.9, rtol=1e-9),
        "equation, stationary": equal(limit[1], 0.6, rtol=1e-9),
    }


@claim(
    "SDE-9",
    title="The canonical equation of SGD on three parabolas",
    source=f"{BOOK}, equations (12.2) to (12.4), Problem 12.2.4",
    statement=r"dx = -2 x \, dt + \sqrt{24 \eta} \, dW, \qquad \mathbb{E} x^2 \to 6 \eta \text{ for the equation}, \;"
    r" \tfrac{6 \eta}{1 - \eta} \text{ for SGD}",
    core=True,
    num_seeds=4,
    budget=4.0,
)
def worked_problem(key):
    """SGD's second moment over all 3^10 sequences of batches. Stable for eta below 1."""
    return _worked_problem(key, 24.0)


@worked_problem.control("the variance of the gradients not normalised by the number of examples")
def _(key):
    return _worked_problem(key, 36.0)


def _end_of_canonical(key, scale=1.0):
    """Mean and mean square at time 1 of 500 paths of the canonical equation of the parabolas at eta = 0.1, with steps of 0.05."""
    drift, diffusion = processes.canonical_sde(parabolas, jnp.asarray(OFFSETS), 0.1, 1)

    def spread(x, t, key):
        return scale * diffusion(x, t, key)

    times = jnp.linspace(0.0, 1.0, 21)
    ends = jax.vmap(lambda key: processes.euler_maruyama(key, drift, spread, 1.0, times, noise="apply")[0])(jax.random.split(key, 500))
    return ends.mean(), jnp.mean(ends**2)


@claim(
    "SDE-9.draws",
    title="Paths of the canonical equation, without forming the covariance of the noise",
    source=f"{BOOK}, equation (12.4)",
    statement=r"dx = -\nabla f(x) \, dt + \sqrt\eta \, \sigma \Sigma(x)^{1/2} \, dW",
    statistical=True,
    budget=4.0,
)
def canonical_paths(key):
    """Against the exact moments of the method with steps of 0.05, whose noise has variance 0.05 times 2.4."""
    expected = sgd_moments(1.0, 2.0, 0.05, 2.4 / 0.05, 0.0, 20)
    mean, square = _end_of_canonical(key)
    return {"mean": equal_in_mean(mean, expected.first[-1]), "second moment": equal_in_mean(square, expected.second[-1])}


@canonical_paths.control("the step size eta in place of its root")
def _(key):
    expected = sgd_moments(1.0, 2.0, 0.05, 2.4 / 0.05, 0.0, 20)
    return equal_in_mean(_end_of_canonical(key, 0.1**0.5)[1], expected.second[-1])
