"""Claims that PAC-Bayes bounds hold as often as they say, on populations that are solved exactly (GEN-23, 26 to 30)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds
from jaxgen.claims import at_least, at_most, claim, equal, with_probability
from jaxgen.claims.generalization._pac_bayes import NUM_EXAMPLES, NUM_SHOWN, gibbs_runs, least_errors, of_best_coins

BOOK = "Arora et al., Theory of Deep Learning"
DELTA = 0.05


def _covers(key, kinds, p=0.5):
    """Whether the bounds cover the risk of Gibbs posteriors, and of the best of a billion hypotheses of risk p."""
    keys = jax.random.split(key)
    risk, emp_risk, kl = gibbs_runs(keys[0])
    checks = {}
    for kind, options in kinds.items():
        gibbs = bounds.pac_bayes_bound(emp_risk, kl, NUM_SHOWN, DELTA, kind=kind, **options)
        best = of_best_coins(keys[1], p, DELTA, kind=kind, **options)
        checks |= {
            f"{kind}: Gibbs posterior": with_probability(risk <= gibbs.value, at_least=1 - DELTA),
            f"{kind}: best of a billion": with_probability(p <= best.value, at_least=1 - DELTA),
        }
    return checks


def _best_coin_covered(key, kind, p=0.5, delta=DELTA, stated=None, **options):
    bound = of_best_coins(key, p, delta, kind=kind, **options)
    return with_probability(p <= bound.value, at_least=1 - (delta if stated is None else stated))


@claim(
    "GEN-23",
    title="The PAC-Bayes theorem: all posteriors at once, by their divergence from a prior",
    source=f"{BOOK}, Theorem 5.6.1; McAllester 1999; the logarithm of sqrt(m) is derived",
    statement=r"\Pr\left[\forall Q: \; L(Q) - \hat L_S(Q) \le \sqrt{\frac{D(Q \| P) + \ln(2m/\delta)}{2(m - 1)}}\right] \ge 1 - \delta",
    core=True,
    statistical=True,
    min_seeds=64,
    budget=4.0,
)
def theorem(key):
    """As printed, and with ln(sqrt(m)/delta), which the moment of GEN-23.moment allows; 2,560 and 20,480 runs."""
    return _covers(key, {"mcallester": {}, "sharp": {}})


@theorem.control("prior set to the hypothesis with the least error")
def _(key):
    return _best_coin_covered(key, "mcallester", kl=0.0)


@theorem.control("examples counted twice")
def _(key):
    return _best_coin_covered(key, "mcallester", n=2 * NUM_EXAMPLES)


@theorem.control("ln(1 / delta) left out")
def _(key):
    return _best_coin_covered(key, "sharp", delta=1 - 1e-9, stated=1e-4)


def _failure_probability(p, num_coins, n, kl, delta):
    """Exact probability that the bound on the best of the coins is below p."""
    risks, below = least_errors(p, num_coins, n)
    fails = bounds.pac_bayes_bound(risks, kl, n, delta, kind="mcallester").value < p
    return jnp.sum(jnp.diff(below, prepend=0.0) * fails)


@claim(
    "GEN-23.prior",
    title="A prior that saw the sample voids the theorem",
    source=f"{BOOK}, Theorem 5.6.1; the failure probability is computed",
    statement=r"P = Q = \delta_{\hat h}, \; \hat h \text{ the best of } 10^5 \text{ fair coins}, \; m = 50: \; \Pr[L > \text{bound}] = 0.989",
    num_seeds=1,
    max_seeds=1,
)
def prior_that_saw_the_sample(key):
    """An exact sum over the errors of the best hypothesis; with the prior fixed beforehand it fails once in 50,000."""
    del key
    honest = _failure_probability(0.5, 1e5, 50, jnp.log(1e5), DELTA)
    return {
        "leaked": equal(_failure_probability(0.5, 1e5, 50, 0.0, DELTA), 0.98901085, rtol=1e-7),
        "honest": at_most(honest, DELTA / 1000),
    }


@prior_that_saw_the_sample.control("the divergence from the uniform prior paid")
def _(key):
    return at_least(_failure_probability(0.5, 1e5, 50, jnp.log(1e5), DELTA), DELTA)


@claim(
    "GEN-26.coverage",
    title="The weaker form of the PAC-Bayes theorem holds",
    source=f"{BOOK}, equation (5.8)",
    statement=r"\Pr\left[\forall Q: \; L(Q) - \hat L_S(Q) \le \sqrt{2 (D(Q \| P) + \ln(2/\delta)) / m}\right] \ge 1 - \delta",
    statistical=True,
    budget=3.0,
)
def weaker_form(key):
    """A theorem although one step of its printed proof is not (GEN-26.moment)."""
    return _covers(key, {"simple": {}})


@weaker_form.control("prior set to the hypothesis with the least error")
def _(key):
    return _best_coin_covered(key, "simple", kl=0.0)


@weaker_form.control("losses that reach 4")
def _(key):
    terms = of_best_coins(key, 0.5, DELTA, kind="simple").terms
    return with_probability(4 * (0.5 - terms["empirical_risk"]) <= terms["penalty"], at_least=1 - DELTA)


LINEAR = {"lam": 320.0}
CATONI = {"C": 0.8}


@claim(
    "GEN-27.coverage",
    title="Maurer's bound, and the one that is linear in risk and divergence",
    source="Maurer 2004; Alquier, Ridgway & Chopin 2016",
    statement=r"\hat L + \sqrt{\frac{D + \ln(2 \sqrt m / \delta)}{2m}}, \qquad"
    r" \hat L + \frac{D + \ln(1/\delta)}{\lambda} + \frac{\lambda}{8m} \text{ for a fixed } \lambda",
    statistical=True,
    min_seeds=64,
    budget=3.0,
)
def maurer_and_linear(key):
    return _covers(key, {"maurer": {}, "linear": LINEAR})


@maurer_and_linear.control("examples counted twice")
def _(key):
    return {kind: _best_coin_covered(key, kind, n=2 * NUM_EXAMPLES, **options) for kind, options in (("maurer", {}), ("linear", LINEAR))}


@maurer_and_linear.control("ln(1 / delta) left out of the linear bound")
def _(key):
    return _best_coin_covered(key, "linear", delta=1 - 1e-9, stated=1e-3, **LINEAR)


@maurer_and_linear.control("ln(1 / delta) left out of Maurer's bound")
def _(key):
    return _best_coin_covered(key, "maurer", delta=1 - 1e-9, stated=1e-5)


@claim(
    "GEN-28.coverage",
    title="Bounds by the inverse of the relative entropy hold",
    source="Langford & Seeger 2001; Maurer 2004; Germain et al. 2015",
    statement=r"\Pr\left[\forall Q: \; \mathrm{kl}(\hat L(Q) \| L(Q)) \le \frac{D + \ln(\xi(m) / \delta)}{m}\right] \ge 1 - \delta",
    statistical=True,
    min_seeds=64,
    budget=4.0,
)
def relative_entropy(key):
    return _covers(key, {"kl": {}, "kl_exact_xi": {}, "langford_seeger": {}}, p=0.2)


@relative_entropy.control("examples counted twice")
def _(key):
    return _best_coin_covered(key, "langford_seeger", p=0.2, n=2 * NUM_EXAMPLES)


@relative_entropy.control("ln(1 / delta) left out")
def _(key):
    return _best_coin_covered(key, "kl", p=0.2, delta=1 - 1e-9, stated=1e-5)


@relative_entropy.control("prior set to the hypothesis with the least error")
def _(key):
    return _best_coin_covered(key, "kl", p=0.2, kl=0.0)


@claim(
    "GEN-29.coverage",
    title="Catoni's bound holds for a constant that is fixed beforehand",
    source="Catoni 2007",
    statement=r"L(Q) \le \frac{1 - \exp(-C \hat L(Q) - (D + \ln(1/\delta)) / m)}{1 - e^{-C}}",
    statistical=True,
    budget=3.0,
)
def catoni(key):
    return _covers(key, {"catoni": CATONI}, p=0.2)


@catoni.control("examples counted twice")
def _(key):
    return _best_coin_covered(key, "catoni", p=0.2, n=2 * NUM_EXAMPLES, **CATONI)


@catoni.control("ln(1 / delta) left out")
def _(key):
    return _best_coin_covered(key, "catoni", p=0.2, delta=1 - 1e-9, stated=1e-3, **CATONI)


@claim(
    "GEN-30.coverage",
    title="The quadratic and the lambda bound hold",
    source="Thiemann et al. 2017; Rivasplata et al. 2019; Pérez-Ortiz et al. 2021",
    statement=r"f_{quad} = \left(\sqrt{\hat L + a/2} + \sqrt{a/2}\right)^2, \qquad"
    r" f_\lambda = \frac{\hat L}{1 - \lambda/2} + \frac{a}{\lambda (1 - \lambda/2)}, \qquad a = \frac{D + \ln(2 \sqrt m / \delta)}{m}",
    statistical=True,
    budget=3.0,
)
def quadratic(key):
    return _covers(key, {"quadratic": {}, "lambda": {"lam": 0.6}}, p=0.2)


@quadratic.control("examples counted twice")
def _(key):
    return _best_coin_covered(key, "quadratic", p=0.2, n=2 * NUM_EXAMPLES)


@quadratic.control("prior set to the hypothesis with the least error")
def _(key):
    return _best_coin_covered(key, "quadratic", p=0.2, kl=0.0)
