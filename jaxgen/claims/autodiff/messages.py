"""Claims about the messages of backpropagation: matrices, tied weights, recurrences (AD-3 to AD-5)."""

import jax
import jax.numpy as jnp

from jaxgen.claims import claim, equal

ROUNDING = 1e-12
SHAPE = (3, 4, 5)


def _matrices(key, shape_w, shape_z):
    """W, Z and a message of the shape of W Z, all standard normal."""
    keys = jax.random.split(key, 3)
    return (jax.random.normal(k, shape) for k, shape in zip(keys, (shape_w, shape_z, (shape_w[0], shape_z[1])), strict=True))


@claim(
    "AD-3",
    title="Messages between matrices are vector-Jacobian products",
    source="Arora et al., Theory of Deep Learning, section 4.3",
    statement=r"U = W Z: \quad \frac{\partial U}{\partial Z}[S] = W^\top S, \qquad"
    r" \mathbb{R}^{d_1 \times d_3} \to \mathbb{R}^{d_2 \times d_3}, \text{ a matrix of size } d_2 d_3 \times d_1 d_3",
    core=True,
)
def matrix_messages(key):
    """For W of d1 x d2 and Z of d2 x d3; the source has their shapes, and the message's domain and range, the wrong way round."""
    d1, d2, d3 = SHAPE
    w, z, message = _matrices(key, (d1, d2), (d2, d3))
    pulled = jax.vjp(lambda z: w @ z, z)[1](message)[0]
    matrix = jax.jacobian(lambda z: (w @ z).ravel())(z).reshape(d1 * d3, d2 * d3).T
    return {
        "message": equal(pulled, w.T @ message, rtol=ROUNDING, atol=ROUNDING),
        "as a matrix": equal(matrix @ message.ravel(), pulled.ravel(), rtol=ROUNDING, atol=ROUNDING),
        "size": equal(jnp.array(matrix.shape), jnp.array([20, 15]), rtol=0),
    }


@matrix_messages.control("shapes as printed: W of d2 x d3, Z of d1 x d2")
def _(key):
    d1, d2, d3 = SHAPE
    return equal(_conform((d2, d3), (d1, d2)), 1.0, rtol=0)


def _conform(shape_w, shape_z):
    """1 if matrices of these shapes can be multiplied, 0 if not."""
    try:
        jax.eval_shape(jnp.matmul, jnp.zeros(shape_w), jnp.zeros(shape_z))
    except TypeError:
        return 0.0
    return 1.0


@matrix_messages.control("S W^T, the message of Z W, for square matrices")
def _(key):
    w, z, message = _matrices(key, (4, 4), (4, 4))
    return equal(jax.vjp(lambda z: w @ z, z)[1](message)[0], message @ w.T, rtol=ROUNDING, atol=ROUNDING)


def _kernel_gradients(key):
    """Gradients of a loss of a convolution: in its kernel, and in the rows of the band matrix with a kernel for each position."""
    kernel, signal, target = (jax.random.normal(k, (size,)) for k, size in zip(jax.random.split(key, 3), (5, 20, 16), strict=True))
    windows = signal[jnp.arange(16)[:, None] + jnp.arange(5)]

    def loss(outputs):
        return jnp.sum(jnp.tanh(outputs - target) ** 2)

    tied = jax.grad(lambda kernel: loss(jnp.correlate(signal, kernel, mode="valid")))(kernel)
    untied = jax.grad(lambda band: loss(jnp.sum(band * windows, axis=1)))(jnp.tile(kernel, (16, 1)))
    return tied, untied


@claim(
    "AD-4",
    title="The gradient of a shared weight is the sum over its occurrences",
    source="Arora et al., Theory of Deep Learning, section 4.4",
    statement=r"a = b = u \; \Rightarrow \; \frac{\partial f}{\partial u} = \frac{\partial f}{\partial a} + \frac{\partial f}{\partial b}",
    core=True,
)
def tied_weights(key):
    tied, untied = _kernel_gradients(key)
    u = jax.random.normal(key)
    return {
        "convolution": equal(tied, untied.sum(axis=0), rtol=ROUNDING, atol=ROUNDING),
        "product": equal(jax.grad(lambda u: u * u)(u), sum(jax.grad(lambda a, b: a * b, argnums=(0, 1))(u, u)), rtol=ROUNDING),
        "known value": equal(jax.grad(lambda u: u * u)(u), 2 * u, rtol=ROUNDING),
    }


@tied_weights.control("mean over the occurrences in place of the sum")
def _(key):
    tied, untied = _kernel_gradients(key)
    return equal(tied, untied.mean(axis=0), rtol=ROUNDING, atol=ROUNDING)


RHO = (0.9, 1.0, 1.1)


def _gradient_norms(key, num_steps, *, orthogonal=True):
    """|d(c x_T) / d x_0| of x_{t+1} = rho Q x_t for each rho, and |c|."""
    key_q, key_c, key_x = jax.random.split(key, 3)
    matrix = jax.random.orthogonal(key_q, 20) if orthogonal else jax.random.normal(key_q, (20, 20)) / jnp.sqrt(20)
    c, start = jax.random.normal(key_c, (20,)), jax.random.normal(key_x, (20,))

    def readout(start, rho):
        final, _ = jax.lax.scan(lambda x, _: (rho * matrix @ x, None), start, length=num_steps)
        return c @ final

    norms = jax.vmap(lambda rho: jnp.linalg.norm(jax.grad(readout)(start, rho)))(jnp.array(RHO))
    return norms, jnp.linalg.norm(c)


@claim(
    "AD-5",
    title="Gradients through time explode or vanish",
    source="Arora et al., Theory of Deep Learning, section 4.4",
    statement=r"x_{t+1} = \rho Q x_t, \; Q^\top Q = I: \quad \left\| \frac{\partial (c^\top x_T)}{\partial x_0} \right\| = \rho^T \|c\|",
    core=True,
)
def gradients_through_time(key):
    """The source says it in words; for a linear recurrence it is an equation."""
    (early, _), (late, length) = (_gradient_norms(key, num_steps) for num_steps in (10, 50))
    return {
        "10 steps": equal(early, jnp.array(RHO) ** 10 * length, rtol=ROUNDING),
        "50 steps": equal(late, jnp.array(RHO) ** 50 * length, rtol=ROUNDING),
        "known values": equal(late / length, jnp.array([0.0051537752, 1.0, 117.3908529]), rtol=1e-8),
    }


@gradients_through_time.control("a recurrence that is not orthogonal")
def _(key):
    norms, length = _gradient_norms(key, 50, orthogonal=False)
    return equal(norms, jnp.array(RHO) ** 50 * length, rtol=ROUNDING)
