"""Claims about the bound of Wang and Mao at the best noise (INFO-28)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import bounds, curvature, gradients, models, processes
from jaxgen.claims import at_least, claim, equal, equal_within, less
from jaxgen.claims.information._learners import cyclic_rows, two_layers


@claim(
    "INFO-28",
    title="The best noise and the cube-root form",
    source="Wang & Mao 2022, Theorem 1 (2)",
    statement=r"\min_\sigma \left(\tfrac{A}{\sigma} + \tfrac{T h}{2} \sigma^2\right)"
    r" = \tfrac32 \left(\tfrac{R^2 T}{n} \sum_t \lambda_t^2 \mathbb{E} V_t \, h\right)^{1/3}",
    core=True,
    budget=3.0,
)
def cube_root_form(key):
    """A free schedule of the noise is never worse than a constant one, and no other free schedule is better."""
    rate, spread, trace = _problem(key)
    constant, free = (bounds.wang_mao_optimized(rate, spread, trace, 50, 0.5, schedule=schedule) for schedule in ("constant", "free"))
    sigma, best = bounds.optimize_sigma(lambda sigma: _second_order(rate, sigma, spread, trace), jnp.geomspace(1e-2, 10, 6001))
    others = free.terms["noise_std"] * jnp.exp(0.3 * jax.random.normal(key, (100, 8)))
    values = np.random.default_rng(0).uniform(0.1, 3, 6)
    known = [bounds.wang_mao_optimized(jnp.sqrt(values), 1.0, 0.7, 1, 1.0, schedule=schedule).value for schedule in ("constant", "free")]
    simple = bounds.wang_mao_optimized(jnp.ones(8), 1 / 8, 1.0, 1, 1.0)
    return {
        "grid minimum": equal(constant, best, rtol=1e-6),
        "best noise": equal(constant.terms["noise_std"], sigma, rtol=1e-3),
        "constant noise": equal(_second_order(rate, constant.terms["noise_std"], spread, trace), constant, rtol=1e-12),
        "free noise": equal(_second_order(rate, free.terms["noise_std"], spread, trace), free, rtol=1e-12),
        "free below constant": less(free, constant),
        "other free noise": at_least(jax.lax.map(lambda noise: _second_order(rate, noise, spread, trace).value, others), free.value),
        "known values": equal(jnp.stack(known), jnp.array([4.920000, 4.597026]), rtol=1e-6),
        "known noise": equal(jnp.stack([simple.value, simple.terms["noise_std"]]), jnp.array([3.0, 0.5]), rtol=1e-12),
    }


def _problem(key):
    """Learning rates, dispersions and a Hessian trace."""
    uniform = jax.random.uniform(key, (17,))
    return 0.05 + 0.25 * uniform[:8], 0.1 + 2 * uniform[8:16], 0.5 + 5 * uniform[16]


def _second_order(rate, noise, spread, trace):
    return bounds.wang_mao(rate, noise, spread, lambda variance: variance * trace / 2, 50, 0.5, sided="one")


@cube_root_form.control("twice the best noise")
def _(key):
    rate, spread, trace = _problem(key)
    constant = bounds.wang_mao_optimized(rate, spread, trace, 50, 0.5)
    return equal(_second_order(rate, 2 * constant.terms["noise_std"], spread, trace), constant, rtol=1e-6)


@cube_root_form.control("without the number of steps")
def _(key):
    rate, spread, trace = _problem(key)
    _, best = bounds.optimize_sigma(lambda sigma: _second_order(rate, sigma, spread, trace), jnp.geomspace(1e-2, 10, 6001))
    return equal(bounds.wang_mao_optimized(rate, spread, trace / 8, 50, 0.5), best, rtol=1e-6)


@claim(
    "INFO-28.taylor",
    title="The flatness term at the best noise is of second order for quadratic losses only",
    source="Wang & Mao 2022, Theorem 1 (2), corrected",
    statement=r"\mathbb{E} \gamma(W_T, S) = \tfrac{T \sigma^{\star 2}}{2} \operatorname{tr} \nabla^2 L_S(W_T) \text{ for linear regression}",
    statistical=True,
    num_seeds=32,
    budget=6.0,
)
def second_order_flatness(key):
    """The print has an inequality for every loss, and the trace on fresh data; it is a heuristic, and on the training sample."""
    return equal_within(*_flatness_at_best_noise(key, lambda w, x: x @ w, 4))


def _flatness_at_best_noise(key, apply_fn, num_parameters, n=20, num_steps=20):
    """Monte Carlo flatness on the training sample, and its second-order value by Hutchinson's trace, at the noise of the cube-root form."""
    keys = jax.random.split(key, 4)
    inputs = jax.random.normal(keys[0], (n, 4))
    train = inputs, jnp.sin(inputs.sum(axis=1))
    loss_fn = models.loss_fn(apply_fn, "squared")
    start = 0.5 * jax.random.normal(keys[1], (num_parameters,))
    params, _ = processes.sgd(key, loss_fn, start, train, cyclic_rows(n, 5, num_steps), 0.1)
    trace = curvature.trace(curvature.hessian(loss_fn, params, train), keys[2], num_matvecs=400, chunk_size=400)
    noise = bounds.wang_mao_optimized(jnp.full(num_steps, 0.1), gradients.dispersion(loss_fn, params, train), trace.value, n, R=5.0).terms[
        "noise_std"
    ]
    variance = num_steps * noise**2
    flatness = curvature.value_sensitivity(loss_fn, params, train, keys[3], variance=variance, num_noise=1000, chunk_size=1000)
    return flatness, trace._replace(value=variance * trace.value / 2, stderr=variance * trace.stderr / 2)


@second_order_flatness.control("the same for a net with one hidden layer")
def _(key):
    return equal_within(*_flatness_at_best_noise(key, two_layers, 16 * (4 + 1)))
