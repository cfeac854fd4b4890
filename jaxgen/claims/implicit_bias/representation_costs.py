"""Claims about what functions cost in the norm of weights, and about balanced weights (BIAS-35)."""

import jax
import jax.numpy as jnp
import optax

from jaxgen import implicit_bias, models
from jaxgen.claims import at_most, claim, equal, less
from jaxgen.claims.implicit_bias._homogeneous import LINEAR

SOURCE = "Gunasekar et al. 2018; Savarese et al. 2019; Du, Hu & Lee 2018"
ROUNDS, STEPS = 12, 400


def _least_norm(represent, start, target):
    """min ||theta||^2 subject to represent(theta) = target, by the method of multipliers with gradient descent inside."""

    def lagrangian(theta, multipliers):
        gap = represent(theta) - target
        return optax.tree.norm(theta, squared=True) + jnp.vdot(multipliers, gap) + 10 * jnp.vdot(gap, gap)

    def round_of(state, _):
        theta, multipliers = state
        theta = jax.lax.fori_loop(
            0, STEPS, lambda _, theta: jax.tree.map(lambda w, g: w - 0.005 * g, theta, jax.grad(lagrangian)(theta, multipliers)), theta
        )
        return (theta, multipliers + 20 * (represent(theta) - target)), None

    theta, _ = jax.lax.scan(round_of, (start, jnp.zeros_like(target)), None, length=ROUNDS)[0]
    return optax.tree.norm(theta, squared=True), jnp.abs(represent(theta) - target).max()


def _target(key, *shape):
    """Entries of sizes between a half and one."""
    sign_key, size_key = jax.random.split(key)
    return jax.random.rademacher(sign_key, shape, float) * jax.random.uniform(size_key, shape, minval=0.5, maxval=1.0)


def _cases(key):
    """Kind, depth, how weights represent, a start and a predictor."""
    target_key, start_key = jax.random.split(key)
    beta = _target(target_key, 5)
    near = 0.1 * jax.random.normal(start_key, (3, 5))
    signed = jnp.concatenate([jnp.sign(beta)[None], jnp.ones((2, 5))]) + near
    matrix = _target(target_key, 3, 3) + jnp.eye(3)
    dense = [0.5 * jax.random.normal(start_key, (5, 5)), 0.5 * jax.random.normal(jax.random.fold_in(start_key, 1), (5,))]
    factors = {"u": jax.random.normal(start_key, (3, 3)), "v": jax.random.normal(jax.random.fold_in(start_key, 1), (3, 3))}
    half = jnp.concatenate([jnp.where(beta > 0, 1.0, 0.1)[None], jnp.where(beta > 0, 0.1, 1.0)[None]])
    root = jnp.sqrt(jnp.abs(jnp.fft.fft(beta)))
    phases = jnp.exp(1j * jnp.angle(jnp.fft.fft(beta)))
    filters = jnp.fft.ifft(jnp.stack([root * phases, root])).real + near[:2]
    return [
        ("diagonal", 3, LINEAR["diagonal"], signed, beta),
        ("difference_of_powers", 2, lambda w: w[0] ** 2 - w[1] ** 2, half, beta),
        ("matrix_factorization", 2, lambda w: w["u"] @ w["v"].T, factors, matrix),
        ("fully_connected", 2, LINEAR["fully connected"], dense, beta),
        ("convolutional", 2, LINEAR["convolutional"], filters, beta),
    ]


def _costs(key, change=lambda kind, depth, cost: cost):
    checks = {}
    for kind, depth, represent, start, target in _cases(key):
        least, gap = _least_norm(represent, start, target)
        cost = change(kind, depth, implicit_bias.representation_cost(kind, target, depth))
        checks |= {kind: equal(least, cost, rtol=1e-3), f"{kind}: represented": less(gap, 1e-4)}
    return checks


@claim(
    "BIAS-35",
    title="The least squared norm of weights that represent a predictor is a norm of the predictor",
    source=SOURCE,
    statement=r"\min_{f_\theta = f} \lVert \theta \rVert^2: \quad L \lVert w \rVert_{2/L}^{2/L}, \quad \lVert w \rVert_1, \quad 2 \lVert W \rVert_*,"
    r" \quad L \lVert \beta \rVert_2^{2/L}, \quad \frac{L}{d} \sum_k |\hat\beta_k|^{2/L}",
    num_seeds=4,
    budget=10.0,
)
def least_norms(key):
    """By constrained minimization in five dimensions: products, differences of squares, factorizations, linear nets."""
    return _costs(key)


@least_norms.control("the number of layers and two exchanged")
def _(key):
    return _costs(key, lambda kind, depth, cost: cost * (2 / 3 if depth == 3 else 1))


@least_norms.control("a transform that is unitary")
def _(key):
    return _costs(key, lambda kind, depth, cost: cost / 5**0.5 if kind == "convolutional" else cost)


@claim(
    "BIAS-35.known",
    title="Known costs of predictors",
    source=SOURCE,
    statement=r"w = (1, -8), \; L = 3: \; 3 (1 + 4) = 15; \qquad f = x_+:"
    r" \; \tfrac12 \lVert \theta \rVert^2 = \max\left(\int |f''|, |f'(-\infty) + f'(\infty)|\right) = 1",
    core=True,
    num_seeds=1,
)
def known_costs(key):
    cost = implicit_bias.representation_cost
    return {
        "diagonal": equal(cost("diagonal", jnp.array([1.0, -8.0]), 3), 15.0, rtol=1e-12),
        "univariate": equal(cost("univariate_relu", jnp.array([0.0, 1.0])) / 2, 1.0, rtol=1e-12),
        "straight line": equal(cost("univariate_relu", jnp.array([1.0, 1.0])) / 2, 2.0, rtol=1e-12),
        "absolute value": equal(cost("univariate_relu", jnp.array([-1.0, 1.0])) / 2, 2.0, rtol=1e-12),
    }


@known_costs.control("two in place of the number of layers")
def _(key):
    return equal(implicit_bias.representation_cost("diagonal", jnp.array([1.0, -8.0]), 3), 10.0, rtol=1e-12)


@claim(
    "BIAS-35.balance",
    title="Rescaling neurons of a ReLU net keeps its outputs, and balanced weights are the least",
    source=SOURCE,
    statement=r"\min_{c > 0} \sum_r \left(c_r^2 \lVert w_r \rVert^2 + a_r^2 / c_r^2\right) = 2 \sum_r |a_r| \lVert w_r \rVert",
    num_seeds=8,
)
def rebalanced(key):
    keys = jax.random.split(key, 4)
    kernels, x = [jax.random.normal(keys[0], (4, 6)), jax.random.normal(keys[1], (6, 1))], jax.random.normal(keys[2], (5, 4))
    balanced = implicit_bias.rebalance(kernels)
    scale = jnp.exp(jax.random.normal(keys[3], (20, 6)))
    others = jax.vmap(lambda c: optax.tree.norm([kernels[0] * c, kernels[1] / c[:, None]], squared=True))(scale)
    least = optax.tree.norm(balanced, squared=True)
    outputs = [jax.nn.relu(x @ pair[0]) @ pair[1] for pair in (kernels, balanced)]
    return {
        "outputs": equal(outputs[1], outputs[0], rtol=1e-6, atol=1e-9),
        "least": equal(least, implicit_bias.representation_cost("two_layer_relu", (kernels[0], kernels[1][:, 0])), rtol=1e-10),
        "others": at_most(least, others),
        "balanced": at_most(jnp.abs(implicit_bias.balancedness_relu(balanced)[0]).max(), 1e-10),
    }


@rebalanced.control("weights that are not balanced")
def _(key):
    keys = jax.random.split(key)
    kernels = [jax.random.normal(keys[0], (4, 6)), jax.random.normal(keys[1], (6, 1))]
    cost = implicit_bias.representation_cost("two_layer_relu", (kernels[0], kernels[1][:, 0]))
    return equal(optax.tree.norm(kernels, squared=True), cost, rtol=1e-10)


def _moved(key, activation, bias):
    """How far balances move during the gradient flow of a net of three layers, by the method of Runge and Kutta."""
    keys = jax.random.split(key, 3)
    net = models.mlp((5, 4, 1), activation=activation, bias=bias)
    x, y = jax.random.normal(keys[0], (6, 3)), jax.random.normal(keys[1], (6,))
    params = net.init(keys[2], x)

    def velocity(params):
        return jax.grad(lambda params: -jnp.square(net.apply(params, x)[:, 0] - y).sum())(params)

    def step(params, _):
        first = velocity(params)
        second = velocity(optax.tree.add_scale(params, 0.0005, first))
        third = velocity(optax.tree.add_scale(params, 0.0005, second))
        fourth = velocity(optax.tree.add_scale(params, 0.001, third))
        change = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, first, second, third, fourth)
        return optax.tree.add_scale(params, 0.001, change), None

    end = jax.lax.scan(step, params, None, length=1000)[0]
    balances = [implicit_bias.balancedness_relu([point[f"Dense_{layer}"]["kernel"] for layer in range(3)]) for point in (params, end)]
    return jnp.concatenate(balances[1]) - jnp.concatenate(balances[0])


@claim(
    "BIAS-35.conserved",
    title="Gradient flow of a ReLU net conserves the balance of every neuron",
    source="Du, Hu & Lee 2018",
    statement=r"\frac{d}{dt} \left(\lVert a_r \rVert^2 - \lVert w_r \rVert^2\right) = 0",
    num_seeds=8,
    budget=6.0,
)
def conserved_balance(key):
    """For two hidden layers, up to the kinks that steps pass."""
    return at_most(jnp.abs(_moved(key, "relu", False)), 5e-3)


@conserved_balance.control("a net with biases", fails="some")
def _(key):
    return at_most(jnp.abs(_moved(key, "relu", True)), 5e-3)


@conserved_balance.control("an activation that is not homogeneous")
def _(key):
    return at_most(jnp.abs(_moved(key, "tanh", False)), 5e-3)
