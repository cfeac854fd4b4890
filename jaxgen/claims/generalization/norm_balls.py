"""Claims about Rademacher complexities of linear predictors and of kernel interpolants (GEN-10, GEN-11)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from jaxgen import bounds, optimization
from jaxgen.claims import at_least, at_most, claim, equal, equal_within

BOOK = "Arora et al., Theory of Deep Learning"


def _over_all_signs(x: Array, radius: ArrayLike = 1.0, norm: str = "l2") -> Array:
    return bounds.rademacher_linear(None, x, radius, norm=norm, num_draws=None).value


@claim(
    "GEN-10",
    title="Rademacher complexity of linear predictors of bounded norm",
    source=f"{BOOK}, problem 5.3.2; Latala & Oleszkiewicz 1994",
    statement=r"\frac{B}{m \sqrt 2} \sqrt{\sum_i \lVert x_i \rVert^2} \le \hat R_S = \frac Bm \mathbb{E} \left\lVert \sum_i \sigma_i x_i \right\rVert"
    r" \le \frac Bm \sqrt{\sum_i \lVert x_i \rVert^2} \le \frac{B}{\sqrt m} \max_i \lVert x_i \rVert, \qquad"
    r" \ell_1: \; \hat R_S \le B \max_i \lVert x_i \rVert_\infty \sqrt{2 \log(2d) / m}",
)
def linear_predictors(key):
    """All 4096 signs of 12 examples in 20 dimensions, of very different sizes in every other one of the two problems."""
    x, checks = jax.random.normal(key, (12, 20)), {}
    for name, scales in (("Gaussian", jnp.ones(12)), ("heavy", jnp.exp(3 * jax.random.normal(key, (12,))))):
        inputs = scales[:, None] * x
        for norm in ("l2", "l1"):
            exact = _over_all_signs(inputs, 1.5, norm)
            lower, upper = (bounds.rademacher_linear_bound(inputs, 1.5, norm=norm, side=side) for side in ("lower", "upper"))
            checks |= {f"{name}, {norm}, below": at_least(exact, lower), f"{name}, {norm}, above": at_most(exact, upper)}
        largest = 1.5 * jnp.linalg.norm(inputs, axis=1).max() / jnp.sqrt(12.0)
        checks[f"{name}, largest"] = at_most(bounds.rademacher_linear_bound(inputs, 1.5), largest)
    return checks


@linear_predictors.control("the mean of heavy-tailed norms in place of their root mean square")
def _(key):
    x = jax.random.normal(key, (12, 20))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True) * jax.random.uniform(jax.random.fold_in(key, 1), (12, 1)) ** -4
    return at_most(_over_all_signs(x), jnp.linalg.norm(x, axis=1).mean() / jnp.sqrt(12.0))


@linear_predictors.control("the constant 1 in place of the root of 1/2 from below")
def _(key):
    x = jax.random.normal(key, (12, 1))
    return at_least(_over_all_signs(x), bounds.rademacher_linear_bound(x))


@claim(
    "GEN-10.known",
    title="Rademacher complexities of orthonormal inputs and of equal ones",
    source=f"{BOOK}, problem 5.3.2",
    statement=r"x_i \text{ orthonormal: } \hat R_S = \frac{1}{\sqrt m}, \qquad x_i = 1, \; m = 4: \hat R_S = \tfrac38 \le \tfrac12",
)
def known_values(key):
    x = jnp.linalg.qr(jax.random.normal(key, (9, 6)))[0].T
    return {
        "orthonormal": equal(_over_all_signs(x), 1 / jnp.sqrt(6.0), rtol=1e-12),
        "its bound": equal(bounds.rademacher_linear_bound(x), 1 / jnp.sqrt(6.0), rtol=1e-12),
        "equal": equal(_over_all_signs(jnp.ones((4, 1))), 0.375, rtol=1e-12),
        "bound of equal ones": equal(bounds.rademacher_linear_bound(jnp.ones((4, 1))), 0.5, rtol=1e-12),
    }


@known_values.control("inputs that are not orthogonal")
def _(key):
    x = jax.random.normal(key, (6, 9))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    return equal(_over_all_signs(x), 1 / jnp.sqrt(6.0), rtol=1e-12)


def _complexities(predictions, margin=0.5, **options):
    """Of predictions, and of their losses min(1, max(0, 1 - f / margin))."""
    losses = jnp.clip(1 - predictions / margin, 0, 1)
    return [bounds.empirical_rademacher(None, values, num_draws=None, **options).value for values in (predictions, losses)]


@claim(
    "GEN-10.contraction",
    title="A Lipschitz loss multiplies the Rademacher complexity by at most its constant",
    source="Ledoux & Talagrand 1991, theorem 4.12",
    statement=r"\hat R_S(\phi \circ \mathcal F) \le c \, \hat R_S(\mathcal F) \quad \text{for } \phi \; c\text{-Lipschitz, no absolute values}",
)
def contraction(key):
    """The ramp loss at margin 1/2, c = 2, of 30 functions on 10 points; with equality where it is linear."""
    predictions, losses = _complexities(jax.random.normal(key, (30, 10)))
    inside, linear = _complexities(jax.random.uniform(key, (30, 10), maxval=0.5))
    return {"ramp": at_most(losses, 2 * predictions), "linear": equal(linear, 2 * inside, rtol=1e-12)}


@contraction.control("the Lipschitz constant forgotten")
def _(key):
    predictions, losses = _complexities(jax.random.uniform(key, (30, 10), maxval=0.5))
    return at_most(losses, predictions)


@contraction.control("absolute values of a loss that is not zero at zero")
def _(key):
    predictions, losses = _complexities(0.01 * jax.random.normal(key, (30, 10)), absolute=True)
    return at_most(losses, 2 * predictions)


def _kernel(key):
    """A kernel of rank eight on eight points, a root of it, and labels."""
    root, y = jax.random.normal(key, (8, 12)), jax.random.rademacher(jax.random.fold_in(key, 1), (8,), float)
    return root @ root.T, root, y


@claim(
    "GEN-11",
    title="Rademacher complexity of the ball that holds a kernel's interpolant",
    source=f"{BOOK}, problem 5.3.3 and exercise 5.7; Bartlett & Mendelson 2002, lemma 22",
    statement=r"h = z(x)^\top G^{-1} y: \; \lVert h \rVert^2 = y^\top G^{-1} y, \qquad"
    r" \hat R_S = \frac{\lVert h \rVert}{n} \mathbb{E} \sqrt{\sigma^\top G \sigma} \le \frac{\sqrt{y^\top G^{-1} y \operatorname{tr} G}}{n}",
    core=True,
)
def kernel_interpolants(key):
    """All 256 signs of 8 points. The source prints y'Gy, without the inverse, and a factor 2 under the root, which is slack."""
    kernel, root, y = _kernel(key)
    alpha = jnp.linalg.solve(kernel, y)
    radius = jnp.sqrt(optimization.rkhs_squared_norm(kernel, y))
    bound = bounds.kernel_rademacher_bound(kernel, y)
    checks = {
        "norm": equal(radius, jnp.sqrt(alpha @ kernel @ alpha), rtol=1e-8),
        "norm of the weights": equal(radius, jnp.linalg.norm(alpha @ root), rtol=1e-8),
        "bound": at_most(_over_all_signs(root, radius), bound),
        "not far above": at_least(_over_all_signs(root, radius), bound / jnp.sqrt(2.0)),
        "as printed, inverse put in": at_most(bound, jnp.sqrt(2 * y @ alpha * jnp.trace(kernel)) / 8),
    }
    for scale in (0.01, 100.0):
        identity = scale * jnp.eye(8)
        radius = jnp.sqrt(optimization.rkhs_squared_norm(identity, y))
        checks |= {
            f"bound, {scale} I": equal(bounds.kernel_rademacher_bound(identity, y), 1.0, rtol=1e-12),
            f"complexity, {scale} I": equal(_over_all_signs(jnp.sqrt(scale) * jnp.eye(8), radius), 1.0, rtol=1e-12),
        }
    return checks


@kernel_interpolants.control("the kernel in place of its inverse, as printed")
def _(key):
    y = jax.random.rademacher(key, (8,), float)
    kernel = 0.01 * jnp.eye(8)
    exact = _over_all_signs(0.1 * jnp.eye(8), jnp.sqrt(optimization.rkhs_squared_norm(kernel, y)))
    return at_most(exact, jnp.sqrt(2 * y @ kernel @ y * jnp.trace(kernel)) / 8)


@claim(
    "GEN-11.draws",
    title="Drawn signs estimate the complexity of a kernel's ball",
    source="Bartlett & Mendelson 2002, lemma 22",
    statement=r"\frac{B}{n N} \sum_k \sqrt{\sigma_k^\top G \sigma_k} \to \frac Bn \mathbb{E} \sqrt{\sigma^\top G \sigma}",
    statistical=True,
    num_seeds=32,
)
def drawn_kernel_complexity(key):
    kernel, root, _ = _kernel(key)
    return equal_within(bounds.kernel_rademacher(key, kernel, 2.0, num_draws=200), _over_all_signs(root, 2.0))


@drawn_kernel_complexity.control("the radius squared")
def _(key):
    kernel, root, _ = _kernel(key)
    return equal_within(bounds.kernel_rademacher(key, kernel, 4.0, num_draws=200), _over_all_signs(root, 2.0))
