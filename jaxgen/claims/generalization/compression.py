"""Claims about compressible classifiers and the bound from counting the numbers that are left (GEN-16 to GEN-19)."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import bounds
from jaxgen.claims import at_most, claim, converges, equal, equal_in_mean, less, with_probability

BOOK = "Arora et al., Theory of Deep Learning"
PAPER = "Arora, Ge, Neyshabur & Zhang 2018"
LEVELS = np.array([2**k + 1 for k in range(4, 10)])


def _net(key, shapes):
    keys = jax.random.split(key, len(shapes))
    return [jax.random.normal(key, shape) / jnp.sqrt(shape[1]) for key, shape in zip(keys, shapes, strict=True)]


def _quantization_errors(key, num_nets=10, limit=2.0):
    """Mean over nets of the largest change of an output on 50 inputs, for each number of levels."""

    def of_net(key):
        weights, x = _net(key, [(20, 8), (20, 20), (3, 20)]), jax.random.normal(jax.random.fold_in(key, 1), (50, 8))

        levels = [bounds.quantize(weights, int(count), limit).params for count in LEVELS]
        return jnp.stack([bounds.compression_error(bounds.relu_network, weights, bounds.relu_network, rounded, x) for rounded in levels])

    return jax.vmap(of_net)(jax.random.split(key, num_nets)).mean(axis=0)


@claim(
    "GEN-16.levels",
    title="Rounding a net to r levels changes its outputs by a multiple of 1/r",
    source=f"{PAPER}, definition 1; {BOOK}, definition 5.5.1",
    statement=r"\max_{x \in S, y} |f(x)[y] - g_A(x)[y]| \sim \frac1r",
    budget=4.0,
)
def rounding(key):
    return converges(_quantization_errors(key), order=-1, steps=LEVELS, tolerance=0.15)


@rounding.control("a range that cuts weights off")
def _(key):
    return converges(_quantization_errors(key, limit=0.2), order=-1, steps=LEVELS, tolerance=0.15)


def _difference_of_rank_two(key):
    """A net before and after both layers move by a matrix of rank two, and inputs."""
    before = _net(key, [(20, 10), (5, 20)])
    moves = [jax.random.normal(jax.random.fold_in(key, i), (2, sum(matrix.shape))) for i, matrix in enumerate(before)]
    after = [matrix + move[:, : len(matrix)].T @ move[:, len(matrix) :] / 10 for matrix, move in zip(before, moves, strict=True)]
    return before, after, jax.random.normal(jax.random.fold_in(key, 9), (50, 10))


def _rank_two(matrix):
    values = jnp.linalg.svd(matrix, compute_uv=False)
    return bounds.truncate_svd(matrix, (values[1] + values[2]) / (2 * values[0])).matrix


@claim(
    "GEN-16",
    title="With the initialization as helper string a net is compressed that is not compressible without",
    source=f"{PAPER}, definition 2; {BOOK}, definition 5.5.2",
    statement=r"W = W_0 + U V^\top \text{ with } U V^\top \text{ of rank } 2: \quad \max_{x \in S, y} |f(x)[y] - g_{A, W_0}(x)[y]| = 0",
    core=True,
)
def helper_string(key):
    before, after, x = _difference_of_rank_two(key)
    rebuilt = [old + _rank_two(new - old) for old, new in zip(before, after, strict=True)]
    return less(bounds.compression_error(bounds.relu_network, after, bounds.relu_network, rebuilt, x), 1e-5)


@helper_string.control("the weights themselves at rank two")
def _(key):
    _, after, x = _difference_of_rank_two(key)
    truncated = [_rank_two(matrix) for matrix in after]
    return less(bounds.compression_error(bounds.relu_network, after, bounds.relu_network, truncated, x), 1e-5)


def _moved_logits(key, gamma=0.5):
    """Logits of three classes, others within gamma of them, and labels."""
    f = jax.random.normal(key, (200, 3))
    return f, f + jax.random.uniform(jax.random.fold_in(key, 1), f.shape, minval=-gamma, maxval=gamma), jnp.argmax(f, axis=1), gamma


@claim(
    "GEN-17.margin",
    title="What moves by gamma loses margins of 2 gamma, and no larger ones",
    source=f"{PAPER}, theorem 2.1; {BOOK}, theorem 5.5.3",
    statement=r"|f(x)[y] - g(x)[y]| \le \gamma \text{ on } S: \quad \hat L_0(g) \le \hat L_{2\gamma}(f)",
)
def margin_step(key):
    """Paper and source have the margin gamma, at which two logits that move towards each other can meet twice over."""
    f, g, labels, gamma = _moved_logits(key)
    return at_most(bounds.margin_loss(g, labels, 0.0), bounds.margin_loss(f, labels, 2 * gamma))


@margin_step.control("a margin of gamma, at f = (1.5, 0) and g = (0.5, 1)")
def _(key):
    f, g, label = jnp.array([[1.5, 0.0]]), jnp.array([[0.5, 1.0]]), jnp.array([0])
    return at_most(bounds.margin_loss(g, label, 0.0), bounds.margin_loss(f, label, 1.0))


NUM_PARAMS, NUM_LEVELS, SAMPLE, TRIALS, DELTA = 5, 8, 50, 32, 0.05


def _best_of_the_class(key):
    """The least error of all 8^5 linear classifiers on samples with random labels, the true risk being 1/2 for each."""
    levels = np.linspace(-1, 1, NUM_LEVELS)
    classifiers = jnp.array(list(product(levels, repeat=NUM_PARAMS)))

    def of_sample(key):
        x = jax.random.normal(key, (SAMPLE, NUM_PARAMS))
        labels = jax.random.rademacher(jax.random.fold_in(key, 1), (SAMPLE,), float)
        return jnp.mean((classifiers @ x.T) * labels <= 0, axis=1).min()

    return jax.lax.map(of_sample, jax.random.split(key, TRIALS))


@claim(
    "GEN-17",
    title="The compression bound covers the risk of every classifier of five numbers with eight values",
    source=f"{PAPER}, theorem 2.1; {BOOK}, theorem 5.5.3",
    statement=r"L_0(g_A) \le \hat L_{2\gamma}(f) + \sqrt{\frac{q \ln r + \ln(1/\delta)}{2m}} \text{ with probability } 1 - \delta",
    statistical=True,
    chunk_size=4,
    budget=10.0,
)
def coverage(key):
    """2,048 samples of 50 points, the classifier being the best of all 32,768 on each, so that it is its own compression and gamma is 0."""
    bound = bounds.compression_bound(_best_of_the_class(key), NUM_PARAMS, NUM_LEVELS, SAMPLE, DELTA)
    return with_probability(bound.value >= 0.5, at_least=1 - DELTA)


@coverage.control("the numbers not counted")
def _(key):
    bound = bounds.compression_bound(_best_of_the_class(key), 0, NUM_LEVELS, SAMPLE, DELTA)
    return with_probability(bound.value >= 0.5, at_least=1 - DELTA)


@coverage.control("ln(1/delta) and the number of levels dropped")
def _(key):
    return with_probability(_best_of_the_class(key) + jnp.sqrt(NUM_PARAMS / (2 * SAMPLE)) >= 0.5, at_least=1 - DELTA)


MARGIN = 0.3


def _scores(params, x):
    return x @ params["weights"]


def _searched(key, *, counted=True):
    """Whether the bound of a searched net covers the risk 1/2 that every net has on random labels, for six samples of 100 points."""
    events = []
    for own in jax.random.split(key, 6):
        x = jax.random.normal(own, (100, 40))
        labels = jax.random.randint(jax.random.fold_in(own, 1), (100,), 0, 2)
        slope = jnp.linalg.lstsq(x, 2.0 * labels - 1)[0]
        params = {"weights": jnp.stack([-slope, slope], axis=1)}
        found = bounds.compress_network(_scores, params, x, labels, DELTA, coarseness=(1.0,), code_weights=(0.3,), num_steps=50)
        alone = found.num_errors / 100 + bounds.hoeffding_penalty(100, DELTA)
        events.append((found.bound.value if counted else alone) >= 0.5)
    return jnp.stack(events)


@claim(
    "GEN-17.search",
    title="A net found by search has a valid certificate once its code is counted",
    source="Blumer, Ehrenfeucht, Haussler & Warmuth 1987; Langford 2005",
    statement=r"L_0(g) \le \sup \{p : \Pr[\mathrm{Bin}(m, p) \le k] \ge \delta e^{-K}\} \text{ with probability } 1 - \delta"
    r" \text{ for all codewords at once}",
    statistical=True,
    jittable=False,
    num_seeds=340,
    budget=20.0,
)
def searched_certificate(key):
    """2,040 samples with random labels, on which a linear net is trained, rounded and trained again."""
    return with_probability(_searched(key), at_least=1 - DELTA)


@searched_certificate.control("the code length not counted")
def _(key):
    return with_probability(_searched(key, counted=False), at_least=1 - DELTA)


def _sparse(key, *, rescaled=True):
    """Outputs of 60 sparsified classifiers at u, their sizes, and the classifier, u and the moments."""
    problem = jax.random.split(jax.random.key(0))
    c, u = (vector / jnp.linalg.norm(vector) for vector in jax.random.normal(problem[0], (2, 4000)))
    draws = jax.vmap(lambda key: bounds.sparsify_linear(key, c, MARGIN))(jax.random.split(key, 60))
    if not rescaled:
        draws = jnp.where(draws != 0, c, 0.0)
    return draws @ u, jnp.sum(draws != 0, axis=1), c @ u, bounds.sparsification_moments(c, u, MARGIN)


@claim(
    "GEN-18",
    title="A linear classifier with margin gamma keeps 8 / gamma^2 coordinates, with no bias and variance gamma^2 / 8",
    source=f"{PAPER}; {BOOK}, section 5.5.1 and problem 5.5.4",
    statement=r"\hat c_i = \frac{c_i}{p_i} \text{ w.p. } p_i = \min(1, \tfrac{8 c_i^2}{\gamma^2}): \quad \mathbb{E} \hat c = c, \;"
    r" \mathbb{E} \operatorname{nnz} = \sum_i p_i, \; \operatorname{Var}(\hat c \cdot u) = \sum_i u_i^2 c_i^2 \tfrac{1 - p_i}{p_i}, \;"
    r" \Pr(|\hat c \cdot u - c \cdot u| < \gamma) \ge \tfrac78",
    statistical=True,
    budget=4.0,
)
def sparsification(key):
    """The source prints twice the variance, and a condition for p <= 1 that is too strong."""
    outputs, sizes, exact, moments = _sparse(key)
    return {
        "mean": equal_in_mean(outputs.mean(), exact),
        "size": equal_in_mean(sizes.mean(), moments.num_nonzeros),
        "variance": equal_in_mean(jnp.mean((outputs - exact) ** 2), moments.variance),
        "failure": with_probability(jnp.abs(outputs - exact) < MARGIN, at_least=7 / 8),
    }


@sparsification.control("coordinates that are kept as they are")
def _(key):
    outputs, _, exact, _ = _sparse(key, rescaled=False)
    return equal_in_mean(outputs.mean(), exact)


@sparsification.control("the printed variance, twice as large")
def _(key):
    outputs, _, exact, moments = _sparse(key)
    return equal_in_mean(jnp.mean((outputs - exact) ** 2), 2 * moments.variance)


def _moments(key, spiky):
    c, u = jax.random.normal(key, (2, 500))
    c = jnp.where(jnp.arange(500) < 20, 30 * c, c) if spiky else jnp.sign(c)
    return bounds.sparsification_moments(c, u / jnp.linalg.norm(u), MARGIN, normalize=True)


@claim(
    "GEN-18.size",
    title="Sizes and variances of sparsified classifiers, with large coordinates and without",
    source=f"{BOOK}, problem 5.5.4",
    statement=r"\sum_i p_i \le \frac{8}{\gamma^2}, \text{ with equality if all } p_i < 1; \quad"
    r" \operatorname{Var}(\hat c \cdot u) \le \frac{\gamma^2}{8}",
)
def sparsified_sizes(key):
    spread, spiky = _moments(key, False), _moments(key, True)
    return {
        "spread": equal(spread.num_nonzeros, 8 / MARGIN**2, rtol=1e-12),
        "spiky": at_most(spiky.num_nonzeros, 8 / MARGIN**2),
        "variance": at_most(jnp.stack([spread.variance, spiky.variance]), MARGIN**2 / 8),
    }


@sparsified_sizes.control("equality with coordinates that are always kept")
def _(key):
    return equal(_moments(key, True).num_nonzeros, 8 / MARGIN**2, rtol=1e-12)


ROWS, DIMENSION, COSINE = 200, 60, 0.6


def _inner_products(key, scale=1.0):
    """Inner products of two sketched vectors of norm one with cosine 0.6, over 24 sketches."""
    c = jnp.zeros(DIMENSION).at[0].set(1.0)
    u = jnp.zeros(DIMENSION).at[0].set(COSINE).at[1].set((1 - COSINE**2) ** 0.5)
    sketches = jax.vmap(lambda key: bounds.gaussian_sketch(key, ROWS, DIMENSION))(jax.random.split(key, 24))
    return scale * jnp.sum((sketches @ c) * (sketches @ u), axis=1)


@claim(
    "GEN-19",
    title="A random projection keeps inner products, with the variance and the tail that it says",
    source=f"{BOOK}, section 5.5.1 and problem 5.5.5; Johnson & Lindenstrauss",
    statement=r"\mathbb{E} \langle M c, M u \rangle = \langle c, u \rangle, \quad \operatorname{Var} = \frac{1 + \langle c, u \rangle^2}{k}, \quad"
    r" \Pr(|\langle M c, M u \rangle - \langle c, u \rangle| \ge \gamma) \le 4 e^{-k (\gamma^2 / 4 - \gamma^3 / 6)}",
    statistical=True,
    budget=4.0,
)
def random_projection(key):
    products = _inner_products(key)
    tail = 4 * np.exp(-ROWS * (MARGIN**2 / 4 - MARGIN**3 / 6))
    return {
        "mean": equal_in_mean(products.mean(), COSINE),
        "variance": equal_in_mean(jnp.mean((products - COSINE) ** 2), (1 + COSINE**2) / ROWS),
        "tail": with_probability(jnp.abs(products - COSINE) < MARGIN, at_least=1 - tail),
    }


@random_projection.control("entries of variance one over the dimension")
def _(key):
    return equal_in_mean(_inner_products(key, ROWS / DIMENSION).mean(), COSINE)


def _kept_signs(key, rows):
    """Whether a sketch with 64 levels keeps the signs of 100 points with margin 0.3 in 2000 dimensions."""
    keys = jax.random.split(key, 3)
    c = jax.random.normal(keys[0], (2000,))
    c = c / jnp.linalg.norm(c)
    x = jax.random.normal(keys[1], (100, 2000))
    x = x - (x @ c)[:, None] * c
    x = MARGIN * c + (1 - MARGIN**2) ** 0.5 * x / jnp.linalg.norm(x, axis=1, keepdims=True)
    compressed = bounds.sketch_compress(bounds.gaussian_sketch(keys[2], rows, 2000), c, num_levels=64)
    return jnp.all(x @ compressed > 0)


@claim(
    "GEN-19.signs",
    title="A sketch as long as a union bound asks for keeps the signs of a whole sample",
    source=f"{BOOK}, section 5.5.1",
    statement=r"k = \left\lceil \frac{\ln(4 m / \eta)}{\gamma^2 / 4 - \gamma^3 / 6} \right\rceil: \quad"
    r" \Pr(\operatorname{sign} \langle \hat c, x_i \rangle = \operatorname{sign} \langle c, x_i \rangle \; \forall i \le m) \ge 1 - \eta",
    statistical=True,
    num_seeds=24,
    chunk_size=4,
    budget=4.0,
)
def signs_of_a_sample(key):
    """The source says so for one input; for a sample the logarithm of its size is needed."""
    return with_probability(_kept_signs(key, bounds.jl_rows(MARGIN, 0.05, 100)), at_least=0.95)


@signs_of_a_sample.control("a sketch with two rows")
def _(key):
    return with_probability(_kept_signs(key, 2), at_least=0.95)
