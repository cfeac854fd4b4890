"""Training a stochastic net by a PAC-Bayes objective."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from jaxgen import models, processes
from jaxgen._core.checks import leading_axis, positive_integer, require
from jaxgen._core.scan import iterate
from jaxgen.bounds._inputs import failure_probability
from jaxgen.bounds.pac_bayes.gaussian import GaussianParams, PriorGrid, divergence, log_stds, same_trees
from jaxgen.bounds.pac_bayes.objectives import bounded_cross_entropy, pac_bayes_objective
from jaxgen.bounds.pac_bayes.stochastic import ApplyFn, Loss, stochastic_outputs


class PacBayesHistory(NamedTuple):
    """What `pac_bayes_train` saw on the way, at every recorded step.

    Attributes:
        objective: the objective of the batch.
        risk: mean surrogate loss of the batch, of one draw.
        kl: divergence from the prior in nats, with the price of a prior chosen on a grid.
    """

    objective: Float[Array, " T"]
    risk: Float[Array, " T"]
    kl: Float[Array, " T"]


def pac_bayes_train(
    key: Key[Array, ""],
    apply_fn: ApplyFn,
    posterior: GaussianParams,
    prior: GaussianParams | PriorGrid,
    data: tuple[PyTree, Array],
    *,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    batch_size: int,
    objective: str = "quadratic",
    loss: Loss | None = None,
    p_min: float = 1e-4,
    n: int | None = None,
    delta: float = 0.05,
    lam: Any = None,
    kl_weight: float = 1.0,
    train_std: bool = True,
    method: str = "auto",
    mode: str = "epoch",
    every: int = 100,
) -> tuple[GaussianParams, PacBayesHistory]:
    """Minimizes a PAC-Bayes bound over the means and standard deviations of a net's parameters.

    A step takes a batch, one draw of the net for it (`stochastic_outputs`), and the exact divergence. All of it is one compiled
    loop that can be mapped over keys and priors, except for nets with convolutions on a CPU, which step from Python.

    Args:
        key: PRNG key of batches and draws.
        apply_fn: `apply_fn(params, x) -> (N, C)` logits, not coupling examples.
        posterior: where to start: means and standard deviations, one for every weight, for a leaf, or for all.
        prior: fixed before the data, or a grid of variances of which the best is taken and paid for.
        data: (x, y), examples and labels.
        optimizer: any transformation of gradients with respect to (mean, log_std).
        num_steps: number of steps.
        batch_size: examples of a step.
        objective: kind of `pac_bayes_objective`.
        loss: surrogate of outputs and labels, with values in [0, 1]; default `bounded_cross_entropy` with `p_min`.
        p_min: least probability of the default surrogate.
        n: examples that the bound will be stated for; default: all of `data`. Fewer where the prior saw some.
        delta: probability of failure of the objective's bound, concrete.
        lam: constant of the objective, where it has one.
        kl_weight: factor of the divergence, 1 for a bound.
        train_std: whether standard deviations are trained; if not they stay as they are.
        method: as in `stochastic_outputs`.
        mode: law of the batches, as in `processes.batch_indices`.
        every: record at steps 0, every, 2 every, ...

    Returns:
        The posterior and the history.

    Raises:
        ValueError: if posterior and prior differ in structure or shapes, a size does not fit, or `objective` is unknown.
        TypeError: if `delta` is traced.

    Source: Dziugaite and Roy 2017; Perez-Ortiz et al. 2021; spec GEN-33.
    """
    delta = failure_probability(delta)
    same_trees(posterior, prior if isinstance(prior, GaussianParams) else GaussianParams(prior.mean, 0.0))
    count = leading_axis("data", data)
    n = count if n is None else positive_integer("n", n, at_least=2)
    require(n <= count, f"n must be at most the number of examples, {count}; got {n}")
    posterior = GaussianParams(jax.tree.map(jnp.asarray, posterior.mean), jax.tree.map(jnp.asarray, posterior.log_std))
    log_stds(posterior)
    surrogate = (lambda outputs, y: bounded_cross_entropy(outputs, y, p_min)) if loss is None else loss
    batch_key, noise_key = jax.random.split(key)
    batches = processes.batch_indices(batch_key, count, batch_size, num_steps, mode=mode)

    def value(q: GaussianParams, own: Array, batch: tuple[PyTree, Array]) -> tuple[Array, tuple[Array, Array]]:
        q = q if train_std else q._replace(log_std=jax.lax.stop_gradient(q.log_std))
        losses = models.loss_fn(lambda q, x: stochastic_outputs(own, apply_fn, q, x, method=method), surrogate)(q, batch)
        risk, kl = losses.mean(), jnp.add(*divergence(q, prior))
        return pac_bayes_objective(objective, risk, kl, n, delta, lam=lam, kl_weight=kl_weight), (risk, kl)

    def step(state: Any, t: Any) -> tuple[Any, PacBayesHistory]:
        q, moments, (x, y, batches) = state
        batch = jax.tree.map(lambda leaf: leaf[batches[t]], (x, y))
        (found, (risk, kl)), gradient = jax.value_and_grad(value, has_aux=True)(q, jax.random.fold_in(noise_key, t), batch)
        updates, moments = optimizer.update(gradient, moments, q)
        return (optax.apply_updates(q, updates), moments, (x, y, batches)), PacBayesHistory(found, risk, kl)

    state = posterior, optimizer.init(posterior), (*jax.tree.map(jnp.asarray, data), batches)  # type: ignore[arg-type]
    (posterior, _, _), history = iterate(step, state, num_steps, record=lambda state, found, t: found, every=every)
    return posterior, history
