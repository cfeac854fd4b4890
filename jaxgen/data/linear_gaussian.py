"""The linear-Gaussian problem: quadratic losses with Gaussian data, where SGD and its bounds are known exactly."""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from jaxgen._core.checks import checked, floating, per_step, positive_integer, require


class LinearGaussianSolution(NamedTuple):
    """What is known exactly about one run of T steps on n examples in d dimensions; information in nats.

    W is the path of SGD, W~ = W + noise its auxiliary process (INFO-19), W^ the path of SGLD (INFO-16). Entry t - 1 of a
    vector over steps belongs to step t, whose gradient g is that of batch B_t at the iterate before it.

    Attributes:
        init_coefficient: alpha in W_t = alpha_t W_0 + sum_i beta_ti Z_i, t = 0..T, shape (T + 1,).
        data_coefficients: beta, shape (T + 1, n).
        mutual_information: I(W~_T; S), infinite for SGD itself, `noise_std = 0`, from a fixed start.
        sgld_mutual_information: I(W^_T; S).
        dispersion: V_t = tr Cov g(W_{t-1}, B_t), the seed-mean dispersion, shape (T,) (INFO-22).
        conditional_dispersion: E tr Var(g(W_{t-1}, B_t) | W~_{t-1}), shape (T,).
        sgld_dispersion: tr Cov g(W^_{t-1}, B_t), shape (T,).
        sgld_conditional_dispersion: E tr Var(g(W^_{t-1}, B_t) | W^_{t-1}), shape (T,) (INFO-17).
        neu_variance: V~_t = E |g(W_{t-1}, B_t) - grad L_mu(W_{t-1})|^2, shape (T,) (INFO-22).
        sensitivity: Psi_t, per example, noise variance 2 sum_{i<t} sigma_i^2, shape (T,) (INFO-23).
        flat_sensitivity: Psi_t of the population gradient at noise variance sum_{i<t} sigma_i^2, shape (T,) (INFO-25).
        generalization_gap: E[L_mu(W_T) - L_S(W_T)], the same for W~_T.
    """

    init_coefficient: Float[Array, " T+1"]
    data_coefficients: Float[Array, "T+1 n"]
    mutual_information: Float[Array, ""]
    sgld_mutual_information: Float[Array, ""]
    dispersion: Float[Array, " T"]
    conditional_dispersion: Float[Array, " T"]
    sgld_dispersion: Float[Array, " T"]
    sgld_conditional_dispersion: Float[Array, " T"]
    neu_variance: Float[Array, " T"]
    sensitivity: Float[Array, " T"]
    flat_sensitivity: Float[Array, " T"]
    generalization_gap: Float[Array, ""]


@partial(jax.tree_util.register_dataclass, data_fields=("data_std", "init_std", "curvature"), meta_fields=("d", "n"))
@dataclasses.dataclass(frozen=True)
class LinearGaussian:
    """Data Z_i ~ N(0, s^2 I_d), loss h/2 |w|^2 - <w, z> + |z|^2/2, initial weights N(0, tau^2 I_d) (INFO-17, 19, 22, 25).

    The gradient is h w - z. At h = 1 the loss is |w - z|^2 / 2; at h = 0 it is linear; h = -a gives, as z and -z have one
    law, the unstable -a/2 |w|^2 + <w, z> of INFO-25.

    Args:
        d: dimension.
        n: number of training examples.
        data_std: s >= 0.
        init_std: tau >= 0; 0 for a fixed start at the origin, which is also the conditional law given W_0.
        curvature: h, of any sign.

    Raises:
        ValueError: if d or n is below 1; in the methods, if a standard deviation is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import data
        >>> problem = data.LinearGaussian(d=2, n=8)
        >>> exact = problem.solve(jnp.arange(16).reshape(8, 2) % 8, 0.1, 0.05)
        >>> print(f"{exact.mutual_information:.4f} {exact.sgld_mutual_information:.4f} {exact.dispersion[1]:.2f}")
        1.1169 1.5758 1.01
    """

    d: int
    n: int
    data_std: float | Float[Array, ""] = 1.0
    init_std: float | Float[Array, ""] = 0.0
    curvature: float | Float[Array, ""] = 1.0

    def __post_init__(self):
        positive_integer("d", self.d)
        positive_integer("n", self.n)

    def sample(self, key: PRNGKeyArray, n: int | None = None) -> Float[Array, "n d"]:
        """Independent examples; `n` of them, default as many as there are in the training set."""
        n = self.n if n is None else positive_integer("n", n)
        return _std("data_std", self.data_std) * jax.random.normal(key, (n, self.d))

    def init(self, key: PRNGKeyArray) -> Float[Array, " d"]:
        """Initial weights W_0."""
        return _std("init_std", self.init_std) * jax.random.normal(key, (self.d,))

    def loss_fn(self, params: Float[Array, " d"], batch: Float[Array, "n d"]) -> Float[Array, " n"]:
        """h/2 |w|^2 - <w, z> + |z|^2/2 for each example z."""
        excess = (self.curvature - 1) / 2 * jnp.sum(params**2)
        return jnp.sum((params - batch) ** 2, axis=-1) / 2 + excess

    def solve(
        self,
        batch_indices: Int[Array, "T b"],
        learning_rate: Float[ArrayLike, "*T"],
        noise_std: Float[ArrayLike, "*T"],
    ) -> LinearGaussianSolution:
        """Everything exact about SGD, its auxiliary process and SGLD with these batches, which count as given.

        With c_ti the multiplicity of i in B_t over b, the gradient is g_t = h alpha W_0 + sum_i (h beta_i - c_ti) Z_i at
        (alpha, beta) of step t - 1, and alpha <- (1 - lambda_t h) alpha, beta <- (1 - lambda_t h) beta + lambda_t c_t. Then
        I(W~_T; S) = d/2 log(1 + s^2 |beta_T|^2 / (alpha_T^2 tau^2 + sum_t sigma_t^2)), and in SGLD the noise variance
        follows nu <- (1 - lambda_t h)^2 nu + sigma_t^2 instead of the sum. Conditional dispersions are Schur complements.
        The gap is d s^2 mean(beta_T), half that of the loss |w - z|^2. O(T n) work and memory.

        Args:
            batch_indices: examples of each step, in [0, n); repetitions count.
            learning_rate: lambda_t, a scalar or shape (T,).
            noise_std: sigma_t >= 0 of the auxiliary process and of SGLD, a scalar or shape (T,).

        Returns:
            `LinearGaussianSolution`; NaN where traced input is wrong in value.

        Raises:
            TypeError: if `batch_indices` are not integers.
            ValueError: if shapes do not fit, an index is out of range, or a standard deviation is negative.
        """
        indices = self._checked_indices(batch_indices)
        num_steps, batch_size = indices.shape
        inside = (indices >= 0) & (indices < self.n)
        weight = checked(jnp.asarray(1 / batch_size), (inside, f"batch_indices must lie in [0, {self.n})"))
        rate, sigma = per_step("learning_rate", learning_rate, num_steps), per_step("noise_std", noise_std, num_steps)
        sigma = checked(sigma, (sigma >= 0, "noise_std must not be negative"))
        stds = _std("data_std", self.data_std), _std("init_std", self.init_std)
        return _solve(self.d, self.n, floating("curvature", self.curvature), *stds, indices, weight, rate, sigma)

    def _checked_indices(self, batch_indices: Int[Array, "T b"]) -> Int[Array, "T b"]:
        indices = jnp.asarray(batch_indices)
        if not jnp.issubdtype(indices.dtype, jnp.integer):
            raise TypeError(f"batch_indices must be integers; got dtype {indices.dtype}")
        require(indices.ndim == 2 and indices.shape[1] > 0, f"batch_indices must have shape (T, b), b >= 1; got {indices.shape}")
        return indices


@partial(jax.jit, static_argnames=("d", "n"))
def _solve(
    d: int, n: int, h: Array, data_std: Array, init_std: Array, indices: Array, weight: Array, rate: Array, sigma: Array
) -> LinearGaussianSolution:
    data_variance, init_variance = data_std**2, init_std**2
    weights = jnp.zeros((len(rate), n), weight.dtype).at[jnp.arange(len(rate))[:, None], indices].add(weight)
    (alpha, beta, added, fed_back), last = _recursion(h, rate, sigma**2, weights)
    last_alpha, last_beta, last_added, last_fed_back = last
    slope = h * beta - weights
    dispersion = init_variance * (h * alpha) ** 2 + data_variance * jnp.sum(slope**2, axis=1)
    covariance = init_variance * h * alpha**2 + data_variance * jnp.sum(slope * beta, axis=1)
    clean = init_variance * alpha**2 + data_variance * jnp.sum(beta**2, axis=1)
    sgld_dispersion, sgld_covariance = dispersion + h**2 * fed_back, covariance + h * fed_back
    learned, start_noise = data_variance * jnp.sum(last_beta**2), init_variance * last_alpha**2
    return LinearGaussianSolution(
        init_coefficient=jnp.append(alpha, last_alpha),
        data_coefficients=jnp.concatenate([beta, last_beta[None]]),
        mutual_information=d / 2 * jnp.log1p(_ratio(learned, start_noise + last_added)),
        sgld_mutual_information=d / 2 * jnp.log1p(_ratio(learned, start_noise + last_fed_back)),
        dispersion=d * dispersion,
        conditional_dispersion=d * _residual(dispersion, covariance, clean + added),
        sgld_dispersion=d * sgld_dispersion,
        sgld_conditional_dispersion=d * _residual(sgld_dispersion, sgld_covariance, clean + fed_back),
        neu_variance=d * data_variance * jnp.sum(weights**2, axis=1),
        sensitivity=2 * d * h**2 * added,
        flat_sensitivity=d * h**2 * added,
        generalization_gap=d * data_variance * jnp.mean(last_beta),
    )


def _recursion(h: Array, rate: Array, variance: Array, weights: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """(alpha, beta, noise variance added up, noise variance fed back) before every step, stacked, and after the last one."""
    dtype = jnp.result_type(h, rate, variance, weights)

    def step(state, inputs):
        alpha, beta, added, fed_back = state
        rate, variance, weights = inputs
        shrink = 1 - rate * h
        return (shrink * alpha, shrink * beta + rate * weights, added + variance, shrink**2 * fed_back + variance), state

    zero = jnp.zeros((), dtype)
    last, before = jax.lax.scan(step, (zero + 1, jnp.zeros(weights.shape[1], dtype), zero, zero), (rate, variance, weights))
    return before, last


def _std(name: str, value: ArrayLike) -> Float[Array, ""]:
    std = floating(name, value)
    require(std.ndim == 0, f"{name} must be a scalar; got shape {std.shape}")
    return checked(std, (std >= 0, f"{name} must not be negative; got {std}"))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, 0 where the numerator is 0."""
    return jnp.where(numerator == 0, 0.0, numerator / jnp.where(numerator == 0, 1.0, denominator))


def _residual(variance: Array, covariance: Array, given: Array) -> Array:
    """Variance that is left when a variable of variance `given` is known."""
    return jnp.maximum(variance - _ratio(covariance**2, given), 0.0)
