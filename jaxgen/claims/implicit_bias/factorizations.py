"""Claims about matrix sensing and deep matrix factorization (BIAS-22, BIAS-23)."""

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias
from jaxgen.claims import at_most, claim, equal, less, ordered

GUNASEKAR = "Gunasekar et al. 2017"
ARORA = "Arora, Cohen & Hazan 2018; Arora, Cohen, Hu & Luo 2019"
DIM, SCALE, LIMIT = 4, 1e-3, 1e-7
SCALES = (1e-1, 1e-2, 1e-4, 1e-8)


def _limit(problem, scale=SCALE):
    """U of the flow from sqrt(a) I at a late time."""
    start = jnp.sqrt(scale) * jnp.eye(DIM)
    return implicit_bias.factored_flow(problem.measurements, problem.targets, start, jnp.array([200.0]), rtol=1e-10, atol=1e-15)[0]


def _sensing(key, *, commuting=True):
    return implicit_bias.matrix_sensing_problem(key, DIM, 3, 2, commuting=commuting)


@claim(
    "BIAS-22",
    title="Gradient flow on X = U U^T minimizes the divergence of the spectral entropy where measurements commute",
    source=GUNASEKAR,
    statement=r"A_k A_l = A_l A_k, \; U_0 = \sqrt\alpha I: \quad"
    r" \lim_t U_t U_t^\top = \arg\min \{D(X, \alpha I) : \langle A_k, X \rangle = y_k, X \succeq 0\}",
    num_seeds=8,
    budget=10.0,
)
def sensing_limit(key):
    """Three ways: the trained limit, the certified minimizer, and its conditions, log(X / alpha) in the span of the A_k."""
    problem = _sensing(key)
    factor = _limit(problem)
    residual = implicit_bias.spectral_entropy_kkt_residual(problem.measurements, problem.targets, factor, SCALE)
    start = SCALE * jnp.eye(DIM)
    nearest = implicit_bias.bregman_interpolator(implicit_bias.spectral_entropy(), problem.measurements, problem.targets, start)
    x = factor @ factor.T
    return {
        "measurements": at_most(residual.feasibility, LIMIT),
        "conditions": at_most(residual.stationarity, LIMIT),
        "minimizer": equal(x, nearest.w, rtol=0.0, atol=LIMIT),
        "measurements and X commute": at_most(jnp.abs(problem.measurements @ x - x @ problem.measurements).max(), LIMIT),
    }


@sensing_limit.control("measurements that do not commute")
def _(key):
    problem = _sensing(key, commuting=False)
    return at_most(implicit_bias.spectral_entropy_kkt_residual(problem.measurements, problem.targets, _limit(problem), SCALE).stationarity, LIMIT)


@sensing_limit.control("the divergence from the identity")
def _(key):
    problem = _sensing(key)
    return at_most(implicit_bias.spectral_entropy_kkt_residual(problem.measurements, problem.targets, _limit(problem), 1.0).stationarity, LIMIT)


def _traces(key, scales):
    """Traces of the minimizers of D(X, a I) for each a, over that of the linear program."""
    problem = _sensing(key)
    least = implicit_bias.min_nuclear_norm_psd_commuting(problem.measurements, problem.targets)

    def trace(scale):
        start = scale * jnp.eye(DIM)
        nearest = implicit_bias.bregman_interpolator(implicit_bias.spectral_entropy(), problem.measurements, problem.targets, start)
        return jnp.trace(nearest.w)

    return jax.lax.map(trace, jnp.array(scales)) / least.trace, least


@claim(
    "BIAS-22.nuclear-norm",
    title="From small initialization the limit has the least nuclear norm",
    source=GUNASEKAR,
    statement=r"\alpha \to 0: \quad \operatorname{tr} X_\alpha \to \min \{\operatorname{tr} X : \langle A_k, X \rangle = y_k, X \succeq 0\}",
    num_seeds=8,
    budget=9.0,
)
def least_trace(key):
    """The least trace by a linear program in the common eigenbasis, with multipliers that certify it."""
    ratios, least = _traces(key, SCALES)
    return {
        "certified": at_most(least.gap, 1e-8),
        "towards the least": ordered(ratios, decreasing=True),
        "not below": at_most(1 - 1e-7, ratios),
        "reached": at_most(ratios[-1], 1.02),
    }


@least_trace.control("initialization of scale ten")
def _(key):
    return at_most(_traces(key, (10.0,))[0], 1.02)


def _recovery_error(key, scale):
    """||X_t - X*|| / ||X*|| at time 1 of the flow from a full-size factor, X* of rank 2 in 20 dimensions, 200 measurements."""
    problem = implicit_bias.matrix_sensing_problem(key, 20, 2, 200)
    flow = implicit_bias.factored_flow(problem.measurements, problem.targets, scale * jnp.eye(20), jnp.array([0.5]), rtol=1e-6)
    return jnp.linalg.norm(flow[0] @ flow[0].T - problem.solution) / jnp.linalg.norm(problem.solution)


@claim(
    "BIAS-22.recovery",
    title="A full-size factor recovers a matrix of low rank from few Gaussian measurements, stopped early",
    source="Li, Ma & Zhang 2018",
    statement=r"U_0 = 10^{-3} I, \; d = 20, \; r = 2, \; m = 5 d r: \quad \lVert U_t U_t^\top - X^* \rVert_F \le 10^{-2} \lVert X^* \rVert_F",
    num_seeds=8,
    budget=6.0,
)
def recovery(key):
    return at_most(_recovery_error(key, 1e-3), 1e-2)


@recovery.control("initialization of scale one")
def _(key):
    return at_most(_recovery_error(key, 1.0), 1e-2)


def _factors(key, depth, *, balanced=True):
    """Factors of a random matrix of shape (3, 4), and the gradient of half the squared distance to another."""
    keys = jax.random.split(key, depth + 2)
    w, target = jax.random.normal(keys[0], (2, 3, 4))
    widths = (4,) + (3,) * depth
    loose = [jax.random.normal(keys[1 + layer], (widths[layer + 1], widths[layer])) for layer in range(depth)]
    return implicit_bias.balanced_factors(w, depth) if balanced else loose, lambda w: w - target


def _velocity_check(key, depth, *, balanced=True):
    factors, grad_fn = _factors(key, depth, balanced=balanced)
    w = implicit_bias.end_to_end(factors)
    return equal(implicit_bias.end_to_end_velocity(factors, grad_fn), implicit_bias.balanced_velocity(w, grad_fn, depth), rtol=1e-11, atol=1e-11)


@claim(
    "BIAS-23",
    title="The product of balanced layers moves by itself, and its singular values by themselves",
    source=ARORA,
    statement=r"\dot W = -\sum_{j=1}^N (W W^\top)^{(j-1)/N} \nabla L(W) (W^\top W)^{(N-j)/N}, \qquad"
    r" \dot\sigma_r = -N \sigma_r^{2 - 2/N} \langle \nabla L(W), u_r v_r^\top \rangle",
    core=True,
    budget=3.0,
)
def end_to_end_dynamics(key):
    """Depths 1 to 3; for N = 1, minus the gradient."""
    checks = {f"depth {depth}": _velocity_check(key, depth) for depth in (2, 3)}
    for depth in (1, 3):
        factors, grad_fn = _factors(key, depth)
        w, velocity = implicit_bias.end_to_end(factors), implicit_bias.end_to_end_velocity(factors, grad_fn)
        derivative = jax.jvp(lambda w: jnp.linalg.svd(w, compute_uv=False), (w,), (velocity,))[1]
        checks[f"singular values, depth {depth}"] = equal(implicit_bias.singular_value_velocity(w, grad_fn, depth), derivative, rtol=1e-9, atol=1e-9)
    return checks


@end_to_end_dynamics.control("layers that are not balanced")
def _(key):
    return _velocity_check(key, 3, balanced=False)


@end_to_end_dynamics.control("the exponent of depth two for depth three")
def _(key):
    factors, grad_fn = _factors(key, 3)
    w = implicit_bias.end_to_end(factors)
    return equal(implicit_bias.end_to_end_velocity(factors, grad_fn), implicit_bias.balanced_velocity(w, grad_fn, 2), rtol=1e-3)


def _drift(key, steps=None):
    """Largest change of W_2^T W_2 - W_1 W_1^T and so on by time 1, of the flow or of that many steps of gradient descent."""
    factors, grad_fn = _factors(key, 3, balanced=False)
    factors = [factor / 2 for factor in factors]
    if steps is None:
        later = [factor[0] for factor in implicit_bias.deep_linear_flow(factors, grad_fn, jnp.array([1.0]), rtol=1e-11, atol=1e-13)]
    else:

        def step(_, factors):
            w, pull = jax.vjp(implicit_bias.end_to_end, factors)
            return [factor - slope / steps for factor, slope in zip(factors, pull(grad_fn(w))[0], strict=True)]

        later = jax.lax.fori_loop(0, steps, step, factors)
    return jnp.stack([jnp.abs(a - b).max() for a, b in zip(*map(implicit_bias.balancedness, (later, factors)), strict=True)])


@claim(
    "BIAS-23.balancedness",
    title="Gradient flow conserves what neighbouring layers differ by",
    source=ARORA,
    statement=r"\frac{d}{dt} (W_{j+1}^\top W_{j+1} - W_j W_j^\top) = 0",
    budget=5.0,
)
def conservation(key):
    return at_most(_drift(key), 1e-9)


@conservation.control("gradient descent of twenty steps")
def _(key):
    return at_most(_drift(key, 20), 1e-9)


def _completion(key, depth, scale):
    """Effective rank and relative test error of a completion of a matrix of rank two from 160 of its 400 entries."""
    keys = jax.random.split(key, 3)
    left, right = jax.random.normal(keys[0], (2, 20, 2))
    truth = left @ right.T / jnp.sqrt(20.0)
    seen = jnp.zeros(400).at[jax.random.permutation(keys[1], 400)[:160]].set(1.0).reshape(20, 20)
    noise = jax.random.normal(keys[2], (depth, 20, 20)) / jnp.sqrt(20.0)
    factors = list(scale ** (1 / depth) * noise)
    flow = implicit_bias.deep_linear_flow(factors, lambda w: seen * (w - truth), jnp.array([60.0]), rtol=1e-5)
    w = implicit_bias.end_to_end([factor[0] for factor in flow])
    return jnp.stack([implicit_bias.effective_rank(w), jnp.linalg.norm((1 - seen) * (w - truth)) / jnp.linalg.norm((1 - seen) * truth)])


def _mean_completion(key, depth, scale):
    return jax.vmap(lambda key: _completion(key, depth, scale))(jax.random.split(key, 5)).mean(axis=0)


@claim(
    "BIAS-23.completion",
    title="Deeper factorizations complete matrices at lower rank",
    source="Arora, Cohen, Hu & Luo 2019",
    statement="Over five problems the mean effective rank and test error are not larger for $N = 3$ than for $N = 2$, and the rank is below 3.",
    num_seeds=4,
    budget=12.0,
)
def completion(key):
    """A 20 x 20 matrix of rank 2, 40 percent of its entries seen, start of scale 1e-3."""
    (shallow_rank, shallow_error), (rank, error) = (_mean_completion(key, depth, 1e-3) for depth in (2, 3))
    return {"rank": at_most(rank, shallow_rank), "error": at_most(error, shallow_error), "low rank": less(rank, 3.0)}


@completion.control("start of scale one")
def _(key):
    return less(_mean_completion(key, 3, 1.0)[0], 3.0)
