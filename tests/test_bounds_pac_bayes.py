"""PAC-Bayes bounds of every kind: known values, identities, order, transformations, wrong input; the change of measure."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import jaxgen
from jaxgen import bounds

CONSTANTS = {"linear": {"lam": 2000.0}, "catoni": {"C": 1.0}, "lambda": {"lam": 0.7}}
KINDS = ("mcallester", "sharp", "simple", "maurer", "linear", "kl", "kl_exact_xi", "langford_seeger", "catoni", "quadratic", "lambda")
OBJECTIVES = {"classic": "maurer", "quadratic": "quadratic", "lambda": "lambda", "kl": "kl", "catoni": "catoni"}
SHARED = (0.05, 500.0, 10_000, 0.05)


def value(kind, emp_risk=0.05, kl=500.0, n=10_000, delta=0.05, **constants):
    return bounds.pac_bayes_bound(emp_risk, kl, n, delta, kind=kind, **(CONSTANTS.get(kind, {}) | constants)).value


def random_cases(key, count=200):
    """Risks, divergences and numbers of examples over the range in which bounds are used."""
    keys = jax.random.split(key, 3)
    n = jnp.round(10 ** jax.random.uniform(keys[0], (count,), minval=1, maxval=5))
    return jax.random.uniform(keys[1], (count,)) ** 3, n * 10 ** jax.random.uniform(keys[2], (count,), minval=-4, maxval=0), n


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mcallester", 0.2101484491),
        ("sharp", 0.2093191243),
        ("simple", 0.3673921484),
        ("maurer", 0.2094198936),
        ("kl", 0.1501219407),
        ("catoni", 0.1509737424),
        ("quadratic", 0.1883883503),
    ],
)
def test_bounds_have_their_known_values(kind, expected, rtol):
    np.testing.assert_allclose(value(kind), expected, rtol=max(rtol, 1e-9))


def test_a_single_hypothesis_pays_what_it_has_to(rtol):
    """Examples 5.6.3 and Problem 5.6.4 of the source: no divergence, and the logarithm of a thousand."""
    np.testing.assert_allclose(value("mcallester", 0.0, 0.0, 1000), 0.0728259637, rtol=max(rtol, 1e-9))
    union = value("mcallester", 0.0, math.log(1000), 500)
    np.testing.assert_allclose(union, 0.1297880299, rtol=max(rtol, 1e-9))
    np.testing.assert_allclose(value("mcallester", 0.0, 0.0, 500, num_choices=1000), union, rtol=rtol)
    np.testing.assert_allclose(value("quadratic", 0.0, 100.0), 0.0216588099, rtol=max(rtol, 2e-9))


def test_linear_is_its_formula(rtol):
    np.testing.assert_allclose(value("linear"), 0.05 + (500 + math.log(20)) / 2000 + 2000 / 80_000, rtol=rtol)


@pytest.mark.float64
def test_forms_of_the_relative_entropy_are_in_the_order_of_their_moments(key):
    """xi(n) <= 2 sqrt n <= n + 1 for n >= 2, and the quadratic and Maurer's bound relax the relative entropy."""
    risk, kl, n = random_cases(key)
    ordered = jnp.stack([value(kind, risk, kl, n) for kind in ("kl_exact_xi", "kl", "langford_seeger")])
    assert bool(jnp.all(jnp.diff(ordered, axis=0) >= -1e-6))
    relaxed = jnp.minimum(value("quadratic", risk, kl, n), value("maurer", risk, kl, n))
    assert bool(jnp.all(ordered[1] <= relaxed * (1 + 1e-6)))


@pytest.mark.float64
def test_catoni_at_its_best_constant_is_the_inverse_of_the_relative_entropy(key):
    """Exact at C = logit p - logit q, and no constant found by a search does better."""
    risk, kl, n = random_cases(key)
    risk, rate = jnp.maximum(risk, 1e-6), (kl - math.log(0.05)) / n
    p = bounds.binary_kl_inverse(risk, rate)
    inside = 1 - p > 1e-6
    best = jnp.where(inside, jnp.log(p / (1 - jnp.where(inside, p, 0.5))) - jnp.log(risk / (1 - risk)), 1.0)
    found = value("catoni", risk, kl, n, C=best)
    np.testing.assert_allclose(jnp.where(inside, found, p), p, rtol=1e-9)
    searched = optimize.minimize_scalar(lambda log_c: float(value("catoni", C=math.exp(log_c))), bounds=(-5, 5), method="bounded").fun
    np.testing.assert_allclose(searched, bounds.binary_kl_inverse(0.05, (500 - math.log(0.05)) / 10_000), rtol=1e-9)
    np.testing.assert_allclose(searched, 0.1494457451, rtol=1e-9)


def test_catoni_is_stable_for_tiny_constants(precision):
    """As C -> 0 it is (C risk + rate) / C."""
    rate = (500 - math.log(0.05)) / 10_000
    np.testing.assert_allclose(value("catoni", C=1e-6) * 1e-6 / (0.05e-6 - math.expm1(-rate) * 1.0), 1.0, rtol=2e-6)


def test_catoni_constant_is_best_at_its_guess(rtol):
    """One nat from the prior: the bound is the inverse of the relative entropy, with the price of the choices."""
    for choices in (1, 3):
        constant = bounds.catoni_constant(0.005, 30_000, 0.05, num_choices=choices)
        bound = bounds.pac_bayes_bound(0.005, 1.0, 30_000, 0.05, kind="catoni", C=constant, num_choices=choices)
        best = bounds.binary_kl_inverse(0.005, (1 + math.log(choices / 0.05)) / 30_000)
        np.testing.assert_allclose(bound.value, best, rtol=10 * rtol)
        assert all(sentence.endswith(".") for sentence in bound.assumptions)


@pytest.mark.any_precision
def test_catoni_grid_is_the_best_constant_and_pays_for_the_choice(rtol):
    constants = jnp.geomspace(0.1, 10, 8)
    found = bounds.catoni_grid(*SHARED, constants)
    np.testing.assert_allclose(found.value, min(float(value("catoni", kl=500 + math.log(8), C=c)) for c in constants), rtol=rtol)
    np.testing.assert_allclose(found.terms["empirical_risk"] + found.terms["penalty"], found.value, rtol=rtol)
    assert bounds.catoni_grid(jnp.array([0.0, 0.1, 0.2]), 1.0, 1000, 0.05, constants).value.shape == (3,)
    assert any("8 choices" in sentence for sentence in found.assumptions)


@pytest.mark.float64
def test_lambda_at_its_best_is_quadratic_and_worse_elsewhere(key, rtol):
    risk, kl, n = random_cases(key)
    best = bounds.optimal_lambda(risk, kl, n, 0.05)
    quadratic = value("quadratic", risk, kl, n)
    np.testing.assert_allclose(value("lambda", risk, kl, n, lam=best), quadratic, rtol=10 * rtol)
    np.testing.assert_allclose(value("lambda", risk, kl, n, lam=None), quadratic, rtol=rtol)
    for lam in (0.01, 0.3, 0.9, 1.0, 1.9):
        assert bool(jnp.all(value("lambda", risk, kl, n, lam=lam) >= quadratic * (1 - 1e-5)))
    assert bounds.optimal_lambda(0.0, 100.0, 10_000, 0.05) == 1


@pytest.mark.float64
def test_quadratic_beats_classic_if_and_only_if_that_is_below_a_quarter(key):
    risk, kl, n = random_cases(key, 2000)
    classic, quadratic = value("maurer", risk, kl, n), value("quadratic", risk, kl, n)
    clear = jnp.abs(classic - 0.25) > 1e-4
    assert bool(jnp.all(jnp.where(clear, (quadratic <= classic) == (classic <= 0.25), True)))


@pytest.mark.float64
@pytest.mark.parametrize("kind", KINDS)
def test_every_bound_says_what_it_is(kind, rtol):
    bound = bounds.pac_bayes_bound(*SHARED, kind=kind, **CONSTANTS.get(kind, {}))
    assert isinstance(bound, jaxgen.Bound)
    assert (bound.sided, bound.certified) == ("one", True)
    assert bound.confidence == pytest.approx(0.95)
    assert all(sentence.endswith(".") for sentence in bound.assumptions)
    np.testing.assert_allclose(bound.terms["empirical_risk"] + bound.terms["penalty"], bound.value, rtol=rtol)
    assert any("fixed before" in sentence for sentence in bound.assumptions) == (kind in ("linear", "catoni"))


@pytest.mark.float64
@pytest.mark.parametrize("kind", KINDS)
def test_every_bound_is_monotone_and_transforms(kind, rtol):
    """Down with examples, up with divergence, risk and the confidence asked for; jit and vmap change nothing."""
    risk, kl = jnp.linspace(0.0, 1.0, 5)[:, None], jnp.array([0.0, 1.0, 500.0, 5000.0, math.inf])

    @jax.jit
    def tables(risk, kl):
        first = value(kind, risk, kl, 10_000)
        mapped = jax.vmap(lambda risk, kl: value(kind, risk, kl, 10_000))(risk[:, 0], kl)
        return first, value(kind, risk, kl, 20_000), value(kind, risk, kl, 10_000, delta=0.01), mapped

    found, more_examples, surer, mapped = (np.asarray(table) for table in tables(risk, kl))
    assert np.all(found[1:] >= found[:-1])
    assert np.all(found[:, 1:] >= found[:, :-1])
    assert kind == "linear" or np.all(more_examples <= found)
    assert np.all(surer >= found)
    np.testing.assert_allclose(mapped, np.diagonal(found), rtol=rtol)
    np.testing.assert_allclose(found[1, 2], value(kind, 0.25), rtol=rtol)
    infinite = 1.0 if "kl" in kind or kind == "langford_seeger" else 1 / -math.expm1(-1) if kind == "catoni" else math.inf
    np.testing.assert_allclose(found[:, -1], infinite, rtol=rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_where_there_is_no_risk_and_no_divergence(kind):
    slopes = jax.jit(jax.grad(lambda risk, kl: value(kind, risk, kl, 100), (0, 1)))(0.0, 0.0)
    assert all(bool(jnp.isfinite(slope) & (slope > 0)) for slope in slopes)


@pytest.mark.float64
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_objectives_are_the_bounds_they_are_named_after(kind, rtol):
    lam = {"lambda": 0.7, "catoni": 1.0}.get(kind)
    np.testing.assert_allclose(bounds.pac_bayes_objective(kind, *SHARED, lam=lam), value(OBJECTIVES[kind]), rtol=rtol)
    np.testing.assert_allclose(
        bounds.pac_bayes_objective(kind, 0.05, 50.0, 10_000, 0.05, lam=lam, kl_weight=10.0), value(OBJECTIVES[kind]), rtol=rtol
    )


@pytest.mark.any_precision
def test_objective_without_a_constant_has_the_gradient_of_the_best_one(rtol):
    def slopes(kind):
        return jax.grad(lambda risk, kl: bounds.pac_bayes_objective(kind, risk, kl, 10_000, 0.05), (0, 1))(0.05, 500.0)

    np.testing.assert_allclose(slopes("lambda"), slopes("quadratic"), rtol=10 * rtol)
    np.testing.assert_allclose(bounds.pac_bayes_objective("bbb", *SHARED, kl_weight=0.1), 0.05 + 0.005, rtol=rtol)


@pytest.mark.any_precision
def test_bounded_cross_entropy_is_cut_at_one(rtol):
    logits, labels = jnp.array([[0.0, 0.0], [2.0, -1.0], [-50.0, 0.0]]), jnp.array([0, 0, 0])
    found = bounds.bounded_cross_entropy(logits, labels, 1e-4)
    np.testing.assert_allclose(found, [math.log(2) / math.log(1e4), math.log1p(math.exp(-3)) / math.log(1e4), 1.0], rtol=rtol)
    slope = jax.grad(lambda logits: bounds.bounded_cross_entropy(logits, labels).sum())(logits)
    assert bool(jnp.all(slope[2] == 0))
    assert bool(jnp.all(slope[:2, 0] < 0))


def softmax_law(key, size=12):
    return jax.nn.softmax(2 * jax.random.normal(key, (size,)))


@pytest.mark.float64
def test_change_of_measure_is_exact_at_the_gibbs_posterior_and_loses_elsewhere(key):
    keys = jax.random.split(key, 3)
    q, p, values = softmax_law(keys[0]), softmax_law(keys[1]), 3 * jax.random.normal(keys[2], (12,))
    tilted = bounds.gibbs_posterior(p, values)
    np.testing.assert_allclose(bounds.donsker_varadhan_gap(q, p, values), bounds.discrete_kl(q, tilted), rtol=1e-12)
    np.testing.assert_allclose(bounds.donsker_varadhan_gap(tilted, p, values), 0, atol=1e-14)
    np.testing.assert_allclose(tilted, p * jnp.exp(values) / jnp.sum(p * jnp.exp(values)), rtol=1e-13)


@pytest.mark.float64
def test_divergence_from_the_uniform_prior_is_what_entropy_leaves(key, rtol):
    q = softmax_law(key, 1000)
    np.testing.assert_allclose(bounds.discrete_kl(q, jnp.full(1000, 1e-3)), math.log(1000) + jnp.sum(q * jnp.log(q)), rtol=10 * rtol)
    np.testing.assert_allclose(bounds.discrete_kl(jnp.eye(1000)[3], jnp.full(1000, 1e-3)), math.log(1000), rtol=rtol)


@pytest.mark.any_precision
def test_support_that_the_prior_excludes_costs_infinitely_much():
    p, q, values = jnp.array([0.5, 0.5, 0.0]), jnp.array([0.2, 0.3, 0.5]), jnp.array([1.0, -1.0, 700.0])
    assert bounds.discrete_kl(q, p) == math.inf
    assert bounds.donsker_varadhan_gap(q, p, values) == math.inf
    found = bounds.gibbs_posterior(p, values)
    assert found[2] == 0
    assert bool(jnp.isfinite(found).all())
    assert bool(jnp.isfinite(bounds.donsker_varadhan_gap(p, p, values)))


@pytest.mark.any_precision
def test_gibbs_posterior_does_not_overflow():
    found = bounds.gibbs_posterior(jnp.full(3, 1 / 3), jnp.array([-1e30, -2e30, -jnp.inf]))
    np.testing.assert_array_equal(found, [1, 0, 0])


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"emp_risk": 1.2}, r"emp_risk must be in \[0, 1\]; got 1\.2"),
        ({"kl": -1.0}, "kl must be at least 0; got -1"),
        ({"kl": np.nan}, "kl must be at least 0; got nan"),
        ({"n": 1}, "n must be at least 2; got 1"),
        ({"delta": 0.0}, r"delta must be in \(0, 1\); got 0\.0"),
        ({"delta": 1.0}, r"delta must be in \(0, 1\); got 1\.0"),
        ({"num_choices": 0}, "num_choices must be an integer of at least 1; got 0"),
    ],
)
@pytest.mark.parametrize("kind", ["mcallester", "kl", "catoni"])
def test_wrong_values_are_named(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        value(kind, **changes)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.pac_bayes_bound(*SHARED, kind="hoeffding"), "kind must be one of 'mcallester'"),
        (lambda: bounds.pac_bayes_bound(*SHARED, kind="linear"), "kind='linear' needs lam"),
        (lambda: bounds.pac_bayes_bound(*SHARED, kind="catoni"), "kind='catoni' needs C"),
        (lambda: bounds.pac_bayes_bound(*SHARED, kind="kl", lam=1.0), "lam is the constant of kinds 'linear' and 'lambda'; kind is 'kl'"),
        (lambda: bounds.pac_bayes_bound(*SHARED, kind="kl", C=1.0), "C is the constant of kind 'catoni'; kind is 'kl'"),
        (lambda: value("lambda", lam=2.0), r"lam of kind 'lambda' must be in \(0, 2\); got 2\.0"),
        (lambda: value("linear", lam=0.0), "lam must be positive and finite; got 0"),
        (lambda: value("catoni", C=-1.0), "C must be positive and finite; got -1"),
        (lambda: bounds.catoni_grid(*SHARED, jnp.ones((2, 2))), r"constants must be a vector, not empty; got shape \(2, 2\)"),
        (lambda: bounds.catoni_constant(0.0, 100, 0.05), r"guess must be in \(0, 1\); got 0"),
        (lambda: bounds.catoni_constant(0.9999999, 2, 1e-9), "guess is so large for n"),
        (lambda: bounds.pac_bayes_objective("catoni", *SHARED), "kind='catoni' needs lam"),
        (lambda: bounds.pac_bayes_objective("kl", *SHARED, lam=1.0), "lam is the constant of kinds 'lambda' and 'catoni'; kind is 'kl'"),
        (lambda: bounds.pac_bayes_objective("lambda", *SHARED, lam=2.5), r"in \(0, 2\); got 2\.5"),
        (lambda: bounds.pac_bayes_objective("kl", *SHARED, kl_weight=-1.0), "kl_weight must be at least 0; got -1"),
        (lambda: bounds.bounded_cross_entropy(jnp.zeros((2, 3)), jnp.array([0, 1]), 1.0), r"p_min must be in \(0, 1\); got 1"),
        (lambda: bounds.bounded_cross_entropy(jnp.zeros((2, 3)), jnp.array([0, 3])), r"labels must be in \[0, 3\)"),
        (lambda: bounds.bounded_cross_entropy(jnp.zeros((2, 3)), jnp.array([0.0, 1.0])), "labels must be integers; got dtype float"),
        (lambda: bounds.bounded_cross_entropy(jnp.zeros(3), jnp.array([0])), r"logits must have shape \(n, C\)"),
        (lambda: bounds.bounded_cross_entropy(jnp.zeros((2, 3)), jnp.array([0])), r"labels must have shape \(2,\); got \(1,\)"),
        (lambda: bounds.discrete_kl([0.5, 0.6], [0.5, 0.5]), "q must sum to one within 1e-06"),
        (lambda: bounds.discrete_kl([0.5, 0.5], [1.5, -0.5]), "p must hold probabilities, neither negative nor NaN"),
        (lambda: bounds.discrete_kl([[1.0]], [[1.0]]), r"q must be a vector, one probability a hypothesis; got shape \(1, 1\)"),
        (lambda: bounds.gibbs_posterior([0.5, 0.4], [0.0, 0.0]), "prior must sum to one"),
        (lambda: bounds.gibbs_posterior([0.5, 0.5], [0.0]), r"values must have one entry a hypothesis, shape \(2,\); got \(1,\)"),
        (lambda: bounds.gibbs_posterior([1.0, 0.0], [-np.inf, 0.0]), "values must be finite on a hypothesis that prior allows"),
        (lambda: bounds.donsker_varadhan_gap([0.5, 0.5], [0.5, 0.5], [np.nan, 0.0]), "values must be finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.any_precision
def test_traced_delta_is_refused_and_traced_wrong_values_give_nan():
    with pytest.raises(TypeError, match="delta must be a concrete number"):
        jax.jit(lambda delta: bounds.pac_bayes_bound(0.1, 1.0, 100, delta).value)(0.05)
    for kind in ("maurer", "kl", "catoni"):
        found = jax.jit(jax.vmap(lambda risk, kl, kind=kind: value(kind, risk, kl)))(jnp.array([0.1, 1.1, 0.1]), jnp.array([1.0, 1.0, -1.0]))
        np.testing.assert_array_equal(np.isnan(found), [False, True, True])
