"""Runs of SGD in the linear-Gaussian problem, whose information and gap are known exactly, and samples of real data."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, ArrayLike, Float, Int

from jaxgen import data, processes


class Run(NamedTuple):
    """A run of SGD with its auxiliary process, and everything exact about it."""

    problem: data.LinearGaussian
    rows: Int[Array, "T b"]
    learning_rate: Float[Array, " T"]
    noise_std: Float[Array, " T"]
    exact: data.LinearGaussianSolution

    @property
    def total_variance(self) -> Array:
        """Variance of a coordinate of the auxiliary process' noise, sum_t sigma_t^2."""
        return jnp.sum(self.noise_std**2)

    @property
    def langevin_variance(self) -> Array:
        """The same for SGLD, which feeds its noise back."""
        kept = jnp.cumprod((1 - self.learning_rate * self.problem.curvature)[::-1])[::-1]
        return jnp.sum((self.noise_std * jnp.append(kept[1:], 1.0)) ** 2)

    def gap(self, noise_variance: ArrayLike = 0.0) -> Array:
        """Gap of `direction_loss` at W_T, or at W_T plus independent Gaussian noise: E<W, mean Z> / |W|."""
        alpha, beta = self.exact.init_coefficient[-1], self.exact.data_coefficients[-1]
        data_variance = self.problem.data_std**2
        variance = (alpha * self.problem.init_std) ** 2 + data_variance * jnp.sum(beta**2) + noise_variance
        return mean_length(self.problem.d) * data_variance * jnp.mean(beta) / jnp.sqrt(variance)


def mean_length(d: int) -> Array:
    """E|N| of a standard normal vector in d dimensions."""
    return jnp.sqrt(2.0) * jnp.exp(gammaln((d + 1) / 2) - gammaln(d / 2))


def direction_loss(params: Float[Array, " d"], batch: Float[Array, "n d"]) -> Float[Array, " n"]:
    """-<w, z> / |w|, which is N(0, s^2) under z ~ N(0, s^2 I) and so s-sub-Gaussian for every w."""
    return -batch @ params / jnp.linalg.norm(params)


def exact_run(problem: data.LinearGaussian, rows: Int[Array, "T b"], learning_rate: ArrayLike, noise_std: ArrayLike) -> Run:
    rate, noise = (jnp.broadcast_to(jnp.asarray(value, float), rows.shape[:1]) for value in (learning_rate, noise_std))
    return Run(problem, rows, rate, noise, problem.solve(rows, rate, noise))


def cyclic_rows(n: int, batch_size: int, num_steps: int) -> Int[Array, "T b"]:
    """Batches in the order of the examples, over and over."""
    return jnp.arange(num_steps * batch_size).reshape(num_steps, batch_size) % n


def reference_run(init_std: float = 0.0) -> Run:
    """The setting of the specification's known values: d = 2, n = 8, b = 2, T = 8, lambda = 0.1, sigma = 0.05, s = 1."""
    return exact_run(data.LinearGaussian(d=2, n=8, init_std=init_std), cyclic_rows(8, 2, 8), 0.1, 0.05)


def unstable_run() -> Run:
    """-a/2 w^2 + w z with a = 5: the iterates drift apart as 1.5^t. d = 1, n = 8, b = 2, T = 20, lambda = 0.1, sigma = 1, s = 1."""
    return exact_run(data.LinearGaussian(d=1, n=8, curvature=-5.0), cyclic_rows(8, 2, 20), 0.1, 1.0)


def random_run(key: Array, *, d: int = 3, n: int = 8, batch_size: int = 2, num_steps: int = 10, fixed_start: bool = False) -> Run:
    """Random scales, curvature, batches, learning rates and noise; weights started at random, or given their start."""
    uniform = jax.random.uniform(key, (2 * num_steps + 3,))
    data_std, init_std, curvature = 0.3 + 1.2 * uniform[-3:]
    problem = data.LinearGaussian(d, n, data_std, 0.0 if fixed_start else init_std, curvature)
    rows = processes.batch_indices(key, n, batch_size, num_steps)
    learning_rate, noise_std = 0.05 + 0.25 * uniform[:-3].reshape(2, num_steps)
    return exact_run(problem, rows, learning_rate, noise_std)


def barely_noticed_run(key: Array) -> Run:
    """One full-batch step in a million dimensions, under noise a thousand times its size: all that is lost between gap and information is 1e-6."""
    scales = jax.random.uniform(key, (2,), minval=0.3, maxval=1.5)
    problem = data.LinearGaussian(d=10**6, n=8, data_std=scales[0])
    return exact_run(problem, jnp.arange(8)[None], scales[1], 1e3 * scales[0] * scales[1] / jnp.sqrt(8.0))


def trained(key: Array, run: Run, num_runs: int) -> tuple[Array, Array, Array]:
    """Training sets, initial and final weights of independent runs of SGD on the batches of `run`."""

    def one(key):
        data_key, init_key = jax.random.split(key)
        sample, start = run.problem.sample(data_key), run.problem.init(init_key)
        return sample, start, processes.sgd(key, run.problem.loss_fn, start, sample, run.rows, run.learning_rate)[0]

    return jax.vmap(one)(jax.random.split(key, num_runs))


def digits(num_images: int) -> tuple[Float[Array, "n 64"], Int[Array, " n"]]:
    """Images and labels: a finite population, from which draws with replacement are independent."""
    images = data.load("digits")
    return images.x_train[:num_images].reshape(num_images, -1).astype(float), images.y_train[:num_images]


class Paths(NamedTuple):
    """Every weight of one coordinate as a row of coefficients of the independent N(0, 1) variables behind it: W_0, Z_1..Z_n, N_1..N_T."""

    clean: Float[Array, "T+1 sources"]
    auxiliary: Float[Array, "T+1 sources"]
    sample: Float[Array, "n sources"]


def linear_map(run: Run, *, feedback: bool = False, start_knows: float = 0.0) -> Paths:
    """SGD and its auxiliary process, or SGLD in its place (`feedback`), started `start_knows` mean examples off W_0."""
    num_steps, n = run.rows.shape[0], run.problem.n
    sample = run.problem.data_std * jnp.eye(n, 1 + n + num_steps, 1)
    noise = run.noise_std[:, None] * jnp.eye(num_steps, 1 + n + num_steps, 1 + n)
    start = run.problem.init_std * jnp.eye(1, 1 + n + num_steps)[0] + start_knows * sample.mean(axis=0)

    def step(weights, inputs):
        clean, noisy = weights
        rows, rate, noise = inputs
        batch = sample[rows].mean(axis=0)
        gradient, noisy_gradient = (run.problem.curvature * at - batch for at in (clean, noisy if feedback else clean))
        after = clean - rate * gradient, noisy - rate * noisy_gradient + noise
        return after, after

    _, path = jax.lax.scan(step, (start, start), (run.rows, run.learning_rate, noise))
    clean, auxiliary = (jnp.concatenate([start[None], weights]) for weights in path)
    return Paths(clean, auxiliary, sample)


def recorded(key: Array, run: Run, num_runs: int, *, start: float = 0.0) -> tuple[Array, Array, Array]:
    """Training sets of independent runs of SGD from one start, and weights before and gradients of every step, (K, T, d)."""
    weights = jnp.full(run.problem.d, start)

    def one(key):
        sample = run.problem.sample(key)
        path = processes.sgd(key, run.problem.loss_fn, weights, sample, run.rows, run.learning_rate, record=lambda w, gradient, t: (w, gradient))[1]
        return sample, *path

    return jax.vmap(one)(jax.random.split(key, num_runs))


def two_layers(params: Float[Array, " P"], x: Float[Array, "n d"]) -> Array:
    """A net of 16 hidden units, as a plain function of one vector."""
    first, second = params[: 16 * x.shape[1]].reshape(-1, 16), params[16 * x.shape[1] :].reshape(16, -1)
    outputs = jnp.tanh(x @ first) @ second
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs
