"""Claims about the edge of stability of gradient descent (OPT-20)."""

import jax
import jax.numpy as jnp

from jaxgen import optimization
from jaxgen.claims import at_least, claim, equal, with_probability

LEARNING_RATE = 0.15
NUM_STEPS = 8000
SMALL_LEARNING_RATE, MORE_STEPS = 0.02, 40_000


def _loss_fn(params, batch):
    """Half squared error of a net without biases: tanh, or linear for a single matrix."""
    *hidden, last = params
    h = batch[0]
    for weight in hidden:
        h = jnp.tanh(h @ weight)
    return 0.5 * ((h @ last)[:, 0] - batch[1]) ** 2


def _descent(key, *, widths=(24, 24, 1), learning_rate=LEARNING_RATE, num_steps=NUM_STEPS):
    """Full-batch gradient descent of a net on 32 normal points in 4 dimensions with independent normal targets."""
    keys = jax.random.split(key, len(widths) + 3)
    sizes = (4, *widths)
    params = [jax.random.normal(k, (a, b)) / jnp.sqrt(a) for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=False)]
    batch = jax.random.normal(keys[-3], (32, 4)), jax.random.normal(keys[-2], (32,))
    return optimization.sharpness_along_gd(keys[-1], _loss_fn, params, batch, learning_rate=learning_rate, num_steps=num_steps, every=100)


def _last_sharpness(run):
    """Mean over the last 20 records."""
    return run.sharpness[-20:].mean()


@claim(
    "OPT-20",
    title="Edge of stability: the sharpness settles at two over the step size",
    source="Cohen, Kaur, Li, Kolter & Talwalkar 2021",
    statement=r"\lambda_{\max}(\nabla^2 L(w_t)) \to \approx \frac{2}{\eta} \text{ along gradient descent with step size } \eta = 0.15",
    num_seeds=4,
    max_seeds=4,
    budget=20.0,
)
def edge_of_stability(key):
    """The source says that it drops to 2/eta; it rises to it, and comes down only if it starts above.

    An observation, not a theorem: of 512 such problems, 7 are fitted before they get there (`OPT-20.frequency` counts).
    """
    run = _descent(key)
    return {
        "sharpness": equal(_last_sharpness(run), optimization.stability_threshold(LEARNING_RATE), rtol=0.03),
        "it rises": at_least(_last_sharpness(run), 2 * run.sharpness[0]),
        "loss": at_least(1e-2 * run.losses[0], run.losses[-1]),
    }


@edge_of_stability.control("a step size of 0.02 for the same time")
def _(key):
    run = _descent(key, learning_rate=SMALL_LEARNING_RATE, num_steps=MORE_STEPS)
    return equal(_last_sharpness(run), optimization.stability_threshold(SMALL_LEARNING_RATE), rtol=0.03)


@edge_of_stability.control("linear least squares, whose sharpness is constant")
def _(key):
    run = _descent(key, widths=(1,))
    return equal(_last_sharpness(run), optimization.stability_threshold(LEARNING_RATE), rtol=0.03)


@claim(
    "OPT-20.frequency",
    title="How often the edge of stability shows: sharpness, overshoot, rises of the loss, convergence",
    source="Cohen, Kaur, Li, Kolter & Talwalkar 2021",
    statement=r"with probability at least $0.85$: mean sharpness within 3 % of $2/\eta$, its maximum above $1.05 \cdot 2/\eta$,"
    r" at least 100 steps that raise the loss, and a final loss below $10^{-2}$ of the first",
    statistical=True,
    num_seeds=32,
    budget=40.0,
)
def frequency_of_the_edge(key):
    """Observed on 512 problems: 98.6 %, 96.5 %, 93.0 % and 99.8 %, all four on 90.8 %. In float64: in float32 rounding raises small losses."""
    return _events(_descent(key), LEARNING_RATE)


def _events(run, learning_rate):
    threshold = optimization.stability_threshold(learning_rate)
    events = {
        "sharpness": jnp.abs(_last_sharpness(run) / threshold - 1) <= 0.03,
        "overshoot": run.sharpness.max() > 1.05 * threshold,
        "rises": run.num_increases >= 100,
        "loss": run.losses[-1] < 1e-2 * run.losses[0],
    }
    return {name: with_probability(event, at_least=0.85) for name, event in events.items()}


@frequency_of_the_edge.control("a step size of 0.02 for the same time")
def _(key):
    run = _descent(key, learning_rate=SMALL_LEARNING_RATE, num_steps=MORE_STEPS)
    return {name: check for name, check in _events(run, SMALL_LEARNING_RATE).items() if name != "loss"}
