"""Claims about gradient descent on overparametrized least squares, and the pseudo-inverse (LS-1 to LS-3)."""

import jax
import jax.numpy as jnp
import optax

from jaxgen import optimization
from jaxgen.claims import at_least, at_most, claim, equal

EXACT = 1e-10
N, D = 5, 12
STEPS = (0, 1, 7, 100)


def _problem(key):
    """Five examples in twelve dimensions, targets, a start, and half the step size at which descent diverges."""
    keys = jax.random.split(key, 3)
    x = jax.random.normal(keys[0], (N, D))
    return x, jax.random.normal(keys[1], (N,)), jax.random.normal(keys[2], (D,)), 1 / jnp.linalg.norm(x, 2) ** 2


def _descent(x, y, w, rate, num_steps):
    return jax.lax.fori_loop(0, num_steps, lambda _, w: w - rate * x.T @ (x @ w - y), w)


@claim(
    "LS-1",
    title="Gradient descent on least squares is a filter of the singular values",
    source="Arora et al., Theory of Deep Learning, equations (3.1) to (3.3)",
    statement=r"w_t = \sum_{j < t} (I - \eta X^\top X)^j \eta X^\top y = \sum_i \frac{1 - (1 - \eta s_i^2)^t}{s_i} (u_i^\top y) v_i",
    budget=4.0,
)
def descent_path(key):
    """After 0, 1, 7 and 100 steps, from zero and from elsewhere, and the factors of the worked example."""
    x, y, w0, rate = _problem(key)
    checks = {}
    for name, start in (("from zero", jnp.zeros(D)), ("from elsewhere", w0)):
        found = optimization.least_squares_gd(x, y, learning_rate=rate, num_steps=jnp.array(STEPS), w0=start)
        steps = jnp.stack([_descent(x, y, start, rate, count) for count in STEPS])
        checks[name] = equal(found, steps, rtol=EXACT, atol=EXACT)
    factors = optimization.gradient_descent_filter(jnp.array([0.3, 0.6, 1.0]) ** 2, 0.05, 20).fitted
    matrix = jnp.eye(D) - rate * x.T @ x
    series = sum(jnp.linalg.matrix_power(matrix, j) @ (rate * x.T @ y) for j in range(7))
    return checks | {
        "power series": equal(optimization.least_squares_gd(x, y, learning_rate=rate, num_steps=7), series, rtol=EXACT, atol=EXACT),
        "factors": equal(factors, jnp.array([0.08625442, 0.30460789, 0.64151408]), rtol=0, atol=1e-8),
    }


@descent_path.control("the formula of a start at zero for another start")
def _(key):
    x, y, w0, rate = _problem(key)
    found = optimization.least_squares_gd(x, y, learning_rate=rate, num_steps=7)
    return equal(found, _descent(x, y, w0, rate, 7), rtol=EXACT, atol=EXACT)


@claim(
    "LS-2",
    title="Gradient descent from zero ends in the interpolant of least norm",
    source="Arora et al., Theory of Deep Learning, equations (3.4) and (3.5)",
    statement=r"0 < \eta < \frac{2}{\lambda_{\max}(X^\top X)}: \quad w_t \to X^\dagger y + (I - X^\dagger X) w_0,"
    r" \qquad X^\dagger y = X^\top (X X^\top)^{-1} y = \operatorname{argmin} \{ \lVert w \rVert : X w = y \}",
    budget=4.0,
)
def least_norm(key):
    """The threshold of the step size is 2 over the top eigenvalue, where the source has 1, and the start is added to its limit."""
    x, y, w0, rate = _problem(key)
    limit = optimization.min_norm_solution(x, y)
    many = {"w0": w0, "learning_rate": 1.9 * rate, "num_steps": 1_000_000}
    along = (jnp.eye(D) - optimization.row_space_projector(x)) @ jax.random.normal(jax.random.fold_in(key, 1), (D, 1000))
    path = optimization.least_squares_gd(x, y, learning_rate=rate, num_steps=jnp.array(STEPS))
    return {
        "limit": equal(optimization.least_squares_gd(x, y, **many), optimization.gd_limit(x, y, w0), rtol=1e-8, atol=1e-8),
        "from zero": equal(optimization.gd_limit(x, y, jnp.zeros(D)), limit, rtol=EXACT, atol=EXACT),
        "normal equations": equal(limit, x.T @ jnp.linalg.solve(x @ x.T, y), rtol=1e-8, atol=1e-8),
        "least norm": at_least(jnp.linalg.norm(limit[:, None] + along, axis=0), jnp.linalg.norm(limit), slack=EXACT),
        "row space": equal(path @ optimization.row_space_projector(x), path, rtol=EXACT, atol=EXACT),
    }


@least_norm.control("a start that is not zero")
def _(key):
    x, y, w0, _ = _problem(key)
    return equal(optimization.gd_limit(x, y, w0), optimization.min_norm_solution(x, y), rtol=1e-8, atol=1e-8)


@least_norm.control("a step size above two over the top eigenvalue")
def _(key):
    x, y, w0, rate = _problem(key)
    found = optimization.least_squares_gd(x, y, learning_rate=2.1 * rate, num_steps=1000, w0=w0)
    return equal(found, optimization.gd_limit(x, y, w0), rtol=1e-8, atol=1e-8)


@least_norm.control("the geometric series summed on all of space, where it grows with its length")
def _(key):
    x, _, _, rate = _problem(key)
    matrix = jnp.eye(D) - rate * x.T @ x
    partial = jnp.stack([jnp.linalg.norm(sum(jnp.linalg.matrix_power(matrix, j) for j in range(k))) for k in (8, 64)])
    return at_most(partial[1], 2 * partial[0])


@least_norm.control("Adam, which leaves the row space")
def _(key):
    x, y, _, _ = _problem(key)
    optimizer = optax.adam(0.01)

    def step(carry, _):
        w, state = carry
        updates, state = optimizer.update(x.T @ (x @ w - y), state)
        return (w + updates, state), None

    (w, _), _ = jax.lax.scan(step, (jnp.zeros(D), optimizer.init(jnp.zeros(D))), None, length=200)
    return equal(optimization.row_space_projector(x) @ w, w, rtol=1e-8, atol=1e-8)


def _low_rank(key):
    keys = jax.random.split(key, 3)
    return jax.random.normal(keys[0], (5, 2)) @ jax.random.normal(keys[1], (2, 7)), jax.random.normal(keys[2], (7, 5))


@claim(
    "LS-3",
    title="Penrose's four conditions determine the pseudo-inverse",
    source="Penrose 1955; Arora et al., Theory of Deep Learning, equations (3.6) and (3.7)",
    statement=r"M M^\dagger M = M, \quad M^\dagger M M^\dagger = M^\dagger, \quad M M^\dagger \text{ and } M^\dagger M \text{ symmetric}",
    core=True,
)
def penrose(key):
    """For matrices of rank 2, the singular vectors' formula, and the inverse of (1, 1)."""
    m, _ = _low_rank(key)
    u, s, vt = jnp.linalg.svd(m, full_matrices=False)
    by_formula = (vt[:2].T / s[:2]) @ u[:, :2].T
    return {
        "conditions": equal(optimization.penrose_residuals(m, jnp.linalg.pinv(m)), jnp.zeros(4), rtol=0, atol=EXACT),
        "formula": equal(jnp.linalg.pinv(m), by_formula, rtol=EXACT, atol=EXACT),
        "known": equal(jnp.linalg.pinv(jnp.ones((1, 2))), jnp.full((2, 1), 0.5), rtol=EXACT),
    }


@penrose.control("another generalized inverse, which meets the first and third condition only")
def _(key):
    m, z = _low_rank(key)
    inverse = jnp.linalg.pinv(m)
    other = inverse + (jnp.eye(7) - inverse @ m) @ z
    return equal(optimization.penrose_residuals(m, other), jnp.zeros(4), rtol=0, atol=EXACT)


@penrose.control("equal left and right singular vectors for a symmetric matrix that is not semidefinite")
def _(key):
    u, _, vt = jnp.linalg.svd(jnp.diag(jnp.array([2.0, -1.0])))
    return equal(u, vt.T, rtol=EXACT, atol=EXACT)
