"""What the claims on SGD stand on: their coverage, and the closed forms of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.claims.information import _learners

pytestmark = pytest.mark.float64


@pytest.mark.parametrize("noisy", [False, True])
def test_gap_of_the_direction_loss_is_that_of_sampled_runs(key, noisy):
    run = _learners.random_run(key)
    sample, _, final = _learners.trained(key, run, 4000)
    variance = run.total_variance if noisy else 0.0
    weights = final + jnp.sqrt(variance) * jax.random.normal(jax.random.fold_in(key, 1), final.shape)
    gaps = -jax.vmap(_learners.direction_loss)(weights, sample).mean(axis=1)
    assert abs(gaps.mean() - run.gap(variance)) < 4.5 * gaps.std() / np.sqrt(4000)


def test_lengths_of_gaussian_vectors():
    np.testing.assert_allclose(_learners.mean_length(1), np.sqrt(2 / np.pi), rtol=1e-12)
    np.testing.assert_allclose(_learners.mean_length(2), np.sqrt(np.pi / 2), rtol=1e-12)
    np.testing.assert_allclose(_learners.mean_length(10**6), 1e3 * (1 - 1 / 4e6), rtol=1e-9)


def test_the_map_of_the_path_has_the_coefficients_of_the_solution(key):
    run = _learners.random_run(key)
    n, init_std, data_std = run.problem.n, run.problem.init_std, run.problem.data_std
    clean = _learners.linear_map(run).clean
    np.testing.assert_allclose(clean[:, 0], init_std * run.exact.init_coefficient, rtol=1e-12)
    np.testing.assert_allclose(clean[:, 1 : 1 + n], data_std * run.exact.data_coefficients, rtol=1e-10, atol=1e-14)
    assert not clean[:, 1 + n :].any()


@pytest.mark.parametrize("feedback", [False, True])
def test_noise_of_the_map_is_that_of_the_process(key, feedback):
    run = _learners.random_run(key)
    noise = _learners.linear_map(run, feedback=feedback).auxiliary[-1, 1 + run.problem.n :]
    np.testing.assert_allclose(jnp.sum(noise**2), run.langevin_variance if feedback else run.total_variance, rtol=1e-12)


def test_a_start_that_knows_the_sample_is_off_by_mean_examples(key):
    run = _learners.random_run(key)
    paths = _learners.linear_map(run, start_knows=3.0)
    np.testing.assert_allclose(paths.clean[0] - _learners.linear_map(run).clean[0], 3 * paths.sample.mean(axis=0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("id", ["INFO-26", "INFO-27"])
def test_figures_have_labels_and_no_bound_below_what_it_bounds(id, registered):
    claim = registered[id]
    figure = claim.draw(claim.keys()[0])
    (axes,) = figure.axes
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    *others, exact = axes.get_lines()
    bound = others[0].get_ydata()
    assert np.all(bound > np.max(exact.get_ydata()))
    assert all(line.get_label() for line in axes.get_lines())
