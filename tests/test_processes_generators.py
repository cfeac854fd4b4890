"""Generators, moments of one step, and conditions on oracles, against dense formulas, series and enumeration."""

import itertools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from jaxgen import processes

ROOT = np.array([[1.0, 2.0], [-0.5, 0.3]])


def _drift(x, t):
    return jnp.array([x[1] - t, -x[0] * x[1]])


def _test_function(x):
    return jnp.stack([jnp.sin(x[0]) * x[1] ** 2, jnp.exp(x[0])])


DIFFUSIONS = {
    "scalar": lambda x, t: 0.5 + x[0] * t,
    "diagonal": lambda x, t: x * (1 + t),
    "matrix": lambda x, t: ROOT * x[0] + t,
}


def test_the_generator_is_the_trace_with_the_hessian(rtol):
    """For a root that is not symmetric, s s^T and not s^T s."""
    x, t = np.array([0.7, -1.2]), 0.3

    @jax.jit
    def generators(x):
        return {noise: processes.ito_generator(_test_function, _drift, s, noise=noise)(x, t) for noise, s in DIFFUSIONS.items()}

    found = generators(jnp.asarray(x))
    sine, cosine, exponential = np.sin(x[0]), np.cos(x[0]), np.exp(x[0])
    gradients = np.array([[cosine * x[1] ** 2, 2 * sine * x[1]], [exponential, 0]])
    hessians = np.array([[[-sine * x[1] ** 2, 2 * cosine * x[1]], [2 * cosine * x[1], 2 * sine]], [[exponential, 0], [0, 0]]])
    roots = {"scalar": (0.5 + x[0] * t) * np.eye(2), "diagonal": np.diag(x * (1 + t)), "matrix": ROOT * x[0] + t}
    for noise, s in roots.items():
        expected = gradients @ [x[1] - t, -x[0] * x[1]] + np.einsum("ij,kij->k", s @ s.T, hessians) / 2
        np.testing.assert_allclose(found[noise], expected, rtol=10 * rtol)
    assert not np.allclose(roots["matrix"] @ roots["matrix"].T, roots["matrix"].T @ roots["matrix"])


@pytest.mark.any_precision
def test_the_generator_on_a_pytree_with_noise_that_is_applied(key):
    """h = |a|^2 b with 4000 draws, 5 standard errors; the Hessian couples the leaves."""
    x = {"a": jnp.array([0.7, -1.2]), "b": jnp.float32(0.4)}
    root = np.array([[1.0, 0.5, -0.2], [0.3, -1.0, 0.8], [0.6, 0.1, 1.2]], np.float32)

    def diffusion(x, t, key):
        noise = root @ jax.random.normal(key, (3,))
        return {"a": noise[:2], "b": noise[2]}

    generator = processes.ito_generator(lambda x: jnp.sum(x["a"] ** 2) * x["b"], lambda x, t: jax.tree.map(jnp.negative, x), diffusion, noise="apply")
    draws = np.asarray(jax.jit(jax.vmap(lambda key: generator(x, 0.0, key)))(jax.random.split(key, 4000)))
    hessian = np.array([[0.8, 0, 1.4], [0, 0.8, -2.4], [1.4, -2.4, 0]])
    expected = -3 * (0.7**2 + 1.2**2) * 0.4 + np.trace(root @ root.T @ hessian) / 2
    assert abs(draws.mean() - expected) < 5 * draws.std() / np.sqrt(4000)
    with pytest.raises(ValueError, match="a key must be given for noise='apply' and for no other; noise is 'apply'"):
        generator(x)


@pytest.mark.float64
def test_moments_of_a_step_are_the_series_of_the_exact_ones():
    """Ornstein-Uhlenbeck: the error of order 3 falls with the fourth power of the step."""
    theta, spread, x = 2.0, 1.5, jnp.array([1.0, -0.5])
    moments = jax.jit(
        lambda h: processes.one_step_moments(lambda x, t: -theta * x, lambda x, t: spread * jnp.ones(2), x, h, noise="diagonal", order=3)
    )
    errors = []
    for h in (0.02, 0.01):
        found = moments(h)
        mean = np.asarray(x) * np.expm1(-theta * h)
        second = np.outer(mean, mean) + np.eye(2) * spread**2 * -np.expm1(-2 * theta * h) / (2 * theta)
        errors.append([np.abs(found.first - mean).max(), np.abs(found.second - second).max()])
    np.testing.assert_allclose(np.log2(np.array(errors[0]) / np.array(errors[1])), 4, atol=0.1)


def test_coefficients_may_depend_on_time(rtol):
    """dX = t dt + dW from time 2: E D = 2 h + h^2 / 2, E D^2 = h + (2 h + h^2 / 2)^2, the square up to h^2."""
    found = jax.jit(lambda t: processes.one_step_moments(lambda x, t: t, lambda x, t: 1.0, 0, 0.1, t=t))(2.0)
    np.testing.assert_allclose(found.first, [0.205], rtol=rtol)
    np.testing.assert_allclose(found.second, [[0.1 + 0.04]], rtol=rtol)


@pytest.mark.any_precision
def test_moments_of_a_step_of_sgd_are_those_over_all_batches():
    def loss_fn(w, z):
        return 0.5 * jnp.sum((jnp.sin(w) * z - 1) ** 2, axis=-1)

    data, w, rate = jnp.array([[1.0, 2.0], [-1.0, 0.5], [0.3, 0.0]]), jnp.array([0.4, -0.2]), 0.3
    found = jax.jit(processes.oracle_step_moments)(processes.minibatch_oracle(loss_fn, data, batch_size=2), w, rate)
    batches = np.array(list(itertools.product(range(3), repeat=2)))
    examples = np.asarray((jnp.sin(w) * data - 1) * data * jnp.cos(w))
    steps = -rate * examples[batches].mean(axis=1)
    np.testing.assert_allclose(found.first, steps.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.second, steps.T @ steps / len(batches), rtol=1e-5)


@pytest.mark.any_precision
def test_bad_input_is_named():
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="noise must be one of 'scalar', 'diagonal', 'matrix'; got 'apply'"):
        processes.one_step_moments(_drift, lambda x, t, key: x, x, 0.1, noise="apply")
    with pytest.raises(ValueError, match="noise must be one of"):
        processes.ito_generator(_test_function, _drift, lambda x, t: x, noise="full")
    with pytest.raises(ValueError, match=r"diffusion must return a matrix of 2 rows; got shape \(3, 2\)"):
        processes.ito_generator(_test_function, _drift, lambda x, t: jnp.ones((3, 2)), noise="matrix")(x)
    with pytest.raises(ValueError, match=r"diffusion must return \(2,\) for noise='diagonal'; got \(3,\)"):
        processes.ito_generator(_test_function, _drift, lambda x, t: jnp.ones(3), noise="diagonal")(x)
    with pytest.raises(ValueError, match=r"drift must return the structure and shapes of x, \(2,\); got \(3,\)"):
        processes.ito_generator(_test_function, lambda x, t: jnp.ones(3), lambda x, t: 1.0)(x)
    with pytest.raises(ValueError, match=r"of x, \(2, 3\); got \(3, 2\)"):
        processes.ito_generator(jnp.sum, lambda x, t: x.T, lambda x, t: 1.0)(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"step must be at least 0; got -0\.1"):
        processes.one_step_moments(_drift, lambda x, t: 1.0, x, -0.1)
    with pytest.raises(ValueError, match="learning_rate must be positive; got -1"):
        processes.oracle_step_moments(processes.minibatch_oracle(lambda w, z: w @ z.T, jnp.eye(2), batch_size=1), x, -1.0)
    with pytest.raises(ValueError, match="order must be an integer of at least 1; got 0"):
        processes.one_step_moments(_drift, lambda x, t: 1.0, x, 0.1, order=0)


@pytest.mark.any_precision
def test_third_moments_of_an_oracle_are_those_of_its_examples(key):
    """kappa_3 / sqrt(b) at every point within 5 standard errors; Gaussian noise has none."""
    examples = jnp.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    centred = np.asarray(examples - examples.mean(0))
    exact = np.sum(np.einsum("ni,nj,nk->ijk", centred, centred, centred) ** 2) / 16
    oracle = processes.minibatch_oracle(lambda w, z: jnp.sum(w * z, axis=-1), examples, batch_size=4)
    found = jax.jit(lambda key: processes.oracle_conditions(key, oracle, jnp.array([[0.0, 0.0], [3.0, 4.0]]), num_draws=1500))(key)
    assert np.all(np.abs(found.third_moment.value - exact / 4) < 5 * found.third_moment.stderr)
    np.testing.assert_allclose(found.third_constant, 0.5 * np.sqrt(np.maximum(found.third_moment.value, 0)), rtol=1e-5)
    gaussian = processes.gaussian_oracle(lambda x: x, lambda x: lx.DiagonalLinearOperator(jnp.array([1.0, 2.0])), 3.0)
    third = jax.jit(lambda key: processes.oracle_conditions(key, gaussian, jnp.ones((1, 2)), num_draws=1500))(key).third_moment
    assert abs(third.value[0]) < 5 * third.stderr[0]


@pytest.mark.any_precision
def test_moment_constants_of_normal_noise(key):
    """E|z|^2 = d, E|z|^4 = d (d + 2), over 1 + |x|; a tenth is 5 standard errors of the largest at 1000 draws."""
    oracle = processes.gaussian_oracle(lambda x: x, lambda x: lx.DiagonalLinearOperator(jnp.ones(4)), 1.0)
    points = jnp.array([[0.0, 0, 0, 0], [0, 3, 4, 0]])
    found = jax.jit(lambda key: processes.oracle_conditions(key, oracle, points, max_order=2))(key)
    np.testing.assert_allclose(found.moment_constants, np.outer([1, 1 / 6], [2, 24**0.25]), rtol=0.1)
    np.testing.assert_allclose(found.moment_constants[0], 6 * found.moment_constants[1], rtol=1e-5)
    with pytest.raises(ValueError, match="num_draws must be an integer of at least 2; got 1"):
        processes.oracle_conditions(key, oracle, jnp.zeros((1, 4)), num_draws=1)
