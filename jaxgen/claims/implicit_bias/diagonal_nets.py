"""Claims about diagonal nets: their potentials, where training ends, the rich and the lazy regime (BIAS-15 to 17)."""

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias
from jaxgen.claims import at_most, claim, converges, equal, ordered
from jaxgen.claims.implicit_bias._diagonal import BOOK, WOODWORTH, apart, limit, mean_square, nearest, regression

SQUARES = implicit_bias.diagonal_net(2)
ALPHAS = (0.05, 0.3, 1.0, 3.0)


def _limits(key, start_scale=1.0, potential_scale=1.0):
    """Ends of training from each alpha, and the minimizers of its potential, scaled as asked."""
    x, y = regression(key)

    def at_alpha(alpha):
        end = limit(SQUARES, SQUARES.start(start_scale * alpha, 8), x, y)
        return end.w, nearest(implicit_bias.hyperbolic_entropy(potential_scale * alpha), x, y)

    return jax.lax.map(at_alpha, jnp.array(ALPHAS))


@claim(
    "BIAS-15.limit",
    title="A diagonal net ends in the interpolator of least hyperbolic entropy",
    source=f"{BOOK}, theorem 8.1.6; {WOODWORTH}",
    statement=r"\theta_0 = (\alpha \mathbf 1, -\alpha \mathbf 1): \quad w_\infty = \arg\min_{X w = y} R_\alpha(w), \qquad \nabla R_\alpha(w) ="
    r" \tfrac14 \operatorname{arcsinh} \tfrac{w}{2 \alpha^2}",
    num_seeds=2,
    budget=8.0,
)
def limit_of_squares(key):
    """The source divides the start by four, which is right for R of alpha / 4. Four scales, n = 3, d = 8."""
    ends, least = _limits(key)
    return equal(ends, least, rtol=0, atol=1e-8)


@limit_of_squares.control("the start divided by four, as the theorem prints it")
def _(key):
    ends, least = _limits(key, start_scale=0.25)
    return equal(ends, least, rtol=0, atol=1e-3)


@limit_of_squares.control("the potential of twice the scale")
def _(key):
    ends, least = _limits(key, potential_scale=2.0)
    return equal(ends, least, rtol=0, atol=1e-3)


def _uneven(key):
    """A start of which both vectors are random."""
    return tuple(0.3 + 0.7 * jax.random.uniform(jax.random.fold_in(key, 1), (2, 8)))


@claim(
    "BIAS-15.start",
    title="From any start, a net of squares or products ends in the interpolator nearest in a hyperbolic entropy",
    source=f"{BOOK}, theorem 8.1.6, footnote 4; formulas derived",
    statement=r"p = |\theta^+_0 \theta^-_0|: \; \nabla R(w) = \tfrac14 [\operatorname{arcsinh} \tfrac{w}{2 p} - \operatorname{arcsinh}"
    r" \tfrac{w_0}{2 p}], \qquad u \odot v, \; \delta = u^2 - v^2: \; \tfrac12 [\operatorname{arcsinh} \tfrac{2 w}{|\delta|} -"
    r" \operatorname{arcsinh} \tfrac{2 w_0}{|\delta|}]",
    num_seeds=2,
    budget=8.0,
)
def uneven_starts(key):
    """The product is a net of squares turned by an eighth of a circle, at half the speed: p = |delta| / 4."""
    (x, y), theta = regression(key), _uneven(key)
    squares = limit(SQUARES, theta, x, y).w
    products = limit(lambda theta: theta[0] * theta[1], theta, x, y)
    delta = jnp.abs(theta[0] ** 2 - theta[1] ** 2)
    w0 = theta[0] * theta[1]
    return {
        "squares": equal(squares, nearest(implicit_bias.hyperbolic_entropy(products=theta[0] * theta[1]), x, y, SQUARES(theta)), rtol=0, atol=1e-8),
        "products": equal(products.w, nearest(implicit_bias.hyperbolic_entropy(products=delta / 4), x, y, w0), rtol=0, atol=1e-7),
        "conserved": equal(products.theta[0] ** 2 - products.theta[1] ** 2, theta[0] ** 2 - theta[1] ** 2, rtol=1e-7),
    }


@uneven_starts.control("the potential of an even start")
def _(key):
    (x, y), theta = regression(key), _uneven(key)
    even = implicit_bias.hyperbolic_entropy(products=theta[0] * theta[1])
    return equal(limit(SQUARES, theta, x, y).w, nearest(even, x, y), rtol=0, atol=1e-3)


@claim(
    "BIAS-15",
    title="A diagonal net follows mirror flow of the hyperbolic entropy, for every loss",
    source=f"{BOOK}, theorem 8.1.6, equations (8.12) to (8.21)",
    statement=r"\partial G \, \partial G^\top = 4 \operatorname{diag} \sqrt{w^2 + 4 \alpha^4}, \qquad |\theta^+_i \theta^-_i| = \alpha^2",
    num_seeds=4,
    budget=8.0,
)
def path_of_squares(key):
    """The conserved product has the sign of the start; the damaged line (8.16) is 8 alpha^2 sqrt((w / 2 alpha^2)^2 + 1)."""
    (x, y), alpha = regression(key), 0.3
    start = SQUARES.start(alpha, 8)
    distances = apart(SQUARES, start, implicit_bias.hyperbolic_entropy(alpha), x, y, 3.0)
    checks = {name: at_most(distance, 1e-6) for name, distance in distances.items()}
    end = implicit_bias.reparametrized_flow(SQUARES, mean_square(x, y), start, jnp.array([3.0]))
    theta = jax.tree.map(lambda leaf: leaf[0], end.theta)
    metric = implicit_bias.pushforward_metric(SQUARES, theta)
    return checks | {
        "conserved": equal(SQUARES.conserved(theta), alpha**2, rtol=0, atol=1e-8),
        "metric": equal(jnp.diagonal(metric), 4 * jnp.sqrt(end.w[0] ** 2 + 4 * alpha**4), rtol=1e-6),
    }


@path_of_squares.control("the start divided by four")
def _(key):
    x, y = regression(key)
    distances = apart(SQUARES, SQUARES.start(0.3 / 4, 8), implicit_bias.hyperbolic_entropy(0.3), x, y, 3.0)
    return {name: at_most(distance, 1e-6) for name, distance in distances.items()}


@path_of_squares.control("gradient descent with a large step in place of the flow")
def _(key):
    x, y = regression(key)
    end = implicit_bias.train_diagonal_net(x, y, 0.3, learning_rate=0.02, tolerance=0.0, max_steps=140)
    return equal(SQUARES.conserved(end.theta), 0.09, rtol=0, atol=1e-8)


def _drift(key, rates, count=400):
    """How far gradient descent over a time of 0.2 count takes the conserved product, for each step size."""
    x, y = regression(key)

    def one(rate, length):
        end = implicit_bias.train_diagonal_net(x, y, 0.3, learning_rate=rate, tolerance=0.0, max_steps=length)
        return jnp.abs(SQUARES.conserved(end.theta) - 0.09).max()

    return jnp.stack([one(rate, round(count * rates[0] / rate)) for rate in rates])


@claim(
    "BIAS-15.drift",
    title="Gradient descent keeps what gradient flow conserves to first order in the step",
    source=f"{BOOK}, theorem 8.1.6",
    statement=r"\max_i |\theta^+_i \theta^-_i - \alpha^2| = O(\eta)",
    num_seeds=4,
    budget=4.0,
)
def conserved_product(key):
    rates = (4e-3, 2e-3, 1e-3)
    return converges(_drift(key, rates), order=1.0, steps=jnp.array(rates), tolerance=0.15)


@conserved_product.control("an error of second order")
def _(key):
    rates = (4e-3, 2e-3, 1e-3)
    return converges(_drift(key, rates), order=2.0, steps=jnp.array(rates), tolerance=0.15)


Q_VALUES = ((0.0, 0.0), (1.0, 0.24514384755981), (2.0, 0.93432004929290), (10.0, 14.926344385542))


@claim(
    "BIAS-15.values",
    title="Values of the hyperbolic entropy, and what it is near zero and far away",
    source=f"{BOOK}, theorem 8.1.6",
    statement=r"R_\alpha = \tfrac{\alpha^2}{4} \sum_i q(w_i / \alpha^2), \; q(z) = 2 - \sqrt{4 + z^2} + z \operatorname{arcsinh} \tfrac z2; \qquad"
    r" \tfrac{w^2}{16 \alpha^2}, \; \tfrac14 |w| (\log \tfrac{|w|}{\alpha^2} - 1) + \tfrac{\alpha^2}{2}",
    core=True,
)
def hyperbolic_values(key):
    """The source sums to n in place of d."""
    z, q = jnp.array(Q_VALUES).T
    unit, alpha = implicit_bias.hyperbolic_entropy(1.0), 0.2
    w, mu = jax.random.normal(key, (2, 5))
    near, far = 1e-6 * alpha**2 * w, 1e6 * alpha**2 * w
    potential = implicit_bias.hyperbolic_entropy(alpha)
    far_value = (0.25 * jnp.abs(far) * (jnp.log(jnp.abs(far) / alpha**2) - 1)).sum() + 5 * alpha**2 / 2
    return {
        "q": equal(4 * jax.vmap(lambda z: unit.value(z[None]))(z), q, rtol=1e-13),
        "inverse": equal(potential.inverse_mirror(mu), 2 * alpha**2 * jnp.sinh(4 * mu), rtol=1e-12),
        "near": equal(potential.value(near), jnp.sum(near**2) / (16 * alpha**2), rtol=1e-10),
        "far": equal(potential.value(far), far_value, rtol=1e-10),
        "hessian": equal(potential.hessian_vector(w, mu), mu / (4 * jnp.sqrt(w**2 + 4 * alpha**4)), rtol=1e-12),
    }


@hyperbolic_values.control("the potential of a scale divided by four")
def _(key):
    z, q = jnp.array(Q_VALUES).T
    return equal(4 * jax.vmap(lambda z: implicit_bias.hyperbolic_entropy(0.25).value(z[None]))(z), q, rtol=1e-13)


RATES = (1e-2, 3e-3, 1e-3)


def _descents(key):
    """Distances of the ends of gradient descent with each step size from the minimizer of the potential, and the losses."""
    (x, y), alpha = regression(key), 0.5
    least = nearest(implicit_bias.hyperbolic_entropy(alpha), x, y)

    def one(rate):
        end = implicit_bias.train_diagonal_net(x, y, alpha, learning_rate=rate, tolerance=1e-24, max_steps=400_000)
        return jnp.abs(end.w - least).max(), end.loss

    return jax.vmap(one)(jnp.array(RATES))


@claim(
    "BIAS-16",
    title="Gradient descent on a diagonal net ends where gradient flow does, up to its step",
    source=f"{BOOK}, theorem 8.1.7",
    statement=r"L = \frac1n \sum_i (w^\top x_i - y_i)^2: \quad |w^\eta_\infty - \arg\min_{X w = y} R_\alpha| = O(\eta)",
    num_seeds=4,
    budget=6.0,
)
def descent_to_the_limit(key):
    """The source's loss lacks the sum; here its start is right."""
    distances, losses = _descents(key)
    return {
        "losses": at_most(losses, 1e-20),
        "distances": at_most(distances[-1], 5e-3),
        "rate": converges(distances, order=1.0, steps=jnp.array(RATES), tolerance=0.15),
    }


@descent_to_the_limit.control("targets with noise, and more examples than dimensions: no zero loss")
def _(key):
    x = jax.random.normal(key, (12, 4))
    y = jax.random.normal(jax.random.fold_in(key, 1), (12,))
    return at_most(implicit_bias.train_diagonal_net(x, y, 0.5, max_steps=20_000).loss, 1e-3)


@descent_to_the_limit.control("single examples and a large step")
def _(key):
    (x, y), alpha = regression(key), 0.5

    def step(theta, i):
        w, pull = jax.vjp(SQUARES, theta)
        gradient = pull(2 * (x[i] @ w - y[i]) * x[i])[0]
        # As long as a step may be that does not blow up.
        rate = 0.5 / (jnp.sum(x[i] ** 2) * 8 * jnp.maximum(theta[0] ** 2, theta[1] ** 2).max() + 2 * jnp.abs(x[i] @ w - y[i]))
        return jax.tree.map(lambda leaf, g: leaf - rate * g, theta, gradient), None

    theta, _ = jax.lax.scan(step, SQUARES.start(alpha, 8), jax.random.randint(key, (4000,), 0, 3))
    return equal(SQUARES(theta), nearest(implicit_bias.hyperbolic_entropy(alpha), x, y), rtol=0, atol=1e-3)


def _excess(key, epsilon, swapped=False):
    """Excess of the l1 norm at the rich threshold and of the squared l2 norm at the lazy one."""
    x, y = regression(key)
    scales = implicit_bias.rich_lazy_thresholds(x, y, epsilon)
    curve = implicit_bias.excess_norm_curve(x, y, jnp.stack(scales[::-1] if swapped else scales))
    return curve.l1[0], (1 + curve.l2[1]) ** 2 - 1


@claim(
    "BIAS-17",
    title="Small starts find nearly the least l1 norm, large ones the least l2 norm",
    source=f"{WOODWORTH}, theorem 2",
    statement=r"\alpha \le \min\{(2 (1 + \epsilon) \lVert w_1 \rVert_1)^{-\frac{2 + \epsilon}{2 \epsilon}},"
    r" e^{-d / (\epsilon \lVert w_1 \rVert_1)}\}: \; \lVert w_\infty \rVert_1 \le (1 + \epsilon) \lVert w_1 \rVert_1; \quad"
    r" \alpha \ge \sqrt{2 (1 + \epsilon) (1 + 2 / \epsilon) \lVert w_2"
    r" \rVert_2}: \; \lVert w_\infty \rVert_2^2 \le (1 + \epsilon) \lVert w_2 \rVert_2^2",
    num_seeds=20,
    budget=6.0,
)
def rich_and_lazy(key):
    """Twenty random problems. The bounds are far from tight: with epsilon = 1/2 excesses are about 1e-3 and 1e-9."""
    checks = {}
    for epsilon in (0.5, 1.0):
        rich, lazy = _excess(key, epsilon)
        checks |= {f"rich, epsilon = {epsilon}": at_most(rich, epsilon), f"lazy, epsilon = {epsilon}": at_most(lazy, epsilon)}
        checks |= {f"least l1, epsilon = {epsilon}": at_most(-1e-8, rich), f"least l2, epsilon = {epsilon}": at_most(-1e-10, lazy)}
    return checks


@rich_and_lazy.control("the lazy start for the l1 norm", fails="some")
def _(key):
    return at_most(_excess(key, 0.1, swapped=True)[0], 0.1)


@claim(
    "BIAS-17.curve",
    title="The norms of the limit go from one regime to the other, the l1 norm monotonically",
    source=f"{WOODWORTH}, figure 2",
    statement=r"\alpha \uparrow: \quad \lVert w_\infty(\alpha) \rVert_1 \uparrow \text{ from } \min \lVert w \rVert_1, \quad"
    r" \lVert w_\infty(\alpha) \rVert_2 \to \min \lVert w \rVert_2",
    num_seeds=8,
    budget=4.0,
)
def curve_of_norms(key):
    """The l2 norm mostly falls, but need not: on some problems it rises by 1e-4 of itself in the rich regime."""
    x, y = regression(key)
    curve = implicit_bias.excess_norm_curve(x, y, jnp.logspace(-6, 1.5, 12))
    return {
        "l1": ordered(curve.l1 + 1e-7 * jnp.arange(12)),
        "l2": ordered(curve.l2 - 2e-3 * jnp.arange(12), decreasing=True),
        "rich": at_most(curve.l1[0], 0.02),
        "lazy": at_most(curve.l2[-1], 1e-6),
    }


@curve_of_norms.control("norms of both kinds that fall")
def _(key):
    x, y = regression(key)
    return ordered(implicit_bias.excess_norm_curve(x, y, jnp.logspace(-6, 1.5, 12)).l1, decreasing=True, strict=True)
