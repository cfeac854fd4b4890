"""Claims about sums of independent random variables (PROB-2 to PROB-7), against exact distributions."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import binom

from jaxgen import bounds
from jaxgen.claims import at_least, at_most, claim, converges, equal, less

BOOK = "Arora et al., Theory of Deep Learning"
MANY = 10_000
EXACT = 1e-12


def _upper_tails(masses):
    """Pr[X >= k] for k = 0, ..., n, summed from the small end."""
    return jnp.cumsum(masses[::-1])[::-1]


def _poisson_binomial(odds):
    """The distribution of a sum of independent bits."""

    def step(masses, p):
        return (1 - p) * masses + p * jnp.roll(masses, 1), None

    return jax.lax.scan(step, jnp.zeros(len(odds) + 1).at[0].set(1.0), odds)[0]


def _odds(key, n=40):
    return jax.random.uniform(key, (n,)) ** 3


@claim(
    "PROB-2",
    title="Markov's and Chebyshev's inequalities, attained by two and three points",
    source=f"{BOOK}, Lemmas 1.1.1 and 1.1.2",
    statement=r"X \ge 0: \Pr[X \ge t] \le \frac{\mathbb{E} X}{t}, \qquad \Pr[|X - \mathbb{E} X| \ge t] \le \frac{\operatorname{Var} X}{t^2}",
    core=True,
)
def markov_and_chebyshev(key):
    """On random laws of ten points the inequalities, on laws of two and three points equalities. The second needs no X >= 0."""
    keys = jax.random.split(key, 4)
    p, t = 0.5 * jax.random.uniform(keys[0]), 0.1 + jax.random.uniform(keys[1])
    atoms, masses = jax.random.normal(keys[2], (10,)), jax.nn.softmax(jax.random.normal(keys[3], (10,)))
    positive, centred = jnp.abs(atoms), atoms - atoms @ masses
    return {
        "Markov attained": equal(bounds.markov_bound(p * t, t), p, rtol=EXACT),
        "Chebyshev attained": equal(bounds.chebyshev_bound(2 * p * t**2, t), 2 * p, rtol=EXACT),
        "Markov": at_most(masses @ (positive >= t), bounds.markov_bound(masses @ positive, t)),
        "Chebyshev": at_most(masses @ (jnp.abs(centred) >= t), bounds.chebyshev_bound(masses @ centred**2, t)),
    }


@markov_and_chebyshev.control("Markov's inequality for a fair sign")
def _(key):
    return at_most(0.5, bounds.markov_bound(0.0, 1.0))


SIZES = (4, 16, 64, 256)


def _distance_of_binomial(n):
    atoms = jnp.arange(max(SIZES) + 1.0)
    return bounds.clt_ks_distance(atoms, 0.3 * n, 0.21 * n, weights=binom.pmf(atoms, n, 0.3))


@claim(
    "PROB-3",
    title="Sums of n independent variables are Gaussian to one over the root of n",
    source=f"{BOOK}, Theorem 1.1.3; Berry 1941, Esseen 1942",
    statement=r"\sup_x |F_n(x) - \Phi(x)| \le 0.56 \, \frac{\sum_i \mathbb{E} |X_i - \mu_i|^3}{(\sum_i \sigma_i^2)^{3/2}}",
    num_seeds=1,
)
def central_limit(key):
    """For binomials, exactly. The source's informal statement asks for independence alone, which does not do: see the control."""
    sizes = jnp.array(SIZES, float)
    distances = jax.vmap(_distance_of_binomial)(sizes)
    summands = jnp.arange(max(SIZES)) < sizes[:, None]
    limits = bounds.berry_esseen_bound((0.3 * 0.7**3 + 0.7 * 0.3**3) * summands, 0.21 * summands)
    return {
        "known distances": equal(distances, jnp.array([0.2381, 0.1186, 0.0615, 0.0308]), rtol=0, atol=1e-4),
        "rate": converges(distances, order=-0.5, steps=sizes, tolerance=0.03),
        "Berry and Esseen": at_most(distances, limits),
    }


@central_limit.control("signs of variances 4^i, whose last outweighs the others")
def _(key):
    """The sum of n signs times 2^i is uniform on the odd numbers up to 2^n."""
    counts, atoms = jnp.array([7.0, 9.0, 11.0]), 2.0 * jnp.arange(2**11) + 1 - 2**11

    def distance(n):
        return bounds.clt_ks_distance(atoms, 0.0, (4.0**n - 1) / 3, weights=1.0 * (jnp.abs(atoms) < 2.0**n))

    return converges(jax.vmap(distance)(counts), order=-0.5, steps=counts, tolerance=0.03)


@claim(
    "PROB-4",
    title="Chernoff's bounds for sums of independent bits",
    source=f"{BOOK}, Lemma 1.1.4",
    statement=r"\Pr[X \ge (1 + \delta) \mu] \le \left( \frac{e^\delta}{(1 + \delta)^{1 + \delta}} \right)^\mu \le e^{-\delta^2 \mu / (2 + \delta)},"
    r" \qquad \Pr[X \le (1 - \delta) \mu] \le e^{-\delta^2 \mu / 2}",
)
def chernoff(key):
    """At every value of a sum of 40 bits of random odds; and the sharp form is the infimum over s of the Poisson bound."""
    odds = _odds(key)
    mu, masses, values = odds.sum(), _poisson_binomial(odds), jnp.arange(41.0)
    above, below = jnp.clip(values / mu - 1, 1e-9, None), jnp.clip(1 - values / mu, 1e-9, 1 - 1e-9)
    upper, lower = jnp.where(values > mu, _upper_tails(masses), 0.0), jnp.where(values < mu, jnp.cumsum(masses), 0.0)
    cubic = jnp.where(above <= 1, upper, 0.0)
    s = jnp.linspace(0.0, 3.0, 3001)[:, None]
    infimum = jnp.exp(jnp.min(mu * jnp.expm1(s) - s * (1 + above[-20:]) * mu, axis=0))
    return {
        "sharp": at_most(upper, bounds.chernoff_upper(mu, above), slack=1e-15),
        "simple": at_most(bounds.chernoff_upper(mu, above), bounds.chernoff_upper(mu, above, form="simple"), slack=1e-15),
        "cubic up to one": at_most(cubic, bounds.chernoff_upper(mu, jnp.minimum(above, 1.0), form="cubic"), slack=1e-15),
        "lower": at_most(lower, bounds.chernoff_lower(mu, below), slack=1e-15),
        "sharp is the infimum": equal(bounds.chernoff_upper(mu, above[-20:]), infimum, rtol=2e-5),
        "root": equal(bounds.chernoff_upper(1.0, 1.8169605355), bounds.chernoff_upper(1.0, 1.8169605355, form="cubic", unsafe=True), rtol=1e-10),
    }


@chernoff.control("the printed form e^(-delta^2 mu / 3) at delta = 9")
def _(key):
    tail = _upper_tails(binom.pmf(jnp.arange(MANY + 1), MANY, 1 / MANY))[10]
    return at_most(tail, bounds.chernoff_upper(1.0, 9.0, form="cubic", unsafe=True))


def _sign_tail(m, epsilon):
    """Pr[|mean of m signs| >= epsilon], exactly."""
    counts = jnp.arange(m + 1)
    return binom.pmf(counts, m, 0.5) @ (jnp.abs(2 * counts / m - 1) >= epsilon - 1e-9)


@claim(
    "PROB-5",
    title="Hoeffding's inequality",
    source=f"{BOOK}, Lemma 1.1.5 and the remark that closes section 1.1.1",
    statement=r"X_i \in [a_i, b_i]: \; \Pr[|X - \mathbb{E} X| \ge t] \le 2 e^{-2 t^2 / \sum_i (b_i - a_i)^2};"
    r" \qquad y_i \in [-1, 1]: \; \Pr\left[\left|\tfrac1m \sum_i y_i\right| \ge \epsilon\right] \le 2 e^{-m \epsilon^2 / 2}",
    core=True,
)
def hoeffding(key):
    """For signs and for bits of random odds, exactly. The source's remark prints e^(-epsilon^2 m)."""
    odds = _odds(key)
    deviations = jnp.arange(1.0, 20.0)
    distances = jnp.abs(jnp.arange(41.0) - odds.sum())
    tails = (distances >= deviations[:, None]) @ _poisson_binomial(odds)
    known = jnp.stack([_sign_tail(100, 0.3), _sign_tail(400, 0.15)])
    found = jnp.stack([bounds.hoeffding_bound(100 * 0.3, jnp.full(100, 2.0)), bounds.hoeffding_bound(400 * 0.15, jnp.full(400, 2.0))])
    eps = bounds.hoeffding_epsilon(0.05, 123, 2.0)
    return {
        "bits": at_most(tails, bounds.hoeffding_bound(deviations, jnp.ones(40))),
        "signs": at_most(known, found),
        "known tails": equal(known, jnp.array([0.00351764, 0.00312903]), rtol=0, atol=2e-8),
        "known bound": equal(found, 0.02221799, rtol=1e-6),
        "inverse": equal(bounds.hoeffding_bound(123 * eps, jnp.full(123, 2.0)), 0.05, rtol=EXACT),
        "sample size": at_most(bounds.hoeffding_epsilon(0.05, bounds.hoeffding_sample_size(0.1, 0.05)), 0.1),
    }


@hoeffding.control("the printed e^(-epsilon^2 m)")
def _(key):
    return at_most(_sign_tail(100, 0.3), jnp.exp(-100 * 0.3**2))


@hoeffding.control("a hundred copies of one sign")
def _(key):
    return at_most(1.0, bounds.hoeffding_bound(100 * 0.3, jnp.full(100, 2.0)))


@claim(
    "PROB-6",
    title="Bernstein's inequality",
    source=f"{BOOK}, Lemma 1.1.6",
    statement=r"\mathbb{E} X_i = 0, |X_i| \le M: \quad"
    r" \Pr\left[\sum_i X_i > t\right] \le \exp\left(-\frac{t^2 / 2}{\sum_j \mathbb{E} X_j^2 + M t / 3}\right)",
)
def bernstein(key):
    """For bits of random odds, exactly, and far below Hoeffding's bound where variances are small."""
    odds = _odds(key)
    deviations = jnp.arange(1.0, 20.0)
    tails = (jnp.arange(41.0) - odds.sum() > deviations[:, None]) @ _poisson_binomial(odds)
    limits = bounds.bernstein_bound(deviations, odds * (1 - odds), jnp.maximum(odds, 1 - odds).max())
    rare = bounds.bernstein_bound(6.0, jnp.full(200, 0.02 * 0.98), 0.98)
    exact = binom.pmf(jnp.arange(201), 200, 0.02) @ (jnp.arange(201) > 10)
    return {
        "bits": at_most(tails, limits),
        "rare bits": at_most(exact, rare),
        "known values": equal(jnp.stack([exact, rare]), jnp.array([0.0025306, 0.0468302]), rtol=2e-5),
        "below Hoeffding": less(10 * rare, bounds.hoeffding_bound(6.0, jnp.ones(200), two_sided=False)),
    }


@bernstein.control("the term M t / 3 dropped")
def _(key):
    counts = jnp.arange(MANY + 1)
    tail = binom.pmf(counts, MANY, 1 / MANY) @ (counts - 1 > 9)
    return at_most(tail, jnp.exp(-(9.0**2) / (2 * (1 - 1 / MANY))))


@claim(
    "PROB-7",
    title="A Gaussian is not concentrated in small balls",
    source=f"{BOOK}, Lemma 1.1.7",
    statement=r"X \sim N(0, \sigma^2), \; 0 < t \le \sigma: \quad \frac23 \frac t\sigma < \Pr[|X| \le t] < \frac45 \frac t\sigma",
)
def small_ball(key):
    """The source does not say up to which t: the lower side holds up to 1.0793572473 sigma, the upper one always."""
    sigma = jnp.exp(jax.random.normal(key))
    t = sigma * jnp.linspace(0.001, 1.0, 200)
    exact = bounds.gaussian_small_ball(t, sigma)
    lower, upper = bounds.gaussian_small_ball_bounds(t, sigma)
    root = 1.0793572473
    return {
        "lower": less(lower, exact),
        "upper": less(exact, upper),
        "at sigma": equal(exact[-1], 0.6826894921, rtol=1e-9),
        "end of the range": equal(bounds.gaussian_small_ball(root * sigma, sigma), 2 * root / 3, rtol=1e-9),
    }


@small_ball.control("the lower side at t = 1.1 sigma")
def _(key):
    return at_least(bounds.gaussian_small_ball(1.1, 1.0), 2 * 1.1 / 3)
