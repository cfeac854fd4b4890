"""Many training seeds in lock step: every expectation of a bound on SGD, estimated from K runs."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen import gradients, seeds
from jaxgen._core import across
from jaxgen._core.checks import leading_axis, positive_integer, require
from jaxgen.processes.batches import drawn_schedule
from jaxgen.processes.gaps import GeneralizationGap, gap_of_risks
from jaxgen.processes.training import LossFn, Record, descend, gradient_step

AXIS = "seeds"


class Study(NamedTuple):
    """What K seeds of one training gave. T' is the number of recorded steps, ceil(T / every).

    Attributes:
        dispersion: gradient dispersion E[V_t] at every recorded step, by `gradients.seed_dispersion`.
        deviations: |g_k - mean g|^2 of every seed at every recorded step, whose sum over seeds, over K - 1, is
            `dispersion`. They give the standard error of whatever is made of dispersions (`gradients.seed_deviations`):
            `seeds.jackknife(lambda r: f(r.sum(0) / (len(r) - 1)), study.deviations)`.
        batch_losses: training loss of every recorded step's mini-batch.
        gap: generalization gap of the evaluation loss, with every seed's risks at the end.
        params: final parameters, leading axis K.
        records: what `record` returned, leading axes K and T'; None without it.
        evaluations: what `evaluate` returned, leading axis K; None without it.
        sample_keys: the K keys that `sample` was called with, so that a seed's data can be drawn again.
    """

    dispersion: Float[Array, " records"]
    deviations: Float[Array, "K records"]
    batch_losses: Float[Array, "K records"]
    gap: GeneralizationGap
    params: PyTree
    records: PyTree
    evaluations: PyTree
    sample_keys: Key[Array, " K"]


def multi_seed_study(
    key: Key[Array, ""],
    train_loss_fn: LossFn,
    eval_loss_fn: LossFn,
    init: Callable[[Array], PyTree],
    sample: Callable[..., tuple[PyTree, PyTree]],
    pool: PyTree | None = None,
    *,
    n: int,
    batch_size: int,
    num_steps: int,
    learning_rate: ArrayLike,
    num_seeds: int,
    shared_init: bool = True,
    mode: str = "epoch",
    every: int = 1,
    record: Record | None = None,
    evaluate: Callable[[Array, PyTree, PyTree, PyTree], PyTree] | None = None,
    pool_fraction: float = 0.0,
    mesh: Mesh | None = None,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Study:
    """Trains K seeds by SGD in lock step and estimates dispersion along the way and the generalization gap at the end.

    One seed is a fresh training set S_k, fresh batches, and, unless `shared_init`, a fresh initialization. Seeds run
    together in one program, which reduces their gradients at every recorded step and keeps none.

    Args:
        key: the only source of randomness.
        train_loss_fn: training loss, `loss_fn(params, batch) -> (N,)`; its gradients are what disperses.
        eval_loss_fn: evaluation loss, of the gap.
        init: `init(key) -> params`.
        sample: draws one seed's data, `(train, test)`, pytrees with leading axes n and m: `sample(key)`, or
            `sample(key, pool, k)` with a pool, where k is the number of the seed, 0..K-1.
        pool: data shared by all seeds and held once, any pytree of arrays: images and labels, for instance, with the
            indices of K disjoint subsets (`data.subsets`), of which seed k takes the k-th.
        n: number of training examples of one seed.
        batch_size: b.
        num_steps: T.
        learning_rate: lambda, a scalar or shape (T,).
        num_seeds: K >= 2.
        shared_init: whether all seeds start from one W_0; dispersion is then conditional on it, which is valid and smaller.
        mode: law of the batches, as in `batch_indices`.
        every: record at t = 0, every, 2 every, ...
        record: `record(params, gradient, t)`, more to record of one seed; it may reduce over the axis `"seeds"`.
        evaluate: `evaluate(key, params, train, test)`, more to compute of one seed at the end: a Hessian trace, a
            flatness term.
        pool_fraction: n/N if the S_k are overlapping subsets of a pool of N, which biases dispersion low by about that
            fraction: a warning says so. 0 for fresh or disjoint sets.
        mesh: devices to spread the seeds over, as in `jaxgen.seeds.run`.
        progress: shows a progress bar.
        checkpoint: folder to save to and to resume from, as in `jaxgen.seeds.run`.

    Returns:
        A `Study`, arrays only.

    Raises:
        ValueError: if `num_seeds` < 2, `sample` does not return n training examples, `batch_size` > n without
            replacement, `learning_rate` has another length than T, `pool_fraction` is outside [0, 1), a loss does not
            return one value per example, or `checkpoint` holds another run.

    Warns:
        UserWarning: if `pool_fraction` > 0.

    Source: spec INFO-32. Memory: O(K d), besides O(K n) for data and batches and K T' numbers for each thing recorded.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> loss_fn = lambda w, z: 0.5 * jnp.sum((w - z) ** 2, axis=-1)
        >>> sample = lambda key: jnp.split(jax.random.normal(key, (12, 2)), [8])
        >>> study = processes.multi_seed_study(
        ...     jax.random.key(0), loss_fn, loss_fn, lambda key: jnp.zeros(2), sample,
        ...     n=8, batch_size=2, num_steps=5, learning_rate=0.1, num_seeds=4)
        >>> study.dispersion.shape, study.params.shape
        ((5,), (4, 2))
    """
    num_seeds = positive_integer("num_seeds", num_seeds, at_least=2)
    num_steps = positive_integer("num_steps", num_steps)
    require(0 <= pool_fraction < 1, f"pool_fraction must lie in [0, 1); got {pool_fraction}")
    if pool_fraction > 0:
        warnings.warn(
            f"training sets overlap: each is {pool_fraction:.0%} of the pool, so dispersion is estimated low by about that fraction", stacklevel=2
        )

    def observe(params, gradient, loss, t):
        deviations = gradients.seed_deviations(gradient, axis_name=AXIS)
        dispersion, own = deviations.sum() / (num_seeds - 1), deviations[jax.lax.axis_index(AXIS)]
        return dispersion, own, loss, None if record is None else record(params, gradient, t)

    def one_seed(seed: _Seed, learning_rate, pool):
        train, test = sample(seed.sample_key) if pool is None else sample(seed.sample_key, pool, seed.k)
        found = leading_axis("the training set that sample returns", train)
        require(found == n, f"sample must return n = {n} training examples; got {found}")
        schedule = drawn_schedule(seed.batch_key, n, batch_size, num_steps, mode)
        optimizer = gradient_step(learning_rate, num_steps)
        params, _, records = descend(train_loss_fn, init(seed.init_key), train, schedule, optimizer, observe, every)
        risks = tuple(gradients.risk(eval_loss_fn, params, data) for data in (train, test))
        gap = gap_of_risks(*across.gather(risks, AXIS))
        evaluation = None if evaluate is None else evaluate(seed.evaluation_key, params, train, test)
        return params, records, gap, evaluation

    each = _seeds(key, num_seeds, shared_init)
    params, records, gap, evaluations = seeds.run(
        one_seed, each, learning_rate, pool, axis_name=AXIS, mesh=mesh, progress=progress, checkpoint=checkpoint
    )
    dispersion, deviations, batch_losses, recorded = records
    gap = jax.tree.map(lambda leaf: leaf[0], gap)
    return Study(dispersion[0], deviations, batch_losses, gap, params, recorded, evaluations, each.sample_key)


class _Seed(NamedTuple):
    """What tells one seed from another."""

    k: Array
    sample_key: Array
    batch_key: Array
    init_key: Array
    evaluation_key: Array


@partial(jax.jit, static_argnums=(1, 2))
def _seeds(key: Array, num_seeds: int, shared_init: bool) -> _Seed:
    shared_key, seeds_key = jax.random.split(key)

    def one(k):
        sample_key, batch_key, init_key, evaluation_key = jax.random.split(jax.random.fold_in(seeds_key, k), 4)
        return _Seed(k, sample_key, batch_key, shared_key if shared_init else init_key, evaluation_key)

    return jax.vmap(one)(jnp.arange(num_seeds, dtype=jnp.int32))
