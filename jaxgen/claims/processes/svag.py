"""Claims about SVAG: its gradient, its moments, and the order at which it approaches the equation of SGD (SDE-16 to SDE-19)."""

from itertools import product

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen import gradients, processes
from jaxgen.claims import at_least, at_most, claim, converges, equal, equal_in_mean, ordered
from jaxgen.claims.processes._quadratic import Moments, ornstein_uhlenbeck_moments, sgd_moments

PAPER = "Li, Malladi & Arora 2021"
BOOK = "Arora et al., Theory of Deep Learning"
EXACT = 1e-10
REFINEMENTS = (1, 2, 4, 8, 16, 32)
CURVATURE, VARIANCE, SKEW, LEARNING_RATE, NUM_STEPS = 2.0, 24.0, 100.0, 0.1, 10
"""The parabola x^2 + 9 of three examples, from x = 1 to time 1; the third moment of its noise is given another value."""


def _net_loss(params, batch):
    """Half squared error of a small tanh net, 9 parameters."""
    return 0.5 * (jnp.tanh(batch[0] @ params["first"]) @ params["second"] - batch[1]) ** 2


def _net(key, num_examples):
    keys = jax.random.split(key, 4)
    params = {"first": jax.random.normal(keys[0], (2, 3)), "second": jax.random.normal(keys[1], (3,))}
    return params, (jax.random.normal(keys[2], (num_examples, 2)), jax.random.normal(keys[3], (num_examples,)))


def _rows(params, data):
    """Gradients of single examples, as rows."""
    return jax.vmap(lambda gradient: ravel_pytree(gradient)[0])(gradients.per_example(_net_loss, params, data))


def _one_step(key, refinement, average=False):
    """Mean, covariance and third moments of the SVAG gradient over all pairs of 4 examples, from one step of `svag` on each."""
    params, data = _net(key, 4)
    start = ravel_pytree(params)[0]
    pairs = jnp.array(list(product(range(4), repeat=2)))

    def gradient(pair):
        after, _ = processes.svag(key, _net_loss, params, data, pair[:1, None], pair[1:, None], refinement, refinement)
        return start - ravel_pytree(after)[0]

    if average:
        found = _rows(params, data)[pairs].mean(axis=1)
    else:
        found = jax.vmap(gradient)(pairs)
    deviations = found - found.mean(axis=0)
    return found.mean(axis=0), deviations.T @ deviations / len(pairs), jnp.mean(deviations**3, axis=0), _rows(params, data)


def _moments_of_pairs(key, average=False):
    checks = {}
    for refinement in (2, 5):
        mean, covariance, third, rows = _one_step(key, refinement, average)
        centred = rows - rows.mean(axis=0)
        factors = processes.svag_moments(refinement)
        expected = factors.third * jnp.mean(centred**3, axis=0)
        checks |= {
            f"mean, l = {refinement}": equal(mean, rows.mean(axis=0), rtol=EXACT, atol=EXACT),
            f"covariance, l = {refinement}": equal(covariance, factors.covariance * centred.T @ centred / 4, rtol=EXACT, atol=EXACT),
            f"third moments, l = {refinement}": equal(third, expected, rtol=EXACT, atol=EXACT),
        }
    return checks


@claim(
    "SDE-16",
    title="A SVAG gradient has the mean of a stochastic gradient and l times its covariance",
    source=f"{PAPER}; {BOOK}, Definition 12.4.1",
    statement=r"\hat g = \frac{1 + \sqrt{2 l - 1}}{2} g_1 + \frac{1 - \sqrt{2 l - 1}}{2} g_2: \quad"
    r" \mathbb{E} \hat g = \nabla f, \quad \operatorname{Cov} \hat g = l \operatorname{Cov} g",
    budget=4.0,
)
def svag_gradient(key):
    """Over all 16 pairs of 4 examples. The book prints l > 0 where the root asks for l >= 1/2, and only l >= 1 refines."""
    known = equal(jnp.stack(processes.svag_coefficients(2)), jnp.array([1.3660254, -0.3660254]), rtol=0, atol=5e-8)
    return _moments_of_pairs(key) | {"l = 2": known}


@svag_gradient.control("the average of two batches")
def _(key):
    return _moments_of_pairs(key, average=True)


@claim(
    "SDE-16.sgd",
    title="SVAG with l = 1 is SGD, to the last bit",
    source=f"{BOOK}, Definition 12.4.1",
    statement=r"l = 1: \quad \hat g = g_1",
)
def svag_of_one(key):
    """Twelve steps of a small net."""
    return equal(*_paths_of_one(key, 1), rtol=0)


@svag_of_one.control("l = 2 with twice the learning rate")
def _(key):
    return equal(*_paths_of_one(key, 2), rtol=0)


def _paths_of_one(key, refinement):
    params, data = _net(key, 6)
    rows = jax.random.randint(key, (2, 12, 2), 0, 6)
    found, _ = processes.svag(key, _net_loss, params, data, rows[0], rows[1], 0.1 * refinement, refinement)
    return found, processes.sgd(key, _net_loss, params, data, rows[0], 0.1)[0]


def _by_combination(refinement):
    """The moments by powers of the coefficients."""
    a, b = processes.svag_coefficients(refinement)
    return [a**power + b**power for power in (1, 2, 3, 4)]


@claim(
    "SDE-17",
    title="l steps of SVAG have the drift and covariance of a step of SGD, and noise that is less skewed",
    source=f"{PAPER}; {BOOK}, section 12.4",
    statement=r"l \cdot \left(\frac{\eta}{l}\right)^2 \cdot l \sigma^2 \Sigma = \eta^2 \sigma^2 \Sigma, \qquad"
    r" \frac{\mathbb{E} (a z_1 + b z_2)^{\otimes 3}}{l^{3/2}} = \frac{3 l - 1}{2 l^{3/2}} \kappa_3 \le \frac{3}{2 \sqrt l} \kappa_3",
)
def same_equation(key):
    """On a flat loss, where l steps add up; and the third moment falls as 1 / (sqrt(l) sigma) whatever the law of one batch is."""
    third, checks = jax.random.normal(key), {}
    for refinement in REFINEMENTS:
        moments = processes.svag_moments(refinement)
        after = sgd_moments(0.0, 0.0, LEARNING_RATE / refinement, moments.covariance, moments.third * third, refinement)
        checks |= {
            f"powers, l = {refinement}": equal(jnp.stack(moments[:4]), jnp.stack(_by_combination(refinement)), rtol=EXACT),
            f"covariance, l = {refinement}": equal(after.second[-1], LEARNING_RATE**2, rtol=EXACT),
            f"skewness, l = {refinement}": at_most(moments.skewness, 1.5 / refinement**0.5),
        }
    return checks | {"l = 16": equal(processes.svag_moments(16).skewness, 0.3672, rtol=0, atol=5e-5)}


@same_equation.control("the noise of one batch times sqrt(l), whose skewness stays")
def _(key):
    variance, third = _skewed_noise(16)
    return at_most(third / SKEW * (VARIANCE / variance) ** 1.5, 1.5 / 16**0.5)


def _errors(noise):
    """E x^2 and E x^3 of the refined process minus those of the equation, at time 1, by l; `noise(l)` is its variance and third moment."""
    limit = ornstein_uhlenbeck_moments(1.0, CURVATURE, LEARNING_RATE * VARIANCE, 1.0)

    def error(refinement):
        variance, third = noise(refinement)
        found = sgd_moments(1.0, CURVATURE, LEARNING_RATE / refinement, variance, third, NUM_STEPS * refinement)
        return jax.tree.map(lambda path, limit: path[-1] - limit, found, limit)

    return Moments(*map(jnp.stack, zip(*map(error, REFINEMENTS), strict=True)))


def _svag_noise(refinement):
    moments = processes.svag_moments(refinement)
    return moments.covariance * VARIANCE, moments.third * SKEW


def _skewed_noise(refinement):
    return refinement * VARIANCE, refinement**1.5 * SKEW


def _first_order(errors):
    """The order between two values of l and the next comes closer to 1 all the time, and within 0.02 of it."""
    orders = jnp.log2(jnp.abs(errors[:-1] / errors[1:]))
    return {"last order": equal(orders[-1], 1.0, rtol=0, atol=0.02), "monotone": ordered(jnp.abs(orders - 1), strict=True, decreasing=True)}


@claim(
    "SDE-18",
    title="SVAG approximates the equation of SGD at first order in eta / l",
    source=f"{PAPER}; {BOOK}, Theorem 12.4.2",
    statement=r"|\mathbb{E} g(x_k) - \mathbb{E} g(X_{k \eta / l})| \le C \eta / l",
    core=True,
    num_seeds=1,
)
def first_order(key):
    """Exact moments on a parabola at a fixed learning rate, for l = 1 to 32; the noise is skewed."""
    errors = _errors(_svag_noise)
    scaled = {"second": errors.second * jnp.array(REFINEMENTS), "third": errors.third * jnp.array(REFINEMENTS)}
    known = {
        "second": jnp.array([0.0632, 0.0594, 0.0576, 0.0568, 0.0564, 0.0562]),
        "third": jnp.array([-0.2328, -0.2560, -0.2652, -0.2692, -0.2712, -0.2721]),
    }
    checks = {f"{name} moment": equal(scaled[name], known[name], rtol=0, atol=5e-5) for name in known}
    for name in known:
        checks |= {f"{name} moment, {check}": result for check, result in _first_order(getattr(errors, name)).items()}
    return checks


@first_order.control("skewed noise times sqrt(l) in place of SVAG: order one half in the third moment")
def _(key):
    errors = _errors(_skewed_noise)
    return {**_first_order(errors.third), "second": equal(errors.second, _errors(_svag_noise).second, rtol=EXACT)}


@first_order.control("SGD with learning rate eta / l, which has another equation")
def _(key):
    return _first_order(_errors(lambda refinement: (VARIANCE, SKEW)).third)


@claim(
    "SDE-18.skew",
    title="Without SVAG, larger skewed noise approaches the equation at order one half only",
    source=f"{PAPER}; {BOOK}, section 12.4",
    statement=r"\sqrt l \, (\mathbb{E} x_k^3 - \mathbb{E} X_{k \eta / l}^3) \to c \neq 0",
    num_seeds=1,
)
def half_order(key):
    """Exact moments; with eta / l alone the error does not fall at all."""
    root = jnp.sqrt(jnp.array(REFINEMENTS, float))
    small = _errors(lambda refinement: (VARIANCE, SKEW)).third
    return {
        "times sqrt(l)": equal((root * _errors(_skewed_noise).third)[-1], -0.1715, rtol=0, atol=5e-5),
        "eta / l alone": at_least(-small[-1], 0.23),
    }


@half_order.control("SVAG, whose error falls faster")
def _(key):
    root = jnp.sqrt(jnp.array(REFINEMENTS, float))
    return equal((root * _errors(_svag_noise).third)[-1], -0.1715, rtol=0, atol=5e-5)


@claim(
    "SDE-18.law",
    title="On a parabola, SVAG's second moment is the equation's up to first order, for any curvature and noise",
    source=f"{PAPER}; {BOOK}, Theorem 12.4.2",
    statement=r"\mathbb{E} x_k^2 - \mathbb{E} X_{k \eta / l}^2 = O(\eta / l)",
    budget=3.0,
)
def any_parabola(key):
    curvature, variance, start = 0.5 + jax.random.uniform(key, (3,))
    limit = ornstein_uhlenbeck_moments(start, curvature, LEARNING_RATE * variance, 1.0).second

    def error(refinement, factor):
        return sgd_moments(start, curvature, LEARNING_RATE / refinement, factor * variance, 0.0, NUM_STEPS * refinement).second[-1] - limit

    errors = jnp.stack([jnp.abs(error(refinement, processes.svag_moments(refinement).covariance)) for refinement in (4, 8, 16)])
    return converges(errors, order=-1.0, steps=jnp.array([4.0, 8.0, 16.0]), tolerance=0.05)


@any_parabola.control("noise of one batch at eta / l")
def _(key):
    errors = jnp.abs(_errors(lambda refinement: (VARIANCE, 0.0)).second[2:5])
    return converges(errors, order=-1.0, steps=jnp.array([4.0, 8.0, 16.0]), tolerance=0.05)


def _oracle_noise(key, *, printed=False):
    """Mean, mean z z^T and mean z^3 over 400 draws of the noise of SVAG with l = 4 on an oracle of single examples."""
    params, data = _net(jax.random.key(0), 12)
    oracle = processes.minibatch_oracle(_net_loss, data, batch_size=1)
    refined = processes.svag_oracle(oracle, 4)
    noise = jax.vmap(lambda key: ravel_pytree(refined.noise(key, params))[0])(jax.random.split(key, 400))
    noise = noise / 2 if printed else noise
    rows = _rows(params, data)
    third = jnp.mean((rows - rows.mean(axis=0)) ** 3, axis=0)
    return noise.mean(axis=0), noise.T @ noise / 400, jnp.mean(noise**3, axis=0), refined.covariance(params).as_matrix(), third


@claim(
    "SDE-19",
    title="A SVAG gradient is a noisy gradient oracle of scale sqrt(l) sigma",
    source=f"{PAPER}; {BOOK}, Problem 12.4.3",
    statement=r"\hat g = \nabla f + \sqrt l \sigma \hat z, \quad \hat z = \frac{a z_1 + b z_2}{\sqrt l}: \quad"
    r" \operatorname{Cov} \hat z = \Sigma, \quad \mathbb{E} \hat z^{\otimes 3} = \frac{3 l - 1}{2 l^{3/2}} \mathbb{E} z^{\otimes 3}",
    statistical=True,
    budget=4.0,
)
def svag_oracle(key):
    """The book divides by l, with scale l sigma: the same gradient, but then the noise has covariance Sigma / l."""
    mean, second, third, covariance, skewness = _oracle_noise(key)
    return {
        "mean": equal_in_mean(mean, jnp.zeros(9)),
        "covariance": equal_in_mean(second, covariance),
        "third moment": equal_in_mean(third, processes.svag_moments(4).skewness * skewness),
    }


@svag_oracle.control("the noise divided by l, as printed")
def _(key):
    _, second, _, covariance, _ = _oracle_noise(key, printed=True)
    return equal_in_mean(second, covariance)


@svag_oracle.control("noise as skewed as that of one example")
def _(key):
    *_, third, _, skewness = _oracle_noise(key)
    return equal_in_mean(third, skewness)
