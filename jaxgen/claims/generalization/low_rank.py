"""Claims about layers of low rank and what their truncation does to a net and its bound (GEN-20 to GEN-22)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import bounds
from jaxgen.claims import at_most, claim, equal, less, with_probability

BOOK = "Arora et al., Theory of Deep Learning"
PAPER = "Arora, Ge, Neyshabur & Zhang 2018"
THRESHOLDS = (0.05, 0.2, 0.5)


def _power_law(key, power):
    """A matrix of 20 x 15 with singular values i^-power."""
    left, right = (jnp.linalg.qr(jax.random.normal(jax.random.fold_in(key, i), (size, 15)))[0] for i, size in enumerate((20, 15)))
    return (left * jnp.arange(1.0, 16.0) ** -power) @ right.T


def _norm(matrix):
    return jnp.linalg.svd(matrix, compute_uv=False)[..., 0]


def _truncated(key, relative_to=_norm):
    """Spectral norms of matrices, of what truncation leaves and of what it takes, ranks and stable ranks, for three thresholds."""
    matrices = jax.vmap(_power_law)(jax.random.split(key, 6), jnp.linspace(0.3, 1.5, 6))

    def of_matrix(matrix, threshold):
        found = bounds.truncate_svd(matrix, threshold * relative_to(matrix) / _norm(matrix))
        return _norm(matrix), _norm(found.matrix), _norm(matrix - found.matrix), found.rank, bounds.stable_rank(matrix)

    over_thresholds = jax.vmap(of_matrix, in_axes=(None, 0))
    return jax.vmap(over_thresholds, in_axes=(0, None))(matrices, jnp.array(THRESHOLDS))


@claim(
    "GEN-20",
    title="A matrix of small stable rank is close to one of small rank",
    source=f"{PAPER}; {BOOK}, lemma 5.5.7",
    statement=r"\hat A = \text{singular values } \ge \delta \lVert A \rVert_2: \quad \lVert \hat A - A \rVert_2 < \delta \lVert A \rVert_2, \;"
    r" \operatorname{rank} \hat A \le \frac{\lVert A \rVert_F^2}{\lVert A \rVert_2^2 \, \delta^2}, \; \lVert \hat A \rVert_2 = \lVert A \rVert_2",
)
def truncation(key):
    """96 matrices with singular values i^-p, p from 0.3 to 1.5, and three thresholds."""
    norms, left, taken, ranks, stable = _truncated(key)
    return {
        "distance": less(taken, jnp.array(THRESHOLDS) * norms),
        "rank": at_most(ranks, stable / jnp.array(THRESHOLDS) ** 2),
        "norm": equal(left, norms, rtol=1e-12),
        "known": equal(bounds.stable_rank(jnp.diag(jnp.array([2.0, 1.0, 1.0]))), 1.5, rtol=1e-12),
    }


@truncation.control("a threshold relative to the Frobenius norm")
def _(key):
    norms, _, taken, _, _ = _truncated(key, relative_to=jnp.linalg.norm)
    return less(taken, jnp.array(THRESHOLDS) * norms)


def _layers(key, depth, width=30):
    """Layers with singular values i^-1, some of which truncation takes."""

    def layer(key):
        q = jnp.linalg.qr(jax.random.normal(key, (2, width, width)))[0]
        return (q[0] * jnp.arange(1.0, width + 1) ** -1) @ q[1].T

    return list(jax.vmap(layer)(jax.random.split(key, depth)))


@claim(
    "GEN-21",
    title="Truncating every layer moves the outputs of a ReLU net by a third of gamma at most",
    source=f"{BOOK}, problem 5.5.8",
    statement=r"\delta = \frac{\gamma}{3 d \prod_i \lVert A^i \rVert_2 \lVert x \rVert}: \quad \text{one layer alone } \le \frac{\gamma}{3 d}, \;"
    r" |f(x) - \hat f(x)| \le \frac\gamma3",
    budget=5.0,
)
def truncated_nets(key):
    """Depths 2, 4 and 6, width 30, thresholds of 0.3: more than half of the singular values are taken."""
    checks = {}
    for depth in (2, 4, 6):
        weights, x = _layers(key, depth), jax.random.normal(jax.random.fold_in(key, depth), (20, 30))
        size = jnp.linalg.norm(x, axis=1).max()
        gamma = 0.3 * 3 * depth * bounds.lipschitz_upper_bound(weights) * size
        found = bounds.truncate_network(weights, gamma, size)
        errors = bounds.truncation_errors(weights, found.weights, x)
        checks |= {
            f"alone, d = {depth}": at_most(errors.single, gamma / (3 * depth)),
            f"together, d = {depth}": at_most(errors.together, gamma / 3),
            f"ranks, d = {depth}": at_most(found.ranks, bounds.truncation_ranks(weights, size, gamma)),
            f"truncated, d = {depth}": at_most(found.ranks, 15),
        }
    return checks


def _just_below(key, factor):
    """The change of a diagonal layer whose second singular value is just below `factor` times the threshold, over gamma."""
    gamma = jax.random.uniform(key, minval=0.1, maxval=0.9)
    weights = [jnp.diag(jnp.stack([jnp.ones(()), factor * gamma / 3 * (1 - 1e-9)]))]
    found = bounds.truncate_network(weights, factor * gamma, 1.0)
    return bounds.truncation_errors(weights, found.weights, jnp.array([[0.0, 1.0]])).together / gamma


@claim(
    "GEN-21.tight",
    title="A layer alone can move outputs by a third of gamma",
    source=f"{BOOK}, problem 5.5.8",
    statement=r"A = \operatorname{diag}(1, s), \; x = e_2, \; s \uparrow \delta: \quad |f(x) - \hat f(x)| \to \frac\gamma3",
)
def tight_truncation(key):
    """The source asks for less than gamma."""
    ratio = _just_below(key, 1.0)
    return {"bound": at_most(ratio, 1 / 3), "attained": equal(ratio, 1 / 3, rtol=1e-8)}


@tight_truncation.control("a threshold three times as large")
def _(key):
    return at_most(_just_below(key, 3.0), 1 / 3)


@truncated_nets.control("a threshold that does not know the product of norms and the depth")
def _(key):
    weights, x = [10 * matrix for matrix in _layers(key, 2)], jax.random.normal(key, (20, 30))
    size = jnp.linalg.norm(x, axis=1).max()
    gamma = 0.9 * size
    found = [bounds.truncate_svd(matrix, gamma / (3 * size)).matrix for matrix in weights]
    return at_most(bounds.truncation_errors(weights, found, x).together, gamma / 3)


def _perturbed_identity(depth):
    """Identity layers, each larger by 1 + 1/d, on inputs that no ReLU cuts."""
    weights, x = [jnp.eye(3)] * depth, jnp.ones((1, 3))
    moved = bounds.relu_network([(1 + 1 / depth) * matrix for matrix in weights], x) - x
    bound = bounds.perturbation_bound(weights, [matrix / depth for matrix in weights], jnp.linalg.norm(x))
    return jnp.linalg.norm(moved), bound


@claim(
    "GEN-21.perturbation",
    title="Perturbations of layers add up in the outputs of a ReLU net, times e at most",
    source="Neyshabur, Bhojanapalli & Srebro 2018, lemma 2",
    statement=r"\lVert U_i \rVert_2 \le \frac{\lVert A_i \rVert_2}{d}: \quad \lVert f_{A + U}(x) - f_A(x) \rVert \le"
    r" e \lVert x \rVert \prod_i \lVert A_i \rVert_2 \sum_i \frac{\lVert U_i \rVert_2}{\lVert A_i \rVert_2}",
    budget=3.0,
)
def perturbation(key):
    """Random nets of depth 4, and identities, where the change is (1 + 1/d)^d - 1."""
    weights, directions = _layers(key, 4), _layers(jax.random.fold_in(key, 1), 4)
    changes = [matrix * _norm(weight) / _norm(matrix) / 4 for weight, matrix in zip(weights, directions, strict=True)]
    x = jax.random.normal(key, (1, 30))
    moved = bounds.relu_network([a + b for a, b in zip(weights, changes, strict=True)], x) - bounds.relu_network(weights, x)
    known, bound = _perturbed_identity(6)
    return {
        "random": at_most(jnp.linalg.norm(moved), bounds.perturbation_bound(weights, changes, jnp.linalg.norm(x))),
        "identity": at_most(known, bound),
        "identity exactly": equal(known, ((1 + 1 / 6) ** 6 - 1) * np.sqrt(3), rtol=1e-12),
    }


@perturbation.control("the largest perturbation in place of their sum")
def _(key):
    known, bound = _perturbed_identity(6)
    return at_most(known, bound / 6)


def _complexities(key, power=1.0, rescale=1.0):
    """The complexity of a net before and after inputs and margin are multiplied by five, and a layer by a number that another loses."""
    weights = _layers(key, 3, 8)
    scaled = [rescale * weights[0], weights[1], weights[2] / rescale]
    found = []
    for kind, (size, margin) in {"neyshabur18": (2.0, 0.5), "lowrank_count": (0.1, 1.0)}.items():
        found.append(jnp.stack([bounds.spectral_complexity(net, (c * size) ** power, c * margin, kind) for c, net in ((1, weights), (5, scaled))]))
    return jnp.stack(found)


@claim(
    "GEN-22",
    title="The spectrally normalized complexity does not change with the scale of inputs and layers",
    source="Neyshabur, Bhojanapalli & Srebro 2018, theorem 1; Arora et al., Theory of Deep Learning, theorem 5.5.6",
    statement=r"\frac{h d^2 B^2 \prod_i \lVert A^i \rVert_2^2 \sum_i \lVert A^i \rVert_F^2 / \lVert A^i \rVert_2^2}{\gamma^2}"
    r" \text{ for } B = \max_{x \in S} \lVert x \rVert",
    core=True,
    budget=3.0,
)
def scale_of_complexity(key):
    """The source prints the norm of inputs without its square. Orthogonal layers have complexity d^3 h^2."""
    values = _complexities(key, rescale=3.0)
    orthogonal = list(jnp.linalg.qr(jax.random.normal(key, (3, 4, 4)))[0])
    return {
        "invariant": equal(values[:, 0], values[:, 1], rtol=1e-10),
        "orthogonal": equal(bounds.spectral_complexity(orthogonal, 1.0, 1.0), 3.0**3 * 4**2, rtol=1e-12),
    }


@scale_of_complexity.control("the norm of inputs without its square, as printed")
def _(key):
    values = _complexities(key, power=0.5)
    return equal(values[0, 0], values[0, 1], rtol=1e-10)


NUM_EXAMPLES, NUM_SAMPLES, DELTA = 300, 8, 0.05


def _regressed(key, dimension, flipped):
    """Least squares on noisy labels as a net of one layer, its sample and the risk of any linear net with two outputs."""
    keys = jax.random.split(key, 3)
    x = jax.random.normal(keys[0], (NUM_EXAMPLES, dimension))
    labels = (x[:, 0] > 0) ^ jax.random.bernoulli(keys[1], flipped, (NUM_EXAMPLES,))
    slope = jnp.linalg.solve(x.T @ x + 1e-3 * jnp.eye(dimension), x.T @ (2.0 * labels - 1))

    def risk(weights):
        normal = weights[1] - weights[0]
        size = jnp.linalg.norm(normal)
        angle = jnp.arccos(jnp.clip(normal[0] / jnp.where(size > 0, size, 1.0), -1, 1))
        return flipped + (1 - 2 * flipped) * angle / jnp.pi

    return [jnp.stack([-slope, slope]) / 2], x, labels.astype(int), risk


def _certified(key, dimension, flipped, form, *, counted=True):
    """Whether the bound covers the exact risk of the compressed net, on each of several samples."""

    def of_sample(key):
        net, x, labels, risk = _regressed(key, dimension, flipped)
        found = bounds.lowrank_network(net, x, labels, DELTA, form=form)
        if counted:
            return found.bound.value >= risk(found.weights[0])
        wrong = bounds.margin_loss(bounds.relu_network(found.weights, x), labels, 0.0)
        return wrong + bounds.hoeffding_penalty(NUM_EXAMPLES, DELTA) >= risk(found.weights[0])

    return jax.vmap(of_sample)(jax.random.split(key, NUM_SAMPLES))


@claim(
    "GEN-22.certificate",
    title="The measured certificate of a net of low rank covers its risk",
    source=f"{PAPER}, theorem 2.1; {BOOK}, theorems 5.5.3 and 5.5.6",
    statement=r"L_0(g) \le \hat L_{2\gamma}(f) + \sqrt{\frac{K + \ln(1/\delta)}{2m}}, \quad"
    r" \operatorname{kl}(\hat L_0(g) \Vert L_0(g)) \le \frac{K + \ln(1/\delta)}{m}",
    statistical=True,
    num_seeds=256,
    chunk_size=64,
    budget=8.0,
)
def measured_certificate(key):
    """2,048 samples of 300 points: least squares with a tenth of the labels flipped, random labels in 60 dimensions; exact risks by the angle."""
    cases = {"margin": (5, 0.1, "margin"), "occam": (5, 0.1, "occam"), "random labels": (60, 0.5, "occam")}
    return {name: with_probability(_certified(key, *case), at_least=1 - DELTA) for name, case in cases.items()}


@measured_certificate.control("the code length not counted, on random labels")
def _(key):
    return with_probability(_certified(key, 60, 0.5, "occam", counted=False), at_least=1 - DELTA)
