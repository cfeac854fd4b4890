"""Claims about norms of nets and the complexities that they bound: layers, paths, Fisher-Rao (GEN-38, GEN-39, GEN-40)."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen import bounds, curvature, models
from jaxgen.claims import at_least, at_most, claim, equal
from jaxgen.claims.generalization._nets import net, normal_net, rescaled_units

NUM_EXAMPLES = 16
EXACT = 1e-10


def _complexities(params, x):
    """Products of norms and Bartlett's complexity about zero."""
    norms = bounds.layer_norms(net, params, x)
    bartlett = bounds.bartlett_complexity(norms["spectral"], norms["two_one"])
    return jnp.stack([jnp.prod(norms["spectral"]), jnp.prod(norms["frobenius"]), jnp.sum(norms["stable_rank"]), bartlett])


def _square_size(params):
    return jnp.sum(jnp.square(ravel_pytree(params)[0]))


@claim(
    "GEN-38",
    title="Products of norms and Bartlett's complexity do not change where layers are rescaled",
    source="Bartlett, Foster & Telgarsky 2017; Neyshabur, Tomioka & Srebro 2015",
    statement=r"\prod \lVert A_i \rVert_2, \; \prod \lVert A_i \rVert_F, \; \sum \frac{\lVert A_i \rVert_F^2}{\lVert A_i \rVert_2^2}, \;"
    r" R_A = \prod \lVert A_i \rVert_2 \Big(\sum \big(\tfrac{\lVert A_i^\top \rVert_{2,1}}{\lVert A_i \rVert_2}\big)^{2/3}\Big)^{3/2}",
    core=True,
)
def layer_norms(key):
    """With d orthogonal layers of width h: 1, h^(d/2), d h and d^(3/2) h."""
    first, second, third = normal_net(key, (4, 6, 5, 3))
    x = jnp.ones((1, 4))
    found = _complexities((first, second, third), x)
    orthogonal = tuple(jnp.linalg.qr(jax.random.normal(k, (4, 4)))[0] for k in jax.random.split(key, 3))
    return {
        "invariance": equal(_complexities((4 * first, second / 8, 2 * third), x), found, rtol=EXACT),
        "orthogonal": equal(_complexities(orthogonal, x), jnp.array([1.0, 8.0, 12.0, 3**1.5 * 4]), rtol=EXACT),
    }


@layer_norms.control("the squared length of all parameters")
def _(key):
    first, second, third = normal_net(key, (4, 6, 5, 3))
    return equal(_square_size((4 * first, second / 8, 2 * third)), _square_size((first, second, third)), rtol=EXACT)


@layer_norms.control("sums of columns of A in place of rows")
def _(key):
    """The transposed (2,1) norm is another number, which for one outer product u v^T is |u|_1 |v|_2 and not |u|_2 |v|_1."""
    u, v = jax.random.normal(key, (2, 5))
    norms = bounds.layer_norms(lambda params, x: x @ params, jnp.outer(v, u), jnp.ones((1, 5)))
    return equal(norms["two_one"][0], jnp.linalg.norm(u) * jnp.sum(jnp.abs(v)), rtol=EXACT)


def _convolutional(kernel, x):
    return jax.lax.conv_general_dilated(x, kernel, (1, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@claim(
    "GEN-38.convolution",
    title="The norms of a convolution are those of the matrix that it is",
    source="Sedghi, Gupta & Long 2019; Jiang et al. 2020",
    statement=r"\lVert A \rVert_2, \; \lVert A \rVert_F, \; \lVert A^\top \rVert_{2,1} \text{ of the dense matrix of a strided, padded convolution}",
    num_seeds=8,
    budget=4.0,
)
def convolutions(key):
    found, dense = _convolution_norms(key, "operator")
    return equal(found, dense, rtol=1e-8)


def _convolution_norms(key, conv_norm):
    kernel, x = jax.random.normal(key, (3, 3, 2, 3)), jnp.zeros((1, 4, 5, 2))
    norms = bounds.layer_norms(_convolutional, kernel, x, conv_norm=conv_norm)
    dense = jax.jacobian(lambda v: _convolutional(kernel, v.reshape(x.shape)).ravel())(x.ravel())
    rows = jnp.linalg.norm(dense, axis=1)
    expected = jnp.stack([jnp.linalg.norm(dense, 2), jnp.linalg.norm(rows), rows.sum()])
    return jnp.stack([norms[name][0] for name in ("spectral", "frobenius", "two_one")]), expected


@convolutions.control("the kernel as a matrix with a row for each output channel")
def _(key):
    found, dense = _convolution_norms(key, "reshape")
    return equal(found, dense, rtol=0.1)


def _signs(key, num_draws):
    return jax.random.rademacher(key, (num_draws, NUM_EXAMPLES), float)


def _ascent(key, x, signs, num_steps=100, width=8):
    """Suprema of mean sign f(x) over two-layer nets with Frobenius norms of one, found by projected ascent: a lower estimate of each."""

    def correlation(params, signs):
        return signs @ net(params, x)[:, 0] / NUM_EXAMPLES

    def project(params):
        return jax.tree.map(lambda leaf: leaf / jnp.maximum(jnp.linalg.norm(leaf), 1e-12), params)

    def supremum(key, signs):
        def step(params, _):
            return project(jax.tree.map(lambda leaf, slope: leaf + slope, params, jax.grad(correlation)(params, signs))), None

        start = project(normal_net(key, (x.shape[1], width, 1)))
        return jnp.maximum(correlation(jax.lax.scan(step, start, None, length=num_steps)[0], signs), 0)

    return jax.vmap(supremum)(jax.random.split(key, len(signs)), signs)


@claim(
    "GEN-38.golowich",
    title="Rademacher complexity of nets with bounded Frobenius norms",
    source="Golowich, Rakhlin & Shamir 2018, theorem 1",
    statement=r"\hat{\mathcal R} \le \frac{B (\sqrt{2 d \ln 2} + 1) \prod_i M_F(i)}{\sqrt m}",
    budget=3.0,
)
def golowich(key):
    """Against what ascent finds over two-layer nets, and the linear class on orthogonal inputs of norm 10, which has exactly 10 / sqrt m."""
    x = jax.random.normal(key, (NUM_EXAMPLES, 5))
    largest = jnp.linalg.norm(x, axis=1).max()
    found = _ascent(key, x, _signs(jax.random.fold_in(key, 1), 32)).mean()
    return {
        "two layers": at_most(found, bounds.golowich_rademacher(1.0, largest, 2, NUM_EXAMPLES)),
        "linear": at_most(_linear(10.0), bounds.golowich_rademacher(1.0, 10.0, 1, NUM_EXAMPLES)),
        "known": equal(bounds.golowich_rademacher(1.0, 1.0, 2, 100), 0.266511, rtol=2e-6),
    }


def _linear(length):
    """Exact complexity of the linear functions of norm one on orthogonal inputs: whatever the signs, |sum s_i x_i| / m is the same."""
    return jnp.linalg.norm(length * jnp.eye(NUM_EXAMPLES).sum(axis=0)) / NUM_EXAMPLES


@golowich.control("inputs of norm 10 taken to have norm one")
def _(key):
    return at_most(_linear(10.0), bounds.golowich_rademacher(1.0, 1.0, 1, NUM_EXAMPLES))


@golowich.control("one over m in place of its root")
def _(key):
    return at_most(_linear(10.0), bounds.golowich_rademacher(1.0, 10.0, 1, NUM_EXAMPLES) / jnp.sqrt(NUM_EXAMPLES))


@claim(
    "GEN-39",
    title="One forward pass sums over all paths, and hidden units can be rescaled",
    source="Neyshabur, Tomioka & Srebro 2015",
    statement=r"\phi_p^p = \sum_{\text{paths}} \prod |w|^p = \sum_k f_{|w|^p}(1, \dots, 1)_k",
    core=True,
)
def path_norm(key):
    """The net 4-6-5-3 against all 360 paths; of ones, phi_p^p is the product of the widths."""
    params, x, checks = normal_net(key, (4, 6, 5, 3)), jnp.ones((1, 4)), {}
    for p in (1.0, 2.0, 3.0):
        powers = [jnp.abs(matrix) ** p for matrix in params]
        checks[f"p = {p:g}"] = equal(bounds.path_norm(net, params, x, p=p) ** p, jnp.einsum("ij,jk,kl->ijkl", *powers).sum(), rtol=EXACT)
    scaled = rescaled_units(params, jnp.geomspace(0.1, 10.0, 6))
    checks["invariance"] = equal(bounds.path_norm(net, scaled, x), bounds.path_norm(net, params, x), rtol=EXACT)
    ones = jax.tree.map(jnp.ones_like, params)
    return checks | {"ones": equal(bounds.path_norm(net, ones, x) ** 2, 360.0, rtol=EXACT)}


@path_norm.control("weights with their sign")
def _(key):
    params = normal_net(key, (4, 6, 5, 3))
    return equal(net(params, jnp.ones((1, 4))).sum(), jnp.einsum("ij,jk,kl->ijkl", *(jnp.abs(matrix) for matrix in params)).sum(), rtol=EXACT)


@path_norm.control("the product of spectral norms, with hidden units rescaled")
def _(key):
    params, x = normal_net(key, (4, 6, 5, 3)), jnp.ones((1, 4))
    scaled = rescaled_units(params, jnp.geomspace(0.1, 10.0, 6))
    left, right = (jnp.prod(bounds.layer_norms(net, p, x)["spectral"]) for p in (scaled, params))
    return equal(left, right, rtol=EXACT)


def _row_norms(params):
    """The product over layers of the largest l1 norm of a unit's incoming weights."""
    return jnp.prod(jnp.stack([jnp.abs(matrix).sum(axis=0).max() for matrix in params]))


@claim(
    "GEN-39.minimum",
    title="The l1 path norm is the least product of row norms over all rescalings of hidden units",
    source="Neyshabur, Tomioka & Srebro 2015, section 4",
    statement=r"\phi_1 = \min_{\text{rescalings}} \prod_i \lVert A_i \rVert_{1,\infty} \text{ for one output}",
)
def path_norm_is_a_minimum(key):
    """It is attained where every hidden unit's incoming weights have l1 norm one, layer by layer."""
    first, second, third = normal_net(key, (4, 6, 5, 1))
    x = jnp.ones((1, 4))
    value = bounds.path_norm(net, (first, second, third), x, p=1)
    scales = 1 / jnp.abs(first).sum(axis=0)
    best = rescaled_units((first, second, third), scales)
    scales = 1 / jnp.abs(best[1]).sum(axis=0)
    best = (best[0], *rescaled_units(best[1:], scales))
    random = rescaled_units((first, second, third), jnp.exp(jax.random.normal(key, (6,))))
    return {"attained": equal(_row_norms(best), value, rtol=EXACT), "elsewhere": at_most(value, _row_norms(random))}


@path_norm_is_a_minimum.control("the product as the weights are")
def _(key):
    params = normal_net(key, (4, 6, 5, 1))
    return equal(_row_norms(params), bounds.path_norm(net, params, jnp.ones((1, 4)), p=1), rtol=EXACT)


@claim(
    "GEN-39.rademacher",
    title="Rademacher complexity of nets with bounded l1 path norm",
    source="Golowich, Rakhlin & Shamir 2018, theorem 2",
    statement=r"\hat{\mathcal R} \le 2 B_\infty \phi_1 \sqrt{\frac{d + 1 + \ln n_{\text{in}}}{m}}",
)
def path_norm_complexity(key):
    """For one layer the class is the l1 ball, whose supremum is the largest coordinate of sum s_i x_i / m; over 256 draws of signs."""
    found, num_inputs = _l1_ball(key)
    return at_most(found, bounds.path_norm_rademacher(1.0, 10.0, 1, num_inputs, NUM_EXAMPLES))


def _l1_ball(key, num_inputs=64):
    """Mean supremum of the l1 ball on inputs +-10."""
    x = 10 * jax.random.rademacher(key, (NUM_EXAMPLES, num_inputs), float)
    sums = _signs(jax.random.fold_in(key, 1), 256) @ x / NUM_EXAMPLES
    return jnp.abs(sums).max(axis=1).mean(), num_inputs


@path_norm_complexity.control("inputs taken to be at most one")
def _(key):
    found, num_inputs = _l1_ball(key)
    return at_most(found, bounds.path_norm_rademacher(1.0, 1.0, 1, num_inputs, NUM_EXAMPLES))


@path_norm_complexity.control("without the logarithm of the number of inputs, the depth and the factor 2")
def _(key):
    found, _ = _l1_ball(key)
    return at_most(found, 10 / jnp.sqrt(NUM_EXAMPLES))


def _biased(params, x):
    return jax.nn.relu(x @ params["a"]) @ params["b"] + params["c"]


def _fisher_rao(apply_fn, params, x, y):
    """D^2 E <grad_f l, f>^2 for D = 2, and the squared norm itself."""
    outputs = apply_fn(params, x)
    slopes = jax.grad(lambda outputs: models.softmax_cross_entropy(outputs, y).sum())(outputs)
    norm = bounds.fisher_rao_norm(models.loss_fn(apply_fn, "cross_entropy"), params, (x, y))
    return 4 * jnp.mean(jnp.sum(slopes * outputs, axis=1) ** 2), norm**2


@claim(
    "GEN-40",
    title="The Fisher-Rao norm of a bias-free ReLU net is seen at its outputs",
    source="Liang, Poggio, Rakhlin & Stokes 2019, theorem 3.1",
    statement=r"\theta^\top \mathbb{E}[\nabla \ell \nabla \ell^\top] \theta = D^2 \, \mathbb{E} \langle \nabla_f \ell, f \rangle^2",
)
def fisher_rao(key):
    """A bias of the first layer would do no harm: f is homogeneous of degree D in it and all weights. Not so one of a later layer.

    Not changed by rescaled hidden units; for f = <w, x> and half squared errors it is E (f - y)^2 f^2.
    """
    params, x = normal_net(key, (4, 6, 3)), jax.random.normal(key, (NUM_EXAMPLES, 4))
    y = jax.random.randint(key, (NUM_EXAMPLES,), 0, 3)
    outputs, norm = _fisher_rao(net, params, x, y)
    _, other = _fisher_rao(net, rescaled_units(params, jnp.geomspace(0.1, 10.0, 6)), x, y)
    targets, w = jax.random.normal(key, (NUM_EXAMPLES,)), jnp.ones(4)
    linear = bounds.fisher_rao_norm(lambda w, batch: 0.5 * (batch[0] @ w - batch[1]) ** 2, w, (x, targets))
    return {
        "outputs": equal(norm, outputs, rtol=EXACT),
        "invariance": equal(other, norm, rtol=EXACT),
        "linear": equal(linear**2, jnp.mean((x @ w - targets) ** 2 * (x @ w) ** 2), rtol=EXACT),
    }


@fisher_rao.control("biases of the outputs")
def _(key):
    first, last = normal_net(key, (4, 6, 3))
    x, y = jax.random.normal(key, (NUM_EXAMPLES, 4)), jax.random.randint(key, (NUM_EXAMPLES,), 0, 3)
    outputs, norm = _fisher_rao(_biased, {"a": first, "b": last, "c": jnp.arange(3.0)}, x, y)
    return equal(norm, outputs, rtol=EXACT)


@claim(
    "GEN-40.model",
    title="With labels drawn from the net, the Fisher-Rao norm is a form of the Gauss-Newton matrix",
    source="Liang, Poggio, Rakhlin & Stokes 2019; Martens 2020",
    statement=r"\sum_c p_c(x) \langle \nabla \ell_c, \theta \rangle^2 = \theta^\top J^\top (\operatorname{diag} p - p p^\top) J \theta",
)
def model_fisher(key):
    form, gauss_newton = _model_forms(key, jax.nn.softmax)
    return equal(form, gauss_newton, rtol=EXACT)


def _model_forms(key, probabilities):
    """Squared Fisher-Rao norms for every label, weighted by probabilities of the labels, and the Gauss-Newton form."""
    params, x = normal_net(key, (4, 6, 3)), jax.random.normal(key, (NUM_EXAMPLES, 4))
    y = jnp.zeros(NUM_EXAMPLES, int)
    loss_fn = models.loss_fn(net, "cross_entropy")
    weights = probabilities(net(params, x))

    def of_label(c):
        norms = jax.vmap(lambda x: bounds.fisher_rao_norm(loss_fn, params, (x[None], jnp.full(1, c))))(x)
        return weights[:, c] * norms**2

    operator = curvature.gauss_newton(net, models.softmax_cross_entropy, params, x, y)
    flat, products = ravel_pytree(params)[0], ravel_pytree(operator.mv(params))[0]
    return jnp.mean(sum(of_label(c) for c in range(3))), flat @ products


@model_fisher.control("labels drawn uniformly")
def _(key):
    form, gauss_newton = _model_forms(key, lambda outputs: jnp.full_like(outputs, 1 / 3))
    return at_least(-jnp.abs(form - gauss_newton), -1e-6 * gauss_newton)
