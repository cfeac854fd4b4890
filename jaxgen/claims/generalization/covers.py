"""Claims about Lipschitz losses and covers of the ball of parameters (GEN-5, GEN-6, GEN-7)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds
from jaxgen.claims import at_least, at_most, claim, converges, equal, with_probability

BOOK = "Arora et al., Theory of Deep Learning"
DELTA = 0.05


def _squared_loss(w, batch):
    return (batch[0] @ w - batch[1]) ** 2


def _two_layer_loss(params, batch):
    return (jax.nn.relu(batch[0] @ params["w"].T) @ params["a"] - batch[1]) ** 2


def _two_layer_constant(params, x, y, *, active_only=True):
    """2 |f - y| sqrt(|x|^2 sum of a_j^2 over active j + |relu(W x)|^2)."""
    before = params["w"] @ x
    hidden = jax.nn.relu(before)
    squares = params["a"] ** 2 * (before > 0) if active_only else params["a"] ** 2
    return 2 * jnp.abs(params["a"] @ hidden - y) * jnp.sqrt(x @ x * squares.sum() + hidden @ hidden)


def _two_layer_net(key, width=6):
    keys = jax.random.split(key, 2)
    return {"a": jax.random.normal(keys[0], (width,)), "w": jax.random.normal(keys[1], (width, 2))}


@claim(
    "GEN-5",
    title="How much the squared loss changes with the weights of a linear model and of a two-layer net",
    source=f"{BOOK}, Problems 5.2.3 and 5.2.4",
    statement=r"\sup_{\lVert w \rVert \le 1} \lVert \nabla (w \cdot x - y)^2 \rVert = 2 \lVert x \rVert (\lVert x \rVert + |y|), \qquad"
    r" \sup_{\lVert (a, W) \rVert \le 1} \lVert \nabla (a^\top \mathrm{relu}(W x) - y)^2 \rVert = \lVert x \rVert (\lVert x \rVert + 2 |y|)",
    num_seeds=8,
    budget=5.0,
)
def lipschitz_constants(key):
    """At a point by automatic differentiation; the suprema over the unit ball by projected ascent, within one percent."""
    keys = jax.random.split(key, 4)
    x, y = jax.random.normal(keys[0], (2,)), jax.random.normal(keys[1])
    batch, norm, size = (x[None], y[None]), jnp.linalg.norm(x), jnp.abs(y)
    params = _two_layer_net(keys[2])
    w = jax.random.normal(keys[2], (2,))
    centers = {"linear": (_squared_loss, jnp.zeros(2)), "two-layer": (_two_layer_loss, jax.tree.map(jnp.zeros_like, _two_layer_net(key, 2)))}
    found = {name: bounds.loss_lipschitz_on_ball(keys[3], fn, center, 1.0, batch, num_samples=8) for name, (fn, center) in centers.items()}
    suprema = {"linear": 2 * norm * (norm + size), "two-layer": norm * (norm + 2 * size)}
    return {
        "linear, at a point": equal(bounds.local_loss_lipschitz(_squared_loss, w, batch), 2 * jnp.abs(w @ x - y) * norm, rtol=1e-10),
        "two-layer, at a point": equal(bounds.local_loss_lipschitz(_two_layer_loss, params, batch), _two_layer_constant(params, x, y), rtol=1e-10),
        "not above": at_most(found, suprema, slack=1e-10),
        "attained": at_least(found, jax.tree.map(lambda supremum: 0.99 * supremum, suprema)),
    }


@lipschitz_constants.control("neurons that are not active counted too", fails="some")
def _(key):
    keys = jax.random.split(key, 3)
    x, y, params = jax.random.normal(keys[0], (2,)), jax.random.normal(keys[1]), _two_layer_net(keys[2])
    found = bounds.local_loss_lipschitz(_two_layer_loss, params, (x[None], y[None]))
    return equal(found, _two_layer_constant(params, x, y, active_only=False), rtol=1e-6)


DIMENSIONS, RADII = (1, 2, 3, 2), (0.9, 0.5, 0.5, 0.2)
NUM_POINTS = 20_000


def _balls(key, dims):
    """Points of balls of several dimensions, each in the first coordinates of three."""
    keys = jax.random.split(key)
    directions = jax.random.normal(keys[0], (len(dims), NUM_POINTS, 3)) * (jnp.arange(3) < dims[:, None, None])
    lengths = jax.random.uniform(keys[1], (len(dims), NUM_POINTS, 1)) ** (1 / dims[:, None, None])
    return directions * lengths / jnp.linalg.norm(directions, axis=-1, keepdims=True)


@claim(
    "GEN-6",
    title="The size of a cover of the unit ball",
    source=f"{BOOK}, Definition 5.2.5 and Lemma 5.2.6",
    statement=r"\rho^{-k} \le N \le \left(1 + \frac2\rho\right)^k",
    num_seeds=8,
    budget=6.0,
)
def covers(key):
    """By the greedy procedure on 20,000 points, which may miss a tenth of the ball's least. The source prints ((2 + rho) / (2 rho))^k."""
    dims, rhos = jnp.array(DIMENSIONS, float), jnp.array(RADII)
    points = _balls(key, dims)
    masks, counts = jax.vmap(bounds.greedy_cover)(points, rhos)
    centres = points[1][jnp.nonzero(masks[1], size=25, fill_value=-1)[0]]
    between = jnp.linalg.norm(centres[:, None] - centres, axis=2)
    pairs = jnp.triu(jnp.broadcast_to(jnp.arange(25) < counts[1], (25, 25)), 1)
    return {
        "upper": at_most(counts, jnp.exp(bounds.log_covering_number_bound(dims, rhos))),
        "lower": at_least(counts, 0.9 * rhos**-dims),
        "covered": at_most(jnp.linalg.norm(points[1][:, None] - centres, axis=2).min(axis=1), 0.5, slack=1e-12),
        "apart": at_least(jnp.where(pairs, between, jnp.inf), 0.5),
        "known value": equal(bounds.log_covering_number_bound(2, 0.5), jnp.log(25.0), rtol=1e-12),
    }


@covers.control("the printed ((2 + rho) / (2 rho))^k")
def _(key):
    count = bounds.greedy_cover(_balls(key, jnp.array([2.0]))[0], 0.5).count
    return at_most(count, ((2 + 0.5) / (2 * 0.5)) ** 2)


DIM, NUM_EXAMPLES = 3, 2000


def _regression(key, n):
    """Inputs in the unit ball of three dimensions, targets in [-1, 1]."""
    keys = jax.random.split(key)
    x = jax.random.normal(keys[0], (n, DIM)) / 2
    x = x / jnp.maximum(1.0, jnp.linalg.norm(x, axis=1, keepdims=True))
    return x, jnp.clip(x @ jnp.array([0.8, -0.5, 0.2]) + 0.3 * jax.random.normal(keys[1], (n,)), -1, 1)


def _clipped_loss(w, batch):
    return jnp.minimum(_squared_loss(w, batch), 1.0)


def _least_risk(batch):
    """Projected gradient descent in the unit ball."""

    def step(_, w):
        moved = w - 0.5 * jax.grad(lambda w: bounds.empirical_risk(_clipped_loss, w, batch))(w)
        return moved / jnp.maximum(1.0, jnp.linalg.norm(moved))

    return jax.lax.fori_loop(0, 30, step, jnp.zeros(DIM))


@claim(
    "GEN-7",
    title="A bound for all parameters in a ball, by a cover of it",
    source=f"{BOOK}, Theorem 5.2.7",
    statement=r"\Delta_S(w) \le 2 \gamma + \sqrt{\frac{k \ln(1 + 2/\rho) + \ln(1/\delta)}{2 m}} \text{ for all } \lVert w \rVert \le 1",
    statistical=True,
    chunk_size=8,
    budget=5.0,
)
def cover_bound(key):
    """Clipped linear regression, which is 2-Lipschitz, with the weights of least empirical risk; the risk by 100,000 examples."""
    train, test = _regression(key, NUM_EXAMPLES), _regression(jax.random.key(1), 100_000)
    w = _least_risk(train)
    bound = bounds.cover_bound_lipschitz(bounds.empirical_risk(_clipped_loss, w, train, loss_range=1.0), DIM, 2.0, NUM_EXAMPLES, DELTA)
    return with_probability(at_most(bounds.empirical_risk(_clipped_loss, w, test), bound), at_least=1 - DELTA)


def _rapid_gap(key):
    """Largest gap of ten thousand weights with the loss (1 + sgn sin(10^6 w x)) / 2 on twenty examples; all risks are one half."""
    keys = jax.random.split(key)
    w, x = jax.random.uniform(keys[0], (10_000,), minval=-1), jax.random.uniform(keys[1], (20,))
    losses = 0.5 + 0.5 * jnp.sign(jnp.sin(1e6 * w[:, None] * x))
    return 0.5 - losses.mean(axis=1).min()


@cover_bound.control("a loss that is falsely claimed to change by 0.01 over a distance of 0.5")
def _(key):
    return with_probability(at_most(_rapid_gap(key), bounds.cover_bound(0.0, 1, 0.5, 0.01, 20, DELTA)), at_least=1 - DELTA)


def _examples_needed(dims):
    n = jnp.geomspace(1e2, 1e6, 2000)
    penalties = bounds.cover_bound(0.0, dims[:, None], 0.01, 0.0, n, DELTA).terms["penalty"]
    return n[jnp.argmax(penalties < 0.1, axis=1)]


@claim(
    "GEN-7.dimension",
    title="Bounds by covers need as many examples as there are parameters",
    source=f"{BOOK}, Theorem 5.2.7 and footnote 5",
    statement=r"2 \gamma + \sqrt{\frac{k \ln(1 + 2/\rho) + \ln(1/\delta)}{2 m}} < \epsilon \; \Rightarrow \; m \sim k",
    num_seeds=1,
)
def examples_needed(key):
    """Examples for a penalty of 0.1 against the dimension. The source prints gamma + 2 sqrt(k ln(2/rho) / m)."""
    dims = jnp.array([10.0, 30.0, 100.0, 300.0])
    known = bounds.cover_bound(0.0, 10, 0.1, 0.05, 10_000, DELTA)
    return {
        "linear": converges(_examples_needed(dims), order=1.0, steps=dims, tolerance=0.05),
        "known value": equal(known.value, 0.1408906815, rtol=1e-9),
    }


@examples_needed.control("the discretization paid once, as printed")
def _(key):
    known = bounds.cover_bound(0.0, 10, 0.1, 0.05, 10_000, DELTA)
    return equal(known.value - 0.05, 0.1408906815, rtol=1e-9)


@examples_needed.control("a dimension that examples need not grow with")
def _(key):
    dims = jnp.array([10.0, 30.0, 100.0, 300.0])
    return converges(_examples_needed(dims), order=0.0, steps=dims, tolerance=0.05)
