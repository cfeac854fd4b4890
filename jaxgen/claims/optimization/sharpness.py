"""Claims about the sharpness at a point and its computation (OPT-18)."""

import jax
import jax.numpy as jnp
import lineax as lx
import optax
from jax.flatten_util import ravel_pytree

from jaxgen import curvature, gradients
from jaxgen.claims import at_most, claim, converges, equal

NUM_MATVECS = 60


def _rotated(key, eigenvalues, coefficients=None):
    """A symmetric matrix with those eigenvalues and random eigenvectors, and a start, by default random, from its coefficients."""
    key_basis, key_start = jax.random.split(key)
    basis = jax.random.orthogonal(key_basis, len(eigenvalues))
    matrix = basis * eigenvalues @ basis.T
    coefficients = jax.random.normal(key_start, eigenvalues.shape) if coefficients is None else coefficients
    return lx.MatrixLinearOperator((matrix + matrix.T) / 2, lx.symmetric_tag), basis @ coefficients


def _spectrum(key):
    """-5, 3, 1 and 27 eigenvalues between -1 and 1."""
    return jnp.concatenate([jnp.array([-5.0, 3.0, 1.0]), jax.random.uniform(key, (27,), minval=-1.0)])


def _net(key):
    """Hessian of the squared loss of a tanh net with 100 parameters, as an operator and dense, and a random start."""
    keys = jax.random.split(key, 6)
    params = [jax.random.normal(k, (a, b)) / jnp.sqrt(a) for k, a, b in zip(keys, (5, 9, 5), (9, 5, 2), strict=False)]
    batch = jax.random.normal(keys[3], (40, 5)), jax.random.normal(keys[4], (40, 2))

    def loss_fn(params, batch):
        first, second, third = params
        return 0.5 * jnp.sum((jnp.tanh(jnp.tanh(batch[0] @ first) @ second) @ third - batch[1]) ** 2, axis=1)

    flat, unravel = ravel_pytree(params)
    dense = jax.hessian(lambda w: gradients.risk(loss_fn, unravel(w), batch))(flat)
    return curvature.hessian(loss_fn, params, batch), dense, optax.tree.random_like(keys[5], params)


def _largest_error(matrix, start, num_matvecs):
    """The eigenvalue of largest modulus of a dense matrix, and the theorem's bound on the power method's distance from it."""
    eigenvalues, basis = jnp.linalg.eigh(matrix)
    order = jnp.argsort(-jnp.abs(eigenvalues))
    eigenvalues, coefficients = eigenvalues[order], (basis.T @ start)[order]
    ratio = jnp.abs(eigenvalues[1] / eigenvalues[0])
    squared_tangent = jnp.sum(coefficients[1:] ** 2) / coefficients[0] ** 2
    return eigenvalues[0], jnp.max(jnp.abs(eigenvalues - eigenvalues[0])) * squared_tangent * ratio ** (2 * num_matvecs - 2)


@claim(
    "OPT-18",
    title="The power method finds the eigenvalue of largest modulus, with its sign",
    source="Arora et al., Theory of Deep Learning, section 2.6; Golub & Van Loan 2013, Theorem 8.2.1",
    statement=r"u_{t+1} = \frac{H u_t}{\|H u_t\|}: \quad |u_t^\top H u_t - \lambda_1| \le \max_i |\lambda_i - \lambda_1| \tan^2 \theta_0"
    r" \left| \frac{\lambda_2}{\lambda_1} \right|^{2 t}, \qquad \min_i |\lambda_i - u^\top H u| \le \| H u - (u^\top H u) u \|",
    core=True,
    budget=4.0,
)
def power_method(key):
    """Not the largest eigenvalue: -5 where the spectrum is -5, 3, 1. The net's Hessian is compared with its dense eigenvalues."""
    eigenvalues = _spectrum(key)
    operator, start = _rotated(key, eigenvalues)
    found = curvature.power_iteration(operator, start, num_matvecs=NUM_MATVECS)
    early = curvature.power_iteration(operator, start, num_matvecs=3)
    hessian, dense, net_start = _net(key)
    of_net = curvature.power_iteration(hessian, net_start, num_matvecs=200)
    of_dense, bound = _largest_error(dense, ravel_pytree(net_start)[0], 200)
    return {
        "eigenvalue": equal(found.value, -5.0, rtol=1e-8),
        "eigenvector": equal(operator.mv(found.vector), -5.0 * found.vector, rtol=0, atol=1e-8),
        "within the residual": at_most(jnp.min(jnp.abs(eigenvalues - early.value)), early.residual),
        "net": at_most(jnp.abs(of_net.value - of_dense), bound, slack=1e-10),
    }


@power_method.control("the largest eigenvalue")
def _(key):
    operator, start = _rotated(key, _spectrum(key))
    return equal(curvature.power_iteration(operator, start, num_matvecs=NUM_MATVECS).value, 3.0, rtol=1e-8)


@power_method.control("a tie of 5 and -5")
def _(key):
    operator, start = _rotated(key, jnp.array([5.0, -5.0, 1.0]))
    found = curvature.power_iteration(operator, start, num_matvecs=NUM_MATVECS)
    return equal(jnp.abs(found.value), 5.0, rtol=1e-8)


@claim(
    "OPT-18.tie",
    title="The residual tells a tie from an eigenvalue",
    source="Arora et al., Theory of Deep Learning, section 2.6",
    statement=r"$\lambda_1 = -\lambda_2$: $u^\top H u = \lambda_1 \cos 2\varphi$ and the residual is $\lambda_1 |\sin 2\varphi|$,"
    r" with $\varphi$ the angle at which the start lies between the two eigenvectors",
)
def residual_flags_a_tie(key):
    return _value_and_residual(key, jnp.array([5.0, -5.0, 1.0]))


def _value_and_residual(key, eigenvalues):
    """What the power method gives, against a start at a random angle from the eigenvectors of a tie of 5 and -5."""
    angle = jax.random.uniform(key, maxval=jnp.pi / 2)
    operator, start = _rotated(key, eigenvalues, jnp.array([jnp.cos(angle), jnp.sin(angle), 1.0]))
    found = curvature.power_iteration(operator, start, num_matvecs=NUM_MATVECS)
    return {
        "value": equal(found.value, 5 * jnp.cos(2 * angle), rtol=0, atol=1e-8),
        "residual": equal(found.residual, 5 * jnp.sin(2 * angle), rtol=0, atol=1e-8),
    }


@residual_flags_a_tie.control("no tie")
def _(key):
    return _value_and_residual(key, jnp.array([5.0, -4.0, 1.0]))


@claim(
    "OPT-18.rate",
    title="The power method's error falls with the square of the ratio of eigenvalues",
    source="Golub & Van Loan 2013, section 8.2.1",
    statement=r"|u_t^\top H u_t - \lambda_1| \sim \left( \frac{\lambda_2}{\lambda_1} \right)^{2 t}",
)
def rate_of_the_power_method(key):
    errors, steps = _errors(key)
    return converges(errors, order=2.0, steps=0.6**steps, tolerance=0.1)


def _errors(key):
    """Errors at some iterates, from a start that has the same coefficient at every eigenvector."""
    operator, start = _rotated(key, _spectrum(key), jnp.ones(30))
    steps = (12, 14, 16, 18)
    found = [curvature.power_iteration(operator, start, num_matvecs=t + 1).value for t in steps]
    return jnp.abs(jnp.stack(found) + 5.0), jnp.array(steps)


@rate_of_the_power_method.control("the ratio itself")
def _(key):
    errors, steps = _errors(key)
    return converges(errors, order=1.0, steps=0.6**steps, tolerance=0.1)
