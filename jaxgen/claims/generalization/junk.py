"""Claims about the example of signal and junk, where uniform convergence cannot explain generalization (GEN-14, GEN-15)."""

import math

import jax
import jax.numpy as jnp

from jaxgen import Estimate, bounds
from jaxgen.claims import at_least, at_most, claim, equal, equal_in_mean, equal_within, less

BOOK = "Arora et al., Theory of Deep Learning"
ERROR = 0.01


def _trained(key, m, num_junk, c, noise_var=1.0):
    """A sample, and the weights trained on it and on the same with its junk negated."""
    sample = bounds.junk_example_sample(key, m, num_junk, 2, c, noise_var)
    flipped = bounds.junk_example_flip(sample)
    return sample, bounds.junk_example_train(sample.x, sample.y), bounds.junk_example_train(flipped.x, flipped.y)


@claim(
    "GEN-14",
    title="One step of gradient descent on signal and junk, and enough junk for a small test error",
    source=f"{BOOK}, section 5.4.1, equations (5.5) to (5.7); Nagarajan & Kolter 2019",
    statement=r"w_S = \left( m u, \sum_i y_i x_2^i \right), \quad c = m \lVert u \rVert^2: \qquad"
    r" L_D(w_S) = \Phi\left( -c \sqrt D / \lVert w_2 \rVert \right) \le \delta \text{ if } D \ge 2 m \log(1/\delta) / c^2",
)
def signal_and_junk(key):
    """m = 100, delta = 0.01, c = 1 and 1/2. The source prints D = m sqrt(log(1/delta)), whose test error is above 0.05."""
    checks = {}
    for c in (1.0, 0.5):
        num_junk = math.ceil(2 * 100 * math.log(1 / ERROR) / c**2)
        sample, w, _ = _trained(key, 100, num_junk, c)
        gradient = jax.grad(lambda w, sample=sample: -jnp.sum(sample.y * (sample.x @ w)))(jnp.zeros_like(w))
        junk = jnp.linalg.norm(w[2:])
        checks |= {
            f"step, c = {c}": equal(w, -gradient, rtol=1e-12, atol=1e-12),
            f"signal, c = {c}": equal(w[:2], 100 * sample.u, rtol=1e-12),
            f"form, c = {c}": equal(
                bounds.junk_example_test_error(w, sample.u), jax.scipy.stats.norm.cdf(-c * jnp.sqrt(float(num_junk)) / junk), rtol=1e-9
            ),
            f"error, c = {c}": at_most(bounds.junk_example_test_error(w, sample.u), ERROR),
            f"dimension, c = {c}": at_most(bounds.junk_example_dimension(100, c, ERROR), num_junk),
        }
    for error, ratio in ((1.2033e-3, 2 * math.log(100)), (0.0714725, math.sqrt(math.log(100)))):
        w = jnp.array([math.sqrt(ratio), 1.0])
        checks[f"known, {error}"] = equal(bounds.junk_example_test_error(w, jnp.ones(1)), error, rtol=1e-4)
    return checks


@signal_and_junk.control("the number of junk coordinates as printed")
def _(key):
    sample, w, _ = _trained(key, 100, round(100 * math.sqrt(math.log(1 / ERROR))), 1.0)
    return at_most(bounds.junk_example_test_error(w, sample.u), 3 * ERROR)


@claim(
    "GEN-14.draws",
    title="Test error and norm of what is trained on signal and junk, by sampling",
    source=f"{BOOK}, section 5.4.1",
    statement=r"\Pr(y \, w_S^\top x \le 0) = \Phi\left( -c \sqrt{D / v} / \lVert w_2 \rVert \right), \qquad"
    r" \mathbb{E} \lVert w_S \rVert^2 = m (c + v)",
    statistical=True,
    num_seeds=32,
    budget=4.0,
)
def sampled_error(key):
    """Ten thousand test points a seed; twenty examples, forty junk coordinates, c = 1, v = 1 and 2."""
    checks = {}
    for noise_var in (1.0, 2.0):
        exact, sampled, norm = _sampled(key, noise_var)
        checks |= {f"error, v = {noise_var}": equal_within(sampled, exact), f"norm, v = {noise_var}": equal_in_mean(norm, 20 * (1 + noise_var))}
    return checks


def _sampled(key, noise_var, assumed=None):
    """Test error by its closed form and on ten thousand points, and the squared norm of the weights."""
    sample, w, _ = _trained(key, 20, 40, 1.0, noise_var)
    junk = jnp.sqrt(noise_var / 40) * jax.random.normal(jax.random.fold_in(key, 1), (10_000, 40))
    wrong = (w[:2] @ sample.u + junk @ w[2:] <= 0).astype(float)
    sampled = Estimate(wrong.mean(), wrong.std() / 100)
    return bounds.junk_example_test_error(w, sample.u, assumed or noise_var), sampled, jnp.sum(w**2)


@sampled_error.control("the variance of the junk forgotten")
def _(key):
    exact, sampled, _ = _sampled(key, 2.0, assumed=1.0)
    return equal_within(sampled, exact)


def _errors(key, c=0.5, m=50, num_junk=4000, noise_var=1.0):
    """Errors of what is trained on a sample and on its flip, on the sample and on the population, and both pruned to the signal."""
    sample, w, w_flip = _trained(key, m, num_junk, c, noise_var)
    signal = jnp.arange(len(w)) < 2
    found = {}
    for name, weights in (("own", w), ("flip", w_flip)):
        pruned = bounds.prune_coordinates(weights, signal)
        for kind, one in ((name, weights), (f"{name}, pruned", pruned)):
            train = bounds.junk_example_train_error(one, sample.x, sample.y)
            found[kind] = train, bounds.junk_example_test_error(one, sample.u, noise_var)
    return found


@claim(
    "GEN-15",
    title="What is trained on the flipped sample errs on all of the sample, and next to nowhere else",
    source=f"{BOOK}, claim 5.4.1; Nagarajan & Kolter 2019",
    statement=r"c < 1, \; D \ge 2 m \log(m / \delta) / (1 - c)^2: \quad \hat L_S(w_S) = 0, \; \hat L_S(w_{S_{flip}}) = 1, \;"
    r" L_D(w_S) = L_D(w_{S_{flip}}) \approx 0, \quad \text{so } \epsilon_{unif-alg} \to 1",
    core=True,
    num_seeds=20,
    budget=4.0,
)
def failure_of_uniform_convergence(key):
    """m = 50, D = 4000, c = 1/2. With c = 1, as printed, it errs on about half of the sample only. Pruning removes the obstruction."""
    found = _errors(key)
    halfway = _errors(key, c=1.0)["flip"][0]
    return {
        "training error": equal(found["own"][0], 0.0, rtol=0),
        "test error": less(found["own"][1], 1e-3),
        "test error, flip": equal(found["flip"][1], found["own"][1], rtol=1e-9),
        "training error, flip": at_least(found["flip"][0], 0.98),
        "pruned": equal(jnp.stack([*found["own, pruned"], *found["flip, pruned"]]), jnp.zeros(4), rtol=0),
        "flip, c = 1": equal(halfway, 0.5, rtol=0, atol=0.3),
        "dimension": at_most(bounds.junk_example_dimension(50, 0.5, 0.05, goal="flipped_error"), 4000),
    }


@failure_of_uniform_convergence.control("c = 1, as printed")
def _(key):
    return at_least(_errors(key, c=1.0)["flip"][0], 0.98)


@failure_of_uniform_convergence.control("junk pruned from the flipped classifier")
def _(key):
    return at_least(_errors(key)["flip, pruned"][0], 0.98)


@claim(
    "GEN-15.variance",
    title="With louder junk the flipped classifier errs on all of the sample for c = 1 too",
    source="Nagarajan & Kolter 2019",
    statement=r"c = 1, \; x_2 \sim N(0, \tfrac4D I): \quad \hat L_S(w_{S_{flip}}) = 1, \; L_D \approx \Phi\left( -\tfrac14 \sqrt{D / m} \right)",
)
def louder_junk(key):
    """m = 20 and D = 8000, of variance 4/D."""
    found = _errors(key, c=1.0, m=20, num_junk=8000, noise_var=4.0)
    return {"training error, flip": equal(found["flip"][0], 1.0, rtol=0), "test error": less(found["flip"][1], 1e-5)}


@louder_junk.control("junk of variance 1/D")
def _(key):
    return equal(_errors(key, c=1.0, m=20, num_junk=8000)["flip"][0], 1.0, rtol=0)


def _gaps(key, *, pruned=False):
    """Gaps of four learners on each other's samples: two independent samples, and their flips."""
    samples = [bounds.junk_example_sample(one, 50, 4000, 2, 0.5) for one in jax.random.split(key)]
    samples += [bounds.junk_example_flip(one) for one in samples]

    def train(batch):
        w = bounds.junk_example_train(*batch)
        return bounds.prune_coordinates(w, jnp.arange(len(w)) < 2) if pruned else w

    def zero_one(w, batch):
        return (batch[1] * (batch[0] @ w) <= 0).astype(float)

    stacked = jnp.stack([one.x for one in samples]), jnp.stack([one.y for one in samples])
    return bounds.cross_sample_gap(train, zero_one, stacked, lambda w: bounds.junk_example_test_error(w, samples[0].u))


@claim(
    "GEN-15.samples",
    title="Uniform convergence fails over what the learner itself returns from other samples",
    source="Nagarajan & Kolter 2019, definition 3.2",
    statement=r"|L_D(h_{S'}) - \hat L_S(h_{S'})| \approx 1 \text{ at } S' = S_{flip}, \quad \approx 0 \text{ at } S' = S \text{ and independent } S'",
    budget=4.0,
)
def gaps_between_samples(key):
    """m = 50, D = 4000, c = 1/2. Independent samples would not show it: it is the worst of samples that counts."""
    gaps, partner = _gaps(key), jnp.array([2, 3, 0, 1])
    independent = gaps[jnp.array([0, 1, 2, 3]), jnp.array([1, 0, 3, 2])]
    return {
        "own": at_most(jnp.diagonal(gaps), 1e-3),
        "flipped": at_least(gaps[jnp.arange(4), partner], 0.97),
        "independent": at_most(independent, 0.1),
        "pruned": at_most(_gaps(key, pruned=True), 0.0),
    }


@gaps_between_samples.control("the largest gap over independent samples in place of flipped ones")
def _(key):
    return at_least(_gaps(key)[:2, :2].max(), 0.97)


def _flipped_margins(key, flip=True):
    """Margins on the sample of what is trained on its flip, and the two parts that vary: squared norms of junk, and cross terms."""
    sample, w, w_flip = _trained(key, 40, 300, 0.5)
    junk = sample.y[:, None] * sample.x[:, 2:]
    squared = jnp.sum(junk**2, axis=1)
    return sample.y * (sample.x @ (w_flip if flip else w)), squared, junk @ junk.sum(axis=0) - squared


@claim(
    "GEN-15.margins",
    title="Margins on the sample of what is trained on its flip",
    source=f"{BOOK}, proof of claim 5.4.1",
    statement=r"y_i w_{flip}^\top x_i = c - \lVert x_2^i \rVert^2 - \sum_{j \ne i} y_i y_j \, x_2^i \cdot x_2^j: \quad"
    r" \text{mean } c - 1, \text{ variances } 2/D \text{ and } (m - 1)/D",
    statistical=True,
    num_seeds=64,
)
def flipped_margins(key):
    """m = 40, D = 300. The source's proof takes |(w_S - w_flip).z| of at least 2 to mean different signs, which it does not."""
    margins, squared, cross = _flipped_margins(key)
    return {
        "parts": equal(margins, 0.5 - squared - cross, rtol=1e-9, atol=1e-12),
        "mean": equal_in_mean(margins.mean(), -0.5),
        "own": equal_in_mean(jnp.mean((squared - 1) ** 2), 2 / 300),
        "cross": equal_in_mean(jnp.mean(cross**2), 39 / 300),
    }


@flipped_margins.control("the classifier of the sample itself")
def _(key):
    return equal_in_mean(_flipped_margins(key, flip=False)[0].mean(), -0.5)


@claim(
    "GEN-15.bounds",
    title="A bound by uniform convergence is vacuous where the gap is nothing, and good once the junk is pruned",
    source=f"{BOOK}, section 5.4; Nagarajan & Kolter 2019",
    statement=r"\frac{2 \lVert w_S \rVert}{\gamma m} \sqrt{\sum_i \lVert x_i \rVert^2} \ge 1 \text{ at every } m, \qquad"
    r" \text{pruned: } \frac{2}{\sqrt m}",
)
def bound_of_the_norm_ball(key):
    """Rademacher bounds of the ball of w_S, for the ramp loss at the smallest margin on the sample, with D = 80 m and m = 25, 100."""
    full, pruned, gaps = zip(*(_norm_ball(key, m) for m in (25, 100)), strict=True)
    return {
        "full": at_least(jnp.stack(full), 1.0),
        "pruned": equal(jnp.stack(pruned), 2 / jnp.sqrt(jnp.array([25.0, 100.0])), rtol=1e-9),
        "gap": at_most(jnp.stack(gaps), 1e-4),
    }


def _norm_ball(key, m):
    """Twice the bound on the complexity of the ball that w_S is in, over its margin, whole and pruned, and the gap."""
    sample, w, _ = _trained(key, m, 80 * m, 0.5)
    signal = jnp.arange(len(w)) < 2

    def ball(kept):
        weights, x = bounds.prune_coordinates(w, kept), jnp.where(kept, sample.x, 0.0)
        margin = jnp.min(sample.y * (x @ weights))
        return 2 * bounds.rademacher_linear_bound(x, jnp.linalg.norm(weights)) / margin

    gap = bounds.junk_example_test_error(w, sample.u) - bounds.junk_example_train_error(w, sample.x, sample.y)
    return ball(signal | True), ball(signal), gap


@bound_of_the_norm_ball.control("a bound of the whole ball that falls with the number of examples")
def _(key):
    full, _, _ = _norm_ball(key, 100)
    return at_most(full, 2 / jnp.sqrt(100.0))
