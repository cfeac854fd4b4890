"""Claims about generalization of kernel predictors: measure and bound, label noise, teachers, kernels in practice (NTK-10, 11, 12, 25)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds, data, models, ntk, optimization
from jaxgen.claims import at_least, at_most, at_most_within, claim, equal, greater, ordered, with_probability
from jaxgen.claims.ntk._wide import mixture, over_nets, sphere, trained, two_layer

BOOK = "Arora et al., Theory of Deep Learning"
DELTA = 0.1
kernel = ntk.infinite.two_layer


def _clipped(predictions, y):
    """A loss in [0, 1] that is 1-Lipschitz."""
    return jnp.minimum(jnp.abs(predictions - y), 1.0)


def _teacher_gap(key, *, shuffled=False):
    """Test minus training loss of the interpolant of a linear teacher at 400 points, and its bound."""
    keys = jax.random.split(key, 4)
    x, z, beta = sphere(keys[0], 400, 3), sphere(keys[1], 1000, 3), sphere(keys[2], 1, 3)
    y, y_test = (bounds.teacher_labels("linear", points, jnp.ones(1), beta) for points in (x, z))
    y_test = jax.random.permutation(keys[3], y_test) if shuffled else y_test
    h, k = kernel(x), kernel(z, x)
    gap = _clipped(ntk.predict(h, y, k), y_test).mean() - _clipped(ntk.predict(h, y, h), y).mean()
    return gap, bounds.kernel_bound(h, y, DELTA)


@claim(
    "NTK-10",
    title="The kernel's generalization bound, with the price of a radius that the data choose",
    source="Bartlett & Mendelson 2002; Arora et al., Theory of Deep Learning, section 9.3.1",
    statement=r"\mathbb{E} \ell \le \hat{\mathbb{E}} \ell + \frac{2 B \sqrt{\operatorname{tr} H}}{n}"
    r" + 3 \sqrt{\frac{\log(2 B (B + 1) / \delta)}{2 n}}, \qquad B = \lceil \sqrt{y^\top H^{-1} y} \, \rceil",
    statistical=True,
    num_seeds=32,
    budget=6.0,
)
def generalization_bound(key):
    """For a linear teacher on the sphere and the loss min(1, |f - y|)."""
    gap, bound = _teacher_gap(key)
    return with_probability(gap <= bound.value, at_least=1 - DELTA)


@generalization_bound.control("a test set with its labels shuffled")
def _(key):
    gap, bound = _teacher_gap(key, shuffled=True)
    return with_probability(gap <= bound.value, at_least=1 - DELTA)


@claim(
    "NTK-10.rademacher",
    title="The Rademacher complexity of a ball of functions is at most B sqrt(tr H) / n",
    source="Bartlett & Mendelson 2002, lemma 22",
    statement=r"\frac Bn \mathbb{E}_\epsilon \sqrt{\epsilon^\top H \epsilon} \le \frac{B \sqrt{\operatorname{tr} H}}{n}",
    statistical=True,
    num_seeds=16,
)
def rademacher(key):
    """Close to it from below: by less than a tenth. On 60 points, of norm one, whose kernel has the trace 30."""
    h = kernel(sphere(key, 60, 10))
    found = bounds.kernel_rademacher(jax.random.fold_in(key, 1), h, 1.0, num_draws=1000)
    return at_most_within(found, jnp.sqrt(jnp.trace(h)) / 60)


@rademacher.control("the root of the trace taken of H squared")
def _(key):
    h = kernel(sphere(key, 60, 10)) / 4
    found = bounds.kernel_rademacher(jax.random.fold_in(key, 1), h, 1.0, num_draws=1000)
    return at_most_within(found, jnp.sqrt(jnp.trace(h @ h)) / 60)


@claim(
    "NTK-10.norm",
    title="What labels cost: the kernel predictor's norm, and how far a wide net moves to fit them",
    source=f"{BOOK}, section 9.3.1, exercise 2",
    statement=r"\lVert f \rVert_{\mathcal H}^2 = y^\top H^{-1} y, \qquad \lVert W(\infty) - W(0) \rVert_F^2 \approx (y - u_0)^\top H^{-1} (y - u_0)",
    num_seeds=4,
    budget=6.0,
)
def cost_of_labels(key):
    """The second is exact for the linearized net. A ReLU net of 4096 neurons on 8 points; the constants 4 and 2 of the measure."""
    x, y = sphere(key, 8, 8), jax.random.normal(jax.random.fold_in(key, 1), (8,))
    net, weights = two_layer(jax.random.fold_in(key, 2), 4096, 8)
    u0, h = net(weights, x), net.kernel(weights, x, x)
    end, _ = trained(net, weights, x, y, 0.5, 400)
    rows = jax.jacrev(lambda w: net(w, x))(weights).reshape(8, -1)
    linear = optimization.gd_limit(rows, y - u0, jnp.zeros(rows.shape[1]))
    squared, limiting = optimization.rkhs_squared_norm(h, y - u0), kernel(x)
    alpha = jnp.linalg.solve(limiting, y)
    measures = jnp.stack([bounds.kernel_complexity(limiting, y, constant=c) for c in (4, 2)])
    return {
        "wide net": equal(jnp.sum((end - weights) ** 2), squared, rtol=0.1),
        "linearized": equal(jnp.sum(linear**2), squared, rtol=1e-8),
        "norm": equal(alpha @ limiting @ alpha, optimization.rkhs_squared_norm(limiting, y), rtol=1e-8),
        "constants": equal(measures[0], jnp.sqrt(2) * measures[1], rtol=1e-12),
        "unit inputs": equal(measures[0], jnp.sqrt(2 * y @ alpha / 8), rtol=1e-8),
    }


@cost_of_labels.control("the outputs at the start forgotten")
def _(key):
    x, y = sphere(key, 8, 8), jax.random.normal(jax.random.fold_in(key, 1), (8,))
    net, weights = two_layer(jax.random.fold_in(key, 2), 4096, 8)
    rows = jax.jacrev(lambda w: net(w, x))(weights).reshape(8, -1)
    linear = optimization.gd_limit(rows, y - net(weights, x), jnp.zeros(rows.shape[1]))
    return equal(jnp.sum(linear**2), optimization.rkhs_squared_norm(net.kernel(weights, x, x), y), rtol=1e-8)


FRACTIONS = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)


def _noise_curves(key, *, shuffled=False):
    """Measure and test error in |f - y| as labels of 100 points of two classes are corrupted, means over 8 corruptions."""
    x, y = mixture(key, 200)
    features = jax.random.permutation(jax.random.fold_in(key, 1), x[:100], axis=0) if shuffled else x[:100]
    h, k = kernel(features), kernel(x[100:], features)

    def at(fraction, key):
        noisy = 2.0 * data.corrupt_labels(key, (y[:100] > 0).astype(jnp.int32), fraction, 2) - 1
        return bounds.kernel_complexity(h, noisy), jnp.abs(ntk.predict(h, noisy, k) - y[100:]).mean()

    keys = jax.random.split(jax.random.fold_in(key, 2), 8)
    curves = jax.lax.map(lambda fraction: jax.tree.map(jnp.mean, jax.lax.map(lambda key: at(fraction, key), keys)), jnp.array(FRACTIONS))
    return curves


@claim(
    "NTK-11",
    title="The measure grows with the part of labels that are random, as the test error does",
    source=f"{BOOK}, section 9.3.1, figure 9.2",
    statement=r"M(H, y) = \sqrt{4 \, y^\top H^{-1} y \, \operatorname{tr} H} / n \text{ increases in the fraction } 0, 0.1, 0.3, 0.5, 0.7, 1",
    num_seeds=8,
    budget=6.0,
)
def label_noise(key):
    """Two Gaussian classes on the sphere; means over 8 corruptions of one sample."""
    measure, error = _noise_curves(key)
    return {"measure": ordered(measure[:5], strict=True), "ends": at_least(measure[-1], 1.5 * measure[0]), "error": ordered(error, strict=True)}


@label_noise.control("features that do not belong to the labels")
def _(key):
    measure, _ = _noise_curves(key, shuffled=True)
    return at_least(measure[-1], 1.5 * measure[0])


TEACHERS = (("linear", 1), ("power", 2), ("power", 4), ("cosine", 1))


def _teacher(key, kind, p, n, d):
    """The kernel of n points, a teacher's labels, and the bound on their measure."""
    x, alpha, beta = sphere(key, n, d), jnp.array([0.7, -1.2]), 1.5 * sphere(jax.random.fold_in(key, 1), 2, d)
    return kernel(x), bounds.teacher_labels(kind, x, alpha, beta, p), bounds.teacher_complexity(kind, alpha, beta, n, p)


@claim(
    "NTK-12.bound",
    title="Linear teachers, even powers and cosines cost little, whatever the inputs",
    source=f"{BOOK}, section 9.3.1, exercise 3; Arora, Du, Hu, Li & Wang 2019",
    statement=r"\sqrt{y^\top H^{-1} y} \le \sum_j |\alpha_j| \lVert \beta_j \rVert^p / \sqrt{c_p}, \quad c_1 = \tfrac14, \;"
    r" c_p = \tfrac{(p-3)!!}{2 \pi (p-2)!! (p-1)}; \qquad \cos: \; 3 \textstyle\sum_j |\alpha_j| \lVert \beta_j \rVert \sinh \lVert \beta_j \rVert",
    budget=5.0,
)
def teachers(key):
    """Thirty points in 40 and in 10 dimensions. The source prints p |beta| sinh(|beta|^2) for the cosine. Odd powers have no bound."""
    checks = {}
    for kind, p in TEACHERS:
        for d in (40, 10):
            h, y, bound = _teacher(key, kind, p, 30, d)
            checks[f"{kind} {p} in {d}"] = at_most(bounds.kernel_complexity(h, y), bound)
    x = sphere(key, 30, 40)
    odd = bounds.teacher_complexity("power", jnp.ones(1), jnp.ones((1, 3)), 30, 3)
    return checks | {
        "order": at_least(jnp.linalg.eigvalsh(kernel(x) - x @ x.T / 4), 0.0, slack=1e-10),
        "trace": equal(jnp.trace(kernel(x)), 15.0, rtol=1e-12),
        "odd": equal(odd.value, jnp.inf, rtol=0),
    }


@teachers.control("a cubic teacher with the bound 3 p |alpha| |beta|^p of even powers")
def _(key):
    x, beta = sphere(key, 400, 3), sphere(jax.random.fold_in(key, 1), 1, 3)
    y = bounds.teacher_labels("power", x, jnp.ones(1), beta, 3)
    return at_most(jnp.sqrt(optimization.rkhs_squared_norm(kernel(x), y)), 9.0)


@teachers.control("the kernel without the factor x_i.x_j, which is not above K / 4")
def _(key):
    x = sphere(key, 60, 5)
    return at_least(jnp.linalg.eigvalsh(ntk.infinite.relu_kappa0(x @ x.T) / 2 - x @ x.T / 4), 0.0, slack=1e-10)


def _digits(key, num_train=200):
    """Digits as unit vectors: 200 to train on and 500 to test on."""
    digits = data.load("digits")
    x = jnp.concatenate([digits.x_train, digits.x_test]).reshape(-1, 64).astype(float)
    y = jnp.concatenate([digits.y_train, digits.y_test])
    chosen = jax.random.permutation(key, len(x))[: num_train + 500]
    x = x[chosen] / jnp.linalg.norm(x[chosen], axis=1, keepdims=True)
    return x[:num_train], y[chosen[:num_train]], x[num_train:], y[chosen[num_train:]]


def _accuracy(kernel_fn, x, y, z, y_test, ridge=1e-3):
    targets = jax.nn.one_hot(y, 10) - 0.1
    predictions = ntk.predict(kernel_fn(x, x), targets, kernel_fn(z, x), ridge=ridge)
    return jnp.mean(jnp.argmax(predictions, axis=1) == y_test)


def _deep(x, z):
    return ntk.infinite.fully_connected(x, z, depth=3, activation="relu").ntk


@claim(
    "NTK-25",
    title="Regression with a tangent kernel on small data: better than linear, as good as a Gaussian kernel, and it fits random labels",
    source=f"{BOOK}, opening of chapter 9 and section 9.5",
    statement=r"200 digits: accuracy of $\Theta^{(3)}$ at least that of the linear kernel plus 1 point, and of the Gaussian kernel less 2",
    num_seeds=8,
    budget=6.0,
)
def small_data(key):
    """A consequence that can be checked of the source's remarks on 90 data sets, which it does not give."""
    x, y, z, y_test = _digits(key)
    tangent = _accuracy(_deep, x, y, z, y_test)
    gaussian = _accuracy(lambda a, b: optimization.gram(optimization.gaussian_kernel, a, b), x, y, z, y_test)
    noise = jax.random.rademacher(jax.random.fold_in(key, 1), (len(x),), float)
    return {
        "linear": at_least(tangent, _accuracy(lambda a, b: a @ b.T, x, y, z, y_test, 1e-2) + 0.01),
        "gaussian": at_least(tangent, gaussian - 0.02),
        "random labels": at_most(jnp.abs(ntk.predict(_deep(x, x), noise, _deep(x, x)) - noise), 1e-6),
    }


@small_data.control("a constant kernel")
def _(key):
    x, y, z, y_test = _digits(key)
    return at_least(_accuracy(lambda a, b: jnp.ones((len(a), len(b))), x, y, z, y_test), 0.5)


def _student_losses(key, widths):
    """Mean loss over five ReLU students of each width after 300 steps on 40 labels of a teacher of four neurons."""
    x = sphere(key, 40, 6)
    net = models.mlp((4, 1), bias=False)
    y = 3 * net.apply(net.init(jax.random.fold_in(key, 1), x), x)[:, 0]

    def loss(key, width):
        student, weights = two_layer(key, width, 6, largest=max(widths))
        end, _ = trained(student, weights, x, y, 0.05, 300)
        return jnp.mean((student(end, x) - y) ** 2)

    return over_nets(loss, jax.random.fold_in(key, 2), widths, 5).mean(axis=1)


@claim(
    "NTK-25.students",
    title="Overparametrized students fit a teacher's labels more easily",
    source=f"{BOOK}, section 9.5",
    statement=r"\text{training loss after 300 steps falls with the student's width } 8, 64, 1024 \text{ (teacher: 4)}",
    num_seeds=8,
    budget=5.0,
)
def students(key):
    losses = _student_losses(key, (8, 64, 1024))
    return ordered(losses, strict=True, decreasing=True)


@students.control("students of one width")
def _(key):
    losses = _student_losses(key, (64, 64, 64))
    return greater(losses[:-1], losses[1:])
