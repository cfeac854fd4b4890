"""Claims about weight decay on scale-invariant losses and the learning rate that replaces it (NORM-7, NORM-8)."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen import models, normalization, processes
from jaxgen.claims import claim, equal
from jaxgen.claims.normalization._problems import BOOK, matrix_loss_fn

RATE, DECAY, NUM_STEPS = 0.1, 0.05, 200


def _squares(w, targets):
    """A loss that is not scale invariant."""
    return 0.5 * jnp.sum((w - targets[:, 0]) ** 2, axis=1)


def _of_one(loss_fn, data):
    """The gradient at step t of the t-th example's loss."""
    return lambda w, t: jax.grad(lambda w: loss_fn(w, data[t][None])[0])(w)


def _recursion(key, loss_fn):
    """|w_t| along stochastic descent on random matrices (or targets), and by the recursion from gradient norms."""
    data = jax.random.normal(key, (NUM_STEPS, 5, 5))
    w0 = 2 * jax.random.normal(jax.random.fold_in(key, 1), (5,))

    def record(w, gradient, t):
        return jnp.linalg.norm(w), jnp.linalg.norm(w) * jnp.linalg.norm(gradient)

    _, (norms, slopes) = normalization.gd_weight_decay(_of_one(loss_fn, data), w0, RATE, DECAY, NUM_STEPS, record=record)
    return norms, normalization.norm_recursion(norms[0], slopes, RATE, DECAY)[:-1]


@claim(
    "NORM-7",
    title="The norm of scale-invariant parameters under weight decay needs gradient norms on the sphere alone",
    source=f"{BOOK}, equations (13.1), (13.3), (13.4)",
    statement=r"\lVert w_{t+1} \rVert^2 = (1 - \eta \lambda)^2 \lVert w_t \rVert^2 + \eta^2 \lVert \nabla L(\bar w_t) \rVert^2 / \lVert w_t \rVert^2",
)
def recursion(key):
    """200 steps, a Rayleigh quotient of its own at each."""
    return equal(*_recursion(key, matrix_loss_fn), rtol=1e-10)


@recursion.control("a loss that is not scale invariant", fails="every")
def _(key):
    return equal(*_recursion(key, _squares), rtol=1e-10)


def _fourth_powers(key, loss_fn=matrix_loss_fn, factor=1.0):
    """The mean |w|^4 of the second half of a long run, and that of the equilibrium for its gradients."""
    rate, decay, num_steps = 0.05, 0.02, 20_000

    def gradient(w, t):
        data = jax.random.normal(jax.random.fold_in(key, t), (1, 5, 5))
        return jax.grad(lambda w: loss_fn(w, data)[0])(w)

    def record(w, gradient, t):
        return jnp.sum(w**2), jnp.sum(gradient**2)

    w0 = 2 * jax.random.normal(key, (5,))
    _, (squares, slopes) = normalization.gd_weight_decay(gradient, w0, rate, decay, num_steps, record=record)
    squares, slopes = squares[num_steps // 2 :], slopes[num_steps // 2 :]
    return jnp.mean(squares**2), normalization.equilibrium_norm(factor * jnp.mean(squares * slopes), rate, decay) ** 4


@claim(
    "NORM-7.equilibrium",
    title="Weight decay and stochastic gradients balance at a norm",
    source="van Laarhoven 2017; Li, Lyu & Arora 2020",
    statement=r"\mathbb{E} \lVert w \rVert^4 \approx \frac{\eta}{2 \lambda} \mathbb{E} \lVert \nabla L_t(\bar w) \rVert^2",
    budget=3.0,
)
def equilibrium(key):
    """Fresh Rayleigh quotients at each of 20,000 steps with eta lambda = 0.001; within a tenth."""
    return equal(*_fourth_powers(key), rtol=0.1)


@equilibrium.control("a loss that is not scale invariant", fails="every")
def _(key):
    return equal(*_fourth_powers(key, _squares), rtol=0.1)


@equilibrium.control("eta / lambda in place of eta / (2 lambda)", fails="every")
def _(key):
    return equal(*_fourth_powers(key, factor=2.0), rtol=0.1)


def _trained(key, *, printed=False):
    """A normalized net after 200 mini-batches with weight decay, and with the schedule: parameters scaled back, and outputs."""
    keys = jax.random.split(key, 4)
    x, y = jax.random.normal(keys[0], (40, 5)), jax.random.randint(keys[1], (40,), 0, 3)
    model = normalization.scale_invariant_mlp(keys[2], (8, 8, 3))
    loss_fn = models.loss_fn(model.apply, "cross_entropy")
    params = normalization.with_norm(model.init(keys[3], x), 8.0)
    batches = processes.batch_indices(key, 40, 8, NUM_STEPS)

    def grad_fn(params, t):
        rows = batches[t]
        return jax.grad(lambda params: loss_fn(params, (x[rows], y[rows])).mean())(params)

    schedule = normalization.exponential_schedule(RATE, DECAY)(jnp.arange(NUM_STEPS))
    schedule = schedule / RATE if printed else schedule
    run = jax.vmap(lambda rates, decay: normalization.gd_weight_decay(grad_fn, params, rates, decay, NUM_STEPS)[0])
    both = run(jnp.stack([jnp.full(NUM_STEPS, RATE), schedule]), jnp.array([DECAY, 0.0]))
    decayed, growing = jax.vmap(lambda params: ravel_pytree(params)[0])(both)
    return decayed, growing * (1 - RATE * DECAY) ** NUM_STEPS, *jax.vmap(model.apply, in_axes=(0, None))(both, x)


def _same(decayed, growing, outputs, others):
    difference = jnp.linalg.norm(decayed - growing) / jnp.linalg.norm(decayed)
    return {"parameters": equal(difference, 0.0, rtol=0, atol=1e-12), "outputs": equal(outputs, others, rtol=0, atol=1e-11)}


@claim(
    "NORM-8",
    title="An exponentially growing learning rate does what weight decay does, at every mini-batch",
    source=f"{BOOK}, theorem 13.3.1; Li & Arora 2020",
    statement=r"\eta_t = \eta (1 - \eta \lambda)^{-(2t+1)}: \quad \hat w_t = (1 - \eta \lambda)^{-t} w_t",
    core=True,
    budget=5.0,
)
def exponential_schedule(key):
    """The theorem's statement forgets the factor eta, which its proof has. 200 mini-batches of a layer-normalized net, to 1e-12."""
    rates = normalization.exponential_learning_rate(RATE, DECAY, jnp.arange(3))
    growth = equal(rates[1:] / rates[:-1], (1 - RATE * DECAY) ** -2, rtol=1e-12)
    return _same(*_trained(key)) | {"growth": growth, "known growth": equal(rates[1] / rates[0] - 1, 0.0100755, rtol=1e-5)}


@exponential_schedule.control("the printed schedule, without eta", fails="every")
def _(key):
    return _same(*_trained(key, printed=True))


@exponential_schedule.control("a loss that is not scale invariant", fails="every")
def _(key):
    data, w0 = jax.random.normal(key, (NUM_STEPS, 1, 5)), jnp.ones(5)
    rates = normalization.exponential_learning_rate(RATE, DECAY, jnp.arange(NUM_STEPS))
    decayed, _ = normalization.gd_weight_decay(_of_one(_squares, data), w0, RATE, DECAY, NUM_STEPS)
    growing, _ = normalization.gd_weight_decay(_of_one(_squares, data), w0, rates, 0.0, NUM_STEPS)
    return equal(growing * (1 - RATE * DECAY) ** NUM_STEPS, decayed, rtol=1e-12)


def _long(key, num_steps, exponent=2):
    """Directions and log norms after a run with weight decay, and with the schedule by the rescaled iteration.

    The matrices have a common axis of least value, which all runs are drawn to: rounding does not grow.
    """
    matrices = jax.random.normal(key, (64, 4, 4)) + jnp.diag(jnp.array([0.0, 2.0, 2.0, 2.0]))
    w0 = jax.random.normal(jax.random.fold_in(key, 1), (4,))
    rate, decay = 0.5, 0.05
    of_step = _of_one(matrix_loss_fn, matrices)

    def grad_fn(w, t):
        return of_step(w, t % 64)

    steps = jnp.arange(num_steps)
    log_rates = normalization.log_exponential_learning_rate(rate, decay, steps) + (2 - exponent) * steps * jnp.log1p(-rate * decay)
    state, _ = normalization.rescaled_gd(grad_fn, w0, log_rates, num_steps)
    w, _ = normalization.gd_weight_decay(grad_fn, w0, rate, decay, num_steps)
    log_norm = jnp.log(jnp.linalg.norm(w)) - num_steps * jnp.log1p(-rate * decay)
    return {
        "direction": equal(state.direction, normalization.with_norm(w, 1.0), rtol=0, atol=1e-9),
        "log norm": equal(state.log_norm, log_norm, rtol=1e-11),
    }


@claim(
    "NORM-8.long",
    title="The exponential schedule goes on long after its learning rate has overflowed",
    source=f"{BOOK}, theorem 13.3.1",
    statement=r"\log \eta_t = \log \eta - (2t + 1) \log(1 - \eta \lambda), \quad"
    r" \bar w_{t+1} \propto \bar w_t - e^{\log \eta_t - 2 \log \lVert \hat w_t \rVert} \nabla L_t(\bar w_t)",
)
def long_schedule(key):
    """16,000 steps, where eta_t is e^809, beyond double precision, with the norm kept as a logarithm."""
    return _long(key, 16_000)


@long_schedule.control("growth of 1 - eta lambda to the power -3 a step", fails="every")
def _(key):
    return _long(key, 16_000, exponent=3)
