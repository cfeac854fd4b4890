"""Claims about steepest descent in a norm: its identities, and where it ends in l_{4/3} (BIAS-9, BIAS-12)."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import implicit_bias
from jaxgen.claims import at_most, claim, converges, equal, greater, less, ordered
from jaxgen.implicit_bias import fourier_norm, lp_norm, nuclear_norm, quadratic_norm, spectral_norm, steepest_descent, steepest_flow

BOOK = "Arora et al., Theory of Deep Learning"
EXACT = 1e-12
EXPONENTS = (1, 4 / 3, 2, 3, math.inf)
X, Y = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]]), np.array([1.0, 10.0])
LIMITS = {0.08: 0.440168, 0.05: 0.361810, 0.03: 0.325356, 0.02: 0.309860, 0.01: 0.295684, 0.003: 0.286419, 0.001: 0.283861}
"""First coordinate of the limit on the book's problem, by learning rate."""
FLOW, FLOW_NORM, LEAST, LEAST_NORM = 0.282596, 7.646792, 0.000230, 7.583651
SIX_DIGITS = 6e-7
NUM_STEPS = 15_000


def _norms(key):
    """Each norm with a random gradient."""
    keys = jax.random.split(key, 3)
    vector, matrix, root = jax.random.normal(keys[0], (6,)), jax.random.normal(keys[1], (3, 4)), jax.random.normal(keys[2], (6, 6))
    found = {f"l_{p:.3g}": (lp_norm(p), vector) for p in EXPONENTS}
    found |= {"quadratic": (quadratic_norm(root @ root.T + jnp.eye(6)), vector), "Fourier l_1": (fourier_norm(1), vector)}
    return found | {"spectral": (spectral_norm(), matrix), "nuclear": (nuclear_norm(), matrix)}


@claim(
    "BIAS-9",
    title="A step of steepest descent has the dual norm of the gradient",
    source=f"{BOOK}, equations (8.5) and (8.27)",
    statement=r"\Delta \in \arg\min_v \langle g, v \rangle + \frac12 \lVert v \rVert^2 \implies"
    r" \langle \Delta, -g \rangle = \lVert \Delta \rVert^2 = \lVert g \rVert_*^2",
    core=True,
)
def identities(key):
    """For nine norms, and the three steps from g = (3, -4). The source prints the dual norm as a minimum over the ball; it is a maximum."""
    checks = {}
    for name, (norm, g) in _norms(key).items():
        step = norm.steepest(g)
        square = norm.dual(g) ** 2
        checks |= {
            f"{name}: product": equal(-jnp.vdot(step, g), square, rtol=EXACT),
            f"{name}: norm": equal(norm.value(step) ** 2, square, rtol=EXACT),
        }
    known = jnp.stack([lp_norm(p).steepest(jnp.array([3.0, -4.0])) for p in (1, 2, math.inf)])
    return checks | {"g = (3, -4)": equal(known, jnp.array([[0.0, 4], [-3, 4], [-7, 7]]), rtol=EXACT)}


@identities.control("the exponent p in place of the dual exponent q")
def _(key):
    g, norm = jax.random.normal(key, (6,)), lp_norm(4 / 3)
    wrong = -(lp_norm(4).value(g) ** (2 - norm.p)) * jnp.abs(g) ** (norm.p - 1) * jnp.sign(g)
    return equal(norm.value(wrong) ** 2, norm.dual(g) ** 2, rtol=EXACT)


@identities.control("the dual norm as a minimum over the unit ball, as printed")
def _(key):
    g, norm = jax.random.normal(key, (6,)), lp_norm(4 / 3)
    step = norm.steepest(g)
    return equal(jnp.vdot(step, g) / norm.value(step), norm.value(step), rtol=EXACT)


@identities.control("the learning rate inside of the step and in front of it, as printed in Example 1")
def _(key):
    g, norm, rate = jax.random.normal(key, (6,)), lp_norm(1), 0.1
    moved = steepest_descent(norm, lambda w: g, jnp.zeros(6), jnp.array([rate]))[0]
    return equal(moved, rate * (rate * norm.steepest(g)), rtol=EXACT)


def _beaten(key, pairs):
    """For each pair of a gradient and a step: its objective, and the least of 1000 random steps of about its norm; likewise the dual norm."""
    checks = {}
    for name, (norm, g, step) in pairs.items():
        others = jax.random.normal(key, (1000, *g.shape))
        others = others * (norm.value(step) / jax.vmap(norm.value)(others))[:, None].reshape(-1, *(1,) * g.ndim)
        sizes, products = jax.vmap(norm.value)(others), jnp.einsum("n...,...->n", others, g)
        checks[f"{name}: objective"] = less(jnp.vdot(g, step) + norm.value(step) ** 2 / 2, (products + sizes**2 / 2).min())
        checks[f"{name}: dual norm"] = at_most((jnp.abs(products) / sizes).max(), norm.dual(g))
    return checks


@claim(
    "BIAS-9.objective",
    title="No random step does better than the steepest one",
    source=f"{BOOK}, equation (8.5)",
    statement=r"\langle g, \Delta \rangle + \frac12 \lVert \Delta \rVert^2 = \min_v \langle g, v \rangle + \frac12 \lVert v \rVert^2,"
    r" \quad \lVert g \rVert_* = \max_{\lVert v \rVert \le 1} \langle v, g \rangle",
    num_seeds=4,
    budget=3.0,
)
def objective(key):
    return _beaten(key, {name: (norm, g, norm.steepest(g)) for name, (norm, g) in _norms(key).items()})


@objective.control("the step of gradient descent in l_1")
def _(key):
    g = jax.random.normal(key, (6,))
    others = -jnp.eye(6) * g
    return less(-jnp.vdot(g, g) + jnp.abs(g).sum() ** 2 / 2, (others @ g + jnp.abs(g) ** 2 / 2).min())


def _gradient(w):
    return 2 * X.T @ (X @ w - Y)


def _limits(norm, rates, num_steps=NUM_STEPS):
    """Where steepest descent on the book's problem from zero ends, for each learning rate."""
    return jax.vmap(lambda rate: steepest_descent(norm, _gradient, jnp.zeros(3), jnp.full(num_steps, rate))[0])(rates)


def _solution(a):
    """The interpolators of the book's problem, by their first coordinate."""
    return jnp.stack([a, 5 - a / 2, -4 - a / 2], axis=-1)


@claim(
    "BIAS-12",
    title="In l_{4/3} the limit of steepest descent depends on the learning rate",
    source=f"{BOOK}, section 8.1.1, Example 2 and Figure 8.1",
    statement=r"x_1 = (1, 1, 1), y_1 = 1, \; x_2 = (1, 2, 0), y_2 = 10: \quad w_\infty = (a, 5 - \frac{a}{2}, -4 - \frac{a}{2}),"
    r" \; a = 0.440 \text{ at } \eta = 0.08, \; 0.284 \text{ at } 0.001",
    num_seeds=1,
    budget=3.0,
)
def step_sizes(key):
    """The caption calls it gradient descent; it is steepest descent."""
    rates = jnp.array(list(LIMITS))
    limits = _limits(lp_norm(4 / 3), rates)
    return {
        "interpolation": equal(limits, _solution(limits[:, 0]), rtol=0, atol=1e-7),
        "known limits": equal(limits[:, 0], jnp.array(list(LIMITS.values())), rtol=0, atol=SIX_DIGITS),
        "order": ordered(limits[:, 0], strict=True, decreasing=True),
        "spread": greater(jnp.ptp(limits[:, 0]), 0.1),
    }


@step_sizes.control("gradient descent, as the caption says")
def _(key):
    return equal(_limits(lp_norm(2), jnp.array(list(LIMITS)))[:, 0], jnp.array(list(LIMITS.values())), rtol=0, atol=SIX_DIGITS)


@step_sizes.control("the spread over learning rates in l_2")
def _(key):
    return greater(jnp.ptp(_limits(lp_norm(2), jnp.array(list(LIMITS)))[:, 0]), 1e-6)


@claim(
    "BIAS-12.flow",
    title="Even with infinitesimal steps it does not end at the interpolator of least norm",
    source=f"{BOOK}, section 8.1.1, Example 2 and Figure 8.1",
    statement=r"w^\infty_{\eta \to 0} = (0.2826, \ldots), \; \lVert w^\infty \rVert_{4/3} = 7.6468, \qquad"
    r" w^* = \arg\min_{X w = y} \lVert w \rVert_{4/3} = (0.0002, \ldots), \; \lVert w^* \rVert_{4/3} = 7.5837",
    num_seeds=1,
    budget=6.0,
)
def flow(key):
    """The least norm by its dual, and from its one equation a^(1/3) = ((5 - a/2)^(1/3) - (4 + a/2)^(1/3)) / 2."""
    norm = lp_norm(4 / 3)
    limit = _flow_limit(norm)
    least = implicit_bias.min_norm_interpolator_lp(X, Y, 4 / 3)
    a = least[0]
    rates = jnp.array([0.01, 0.003, 0.001])
    return {
        "limit of the flow": equal(limit, _solution(jnp.array(FLOW)), rtol=0, atol=SIX_DIGITS),
        "its norm": equal(norm.value(limit), FLOW_NORM, rtol=0, atol=SIX_DIGITS),
        "least norm, point": equal(least, _solution(jnp.array(LEAST)), rtol=0, atol=SIX_DIGITS),
        "least norm": equal(norm.value(least), LEAST_NORM, rtol=0, atol=SIX_DIGITS),
        "stationarity": equal(jnp.cbrt(a), (jnp.cbrt(5 - a / 2) - jnp.cbrt(4 + a / 2)) / 2, rtol=1e-5),
        "excess": greater(norm.value(limit), norm.value(least) + 0.06),
        "limits of small steps": converges(jnp.abs(_limits(norm, rates)[:, 0] - limit[0]), order=1, steps=rates, tolerance=0.1),
    }


@flow.control("the flow ends at least norm")
def _(key):
    norm = lp_norm(4 / 3)
    least = implicit_bias.min_norm_interpolator_lp(X, Y, 4 / 3)
    return at_most(norm.value(_flow_limit(norm)), norm.value(least), slack=1e-2)


@flow.control("the excess of the flow in l_2")
def _(key):
    return greater(jnp.linalg.norm(_flow_limit(lp_norm(2))), jnp.linalg.norm(implicit_bias.min_norm_interpolator(X, Y)) + 1e-6)


def _flow_limit(norm):
    return steepest_flow(norm, _gradient, jnp.zeros(3), jnp.array([25.0]))[0]


@claim(
    "BIAS-12.euclidean",
    title="In l_2 every learning rate and the flow end at the interpolator of least norm",
    source=f"{BOOK}, section 8.1.1, Proposition 8.1.1 and Example 2",
    statement=r"\lVert \cdot \rVert = \lVert \cdot \rVert_2: \quad"
    r" w_\infty = \arg\min_{X w = y} \lVert w \rVert_2 = \left(\frac13, \frac{29}{6}, -\frac{25}{6}\right)"
    r" \text{ for every stable } \eta",
    num_seeds=1,
    budget=3.0,
)
def euclidean(key):
    expected = _solution(jnp.array(1 / 3))
    limits = _limits(lp_norm(2), jnp.array(list(LIMITS)))
    return {
        "limits": equal(limits, jnp.broadcast_to(expected, limits.shape), rtol=0, atol=1e-9),
        "flow": equal(_flow_limit(lp_norm(2)), expected, rtol=0, atol=1e-6),
        "least norm": equal(implicit_bias.min_norm_interpolator(X, Y), expected, rtol=EXACT),
    }


@euclidean.control("in l_{4/3}")
def _(key):
    limits = _limits(lp_norm(4 / 3), jnp.array(list(LIMITS)))
    return equal(limits, jnp.broadcast_to(_solution(jnp.array(1 / 3)), limits.shape), rtol=0, atol=1e-9)
