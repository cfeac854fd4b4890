"""Claims about coordinate descent with small steps, the path of the lasso, and adaptive methods (BIAS-11, BIAS-36)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import implicit_bias
from jaxgen.claims import at_least, at_most, claim, equal, greater
from jaxgen.implicit_bias import adaptive_descent, forward_stagewise, lasso_path, lp_norm, path_is_monotone

BOOK = "Arora et al., Theory of Deep Learning"
X, Y = np.array([[3.0, -1.0, 2.0], [3.0, -3.0, 1.0]]), np.array([-1.0, -3.0])
STEP, NUM_STEPS, EVERY = 2e-3, 12_000, 600
NUM_ROWS, PER_ROW = 3, 4
RATES = {"adagrad": np.full(400, 0.1), "rmsprop": 0.05 * 0.94 ** np.arange(500), "adam": 0.02 * 0.998 ** np.arange(5000)}


def _disjoint(key):
    """Rows of disjoint supports, entries of size 0.5 to 1.5, and targets of size 1 to 2."""
    keys = jax.random.split(key, 3)
    sizes = jax.random.uniform(keys[0], (NUM_ROWS, PER_ROW), minval=0.5, maxval=1.5)
    signs = jax.random.rademacher(keys[1], (NUM_ROWS, PER_ROW), float)
    x = (jnp.eye(NUM_ROWS)[:, :, None] * (sizes * signs)[:, None, :]).reshape(NUM_ROWS, -1)
    targets = jax.random.uniform(keys[2], (2, NUM_ROWS), minval=1.0, maxval=2.0)
    return x, targets[0] * jnp.sign(targets[1] - 1.5)


def _stagewise(x, y, step: jax.typing.ArrayLike = STEP, num_steps=NUM_STEPS, every=EVERY):
    """The last point, the lasso where its lambda is the largest gradient on the way, down to a thousandth of the first, and the gap between."""
    w, (path, largest) = forward_stagewise(x, y, step, num_steps, record=lambda w, g, t: (w, jnp.abs(g).max()), every=every)
    early = largest > 1e-3 * largest[0]
    lasso = lasso_path(x, y, jnp.where(early, largest, 1e-3 * largest[0]))
    return w, lasso, jnp.where(early[:, None], jnp.abs(path - lasso), 0).max()


def _limit(x, y, step, num_steps):
    return forward_stagewise(x, y, step, num_steps)[0]


@claim(
    "BIAS-11",
    title="Where the path of the lasso is monotone, coordinate descent with small steps follows it to least l_1 norm",
    source=f"{BOOK}, section 8.1.1, Example 1",
    statement=r"\hat w(\lambda) = \arg\min_w \lVert X w - y \rVert^2 + \lambda \lVert w \rVert_1 \text{ monotone} \implies"
    r" w_t = \hat w(\lVert \nabla L(w_t) \rVert_\infty), \quad w_\infty = \arg\min_{X w = y} \lVert w \rVert_1",
    num_seeds=8,
    budget=6.0,
)
def monotone_path(key):
    """Rows of disjoint supports, where the least norm is the sum of |y_i| / max_j |x_ij|."""
    x, y = _disjoint(key)
    w, lasso, gap = _stagewise(x, y)
    least = (jnp.abs(y) / jnp.abs(x).max(axis=1)).sum()
    return {
        "limit": equal(jnp.abs(w).sum(), least, rtol=1e-3),
        "interpolation": equal(x @ w, y, rtol=1e-3),
        "least norm": equal(jnp.abs(implicit_bias.min_l1_interpolator(x, y)).sum(), least, rtol=1e-6),
        "path": at_most(gap, 20 * STEP),
        "monotone": equal(path_is_monotone(lasso).astype(float), 1.0, rtol=0),
    }


@monotone_path.control("a design whose path is not monotone")
def _(key):
    return equal(jnp.abs(_limit(X, Y, 1e-3, 20_000)).sum(), 1.0, rtol=1e-3)


@monotone_path.control("half of the largest step for which the loss falls")
def _(key):
    x, y = _disjoint(key)
    return at_most(_stagewise(x, y, 0.5 / (x**2).sum(axis=0).max(), 10, 1)[2], 20 * STEP)


@claim(
    "BIAS-11.counterexample",
    title="Where it is not, coordinate descent ends at norm 23/15, and the least is 1",
    source=f"{BOOK}, section 8.1.1, Example 1; the example is the library's",
    statement=r"X = \begin{pmatrix} 3 & -1 & 2 \\ 3 & -3 & 1 \end{pmatrix}, \; y = (-1, -3): \quad"
    r" w_\infty \to \left(-\frac13, \frac45, \frac25\right) \text{ as } \eta \to 0, \qquad \arg\min_{X w = y} \lVert w \rVert_1 = (0, 1, 0)",
    num_seeds=1,
    budget=6.0,
)
def counterexample(key):
    coarse, fine = _limit(X, Y, 1e-3, 20_000), _limit(X, Y, 3e-4, 60_000)
    least = implicit_bias.min_l1_interpolator(X, Y)
    path = lasso_path(X, Y, jnp.array([20.0, 10.0, 5.0, 1.0]))
    return {
        "step 1e-3": equal(jnp.abs(coarse).sum(), 1.5352, rtol=0, atol=5e-5),
        "step 3e-4": equal(jnp.abs(fine).sum(), 1.5343, rtol=0, atol=5e-5),
        "limit": equal(fine, jnp.array([-1 / 3, 4 / 5, 2 / 5]), rtol=0, atol=4 * 3e-4),
        "interpolation": equal(X @ fine, Y, rtol=1e-9),
        "far from least": at_least(jnp.abs(fine).sum(), 1.5),
        "least": equal(least, jnp.array([0.0, 1.0, 0.0]), rtol=0, atol=1e-6),
        "lasso, coordinate 1": equal(path[:, 0], -jnp.array([1 / 9, 5 / 18, 5 / 36, 1 / 36]), rtol=1e-9),
        "not monotone": equal(path_is_monotone(path).astype(float), 0.0, rtol=0),
    }


@counterexample.control("rows of disjoint supports")
def _(key):
    x, y = _disjoint(key)
    least = (jnp.abs(y) / jnp.abs(x).max(axis=1)).sum()
    return at_least(jnp.abs(_limit(x, y, STEP, NUM_STEPS)).sum(), 1.5 * least)


@counterexample.control("gradient descent in place of coordinate descent")
def _(key):
    w = implicit_bias.steepest_descent(lp_norm(2), lambda w: 2 * jnp.asarray(X).T @ (X @ w - Y), jnp.zeros(3), jnp.full(2000, 0.01))[0]
    return equal(jnp.abs(w).sum(), 23 / 15, rtol=0, atol=2e-3)


def _labelled(key, features_of_negatives=5):
    """Nine labels with more positives, as feature 1; two constant features; features of each point: one if positive, five if negative."""
    keys = jax.random.split(key)
    y = jnp.where(jax.random.permutation(keys[0], 9) < jax.random.randint(keys[1], (), 5, 9), 1.0, -1.0)
    own = jnp.where((y > 0)[:, None], jnp.arange(5) < 1, jnp.arange(5) < features_of_negatives).astype(float)
    return jnp.concatenate([y[:, None], jnp.ones((9, 2)), (jnp.eye(9)[:, :, None] * own[:, None, :]).reshape(9, -1)], axis=1), y


def _six_points():
    y = np.array([1.0, 1, 1, 1, -1, -1])
    own = [np.eye(6)[:, [i]].repeat(1 if label > 0 else 5, axis=1) for i, label in enumerate(y)]
    return jnp.asarray(np.concatenate([y[:, None], np.ones((6, 2)), *own], axis=1)), jnp.asarray(y)


def _adaptive(kind, x, y):
    return adaptive_descent(kind, lambda w: 2 * x.T @ (x @ w - y), jnp.zeros(x.shape[1]), RATES[kind])[0]


@claim(
    "BIAS-36",
    title="AdaGrad, RMSProp and Adam leave the span of the data for a multiple of sgn(X^T y)",
    source="Wilson et al. 2017, Lemma 3.1",
    statement=r"X \operatorname{sgn}(X^\top y) = c \, y \implies"
    r" w_\infty = \frac1c \operatorname{sgn}(X^\top y) \ne \arg\min_{X w = y} \lVert w \rVert_2",
    num_seeds=8,
    budget=4.0,
)
def sign_limit(key):
    """Random labels with more positives, where c = 4; and six points whose limit is 0.652 from the interpolator of least norm.

    Moving averages forget: where learning rates shrink more slowly than these, RMSProp amplifies rounding across the line of signs.
    """
    x, y = _labelled(key)
    signs = jnp.sign(x.T @ y)
    checks = {"condition": equal(x @ signs, 4 * y, rtol=0), "solution": equal(implicit_bias.sign_solution(x, y), signs / 4, rtol=1e-12)}
    for kind in RATES:
        w = _adaptive(kind, x, y)
        checks |= {kind: equal(w, signs / 4, rtol=0, atol=1e-13)}
    checks["far from least norm"] = greater(jnp.linalg.norm(signs / 4 - implicit_bias.min_norm_interpolator(x, y)), 0.1)
    known, labels = _six_points()
    w = _adaptive("adagrad", known, labels)
    distance = jnp.linalg.norm(w - implicit_bias.min_norm_interpolator(known, labels))
    return checks | {
        "six points": equal(w, 0.25 * jnp.sign(known.T @ labels), rtol=1e-14),
        "their residual": at_most(jnp.abs(known @ w - labels).max(), 1e-14),
        "their distance": equal(distance, 0.652, rtol=0, atol=5e-4),
    }


@sign_limit.control("gradient descent")
def _(key):
    x, y = _labelled(key)
    w = implicit_bias.gradient_descent(lambda w: 2 * x.T @ (x @ w - y), jnp.zeros(x.shape[1]), jnp.full(3000, 0.01))[0]
    return {"it interpolates": at_most(jnp.abs(x @ w - y), 1e-6), "at the signs": equal(w, jnp.sign(x.T @ y) / 4, rtol=0, atol=1e-6)}


@sign_limit.control("three features to each negative point, where no c is common to all rows")
def _(key):
    x, y = _labelled(key, features_of_negatives=3)
    w = _adaptive("adagrad", x, y)
    return equal(w, jnp.sign(x.T @ y) * jnp.abs(w).max(), rtol=0, atol=1e-6)
