"""Claims about products of factors, homogeneous functions, normalization layers and scale-invariant nets (NORM-1 to NORM-6)."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen import curvature, gradients, models, normalization
from jaxgen.claims import at_least, at_most, claim, equal, ordered
from jaxgen.claims.normalization._problems import BOOK, circle_nets, rayleigh_loss_fn

X, Y = (1.0, -0.5, 0.7, 2.0), (1.0, 1.0, -1.0, 1.0)
LEAST = 0.7000592345
"""The minimiser W* of the sum of logistic losses at X, Y."""

SCALES = (0.01, 0.5, 3.0, 70.0)
TRAINED = ("Dense_0", "LayerNorm_0", "Dense_1")
EXACT = 1e-12


def _products(key, num_factors, *, power=None, margin=1.01, num_steps=3):
    """W_t from a random W_0 > W*, with `margin` times 2 / |l'(W_0)| W_0^power, by default the corrected 2/k - 1."""
    start = 1.5 + 5 * jax.random.uniform(key)
    x, y = jnp.array(X), jnp.array(Y)
    slope = jax.grad(lambda w: jnp.sum(jax.nn.softplus(-w * x * y)))(start)
    rate = normalization.explosive_learning_rate(start, slope, num_factors)
    if power is not None:
        rate = 2 / jnp.abs(slope) * start**power
    return normalization.product_logistic_gd(x, y, start, margin * rate, num_steps, num_factors=num_factors)


@claim(
    "NORM-1",
    title="A product of equal factors explodes under gradient descent above a learning rate that falls with its value",
    source=f"{BOOK}, problem 13.1.1",
    statement=r"\eta > \frac{2}{|\ell'(W_0)|} W_0^{2/k - 1}, \; W_0 > W^*: \quad W_{t+1} > W_t \to \infty",
    budget=3.0,
)
def explosion(key):
    """The source prints the exponent 1/k - 1. Four and ten factors; and the values from W_0 = 5 with four."""
    x, y = jnp.array(X), jnp.array(Y)
    slope = jax.grad(lambda w: jnp.sum(jax.nn.softplus(-w * x * y)))
    known = normalization.product_logistic_gd(x, y, 5.0, 1.01 * normalization.explosive_learning_rate(5.0, slope(5.0), 4), 3, num_factors=4)
    rising = {f"{count} factors": ordered(_products(key, count), strict=True) for count in (4, 10)}
    return rising | {
        "minimiser": equal(slope(LEAST), 0.0, rtol=0, atol=1e-9),
        "known path": equal(known, jnp.array([5, 5.41, 8.74, 93.1]), rtol=1e-3),
    }


@explosion.control("the printed exponent 1/k - 1")
def _(key):
    return {f"{count} factors": ordered(_products(key, count, power=1 / count - 1), strict=True) for count in (4, 10)}


@explosion.control("nine tenths of the rate")
def _(key):
    return {f"{count} factors": ordered(_products(key, count, margin=0.9), strict=True) for count in (4, 10)}


def _relu_net(key, depth, *, bias=0.0, activation=jax.nn.relu):
    """The outputs of a net of `depth` weight matrices on five examples as a function of them, and the matrices."""
    keys = jax.random.split(key, depth + 1)
    x = jax.random.normal(keys[-1], (5, 4))

    def f(weights):
        h = x
        for weight in weights[:-1]:
            h = activation(h @ weight + bias)
        return h @ weights[-1]

    return f, [jax.random.normal(k, (4, 4)) for k in keys[:-1]]


def _degree(key, depth, **options):
    f, weights = _relu_net(key, depth, **options)
    return {
        f"degree {depth}": equal(normalization.homogeneity_degree(f, weights), depth, rtol=1e-10),
        f"Euler {depth}": equal(normalization.euler_residual(f, weights, depth) / jnp.abs(f(weights)).max(), 0.0, rtol=0, atol=1e-10),
    }


@claim(
    "NORM-2",
    title="A ReLU net without biases is homogeneous of its depth, and Euler's identity holds",
    source=f"{BOOK}, definition 13.1.2, problem 13.1.3",
    statement=r"f(c w) = c^k f(w), \; c > 0; \qquad \langle w, \nabla f(w) \rangle = k f(w)",
    core=True,
    budget=4.0,
)
def homogeneity(key):
    """One to five weight matrices."""
    checks = {}
    for depth in range(1, 6):
        checks |= _degree(jax.random.fold_in(key, depth), depth)
    return checks


@homogeneity.control("biases in hidden layers that are not scaled")
def _(key):
    return _degree(key, 3, bias=1.0)


@homogeneity.control("GELU in place of ReLU")
def _(key):
    return _degree(key, 3, activation=jax.nn.gelu)


def _normalized(key, eps):
    """Statistics of layer, group and batch normalization, and what scale and shift of pre-activations change."""
    a = 3 * jax.random.normal(key, (6, 12)) + 1
    layer = normalization.layer_norm(a, eps=eps)
    group = normalization.group_norm(a, groups=3, eps=eps).reshape(6, 3, 4)
    batch = normalization.batch_norm(a, eps=eps)
    moments = [(out.mean(axis=axis), out.var(axis=axis)) for out, axis in ((layer, 1), (group, 2), (batch, 0))]
    return {
        "means": equal([mean for mean, _ in moments], jax.tree.map(jnp.zeros_like, [mean for mean, _ in moments]), rtol=0, atol=EXACT),
        "variances": equal([variance for _, variance in moments], jax.tree.map(jnp.ones_like, [variance for _, variance in moments]), rtol=EXACT),
        "one group": equal(normalization.group_norm(a, groups=1, eps=eps), layer, rtol=EXACT),
        "scale and shift": equal(normalization.layer_norm(7 * a - 2, eps=eps), layer, rtol=EXACT, atol=EXACT),
    }


@claim(
    "NORM-3",
    title="Layer, group and batch normalization: mean zero, variance one, blind to scale and shift",
    source=f"{BOOK}, section 13.2; Ba et al. 2016, Wu & He 2018, Ioffe & Szegedy 2015",
    statement=r"\gamma \frac{a - \mu}{\sigma} + \beta: \quad a \to c a + d, \; c > 0, \text{ changes nothing}",
)
def normalization_layers(key):
    """As in the source, without the epsilon under the root that implementations have."""
    known = normalization.layer_norm(jnp.array([1.0, 2.0, 3.0]))
    return _normalized(key, 0.0) | {"1, 2, 3": equal(known, jnp.sqrt(1.5) * jnp.array([-1.0, 0.0, 1.0]), rtol=EXACT, atol=EXACT)}


@normalization_layers.control("epsilon of 0.1")
def _(key):
    return _normalized(key, 0.1)


@claim(
    "NORM-4",
    title="Sums and ReLUs of functions of one degree keep it; their quotients are scale invariant",
    source=f"{BOOK}, definition 13.2.1",
    statement=r"h_1, h_2 \text{ of degree } k: \quad h_1 + h_2, \; \mathrm{ReLU}(h_1) \text{ of degree } k, \quad h_1 / h_2 \text{ of degree } 0",
)
def algebra(key):
    """The Rayleigh quotient, a quotient of two norms, and cubic forms."""
    w, a = jax.random.normal(key, (5,)), jax.random.normal(jax.random.fold_in(key, 1), (2, 5))
    cubic = lambda w: (a @ w) ** 3  # noqa: E731
    defect, scales = normalization.scale_invariance_defect, jnp.array(SCALES)
    return {
        "sum": equal(normalization.homogeneity_degree(lambda w: cubic(w).sum(), w), 3.0, rtol=1e-10),
        "ReLU": equal(normalization.homogeneity_degree(lambda w: jax.nn.relu(jnp.append(cubic(w), jnp.sum(w**2) ** 1.5)), w), 3.0, rtol=1e-10),
        "quotient of cubics": at_most(defect(lambda w: cubic(w)[0] / cubic(w)[1], w, scales), EXACT),
        "quotient of norms": at_most(defect(lambda w: jnp.linalg.norm(w, 1) / jnp.linalg.norm(w), w, scales), EXACT),
        "Rayleigh quotient": at_most(defect(lambda w: rayleigh_loss_fn(w, a).mean(), w, scales), EXACT),
    }


@algebra.control("a quotient of degrees two and one")
def _(key):
    w = jax.random.normal(key, (5,))
    return at_most(normalization.scale_invariance_defect(lambda w: jnp.sum(w**2) / jnp.linalg.norm(w), w, jnp.array(SCALES)), EXACT)


def _normalized_net(key, eps=0.0):
    """A net of two hidden layers with random scales and biases of its normalization, and five examples."""
    x = jax.random.normal(jax.random.fold_in(key, 1), (5, 4))
    model = normalization.layer_norm_mlp((6, 8, 3), eps=eps)
    start, unravel = ravel_pytree(model.init(key, x))
    params = unravel(start + 0.3 * jax.random.normal(jax.random.fold_in(key, 2), start.shape))
    return (lambda params: model.apply(params, x)), params


def _net_defect(key, *, eps=0.0, subtree=TRAINED):
    f, params = _normalized_net(key, eps)
    return normalization.scale_invariance_defect(f, params, jnp.array(SCALES), subtree=subtree)


@claim(
    "NORM-5",
    title="A layer-normalized net with its last layer fixed is scale invariant; with all of it trained, of degree two",
    source=f"{BOOK}, lemma 13.2.2",
    statement=r"x^{(l)} = \mathrm{ReLU}(\mathrm{LN}(W x^{(l-1)})) \text{ of degree } 1; \quad"
    r" f(c w) = f(w) \text{ without } \gamma^{(L-1)}, \beta^{(L-1)}, W^{(L)}",
    core=True,
    budget=3.0,
)
def normalized_nets(key):
    """The proof says that W x is of degree one in every layer; it is two above the first, which normalization takes out."""
    f, params = _normalized_net(key)
    return {
        "trained part": at_most(_net_defect(key), EXACT),
        "all parameters": equal(f(jax.tree.map(lambda leaf: 3 * leaf, params)), 9 * f(params), rtol=1e-10, atol=1e-10),
    }


@normalized_nets.control("the last normalization's bias trained as well", fails="every")
def _(key):
    return at_most(_net_defect(key, subtree=(*TRAINED, "LayerNorm_1/bias")), EXACT)


@normalized_nets.control("epsilon of 0.001", fails="every")
def _(key):
    return at_most(_net_defect(key, eps=1e-3), EXACT)


def _derivatives(loss_fn, params, batch, key):
    """Radial derivative, and what becomes of gradient and Hessian products of a loss at three times the parameters."""
    direction = jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape), params)
    tripled = jax.tree.map(lambda leaf: 3 * leaf, params)
    gradient, at_tripled = (ravel_pytree(gradients.value_and_gradient(loss_fn, w, batch)[1])[0] for w in (params, tripled))
    product, of_tripled = (ravel_pytree(curvature.hessian(loss_fn, w, batch).mv(direction))[0] for w in (params, tripled))
    radial = ravel_pytree(curvature.hessian(loss_fn, params, batch).mv(params))[0]
    size, curved = jnp.abs(gradient).max(), jnp.abs(product).max()
    return {
        "orthogonal": equal(normalization.radial_gradient(loss_fn, params, batch) / size, 0.0, rtol=0, atol=1e-10),
        "gradient": equal(3 * at_tripled / size, gradient / size, rtol=0, atol=1e-10),
        "Hessian": equal(9 * of_tripled / curved, product / curved, rtol=0, atol=1e-10),
        "Hessian at w": equal(radial / size, -gradient / size, rtol=0, atol=1e-10),
    }


@claim(
    "NORM-6",
    title="Gradients of scale-invariant losses are tangential, and derivatives fall with powers of the norm",
    source=f"{BOOK}, lemma 13.2.3",
    statement=r"\langle w, \nabla L \rangle = 0, \quad \nabla L(c w) = \frac1c \nabla L(w), \quad \nabla^2 L(c w) = \frac{1}{c^2} \nabla^2 L(w),"
    r" \quad \nabla^2 L(w) w = -\nabla L(w)",
    budget=5.0,
)
def derivatives(key):
    """A layer-normalized net and a Rayleigh quotient, whose gradient at 45 degrees has norm one."""
    x, y = jax.random.normal(key, (6, 4)), jnp.arange(6) % 3
    model = normalization.scale_invariant_mlp(key, (6, 3))
    spectra = jax.random.normal(key, (2, 4))
    known = normalization.spherical_gradient_norm(rayleigh_loss_fn, jnp.ones(2), jnp.array([[0.0, 1.0]]))
    net = _derivatives(models.loss_fn(model.apply, "cross_entropy"), model.init(key, x), (x, y), key)
    quotient = _derivatives(rayleigh_loss_fn, jax.random.normal(jax.random.fold_in(key, 1), (4,)), spectra, key)
    named = {f"net: {name}": check for name, check in net.items()} | {f"quotient: {name}": check for name, check in quotient.items()}
    return named | {"known slope": equal(known, 1.0, rtol=EXACT)}


@derivatives.control("a loss that is not scale invariant")
def _(key):
    def loss_fn(w, batch):
        return rayleigh_loss_fn(w, batch) + 0.1 * jnp.sum(w**2)

    return _derivatives(loss_fn, jax.random.normal(key, (4,)), jax.random.normal(key, (2, 4)), key)


@claim(
    "NORM-6.curvature",
    title="The spectral norm of the Hessian falls with the square of the norm",
    source=f"{BOOK}, lemma 13.2.3",
    statement=r"\lVert \nabla^2 L(c w) \rVert_2 = c^{-2} \lVert \nabla^2 L(w) \rVert_2",
)
def curvature_of_scaled(key):
    """Normalized nets on a circle, by their dense Hessians."""
    family = circle_nets(key, 8)
    norm = jax.vmap(lambda problem, w: jnp.linalg.norm(jax.hessian(family.loss)(w, problem), 2), in_axes=(0, None))
    w = jax.random.normal(key, (2,))
    return {
        "halved": equal(4 * norm(family.problems, 2 * w), norm(family.problems, w), rtol=1e-8),
        "some curvature": at_least(norm(family.problems, w), 1e-6),
    }


@curvature_of_scaled.control("the first power of the norm", fails="every")
def _(key):
    family = circle_nets(key, 8)
    norm = jax.vmap(lambda problem, w: jnp.linalg.norm(jax.hessian(family.loss)(w, problem), 2), in_axes=(0, None))
    w = jax.random.normal(key, (2,))
    return equal(2 * norm(family.problems, 2 * w), norm(family.problems, w), rtol=1e-8)
