"""Claims about kernels: feature maps, expansions on the sphere, interpolants of least norm (LS-4 to LS-6)."""

import math
from functools import partial

import jax
import jax.numpy as jnp

from jaxgen import optimization
from jaxgen.claims import at_least, at_most, claim, equal

EXACT = 1e-10
quadratic = partial(optimization.polynomial_kernel, degree=2)


def _sphere(key, n, d):
    x = jax.random.normal(key, (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@claim(
    "LS-4",
    title="The features of the quadratic kernel",
    source="Arora et al., Theory of Deep Learning, example 3.2.1",
    statement=r"(1 + x \cdot z)^2 = \phi(x) \cdot \phi(z), \quad \phi(x) = (1, \sqrt2 x_i, \sqrt2 x_i x_j \, (i < j), x_i^2)",
    core=True,
)
def quadratic_features(key):
    x = jax.random.normal(key, (6, 4))
    features = optimization.quadratic_features(x)
    return {
        "kernel": equal(features @ features.T, optimization.gram(quadratic, x), rtol=EXACT, atol=EXACT),
        "number": equal(features.shape[1], math.comb(4 + 2, 2), rtol=0),
    }


@quadratic_features.control("products of two coordinates without the root of two")
def _(key):
    x = jax.random.normal(key, (6, 4))
    features = optimization.quadratic_features(x)
    cross = jnp.arange(15)
    features = jnp.where((cross >= 5) & (cross < 11), features / math.sqrt(2), features)
    return equal(features @ features.T, optimization.gram(quadratic, x), rtol=EXACT, atol=EXACT)


def _gaussian(s):
    return jnp.exp(2 * s - 2)


def _laplace(s):
    return jnp.exp(-jnp.sqrt(2 - 2 * s))


@claim(
    "LS-5",
    title="Gaussian and Laplace kernels on the sphere are power series with nonnegative coefficients",
    source="Arora et al., Theory of Deep Learning, problem 3.2.2; Schoenberg 1942",
    statement=r"\lVert x \rVert = \lVert z \rVert = 1: \quad e^{-\lVert x - z \rVert^2} = \sum_k \frac{e^{-2} 2^k}{k!} (x \cdot z)^k,"
    r" \qquad e^{-\lVert x - z \rVert} = e^{-\sqrt{2 - 2 x \cdot z}} = \sum_k a_k (x \cdot z)^k, \; a_k > 0",
    budget=4.0,
)
def expansions(key):
    """The source prints exp(sqrt(1 - 2 x.z)) for the Laplace kernel. A truncated Gaussian misses by its tail, largest at x = z."""
    x = _sphere(key, 20, 2)
    gaussian, laplace = (optimization.dot_product_kernel_coefficients(kappa, 9) for kappa in (_gaussian, _laplace))
    features = optimization.tensor_power_features(x, gaussian)
    missed = jnp.abs(features @ features.T - optimization.gram(optimization.gaussian_kernel, x)).max()
    kernel = optimization.gram(optimization.laplace_kernel, x)
    known = jnp.array([0.2431167344, 0.1719094915, 0.1037565565, 0.0662040692, 0.0457007331])
    return {
        "gaussian": equal(gaussian, jnp.array([math.exp(-2) * 2**k / math.factorial(k) for k in range(10)]), rtol=EXACT),
        "tail": equal(missed, 4.650e-5, rtol=1e-3),
        "laplace": equal(laplace[:5], known, rtol=1e-9),
        "positive": at_least(laplace, 0.0),
        "sphere": equal(_laplace(jnp.minimum(x @ x.T, 1.0)), kernel, rtol=0, atol=1e-6),
        "semidefinite": at_least(jnp.linalg.eigvalsh(kernel), 0.0, slack=1e-10),
    }


@expansions.control("the Laplace kernel as printed, whose coefficients change their signs")
def _(key):
    return at_least(optimization.dot_product_kernel_coefficients(lambda s: jnp.exp(jnp.sqrt(1 - 2 * s)), 4), 0.0)


@expansions.control("the Laplace kernel as printed, clipped where it is not defined, which is not semidefinite")
def _(key):
    x = _sphere(key, 30, 3)
    return at_least(jnp.linalg.eigvalsh(jnp.exp(jnp.sqrt(jnp.maximum(1 - 2 * x @ x.T, 0.0)))), 0.0, slack=1e-10)


def _regression(key):
    """Six points in four dimensions with values, and three points to predict."""
    keys = jax.random.split(key, 3)
    return jax.random.normal(keys[0], (6, 4)), jax.random.normal(keys[1], (6,)), jax.random.normal(keys[2], (3, 4))


@claim(
    "LS-6",
    title="Kernel least squares without a ridge: the limit of descent in feature space, and the interpolant of least norm",
    source="Arora et al., Theory of Deep Learning, equations (3.8) and (3.9)",
    statement=r"h(x) = k(x)^\top G^{-1} y = \operatorname{argmin} \{ \lVert h \rVert_{\mathcal H} : h(x_i) = y_i \}, \qquad"
    r" \lVert h \rVert_{\mathcal H}^2 = \alpha^\top G \alpha = y^\top G^{-1} y",
    budget=4.0,
)
def kernel_least_squares(key):
    """Against regression on the 15 features of the quadratic kernel, in the limit and after 50 steps of descent."""
    x, y, z = _regression(key)
    features, others = optimization.quadratic_features(x), optimization.quadratic_features(z)
    gram, w = optimization.gram(quadratic, x), optimization.min_norm_solution(features, y)
    h = optimization.kernel_interpolant(quadratic, x, y)
    rate = 1 / jnp.linalg.norm(gram, 2)
    early = optimization.kernel_gd(quadratic, x, y, learning_rate=rate, num_steps=50)
    descended = optimization.least_squares_gd(features, y, learning_rate=rate, num_steps=50)
    steps = jax.lax.fori_loop(0, 50, lambda _, u: u - rate * gram @ (u - y), jnp.zeros(6))
    return {
        "predictions": equal(h(z), others @ w, rtol=1e-7, atol=1e-7),
        "interpolates": equal(h(x), y, rtol=1e-7, atol=1e-7),
        "norm": equal(jnp.stack([h.alpha @ gram @ h.alpha, h.alpha @ y, optimization.rkhs_squared_norm(gram, y)]), w @ w, rtol=1e-7),
        "descent": equal(early(z), others @ descended, rtol=1e-9, atol=1e-9),
        "training points": equal(early(x), steps, rtol=1e-9, atol=1e-9),
    }


def _another_interpolant(key):
    x, y, z = _regression(key)
    features = optimization.quadratic_features(x)
    along = jax.random.normal(jax.random.fold_in(key, 1), (15,))
    w = optimization.min_norm_solution(features, y)
    return w + along - optimization.row_space_projector(features) @ along, x, y, z


@kernel_least_squares.control("another interpolant in feature space: its norm is larger")
def _(key):
    w, x, y, _ = _another_interpolant(key)
    return at_most(w @ w, optimization.rkhs_squared_norm(optimization.gram(quadratic, x), y), slack=1e-7)


@kernel_least_squares.control("another interpolant in feature space: its predictions are others")
def _(key):
    w, x, y, z = _another_interpolant(key)
    return equal(optimization.kernel_interpolant(quadratic, x, y)(z), optimization.quadratic_features(z) @ w, rtol=1e-7, atol=1e-7)
