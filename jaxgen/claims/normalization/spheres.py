"""Claims about scale-invariant losses on the unit sphere: curvature, gradients and range, orthogonal steps (NORM-9 to NORM-11)."""

import math

import jax
import jax.numpy as jnp

from jaxgen import normalization
from jaxgen.claims import at_least, at_most, claim, equal
from jaxgen.claims.normalization._problems import BOOK, Family, families, rayleigh_loss_fn, rayleigh_quotients, sphere

NUM_POINTS = 32
NUM_PAIRS = 10
ROUNDING = 1e-10


def _estimates(key, method, num_steps=40):
    """Estimated curvature of every Rayleigh quotient, and the Hessian's norm at the best point, scaled by two."""
    family = rayleigh_quotients(key)

    def of_problem(key, spectrum):
        options = {"num_points": 4, "num_matvecs": 10, "num_steps": num_steps, "method": method}
        found = normalization.spherical_curvature(key, rayleigh_loss_fn, jnp.ones(family.dim), spectrum[None], **options)
        return found.value, jnp.linalg.norm(jax.hessian(family.loss)(2 * found.params, spectrum), 2)

    return family.rho, *jax.vmap(of_problem)(jax.random.split(key, len(family.rho)), family.problems)


@claim(
    "NORM-9",
    title="Spherical curvature of Rayleigh quotients is twice the spread of the spectrum, met from below",
    source=f"{BOOK}, definition 13.4.1",
    statement=r"\rho = \max_{\lVert w \rVert = 1} \lVert \nabla^2 L(w) \rVert_2 = 2 (\lambda_{\max} - \lambda_{\min})",
    budget=6.0,
)
def spherical_curvature(key):
    """64 quotients a seed, by samples and by ascent from them."""
    rho, sampled, _ = _estimates(key, "sample")
    _, climbed, _ = _estimates(key, "ascent")
    return {
        "samples below": at_most(sampled, climbed, slack=ROUNDING),
        "ascent below": at_most(climbed, rho, slack=ROUNDING),
        "ascent arrives": at_least(climbed, 0.99 * rho),
    }


@spherical_curvature.control("the Hessian at norm two", fails="every")
def _(key):
    rho, _, at_two = _estimates(key, "ascent")
    return at_least(at_two, 0.99 * rho)


def _slopes_and_ranges(key, constant=1.0):
    """Gradient norms and losses over their bounds, at 32 random points of 64 losses of both families."""
    checks = {}
    for name, family in families(key).items():
        points = sphere(jax.random.fold_in(key, 1), len(family.rho), NUM_POINTS, family.dim)
        value = jax.vmap(jax.vmap(jax.value_and_grad(family.loss), in_axes=(0, None)))(points, family.problems)
        losses, slopes = value[0], jnp.linalg.norm(value[1], axis=-1)
        rho = constant * family.rho
        checks |= {
            f"{name}: gradient": at_most(slopes.max(axis=1), math.pi * rho),
            f"{name}: above the minimum": at_most(losses.max(axis=1) - family.low, math.pi**2 * rho / 2),
            f"{name}: range": at_most(family.high - family.low, math.pi**2 * rho / 4),
        }
    return checks


@claim(
    "NORM-10",
    title="Gradients and losses of a scale-invariant loss are bounded by its spherical curvature",
    source=f"{BOOK}, lemma 13.4.3, problem 13.4.4; the sharper range is derived",
    statement=r"\lVert \nabla L(\bar w) \rVert \le \pi \rho, \qquad L - \min L \le \frac{\pi^2}{2} \rho,"
    r" \qquad \max L - \min L \le \frac{\pi^2}{4} \rho",
    budget=4.0,
)
def gradients_and_range(key):
    """The proof of the second needs the global minimum. The Rayleigh quotient has one half for the first and the last."""
    family = rayleigh_quotients(key)
    best = jnp.sqrt(0.5) * (jnp.eye(4)[jnp.argmin(family.problems, axis=1)] + jnp.eye(4)[jnp.argmax(family.problems, axis=1)])
    slopes = jnp.linalg.norm(jax.vmap(jax.grad(family.loss))(best, family.problems), axis=1)
    return _slopes_and_ranges(key) | {
        "known slope": equal(slopes, family.rho / 2, rtol=1e-12),
        "known range": equal(family.high - family.low, family.rho / 2, rtol=1e-12),
    }


@gradients_and_range.control("constants divided by twenty", fails="every")
def _(key):
    return _slopes_and_ranges(key, 1 / 20)


def _orthogonal_steps(key, family: Family, *, curvature=1.0):
    """Both sides of the lemma for ten pairs of a point and an orthogonal step for each loss, of norms between e^-2 and e^2."""
    keys = jax.random.split(key, 3)
    shape = (len(family.rho), NUM_PAIRS)
    x = sphere(keys[0], *shape, family.dim)
    draws = jax.random.normal(keys[1], (*shape, family.dim))
    tangent = draws - jnp.sum(draws * x, axis=-1, keepdims=True) * x
    sizes = jnp.exp(jax.random.uniform(keys[2], (2, *shape, 1), minval=-2, maxval=2))
    x, v = sizes[0] * x, sizes[1] * tangent / jnp.linalg.norm(tangent, axis=-1, keepdims=True)
    of_problem = jax.vmap(jax.value_and_grad(family.loss), in_axes=(0, None))
    (before, gradient), (after, _) = jax.vmap(of_problem)(x, family.problems), jax.vmap(of_problem)(x + v, family.problems)
    quadratic = curvature * family.rho[:, None] * jnp.sum(v**2, axis=-1) / (2 * jnp.sum(x**2, axis=-1))
    return after - before, jnp.sum(v * gradient, axis=-1) + quadratic


@claim(
    "NORM-11",
    title="A step orthogonal to the parameters raises a scale-invariant loss by no more than its second-order model",
    source=f"{BOOK}, lemma 13.4.5",
    statement=r"x \perp v: \quad L(x + v) - L(x) \le \langle v, \nabla L(x) \rangle + \frac{\rho \lVert v \rVert^2}{2 \lVert x \rVert^2}",
    budget=4.0,
)
def orthogonal_steps(key):
    """640 pairs of either family a seed. Rayleigh quotients survive many steps that are not orthogonal: they are no control."""
    step = jnp.linspace(0.1, 3.0, 8)
    known = jax.vmap(lambda s: rayleigh_loss_fn(jnp.stack([jnp.ones(()), s]), jnp.array([[0.0, 1.0]]))[0])(step)
    checks = {name: at_most(*_orthogonal_steps(key, family), slack=ROUNDING) for name, family in families(key).items()}
    return checks | {"known": equal(known, step**2 / (1 + step**2), rtol=1e-12)}


@orthogonal_steps.control("a step along the parameters of w_2 / |w|", fails="every")
def _(key):
    loss = lambda w: w[1] / jnp.linalg.norm(w)  # noqa: E731
    rho = 2 / math.sqrt(3)
    x = jnp.array([0.0, -1.0]) * jnp.exp(jax.random.normal(key))
    v = -1.1 * x
    return at_most(loss(x + v) - loss(x), v @ jax.grad(loss)(x) + rho * jnp.sum(v**2) / (2 * jnp.sum(x**2)))


@orthogonal_steps.control("a fiftieth of the curvature", fails="every")
def _(key):
    return at_most(*_orthogonal_steps(key, rayleigh_quotients(key), curvature=1 / 50), slack=ROUNDING)
