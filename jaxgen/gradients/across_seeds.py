"""Gradient dispersion: the spread of one step's gradient over training seeds."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen._core import across
from jaxgen._core.checks import checked, choice, floating, leading_axis, require


def seed_deviations(gradients: PyTree, *, axis_name: str | None = None) -> Float[Array, " K"]:
    """Squared distance of every seed's gradient from the seeds' mean, |g_k - mean g|^2.

    Their sum over K - 1 is `seed_dispersion`. Kept per step they give the standard error of any function f of the
    dispersions, in K T numbers: `seeds.jackknife(lambda r: f(r.sum(0) / (len(r) - 1)), deviations)`. It is
    (K-1)/K times that of the gradients themselves (for linear f), whose mean is refitted without every seed.

    Args:
        gradients: a pytree whose leaves have a leading axis of K seeds; with `axis_name`, one seed's gradient.
        axis_name: axis over which seeds run in lock step.

    Returns:
        The K squared distances, of all seeds also with `axis_name`.

    Raises:
        ValueError: if the leaves differ in leading axis.

    Source: spec INFO-22, INFO-32.
    """
    matrix, _ = _stacked("gradients", gradients, axis_name)
    return _squared_distances(matrix, matrix.mean(axis=0))


def seed_dispersion(
    gradients: PyTree,
    *,
    center: str = "seed_mean",
    population_gradients: PyTree | None = None,
    population_variance: ArrayLike | None = None,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Gradient dispersion E[V_t] = E |g(W_{t-1}, B_t) - c|^2 for a constant centre c, from K seeds.

    - `"seed_mean"`: (1/(K-1)) sum_k |g_k - mean g|^2, unbiased for tr Cov g_t, the smallest valid choice. Seeds that start
      from one initialization give its value conditional on that.
    - `"population"`: the printed centre c = E grad L_mu(W), fitted on the other seeds so that the estimate is unbiased:
      (1/K) sum_k |g_k - c_{-k}|^2 - (1/(K-1)) tr Var(u), where u_k is seed k's gradient on data of its own that W_k has
      not seen, and c_{-k} the mean of the others' u_j.
    - `"zero"`: (1/K) sum_k |g_k|^2, valid too, and defined for one seed.

    Args:
        gradients: mini-batch gradients, a pytree whose leaves have a leading axis of K seeds; with `axis_name`, one
            seed's gradient.
        center: which constant c.
        population_gradients: u_k, like `gradients`; for `"population"` only.
        population_variance: tr Var(u), a scalar at least 0. Default: the u_k's sample variance (1/(K-1)).
        axis_name: axis over which seeds run in lock step (`jaxgen.seeds.run`); every seed then has the same result.

    Returns:
        The dispersion.

    Raises:
        ValueError: if K < 2 (but for `"zero"`), `center` is unknown, the population's gradients are missing, superfluous
            or of another structure, or their variance is negative.

    Source: Wang and Mao 2022, Theorem 1, estimators of spec INFO-22. The divisor 1/K in place of 1/(K-1) is biased, by
    1 - 1/K; what a single run can give, the variance over its batches, is `batch_gradient_variance`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import gradients
        >>> float(gradients.seed_dispersion({"w": jnp.array([[1.0, 0.0], [3.0, 0.0]])}))
        2.0
    """
    choice("center", center, ("seed_mean", "population", "zero"))
    given = population_gradients is not None
    require(given == (center == "population"), f"population_gradients must be given for center='population' and only then; center is {center!r}")
    require(given or population_variance is None, f"population_variance has no meaning for center={center!r}")
    matrix, shapes = _stacked("gradients", gradients, axis_name)
    count = len(matrix)
    if center == "zero":
        return _squared_distances(matrix, jnp.zeros_like(matrix[0])).mean()
    require(count >= 2, f"center={center!r} needs K >= 2 seeds; got K = {count}")
    if center == "seed_mean":
        return _squared_distances(matrix, matrix.mean(axis=0)).sum() / (count - 1)

    population, found = _stacked("population_gradients", population_gradients, axis_name)
    require(found == shapes, f"population_gradients must have the structure of gradients, {shapes}; got {found}")
    mean = population.mean(axis=0)
    of_others = (count * mean - population) / (count - 1)
    if population_variance is None:
        variance = _squared_distances(population, mean).sum() / (count - 1)
    else:
        given_variance = floating("population_variance", population_variance)
        require(given_variance.ndim == 0, f"population_variance must be a scalar; got shape {given_variance.shape}")
        variance = checked(given_variance, (given_variance >= 0, f"population_variance must be at least 0; got {given_variance}"))
    return _squared_distances(matrix, of_others).mean() - variance / (count - 1)


def _stacked(name: str, gradients: PyTree, axis_name: str | None) -> tuple[Float[Array, "K d"], PyTree]:
    """One row a seed, and the shapes of one seed's gradient. With `axis_name` rows travel between devices in one piece."""
    leading = 0 if axis_name else 1
    count = 1 if axis_name else leading_axis(name, gradients)
    leaves = [floating(name, leaf).reshape(count, -1) for leaf in jax.tree.leaves(gradients)]
    rows = jnp.concatenate(leaves, axis=1)
    shapes = jax.tree.map(lambda leaf: jnp.shape(leaf)[leading:], gradients)
    return across.gather(rows[0], axis_name) if axis_name else rows, shapes


def _squared_distances(rows: Float[Array, "K d"], centre: Float[Array, "*K d"]) -> Float[Array, " K"]:
    return jax.lax.optimization_barrier(jnp.sum(jnp.square(rows - centre), axis=1))
