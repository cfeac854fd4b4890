"""Claims about diagonal nets of more than two layers: their potentials, and both regimes (BIAS-18)."""

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias
from jaxgen.claims import at_most, claim, equal, less, ordered
from jaxgen.claims.implicit_bias._diagonal import WOODWORTH, limit, mean_square, nearest, regression

DEEP = {3: (0.3, 0.7), 4: (0.45, 0.8), 6: (0.65, 0.9)}
"""Starts for each depth at which training is not too slow to follow by an equation."""


def _deep_limits(key):
    """Ends of nets of every depth, their potentials, stationarity in these, and the nearest interpolators."""
    x, y = regression(key)
    found = {}
    for depth, alphas in DEEP.items():
        net = implicit_bias.diagonal_net(depth)
        for alpha in alphas:
            end = limit(net, net.start(alpha, 8), x, y)
            potential = implicit_bias.diagonal_depth(alpha, depth)
            residual = implicit_bias.bregman_kkt_residual(potential, x, y, end.w, jnp.zeros(8))
            found[f"L = {depth}, alpha = {alpha}"] = (net, end, potential, residual, nearest(potential, x, y))
    return found


@claim(
    "BIAS-18",
    title="Deeper diagonal nets end in the interpolators of least potentials of their own",
    source=f"{WOODWORTH}, theorem 3, normalization re-derived",
    statement=r"u_0 = v_0 = \alpha \mathbf 1, \; w = u^{\odot L} - v^{\odot L}: \quad \nabla R^*(\mu) = \alpha^L h_L(L (L - 2) \alpha^{L - 2} \mu),"
    r" \quad h_L(s) = (1 - s)^{-\frac{L}{L - 2}} - (1 + s)^{-\frac{L}{L - 2}}",
    num_seeds=2,
    budget=25.0,
)
def deeper_nets(key):
    """Depths 3, 4 and 6 at two scales each: limit, stationarity, metric at the end of training, and what is conserved."""
    checks = {}
    for name, (net, end, potential, residual, least) in _deep_limits(key).items():
        metric = jnp.diagonal(implicit_bias.pushforward_metric(net, end.theta))
        product = metric * potential.hessian_vector(end.w, jnp.ones(8))
        conserved = net.conserved(end.theta)
        checks |= {
            f"limit, {name}": equal(end.w, least, rtol=0, atol=1e-7),
            f"stationarity, {name}": at_most(residual.stationarity, 1e-7),
            f"metric, {name}": equal(product, 1.0, rtol=1e-7),
            f"conserved, {name}": equal(conserved, conserved.mean(), rtol=1e-7),
        }
    return checks


@deeper_nets.control("the potential of another depth for depth 3")
def _(key):
    x, y = regression(key)
    net = implicit_bias.diagonal_net(3)
    end = limit(net, net.start(0.7, 8), x, y)
    found = {wrong: implicit_bias.bregman_kkt_residual(implicit_bias.diagonal_depth(0.7, wrong), x, y, end.w, jnp.zeros(8)) for wrong in (2, 4)}
    return less(jnp.stack([residual.stationarity for residual in found.values()]).min(), 1e-3)


@claim(
    "BIAS-18.positive",
    title="Powers of one vector end in the interpolator nearest in a power of the weights",
    source=f"{WOODWORTH}; derived",
    statement=r"w = |u|^L: \quad \partial G \, \partial G^\top = L^2 \operatorname{diag}(w^{2 - 2/L}), \quad"
    r" R = -\tfrac{1}{2 (L - 2)} \sum_i w_i^{2/L}",
    num_seeds=2,
    budget=8.0,
)
def positive_nets(key):
    """Depths 3 and 4, and a quarter of the entropy for depth 2."""
    x, _ = regression(key)
    y = x @ (0.5 + jax.random.uniform(jax.random.fold_in(key, 1), (8,)))
    start, checks = 0.7 + 0.3 * jax.random.uniform(jax.random.fold_in(key, 2), (8,)), {}
    for depth, potential in ((2, implicit_bias.entropy(0.25)), (3, implicit_bias.power_positive(3)), (4, implicit_bias.power_positive(4))):
        net = implicit_bias.diagonal_net(depth, sign=False)
        end = implicit_bias.reparametrized_flow(net, mean_square(x, y), start, jnp.array([100.0])).w[0]
        checks[f"L = {depth}"] = equal(end, nearest(potential, x, y, net(start)), rtol=0, atol=1e-6)
        checks[f"mismatch, L = {depth}"] = at_most(implicit_bias.metric_mismatch(net, potential, start), 1e-12)
    return checks


@positive_nets.control("the potential of depth 4 for depth 3")
def _(key):
    start = 0.7 + 0.3 * jax.random.uniform(key, (8,))
    return at_most(implicit_bias.metric_mismatch(implicit_bias.diagonal_net(3, sign=False), implicit_bias.power_positive(4), start), 1e-12)


@claim(
    "BIAS-18.limits",
    title="For every depth small starts find the least l1 norm and large ones the least l2 norm",
    source=f"{WOODWORTH}, theorem 3",
    statement=r"\alpha \to 0: \; \lVert w_\infty \rVert_1 \to \min, \qquad \alpha \to \infty: \; \lVert w_\infty \rVert_2 \to \min",
    num_seeds=8,
    budget=6.0,
)
def limits_of_all_depths(key):
    """Depths 2, 3, 4 and 6, from weights of the size 1e-4 and 1000; the excess of the l1 norm falls with depth."""
    x, y = regression(key)
    curves = [implicit_bias.excess_norm_curve(x, y, jnp.array([1e-4, 1e3]) ** (1 / depth), depth) for depth in (2, 3, 4, 6)]
    return {
        "l1": at_most(jnp.stack([curve.l1[0] for curve in curves]), 0.05),
        "l2": at_most(jnp.stack([curve.l2[1] for curve in curves]), 1e-4),
        "deeper": ordered(jnp.stack([curve.l1[0] for curve in curves]) - 1e-6 * jnp.arange(4), decreasing=True),
    }


@limits_of_all_depths.control("weights of size 1000 for the l1 norm", fails="some")
def _(key):
    x, y = regression(key)
    return less(implicit_bias.excess_norm_curve(x, y, jnp.array([1e3 ** (1 / 3)]), 3).l1[0], 0.05)


@claim(
    "BIAS-18.values",
    title="The dual map of deeper nets at zero, and its integral",
    source=f"{WOODWORTH}; derived",
    statement=r"h_L(0) = 0, \; h_L'(0) = \tfrac{2 L}{L - 2}, \quad \nabla^2 R(0) = \tfrac{1}{2 L^2 \alpha^{2 L - 2}} I, \quad \nabla R^* = \alpha^L"
    r" h_L(L (L - 2) \alpha^{L - 2} \mu)",
    core=True,
)
def deep_values(key):
    """Depths 3, 4 and 6, alpha = 0.7."""
    checks, alpha = {}, 0.7
    for depth in DEEP:
        potential = implicit_bias.diagonal_depth(alpha, depth)
        s = 1.8 * jax.random.uniform(key, (4,)) - 0.9
        scale, power = depth * (depth - 2) * alpha ** (depth - 2), depth / (depth - 2)
        h = (1 - s) ** -power - (1 + s) ** -power
        checks |= {
            f"h, L = {depth}": equal(potential.inverse_mirror(s / scale), alpha**depth * h, rtol=1e-11),
            f"integral, L = {depth}": equal(jax.grad(potential.conjugate)(s / scale), alpha**depth * h, rtol=1e-10),
            f"metric, L = {depth}": equal(potential.hessian_vector(jnp.zeros(4), s), s / (2 * depth**2 * alpha ** (2 * depth - 2)), rtol=1e-12),
        }
    return checks


@deep_values.control("the metric of one of the two vectors")
def _(key):
    v = jax.random.normal(key, (4,))
    return equal(implicit_bias.diagonal_depth(0.7, 3).hessian_vector(jnp.zeros(4), v), v / (9 * 0.7**4), rtol=1e-12)
