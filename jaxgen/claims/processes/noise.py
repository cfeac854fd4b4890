"""Claims about the noise of mini-batch gradients and oracles with a scale (SDE-2, SDE-3)."""

from itertools import combinations, product

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen import gradients, processes
from jaxgen.claims import claim, equal, equal_in_mean
from jaxgen.claims.processes._quadratic import OFFSETS, parabolas

NUM_EXAMPLES, BATCH_SIZE = 5, 2
EXACT = 1e-12


def _loss_fn(params, batch):
    """Half squared error of a small tanh net, 9 parameters."""
    return 0.5 * (jnp.tanh(batch[0] @ params["first"]) @ params["second"] - batch[1]) ** 2


def _problem(key, num_examples=NUM_EXAMPLES):
    keys = jax.random.split(key, 4)
    params = {"first": jax.random.normal(keys[0], (2, 3)), "second": jax.random.normal(keys[1], (3,))}
    return params, (jax.random.normal(keys[2], (num_examples, 2)), jax.random.normal(keys[3], (num_examples,)))


def _gradient(params, data, rows):
    batch = jax.tree.map(lambda leaf: leaf[rows], data)
    return ravel_pytree(gradients.value_and_gradient(_loss_fn, params, batch)[1])[0]


def _enumerated(params, data, *, replacement):
    """Mean and covariance of the gradient over all batches of two of the five examples."""
    indices = range(NUM_EXAMPLES)
    batches = product(indices, repeat=BATCH_SIZE) if replacement else combinations(indices, BATCH_SIZE)
    found = jax.vmap(lambda rows: _gradient(params, data, rows))(jnp.array(list(batches)))
    deviations = found - found.mean(axis=0)
    return found.mean(axis=0), deviations.T @ deviations / len(found)


@claim(
    "SDE-2",
    title="Covariance of mini-batch gradient noise, with and without replacement",
    source="Arora et al., Theory of Deep Learning, Problem 12.1.1",
    statement=r"\operatorname{Cov}(\nabla f^{(B)}) = \frac{1}{B} \Sigma \text{ with replacement}, \quad"
    r" \frac{m - B}{B (m - 1)} \Sigma \text{ without}, \qquad \Sigma = \frac{1}{m} \sum_i (\nabla f_i - \nabla f)(\nabla f_i - \nabla f)^\top",
    core=True,
)
def noise_covariance(key):
    """Against all 25 ordered and all 10 unordered batches of 2 of 5 examples, and Sigma = 24 of the worked problem."""
    params, data = _problem(key)
    checks = {}
    for replacement in (True, False):
        operator = gradients.noise_covariance(_loss_fn, params, data, batch_size=BATCH_SIZE, replacement=replacement)
        mean, expected = _enumerated(params, data, replacement=replacement)
        products = jax.vmap(lambda v, op=operator: ravel_pytree(op.mv(ravel_pytree(params)[1](v)))[0])(jnp.eye(9))
        name = "with replacement" if replacement else "without"
        checks |= {
            f"{name}: matrix": equal(operator.as_matrix(), expected, rtol=EXACT, atol=EXACT),
            f"{name}: products": equal(products, expected, rtol=EXACT, atol=EXACT),
            f"{name}: trace": equal(operator.trace(), jnp.trace(expected), rtol=EXACT),
            f"{name}: mean": equal(mean, _gradient(params, data, jnp.arange(NUM_EXAMPLES)), rtol=EXACT, atol=EXACT),
        }
    x = jax.random.normal(key)
    known = gradients.noise_covariance(parabolas, x, OFFSETS)
    return checks | {"parabolas": equal(known.mv(x), 24 * x, rtol=EXACT)}


@noise_covariance.control("the factor of draws without replacement for draws with it")
def _(key):
    params, data = _problem(key)
    operator = gradients.noise_covariance(_loss_fn, params, data, batch_size=BATCH_SIZE, replacement=False)
    return equal(operator.as_matrix(), _enumerated(params, data, replacement=True)[1], rtol=EXACT, atol=EXACT)


@noise_covariance.control("the sum over examples in place of the mean")
def _(key):
    x = jax.random.normal(key)
    known = gradients.noise_covariance(parabolas, x, OFFSETS)
    return equal(known.mv(x), 72 * x, rtol=EXACT)


@claim(
    "SDE-2.draws",
    title="Gaussian draws with the covariance of the gradient noise, without forming it",
    source="Arora et al., Theory of Deep Learning, Problem 12.1.1",
    statement=r"\frac{1}{\sqrt m} \sum_i \epsilon_i (\nabla f_i - \nabla f) \sim N(0, \Sigma), \quad \epsilon_i \sim N(0, 1)",
    core=True,
    statistical=True,
)
def draws_of_the_noise(key):
    params, data = _problem(jax.random.key(0))
    operator = gradients.noise_covariance(_loss_fn, params, data)
    draws = jax.vmap(lambda key: ravel_pytree(operator.sample(key))[0])(jax.random.split(key, 200))
    covariance = operator.as_matrix()
    return {
        "mean": equal_in_mean(draws.mean(axis=0), jnp.zeros(9)),
        "covariance": equal_in_mean(draws.T @ draws / 200, covariance),
        "fourth moment": equal_in_mean(jnp.mean(draws**4, axis=0), 3 * jnp.diagonal(covariance) ** 2),
    }


@draws_of_the_noise.control("gradients that are not centred")
def _(key):
    params, data = _problem(jax.random.key(0))
    rows = jax.vmap(lambda gradient: ravel_pytree(gradient)[0])(gradients.per_example(_loss_fn, params, data))
    draws = jax.random.normal(key, (200, NUM_EXAMPLES)) @ rows / jnp.sqrt(NUM_EXAMPLES)
    return equal_in_mean(draws.T @ draws / 200, gradients.noise_covariance(_loss_fn, params, data).as_matrix())


def _noise_moments(key, batch_size, *, scaled=True):
    """Mean z z^T and mean z^3 over 400 draws of the oracle's noise (or of g - grad f), Sigma, and the third moment of examples."""
    params, data = _problem(jax.random.key(0), 20)
    oracle = processes.minibatch_oracle(_loss_fn, data, batch_size=batch_size)
    noise = jax.vmap(lambda key: ravel_pytree(oracle.noise(key, params))[0])(jax.random.split(key, 400))
    noise = noise if scaled else noise * oracle.noise_scale
    rows = jax.vmap(lambda gradient: ravel_pytree(gradient)[0])(gradients.per_example(_loss_fn, params, data))
    third = jnp.mean((rows - rows.mean(axis=0)) ** 3, axis=0)
    return noise.T @ noise / 400, jnp.mean(noise**3, axis=0), oracle.covariance(params).as_matrix(), third


@claim(
    "SDE-3",
    title="A mini-batch gradient is a noisy gradient oracle of scale one over the root of the batch size",
    source="Malladi, Lyu, Panigrahi & Arora 2022, Definition 2.1; Theory of Deep Learning, Definition 12.1.2",
    statement=r"g = \nabla f(x) + \sigma z, \; \sigma = B^{-1/2}: \quad \operatorname{Cov} z = \Sigma(x), \qquad"
    r" \mathbb{E} z^{\otimes 3} = \sigma \, \kappa_3",
    core=True,
    statistical=True,
    budget=4.0,
)
def minibatch_oracle(key):
    """The covariance of z is that of single examples whatever the batch size, the law is not: its skewness falls with sigma."""
    checks = {}
    for batch_size in (1, 4, 16):
        second, third, covariance, skewness = _noise_moments(key, batch_size)
        checks[f"covariance, B = {batch_size}"] = equal_in_mean(second, covariance)
        checks[f"third moment, B = {batch_size}"] = equal_in_mean(third, skewness / jnp.sqrt(batch_size))
    return checks


@minibatch_oracle.control("the root of the batch size forgotten")
def _(key):
    second, _, covariance, _ = _noise_moments(key, 4, scaled=False)
    return equal_in_mean(second, covariance)


@minibatch_oracle.control("a law of z that does not depend on the batch size")
def _(key):
    _, third, _, skewness = _noise_moments(key, 16)
    return equal_in_mean(third, skewness)
