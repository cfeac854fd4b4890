"""Claims about SGD with small steps: gradient flow, and the law on a loss with a fixed gradient (SDE-1 and SDE-5)."""

import jax
import jax.numpy as jnp
import lineax as lx

from jaxgen import processes
from jaxgen.claims import claim, converges, equal, equal_in_mean
from jaxgen.claims.processes._quadratic import OFFSETS, parabolas

BOOK = "Arora et al., Theory of Deep Learning"
RATES = (0.1, 0.05, 0.025, 0.0125)


def _loss(x):
    """x^2 beside a mild Rosenbrock function."""
    y, z = x["Rosenbrock"]
    return x["parabola"] ** 2 + (1 - y) ** 2 / 4 + (z - y**2) ** 2 / 2


def _start(key):
    return {"parabola": 1.0, "Rosenbrock": jnp.array([-0.5, 1.0]) + 0.2 * jax.random.normal(key, (2,))}


def _descended(x, rate):
    """Gradient descent until time 1."""
    return jax.lax.fori_loop(0, round(1 / rate), lambda _, x: jax.tree.map(lambda x, g: x - rate * g, x, jax.grad(_loss)(x)), x)


def _distances(start, limit):
    """Distance of gradient descent from a limit, for each rate and part of the loss."""
    ends = [_descended(start, rate) for rate in RATES]
    return {name: jnp.stack([jnp.linalg.norm(jnp.atleast_1d(end[name] - limit[name])) for end in ends]) for name in limit}


@claim(
    "SDE-1",
    title="Gradient descent follows gradient flow up to the step size",
    source=f"{BOOK}, chapter 12",
    statement=r"\dot x = -\nabla f(x): \quad |x_{T / \eta} - x(T)| = O(\eta)",
    budget=5.0,
)
def gradient_descent(key):
    """On x^2, where x(1) = e^{-2}, and on a mild Rosenbrock function."""
    start = _start(key)
    limit = jax.tree.map(lambda leaf: leaf[0], processes.gradient_flow(jax.grad(_loss), start, jnp.ones(1)))
    checks = {name: converges(errors, order=1.0, steps=jnp.array(RATES), tolerance=0.1) for name, errors in _distances(start, limit).items()}
    return checks | {"x(1)": equal(limit["parabola"], 0.1353352832, rtol=1e-8)}


@gradient_descent.control("the flow of twice the gradient")
def _(key):
    start = _start(key)
    limit = {"parabola": jnp.exp(-4.0)}
    return converges(_distances(start, limit)["parabola"], order=1.0, steps=jnp.array(RATES), tolerance=0.1)


def _spread_of_sgd(key, noise_of):
    """Standard deviation of SGD on the parabolas at time 1 over 1000 runs, for each rate; offsets times `noise_of(rate)`."""
    batches = jax.random.randint(key, (1000, round(1 / RATES[-1]), 1), 0, 3)

    def spread(rate):
        data = noise_of(rate) * jnp.asarray(OFFSETS)
        return jax.vmap(lambda rows: processes.sgd(key, parabolas, 1.0, data, rows, rate)[0])(batches[:, : round(1 / rate)]).std()

    return jnp.stack([spread(rate) for rate in RATES])


@claim(
    "SDE-1.noise",
    title="The fluctuations of SGD with fixed noise fall with the root of the step size",
    source=f"{BOOK}, chapter 12",
    statement=r"\sigma \text{ fixed}: \quad \operatorname{sd}(x_{T / \eta}) \sim \sqrt\eta",
    num_seeds=4,
    budget=4.0,
)
def fluctuations(key):
    """SGD, gradient descent and gradient flow have one limit: what tells them apart needs a finite step size. 1000 runs a seed."""
    return converges(_spread_of_sgd(key, lambda rate: 1.0), order=0.5, steps=jnp.array(RATES), tolerance=0.1)


@fluctuations.control("noise that grows as the inverse root of the step size, which has a diffusion as its limit")
def _(key):
    return converges(_spread_of_sgd(key, lambda rate: (0.1 / rate) ** 0.5), order=0.5, steps=jnp.array(RATES), tolerance=0.1)


def _constant_gradient(key, rate, noise_scale, num_steps):
    """Mean and variance of 2000 runs of SGD on a loss with gradient 1."""
    oracle = processes.gaussian_oracle(jnp.ones_like, lambda x: lx.DiagonalLinearOperator(jnp.ones(1)), noise_scale)

    def step(x, key):
        return (x - rate * oracle.sample(key, x), None)

    ends = jax.vmap(lambda key: jax.lax.scan(step, jnp.zeros(1), jax.random.split(key, num_steps))[0][0])(jax.random.split(key, 2000))
    return ends.mean(), ends.var(ddof=1)


@claim(
    "SDE-5",
    title="SGD on a loss with a fixed gradient: the law at a time asks for a step size proportional to one over the noise",
    source=f"{BOOK}, section 12.1.1",
    statement=r"g_k \sim N(\bar g, \sigma^2), \; x_0 = 0: \quad x_k \sim N(-\eta k \bar g, \eta^2 \sigma^2 k)",
    statistical=True,
    budget=3.0,
)
def fixed_gradient(key):
    """Mean -10 and variance 1 for (eta, sigma^2, k) = (.1, 1, 100) and (.4, 1/4, 25). The source leaves out that x_0 = 0."""
    checks = {}
    for name, setting in (("one", (0.1, 1.0, 100)), ("scaled by four", (0.4, 0.5, 25))):
        mean, variance = _constant_gradient(key, *setting)
        checks |= {f"mean, {name}": equal_in_mean(mean, -10.0), f"variance, {name}": equal_in_mean(variance, 1.0)}
    return checks


@fixed_gradient.control("the step size times four with the noise as it was")
def _(key):
    return equal_in_mean(_constant_gradient(key, 0.4, 1.0, 25)[1], 1.0)
