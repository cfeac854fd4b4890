"""Claims about potentials, their mirror maps and the descents that they make (BIAS-5)."""

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias
from jaxgen.claims import at_least, at_most, claim, equal, greater

BOOK = "Arora et al., Theory of Deep Learning"
DIM = 4
EXACT = 1e-10


def _definite(key):
    factor = jax.random.normal(key, (DIM, DIM))
    return factor @ factor.T / DIM + 0.2 * jnp.eye(DIM)


def _vectors(key):
    """Each potential of vectors with three points of its domain."""
    keys = jax.random.split(key, 3)
    real, positive = jax.random.normal(keys[0], (3, DIM)), jnp.exp(jax.random.normal(keys[1], (3, DIM)))
    return {
        "squared l2": (implicit_bias.squared_l2(), *real),
        "quadratic": (implicit_bias.quadratic(_definite(keys[2])), *real),
        "entropy": (implicit_bias.entropy(0.5), *positive),
        "squared l_p": (implicit_bias.lp_squared(1.5), *real),
        "hyperbolic entropy": (implicit_bias.hyperbolic_entropy(0.3), *real),
        "depth 3": (implicit_bias.diagonal_depth(0.8, 3), *real),
        "power": (implicit_bias.power_positive(4.0), *positive),
        "simplex entropy": (implicit_bias.simplex_entropy(), *jax.nn.softmax(real)),
    }


def _matrices(key):
    """Each potential of matrices with three points of its domain."""
    keys = jax.random.split(key, 4)
    definite = jax.vmap(_definite)(keys[:3])
    return {
        "spectral entropy": (implicit_bias.spectral_entropy(), *definite),
        "spectral hyperbolic entropy": (implicit_bias.spectral_hyperbolic_entropy(0.5), *jax.random.normal(keys[3], (3, 3, 2))),
    }


def _maps(potentials):
    checks = {}
    for name, (potential, w, _, v) in potentials.items():
        z, derivative = jax.jvp(potential.mirror, (w,), (v,))
        checks |= {
            f"{name}: inverse": equal(potential.inverse_mirror(z), w, rtol=EXACT, atol=EXACT),
            f"{name}: gradient": equal(jax.grad(potential.value)(w), z, rtol=EXACT, atol=EXACT),
            f"{name}: conjugate": equal(potential.value(w) + potential.conjugate(z), jnp.vdot(w, z), rtol=EXACT, atol=EXACT),
            f"{name}: Hessian": equal(potential.hessian_vector(w, v), derivative, rtol=EXACT, atol=EXACT),
        }
    return checks


@claim(
    "BIAS-5",
    title="Mirror maps are gradients, with inverses that are gradients of conjugates",
    source=f"{BOOK}, section 8.1.1, equation (8.3)",
    statement=r"z = \nabla R(w): \quad (\nabla R)^{-1}(z) = w, \quad R(w) + R^*(z) = \langle w, z \rangle,"
    r" \quad \nabla^2 R(w) v = \tfrac{d}{d\epsilon} \nabla R(w + \epsilon v)",
    core=True,
    budget=8.0,
)
def mirror_maps(key):
    """The eight potentials of vectors. The source prints a placeholder for half the squared l2 norm."""
    return _maps(_vectors(key))


@mirror_maps.control("the gradient of a quarter of the entropy for that of the entropy")
def _(key):
    w = jnp.exp(jax.random.normal(key, (DIM,)))
    return equal(jax.grad(implicit_bias.entropy().value)(w), implicit_bias.entropy(0.25).mirror(w), rtol=EXACT)


@mirror_maps.control("the exponent p for its conjugate q in the inverse of the squared l_p norm")
def _(key):
    w, potential = jax.random.normal(key, (DIM,)), implicit_bias.lp_squared(1.5)
    return equal(potential.mirror(potential.mirror(w)), w, rtol=EXACT)


@claim(
    "BIAS-5.spectral",
    title="Mirror maps of matrices by their eigenvalues and singular values",
    source=f"{BOOK}, section 8.1.1; Ghai, Hazan & Singer 2020",
    statement=r"\nabla \operatorname{tr}(W \log W - W) = \log W, \qquad"
    r" \nabla \sum_r \phi_\beta(\sigma_r) = U \operatorname{arcsinh}(\Sigma / \beta) V^\top",
    budget=6.0,
)
def spectral_mirror_maps(key):
    return _maps(_matrices(key))


@spectral_mirror_maps.control("the logarithm of each entry for that of the matrix")
def _(key):
    _, w, _, _ = _matrices(key)["spectral entropy"]
    return equal(jax.grad(implicit_bias.spectral_entropy().value)(w), jnp.log(jnp.abs(w)), rtol=EXACT, atol=EXACT)


def _singular_value_entropy(w):
    return implicit_bias.entropy().value(jnp.linalg.svd(w, compute_uv=False))


@claim(
    "BIAS-5.divergence",
    title="Bregman divergences are positive and satisfy the three-point identity",
    source=f"{BOOK}, section 8.1.1",
    statement=r"D_R(a, b) > 0 = D_R(a, a), \qquad D_R(a, b) + D_R(b, c) - D_R(a, c) = \langle \nabla R(c) - \nabla R(b), a - b \rangle",
    budget=10.0,
)
def divergences(key):
    """The source calls the entropy of singular values a potential; it is convex on positive semidefinite matrices alone."""
    divergence, checks = implicit_bias.bregman_divergence, {}
    for name, (potential, a, b, c) in (_vectors(key) | _matrices(key)).items():
        ab, bc, ac, aa = jax.vmap(lambda w, w0, potential=potential: divergence(potential, w, w0))(jnp.stack([a, b, a, a]), jnp.stack([b, c, c, a]))
        right = jnp.vdot(potential.mirror(c) - potential.mirror(b), a - b)
        checks |= {
            f"{name}: positive": greater(ab, 0.0),
            f"{name}: zero": at_most(jnp.abs(aa), EXACT),
            f"{name}: three points": equal(ab + bc - ac, right, rtol=EXACT, atol=EXACT),
        }
    known = divergence(implicit_bias.entropy(), jnp.array([1.0, 2.0]), jnp.array([2.0, 1.0]))
    return checks | {"entropy of (1, 2) and (2, 1)": equal(known, jnp.log(2.0), rtol=EXACT)}


@divergences.control("the entropy of singular values, from a rectangular matrix to one of the other sign")
def _(key):
    w = 0.1 * jax.random.normal(key, (3, 2))
    value, gradient = jax.value_and_grad(_singular_value_entropy)(-w)
    return at_least(_singular_value_entropy(w) - value - jnp.vdot(gradient, 2 * w), 0.0)


@divergences.control("the entropy of singular values at 0.1 I and -0.1 I, -0.6605 on average and 0 in the middle")
def _(key):
    average = _singular_value_entropy(0.1 * jnp.eye(2))
    return at_least(average, _singular_value_entropy(jnp.zeros((2, 2))))


@divergences.control("the three-point identity with the other sign")
def _(key):
    potential, a, b, c = _vectors(key)["entropy"]
    ab, bc, ac = (implicit_bias.bregman_divergence(potential, *pair) for pair in ((a, b), (b, c), (a, c)))
    return equal(ab + bc - ac, jnp.vdot(potential.mirror(b) - potential.mirror(c), a - b), rtol=EXACT, atol=EXACT)


def _proximal(potential, w, new, other, target):
    """The objective of the step from w to `new`, at another point: what it is at `new`, and the divergence from there."""
    slope, starts, ends = w - target, jnp.stack([w, new, w]), jnp.stack([other, other, new])
    from_w, from_new, step = jax.vmap(lambda end, start: implicit_bias.bregman_divergence(potential, end, start))(ends, starts)
    return equal(0.02 * jnp.vdot(other, slope) + from_w, 0.02 * jnp.vdot(new, slope) + step + from_new, rtol=1e-9, atol=EXACT)


def _descended(key, potential, *, num_steps=50):
    """Mirror descent of rate 0.02 on half the squared distance to a target, from a positive start; start and gradient."""
    w0, target = jnp.exp(jax.random.normal(key, (2, DIM)))

    def grad_fn(w):
        return w - target

    return implicit_bias.mirror_descent(potential, grad_fn, w0, jnp.full(num_steps, 0.02))[0], w0, grad_fn


@claim(
    "BIAS-5.descent",
    title="Mirror descent is gradient descent, exponentiated gradient, and a proximal step",
    source=f"{BOOK}, equation (8.3)",
    statement=r"\nabla R(w_{t+1}) = \nabla R(w_t) - \eta \nabla L(w_t) \iff"
    r" w_{t+1} = \arg\min_w \eta \langle w, \nabla L(w_t) \rangle + D_R(w, w_t)",
    budget=8.0,
)
def descents(key):
    """Squared l2: w - eta g. Entropy: w exp(-eta g / c). The proximal objective exceeds its value at the step by the divergence from it."""
    plain, w0, grad_fn = _descended(key, implicit_bias.squared_l2())
    exponentiated, _, _ = _descended(key, implicit_bias.entropy(0.5))
    gradient = jax.lax.fori_loop(0, 50, lambda _, w: w - 0.02 * grad_fn(w), w0)
    products = jax.lax.fori_loop(0, 50, lambda _, w: w * jnp.exp(-0.02 * grad_fn(w) / 0.5), w0)
    checks = {"gradient descent": equal(plain, gradient, rtol=1e-14), "exponentiated gradient": equal(exponentiated, products, rtol=1e-12)}
    for name, (potential, w, other, target) in _vectors(key).items():
        new = potential.inverse_mirror(potential.mirror(w) - 0.02 * (w - target))
        checks[name] = _proximal(potential, w, new, other, target)
    return checks


@descents.control("exponentiated gradient without the scale of the entropy")
def _(key):
    exponentiated, w0, grad_fn = _descended(key, implicit_bias.entropy(0.5))
    products = jax.lax.fori_loop(0, 50, lambda _, w: w * jnp.exp(-0.02 * grad_fn(w)), w0)
    return equal(exponentiated, products, rtol=1e-12)


@descents.control("a gradient step in w itself for the proximal step of the entropy")
def _(key):
    potential, w, other, target = _vectors(key)["entropy"]
    return _proximal(potential, w, w - 0.02 * (w - target), other, target)
