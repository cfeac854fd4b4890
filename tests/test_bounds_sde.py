"""Bounds of SGD as a stochastic process, and the law at which it settles (INFO-35, INFO-36)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxgen import bounds, gradients, information, processes


def _spd(key, *shape):
    factors = jax.random.normal(key, (*shape, shape[-1]))
    return factors @ factors.mT / shape[-1] + 0.2 * jnp.eye(shape[-1])


@pytest.mark.slow
@pytest.mark.float64
def test_the_best_prior_is_the_best(key):
    """400 Gaussians in 3 dimensions: the formulas are mean divergences from the priors they name; other priors give more."""
    keys = jax.random.split(key, 3)
    means, covs = jax.random.normal(keys[0], (400, 3)), _spd(keys[1], 400, 3)
    centre, whole = means.mean(axis=0), jnp.cov(means.T, bias=True) + covs.mean(axis=0)
    variance = jnp.trace(whole) / 3
    full, isotropic = (bounds.gaussian_family_information(means, covs, prior=prior) for prior in ("full", "isotropic"))
    priors = jnp.stack([whole, variance * jnp.eye(3), 1.05 * whole, 1.05 * variance * jnp.eye(3)])
    found = jax.jit(jax.vmap(lambda prior: information.golden_bound(means, covs, centre, prior)))(priors)
    np.testing.assert_allclose(found[:2], [full, isotropic], rtol=1e-12)
    assert full < isotropic
    assert full < found[2]
    assert isotropic < found[3]
    assert full < information.golden_bound(means, covs, centre + 0.05, whole)


@pytest.mark.heavy
def test_two_far_points_are_told_apart_by_no_more_than_a_bit():
    """The bound by a Gaussian prior is above the information, which is at most log 2."""
    assert float(bounds.gaussian_family_information([[-2.0], [2.0]], jnp.ones((2, 1, 1)))) > np.log(2)
    assert abs(float(bounds.gaussian_family_information([[1.0], [1.0]], jnp.ones((2, 1, 1))))) < 1e-6


@pytest.mark.slow
def test_a_trajectory_is_a_sum_over_steps_and_learning_rates_do_not_matter(key, rtol):
    """P = drift + mean noise; scaling all covariances by rates squared changes nothing."""
    drift, noise = _spd(key, 4, 2), _spd(jax.random.fold_in(key, 1), 4, 5, 2)
    bound = bounds.sde_trajectory(drift, noise, 50, 0.5)
    steps = [np.linalg.slogdet(drift[t] + noise[t].mean(axis=0))[1] - np.linalg.slogdet(noise[t])[1].mean() for t in range(4)]
    np.testing.assert_allclose(bound.value, np.sqrt(2 * 0.25 / 50 * sum(steps) / 2), rtol=10 * rtol)
    rates = jnp.array([0.1, 0.3, 1.0, 2.0])[:, None, None] ** 2
    np.testing.assert_allclose(bounds.sde_trajectory(rates * drift, rates[:, None] * noise, 50, 0.5).value, bound.value, rtol=10 * rtol)
    assert bounds.sde_trajectory(drift, noise, 50, 0.5, prior="isotropic").value >= bound.value
    assert bound.terms.keys() == {"trajectory"}
    assert bound.assumptions


@pytest.mark.heavy
def test_noise_of_mini_batches_in_as_many_dimensions_as_examples_is_refused(key):
    """Three examples make noise in two directions."""
    z = jax.random.normal(key, (3, 3))
    operator = gradients.noise_covariance(lambda w, z: jnp.sum((w - z) ** 2, axis=-1) / 2, jnp.zeros(3), z, batch_size=1, replacement=False)
    noise = operator.as_matrix()[None]
    with pytest.raises(ValueError, match=r"d = 3, n = 3.*n - 1 directions"):
        bounds.sde_trajectory(jnp.eye(3)[None], noise, 3, 0.5)
    assert jnp.isnan(jax.jit(lambda noise: bounds.sde_trajectory(jnp.eye(3)[None], noise, 3, 0.5).value)(noise))
    assert bounds.sde_trajectory(jnp.eye(3)[None], noise + 0.1 * jnp.eye(3), 3, 0.5).value > 0


@pytest.mark.float64
def test_noise_that_is_the_same_for_all_samples_may_leave_out_their_axis(key, rtol):
    drift, noise = _spd(key, 4, 2), _spd(jax.random.fold_in(key, 1), 4, 2)
    one = bounds.sde_trajectory(drift, noise, 50, 0.5).value
    np.testing.assert_allclose(one, bounds.sde_trajectory(drift, noise[:, None], 50, 0.5).value, rtol=rtol)


@pytest.mark.float64
def test_the_terminal_bound_is_that_of_its_family(key, rtol):
    minimizers, covariances = jax.random.normal(key, (20, 2)), _spd(key, 20, 2)
    bound = bounds.terminal_state(minimizers, covariances, 30, 0.5)
    learned = bounds.gaussian_family_information(minimizers, covariances)
    np.testing.assert_allclose(bound.value, bounds.xu_raginsky(learned, 30, 0.5).value, rtol=rtol)


@pytest.mark.float64
def test_stationary_covariances_solve_their_equations(key):
    H, C = _spd(key, 4), _spd(jax.random.fold_in(key, 1), 4)
    eta, step = 0.2, np.eye(4) - 0.2 * H
    sde, discrete = (processes.stationary_covariance(H, C, eta, kind) for kind in ("sde", "discrete"))
    np.testing.assert_allclose(sde, scipy.linalg.solve_continuous_lyapunov(np.asarray(H), eta * np.asarray(C)), rtol=1e-10)
    np.testing.assert_allclose(discrete, scipy.linalg.solve_discrete_lyapunov(step, eta**2 * np.asarray(C)), rtol=1e-10)
    of_hessian = [processes.stationary_covariance(H, H / 8, eta, kind) for kind in ("sde", "discrete")]
    np.testing.assert_allclose(of_hessian[0], eta / 16 * np.eye(4), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(of_hessian[1], eta / 8 * np.linalg.inv(2 * np.eye(4) - eta * H), rtol=1e-10, atol=1e-14)


def test_stationary_variances_have_the_known_values():
    for kind, value in (("discrete", 0.0192864031), ("sde", 0.0176470588)):
        np.testing.assert_allclose(processes.stationary_covariance([[1.7]], [[0.6]], 0.1, kind), [[value]], rtol=1e-6)


def test_stationary_covariance_is_differentiable_and_checked_when_traced(rtol):
    def variance(eta, kind="discrete"):
        return processes.stationary_covariance(1.7 * jnp.eye(1), 0.6 * jnp.eye(1), eta, kind)[0, 0]

    np.testing.assert_allclose(jax.grad(lambda eta: variance(eta, "sde"))(0.1), 0.6 / 3.4, rtol=10 * rtol)
    assert jnp.isnan(jax.jit(variance)(1.2))


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: processes.stationary_covariance(-jnp.eye(2), jnp.eye(2), 0.1), "H must be positive definite"),
        (lambda: processes.stationary_covariance(jnp.array([[1.0, 0.5], [0.0, 1.0]]), jnp.eye(2), 0.1), "H must be symmetric"),
        (lambda: processes.stationary_covariance(jnp.eye(2), jnp.array([[1.0, 0.5], [0.0, 1.0]]), 0.1), "C must be symmetric"),
        (lambda: processes.stationary_covariance(jnp.eye(2), jnp.diag(jnp.array([-1.0, 1.0])), 0.1), "C must be positive semidefinite"),
        (lambda: processes.stationary_covariance(jnp.eye(2), jnp.eye(2), 2.1, "discrete"), "diverges: learning_rate must be below 2"),
        (lambda: processes.stationary_covariance(jnp.eye(2), jnp.eye(2), 0.0), "learning_rate must be positive"),
        (lambda: processes.stationary_covariance(jnp.eye(2), jnp.eye(2), 0.1, "both"), "kind must be one of"),
        (lambda: processes.stationary_covariance(jnp.ones((2, 3)), jnp.eye(2), 0.1), "H must be a square matrix"),
        (lambda: processes.stationary_covariance(jnp.eye(2), jnp.eye(3), 0.1), "C must have the shape of H"),
        (lambda: bounds.gaussian_family_information(jnp.ones((2, 2)), jnp.ones((2, 2, 2))), "covs must be symmetric positive definite"),
        (lambda: bounds.gaussian_family_information(jnp.ones((2, 2)), jnp.ones((2, 3, 3))), "covs must have shape"),
        (lambda: bounds.gaussian_family_information(jnp.ones(2), jnp.ones((2, 1, 1))), "means must have shape"),
        (lambda: bounds.gaussian_family_information(jnp.ones((2, 1)), jnp.ones((2, 1, 1)), prior="flat"), "prior must be one of"),
        (lambda: bounds.sde_trajectory(jnp.ones((2, 1, 1)), jnp.ones((3, 1, 1)), 5, 0.5), "noise_covariances must have shape"),
        (
            lambda: bounds.sde_trajectory(jnp.diag(jnp.array([3.0, -0.5]))[None], jnp.eye(2)[None], 5, 0.5),
            "drift_covariances must be symmetric positive",
        ),
        (lambda: bounds.sde_trajectory(jnp.ones((2, 1)), jnp.ones((2, 1)), 5, 0.5), "drift_covariances must have shape"),
        (lambda: bounds.terminal_state(jnp.ones((2, 1)), jnp.ones((2, 1, 1)), 0, 0.5), "n must be at least 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
