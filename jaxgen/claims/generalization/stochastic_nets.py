"""Claims about nets with Gaussian parameters: divergences, sampled risks, training and priors learned from data (GEN-31 to 34)."""

import math

import jax
import jax.numpy as jnp
import optax

from jaxgen import bounds, information, models
from jaxgen.claims import at_least, at_most, claim, equal, less, with_probability

LANGFORD = "Langford and Caruana 2002"
PEREZ = "Perez-Ortiz et al. 2021"


def _laws(key):
    """Two Gaussian laws of seven parameters in two leaves."""
    keys = jax.random.split(key, 4)

    def tree(key):
        return {"a": jax.random.normal(key, (2, 2)), "b": jax.random.normal(jax.random.fold_in(key, 1), (3,))}

    return [bounds.GaussianParams(tree(keys[i]), jax.tree.map(lambda leaf: 0.3 * leaf, tree(keys[i + 1]))) for i in (0, 2)]


def _vector(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


@claim(
    "GEN-31",
    title="The divergence of independent Gaussian parameters adds up, and one prior variance is nearest",
    source="Dziugaite and Roy 2017, section 3",
    statement=r"KL = \sum_i \left[ \ln \tfrac{s_{0i}}{s_i} + \tfrac{s_i^2 + (\mu_i - \mu_{0i})^2}{2 s_{0i}^2} - \tfrac12 \right], \qquad"
    r" v^* = \tfrac1d \left( \sum_i s_i^2 + \lVert \mu - \mu_0 \rVert^2 \right)",
    core=True,
)
def gaussian_divergence(key):
    """Against the formula for full covariances, the mean of the log density ratio's terms, and the known value."""
    q, p = _laws(key)
    full = information.gaussian_kl(
        _vector(q.mean), jnp.diag(jnp.exp(2 * _vector(q.log_std))), _vector(p.mean), jnp.diag(jnp.exp(2 * _vector(p.log_std)))
    )
    best = bounds.optimal_prior_variance(q, p.mean)

    def at(log_variance):
        return bounds.gaussian_kl(q, bounds.GaussianParams(p.mean, 0.5 * log_variance))

    known = bounds.gaussian_kl(
        bounds.gaussian(jnp.array([0.3, -1.0]), jnp.array([0.5, 0.2])), bounds.gaussian(jnp.array([0.0, 0.5]), jnp.array([1.0, 0.7]))
    )
    return {
        "full covariances": equal(bounds.gaussian_kl(q, p), full, rtol=1e-12),
        "known value": equal(known, 3.4526448429, rtol=1e-10),
        "stationary": equal(jax.grad(at)(jnp.log(best)), 0.0, rtol=0, atol=1e-12),
        "least": at_least(jax.vmap(at)(jnp.log(best) + jnp.linspace(-2, 2, 9)), at(jnp.log(best)), slack=1e-12),
    }


@gaussian_divergence.control("posterior and prior in each other's place")
def _(key):
    q, p = _laws(key)
    return equal(bounds.gaussian_kl(p, q), bounds.gaussian_kl(q, p), rtol=1e-3)


@claim(
    "GEN-31.grid",
    title="A prior variance chosen on a grid costs what its place on the grid says",
    source="Dziugaite and Roy 2017, section 3.1",
    statement=r"v = c e^{-j / b}: \quad \sum_j \tfrac{6}{\pi^2 j^2} = 1, \qquad \text{price} = 2 \ln j + \ln \tfrac{\pi^2}{6}",
)
def grid_of_priors(key):
    q, p = _laws(key)
    c, b = 100.0, 10.0
    law, price = bounds.choose_prior(q, bounds.PriorGrid(p.mean, c, b))
    j = b * (math.log(c) - 2 * law.log_std)
    points = jnp.arange(1.0, 200.0)
    costs = jax.vmap(
        lambda j: (
            bounds.gaussian_kl(q, bounds.GaussianParams(p.mean, 0.5 * (math.log(c) - j / b))) + bounds.prior_grid_penalty(c * jnp.exp(-j / b), c, b)
        )
    )(points)
    return {
        "on the grid": equal(j, jnp.round(j), rtol=1e-9),
        "price": equal(price, 2 * jnp.log(j) + math.log(math.pi**2 / 6), rtol=1e-9),
        "least of all": equal(bounds.gaussian_kl(q, law) + price, costs.min(), rtol=1e-9),
    }


@grid_of_priors.control("the best variance of all, at no price")
def _(key):
    q, p = _laws(key)
    law, price = bounds.choose_prior(q, bounds.PriorGrid(p.mean, 100.0, 10.0))
    free = bounds.gaussian_kl(q, bounds.GaussianParams(p.mean, 0.5 * jnp.log(bounds.optimal_prior_variance(q, p.mean))))
    return at_least(free, bounds.gaussian_kl(q, law) + price)


REPETITIONS, POINTS = 1000, 20


def _classifier(key):
    """A random linear classifier on points near each other, for which the risk is a mean of normal probabilities."""
    keys = jax.random.split(key, 3)
    x, y = jax.random.normal(keys[0], (3,)) + 0.2 * jax.random.normal(keys[1], (POINTS, 3)), jnp.ones(POINTS, int)
    q = bounds.gaussian(jax.random.normal(keys[2], (3,)), jnp.array([0.5, 1.0, 2.0]))
    margins = (2 * y - 1) * (x @ q.mean) / jnp.sqrt(x**2 @ jnp.exp(2 * q.log_std))
    return q, (x, y), jax.scipy.stats.norm.cdf(-margins).mean()


def _linear(params, x):
    return x @ params


def _covered(key, num_draws, method, num_independent=None):
    """Whether the upper limit of a sampled risk, for as many independent losses as are said to be, is at least the exact one."""
    q, data, exact = _classifier(key)

    def one(key):
        found = bounds.gibbs_risk(key, _linear, q, data, num_draws=num_draws, delta=0.05, method=method, chunk_size=POINTS)
        upper = found.upper if num_independent is None else bounds.binary_kl_inverse(found.value, math.log(20) / num_independent)
        return upper >= exact

    return jax.lax.map(one, jax.random.split(key, REPETITIONS), batch_size=100)


@claim(
    "GEN-32",
    title="A sampled Gibbs risk with its confidence covers the exact one",
    source=LANGFORD,
    statement=r"\Pr\left[ \hat L(Q) \le kl^{-1}\left( \hat L_N, \tfrac1N \ln \tfrac1{\delta'} \right) \right] \ge 1 - \delta', \quad N = M"
    r" \text{ draws that are shared}, \; M m \text{ that are not}",
    statistical=True,
    num_seeds=2,
    min_seeds=2,
    budget=12.0,
)
def sampled_risk(key):
    """1,000 repetitions a seed against a closed form, with draws of the weights and with noise of each example's own."""
    kinds = (("shared", 5, "weights"), ("own", 2, "local"))
    return {name: with_probability(_covered(key, draws, method), at_least=0.95) for name, draws, method in kinds}


@sampled_risk.control("five shared draws taken for the risk itself")
def _(key):
    return with_probability(_covered(key, 5, "weights", num_independent=1e12), at_least=0.95)


@sampled_risk.control("shared draws counted as if each point had its own")
def _(key):
    return with_probability(_covered(key, 5, "weights", num_independent=5 * POINTS), at_least=0.95)


@claim(
    "GEN-32.exact",
    title="With a Gaussian last layer the risk is an integral over one number, and a sum bounds it from above",
    source="derived",
    statement=r"\Pr[\arg\max_j z_j = y] = \int \phi(t) \prod_{j \ne y} \Phi\left( t + \tfrac{\mu_y - \mu_j}{\nu} \right) dt",
)
def last_layer(key):
    """Left ends of 4,000 cells against Gauss and Hermite's rule with 80 nodes; for two classes against the normal law."""
    keys = jax.random.split(key, 3)
    means, labels = jax.random.normal(keys[0], (30, 5)), jax.random.randint(keys[1], (30,), 0, 5)
    stds = jnp.exp(0.5 * jax.random.normal(keys[2], (30,)))
    found, integral = bounds.argmax_error(means, stds, labels), bounds.smooth_argmax_error(means, stds, labels, num_nodes=80)
    two = bounds.smooth_argmax_error(means[:, :2], stds, jnp.zeros(30, int), num_nodes=80)
    return {
        "above": at_least(found, integral, slack=1e-6),
        "near": at_most(found - integral, 2e-3),
        "two classes": equal(two, jax.scipy.stats.norm.cdf((means[:, 1] - means[:, 0]) / (math.sqrt(2) * stds)), rtol=0, atol=1e-6),
    }


@last_layer.control("right ends of the cells, a sum that is too small an error", fails="some")
def _(key):
    keys = jax.random.split(key, 2)
    means, stds, labels = jax.random.normal(keys[0], (30, 5)), jnp.ones(30), jax.random.randint(keys[1], (30,), 0, 5)
    error = bounds.argmax_error(means, stds, labels, num_cells=100)
    right = 2 * bounds.smooth_argmax_error(means, stds, labels, num_nodes=80) - error
    return at_least(right, bounds.smooth_argmax_error(means, stds, labels, num_nodes=80), slack=1e-6)


def _coins(key, m=60, size=30):
    """Losses of hypotheses with risks of their own on m points."""
    risk_key, loss_key = jax.random.split(key)
    risks = jax.random.uniform(risk_key, (size,), minval=0.1, maxval=0.6)
    return risks, jax.random.bernoulli(loss_key, risks[:, None], (size, m)).astype(float)


def _draw(key):
    """Whether the bound for one draw from a Gibbs posterior holds."""
    coin_key, draw_key = jax.random.split(key)
    risks, losses = _coins(coin_key)
    posterior = bounds.gibbs_posterior(jnp.full(30, 1 / 30), -60.0 * losses.mean(axis=1))
    h = jax.random.categorical(draw_key, jnp.log(posterior))
    ratio = jnp.log(posterior[h] * 30)
    return risks[h] <= bounds.single_draw_bound(ratio, losses[h].mean(), 60, 0.1).value


@claim(
    "GEN-32.draw",
    title="One net drawn from the posterior has a bound by its own density ratio",
    source="Rivasplata et al. 2020",
    statement=r"\mathrm{kl}(\hat L(h) \| L(h)) \le \tfrac1m \left( \left[ \ln \tfrac{dQ}{dP}(h) \right]_+ + \ln \tfrac{2 \sqrt m}{\delta} \right)",
    statistical=True,
    num_seeds=2,
    min_seeds=2,
)
def one_draw(key):
    """1,000 samples and draws of 30 hypotheses a seed."""
    return with_probability(jax.vmap(_draw)(jax.random.split(key, 1000)), at_least=0.9)


@one_draw.control("the best of 10,000 fair coins, drawn at no price")
def _(key):
    def one(key):
        heads = jax.random.bernoulli(key, 0.5, (10_000, 50)).mean(axis=1)
        return bounds.single_draw_bound(0.0, heads.min(), 50, 0.1).value >= 0.5

    return with_probability(jax.lax.map(one, jax.random.split(key, 100)), at_least=0.9)


def _blobs(key, n, random_labels=False):
    """Two Gaussian classes in the plane, or their points with fair coins for labels."""
    y_key, x_key, coin_key = jax.random.split(key, 3)
    y = jax.random.randint(y_key, (n,), 0, 2)
    x = (2 * y[:, None] - 1) * jnp.array([1.2, 0.4]) + 0.7 * jax.random.normal(x_key, (n, 2))
    return x, jax.random.randint(coin_key, (n,), 0, 2) if random_labels else y


MODEL = models.mlp((16, 2))
NUM_STEPS, BATCH_SIZE = 300, 100


def _certified(key, train, prior, n=None, counted=None, prior_data=None):
    """A posterior trained on all points, from standard deviations of a tenth, and its certificate on those that count."""
    start = bounds.GaussianParams(prior.mean, jax.tree.map(lambda w: jnp.full_like(w, math.log(0.1)), prior.mean))
    q, _ = bounds.pac_bayes_train(key, MODEL.apply, start, prior, train, optimizer=optax.adam(0.02), n=n, num_steps=NUM_STEPS, batch_size=BATCH_SIZE)
    return q, bounds.certify(
        jax.random.fold_in(key, 1), MODEL.apply, q, prior, train if counted is None else counted, num_draws=4, prior_data=prior_data
    )


def _from_the_start(key, random_labels=False, count=2000):
    """Certificate with a random start for a prior, and the test risk of the same stochastic net."""
    keys = jax.random.split(key, 4)
    train, test = (_blobs(k, count, random_labels) for k in keys[:2])
    prior = bounds.gaussian(MODEL.init(keys[2], train[0]), 0.3)
    q, certificate = _certified(keys[3], train, prior)
    return certificate.bound.value, bounds.gibbs_risk(keys[2], MODEL.apply, q, test, num_draws=4, delta=0.01).value


@claim(
    "GEN-33",
    title="A stochastic net trained by a PAC-Bayes objective has a certificate that says something",
    source=f"Dziugaite and Roy 2017; {PEREZ}",
    statement=r"\min_{\mu, s} f_{\rm quad}\left( \hat L^{\rm ce}(Q), D(Q \| P) \right), \qquad L(Q) \le kl^{-1}(\hat L^+, \tfrac1m (D + \ln"
    r" \tfrac{2 \sqrt m}{\delta}))",
    num_seeds=8,
    budget=15.0,
)
def trained_by_the_bound(key):
    """Two classes in the plane, 2,000 points, a net 2-16-2 and a prior around its random start."""
    certificate, test = _from_the_start(key)
    return {"certificate": less(certificate, 0.25), "test risk": at_least(certificate, test)}


@trained_by_the_bound.control("random labels, of which no bound may say that they are learned")
def _(key):
    return less(_from_the_start(key, random_labels=True)[0], 0.45)


def _from_half(key, random_labels=False, leak=False):
    """Certificate with a prior trained on half of the points; counted on the other half, or, wrongly, on all."""
    keys = jax.random.split(key, 4)
    train = _blobs(keys[0], 600 if random_labels else 1000, random_labels)
    split = bounds.split_prior(keys[1], train)
    wide = models.mlp((200, 2)) if random_labels else MODEL
    params = wide.init(keys[2], train[0])
    loss_fn = models.loss_fn(wide.apply, "cross_entropy")
    optimizer = optax.adam(0.02)

    def step(state, _):
        params, moments = state
        updates, moments = optimizer.update(jax.grad(lambda w: loss_fn(w, split.prior.data).mean())(params), moments)
        return (optax.apply_updates(params, updates), moments), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), None, length=3000 if random_labels else 300)
    prior = bounds.gaussian(params, 0.01 if random_labels else 0.1)
    if random_labels:
        points, seen = (train, None) if leak else (split.certificate, split.prior)
        return bounds.certify(keys[3], wide.apply, prior, prior, points, num_draws=4, prior_data=seen).bound.value
    return _certified(keys[3], train, prior, n=500, counted=split.certificate, prior_data=split.prior)[1].bound.value


@claim(
    "GEN-34",
    title="A prior learned from half of the points gives a smaller certificate, counted on the other half",
    source=f"Ambroladze et al. 2007; {PEREZ}",
    statement=r"S = S_0 \cup S_1, \; P = P(S_0): \quad L(Q) \le kl^{-1}\left( \hat L_{S_1}(Q), \tfrac1{m_1} (D(Q \| P)"
    r" + \ln \tfrac{2 \sqrt{m_1}}{\delta}) \right)",
    num_seeds=8,
    budget=20.0,
)
def prior_from_half(key):
    """1,000 points of two classes in the plane."""
    return less(_from_half(key), _from_the_start(key, count=1000)[0])


@prior_from_half.control("random labels: the points that the prior saw, counted too", fails="some")
def _(key):
    return at_least(_from_half(key, random_labels=True, leak=True), 0.5)


@claim(
    "GEN-34.random",
    title="With random labels a prior from half of the points certifies no less than chance",
    source="any valid bound must",
    statement=r"L(Q) = \tfrac12 \; \Rightarrow \; \text{certificate} \ge \tfrac12 - \text{what a sample of } m_1 \text{ may differ by}",
    num_seeds=4,
    budget=15.0,
)
def random_labels(key):
    return at_least(_from_half(key, random_labels=True), 0.5)


@random_labels.control("the points that the prior saw, counted too", fails="some")
def _(key):
    return at_least(_from_half(key, random_labels=True, leak=True), 0.5)
