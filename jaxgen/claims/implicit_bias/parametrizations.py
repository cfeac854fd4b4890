"""Claims about parametrizations whose gradient flow is mirror flow of one metric (BIAS-13, 14, 21)."""

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias
from jaxgen.claims import at_most, claim, equal, greater
from jaxgen.claims.implicit_bias._diagonal import BOOK, apart, mean_square, regression

NUMERIC = 1e-7
"""A hundred to a thousand times the solver's tolerance."""


def _square(theta):
    return theta**2


def _linear(key, d):
    """A root of a covariance, and its inverse."""
    a = jnp.eye(d) + 0.5 * jax.random.normal(key, (d, d)) / jnp.sqrt(d)
    values, vectors = jnp.linalg.eigh(a @ a.T)
    return (vectors * jnp.sqrt(values)) @ vectors.T, (vectors / values) @ vectors.T


def _paths(key, coefficient):
    """Distances of paths for the square with a multiple of the entropy, for each loss."""
    x, y = regression(key)
    theta = 0.3 + jax.random.uniform(jax.random.fold_in(key, 1), (8,))
    return apart(_square, theta, implicit_bias.entropy(coefficient), x, y)


@claim(
    "BIAS-13",
    title="Gradient flow of a parametrization is mirror flow of the potential that has its metric, for every loss",
    source=f"{BOOK}, section 8.1.3, equations (8.8) to (8.11)",
    statement=r"\partial G \, \partial G^\top = (\nabla^2 R(G(\theta)))^{-1}: \quad \frac{d}{dt} G(\theta_t) = -\partial G \, \partial G^\top"
    r" \nabla L(G(\theta_t)), \; \frac{d}{dt} \nabla R(w_t) = -\nabla L(w_t) \text{ agree}",
    num_seeds=4,
    budget=5.0,
)
def matched_metrics(key):
    """The square with a quarter of the entropy: squared, logistic and quartic loss."""
    return {name: at_most(distance, NUMERIC) for name, distance in _paths(key, 0.25).items()}


@matched_metrics.control("the entropy without its quarter")
def _(key):
    return {name: at_most(distance, NUMERIC) for name, distance in _paths(key, 1.0).items()}


@claim(
    "BIAS-13.time",
    title="A multiple of the right potential has another path, but ends at the same interpolator",
    source=f"{BOOK}, section 8.1.3",
    statement=r"c R: \; w^{c R}_t = w^R_{t / c}, \quad \sup_t |w^{c R}_t - w^R_t| > 0, \quad w^{c R}_\infty = w^R_\infty",
    num_seeds=4,
    budget=4.0,
)
def another_speed(key):
    """The entropy without its quarter takes four times as long; targets are fitted by positive weights."""
    x, _ = regression(key)
    y = x @ (0.5 + jax.random.uniform(jax.random.fold_in(key, 1), (8,)))
    w0, times = jnp.full(8, 0.5), jnp.array([0.5, 400.0])
    flow = implicit_bias.reparametrized_flow(_square, mean_square(x, y), jnp.sqrt(w0), times).w
    path = implicit_bias.mirror_flow(implicit_bias.entropy(), mean_square(x, y), w0, jnp.concatenate([times[:1], 4 * times]))
    return {
        "same time": greater(jnp.abs(flow[0] - path[0]).max(), 1e-3),
        "four times": equal(flow[0], path[1], rtol=0, atol=NUMERIC),
        "end": equal(flow[1], path[2], rtol=0, atol=1e-6),
    }


@another_speed.control("an end of another potential")
def _(key):
    x, _ = regression(key)
    y = x @ (0.5 + jax.random.uniform(jax.random.fold_in(key, 1), (8,)))
    flow = implicit_bias.reparametrized_flow(_square, mean_square(x, y), jnp.full(8, 0.5**0.5), jnp.array([400.0])).w[0]
    return equal(flow, implicit_bias.min_norm_interpolator(x, y, jnp.full(8, 0.5)), rtol=0, atol=1e-6)


@claim(
    "BIAS-13.metric",
    title="Metrics of the product and of the difference of squares",
    source=f"{BOOK}, section 8.1.2",
    statement=r"\partial G \, \partial G^\top = \operatorname{diag}(u^2 + v^2) \text{ for } u \odot v, \quad 4 \operatorname{diag}(u^2 + v^2)"
    r" \text{ for } u^{\odot 2} - v^{\odot 2}",
    core=True,
)
def known_metrics(key):
    u, v = jax.random.normal(key, (2, 5))
    scale = u**2 + v**2
    return {
        "product": equal(implicit_bias.pushforward_metric(lambda theta: theta[0] * theta[1], (u, v)), jnp.diag(scale), rtol=1e-12),
        "squares": equal(implicit_bias.pushforward_metric(implicit_bias.diagonal_net(2), (u, v)), jnp.diag(4 * scale), rtol=1e-12),
    }


@known_metrics.control("one metric for both")
def _(key):
    theta = tuple(jax.random.normal(key, (2, 5)))
    product = implicit_bias.pushforward_metric(lambda theta: theta[0] * theta[1], theta)
    return equal(implicit_bias.pushforward_metric(implicit_bias.diagonal_net(2), theta), product, rtol=1e-12)


@claim(
    "BIAS-14",
    title="Pairs of a potential and a parametrization with its metric everywhere",
    source=f"{BOOK}, examples 8.1.3 and 8.1.4",
    statement=r"\tfrac12 w^\top \Sigma^{-1} w \leftrightarrow \Sigma^{1/2} \theta, \qquad \tfrac14 \sum_i (w_i \log w_i - w_i) \leftrightarrow"
    r" \theta^{\odot 2}",
    core=True,
)
def exact_pairs(key):
    """The source prints the quarter before the first of the two terms only."""
    root, inverse = _linear(key, 4)
    theta = 0.2 + jax.random.uniform(jax.random.fold_in(key, 1), (4,))
    return {
        "linear": at_most(implicit_bias.metric_mismatch(lambda theta: root @ theta, implicit_bias.quadratic(inverse), theta), 1e-10),
        "square": at_most(implicit_bias.metric_mismatch(_square, implicit_bias.entropy(0.25), theta), 1e-10),
    }


@exact_pairs.control("the covariance itself in the potential")
def _(key):
    root, _ = _linear(key, 4)
    potential = implicit_bias.quadratic(root @ root)
    return at_most(implicit_bias.metric_mismatch(lambda theta: root @ theta, potential, jnp.ones(4)), 1e-10)


@claim(
    "BIAS-14.logistic",
    title="Gradient flow of the square on a squared distance is a logistic curve",
    source=f"{BOOK}, example 8.1.4",
    statement=r"L = \tfrac12 \lVert w - b \rVert^2, \; G = \theta^{\odot 2}: \quad w_t = \frac{b}{1 + (b / w_0 - 1) e^{-4 b t}}",
    budget=2.0,
)
def logistic_curve(key):
    """A coordinate that starts at zero stays there."""
    b, theta = 0.5 + jax.random.uniform(key, (2, 4))
    theta, times = theta.at[0].set(0.0), jnp.array([0.1, 0.5, 2.0])
    flow = implicit_bias.reparametrized_flow(_square, lambda w: w - b, theta, times)
    expected = b[1:] / (1 + (b[1:] / theta[1:] ** 2 - 1) * jnp.exp(-4 * b[1:] * times[:, None]))
    return {"curve": equal(flow.w[:, 1:], expected, rtol=NUMERIC), "zero": equal(flow.w[:, 0], 0.0, rtol=0)}


@logistic_curve.control("time without the factor four")
def _(key):
    b, theta = 0.5 + jax.random.uniform(key, (2, 4))
    w = implicit_bias.reparametrized_flow(_square, lambda w: w - b, theta, jnp.array([0.5])).w[0]
    return equal(w, b / (1 + (b / theta**2 - 1) * jnp.exp(-b * 0.5)), rtol=NUMERIC)


def _two_points():
    """Metrics of the difference of squares at two points with the image 1."""
    points = jnp.array([[1.0, 0.0], [2.0**0.5, 1.0]])

    def net(point):
        return implicit_bias.diagonal_net(2)((point[:1], point[1:]))

    return jax.vmap(net)(points)[:, 0], jax.vmap(lambda point: implicit_bias.pushforward_metric(net, point)[0, 0])(points)


@claim(
    "BIAS-14.failure",
    title="No potential has the metric of the difference of squares everywhere",
    source=f"{BOOK}, example 8.1.5",
    statement=r"G(1, 0) = G(\sqrt 2, 1) = 1, \qquad \partial G \, \partial G^\top = 4 \text{ and } 12",
    num_seeds=1,
)
def two_metrics(key):
    """So the mirror map has to depend on the start."""
    images, metrics = _two_points()
    return {"images": equal(images, 1.0, rtol=1e-14), "metrics": equal(metrics, jnp.array([4.0, 12.0]), rtol=1e-14)}


@two_metrics.control("one metric for each image")
def _(key):
    _, metrics = _two_points()
    return equal(metrics[0], metrics[1], rtol=1e-14)


def _separable(key, potential, start):
    """Mismatch at random parameters, and the distance of paths, of the parametrization made from a potential."""
    found = implicit_bias.parametrization_from_separable_potential(potential, start)
    theta = 0.3 * jax.random.normal(key, start.shape)
    x, y = regression(key, 2, 3)
    path = implicit_bias.mirror_flow(potential, mean_square(x, y), start, jnp.linspace(0.0, 1.0, 5))
    # One step of Euler's method from each point of the path goes where the metric says.
    velocity = jax.vmap(lambda w: jnp.diagonal(implicit_bias.pushforward_metric(found.parametrization, found.inverse(w))))(path)
    expected = jax.vmap(lambda w: potential.inverse_hessian_vector(w, jnp.ones_like(w)))(path)
    return implicit_bias.metric_mismatch(found.parametrization, potential, theta), jnp.abs(velocity / expected - 1).max()


@claim(
    "BIAS-21",
    title="Every separable potential has a parametrization, by integrating the root of its second derivative",
    source=f"{BOOK}, section 8.1.4, question 1; the construction is derived",
    statement=r"G_i^{-1}(w_i) = \int^{w_i} \sqrt{r_i''}: \quad \partial G \, \partial G^\top = (\nabla^2 R)^{-1}; \qquad r'' = \tfrac{1}{4 w}: \; G ="
    r" \theta^2",
    num_seeds=4,
    budget=6.0,
)
def separable_potentials(key):
    """A quarter of the entropy, whose G is known, and the hyperbolic entropy, at random points and along a mirror flow."""
    reference = jnp.array([1.0, 0.5, 2.0])
    quarter = implicit_bias.parametrization_from_separable_potential(implicit_bias.entropy(0.25), reference)
    theta = 0.5 * jax.random.uniform(key, (3,))
    mismatch, along = _separable(key, implicit_bias.hyperbolic_entropy(0.3), jnp.zeros(3))
    return {
        "square": equal(quarter.parametrization(theta), (theta + jnp.sqrt(reference)) ** 2, rtol=1e-9),
        "inverse": equal(quarter.inverse(quarter.parametrization(theta)), theta, rtol=1e-9),
        "mismatch": at_most(mismatch, 1e-6),
        "along a path": at_most(along, 1e-6),
    }


@separable_potentials.control("the second derivative itself in place of its root")
def _(key):
    reference, theta = jnp.array([1.0, 0.5, 2.0]), 0.5 * jax.random.uniform(key, (3,))
    # The integral of 1 / (4 w).
    return at_most(implicit_bias.metric_mismatch(lambda t: reference * jnp.exp(4 * t), implicit_bias.entropy(0.25), theta), 1e-6)


@claim(
    "BIAS-21.paths",
    title="Gradient flow of the parametrization made from a potential is mirror flow of that potential",
    source=f"{BOOK}, section 8.1.4, question 1",
    statement=r"\sup_t |G(\theta_t) - w_t| = 0",
    num_seeds=2,
    budget=6.0,
)
def separable_paths(key):
    """A multiple of the entropy: G is integrated anew in every step of the flow."""
    x, y = regression(key, 2, 3)
    reference, potential = jnp.array([1.0, 0.5, 2.0]), implicit_bias.entropy(0.4)
    found = implicit_bias.parametrization_from_separable_potential(potential, reference)
    times = jnp.array([0.2, 1.0])
    flow = implicit_bias.reparametrized_flow(found.parametrization, mean_square(x, y), jnp.zeros(3), times, rtol=1e-7)
    return equal(flow.w, implicit_bias.mirror_flow(potential, mean_square(x, y), reference, times), rtol=1e-5)


@separable_paths.control("the parametrization of another multiple")
def _(key):
    x, y = regression(key, 2, 3)
    reference, times = jnp.array([1.0, 0.5, 2.0]), jnp.array([0.2, 1.0])
    flow = implicit_bias.reparametrized_flow(_square, mean_square(x, y), jnp.sqrt(reference), times)
    return equal(flow.w, implicit_bias.mirror_flow(implicit_bias.entropy(0.4), mean_square(x, y), reference, times), rtol=1e-5)
