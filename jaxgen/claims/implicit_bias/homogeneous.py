"""Claims about homogeneous models: the max-margin program and the limit direction (BIAS-30, 32)."""

import jax
import jax.numpy as jnp
import optax

from jaxgen import implicit_bias, models
from jaxgen.claims import at_least, at_most, claim, equal, less, ordered
from jaxgen.claims.implicit_bias._homogeneous import BOOK, LINEAR, points, squared_relu, squared_relu_params, unit, weights

DEEP = -1000.0
"""Log-loss from which on weights of examples off the support are claimed to be small."""


def _orders(key, bias):
    """Models with their parameters, inputs and orders."""
    x, images = jax.random.normal(key, (5, 4)), jax.random.normal(key, (3, 4, 4))
    keys = jax.random.split(key, 3)
    deep, net = models.mlp((5, 4, 1), activation="identity", bias=bias), models.cnn((3,), 1, bias=bias)
    found = {"deep linear": (deep.apply, deep.init(keys[0], x), x, 3), "convolutional": (net.apply, net.init(keys[1], images), images, 2)}
    return found if bias else found | {"squared ReLU": (squared_relu, squared_relu_params(keys[2], 4), x, 3)}


def _residuals(key, bias):
    checks = {}
    for name, (apply_fn, params, x, order) in _orders(key, bias).items():
        found = implicit_bias.homogeneity_order(apply_fn, params, x)
        checks[f"{name}: order"] = equal(found.order, order, rtol=1e-10)
        checks[f"{name}: Euler"] = at_most(found.residual, 1e-10)
    return checks


@claim(
    "BIAS-30",
    title="Nets without biases are homogeneous in their parameters",
    source=f"{BOOK}, section 8.4",
    statement=r"f_i(c w) = c^q f_i(w) \;\Rightarrow\; \langle w, \nabla f_i(w) \rangle = q f_i(w)",
    num_seeds=8,
    budget=5.0,
)
def homogeneous_nets(key):
    return _residuals(key, bias=False)


@homogeneous_nets.control("biases, though they are zero")
def _(key):
    return _residuals(key, bias=True)


def _quadratic(w, x):
    return x @ w**2


def _quadratic_margin(w):
    one, x = jnp.ones(1), jnp.array([[1.0, 2.0]])
    return implicit_bias.normalized_margin_homogeneous(implicit_bias.model_margins(_quadratic, w, x, one), w, 2)


def _flow_from(w, num_steps=2000):
    return implicit_bias.train_to_direction(_quadratic, w, jnp.array([[1.0, 2.0]]), jnp.ones(1), num_steps=num_steps).params


@claim(
    "BIAS-30.stationary",
    title="A homogeneous model has stationary directions that are not of the largest margin",
    source=f"{BOOK}, section 8.4, program (Max-Margin)",
    statement=r"f = w_1^2 + 2 w_2^2: \; \gamma = 2 \text{ at } \pm e_2, \text{ and } \pm e_1 \text{ is stationary with margin } 1",
    num_seeds=8,
)
def stationary_directions(key):
    """No direction has a margin above two; descent from the first axis stays there, and from elsewhere ends on the second."""
    random = jax.vmap(_quadratic_margin)(jax.random.normal(key, (100, 2)))
    start = jnp.stack([0.2 * jax.random.normal(key), 1.0])
    first = _flow_from(jnp.array([1.0, 0.0]))
    report = implicit_bias.max_margin_kkt(_quadratic, first, jnp.array([[1.0, 2.0]]), jnp.ones(1), order=2)
    return {
        "largest": at_most(random, 2.0, slack=1e-12),
        "attained": equal(_quadratic_margin(jnp.array([0.0, 3.0])), 2.0, rtol=1e-12),
        "from the axis": equal(_quadratic_margin(first), 1.0, rtol=1e-12),
        "stationary there": at_most(report.stationarity, 1e-10),
        "from elsewhere": at_least(_quadratic_margin(_flow_from(start)), 1.99),
    }


@stationary_directions.control("descent from the first axis taken to find the largest margin")
def _(key):
    return at_least(_quadratic_margin(_flow_from(jnp.array([1.0, 0.0]))), 1.99)


def _limits(key, depth=-6000.0):
    """A squared ReLU net trained far, on ten points, and a deep linear one, with data and orders."""
    x, y = points(key, 10, 3, 3.0)
    linear = implicit_bias.linear_net(LINEAR["fully connected"])
    nets = {
        "squared ReLU": (squared_relu, squared_relu_params(key, width=16, scale=0.5), 3),
        "deep linear": (linear, weights(key, "fully connected", 3, 3, 0.5), 3),
    }
    for name, (apply_fn, params, order) in nets.items():
        found = implicit_bias.train_to_direction(apply_fn, params, x, y, num_steps=12_000, decrease=-depth / 12_000)
        yield name, apply_fn, found.params, x, y, order, found.log_loss


@claim(
    "BIAS-32",
    title="The limit of the exponential loss is a combination of the support's gradients",
    source=f"{BOOK}, theorem 8.4.5, lemma 8.4.7",
    statement=r"\bar w \propto \sum_{i \in S} a_i \nabla f_i(\bar w), \quad S = \arg\min_i f_i(\bar w), \qquad a_i = 0 \text{ for } i \notin S",
    num_seeds=4,
    budget=10.0,
)
def limit_direction(key):
    """The source's (8.40) drops the weights a_i, and its S takes the global margin, which a flow need not reach."""
    checks = {}
    for name, apply_fn, params, x, y, order, log_loss in _limits(key):
        margins = implicit_bias.model_margins(apply_fn, params, x, y)
        off_support = margins > 1.01 * margins.min()
        pull = implicit_bias.max_margin_kkt(apply_fn, params, x, y, order=order, solver="softmax")
        checks |= {
            f"{name}: trained": less(log_loss, DEEP),
            f"{name}: weights off the support": at_most(jnp.where(off_support, implicit_bias.margin_weights(margins), 0).max(), 1e-3),
            f"{name}: velocity along w": at_least(jnp.sqrt(1 - pull.stationarity**2), 0.95),
            f"{name}: nearest combination": at_most(
                implicit_bias.max_margin_kkt(apply_fn, params, x, y, order=order).stationarity, jnp.minimum(pull.stationarity, 0.5), slack=1e-9
            ),
        }
    return checks


@limit_direction.control("a sum of the gradients of all examples without weights")
def _(key):
    checks = {}
    for name, apply_fn, params, x, y, _, _ in _limits(key):
        total = jax.grad(lambda w, f=apply_fn, x=x, y=y: (y * f(w, x)).sum())(params)
        checks[name] = at_least(optax.tree.vdot(unit(params), unit(total)), 0.95)
    return checks


@limit_direction.control("a squared loss, which has minimizers")
def _(key):
    x, y = points(key, 10, 3, 3.0)
    params = squared_relu_params(key, width=16, scale=0.5)

    def step(params, _):
        gradient = jax.grad(lambda w: jnp.square(squared_relu(w, x) - y).mean())(params)
        return jax.tree.map(lambda w, g: w - 0.001 * g, params, gradient), None

    params = jax.lax.scan(step, params, None, length=10_000)[0]
    predicted = jnp.sign(squared_relu(params, x))
    return at_most(implicit_bias.max_margin_kkt(squared_relu, params, x, predicted, order=3).stationarity, 0.5)


@claim(
    "BIAS-32.expansion",
    title="Gradients along the path are those along the limit direction, up to the deviation",
    source=f"{BOOK}, lemma 8.4.6",
    statement=r"\nabla f_i(w_t) = \nabla f_i(g_t \bar w) + O(B g_t^{q - 1} \lVert \delta_t \rVert)",
    num_seeds=8,
    budget=4.0,
)
def gradient_expansion(key):
    """The ratio is the same at every scale, to rounding, and stays bounded as the deviation goes to zero."""
    x, direction = jax.random.normal(key, (4, 3)), unit(squared_relu_params(key))
    towards = squared_relu_params(jax.random.fold_in(key, 1))

    def ratio(scale, deviation):
        point = jax.tree.map(lambda u, v: scale * (u + deviation * v), direction, towards)
        return implicit_bias.gradient_expansion_error(squared_relu, point, direction, x, 3).ratio

    scales = jax.vmap(lambda scale: ratio(scale, 1e-3))(jnp.array([1.0, 10.0, 100.0, 1e4]))
    sizes = jax.vmap(lambda deviation: ratio(1.0, deviation))(jnp.array([1e-3, 1e-4, 1e-5, 1e-6]))
    # Second derivatives of a_r (w_r . x)^2 are at most 2 |a_r| |x|^2 + 4 |w_r| |x| |x| and the like.
    bound = 10 * jnp.square(x).sum(axis=1).max()
    return {"scales": equal(scales, scales[:1], rtol=1e-6, atol=1e-8), "bounded": at_most(sizes, bound)}


@gradient_expansion.control("a ReLU net at a kink, where it is not twice differentiable")
def _(key):
    x, towards = jnp.array([[1.0, 0.0]]), jax.random.normal(key, (2,))
    direction = {"in": jnp.array([[-1e-12, 0.0], [0.0, 1.0]]), "out": jnp.array([1.0, 0.0])}

    def relu(params, x):
        return jnp.maximum(x @ params["in"].T, 0) @ params["out"]

    def ratio(deviation):
        point = direction | {"in": direction["in"] + deviation * jnp.abs(towards)}
        return implicit_bias.gradient_expansion_error(relu, point, direction, x, 2).ratio

    return at_most(jax.vmap(ratio)(jnp.array([1e-3, 1e-4, 1e-5, 1e-6])), 10.0)


@claim(
    "BIAS-32.support",
    title="At a stationary direction that is not optimal, the support is that of its own margin",
    source=f"{BOOK}, definition 8.4.1 and theorem 8.4.5",
    statement=r"\bar\gamma = \min_i f_i(\bar w) < \gamma: \quad S = \arg\min_i f_i(\bar w), \qquad"
    r" f_i\!\left((\gamma / \bar\gamma)^{1/q} \bar w\right) \ge \gamma",
    core=True,
    num_seeds=4,
)
def support_of_a_direction(key):
    """f = w_1^2 + 2 w_2^2 from the first axis: margin 1 of 2. The source's S = {f_i = gamma} is empty there, and its point infeasible."""
    direction = unit(_flow_from(jnp.array([1.0 + jax.random.uniform(key), 0.0])))
    x, gamma = jnp.array([[1.0, 2.0]]), 2.0
    margins = _quadratic(direction, x)
    rescaled = (gamma / margins.min()) ** 0.5 * direction
    report = implicit_bias.max_margin_kkt(_quadratic, rescaled, x, jnp.ones(1), order=2)
    return {
        "support": equal((margins <= margins.min() * (1 + 1e-9)).sum(), 1, rtol=0),
        "feasible": at_least(_quadratic(rescaled, x), gamma, slack=1e-9),
        "stationary": at_most(report.stationarity, 1e-9),
        "multiplier": equal(report.multipliers[0], 0.5, rtol=1e-9),
    }


@support_of_a_direction.control("the support of the largest margin of all")
def _(key):
    margins = _quadratic(unit(_flow_from(jnp.array([1.0 + jax.random.uniform(key), 0.0]))), jnp.array([[1.0, 2.0]]))
    return equal((jnp.abs(margins - 2.0) <= 1e-9).sum(), 1, rtol=0)


@support_of_a_direction.control("the direction itself in place of the rescaled point")
def _(key):
    return at_least(_quadratic(unit(_flow_from(jnp.array([1.0 + jax.random.uniform(key), 0.0]))), jnp.array([[1.0, 2.0]])), 2.0, slack=1e-9)


@claim(
    "BIAS-32.licq",
    title="Where gradients on the support are independent, multipliers are unique",
    source=f"{BOOK}, assumption 8.4.4",
    statement=r"\{\nabla f_i(\bar w)\}_{i \in S} \text{ linearly independent}: \text{ rank} = |S|",
    num_seeds=8,
)
def independent_gradients(key):
    """Random gradients are, fewer of them than parameters; the failure is reported, not raised."""
    rows = jax.random.normal(key, (6, 8))
    found = implicit_bias.licq_rank(rows, jnp.arange(6) < 4)
    again = implicit_bias.licq_rank(rows.at[3].set(rows[0] - rows[1]), jnp.arange(6) < 4)
    return {
        "independent": equal(found.rank, found.count, rtol=0),
        "dependent": equal(again.rank, 3, rtol=0),
        "reported": equal(again.holds.astype(int), 0, rtol=0),
    }


@independent_gradients.control("more gradients than parameters")
def _(key):
    found = implicit_bias.licq_rank(jax.random.normal(key, (6, 3)), jnp.ones(6, bool))
    return equal(found.rank, found.count, rtol=0)


@claim(
    "BIAS-32.decreasing",
    title="The KKT residual falls along training",
    source=f"{BOOK}, theorem 8.4.5",
    statement=r"\min_{\lambda \ge 0} \lVert w_t - J^\top \lambda \rVert / \lVert w_t \rVert \to 0",
    num_seeds=4,
    budget=8.0,
)
def residual_decreases(key):
    """At log L about -60, -600 and -6000, for a squared ReLU net on ten points; of order three, it falls slowly."""
    x, y = points(key, 10, 3, 3.0)

    def stage(params, decrease):
        params = implicit_bias.train_to_direction(squared_relu, params, x, y, num_steps=4000, decrease=decrease).params
        return params, implicit_bias.max_margin_kkt(squared_relu, params, x, y, order=3).stationarity

    falls = jnp.array([60.0, 540.0, 5400.0]) / 4000
    return ordered(jax.lax.scan(stage, squared_relu_params(key, width=16, scale=0.5), falls)[1], decreasing=True)


@residual_decreases.control("a net with a bias", fails="some")
def _(key):
    x, y = points(key, 10, 3, 3.0)

    def apply_fn(params, x):
        return squared_relu(params, x) + 300 * params["bias"]

    def stage(params, decrease):
        params = implicit_bias.train_to_direction(apply_fn, params, x, y, num_steps=4000, decrease=decrease).params
        return params, implicit_bias.max_margin_kkt(apply_fn, params, x, y, order=3).stationarity

    falls = jnp.array([60.0, 540.0, 5400.0]) / 4000
    return ordered(jax.lax.scan(stage, squared_relu_params(key, width=16, scale=0.5) | {"bias": jnp.array(0.0)}, falls)[1], decreasing=True)
