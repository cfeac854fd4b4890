"""Claims about commuting parametrizations and the potentials they induce (BIAS-19, 20)."""

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias
from jaxgen.claims import at_most, claim, equal, rejects
from jaxgen.claims.implicit_bias._diagonal import BOOK, mean_square, regression

NUM_POINTS = 32
UPPER = ((0, 0, 1), (0, 1, 1))


def _product(theta):
    return theta[0] * theta[1]


def _gram(factor):
    return (factor @ factor.T)[UPPER]


def _matrix_product(theta):
    return (theta[0] @ theta[1]).ravel()


def _residuals(parametrization, key, *shapes):
    """Residuals at random parameters."""

    def at_point(key):
        keys = jax.random.split(key, len(shapes))
        theta = tuple(jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))
        return implicit_bias.commutator_residual(parametrization, theta if len(shapes) > 1 else theta[0])

    return jax.vmap(at_point)(jax.random.split(key, NUM_POINTS))


@claim(
    "BIAS-19",
    title="Which parametrizations commute",
    source=f"{BOOK}, definition 8.1.8",
    statement=r"[\nabla G_i, \nabla G_j] = \nabla^2 G_i \nabla G_j - \nabla^2 G_j \nabla G_i = 0 \quad \text{ for } i, j \le d",
    num_seeds=4,
    budget=4.0,
)
def commuting(key):
    """The source's indices run to D. Differences of powers, products, linear maps and quadratic forms of commuting matrices."""
    rotation = jnp.linalg.qr(jax.random.normal(key, (4, 4)))[0]
    forms = jnp.einsum("ab,kb,cb->kac", rotation, jax.random.normal(key, (3, 4)), rotation)
    matrix = jax.random.normal(key, (3, 5))
    found = {
        "u^2 - v^2": _residuals(implicit_bias.diagonal_net(2), key, (3,), (3,)),
        "u^3 - v^3": _residuals(implicit_bias.diagonal_net(3), key, (3,), (3,)),
        "u v": _residuals(_product, key, (3,), (3,)),
        "linear": _residuals(lambda theta: matrix @ theta, key, (5,)),
    }
    forms = _residuals(lambda theta: jnp.einsum("kab,a,b->k", forms, theta, theta), key, (4,))
    checks = {name: equal(jnp.stack(residual), 0.0, rtol=0) for name, residual in found.items()}
    return checks | {"quadratic forms": at_most(jnp.stack(forms), 1e-12)}


OTHERS = {
    "U U^T": (_gram, ((2, 3),)),
    "U V": (_matrix_product, ((2, 2), (2, 2))),
    "(a^2 - b^2, 2 a b)": (lambda theta: jnp.stack([theta[0] ** 2 - theta[1] ** 2, 2 * theta[0] * theta[1]]), ((2,),)),
    "(a b, a + b)": (lambda theta: jnp.stack([theta[0] * theta[1], theta[0] + theta[1]]), ((2,),)),
}


def _add_controls():
    for name, (parametrization, shapes) in OTHERS.items():

        @commuting.control(name)
        def _(key, parametrization=parametrization, shapes=shapes):
            return at_most(_residuals(parametrization, key, *shapes).bracket, 1e-2)


_add_controls()


@claim(
    "BIAS-19.bracket",
    title="The bracket of a product and a sum",
    source=f"{BOOK}, definition 8.1.8",
    statement=r"G = (a b, a + b): \quad [\nabla G_1, \nabla G_2] = \nabla^2 G_1 \nabla G_2 = (1, 1), \qquad \partial G \, (1, 1) = (a + b, 2)",
    core=True,
)
def known_bracket(key):
    parametrization, theta = OTHERS["(a b, a + b)"][0], jax.random.normal(key, (2,))
    pushed = jnp.hypot(theta.sum(), 2.0)
    return {
        "bracket": equal(implicit_bias.lie_bracket(parametrization, 0, 1, theta), jnp.ones(2), rtol=1e-12),
        "opposite": equal(implicit_bias.lie_bracket(parametrization, 1, 0, theta), -jnp.ones(2), rtol=1e-12),
        "pushed": equal(implicit_bias.commutator_residual(parametrization, theta).pushed, pushed, rtol=1e-12),
    }


@known_bracket.control("second derivatives forgotten")
def _(key):
    parametrization, theta = OTHERS["(a b, a + b)"][0], jax.random.normal(key, (2,))
    rows = jax.jacrev(parametrization)(theta)
    return equal(rows[1] - rows[0], jnp.ones(2), rtol=1e-12)


@claim(
    "BIAS-20",
    title="The potential of a commuting parametrization, made by its flows",
    source=f"{BOOK}, section 8.1.4, question 2; Li, Wang, Lee & Arora 2022",
    statement=r"\nabla R^*(\mu) = G(\psi(\theta_0; \mu)), \quad R^*(\mu) = \int_0^1 \langle \mu, G(\psi(\theta_0; s \mu)) \rangle ds; \qquad"
    r" u^{\odot 2} - v^{\odot 2}: \; 2 \alpha^2 \sinh 4 \mu",
    num_seeds=4,
    budget=6.0,
)
def induced(key):
    """Against the hyperbolic entropy, from starts between 0.1 and 1."""
    alpha_key, w_key = jax.random.split(key)
    alpha, w = 10.0 ** -jax.random.uniform(alpha_key), jax.random.normal(w_key, (3,))
    net, closed = implicit_bias.diagonal_net(2), implicit_bias.hyperbolic_entropy(alpha)
    found = implicit_bias.induced_potential(net, net.start(alpha, 3))
    z = closed.mirror(w)
    return {
        "mirror": equal(found.mirror(w), z, rtol=0, atol=1e-8),
        "inverse": equal(found.inverse_mirror(z), w, rtol=0, atol=1e-8),
        "value": equal(found.value(w), closed.value(w), rtol=0, atol=1e-8),
        "conjugate": equal(found.conjugate(z), closed.conjugate(z), rtol=0, atol=1e-8),
        "hessian": equal(found.hessian_vector(w, jnp.ones(3)), closed.hessian_vector(w, jnp.ones(3)), rtol=1e-8),
    }


@induced.control("the start divided by four, as the theorem prints it")
def _(key):
    alpha, w = 0.5, jax.random.normal(key, (3,))
    net = implicit_bias.diagonal_net(2)
    found = implicit_bias.induced_potential(net, net.start(alpha / 4, 3), require_commuting=False)
    return equal(found.mirror(w), implicit_bias.hyperbolic_entropy(alpha).mirror(w), rtol=0, atol=1e-8)


def _swapped(parametrization, theta, first, second):
    """G after two flows, in both orders."""
    ends = [
        implicit_bias.dual_flow(parametrization, implicit_bias.dual_flow(parametrization, theta, a), b) for a, b in ((first, second), (second, first))
    ]
    return [parametrization(end) for end in ends]


@claim(
    "BIAS-20.order",
    title="Flows of a commuting parametrization can be taken in any order, and their ends move by its metric",
    source="Li, Wang, Lee & Arora 2022",
    statement=r"\psi(\psi(\theta_0; \mu); \mu') = \psi(\psi(\theta_0; \mu'); \mu), \qquad \frac{\partial}{\partial \mu} G(\psi(\theta_0; \mu)) ="
    r" \partial G \, \partial G^\top",
    num_seeds=4,
    budget=5.0,
)
def order_of_flows(key):
    """The difference of cubes; derivatives by central differences."""
    net = implicit_bias.diagonal_net(3)
    theta = tuple(0.5 + 0.3 * jax.random.uniform(key, (2, 2)))
    first, second = jax.random.uniform(jax.random.fold_in(key, 1), (2, 2), minval=-0.06, maxval=0.06)
    one, other = _swapped(net, theta, first, second)
    h = 1e-4

    def end(mu):
        return net(implicit_bias.dual_flow(net, theta, mu))

    numeric = jax.vmap(lambda e: (end(first + h * e) - end(first - h * e)) / (2 * h), out_axes=1)(jnp.eye(2))
    metric = implicit_bias.pushforward_metric(net, implicit_bias.dual_flow(net, theta, first))
    return {"order": equal(one, other, rtol=1e-9), "metric": equal(numeric, metric, rtol=0, atol=2e-6)}


@order_of_flows.control("U U^T, which does not commute")
def _(key):
    factor = jax.random.normal(key, (2, 3))
    one, other = _swapped(_gram, factor, jnp.array([0.2, 0.0, 0.0]), jnp.array([0.0, 0.3, 0.0]))
    return equal(one, other, rtol=1e-2)


def _ends(parametrization, theta0, x, y, time=300.0):
    """Where gradient flows of the squared loss and of the logarithm of cosh, which have the same minimizers, end."""
    losses = mean_square(x, y), lambda w: jnp.tanh(4 * (x @ w - y)) @ x
    return [implicit_bias.reparametrized_flow(parametrization, loss, theta0, jnp.array([time])).w[0] for loss in losses]


@claim(
    "BIAS-20.limit",
    title="Training a commuting parametrization ends in the interpolator nearest in its induced potential, for any loss",
    source=f"{BOOK}, section 8.1.4, question 2; Li, Wang, Lee & Arora 2022",
    statement=r"w_\infty = \arg\min_{X w = y} R_{\theta_0}(w)",
    num_seeds=2,
    budget=12.0,
)
def induced_limit(key):
    """The difference of cubes from u and v that differ, with the squared loss and log cosh: no closed form is used."""
    x, y = regression(key, 2, 3)
    net = implicit_bias.diagonal_net(3)
    theta0 = tuple(0.7 + 0.4 * jax.random.uniform(key, (2, 3)))
    ends = _ends(net, theta0, x, y, 60.0)
    potential = implicit_bias.induced_potential(net, theta0, require_commuting=False)
    found = implicit_bias.bregman_interpolator(potential, x, y, net(theta0))
    return {name: equal(end, found.w, rtol=0, atol=1e-6) for name, end in zip(("squared", "log cosh"), ends, strict=True)}


@induced_limit.control("U U^T, whose end depends on the loss")
def _(key):
    factor = 0.5 * jax.random.normal(key, (2, 3))
    x = jax.random.normal(jax.random.fold_in(key, 1), (2, 3))
    truth = jax.random.normal(jax.random.fold_in(key, 2), (2, 3))
    squared, log_cosh = _ends(_gram, factor, x, x @ _gram(truth), 60.0)
    return equal(squared, log_cosh, rtol=0, atol=1e-4)


@claim(
    "BIAS-20.inputs",
    title="Parametrizations that do not commute, and flows that blow up, are refused",
    source="Li, Wang, Lee & Arora 2022",
    statement=r"[\nabla G_i, \nabla G_j] \ne 0 \text{ is refused near } \theta_0",
    num_seeds=1,
    budget=4.0,
    jittable=False,
)
def refused(key):
    """Depth 4 from one flows to infinity along 1/8."""
    deep = implicit_bias.diagonal_net(4)
    induce, flow = implicit_bias.induced_potential, implicit_bias.dual_flow
    return {
        "U U^T": rejects(induce, _gram, jax.random.normal(key, (2, 3)), match="does not commute"),
        "rank": rejects(induce, lambda theta: theta**2, jnp.zeros(2), match="invertible"),
        "blow-up": rejects(flow, deep, deep.start(1.0, 1), jnp.array([0.2]), match="blows up"),
    }


@refused.control("one that does commute")
def _(key):
    net = implicit_bias.diagonal_net(2)
    return rejects(implicit_bias.induced_potential, net, net.start(1.0, 2), match="does not commute")
