r"""Uniform convergence as it is: the largest gap over a class, and over the nets that a learner returns (GEN-13)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen import gradients
from jaxgen._core.checks import floating, leading_axis, positive_integer, require

LossFn = Callable[[PyTree, PyTree], Array]


def uniform_gap(losses_train: Float[ArrayLike, "H m"], pop_risk: Float[ArrayLike, " H"]) -> Float[Array, ""]:
    r"""The largest generalization gap of a class on one sample, $\sup_h |L_D(h) - \hat L_S(h)|$.

    Args:
        losses_train: losses of every hypothesis on the m examples of the sample.
        pop_risk: risks $L_D(h)$.

    Returns:
        The gap, a scalar.

    Raises:
        ValueError: if the shapes do not fit or one is empty.

    Source: Theory of Deep Learning, section 5.4, equation (5.4); GEN-13.
    """
    losses, risks = floating("losses_train", losses_train), floating("pop_risk", pop_risk)
    require(losses.ndim == 2 and losses.size > 0, f"losses_train must have shape (H, m), and not be empty; got {losses.shape}")
    require(risks.shape == losses.shape[:1], f"pop_risk must hold one risk a hypothesis, shape {losses.shape[:1]}; got {risks.shape}")
    return jnp.abs(risks - losses.mean(axis=1)).max()


def cross_sample_gap(
    train_fn: Callable[[PyTree], PyTree],
    loss_fn: LossFn,
    samples: PyTree,
    pop_risk_fn: Callable[[PyTree], Array],
    *,
    chunk_size: int | None = None,
) -> Float[Array, "T T"]:
    r"""Gaps of what a learner returns from one sample on another sample, $|L_D(h_{S_j}) - \hat L_{S_i}(h_{S_j})|$ at (i, j).

    The diagonal holds the ordinary generalization gaps. If uniform convergence over the learner's own outputs, the smallest
    class there is to speak of, explained them, the largest entry would be small too: it is at most
    $\epsilon_{\text{unif-alg}}$ where all samples belong to the set of probability $1 - \delta$ that this is defined by.

    Args:
        train_fn: the learner, `train_fn(sample) -> params`; random learners keep their key in the sample.
        loss_fn: evaluation loss, `loss_fn(params, batch) -> (m,)`, with a sample for the batch.
        samples: T samples, a pytree whose leaves have leading axes (T, m).
        pop_risk_fn: `pop_risk_fn(params) -> scalar`, the risk $L_D$.
        chunk_size: how many learners are trained at a time, which bounds memory. Default: all.

    Returns:
        The matrix of gaps.

    Raises:
        ValueError: if leading axes differ or there is no sample, `chunk_size` < 1, `loss_fn` does not return one loss an
            example, or `pop_risk_fn` no scalar.

    Source: Nagarajan and Kolter 2019, Definition 3.2; Theory of Deep Learning, section 5.4; GEN-13. Cost: T trainings and
    T^2 evaluations.
    """
    count = leading_axis("samples", samples)
    require(count > 0, "samples must hold at least one sample; got 0")
    width = count if chunk_size is None else positive_integer("chunk_size", chunk_size)
    samples = jax.tree.map(jnp.asarray, samples)

    def of_learner(sample):
        params = train_fn(sample)
        risk = jnp.asarray(pop_risk_fn(params))
        require(risk.ndim == 0, f"pop_risk_fn must return a scalar; got shape {risk.shape}")
        return jnp.abs(risk - jax.vmap(lambda other: gradients.risk(loss_fn, params, other))(samples))

    if width >= count:
        return jax.vmap(of_learner)(samples).T
    return jax.lax.map(of_learner, samples, batch_size=width).T
