"""Claims about weak errors and their order: the equation of SGD is an approximation of order one (SDE-10, 11, 12 and 15)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import processes
from jaxgen.claims import at_most, claim, converges, equal, equal_in_mean, equal_within, ordered, with_probability
from jaxgen.claims.processes._quadratic import OFFSETS, ornstein_uhlenbeck_moments, parabolas, sgd_moments

BOOK = "Arora et al., Theory of Deep Learning"
RATES = (0.1, 0.05, 0.025, 0.0125, 0.00625)
FIRST = RATES[0]


@claim(
    "SDE-10",
    title="The distance of two Gaussians over a list of test functions",
    source=f"{BOOK}, Definitions 12.3.1 and 12.3.2",
    statement=r"d_F(X, Y) = \sup_{f \in F} |\mathbb{E} f(X) - \mathbb{E} f(Y)|: \quad f = x^2, \; Y = X + \delta \text{ gives } \delta^2",
    statistical=True,
)
def distance_of_gaussians(key):
    """With and without a coupling."""
    x, y = jax.random.normal(key, (2, 500))
    square = [lambda x: x**2]
    shift = 0.5
    return {
        "independent": equal_within(processes.weak_error(x, y + shift, square), shift**2),
        "coupled": equal_within(processes.weak_error(x, x + shift, square, coupled=True), shift**2),
    }


@distance_of_gaussians.control("the difference of the squares of the means of other samples")
def _(key):
    x, y = jax.random.normal(key, (2, 500))
    return equal_within(processes.weak_error(x, y + 0.5, [lambda x: x]), 0.25)


def _distance(key, shift):
    """Distance of 200 paths of 10 steps from as many others, and the quantile of level 0.05 / 20 times its standard error."""
    x, y = jax.random.normal(key, (2, 200, 10)).cumsum(axis=-1)
    found = processes.trajectory_distance(x, y + shift, [lambda x: x, jnp.tanh])
    return found.value, jax.scipy.stats.norm.ppf(1 - 0.05 / 40) * found.stderr


@claim(
    "SDE-10.equal",
    title="Paths of one law are at distance zero, up to sampling and the number of differences looked at",
    source=f"{BOOK}, Definition 12.3.2; Bonferroni",
    statement=r"x \sim y: \quad \Pr\left[\max_{k, g} |\bar g(x_k) - \bar g(y_k)| \le z_{p / K F} \, \mathrm{se}\right] \ge 1 - p",
    statistical=True,
)
def paths_of_one_law(key):
    """Ten times, two functions, level 0.05."""
    distance, allowed = _distance(key, 0.0)
    return with_probability(at_most(distance, allowed), at_least=0.95)


@paths_of_one_law.control("one path shifted")
def _(key):
    distance, allowed = _distance(key, 0.5)
    return with_probability(at_most(distance, allowed), at_least=0.95)


def _errors(third, rate_of_equation=None):
    """Largest errors over k of the first three moments of SGD on x^2 with noise of variance 24 at eta sigma^2 = 0.1, one row per rate.

    `third(sigma)` is E z^3; with a rate for the equation, sigma = 1 and the equation is that of this rate.
    """
    rows = []
    for rate in RATES:
        scale = (FIRST / rate) ** 0.5 if rate_of_equation is None else 1.0
        num_steps = round(1 / rate)
        found = sgd_moments(1.0, 2.0, rate, 24 * scale**2, scale**3 * third(scale), num_steps)
        exact = ornstein_uhlenbeck_moments(1.0, 2.0, 24 * FIRST, rate * jnp.arange(num_steps + 1))
        rows.append([jnp.abs(a - b) for a, b in zip(found, exact, strict=True)])
    return rows


def _largest(rows):
    return jnp.stack([jnp.stack([moment.max() for moment in row]) for row in rows])


@claim(
    "SDE-11",
    title="The order of a weak approximation, over a whole trajectory",
    source=f"{BOOK}, Definition 12.3.3",
    statement=r"\eta \sigma^2 \text{ fixed}: \quad \max_{k \le T / \eta} |\mathbb{E} g(x_k) - \mathbb{E} g(X_{k \eta})| \le C \eta",
    num_seeds=1,
)
def order_over_trajectories(key):
    """Exact moments one to three, noise without skewness. The constant is independent of eta where the equation is held fixed only."""
    order = processes.weak_order(_largest(_errors(lambda scale: 0.0)), jnp.array(RATES))
    return equal(order.value, jnp.ones(3), rtol=0, atol=0.1)


@order_over_trajectories.control("sigma held fixed, where SGD leaves the equation for gradient flow")
def _(key):
    order = processes.weak_order(_largest(_errors(lambda scale: 0.0, rate_of_equation=FIRST)), jnp.array(RATES))
    return equal(order.value[1:], jnp.ones(2), rtol=0, atol=0.1)


def _slopes(errors):
    """Order from each pair of neighbouring rates."""
    return jnp.diff(jnp.log(errors)) / jnp.diff(jnp.log(jnp.array(RATES)))


def _approximation(third):
    """Orders at time 1 of the second moment and of the third, for noise with E z^3 = third(sigma)."""
    rows = _errors(third)
    second, cubed = (jnp.stack([row[i][-1] for row in rows]) for i in (1, 2))
    return {
        "second moment / eta": equal(second / jnp.array(RATES), np.array([0.63183, 0.59397, 0.57642, 0.56796, 0.56381]), rtol=0, atol=1e-5),
        "order of the second": equal(_slopes(second)[-1], 1.0, rtol=0, atol=0.02),
        "approached": ordered(_slopes(second), strict=True, decreasing=True),
        "order of the third": equal(_slopes(cubed)[-1], 1.0, rtol=0, atol=0.02),
    }


@claim(
    "SDE-12",
    title="The canonical equation is a weak approximation of SGD of order one",
    source=f"{BOOK}, Theorem 12.3.4; Li, Tai & E 2019; Malladi, Lyu, Panigrahi & Arora 2022",
    statement=r"|\mathbb{E} z^{\otimes 3}| \le K / \sigma, \; \eta \sigma^2 \text{ fixed}:"
    r" \quad \mathbb{E} g(x_{T / \eta}) - \mathbb{E} g(X_T) = O(\eta)",
    core=True,
    num_seeds=1,
)
def weak_approximation(key):
    """f = x^2, Sigma = 24, eta sigma^2 = 0.1, x_0 = 1; exact moments; noise with E z^3 = 10 / sigma."""
    return _approximation(lambda scale: 10 / scale)


@weak_approximation.control("skewed noise magnified, its law independent of sigma")
def _(key):
    return _approximation(lambda scale: 10.0)


def _third_moments(key, law):
    """Squared norms of the third moment of batches' noise, estimated, for sizes 1, 4 and 16, and what they are under a law."""
    examples = jnp.array([[4.0, 0.0], [0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    centred = examples - examples.mean(axis=0)
    exact = jnp.sum(jnp.einsum("ni,nj,nk->ijk", centred, centred, centred) ** 2) / 16
    checks = {}
    for size in (1, 4, 16):
        oracle = processes.minibatch_oracle(lambda w, z: z @ w, examples, batch_size=size)
        found = processes.oracle_conditions(jax.random.fold_in(key, size), oracle, jnp.ones((1, 2)), num_draws=200)
        checks[f"B = {size}"] = equal_in_mean(found.third_moment.value[0], exact * law(size))
    return checks


@claim(
    "SDE-12.skewness",
    title="Noise of mini-batches satisfies the third condition: its third moment falls with the root of the batch size",
    source="Theory of Deep Learning, Theorem 12.3.4, condition (3); derived",
    statement=r"\mathbb{E} z^{\otimes 3} = \sigma \kappa_3, \; \sigma = B^{-1/2}",
    statistical=True,
    budget=4.0,
)
def third_moments(key):
    """The squared norm of the third moment, without forming it, from pairs of draws."""
    return _third_moments(key, lambda size: 1 / size)


@third_moments.control("a law that does not depend on the batch size")
def _(key):
    return _third_moments(key, lambda size: 1.0)


def _oscillation(frequency, phase):
    return lambda x: jnp.sin(frequency @ x + phase)


def _generated(key, root_of):
    """Generators against derivatives at 0 of expectations that are known: of a sine after a Gaussian step, and of powers."""
    keys = jax.random.split(key, 4)
    root, frequency, x = jax.random.normal(keys[0], (2, 2)), jax.random.normal(keys[1], (2,)), jax.random.normal(keys[2], (2,))
    drift = jax.random.normal(keys[3], (2, 2))

    def expected_sine(time):
        spread = jnp.sum((root.T @ frequency) ** 2)
        return jnp.sin(frequency @ (x + drift @ x * time) + 0.3) * jnp.exp(-spread * time / 2)

    def expected_power(time):
        return jnp.abs(x[0]) ** 3 * jnp.exp(3 * 0.5 * time + 3 * 0.8**2 * time)

    sine = processes.ito_generator(_oscillation(frequency, 0.3), lambda x, t: drift @ x, lambda x, t: root_of(root), noise="matrix")(x)
    power = processes.ito_generator(lambda x: x**3, lambda x, t: 0.5 * x, lambda x, t: 0.8 * x, noise="diagonal")(jnp.abs(x[0]))
    return {
        "a matrix that is not symmetric": equal(sine, jax.grad(expected_sine)(0.0), rtol=1e-10, atol=1e-10),
        "geometric Brownian motion": equal(power, jax.grad(expected_power)(0.0), rtol=1e-10),
    }


@claim(
    "SDE-15",
    title="Ito's lemma: the generator has the trace of the diffusion times its transpose",
    source=f"{BOOK}, Definition 12.3.7",
    statement=r"\tfrac{d}{dt} \mathbb{E} h(X_t) = \mathbb{E}\left[\langle \nabla h, b \rangle"
    r" + \tfrac12 \operatorname{Tr}(\sigma \sigma^\top \nabla^2 h)\right]",
)
def generator(key):
    """The source prints sigma^T sigma, which is another matrix where sigma is not symmetric, and calls the lemma a definition."""
    return _generated(key, lambda root: root)


@generator.control("the transpose times the matrix, as printed")
def _(key):
    return _generated(key, lambda root: root.T)


def _mismatch(spread_of):
    """E D and E D^2 of a step of SGD on the parabolas from 1, less those of the equation with diffusion `spread_of(rate, sigma)`."""
    rows = []
    for rate in RATES:
        scale = (FIRST / rate) ** 0.5
        oracle = processes.minibatch_oracle(parabolas, scale * jnp.asarray(OFFSETS), batch_size=1)
        sgd = processes.oracle_step_moments(oracle, 1.0, rate)
        spread = spread_of(rate, scale)
        equation = processes.one_step_moments(lambda x, t: -2 * x, lambda x, t, s=spread: s, 1.0, rate, order=3)
        rows.append(jnp.stack([jnp.abs(sgd.first - equation.first)[0], jnp.abs(sgd.second - equation.second)[0, 0]]))
    return jnp.stack(rows)


@claim(
    "SDE-15.step",
    title="The first two moments of a step of SGD and of its equation differ by the square of the step size",
    source=f"{BOOK}, section 12.3.2",
    statement=r"\mathbb{E} \Delta - \mathbb{E} \tilde\Delta = O(\eta^2),"
    r" \quad \mathbb{E} \Delta \Delta^\top - \mathbb{E} \tilde\Delta \tilde\Delta^\top = O(\eta^2)",
    num_seeds=1,
    budget=4.0,
)
def one_step(key):
    """The worked problem of SDE-9, from x = 1; over eta^2 the first moments differ by 1.8731, 1.9349, 1.9671, ..., towards 2."""
    errors = _mismatch(lambda rate, scale: (24 * rate) ** 0.5 * scale)
    exact = [sgd_moments(1.0, 2.0, rate, 24.0, 0.0, 1).first[1] - ornstein_uhlenbeck_moments(1.0, 2.0, 24 * FIRST, rate).first for rate in RATES[:3]]
    return {
        "first moment": converges(errors[:, 0], order=2.0, steps=jnp.array(RATES), tolerance=0.05),
        "second moment": converges(errors[:, 1], order=2.0, steps=jnp.array(RATES), tolerance=0.05),
        "over eta^2": equal(-jnp.stack(exact) / jnp.array(RATES[:3]) ** 2, jnp.array([1.8731, 1.9349, 1.9671]), rtol=0, atol=1e-4),
        "series": equal(errors[:3, 0], -jnp.stack(exact), rtol=0, atol=2 / 3 * FIRST**4),
    }


@one_step.control("a diffusion that is a hundredth too large")
def _(key):
    return converges(_mismatch(lambda rate, scale: 1.01 * (24 * rate) ** 0.5 * scale)[:, 1], order=2.0, steps=jnp.array(RATES), tolerance=0.05)
