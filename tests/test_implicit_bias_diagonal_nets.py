"""Trained diagonal nets, where they end, and how large the norms of their ends are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias


def _problem(key, n=3, d=8):
    x_key, y_key = jax.random.split(key)
    return jax.random.normal(x_key, (n, d)), jax.random.normal(y_key, (n,))


def _limits(x, y, alphas, depth):
    return jax.vmap(lambda alpha: implicit_bias.bregman_interpolator(implicit_bias.diagonal_depth(alpha, depth), x, y, jnp.zeros(8)).w)(alphas)


@pytest.mark.float64
@pytest.mark.parametrize("depth", [2, 3])
def test_descent_ends_where_its_potential_says_up_to_its_step(depth, key):
    """Steps a quarter as long bring it four times as close."""
    (x, y), alphas = _problem(key), jnp.array([0.3, 1.0])

    @jax.jit
    def run(relative_step):
        def train(alpha):
            return implicit_bias.train_diagonal_net(x, y, alpha, depth, relative_step=relative_step, tolerance=1e-16)

        return jax.vmap(train)(alphas)

    coarse, fine = run(0.2), run(0.05)
    assert bool(fine.converged.all())
    limits, wrong = (jax.jit(_limits, static_argnums=3)(x, y, alphas, used) for used in (depth, 5 - depth))
    gaps = [jnp.abs(found.w - limits).max(axis=1) for found in (coarse, fine)]
    assert gaps[1].max() < 3e-3
    np.testing.assert_allclose(gaps[0] / gaps[1], 4, rtol=0.15)
    assert jnp.abs(fine.w - wrong).max() > 1e-2


@pytest.mark.heavy
def test_small_and_large_starts_of_several_data_sets_end_in_one_program(key, precision):
    """The loss of every run is below the tolerance, and mapped runs are those of a loop: to rounding, over a hundred steps."""
    xs, ys = jax.vmap(_problem)(jax.random.split(key, 2))
    alphas, tolerance = jnp.array([0.2, 2.0]), 1e-20 if precision == "float64" else 1e-8

    def train(x, y, alpha):
        return implicit_bias.train_diagonal_net(x, y, alpha, tolerance=tolerance)

    found = jax.jit(jax.vmap(jax.vmap(train, (None, None, 0)), (0, 0, None)))(xs, ys, alphas)
    assert bool(found.converged.all())
    assert found.loss.max() <= tolerance
    assert len(np.unique(found.num_steps)) > 1
    one = jax.jit(train)(xs[1], ys[1], alphas[0])
    assert int(one.num_steps) == int(found.num_steps[1, 0])
    np.testing.assert_allclose(found.w[1, 0], one.w, rtol=1e-9 if precision == "float64" else 1e-3, atol=1e-5)


@pytest.mark.float64
def test_runs_mapped_over_several_arguments_are_those_by_themselves(key):
    """Also beside one that diverges: it ends, and the others are not touched."""
    x, y = _problem(key)

    def train(alpha, rate):
        return implicit_bias.train_diagonal_net(x, y, alpha, learning_rate=rate, tolerance=1e-14, max_steps=4000)

    alphas, rates = jnp.array([0.5, 1.0, 1.5]), jnp.array([0.01, 10.0])
    found = jax.jit(jax.vmap(jax.vmap(train, (0, None)), (None, 0)))(alphas, rates)
    alone = jax.jit(train)
    assert bool(found.converged[0].all())
    assert not bool(found.converged[1].any())
    assert found.num_steps[1].max() < 4000
    for j, alpha in enumerate(alphas):
        one = alone(alpha, rates[0])
        np.testing.assert_allclose(found.w[0, j], one.w, rtol=1e-9, atol=1e-9)
        assert int(found.num_steps[0, j]) == int(one.num_steps)


@pytest.mark.float64
def test_derivatives_along_the_scale_of_the_start_are_those_of_differences(key):
    x, y = _problem(key)

    def train(alpha):
        return implicit_bias.train_diagonal_net(x, y, alpha, learning_rate=0.01, max_steps=200).w

    alphas = jnp.array([0.3, 0.6])
    found = jax.jit(jax.vmap(lambda alpha: jax.jvp(train, (alpha,), (1.0,))[1]))(alphas)
    differences = (jax.vmap(train)(alphas + 1e-5) - jax.vmap(train)(alphas - 1e-5)) / 2e-5
    np.testing.assert_allclose(found, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.heavy
def test_a_step_size_for_all_steps_is_plain_gradient_descent(key, rtol):
    x, y = _problem(key)
    found = implicit_bias.train_diagonal_net(x, y, 0.5, 3, learning_rate=0.01, tolerance=0.0, max_steps=20)
    net = implicit_bias.diagonal_net(3)

    def step(theta, _):
        gradient = jax.grad(lambda theta: jnp.mean((x @ net(theta) - y) ** 2))(theta)
        return jax.tree.map(lambda leaf, g: leaf - 0.01 * g, theta, gradient), None

    expected = jax.lax.scan(step, net.start(0.5, 8), None, length=20)[0]
    np.testing.assert_allclose(jnp.stack(found.theta), jnp.stack(expected), rtol=20 * rtol)
    assert int(found.num_steps) == 20
    assert not bool(found.converged)


@pytest.mark.heavy
def test_targets_that_no_weights_fit_leave_a_loss_that_is_reported(key):
    x = jax.random.normal(key, (12, 3))
    y = jax.random.normal(jax.random.fold_in(key, 1), (12,))
    found = jax.jit(lambda: implicit_bias.train_diagonal_net(x, y, 1.0, max_steps=2000))()
    assert not bool(found.converged)
    assert int(found.num_steps) == 2000
    assert float(found.loss) == pytest.approx(float(jnp.mean((x @ jnp.linalg.lstsq(x, y)[0] - y) ** 2)), rel=1e-3)


@pytest.mark.float64
@pytest.mark.parametrize("depth", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_excess_norms_go_from_the_least_l1_to_the_least_l2(depth, key):
    x, y = _problem(key)
    alphas = jnp.array([3e-6, 0.003, 0.1, 0.5, 2.0, 30.0]) ** (2 / depth)
    curve = jax.jit(implicit_bias.excess_norm_curve, static_argnums=3)(x, y, alphas, depth)
    assert jnp.diff(curve.l1).min() > -1e-6
    assert jnp.diff(curve.l2).max() < 1e-9
    assert curve.l1[0] < 2e-3
    assert curve.l2[-1] < 1e-6
    assert curve.l1[-1] > 0.1
    np.testing.assert_allclose(curve.w @ x.T, jnp.broadcast_to(y, (6, 3)), atol=1e-8)


@pytest.mark.slow
@pytest.mark.float64
@pytest.mark.parametrize("epsilon", [0.5, 1.0])
def test_beyond_the_thresholds_norms_are_within_their_excess(epsilon, key):
    x, y = _problem(key)
    scales = implicit_bias.rich_lazy_thresholds(x, y, epsilon)
    curve = implicit_bias.excess_norm_curve(x, y, jnp.stack(scales))
    assert 0 <= curve.l1[0] <= epsilon
    assert 0 <= (1 + curve.l2[1]) ** 2 - 1 <= epsilon


@pytest.mark.any_precision
def test_thresholds_of_one_equation_by_hand():
    """Of 3 a + 4 b = 5: least norms 5 / 4 and 1."""
    found = implicit_bias.rich_lazy_thresholds(jnp.array([[3.0, 4.0]]), jnp.array([5.0]), 0.5)
    assert float(found.rich) == pytest.approx(min((2 * 1.5 * 1.25) ** -2.5, np.exp(-2 / (0.5 * 1.25))), rel=1e-3)
    assert float(found.lazy) == pytest.approx(np.sqrt(2 * 1.5 * 5), rel=1e-4)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: implicit_bias.train_diagonal_net(x, y[:1], 1.0), "one target per row"),
        (lambda x, y: implicit_bias.train_diagonal_net(x, y, 0.0), "alpha must be positive"),
        (lambda x, y: implicit_bias.train_diagonal_net(x, y, 1.0, 1), "depth"),
        (lambda x, y: implicit_bias.train_diagonal_net(x, y, 1.0, relative_step=1.5), "relative_step"),
        (lambda x, y: implicit_bias.train_diagonal_net(x, y, 1.0, learning_rate=-0.1), "learning_rate"),
        (lambda x, y: implicit_bias.train_diagonal_net(x, y, 1.0, max_steps=0), "max_steps"),
        (lambda x, y: implicit_bias.train_diagonal_net(x, jnp.full(2, jnp.nan), 1.0), "y must be finite"),
        (lambda x, y: implicit_bias.train_diagonal_net(x, y, 1.0, tolerance=-1.0), "tolerance"),
        (lambda x, y: implicit_bias.rich_lazy_thresholds(x, y, 0.0), r"epsilon must be in \(0, 3\)"),
        (lambda x, y: implicit_bias.rich_lazy_thresholds(x, 0 * y, 1.0), "y must not be zero"),
        (lambda x, y: implicit_bias.excess_norm_curve(x, y, jnp.array([0.1, -1.0])), "alphas must be positive"),
        (lambda x, y: implicit_bias.excess_norm_curve(x, y, 0.1), "alphas must be a vector"),
        (lambda x, y: implicit_bias.excess_norms(x, y, jnp.ones(2)), "3 entries in its last axis"),
    ],
)
def test_bad_input_is_named(call, message):
    x, y = jnp.array([[1.0, 2.0, 0.5], [0.0, 1.0, -1.0]]), jnp.array([1.0, 2.0])
    with pytest.raises(ValueError, match=message):
        call(x, y)


@pytest.mark.any_precision
def test_data_that_no_weights_fit_have_no_thresholds():
    with pytest.raises(ValueError, match="X w = y"):
        implicit_bias.rich_lazy_thresholds(jnp.ones((2, 3)), jnp.array([1.0, 2.0]), 1.0)
