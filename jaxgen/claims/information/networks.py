"""Claims about the bound of Wang and Mao for linear and for two-layer ReLU networks (INFO-29, INFO-30)."""

import jax
import jax.numpy as jnp

from jaxgen import Estimate, bounds, curvature, gradients, models, processes
from jaxgen.claims import at_most, at_most_within, claim, equal, equal_within
from jaxgen.claims.information._learners import cyclic_rows

RELU_UNITS = 16
KNOWN_VALUE = 2.2555418943
"""Of the bound where R^2 lambda^2 T / n times the sum of the losses is 1.7."""


def regression_runs(key, model, *, input_norm=1.0, num_runs=16, n=20, num_steps=12):
    """Independent runs on noisy teachers: loss functions and data, final weights, and of every step the weights before it and the gradient."""
    loss_fn = models.loss_fn(model.apply, "squared")
    rows = cyclic_rows(n, 5, num_steps)
    start = model.init(key, jnp.zeros((1, 5)))

    def one(key):
        keys = jax.random.split(key, 2)
        inputs = jax.random.normal(keys[0], (n, 5))
        inputs = input_norm * inputs / jnp.linalg.norm(inputs, axis=1, keepdims=True)
        train = inputs, jnp.sin(3 * inputs[:, 0]) + 0.3 * jax.random.normal(keys[1], (n,))
        final, path = processes.sgd(key, loss_fn, start, train, rows, 0.3, record=lambda w, gradient, t: (w, gradient))
        return train, final, *path

    return loss_fn, *jax.vmap(one)(jax.random.split(key, num_runs))


def squared_dispersion(path_gradients):
    """Mean squared gradient of every step, the dispersion about zero."""
    return jax.vmap(lambda gradient: gradients.seed_dispersion(gradient, center="zero"), in_axes=1)(path_gradients)


@claim(
    "INFO-29",
    title="Linear regression with unit inputs",
    source="Wang & Mao 2022, Theorem 2",
    statement=r"\|\nabla \ell\|^2 = 2 \ell, \; \operatorname{tr} \nabla^2 \ell = 1 \;\Rightarrow\; "
    r"\mathrm{gen} \le 3 \left(\sum_t \tfrac{R^2 \lambda_t^2 T}{4 n} \mathbb{E} \ell(W_{t-1}, Z)\right)^{1/3}",
    core=True,
    budget=4.0,
)
def linear_networks(key):
    """Z is a training example, and the dispersion about zero (or about E g) is what the loss along the path bounds."""
    return _linear_identities(key) | _linear_formula(key)


def _linear_identities(key, input_norm=1.0):
    loss_fn, train, final, path, found = regression_runs(key, models.linear(1, bias=False), input_norm=input_norm)
    params, sample = jax.tree.map(lambda leaf: leaf[0], (final, train))
    trace = jnp.trace(curvature.hessian(loss_fn, params, sample).as_matrix())
    losses = _batch_losses(loss_fn, train, path)
    return {
        "squared gradients": equal(gradients.squared_norms(loss_fn, params, sample), 2 * loss_fn(params, sample), rtol=1e-10, atol=1e-14),
        "trace": equal(trace, 1.0, rtol=1e-10),
        "dispersion": at_most(squared_dispersion(found), 2 * losses),
        "bound": at_most(bounds.wang_mao_optimized(0.3, squared_dispersion(found), trace, 20, 1.0), bounds.wang_mao_linear(0.3, losses, 20, 1.0)),
    }


def _batch_losses(loss_fn, train, path):
    """Loss before every step on the batch of the step, averaged over the runs."""
    rows = cyclic_rows(20, 5, 12)

    def one(train, path):
        return jax.vmap(lambda w, batch: gradients.risk(loss_fn, w, batch))(path, jax.tree.map(lambda leaf: leaf[rows], train))

    return jax.vmap(one)(train, path).mean(axis=0)


def _linear_formula(key):
    rate, losses = jax.random.uniform(key, (2, 12), minval=0.1, maxval=2.0)
    value = 3 * jnp.cbrt(jnp.sum(0.5**2 * rate**2 * 12 / (4 * 20) * losses))
    return {
        "formula": equal(bounds.wang_mao_linear(rate, losses, 20, 0.5), value, rtol=1e-12),
        "optimized": equal(bounds.wang_mao_linear(rate, losses, 20, 0.5), bounds.wang_mao_optimized(rate, 2 * losses, 1.0, 20, 0.5), rtol=1e-12),
        "known value": equal(bounds.wang_mao_linear(jnp.ones(1), 1.7, 1, 1.0), KNOWN_VALUE, rtol=1e-9),
    }


@linear_networks.control("inputs of norm 2")
def _(key):
    return _linear_identities(key, input_norm=2.0)


@linear_networks.control("three halves in place of three before the root")
def _(key):
    return equal(bounds.wang_mao_linear(jnp.ones(1), 1.7, 1, 1.0).value / 2, KNOWN_VALUE, rtol=1e-9)


@claim(
    "INFO-30",
    title="Two-layer ReLU regression with unit inputs",
    source="Wang & Mao 2022, Theorem 3",
    statement=r"\|\nabla \ell\|^2 = 2 p \ell, \; \operatorname{tr} \nabla^2 \ell = p \;\Rightarrow\; "
    r"3 \left(\mathbb{E} p_T \sum_t \tfrac{R^2 \lambda_t^2 T}{4 n} \mathbb{E}[p_t \ell(W_{t-1}, Z)]\right)^{1/3}",
    core=True,
    budget=4.0,
)
def two_layer_networks(key):
    """p is the fraction of active units; that of the Hessian is taken at the final weights, where the print has the ones before."""
    checks, _ = _relu_identities(key, models.two_layer_relu(RELU_UNITS))
    return checks | _relu_formula(key)


def _relu_identities(key, model):
    loss_fn, train, final, path, _ = regression_runs(key, model)
    params, sample = jax.tree.map(lambda leaf: leaf[0], (final, train))
    active, losses = bounds.active_fraction(params["W"], sample[0]), loss_fn(params, sample)
    trace = jnp.trace(curvature.hessian(loss_fn, params, sample).as_matrix())
    checks = {
        "squared gradients": equal(gradients.squared_norms(loss_fn, params, sample), 2 * active * losses, rtol=1e-10, atol=1e-14),
        "trace": equal(trace, active.mean(), rtol=1e-10),
    }
    before = bounds.active_fraction(path["W"][0, 0], sample[0]).mean()
    return checks, equal(trace, before, rtol=1e-10)


def _relu_formula(key):
    uniform = jax.random.uniform(key, (25,), minval=0.1, maxval=1.0)
    rate, losses, fraction = uniform[:12], uniform[12:24], uniform[24]
    bound = bounds.wang_mao_two_layer_relu(rate, losses, fraction, 20, 0.5)
    return {
        "formula": equal(bound, 3 * jnp.cbrt(fraction * jnp.sum(0.5**2 * rate**2 * 12 / (4 * 20) * losses)), rtol=1e-12),
        "optimized": equal(bound, bounds.wang_mao_optimized(rate, 2 * losses, fraction, 20, 0.5), rtol=1e-12),
        "all units active": equal(bounds.wang_mao_two_layer_relu(jnp.ones(1), 1.7, 1.0, 1, 1.0), KNOWN_VALUE, rtol=1e-9),
    }


@two_layer_networks.control("a smooth activation")
def _(key):
    return _relu_identities(key, models.two_layer_relu(RELU_UNITS)._replace(apply=_softplus_network))[0]


def _softplus_network(params, x):
    signs = jnp.where(jnp.arange(RELU_UNITS) % 2 == 0, 1.0, -1.0)
    return jax.nn.softplus(x @ params["W"].T) @ signs / jnp.sqrt(RELU_UNITS)


@two_layer_networks.control("units active before training in place of after it", fails="some")
def _(key):
    return _relu_identities(key, models.two_layer_relu(RELU_UNITS))[1]


@claim(
    "INFO-30.kinks",
    title="Only noise that crosses no kink sees the Hessian",
    source="Wang & Mao 2022, Theorem 3, corrected",
    statement=r"\mathbb{E} \gamma(W, S) = \tfrac{\sigma^2}{2} \operatorname{tr} \nabla^2 L_S(W) \text{ for } \sigma \ll \min_{r, i} |W_r^\top X_i|",
    statistical=True,
    budget=3.0,
)
def kinks(key):
    """Noise of a size that bounds need crosses kinks. Where the outputs are too small it then lowers the loss, against the sign of the trace."""
    unseen, trace = _flatness(key, 1e-6)
    seen, _ = _flatness(key, 0.05)
    return {"no kink crossed": equal_within(unseen, trace / 2), "kinks crossed": at_most_within(seen, 0.0)}


def _flatness(key, noise):
    """Monte Carlo flatness over the variance, and the Hessian's trace, of 20 units that all count positively."""
    model = models.two_layer_relu(20, signs=jnp.ones(20))
    loss_fn = models.loss_fn(model.apply, "squared")
    keys = jax.random.split(key, 3)
    inputs = jax.random.normal(keys[0], (10, 5))
    inputs = inputs / jnp.linalg.norm(inputs, axis=1, keepdims=True)
    params = {"W": jax.random.normal(keys[1], (20, 5))}
    train = inputs, model.apply(params, inputs) + 1.0
    found = curvature.value_sensitivity(loss_fn, params, train, keys[2], variance=noise**2, num_noise=256, chunk_size=256)
    return Estimate(found.value / noise**2, found.stderr / noise**2), bounds.active_fraction(params["W"], inputs).mean()


@kinks.control("the second-order value of noise of size 0.05")
def _(key):
    seen, trace = _flatness(key, 0.05)
    return equal_within(seen, trace / 2)
