"""Paths of Ito equations, the canonical equation of SGD, changes of time and gradient flow: by hand, exact moments, diffrax, scipy."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh
from scipy.integrate import solve_ivp

from jaxgen import gradients, processes, seeds

TIMES = np.array([0.0, 0.1, 0.3, 0.35, 0.7])
MATRIX = jnp.array([[0.5, 0.2], [-0.3, 0.1]])


def _drift(x, t):
    return -x * (1 + t)


DIFFUSIONS = {
    "scalar": lambda x, t: 0.5 + t,
    "diagonal": lambda x, t: jnp.abs(x) * (1 + t),
    "matrix": lambda x, t: MATRIX * (x[0] + t),
}


@pytest.mark.parametrize("noise", DIFFUSIONS)
def test_steps_are_those_by_hand(key, noise, rtol):
    increments = np.asarray(jax.random.normal(key, (4, 2)))
    diffusion = DIFFUSIONS[noise]
    final, records = processes.euler_maruyama(
        key, _drift, diffusion, jnp.array([1.0, -2.0]), jnp.asarray(TIMES), noise=noise, increments=increments, record=lambda x, t: (x, t)
    )
    x, path = np.array([1.0, -2.0]), []
    for k, dw in enumerate(increments):
        path.append(x)
        s = np.asarray(diffusion(x, TIMES[k]))
        x = x - x * (1 + TIMES[k]) * (TIMES[k + 1] - TIMES[k]) + (s @ dw if noise == "matrix" else s * dw)
    np.testing.assert_allclose(final, x, rtol=rtol)
    np.testing.assert_allclose(records[0], path, rtol=rtol)
    np.testing.assert_allclose(records[1], TIMES[:-1], rtol=rtol)


@pytest.mark.float64
def test_the_path_is_that_of_diffrax_on_its_brownian_path(key):
    """Euler's method on the same increments, evaluated over the same steps; a matrix that depends on x and t."""
    times, x0 = jnp.linspace(0.0, 1.0, 17), jnp.array([1.0, -2.0])
    brownian = diffrax.VirtualBrownianTree(0.0, 1.0, tol=1e-3, shape=(2,), key=key)
    diffusion = DIFFUSIONS["matrix"]
    control = diffrax.ControlTerm(lambda t, x, args: diffusion(x, t), brownian)
    terms = diffrax.MultiTerm(diffrax.ODETerm(lambda t, x, args: _drift(x, t)), control)

    @jax.jit
    def solve():
        theirs = diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, 1.0, None, x0, stepsize_controller=diffrax.StepTo(times))
        increments = jax.vmap(brownian.evaluate)(times[:-1], times[1:])
        ours, _ = processes.euler_maruyama(key, _drift, diffusion, x0, times, noise="matrix", increments=increments)
        return ours, theirs.ys[0]

    ours, theirs = solve()
    np.testing.assert_allclose(ours, theirs, rtol=1e-11)


def test_an_ornstein_uhlenbeck_process_has_the_moments_of_its_recursion(key):
    """20000 paths in two leaves, 5 standard errors; the step is 0.1, the rates 1 and 3."""
    rates = {"a": jnp.array([1.0, 3.0]), "b": jnp.float32(2.0)}
    spreads = {"a": jnp.array([0.5, 2.0]), "b": jnp.float32(1.0)}

    @jax.jit
    @jax.vmap
    def path(key):
        def drift(x, t):
            return jax.tree.map(lambda rate, x: -rate * x, rates, x)

        start = jax.tree.map(jnp.ones_like, rates)
        return processes.euler_maruyama(key, drift, lambda x, t: spreads, start, jnp.linspace(0.0, 1.0, 11), noise="diagonal")[0]

    ends = path(jax.random.split(key, 20_000))
    assert ends["b"].dtype == jnp.float32
    for name in ("a", "b"):
        factor = 1 - 0.1 * np.asarray(rates[name])
        mean, variance = factor**10, 0.1 * np.asarray(spreads[name]) ** 2 * (1 - factor**20) / (1 - factor**2)
        draws = np.asarray(ends[name])
        assert np.all(np.abs(draws.mean(0) - mean) < 5 * np.sqrt(variance / 20_000))
        assert np.all(np.abs(draws.var(0) - variance) < 5 * variance * np.sqrt(2 / 20_000))


@pytest.mark.float64
def test_geometric_brownian_motion_is_approached_along_its_own_path(key):
    """X_1 = exp((m - s^2/2) + s W_1) pathwise: the strong order 1/2, root mean square over 2000 paths with steps 1/8 and 1/64."""
    fine = jnp.linspace(0.0, 1.0, 65)

    @jax.jit
    @jax.vmap
    def errors(key):
        path = processes.brownian_path(key, fine)
        exact = jnp.exp(0.5 - 0.5 * 0.8**2 + 0.8 * path[-1])
        ends = [
            processes.euler_maruyama(
                key, lambda x, t: 0.5 * x, lambda x, t: 0.8 * x, 1.0, fine[::k], noise="diagonal", increments=jnp.diff(path[::k])
            )[0]
            for k in (8, 1)
        ]
        return jnp.stack(ends) - exact

    strong = jnp.sqrt(jnp.mean(errors(jax.random.split(key, 2000)) ** 2, axis=0))
    order = processes.weak_order(strong, jnp.array([1 / 8, 1 / 64]))
    assert abs(order.value - 0.5) < 0.1


@pytest.mark.any_precision
def test_noise_that_is_applied_is_drawn_from_the_key_of_the_step(key):
    def diffusion(x, t, key):
        return (1 + t) * jax.random.normal(key, (2,))

    final, _ = processes.euler_maruyama(key, lambda x, t: jnp.zeros(2), diffusion, jnp.zeros(2), jnp.array([0.0, 0.25, 1.0]), noise="apply")
    draws = [jax.random.normal(jax.random.fold_in(key, k), (2,)) for k in range(2)]
    np.testing.assert_allclose(final, 0.5 * draws[0] + 1.25 * np.sqrt(0.75) * draws[1], rtol=1e-5)


@pytest.mark.any_precision
def test_records_are_every_so_many_steps_and_change_nothing(key):
    def solve(**options):
        return processes.euler_maruyama(key, _drift, DIFFUSIONS["scalar"], jnp.ones(2), jnp.linspace(0.0, 1.0, 8), **options)

    (final, nothing), (again, records) = jax.jit(lambda: (solve(), solve(record=lambda x, t: t, every=3)))()
    assert nothing is None
    np.testing.assert_allclose(final, again, rtol=1e-6)
    np.testing.assert_allclose(records, np.array([0, 3, 6]) / 7, rtol=1e-6)


@pytest.mark.any_precision
def test_paths_are_the_same_bits_on_1_2_and_4_devices(key):
    def run(key):
        return processes.euler_maruyama(key, _drift, DIFFUSIONS["diagonal"], jnp.ones(2), jnp.linspace(0.0, 1.0, 20), noise="diagonal")[0]

    def mesh(count):
        return Mesh(np.array(jax.devices()[:count]), ("devices",), axis_types=(AxisType.Auto,))

    first, *others = (seeds.run(run, jax.random.split(key, 8), mesh=mesh(count), chunk_size=2) for count in (1, 2, 4))
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_negative_diffusion_is_refused_at_the_start_and_nan_later(key):
    def solve(diffusion, x, noise="scalar"):
        return processes.euler_maruyama(key, _drift, diffusion, x, jnp.linspace(0.0, 1.0, 5), noise=noise)[0]

    with pytest.raises(ValueError, match=r"diffusion must be at least 0; got -1\.0 at the start"):
        solve(lambda x, t: -1.0, jnp.ones(2))
    with pytest.raises(ValueError, match="diffusion must be at least 0"):
        solve(lambda x, t: jnp.array([1.0, -1e-3]), jnp.ones(2), "diagonal")
    assert jnp.all(jnp.isnan(solve(lambda x, t: 0.5 - t, jnp.ones(2))))
    assert jnp.isnan(jax.jit(lambda x: solve(lambda x, t: jnp.array([1.0, -1.0]), x, "diagonal"))(jnp.ones(2))).tolist() == [False, True]


@pytest.mark.any_precision
def test_bad_input_is_named(key):
    def solve(diffusion=lambda x, t: 1.0, times=(0.0, 1.0), drift=_drift, x0=(1.0, 1.0), **options):
        return processes.euler_maruyama(key, drift, diffusion, jnp.array(x0), jnp.array(times), **options)

    with pytest.raises(ValueError, match=r"times must be a vector of at least 2 times; got shape \(1,\)"):
        solve(times=(0.0,))
    with pytest.raises(ValueError, match="times must be finite and increasing"):
        solve(times=(0.0, 1.0, 0.5))
    with pytest.raises(ValueError, match="noise must be one of 'scalar', 'diagonal', 'matrix', 'apply'; got 'diag'"):
        solve(noise="diag")
    with pytest.raises(ValueError, match=r"diffusion must return \(2, 2\) for noise='matrix' and x0 of shape \(2,\); got \(2, 3\)"):
        solve(lambda x, t: jnp.ones((2, 3)), noise="matrix")
    with pytest.raises(ValueError, match=r"x0 must be an array of shape \(d,\) for noise='matrix'"):
        solve(lambda x, t: jnp.ones((2, 2)), noise="matrix", x0=jnp.ones((2, 2)))
    with pytest.raises(ValueError, match=r"diffusion must return \(2,\) for noise='diagonal' and x0 of shape \(2,\); got \(\)"):
        solve(noise="diagonal")
    with pytest.raises(ValueError, match=r"drift must return the structure and shapes of x0, \(2,\); got \(3,\)"):
        solve(drift=lambda x, t: jnp.ones(3))
    with pytest.raises(ValueError, match="increments have no meaning for noise='apply'"):
        solve(lambda x, t, key: x, noise="apply", increments=jnp.ones((1, 2)))
    with pytest.raises(ValueError, match=r"increments must have the structure of x0 with leading axis 1, \(1, 2\); got \(3, 2\)"):
        solve(increments=jnp.ones((3, 2)))
    with pytest.raises(TypeError, match="x0 must be real"):
        solve(x0=jnp.ones(2, complex))
    assert jnp.all(
        jnp.isnan(jax.jit(lambda times: processes.euler_maruyama(key, _drift, lambda x, t: 1.0, jnp.ones(2), times)[0])(jnp.array([1.0, 0.0])))
    )


def _loss(params, batch):
    x, y = batch
    return 0.5 * (jnp.tanh(x @ params["a"]) * params["b"] - y) ** 2


@pytest.fixture
def problem(key):
    keys = jax.random.split(key, 3)
    return {"a": jax.random.normal(keys[0], (2,)), "b": jnp.ones(())}, (jax.random.normal(keys[1], (6, 2)), jax.random.normal(keys[2], (6,)))


@pytest.mark.heavy
@pytest.mark.parametrize("replacement", [True, False])
def test_the_canonical_equation_has_the_gradient_and_its_noise(key, problem, replacement, rtol):
    params, data = problem
    drift, diffusion = processes.canonical_sde(_loss, data, 0.25, 3, replacement=replacement)
    covariance = gradients.noise_covariance(_loss, params, data, batch_size=3, replacement=replacement)
    gradient = gradients.value_and_gradient(_loss, params, data)[1]
    pairs = (
        (drift(params, 0.0), jax.tree.map(jnp.negative, gradient)),
        (diffusion(params, 0.0, key), jax.tree.map(lambda z: z / 2, covariance.sample(key))),
    )
    for found, expected in pairs:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=10 * rtol, atol=rtol), found, expected)


@pytest.mark.any_precision
def test_the_canonical_equation_is_an_argument_of_jit(key, problem):
    params, data = problem
    traces = []

    @jax.jit
    def solve(key, drift, diffusion, params):
        traces.append(None)
        return processes.euler_maruyama(key, drift, diffusion, params, jnp.linspace(0.0, 1.0, 4), noise="apply")[0]

    for rate in (0.1, 0.2):
        final = solve(key, *processes.canonical_sde(_loss, data, rate, 2), params)
    assert len(traces) == 1
    eager, _ = processes.euler_maruyama(key, *processes.canonical_sde(_loss, data, 0.2, 2), params, jnp.linspace(0.0, 1.0, 4), noise="apply")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), final, eager)


@pytest.mark.any_precision
def test_bad_input_of_the_canonical_equation_is_named(problem):
    _, data = problem
    for rate in (0.0, -1.0):
        with pytest.raises(ValueError, match="learning_rate must be positive"):
            processes.canonical_sde(_loss, data, rate, 2)
    with pytest.raises(ValueError, match=r"learning_rate must be a scalar; got shape \(2,\)"):
        processes.canonical_sde(_loss, data, jnp.ones(2), 2)
    with pytest.raises(ValueError, match="batch_size must be at most N = 6 without replacement; got 7"):
        processes.canonical_sde(_loss, data, 0.1, 7, replacement=False)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1; got 0"):
        processes.canonical_sde(_loss, data, 0.1, 0)
    with pytest.raises(ValueError, match="data must hold at least 2 examples; got 1"):
        processes.canonical_sde(_loss, jax.tree.map(lambda leaf: leaf[:1], data), 0.1, 1)


@pytest.mark.parametrize("noise", DIFFUSIONS)
def test_changed_time_passes_through_the_same_states(key, noise, rtol):
    """With increments of W_{a tau} / sqrt(a), the scheme itself is the same."""
    times, a = jnp.asarray(TIMES), 2.5
    increments = jax.random.normal(key, (4, 2))
    x0, diffusion = jnp.array([1.0, -2.0]), DIFFUSIONS[noise]
    slow, _ = processes.euler_maruyama(key, _drift, diffusion, x0, times, noise=noise, increments=increments)
    fast, _ = processes.euler_maruyama(
        key, *processes.time_change(_drift, diffusion, a), x0, times / a, noise=noise, increments=increments / np.sqrt(a)
    )
    np.testing.assert_allclose(fast, slow, rtol=20 * rtol)


@pytest.mark.any_precision
def test_time_is_not_changed_by_what_is_not_positive():
    for a in (0.0, -2.0):
        with pytest.raises(ValueError, match="a must be positive"):
            processes.time_change(_drift, DIFFUSIONS["scalar"], a)
    with pytest.raises(ValueError, match=r"a must be a scalar; got shape \(1,\)"):
        processes.time_change(_drift, DIFFUSIONS["scalar"], jnp.ones(1))
    assert jnp.isnan(jax.jit(lambda a: processes.time_change(_drift, DIFFUSIONS["scalar"], a)[1](1.0, 0.5))(-1.0))


@pytest.mark.float64
def test_gradient_flow_is_scipy_s_on_rosenbrock_s_function():
    def rosenbrock(x):
        return (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2

    times = jnp.array([0.0, 0.1, 1.0, 3.0])
    found = processes.gradient_flow(jax.grad(rosenbrock), jnp.array([-1.0, 1.5]), times)
    gradient = jax.jit(jax.grad(rosenbrock))
    theirs = solve_ivp(lambda t, x: -np.asarray(gradient(x)), (0, 3), [-1.0, 1.5], t_eval=np.asarray(times), rtol=1e-10, atol=1e-12).y.T
    np.testing.assert_allclose(found, theirs, rtol=1e-6)


def _flow(curvature, start, times):
    return processes.gradient_flow(lambda x: {"a": curvature * x["a"]}, {"a": start}, times)["a"]


@pytest.mark.any_precision
def test_gradient_flow_of_a_parabola_is_an_exponential():
    """To ten tolerances of the solver, over a batch of curvatures; NaN at times that are traced and wrong."""
    curvatures = jnp.array([0.5, 2.0])
    flow = jax.jit(jax.vmap(_flow, in_axes=(0, None, None)))
    path = flow(curvatures, 3, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(path, 3 * np.exp(-np.outer(curvatures, [0, 1])), rtol=1e-4)
    for wrong in ([-1.0, 1.0], [1.0, 0.5]):
        assert jnp.all(jnp.isnan(flow(curvatures, 3, jnp.array(wrong))))


@pytest.mark.slow
@pytest.mark.float64
def test_gradient_flow_has_derivatives():
    slopes = jax.grad(lambda curvature, start: _flow(curvature, start, jnp.ones(1))[0], argnums=(0, 1))(0.5, 3.0)
    np.testing.assert_allclose(slopes, [-3 * np.exp(-0.5), np.exp(-0.5)], rtol=1e-7)


@pytest.mark.any_precision
def test_bad_input_of_gradient_flow_is_named():
    for wrong in ([-1.0, 1.0], [1.0, 0.5], [0.0, np.inf]):
        with pytest.raises(ValueError, match="times must be finite, at least 0 and increasing"):
            processes.gradient_flow(lambda x: x, 1.0, jnp.array(wrong))
    with pytest.raises(ValueError, match=r"times must be a vector of times; got shape \(\)"):
        processes.gradient_flow(lambda x: x, 1.0, jnp.array(1.0))
    with pytest.raises(ValueError, match=r"grad_fn must return the structure and shapes of x0, \(\); got \(2,\)"):
        processes.gradient_flow(lambda x: jnp.ones(2), 1.0, jnp.array([1.0]))
