"""Claims about the closed forms of kernels of infinitely wide nets (NTK-4, NTK-9, NTK-12, NTK-13, NTK-15)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from jaxgen.claims import at_least, claim, equal, equal_in_mean, greater, less
from jaxgen.ntk import infinite

EXACT = 1e-11
DRAWS = 4096
NODES = 60


def _unit(key, n, d):
    x = jax.random.normal(key, (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def _first_layer_sample(key, x):
    """x_i.x_j times the mean over random w of the product of both derivatives: the empirical kernel of a wide net."""
    active = 1.0 * (jax.random.normal(key, (DRAWS, x.shape[1])) @ x.T > 0)
    return x @ x.T * (active.T @ active) / DRAWS


@claim(
    "NTK-4",
    title="First-layer kernel of a two-layer ReLU net: the arc-cosine kernel of degree 0, times x.x'",
    source="Arora et al., Theory of Deep Learning, Problem 9.2.1 and exercise 1; Cho & Saul 2009",
    statement=r"H^*_{ij} = x_i^\top x_j \, \mathbb{E}_w[\dot\sigma(w^\top x_i) \dot\sigma(w^\top x_j)] = x_i^\top x_j"
    r" \, \frac{\pi - \arccos \rho_{ij}}{2 \pi}",
    statistical=True,
    core=True,
    budget=1.5,
)
def first_layer_kernel(key):
    """The source's (9.8) leaves out x_i.x_j, which its series in exercise 3 has."""
    key_x, key_w = jax.random.split(key)
    x = jax.random.normal(key_x, (3, 4))
    upper = np.triu_indices(3)
    return equal_in_mean(_first_layer_sample(key_w, x)[upper], infinite.two_layer(x)[upper])


@first_layer_kernel.control("the bare expectation, as printed")
def _(key):
    key_x, key_w = jax.random.split(key)
    x = jax.random.normal(key_x, (3, 4))
    upper = np.triu_indices(3)
    return equal_in_mean(_first_layer_sample(key_w, x)[upper], infinite.relu_kappa0(jnp.clip(_correlations(x), -1, 1))[upper] / 2)


def _correlations(x):
    norm = jnp.linalg.norm(x, axis=1)
    return x @ x.T / (norm[:, None] * norm)


def _smallest(x):
    return jnp.linalg.eigvalsh(infinite.two_layer(x))[0]


@claim(
    "NTK-9",
    title="The first-layer ReLU kernel is positive definite unless inputs are parallel",
    source="Du et al. 2019, Theorem 3.1; Arora et al., Theory of Deep Learning, section 9.3",
    statement=r"\text{no two inputs parallel: } \lambda_{\min}(H^*) > 0 \qquad (0.097 \text{ for } n = 30, d = 10)",
)
def positive_definite(key):
    """Only the linear part of the kernel is odd, so that opposite inputs alone are harmless: two points give I / 2."""
    x = _unit(key, 30, 10)
    return {
        "30 points": greater(_smallest(x), 0.02),
        "opposite points": equal(infinite.two_layer(jnp.stack([x[0], -x[0]])), 0.5 * jnp.eye(2), rtol=EXACT, atol=1e-15),
    }


@positive_definite.control("a repeated input")
def _(key):
    x = _unit(key, 30, 10)
    return greater(_smallest(x.at[7].set(x[3])), 0.02)


@claim(
    "NTK-12.series",
    title="Series of the first-layer ReLU kernel, and what it says of linear teachers",
    source="Arora et al., Theory of Deep Learning, exercise 3 of chapter 9",
    statement=r"H^* = \frac{K}{4} + \frac{1}{2 \pi} \sum_{\ell \ge 1} \frac{(2 \ell - 3)!!}{(2 \ell - 2)!!} \frac{K^{\circ 2 \ell}}{2 \ell - 1}"
    r" \succeq \frac{K}{4}, \quad \operatorname{tr} H^* = \frac{n}{2}, \quad y = X \beta \Rightarrow y^\top (H^*)^{-1} y \le 4 \|\beta\|^2",
)
def series(key):
    """The print's series of the arccosine is damaged, and its bound on the trace is n in place of n / 2."""
    x, y, squared_norm = _linear_teacher(key)
    gram = x @ x.T
    kernel = infinite.two_layer(x)
    inside = 0.9 * gram
    return {
        "series": equal(infinite.relu_series(inside, 200), inside * infinite.relu_kappa0(inside) / 2, rtol=EXACT, atol=1e-13),
        "above K / 4": at_least(jnp.linalg.eigvalsh(kernel - gram / 4)[0], 0.0, slack=1e-13),
        "trace": equal(jnp.trace(kernel), 15.0, rtol=EXACT),
        "linear teacher": at_least(4 * squared_norm, y @ jnp.linalg.solve(kernel, y)),
    }


def _linear_teacher(key):
    """30 unit inputs in 10 dimensions, the values of a linear function of slope beta, and |beta|^2."""
    key_x, key_beta = jax.random.split(key)
    x, beta = _unit(key_x, 30, 10), jax.random.normal(key_beta, (10,))
    return x, x @ beta, beta @ beta


@series.control("without the factor x.x', as printed")
def _(key):
    x, _, _ = _linear_teacher(key)
    kernel = infinite.relu_kappa0(jnp.clip(x @ x.T, -1, 1)) / 2
    return at_least(jnp.linalg.eigvalsh(kernel - x @ x.T / 4)[0], 0.0, slack=1e-13)


@series.control("the l = 1 term counted twice, as printed")
def _(key):
    x, _, _ = _linear_teacher(key)
    inside = 0.9 * x @ x.T
    twice = infinite.relu_series(inside, 200) + inside**2 / (2 * math.pi)
    return equal(twice, inside * infinite.relu_kappa0(inside) / 2, rtol=EXACT, atol=1e-13)


ACTIVATIONS = {
    "erf": jax.scipy.special.erf,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "sin": jnp.sin,
}


def _covariance(key):
    """Variances between 0.5 and 1.5 and a covariance of correlation within (-0.95, 0.95)."""
    a, b, rho = jax.random.uniform(key, (3,), minval=jnp.array([0.5, 0.5, -0.95]), maxval=jnp.array([1.5, 1.5, 0.95]))
    return a, b, rho * jnp.sqrt(a * b)


def _expectation(fn, a, b, c):
    """E[fn(u) fn(v)] by a product rule and the Cholesky factor."""
    z, w = (jnp.asarray(part) for part in hermegauss(NODES))
    w = w / w.sum()
    v = c / jnp.sqrt(a) * z[:, None] + jnp.sqrt(b - c**2 / a) * z
    return jnp.einsum("i,j,i,ij->", w, w, fn(jnp.sqrt(a) * z), fn(v))


def _slopes(a, b, c):
    duals = [infinite.dual_activation(name) for name in ("relu", *ACTIVATIONS)] + [infinite.leaky_relu(0.2)]
    return jnp.stack([jax.grad(dual.kernel, argnums=2)(a, b, c) for dual in duals]), jnp.stack([dual.derivative(a, b, c) for dual in duals])


@claim(
    "NTK-13",
    title="Dual activations: closed forms, and the derivative kernel as the derivative of the kernel",
    source="Cho & Saul 2009; Williams 1997; Daniely, Frostig & Singer 2016; Tsuchida et al. 2021",
    statement=r"\frac{\partial}{\partial c} \mathbb{E}[\sigma(u) \sigma(v)] = \mathbb{E}[\dot\sigma(u) \dot\sigma(v)], \quad"
    r" \text{ReLU: } \frac{\sqrt{ab}}{2} \kappa_1(\rho), \; \frac12 \kappa_0(\rho), \quad \text{erf: } \frac2\pi \arcsin"
    r" \frac{2 c}{\sqrt{(1 + 2 a)(1 + 2 b)}}",
    budget=4.0,
)
def dual_activations(key):
    a, b, c = _covariance(key)
    slopes, derivatives = _slopes(a, b, c)
    relu = infinite.dual_activation("relu")
    closed = jnp.stack([infinite.dual_activation(name).kernel(a, b, c) for name in ACTIVATIONS])
    by_rule = jnp.stack([_expectation(fn, a, b, c) for fn in ACTIVATIONS.values()])
    return {
        "derivative": equal(slopes, derivatives, rtol=1e-9),
        "quadrature": equal(closed, by_rule, rtol=0, atol=1e-7),
        "relu": equal(relu.kernel(a, b, c), jnp.sqrt(a * b) / 2 * infinite.relu_kappa1(c / jnp.sqrt(a * b)), rtol=EXACT),
    }


@dual_activations.control("kappa_0 and kappa_1 exchanged")
def _(key):
    a, b, c = _covariance(key)
    slope = jax.grad(infinite.dual_activation("relu").kernel, argnums=2)(a, b, c)
    return equal(slope, infinite.relu_kappa1(c / jnp.sqrt(a * b)) / 2, rtol=1e-9)


@dual_activations.control("covariance in place of correlation")
def _(key):
    a, b, c = _covariance(key)
    return equal(infinite.dual_activation("relu").kernel(a, b, c), jnp.sqrt(a * b) / 2 * infinite.relu_kappa1(jnp.clip(c, -1, 1)), rtol=EXACT)


DEPTH = 3


def _layers(x):
    """NNGP kernels of depth 0 to 3 of the ReLU net, and twice the expectation of the derivatives in each layer, through rho."""
    sigmas = [infinite.fully_connected(x, depth=depth, activation="relu").nngp for depth in range(DEPTH + 1)]
    relu = infinite.dual_activation("relu")
    variance = [jnp.diagonal(sigma) for sigma in sigmas]
    return sigmas, [2 * relu.derivative(v[:, None], v, sigma) for v, sigma in zip(variance[:-1], sigmas[:-1], strict=True)]


def _sum_of_products(sigmas, slopes):
    """sum over h of Sigma^(h - 1) times the product of all later derivative kernels."""
    total, product = jnp.zeros_like(sigmas[0]), jnp.ones_like(sigmas[0])
    for h in range(len(slopes), -1, -1):
        total = total + sigmas[h] * product
        product = product * (slopes[h - 1] if h else 1.0)
    return total


@claim(
    "NTK-15",
    title="The kernel of a deep net: recursion, sum of products, and known values",
    source="Arora et al., Theory of Deep Learning, section 9.4; Jacot, Gabriel & Hongler 2018",
    statement=r"\Theta^{(L)} = \sum_{h=1}^{L+1} \Sigma^{(h-1)} \prod_{h'=h}^{L+1} \dot\Sigma^{(h')}, \; \dot\Sigma^{(L+1)} := 1"
    r" \quad \Leftrightarrow \quad \Theta^{(h)} = \dot\Sigma^{(h)} \Theta^{(h-1)} + \Sigma^{(h)}",
    core=True,
)
def deep_kernel(key):
    """The source has no convention for the last factor, without which the product is not defined; rho, which the sum goes through, costs 1e-8."""
    x = jax.random.normal(key, (5, 4))
    pair = jnp.array([[1.0, 0.0], [0.5, jnp.sqrt(0.75)]])
    known = jnp.stack([infinite.fully_connected(pair, depth=depth, activation="relu").ntk[0, 1] for depth in (1, 2, 3)])
    return {
        "sum of products": equal(infinite.fully_connected(x, depth=DEPTH, activation="relu").ntk, _sum_of_products(*_layers(x)), rtol=1e-6),
        "known values": equal(known, jnp.array([0.94233111, 1.35147956, 1.73784468]), rtol=1e-8),
    }


@deep_kernel.control("without the last layer's term")
def _(key):
    x = jax.random.normal(key, (5, 4))
    kernels = infinite.fully_connected(x, depth=DEPTH, activation="relu")
    return equal(kernels.ntk - kernels.nngp, _sum_of_products(*_layers(x)), rtol=1e-6)


@deep_kernel.control("a derivative kernel in the last layer too")
def _(key):
    x = jax.random.normal(key, (5, 4))
    sigmas, slopes = _layers(x)
    return less(jnp.abs(infinite.fully_connected(x, depth=DEPTH, activation="relu").ntk - slopes[-1] * _sum_of_products(sigmas, slopes)), 1e-6)
