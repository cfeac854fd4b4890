"""The linear-Gaussian problem: printed values, a dense Gaussian computation, and simulation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import data

RATE, NOISE, CYCLIC = 0.1, 0.05, np.arange(16).reshape(8, 2) % 8
PRINTED = 1.0
"""Units of the last printed digit that a rounded or truncated value may be off."""


@pytest.fixture
def known(rtol):
    """Agreement with a value printed to `digits` decimals."""
    return lambda value, digits: pytest.approx(value, rel=rtol, abs=PRINTED * 10.0**-digits)


def _solve(init_std=0.0):
    return data.LinearGaussian(d=2, n=8, init_std=init_std).solve(CYCLIC, RATE, NOISE)


def _log(dispersion, d=2, rate=RATE, noise=NOISE):
    return float(d / 2 * jnp.log1p(rate**2 * dispersion / (d * noise**2)).sum())


def _linear(dispersion, rate=RATE, noise=NOISE):
    return float((rate**2 * dispersion / (2 * noise**2)).sum())


@pytest.mark.heavy
def test_sgld_has_the_printed_information_and_chain_of_bounds(known):
    exact = _solve()
    assert float(exact.sgld_mutual_information) == known(1.5758077735, 10)
    assert _log(exact.sgld_conditional_dispersion) == known(8.5665641968, 10)
    assert _log(exact.sgld_dispersion) == known(8.6356212082, 10)
    assert _linear(exact.sgld_dispersion) == known(15.5581895298, 10)


def test_the_auxiliary_process_has_the_printed_information_and_sums(known):
    exact = _solve()
    assert float(exact.init_coefficient[-1]) == known(0.43046721, 8)
    assert float((exact.data_coefficients[-1] ** 2).sum()) == known(0.041106, 6)
    assert float(exact.mutual_information) == known(1.116882, 6)
    assert _log(exact.conditional_dispersion) == known(8.511354, 6)
    assert _log(exact.dispersion) == known(8.568021, 6)
    assert _linear(exact.dispersion) == known(15.362815, 6)


def test_the_dispersions_are_the_printed_ones(known):
    printed = [1, 1.01, 1.0181, 1.024661, 0.884175, 0.901602, 0.915717, 0.927151]
    assert [float(v) for v in _solve().dispersion] == [known(v, 6) for v in printed]


def test_the_sums_of_neu_are_the_printed_ones(known):
    exact, ratio = _solve(), RATE**2 / NOISE**2
    assert float(2 * ratio * (exact.sensitivity + exact.neu_variance).sum()) == known(66.24, 2)
    assert float(ratio * (exact.flat_sensitivity + exact.neu_variance).sum()) == known(32.56, 2)


@pytest.mark.parametrize(("init_std", "printed"), [(0.0, 15.36), (1.0, 32.51), (5.0, 444.15)])
def test_a_dispersed_start_raises_the_dispersion_above_the_sum_of_neu(known, init_std, printed):
    assert _linear(_solve(init_std).dispersion) == known(printed, 2)


@pytest.mark.heavy
def test_on_the_unstable_quadratic_sensitivity_cannot_be_dropped(known):
    exact = data.LinearGaussian(d=1, n=8, curvature=-5.0).solve(np.arange(40).reshape(20, 2) % 8, RATE, 1.0)
    assert float(exact.mutual_information) == known(4.0507182, 7)
    assert float(RATE**2 * exact.neu_variance.sum()) == known(0.1, 12)
    assert float(RATE**2 * (exact.flat_sensitivity + exact.neu_variance).sum()) == known(47.6, 1)
    assert _linear(exact.dispersion, noise=1.0) == known(6599, 0)


@pytest.mark.parametrize(("batch", "printed"), [(np.arange(8), 0.25), (np.arange(2), 1.0)])
def test_neu_variance_has_no_finite_population_factor(known, batch, printed):
    assert float(data.LinearGaussian(d=2, n=8).solve(batch[None], RATE, NOISE).neu_variance[0]) == known(printed, 12)


@pytest.mark.heavy
def test_full_batches_on_the_linear_loss_have_the_closed_form(rtol):
    num_steps, std = 5, 1.3
    exact = data.LinearGaussian(d=3, n=8, data_std=std, curvature=0.0).solve(np.tile(np.arange(8), (num_steps, 1)), RATE, NOISE)
    assert float(exact.mutual_information) == pytest.approx(1.5 * math.log1p(num_steps * RATE**2 * std**2 / (8 * NOISE**2)), rel=rtol)
    np.testing.assert_array_equal(exact.sensitivity, np.zeros(num_steps))


def test_after_one_step_the_log_form_is_the_exact_information(rtol):
    exact = data.LinearGaussian(d=2, n=8).solve(CYCLIC[:1], RATE, NOISE)
    assert _log(exact.dispersion) == pytest.approx(float(exact.mutual_information), rel=rtol)
    assert float(exact.sgld_mutual_information) == pytest.approx(float(exact.mutual_information), rel=rtol)


def test_one_full_step_of_rate_one_is_the_sample_mean_with_gap_ds2_over_n(rtol):
    """The loss |w - z|^2 is twice this one: its gap is 0.6 at d = 3, n = 10."""
    exact = data.LinearGaussian(d=3, n=10).solve(np.arange(10)[None], 1.0, 0.0)
    assert 2 * float(exact.generalization_gap) == pytest.approx(0.6, rel=rtol)
    assert float(exact.mutual_information) == math.inf


@pytest.mark.heavy
def test_noise_fed_back_reaches_its_stationary_variance(known):
    exact = data.LinearGaussian(d=2, n=8).solve(np.zeros((300, 1), int), RATE, NOISE)
    assert float((exact.sgld_dispersion - exact.dispersion)[-1] / 2) == pytest.approx(0.0131578947, rel=1e-4)


def test_steps_of_rate_zero_learn_nothing(precision):
    exact = data.LinearGaussian(d=2, n=8).solve(CYCLIC, 0.0, 0.0)
    assert float(exact.mutual_information) == float(exact.sgld_mutual_information) == float(exact.generalization_gap) == 0.0
    assert exact.dispersion.dtype == precision


def _dense(problem, batches, rates, noises):
    """Every field by covariance matrices of (W_0, Z, N) and linear maps on them."""
    d, n, num_steps = problem.d, problem.n, len(batches)
    h = problem.curvature
    variances = [problem.init_std**2, *[problem.data_std**2] * n, *[s**2 for s in noises]]
    covariance = np.kron(np.diag(variances), np.eye(d))
    eye = np.kron(np.eye(1 + n + num_steps), np.eye(d)).reshape(1 + n + num_steps, d, -1)
    examples, data_covariance = np.concatenate(eye[1 : 1 + n]), problem.data_std**2 * np.eye(n * d)

    def cov(a, b):
        return a @ covariance @ b.T

    def information(w):
        joint = np.concatenate([w, examples])
        logs = [np.linalg.slogdet(m)[1] for m in (cov(w, w), data_covariance, cov(joint, joint))]
        return (logs[0] + logs[1] - logs[2]) / 2

    def conditional(g, w):
        return np.trace(cov(g, g) - cov(g, w) @ np.linalg.pinv(cov(w, w)) @ cov(w, g))

    clean = fed_back = eye[0]
    noise = np.zeros_like(clean)
    fields = {
        name: []
        for name in (
            "dispersion",
            "conditional_dispersion",
            "sgld_dispersion",
            "sgld_conditional_dispersion",
            "neu_variance",
            "sensitivity",
            "flat_sensitivity",
        )
    }
    for t, batch in enumerate(batches):
        mean = np.mean([eye[1 + i] for i in batch], axis=0)
        g, g_sgld = h * clean - mean, h * fed_back - mean
        fields["dispersion"].append(np.trace(cov(g, g)))
        fields["conditional_dispersion"].append(conditional(g, clean + noise))
        fields["sgld_dispersion"].append(np.trace(cov(g_sgld, g_sgld)))
        fields["sgld_conditional_dispersion"].append(conditional(g_sgld, fed_back))
        fields["neu_variance"].append(np.trace(cov(g - h * clean, g - h * clean)))
        fields["flat_sensitivity"].append(h**2 * np.trace(cov(noise, noise)))
        fields["sensitivity"].append(2 * fields["flat_sensitivity"][-1])
        clean, fed_back = clean - rates[t] * g, fed_back - rates[t] * g_sgld + eye[1 + n + t]
        noise = noise + eye[1 + n + t]
    fields["mutual_information"] = information(clean + noise)
    fields["sgld_mutual_information"] = information(fed_back)
    fields["generalization_gap"] = np.mean([np.trace(cov(clean, z)) for z in eye[1 : 1 + n]])
    return fields


@pytest.mark.parametrize(("init_std", "curvature"), [(0.0, 1.0), (0.8, 0.7), (0.8, -2.0), (0.5, 0.0)])
def test_every_field_is_that_of_the_dense_computation(init_std, curvature, precision):
    """Random batches with repetitions; the dense side is in float64, so float32 carries its own rounding."""
    rng = np.random.default_rng(3)
    batches, rates, noises = rng.integers(0, 5, (6, 3)), rng.uniform(0.1, 0.5, 6), rng.uniform(0.2, 0.6, 6)
    problem = data.LinearGaussian(d=2, n=5, data_std=1.4, init_std=init_std, curvature=curvature)
    exact = problem.solve(batches, rates, noises)
    for name, expected in _dense(problem, batches, rates, noises).items():
        np.testing.assert_allclose(getattr(exact, name), expected, rtol={"float32": 1e-4, "float64": 1e-10}[precision], atol=1e-12, err_msg=name)


def _simulate(problem, batches, rates, noises, key):
    """Gradients along SGD, SGLD, and what the final SGD weights score, for one seed; gradients by differentiation."""
    keys = jax.random.split(key, 4)
    train, fresh, start = problem.sample(keys[0]), problem.sample(keys[1]), problem.init(keys[2])
    gradient = jax.grad(lambda w, batch: problem.loss_fn(w, batch).mean())

    def step(state, inputs):
        clean, fed_back = state
        batch, rate, noise = inputs
        g, g_sgld = gradient(clean, train[batch]), gradient(fed_back, train[batch])
        return (clean - rate * g, fed_back - rate * g_sgld + noise), (g, g_sgld, g - problem.curvature * clean)

    noise = noises[:, None] * jax.random.normal(keys[3], (len(batches), problem.d))
    (clean, _), gradients = jax.lax.scan(step, (start, start), (batches, rates, noise))
    return gradients, problem.loss_fn(clean, fresh).mean() - problem.loss_fn(clean, train).mean(), train, start, clean


@pytest.mark.any_precision
@pytest.mark.parametrize(("init_std", "curvature"), [(0.0, 1.0), (0.7, -1.0)])
def test_simulated_dispersions_and_gap_agree_with_the_exact_ones(key, init_std, curvature):
    """20,000 seeds; a trace of variances of d Gaussian coordinates has relative standard error sqrt(2/(dK)); 5 of them."""
    problem, num_seeds = data.LinearGaussian(d=2, n=6, data_std=1.2, init_std=init_std, curvature=curvature), 20_000
    batches, rates, noises = jnp.arange(10).reshape(5, 2) % 6, jnp.linspace(0.3, 0.1, 5), jnp.full(5, 0.3)
    exact = problem.solve(batches, rates, noises)
    keys = jax.random.split(key, num_seeds)
    gradients, gaps, train, start, clean = jax.jit(jax.vmap(lambda k: _simulate(problem, batches, rates, noises, k)))(keys)
    for simulated, field in zip(gradients, (exact.dispersion, exact.sgld_dispersion, exact.neu_variance), strict=True):
        np.testing.assert_allclose(simulated.var(axis=0, ddof=1).sum(axis=-1), field, rtol=5 * math.sqrt(2 / (2 * num_seeds)))
    assert abs(float(gaps.mean() - exact.generalization_gap)) < 5 * float(gaps.std()) / math.sqrt(num_seeds)
    recursion = exact.init_coefficient[-1] * start + jnp.einsum("i,kid->kd", exact.data_coefficients[-1], train)
    np.testing.assert_allclose(clean, recursion, atol=2e-6)


@pytest.mark.parametrize("curvature", [1.0, 0.0, -5.0])
def test_the_gradient_of_the_loss_is_curvature_times_w_minus_z(key, curvature, rtol):
    problem = data.LinearGaussian(d=3, n=4, curvature=curvature)
    w, z = jnp.array([0.5, -1.0, 2.0]), problem.sample(key, 7)
    np.testing.assert_allclose(jax.jit(jax.jacobian(problem.loss_fn))(w, z), curvature * w - z, rtol=rtol, atol=rtol)
    w, z = np.asarray(w), np.asarray(z)
    expected = curvature / 2 * w @ w - z @ w + (z**2).sum(axis=1) / 2
    np.testing.assert_allclose(problem.loss_fn(w, z), expected, rtol=10 * rtol, atol=10 * rtol)


@pytest.mark.heavy
def test_samples_have_the_stated_law(key):
    """5 standard errors of a standard deviation from 40,000 numbers."""
    problem = data.LinearGaussian(d=2, n=8, data_std=0.5, init_std=3.0)
    assert problem.sample(key).shape == (8, 2)
    for std, draws in ((0.5, problem.sample(key, 20_000)), (3.0, jax.jit(jax.vmap(problem.init))(jax.random.split(key, 20_000)))):
        assert abs(float(draws.std()) / std - 1) < 5 / math.sqrt(2 * 40_000)


@pytest.mark.heavy
def test_solving_passes_through_jit_vmap_and_grad(rtol):
    stds = jnp.array([0.0, 1.0, 5.0])

    def dispersion(std):
        return data.LinearGaussian(d=2, n=8, init_std=std).solve(CYCLIC, RATE, NOISE).dispersion

    mapped = jax.jit(jax.vmap(dispersion))(stds)
    np.testing.assert_allclose(mapped, [dispersion(float(s)) for s in stds], rtol=rtol)
    problem = data.LinearGaussian(d=2, n=8, init_std=1.0)
    jitted = jax.jit(data.LinearGaussian.solve)(problem, CYCLIC, RATE, NOISE)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=10 * rtol, atol=rtol), jitted, problem.solve(CYCLIC, RATE, NOISE))
    slope = jax.grad(lambda noise: problem.solve(CYCLIC, RATE, noise).mutual_information)(NOISE)
    assert float(slope) < 0


def test_conditioning_on_the_start_is_the_problem_with_a_fixed_start(rtol):
    np.testing.assert_allclose(_solve(5.0).dispersion - 2 * 25 * _solve(5.0).init_coefficient[:-1] ** 2, _solve().dispersion, rtol=100 * rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((CYCLIC, 0.1, -0.1), ValueError, "noise_std must not be negative"),
        ((CYCLIC, 0.1, np.ones(7)), ValueError, r"noise_std must be a scalar or have one value per step, shape \(8,\); got shape \(7,\)"),
        ((CYCLIC, np.ones(3), 0.1), ValueError, "learning_rate must be a scalar or have one value per step"),
        ((CYCLIC + 1, 0.1, 0.1), ValueError, r"batch_indices must lie in \[0, 8\)"),
        ((CYCLIC - 1, 0.1, 0.1), ValueError, r"batch_indices must lie in \[0, 8\)"),
        ((CYCLIC[0], 0.1, 0.1), ValueError, r"batch_indices must have shape \(T, b\), b >= 1; got \(2,\)"),
        ((CYCLIC * 1.0, 0.1, 0.1), TypeError, "batch_indices must be integers"),
    ],
)
def test_bad_runs_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        data.LinearGaussian(d=2, n=8).solve(*arguments)


@pytest.mark.any_precision
def test_bad_problems_are_named(key):
    with pytest.raises(ValueError, match="d must be an integer of at least 1"):
        data.LinearGaussian(d=0, n=8)
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        data.LinearGaussian(d=1, n=0)
    with pytest.raises(ValueError, match=r"data_std must not be negative; got -1\.0"):
        data.LinearGaussian(d=1, n=2, data_std=-1.0).sample(key)
    with pytest.raises(ValueError, match=r"init_std must be a scalar; got shape \(2,\)"):
        data.LinearGaussian(d=1, n=2, init_std=jnp.ones(2)).init(key)


@pytest.mark.any_precision
def test_wrong_values_become_nan_when_traced():
    solve = jax.jit(data.LinearGaussian(d=2, n=8).solve)
    assert jnp.isnan(solve(CYCLIC + 1, RATE, NOISE).dispersion).all()
    assert jnp.isnan(solve(CYCLIC, RATE, -NOISE).mutual_information)
    assert jnp.isnan(jax.jit(lambda s: data.LinearGaussian(d=2, n=8, data_std=s).solve(CYCLIC, RATE, NOISE).generalization_gap)(-1.0))
