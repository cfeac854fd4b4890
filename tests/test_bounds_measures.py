"""Complexity measures: by hand, invariances, perturbations of known scale, ranks against scipy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import bounds, models

N = 12
RANDOM = tuple(name for name, measure in bounds.MEASURES.items() if "key" in measure.needs)
FIXED = tuple(name for name in bounds.MEASURES if name not in RANDOM)
INVARIANT_TO_UNITS = ("path-norm", "path-norm-over-margin", "l1-path-norm-over-margin", "fisher-rao")
INVARIANT_TO_LAYERS = tuple(name for name in FIXED if name.startswith(("log-prod", "log-sum")) or name == "log-spec-orig-main")
INVARIANT_TO_LAYERS += ("fro-over-spec", "log-bartlett-orig", "log-golowich")
OF_THE_FUNCTION = ("params", "train-loss", "train-error", "negative-entropy", "inverse-margin", "inverse-input-margin")
BUDGETS = {"num_draws": 2, "num_steps": 2, "num_bisections": 8}


def _net(params, x):
    return jax.nn.relu(x @ params["a"]) @ params["b"]


@pytest.fixture(scope="module")
def arrays():
    """A net with a positive margin on most examples, its start, and its examples."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(N, 4))
    params = {"a": rng.normal(size=(4, 8)), "b": rng.normal(size=(8, 3))}
    y = np.argmax(np.maximum(x @ params["a"], 0) @ params["b"], axis=1)
    return params, {name: leaf + 0.3 * rng.normal(size=leaf.shape) for name, leaf in params.items()}, x, y


@pytest.fixture
def problem(arrays, precision):
    params, start, x, y = jax.tree.map(jnp.asarray, arrays)
    return (*jax.tree.map(lambda leaf: leaf.astype(precision), (params, start, x)), y)


@pytest.fixture(scope="module")
def measure():
    """All measures without perturbations, compiled once for each precision."""
    return jax.jit(lambda params, start, x, y: bounds.complexity_measures(_net, params, start, x, y))


def test_there_are_about_forty_measures_each_with_its_formula(problem):
    assert len(bounds.MEASURES) == 44
    assert all(one.formula and one.scale in ("rate", "log", "plain") for one in bounds.MEASURES.values())


@pytest.mark.heavy
def test_measures_are_their_formulas(problem, measure, arrays, rtol):
    found = {name: float(value) for name, value in measure(*problem).items()}
    assert set(found) == set(FIXED)
    params, start, x, y = arrays
    a, b = params["a"].T, params["b"].T
    a0, b0 = start["a"].T, start["b"].T
    outputs = np.maximum(x @ params["a"], 0) @ params["b"]
    margins = np.array([row[k] - np.delete(row, k).max() for row, k in zip(outputs, y, strict=True)])
    margin = np.quantile(margins, 0.1)
    spec, spec0 = np.array([np.linalg.norm(m, 2) for m in (a, b)]), np.array([np.linalg.norm(m, 2) for m in (a - a0, b - b0)])
    fro, fro0 = np.array([np.linalg.norm(m) for m in (a, b)]), np.array([np.linalg.norm(m) for m in (a - a0, b - b0)])
    rows, rows0 = (np.array([np.linalg.norm(m, axis=1).sum() for m in pair]) for pair in ((a, b), (a - a0, b - b0)))
    logs = outputs - scipy.special.logsumexp(outputs, axis=1, keepdims=True)
    bartlett = {name: spec.prod() * ((r / spec) ** (2 / 3)).sum() ** 1.5 for name, r in (("orig", rows), ("init", rows0))}
    rates = {
        "params": 56.0,
        "inverse-margin": margin**-2,
        "l2": (fro**2).sum(),
        "l2-dist": (fro0**2).sum(),
        "param-norm": (fro**2).sum(),
        "fro-dist": (fro0**2).sum(),
        "dist-spec-init": (spec0**2).sum(),
        "fro-over-spec": ((fro / spec) ** 2).sum(),
        "dist-fro-over-spec": ((fro0 / spec) ** 2).sum(),
        "path-norm": (np.abs(b) ** 2 @ np.abs(a) ** 2).sum(),
        "path-norm-over-margin": (np.abs(b) ** 2 @ np.abs(a) ** 2).sum() / margin**2,
        "l1-path-norm-over-margin": (np.abs(b) @ np.abs(a)).sum() ** 2 / margin**2,
    }
    products = {"spec": (spec**2).prod(), "fro": (fro**2).prod()}
    logarithms = {
        "log-spec-init-main": products["spec"] * ((fro0 / spec) ** 2).sum() / margin**2,
        "log-spec-orig-main": products["spec"] * ((fro / spec) ** 2).sum() / margin**2,
        "log-golowich": products["fro"] * (np.linalg.norm(x, axis=1).max() * (np.sqrt(4 * np.log(2)) + 1) / margin) ** 2,
    }
    for name, product in products.items():
        logarithms |= {f"log-prod-of-{name}": product, f"log-prod-of-{name}-over-margin": product / margin**2}
        logarithms |= {f"log-sum-of-{name}": 2 * product**0.5, f"log-sum-of-{name}-over-margin": 2 * (product / margin**2) ** 0.5}
    for name, size in bartlett.items():
        logarithms[f"log-bartlett-{name}"] = (np.linalg.norm(x) * size / margin) ** 2 / N
    plain = {"train-loss": -logs[np.arange(N), y].mean(), "train-error": 0.0, "negative-entropy": (np.exp(logs) * logs).sum(axis=1).mean()}
    expected = {name: np.sqrt(value / N) for name, value in rates.items()} | plain
    expected |= {name: np.log(value / N) / 2 for name, value in logarithms.items()}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1000 * rtol, atol=1000 * rtol, err_msg=name)
    assert set(FIXED) - set(expected) == {"inverse-input-margin", "fisher-rao", "gradient-norm", "gradient-noise"}


@pytest.mark.float64
def test_measures_of_gradients_are_those_of_the_quantities(problem, measure):
    params, start, x, y = problem
    found = measure(params, start, x, y)
    rows = jax.vmap(jax.grad(lambda w, x, y: models.softmax_cross_entropy(_net(w, x[None]), y[None])[0]), in_axes=(None, 0, 0))(params, x, y)
    rows = np.concatenate([np.asarray(leaf).reshape(N, -1) for leaf in jax.tree.leaves(rows)], axis=1)
    weights = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    np.testing.assert_allclose(found["gradient-norm"], (rows.mean(axis=0) ** 2).sum(), rtol=1e-10)
    np.testing.assert_allclose(found["gradient-noise"], ((rows - rows.mean(axis=0)) ** 2).sum() / N, rtol=1e-10)
    np.testing.assert_allclose(found["fisher-rao"], np.sqrt(((rows @ weights) ** 2).mean() / N), rtol=1e-10)
    distances = bounds.normalized_margins(_net, params, x, y, by="input_gradient")
    np.testing.assert_allclose(found["inverse-input-margin"], 1 / (np.quantile(distances, 0.1) * np.sqrt(N)), rtol=1e-10)


def test_measures_do_not_change_where_hidden_units_are_permuted(problem, measure, rtol):
    params, start, x, y = problem
    order = jnp.asarray(np.random.default_rng(0).permutation(8))
    permuted = [{"a": tree["a"][:, order], "b": tree["b"][order]} for tree in (params, start)]
    found, other = measure(params, start, x, y), measure(*permuted, x, y)
    for name, value in found.items():
        np.testing.assert_allclose(other[name], value, rtol=1000 * rtol, atol=100 * rtol, err_msg=name)


def test_measures_that_claim_it_do_not_change_where_layers_or_units_are_rescaled(problem, measure, rtol):
    params, start, x, y = problem
    units = jnp.asarray(np.geomspace(0.2, 5, 8), x.dtype)
    found = measure(params, start, x, y)
    layers = measure({"a": 4 * params["a"], "b": params["b"] / 4}, start, x, y)
    nodes = measure({"a": params["a"] * units, "b": params["b"] / units[:, None]}, start, x, y)
    for name in OF_THE_FUNCTION + INVARIANT_TO_UNITS:
        np.testing.assert_allclose(nodes[name], found[name], rtol=3000 * rtol, atol=100 * rtol, err_msg=name)
    for name in OF_THE_FUNCTION + INVARIANT_TO_UNITS + INVARIANT_TO_LAYERS:
        np.testing.assert_allclose(layers[name], found[name], rtol=3000 * rtol, atol=100 * rtol, err_msg=name)
    for name in INVARIANT_TO_LAYERS:
        assert abs(float(nodes[name] - found[name])) > 0.01, name
    for name in ("l2", "l2-dist", "param-norm", "fro-dist", "dist-spec-init", "gradient-norm", "gradient-noise"):
        assert abs(float(layers[name] / found[name]) - 1) > 0.1, name


@pytest.mark.slow
@pytest.mark.float64
def test_every_measure_by_itself_is_what_it_is_among_all(problem, measure):
    found = measure(*problem)
    for name in ("inverse-margin", "log-bartlett-init", "path-norm", "fisher-rao"):
        (alone,) = bounds.complexity_measures(_net, *problem, names=(name,)).items()
        np.testing.assert_allclose(alone[1], found[name], rtol=1e-10)


@pytest.mark.slow
@pytest.mark.float64
def test_mapped_over_checkpoints_measures_are_those_of_each(problem, key):
    params, start, x, y = problem
    nets = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.5 * leaf]), params)
    names = ("log-spec-init-main", "gradient-noise", *RANDOM)

    def measures(params):
        return bounds.complexity_measures(_net, params, start, x, y, key=key, names=names, **BUDGETS)

    mapped = jax.jit(jax.vmap(measures))(nets)
    assert set(mapped) == set(names)
    assert all(jnp.isfinite(values).all() for values in mapped.values())
    first = {name: values[0] for name, values in mapped.items()}
    _check_pac_bayes(params, start, first)
    single = bounds.complexity_measures(_net, *problem, names=("log-spec-init-main", "gradient-noise"))
    for name, value in single.items():
        np.testing.assert_allclose(first[name], value, rtol=1e-10, err_msg=name)
    risk = lambda w: jnp.mean(bounds.margins(_net(w, x), y) <= 0)  # noqa: E731
    sigma = bounds.perturbation_sigma(key, risk, params, num_draws=2, num_bisections=8)
    np.testing.assert_allclose(first["pacbayes-flatness"], 1 / (sigma.value * np.sqrt(N)), rtol=1e-10)


def _check_pac_bayes(params, start, found):
    """Measures of perturbations from the scales that their flatness says, by their formulas."""
    w, w0 = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (params, start))
    moved, count, eps = {"init": w - w0, "orig": w}, len(w), 1e-3
    for start_name, delta in moved.items():
        square = (delta**2).sum()
        scale = {kind: 1 / (float(found[f"{kind}-flatness"]) * np.sqrt(N)) for kind in ("pacbayes", "pacbayes-mag", "sharpness", "sharpness-mag")}
        sigma, sigma_mag, alpha, alpha_mag = scale.values()
        mag = np.log((eps**2 + (sigma_mag**2 + 1) * square / count) / (eps**2 + sigma_mag**2 * delta**2)).sum() / 4
        worst = np.log((eps**2 + (alpha_mag**2 + 4 * np.log(2 * count)) * square / count) / (eps**2 + alpha_mag**2 * delta**2)).sum() / 4
        expected = {
            "pacbayes": square / (4 * sigma**2) + np.log(N / sigma) + 10,
            "pacbayes-mag": mag + np.log(N / sigma_mag) + 10,
            "sharpness": square * np.log(2 * count) / (4 * alpha**2) + np.log(N / alpha) + 10,
            "sharpness-mag": worst + np.log(N / alpha_mag) + 10,
        }
        for kind, value in expected.items():
            np.testing.assert_allclose(found[f"{kind}-{start_name}"], np.sqrt(value / N), rtol=1e-10, err_msg=kind)


@pytest.mark.any_precision
def test_measures_over_a_margin_are_undefined_where_a_tenth_is_misclassified(problem):
    params, start, x, y = problem
    wrong = jnp.where(jnp.arange(N) < 2, (y + 1) % 3, y)
    found = bounds.complexity_measures(_net, params, start, x, wrong, names=("inverse-margin", "log-golowich", "path-norm"))
    assert jnp.isnan(found["inverse-margin"])
    assert jnp.isnan(found["log-golowich"])
    assert jnp.isfinite(found["path-norm"])


class _Normalized(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.BatchNorm(use_running_average=True)(nn.Dense(5)(x))))


@pytest.mark.any_precision
def test_measures_of_layers_and_paths_are_not_defined_with_batch_normalization(problem):
    _, _, x, y = problem
    module = _Normalized()
    apply_fn, params = models.from_linen(module, module.init(jax.random.key(0), x))
    for name in ("param-norm", "path-norm"):
        with pytest.raises(ValueError, match=f"{name} is not defined: a parameter scales values"):
            bounds.complexity_measures(apply_fn, params, params, x, y, names=(name,))
    trace = jax.eval_shape(lambda params: bounds.complexity_measures(apply_fn, params, params, x, y), params)
    assert set(trace) == {name for name in FIXED if not {"layers", "paths"} & set(bounds.MEASURES[name].needs)}
    smooth = lambda w, x: jnp.tanh(x @ w["a"]) @ w["b"]  # noqa: E731
    params, start = problem[:2]
    with pytest.raises(ValueError, match="path-norm is not defined: outputs are not affine in a alone"):
        bounds.complexity_measures(smooth, params, start, x, y, names=("path-norm",))


@pytest.mark.any_precision
def test_bad_input_is_named(problem):
    params, start, x, y = problem
    for arguments, options, message in (
        ((params, {"a": start["a"]}, x, y), {}, "init_params must have the tree and shapes of params"),
        ((params, start, x, y[:3]), {}, "same leading axis"),
        ((params, start, x, y), {"names": ("pathnorm",)}, "names must be of measures, params, .*; got 'pathnorm'"),
        ((params, start, x, y), {"names": ("sharpness-init",)}, "sharpness-init is not defined: perturbations need a key"),
        ((params, start, x, y), {"names": ("pacbayes-init",), "key": jax.random.key(0), "target": 0.0}, "target must be positive"),
        ((params | {"b": 0 * params["b"]}, start, x, y), {"names": ("param-norm",)}, "every layer must differ from zero"),
    ):
        with pytest.raises(ValueError, match=message):
            bounds.complexity_measures(_net, *arguments, **options)


@pytest.mark.any_precision
def test_the_standard_deviation_of_perturbations_is_the_sigma_of_the_record(key):
    """Elsewhere its square was handed to a sampler that takes standard deviations. Four standard errors of 20,000 numbers are 2%."""
    params = {"a": jnp.full((100, 100), 2.0), "b": jnp.zeros(10_000)}
    found = bounds.perturbed(key, params, 0.3)
    for name, leaf in params.items():
        np.testing.assert_allclose(jnp.std(found[name] - leaf), 0.3, rtol=0.03)
    found = bounds.perturbed(key, params, 0.3, magnitude_aware=True, epsilon=0.1)
    np.testing.assert_allclose(jnp.std(found["a"] - 2), np.hypot(0.6, 0.1), rtol=0.03)
    np.testing.assert_allclose(jnp.std(found["b"]), 0.1, rtol=0.03)
    with pytest.raises(ValueError, match="sigma must be at least 0"):
        bounds.perturbed(key, params, -0.3)


def test_perturbations_of_a_quadratic_risk_have_its_known_scales(key):
    """One relative standard error of sigma is 1/2 (2 tr H^2 / (400 tr(H)^2))^(1/2), below 1%; of alpha there is none."""
    curvatures = jnp.asarray(np.linspace(0.5, 3, 20))

    def risk(w):
        return jnp.sum(curvatures * jnp.square(w["w"])) / 2

    start = {"w": jnp.zeros(20)}
    sigma = bounds.perturbation_sigma(key, risk, start, num_draws=400)
    assert sigma.found
    np.testing.assert_allclose(sigma.value, np.sqrt(0.2 / curvatures.sum()), rtol=0.04)
    alpha = bounds.worst_case_alpha(key, risk, risk, start)
    np.testing.assert_allclose(alpha.value, np.sqrt(0.2 / curvatures.sum()), rtol=16 / 2**12)


@pytest.mark.any_precision
def test_a_scale_outside_the_bracket_is_nan_and_flagged(key):
    for risk in (lambda w: 0.0 * w.sum(), lambda w: jnp.where((w == 0).all(), 0.0, 1.0), lambda w: w.sum() * jnp.nan):
        found = bounds.perturbation_sigma(key, risk, jnp.zeros(3), num_draws=2)
        assert jnp.isnan(found.value)
        assert not found.found
    for options, message in (
        ({"target": -0.1}, "target must be positive"),
        ({"bracket": (1.0, 0.1)}, "bracket must be 0 < low < high"),
        ({"num_draws": 0}, "num_draws must be an integer of at least 1"),
        ({"epsilon": -1.0}, "epsilon must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            bounds.perturbation_sigma(key, lambda w: w.sum(), jnp.zeros(3), **options)
    with pytest.raises(ValueError, match="risk_fn must return a single number"):
        bounds.perturbation_sigma(key, lambda w: w, jnp.zeros(3))


@pytest.fixture
def ranked():
    rng = np.random.default_rng(8)
    return rng.integers(0, 6, 24) / 2, rng.integers(0, 5, 24) * 1.0, np.stack(np.unravel_index(np.arange(24), (2, 3, 4)), axis=1)


@pytest.mark.any_precision
def test_kendalls_tau_is_scipys_with_ties_and_the_mean_over_pairs_without(ranked):
    measure, gap, _ = ranked
    np.testing.assert_allclose(bounds.kendall_tau(measure, gap, variant="b"), scipy.stats.kendalltau(measure, gap).statistic, rtol=1e-5)
    pairs = np.sign(measure[:, None] - measure) * np.sign(gap[:, None] - gap)
    np.testing.assert_allclose(bounds.kendall_tau(measure, gap), pairs.sum() / (24 * 23), rtol=1e-5)
    order = jnp.arange(5.0)
    assert [float(bounds.kendall_tau(order, sign * order)) for sign in (1, -1)] == [1.0, -1.0]
    assert bounds.kendall_tau(order, order.at[4].set(jnp.inf)) == 1
    assert jnp.isnan(bounds.kendall_tau(order, 0 * order, variant="b"))


@pytest.mark.any_precision
@pytest.mark.parametrize("variant", ["a", "b"])
def test_granulated_tau_is_the_mean_over_groups_where_one_axis_varies(ranked, variant):
    measure, gap, grid = ranked
    per_axis = []
    for axis in range(3):
        others = [tuple(np.delete(row, axis)) for row in grid]
        groups = [[i for i, other in enumerate(others) if other == group] for group in sorted(set(others))]
        taus = [bounds.kendall_tau(measure[rows], gap[rows], variant=variant) for rows in map(np.array, groups)]
        per_axis.append(np.mean(taus))
    found = jax.jit(lambda *a: bounds.granulated_kendall(*a, variant=variant, per_axis=True))(measure, gap, grid)
    np.testing.assert_allclose(found, per_axis, rtol=1e-5)
    if variant == "a":
        np.testing.assert_allclose(bounds.granulated_kendall(measure, gap, grid), np.mean(per_axis), rtol=1e-5)
    assert jnp.isnan(bounds.granulated_kendall(measure[:2], gap[:2], np.array([[0, 1], [1, 0]])))


@pytest.mark.any_precision
def test_rankings_refuse_what_cannot_be_ranked(ranked):
    measure, gap, grid = ranked
    for call, message in (
        (lambda: bounds.kendall_tau(measure[:1], gap[:1]), "at least two nets"),
        (lambda: bounds.kendall_tau(measure, gap[1:]), "gap must have the shape of measure"),
        (lambda: bounds.kendall_tau(measure, np.where(np.arange(24) == 3, np.nan, gap)), "gap must hold no NaN"),
        (lambda: bounds.kendall_tau(measure, gap, variant="c"), "variant must be one of 'a', 'b'"),
        (lambda: bounds.granulated_kendall(measure, gap, grid[1:]), r"hyperparameters must have shape \(24, k\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert jnp.isnan(jax.jit(bounds.kendall_tau)(measure, jnp.where(jnp.arange(24) == 3, jnp.nan, gap)))
