"""Claims about linear nets of three architectures trained on separable data (BIAS-31)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import implicit_bias
from jaxgen.claims import at_least, at_most, claim, equal, less
from jaxgen.claims.implicit_bias._homogeneous import LINEAR, points, weights

SOURCE = "Gunasekar, Lee, Soudry & Srebro 2018; Arora et al., Theory of Deep Learning, section 8.1.2"
EXAMPLES = np.array(
    [[-0.8, -1.53, -0.66, 1.74, 0.31], [0.93, -1.06, -1.34, 0.53, 0.73], [1.0, -0.43, 0.15, -0.8, 0.34], [-0.44, 0.26, 0.02, -0.47, -0.04]]
)
"""Four examples times their labels, on which the three norms have largest margins in quite different directions."""
NORMS = {"fully connected": implicit_bias.lp_norm(2), "convolutional": implicit_bias.fourier_norm(1), "diagonal": implicit_bias.lp_norm(1)}
REACHED = {"fully connected": 0.9995, "convolutional": 0.9995, "diagonal": 0.985}
"""Part of the largest margin that is reached at log L = -3000; the diagonal net is slow."""


def _trained(key, kind, z, depth=2, log_loss=-3000.0, num_steps=24_000):
    """Weights of a net trained to a log-loss, and log L."""
    net = implicit_bias.linear_net(LINEAR[kind])
    start = weights(key, kind, z.shape[1], depth)
    found = implicit_bias.train_to_direction(net, start, z, jnp.ones(len(z)), num_steps=num_steps, decrease=-log_loss / num_steps)
    return found.params, found.log_loss


def _ratios(key, kind, names=None):
    """Margins of a trained net's predictor in norms of others over the largest ones."""
    z = jnp.asarray(EXAMPLES)
    params, log_loss = _trained(key, kind, z)
    beta = LINEAR[kind](params)
    names = [kind] if names is None else names
    return {name: (z @ beta).min() / NORMS[name].value(beta) / implicit_bias.max_margin(z, NORMS[name]).upper for name in names}, log_loss


@claim(
    "BIAS-31",
    title="Architecture decides which norm's margin training a linear net makes largest",
    source=SOURCE,
    statement=r"\beta \to \arg\max_{\lVert \beta \rVert \le 1} \min_i y_i \beta^\top x_i: \quad \ell_2 \text{ (fully connected)}, \quad"
    r" \lVert \hat\beta \rVert_1 \text{ (convolutional)}, \quad \ell_1 \text{ (diagonal)}, \qquad L = 2",
    num_seeds=4,
    budget=12.0,
)
def margins_by_architecture(key):
    """From four starts on one set of examples, at log L about -3000, against the upper end of the certified interval.

    How fast the ratio tends to one depends on the data. The convolutional net's Fourier-l_1 ratio is at least 0.9995.
    """
    checks = {}
    for kind, reached in REACHED.items():
        ratios, log_loss = _ratios(key, kind)
        checks |= {f"{kind}: ratio": at_least(ratios[kind], reached), f"{kind}: log L": less(log_loss, -2900.0)}
    return checks


@margins_by_architecture.control("the l_2 margin of the convolutional net")
def _(key):
    return at_least(_ratios(key, "convolutional", ["fully connected"])[0]["fully connected"], 0.99)


@margins_by_architecture.control("the Fourier margin of the fully connected net")
def _(key):
    return at_least(_ratios(key, "fully connected", ["convolutional"])[0]["convolutional"], 0.99)


@claim(
    "BIAS-31.duality",
    title="The largest margin in the l_1 norm of the Fourier transform, by duality",
    source=SOURCE,
    statement=r"\max_{\lVert F \beta \rVert_1 \le 1} \min_i z_i^\top \beta = \min_{\lambda \in \Delta} \lVert F Z^\top \lambda \rVert_\infty",
    num_seeds=8,
    budget=5.0,
)
def fourier_duality(key):
    """With the unitary transform. Both ends of the interval are evaluated from their definitions."""
    x, y = points(key, 4, 5)
    z = y[:, None] * x
    found = implicit_bias.max_margin(z, implicit_bias.fourier_norm(1))
    transform = jnp.fft.fft(jnp.eye(5), norm="ortho")
    primal = (z @ found.w).min() / jnp.abs(transform @ found.w).sum()
    return equal(primal, jnp.abs(transform @ (found.multipliers @ z)).max(), rtol=1e-6)


@fourier_duality.control("a transform that is not unitary")
def _(key):
    x, y = points(key, 4, 5)
    z = y[:, None] * x
    found = implicit_bias.max_margin(z, implicit_bias.fourier_norm(1))
    return equal((z @ found.w).min() / jnp.abs(jnp.fft.fft(found.w)).sum(), jnp.abs(jnp.fft.fft(found.multipliers @ z)).max(), rtol=1e-6)


@claim(
    "BIAS-31.stationary",
    title="Trained linear nets are close to first-order stationary, at depth two and three",
    source=SOURCE,
    statement=r"\min_{\lambda \ge 0} \lVert w - J^\top \lambda \rVert / \lVert w \rVert \to 0",
    num_seeds=4,
    budget=12.0,
)
def stationary_nets(key):
    checks = {}
    for kind, depth in (("fully connected", 3), ("convolutional", 2), ("convolutional", 3), ("diagonal", 3)):
        params, _ = _trained(key, kind, jnp.asarray(EXAMPLES), depth)
        report = implicit_bias.max_margin_kkt(implicit_bias.linear_net(LINEAR[kind]), params, EXAMPLES, jnp.ones(4), order=depth)
        checks[f"{kind}, depth {depth}"] = at_most(report.stationarity, 0.1)
    return checks


@stationary_nets.control("weights of a convolutional net whose predictor has the largest l_2 margin")
def _(key):
    beta = implicit_bias.max_margin(jnp.asarray(EXAMPLES), NORMS["fully connected"]).w
    transform = jnp.fft.fft(beta)
    root = jnp.sqrt(jnp.abs(transform))
    filters = jnp.fft.ifft(jnp.stack([root * transform / jnp.abs(transform), root])).real
    report = implicit_bias.max_margin_kkt(implicit_bias.linear_net(LINEAR["convolutional"]), filters, EXAMPLES, jnp.ones(4), order=2)
    return at_most(report.stationarity, 0.1)


@claim(
    "BIAS-31.predictors",
    title="A full-width convolutional net multiplies Fourier transforms",
    source=SOURCE,
    statement=r"\beta = u_1 * \cdots * u_L, \qquad \hat\beta_k = \prod_l \hat u_{l,k}",
    core=True,
    num_seeds=8,
)
def convolutional_predictor(key):
    """Against the net itself: correlations of the input with the filters, by rolling it."""
    filters, x = jax.random.normal(key, (3, 6)), jax.random.normal(jax.random.fold_in(key, 1), (4, 6))
    hidden = x
    for u in filters[:-1]:
        hidden = jnp.stack([jnp.roll(hidden, -k, axis=1) @ u for k in range(6)], axis=1)
    return {
        "net": equal(implicit_bias.linear_net(LINEAR["convolutional"])(filters, x), hidden @ filters[-1], rtol=1e-10, atol=1e-12),
        "dense": equal(LINEAR["convolutional"](filters), implicit_bias.linear_convolutional(filters, method="dense"), rtol=1e-10, atol=1e-12),
    }


@convolutional_predictor.control("convolutions of the input in place of correlations")
def _(key):
    filters, x = jax.random.normal(key, (3, 6)), jax.random.normal(jax.random.fold_in(key, 1), (4, 6))
    hidden = x
    for u in filters[:-1]:
        hidden = jnp.stack([jnp.roll(hidden[:, ::-1], k + 1, axis=1) @ u for k in range(6)], axis=1)
    return equal(implicit_bias.linear_net(LINEAR["convolutional"])(filters, x), hidden @ filters[-1], rtol=1e-10, atol=1e-12)
