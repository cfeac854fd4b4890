r"""From a stochastic net back to a deterministic one: weights whose noise does not cross half the margin."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, Num, PyTree

from jaxgen._core.checks import leading_axis, positive_integer
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least, failure_probability, positive, unit_interval
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES

ApplyFn = Callable[[PyTree, PyTree], Num[Array, "N ..."]]

STABLE_EVERYWHERE = (
    "Drawn from the posterior, the perturbation changes every output at every possible input by less than gamma/4 with probability at least 1/2."
)
STABLE_ON_SAMPLE = "The size of the perturbation was found on the sample, while the theorem asks for stability at every possible input."
FIXED_PRIOR = "The prior, which kl refers to, does not depend on the n examples."

LARGEST_EXPONENT = 60
"""Of 2, in the standard deviations that are searched."""


def max_stable_sigma(
    key: Key[Array, ""],
    apply_fn: ApplyFn,
    params: PyTree,
    x: PyTree,
    gamma: Scalar,
    *,
    prob: float = 0.5,
    num_draws: int = 100,
    num_bisections: int = 40,
    chunk_size: int | None = None,
) -> Float[Array, ""]:
    r"""The largest noise on the weights that rarely moves an output by a quarter of the margin.

    The largest $\sigma$ with $\Pr_{u \sim N(0, \sigma^2 I)}[\max_x \|f_{w + u}(x) - f_w(x)\|_\infty < \gamma/4] \ge$ `prob`, the probability
    estimated by draws that are the same, but for their size, at every $\sigma$. The maximum is over the sample, where
    `margin_pac_bayes_bound` asks for every possible input. Bisection finds the place where the condition is lost; for nets where it
    is lost more than once, one of them.

    Args:
        key: PRNG key of the draws.
        apply_fn: `apply_fn(params, x) -> (N, C)` or `(N,)`.
        params: weights w.
        x: N inputs, a pytree with leading axis N.
        gamma: margin $\gamma > 0$, a scalar.
        prob: least probability, in (0, 1).
        num_draws: number of draws; the probability has a standard error of at most 1/2 over its root.
        num_bisections: halvings of the range of exponents of 2 from -60 to 60.
        chunk_size: draws at a time, which is what memory grows with; all at once where it is None.

    Returns:
        $\sigma$; infinite where weights have no effect, 0 where no size in the range will do.

    Raises:
        ValueError: if `gamma` <= 0, `prob` is outside (0, 1), a number is below 1, or `x` has no common leading axis.

    Source: Neyshabur et al. 2018, Lemma 1; GEN-36. Cost: `num_draws` (`num_bisections` + 1) passes over the sample.
    """
    leading_axis("x", x)
    threshold, prob_needed = positive("gamma", gamma) / 4, unit_interval("prob", prob, ends=False)
    num_draws, num_bisections = positive_integer("num_draws", num_draws), positive_integer("num_bisections", num_bisections)
    chunk_size = num_draws if chunk_size is None else positive_integer("chunk_size", chunk_size)
    keys, outputs = jax.random.split(key, num_draws), apply_fn(params, x)

    def is_stable(exponent: Array) -> Array:
        def moves_little(key: Array) -> Array:
            noise = optax.tree.random_like(key, params, sampler=jax.random.normal)
            return jnp.max(jnp.abs(apply_fn(optax.tree.add_scale(params, 2.0**exponent, noise), x) - outputs)) < threshold

        return jnp.mean(jax.lax.map(moves_little, keys, batch_size=chunk_size)) >= prob_needed

    def halve(_, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = (bracket[0] + bracket[1]) / 2
        stable = is_stable(middle)
        return jnp.where(stable, middle, bracket[0]), jnp.where(stable, bracket[1], middle)

    ends = jnp.full_like(threshold, -LARGEST_EXPONENT), jnp.full_like(threshold, LARGEST_EXPONENT)
    low, high = jax.lax.fori_loop(0, num_bisections, halve, ends)
    return jnp.where(low == ends[0], 0.0, jnp.where((high == ends[1]) & is_stable(high), jnp.inf, 2.0**low)) + 0 * threshold


def margin_pac_bayes_bound(
    margin_loss: Scalar, kl: Scalar, n: Scalar, delta: float, *, num_choices: int = 1, stable_everywhere: bool = False
) -> Bound:
    r"""The error of a deterministic classifier by its margin loss: $\hat L_\gamma(f_w) + 4 \sqrt{\frac{D(w + u \| P) + \log(6 n / \delta)}{n - 1}}$.

    For noise u that moves outputs by less than $\gamma/4$, at every input and with probability at least 1/2. With $u \sim N(0, \sigma^2 I)$ and
    $P = N(0, \sigma^2 I)$, $D = \|w\|^2 / (2 \sigma^2)$.

    Args:
        margin_loss: fraction of the sample whose margin is below gamma.
        kl: divergence of the law of w + u from the prior, in nats.
        n: number of examples, at least 2.
        delta: probability with which the bound may fail, in (0, 1).
        num_choices: number of priors fixed beforehand (a grid of $\sigma$, say) of which one was picked by looking at the examples.
        stable_everywhere: whether the condition on u is proved for every possible input, as it can be from norms. A $\sigma$ of
            `max_stable_sigma` has it on the sample alone, and the result is then not certified.

    Returns:
        A one-sided `Bound` on the error, not clipped, of terms `"empirical_risk"` and `"penalty"`.

    Raises:
        ValueError: if `margin_loss` is outside [0, 1], `kl` < 0, `n` < 2, `delta` is outside (0, 1) or `num_choices` < 1.

    Source: Neyshabur et al. 2018, Lemma 1; GEN-36.
    """
    delta, choices = failure_probability(delta), positive_integer("num_choices", num_choices)
    risk, n = unit_interval("margin_loss", margin_loss), at_least("n", n, 2)
    penalty = 4 * jnp.sqrt((at_least("kl", kl, 0) + jnp.log(6 * n * choices / delta)) / (n - 1))
    assumptions = (INDEPENDENT_EXAMPLES, FIXED_PRIOR, STABLE_EVERYWHERE if stable_everywhere else STABLE_ON_SAMPLE)
    value = risk + penalty
    terms = {"empirical_risk": jnp.broadcast_to(risk, value.shape), "penalty": penalty}
    return Bound(value, terms, sided="one", certified=stable_everywhere, assumptions=assumptions, confidence=1 - delta)
