"""Claims about nets to first order in their parameters, and products with their kernel that need no matrix (NTK-21)."""

import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree

from jaxgen import curvature, models, ntk, optimization
from jaxgen.claims import at_most, claim, converges, equal, equal_within

NET = models.mlp((24, 2), activation="tanh", parametrization="ntk")
N, M = 6, 4
DISTANCES = (1e-2, 1e-3, 1e-4)


def _net(key):
    """Parameters of a tanh net as a vector, its outputs as a function of them and of inputs, training and test inputs, and labels."""
    keys = jax.random.split(key, 4)
    x, z = jax.random.normal(keys[0], (N, 4)), jax.random.normal(keys[1], (M, 4))
    vector, restore = ravel_pytree(NET.init(keys[2], x))
    return vector, lambda v, x: NET.apply(restore(v), x), x, z, jax.random.normal(keys[3], (N, 2))


def _errors(apply_fn, expansion, origin, direction, x):
    """Distance of a net from an affine one, at each distance from the origin of the first."""
    moved = [origin + distance * direction for distance in DISTANCES]
    return jnp.stack([jnp.abs(apply_fn(v, x) - expansion(v, x)).max() for v in moved])


def _second_order(errors):
    return converges(errors, order=2.0, steps=jnp.array(DISTANCES), tolerance=0.15)


@claim(
    "NTK-21",
    title="A smooth net is its linearization up to the square of the distance",
    source="Lee et al. 2019",
    statement=r"f^{lin}_\theta(x) = f_{\theta_0}(x) + J(x) (\theta - \theta_0), \quad"
    r" f_\theta - f^{lin}_\theta = O(\lVert \theta - \theta_0 \rVert^2)",
    core=True,
    budget=2.0,
)
def linearization(key):
    """Of a model that is linear it is the model."""
    vector, apply, x, z, _ = _net(key)
    direction = jax.random.normal(jax.random.fold_in(key, 1), vector.shape)
    w, v = jax.random.normal(key, (2, 4))
    return {
        "order": _second_order(_errors(apply, ntk.linearize(apply, vector), vector, direction, x)),
        "linear model": equal(ntk.linearize(lambda w, x: x @ w, w)(v, z), z @ v, rtol=1e-12, atol=1e-12),
    }


@linearization.control("linearized elsewhere")
def _(key):
    vector, apply, x, _, _ = _net(key)
    direction = jax.random.normal(jax.random.fold_in(key, 1), vector.shape)
    return _second_order(_errors(apply, ntk.linearize(apply, vector + 0.1), vector, direction, x))


@linearization.control("a ReLU net at its kinks")
def _(key):
    direction, x = jax.random.normal(key, (20, 4)), jax.random.normal(jax.random.fold_in(key, 1), (N, 4))

    def apply(w, x):
        return jax.nn.relu(x @ w.T).sum(axis=1)

    origin = jnp.zeros((20, 4))
    return _second_order(_errors(apply, ntk.linearize(apply, origin), origin, direction, x))


@claim(
    "NTK-21.limit",
    title="Gradient descent takes a linearized net to the nearest parameters that fit, at the distance that the kernel says",
    source="Lee et al. 2019; derived",
    statement=r"\theta_\infty - \theta_0 = J^\top \Theta^{-1} (y - u_0), \qquad"
    r" \lVert \theta_\infty - \theta_0 \rVert^2 = (y - u_0)^\top \Theta^{-1} (y - u_0)",
    budget=5.0,
)
def nearest_parameters(key):
    """A step of the flow and the products J (J^T v) too, and at test points the prediction by the kernel."""
    vector, apply, x, z, y = _net(key)
    affine, operator = ntk.linearize(apply, vector), ntk.operator(apply, vector, x)
    rest = y - apply(vector, x)
    kernel, cross = ntk.empirical(apply, vector, x), ntk.empirical(apply, vector, z, x)
    alpha = jnp.linalg.solve(operator.as_matrix(), rest.ravel()).reshape(rest.shape)
    step = jax.vjp(lambda v: apply(v, x), vector)[1](alpha)[0]
    rows = jax.jacrev(lambda v: affine(v, x))(vector).reshape(rest.size, -1)
    predicted = ntk.predict(kernel, y, cross, apply(vector, x), apply(vector, z))
    return {
        "limit": equal(optimization.gd_limit(rows, rest.ravel(), jnp.zeros_like(vector)), step, rtol=1e-9, atol=1e-9),
        "distance": equal(step @ step, jnp.sum(rest * alpha), rtol=1e-9),
        "fits": equal(affine(vector + step, x), y, rtol=1e-9, atol=1e-9),
        "elsewhere": equal(affine(vector + step, z), predicted, rtol=1e-8, atol=1e-8),
        "products": equal(operator.mv(rest), jnp.einsum("nmcd,md->nc", kernel, rest), rtol=1e-9, atol=1e-9),
        "velocity": equal(ntk.velocity(apply, vector, x, -rest, z), jnp.einsum("nmcd,md->nc", cross, rest), rtol=1e-9, atol=1e-9),
    }


@nearest_parameters.control("the outputs at the start forgotten")
def _(key):
    vector, apply, x, _, y = _net(key)
    affine, operator = ntk.linearize(apply, vector), ntk.operator(apply, vector, x)
    alpha = jnp.linalg.solve(operator.as_matrix(), y.ravel()).reshape(y.shape)
    step = jax.vjp(lambda v: apply(v, x), vector)[1](alpha)[0]
    return equal(affine(vector + step, x), y, rtol=1e-9, atol=1e-9)


def _ridge_problem(key):
    """Kernel of 20 examples and two outputs, with a ridge that makes its condition number a million, and a right side."""
    vector, apply, _, _, _ = _net(key)
    operator = ntk.operator(apply, vector, jax.random.normal(jax.random.fold_in(key, 2), (20, 4)))
    matrix = operator.as_matrix()
    ridge = jnp.linalg.eigvalsh(matrix)[-1] * 1e-6
    shifted = lx.TaggedLinearOperator(operator + ridge * lx.IdentityLinearOperator(operator.in_structure()), lx.positive_semidefinite_tag)
    return operator, shifted, matrix + ridge * jnp.eye(len(matrix)), ridge, jax.random.normal(jax.random.fold_in(key, 3), (20, 2))


def _solved(key, *, deflated, max_steps=40):
    """Error of conjugate gradients, relative to the solution by Cholesky, and whether the solver says that it converged."""
    operator, shifted, matrix, ridge, y = _ridge_problem(key)
    options = {}
    if deflated:
        found = curvature.eigenvalues(operator, jax.random.fold_in(key, 4), k=30)
        vectors = found.vectors.reshape(30, -1)
        gains = ridge / (found.values + ridge) - 1

        def inverse(v):
            return v + (vectors.T @ (gains * (vectors @ v.ravel()))).reshape(v.shape)

        like = operator.in_structure()
        options["preconditioner"] = lx.FunctionLinearOperator(inverse, like, lx.positive_semidefinite_tag)
    solution = lx.linear_solve(shifted, y, lx.CG(rtol=1e-12, atol=1e-12, max_steps=max_steps), options=options, throw=False)
    exact = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), y.ravel()).reshape(y.shape)
    return jnp.linalg.norm(solution.value - exact) / jnp.linalg.norm(exact), solution.result == lx.RESULTS.successful


@claim(
    "NTK-21.solve",
    title="Kernel systems are solved by products alone, once the largest eigenvalues are taken out",
    source="derived",
    statement=r"(\Theta + r I) \alpha = y, \; \kappa = 10^6: \quad"
    r" \text{conjugate gradients with } P^{-1} = I + V \operatorname{diag}\left(\tfrac{r}{\lambda + r} - 1\right) V^\top"
    r" \text{ agree with Cholesky}",
    budget=6.0,
)
def solving(key):
    """And a solver that stops too early says so."""
    error, converged = _solved(key, deflated=True)
    _, early = _solved(key, deflated=True, max_steps=2)
    return {"error": at_most(error, 1e-8), "converged": equal(1.0 * converged, 1.0, rtol=0), "stopped": equal(1.0 * early, 0.0, rtol=0)}


@solving.control("as many steps without taking them out")
def _(key):
    return at_most(_solved(key, deflated=False)[0], 1e-8)


def _trace(key):
    vector, apply, x, _, _ = _net(jax.random.key(0))
    operator = ntk.operator(apply, vector, x)
    return curvature.trace(operator, key, num_matvecs=40), ntk.empirical(apply, vector, x)


@claim(
    "NTK-21.trace",
    title="The trace of a kernel from products with random signs",
    source="Hutchinson 1989",
    statement=r"\mathbb{E} \, \epsilon^\top \Theta \epsilon = \operatorname{tr} \Theta",
    statistical=True,
    num_seeds=64,
    budget=2.0,
)
def random_trace(key):
    estimate, kernel = _trace(key)
    return equal_within(estimate, jnp.einsum("nncc->", kernel))


@random_trace.control("the trace of the kernel that is a mean over outputs")
def _(key):
    estimate, kernel = _trace(key)
    return equal_within(estimate, jnp.einsum("nncc->", kernel) / kernel.shape[2])
