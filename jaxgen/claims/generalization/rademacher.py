"""Claims about Rademacher complexity in its definitions, and the generalization bound by it (GEN-8, GEN-9)."""

from itertools import product

import jax
import jax.numpy as jnp

from jaxgen import Estimate, bounds
from jaxgen.claims import at_most, at_most_in_mean, at_most_within, claim, equal, equal_within, with_probability

BOOK = "Arora et al., Theory of Deep Learning"
NUM_HYPOTHESES, HALF = 50, 8
DELTA = 0.05


def _losses(key, num_hypotheses=NUM_HYPOTHESES):
    """Zero-one losses on two samples of eight, side by side."""
    return jax.random.bernoulli(key, 0.5, (num_hypotheses, 2 * HALF)).astype(float)


def _over_all_signs(values, **options):
    return bounds.empirical_rademacher(None, values, num_draws=None, **options).value


@claim(
    "GEN-8",
    title="Two samples or random signs: Rademacher complexities are within 1 / sqrt(2m) of each other",
    source=f"{BOOK}, section 5.3.1, equation (5.3) and footnote 6",
    statement=r"R_{m} = \mathbb{E} \frac{1}{2m} \sup_h \left|\sum_{S_1} \ell - \sum_{S_2} \ell\right|: \quad"
    r" |R_{m} - \tilde R_{2m}| \le \frac{1}{\sqrt{2m}}, \qquad R_{m} \le \tilde R_m",
    budget=4.0,
)
def definitions(key):
    """Over all 65,536 signs and all 12,870 halves of 16 points. The second holds for every way to pair the points of two samples."""
    losses = _losses(key)
    two_sample, signs = (_over_all_signs(losses, absolute=True, balanced=balanced) for balanced in (True, False))
    first, second = losses[:, :HALF], losses[:, HALF:]
    paired = _over_all_signs((first - second) / 2, absolute=True)
    halves = [_over_all_signs(half, absolute=True) for half in (first, second)]
    return {
        "distance": at_most(jnp.abs(two_sample - signs), 1 / jnp.sqrt(2.0 * HALF)),
        "halves": at_most(paired, (halves[0] + halves[1]) / 2, slack=1e-12),
    }


@definitions.control("one hypothesis, without the absolute value")
def _(key):
    losses = jax.random.permutation(key, jnp.arange(2 * HALF) % 2)[None]
    return equal(_over_all_signs(losses), _over_all_signs(losses, absolute=True, balanced=True), rtol=0.01)


@definitions.control("half of the distance, for a loss that is the same everywhere")
def _(key):
    losses = jax.random.uniform(key, (1, 1), minval=0.9) * jnp.ones((1, 2 * HALF))
    two_sample, signs = (_over_all_signs(losses, absolute=True, balanced=balanced) for balanced in (True, False))
    return at_most(jnp.abs(two_sample - signs), 0.5 / jnp.sqrt(2.0 * HALF))


@claim(
    "GEN-8.known",
    title="Rademacher complexities of the largest and of the smallest class",
    source=f"{BOOK}, section 5.3.1",
    statement=r"\text{all labellings: } R_m = \tilde R_n(\ell_{01}) = \tfrac12, \; \tilde R_n(\pm 1) = 1; \qquad"
    r" \text{one fair hypothesis: } R_1 = \tfrac14",
)
def known_values(key):
    every = jax.random.permutation(key, jnp.array(list(product([-1.0, 1.0], repeat=6))))
    zero_one = (1 + every) / 2
    fair = jnp.array(list(product([0.0, 1.0], repeat=2)))
    single = jax.vmap(lambda pair: bounds.rademacher_two_sample(pair[None, :1], pair[None, 1:]))(fair)
    return {
        "two samples": equal(bounds.rademacher_two_sample(zero_one[:, :3], zero_one[:, 3:]), 0.5, rtol=1e-12),
        "signs": equal(_over_all_signs(zero_one), 0.5, rtol=1e-12),
        "outputs": equal(_over_all_signs(every), 1.0, rtol=1e-12),
        "one hypothesis": equal(single.mean(), 0.25, rtol=1e-12),
    }


@known_values.control("one labelling left out")
def _(key):
    every = jax.random.permutation(key, jnp.array(list(product([-1.0, 1.0], repeat=6))))
    return equal(_over_all_signs(every[1:]), 1.0, rtol=1e-12)


@claim(
    "GEN-8.draws",
    title="Drawn signs and drawn halves estimate what all of them average to",
    source=f"{BOOK}, section 5.3.1; Bartlett & Mendelson 2002",
    statement=r"\frac1N \sum_k \sup_h \frac1n \sum_i \sigma^k_i \ell_h(z_i) \to \tilde R_n, \qquad"
    r" \text{over random halves of } 2m \text{ points: } \to R_m",
    statistical=True,
    num_seeds=32,
    budget=4.0,
)
def draws(key):
    keys, losses = jax.random.split(key, 3), _losses(key)[:, :10]
    exact = {options: _over_all_signs(losses, absolute=options[0], balanced=options[1]) for options in product([False, True], repeat=2)}
    checks = {}
    for (absolute, balanced), value in exact.items():
        found = bounds.empirical_rademacher(keys[0], losses, num_draws=200, absolute=absolute, balanced=balanced)
        checks[f"{'absolute' if absolute else 'signed'}, {'balanced' if balanced else 'free'}"] = equal_within(found, value)

    def halved(key):
        shuffled = jax.random.permutation(key, losses, axis=1)
        return bounds.rademacher_two_sample(shuffled[:, :5], shuffled[:, 5:])

    values = jax.lax.map(halved, jax.random.split(keys[1], 200))
    halves = Estimate(values.mean(), values.std(ddof=1) / jnp.sqrt(200))
    return checks | {"halves": equal_within(halves, exact[True, True])}


@draws.control("absolute values where none are taken")
def _(key):
    losses = _losses(key)[:, :10]
    return equal_within(bounds.empirical_rademacher(key, losses, num_draws=200, absolute=True), _over_all_signs(losses))


@claim(
    "GEN-8.fits",
    title="What a fit to random signs achieves is at most the complexity of its class",
    source="Zhang, Bengio, Hardt, Recht & Vinyals 2017, section 2.2",
    statement=r"\mathbb{E} \frac1n \sum_i \sigma_i f_\sigma(x_i) \le \tilde R_n(\mathcal F), \quad f_\sigma \in \mathcal F",
    statistical=True,
    num_seeds=16,
)
def fits(key):
    """Linear predictors of norm one: by the best of them, and by some projected gradient descent on a hinge loss."""
    x = jax.random.normal(key, (12, 5))
    exact = bounds.rademacher_linear(None, x, num_draws=None).value
    best = bounds.rademacher_via_fit(key, lambda x, signs: jnp.linalg.norm(signs @ x) / 12, x, num_draws=200)
    searched = bounds.rademacher_via_fit(key, _hinge_fit(1.0), x, num_draws=200)
    return {"best": equal_within(best, exact), "searched": at_most_within(searched, exact)}


@fits.control("predictors outside of the class")
def _(key):
    x = jax.random.normal(key, (12, 5))
    found = bounds.rademacher_via_fit(key, _hinge_fit(2.0), x, num_draws=200)
    return at_most_within(found, bounds.rademacher_linear(None, x, num_draws=None).value)


def _hinge_fit(radius):
    """Mean correlation with signs after 20 projected steps on the mean of max(0, 4 - sign * prediction)."""

    def fit(x, signs):
        def step(w, _):
            w = w + 0.3 * jnp.mean(jnp.where(signs * (x @ w) < 4, signs, 0.0)[:, None] * x, axis=0)
            return w * jnp.minimum(1.0, radius / jnp.linalg.norm(w)), None

        w, _ = jax.lax.scan(step, jnp.zeros(x.shape[1]), None, length=20)
        return jnp.mean(signs * (x @ w))

    return fit


NUM_EXAMPLES, NUM_RUNS, NUM_PAIRS, NOISE = 100, 32, 64, 0.2


def _sample(key, noise=NOISE):
    """Points of [0, 1] in order, with labels 1[x > 1/2] of which a share is flipped."""
    x_key, flip_key = jax.random.split(key)
    x = jnp.sort(jax.random.uniform(x_key, (NUM_EXAMPLES,)))
    return x, (x > 0.5) ^ jax.random.bernoulli(flip_key, noise, (NUM_EXAMPLES,))


def _threshold_losses(sample, thresholds):
    x, y = sample
    return ((x > thresholds[:, None]) != y).astype(float)


def _largest_gap(sample):
    """sup over thresholds of risk minus empirical risk, exactly: the latter is constant between two points, the former |t - 1/2| up to scale."""
    ends = jnp.concatenate([jnp.zeros(1), sample[0], jnp.ones(1)])
    risk = NOISE + (1 - 2 * NOISE) * jnp.abs(ends - 0.5)
    empirical = _threshold_losses(sample, ends[:-1]).mean(axis=1)
    return (jnp.maximum(risk[:-1], risk[1:]) - empirical).max()


def _apart(key):
    """The two-sample complexity of thresholds on one pair of samples."""
    samples = [_sample(one) for one in jax.random.split(key)]
    thresholds = jnp.concatenate([jnp.zeros(1), samples[0][0], samples[1][0]])
    return bounds.rademacher_two_sample(*(_threshold_losses(sample, thresholds) for sample in samples))


def _gap_and_bounds(key):
    """The largest gap of a sample, and the penalty by the complexity on it, from 16 vectors of signs."""
    sample = _sample(key)
    losses = _threshold_losses(sample, jnp.concatenate([jnp.zeros(1), sample[0]]))
    complexity = bounds.empirical_rademacher(jax.random.fold_in(key, 1), losses, num_draws=16)
    bound = bounds.rademacher_bound(0.0, complexity, NUM_EXAMPLES, DELTA, definition="sign_empirical", num_draws=16)
    return _largest_gap(sample), bound.value


def _least_error_of_intervals(labels, num_intervals=20):
    """The least share of errors of unions of intervals on ordered points, by dynamic programming over the number of ends passed."""
    inside = jnp.arange(2 * num_intervals + 1) % 2

    def step(errors, label):
        moved = jnp.minimum(errors, jnp.concatenate([jnp.full(1, jnp.inf), errors[:-1]]))
        return moved + (inside != label), None

    errors, _ = jax.lax.scan(step, jnp.where(jnp.arange(2 * num_intervals + 1) < 2, 0.0, jnp.inf), labels)
    return errors.min() / len(labels)


def _gaps_of_intervals(key):
    """Largest gaps of unions of 20 intervals on labels that are fair coins: their risk is one half."""
    return jax.vmap(lambda key: 0.5 - _least_error_of_intervals(_sample(key, 0.5)[1]))(jax.random.split(key, NUM_RUNS))


@claim(
    "GEN-9",
    title="The Rademacher bound holds for all thresholds at once, in at least 1 - delta of samples",
    source=f"{BOOK}, theorem 5.3.1; Bartlett & Mendelson 2002, theorem 8",
    statement=r"L_D(h) \le \hat L_S(h) + 2 R_{m,D} + \sqrt{\frac{\log(1/\delta)}{2m}} \; \forall h, \qquad"
    r" L_D(h) \le \hat L_S(h) + 2 \hat R_S + 3 \sqrt{\frac{\log(2/\delta)}{2m}} \; \forall h",
    statistical=True,
    core=True,
    budget=5.0,
)
def rademacher_bound(key):
    """Thresholds, a fifth of labels flipped, m = 100, 32 samples a seed. The source prints log(1/delta) / sqrt(m), and has ERM maximize the gap."""
    keys = jax.random.split(key, 2)
    expected = jax.vmap(_apart)(jax.random.split(keys[0], NUM_PAIRS)).mean()
    gaps, on_sample = jax.vmap(_gap_and_bounds)(jax.random.split(keys[1], NUM_RUNS))
    bound = bounds.rademacher_bound(0.0, expected, NUM_EXAMPLES, DELTA)
    return {
        "two samples": with_probability(gaps <= bound.value, at_least=1 - DELTA),
        "on the sample": with_probability(gaps <= on_sample, at_least=1 - DELTA),
    }


@rademacher_bound.control("unions of 20 intervals on random labels, without their complexity")
def _(key):
    bound = bounds.rademacher_bound(0.0, 0.0, NUM_EXAMPLES, DELTA)
    return with_probability(_gaps_of_intervals(key) <= bound.value, at_least=1 - DELTA)


@claim(
    "GEN-9.mean",
    title="The largest gap is in expectation at most twice the two-sample complexity",
    source=f"{BOOK}, theorem 5.3.1",
    statement=r"\mathbb{E} \sup_h (L_D(h) - \hat L_S(h)) \le 2 R_{m,D}",
    statistical=True,
    num_seeds=32,
    budget=4.0,
)
def mean_of_largest_gap(key):
    """Thresholds, m = 100, on the same samples as GEN-9."""
    keys = jax.random.split(key, 2)
    gap = jax.vmap(lambda key: _largest_gap(_sample(key)))(jax.random.split(keys[0], NUM_RUNS)).mean()
    return at_most_in_mean(gap, 2 * jax.vmap(_apart)(jax.random.split(keys[1], NUM_RUNS)).mean())


@mean_of_largest_gap.control("unions of 20 intervals, with the complexity of thresholds")
def _(key):
    return at_most_in_mean(_gaps_of_intervals(key).mean(), 2 * jax.vmap(_apart)(jax.random.split(key, NUM_RUNS)).mean())
