"""Claims about what gradients and Hessian-vector products cost, and that they are right (AD-6)."""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxgen import curvature, gradients
from jaxgen.claims import at_most, claim, converges, equal

NUM_INPUTS = 8
NUM_EXAMPLES = 32


def _loss_fn(params, batch):
    """Half squared error of a tanh net without biases."""
    *hidden, last = params
    h = batch[0]
    for weight in hidden:
        h = jnp.tanh(h @ weight)
    return 0.5 * ((h @ last)[:, 0] - batch[1]) ** 2


def _shapes(width):
    return [(NUM_INPUTS, width), (width, width), (width, 1)]


def _problem(key, width=8):
    """Parameters, a batch, and two directions."""
    keys = jax.random.split(key, 5)

    def draw(key, scale=1.0):
        return [scale * jax.random.normal(k, shape) for k, shape in zip(jax.random.split(key, 3), _shapes(width), strict=True)]

    batch = jax.random.normal(keys[0], (NUM_EXAMPLES, NUM_INPUTS)), jax.random.normal(keys[1], (NUM_EXAMPLES,))
    return draw(keys[2], 0.5), batch, draw(keys[3]), draw(keys[4])


def _slope(loss_fn, batch, vector):
    """w -> <grad L(w), v>."""
    return lambda params: optax.tree.vdot(gradients.value_and_gradient(loss_fn, params, batch)[1], vector)


def _difference(loss_fn, params, batch, vector, step):
    """(grad L(w + h v) - grad L(w - h v)) / (2 h)."""
    ahead, behind = (gradients.value_and_gradient(loss_fn, optax.tree.add_scale(params, sign * step, vector), batch)[1] for sign in (1, -1))
    return optax.tree.scale(0.5 / step, optax.tree.sub(ahead, behind))


@claim(
    "AD-6",
    title="A Hessian-vector product is the derivative of a gradient's inner product",
    source="Werbos 1988; Pearlmutter 1994; Arora et al., Theory of Deep Learning, section 4.4.1",
    statement=r"\nabla^2 f(z) v = \nabla_z \langle \nabla f(z), v \rangle",
    core=True,
)
def hessian_vector_product(key):
    params, batch, vector, other = _problem(key)
    found = curvature.hessian_vector_product(_loss_fn, params, batch, vector)
    flat, unravel = ravel_pytree(params)
    dense = jax.hessian(lambda w: gradients.risk(_loss_fn, unravel(w), batch))(flat)
    swapped = optax.tree.vdot(vector, curvature.hessian_vector_product(_loss_fn, params, batch, other))
    return {
        "dense Hessian": equal(ravel_pytree(found)[0], dense @ ravel_pytree(vector)[0], rtol=1e-10, atol=1e-10),
        "reverse over reverse": equal(found, jax.grad(_slope(_loss_fn, batch, vector))(params), rtol=1e-12, atol=1e-12),
        "symmetric": equal(optax.tree.vdot(other, found), swapped, rtol=1e-10, atol=1e-10),
        "differences of gradients": equal(found, _difference(_loss_fn, params, batch, vector, 1e-5), rtol=1e-6, atol=1e-6),
        "quadratic": equal(curvature.hessian_vector_product(_quadratic, vector[1], batch[0], other[1]), _second_moment(batch) @ other[1], rtol=1e-12),
    }


def _quadratic(w, x):
    return 0.5 * jnp.sum((x @ w) ** 2, axis=1)


def _second_moment(batch):
    return batch[0].T @ batch[0] / NUM_EXAMPLES


@hessian_vector_product.control("a kink at the point: the product does not see it, differences do")
def _(key):
    params, batch, vector, _ = _problem(key)

    def loss_fn(w, x):
        return jax.nn.relu(x[:, 0] * w[0, 0])

    at_kink = jnp.zeros_like(params[1])
    found = curvature.hessian_vector_product(loss_fn, at_kink, batch[0], vector[1])
    return equal(found, _difference(loss_fn, at_kink, batch[0], vector[1], 1e-5), rtol=1e-6, atol=1e-6)


@hessian_vector_product.control("v that moves with z")
def _(key):
    params, batch, vector, _ = _problem(key)
    moving = jax.grad(lambda params: _slope(_loss_fn, batch, optax.tree.mul(vector, params))(params))(params)
    product = curvature.hessian_vector_product(_loss_fn, params, batch, optax.tree.mul(vector, params))
    return equal(product, moving, rtol=1e-12, atol=1e-12)


def _operations(fn, *args):
    """Floating-point operations of the compiled program."""
    return (jax.jit(fn).lower(*args).compile().cost_analysis() or {})["flops"]


def _relative_costs(width):
    """Operations of the gradient and of a Hessian-vector product, over the loss's."""
    params = [jax.ShapeDtypeStruct(shape, float) for shape in _shapes(width)]
    batch = jax.ShapeDtypeStruct((NUM_EXAMPLES, NUM_INPUTS), float), jax.ShapeDtypeStruct((NUM_EXAMPLES,), float)
    loss = _operations(lambda w, b: gradients.risk(_loss_fn, w, b), params, batch)
    gradient = _operations(lambda w, b: gradients.value_and_gradient(_loss_fn, w, b), params, batch)
    product = _operations(lambda w, b, v: curvature.hessian_vector_product(_loss_fn, w, b, v), params, batch, params)
    return gradient / loss, product / loss


def _relative_cost_of_hessian(width):
    """Number of parameters, and operations of the dense Hessian over the loss's."""
    zeros = [jnp.zeros(shape) for shape in _shapes(width)]
    batch = jnp.zeros((NUM_EXAMPLES, NUM_INPUTS)), jnp.zeros(NUM_EXAMPLES)
    flat, unravel = ravel_pytree(zeros)

    def loss(w):
        return gradients.risk(_loss_fn, unravel(w), batch)

    return flat.size, _operations(jax.hessian(loss), flat) / _operations(loss, flat)


@claim(
    "AD-6.cost",
    title="Gradients and Hessian-vector products cost a constant number of function values",
    source="Arora et al., Theory of Deep Learning, Claim 4.4.1; Baur & Strassen 1983",
    statement=r"$\mathrm{cost}(\nabla f) \le 4 \, \mathrm{cost}(f)$, $\mathrm{cost}(\nabla^2 f \, v) \le 10 \, \mathrm{cost}(f)$"
    r" for tanh nets of $400$ to $67\,840$ parameters",
    jittable=False,
    num_seeds=1,
    max_seeds=1,
    budget=6.0,
)
def costs(key):
    """Operations counted in the compiled programs; nothing is random."""
    gradient, product = zip(*[_relative_costs(width) for width in (16, 64, 256)], strict=True)
    return {"gradient": at_most(jnp.array(gradient), 4.0), "Hessian-vector product": at_most(jnp.array(product), 10.0)}


@costs.control("the Hessian itself, whose cost grows with the number of parameters")
def _(key):
    return at_most(jnp.array([_relative_cost_of_hessian(width)[1] for width in (8, 16)]), 10.0)


def _grows_linearly(sizes, found):
    return converges(jnp.array(found), order=1.0, steps=jnp.array(sizes, float), tolerance=0.1)


@claim(
    "AD-6.hessian",
    title="The dense Hessian costs as many function values as there are parameters",
    source="Arora et al., Theory of Deep Learning, section 4.4.1",
    statement=r"\mathrm{cost}(\nabla^2 f) / \mathrm{cost}(f) \sim P",
    jittable=False,
    num_seeds=1,
    max_seeds=1,
    budget=6.0,
)
def cost_of_the_hessian(key):
    sizes, found = zip(*[_relative_cost_of_hessian(width) for width in (8, 16, 32)], strict=True)
    return _grows_linearly(sizes, found)


@cost_of_the_hessian.control("a Hessian-vector product")
def _(key):
    sizes = [NUM_INPUTS * width + width**2 + width for width in (8, 16, 32)]
    return _grows_linearly(sizes, [_relative_costs(width)[1] for width in (8, 16, 32)])
