"""How far gradients move when the parameters are perturbed."""

import optax
from jaxtyping import Array, ArrayLike, Key, PyTree

from jaxgen._core.checks import choice, positive_integer
from jaxgen._core.monte_carlo import average_over_draws, gaussian_like, std_of
from jaxgen._core.results import Estimate
from jaxgen.gradients.examples import gradient_of_one, over_examples
from jaxgen.gradients.risks import LossFn, parameters, value_and_gradient


def sensitivity(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key[Array, ""],
    *,
    variance: ArrayLike,
    num_noise: int,
    reduce: str = "per_example",
    chunk_size: int | None = None,
) -> Estimate:
    """Local gradient sensitivity, Psi(w) = E |grad l(w, Z) - grad l(w + zeta, Z)|^2 with zeta ~ N(0, variance I).

    In the bound of Neu et al. the variance is 2 sum_{i<t} sigma_i^2; half of it is enough (spec INFO-25). For a bound
    `batch` must be held out, not the training set.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        batch: examples, a pytree whose leaves have leading axis N.
        key: key of the noise.
        variance: variance of every coordinate of the noise, a scalar, at least 0.
        num_noise: number of noise draws.
        reduce: `"per_example"`, the mean of the examples' squared differences, or `"mean_gradient"`, the squared
            difference of their mean gradient: smaller, and valid too by Jensen's inequality.
        chunk_size: examples taken at a time in `"per_example"`, which bounds memory to chunk_size P. Default: all.

    Returns:
        Mean over the draws, with its standard error over them (NaN for one draw).

    Raises:
        ValueError: if `variance` is negative or not a scalar, `num_noise` < 1, `reduce` is unknown, `loss_fn` does not
            return one value per example, or `chunk_size` < 1.
        TypeError: if a leaf of `params` is not real.

    Source: Neu, Dziugaite, Haghifam and Roy 2021; spec INFO-23. Draws are taken one after another.
    """
    choice("reduce", reduce, ("per_example", "mean_gradient"))
    num_noise = positive_integer("num_noise", num_noise)
    std = std_of(variance)
    params = parameters(params)

    def mean_difference(other):
        here, there = (value_and_gradient(loss_fn, w, batch)[1] for w in (params, other))
        return optax.tree.norm(optax.tree.sub(here, there), squared=True)

    def difference_per_example(other):
        here, there = (gradient_of_one(loss_fn, w) for w in (params, other))
        squares = over_examples(lambda z: optax.tree.norm(optax.tree.sub(here(z), there(z)), squared=True), batch, chunk_size)
        return squares.mean()

    difference = mean_difference if reduce == "mean_gradient" else difference_per_example

    def draw(draw_key):
        return difference(optax.tree.add(params, gaussian_like(draw_key, params, std)))

    return average_over_draws(draw, key, num_noise)
